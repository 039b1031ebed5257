"""What every loss begins with: tensors that can be used, in float32 at least, whatever the model computes in."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec

import torch
from torch import Tensor

from reidlab.devices import outside_autocast
from reidlab.errors import UserError, shown
from reidlab.losses.pairs import check_batch

__all__ = ["in_full_precision"]

P = ParamSpec("P")
_HALF = (torch.float16, torch.bfloat16)
_WHOLE = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def in_full_precision(forward: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """Decorate a loss's forward: half-precision tensors become float32 (float64 stays) and autocast is off inside.

    A squared distance of bfloat16 features has three digits, and float16 overflows at exp(11.1). Arguments whose name
    ends with "labels" become int64, and all tensors are looked at here, for all losses: none may be empty, labels are
    whole numbers, all else is real, and features and labels have as many rows. What is in them is not looked at, for
    which a GPU would have to wait.

    Raises:
        UserError: by the decorated forward, naming the argument.
    """
    signature = inspect.signature(forward)
    spared = [name for name, each in signature.parameters.items() if each.default is None]  # labels that do nothing

    @functools.wraps(forward)
    def inside(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        given = signature.bind(*args, **kwargs).arguments
        usable = {
            name: _usable(name, value)
            for name, value in given.items()
            if name != "self" and not (value is None and name in spared)
        }
        devices = {value.device for value in usable.values() if isinstance(value, Tensor)}
        if len(devices) != 1:
            raise UserError(
                f"{_named(forward)} takes tensors of one device; got {', '.join(map(str, devices)) or 'none'}."
            )
        if {"features", "labels"} <= usable.keys():
            check_batch(usable["features"], usable["labels"])
        given.update(_of_one_type(usable))
        with outside_autocast(devices.pop().type):
            return forward(**given)  # type: ignore[call-arg]

    return inside


def _of_one_type(values: dict[str, Any]) -> dict[str, Any]:
    """Widen floating tensors to the widest type among them: torch 2.11 has no gradient of two."""
    floats = {name: value for name, value in values.items() if isinstance(value, Tensor) and value.is_floating_point()}
    wide = functools.reduce(torch.promote_types, (value.dtype for value in floats.values()), torch.float32)
    return values | {name: value.to(wide) for name, value in floats.items()}


def _usable(name: str, value: Any) -> Any:
    if not isinstance(value, Tensor):
        raise UserError(f"{name} must be a tensor, not {shown(value)}.")
    if not value.numel():
        raise UserError(f"{name} {list(value.shape)} is empty: a batch has one row or more.")
    kind = str(value.dtype).removeprefix("torch.")
    if name.endswith("labels"):
        if value.dtype not in _WHOLE:
            raise UserError(f"{name} are identities 0, 1, ..., whole numbers (-1: unknown); got {kind}. Use int64.")
        return value.long()
    if not value.is_floating_point():
        raise UserError(f"{name} must be real numbers such as float32, not {kind}.")
    return value.float() if value.dtype in _HALF else value


def _named(forward: Callable[..., Any]) -> str:
    return forward.__qualname__.partition(".")[0]
