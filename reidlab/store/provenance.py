"""Where a result comes from: git state, package versions, the machine; no host, user or absolute path is named."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from reidlab.errors import UserError
from reidlab.paths import root

__all__ = ["git_state", "machine", "peak_memory_mb", "reset_peak_memory", "versions"]

PACKAGES = (
    "reidlab",
    "accelerate",
    "faiss-cpu",
    "numpy",
    "pandas",
    "pillow",
    "pyarrow",
    "pytorch-metric-learning",
    "scikit-learn",
    "scipy",
    "timm",
    "torch",
    "torchvision",
)

_SEEN: dict[tuple[tuple[str, int], ...], bool] = {}


def git_state() -> dict[str, Any]:
    """Return the commit (empty outside git) and whether tracked files differ from it."""
    commit = _ask("rev-parse", "HEAD").strip()
    return {"commit": commit, "dirty": bool(commit and _differs())}


def _ask(*words: str, lost: str = "") -> str:
    """Return what git prints; "" where it fails, `lost` where it takes too long."""
    try:
        done = subprocess.run(["git", *words], cwd=root(), capture_output=True, text=True, timeout=20, check=False)
    except subprocess.TimeoutExpired:
        return lost
    except (OSError, UserError):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _differs() -> bool:
    """Return whether tracked files differ from the commit; outputs in notebooks do not count.

    Git's filter for notebooks starts a Python for each, and in a fresh clone git asks it for all of them: 40 seconds on
    a busy machine, cut off and asked again by the next stage. So notebooks are compared as they are first, and only
    what differs then goes through the filter.
    """
    plain = ("-c", "filter.reidlab-notebook.clean=cat")
    changed = _ask(*plain, "status", "--porcelain", "-z", "--untracked-files=no", lost="?\0").split("\0")[:-1]
    if any(not (line.startswith(" M ") and line.endswith(".ipynb")) for line in changed):
        return True
    return bool(changed) and _notebooks_differ(tuple(line[3:] for line in changed))


def _notebooks_differ(names: tuple[str, ...]) -> bool:
    """Return whether notebooks differ from the commit in more than outputs; asked once for each state of the files."""
    seen = tuple((name, (root() / name).stat().st_mtime_ns if (root() / name).is_file() else 0) for name in names)
    if seen not in _SEEN:
        paths = [f":(top){name}" for name in names]  # the clone may be a folder of a larger one
        _SEEN[seen] = bool(_ask("diff", "--name-only", "HEAD", "--", *paths, lost="?"))
    return _SEEN[seen]


def versions(names: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Return Python's version and those of the installed packages among `names`."""
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """Describe the machine without naming it: system, processor model, cores."""
    model = platform.processor() or platform.machine()
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
        model = next(
            (line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")),
            model,
        )
    except OSError:
        pass
    return {"system": f"{platform.system()} {platform.machine()}", "cpu": model, "cores": os.cpu_count() or 0}


def reset_peak_memory() -> None:
    """Reset the peak that `peak_memory_mb` reports, where the system can (Linux)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory_mb() -> float | None:
    """Return the largest resident memory of this process in MB; None where the system does not report it.

    On Linux since `reset_peak_memory`, elsewhere since the process began.
    """
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text(errors="replace").splitlines()
        peak_kib = int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
        return round(peak_kib / 2**10, 1)
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)
