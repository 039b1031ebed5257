"""Stages embeddings and evaluation: query and gallery are embedded and scored once, under the stated protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from reidlab import store
from reidlab.data.prepare import make_query_gallery
from reidlab.data.schema import is_distractor, is_junk
from reidlab.devices import check_device, describe_device, plan
from reidlab.errors import UserError
from reidlab.retrieval.confidence import few_identities
from reidlab.retrieval.embedding import embed
from reidlab.retrieval.metrics import evaluate
from reidlab.retrieval.outcome import RetrievalResult
from reidlab.retrieval.projection import Projection, fit_lda
from reidlab.retrieval.vectors import PIXELS, Embeddings
from reidlab.space import check_space
from reidlab.stages.data import audit_of
from reidlab.stages.data_run import DataRun
from reidlab.stages.models import ModelSource
from reidlab.stages.multi_query import multi_query_images, pooled_queries
from reidlab.stages.training import describe_model
from reidlab.store.runs import Run

__all__ = ["embedding_stage", "evaluation_stage", "query_gallery"]

VALIDATION_AS_TEST = (
    "This data set has no query and gallery: the scores are on its validation identities. They chose the best epoch of "
    "a model that was trained on the rest, and so flatter it."
)
EVERYBODY = (
    "This data set has no query and gallery: all its identities are scored, as no run here trained the model. If it "
    "was trained on these people elsewhere, the scores flatter it."
)


def query_gallery(
    table: pd.DataFrame, *, seed: int = 0, everybody: bool = False
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return the rows to be scored, splits query and gallery, and the notes that go with them.

    A data set without a query split is scored on its validation identities: one query per identity and camera, the rest
    gallery. With `everybody`, for a model that was not trained on them, its training identities are scored too.

    Raises:
        UserError: neither is there.
    """
    if (table["split"] == "query").any() and (table["split"] == "gallery").any():
        return table[table["split"].isin(["query", "gallery"])].reset_index(drop=True), ()
    if everybody:
        table = table.assign(split=table["split"].replace("train", "val"))
    n_people = table.loc[table["split"] == "val", "pid"].nunique()
    if n_people < 2:
        what, remedy = ("", "Add images.") if everybody else ("validation ", "Raise val_share.")
        raise UserError(
            f"The data set has no query and gallery, and {n_people} {what}identities; two are needed to score "
            f"anything. {remedy}"
        )
    made = make_query_gallery(table, split="val", seed=seed)
    return made[made["split"].isin(["query", "gallery"])].reset_index(drop=True), (
        EVERYBODY if everybody else VALIDATION_AS_TEST,
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


def labelled(dataset: str, source: ModelSource) -> str:
    """Name a run by data set and model; a model trained on the data set has its name already."""
    return source.label if source.label.startswith(dataset) else f"{dataset}-{source.label}"


def embedding_stage(
    table: pd.DataFrame,
    table_digest: str,
    source: ModelSource,
    *,
    dataset: str,
    part: str,
    device: str = "auto",
    precision: str = "float32",
    flip: bool = False,
    progress: bool = True,
) -> tuple[Run, Embeddings]:
    """Embed a table with a model, or find the embeddings made before.

    Args:
        table: images to embed.
        table_digest: digest of its content.
        source: the model.
        dataset: name, for the label.
        part: what of the data set it is, for the label and the digest: "test", "train", "all identities".
        device: cpu, cuda, mps or auto.
        precision: float32, bfloat16 or auto.
        flip: flip test.
        progress: show bars.
    """
    check_device(device)  # embeddings that are found say nothing of what cannot be computed here
    params = {"dataset": dataset, "part": part, "precision": precision, "flip": flip}

    def make(folder: Path) -> Mapping[str, Any]:
        model: Any = source.load()
        check_space(folder, 4 * len(table) * int(model.dim), f"The embeddings of {len(table):,} images")
        found = embed(model, table, device=device, precision=precision, flip=flip, progress=progress)
        found.save(folder)
        return {
            "images": len(found),
            "device": describe_device(plan(device, precision)),
            "model": {**source.facts, **describe_model(model), "label": source.label, "digest": source.digest},
        }

    run = store.stage(
        "embeddings", labelled(dataset, source), params=params, inputs=[table_digest, source.digest], make=make
    )
    return run, Embeddings(Embeddings.load(run.path).vectors, table)


def _with_pixels(table: pd.DataFrame, data: DataRun) -> pd.DataFrame:
    """Add the digest of each image's pixels, as the audit of the data set found it; the path where it did not."""
    try:
        found = audit_of(data)
    except UserError:  # a data set that was prepared without
        return table
    known = dict(zip(found.table["path"], found.images["pixels"]))
    return table.assign(**{PIXELS: [known.get(path) or path for path in table["path"]]})


def evaluation_stage(
    data: DataRun,
    source: ModelSource,
    *,
    metric: str = "cosine",
    ap: str = "plain",
    flip: bool = False,
    projection_dim: int = 0,
    multi_query: bool = False,
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
        bootstrap: resamples of query identities for the 95 % intervals; 0 leaves them out.
        seed: of the resamples, and of the query draw where the data set has none.
        device: cpu, cuda, mps or auto.
        precision: of the embedding: float32, bfloat16 or auto.
        progress: show bars.
    """
    table, notes = query_gallery(data.table, seed=seed, everybody=source.elsewhere and not projection_dim)
    several = multi_query_images(data, metric) if multi_query else None
    dataset, part = str(data.run.params["dataset"]), "all identities" if EVERYBODY in notes else "test"
    how: Any = {"dataset": dataset, "device": device, "precision": precision, "flip": flip, "progress": progress}
    found = _compared(data, source, table, part, projection_dim, several, how)
    vectors = Embeddings(found.vectors.vectors, _with_pixels(table, data))
    params = {"dataset": dataset, "metric": metric, "ap": ap, "bootstrap": bootstrap, "seed": seed, **found.params}
    notes = (*data.notes, *notes, *found.notes, *source.notes)

    def make(folder: Path) -> Mapping[str, Any]:
        sides = vectors.split("query"), vectors.split("gallery")
        result = evaluate(*sides, metric=metric, ap=ap, bootstrap=bootstrap, seed=seed)
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
