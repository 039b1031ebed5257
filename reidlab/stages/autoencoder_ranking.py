"""What pair heads of Siamese autoencoders are worth in retrieval: they put the first images of each list in order."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from reidlab import store
from reidlab.params import Autoencoders
from reidlab.retrieval.comparison import compare_results
from reidlab.retrieval.metrics import evaluate
from reidlab.retrieval.outcome import RetrievalResult
from reidlab.retrieval.reranking.pairs import rerank_pairs
from reidlab.stages.autoencoder_codes import codes_stage, same_person
from reidlab.stages.autoencoders import Ablation
from reidlab.stages.data_run import DataRun
from reidlab.stages.retrieval import labelled
from reidlab.stages.variants import SIGNIFICANT, Variant, span_text
from reidlab.store.runs import Run

__all__ = ["pair_ranking_stage", "pair_rankings"]


def pair_ranking_stage(
    data: DataRun, variant: Variant, *, k: int, seed: int = 0, device: str = "auto"
) -> RetrievalResult:
    """Score (or find the scores of) lists whose first k images stand in the order of the pair head.

    Args:
        data: prepared data set.
        variant: a Siamese autoencoder with a pair head.
        k: images of each list that are judged.
        seed: of the draws for intervals.
        device: cpu, cuda, mps or auto.
    """
    dataset, table = str(data.run.params["dataset"]), variant.test.table

    def make(folder: Path) -> Mapping[str, Any]:
        model: Any = variant.source.load()
        codes = codes_stage(table, data.digest, variant.source, dataset=dataset, part="test", device=device)
        codes = np.ascontiguousarray(codes[:, : model.dim])
        query, gallery = (
            torch.from_numpy(codes[(table["split"] == split).to_numpy()]) for split in ("query", "gallery")
        )
        sides = variant.test.split("query"), variant.test.split("gallery")
        order = rerank_pairs(*sides, lambda q, g: same_person(model, query[q], gallery[g]), k=k)
        result = evaluate(*sides, bootstrap=1000, seed=seed, rerank=order)
        result.save(folder)
        return {"scores": result.scores(), "conditions": result.conditions()}

    params = {"dataset": dataset, "k": k, "seed": seed}
    inputs: list[Run | str] = [variant.evaluation, variant.source.digest]
    run = store.stage("pair_ranking", labelled(dataset, variant.source), params=params, inputs=inputs, make=make)
    return RetrievalResult.load(run.path)


def pair_rankings(data: DataRun, found: Ablation, p: Autoencoders) -> pd.DataFrame:
    """Compare lists by code distance with the same lists whose first `rerank_top` images the pair head put in order.

    Returns:
        For readers, a row for each model with a pair head; p is multiplied by the number of rows (Bonferroni).
    """
    judging = [variant for variant in found.variants if variant.plan.recipe.model.get("pair_head", "concatenated")]
    judging = [variant for variant in judging if variant.plan.recipe.model["name"] == "siamese_autoencoder"]
    rows = []
    for variant in judging:
        result = pair_ranking_stage(data, variant, k=p.rerank_top, seed=p.seed, device=p.device)
        by_code = variant.result
        row: Any = compare_results(by_code, result, seed=p.seed).frame.set_index("measure").loc["mAP"]
        chance = min(1.0, float(row["p"]) * len(judging))
        noise = chance >= SIGNIFICANT or bool(row["low"] <= 0 <= row["high"])
        nan = (np.nan, np.nan)
        rows.append(
            {"model": variant.label}
            | {"mAP by distance (%)": span_text(by_code.mean_ap, *by_code.intervals.get("mAP", nan))}
            | {f"first {p.rerank_top} by pair head (%)": span_text(result.mean_ap, *result.intervals.get("mAP", nan))}
            | {"difference (points)": span_text(row["difference"], row["low"], row["high"], "+")}
            | {"p": f"{chance:.2g}", "more than chance": "no" if noise else "yes"}
        )
    return pd.DataFrame(rows).set_index("model") if rows else pd.DataFrame()
