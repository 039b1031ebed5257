"""What losses share: pairs, masked means, full precision."""

from __future__ import annotations

import pytest
import torch
from loss_cases import X, Y, negatives, positives

from reidlab.errors import UserError
from reidlab.losses.distance import euclidean_of_cosine, pairwise_euclidean
from reidlab.losses.measures import mean_where, share, total_variation
from reidlab.losses.pairs import cosine_similarities, masked_logsumexp, pairs_of
from reidlab.losses.precision import in_full_precision
from reidlab.losses.triplet import TripletLoss


@pytest.mark.parametrize("labels", [[0, 0, 1], [-1, -1, 2, 2, 2, 0], [5], [], [-1, -1], [-2, -2, 3]])
def test_pairs(labels: list[int]) -> None:
    found = pairs_of(torch.tensor(labels, dtype=torch.int64))
    for i in range(len(labels)):
        assert found.positive[i].nonzero().flatten().tolist() == positives(labels, i)
        assert found.negative[i].nonzero().flatten().tolist() == negatives(labels, i)
        assert bool(found.usable[i]) == bool(positives(labels, i) and negatives(labels, i))


@pytest.mark.parametrize("features, labels", [((4, 2), (3,)), ((4,), (4,)), ((4, 2), (4, 1))])
def test_shapes(features: tuple[int, ...], labels: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match=r"features \[batch, dim\] and labels \[batch\]"):
        TripletLoss()(torch.zeros(features), torch.zeros(labels, dtype=torch.int64))


def test_masked_means_and_shares() -> None:
    values = torch.tensor([1.0, torch.inf, 3.0, torch.nan])
    mask = torch.tensor([True, False, True, False])
    assert mean_where(values, mask) == 2 and share(values > 2, mask) == 0.5
    assert mean_where(values, ~mask & mask) == 0 and share(mask, ~mask & mask) == 0


def test_log_sum_exp_of_nothing_has_no_gradient() -> None:
    values = torch.randn(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    mask = torch.tensor([[True, False, True], [False, False, False]])
    found = masked_logsumexp(values, mask)
    assert found[0].item() == pytest.approx(torch.logsumexp(values[0, [0, 2]], 0).item())
    assert torch.nn.functional.softplus(found[1] + found[1]) == 0
    torch.nn.functional.softplus(found).sum().backward()
    assert values.grad is not None and not values.grad[1].any() and values.grad[0, 1] == 0 and values.grad[0, 0] > 0


def test_distances_of_unit_vectors_from_cosines() -> None:
    unit = torch.nn.functional.normalize(X, dim=1)
    assert torch.allclose(euclidean_of_cosine(cosine_similarities(X)), pairwise_euclidean(unit, unit), atol=1e-7)


def test_total_variation() -> None:
    p, q = torch.tensor([[1.0, 0.0], [0.5, 0.5]]), torch.tensor([[0.0, 1.0], [0.5, 0.5]])
    assert total_variation(p, q).tolist() == [1, 0]


def test_full_precision() -> None:
    @in_full_precision
    def product(a: torch.Tensor, *, b: torch.Tensor) -> torch.Tensor:
        return a @ b

    for dtype, wide in (
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
        (torch.float64, torch.float64),
    ):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert product(X.to(dtype), b=X.T.to(dtype)).dtype == wide
    assert product.__name__ == "product"
    assert torch.equal(product(Y[None].float(), b=Y[:, None].float()), torch.tensor([[28.0]]))


def test_two_types_of_numbers_are_widened() -> None:
    """torch 2.11 has no gradient of a float32 and a float64 tensor together."""
    seen: list[torch.dtype] = []

    class Apart:
        @in_full_precision
        def forward(self, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
            seen.extend((student.dtype, teacher.dtype))
            return torch.nn.functional.mse_loss(student, teacher)

    for first, second, wide in (
        (torch.float32, torch.float64, torch.float64),
        (torch.float64, torch.bfloat16, torch.float64),
        (torch.bfloat16, torch.float32, torch.float32),
        (torch.float16, torch.float16, torch.float32),
    ):
        seen.clear()
        student = torch.ones(3, 2, dtype=first, requires_grad=True)
        Apart().forward(student, torch.zeros(3, 2, dtype=second)).backward()
        assert seen == [wide, wide] and student.grad is not None and student.grad.dtype == first
