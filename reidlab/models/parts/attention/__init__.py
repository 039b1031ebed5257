"""Attention blocks by name, maps [batch, channels, height, width] -> the same shape, and their places in a backbone."""

from __future__ import annotations

from typing import Any

from torch import nn

from reidlab.models.parts.attention.placement import attach, standard_places
from reidlab.models.parts.build import build_part
from reidlab.registry import ATTENTIONS

__all__ = [
    "ATTENTIONS",
    "attach",
    "build_attention",
    "standard_places",
]


def build_attention(name: str, channels: int, **options: Any) -> nn.Module:
    """Build an attention block for maps [batch, channels, height, width].

    Raises:
        UserError: unknown name or option, or a value that the block refuses.
    """
    return build_part(ATTENTIONS, name, {"channels": channels}, options)


def __getattr__(name: str) -> Any:
    return ATTENTIONS.attribute(name, __name__)
