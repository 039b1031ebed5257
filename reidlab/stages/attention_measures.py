"""Stage attention: maps of a sample of queries by several methods, measured and kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor, nn

from reidlab import store
from reidlab.data.images import decode_mask
from reidlab.data.pixels import PixelStore
from reidlab.explain.agreement import region_shares
from reidlab.explain.baselines import BASELINES, baseline_maps
from reidlab.explain.deletion import deletion_insertion
from reidlab.explain.maps import attention_maps, build_method, methods_of
from reidlab.paths import data_root
from reidlab.registry import MAPS
from reidlab.retrieval.confidence import bootstrap_intervals, share_intervals
from reidlab.retrieval.vectors import Embeddings
from reidlab.stages.models import ModelSource
from reidlab.stages.retrieval import labelled
from reidlab.store.runs import Run

__all__ = ["MEASURES", "USUAL", "attention_stage", "measured_images", "references", "summary_of", "usual_methods"]

USUAL = (
    "activation",
    "cbam_spatial",
    "cbam_channel",
    "gradcam",
    "layercam",
    "rollout",
    "part_stripes",
    "occlusion",
)
MEASURES = ("person", "pointing", "deletion", "insertion")
_BASELINE_GRID = (16, 8)


def usual_methods(model: nn.Module, methods: Sequence[str] = ()) -> list[str]:
    """Return the methods that are asked for, or a usual choice of those that a model has."""
    if methods:
        return list(dict.fromkeys(MAPS.find(name).name for name in methods))
    return [name for name in USUAL if name in methods_of(model)]


def references(query: Embeddings, gallery: Embeddings) -> np.ndarray:
    """Return for each query what it is compared with: the mean of its person's gallery images of other cameras.

    Where there are none it is the query's own vector. Float32 [query, dim], unit vectors.
    """
    cameras = (query.camids, gallery.camids)
    found = np.array(query.vectors, dtype=np.float32)
    for row, pid in enumerate(query.pids):
        same = gallery.pids == pid
        if cameras[0] is not None and cameras[1] is not None:
            same = same & (cameras[1] != cameras[0][row])
        if same.any():
            found[row] = gallery.vectors[same].mean(0)
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)


def measured_images(pids: np.ndarray, valid: np.ndarray, count: int, *, seed: int = 0) -> np.ndarray:
    """Draw rows of queries, of as many identities as there are: every one once, then every one twice, and so on.

    Args:
        pids: identities [query].
        valid: whether a query has a match [query]; others are not drawn.
        count: rows at most.
        seed: of the draw.
    """
    rows = np.random.default_rng(seed).permutation(np.flatnonzero(valid))
    turn = pd.Series(pids[rows]).groupby(pids[rows]).cumcount().to_numpy()
    return np.sort(rows[np.argsort(turn, kind="stable")][:count])


def attention_stage(
    source: ModelSource,
    model: nn.Module,
    embedded: Run,
    query: Embeddings,
    gallery: Embeddings,
    rows: np.ndarray,
    *,
    dataset: str,
    methods: Sequence[str],
    layer: str = "",
    steps: int = 8,
    seed: int = 0,
) -> tuple[Run, pd.DataFrame, pd.DataFrame]:
    """Compute maps of some queries by each method and measure them, or find what was measured before.

    Args:
        source: of the model.
        model: that it loaded.
        embedded: run of the evaluation.
        query: of the evaluation.
        gallery: the same.
        rows: of the queries that are measured.
        dataset: name, for the label.
        methods: registered names.
        layer: for methods that look at one.
        steps: of the deletion and insertion curves.
        seed: of the baseline "random".

    Returns:
        The run; measures, a row for each method and query (method, query, pid, and of `region_shares` and the areas
        under both curves those that there are); curves (method, kind, share, similarity, the mean over queries).
    """
    params: dict[str, object] = {"dataset": dataset, "methods": list(methods), "layer": layer, "steps": steps}
    params |= {"rows": [int(row) for row in rows], "seed": seed}

    def make(folder: Path) -> Mapping[str, Any]:
        measures, curves = _measured(model, query, gallery, rows, methods, layer, steps, seed)
        measures.to_parquet(folder / "measures.parquet")
        curves.to_parquet(folder / "curves.parquet")
        return {"images": len(rows), "methods": list(measures["method"].unique())}

    name = f"{labelled(dataset, source)}-{len(methods)}-maps"
    run = store.stage("attention", name, params=params, inputs=[embedded], make=make, named=list(methods))
    measures, curves = (pd.read_parquet(run.path / f"{each}.parquet") for each in ("measures", "curves"))
    return run, measures, curves


def pixels_of(model: Any, table: pd.DataFrame, rows: Sequence[int] | np.ndarray) -> Tensor:
    """Return some images of a table at the model's size, uint8 [image, 3, height, width]."""
    size = (model.preprocess.height, model.preprocess.width)
    some = table.iloc[np.asarray(rows)].reset_index(drop=True)
    kept = PixelStore.build(some, data_root() / "cache" / "pixels", size=size, progress=False)
    return kept.batch(np.arange(len(some)))


def maps_for(
    model: nn.Module, images: Tensor, name: str, layer: str, target: np.ndarray | None, *, seed: int = 0
) -> np.ndarray:
    """Return maps of a method, given layer and target where it takes them, or of a baseline."""
    if name in BASELINES:
        return baseline_maps(name, len(images), _BASELINE_GRID, seed=seed)
    how = build_method(name)
    given: Any = {"target": target} if how.takes_target else {}
    return attention_maps(model, images, name, layer if how.takes_layer else "", **given).maps


def _measured(
    model: nn.Module,
    query: Embeddings,
    gallery: Embeddings,
    rows: np.ndarray,
    methods: Sequence[str],
    layer: str,
    steps: int,
    seed: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    images = pixels_of(model, query.table, rows)
    wanted = references(query, gallery)[rows]
    masks = _masks(query.table.iloc[rows], (int(images.shape[2]), int(images.shape[3])))
    frames, curves = [], []
    for name in (*methods, *BASELINES):
        maps = maps_for(model, images, name, layer, wanted, seed=seed)
        frame = pd.DataFrame({"method": name, "query": rows, "pid": query.pids[rows]})
        if masks is not None:
            frame = frame.join(region_shares(maps, masks))
        if name != "uniform":  # it has no order in which pixels could go
            found = deletion_insertion(model, images, maps, wanted, steps=steps, fill="mean")
            frame = frame.assign(**found.areas())
            for kind in ("deletion", "insertion"):
                means = getattr(found, kind).mean(0)
                curves.append(pd.DataFrame({"method": name, "kind": kind, "share": found.shares, "similarity": means}))
        frames.append(frame)
    return pd.concat(frames, ignore_index=True), pd.concat(curves, ignore_index=True)


def _masks(table: pd.DataFrame, size: tuple[int, int]) -> np.ndarray | None:
    """Return the masks of all images, None where one has none."""
    if "mask" not in table or table["mask"].isna().any():
        return None
    return np.stack([decode_mask(path, size) for path in table["mask"]])


def summary_of(measures: pd.DataFrame, *, bootstrap: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Average measures over queries, with 95 % intervals by bootstrap over identities, each compared with a baseline.

    Args:
        measures: of `attention_stage`.
        bootstrap: draws.
        seed: of the draws.

    Returns:
        A row for each method and measure: method, measure, mean, low, high, against (the baseline: uniform for shares
        and pointing, random for curves), better, better_low, better_high (the paired difference to it, positive where
        the method is better), images (those with a value).
    """
    rows = []
    for measure in (name for name in MEASURES if name in measures):
        against = "random" if measure in ("deletion", "insertion") else "uniform"
        base = measures[measures["method"] == against].set_index("query")[measure]
        for name, frame in measures.groupby("method", sort=False):
            values = frame.set_index("query")[measure].dropna()
            values = values[base.reindex(values.index).notna()]
            if values.empty:
                continue
            better = (values - base.reindex(values.index)) * (-1 if measure == "deletion" else 1)
            pids = frame.set_index("query")["pid"].reindex(values.index).to_numpy()
            draws: Any = {"count": bootstrap, "seed": seed}
            intervals = bootstrap_intervals if measure in ("deletion", "insertion") else share_intervals
            ends = intervals({"value": values}, pids, **draws)
            ends |= bootstrap_intervals({"better": better}, pids, **draws)
            row = {"method": name, "measure": measure, "mean": float(values.mean()), "against": against}
            row |= {"low": ends["value"][0], "high": ends["value"][1], "better": float(better.mean())}
            row |= {"better_low": ends["better"][0], "better_high": ends["better"][1], "images": len(values)}
            rows.append(row)
    return pd.DataFrame(rows)
