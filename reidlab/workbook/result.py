"""What a notebook's last cell displays: its key figures, readable by people and by the report."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

__all__ = ["RESULT_TYPE", "Result"]

RESULT_TYPE = "application/vnd.reidlab.result+json"


class Result:
    """Key figures of a notebook: as the last expression of the last cell, `Result({"mAP": 0.71, ...})`.

    The notebook file keeps them as JSON under `RESULT_TYPE`, so the index page and other programs read them
    without parsing text. Values are numbers, text, true/false or None; NumPy scalars become numbers.
    """

    def __init__(self, metrics: Mapping[str, Any], *, note: str = "") -> None:
        self.metrics = {str(k): v.item() if hasattr(v, "item") else v for k, v in metrics.items()}
        self.note = note

    def __repr__(self) -> str:
        width = max(map(len, self.metrics), default=0)
        lines = [f"{name:<{width}}  {show(value)}" for name, value in self.metrics.items()]
        return "\n".join([*lines, *([self.note] if self.note else [])])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{escape(name)}</th><td>{escape(show(value))}</td></tr>"
            for name, value in self.metrics.items()
        )
        return f"<table>{rows}</table>" + (f"<p>{escape(self.note)}</p>" if self.note else "")

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        # the notebook format sorts the keys of dictionaries, so their order is kept beside
        content = {"schema": 1, "metrics": self.metrics, "order": list(self.metrics), "note": self.note}
        return {RESULT_TYPE: content, "text/html": self._repr_html_(), "text/plain": repr(self)}


def show(value: Any) -> str:
    """Write a value for people: four significant digits, a dash for None."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
