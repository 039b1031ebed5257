"""What a notebook's last cell displays: its key figures, readable by people and by the report."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["RESULT_TYPE", "Result", "Table"]

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


class Table:
    """A data frame for readers: scores in per cent, readable titles, no numbers of rows, no text cut short.

    Columns named as scores are (rank1, mAP, mINP ..., shares from 0 to 1) become per cent with one decimal.
    """

    def __init__(self, frame: pd.DataFrame) -> None:
        shown = frame.copy()
        for name in frame.columns.intersection(list(_SCORES)):
            shown[name] = [_per_cent(value) for value in frame[name]]
        self.frame = shown.rename(columns=_SCORES | _TITLES)
        self._numbered = frame.index.name is None and frame.index.dtype.kind == "i"

    def __repr__(self) -> str:
        return self.frame.to_string(index=not self._numbered)

    def _repr_html_(self) -> str:
        import pandas as pd

        with pd.option_context("display.max_colwidth", None):
            return self.frame.to_html(index=not self._numbered, na_rep="–", border=0)


_SCORES = {f"rank{k}": f"rank-{k} (%)" for k in (1, 5, 10, 20)}
_SCORES |= {"mAP": "mAP (%)", "mINP": "mINP (%)", "mAP_excess": "above the first row (points)"}
_TITLES = {
    "n_valid": "queries",
    "what": "what is different",
    "used_by": "who is scored so",
    "macs": "multiply-adds",
    "dim": "embedding size",
}


def _per_cent(value: float) -> str:
    return "–" if value != value else f"{100 * value:.1f}"


def show(value: Any) -> str:
    """Return a value as readable text: four significant digits, a dash for None."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
