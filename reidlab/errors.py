"""The one exception for mistakes that a user can mend; its message names the offender and the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["UserError", "nearest"]


class UserError(ValueError):
    """Something given by the user (parameter, file, folder, image, command) cannot be used.

    The command line prints the message alone; notebooks show it as the last line of the traceback.
    """


def nearest(name: str, choices: Iterable[str]) -> str:
    """Say which choice `name` was probably meant to be: " Did you mean 'x'?" or an empty string."""
    matches = difflib.get_close_matches(str(name), [str(choice) for choice in choices], n=1, cutoff=0.5)
    return f" Did you mean {matches[0]!r}?" if matches else ""
