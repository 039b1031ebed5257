"""Look into a model without leaving a trace: modes, gradients and hooks are as before, whatever happens inside."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["device_of", "evaluated", "outputs_of"]


@contextmanager
def evaluated(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation with all parameters frozen and without gradients; put everything back afterwards.

    Modes are kept module by module, as some may be frozen in evaluation while the rest trains.
    """
    modes = [(module, module.training) for module in model.modules()]
    state = [(parameter, parameter.requires_grad, parameter.grad) for parameter in model.parameters()]
    try:
        model.eval()
        for parameter, _, _ in state:
            parameter.requires_grad_(False)
            parameter.grad = None
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter, wanted, grad in state:
            parameter.requires_grad_(wanted)
            parameter.grad = grad


@contextmanager
def outputs_of(
    modules: Mapping[str, nn.Module], keep: Callable[[nn.Module, tuple[Any, ...], Any], Any] | None = None
) -> Iterator[dict[str, list[Any]]]:
    """Collect what modules give while the block runs: name -> one item a call, in the order of the calls.

    Args:
        modules: by name.
        keep: called with (module, inputs, output); what it returns is collected. By default a detached copy of the
            output, since what follows may change it in place.
    """
    found: dict[str, list[Any]] = {name: [] for name in modules}

    def collect(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            found[name].append((keep or _copied)(module, inputs, output))

        return hook

    handles = [module.register_forward_hook(collect(name)) for name, module in modules.items()]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _copied(_module: nn.Module, _inputs: tuple[Any, ...], output: Any) -> Any:
    return output.detach().clone() if isinstance(output, Tensor) else output


def device_of(model: nn.Module) -> torch.device:
    """Return where a model's parameters lie."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
