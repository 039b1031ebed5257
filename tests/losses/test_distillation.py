"""KL, JS, KD and relational distillation: golden values, plain loops, no gradient to the teacher."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from loss_cases import TEACHER, Y, Z, cosine, golden, log_sum_exp, mean
from torch import nn

from reidlab.errors import UserError
from reidlab.losses import CrossEntropyLoss, JSLoss, KDLoss, KLLoss, RelationalKDLoss


def test_golden() -> None:
    golden(KLLoss(2.0), 1.00618696, Z, TEACHER)
    golden(JSLoss(16.0), 1.07015691, Z, TEACHER)
    golden(KDLoss(0.5, 2.0), 1.44611140, Z, TEACHER, Y)


def softened(row: list[float], temperature: float) -> list[float]:
    scaled = [z / temperature for z in row]
    return [math.exp(z - log_sum_exp(scaled)) for z in scaled]


def kl(p: list[float], q: list[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q))


def symmetric(s: list[float], t: list[float]) -> float:
    return (kl(s, t) + kl(t, s)) / 2


def mixed(s: list[float], t: list[float]) -> float:
    middle = [(a + b) / 2 for a, b in zip(s, t)]
    return (kl(s, middle) + kl(t, middle)) / 2


@pytest.mark.parametrize("temperature", [0.5, 4.0])
@pytest.mark.parametrize(
    "make, by_row",
    [
        (KLLoss, lambda s, t: kl(t, s)),
        (JSLoss, symmetric),
        (lambda temperature: JSLoss(temperature, mixture=True), mixed),
    ],
)
def test_against_loops(
    make: Callable[[float], nn.Module], by_row: Callable[[list[float], list[float]], float], temperature: float
) -> None:
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(size=(2, 6, 4))
    teacher[2] = student[2]  # a row that has learnt it
    rows = [(softened(s, temperature), softened(t, temperature)) for s, t in zip(student.tolist(), teacher.tolist())]
    loss = make(temperature)
    value = loss(torch.from_numpy(student), torch.from_numpy(teacher))
    assert value.item() == pytest.approx(temperature**2 * mean([by_row(s, t) for s, t in rows]), rel=1e-9)
    active = [sum(abs(a - b) for a, b in zip(s, t)) / 2 > 0.01 for s, t in rows]
    assert not all(active) and loss.stats["active_share"].item() == pytest.approx(mean(active))  # type: ignore[index]
    agree = [s.index(max(s)) == t.index(max(t)) for s, t in rows]
    assert loss.stats["agreement"].item() == pytest.approx(mean(agree))  # type: ignore[index]


def test_the_mixture_is_bounded() -> None:
    one, other = torch.tensor([[99.0, 0.0]]), torch.tensor([[0.0, 99.0]])
    assert JSLoss(1.0, mixture=True)(one, other).item() == pytest.approx(math.log(2))
    assert JSLoss(1.0)(one, other).item() == pytest.approx(99)


def test_kd_is_the_sum_of_its_parts() -> None:
    labels = torch.tensor([0, 0, 1, 1, -1, 2, 3, -1])
    hard, soft = CrossEntropyLoss()(Z, labels).item(), KLLoss(3.0)(Z, TEACHER).item()
    loss = KDLoss(0.3, 3.0)
    assert loss(Z, TEACHER, labels).item() == pytest.approx(0.3 * hard + 0.7 * soft, rel=1e-12)
    assert loss.stats["cross_entropy"].item() == pytest.approx(hard) and loss.stats["kl"].item() == pytest.approx(soft)
    assert loss.stats["accuracy"] == (Z.argmax(1) == labels)[labels >= 0].double().mean()


@pytest.mark.parametrize("alpha, share", [(0.0, 0.0), (0.5, 1.0), (1.0, 1.0)])
def test_what_kd_counts_as_active(alpha: float, share: float) -> None:
    loss = KDLoss(alpha)
    loss(Z, Z, Y)  # the teacher's own outputs: only labels can teach
    assert loss.stats["active_share"] == share


def test_relations_against_loops() -> None:
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(size=(5, 3)), rng.normal(size=(5, 7))
    teacher[3, :], teacher[4, :] = 0.0, 0.0
    teacher[3, :3], teacher[4, :3] = student[3], 2 * student[4]  # this pair's cosines agree
    squares = [
        (cosine(student[i], student[j]) - cosine(teacher[i], teacher[j])) ** 2 for i in range(5) for j in range(5)
    ]
    loss = RelationalKDLoss()
    value = loss(torch.from_numpy(student), torch.from_numpy(teacher))
    assert value.item() == pytest.approx(mean(squares), rel=1e-9)
    assert loss.stats["active_share"].item() == pytest.approx(sum(d > 1e-4 for d in squares) / 20) and value > 0
    assert loss.stats["active_share"] <= 18 / 20
    unit = student / np.linalg.norm(student, axis=1, keepdims=True)
    distances = [math.dist(unit[i], unit[j]) for i in range(5) for j in range(5) if i != j]
    assert loss.stats["d_student"].item() == pytest.approx(mean(distances))


@pytest.mark.parametrize("loss", [KLLoss(), JSLoss(), JSLoss(mixture=True), KDLoss(), RelationalKDLoss()])
def test_the_teacher_stays_as_it_is(loss: nn.Module) -> None:
    student, teacher = Z.clone().requires_grad_(), TEACHER.clone().requires_grad_()
    labels = (Y,) if isinstance(loss, KDLoss) else ()
    loss(student, teacher, *labels).backward()
    assert student.grad is not None and student.grad.any() and teacher.grad is None
    student.grad = None
    if not labels:
        loss(student, student.detach().clone()).backward()
        assert student.grad.abs().max() < 1e-12, "a student that is the teacher rests"


@pytest.mark.parametrize("loss", [KLLoss(), JSLoss(), KDLoss()])
def test_other_shapes_are_refused(loss: nn.Module) -> None:
    labels = (Y,) if isinstance(loss, KDLoss) else ()
    for teacher in (TEACHER[:, :3], TEACHER[:4], TEACHER[:, 0]):
        with pytest.raises(UserError, match=r"takes the student's and the teacher's logits .*\[8, 4\]"):
            loss(Z, teacher, *labels)
    with pytest.raises(UserError, match=r"relational_kd takes .* the same rows"):
        RelationalKDLoss()(Z, TEACHER[:4])
