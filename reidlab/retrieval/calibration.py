"""Fit what turns a cosine into a probability and a false-accept rate, on pairs of people that no training saw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from jaxtyping import Bool, Float64, Int64

from reidlab.data.schema import is_distractor, is_junk
from reidlab.errors import UserError, nearest, shown
from reidlab.ids import codes
from reidlab.retrieval.calibrated import METHODS, NEEDED, STEP, Calibration
from reidlab.retrieval.checks import as_array, as_numbers, check_choice, check_seed, check_whole
from reidlab.retrieval.confidence import FEW_IDENTITIES, MOST_DRAWS
from reidlab.retrieval.pairs import sample_pairs
from reidlab.retrieval.reliability import error_of, reliability_table, same_flags
from reidlab.retrieval.vectors import Embeddings

__all__ = ["Calibration", "fit_calibration"]

KNOTS = 64  # of an isotonic calibration
EVERY = 20  # false accepts up to which each count is kept; beyond, a twentieth more each time

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Pairs:
    """Cosines of pairs, whether they show one person, and the codes of both (None: nobody said)."""

    cosine: Float64[np.ndarray, " pair"]
    same: Bool[np.ndarray, " pair"]
    people: Int64[np.ndarray, "pair 2"] | None

    def within(self, chosen: npt.NDArray[np.bool_]) -> _Pairs:
        """Return the pairs whose people are both among `chosen` [code]."""
        assert self.people is not None
        kept = chosen[self.people].all(axis=1)
        return _Pairs(self.cosine[kept], self.same[kept], self.people[kept])

    @property
    def n_people(self) -> int:
        """Count the people."""
        return 0 if self.people is None else len(np.unique(self.people))


def fit_calibration(
    pairs: Embeddings | pd.DataFrame | tuple[npt.ArrayLike, npt.ArrayLike],
    *,
    method: str = "logistic",
    identities: npt.ArrayLike | None = None,
    count: int = 50_000,
    draws: int = 1000,
    seed: int = 0,
    source: str = "",
) -> Calibration:
    """Fit a calibration of cosines on pairs of people that the network was not trained on.

    "logistic" fits a straight line to the log odds (Platt 1999), "isotonic" any rising curve (Zadrozny and Elkan 2002),
    which needs thousands of pairs of one person. Both kinds of pairs weigh the same, so that the fit stands for a prior
    of 0.5, however the pairs were drawn; `Calibration.probability` takes any other. The expected calibration error is
    measured on identities that were left out of the fit, in two halves. Thresholds get 95 % intervals by drawing
    identities: a pair counts as often as both of its people were drawn (the pigeonhole bootstrap, Owen 2007).

    Args:
        pairs: `Embeddings` of validation identities, of which all valid pairs are used, up to `count` of each kind (not
            of one person in one camera); or what `sample_pairs` gives for the metric cosine; or (similarities, same)
            [pair] each.
        method: "logistic" or "isotonic".
        identities: who is in each pair [pair, 2], beside (similarities, same); without it there are no intervals.
        count: pairs of each kind that are drawn from embeddings.
        draws: of identities for the intervals.
        seed: of draws and halves.
        source: whose similarities they are, in words: model and data set; it is kept.

    Raises:
        UserError: fewer than two pairs of a kind, pairs of one person that are no more similar than others, numbers
            that are no cosines, or lists that do not fit together.
    """
    check_choice("method", method, METHODS)
    draws, seed = check_whole("draws", draws, 1, MOST_DRAWS), check_seed(seed)
    given = _pairs_of(pairs, identities, count, seed)
    n_same = int(given.same.sum())
    n_different = len(given.same) - n_same
    if min(n_same, n_different) < 2:
        raise UserError(
            f"A calibration needs two pairs of one person and two of different people at least; got {n_same} and "
            f"{n_different}."
        )
    similar, other = given.cosine[given.same], np.sort(given.cosine[~given.same])[::-1]
    if similar.mean() <= other.mean():
        raise UserError(
            f"Pairs of one person have a mean similarity of {similar.mean():.3f}, pairs of different people of "
            f"{other.mean():.3f}: this network does not tell people apart, or the similarities are distances."
        )
    table, notes = _reliability(given, method, seed)
    if 0 < given.n_people < FEW_IDENTITIES:
        notes.append(f"{given.n_people} identities say little of other people: {FEW_IDENTITIES} or more are needed")
    return Calibration(
        method=method,
        knots=_fit(given.cosine, given.same, method),
        accepted=_tail(other),
        passed=tuple(_up(np.quantile(similar, np.linspace(0, 1, 101))).tolist()),
        spans=_spans(given, draws, seed),
        reliability=tuple(tuple(map(float, row)) for row in table.round(6).itertuples(index=False)),
        ece=round(error_of(table), 6),
        n_same=n_same,
        n_different=n_different,
        n_identities=given.n_people,
        source=source,
        notes=tuple(notes),
    )


def _pairs_of(pairs: Any, identities: Any, count: int, seed: int) -> _Pairs:
    """Return pairs in one form, whichever way they came."""
    if isinstance(pairs, Embeddings):
        pairs = _drawn(pairs, count, seed)
    if isinstance(pairs, pd.DataFrame):
        lacking = [name for name in ("similarity", "same") if name not in pairs]
        if lacking:
            raise UserError(
                f"pairs has no column {lacking[0]!r}.{nearest(lacking[0], map(str, pairs.columns))} Give what "
                "sample_pairs(..., metric='cosine') returns."
            )
        people = ["query_pid", "gallery_pid"]
        if identities is None and set(people) <= set(pairs):
            identities = np.stack(codes(*(pairs[name].to_numpy() for name in people)), axis=1)
        pairs = pairs["similarity"].to_numpy(), pairs["same"].to_numpy()
    if not isinstance(pairs, tuple | list) or len(pairs) != 2:
        raise UserError(
            f"pairs must be Embeddings, a frame of sample_pairs or (similarities, same), not {shown(pairs)}."
        )
    cosine, same = as_numbers(pairs[0]), same_flags(pairs[1])
    if cosine.shape != same.shape or not (np.abs(cosine) <= 1.001).all():
        raise UserError(f"similarities must be {len(same):,} cosines, from -1 to 1; got {shown(pairs[0])}.")
    return _Pairs(np.clip(cosine, -1, 1), same, _people(identities, same))


def _people(identities: Any, same: npt.NDArray[np.bool_]) -> Ints | None:
    """Return the codes of both people of each pair [pair, 2]."""
    if identities is None:
        return None
    given = as_array(identities)
    if given.shape != (len(same), 2):
        raise UserError(f"identities must be two per pair, [{len(same)}, 2]; got {shown(identities)}.")
    people = codes(given.ravel())[0].reshape(-1, 2)
    wrong = np.flatnonzero((people[:, 0] == people[:, 1]) != same)
    if len(wrong):
        raise UserError(f"identities and same do not agree in {len(wrong):,} pairs, first in pair {wrong[0]}.")
    return people


def _drawn(embeddings: Embeddings, count: int, seed: int) -> pd.DataFrame:
    """Draw pairs of different images, each once, whichever of the two stands first."""
    known = np.flatnonzero(~(is_junk(embeddings.table) | is_distractor(embeddings.table)).to_numpy())
    part = Embeddings(embeddings.vectors[known], embeddings.table.iloc[known].reset_index(drop=True))
    # each pair comes up in both directions, so that twice as many are drawn
    found = sample_pairs(part, part, count=2 * check_whole("count", count, 2, 1_000_000), seed=seed)
    found = found[found["query"] != found["gallery"]]
    ends = np.sort(found[["query", "gallery"]].to_numpy(), axis=1)
    found = found[~pd.DataFrame(ends, index=found.index).duplicated()]
    return found.groupby("same", sort=False).head(count)


def _fit(cosine: Floats, same: npt.NDArray[np.bool_], method: str) -> tuple[tuple[float, float], ...]:
    """Return knots of similarity and log odds at equal shares, no surer than the number of pairs allows."""
    fewer = int(min(same.sum(), (~same).sum()))
    limit = np.log(fewer + 1)  # the probabilities stay between 1 / (n + 2) and 1 - 1 / (n + 2)
    weight = np.where(same, fewer / same.sum(), fewer / (~same).sum())
    if method == "isotonic":
        from sklearn.isotonic import IsotonicRegression

        most = 1 / (1 + np.exp(-limit))
        curve = IsotonicRegression(y_min=1 - most, y_max=most, out_of_bounds="clip").fit(
            cosine, same.astype(float), weight
        )
        spread = np.linspace(0, 1, KNOTS // 2)
        at = np.unique(np.round(np.concatenate([np.quantile(cosine[same == kind], spread) for kind in (0, 1)]), 6))
        at = at if len(at) > 1 else np.array([-1.0, 1.0])
        chances = np.clip(curve.predict(at), 1 - most, most)
        odds = np.log(chances) - np.log1p(-chances)
    else:
        from sklearn.linear_model import LogisticRegression

        centre, width = cosine.mean(), max(float(cosine.std()), STEP)
        line = LogisticRegression().fit((cosine[:, None] - centre) / width, same, weight)
        slope = max(float(line.coef_[0, 0]), 0.0) / width
        shift = float(line.intercept_[0]) - slope * centre
        bends = (np.array([-limit, limit]) - shift) / max(slope, STEP)
        at = np.unique(np.round(np.clip(np.append(bends, [-1, 1]), -1, 1), 6))
        odds = np.clip(slope * at + shift, -limit, limit)
    return tuple(zip(at.tolist(), np.round(odds, 5).tolist()))


def _tail(other: Floats) -> tuple[tuple[float, float], ...]:
    """Return counts and the similarities that so many pairs of different people reach, from the most similar on."""
    count = len(other)
    wide = np.geomspace(EVERY, max(count, EVERY), max(1, int(np.log(max(count / EVERY, 1)) / np.log(1.05)) + 2))
    counts = np.unique(np.concatenate([np.arange(1, EVERY + 1), np.round(wide).astype(np.int64), [count]]))
    counts = counts[counts <= count]
    return tuple(zip(counts.tolist(), _up(other[counts - 1]).tolist()))


def _up(values: Floats) -> Floats:
    return np.round(np.ceil(values / STEP) * STEP, 6)


def _spans(pairs: _Pairs, draws: int, seed: int) -> tuple[tuple[float, float, float], ...]:
    """Return false-accept rates and the 95 % intervals of their thresholds."""
    if pairs.people is None:
        return ()
    order = np.flatnonzero(~pairs.same)[np.argsort(-pairs.cosine[~pairs.same], kind="stable")]
    cosine, ends = pairs.cosine[order], np.unique(pairs.people[order], return_inverse=True)[1].reshape(-1, 2)
    n_people = int(ends.max()) + 1
    rates = np.unique(np.geomspace(min(0.5, NEEDED / len(order)), 0.5, 24))
    rng, found = np.random.default_rng(seed), []
    for _ in range(draws):
        times = rng.multinomial(n_people, np.full(n_people, 1 / n_people))
        reached = np.cumsum(times[ends[:, 0]] * times[ends[:, 1]])
        if reached[-1]:
            found.append(cosine[np.searchsorted(reached, rates * reached[-1], "right").clip(max=len(cosine) - 1)])
    if not found:
        return ()
    low, high = np.quantile(np.stack(found), [0.025, 0.975], axis=0)
    return tuple(zip(rates.tolist(), low.round(6).tolist(), high.round(6).tolist()))


def _reliability(pairs: _Pairs, method: str, seed: int) -> tuple[pd.DataFrame, list[str]]:
    """Return the reliability table of people that were left out of the fit, in two halves, and what to say of it."""
    stated, same = [], []
    if pairs.people is not None:
        people = np.random.default_rng(seed).permutation(np.unique(pairs.people))
        half = np.isin(np.arange(people.max() + 1), people[: len(people) // 2])
        parts = pairs.within(half), pairs.within(~half)
        if all(2 <= part.same.sum() <= len(part.same) - 2 for part in parts):
            for known, left in (parts, parts[::-1]):
                stated.append(_stated(_fit(known.cosine, known.same, method), left.cosine))
                same.append(left.same)
    if stated:
        return reliability_table(np.concatenate(stated), np.concatenate(same)), []
    found = _stated(_fit(pairs.cosine, pairs.same, method), pairs.cosine)
    return reliability_table(found, pairs.same), ["its error was measured on the pairs it was fitted on"]


def _stated(knots: tuple[tuple[float, float], ...], cosine: Floats) -> Floats:
    at, odds = np.array(knots).T
    return np.asarray(1 / (1 + np.exp(-np.interp(cosine, at, odds))))
