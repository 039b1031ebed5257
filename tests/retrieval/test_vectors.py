"""Embeddings stand for vectors and their labels: the same numbers either way, and mixtures refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from retrieval_cases import golden

from reidlab.errors import UserError
from reidlab.retrieval import Embeddings, evaluate, protocol_audit, rank_gallery, sample_pairs
from reidlab.retrieval.vectors import PIXELS

FUNCTIONS = [evaluate, protocol_audit, rank_gallery, sample_pairs]


def side(data: dict[str, Any], name: str, **columns: Any) -> Embeddings:
    table = pd.DataFrame(
        {
            "path": [f"/{name}/{row}.jpg" for row in range(len(data[name]))],
            "pid": data[f"{name}_pids"],
            "camid": data[f"{name}_camids"],
            "split": name,
        }
    )
    return Embeddings(data[name].astype(np.float32), table.assign(**columns))


def sides(data: dict[str, Any]) -> tuple[Embeddings, Embeddings]:
    return side(data, "query"), side(data, "gallery")


def test_embeddings_bring_their_labels() -> None:
    data = golden() | {name: golden()[name].astype(np.float32) for name in ("query", "gallery")}
    result, arrays = evaluate(*sides(data)), evaluate(**data)
    assert result.scores() == arrays.scores() and result.rule == "official"
    pd.testing.assert_frame_equal(result.per_query, arrays.per_query)
    pd.testing.assert_frame_equal(rank_gallery(*sides(data), queries=[2, 0]), rank_gallery(**data, queries=[2, 0]))
    pd.testing.assert_frame_equal(protocol_audit(*sides(data)), protocol_audit(**data))
    pd.testing.assert_frame_equal(sample_pairs(*sides(data), seed=3), sample_pairs(**data, seed=3))


def test_without_cameras_there_is_no_camera_rule() -> None:
    query, gallery = (Embeddings(each.vectors, each.table.drop(columns="camid")) for each in sides(golden()))
    assert evaluate(query, gallery).rule == "no_camera"


def test_the_query_itself_is_known_by_path_or_pixels() -> None:
    data = golden()
    query, gallery = side(data, "query", path=[f"/gallery/{row}.jpg" for row in range(6)]), side(data, "gallery")
    assert evaluate(query, gallery).n_same_image == 6 and evaluate(*sides(data)).n_same_image == 0
    copies = side(data, "query", **{PIXELS: list("abcdef")}), side(data, "gallery", **{PIXELS: list("ab") * 12})
    assert evaluate(*copies).n_same_image == 2
    half = Embeddings(query.vectors, query.table.assign(**{PIXELS: list("abcdef")}))
    assert evaluate(half, gallery).n_same_image == 6, "digests on one side alone: paths are compared"


@pytest.mark.parametrize("function", FUNCTIONS)
def test_mixtures_are_refused(function: Callable[..., Any]) -> None:
    data = golden()
    query, gallery = sides(data)
    labels = {name: value for name, value in data.items() if "_" in name}
    with pytest.raises(UserError, match="query is Embeddings and gallery is not: give two Embeddings"):
        function(query, gallery.vectors, **labels)
    with pytest.raises(UserError, match="gallery is Embeddings and query is not"):
        function(query.vectors, gallery)
    with pytest.raises(UserError, match="gallery_camids is given beside Embeddings, whose table says it already"):
        function(query, gallery, gallery_camids=data["gallery_camids"])
    with pytest.raises(UserError, match="query_pids is missing: vectors say nothing about identities"):
        function(query.vectors, gallery.vectors)
    with pytest.raises(UserError, match="gallery_pids is missing"):
        function(query.vectors, gallery.vectors, query_pids=data["query_pids"])
    bare = Embeddings(query.vectors, query.table[["path"]])
    with pytest.raises(UserError, match="have no pid: their table has path"):
        function(bare, gallery)
