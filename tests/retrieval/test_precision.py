"""Vectors rounded to half precision: the numbers themselves, ranks against a loop, and the table of effects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from retrieval_cases import golden, naive, people, random_data

from reidlab.errors import UserError
from reidlab.retrieval import RetrievalResult, evaluate, precision_effect
from reidlab.retrieval.precision import PRECISIONS, round_to, rounded

HALVES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}


@pytest.mark.parametrize("precision", HALVES)
@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1))
def test_rounding_is_that_of_torch(precision: str, values: list[float]) -> None:
    array = np.array([values], np.float32)
    with np.errstate(over="ignore"):
        found = round_to(array, precision)
    assert found.dtype == np.float32 and array.tolist() == [values], "the input is left alone"
    np.testing.assert_array_equal(found, torch.from_numpy(array).to(HALVES[precision]).float().numpy())


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("precision", ["bfloat16", "float16", "float32"])
def test_ranks_are_those_of_the_rounded_vectors(precision: str, metric: str) -> None:
    data = random_data(5, dim=2)  # two dims of few bits: some different images become equal, and tie
    found = evaluate(**data, metric=metric, precision=precision)
    less = {name: round_to(data[name], precision) for name in ("query", "gallery")}
    wanted = naive(data | {name: value.astype(np.float64) for name, value in less.items()}, metric=metric)
    for row, expected in zip(found.per_query.itertuples(), wanted):
        if expected is None:
            assert not row.valid
        else:
            assert (row.ap, row.inp, row.first_rank) == (*map(pytest.approx, expected[:2]), expected[2])
    assert repr(found).count(f"{metric} distance in {precision}") == 1


def test_images_that_become_equal_tie_in_gallery_order() -> None:
    gallery = np.array([[1, 0.3], [1, 0.3001], [1, 0.3002]])  # one number in bfloat16
    data: dict[str, Any] = {"query_pids": [1], "gallery_pids": [2, 2, 1]}
    assert evaluate([[1, 0.3002]], gallery, **data).rank1 == 1
    result = evaluate([[1, 0.3002]], gallery, **data, precision="bfloat16")
    assert result.per_query["first_rank"].tolist() == [3]


def test_it_is_said_and_kept(tmp_path: Path) -> None:
    result = evaluate(**golden(), precision="bfloat16")
    assert result.conditions()["precision"] == "bfloat16" and "precision" not in evaluate(**golden()).conditions()
    again = RetrievalResult.load(result.save(tmp_path))
    assert repr(again) == repr(result) and again.precision == "bfloat16"
    assert evaluate(**golden(), precision="full").precision == evaluate(**golden()).precision == "full"


def test_effect() -> None:
    data = people(12, 8, noise=1.0)
    half = len(data) // 2
    sides: dict[str, Any] = {"query": data.vectors[:half], "gallery": data.vectors[half:]}
    sides |= {"query_pids": np.arange(half) % 6, "gallery_pids": np.arange(half) % 6}
    frame = precision_effect(**sides, precisions=["float32", "bfloat16", "full", "bfloat16"]).set_index("precision")
    assert frame.index.tolist() == ["full", "float32", "bfloat16"]
    assert not frame.loc[["full", "float32"], frame.columns[5:]].any(axis=None), "the vectors are float32 already"
    plain, less = evaluate(**sides), evaluate(**sides, precision="bfloat16")
    row = frame.loc["bfloat16"]
    assert row["mAP"] == less.mean_ap and row["mAP_change"] == less.mean_ap - plain.mean_ap != 0
    assert row["rank1_change"] == less.rank1 - plain.rank1
    moved = less.per_query["first_rank"] != plain.per_query["first_rank"]
    assert row["moved"] == moved.mean()
    assert row["ap_change"] == (less.per_query["ap"] - plain.per_query["ap"]).abs().max() > 0
    assert isinstance(precision_effect(**golden()), pd.DataFrame)


@pytest.mark.parametrize(
    ("vectors", "precision", "words"),
    [
        ([[1.0], [70000.0]], "float16", "query row 1 has numbers that are too large for float16"),
        ([[1.0], [1.0], [1e-9]], "float16", "query row 2 has numbers that are too small for float16"),
        ([[1e200]], "float32", "too large for float32"),
        ([[1e-200]], "bfloat16", "too small for bfloat16"),
    ],
)
def test_out_of_range(vectors: list[list[float]], precision: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        rounded("query", np.array(vectors), precision, needs_direction=True)
    if "small" in words:
        rounded("query", np.array(vectors), precision, needs_direction=False)


def test_mistakes() -> None:
    for wrong in ("half", None, 16, ["full"]):
        with pytest.raises(UserError, match=f"one of {', '.join(PRECISIONS)}"):
            evaluate(**golden(), precision=wrong)  # type: ignore[arg-type]
    for wrong in ([], (), None, 3):
        with pytest.raises(UserError, match="one or more of full"):
            precision_effect(**golden(), precisions=wrong)  # type: ignore[arg-type]
    for wrong in ("half", ["bfloat16", "half"], [None]):
        with pytest.raises(UserError, match="is not one of full"):
            precision_effect(**golden(), precisions=wrong)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="in precisions"):
        precision_effect(**golden(), precision="float16")
    with pytest.raises(UserError, match="no effect on distances given"):
        evaluate(**golden(), precision="float16", rerank=np.zeros((6, 24)))
