"""Lists of what is registered, with a sentence each and wildcards, and all there is to say of one name."""

from __future__ import annotations

import fnmatch
import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from reidlab.errors import UserError, nearest
from reidlab.listings.layout import definitions, lines, wrapped
from reidlab.listings.registered import KINDS, TIMM, Listed, of_timm
from reidlab.paths import SHIPPED_MODELS

__all__ = ["choose", "records", "show"]


def choose(kind: str, patterns: Iterable[str] = ()) -> list[str]:
    """Return the registered names that fit any of the patterns, in the order of the patterns; all without a pattern.

    Args:
        kind: one of `KINDS`.
        patterns: names, or names with the wildcards * ? [abc], in upper or lower case. Of models and backbones,
            "timm/*regnet*" means networks of timm, and a name of timm's does as well as one of ours.

    Raises:
        UserError: a pattern that nothing fits.
    """
    known = KINDS[kind].read()
    fitting = [name for given in patterns for name in _fitting(kind, known, given)]
    return list(dict.fromkeys(fitting)) or list(known)


def show(kind: str, patterns: Sequence[str] = (), *, width: int | None = None) -> str:
    """Write the list of what fits the patterns; of a single plain name all there is to say.

    Args:
        kind: one of `KINDS`.
        patterns: see `choose`.
        width: of the terminal, in characters: a list cuts its lines there; None writes each entry whole, on one line.

    Raises:
        UserError: a pattern that nothing fits.
    """
    card = _card(kind, patterns)
    if card:
        return card
    names = choose(kind, patterns)
    known = KINDS[kind].read()
    if len(patterns) == 1 and not _has_wildcard(patterns[0]):
        return _explanation(kind, names[0], known.get(names[0]) or of_timm(kind, names[0]), width)
    return lines([(name, known[name].sentence if name in known else _tags(name)) for name in names], width)


def records(kind: str, patterns: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return what `show` writes as plain data; a single plain name comes with its text, options and facts.

    Raises:
        UserError: a pattern that nothing fits.
    """
    card = _card(kind, patterns)
    if card:
        return [{"name": patterns[0].strip().lower(), "sentence": "a trained model of the package", "text": card}]
    names = choose(kind, patterns)
    known = KINDS[kind].read()
    if len(patterns) == 1 and not _has_wildcard(patterns[0]):
        (name,) = names
        listed = known.get(name) or of_timm(kind, name)
        text, options, facts = listed.details()
        said = {"text": text, "facts": facts, "usage": listed.usage, "options": [each._asdict() for each in options]}
        return [{"name": name, "sentence": listed.sentence, **said}]
    return [{"name": name, "sentence": known[name].sentence if name in known else _tags(name)} for name in names]


def _card(kind: str, patterns: Sequence[str]) -> str:
    """Return the card of a trained model that comes with the package, where its name alone is asked for."""
    cards = {path.parent.name: path for path in SHIPPED_MODELS.glob("*/README.md")} if kind == "models" else {}
    path = cards.get(patterns[0].strip().lower()) if len(patterns) == 1 else None
    return "" if path is None else path.read_text(encoding="utf-8").rstrip()


def _explanation(kind: str, name: str, listed: Listed, width: int | None) -> str:
    text, options, facts = listed.details()
    if kind == "recipes":
        return text  # the file itself: one's own recipe begins as a copy of it
    blocks = [wrapped(f"{KINDS[kind].one} {name}: {listed.sentence}", width)]
    blocks += [_paragraph(part, width) for part in text.split("\n\n") if part]
    if options:
        rows = [(f"  {each.name}: {each.default}".rstrip(), each.meaning) for each in options]
        blocks.append("Options and their defaults:\n" + definitions(rows, width))
    blocks.append(wrapped(facts, width))
    if listed.usage:
        needed = "".join(f", {each.name}: ..." for each in options if not each.default)
        blocks.append("In a recipe:\n  " + listed.usage.replace("NAME", name + needed))
    return "\n\n".join(block for block in blocks if block)


def _paragraph(text: str, width: int | None) -> str:
    """Wrap a paragraph, or each point of a list."""
    points = re.split(r"\n(?=[*-] )", text)
    return "\n".join(wrapped(point, width) for point in points)


def _has_wildcard(text: str) -> bool:
    return any(sign in text for sign in "*?[")


def _fitting(kind: str, known: Mapping[str, Listed], given: str) -> list[str]:
    wanted = given.strip().lower()
    found = [name for name in known if fnmatch.fnmatchcase(name.lower(), wanted)]
    if found:
        return found
    timms = _of_timm() if kind in ("models", "backbones") else {}
    network = wanted.removeprefix(TIMM)
    if not _has_wildcard(network) and network.partition(".")[0] in timms:
        return [wanted]
    theirs = fnmatch.filter(timms, network)
    if theirs and wanted != network:
        return [TIMM + name for name in theirs]
    other = f" Of timm, `reidlab {kind} '{TIMM}{wanted}'` lists {len(theirs)}." if theirs else ""
    if any(wanted in name for name in known):
        other = f" `reidlab {kind} '*{wanted}*'` lists those with it in their names."
    bare = re.sub(r"[*?]|\[.*?\]", "", network)
    hint = other or nearest(bare, [*known, *timms]) or f" There are: {', '.join(known)}."
    raise UserError(f"no {KINDS[kind].one} fits {given!r}.{hint}")


def _tags(name: str) -> str:
    """Say of a network of timm which pretrained weights there are."""
    found = _of_timm()[name.removeprefix(TIMM).partition(".")[0]]
    return f"weights: {', '.join(found)}" if found else "no weights"


@functools.cache
def _of_timm() -> dict[str, list[str]]:
    """Return the networks of timm with the tags of their pretrained weights."""
    import timm

    tags: dict[str, list[str]] = {name: [] for name in timm.list_models()}
    for full in timm.list_pretrained():
        name, _, tag = full.partition(".")
        tags[name].append(tag)
    return tags
