"""Time what looks into a result: cameras, single-shot curves, causes of failure, suspicious labels and so on.

    python benchmarks/analysis.py --embeddings FOLDER [--runs 3] [--only NAME ...]

FOLDER is one of `reports/runs/embeddings`; its images have to be there too, for the causes of failure. Each function is
called with its defaults, in a process of its own, and the median is printed of seconds on the clock and of the
processors, and the peak of memory above what the process had before.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from reidlab import retrieval
from reidlab.retrieval import Embeddings, evaluate
from reidlab.retrieval.ranking import n_threads

CALLS: dict[str, Callable[[Embeddings, Embeddings, Any], Any]] = {
    "evaluate": lambda query, gallery, result: evaluate(query, gallery),
    "evaluate, bootstrap=1000": lambda query, gallery, result: evaluate(query, gallery, bootstrap=1000),
    "top_k_table": lambda query, gallery, result: retrieval.top_k_table(query, gallery),
    "single_shot_cmc": lambda query, gallery, result: retrieval.single_shot_cmc(query, gallery),
    "camera_matrix": lambda query, gallery, result: retrieval.camera_matrix(query, gallery),
    "confused_identities": lambda query, gallery, result: retrieval.confused_identities(query, gallery),
    "protocol_audit": lambda query, gallery, result: retrieval.protocol_audit(query, gallery),
    "failure_causes": lambda query, gallery, result: retrieval.failure_causes(result, query, gallery),
    "suspicious_labels": lambda query, gallery, result: retrieval.suspicious_labels(gallery),
}


def measure(folder: Path, name: str) -> dict[str, Any]:
    """Call one function in this process."""
    embeddings = Embeddings.load(folder)
    query, gallery = embeddings.split("query"), embeddings.split("gallery")
    result = evaluate(query, gallery)  # compiles what counts, too
    before = psutil.Process().memory_info().rss
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    start, busy = time.perf_counter(), time.process_time()
    found = CALLS[name](query, gallery, result)
    seconds, used = time.perf_counter() - start, time.process_time() - busy
    status = Path("/proc/self/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    said = f"{len(query.table):,} x {len(gallery.table):,} x {query.vectors.shape[1]}"
    return {"seconds": seconds, "CPU": used, "MiB": peak / 1024 - before / 2**20, "said": said, "of": repr(found)[:200]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--embeddings", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=CALLS, default=list(CALLS))
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measure(given.embeddings, given.measure)))
        return
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in given.only}
    for _ in range(given.runs):
        for name, found in runs.items():
            command = [sys.executable, __file__, "--embeddings", str(given.embeddings), "--measure", name]
            text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            found.append(json.loads(text.splitlines()[-1]))
            print(name, found[-1], file=sys.stderr, flush=True)
    shape = runs[given.only[0]][0]["said"]
    print(f"{shape}, {n_threads()} threads, {platform.machine()}, load {os.getloadavg()[0]:.1f}, {given.runs} runs\n")
    print("| | seconds | CPU time, s | memory, MiB |\n|---|---|---|---|")
    for name, found in runs.items():
        middle = {of: statistics.median(run[of] for run in found) for of in ("seconds", "CPU", "MiB")}
        print(f"| `{name}` | {middle['seconds']:.1f} | {middle['CPU']:.1f} | {middle['MiB']:,.0f} |")


if __name__ == "__main__":
    main()
