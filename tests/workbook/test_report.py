from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from reidlab.errors import UserError
from reidlab.workbook import Result
from reidlab.workbook.report import build_report, find_executed, html_root
from reidlab.workbook.runner import executed_root


def picture(colour: str = "red", size: tuple[int, int] = (900, 500)) -> str:
    target = io.BytesIO()
    Image.new("RGBA", size, colour).save(target, "PNG")
    return base64.b64encode(target.getvalue()).decode()


def shown(kind: str, content: Any, **metadata: Any) -> nbformat.NotebookNode:
    return new_output("display_data", {kind: content, "text/plain": "plain"}, metadata=metadata)


def execute(name: str, *cells: nbformat.NotebookNode, ours: dict[str, Any] | None = None, **metadata: Any) -> Path:
    """Write a notebook as a run would leave it."""
    notebook = new_notebook(cells=[new_markdown_cell("# A <title> & *more*"), *cells], metadata=metadata)
    if ours is not None:
        notebook.metadata["reidlab"] = ours
    path = executed_root() / f"{name}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return path


OURS = {
    "status": "done",
    "seconds": 12.5,
    "date": "2026-11-21T10:00:00Z",
    "failure": None,
    "git": {"commit": "0123456789abcdef", "dirty": True},
    "versions": {"python": "3.11.7", "reidlab": "0.1.0", "torch": "2.15.0"},
    "machine": {"cores": 2},
    "parameters": {"dataset": "market1501", "seed": 3, "recipe": "<demo>", "zzz": 1},
    "changed": {"seed": 3},
}


def page(name: str) -> str:
    return (html_root() / f"{name}.html").read_text()


def assert_self_contained(html: str) -> None:
    assert "<script" not in html and '<link rel="stylesheet' not in html and "<iframe" not in html
    for source in re.findall(r"""<[^>]+\ssrc=["']([^"']*)""", html):
        assert source.startswith("data:"), source
    assert not re.search(r"@import|url\(\s*['\"]?(?:https?:)?//", html)
    assert all(re.search(r'\salt="[^"]+"', tag) for tag in re.findall(r"<img[^>]*>", html))


def test_pages_and_index() -> None:
    code = new_code_cell("plot()", outputs=[shown("image/png", picture())])
    result = new_code_cell(
        "r", outputs=[new_output("execute_result", Result({"rank-1": 0.9, "mAP": 0.71239})._repr_mimebundle_())]
    )
    parameters = new_code_cell("seed: int = 0", metadata={"tags": ["parameters"]})
    execute("03_training-x", parameters, new_markdown_cell("## The curve\n\ntext"), code, result, ours=OURS)
    execute("90_other", new_markdown_cell("text"), ours={**OURS, "status": "timeout", "changed": {},
            "failure": {"error": "Timeout", "message": "<slow>"}})  # fmt: skip
    index = build_report()
    assert index == html_root() / "index.html"
    html, other, front = page("03_training-x"), page("90_other"), index.read_text()
    for text in (html, other, front):
        assert_self_contained(text)
    assert "A &lt;title&gt; &amp; more" in html and "<h1>" in html and html.count("<h1") == 1
    for text in (
        "market1501",
        "2026-11-21 10:00 UTC",
        "12.5 s",
        "0123456789 with changes",
        "2.15.0",
        "✓ done",
        "&lt;demo&gt;",
    ):
        assert text in html, text
    assert "plot()" not in html and "seed: int = 0" not in html  # no code
    assert 'alt="Figure of the section “The curve”"' in html
    assert re.search(r'<tr class="changed"><th scope="row">seed', html)
    names = re.findall(r'<th scope="row">(\w+)</th><td><code>', html)
    assert names == ["dataset", "seed", "recipe", "zzz"]  # the model's order, then others
    assert "✗ timeout" in other and "&lt;slow&gt;" in other
    assert 'href="90_other.html"' in html and 'href="index.html"' in html
    assert front.index("rank-1") < front.index("mAP") and "0.7124" in front and "seed=3" in front
    assert "default parameters" in front and "Timeout" in front and "Not finished" in front
    assert len(re.findall(r"data:image/jpeg", front)) == 1


def test_code_on_request() -> None:
    execute("03_training", new_code_cell("value = 1 < 2"), ours=OURS)
    build_report(code=True)
    assert re.search(r"value</span>.*&lt;", page("03_training"))


def test_what_a_page_cannot_show_is_replaced() -> None:
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "x", "version_major": 2, "version_minor": 0}}
    bad = (
        "<script src='https://cdn.example.org/x.js'></script><link rel=stylesheet href='https://x.org/a.css'>"
        "<img src='https://cdn.example.org/y.png'><img src='data:,'><b onclick='x()' style='background:url(https://x.org/z)'>t</b>"
        "<style>@import url(https://x.org/b.css); .q {color: red}</style><iframe src='https://x.org'></iframe>"
    )
    cells = [
        new_code_cell("w", outputs=[new_output("display_data", {**view, "text/plain": "Slider()"})]),
        *(
            new_code_cell("b", outputs=[new_output("display_data", {**view, "text/plain": f"{what}:   0%|   | 0/24"})])
            for what in ("embedding", "epoch 1", "epoch 12")
        ),
        new_code_cell("w2", outputs=[new_output("display_data", {**view, "text/html": "<p>static twin</p>"})]),
        new_code_cell("h", outputs=[shown("text/html", bad), shown("application/javascript", "alert(1)")]),
        new_code_cell("i", outputs=[shown("text/html", "<p>live only</p>")], metadata={"tags": ["interactive-only"]}),
        new_code_cell("f", outputs=[shown("image/png", picture())], metadata={"alt": "A red field"}),
        new_markdown_cell("![remote](https://x.org/a.png) ![](gone.png)"),
    ]
    execute("90_x", *cells, ours=OURS, widgets={"application/vnd.jupyter.widget-state+json": {"state": {}}})
    build_report()
    html = page("90_x")
    assert_self_contained(html)
    assert (
        html.count("shows an interactive view here") == 1
        and "0/24" not in html
        and "static twin" in html
        and "live only" not in html
    )
    assert (
        "onclick" not in html and "alert(1)" not in html and ".q {color: red}" in html and 'alt="A red field"' in html
    )
    assert html.count("[not part of the page:") == 5


def test_formulas_are_drawn_and_prices_are_not() -> None:
    text = (
        r"Rate $\alpha_t$ and" + "\n\n" + r"$$\frac{1}{2}$$" + "\n\nfrom $5 to $6, code `$x$`, bad $\\notacommand{x}$."
    )
    execute("90_x", new_markdown_cell(text), ours=OURS)
    build_report()
    html = page("90_x")
    assert_self_contained(html)
    assert html.count('class="formula"') == 1 and html.count('class="formula display"') == 1
    assert r'alt="\alpha_t"' in html and "$5 to $6" in html and "<code>$x$</code>" in html and "notacommand" in html


def test_the_key_figure_is_the_tagged_one() -> None:
    tagged = new_code_cell(
        "a", outputs=[shown("image/png", picture("#00ff00"))], metadata={"tags": ["key-figure"], "alt": "Green"}
    )
    execute("90_x", tagged, new_code_cell("b", outputs=[shown("image/png", picture("red"))]), ours=OURS)
    front = build_report().read_text()
    match = re.search(r'data:image/jpeg;base64,([^"]+)" alt="Green"', front)
    assert match
    image = Image.open(io.BytesIO(base64.b64decode(match[1])))
    assert image.size[0] <= 640 and image.convert("RGB").getpixel((5, 5))[1] > 200  # type: ignore[index]


def test_notebooks_run_by_plain_papermill() -> None:
    meta = {
        "papermill": {
            "parameters": {"seed": 2},
            "duration": 100.0,
            "end_time": "x",
            "start_time": "2026-01-02T03:04:05",
            "exception": None,
        }
    }
    execute("03_training", **meta)
    execute("90_bad", papermill={**meta["papermill"], "exception": True})
    execute("91_half", papermill={**meta["papermill"], "end_time": None})
    execute("92_bare")
    front = build_report().read_text()
    assert "✓ done" in page("03_training") and "1.7 min" in front and "seed=2" in front
    assert "✗ failed" in page("90_bad") and "✗ not finished" in page("91_half") and "✓ done" in page("92_bare")


def test_broken_pictures_do_not_break_the_index() -> None:
    execute(
        "90_x", new_code_cell("a", outputs=[shown("image/png", base64.b64encode(b"no picture").decode())]), ours=OURS
    )
    assert "no figure" in build_report().read_text()


def test_finding_executed_notebooks(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No notebook was run yet"):
        find_executed()
    for name in ("03_training", "03_training-a", "04_x"):
        execute(name)
    stems = [p.stem for p in find_executed(["3"])]
    assert stems == ["03_training", "03_training-a"] and len(find_executed()) == 3
    assert [p.stem for p in find_executed(["03_training-a", "03_training-a"])] == ["03_training-a"]
    other = tmp_path / "05_y.ipynb"
    nbformat.write(new_notebook(), other)
    assert find_executed([str(other)]) == [other]
    with pytest.raises(UserError, match="Did you mean '03_training'"):
        find_executed(["03_trainin"])
    execute("index")
    with pytest.raises(UserError, match=r"same name \(index\.html\)"):
        build_report()


def test_the_index_keeps_the_pages_of_others() -> None:
    for name in ("03_training", "04_x", "index"):
        execute(name, ours=OURS)
    first = build_report(find_executed(["3"])).read_text()
    assert "03_training.html" in first and "04_x.html" not in first, "never written"
    both = build_report(find_executed(["04_x"])).read_text()
    assert "03_training.html" in both and "04_x.html" in both
    (executed_root() / "03_training.ipynb").write_text("{")
    assert "03_training.html" not in build_report(find_executed(["04_x"])).read_text()


def test_pages_are_made_again_in_place() -> None:
    execute("90_x", ours=OURS)
    first = build_report().stat().st_ino
    assert build_report().stat().st_ino != first  # replaced as a whole, never half written
    assert sorted(p.name for p in html_root().iterdir()) == ["90_x.html", "index.html"]
