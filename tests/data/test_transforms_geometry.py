"""Translation and crops against torchvision on each image alone, and their statistics."""

from __future__ import annotations

import pytest
import torch
import torchvision.transforms.v2.functional as tv
from transform_cases import coordinates, images, likely, seeded

from reidlab.data.transforms import geometry, random_2d_translation, random_crop, random_resized_crop, resize


@pytest.mark.parametrize("size", [(16, 8), (9, 5), (30, 21)])
def test_resize_is_torchvision_on_each_image(size: tuple[int, int]) -> None:
    given = images(5)
    changed = resize(given, seeded(), size=size)
    assert torch.equal(changed, torch.stack([tv.resize(image, list(size), antialias=True) for image in given]))
    assert changed.data_ptr() != given.data_ptr()


def test_a_crop_of_more_padding_than_image_can_be_black() -> None:
    cut = random_crop(images(200, 3, 2), seeded(), padding=6)
    assert 0 < (cut > 0).flatten(1).any(1).sum() < 200


@pytest.mark.parametrize("size", [None, (24, 10)])
def test_translation_is_a_cut_of_the_enlarged_image(size: tuple[int, int] | None) -> None:
    given = images(300)
    height, width = size or (16, 8)
    tall, wide = round(1.125 * height), round(1.125 * width)
    moved = random_2d_translation(given, seeded(), size=size)
    places: list[tuple[int, int]] = []
    for image, found in zip(given, moved):
        large = tv.resize(image, [tall, wide], antialias=True)
        matches = [
            (top, left)
            for top in range(tall - height + 1)
            for left in range(wide - width + 1)
            if torch.equal(large[:, top : top + height, left : left + width], found)
        ]
        plain = torch.equal(found, tv.resize(image, [height, width], antialias=True))
        assert plain != bool(matches)
        places += matches
    assert likely(len(places), 300, 0.5)
    choices = (tall - height + 1) * (wide - width + 1)
    assert all(likely(places.count(place), len(places), 1 / choices) for place in set(places))
    assert len(set(places)) == choices  # the outermost ones too


def test_the_enlarged_size_is_that_of_the_field() -> None:
    """256 x 128 becomes 288 x 144: the marked corner of the enlarged image shows for one cut in 33 x 17."""
    moved = random_2d_translation(torch.full((4, 3, 256, 128), 9, dtype=torch.uint8), seeded(), p=1)
    assert moved.shape == (4, 3, 256, 128) and (moved == 9).all()
    ramp = torch.arange(256, dtype=torch.uint8)[None, None, :, None].expand(64, 3, 256, 128)
    rows = random_2d_translation(ramp, seeded(), p=1)[:, 0, :, 64].float()
    assert ((rows[:, -1] - rows[:, 0]) - 255 * 256 / 288).abs().max() < 1.5  # 8/9 of the height is seen
    assert rows[:, 0].min() < 3 and rows[:, 0].max() > 25 and rows[:, 0].max() <= 29


def test_resized_crop_is_torchvision_on_the_same_part() -> None:
    given = images(40, 31, 17)
    changed = random_resized_crop(given, seeded(2), scale=(0.2, 0.9), ratio=(0.4, 0.8), size=(20, 11))
    parts = geometry._parts(40, 31, 17, (0.2, 0.9), (0.4, 0.8), seeded(2))
    expected = [
        tv.resized_crop(image, part.top, part.left, part.height, part.width, [20, 11], antialias=True)
        for image, part in zip(given, parts)
    ]
    assert torch.equal(changed, torch.stack(expected))


def test_area_and_ratio_of_parts() -> None:
    """On a square where most draws fit: shares are uniform, ratios log-uniform, places uniform over what is left."""
    parts = geometry._parts(3000, 400, 400, (0.1, 0.5), (0.5, 2.0), seeded())
    tall = torch.tensor([part.height for part in parts]).float()
    wide = torch.tensor([part.width for part in parts]).float()
    share, log_ratio = tall * wide / 160_000, (wide / tall).log2()
    assert share.min() > 0.099 and share.max() < 0.501
    assert likely((share < 0.3).sum(), 3000, 0.5)
    assert log_ratio.abs().max() < 1.01 and likely((log_ratio < 0).sum(), 3000, 0.5)
    assert likely((log_ratio < -0.5).sum(), 3000, 0.25)
    down = torch.tensor([part.top for part in parts]) / (400 - tall)
    right = torch.tensor([part.left for part in parts]) / (400 - wide)
    assert likely((down < 0.5).sum(), 3000, 0.5) and likely((right < 0.25).sum(), 3000, 0.25)


def test_the_image_s_own_shape_is_kept_about_by_default() -> None:
    seen = random_resized_crop(coordinates(400, 128, 64), seeded(), scale=(0.3, 0.6))
    assert seen.shape == (400, 3, 128, 64)
    tall = (seen[:, 0].flatten(1).amax(1) - seen[:, 0].flatten(1).amin(1)).float() + 1
    wide = (seen[:, 1].flatten(1).amax(1) - seen[:, 1].flatten(1).amin(1)).float() + 1
    relative = wide / tall * 2
    assert 0.7 < relative.min() < 0.8 and 1.25 < relative.max() < 1.45
    share = tall * wide / (128 * 64)
    assert 0.28 < share.min() < 0.34 and 0.56 < share.max() < 0.62


@pytest.mark.parametrize(
    "height, width, ratio, expected",
    [
        (40, 10, (1.0, 2.0), (15, 0, 10, 10)),
        (10, 40, (0.5, 1.0), (0, 15, 10, 10)),
        (20, 10, (0.4, 0.6), (0, 0, 20, 10)),
    ],
)
def test_the_centre_where_no_part_fits(
    height: int, width: int, ratio: tuple[float, float], expected: tuple[int, int, int, int]
) -> None:
    """As torchvision: with more than the whole area wanted nothing fits, and the largest central part is taken."""
    parts = geometry._parts(3, height, width, (9.0, 9.0), ratio, seeded())
    assert [tuple(part) for part in parts] == [expected] * 3
