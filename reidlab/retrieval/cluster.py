"""Evaluate on several processes or machines: the gallery is shared out among the workers of Dask."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_info

import reidlab
from reidlab.errors import UserError, shown
from reidlab.retrieval import deaf
from reidlab.retrieval.checks import check_whole
from reidlab.retrieval.inputs import Problem, problem_of
from reidlab.retrieval.matching import Matches
from reidlab.retrieval.metrics import check_options, per_query_frame, summarize
from reidlab.retrieval.outcome import RetrievalResult
from reidlab.retrieval.placed import place_of
from reidlab.retrieval.precision import in_precision
from reidlab.retrieval.ranking import n_threads
from reidlab.retrieval.scoring import Scorer
from reidlab.retrieval.sharded import cut, rank_sharded, shard_starts
from reidlab.retrieval.shards import Shard
from reidlab.retrieval.vectors import Embeddings, Labels

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["evaluate_distributed", "explained", "threads_of", "workers_of"]

TIMEOUT = 5  # seconds to wait for a scheduler, and for its first worker
MOST_WORKERS = 256
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
_LARGER = "The memory of each must hold its part of the gallery: take more of them, or larger ones."


def evaluate_distributed(
    query: Embeddings | npt.ArrayLike,
    gallery: Embeddings | npt.ArrayLike,
    *,
    query_pids: npt.ArrayLike | None = None,
    gallery_pids: npt.ArrayLike | None = None,
    query_camids: npt.ArrayLike | None = None,
    gallery_camids: npt.ArrayLike | None = None,
    metric: str = "cosine",
    ap: str = "plain",
    max_rank: int = 50,
    bootstrap: int = 0,
    seed: int = 0,
    rule: str = "official",
    query_images: npt.ArrayLike | None = None,
    gallery_images: npt.ArrayLike | None = None,
    precision: str = "full",
    scheduler: str = "",
    workers: int = 2,
) -> RetrievalResult:
    """Do what `evaluate` does, with the gallery shared out among the workers of a Dask cluster.

    Ranks are those of `evaluate`, ties included. Every product is made a second time, except where a gallery has no
    matches: one machine whose memory holds the gallery is faster alone. What this gives is the memory and the
    processors of several machines. Workers need the same version of reidlab; where their processors or their BLAS
    differ, scores differ in their last bits, and the result's notes say so. In a script that starts processes the call
    stands below `if __name__ == "__main__":`, as always with Python's multiprocessing.

    Args:
        query: as in `evaluate`, and so are all arguments that are not listed here.
        gallery: the same; it may be memory-mapped, and is sent one part after another. Processes that are started here
            map a mapped file themselves: it may be larger than the memory.
        query_pids: identities [query].
        gallery_pids: identities [gallery].
        query_camids: cameras [query] or None.
        gallery_camids: cameras [gallery] or None.
        metric: "cosine" or "euclidean".
        ap: "plain" or "trapezoid".
        max_rank: length of the CMC curve.
        bootstrap: draws for intervals.
        seed: of those draws.
        rule: "official", "no_camera" or "drop_same_camera".
        query_images: what each query is [query].
        gallery_images: what each gallery image is [gallery].
        precision: "full", "float32", "bfloat16" or "float16".
        scheduler: address of a running Dask scheduler, "tcp://10.0.0.5:8786", all of whose workers take part; "" starts
            processes here and ends them again.
        workers: how many processes that are.

    Raises:
        UserError: no scheduler answers within seconds, it has no workers, one was lost, or as `evaluate`.
    """
    max_rank, bootstrap, seed = check_options(ap, rule, max_rank, bootstrap, seed)
    workers = check_whole("workers", workers, 1, MOST_WORKERS)
    if not isinstance(scheduler, str):
        raise UserError(f"scheduler={shown(scheduler)} must be the address of a Dask scheduler, or '' for processes.")
    labels = Labels(query_pids, query_camids, query_images), Labels(gallery_pids, gallery_camids, gallery_images)
    problem = in_precision(problem_of(query, gallery, *labels, metric=metric), precision)
    rule = rule if problem.query_cams is not None else "no_camera"
    # Dask takes pages of a mapped file for memory that a worker uses up, and ends it
    in_file = place_of(problem.gallery) is not None
    with workers_of(scheduler, workers, watched=not in_file) as client, explained(_LARGER):
        matches, notes = _ranked(client, problem, rule, direct=not scheduler)
    frame = per_query_frame(matches, ap=ap, pids=problem.query_ids, camids=problem.query_cam_ids)
    result = summarize(frame, problem, rule=rule, ap=ap, max_rank=max_rank, bootstrap=bootstrap, seed=seed)
    return replace(result, precision=precision, notes=result.notes + notes)


@contextmanager
def workers_of(
    scheduler: str,
    workers: int,
    *,
    threads: int | None = None,
    env: Mapping[str, str] | None = None,
    watched: bool = True,
) -> Iterator[Client]:
    """Connect to a scheduler that has workers, or start processes here, which end with the `with` block.

    Args:
        scheduler: its address; "" starts processes here.
        workers: how many processes those are.
        threads: tasks that each of them works on at a time; None: their share of the processor cores.
        env: variables of their environment.
        watched: Dask ends those that use more than their share of the memory.

    Raises:
        UserError: nothing that is a Dask scheduler answers at the address, or it has no workers.
    """
    from distributed import Client, LocalCluster

    if not scheduler:
        pages = {"dashboard_address": "127.0.0.1:0", "worker_dashboard_address": "127.0.0.1:0"}  # any free port
        settings: dict[str, Any] = {"host": "127.0.0.1", "silence_logs": logging.CRITICAL, **pages}
        threads = threads or max(1, n_threads() // workers)
        settings |= {} if watched else {"memory_limit": 0}
        settings |= {"threads_per_worker": threads, "env": dict(env or {}), "preload": [deaf.__name__]}
        with (
            LocalCluster(n_workers=workers, **settings) as cluster,
            Client(cluster, set_as_default=False) as client,
        ):
            yield client
        return
    _check_scheduler(scheduler)
    with Client(scheduler, timeout=TIMEOUT, set_as_default=False) as client:
        try:
            client.wait_for_workers(1, timeout=TIMEOUT)
        except TimeoutError:
            raise UserError(
                f"the Dask scheduler at {scheduler} has no workers: start some there (dask worker {scheduler})."
            ) from None
        yield client


def _check_scheduler(address: str) -> None:
    """Ask whoever listens at an address what it is; a client would try for long, and leave threads behind."""
    from distributed.core import rpc
    from distributed.security import Security

    async def ask() -> Mapping[str, Any]:
        secured = Security().get_connection_args("client")
        async with rpc(address, timeout=TIMEOUT, connection_args=secured) as there:
            found: Mapping[str, Any] = await asyncio.wait_for(there.identity(), TIMEOUT)
            return found

    try:
        with ThreadPoolExecutor(1) as pool:  # a notebook has a loop in its main thread
            found = pool.submit(asyncio.run, ask()).result()
    except Exception as error:  # whatever comes of speaking to something else
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"scheduler={shown(address)}: no Dask scheduler answers there ({first}). Start one (dask scheduler), give "
            "its address, tcp://host:8786, or scheduler='' for processes on this machine."
        ) from None
    if found.get("type") != "Scheduler":
        raise UserError(f"scheduler={shown(address)} is a Dask {found.get('type')}: give the address of its scheduler.")


def threads_of(share: int) -> dict[str, str]:
    """Return the variables that give a worker's libraries so many threads: the user's OMP_NUM_THREADS comes first.

    All get the same number, except where the user set one of its own: OpenMP with one thread below an MKL with two made
    a training 15 times slower.
    """
    common = os.environ.get("OMP_NUM_THREADS", str(share))
    return {name: os.environ.get(name, common) for name in _THREADS}


@contextmanager
def explained(remedy: str) -> Iterator[None]:
    """Turn what happens when workers are lost, or have no reidlab, into advice."""
    from distributed.scheduler import KilledWorker

    try:
        yield
    except (KilledWorker, CancelledError, OSError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"a Dask worker was lost ({first}). {remedy}") from error
    except ImportError as error:
        raise UserError(
            f"a Dask worker cannot import what it needs ({error}): install the same reidlab ({reidlab.__version__}) "
            "where the workers run."
        ) from error


@dataclass(frozen=True)
class _Given:
    """Arguments, as one object that is sent to one worker."""

    values: tuple[Any, ...]


def _call(method: str, shard: Shard, lines: npt.NDArray[Any], given: _Given) -> Any:
    return getattr(shard, method)(lines, *given.values)


def _kind() -> tuple[str, str]:
    """Return the version of reidlab, and what NumPy multiplies with."""
    built: Any = np.show_config("dicts")
    own = built["Build Dependencies"]["blas"]
    # other packages (faiss) bring libraries of their own, which can be loaded before
    loaded = [each for each in threadpool_info() if each["user_api"] == "blas" and each["version"] == own["version"]]
    architecture = loaded[0].get("architecture") if loaded else ""
    return reidlab.__version__, f"{own['name']} {own['version']} {architecture}".strip()


def _ranked(client: Client, problem: Problem, rule: str, *, direct: bool) -> tuple[Matches, tuple[str, ...]]:
    """Rank on the workers of a client; also give notes for the result."""
    info = client.scheduler_info(n_workers=-1)["workers"]
    starts = shard_starts(len(problem.gallery), len(info))
    places = sorted(info)[: len(starts) - 1]
    notes = _notes(client, places)
    scorer = Scorer(problem)
    lines = problem.query[np.unique(scorer.query_first)]

    def send(what: Any, *there: str) -> Any:
        return client.scatter(what, workers=list(there), broadcast=len(there) > 1, direct=direct or None, hash=False)

    queries = send(lines, *places)
    shards = [
        send(shard.by_place() if direct else shard, place)  # `direct`: processes of this machine
        for shard, place in zip(cut(problem, scorer, rule, starts), places)
    ]

    def call(method: str, arguments: Iterable[tuple[Any, ...]]) -> list[Any]:
        found: list[Any] = client.gather(
            [
                client.submit(_call, method, shard, queries, send(_Given(given), place), workers=[place], pure=False)
                for shard, given, place in zip(shards, arguments, places)
            ]
        )
        return found

    threads = [int(info[place]["nthreads"]) for place in places]
    return rank_sharded(problem, scorer, rule, starts, call, threads), notes


def _notes(client: Client, places: Sequence[str]) -> tuple[str, ...]:
    """Refuse workers of other versions; give a note where their products may differ in the last bits."""
    kinds = client.gather([client.submit(_kind, workers=[place], pure=False) for place in places])
    for place, (version, _) in zip(places, kinds):
        if version != reidlab.__version__:
            raise UserError(f"the Dask worker {place} has reidlab {version}, this is {reidlab.__version__}.")
    libraries = sorted({library for _, library in kinds} | {_kind()[1]})
    if len(libraries) == 1:
        return ()
    return (f"multiplied by different libraries, so that last bits of scores differ: {' / '.join(libraries)}",)
