"""The one exception for mistakes that a user can correct; its message names the offender and the remedy."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

__all__ = ["UserError", "nearest", "printable", "shown"]

LONGEST = 4000
# C0 and C1 controls but tab and newline, marks that turn the direction of text, surrogates
UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class UserError(ValueError):
    """Something given by the user (parameter, file, folder, image, command) cannot be used.

    The command line prints the message alone; notebooks show it as the last line of the traceback. Whatever the
    message quotes, it can be printed: control characters and lone surrogates stand as escapes, and the middle of
    a message beyond `LONGEST` characters is left out.
    """

    def __init__(self, *args: object) -> None:
        super().__init__(*(printable(part) if isinstance(part, str) else part for part in args))


def printable(text: str) -> str:
    """Return `text` as a terminal and a file in UTF-8 can show it, at most `LONGEST` characters of it."""
    text = UNPRINTABLE.sub(lambda sign: sign[0].encode("unicode_escape").decode(), text)
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} ... {text[-(LONGEST // 2 - 5) :]}"


def shown(value: object, limit: int = 80) -> str:
    """Return the repr of anything in at most `limit` characters; a repr that fails gives the name of the type."""
    try:
        plain = value.item() if type(value).__module__ == "numpy" and getattr(value, "ndim", 1) == 0 else value  # type: ignore[attr-defined]
        text = printable(repr(plain))
    except Exception:  # of many kinds: integers of too many digits, objects of the user's own
        return f"<{type(value).__name__}>"
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def nearest(name: str, choices: Iterable[str]) -> str:
    """Return a hint at the choice that `name` was probably meant to be: " Did you mean 'x'?" or an empty string."""
    wanted, known = str(name)[:200], [str(choice) for choice in choices]
    whole = difflib.get_close_matches(wanted, known, n=1, cutoff=0.5)
    # beginnings count: osnett is nearer to osnet_x1_0 than to resnet50t
    begun = {choice[: len(wanted)]: choice for choice in reversed(known) if len(wanted) > 3}
    start = difflib.get_close_matches(wanted, begun, n=1, cutoff=0.75)
    ratios = [difflib.SequenceMatcher(None, wanted, found[0]).ratio() for found in (whole, start) if found]
    if start and (not whole or ratios[1] > ratios[0] + 0.1):
        whole = [begun[start[0]]]
    return f" Did you mean {whole[0]!r}?" if whole else ""
