"""Tell what products in less precision change in the scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt
import pandas as pd

from reidlab.errors import UserError
from reidlab.retrieval.metrics import evaluate
from reidlab.retrieval.outcome import RetrievalResult
from reidlab.retrieval.precision import check_precisions
from reidlab.retrieval.vectors import Embeddings

__all__ = ["precision_effect"]


def precision_effect(
    query: Embeddings | npt.ArrayLike,
    gallery: Embeddings | npt.ArrayLike,
    *,
    precisions: Sequence[str] = ("bfloat16", "float16"),
    **options: Any,
) -> pd.DataFrame:
    """Evaluate vectors as they are and in less precision.

    Args:
        query: `Embeddings`, or vectors [query, dim], as in `evaluate`.
        gallery: the same kind, [gallery, dim].
        precisions: of `evaluate`: "float32", "bfloat16" or "float16".
        options: of `evaluate`: labels, metric, rule, ...

    Returns:
        A frame with a row a precision, "full" first: precision, rank1, rank5, rank10, mAP, mINP (shares), their
        differences from the first row (rank1_change, ..., mINP_change), moved (share of valid queries whose first
        match has another rank than in the first row) and ap_change (the largest of any query, without its sign).

    Raises:
        UserError: an unknown precision, or as `evaluate`.
    """
    names = [name for name in check_precisions(precisions) if name != "full"]
    if "precision" in options:
        raise UserError("precision is what precision_effect compares: name all that interest you in precisions.")
    full = evaluate(query, gallery, **options)
    rows = [_row("full", full, full)]
    rows += [_row(name, evaluate(query, gallery, precision=name, **options), full) for name in names]
    return pd.DataFrame(rows)


def _row(name: str, result: RetrievalResult, full: RetrievalResult) -> dict[str, Any]:
    scores, before = result.scores(), full.scores()
    valid = full.per_query["valid"]
    mine, first = result.per_query[valid], full.per_query[valid]
    return {
        "precision": name,
        **scores,
        **{f"{measure}_change": value - before[measure] for measure, value in scores.items()},
        "moved": float((mine["first_rank"] != first["first_rank"]).mean()),
        "ap_change": float((mine["ap"] - first["ap"]).abs().max()),
    }
