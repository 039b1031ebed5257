"""The one place where image files are opened: which are, how they become upright 8-bit RGB, and what is refused.

8-bit images of any mode are converted; alpha is dropped, so that pixels have the colours that the file holds. Images
of 16 or 32 bits and of floats ("deep" ones) have no range of their own: one scale, chosen over a whole data set by
`reidlab.data.audit` (`reidlab.data.scales`), says which of their values becomes 255. Without it they are refused.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from reidlab.data._deep import is_deep, to_8_bits, values_of
from reidlab.data._files import NotRegular, missing, open_regular
from reidlab.data._quiet import quiet_pillow
from reidlab.errors import UserError

__all__ = [
    "FORMATS",
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "Bad",
    "Opened",
    "decode",
    "decode_mask",
    "extent",
    "has_transparency",
    "naming",
    "open_bytes",
    "read_file",
    "said",
    "to_rgb",
]

# Decoded by Pillow itself, without any other program: an EPS goes to Ghostscript, whatever its name.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")  # what is looked for in a folder
MAX_PIXELS = 89_478_485  # of one image, Pillow's own bound for what may be an attack: 256 MiB as RGB
MAX_BYTES = 2**30  # of one file
_ORIENTATION = 0x0112  # the EXIF tag
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PLAIN = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr")
_PHOTOMETRIC = 262  # the TIFF tag; 0: white is zero
_FAINT = 16  # of 255: a 16-bit colour image that reaches no higher uses 12 bits at most


class Bad(Exception):
    """Why a file cannot be used as an image, and what to do; callers put the name of the file before it."""

    def __init__(self, reason: str, remedy: str = "Leave it out: notebook 01 lists such files.") -> None:
        super().__init__(reason)
        self.remedy = remedy


class Opened(NamedTuple):
    """An image, decoded and upright, in the mode of its file.

    Attributes:
        image: as Pillow has it.
        deep_colour: whether the file has 16 bits per channel, of which Pillow keeps the upper 8.
    """

    image: Image.Image
    deep_colour: bool


def read_file(path: str | os.PathLike[str]) -> bytes:
    """Return the bytes of a regular file; a pipe or a device, which could keep us waiting, is never read.

    Raises:
        OSError: there is none, or it cannot be read.
        Bad: it is no regular file, it is empty, or it is larger than `MAX_BYTES`.
    """
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_BYTES:
                raise Bad(f"its {size:,} bytes are more than the {MAX_BYTES:,} allowed")
            data = file.read(MAX_BYTES + 1)
    except NotRegular as error:
        raise Bad(str(error)) from None
    if not data:
        raise Bad("the file is empty")
    return data


def open_bytes(data: bytes) -> Opened:
    """Decode the bytes of an image file and turn it upright by its EXIF tag; of several pictures the first.

    Raises:
        Bad: it is no image of `FORMATS`, is damaged, or has more than `MAX_PIXELS` pixels.
    """
    try:
        with quiet_pillow(), Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise Bad(f"its {width} x {height} pixels are more than the {MAX_PIXELS:,} allowed")
            deep = not is_deep(image) and ";16" in str(image.tile[:1])  # as the file holds it, before it is decoded
            inverted = is_deep(image) and getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == 0
            image.load()
            upright = _upright(image)
    except Bad:
        raise
    except Image.UnidentifiedImageError:
        raise Bad(f"cannot identify it as {', '.join(FORMATS[:-1])} or {FORMATS[-1]}") from None
    except Exception as error:  # Pillow's readers raise nearly anything on damaged files: struct.error, EOFError ...
        raise Bad(said(error)) from error
    if inverted:
        raise Bad("it is a TIFF of more than 8 bits whose zero is white; invert it")
    if min(upright.size) < 1:
        raise Bad("it has no pixels")
    return Opened(upright, deep)


def _upright(image: Image.Image) -> Image.Image:
    """Turn a loaded image by its EXIF tag; damaged EXIF data says nothing, and the pixels are used as they are."""
    try:
        turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:
        turn = None
    return image if turn is None else image.transpose(turn)


def said(error: Exception) -> str:
    """Return an error's words on one line, of bounded length and without control characters."""
    text = "".join(letter if letter.isprintable() else "?" for letter in f"{type(error).__name__}: {error}")
    return text if len(text) <= 200 else text[:197] + "..."


def extent(opened: Opened) -> tuple[str, float, float]:
    """Return the kind of an image, its lowest and its highest value.

    Kinds: "whole" (16- or 32-bit whole numbers), "real" (floats), "colour" (16 bits per channel, of which the upper 8
    remain; its values are those 8 bits) and "" (8 bits, with values 0 and 0: they need no scale).

    Raises:
        Bad: values that no scale of ours brings to 8 bits: negative ones, NaN or infinite ones, floats above 255,
            colours that use so few of their 16 bits that the upper 8 are nearly black.
    """
    values = values_of(opened.image)
    if values is None:
        if not opened.deep_colour:
            return "", 0.0, 0.0
        return "colour", 0.0, float(np.asarray(to_rgb(opened)).max())
    kind = "real" if opened.image.mode == "F" else "whole"
    low, high = float(values.min()), float(values.max())
    if not np.isfinite(values).all():
        raise Bad("it holds NaN or infinite values, which have no colour")
    if low < 0 or (kind == "real" and high > 255):
        allowed = "from 0 to 1 or from 0 to 255" if kind == "real" else "of 0 and more"
        raise Bad(f"it holds values from {low:g} to {high:g}, and only values {allowed} become 8 bits; convert it")
    return kind, low, high


def to_rgb(opened: Opened, value_range: float | None = None) -> Image.Image:
    """Return an image as 8-bit RGB.

    Args:
        opened: from `open_bytes`.
        value_range: the value of deep images that becomes 255; other images do not look at it.

    Raises:
        Bad: a mode without a way to RGB, values outside what `extent` allows, or a deep image without `value_range`.
    """
    image, mode = opened.image, opened.image.mode
    values = values_of(image)
    if values is not None:
        extent(opened)
        if value_range is None:
            raise Bad(
                f"it has more than 8 bits (mode {mode}) and no scale is known",
                "Take the table that holds the scale of its data set: `reidlab.data.audit.audit(table).clean_table`.",
            )
        return Image.fromarray(to_8_bits(values, value_range)).convert("RGB")
    if mode not in _PLAIN:
        raise Bad(f"its mode {mode} is not known here; convert it to RGB")
    with quiet_pillow():
        if mode in ("La", "RGBa", "PA") or (mode == "P" and "transparency" in image.info):
            image = image.convert("LA" if mode == "La" else "RGBA")
        rgb = image if image.mode == "RGB" else image.convert("RGB")
    if opened.deep_colour and max(high for _, high in rgb.getextrema()) < _FAINT:  # type: ignore[misc]
        raise Bad("it has 16 bits per channel but uses only the lowest 8, so that it would turn black; convert it")
    return rgb


def has_transparency(opened: Opened) -> bool:
    """Return whether any pixel is transparent, wholly or in part: its colour is used as the file has it."""
    image = opened.image
    if not image.has_transparency_data:
        return False
    with quiet_pillow():
        lowest, _ = image.convert("RGBA").getchannel("A").getextrema()
    return float(lowest) < 255  # type: ignore[arg-type]


def decode(
    path: str | os.PathLike[str], size: tuple[int, int] | None = None, value_range: float | None = None
) -> npt.NDArray[np.uint8]:
    """Decode one image file to uint8 [height, width, 3], turned upright by its EXIF tag.

    Args:
        path: the file.
        size: (height, width) to resize to (bilinear, antialiased); None keeps the native size.
        value_range: the value that becomes 255, for images of more than 8 bits alone (column `value_range` of the
            table that the audit gives).

    Raises:
        UserError: the file is missing, is no image of `FORMATS`, or cannot be brought to 8 bits.
    """
    with naming(path):
        image = to_rgb(open_bytes(read_file(path)), value_range)
    if size is not None and image.size != (size[1], size[0]):
        image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(image)


def decode_mask(path: str | os.PathLike[str], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Return a mask's values (of a palette, its indices) as uint8 [height, width], resized to `size` (height, width).

    Raises:
        UserError: the file is missing, no image, or no mask: it has more than one channel or more than 8 bits.
    """
    with naming(path):
        image = open_bytes(read_file(path)).image
        if image.mode not in ("1", "L", "P"):
            raise Bad(f"a mask has one channel of 8 bits, and its mode is {image.mode}")
    return np.asarray(image.resize(size[::-1], Image.Resampling.NEAREST)).astype(np.uint8)


@contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn what goes wrong with a file into a UserError that names it."""
    try:
        yield
    except FileNotFoundError:
        raise missing(path) from None
    except (Bad, OSError, ValueError) as error:  # ValueError: a name that no file can have
        bad = error if isinstance(error, Bad) else Bad(getattr(error, "strerror", None) or str(error))
        raise UserError(f"{path} does not decode ({bad}). {bad.remedy}") from error
