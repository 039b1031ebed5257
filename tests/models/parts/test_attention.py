"""Attention blocks: exact counts, plain loops, the identity at the start."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from reidlab.errors import UserError
from reidlab.models import count_parameters
from reidlab.models.families.custom_cnn import CBAM
from reidlab.models.parts.attention import ATTENTIONS, build_attention


def maps_of(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def block_of(name: str, channels: int, **options: Any) -> nn.Module:
    """Return a block in float64 and evaluation mode, none of whose weights and statistics are special."""
    block = build_attention(name, channels, **options).double().eval()
    generator = torch.Generator().manual_seed(1)
    for tensor in [*block.parameters(), *block.buffers()]:
        if tensor.is_floating_point():
            tensor.data.copy_(torch.rand(tensor.shape, generator=generator) + 0.1)
    return block


@pytest.mark.parametrize(
    "name, options, count",
    [
        ("se", {}, 33_312),
        ("cbam", {}, 32_868),
        ("non_local", {}, 67_168),
        ("global_context", {}, 33_889),
        ("pam", {}, 329_345),
        ("cam", {}, 1_025),
        ("fpb", {}, 330_370),
        ("plr", {}, 362_657),
        ("cbam_custom_cnn", {}, 2 * 512 * 64 + 18),
        ("non_local", {"inter": 1}, 3 * 513 + 1_024 + 1_024),
        ("non_local", {"reduction": 2}, 3 * (512 * 256 + 256) + 256 * 512 + 512 + 1_024),
        ("se", {"reduction": 4}, 512 * 128 + 128 + 128 * 512 + 512),
        ("pam", {"norm": False}, 329_345 - 1_024),
        ("cam", {"norm": False}, 1),
        ("fpb", {"norm": False, "dropout": 0.2}, 330_370 - 2_048),
        ("plr", {"value": False}, 362_657 - 512 * 513),
    ],
)
def test_counts_at_512_channels(name: str, options: dict[str, Any], count: int) -> None:
    assert count_parameters(build_attention(name, 512, **options)) == count


@pytest.mark.parametrize("name", ATTENTIONS)
@pytest.mark.parametrize("shape", [(2, 16, 5, 3), (2, 3, 1, 1), (3, 8, 1, 7)])
def test_every_registered_block(name: str, shape: tuple[int, ...]) -> None:
    assert ATTENTIONS[name].description
    block = build_attention(name, shape[1])
    maps = torch.randn(shape, requires_grad=True)
    before = maps.detach().clone()
    for mode in (False, True):
        gated = block.train(mode)(maps)
        assert gated.shape == maps.shape and gated.dtype == maps.dtype
    gated.square().sum().backward()
    assert maps.grad is not None and torch.isfinite(maps.grad).all() and maps.grad.any()
    assert torch.equal(maps, before)


@pytest.mark.parametrize("name", ATTENTIONS)
def test_autocast_keeps_the_type(name: str) -> None:
    block, maps = build_attention(name, 16), torch.randn(2, 16, 5, 3)
    with torch.autocast("cpu", torch.bfloat16):
        gated = block.eval()(maps.bfloat16())
    assert gated.dtype == torch.bfloat16
    torch.testing.assert_close(gated.float(), block(maps.bfloat16().float()), rtol=0.05, atol=0.05)


def test_the_custom_cnn_form_is_the_one_definition() -> None:
    assert ATTENTIONS["cbam_custom_cnn"].factory is CBAM


@pytest.mark.parametrize("name", ["non_local", "pam", "cam", "fpb"])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("norm", [True, False])
def test_the_start_is_the_identity(name: str, training: bool, norm: bool) -> None:
    block = build_attention(name, 8, **({} if name == "non_local" else {"norm": norm})).train(training)
    maps = torch.randn(4, 8, 6, 3)
    assert torch.equal(block(maps), maps)
    for parameter in block.parameters():
        parameter.data.add_(0.5)
    assert not torch.allclose(block(maps), maps)


# plain loops; w(conv) is the matrix of a 1x1 convolution


def w(conv: Any) -> np.ndarray:
    return conv.weight.detach().numpy()[:, :, 0, 0]


def b(conv: Any) -> np.ndarray:
    return conv.bias.detach().numpy()


def batch_norm(norm: Any, x: np.ndarray) -> np.ndarray:
    mean, var = norm.running_mean.numpy(), norm.running_var.numpy()
    scale = norm.weight.detach().numpy() / np.sqrt(var + norm.eps)
    return (x - mean[:, None]) * scale[:, None] + norm.bias.detach().numpy()[:, None]


def softmax(row: np.ndarray) -> np.ndarray:
    powers = np.array([math.exp(value - max(row)) for value in row])
    return powers / powers.sum()


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def se_loop(block: Any, x: np.ndarray) -> np.ndarray:
    hidden = np.maximum(w(block.fc1) @ x.mean(1) + b(block.fc1), 0)
    return x * sigmoid(w(block.fc2) @ hidden + b(block.fc2))[:, None]


def global_context_loop(block: Any, x: np.ndarray) -> np.ndarray:
    weights = softmax(np.array([(w(block.conv_attn) @ x[:, n] + b(block.conv_attn))[0] for n in range(x.shape[1])]))
    context = sum(weights[n] * x[:, n] for n in range(x.shape[1]))
    mlp = block.mlp_scale
    hidden = w(mlp.fc1) @ context + b(mlp.fc1)
    hidden = (hidden - hidden.mean()) / np.sqrt(hidden.var() + mlp.norm.eps)
    hidden = np.maximum(hidden * mlp.norm.weight.detach().numpy() + mlp.norm.bias.detach().numpy(), 0)
    return x * sigmoid(w(mlp.fc2) @ hidden + b(mlp.fc2))[:, None]


def non_local_loop(block: Any, x: np.ndarray) -> np.ndarray:
    theta, phi, g = (w(conv) @ x + b(conv)[:, None] for conv in (block.theta, block.phi, block.g))
    n = x.shape[1]
    y = np.stack([sum((theta[:, i] @ phi[:, j]) / n * g[:, j] for j in range(n)) for i in range(n)], axis=1)
    return x + batch_norm(block.out[1], w(block.out[0]) @ y + b(block.out[0])[:, None])


def pam_weights(block: Any, x: np.ndarray) -> np.ndarray:
    query, key = (w(conv) @ x + b(conv)[:, None] for conv in (block.query, block.key))
    n = x.shape[1]
    return np.stack([softmax(np.array([query[:, i] @ key[:, j] for j in range(n)])) for i in range(n)])


def pam_loop(block: Any, x: np.ndarray) -> np.ndarray:
    value = w(block.value) @ x + b(block.value)[:, None] if isinstance(block.value, nn.Conv2d) else x
    weights, n = pam_weights(block, x), x.shape[1]
    y = np.stack([sum(weights[i, j] * value[:, j] for j in range(n)) for i in range(n)], axis=1)
    y = block.gamma.item() * y
    return x + (batch_norm(block.norm, y) if isinstance(block.norm, nn.BatchNorm2d) else y)


def cam_weights(_block: Any, x: np.ndarray) -> np.ndarray:
    rows = []
    for i in range(len(x)):
        energy = np.array([sum(x[i, n] * x[j, n] for n in range(x.shape[1])) for j in range(len(x))])
        rows.append(softmax(energy.max() - energy))
    return np.stack(rows)


def cam_loop(block: Any, x: np.ndarray) -> np.ndarray:
    weights = cam_weights(block, x)
    y = block.gamma.item() * np.stack([sum(weights[i, j] * x[j] for j in range(len(x))) for i in range(len(x))])
    return x + (batch_norm(block.norm, y) if isinstance(block.norm, nn.BatchNorm2d) else y)


@pytest.mark.parametrize(
    "name, options, loop",
    [
        ("se", {"reduction": 2}, se_loop),
        ("global_context", {"reduction": 2}, global_context_loop),
        ("non_local", {"reduction": 2}, non_local_loop),
        ("non_local", {"inter": 1}, non_local_loop),
        ("pam", {}, pam_loop),
        ("pam", {"value": False, "norm": False}, pam_loop),
        ("cam", {}, cam_loop),
        ("cam", {"norm": False}, cam_loop),
        ("fpb", {}, lambda block, x: cam_loop(block.cam, pam_loop(block.pam, x))),
        ("plr", {"reduction": 2}, lambda block, x: se_loop(block.se, pam_loop(block.pam, x))),
    ],
)
def test_against_loops(name: str, options: dict[str, Any], loop: Any) -> None:
    block, maps = block_of(name, 6, **options), maps_of(2, 6, 4, 3)
    expected = np.stack([loop(block, one.flatten(1).numpy()).reshape(6, 4, 3) for one in maps])
    np.testing.assert_allclose(block(maps).detach().numpy(), expected, rtol=1e-9)


def test_cbam_against_loops() -> None:
    block, maps = block_of("cbam", 6, reduction=2), maps_of(1, 6, 4, 5)
    x, channel = maps[0].numpy(), block.channel
    gates = sum(w(channel.fc2) @ np.maximum(w(channel.fc1) @ pool((1, 2)), 0) for pool in (x.mean, x.max))
    x = x * sigmoid(gates)[:, None, None]
    planes, kernel = np.pad(np.stack([x.mean(0), x.max(0)]), ((0, 0), (3, 3), (3, 3))), block.spatial.conv
    gate = np.zeros((1, 20))
    for i in range(4):
        for j in range(5):
            gate[0, 5 * i + j] = (planes[:, i : i + 7, j : j + 7] * kernel.conv.weight.detach().numpy()[0]).sum()
    expected = x * sigmoid(batch_norm(kernel.bn, gate)).reshape(4, 5)
    np.testing.assert_allclose(block(maps)[0].detach().numpy(), expected, rtol=1e-9)


@pytest.mark.parametrize("name, weights", [("pam", pam_weights), ("cam", cam_weights)])
def test_attention_maps(name: str, weights: Any) -> None:
    block, maps = block_of(name, 6), maps_of(2, 6, 3, 2)
    got = block.attention_map(maps)
    np.testing.assert_allclose(
        got.detach().numpy(), np.stack([weights(block, one.flatten(1).numpy()) for one in maps]), rtol=1e-9
    )
    torch.testing.assert_close(got.sum(2), torch.ones(2, 6, dtype=torch.float64))


@pytest.mark.parametrize("name", ["non_local", "pam", "cam"])
def test_gradient(name: str) -> None:
    block, maps = block_of(name, 3), maps_of(2, 3, 2, 2).requires_grad_()
    assert torch.autograd.gradcheck(block, (maps,))


def test_channel_attention_in_half_precision() -> None:
    # 300 positions of 20 * 20 = 120,000: beyond float16, and bfloat16 would round to steps of 512
    block, maps = build_attention("cam", 4), 20 + torch.rand(1, 4, 20, 15)
    exact = block.attention_map(maps.half().float())
    torch.testing.assert_close(block.attention_map(maps.half()), exact)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(block.attention_map(maps.half()), exact)
    assert torch.isfinite(block.half().eval()(maps.half())).all()


def test_dropout_of_the_pc_module() -> None:
    block, maps = build_attention("fpb", 4, dropout=0.5), torch.randn(64, 4, 8, 4)
    dropped: list[tuple[int, ...]] = []
    for module in block.modules():
        if isinstance(module, nn.Dropout):
            module.register_forward_hook(lambda _m, _i, output: dropped.append(tuple(output.shape)))
    block.pam.gamma.data.fill_(1.0)
    torch.manual_seed(0)
    untouched = block.train().pam(maps) == maps
    assert dropped == [(64, 32, 32), (64, 4, 8, 4)]  # attention map, then what is added
    assert untouched.float().mean().item() == pytest.approx(0.5, abs=0.03)
    block.eval()
    assert torch.equal(block(maps), block(maps))


@pytest.mark.parametrize(
    "name, channels, options, words",
    [
        ("cbm", 8, {}, r"attention 'cbm' is unknown; choose from se, cbam, .*Did you mean 'cbam'\?"),
        ("se", 0, {}, "attention 'se': channels=0 must be 1 or more"),
        ("se", 8, {"reductoin": 4}, "no option 'reductoin'; it has reduction.*Did you mean 'reduction'"),
        ("se", 8, {"reduction": 0}, "reduction=0"),
        ("cbam", 8, {"reduction": -1}, "reduction=-1"),
        ("non_local", 8, {"reduction": 0.0625}, "reduction=0.0625 must be a whole number, such as 16"),
        ("non_local", 8, {"inter": -1}, "inter=-1"),
        ("pam", 8, {"dropout": 1.0}, "dropout=1.0 is outside"),
        ("fpb", 8, {"dropout": "0.2"}, "dropout='0.2' must be a number"),
    ],
)
def test_refused(name: str, channels: int, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        build_attention(name, channels, **options)
