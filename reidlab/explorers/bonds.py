"""What holds widgets together: a choice and its control follow each other; a box is closed with all that is in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ipywidgets
from traitlets import HasTraits, TraitError

from reidlab.errors import UserError, nearest, shown

__all__ = ["Bond", "close_all"]


class Bond:
    """A trait of a state and one of a control that follow each other."""

    def __init__(self, state: HasTraits, trait: str, control: ipywidgets.Widget, attribute: str) -> None:
        self.state, self.trait, self.control, self.attribute = state, trait, control, attribute
        setattr(control, attribute, getattr(state, trait))
        state.observe(self._to_control, trait)
        control.observe(self._to_state, attribute)

    def unlink(self) -> None:
        """Let both go their own ways."""
        self.state.unobserve(self._to_control, self.trait)
        self.control.unobserve(self._to_state, self.attribute)

    def _to_control(self, change: Any) -> None:
        try:
            setattr(self.control, self.attribute, change.new)
        except TraitError as error:
            self.state.set_trait(self.trait, change.old)
            options = [str(option) for option in dict(getattr(self.control, "_options_full", ())).values()]
            raise UserError(
                f"{self.trait}={shown(change.new)} cannot be chosen; there is {', '.join(map(repr, options)) or error}."
                f"{nearest(str(change.new), options)}"
            ) from error

    def _to_state(self, change: Any) -> None:
        setattr(self.state, self.trait, change.new)


def close_all(thing: Any) -> None:
    """Close a widget, what is in it, its layout and its style; unlink a link."""
    if hasattr(thing, "unlink"):
        thing.unlink()
    if not hasattr(thing, "close"):
        return
    for part in _parts(thing):
        close_all(part)
    thing.close()


def _parts(thing: Any) -> Iterator[Any]:
    yield from getattr(thing, "children", ())
    for name in ("layout", "style"):
        part = getattr(thing, name, None)
        if isinstance(part, ipywidgets.Widget):
            yield part
