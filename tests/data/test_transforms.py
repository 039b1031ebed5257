"""Preprocessing against Pillow-like resizing, and the random transforms against plain loops and their own statistics."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as tv
from hypothesis import given, settings
from hypothesis import strategies as st
from transform_cases import images, seeded

from reidlab.data.transforms import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Augment,
    Preprocess,
    draws,
    random_crop,
    random_erase,
    random_flip,
)
from reidlab.data.transforms.preprocess import MAX_SIDE
from reidlab.errors import UserError

RANDOM = {
    "flip": lambda x, g: random_flip(x, g),
    "crop": lambda x, g: random_crop(x, g, padding=3),
    "erase": lambda x, g: random_erase(x, g, p=0.9),
    "all": lambda x, g: Augment(flip=0.5, crop_padding=3, erase=0.5)(x, g, fill=IMAGENET_MEAN),
    "none": lambda x, g: Augment(flip=0)(x, g),
}


@pytest.mark.parametrize("name", RANDOM)
def test_shape_type_input_and_seed(name: str) -> None:
    given_images = images(32)
    before = given_images.clone()
    one, two, other = (RANDOM[name](given_images, seeded(seed)) for seed in (1, 1, 2))
    assert one.shape == given_images.shape and one.dtype == torch.uint8
    assert torch.equal(given_images, before)
    assert torch.equal(one, two)
    assert torch.equal(one, other) == (name == "none")


@pytest.mark.parametrize("name", RANDOM)
def test_no_images_and_one(name: str) -> None:
    assert RANDOM[name](images(0), seeded()).shape == (0, 3, 16, 8)
    assert RANDOM[name](images(1), seeded()).shape == (1, 3, 16, 8)


@pytest.mark.parametrize("name", ["flip", "crop", "erase", "all"])
def test_nothing_seeds_or_draws_globally(name: str) -> None:
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    RANDOM[name](images(), seeded())
    assert torch.equal(torch.random.get_rng_state(), state)


def test_flip_mirrors_or_leaves() -> None:
    given_images = images(2000, 2, 3)
    flipped = random_flip(given_images, seeded(), p=0.3)
    mirrored = (flipped == given_images.flip(3)).flatten(1).all(1)
    left = (flipped == given_images).flatten(1).all(1)
    assert (mirrored | left).all()
    assert 0.25 < mirrored.float().mean() < 0.35
    assert torch.equal(random_flip(given_images, seeded(), p=0), given_images)
    assert torch.equal(random_flip(given_images, seeded(), p=1), given_images.flip(3))


@settings(deadline=None, max_examples=30)
@given(
    n=st.integers(1, 4),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    padding=st.integers(0, 5),
    seed=st.integers(0, 99),
)
def test_crop_is_a_padded_cut(n: int, height: int, width: int, padding: int, seed: int) -> None:
    given_images = images(n, height, width, seed)
    cut = random_crop(given_images, seeded(seed), padding=padding)
    for image, found in zip(given_images.numpy(), cut.numpy()):
        padded = np.zeros((3, height + 2 * padding, width + 2 * padding), np.uint8)
        padded[:, padding : padding + height, padding : padding + width] = image
        places = [
            (top, left)
            for top in range(2 * padding + 1)
            for left in range(2 * padding + 1)
            if np.array_equal(padded[:, top : top + height, left : left + width], found)
        ]
        assert places


def test_crop_reaches_every_place_alike() -> None:
    marked = torch.zeros(9000, 3, 9, 9, dtype=torch.uint8)
    marked[:, :, 4, 4] = 255
    where = random_crop(marked, seeded(), padding=2)[:, 0].flatten(1).float().argmax(1)
    rows, columns = (where // 9).bincount(minlength=9), (where % 9).bincount(minlength=9)
    for counts in (rows, columns):
        assert counts[:2].sum() == counts[7:].sum() == 0
        assert ((counts[2:7] - 1800).abs() < 200).all()
    assert abs(np.corrcoef(where // 9, where % 9)[0, 1]) < 0.05


def rectangles(n: int, height: int, width: int, **options: float) -> np.ndarray:
    """Top, left, height and width of what `random_erase` took from each white image; zeros where nothing."""
    white = torch.full((n, 3, height, width), 255, dtype=torch.uint8)
    gone = (random_erase(white, seeded(), **options) == 0).numpy()  # type: ignore[arg-type]
    assert (gone == gone[:, :1]).all()  # the same in all channels
    found = np.zeros((n, 4), int)
    for i, mask in enumerate(gone[:, 0]):
        if mask.any():
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            found[i] = rows[0], columns[0], rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
            assert mask.sum() == found[i, 2] * found[i, 3]  # one filled rectangle
    return found


def test_erased_rectangles() -> None:
    height, width = 128, 64
    found = rectangles(1200, height, width, p=0.5)
    erased = found[found[:, 2] > 0]
    assert 0.45 < len(erased) / 1200 < 0.55
    top, left, tall, wide = erased.T
    share, aspect = tall * wide / (height * width), tall / wide
    assert share.min() > 0.015 and share.max() < 0.41
    assert aspect.min() > 0.3 * 0.85 and aspect.max() < 1 / 0.3 * 1.15
    assert (tall < height).all() and (wide < width).all()
    # where the rectangle lies is uniform over what fits
    for start, room in ((top, height - tall), (left, width - wide)):
        wide_room = room > 10
        assert 0.46 < (start[wide_room] / room[wide_room]).mean() < 0.54
        assert start.min() == 0 and (start == room).any()


def test_area_and_aspect_are_uniform_where_everything_fits() -> None:
    """On a large square with small areas no draw is refused, so both draws show undistorted."""
    shape = torch.empty(1, dtype=torch.uint8).expand(1500, 3, 200, 200)
    found = draws.rectangles(shape, seeded(), p=1.0, area=(0.02, 0.08), aspect=0.3, tries=100)
    _top, _left, tall, wide = np.array([found[i] for i in range(1500)]).T
    share, aspect = np.sort(tall * wide / 40_000), np.sort(tall / wide)
    expected = np.linspace(0.02, 0.08, 1500)
    assert np.abs(share - expected).max() < 0.005
    expected = np.linspace(0.3, 1 / 0.3, 1500)
    assert np.abs(aspect - expected).max() < 0.2


def test_erase_never_and_always() -> None:
    assert rectangles(200, 32, 16, p=0.0).max() == 0
    assert rectangles(200, 32, 16, p=1.0)[:, 2].min() > 0
    assert rectangles(20, 1, 1, p=1.0).max() == 0  # nothing fits


def test_erase_fill() -> None:
    erased = random_erase(torch.zeros(50, 3, 32, 16, dtype=torch.uint8), seeded(), p=1.0, fill=IMAGENET_MEAN)
    assert [sorted(set(channel.flatten().tolist())) for channel in erased.unbind(1)] == [[0, 124], [0, 116], [0, 104]]
    normed = Preprocess(32, 16, IMAGENET_MEAN, IMAGENET_STD)(erased)
    assert normed[erased > 0].abs().max() < 0.01  # the mean is nothing to the model


def test_augment_order_is_flip_crop_erase() -> None:
    given_images, augment = images(16), Augment(flip=0.5, crop_padding=2, erase=0.7)
    generator = seeded(3)
    by_hand = random_flip(given_images, generator, p=0.5)
    by_hand = random_crop(by_hand, generator, padding=2)
    by_hand = random_erase(by_hand, generator, p=0.7, fill=(0.1, 0.2, 0.3))
    assert torch.equal(augment(given_images, seeded(3), fill=(0.1, 0.2, 0.3)), by_hand)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize(
    "options, shape, fill, digest, following",
    [
        ((0.5, 10, 0.5), (32, 64, 32), IMAGENET_MEAN, "7a38cb2f88d11229", 934790736),
        ((0.5, 0, 0.0), (7, 9, 5), IMAGENET_MEAN, "641a61ab9331843a", 731018913),
        ((0.0, 3, 0.0), (5, 8, 4), IMAGENET_MEAN, "5522f510d34d58da", 969428760),
        ((0.0, 0, 0.9), (16, 32, 16), (0.0, 0.0, 0.0), "79a7fd283ef17ab1", 904590042),
        ((0.3, 2, 0.7), (64, 31, 17), IMAGENET_MEAN, "14cde3cceb611052", 325384201),
    ],
)
def test_flip_crop_erase_never_change(
    options: tuple[float, int, float],
    shape: tuple[int, int, int],
    fill: tuple[float, float, float],
    digest: str,
    following: int,
    layout: torch.memory_format,
) -> None:
    """Stored from the first version: a recipe gives the same batches for ever, and draws no more and no less."""
    generator = seeded(11)
    changed = Augment(*options)(images(*shape).contiguous(memory_format=layout), generator, fill=fill)
    assert hashlib.sha256(changed.contiguous().numpy().tobytes()).hexdigest()[:16] == digest
    assert int(torch.randint(1 << 30, (), generator=generator)) == following


@pytest.mark.parametrize(
    "options, words",
    [({"flip": 1.5}, "flip=1.5"), ({"erase": -0.1}, "erase=-0.1"), ({"crop_padding": -1}, "crop_padding=-1")],
)
def test_augment_refuses(options: dict[str, float], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Augment(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [(16, 8), (24, 20), (8, 4), (5, 31)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("mean, std", [((0, 0, 0), (1, 1, 1)), (IMAGENET_MEAN, IMAGENET_STD)])
def test_preprocess_against_torchvision(
    size: tuple[int, int], interpolation: str, mean: tuple[float, ...], std: tuple[float, ...]
) -> None:
    given_images = images()
    before = given_images.clone()
    found = Preprocess(*size, mean, std, interpolation)(given_images)  # type: ignore[arg-type]
    mode = tv.InterpolationMode(interpolation)
    expected = tv.resize(given_images.float(), list(size), interpolation=mode, antialias=True).clamp(0, 255) / 255
    expected = tv.normalize(expected, list(mean), list(std))
    assert found.dtype == torch.float32 and found.shape == (6, 3, *size)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(given_images, before)


def test_preprocess_by_loops() -> None:
    given_images = images(2, 4, 3)
    found = Preprocess(4, 3, IMAGENET_MEAN, IMAGENET_STD)(given_images)
    for index in np.ndindex(2, 3, 4, 3):
        value = int(given_images[index]) / 255
        assert found[index].item() == pytest.approx(
            (value - IMAGENET_MEAN[index[1]]) / IMAGENET_STD[index[1]], abs=1e-5
        )


def test_preprocess_is_exact_at_the_ends() -> None:
    ends = torch.tensor([0, 255], dtype=torch.uint8).reshape(1, 1, 1, 2).expand(1, 3, 1, 2)
    assert Preprocess(1, 2)(ends)[0, 0, 0].tolist() == [0, 1]
    flat = Preprocess(9, 5, interpolation="bicubic")(torch.full((1, 3, 40, 30), 200, dtype=torch.uint8))
    torch.testing.assert_close(flat, torch.full((1, 3, 9, 5), 200 / 255))
    sharp = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    sharp[..., 4:] = 255
    bicubic = Preprocess(16, 16, interpolation="bicubic")(sharp)
    assert bicubic.min() == 0 and bicubic.max() == 1  # no overshoot


@pytest.mark.parametrize("size", [(16, 8), (8, 8)])
def test_preprocess_changes_no_float_input(size: tuple[int, int]) -> None:
    given_images = images().float()
    before = given_images.clone()
    Preprocess(*size)(given_images)
    assert torch.equal(given_images, before)


@pytest.mark.parametrize("size", [(16, 8), (8, 8)])
def test_preprocess_keeps_channels_last(size: tuple[int, int]) -> None:
    assert Preprocess(*size)(images()).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"height": 0}, "0 x 64"),
        ({"width": -3}, "128 x -3"),
        ({"height": 1_000_000_000}, "1000000000 x 64 .* is above 8192 pixels per side"),
        ({"width": MAX_SIDE + 1}, "128 x 8193"),
        ({"height": 128.0}, "128.0 x 64 .*whole numbers"),
        ({"width": "64"}, "128 x '64' .*whole numbers"),
        ({"height": True}, "True x 64"),
        ({"std": (1.0, 0.0, 1.0)}, "std="),
        ({"std": (1.0, float("nan"), 1.0)}, "std=.* three positive numbers"),
        ({"mean": (0.5, 0.5)}, r"mean=\(0.5, 0.5\) must be three finite numbers"),
        ({"mean": (0.5, "0.5", 0.5)}, "mean="),
        ({"mean": 0.5}, "mean=0.5"),
        ({"mean": (0.5, float("inf"), 0.5)}, "mean="),
        ({"interpolation": "nearest"}, "interpolation='nearest'"),
    ],
)
def test_preprocess_refuses(options: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Preprocess(**options)  # type: ignore[arg-type]
