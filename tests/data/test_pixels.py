"""The pixel store against Pillow; interruptions, damaged images, changed files, two builders at once."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from reidlab import space
from reidlab.data import filling, pixels
from reidlab.data.pixels import PixelStore, decode
from reidlab.errors import UserError


def write(path: Path, height: int, width: int, seed: int = 0, mode: str = "RGB") -> Path:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(noise).convert(mode).save(path)
    return path


def table(paths: list[Path]) -> pd.DataFrame:
    return pd.DataFrame({"path": [str(path) for path in paths]})


def build(paths: list[Path], folder: Path, **options: Any) -> PixelStore:
    return PixelStore.build(table(paths), folder, progress=False, **options)


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """Nine images of several sizes, JPEG and PNG."""
    return [write(tmp_path / f"{i}.{'jpg' if i % 2 else 'png'}", 20 + i, 11 + 3 * i, seed=i) for i in range(9)]


def by_pillow(path: Path, size: tuple[int, int] | None = None) -> np.ndarray:
    image = Image.open(path).convert("RGB")
    return np.asarray(image if size is None else image.resize(size[::-1], Image.Resampling.BILINEAR))


@pytest.mark.parametrize("size", [(128, 64), (16, 8), (20, 11)])
def test_resized(images: list[Path], tmp_path: Path, size: tuple[int, int]) -> None:
    store = build(images, tmp_path / "store", size=size)
    assert store.n_images == 9 and store.size == size
    assert store.flat.nbytes == (store.folder / "pixels.u8").stat().st_size == 9 * size[0] * size[1] * 3
    for row, path in enumerate(images):
        assert np.array_equal(store.image(row), by_pillow(path, size))


def test_native_sizes(images: list[Path], tmp_path: Path) -> None:
    store = build(images, tmp_path / "store", size=None)
    for row, path in enumerate(images):
        assert store.image(row).shape == (20 + row, 11 + 3 * row, 3)
        assert np.array_equal(store.image(row), by_pillow(path))
    with pytest.raises(UserError, match="native sizes"):
        store.batch([0])


@pytest.mark.parametrize("workers", [None, 0, 1, 5])
@pytest.mark.parametrize("size", [None, (8, 4)])
def test_workers_and_blocks(
    images: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    workers: int | None,
    size: tuple[int, int] | None,
) -> None:
    expected = build(images, tmp_path / "one", size=size)
    monkeypatch.setattr(filling, "_BLOCK", 4)
    store = build(images, tmp_path / "two", size=size, workers=workers)
    assert (store.folder / "blocks").read_bytes() == b"\1\1\1"
    assert np.array_equal(store.flat, expected.flat)


def test_batch(images: list[Path], tmp_path: Path) -> None:
    store = build(images, tmp_path / "store", size=(16, 8))
    for rows in ([4, 0, 4], np.array([4, 0, 4], np.int32), (4, 0, 4)):
        batch = store.batch(rows)
        assert batch.shape == (3, 3, 16, 8) and batch.dtype == torch.uint8
        assert batch.is_contiguous(memory_format=torch.channels_last)
        for image, row in zip(batch, (4, 0, 4)):
            assert np.array_equal(image.permute(1, 2, 0).numpy(), store.image(row))
    assert store.batch([]).shape == (0, 3, 16, 8)


def test_a_batch_is_a_copy(images: list[Path], tmp_path: Path) -> None:
    store = build(images, tmp_path / "store", size=(16, 8))
    before = store.flat.copy()
    store.batch([0, 1]).zero_()
    store.batch(np.arange(9)).zero_()
    assert np.array_equal(store.flat, before)
    with pytest.raises(ValueError, match="read-only"):
        store.image(0)[0] = 0


@pytest.mark.parametrize("row", [-1, 9])
@pytest.mark.parametrize("size", [None, (8, 4)])
def test_rows_outside(images: list[Path], tmp_path: Path, row: int, size: tuple[int, int] | None) -> None:
    store = build(images, tmp_path / "store", size=size)
    with pytest.raises(IndexError, match="the store's 9 images"):
        store.image(row)
    if size is not None:
        with pytest.raises(IndexError, match="the store's 9 images"):
            store.batch([0, row])


@pytest.mark.parametrize("size", [None, (8, 4)])
def test_an_empty_table(tmp_path: Path, size: tuple[int, int] | None) -> None:
    store = build([], tmp_path / "store", size=size)
    assert store.n_images == 0 and len(store.flat) == 0
    with pytest.raises(IndexError):
        store.image(0)
    if size is not None:
        assert store.batch([]).shape == (0, 3, 8, 4)
    assert build([], tmp_path / "store", size=size) == store


class Counting:
    """`decode`, counting its calls and failing, with what is given, from the n-th on."""

    def __init__(self, fail_from: int = 10**9, error: BaseException | None = None) -> None:
        self.calls: list[str] = []
        self.fail_from, self.error = fail_from, error

    def __call__(self, path: str, *how: Any) -> np.ndarray:
        self.calls.append(path)
        if len(self.calls) > self.fail_from:
            raise self.error or RuntimeError("stopped")
        return decode(path, *how)


def test_a_built_store_is_opened_not_built(images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = build(images, tmp_path / "store", size=(8, 4))
    counting = Counting()
    monkeypatch.setattr(filling, "decode", counting)
    assert build(images, tmp_path / "store", size=(8, 4)) == store
    assert counting.calls == []
    assert build(images, tmp_path / "store", size=(8, 5)).folder != store.folder
    assert len(counting.calls) == 9


@pytest.mark.parametrize("error", [RuntimeError("stopped"), KeyboardInterrupt()])
@pytest.mark.parametrize("size", [None, (8, 4)])
def test_resume_after_an_error(
    images: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    size: tuple[int, int] | None,
) -> None:
    monkeypatch.setattr(filling, "_BLOCK", 2)
    monkeypatch.setattr(filling, "decode", Counting(5, error))
    with pytest.raises(type(error)):
        build(images, tmp_path / "store", size=size, workers=1)
    counting = Counting()
    monkeypatch.setattr(filling, "decode", counting)
    store = build(images, tmp_path / "store", size=size, workers=1)
    assert counting.calls == [str(path) for path in images[4:]]  # two blocks of two were done
    for row, path in enumerate(images):
        assert np.array_equal(store.image(row), by_pillow(path, size))


@pytest.mark.parametrize("marks", [b"", b"\1", b"\1" * 99])
def test_damaged_marks_start_anew(
    images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, marks: bytes
) -> None:
    monkeypatch.setattr(filling, "_BLOCK", 2)
    store = build(images, tmp_path / "store", size=(8, 4))
    expected = store.flat.copy()
    (store.folder / "done.json").unlink()
    (store.folder / "pixels.u8").write_bytes(b"x" * 7)
    (store.folder / "blocks").write_bytes(marks)
    assert np.array_equal(build(images, tmp_path / "store", size=(8, 4)).flat, expected)


BUILDER = """
import json, sys, time
import pandas as pd
from pathlib import Path
from reidlab.data import filling, pixels

paths, folder, delay = json.loads(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
filling._BLOCK, decode, n = 2, filling.decode, 0

def slow(*args):
    global n
    n += 1
    time.sleep(delay)
    return decode(*args)

filling.decode = slow
print("ready", flush=True)
store = pixels.PixelStore.build(pd.DataFrame({"path": paths}), folder, size=(8, 4), workers=1, progress=False)
print(n, flush=True)
"""


@pytest.fixture
def start(images: list[Path], tmp_path: Path) -> Callable[[float], subprocess.Popen[str]]:
    def begin(delay: float) -> subprocess.Popen[str]:
        arguments = [json.dumps([str(path) for path in images]), str(tmp_path / "store"), str(delay)]
        return subprocess.Popen([sys.executable, "-c", BUILDER, *arguments], stdout=subprocess.PIPE, text=True)

    return begin


def test_resume_after_a_kill(
    images: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    start: Callable[[float], subprocess.Popen[str]],
) -> None:
    with start(0.3) as process:
        deadline = time.monotonic() + 120
        marks: list[bytes] = []
        while not any(b"\1" in m for m in marks) and time.monotonic() < deadline:
            time.sleep(0.02)
            marks = [path.read_bytes() for path in (tmp_path / "store").glob("*/blocks")]
        process.kill()
    (folder,) = (tmp_path / "store").iterdir()
    done = (folder / "blocks").read_bytes().count(1)
    assert 0 < done < 5 and not (folder / "done.json").exists()
    monkeypatch.setattr(filling, "_BLOCK", 2)
    counting = Counting()
    monkeypatch.setattr(filling, "decode", counting)
    store = build(images, tmp_path / "store", size=(8, 4), workers=1)
    assert counting.calls == [str(path) for path in images[2 * done :]]
    for row, path in enumerate(images):
        assert np.array_equal(store.image(row), by_pillow(path, (8, 4)))


def test_two_processes_make_it_once(
    images: list[Path], tmp_path: Path, start: Callable[[float], subprocess.Popen[str]]
) -> None:
    with start(0.1) as one, start(0.1) as two:
        printed = [process.communicate(timeout=240)[0].split() for process in (one, two)]
        assert one.returncode == two.returncode == 0
    assert sorted(int(words[1]) for words in printed) == [0, 9]
    store = build(images, tmp_path / "store", size=(8, 4))
    assert np.array_equal(store.image(8), by_pillow(images[8], (8, 4)))


def test_a_changed_file_makes_a_new_store(images: list[Path], tmp_path: Path) -> None:
    def folder() -> Path:
        return build(images, tmp_path / "store", size=(8, 4)).folder

    first = folder()
    assert folder() == first and first.name.startswith("8x4-")
    later = images[3].stat().st_mtime_ns + 10**9
    os.utime(images[3], ns=(later, later))
    assert folder() == first  # touched, with what it had
    write(images[3], 50, 50, seed=99)
    os.utime(images[3], ns=(later, later))
    rewritten = build(images, tmp_path / "store", size=(8, 4))
    assert rewritten.folder != first
    assert np.array_equal(rewritten.image(3), by_pillow(images[3], (8, 4)))
    assert build(images[::-1], tmp_path / "store", size=(8, 4)).folder not in {first, rewritten.folder}
    assert build(images, tmp_path / "store", size=None).folder.name.startswith("native-")


@pytest.mark.parametrize("size", [None, (8, 4)])
@pytest.mark.parametrize("content", [b"", b"no image", "half"])
def test_a_damaged_image_is_named(
    images: list[Path], tmp_path: Path, size: tuple[int, int] | None, content: bytes | str
) -> None:
    for path in (images[3], images[7]):
        whole = path.read_bytes()
        path.write_bytes(content if isinstance(content, bytes) else whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"3.jpg does not decode .*notebook 01"):
        build(images, tmp_path / "store", size=size)
    write(images[3], 20, 20)
    write(images[7], 20, 20)
    assert build(images, tmp_path / "store", size=size).n_images == 9


def test_damaged_bytes_give_pixels_or_the_one_error(tmp_path: Path) -> None:
    """Pillow raises nearly anything on damaged files."""
    rng = np.random.default_rng(0)
    for suffix in ("jpg", "png", "gif", "bmp", "tiff", "webp"):
        path = write(tmp_path / f"a.{suffix}", 16, 8)
        good = np.frombuffer(path.read_bytes(), np.uint8)
        for _ in range(40):
            bad = good.copy()
            bad[rng.integers(0, min(len(bad), 120), 4)] = rng.integers(0, 256, 4)
            path.write_bytes(bad.tobytes())
            try:
                assert decode(path).shape[2] == 3
            except UserError as error:
                assert path.name in str(error)


def test_a_missing_image_is_named(images: list[Path], tmp_path: Path) -> None:
    images[5].unlink()
    with pytest.raises(UserError, match=r"5.jpg does not exist. Was the data set moved\?"):
        build(images, tmp_path / "store")
    with pytest.raises(UserError, match=r"5.jpg does not exist"):
        decode(images[5])
    with pytest.raises(UserError, match="does not decode"):
        decode(tmp_path)


@pytest.mark.parametrize("mode", ["L", "P", "1", "CMYK", "RGBA", "LA"])
def test_any_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    path = write(tmp_path / f"a.{'tiff' if mode == 'CMYK' else 'png'}", 6, 4, mode=mode)
    found = decode(path)
    assert found.shape == (6, 4, 3) and found.dtype == np.uint8
    assert np.array_equal(found, by_pillow(path))
    if mode in ("L", "1", "LA"):
        assert (found == found[:, :, :1]).all()


@pytest.mark.parametrize("size", [None, (12, 6)])
def test_turned_upright(tmp_path: Path, size: tuple[int, int] | None) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held sideways
    noise = np.random.default_rng(0).integers(0, 256, (5, 9, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png", exif=exif)
    store = build([tmp_path / "a.png"], tmp_path / "store", size=size)
    upright = np.rot90(noise, -1)
    if size is None:
        assert np.array_equal(store.image(0), upright)
    else:
        resized = Image.fromarray(np.ascontiguousarray(upright)).resize((6, 12), Image.Resampling.BILINEAR)
        assert np.array_equal(store.image(0), np.asarray(resized))


@pytest.mark.parametrize("size", [(0, 4), (8, -1), (10**9, 10**9), (8, 8193)])
def test_refused_size(images: list[Path], tmp_path: Path, size: tuple[int, int]) -> None:
    with pytest.raises(UserError, match=r"size of a pixel store .* (positive|above 8192 pixels)"):
        build(images, tmp_path / "store", size=size)


def test_a_full_disk_is_said(images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full, raising=False)
        with pytest.raises(UserError, match=r"cannot be written .*No space left.*Free disk space"):
            build(images, tmp_path / "store", size=(8, 4))
    assert build(images, tmp_path / "store", size=(8, 4)).n_images == 9


def test_a_folder_that_is_a_file(images: list[Path], tmp_path: Path) -> None:
    (tmp_path / "store").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        build(images, tmp_path / "store")


def test_the_same_image_twice(images: list[Path], tmp_path: Path) -> None:
    store = build([images[0], images[0]], tmp_path / "store", size=(8, 4))
    assert np.array_equal(store.image(0), store.image(1))


def test_a_progress_bar(images: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    PixelStore.build(table(images), tmp_path / "store", size=None)
    shown = capsys.readouterr().err
    assert "measuring images" in shown and "decoding images" in shown


# What files hold, images of more than 8 bits, room on the disk, damage


def deep(folder: Path, *highs: int) -> pd.DataFrame:
    """Write 16-bit ramps up to each of the values."""
    paths = [folder / f"{i}.png" for i in range(len(highs))]
    for path, high in zip(paths, highs):
        Image.fromarray(np.linspace(0, high, 32).astype(np.uint16).reshape(8, 4)).save(path)
    return table(paths)


@pytest.mark.parametrize("size", [None, (8, 4)])
def test_images_of_more_than_8_bits(tmp_path: Path, size: tuple[int, int] | None) -> None:
    frame = deep(tmp_path, 1000, 4095)
    with pytest.raises(UserError, match=r"0\.png does not decode .*more than 8 bits .*clean_table"):
        PixelStore.build(frame, tmp_path / "store", size=size, progress=False)
    scaled = PixelStore.build(frame.assign(value_range=4095.0), tmp_path / "store", size=size, progress=False)
    assert scaled.image(0).max() == 62 and scaled.image(1).max() == 255 and scaled.image(1).min() == 0
    other = PixelStore.build(frame.assign(value_range=8191.0), tmp_path / "store", size=size, progress=False)
    assert other.folder != scaled.folder and other.image(1).max() == 127


def test_overwritten_bitmaps_of_one_size_are_decoded_again(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{i}.bmp", 8, 4, seed=i) for i in range(3)]
    assert build(paths, tmp_path / "store", size=None).image(2).any()
    times = [path.stat().st_mtime_ns for path in paths]
    for path, time_ns in zip(paths, times):
        Image.new("RGB", (4, 8)).save(path)
        os.utime(path, ns=(time_ns, time_ns))
    assert not build(paths, tmp_path / "store", size=None).flat.any()


def test_a_moved_data_set_keeps_its_store(images: list[Path], tmp_path: Path) -> None:
    store = build(images, tmp_path / "store", size=(8, 4))
    moved = [path.rename(tmp_path / f"moved-{path.name}") for path in images]
    assert build(moved, tmp_path / "store", size=(8, 4)) == store


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()} - {"lock"}


@pytest.mark.parametrize("size", [None, (128, 64)])
def test_a_store_larger_than_the_disk_is_refused_first(
    images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int] | None
) -> None:
    """31 MB were free once, and none after."""
    monkeypatch.setattr(space, "free_bytes", lambda folder: space.RESERVE + 100)
    with pytest.raises(UserError, match=r"The pixel store of 9 images at .* needs .* are free .*data/cache"):
        build(images, tmp_path / "store", size=size)
    assert left(tmp_path / "store") == set()


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_what_a_full_disk_stops_is_removed(
    images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    def full(*_: object) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(UserError, match="cannot be written"):
        build(images, tmp_path / "store", size=(8, 4))
    assert left(tmp_path / "store") == set()


@pytest.mark.parametrize("error", [errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, None])
def test_a_file_system_that_cannot_reserve(
    images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int | None
) -> None:
    def refuses(*_: object) -> None:
        raise OSError(error, "not here")

    if error is None:
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
    else:
        monkeypatch.setattr(os, "posix_fallocate", refuses, raising=False)
    monkeypatch.setattr(filling, "_ZEROS", 1000)
    store = build(images, tmp_path / "store", size=(24, 12))
    assert np.array_equal(store.image(8), by_pillow(images[8], (24, 12)))
    about = (store.folder / "pixels.u8").stat()
    assert (
        not hasattr(about, "st_blocks") or about.st_blocks * 512 >= about.st_size
    )  # no hole that a full disk would tear


def test_writing_through_keeps_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filling, "_ZEROS", 7)
    path = tmp_path / "file"
    path.write_bytes(bytes(range(100)))
    filling._write_through(path, 100)
    assert path.read_bytes() == bytes(range(100))


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounts a small disk, as root on Linux")
def test_a_small_disk_is_not_filled(images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting is not permitted")
    try:
        with pytest.raises(UserError, match="are free on the disk"):
            build(images, disk / "store", size=(512, 512))
        monkeypatch.setattr(filling, "check_space", lambda *_: None)  # somebody else fills it meanwhile
        with pytest.raises(UserError, match=r"cannot be written \(No space left on device\)"):
            build(images, disk / "store", size=(512, 512))
        assert left(disk) == set() and shutil.disk_usage(disk).free > 3 * 2**20
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("size", [None, (8, 4)])
@pytest.mark.parametrize("name", ["pixels.u8", "index.npz", "done.json", "blocks"])
@pytest.mark.parametrize("damage", ["deleted", "cut", "emptied", "a folder"])
def test_a_damaged_store_is_made_again_and_said(
    images: list[Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    size: tuple[int, int] | None,
    name: str,
    damage: str,
) -> None:
    store = build(images, tmp_path / "store", size=size)
    expected = store.flat.copy()
    file = store.folder / name
    whole = file.read_bytes()
    file.unlink()
    if damage == "a folder":
        file.mkdir()
    elif damage != "deleted":
        file.write_bytes(b"" if damage == "emptied" else whole[: len(whole) // 2])
    if name in ("pixels.u8", "index.npz"):
        with pytest.raises(UserError, match=r"is damaged: .*Build it again"):
            _ = PixelStore(store.folder, 9, size).flat
    if damage == "a folder" and name != "blocks":
        with pytest.raises(UserError, match="cannot be written"):
            build(images, tmp_path / "store", size=size)
        return
    again = build(images, tmp_path / "store", size=size)
    assert again == store and np.array_equal(again.flat, expected)
    said = name in ("pixels.u8", "index.npz") or (name == "done.json" and damage in ("cut", "emptied"))
    assert ("is made again" in caplog.text) == said


def test_pixels_cut_beside_their_marks_are_not_taken_for_done(
    images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filling, "_BLOCK", 2)
    store = build(images, tmp_path / "store", size=(8, 4))
    expected = store.flat.copy()
    (store.folder / "done.json").unlink()
    (store.folder / "pixels.u8").write_bytes(b"")
    assert np.array_equal(build(images, tmp_path / "store", size=(8, 4)).flat, expected)


def test_another_store_under_this_name_is_made_again(images: list[Path], tmp_path: Path) -> None:
    store = build(images, tmp_path / "store", size=(8, 4))
    (store.folder / "done.json").write_text('{"n_images": 8, "size": [8, 4]}')
    assert np.array_equal(build(images, tmp_path / "store", size=(8, 4)).image(8), by_pillow(images[8], (8, 4)))


def test_a_finished_store_is_opened_where_nothing_can_be_written(
    images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = build(images, tmp_path / "store", size=(8, 4))

    def refuses(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(pixels, "FileLock", refuses)
    monkeypatch.setattr(Path, "mkdir", refuses)
    assert build(images, tmp_path / "store", size=(8, 4)) == store
    with pytest.raises(UserError, match=r"cannot be written \(Read-only file system\)\. .*REIDLAB_DATA"):
        build(images, tmp_path / "store", size=(8, 5))
