"""Measurements of all files of a table, in two rounds where the scale of the data set has to be found first."""

from __future__ import annotations

import numpy as np
import pandas as pd

from reidlab.data.audit.measure import NEEDS_RANGE, THUMBNAIL_SIZE, File, Measured, measure_all
from reidlab.data.contents import RANGE
from reidlab.data.scales import PLAIN, choose_ranges, ranges_of
from reidlab.progress import bar

__all__ = ["gather"]


def gather(table: pd.DataFrame, workers: int, progress: bool) -> tuple[pd.DataFrame, np.ndarray]:
    """Measure each file once, even if several rows name it; return one row per row of the table, and the thumbnails."""
    codes, files = pd.factorize(table["path"])
    given = ranges_of(table)
    first = pd.Series(codes).drop_duplicates().index  # the row where each file stands first
    known = [None] * len(files) if given is None else given[first].tolist()
    measured = _measure_files(list(zip(files.tolist(), known)), workers, progress)
    ranges, refused = _scale(measured, known)
    scaled = [i for i, one in enumerate(measured) if one.kind in NEEDS_RANGE and known[i] is None and i not in refused]
    again = _measure_files([(files[i], float(ranges[i])) for i in scaled], workers, progress)
    for i, one in zip(scaled, again):
        measured[i] = one
    for i, reason in refused.items():
        measured[i] = Measured(file_bytes=measured[i].file_bytes, error=reason)
    empty = bytes(THUMBNAIL_SIZE[0] * THUMBNAIL_SIZE[1])
    pixels = b"".join(one.thumbnail or empty for one in measured)
    thumbnails = np.frombuffer(pixels, dtype=np.uint8).reshape(len(measured), -1)
    frame = pd.DataFrame(measured, columns=list(Measured._fields)).drop(columns="thumbnail")
    frame["dhash"] = frame["dhash"].astype(np.uint64)
    frame[RANGE] = ranges
    frame.insert(5, "decodes", frame["error"] == "")
    images = frame.iloc[codes].reset_index(drop=True)
    images.insert(0, "path", table["path"].to_numpy())
    return images, thumbnails[codes]


def _measure_files(files: list[File], workers: int, progress: bool) -> list[Measured]:
    measured: list[Measured] = []
    with bar(total=len(files), desc="decoding", unit="image", disable=not progress or not files) as shown:
        for chunk in measure_all(files, workers):
            measured += chunk
            shown.update(len(chunk))
    return measured


def _scale(measured: list[Measured], known: list[float | None]) -> tuple[np.ndarray, dict[int, str]]:
    """Return the value of each file that becomes 255, and the files that the scale of the data set does not fit."""
    kinds = np.array([one.kind for one in measured], dtype=object)
    if any(value is not None for value in known):  # the table says it: part of a data set keeps the scale of the whole
        return np.where(np.isin(kinds, NEEDS_RANGE), np.array(known, dtype=np.float64), PLAIN), {}
    return choose_ranges(kinds, np.array([one.high for one in measured]))
