"""Attention rollout of Swin: attention inside shifted windows, patches merged between the stages.

Each block has the matrix over all patches that its windows stand for, zero between windows; between two stages four
patches become one, each with a quarter. So the product leads from the embedding back to the first, finest patches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from reidlab.explain.untouched import outputs_of

__all__ = ["merged", "rolled_through_windows", "through_windows", "window_attentions", "windows_of"]


def window_attentions(model: nn.Module) -> dict[str, Any]:
    """Return the attention of all Swin blocks by name; empty for other networks."""
    return {f"{name}.attn": block.attn for name, block in _blocks(model).items()}


def _blocks(model: nn.Module) -> dict[str, Any]:
    from timm.models.swin_transformer import SwinTransformerBlock

    return {name: module for name, module in model.named_modules() if isinstance(module, SwinTransformerBlock)}


def rolled_through_windows(
    model: nn.Module, images: Tensor, mix: Callable[[Tensor], Tensor]
) -> Float[Tensor, "batch rows columns"]:
    """Return how much of each of the first patches there is in the mean of the last ones; each map sums to 1.

    Args:
        model: with Swin blocks whose attention is not fused.
        images: as the model takes them.
        mix: heads [..., head, area, area] to one matrix [..., area, area].
    """
    from timm.models.swin_transformer import PatchMerging

    steps: list[tuple[Any, tuple[int, int], Tensor | None]] = []
    attention: list[Tensor] = []

    def keep(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if isinstance(module, nn.Dropout):  # of the attention, which the block's own end follows
            attention.append(output.detach())
            return
        size = int(inputs[0].shape[1]), int(inputs[0].shape[2])
        steps.append((module, size, None if isinstance(module, PatchMerging) else attention.pop()))

    blocks = _blocks(model)
    watched = {f"{name}.attn.attn_drop": block.attn.attn_drop for name, block in blocks.items()} | blocks
    watched |= {name: module for name, module in model.named_modules() if isinstance(module, PatchMerging)}
    with torch.no_grad(), outputs_of(watched, keep):
        model(images)
    first = next(size for _, size, matrix in steps if matrix is not None)
    maps = []
    for image in range(len(images)):  # one at a time: a matrix over all first patches is some 20 MB
        rolled = torch.eye(first[0] * first[1], device=images.device)
        for module, size, matrix in steps:
            if matrix is None:
                rolled = merged(rolled, size)
                continue
            windows = windows_of(size, tuple(module.window_size), tuple(module.shift_size)).to(images.device)
            own = matrix.unflatten(0, (len(images), len(windows)))[image]
            rolled = through_windows(rolled, mix(own), windows)
        maps.append(rolled.mean(0).unflatten(0, first))
    return torch.stack(maps)


def windows_of(size: tuple[int, int], window: tuple[int, ...], shift: tuple[int, ...]) -> Int[Tensor, "window area"]:
    """Return which patches (row by row) stand in each window; -1 where the last windows reach beyond the patches.

    Args:
        size: rows and columns of patches.
        window: rows and columns of a window.
        shift: by how many rows and columns the patches are rolled before they are cut into windows.
    """
    patches = torch.arange(size[0] * size[1]).unflatten(0, size).roll((-shift[0], -shift[1]), (0, 1))
    below, beside = -size[0] % window[0], -size[1] % window[1]
    padded = nn.functional.pad(patches, (0, beside, 0, below), value=-1)
    cut = padded.unflatten(1, (-1, window[1])).unflatten(0, (-1, window[0]))
    return cut.transpose(1, 2).flatten(2).flatten(0, 1)


def through_windows(
    rolled: Float[Tensor, "patch first"], mixed: Float[Tensor, "window area area"], windows: Int[Tensor, "window area"]
) -> Float[Tensor, "patch first"]:
    """Carry the shares of the first patches through a block: (attention + identity), each row divided by its sum.

    Attention to places beyond the patches is left out.
    """
    real = windows >= 0
    weights = (mixed + torch.eye(mixed.shape[-1], device=mixed.device)) * real[:, None, :]
    weights = weights / weights.sum(-1, keepdim=True).clamp_min(1e-20)
    inside = weights @ rolled[windows.clamp_min(0)]
    after = torch.empty_like(rolled)
    after[windows[real]] = inside[real]
    return after


def merged(rolled: Float[Tensor, "patch first"], size: tuple[int, int]) -> Float[Tensor, "merged first"]:
    """Return the shares after two by two patches became one: the mean of those that there are."""
    pad = (0, 0, 0, size[1] % 2, 0, size[0] % 2)
    shares = nn.functional.pad(rolled.unflatten(0, size), pad)
    counts = nn.functional.pad(torch.ones(*size, 1, device=rolled.device), pad)
    shares, counts = (each.unflatten(1, (-1, 2)).unflatten(0, (-1, 2)).sum((1, 3)) for each in (shares, counts))
    return (shares / counts).flatten(0, 1)
