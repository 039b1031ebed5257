"""The executed notebooks as the index shows them: by notebook, the runs of each side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reidlab.params import NOTEBOOKS
from reidlab.workbook.pages import Page

__all__ = ["Group", "grouped"]


@dataclass
class Group:
    """One notebook and its runs; rows are (key figure, its value in each run)."""

    notebook: str
    pages: list[Page]

    @property
    def first(self) -> Page:
        """The run that gives the title and the picture: the first one that has a picture."""
        return next((page for page in self.pages if page.thumbnail), self.pages[0])

    @property
    def rows(self) -> list[tuple[str, list[str]]]:
        """Every key figure that one of the runs has, with a dash where another lacks it."""
        names = dict.fromkeys(name for page in self.pages for name, _ in page.metrics)
        values = [dict(page.metrics) for page in self.pages]
        return [(name, [run.get(name, "–") for run in values]) for name in names]

    def label(self, page: Page) -> str:
        """Return what tells a run from the others: the end of its name."""
        return page.path.stem.removeprefix(self.notebook).lstrip("-").replace("_", " ") or "(no label)"


def grouped(pages: Sequence[Page]) -> list[Group]:
    """Put the runs of each notebook together, in the order of the pages; other notebooks stand alone."""
    groups: dict[str, Group] = {}
    for page in pages:
        stem = page.path.stem
        notebook = next((name for name in NOTEBOOKS if stem == name or stem.startswith(f"{name}-")), stem)
        groups.setdefault(notebook, Group(notebook, [])).pages.append(page)
    for notebook, group in groups.items():
        group.pages.sort(key=lambda page: page.path.stem != notebook)  # stable: the run without a label comes first
    return list(groups.values())
