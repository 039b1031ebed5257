"""evaluate against golden values of published code, hand-made lists and a naive loop."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from retrieval_cases import golden, naive, random_data

from reidlab.errors import UserError
from reidlab.retrieval.metrics import average_precision, evaluate, inverse_negative_penalty
from reidlab.retrieval.outcome import RetrievalResult
from reidlab.retrieval.top import rank_gallery
from reidlab.retrieval.top_k import top_k_table


def assert_as_naive(data: dict[str, Any], ap: str = "plain", metric: str = "cosine", **options: Any) -> RetrievalResult:
    result = evaluate(**data, ap=ap, metric=metric, **options)
    wanted = naive(data, ap, metric)
    for row, want in zip(result.per_query.itertuples(), wanted, strict=True):
        assert row.valid == (want is not None)
        if want is not None:
            assert (row.ap, row.inp, row.first_rank) == pytest.approx(want, abs=1e-12)
    good = [want for want in wanted if want is not None]
    assert result.mean_ap == pytest.approx(np.mean([want[0] for want in good]), abs=1e-9)
    assert result.mean_inp == pytest.approx(np.mean([want[1] for want in good]), abs=1e-9)
    for k in (1, 2, 5, 10):
        share = np.mean([want[2] <= k for want in good])
        assert result.cmc[k - 1] == pytest.approx(share) and result.rank(k) == pytest.approx(share)
    return result


def test_golden_official() -> None:
    plain, trapezoid = (evaluate(**golden(), ap=ap) for ap in ("plain", "trapezoid"))
    np.testing.assert_allclose(plain.cmc[:4], [4 / 6, 5 / 6, 5 / 6, 1], atol=1e-12)
    assert plain.mean_ap == pytest.approx(0.75436508, abs=1e-8)
    assert trapezoid.mean_ap == pytest.approx(0.71283069, abs=1e-8)
    assert plain.mean_inp == trapezoid.mean_inp == pytest.approx(0.73809524, abs=1e-8)
    assert plain.camera_rule and plain.n_without_match == 0


@pytest.mark.parametrize("how", ["query", "gallery", "rule"])
def test_golden_without_camera_rule(how: str) -> None:
    data: dict[str, Any] = golden() | ({"rule": "no_camera"} if how == "rule" else {f"{how}_camids": None})
    plain, trapezoid = (evaluate(**data, ap=ap) for ap in ("plain", "trapezoid"))
    assert plain.rank1 == 1
    assert plain.mean_ap == pytest.approx(0.84950397, abs=1e-8)
    assert trapezoid.mean_ap == pytest.approx(0.83263889, abs=1e-8)
    assert plain.mean_inp == pytest.approx(0.77380952, abs=1e-8)
    assert not plain.camera_rule and "no camera rule" in repr(plain)


def test_worked_example() -> None:
    plain = (Fraction(1, 2) + Fraction(2, 3) + Fraction(3, 5)) / 3
    trapezoid = (
        Fraction(0, 1) + Fraction(1, 2) + Fraction(1, 2) + Fraction(2, 3) + Fraction(2, 4) + Fraction(3, 5)
    ) / 6
    assert average_precision([2, 3, 5]) == pytest.approx(float(plain))
    assert (
        average_precision([2, 3, 5], "trapezoid")
        == pytest.approx(float(trapezoid))
        == pytest.approx(0.461111, abs=1e-6)
    )
    assert inverse_negative_penalty([2, 3, 5]) == pytest.approx(3 / 5)
    result = evaluate(
        [[0.0]],
        [[1.0], [2.0], [3.0], [4.0], [5.0]],
        query_pids=["a"],
        gallery_pids=["b", "a", "a", "c", "a"],
        metric="euclidean",
    )
    assert (result.mean_ap, result.mean_inp) == pytest.approx((float(plain), 0.6))
    assert result.cmc[:3].tolist() == [0, 1, 1]
    assert result.per_query["match_distance"][0] == pytest.approx(2) and result.per_query["wrong_distance"][
        0
    ] == pytest.approx(1)


@pytest.mark.parametrize(
    "ranks",
    [
        [],
        [0, 1],
        [2, 2],
        [3, 2],
        [[1]],
        [np.nan],
        [1.5, 2.5],
        [np.inf],
        ["1"],
        [1j],
        [True],
        None,
        3,
        "1",
        [2**70],
        [[1], [1, 2]],
    ],
)
def test_impossible_ranks(ranks: Any) -> None:
    for score in (average_precision, inverse_negative_penalty):
        with pytest.raises(UserError, match="positions from 1"):
            score(ranks)


def test_whole_floats_are_ranks() -> None:
    assert average_precision([2.0, 3.0]) == average_precision(np.array([2, 3], np.uint8)) == average_precision((2, 3))
    with pytest.raises(UserError, match="ap='sum' is not one of plain, trapezoid"):
        average_precision([1], "sum")


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("ap", ["plain", "trapezoid"])
@pytest.mark.parametrize("seed", range(4))
def test_naive_loop(seed: int, ap: str, metric: str) -> None:
    assert_as_naive(random_data(seed), ap, metric)


@pytest.mark.parametrize("seed", range(6))
def test_ties_stand_in_gallery_order(seed: int) -> None:
    """Points of a small integer grid: nearly every row has ties, and every sum is exact."""
    assert_as_naive(random_data(seed, dim=2, grid=True), metric="euclidean")


def duplicates(rng: np.random.Generator, n: int = 101, dim: int = 512) -> dict[str, Any]:
    """Equal gallery images of other people, the right one last: each query finds it at rank n, whatever the block."""
    image = rng.normal(size=dim).astype(np.float32)
    return {
        "query": rng.normal(size=(40, dim)).astype(np.float32),
        "query_pids": np.ones(40, int),
        "gallery": np.tile(image, (n, 1)),
        "gallery_pids": np.array([2] * (n - 1) + [1]),
    }


@pytest.mark.parametrize("n", [2, 17, 101, 128])
@pytest.mark.parametrize("block_mib", [1e-4, 0.01, 64])
def test_equal_images_tie(n: int, block_mib: float) -> None:
    """BLAS multiplies few rows, and the last columns, by other kernels: equal images must get equal scores there too."""
    data = duplicates(np.random.default_rng(n), n)
    for some in (1, 3, 40):
        few = data | {"query": data["query"][:some], "query_pids": data["query_pids"][:some]}
        assert (evaluate(**few, block_mib=block_mib).per_query["first_rank"] == n).all()
        first = few | {"gallery_pids": few["gallery_pids"][::-1]}
        assert (evaluate(**first, block_mib=block_mib).per_query["first_rank"] == 1).all()
        listed = rank_gallery(**few, queries=np.arange(some), k=n)
        assert (listed.loc[listed["flag"] == "right", "position"] == n).all()


def test_tensors_of_a_device_are_taken_from_it() -> None:
    torch = pytest.importorskip("torch")

    class OnDevice(torch.Tensor):
        """Refuses NumPy until it was moved, as tensors of a GPU do."""

        def __array__(self, *_: Any, **__: Any) -> np.ndarray:
            raise TypeError("can't convert cuda:0 device type tensor to numpy")

        def cpu(self) -> Any:
            return self.as_subclass(torch.Tensor)

        def detach(self) -> Any:
            return self

    data = random_data(3)
    moved = {name: torch.from_numpy(np.asarray(value)).as_subclass(OnDevice) for name, value in data.items()}
    assert evaluate(**moved).mean_ap == evaluate(**data).mean_ap


def test_all_equal() -> None:
    data = random_data(0) | {"query": np.ones((17, 3)), "gallery": np.ones((120, 3))}
    assert_as_naive(data)
    assert_as_naive(data, metric="euclidean")


def test_tie_by_hand() -> None:
    common = {"query": [[1.0, 0]], "query_pids": [1], "gallery": [[2.0, 0], [3.0, 0], [1.0, 0]]}
    assert evaluate(**common, gallery_pids=[2, 1, 2]).mean_ap == 1 / 2
    assert evaluate(**common, gallery_pids=[1, 2, 2]).mean_ap == 1
    assert evaluate(**common, gallery_pids=[2, 2, 1]).mean_ap == 1 / 3


def test_separated_identities_take_the_short_way() -> None:
    """Well separated vectors: only the front of each row is sorted."""
    data = random_data(3, n_query=40, n_gallery=900, dim=16)
    centres = np.random.default_rng(9).normal(size=(13, 16)) * 2
    for side in ("query", "gallery"):
        data[side] = data[side] + centres[data[f"{side}_pids"]]
    assert assert_as_naive(data).rank1 > 0.9


def test_strings_and_one_of_each() -> None:
    data = random_data(1)
    strings = data | {name: [f"{value}" for value in data[name]] for name in data if name.endswith("ids")}
    assert evaluate(**strings).mean_ap == evaluate(**data).mean_ap
    assert evaluate(**(strings | {"query_pids": data["query_pids"]})).mean_ap == evaluate(**data).mean_ap
    one = evaluate([[1.0, 2.0]], [[-1.0, 0.5]], query_pids=["a"], gallery_pids=["a"])
    assert (one.mean_ap, one.mean_inp, one.rank1, one.n_gallery) == (1, 1, 1, 1)
    assert np.isnan(one.per_query["wrong_distance"][0])


@pytest.mark.parametrize("grid", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_precision_at_k_by_listing(seed: int, grid: bool) -> None:
    """Junk and images of the query's own camera leave the list before its first k images are looked at."""
    data = random_data(seed, grid=grid)
    frame = evaluate(**data, metric="euclidean").per_query
    for at, vector in enumerate(data["query"]):
        pid, cam = data["query_pids"][at], data["query_camids"][at]
        kept = (data["gallery_pids"] != -1) & ~((data["gallery_pids"] == pid) & (data["gallery_camids"] == cam))
        nearest = np.argsort(((data["gallery"][kept] - vector) ** 2).sum(axis=1), kind="stable")
        right = data["gallery_pids"][kept][nearest] == pid
        for k in (1, 5, 10):
            wanted = right[:k].sum() / k if right.any() else np.nan
            assert frame[f"precision_{k}"][at] == pytest.approx(wanted, nan_ok=True)


def test_precision_agrees_with_the_table_and_may_be_missing(tmp_path: Path) -> None:
    result = evaluate(**golden())
    table = top_k_table(**golden(), ks=(1, 5, 10))
    means = [result.per_query[f"precision_{k}"].mean() for k in (1, 5, 10)]
    assert means == pytest.approx(table["precision"].tolist()) and means[0] == result.rank1
    saved = RetrievalResult.load(result.save(tmp_path / "new"))
    pd.testing.assert_frame_equal(saved.per_query, result.per_query)
    older = result.per_query.drop(columns=["precision_1", "precision_5", "precision_10"])
    result.save(tmp_path / "old")
    older.to_parquet(tmp_path / "old" / "per_query.parquet", index=False)
    assert RetrievalResult.load(tmp_path / "old").scores() == result.scores()


def test_query_without_match_is_counted_not_averaged() -> None:
    data = golden()
    result = evaluate(**(data | {"query_pids": np.array([0, 1, 2, 3, 4, 99])}))
    assert (result.n_query, result.n_valid, result.n_without_match) == (6, 5, 1)
    assert result.mean_ap == pytest.approx(result.per_query["ap"][:5].mean())
    assert result.per_query["first_rank"][5] == 0 and np.isnan(result.per_query["ap"][5])
    assert "1 without a match" in repr(result)


def test_junk_changes_nothing_and_is_counted() -> None:
    data = golden()
    rng = np.random.default_rng(0)
    order = rng.permutation(44)
    more = {
        "gallery": np.concatenate([data["gallery"], np.tile(data["query"], (4, 1))[:20]])[order],
        "gallery_pids": np.concatenate([data["gallery_pids"], np.full(20, -1)])[order],
        "gallery_camids": np.concatenate([data["gallery_camids"], rng.integers(0, 3, 20)])[order],
    }
    result = evaluate(**(data | more))
    assert result.mean_ap == pytest.approx(0.75436508, abs=1e-8)
    assert (result.n_junk, result.n_gallery) == (20, 24)


@pytest.mark.parametrize("block_mib", [1e-4, 0.01, 64])
def test_blocks_do_not_matter(block_mib: float) -> None:
    data = random_data(5, n_query=61, n_gallery=333)
    assert_as_naive(data, block_mib=block_mib)


def test_drop_same_camera() -> None:
    data = random_data(2)
    result = evaluate(**data, rule="drop_same_camera")
    want = []
    for at, camera in enumerate(data["query_camids"]):
        keep = data["gallery_camids"] != camera
        small = {f"query{end}": data[f"query{end}"][at : at + 1] for end in ("", "_pids", "_camids")}
        small |= {f"gallery{end}": data[f"gallery{end}"][keep] for end in ("", "_pids", "_camids")}
        want.append(evaluate(**small).mean_ap)
    np.testing.assert_allclose(result.per_query["ap"], want, atol=1e-12)


def test_float32_near_float64_and_torch_tensors() -> None:
    torch = pytest.importorskip("torch")
    data = random_data(7, n_query=80, n_gallery=700, dim=32)
    small = data | {side: data[side].astype(np.float32) for side in ("query", "gallery")}
    wide, narrow = evaluate(**data), evaluate(**small)
    assert narrow.mean_ap == pytest.approx(wide.mean_ap, abs=1e-4)
    tensors = {name: torch.from_numpy(value) for name, value in small.items()}
    tensors["query"].requires_grad_()
    assert evaluate(**tensors).mean_ap == narrow.mean_ap


def test_inputs_are_left_alone() -> None:
    data = random_data(0)
    before = {name: value.copy() for name, value in data.items()}
    evaluate(**data)
    for name, value in data.items():
        np.testing.assert_array_equal(value, before[name])


BAD: list[tuple[dict[str, Any], str]] = [
    ({"metric": "cosin"}, "Did you mean 'cosine'"),
    ({"ap": "sklearn"}, "plain, trapezoid"),
    ({"rule": "none"}, "official"),
    *[({"max_rank": v}, f"max_rank={v!r} must be a whole number") for v in (0, 2.5, "5", None, True, -1, 10**12)],
    *[({"bootstrap": v}, f"bootstrap={v!r} must be a whole number") for v in (-1, 1.0, "x", None, 10**9, False)],
    *[({"seed": v, "bootstrap": 3}, f"seed={v!r} must be a whole number") for v in (-1, 0.5, "a", None, 2**64)],
    *[({"seed": v}, f"seed={v!r} must be a whole number") for v in (-1, None)],  # checked though nothing is drawn
    *[({"block_mib": v}, f"block_mib={v!r} must be a number above 0") for v in (0, -1.0, "1", None)],
    ({"block_mib": float("nan")}, "block_mib=nan must be a number above 0"),
    ({"block_mib": float("inf")}, "block_mib=inf must be a number above 0"),
    *[({name: 3}, f"{name}=3 is not one of") for name in ("metric", "ap", "rule")],
    ({"metric": None}, "metric=None is not one of cosine, euclidean"),
    ({"ap": ["plain"]}, "is not one of plain, trapezoid"),
    ({"query": [[1.0] * 8] * 5 + [[1.0]]}, "every row of one length"),
    ({"query": "abc"}, "query must be numbers of shape"),
    ({"query": [["a"] * 8] * 6}, "query must be numbers of shape"),
    ({"query": np.ones((6, 8), complex)}, "of complex128"),
    ({"query": np.ones((6, 8), object)}, "of object"),
    ({"query": None}, "query must be numbers of shape"),
    ({"query": {"a": 1}}, "query must be numbers of shape"),
    ({"query": [[10**400] * 8] * 6}, "query must be numbers of shape"),
    ({"query": np.ma.array(np.ones((6, 8)), mask=np.eye(6, 8))}, "query is a masked array with masked values"),
    ({"query": scipy.sparse.eye(6, 8)}, r"query is sparse \(dia_matrix\): give query.toarray\(\)"),
    ({"gallery": scipy.sparse.csr_array((24, 8))}, "gallery is sparse"),
    ({"query": np.full((6, 8), 1e-30, np.float32)}, "row 0 is so short that its squared length is lost in float32"),
    ({"query": np.full((6, 8), 1e200)}, "row 0 is too long for float64"),
    ({"query": np.full((6, 8), 4e18, np.float32)}, "row 0 is too long for float32"),
    (
        {"query_pids": np.full(6, 1e300), "gallery_pids": np.full(24, 1e300)},
        r"query_pids is too large a float .*1e\+300",
    ),
    ({"gallery_pids": np.full(24, 2**64 - 1, np.uint64)}, "gallery_pids is beyond the range of 64-bit integers"),
    ({"query_pids": [0, 1, 2, 3, 4, np.inf]}, "query_pids is not a whole number in row 5: inf"),
    ({"query_pids": [0, 1, 2, 3, 4, np.nan]}, "query_pids is missing in row 5"),
    ({"query_pids": [0, 1, 2, 3, 4, 5j]}, "query_pids is neither a number nor text in row 5"),
    ({"query_pids": np.ma.array(range(6), mask=[0, 0, 0, 1, 0, 0])}, "query_pids is masked in row 3"),
    ({"query_camids": [0, 1, 2, 3, 4, np.nan]}, "query_camids is missing in row 5"),
    ({"query_camids": [0, 1], "gallery_camids": None}, "query_camids has shape"),
    ({"query": np.zeros((6, 8))}, "row 0 is all zeros"),
    ({"query": np.full((6, 8), np.nan)}, "NaN"),
    ({"gallery": np.ones((24, 7))}, "8 dims"),
    ({"gallery": np.ones(24)}, "shape"),
    ({"gallery": np.empty((0, 8)), "gallery_pids": [], "gallery_camids": []}, "at least one row"),
    ({"query_pids": [1, 2]}, "has 6 rows"),
    ({"query_pids": [0, 1, 2, 3, 4, -1]}, "row 5 has pid -1"),
    ({"query_pids": [0, 1, 2, 3, 4, 0.5]}, "0.5"),
    ({"query_pids": ["a", None, "b", "c", "d", "e"]}, "missing in row 1"),
    ({"gallery_pids": np.full(24, -1)}, "junk"),
    ({"query_pids": np.arange(6) + 100}, "no query identity is in the gallery"),
    ({"query_camids": np.zeros(6), "gallery_camids": np.zeros(24)}, "one camera"),
    ({"query": np.full((6, 8), 1e30, np.float32)}, "overflows"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_mistakes_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        evaluate(**(golden() | change))


def test_identities_of_every_kind_are_one_person() -> None:
    """1 and 1.0 in one column, uint64, "7 " and "7": the same identity, whatever it came as."""
    data = golden()
    wanted = evaluate(**data).mean_ap
    mixed = [float(pid) if at % 2 else int(pid) for at, pid in enumerate(data["gallery_pids"])]
    texts = {
        name: [f" {pid}" if at % 2 else f"{pid}\t" for at, pid in enumerate(data[name])]
        for name in ("query_pids", "gallery_pids")
    }
    for change in ({"gallery_pids": np.array(mixed, dtype=object)}, {"gallery_pids": data["gallery_pids"].astype(np.uint64)}, texts,
                   {"query_pids": pd.Series(data["query_pids"], dtype="Int64")}):  # fmt: skip
        assert evaluate(**(data | change)).mean_ap == wanted


def test_small_floats_of_torch() -> None:
    torch = pytest.importorskip("torch")
    data = random_data(3)
    for kind in (torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2):
        small = {side: torch.from_numpy(data[side]).to(kind) for side in ("query", "gallery")}
        plain = {side: small[side].float().numpy() for side in small}
        assert evaluate(**(data | small)).mean_ap == evaluate(**(data | plain)).mean_ap
    for odd in (
        torch.ones(17, 5).to_sparse(),
        torch.ones(17, 5, device="meta"),
        torch.ones(17, 5, dtype=torch.complex64),
    ):
        with pytest.raises(UserError, match="query must be numbers of shape"):
            evaluate(**(data | {"query": odd}))


def test_long_vectors_are_compared_to_the_end_of_float32() -> None:
    data = {"query": [[2e18, 0]], "gallery": [[-3e18, 0], [3e18, 1e18]], "query_pids": [1], "gallery_pids": [2, 1]}
    narrow = data | {side: np.array(data[side], np.float32) for side in ("query", "gallery")}
    for metric in ("cosine", "euclidean"):
        row = evaluate(**narrow, metric=metric).per_query.iloc[0]
        assert row["first_rank"] == 1 and np.isfinite(row["wrong_distance"])


def test_first_bad_row_is_named() -> None:
    data = golden()
    data["gallery"] = data["gallery"].copy()
    data["gallery"][[7, 9], 3] = np.inf
    with pytest.raises(UserError, match="gallery has NaN or infinity in 2 of 24 rows, first in row 7"):
        evaluate(**data)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_properties(seed: int) -> None:
    data = random_data(seed, n_query=9, n_gallery=60)
    data["gallery_pids"][:12] = np.arange(12)
    data["gallery_camids"][:12] = 9  # a camera of no query: each has a match
    result = evaluate(**data, max_rank=60)
    order = np.random.default_rng(seed).permutation(60)
    mixed = evaluate(**(data | {name: value[order] for name, value in data.items() if name.startswith("gallery")}))
    assert mixed.mean_ap == pytest.approx(result.mean_ap, abs=1e-12)
    assert (np.diff(result.cmc) >= 0).all() and result.cmc[-1] == 1
    trapezoid = evaluate(**data, ap="trapezoid")
    assert trapezoid.mean_ap <= result.mean_ap + 1e-12


@settings(max_examples=200, deadline=None)
@given(st.sets(st.integers(1, 200), min_size=1, max_size=20), st.data())
def test_ap_of_rank_lists(positions: set[int], data: st.DataObject) -> None:
    """A nearer match never lowers AP or INP. (INP may exceed AP: ranks 10 and 11 give 0.182 and 0.141.)"""
    ranks = sorted(positions)
    plain, trapezoid = average_precision(ranks), average_precision(ranks, "trapezoid")
    assert 0 < trapezoid <= plain + 1e-12 <= 1 + 2e-12
    which = data.draw(st.integers(0, len(ranks) - 1))
    lower = ranks[which - 1] + 1 if which else 1
    if lower < ranks[which]:
        better = [*ranks[:which], data.draw(st.integers(lower, ranks[which] - 1)), *ranks[which + 1 :]]
        assert average_precision(better) > plain
        assert average_precision(better, "trapezoid") > trapezoid
        assert inverse_negative_penalty(better) >= inverse_negative_penalty(ranks)
