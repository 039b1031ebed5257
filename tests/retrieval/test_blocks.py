"""Neither the size of blocks nor the number of threads changes a bit of a result."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from reidlab.retrieval import evaluate, ranking, scoring, sharded, shards
from reidlab.retrieval.blas import one_blas_thread

N_QUERY, N_GALLERY = 300, 2500
ROW_MIB = N_GALLERY * 4 / 2**20


def close_calls(seed: int) -> dict[str, Any]:
    """Images that hardly differ, so that the last bits of products decide on ranks; some queries twice."""
    rng = np.random.default_rng(seed)
    query = rng.standard_normal((N_QUERY, 16))
    query[rng.integers(0, N_QUERY, 30)] = query[rng.integers(0, N_QUERY, 30)]
    gallery = rng.standard_normal((40, 16))[rng.integers(0, 40, N_GALLERY)]
    gallery = gallery * (1 + 2e-7 * rng.integers(0, 3, gallery.shape))
    return {
        "query": query.astype(np.float32),
        "gallery": gallery.astype(np.float32),
        "query_pids": rng.integers(0, 30, N_QUERY),
        "gallery_pids": rng.integers(-1, 30, N_GALLERY),
    }


def bits_by_shape(query: np.ndarray, gallery: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Multiply as a BLAS may: last bits depend on the shape of the matrices and on the place in them."""
    found = np.matmul(query, gallery.T, out=out)
    row, column = np.ogrid[: found.shape[0], : found.shape[1]]
    found *= 1 + np.float32(2**-22) * ((3 * row + 5 * column + 7 * sum(found.shape)) % 11 - 5).astype(np.float32)
    return found


@pytest.mark.parametrize("rule", ["official", "drop_same_camera"])
@pytest.mark.parametrize("shaped", [False, True])
@pytest.mark.parametrize("large", [0, 2**62])
def test_no_bit_depends_on_blocks_or_threads(
    shaped: bool, large: int, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shaped:
        monkeypatch.setattr(scoring, "product", bits_by_shape)
    for module in (ranking, shards):
        monkeypatch.setattr(module, "LARGE", large)
    panels: list[int] = []
    monkeypatch.setattr(
        ranking, "rank_in_panels", lambda *given: panels.append(given[3]) or sharded.rank_in_panels(*given)
    )
    data = close_calls(0)
    data |= {"query_camids": np.arange(N_QUERY) % 3, "gallery_camids": np.arange(N_GALLERY) % 3}
    frames = []
    # the last ones hold less than the rows of a product: panels of 1,024 and 2,048 images
    for threads, rows in ((1, 10_000), (1, 64), (2, 10_000), (2, 130), (3, 200), (8, 64), (2, 5), (1, 30), (1, 55)):
        monkeypatch.setattr(ranking, "n_threads", lambda n=threads: n)
        frames.append(evaluate(**data, rule=rule, block_mib=(rows + 0.5) * ROW_MIB).per_query)
    assert panels == [1024, 1024, 1024, 2048]
    for frame in frames[1:]:
        pd.testing.assert_frame_equal(frame, frames[0], check_exact=True)


def test_distances_that_somebody_gives_are_those_that_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    """They have no panels: a panel is scored by its vectors."""
    monkeypatch.setattr(ranking, "rank_in_panels", None)
    data = close_calls(0)
    distances = np.random.default_rng(1).random((N_QUERY, N_GALLERY)).astype(np.float32)
    frames = []
    for threads, rows in ((1, 10_000), (2, 130), (2, 64), (2, 5), (8, 1), (1, 0.1)):
        monkeypatch.setattr(ranking, "n_threads", lambda n=threads: n)
        frames.append(evaluate(**data, rerank=distances, block_mib=rows * ROW_MIB).per_query)
    for frame in frames[1:]:
        pd.testing.assert_frame_equal(frame, frames[0], check_exact=True)
    by_vectors = evaluate(**data).per_query
    assert (by_vectors["ap"] != frames[0]["ap"]).any()


def test_shares_stay_within_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    for n in (1, 2, 8):
        monkeypatch.setattr(ranking, "n_threads", lambda n=n: n)
        for lines in (1, 63, 64, 65, 3368, 11659):
            for n_gallery in (0, 1, 24, 1000, 15913, 82161, 515913, 10**8):
                for block_mib in (1e-4, 1, 128, 512):
                    threads, step, panel = ranking._shares(lines, n_gallery, 4, block_mib)
                    assert 1 <= threads <= n and step >= 1 and step % scoring.ROWS == 0
                    assert panel == n_gallery or panel % scoring.COLUMNS == 0
                    held = threads * min(step, lines) * 4 * panel / 2**20
                    assert held <= block_mib or (threads, step, panel) == (1, scoring.ROWS, scoring.COLUMNS)
                    threads, step, panel = ranking._shares(lines, n_gallery, 4, block_mib, None)
                    held = threads * min(step, lines) * 4 * panel / 2**20
                    assert panel == n_gallery and (held <= block_mib or threads * step == 1)
    # of eight threads four have room; panels let all work, unless most products were made twice
    assert ranking._shares(3368, 515913, 4, 512) == (8, 64, 256 * 1024)
    assert ranking._shares(3368, 515913, 4, 512, per_line=17) == (4, 64, 515913)
    monkeypatch.setattr(ranking, "n_threads", lambda: 2)
    assert ranking._shares(1000, 1_000_000, 4, 512) == (2, 64, 1_000_000)
    assert ranking._shares(1000, 10_000_000, 4, 512) == (2, 64, 1024 * 1024)
    assert ranking._shares(10, 10_000_000, 4, 512)[2] == 10_000_000  # few queries: their rows have room


def test_a_matrix_times_itself() -> None:
    """NumPy multiplies those by another routine, whose bits differ from those of a copy."""
    data = close_calls(1)
    same = {"gallery": data["query"], "gallery_pids": data["query_pids"]}
    copied = evaluate(**(data | same | {"gallery": data["query"].copy()}))
    pd.testing.assert_frame_equal(evaluate(**(data | same)).per_query, copied.per_query, check_exact=True)


def blas_threads() -> set[int]:
    return {each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"}


def test_one_blas_thread_at_a_time() -> None:
    seen: list[set[int]] = []

    def other() -> None:
        with one_blas_thread():
            seen.append(blas_threads())

    thread = threading.Thread(target=other)
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        with one_blas_thread(), one_blas_thread():
            thread.start()
            thread.join(0.2)
            assert thread.is_alive() and not seen and blas_threads() == {1}
        assert blas_threads() == before
        thread.join(20)
        with pytest.raises(RuntimeError), one_blas_thread():
            raise RuntimeError
        assert blas_threads() == before
    assert not thread.is_alive() and len(seen) == 1
