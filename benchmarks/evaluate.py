"""Time `evaluate` against the bare matrix product at Market-1501's sizes, or at larger ones from files.

    python benchmarks/evaluate.py [--query 3368] [--gallery 15913] [--dim 512] [--runs 7] [--structured]
    python benchmarks/evaluate.py --case market1501 (or another of CASES) [--runs 3] [--workers 2]

Random unit vectors by default (every rank is needed over the whole row: the worst case); `--structured` gives
each identity a centre so that scores look like a trained model's. Runs alternate, medians are printed.

With `--case` the vectors, structured, lie in files that are memory-mapped, and every run is a process of its own: the
product in blocks of 256 queries, `evaluate`, and with `--workers` `evaluate_distributed`. Rows of a table in Markdown
are printed: seconds on the clock, seconds of the processors (which other work on the machine hardly changes), the peak
of the process's memory (not of its workers) above what it had before and the size of the inputs (`resource.getrusage`),
and those processor seconds that the process itself used: what workers cannot take from it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from threadpoolctl import threadpool_limits

from reidlab.retrieval import evaluate_distributed
from reidlab.retrieval.metrics import evaluate
from reidlab.retrieval.ranking import n_threads

# queries, gallery, identities, cameras, distractors at the end of the gallery
CASES = {
    "market1501": (3368, 15913, 750, 6, 2798),
    "msmt17": (11659, 82161, 3060, 15, 0),
    "distractors": (3368, 515913, 750, 6, 502798),
    "hundredth": (1000, 10_000, 750, 6, 0),  # galleries for the law of its time: 10^4, 10^5, 10^6, 10^7
    "tenth": (1000, 100_000, 4000, 6, 0),
    "million": (1000, 1_000_000, 40_000, 6, 0),
    "ten_million": (1000, 10_000_000, 400_000, 6, 0),  # 20 GB on the disk
}
DIM, BLOCK = 512, 256


def make(n_query: int, n_gallery: int, dim: int, structured: bool) -> dict[str, np.ndarray]:
    """Draw vectors, 750 identities in 6 cameras and 2,798 of 15,913 distractors (pid 0), as in Market-1501."""
    rng = np.random.default_rng(0)
    query_pids = rng.integers(1, 751, n_query)
    gallery_pids = np.where(rng.random(n_gallery) < 2798 / 15913, 0, rng.integers(1, 751, n_gallery))
    data = {"query_pids": query_pids, "gallery_pids": gallery_pids}
    centres = rng.standard_normal((751, dim), dtype=np.float32)
    for name, pids in (("query", query_pids), ("gallery", gallery_pids)):
        vectors = rng.standard_normal((len(pids), dim), dtype=np.float32)
        if structured:
            vectors = 2.2 * vectors + np.where(pids[:, None] > 0, centres[pids], 0).astype(np.float32)
        data[name] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        data[f"{name}_camids"] = rng.integers(1, 7, len(pids))
    return data


def write(folder: Path, case: str) -> None:
    """Write the vectors of a case, block by block, and its labels."""
    n_query, n_gallery, people, cameras, distractors = CASES[case]
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((people + 1, DIM), dtype=np.float32)
    centres[0] = 0
    labels = {}
    for side, n, nobody in (("query", n_query, 0), ("gallery", n_gallery, distractors)):
        pids = rng.integers(1, people + 1, n)
        pids[n - nobody :] = 0
        labels |= {f"{side}_pids": pids, f"{side}_camids": rng.integers(1, cameras + 1, n)}
        with (folder / f"{side}.f32").open("wb") as file:
            for at in range(0, n, 8192):
                part = 2.2 * rng.standard_normal((len(pids[at : at + 8192]), DIM), dtype=np.float32)
                part += centres[pids[at : at + 8192]]
                (part / np.linalg.norm(part, axis=1, keepdims=True)).tofile(file)
    np.savez(folder / "labels.npz", **labels)


def measure(folder: Path, what: str, workers: int) -> dict[str, Any]:
    """Do one thing with the files of a case, in this process."""
    data: dict[str, Any] = dict(np.load(folder / "labels.npz"))
    for side in ("query", "gallery"):
        shape = (len(data[f"{side}_pids"]), DIM)
        data[side] = np.memmap(folder / f"{side}.f32", np.float32, mode="r", shape=shape)
    few = {name: np.array(value[:8000]) for name, value in data.items()}
    if what == "evaluate":
        evaluate(**few)  # whatever is loaded and compiled once
    before, whole = psutil.Process().memory_info().rss, os.times()
    began, said = time.perf_counter(), ""
    if what == "product":
        with threadpool_limits(n_threads(), user_api="blas"):
            out = np.empty((BLOCK, len(data["gallery"])), np.float32)
            for at in range(0, len(data["query"]), BLOCK):
                block = data["query"][at : at + BLOCK]
                np.matmul(block, data["gallery"].T, out=out[: len(block)])
    elif what == "evaluate":
        said = repr(evaluate(**data))
    else:
        said = repr(evaluate_distributed(**data, workers=workers))
    seconds, peak = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    used = sum(os.times()[:4]) - sum(whole[:4])  # of workers too, which have ended
    own = sum(os.times()[:2]) - sum(whole[:2])
    inputs = sum(data[side].nbytes for side in ("query", "gallery"))
    return {"seconds": seconds, "cpu": used, "own": own, "above": (peak - before - inputs) / 2**20, "said": said}


def compare(case: str, runs: int, workers: int) -> None:
    """Measure a case, each run in its own process, and print rows of a table."""
    kinds = ["product", "evaluate"] + (["distributed"] if workers else [])
    with tempfile.TemporaryDirectory() as name:
        write(Path(name), case)
        found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in kinds}
        for _ in range(runs):
            for kind in kinds:
                command = [sys.executable, __file__, "--measure", name, kind, "--workers", str(workers)]
                text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                found[kind].append(json.loads(text.splitlines()[-1]))
    n_query, n_gallery = CASES[case][:2]
    base = {of: statistics.median(run[of] for run in found["product"]) for of in ("seconds", "cpu")}
    for kind, measured in found.items():
        middle = {of: statistics.median(run[of] for run in measured) for of in ("seconds", "cpu", "own", "above")}
        wall, used = middle["seconds"] / base["seconds"], middle["cpu"] / base["cpu"]
        print(
            f"| {case} | {n_query:,} x {n_gallery:,} | {kind} | {middle['seconds']:.1f} | {wall:.2f} | "
            f"{middle['cpu']:.1f} | {used:.2f} | {middle['above']:.0f} | {middle['own']:.2f} |"
        )
    assert len({run["said"] for kind in kinds[1:] for run in found[kind]}) == 1, "all of them found the same"
    print(found["evaluate"][0]["said"], f"{n_threads()} threads, load {os.getloadavg()[0]:.1f}", sep="\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("query", 3368), ("gallery", 15913), ("dim", 512), ("runs", 7)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--structured", action="store_true")
    parser.add_argument("--case", choices=CASES)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measure(Path(given.measure[0]), given.measure[1], given.workers)))
        return
    if given.case:
        compare(given.case, given.runs, given.workers)
        return
    data = make(given.query, given.gallery, given.dim, given.structured)
    product = np.empty((given.query, given.gallery), np.float32)
    bare, whole = [], []
    for _ in range(given.runs):
        start = time.perf_counter()
        np.matmul(data["query"], data["gallery"].T, out=product)
        bare.append(time.perf_counter() - start)
        time.sleep(0.2)  # BLAS threads spin for some 30 ms after a product: time that is not evaluate's
        start = time.perf_counter()
        result = evaluate(**data)
        whole.append(time.perf_counter() - start)
    product_mib = product.nbytes / 2**20
    del product
    tracemalloc.start()
    evaluate(**data)
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    a, b = statistics.median(bare), statistics.median(whole)
    print(result)
    print(f"{given.query:,} x {given.gallery:,} x {given.dim}, float32, {n_threads()} threads, {given.runs} runs")
    print(f"bare product {a:.3f} s (least {min(bare):.3f}), evaluate {b:.3f} s (least {min(whole):.3f})")
    print(f"ratio of medians {b / a:.2f}, of the least {min(whole) / min(bare):.2f}")
    print(f"peak extra memory of evaluate {peak:.0f} MiB (the full product takes {product_mib:.0f} MiB); ", end="")
    print(f"process peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
