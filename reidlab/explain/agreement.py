"""How well maps agree with where the person is: shares of attention by region, and the pointing game."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from reidlab.errors import UserError
from reidlab.explain.maps import resized

__all__ = ["REGIONS", "region_shares"]

REGIONS = ("background", "person", "occluder")  # values 0, 1, 2 of the masks of `pedestrians`


def region_shares(maps: npt.ArrayLike, masks: npt.ArrayLike) -> pd.DataFrame:
    """Measure for each map which share of it lies on the person, on occluders and on the background.

    Args:
        maps: [image, row, column], 0 or more; they are brought to the masks' size smoothly.
        masks: uint8 [image, height, width]: 0 background, 1 person, 2 occluder.

    Returns:
        A frame with a row per image: person, occluder, background (shares that sum to 1), area (the share of the image
        that the person covers: what a uniform map scores), pointing (1.0 where the map's highest place is on the
        person, else 0.0: the pointing game of Zhang et al., IJCV 2018, without a tolerance). NaN where a map is 0
        everywhere; pointing and area are NaN where nobody is in the mask.

    Raises:
        UserError: other shapes, values below 0 or no numbers, or masks with other values.
    """
    given, regions = np.asarray(maps, dtype=np.float32), np.asarray(masks)
    if given.ndim != 3 or regions.ndim != 3 or len(given) != len(regions):
        raise UserError(
            f"maps {list(given.shape)} and masks {list(regions.shape)} must be [image, row, column], one mask a map."
        )
    if not len(given):
        raise UserError("There are no maps to measure.")
    if not np.isfinite(given).all() or (given < 0).any():
        raise UserError("maps must be finite and not below 0; take the positive part of signed ones first.")
    if not np.isin(regions, range(len(REGIONS))).all():
        raise UserError("masks must hold 0 (background), 1 (person) and 2 (occluder) alone.")
    height, width = regions.shape[1:]
    whole = resized(given, (height, width)).astype(np.float64).reshape(len(given), -1)
    flat = regions.reshape(len(regions), -1)
    total = whole.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = {name: (whole * (flat == value)).sum(1) / total for value, name in enumerate(REGIONS)}
    seen = (flat == 1).any(1)
    area = np.where(seen, (flat == 1).mean(1), np.nan)
    pointing = np.where(seen & (total > 0), _points(whole, flat), np.nan)
    return pd.DataFrame({**{name: shares[name] for name in ("person", "occluder", "background")}} | {
        "area": area, "pointing": pointing,
    })  # fmt: skip


def _points(maps: npt.NDArray[np.float64], regions: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Return the share of each map's highest places that lie on the person: 0 or 1 unless several are equal."""
    highest = maps >= maps.max(1, keepdims=True) * (1 - 1e-6)
    return (highest & (regions == 1)).sum(1) / highest.sum(1)
