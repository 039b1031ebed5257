"""Losses of autoencoders and pairs, by loops and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from loss_cases import odd_batch, softplus

from reidlab.errors import UserError
from reidlab.losses import build


@pytest.mark.parametrize("form", ["mse", "l1"])
def test_reconstruction_against_loops(form: str) -> None:
    rng = np.random.default_rng(0)
    made, pixels = rng.random((2, 3, 4, 2)), rng.random((2, 3, 4, 2))
    apart = [abs(a - b) for a, b in zip(made.ravel(), pixels.ravel())]
    loss = build("reconstruction", form=form)
    value = loss(torch.from_numpy(made), torch.from_numpy(pixels))
    squares = sum(a * a for a in apart) / len(apart)
    assert value.item() == pytest.approx(squares if form == "mse" else sum(apart) / len(apart))
    assert loss.stats["psnr"].item() == pytest.approx(10 * math.log10(1 / squares))  # type: ignore[index]


def test_a_perfect_reconstruction_costs_nothing() -> None:
    pixels = torch.rand(2, 3, 4, 2)
    loss = build("reconstruction")
    assert loss(pixels, pixels) == 0
    assert loss.stats["active_share"] == 0 and torch.isfinite(loss.stats["psnr"])  # type: ignore[index]


def test_no_gradient_goes_to_the_image() -> None:
    made, pixels = torch.rand(1, 3, 2, 2, requires_grad=True), torch.rand(1, 3, 2, 2, requires_grad=True)
    build("reconstruction")(made, pixels).backward()
    assert made.grad is not None and pixels.grad is None


@pytest.mark.parametrize("free", [0.0, 0.3])
def test_vae_kl_against_loops(free: float) -> None:
    rng = np.random.default_rng(1)
    mean, log_variance = rng.normal(size=(5, 4)), rng.normal(size=(5, 4))
    each = []
    for j in range(4):
        total = 0.0
        for i in range(5):
            total += -0.5 * (1 + log_variance[i, j] - mean[i, j] ** 2 - math.exp(log_variance[i, j]))
        each.append(total / 5)
    loss = build("vae_kl", free_bits=free)
    value = loss(torch.from_numpy(mean), torch.from_numpy(log_variance))
    assert value.item() == pytest.approx(sum(max(one, free) for one in each))
    assert loss.stats["kl_nats"].item() == pytest.approx(sum(each))  # type: ignore[index]


def test_vae_kl_is_torchs_divergence() -> None:
    from torch.distributions import Normal, kl_divergence

    mean, log_variance = torch.randn(6, 3), torch.randn(6, 3)
    expected = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0)).sum(1).mean()
    torch.testing.assert_close(build("vae_kl")(mean, log_variance), expected)


def test_free_bits_have_no_gradient() -> None:
    mean = torch.full((4, 2), 0.1, requires_grad=True)
    build("vae_kl", free_bits=1.0)(mean, torch.zeros(4, 2)).backward()
    assert mean.grad is not None and not mean.grad.any()


def test_sparsity_by_hand() -> None:
    code = torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
    loss = build("sparsity")
    assert loss(code).item() == pytest.approx(0.5)
    assert loss.stats["active_share"].item() == pytest.approx(1 / 3)  # type: ignore[index]
    rho, shares = 0.2, [0.5, 1 - 1e-6, 1e-6]
    expected = sum(rho * math.log(rho / s) + (1 - rho) * math.log((1 - rho) / (1 - s)) for s in shares) / 3
    assert build("sparsity", form="kl", rho=rho)(code.double()).item() == pytest.approx(expected, rel=1e-5)


def test_a_wanted_activity_costs_nothing() -> None:
    code = torch.zeros(10, 2)
    code[0, 0] = code[:, 1] = 10.0  # the first number's mean is a tenth of the second's
    gradients = []
    for rho in (0.1, 0.4):
        x = code.clone().requires_grad_()
        build("sparsity", form="kl", rho=rho)(x).backward()
        assert x.grad is not None
        gradients.append(x.grad[0, 0].item())
    assert gradients[0] == pytest.approx(0.0, abs=1e-6) and gradients[1] < 0  # it is to become more active


@pytest.mark.parametrize("seed", range(8))
def test_pair_bce_against_loops(seed: int) -> None:
    points, labels = odd_batch(seed)
    logits = points @ points.T
    kinds: dict[bool, list[float]] = {True: [], False: []}
    rights: dict[bool, list[bool]] = {True: [], False: []}
    for i in range(len(labels)):
        for j in range(i + 1, len(labels)):
            if labels[i] < 0 or labels[j] < 0:
                continue
            same = labels[i] == labels[j]
            kinds[same].append(softplus(-logits[i, j] if same else logits[i, j]))
            rights[same].append((logits[i, j] > 0) == same)
    loss = build("pair_bce")
    value = loss(torch.from_numpy(logits), torch.tensor(labels))
    assert value.item() == pytest.approx(sum(sum(v) / max(len(v), 1) for v in kinds.values()))
    accuracy = sum(sum(r) / max(len(r), 1) for r in rights.values()) / 2
    assert loss.stats["pair_accuracy"].item() == pytest.approx(accuracy)  # type: ignore[index]


def test_an_image_is_in_no_pair_with_itself() -> None:
    logits = torch.tensor([[1e4, -3.0], [-3.0, -1e4]], requires_grad=True)
    build("pair_bce")(logits, torch.tensor([0, 1])).backward()
    assert logits.grad is not None and not logits.grad.diagonal().any()


@pytest.mark.parametrize(
    "name, options, said",
    [
        ("reconstruction", {"form": "ms"}, "mse"),
        ("vae_kl", {"free_bits": -1.0}, "free_bits"),
        ("sparsity", {"form": "l2"}, "l1"),
        ("sparsity", {"rho": 0.0}, "rho"),
    ],
)
def test_impossible_options(name: str, options: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        build(name, **options)


def test_shapes_that_do_not_fit() -> None:
    with pytest.raises(UserError, match="one shape"):
        build("reconstruction")(torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 2))
    with pytest.raises(UserError, match="vae_kl"):
        build("vae_kl")(torch.rand(2, 3), torch.rand(2, 4))
    with pytest.raises(UserError, match="pair_bce"):
        build("pair_bce")(torch.rand(2, 3), torch.tensor([0, 1]))


@pytest.mark.parametrize("seed", range(4))
def test_load_balance_against_loops(seed: int) -> None:
    rng = np.random.default_rng(seed)
    gates = rng.dirichlet(np.ones(3), size=7)
    total = 0.0
    for expert in range(3):
        mean = sum(gates[:, expert]) / 7
        first = sum(1 for row in gates if max(row) == row[expert]) / 7
        total += 3 * mean * first
    loss = build("load_balance")
    assert loss(torch.from_numpy(gates)).item() == pytest.approx(total)
    assert loss.stats["gate_1"].item() == pytest.approx(gates[:, 1].mean())  # type: ignore[index]


def test_load_balance_of_even_and_of_one_sided_gates() -> None:
    even = torch.tensor([[0.6, 0.4], [0.4, 0.6]])
    one_sided = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    assert build("load_balance")(even).item() == pytest.approx(1.0)
    assert build("load_balance")(one_sided).item() == pytest.approx(2.0)
    with pytest.raises(UserError, match="two experts or more"):
        build("load_balance")(torch.ones(4, 1))
