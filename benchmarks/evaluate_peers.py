"""Time `evaluate` beside torchreid's and fast-reid's evaluation, in one run, and compare the scores.

    python benchmarks/evaluate_peers.py [--torchreid CHECKOUT] [--fastreid CHECKOUT] [--cython FOLDER]
        [--embeddings FOLDER] [--query 3368] [--gallery 15913] [--dim 512] [--runs 3] [--only Cython]

A CHECKOUT is a local clone of KaiyangZhou/deep-person-reid or JDAI-CV/fast-reid: of it, `rank.py` is loaded alone and
`rank_cy.pyx` is compiled in a temporary folder. That needs a C compiler and Cython with setuptools, for which FOLDER
serves if they are not installed (`uv pip install --target FOLDER cython setuptools`). A peer that is not given, does
not import or does not compile has a row that says so. `--only Cython` (or Python) leaves the other form out.

`--embeddings` takes a folder of `reports/runs/embeddings`, junk left out, as torchreid's reader leaves it out; without
it people are random clusters of Market-1501's size. Peers take a matrix of distances, which is made for them as they do
it (1 - cosine, float32, one product) and timed apart; `evaluate` makes its own, by blocks. Each way is a process of its
own, in turn, and medians are printed: seconds on the clock and of the processors, the peak of the process's memory
above the vectors, and how far the scores are from those of `evaluate`.
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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from evaluate import make
from rerank import real

from reidlab.retrieval import evaluate
from reidlab.retrieval.ranking import n_threads

PEERS = {"torchreid": "torchreid/metrics", "fastreid": "fastreid/evaluation"}
SETUP = """
from setuptools import Extension, setup
from Cython.Build import cythonize
import numpy
setup(name="rank_cy", ext_modules=cythonize([Extension("rank_cy", ["rank_cy.pyx"], include_dirs=[numpy.get_include()])],
      language_level=3))
"""


def compiled(checkout: Path, peer: str, cython: str, folder: Path) -> str:
    """Compile a peer's Cython file in a folder; return why it did not work, or ""."""
    folder.mkdir()
    try:
        text = (checkout / PEERS[peer] / "rank_cylib" / "rank_cy.pyx").read_text(encoding="utf-8")
    except OSError as error:
        return f"{type(error).__name__}: {error.strerror}"
    (folder / "rank_cy.pyx").write_text(text, encoding="utf-8")
    (folder / "setup.py").write_text(SETUP, encoding="utf-8")
    paths = [path for path in (cython, os.environ.get("PYTHONPATH", "")) if path]
    done = subprocess.run(
        [sys.executable, "setup.py", "build_ext", "--inplace"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
    )
    return "" if done.returncode == 0 else (done.stderr.strip() or "it does not compile").splitlines()[-1]


def loaded(file: Path, name: str) -> Any:
    """Import a file alone, without the package that it stands in."""
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None, file
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def function_of(way: str, source: Path) -> Callable[..., Any] | None:
    """Return what evaluates distances in a way, "torchreid Python" or such; None for ours."""
    if way == "reidlab":
        return None
    if way.endswith("Cython"):
        found: Callable[..., Any] = loaded(next(source.glob("rank_cy*.so")), "rank_cy").evaluate_cy
        return found
    module = loaded(source, "rank")
    return lambda *given: module.evaluate_py(*given, False)


def measure(file: Path, way: str, source: Path) -> dict[str, float]:
    """Evaluate once in this process."""
    data = dict(np.load(file))
    function = function_of(way, source)
    few = {name: value[:8000] for name, value in data.items()}
    if function is None:
        evaluate(**few)  # whatever is loaded and compiled once
    before = psutil.Process().memory_info().rss
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    found: dict[str, float] = {}
    start, busy = time.perf_counter(), time.process_time()
    if function is None:
        result = evaluate(**data)
        scores = {"rank1": result.rank1, "mAP": result.mean_ap, "mINP": result.mean_inp}
    else:
        query, gallery = (data[s] / np.linalg.norm(data[s], axis=1, keepdims=True) for s in ("query", "gallery"))
        distances = 1 - query @ gallery.T
        found["distances"] = time.perf_counter() - start
        labels = (data[f"{side}_{of}"] for of in ("pids", "camids") for side in ("query", "gallery"))
        cmc, *others = function(distances, *labels, 50)
        names = ("mAP", "mINP")[: len(others)]
        scores = {"rank1": float(cmc[0])} | {name: float(np.mean(each)) for name, each in zip(names, others)}
    found["seconds"], found["CPU"] = time.perf_counter() - start, time.process_time() - busy
    status = Path("/proc/self/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return found | {"MiB": peak / 1024 - before / 2**20} | scores


def ways_of(given: argparse.Namespace, folder: Path) -> dict[str, tuple[Path, str]]:
    """Return for each way its source and why it cannot be measured, or ""."""
    ways = {"reidlab": (Path(), "")}
    for peer in PEERS:
        checkout = getattr(given, peer)
        missing = "" if checkout else f"--{peer} is not given"
        file = (checkout or Path()) / PEERS[peer] / "rank.py"
        ways[f"{peer} Python"] = file, missing or ("" if file.exists() else f"no {PEERS[peer]}/rank.py there")
        built = folder / f"{peer}-built"
        ways[f"{peer} Cython"] = built, missing or compiled(checkout, peer, given.cython, built)
    return {way: how for way, how in ways.items() if way == "reidlab" or way.endswith(given.only)}


def print_table(ways: dict[str, tuple[Path, str]], runs: dict[str, list[dict[str, float]]]) -> None:
    ours = {of: statistics.median(run[of] for run in runs["reidlab"]) for of in runs["reidlab"][0]}
    print("| | distances, s | together, s | x reidlab | CPU time, s | x reidlab | memory, MiB | rank-1 | mAP | mINP |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for way, (_, why) in ways.items():
        if why:
            print(f"| {way} | not measured: {why} | | | | | | | | |")
            continue
        middle = {of: statistics.median(run[of] for run in runs[way]) for of in runs[way][0]}
        first = f"{middle['distances']:.2f}" if "distances" in middle else ""
        cells = [way, first, f"{middle['seconds']:.2f}", f"{middle['seconds'] / ours['seconds']:.1f}"]
        cells += [f"{middle['CPU']:.2f}", f"{middle['CPU'] / ours['CPU']:.1f}", f"{middle['MiB']:,.0f}"]
        for score in ("rank1", "mAP", "mINP"):
            apart = f" ({middle[score] - ours[score]:+.0e})" if score in middle and way != "reidlab" else ""
            cells.append(f"{middle[score]:.6%}{apart}" if score in middle else "")
        print(f"| {' | '.join(cells)} |")
    apart = {
        f"{way}, {score}": abs(run[score] - ours[score])
        for way in runs
        for run in runs[way]
        for score in ("rank1", "mAP", "mINP")
        if score in run
    }
    most = max(apart, key=apart.__getitem__)
    print(f"\nlargest difference from a score of reidlab: {apart[most]:.1e} ({most})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("query", 3368), ("gallery", 15913), ("dim", 512), ("runs", 3)):
        parser.add_argument(f"--{name}", type=int, default=value)
    for name in (*PEERS, "embeddings"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--cython", default="")
    parser.add_argument("--only", choices=("Cython", "Python"), default="")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        file, way, source = given.measure
        print(json.dumps(measure(Path(file), way, Path(source))))
        return
    data = real(given.embeddings) if given.embeddings else make(given.query, given.gallery, given.dim, True)
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "data.npz"
        np.savez(file, **data)
        ways = ways_of(given, Path(name))
        runs: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
        for _ in range(given.runs):
            for way, (source, why) in ways.items():
                if why:
                    continue
                command = [sys.executable, __file__, "--measure", str(file), way, str(source)]
                done = subprocess.run(command, capture_output=True, text=True)
                if done.returncode:
                    ways[way] = source, done.stderr.strip().splitlines()[-1]
                    continue
                runs[way].append(json.loads(done.stdout.splitlines()[-1]))
                print(way, runs[way][-1], f"load {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)
    shape = f"{len(data['query']):,} x {len(data['gallery']):,} x {data['query'].shape[1]}"
    print(f"{shape}, float32; {n_threads()} threads, {platform.machine()}, load {os.getloadavg()[0]:.1f}\n")
    print_table(ways, runs)


if __name__ == "__main__":
    main()
