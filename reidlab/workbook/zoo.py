"""What models and recipes cost: parameters, multiply-adds and embedding size, counted, and images per second, measured.

Measured times are kept nowhere: they belong to a machine and to what else it did.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from reidlab.devices import ComputePlan, describe_device, plan
from reidlab.errors import UserError
from reidlab.listings import choose
from reidlab.models import build, without_weights
from reidlab.progress import bar
from reidlab.stages.training import describe_model
from reidlab.store import provenance
from reidlab.training.pace import embedding_pace, training_pace
from reidlab.training.recipes import LossTerm, OptimizerPart, Recipe, load_recipe

__all__ = ["CLASSES", "examine", "measured_on", "readable", "recipes_of_models", "recipes_of_names"]

CLASSES = 751  # identities of the classifiers, as on Market-1501


def recipes_of_models(patterns: Iterable[str] = ()) -> dict[str, Recipe]:
    """Return each model that fits the patterns (see `listings.choose`) the same plain recipe, by its name.

    It has the model's own options, cross-entropy, batch-hard triplets and AdamW.

    Raises:
        UserError: a pattern that nothing fits.
    """
    losses = (LossTerm(name="cross_entropy", feature="logits"), LossTerm(name="triplet", feature="before"))
    adamw = OptimizerPart(name="adamw")
    return {
        name: Recipe(name=name, source="", expected="", model={"name": name}, losses=losses, optimizer=adamw)
        for name in choose("models", patterns)
    }


def recipes_of_names(patterns: Iterable[str] = ()) -> dict[str, Recipe]:
    """Return the recipes that fit the patterns, by name, with random instead of pretrained weights: none is downloaded.

    Raises:
        UserError: a pattern that nothing fits.
    """
    found = {name: load_recipe(name) for name in choose("recipes", patterns)}
    return {name: recipe.model_copy(update={"model": without_weights(recipe.model)}) for name, recipe in found.items()}


def examine(
    recipes: Mapping[str, Recipe],
    images: np.ndarray,
    *,
    device: str = "auto",
    precision: str = "auto",
    runs: int = 5,
    seed: int = 0,
) -> pd.DataFrame:
    """Build the model of each recipe, count it, let it embed the images, and measure it.

    Args:
        recipes: by name.
        images: uint8 [batch, height, width, 3], four of each identity after one another; resized to each model's size.
        device: cpu, cuda, mps or auto.
        precision: float32, bfloat16, float16 or auto.
        runs: measured of each kind; see `pace_of`.
        seed: of the random weights.

    Returns:
        A row a recipe: height and width of its input in pixels, parameters (without classifiers), macs (multiply-adds
        of convolutions and linear layers for an image), dim (of the embedding), same and other (mean cosine of the
        embeddings of two images of the same and of different identities, random weights), and in images per second
        evaluation and training (medians) with evaluation_slowest, evaluation_fastest, training_slowest and
        training_fastest.

    Raises:
        UserError: fewer than eight images, or not four of each identity.
    """
    if images.ndim != 4 or images.shape[-1] != 3 or len(images) < 8 or len(images) % 4:
        raise UserError(f"images must be [batch, height, width, 3] with 8, 12, ... of them; got {list(images.shape)}.")
    compute = plan(device, precision)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2)
    rows = {}
    for name, recipe in bar(recipes.items(), total=len(recipes), desc="measuring", unit="model"):
        rows[name] = _examined(recipe, pixels, compute, runs, seed)
        gc.collect()  # model, gradients and the optimiser's averages refer to each other
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("name")


def measured_on(device: str = "auto", precision: str = "auto") -> str:
    """Name the machine (not the host) and the arithmetic that times belong to."""
    about, packages = provenance.machine(), provenance.versions(["torch"])
    where = describe_device(plan(device, precision))
    return f"{where}; {about['cpu']}, {about['cores']} cores; torch {packages['torch']}"


def readable(costs: pd.DataFrame) -> pd.DataFrame:
    """Return the table of `examine` in readable form: height x width, counts in millions, images per second."""
    size = [f"{height} x {width}" for height, width in zip(costs["height"], costs["width"])]
    millions = {column: [f"{value / 1e6:,.2f}" for value in costs[column]] for column in ("parameters", "macs")}
    return pd.DataFrame(
        {
            "input": size,
            "parameters (M)": millions["parameters"],
            "multiply-adds (M)": millions["macs"],
            "embedding": [f"{value:,}" for value in costs["dim"]],
            "evaluation (img/s)": [_pace(value) for value in costs["evaluation"]],
            "training (img/s)": [_pace(value) for value in costs["training"]],
        },
        index=costs.index,
    )


def _pace(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def _examined(recipe: Recipe, pixels: Tensor, compute: ComputePlan, runs: int, seed: int) -> dict[str, Any]:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model: Any = build(recipe.model, CLASSES)
    inputs = model.preprocess(pixels)
    found: dict[str, Any] = {**describe_model(model), **_cosines(model, inputs)}
    paces = {
        "evaluation": embedding_pace(model, inputs, compute, runs=runs),
        "training": training_pace(recipe, model, inputs, compute, num_classes=CLASSES, runs=runs),
    }
    for kind, pace in paces.items():
        found |= {kind: pace.median, f"{kind}_slowest": pace.slowest, f"{kind}_fastest": pace.fastest}
    return found


def _cosines(model: nn.Module, inputs: Tensor) -> dict[str, float]:
    """Compare the embeddings of images of the same identity, four after one another, and of different ones."""
    with torch.inference_mode():
        vectors = model.eval()(inputs)
    cosines = vectors @ vectors.T
    who = torch.arange(len(vectors)) // 4
    same = who[:, None] == who
    itself = torch.eye(len(vectors), dtype=torch.bool)
    return {"same": cosines[same & ~itself].mean().item(), "other": cosines[~same].mean().item()}
