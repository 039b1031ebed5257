"""Stage robustness: a model's score where images are corrupted, one kept result for each corruption and severity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float32

from reidlab import store
from reidlab.data.corrupted import CorruptedPixels
from reidlab.data.transforms.corruptions import check_severity
from reidlab.devices import check_device
from reidlab.errors import UserError
from reidlab.paths import data_root
from reidlab.progress import bar
from reidlab.registry import CORRUPTIONS
from reidlab.retrieval.checks import check_choice
from reidlab.retrieval.confidence import few_identities
from reidlab.retrieval.drops import relative_drop
from reidlab.retrieval.embedding import embed
from reidlab.retrieval.metrics import evaluate
from reidlab.retrieval.outcome import RetrievalResult
from reidlab.retrieval.vectors import Embeddings
from reidlab.stages.data_run import DataRun
from reidlab.stages.models import ModelSource
from reidlab.stages.retrieval import embedding_stage, labelled, query_gallery, with_pixels
from reidlab.stages.samples import Sample, sample_of
from reidlab.store.runs import Run

__all__ = ["ALL", "CLEAN", "SIDES", "Robustness", "robustness_grid"]

SIDES: dict[str, tuple[str, ...]] = {"query": ("query",), "gallery": ("gallery",), "both": ("query", "gallery")}
ALL = "all"  # in the place of a corruption's name: the mean over all of them
CLEAN = ""  # likewise: the images as they are


@dataclass(frozen=True)
class Robustness:
    """What a grid of models, corruptions and severities scored.

    Attributes:
        scores: a row for each model, corruption and severity (clean: corruption "", severity 0): model, corruption,
            severity, mAP, low, high (95 % interval of mAP), rank1, run (its name).
        drops: a row for each model and corruption, and for all of them: model, corruption, drop (share of the clean mAP
            that is lost, mean over severities), low, high.
        notes: what a reader must know.
    """

    scores: pd.DataFrame
    drops: pd.DataFrame
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Conditions:
    """What all cells of a grid have in common."""

    data: DataRun
    sample: Sample
    corrupt: str
    metric: str
    bootstrap: int
    seed: int
    device: str
    precision: str


@dataclass(frozen=True)
class _Model:
    """A model with the embeddings of the images as they are; it is loaded once for all cells."""

    source: ModelSource
    embedded: Run
    clean: Embeddings

    @classmethod
    def of(cls, given: ModelSource, how: _Conditions) -> _Model:
        source = replace(given, load=cache(given.load))
        names: Any = {"dataset": str(how.data.run.params["dataset"]), "part": how.sample.part}
        computed: Any = {"device": how.device, "precision": how.precision, "progress": False}
        return cls(source, *embedding_stage(how.sample.table, how.data.digest, source, **names, **computed))


def robustness_grid(
    data: DataRun,
    models: Sequence[ModelSource],
    *,
    corruptions: Sequence[str] = (),
    severities: Sequence[int] = (1, 2, 3, 4, 5),
    corrupt: str = "query",
    queries: int | None = None,
    gallery: int | None = None,
    metric: str = "cosine",
    bootstrap: int = 1000,
    seed: int = 0,
    device: str = "auto",
    precision: str = "float32",
    progress: bool = True,
) -> Robustness:
    """Score models on clean and on corrupted images; what was scored before is found, cell by cell.

    Args:
        data: prepared data set; it needs cameras and splits as any evaluation does.
        models: whose embeddings are compared, all on the same images with the same draws.
        corruptions: registered names; none for all.
        severities: from 1 (slight) to 5 (worst).
        corrupt: query, gallery or both.
        queries: query identities at most (see `sample_of`); None for all.
        gallery: gallery images of others at most; None for all.
        metric: registered name.
        bootstrap: draws of query identities for 95 % intervals; 0 leaves them out.
        seed: of the corruptions, the sample and the draws.
        device: cpu, cuda, mps or auto.
        precision: float32, bfloat16 or auto.
        progress: show a bar.

    Raises:
        UserError: nothing to score, names or severities that do not exist or stand twice, or as `evaluate`.
    """
    check_device(device)
    check_choice("corrupt", corrupt, tuple(SIDES))
    names = _distinct("corruptions", [CORRUPTIONS.find(name).name for name in corruptions or CORRUPTIONS])
    levels = sorted(_distinct("severities", [check_severity(severity) for severity in severities]))
    labels = _labels(models)
    everybody = all(model.elsewhere for model in models)
    table, notes = query_gallery(data.table, seed=seed, everybody=everybody)
    part = "all identities" if everybody and notes else "test"
    sample = sample_of(with_pixels(table, data), queries=queries, gallery=gallery, seed=seed, part=part)
    how = _Conditions(data, sample, corrupt, metric, bootstrap, seed, device, precision)
    cells = [(CLEAN, 0), *product(names, levels)]
    found: dict[str, dict[tuple[str, int], tuple[Run, RetrievalResult]]] = {}
    with bar(total=len(models) * len(cells), desc="corruptions", unit="cell", disable=not progress) as steps:
        for label, source in zip(labels, models):
            model, found[label] = _Model.of(source, how), {}
            for cell in cells:
                found[label][cell] = _scored(model, how, *cell)
                steps.update()
    first = found[labels[0]][CLEAN, 0][1]
    few = few_identities(first.per_query.loc[first.per_query["valid"], "pid"].nunique())
    told = [*data.notes, *notes, sample.note, *(note for model in models for note in model.notes), few]
    drops = [row for label in labels for row in _drops(label, found[label], names, bootstrap, seed)]
    return Robustness(
        pd.DataFrame([_row(label, *cell, *found[label][cell]) for label in labels for cell in cells]),
        pd.DataFrame(drops, columns=["model", "corruption", "drop", "low", "high"]),
        tuple(dict.fromkeys(note for note in told if note)),
    )


def _scored(model: _Model, how: _Conditions, corruption: str, severity: int) -> tuple[Run, RetrievalResult]:
    """Score one cell of the grid, or find its score."""
    dataset, table = str(how.data.run.params["dataset"]), how.sample.table
    params = {"dataset": dataset, "part": how.sample.part, "corruption": corruption, "severity": severity}
    params |= {"corrupt": how.corrupt, "metric": how.metric, "bootstrap": how.bootstrap, "seed": how.seed}
    params |= {"precision": how.precision}
    changed = np.flatnonzero(table["split"].isin(SIDES[how.corrupt] if corruption else ()))

    def make(folder: Path) -> Mapping[str, Any]:
        vectors = np.array(model.clean.vectors)
        if len(changed):
            images = table.iloc[changed].reset_index(drop=True)
            vectors[changed] = _corrupted(model, how, images, corruption, severity)
        sides = (Embeddings(vectors, table).split(side) for side in ("query", "gallery"))
        result = evaluate(*sides, metric=how.metric, bootstrap=how.bootstrap, seed=how.seed)
        result.save(folder)
        return {"scores": result.scores(), "conditions": result.conditions(), "note": how.sample.note}

    name = f"{labelled(dataset, model.source)}-{corruption or 'clean'}-{severity}"
    run = store.stage("robustness", name, params=params, inputs=[model.embedded], make=make)
    return run, RetrievalResult.load(run.path)


def _corrupted(
    model: _Model, how: _Conditions, table: pd.DataFrame, corruption: str, severity: int
) -> Float32[np.ndarray, "image dim"]:
    """Embed corrupted images."""
    network: Any = model.source.load()
    size = (network.preprocess.height, network.preprocess.width)
    folder = data_root() / "cache" / "pixels"
    pixels = CorruptedPixels.of(table, folder, corruption, severity=severity, size=size, seed=how.seed, progress=False)
    return embed(network, table, device=how.device, precision=how.precision, pixels=pixels, progress=False).vectors


def _row(label: str, corruption: str, severity: int, run: Run, result: RetrievalResult) -> dict[str, Any]:
    low, high = result.intervals.get("mAP", (np.nan, np.nan))
    return {
        "model": label,
        "corruption": corruption,
        "severity": severity,
        "mAP": result.mean_ap,
        "low": low,
        "high": high,
        "rank1": result.rank1,
        "run": run.path.name,
    }


def _drops(
    label: str,
    found: Mapping[tuple[str, int], tuple[Run, RetrievalResult]],
    names: Sequence[str],
    bootstrap: int,
    seed: int,
) -> Iterator[tuple[Any, ...]]:
    """Give the mean relative drop of a model by corruption, then over all of them."""
    frames = {cell: result.per_query.loc[result.per_query["valid"]] for cell, (_, result) in found.items()}
    aps = {cell: frame["ap"].to_numpy() for cell, frame in frames.items()}
    people = frames[CLEAN, 0]["pid"].to_numpy()
    groups = {name: [ap for cell, ap in aps.items() if cell[0] == name] for name in names}
    for name, conditions in [*groups.items(), (ALL, [ap for each in groups.values() for ap in each])]:
        yield (label, name, *relative_drop(aps[CLEAN, 0], conditions, people, count=bootstrap, seed=seed))


def _distinct(name: str, given: Sequence[Any]) -> list[Any]:
    """Return a list that has something, nothing twice."""
    twice = [value for i, value in enumerate(given) if value in given[:i]]
    if twice or not given:
        raise UserError(f"{name}={list(given)}: {f'{twice[0]!r} stands there twice' if twice else 'none is given'}.")
    return list(given)


def _labels(models: Sequence[ModelSource]) -> list[str]:
    """Name the models apart."""
    digests = _distinct("models", [model.digest for model in models])
    labels = [model.label for model in models]
    return [f"{one} ({digest[:6]})" if labels.count(one) > 1 else one for one, digest in zip(labels, digests)]
