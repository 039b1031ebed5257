"""Maps that look at nothing in the image, with which every method is compared."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float32

from reidlab.errors import UserError, nearest

__all__ = ["BASELINES", "baseline_maps"]


def _uniform(count: int, size: tuple[int, int], _seed: int) -> np.ndarray:
    return np.ones((count, *size), np.float32)


def _random(count: int, size: tuple[int, int], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((count, *size), dtype=np.float32)


def _centre(count: int, size: tuple[int, int], _seed: int) -> np.ndarray:
    rows, columns = (np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in size)
    bump = np.exp(-((rows[:, None] / 0.5) ** 2 + (columns[None] / 0.5) ** 2) / 2)
    return np.repeat(bump[None].astype(np.float32), count, axis=0)


BASELINES: dict[str, Callable[[int, tuple[int, int], int], np.ndarray]] = {
    "uniform": _uniform,
    "random": _random,
    "centre": _centre,
}


def baseline_maps(
    name: str, count: int, size: tuple[int, int], *, seed: int = 0
) -> Float32[np.ndarray, "image row column"]:
    """Return maps that do not depend on any image, from 0 to 1.

    Args:
        name: "uniform" (1 everywhere: its share on a region is the region's area), "random" (noise), or "centre" (a
            Gaussian in the middle, a quarter of the image wide and high).
        count: of images.
        size: rows and columns.
        seed: of the noise.

    Raises:
        UserError: another name.
    """
    if name not in BASELINES:
        raise UserError(f"baseline {name!r} is unknown; choose from {', '.join(BASELINES)}.{nearest(name, BASELINES)}")
    return BASELINES[name](count, size, seed)
