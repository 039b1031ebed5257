"""Search: build time, time per query, recall and memory of each kind of index, beside faiss and NumPy.

    python benchmarks/search.py [--images 100000] [--dim 512] [--identities 4000] [--kinds flat hnsw ...] [--json FILE]

Vectors lie around a centre an identity, as a trained model's do; queries are other images of the same identities. Each
row is measured in a process of its own, one after the other, on the same vectors. Memory is what the process holds
beyond the vectors that it was given, mapped files left out: after building, and after loading what was saved. Times
are on the clock and of the processor; on a busy machine the latter tell more (with OMP_NUM_THREADS=1). Indexes
of faiss alone have the options that ours of the same kind has by default; what does not run has a row that says so.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil

K = 10
QUERIES = 64
PEERS = ("numpy", "faiss.IndexFlatIP", "faiss.IndexIVFFlat", "faiss.IndexIVFPQ", "faiss.IndexHNSWFlat")
KINDS = ("flat", "binary", "ivf", "ivf_pq", "hnsw")
Search = Callable[[np.ndarray], np.ndarray]


def make(folder: Path, images: int, dim: int, identities: int) -> None:
    """Write vectors and queries of length 1, and the exact answer."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((identities, dim), dtype=np.float32)
    for name, count in (("vectors", images), ("queries", QUERIES)):
        drawn = rng.standard_normal((count, dim), dtype=np.float32) * 0.7
        drawn += centres[rng.integers(0, identities, count)]
        np.save(folder / f"{name}.npy", drawn / np.linalg.norm(drawn, axis=1, keepdims=True))
    vectors, queries = (np.load(folder / f"{name}.npy") for name in ("vectors", "queries"))
    np.save(folder / "exact.npy", np.argsort(-(queries @ vectors.T), axis=1)[:, :K])


def held() -> float:
    """Return the MB that this process holds itself, mapped files left out."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().split("RssAnon:")[1].split()[0]) / 1000
    return psutil.Process().memory_info().rss / 1e6


def with_numpy(vectors: np.ndarray) -> Search:
    def search(queries: np.ndarray) -> np.ndarray:
        scores = queries @ vectors.T
        best = np.argpartition(-scores, K, axis=1)[:, :K]
        order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1)
        return np.take_along_axis(best, order, axis=1)

    return search


def with_faiss(kind: str, vectors: np.ndarray) -> Search:
    """Build an index of faiss alone, with the options that ours has by default."""
    import faiss

    count, dim = vectors.shape
    if kind == "faiss.IndexFlatIP":
        index = faiss.IndexFlatIP(dim)
    elif kind == "faiss.IndexHNSWFlat":
        index = faiss.IndexHNSWFlat(dim, 16)
        index.hnsw.efConstruction, index.hnsw.efSearch = 100, 64
    else:
        lists, kept = int(2 * count**0.5), "Flat" if kind == "faiss.IndexIVFFlat" else f"PQ{dim // 8}"
        index = faiss.index_factory(dim, f"IVF{lists},{kept}")
        index.train(vectors)
        index.nprobe = 16
    index.add(vectors)
    return lambda queries: index.search(queries, K)[1]


def built(kind: str, vectors: np.ndarray, folder: Path) -> tuple[Search, dict[str, Any]]:
    """Build an index and measure what it takes; peers have no folder."""
    if kind != "numpy":
        import faiss  # noqa: F401 - libraries are loaded before memory is measured

    from reidlab.retrieval import Index
    from reidlab.retrieval.index import core

    before, start, cpu = held(), time.perf_counter(), time.process_time()
    if kind in PEERS:
        search = with_numpy(vectors) if kind == "numpy" else with_faiss(kind, vectors)
    else:
        core.measure = lambda index: {}  # what it measures itself takes a second, and is no part of building
        index = Index.build(vectors, [str(row) for row in range(len(vectors))], kind=kind)
    about = {"build_s": time.perf_counter() - start, "cpu_s": time.process_time() - cpu, "memory_mb": held() - before}
    if kind in PEERS:
        return search, about
    index.save(folder / kind)
    about["disk_mb"] = sum(path.stat().st_size for path in (folder / kind).iterdir()) / 1e6
    return lambda queries: index.search(queries, K)[1], about


def measure(kind: str, folder: Path) -> dict[str, Any]:
    """Measure one row in this process."""
    queries, exact = np.load(folder / "queries.npy"), np.load(folder / "exact.npy")
    search, found = built(kind, np.load(folder / "vectors.npy"), folder)
    mine = search(queries)
    found["recall"] = float(np.mean([len(set(a) & set(b)) / K for a, b in zip(mine.tolist(), exact.tolist())]))
    for count, rounds in ((1, QUERIES), (QUERIES, 7)):
        times, cpu = [], []
        for at in range(rounds):
            part = queries[at : at + 1] if count == 1 else queries
            start, spent = time.perf_counter(), time.process_time()
            search(part)
            times.append(time.perf_counter() - start)
            cpu.append(time.process_time() - spent)
        found[f"ms_{count}"] = statistics.median(times) * 1000
        found[f"cpu_ms_{count}"] = statistics.median(cpu) * 1000
    return found


def load(kind: str, folder: Path) -> dict[str, Any]:
    """Measure loading in this process."""
    import faiss  # noqa: F401 - libraries are loaded before memory is measured

    from reidlab.retrieval import Index

    before, start = held(), time.perf_counter()
    index = Index.load(folder / kind)
    return {"load_s": time.perf_counter() - start, "loaded_mb": held() - before, "said": index.said}


def child(what: str, kind: str, folder: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, "--child", what, kind, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return {"why": done.stderr.strip().splitlines()[-1]}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def number(value: float | None, digits: int = 1) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("images", 100_000), ("dim", 512), ("identities", 4000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--kinds", nargs="+", default=[*PEERS, *KINDS])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        what, kind, folder = given.child
        print(json.dumps((measure if what == "measure" else load)(kind, Path(folder))))
        return
    rows: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make(folder, given.images, given.dim, given.identities)
        for kind in given.kinds:
            rows[kind] = child("measure", kind, folder)
            if kind not in PEERS and "why" not in rows[kind]:
                rows[kind] |= child("load", kind, folder)
            print(kind, rows[kind], file=sys.stderr, flush=True)
            if given.json:
                given.json.write_text(json.dumps(rows, indent=1))
    load_now = ", ".join(f"{value:.1f}" for value in psutil.getloadavg())
    print(f"{given.images:,} x {given.dim}, {platform.machine()}, {psutil.cpu_count()} processors, load {load_now}\n")
    print(
        "| | build, s | of CPU, s | 1 query, ms | of CPU, ms | 64 queries, ms | of CPU, ms | recall@10 | memory, MB "
        "| on disk, MB | load, s | loaded, MB |"
    )
    print(f"|{'---|' * 12}")
    for kind, row in rows.items():
        if "why" in row:
            print(f"| {kind} | not measured: {row['why']} {'| ' * 10}|")
            continue
        cells = [kind, number(row["build_s"]), number(row["cpu_s"]), number(row["ms_1"], 2), number(row["cpu_ms_1"], 2)]
        cells += [number(row["ms_64"]), number(row["cpu_ms_64"]), number(row["recall"], 3)]
        cells += [number(row.get(name)) for name in ("memory_mb", "disk_mb", "load_s", "loaded_mb")]
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
