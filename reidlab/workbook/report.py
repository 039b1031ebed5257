"""Executed notebooks as pages: one self-contained HTML file each, and an index, in reports/html."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path

from reidlab import provenance
from reidlab.errors import UserError, nearest
from reidlab.paths import reports_root
from reidlab.workbook.pages import Page, content_of, page_of
from reidlab.workbook.runner import executed_root

__all__ = ["build_report", "find_executed", "html_root"]


def html_root() -> Path:
    """Give the folder of the pages."""
    return reports_root() / "html"


def find_executed(which: Sequence[str] = ()) -> list[Path]:
    """List the executed notebooks, or those meant by number ("3": all runs of 03), name or path.

    Raises:
        UserError: nothing was run yet, or a name fits nothing.
    """
    every = sorted(executed_root().glob("*.ipynb"), key=lambda path: path.stem)
    if not which and not every:
        raise UserError("No notebook was run yet. `reidlab run 1` runs the first one; `reidlab run` lists them.")
    found: dict[Path, None] = {}
    for text in which:
        path = Path(text)
        number = f"{int(text):02d}" if text.isdecimal() else ""
        fits = [p for p in every if text in (p.stem, p.name) or (number and p.stem.partition("_")[0] == number)]
        fits = fits or [p for p in every if p.stem.startswith(f"{text}-")]
        if not fits and path.suffix == ".ipynb" and path.is_file():
            fits = [path.resolve()]
        if not fits:
            names = [p.stem for p in every]
            raise UserError(
                f"No executed notebook {text!r}.{nearest(text, names)} There are: {', '.join(names) or 'none'}."
            )
        found |= dict.fromkeys(fits)
    return list(found) if which else every


def build_report(notebooks: Sequence[Path] = (), *, code: bool = False) -> Path:
    """Write a page per executed notebook and the index of all pages that are there; give the index.

    Args:
        notebooks: executed notebooks, all of them by default; pages of others, written before, stay in the index.
        code: show the code as well.

    Raises:
        UserError: nothing was run yet, or a notebook cannot be read.
    """
    from jinja2 import Environment, PackageLoader

    asked = [page_of(path) for path in notebooks or find_executed()]
    pages = asked + _kept([page.file for page in asked])
    pages.sort(key=lambda page: page.file)
    names = [page.file for page in pages]
    twice = sorted({name for name in names if names.count(name) > 1 or name == "index.html"})
    if twice:
        raise UserError(f"Two pages would have the same name ({', '.join(twice)}). Rename one of the notebooks.")
    loader = PackageLoader("reidlab.workbook", "templates")
    environment = Environment(loader=loader, autoescape=True, trim_blocks=True)
    git = provenance.git_state()
    shared = {
        "pages": pages,
        "style": _style(environment),
        "today": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "commit": git["commit"][:10] + (" with changes" if git["dirty"] else ""),
        "failed": sum(page.kind == "failed" for page in pages),
    }
    folder = html_root()
    folder.mkdir(parents=True, exist_ok=True)
    template = environment.get_template("page.html.j2")
    for page in asked:
        content, contents = content_of(page, code)
        more = {"title": page.title, "current": page.file, "page": page, "content": content, "contents": contents}
        _write(folder / page.file, template.render(**shared, **more))
    index = environment.get_template("index.html.j2").render(**shared, title="All notebooks", current=None)
    _write(folder / "index.html", index)
    return folder / "index.html"


def _kept(written: Sequence[str]) -> list[Page]:
    """Give the pages that an earlier call wrote, and this one does not, where their notebooks are still there."""
    others = [path for path in executed_root().glob("*.ipynb") if (html_root() / f"{path.stem}.html").is_file()]
    kept = []
    for path in others:
        with contextlib.suppress(UserError):  # one that cannot be read is not what was asked for
            kept.append(page_of(path))
    return [page for page in kept if page.file not in (*written, "index.html")]


def _style(environment: object) -> str:
    from jinja2 import Environment
    from pygments.formatters import HtmlFormatter

    assert isinstance(environment, Environment) and environment.loader is not None
    sheet = environment.loader.get_source(environment, "style.css")[0]
    light = HtmlFormatter(style="default", nobackground=True).get_style_defs(".highlight")
    dark = HtmlFormatter(style="github-dark", nobackground=True).get_style_defs(".highlight")
    return f"{sheet}{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}"


def _write(path: Path, text: str) -> None:
    """Write beside, then rename: a browser never sees half a page."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
