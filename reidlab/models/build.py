"""Models by name: `build("custom_cnn_v32")` or a dict as in a recipe."""

from __future__ import annotations

import inspect
import numbers
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from reidlab.errors import UserError, nearest
from reidlab.models.custom_cnn import FixedFilters
from reidlab.models.custom_cnn_reid import CustomCNNReID

__all__ = ["MODELS", "ModelEntry", "build", "check_options", "count_macs", "count_parameters"]

# in this order: a bool is an Integral, an Integral is a Real
_KINDS: dict[type, str] = {
    bool: "true or false",
    numbers.Integral: "a whole number",
    numbers.Real: "a number",
    str: "text",
}


@dataclass(frozen=True)
class ModelEntry:
    """A registered model: factory(num_classes, **options) and one line on what it is."""

    factory: Callable[..., nn.Module]
    description: str


MODELS: dict[str, ModelEntry] = {
    "custom_cnn_v32": ModelEntry(
        CustomCNNReID, "custom CNN v3.2: fixed edge filters, four stages, CBAM, 128-d embedding; 0.76 M parameters"
    ),
}


def build(spec: str | Mapping[str, Any], num_classes: int = 0) -> nn.Module:
    """Build a model with random weights.

    Args:
        spec: a registered name, or a mapping with `name` and the model's options.
        num_classes: identities of its classifiers; 0 gives what makes embeddings alone.

    Raises:
        UserError: unknown name or option, or a value that the model refuses.
    """
    options = {"name": spec} if isinstance(spec, str) else dict(spec)
    name = options.pop("name", None)
    if name not in MODELS:
        known = ", ".join(MODELS)
        raise UserError(f"model {name!r} is unknown; choose from {known}.{nearest(str(name), MODELS)}")
    if num_classes < 0:
        raise UserError(f"num_classes={num_classes} must be 0 or more.")
    factory = MODELS[name].factory
    check_options(f"model {name!r}", factory, options)
    return factory(num_classes, **options)


def check_options(what: str, factory: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Refuse options that `factory` does not have, or whose type is not that of the factory's default.

    YAML reads `1e-3` (without a dot) as text, so wrong types are easily written. Where the annotation is `Part`, a
    mapping of name and options does as well.

    Raises:
        UserError: naming `what`, the option, and what is allowed.
    """
    parameters = {n: p for n, p in inspect.signature(factory).parameters.items() if n != "num_classes"}
    known = {name: parameter.default for name, parameter in parameters.items()}
    for option, value in options.items():
        if option not in known:
            hint = nearest(option, known)
            raise UserError(f"{what} has no option {option!r}; it has {', '.join(known)}.{hint}")
        if isinstance(value, Mapping) and parameters[option].annotation == "Part":
            continue
        wanted = next((kind for kind in _KINDS if isinstance(known[option], kind)), object)
        fits = isinstance(value, wanted) and (wanted in (bool, object) or not isinstance(value, bool))
        if not fits:
            raise UserError(f"{what} option {option}={value!r} must be {_KINDS[wanted]}, such as {known[option]!r}.")


def count_parameters(model: nn.Module, *, trainable: bool = False) -> int:
    """Count parameters, all or the trainable ones."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not trainable)


def count_macs(model: nn.Module, height: int, width: int) -> int:
    """Count multiply-adds of convolutions and linear layers for one image [3, height, width] at evaluation."""
    total = 0

    def add(module: nn.Module, _inputs: Any, output: Any) -> None:
        nonlocal total
        weight: Any = module.weight
        total += output.numel() * weight[0].numel()

    counted = (nn.Conv2d, nn.Linear, FixedFilters)
    handles = [m.register_forward_hook(add) for m in model.modules() if isinstance(m, counted)]
    was_training = model.training
    device = next(model.parameters()).device
    try:
        with torch.inference_mode():
            model.eval()(torch.zeros(1, 3, height, width, device=device))
    finally:
        for handle in handles:
            handle.remove()
        model.train(was_training)
    return total
