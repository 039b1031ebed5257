"""A sweep in a notebook of JupyterLab: its progress is seen, and what failed is said, escaped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

Opening = Callable[..., Any]
VIEW = ".jp-OutputArea-output .widget-vbox"


@pytest.mark.slow
def test_progress_in_jupyterlab(lab: Opening, make_notebook: Callable[..., Path], tmp_path: Path) -> None:
    code = "if a == 2:\n    raise ValueError('<b>two</b> cannot be had')"
    notebook = make_notebook("toy", code, parameters="a: int = 1  # which\nname: str = ''  # said")
    file = tmp_path / "toys.yaml"
    file.write_text(yaml.safe_dump({"notebooks": str(notebook), "grid": {"a": [1, 2, 3]}, "workers": 1}))
    seen = lab(
        (
            "# A sweep",
            f"import os\nos.environ['REIDLAB_REPORTS'] = {str(tmp_path / 'reports')!r}\n"
            "from reidlab.sweeps import load_sweep, plan_sweep, run_sweep\n"
            f"table = run_sweep(plan_sweep(load_sweep({str(file)!r})))",
            "table",
        ),
        width=1000,
    )
    page = seen.page
    view = page.locator(VIEW).first
    view.locator("text=3 of 3 runs, 0 running, 1 failed").wait_for()
    assert "<b>two</b> cannot be had" in view.inner_text()  # as text
    assert view.locator(".progress-bar-warning").count() == 1
    page.locator("td:has-text('failed')").first.wait_for()
    assert seen.shot("sweep").stat().st_size > 1000
