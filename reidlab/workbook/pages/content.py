"""The cells of an executed notebook as HTML that loads nothing and runs no script."""

from __future__ import annotations

import copy
import logging
import re
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from reidlab.errors import UserError
from reidlab.workbook.cells import headings, tags_of
from reidlab.workbook.pages.formulas import draw_formulas
from reidlab.workbook.pages.safe_html import clean_html, note_losses, pictures_for_drawings, take_styles
from reidlab.workbook.pages.tables import tidy_table

__all__ = ["Content", "content_of"]

LEFT_OUT = {"interactive-only", "remove-cell", "parameters", "injected-parameters", "papermill-error-cell-tag"}
WIDGET = "application/vnd.jupyter.widget-view+json"
WIDGET_NOTE = "<p class='note'>The notebook shows an interactive view here when it is open in JupyterLab.</p>"
NO_ALT = "No description has been provided"  # nbconvert's own words
WITHIN = "main"  # the page's element that holds the cells; styles of outputs reach no other


@dataclass(frozen=True)
class Content:
    """What a page shows of the cells: safe HTML, its sections as (anchor, text), and the style rules of outputs."""

    html: str
    sections: list[tuple[str, str]]
    style: str


def content_of(notebook: NotebookNode, path: Path, code: bool) -> Content:
    """Return a notebook's cells as HTML with nothing but what `allowed` lists.

    Args:
        notebook: as `read_notebook` returns it; it is not changed.
        path: its file; pictures that lie beside it become part of the page.
        code: with the code.

    Raises:
        UserError: it cannot be shown.
    """
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(_converted(_prepared(notebook, code), path, code), "html.parser")
    style = take_styles(soup, WITHIN)
    note_losses(soup, path.parent)
    for picture in soup.find_all("img"):
        if str(picture.get("alt") or NO_ALT).startswith(NO_ALT):
            picture["alt"] = "Figure"
    draw_formulas(soup)
    for table in soup.find_all("table", class_="reidlab-params"):
        table.decompose()  # the header has them, and the title
    first = soup.find("h1")
    if first is not None:
        first.decompose()
    for link in soup.find_all("a", class_="anchor-link"):
        link.decompose()
    sections = [(str(h["id"]), h.get_text(" ", strip=True)) for h in soup.find_all("h2") if h.get("id")]
    for table in soup.find_all("table"):
        if table.decomposed:  # it stood in a cell that went
            continue
        tidy_table(table)
        table.wrap(soup.new_tag("div", attrs={"class": "scroll"}))
    for number, picture in enumerate(soup.select(".output_png img, .output_jpeg img"), 1):
        _make_larger(soup, picture, f"figure-{number}")
    return Content(clean_html(str(soup)), sections, style)


def _make_larger(soup: Any, picture: Any, name: str) -> None:
    """Let a figure be seen at its full size by a link to itself, and small again by one to its box: no script."""
    box = picture.wrap(soup.new_tag("div", attrs={"class": "figure", "id": f"{name}-small"}))
    picture.wrap(soup.new_tag("a", attrs={"class": "zoom", "id": name, "href": f"#{name}"}))
    back = soup.new_tag("a", attrs={"class": "back", "href": f"#{name}-small"})
    back.string = "Fit the figure to the page"
    box.append(back)


def _converted(notebook: NotebookNode, path: Path, code: bool) -> str:
    """Return what nbconvert makes of the cells. It reads no files: `note_losses` takes in those that may be."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _exporter(code).from_notebook_node(notebook)[0]
    except Exception as error:  # Markdown, highlighting and templates raise what they like
        raise UserError(f"{path.name} cannot be shown as a page ({type(error).__name__}: {error}).") from error


@cache
def _exporter(code: bool) -> Any:
    """Make nbconvert's exporter once: its templates take longer to compile than most notebooks to convert."""
    from nbconvert import HTMLExporter

    quiet = logging.getLogger("reidlab.workbook.nbconvert")
    quiet.setLevel(logging.CRITICAL)  # pictures without a description get one here
    return HTMLExporter(
        template_name="basic",
        exclude_input=not code,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        log=quiet,
    )


def _prepared(notebook: NotebookNode, code: bool) -> NotebookNode:
    """Copy a notebook without what a page cannot show."""
    made = copy.deepcopy(notebook)
    dropped = LEFT_OUT - {"parameters", "injected-parameters"} if code else LEFT_OUT
    made.cells = [cell for cell in made.cells if not dropped & set(tags_of(cell))]
    heading = made.metadata.get("title", "")
    for cell in made.cells:
        if cell.cell_type == "markdown":
            heading = next(reversed(headings(cell.source)), heading)
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            data.pop("application/javascript", None)
            if "text/html" in data:
                data["text/html"] = pictures_for_drawings(data["text/html"])
                output.get("metadata", {}).pop("text/html", None)  # "isolated" would put it into a frame
            if data.pop(WIDGET, None) and not set(data) - {"text/plain"}:
                # a progress bar ("epoch 1:  0%|   | 0/24 [...]") is for the live eye and leaves nothing behind
                bar = re.match(r"[^|]*\d+%\|", str(data.get("text/plain", "")))
                data["text/html"] = "" if bar else WIDGET_NOTE
                data["text/plain"] = ""
            if any(kind.startswith("image/") for kind in data) and not cell.metadata.get("alt"):
                cell.metadata["alt"] = f"Figure of the section “{heading}”" if heading else "Figure"
    made.metadata.pop("widgets", None)
    return made
