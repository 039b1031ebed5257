"""Options of recipes: refused where a factory does not have them, or has them of another type."""

from __future__ import annotations

import inspect
import numbers
from collections.abc import Callable, Collection, Mapping
from typing import Any

from reidlab.errors import UserError, nearest

__all__ = ["check_options"]

# in this order: a bool is an Integral, an Integral is a Real
_KINDS: dict[type, str] = {
    bool: "true or false",
    numbers.Integral: "a whole number",
    numbers.Real: "a number",
    str: "text",
}


def check_options(
    what: str, factory: Callable[..., Any], options: Mapping[str, Any], hidden: Collection[str] = ()
) -> None:
    """Refuse options that `factory` does not have, or whose type is not that of the factory's default.

    YAML reads `1e-3` (without a dot) as text, so wrong types are easily written. Where the annotation is `Part`, a
    mapping of name and options does as well. `hidden` names parameters that the caller gives, not a recipe.

    Raises:
        UserError: naming `what`, the option, and what is allowed.
    """
    parameters = {n: p for n, p in inspect.signature(factory).parameters.items() if n not in hidden}
    known = {name: parameter.default for name, parameter in parameters.items()}
    for option, value in options.items():
        if option not in known:
            hint = nearest(option, known)
            raise UserError(f"{what} has no option {option!r}; it has {', '.join(known)}.{hint}")
        if isinstance(value, Mapping) and parameters[option].annotation == "Part":
            continue
        wanted = next((kind for kind in _KINDS if isinstance(known[option], kind)), object)
        fits = isinstance(value, wanted) and (wanted in (bool, object) or not isinstance(value, bool))
        if not fits:
            raise UserError(f"{what} option {option}={value!r} must be {_KINDS[wanted]}, such as {known[option]!r}.")
