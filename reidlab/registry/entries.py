"""What is chosen by name: an entry is a name, "module:attribute" and a sentence; a registry holds those of one kind."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import inspect
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from reidlab.errors import UserError, nearest
from reidlab.registry.options import check_options, options_of

__all__ = ["Entry", "Registry", "names_code"]


@dataclass(frozen=True)
class Entry:
    """Something that is chosen by name.

    Attributes:
        name: as recipes and parameters write it.
        target: "module:attribute", imported when it is asked for.
        description: one sentence.
        fixed: options that the name stands for, which a user cannot give.
        facts: further facts that its kind needs.
        defaults: options that the name changes the defaults of.
    """

    name: str
    target: str
    description: str
    fixed: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)

    @property
    def module(self) -> str:
        """The module that holds the target."""
        return self.target.partition(":")[0]

    @functools.cached_property
    def factory(self) -> Callable[..., Any]:
        """The class or function itself.

        Raises:
            UserError: the module cannot be imported or has no such attribute (third parties' entries alone).
        """
        module, _, attribute = self.target.partition(":")
        try:
            found: Any = importlib.import_module(module)
            for part in attribute.split("."):
                found = getattr(found, part)
        except (ImportError, AttributeError, ValueError) as error:
            raise UserError(f"{self.name!r} cannot be imported from {self.target!r}: {error}.") from error
        if not callable(found):
            raise UserError(f"{self.name!r} names {self.target!r}, which cannot be called.")
        return found

    def identity(self) -> str:
        """Return what a result depends on besides the code behind it: the target and what the name fixes."""
        parts = [dict(sorted(each.items())) for each in (self.fixed, self.facts, self.defaults)]
        return f"{self.name}={self.target} {parts}"


def names_code(text: str) -> bool:
    """Return whether a text has the form "module:attribute", which is imported where it stands for a name."""
    module, colon, attribute = text.partition(":")
    return bool(colon) and all(map(str.isidentifier, [*module.split("."), *attribute.split(".")]))


class Registry(Mapping[str, Entry]):
    """The entries of one kind, by name.

    Other packages add theirs by an entry point of the group `reidlab.<plural>`; a name "module:attribute" is imported
    as it stands. `of_any` names a function (name -> Entry or None) for names that no table lists, such as timm's.

    Args:
        kind: what one is called in messages: "loss".
        plural: what several are called, which names the group of entry points: "losses".
        entries: those of this package.
        given: parameters of the factories that the caller gives, not a user.
        also: what the message for an unknown name adds to the choices.
        of_any: "module:function" that is asked for names that are not registered.
        others: "module:function" that lists such names, so that a misspelt one gets a hint.
    """

    def __init__(
        self,
        kind: str,
        plural: str,
        entries: Iterable[Entry],
        *,
        given: Collection[str] = (),
        also: str = "",
        of_any: str = "",
        others: str = "",
    ) -> None:
        self.kind, self.plural, self.given = kind, plural, tuple(given)
        self._also, self._of_any, self._others = also, of_any, others
        self._own = {entry.name: entry for entry in entries}

    @functools.cached_property
    def _entries(self) -> dict[str, Entry]:
        """Our own entries, then those of other packages, which cannot replace ours."""
        found = importlib.metadata.entry_points(group=f"reidlab.{self.plural}")
        theirs = {
            point.name: Entry(point.name, point.value, f"from {point.dist.name if point.dist else point.module}")
            for point in found
        }
        return {**self._own, **{name: entry for name, entry in theirs.items() if name not in self._own}}

    def __getitem__(self, name: str) -> Entry:
        return self._own[name] if name in self._own else self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def own(self) -> list[Entry]:
        """Return the entries of this package."""
        return list(self._own.values())

    def attribute(self, name: str, module: str) -> Any:
        """Return the class or function of this package called `name`; the `__getattr__` of `module`.

        Importing them when they are asked for keeps a package's import cheap, and out of the code digest of results
        that use a single one of them.
        """
        for entry in self._own.values():
            if entry.target.rpartition(":")[2] == name and entry.module.startswith(f"{module}."):
                return entry.factory
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    def find(self, name: str) -> Entry:
        """Return the entry of a name.

        Raises:
            UserError: nothing of that name is registered, or what "module:attribute" names cannot be imported.
        """
        if isinstance(name, str):
            if name in self:
                return self[name]
            if names_code(name):
                return Entry(name, name, f"from {name.partition(':')[0]}")
            if self._of_any:
                found: Entry | None = Entry("", self._of_any, "").factory(name)
                if found is not None:
                    return found
        others: list[str] = Entry("", self._others, "").factory() if self._others else []
        hint = nearest(str(name).rpartition("/")[2], [*self, *others])
        raise UserError(f"{self.kind} {name!r} is unknown; choose from {', '.join(self)}{self._also}.{hint}")

    def options(self, name: str) -> dict[str, inspect.Parameter]:
        """Return what a user may set, by name."""
        entry = self.find(name)
        found = options_of(entry.factory, (*self.given, *entry.fixed))
        return {n: p.replace(default=entry.defaults.get(n, p.default)) for n, p in found.items()}

    def check(self, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return options as the factory takes them.

        Raises:
            UserError: an unknown name or option, a value of another type, a missing option.
        """
        return check_options(f"{self.kind} {name!r}", self.options(name), options)

    def build(self, name: str, *given: Any, options: Mapping[str, Any] | None = None, **more: Any) -> Any:
        """Call the factory of a name with what the caller gives (by position or name) and a user's options, checked.

        Raises:
            UserError: as `check`, or a value that the factory refuses.
        """
        checked = self.check(name, options or {})
        entry = self.find(name)
        return entry.factory(*given, **more, **entry.fixed, **{**entry.defaults, **checked})
