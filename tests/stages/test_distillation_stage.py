"""What notebook 15 calls: recipes of the students, and how near they are to the teacher.

Real trainings are in the test of the notebook; here they are stood in for.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from reidlab.errors import UserError
from reidlab.params import Distillation
from reidlab.retrieval.metrics import evaluate
from reidlab.retrieval.vectors import Embeddings
from reidlab.stages import distillation
from reidlab.stages.distillation import UNTAUGHT, WAYS, Distilled, distillation_for, student_recipe
from reidlab.stages.variants import Planned, Variant
from reidlab.training.distill import check_teachers
from reidlab.training.recipes import load_recipe

PEOPLE = 8


def embeddings(noise: float, seed: int = 0) -> Embeddings:
    rng = np.random.default_rng(seed)
    pids, camids = np.repeat(np.arange(PEOPLE), 4), np.tile([0, 1, 1, 2], PEOPLE)
    table = pd.DataFrame({"path": [f"{at}.png" for at in range(len(pids))], "pid": pids, "camid": camids})
    table["split"] = np.where(camids == 0, "query", "gallery")
    vectors = np.eye(PEOPLE)[pids] + noise * rng.normal(size=(len(pids), PEOPLE))
    return Embeddings(vectors.astype(np.float32), table)


def scored(test: Embeddings) -> Any:
    return evaluate(test.split("query"), test.split("gallery"), bootstrap=50)


def distilled(**noises: float) -> Distilled:
    teacher = embeddings(0.1)
    variants, rows = [], []
    for name, noise in noises.items():
        test = embeddings(noise, seed=len(name))
        plan, source = Planned(name, load_recipe("demo")), SimpleNamespace(label=name)
        variants.append(Variant(plan, SimpleNamespace(), source, scored(test), test, SimpleNamespace()))  # type: ignore[arg-type]
        spans = dict.fromkeys(("low", "high", "rank1_low", "rank1_high"), 0.5)
        rows.append({"label": name, "mAP": 0.5, "rank1": 0.5, "parameters": 1000, "macs": 10**6, **spans})
        rows[-1] |= {"difference": 0.1, "difference_low": 0.0, "difference_high": 0.2, "p": 0.5, "noise": None}
    about: Any = SimpleNamespace(label="wise")
    model = {"parameters": 5_000_000, "macs": 45 * 10**6}
    return Distilled(tuple(variants), pd.DataFrame(rows), (), "the first", about, scored(teacher), teacher, model)


@pytest.mark.parametrize("way", [UNTAUGHT, *WAYS])
@pytest.mark.parametrize("name", ["kd_demo", "kd_osnet_x025", "demo"])
def test_students_differ_in_one_term(name: str, way: str) -> None:
    base = load_recipe(name, epochs=3)
    made = student_recipe(base, way, 2.5, "wise")
    own = [term for term in base.losses if not term.learns_from_teacher]
    assert list(made.losses[: len(own)]) == own and len(made.losses) == len(own) + (way != UNTAUGHT)
    assert made.ema is not None and made.epochs == 3 and made.model == base.model
    assert made.teachers == {UNTAUGHT: (), "self": ("ema",)}.get(way, ("wise",))
    if way != UNTAUGHT:
        assert made.losses[-1].weight == 2.5 and made.losses[-1].name == WAYS[way][0]
    check_teachers(made)
    assert type(made).model_validate(made.model_dump(mode="json")) == made


@pytest.mark.parametrize(
    ("way", "weight", "words"),
    [
        ("relation", 1.0, "ways: 'relation' is unknown; choose from logits, relational.*Did you mean 'relational'"),
        ("logits", 0.0, "the weight of 'logits' is 0.0; it must be above 0"),
        ("self", 1e7, "at most 1,000,000"),
        ("feature", float("nan"), "it must be above 0"),
    ],
)
def test_refused_ways(way: str, weight: float, words: str) -> None:
    with pytest.raises(UserError, match=words):
        student_recipe(load_recipe("kd_demo"), way, weight, "wise")
    if weight != weight:  # which parameters refuse by themselves
        return
    given: Any = SimpleNamespace(notes=())  # before any data is looked at
    with pytest.raises(UserError, match=words):
        distillation_for(given, Distillation.from_values({"ways": {way: weight}}))


def test_a_student_needs_losses_of_its_own() -> None:
    base = load_recipe("kd_resnet50")
    with pytest.raises(UserError, match="recipe kd_resnet50 has only losses that learn from a teacher"):
        student_recipe(base, "feature", 1.0, "wise")
    with pytest.raises(UserError, match="ways"):
        Distillation.from_values({"ways": {}})


def test_a_recipe_is_trained_and_anything_else_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[Any] = []

    def train(data: Any, recipe: Any, **how: Any) -> Any:
        trained.append((recipe.name, recipe.epochs, how["seed"]))
        return SimpleNamespace(path=SimpleNamespace(name="data-wise-123"))

    monkeypatch.setattr(distillation, "training_stage", train)
    monkeypatch.setattr(distillation, "model_from_run", lambda run: f"model of {run.path.name}")
    monkeypatch.setattr(distillation, "model_from", lambda given: f"model of {given}")
    data: Any = None
    asked = Distillation.from_values({"teacher": "demo", "teacher_epochs": 2, "seed": 5})
    assert distillation._teacher(data, asked) == ("model of data-wise-123", "data-wise-123")
    assert trained == [("demo", 2, 5)]
    named = Distillation.from_values({"teacher": "x.onnx"})
    assert distillation._teacher(data, named) == ("model of x.onnx", "x.onnx")
    assert len(trained) == 1


def test_agreement_with_the_teacher() -> None:
    found = distilled(near=0.1, far=3.0)
    pairs = found.agreements(12, seed=1)
    one = pairs["near"]
    assert len(one.teacher) == len(one.student) == len(one.same) == 12 * 11 // 2
    vectors, pids = found.teacher_test.vectors, found.teacher_test.table["pid"].to_numpy()
    rows = np.sort(np.random.default_rng(1).permutation(len(vectors))[:12])
    place = 0
    for i in range(12):
        for j in range(i + 1, 12):
            a, b = vectors[rows[i]], vectors[rows[j]]
            wanted = float(a @ b / np.sqrt(float(a @ a) * float(b @ b)))
            assert one.teacher[place] == pytest.approx(wanted, abs=1e-5)
            assert one.same[place] == (pids[rows[i]] == pids[rows[j]])
            place += 1
    table: Any = found.agreement_table()
    assert list(table.index) == ["near", "far"]
    near, far = (float(table.loc[name, "correlation of cosines"]) for name in ("near", "far"))
    assert near > 0.7 > 0.4 > far
    itself = distillation._nearest(
        found.teacher_test.vectors, (found.teacher_test.table["split"] == "query").to_numpy()
    )
    assert (pids[itself] == pids[np.flatnonzero(found.teacher_test.table["split"] == "query")]).all()


def test_the_teacher_stands_last_in_the_table() -> None:
    table: Any = distilled(near=0.1, far=3.0).table()
    assert list(table.index) == ["near", "far", "the teacher"]
    assert table.loc["the teacher", "parameters"] == "5,000,000"
    assert table.loc["the teacher", "multiply-adds (M)"] == "45.0" and table.loc["the teacher", "p"] == "–"
    assert table.loc["the teacher", "mAP (%)"].startswith("100.0 (")
