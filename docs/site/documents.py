"""The repository's own documents as pages: README, guide, CONTRIBUTING, results and the others."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from links import relink

__all__ = ["DOCUMENTS", "PICTURES", "results", "write_documents"]

DOCUMENTS = {
    "README.md": "index.md",
    "docs/guide.md": "guide.md",
    "docs/coming_from.md": "coming_from.md",
    "data/README.md": "data.md",
    "benchmarks/README.md": "benchmarks.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "reidlab/models/shipped/small/README.md": "small.md",
}
PICTURES = "pictures"


def results(root: Path) -> dict[str, str]:
    """Return the page of each table of measured results."""
    found = sorted((root / "reports" / "results").glob("*.md"))
    return {path.relative_to(root).as_posix(): f"results/{path.name}" for path in found}


def write_documents(root: Path, target: Path, pages: Mapping[str, str]) -> None:
    """Write the documents and their pictures.

    Args:
        root: the repository.
        target: folder of the site's source.
        pages: what `relink` takes.
    """
    for source, page in {**DOCUMENTS, **results(root)}.items():
        text = (root / source).read_text(encoding="utf-8")
        path = target / page
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(relink(text, source, page, pages, root), encoding="utf-8")
    for picture in sorted((root / "docs").glob("*.png")):
        (target / PICTURES).mkdir(exist_ok=True)
        shutil.copyfile(picture, target / PICTURES / picture.name)
    rows = []
    for source, page in results(root).items():
        heading = re.search(r"^# (.+)$", (root / source).read_text(encoding="utf-8"), re.MULTILINE)
        rows.append(f"- [{heading[1] if heading else Path(page).stem}]({Path(page).name})")
    (target / "results").mkdir(exist_ok=True)
    (target / "results" / "index.md").write_text("\n".join(["# Measured results", "", *rows, ""]), encoding="utf-8")
