"""The checks of the audit, one per function; each returns a frame of findings: kind, row, other, detail."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reidlab.data.answers import answered
from reidlab.data.audit.duplicates import expand_pairs, near_hashes
from reidlab.data.schema import TEST_SPLITS, TRAIN_SPLITS, is_distractor, is_junk

__all__ = ["NOTHING", "exact_pairs", "identities", "near_pairs", "odd_pictures", "unreadable"]

NOTHING = pd.DataFrame({"kind": [], "row": [], "other": [], "detail": []}).astype(
    {"kind": object, "row": np.int64, "other": np.int64, "detail": object}
)
# A z of 5 on the median and the MAD: with 50,000 images a smaller one lists hundreds that are in order.
EXTREME_Z = 5.0
BLURRED_SHARE = 0.1  # of the median sharpness: above it, dark cloth in order was listed on CUHK03
SMALLEST = (24, 12)  # height, width in pixels: below it there is nothing to recognise
Pairs = NDArray[np.int64]


def _finding(
    kind: str, rows: Sequence[int] | Pairs, details: Sequence[str], others: Pairs | None = None
) -> pd.DataFrame:
    frame = pd.DataFrame({"kind": kind, "row": np.asarray(rows, dtype=np.int64)})
    frame["other"] = -1 if others is None else np.asarray(others, dtype=np.int64)
    return frame.assign(detail=list(details))


def unreadable(images: pd.DataFrame) -> pd.DataFrame:
    """List files that do not decode, with the decoder's words."""
    bad = images[~images["decodes"]]
    return _finding("unreadable", bad.index.to_numpy(), bad["error"].tolist())


class _Sides:
    """What decides how serious a pair is: the identity, who is known, and the side of each row."""

    def __init__(self, table: pd.DataFrame) -> None:
        self.table = table
        self.pid = pd.factorize(table["pid"])[0]
        self.junk = is_junk(table).to_numpy()
        self.nobody = self.junk | is_distractor(table).to_numpy()
        self.split = table["split"].to_numpy(dtype=object)
        self.test = np.isin(self.split, TEST_SPLITS)
        self.query, self.gallery = self.split == "query", self.split == "gallery"
        self.val = self.split == "val"
        self.multi = self.split == "multi_query"

    def kinds(self, pairs: Pairs, exact: bool) -> NDArray[np.object_]:
        """Return the kind of each pair; "" for what is as it should be."""
        a, b = pairs.T
        ending = "exact" if exact else "near"
        same = (self.pid[a] == self.pid[b]) & ~self.nobody[a]
        # two known people, or a person and a distractor; junk is a bad box of anybody, two strangers anybody
        conflict = ~same & ~self.junk[a] & ~self.junk[b] & ~(self.nobody[a] & self.nobody[b])
        kinds = np.full(len(pairs), "duplicate_exact" if exact else "near_same", dtype=object)
        kinds[conflict] = f"identity_conflict_{ending}"
        # multi-query boxes are drawn around queries and gallery people in the same frames, on purpose
        kinds[same & (self.multi[a] != self.multi[b]) & self.test[a] & self.test[b]] = ""
        if exact:
            kinds[(self.query[a] & self.gallery[b] | self.gallery[a] & self.query[b]) & ~conflict] = "query_in_gallery"
        kinds[self.val[a] != self.val[b]] = "val_leak"
        kinds[self.test[a] != self.test[b]] = f"leak_{ending}"
        return kinds

    def details(self, pairs: Pairs) -> list[str]:
        """Name split, identity and camera of both sides."""
        return [f"{self._name(a)} = {self._name(b)}" for a, b in pairs]

    def _name(self, row: int) -> str:
        camera = f" camera {self.table['camid'].iat[row]}" if "camid" in self.table else ""
        return f"{self.split[row]} pid {self.table['pid'].iat[row]}{camera}"


def exact_pairs(table: pd.DataFrame, images: pd.DataFrame) -> list[pd.DataFrame]:
    """List pictures with the same pixels, each beside the first of its kind, and beside the first on the other side."""
    sides = _Sides(table)
    good = np.flatnonzero(images["decodes"].to_numpy())
    pixels = pd.Series(images["pixels"].to_numpy()[good], index=good)
    again = pixels[pixels.duplicated(keep=False)]
    pairs: list[tuple[int, int]] = []
    for _, rows in again.groupby(again, sort=False):
        members = rows.index.to_numpy()
        # within a side, then across the sides: every member is named at least once, n pictures give about n pairs
        test, gallery = sides.test[members], members[sides.gallery[members]]
        if len(gallery):  # each query stands beside the picture that it would find
            test &= ~sides.query[members]
            pairs += [(int(row), int(gallery[0])) for row in members[sides.query[members]]]
        blocks = [members[test], members[sides.val[members]]]
        blocks.append(members[~sides.test[members] & ~sides.val[members]])
        firsts = [int(block[0]) for block in blocks if len(block)]
        pairs += [(int(block[0]), int(row)) for block in blocks for row in block[1:]]
        pairs += [(first, other) for i, first in enumerate(firsts) for other in firsts[i + 1 :]]
    if not pairs:
        return []
    return _listed(sides, np.sort(np.array(pairs, dtype=np.int64), axis=1), exact=True)[0]


def near_pairs(
    table: pd.DataFrame, images: pd.DataFrame, thumbnails: NDArray[np.uint8], distance: int, correlation: float
) -> tuple[list[pd.DataFrame], int]:
    """List pictures that are nearly the same, and count those that naturally are (one identity, one side)."""
    sides = _Sides(table)
    good = np.flatnonzero(images["decodes"].to_numpy())
    if len(good) < 2:
        return [], 0
    pixels = pd.factorize(images["pixels"])[0]
    hashes, inverse = np.unique(images["dhash"].to_numpy()[good], return_inverse=True)
    found: list[pd.DataFrame] = []
    normal = 0
    for positions in expand_pairs(inverse, near_hashes(hashes, distance)):
        pairs = good[positions]
        pairs = pairs[pixels[pairs[:, 0]] != pixels[pairs[:, 1]]]
        pairs = pairs[_alike(thumbnails, pairs, correlation)]
        frames, count = _listed(sides, pairs, exact=False)
        found += frames
        normal += count
    return found, normal


def _alike(thumbnails: NDArray[np.uint8], pairs: Pairs, correlation: float, block: int = 100_000) -> NDArray[np.bool_]:
    """Return which pairs of thumbnails correlate; flat ones do where they are of one brightness."""
    alike = np.zeros(len(pairs), dtype=bool)
    for start in range(0, len(pairs), block):
        a, b = (thumbnails[rows].astype(np.float32) for rows in pairs[start : start + block].T)
        gap = np.abs(a.mean(axis=1) - b.mean(axis=1))
        a, b = (plane - plane.mean(axis=1, keepdims=True) for plane in (a, b))
        spread = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
        flat = (a.std(axis=1) < 2) & (b.std(axis=1) < 2)
        with np.errstate(invalid="ignore", divide="ignore"):
            close = (a * b).sum(axis=1) / spread >= correlation
        alike[start : start + block] = np.where(flat, gap < 4, close)
    return alike


def _listed(sides: _Sides, pairs: Pairs, *, exact: bool) -> tuple[list[pd.DataFrame], int]:
    kinds = sides.kinds(pairs, exact)
    frames = []
    for kind in pd.unique(kinds):
        if kind not in ("", "near_same"):
            chosen = pairs[kinds == kind]
            frames.append(_finding(kind, chosen[:, 0], sides.details(chosen), chosen[:, 1]))
    return frames, int((kinds == "near_same").sum())


def identities(table: pd.DataFrame) -> list[pd.DataFrame]:
    """List identities with one image or one camera, train and test apart, and queries that nothing answers."""
    known = table[~is_junk(table) & ~is_distractor(table) & (table["split"] != "multi_query")]
    found = []
    for names, side in ((TRAIN_SPLITS, "training"), (TEST_SPLITS, "test")):
        part = known[known["split"].isin(names)]
        rows = part.groupby("pid", sort=False)
        first = part.reset_index(names="row").groupby("pid", sort=False)["row"].first()
        images = rows.size()
        one = images[images == 1].index
        found.append(_finding("one_image", first[one].tolist(), [f"{side} pid {pid}" for pid in one]))
        if "camid" in part:
            cameras = rows["camid"].nunique()
            lonely = cameras[(cameras == 1) & (images > 1)].index
            details = [f"{side} pid {pid}: {images[pid]} images, camera {part['camid'][first[pid]]}" for pid in lonely]
            found.append(_finding("one_camera", first[lonely].tolist(), details))
    found.append(_no_answer(known))
    return found


def _no_answer(known: pd.DataFrame) -> pd.DataFrame:
    query, gallery = (known[known["split"] == split] for split in ("query", "gallery"))
    bad = query[~answered(query, gallery)]
    return _finding("no_answer", bad.index.to_numpy(), [f"query pid {pid}" for pid in bad["pid"]])


def odd_pictures(images: pd.DataFrame, upright: bool | None) -> list[pd.DataFrame]:
    """List pictures of odd shape and those far from the others in brightness and sharpness, the farthest first."""
    good = images[images["decodes"]]
    if len(good) == 0:
        return []
    tall = bool((good["height"] > good["width"]).mean() > 0.5) if upright is None else upright
    tiny = (good["height"] < SMALLEST[0]) | (good["width"] < SMALLEST[1])
    odd = good[tiny | (tall & (good["width"] > good["height"]))]
    sizes = [f"{width} x {height} (width x height)" for width, height in zip(odd["width"], odd["height"])]
    found = [_finding("odd_shape", odd.index.to_numpy(), sizes)]
    light, sharp = good["brightness"], np.log1p(good["sharpness"])
    for kind, z, values, name in (
        ("dark", -_robust_z(light), light, "brightness"),
        ("bright", _robust_z(light), light, "brightness"),
        ("blurred", -_robust_z(sharp), good["sharpness"], "sharpness"),
    ):
        middle = values.median()
        far = z[(z > EXTREME_Z) & ((kind != "blurred") | (values < BLURRED_SHARE * middle))]
        far = far.sort_values(ascending=False)
        details = [f"{name} {value:.1f}, the median is {middle:.1f}" for value in values[far.index]]
        found.append(_finding(kind, far.index.to_numpy(), details))
    return found


def _robust_z(values: pd.Series) -> pd.Series:
    """Return distances from the median in robust standard deviations (1.4826 MAD, at least 1 % of the median)."""
    middle = float(values.median())
    spread = 1.4826 * float((values - middle).abs().median())
    return (values - middle) / max(spread, 0.01 * abs(middle), 1e-6)
