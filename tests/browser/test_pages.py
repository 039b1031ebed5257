"""Report pages in a browser: nothing in them runs, nothing is asked for, names are shown as they are written."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from markupsafe import escape
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image
from probes import FAR, FIRE, PROBES

from reidlab.workbook import Result
from reidlab.workbook.pages.allowed import POLICY
from reidlab.workbook.report import build_report, html_root
from reidlab.workbook.runner import executed_root

HOSTILE = f'<img src=x: onerror="{FIRE}"><script>{FIRE}</script>'
Visiting = Callable[..., Any]


def shown(kind: str, content: str) -> nbformat.NotebookNode:
    return new_code_cell("x", outputs=[new_output("display_data", {kind: content, "text/plain": "plain"})])


def execute(name: str, cells: list[nbformat.NotebookNode], **ours: Any) -> None:
    notebook = new_notebook(cells=cells, metadata={"reidlab": {"status": "done", **ours}})
    path = executed_root() / f"{name}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)


def probe_cells() -> list[nbformat.NotebookNode]:
    """Every probe where notebooks show HTML, and where they show text."""
    cells = [new_markdown_cell("# Probes\n\n## All of them")]
    for text in PROBES.values():
        cells += [shown("text/html", text), new_markdown_cell(text), shown("text/markdown", text)]
        cells += [shown("image/svg+xml", text), shown("text/latex", text)]
        trace = new_output("error", ename=text, evalue=text, traceback=[f"\x1b[31m{text}"])
        cells.append(new_code_cell(text, outputs=[trace, new_output("stream", text=text)]))
    return cells


def bare(folder: Path, name: str, body: str, policy: str = "") -> Path:
    """Write a page without any cleaning: what a probe does by itself."""
    head = f'<meta http-equiv="Content-Security-Policy" content="{policy}">' if policy else ""
    path = folder / f"{name}.html"
    icon = '<link rel="icon" href="data:,">'
    path.write_text(f"<!DOCTYPE html><html><head><meta charset=utf-8>{head}{icon}</head><body>{body}</body></html>")
    return path


def test_no_probe_works_in_a_page(visit: Visiting) -> None:
    execute("90_probes", probe_cells())
    build_report(code=True)
    for dark in (False, True):
        seen = visit(html_root() / "90_probes.html", dark=dark)
        assert seen.quiet, seen.happened()
    assert seen.page.locator("main").count() == 1 and seen.page.locator("footer").is_visible()
    seen = visit(html_root() / "index.html")
    assert seen.quiet, seen.happened()


def test_no_probe_works_without_the_policy_either(visit: Visiting, tmp_path: Path) -> None:
    execute("90_probes", probe_cells())
    build_report(code=True)
    text = (html_root() / "90_probes.html").read_text()
    page = tmp_path / "x.html"
    page.write_text(text.replace(str(escape(POLICY)), "default-src * 'unsafe-inline' 'unsafe-eval' data:"))
    assert str(escape(POLICY)) in text and str(escape(POLICY)) not in page.read_text()
    seen = visit(page)
    assert seen.quiet, seen.happened()


@pytest.mark.slow
def test_the_probes_are_live_and_the_policy_alone_stops_their_scripts(visit: Visiting, tmp_path: Path) -> None:
    """The detectors detect; and should something get past the list, the browser still runs nothing."""
    away = {"meta_refresh", "meta_refresh_data"}  # no policy in a page stops a page from going away
    seen = kept = None
    live = []
    for name, text in PROBES.items():
        seen = visit(bare(tmp_path, name, text), on=seen)
        if seen.fired or seen.requests or seen.dialogs:
            live.append(name)
            kept = visit(bare(tmp_path, f"kept_{name}", text, POLICY), on=kept)
            assert not kept.fired and not kept.dialogs, name
            assert not kept.requests or name in away, (name, kept.requests)
            kept = None if name in away else kept  # it may go late
    assert len(PROBES) >= 54 and len(live) >= 54, sorted(set(PROBES) - set(live))


def test_names_are_shown_as_they_are_written(visit: Visiting) -> None:
    """Names with HTML: of a file, a title, parameters, figures' descriptions, key figures, failures, tables."""
    import pandas as pd

    table = pd.DataFrame({"pid": [HOSTILE], HOSTILE: ["a"]}, index=[HOSTILE])
    picture = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGP4z8DwHwAFAAH/iZk9HQAAAABJRU5ErkJggg=="
    figure = new_output("display_data", {"image/png": picture}, metadata={"image/png": {"alt": HOSTILE}})
    result = new_output("execute_result", Result({HOSTILE: 0.5, "b": HOSTILE}, note=HOSTILE)._repr_mimebundle_())
    cells = [
        new_markdown_cell(f"# Title `{HOSTILE}`\n\n## Section `{HOSTILE}`"),
        shown("text/html", table.to_html()),
        new_code_cell("f", outputs=[figure], metadata={"alt": HOSTILE, "tags": ["key-figure"]}),
        new_code_cell("r", outputs=[result]),
    ]
    name = "90_<b onclick=fired(1)>$x$ & '\"#%3f"
    failure = {"error": HOSTILE, "message": HOSTILE}
    values = {"dataset": HOSTILE, HOSTILE: HOSTILE}
    execute(name, cells, status=HOSTILE, failure=failure, parameters=values, changed=values, versions={"x": HOSTILE})
    index = build_report()
    seen = visit(html_root() / f"{name}.html")
    assert seen.quiet, seen.happened()
    text = seen.page.inner_text("body")
    assert text.count(HOSTILE) >= 12, "title, status, facts, failure, parameters, sections, table, key figures"
    assert seen.page.locator("img[alt]").evaluate_all("all => all.map(e => e.alt)") == [HOSTILE]
    front = visit(index)
    assert front.quiet, front.happened()
    assert front.page.inner_text(".card").count(HOSTILE) >= 5
    front.page.click(".card h2 a")
    front.settle()
    assert "Section" in front.page.inner_text("main") and front.quiet, front.happened()


def test_what_outputs_need_is_kept(visit: Visiting) -> None:
    """Tables with their colours, drawings as pictures, formulas, coloured text, links."""
    import pandas as pd

    styled = pd.DataFrame({"a": [0.0, 1.0], "b": [1, 2]}).style.background_gradient(cmap="Greens", subset=["a"])
    styled = styled.bar(color="#d65f5f", subset=["b"]).to_html()
    drawing = '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="20"><rect width="40" height="20" fill="#00f"/></svg>'
    cells = [
        shown("text/html", styled),
        shown("image/svg+xml", drawing),
        shown("text/html", f"<p style='color: rgb(1, 2, 3)'>in <b>HTML</b> {drawing.replace(' xmlns', ' data-x')}</p>"),
        new_markdown_cell("a formula $x^2$, [a link](https://example.org/a?b=c#d), [beside](91_other.html)"),
        new_code_cell("s", outputs=[new_output("stream", text="\x1b[38;5;208morange\x1b[0m")]),
        shown("text/html", "<style>body {display: none} .pages {color: red}</style><p>styles stay where they are</p>"),
    ]
    execute("90_kept", cells)
    build_report()
    seen = visit(html_root() / "90_kept.html")
    assert seen.quiet, seen.happened()
    page = seen.page
    ground = "e => getComputedStyle(e).backgroundColor"
    assert page.locator("td").nth(2).evaluate(ground) == "rgb(0, 68, 27)", "the darkest of matplotlib's Greens"
    assert "linear-gradient" in page.locator("td").nth(3).evaluate("e => getComputedStyle(e).backgroundImage")
    wide = page.locator("main img").evaluate_all("all => all.map(e => [e.complete, e.naturalWidth])")
    assert wide[0] == [True, 40] and wide[1] == [True, 40] and all(done and width for done, width in wide)
    assert page.locator("p", has_text="in HTML").first.evaluate("e => getComputedStyle(e).color") == "rgb(1, 2, 3)"
    assert page.locator("main a").evaluate_all("all => all.map(e => e.getAttribute('href'))") == [
        "https://example.org/a?b=c#d",
        "91_other.html",
    ]
    colour = page.locator("span", has_text="orange").last.evaluate("e => getComputedStyle(e).color")
    assert colour == "rgb(255, 135, 0)"
    assert page.locator("body").is_visible() and page.locator("nav a").first.is_visible()


def test_a_figure_enlarges_without_a_script(visit: Visiting) -> None:
    """On a narrow screen a click shows it at its own size, and another link fits it to the page again."""
    target = io.BytesIO()
    Image.new("RGB", (900, 300), "navy").save(target, "PNG")
    execute("90_wide", [shown("image/png", base64.b64encode(target.getvalue()).decode())])
    build_report()
    seen = visit(html_root() / "90_wide.html")
    seen.page.set_viewport_size({"width": 400, "height": 800})
    picture, back = seen.page.locator("main img"), seen.page.locator("a.back")
    assert picture.bounding_box()["width"] < 400 and not back.is_visible()
    picture.click()
    assert picture.bounding_box()["width"] > 900 and seen.page.evaluate("document.body.scrollWidth") <= 400
    back.click()
    assert picture.bounding_box()["width"] < 400 and seen.quiet, seen.happened()


def test_the_policy_stands_first_in_the_head() -> None:
    execute("90_x", [new_markdown_cell("text")])
    for path in (build_report(), html_root() / "90_x.html"):
        text = path.read_text()
        head = text[: text.index("</head>")]
        assert re.search(r'<meta charset="utf-8">\s*<meta http-equiv="Content-Security-Policy"', head)
        assert "script-src" not in POLICY and POLICY.startswith("default-src 'none'") and FAR not in text
