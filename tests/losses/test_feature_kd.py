"""Feature distillation through a linear layer: plain loops, sizes, who learns."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reidlab.errors import UserError
from reidlab.losses import FeatureKDLoss, build


def naive(student: np.ndarray, teacher: np.ndarray, layer: np.ndarray, distance: str) -> float:
    total = 0.0
    for s, t in zip(student, teacher):
        wanted = [x / math.sqrt(sum(y * y for y in t)) for x in t]
        found = [sum(w * x for w, x in zip(row, s)) for row in layer]
        if distance == "mse":
            total += sum((a - b) ** 2 for a, b in zip(found, wanted))
        else:
            total += 1 - sum(a * b for a, b in zip(found, wanted)) / math.sqrt(sum(a * a for a in found))
    return total / len(student)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.sampled_from(["cosine", "mse"]), st.integers(1, 5), st.integers(1, 6))
def test_against_loops(seed: int, distance: str, n: int, dim: int) -> None:
    rng = np.random.default_rng(seed)
    student, teacher = rng.normal(size=(n, dim)), rng.normal(size=(n, 3))
    loss = FeatureKDLoss(dim, 3, distance).double()
    value = loss(torch.from_numpy(student), torch.from_numpy(teacher))
    layer = loss.projector.weight.detach().numpy()
    assert value.item() == pytest.approx(naive(student, teacher, layer, distance), rel=1e-9)
    assert loss.stats["cosine_to_teacher"].item() == pytest.approx(
        1 - naive(student, teacher, layer, "cosine"), abs=1e-9
    )


def test_the_layer_and_the_student_learn_and_the_teacher_does_not() -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(4, 6, requires_grad=True), torch.randn(4, 3, requires_grad=True)
    loss: Any = build("feature_kd", dim=6, teacher_dim=3)
    loss(student, teacher).backward()
    assert student.grad is not None and student.grad.abs().max() > 0
    assert loss.projector.weight.grad.abs().max() > 0
    assert teacher.grad is None


def test_what_the_layer_can_turn_into_the_teacher_costs_nothing() -> None:
    torch.manual_seed(0)
    student = torch.randn(5, 4)
    for distance in ("cosine", "mse"):
        loss = FeatureKDLoss(4, 7, distance)
        with torch.no_grad():
            teacher = loss.projector(student)
            if distance == "mse":  # lengths count
                student = student / teacher.norm(dim=1, keepdim=True)
        assert loss(student, 3 * teacher).item() == pytest.approx(0, abs=1e-6)
        assert loss.stats["active_share"] == 0
        assert loss(student, -teacher).item() == pytest.approx(2 if distance == "cosine" else 4, rel=1e-5)
        assert loss.stats["active_share"] == 1


@pytest.mark.parametrize(
    "options, words",
    [
        ({}, "feature_kd needs dim .* and teacher_dim .*got 0 and 0"),
        ({"dim": 4, "teacher_dim": 0}, "got 4 and 0"),
        ({"dim": 2**20, "teacher_dim": 2**10}, "more than 268,435,456 numbers"),
        ({"dim": 4, "teacher_dim": 3, "distance": "l1"}, "distance='l1' is unknown; choose cosine or mse"),
    ],
)
def test_refused_options(options: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        build("feature_kd", **options)


def test_refused_features() -> None:
    loss = FeatureKDLoss(4, 3)
    with pytest.raises(UserError, match="a layer from 4 to 3; got features of 3 and a teacher's of 4"):
        loss(torch.ones(2, 3), torch.ones(2, 4))
    with pytest.raises(UserError, match="the same rows"):
        loss(torch.ones(2, 4), torch.ones(3, 3))
