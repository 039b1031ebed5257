"""What is in the wheel; `make test-wheel` installs it and uses it."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_wheel_holds_what_is_needed_without_a_clone(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(words, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    kinds = ("*.py", "*.yaml", "*.j2", "*.css", "*.js", "*.safetensors", "*.json", "*.md", "*.txt", "py.typed")
    package = {path.relative_to(ROOT).as_posix() for kind in kinds for path in (ROOT / "reidlab").rglob(kind)}
    assert not package - names
    fresh = {f"reidlab/workbook/fresh/notebooks/{path.name}" for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert not (fresh | {"reidlab/workbook/fresh/data/README.md"}) - names
    # and nothing else of the clone: no data, no tests, no results
    assert {name.partition("/")[0] for name in names} == {
        "reidlab",
        wheel.name.replace("-py3-none-any.whl", ".dist-info"),
    }
