"""Any vectors, identities and options of the retrieval functions end in a result or in a UserError."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fuzz_cases import ends_well, fuzz, junk, junk_array, junk_number, junk_scalar
from hypothesis import example, given
from hypothesis import strategies as st

from reidlab.errors import UserError
from reidlab.retrieval import (
    RetrievalResult,
    average_precision,
    evaluate,
    fit_lda,
    inverse_negative_penalty,
    pool_multi_query,
    protocol_audit,
    rank_gallery,
    sample_pairs,
)
from reidlab.retrieval.confidence import bootstrap_intervals

N_QUERY, N_GALLERY, DIM = 3, 6, 4
LABELS = ("query_pids", "gallery_pids", "query_camids", "gallery_camids", "query_images", "gallery_images")


def good(seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    few = {"query": N_QUERY, "gallery": N_GALLERY}
    data: dict[str, Any] = {side: rng.integers(-2, 3, (n, DIM)) + 0.25 for side, n in few.items()}
    return data | {name: rng.integers(0, 3, few[name.partition("_")[0]]) for name in LABELS}


def vectors(n: int) -> st.SearchStrategy[Any]:
    """Return vectors of the right shape that hold anything, and things that are no vectors."""
    floats = st.lists(st.lists(st.floats() | st.integers(-1, 1), min_size=DIM, max_size=DIM), min_size=n, max_size=n)
    kinds = st.sampled_from([np.float16, np.float32, np.float64, np.longdouble, object])

    def cast(rows: Any, kind: Any) -> Any:
        with np.errstate(all="ignore"):
            return np.array(rows, dtype=kind)

    return st.builds(cast, floats, kinds) | floats | junk_array() | junk()


def labels(n: int) -> st.SearchStrategy[Any]:
    """Return labels of the right length that may be anything."""
    scalars = st.lists(junk_scalar(), min_size=n, max_size=n)
    few = st.lists(st.sampled_from([0, 1, 2, -1, 1.0, "1", " 1 ", "x"]), min_size=n, max_size=n)
    return scalars | few | few.map(lambda values: np.array(values, dtype=object)) | junk_array() | st.none()


@st.composite
def arguments(draw: st.DrawFn, options: dict[str, st.SearchStrategy[Any]]) -> dict[str, Any]:
    """Return good arguments but for a few."""
    data = good(draw(st.integers(0, 50)))
    for name in draw(st.sets(st.sampled_from([*data, *options]), max_size=3)):
        if name in options:
            data[name] = draw(options[name])
        else:
            n = N_QUERY if name.startswith("query") else N_GALLERY
            data[name] = draw(labels(n) if name in LABELS else vectors(n))
    return data


NUMBER = junk_number() | junk_scalar()
METRIC = st.sampled_from(["cosine", "euclidean"]) | junk()


@fuzz(400)
@given(
    arguments(
        {
            "metric": METRIC,
            "ap": st.sampled_from(["plain", "trapezoid"]) | junk(),
            "rule": st.sampled_from(["official", "no_camera", "drop_same_camera"]) | junk(),
            "max_rank": st.integers(1, 9) | NUMBER,
            "bootstrap": st.integers(1, 9) | NUMBER.filter(lambda n: not _large(n)),
            "seed": NUMBER,
            "block_mib": st.floats(1e-6, 1) | NUMBER,
        }
    )
)
@example(good(0) | {"query": np.zeros((0, DIM))})
@example(good(0) | {"query_pids": [1e300] * 3, "gallery_pids": [2e300] * 6})
def test_evaluate(given_arguments: dict[str, Any]) -> None:
    result = ends_well(lambda: evaluate(**given_arguments))
    if not isinstance(result, UserError):
        assert 0 <= result.mean_inp <= 1 and 0 < result.mean_ap <= 1
        repr(result), result._repr_html_()
        assert result.per_query["valid"].any() and len(result.per_query) == len(given_arguments["query"])


def _large(value: Any) -> bool:
    """Return whether so many draws would be allowed and take long."""
    return isinstance(value, int | np.integer) and 1000 < value <= 1_000_000


@fuzz(120)
@given(
    arguments(
        {
            "metric": METRIC,
            "k": st.integers(1, 9) | NUMBER,
            "queries": junk_array() | NUMBER,
            "show_ignored": st.booleans(),
        }
    )
)
def test_rank_gallery(given_arguments: dict[str, Any]) -> None:
    found = ends_well(lambda: rank_gallery(**given_arguments))
    assert isinstance(found, UserError) or set(found["flag"]) <= {"right", "wrong", "ignored"}


@fuzz(120)
@given(
    arguments({"metric": METRIC, "count": st.integers(1, 50) | NUMBER.filter(lambda n: not _many(n)), "seed": NUMBER})
)
def test_sample_pairs(given_arguments: dict[str, Any]) -> None:
    found = ends_well(lambda: sample_pairs(**given_arguments))
    assert isinstance(found, UserError) or np.isfinite(found["distance"]).all()


def _many(value: Any) -> bool:
    return isinstance(value, int | np.integer) and 1000 < value <= 10_000_000


@fuzz(80)
@given(arguments({"metric": METRIC}))
def test_protocol_audit(given_arguments: dict[str, Any]) -> None:
    ends_well(lambda: protocol_audit(**given_arguments))


@fuzz(120)
@given(
    st.fixed_dictionaries({"vectors": vectors(3), "pids": labels(3), "camids": labels(3)}),
    st.fixed_dictionaries({"query": vectors(2), "query_pids": labels(2), "query_camids": labels(2)}),
    st.booleans(),
)
def test_pool_multi_query(pool: dict[str, Any], query: dict[str, Any], sound: bool) -> None:
    if sound:
        pool["vectors"], query["query"] = np.eye(3, DIM), np.eye(2, DIM)
    found = ends_well(lambda: pool_multi_query(**pool, **query))
    assert isinstance(found, UserError) or np.isfinite(found[0]).all()


@fuzz(200)
@given(st.sampled_from([average_precision, inverse_negative_penalty]), junk_array() | junk())
@example(average_precision, [float("nan")])
@example(average_precision, [1.5, 2.5])
def test_ranks(score: Callable[..., float], ranks: Any) -> None:
    found = ends_well(lambda: score(ranks))
    assert isinstance(found, UserError) or 0 < found <= 1


@fuzz(120)
@given(vectors(6), labels(6), st.integers(1, 5) | NUMBER, st.floats(0, 1) | NUMBER, vectors(2))
def test_projection(rows: Any, pids: Any, dim: Any, shrinkage: Any, others: Any) -> None:
    projection = ends_well(lambda: fit_lda(rows, pids, dim=dim, shrinkage=shrinkage))
    if isinstance(projection, UserError):
        projection = fit_lda(np.arange(24.0).reshape(6, 4) ** 1.5, [0, 0, 1, 1, 2, 2])
    found = ends_well(lambda: projection(others))
    assert isinstance(found, UserError) or np.isfinite(found).all()


@fuzz(120)
@given(
    st.dictionaries(st.text(max_size=3), labels(4), max_size=3),
    labels(4),
    st.fixed_dictionaries(
        {},
        optional={"count": NUMBER.filter(lambda n: not _large(n)), "seed": NUMBER, "level": st.floats(0, 1) | NUMBER},
    ),
)
def test_bootstrap_intervals(values: Any, groups: Any, options: dict[str, Any]) -> None:
    found = ends_well(lambda: bootstrap_intervals(values, groups, **options))
    assert isinstance(found, UserError) or all(low <= high for low, high in found.values())


@fuzz(80)
@given(
    st.fixed_dictionaries(
        {
            "mean_ap": st.floats(0, 1) | NUMBER,
            "mean_inp": st.floats(0, 1) | NUMBER,
            "cmc": st.lists(st.floats(0, 1)).map(sorted) | junk_array(),
            "per_query": st.just(pd.DataFrame({"valid": [True], "first_rank": [1]})) | junk(),
            "metric": st.just("cosine"),
            "ap": st.just("plain") | junk(),
            "rule": st.just("official"),
            "n_gallery": st.just(3),
        }
    ),
    NUMBER,
)
def test_results(given_arguments: dict[str, Any], k: Any) -> None:
    result = ends_well(lambda: RetrievalResult(**given_arguments))
    if not isinstance(result, UserError):
        ends_well(lambda: result.rank(k))
        repr(result), result._repr_html_()


@fuzz(80)
@given(at=st.integers(0, 5000), value=st.binary(min_size=1, max_size=8), table=st.booleans())
def test_damaged_results(tmp_path_factory: pytest.TempPathFactory, at: int, value: bytes, table: bool) -> None:
    folder: Path = tmp_path_factory.getbasetemp() / "fuzz_result"
    evaluate(**good(0), max_rank=5).save(folder)
    file = folder / ("per_query.parquet" if table else "retrieval.json")
    content = bytearray(file.read_bytes())
    at %= len(content)
    content[at : at + len(value)] = value
    file.write_bytes(bytes(content))
    loaded = ends_well(lambda: RetrievalResult.load(folder))
    if not isinstance(loaded, UserError):
        repr(loaded)
