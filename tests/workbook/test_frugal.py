"""The command's own processes leave out what they do not need; notebooks are read and run all the same."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("before", "then", "absent"),
    [
        ("forgo()", "import nbformat; nbformat.validate(nbformat.v4.new_notebook())", ["rfc3987_syntax"]),
        ("forgo(remote=True)", "import papermill; papermill.execute_notebook", ["rfc3987_syntax", "pyarrow"]),
    ],
)
def test_what_is_left_out(before: str, then: str, absent: list[str]) -> None:
    code = f"from reidlab.workbook.frugal import forgo; {before}; {then}; import sys; print([sys.modules[n] for n in {absent}])"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str([None] * len(absent))


def test_nothing_is_left_out_of_a_kernel_or_a_script() -> None:
    code = "import reidlab.workbook, reidlab.workbook.frugal, sys; print(None in sys.modules.values())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
