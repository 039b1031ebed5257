from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from reidlab.workbook.clean import clean, clean_text, main


def dirty() -> nbformat.NotebookNode:
    stream = new_output("stream", text="hello\n")
    shown = new_output("execute_result", {"text/plain": "1"}, execution_count=9, metadata={"x": 1})
    cells = [
        new_markdown_cell("# Title\n\ntext\n\n", metadata={"collapsed": True}),
        new_code_cell("a = 1", metadata={"tags": ["parameters"], "papermill": {"x": 1}}),
        new_code_cell("a = 2", metadata={"tags": ["injected-parameters"]}),
        new_code_cell("print('hello')", outputs=[stream], execution_count=7),
        new_code_cell(
            "print('hello')\na", outputs=[stream, shown], execution_count=9, metadata={"tags": ["nbval-check-output"]}
        ),
        new_code_cell("fig", metadata={"alt": "A curve", "scrolled": True}),
        new_markdown_cell("error here", metadata={"tags": ["papermill-error-cell-tag"]}),
        new_code_cell("  \n"),
    ]
    kernel = {"name": "my-env", "display_name": "Mine", "language": "python"}
    return new_notebook(
        cells=cells, metadata={"kernelspec": kernel, "widgets": {"x": 1}, "papermill": {"input_path": "/x"}}
    )


def test_only_what_matters_is_kept() -> None:
    notebook = clean(dirty())
    nbformat.validate(notebook)
    assert set(notebook.metadata) == {"kernelspec", "language_info"} and notebook.metadata.kernelspec.name == "python3"
    assert [c.id for c in notebook.cells] == ["title", "a-1", "print-hello", "print-hello-2", "fig"]
    assert [c.metadata for c in notebook.cells] == [
        {},
        {"tags": ["parameters"]},
        {},
        {"tags": ["nbval-check-output"]},
        {"alt": "A curve"},
    ]
    assert [c.get("execution_count") for c in notebook.cells] == [None, None, None, 3, None]
    assert [len(c.get("outputs", [])) for c in notebook.cells] == [0, 0, 0, 2, 0]
    assert notebook.cells[3].outputs[1] == {
        "output_type": "execute_result", "data": {"text/plain": "1"}, "metadata": {}, "execution_count": 3,
    }  # fmt: skip
    assert notebook.cells[0].source == "# Title\n\ntext"


def test_the_original_is_left_alone_and_cleaning_twice_changes_nothing() -> None:
    notebook = dirty()
    before = nbformat.writes(notebook)
    clean(notebook)
    assert nbformat.writes(notebook) == before
    once = clean_text(before)
    assert clean_text(once) == once and once.endswith("}\n")


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.text(st.characters(codec="utf-8"), max_size=60)), max_size=5))
def test_cleaning_is_idempotent_for_any_source(cells: list[tuple[bool, str]]) -> None:
    made = [new_code_cell(text) if code else new_markdown_cell(text) for code, text in cells]
    once = clean_text(nbformat.writes(new_notebook(cells=made)))
    assert clean_text(once) == once
    nbformat.validate(nbformat.reads(once, as_version=4))


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.ipynb"
    nbformat.write(dirty(), path)
    text = path.read_text()
    assert main(["--check", str(path)]) == 1 and path.read_text() == text
    assert "make notebooks-clean" in capsys.readouterr().out
    assert main([str(path)]) == 0 and path.read_text() != text
    assert main(["--check", str(path)]) == 0
    path.write_text("{")
    assert main([str(path)]) == 2 and "cannot be read" in capsys.readouterr().err
