"""Opening images: every mode with the right colours, EXIF, what is refused and in which words."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from reidlab.data import images
from reidlab.data._quiet import quiet_pillow
from reidlab.data.images import Bad, decode, decode_mask, extent, has_transparency, open_bytes, read_file, to_rgb
from reidlab.errors import UserError

RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 256, (6, 4, 3), dtype=np.uint8)


def packed(image: Image.Image, kind: str, **options: object) -> bytes:
    target = io.BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()


def rgb_of(data: bytes, value_range: float | None = None) -> np.ndarray:
    return np.asarray(to_rgb(open_bytes(data), value_range))


def tiff_of(values: np.ndarray) -> bytes:
    return packed(Image.fromarray(values), "TIFF")


def test_colours_of_every_mode() -> None:
    picture = Image.fromarray(COLOURS)
    grey = picture.convert("L")
    assert np.array_equal(rgb_of(packed(picture, "PNG")), COLOURS)
    assert np.array_equal(rgb_of(packed(picture, "PPM")), COLOURS)
    assert np.array_equal(rgb_of(packed(picture, "BMP")), COLOURS)
    assert np.array_equal(rgb_of(packed(picture, "WEBP", lossless=True)), COLOURS)
    for kind in ("PNG", "BMP", "TIFF", "GIF"):
        assert np.array_equal(rgb_of(packed(grey, kind)), np.repeat(np.asarray(grey)[:, :, None], 3, axis=2))
    bits = Image.fromarray(COLOURS[:, :, 0] > 127)
    assert bits.mode == "1"
    for kind in ("PNG", "BMP", "TIFF", "PPM"):
        assert np.array_equal(rgb_of(packed(bits, kind))[:, :, 1], np.where(COLOURS[:, :, 0] > 127, 255, 0))
    cyan = Image.new("CMYK", (4, 6), (255, 0, 0, 0))
    assert (rgb_of(packed(cyan, "TIFF")) == (0, 255, 255)).all()
    assert np.abs(rgb_of(packed(cyan, "JPEG")).astype(int) - (0, 255, 255)).max() <= 2


def test_palettes_and_transparency_give_the_colours_that_are_stored() -> None:
    indexed = Image.new("P", (2, 2))
    indexed.putpalette([10, 20, 30, 200, 100, 50, 0, 255, 0])
    indexed.putdata([0, 1, 2, 1])
    wanted = [[[10, 20, 30], [200, 100, 50]], [[0, 255, 0], [200, 100, 50]]]
    for options in ({}, {"transparency": 1}, {"transparency": b"\0\x80\xff"}):
        opened = open_bytes(packed(indexed, "PNG", **options))
        assert np.asarray(to_rgb(opened)).tolist() == wanted
        assert has_transparency(opened) == bool(options)
    alpha = Image.new("RGBA", (2, 2), (9, 8, 7, 0))
    opened = open_bytes(packed(alpha, "PNG"))
    assert (np.asarray(to_rgb(opened)) == (9, 8, 7)).all() and has_transparency(opened)
    assert not has_transparency(open_bytes(packed(Image.new("RGBA", (2, 2), (9, 8, 7, 255)), "PNG")))
    grey = open_bytes(packed(Image.new("LA", (2, 2), (77, 3)), "PNG"))
    assert (np.asarray(to_rgb(grey)) == 77).all() and has_transparency(grey)


def test_sixteen_bits_keep_their_picture() -> None:
    """All of them were white (255) once."""
    values = np.array([[0, 257, 32896, 65535]], np.uint16)
    for data in (packed(Image.fromarray(values), "PNG"), tiff_of(values), tiff_of(values.astype(np.int32))):
        opened = open_bytes(data)
        assert extent(opened) == ("whole", 0, 65535)
        assert rgb_of(data, 65535)[0, :, 0].tolist() == [0, 1, 128, 255]
        assert rgb_of(data, 65535).shape == (1, 4, 3)
    twelve = np.array([[0, 16, 2048, 4095]], np.uint16)
    assert rgb_of(tiff_of(twelve), 4095)[0, :, 2].tolist() == [0, 1, 128, 255]
    maximum = b"P5 2 1 4095\n" + struct.pack(">2H", 0, 4095)  # a PGM says its scale itself
    assert rgb_of(maximum, 65535)[0, :, 0].tolist() == [0, 255]


def test_floats_keep_their_picture() -> None:
    """Those of 0 to 1 were black once."""
    unit = np.array([[0, 0.25, 0.5, 1]], np.float32)
    assert extent(open_bytes(tiff_of(unit))) == ("real", 0, 1)
    assert rgb_of(tiff_of(unit), 1)[0, :, 0].tolist() == [0, 64, 128, 255]
    assert rgb_of(tiff_of(unit * 255), 255)[0, :, 0].tolist() == [0, 64, 128, 255]


def test_without_a_scale_they_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "deep.tif"
    path.write_bytes(tiff_of(np.full((2, 2), 4000, np.uint16)))
    with pytest.raises(UserError, match=r"deep\.tif does not decode \(it has more than 8 bits .*clean_table"):
        decode(path)
    assert (decode(path, value_range=4095) == 249).all()
    assert decode(path, (8, 4), 4095).shape == (8, 4, 3)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.array([[-5, 9]], np.int32), "values from -5 to 9"),
        (np.array([[-0.5, 0.5]], np.float32), "values from -0.5 to 0.5"),
        (np.array([[0, 300.5]], np.float32), "from 0 to 1 or from 0 to 255"),
        (np.array([[0, np.nan]], np.float32), "NaN or infinite"),
        (np.array([[0, np.inf]], np.float32), "NaN or infinite"),
    ],
)
def test_values_without_a_scale_are_refused(values: np.ndarray, words: str) -> None:
    opened = open_bytes(tiff_of(values))
    for call in (lambda: extent(opened), lambda: to_rgb(opened, 255)):
        with pytest.raises(Bad, match=words):
            call()


def png_of_16_bit_colours(values: np.ndarray) -> bytes:
    import zlib

    height, width, _ = values.shape

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_colours_of_16_bits_use_the_upper_eight_or_are_refused() -> None:
    values = np.arange(6 * 4 * 3).reshape(6, 4, 3) * 900
    opened = open_bytes(png_of_16_bit_colours(values))
    assert opened.deep_colour and extent(opened) == ("colour", 0, (71 * 900) >> 8)
    assert np.array_equal(np.asarray(to_rgb(opened)), values >> 8)
    twelve = open_bytes(png_of_16_bit_colours(values // 16))
    for call in (lambda: extent(twelve), lambda: to_rgb(twelve)):
        with pytest.raises(Bad, match="16 bits per channel but uses only the lowest 8"):
            call()
    assert not open_bytes(packed(Image.fromarray(COLOURS), "PNG")).deep_colour


def test_other_modes_are_refused() -> None:
    lab = packed(Image.new("LAB", (2, 2)), "TIFF")
    with pytest.raises(Bad, match="its mode LAB is not known"):
        to_rgb(open_bytes(lab))
    inverted = bytearray(tiff_of(np.array([[0, 9]], np.uint16)))
    at = inverted.index(struct.pack("<HHI", 262, 3, 1)) + 8
    inverted[at] = 0  # WhiteIsZero
    with pytest.raises(Bad, match="zero is white"):
        open_bytes(bytes(inverted))


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_every_orientation(kind: str, turn: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    picture = Image.fromarray(np.kron(COLOURS, np.ones((8, 8, 1), np.uint8)))
    data = packed(picture, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    stored = packed(picture, kind, **({"lossless": True} if kind == "WEBP" else {}))
    plain = rgb_of(stored)
    by_hand = {
        1: plain, 2: plain[:, ::-1], 3: plain[::-1, ::-1], 4: plain[::-1],
        5: plain.transpose(1, 0, 2), 6: np.rot90(plain, -1), 7: np.rot90(plain, 2).transpose(1, 0, 2),
        8: np.rot90(plain),
    }  # fmt: skip
    assert np.array_equal(rgb_of(data), by_hand[turn])


def test_damaged_exif_says_nothing() -> None:
    data = packed(Image.fromarray(COLOURS), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert rgb_of(data).shape == (6, 4, 3)


def test_formats_that_call_other_programs_are_never_tried(tmp_path: Path) -> None:
    """An EPS called .jpg reached Ghostscript."""
    path = tmp_path / "a.jpg"
    path.write_bytes(packed(Image.fromarray(COLOURS), "EPS"))
    with pytest.raises(
        UserError, match=r"a\.jpg does not decode \(cannot identify it as BMP, GIF, JPEG, PNG, PPM, TIFF"
    ):
        decode(path)
    for kind in ("ICO", "PCX", "TGA", "JPEG2000", "SGI"):
        with pytest.raises(Bad, match="cannot identify"):
            open_bytes(packed(Image.fromarray(COLOURS), kind))


def test_images_are_opened_nowhere_else() -> None:
    package = Path(images.__file__).parents[1]
    found = [path.name for path in package.rglob("*.py") if "Image.open(" in path.read_text(encoding="utf-8")]
    assert found == ["images.py"]


def test_bombs_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    small = bytearray(packed(Image.new("1", (8, 8)), "PNG"))
    for side in (10_000, 60_000):  # Pillow warns of the first and refuses the second
        small[16:24] = struct.pack(">II", side, side)
        import zlib

        small[29:33] = struct.pack(">I", zlib.crc32(bytes(small[12:29])))
        path.write_bytes(small)
        with pytest.raises(UserError, match=r"bomb\.png does not decode .*(more than the 89,478,485|exceeds limit)"):
            decode(path)


def test_huge_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_BYTES", 10)
    (tmp_path / "a.png").write_bytes(packed(Image.fromarray(COLOURS), "PNG"))
    with pytest.raises(UserError, match=r"a\.png does not decode \(its [0-9]+ bytes are more than the 10 allowed"):
        decode(tmp_path / "a.png")


@pytest.mark.parametrize("kind", ["BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP"])
def test_a_file_cut_short_is_refused(tmp_path: Path, kind: str) -> None:
    picture = Image.fromarray(RNG.integers(0, 256, (64, 32, 3), dtype=np.uint8))
    path = tmp_path / "short"
    whole = packed(picture.convert("P") if kind == "GIF" else picture, kind)
    path.write_bytes(whole[: int(len(whole) * 0.6)])
    with pytest.raises(UserError, match=r"short does not decode"):
        decode(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_does_not_keep_anybody_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    code = f"from reidlab.data.images import decode; decode({str(tmp_path / 'pipe.jpg')!r})"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=False)
    assert "pipe.jpg does not decode (it is no regular file)" in ended.stderr


def test_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    (tmp_path / "empty.jpg").write_bytes(b"")
    for name, words in (
        ("folder.jpg", "directory|Permission denied|no regular file"),
        ("loop.jpg", "Too many levels of symbolic links"),
        ("empty.jpg", "the file is empty"),
        ("nul\0.jpg", "null"),
        ("gone.jpg", "does not exist"),
    ):
        with pytest.raises(UserError, match=words):
            decode(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "gone.jpg")


def test_masks(tmp_path: Path) -> None:
    mask = Image.new("P", (2, 2))
    mask.putpalette([9, 9, 9] * 3)
    mask.putdata([0, 1, 2, 1])
    mask.save(tmp_path / "mask.png")
    assert decode_mask(tmp_path / "mask.png", (4, 2)).tolist() == [[0, 1], [0, 1], [2, 1], [2, 1]]
    Image.fromarray(COLOURS).save(tmp_path / "colour.png")
    with pytest.raises(UserError, match=r"colour\.png .*a mask has one channel"):
        decode_mask(tmp_path / "colour.png", (4, 2))


def test_pillow_warns_nobody_in_any_thread() -> None:
    indexed = Image.new("P", (2, 2))
    data = packed(indexed, "PNG", transparency=b"\0\1")
    before = list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:
        assert len(list(pool.map(lambda _: rgb_of(data), range(64)))) == 64
    assert warnings.filters == before
    with pytest.raises(UserWarning, match="ours"), quiet_pillow():
        warnings.warn("ours", stacklevel=1)
    assert warnings.filters == before


def test_decoders_words_are_short_and_printable() -> None:
    said = images.said(ValueError("\x1b[31m" + "x" * 999))
    assert said.startswith("ValueError: ?[31mx") and len(said) == 200


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 2**31 - 1), st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=6))
def test_scaled_values_are_the_nearest_of_256(value_range: int, values: list[int]) -> None:
    data = tiff_of(np.array([values], np.int32))
    wanted = [min(255, int(np.rint(value * (255.0 / value_range)))) for value in values]
    assert rgb_of(data, float(value_range))[0, :, 0].tolist() == wanted
