"""What the notebooks call: their parameters turned into stages, so that a cell is one line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
from matplotlib.figure import Figure

from reidlab import plots
from reidlab.data.triplets import Triplets
from reidlab.errors import UserError
from reidlab.params import DataParams, Retrieval, Training, TripletGeneration
from reidlab.retrieval.outcome import RetrievalResult
from reidlab.retrieval.projection import PROJECTION_DIM
from reidlab.retrieval.top import rank_gallery
from reidlab.retrieval.vectors import Embeddings
from reidlab.stages.chosen import given_triplets, named_model
from reidlab.stages.data import data_stage
from reidlab.stages.data_run import DataRun
from reidlab.stages.evaluation import evaluation_stage
from reidlab.stages.models import ModelSource
from reidlab.stages.retrieval import embedding_stage
from reidlab.stages.training import training_stage
from reidlab.stages.triplets import triplet_stage
from reidlab.store.runs import Run
from reidlab.training.recipes import Recipe, load_recipe

if TYPE_CHECKING:
    from reidlab.training.group import Group

__all__ = [
    "data_for",
    "evaluate_for",
    "history_of",
    "queries_for",
    "ranking_for",
    "recipe_for",
    "train_for",
    "training_figures",
    "training_notes",
    "training_table",
    "triplets_for",
]

_QUERIES_SHOWN = 2  # in a picture of rankings: a notebook stays below 2 MB


def data_for(p: DataParams) -> DataRun:
    """Read and prepare (or find) the data set that a notebook's parameters name."""
    return data_stage(p.dataset, p.root, seed=p.seed, split=p.split, val_share=p.val_share, options=p.options)


def training_table(data: DataRun) -> pd.DataFrame:
    """Return the train and val images, rows as training and triplets count them."""
    return data.table[data.table["split"].isin(["train", "val"])].reset_index(drop=True)


def triplets_for(data: DataRun, p: TripletGeneration) -> tuple[Run, Triplets, pd.DataFrame]:
    """Draw (or find) the triplets of notebook 02; give run, triplets and the table that their rows count in."""
    table = training_table(data)
    if p.strategy != "hard":
        run, triplets = triplet_stage(data, strategy=p.strategy, seed=p.seed, per_anchor=p.per_anchor)
        return run, triplets, table
    if not p.model:
        raise UserError(
            "strategy='hard' needs a trained model: set `model` to a run's name (`reidlab runs` lists them)."
        )
    embedded, vectors = embedding_stage(
        table, data.digest, named_model(data, p.model), dataset=p.dataset, part="train", progress=False
    )
    run, triplets = triplet_stage(
        data,
        strategy="hard",
        seed=p.seed,
        per_anchor=p.per_anchor,
        embeddings=vectors.vectors,
        embeddings_digest=embedded.digest,
    )
    return run, triplets, table


def recipe_for(p: Training) -> Recipe:
    """Read the recipe of notebook 03 with the notebook's changes."""
    changes = {"epochs": p.epochs, "validate_every": p.validate_every, "start": p.start or None}
    recipe = load_recipe(p.recipe, **changes)
    if p.learning_rate is None:
        return recipe
    return recipe.model_copy(update={"optimizer": recipe.optimizer.model_copy(update={"lr": p.learning_rate})})


def train_for(data: DataRun, recipe: Recipe, p: Training, *, group: Group | None = None) -> Run:
    """Train (or find) the run of notebook 03; with `group` in processes that somebody else started."""
    triplets = given_triplets(data, recipe, p.seed, p.triplets)
    return training_stage(
        data,
        recipe,
        seed=p.seed,
        device=p.device,
        triplets=triplets,
        name=p.name,
        tracking=p.tracking,
        processes=p.processes,
        group=group,
    )


def history_of(run: Run) -> pd.DataFrame:
    """Return one row an epoch of a training run."""
    return pd.read_parquet(run.path / "history.parquet")


def training_notes(run: Run, p: Training | None = None) -> list[str]:
    """Return what the sampler did with identities of few images, and which weights and teachers the training had.

    Given the parameters too, say which of them had no effect because the run was found.
    """
    told = {"sampler_note": "", "weights": "Pretrained weights: ", "start": "Began from ", "teachers": "Teachers: "}
    notes = [f"{before}{run.result[name]}" for name, before in told.items() if run.result.get(name)]
    unused = [] if run.made or p is None else [name for name in ("name", "tracking") if getattr(p, name)]
    if unused:
        notes.append(f"This training was done before as {run.path.name}; {' and '.join(unused)} had no effect on it.")
    return notes


def training_figures(run: Run) -> dict[str, Any]:
    """Return the key figures of a training run by readable names."""
    names = {
        "best_epoch": "best epoch",
        "epochs": "epochs",
        "best_val_map": "val mAP (%)",
        "minutes": "minutes",
        "wait_share": "time waiting for data (%)",
        "parameters": "parameters",
        "macs": "multiply-adds",
    }
    found: dict[str, Any] = {name: run.result.get(name) for name in names}
    shares = [name for name in ("best_val_map", "wait_share") if found[name] is not None]
    found |= {name: round(100 * found[name], 2) for name in shares}
    return {title: found[name] for name, title in names.items()}


def evaluate_for(data: DataRun, source: ModelSource, p: Retrieval) -> tuple[Run, RetrievalResult, Embeddings]:
    """Embed and score (or find the score of) query and gallery for notebook 04."""
    return evaluation_stage(
        data,
        source,
        metric=p.metric,
        ap=p.ap,
        flip=p.flip_test,
        projection_dim=PROJECTION_DIM if p.projection else 0,
        multi_query=p.multi_query,
        rerank=p.rerank,
        seed=p.seed,
        device=p.device,
    )


def queries_for(result: RetrievalResult, p: Retrieval, choose: str) -> list[int]:
    """Return the rows of the worst, best or random queries that notebook 04 shows."""
    return plots.choose_queries(result, choose, _QUERIES_SHOWN, seed=p.seed)


def ranking_for(embeddings: Embeddings, result: RetrievalResult, p: Retrieval, *, choose: str) -> Figure:
    """Draw the nearest gallery images of the worst, best or random queries."""
    queries = queries_for(result, p, choose)
    query, gallery = embeddings.split("query"), embeddings.split("gallery")
    listing = rank_gallery(query, gallery, queries=queries, k=10, metric=p.metric, rerank=p.rerank)
    title = f"{choose} queries and their nearest gallery images"
    return plots.ranking_figure(listing, query.table, gallery.table, result=result, title=title)
