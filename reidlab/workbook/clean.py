"""Cleaning notebooks for git: `python -m reidlab.workbook.clean [--check] [notebook ...]`, or by git (`--filter`).

Kept are sources, tags and alternative texts; outputs only on cells tagged `nbval-check-output`, with execution
counts, since nbval compares only cells that have one. Everything else (widget states, papermill's paths and
times, the kernel's version, injected cells, empty cells) goes. Cell ids come from the first line of the source.
In the workbook's own notebooks the data parameters are written as `params.DataParams` declares them.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from reidlab.errors import UserError
from reidlab.workbook.cells import list_notebooks, tags_of
from reidlab.workbook.data_lines import shares_data_lines, with_data_lines
from reidlab.workbook.files import parse_notebook, read_content, write_whole

__all__ = ["clean", "clean_text", "main"]

KEPT_TAG = "nbval-check-output"
MADE_TAGS = {"injected-parameters", "papermill-error-cell-tag"}
CELL_METADATA = ("tags", "alt")
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def clean(notebook: NotebookNode) -> NotebookNode:
    """Return a cleaned copy; cleaning it again changes nothing."""
    cells, names, count = [], set[str](), 0
    for cell in notebook.cells:
        tags = list(dict.fromkeys(tags_of(cell)))
        if not cell.source.strip() or MADE_TAGS & set(tags):
            continue
        fresh = NotebookNode(cell_type=cell.cell_type, source=cell.source.rstrip())
        fresh.id = _identifier(cell.source, names)
        fresh.metadata = NotebookNode({k: cell.metadata[k] for k in CELL_METADATA if cell.metadata.get(k)})
        if tags:
            fresh.metadata.tags = tags
        if cell.get("attachments"):
            fresh.attachments = cell.attachments
        if cell.cell_type == "code":
            count += 1
            kept = KEPT_TAG in tags and bool(cell.outputs)
            fresh.outputs = [_clean_output(output, count) for output in cell.outputs] if kept else []
            fresh.execution_count = count if kept else None
        cells.append(fresh)
    return NotebookNode(nbformat=4, nbformat_minor=5, metadata=nbformat.from_dict(METADATA), cells=cells)


def clean_text(text: str | bytes, name: str = "the notebook") -> str:
    """Clean the text of a notebook file.

    Raises:
        UserError: it holds no notebook; `name` names it.
    """
    content = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return _written(clean(parse_notebook(content, name)))


def _cleaned(path: Path, content: bytes) -> str:
    notebook = parse_notebook(content, path.name)
    return _written(clean(with_data_lines(notebook) if shares_data_lines(path) else notebook))


def _written(notebook: NotebookNode) -> str:
    return nbformat.writes(notebook, indent=1, ensure_ascii=False).rstrip("\n") + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Clean the given notebooks, all of the workbook's by default; with --check only name the dirty ones."""
    parser = argparse.ArgumentParser(prog="python -m reidlab.workbook.clean", description=main.__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when a notebook is dirty")
    parser.add_argument("notebooks", nargs="*", type=Path)
    parser.add_argument("--filter", action="store_true", help="clean stdin to stdout, as a filter of git")
    given = parser.parse_args(arguments)
    if given.filter:
        return _filter()
    dirty = []
    for path in given.notebooks or list_notebooks():
        try:
            before = read_content(path)
            after = _cleaned(path, before)
            if before.replace(b"\r\n", b"\n") != after.encode():
                dirty.append(path)
                if not given.check:
                    write_whole(path, after)
        except UserError as error:
            print(error, file=sys.stderr)
            return 2
    for path in dirty:
        print(f"{path.name}: {'needs cleaning (make notebooks-clean)' if given.check else 'cleaned'}")
    return 1 if given.check and dirty else 0


def _filter() -> int:
    """Clean stdin to stdout; anything but a notebook (as in the middle of a merge) passes unchanged."""
    content = sys.stdin.buffer.read()
    try:
        cleaned = clean_text(content).encode()
    except UserError:
        cleaned = content
    sys.stdout.buffer.write(cleaned)
    return 0


def _clean_output(output: NotebookNode, count: int) -> NotebookNode:
    fresh = NotebookNode({k: v for k, v in output.items() if k not in ("metadata", "execution_count")})
    if output.output_type in ("execute_result", "display_data"):
        fresh.metadata = NotebookNode()
    if output.output_type == "execute_result":
        fresh.execution_count = count
    return fresh


def _identifier(source: str, taken: set[str]) -> str:
    """Make an id of the first line with words, so that it stays when other cells come and go."""
    slugs = (re.sub(r"[^a-z0-9]+", "-", line.lower()).strip("-")[:40].strip("-") for line in source.splitlines())
    base = next((slug for slug in slugs if slug), "cell")
    name, number = base, 1
    while name in taken:
        number += 1
        name = f"{base}-{number}"
    taken.add(name)
    return name


if __name__ == "__main__":
    sys.exit(main())
