"""What to draw: the numbers of a `pedestrians` data set and the list of its pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np

from reidlab.errors import UserError
from reidlab.pedestrians.cameras import CAMERAS

__all__ = ["DRAWING", "FOLDERS", "PedestriansSpec", "Picture", "cameras_of", "check_picture", "check_size", "pictures"]

DRAWING = 3  # raise when the same spec gives other pixels, so that old folders are not taken for new ones
FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}


def _check_whole(name: str, value: object, low: int, high: int) -> None:
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or not low <= value <= high:  # type: ignore[operator]
        raise UserError(f"{name}={value!r} is not allowed: give a whole number from {low} to {high}.")


def check_picture(seed: int, pid: int, camid: int, index: int) -> None:
    """Check that this picture can be drawn; raise UserError if it cannot."""
    _check_whole("seed", seed, 0, 2**31 - 1)
    _check_whole("pid", pid, -1, 2**31 - 1)
    _check_whole("camid", camid, 1, len(CAMERAS))
    _check_whole("index", index, 0, 2**31 - 1)


def check_size(height: int, width: int) -> None:
    """Check that pictures of this size can be drawn; raise UserError if they cannot."""
    _check_whole("height", height, 32, 1024)
    _check_whole("width", width, 16, 1024)


@dataclass(frozen=True)
class PedestriansSpec:
    """Numbers of a data set; the defaults give about 1,800 pictures.

    Each identity is seen by two to `n_cameras` cameras (at most two are missing), `images_per_camera` times by each.
    The first picture of a test identity in a camera is a query, the others are gallery.
    """

    seed: int = 0
    n_train_ids: int = 72
    n_test_ids: int = 36
    images_per_camera: int = 3
    n_cameras: int = 6
    height: int = 128  # pixels
    width: int = 64
    n_distractors: int = 120  # gallery boxes that are nobody, pid 0
    n_junk: int = 30  # gallery boxes that count neither way, pid -1

    def __post_init__(self) -> None:
        ranges = {
            "seed": (0, 2**31 - 1),
            "n_train_ids": (1, 99_999),
            "n_test_ids": (1, 99_999),
            "images_per_camera": (2, 1_000),
            "n_cameras": (2, len(CAMERAS)),
            "n_distractors": (0, 50_000),
            "n_junk": (0, 50_000),
        }
        for name, (low, high) in ranges.items():
            _check_whole(name, getattr(self, name), low, high)
        check_size(self.height, self.width)
        for field in fields(self):  # plain integers: spec.json holds them
            object.__setattr__(self, field.name, int(getattr(self, field.name)))


@dataclass(frozen=True)
class Picture:
    """One file to draw: where it goes and what `draw_pedestrian` needs to draw it."""

    split: str  # train / query / gallery
    name: str  # Market-1501 file name
    pid: int
    camid: int
    index: int


def cameras_of(spec: PedestriansSpec, pid: int) -> list[int]:
    """List the cameras (from 1) that a person passes; always at least two."""
    rng = np.random.default_rng([spec.seed, 51, pid])
    seen = int(rng.integers(max(2, spec.n_cameras - 2), spec.n_cameras + 1))
    return sorted(int(c) + 1 for c in rng.choice(spec.n_cameras, size=seen, replace=False))


def _name(pid: int, camid: int, index: int) -> str:
    """Write a Market-1501 name: identity, camera, sequence, frame, box."""
    number = "-1" if pid < 0 else f"{pid:04d}"
    frame = (max(pid, 0) * 137 + camid * 31) % 400_000 + 12 * index
    return f"{number}_c{camid}s{1 + index // 4 % 6}_{frame:06d}_{1 + index % 4:02d}.jpg"


def pictures(spec: PedestriansSpec) -> Iterator[Picture]:
    """List every picture of the data set: train, then query and gallery, then distractors and junk."""
    for pid in range(1, spec.n_train_ids + spec.n_test_ids + 1):
        for camid in cameras_of(spec, pid):
            for index in range(spec.images_per_camera):
                split = "train" if pid <= spec.n_train_ids else "query" if index == 0 else "gallery"
                yield Picture(split, _name(pid, camid, index), pid, camid, index)
    for pid, count in ((0, spec.n_distractors), (-1, spec.n_junk)):
        for index in range(count):
            camid = 1 + index % spec.n_cameras
            yield Picture("gallery", _name(pid, camid, index), pid, camid, index)
