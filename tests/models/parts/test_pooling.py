"""Poolings against plain loops, in half precision, and stripes of uneven heights."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from reidlab.errors import UserError
from reidlab.models import count_parameters
from reidlab.models.parts.pooling import POOLINGS, GeM, build_pooling

SIZES = [(2, 4, 24, 8), (1, 3, 1, 1), (2, 2, 7, 3), (3, 1, 2, 9)]
LOOPS: dict[str, Any] = {
    "avg": lambda values: sum(values) / len(values),
    "max": max,
    "avg_max": lambda values: sum(values) / len(values) + max(values),
    "gem": lambda values: (sum(max(value, 1e-6) ** 3 for value in values) / len(values)) ** (1 / 3),
}
LOOPS["gem_learnable"] = LOOPS["gem"]


def maps_of(shape: tuple[int, ...]) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", LOOPS)
@pytest.mark.parametrize("shape", SIZES)
def test_against_loops(name: str, shape: tuple[int, ...]) -> None:
    maps = maps_of(shape)
    expected = [[LOOPS[name](plane.flatten().tolist()) for plane in one] for one in maps]
    pooled = build_pooling(name).double()(maps)
    assert pooled.shape == shape[:2]
    np.testing.assert_allclose(pooled.detach().numpy(), expected, rtol=1e-12)


def test_every_name_is_covered() -> None:
    assert set(POOLINGS) == {*LOOPS, "stripes", "grid"}
    assert all(entry.description for entry in POOLINGS.values())


@pytest.mark.parametrize("name", [name for name in POOLINGS if name != "avg_max"])
def test_gradient(name: str) -> None:
    pooling = build_pooling(name, **({"parts": 2} if name == "stripes" else {})).double()
    maps = torch.rand((2, 2, 3, 2), dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, *_: pooling(x), (maps, *pooling.parameters()))


@pytest.mark.parametrize("rows, columns", [(7, 7), (2, 3), (1, 1)])
def test_a_grid_is_torchs_adaptive_windows(rows: int, columns: int) -> None:
    maps = maps_of((2, 4, 8, 4))
    pooled = build_pooling("grid", rows=rows, columns=columns)(maps)
    assert pooled.shape == (2, 4, rows * columns)
    for row in range(rows):
        for column in range(columns):
            top, bottom = math.floor(row * 8 / rows), math.ceil((row + 1) * 8 / rows)
            left, right = math.floor(column * 4 / columns), math.ceil((column + 1) * 4 / columns)
            expected = maps[:, :, top:bottom, left:right].mean((2, 3))
            torch.testing.assert_close(pooled[:, :, row * columns + column], expected)


@pytest.mark.parametrize("rows, columns", [(0, 7), (7, 257)])
def test_impossible_grids(rows: int, columns: int) -> None:
    with pytest.raises(UserError, match="grid"):
        build_pooling("grid", rows=rows, columns=columns)


def test_parameters() -> None:
    counts = {name: count_parameters(build_pooling(name)) for name in POOLINGS}
    assert counts == {name: int(name == "gem_learnable") for name in POOLINGS}


def test_gem_by_hand() -> None:
    maps = torch.tensor([1.0, 2.0, -5.0, 3.0]).reshape(1, 1, 2, 2)
    assert build_pooling("gem")(maps).item() == pytest.approx(((1 + 8 + 27) / 4) ** (1 / 3))
    assert build_pooling("gem", p=1.0)(maps).item() == pytest.approx(1.5)
    assert build_pooling("gem", p=60.0)(maps).item() == pytest.approx(3 * 0.25 ** (1 / 60))
    assert build_pooling("gem", p=1.0, eps=2.0)(maps).item() == pytest.approx((2 + 2 + 2 + 3) / 4)


def test_the_exponent_learns() -> None:
    pooling = build_pooling("gem_learnable", p=2.0)
    maps = torch.tensor([1.0, 3.0]).reshape(1, 1, 1, 2)
    pooling(maps).sum().backward()
    (p,) = pooling.parameters()
    # d/dp ((1 + 3^p) / 2)^(1/p), by differences
    value = [((1 + 3**q) / 2) ** (1 / q) for q in (1.999, 2.001)]
    assert p.grad is not None and p.grad.item() == pytest.approx((value[1] - value[0]) / 0.002, rel=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", POOLINGS)
def test_half_precision(dtype: torch.dtype, name: str) -> None:
    # zeros (eps^3 is 0 in float16) and values whose cube is beyond float16
    maps = torch.tensor([0.0, 0.0, 90.0, 100.0]).reshape(1, 2, 2, 1).to(dtype).requires_grad_()
    pooling = build_pooling(name, **({"parts": 1, "kind": "gem"} if name == "stripes" else {}))
    pooled = pooling(maps)
    assert pooled.dtype == dtype
    torch.testing.assert_close(pooled.float(), pooling(maps.detach().float()), rtol=0.01, atol=1e-3)
    pooled.sum().backward()
    assert maps.grad is not None and torch.isfinite(maps.grad).all()


def test_gem_under_autocast() -> None:
    maps = 100 * torch.rand(2, 3, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(GeM()(maps), GeM()(maps.clone()))
        assert GeM()(maps).dtype == torch.float32
    torch.testing.assert_close(GeM(learnable=True)(maps), GeM()(maps))


@pytest.mark.parametrize("kind", LOOPS)
@pytest.mark.parametrize("height, parts", [(24, 6), (7, 3), (5, 4), (2, 6), (1, 3), (9, 1), (3, 3)])
def test_stripes_against_loops(kind: str, height: int, parts: int) -> None:
    maps = maps_of((2, 3, height, 2))
    pooled = build_pooling("stripes", parts=parts, kind=kind).double()(maps)
    assert pooled.shape == (2, 3, parts)
    for i in range(parts):
        rows = [row for row in range(height) if (i * height) / parts - 1 < row < (i + 1) * height / parts]
        expected = [[LOOPS[kind](plane[rows].flatten().tolist()) for plane in one] for one in maps]
        np.testing.assert_allclose(pooled[:, :, i].detach().numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("height", [24, 7, 5, 2, 1])
def test_stripes_are_torchs_adaptive_windows(height: int) -> None:
    maps = maps_of((2, 3, height, 2))
    for kind, pool in (("avg", F.adaptive_avg_pool2d), ("max", F.adaptive_max_pool2d)):
        torch.testing.assert_close(build_pooling("stripes", parts=4, kind=kind)(maps), pool(maps, (4, 1))[..., 0])


def test_stripes_of_channels_last_maps() -> None:
    maps = maps_of((2, 3, 6, 2))
    pooling = build_pooling("stripes", parts=3, kind="max")
    assert torch.equal(pooling(maps.to(memory_format=torch.channels_last)), pooling(maps))


@pytest.mark.parametrize(
    "name, options, words",
    [
        ("gme", {}, r"pooling 'gme' is unknown; choose from avg, max.*Did you mean 'gem'\?"),
        ("avg", {"p": 3.0}, "pooling 'avg' takes no options; it was given p"),
        ("gem", {"q": 3.0}, "pooling 'gem' has no option 'q'; it has p, eps"),
        ("gem", {"learnable": True}, "no option 'learnable'"),
        ("gem", {"p": 0.0}, r"gem p=0\.0"),
        ("gem_learnable", {"p": math.nan}, "gem p=nan"),
        ("gem", {"eps": 0.0}, r"eps=0\.0"),
        ("stripes", {"parts": 0}, "parts=0"),
        ("stripes", {"kind": "meen"}, r"kind='meen' is unknown; choose from avg, max, avg_max, gem, gem_learnable"),
        ("stripes", {"kind": "stripes"}, "kind='stripes' is unknown"),
    ],
)
def test_refused(name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        build_pooling(name, **options)
