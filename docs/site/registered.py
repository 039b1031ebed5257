"""A page for each thing that is chosen by name, and one for each kind, read from the registry."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reidlab.documents import load_yaml
from reidlab.listings import KINDS
from reidlab.listings.explained import Option, explain, options_of
from reidlab.listings.registered import Listed
from reidlab.paths import RECIPES
from reidlab.registry import DATASETS, REGISTRIES, Entry

__all__ = ["KindPage", "write_registered"]


@dataclass(frozen=True)
class KindPage:
    """The index of a kind and the pages of its entries, as (title, file) below the source folder."""

    title: str
    index: str
    entries: list[tuple[str, str]]


def write_registered(target: Path) -> list[KindPage]:
    """Write all pages; recipes come first, as users meet them first."""
    order = ["recipes", *(kind for kind in KINDS if kind != "recipes")]
    pages = [_write_kind(target, kind, KINDS[kind].many, KINDS[kind].read()) for kind in order]
    pages.insert(1, _write_datasets(target))
    lines = ["# What is chosen by name", "", "| kind | how many |", "|---|---|"]
    lines += [f"| [{page.title}]({Path(page.index).relative_to('by_name')}) | {len(page.entries)} |" for page in pages]
    (target / "by_name" / "index.md").write_text("\n".join([*lines, ""]), encoding="utf-8")
    return pages


def _write_kind(target: Path, kind: str, many: str, listed: Mapping[str, Listed]) -> KindPage:
    folder = target / "by_name" / kind
    folder.mkdir(parents=True, exist_ok=True)
    entries = {entry.name: entry for registry in REGISTRIES if registry.plural == kind for entry in registry.values()}
    registry = next((each for each in REGISTRIES if each.plural == kind), None)
    for name, each in listed.items():
        types = {n: _type(p) for n, p in registry.options(name).items()} if registry and name in entries else {}
        text = _recipe(name, each) if kind == "recipes" else _entry(KINDS[kind].one, name, each, types, entries[name])
        (folder / f"{_file(name)}.md").write_text(text, encoding="utf-8")
    rows = [
        (name, _first_sentence(each.sentence) if kind == "recipes" else each.sentence) for name, each in listed.items()
    ]
    command = f"`reidlab {kind}` lists them in the terminal, `reidlab {kind} NAME` explains one."
    return _index(target, kind, many, rows, command)


def _index(target: Path, kind: str, many: str, rows: list[tuple[str, str]], command: str) -> KindPage:
    title = many[:1].upper() + many[1:]
    lines = [f"# {title}", "", command, "", "| name | what it is |", "|---|---|"]
    lines += [f"| [`{name}`]({_file(name)}.md) | {_cell(sentence)} |" for name, sentence in rows]
    (target / "by_name" / kind / "index.md").write_text("\n".join([*lines, ""]), encoding="utf-8")
    return KindPage(title, f"by_name/{kind}/index.md", [(n, f"by_name/{kind}/{_file(n)}.md") for n, _ in rows])


def _entry(one: str, name: str, listed: Listed, types: Mapping[str, str], entry: Entry) -> str:
    text, options, facts = listed.details()
    lines = [
        f"# {name}",
        "",
        f"*{one[:1].upper()}{one[1:]}:* {listed.sentence}.",
        "",
        text,
        "",
        *_table(options, types),
    ]
    if facts:
        lines += [facts.replace("NAME", name), ""]
    if listed.usage:
        needed = "".join(f", {each.name}: ..." for each in options if not each.default)
        usage = "\n".join(line.removeprefix("  ") for line in listed.usage.replace("NAME", name + needed).splitlines())
        lines += ["In a recipe:", "", "```yaml", usage, "```", ""]
    lines += [f"Defined in `{entry.target.replace(':', '.')}`.", ""]
    return "\n".join(lines)


def _table(options: list[Option] | Any, types: Mapping[str, str]) -> list[str]:
    if not options:
        return []
    lines = ['<div class="options" markdown>', "", "| option | type | default | meaning |", "|---|---|---|---|"]
    for each in options:
        default = f"`{_cell(each.default)}`" if each.default else "must be given"
        lines.append(f"| `{each.name}` | {_cell(types.get(each.name, ''))} | {default} | {_cell(each.meaning)} |")
    lines += ["", "</div>"]
    return [*lines, ""]


def _recipe(name: str, listed: Listed) -> str:
    recipe: Any = load_yaml((RECIPES / f"{name}.yaml").read_text(encoding="utf-8"), name)
    lines = [f"# {name}", "", _prose(str(recipe.get("source", f"As `{recipe.get('base')}`, changed."))), ""]
    if "expected" in recipe:
        lines += [f"**Expected.** {_prose(str(recipe['expected']))}", ""]
    lines += [
        "```sh",
        f"reidlab run 03 -p recipe {name}",
        f"reidlab recipes {name} > mine.yaml   # a copy to change",
        "```",
    ]
    lines += ["", f'```yaml title="reidlab/recipes/{name}.yaml"', listed.details().text, "```", ""]
    return "\n".join(lines)


def _write_datasets(target: Path) -> KindPage:
    folder = target / "by_name" / "datasets"
    folder.mkdir(parents=True, exist_ok=True)
    for name, entry in DATASETS.items():
        (folder / f"{_file(name)}.md").write_text(_dataset(name, entry), encoding="utf-8")
    command = "`reidlab data list` lists them and says which ones are there."
    return _index(target, "datasets", "data sets", [(n, e.description) for n, e in DATASETS.items()], command)


def _dataset(name: str, entry: Entry) -> str:
    text, meanings = explain(entry.factory)
    types = {n: _type(p) for n, p in DATASETS.options(name).items()}
    own = "crops.csv" if name == "table" else "crops"
    modules, root, place = "data", f'"{own}"', "Its place is given as `root`."
    if entry.facts.get("maker"):
        modules, root = "data, pedestrians", "pedestrians.built_in()"
        place = "It is drawn below `data/cache` where it is missing."
    elif entry.facts.get("folder"):
        root, place = "", f"Its usual place is `data/{entry.facts['folder']}`."
    lines = [f"# {name}", "", f"*Data set:* {entry.description}.", "", text, "", place, ""]
    lines += [f"Paper: {entry.facts['citation']}.", ""] if entry.facts.get("citation") else []
    command = f"reidlab run 01 -p dataset {name}" + ("" if entry.facts.get("folder") else f" -p root ~/{own}")
    given = ", ".join(filter(None, [f'"{name}"', root]))
    lines += ["```sh", command, "```", "", "```python", f"from reidlab import {modules}", ""]
    lines += [f"table = data.read({given})", "```", "", *_table(options_of(DATASETS.options(name), meanings), types)]
    return "\n".join([*lines, "How its folder must look: [Data sets](../../data.md).", ""])


def _type(parameter: inspect.Parameter) -> str:
    """Return an option's type as text, without the names of modules."""
    annotation = parameter.annotation
    if annotation is inspect.Parameter.empty:
        return ""
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return re.sub(r"\b(?:\w+\.)+(?=\w)", "", text)


def _prose(text: str) -> str:
    """Return a paragraph of a recipe; addresses of repositories such as a/b_c stay as they are written."""
    return re.sub(r"([_*<])", r"\\\1", " ".join(text.split()))


def _first_sentence(text: str) -> str:
    found = re.match(r".+?\.(?=\s+[A-Z(]|\s*$)", text, re.DOTALL)
    return found.group() if found else text


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _file(name: str) -> str:
    return re.sub(r"[^\w.-]", "-", name)
