"""Thumbnails of a table's images as JPEG, made when they are asked for and kept as far as a number of bytes allows."""

from __future__ import annotations

import base64
import io
import os
from collections import OrderedDict
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image, ImageDraw

from reidlab.data.images import decode
from reidlab.data.scales import ranges_of
from reidlab.errors import UserError

if TYPE_CHECKING:
    from reidlab.data.pixels import PixelStore

__all__ = ["HEIGHT", "LIMIT", "Picture", "Thumbnails", "data_uri", "jpeg_of", "placeholder"]

HEIGHT = 128  # pixels
LIMIT = 32 * 2**20  # bytes of thumbnails that are kept
WIDEST = 4  # heights: a panorama is cut down to this
QUALITY = 85


class Picture(NamedTuple):
    """A picture as JPEG, and why it is a placeholder: "" where it is none."""

    data: bytes
    reason: str = ""


class Thumbnails:
    """Small pictures by row.

    Args:
        images: an image table (its column path, and value_range where it has one), or a list of paths.
        store: where decoded pixels are; None: files are decoded.
        rows: the row in the store of each image [image]; None: the same as in `images`.
        height: of a thumbnail, in pixels; smaller pictures are not enlarged.
        limit: bytes that are kept; those that were not asked for longest go first.

    Raises:
        UserError: the store has fewer images than are looked for there, or the table has no paths.
    """

    def __init__(
        self,
        images: pd.DataFrame | Sequence[str | os.PathLike[str]],
        store: PixelStore | None = None,
        *,
        rows: npt.NDArray[np.int64] | None = None,
        height: int = HEIGHT,
        limit: int = LIMIT,
    ) -> None:
        self._ranges, self.paths = None, None
        if not isinstance(images, pd.DataFrame):
            self.paths = [os.fspath(path) for path in images]
        elif "path" in images:
            self._ranges, self.paths = ranges_of(images), [str(path) for path in images["path"]]
        elif store is None:
            raise UserError("The table has no column path, and there is no pixel store: nothing can be shown.")
        self.store, self.rows, self.height, self.limit = store, rows, height, limit
        self._length = len(images)
        if store is not None:
            largest = int(rows.max()) if rows is not None and len(rows) else self._length - 1
            if (rows is not None and len(rows) != self._length) or largest >= store.n_images:
                raise UserError(
                    f"The pixel store has {store.n_images} images, the table {self._length}: it was built of another "
                    "table."
                )
        self.nbytes = 0
        self._kept: OrderedDict[int, Picture] = OrderedDict()

    def __len__(self) -> int:
        return self._length

    def get(self, row: int) -> Picture:
        """Return the thumbnail of a row, or a placeholder and the reason for it.

        Raises:
            IndexError: there is no such row.
        """
        if not 0 <= row < self._length:
            raise IndexError(f"row {row} is outside the {self._length} images")
        found = self._kept.pop(row, None)
        if found is None:
            found = self.made(row, self.height)
            self.nbytes += len(found.data)
        self._kept[row] = found
        while self.nbytes > self.limit and len(self._kept) > 1:
            _, gone = self._kept.popitem(last=False)
            self.nbytes -= len(gone.data)
        return found

    def made(self, row: int, height: int) -> Picture:
        """Make a picture of a row at another height, kept nowhere; files are larger than a store's images."""
        try:
            return Picture(jpeg_of(self.pixels(row), height))
        except (UserError, OSError) as error:
            reason = str(error) if self.paths is None else str(error).removeprefix(f"{self.paths[row]} ")
            return Picture(placeholder(min(height, HEIGHT)), _short(reason))

    def pixels(self, row: int) -> npt.NDArray[np.uint8]:
        """Return the pixels of a row, uint8 [height, width, 3], from the store or the file.

        Raises:
            UserError: the file does not decode, or the store is damaged.
        """
        if self.store is not None:
            return self.store.image(row if self.rows is None else int(self.rows[row]))
        assert self.paths is not None
        return decode(self.paths[row], value_range=None if self._ranges is None else float(self._ranges[row]))

    def clear(self) -> None:
        """Let go of all that is kept."""
        self._kept.clear()
        self.nbytes = 0


def jpeg_of(pixels: npt.NDArray[np.uint8], height: int = HEIGHT) -> bytes:
    """Return an image, uint8 [height, width, 3], as JPEG of `height` pixels at most, `WIDEST` times as wide at most."""
    image = Image.fromarray(pixels)
    scale = min(1.0, height / image.height, WIDEST * height / image.width)
    if scale < 1:
        size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
        image = image.resize(size, Image.Resampling.BILINEAR)
    out = io.BytesIO()
    image.save(out, format="JPEG", quality=QUALITY)
    return out.getvalue()


@cache
def placeholder(height: int = HEIGHT) -> bytes:
    """Return a grey picture with a cross, half as wide as high, as JPEG."""
    width = max(2, height // 2)
    image = Image.new("RGB", (width, height), (128, 128, 128))
    draw = ImageDraw.Draw(image)
    for ends in ([(0, 0), (width, height)], [(0, height), (width, 0)]):
        draw.line(ends, fill=(176, 176, 176), width=2)
    out = io.BytesIO()
    image.save(out, format="JPEG", quality=QUALITY)
    return out.getvalue()


def data_uri(data: bytes) -> str:
    """Return a JPEG as an address that holds it."""
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode('ascii')}"


def _short(reason: str, limit: int = 160) -> str:
    return reason if len(reason) <= limit else f"{reason[: limit - 2]} …"
