"""Time `evaluate` against the bare matrix product at Market-1501's sizes.

    python benchmarks/evaluate.py [--query 3368] [--gallery 15913] [--dim 512] [--runs 7] [--structured]

Random unit vectors by default (every rank is needed over the whole row: the worst case); `--structured` gives
each identity a centre so that scores look like a trained model's. Runs alternate, medians are printed.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
import tracemalloc

import numpy as np

from reidlab.retrieval.metrics import evaluate
from reidlab.retrieval.ranking import n_threads


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in (("query", 3368), ("gallery", 15913), ("dim", 512), ("runs", 7)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--structured", action="store_true")
    given = parser.parse_args()
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
