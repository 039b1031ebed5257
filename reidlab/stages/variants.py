"""Recipes trained side by side on one data set, and each compared with the first: what notebooks 06, 14, 15 share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from reidlab.errors import UserError
from reidlab.retrieval.comparison import compare_results
from reidlab.retrieval.outcome import RetrievalResult
from reidlab.retrieval.vectors import Embeddings
from reidlab.stages.data_run import DataRun
from reidlab.stages.evaluation import evaluation_stage
from reidlab.stages.models import ModelSource, model_from_run
from reidlab.stages.notebooks import history_of
from reidlab.stages.training import training_stage
from reidlab.store.runs import Run
from reidlab.training.recipes import Recipe

__all__ = ["Compared", "Planned", "Variant", "compare_variants", "span_text"]

SIGNIFICANT = 0.05
_NOTHING = {"difference": 0.0, "difference_low": np.nan, "difference_high": np.nan, "p": np.nan, "noise": None}


@dataclass(frozen=True)
class Planned:
    """A training to be.

    Attributes:
        label: its name in tables and figures, another one for each.
        recipe: the experiment.
        seed: of the training.
        group: it is compared with the first of its group, such as those of one seed.
        about: further columns of its row of scores.
    """

    label: str
    recipe: Recipe
    seed: int = 0
    group: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Variant:
    """A trained model with its score.

    Attributes:
        plan: what was to be trained.
        run: its training.
        source: the model.
        result: its score on the test set.
        test: embeddings of query and gallery.
        evaluation: the run that scored it.
    """

    plan: Planned
    run: Run
    source: ModelSource
    result: RetrievalResult
    test: Embeddings
    evaluation: Run

    @property
    def label(self) -> str:
        """Name in tables and figures."""
        return self.plan.label


@dataclass(frozen=True)
class Compared:
    """Trained models, each beside the first of its group.

    Attributes:
        variants: the models, as planned.
        scores: a row for each: label, group, seed, what its plan says about it, mAP, low, high (95 % interval), rank1,
            rank1_low, rank1_high, parameters, macs; against the first of its group difference (of mAP), difference_low,
            difference_high, p (times the number of comparisons) and noise (None for the first).
        notes: what a reader must know.
        against: what the first of each group is called in a sentence.
    """

    variants: tuple[Variant, ...]
    scores: pd.DataFrame
    notes: tuple[str, ...]
    against: str

    def __getitem__(self, label: str) -> Variant:
        """Return a model by its label."""
        return next(variant for variant in self.variants if variant.label == label)

    def differences(self) -> pd.DataFrame:
        """Return what each model changes of the first's mAP: label, difference, low, high, noise."""
        rows = self._others()
        spans = {"low": rows["difference_low"], "high": rows["difference_high"]}
        return pd.DataFrame({**rows[["label", "difference", "noise"]], **spans})

    def _others(self) -> pd.DataFrame:
        return self.scores[self.scores["noise"].notna()].reset_index(drop=True)

    def table(self) -> pd.DataFrame:
        """Return the scores for readers, with their 95 % intervals."""
        rows = []
        for row in self.scores.to_dict("records"):
            first = row["noise"] is None
            change = span_text(row["difference"], row["difference_low"], row["difference_high"], "+")
            rows.append(
                {"model": row["label"]}
                | {"mAP (%)": span_text(row["mAP"], row["low"], row["high"])}
                | {"rank-1 (%)": span_text(row["rank1"], row["rank1_low"], row["rank1_high"])}
                | {f"mAP against {self.against} (points)": "–" if first else change}
                | {"p": "–" if first else f"{row['p']:.2g}"}
                | {"more than chance": "–" if first else "no" if row["noise"] else "yes"}
                | {"parameters": f"{row['parameters']:,}", "multiply-adds (M)": f"{row['macs'] / 1e6:,.1f}"}
            )
        return pd.DataFrame(rows).set_index("model")

    def against_each(self, labels: Sequence[str], *, seed: int = 0) -> pd.DataFrame:
        """Compare the mAP of every other model with that of each of `labels`, for readers.

        Args:
            labels: of models.
            seed: of intervals and tests.

        Returns:
            A row for each pair; p is multiplied by the number of rows (Bonferroni).
        """
        others = [variant for variant in self.variants if variant.label not in labels]
        rows, comparisons = [], len(others) * len(labels)
        for variant, label in product(others, labels):
            found = _against(self[label], variant, comparisons, seed)
            change = span_text(found["difference"], found["difference_low"], found["difference_high"], "+")
            rows.append(
                {"model": variant.label, "against": label, "mAP (points)": change, "p": f"{found['p']:.2g}"}
                | {"more than chance": "no" if found["noise"] else "yes"}
            )
        return pd.DataFrame(rows).set_index("model")

    def verdicts(self) -> list[str]:
        """Say of each model what its difference to the first is worth."""
        told = []
        for row in self._others().to_dict("records"):
            change = span_text(row["difference"], row["difference_low"], row["difference_high"], "+")
            worth = "may be chance" if row["noise"] else "better" if row["difference"] > 0 else "worse"
            told.append(f"{row['label']}: {change} points of mAP against {self.against}, p = {row['p']:.2g}: {worth}.")
        return told

    def histories(self, name: Callable[[Variant], str] = lambda variant: variant.label) -> dict[str, pd.DataFrame]:
        """Return one row an epoch of each training; of several with one name, of the first."""
        found: dict[str, pd.DataFrame] = {}
        for variant in self.variants:
            if name(variant) not in found:
                found[name(variant)] = history_of(variant.run)
        return found

    def summary(self) -> dict[str, float | bool]:
        """Return the numbers of a notebook's result: mAP (%), difference (points) and whether it may be chance."""
        found: dict[str, float | bool] = {}
        for row in self.scores.to_dict("records"):
            found[f"{row['label']}, mAP (%)"] = round(100 * row["mAP"], 2)
        for row in self._others().to_dict("records"):
            found[f"{row['label']}, against {self.against} (points)"] = round(100 * row["difference"], 2)
            found[f"{row['label']}, may be chance"] = bool(row["noise"])
        return found


def compare_variants(
    data: DataRun, planned: Sequence[Planned], *, against: str = "the first", seed: int = 0, device: str = "auto"
) -> Compared:
    """Train and score (or find) models, and compare the mAP of each with that of the first of its group.

    Differences are paired, query by query. Each p is multiplied by the number of comparisons (Bonferroni): of many
    comparisons each must be the surer.

    Args:
        data: prepared data set.
        planned: the trainings; in each group the first is what the others are compared with.
        against: what these first ones are called in a sentence, such as "the plain backbone".
        seed: of intervals and tests, and of the query draw where the data set has none.
        device: cpu, cuda, mps or auto.

    Raises:
        UserError: no training, or two of one label.
    """
    labels = [plan.label for plan in planned]
    twice = [label for label in labels if labels.count(label) > 1]
    if not labels or twice:
        what = f"{twice[0]!r} names two of them" if twice else "there is none"
        raise UserError(f"Models that are compared need labels of their own; {what}.")
    firsts: dict[str, Variant] = {}
    variants, rows, notes = [], [], list(data.notes)
    comparisons = len(planned) - len({plan.group for plan in planned})
    for plan in planned:
        run = training_stage(data, plan.recipe, seed=plan.seed, device=device)
        source = model_from_run(run)
        scored, result, test = evaluation_stage(data, source, seed=seed, device=device, progress=False)
        variant = Variant(plan, run, source, result, test, scored)
        first = firsts.setdefault(plan.group, variant)
        variants.append(variant)
        rows.append(_row(variant) | (_NOTHING if variant is first else _against(first, variant, comparisons, seed)))
        notes += scored.result["notes"]
    return Compared(tuple(variants), pd.DataFrame(rows), tuple(dict.fromkeys(notes)), against)


def _row(variant: Variant) -> dict[str, Any]:
    plan, result = variant.plan, variant.result
    spans = {name: result.intervals.get(name, (np.nan, np.nan)) for name in ("mAP", "rank1")}
    return {
        **{"label": plan.label, "group": plan.group, "seed": plan.seed, **plan.about},
        **{"mAP": result.mean_ap, "low": spans["mAP"][0], "high": spans["mAP"][1]},
        **{"rank1": result.rank1, "rank1_low": spans["rank1"][0], "rank1_high": spans["rank1"][1]},
        **{name: int(variant.run.result[name]) for name in ("parameters", "macs")},
    }


def _against(first: Variant, variant: Variant, comparisons: int, seed: int) -> dict[str, Any]:
    frame = compare_results(first.result, variant.result, seed=seed).frame
    row: Any = frame.set_index("measure").loc["mAP"]
    p = min(1.0, float(row["p"]) * comparisons)
    noise = p >= SIGNIFICANT or bool(row["low"] <= 0 <= row["high"])
    span = {"difference_low": float(row["low"]), "difference_high": float(row["high"])}
    return {"difference": float(row["difference"]), **span, "p": p, "noise": noise}


def span_text(value: float, low: float, high: float, sign: str = "") -> str:
    """Write a share and its interval in per cent: "57.9 (55.1 to 60.4)"."""
    shown = [f"{100 * each:{sign}.1f}" for each in (value, low, high)]
    return shown[0] if np.isnan(low) else f"{shown[0]} ({shown[1]} to {shown[2]})"
