"""Rollout of Swin against matrices over all patches, put together patch by patch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor

from reidlab.explain import attention_maps, methods_of
from reidlab.explain.window_rollout import merged, rolled_through_windows, through_windows, windows_of
from reidlab.models import build

ROWS, COLUMNS = 7, 5  # of patches of 4 x 4 pixels: windows of 3 do not fit, and merging pads


def tiny_swin() -> Any:
    torch.manual_seed(0)
    made = SwinTransformer(
        img_size=(4 * ROWS, 4 * COLUMNS), patch_size=4, embed_dim=8, depths=(2, 2), num_heads=(1, 2), window_size=3,
        num_classes=0, strict_img_size=False,
    )  # fmt: skip
    for layer in made.layers:
        for block in layer.blocks:
            block.attn.fused_attn = False
    return made.eval()


def dense(matrix: Tensor, size: tuple[int, int], window: tuple[int, int], shift: tuple[int, int]) -> np.ndarray:
    """Return (attention + identity) over all patches, each row divided by its sum: pair by pair."""
    rows, columns = size
    across = -(-columns // window[1])

    def place(patch: int) -> tuple[int, int]:
        row, column = (patch // columns - shift[0]) % rows, (patch % columns - shift[1]) % columns
        inside = (row % window[0]) * window[1] + column % window[1]
        return (row // window[0]) * across + column // window[1], inside

    full = np.zeros((rows * columns, rows * columns))
    for one in range(rows * columns):
        for other in range(rows * columns):
            (a, i), (b, j) = place(one), place(other)
            full[one, other] = (float(matrix[a, i, j]) if a == b else 0) + (one == other)
    return full / full.sum(1, keepdims=True)


def test_rollout_of_swin_is_the_product_of_matrices_over_all_patches() -> None:
    model, found = tiny_swin(), []
    blocks = [block for layer in model.layers for block in layer.blocks]
    assert any(any(block.shift_size) for block in blocks)
    hooks = [b.attn.attn_drop.register_forward_hook(lambda *given: found.append(given[2].clone())) for b in blocks]
    images = torch.rand(2, 3, 4 * ROWS, 4 * COLUMNS, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        model(images)
    for hook in hooks:
        hook.remove()
    maps = rolled_through_windows(model, images, lambda heads: heads.mean(-3))
    assert maps.shape == (2, ROWS, COLUMNS)
    for image in range(2):
        rolled, size = np.eye(ROWS * COLUMNS), (ROWS, COLUMNS)
        for number, (block, heads) in enumerate(zip(blocks, found)):
            if number == 2:  # the second stage
                new = (size[0] + 1) // 2, (size[1] + 1) // 2
                table = np.zeros((new[0] * new[1], len(rolled)))
                for patch in range(len(table)):
                    row, column = divmod(patch, new[1])
                    parts = [
                        r * size[1] + c
                        for r in (2 * row, 2 * row + 1)
                        for c in (2 * column, 2 * column + 1)
                        if r < size[0] and c < size[1]
                    ]
                    table[patch] = rolled[parts].mean(0)
                rolled, size = table, new
            own = heads.unflatten(0, (2, -1))[image].mean(1)
            rolled = dense(own, size, tuple(block.window_size), tuple(block.shift_size)) @ rolled
        assert np.allclose(maps[image].flatten().numpy(), rolled.mean(0), atol=1e-6)
        assert maps[image].sum().item() == pytest.approx(1, abs=1e-5)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4), st.integers(1, 4), st.integers(0, 3))
def test_every_patch_is_in_one_window(rows: int, columns: int, high: int, wide: int, shift: int) -> None:
    windows = windows_of((rows, columns), (high, wide), (shift, shift))
    assert windows.shape == (-(-rows // high) * -(-columns // wide), high * wide)
    real = windows[windows >= 0]
    assert sorted(real.tolist()) == list(range(rows * columns))
    rolled = torch.eye(rows * columns)
    even = torch.full((*windows.shape, windows.shape[1]), 1 / windows.shape[1])
    after = through_windows(rolled, even, windows)
    assert torch.allclose(after.sum(1), torch.ones(rows * columns), atol=1e-5)
    assert torch.allclose(merged(after, (rows, columns)).sum(1), torch.ones(1), atol=1e-5)


def test_swin_of_the_registry() -> None:
    model = build({"name": "swin_tiny", "height": 128, "width": 64}, 0).eval()
    fused = [m.fused_attn for m in model.modules() if hasattr(m, "fused_attn")]
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 128, 64), dtype=np.uint8)
    assert "rollout" in methods_of(model)
    found = attention_maps(model, torch.from_numpy(images), "rollout")
    assert found.maps.shape == (2, 32, 16) and found.maps.max() == pytest.approx(1)
    assert [m.fused_attn for m in model.modules() if hasattr(m, "fused_attn")] == fused
