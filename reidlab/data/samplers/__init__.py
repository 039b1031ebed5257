"""Which rows form a batch.

Every sampler is a pure function of (seed, epoch), so a resumed run draws the same batches. `filled` and
`left_out` tell what becomes of identities with few images, `share` which part of the rows an epoch sees, and `note`
says both in words.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from reidlab.data.samplers.base import Sampler
from reidlab.registry import SAMPLERS, options_of

__all__ = ["SAMPLERS", "Sampler", "build_sampler"]


def build_sampler(
    name: str, labels: np.ndarray, *, seed: int = 0, cameras: np.ndarray | None = None, **options: Any
) -> Sampler:
    """Return a sampler by its registered name (see `SAMPLERS`).

    Args:
        name: pk, camera, weighted, ehtm or shuffle.
        labels: identity of every row.
        seed: any integer of 0 or more.
        cameras: camera of every row, for samplers that look at it ("camera").
        options: P and K as `identities` and `images` (shuffle has neither, but `batch`), and what else it has.

    Raises:
        UserError: unknown name or option, an impossible value, or too few identities.
    """
    given: dict[str, Any] = {"seed": seed}
    if "cameras" in options_of(SAMPLERS.find(name).factory):
        given["cameras"] = None if cameras is None else np.asarray(cameras)
    sampler: Sampler = SAMPLERS.build(name, np.asarray(labels), options=options, **given)
    return sampler


def __getattr__(name: str) -> Any:
    return SAMPLERS.attribute(name, __name__)
