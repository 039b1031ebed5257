"""int8: near float32, the same each time, calibrated apart from what it is judged by, and 7 bits where sums overflow."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from reidlab.errors import UserError
from reidlab.models import build
from reidlab.models.engines import Job, check_engine, missing_packages, onnx_runtime, open_vino, prepare
from reidlab.models.engines.choice import ready
from reidlab.models.engines.eight_bits import overflows, to_eight_bits
from reidlab.models.engines.graphs import graph_file

GRAPHS = {"onnxruntime": onnx_runtime, "openvino": open_vino}
SPEC = {"name": "custom_cnn_v32", "neck": "bnneck", "height": 32, "width": 16}

for _name in GRAPHS:
    if missing_packages(_name):
        pytest.skip(f"{_name} is not installed", allow_module_level=True)


def smooth(n: int, seed: int) -> Tensor:
    """Return images whose neighbouring pixels are alike, as in photographs."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, 3, 8, 4, generator=generator)
    return (nn.functional.interpolate(coarse, (32, 16), mode="bilinear") * 255).to(torch.uint8)


def job(**given: Any) -> Job:
    return replace(Job("cpu", "int8", None, lambda: smooth(32, 1), lambda: smooth(32, 2)), **given)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    made: Any = build(SPEC, 3)
    with torch.no_grad():
        made.train()(made.preprocess(smooth(64, 3)))
    return made.eval()


@pytest.fixture(scope="module")
def graph(model: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    with graph_file(model) as path:
        return path.read_bytes()


@pytest.fixture(autouse=True)
def _one_export(graph: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let both runtimes read the graph that was written once: writing it takes seconds."""

    @contextmanager
    def kept(_: nn.Module) -> Iterator[Path]:
        (tmp_path / "kept.onnx").write_bytes(graph)
        yield tmp_path / "kept.onnx"

    for module in GRAPHS.values():
        monkeypatch.setattr(module, "graph_file", kept)


@pytest.fixture
def path(graph: bytes, tmp_path: Path) -> Path:
    (tmp_path / "model.onnx").write_bytes(graph)
    return tmp_path / "model.onnx"


def weights(path: Path) -> list[np.ndarray]:
    import onnx

    found = [onnx.numpy_helper.to_array(each) for each in onnx.load(path).graph.initializer]
    return [each for each in found if each.dtype == np.int8 and each.ndim > 1]


def summed(limit: float) -> Any:
    """Return a runtime that computes the probe's convolution product by product and keeps pairs of sums below a limit."""

    def infer(_: Path, images: np.ndarray) -> np.ndarray:
        pairs = images.astype(np.float64).reshape(*images.shape[:3], -1, 2) * 127
        total = np.minimum(pairs.sum(-1), limit).sum(-1) / 255 / 127
        return np.repeat(total[:, None], images.shape[-1], axis=1).astype(np.float32)

    return infer


def test_sums_that_overflow_are_noticed(tmp_path: Path) -> None:
    assert overflows(tmp_path / "probe.onnx", summed(32_767))
    assert not overflows(tmp_path / "probe.onnx", summed(math.inf))
    for engine in GRAPHS.values():
        first = overflows(tmp_path / "probe.onnx", engine._once)
        assert overflows(tmp_path / "probe.onnx", engine._once) is first, "a CPU does or does not"


@pytest.mark.parametrize(("limit", "highest"), [(math.inf, 127), (32_767, 64)])
def test_weights_keep_seven_bits_where_sums_overflow(limit: float, highest: int, path: Path) -> None:
    found = weights(to_eight_bits(path, job(), summed(limit)))
    assert len(found) > 5 and max(int(np.abs(each.astype(int)).max()) for each in found) == highest


@pytest.mark.parametrize("engine", GRAPHS)
def test_embeddings_near_those_of_float32_and_the_same_each_time(engine: str, model: nn.Module) -> None:
    images = smooth(21, 4)
    with torch.inference_mode():
        expected = model(model.preprocess(images))  # type: ignore[operator]
    found = prepare(model, engine, job())
    assert found.precision == "int8" and found.described().endswith(f"int8, {engine}")
    vectors = found.embed(images)
    cosines = torch.cosine_similarity(vectors, expected)
    assert 0.99 < cosines.min() < cosines.max() < 1 - 1e-7, "near, and yet not the graph of float32"
    assert torch.equal(vectors, prepare(model, engine, job()).embed(images))


def test_nothing_is_said_and_no_logger_changed(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    handlers, filters = list(root.handlers), list(root.filters)
    to_eight_bits(path, job(), summed(math.inf))
    assert (root.handlers, root.filters) == (handlers, filters) and capfd.readouterr() == ("", "")


@pytest.mark.parametrize("reader", [None, lambda: smooth(7, 0)])
def test_too_few_images_to_calibrate_on(reader: Any, model: nn.Module) -> None:
    n = 7 if reader else 0
    with pytest.raises(
        UserError, match=f"takes 16 or more, and here are {n} to calibrate on. Choose another precision"
    ):
        prepare(model, "onnxruntime", job(read_calibration=reader))


def test_a_graph_that_is_not_managed(path: Path) -> None:
    path.write_bytes(b"no graph")
    with pytest.raises(UserError, match=r"precision='int8': this model's graph is not managed .* another precision"):
        to_eight_bits(path, job(), summed(math.inf))


def test_what_is_too_far_from_float32_is_refused_with_the_figure(model: nn.Module) -> None:
    near = ready(model, "onnxruntime", job(), 32)
    assert near.near and near.lowest <= near.cosine and f"lowest {near.lowest:.5f}" in str(near)
    dark = job(read_calibration=lambda: torch.zeros(8, 3, 32, 16, dtype=torch.uint8))  # no range of what comes
    message = r"onnxruntime, int8: .*mean cosine to float32 0\.\d{5}, lowest .* takes 0\.995 .*precision='bfloat16'"
    with pytest.raises(UserError, match=message):
        ready(model, "onnxruntime", dark, 32)


def test_the_quantiser_is_a_package_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else find(name))
    assert check_engine("openvino", "float32", "cpu") == ("cpu", "float32")
    with pytest.raises(UserError, match="precision='int8' needs onnxruntime, not installed here: pip install"):
        check_engine("openvino", "int8", "cpu")
