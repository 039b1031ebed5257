"""Re-rank by a method chosen by name, or take distances that somebody has made, for whoever ranks.

Methods are reached by the registry alone, so that the code digest of an evaluation covers the one that it uses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from reidlab.errors import UserError
from reidlab.registry import RERANKINGS
from reidlab.retrieval.distance_rows import Distances, as_distances
from reidlab.retrieval.inputs import Problem
from reidlab.retrieval.scoring import DistanceScorer, Scorer

__all__ = ["Rerank", "described", "made_by", "scorer_of"]

Rerank = str | Distances | npt.ArrayLike


def scorer_of(
    problem: Problem, rerank: Rerank, options: Mapping[str, Any] | None, *, n_gallery: int, block_mib: float
) -> tuple[Scorer, str]:
    """Return what scores a problem, and how it was re-ranked, in words ("" where it was not).

    Args:
        problem: without junk.
        rerank: the name of a method, "" for none, or distances of all queries to the whole gallery.
        options: of the method.
        n_gallery: images in the whole gallery, junk included.
        block_mib: memory for scores.

    Raises:
        UserError: an unknown name or option, options without a method, or distances of other images.
    """
    if isinstance(rerank, str) and rerank:
        made = made_by(problem, rerank, options or {}, block_mib)
        scorer = Scorer(made) if isinstance(made, Problem) else DistanceScorer(problem, made)
        return scorer, described(rerank, options or {})
    if options:
        raise UserError(f"rerank_options={dict(options)!r} need the name of a method: {', '.join(RERANKINGS)}.")
    if isinstance(rerank, str):
        return Scorer(problem), ""
    given = as_distances("rerank", rerank, (len(problem.query), n_gallery))
    return DistanceScorer(problem, given), given.told


def described(method: str, options: Mapping[str, Any]) -> str:
    """Return a method with all of its options: "alpha_qe (k=10, alpha=3.0, of='all')".

    Raises:
        UserError: an unknown name or option.
    """
    given = RERANKINGS.check(method, options)
    values = {name: given.get(name, each.default) for name, each in RERANKINGS.options(method).items()}
    told = ", ".join(f"{name}={value!r}" for name, value in values.items() if value is not None)
    return f"{method} ({told})" if told else method


def made_by(problem: Problem, method: str, options: Mapping[str, Any], block_mib: float) -> Problem | Distances:
    """Return the problem with other vectors, or distances, as the method makes them."""
    found: Problem | Distances = RERANKINGS.build(method, problem, options=options, block_mib=block_mib)
    return found
