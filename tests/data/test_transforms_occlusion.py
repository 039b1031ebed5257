"""Cutout and random patch: places, areas, contents, probabilities."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from transform_cases import coordinates, images, likely, seeded

from reidlab.data.transforms import IMAGENET_MEAN, cutout, random_erase, random_patch


def boxes(masks: Tensor) -> np.ndarray:
    """Top, left, height, width of the one filled rectangle in each bool [height, width]; zeros where nothing is."""
    found = np.zeros((len(masks), 4), int)
    for i, mask in enumerate(masks.numpy()):
        if mask.any():
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            found[i] = rows[0], columns[0], rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
            assert mask.sum() == found[i, 2] * found[i, 3]
    return found


@pytest.mark.parametrize("p", [0.0, 0.5, 1.0])
def test_cutout_is_one_square_anywhere_inside(p: float) -> None:
    white = torch.full((800, 3, 20, 12), 255, dtype=torch.uint8)
    gone = cutout(white, seeded(), p=p, size=8) == 0
    assert (gone == gone[:, :1]).all()
    top, left, tall, wide = boxes(gone[:, 0]).T
    cut = tall > 0
    assert likely(cut.sum(), 800, p) and set(tall[cut]) <= {8} and set(wide[cut]) <= {8}
    for start, room in ((top[cut], 12), (left[cut], 4)):
        assert all(likely((start == place).sum(), cut.sum(), 1 / (room + 1)) for place in range(room + 1))


def test_cutout_of_small_images_and_of_other_colours() -> None:
    cut = cutout(images(5, 8, 4), seeded(), p=1, size=6, fill=IMAGENET_MEAN)
    grey = torch.tensor([124, 116, 104], dtype=torch.uint8)[:, None, None]
    top, left, tall, wide = boxes((cut == grey).all(1)).T
    assert set(tall) == {6} and set(wide) == {4} and set(left) == {0} and set(top) <= {0, 1, 2}
    assert (cutout(images(3, 8, 4), seeded(), p=1) == 0).all()  # 64 pixels hide all of it


@pytest.mark.parametrize("fill, level", [(0.0, 0), (1.0, 255), (0.5, 128), (0.3, 77), (0.1, 26), (0.485, 124)])
def test_a_fill_becomes_the_nearest_level_and_halves_go_up(fill: float, level: int) -> None:
    cut = cutout(images(1, 8, 8), seeded(), p=1, size=99, fill=(fill, fill, fill))
    assert (cut == level).all()
    erased = random_erase(torch.full((20, 3, 16, 8), 7, dtype=torch.uint8), seeded(), p=1, fill=(fill,) * 3)
    assert set(erased.unique().tolist()) == {7, level}


def test_a_patch_is_a_part_of_another_image_unchanged() -> None:
    """Every pixel says where it was: a pasted pixel has another image's number and that image's row and column."""
    n, height, width = 250, 24, 16
    given = coordinates(n, height, width)
    changed = random_patch(given, seeded(), p=0.5, flip=0, rotate=0)
    pasted = changed[:, 2] != given[:, 2]
    assert torch.equal(changed.movedim(1, 3)[~pasted], given.movedim(1, 3)[~pasted])
    found = boxes(pasted)
    donors, shares, moved = [], [], []
    for i in np.flatnonzero(found[:, 2]):
        top, left, tall, wide = found[i]
        part = changed[i, :, top : top + tall, left : left + wide].long()
        donor, row, column = int(part[2, 0, 0]), int(part[0, 0, 0]), int(part[1, 0, 0])
        assert (part[2] == donor).all() and donor != i
        assert (part[0] == row + torch.arange(tall)[:, None]).all()
        assert (part[1] == column + torch.arange(wide)).all()
        donors.append((donor - i) % n)
        shares.append(tall * wide / (height * width))
        moved.append((row, column) != (top, left))
    assert likely(len(donors), n, 0.5)
    assert likely(sum(step < n / 2 for step in donors), len(donors), 0.5)  # any other image alike
    assert 0.005 < min(shares) < 0.06 and 0.35 < max(shares) < 0.54
    assert np.mean(moved) > 0.9


def test_every_image_but_itself_is_as_likely_the_donor() -> None:
    given = torch.arange(5, dtype=torch.uint8)[:, None, None, None].expand(5, 3, 16, 8)
    steps = []
    for seed in range(120):
        changed = random_patch(given, seeded(seed), p=1, flip=0, rotate=0)
        steps += [(int(changed[i].max() if changed[i].max() > i else changed[i].min()) - i) % 5 for i in range(5)]
    assert steps.count(0) == 0
    assert all(likely(steps.count(step), 600, 0.25) for step in (1, 2, 3, 4))


def test_mirrored_and_turned_patches() -> None:
    given = coordinates(200, 24, 16)
    mirrored = random_patch(given, seeded(), p=1, flip=0.5, rotate=0)
    falls = 0
    found = boxes(mirrored[:, 2] != given[:, 2])
    for i, (top, left, _tall, wide) in enumerate(found):
        step = mirrored[i, 1, top, left : left + wide].long().diff()
        assert (step == 1).all() or (step == -1).all()
        falls += int((step == -1).any())
    assert likely(falls, (found[:, 3] > 1).sum(), 0.5)
    turned = random_patch(given + 1, seeded(), p=1, flip=0, rotate=1)
    black = (turned == 0).all(1).flatten(1).any(1)  # the corners that a turn leaves
    assert 0.3 < black.float().mean() < 1
    assert torch.equal(
        random_patch(given, seeded(), p=1, rotate=1, degrees=0), random_patch(given, seeded(), p=1, rotate=0)
    )


def test_a_batch_of_one_has_no_other_image() -> None:
    assert torch.equal(random_patch(images(1), seeded(), p=1), images(1))
