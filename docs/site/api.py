"""The API reference: a page for each package with public names, written for mkdocstrings.

mkdocstrings reads source files and runs nothing, so it does not see what a package imports only when it is asked. Here
each public name is looked up in the running package, and its page names the module that defines it.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

import reidlab
from reidlab.registry import Registry

__all__ = ["ApiPage", "Public", "api_pages", "write_api"]

HIDDEN = ("reidlab.__main__", "reidlab.cli")  # users meet these as a command


@dataclass(frozen=True)
class Public:
    """A public name: how users write it, and the place of its definition."""

    name: str
    package: str
    target: str
    sentence: str


@dataclass(frozen=True)
class ApiPage:
    """A page of the reference: a package, or a module that stands beside the packages."""

    module: str
    text: str
    names: tuple[Public, ...]

    @property
    def file(self) -> str:
        """The page, below the source folder."""
        return f"api/{self.module.removeprefix('reidlab.')}.md"


def api_pages() -> list[ApiPage]:
    """Return a page for each package of reidlab, and each module beside them, that has public names."""
    found = []
    for info in pkgutil.walk_packages(reidlab.__path__, "reidlab."):
        if info.name in HIDDEN or not (info.ispkg or info.name.count(".") == 1):
            continue
        module = importlib.import_module(info.name)
        names = tuple(_public(name, module) for name in getattr(module, "__all__", ()))
        if names:
            found.append(ApiPage(info.name, inspect.cleandoc(module.__doc__ or ""), names))
    return found


def _public(name: str, module: ModuleType) -> Public:
    value = getattr(module, name)
    home = getattr(value, "__module__", None)
    named = getattr(value, "__qualname__", "") == name and isinstance(home, str)
    target = f"{home}.{name}" if named and hasattr(importlib.import_module(home), name) else _assigned(name, module)
    text = inspect.cleandoc(value.__doc__ or "") if named else _of_constant(value)
    return Public(name, module.__name__, target, text.split("\n\n")[0].replace("\n", " "))


def _of_constant(value: object) -> str:
    """Say what a constant is: which registry, or its value where that is short."""
    if isinstance(value, Registry):
        return f"The registry of {value.plural}."
    text = repr(value)
    return f"`{text}`" if len(text) < 60 and isinstance(value, (str, int, float, tuple)) else ""


def _assigned(name: str, module: ModuleType) -> str:
    """Return where a constant is assigned: in the module itself, below it, or where that imports it from."""
    below = [module.__name__]
    if hasattr(module, "__path__"):
        below += [info.name for info in pkgutil.walk_packages(module.__path__, f"{module.__name__}.")]
    home = next((each for each in below if name in _assignments(each)), "")
    if not home:
        others = [info.name for info in pkgutil.walk_packages(reidlab.__path__, "reidlab.")]
        home = next((each for each in others if name in _assignments(each)), module.__name__)
    return f"{home}.{name}"


@cache
def _assignments(module: str) -> frozenset[str]:
    """Return the names that a module's source assigns at its top level."""
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.origin:
        return frozenset()
    found: set[str] = set()
    for node in ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        for target in targets:
            found |= {each.id for each in ast.walk(target) if isinstance(each, ast.Name)}
    return frozenset(found)


def write_api(target: Path) -> list[ApiPage]:
    """Write the reference below a folder; each definition is shown once, on the page of the shortest name."""
    pages = sorted(api_pages(), key=lambda page: page.module)
    homes: dict[str, tuple[ApiPage, Public]] = {}
    for page in sorted(pages, key=lambda page: page.module.count(".")):
        for public in page.names:
            homes.setdefault(public.target, (page, public))
    (target / "api").mkdir(parents=True, exist_ok=True)
    for page in pages:
        (target / page.file).write_text(_written(page, homes), encoding="utf-8")
    rows = [f"| [`{page.module}`]({Path(page.file).name}) | {_first_sentence(page.text)} |" for page in pages]
    head = [
        "# Python reference",
        "",
        "Every package with its public names.",
        "",
        "| package | what it is |",
        "|---|---|",
    ]
    (target / "api" / "index.md").write_text("\n".join([*head, *rows, ""]), encoding="utf-8")
    return pages


def _first_sentence(text: str) -> str:
    return text.split("\n\n")[0].replace("\n", " ").replace("|", "\\|")


def _written(page: ApiPage, homes: dict[str, tuple[ApiPage, Public]]) -> str:
    lines = [f"# {page.module}", "", page.text, "", "| name | |", "|---|---|"]
    shown = []
    for public in sorted(page.names, key=lambda each: each.name.lower()):
        home, _ = homes[public.target]
        link = f"#{public.target}" if home is page else f"{Path(home.file).name}#{public.target}"
        lines.append(f"| [`{public.name}`]({link}) | {_first_sentence(public.sentence)} |")
        shown += [public] if home is page else []
    for public in shown:
        lines += ["", f"::: {public.target}", "    options:", f"      heading: {public.name}"]
    return "\n".join([*lines, ""])
