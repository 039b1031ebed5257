"""Camera means and camera-wise normalisation."""

from __future__ import annotations

import statistics

import numpy as np
import pytest
from reranking_cases import cosine_distances, units
from retrieval_cases import golden, random_data

from reidlab.errors import UserError
from reidlab.retrieval import evaluate, refine_vectors, rerank


def cameras(data: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: data[name] for name in ("query_camids", "gallery_camids")}


def test_every_camera_has_the_mean_of_all() -> None:
    data = random_data(0)
    query, gallery = refine_vectors(data["query"], data["gallery"], method="camera_mean", **cameras(data))
    vectors = np.concatenate([query, gallery])
    cams = np.concatenate([data["query_camids"], data["gallery_camids"]])
    before = units(np.concatenate([data["query"], data["gallery"]]))
    for cam in np.unique(cams):
        np.testing.assert_allclose(vectors[cams == cam].mean(axis=0), before.mean(axis=0), atol=1e-12)
        shift = (vectors - before)[cams == cam]
        np.testing.assert_allclose(shift, np.repeat(shift[:1], len(shift), 0), atol=1e-12)


def test_a_single_camera_changes_nothing() -> None:
    data = random_data(0)
    one = {name: np.zeros_like(value) for name, value in cameras(data).items()}
    query, gallery = refine_vectors(data["query"], data["gallery"], method="camera_mean", **one)
    np.testing.assert_allclose(query, units(data["query"]), atol=1e-12)
    np.testing.assert_allclose(gallery, units(data["gallery"]), atol=1e-12)


def test_a_shift_that_cameras_add_is_taken_out() -> None:
    """People in the first axes, the camera in the last: without it every image is found."""
    rng = np.random.default_rng(0)
    pids, camids = np.repeat(np.arange(30), 4), np.tile(np.arange(4), 30)
    vectors = 0.3 * rng.normal(size=(30, 16))[pids] + 0.05 * rng.normal(size=(120, 16))
    vectors += 1.5 * rng.normal(size=(4, 16))[camids]
    is_query = camids == 0
    data = {"query": vectors[is_query], "query_pids": pids[is_query], "query_camids": camids[is_query]}
    data |= {"gallery": vectors, "gallery_pids": pids, "gallery_camids": camids}
    plain = evaluate(**data).mean_ap
    assert evaluate(**data, rerank="camera_mean").mean_ap > plain + 0.1
    assert evaluate(**data, rerank="camera_norm").mean_ap > plain + 0.1


@pytest.mark.parametrize("block_mib", [100.0, 1e-6])
@pytest.mark.parametrize("over", ["pair", "query"])
def test_normalised_in_a_loop(over: str, block_mib: float) -> None:
    data = random_data(3, n_query=11, n_gallery=40)
    plain = cosine_distances(data["query"], data["gallery"])
    found = rerank(
        data["query"], data["gallery"], method="camera_norm", over=over, block_mib=block_mib, **cameras(data)
    ).dense()
    for q in range(11):
        for g in range(40):
            alike = [
                plain[i, j]
                for i in range(11)
                for j in range(40)
                if data["gallery_camids"][j] == data["gallery_camids"][g]
                and (i == q if over == "query" else data["query_camids"][i] == data["query_camids"][q])
            ]
            expected = (plain[q, g] - statistics.fmean(alike)) / statistics.pstdev(alike)
            assert found[q, g] == pytest.approx(expected, abs=1e-9)


def test_a_camera_with_one_image_has_no_deviation() -> None:
    data = golden()
    data["gallery_camids"] = np.where(np.arange(24) == 5, 9, data["gallery_camids"])
    found = rerank(data["query"], data["gallery"], method="camera_norm", over="query", **cameras(data)).dense()
    assert np.isfinite(found).all() and np.abs(found[:, 5]).max() < 1e-9


@pytest.mark.parametrize("method", ["camera_mean", "camera_norm"])
def test_cameras_are_needed(method: str) -> None:
    data = golden()
    with pytest.raises(UserError, match=f"{method} needs to know cameras: query_camids and gallery_camids"):
        rerank(data["query"], data["gallery"], method=method, query_camids=data["query_camids"])


def test_the_word_is_checked() -> None:
    data = golden()
    with pytest.raises(UserError, match="over='camera' must be 'pair' or 'query'"):
        rerank(data["query"], data["gallery"], method="camera_norm", over="camera", **cameras(data))
