"""Images that somebody brings along: read with every check, and embedded as the gallery was."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from reidlab.data.images import Bad, open_bytes, to_rgb
from reidlab.errors import UserError, shown
from reidlab.explorers.pictures import Picture, jpeg_of
from reidlab.explorers.rankings import Ranked

__all__ = ["LARGEST", "Kept", "Upload", "Uploads", "check_size", "embedder_of", "read_upload"]

LARGEST = 8 * 2**20  # bytes: servers of notebooks cut connections that bring more than 10 MiB at once
MOST = 8  # images that are kept

Pixels = npt.NDArray[np.uint8]


class Upload(NamedTuple):
    """An image from elsewhere: its name as it was given, and its pixels, uint8 [height, width, 3]."""

    name: str
    pixels: Pixels


class Kept(NamedTuple):
    """An uploaded image, its ranking and its thumbnail."""

    image: Upload
    ranked: Ranked
    picture: Picture


class Uploads(OrderedDict[str, Kept]):
    """The latest uploads by key: "u1", "u2", ..., at most `MOST` of them."""

    def add(self, image: Upload, ranked: Ranked) -> str:
        """Keep an upload; return its key."""
        self.count = getattr(self, "count", 0) + 1
        key = f"u{self.count}"
        self[key] = Kept(image, ranked, Picture(jpeg_of(image.pixels)))
        if len(self) > MOST:
            self.popitem(last=False)
        return key


def check_size(name: str, size: int) -> None:
    """Refuse a file of too many bytes.

    Raises:
        UserError: it has more than `LARGEST`.
    """
    if size > LARGEST:
        raise UserError(
            f"{name!r} has {size:,} bytes, and {LARGEST:,} are allowed. Make it smaller: one person, cut out."
        )


def read_upload(name: str, content: bytes) -> Upload:
    """Return the image of an uploaded file, upright by its EXIF tag.

    Raises:
        UserError: it is too large, or no image.
    """
    check_size(name, len(content))
    try:
        if not content:
            raise Bad("the file is empty")
        return Upload(name, np.asarray(to_rgb(open_bytes(content))))
    except Bad as error:
        raise UserError(f"{name!r} cannot be used ({error}). Upload a JPEG or PNG of one person, cut out.") from None


def embedder_of(model: Any) -> Callable[[Pixels], npt.ArrayLike]:
    """Return a function from pixels, uint8 [height, width, 3], to an embedding [dim].

    Args:
        model: one of `models.build` or `load_model`, which embeds as `retrieval.embed` does, or such a function.

    Raises:
        UserError: it is neither.
    """
    if hasattr(model, "preprocess"):
        return lambda pixels: _by_network(model, pixels)
    if callable(model):
        found: Callable[[Pixels], npt.ArrayLike] = model
        return found
    raise UserError(f"model={shown(model)} is neither a model of reidlab nor a function from pixels to an embedding.")


def _by_network(model: Any, pixels: Pixels) -> npt.ArrayLike:
    """Embed one image as `retrieval.embed` embeds files."""
    import torch
    from PIL import Image

    from reidlab.devices import plan
    from reidlab.models.inference import embed_rows

    size = model.preprocess.width, model.preprocess.height
    image = Image.fromarray(pixels)
    resized = np.asarray(image if image.size == size else image.resize(size, Image.Resampling.BILINEAR))
    parameter = next(iter(model.parameters()), None)
    device = "cpu" if parameter is None else parameter.device.type

    class One:
        def batch(self, rows: Any) -> Any:
            return torch.from_numpy(np.ascontiguousarray(resized)[None].copy()).permute(0, 3, 1, 2)

    return embed_rows(model, One(), np.arange(1), plan(device, "float32"), batch_size=1)[0]  # type: ignore[arg-type]
