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


def git_state() -> dict[str, Any]:
    """Return the commit (empty outside git) and whether tracked files differ from it."""

    def ask(*words: str) -> str:
        try:
            done = subprocess.run(["git", *words], cwd=root(), capture_output=True, text=True, timeout=20, check=False)
        except (OSError, UserError, subprocess.TimeoutExpired):
            return ""
        return done.stdout.strip() if done.returncode == 0 else ""

    commit = ask("rev-parse", "HEAD")
    return {"commit": commit, "dirty": bool(commit and ask("status", "--porcelain", "--untracked-files=no"))}


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
