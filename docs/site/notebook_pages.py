"""Executed notebooks as pages: code, results and figures, with headings that the site's search and contents know."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from links import relink

from reidlab.workbook.cells import list_notebooks, read_notebook, tags_of, title_of
from reidlab.workbook.pages.formulas import draw_formulas
from reidlab.workbook.pages.safe_html import clean_html, note_losses, pictures_for_drawings, take_styles
from reidlab.workbook.pages.tables import tidy_table

__all__ = ["NotebookMaker", "NotebookPage", "list_pages", "write_notebooks"]

LEFT_OUT = {"remove-cell", "injected-parameters", "papermill-error-cell-tag"}
PICTURES = {"image/png": "png", "image/jpeg": "jpg", "image/svg+xml": "svg"}
WIDGET = "application/vnd.jupyter.widget-view+json"
ALERT = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


@dataclass(frozen=True)
class NotebookPage:
    """A notebook and its page; `executed` is the copy with results, None where there is none."""

    source: Path
    title: str
    executed: Path | None

    @property
    def file(self) -> str:
        """The page, below the source folder."""
        return f"notebooks/{self.source.stem}.md"


def list_pages(executed: Path | None) -> list[NotebookPage]:
    """Return a page for each notebook of the workbook.

    Args:
        executed: folder of executed notebooks; None shows the notebooks without results.
    """
    pages = []
    for source in list_notebooks():
        copy = None if executed is None else executed / source.name
        pages.append(NotebookPage(source, title_of(read_notebook(source)), copy if copy and copy.is_file() else None))
    return pages


def write_notebooks(found: list[NotebookPage], target: Path, pages: Mapping[str, str], root: Path) -> None:
    """Write the notebooks' pages and the page that lists them; `pages` and `root` are what `relink` takes."""
    (target / "notebooks").mkdir(parents=True, exist_ok=True)
    lines = ["# Notebooks", "", "The notebooks of the workbook, executed on the built-in data.", ""]
    lines += ['<div class="grid cards" markdown>', ""]
    for page in found:
        notebook = read_notebook(page.executed or page.source)
        maker = NotebookMaker(target / page.file, page.source.relative_to(root).as_posix(), page.file, pages, root)
        text = maker.written(notebook)
        (target / page.file).write_text(text, encoding="utf-8")
        figure = f"[![]({maker.key_figure})]({page.source.stem}.md)" if maker.key_figure else ""
        lines += [f"-   **[{page.title}]({page.source.stem}.md)**", "", f"    {_sentence(notebook)}", ""]
        lines += [f"    {figure}", ""] if figure else []
    (target / "notebooks" / "index.md").write_text("\n".join([*lines, "</div>", ""]), encoding="utf-8")


def _sentence(notebook: Any) -> str:
    """Return the first paragraph below a notebook's title."""
    text = next((cell.source for cell in notebook.cells if cell.cell_type == "markdown"), "")
    paragraphs = [" ".join(each.split()) for each in text.split("\n\n") if not each.startswith("#")]
    first = paragraphs[0].removeprefix("**What this notebook does.** ") if paragraphs else ""
    return re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", first)


class NotebookMaker:
    """Writes one notebook; its figures become files beside the page."""

    interactive = '!!! note ""\n\n    In JupyterLab the notebook shows an interactive view here.\n'

    def __init__(self, path: Path, source: str, page: str, pages: Mapping[str, str], root: Path) -> None:
        self.path, self.source, self.page, self.pages, self.root = path, source, page, pages, root
        self.heading, self.key_figure, self.figures = "", "", 0

    def written(self, notebook: Any) -> str:
        """Return the page."""
        parts = []
        for cell in notebook.cells:
            if LEFT_OUT & set(tags_of(cell)):
                continue
            if cell.cell_type == "markdown":
                self.heading = next(reversed(re.findall(r"^#+ (.+)$", cell.source, re.MULTILINE)), self.heading)
                parts.append(relink(cell.source, self.source, self.page, self.pages, self.root))
            elif cell.cell_type == "code" and cell.source.strip():
                parts += [f"```python\n{cell.source.rstrip()}\n```", *map(self._output(cell), cell.get("outputs", []))]
        parts += (
            [f"[Download the notebook]({self.path.stem}.ipynb)"] if self.path.with_suffix(".ipynb").exists() else []
        )
        return "\n\n".join(filter(None, parts)) + "\n"

    def _output(self, cell: Any) -> Any:
        key = "key-figure" in tags_of(cell)
        alt = str(cell.metadata.get("alt") or "")

        def show(output: Any) -> str:
            if output.output_type == "stream":
                return "" if output.name == "stderr" else _text("".join(output.text))
            if output.output_type == "error":
                return _text(f"{output.ename}: {output.evalue}")
            data = output.get("data", {})
            for kind, ending in PICTURES.items():
                if kind in data:
                    return self._figure(data[kind], kind, ending, alt or f"Figure of the section “{self.heading}”", key)
            if "text/html" in data:  # of a view, its static twin
                return self.html("".join(data["text/html"]))
            if WIDGET in data:
                bar = re.match(r"[^|]*\d+%\|", str(data.get("text/plain", "")))
                return "" if bar else self.interactive
            return _text("".join(data.get("text/plain", "")))

        return show

    def _figure(self, data: str, kind: str, ending: str, alt: str, key: bool) -> str:
        self.figures += 1
        name = f"{self.path.stem}-{self.figures:02d}.{ending}"
        payload = data.encode() if kind == "image/svg+xml" else base64.b64decode(data)
        name = self.save(name, payload)
        if key or not self.key_figure:
            self.key_figure = name
        return f"[![{re.sub(r'[][]', '', alt)}]({name})]({name})"

    def save(self, name: str, payload: bytes) -> str:
        """Write a picture beside the page; return the name of its file."""
        (self.path.parent / name).write_bytes(payload)
        return name

    def html(self, html: str) -> str:
        """Return a cell's HTML with nothing but what report pages allow, in one block of Markdown."""
        return _html(html, self.root / "notebooks")


def _text(text: str) -> str:
    """Return what a cell printed as a block; a line that was overwritten shows its last state."""
    lines = [line.rpartition("\r")[2] for line in ALERT.sub("", text).rstrip().split("\n")]
    body = "\n".join(lines).replace("```", "'''")
    return f"```text\n{body}\n```" if body.strip() else ""


def _html(html: str, folder: Path) -> str:
    """Return a cell's HTML with nothing but what report pages allow, in one block of Markdown."""
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(pictures_for_drawings(html), "html.parser")
    take_styles(soup, ".reidlab-output")
    note_losses(soup, folder)
    for picture in soup.find_all("img"):
        picture["alt"] = picture.get("alt") or "Figure"
    draw_formulas(soup)
    for table in soup.find_all("table"):
        tidy_table(table)
    body = "\n".join(line for line in clean_html(str(soup)).splitlines() if line.strip())
    return f'<div class="reidlab-output">\n{body}\n</div>' if body else ""
