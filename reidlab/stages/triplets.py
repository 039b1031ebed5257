"""Stage triplets: drawn once with a seed, kept as a table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from reidlab import store
from reidlab.data.triplets import Triplets, make_triplets
from reidlab.errors import UserError
from reidlab.stages.data_run import DataRun
from reidlab.store.runs import Run, find_run

__all__ = ["triplet_stage", "triplets_from"]


def triplets_from(data: DataRun, given: str) -> Triplets:
    """Take the triplets that a run of notebook 02 drew.

    Args:
        data: the data set that they were drawn of, with the same split.
        given: the run's name, or the beginning of its digest.

    Raises:
        UserError: no such run, a run of another stage, or one of other data.
    """
    run = find_run(given)
    if run.stage != "triplets":
        raise UserError(f"triplets={given!r} is a run of stage {run.stage!r}; `reidlab runs list triplets` lists them.")
    if data.digest not in run.manifest["inputs"]:
        raise UserError(
            f"triplets={given!r} were drawn from other data than this {data.run.params['dataset']}: its split, seed or "
            "val_share differ. Draw them again with notebook 02 and the same parameters."
        )
    return Triplets.load(run.path)


def triplet_stage(
    data: DataRun,
    *,
    strategy: str = "random",
    seed: int = 0,
    per_anchor: int = 1,
    embeddings: np.ndarray | None = None,
    embeddings_digest: str = "",
) -> tuple[Run, Triplets]:
    """Draw triplets of the train split, or find those drawn before.

    Their rows count within the train and val images of the table, in its order: the table that training sees.

    Args:
        data: prepared data set.
        strategy: random, same_camera_negative or hard.
        seed: of the draws.
        per_anchor: triplets an anchor image.
        embeddings: for "hard": float [image, dim] beside the train and val images.
        embeddings_digest: digest of the run that made them.

    Raises:
        UserError: a split without triplets, or "hard" without embeddings.
    """
    if strategy == "hard" and (embeddings is None or not embeddings_digest):
        raise UserError("strategy='hard' needs the embeddings of a trained model; give the parameter `model`.")
    used = data.table[data.table["split"].isin(["train", "val"])].reset_index(drop=True)
    rows = np.flatnonzero((used["split"] == "train").to_numpy())
    if embeddings is not None and len(embeddings) != len(used):
        raise UserError(f"{len(embeddings)} embeddings do not belong to {len(used)} train and val images.")
    params = {"strategy": strategy, "seed": seed, "per_anchor": per_anchor, "dataset": data.run.params["dataset"]}
    inputs = [data.digest] + ([embeddings_digest] if embeddings_digest else [])

    def make(folder: Path) -> Mapping[str, Any]:
        train = used.iloc[rows].reset_index(drop=True)
        vectors = None if embeddings is None else embeddings[rows]
        drawn = make_triplets(train, strategy=strategy, seed=seed, per_anchor=per_anchor, embeddings=vectors)
        drawn.within(rows).save(folder)
        return {"triplets": len(drawn), "skipped": len(drawn.skipped), "fallbacks": drawn.fallbacks}

    label = f"{data.run.params['dataset']}-{strategy}"
    run = store.stage("triplets", label, params=params, inputs=inputs, make=make)
    return run, Triplets.load(run.path)
