"""EHTM: golden values of the published class, and every term against plain loops over pairs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from reidlab.errors import UserError
from reidlab.losses import EHTMLoss

A_LABELS = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
N_LABELS = torch.tensor([1, 2, 0, 3, 0, 3, 1, 2])


def wave(shift: float) -> Tensor:
    rows = torch.sin(0.3 * torch.arange(1, 33, dtype=torch.float64) + shift).reshape(8, 4)
    return rows / rows.norm(dim=1, keepdim=True)


def golden_inputs() -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    return wave(0), wave(0.4), wave(2.0), A_LABELS, N_LABELS


@pytest.mark.parametrize(
    "margin, intra, inter, total",
    [
        (0.8, 0.1, 0.1, 3.5451453214),
        (0.8, 0.0, 0.0, 3.1264452528),
        (1.6, 0.1, 0.1, 5.4940664199),
        (1.6, 0.0, 0.0, 4.9086716532),
        (1.6, 0.0, 1.0, 6.5756186342),
    ],
)
def test_golden_totals(margin: float, intra: float, inter: float, total: float) -> None:
    loss = EHTMLoss(margin, intra, inter)(*golden_inputs())
    assert loss.item() == pytest.approx(total, rel=0, abs=1e-9)


def test_golden_terms() -> None:
    loss = EHTMLoss()
    loss(*golden_inputs())
    assert loss.stats["t1"].item() == 0
    assert loss.stats["t2"].item() == pytest.approx(2.4390064118, rel=0, abs=1e-9)
    assert loss.stats["t3"].item() == pytest.approx(0.6874388410, rel=0, abs=1e-9)
    assert loss.stats["semi_hard_pairs"].item() == 39
    assert loss.stats["active_share"].item() == 0


def naive(
    a: np.ndarray, p: np.ndarray, n: np.ndarray, a_labels: list[int], n_labels: list[int], margin: float, mean: bool
) -> dict[str, float]:
    """Every term by the definition, with loops over pairs of embeddings."""
    rows = [*a, *p, *n]
    labels = [*a_labels, *a_labels, *n_labels]
    count, anchors = len(rows), range(len(a))

    def squared(x: np.ndarray, y: np.ndarray) -> float:
        return float(sum((s - t) ** 2 for s, t in zip(x, y)))

    d = [[math.sqrt(max(squared(x, y), 1e-8)) for y in rows] for x in rows]
    t1 = sum(max(0.0, squared(a[i], p[i]) - squared(a[i], n[i]) + margin) for i in anchors) / len(a)
    t2 = 0.0
    semi = []
    for i in anchors:
        positives = [j for j in range(count) if labels[j] == labels[i] and j != i]
        negatives = [j for j in range(count) if labels[j] != labels[i]]
        if positives and negatives:
            t2 += max(0.0, max(d[i][j] for j in positives) - min(d[i][j] for j in negatives) + margin)
        for j in positives:
            between = [d[i][k] for k in negatives if d[i][j] < d[i][k] < d[i][j] + margin]
            if between:
                semi.append(max(0.0, d[i][j] - min(between) + margin))
    classes = sorted(set(a_labels))
    members = {c: [j for j in range(count) if labels[j] == c] for c in classes}
    # the published code leaves the 1e-4 of each embedding with itself in the sum over the class
    intra = [sum(d[i][j] for i in members[c] for j in members[c]) / (len(members[c]) * (len(members[c]) - 1)) for c in classes]  # fmt: skip
    inter = [
        max(0.0, margin - float(np.mean([d[i][j] for i in members[c] for j in members[other]])))
        for c in classes
        for other in classes
        if c < other
    ]
    return {
        "t1": t1,
        "t2": t2 / len(a),
        "t3": float(np.mean(semi)) if semi else 0.0,
        "semi_hard_pairs": len(semi),
        "intra": sum(intra) / (len(intra) if mean else 1),
        "inter": sum(inter) / (max(1, len(inter)) if mean else 1),
    }


# whole coordinates: squared distances are exact, so ties are ties in the loops and in the matrix product alike
COORDINATES = st.lists(st.integers(-2, 2), min_size=2, max_size=2)


@st.composite
def triplet_batches(draw: st.DrawFn) -> tuple[np.ndarray, list[int], list[int]]:
    size = draw(st.integers(1, 7))
    points = draw(st.lists(COORDINATES, min_size=3 * size, max_size=3 * size))
    a_labels = draw(st.lists(st.integers(0, 3), min_size=size, max_size=size))
    n_labels = draw(
        st.lists(st.integers(0, 8), min_size=size, max_size=size)
    )  # some with one member, some the anchor's
    return np.array(points, dtype=np.float64).reshape(3, size, 2), a_labels, n_labels


@settings(deadline=None, max_examples=150)
@given(
    batch=triplet_batches(),
    margin=st.sampled_from([0.25, 0.8, 1.0, 3.0]),
    reduction=st.sampled_from(["sum", "mean"]),
    weights=st.tuples(st.sampled_from([0.0, 0.1, 2.0]), st.sampled_from([0.0, 0.1, 2.0])),
)
def test_every_term_against_loops(
    batch: tuple[np.ndarray, list[int], list[int]], margin: float, reduction: str, weights: tuple[float, float]
) -> None:
    (a, p, n), a_labels, n_labels = batch
    expected = naive(a, p, n, a_labels, n_labels, margin, reduction == "mean")
    loss = EHTMLoss(margin, *weights, reduction)
    given_tensors = [torch.from_numpy(x).requires_grad_() for x in (a, p, n)]
    total = loss(*given_tensors, torch.tensor(a_labels), torch.tensor(n_labels))
    for name, value in expected.items():
        assert loss.stats[name].item() == pytest.approx(value, rel=1e-9, abs=1e-9), name
    by_hand = expected["t1"] + expected["t2"] + expected["t3"]
    by_hand += weights[0] * expected["intra"] + weights[1] * expected["inter"]
    assert total.item() == pytest.approx(by_hand, rel=1e-9, abs=1e-9)
    total.backward()
    assert all(x.grad is not None and torch.isfinite(x.grad).all() for x in given_tensors)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000), size=st.integers(1, 12))
def test_unit_vectors_against_loops(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    a, p, n = points = rng.normal(size=(3, size, 8))
    points /= np.linalg.norm(points, axis=2, keepdims=True)
    a_labels, n_labels = rng.integers(0, 4, size).tolist(), rng.integers(4, 9, size).tolist()
    loss = EHTMLoss()
    loss(*map(torch.from_numpy, (a, p, n)), torch.tensor(a_labels), torch.tensor(n_labels))
    for name, value in naive(a, p, n, a_labels, n_labels, 0.8, False).items():
        assert loss.stats[name].item() == pytest.approx(value, rel=1e-7, abs=1e-7), name


def test_reported_figures_of_the_given_triplets() -> None:
    a = torch.tensor([[0.0, 0.0], [0.0, 0.0]])
    p = torch.tensor([[3.0, 4.0], [1.0, 0.0]])
    n = torch.tensor([[0.0, 1.0], [6.0, 8.0]])
    loss = EHTMLoss()
    total = loss(a, p, n, torch.tensor([0, 1]), torch.tensor([1, 0]))
    assert loss.stats["active_share"] == 0.5  # 25 - 1 + m is above 0, 1 - 100 + m is not
    assert loss.stats["d_ap"] == 3 and loss.stats["d_an"] == 5.5
    assert loss.stats["t1"].item() == pytest.approx((25 - 1 + 0.8) / 2)
    assert not any(value.requires_grad for value in loss.stats.values())
    assert total.dim() == 0


def test_normalised_inside_or_before() -> None:
    torch.manual_seed(0)
    a, p, n = (7 * torch.randn(6, 8, dtype=torch.float64) for _ in range(3))
    labels = torch.arange(6) % 3, (torch.arange(6) + 1) % 3
    unit = [torch.nn.functional.normalize(x, dim=1) for x in (a, p, n)]
    inside = EHTMLoss(normalize=True)(a, p, n, *labels)
    torch.testing.assert_close(inside, EHTMLoss()(*unit, *labels), rtol=0, atol=1e-12)
    assert not torch.isclose(inside, EHTMLoss()(a, p, n, *labels))


def test_no_semi_hard_pair() -> None:
    a, p = torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 0.0]])
    loss = EHTMLoss()
    for negative in ([0.5, 0.0], [1.0, 0.0], [1.8, 0.0], [9.0, 0.0]):  # nearer, tied, exactly a margin behind, far
        a.requires_grad_().grad = None
        total = loss(a, p, torch.tensor([negative]), torch.tensor([0]), torch.tensor([1]))
        total.backward()
        assert loss.stats["t3"] == 0 and loss.stats["semi_hard_pairs"] == 0
        assert torch.isfinite(a.grad).all()
    loss(a, p, torch.tensor([[1.5, 0.0]]), torch.tensor([0]), torch.tensor([1]))
    assert loss.stats["semi_hard_pairs"] == 1 and loss.stats["t3"].item() == pytest.approx(0.3)


def test_order_of_the_triplets_does_not_matter() -> None:
    a, p, n, a_labels, n_labels = golden_inputs()
    order = torch.randperm(8, generator=torch.Generator().manual_seed(0))
    one = EHTMLoss()(a, p, n, a_labels, n_labels)
    two = EHTMLoss()(a[order], p[order], n[order], a_labels[order], n_labels[order] + 0)
    assert one.item() == pytest.approx(two.item(), rel=1e-12)


@pytest.mark.parametrize("margin", [0.8, 1.6])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_gradient(margin: float, reduction: str) -> None:
    generator = torch.Generator().manual_seed(3)
    a, p, n = (torch.randn(4, 3, dtype=torch.float64, generator=generator).requires_grad_() for _ in range(3))
    labels, others = torch.tensor([0, 0, 1, 2]), torch.tensor([1, 3, 2, 0])
    loss = EHTMLoss(margin, 0.3, 0.7, reduction)
    assert torch.autograd.gradcheck(lambda *x: loss(*x, labels, others), (a, p, n))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradient_is_finite_where_points_coincide(dtype: torch.dtype) -> None:
    one = torch.nn.functional.normalize(torch.ones(4, 128, dtype=dtype), dim=1)
    a, p, n = (one.clone().requires_grad_() for _ in range(3))
    total = EHTMLoss()(a, p, n, torch.tensor([0, 0, 1, 1]), torch.tensor([1, 1, 0, 0]))
    total.backward()
    assert torch.isfinite(total)
    for x in (a, p, n):
        assert x.grad is not None and torch.isfinite(x.grad).all()


@pytest.mark.parametrize(
    "options, words",
    [({"margin": 0}, "margin=0"), ({"margin": float("nan")}, "margin=nan"), ({"reduction": "avg"}, "reduction='avg'")],
)
def test_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        EHTMLoss(**options)  # type: ignore[arg-type]
