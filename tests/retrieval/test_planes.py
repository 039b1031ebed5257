"""Points of a plane: what each method keeps, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from reidlab.errors import UserError
from reidlab.retrieval.planes import PLANE_NAMES, PLANE_SIZES, PLANES, plane, sample_rows, unit_rows


def test_pca_is_the_projection_on_the_two_widest_directions() -> None:
    values = np.random.default_rng(0).normal(size=(40, 6)) * [9, 5, 1, 1, 0.5, 0.1]
    middle = values - values.mean(0)
    directions = np.linalg.svd(middle, full_matrices=False)[2][:2]
    found = plane(values, "pca")
    wanted = middle @ directions.T
    np.testing.assert_allclose(np.abs(found), np.abs(wanted), atol=1e-9)  # a direction has no sign


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_groups_stay_apart_and_a_seed_gives_the_same_points(method: str) -> None:
    rng = np.random.default_rng(1)
    values = np.repeat(np.eye(3) * 10, 12, axis=0) + rng.normal(0, 0.1, (36, 3))
    points = plane(values, method, seed=3)
    assert points.shape == (36, 2) and points.dtype == np.float64
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert (distances.argmin(1) // 12 == np.arange(36) // 12).all()
    np.testing.assert_array_equal(points, plane(values, method, seed=3))


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_one_point_and_one_dimension(method: str) -> None:
    np.testing.assert_array_equal(plane(np.ones((7, 4)), method), np.zeros((7, 2)))
    assert np.isfinite(plane(np.arange(8.0)[:, None], method)).all()
    assert np.isfinite(plane(np.arange(5.0)[:, None], method, seed=2**63 - 1)).all()


@pytest.mark.parametrize(
    ("values", "method", "seed", "said"),
    [
        (np.eye(6), "tsn", 0, "Did you mean 'tsne'"),
        (np.eye(4), "pca", 0, "five images; there are 4"),
        (np.eye(6), "pca", -1, "seed=-1"),
        (np.full((6, 2), np.nan), "pca", 0, "NaN|finite"),
        (np.ones(6), "pca", 0, "values"),
    ],
)
def test_what_is_refused(values: np.ndarray, method: str, seed: int, said: str) -> None:
    with pytest.raises(UserError, match=said):
        plane(values, method, seed=seed)


def test_every_method_has_a_name_and_a_size() -> None:
    assert set(PLANE_NAMES) == set(PLANE_SIZES) == set(PLANES)


def test_rows_drawn() -> None:
    assert sample_rows(5, 5).tolist() == [0, 1, 2, 3, 4] == sample_rows(5, 9).tolist()
    drawn = sample_rows(1000, 50, seed=2)
    assert len(set(drawn.tolist())) == 50 and (np.diff(drawn) > 0).all() and drawn.max() < 1000
    assert drawn.tolist() == sample_rows(1000, 50, seed=2).tolist() != sample_rows(1000, 50, seed=3).tolist()
    with pytest.raises(UserError, match="limit=0"):
        sample_rows(3, 0)


def test_unit_rows() -> None:
    given = np.array([[3, 4], [0, 0]], np.float32)
    np.testing.assert_allclose(unit_rows(given), [[0.6, 0.8], [0, 0]])
    assert given.tolist() == [[3, 4], [0, 0]]
