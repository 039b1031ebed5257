"""Which rows form a batch.

Every sampler is a pure function of (seed, epoch), so a resumed run draws the same batches. What becomes of identities
with few images is said by `filled` and `left_out`, which part of the rows an epoch sees by `share`, both in words by
`note`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from reidlab.data.samplers.base import Sampler
from reidlab.data.samplers.dealt import CameraSampler, PKSampler
from reidlab.data.samplers.drawn import EHTMSampler, WeightedSampler
from reidlab.data.samplers.shuffled import ShuffleSampler
from reidlab.errors import UserError, nearest

__all__ = [
    "SAMPLERS",
    "CameraSampler",
    "EHTMSampler",
    "PKSampler",
    "Sampler",
    "SamplerEntry",
    "ShuffleSampler",
    "WeightedSampler",
    "build_sampler",
]


@dataclass(frozen=True)
class SamplerEntry:
    """A registered sampler and one line on it."""

    factory: type[Sampler]
    description: str

    @property
    def options(self) -> tuple[str, ...]:
        """What a recipe can set."""
        return tuple(f.name for f in fields(self.factory) if f.init and f.name not in ("labels", "seed", "cameras"))


SAMPLERS: dict[str, SamplerEntry] = {
    "pk": SamplerEntry(
        PKSampler,
        "P identities x K images, dealt out: no image twice an epoch, and none when fewer than P identities are left",
    ),
    "camera": SamplerEntry(CameraSampler, "P identities x K images, those of an identity from many cameras"),
    "weighted": SamplerEntry(WeightedSampler, "identities or images drawn by inverse frequency"),
    "ehtm": SamplerEntry(EHTMSampler, "P identities x K given triplets, drawn anew for every batch (custom CNN)"),
    "shuffle": SamplerEntry(ShuffleSampler, "every image once an epoch in random order, for plain classification"),
}


def build_sampler(
    name: str, labels: np.ndarray, *, seed: int = 0, cameras: np.ndarray | None = None, **options: Any
) -> Sampler:
    """Build a sampler by its registered name (see `SAMPLERS`).

    Args:
        name: pk, camera, weighted, ehtm or shuffle.
        labels: identity of every row.
        seed: any integer of 0 or more.
        cameras: camera of every row; only "camera" needs them.
        options: P and K as `identities` and `images` (shuffle has neither, but `batch`), and what else it has.

    Raises:
        UserError: unknown name or option, an impossible value, or too few identities.
    """
    if name not in SAMPLERS:
        raise UserError(f"sampler {name!r} is unknown; choose from {', '.join(SAMPLERS)}.{nearest(name, SAMPLERS)}")
    entry = SAMPLERS[name]
    for option in options:
        if option not in entry.options:
            has = ", ".join(entry.options)
            raise UserError(f"sampler {name!r} has no option {option!r}; it has {has}.{nearest(option, entry.options)}")
    if entry.factory is CameraSampler:
        options["cameras"] = None if cameras is None else np.asarray(cameras)
    return entry.factory(np.asarray(labels), seed=seed, **options)
