"""What notebook 06 calls: Siamese autoencoders against their backbone alone, trained and scored alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from reidlab.data.prepare import make_query_gallery
from reidlab.errors import UserError
from reidlab.params import Autoencoders
from reidlab.registry import AUTOENCODERS, BACKBONES, MODELS
from reidlab.retrieval.comparison import compare_results
from reidlab.retrieval.outcome import RetrievalResult
from reidlab.retrieval.vectors import Embeddings
from reidlab.stages.data_run import DataRun
from reidlab.stages.evaluation import evaluation_stage
from reidlab.stages.models import ModelSource, model_from_run
from reidlab.stages.notebooks import history_of
from reidlab.stages.retrieval import embedding_stage
from reidlab.stages.training import training_stage
from reidlab.store.runs import Run
from reidlab.training.recipes import Recipe, load_recipe

__all__ = [
    "PLAIN",
    "Ablation",
    "Trial",
    "ablation_pairs",
    "ablation_recipe",
    "ablation_table",
    "ablation_verdicts",
    "autoencoders_for",
]

PLAIN = "plain"  # in the place of a kind: the backbone without an autoencoder
SIGNIFICANT = 0.05
_SIAMESE = ("reconstruction", "distribution", "pairs")  # what a plain backbone does not have


@dataclass(frozen=True)
class Trial:
    """One model of the grid.

    Attributes:
        kind: of autoencoder, or "plain".
        backbone, weight, seed: as given; weight is the reconstruction's, 0 without a decoder, NaN for the plain one.
        run: its training.
        source: the model.
        result: its score on the test set.
        test: embeddings of query and gallery.
    """

    kind: str
    backbone: str
    weight: float
    seed: int
    run: Run
    source: ModelSource
    result: RetrievalResult
    test: Embeddings


@dataclass(frozen=True)
class Ablation:
    """A grid of Siamese autoencoders, each beside its backbone alone.

    Attributes:
        trials: the models; of every backbone and seed the plain one first.
        scores: a row for each: kind, backbone, weight, seed, mAP, low, high (95 % interval), rank1, rank1_low,
            rank1_high, parameters; against the plain one of the same backbone and seed: difference (of mAP),
            difference_low, difference_high, p, and noise (None for the plain one).
        pairs: a row for each and what judges pairs (cosine or pair head): threshold, accuracy, f1, auc.
        notes: what a reader must know.
    """

    trials: tuple[Trial, ...]
    scores: pd.DataFrame
    pairs: pd.DataFrame
    notes: tuple[str, ...]

    def shown(self) -> dict[str, Trial]:
        """Return the first autoencoder of every kind that has a decoder, for pictures."""
        return _first_of_kind([trial for trial in self.trials if trial.weight > 0])

    def differences(self) -> pd.DataFrame:
        """Return what each autoencoder changes of the mAP: label, difference, low, high, noise."""
        rows = self.scores[self.scores["kind"] != PLAIN].reset_index(drop=True)
        spans = {"low": rows["difference_low"], "high": rows["difference_high"]}
        return pd.DataFrame({"label": _labels(rows), **rows[["difference", "noise"]], **spans})

    def histories(self) -> dict[str, pd.DataFrame]:
        """Return one row an epoch of the first training of every kind."""
        return {kind: history_of(trial.run) for kind, trial in _first_of_kind(self.trials).items()}


def _first_of_kind(trials: Sequence[Trial]) -> dict[str, Trial]:
    found: dict[str, Trial] = {}
    for trial in trials:
        found.setdefault(trial.kind, trial)
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
    trials, rows, notes = [], [], list(data.notes)
    comparisons = len(kinds) * len(p.weights) * len(p.backbones) * len(p.seeds)
    for backbone, seed in product(p.backbones, p.seeds):
        plain: Trial | None = None
        for kind, weight in ((PLAIN, np.nan), *product(kinds, p.weights)):
            recipe = ablation_recipe(base, kind, backbone, weight, kl=p.kl_weight, sparsity=p.sparsity_weight)
            run = training_stage(data, recipe, seed=seed, device=p.device)
            source = model_from_run(run)
            scored, result, test = evaluation_stage(data, source, seed=p.seed, device=p.device, progress=False)
            trial = Trial(kind, backbone, weight, seed, run, source, result, test)
            plain = plain or trial
            trials.append(trial)
            rows.append(_row(trial) | _against(plain, trial, comparisons, p.seed))
            notes += scored.result["notes"]
    pairs = [row for trial in trials for row in _judged(data, trial, p)]
    return Ablation(tuple(trials), pd.DataFrame(rows), pd.DataFrame(pairs), tuple(dict.fromkeys(notes)))


def _row(trial: Trial) -> dict[str, Any]:
    result = trial.result
    spans = {name: result.intervals.get(name, (np.nan, np.nan)) for name in ("mAP", "rank1")}
    return {
        **{"kind": trial.kind, "backbone": trial.backbone, "weight": trial.weight, "seed": trial.seed},
        **{"mAP": result.mean_ap, "low": spans["mAP"][0], "high": spans["mAP"][1]},
        **{"rank1": result.rank1, "rank1_low": spans["rank1"][0], "rank1_high": spans["rank1"][1]},
        "parameters": int(trial.run.result["parameters"]),
    }


def _against(plain: Trial, trial: Trial, comparisons: int, seed: int) -> dict[str, Any]:
    """Compare the mAP of a model with that of its backbone alone; of many comparisons each must be the surer."""
    if trial is plain:
        return {"difference": 0.0, "difference_low": np.nan, "difference_high": np.nan, "p": np.nan, "noise": None}
    frame = compare_results(plain.result, trial.result, seed=seed).frame
    row: Any = frame.set_index("measure").loc["mAP"]
    p = min(1.0, float(row["p"]) * comparisons)
    noise = p >= SIGNIFICANT or bool(row["low"] <= 0 <= row["high"])
    span = {"difference_low": float(row["low"]), "difference_high": float(row["high"])}
    return {"difference": float(row["difference"]), **span, "p": p, "noise": noise}


def _judged(data: DataRun, trial: Trial, p: Autoencoders) -> list[dict[str, Any]]:
    """Judge pairs by the cosine of embeddings and, where there is one, by the pair head."""
    from reidlab.stages.autoencoder_codes import codes_stage, judged

    made = make_query_gallery(data.table[data.table["split"] == "val"], split="val", seed=p.seed)
    known = made[made["split"].isin(["query", "gallery"])].reset_index(drop=True)
    how: Any = {"dataset": str(data.run.params["dataset"]), "part": f"validation, seed {p.seed}", "device": p.device}
    vectors = embedding_stage(known, data.digest, trial.source, progress=False, **how)[1]
    found = {"cosine": judged(vectors, trial.test, seed=p.seed)}
    model: Any = None if trial.kind == PLAIN else trial.source.load()
    if model is not None and model.pair_head is not None:
        sides = []
        for table, part in ((known, how["part"]), (trial.test.table, "test")):
            codes = codes_stage(table, data.digest, trial.source, **how | {"part": part})
            sides.append(Embeddings(codes[:, : model.dim], table))
        found["pair head"] = judged(sides[0], sides[1], model, seed=p.seed)
    named = {"kind": trial.kind, "backbone": trial.backbone, "weight": trial.weight, "seed": trial.seed}
    return [
        {**named, "judge": judge, "threshold": each.threshold, "accuracy": each.accuracy, "f1": each.f_score()}
        | {"auc": each.auc}
        for judge, each in found.items()
    ]


def ablation_table(found: Ablation) -> pd.DataFrame:
    """Return the scores for readers, with their 95 % intervals."""
    rows = []
    for label, row in zip(_labels(found.scores), found.scores.to_dict("records")):
        plain = row["kind"] == PLAIN
        change = _span(row["difference"], row["difference_low"], row["difference_high"], "+")
        rows.append(
            {"model": label}
            | {"mAP (%)": _span(row["mAP"], row["low"], row["high"])}
            | {"rank-1 (%)": _span(row["rank1"], row["rank1_low"], row["rank1_high"])}
            | {"mAP against plain (points)": "–" if plain else change, "p": "–" if plain else f"{row['p']:.2g}"}
            | {"more than chance": "–" if plain else "no" if row["noise"] else "yes"}
            | {"parameters": f"{row['parameters']:,}"}
        )
    return pd.DataFrame(rows).set_index("model")


def ablation_pairs(found: Ablation) -> pd.DataFrame:
    """Return how well pairs are judged, for readers."""
    shares = {"accuracy": "accuracy (%)", "f1": "F1 (%)", "auc": "AUC (%)"}
    rows = [
        {"model": label, "judged by": row["judge"], "threshold": f"{row['threshold']:.3f}"}
        | {title: f"{100 * row[name]:.1f}" for name, title in shares.items()}
        for label, row in zip(_labels(found.pairs), found.pairs.to_dict("records"))
    ]
    return pd.DataFrame(rows).set_index("model")


def ablation_verdicts(found: Ablation) -> list[str]:
    """Say of each autoencoder what its difference to the plain backbone is worth."""
    told = []
    rows = found.scores[found.scores["kind"] != PLAIN]
    for label, row in zip(_labels(rows), rows.to_dict("records")):
        change = _span(row["difference"], row["difference_low"], row["difference_high"], "+")
        worth = "may be chance" if row["noise"] else "better" if row["difference"] > 0 else "worse"
        told.append(f"{label}: {change} points of mAP against the plain backbone, p = {row['p']:.2g}: {worth}.")
    return told


def _labels(rows: pd.DataFrame) -> list[str]:
    """Name models by their kind and whatever else differs between them."""
    trained = rows[rows["kind"] != PLAIN]
    told = [name for name in ("backbone", "weight", "seed") if trained[name].nunique(dropna=False) > 1]
    labels = []
    for row in rows.to_dict("records"):
        shown = {"backbone": row["backbone"], "seed": f"seed {row['seed']}"}
        shown |= {} if row["kind"] == PLAIN else {"weight": f"reconstruction {row['weight']:g}"}
        labels.append(", ".join([row["kind"], *(shown[name] for name in told if name in shown)]))
    return labels


def _span(value: float, low: float, high: float, sign: str = "") -> str:
    """Write a share and its interval in per cent: "57.9 (55.1 to 60.4)"."""
    shown = [f"{100 * each:{sign}.1f}" for each in (value, low, high)]
    return shown[0] if np.isnan(low) else f"{shown[0]} ({shown[1]} to {shown[2]})"
