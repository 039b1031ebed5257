from __future__ import annotations

from pathlib import Path

import nbformat
import pandas as pd
import pytest
from bs4 import BeautifulSoup

from reidlab.errors import UserError
from reidlab.plots import history_table
from reidlab.store.readable import title_of, written
from reidlab.workbook import Table
from reidlab.workbook.pages import Page, page_of
from reidlab.workbook.pages.content import content_of
from reidlab.workbook.pages.groups import grouped
from reidlab.workbook.pages.tables import tidy_table


def tidied(frame: pd.DataFrame, **options: bool) -> BeautifulSoup:
    soup = BeautifulSoup(frame.to_html(**options), "html.parser")
    tidy_table(soup.table)
    return soup


def rows_of(soup: BeautifulSoup) -> list[list[str]]:
    return [[cell.get_text() for cell in row.find_all(["th", "td"])] for row in soup.find_all("tr")]


def test_row_numbers_go_and_other_indexes_stay() -> None:
    frame = pd.DataFrame({"name": ["ann", "bob"], "count": [1, 20]}, index=[5, 6])
    assert rows_of(tidied(frame)) == [["name", "count"], ["ann", "1"], ["bob", "20"]]
    named = rows_of(tidied(frame.rename_axis("epoch")))
    assert named == [["epoch", "name", "count"], ["5", "ann", "1"], ["6", "bob", "20"]]
    assert rows_of(tidied(frame.set_index("name").rename_axis(None)))[1] == ["ann", "1"]


def test_no_rules_of_the_browser_and_words_to_the_left() -> None:
    frame = pd.DataFrame({"n": [1.5, -2e-9], "what": ["x" * 60, "7"], "share": ["3 %", "–"]})
    soup = tidied(frame)
    assert not soup.table.has_attr("border")
    marks = [cell.get("class", []) for cell in soup.find_all("th")]
    assert marks == [[], ["words", "prose"], []]


def test_columns_of_two_levels_are_left_alone() -> None:
    frame = pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", "x"), ("a", "y")]))
    assert rows_of(tidied(frame))[:2] == [["", "a"], ["", "x", "y"]]


def test_a_table_in_a_cell_that_goes(tmp_path: Path) -> None:
    inner = "<table>7</table>"
    rows = f"<thead><tr><th></th><th>a</th></tr></thead><tbody><tr><th>{inner}</th><td>1</td></tr></tbody>"
    output = nbformat.v4.new_output("display_data", {"text/html": f"<table class='dataframe'>{rows}</table>"})
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x", outputs=[output])])
    html = content_of(notebook, tmp_path / "x.ipynb", False).html
    assert html.count("<table") == 1 and ">7<" not in html and ">1<" in html


def test_table_writes_scores_in_per_cent_and_cuts_nothing() -> None:
    frame = pd.DataFrame({"mAP": [0.6102, float("nan")], "n_valid": [187, 3], "what": ["w" * 80, "v"]})
    html, text = Table(frame)._repr_html_(), repr(Table(frame))
    for part in ("mAP (%)", "61.0", "queries", "w" * 80):
        assert part in html and part in text
    assert "0.61" not in html and "–" in html
    assert "first" in Table(frame.set_index(pd.Index(["first", "second"])))._repr_html_()


def test_history_table() -> None:
    history = pd.DataFrame(
        {"epoch": [1, 2], "lr": [1e-3, 2.5e-8], "val_map": [None, 0.857], "loss_triplet": [0.5, 0.25]}
    )
    table = history_table(history, 2)
    assert table.columns.tolist() == ["1", "2"] and table.columns.name == "epoch"
    assert table.loc["validation mAP (%)"].tolist() == ["–", "85.7"]
    assert table.loc["learning rate"].tolist() == ["0.001", "2.5e-08"] and "loss: triplet" in table.index
    with pytest.raises(UserError, match="last=0"):
        history_table(history, 0)


def test_manifests_are_readable() -> None:
    assert title_of("macs") == "multiply-adds" and title_of("best_epoch") == "best epoch"
    assert written(0.8575, "best_val_map") == "85.8 %" and written(19551360) == "19,551,360"
    assert written([True, 0.5, "a"]) == "True; 0.5; a"


def pages(folder: Path, *stems: str) -> list[Page]:
    for stem in stems:
        cells = [nbformat.v4.new_markdown_cell("# A title")]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / f"{stem}.ipynb")
    return [page_of(folder / f"{stem}.ipynb") for stem in stems]


def test_runs_of_a_notebook_stand_together(tmp_path: Path) -> None:
    first, *others = grouped(pages(tmp_path, "03_training-seed=1", "03_training", "90_other", "90_other-x"))
    assert [first.label(page) for page in first.pages] == ["(no label)", "seed=1"]
    assert [group.notebook for group in others] == ["90_other", "90_other-x"]
    first.pages[0].metrics, first.pages[1].metrics = [("a", "1")], [("b", "2")]
    assert first.rows == [("a", ["1", "–"]), ("b", ["–", "2"])]
