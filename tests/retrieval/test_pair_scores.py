"""Pairs judged at a threshold, against loops and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidlab.errors import UserError
from reidlab.retrieval.pair_scores import MEASURES, choose_threshold, classify_pairs, precision_recall

PAIRS = st.lists(st.tuples(st.sampled_from([-1.0, -0.5, 0.0, 0.25, 0.5, 1.0]), st.booleans()), min_size=2, max_size=30)


def both_kinds(pairs: list[tuple[float, bool]]) -> tuple[np.ndarray, np.ndarray]:
    scores = np.array([score for score, _ in pairs] + [0.1, 0.2])
    return scores, np.array([same for _, same in pairs] + [True, False])


@settings(deadline=None)
@given(PAIRS, st.sampled_from([-1.0, 0.0, 0.25, 0.3, 2.0]))
def test_counts_and_measures_against_loops(pairs: list[tuple[float, bool]], threshold: float) -> None:
    scores, same = both_kinds(pairs)
    found = classify_pairs(scores, same, threshold)
    tp = sum(s >= threshold and t for s, t in zip(scores, same))
    fp = sum(s >= threshold and not t for s, t in zip(scores, same))
    fn = sum(s < threshold and t for s, t in zip(scores, same))
    tn = sum(s < threshold and not t for s, t in zip(scores, same))
    assert (found.true_positives, found.false_positives, found.false_negatives, found.true_negatives) == (
        tp,
        fp,
        fn,
        tn,
    )
    assert found.accuracy == pytest.approx((tp + tn) / len(scores))
    assert found.balanced_accuracy == pytest.approx((tp / (tp + fn) + tn / (tn + fp)) / 2)
    assert found.precision == pytest.approx(tp / (tp + fp) if tp + fp else 0)
    assert found.recall == pytest.approx(tp / (tp + fn))
    for beta in (1.0, 2.0):
        expected = (1 + beta**2) * tp / ((1 + beta**2) * tp + beta**2 * fn + fp)
        assert found.f_score(beta) == pytest.approx(expected)
    assert found.confusion().to_numpy().tolist() == [[tp, fn], [fp, tn]]
    wins = sum((a > b) + 0.5 * (a == b) for a in scores[same] for b in scores[~same])
    assert found.auc == pytest.approx(wins / (same.sum() * (~same).sum()))


@settings(deadline=None)
@given(PAIRS, st.sampled_from(MEASURES))
def test_the_best_threshold_is_found(pairs: list[tuple[float, bool]], measure: str) -> None:
    scores, same = both_kinds(pairs)

    def quality(threshold: float) -> float:
        found = classify_pairs(scores, same, threshold)
        return {"f1": found.f_score(), "f2": found.f_score(2.0)}.get(measure, getattr(found, measure, 0.0))

    qualities = {threshold: quality(threshold) for threshold in sorted(set(scores.tolist()))}
    chosen = choose_threshold(scores, same, measure=measure)
    assert chosen in qualities
    assert qualities[chosen] == pytest.approx(max(qualities.values()))


def test_the_frame_and_the_curve() -> None:
    scores, same = [0.9, 0.8, 0.3, 0.1], np.array([True, False, True, False])
    row = classify_pairs(scores, same, 0.5).to_frame().iloc[0]
    assert row["accuracy"] == 0.5 and row["precision"] == 0.5 and row["f1"] == 0.5 and row["auc"] == 0.75
    curve = precision_recall(scores, same)
    assert curve["threshold"].is_monotonic_increasing
    assert curve[["precision", "recall"]].to_numpy().tolist() == [[0.5, 1.0], [2 / 3, 1.0], [0.5, 0.5], [1.0, 0.5]]


@pytest.mark.parametrize(
    "scores, same, said",
    [
        ([0.1, 0.2], [True], "got"),
        ([0.1, 0.2], [1, 0], "True and False"),
        ([0.1, float("nan")], [True, False], "1 scores of pairs are NaN"),
        ([0.1, 0.2], [True, True], "all of one person"),
        ([0.1, 0.2], [False, False], "all of different people"),
        ([], [], "True and False|all of"),
    ],
)
def test_impossible_pairs(scores: list[float], same: list[bool], said: str) -> None:
    with pytest.raises(UserError, match=said):
        classify_pairs(scores, np.array(same), 0.5)


def test_impossible_choices() -> None:
    with pytest.raises(UserError, match="balanced_accuracy"):
        choose_threshold([0.1, 0.2], np.array([True, False]), measure="balanced")
    with pytest.raises(UserError, match="threshold"):
        classify_pairs([0.1, 0.2], np.array([True, False]), float("nan"))
