"""Dask workers find what one process finds; whatever else listens, or nothing, is said within seconds."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
from retrieval_cases import golden, people, random_data

from reidlab.errors import UserError
from reidlab.retrieval import RetrievalResult, cluster, evaluate, evaluate_distributed

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # Dask closes its sockets later


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """A scheduler with three workers, all of them threads of this process."""
    from distributed import LocalCluster

    settings: dict[str, Any] = {"protocol": "tcp", "host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(
        n_workers=3, threads_per_worker=1, processes=False, silence_logs=logging.ERROR, **settings
    ) as here:
        yield here.scheduler_address


def assert_same(found: RetrievalResult, wanted: RetrievalResult) -> None:
    pd.testing.assert_frame_equal(found.per_query, wanted.per_query, check_exact=True)
    assert repr(found) == repr(wanted) and found.intervals == wanted.intervals
    assert found.cmc.tolist() == wanted.cmc.tolist() and found.conditions() == wanted.conditions()


def test_results_are_those_of_evaluate(scheduler: str) -> None:
    assert_same(evaluate_distributed(**golden(), scheduler=scheduler, bootstrap=20), evaluate(**golden(), bootstrap=20))
    large = random_data(2, n_query=150, n_gallery=4100, dim=7)  # five tiles of products for three workers
    large |= {"query_pids": np.arange(150), "gallery_pids": np.arange(4100) % 160 - 1}
    large["gallery"][3000:3050] = large["gallery"][:50]
    for options in (
        {},
        {"metric": "euclidean", "rule": "drop_same_camera"},
        {"precision": "bfloat16", "ap": "trapezoid"},
    ):
        found = evaluate_distributed(**large, **options, scheduler=scheduler)  # type: ignore[arg-type]
        assert_same(found, evaluate(**large, **options))
    found = evaluate_distributed(people(8, 3), people(8, 6, seed=1), scheduler=scheduler)
    assert_same(found, evaluate(people(8, 3), people(8, 6, seed=1)))


def test_other_libraries_and_versions(scheduler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    here = threading.get_ident()
    monkeypatch.setattr(cluster.reidlab, "__version__", "0.1.0")
    monkeypatch.setattr(cluster, "_kind", lambda: ("0.1.0", "a" if threading.get_ident() == here else "b"))
    (note,) = evaluate_distributed(**golden(), scheduler=scheduler).notes
    assert note.endswith("last bits of scores differ: a / b")
    monkeypatch.setattr(cluster, "_kind", lambda: ("0.0.9", "a"))
    with pytest.raises(UserError, match=r"the Dask worker tcp://\S+ has reidlab 0\.0\.9, this is 0\.1\.0"):
        evaluate_distributed(**golden(), scheduler=scheduler)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ModuleNotFoundError("No module named 'reidlab'"), "cannot import what it needs .*install the same reidlab"),
        (OSError("connection lost\nand more"), r"a Dask worker was lost \(connection lost\).*The memory of each"),
    ],
)
def test_workers_that_fail(scheduler: str, error: Exception, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: Any) -> None:
        raise error

    monkeypatch.setattr(cluster, "_call", fail)
    with pytest.raises(UserError, match=words):
        evaluate_distributed(**golden(), scheduler=scheduler)


def test_nothing_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        port = taken.getsockname()[1]
        for address in (f"tcp://127.0.0.1:{port}", f"127.0.0.1:{port}", "no-port", "http://127.0.0.1:80", "tcp://"):
            with pytest.raises(UserError, match="no Dask scheduler answers there"):
                evaluate_distributed(**golden(), scheduler=address)


def test_something_else_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "TIMEOUT", 1)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            talk, _ = server.accept()
            with talk:
                talk.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 20)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(UserError, match="no Dask scheduler answers there"):
            evaluate_distributed(**golden(), scheduler=f"tcp://127.0.0.1:{server.getsockname()[1]}")
        thread.join(20)


def test_a_worker_is_no_scheduler(scheduler: str) -> None:
    from distributed import Client

    with Client(scheduler, set_as_default=False) as client:
        worker = next(iter(client.scheduler_info()["workers"]))
    with pytest.raises(UserError, match="is a Dask Worker: give the address of its scheduler"):
        evaluate_distributed(**golden(), scheduler=worker)


def test_a_scheduler_without_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    from distributed import LocalCluster

    monkeypatch.setattr(cluster, "TIMEOUT", 1)
    settings: dict[str, Any] = {"protocol": "tcp", "host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    with (
        LocalCluster(n_workers=0, processes=False, silence_logs=logging.ERROR, **settings) as here,
        pytest.raises(UserError, match="has no workers: start some there"),
    ):
        evaluate_distributed(**golden(), scheduler=here.scheduler_address)


def test_bad_arguments() -> None:
    for wrong in (0, 1.5, None, "2", 10**6):
        with pytest.raises(UserError, match=r"workers=.* must be a whole number"):
            evaluate_distributed(**golden(), workers=wrong)  # type: ignore[arg-type]
    for wrong in (None, 8786, ["tcp://127.0.0.1:1"]):
        with pytest.raises(UserError, match="must be the address of a Dask scheduler"):
            evaluate_distributed(**golden(), scheduler=wrong)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="rule='x' is not one of"):
        evaluate_distributed(**golden(), rule="x")
    with pytest.raises(UserError, match="query row 1 has pid -1"):
        evaluate_distributed(**(golden() | {"query_pids": [0, -1, 2, 3, 4, 5]}))


@pytest.mark.slow
def test_two_processes() -> None:
    """They are started, give the same result, and none is left, after an error either."""
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    data = random_data(3, n_query=70, n_gallery=2100, dim=6)
    assert_same(evaluate_distributed(**data, workers=2), evaluate(**data))
    with pytest.raises(ZeroDivisionError), cluster.workers_of("", 1):
        raise ZeroDivisionError
    left = [child for child in psutil.Process().children(recursive=True) if child.pid not in before]
    assert not [child for child in left if "resource_tracker" not in " ".join(child.cmdline())]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, "3 3 3 3"),
        ({"OMP_NUM_THREADS": "1"}, "1 1 1 1"),  # an MKL with more threads than OpenMP is 15 times slower
        ({"OMP_NUM_THREADS": "2", "NUMBA_NUM_THREADS": "4"}, "2 2 2 4"),
        ({"MKL_NUM_THREADS": "1"}, "3 1 3 3"),
    ],
)
def test_all_libraries_of_a_worker_have_as_many_threads(
    given: dict[str, str], wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    for name in names:
        monkeypatch.delenv(name, raising=False)
        if name in given:
            monkeypatch.setenv(name, given[name])
    found = cluster.threads_of(3)
    assert " ".join(found[name] for name in names) == wanted
