"""Losses by name, and what all of them have to bear: odd batches, half precision, any order."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from loss_cases import inputs, made
from torch._subclasses.fake_tensor import FakeTensorMode

from reidlab.errors import UserError
from reidlab.losses import LOSSES, EHTMLoss, TripletLoss, build, takes_of

LABELLED = [name for name, entry in LOSSES.items() if "labels" in takes_of(entry.name)]
NEEDS_NEGATIVES = {"triplet", "weighted_triplet", "circle", "cosface_pair", "supcon", "ntxent"}
NEEDS_POSITIVES = {"circle", "cosface_pair", "supcon", "ntxent"}
# name -> labels, the losses that have nothing to do and say so with 0
ODD: dict[str, tuple[list[int], set[str]]] = {
    "usual": ([0, 0, 1, 1, 2, 2], set()),
    "one identity": ([3, 3, 3, 3], NEEDS_NEGATIVES),
    "single images": ([0, 1, 2, 3], NEEDS_POSITIVES),
    "one image": ([0], NEEDS_NEGATIVES | NEEDS_POSITIVES | {"multi_similarity", "contrastive"}),
    "nobody known": ([-1, -1, -1, -1], set(LABELLED) - {"kd"}),
    "one known": ([-1, 2, -1, -1], NEEDS_NEGATIVES | NEEDS_POSITIVES | {"multi_similarity", "contrastive"}),
}


def features_of(kind: str, count: int) -> torch.Tensor:
    if kind == "random":
        return torch.randn(count, 6, generator=torch.Generator().manual_seed(0)).requires_grad_()
    return torch.full((count, 6), 1.0 if kind == "equal" else 0.0).requires_grad_()


@pytest.mark.parametrize(
    "name, case", [(name, case) for name in LOSSES for case in ODD if name in LABELLED or -1 not in ODD[case][0]]
)
def test_no_batch_makes_nan(name: str, case: str) -> None:
    labels, idle = torch.tensor(ODD[case][0]), ODD[case][1]
    for kind in ("random", "equal", "zero"):
        features, loss = features_of(kind, len(labels)), made(name)
        value = loss(*inputs(name, features, labels))
        value.backward()
        assert value.dim() == 0 and torch.isfinite(value), kind
        assert features.grad is not None and torch.isfinite(features.grad).all(), kind
        assert "active_share" in loss.stats and 0 <= loss.stats["active_share"] <= 1, kind
        for stat in loss.stats.values():
            assert stat.dim() == 0 and not stat.requires_grad and torch.isfinite(stat.float()), kind
        if name in idle:
            assert value == 0 and loss.stats["active_share"] == 0 and not features.grad.any(), kind
        elif kind == "random" and case == "usual" and name != "ehtm":
            assert value > 0 and features.grad.any()


@pytest.mark.parametrize("name", LOSSES)
def test_half_precision_is_computed_in_float32(name: str) -> None:
    torch.manual_seed(0)
    loss, labels = made(name), torch.tensor([0, 0, 1, 1, 2, 2])
    for dtype in (torch.bfloat16, torch.float16):
        features = torch.randn(6, 6, generator=torch.Generator().manual_seed(1)).to(dtype)
        given = inputs(name, features, labels)
        value = loss(*given)
        wide = loss(*(x.float() if x.dtype == dtype else x for x in given))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            inside = loss(*given)
        assert value.dtype == torch.float32 and value == wide == inside


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "ehtm"])  # its own test has triplets to shuffle
def test_order_of_the_batch_does_not_matter(name: str) -> None:
    features = torch.randn(6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    order, labels = torch.tensor([3, 0, 5, 1, 4, 2]), torch.tensor([0, 0, 1, 1, 2, 2])
    loss = made(name).double()
    one = loss(*inputs(name, features, labels))
    active = loss.stats["active_share"]
    two = loss(*inputs(name, features[order], labels[order]))
    assert one.item() == pytest.approx(two.item(), rel=1e-9)
    assert active == loss.stats["active_share"]


# circle's weights get no gradient, nor does a power iteration that has not converged: their own tests look at that
@pytest.mark.parametrize("name", [name for name in LOSSES if name not in ("circle", "ehtm", "cross_orthogonality")])
def test_gradient(name: str) -> None:
    generator = torch.Generator().manual_seed(2)
    features, teacher = (torch.randn(5, 6, dtype=torch.float64, generator=generator) for _ in range(2))
    labels, loss = torch.tensor([0, 0, 1, 1, -1]), made(name).double()
    features.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(*inputs(name, x, labels, teacher)), (features,))


# the library's two look for pairs by index, and ehtm for the distinct labels: the sizes depend on the data
@pytest.mark.parametrize("name", [name for name in LOSSES if name not in ("circle", "supcon", "ehtm")])
def test_no_branch_on_data(name: str) -> None:
    loss = made(name)
    with FakeTensorMode(allow_non_fake_inputs=True):  # tensors without values: whatever asks for one raises
        features, labels = torch.empty(6, 6), torch.empty(6, dtype=torch.int64)
        assert loss(*inputs(name, features, labels)).shape == ()


@pytest.mark.parametrize("name", LOSSES)
def test_every_entry_says_what_it_is(name: str) -> None:
    entry = LOSSES[name]
    assert len(entry.description) > 20 and "\n" not in entry.description and not entry.description.endswith(".")
    assert len(takes_of(entry.name)) >= 2


@pytest.mark.parametrize("name", LABELLED)
def test_labels_that_do_not_fit_are_refused(name: str) -> None:
    features, labels = torch.randn(4, 6), torch.zeros(3, dtype=torch.int64)
    with pytest.raises(UserError, match=r"got \[4, [46]\] and \[3\]"):
        made(name)(*inputs(name, features, labels))


def test_options() -> None:
    assert isinstance(build("triplet", margin=1, soft_margin=True), TripletLoss)
    made_ehtm = build("ehtm", margin=1.2, reduction="mean")
    assert isinstance(made_ehtm, EHTMLoss) and (made_ehtm.margin, made_ehtm.reduction) == (1.2, "mean")
    assert build("center", num_classes=3, dim=2).centers.shape == (3, 2)


@pytest.mark.parametrize(
    "name, options, words",
    [
        ("triplets", {}, r"loss 'triplets' is unknown; choose from cross_entropy, .*Did you mean 'triplet'\?"),
        ("triplet", {"margn": 1}, r"loss 'triplet' has no option 'margn'; .*Did you mean 'margin'\?"),
        ("triplet", {"margin": "3e-1"}, "margin='3e-1' must be a number, such as 0.3"),
        ("triplet", {"normalize": 1}, "normalize=1 must be true or false"),
        ("triplet", {"num_classes": 3}, "loss 'triplet' has no option 'num_classes'"),
        ("triplet", {"distance": "cosinus"}, r"distance='cosinus' is unknown; .*Did you mean 'cosine'\?"),
        ("weighted_triplet", {"margin": -1}, "weighted_triplet margin=-1"),
        ("ehtm", {"intra_weight": None}, "intra_weight=None must be a number"),
        ("ehtm", {"margin": -1}, "margin=-1"),
        ("cross_entropy", {"label_smoothing": 1.5}, "label_smoothing=1.5"),
        ("cross_entropy", {"convention": "other"}, r"convention='other' is unknown; .*Did you mean 'others'\?"),
        ("focal", {"gamma": -1.0}, "focal gamma=-1.0"),
        ("focal", {"alpha": 0.0}, "focal alpha=0.0"),
        ("center", {}, "center needs num_classes .* got 0 and 0"),
        ("center", {"num_classes": 3}, "got 3 and 0"),
        ("center", {"num_classes": "3", "dim": 2}, "num_classes='3' must be a whole number"),
        ("circle", {"margin": -0.1}, "circle margin=-0.1"),
        ("circle", {"gamma": 0}, "circle gamma=0"),
        ("cosface_pair", {"margin": float("nan")}, "cosface_pair margin=nan"),
        ("cosface_pair", {"gamma": -1}, "cosface_pair gamma=-1"),
        ("multi_similarity", {"alpha": 0}, "multi_similarity alpha=0"),
        ("multi_similarity", {"beta": -1}, "multi_similarity beta=-1"),
        ("multi_similarity", {"base": 1.5}, "base=1.5 must be a cosine"),
        ("contrastive", {"margin": 0.2, "positive_margin": 0.3}, "margin=0.2 must be above positive_margin=0.3"),
        ("contrastive", {"positive_margin": -1.0}, "positive_margin=-1"),
        ("supcon", {"temperature": 0}, "supcon temperature=0"),
        ("ntxent", {"temperature": -1.0}, "ntxent temperature=-1"),
        ("kl", {"temperature": 0.0}, "kl temperature=0"),
        ("js", {"temperature": 0.0}, "js temperature=0"),
        ("kd", {"temperature": 0.0}, "kl temperature=0"),
        ("kd", {"alpha": 1.1}, "kd alpha=1.1"),
        ("cross_orthogonality", {"channels": 0}, "cross_orthogonality channels=0 must be 1 or more"),
        ("cross_orthogonality", {"iterations": 0}, "iterations=0"),
        ("relational_kd", {"temperature": 1}, "relational_kd' takes no options; it was given temperature"),
    ],
)
def test_refused(name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        build(name, **options)


@pytest.mark.parametrize("name", [*LABELLED, "ehtm"])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.bool, torch.complex64])
def test_labels_are_whole_numbers(name: str, kind: torch.dtype) -> None:
    given = inputs(name, torch.randn(4, 6), torch.tensor([0, 0, 1, 1]))
    given = tuple(x.to(kind) if x.dtype == torch.int64 else x for x in given)
    with pytest.raises(UserError, match=r"labels are identities 0, 1, ..., whole numbers .-1: unknown.; got \w+\d*"):
        made(name)(*given)


@pytest.mark.parametrize("name", [*LABELLED, "ehtm"])
@pytest.mark.parametrize("kind", [torch.uint8, torch.int16, torch.int32])
def test_labels_of_any_whole_kind_are_the_same(name: str, kind: torch.dtype) -> None:
    features, labels = torch.randn(6, 6), torch.tensor([0, 0, 1, 1, 2, 2])
    loss = made(name)
    other = tuple(x.to(kind) if x.dtype == torch.int64 else x for x in inputs(name, features, labels))
    assert torch.equal(loss(*other), loss(*inputs(name, features, labels)))


@pytest.mark.parametrize("name", LOSSES)
def test_features_that_are_no_real_batch_are_refused(name: str) -> None:
    loss, labels = made(name), torch.tensor([0, 0, 1, 1])
    for features, words in (
        (torch.ones(4, 6, dtype=torch.int64), "must be real numbers"),
        (torch.ones(4, 6, dtype=torch.complex64), "must be real numbers"),
        (torch.ones(0, 6), "is empty: a batch has one row or more"),
        (torch.ones(4, 6, device="meta"), "takes tensors of one device; got"),
    ):
        given = inputs(name, features, labels[: len(features)], torch.ones(4, 6))
        with pytest.raises(UserError, match=words):
            loss(*given)
    for other in ([[1.0]], None):
        with pytest.raises(UserError, match="must be a tensor, not"):
            loss(*(other for _ in given))
    if name in LABELLED:
        with pytest.raises(UserError, match="labels must be a tensor, not None"):
            loss(*inputs(name, torch.ones(4, 6), labels)[:-1], None)


@pytest.mark.parametrize("name", ["cross_entropy", "focal", "center", "kd"])
def test_labels_beyond_the_classes_are_refused(name: str) -> None:
    features = torch.randn(4, 6)
    with pytest.raises(UserError, match=r"Labels are 0 to 5 for 6 classes, or -1 \(.*out of"):
        made(name)(*inputs(name, features, torch.tensor([0, 1, 6, 2])))
    unknown = made(name)
    one, two = (unknown(*inputs(name, features, torch.tensor([0, 1, last, 2]))) for last in (-1, -7))
    assert torch.equal(one, two)


@pytest.mark.parametrize("name", [name for name in LABELLED if name != "pair_bce"])  # its own test has its shapes
def test_features_of_one_axis_or_three_are_refused(name: str) -> None:
    options = [{}, {"normalize": True}] if "normalize" in inspect.signature(LOSSES[name].factory).parameters else [{}]
    for chosen in options:
        for features in (torch.randn(4), torch.randn(4, 6, 2)):
            given = (features, torch.randn(4, 6)) if name == "kd" else (features,)
            with pytest.raises(UserError, match=r"features \[batch, dim\] and labels \[batch\]; got"):
                made(name, **chosen)(*given, torch.tensor([0, 0, 1, 1]))


def test_triplets_of_different_shapes_are_refused() -> None:
    a, labels = torch.randn(4, 6), torch.tensor([0, 0, 1, 1])
    for given in ((a, a[:3], a, labels, labels), (a, a, a, labels, labels[:2]), (a, a, a[:, :2], labels, labels)):
        with pytest.raises(UserError, match="ehtm takes anchors, positives and negatives of one shape"):
            made("ehtm")(*given)


def test_options_that_would_take_for_ever_are_refused() -> None:
    with pytest.raises(UserError, match="iterations=1000000000 must be 1 or more, and at most"):
        build("cross_orthogonality", iterations=10**9)
    with pytest.raises(UserError, match="1000000000000 classes of dim 2 are more than"):
        build("center", num_classes=10**12, dim=2)
