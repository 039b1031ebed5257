"""Two runs compared: who wins which query by a naive loop, the lists of both, and what cannot be compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from explorer_people import HOSTILE, embedded, people

from reidlab.errors import UserError
from reidlab.explorers import RunComparer
from reidlab.explorers.comparer_views import Duel, difference_figure
from reidlab.retrieval import Embeddings, evaluate, rank_gallery
from reidlab.retrieval.outcome import RetrievalResult
from reidlab.workbook.pages.safe_html import clean_html

Run = tuple[RetrievalResult, Embeddings]


@pytest.fixture(autouse=True)
def _errors_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REIDLAB_EXPLORER_ERRORS", "raise")


def scored(embeddings: Embeddings, **options: Any) -> Run:
    return evaluate(embeddings.split("query"), embeddings.split("gallery"), **options), embeddings


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Run, Run]:
    """Return a run whose embeddings are noise for the first half of the people, and one for the second half."""
    table = people(tmp_path, n_people=8, each=5, pids="hostile")
    good, noise = embedded(table, noise=0.1), embedded(table, noise=5.0)
    half = (np.arange(len(table)) < len(table) // 2)[:, None]
    return (
        scored(Embeddings(np.where(half, noise.vectors, good.vectors), table)),
        scored(Embeddings(np.where(half, good.vectors, noise.vectors), table)),
    )


def comparer(runs: tuple[Run, Run], **options: Any) -> RunComparer:
    (first, one), (second, other) = runs
    return RunComparer(first, second, one, other, **options)


def test_who_wins_which_query(runs: tuple[Run, Run]) -> None:
    explorer = comparer(runs)
    found: dict[str, set[int]] = {"first": set(), "second": set(), "even": set(), "failed": set(), "all": set()}
    (first, _), (second, _) = runs
    for at, (a, b) in enumerate(zip(first.per_query.itertuples(), second.per_query.itertuples())):
        kind = "even" if abs(a.ap - b.ap) < 1e-9 else "first" if a.ap > b.ap else "second"
        found[kind].add(at)
        found["all"].add(at)
        if a.first_rank > 1 and b.first_rank > 1:
            found["failed"].add(at)
    assert found["first"] and found["second"]
    for kind, queries in found.items():
        explorer.state.show = kind
        assert set(explorer.rows.tolist()) == queries, kind
        gaps = np.abs(explorer.duel.difference[explorer.rows])
        assert (np.diff(gaps) <= 1e-12).all(), "the largest difference first"


def test_both_lists_are_those_of_the_rankings(runs: tuple[Run, Run]) -> None:
    explorer = comparer(runs)
    explorer.state.k = 6
    explorer.go(3)
    for (_, embeddings), grid in zip(runs, explorer.grids):
        sides = embeddings.split("query"), embeddings.split("gallery")
        wanted = rank_gallery(*sides, queries=[3], k=50)
        wanted = wanted[wanted["flag"] != "ignored"]
        assert grid.keys_shown == ["q3", *(f"g{row}" for row in wanted["gallery"].tolist()[:6])]
        assert grid.items[0]["sign"] == "query" and {each["sign"] for each in grid.items[1:]} <= {"right", "wrong"}
    assert "Query 3" in explorer.summary()


def test_steps_go_through_the_list(runs: tuple[Run, Run]) -> None:
    explorer = comparer(runs)
    explorer.state.show = "first"
    rows = explorer.rows.tolist()
    assert explorer.state.query == rows[0]
    explorer.step(-1)
    assert explorer.state.query == rows[0], "the end is the end"
    explorer.step(1)
    assert explorer.state.query == rows[1]
    explorer.end(True)
    assert explorer.state.query == rows[-1]
    explorer.strip.choose(f"q{rows[1]}")
    assert explorer.state.query == rows[1] and explorer.strip.selected == 1
    explorer.go(next(query for query in range(8) if query not in rows))  # none of the list
    explorer.step(1)
    assert explorer.state.query == rows[0]


def test_a_list_without_queries(runs: tuple[Run, Run]) -> None:
    (first, one), _ = runs
    explorer = comparer(((first, one), (first, one)))
    assert (explorer.duel.difference == 0).all()
    explorer.state.show = "second"
    assert explorer.state.query == -1 and "No query is of this kind" in explorer.summary()
    assert all(not grid.items for grid in explorer.grids) and "No images" in explorer.twin()
    explorer.step(1)
    explorer.state.show = "even"
    assert explorer.state.query == 0


def test_the_paired_test_is_shown(runs: tuple[Run, Run]) -> None:
    explorer = comparer(runs, names=("<b>one</b>", "two"))
    assert explorer.comparison.names == ("<b>one</b>", "two")
    html = explorer.snapshot().html
    assert "95 % interval" in html and "<b>one</b>" not in html and "&lt;b&gt;one" in html


def test_names_are_escaped_and_the_twin_is_clean(runs: tuple[Run, Run]) -> None:
    explorer = comparer(runs)
    explorer.go(0)
    html = explorer.snapshot().html
    assert HOSTILE not in html and "&lt;img src=x" in html and "<b>0</b>" not in html
    assert clean_html(html).count("<img ") == html.count("<img ") >= 3


def test_what_cannot_be_compared_is_refused(runs: tuple[Run, Run], tmp_path: Path) -> None:
    (first, one), (second, other) = runs
    fewer = replace(second, per_query=second.per_query.iloc[:-1])
    with pytest.raises(UserError, match="8 queries and second 7"):
        RunComparer(first, fewer, one, other)
    rule = replace(second, rule="no_camera")
    with pytest.raises(UserError, match="camera rule"):
        RunComparer(first, rule, one, other)
    strange = Embeddings(other.vectors[::-1].copy(), other.table.iloc[::-1].reset_index(drop=True))
    with pytest.raises(UserError, match=r"second: query 0 shows .* in the result"):
        RunComparer(first, second, one, strange)
    short = Embeddings(other.vectors[5:].copy(), other.table.iloc[5:].reset_index(drop=True))
    with pytest.raises(UserError, match="the embeddings 7"):
        RunComparer(first, second, one, short)
    swapped = other.table.copy()
    rows = np.flatnonzero(swapped["split"] == "gallery")[:2]
    swapped.loc[rows, "path"] = swapped.loc[rows[::-1], "path"].to_numpy()
    with pytest.raises(UserError, match="different galleries: image 0"):
        RunComparer(first, second, one, Embeddings(other.vectors, swapped))
    with pytest.raises(UserError, match="names"):
        RunComparer(first, second, one, other, names=("a", "a"))


def test_an_unknown_query_is_shown_as_an_error(runs: tuple[Run, Run], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REIDLAB_EXPLORER_ERRORS")
    explorer = comparer(runs)
    explorer.go(99)
    assert "no query 99" in explorer.error and isinstance(explorer.errors[0], UserError)
    explorer.go(1)
    assert not explorer.error


def test_reranked_scores_are_said(runs: tuple[Run, Run]) -> None:
    (first, one), (_, other) = runs
    again, _ = scored(other, rerank="alpha_qe")
    assert "the scores of second are re-ranked" in RunComparer(first, again, one, other).summary()


# ---- the figure


def test_queries_without_a_match_win_nothing() -> None:
    duel = Duel(*(np.array(values) for values in ([0.5, np.nan, 1], [0.25, np.nan, 1], [2, 0, 1], [3, 0, 1])))
    assert duel.rows("first").tolist() == [0] and duel.rows("second").tolist() == []
    assert duel.rows("even").tolist() == [2] and duel.rows("failed").tolist() == [0]
    assert duel.rows("all").tolist() == [0, 2]
    figure = difference_figure(duel, ("a", "$b$"), 0)
    bars = [patch.get_height() for patch in figure.axes[0].patches]
    assert bars == pytest.approx([-25])
