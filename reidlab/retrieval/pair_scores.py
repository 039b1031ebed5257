"""Pairs as a classification: the same person or not, at a threshold that is chosen on other pairs.

Scores are larger for the same person: cosines, or what a pair head says. Retrieval asks which image is nearest; this
asks for a yes or no, as Siamese networks were published with.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from jaxtyping import Float64

from reidlab.errors import UserError, nearest
from reidlab.retrieval.checks import check_real

__all__ = ["PairClassification", "choose_threshold", "classify_pairs", "precision_recall"]

MEASURES = ("accuracy", "balanced_accuracy", "f1", "f2")

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class PairClassification:
    """Counts of pairs at a threshold; positive are pairs of one person.

    Attributes:
        threshold: a pair of at least this score is taken for one person.
        true_positives, false_positives, true_negatives, false_negatives: pairs.
        auc: area under the ROC curve, which knows no threshold.
        average_precision: area under the precision-recall curve.
    """

    threshold: float
    true_positives: int
    false_positives: int
    true_negatives: int
    false_negatives: int
    auc: float
    average_precision: float

    @property
    def accuracy(self) -> float:
        """Share of the pairs that are judged rightly."""
        right = self.true_positives + self.true_negatives
        return right / (right + self.false_positives + self.false_negatives)

    @property
    def balanced_accuracy(self) -> float:
        """Mean of the shares of both kinds that are judged rightly."""
        negatives = self.true_negatives + self.false_positives
        return (self.recall + self.true_negatives / negatives) / 2

    @property
    def precision(self) -> float:
        """Share of the pairs taken for one person that are; 0 where none is taken."""
        return self.true_positives / max(self.true_positives + self.false_positives, 1)

    @property
    def recall(self) -> float:
        """Share of the pairs of one person that are taken for it."""
        return self.true_positives / (self.true_positives + self.false_negatives)

    def f_score(self, beta: float = 1.0) -> float:
        """Return F-beta: the harmonic mean of precision and recall, recall weighing beta times as much."""
        weight = beta * beta
        below = weight * self.precision + self.recall
        return (1 + weight) * self.precision * self.recall / below if below else 0.0

    def to_frame(self) -> pd.DataFrame:
        """Return one row: threshold, accuracy, balanced_accuracy, precision, recall, f1, f2, auc, average_precision."""
        names = ("threshold", "accuracy", "balanced_accuracy", "precision", "recall")
        row = {name: getattr(self, name) for name in names}
        row |= {"f1": self.f_score(), "f2": self.f_score(2.0), "auc": self.auc}
        return pd.DataFrame([row | {"average_precision": self.average_precision}])

    def confusion(self) -> pd.DataFrame:
        """Return the table of truth (rows) against judgement (columns), pairs."""
        counts = [
            [self.true_positives, self.false_negatives],
            [self.false_positives, self.true_negatives],
        ]
        kinds = ["same person", "different people"]
        return pd.DataFrame(counts, index=pd.Index(kinds, name="truth"), columns=pd.Index(kinds, name="judged"))


def classify_pairs(scores: npt.ArrayLike, same: npt.ArrayLike, threshold: float) -> PairClassification:
    """Judge pairs at a threshold.

    Args:
        scores: [pair], larger for the same person.
        same: bool [pair], the truth.
        threshold: from which score on a pair is taken for one person; `choose_threshold` on other pairs.

    Raises:
        UserError: scores and truth do not fit, hold NaN, or are of one kind alone.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    values, truth = _checked(scores, same)
    threshold = check_real("threshold", threshold, -np.inf, np.inf)
    taken = values >= threshold
    return PairClassification(
        threshold,
        int((taken & truth).sum()),
        int((taken & ~truth).sum()),
        int((~taken & ~truth).sum()),
        int((~taken & truth).sum()),
        float(roc_auc_score(truth, values)),
        float(average_precision_score(truth, values)),
    )


def choose_threshold(scores: npt.ArrayLike, same: npt.ArrayLike, *, measure: str = "balanced_accuracy") -> float:
    """Return the threshold at which a measure is highest; the lowest of equals.

    Choose it on validation identities: on the pairs that are then judged it flatters the result.

    Args:
        scores: [pair], larger for the same person.
        same: bool [pair], the truth.
        measure: accuracy, balanced_accuracy, f1 or f2.

    Raises:
        UserError: no such measure, or as `classify_pairs`.
    """
    if measure not in MEASURES:
        hint = nearest(measure, MEASURES)
        raise UserError(f"measure={measure!r} is unknown; choose from {', '.join(MEASURES)}.{hint}")
    values, truth = _checked(scores, same)
    steps, counts = np.unique(values, return_inverse=True)
    # pairs at or above each different score
    above = [np.bincount(counts, mask, minlength=len(steps))[::-1].cumsum()[::-1] for mask in (truth, ~truth)]
    tp, fp = above
    positives, negatives = truth.sum(), (~truth).sum()
    quality = {
        "accuracy": lambda: tp + negatives - fp,
        "balanced_accuracy": lambda: tp / positives - fp / negatives,
        "f1": lambda: _f_scores(tp, fp, positives, 1.0),
        "f2": lambda: _f_scores(tp, fp, positives, 2.0),
    }[measure]()
    return float(steps[int(np.argmax(quality))])


def precision_recall(scores: npt.ArrayLike, same: npt.ArrayLike) -> pd.DataFrame:
    """Return the precision-recall curve: threshold (ascending), precision and recall at it.

    Raises:
        UserError: as `classify_pairs`.
    """
    from sklearn.metrics import precision_recall_curve

    values, truth = _checked(scores, same)
    precision, recall, thresholds = precision_recall_curve(truth, values)
    return pd.DataFrame({"threshold": thresholds, "precision": precision[:-1], "recall": recall[:-1]})


def _f_scores(tp: Floats, fp: Floats, positives: int, beta: float) -> Float64[np.ndarray, " step"]:
    weight = beta * beta
    return (1 + weight) * tp / ((1 + weight) * tp + weight * (positives - tp) + fp)


def _checked(scores: npt.ArrayLike, same: npt.ArrayLike) -> tuple[Floats, Bools]:
    values, truth = np.asarray(scores, dtype=np.float64), np.asarray(same)
    if values.ndim != 1 or truth.shape != values.shape or truth.dtype != bool:
        raise UserError(
            f"Pairs are scores [pair] and a truth of True and False [pair]; got {list(values.shape)} and "
            f"{list(truth.shape)} of {truth.dtype}."
        )
    if np.isnan(values).any():
        raise UserError(f"{int(np.isnan(values).sum()):,} scores of pairs are NaN.")
    if not truth.any() or truth.all():
        raise UserError(f"{len(truth):,} pairs are all of {'one person' if truth.any() else 'different people'}.")
    return values, truth
