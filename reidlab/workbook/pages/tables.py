"""Data frames as tables of a page: one row of titles, no row numbers, words to the left, numbers to the right."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["tidy_table"]

_NUMBER = re.compile(r"[-+−]?[\d.,]+(?:e[-+]?\d+)?\s?%?|nan|none|nat|inf|-|–|", re.IGNORECASE)
_PROSE = 40  # characters of a cell above which its column may break lines


def tidy_table(table: Any) -> None:
    """Rewrite a parsed table in place; other tables than those of pandas only have their words set left."""
    if "dataframe" in (table.get("class") or ()):
        del table["border"]
        _merge_titles(table)
        _drop_row_numbers(table)
    _align(table)


def _merge_titles(table: Any) -> None:
    """Write the name of the index, for which pandas takes a row of its own, into the row of titles."""
    rows = table.select("thead tr")
    if len(rows) != 2:
        return
    titles, names = (row.find_all("th", recursive=False) for row in rows)
    texts = [cell.get_text(strip=True) for cell in names]
    used = len(texts) - next((i for i, text in enumerate(reversed(texts)) if text), len(texts))
    spans = any(cell.has_attr("colspan") for cell in titles)
    if spans or len(titles) != len(names) or any(cell.get_text(strip=True) for cell in titles[:used]):
        return
    for title, text in zip(titles, texts[:used]):
        title.string = text
    rows[1].decompose()


def _drop_row_numbers(table: Any) -> None:
    """Drop an index that has no name and only whole numbers: it numbers rows."""
    titles, rows = table.select("thead tr"), table.select("tbody tr")
    heads = [row.find_all("th", recursive=False) for row in rows]
    if len(titles) != 1 or not rows or any(len(cells) != 1 for cells in heads):
        return
    corner = titles[0].find("th")
    numbered = all(cells[0].get_text(strip=True).isdecimal() for cells in heads)
    if corner is None or corner.get_text(strip=True) or not numbered:
        return
    for cell in [corner, *(cells[0] for cells in heads)]:
        cell.decompose()


def _align(table: Any) -> None:
    """Mark the columns that hold words, and those that hold sentences."""
    cells = [(i, c) for row in table.find_all("tr") for i, c in enumerate(row.find_all(["th", "td"], recursive=False))]
    texts = [(i, cell.get_text(" ", strip=True)) for i, cell in cells if cell.name == "td"]
    words = {i for i, text in texts if not _NUMBER.fullmatch(text)}
    prose = {i for i, text in texts if len(text) > _PROSE}
    for i, cell in cells:
        marks = ["words"] * (i in words) + ["prose"] * (i in prose)
        if marks:
            cell["class"] = [*cell.get("class", []), *marks]
