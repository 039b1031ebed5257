"""Tell pairs apart at a threshold: the exact ROC curve over all valid pairs of query and gallery, in bounded memory.

The pairs of one person are few (some ten thousand at Market-1501's size) and are kept in the order of their distances;
the others (53 million) are only counted between them. So every number is exact, and nothing is sampled or thinned.
"""

from __future__ import annotations

import html
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pandas as pd
from jaxtyping import Float64, Int64

from reidlab.errors import UserError
from reidlab.retrieval.checks import check_real, check_seed, check_whole
from reidlab.retrieval.confidence import MOST_DRAWS
from reidlab.retrieval.distance_rows import BLOCK_MIB
from reidlab.retrieval.inputs import Problem, problem_of
from reidlab.retrieval.roc_intervals import Tally, regions_of, roc_intervals
from reidlab.retrieval.scoring import Scorer
from reidlab.retrieval.vectors import Embeddings, Labels

__all__ = ["RATES", "Verification", "verification"]

RATES = (1e-4, 1e-3, 1e-2)
BYTES = 64  # that a pair takes in a block: product, distance, its sorted copy, its place and cell, what it is
SAMPLE = 500_000  # pairs of different people that tell where thresholds may lie

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Verification:
    """The ROC curve of accepting pairs whose distance is at most a threshold; positive are pairs of one person.

    Attributes:
        metric: of the distances.
        distances: the different distances of pairs of one person, ascending [step].
        same: pairs of one person that are accepted at each [step].
        different: pairs of different people that are [step].
        tied: those of them at that very distance [step].
        n_different: pairs of different people.
        notes: what a reader has to know.
        intervals: 95 % intervals of "auc" and of "tpr@RATE" for each of `RATES`; none without draws.
        bootstrap: draws of query identities.
        seed: of the draws.
    """

    metric: str
    distances: Float64[np.ndarray, " step"]
    same: Int64[np.ndarray, " step"]
    different: Int64[np.ndarray, " step"]
    tied: Int64[np.ndarray, " step"]
    n_different: int
    notes: tuple[str, ...] = ()
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    bootstrap: int = 0
    seed: int = 0

    @property
    def n_same(self) -> int:
        """Count the pairs of one person."""
        return int(self.same[-1])

    @property
    def auc(self) -> float:
        """Return the chance that a pair of one person is nearer than one of different people; ties count half."""
        farther = self.n_different - self.different + self.tied / 2
        return float((np.diff(self.same, prepend=0) / self.n_same) @ (farther / self.n_different))

    @property
    def eer(self) -> float:
        """Return the equal error rate: where as large a share of one kind is accepted as of the other is refused."""
        fpr, tpr = self._corners()
        excess = fpr + tpr - 1
        at = int(np.argmax(excess >= 0))
        part = 0.0 if at == 0 else float(-excess[at - 1] / (excess[at] - excess[at - 1]))
        return float(fpr[at - 1] + part * (fpr[at] - fpr[at - 1])) if at else float(fpr[0])

    def tpr_at(self, fpr: float) -> float:
        """Return the largest share of pairs of one person that can be accepted with a false-positive rate up to `fpr`.

        This is the step rule: no point between two thresholds is made up, and none beyond `fpr` is taken.

        Raises:
            UserError: a rate that is not from 0 to 1.
        """
        step = self._step(fpr)
        return 0.0 if step < 0 else float(self.same[step] / self.n_same)

    def threshold_at(self, fpr: float) -> float:
        """Return the largest distance of a pair of one person that `tpr_at` accepts; NaN where it accepts none."""
        step = self._step(fpr)
        return float("nan") if step < 0 else float(self.distances[step])

    def curve(self) -> pd.DataFrame:
        """Return the corners of the curve: fpr, tpr, distance (up to which pairs are accepted)."""
        share = {"fpr": self.different / self.n_different, "tpr": self.same / self.n_same}
        return pd.DataFrame({**share, "distance": self.distances})

    def interval(self, fpr: float | None = None) -> tuple[float, float]:
        """Return the interval of `tpr_at(fpr)`, of the AUC for None; NaN where there is none."""
        return self.intervals.get("auc" if fpr is None else f"tpr@{fpr:g}", (float("nan"), float("nan")))

    def to_frame(self, rates: tuple[float, ...] = RATES) -> pd.DataFrame:
        """Return a row per false-positive rate: fpr, tpr, distance, how many false positives it allows, low, high.

        low and high are the interval of tpr: NaN without draws, and for other rates than `RATES`.
        """
        rows = [
            (rate, self.tpr_at(rate), self.threshold_at(rate), self._allowed(rate), *self.interval(rate))
            for rate in rates
        ]
        return pd.DataFrame(rows, columns=["fpr", "tpr", "distance", "false_positives", "low", "high"])

    def measures(self) -> pd.DataFrame:
        """Return a row per measure, as `RetrievalResult.to_frame`: measure, value, low, high (NaN without draws)."""
        rows = [("AUC", self.auc, *self.interval())]
        rows += [(f"TPR at FPR {rate:g}", self.tpr_at(rate), *self.interval(rate)) for rate in RATES]
        return pd.DataFrame(rows, columns=["measure", "value", "low", "high"])

    def sentence(self) -> str:
        """Return a sentence with the numbers and what they hold for."""
        notes = "".join(f"; {note}" for note in self.notes)
        return (
            f"{self.n_same:,} pairs of one person, {self.n_different:,} of different people ({self.metric} distance): "
            f"AUC {self.auc:.4f}, equal error rate {self.eer:.2%}{notes}"
        )

    def _allowed(self, fpr: float) -> int:
        return int(check_real("fpr", fpr, 0, 1) * self.n_different * (1 + 1e-12))  # 0.07 x 100 is 7, not 6

    def _step(self, fpr: float) -> int:
        return int(np.searchsorted(self.different, self._allowed(fpr), "right")) - 1

    def _corners(self) -> tuple[Floats, Floats]:
        """Return the corners of the curve, those before each step too; tied pairs make a slope."""
        before = np.stack([self.different - self.tied, self.different], axis=1).ravel() / self.n_different
        shares = np.append(0, self.same) / self.n_same
        return np.append(before, 1), np.append(np.repeat(shares, 2)[1:-1], 1)

    def __repr__(self) -> str:
        rates = ", ".join(f"TPR {row.tpr:.2%} at FPR {row.fpr:g}" for row in self.to_frame().itertuples())
        return f"Verification({rates}; {self.sentence()})"

    def _repr_html_(self) -> str:
        frame = self.to_frame().rename(columns={"distance": f"distance ({self.metric})"}).dropna(axis=1, how="all")
        table = frame.to_html(index=False, float_format="{:.4g}".format, border=0)
        return f"{table}<p>{html.escape(self.sentence())}</p>"


def verification(
    query: Embeddings | npt.ArrayLike,
    gallery: Embeddings | npt.ArrayLike,
    *,
    query_pids: npt.ArrayLike | None = None,
    gallery_pids: npt.ArrayLike | None = None,
    query_camids: npt.ArrayLike | None = None,
    gallery_camids: npt.ArrayLike | None = None,
    metric: str = "cosine",
    bootstrap: int = 0,
    seed: int = 0,
    block_mib: float = BLOCK_MIB,
    query_images: npt.ArrayLike | None = None,
    gallery_images: npt.ArrayLike | None = None,
) -> Verification:
    """Compare every query with every gallery image and draw the exact ROC curve of telling pairs apart.

    Query and gallery are two `Embeddings`, or vectors with their labels, as in `evaluate`. Junk, pairs of one identity
    and camera, and an image with itself are left out. Distances are compared across queries, which a ranking never
    does: a model can rank well and still need another threshold for every query.

    Args:
        query: what is looked for [query, dim].
        gallery: among what [gallery, dim].
        query_pids, gallery_pids, query_camids, gallery_camids, query_images, gallery_images: as in `evaluate`.
        metric: "cosine" (1 - cosine) or "euclidean".
        bootstrap: draws of query identities for 95 % intervals (a pair counts as often as its query was drawn); 0 for
            none. Of more than 4,096 different distances some are counted together: ends are then exact to about a
            thousandth of the curve's height.
        seed: of the draws.
        block_mib: memory for the pairs that are held at a time.

    Raises:
        UserError: no valid pair of one of the two kinds, or as `evaluate`.
    """
    block_mib = check_real("block_mib", block_mib, 0, 2**30, open_ends=True)
    bootstrap, seed = check_whole("bootstrap", bootstrap, 0, MOST_DRAWS), check_seed(seed)
    labels = Labels(query_pids, query_camids, query_images), Labels(gallery_pids, gallery_camids, gallery_images)
    problem = problem_of(query, gallery, *labels, metric=metric)
    scorer = Scorer(problem)
    blocks = _blocks(problem, block_mib)
    code = problem.query_codes  # from 0, without a gap: queries have the first codes
    same, row, sample = (np.concatenate(parts) for parts in zip(*(_same(scorer, rows) for rows in blocks)))
    if not len(same):
        raise UserError("There is no valid pair of one person (in another camera) among the queries and the gallery.")
    distances, place, times = np.unique(same, return_inverse=True, return_counts=True)
    regions = regions_of(distances, sample, RATES)
    tally = Tally(code[row], place, int(code.max()) + 1, regions) if bootstrap else None
    nearer, tied = np.zeros(len(distances) + 1, np.int64), np.zeros(len(distances), np.int64)
    for rows in blocks:
        other, counts = _different(scorer, rows)
        place = np.searchsorted(distances, other)
        nearer += np.bincount(place, minlength=len(nearer))
        at = np.append(distances, np.nan)[place] == other
        tied += np.bincount(place[at], minlength=len(tied))
        if tally is not None:
            tally.add(np.repeat(code[rows], counts), place, at)
    if not nearer.any():
        raise UserError("There is no pair of different people among the queries and the gallery.")
    found = Verification(
        metric=metric,
        distances=distances,
        same=np.cumsum(times),
        different=np.cumsum(nearer)[:-1],
        tied=tied,
        n_different=int(nearer.sum()),
        notes=problem.notes,
    )
    return found if tally is None else _with_intervals(found, tally, bootstrap, seed)


def _with_intervals(found: Verification, tally: Tally, draws: int, seed: int) -> Verification:
    tpr = tuple(found.tpr_at(rate) for rate in RATES)
    spans = roc_intervals(tally, RATES, auc=found.auc, tpr=tpr, draws=draws, seed=seed)
    names = ["auc", *(f"tpr@{rate:g}" for rate in RATES)]
    return replace(found, intervals=dict(zip(names, spans)), bootstrap=draws, seed=seed)


def _blocks(problem: Problem, block_mib: float) -> list[Ints]:
    """Return the rows of queries that are compared at a time."""
    step = max(1, int(block_mib * 2**20 / (len(problem.gallery) * BYTES)))
    rows = np.arange(len(problem.query))
    return [rows[begin : begin + step] for begin in range(0, len(rows), step)]


def _same(scorer: Scorer, rows: Ints) -> tuple[Floats, Ints, Floats]:
    """Return distances and rows of the queries of pairs of one person [pair], and a sample of the other distances."""
    problem, table = scorer.problem, scorer.table(rows)
    alike = problem.query_codes[rows, None] == problem.gallery_codes
    row, column = np.nonzero(alike)
    valid = ~problem.is_ignored(rows[row], column)
    row, column = row[valid], column[valid]
    step = max(1, len(problem.query) * len(problem.gallery) // SAMPLE)
    return table[row, column], rows[row], table[:, ::step][~alike[:, ::step]]


def _different(scorer: Scorer, rows: Ints) -> tuple[Floats, Ints]:
    """Return the distances of pairs of different people, ascending for each query in turn, and how many each has."""
    problem, table = scorer.problem, scorer.table(rows)
    left_out = (problem.query_codes[rows, None] == problem.gallery_codes) | problem.ignored_block(rows)
    table[left_out] = np.inf
    table.sort(axis=1)
    counts = table.shape[1] - left_out.sum(axis=1)
    return table[np.arange(table.shape[1]) < counts[:, None]], counts
