"""What notebook 06 calls: Siamese autoencoders against their backbone alone, trained and scored alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from reidlab.data.prepare import make_query_gallery
from reidlab.errors import UserError
from reidlab.params import Autoencoders
from reidlab.registry import AUTOENCODERS, BACKBONES, MODELS
from reidlab.retrieval.vectors import Embeddings
from reidlab.stages.data_run import DataRun
from reidlab.stages.notebooks import history_of
from reidlab.stages.retrieval import embedding_stage
from reidlab.stages.variants import Compared, Planned, Variant, compare_variants
from reidlab.training.recipes import Recipe, load_recipe

__all__ = [
    "PLAIN",
    "Ablation",
    "ablation_pairs",
    "ablation_recipe",
    "autoencoders_for",
    "kind_of",
    "non_dominated",
]

PLAIN = "plain"  # in the place of a kind: the backbone without an autoencoder
_SIAMESE = ("reconstruction", "distribution", "pairs")  # what a plain backbone does not have


def non_dominated(*aims: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Return which points no other one beats: at least as good in all aims, and better in one (the Pareto front).

    Args:
        aims: for each aim its values [point], larger is better.
    """
    values = np.column_stack([np.asarray(aim, dtype=np.float64) for aim in aims])
    one, other = values[:, None, :], values[None, :, :]
    beaten = np.all(other >= one, axis=2) & np.any(other > one, axis=2)
    front: npt.NDArray[np.bool_] = np.logical_not(np.any(beaten, axis=1))
    return front


def kind_of(variant: Variant) -> str:
    """Return the kind of a model's autoencoder, or "plain"."""
    return str(variant.plan.about["kind"])


@dataclass(frozen=True)
class Ablation(Compared):
    """A grid of Siamese autoencoders, each beside its backbone alone.

    Scores have a column more for kind (or "plain"), backbone and weight (of the reconstruction: 0 without a decoder,
    NaN for the plain backbone).

    Attributes:
        pairs: a row for each and what judges pairs (cosine or pair head): threshold, accuracy, f1, auc.
    """

    pairs: pd.DataFrame

    def histories(self, name: Callable[[Variant], str] = kind_of) -> dict[str, pd.DataFrame]:
        """Return one row an epoch of the first training of every kind."""
        return super().histories(name)

    def trade_offs(self) -> pd.DataFrame:
        """Return what each autoencoder with a decoder reaches of both aims, and whether another one is better in both.

        Returns:
            label, mAP, error (mean reconstruction loss of the last epoch, before its weight) and front: no other model
            has a higher or equal mAP and a lower or equal error, one of them strictly (Pareto).
        """
        rows = [
            {"label": variant.label, "mAP": variant.result.mean_ap, "error": float(history.iloc[-1])}
            for variant in self.variants
            if (history := history_of(variant.run).get("loss_reconstruction")) is not None
        ]
        found = pd.DataFrame(rows, columns=["label", "mAP", "error"])
        return found.assign(front=non_dominated(found["mAP"], -found["error"]))

    def shown(self) -> dict[str, Variant]:
        """Return the first autoencoder of every kind that has a decoder, for pictures."""
        found: dict[str, Variant] = {}
        for variant in self.variants:
            if variant.plan.about["weight"] > 0:
                found.setdefault(kind_of(variant), variant)
        return found


def ablation_recipe(base: Recipe, kind: str, backbone: str, weight: float, *, kl: float, sparsity: float) -> Recipe:
    """Return a Siamese recipe with another kind, backbone and weight of the reconstruction, all else equal.

    Args:
        base: a recipe of the model siamese_autoencoder.
        kind: a name of `reidlab autoencoders`, or "plain" for the backbone with the losses that it can have.
        backbone: a name of `reidlab backbones`, or of timm.
        weight: of the reconstruction; 0 takes the decoder away.
        kl: weight of the divergence, for vae.
        sparsity: weight of the code's size, for sae.

    Raises:
        UserError: a recipe of another model, an unknown kind.
    """
    if base.model.get("name") != "siamese_autoencoder":
        raise UserError(f"recipe {base.name} trains {base.model.get('name')!r}; notebook 06 takes siamese_autoencoder.")
    terms = [term.model_dump() for term in base.losses if term.name not in ("vae_kl", "sparsity")]
    if kind == PLAIN:
        terms = [term for term in terms if term["feature"] not in _SIAMESE]
        if not terms:
            raise UserError(f"recipe {base.name} has no loss that a backbone without an autoencoder can have.")
        known = MODELS.options(backbone)
        shared = ("weights", "last_stride", "pooling", "classifier", "height", "width")
        given = {"last_stride": 2, **base.model}
        model = {"name": backbone} | {name: given[name] for name in shared if name in given and name in known}
        if backbone.startswith("osnet"):
            model.pop("last_stride", None)  # it has none
    else:
        model = {**base.model, "backbone": backbone, "autoencoder": _of_kind(base.model.get("autoencoder", "ae"), kind)}
        terms = [term | ({"weight": weight} if term["name"] == "reconstruction" else {}) for term in terms]
        if not weight:
            model, terms = {**model, "decoder": ""}, [term for term in terms if term["name"] != "reconstruction"]
        if kind == "vae" and kl:
            terms.append({"name": "vae_kl", "feature": "distribution", "weight": kl})
        if kind == "sae" and sparsity:
            terms.append({"name": "sparsity", "feature": "before", "weight": sparsity})
    return Recipe.model_validate({**base.model_dump(), "name": f"{base.name}_{kind}", "model": model, "losses": terms})


def _of_kind(part: str | Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Return an autoencoder of a kind with the options of another that it has too."""
    given = {"name": part} if isinstance(part, str) else dict(part)
    known = AUTOENCODERS.options(kind)
    return {"name": kind} | {name: value for name, value in given.items() if name in known}


def autoencoders_for(data: DataRun, p: Autoencoders) -> Ablation:
    """Train and score (or find) the models of notebook 06."""
    planned = _planned(p)
    found = compare_variants(data, planned, against="the plain backbone", seed=p.seed, device=p.device)
    pairs = [row for variant in found.variants for row in _judged(data, variant, p)]
    return Ablation(found.variants, found.scores, found.notes, found.against, pd.DataFrame(pairs))


def _planned(p: Autoencoders) -> list[Planned]:
    """List the trainings: for every backbone and seed the plain one first.

    Raises:
        UserError: values that are missing, unknown, twice there or out of range.
    """
    base = load_recipe(p.recipe, epochs=p.epochs, validate_every=p.epochs)
    for name, values in (("kinds", p.kinds), ("backbones", p.backbones), ("weights", p.weights), ("seeds", p.seeds)):
        if not values or len(set(values)) < len(values):
            raise UserError(f"{name}={values!r}: {'one stands there twice' if values else 'at least one is needed'}.")
    for name, numbers, most in (("weights", p.weights, 1e6), ("seeds", p.seeds, 2**32 - 1)):
        if not all(0 <= number <= most for number in numbers):
            raise UserError(f"{name}={numbers!r}: each must be 0 or more, at most {most:,.0f}.")
    kinds = [AUTOENCODERS.find(kind).name for kind in p.kinds]
    for backbone in p.backbones:
        BACKBONES.find(backbone)  # before anything is trained
    planned = []
    for backbone, seed in product(p.backbones, p.seeds):
        for kind, weight in ((PLAIN, np.nan), *product(kinds, p.weights)):
            recipe = ablation_recipe(base, kind, backbone, weight, kl=p.kl_weight, sparsity=p.sparsity_weight)
            about: dict[str, Any] = {"kind": kind, "backbone": backbone, "weight": weight}
            planned.append(Planned(_label(p, **about, seed=seed), recipe, seed, f"{backbone}, {seed}", about))
    return planned


def _label(p: Autoencoders, *, kind: str, backbone: str, weight: float, seed: int) -> str:
    """Name a model by its kind and whatever else differs between the models."""
    told = [kind]
    told += [backbone] if len(p.backbones) > 1 else []
    told += [f"reconstruction {weight:g}"] if len(p.weights) > 1 and kind != PLAIN else []
    told += [f"seed {seed}"] if len(p.seeds) > 1 else []
    return ", ".join(told)


def _judged(data: DataRun, variant: Variant, p: Autoencoders) -> list[dict[str, Any]]:
    """Judge pairs by the cosine of embeddings and, where there is one, by the pair head."""
    from reidlab.stages.autoencoder_codes import codes_stage, judged

    made = make_query_gallery(data.table[data.table["split"] == "val"], split="val", seed=p.seed)
    known = made[made["split"].isin(["query", "gallery"])].reset_index(drop=True)
    how: Any = {"dataset": str(data.run.params["dataset"]), "part": f"validation, seed {p.seed}", "device": p.device}
    vectors = embedding_stage(known, data.digest, variant.source, progress=False, **how)[1]
    found = {"cosine": judged(vectors, variant.test, seed=p.seed)}
    model: Any = None if kind_of(variant) == PLAIN else variant.source.load()
    if model is not None and model.pair_head is not None:
        sides = []
        for table, part in ((known, how["part"]), (variant.test.table, "test")):
            codes = codes_stage(table, data.digest, variant.source, **how | {"part": part})
            sides.append(Embeddings(codes[:, : model.dim], table))
        found["pair head"] = judged(sides[0], sides[1], model, seed=p.seed)
    named = {"label": variant.label, **variant.plan.about, "seed": variant.plan.seed}
    return [
        {**named, "judge": judge, "threshold": each.threshold, "accuracy": each.accuracy, "f1": each.f_score()}
        | {"auc": each.auc}
        for judge, each in found.items()
    ]


def ablation_pairs(found: Ablation) -> pd.DataFrame:
    """Return how well pairs are judged, for readers."""
    shares = {"accuracy": "accuracy (%)", "f1": "F1 (%)", "auc": "AUC (%)"}
    rows = [
        {"model": row["label"], "judged by": row["judge"], "threshold": f"{row['threshold']:.3f}"}
        | {title: f"{100 * row[name]:.1f}" for name, title in shares.items()}
        for row in found.pairs.to_dict("records")
    ]
    return pd.DataFrame(rows).set_index("model")
