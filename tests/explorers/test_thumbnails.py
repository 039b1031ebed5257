"""Thumbnails: sizes, the cache's bound, stores, broken files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from explorer_cases import HOSTILE, pictures
from PIL import Image

from reidlab.data.pixels import PixelStore
from reidlab.errors import UserError
from reidlab.explorers.pictures import Thumbnails, data_uri, jpeg_of, placeholder


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    assert image.format == "JPEG"
    return image


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [(256, 128, (64, 128)), (64, 32, (32, 64)), (128, 64, (64, 128)), (10, 4000, (512, 1)), (4000, 10, (1, 128))],
)
def test_sizes(height: int, width: int, expected: tuple[int, int]) -> None:
    """Never enlarged, at most 128 high and 512 wide, never empty."""
    assert opened(jpeg_of(np.full((height, width, 3), 90, np.uint8))).size == expected


def test_colours_and_order_survive(tmp_path: Path) -> None:
    thumbs = Thumbnails(pictures(tmp_path))
    for row in (0, 13, 35):
        pid, number = divmod(row, 6)
        colour = np.asarray(opened(thumbs.get(row).data)).mean(axis=(0, 1))
        assert np.allclose(colour, (40 * pid % 256, 255 - 30 * pid, 20 * number), atol=6)


def test_a_store_is_read_in_the_place_of_files(tmp_path: Path) -> None:
    table = pictures(tmp_path)
    store = PixelStore.build(table.assign(dataset=""), tmp_path / "stores", size=(64, 32), progress=False)
    for path in table["path"]:
        Path(path).unlink()
    rows = np.array([30, 2])
    few = Thumbnails(table.iloc[rows].reset_index(drop=True), store, rows=rows)
    assert not few.get(0).reason
    assert np.allclose(np.asarray(opened(few.get(0).data)).mean(axis=(0, 1)), (200, 105, 0), atol=6)
    assert Thumbnails(table).get(0).reason  # without the store they are gone
    with pytest.raises(UserError, match="another table"):
        Thumbnails(pd.concat([table, table]), store)
    with pytest.raises(UserError, match="another table"):
        Thumbnails(table, store, rows=rows)
    store.flat  # a store that is damaged while it is in use
    (store.folder / "pixels.u8").write_bytes(b"")
    damaged = PixelStore(store.folder, store.n_images, store.size)
    assert "damaged" in Thumbnails(table, damaged).get(0).reason


def test_the_cache_is_bounded_and_keeps_what_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table, made = pictures(tmp_path), []
    thumbs = Thumbnails(table)
    size = max(len(thumbs.get(row).data) for row in range(36))
    thumbs = Thumbnails(table, limit=5 * size)
    own = thumbs.made
    monkeypatch.setattr(thumbs, "made", lambda row, height: (made.append(row), own(row, height))[1])
    for row in [*range(36), *range(36)]:
        thumbs.get(row)
        assert thumbs.nbytes <= 5 * size
        thumbs.get(35)  # asked for again and again: it is made once and stays
    assert made.count(35) == 1 and made.count(0) == 2
    assert thumbs.nbytes == sum(len(each.data) for each in thumbs._kept.values())
    thumbs.clear()
    assert thumbs.nbytes == 0 and len(thumbs) == 36
    tiny = Thumbnails(table, limit=1)
    assert tiny.get(3).data  # one is kept whatever its size


def test_what_cannot_be_read_has_a_placeholder_and_a_reason(tmp_path: Path) -> None:
    table = pictures(tmp_path)
    Path(table["path"][0]).write_bytes(b"no image")
    Path(table["path"][1]).unlink()
    thumbs = Thumbnails(table)
    first, second, third = (thumbs.get(row) for row in range(3))
    assert first.data == second.data == placeholder() and third.reason == ""
    assert "cannot identify" in first.reason and "no image" not in first.reason and str(tmp_path) not in first.reason
    assert second.reason and opened(placeholder()).size == (64, 128)
    with pytest.raises(IndexError):
        thumbs.get(36)
    with pytest.raises(IndexError):
        thumbs.get(-1)
    assert HOSTILE in thumbs.paths[0]  # type: ignore[index]


def test_paths_alone_and_tables_without_paths(tmp_path: Path) -> None:
    table = pictures(tmp_path, people=1)
    assert Thumbnails([Path(path) for path in table["path"]]).get(2) == Thumbnails(table).get(2)
    with pytest.raises(UserError, match="no column path"):
        Thumbnails(table.drop(columns="path"))


def test_addresses_hold_the_picture() -> None:
    import base64

    head, body = data_uri(b"\xff\xd8abc").split(",")
    assert head == "data:image/jpeg;base64" and base64.b64decode(body) == b"\xff\xd8abc"


def test_deep_images_use_the_tables_scale(tmp_path: Path) -> None:
    path = tmp_path / "deep.png"
    Image.fromarray(np.full((40, 20), 1000, np.uint16)).save(path)
    table: Any = pd.DataFrame({"path": [str(path)], "value_range": [2000.0]})
    assert np.asarray(opened(Thumbnails(table).get(0).data)).mean() == pytest.approx(127.5, abs=2)
    assert "more than 8 bits" in Thumbnails([str(path)]).get(0).reason
