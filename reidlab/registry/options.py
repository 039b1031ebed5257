"""Options by name: refused where a factory does not take them, or takes them as another type."""

from __future__ import annotations

import inspect
import numbers
import types
import typing
from collections.abc import Callable, Collection, Mapping
from typing import Any

from reidlab.errors import UserError, nearest

__all__ = ["Part", "check_options", "options_of"]

Part = str | Mapping[str, Any]
"""A part of a model as a recipe names it: a registered name, or a mapping of `name` and options."""

_EXPECTED: dict[type, str] = {
    bool: "true or false",
    numbers.Integral: "a whole number",
    numbers.Real: "a number",
    str: "text",
}
_NUMBERS: dict[Any, type] = {bool: bool, int: numbers.Integral, float: numbers.Real, str: str}


def options_of(factory: Callable[..., Any], hidden: Collection[str] = ()) -> dict[str, inspect.Parameter]:
    """Return the parameters that a user may set by name, with annotations evaluated where that is possible.

    Args:
        factory: class or function.
        hidden: parameters that the caller gives itself.
    """
    try:
        signature = inspect.signature(factory, eval_str=True)
    except (NameError, TypeError, SyntaxError):  # an annotation that is imported for type checkers alone
        signature = inspect.signature(factory)
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {name: each for name, each in signature.parameters.items() if name not in hidden and each.kind in kinds}


def check_options(what: str, known: Mapping[str, inspect.Parameter], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return `options` as a factory takes them: lists become tuples where it expects tuples.

    YAML reads `1e-3` (without a dot) as text, so options of the wrong type are easily written.

    Args:
        what: names the owner of the options in messages: "loss 'triplet'".
        known: the options that exist (`options_of`).
        options: as a user gave them.

    Raises:
        UserError: an option that does not exist or has another type, or one without a default that is missing.
    """
    checked = {}
    for option, value in options.items():
        if option not in known:
            if not known:
                raise UserError(f"{what} takes no options; it was given {', '.join(map(str, options))}.")
            hint = nearest(str(option), known)
            raise UserError(f"{what} has no option {option!r}; it has {', '.join(known)}.{hint}")
        checked[option] = _checked(what, known[option], value)
    empty = inspect.Parameter.empty
    missing = [name for name, each in known.items() if each.default is empty and name not in checked]
    if missing:
        raise UserError(f"{what} needs the option {missing[0]!r}, which has no default.")
    return checked


def _checked(what: str, parameter: inspect.Parameter, value: Any) -> Any:
    default, annotation = parameter.default, parameter.annotation
    if annotation is inspect.Parameter.empty or isinstance(annotation, str):
        annotation = _NUMBERS.get(type(default), object)  # the default's type is all that is known
    if _fits(value, annotation):
        return _converted(value, annotation)
    wanted = next(
        (text for kind, text in _EXPECTED.items() if annotation is kind or _NUMBERS.get(annotation) is kind), ""
    )
    example = "" if default in (None, inspect.Parameter.empty) else f", such as {default!r}"
    raise UserError(f"{what} option {parameter.name}={value!r} must be {wanted or _written(annotation)}{example}.")


def _fits(value: Any, annotation: Any) -> bool:
    """Return whether a value of a recipe fits an annotation; annotations beyond plain data fit anything."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _fits(value, arguments[0])
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, each) for each in arguments)
    if origin is typing.Literal:
        return any(value == each and type(value) is type(each) for each in arguments)
    if annotation in (None, type(None)):
        return value is None
    if annotation in _NUMBERS or annotation in _EXPECTED:
        kind = _NUMBERS.get(annotation, annotation)
        return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    if origin is tuple:
        if not isinstance(value, (tuple, list)):
            return False
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return all(_fits(each, arguments[0]) for each in value)
        return len(value) == len(arguments) and all(map(_fits, value, arguments))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return isinstance(value, Mapping)
    if isinstance(origin, type) and issubclass(origin, Collection):
        is_list = isinstance(value, (tuple, list))
        return is_list and (not arguments or all(_fits(each, arguments[0]) for each in value))
    if isinstance(annotation, type) and annotation not in (object,):
        return isinstance(value, annotation)
    return True


def _converted(value: Any, annotation: Any) -> Any:
    """Return a value that fits as the annotation asks for it: tuples for lists, floats for whole numbers."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return _converted(value, next(each for each in arguments if _fits(value, each)))
    if annotation is float:
        return float(value)
    if origin is tuple:
        kinds = [arguments[0]] * len(value) if Ellipsis in arguments else arguments
        return tuple(_converted(each, kind) for each, kind in zip(value, kinds))
    return value


def _written(annotation: Any) -> str:
    """Return an annotation as a user reads it."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_written(each) for each in arguments)
    if origin is typing.Literal:
        return " or ".join(map(repr, arguments))
    if annotation in (None, type(None)):
        return "null"
    if origin is tuple and not (len(arguments) == 2 and arguments[1] is Ellipsis):
        return f"a list of {len(arguments)}: {', '.join(_written(each) for each in arguments)}"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return "a mapping"
    if isinstance(origin, type) and issubclass(origin, Collection):
        return "a list" + (f" of {_written(arguments[0])}" if arguments else "")
    return _EXPECTED.get(_NUMBERS.get(annotation, annotation), getattr(annotation, "__name__", str(annotation)))
