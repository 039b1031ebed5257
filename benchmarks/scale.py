"""What more workers bring on this machine: images embedded per second, and what a sweep adds to each of its runs.

    python benchmarks/scale.py [--images 2000] [--workers 1 2] [--runs 16] [--folder FOLDER]

Embedding: `embed_distributed` by the shipped model from the files of a folder, or of the built-in data set; every
number of workers embeds the same files anew, with one thread each, and starting the workers is not in it; once more in
parts of 16 images, for what a part costs. A sweep: runs of a notebook that computes nothing, of which most is a kernel
that starts and imports. "Calling process" is the processor time, for each part or run, of the process that hands out
the work, Dask's scheduler included: what more workers cannot take from it, and so what ends scaling.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import nbformat
import pandas as pd
from nbformat.v4 import new_code_cell, new_notebook

from reidlab.data.schema import check_table
from reidlab.models import load_model
from reidlab.retrieval import embed_distributed
from reidlab.retrieval.cluster import threads_of, workers_of
from reidlab.stages.data import source_table
from reidlab.sweeps import load_sweep, plan_sweep, run_sweep
from reidlab.sweeps.package import package_code


def main() -> None:
    """Measure, and print rows of Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--runs", type=int, default=16)
    parser.add_argument("--folder", type=Path, help="JPEG files of your own, at their own size")
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    print("| what | workers | seconds | per second | of one worker | calling process, ms each |")
    print("|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["REIDLAB_REPORTS"] = folder
        _embedding(Path(folder), _table(args.folder, args.images), args.workers)
        _sweeps(Path(folder), args.runs, args.workers)


def _table(folder: Path | None, count: int) -> pd.DataFrame:
    if folder is None:
        files = source_table("pedestrians", seed=0)["path"].tolist()
    else:
        files = sorted(map(str, folder.rglob("*.jpg")))
    if len(files) < count:
        raise SystemExit(f"--images {count} is more than the {len(files)} files that there are; take fewer.")
    known = {"pid": range(count), "camid": 1, "split": "gallery", "dataset": "files", "sequence": -1, "frame": -1}
    return check_table(pd.DataFrame({"path": files[:count], **known}))


def _embedding(folder: Path, table: pd.DataFrame, workers: list[int]) -> None:
    model, first = load_model("small"), 0.0
    for count in workers:
        with workers_of("", count, threads=1, env=threads_of(1)) as client:
            address = client.scheduler.address
            few = table.iloc[: 64 * count]
            embed_distributed(model, few, folder / f"warm{count}", part=64, scheduler=address, progress=False)
            for part in (256, 16):
                began, here = time.perf_counter(), time.process_time()
                where = folder / f"all{count}-{part}"
                embed_distributed(model, table, where, part=part, scheduler=address, progress=False)
                seconds, here = time.perf_counter() - began, time.process_time() - here
                first = first or len(table) / seconds
                each = here / -(-len(table) // part)
                _row(f"embedding in parts of {part}", count, seconds, len(table) / seconds, first, each)


def _sweeps(folder: Path, runs: int, workers: list[int]) -> None:
    cells = [new_code_cell("a: int = 0  # which", metadata={"tags": ["parameters"]}), new_code_cell("a + 1")]
    about = {"kernelspec": {"name": "python3", "display_name": "Python 3"}, "language_info": {"name": "python"}}
    nbformat.write(new_notebook(cells=cells, metadata=about), folder / "nothing.ipynb")
    first = 0.0
    for count in workers:
        file = folder / f"workers{count}.yaml"
        sweep = {"notebooks": str(folder / "nothing.ipynb"), "grid": {"a": list(range(runs))}, "workers": count}
        file.write_text(json.dumps(sweep))
        plan, code = plan_sweep(load_sweep(file)), package_code()
        began, here = time.perf_counter(), time.process_time()
        table = run_sweep(plan, again=True, view="lines")
        seconds, here = time.perf_counter() - began, time.process_time() - here
        assert set(table.frame["status"]) == {"done"} and set(table.frame["code"]) == {code}
        first = first or runs / seconds
        _row("a sweep of runs that do nothing", count, seconds, runs / seconds, first, here / runs)
        alone = table.frame["seconds"].mean()
        print(f"  of a run's {seconds * count / runs:.2f} s, {alone:.2f} s are the notebook's own process", flush=True)


def _row(what: str, workers: int, seconds: float, rate: float, first: float, here: float) -> None:
    cells = what, workers, f"{seconds:.1f}", f"{rate:.2f}", f"{rate / first:.2f} x", f"{1000 * here:.1f}"
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


if __name__ == "__main__":
    main()
