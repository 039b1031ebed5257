"""What attention blocks, poolings, necks and classifiers share: building by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from reidlab.errors import UserError
from reidlab.registry import Registry

__all__ = ["build_part"]


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
