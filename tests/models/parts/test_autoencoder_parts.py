"""Autoencoders, decoders and pair heads: published sizes, what each kind does, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from reidlab.errors import UserError
from reidlab.models import count_parameters
from reidlab.models.parts.autoencoders import AUTOENCODERS, build_autoencoder, build_decoder
from reidlab.models.parts.pair_heads import PAIR_HEADS, build_pair_head

SMALL: dict[str, Any] = {"code": 16, "hidden": [32, 24]}


def features_of(n: int = 8, width: int = 40) -> torch.Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(0))


def small(name: str, **options: Any) -> Any:
    torch.manual_seed(0)
    return build_autoencoder(name, 40, **SMALL, **options)


def test_published_sizes() -> None:
    decoder = count_parameters(build_decoder("published", 728, 256, 128))
    assert decoder == 1_821_273
    assert count_parameters(build_autoencoder("ae", 2048)) + decoder == 7_295_201
    assert count_parameters(build_autoencoder("sae", 2048)) + decoder == 7_295_201
    assert count_parameters(build_autoencoder("dae", 2048)) + decoder == 7_295_201
    assert count_parameters(build_autoencoder("vae", 2048)) + decoder == 8_039_945
    assert count_parameters(build_pair_head("concatenated", 728)) == 1_392_665


def test_the_published_layers_by_hand() -> None:
    encoder = small("ae", dropout=0.0).eval()
    for module in encoder.modules():  # statistics that are not 0 and 1
        if isinstance(module, nn.BatchNorm1d):
            assert module.momentum == 0.01
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
    x = features_of()
    expected = x
    layers = [*encoder.hidden, *encoder.last]
    for linear, norm in zip(layers[::3], layers[1::3]):
        expected = expected @ linear.weight.T + linear.bias
        expected = (expected - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias
        expected = expected.clamp(min=0)
    torch.testing.assert_close(encoder(x).code, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", AUTOENCODERS)
def test_every_kind(name: str) -> None:
    encoder = small(name)
    x = features_of().requires_grad_()
    made = encoder.train()(x)
    assert made.code.shape == (8, 16) and encoder.dim == 16
    made.code.sum().backward()
    assert x.grad is not None and torch.isfinite(x.grad).all()
    assert (made.mean is not None) == (made.log_variance is not None) == (name == "vae")
    encoder.eval()
    torch.testing.assert_close(encoder(x).code, encoder(x).code, rtol=0, atol=0)  # nothing random at evaluation


def test_a_variational_code_is_drawn_from_its_distribution() -> None:
    encoder = small("vae", dropout=0.0)
    nn.init.constant_(encoder.log_variance.weight, 0.0)
    nn.init.constant_(encoder.log_variance.bias, 2 * torch.log(torch.tensor(0.5)).item())
    x = features_of()
    draws = []
    for _ in range(400):
        made = encoder.train()(x)
        draws.append(made.code - made.mean)
    apart = torch.stack(draws)
    assert apart.mean().item() == pytest.approx(0.0, abs=0.02)
    assert apart.std().item() == pytest.approx(0.5, rel=0.03)
    made = encoder.eval()(x)
    assert torch.equal(made.code, made.mean)


def test_extreme_variances_stay_finite() -> None:
    encoder = small("vae")
    nn.init.constant_(encoder.log_variance.bias, 1e4)
    assert torch.isfinite(encoder.train()(features_of()).code).all()


@pytest.mark.parametrize("k", [1, 5, 16])
def test_the_k_largest_are_kept(k: int) -> None:
    whole, cut = small("sae", dropout=0.0).eval(), small("sae", dropout=0.0, k=k).eval()
    code, sparse = whole(features_of()).code, cut(features_of()).code
    for full, kept in zip(code.tolist(), sparse.tolist()):
        places = sorted(range(16), key=lambda i: -full[i])[:k]
        assert sum(value != 0 for value in kept) <= k
        assert sorted(kept[i] for i in places) == pytest.approx(sorted(full[i] for i in places))


@pytest.mark.parametrize("options", [{"noise": 0.5}, {"noise": 0.0, "mask": 0.5}])
def test_denoising_corrupts_while_training_alone(options: dict[str, float]) -> None:
    plain, denoising = small("ae", dropout=0.0), small("dae", dropout=0.0, **options)
    denoising.load_state_dict(plain.state_dict())
    x = features_of()
    assert torch.equal(plain.eval()(x).code, denoising.eval()(x).code)
    assert not torch.allclose(plain.train()(x).code, denoising.train()(x).code)


@pytest.mark.parametrize("height, width", [(64, 32), (128, 64), (224, 224)])
@pytest.mark.parametrize("name", ["published", "direct"])
def test_decoders_give_images_of_the_size(name: str, height: int, width: int) -> None:
    images = build_decoder(name, 16, height, width, hidden=32)(torch.randn(3, 16))
    assert images.shape == (3, 3, height, width)
    assert images.min() >= 0 and images.max() <= 1


def test_tied_weights_are_one_tensor() -> None:
    encoder, decoder = small("ae"), build_decoder("direct", 16, 32, 16, hidden=24)
    before = count_parameters(decoder)
    decoder.tie(encoder.tied)  # type: ignore[operator]
    assert count_parameters(decoder) == before - 24 * 16
    codes = torch.randn(4, 16)
    first: Any = decoder.hidden[0]  # type: ignore[index]
    torch.testing.assert_close(first(codes), codes @ encoder.tied.weight + first.bias)
    decoder.train()(codes).sum().backward()
    assert encoder.tied.weight.grad is not None
    with pytest.raises(UserError, match="as wide as the decoder's first"):
        build_decoder("direct", 16, 32, 16, hidden=25).tie(encoder.tied)  # type: ignore[operator]


@pytest.mark.parametrize("name", PAIR_HEADS)
def test_pair_heads_are_symmetric(name: str) -> None:
    head: Any = build_pair_head(name, 12)
    one, two = torch.randn(5, 12), torch.randn(5, 12)
    torch.testing.assert_close(head(one, two), head(two, one))
    codes = torch.randn(6, 12)
    matrix = head.among(codes)
    for i in range(6):
        for j in range(6):
            expected = head(codes[i : i + 1], codes[j : j + 1])[0] if i != j else torch.zeros(())
            torch.testing.assert_close(matrix[i, j], expected, rtol=1e-4, atol=1e-6)
    assert head.among(codes[:1]).shape == (1, 1)


@pytest.mark.parametrize(
    "kind, options, said",
    [
        ("ae", {"hidden": []}, "hidden"),
        ("ae", {"code": 0}, "code=0"),
        ("ae", {"dropout": 1.0}, "dropout"),
        ("sae", {"code": 16, "k": 17}, "k=17"),
        ("dae", {"noise": 0.0}, "noise or mask"),
        ("dae", {"mask": 1.0}, "mask"),
        ("dae", {"noise": -1.0}, "noise"),
        ("aee", {}, "ae"),
    ],
)
def test_impossible_autoencoders(kind: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        build_autoencoder(kind, 40, **options)


def test_impossible_decoders() -> None:
    with pytest.raises(UserError, match="multiples of 16"):
        build_decoder("direct", 16, 100, 50)
    with pytest.raises(UserError, match="hidden=0"):
        build_decoder("published", 16, 64, 32, hidden=0)
