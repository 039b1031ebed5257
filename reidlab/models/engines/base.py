"""What an engine is given, what it gives back, and what is checked before it starts."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float32, UInt8
from torch import Tensor, nn

from reidlab.data.transforms import Preprocess
from reidlab.devices import PRECISIONS, ComputePlan, bfloat16_is_fast, check_device, describe_device
from reidlab.errors import UserError, nearest
from reidlab.registry import ENGINES

__all__ = [
    "AUTO",
    "INT8",
    "Job",
    "Pixels",
    "Prepared",
    "Runner",
    "check_engine",
    "missing_packages",
    "of_model",
    "prepare",
]

AUTO = "auto"  # no engine of its own: the fastest of those installed
INT8 = "int8"  # products of 8 bits, by the runtimes that read graphs
_QUANTISER = "onnxruntime"  # writes the graph in 8 bits, whichever runtime reads it
_FEWEST = 8  # images to calibrate on
_OF_TORCH = PRECISIONS[1:]


@dataclass(frozen=True)
class Job:
    """What an engine is prepared for.

    Attributes:
        device: cpu, cuda or mps.
        precision: float32, bfloat16, float16 or int8.
        batch_size: images at once, where the user said so.
        read_sample: reads some of the images that will be embedded, uint8 [image, 3, height, width].
        read_calibration: reads others of them, on which int8 is calibrated; None where nobody will ask for int8.
    """

    device: str
    precision: str
    batch_size: int | None
    read_sample: Callable[[], UInt8[Tensor, "image 3 height width"]]
    read_calibration: Callable[[], UInt8[Tensor, "image 3 height width"]] | None = None

    @functools.cached_property
    def sample(self) -> UInt8[Tensor, "image 3 height width"]:
        """The images that `read_sample` reads, which the engine torch needs none of."""
        return self.read_sample()

    @functools.cached_property
    def calibration(self) -> UInt8[Tensor, "image 3 height width"]:
        """The images that `read_calibration` reads: none of those of the sample, by which the result is judged.

        Raises:
            UserError: there are too few.
        """
        found = None if self.read_calibration is None else self.read_calibration()
        n_found = 0 if found is None else len(found)
        if found is None or n_found < _FEWEST:
            raise UserError(
                f"precision='int8' is calibrated on some of the images and judged by others: it takes {2 * _FEWEST} or "
                f"more, and here are {n_found} to calibrate on. Choose another precision."
            )
        return found


@dataclass(frozen=True)
class Prepared:
    """A model made ready by an engine: what `embed_rows` needs.

    Attributes:
        module: gives embeddings float32 [batch, dim] of what its own `preprocess` makes of uint8 images.
        compute: where its batches are put.
        engine: its name.
        precision: in which it computes.
        batch_size: images at once; None chooses by free memory.
    """

    module: nn.Module
    compute: ComputePlan
    engine: str
    precision: str
    batch_size: int | None

    def described(self) -> str:
        """Name the hardware, the arithmetic and the engine: "cpu, 2 threads, bfloat16, openvino"."""
        hardware = describe_device(self.compute).rpartition(", ")[0]
        return ", ".join([hardware, self.precision, *([] if self.engine == "torch" else [self.engine])])

    def embed(self, images: UInt8[Tensor, "batch 3 height width"]) -> Float32[Tensor, "batch dim"]:
        """Return the embeddings of one batch on the CPU."""
        with torch.inference_mode(), self.compute.autocast():
            batch = self.module.preprocess(self.compute.place(images))  # type: ignore[operator]
            found = self.module(batch.contiguous(memory_format=self.compute.memory_format))
            return found.float().cpu()


class Runner(nn.Module):
    """A module whose forward is a function of a runtime: it has no parameters and no training mode.

    Args:
        run: maps what `preprocess` gives to embeddings float32 [batch, dim].
        preprocess: maps uint8 [batch, 3, any height, any width] to the input of `run`.
        dim: of the embeddings.
        chunk: images that `run` takes at once; the last ones are filled up with zeros.
    """

    def __init__(
        self, run: Callable[[Tensor], Tensor], preprocess: Preprocess | Pixels, dim: int, chunk: int | None = None
    ) -> None:
        super().__init__()
        self.run, self.preprocess, self.dim, self.chunk = run, preprocess, dim, chunk

    def forward(self, images: Tensor) -> Tensor:
        """Embed a batch of any size."""
        n, chunk = len(images), self.chunk
        if chunk is None or n % chunk == 0:
            return self.run(images)
        filled = F.pad(images.permute(0, 2, 3, 1), (0, 0, 0, 0, 0, 0, 0, -n % chunk)).permute(0, 3, 1, 2)
        return self.run(filled)[:n]


@dataclass(frozen=True)
class Pixels:
    """The pre-processing of a graph that normalises by itself: uint8 of the model's size, resized where needed."""

    inner: Preprocess

    @property
    def height(self) -> int:
        """Return the model's height, pixels."""
        return self.inner.height

    @property
    def width(self) -> int:
        """Return the model's width, pixels."""
        return self.inner.width

    def __call__(self, images: Tensor) -> Tensor:
        """Map uint8 [batch, 3, any height, any width] to uint8 [batch, 3, height, width]."""
        if images.shape[-2:] == (self.height, self.width):
            return images
        plain = replace(self.inner, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
        return (plain(images) * 255).round().to(torch.uint8)


def of_model(model: nn.Module) -> Preprocess:
    """Return a model's pre-processing.

    Raises:
        UserError: it has none.
    """
    found = getattr(model, "preprocess", None)
    if not isinstance(found, Preprocess):
        kind = type(model).__name__
        raise UserError(f"{kind} has no `preprocess` (a Preprocess): how would pixels become its input?")
    return found


def missing_packages(engine: str) -> list[str]:
    """Return the packages that an engine needs and this environment lacks."""
    return [name for name in ENGINES.find(engine).facts.get("packages", ()) if importlib.util.find_spec(name) is None]


def check_engine(engine: str, precision: str, device: str) -> tuple[str, str]:
    """Return the device that an engine computes on and its precision, refusing what it cannot do; nothing is computed.

    Args:
        engine: a registered name, or auto.
        precision: of the engine, or auto: bfloat16 where the hardware has it and the engine takes it, else float32. It
            stays auto for the engine auto.
        device: cpu, cuda, mps or auto.

    Raises:
        UserError: an unknown engine, one whose packages are missing, a precision or a device that it does not have.
    """
    if engine == AUTO:
        known = sorted({each for name in ENGINES for each in _precisions(name)})
        _check_precision(engine, precision, known)
        return check_device(device), precision
    if not isinstance(engine, str) or engine not in ENGINES:
        hint = nearest(str(engine), ENGINES)
        raise UserError(f"engine={engine!r} is unknown; choose from {AUTO}, {', '.join(ENGINES)}.{hint}")
    missing = missing_packages(engine)
    if missing:
        names = " ".join(missing)
        raise UserError(f"engine={engine!r} needs {', '.join(missing)}, not installed here: pip install {names}")
    _check_precision(engine, precision, _precisions(engine))
    if precision == INT8 and importlib.util.find_spec(_QUANTISER) is None:
        raise UserError(f"precision='int8' needs {_QUANTISER}, not installed here: pip install {_QUANTISER}")
    devices = ENGINES.find(engine).facts.get("devices")
    if devices and device == AUTO:
        device = devices[0]
    device = check_device(device)
    if devices and device not in devices:
        raise UserError(f"engine={engine!r} computes on {', '.join(devices)} alone, not on device={device!r}.")
    if precision == AUTO:
        fast = "bfloat16" in _precisions(engine) and bfloat16_is_fast(torch.device(device))
        precision = "bfloat16" if fast else "float32"
    return device, precision


def _precisions(engine: str) -> tuple[str, ...]:
    return tuple(ENGINES.find(engine).facts.get("precisions", _OF_TORCH))


def _check_precision(engine: str, precision: str, known: tuple[str, ...] | list[str]) -> None:
    if precision != AUTO and precision not in known:
        hint = nearest(str(precision), known)
        raise UserError(
            f"engine={engine!r}: precision={precision!r} is unknown; choose from {AUTO}, {', '.join(known)}.{hint}"
        )


def prepare(model: nn.Module, engine: str, job: Job) -> Prepared:
    """Make a model ready; the model itself stays as it is, but that torch's engine moves it to the device.

    Raises:
        UserError: as `check_engine`, or the engine cannot compute this model.
    """
    check_engine(engine, job.precision, job.device)
    if job.precision == INT8:
        _ = job.calibration  # refused before anything is exported
    made: Prepared = ENGINES.find(engine).factory(model, job)
    return made
