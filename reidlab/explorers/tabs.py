"""Explorers as tabs, each made when it is first shown."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from html import escape
from typing import Any

import ipywidgets

from reidlab.errors import UserError, printable
from reidlab.explorers.base import ERRORS_SWITCH, Explorer, Snapshot, resource
from reidlab.explorers.twins import text
from reidlab.progress import BATCH

__all__ = ["Tabs"]

AT_ONCE = 2  # tabs that are made before anybody looks
_RED = '<div class="reid-error" role="alert">⚠ {}</div>'


class Tabs:
    """Several explorers of which one is seen.

    What cannot be made says why in its tab, and the others work.

    Args:
        makers: a function that makes the explorer, by the title of its tab.
        at_once: tabs that are made here; the others when they are first shown. In a batch run, where nobody clicks,
            all are.

    Attributes:
        widget: the tabs.
        explorers: those that are made, by title.
        errors: what making them raised, oldest first.
    """

    def __init__(self, makers: Mapping[str, Callable[[], Explorer]], *, at_once: int = AT_ONCE) -> None:
        self.makers = dict(makers)
        self.explorers: dict[str, Explorer] = {}
        self.errors: list[Exception] = []
        self.reasons: dict[str, str] = {}
        self.closed = False
        self.places = {title: ipywidgets.VBox() for title in self.makers}
        self.tab = ipywidgets.Tab(list(self.places.values()), titles=list(self.makers))
        self.tab.add_class("reid-tabs")
        self.style = ipywidgets.HTML(f"<style>{resource('tabs.css')}</style>")
        self.style.add_class("reid-style")
        self.widget = ipywidgets.VBox([self.style, self.tab])
        for title in list(self.makers)[: len(self.makers) if os.environ.get(BATCH) else at_once]:
            self.make(title)
        self.tab.observe(self._turned, "selected_index")

    def make(self, title: str) -> Explorer | None:
        """Return the explorer of a tab, made if need be; None where it cannot be made."""
        if title in self.explorers or title in self.reasons:
            return self.explorers.get(title)
        place = self.places[title]
        place.children = [ipywidgets.HTML(f"Making {escape(title.lower())} …")]
        try:
            made = self.makers[title]()
        except Exception as error:
            self._failed(title, error)
            if os.environ.get(ERRORS_SWITCH) == "raise":
                raise
            return None
        self.explorers[title] = made
        self._put(place, made.widget)
        return made

    def show(self, title: str) -> Explorer | None:
        """Turn to a tab, as a click does."""
        self.tab.selected_index = list(self.makers).index(title)
        return self.explorers.get(title)

    def snapshot(self, *, everything: bool = False) -> Snapshot:
        """Return the static twins of all explorers that are made, or of all with `everything`, one below the other."""
        parts = []
        for title in self.makers:
            made = self.make(title) if everything else self.explorers.get(title)
            if made is not None:
                parts.append(made.snapshot().html)
            elif title in self.reasons:
                parts.append(f"<p><strong>{text(title)}</strong><br>⚠ {text(self.reasons[title])}</p>")
        left = [title for title in self.makers if title not in self.explorers and title not in self.reasons]
        if left:
            parts.append(f"<p><small>Made when they are shown: {text(', '.join(left))}.</small></p>")
        return Snapshot("<hr>".join(parts), f"Explorers: {', '.join(self.makers)}")

    def close(self) -> None:
        """Close all explorers and the tabs."""
        if self.closed:
            return
        self.closed = True
        self.tab.unobserve_all()
        for made in self.explorers.values():
            made.close()
        for place in self.places.values():
            for widget in (*place.children, place.layout, place):
                widget.close()
        for widget in (self.style.layout, self.style, self.tab.layout, self.tab, self.widget.layout, self.widget):
            widget.close()
        self.explorers.clear()
        self.makers.clear()

    def _turned(self, change: Any) -> None:
        if change["new"] is not None:
            self.make(list(self.makers)[change["new"]])

    def _failed(self, title: str, error: Exception) -> None:
        self.errors.append(error)
        if isinstance(error, UserError):
            self.reasons[title] = str(error)
        else:
            self.reasons[title] = (
                f"{type(error).__name__}: {error} (a fault of the explorer; the log has the traceback)"
            )
            logging.getLogger(__name__).error("the tab %s failed", title, exc_info=error)
        self._put(self.places[title], ipywidgets.HTML(_RED.format(escape(printable(self.reasons[title])))))

    def _put(self, place: ipywidgets.VBox, widget: ipywidgets.Widget) -> None:
        waiting, place.children = place.children, [widget]
        for old in waiting:
            for part in (old.layout, old.style, old):
                part.close()

    def __repr__(self) -> str:
        return f"<Tabs: {', '.join(self.places)}>"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        twin = self.snapshot()
        bundle: dict[str, Any] = {"text/html": twin.html, "text/plain": twin.text}
        if not self.closed and not os.environ.get(BATCH):  # a notebook that is kept has no kernel to answer a view
            view = "application/vnd.jupyter.widget-view+json"
            bundle[view] = {"version_major": 2, "version_minor": 0, "model_id": self.widget.model_id}
        return bundle
