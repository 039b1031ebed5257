"""The explorer of trainings in a real browser: what runs is followed by itself; in JupyterLab and in both themes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from explorer_pages import looked_at
from served import ROOT

Opening = Callable[..., Any]
CELLS = (
    "# Trainings",
    f"import sys\nsys.path.insert(0, {str(ROOT / 'tests' / 'explorers')!r})\n"
    "import ipywidgets\nfrom training_runs import trained, training_now\n"
    "for number in range(3):\n    trained(f'run{number}', 40, seed=number)\n"
    "training_now(3)",
    "from reidlab.explorers import TrainingExplorer\nexplorer = TrainingExplorer()\nexplorer",
    "button = ipywidgets.Button(description='train on')\nbutton.on_click(lambda _: training_now(9))\nbutton",
)
TABLE = ".reid-training table"
PICTURES = ".reid-training img.reid-drawing"


def test_a_running_training_is_followed_until_nobody_wants_it(voila: Opening) -> None:
    seen = voila(CELLS, dark=True, width=800)
    page = seen.page
    page.locator(TABLE, has_text="3 of 30").wait_for()
    before = page.locator(PICTURES).first.get_attribute("src")
    page.click("button:has-text('train on')")
    page.locator(TABLE, has_text="9 of 30").wait_for()  # within seconds, without another click
    page.wait_for_function("([where, before]) => document.querySelector(where).src !== before", arg=[PICTURES, before])
    page.click("label:has-text('follow new epochs')")
    looked_at(seen, "trainings-dark")


def test_runs_and_curves_are_chosen(voila: Opening) -> None:
    seen = voila(CELLS, width=1600)
    page = seen.page
    page.locator(TABLE, has_text="3 of 30").wait_for()
    choice = page.locator(".reid-training select")
    choice.focus()
    page.keyboard.press("Control+a")
    page.wait_for_function("where => document.querySelectorAll(where + ' tr').length === 5", arg=TABLE)
    assert page.locator(PICTURES).count() == 4
    alts = page.locator(PICTURES).evaluate_all("all => all.map(e => e.alt)")
    assert alts[0].startswith("loss over the epochs: ") and alts[0].count("in epoch") == 4
    page.click("label:has-text('distance to the hardest positive')")
    page.wait_for_function("where => document.querySelectorAll(where).length === 5", arg=PICTURES)
    page.wait_for_function(
        "where => [...document.querySelectorAll(where)].every(e => e.naturalWidth > 100)", arg=PICTURES
    )
    looked_at(seen, "trainings")


@pytest.mark.slow
def test_in_jupyterlab(lab: Opening) -> None:
    seen = lab(CELLS, width=1400)
    page = seen.page
    page.locator(TABLE, has_text="3 of 30").first.wait_for()
    assert page.locator(PICTURES).count() == 4
    page.click("button:has-text('train on')")
    page.locator(TABLE, has_text="9 of 30").first.wait_for()
    seen.shot("trainings-lab")
