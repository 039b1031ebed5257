"""From a click to pixels: the next query of RetrievalExplorer in Chromium, served by Voila as `reidlab explore` does.

    python benchmarks/explorer.py [--gallery 20000] [--queries 500] [--dim 512] [--clicks 60] [--files] [--json FILE]

The table and its vectors are synthetic. Images are drawn into files of 64 x 128 pixels and into a pixel store; with
--files thumbnails are made of the files. A measurement begins at the click on the button and ends with the second frame
that the browser draws after every picture in view has changed and is decoded. Needs Chromium, voila and playwright.
"""

from __future__ import annotations

import argparse
import json
import platform
import secrets
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pandas as pd
from PIL import Image

from reidlab.data.pixels import PixelStore
from reidlab.workbook.supervise import stop_tree
from reidlab.workbook.voila_server import HOST, voila_command, voila_environment

ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu"]
WARM = 5  # clicks that are not counted
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}

CELL = """
import pandas as pd, numpy as np, pathlib
from reidlab.data.pixels import PixelStore
from reidlab.explorers import RetrievalExplorer
from reidlab.retrieval import Embeddings
folder = pathlib.Path({folder!r})
table = pd.read_parquet(folder / "table.parquet")
whole = Embeddings(np.load(folder / "vectors.npy"), table)
store = PixelStore.build(table, folder / "pixels", size=(128, 64), progress=False) if {store} else None
explorer = RetrievalExplorer(whole.split("query"), whole.split("gallery"), store=store)
explorer
"""

# one click, and the milliseconds until the second frame after all pictures in view are those of the next query
CLICK = """
async () => {
  const grid = document.querySelector('.reid-retrieval .reid-grid-host:not(.reid-strip)');
  const cards = () => [...grid.querySelectorAll('.reid-card:not([hidden])')];
  const first = cards()[0].dataset.key;
  const frame = () => new Promise(done => requestAnimationFrame(done));
  const inView = card => { const box = card.getBoundingClientRect(); return box.top < innerHeight && box.bottom > 0; };
  const there = card => { const img = card.querySelector('img');
    return img.src.startsWith('blob:') && img.complete && img.naturalWidth > 0; };
  const begin = performance.now();
  document.querySelector(".reid-retrieval button[title='Next query']").click();
  let listed = 0;
  for (;;) {
    await frame();
    if (cards()[0].dataset.key === first) { if (performance.now() - begin > 20000) throw Error('no answer'); continue; }
    listed = listed || performance.now() - begin;
    if (cards().filter(inView).every(there)) break;
  }
  await frame(); await frame();
  return [listed, performance.now() - begin, cards().filter(inView).length];
}
"""


def make(folder: Path, gallery: int, queries: int, dim: int) -> None:
    """Write images, table and vectors; an identity has ten gallery images in six cameras."""
    rng, n = np.random.default_rng(0), queries + gallery
    people = max(2, gallery // 10)
    pid = np.concatenate([rng.integers(0, people, queries), np.arange(gallery) % people])
    (folder / "images").mkdir()
    paths = []
    for row in range(n):
        pixels = np.repeat(np.repeat(rng.integers(0, 256, (16, 8, 3), dtype=np.uint8), 8, 0), 8, 1)
        paths.append(str(folder / "images" / f"{row:06d}.jpg"))
        Image.fromarray(pixels).save(paths[-1], quality=85)
    split = np.repeat(["query", "gallery"], [queries, gallery])
    table = pd.DataFrame({"path": paths, "pid": pid, "camid": rng.integers(1, 7, n), "split": split})
    table.to_parquet(folder / "table.parquet")
    centres = rng.standard_normal((people, dim), dtype=np.float32)
    vectors = centres[pid] + 0.8 * rng.standard_normal((n, dim), dtype=np.float32)
    np.save(folder / "vectors.npy", vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    PixelStore.build(table, folder / "pixels", size=(128, 64), progress=False)


def measure(folder: Path, clicks: int, store: bool) -> dict[str, Any]:
    """Serve the explorer, click, and return the milliseconds."""
    from playwright.sync_api import sync_playwright

    cell = nbformat.v4.new_code_cell(CELL.format(folder=str(folder), store=store))
    notebook = folder / "page.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata={"kernelspec": KERNEL}), notebook)
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = int(probe.getsockname()[1])
    token = secrets.token_hex(16)
    command, quiet = voila_command(notebook, port, tracebacks=True), subprocess.DEVNULL
    server = subprocess.Popen(command, env=voila_environment(token), stdout=quiet, stderr=quiet)
    try:
        _await(port)
        with sync_playwright() as playwright:
            path = shutil.which("chromium") or shutil.which("chromium-browser")
            browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
            page = browser.new_page(viewport={"width": 1600, "height": 900})
            page.set_default_timeout(120_000)
            page.goto(f"http://{HOST}:{port}/?token={token}", wait_until="commit")
            page.wait_for_selector(".reid-retrieval .reid-card")
            page.wait_for_timeout(2000)
            found = [page.evaluate(CLICK) for _ in range(WARM + clicks)][WARM:]
            browser.close()
    finally:
        stop_tree(server)
    listed, shown, pictures = zip(*found)
    return {
        "thumbnails of": "pixel store" if store else "files",
        "pictures in view": max(pictures),
        "to the list (ms, median)": round(statistics.median(listed)),
        "to pixels (ms, median)": round(statistics.median(shown)),
        "to pixels (ms, 95 %)": round(float(np.quantile(shown, 0.95))),
        "to pixels (ms, most)": round(max(shown)),
        "clicks": len(found),
    }


def _await(port: int) -> None:
    for _ in range(600):
        try:
            urllib.request.urlopen(f"http://{HOST}:{port}/", timeout=5).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("Voila did not answer")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("gallery", 20_000), ("queries", 500), ("dim", 512), ("clicks", 60)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--files", action="store_true")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="reidlab-explorer-") as scratch:
        make(Path(scratch), given.gallery, given.queries, given.dim)
        found = measure(Path(scratch), given.clicks, not given.files)
    found |= {"gallery": given.gallery, "dim": given.dim, "machine": f"{platform.machine()}, {platform.system()}"}
    print("\n".join(f"{name:<26} {value}" for name, value in found.items()))
    if given.json:
        given.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
