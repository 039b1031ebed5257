"""Tell pairs apart at a threshold: the exact ROC curve over all valid pairs of query and gallery, in bounded memory.

The pairs of one person are few (some ten thousand at Market-1501's size) and are kept in the order of their distances;
the others (53 million) are only counted between them. So every number is exact, and nothing is sampled or thinned.
"""

from __future__ import annotations

import html
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from jaxtyping import Float64, Int64

from reidlab.errors import UserError
from reidlab.retrieval.checks import check_real
from reidlab.retrieval.distance_rows import BLOCK_MIB
from reidlab.retrieval.inputs import Problem, problem_of
from reidlab.retrieval.scoring import Scorer
from reidlab.retrieval.vectors import Embeddings, Labels

__all__ = ["RATES", "Verification", "verification"]

RATES = (1e-4, 1e-3, 1e-2)
BYTES = 40  # that a pair takes in a block: product, distance, its sorted copy, its place, what it is

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
    """

    metric: str
    distances: Float64[np.ndarray, " step"]
    same: Int64[np.ndarray, " step"]
    different: Int64[np.ndarray, " step"]
    tied: Int64[np.ndarray, " step"]
    n_different: int
    notes: tuple[str, ...] = ()

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

    def to_frame(self, rates: tuple[float, ...] = RATES) -> pd.DataFrame:
        """Return a row per false-positive rate: fpr, tpr, distance, and how many false positives it allows."""
        rows = [(rate, self.tpr_at(rate), self.threshold_at(rate), self._allowed(rate)) for rate in rates]
        return pd.DataFrame(rows, columns=["fpr", "tpr", "distance", "false_positives"])

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
        frame = self.to_frame().rename(columns={"distance": f"distance ({self.metric})"})
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
        block_mib: memory for the pairs that are held at a time.

    Raises:
        UserError: no valid pair of one of the two kinds, or as `evaluate`.
    """
    block_mib = check_real("block_mib", block_mib, 0, 2**30, open_ends=True)
    labels = Labels(query_pids, query_camids, query_images), Labels(gallery_pids, gallery_camids, gallery_images)
    problem = problem_of(query, gallery, *labels, metric=metric)
    scorer = Scorer(problem)
    blocks = _blocks(problem, block_mib)
    same = np.concatenate([_distances(scorer, rows)[_kinds(problem, rows)[0]] for rows in blocks])
    if not len(same):
        raise UserError("There is no valid pair of one person (in another camera) among the queries and the gallery.")
    distances, times = np.unique(same, return_counts=True)
    nearer, tied = np.zeros(len(distances) + 1, np.int64), np.zeros(len(distances), np.int64)
    for rows in blocks:
        other = np.sort(_distances(scorer, rows)[_kinds(problem, rows)[1]])
        place = np.searchsorted(distances, other)
        nearer += np.bincount(place, minlength=len(nearer))
        inside = place[place < len(distances)]
        tied += np.bincount(inside[distances[inside] == other[: len(inside)]], minlength=len(tied))
    if not nearer.any():
        raise UserError("There is no pair of different people among the queries and the gallery.")
    return Verification(
        metric=metric,
        distances=distances,
        same=np.cumsum(times),
        different=np.cumsum(nearer)[:-1],
        tied=tied,
        n_different=int(nearer.sum()),
        notes=problem.notes,
    )


def _blocks(problem: Problem, block_mib: float) -> list[Ints]:
    """Return the rows of queries that are compared at a time."""
    step = max(1, int(block_mib * 2**20 / (len(problem.gallery) * BYTES)))
    rows = np.arange(len(problem.query))
    return [rows[begin : begin + step] for begin in range(0, len(rows), step)]


def _distances(scorer: Scorer, rows: Ints) -> Floats:
    """Return the distances of queries to the gallery [row, gallery]."""
    dots = scorer.multiply(rows)
    return np.asarray(scorer.distance(rows[:, None], scorer.finish(dots, dots)))


def _kinds(problem: Problem, rows: Ints) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return which pairs [row, gallery] show one person, and which different ones; ignored pairs are neither."""
    one, valid = problem.query_codes[rows, None] == problem.gallery_codes, ~problem.ignored_block(rows)
    return one & valid, ~one & valid
