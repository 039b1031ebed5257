"""Corruptions of test images: five severities, each worse than the one before, the same for an image in every batch."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor
from transform_cases import images, seeded, smooth_images

from reidlab.data.transforms import TRANSFORMS, corruptions
from reidlab.data.transforms.corruptions import CORRUPTIONS, SEVERITIES, check_severity, corrupt
from reidlab.errors import UserError
from reidlab.pedestrians import draw_pedestrian

NAMES = list(CORRUPTIONS)
FIXED = ("gaussian_blur", "jpeg", "low_resolution")  # draw nothing


def apply(name: str, batch: Tensor, severity: int = 3, seed: int = 1) -> Tensor:
    return CORRUPTIONS[name].factory(batch, seeded(seed), severity=severity)


def change(changed: Tensor, batch: Tensor) -> float:
    return (changed.float() - batch.float()).abs().mean().item()


def test_the_registry_is_what_the_package_exports_and_no_training_names_them() -> None:
    assert all(getattr(corruptions, name) is CORRUPTIONS[name].factory for name in NAMES)
    with pytest.raises(AttributeError, match="no attribute 'gaussian_blurr'"):
        _ = corruptions.gaussian_blurr
    assert not set(NAMES) & set(TRANSFORMS) and len(NAMES) >= 9


@pytest.mark.parametrize("name", NAMES)
def test_each_severity_is_further_from_the_image(name: str) -> None:
    drawn = [draw_pedestrian(0, pid, 1 + pid, 0)[0] for pid in range(1, 5)]
    people = torch.from_numpy(np.stack(drawn)).permute(0, 3, 1, 2)
    for batch in (people, images(6, 64, 32)):
        found = [change(corrupt(batch, name, severity=severity), batch) for severity in SEVERITIES]
        assert found[0] > 0.5 and found == sorted(found) and len({round(each, 6) for each in found}) == 5, found


@pytest.mark.parametrize("name", NAMES)
def test_an_image_is_corrupted_alike_in_every_batch(name: str) -> None:
    batch = images(7, 32, 16)
    whole = corrupt(batch, name, severity=2, seed=5)
    alone = torch.cat([corrupt(image[None], name, severity=2, seed=5) for image in batch])
    assert torch.equal(whole, alone)
    turned = corrupt(batch.flip(0).contiguous(), name, severity=2, seed=5).flip(0)
    assert torch.equal(whole, turned)
    assert torch.equal(corrupt(batch, name, severity=2, seed=6), whole) is (name in FIXED)
    twice = corrupt(batch[[0, 0]], name, severity=4)
    assert torch.equal(twice[0], twice[1]), "equal pixels, equal draws"


@pytest.mark.parametrize("name", NAMES)
def test_a_new_batch_from_the_seed_alone(name: str) -> None:
    batch = images(5)
    before = batch.clone()
    torch.manual_seed(5)
    states = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]  # noqa: NPY002
    one, two, other = (apply(name, batch, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), states[0]), "the global generator does not move"
    assert (np.random.get_state()[1] == states[1]).all()  # type: ignore[index]  # noqa: NPY002
    assert torch.equal(batch, before) and one.data_ptr() != batch.data_ptr()
    assert one.dtype == torch.uint8 and one.shape == batch.shape and torch.equal(one, two)
    assert torch.equal(one, other) is (name in FIXED)
    assert torch.equal(apply(name, batch.contiguous()), one), "the memory layout does not matter"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(0, 16, 8), (1, 16, 8), (3, 31, 17), (2, 2, 1), (2, 1, 1), (1, 1, 40)])
@pytest.mark.parametrize("severity", [1, 5])
def test_odd_batches(name: str, shape: tuple[int, int, int], severity: int) -> None:
    batch = images(*shape)
    for changed in (apply(name, batch, severity), corrupt(batch, name, severity=severity)):
        assert changed.dtype == torch.uint8 and changed.shape == batch.shape


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("severity", [0, 6, -1, 2.0, True, None, "3", math.nan])
def test_other_severities_are_refused(name: str, severity: Any) -> None:
    words = r"severity=.* must be a whole number from 1 \(slight\) to 5 \(worst\)"
    with pytest.raises(UserError, match=words):
        apply(name, images(1), severity)
    with pytest.raises(UserError, match=words):
        corrupt(images(1), name, severity=severity)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_severities_themselves(severity: int) -> None:
    assert check_severity(severity) == severity


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("fogg", r"corruption 'fogg' is unknown; choose from gaussian_blur, .*Did you mean 'fog'\?"),
        ("", "corruption '' is unknown"),
        (None, "corruption None is unknown"),
        ("random_erase", "corruption 'random_erase' is unknown"),
    ],
)
def test_unknown_names_are_refused(name: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        corrupt(images(1), name, severity=1)
    with pytest.raises(UserError, match=said):
        corrupt(images(0), name, severity=1)


@pytest.mark.parametrize("seed", [-1, 2**32, 1.0, True, None, "0"])
def test_other_seeds_are_refused(seed: Any) -> None:
    with pytest.raises(UserError, match=r"seed=.* must be a whole number from 0"):
        corrupt(images(1), "fog", severity=1, seed=seed)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("batch", [torch.zeros(2, 3, 8, 4), torch.zeros(3, 8, 4, dtype=torch.uint8)])
def test_what_is_no_batch_is_refused(name: str, batch: Tensor) -> None:
    with pytest.raises(UserError, match=r"Transforms take uint8 \[batch, 3, height, width\]; got"):
        apply(name, batch)
    with pytest.raises(UserError, match=r"Transforms take uint8"):
        corrupt(batch, name, severity=1)


@pytest.mark.parametrize("name", ["gaussian_blur", "motion_blur", "jpeg", "low_resolution", "occlusion"])
def test_a_plain_image_has_nothing_to_blur(name: str) -> None:
    plain = torch.full((2, 3, 40, 20), 128, dtype=torch.uint8)
    changed = apply(name, plain, 5)
    if name == "occlusion":
        assert not torch.equal(changed, plain)
    else:
        assert (changed.int() - 128).abs().max() <= 1


def blurred_by_hand(image: np.ndarray, sigma: float) -> np.ndarray:
    """Sum over all pixels, those beyond the edge as the edge itself."""
    reach = math.ceil(3 * sigma)
    taps = [math.exp(-0.5 * (k / sigma) ** 2) for k in range(-reach, reach + 1)]
    rows, columns = image.shape
    out = np.zeros(image.shape)
    for row in range(rows):
        for column in range(columns):
            for i, a in enumerate(taps):
                for j, b in enumerate(taps):
                    y, x = min(max(row + i - reach, 0), rows - 1), min(max(column + j - reach, 0), columns - 1)
                    out[row, column] += a * b * image[y, x]
    return out / sum(taps) ** 2


def test_a_blur_by_hand() -> None:
    batch = images(1, 28, 10)
    expected = blurred_by_hand(batch[0, 1].numpy().astype(float), 3 * 28 / 224)
    assert np.abs(apply("gaussian_blur", batch, 3)[0, 1].numpy() - expected).max() <= 0.51


def test_a_trail_keeps_the_light_and_lies_across() -> None:
    point = torch.zeros(40, 3, 113, 57, dtype=torch.uint8)
    point[:, :, 56, 28] = 255
    trail = apply("motion_blur", point, 5).float()[:, 0]
    spread = [(trail.sum(dim=2) > 0).sum(1), (trail.sum(dim=1) > 0).sum(1)]
    assert (spread[1] > spread[0]).float().mean() > 0.9, "wider than high"
    assert spread[1].max() <= 2 * math.ceil(20 * 113 / 224) + 1
    assert ((trail.sum(dim=(1, 2)) - 255).abs() < 40).all(), "rounding alone"
    assert (trail - trail.flip(1, 2)).abs().max() <= 1, "centred"


def test_noise_has_its_share_and_deviation() -> None:
    grey = torch.full((4, 3, 64, 32), 128, dtype=torch.uint8)
    for severity, share in zip(SEVERITIES, (0.03, 0.06, 0.09, 0.17, 0.27)):
        lost = apply("impulse_noise", grey, severity)
        hit = (lost != grey).float().mean().item()
        assert abs(hit - share) < 0.01 and set(lost.unique().tolist()) == {0, 128, 255}
    deviation = (apply("gaussian_noise", grey, 1).float() - 128).std().item() / 255
    assert deviation == pytest.approx(0.08, rel=0.03)


def test_jpeg_is_what_the_encoder_makes() -> None:
    batch, expected = smooth_images(3, 48, 24), []
    for image in batch:
        file = io.BytesIO()
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=15)
        with Image.open(file) as decoded:
            expected.append(torch.from_numpy(np.array(decoded)).permute(2, 0, 1))
    assert torch.equal(apply("jpeg", batch, 3), torch.stack(expected))


def test_darkness_counts_photons() -> None:
    white = torch.full((2, 3, 64, 64), 255, dtype=torch.uint8)
    for severity, exposure in zip(SEVERITIES, (0.4, 0.25, 0.15, 0.08, 0.04)):
        photons = 1000 * (apply("darkness", white, severity).float() / 255) ** 2.2
        assert photons.mean().item() == pytest.approx(1000 * exposure, rel=0.03)
        assert photons.var().item() == pytest.approx(1000 * exposure, rel=0.15), "Poisson"
    assert apply("darkness", torch.zeros(1, 3, 8, 8, dtype=torch.uint8), 1).max() == 0


def test_fog_takes_contrast_by_its_share() -> None:
    dark, fog = torch.zeros(8, 3, 64, 32, dtype=torch.uint8), torch.full((1, 3, 64, 32), 220, dtype=torch.uint8)
    for severity, share in zip(SEVERITIES, (0.3, 0.4, 0.5, 0.6, 0.7)):
        veil = apply("fog", dark, severity).float() / 220
        assert 0.6 * share - 0.01 <= veil.min() and veil.max() <= 1.4 * share + 0.01
        assert torch.equal(veil[:, 0], veil[:, 1]), "fog is grey"
    assert torch.equal(apply("fog", fog, 5), fog), "fog before fog"


@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_a_block_covers_its_share_and_grows_around_the_smaller_one(height: int, width: int, seed: int) -> None:
    black = torch.zeros(1, 3, height, width, dtype=torch.uint8)
    before = torch.zeros(height, width, dtype=torch.bool)
    for severity, share in zip(SEVERITIES, (0.1, 0.2, 0.3, 0.4, 0.5)):
        hidden = corrupt(black, "occlusion", severity=severity, seed=seed)[0].amax(0) > 0
        rows, columns = hidden.any(1).sum().item(), hidden.any(0).sum().item()
        assert hidden.sum().item() == rows * columns, "a rectangle"
        assert abs(rows * columns - share * height * width) <= 0.5 * (height + width) + 1.25
        assert (hidden & before).sum().item() >= before.sum().item() - 2 * (height + width), "to a pixel at each edge"
        before = hidden


def test_low_resolution_keeps_no_finer_detail() -> None:
    stripes = torch.zeros(1, 3, 64, 32, dtype=torch.uint8)
    stripes[:, :, ::2] = 255
    assert (apply("low_resolution", stripes, 5).int() - 128).abs().max() <= 12
    assert apply("low_resolution", stripes, 1).float().std() < 0.5 * stripes.float().std()
