"""Executed notebooks as pages: one self-contained HTML file each, and an index, in reports/html."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from reidlab.errors import UserError, nearest
from reidlab.paths import exists, reports_root
from reidlab.store import provenance
from reidlab.workbook.files import write_whole
from reidlab.workbook.pages import Page, page_of
from reidlab.workbook.pages.allowed import POLICY
from reidlab.workbook.pages.content import Content, content_of
from reidlab.workbook.pages.groups import grouped
from reidlab.workbook.runner import executed_root

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["Built", "build_report", "find_executed", "html_root", "template_environment", "write_pages"]


@dataclass(frozen=True)
class Built:
    """What `write_pages` did: the index, how many pages were written, and a line on each notebook left out."""

    index: Path
    written: int
    skipped: list[str]


def html_root() -> Path:
    """Return the folder of the pages."""
    return reports_root() / "html"


def find_executed(which: Sequence[str] = ()) -> list[Path]:
    """List the executed notebooks, or those meant by number ("3": all runs of 03), name or path.

    Raises:
        UserError: nothing was run yet, or a name fits nothing.
    """
    every = _every()
    if not which and not every:
        raise UserError("No notebook was run yet. `reidlab run 1` runs the first one; `reidlab run` lists them.")
    found: dict[Path, None] = {}
    for text in which:
        path = Path(text)
        number = f"{int(text):02d}" if text.isdecimal() and len(text) < 10 else ""
        fits = [p for p in every if text in (p.stem, p.name) or (number and p.stem.partition("_")[0] == number)]
        fits = fits or [p for p in every if p.stem.startswith(f"{text}-")]
        if not fits and path.suffix == ".ipynb" and exists(path) and path.is_file():
            fits = [path.resolve()]
        if not fits:
            names = [p.stem for p in every]
            raise UserError(
                f"No executed notebook {text!r}.{nearest(text, names)} There are: {', '.join(names) or 'none'}."
            )
        found |= dict.fromkeys(fits)
    return list(found) if which else every


def build_report(notebooks: Sequence[Path] = (), *, code: bool = False) -> Path:
    """Write the pages as `write_pages` does, report on stderr which notebooks were left out, and return the index."""
    built = write_pages(notebooks, code=code)
    for line in built.skipped:
        print(line, file=sys.stderr)
    return built.index


def write_pages(notebooks: Sequence[Path] = (), *, code: bool = False) -> Built:
    """Write a page per executed notebook and the index of all pages that are there.

    Args:
        notebooks: executed notebooks, all of them by default; pages of others, written before, stay in the index.
        code: show the code as well.

    Raises:
        UserError: nothing was run yet, none of the notebooks can be read, or the pages cannot be written.
    """
    asked, skipped = _readable(notebooks or find_executed(), code)
    pages = [page for page, _ in asked]
    pages += _kept([page.file for page in pages])
    pages.sort(key=lambda page: page.file)
    names = [page.file for page in pages]
    twice = sorted({name for name in names if names.count(name) > 1 or name == "index.html"})
    if twice:
        raise UserError(f"Two pages would have the same name ({', '.join(twice)}). Rename one of the notebooks.")
    made = template_environment()
    shared = {
        "pages": pages,
        "policy": POLICY,
        "style": _style(made),
        "today": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "commit": _commit(),
        "failed": sum(page.kind == "failed" for page in pages),
    }
    folder = html_root()
    template = made.get_template("page.html.j2")
    for page, content in asked:
        more = {"title": page.title, "current": page.file, "page": page, "content": content.html}
        more |= {"contents": content.sections, "more_style": content.style}
        write_whole(folder / page.file, template.render(**shared, **more))
    index = made.get_template("index.html.j2").render(
        **shared, groups=grouped(pages), title="All notebooks", current=None
    )
    write_whole(folder / "index.html", index)
    return Built(folder / "index.html", len(asked), skipped)


def _readable(notebooks: Sequence[Path], code: bool) -> tuple[list[tuple[Page, Content]], list[str]]:
    """Return page and content of the notebooks that can be shown, and a line on each of the others.

    Raises:
        UserError: there is none that can be shown.
    """
    asked, skipped = [], []
    for path in notebooks:
        try:
            page = page_of(path)
            asked.append((page, content_of(page.notebook, path, code)))
        except UserError as error:
            skipped.append(f"{path.name} is left out: {error}")
    if not asked:
        raise UserError("\n  ".join([*skipped, "`reidlab run` with their names makes them again."]))
    return asked, skipped


def _kept(written: Sequence[str]) -> list[Page]:
    """Return the pages that an earlier call wrote, and this one does not, where their notebooks are still there."""
    others = [path for path in _every() if (html_root() / f"{path.stem}.html").is_file()]
    kept = []
    for path in others:
        with contextlib.suppress(UserError):  # one that cannot be read is not what was asked for
            kept.append(page_of(path))
    return [page for page in kept if page.file not in (*written, "index.html")]


def _every() -> list[Path]:
    """List the executed notebooks; names that begin with a dot are of runs that are not at their end."""
    found = (path for path in executed_root().glob("*.ipynb") if not path.name.startswith("."))
    return sorted(found, key=lambda path: path.stem)


def _commit() -> str:
    git = provenance.git_state()
    return git["commit"][:10] + (" with changes" if git["dirty"] else "")


@cache
def template_environment() -> Environment:
    """Return the templates of all pages."""
    from jinja2 import Environment, PackageLoader

    loader = PackageLoader("reidlab.workbook", "templates")
    return Environment(loader=loader, autoescape=True, trim_blocks=True)


def _style(environment: Environment) -> str:
    from pygments.formatters import HtmlFormatter

    assert environment.loader is not None
    sheet = environment.loader.get_source(environment, "style.css")[0]
    light = HtmlFormatter(style="default", nobackground=True).get_style_defs(".highlight")
    dark = HtmlFormatter(style="github-dark", nobackground=True).get_style_defs(".highlight")
    return f"{sheet}{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}"
