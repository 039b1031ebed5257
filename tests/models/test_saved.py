"""Saved models: whatever config.json says, a model of the file's tensors comes out, or a UserError."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from reidlab import models
from reidlab.data.transforms import Preprocess
from reidlab.errors import UserError
from reidlab.models import build
from reidlab.models.saved import load_model, read_config, save_model, saved_digest, saved_model, shipped_folder
from reidlab.paths import reports_root
from reidlab.stages.models import model_from
from reidlab.store.runs import find_run
from reidlab.training.recipes import load_recipe

SPEC = {"name": "custom_cnn_v32", "height": 32, "width": 16, "neck": "bnneck"}
CONFIG = {"spec": SPEC, "num_classes": 5}
HOW = {"height": 32, "width": 16, "mean": [0.5, 0.5, 0.5], "std": [1, 1, 1], "interpolation": "bilinear"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save_model(build(SPEC, 5), tmp_path / "m", CONFIG)
    return tmp_path / "m"


def change(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("preprocess", "match"),
    [
        ({**HOW, "mean": [0.5, 0.5]}, r"mean=\(0.5, 0.5\) must be three finite numbers"),
        ({**HOW, "mean": "grey"}, "mean='grey'"),
        ({**HOW, "std": [1, 0, 1]}, "std="),
        ({**HOW, "height": 1_000_000_000}, "1000000000 x 16 .* is above 8192 pixels per side"),
        ({**HOW, "height": "32"}, "whole numbers of pixels"),
        ({**HOW, "height": None}, "whole numbers of pixels"),
        ({**HOW, "interpolation": ["bilinear"]}, "interpolation="),
        ({**HOW, "gamma": 2}, "is no mapping of height, width, mean, std, interpolation"),
        ("junk", "preprocess=junk is no mapping"),
        (None, "preprocess=None is no mapping"),
        ([1, 2], r"preprocess=\[1, 2\] is no mapping"),
    ],
)
def test_junk_as_preprocess(folder: Path, preprocess: Any, match: str) -> None:
    change(folder, preprocess=preprocess)
    with pytest.raises(UserError, match=rf"m: config.json describes no model that can be built \(.*{match}"):
        load_model(folder)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"spec": {**SPEC, "height": 10**9}}, "1000000000 x 16 .* above 8192"),
        ({"spec": {"name": "vit_small", "height": 10**9, "width": 16}}, "1000000000 x 16 .* above 8192"),
        ({"spec": {"name": "osnet_x0_25", "feature_dim": 10**12}}, "the weights do not fit the config"),
        ({"spec": {"name": "osnet_x0_25", "pooling": {"name": "stripes", "parts": 10**9}}}, "from 1 to 256"),
        ({"spec": {"name": "osnet_x0_25", "pooling": {"name": ["gem"]}}}, "has no name"),
        ({"spec": {"name": "osnet_x0_25", "pooling": 5}}, "must be text"),
        ({"spec": 5}, "spec=5 is neither a name nor a mapping"),
        ({"spec": {}}, "has no name"),
        ({"num_classes": 10**12}, "the weights do not fit the config: 1 of another shape|of another shape"),
        ({"num_classes": True}, "num_classes=True"),
        ({"num_classes": 5.0}, "num_classes=5.0"),
        ({"num_classes": -1}, "num_classes=-1"),
    ],
)
def test_configs_of_other_models(folder: Path, changes: dict[str, Any], match: str) -> None:
    change(folder, **changes)
    with pytest.raises(UserError, match=rf"m: .*({match})"):
        load_model(folder)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"spec": ' * 5000, "{" + " " * 300_000 + "}", '{"spec": 1e999}'])
def test_configs_without_end(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(UserError, match="m holds no saved model"):
        load_model(folder)


def test_pretrained_weights_are_not_asked_for(folder: Path) -> None:
    change(folder, spec={"name": "resnet18", "weights": "pretrained"})
    assert read_config(folder).spec == {"name": "resnet18", "weights": ""}


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda t: t.to(torch.complex64), "is complex"),
        (lambda t: t.fill_(float("inf")), "has .* NaN or infinite values"),
        (lambda t: t.to(torch.int32), "is of type torch.int32"),
    ],
)
def test_weights_that_are_none(folder: Path, make: Any, match: str) -> None:
    state = load_file(folder / "model.safetensors")
    state["network.bn1.weight"] = make(state["network.bn1.weight"])
    save_file(state, folder / "model.safetensors")
    with pytest.raises(UserError, match=rf"tensor 'network.bn1.weight' {match}"):
        load_model(folder)


def test_weights_that_do_not_fit_are_named(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    state["extra"] = state.pop("network.bn1.weight")
    save_file(state, folder / "model.safetensors")
    match = r"m: the weights do not fit the config: 1 missing \(network.bn1.weight\); 1 unknown \(extra\)"
    with pytest.raises(UserError, match=match):
        load_model(folder)


def test_loading_takes_as_many_random_numbers_as_building(folder: Path) -> None:
    """The build without memory takes none: trainings with teachers stay what they were."""
    torch.manual_seed(1)
    load_model(folder)
    after = torch.rand(1)
    torch.manual_seed(1)
    build(SPEC, 5)
    assert torch.equal(after, torch.rand(1))


def test_the_digest_is_of_all_that_embeddings_depend_on(folder: Path) -> None:
    first = saved_digest(folder)
    change(folder, recipe="another name", reidlab="9.9")
    assert saved_digest(folder) == first
    seen = {first}
    for changes in (
        {"preprocess": {**HOW, "mean": [0.25, 0.5, 0.5]}},
        {"spec": {**SPEC, "embedding": "concat"}},
    ):
        change(folder, **changes)
        seen.add(saved_digest(folder))
    state = load_file(folder / "model.safetensors")
    state["network.bn1.weight"] += 1
    save_file(state, folder / "model.safetensors")
    assert len(seen | {saved_digest(folder)}) == 4


def test_a_disk_without_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reidlab.space.free_bytes", lambda _folder: 17_000_000)
    with pytest.raises(UserError, match=r"The saved model needs 4\.\d MB .* 17\.0 MB are free .*reidlab runs gc"):
        save_model(build(SPEC, 5), tmp_path / "m", CONFIG)
    assert not (tmp_path / "m").exists()


def test_what_fails_half_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(_tensors: object, path: Path, **_options: object) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("reidlab.models.weights.writing.save_file", half)
    with pytest.raises(UserError, match="No space left"):
        save_model(build(SPEC, 5), tmp_path / "m", CONFIG)
    assert list((tmp_path / "m").iterdir()) == []


def test_a_saved_normalisation_comes_back(tmp_path: Path) -> None:
    model: Any = build(SPEC, 5)
    model.preprocess = replace(model.preprocess, mean=(0.5, 0.25, 0.125), std=(0.5, 1, 2))
    save_model(model, tmp_path, CONFIG)
    loaded: nn.Module = load_model(tmp_path)
    assert loaded.preprocess == Preprocess(32, 16, (0.5, 0.25, 0.125), (0.5, 1, 2))


@pytest.mark.parametrize(
    "spec",
    [
        "os:getcwd",
        {"name": "subprocess:getoutput", "cmd": "true"},
        {"name": "resnet18", "pooling": {"name": "builtins:print"}},
        {"name": "nobody.has.it:Net"},
    ],
)
def test_a_file_from_elsewhere_chooses_no_code(folder: Path, spec: object) -> None:
    change(folder, spec=spec)
    with pytest.raises(
        UserError, match=r"names code that is not loaded, '[\w.]+:\w+'; import [\w.]+ first if you trust"
    ):
        load_model(folder)


def test_a_network_that_was_imported_here_may_be_named(folder: Path) -> None:
    change(folder, spec="torch.nn:Identity")
    assert read_config(folder).spec == "torch.nn:Identity"


def run_of(stage: str, name: str, folder: Path) -> Path:
    """A finished run whose folder holds the model."""
    path = reports_root() / "runs" / stage / name
    shutil.copytree(folder, path / "model")
    about = {"schema": 1, "digest": "ab12" * 16, "stage": stage, "params": {}, "result": {}, "seconds": 1.0}
    (path / "manifest.json").write_text(json.dumps(about | {"files": {}}))
    return path


def test_a_model_is_loaded_by_whatever_names_it(own_data: Path, folder: Path) -> None:
    path = run_of("training", "mine-ab12ab12ab12", folder)
    state = load_model(folder).state_dict()
    named = ["mine-ab12ab12ab12", "training/mine-ab12ab12ab12", "ab12ab12", find_run("ab12ab12")]
    for given in [*named, path, path / "model", str(path), str(folder)]:
        found = models.load_model(given)
        assert not found.training and all(torch.equal(state[name], each) for name, each in found.state_dict().items())


def test_what_names_no_model_is_refused(own_data: Path, folder: Path) -> None:
    run_of("evaluation", "mine-ab12ab12ab12", folder)
    for given in ("ab12ab12", find_run("ab12ab12")):
        with pytest.raises(UserError, match=r"is a run of stage 'evaluation'; a model comes from a training run"):
            models.load_model(given)
    with pytest.raises(UserError, match="There is no run 'nothing'"):
        models.load_model("nothing")
    with pytest.raises(UserError, match=r"model='osnet\.pth' is a file of weights"):
        models.load_model("osnet.pth")
    with pytest.raises(UserError, match="named by a run, its name or a folder, not by 3"):
        models.load_model(3)


def test_the_model_that_comes_with_the_package(own_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small").mkdir()  # a folder of that name is written ./small
    model = models.load_model("small")
    assert models.count_parameters(model) == 202_888 and not model.training
    assert (model.preprocess.height, model.preprocess.width) == (192, 96)
    folder = shipped_folder("small")
    assert saved_model("small") == saved_model(" small ") == folder
    assert sum(path.stat().st_size for path in folder.iterdir()) < 1_000_000
    assert all((folder / name).is_file() for name in ("README.md", "recipe.yaml", "config.json"))
    steps = [load_recipe(str(folder / name)).epochs for name in ("recipe.yaml", "recipe_2.yaml", "recipe_3.yaml")]
    assert steps == [70, 48, 16] and model_from("small").facts["epochs"] == sum(steps)
    with pytest.raises(UserError, match="no model 'smal' comes with reidlab; there are: small"):
        shipped_folder("smal")


def test_its_embedding_of_fixed_pixels_is_what_it_was() -> None:
    model = models.load_model("small")
    ramp = torch.arange(192 * 96, dtype=torch.float32).reshape(192, 96) % 251
    images = torch.stack([ramp, 250 - ramp, ramp.flip(0)]).to(torch.uint8)[None]
    with torch.inference_mode():
        vector = torch.nn.functional.normalize(model(model.preprocess(images)), dim=1)[0]
    assert vector.shape == (512,)
    torch.testing.assert_close(vector[:4], torch.tensor([-0.0164, 0.02465, 0.13101, 0.10626]), atol=2e-4, rtol=0)


def test_saved_weights_can_be_read_by_whoever_reads_other_files(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    save_model(build("osnet_x0_25"), tmp_path / "model", {"spec": "osnet_x0_25", "num_classes": 0})
    modes = {path.stat().st_mode for path in (plain, *(tmp_path / "model").iterdir())}
    assert len(modes) == 1
