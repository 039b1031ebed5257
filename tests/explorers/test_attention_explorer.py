"""AttentionExplorer, driven by its state: maps, pairs, methods that a model has not, what is kept; names stay text."""

from __future__ import annotations

import gc
import re
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from explorer_people import HOSTILE, embedded, people
from ipywidgets.widgets.widget import _instances
from torch import Tensor, nn

from reidlab import explain
from reidlab.data.transforms import Preprocess
from reidlab.errors import UserError
from reidlab.explorers import AttentionExplorer
from reidlab.explorers.attention_views import compared_item, sign_of
from reidlab.explorers.beside import partners, vectors_beside
from reidlab.explorers.heat import SIGNED, STRENGTH, coloured, scale_html
from reidlab.explorers.pictures import Thumbnails
from reidlab.explorers.seen import Seen
from reidlab.registry import MAPS
from reidlab.retrieval import Embeddings, embed
from reidlab.retrieval.planes import unit_rows
from reidlab.workbook.pages.safe_html import clean_html


class Tiny(nn.Module):
    """Two convolutions and a mean: whatever a map needs, in milliseconds."""

    def __init__(self) -> None:
        super().__init__()
        self.preprocess, self.dim = Preprocess(32, 16), 8
        self.first, self.last = nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.Conv2d(8, 8, 3, stride=2, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        return F.normalize(self.last(self.first(images).relu()).mean((2, 3)), dim=1)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    return Tiny().eval()


@pytest.fixture
def table(tmp_path: Path) -> pd.DataFrame:
    return people(tmp_path, n_people=4, pids="hostile")


@pytest.fixture
def embeddings(model: nn.Module, table: pd.DataFrame, own_data: Path) -> Embeddings:
    return embed(model, table, progress=False, device="cpu")


@pytest.fixture
def explorer(model: nn.Module, table: pd.DataFrame) -> Any:
    made = AttentionExplorer(model, table)
    yield made
    assert not made.errors
    made.close()


def pixels(explorer: AttentionExplorer, row: int) -> np.ndarray:
    return explorer.thumbnails.pixels(row).transpose(2, 0, 1)[None]


def test_it_shows_the_map_of_the_first_query_at_once(explorer: AttentionExplorer, model: nn.Module) -> None:
    plain, over = explorer.overlay.shown
    np.testing.assert_array_equal(plain.image, explorer.thumbnails.pixels(0))
    wanted = explain.attention_maps(model, pixels(explorer, 0), "activation")
    assert over.map is not None and plain.map is None
    np.testing.assert_array_equal(over.map, coloured(wanted.maps[0], 256, 128, low=0, high=1, colours=STRENGTH))
    assert wanted.layer in explorer.status.value and "activation" in explorer.legend.value
    assert [bytes(each["image"][:2]) for each in explorer.overlay.panels] == [b"\xff\xd8"] * 2


def test_methods_and_layers_are_those_of_the_model(explorer: AttentionExplorer, model: nn.Module) -> None:
    names = [name for _, name in explorer.method.options]
    has = explain.methods_of(model)
    assert names[: len(has)] == has and sorted(names) == sorted(MAPS)
    assert all(("not of this model" in text) == (name not in has) for text, name in explorer.method.options)
    assert [name for _, name in explorer.layer.options] == ["", *explain.layers(model)]


def test_every_method_of_the_model_is_drawn(explorer: AttentionExplorer, model: nn.Module) -> None:
    for name in explain.methods_of(model):
        explorer.state.method = name
        assert not explorer.errors and name in explorer.summary() and explorer.overlay.shown[1].map is not None
        assert explorer.layer.disabled == (not explain.build_method(name).takes_layer)


def test_a_layer_is_drawn_and_left_with_another_method(explorer: AttentionExplorer, model: nn.Module) -> None:
    layer = next(iter(explain.layers(model).values()))
    explorer.state.layer = layer.name
    assert f"{layer.name}, {layer.rows} x {layer.columns} places" in explorer.summary()
    explorer.state.method = "gradcam"
    assert explorer.state.layer == "" and layer.name not in explorer.summary()


def test_a_method_that_the_model_has_not_says_so(explorer: AttentionExplorer) -> None:
    explorer.state.method = "rollout"
    assert "does not show Tiny" in explorer.error and "Those that do are" in explorer.error
    assert "No map" in explorer.summary() and not explorer.legend.value
    assert [panel.map for panel in explorer.overlay.shown] == [None]
    assert isinstance(explorer.errors.pop(), UserError) and not explorer.errors
    explorer.state.method = "activation"
    assert not explorer.error and explorer.overlay.shown[1].map is not None


def test_a_pair_sums_to_the_cosine(model: nn.Module, table: pd.DataFrame, embeddings: Embeddings) -> None:
    made = AttentionExplorer(model, table, embeddings=embeddings)
    made.state.pair = True
    other = made.state.other
    units = unit_rows(embeddings.vectors)
    gallery = np.flatnonzero(table["split"] == "gallery")
    assert other == gallery[np.argmax(units[gallery] @ units[0])]
    cosine = float(units[0] @ units[other])
    found = re.search(r"Cosine (-?[\d.]+), .*; the maps sum to (-?[\d.]+) and (-?[\d.]+)\.", made.summary())
    assert found is not None
    assert [float(number) for number in found.groups()] == pytest.approx([cosine] * 3, abs=2e-4)
    kind = "✓ the same identity" if table["pid"][0] == table["pid"][other] else "✗ different identities"
    assert kind in made.summary() and len(made.overlay.shown) == 2
    assert made.method.disabled and made.layer.disabled
    assert made.grid.selected == 0 and f"cosine {cosine:.3f}" in made.grid.items[0]["detail"]
    made.grid.choose(made.grid.keys_shown[2])
    assert made.state.other == int(made.grid.keys_shown[2]) and made.grid.selected == 2
    made.step(1)
    assert made.state.other == partners(table, 1, units)[0] and made.overlay.shown[0].title in made.overlay.shown[0].alt
    made.state.pair = False
    assert not made.method.disabled and made.state.row == 1 and not made.errors
    made.close()


def test_choosing_an_image_goes_to_it(explorer: AttentionExplorer) -> None:
    assert explorer.grid.keys_shown[:3] == ["1", "2", "3"]  # of its identity, in the gallery
    explorer.grid.choose("2")
    assert explorer.state.row == 2
    explorer.step(-9)
    assert explorer.state.row == 0
    explorer.end(True)
    explorer.step(1)
    assert explorer.state.row == 15


def test_maps_are_computed_once_and_the_oldest_go(
    model: nn.Module, table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def counted(*given: Any) -> Any:
        asked.append(given[2])
        return explain.attention_maps(*given)

    monkeypatch.setattr("reidlab.explorers.seen.attention_maps", counted)
    seen = Seen(model, Thumbnails(table), most=2)
    for row in (0, 1, 0, 1):
        seen.map(row, "activation", "")
    assert len(asked) == 2 and len(seen) == 2
    seen.map(2, "activation", "")
    seen.map(1, "activation", "")  # asked for after 0, which has gone
    assert len(asked) == 3 and len(seen) == 2
    seen.map(0, "activation", "")
    assert len(asked) == 4


def test_opacity_is_in_the_twin(explorer: AttentionExplorer) -> None:
    explorer.overlay.opacity = 0.0
    clear = explorer.snapshot().html
    explorer.overlay.opacity = 1.0
    assert explorer.snapshot().html != clear
    assert clear.count("<img ") == 3 and clean_html(clear).count("<img ") == 3
    assert "linear-gradient" in clean_html(clear)


def test_names_stay_text(model: nn.Module, table: pd.DataFrame) -> None:
    table = table.assign(camid=[HOSTILE] * len(table))
    made = AttentionExplorer(model, table)
    made.state.pair = True
    html = made.snapshot().html + made.above.value + made.legend.value + made.status.value
    assert "<b>" not in html and HOSTILE not in html and "&lt;b&gt;" in html
    assert all(re.search(r'alt="[^"<>]+"', tag) for tag in re.findall(r"<img [^>]*>", html))
    assert not made.errors
    made.close()


def test_a_missing_file_is_told(model: nn.Module, table: pd.DataFrame) -> None:
    made = AttentionExplorer(model, table)
    Path(table["path"].iloc[1]).unlink()
    made.state.row = 1
    assert made.error and isinstance(made.errors.pop(), UserError) and not made.errors
    made.state.row = 2
    assert not made.error
    made.close()


def test_one_image_has_no_pair(model: nn.Module, table: pd.DataFrame) -> None:
    made = AttentionExplorer(model, table.iloc[[1]].reset_index(drop=True))
    assert not made.errors and made.grid.items == []
    made.state.pair = True
    assert "no second image" in made.error and isinstance(made.errors.pop(), UserError)
    made.close()


def test_what_is_refused(model: nn.Module, table: pd.DataFrame) -> None:
    with pytest.raises(UserError, match="no images"):
        AttentionExplorer(model, table.iloc[:0])
    with pytest.raises(UserError, match="preprocess"):
        AttentionExplorer(nn.Linear(2, 2), table)
    fewer = embedded(table.iloc[1:].reset_index(drop=True))
    with pytest.raises(UserError, match="lack 1 of the table's images"):
        AttentionExplorer(model, table, embeddings=fewer)


def test_close_leaves_no_widget(model: nn.Module, table: pd.DataFrame) -> None:
    before = set(_instances)
    made = AttentionExplorer(model, table)
    assert len(set(_instances) - before) > 15
    made.close()
    assert set(_instances) == before
    gone = weakref.ref(made)
    del made
    gc.collect()
    assert gone() is None


def test_partners_by_a_loop() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"pid": rng.integers(0, 4, 20), "split": rng.choice(["query", "gallery"], 20)})
    units = unit_rows(rng.normal(size=(20, 4)))
    for at in range(20):
        usable = [i for i in range(20) if i != at and table["split"][i] == "gallery"]
        assert partners(table, at, units, most=5) == sorted(usable, key=lambda i: -units[i] @ units[at])[:5]
        own = sorted(usable, key=lambda i: table["pid"][i] != table["pid"][at])
        assert partners(table, at, None, most=99) == own
    assert partners(table.iloc[:1], 0, None) == []
    only_queries = table.assign(split="query")
    assert len(partners(only_queries, 3, None, most=99)) == 19


def test_vectors_of_rows_without_paths(table: pd.DataFrame) -> None:
    given = embedded(table)
    bare = Embeddings(given.vectors, table.drop(columns="path"))
    assert vectors_beside(bare, table) is given.vectors
    with pytest.raises(UserError, match="16 embeddings do not belong to a table of 3"):
        vectors_beside(bare, table.iloc[:3])
    twice = Embeddings(np.vstack([given.vectors, given.vectors + 9]), pd.concat([table, table], ignore_index=True))
    np.testing.assert_array_equal(vectors_beside(twice, table), given.vectors)  # the first of equal paths


def test_colours_of_a_map() -> None:
    from matplotlib import colormaps

    ends = np.array([[0.0, 0.0], [1.0, 1.0]])
    drawn = coloured(ends, 64, 32, low=0, high=1, colours=STRENGTH)
    assert drawn.shape == (64, 32, 3) and drawn.dtype == np.uint8
    np.testing.assert_array_equal(drawn[0, 0], np.round(np.array(colormaps[STRENGTH](0.0)[:3]) * 255))
    np.testing.assert_array_equal(drawn[-1, 0], np.round(np.array(colormaps[STRENGTH](1.0)[:3]) * 255))
    middle = coloured(np.zeros((2, 2)), 4, 4, low=-3, high=3, colours=SIGNED)
    assert middle.min() > 240  # nothing added, nothing taken: white
    beyond = coloured(np.full((2, 2), 99.0), 4, 4, low=0, high=1, colours=STRENGTH)
    np.testing.assert_array_equal(beyond[0, 0], drawn[-1, 0])
    bar = scale_html(-0.5, 0.5, SIGNED, "<b>what</b>")
    assert "<b>" not in bar and ">-0.5<" in bar and ">0<" in bar and ">0.5<" in bar


def test_nothing_is_right_beside_junk_or_a_distractor() -> None:
    pids = ["0001", "0001", "0001", "0002", "-1", "-1", "0000", "0000"]
    known = {"camid": [1, 1, 2, 1, 1, 2, 1, 2], "split": "gallery", "distractor": [*[False] * 6, True, True]}
    table = pd.DataFrame({"pid": pids, **known})
    signs = [[sign_of(table, row, base) for row in range(8) if row != base] for base in (0, 4, 6)]
    assert signs[0] == ["ignored", "right", *["wrong"] * 5]
    assert signs[1] == signs[2] == ["wrong"] * 7
    assert compared_item(table, None, 5, 4)["sign"] == "wrong"
    assert partners(table, 4, None)[:2] == [0, 1], "junk has no others of its identity"
