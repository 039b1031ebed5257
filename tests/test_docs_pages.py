"""What docs/site makes of documents, docstrings and executed notebooks."""

from __future__ import annotations

import base64
import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

ROOT = Path(__file__).resolve().parents[1]
PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for name in ("README.md", "docs/guide.md", "docs/a.png", "LICENSE"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


PAGES = {"README.md": "index.md", "docs/guide.md": "guide.md", "docs/a.png": "pictures/a.png"}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("[guide](docs/guide.md#recipes)", "[guide](guide.md#recipes)"),
        ("![alt](docs/a.png)", "![alt](pictures/a.png)"),
        ("[![alt](docs/a.png)](docs/guide.md)", "[![alt](pictures/a.png)](guide.md)"),
        ("[MIT](LICENSE)", "MIT"),
        (
            "[there](https://example.org/docs/guide.md), [here](#top)",
            "[there](https://example.org/docs/guide.md), [here](#top)",
        ),
        ("[x] stands here\n\n[x]: docs/guide.md\n", "[x] stands here\n\n[x]: guide.md\n"),
        ('<img src="docs/a.png" alt="x">', '<img src="pictures/a.png" alt="x">'),
        ("```\n[x](gone.md)\n```", "```\n[x](gone.md)\n```"),
    ],
)
def test_links_lead_to_pages(part: Callable[[str], ModuleType], repository: Path, text: str, wanted: str) -> None:
    assert part("links").relink(text, "README.md", "index.md", PAGES, repository) == wanted


def test_links_count_from_the_document_and_from_its_page(part: Callable[[str], ModuleType], repository: Path) -> None:
    relink = part("links").relink
    assert relink("[up](../README.md)", "docs/guide.md", "deep/guide.md", PAGES, repository) == "[up](../index.md)"


def test_a_link_to_nothing_ends_the_build(part: Callable[[str], ModuleType], repository: Path) -> None:
    with pytest.raises(SystemExit, match=r"README\.md: the link to 'gone\.md' leads nowhere"):
        part("links").relink("[x](gone.md)", "README.md", "index.md", PAGES, repository)


def test_an_entry_of_several_names_becomes_several(part: Callable[[str], ModuleType]) -> None:
    text = "Do it.\n\nArgs:\n    a, b: both,\n        on two lines.\n    c: one.\n\nRaises:\n    E, F: never."
    wanted = (
        "Do it.\n\nArgs:\n    a: both,\n        on two lines.\n    b: both,\n        on two lines.\n    c: one.\n\n"
        "Raises:\n    E, F: never."
    )
    assert part("griffe_names").split_names(text) == wanted
    assert part("griffe_names").split_names("    a, b: no section") == "    a, b: no section"


def written(part: Callable[[str], ModuleType], folder: Path, *cells: Any) -> str:
    module = part("notebook_pages")
    source = folder / "05_x.ipynb"
    nbformat.write(new_notebook(cells=list(cells)), source)
    page = module.NotebookPage(source, "05 · X", source)
    module.write_notebooks([page], folder / "site", {}, folder)
    return (folder / "site" / "notebooks" / "05_x.md").read_text(encoding="utf-8")


def cell(data: dict[str, Any], **metadata: Any) -> Any:
    return new_code_cell("f()", metadata=metadata, outputs=[new_output("display_data", data)])


def test_figures_become_files_with_a_description(part: Callable[[str], ModuleType], tmp_path: Path) -> None:
    heading = new_markdown_cell("# 05 · X\n\nIt shows [x](05_x.ipynb) and **y**.\n\n## Curves")
    (tmp_path / "a").mkdir()
    first = written(part, tmp_path / "a", heading, cell({"image/png": PIXEL, "text/plain": "<Figure>"}))
    assert "[![Figure of the section “Curves”](05_x-01.png)](05_x-01.png)" in first
    assert (tmp_path / "a/site/notebooks/05_x-01.png").read_bytes() == b"\x89PNG\r\n\x1a\n"
    assert "<Figure>" not in first
    index = (tmp_path / "a/site/notebooks/index.md").read_text(encoding="utf-8")
    assert "It shows x and **y**." in index and "![](05_x-01.png)" in index
    assert "![Loss by epoch](" in written(part, tmp_path, cell({"image/png": PIXEL}, alt="Loss by epoch"))


def test_html_of_outputs_is_made_safe(part: Callable[[str], ModuleType], tmp_path: Path) -> None:
    html = "<table class='dataframe'><tr><td onclick='alert(1)'>7</td></tr></table>\n\n<script>alert(2)</script>"
    text = written(part, tmp_path, cell({"text/html": html, "text/plain": "7"}))
    assert '<div class="reidlab-output">' in text and ">7</td>" in text
    assert "alert" not in text and "\n\n<" not in text.partition("<div")[2].partition("</div>")[0]


def test_what_is_printed_is_a_block_and_progress_is_left_out(part: Callable[[str], ModuleType], tmp_path: Path) -> None:
    printed = new_code_cell("g()", outputs=[new_output("stream", text="1 %\r100 %\n```\n\x1b[31mred\x1b[0m\n")])
    bar = cell({"application/vnd.jupyter.widget-view+json": {}, "text/plain": "epoch 1: 0%|   | 0/24"})
    view = cell({"application/vnd.jupyter.widget-view+json": {}, "text/plain": "HBox()"})
    twin = cell({"application/vnd.jupyter.widget-view+json": {}, "text/html": "<b>still</b>", "text/plain": "X()"})
    noise = new_code_cell("h()", outputs=[new_output("stream", name="stderr", text="a warning")])
    text = written(part, tmp_path, printed, bar, view, twin, noise)
    assert "```text\n100 %\n'''\nred\n```" in text
    assert (
        "<b>still</b>" in text
        and text.count("interactive view") == 1
        and "0/24" not in text
        and "a warning" not in text
    )


def test_injected_cells_are_left_out(part: Callable[[str], ModuleType], tmp_path: Path) -> None:
    cells = [
        new_code_cell("seed = 0", metadata={"tags": ["parameters"]}),
        new_code_cell("x = 1", metadata={"tags": ["remove-cell"]}),
    ]
    text = written(part, tmp_path, *cells)
    assert "seed = 0" in text and "x = 1" not in text


def test_notebooks_are_executed_again_where_something_changed(
    part: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    fingerprint = part("execute").fingerprint
    (tmp_path / "reidlab").mkdir()
    for name in ("constraints.txt", "n.ipynb", "reidlab/a.py", "reidlab/b.txt"):
        (tmp_path / name).write_text(name)
    first = fingerprint(tmp_path / "n.ipynb", tmp_path)
    (tmp_path / "reidlab/b.txt").write_text("other")
    assert fingerprint(tmp_path / "n.ipynb", tmp_path) == first
    for name in ("constraints.txt", "n.ipynb", "reidlab/a.py"):
        (tmp_path / name).write_text(f"{name} other")
        second = fingerprint(tmp_path / "n.ipynb", tmp_path)
        assert second != first
        first = second


def test_constants_and_lazy_names_are_found_where_they_are_defined(part: Callable[[str], ModuleType]) -> None:
    import reidlab.data.transforms as transforms
    import reidlab.search as search

    api = part("api")
    assert api._public("search", search).target == "reidlab.search.searching.search"
    assert api._public("TRANSFORMS", transforms).target.endswith(".TRANSFORMS")
    mean = api._public("IMAGENET_MEAN", transforms).target
    module, _, name = mean.rpartition(".")
    assert f"\n{name}" in Path(importlib.import_module(module).__file__ or "").read_text(encoding="utf-8")
