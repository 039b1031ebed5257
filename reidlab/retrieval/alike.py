"""What comparisons of results share: the check that they are of the same queries, their values per query, tables."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from reidlab.errors import UserError, shown
from reidlab.retrieval.confidence import FEW_IDENTITIES
from reidlab.retrieval.outcome import RetrievalResult

__all__ = ["alike", "html_table", "measures", "remarks"]

Floats = npt.NDArray[np.float64]


def alike(results: Mapping[str, Any]) -> list[pd.DataFrame]:
    """Return the valid rows of results; refuse results that are not of the same queries under the same protocol."""
    for name, result in results.items():
        if not isinstance(result, RetrievalResult):
            raise UserError(
                f"{name} must be a RetrievalResult (`evaluate`, or RetrievalResult.load); got {shown(result)}."
            )
        if "pid" not in result.per_query:
            raise UserError(f"{name} does not say who its queries are: its per_query has no column pid.")
    (first, one), *others = results.items()
    for name, other in others:
        for what, words in (("rule", "camera rule"), ("ap", "form of AP"), ("n_gallery", "number of gallery images")):
            mine, its = getattr(one, what), getattr(other, what)
            if mine != its:
                raise UserError(f"{first} and {name} differ in their {words}: {mine} and {its}. Evaluate both alike.")
        if len(one.per_query) != len(other.per_query):
            raise UserError(f"{first} has {len(one.per_query):,} queries and {name} {len(other.per_query):,}.")
        for column in ("pid", "camid", "valid"):
            if (column in one.per_query) != (column in other.per_query):
                raise UserError(
                    f"Only one of {first} and {name} knows the cameras of its queries. Evaluate both alike."
                )
            if column in one.per_query:
                mine, its = (each.per_query[column].to_numpy().astype(str) for each in (one, other))
                if (mine != its).any():
                    row = int(np.flatnonzero(mine != its)[0])
                    raise UserError(
                        f"{first} and {name} are not of the same queries: query {row} has {column} {mine[row]} and "
                        f"{its[row]}. Evaluate both on the same query and gallery, in the same order."
                    )
    return [result.per_query[result.per_query["valid"]] for result in results.values()]


def measures(frame: pd.DataFrame, ranks: tuple[int, ...] = (1,)) -> dict[str, Floats]:
    """Return a value per query of each measure."""
    first = frame["first_rank"].to_numpy()
    found = {f"rank{k}": (first <= k).astype(np.float64) for k in ranks}
    return found | {"mAP": frame["ap"].to_numpy(np.float64), "mINP": frame["inp"].to_numpy(np.float64)}


def remarks(n_identities: int) -> tuple[str, ...]:
    """Return what to say of intervals over so many identities."""
    if n_identities >= FEW_IDENTITIES:
        return ()
    return (f"With fewer than {FEW_IDENTITIES} identities the intervals are too narrow.",)


def html_table(head: list[str], rows: list[list[str]], sentence: str) -> str:
    """Return a table with a sentence below it."""
    top = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{body}</table><p>{html.escape(sentence)}</p>"
