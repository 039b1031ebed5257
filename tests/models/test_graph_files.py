"""Files of ONNX and OpenVINO as models: what their input is, what is refused, the same numbers as torch."""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from reidlab.errors import UserError
from reidlab.export import export_onnx
from reidlab.models import build, count_macs
from reidlab.models.graph_files import graph_digest, is_graph_file, load_graph
from reidlab.models.graph_input import GraphInput
from reidlab.models.saved import saved_model
from reidlab.stages.models import model_from
from reidlab.stages.training import describe_model
from reidlab.training.teachers import find_teacher, teacher_digests

pytest.importorskip("openvino")
SPEC = {"name": "custom_cnn_v32", "height": 32, "width": 16}


def openvino() -> Any:
    import openvino as ov

    return ov


def images(n: int = 3, height: int = 32, width: int = 16) -> Tensor:
    generator = torch.Generator().manual_seed(n)
    return torch.randint(0, 256, (n, 3, height, width), dtype=torch.uint8, generator=generator)


def write(path: Path, make: Callable[[Any], Any], beside: str = "channels: rgb\nrange: 1\n") -> Path:
    """Write a graph of OpenVINO's operators, and what is said of its input."""
    from openvino import opset13 as ops

    graph = make(ops)
    openvino().save_model(graph, path, compress_to_fp16=False)
    if beside:
        path.with_suffix(".yaml").write_text(beside)
    return path


def means(ops: Any, shape: tuple[int, ...] = (1, 3, 8, 4), dims: int = 2, batch: bool = True) -> Any:
    """A graph that gives the mean of each channel, [batch, 3] or [batch, 3, 1, ...], times 1, 2, 3."""
    data = ops.parameter(list(shape), np.float32, name="data")
    pooled = ops.reduce_mean(data, np.array([2, 3]), keep_dims=dims > 2)
    weights = np.array([1.0, 2.0, 3.0], np.float32).reshape(1, 3, *[1] * (dims - 2))
    out = ops.multiply(pooled, weights)
    if not batch:  # of one image at a time alone
        out = ops.reshape(out, np.array([1, 3]), special_zero=False)
    out.output(0).get_tensor().set_names({"embedding"})
    return openvino().Model([out], [data], "means")


def test_channels_range_mean_and_std(tmp_path: Path) -> None:
    beside = "channels: bgr\nrange: 255\nmean: [10, 20, 30]\nstd: [1, 2, 4]\n"
    model = load_graph(write(tmp_path / "means.xml", means, beside))
    pixels = images(11, 8, 4)
    found = model(model.preprocess(pixels))
    for image, row in zip(pixels.numpy().astype(np.float64), found.numpy()):
        blue, green, red = (image[i].mean() for i in (2, 1, 0))
        np.testing.assert_allclose(row, [blue - 10, 2 * (green - 20) / 2, 3 * (red - 30) / 4], rtol=1e-4)
    assert (model.dim, model.preprocess.height, model.preprocess.width) == (3, 8, 4)
    assert "BGR from 0 to 255, minus [10.0, 20.0, 30.0], over [1.0, 2.0, 4.0]" in model.told
    assert model(torch.zeros(0, 3, 8, 4)).shape == (0, 3)
    assert copy.deepcopy(model) is model


@pytest.mark.parametrize("dims", [2, 4])
@pytest.mark.parametrize("batch", [True, False])
def test_any_number_of_images(tmp_path: Path, dims: int, batch: bool) -> None:
    """Also of a graph that takes one image at a time, and of one whose embedding is [batch, dim, 1, 1]."""
    model = load_graph(write(tmp_path / "means.xml", lambda ops: means(ops, dims=dims, batch=batch)))
    given = model.preprocess(images(9, 8, 4))
    wanted = given.mean((2, 3)) * torch.tensor([1.0, 2.0, 3.0])
    torch.testing.assert_close(model(given), wanted, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(model(given[:1]), wanted[:1], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("preprocess", ["inside", "beside"])
def test_what_reidlab_exports_needs_no_words(tmp_path: Path, preprocess: str) -> None:
    pytest.importorskip("onnxscript")
    torch.manual_seed(0)
    model: Any = build({**SPEC, "name": "osnet_x0_25", "height": 64, "width": 32}).eval()
    path = tmp_path / "own.onnx"
    export_onnx(model, path, preprocess=preprocess)
    graph = load_graph(path)
    pixels = images(5, 64, 32)
    with torch.no_grad():
        wanted = model(model.preprocess(pixels))
    torch.testing.assert_close(graph(graph.preprocess(pixels)), wanted, atol=1e-4, rtol=1e-4)
    described = describe_model(graph)
    assert described["macs"] == count_macs(model, 64, 32)
    assert (described["dim"], described["height"], described["width"]) == (wanted.shape[1], 64, 32)
    source = model_from(str(path))
    assert source.label == "own" and source.elsewhere and source.digest == graph_digest(path)
    torch.testing.assert_close(source.load()(graph.preprocess(pixels)), wanted, atol=1e-4, rtol=1e-4)


def two_inputs(ops: Any) -> Any:
    first, second = (ops.parameter([1, 3, 8, 4], np.float32, name=name) for name in ("a", "b"))
    return openvino().Model([ops.add(first, second)], [first, second], "two")


def two_outputs(ops: Any) -> Any:
    data = ops.parameter([1, 3, 8, 4], np.float32, name="data")
    outs = [ops.reduce_mean(data, np.array([2, 3]), keep_dims=False), ops.reduce_max(data, np.array([2, 3]), False)]
    for name, out in zip(("mean", "largest"), outs):
        out.output(0).get_tensor().set_names({name})
    return openvino().Model(outs, [data], "outputs")


def four_channels(ops: Any) -> Any:
    data = ops.parameter([1, 4, 8, 4], np.float32, name="data")
    return openvino().Model([ops.reduce_mean(data, np.array([2, 3]), keep_dims=False)], [data], "four")


def maps(ops: Any) -> Any:
    data = ops.parameter([1, 3, 8, 4], np.float32, name="data")
    return openvino().Model([ops.relu(data)], [data], "maps")


@pytest.mark.parametrize(
    ("make", "beside", "words"),
    [
        (two_inputs, "channels: rgb\nrange: 1\n", r"takes 2 inputs \(.*\), and a model here takes one"),
        (
            two_outputs,
            "channels: rgb\nrange: 1\n",
            r"has several outputs: mean, largest\. Name the embedding: `output`",
        ),
        (two_outputs, "channels: rgb\nrange: 1\noutput: x\n", "has no output 'x'; it has mean, largest"),
        (maps, "channels: rgb\nrange: 1\n", r"is \[1, 3, 8, 4\] for one image, no embedding"),
        (four_channels, "channels: rgb\nrange: 1\n", "its input is .*4,8,4.*images are"),
        (lambda ops: means(ops, (1, 3, -1, 4)), "channels: rgb\nrange: 1\n", "leaves the height .* open: say it in"),
        (means, "channels: rgb\nrange: 1\nwidth: 5\n", "width=5, but the file takes images of width 4"),
        (means, "", r"does not say what numbers it takes\. Write g.yaml beside it with channels"),
        (means, "range: 1\n", "channels: Field required"),
        (means, "channels: gbr\nrange: 1\n", "channels: .*given 'gbr'"),
        (means, "channels: rgb\nrange: 0\n", "range: .*greater than 0, given 0"),
        (means, "channels: rgb\nrange: 1\nmeen: [0, 0, 0]\n", "'meen' is unknown; it has .*mean.*Did you mean 'mean'"),
        (means, "channels: rgb\nrange: 1\nstd: [1, 0, 1]\n", "std"),
        (means, "channels: rgb\nrange: 1\nmean: [1, 2]\n", "mean"),
    ],
)
def test_refused(tmp_path: Path, make: Callable[[Any], Any], beside: str, words: str) -> None:
    path = write(tmp_path / "g.xml", make, beside)
    with pytest.raises(UserError, match=words):
        load_graph(path)
    with pytest.raises(UserError, match=r"teachers=.*g.xml"):
        find_teacher(str(path)).load()


def test_named_output_and_open_size(tmp_path: Path) -> None:
    model = load_graph(write(tmp_path / "g.xml", two_outputs, "channels: rgb\nrange: 1\noutput: largest\n"))
    given = model.preprocess(images(3, 8, 4))
    torch.testing.assert_close(model(given), given.amax((2, 3)))
    beside = "channels: rgb\nrange: 1\nheight: 8\nwidth: 4\n"
    model = load_graph(write(tmp_path / "open.xml", lambda ops: means(ops, (-1, 3, -1, -1)), beside))
    assert model(given).shape == (3, 3) and model.chunk == 0


def test_files_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"there is no file .*nothing\.onnx"):
        load_graph(tmp_path / "nothing.onnx")
    junk = tmp_path / "junk.onnx"
    junk.write_bytes(b"no protobuf")
    with pytest.raises(UserError, match=r"junk\.onnx cannot be used: OpenVINO says"):
        load_graph(junk)
    path = write(tmp_path / "means.xml", means)
    path.with_suffix(".bin").unlink()
    with pytest.raises(UserError, match=r"its weights, means\.bin, must lie beside it"):
        load_graph(path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"read by openvino, not installed here: pip install openvino"):
        load_graph(junk)
    assert is_graph_file("a/b.XML") and is_graph_file(" x.onnx ") and not is_graph_file("x.xml.pth")


def test_the_digest_covers_weights_and_what_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "means.xml", means)
    first = graph_digest(path)
    assert teacher_digests([str(path)]) == [first]
    path.with_suffix(".yaml").write_text("channels: bgr\nrange: 1\n")
    second = graph_digest(path)
    weights = path.with_suffix(".bin")
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert len({first, second, graph_digest(path)}) == 3


def test_a_file_is_no_beginning_of_a_training(tmp_path: Path) -> None:
    path = write(tmp_path / "means.xml", means)
    with pytest.raises(UserError, match=r"start=.*means\.xml' is the file of a network that cannot be trained"):
        saved_model(str(path))


def test_the_input_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        GraphInput(channels="rgb", range=1).mean = (1.0, 1.0, 1.0)
