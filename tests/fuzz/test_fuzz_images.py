"""Any bytes under any name: the audit lists the file or measures it, and the pixel store takes what the audit took."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fuzz_cases import ends_well, fuzz
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from reidlab.data import images
from reidlab.data.audit import Audit, audit
from reidlab.data.contents import content_digests
from reidlab.data.datasets import read
from reidlab.data.images import decode, decode_mask
from reidlab.data.pixels import PixelStore
from reidlab.errors import UserError, printable
from reidlab.plots import findings_sheet


def seeds() -> dict[str, bytes]:
    """Write a small image of every format in every mode that it takes, with EXIF, transparency and frames."""
    rng = np.random.default_rng(0)
    colours = Image.fromarray(rng.integers(0, 256, (12, 7, 3), dtype=np.uint8))
    deep = {
        "I;16": Image.fromarray(rng.integers(0, 65536, (12, 7)).astype(np.uint16)),
        "I": Image.fromarray(rng.integers(-5, 2**20, (12, 7)).astype(np.int32)),
        "F": Image.fromarray(rng.random((12, 7)).astype(np.float32)),
    }
    flat = {mode: colours.convert(mode) for mode in ("1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr")}
    exif = Image.Exif()
    exif[0x0112] = 6
    options: dict[str, list[dict]] = {
        "PNG": [{}, {"transparency": 0}],
        "TIFF": [{}, {"compression": "tiff_lzw"}, {"compression": "jpeg"}, {"compression": "tiff_adobe_deflate"}],
        "GIF": [{}, {"save_all": True, "append_images": [colours, colours]}],
        "JPEG": [{}, {"progressive": True}],
        "WEBP": [{}, {"lossless": True}],
    }
    found = {}
    for kind in ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP", "EPS", "ICO", "TGA"):
        for mode, picture in (flat | deep).items():
            for number, more in enumerate(options.get(kind, [{}])):
                for turned in ({}, {"exif": exif}) if kind in ("JPEG", "PNG", "TIFF", "WEBP") else ({},):
                    target = io.BytesIO()
                    try:
                        picture.save(target, kind, **more, **turned)
                    except Exception:  # a mode that this format does not take
                        continue
                    found[f"{kind} {mode} {number} {bool(turned)}"] = target.getvalue()
    return found


SEEDS = seeds()
NAMES = [
    "<img src=x onerror=alert(1)>.jpg",
    "a\nb.jpg",
    "a\rb.png",
    "$HOME$x^{2.jpg",
    "%s%n.bmp",
    "-rf.jpg",
    " .jpg",
    "\u202egpj.exe.jpg",
    "e\u0301💥.tif",
    "\udcff\udcfe.jpg",  # no UTF-8 on the disk
    "\x1b[31m.jpg",
    "n" * 251 + ".jpg",
    "{}.webp",
    "'\";--.gif",
    "no suffix",
]


# One name in a folder: never a path that leads out of it, for the test writes and removes there
ONE_NAME = st.text(st.characters(exclude_characters="/\\"), min_size=1, max_size=40).filter(
    lambda name: name.strip(". ")
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Return an image's bytes with some of them changed, cut, doubled, or grown together with another image's."""
    data = bytearray(SEEDS[draw(st.sampled_from(sorted(SEEDS)))])
    for _ in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from(["byte", "header", "cut", "insert", "splice", "word"]))
        at = draw(st.integers(0, max(0, len(data) - 1)))
        if kind == "byte" and data:
            data[at] = draw(st.integers(0, 255))
        elif kind == "header" and data:
            data[at % min(len(data), 64)] = draw(st.integers(0, 255))
        elif kind == "cut":
            del data[at:]
        elif kind == "insert":
            data[at:at] = draw(st.binary(max_size=8))
        elif kind == "splice":
            data[at:] = SEEDS[draw(st.sampled_from(sorted(SEEDS)))][at:]
        else:
            data[at : at + 4] = draw(
                st.sampled_from([b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\x03\xe8"])
            )
    return bytes(data)


@pytest.fixture(autouse=True)
def small_bombs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse what a changed header makes large, so that the examples stay fast."""
    monkeypatch.setattr(images, "MAX_PIXELS", 10**6)


@contextmanager
def fresh() -> Iterator[Path]:
    """Return a folder of one example; the name of /tmp is short enough for names of 255 bytes below it."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        yield Path(place)


def table_of(paths: list[str]) -> pd.DataFrame:
    rows = range(len(paths))
    named = pd.Series(paths, dtype=object)  # pandas' own text refuses what is no UTF-8
    return pd.DataFrame({"path": named, "pid": list(rows), "camid": 1, "split": "train"})


def look_at(folder: Path, table: pd.DataFrame) -> Audit | UserError:
    """Audit a table and build pixel stores of it; check that each file is listed or decoded."""
    found = ends_well(lambda: audit(table, workers=0, progress=False))
    native = ends_well(lambda: PixelStore.build(table, folder / "store", size=None, workers=1, progress=False))
    if isinstance(found, UserError):  # a name that no table can keep
        return found
    broken = ~found.images["decodes"]
    assert (found.images["error"][broken] != "").all() and (found.images["error"][~broken] == "").all()
    assert set(found.issues["path"][found.issues["kind"] == "unreadable"]) == set(table["path"][broken])
    if broken.any():
        assert isinstance(native, UserError) and any(printable(path) in str(native) for path in table["path"])
    clean = found.clean_table
    store = PixelStore.build(clean, folder / "store", size=None, workers=1, progress=False)
    sizes = found.images.loc[~broken, ["height", "width"]].to_numpy().tolist()
    assert [list(store.image(row).shape[:2]) for row in range(len(clean))] == sizes
    assert len(content_digests(table["path"].tolist())) == len(table)
    shutil.rmtree(folder / "store")
    return found


@fuzz(70)
@given(st.lists(damaged(), min_size=1, max_size=3))
@example([b""])
@example([b"\x89PNG\r\n\x1a\n"])
@example([SEEDS["TIFF F 0 False"], SEEDS["TIFF I;16 0 False"], SEEDS["TIFF I 0 False"]])
@example([SEEDS["PNG P 1 True"]])
def test_damaged_bytes_are_listed_or_decoded(files: list[bytes]) -> None:
    with fresh() as folder:
        paths = [str(folder / f"{number}.jpg") for number in range(len(files))]
        for path, data in zip(paths, files):
            Path(path).write_bytes(data)
        look_at(folder, table_of(paths))


@fuzz(150)
@given(damaged())
def test_damaged_masks_and_pictures(data: bytes) -> None:
    with fresh() as folder:
        path = folder / "x.png"
        path.write_bytes(data)
        mask = ends_well(lambda: decode_mask(path, (4, 2)))
        assert isinstance(mask, UserError) or (mask.shape == (4, 2) and mask.dtype == np.uint8)
        pixels = ends_well(lambda: decode(path, (4, 2), 65535.0))
        assert isinstance(pixels, UserError) or (pixels.shape == (4, 2, 3) and pixels.dtype == np.uint8)


@fuzz(25)
@given(st.sampled_from(NAMES) | ONE_NAME, st.booleans())
def test_odd_names(name: str, good: bool) -> None:
    with fresh() as folder:
        inside = folder / "images"
        inside.mkdir()
        path = f"{inside}{os.sep}{name}"
        with suppress(OSError, ValueError):  # no file can have this name; a table can
            Path(path).write_bytes(SEEDS["PNG RGB 0 False"] if good else b"none")
        found = look_at(folder, table_of([path]))
        if isinstance(found, Audit):
            findings_sheet(found, n=1).canvas.draw()
            ends_well(lambda: found.save(folder / "audit"))
        ends_well(lambda: read("folder_flat", inside))


ODD = ["pipe", "folder", "loop", "loop of two", "broken link", "zero", "device", "secret", "link", "socket", "gone"]


def make_odd(place: Path, kind: str) -> None:
    """Put something that is no image file at a place."""
    import socket

    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "folder":
        place.mkdir()
    elif kind == "loop":
        place.symlink_to(place)
    elif kind == "loop of two":
        other = place.with_suffix(".other")
        place.symlink_to(other)
        other.symlink_to(place)
    elif kind == "broken link":
        place.symlink_to(place.parent / "nowhere")
    elif kind == "zero":
        place.write_bytes(b"")
    elif kind == "device":
        place.symlink_to("/dev/zero")
    elif kind == "secret":
        place.write_bytes(SEEDS["PNG RGB 0 False"])
        place.chmod(0)
    elif kind == "link":
        place.with_suffix(".real").write_bytes(SEEDS["PNG RGB 0 False"])
        place.symlink_to(place.with_suffix(".real"))
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(place))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes and sockets as files are of Unix")
@fuzz(25)
@given(st.lists(st.sampled_from(ODD), min_size=1, max_size=4))
@example(ODD)
def test_what_is_no_file(kinds: list[str]) -> None:
    with fresh() as folder:
        inside = folder / "images"
        inside.mkdir()
        paths = [str(inside / f"{number}_1_2.jpg") for number in range(len(kinds))]
        for path, kind in zip(paths, kinds):
            make_odd(Path(path), kind)
        found = ends_well(lambda: audit(table_of(paths), workers=0, progress=False))
        assert isinstance(found, Audit)
        readable = ["link"] + ["secret"] * (os.geteuid() == 0)
        assert found.images["decodes"].tolist() == [kind in readable for kind in kinds]
        ends_well(lambda: PixelStore.build(table_of(paths), folder / "store", size=(4, 2), workers=1, progress=False))
        ends_well(lambda: content_digests(paths))
        ends_well(lambda: read("folder_flat", inside))
        findings_sheet(found, n=2)
