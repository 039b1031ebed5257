"""The leaderboard: fronts, adjusted tests, and rows from the manifests of evaluations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidlab import params, store
from reidlab.errors import UserError
from reidlab.retrieval import evaluate
from reidlab.workbook.leaderboard import BoardTable, _holm, leaderboard_for, pareto

RNG = np.random.default_rng(0)
PEOPLE = np.repeat(np.arange(12), 2)


def evaluated(label: str, noise: float, dataset: str = "toy", **model: Any) -> str:
    """Keep an evaluation of vectors that are blurred so much; return the run's name."""
    rng = np.random.default_rng(1)
    centres = np.eye(12)[PEOPLE]
    query, gallery = (centres + noise * rng.normal(size=centres.shape) for _ in range(2))
    cameras = {"query_camids": np.zeros(24, int), "gallery_camids": np.ones(24, int)}
    result = evaluate(query, gallery, query_pids=PEOPLE, gallery_pids=PEOPLE, bootstrap=50, **cameras)

    def make(folder: Path) -> dict[str, Any]:
        result.save(folder)
        facts = {"label": label, "digest": label, "dim": 12, "macs": 1e6, "parameters": 2e6, "seed": 3, **model}
        about = {"flip": False, "projection": "", "options": {}, "notes": [], "conditions": result.conditions()}
        return {"scores": result.scores(), "intervals": result.intervals, "model": facts, **about}

    key = {"dataset": dataset, "metric": "cosine", "ap": "plain", "seed": 0, "label": label}
    return store.stage("evaluation", f"{dataset}-{label}", params=key, make=make).path.name


def board(**more: Any) -> Any:
    return leaderboard_for(params.Leaderboard.from_values({"models": [], "timed": 0, "draws": 200, **more}))


def test_best_first_with_tests_against_it() -> None:
    good, bad = evaluated("good", 0.1), evaluated("bad", 0.8)
    evaluated("also", 0.1)
    evaluated("other", 0.3, dataset="elsewhere", macs=None)
    found = board()
    assert list(found.scores["test_set"]) == ["elsewhere", "toy", "toy", "toy"]
    rows = found.scores[found.scores["test_set"] == "toy"]
    assert rows["mAP"].is_monotonic_decreasing and rows["run"].iloc[-1] == bad and good in set(rows["run"])
    assert np.isnan(found.scores["macs"][0]) and found.scores["speed"].isna().all()
    worse = found.tests.set_index("model").loc["bad"]
    assert worse["difference"] == pytest.approx(rows["mAP"].iloc[-1] - rows["mAP"].iloc[0]) and worse["high"] < 0
    assert worse["p"] <= worse["p_holm"] < 0.05 and not worse["noise"]
    assert board(tests=["elsewhere"]).tests.empty


def test_pages_that_name_a_run_are_linked(tmp_path: Path) -> None:
    run = evaluated("good", 0.1)
    folder = tmp_path / "reports" / "executed"
    folder.mkdir()
    (folder / "04_a&b.ipynb").write_text(f'{{"text": "{run}"}}')
    (folder / "05_other.ipynb").write_text("{}")
    table = BoardTable(board())
    assert list(table.board.scores["pages"]) == [("04_a&b",)] and "04_a&b" in repr(table)
    assert '<a href="04_a%26b.html">04_a&amp;b</a>' in table._repr_html_()


def test_what_was_not_evaluated() -> None:
    with pytest.raises(UserError, match="Nothing was evaluated yet"):
        board()
    evaluated("good", 0.1)
    with pytest.raises(UserError, match=r"nothing was evaluated on 'tou'.*Did you mean 'toy'\? There are: toy"):
        board(tests=["tou"])


def test_holm_by_hand() -> None:
    assert _holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert _holm([0.5, 0.9]) == [1.0, 1.0] and _holm([]) == []


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 5), st.sampled_from("ab")), min_size=1, max_size=9))
def test_fronts_by_a_plain_loop(rows: list[tuple[int, int, str]]) -> None:
    scores = pd.DataFrame(rows, columns=["macs", "mAP", "test_set"])
    for cost, sign in (("macs", -1), ("speed", 1)):
        front = pareto(scores.assign(speed=scores["macs"]), cost, "mAP")
        for at, (x, y, name) in enumerate(rows):
            others = [(sign * a, b) for a, b, c in rows if c == name]
            beaten = any(a >= sign * x and b >= y and (a > sign * x or b > y) for a, b in others)
            assert front[at] == (not beaten)


def test_a_cost_that_is_not_known_is_on_no_front() -> None:
    scores = pd.DataFrame({"test_set": "a", "macs": [np.nan, 2.0], "mAP": [0.9, 0.5]})
    assert list(pareto(scores, "macs", "mAP")) == [False, True]
