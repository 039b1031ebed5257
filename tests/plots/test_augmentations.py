"""The figure of transforms: every row is what its transform makes of the same images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from plot_cases import check_figure, people

from reidlab.data.transforms import Augment, global_grayscale
from reidlab.errors import UserError
from reidlab.plots.augmentations import GAP, augmentation_figure


def labels(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.texts]


def strips(figure: Any) -> list[np.ndarray]:
    return [np.asarray(ax.images[0].get_array()) for ax in figure.axes]


def test_a_row_for_each_transform_on_the_same_images() -> None:
    images = people(3)
    before = images.copy()
    figure = augmentation_figure(images, ["global_grayscale", "random_2d_translation"], title="Two")
    check_figure(figure)
    np.testing.assert_array_equal(images, before)
    assert labels(figure) == ["as stored", "global grayscale", "random 2d translation", "Two"]
    stored, grey, moved = strips(figure)
    assert stored.shape == (16, 3 * 8 + 2 * GAP, 3)
    for i, image in enumerate(images):
        place = slice(i * (8 + GAP), i * (8 + GAP) + 8)
        np.testing.assert_array_equal(stored[:, place], image)
        one = torch.from_numpy(image).permute(2, 0, 1)[None]
        expected = global_grayscale(one, torch.Generator(), p=1)[0].permute(1, 2, 0)
        np.testing.assert_array_equal(grey[:, place], expected.numpy())  # p is 1: it shows on every image
        assert (moved[:, place] != image).any()
    assert (stored[:, 8 : 8 + GAP] == 255).all()


def test_all_of_them_and_labels_of_ones_own() -> None:
    check_figure(augmentation_figure(people(2), options={"resize": {"size": (20, 8)}, "cutout": {"size": 4}}))
    augment = Augment(steps=[{"name": "random_erase", "p": 1.0}])
    figure = augmentation_figure(people(1), {"first": augment, "second": augment}, seed=3)
    check_figure(figure)
    _, first, second = strips(figure)
    assert (first != second).any() and labels(figure)[1:] == ["first", "second"]
    expected = augment(torch.from_numpy(people(1)).permute(0, 3, 1, 2), torch.Generator().manual_seed(3))
    np.testing.assert_array_equal(first, expected[0].permute(1, 2, 0).numpy())


@pytest.mark.parametrize(
    "given, words",
    [
        ({"images": people(0)}, "at least one; got"),
        ({"images": people(2).astype(float)}, "uint8"),
        ({"images": people(2)[:, :, :, 0]}, "uint8"),
        ({"transforms": ["cutou"]}, "Did you mean 'cutout'"),
        ({"transforms": ["cutout"], "options": {"random_flip": {}}}, "not among the transforms shown"),
        ({"transforms": ["cutout"], "options": {"cutout": {"sise": 3}}}, "Did you mean 'size'"),
    ],
)
def test_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        augmentation_figure(**({"images": people(2)} | given))
