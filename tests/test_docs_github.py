"""The pages of executed notebooks that GitHub shows (docs/site/github_pages.py)."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def pages(part: Callable[[str], ModuleType], tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes the page of a notebook with one cell of each given output."""

    def write(*outputs: dict[str, Any], text: str = "# 05 · X") -> Path:
        module = part("github_pages")
        source = tmp_path / "notebooks" / "05_x.ipynb"
        source.parent.mkdir(exist_ok=True)
        cells = [new_code_cell("f()", outputs=[new_output("display_data", data)]) for data in outputs]
        nbformat.write(new_notebook(cells=[new_markdown_cell(text), *cells]), source)
        page = part("notebook_pages").NotebookPage(source, "05 · X", source)
        return module.write_github_pages([page], tmp_path) / "05_x.md"

    return write


def png(width: int, height: int) -> str:
    target = io.BytesIO()
    Image.effect_noise((width, height), 80).convert("RGB").save(target, "PNG")
    return base64.b64encode(target.getvalue()).decode()


def test_figures_are_small_files_of_the_notebooks_own_folder(pages: Callable[..., Path]) -> None:
    page = pages({"image/png": png(2000, 100)})
    found = re.findall(r"\]\((05_x/01\.png)\)", page.read_text(encoding="utf-8"))
    assert len(found) == 2  # the picture, and its link to itself
    with Image.open(page.parent / found[0]) as image:
        assert image.size == (1400, 70)
    assert "- [05 · X](05_x.md)" in (page.parent / "README.md").read_text(encoding="utf-8")


def test_pictures_within_html_become_files_in_rows(pages: Callable[..., Path]) -> None:
    drawn = [
        f'<figure><img src="data:image/png;base64,{png(4, n + 4)}"><figcaption>{n}</figcaption></figure>'
        for n in range(11)
    ]
    text = pages({"text/html": f"<div style='display:flex'>{''.join(drawn)}</div>"}).read_text(encoding="utf-8")
    assert "data:" not in text and "style=" not in text
    rows = BeautifulSoup(text, "html.parser").find_all("tr")
    assert [len(row.find_all("td")) for row in rows] == [8, 3]
    assert [cell.get_text() for row in rows for cell in row.find_all("td")] == [str(n) for n in range(11)]


def test_links_lead_from_the_page(pages: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "LICENSE").touch()
    text = pages(text="[me](05_x.ipynb), [MIT](../LICENSE)").read_text(encoding="utf-8")
    assert "[me](05_x.md), [MIT](../../LICENSE)" in text
    with pytest.raises(SystemExit, match="leads nowhere"):
        pages(text="[gone](gone.md)")


def test_pages_of_notebooks_that_are_gone_go(pages: Callable[..., Path], tmp_path: Path) -> None:
    left = tmp_path / "docs" / "notebooks" / "04_gone.md"
    left.parent.mkdir(parents=True)
    left.touch()
    pages()
    assert not left.exists()


def test_the_kept_pages_show_the_notebooks_as_they_are() -> None:
    """`make pictures` writes docs/notebooks anew; their code is that of the notebooks, and nothing else is there."""
    kept = {page.stem for page in (ROOT / "docs" / "notebooks").glob("*.md")} - {"README"}
    sources = {path.stem: path for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert kept == set(sources)
    for name, path in sources.items():
        text = (ROOT / "docs" / "notebooks" / f"{name}.md").read_text(encoding="utf-8")
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "code":
                assert f"```python\n{cell.source.rstrip()}\n```" in text, f"{name}: run `make pictures`"
        pictures = set(re.findall(r'(?:\]\(|src=")([^)":]+\.(?:png|jpg|svg))', text))
        assert pictures and all((ROOT / "docs" / "notebooks" / each).is_file() for each in pictures)
