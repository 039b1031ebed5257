"""User text in figures: names, identities, cameras, paths. Whatever it holds, it is drawn as it is written.

Matplotlib takes `$...$` for a formula and fails where it is none, warns of characters that its font lacks, hides what
begins with an underscore from legends, and draws a name of 300 characters across everything else.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

__all__ = ["block", "cut", "has_glyph", "plain", "printable"]

_LINES = 6  # of a block: what users give as a caption may have any number


def plain(value: Any, length: int = 40) -> str:
    r"""Return one line of text that Matplotlib draws as it is: titles, labels, ticks, annotations, legend entries.

    Give it the user's words only, and only once: `$` comes back as `\$`, which is drawn as `$`. Characters that the
    font lacks and those that are not printed (control characters, changes of direction, halves of characters) are
    written as in Python, `\x07` or `\u5f20`, so that different names stay different.

    Args:
        value: anything; its `str` is taken.
        length: characters; of a longer text the middle is left out.
    """
    text = cut(value, length)
    text = "".join(_escaped(letter) if letter != " " and not has_glyph(letter) else letter for letter in text)
    text = cut(text, 2 * length).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text  # legends leave out what begins with an underscore


def block(value: Any, length: int = 40) -> str:
    """Return text of several lines, each as `plain` gives it; lines beyond the sixth are left out."""
    return "\n".join(plain(line, length) for line in str(value).split("\n")[:_LINES])


def cut(value: Any, length: int = 10) -> str:
    """Return text on one line without its middle where it is long, so that captions do not run into each other."""
    text = printable(value)
    return text if len(text) <= length else f"{text[: length // 3]}…{text[length // 3 + 1 - length :]}"


def printable(value: Any) -> str:
    r"""Return text on one line without what is not printed; for alt texts and file metadata, which draw nothing.

    White space becomes single spaces; control characters, changes of direction and halves of characters are written as
    in Python.
    """
    text = re.sub(r"[ \t\n\r\v\f]+", " ", str(value)).strip()
    return "".join(_escaped(letter) if _unprinted(letter) else letter for letter in text)


def _unprinted(letter: str) -> bool:
    return letter != " " and (unicodedata.category(letter)[0] == "C" or unicodedata.category(letter) in ("Zl", "Zp"))


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode()


def has_glyph(letter: str) -> bool:
    """Return whether one of the fonts that Matplotlib draws with has this character."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    return any(
        get_font(findfont(FontProperties(family=[family]))).get_char_index(ord(letter))
        for family in FontProperties().get_family()
    )
