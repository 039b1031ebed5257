"""PixelStream: the pixels of a store, in order or not, a few batches in memory, broken files named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from reidlab.data import streaming
from reidlab.data.pixels import PixelStore
from reidlab.data.streaming import PixelStream
from reidlab.errors import UserError

N = 23


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    rng = np.random.default_rng(0)
    found = []
    for i in range(N):
        found.append(str(tmp_path / f"{i}.png"))
        Image.fromarray(rng.integers(0, 256, (20, 9, 3), dtype=np.uint8)).save(found[-1])
    return found


@pytest.mark.parametrize("size", [1, 4, 23, 100])
def test_the_pixels_of_a_store(tmp_path: Path, paths: list[str], size: int) -> None:
    store = PixelStore.build(pd.DataFrame({"path": paths}), tmp_path / "store", size=(16, 8), progress=False)
    with PixelStream(paths, (16, 8)) as stream:
        assert stream.n_images == N
        for start in range(0, N, size):
            rows = np.arange(start, min(N, start + size))
            found = stream.batch(rows)
            assert torch.equal(found, store.batch(rows)) and found.dtype == torch.uint8
            assert found.is_contiguous(memory_format=torch.channels_last)
        for rows in ([5, 0, 5, 22], [3]):  # any order, twice, again
            assert torch.equal(stream.batch(rows), store.batch(rows))
        assert stream.batch([]).shape == (0, 3, 16, 8)


def test_few_batches_are_decoded_ahead(paths: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[str] = []
    decode = streaming.decode
    monkeypatch.setattr(streaming, "decode", lambda path, size: (decoded.append(path), decode(path, size))[1])
    with PixelStream(paths, (16, 8), workers=1) as stream:
        stream.batch(range(3))
        assert set(stream._coming) == set(range(3, 9)), "two batches, and the one that was asked for is let go"
        stream.batch(range(3, 6))
        assert set(stream._coming) == set(range(6, 12))
        stream.batch(range(20, 23))
        assert not stream._coming
    assert set(decoded) <= set(paths[:12] + paths[20:])
    assert len(decoded) == len(set(decoded)), "none is decoded twice"


def test_broken_files_are_named_when_they_are_reached(paths: list[str]) -> None:
    Path(paths[7]).write_text("no image")
    Path(paths[9]).unlink()
    with PixelStream(paths, (16, 8)) as stream:
        assert len(stream.batch(range(4))) == 4
        with pytest.raises(UserError, match=r"7\.png does not decode"):
            stream.batch(range(4, 8))
        with pytest.raises(UserError, match=r"9\.png"):
            stream.batch([9])


@pytest.mark.parametrize("rows", [[-1], [N], [0, N]])
def test_rows_outside(paths: list[str], rows: list[int]) -> None:
    with PixelStream(paths, (16, 8)) as stream, pytest.raises(IndexError, match="not within the 23 images"):
        stream.batch(rows)


def test_sizes_out_of_bounds(paths: list[str]) -> None:
    with pytest.raises(UserError, match="size of a pixel stream 0 x 8"):
        PixelStream(paths, (0, 8))
