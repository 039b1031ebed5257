"""ONNX files: the numbers of torch at any batch size, described well enough to be run by a stranger, refused when wrong."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from reidlab import stages, store
from reidlab.cli import main
from reidlab.data.transforms import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from reidlab.errors import UserError
from reidlab.export import ExportReport, check_onnx, check_request, export_onnx
from reidlab.export.check import rank_agreement
from reidlab.models.families.custom_cnn_reid import CustomCNNReID
from reidlab.models.families.experts import Experts
from reidlab.models.families.osnet import OSBlock
from reidlab.models.families.reid_model import ReIDModel
from reidlab.models.families.siamese_autoencoder import SiameseAutoencoder
from reidlab.models.parts.attention import ATTENTIONS, build_attention
from reidlab.models.parts.necks import build_neck
from reidlab.models.parts.pooling import POOLINGS, build_pooling
from reidlab.models.saved import save_model

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

SIZE = {"height": 32, "width": 16}
Files = dict[str, ExportReport]


def stirred(model: nn.Module) -> Any:
    """Return every part something to do: blocks that begin as nothing, statistics that begin as 0 and 1."""
    generator = torch.Generator().manual_seed(3)
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and tensor.dim() <= 1:
            low, high = (0.5, 1.5) if name.endswith(("running_var", ".p")) else (-0.5, 0.5)
            tensor.add_(torch.empty_like(tensor).uniform_(low, high, generator=generator))
    return model.eval()


def noise(n: int, seed: int = 0, height: int = 32, width: int = 16) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 3, height, width), dtype=torch.uint8, generator=generator)


def session(path: Path) -> Any:
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def run(path: Path, images: np.ndarray) -> np.ndarray:
    return session(path).run(None, {"images": images})[0]


class Tiny(nn.Module):
    """The smallest model with the attributes of all."""

    def __init__(self, how: str = "fine") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.how, self.dim = how, 4
        self.preprocess = Preprocess(8, 6, IMAGENET_MEAN, IMAGENET_STD)
        self.conv = nn.Conv2d(3, 4, 3)
        self.necks = nn.ModuleDict({"global": nn.BatchNorm1d(4)})  # no word of Python's can be an attribute

    def forward(self, images: Tensor) -> Tensor:
        if self.how == "fixed":
            images = images.reshape(2, 3, 8, 6)
        if self.how == "raises" and torch.compiler.is_exporting():
            raise ZeroDivisionError("by design")
        found = self.necks["global"](self.conv(images).relu().mean((2, 3)))
        return found if self.how == "long" else nn.functional.normalize(found, dim=1)


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    made = stirred(CustomCNNReID(7, neck="bnneck", parts=False, **SIZE))
    made.preprocess = Preprocess(32, 16, IMAGENET_MEAN, IMAGENET_STD)
    return made


@pytest.fixture(scope="module")
def files(model: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("onnx")
    about = {"name": "a run", "digest": "0123"}
    return {
        form: export_onnx(model, folder / f"{form}.onnx", preprocess=form, images=noise(12), about=about)
        for form in ("inside", "beside")
    }


@pytest.mark.parametrize("n", [1, 3, 5])
def test_pixels_give_the_embeddings_of_torch_at_any_batch_size(model: Any, files: Files, n: int) -> None:
    images = noise(n, seed=n)
    with torch.inference_mode():
        expected = model(model.preprocess(images)).numpy()
    found = run(files["inside"].path, np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy()))
    assert found.shape == (n, 128) and found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=0)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    # by what the JSON file beside says, and nothing else
    told = json.loads(files["beside"].path.with_name("beside.onnx.json").read_text())
    mean, std = (np.array(told[name], np.float32)[:, None, None] for name in ("mean", "std"))
    normalised = (images.numpy().astype(np.float32) / 255 - mean) / std
    np.testing.assert_allclose(run(files["beside"].path, normalised), found, atol=1e-5, rtol=0)


def test_every_value_of_a_pixel_counts(model: Any, files: Files) -> None:
    values = torch.stack([torch.arange(512) + 80 * channel for channel in range(3)]).remainder(256).to(torch.uint8)
    values = values.reshape(1, 3, 32, 16)
    images = torch.cat([values, values.flip(1), torch.full_like(values, 255), torch.zeros_like(values)])
    with torch.inference_mode():
        expected = model(model.preprocess(images)).numpy()
    found = run(files["inside"].path, np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy()))
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=0)
    assert np.abs(found[0] - found[1]).max() > 1e-3  # red and blue are not the same


def test_the_file_says_what_it_wants_and_gives(model: Any, files: Files) -> None:
    for form, kind, shape in (
        ("inside", "tensor(uint8)", ["batch", 32, 16, 3]),
        ("beside", "tensor(float)", ["batch", 3, 32, 16]),
    ):
        opened = session(files[form].path)
        (given,), (gives,) = opened.get_inputs(), opened.get_outputs()
        assert (given.name, given.type, given.shape) == ("images", kind, shape)
        assert (gives.name, gives.type, gives.shape) == ("embeddings", "tensor(float)", ["batch", 128])
        told = opened.get_modelmeta().custom_metadata_map
        assert (told["preprocess"], told["height"], told["width"], told["channels"]) == (form, "32", "16", "RGB")
        assert json.loads(told["mean"]) == list(IMAGENET_MEAN) and json.loads(told["std"]) == list(IMAGENET_STD)
        assert (told["name"], told["digest"], told["dim"], told["opset"]) == ("a run", "0123", "128", "18")
        assert told["l2_normalised"] == "true" and "antialiased" in told["resize"]
        assert json.loads(told["versions"])["torch"] == torch.__version__.partition("+")[0]
        text = files[form].path.read_bytes()
        assert str(Path(__file__).parents[1]).encode() not in text and b"stack_trace" not in text
    beside = files["beside"].path
    assert json.loads(beside.with_name("beside.onnx.json").read_text()) == files["beside"].facts
    assert sorted(file.name for file in beside.parent.iterdir()) == ["beside.onnx", "beside.onnx.json", "inside.onnx"]
    graph = onnx.load(files["inside"].path).graph
    held = sum(math.prod(tensor.dims) for tensor in graph.initializer)
    spare = sum(p.numel() for p in model.classifiers.parameters())
    assert files["inside"].facts["parameters"] == sum(p.numel() for p in model.parameters()) - spare
    assert not any(7 in tensor.dims for tensor in graph.initializer)  # the classifiers' seven identities stay behind
    assert held < files["inside"].facts["parameters"] * 1.02


def test_the_report(files: Files) -> None:
    report = files["inside"]
    check = report.check
    assert (check.n_noise, check.n_images, check.rank1, check.top10) == (9, 12, 1.0, 1.0)
    assert check.max_difference < 1e-4 and check.worst_cosine > 0.99999 and check.within(1e-4) and not check.within(0)
    assert check.onnx_speed > 0 and check.torch_speed > 0
    assert report.megabytes == pytest.approx(report.path.stat().st_size / 1e6)
    text = str(report)
    assert "uint8 [batch, height, width, channel]" in text and "32 x 16, RGB" in text and "100.0%" in text
    assert "[batch, 128], L2-normalised" in text and "9 images of noise, 12 real" in text


def test_a_wrong_weight_or_a_wrong_description_is_found(model: Any, files: Files, tmp_path: Path) -> None:
    sane = check_onnx(files["inside"].path, model, noise(12))
    assert sane.max_difference == pytest.approx(files["inside"].check.max_difference, abs=1e-6)
    broken = onnx.load(files["inside"].path)
    tensor = max(broken.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    values = np.frombuffer(tensor.raw_data, np.float32).copy()
    values[::50] += 1
    tensor.raw_data = values.tobytes()
    onnx.save(broken, tmp_path / "broken.onnx")
    found = check_onnx(tmp_path / "broken.onnx", model, noise(12))
    assert found.max_difference > 1e-2 and found.worst_cosine < 0.999 and not found.within(1e-4) and found.rank1 < 1
    lying = onnx.load(files["beside"].path)
    (mean,) = [item for item in lying.metadata_props if item.key == "mean"]
    mean.value = json.dumps(list(IMAGENET_MEAN[::-1]))
    onnx.save(lying, tmp_path / "lying.onnx")
    assert check_onnx(tmp_path / "lying.onnx", model).max_difference > 1e-3


def test_what_cannot_be_checked(model: Any, files: Files, tmp_path: Path) -> None:
    for images in (noise(2).float(), noise(2, width=8), noise(2)[0]):
        with pytest.raises(UserError, match=r"expected uint8 \[image, 3, 32, 16\]"):
            check_onnx(files["inside"].path, model, images)
    (tmp_path / "x.onnx").write_bytes(b"nothing")
    with pytest.raises(UserError, match="does not open"):
        check_onnx(tmp_path / "x.onnx", model)
    foreign = onnx.load(files["inside"].path)
    del foreign.metadata_props[:]
    onnx.save(foreign, tmp_path / "x.onnx")
    with pytest.raises(UserError, match="no 'height' in its metadata"):
        check_onnx(tmp_path / "x.onnx", model)


def test_rank_agreement_is_that_of_a_loop_and_knows_ties() -> None:
    rng = np.random.default_rng(0)
    expected = rng.normal(size=(30, 5))
    found = expected + rng.normal(scale=0.2, size=expected.shape)
    unit = [array / np.linalg.norm(array, axis=1, keepdims=True) for array in (expected, found)]
    for k in (1, 10):
        same = []
        for i in range(30):
            near = [sorted((j for j in range(30) if j != i), key=lambda j: -(u[i] @ u[j]))[:k] for u in unit]
            same.append(set(near[0]) == set(near[1]))
        assert 0 < np.mean(same) < 1 and rank_agreement(expected, found, k) == np.mean(same)
    twins = np.array([[1.0, 0], [0, 1], [0, 1], [0, 1]])  # the nearest of the first is any of the others
    other = twins + np.array([[0, 0], [0, 0], [1e-9, 0], [0, 0]])
    assert rank_agreement(twins, other, 1) == 1 and rank_agreement(twins, other, 10) == 1
    apart = np.array([[1.0, 0], [1, 0.1], [1, 0.2]])
    assert rank_agreement(apart, apart[[0, 2, 1]], 1) == pytest.approx(
        2 / 3
    )  # only the first takes another for its nearest
    assert math.isnan(rank_agreement(apart[:1], apart[:1], 1))


def test_files_are_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, path = Tiny(), tmp_path / "new" / "tiny.onnx"
    model.train().conv.to(memory_format=torch.channels_last)
    with pytest.raises(UserError, match=r"differs from torch by .*, more than 0 .*nothing was written"):
        export_onnx(model, path, tolerance=0, images=noise(40, height=8, width=6))
    assert list(path.parent.iterdir()) == []
    assert model.training and model.conv.weight.is_contiguous(memory_format=torch.channels_last)
    with monkeypatch.context() as patch:
        patch.setattr("reidlab.export.write._ONE_FILE", 100)  # bytes of weights
        export_onnx(model, path, preprocess="beside", opset=20)
    assert sorted(file.name for file in path.parent.iterdir()) == ["tiny.onnx", "tiny.onnx.data", "tiny.onnx.json"]
    model.eval()
    assert check_onnx(path, model).within(1e-5) and onnx.load(path).opset_import[0].version == 20
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"tiny\.onnx exists already; .*--force"):
        export_onnx(model, path)
    assert path.read_bytes() == before
    report = export_onnx(Tiny("long"), path, force=True)
    assert [file.name for file in path.parent.iterdir()] == ["tiny.onnx"]  # what belonged to the other one is gone
    assert report.check.within(1e-5) and math.isnan(report.check.rank1)
    assert report.facts["l2_normalised"] is False and "L2" not in str(report) and "nearest" not in str(report)


@pytest.mark.parametrize(
    ("how", "said"), [("fixed", "Tiny cannot be exported"), ("raises", "ZeroDivisionError: by design")]
)
def test_models_that_cannot_be_traced(tmp_path: Path, how: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        export_onnx(Tiny(how), tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())


def test_damaged_weights_and_a_full_disk(tmp_path: Path) -> None:
    model = Tiny()
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        export_onnx(model, tmp_path / "file" / "x.onnx")
    nn.init.constant_(model.conv.weight, math.nan)
    with pytest.raises(UserError, match="NaN"):
        export_onnx(model, tmp_path / "x.onnx")
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"preprocess": "insid"}, "Did you mean 'inside'?"),
        ({"opset": 11}, "opset=11 is too old"),
        ({"opset": 9999}, "opset=9999 is too new: torch .*onnx .*onnxscript .* write 18 to "),
        ({"opset": onnx.defs.onnx_opset_version() + 1}, "is too new"),
        ({"path": "model.pt"}, "must end in .onnx"),
    ],
)
def test_requests_that_make_no_sense(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    path = tmp_path / options.pop("path", "x.onnx")
    with pytest.raises(UserError, match=said.replace("?", r"\?")):
        export_onnx(Tiny(), path, **options)


def test_the_bound_of_opsets_is_what_the_packages_say(monkeypatch: pytest.MonkeyPatch) -> None:
    check_request(Path("x.onnx"), opset=20)
    monkeypatch.setattr("onnx.defs.onnx_opset_version", lambda: 19)
    with pytest.raises(UserError, match=r"opset=20 is too new: .* write 18 to 19"):
        check_request(Path("x.onnx"), opset=20)


def test_a_disk_without_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reidlab.space.free_bytes", lambda _folder: 18_000_000)
    with pytest.raises(UserError, match=r"The exported model needs 4\.2 MB .* 18\.0 MB are free"):
        export_onnx(Tiny(), tmp_path / "new" / "x.onnx")
    assert list(tmp_path.iterdir()) == []


def test_packages_that_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install onnx onnxscript onnxruntime"):
        export_onnx(Tiny(), tmp_path / "x.onnx")


def test_a_model_must_say_how_pixels_become_its_input(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Linear has no `preprocess`"):
        export_onnx(nn.Linear(2, 2), tmp_path / "x.onnx")


class Parts(nn.Module):
    """What whole networks are made of, each part once: the networks themselves take ten seconds each."""

    preprocess = Preprocess(14, 6)

    def __init__(self) -> None:
        super().__init__()
        self.block = OSBlock(3, 16, "ain")
        self.attentions = nn.ModuleList(build_attention(name, 16) for name in ATTENTIONS)
        self.pools = nn.ModuleList(build_pooling(name) for name in POOLINGS)  # six stripes of fourteen rows
        self.neck = build_neck("bnneck", 16)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.block(images)
        for attention in self.attentions:
            maps = maps + attention(maps)
        features = [pool(maps).flatten(1) for pool in self.pools]
        stripes = nn.functional.adaptive_max_pool2d(maps, (4, 5))  # as for the part heads of the custom CNN
        return torch.cat([stripes.flatten(1), self.neck(features[0]), *features], dim=1)


FAMILIES = {
    "vit": lambda: ReIDModel(5, backbone="test_vit", **SIZE),
    "parts": Parts,
    "experts": lambda: Experts(5, experts=["test_resnet", "test_vit"], last_stride=1, common_dim=8, top_k=1, **SIZE),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_families(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    model = stirred(FAMILIES[name]())
    how = model.preprocess
    report = export_onnx(model, tmp_path / "x.onnx", images=noise(6, height=how.height, width=how.width))
    assert report.check.within(1e-4) and report.check.rank1 == report.check.top10 == 1
    assert b"stack_trace" not in report.path.read_bytes()  # of the exporter's, with this machine's files


@pytest.mark.parametrize("kind", ["vae", "sae"])
def test_a_siamese_autoencoder_gives_its_code_alone(tmp_path: Path, kind: str) -> None:
    torch.manual_seed(0)
    options: dict[str, Any] = {"backbone": "test_resnet", "autoencoder": {"name": kind, "code": 12, "hidden": [16]}}
    model = stirred(SiameseAutoencoder(5, decoder={"name": "direct", "hidden": 64}, **options, **SIZE))
    images = noise(6)
    report = export_onnx(model, tmp_path / "x.onnx", images=images)
    assert report.check.within(1e-4) and report.check.rank1 == report.check.top10 == 1
    (output,) = session(report.path).get_outputs()
    assert (output.name, output.shape[1]) == ("embeddings", 12)
    given = run(report.path, images.permute(0, 2, 3, 1).numpy())
    with torch.inference_mode():
        codes = model.codes(model.preprocess(images))
    np.testing.assert_allclose(given, nn.functional.normalize(codes, dim=1), atol=1e-4)
    written = sum(math.prod(weight.dims) for weight in onnx.load(str(report.path)).graph.initializer)
    needed = sum(weight.numel() for part in (model.backbone, model.autoencoder) for weight in part.parameters())
    assert written < 1.05 * needed < sum(weight.numel() for weight in model.parameters()), "no decoder, no pair head"


def test_the_command_on_a_training_run(tmp_path: Path, own_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(1)
    rows = []
    for i in range(12):
        path = tmp_path / "people" / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 20, 3), np.uint8)).save(path)
        rows.append((path.name, f"p{i // 2}", f"c{i % 2}", "train" if i < 6 else ("query", "gallery")[i % 2]))
    pd.DataFrame(rows, columns=["path", "pid", "camid", "split"]).to_csv(tmp_path / "people" / "t.csv", index=False)
    data = stages.data_stage("table", str(tmp_path / "people" / "t.csv"))
    spec = {"name": "custom_cnn_v32", "parts": False, **SIZE}

    def make(folder: Path) -> dict[str, Any]:
        torch.manual_seed(0)
        network = CustomCNNReID(3, parts=False, **SIZE)
        save_model(network, folder / "model", {"spec": spec, "num_classes": 3})
        return {"recipe": "tiny", "epochs": 2}

    made = store.stage("training", "tiny", params={"dataset": "table", "seed": 4}, make=make, inputs=[data.digest])
    target = tmp_path / "reports" / "onnx" / f"{made.path.name}.onnx"
    assert main(["export", made.digest[:8], "--preprocess", "beside", "--check-images", "4"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("written: ") and "9 images of noise, 4 real" in out and out.endswith("real images: table\n")
    told = json.loads(target.with_name(target.name + ".json").read_text())
    assert (told["name"], told["digest"], told["recipe"]) == (made.path.name, made.digest, "tiny")
    assert (told["trained_on"], told["epochs"], told["seed"], told["height"]) == ("table", 2, 4, 32)
    assert main(["export", made.path.name, "--check-images", "0"]) == 2
    assert "exists already" in capsys.readouterr().err


def test_a_registered_name_has_random_weights(tmp_path: Path) -> None:
    from reidlab.workbook.export import find_source

    source = find_source("osnet_x0_25")
    assert source.label == "osnet_x0_25" and "random weights of seed 0" in source.notes[0]
    before, states = torch.get_rng_state(), [source.load().state_dict() for _ in range(2)]
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())
    assert torch.equal(torch.get_rng_state(), before)
    assert not source.load().training


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["custom_cnn_v23"], "Among the registered models: Did you mean 'custom_cnn_v32'?"),
        (["custom_cnn_v32", "--preprocess", "both"], "preprocess='both' is unknown"),
        (["custom_cnn_v32", "-o", "x.pt"], "must end in .onnx"),
        ([""], "No model is named"),
    ],
)
def test_mistakes_are_one_message(capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    assert main(["export", *words]) == 2
    err = capsys.readouterr().err
    assert err.startswith("reidlab: ") and said in err and "Traceback" not in err
