"""Write the documentation site: `make docs`, or `python docs/site/make_site.py --help`.

Pages are written into a folder first (documents of the repository, notebooks, what is chosen by name, the Python
reference); then mkdocs builds the site from them, and fails on any broken link or anchor.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

from api import write_api
from documents import DOCUMENTS, PICTURES, results, write_documents
from execute import execute_all
from github_pages import write_github_pages
from notebook_pages import list_pages, write_notebooks
from registered import write_registered

from reidlab.paths import reports_root

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
REPORTS = reports_root()


def main(arguments: list[str] | None = None) -> None:
    """Write the pages, then the site."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=REPORTS / "site", help="folder of the site")
    parser.add_argument("--pages", type=Path, default=REPORTS / "site_pages", help="folder of its sources")
    parser.add_argument(
        "--executed", type=Path, default=REPORTS / "site_notebooks", help="folder of executed notebooks"
    )
    parser.add_argument("--unexecuted", action="store_true", help="show the notebooks without results")
    parser.add_argument("--github", action="store_true", help="write docs/notebooks too, the pages that GitHub shows")
    given = parser.parse_args(arguments)
    if not given.unexecuted:
        execute_all(given.executed, ROOT)
    if given.github:
        print(f"Wrote {write_github_pages(list_pages(given.executed), ROOT).relative_to(ROOT)}.")
    nav = write_pages(given.pages, None if given.unexecuted else given.executed)
    build(given.pages, given.output, nav)
    print(f"Open {given.output / 'index.html'} in a browser.")


def write_pages(target: Path, executed: Path | None) -> list[Any]:
    """Write the sources of all pages into a folder of their own, and return the site's navigation."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    found = list_pages(executed)
    pages = {**DOCUMENTS, **results(ROOT), "reports/results": "results/index.md"}
    pages |= {"reidlab/recipes": "by_name/recipes/index.md"}
    pages |= {f"docs/{path.name}": f"{PICTURES}/{path.name}" for path in (ROOT / "docs").glob("*.png")}
    pages |= {page.source.relative_to(ROOT).as_posix(): page.file for page in found}
    write_documents(ROOT, target, pages)
    write_notebooks(found, target, pages, ROOT)
    kinds = write_registered(target)
    api = write_api(target)
    shutil.copytree(HERE / "theme", target / "theme")
    return [
        {"Home": "index.md"},
        {"Guide": ["guide.md", {"Coming from other packages": "coming_from.md"}, {"Data sets": "data.md"}]},
        {"Notebooks": ["notebooks/index.md", *({page.title: page.file} for page in found)]},
        {
            "By name": [
                "by_name/index.md",
                *({kind.title: [kind.index, *({n: f} for n, f in kind.entries)]} for kind in kinds),
            ]
        },
        {"Python": ["api/index.md", *({page.module.removeprefix("reidlab."): page.file} for page in api)]},
        {
            "Results": [
                "results/index.md",
                *results(ROOT).values(),
                {"The shipped model": "small.md"},
                {"Benchmarks": "benchmarks.md"},
            ]
        },
        {"Project": [{"How it is built": "contributing.md"}, {"Changelog": "changelog.md"}]},
    ]


def build(pages: Path, output: Path, nav: list[Any]) -> None:
    """Build the site from its sources.

    Raises:
        SystemExit: mkdocs found a broken link or anchor, or anything else to warn of.
    """
    from mkdocs.commands.build import build as build_site
    from mkdocs.config import load_config
    from mkdocs.exceptions import Abort

    config = load_config(
        str(ROOT / "mkdocs.yml"), docs_dir=str(pages.resolve()), site_dir=str(output.resolve()), nav=nav, strict=True
    )
    config.plugins.on_startup(command="build", dirty=False)
    try:
        build_site(config)
    except Abort as error:
        raise SystemExit(f"The site was not built: {error}") from error
    finally:
        config.plugins.on_shutdown()


if __name__ == "__main__":
    import logging

    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    main()
