"""What turns gradients into steps: accelerator, optimiser, compilation, random states, running means."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn

from reidlab.devices import ComputePlan
from reidlab.training.recipes import OptimizerPart

__all__ = ["Means", "build_optimizer", "compiled", "make_accelerator", "random_states", "set_random_states"]


class Means:
    """Running sums on the device, so that no step waits for a number."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.n = 0

    def add(self, values: dict[str, Tensor]) -> None:
        """Add one step's figures."""
        self.n += 1
        for name, value in values.items():
            self.sums[name] = self.sums[name] + value.float() if name in self.sums else value.float()

    def means(self) -> dict[str, float]:
        """Give the mean of each figure over the steps."""
        return {name: float(value) / self.n for name, value in self.sums.items()}

    def short(self) -> dict[str, str]:
        """Give the figures of a progress bar."""
        shown = ("loss", "active_share", "d_ap", "d_an")
        return {name: f"{float(self.sums[name]) / self.n:.3f}" for name in shown if name in self.sums}


def build_optimizer(part: OptimizerPart, model: nn.Module) -> torch.optim.Optimizer:
    """Build the optimiser; norms and biases are not decayed by adamw, and every group remembers its base rate."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [{"params": trainable, "weight_decay": part.weight_decay}]
    if part.name == "adamw":
        groups = [
            {"params": [p for p in trainable if p.dim() > 1], "weight_decay": part.weight_decay},
            {"params": [p for p in trainable if p.dim() <= 1], "weight_decay": 0.0},
        ]
    groups = [{**group, "base_lr": part.lr} for group in groups]
    fused = _can_fuse(model)  # one kernel over all parameters instead of ten operations for each
    if part.name == "sgd":
        return torch.optim.SGD(groups, lr=part.lr, momentum=part.momentum, fused=fused)
    kind = torch.optim.Adam if part.name == "adam" else torch.optim.AdamW
    return kind(groups, lr=part.lr, fused=fused)


def _can_fuse(model: nn.Module) -> bool:
    """Say whether torch has fused steps for the model's devices (all kernels since 2.4)."""
    return {p.device.type for p in model.parameters()} <= {"cpu", "cuda", "mps"}


def make_accelerator(compute: ComputePlan, accumulate: int) -> Accelerator:
    """Build an accelerator for the plan's device and precision."""
    precision = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}[compute.precision]
    AcceleratorState._reset_state(reset_partial_state=True)  # it is a singleton; runs may differ in precision
    return Accelerator(
        cpu=compute.device.type == "cpu",
        mixed_precision=precision,
        gradient_accumulation_steps=accumulate,
        step_scheduler_with_optimizer=False,
    )


def compiled(model: nn.Module, device: torch.device) -> Any:
    """Compile a model, or warn and give it as it is where torch.compile does not work."""
    if _can_compile(device.type):
        return torch.compile(model)
    warnings.warn(
        "compile: true is left out: torch.compile does not work here (on the CPU it needs a C++ compiler). "
        "Training is slower, and its last digits differ from a compiled one's.",
        stacklevel=2,
    )
    return model


@functools.cache
def _can_compile(device: str) -> bool:
    """Try it on a small function."""
    try:
        with torch.random.fork_rng():
            torch.compile(lambda x: x * 2 + 1)(torch.ones(8, device=device))
    except Exception:  # of many kinds: no compiler, no headers, no Triton, a platform that is not supported
        return False
    return True


def random_states(compute: ComputePlan) -> dict[str, Any]:
    """Give the states of torch's generators that training draws from."""
    states: dict[str, Any] = {"torch_rng": torch.get_rng_state()}
    if compute.device.type == "cuda":
        states["cuda_rng"] = torch.cuda.get_rng_state_all()
    return states


def set_random_states(compute: ComputePlan, states: dict[str, Any]) -> None:
    """Put back what `random_states` gave."""
    torch.set_rng_state(states["torch_rng"])
    if "cuda_rng" in states and compute.device.type == "cuda":
        torch.cuda.set_rng_state_all(states["cuda_rng"])
