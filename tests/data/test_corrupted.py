"""Corrupted pixels: corrupted at their own size, then resized; what a model is given instead of clean ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from reidlab.data.corrupted import CorruptedPixels
from reidlab.data.pixels import PixelStore
from reidlab.data.transforms.corruptions import corrupt
from reidlab.errors import UserError

SIZES = [(32, 16), (40, 20), (32, 16), (25, 30)]


@pytest.fixture
def table(tmp_path: Path) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    paths = []
    for i, (height, width) in enumerate(SIZES):
        paths.append(str(tmp_path / f"{i}.png"))
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(paths[-1])
    return pd.DataFrame({"path": paths})


def opened(table: pd.DataFrame, folder: Path, name: str = "gaussian_noise", **options: Any) -> CorruptedPixels:
    return CorruptedPixels.of(table, folder, name, progress=False, **{"severity": 2, "size": (32, 16), **options})


def test_corrupted_before_it_is_resized(table: pd.DataFrame, tmp_path: Path) -> None:
    store = opened(table, tmp_path / "stores", seed=4)
    assert isinstance(store, PixelStore) and store.n_images == 4
    rows = np.array([3, 0, 1])
    found = store.batch(rows)
    assert found.dtype == torch.uint8 and found.shape == (3, 3, 32, 16)
    assert found.is_contiguous(memory_format=torch.channels_last)
    for row, made in zip(rows, found):
        with Image.open(table["path"][row]) as image:
            pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
        changed = corrupt(pixels, "gaussian_noise", severity=2, seed=4)[0].permute(1, 2, 0).numpy()
        expected = np.asarray(Image.fromarray(changed).resize((16, 32), Image.Resampling.BILINEAR))
        assert np.array_equal(made.permute(1, 2, 0).numpy(), expected)


def test_batches_do_not_matter_and_seeds_do(table: pd.DataFrame, tmp_path: Path) -> None:
    store = opened(table, tmp_path / "stores")
    whole = store.batch(np.arange(4))
    assert all(torch.equal(store.batch(np.array([row]))[0], whole[row]) for row in range(4))
    assert not torch.equal(opened(table, tmp_path / "stores", seed=1).batch(np.arange(4)), whole)
    assert not torch.equal(opened(table, tmp_path / "stores", severity=3).batch(np.arange(4)), whole)
    assert store.batch(np.zeros(0, np.int64)).shape == (0, 3, 32, 16)
    assert len(list((tmp_path / "stores").iterdir())) == 1, "one store of clean images serves all"


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("fogg", {}, "corruption 'fogg' is unknown"),
        ("fog", {"severity": 0}, "severity=0 must be a whole number from 1"),
        ("fog", {"size": (0, 16)}, "size of corrupted images 0 x 16"),
    ],
)
def test_mistakes(table: pd.DataFrame, tmp_path: Path, name: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        opened(table, tmp_path, name, **options)


@pytest.mark.parametrize("row", [-1, 4])
def test_rows_that_are_not_there(table: pd.DataFrame, tmp_path: Path, row: int) -> None:
    with pytest.raises(IndexError, match=f"row {row} is outside"):
        opened(table, tmp_path).batch(np.array([row]))
