"""What `make lab` has JupyterLab do after it saved a notebook.

Git takes a file of another size for changed, though its filter (`python -m reidlab.workbook.clean --filter`) makes the
same of it. Adding such a file stages nothing and tells git its size, so that `git status` stays clean.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

__all__ = ["settle"]


def settle(os_path: str, **_: Any) -> None:
    """Tell git that a notebook whose cells did not change is unchanged; one that did change is left alone.

    Args:
        os_path: the saved file.
    """
    path = Path(os_path)
    if path.suffix == ".ipynb" and _git(path, "ls-files", "--error-unmatch") and _git(path, "diff", "--quiet"):
        _git(path, "add")


def _git(path: Path, *words: str) -> bool:
    """Return whether a command of git on a file succeeds; where there is no git, none does."""
    try:
        done = subprocess.run(
            ["git", *words, "--", path.name], cwd=path.parent, capture_output=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
