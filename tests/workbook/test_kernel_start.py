"""A kernel that does not start is started once more; whatever else goes wrong is told at once."""

from __future__ import annotations

import os
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_notebook

from reidlab.workbook import child

REQUEST = dict.fromkeys(("input", "output", "parameters", "kernel", "cell_timeout", "bar"))


def execute(outcomes: list[Any], monkeypatch: pytest.MonkeyPatch) -> tuple[tuple[str, Any], int]:
    """Let papermill's calls end as said; return what came of it, and how many calls there were."""
    import papermill

    monkeypatch.setattr(child, "forgo", lambda **_: None)
    for name in (child.BATCH, "TQDM_DISABLE"):  # what it sets is put back afterwards
        monkeypatch.setenv(name, os.environ.get(name, "1"))
    calls = iter(outcomes)
    made: list[None] = []

    def called(*_: Any, **__: Any) -> nbformat.NotebookNode:
        made.append(None)
        outcome = next(calls)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    monkeypatch.setattr(papermill, "execute_notebook", called)
    return child.execute(REQUEST), len(made)


@pytest.mark.parametrize("words", child.START_TROUBLE)
def test_the_start_is_tried_twice(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    trouble = RuntimeError(f"{words}: kernel_info")
    assert execute([trouble, new_notebook()], monkeypatch) == (("done", None), 2)
    (status, failure), calls = execute([trouble, trouble], monkeypatch)
    assert (status, calls) == ("failed", 2) and words in failure["message"]


def test_other_trouble_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    (status, failure), calls = execute([OSError("No space left on device")], monkeypatch)
    assert (status, calls) == ("failed", 1) and "No space left" in failure["message"]
