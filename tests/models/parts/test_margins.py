"""Classifiers with a margin: guards, the fixed weights of circle, and margins by how many images a class has."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from classifier_cases import M, W, X, Y, made, margins_of

from reidlab.errors import UserError
from reidlab.models.parts.classifiers import build_classifier


def test_the_guards_differ_where_they_should() -> None:
    assert math.acos(-0.8) < math.pi - M < math.acos(-0.9)
    weight = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    angles = torch.tensor([1.0, 1.5, 1.6, 2.5, 2.7, 3.0], dtype=torch.float64)
    features = torch.stack([angles.cos(), angles.sin()], 1)
    logits = {}
    for guard in ("none", "wrap", "easy"):
        classifier = made("arcface", weight, 1, scale=1.0, guard=guard)
        logits[guard] = classifier(features, torch.zeros(6, dtype=torch.int64))[:, 0]
    shifted, plain = (angles + M).cos(), angles.cos()
    torch.testing.assert_close(logits["none"], shifted)
    torch.testing.assert_close(logits["wrap"], torch.cat([shifted[:4], plain[4:] - M * math.sin(M)]))
    torch.testing.assert_close(logits["easy"], torch.cat([shifted[:2], plain[2:]]))
    falls = {guard: (values.diff() < 0).all().item() for guard, values in logits.items()}
    assert falls == {"none": False, "wrap": True, "easy": False}  # easy has a jump up at 90 degrees


def test_gradient_of_circle_takes_its_weights_as_fixed() -> None:
    classifier, features = made("circle", scale=2.0), X.clone().requires_grad_()
    classifier(features, Y).sum().backward()
    c, m = F.normalize(X) @ F.normalize(W).T, 0.35
    target = F.one_hot(Y, 4).bool()
    slope = 2 * torch.where(target, (1 + m - c).clamp(min=0), (c + m).clamp(min=0))  # of the logit by its cosine
    again = X.clone().requires_grad_()
    (slope * (F.normalize(again) @ F.normalize(W).T)).sum().backward()
    torch.testing.assert_close(features.grad, again.grad)


def test_adaptive_margins() -> None:
    classifier: Any = made("arcface_adaptive")
    torch.testing.assert_close(classifier.margins, torch.tensor(margins_of([4, 16, 1, 100]), dtype=torch.float64))
    assert classifier.margins[2].item() == pytest.approx(0.5) and classifier.margins[3].item() == pytest.approx(0.05)
    classifier.set_class_counts(torch.tensor([7, 7, 7, 7]))
    torch.testing.assert_close(classifier.margins, torch.full((4,), 0.275, dtype=torch.float64))
    other: Any = build_classifier("arcface_adaptive", 4, 2, low=0.0, high=1.0, class_counts=[1, 9])
    assert other.margins.tolist() == [1.0, 0.0]


def test_adaptive_margins_are_needed_and_saved() -> None:
    classifier = build_classifier("arcface_adaptive", 4, 4).double()
    assert torch.isfinite(classifier(X)).all()  # no labels, no margins
    with pytest.raises(UserError, match="needs class_counts"):
        classifier(X, Y)
    classifier.load_state_dict(made("arcface_adaptive").state_dict())
    torch.testing.assert_close(classifier(X, Y), made("arcface_adaptive")(X, Y))
    classifier.set_class_counts([1, 1, 1, 2])  # type: ignore[operator]
    assert not torch.allclose(classifier(X, Y), made("arcface_adaptive")(X, Y))


def test_equal_adaptive_margins_are_arcface() -> None:
    adaptive = made("arcface_adaptive", class_counts=[3, 3, 3, 3], low=0.2, high=0.6, scale=64.0)
    torch.testing.assert_close(adaptive(X, Y), made("arcface", margin=0.4)(X, Y))
