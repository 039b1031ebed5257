"""What the parameter models share: reading text by annotation, checking, one message for all mistakes."""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal, NamedTuple, Self, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator

from reidlab.documents import load_literal, plain
from reidlab.errors import UserError, nearest, shown
from reidlab.params.history import assigned_names

__all__ = ["NotebookParams", "Row", "coerce", "describe"]

WORDS = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}
KERNEL_NAMES = frozenset({"In", "Out", "exit", "quit", "get_ipython", "open"})
PLAIN = (str, int, float, bool, type(None), list, tuple, dict)


class NotebookParams(BaseModel):
    """What every notebook's parameters share: frozen, no unknown name, no NaN, no silent conversion."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)
    notebook: ClassVar[str] = ""

    @field_validator("*", mode="before")
    @classmethod
    def _read(cls, value: Any, info: ValidationInfo) -> Any:
        """Turn text into what the annotation says: papermill injects the text "true" for `-p flag true`."""
        name = info.field_name or ""
        if isinstance(value, str):
            value = _from_text(value, cls.model_fields[name].annotation, name)
        if isinstance(value, float):
            return value  # what is not finite is refused by the range of the field, which the message names
        return plain(value, name)

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """Check `values` and give the parameters; what is missing takes its default.

        Raises:
            UserError: unknown names, wrong types, values out of range; all of them in one message.
        """
        problems = {name: _problem(cls, name, values[name]) for name in _misfits(cls, values)}
        try:
            made = cls(**{str(name): value for name, value in values.items() if name not in problems})
        except ValidationError as error:
            for item in error.errors():
                name = str(item["loc"][0]) if item["loc"] else ""
                custom = str(item.get("ctx", {}).get("error", "")) if item["type"] == "value_error" else ""
                problems.setdefault(name, _problem(cls, name, values.get(name), custom))
        if problems:
            what = "This parameter" if len(problems) == 1 else f"These {len(problems)} parameters"
            where = f" of {cls.notebook}" if cls.notebook else ""
            raise UserError("\n  ".join([f"{what}{where} cannot be used:", *problems.values()]))
        return made

    @classmethod
    def from_notebook(cls, namespace: Mapping[str, Any]) -> Self:
        """Collect what the parameters cell and papermill's injected cell assigned; give it `globals()`.

        In a kernel the cells are read back from the history, so that variables of later cells, and names
        that were misspelt and mended since, do not count. Without a history every public name with plain
        data counts.

        Raises:
            UserError: as `from_values`.
        """
        names = assigned_names(namespace.get("In"), cls.model_fields)
        if names:
            names |= set(cls.model_fields)
        else:
            names = {name for name, value in namespace.items() if isinstance(value, PLAIN)}
        public = (name for name in namespace if not name.startswith("_") and name not in KERNEL_NAMES)
        return cls.from_values({name: namespace[name] for name in public if name in names})

    def changed(self) -> dict[str, Any]:
        """Return the parameters that differ from their defaults."""
        return {k: v for k, v in self if v != type(self).model_fields[k].get_default(call_default_factory=True)}

    def _repr_html_(self) -> str:
        from html import escape

        changed = self.changed()
        rows = "".join(
            f"<tr><th style='text-align:left'>{escape(row.name)}</th>"
            f"<td style='text-align:left'>{'<b>' if row.name in changed else ''}"
            f"{escape(repr(getattr(self, row.name)))}{'</b>' if row.name in changed else ''}</td>"
            f"<td style='text-align:left'>{escape(row.description)}</td></tr>"
            for row in describe(type(self))
        )
        return f"<table class='reidlab-params'><caption>Parameters (bold: not the default)</caption>{rows}</table>"


class Row(NamedTuple):
    """One parameter as a help table shows it."""

    name: str
    type: str
    default: str
    allowed: str
    description: str


def describe(model: type[NotebookParams]) -> list[Row]:
    """List the parameters of `model`: name, type, default, what is allowed, description."""
    return [
        Row(
            name,
            _type_name(field.annotation),
            repr(field.get_default(call_default_factory=True)),
            _allowed(model, name),
            field.description or "",
        )
        for name, field in model.model_fields.items()
    ]


def coerce(model: type[NotebookParams], texts: Mapping[str, str]) -> dict[str, Any]:
    """Turn the command line's texts into checked values; only the names that were given come back.

    Raises:
        UserError: as `NotebookParams.from_values`.
    """
    made = model.from_values(texts)
    return {name: getattr(made, name) for name in texts}


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def _from_text(text: str, annotation: Any, name: str) -> Any:
    """Return the value that `text` stands for; what cannot be read stays text, for the type check to refuse."""
    kinds = _alternatives(annotation)
    bare = text.strip()
    if type(None) in kinds and (bare.lower() in {"none", "null"} or (not bare and str not in kinds)):
        return None
    if str in kinds:
        return text
    for kind in kinds:
        origin = get_origin(kind) or kind
        if origin is bool and bare.lower() in WORDS:
            return WORDS[bare.lower()]
        if origin is Literal:
            return next((choice for choice in get_args(kind) if str(choice) == bare), text)
        if origin in (list, tuple, dict):
            return _read_collection(bare, origin, name)
    return bare


def _read_collection(text: str, kind: type, name: str) -> Any:
    """Read "[1, 2]", "{'a': 1}" or, for lists, "1, 2"."""
    if text[:1] in ("[", "(", "{"):
        return load_literal(text, name)
    return [part.strip() for part in text.split(",") if part.strip()] if kind is not dict else text


def _misfits(model: type[NotebookParams], values: Mapping[str, Any]) -> list[str]:
    """Name what pydantic would let pass: True for a number, and every unknown name."""
    fields = model.model_fields
    return [
        name
        for name, value in values.items()
        if name not in fields
        or (
            isinstance(value, bool)
            and bool not in _alternatives(fields[name].annotation)
            and any(kind in (int, float) for kind in _alternatives(fields[name].annotation))
        )
    ]


def _problem(model: type[NotebookParams], name: str, value: Any, custom: str = "") -> str:
    given, custom = shown(value, 80), custom.removeprefix(f"{name}: ")
    if name not in model.model_fields:
        if not name:
            return custom
        hint = nearest(name, model.model_fields) or f" There are: {', '.join(model.model_fields)}."
        return f"{name}={given}: no such parameter.{hint}"
    if custom:
        return f"{name}={given}: {custom}"
    choices = [c for kind in _alternatives(model.model_fields[name].annotation) for c in _choices(kind)]
    hint = nearest(value, choices) if isinstance(value, str) else ""
    if str in _alternatives(model.model_fields[name].annotation) and isinstance(value, (int, float)):
        hint = f" Write it as text: '{value}' with its quotes in YAML; with the papermill command `-r {name} {value}`."
    return f"{name}={given}: allowed is {_allowed(model, name)}.{hint}"


def _choices(kind: Any) -> Iterable[Any]:
    return get_args(kind) if get_origin(kind) is Literal else ()


def _type_name(annotation: Any) -> str:
    names = []
    for kind in _alternatives(annotation):
        if get_origin(kind) is Literal:
            names.append("choice")
        else:
            names.append("None" if kind is type(None) else str(kind) if get_origin(kind) else kind.__name__)
    return " | ".join(names)


def _allowed(model: type[NotebookParams], name: str) -> str:
    """Describe in words what a field takes: "an integer, at least 1, or None"."""
    field = model.model_fields[name]
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "None"}
    words |= {dict: "a mapping such as {'name': 'value'}"}
    parts = []
    for kind in _alternatives(field.annotation):
        choices = list(_choices(kind))
        plain = words.get(get_origin(kind) or kind, _type_name(kind))
        parts.append(" or ".join(map(repr, choices)) if choices else plain)
    limits = {
        "ge": "at least",
        "gt": "more than",
        "le": "at most",
        "lt": "less than",
        "multiple_of": "a multiple of",
    }
    bounds = [f"{word} {getattr(m, key)}" for m in field.metadata for key, word in limits.items() if hasattr(m, key)]
    return ", ".join([parts[0], *bounds]) + "".join(f", or {part}" for part in parts[1:])
