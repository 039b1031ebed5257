"""Every notebook of the workbook runs, from its defaults, on the built-in data set; and nbval agrees."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from reidlab.workbook.cells import read_notebook, result_of
from reidlab.workbook.clean import main as clean_main
from reidlab.workbook.report import build_report
from reidlab.workbook.runner import Outcome, run_notebook

pytestmark = pytest.mark.notebook
Make = Callable[..., Path]
ROOT = Path(__file__).resolve().parents[2]
PATHS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LIMIT, MAX_BYTES = 900, 2_000_000
MARGIN = 20  # points of mAP that the demo recipe has above the histogram on the built-in data; it had 40


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One place for the runs of all notebooks, so that what an early one makes is found by the later ones."""
    return tmp_path_factory.mktemp("shared")


@pytest.fixture
def in_shared(shared: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REIDLAB_REPORTS", str(shared / "reports"))
    return shared


def told(outcome: Outcome) -> str:
    failure = outcome.failure
    return f"{failure.cell}\n{failure.error}: {failure.message}\n{failure.traceback}" if failure else ""


def bounds_broken(name: str, metrics: Mapping[str, float]) -> list[str]:
    """Return what is wrong with the scores of a notebook on the built-in data."""
    if name != "04_retrieval_analysis":
        return []
    score, floor = metrics["mAP (%)"], metrics["histogram mAP (%)"]
    broken = [f"mAP {score} is not {MARGIN} points above the histogram's {floor}"] if score < floor + MARGIN else []
    return broken + ([] if 0 < floor < 50 else [f"a histogram has mAP {floor}: the data got too easy, or empty"])


def test_scores_out_of_bounds_are_found() -> None:
    assert bounds_broken("04_retrieval_analysis", {"mAP (%)": 61.0, "histogram mAP (%)": 20.9}) == []
    assert bounds_broken("04_retrieval_analysis", {"mAP (%)": 30.0, "histogram mAP (%)": 20.9})
    assert bounds_broken("04_retrieval_analysis", {"mAP (%)": 90.0, "histogram mAP (%)": 60.0})


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_notebook_runs_and_shows_its_result(path: Path, in_shared: Path) -> None:
    outcome = run_notebook(path, timeout=LIMIT)
    assert outcome.ok, told(outcome)
    notebook = read_notebook(outcome.output)
    assert outcome.output.stat().st_size < MAX_BYTES
    metrics = result_of(notebook).get("metrics")
    assert metrics, "the last cell shows a reidlab.workbook.Result"
    assert bounds_broken(path.stem, metrics) == []
    shown = [o.get("data", {}) for c in notebook.cells for o in c.get("outputs", [])]
    assert any("image/png" in data or "<img " in data.get("text/html", "") for data in shown), "it shows something"
    bare = [o["data"] for c in notebook.cells for o in c.get("outputs", []) if set(o.get("data", {})) == {"text/plain"}]
    assert not [data for data in bare if "".join(data["text/plain"]).startswith(("<Figure", "<Axes", "Figure("))]


@pytest.mark.slow
@pytest.mark.skipif(not PATHS, reason="there are no notebooks yet")
def test_the_working_directory_does_not_matter(
    in_shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for label, folder in (("here", PATHS[0].parent), ("there", tmp_path)):
        monkeypatch.chdir(folder)
        outcome = run_notebook(PATHS[0], label=label, cwd=folder, timeout=LIMIT)
        assert outcome.ok, told(outcome)
        found.append(result_of(read_notebook(outcome.output))["metrics"])
        found[-1] = {name: value for name, value in found[-1].items() if "second" not in name}
    assert found[0] == found[1]
    assert not any(tmp_path.glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.skipif(not PATHS, reason="there are no notebooks yet")
def test_the_report_of_all_is_whole(in_shared: Path) -> None:
    if not list((in_shared / "reports" / "executed").glob("*.ipynb")):
        pytest.skip("no notebook ran before this test")
    html = build_report().read_text()
    assert "<script" not in html and "✗" not in html


# ---- the machinery, on small notebooks

CELLS = (
    "# Small",
    "from reidlab import store\nrun = store.stage('toy', 'small', params={'n': n}, make=lambda folder: {'n': n})",
    "print('n =', run.result['n'])",
    "from reidlab.workbook import Result\nResult({'n': run.result['n'], 'seconds': run.seconds})",
)


def small(make_notebook: Make) -> Path:
    return make_notebook("small", *CELLS, parameters="n: int = 2  # how many", tags={2: ["nbval-check-output"]})


def test_a_small_notebook_runs_the_same_from_two_directories(make_notebook: Make, tmp_path: Path) -> None:
    path = small(make_notebook)
    first = run_notebook(path, {"n": 5}, label="a")
    second = run_notebook(path, {"n": 5}, label="b", cwd=tmp_path)
    assert first.ok and second.ok, told(first) + told(second)
    results = [result_of(read_notebook(outcome.output))["metrics"] for outcome in (first, second)]
    assert results[0] == results[1] and results[0]["n"] == 5  # the second found what the first had made


def nbval(path: Path, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(tmp_path)]
    words += ["--nbval-lax", "--nbval-current-env", "--nbval-sanitize-with", str(ROOT / "tests" / "nbval_sanitize.cfg")]
    words += ["-W", "default", "-p", "no:cacheprovider", str(path)]
    return subprocess.run(words, cwd=tmp_path, env=dict(os.environ), capture_output=True, text=True, check=False)


def test_kept_outputs_are_compared_after_cleaning(make_notebook: Make, tmp_path: Path) -> None:
    path = small(make_notebook)
    outcome = run_notebook(path, output=tmp_path / "executed.ipynb")
    assert outcome.ok, told(outcome)
    path.write_text(outcome.output.read_text())  # as a person saves what she ran
    assert clean_main([str(path)]) == 0
    done = nbval(path, tmp_path)
    assert done.returncode == 0 and "4 passed" in done.stdout, done.stdout
    path.write_text(path.read_text().replace("n = 2", "n = 3"))
    done = nbval(path, tmp_path)
    assert done.returncode == 1 and "1 failed" in done.stdout, done.stdout
