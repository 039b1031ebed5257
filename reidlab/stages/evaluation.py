"""Stage evaluation: query and gallery are embedded and scored once, under the stated protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from reidlab import store
from reidlab.data.schema import is_distractor, is_junk
from reidlab.errors import UserError
from reidlab.retrieval.confidence import few_identities
from reidlab.retrieval.metrics import evaluate
from reidlab.retrieval.outcome import RetrievalResult
from reidlab.retrieval.projection import Projection, fit_lda
from reidlab.retrieval.reranked import described
from reidlab.retrieval.vectors import Embeddings
from reidlab.stages.data_run import DataRun
from reidlab.stages.models import ModelSource
from reidlab.stages.multi_query import multi_query_images, pooled_queries
from reidlab.stages.retrieval import EVERYBODY, embedding_stage, labelled, query_gallery, with_pixels
from reidlab.store.runs import Run

__all__ = ["evaluation_stage"]


def evaluation_stage(
    data: DataRun,
    source: ModelSource,
    *,
    metric: str = "cosine",
    ap: str = "plain",
    flip: bool = False,
    projection_dim: int = 0,
    multi_query: bool = False,
    rerank: str = "",
    rerank_options: Mapping[str, Any] | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
    device: str = "auto",
    precision: str = "float32",
    progress: bool = True,
) -> tuple[Run, RetrievalResult, Embeddings]:
    """Embed query and gallery, score them, and keep result and manifest.

    A gallery image that is the query itself (equal pixels) is ignored, which the result counts.

    Args:
        data: prepared data set.
        source: the model.
        metric: cosine or euclidean.
        ap: plain or trapezoid.
        flip: flip test.
        projection_dim: width of a discriminant projection (`fit_lda`) learnt from the embeddings of the train split; 0
            leaves embeddings as the model gives them.
        multi_query: search with the mean of the split multi_query's images of the query's identity and camera.
        rerank: re-ranking method (`reidlab rerankings`), "" for none.
        rerank_options: of the method.
        bootstrap: resamples of query identities for the 95 % intervals; 0 leaves them out.
        seed: of the resamples, and of the query draw where the data set has none.
        device: cpu, cuda, mps or auto.
        precision: of the embedding: float32, bfloat16 or auto.
        progress: show bars.
    """
    again = _again(rerank, rerank_options or {})
    table, notes = query_gallery(data.table, seed=seed, everybody=source.elsewhere and not projection_dim)
    several = multi_query_images(data, metric) if multi_query else None
    dataset, part = str(data.run.params["dataset"]), "all identities" if EVERYBODY in notes else "test"
    how: Any = {"dataset": dataset, "device": device, "precision": precision, "flip": flip, "progress": progress}
    found = _compared(data, source, table, part, projection_dim, several, how)
    found.rerank(**again)
    vectors = Embeddings(found.vectors.vectors, with_pixels(table, data))
    params = {"dataset": dataset, "metric": metric, "ap": ap, "bootstrap": bootstrap, "seed": seed, **found.params}
    notes = (*data.notes, *notes, *found.notes, *source.notes)

    def make(folder: Path) -> Mapping[str, Any]:
        sides = vectors.split("query"), vectors.split("gallery")
        result = evaluate(*sides, metric=metric, ap=ap, bootstrap=bootstrap, seed=seed, **again)
        result.save(folder)
        return {
            "scores": result.scores(),
            "intervals": {name: list(pair) for name, pair in result.intervals.items()},
            "conditions": result.conditions(),
            "flip": flip,
            "projection": ", ".join(found.told),
            "options": data.run.params.get("options") or {},
            "notes": [*notes, *_said_of(result)],
            "model": found.model,
        }

    run = store.stage("evaluation", labelled(dataset, source), params=params, inputs=found.inputs, make=make)
    return run, RetrievalResult.load(run.path), vectors


def _again(rerank: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `evaluate` takes for re-ranking, nothing where there is none.

    Raises:
        UserError: an unknown method or option, before anything is embedded.
    """
    if rerank:
        described(rerank, options)
        return {"rerank": rerank, "rerank_options": dict(options)}
    if options:
        raise UserError(f"rerank_options={dict(options)!r} need the name of a method in `rerank`.")
    return {}


@dataclass
class _Compared:
    """The embeddings that are compared, and what was done to them beside embedding the images."""

    vectors: Embeddings
    inputs: list[Run]
    model: dict[str, Any]
    params: dict[str, Any] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, run: Run, params: Mapping[str, Any], told: str, note: str) -> None:
        """Count in what was made from another run."""
        self.inputs.append(run)
        self.params.update(params)
        self.told.append(told)
        self.notes.append(note)

    def rerank(self, rerank: str = "", rerank_options: Mapping[str, Any] | None = None) -> None:
        """Count in that they are re-ranked, if they are: a run without it stays the same run."""
        if not rerank:
            return
        self.params.update(rerank=rerank, rerank_options=rerank_options)
        given = ", ".join(f"{name}={value}" for name, value in (rerank_options or {}).items())
        self.told.append(f"re-ranked by {rerank}{f' ({given})' if given else ''}")
        said = described(rerank, rerank_options or {})
        self.notes.append(f"Re-ranked by {said}: not comparable with scores that were not re-ranked.")


def _compared(
    data: DataRun,
    source: ModelSource,
    table: pd.DataFrame,
    part: str,
    projection_dim: int,
    several: pd.DataFrame | None,
    how: Mapping[str, Any],
) -> _Compared:
    """Embed query and gallery, project them, and average the images of `several` into the queries, as wanted."""
    embedded, vectors = embedding_stage(table, data.digest, source, part=part, **how)
    found, projection = _Compared(vectors, [embedded], embedded.result["model"]), None
    if projection_dim:
        trained, known = embedding_stage(
            training_images(data), data.digest, source, part="train for a projection", **how
        )
        projection = fit_lda(known.vectors, known.pids, dim=projection_dim)
        found.vectors = Embeddings(projection(vectors.vectors), table)
        found.model, note = _projected_facts(found.model, projection, len(known))
        found.add(trained, {"lda": projection.dim}, f"LDA {projection.dim}", note)
    if several is not None:
        run, pool = embedding_stage(several, data.digest, source, part="multi_query", **how)
        pool = Embeddings(projection(pool.vectors), several) if projection else pool
        found.vectors, note = pooled_queries(found.vectors, pool)
        found.add(run, {"multi_query": True}, "multiple queries", note)
    return found


def _said_of(result: RetrievalResult) -> list[str]:
    """Return the notes of a result as sentences, and what to say where few identities were queried."""
    few = few_identities(result.per_query.loc[result.per_query["valid"], "pid"].nunique())
    return [f"{note[:1].upper()}{note[1:]}." for note in result.notes] + ([few] if few else [])


def _projected_facts(model: Mapping[str, Any], projection: Projection, n_images: int) -> tuple[dict[str, Any], str]:
    """Return the facts of a model with its projection, which is as a linear layer, and the note that goes with it."""
    extra = projection.matrix.size
    facts = {**model, "dim": projection.dim, **{name: model[name] + extra for name in ("parameters", "macs")}}
    return facts, (
        f"Embeddings were projected from {len(projection.mean)} to {projection.dim} dimensions by discriminant "
        f"analysis of {n_images:,} training images; `reidlab export` leaves that out."
    )


def training_images(data: DataRun) -> pd.DataFrame:
    """Return the images of the train split that show somebody: without junk and distractors.

    Raises:
        UserError: there are none.
    """
    table = data.table
    found = table[(table["split"] == "train") & ~is_junk(table) & ~is_distractor(table)].reset_index(drop=True)
    if not len(found):
        raise UserError("The data set has no training images, and a projection is learnt from them: set projection=''.")
    return found
