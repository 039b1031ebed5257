"""One scale per data set for images of more than 8 bits: which of their values becomes 255.

A file says how many bits it stores, not how many its camera used: 12-bit values in a 16-bit file divided by 257 are
nearly black. So the scale is found over all files of a data set, and it is the same for all of them, train and test:

- whole numbers (16 and 32 bits): 2^n - 1, n the fewest bits (8 at least) that hold the highest value found;
- floats: 1 where most files keep within 0 and 1, else 255, if some value is above 16;
- colours of 16 bits per channel: their upper 8 bits, which is all that Pillow gives.

What is left black by the scale of the others, or does not fit it, is refused by the name of its file.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from reidlab.data._columns import refuse
from reidlab.data.contents import RANGE

__all__ = ["PLAIN", "choose_ranges", "notes_of_ranges", "ranges_of"]

PLAIN = 255.0  # the range of an 8-bit image
_CERTAIN = 16.0  # floats whose highest value lies between 1 and this could be of either scale
Floats = npt.NDArray[np.float64]


def ranges_of(table: pd.DataFrame) -> Floats | None:
    """Return the column `value_range` of an image table, None where it has none.

    Raises:
        UserError: a value is not a number above 0.
    """
    if RANGE not in table:
        return None
    values = pd.to_numeric(table[RANGE], errors="coerce").astype(np.float64)
    refuse(table[RANGE], ~np.isfinite(values) | (values <= 0), RANGE, "is not a number above 0")
    return np.asarray(values, dtype=np.float64)


def choose_ranges(kinds: npt.NDArray[np.object_], highs: Floats) -> tuple[Floats, dict[int, str]]:
    """Choose the scale of a data set.

    Args:
        kinds: of each file, from `reidlab.data.images.extent`.
        highs: its highest value.

    Returns:
        The value that becomes 255 for each file (255 for 8-bit ones), and why a file is refused, by its position.
    """
    ranges = np.full(len(kinds), PLAIN)
    refused: dict[int, str] = {}
    whole, real = (np.flatnonzero(kinds == kind) for kind in ("whole", "real"))
    if len(whole):
        top = highs[whole].max()
        ranges[whole] = 2.0 ** max(8, int(top).bit_length()) - 1
        refused |= _blackened(whole, highs, ranges)
    if len(real):
        within = highs[real] <= 1
        if within.sum() * 2 >= len(real):
            ranges[real] = 1.0
            refused |= {int(i): _apart(highs[i], 1.0) for i in real[~within]}
        elif highs[real].max() > _CERTAIN:
            refused |= _blackened(real, highs, ranges)
        else:
            text = "its floats reach {:g}, while the range of the data set is neither 0 to 1 nor 0 to 255; convert it"
            refused |= {int(i): text.format(highs[i]) for i in real}
    return ranges, refused


def _blackened(rows: npt.NDArray[np.intp], highs: Floats, ranges: Floats) -> dict[int, str]:
    """Name files that hold a picture and would be black: their highest value becomes 1 of 255 at most."""
    dark = (highs[rows] > 0) & (highs[rows] * PLAIN <= ranges[rows])
    return {int(i): _apart(highs[i], ranges[i]) for i in rows[dark]}


def _apart(high: float, value_range: float) -> str:
    return f"its highest value is {high:g}, and the data set's scale is 0 to {value_range:g}; convert it to that scale"


def notes_of_ranges(kinds: npt.NDArray[np.object_], highs: Floats, ranges: Floats) -> list[str]:
    """Return notes on how images of more than 8 bits were reduced to 8 bits."""
    words = {"whole": "whole numbers of 16 or 32 bits", "real": "floats"}
    notes = []
    for kind, name in words.items():
        rows = kinds == kind
        if rows.any():
            tops = ", ".join(f"{top:g}" for top in np.unique(ranges[rows]))
            notes.append(
                f"{rows.sum():,} of {len(kinds):,} images hold {name} (the highest is {highs[rows].max():g}): values "
                f"from 0 to {tops} became 0 to 255, one scale for the whole data set."
            )
    rows = kinds == "colour"
    if rows.any():
        notes.append(
            f"{rows.sum():,} of {len(kinds):,} images have 16 bits per channel, of which the upper 8 are used (they "
            f"reach {highs[rows].max():g} of 255)."
        )
    return notes
