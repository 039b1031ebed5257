"""Time k-reciprocal re-ranking, and measure its memory, beside the published NumPy code.

    python benchmarks/rerank.py --reference PATH [--embeddings FOLDER] [--query 3368] [--gallery 15913] [--dim 512]
        [--runs 3]

PATH is a Python file of a local checkout that defines `re_ranking(q_g_dist, q_q_dist, g_g_dist, k1, k2, lambda_value)`,
such as python-version/re_ranking_ranklist.py of zhunzhong07/person-re-ranking, or fast-reid's or torchreid's. Without
it ours is measured alone. FOLDER holds embeddings (`reports/runs/embeddings/NAME`); without it people are random
clusters of Market-1501's size. Each is measured in a process of its own, in turn, `--runs` times, of which medians are
printed: its time on the clock and of the processors (which other work on the machine changes less), and the peak of its
memory above the vectors. What numba compiled is loaded before. The published function gets Euclidean distances of
vectors of length 1, whose making is timed apart; ours makes its own. Both rankings are scored by the same `evaluate`.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from evaluate import make

from reidlab.retrieval import Embeddings, evaluate, rerank
from reidlab.retrieval.ranking import n_threads
from reidlab.retrieval.reranking.all_pairs import compiled_keeper
from reidlab.retrieval.reranking.overlap import compiled_mixer

OPTIONS = {"k1": 20, "k2": 6, "lambda_value": 0.3}


def real(folder: Path) -> dict[str, Any]:
    """Read embeddings of query and gallery, junk left out."""
    found, data = Embeddings.load(folder), {}
    for side in ("query", "gallery"):
        part = found.split(side)
        rows = np.flatnonzero(part.pids != -1)
        data |= {side: part.vectors[rows], f"{side}_pids": part.pids[rows]}
        data[f"{side}_camids"] = part.table["camid"].to_numpy()[rows]
    return data


def distances(query: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """Euclidean distances of vectors of length 1."""
    found = query @ gallery.T
    found *= -2
    found += 2
    return np.sqrt(np.maximum(found, 0, out=found), out=found)


def measure(data: dict[str, Any], reference: str) -> dict[str, float]:
    """Re-rank and score in this process."""
    evaluate(**data)  # compiles what counts
    rerank(data["query"][:50], data["gallery"][:50]).dense()  # imports what is imported once
    compiled_keeper(), compiled_mixer()
    process = psutil.Process()
    before = process.memory_info().rss
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    found: dict[str, float] = {}
    start, busy = time.perf_counter(), time.process_time()
    how: dict[str, Any] = {"rerank": "k_reciprocal", "rerank_options": OPTIONS}
    if reference:
        spec = importlib.util.spec_from_file_location("reference", reference)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        query, gallery = (data[s] / np.linalg.norm(data[s], axis=1, keepdims=True) for s in ("query", "gallery"))
        three = [distances(*pair) for pair in ((query, gallery), (query, query), (gallery, gallery))]
        found["distances"], start = time.perf_counter() - start, time.perf_counter()
        how = {"rerank": module.re_ranking(*three, *OPTIONS.values())}
        found["re-ranking"], start = time.perf_counter() - start, time.perf_counter()
    result = evaluate(**data, **how)
    found["scoring" if reference else "all"] = time.perf_counter() - start
    found["CPU"] = time.process_time() - busy
    status = Path("/proc/self/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    found["MiB"] = peak / 1024 - before / 2**20
    return found | {"mAP": result.mean_ap, "rank1": result.rank1}


def in_its_own_process(file: Path, reference: str) -> dict[str, float]:
    command = [sys.executable, __file__, "--measure", str(file), "--reference", reference]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[str, float] = json.loads(answer.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("query", 3368), ("gallery", 15913), ("dim", 512)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--reference", default="")
    parser.add_argument("--embeddings", type=Path)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measure(dict(np.load(given.measure)), given.reference)))
        return
    data = real(given.embeddings) if given.embeddings else make(given.query, given.gallery, given.dim, True)
    plain = evaluate(**data)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "data.npz"
        np.savez(file, **data)
        shape = f"{len(data['query']):,} x {len(data['gallery']):,} x {data['query'].shape[1]}"
        del data
        runs: dict[str, list[dict[str, float]]] = {"": []} | ({given.reference: []} if given.reference else {})
        for _ in range(given.runs):
            for reference, found in runs.items():
                found.append(in_its_own_process(file, reference))
                print(reference or "reidlab", found[-1], f"load {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)
    ours, *others = ({of: statistics.median(run[of] for run in found) for of in found[0]} for found in runs.values())
    print(f"{shape}, float32; {n_threads()} threads, {platform.machine()}, load {os.getloadavg()[0]:.1f}")
    print(f"mAP without re-ranking {plain.mean_ap:.4%}\n")
    print("| | distances | re-ranking | scoring | together | CPU time | memory above the vectors | mAP |")
    print("|---|---|---|---|---|---|---|---|")
    print(f"| reidlab | | | | {ours['all']:.1f} s | {ours['CPU']:.1f} s ", end="")
    print(f"| {ours['MiB']:,.0f} MiB | {ours['mAP']:.6%} |")
    for theirs in others:
        parts = [theirs[name] for name in ("distances", "re-ranking", "scoring")]
        cells = " | ".join(f"{part:.1f} s" for part in [*parts, sum(parts), theirs["CPU"]])
        print(f"| published code | {cells} | {theirs['MiB']:,.0f} MiB | {theirs['mAP']:.6%} |")
        alone, whole = theirs["re-ranking"] / ours["all"], sum(parts) / ours["all"]  # ours makes its distances too
        busy = theirs["CPU"] / ours["CPU"]
        print(f"| ratio | | {alone:.1f} | | {whole:.1f} | {busy:.1f} | {theirs['MiB'] / ours['MiB']:.1f} |", end=" ")
        print(f"difference {abs(theirs['mAP'] - ours['mAP']):.1e} |")


if __name__ == "__main__":
    main()
