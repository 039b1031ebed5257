"""Published weights: the embedding written out from the raw file, and files that are something else."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reidlab.errors import UserError
from reidlab.models import build
from reidlab.models.custom_cnn import static_kernels
from reidlab.models.custom_cnn_reid import CustomCNNReID
from reidlab.models.published import LoadReport, load_custom_cnn_v32, read_state


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
