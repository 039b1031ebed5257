"""What all explorers share: a state that tests can drive, a widget that shows it, a static twin, errors that are seen.

All choices stand in `state`, a traitlets object; views observe it and handlers change it, so that nothing needs a
browser. Handlers are methods under `shown_errors`: ipywidgets would swallow what they raise.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable
from html import escape
from importlib.resources import files
from typing import Any, ClassVar, Concatenate, ParamSpec, TypeVar

import ipywidgets
from traitlets import HasTraits

from reidlab.errors import UserError, printable
from reidlab.explorers.bonds import Bond, close_all

__all__ = ["ERRORS_SWITCH", "Explorer", "Snapshot", "resource", "row", "shown_errors"]

ERRORS_SWITCH = "REIDLAB_EXPLORER_ERRORS"  # "raise": handlers raise what they have shown, so that tests fail
MOST_ERRORS = 50

P = ParamSpec("P")
R = TypeVar("R")
Self = TypeVar("Self", bound="Explorer")
Control = TypeVar("Control", bound=ipywidgets.Widget)


@functools.cache
def resource(name: str) -> str:
    """Return a text file of this package, read once; anywidget keeps a file that it reads itself alive for good."""
    return files("reidlab.explorers").joinpath(name).read_text(encoding="utf-8")


def row(*children: ipywidgets.Widget) -> ipywidgets.Box:
    """Return controls side by side that wrap where the page is narrow."""
    box = ipywidgets.Box(children)
    box.add_class("reid-row")
    return box


def shown_errors(method: Callable[Concatenate[Self, P], R]) -> Callable[Concatenate[Self, P], R | None]:
    """Decorate a handler of an `Explorer`: what it raises is shown in red and kept in `errors`.

    A later handler that works takes the line away. Where the environment has `REIDLAB_EXPLORER_ERRORS=raise` the error
    is raised too.
    """

    @functools.wraps(method)
    def inside(self: Self, *args: P.args, **kwargs: P.kwargs) -> R | None:
        with self._handling() as outermost:
            if outermost:
                self.clear_error()
            try:
                return method(self, *args, **kwargs)
            except Exception as error:
                self.show_error(error)
                if os.environ.get(ERRORS_SWITCH) == "raise":
                    raise
                return None

    return inside


class Snapshot:
    """A static picture of an explorer: HTML without script that loads nothing, and a line of text.

    Attributes:
        html: what notebooks, pages and GitHub show.
        text: the same in a sentence.
    """

    def __init__(self, html: str, text: str) -> None:
        self.html, self.text = html, printable(text)

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return self.html


class Explorer:
    """The base of all explorers.

    A subclass makes its controls, calls `fill` with them, observes `state` by methods under `shown_errors` and writes
    `twin` and `summary`. Its constructor shows something useful at once: under papermill nobody clicks.

    Args:
        state: all choices.

    Attributes:
        state: all choices; set them, and the view follows.
        widget: the root box, of the CSS classes `reid-explorer` and `reid-<name>`.
        status: a line that says what is shown, and errors in red.
        errors: what handlers raised, the last `MOST_ERRORS` of them, oldest first.
    """

    name: ClassVar[str] = "base"
    title: ClassVar[str] = "Explorer"

    def __init__(self, state: HasTraits) -> None:
        self.state: Any = state  # subclasses narrow it
        self.errors: list[Exception] = []
        self.closed = False
        self._depth = 0
        self._message, self._error = "", ""
        self._owned: list[Any] = []
        self.status = ipywidgets.HTML()
        self.status.add_class("reid-status")
        self.style = ipywidgets.HTML(f"<style>{resource('explorers.css')}</style>")
        self.style.add_class("reid-style")
        self.widget = ipywidgets.VBox([self.style, self.status])
        self.widget.add_class("reid-explorer")
        self.widget.add_class(f"reid-{self.name}")

    def fill(self, *children: ipywidgets.Widget) -> None:
        """Put controls and views into the widget, the status line among them or else below them."""
        below = () if self.status in children else (self.status,)
        self.widget.children = (self.style, *children, *below)

    def bind(self, trait: str, control: Control, attribute: str = "value") -> Control:
        """Let a control show and change a trait of the state; return the control.

        Setting the state to what the control does not offer raises a `UserError` that names the choices.
        """
        self.owns(Bond(self.state, trait, control, attribute))
        return control

    def owns(self, *things: Any) -> None:
        """Let `close` close these too: widgets outside the root box, links, whatever has `close` or `unlink`."""
        self._owned += things

    def tell(self, message: str) -> None:
        """Say in the status line what is shown; the text is escaped."""
        self._message = message
        self._write()

    def show_error(self, error: Exception) -> None:
        """Say in red what went wrong, and keep it."""
        self.errors.append(error)
        del self.errors[:-MOST_ERRORS]  # each holds what its handler held
        if isinstance(error, UserError):
            self._error = str(error)
        else:
            self._error = f"{type(error).__name__}: {error} (a fault of the explorer; the log has the traceback)"
            logging.getLogger(__name__).error("%s failed", type(self).__name__, exc_info=error)
        self._write()

    def clear_error(self) -> None:
        """Take the red line away; `errors` stays."""
        if self._error:
            self._error = ""
            self._write()

    @property
    def error(self) -> str:
        """Return the error that is shown, or ""."""
        return self._error

    def twin(self) -> str:
        """Return the body of the static twin: HTML of tags that `workbook.pages.allowed` lists, all text escaped."""
        raise NotImplementedError

    def summary(self) -> str:
        """Return in a sentence what is shown."""
        return self._message

    def snapshot(self) -> Snapshot:
        """Return the static twin of what is shown now."""
        from reidlab.explorers.twins import framed

        html = framed(self.title, self.summary(), self.twin(), error=self._error)
        return Snapshot(html, f"{self.title}: {self.summary()}")

    def close(self) -> None:
        """Close all widgets with their layouts and styles, and let go of the state; the object is of no use then."""
        if self.closed:
            return
        self.closed = True
        self.state.unobserve_all()
        for thing in self._owned:
            close_all(thing)
        close_all(self.widget)
        self._owned.clear()

    def _write(self) -> None:
        lines = [f'<div class="reid-message">{escape(printable(self._message))}</div>'] if self._message else []
        if self._error:
            lines.append(f'<div class="reid-error" role="alert">⚠ {escape(printable(self._error))}</div>')
        self.status.value = f'<div role="status" aria-live="polite">{"".join(lines)}</div>'

    def _handling(self) -> _Handling:
        return _Handling(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.summary()}>"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        twin = self.snapshot()
        bundle: dict[str, Any] = {"text/html": twin.html, "text/plain": twin.text}
        if not self.closed:
            view = "application/vnd.jupyter.widget-view+json"
            bundle[view] = {"version_major": 2, "version_minor": 0, "model_id": self.widget.model_id}
        return bundle


class _Handling:
    """Count how deep handlers stand in each other: one that works must not wipe out what one inside it has shown."""

    def __init__(self, explorer: Explorer) -> None:
        self.explorer = explorer

    def __enter__(self) -> bool:
        self.explorer._depth += 1
        return self.explorer._depth == 1

    def __exit__(self, *_: object) -> None:
        self.explorer._depth -= 1
