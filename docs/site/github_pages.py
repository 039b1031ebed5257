"""The executed notebooks as pages that GitHub shows, figures included: `docs/notebooks`, kept under version control.

The notebooks themselves are kept without figures, so that a change of one stays readable. `make pictures` executes them
on the built-in data, drawn people, and writes these pages; no public data set is in them. GitHub drops pictures that
stand inside a page, so each becomes a file, of few colours and at most 1,400 pixels wide.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from notebook_pages import NotebookMaker, NotebookPage

from reidlab.workbook.cells import read_notebook

__all__ = ["FOLDER", "write_github_pages"]

FOLDER = "docs/notebooks"
WIDEST = 1400  # pixels
COLOURS = 96
IN_A_ROW = 8  # thumbnails
_INSIDE = re.compile(r'src="data:image/(?P<kind>png|jpeg|svg\+xml);base64,(?P<data>[^"]+)"')


def write_github_pages(found: list[NotebookPage], root: Path) -> Path:
    """Write a page for each executed notebook, and the page that lists them; return their folder.

    Args:
        found: the notebooks, executed on the built-in data.
        root: the repository.

    Raises:
        SystemExit: a link in a notebook leads nowhere.
    """
    folder = root / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    pages = _Links(
        root, {page.source.relative_to(root).as_posix(): f"{FOLDER}/{page.source.stem}.md" for page in found}
    )
    lines = ["# Notebooks with their figures", ""]
    lines += [
        "Executed on the built-in data by `make pictures`; do not edit. The notebooks: [notebooks](../../notebooks).",
        "",
    ]
    for page in found:
        if page.executed is None:
            continue
        source = page.source.relative_to(root).as_posix()
        maker = _GitHubMaker(folder / f"{page.source.stem}.md", source, pages[source], pages, root)
        text = maker.written(read_notebook(page.executed))
        head = f"<!-- Written by `make pictures` from {source}; do not edit. -->\n\n"
        maker.path.write_text(head + text, encoding="utf-8")
        lines.append(f"- [{page.title}]({page.source.stem}.md)")
    (folder / "README.md").write_text("\n".join([*lines, ""]), encoding="utf-8")
    return folder


class _Links(Mapping[str, str]):
    """Where links of notebooks lead: to the page of a notebook, else to the file itself."""

    def __init__(self, root: Path, pages: Mapping[str, str]) -> None:
        self._root, self._pages = root, pages

    def __contains__(self, path: object) -> bool:
        return path in self._pages or (self._root / str(path)).exists()

    def __getitem__(self, path: str) -> str:
        return self._pages.get(path, path)

    def __iter__(self) -> Iterator[str]:
        return iter(self._pages)

    def __len__(self) -> int:
        return len(self._pages)


class _GitHubMaker(NotebookMaker):
    """Writes a notebook whose pictures are small files, and whose tables GitHub can show."""

    interactive = "> In JupyterLab the notebook shows an interactive view here."

    def html(self, html: str) -> str:
        """Return a cell's HTML; pictures inside it become files."""
        made = _INSIDE.sub(self._to_file, super().html(html))
        return _in_rows(re.sub(r' style="[^"]*"', "", made))  # GitHub shows no styles

    def save(self, name: str, payload: bytes) -> str:
        """Write a picture of at most `WIDEST` pixels and few colours; return its place beside the page."""
        path = self.path.with_suffix("") / name.removeprefix(f"{self.path.stem}-")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(_smaller(payload) if path.suffix == ".png" else payload)
        return path.relative_to(self.path.parent).as_posix()

    def _to_file(self, found: re.Match[str]) -> str:
        payload = base64.b64decode(found["data"])
        ending = {"png": "png", "jpeg": "jpg", "svg+xml": "svg"}[found["kind"]]
        name = f"{self.path.stem}-{hashlib.sha256(payload).hexdigest()[:12]}.{ending}"
        return f'src="{self.save(name, payload)}"'


def _in_rows(html: str) -> str:
    """Return HTML with figures that stand beside each other by their styles in the rows of a table."""
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(html, "html.parser")
    for parent in {id(each.parent): each.parent for each in soup.find_all("figure")}.values():
        figures = parent.find_all("figure", recursive=False)
        table = soup.new_tag("table")
        figures[0].insert_before(table)
        for number, figure in enumerate(figures):
            if number % IN_A_ROW == 0:
                row = soup.new_tag("tr")
                table.append(row)
            figure.name = "td"
            row.append(figure.extract())
        for caption in table.find_all("figcaption"):
            caption.name = "div"
    return str(soup)


def _smaller(payload: bytes) -> bytes:
    """Return a PNG again with fewer pixels and colours, or as it was where that is smaller."""
    from PIL import Image

    made: Any = Image.open(io.BytesIO(payload))
    if made.width > WIDEST:
        made = made.resize((WIDEST, round(made.height * WIDEST / made.width)), Image.Resampling.LANCZOS)
    flat = Image.new("RGB", made.size, "white")
    flat.paste(made, mask=made.convert("RGBA").getchannel("A"))
    target = io.BytesIO()
    flat.quantize(COLOURS, dither=Image.Dither.NONE).save(target, "PNG", optimize=True)
    return min(payload, target.getvalue(), key=len)
