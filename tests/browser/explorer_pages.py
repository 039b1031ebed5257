"""What the browser tests of single explorers share: cells that draw a few people with hostile names, and pictures."""

from __future__ import annotations

from typing import Any

from served import ROOT

HOSTILE = "<img src=x onerror=alert(1)>.jpg"
WIDTHS = (320, 800, 1600)
PEOPLE = (
    f"import sys, tempfile, pathlib\nsys.path.insert(0, {str(ROOT / 'tests' / 'explorers')!r})\n"
    "from explorer_people import embedded, people\n"
    "table = people(pathlib.Path(tempfile.mkdtemp()), n_people=9, pids='hostile')\n"
    "embeddings = embedded(table, noise=0.9)"
)


def told(page: Any, words: str) -> None:
    """Wait until the status line says this."""
    page.page.wait_for_function(
        "words => document.querySelector('.reid-status')?.textContent.includes(words)", arg=words
    )


def looked_at(page: Any, name: str) -> None:
    """Take pictures at three widths; nothing may be wider than its page."""
    for width in WIDTHS:
        page.page.set_viewport_size({"width": width, "height": 900})
        page.page.wait_for_timeout(400)  # until what follows the width has done so
        assert page.widest() <= width, width
        page.shot(f"{name}-{width}")


def no_name_ran(page: Any) -> None:
    """No name of a file or of an identity became an element, and every picture says what it is."""
    found = page.page.evaluate(
        "() => [document.querySelectorAll('.reid-explorer img[src=\"x\"]').length,"
        " [...document.querySelectorAll('.reid-explorer b')].length,"
        " [...document.querySelectorAll('.reid-explorer img')].filter(e => !e.hasAttribute('alt')).length]"
    )
    assert found == [0, 0, 0]
    assert "<b>" in page.page.inner_text(".reid-explorer")
