"""Pixels from arrays, paths, tables; contact sheets and triplets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from plot_cases import check_figure, people

from reidlab.errors import UserError
from reidlab.plots.pictures import contact_sheet, image_of
from reidlab.plots.style import MARKS
from reidlab.plots.triplets import triplet_rows


def test_sources_of_pixels(tmp_path: Path) -> None:
    images = people(2)
    paths = [str(tmp_path / f"{i}.png") for i in range(2)]
    for path, image in zip(paths, images):
        Image.fromarray(image).save(path)
    frame = pd.DataFrame({"path": paths}, index=[7, 9])
    for source in (images, list(images), paths, [Path(path) for path in paths], frame, frame["path"]):
        np.testing.assert_array_equal(image_of(source, 1), images[1])


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([], "only 0 images"),
        (["nowhere.jpg"], "nowhere.jpg"),
        (np.zeros((1, 3, 8, 4), np.uint8), "uint8"),
        (np.zeros((1, 8, 4, 3)), "uint8"),
    ],
)
def test_bad_pixels(images: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        image_of(images, 0)


def test_contact_sheet() -> None:
    images = people(5)
    before = images.copy()
    figure = contact_sheet(
        images, ["a", "b", "c", "d", "e"], ["right", "wrong", "ignored", "query", None], columns=3, title="Five"
    )
    check_figure(figure)
    np.testing.assert_array_equal(images, before)
    borders = [ax.patches[0] for ax in figure.axes[:4]]
    assert len({(b.get_edgecolor(), b.get_linestyle()) for b in borders}) == 4
    assert figure.axes[1].get_xlabel().startswith(MARKS["wrong"].sign) and not figure.axes[4].patches
    check_figure(contact_sheet(images[:1]))
    assert "first 2 of 5" in contact_sheet(images, limit=2)._suptitle.get_text()
    for bad in ({"images": []}, {"images": images, "captions": ["a"]}, {"images": images, "columns": 0}):
        with pytest.raises(UserError):
            contact_sheet(**bad)


def test_triplets() -> None:
    images = people(12).reshape(4, 3, 16, 8, 3)
    pids = np.array([[1, 1, 2], [3, 3, 3], ["a", "a", "b"], [5, 6, 7]], dtype=object)
    figure = triplet_rows(images, pids, np.ones((4, 3), int), distances=np.ones((4, 2)))
    check_figure(figure)
    labels = [ax.get_xlabel() for ax in figure.axes]
    assert sum(label.startswith("label fault") for label in labels) == 2
    assert sum("distance 1.000" in label for label in labels) == 8
    check_figure(triplet_rows(images[:1], pids[:1]))
    for change in ({"images": images[:0]}, {"images": images.astype(float)}, {"pids": pids[:2]}, {"camids": [[1]]}):
        with pytest.raises(UserError, match="must"):
            triplet_rows(**({"images": images, "pids": pids} | change))
