"""EmbeddingExplorer, driven by its state: the map, its colours, what is hovered over and chosen; names stay text."""

from __future__ import annotations

import gc
import re
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from explorer_people import HOSTILE, embedded, people
from ipywidgets.widgets.widget import _instances

from reidlab.errors import UserError
from reidlab.explorers import EmbeddingExplorer
from reidlab.explorers.points import COLOURS, FARED, fared, group_points
from reidlab.explorers.scatter import MOST_GROUPS, STILL, ScatterView, StillView
from reidlab.retrieval import Embeddings, RetrievalResult, evaluate
from reidlab.retrieval.planes import plane, unit_rows
from reidlab.workbook.pages.safe_html import clean_html


@pytest.fixture
def embeddings(tmp_path: Path) -> Embeddings:
    return embedded(people(tmp_path, n_people=9, pids="hostile"), noise=0.9)


@pytest.fixture
def result(embeddings: Embeddings) -> RetrievalResult:
    return evaluate(embeddings.split("query"), embeddings.split("gallery"))


@pytest.fixture
def explorer(embeddings: Embeddings, result: RetrievalResult) -> Any:
    made = EmbeddingExplorer(embeddings, result=result)
    yield made
    assert not made.errors
    made.close()


def view_of(explorer: EmbeddingExplorer) -> Any:
    assert isinstance(explorer.view, ScatterView)
    return explorer.view._view


def test_points_are_those_of_the_plane(explorer: EmbeddingExplorer, embeddings: Embeddings) -> None:
    wanted = plane(unit_rows(embeddings.vectors), "pca")
    np.testing.assert_array_equal(explorer.points, wanted)
    drawn = view_of(explorer).points
    assert drawn.shape == (36, 4) and np.abs(drawn[:, :2]).max() == pytest.approx(0.7)
    a, b = np.polyfit(wanted[:, 0], drawn[:, 0], 1), np.polyfit(wanted[:, 1], drawn[:, 1], 1)
    assert a[0] == pytest.approx(b[0], rel=1e-4)  # both directions by the same factor
    np.testing.assert_array_equal(drawn[:, 2], explorer.groups.codes)


def test_it_begins_with_what_went_wrong(explorer: EmbeddingExplorer, result: RetrievalResult) -> None:
    first = result.per_query["first_rank"].to_numpy()
    queries = np.flatnonzero(explorer.table["split"] == "query")
    wrong = queries[first != 1]
    assert 0 < len(wrong) < len(queries)
    assert list(explorer.state.chosen) == wrong.tolist() == list(view_of(explorer).selection)
    assert explorer.grid.keys_shown == [str(row) for row in wrong]
    assert {each["sign"] for each in explorer.grid.items} == {"wrong"}
    assert f"{len(wrong)} queries are wrong" in explorer.summary()
    assert f"<strong>{len(wrong)} images chosen</strong>" in explorer.chosen.value
    assert "alt=" in explorer.detail.value and "first image wrong" in explorer.detail.value


def test_the_ap_of_an_image_is_its_own(explorer: EmbeddingExplorer, result: RetrievalResult) -> None:
    for number, row in enumerate(np.flatnonzero(explorer.table["split"] == "query")):
        assert f"AP {result.per_query['ap'][number]:.0%} · " in explorer._item(int(row))["detail"]
    assert "AP" not in explorer._item(1)["detail"]


def test_a_lasso_chooses(explorer: EmbeddingExplorer) -> None:
    view_of(explorer).selection = np.array([5, 2, 9], np.uint32)
    assert explorer.state.chosen == (5, 2, 9) and explorer.grid.keys_shown == ["5", "2", "9"]
    assert "3 images chosen" in explorer.chosen.value
    view_of(explorer).selection = np.array([], np.uint32)
    assert explorer.state.chosen == () and "No image is chosen" in explorer.chosen.value


def test_hovering_shows_an_image_that_stays(explorer: EmbeddingExplorer) -> None:
    view_of(explorer).hovering = 7
    assert explorer.state.hovered == 7 and "gallery" in explorer.detail.value
    view_of(explorer).hovering = None
    assert explorer.state.hovered == 7
    explorer._hover(10_000)  # of a map that is gone
    assert explorer.state.hovered == 7
    explorer.grid.choose(explorer.grid.keys_shown[0])
    assert explorer.state.hovered == explorer.state.chosen[0]


@pytest.mark.parametrize("colour", COLOURS)
def test_colours_keep_the_choice(explorer: EmbeddingExplorer, colour: str) -> None:
    explorer.choose([3, 4])
    explorer.state.colour = colour
    assert explorer.state.chosen == (3, 4) and list(view_of(explorer).selection) == [3, 4]
    assert explorer.legend.value.count("border-radius") == len(explorer.groups.groups) <= MOST_GROUPS
    assert sum(explorer.groups.counts()) == 36
    np.testing.assert_array_equal(np.diff(explorer.groups.codes[view_of(explorer).point_order]) >= 0, True)


def test_methods_are_computed_once(explorer: EmbeddingExplorer, monkeypatch: pytest.MonkeyPatch) -> None:
    before = explorer.points
    explorer.state.method = "tsne"
    assert "t-SNE" in explorer.summary() and "mean nothing" in explorer.summary()
    monkeypatch.setattr("reidlab.explorers.points.plane", lambda *_, **__: pytest.fail("computed again"))
    explorer.state.method = "pca"
    assert explorer.points is before
    explorer.state.method = "tsne"


def test_an_identity_is_found_and_another_is_named(explorer: EmbeddingExplorer) -> None:
    explorer.state.person = " <b>4</b> "
    assert explorer.state.chosen == (16, 17, 18, 19)
    explorer.state.person = "<b>44</b>"
    assert explorer.state.chosen == (16, 17, 18, 19) and "No image on the map" in explorer.error
    assert "&lt;b&gt;44" in explorer.status.value and "<b>44" not in explorer.status.value
    assert isinstance(explorer.errors.pop(), UserError)
    explorer.state.person = ""
    assert not explorer.error


def test_a_draw_of_images(embeddings: Embeddings, result: RetrievalResult) -> None:
    made = EmbeddingExplorer(embeddings, result=result, max_images=10, seed=3)
    assert len(made.rows) == 10 and "10 of 36 images" in made.summary()
    view_of(made).selection = np.array([0, 9], np.uint32)
    assert made.state.chosen == (made.rows[0], made.rows[9])
    outside = next(row for row in range(36) if row not in made.rows)
    made.choose([int(made.rows[4]), outside])
    assert list(view_of(made).selection) == [4]
    made.close()


def test_without_a_result_an_identity_is_chosen(embeddings: Embeddings) -> None:
    made = EmbeddingExplorer(embeddings)
    assert made.state.colour == "identity" and made.state.chosen == (0, 1, 2, 3)
    assert {each["sign"] for each in made.grid.items} == {""}
    made.close()


def test_many_chosen_images_are_counted(explorer: EmbeddingExplorer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reidlab.explorers.embedding.MOST", 6)
    explorer.choose(list(range(30)))
    assert len(explorer.grid.items) == 6
    assert "30 images chosen" in explorer.chosen.value and "The first 6 are shown." in explorer.chosen.value


def test_lasso_is_a_mode(explorer: EmbeddingExplorer) -> None:
    explorer.state.lasso = True
    assert view_of(explorer).mouse_mode == "lasso"
    explorer.state.lasso = False
    assert view_of(explorer).mouse_mode == "panZoom"


def test_without_jupyter_scatter(embeddings: Embeddings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reidlab.explorers.scatter.importlib.util.find_spec", lambda _: None)
    made = EmbeddingExplorer(embeddings)
    assert isinstance(made.view, StillView) and "data:image/png" in made.view.widget.value
    assert 'pip install "reidlab[explore]"' in STILL and "reidlab[explore]" in made.view.widget.value
    before = made.view.widget.value
    made.choose([8])
    made.state.lasso = True
    assert made.view.widget.value != before and made.grid.keys_shown == ["8"]
    made.close()


def test_names_stay_text(explorer: EmbeddingExplorer) -> None:
    explorer.choose([0, 1])
    explorer.hover(0)
    explorer.state.colour = "identity"
    for html in (explorer.detail.value, explorer.chosen.value, explorer.legend.value, explorer.snapshot().html):
        assert "&lt;b&gt;" in html and "<b>" not in html and HOSTILE not in html
        assert all(re.search(r'alt="[^"<>]+"', tag) for tag in re.findall(r"<img [^>]*>", html))
    assert "&lt;img src=x" in explorer.detail.value and "&lt;img src=x" in explorer.snapshot().html
    assert explorer.grid.items[0]["detail"].endswith(HOSTILE)  # the grid writes text, not HTML


def test_a_page_keeps_the_twin(explorer: EmbeddingExplorer) -> None:
    html = explorer.snapshot().html
    assert clean_html(html).count("<img ") == html.count("<img ") == 1 + min(16, len(explorer.state.chosen))
    assert "Map of embeddings: PCA" in explorer.snapshot().text


def test_what_is_refused(embeddings: Embeddings, result: RetrievalResult) -> None:
    before = set(_instances)
    with pytest.raises(UserError, match="Did you mean 'tsne'"):
        EmbeddingExplorer(embeddings, method="tsn")
    few = Embeddings(embeddings.vectors[:4], embeddings.table.iloc[:4])
    with pytest.raises(UserError, match="five images; there are 4"):
        EmbeddingExplorer(few)
    with pytest.raises(UserError, match="9 queries and the embeddings 0"):
        EmbeddingExplorer(embeddings.split("gallery"), result=result)
    with pytest.raises(UserError, match="max_images"):
        EmbeddingExplorer(embeddings, max_images=4)
    assert set(_instances) == before


def test_close_leaves_no_widget(embeddings: Embeddings) -> None:
    before = set(_instances)
    made = EmbeddingExplorer(embeddings)
    assert len(set(_instances) - before) > 15
    made.close()
    assert set(_instances) == before


def test_close_lets_go_of_explorer_and_points(embeddings: Embeddings) -> None:
    made = EmbeddingExplorer(embeddings)
    view, gone = view_of(made), weakref.ref(made)
    made.close()
    del made
    gc.collect()
    assert gone() is None and len(view.points) == len(view.point_order) == 1 and len(view.selection) == 0


def test_how_queries_fared_by_a_loop(embeddings: Embeddings, result: RetrievalResult) -> None:
    found = fared(embeddings.table, result)
    number = 0
    for at, split in enumerate(embeddings.table["split"]):
        wanted = 0
        if split == "query":
            one = result.per_query.iloc[number]
            wanted = 1 if not one["valid"] else 2 if one["first_rank"] == 1 else 3
            number += 1
        assert found[at] == wanted
    assert number == result.n_query and len(FARED) == 4
    assert not fared(embeddings.table, None).any()


def test_groups_by_a_loop() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"pid": rng.integers(-1, 12, 200), "camid": "x", "split": "gallery"})
    groups = group_points(table, "identity", np.zeros(200, np.int64))
    counts = table.loc[table["pid"] >= 0, "pid"].value_counts()
    assert [group.name for group in groups.groups[1:]] == [
        f"identity {pid}" for pid in sorted(counts.index, key=lambda pid: (-counts[pid], pid))[:6]
    ] or len(set(counts.iloc[:7])) < 7
    for at, pid in enumerate(table["pid"]):
        name = groups.groups[groups.codes[at]].name
        assert name == f"identity {pid}" or (groups.codes[at] == 0 and f"identity {pid}" not in groups.names())
    assert group_points(table, "camera", np.zeros(200, np.int64)).groups[0].name == "camera x"
    with pytest.raises(UserError, match="needs the column camid"):
        group_points(table.drop(columns="camid"), "camera", np.zeros(200, np.int64))
