"""Intervals of ROC measures, by drawing query identities as `confidence` does; pairs are counted once for all draws.

A pair counts as often as its query's identity was drawn. So each draw is a weight per identity, and the curve of a draw
is a product of these weights with a table of counts per identity and bin of distances.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from jaxtyping import Float64

from reidlab.retrieval.confidence import drawn_times, percentile_interval

__all__ = ["Tally", "regions_of", "roc_intervals"]

MOST_BINS = 4096
MOST_CELLS = 2**22  # of each table: 32 MiB
AROUND = 4  # thresholds of a draw are looked for between a fourth and four times of a false-positive rate

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Tally:
    """Counts of pairs per query identity and bin of distances.

    A bin holds consecutive steps of the curve. Up to `MOST_BINS` steps have a bin each, and nothing is lost. Of more
    steps, those about the false-positive rates of interest have three fourths of the bins, and all have the rest.

    Args:
        identity: of the query of each pair of one person [pair], as codes from 0.
        place: step of these pairs, from which on they are accepted [pair].
        n_identities: of all queries.
        regions: first and last step about each rate; where they are wrong, bins are wider than they need be.
    """

    def __init__(self, identity: Ints, place: Ints, n_identities: int, regions: list[tuple[int, int]]) -> None:
        self.n_identities = n_identities
        starts = _starts(place, max(4, min(MOST_BINS, MOST_CELLS // n_identities)), regions)
        self.n_bins, n_steps = len(starts), int(place.max()) + 1
        self.single = np.diff(np.append(starts, n_steps)) == 1
        within = np.searchsorted(starts, np.arange(n_steps), "right") - 1
        self._bin = np.append(within, self.n_bins)  # the last: farther than all pairs of one person
        self.same = self._count(identity, place)
        self.different, self.tied = np.zeros_like(self.same), np.zeros_like(self.same)

    def add(self, identity: Ints, place: Ints, tied: npt.NDArray[np.bool_]) -> None:
        """Count pairs of different people: identity of the query, place, and whether a pair of one person has it."""
        self.different += self._count(identity, place)
        self.tied += self._count(identity[tied], place[tied])

    def _count(self, identity: Ints, place: Ints) -> Float64[np.ndarray, "identity bin"]:
        cell = identity * (self.n_bins + 1) + self._bin[place]
        counts = np.bincount(cell, minlength=self.n_identities * (self.n_bins + 1))
        return counts.reshape(self.n_identities, -1).astype(np.float64)


def _starts(place: Ints, most: int, regions: list[tuple[int, int]]) -> Ints:
    """Return the first step of each bin, ascending, of at most about `most` bins."""
    n_steps = int(place.max()) + 1
    if n_steps <= most:
        return np.arange(n_steps)
    each = most // (len(regions) + 1)
    even = np.quantile(place, np.linspace(0, 1, each), method="nearest")
    fine = [np.linspace(low, high, min(each, high - low + 1)) for low, high in regions]
    return np.unique(np.concatenate([[0], even, *fine]).astype(np.int64))


def regions_of(distances: Floats, sample: Floats, rates: tuple[float, ...]) -> list[tuple[int, int]]:
    """Return between which steps the threshold of each false-positive rate lies, in all likelihood.

    Args:
        distances: of the steps, ascending.
        sample: distances of some pairs of different people.
        rates: false-positive rates.
    """
    last, sample = len(distances) - 1, np.sort(sample)
    shares = np.outer(rates, [1 / AROUND, AROUND]).clip(max=1) * len(sample)
    ends = sample[np.minimum(shares.astype(np.int64), len(sample) - 1)] if len(sample) else np.zeros(shares.shape)
    return [(int(low), min(int(high), last)) for low, high in np.searchsorted(distances, ends).clip(max=last)]


def roc_intervals(
    tally: Tally, rates: tuple[float, ...], *, auc: float, tpr: tuple[float, ...], draws: int, seed: int
) -> list[tuple[float, float]]:
    """Return the 95 % intervals of the AUC and of the true-positive rate at each false-positive rate.

    Draws without a pair of one of the two kinds are left out. Where bins hold several steps, the measures of all draws
    are moved by what the bins change in the measures of all pairs.

    Args:
        tally: the counts of all pairs.
        rates: false-positive rates.
        auc: of all pairs.
        tpr: of all pairs, at `rates`.
        draws: of query identities.
        seed: of the draws.
    """
    tables = _Tables(tally, rates)
    moved = np.array([auc, *tpr]) - tables.measures(np.ones((1, tally.n_identities)))[0]
    moved[np.abs(moved) < 1e-12] = 0  # rounding
    drawn = np.concatenate([tables.measures(times) for times in drawn_times(tally.n_identities, draws, seed)])
    drawn = np.clip(drawn[np.isfinite(drawn).all(axis=1)] + moved, 0, 1)
    n_identities = int(tally.same.any(axis=1).sum())
    return [percentile_interval(column, n_identities) for column in drawn.T]


class _Tables:
    """What is multiplied with the weights of identities, made once."""

    def __init__(self, tally: Tally, rates: tuple[float, ...]) -> None:
        self.rates, self.single = rates, np.append(tally.single, True)
        self.same = np.cumsum(tally.same[:, :-1], axis=1)
        self.nearer = np.cumsum(tally.different[:, :-1], axis=1)
        half = np.where(tally.single, tally.tied[:, :-1], tally.different[:, :-1])  # which is nearer is not known
        self.farther = tally.different.sum(axis=1)[:, None] - self.nearer + half / 2
        self.totals = np.stack([self.same[:, -1], tally.different.sum(axis=1)], axis=1)

    def measures(self, times: npt.NDArray[np.int64] | Floats) -> Float64[np.ndarray, "draw measure"]:
        """Return AUC and true-positive rates of draws, given by how often each identity counts [draw, identity]."""
        weight = np.asarray(times, np.float64)
        same, nearer, farther = weight @ self.same, weight @ self.nearer, weight @ self.farther
        n_same, n_different = (weight @ self.totals).T
        with np.errstate(invalid="ignore"):  # NaN: no pair of one kind
            wins = np.einsum("ij,ij->i", np.diff(same, axis=1, prepend=0), farther)
            found = [wins / (n_same * n_different)]
            found += [self._accepted(same, nearer, np.floor(rate * n_different * (1 + 1e-12))) for rate in self.rates]
            found[1:] = [np.where(n_different > 0, accepted / n_same, np.nan) for accepted in found[1:]]
        return np.stack(found, axis=1)

    def _accepted(self, same: Floats, nearer: Floats, allowed: Floats) -> Float64[np.ndarray, " draw"]:
        """Return how many pairs of one person are accepted where `allowed` [draw] of different people are."""
        edge = np.zeros((len(same), 1))
        same, nearer = np.hstack([edge, same, same[:, -1:]]), np.hstack([edge, nearer, nearer[:, -1:]])
        row, bins = np.arange(len(same)), (nearer[:, 1:-1] <= allowed[:, None]).sum(axis=1)
        accepted = same[row, bins]
        inside = nearer[row, bins + 1] - nearer[row, bins]  # of the first bin that is not accepted as a whole
        part = np.divide(allowed - nearer[row, bins], inside, out=np.zeros(len(row)), where=inside > 0)
        part[self.single[bins]] = 0  # a step is accepted as a whole or not at all
        return np.asarray(accepted + part * (same[row, bins + 1] - accepted))
