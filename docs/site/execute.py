"""The notebooks executed on the built-in data, each again only where it, the package or its versions have changed."""

from __future__ import annotations

import hashlib
from pathlib import Path

from reidlab.workbook.cells import list_notebooks
from reidlab.workbook.runner import run_notebook

__all__ = ["execute_all", "fingerprint"]


def execute_all(folder: Path, root: Path) -> None:
    """Execute every notebook with its default parameters; those of `reports/executed` may be of real people.

    Args:
        folder: of the executed notebooks.
        root: the repository.

    Raises:
        SystemExit: a notebook failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for notebook in list_notebooks():
        output, mark = folder / notebook.name, folder / f"{notebook.stem}.sha256"
        wanted = fingerprint(notebook, root)
        if output.is_file() and mark.is_file() and mark.read_text() == wanted:
            continue
        mark.unlink(missing_ok=True)
        outcome = run_notebook(notebook, output=output)
        print(f"{notebook.stem}: {outcome.status} in {outcome.seconds:.1f} s", flush=True)
        if not outcome.ok:
            raise SystemExit(f"{notebook.stem} failed; what ran so far is in {output}.")
        mark.write_text(wanted)


def fingerprint(notebook: Path, root: Path) -> str:
    """Return a digest of all that a notebook's results on the built-in data can depend on."""
    digest = hashlib.sha256()
    package = root / "reidlab"
    sources = [path for path in package.rglob("*") if path.suffix in {".py", ".yaml", ".safetensors", ".json", ".js"}]
    for path in [notebook, root / "constraints.txt", *sorted(sources)]:
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
