"""What attention blocks, poolings, necks and classifiers share: building by name, full precision."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from reidlab.errors import UserError
from reidlab.registry import Registry

__all__ = ["build_part", "full_precision"]


def build_part(registry: Registry, name: str, sizes: Mapping[str, int], options: Mapping[str, Any]) -> nn.Module:
    """Return a part by its name, made with `sizes` (widths, counts) in their order and `options` by name.

    Raises:
        UserError: unknown name or option, an option of the wrong type, or a size below 1.
    """
    registry.find(name)
    for label, size in sizes.items():
        if size < 1:
            raise UserError(f"{registry.kind} {name!r}: {label}={size} must be 1 or more.")
    part: nn.Module = registry.build(name, *sizes.values(), options=options)
    return part


def full_precision(tensor: Tensor) -> contextlib.AbstractContextManager[Any]:
    """Switch autocast off on the tensor's device inside a with block (a no-op where the device has no autocast)."""
    kind = tensor.device.type
    if torch.amp.is_autocast_available(kind):
        return torch.autocast(kind, enabled=False)
    return contextlib.nullcontext()
