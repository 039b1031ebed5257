"""Matrices of cameras and tables of confused identities."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from plot_cases import check_axes, check_figure, people

from reidlab import plots
from reidlab.errors import UserError
from reidlab.plots.style import describe


def matrix(n: int = 3, names: list[str] | None = None) -> pd.DataFrame:
    names = names or [str(at) for at in range(n)]
    rows = [(one, two, 0 if one == two else 12, 40, np.nan if one == two else 0.5) for one in names for two in names]
    frame = pd.DataFrame(rows, columns=["query_camid", "gallery_camid", "queries", "gallery", "rank1"])
    frame["mAP"] = frame["rank1"] * np.linspace(0.5, 1, len(frame))
    return frame


def pairs(n: int = 3) -> pd.DataFrame:
    at = np.arange(n)
    return pd.DataFrame({
        "pid": [f"$a_{i}$" for i in at], "taken_for": at, "times": n - at, "queries": n, "share": 0.5, "query": at,
        "gallery": at[::-1],
    })  # fmt: skip


@pytest.mark.parametrize("value", ["rank1", "mAP"])
def test_camera_matrix(value: str) -> None:
    ax = plots.camera_matrix(matrix(), value=value)
    check_axes(ax)
    texts = {text.get_position(): text for text in ax.texts}
    wanted = matrix()[value].to_numpy().reshape(3, 3)
    for (row, column), score in np.ndenumerate(wanted):
        text = texts[column + 0.5, row + 0.5]
        assert text.get_text() == ("–" if np.isnan(score) else f"{100 * score:.0f} %\n12")
        assert text.get_color() == ("black" if np.isnan(score) or score > 0.55 else "white")
    assert len(ax.texts) == 9 and ax.yaxis_inverted()
    check_axes(plots.camera_matrix(matrix(25), value=value))
    assert not plots.camera_matrix(matrix(25)).texts
    check_axes(plots.camera_matrix(matrix(names=["$x$", "a camera with a very long name"])))


def test_camera_matrix_without_a_match_and_mistakes() -> None:
    ax = plots.camera_matrix(matrix(1))
    check_axes(ax)
    assert "none has a query with a match" in describe(ax)
    assert "lowest" in describe(plots.camera_matrix(matrix()))
    with pytest.raises(UserError, match="value='map'"):
        plots.camera_matrix(matrix(), value="map")
    with pytest.raises(UserError, match="no pair of cameras"):
        plots.camera_matrix(matrix().head(0))


def test_confused_identities() -> None:
    check_figure(plots.confused_identities(pairs()))
    figure = plots.confused_identities(pairs(12), query_images=people(12), gallery_images=people(12), limit=4)
    check_figure(figure)
    assert len(figure.axes) == 12 and "12 of 12 queries" in describe(figure)
    assert any(text.get_text() == "12 of 12 queries" for ax in figure.axes for text in ax.texts)


def test_confused_identities_mistakes() -> None:
    with pytest.raises(UserError, match="nothing to draw"):
        plots.confused_identities(pairs(0))
    with pytest.raises(UserError, match="images of both sides"):
        plots.confused_identities(pairs(), query_images=people())
    with pytest.raises(UserError, match="limit=0"):
        plots.confused_identities(pairs(), limit=0)


def suspicions(n: int = 3) -> pd.DataFrame:
    at = np.arange(n)
    return pd.DataFrame({
        "kind": np.array(["label", "split", "merged"])[at % 3], "score": 0.5, "pid": [f"$a_{i}$" for i in at],
        "other_pid": at, "row": at, "other_row": at[::-1], "reason": "of its 10 nearest images 9 are of $b$, 0 of $a_1$",
    })  # fmt: skip


def test_suspicious_labels() -> None:
    figure = plots.suspicious_labels(suspicions(12), images=people(12), limit=4)
    check_figure(figure)
    assert len(figure.axes) == 12 and "2 label, 1 split, 1 merged" in describe(figure)
    check_figure(plots.suspicious_labels(suspicions(1), images=people(12)))
    with pytest.raises(UserError, match="nothing to draw"):
        plots.suspicious_labels(suspicions(0), images=people())
    with pytest.raises(UserError, match="give the image table"):
        plots.suspicious_labels(suspicions())
    with pytest.raises(UserError, match="limit=0"):
        plots.suspicious_labels(suspicions(), images=people(), limit=0)
