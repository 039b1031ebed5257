"""Codes of Siamese autoencoders as they are, not normalised: what their pair heads judge."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float32, Float64
from torch import Tensor, nn

from reidlab import store
from reidlab.retrieval.embedding import embed
from reidlab.retrieval.pair_scores import PairClassification, choose_threshold, classify_pairs
from reidlab.retrieval.pairs import sample_pairs
from reidlab.retrieval.vectors import Embeddings
from reidlab.stages.models import ModelSource
from reidlab.stages.retrieval import labelled

__all__ = ["Codes", "codes_stage", "divergences", "judged", "same_person"]

_PAIRS = 20_000  # of either kind, at most
_BLOCK = 4096


class Codes(nn.Module):
    """Give a Siamese autoencoder's codes in the place of its embeddings; beside them, of a variational one, variances.

    Args:
        model: has `codes` and `autoencoder`.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model, self.preprocess = model, model.preprocess
        self.variational = hasattr(model.autoencoder, "log_variance")
        self.dim = model.dim * (2 if self.variational else 1)

    def forward(self, images: Float32[Tensor, "batch 3 height width"]) -> Float32[Tensor, "batch dim"]:
        """Return codes [batch, code], or codes and logarithms of variances [batch, 2 code]."""
        code = self.model.autoencoder(self.model.features(images))
        return torch.cat([code.code, code.log_variance], 1) if self.variational else code.code


def codes_stage(
    table: pd.DataFrame, table_digest: str, source: ModelSource, *, dataset: str, part: str, device: str = "auto"
) -> Float32[np.ndarray, "image dim"]:
    """Return what `Codes` gives for the images of a table, or find it.

    Args:
        table: images.
        table_digest: digest of its content.
        source: a Siamese autoencoder.
        dataset: name, for the label.
        part: what of the data set it is.
        device: cpu, cuda, mps or auto.
    """
    params = {"dataset": dataset, "part": part}

    def make(folder: Path) -> Mapping[str, Any]:
        found = embed(Codes(source.load()).eval(), table, device=device, progress=False)
        found.save(folder)
        return {"images": len(found)}

    inputs = [table_digest, source.digest]
    run = store.stage("codes", labelled(dataset, source), params=params, inputs=inputs, make=make)
    return Embeddings.load(run.path).vectors


def judged(validation: Embeddings, test: Embeddings, model: Any = None, *, seed: int = 0) -> PairClassification:
    """Judge as many pairs of one person as of two, across cameras, at the threshold that validation pairs chose.

    Args:
        validation: query and gallery made of the validation identities, codes or embeddings.
        test: query and gallery of the test set, likewise.
        model: whose pair head scores the pairs; None takes their cosine.
        seed: of the pairs that are drawn.
    """
    known, asked = (_pairs(each, model, seed) for each in (validation, test))
    return classify_pairs(*asked, choose_threshold(*known))


def _pairs(images: Embeddings, model: Any, seed: int) -> tuple[Float64[np.ndarray, " pair"], np.ndarray]:
    query, gallery = images.split("query"), images.split("gallery")
    pairs = sample_pairs(query, gallery, count=_PAIRS, seed=seed)
    fewer = int(pairs["same"].value_counts().min())
    pairs = pairs.groupby("same").sample(fewer, random_state=seed)
    same = pairs["same"].to_numpy(dtype=bool)
    if model is None:
        return pairs["similarity"].to_numpy(dtype=np.float64), same
    one, two = (
        torch.from_numpy(side.vectors[pairs[name].to_numpy()])
        for name, side in (("query", query), ("gallery", gallery))
    )
    return same_person(model, one, two), same


def same_person(model: Any, one: Tensor, two: Tensor) -> Float64[np.ndarray, " pair"]:
    """Return the scores that a model's pair head gives to codes [pair, code], some thousand pairs at a time."""
    with torch.inference_mode():
        scores = [model.same_person(*block) for block in zip(one.split(_BLOCK), two.split(_BLOCK))]
    return torch.cat(scores).double().numpy()


def divergences(codes: Float32[np.ndarray, "image dim"]) -> Float64[np.ndarray, " code"]:
    """Return the mean divergence of each number of a variational code from a standard normal one, nats [code].

    Args:
        codes: means and logarithms of variances [image, 2 code], as `Codes` gives them.
    """
    mean, log_variance = np.split(codes.astype(np.float64), 2, axis=1)
    return (mean**2 + np.exp(log_variance) - 1 - log_variance).mean(axis=0) / 2
