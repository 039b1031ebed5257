"""Notebooks of any kind end in a page that holds what the lists allow, or in a UserError."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import tempfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import nbformat
import pytest
from fuzz_cases import ends_well, fuzz, junk, junk_text
from hypothesis import example, given
from hypothesis import strategies as st
from page_check import check_page

from reidlab import cli
from reidlab.errors import UserError
from reidlab.workbook import cells as reading
from reidlab.workbook.clean import main as clean
from reidlab.workbook.files import read_notebook
from reidlab.workbook.pages.allowed import PROPERTIES, SVG_ATTRIBUTES, SVG_TAGS
from reidlab.workbook.pages.safe_css import clean_declarations, clean_sheet
from reidlab.workbook.pages.safe_html import clean_html
from reidlab.workbook.pages.safe_svg import clean_svg
from reidlab.workbook.report import html_root, write_pages
from reidlab.workbook.runner import executed_root

PIECES = [
    "<", ">", "</", "/>", "<!--", "-->", "<![CDATA[", "]]>", "'", '"', "`", "=", " ", "\n", "\x00", "&#0;", "&colon;",
    "<img src=x onerror=fired()>", "<script>fired()</script>", "<style>", "</style>", "@import '//x';", "url(//x)",
    r"\75rl(//x)", "<svg>", "</svg>", "<math>", "</math>", "<a href=javascript:fired()>", "<iframe srcdoc=", "<table>",
    "<td>", "<template>", "<textarea>", "</textarea>", "<title>", "</title>", "<noscript>", "<plaintext>", "<xmp>",
    "<foreignObject>", "<use xlink:href='//x'/>", "<image href='//x'/>", "<set attributeName=href to=javascript:x />",
    " style='background:url(//x)'", " onclick=fired()", " src=//x", " href=//x", "data:image/svg+xml;base64,", "AAAA",
    "{color: red}", ".a", "# heading\n", "$x^2$", "$\\frac{", "$$", "| a | b |\n|---|---|\n", "```\n", "[a](javascript:x)",
    "![a](//x/y.png)", "![a](/dev/zero)", "\x1b[31m", "\x1b[38;5;999m", "\x1b[", "\ud800", "\u202e", "💥", "{{ 7*7 }}",
    "{% raw %}", "a" * 2000, "</article></main></body></html>",
]  # fmt: skip


def markup() -> st.SearchStrategy[str]:
    """Return text made of what breaks parsers."""
    pieces = st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=12).map("".join)
    return st.one_of(pieces, junk_text())


def mimetypes() -> st.SearchStrategy[str]:
    known = ["text/html", "image/svg+xml", "text/markdown", "text/latex", "text/plain", "image/png", "image/jpeg"]
    known += ["application/javascript", "application/json", "application/vnd.jupyter.widget-view+json", "video/mp4"]
    known += ["application/vnd.reidlab.result+json", "application/pdf", "application/geo+json", "image/gif"]
    return st.sampled_from(known) | st.text(max_size=12)


def plain() -> st.SearchStrategy[Any]:
    """Return what JSON can hold."""
    single = st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | markup()
    return st.recursive(
        single,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(markup(), inner, max_size=3),
        max_leaves=6,
    )


def outputs() -> st.SearchStrategy[dict[str, Any]]:
    bundle = st.dictionaries(mimetypes(), markup() | plain(), max_size=3)
    return st.one_of(
        st.fixed_dictionaries({"output_type": st.just("display_data"), "data": bundle, "metadata": st.just({})}),
        st.fixed_dictionaries(
            {"output_type": st.just("display_data"), "data": bundle, "metadata": st.dictionaries(mimetypes(), plain(), max_size=2)}
        ),
        st.fixed_dictionaries({"output_type": st.just("stream"), "name": st.sampled_from(["stdout", "stderr"]), "text": markup()}),
        st.fixed_dictionaries(
            {"output_type": st.just("error"), "ename": markup(), "evalue": markup(), "traceback": st.lists(markup(), max_size=3)}
        ),
    )  # fmt: skip


def cells() -> st.SearchStrategy[dict[str, Any]]:
    tags = st.lists(
        st.sampled_from(["parameters", "key-figure", "remove-cell", "interactive-only", "x"]), max_size=2, unique=True
    )
    metadata = st.fixed_dictionaries({}, optional={"tags": tags, "alt": markup(), "papermill": plain()})
    return st.one_of(
        st.fixed_dictionaries({"cell_type": st.sampled_from(["markdown", "raw"]), "metadata": metadata, "source": markup()}),
        st.fixed_dictionaries(
            {
                "cell_type": st.just("code"),
                "metadata": metadata,
                "source": markup(),
                "outputs": st.lists(outputs(), max_size=3),
                "execution_count": st.none() | st.integers(0, 3),
            }
        ),
    )  # fmt: skip


def notebooks() -> st.SearchStrategy[dict[str, Any]]:
    """Return notebooks as programs write them, with anything in them."""
    facts = st.dictionaries(
        st.sampled_from(
            ["status", "seconds", "date", "failure", "git", "versions", "machine", "parameters", "changed"]
        ),
        plain(),
        max_size=4,
    )
    metadata = st.fixed_dictionaries({"papermill": plain()}, optional={"reidlab": facts, "widgets": plain()})
    return st.fixed_dictionaries(
        {
            "nbformat": st.just(4),
            "nbformat_minor": st.sampled_from([0, 4, 5]),
            "metadata": metadata,
            "cells": st.lists(cells(), max_size=4),
        }
    )


@st.composite
def mutants(draw: st.DrawFn) -> bytes:
    """Return notebook files with something missing, something else, or half of the file."""
    book = copy.deepcopy(draw(notebooks()))
    for _ in range(draw(st.integers(0, 2))):
        place: Any = book
        while isinstance(place, (dict, list)) and place:
            key = (
                draw(st.sampled_from(sorted(place)))
                if isinstance(place, dict)
                else draw(st.integers(0, len(place) - 1))
            )
            if draw(st.booleans()) or not isinstance(place[key], (dict, list)):
                if draw(st.booleans()):
                    del place[key]
                else:
                    place[key] = draw(plain())
                break
            place = place[key]
    content = json.dumps(book).encode()
    if draw(st.integers(0, 3)) == 0:
        content = content[: draw(st.integers(0, len(content)))] + draw(st.binary(max_size=4))
    return content


def pages_of(content: bytes, code: bool) -> None:
    """Write the bytes as an executed notebook, make its page and look at it."""
    for folder in (executed_root(), html_root()):
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.iterdir():
            left.unlink()
    (executed_root() / "90_x.ipynb").write_bytes(content)
    if not isinstance(ends_well(lambda: write_pages(code=code)), UserError):
        for path in html_root().iterdir():
            check_page(path)


@fuzz(60)
@given(notebooks(), st.booleans())
def test_any_outputs(book: dict[str, Any], code: bool) -> None:
    pages_of(json.dumps(book).encode(), code)


@fuzz(30)
@given(mutants(), st.booleans())
@example(b"", False)
@example(b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{}]}', True)
def test_any_file(content: bytes, code: bool) -> None:
    pages_of(content, code)


@fuzz(30)
@given(mutants())
def test_any_file_is_read_cleaned_and_shown(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()) as said:
        path = Path(folder) / "x.ipynb"
        path.write_bytes(content)
        book = ends_well(lambda: read_notebook(path))
        if not isinstance(book, UserError):
            ends_well(lambda: (reading.title_of(book), reading.result_of(book)))
            ends_well(lambda: reading.parameter_model(path, book))
        with contextlib.redirect_stdout(io.StringIO()):
            assert cli.main(["run", str(path), "--params"]) in (0, 2)
            assert clean([str(path)]) in (0, 2)
        assert "Traceback" not in said.getvalue()
        if not isinstance(book, UserError):
            once = path.read_bytes()
            nbformat.validate(read_notebook(path))
            assert clean([str(path)]) == 0 and path.read_bytes() == once


def expressions() -> st.SearchStrategy[str]:
    words = [
        "int",
        "str",
        "None",
        "Literal",
        "list",
        "dict",
        "tuple",
        "[",
        "]",
        "(",
        ")",
        ",",
        "|",
        "'a'",
        "1",
        ".",
        "...",
        "x",
    ]
    words += [
        "open",
        "=",
        ":",
        "#",
        "\n",
        "-",
        "{",
        "}",
        "lambda: 0",
        "\\",
        "\x00",
        "9" * 5000,
        "1e999",
        "0x" + "f" * 5000,
    ]
    return st.lists(st.sampled_from(words) | st.text(max_size=3), max_size=10).map(" ".join)


@fuzz(150)
@given(
    st.lists(st.tuples(st.text(max_size=6) | st.just("n"), expressions(), expressions()), max_size=3) | expressions()
)
@example([("n", "int", "1" + "+1" * 5000)])
def test_any_parameters(lines: Any) -> None:
    source = lines if isinstance(lines, str) else "\n".join(f"{n}: {kind} = {value}" for n, kind, value in lines)
    cell = nbformat.v4.new_code_cell(source, metadata={"tags": ["parameters"]})
    book = nbformat.v4.new_notebook(cells=[cell])
    model = ends_well(lambda: reading.parameter_model(Path("90_x.ipynb"), book))
    if not isinstance(model, UserError):
        made = ends_well(lambda: model.from_values({}))
        if not isinstance(made, UserError):
            json.dumps(made.model_dump())


@fuzz(200)
@given(markup())
def test_any_html_style_and_drawing(text: str) -> None:
    text = text.encode("utf-8", "replace").decode()
    once = ends_well(lambda: clean_html(text))
    assert clean_html(once) == once
    for how in ({}, {"drawing": True}):
        declarations = clean_declarations(text, **how)
        assert clean_declarations(declarations, **how) == declarations
    sheet = ends_well(lambda: clean_sheet(text, "main"))
    assert "<" not in sheet and "@" not in sheet
    assert all(line.startswith("main ") for line in sheet.splitlines())
    made = ends_well(lambda: clean_svg(f"<svg xmlns='http://www.w3.org/2000/svg'>{text}</svg>"))
    for element in ElementTree.fromstring(made).iter() if made else ():
        assert element.tag.rpartition("}")[2] in SVG_TAGS
        for name, value in element.attrib.items():
            assert name in SVG_ATTRIBUTES | PROPERTIES | {"style", "href"}
            assert name != "href" or value.startswith(("#", "data:image/"))
            assert "url(" not in value.lower().replace("url(#", "")


@fuzz(40)
@given(junk())
def test_any_name_of_a_notebook(given: Any) -> None:
    from reidlab.workbook.report import find_executed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reidlab.workbook.report._every", lambda: [Path("03_x.ipynb")])
        ends_well(lambda: find_executed([str(given)]))
        ends_well(lambda: reading.find_notebook(str(given)))
