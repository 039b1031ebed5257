"""What all tests share: runs and pages go to a temporary folder, few threads for torch, the public data sets."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

# before torch and NumPy load; in a worker of pytest-xdist one, whatever it has from the process that started it: teams of
# threads on the same cores wait for each other for minutes
WORKER = "PYTEST_XDIST_WORKER" in os.environ
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1" if WORKER else os.environ.get(name, "2")
os.environ.setdefault("MPLBACKEND", "agg")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _own_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every test's runs and pages out of the workbook's own folder, and apart from other tests'."""
    monkeypatch.setenv("REIDLAB_REPORTS", str(tmp_path / "reports"))
    monkeypatch.delenv("REIDLAB_ROOT", raising=False)


@pytest.fixture(autouse=True)
def _own_contents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the digests of tests' images out of the workbook's own cache; with `own_data` they lie there."""
    cache = tmp_path / "data" / "cache" / "contents.sqlite"
    monkeypatch.setattr("reidlab.data.contents._cache", lambda: cache)


@pytest.fixture(scope="module", autouse=True)
def _bfloat16_is_no_slower() -> Iterator[None]:
    """Let no test depend on how fast this machine's bfloat16 is: where it is slow, a warning says so.

    Of a whole module, so that it holds for fixtures of modules too.
    """
    devices = sys.modules.get("reidlab.devices")  # importing it would bring torch into every test
    with pytest.MonkeyPatch.context() as patch:
        if devices is not None:
            patch.setattr(devices, "bfloat16_times", lambda device: (1.0, 1.0))
        yield


@pytest.fixture
def own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty data folder of the test's own."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("REIDLAB_DATA", str(folder))
    return folder


@pytest.fixture
def real_data() -> Callable[[str], Path]:
    """Return the folder of a public data set below data/raw, or skip and say what is missing."""

    def find(name: str) -> Path:
        folder = Path(os.environ.get("REIDLAB_DATA", ROOT / "data")) / "raw" / name
        if not folder.is_dir() or not any(folder.iterdir()):
            pytest.skip(f"data/raw/{name} is not there (data/README.md says how to get it)")
        return folder

    return find


@pytest.fixture
def make_notebook(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a small notebook: `(name, *cells, parameters=...)`; "# ..." cells are text."""
    import nbformat
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

    def make(name: str, *cells: str, parameters: str = "", tags: dict[int, list[str]] | None = None) -> Path:
        made = [new_code_cell(parameters, metadata={"tags": ["parameters"]})] if parameters else []
        for i, source in enumerate(cells):
            cell = new_markdown_cell(source) if source.startswith("#") else new_code_cell(source)
            cell.metadata["tags"] = (tags or {}).get(i, [])
            made.append(cell)
        kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
        notebook = new_notebook(cells=made, metadata={"kernelspec": kernel})
        path = tmp_path / "notebooks" / f"{name}.ipynb"
        path.parent.mkdir(exist_ok=True)
        nbformat.write(notebook, path)
        return path

    return make


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Return a function that imports a script of docs/site; nothing of it stays among the loaded modules."""
    monkeypatch.syspath_prepend(ROOT / "docs" / "site")
    for path in (ROOT / "docs" / "site").glob("*.py"):
        monkeypatch.delitem(sys.modules, path.stem, raising=False)
    return importlib.import_module
