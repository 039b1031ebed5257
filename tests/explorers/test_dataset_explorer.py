"""The explorer of a data set without a browser: filters, pages, one image with all that is known, nothing left."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from explorer_cases import HOSTILE, pictures
from ipywidgets.widgets import widget as registry

from reidlab.data.audit import Audit, audit
from reidlab.data.pixels import PixelStore
from reidlab.data.schema import check_table
from reidlab.errors import UserError
from reidlab.explorers import DatasetExplorer


@pytest.fixture(autouse=True)
def _errors_are_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REIDLAB_EXPLORER_ERRORS", "raise")


@pytest.fixture
def table(tmp_path: Path) -> pd.DataFrame:
    return check_table(pictures(tmp_path, people=12, images=9))


@pytest.fixture
def explorer(table: pd.DataFrame) -> Any:
    made = DatasetExplorer(table, audit=made_up(table))
    yield made
    made.close()


def made_up(table: pd.DataFrame) -> Audit:
    issues = pd.DataFrame(
        [("leak_near", 3, 50, "3 bits"), ("dark", 7, -1, ""), ("leak_near", 4, 7, f"{HOSTILE}")],
        columns=["kind", "row", "other", "detail"],
    )
    return Audit(table, pd.DataFrame(), issues, pd.DataFrame())


def rows(explorer: DatasetExplorer) -> list[int]:
    return [int(key[1:]) for key in explorer.grid.keys_shown]


def test_it_shows_the_first_page_at_once(explorer: DatasetExplorer) -> None:
    assert rows(explorer) == list(range(60))
    assert "108 images, 12 identities, 3 cameras (gallery 96, query 12)" in explorer.counts.value
    assert explorer.controls.before.disabled and not explorer.controls.after.disabled


def test_filters_are_those_of_the_table(explorer: DatasetExplorer, table: pd.DataFrame) -> None:
    explorer.state.split = "query"
    assert rows(explorer) == table.index[table["split"] == "query"].tolist()
    explorer.state.camera = "0"
    explorer.state.pid = "3"
    assert rows(explorer) == [27]
    explorer.state.split = ""
    expected = table.index[(table["pid"] == 3) & (table["camid"] == 0)].tolist()
    assert rows(explorer) == expected and f"{len(expected)} of 108" in explorer.summary()
    explorer.state.pid = "nobody"
    assert rows(explorer) == [] and "no image passes" in explorer.summary() and "0 images" in explorer.counts.value
    explorer.state.pid = ""
    explorer.state.camera = ""
    assert len(explorer.rows) == 108


def test_an_identity_is_taken_whole_or_by_a_part_of_its_name(table: pd.DataFrame) -> None:
    table["pid"] = [f"Person.{number // 9}" for number in range(108)]
    made = DatasetExplorer(table)
    made.state.pid = "Person.1"
    assert set(table["pid"].iloc[rows(made)]) == {"Person.1"}  # not 10 and 11
    made.state.pid = "son.1"
    assert set(table["pid"].iloc[rows(made)]) == {"Person.1", "Person.10", "Person.11"}
    made.state.pid = "person"
    assert len(made.rows) == 108
    made.state.pid = "Person*1"
    assert len(made.rows) == 0  # no pattern
    made.close()


def test_flags_are_the_audits(explorer: DatasetExplorer) -> None:
    for flag, expected in (("leak_near", [3, 4, 7, 50]), ("dark", [7]), ("any", [3, 4, 7, 50])):
        explorer.state.flag = flag
        assert rows(explorer) == expected
    assert explorer.grid.items[2]["detail"].endswith("⚑ dark\n⚑ leak near")
    explorer.state.flag = "none"
    assert len(explorer.rows) == 104
    with pytest.raises(UserError, match="flag='bright' cannot be chosen; there is '', 'any', 'none', 'leak_near'"):
        explorer.state.flag = "bright"
    assert explorer.state.flag == "none" and len(explorer.rows) == 104


def test_pages(explorer: DatasetExplorer) -> None:
    explorer.controls.after.click()
    assert rows(explorer) == list(range(60, 108)) and explorer.controls.after.disabled
    explorer.turn(5)
    assert explorer.state.page == 1
    explorer.state.page = 99
    assert explorer.state.page == 1
    explorer.state.page_size = 12
    assert rows(explorer) == list(range(12, 24)) and explorer.n_pages == 9
    explorer.state.split = "query"  # other rows begin at their first page
    assert explorer.state.page == 0 and len(rows(explorer)) == 12
    explorer.turn(-1)
    assert explorer.state.page == 0
    explorer.state.split = ""
    explorer.state.page_size = 200
    assert len(rows(explorer)) == 108


def test_a_click_shows_it_large_with_all_columns_escaped(explorer: DatasetExplorer, table: pd.DataFrame) -> None:
    explorer.grid.choose("i0")
    assert explorer.state.chosen == 0 and explorer.grid.selected == 0
    html = explorer.large.value
    for column in table.columns:
        assert f">{column}</th>" in html
    assert "&lt;img src=x onerror=alert(1)&gt;.jpg" in html and HOSTILE not in html
    explorer.grid.choose("i7")
    assert "dark" in explorer.large.value and "leak_near (with row 4): &lt;img" in explorer.large.value
    assert "data:image/jpeg" in explorer.snapshot().html and HOSTILE not in explorer.snapshot().html
    explorer.grid.choose("i7")
    assert explorer.state.chosen == -1 and explorer.large.value == ""
    with pytest.raises(UserError, match="no image 500"):
        explorer.state.chosen = 500


def test_the_chosen_one_stays_chosen_on_its_page(explorer: DatasetExplorer) -> None:
    explorer.state.chosen = 5
    explorer.turn(1)
    assert explorer.grid.selected == -1
    explorer.turn(-1)
    assert explorer.grid.selected == 5


def test_a_real_audit_and_a_broken_file(table: pd.DataFrame) -> None:
    Path(table["path"][2]).write_bytes(b"no image")
    made = DatasetExplorer(table, audit=audit(table, workers=0))
    made.state.flag = "unreadable"
    assert rows(made) == [2] and "cannot identify" in made.grid.picture("i2").reason
    made.choose("i2")
    assert "cannot identify" in made.large.value
    made.close()


def test_the_large_picture_is_of_the_file(table: pd.DataFrame, tmp_path: Path) -> None:
    store = PixelStore.build(table, tmp_path / "stores", size=(16, 8), progress=False)
    made = DatasetExplorer(table, store=store)
    made.choose("i1")
    large = made._files.made(1, 512)
    assert len(large.data) > len(made.grid.picture("i1").data)
    made.close()


@pytest.mark.parametrize("bad", [pd.DataFrame(), None, [1]])
def test_no_table(bad: Any) -> None:
    with pytest.raises(UserError, match="no images to show"):
        DatasetExplorer(bad)


def test_what_belongs_to_another_table_is_refused(table: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="audit is of 108"):
        DatasetExplorer(table.iloc[:10], audit=made_up(table))
    store = PixelStore.build(table.iloc[:10].reset_index(drop=True), tmp_path / "stores", size=(16, 8), progress=False)
    with pytest.raises(UserError, match="another table"):
        DatasetExplorer(table, store=store)


def test_a_table_of_paths_alone(table: pd.DataFrame) -> None:
    made = DatasetExplorer(table[["path"]])
    assert made.grid.items[0]["caption"] == HOSTILE and "108 images" in made.counts.value
    with pytest.raises(UserError, match="split='query' cannot be chosen"):
        made.state.split = "query"
    made.close()


def test_nothing_is_left(table: pd.DataFrame) -> None:
    gc.collect()
    before = len(registry._instances)
    made = DatasetExplorer(table)
    there = len(registry._instances)
    rng = np.random.default_rng(0)
    for _ in range(100):
        made.state.pid = str(rng.integers(12))
        made.state.chosen = int(rng.integers(108))
    assert len(registry._instances) == there
    parts = [weakref.ref(each) for each in (made, made.grid, made.controls, made.state)]
    made.close()
    assert len(registry._instances) == before
    del made
    gc.collect()
    assert [part() for part in parts] == [None] * len(parts)
