"""What all tests share: runs and pages go to a temporary folder, one thread for torch, the public data sets."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # before torch and NumPy load
    os.environ.setdefault(name, "2")
os.environ.setdefault("MPLBACKEND", "agg")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _own_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every test's runs and pages out of the workbook's own folder, and apart from other tests'."""
    monkeypatch.setenv("REIDLAB_REPORTS", str(tmp_path / "reports"))
    monkeypatch.delenv("REIDLAB_ROOT", raising=False)


@pytest.fixture
def own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give an empty data folder of the test's own."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("REIDLAB_DATA", str(folder))
    return folder


@pytest.fixture
def real_data() -> Callable[[str], Path]:
    """Give the folder of a public data set below data/raw, or skip and say what is missing."""

    def find(name: str) -> Path:
        folder = Path(os.environ.get("REIDLAB_DATA", ROOT / "data")) / "raw" / name
        if not folder.is_dir() or not any(folder.iterdir()):
            pytest.skip(f"data/raw/{name} is not there (data/README.md says how to get it)")
        return folder

    return find
