"""Classifiers: published golden values, plain loops, pytorch-metric-learning where it agrees, finite gradients."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from classifier_cases import COUNTS, M, W, X, Y, made, margins_of
from torch import Tensor, nn

from reidlab.errors import UserError
from reidlab.models import count_parameters
from reidlab.models.parts.classifiers import CLASSIFIERS, CosineClassifier, build_classifier

COSINE = [name for name in CLASSIFIERS if name != "linear"]


@pytest.mark.parametrize(
    "name, options, value",
    [
        ("cosface", {}, 36.47017591),  # scale 30, margin 0.25
        ("cosface", {"scale": 64, "margin": 0.35}, 82.52103466),
        ("arcface", {}, 81.34501976),  # scale 64, margin 28.6 degrees
        ("arcface", {"guard": "none"}, 81.34501976),
        ("circle", {}, 137.06886629),  # scale 64, margin 0.35
        ("circle", {"scale": 256, "margin": 0.25}, 571.30662963),
    ],
)
def test_golden(name: str, options: dict[str, Any], value: float) -> None:
    loss = F.cross_entropy(made(name, **options)(X, Y), Y)
    assert loss.item() == pytest.approx(value, rel=1e-6)
    assert loss.item() == pytest.approx(value, abs=1e-6)


def arc(c: float, m: float, guard: str) -> float:
    if (guard == "easy" and c <= 0) or guard == "no margin":
        return c
    if guard == "wrap" and math.acos(c) > math.pi - m:
        return c - m * math.sin(m)
    return math.cos(math.acos(c) + m)


def loop(name: str, options: dict[str, Any], weight: Tensor, labels: Tensor, k: int = 1) -> np.ndarray:
    """Logits of X in training, entry by entry."""
    defaults = {"cosine_linear": 30, "cosface": 30, "arcface": 64, "arcface_adaptive": 30, "circle": 64}
    scale, guard = options.get("scale", defaults[name]), options.get("guard", "wrap")
    rows = []
    for x, y in zip(X.tolist(), labels.tolist()):
        row = []
        for j in range(len(weight) // k):
            centres = weight[j * k : (j + 1) * k].tolist()
            c = max(sum(a * b for a, b in zip(x, v)) / math.hypot(*x) / math.hypot(*v) for v in centres)
            if y >= 0 and name == "circle":
                m = options.get("margin", 0.35)
                c = max(0, 1 + m - c) * (c - (1 - m)) if j == y else max(0, c + m) * (c - m)
            elif j == y and name == "cosface":
                c -= options.get("margin", 0.25)
            elif j == y and name == "arcface":
                c = arc(c, options.get("margin", M), guard)
            elif j == y and name == "arcface_adaptive":
                c = arc(c, margins_of(COUNTS["class_counts"])[j], guard)
            row.append(scale * c)
        rows.append(row)
    return np.array(rows)


@pytest.mark.parametrize(
    "name, options",
    [
        ("cosine_linear", {"scale": 16.0}),
        ("cosface", {}),
        ("arcface", {"margin": 1.2}),
        ("arcface", {"margin": 1.2, "guard": "none"}),
        ("arcface", {"margin": 1.2, "guard": "easy"}),
        ("arcface_adaptive", {}),
        ("arcface_adaptive", {"guard": "easy"}),
        ("circle", {"margin": 0.1}),
    ],
)
@pytest.mark.parametrize("sub_centers", [1, 3])
def test_against_loops(name: str, options: dict[str, Any], sub_centers: int) -> None:
    weight = torch.cos(0.7 * torch.arange(16 * sub_centers, dtype=torch.float64)).reshape(-1, 4)
    labels = torch.tensor([0, 3, -1, 1, 2, -1, 3, 0])
    classifier = made(name, weight, sub_centers=sub_centers, **options)
    got = classifier(X, labels).detach().numpy()
    np.testing.assert_allclose(got, loop(name, options, weight, labels, sub_centers), rtol=1e-9)


@pytest.mark.parametrize("name", COSINE)
@pytest.mark.parametrize("sub_centers", [1, 2])
def test_plain_cosines_without_labels_and_at_evaluation(name: str, sub_centers: int) -> None:
    weight = torch.cos(torch.arange(16 * sub_centers, dtype=torch.float64)).reshape(-1, 4)
    classifier = made(name, weight, sub_centers=sub_centers, scale=7.0)
    plain = 7 * (F.normalize(X) @ F.normalize(weight).T).reshape(8, 4, sub_centers).amax(2)
    torch.testing.assert_close(classifier(X), plain)
    torch.testing.assert_close(classifier(X, torch.full((8,), -1)), plain)
    torch.testing.assert_close(classifier.eval()(X, Y), plain)
    changed = not torch.allclose(classifier.train()(X, Y), plain)
    assert changed == (name != "cosine_linear")


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_every_registered_classifier(name: str) -> None:
    assert CLASSIFIERS[name].description
    options = {"class_counts": [5, 5, 9]} if name == "arcface_adaptive" else {}
    classifier = build_classifier(name, 6, 3, **options)
    assert count_parameters(classifier) == 18
    if name != "linear":
        assert count_parameters(build_classifier(name, 6, 3, sub_centers=4, **options)) == 72
    features = torch.randn(5, 6, requires_grad=True)
    labels, before = torch.tensor([0, 1, 2, -1, 0]), features.detach().clone()
    logits = classifier(features, labels)
    assert logits.shape == (5, 3) and logits.dtype == torch.float32
    F.cross_entropy(logits, labels, ignore_index=-1).backward()
    assert features.grad is not None and torch.isfinite(features.grad).all() and features.grad.any()
    assert torch.equal(features, before) and labels.tolist() == [0, 1, 2, -1, 0]
    assert classifier(features[:1]).shape == (1, 3) and classifier(features[:0]).shape == (0, 3)


@pytest.mark.parametrize("name, std", [("linear", 0.001), ("cosface", 0.01), ("circle", 0.01)])
def test_initial_weights(name: str, std: float) -> None:
    torch.manual_seed(0)
    classifier: Any = build_classifier(name, 128, 700)
    assert classifier.weight.std().item() == pytest.approx(std, rel=0.02)
    assert getattr(classifier, "bias", None) is None


def test_linear_is_linear() -> None:
    classifier = made("linear", std=0.5)
    torch.testing.assert_close(classifier(X, Y), X @ W.T)
    torch.testing.assert_close(classifier.eval()(X), X @ W.T)


def test_linear_with_a_bias() -> None:
    classifier: Any = made("linear", bias=True)
    assert count_parameters(classifier) == 20 and not classifier.bias.any()
    nn.init.constant_(classifier.bias, 0.5)
    torch.testing.assert_close(classifier(X, Y), X @ W.T + 0.5)


@pytest.mark.parametrize("name", ["cosine_linear", "cosface", "arcface", "arcface_adaptive"])
def test_gradient(name: str) -> None:
    classifier = made(name, scale=4.0)
    features = X.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x, w: classifier(x, Y), (features, classifier.weight))


@pytest.mark.parametrize(
    "name, options",
    [(name, {}) for name in COSINE] + [("arcface", {"guard": guard}) for guard in ("none", "easy")],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradient_is_finite_at_the_ends(name: str, dtype: torch.dtype, options: dict[str, Any]) -> None:
    weight = torch.tensor([[3.0, 4.0], [-3.0, -4.0], [3.0, 4.0], [1.0, 0.0]], dtype=dtype)
    features = torch.tensor([[3.0, 4.0], [3.0, 4.0], [-3.0, -4.0], [0.0, 0.0]], dtype=dtype, requires_grad=True)
    classifier = made(name, weight, **options)
    logits = classifier(features, torch.tensor([0, 1, 2, 3]))  # cosines 1, -1, -1, and a feature without direction
    F.cross_entropy(logits, torch.tensor([0, 1, 2, 3])).backward()
    assert torch.isfinite(logits).all()
    assert features.grad is not None and torch.isfinite(features.grad).all()
    assert torch.isfinite(classifier.weight.grad).all()  # type: ignore[arg-type, union-attr]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_features(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    classifier, features = CosineClassifier(64, 10, scale=64.0), torch.randn(4, 64).to(dtype)
    exact = classifier(features.float())
    assert exact.dtype == torch.float32
    torch.testing.assert_close(classifier(features), exact)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(classifier(features), exact)
        F.cross_entropy(classifier(features), torch.arange(4)).backward()
    assert classifier.weight.grad is not None and classifier.weight.grad.dtype == torch.float32


def test_labels_on_the_edge() -> None:
    # an unlabelled row must not take the margin of class 0, on which it is parked inside
    classifier = made("cosface", scale=1.0, margin=2.0)
    difference = classifier(X, torch.tensor([-1] * 7 + [3])) - classifier.eval()(X)
    assert not difference[:7].any()
    torch.testing.assert_close(difference[7], torch.tensor([0, 0, 0, -2], dtype=torch.float64))


# pytorch-metric-learning owns weights and cross-entropy together: an oracle here, no part of the package


@pytest.mark.parametrize(
    "theirs, options, mine, own",
    [
        ("CosFaceLoss", {"scale": 30, "margin": 0.25}, "cosface", {}),
        ("ArcFaceLoss", {}, "arcface", {}),
        ("ArcFaceLoss", {"margin": 60}, "arcface", {"margin": math.radians(60)}),
        ("NormalizedSoftmaxLoss", {"temperature": 1 / 30}, "cosine_linear", {}),
        ("SubCenterArcFaceLoss", {"sub_centers": 2}, "arcface", {"sub_centers": 2}),
    ],
)
def test_pytorch_metric_learning_agrees(theirs: str, options: Any, mine: str, own: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own imports
        from pytorch_metric_learning import losses
    weight = torch.cos(torch.arange(16 * own.get("sub_centers", 1), dtype=torch.float64)).reshape(-1, 4)
    loss = getattr(losses, theirs)(num_classes=4, embedding_size=4, **options)
    loss.W.data = weight.T.clone()
    features, again = X.clone().requires_grad_(), X.clone().requires_grad_()
    expected, got = loss(features, Y), F.cross_entropy(made(mine, weight, **own)(again, Y), Y)
    torch.testing.assert_close(got, expected)
    expected.backward()
    got.backward()
    torch.testing.assert_close(again.grad, features.grad)


@pytest.mark.parametrize(
    "name, dim, num_classes, options, words",
    [
        ("arcfase", 4, 4, {}, r"classifier 'arcfase' is unknown; choose from linear.*Did you mean 'arcface'\?"),
        ("linear", 0, 4, {}, "classifier 'linear': dim=0"),
        ("linear", 4, 0, {}, "classifier 'linear': num_classes=0 must be 1 or more"),
        ("linear", 4, 4, {"scale": 3.0}, r"no option 'scale'; it has std, bias\."),
        ("linear", 4, 4, {"std": -1.0}, r"std=-1\.0"),
        (
            "cosface",
            4,
            4,
            {"margn": 0.3},
            "no option 'margn'; it has scale, margin, sub_centers. Did you mean 'margin'",
        ),
        ("cosface", 4, 4, {"scale": 0.0}, r"scale=0\.0 must be above 0"),
        ("cosface", 4, 4, {"scale": "64"}, "scale='64' must be a number"),
        ("cosface", 4, 4, {"margin": 2.5}, r"margin=2\.5 is outside \[0, 2\]"),
        ("circle", 4, 4, {"margin": -0.1}, r"margin=-0\.1 is outside \[0, 1\]"),
        ("circle", 4, 4, {"sub_centers": 0}, "sub_centers=0"),
        ("arcface", 4, 4, {"margin": 28.6}, r"margin=28\.6 .*radians. 28\.6 degrees are 0\.4992"),
        ("arcface", 4, 4, {"margin": math.nan}, "margin=nan is outside"),
        (
            "arcface",
            4,
            4,
            {"guard": "rap"},
            "guard='rap' is unknown; choose from wrap, easy, none. Did you mean 'wrap'",
        ),
        ("arcface_adaptive", 4, 4, {"low": 0.6}, r"low=0\.6 must not be above high=0\.5"),
        ("arcface_adaptive", 4, 4, {"high": 30.0}, r"high=30\.0 is outside.*0\.5236"),
        ("arcface_adaptive", 4, 4, {"class_counts": [1, 2]}, "class_counts has 2 entries, but there are 4 classes"),
        ("arcface_adaptive", 4, 4, {"class_counts": [1, 2, 0, 3]}, "class 2 has no images"),
    ],
)
def test_refused(name: str, dim: int, num_classes: int, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        build_classifier(name, dim, num_classes, **options)
