"""Explorers as tabs: made when shown, all in a batch run, and one that fails spoils no other."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import pytest
import traitlets

from reidlab.errors import UserError
from reidlab.explorers.base import Explorer
from reidlab.explorers.tabs import Tabs
from reidlab.progress import BATCH
from reidlab.workbook.pages.safe_html import clean_html

VIEW = "application/vnd.jupyter.widget-view+json"


class Plain(Explorer):
    """Shows a word."""

    def __init__(self, word: str) -> None:
        super().__init__(traitlets.HasTraits())
        self.title = word  # type: ignore[misc]
        self.fill()
        self.tell(f"the view of {word}")

    def twin(self) -> str:
        return "<p>its twin</p>"


def makers(made: list[str], *words: str, fails: Exception | None = None) -> dict[str, Callable[[], Explorer]]:
    def maker(word: str) -> Callable[[], Explorer]:
        def make() -> Explorer:
            made.append(word)
            if word == "bad" and fails is not None:
                raise fails
            return Plain(word)

        return make

    return {word: maker(word) for word in words}


def test_a_tab_is_made_when_it_is_first_shown() -> None:
    made: list[str] = []
    tabs = Tabs(makers(made, "a", "b", "c", "d"))
    assert made == ["a", "b"]
    tabs.tab.selected_index = 3
    assert made == ["a", "b", "d"] and tabs.places["d"].children == (tabs.explorers["d"].widget,)
    tabs.tab.selected_index = 0
    assert tabs.show("d") is tabs.explorers["d"] and made == ["a", "b", "d"], "once"
    html = tabs.snapshot().html
    assert html.count("its twin") == 3 and "Made when they are shown: c." in html
    assert tabs.snapshot(everything=True).html.count("its twin") == 4 and made[-1] == "c"


def test_in_a_batch_run_all_are_made_and_no_view_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    assert VIEW in Tabs(makers([], "a"))._repr_mimebundle_()
    monkeypatch.setenv(BATCH, "1")
    bundle = Tabs(makers([], "a", "b", "c"))._repr_mimebundle_()
    assert bundle["text/html"].count("its twin") == 3 and VIEW not in bundle
    assert clean_html(bundle["text/html"]).count("its twin") == 3


@pytest.mark.parametrize(
    ("error", "words"),
    [(UserError("no images <b>here</b>"), "no images"), (ZeroDivisionError("x"), "ZeroDivisionError: x (a fault")],
)
def test_a_view_that_fails_says_why_and_the_others_work(
    error: Exception, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    made: list[str] = []
    tabs = Tabs(makers(made, "bad", "good", fails=error))
    (shown,) = tabs.places["bad"].children
    assert words in shown.value and "<b>here" not in shown.value
    assert list(tabs.explorers) == ["good"] and tabs.errors == [error]
    assert words in tabs.snapshot().html and "its twin" in tabs.snapshot().html
    assert tabs.show("bad") is None and made == ["bad", "good"], "not tried again"
    assert bool(caplog.records) == (not isinstance(error, UserError)), "faults of ours are in the log"


def test_errors_can_be_made_to_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REIDLAB_EXPLORER_ERRORS", "raise")
    with pytest.raises(UserError, match="nothing"):
        Tabs(makers([], "bad", fails=UserError("nothing")))


def test_close_takes_everything_along() -> None:
    tabs = Tabs(makers([], "a", "b", "c"))
    held = [weakref.ref(each) for each in (tabs, tabs.explorers["a"], tabs.tab, tabs.places["c"])]
    tabs.close()
    tabs.close()
    assert VIEW not in tabs._repr_mimebundle_()
    del tabs
    gc.collect()
    assert [each() for each in held] == [None] * 4
