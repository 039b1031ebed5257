"""Data for the tests of figures, and what every figure has to fulfil."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reidlab.plots.style import describe


def table(n: int = 300, **changes: Any) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "pid": rng.integers(1, 30, n),
            "camid": rng.integers(1, 5, n),
            "split": rng.choice(["train", "query", "gallery"], n),
        }
    )
    return frame.assign(**changes)


def people(n: int = 6) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 16, 8, 3), dtype=np.uint8)


def check_axes(ax: Axes, *, drawn: bool = True) -> None:
    """Named axes, an alt text, and a picture that can be made."""
    assert isinstance(ax, Axes)
    assert ax.get_xlabel() and ax.get_ylabel()
    assert len(describe(ax)) > 20 and "nan" not in describe(ax)
    if drawn:
        check_figure(ax.get_figure(root=True))


def check_figure(figure: Any) -> None:
    assert isinstance(figure, Figure)
    assert len(describe(figure)) > 20 and "nan" not in describe(figure)
    data, metadata = figure._repr_mimebundle_()  # type: ignore[attr-defined]
    assert data["image/png"].startswith(b"\x89PNG") and metadata["image/png"]["alt"] == describe(figure)
    _no_text_overlaps(figure)


def _no_text_overlaps(figure: Figure) -> None:
    """Tick labels of an axis do not run into each other (turned ones are not looked at)."""
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    for ax in figure.axes:
        for axis, side in ((ax.xaxis, "x"), (ax.yaxis, "y")):
            labels = [label for label in axis.get_ticklabels() if label.get_text() and label.get_visible()]
            if any(label.get_rotation() for label in labels):
                continue
            spans = sorted(getattr(label.get_window_extent(renderer), f"interval{side}").tolist() for label in labels)
            spans = [sorted(span) for span in spans]
            assert all(a[1] <= b[0] + 1 for a, b in pairwise(spans)), [label.get_text() for label in labels]
