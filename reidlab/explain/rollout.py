"""Attention rollout of vision transformers."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from reidlab.explain.methods import Computed, Method, by_maximum
from reidlab.explain.spatial import grid_of
from reidlab.explain.untouched import outputs_of
from reidlab.models.families.transreid import TransReID

__all__ = ["Rollout"]


class Rollout(Method):
    """Attention rollout: the product over all blocks of (attention + identity) / 2 (Abnar and Zuidema, ACL 2020).

    It follows how much of each patch reaches the embedding, which is the class token where the model has one that it
    embeds by, else the mean of the patches. Values and the layers between are not looked at. Of TransReID the global
    branch is followed.

    Args:
        heads: how the heads of a block are put together: their mean, or their maximum.
    """

    takes_layer = False

    def __init__(self, heads: Literal["mean", "max"] = "mean") -> None:
        self.heads = heads

    def lacks(self, model: nn.Module) -> str:
        """Return why there is no rollout."""
        if _windowed(model):
            return (
                "its attention stays inside windows and between them patches are merged, so that there is no matrix "
                "over the whole image to follow"
            )
        return "" if len(_attentions(model)) > 1 else "it is no vision transformer with attention over all patches"

    def compute(self, model: nn.Module, images: Tensor, layer: str, target: Tensor | None) -> Computed:
        """Return how much of each patch there is in the embedding."""
        blocks = _attentions(model)
        fused = [(block, block.fused_attn) for block in blocks.values()]
        try:
            for block, _ in fused:
                block.fused_attn = False  # the fused kernel never has the matrix
            drops = {name: block.attn_drop for name, block in blocks.items()}
            with torch.no_grad(), outputs_of(drops) as found:
                model(images)
        finally:
            for block, was in fused:
                block.fused_attn = was
        rolled: Tensor | None = None
        for name in blocks:
            heads = found[name][0]
            mixed = heads.mean(1) if self.heads == "mean" else heads.amax(1)
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
