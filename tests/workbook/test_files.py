"""Notebook files that are none, that lack something, that cannot be read or written; types of parameters."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from reidlab.errors import UserError
from reidlab.workbook.annotations import type_of
from reidlab.workbook.cells import headings, parameter_lines, parameter_model
from reidlab.workbook.clean import main as clean
from reidlab.workbook.files import parse_notebook, read_notebook, write_whole

Make = Callable[..., Path]
CODE = {"cell_type": "code", "id": "a", "metadata": {}, "source": "1", "outputs": [], "execution_count": None}


def book(*cells: Any, **changes: Any) -> bytes:
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": list(cells), **changes}).encode()


def without(*names: str, **changes: Any) -> dict[str, Any]:
    return {name: value for name, value in CODE.items() if name not in names} | changes


SHOWN = {"output_type": "display_data", "data": {"text/plain": "x"}}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty"),
        (b"  \n", "the file is empty"),
        (b'{"cells": [', "not appear to be JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[]", "not made as notebooks are"),
        (b"3", "not made as notebooks are"),
        (b"{}", "cells"),
        (b"[" * 5000, "nested too deeply|not appear to be JSON"),  # 3.13 reads on
        (book(metadata={"a": json.loads("[" * 150 + "]" * 150)}), "nested too deeply"),
        (book(nbformat=9), "version 9"),
        (book(nbformat="x"), "version x"),
        (book(nbformat=2), "worksheets"),
        (book(nbformat_minor="x"), "not made as notebooks are"),
        (book(metadata=3), "missing an expected key"),
        (book(3), "not made as notebooks are"),
        (book(without("source")), r"'source' is a required property \(at notebook\['cells'\]\[0\]\)"),
        (book(without("cell_type")), "cell_type|not valid"),
        (book(without(source=3)), r"\['cells'\]\[0\]\['source'\]"),
        (book(without(metadata={"tags": "parameters"})), r"\['tags'\]"),
        (book(without(outputs=[{"output_type": "odd"}])), "not valid"),
        (book(without(outputs=[SHOWN | {"data": {"text/html": 3}}])), "cell 1 has an output of kind 'text/html' that is a int"),
        (book(without(outputs=[SHOWN | {"data": {"image/png": None}}])), "'image/png'"),
    ],
)  # fmt: skip
def test_files_that_are_no_notebooks(content: bytes, words: str) -> None:
    with pytest.raises(UserError, match=f"(?s)^x.ipynb cannot be read.*({words})"):
        parse_notebook(content, "x.ipynb")


def test_what_others_leave_out_is_put_in() -> None:
    made = parse_notebook(book(without("outputs", "execution_count", "id"), without(outputs=[SHOWN])), "x")
    assert made.cells[0].outputs == [] and made.cells[0].id and made.cells[1].outputs[0].metadata == {}
    old = {"nbformat": 3, "nbformat_minor": 0, "metadata": {}}
    cell = {"cell_type": "code", "input": "1", "outputs": [], "language": "python"}
    made = parse_notebook(json.dumps(old | {"worksheets": [{"cells": [cell]}]}).encode(), "x")
    assert made.cells[0].source == "1"
    assert parse_notebook(b"\xef\xbb\xbf" + book(CODE, CODE), "x").cells[1].source == "1"


def test_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "folder.ipynb").mkdir()
    os.mkfifo(tmp_path / "pipe.ipynb")  # reading it would wait for ever
    for name in ("folder", "pipe"):
        with pytest.raises(UserError, match="it is not a file"):
            read_notebook(tmp_path / f"{name}.ipynb")
    with pytest.raises(UserError, match=r"no notebook 'gone\.ipynb'"):
        read_notebook(tmp_path / "gone.ipynb")
    with pytest.raises(UserError, match="Give a shorter name"):
        read_notebook(tmp_path / ("x" * 300 + ".ipynb"))


def test_files_are_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "deep" / "a.txt"
    write_whole(path, "one\r\n")
    assert path.read_bytes() == b"one\r\n"

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(UserError, match=r"No space left on device.*runs gc.*data/cache"):
        write_whole(path, "two")
    assert path.read_bytes() == b"one\r\n" and [p.name for p in path.parent.iterdir()] == ["a.txt"]
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file.* cannot be written"):
        write_whole(tmp_path / "file" / "a.txt", "")


def test_cleaning_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, content in (("a", b""), ("b", book(without("source"))), ("c", b"\xff")):
        path = tmp_path / f"{name}.ipynb"
        path.write_bytes(content)
        assert clean([str(path)]) == 2 and f"{name}.ipynb cannot be read" in capsys.readouterr().err
        assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("annotation", "wanted"),
    [
        ("int", int),
        ("None", None),
        ("int | None", int | None),
        ("list[dict[str, float]]", list[dict[str, float]]),
        ("tuple[int, ...]", tuple[int, ...]),
        ("tuple[int, str]", tuple[int, str]),
        ("Literal['a', -1, True, None]", Literal["a", -1, True, None]),
        ("list[Literal['a'] | int]", list[Literal["a"] | int]),
    ],
)
def test_types(annotation: str, wanted: Any) -> None:
    assert type_of(annotation, "n") == wanted


@pytest.mark.parametrize(
    "annotation",
    [
        "().__class__.__base__.__subclasses__()",
        "().__class__",
        "__import__('os').system('true')",
        "print(1)",
        "'int'",
        "list['int']",
        "int if True else str",
        "lambda: 1",
        "(x := int)",
        "[int for _ in ()]",
        "Path",
        "Literal",
        "Literal[()]",
        "Literal[print]",
        "Literal[1.5]",
        "list[int, int]",
        "dict[list[int], int]",
        "int[str]",
        "f'{1}'",
        "int + str",
        "",
        "1",
        "int |" * 900 + "int",
        "list[" * 300 + "int" + "]" * 300,
        "\x00",
    ],
)
def test_annotations_are_never_evaluated(annotation: str) -> None:
    with pytest.raises(UserError, match=r"Parameter 'n': the annotation .* is not made of str, int, float"):
        type_of(annotation, "n")


ATTACKS = {
    "annotation": "x: [t for t in ().__class__.__base__.__subclasses__() if t.__name__ == 'catch_warnings'][0]()._module.__builtins__['open']({!r}, 'w') = 1",
    "forward": "x: '__import__(\"pathlib\").Path({!r}).touch()' = 1",
    "default": "x: int = __import__('pathlib').Path({!r}).touch()",
    "walrus": "x: (y := open({!r}, 'w')) = 1",
    "literal": "x: Literal[open({!r}, 'w')] = 1",
    "statement": "x: int = 1\nopen({!r}, 'w')",
}


@pytest.mark.parametrize("kind", ATTACKS)
def test_showing_parameters_runs_nothing_of_a_notebook(
    make_notebook: Make, tmp_path: Path, capfd: pytest.CaptureFixture[str], kind: str
) -> None:
    from reidlab.cli import main

    made = tmp_path / "made"
    path = make_notebook("90_x", "1", parameters=ATTACKS[kind].format(str(made)))
    assert main(["run", str(path), "--params"]) == 2
    assert not made.exists() and "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("x = {1, 2}", "is a set"),
        ("x = b'a'", "is a bytes"),
        ("x = 1j", "is a complex"),
        ("x = ...", "is a ellipsis"),
        ("x = {1: 2}", "the name 1 is no text"),
        ("x = {[]: 1}", "unhashable"),
        ("x = 0x" + "f" * 5000, "beyond 64 bits|does not parse"),
        ("x = " + "[" * 60 + "]" * 60, "nested too deeply"),
        ("x = " + "[" * 5000, "does not parse"),
        ("x = '\x00'", "does not parse"),
        ("x = 1 +", "does not parse"),
        ("  x = 1\n y = 2", "does not parse"),
        ("x = " + "-" * 5000 + "1", "does not parse|not a literal"),
    ],
)
def test_defaults_that_no_notebook_could_keep(make_notebook: Make, source: str, words: str) -> None:
    path = make_notebook("90_x", "1", parameters=source)
    with pytest.raises(UserError, match=f"parameters cell.*({words})"):
        parameter_lines(read_notebook(path))


@pytest.mark.parametrize("name", ["_x", "model_config", "from_values", "changed", "notebook"])
def test_names_that_parameters_cannot_have(make_notebook: Make, name: str) -> None:
    path = make_notebook("90_x", "1", parameters=f"{name}: int = 1")
    with pytest.raises(UserError, match=f"cannot be called '{name}'"):
        parameter_model(path, read_notebook(path))


def test_names_of_old_methods_are_allowed(make_notebook: Make) -> None:
    path = make_notebook("90_x", "1", parameters=r"copy: int = 1" + "\n" + r"pattern: str = '\d'")
    assert parameter_model(path, read_notebook(path))().model_dump() == {"copy": 1, "pattern": "\\d"}


def test_headings() -> None:
    assert headings("text\n# A `b` #\n\n####### seven\n## C\n#\n#tag") == ["A b", "C", "tag"]
    assert headings("# a\n### b", 2) == ["a"] and headings("# " + " " * 50_000) == []
