"""Engines: the embeddings of torch whatever computes them, batches of any size, models of every kind, refusals by name."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from reidlab.data.transforms import Preprocess
from reidlab.errors import UserError
from reidlab.models import build
from reidlab.models.engines import ENGINES, Job, check_engine, graphs, missing_packages, prepare
from reidlab.models.engines.base import Pixels, Runner

SIZE = {"height": 32, "width": 16}
SPECS: dict[str, Any] = {
    "custom_cnn": {"name": "custom_cnn_v32", "neck": "bnneck", **SIZE},
    "osnet": {"name": "osnet_x0_25", "neck": "bnneck", **SIZE},
    "vit": {"name": "vit_small", **SIZE},
}
GRAPHS = ("onnxruntime", "openvino")


def noise(n: int, seed: int = 0, height: int = 32, width: int = 16) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (n, 3, height, width), dtype=torch.uint8, generator=generator)
    return images.contiguous(memory_format=torch.channels_last)


def made(name: str) -> nn.Module:
    """Return a model whose statistics are those of images."""
    torch.manual_seed(0)
    model = build(SPECS[name], 3)
    with torch.no_grad():
        model.train()(model.preprocess(noise(16, 1)))  # type: ignore[operator]
    return model.eval()


@pytest.fixture(scope="module")
def models() -> dict[str, nn.Module]:
    return {name: made(name) for name in SPECS}


@pytest.fixture(scope="module", autouse=True)
def _one_export_for_each_model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let both runtimes read the graph that was written once: writing it takes seconds."""
    folder, known = tmp_path_factory.mktemp("graphs"), dict[int, Path]()

    @contextmanager
    def kept(model: nn.Module) -> Iterator[Path]:
        if id(model) not in known:
            with graphs.graph_file(model) as path:
                known[id(model)] = shutil.copy(path, folder / f"{len(known)}.onnx")
        yield known[id(model)]

    with pytest.MonkeyPatch.context() as patch:
        for module in ("onnx_runtime", "open_vino"):
            patch.setattr(f"reidlab.models.engines.{module}.graph_file", kept)
        yield


def job(precision: str = "float32", batch_size: int | None = None) -> Job:
    return Job("cpu", precision, batch_size, lambda: noise(8, 2))


def here(engine: str) -> None:
    missing = missing_packages(engine)
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed")


def exact(model: nn.Module, images: Tensor) -> np.ndarray:
    with torch.inference_mode():
        return torch.cat([model(model.preprocess(image[None])) for image in images]).numpy()  # type: ignore[operator]


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("engine", GRAPHS)
def test_the_embeddings_of_torch_for_batches_of_any_size(engine: str, name: str, models: dict[str, nn.Module]) -> None:
    here(engine)
    model, images = models[name], noise(37)
    state, mode = {key: value.clone() for key, value in model.state_dict().items()}, model.training
    ready = prepare(model, engine, job())
    expected = exact(model, images)
    for n in (37, 1, 8, 17):
        found = ready.embed(images[:n])
        assert found.dtype == torch.float32 and tuple(found.shape) == expected[:n].shape
        np.testing.assert_allclose(found.numpy(), expected[:n], rtol=1e-3, atol=1e-4)
    assert torch.equal(ready.embed(images), ready.embed(images)), "the same numbers each time"
    assert model.training is mode and all(torch.equal(state[key], value) for key, value in model.state_dict().items())


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_compiled(precision: str, models: dict[str, nn.Module]) -> None:
    model, images = models["custom_cnn"], noise(21)
    try:
        ready = prepare(model, "compiled", job(precision))
    except UserError as error:
        pytest.skip(str(error))
    expected = torch.from_numpy(exact(model, images))
    for n in (21, 16, 1):
        found = ready.embed(images[:n])
        assert found.dtype == torch.float32 and found.shape == expected[:n].shape
        cosines = torch.cosine_similarity(found, expected[:n])
        assert cosines.min() > (0.99999 if precision == "float32" else 0.99)


def test_the_graph_is_gone_when_it_has_been_read(models: dict[str, nn.Module]) -> None:
    here("onnxruntime")
    with graphs.graph_file(models["custom_cnn"]) as path:
        assert path.stat().st_size > 1000
    assert not path.parent.exists()


def test_what_does_not_compile_is_named(models: dict[str, nn.Module], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> Any:
        def call(_: Tensor) -> Tensor:
            raise RuntimeError("no C++ compiler\nand so on")

        return call

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(
        UserError, match=r"does not work here for CustomCNNReID \(no C\+\+ compiler\)\. .*another engine"
    ):
        prepare(models["custom_cnn"], "compiled", job())


def test_bfloat16_is_near(models: dict[str, nn.Module]) -> None:
    here("openvino")
    images = noise(11)
    ready = prepare(models["custom_cnn"], "openvino", job("bfloat16"))
    assert ready.precision in ("bfloat16", "float32"), "a CPU without bfloat16 says what it does instead"
    cosines = torch.cosine_similarity(ready.embed(images), torch.from_numpy(exact(models["custom_cnn"], images)))
    assert cosines.min() > 0.98


def test_torch_is_the_model_itself(models: dict[str, nn.Module]) -> None:
    model = models["custom_cnn"]
    ready = prepare(model, "torch", job(batch_size=3))
    assert ready.module is model and ready.batch_size == 3
    assert ready.described().startswith("cpu, ") and ready.described().endswith("threads, float32")
    here("onnxruntime")
    assert prepare(model, "onnxruntime", job()).described().endswith("threads, float32, onnxruntime")


class Odd(nn.Module):
    """What no exporter traces: it decides by its data."""

    preprocess = Preprocess(32, 16)
    dim = 3

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3)) if float(images.sum()) > 0 else -images.mean((2, 3))


@pytest.mark.parametrize("engine", GRAPHS)
def test_a_model_that_is_not_exported(engine: str) -> None:
    here(engine)
    with pytest.raises(UserError, match="Odd cannot be exported"):
        prepare(Odd(), engine, job())


def test_a_model_without_preprocess() -> None:
    here("onnxruntime")
    with pytest.raises(UserError, match="Identity has no `preprocess`"):
        prepare(nn.Identity(), "onnxruntime", job())


@pytest.mark.parametrize(
    ("engine", "precision", "device", "message"),
    [
        (
            "opnvino",
            "float32",
            "cpu",
            r"engine='opnvino' is unknown; choose from auto, torch.*Did you mean 'openvino'\?",
        ),
        (None, "float32", "cpu", "engine=None is unknown"),
        (3, "float32", "cpu", "engine=3 is unknown"),
        (["torch"], "float32", "cpu", r"engine=\['torch'\] is unknown"),
        ("torch", "int8", "cpu", "engine='torch': precision='int8' is unknown; choose from auto, float32"),
        ("torch", None, "cpu", "precision=None is unknown"),
        ("compiled", "int8", "cpu", "engine='compiled': precision='int8' is unknown"),
        ("auto", "int4", "cpu", "engine='auto': precision='int4' is unknown; choose from auto, "),
        ("torch", "float32", "tpu", "device='tpu' is unknown"),
        ("auto", "float32", "tpu", "device='tpu' is unknown"),
    ],
)
def test_what_is_refused(engine: Any, precision: Any, device: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_engine(engine, precision, device)


def test_engines_of_the_cpu_refuse_other_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    here("onnxruntime")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert check_engine("onnxruntime", "float32", "auto") == ("cpu", "float32")
    with pytest.raises(UserError, match="engine='onnxruntime' computes on cpu alone, not on device='cuda'"):
        check_engine("onnxruntime", "float32", "cuda")


def test_auto_precision_is_what_the_hardware_has(monkeypatch: pytest.MonkeyPatch) -> None:
    for fast in (True, False):
        monkeypatch.setattr("reidlab.models.engines.base.bfloat16_is_fast", lambda _device, fast=fast: fast)
        assert check_engine("torch", "auto", "cpu") == ("cpu", "bfloat16" if fast else "float32")
        assert check_engine("auto", "auto", "cpu") == ("cpu", "auto")
        if not missing_packages("onnxruntime"):
            assert check_engine("onnxruntime", "auto", "cpu") == ("cpu", "float32"), "it has no other"


@pytest.mark.parametrize("engine", GRAPHS)
def test_missing_packages_are_named_with_the_command(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == engine else find(name))
    with pytest.raises(UserError, match=rf"engine='{engine}' needs {engine}, not installed here: pip install {engine}"):
        check_engine(engine, "float32", "cpu")


def test_openvino_reports_to_nobody() -> None:
    here("openvino")
    from reidlab.models.engines.open_vino import without_telemetry

    for known in (None, sys):
        before = dict(sys.modules)
        sys.modules.pop("openvino_telemetry", None)
        if known:
            sys.modules["openvino_telemetry"] = known
        with without_telemetry(), pytest.raises(ImportError):
            importlib.import_module("openvino_telemetry")
        assert sys.modules.get("openvino_telemetry") is known
        sys.modules.pop("openvino_telemetry", None)
        sys.modules.update({name: module for name, module in before.items() if name == "openvino_telemetry"})


def test_pixels_are_resized_where_they_need_to_be() -> None:
    how = Preprocess(32, 16, mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.2))
    same, larger = noise(2), noise(2, 3, 64, 32)
    assert torch.equal(Pixels(how)(same), same)
    found = Pixels(how)(larger)
    assert found.dtype == torch.uint8 and found.shape == same.shape
    mean, std = (torch.tensor(value)[:, None, None] for value in (how.mean, how.std))
    assert ((found / 255 - mean) / std - how(larger)).abs().max() < 0.51 / 255 / 0.2


@pytest.mark.parametrize("chunk", [None, 1, 4, 5])
def test_the_last_chunk_is_filled_up_and_cut(chunk: int | None) -> None:
    seen = []

    def run(images: Tensor) -> Tensor:
        seen.append(len(images))
        return images.float().mean((2, 3))

    for n in (1, 4, 7, 10):
        images = noise(n)
        runner = Runner(run, Preprocess(32, 16), 3, chunk)
        torch.testing.assert_close(runner(images), images.float().mean((2, 3)))
        assert seen[-1] % (chunk or 1) == 0 and seen[-1] - n < (chunk or 1)


def test_every_engine_is_tested_here() -> None:
    assert set(ENGINES) == {"torch", "compiled", *GRAPHS}
