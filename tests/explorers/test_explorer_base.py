"""Errors are seen, twins are escaped and allowed on pages, nothing is left when an explorer is closed."""

from __future__ import annotations

import gc
import re
import weakref
from typing import Any

import ipywidgets
import pytest
import traitlets
from ipywidgets.widgets import widget as registry

from reidlab import explorers
from reidlab.errors import UserError
from reidlab.explorers import twins
from reidlab.explorers.base import Explorer, Snapshot, resource, shown_errors
from reidlab.explorers.grid import MOST, SIGNS, Grid, item
from reidlab.explorers.pictures import Picture, placeholder
from reidlab.plots.style import MARKS
from reidlab.workbook.pages.safe_html import clean_html

BAD = "<img src=x onerror=alert(1)>"


class State(traitlets.HasTraits):
    number = traitlets.Int(0)
    name = traitlets.Unicode("")


class Small(Explorer):
    name, title = "small", f"Small {BAD}"

    def __init__(self) -> None:
        super().__init__(State())
        self.grid = Grid(lambda _: Picture(placeholder()))
        self.button = ipywidgets.Button(description="go")
        self.button.on_click(self.divide)
        self.text = self.bind("name", ipywidgets.Text())
        self.fill(self.grid, ipywidgets.HBox([self.button, self.text]))
        self.state.observe(self.outer, "number")
        self.grid.show([item("a", BAD, BAD, "right", BAD)])
        self.tell(f"shown: {BAD}")

    @shown_errors
    def divide(self, _: Any = None) -> float:
        return 1 / self.state.number

    @shown_errors
    def complain(self) -> None:
        raise UserError(f"no such image: {BAD}")

    @shown_errors
    def outer(self, _: Any) -> None:
        self.divide()

    @shown_errors
    def fine(self) -> int:
        return 3

    def twin(self) -> str:
        return twins.gallery(self.grid.items, self.grid.picture) + twins.legend() + twins.facts({BAD: BAD})


@pytest.fixture
def small() -> Any:
    made = Small()
    yield made
    made.close()


def test_an_error_is_shown_kept_and_gone_with_the_next_that_works(small: Small) -> None:
    small.button.click()
    assert "ZeroDivisionError" in small.error and 'role="alert"' in small.status.value
    assert [type(error) for error in small.errors] == [ZeroDivisionError]
    assert small.fine() == 3
    assert not small.error and 'role="alert"' not in small.status.value and len(small.errors) == 1


def test_a_users_error_is_its_message_alone_and_escaped(small: Small) -> None:
    small.complain()
    assert small.error == f"no such image: {BAD}"
    assert "<img" not in small.status.value and "&lt;img src=x" in small.status.value
    assert "&lt;img src=x" in small.snapshot().html


def test_the_error_of_a_handler_inside_another_stays(small: Small) -> None:
    small.outer(None)
    assert "ZeroDivisionError" in small.error


def test_the_switch_raises_what_was_shown(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REIDLAB_EXPLORER_ERRORS", "raise")
    with pytest.raises(ZeroDivisionError):
        small.divide()
    assert small.error
    small.state.number = 2  # from the outside: handlers that work clear it
    assert not small.error


def test_errors_are_kept_but_not_without_end(small: Small) -> None:
    for _ in range(60):
        small.complain()
    assert len(small.errors) == 50


def test_controls_and_state_follow_each_other(small: Small) -> None:
    small.text.value = "x"
    assert small.state.name == "x"
    small.state.name = "y"
    assert small.text.value == "y"


def test_the_bundle_has_the_view_and_the_twin(small: Small) -> None:
    bundle = small._repr_mimebundle_()
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == small.widget.model_id
    assert bundle["text/html"] == small.snapshot().html and bundle["text/plain"] == small.snapshot().text
    small.close()
    assert set(small._repr_mimebundle_()) == {"text/html", "text/plain"}


def test_a_twin_is_escaped_and_stays_whole_on_a_page(small: Small) -> None:
    html = small.snapshot().html
    assert "<script" not in html and "<img src=x" not in html and "onerror=alert(1)>" not in html.replace("&gt;", "")
    cleaned = clean_html(html)
    words = re.compile(r"<(\w+)")
    assert [word for word in words.findall(cleaned) if word != "tbody"] == words.findall(html)
    for kept in ("data:image/jpeg;base64,", "3px solid", "display: flex", 'aria-label="right"'):
        assert kept.replace(": ", ":") in cleaned.replace(": ", ":")
    assert all(sign in cleaned for sign in "✓✗–")


def test_snapshots_are_one_printable_line() -> None:
    made = Snapshot("<p>x</p>", "a\x1b[2Jb")
    assert "\x1b" not in repr(made) and made._repr_html_() == "<p>x</p>"


def test_close_leaves_nothing() -> None:
    gc.collect()
    before = len(registry._instances)
    made = Small()
    parts = [weakref.ref(each) for each in (made, made.grid, made.button, made.widget, made.state)]
    made.state.number = 3
    assert len(registry._instances) > before
    made.close()
    made.close()  # twice is once
    assert len(registry._instances) == before
    del made
    gc.collect()
    assert [part() for part in parts] == [None] * len(parts)


def test_exports_are_those_of_the_issue() -> None:
    assert set(explorers.__all__) == {
        "AttentionExplorer", "DatasetExplorer", "EmbeddingExplorer", "RetrievalExplorer", "RunComparer",
        "TrainingExplorer", "TripletExplorer",
    }  # fmt: skip
    assert explorers.DatasetExplorer.__name__ == "DatasetExplorer"
    with pytest.raises(AttributeError):
        explorers.Nothing  # type: ignore[attr-defined]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    messages: list[Any] = []
    monkeypatch.setattr(Grid, "send", lambda self, content, buffers=None: messages.append((content, buffers)))
    return messages


def grid(count: int) -> Grid:
    made = Grid(lambda key: Picture(key.encode(), "broken" if key == "k3" else ""))
    made.show([item(f"k{number}") for number in range(count)], 1)
    return made


def test_a_grid_sends_what_is_asked_for_and_shown(sent: list[Any]) -> None:
    made = grid(150)
    content, buffers = sent.pop()
    assert content["keys"] == [f"k{n}" for n in range(24)] and buffers[5] == b"k5"
    assert content["reasons"][3] == "broken" and not any(content["reasons"][4:])
    made._handle_custom_msg({"kind": "pictures", "keys": ["k149", "k149", "other", 7, None]}, [])
    assert sent.pop() == ({"kind": "pictures", "keys": ["k149"], "reasons": [""]}, [b"k149"])
    made._handle_custom_msg({"kind": "pictures", "keys": [f"k{n}" for n in range(150)]}, [])
    assert len(sent.pop()[1]) == 64
    for odd in (None, "x", {"kind": "pictures"}, {"kind": "choose", "key": 3}, {"keys": ["k1"]}):
        made._handle_custom_msg(odd, [])
    assert not sent
    made.close()


def test_a_click_on_what_is_gone_does_nothing(sent: list[Any]) -> None:
    made, chosen = grid(5), []
    made.on_choose(chosen.append)
    made._handle_custom_msg({"kind": "choose", "key": "k2"}, [])
    assert chosen == ["k2"] and made.selected == 2
    made.show([item("z")])
    made._handle_custom_msg({"kind": "choose", "key": "k2"}, [])
    assert chosen == ["k2"] and made.selected == -1
    made.close()


def test_a_grid_has_bounds(sent: list[Any]) -> None:
    made = grid(1000)
    assert len(made.items) == MOST
    made.show([item("a")], selected=5)
    assert made.selected == -1
    with pytest.raises(ValueError, match="sign='green'"):
        item("a", sign="green")
    made.close()


def test_styles_agree_with_figures_and_scripts_write_no_html() -> None:
    css, js = resource("grid.css"), resource("grid.js")
    assert set(MARKS) | {""} == set(SIGNS)
    for name, mark in MARKS.items():
        assert f"--reid-{name}: {mark.colour.lower()}" in css
        assert re.search(rf"\.reid-is-{name} {{\s*border: 3px {mark.line} ", css)
        assert f'{name}: "{mark.sign}"' in js
    for forbidden in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert forbidden not in js
