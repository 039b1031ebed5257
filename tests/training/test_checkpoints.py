"""Checkpoints: complete before they are named, damaged ones refused, models the same after a round trip."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from reidlab.errors import UserError
from reidlab.models import build
from reidlab.models.saved import load_model, save_model
from reidlab.models.weights.writing import write_json
from reidlab.training.checkpoints import Checkpoints

SPEC = {"name": "custom_cnn_v32", "height": 32, "width": 16, "neck": "bnneck", "embedding": "concat"}
CONFIG = {"spec": SPEC, "num_classes": 5, "recipe": "x"}


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    made = build(SPEC, 5)
    made.train()(torch.rand(8, 3, 32, 16))  # moves the running means off their start
    return made.to(memory_format=torch.channels_last)


def test_json_is_old_or_new_but_never_half(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"x": 1.5})
    with pytest.raises(TypeError):
        write_json(path, {"x": "y" * 100_000, "bad": object()})  # fails in the middle of the writing
    assert json.loads(path.read_text()) == {"x": 1.5}
    write_json(path, {"x": float("nan")})
    assert json.loads(path.read_text())["x"] != 1.5
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_saved_model_gives_the_same_embeddings(tmp_path: Path, model: nn.Module) -> None:
    save_model(model, tmp_path / "m", CONFIG)
    loaded = load_model(tmp_path / "m")
    assert not loaded.training and sorted(p.name for p in (tmp_path / "m").iterdir()) == [
        "config.json",
        "model.safetensors",
    ]
    images = torch.rand(3, 3, 32, 16)
    model.eval()
    loaded = loaded.to(memory_format=torch.channels_last)  # files keep no layout; sums in another order differ
    with torch.inference_mode():
        assert torch.equal(loaded(images), model(images))
    assert json.loads((tmp_path / "m/config.json").read_text())["recipe"] == "x"


def test_a_saved_model_needs_no_pretrained_weights(tmp_path: Path) -> None:
    spec = {"name": "osnet_x0_25", "height": 32, "width": 16, "neck": "bnneck"}
    pretrained = tmp_path / "weights.pth"
    torch.save(build(spec).backbone.state_dict(), pretrained)
    spec["weights"] = str(pretrained)
    model = build(spec, 5).eval()
    model.preprocess = replace(model.preprocess, mean=(0.5, 0.25, 0.125), std=(0.5, 0.5, 0.5))  # as other weights want
    save_model(model, tmp_path / "m", {"spec": spec, "num_classes": 5, "recipe": "x"})
    pretrained.unlink()
    loaded = load_model(tmp_path / "m")
    assert loaded.preprocess == model.preprocess and spec["weights"] == str(pretrained)
    images = torch.rand(2, 3, 32, 16)
    with torch.inference_mode():
        assert torch.equal(loaded(images), model(images))


def damage_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_folders_that_are_no_model(tmp_path: Path, model: nn.Module) -> None:
    save_model(model, tmp_path / "good", CONFIG)

    def copy(name: str) -> Path:
        return Path(shutil.copytree(tmp_path / "good", tmp_path / name))

    with pytest.raises(UserError, match="nowhere holds no saved model"):
        load_model(tmp_path / "nowhere")
    for name, text in [("text", "{"), ("list", "[1]"), ("keys", "{}"), ("null", "null")]:
        (copy(name) / "config.json").write_text(text)
        with pytest.raises(UserError, match=f"{name} holds no saved model"):
            load_model(tmp_path / name)
    cut = copy("cut") / "model.safetensors"
    cut.write_bytes(cut.read_bytes()[:1000])
    with pytest.raises(UserError, match="cut holds no saved model"):
        load_model(tmp_path / "cut")
    (copy("gone") / "model.safetensors").unlink()
    with pytest.raises(UserError, match="gone holds no saved model"):
        load_model(tmp_path / "gone")
    damage_config(copy("unknown"), spec={"name": "custom_cnn_v3"})
    with pytest.raises(UserError, match=r"unknown: config.json describes no model.*Did you mean 'custom_cnn_v32'"):
        load_model(tmp_path / "unknown")
    damage_config(copy("odd"), num_classes="five")
    with pytest.raises(UserError, match=r"odd: config.json describes no model"):
        load_model(tmp_path / "odd")
    damage_config(copy("classes"), num_classes=6)
    with pytest.raises(UserError, match="classes: the weights do not fit the config"):
        load_model(tmp_path / "classes")


def fill(folder: Path, model: nn.Module, epochs: int = 2) -> Checkpoints:
    checkpoints = Checkpoints(folder)
    for epoch in range(1, epochs + 1):
        state = {"optimizer": {"lr": epoch}, "torch_rng": torch.get_rng_state()}
        checkpoints.save(epoch, model, state, {"best": {"epoch": -1}, "history": [epoch]})
    return checkpoints


def test_only_the_newest_is_kept(tmp_path: Path, model: nn.Module) -> None:
    checkpoints = fill(tmp_path / "c", model, 3)
    assert sorted(p.name for p in (tmp_path / "c").iterdir()) == ["epoch-00003", "last.json"]
    found = checkpoints.load()
    assert found is not None and found.epochs_done == 3 and found.progress["history"] == [3]
    assert found.model.keys() == model.state_dict().keys()
    assert all(torch.equal(found.model[k], v) for k, v in model.state_dict().items())
    checkpoints.clear()
    assert not (tmp_path / "c").exists() and Checkpoints(tmp_path / "c").load() is None


def test_best_weights_are_kept_until_a_checkpoint_names_newer_ones(tmp_path: Path, model: nn.Module) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save_best(model, 1)
    checkpoints.save(1, model, {}, {"best": {"epoch": 1}})
    checkpoints.save_best(model, 2)
    assert {p.name for p in tmp_path.glob("best*")} == {"best-00001.safetensors", "best-00002.safetensors"}
    checkpoints.save(2, model, {}, {"best": {"epoch": 2}})
    assert {p.name for p in tmp_path.glob("best*")} == {"best-00002.safetensors"}
    assert checkpoints.load_best(2).keys() == model.state_dict().keys()
    with pytest.raises(UserError, match=r"best weights in .* are damaged"):
        checkpoints.load_best(1)


@pytest.mark.parametrize("file", ["last.json", "model.safetensors", "state.pt", "progress.json"])
@pytest.mark.parametrize("kind", ["gone", "empty", "cut", "nonsense"])
def test_damage_names_the_folder(tmp_path: Path, model: nn.Module, file: str, kind: str) -> None:
    checkpoints = fill(tmp_path / "c", model)
    path = next((tmp_path / "c").rglob(file))
    if kind == "gone":
        path.unlink()
        if file == "last.json":
            assert checkpoints.load() is None, "nothing is finished as long as nothing is named"
            return
    else:
        content = path.read_bytes()
        path.write_bytes({"empty": b"", "cut": content[: len(content) // 2], "nonsense": b"[]" * 500}[kind])
    with pytest.raises(
        UserError, match=r"The checkpoint in .*c is damaged .*Remove that folder to train from the start"
    ):
        checkpoints.load()


def test_a_state_that_runs_code_is_refused(tmp_path: Path, model: nn.Module) -> None:
    checkpoints = fill(tmp_path, model)
    torch.save({"evil": print}, next(tmp_path.rglob("state.pt")))
    with pytest.raises(UserError, match=r"is damaged .*state.pt .*builtins.print|print, which only code could rebuild"):
        checkpoints.load()


def test_a_folder_that_cannot_be_written(tmp_path: Path, model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot be written .*Make it writable"):
        Checkpoints(tmp_path / "file" / "c")
    checkpoints = fill(tmp_path / "c", model)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("reidlab.models.weights.writing.torch.save", full)
    with pytest.raises(UserError, match=r"No space left.* free disk space"):
        checkpoints.save(3, model, {}, {})
    monkeypatch.undo()
    found = checkpoints.load()
    assert found is not None and found.epochs_done == 2, "the checkpoint before the failure is still there"
    with pytest.raises(UserError, match="cannot be written"):
        save_model(model, tmp_path / "file" / "m", CONFIG)


def test_a_disk_without_room(tmp_path: Path, model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written, and the checkpoint before stays."""
    checkpoints = fill(tmp_path / "c", model)
    before = sorted(p.name for p in (tmp_path / "c").rglob("*"))
    monkeypatch.setattr("reidlab.space.free_bytes", lambda _folder: 18_000_000)
    match = r"The checkpoint of epoch 3 needs \d+\.\d MB .* 18\.0 MB are free .*reidlab runs gc"
    with pytest.raises(UserError, match=match):
        checkpoints.save(3, model, {"optimizer": {"state": [{"momentum": torch.zeros(10**6)}]}}, {})
    with pytest.raises(UserError, match=r"The best model, of epoch 3, needs \d+\.\d MB"):
        checkpoints.save_best(model, 3)
    assert sorted(p.name for p in (tmp_path / "c").rglob("*")) == before
    found = checkpoints.load()
    assert found is not None and found.epochs_done == 2


def test_a_checkpoint_that_breaks_off_is_removed(
    tmp_path: Path, model: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = fill(tmp_path / "c", model)

    def half(_state: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("reidlab.models.weights.writing.torch.save", half)
    with pytest.raises(UserError, match="No space left"):
        checkpoints.save(3, model, {}, {})
    assert sorted(p.name for p in (tmp_path / "c").iterdir()) == ["epoch-00002", "last.json"]


@pytest.mark.parametrize(
    "last", [{"checkpoint": "../../x", "epochs_done": 1}, {"checkpoint": "epoch-00002", "epochs_done": "2"}, {"x": 1}]
)
def test_pointers_to_elsewhere(tmp_path: Path, model: nn.Module, last: dict[str, object]) -> None:
    checkpoints = fill(tmp_path / "c", model)
    (tmp_path / "c" / "last.json").write_text(json.dumps(last))
    with pytest.raises(UserError, match=r"damaged \(last.json names no checkpoint\)"):
        checkpoints.load()
