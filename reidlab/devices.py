"""Where and how tensors are computed: device, autocast type and memory format are chosen here and nowhere else."""

from __future__ import annotations

import contextlib
import functools
import math
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from reidlab.errors import UserError, nearest

__all__ = [
    "DEVICES",
    "PRECISIONS",
    "ComputePlan",
    "bfloat16_is_fast",
    "bfloat16_times",
    "check_device",
    "describe_device",
    "outside_autocast",
    "plan",
]

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "float32", "bfloat16", "float16")
_SLOWER = 1.5  # times; a measurement on a busy machine is no better than that
_DTYPES = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}

Movable = TypeVar("Movable", Tensor, nn.Module)


@dataclass(frozen=True)
class ComputePlan:
    """A device, the type that autocast uses there (None: plain float32) and the memory format of image batches.

    channels_last is used everywhere: measured with ResNet-50 at 256x128 on a 2-core Zen 4, inference ran at 6.8 img/s
    plain, 26 with channels_last and 52 with channels_last and bfloat16.
    """

    device: torch.device
    autocast_dtype: torch.dtype | None
    memory_format: torch.memory_format = torch.channels_last

    @property
    def precision(self) -> str:
        """Name the arithmetic: float32, bfloat16 or float16."""
        return next(name for name, dtype in _DTYPES.items() if dtype == self.autocast_dtype)

    @contextlib.contextmanager
    def autocast(self) -> Iterator[None]:
        """Run matrix products and convolutions in the plan's type inside this block."""
        if self.autocast_dtype is None:
            yield
            return
        with torch.autocast(self.device.type, self.autocast_dtype):
            yield

    def place(self, thing: Movable) -> Movable:
        """Move a model or a batch [batch, channel, height, width] to the device in the plan's memory format."""
        if isinstance(thing, Tensor) and thing.dim() != 4:
            return thing.to(self.device)
        movable: Any = thing  # the stubs of Module.to know device and memory_format, but not both
        return movable.to(self.device, memory_format=self.memory_format)

    def synchronize(self) -> None:
        """Wait for the device, so that a clock read afterwards is true."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()


def outside_autocast(kind: str) -> contextlib.AbstractContextManager[Any]:
    """Compute in the tensors' own types inside this block, whatever autocast is around it.

    Where there is none, none is entered: leaving one clears a cache that all threads share, and a thread that does so
    while another one computes under autocast can stop both for ever (the cache's lock is taken without Python's, which
    freeing a tensor waits for).

    Args:
        kind: of the device: "cpu", "cuda", "mps".
    """
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        return torch.autocast(kind, enabled=False)
    return contextlib.nullcontext()


def bfloat16_is_fast(device: torch.device) -> bool:
    """Return whether the device multiplies bfloat16 in hardware; elsewhere it is emulated and slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        # private names that have moved between releases: absent means "do not know", and plain float32 is safe
        probes = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
        return any(probe() for probe in probes if probe is not None) and _kernels_use_bfloat16()
    return False


def _kernels_use_bfloat16() -> bool:
    """Return whether oneDNN takes bfloat16: what a CPU has can be switched off by ONEDNN_MAX_CPU_ISA."""
    try:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    except (AttributeError, RuntimeError):  # a torch without oneDNN
        return False


@functools.cache
def bfloat16_times(device: str) -> tuple[float, float]:
    """Measure a small network of convolutions; return milliseconds per batch in float32 and in bfloat16.

    Measured once per process, in a fraction of a second.

    Args:
        device: cpu or cuda.
    """
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        layers = (nn.Conv2d(32, 64, 1), nn.Conv2d(64, 64, 3, padding=1, groups=64), nn.Conv2d(64, 32, 3, padding=1))
    plans = [ComputePlan(torch.device(device), dtype) for dtype in (None, torch.bfloat16)]
    batch = plans[0].place(torch.rand(4, 32, 32, 16, generator=generator))
    network = plans[0].place(nn.Sequential(*layers).requires_grad_(False))
    seconds = [math.inf, math.inf]
    for _ in range(4):  # the first ones prepare kernels
        for kind, compute in enumerate(plans):
            began = time.perf_counter()
            with compute.autocast():
                network(batch)
            compute.synchronize()
            seconds[kind] = min(seconds[kind], time.perf_counter() - began)
    return 1000 * seconds[0], 1000 * seconds[1]


def check_device(device: str) -> str:
    """Return the device that a name stands for; refuse it before anything is looked up or computed.

    Args:
        device: cpu, cuda, mps, or auto (the first of cuda, mps, cpu that is there).

    Raises:
        UserError: an unknown name, or a device that this machine lacks.
    """
    if device not in DEVICES:
        raise UserError(f"device={device!r} is unknown; choose from {', '.join(DEVICES)}.{nearest(device, DEVICES)}")
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if there[name])
    if not there[device]:
        usable = ", ".join(name for name, here in there.items() if here)
        raise UserError(f"device={device!r} is not available on this machine; use auto or one of: {usable}.")
    return device


def plan(device: str = "auto", precision: str = "auto") -> ComputePlan:
    """Choose a device and its arithmetic.

    Args:
        device: cpu, cuda, mps, or auto (the first of cuda, mps, cpu that is there).
        precision: float32, bfloat16, float16, or auto (bfloat16 where the hardware has it, else float32). bfloat16 that
            is asked for is given; where the hardware lacks it and it is measured to be slower, a warning says so.

    Raises:
        UserError: an unknown name, a device that this machine lacks, or float16 on the CPU.
    """
    if precision not in PRECISIONS:
        known = ", ".join(PRECISIONS)
        raise UserError(f"precision={precision!r} is unknown; choose from {known}.{nearest(precision, PRECISIONS)}")
    device = check_device(device)
    chosen = torch.device(device)
    if precision == "auto":
        precision = "bfloat16" if bfloat16_is_fast(chosen) else "float32"
    elif precision == "bfloat16":
        _warn_where_slow(chosen)
    if precision == "float16" and device == "cpu":
        raise UserError("precision='float16' is not supported on the CPU; use float32 or bfloat16.")
    return ComputePlan(chosen, _DTYPES[precision])


def _warn_where_slow(device: torch.device) -> None:
    """Return what bfloat16 costs where it is emulated; hardware that has it is not measured."""
    if device.type == "mps" or bfloat16_is_fast(device):
        return
    plain, half = bfloat16_times(device.type)
    if half > _SLOWER * plain:
        warnings.warn(
            f"precision='bfloat16' is {half / plain:.1f} times slower than float32 here ({half:.1f} ms against "
            f"{plain:.1f} ms, a small network measured just now): this {device.type} has no instructions for it. "
            "precision='auto' chooses float32 here.",
            stacklevel=3,
        )


def describe_device(compute: ComputePlan) -> str:
    """Name the hardware and the arithmetic, without naming the host: "cpu, 2 threads, bfloat16"."""
    if compute.device.type == "cuda":
        return f"cuda: {torch.cuda.get_device_name(compute.device)}, {compute.precision}"
    return f"{compute.device.type}, {torch.get_num_threads()} threads, {compute.precision}"
