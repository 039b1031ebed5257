"""Running notebooks in batches, cleaning them, and turning what they made into pages."""

from __future__ import annotations

from reidlab.workbook.result import RESULT_TYPE, Result, Table

__all__ = ["RESULT_TYPE", "Result", "Table"]
