"""Stage embeddings: query and gallery, or another part of a data set, are embedded once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from reidlab import store
from reidlab.data.prepare import make_query_gallery
from reidlab.errors import UserError
from reidlab.registry import ENGINES
from reidlab.retrieval.vectors import PIXELS, Embeddings
from reidlab.space import check_space
from reidlab.stages.data import audit_of
from reidlab.stages.data_run import DataRun
from reidlab.stages.models import ModelSource
from reidlab.stages.training import describe_model
from reidlab.store.runs import Run

__all__ = ["EVERYBODY", "embedding_stage", "labelled", "query_gallery", "with_pixels"]

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
    engine: str = "torch",
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
        engine: what computes them (`embed`); the manifest says which it was, and how near to torch's float32.
        flip: flip test.
        progress: show bars.
    """
    if engine != "torch" or (precision, device) != ("float32", "auto"):
        from reidlab.models.engines import check_engine

        check_engine(engine, precision, device)  # embeddings that are found say nothing of what cannot be computed here
    params = {"dataset": dataset, "part": part, "precision": precision, "flip": flip}
    params |= {} if engine == "torch" else {"engine": engine}

    def make(folder: Path) -> Mapping[str, Any]:
        from reidlab.retrieval.embedding import embed  # torch is imported where something is computed

        model: Any = source.load()
        check_space(folder, 4 * len(table) * int(model.dim), f"The embeddings of {len(table):,} images")
        how: Any = {"device": device, "precision": precision, "engine": engine, "flip": flip, "progress": progress}
        found = embed(model, table, **how)
        found.save(folder)
        return {
            "images": len(found),
            "device": found.facts["device"],
            **({} if engine == "torch" else {"engine": dict(found.facts)}),
            "model": {**source.facts, **describe_model(model), "label": source.label, "digest": source.digest},
        }

    inputs, named = [table_digest, source.digest], list(ENGINES) if engine == "auto" else []
    run = store.stage("embeddings", labelled(dataset, source), params=params, inputs=inputs, make=make, named=named)
    return run, Embeddings(Embeddings.load(run.path).vectors, table)


def with_pixels(table: pd.DataFrame, data: DataRun) -> pd.DataFrame:
    """Add the digest of each image's pixels, as the audit of the data set found it; the path where it did not."""
    try:
        found = audit_of(data)
    except UserError:  # a data set that was prepared without
        return table
    known = dict(zip(found.table["path"], found.images["pixels"]))
    return table.assign(**{PIXELS: [known.get(path) or path for path in table["path"]]})
