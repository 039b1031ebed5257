"""Published weights: the embedding written out from the raw file, and files that are something else."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reidlab.errors import UserError
from reidlab.models import build
from reidlab.models.backbones import build_backbone
from reidlab.models.families.custom_cnn import static_kernels
from reidlab.models.families.custom_cnn_reid import CustomCNNReID
from reidlab.models.weights.published import LoadReport, Published, load_custom_cnn_v32, load_published, read_state


def published_shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes as in reid_model_3.2.pth."""
    shapes: dict[str, tuple[int, ...]] = {"static_conv.weight": (3, 3, 3, 3), "trainable_conv.weight": (13, 3, 3, 3)}

    def norm(name: str, width: int) -> None:
        shapes.update({f"{name}.{k}": (width,) for k in ("weight", "bias", "running_mean", "running_var")})
        shapes[f"{name}.num_batches_tracked"] = ()

    def linear(name: str, n_in: int, n_out: int) -> None:
        shapes.update({f"{name}.weight": (n_out, n_in), f"{name}.bias": (n_out,)})

    norm("bn1", 16)
    for i, (n_in, n_out) in enumerate([(16, 32), (32, 64), (64, 128), (128, 256)], start=2):
        shapes.update({f"conv{i}.0.weight": (n_out, n_in, 3, 3), f"conv{i}.0.bias": (n_out,)})
        shapes[f"skip_{n_in}_to_{n_out}.weight"] = (n_out, n_in, 1, 1)
        norm(f"conv{i}.1", n_out)
    for i, width in ((4, 128), (5, 256)):
        shapes[f"cbam{i}.channel_attention.1.weight"] = (width // 8, width, 1, 1)
        shapes[f"cbam{i}.channel_attention.3.weight"] = (width, width // 8, 1, 1)
        shapes[f"cbam{i}.spatial_attention.0.weight"] = (1, 2, 3, 3)
    linear("fc_global.0", 256, 256)
    norm("fc_global.1", 256)
    linear("fc_global.3", 256, 128)
    shapes.update({"fc_global.4.weight": (128,), "fc_global.4.bias": (128,)})
    for i in range(6):
        linear(f"fc_parts.{i}.0", 256, 128)
        shapes.update({f"fc_parts.{i}.1.weight": (128,), f"fc_parts.{i}.1.bias": (128,)})
    return shapes


def fake_state(seed: int = 0) -> OrderedDict[str, Tensor]:
    """Random tensors under the published names; the part heads' LayerNorms at 1 and 0, as in the real file."""
    generator = torch.Generator().manual_seed(seed)
    state: OrderedDict[str, Tensor] = OrderedDict()
    for name, shape in published_shapes().items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(7)
        elif name.startswith("fc_parts") and (".1." in name or name.endswith("0.bias")):
            state[name] = torch.full(shape, float(name.endswith("1.weight")))
        elif name.endswith("running_var"):
            state[name] = 0.5 + torch.rand(shape, generator=generator)
        else:
            fan = max(1, torch.Size(shape[1:]).numel())
            state[name] = torch.randn(shape, generator=generator) / fan**0.5
    return state


def embed_by_hand(state: dict[str, Tensor], images: Tensor) -> Tensor:
    """The published network's evaluation pass from the raw tensors alone."""

    def bn(x: Tensor, name: str) -> Tensor:
        mean, var, weight, bias = (state[f"{name}.{k}"] for k in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, mean, var, weight, bias, training=False)

    def stage(x: Tensor, i: int, skip: str, stride: int, activation: Callable[[Tensor], Tensor]) -> Tensor:
        body = F.conv2d(x, state[f"conv{i}.0.weight"], state[f"conv{i}.0.bias"], stride=stride, padding=1)
        return activation(bn(body, f"conv{i}.1")) + F.conv2d(x, state[f"skip_{skip}.weight"], stride=stride)

    def cbam(x: Tensor, i: int) -> Tensor:
        w = {k.removeprefix(f"cbam{i}."): v for k, v in state.items() if k.startswith(f"cbam{i}.")}
        hidden = F.leaky_relu(x.mean((2, 3)) @ w["channel_attention.1.weight"].flatten(1).T, 0.1)
        x = x * torch.sigmoid(hidden @ w["channel_attention.3.weight"].flatten(1).T)[:, :, None, None]
        pooled = torch.stack([x.mean(1), x.max(1).values], dim=1)
        return x * torch.sigmoid(F.conv2d(pooled, w["spatial_attention.0.weight"], padding=1))

    kernels = torch.cat([state["static_conv.weight"], state["trainable_conv.weight"]])
    x = F.leaky_relu(bn(F.conv2d(images, kernels, padding=1), "bn1"), 0.1)
    x = stage(x, 2, "16_to_32", 2, F.elu)
    x = stage(x, 3, "32_to_64", 2, F.elu)
    x = cbam(stage(x, 4, "64_to_128", 2, F.elu), 4)
    x = cbam(stage(x, 5, "128_to_256", 1, F.relu6), 5)
    x = F.linear(x.mean((2, 3)), state["fc_global.0.weight"], state["fc_global.0.bias"])
    x = F.linear(F.leaky_relu(bn(x, "fc_global.1"), 0.1), state["fc_global.3.weight"], state["fc_global.3.bias"])
    x = F.layer_norm(x, (128,), state["fc_global.4.weight"], state["fc_global.4.bias"])
    return x / x.norm(dim=1, keepdim=True)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "reid_model_3.2.pth"
    torch.save(fake_state(), path)
    return path


def check_embedding(path: Path) -> LoadReport:
    model = build("custom_cnn_v32").eval()
    report = load_custom_cnn_v32(model, path)
    images = torch.rand(2, 3, 128, 64, generator=torch.Generator().manual_seed(0))
    state = dict(torch.load(path, map_location="cpu", weights_only=True))
    with torch.inference_mode():
        torch.testing.assert_close(model(images), embed_by_hand(state, images), rtol=1e-4, atol=1e-5)
    return report


def test_a_file_with_the_published_names(weights: Path) -> None:
    report = check_embedding(weights)
    assert report == LoadReport(80, (), (), report.notes)
    assert "fixed filters were taken from the file" in report.notes[0] and "never trained" in report.notes[1]
    assert str(report).startswith("80 tensors loaded, 0 missing, 0 unused. The fixed filters")


@pytest.mark.real_data
def test_the_published_file(real_data: Callable[[str], Path]) -> None:
    path = real_data("weights") / "reid_model_3.2.pth"
    if not path.is_file():
        pytest.skip("data/raw/weights/reid_model_3.2.pth is not there (data/README.md says how to get it)")
    assert path.stat().st_size == 3_056_946
    shapes = {name: tuple(tensor.shape) for name, tensor in read_state(path).items()}
    assert shapes == published_shapes()
    report = check_embedding(path)
    assert (report.matched, report.unused, report.missing, len(report.notes)) == (80, (), (), 2)


def test_a_clean_file_has_no_notes(tmp_path: Path) -> None:
    state = fake_state()
    state["static_conv.weight"] = static_kernels()
    state["fc_parts.3.1.bias"] += 0.1
    torch.save(state, tmp_path / "w.pth")
    assert load_custom_cnn_v32(build("custom_cnn_v32"), tmp_path / "w.pth").notes == ()


def test_missing_and_unused_are_named(tmp_path: Path) -> None:
    state = fake_state()
    del state["fc_global.4.bias"]
    state["classifier.weight"], state["lonely"] = torch.zeros(3), torch.zeros(3)
    torch.save(state, tmp_path / "w.pth")
    model = build({"name": "custom_cnn_v32", "parts": False})
    with torch.no_grad():
        model.network.head[4].bias.fill_(3)
    report = load_custom_cnn_v32(model, tmp_path / "w.pth")
    assert report.missing == ("head.4.bias",)
    assert {"classifier.weight", "lonely", "part_heads.0.0.weight"} <= set(report.unused) and len(report.unused) == 26
    assert report.matched == 80 - 24 - 1
    assert (model.network.head[4].bias == 3).all()  # kept
    assert torch.equal(model.network.head[3].weight, state["fc_global.3.weight"])


def test_necks_and_classifiers_are_left_alone(weights: Path) -> None:
    model = build({"name": "custom_cnn_v32", "neck": "bnneck"}, 5)
    before = model.classifiers[0].weight.clone()
    assert load_custom_cnn_v32(model, weights).missing == ()
    assert torch.equal(model.classifiers[0].weight, before)


def test_another_model(weights: Path) -> None:
    with pytest.raises(UserError, match="belong to custom_cnn_v32, not to Linear"):
        load_custom_cnn_v32(nn.Linear(2, 2), weights)


def test_another_shape(tmp_path: Path) -> None:
    state = fake_state()
    state["fc_global.3.weight"] = torch.zeros(64, 256)
    torch.save(state, tmp_path / "w.pth")
    model = CustomCNNReID()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(UserError, match=r"1 tensors have another shape, first head.3.weight \(\(64, 256\) in the file"):
        load_custom_cnn_v32(model, tmp_path / "w.pth")
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_another_network_of_tensors(tmp_path: Path) -> None:
    torch.save(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).state_dict(), tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"matches 0 of 80 tensors; is it reid_model_3.2.pth\?"):
        load_custom_cnn_v32(build("custom_cnn_v32"), tmp_path / "w.pth")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere.pth does not exist"):
        read_state(tmp_path / "nowhere.pth")


class Payload:
    """Pickled, it writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.path, "ran")


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_code_in_a_file_is_not_run(tmp_path: Path, how: str) -> None:
    path, mark = tmp_path / "evil.pth", tmp_path / "mark"
    content = {"weight": torch.zeros(2), "payload": Payload(mark)}
    if how == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(Payload(mark)))
    with pytest.raises(UserError, match=r"evil.pth is not readable as plain tensors"):
        read_state(path)
    assert not mark.exists()


@pytest.mark.parametrize(
    "content",
    [[1, 2], {}, {"a": 1}, {"state_dict": {"a": torch.zeros(1)}}, {0: torch.zeros(1)}, torch.zeros(3), 5, None],
    ids=repr,
)
def test_plain_content_that_is_no_state_dict(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(UserError, match="holds no state dict"):
        read_state(tmp_path / "w.pth")


def test_garbage(tmp_path: Path, weights: Path) -> None:
    """Empty, short, random and damaged files, and a folder: always the one error that names the file."""
    generator = torch.Generator().manual_seed(0)
    good = weights.read_bytes()
    contents = [b"", b"\x80", b"\x80\x02", b"PK\x03\x04", b"<html>not found</html>", good[: len(good) // 2], good[:100]]
    contents += [
        torch.randint(0, 256, (n,), generator=generator).to(torch.uint8).numpy().tobytes() for n in range(1, 60)
    ]
    contents += [b"\x80\x02" + content for content in contents[7:]]
    path = tmp_path / "garbage.pth"
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"garbage.pth"):
            read_state(path)
    with pytest.raises(UserError, match="not readable"):
        read_state(tmp_path)


# ------------------------------------------------------------------------------------------------ NAME:FILE, any model


def write(path: Path, state: Mapping[str, Tensor]) -> Path:
    torch.save(dict(state), path)
    return path


def embed(model: nn.Module) -> Tensor:
    images = torch.rand(2, 3, 64, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        return model(images)


def published_osnet() -> Any:
    """An OSNet as torchreid publishes it: backbone, `fc`, and a classifier."""
    torch.manual_seed(5)
    return stirred(build_backbone("osnet_x0_25", feature_dim=512))


def stirred(network: Any) -> Any:
    generator = torch.Generator().manual_seed(3)
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point() and tensor.dim() == 1:
            low = 0.5 if name.endswith(("running_var", "weight")) else -0.5
            tensor.add_(torch.empty_like(tensor).uniform_(low, low + 1, generator=generator))
    return network.eval()


def under_two_seeds(name: str, path: Path) -> Published:
    """Load twice; what the random generator gives must not matter."""
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        found.append(load_published(name, path))
    assert torch.equal(embed(found[0].model), embed(found[1].model))
    return found[0]


def test_a_whole_osnet(tmp_path: Path) -> None:
    network = published_osnet()
    state = {**network.state_dict(), "classifier.weight": torch.zeros(3, 512)}
    found = under_two_seeds("osnet_x0_25", write(tmp_path / "w.pth", {f"module.{n}": t for n, t in state.items()}))
    assert found.spec == {"name": "osnet_x0_25"} and not found.report.missing
    torch.testing.assert_close(embed(found.model), F.normalize(embed(network).flatten(1)))
    assert str(found.report).endswith("Not used of the file: classifier.*")


def test_an_osnet_without_its_head(tmp_path: Path) -> None:
    """Its layer of 512 is left out, and not made up: embeddings moved with torch's seed under one digest."""
    network = published_osnet()
    state = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith("fc.")}
    found = under_two_seeds("osnet_x0_25", write(tmp_path / "w.pth", state))
    assert found.spec == {"name": "osnet_x0_25", "feature_dim": 0} and not found.report.missing
    assert "no layer of 512 behind the pooling (fc.*), so it was left out" in str(found.report)
    network.take_head()
    torch.testing.assert_close(embed(found.model), F.normalize(embed(network).mean((2, 3))))


def test_an_osnet_with_another_head(tmp_path: Path) -> None:
    torch.manual_seed(5)
    network = stirred(build_backbone("osnet_x0_25", feature_dim=48))
    found = under_two_seeds("osnet_x0_25", write(tmp_path / "w.pth", network.state_dict()))
    torch.testing.assert_close(embed(found.model), F.normalize(embed(network).flatten(1)))


@pytest.mark.parametrize("lost", ["fc.0.weight", "fc.1.running_mean", "conv3.0.conv2b.1.bn.weight"])
def test_an_osnet_that_lacks_a_tensor(tmp_path: Path, lost: str) -> None:
    state = published_osnet().state_dict()
    del state[lost]
    ours = lost.replace("fc.", "reduce.") if lost.startswith("fc.") else f"backbone.{lost}"
    with pytest.raises(
        UserError, match=rf"w\.pth lacks 1 tensors that embeddings pass through .*: {ours}\. They would"
    ):
        load_published("osnet_x0_25", write(tmp_path / "w.pth", state))
    state[lost] = torch.zeros(3)
    with pytest.raises(UserError, match=rf"w\.pth lacks 1 tensors .*another shape\): {ours}"):
        load_published("osnet_x0_25", write(tmp_path / "w.pth", state))


@pytest.mark.parametrize(
    ("base", "neck"), [("base.", "bottleneck."), ("backbone.", "heads.bottleneck.0."), ("backbone.", "neck.")]
)
def test_a_network_with_a_neck(tmp_path: Path, base: str, neck: str) -> None:
    """As the strong baseline, fast-reid, and reidlab itself save theirs."""
    torch.manual_seed(6)
    trained = stirred(build({"name": "resnet18", "neck": "bnneck", "height": 64, "width": 32}))
    state = {
        name.replace("backbone.", base).replace("neck.", neck): tensor for name, tensor in trained.state_dict().items()
    }
    found = under_two_seeds("resnet18", write(tmp_path / "w.pth", state))
    assert found.spec == {"name": "resnet18", "neck": "bnneck"} and not found.report.unused
    assert "The file has a neck (bottleneck.*), behind which embeddings are taken" in str(found.report)
    torch.testing.assert_close(embed(found.model), embed(trained))


def test_a_neck_that_does_not_fit_is_named(tmp_path: Path) -> None:
    torch.manual_seed(6)
    state = stirred(build_backbone("resnet18")).state_dict()
    state |= {"bottleneck.running_mean": torch.zeros(99), "bottleneck.weight": torch.zeros(99)}
    found = under_two_seeds("resnet18", write(tmp_path / "w.pth", state))
    assert found.spec == {"name": "resnet18"} and "Not used of the file: bottleneck.*" in str(found.report)


def test_what_no_embedding_passes_through_may_be_missing(tmp_path: Path) -> None:
    state = {name: tensor for name, tensor in fake_state().items() if not name.startswith("fc_parts")}
    found = under_two_seeds("custom_cnn_v32", write(tmp_path / "w.pth", state))
    assert len(found.report.missing) == 24
    del state["fc_global.4.bias"]
    with pytest.raises(UserError, match=r"w\.pth lacks 1 tensors .*network\.head\.4\.bias"):
        load_published("custom_cnn_v32", write(tmp_path / "w.pth", state))


def test_two_networks_in_one_file(tmp_path: Path) -> None:
    state = published_osnet().state_dict()
    both = {f"module.{name}": tensor for name, tensor in state.items()}
    both |= {f"net.{name}": tensor for name, tensor in state.items()}
    assert not under_two_seeds("osnet_x0_25", write(tmp_path / "w.pth", both)).report.missing, "the same twice"
    both["net.conv1.conv.weight"] = torch.zeros_like(state["conv1.conv.weight"])
    with pytest.raises(UserError, match=r"w\.pth contains two networks: '\w+.conv1.conv.weight' is not the only"):
        load_published("osnet_x0_25", write(tmp_path / "w.pth", both))


@pytest.mark.parametrize("name", ["osnet_x0_25", "custom_cnn_v32"])
@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda t: t.index_fill(0, torch.tensor(0), float("nan")), "has .* NaN or infinite values"),
        (lambda t: t.double() * 1e300, "has .* NaN or infinite values"),  # finite in the file, not in the model
        (lambda t: t.to(torch.complex64), "is complex.* imaginary part"),
        (lambda t: (t * 10).to(torch.int8), "is of type torch.int8, and floating-point numbers are needed"),
    ],
)
def test_numbers_that_are_none(tmp_path: Path, name: str, change: Callable[[Tensor], Tensor], match: str) -> None:
    state = dict(fake_state() if name == "custom_cnn_v32" else published_osnet().state_dict())
    first = next(key for key, tensor in state.items() if tensor.dim() == 4)
    state[first] = change(state[first])
    with pytest.raises(UserError, match=rf"w\.pth: tensor '.*weight' {match}"):
        load_published(name, write(tmp_path / "w.pth", state))
