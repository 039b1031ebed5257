"""Shares by region, the pointing game, and deletion and insertion curves, against loops and by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from explain_cases import Toy, images
from hypothesis import given as cases
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor, nn

from reidlab.errors import UserError
from reidlab.explain import BASELINES, baseline_maps, deletion_insertion, region_shares


def masks(count: int = 2, height: int = 8, width: int = 4) -> np.ndarray:
    found = np.zeros((count, height, width), np.uint8)
    found[:, 2:6, 1:3] = 1
    found[:, 5:, :2] = 2
    return found


def test_shares_by_hand() -> None:
    maps, regions = np.random.default_rng(0).random((2, 8, 4)).astype(np.float32), masks()
    found = region_shares(maps, regions)
    for row in range(2):
        total = sum(float(maps[row, i, j]) for i in range(8) for j in range(4))
        for name, value in (("background", 0), ("person", 1), ("occluder", 2)):
            inside = sum(float(maps[row, i, j]) for i in range(8) for j in range(4) if regions[row, i, j] == value)
            assert found[name][row] == pytest.approx(inside / total)
        at = np.unravel_index(maps[row].argmax(), (8, 4))
        assert found["pointing"][row] == float(regions[row][at] == 1)
    assert found["area"].tolist() == [7 / 32] * 2


def test_maps_that_look_at_nothing() -> None:
    regions = masks(3, 32, 16)
    uniform = region_shares(baseline_maps("uniform", 3, (4, 2)), regions)
    assert np.allclose(uniform["person"], uniform["area"]) and np.allclose(uniform["pointing"], uniform["area"])
    noise = baseline_maps("random", 3, (4, 2), seed=1)
    assert (
        not np.array_equal(noise, baseline_maps("random", 3, (4, 2), seed=2)) and 0 <= noise.min() <= noise.max() <= 1
    )
    centre = baseline_maps("centre", 1, (9, 5))[0]
    assert np.unravel_index(centre.argmax(), centre.shape) == (4, 2) and np.allclose(centre, centre[::-1, ::-1])
    assert set(BASELINES) == {"uniform", "random", "centre"}
    with pytest.raises(UserError, match=r"baseline 'center' is unknown.*Did you mean 'centre'"):
        baseline_maps("center", 1, (2, 2))


def test_empty_maps_and_masks_are_no_numbers() -> None:
    maps = np.zeros((2, 8, 4), np.float32)
    maps[1, 3, 1] = 1
    regions = masks()
    regions[1] = 0
    found = region_shares(maps, regions)
    assert found.loc[0, ["person", "occluder", "background", "pointing"]].isna().all()
    assert found["background"][1] == 1 and np.isnan(found["area"][1]) and np.isnan(found["pointing"][1])


@settings(max_examples=40, deadline=None)
@cases(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 9))
def test_shares_sum_to_one_at_any_size(seed: int, rows: int, columns: int) -> None:
    rng = np.random.default_rng(seed)
    found = region_shares(rng.random((2, rows, columns)) + 1e-3, rng.integers(0, 3, (2, 12, 6)).astype(np.uint8))
    assert np.allclose(found[["person", "occluder", "background"]].sum(axis=1), 1)


@pytest.mark.parametrize(
    ("maps", "regions", "words"),
    [
        (np.ones((2, 4)), masks(), r"maps \[2, 4\]"),
        (np.ones((3, 8, 4)), masks(), "one mask a map"),
        (np.ones((0, 8, 4)), masks(0), "no maps"),
        (-np.ones((2, 8, 4)), masks(), "not below 0"),
        (np.full((2, 8, 4), np.nan), masks(), "finite"),
        (np.ones((2, 8, 4)), masks() + 2, r"0 \(background\), 1 \(person\)"),
    ],
)
def test_shares_refused(maps: Any, regions: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        region_shares(maps, regions)


class Pixel(Toy):
    """Its embedding is the image's upper left pixel (and a one)."""

    def forward(self, batch: Tensor) -> Tensor:
        seen = batch[:, :, 0, 0]
        return nn.functional.normalize(torch.cat([seen, torch.ones(len(seen), 2) / 10], dim=1), dim=1)


def test_curves_by_hand() -> None:
    model = Pixel().eval()
    given = torch.zeros(1, 3, 8, 4, dtype=torch.uint8)
    given[:, 0, 0, 0] = 255
    with torch.no_grad():
        own = model(model.preprocess(given))
        filled = model(model.preprocess((given.float().mean((2, 3), keepdim=True).expand(1, 3, 8, 4)).round().byte()))
    first = np.zeros((1, 8, 4), np.float32)
    first[0, 0, 0] = 1
    last = 1 - first
    low = float((own * filled).sum())
    found = deletion_insertion(model, given, first, own[0].numpy(), steps=4, fill="mean")
    assert found.shares.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert np.allclose(found.deletion, [[1, low, low, low, low]], atol=1e-6)
    assert np.allclose(found.insertion, [[low, 1, 1, 1, 1]], atol=1e-6)
    late = deletion_insertion(model, given, last, own.numpy(), steps=4, fill="mean")
    assert np.allclose(late.deletion, [[1, 1, 1, 1, low]], atol=1e-6)
    assert np.allclose(late.insertion, [[low, low, low, low, 1]], atol=1e-6)
    assert found.areas()["deletion"] == pytest.approx((1 + low) / 8 + 3 * low / 4, abs=1e-6)
    assert found.areas()["deletion"] < late.areas()["deletion"]


def test_ends_do_not_depend_on_the_map() -> None:
    model, given = Toy().eval(), images(3, 64, 32)[:, :, ::8, ::8].contiguous()
    reference = np.random.default_rng(0).normal(size=5)
    curves = [
        deletion_insertion(
            model, given, baseline_maps("random", 3, (2, 2), seed=seed), reference, steps=3, batch_size=2
        )
        for seed in (1, 2)
    ]
    for one, other in ((curves[0], curves[1]), (curves[1], curves[0])):
        assert np.allclose(one.deletion[:, [0, -1]], other.deletion[:, [0, -1]], atol=1e-6)
        assert np.allclose(one.deletion[:, [0, -1]], one.insertion[:, [-1, 0]], atol=1e-6)
    assert not np.allclose(curves[0].deletion, curves[1].deletion)


def test_blurring_keeps_the_mean_and_flat_images() -> None:
    model = Toy().eval()
    flat = torch.full((1, 3, 8, 4), 77, dtype=torch.uint8)
    with torch.no_grad():
        own = model(model.preprocess(flat))[0].numpy()
    for fill in ("blur", "mean"):
        found = deletion_insertion(model, flat, np.ones((1, 2, 2)), own, fill=fill)  # type: ignore[arg-type]
        assert np.allclose(found.deletion, 1, atol=1e-5) and np.allclose(found.insertion, 1, atol=1e-5)


def test_curves_refused() -> None:
    model, given = Toy().eval(), images(2, 64, 32)
    maps, reference = np.ones((2, 2, 2)), np.ones(5)
    for words, arguments in (
        ("fill='black' is unknown", {"fill": "black"}),
        ("steps=0", {"steps": 0}),
        (r"maps must be finite \[2, row, column\]", {"maps": maps[:1]}),
        (r"reference must be finite vectors \[5\] or \[2, 5\]", {"reference": np.ones(4)}),
        ("reference must be vectors of numbers", {"reference": ["a"]}),
    ):
        with pytest.raises(UserError, match=words):
            deletion_insertion(model, given, **{"maps": maps, "reference": reference, **arguments})  # type: ignore[arg-type]
