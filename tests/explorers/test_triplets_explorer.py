"""TripletExplorer, driven by its state: what is shown, in which order, with which loss; names stay text."""

from __future__ import annotations

import gc
import re
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from explorer_people import HOSTILE, embedded, people
from ipywidgets.widgets.widget import _instances

from reidlab import losses
from reidlab.data.triplets import Triplets, make_triplets
from reidlab.errors import UserError
from reidlab.explorers import TripletExplorer
from reidlab.explorers.triplet_scores import triplet_distances, triplet_losses
from reidlab.retrieval import Embeddings
from reidlab.workbook.pages.safe_html import clean_html


def properties(html: str) -> list[str]:
    """Return the names of all style properties."""
    return [
        each.split(":")[0].strip()
        for style in re.findall(r'style="([^"]*)"', html)
        for each in style.split(";")
        if each.strip()
    ]


@pytest.fixture
def table(tmp_path: Path) -> pd.DataFrame:
    return people(tmp_path, pids="hostile")


@pytest.fixture
def triplets(table: pd.DataFrame) -> Triplets:
    return make_triplets(table, seed=0)


@pytest.fixture
def explorer(table: pd.DataFrame, triplets: Triplets) -> Any:
    made = TripletExplorer(triplets, table, embeddings=embedded(table, noise=1.0))
    yield made
    made.close()
    assert not made.errors


def test_it_shows_the_first_triplet_at_once(explorer: TripletExplorer) -> None:
    assert explorer.status.value.count("Triplet 1 of 24") == 1
    assert explorer.panel.value.count("<img ") == 3
    assert [word in explorer.panel.value for word in ("anchor", "positive", "negative", "to the positive")] == [
        True
    ] * 4


def test_losses_are_those_of_the_oracle(explorer: TripletExplorer, triplets: Triplets) -> None:
    vectors = explorer.vectors
    assert vectors is not None
    a, p, n = (vectors[triplets.rows[:, role]].astype(float) for role in range(3))
    gap = np.linalg.norm(a - p, axis=1) - np.linalg.norm(a - n, axis=1)
    wanted = np.maximum(0, gap + 0.3)
    np.testing.assert_allclose(explorer.losses, wanted)
    scored = explorer.scored()
    assert scored is not None and scored.loss == pytest.approx(wanted[0]) and scored.active == (wanted[0] > 0)
    assert f"{(wanted > 0).mean():.1%} of 24 are active" in explorer.summary()


def test_order_and_filter(explorer: TripletExplorer) -> None:
    explorer.state.order = "hardest"
    shown = explorer.losses[explorer.order]
    assert (np.diff(shown) <= 0).all() and explorer.current is not None
    explorer.end(False)
    assert explorer.current == int(np.argmax(explorer.distances[:, 0] - explorer.distances[:, 1]))
    explorer.state.order = "easiest"
    assert (np.diff(explorer.losses[explorer.order]) >= 0).all()
    explorer.state.only_active = True
    assert explorer.active[explorer.order].all() and len(explorer.order) == explorer.active.sum()
    assert f"of {len(explorer.order)} active" in explorer.summary()


def test_the_shown_triplet_stays_where_it_can(explorer: TripletExplorer) -> None:
    explorer.state.position = 7
    explorer.state.order = "hardest"
    assert explorer.current == 7 and explorer.place.value == explorer.state.position + 1
    explorer.state.distance = "cosine"
    assert explorer.current == 7


def test_the_place_follows_a_list_that_shrinks(explorer: TripletExplorer) -> None:
    explorer.end(True)
    assert explorer.place.value == 24
    explorer.state.only_active = True
    assert explorer.place.max == len(explorer.order) < 24
    assert explorer.place.value == explorer.state.position + 1 <= explorer.place.max


def test_steps_stop_at_the_ends(explorer: TripletExplorer) -> None:
    explorer.step(-1)
    assert explorer.state.position == 0
    for _ in range(30):
        explorer.step(1)
    assert explorer.state.position == 23
    explorer.end(False)
    assert explorer.state.position == 0
    explorer.place.value = 5
    assert explorer.state.position == 4


def test_keys_of_the_browser(explorer: TripletExplorer) -> None:
    keys = next(child for child in explorer.widget.children if type(child).__name__ == "Keys")
    for content in ({"kind": "step", "by": 1}, {"kind": "step", "by": 5}, {"kind": "step"}, "x", None, {"kind": "end"}):
        keys._pressed(keys, content, [])
    assert explorer.state.position == 1
    keys._pressed(keys, {"kind": "end", "last": True}, [])
    assert explorer.state.position == 23


def test_none_active(explorer: TripletExplorer, triplets: Triplets) -> None:
    explorer.distances = np.tile([0.0, 9.0], (24, 1))
    explorer.state.only_active = True
    assert explorer.current is None and explorer.scored() is None
    assert "No triplet is active" in explorer.summary() and "learnt" in explorer.panel.value
    explorer.step(1)
    explorer.end(True)
    assert explorer.state.position == 0
    explorer.state.only_active = False
    assert explorer.current == 0


def test_soft_margin(explorer: TripletExplorer) -> None:
    explorer.state.soft = True
    assert explorer.margin.disabled and "the soft margin" in explorer.summary()
    wanted = triplet_losses(explorer.distances, soft=True)
    np.testing.assert_array_equal(explorer.losses, wanted[0])
    assert "positive + margin" not in explorer.panel.value
    explorer.state.soft = False
    assert not explorer.margin.disabled and "positive + margin" in explorer.panel.value


def test_a_loss_gives_the_first_values(table: pd.DataFrame, triplets: Triplets) -> None:
    vectors = embedded(table)
    for options, distance in (({"normalize": True, "margin": 3.5}, "normalized"), ({"distance": "cosine"}, "cosine")):
        loss: Any = losses.build("triplet", **options)
        made = TripletExplorer(triplets, table, embeddings=vectors, loss=loss)
        assert (made.state.margin, made.state.distance) == (loss.margin, distance)
        np.testing.assert_array_equal(made.distances, triplet_distances(vectors.vectors, triplets.rows, distance))
        made.close()


def test_without_a_model(table: pd.DataFrame, triplets: Triplets) -> None:
    made = TripletExplorer(triplets, table)
    assert "No embeddings were given" in made.summary() and made.panel.value.count("<img ") == 3
    made.state.only_active, made.state.margin, made.state.order = True, 0.9, "hardest"
    assert len(made.order) == 24 and made.scored() is None
    made.close()


def test_embeddings_are_found_by_path(table: pd.DataFrame, triplets: Triplets) -> None:
    vectors = embedded(table)
    mixed = np.random.default_rng(0).permutation(len(table))
    moved = Embeddings(vectors.vectors[mixed], table.iloc[mixed].reset_index(drop=True))
    made = TripletExplorer(triplets, table, embeddings=moved)
    np.testing.assert_array_equal(made.vectors, vectors.vectors)
    made.close()
    fewer = Embeddings(vectors.vectors[1:], table.iloc[1:].reset_index(drop=True))
    with pytest.raises(UserError, match="lack 1 of the table's images"):
        TripletExplorer(triplets, table, embeddings=fewer)


def test_what_is_refused(table: pd.DataFrame, triplets: Triplets) -> None:
    with pytest.raises(UserError, match="no triplets to show"):
        TripletExplorer(replace(triplets, frame=triplets.frame.iloc[:0]), table)
    with pytest.raises(UserError, match="the table has 5 images"):
        TripletExplorer(triplets, table.iloc[:5])


def test_label_faults_are_called_so(table: pd.DataFrame, triplets: Triplets) -> None:
    swapped = triplets.frame.assign(positive=triplets.frame["negative"], negative=triplets.frame["positive"])
    made = TripletExplorer(replace(triplets, frame=swapped), table)
    assert made.panel.value.count("label fault") == 4  # in two captions and two alt texts
    made.close()


def test_names_stay_text(explorer: TripletExplorer) -> None:
    for html in (explorer.panel.value, explorer.snapshot().html):
        assert "&lt;img src=x" in html and "&lt;b&gt;" in html
        assert HOSTILE not in html and "<b>" not in html
        assert all(re.search(r'alt="[^"<>]+"', tag) for tag in re.findall(r"<img [^>]*>", html))
    assert "<img src=x" not in repr(explorer.snapshot())


def test_a_page_keeps_the_twin_as_it_is(explorer: TripletExplorer) -> None:
    html = explorer.snapshot().html
    kept = clean_html(html)
    assert properties(kept) == properties(html) and kept.count("<img ") == 3


def test_a_missing_file_is_told(table: pd.DataFrame, triplets: Triplets) -> None:
    Path(table["path"].iloc[0]).unlink()
    made = TripletExplorer(triplets, table)
    assert made.panel.value.count("<img ") == 3 and "not" in made.panel.value and not made.errors
    made.close()


def test_close_leaves_no_widget(table: pd.DataFrame, triplets: Triplets) -> None:
    before = set(_instances)
    made = TripletExplorer(triplets, table, embeddings=embedded(table))
    assert len(set(_instances) - before) > 10
    made.close()
    assert set(_instances) == before
    gone = weakref.ref(made)
    del made
    gc.collect()
    assert gone() is None
