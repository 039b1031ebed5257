"""What notebook 15 calls: one student, taught by a teacher in several ways and not at all, and how they agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from reidlab.data.schema import is_distractor, is_junk
from reidlab.errors import UserError, nearest
from reidlab.params import Distillation
from reidlab.retrieval.outcome import RetrievalResult
from reidlab.retrieval.vectors import Embeddings
from reidlab.stages.data_run import DataRun
from reidlab.stages.evaluation import evaluation_stage
from reidlab.stages.models import ModelSource, model_from, model_from_run
from reidlab.stages.training import training_stage
from reidlab.stages.variants import Compared, Planned, compare_variants, span_text
from reidlab.training.recipe_parts import EmaPart, LossTerm
from reidlab.training.recipes import Recipe, list_recipes, load_recipe

__all__ = ["UNTAUGHT", "WAYS", "Agreement", "Distilled", "distillation_for", "student_recipe"]

UNTAUGHT = "untaught"
_EMA = "ema"
# how a student learns -> the loss, what it sees, its options, whether the teacher is the student's own average
WAYS: dict[str, tuple[str, str, dict[str, Any], bool]] = {
    "logits": ("kl", "logits", {"temperature": 4.0}, False),
    "relational": ("relational_kd", "after", {}, False),
    "feature": ("feature_kd", "after", {}, False),
    "self": ("feature_kd", "after", {}, True),
}


@dataclass(frozen=True)
class Agreement:
    """How alike two models see pairs of images.

    Attributes:
        teacher: cosines of pairs by the teacher [pair].
        student: by the student, in the same order.
        same: whether a pair shows one person [pair].
    """

    teacher: npt.NDArray[np.float32]
    student: npt.NDArray[np.float32]
    same: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Distilled(Compared):
    """A student untaught, and taught in several ways, beside its teacher.

    Attributes:
        teacher: the model that taught.
        taught: its score.
        teacher_test: its embeddings of query and gallery.
        teacher_model: what is known of it: parameters, macs.
    """

    teacher: ModelSource
    taught: RetrievalResult
    teacher_test: Embeddings
    teacher_model: Mapping[str, Any]

    def table(self) -> pd.DataFrame:
        """Return the scores for readers with their 95 % intervals, the teacher's last."""
        table = super().table()
        spans = {name: self.taught.intervals.get(name, (np.nan, np.nan)) for name in ("mAP", "rank1")}
        row: dict[str, str] = dict.fromkeys(table.columns, "–")
        row["mAP (%)"] = span_text(self.taught.mean_ap, *spans["mAP"])
        row["rank-1 (%)"] = span_text(self.taught.rank1, *spans["rank1"])
        row["parameters"] = f"{self.teacher_model['parameters']:,}"
        row["multiply-adds (M)"] = f"{self.teacher_model['macs'] / 1e6:,.1f}"
        return pd.concat([table, pd.DataFrame([row], index=["the teacher"])]).rename_axis("model")

    def agreements(self, images: int = 250, *, seed: int = 0) -> dict[str, Agreement]:
        """Return by student the cosines of all pairs of some test images, beside the teacher's.

        Args:
            images: drawn from query and gallery, junk and distractors left out.
            seed: of the draw.
        """
        table = self.teacher_test.table
        known = np.flatnonzero(~is_junk(table) & ~is_distractor(table))
        rows = np.sort(np.random.default_rng(seed).permutation(known)[:images])
        one, other = np.triu_indices(len(rows), 1)
        pids = table["pid"].to_numpy()[rows]
        wanted = _cosines(self.teacher_test.vectors[rows])[one, other]
        return {
            variant.label: Agreement(wanted, _cosines(variant.test.vectors[rows])[one, other], pids[one] == pids[other])
            for variant in self.variants
        }

    def agreement_table(self, *, seed: int = 0) -> pd.DataFrame:
        """Return for readers how near each student is to its teacher on test images.

        Args:
            seed: of the images drawn for pairs.
        """
        rows, pairs = [], self.agreements(seed=seed)
        query = (self.teacher_test.table["split"] == "query").to_numpy()
        wanted = _nearest(self.teacher_test.vectors, query)
        for variant in self.variants:
            found = pairs[variant.label]
            together = np.corrcoef(found.teacher, found.student)[0, 1]
            apart = float(np.abs(found.teacher - found.student).mean())
            same = float((_nearest(variant.test.vectors, query) == wanted).mean())
            rows.append(
                {"student": variant.label, "correlation of cosines": f"{together:.2f}"}
                | {"mean difference of cosines": f"{apart:.2f}", "same nearest image (%)": f"{100 * same:.1f}"}
            )
        return pd.DataFrame(rows).set_index("student")


def student_recipe(base: Recipe, way: str, weight: float, teacher: str) -> Recipe:
    """Return the recipe of a student that learns in one way, all else equal.

    Whatever the way, the model that counts is the moving average of the weights: the recipe's, or one of decay 0.99.

    Args:
        base: a recipe, with losses that learn from a teacher or without; those are left out.
        way: untaught, logits, relational, feature or self.
        weight: of the term that learns from the teacher.
        teacher: as recipes name it; not for untaught and self.

    Raises:
        UserError: an unknown way, a weight that is not above 0, or a recipe with no other loss.
    """
    terms = [term for term in base.losses if not term.learns_from_teacher]
    if not terms:
        raise UserError(f"recipe {base.name} has only losses that learn from a teacher: its student cannot do without.")
    changes: dict[str, Any] = {"name": f"{base.name}_{way}", "teachers": (), "ema": base.ema or EmaPart(decay=0.99)}
    if way != UNTAUGHT:
        if way not in WAYS:
            hint = nearest(way, WAYS)
            raise UserError(f"ways: {way!r} is unknown; choose from {', '.join(WAYS)}.{hint}")
        if not 0 < weight <= 1e6:
            raise UserError(f"ways: the weight of {way!r} is {weight!r}; it must be above 0, at most 1,000,000.")
        loss, feature, options, alone = WAYS[way]
        terms.append(LossTerm(name=loss, feature=feature, weight=weight, options=options))  # type: ignore[arg-type]
        changes["teachers"] = (_EMA,) if alone else (teacher,)
    return base.model_copy(update={**changes, "losses": tuple(terms), "swa": None})


def distillation_for(data: DataRun, p: Distillation) -> Distilled:
    """Train and score (or find) the teacher and the students of notebook 15."""
    base = load_recipe(p.recipe, epochs=p.epochs, validate_every=p.epochs)
    for way, weight in p.ways.items():  # refused before anything is trained
        student_recipe(base, way, weight, p.teacher)
    source, name = _teacher(data, p)
    evaluated, result, test = evaluation_stage(data, source, seed=p.seed, device=p.device, progress=False)
    planned = [Planned(UNTAUGHT, student_recipe(base, UNTAUGHT, 0, name), p.seed)]
    planned += [Planned(way, student_recipe(base, way, weight, name), p.seed) for way, weight in p.ways.items()]
    found = compare_variants(data, planned, against="the untaught student", seed=p.seed, device=p.device)
    model = evaluated.result["model"]
    return Distilled(found.variants, found.scores, found.notes, found.against, source, result, test, model)


def _teacher(data: DataRun, p: Distillation) -> tuple[ModelSource, str]:
    """Return the teacher, and what a recipe calls it: a recipe is trained first, all else is found."""
    if p.teacher in list_recipes() or p.teacher.endswith((".yaml", ".yml")):
        recipe = load_recipe(p.teacher, epochs=p.teacher_epochs, validate_every=p.teacher_epochs)
        run = training_stage(data, recipe, seed=p.seed, device=p.device)
        return model_from_run(run), run.path.name
    return model_from(p.teacher), p.teacher


def _cosines(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    units = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    found: npt.NDArray[np.float32] = units @ units.T
    return found


def _nearest(vectors: npt.NDArray[np.float32], query: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return for every query the gallery image with the largest cosine."""
    units = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    gallery = np.flatnonzero(~query)
    blocks = np.array_split(np.flatnonzero(query), max(1, query.sum() // 500))
    return np.concatenate([gallery[(units[block] @ units[gallery].T).argmax(1)] for block in blocks])
