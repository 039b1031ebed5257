"""Losses are computed in float32 at least, whatever the model computes in."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec

import torch
from torch import Tensor

__all__ = ["in_full_precision"]

P = ParamSpec("P")
_HALF = (torch.float16, torch.bfloat16)


def in_full_precision(forward: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """Decorate a loss's forward: half-precision tensors become float32 (float64 stays) and autocast is off inside.

    A squared distance of bfloat16 features has three digits, and float16 overflows at exp(11.1).
    """

    @functools.wraps(forward)
    def inside(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        given = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)]
        with torch.autocast(given[0].device.type, enabled=False):
            return forward(*map(_widen, args), **{name: _widen(x) for name, x in kwargs.items()})

    return inside


def _widen(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.dtype in _HALF else value
