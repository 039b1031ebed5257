"""What notebook 05 calls: where a model looks on chosen queries, in figures that are kept, and how well, in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from reidlab import plots
from reidlab.explain.pairs import PairMap, pair_map
from reidlab.figure_text import cut
from reidlab.params import Attention, Retrieval
from reidlab.plots.pictures import image_of
from reidlab.retrieval.top import rank_gallery
from reidlab.stages.analysis import Analysis
from reidlab.stages.attention_measures import (
    attention_stage,
    maps_for,
    measured_images,
    pixels_of,
    references,
    summary_of,
    usual_methods,
)
from reidlab.stages.chosen import Choice, choose_model
from reidlab.stages.data_run import DataRun
from reidlab.stages.evaluation import evaluation_stage
from reidlab.stages.models import ModelSource
from reidlab.stages.trials import models_named

__all__ = ["Looking", "attention_choice", "measures_table"]

FOLDER = "attention_maps"
CHOICES = ("worst", "best", "random")
_SIX = {  # of the custom CNN: the panels of its own pictures, and what they are called
    "CBAM-4 spatial": ("cbam_spatial", "cbam4"),
    "CBAM-5 spatial": ("cbam_spatial", "cbam5"),
    "feature map": ("activation", "cbam5"),
}


def attention_choice(data: DataRun, p: Attention) -> Choice:
    """Choose the model of notebook 05 as notebook 04 does."""
    return choose_model(data, _as_retrieval(p))


def _as_retrieval(p: Attention) -> Retrieval:
    shared = ("dataset", "root", "seed", "options", "split", "val_share", "recipe", "epochs", "model", "device")
    return Retrieval.from_values({name: getattr(p, name) for name in shared})


class Looking:
    """One model's evaluation, and what it looked at.

    Args:
        data: prepared data set.
        source: the model.
        p: parameters of notebook 05.

    Attributes:
        model: loaded, on the CPU.
        result: of the evaluation, from which queries are chosen.
        methods: of maps.
        run: of stage attention; figures lie in its folder `attention_maps`.
        measures, curves: see `attention_stage`.
    """

    def __init__(self, data: DataRun, source: ModelSource, p: Attention) -> None:
        self.data, self.source, self.p = data, source, p
        self.evaluated, self.result, embeddings = evaluation_stage(data, source, seed=p.seed, device=p.device)
        self.query, self.gallery = embeddings.split("query"), embeddings.split("gallery")
        self.model: Any = source.load()
        self.methods = usual_methods(self.model, p.methods)
        valid = self.result.per_query["valid"].to_numpy()
        rows = measured_images(self.query.pids, valid, p.measured, seed=p.seed)
        how: Any = {"methods": self.methods, "layer": p.layer, "steps": p.steps, "seed": p.seed}
        dataset = str(data.run.params["dataset"])
        self.run, self.measures, self.curves = attention_stage(
            source, self.model, self.evaluated, self.query, self.gallery, rows, dataset=dataset, **how
        )
        self.keep = Analysis(self.run)
        self.keep.folder = self.run.path / FOLDER

    @cached_property
    def wanted(self) -> np.ndarray:
        """What each query is compared with (`references`)."""
        return references(self.query, self.gallery)

    def summary(self) -> pd.DataFrame:
        """Return the measures' means with intervals (`summary_of`), and keep them."""
        return self.keep.table("measures", summary_of(self.measures, seed=self.p.seed))

    def grid(self, choose: str) -> Figure:
        """Draw the maps of the worst, best or random queries by every method, and keep the figure."""
        rows = self._rows(choose)
        images = pixels_of(self.model, self.query.table, rows)
        maps = {name: maps_for(self.model, images, name, self.p.layer, self.wanted[rows]) for name in self.methods}
        title = f"{choose} queries: where {_named(self.source)} looks"
        captions = [self._caption(row) for row in rows]
        return self.keep.figure(
            f"{choose}_grid", plots.attention_grid(_shown(self.query.table, rows), maps, captions, title=title)
        )

    def panels(self, choose: str) -> Figure:
        """Draw six panels for each of the worst, best or random queries, keep all, return the first."""
        rows = self._rows(choose)
        images = pixels_of(self.model, self.query.table, rows)
        names = self._panel_maps()
        maps = {title: maps_for(self.model, images, *how, self.wanted[rows]) for title, how in names.items()}
        pictures, drawn = _shown(self.query.table, rows), []
        for place, row in enumerate(rows):
            title = f"{choose} query, {self._caption(row, ', ')}"
            each = {name: part[place] for name, part in maps.items()}
            figure = plots.six_panels(pictures[place], each, title=title)
            drawn.append(self.keep.figure(f"{choose}_{place + 1}_query_{row}", figure))
        return drawn[0]

    def _panel_maps(self) -> dict[str, tuple[str, str]]:
        """Return the maps of the six panels by title: gates and features where there are gates, else layers."""
        from reidlab.explain.gates import spatial_gates
        from reidlab.explain.spatial import default_layer, layers

        gates = list(spatial_gates(self.model))
        if [name.rpartition(".")[2] for name in gates] == ["cbam4", "cbam5"]:
            return _SIX
        last = default_layer(self.model)
        titles = {f"gate {name}"[-22:]: ("cbam_spatial", name) for name in gates[-2:]}
        if not titles:
            sizes = layers(self.model)
            earlier = [name for name in sizes if sizes[name].rows > sizes[last].rows][-2:]
            titles = {_short(name): ("activation", name) for name in earlier}
        return {**titles, "feature map": ("activation", last)}

    def pairs(self, choose: str = "worst") -> Figure:
        """Draw what carried the cosine of chosen queries to their nearest image and to the other kind of it.

        For each query its nearest right and its nearest wrong image, where the model's embedding can be taken apart.

        Raises:
            UserError: it cannot (`explain.pair_map`).
        """
        rows = self._rows(choose)[:2]
        listing = rank_gallery(self.query, self.gallery, queries=rows, k=len(self.gallery), show_ignored=False)
        firsts = listing.drop_duplicates(["query", "flag"])
        queries, others = (firsts[name].to_numpy() for name in ("query", "gallery"))
        sides = [pixels_of(self.model, self.query.table, queries), pixels_of(self.model, self.gallery.table, others)]
        found: list[PairMap] = [pair_map(self.model, one, two) for one, two in zip(*sides)]
        captions = [
            f"id {cut(self.query.pids[q], 9)} – id {cut(self.gallery.pids[g], 9)}" for q, g in zip(queries, others)
        ]
        figure = plots.pair_figure(
            [(each.query, each.gallery) for each in found],
            _shown(self.query.table, queries),
            _shown(self.gallery.table, others),
            [each.cosine for each in found],
            firsts["flag"].tolist(),
            captions,
            title="What carried the similarity: red adds, blue takes away",
        )
        self.keep.text(f"{choose}_pairs", [_told(each, text) for each, text in zip(found, captions)])
        return self.keep.figure(f"{choose}_pairs", figure)

    def _rows(self, choose: str) -> list[int]:
        return plots.choose_queries(self.result, choose, self.p.queries, seed=self.p.seed)

    def _caption(self, row: int, between: str = "\n") -> str:
        ap = 100 * self.result.per_query["ap"].iloc[row]
        return f"id {cut(self.query.pids[row], 11)}{between}AP {ap:.0f} %"


def _told(found: PairMap, who: str) -> str:
    return (
        f"{who}: cosine {found.cosine:.4f}, of it {found.constant:.4f} by constants of the model (spread evenly). "
        f"{found.note}"
    )


def _named(source: ModelSource) -> str:
    return cut(source.label, 40)


def _short(name: str) -> str:
    return name if len(name) <= 22 else f"…{name[-21:]}"


def _shown(table: pd.DataFrame, rows: Sequence[int] | np.ndarray) -> list[np.ndarray]:
    """Return images as they are on disk, which are often larger than the model sees them."""
    return [image_of(table, int(row)) for row in rows]


def measures_table(looking: Looking) -> pd.DataFrame:
    """Return the measures for readers: a row for each model and method, means with 95 % intervals.

    The models are that of `looking` and those that its parameter `models` names, each on the same queries.
    """
    frames = [_readable(looking.source.label, looking.summary())]
    for source in models_named(looking.data, looking.p.models) if looking.p.models else []:
        other = Looking(looking.data, source, looking.p)
        frames.append(_readable(source.label, other.summary()))
    return pd.concat(frames, ignore_index=True)


def _readable(label: str, summary: pd.DataFrame) -> pd.DataFrame:
    per_cent = {"person": "on the person (%)", "pointing": "highest on the person (%)"}
    plain = {"deletion": "deletion area", "insertion": "insertion area"}
    rows = []
    for name, frame in summary.groupby("method", sort=False):
        row: dict[str, Any] = {"model": label, "method": str(name).replace("_", " ")}
        better = []
        for each in frame.to_dict("records"):
            scale, digits = (100, 1) if each["measure"] in per_cent else (1, 3)
            mean, low, high = (scale * each[end] for end in ("mean", "low", "high"))
            title = {**per_cent, **plain}[each["measure"]]
            row[title] = f"{mean:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
            if each["better_low"] > 0:
                better.append(each["measure"])
        rows.append({**row, "better than chance in": ", ".join(better) or "–"})
    return pd.DataFrame(rows)
