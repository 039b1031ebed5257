"""Pooling: maps [batch, channels, height, width] of any size -> features [batch, channels] (stripes: + a part axis)."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reidlab.errors import UserError, nearest
from reidlab.models.parts.build import build_part
from reidlab.registry import POOLINGS

__all__ = [
    "POOLINGS",
    "AvgMaxPooling",
    "AvgPooling",
    "GeM",
    "GridPooling",
    "MaxPooling",
    "StripePooling",
    "build_pooling",
]

MAX_PARTS = 256  # stripes; published models have 3 to 6, and maps of images 384 pixels high have 24 rows


class AvgPooling(nn.Module):
    """Mean over positions."""

    def forward(self, maps: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch channel"]:
        """Return [batch, channels]."""
        return maps.mean((2, 3))


class MaxPooling(nn.Module):
    """Maximum over positions; positions that share it share its gradient."""

    def forward(self, maps: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch channel"]:
        """Return [batch, channels]."""
        return maps.amax((2, 3))


class AvgMaxPooling(nn.Module):
    """Mean plus maximum over positions, as in fast-reid (timm's "avgmax" is half of it)."""

    def forward(self, maps: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch channel"]:
        """Return [batch, channels]."""
        return maps.mean((2, 3)) + maps.amax((2, 3))


class GridPooling(nn.Module):
    """Mean over the cells of a grid: all of them, cell by cell, are the features (VGG-16 has 7 x 7).

    Args:
        rows, columns: of the grid; cells of maps that are smaller share positions.

    Attributes:
        parts: cells.
    """

    def __init__(self, rows: int = 7, columns: int = 7) -> None:
        super().__init__()
        if not (1 <= rows <= MAX_PARTS and 1 <= columns <= MAX_PARTS):
            raise UserError(f"grid: rows={rows} and columns={columns} must be 1 to {MAX_PARTS}.")
        self.rows, self.columns, self.parts = rows, columns, rows * columns

    def forward(self, maps: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch channel cell"]:
        """Return [batch, channels, rows * columns]."""
        return torch.nn.functional.adaptive_avg_pool2d(maps, (self.rows, self.columns)).flatten(2)


class GeM(nn.Module):
    """Generalised mean over positions, (mean max(x, eps)^p)^(1/p) (Radenovic et al. 2018).

    p = 1 is the mean of the positive values, a large p comes near the maximum. Powers are taken in float32 at least:
    in float16 eps^3 is 0, whose root has no gradient, and 41^3 is infinite.

    Args:
        p: exponent, or where it starts.
        eps: smallest value of the maps that counts.
        learnable: train p (one parameter; keep weight decay off it).
    """

    def __init__(self, p: float = 3.0, eps: float = 1e-6, learnable: bool = False) -> None:
        super().__init__()
        if not p > 0:
            raise UserError(f"gem p={p} must be above 0.")
        if not eps > 0:
            raise UserError(f"gem eps={eps} must be above 0.")
        self.p: Tensor | float = nn.Parameter(torch.full((1,), float(p))) if learnable else float(p)
        self.eps = eps

    def forward(self, maps: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch channel"]:
        """Return [batch, channels] in the maps' own type."""
        wide = maps.to(torch.promote_types(maps.dtype, torch.float32))
        means = wide.clamp(min=self.eps).pow(self.p).mean((2, 3))
        return means.pow(1.0 / self.p).to(maps.dtype)


def gem(p: float = 3.0, eps: float = 1e-6) -> GeM:
    """Build a generalised mean with a fixed exponent.

    Args:
        p: exponent: 1 is the mean of the positive values, a large one comes near the maximum.
        eps: smallest value of the maps that counts.
    """
    return GeM(p, eps)


def gem_learnable(p: float = 3.0, eps: float = 1e-6) -> GeM:
    """Build a generalised mean whose exponent is trained: one parameter.

    Args:
        p: where the exponent starts.
        eps: smallest value of the maps that counts.
    """
    return GeM(p, eps, learnable=True)


class StripePooling(nn.Module):
    """Pool horizontal stripes apart: [batch, channels, part], from the top (PCB, Sun et al. 2018).

    Stripe i covers rows floor(i h / parts) up to ceil((i + 1) h / parts). Where parts does not divide the height h,
    neighbours overlap by one row, and with fewer rows than parts, rows are used several times: the windows of
    torch's adaptive pooling, which PCB uses, but on devices too whose own adaptive pooling refuses such sizes.

    Args:
        parts: number of stripes.
        kind: how each is pooled, any other name of `POOLINGS`.
    """

    def __init__(self, parts: int = 6, kind: str = "avg") -> None:
        super().__init__()
        if not 1 <= parts <= MAX_PARTS:
            raise UserError(f"stripes parts={parts} must be from 1 to {MAX_PARTS}.")
        kinds = [name for name in POOLINGS if name != "stripes"]
        if kind not in kinds:
            raise UserError(f"stripes kind={kind!r} is unknown; choose from {', '.join(kinds)}.{nearest(kind, kinds)}")
        self.parts = parts
        self.pool = build_pooling(kind)

    def forward(self, maps: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch channel part"]:
        """Return [batch, channels, part]."""
        height = maps.shape[2]
        if height % self.parts == 0:  # one call for all stripes
            return self.pool(maps.unflatten(2, (self.parts, -1)).flatten(1, 2)).unflatten(1, (-1, self.parts))
        windows = [(i * height // self.parts, -(-(i + 1) * height // self.parts)) for i in range(self.parts)]
        return torch.stack([self.pool(maps[:, :, start:end]) for start, end in windows], dim=2)


def build_pooling(name: str, **options: Any) -> nn.Module:
    """Build a pooling: maps [batch, channels, height, width] -> [batch, channels], stripes [batch, channels, part].

    Raises:
        UserError: unknown name or option, or a value that the pooling refuses.
    """
    return build_part(POOLINGS, name, {}, options)
