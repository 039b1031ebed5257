"""A query's own image in the gallery is no answer, and cameras written in two ways are said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from retrieval_cases import random_data

from reidlab.errors import UserError
from reidlab.retrieval import counting, evaluate, protocol_audit, rank_gallery, ranking, sample_pairs
from reidlab.retrieval.outcome import RetrievalResult


def noise(n: int = 30) -> dict[str, Any]:
    """Noise without cameras; each query's own file stands in the gallery."""
    rng = np.random.default_rng(0)
    gallery = rng.normal(size=(n, 64)).astype(np.float32)
    people = np.arange(n) % 10
    return {"query": gallery[:10], "gallery": gallery, "query_pids": people[:10], "gallery_pids": people}


def images(n: int = 30) -> dict[str, Any]:
    names = [f"/d/{i}.jpg" for i in range(n)]
    return {"query_images": names[:10], "gallery_images": names}


def without_itself(data: dict[str, Any], at: int, **options: Any) -> Any:
    keep = np.arange(len(data["gallery"])) != at
    few = {name: value[at : at + 1] if name.startswith("query") else value[keep] for name, value in data.items()}
    return evaluate(**few, **options).per_query.iloc[0]


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("strange", [False, True])
def test_the_query_itself_is_ignored(compiled: bool, strange: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if compiled and counting.compiled_counter() is None:
        pytest.skip("numba is not installed or cannot compile here")
    monkeypatch.setattr(ranking, "LARGE", 0 if compiled else 2**62)
    data = noise()
    if strange:  # the copy in the gallery has another label: it is the query all the same
        data["gallery_pids"] = data["gallery_pids"].copy()
        data["gallery_pids"][:10] = 77
    result = evaluate(**data, **images())
    assert evaluate(**data).rank1 == (0 if strange else 1)
    assert result.rank1 < 0.5 and result.n_same_image == 10
    for row in result.per_query.itertuples():
        alone = without_itself(data, row.query)
        assert (row.ap, row.first_rank, row.n_matches) == (alone["ap"], alone["first_rank"], 2)
        assert row.n_ignored == 1 and row.wrong_distance == pytest.approx(alone["wrong_distance"])
    assert "10 queries are in the gallery themselves: ignored" in result.sentence()
    assert result.conditions()["n_same_image"] == 10


def test_equal_pixels_under_another_name() -> None:
    """The keys are what tells images apart: digests of pixels find copies that paths do not."""
    data = noise()
    pixels = [f"{i:040x}" for i in range(30)]
    assert evaluate(**data, query_images=pixels[:10], gallery_images=pixels).n_same_image == 10
    paths = evaluate(**data, query_images=[f"/copy/{i}" for i in range(10)], gallery_images=images()["gallery_images"])
    assert paths.n_same_image == 0 and paths.rank1 == 1 and "themselves" not in paths.sentence()
    for one in ("query_images", "gallery_images"):
        assert evaluate(**data, **{one: images()[one]}).n_same_image is None
    assert evaluate(**data).conditions()["n_same_image"] is None


def test_ties_with_the_query_itself() -> None:
    data: dict[str, Any] = {
        "query": [[1.0, 0]],
        "query_pids": [1],
        "gallery": [[1.0, 0]] * 4,
        "gallery_pids": [2, 3, 1, 1],
    }
    keys: dict[str, Any] = {"query_images": ["a"], "gallery_images": ["a", "b", "c", "a"]}
    row = evaluate(**data, **keys).per_query.iloc[0]
    assert (row["first_rank"], row["n_matches"], row["n_ignored"]) == (2, 1, 2)
    listed = rank_gallery(**data, **keys)
    assert listed["flag"].tolist() == ["ignored", "wrong", "right", "ignored"]
    assert rank_gallery(**data, **keys, show_ignored=False)["gallery"].tolist() == [1, 2]


def test_nothing_but_itself() -> None:
    data: dict[str, Any] = {"query": [[1.0]], "gallery": [[1.0], [2.0]], "query_pids": [1], "gallery_pids": [1, 2]}
    with pytest.raises(UserError, match="of their identities the gallery has the queries alone"):
        evaluate(**data, query_images=["a"], gallery_images=["a", "b"])
    cams: dict[str, Any] = {"query_camids": [1], "gallery_camids": [2, 1]}
    with pytest.raises(UserError, match="and the query itself, are ignored"):
        evaluate(**data, **cams, query_images=["a"], gallery_images=["a", "b"])


def test_keys_are_checked() -> None:
    with pytest.raises(UserError, match=r"query_images has shape \[3\], but query has 10 rows"):
        evaluate(**noise(), query_images=["a"] * 3, gallery_images=["a"] * 30)
    with pytest.raises(UserError, match="gallery_images is missing in row 0"):
        evaluate(**noise(), query_images=["a"] * 10, gallery_images=[None] * 30)


def test_the_others_take_them_too() -> None:
    data = noise()
    pairs = sample_pairs(**data, **images(), count=500)
    assert (pairs["query"] != pairs["gallery"]).all() and (sample_pairs(**data)["distance"] < 1e-6).any()
    cams = {"query_camids": np.arange(10) % 3, "gallery_camids": np.arange(30) % 7}
    audit = protocol_audit(**data, **cams, **images()).set_index("protocol")
    assert audit.loc["no camera rule", "mAP"] == pytest.approx(evaluate(**data, **images()).mean_ap)


def test_it_is_kept(tmp_path: Any) -> None:
    result = evaluate(**noise(), **images())
    again = RetrievalResult.load(result.save(tmp_path))
    assert again.n_same_image == 10 and again.sentence() == result.sentence()


def test_cameras_without_a_common_name() -> None:
    data = random_data(0)
    names = {
        "query_camids": [f"{c:02}" for c in data["query_camids"]],
        "gallery_camids": [str(c) for c in data["gallery_camids"]],
    }
    result = evaluate(**(data | names))
    assert "query and gallery have no camera in common (query '02'" in result.sentence()
    assert "if one camera is written in two ways, write it in one" in repr(result)
    assert len(result.notes) == 1 and result.mean_ap == evaluate(**data, rule="no_camera").mean_ap
    assert evaluate(**data).notes == () == evaluate(**(data | names), rule="no_camera").notes
    assert evaluate(**(data | {"query_camids": data["query_camids"].astype(str)})).notes == ()
