"""What pages hold: the lists, styles, drawings, pictures beside a notebook, odd metadata."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from hypothesis import given, settings
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from reidlab.errors import UserError
from reidlab.workbook.files import parse_notebook
from reidlab.workbook.pages.content import content_of
from reidlab.workbook.pages.formulas import draw_formulas
from reidlab.workbook.pages.safe_css import clean_declarations, clean_sheet, clean_value
from reidlab.workbook.pages.safe_html import clean_html, note_losses, pictures_for_drawings
from reidlab.workbook.pages.safe_svg import as_picture, clean_picture, clean_svg

GIF = "data:image/gif;base64,R0lGODlhAQABAAAAACw="
XLINK = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("<p onclick='x()' class=a>t</p>", '<p class="a">t</p>'),
        ("<script>x</script><style>p{}</style><math>m</math>t", "t"),
        ("<main><section>kept</section></main>", "kept"),
        ("<a href='javascript:x()'>a</a>", '<a rel="noopener noreferrer">a</a>'),
        ("<a href='//host/share'>a</a>", '<a rel="noopener noreferrer">a</a>'),
        ("<a href='#b'>a</a>", '<a href="#b" rel="noopener noreferrer">a</a>'),
        ("<a href='https://x.org/?a=1&b'>a</a>", '<a href="https://x.org/?a=1&amp;b" rel="noopener noreferrer">a</a>'),
        (f"<img src='{GIF}' onerror=x>", f'<img src="{GIF}">'),
        ("<img src='https://x.org/a.png'>", "<img>"),
        ("<img src='data:text/html;base64,AAAA'>", "<img>"),
        ("<p style='position: fixed; color: red'>t", '<p style="color: red">t</p>'),
        ("</article></main>a", "a"),
        ("<td colspan=2 background=x>t</td>", "t"),
        ("<table border=1><tr><td align=right>t", '<table border="1"><tbody><tr><td align="right">t</td></tr></tbody></table>'),
    ],
)  # fmt: skip
def test_html(given: str, wanted: str) -> None:
    assert clean_html(given) == wanted


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("color: red; WIDTH: 10em !important", "color: red; width: 10em !important"),
        ("background: linear-gradient(90deg, #d65f5f 50.0%, transparent 50.0%)", "background: linear-gradient(90deg, #d65f5f 50.0%, transparent 50.0%)"),
        ("background: url(//x)", ""),
        (r"background: \75rl(//x); color: rgb(1, 2, 3)", "color: rgb(1, 2, 3)"),
        ("background-image: image-set('https://x' 1x)", ""),
        ("--a: url(x); color: var(--a)", ""),
        ("position: fixed; behavior: url(x); cursor: url(x), auto; content: 'x'", ""),
        ("font-family: 'a</style>b'", ""),
        ("color: red; & b {color: blue}", "color: red"),
        ("color: " + "calc(" * 50 + "1" + ")" * 50, ""),
        ("", ""),
    ],
)  # fmt: skip
def test_declarations(given: str, wanted: str) -> None:
    assert clean_declarations(given) == wanted


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("#T_a, .b > td:nth-child(2) {color: red}", "main #T_a, main .b > td:nth-child(2) {color: red}"),
        ("@import 'x'; @font-face {src: url(x)} @media all {p {color: red}} p {color: red}", "main p {color: red}"),
        ("body {display: none}", "main body {display: none}"),
        (".a[b=\"</style>\"] {color: red}", ""),
        ("p {background: url(x)}", ""),
        ("p {color: red", "main p {color: red}"),
        ("a{}</style><script>", ""),
    ],
)  # fmt: skip
def test_sheets_reach_the_cells_alone(given: str, wanted: str) -> None:
    assert clean_sheet(given, "main") == wanted


def test_parts_of_a_drawing_are_named_by_it_alone() -> None:
    assert clean_value("url(#a)", drawing=True) == "url(#a)" and clean_value("url(#a)") is None
    assert (
        clean_value("url(https://x#a)", drawing=True) is None
        and clean_sheet("* {fill: url(#a)}") == "* {fill: url(#a)}"
    )


@pytest.mark.parametrize(
    ("inside", "wanted"),
    [
        ('<rect width="4" fill="#00f" onclick="x()"/>', '<rect width="4" fill="#00f" />'),
        ("<script>x</script><foreignObject><p>t</p></foreignObject><set attributeName='href'/>", ""),
        ('<use xlink:href="#a"/><use href="https://x/b.svg#a"/>', '<use href="#a" /><use />'),
        ('<a xlink:href="javascript:x"><path d="M 0 1"/></a>', '<g><path d="M 0 1" /></g>'),
        (f'<image xlink:href="{GIF}" width="1"/>', f'<image href="{GIF}" width="1" />'),
        ('<image href="https://x/a.png"/>', "<image />"),
        ('<image href="data:image/svg+xml;base64,AAAA"/>', "<image />"),
        ('<g style="fill: url(https://x); stroke: red" clip-path="url(#c)"/>', '<g style="stroke: red" clip-path="url(#c)" />'),
        ("<style>@import 'x'; * {fill: none}</style>", "<style>* {fill: none}</style>"),
        ('<text font-size="9">a &lt;b&gt;</text>', '<text font-size="9">a &lt;b&gt;</text>'),
    ],
)  # fmt: skip
def test_drawings(inside: str, wanted: str) -> None:
    made = clean_svg(f"<?xml version='1.0'?><!DOCTYPE svg><svg {XLINK}>{inside}</svg>")
    assert made is not None
    assert re.sub(r"^<svg[^>]*?(?: /)?>|</svg>$", "", made) == wanted


@pytest.mark.parametrize(
    "text", ["", "no", "<p/>", "<svg><p></svg>", "<!DOCTYPE s [<!ENTITY a 'b'>]><svg>&a;</svg>", "\x00"]
)
def test_what_is_no_drawing(text: str) -> None:
    assert clean_svg(text) is None and clean_picture(as_picture(text)) is None


def test_drawings_in_html_become_pictures() -> None:
    made = pictures_for_drawings("<b>a</b><svg width='4'><use xlink:href='#b'/></svg> <svg><br></svg>")
    (picture,) = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', made)
    assert b'<svg width="4"' in base64.b64decode(picture) and b'<use href="#b" />' in base64.b64decode(picture)
    assert made.endswith("<svg><br></svg>") and "svg" not in clean_html(made).replace("svg+xml", "")


def test_only_pictures_beside_a_notebook_become_part_of_its_page(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    (folder / "deep").mkdir(parents=True)
    data = base64.b64decode(GIF.partition(",")[2])
    for path in (folder / "in.gif", folder / "deep" / "in.gif", tmp_path / "out.gif", folder / "in.txt"):
        path.write_bytes(data)
    (folder / "link.gif").symlink_to(tmp_path / "out.gif")
    names = ["in.gif", "deep/in.gif", "../out.gif", str(tmp_path / "out.gif"), "link.gif", "in.txt", "/dev/zero"]
    names += ["gone.gif", "x" * 5000 + ".gif", "a\x00.gif", "https://x.org/a.gif", "deep.gif/.."]
    soup = BeautifulSoup("".join(f"<img src='{name}'>" for name in names), "html.parser")
    note_losses(soup, folder)
    assert [tag["src"] for tag in soup.find_all("img")] == [GIF, GIF]
    assert str(soup).count("[not part of the page: ") == len(names) - 2


def page_of_cells(*cells: nbformat.NotebookNode, code: bool = False) -> str:
    return content_of(new_notebook(cells=list(cells)), Path("x.ipynb"), code).html


def test_losses_are_said() -> None:
    made = page_of_cells(
        new_markdown_cell("<iframe src='https://x.org/f'></iframe><video></video>\n\n- [x] done\n- [ ] not")
    )
    assert "[not part of the page: https://x.org/f]" in made and "[not part of the page: &lt;video&gt;]" in made
    assert "☑ done" in made and "☐ not" in made


def test_isolated_html_gets_no_frame() -> None:
    output = new_output("display_data", {"text/html": "<b>bold</b>"}, metadata={"text/html": {"isolated": True}})
    assert "<b>bold</b>" in page_of_cells(new_code_cell("x", outputs=[output]))


@pytest.mark.parametrize("tex", ["x" * 1001, "{" * 13 + "x" + "}" * 13, "\\张{", "\\frac{" * 10, "张"])
def test_formulas_that_are_not_drawn_stay_text(tex: str) -> None:
    soup = BeautifulSoup("<p></p>", "html.parser")
    soup.p.string = f"${tex}$"
    draw_formulas(soup)
    assert soup.p.string == f"${tex}$"


@settings(max_examples=40, deadline=None)
@given(st.text(alphabet="<>&\"'=/ abimgscriptonload#:;{}()@\\\x00", max_size=80))
def test_cleaned_html_stays_as_it_is(text: str) -> None:
    once = clean_html(text)
    assert clean_html(once) == once


def test_notebooks_that_cannot_be_shown_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import nbconvert

    def fail(*_: object, **__: object) -> None:
        raise ValueError("no such filter")

    monkeypatch.setattr(nbconvert.HTMLExporter, "from_notebook_node", fail)
    with pytest.raises(UserError, match=r"x\.ipynb cannot be shown as a page \(ValueError: no such filter\)"):
        page_of_cells()


def test_halves_of_characters_become_signs() -> None:
    made = parse_notebook(rb'{"nbformat": 4, "nbformat_minor": 5, "metadata": {"a\ud800": "\udfff"}, "cells": []}', "x")
    assert dict(made.metadata) == {"a\ufffd": "\ufffd"}
