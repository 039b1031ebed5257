"""What attention blocks, poolings, necks and classifiers share: registry entries, building by name, full precision."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from reidlab.errors import UserError, nearest
from reidlab.models.options import check_options

__all__ = ["PartEntry", "build_part", "full_precision"]


@dataclass(frozen=True)
class PartEntry:
    """A registered part: factory(*sizes, **options) and one sentence on what it is."""

    factory: Callable[..., nn.Module]
    description: str


def build_part(
    kind: str, registry: Mapping[str, PartEntry], name: str, sizes: Mapping[str, int], options: Mapping[str, Any]
) -> nn.Module:
    """Build `registry[name]` with `sizes` (widths, counts) in their order and `options` by name.

    Raises:
        UserError: unknown name or option, an option of the wrong type, or a size below 1.
    """
    if name not in registry:
        raise UserError(f"{kind} {name!r} is unknown; choose from {', '.join(registry)}.{nearest(name, registry)}")
    for label, size in sizes.items():
        if size < 1:
            raise UserError(f"{kind} {name!r}: {label}={size} must be 1 or more.")
    factory = partial(registry[name].factory, *sizes.values())
    kinds = {parameter.kind for parameter in inspect.signature(factory).parameters.values()}
    if options and kinds <= {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}:  # nn.Module's own
        raise UserError(f"{kind} {name!r} takes no options; it was given {', '.join(options)}.")
    check_options(f"{kind} {name!r}", factory, options)
    return factory(**options)


def full_precision(tensor: Tensor) -> contextlib.AbstractContextManager[Any]:
    """Switch autocast off on the tensor's device inside a with block (a no-op where the device has no autocast)."""
    kind = tensor.device.type
    if torch.amp.is_autocast_available(kind):
        return torch.autocast(kind, enabled=False)
    return contextlib.nullcontext()
