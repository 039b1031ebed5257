"""Attention rollout of vision transformers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from reidlab.explain.methods import Computed, Method, by_maximum
from reidlab.explain.spatial import grid_of
from reidlab.explain.untouched import outputs_of
from reidlab.explain.window_rollout import rolled_through_windows, window_attentions
from reidlab.models.families.transreid import TransReID

__all__ = ["Rollout"]


class Rollout(Method):
    """Attention rollout: the product over all blocks of (attention + identity) / 2 (Abnar and Zuidema, ACL 2020).

    It follows how much of each patch reaches the embedding, which is the class token where the model has one that it
    embeds by, else the mean of the patches. Values and the layers between are not looked at. Of TransReID the global
    branch is followed. Swin's attention inside windows is followed from stage to stage, through the merging of its
    patches, to the patches of its first stage; windows and merging are even, so that maps of it show their edges.

    Args:
        heads: how the heads of a block are put together: their mean, or their maximum.
    """

    takes_layer = False

    def __init__(self, heads: Literal["mean", "max"] = "mean") -> None:
        self.heads = heads

    def lacks(self, model: nn.Module) -> str:
        """Return why there is no rollout."""
        if window_attentions(model):
            return ""
        if _windowed(model):
            return "its attention stays inside windows, and only those of Swin are followed from one to the next"
        return "" if len(_attentions(model)) > 1 else "it is no vision transformer with attention over all patches"

    def compute(self, model: nn.Module, images: Tensor, layer: str, target: Tensor | None) -> Computed:
        """Return how much of each patch there is in the embedding."""
        windows = window_attentions(model)
        if windows:
            with _with_matrices(windows.values()):
                maps = rolled_through_windows(model, images, self._mixed)
            return Computed(by_maximum(maps), f"{next(iter(windows))} to {list(windows)[-1]}")
        blocks = _attentions(model)
        drops = {name: block.attn_drop for name, block in blocks.items()}
        with torch.no_grad(), _with_matrices(blocks.values()), outputs_of(drops) as found:
            model(images)
        rolled: Tensor | None = None
        for name in blocks:
            mixed = self._mixed(found[name][0])
            mixed = mixed + torch.eye(mixed.shape[-1], device=mixed.device)
            mixed = mixed / mixed.sum(-1, keepdim=True)
            rolled = mixed if rolled is None else mixed @ rolled
        assert rolled is not None
        grid = grid_of(model, (int(images.shape[2]), int(images.shape[3])))
        assert grid is not None
        prefix = rolled.shape[1] - grid[0] * grid[1]
        to_patches = rolled[:, :, prefix:]
        # the usual model averages patches; TransReID's embedding is its class token
        row = to_patches[:, 0] if isinstance(model, TransReID) else to_patches[:, prefix:].mean(1)
        return Computed(by_maximum(row.unflatten(1, grid)), f"{next(iter(blocks))} to {list(blocks)[-1]}")

    def _mixed(self, heads: Tensor) -> Tensor:
        """Put heads [..., head, patch, patch] together."""
        return heads.mean(-3) if self.heads == "mean" else heads.amax(-3)


@contextmanager
def _with_matrices(attentions: Iterable[Any]) -> Iterator[None]:
    """Let attention be computed step by step: the fused kernel never has the matrix."""
    fused = [(attention, attention.fused_attn) for attention in attentions]
    try:
        for attention, _ in fused:
            attention.fused_attn = False
        yield
    finally:
        for attention, was in fused:
            attention.fused_attn = was


def _attentions(model: nn.Module) -> dict[str, Any]:
    """Return the attention of all blocks by name, in their order; of TransReID without the local branch."""
    return {
        name: module
        for name, module in model.named_modules()
        if hasattr(module, "attn_drop")
        and hasattr(module, "fused_attn")
        and hasattr(module, "qkv")
        and not hasattr(module, "relative_position_bias_table")
        and ".local_branch" not in name
    }


def _windowed(model: nn.Module) -> bool:
    return any(hasattr(module, "window_size") and hasattr(module, "attn_drop") for module in model.modules())
