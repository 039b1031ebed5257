"""Embed a gallery on several processes or machines: Dask workers take parts of it, one file gathers the vectors."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import struct
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jaxtyping import Float32
from torch import nn

import reidlab
from reidlab.data.schema import check_table, save_table
from reidlab.documents import as_mapping, read_json
from reidlab.errors import UserError, shown
from reidlab.models.engines.base import check_engine, of_model
from reidlab.progress import bar
from reidlab.retrieval.checks import check_whole
from reidlab.retrieval.cluster import MOST_WORKERS, explained, threads_of, workers_of
from reidlab.retrieval.embedding import embed
from reidlab.retrieval.ranking import n_threads
from reidlab.retrieval.vectors import Embeddings
from reidlab.space import check_space

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["embed_distributed"]

_DONE, _FILE = "parts.json", "embeddings.safetensors"
_NOTE = 1.0  # seconds, about, between two notes of which parts are there: thousands of them take milliseconds to list
_AHEAD = 2  # parts that wait at each worker
_LOST = "Images may be too large for the memory of one: take a smaller `part`. What was embedded is kept."


def embed_distributed(
    model: nn.Module,
    table: pd.DataFrame,
    folder: str | os.PathLike[str],
    *,
    device: str = "auto",
    precision: str = "float32",
    engine: str = "torch",
    flip: bool = False,
    part: int = 4096,
    scheduler: str = "",
    workers: int = 2,
    progress: bool = True,
) -> Embeddings:
    """Do what `embed` does, on the workers of a Dask cluster, for galleries larger than the memory.

    Workers decode and embed `part` images at a time; this process only writes their vectors to a file, from which they
    are mapped. A call that was stopped goes on at the first part that is missing. Workers need the same version of
    reidlab and must see the images under the same paths. In a script that starts processes the call stands below
    `if __name__ == "__main__":`, as always with Python's multiprocessing.

    Args:
        model: as in `embed`, and so are all arguments that are not listed here; it is sent to the workers.
        table: image table; images of more than 8 bits are refused.
        folder: where the vectors go, made if it is missing: what `Embeddings.load(folder, mmap=True)` reads.
        device: cpu, cuda, mps or auto, on the workers.
        precision: of the computation.
        engine: prepared anew for every part where it is not torch.
        flip: flip test.
        part: images that a worker embeds at a time.
        scheduler: address of a running Dask scheduler, "tcp://10.0.0.5:8786", all of whose workers take part; "" starts
            processes here and ends them again.
        workers: how many processes that are.
        progress: show a bar.

    Raises:
        UserError: no scheduler answers, a worker was lost, the folder holds embeddings of other images, of another
            model or with other options, or as `embed`.
    """
    given, home = check_table(table), Path(folder)
    if not len(given):
        raise UserError("The table has no images to embed.")
    _refuse_deep(given)
    part, workers = check_whole("part", part, 1, 2**31), check_whole("workers", workers, 1, MOST_WORKERS)
    if not isinstance(scheduler, str):
        raise UserError(f"scheduler={shown(scheduler)} must be the address of a Dask scheduler, or '' for processes.")
    of_model(model)
    device, precision = check_engine(engine, precision, device)
    options = {"device": device, "precision": precision, "engine": engine, "flip": flip}
    home.mkdir(parents=True, exist_ok=True)
    kept = _Kept(home, given, part, _digest(model, given, options, part))
    if kept.waiting:
        env = threads_of(max(1, n_threads() // workers))
        with workers_of(scheduler, workers, threads=1, env=env) as client, explained(_LOST):
            try:
                for at, vectors in _embedded(client, model, given, kept, options, progress):
                    kept.put(at, vectors)
            finally:
                kept.note()
    kept.finish()
    return Embeddings.load(home, mmap=True)


def _refuse_deep(table: pd.DataFrame) -> None:
    deep = table["path"][table["value_range"].notna()].tolist() if "value_range" in table else []
    if deep:
        raise UserError(
            f"{deep[0]} has more than 8 bits: such images are scaled by a factor of the whole data set. Use `embed` on "
            "one machine, or convert them first."
        )


def _digest(model: nn.Module, table: pd.DataFrame, options: Mapping[str, Any], part: int) -> str:
    """Return what the vectors are made of: images by size and time, weights, options."""
    total = hashlib.sha256(json.dumps([reidlab.__version__, type(model).__name__, dict(options), part]).encode())
    for name, tensor in sorted(model.state_dict().items()):
        total.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        total.update(tensor.detach().cpu().float().numpy().tobytes())
    for path in table["path"]:
        with suppress(OSError):  # who embeds it says what is wrong with it
            seen = Path(path).stat()
            total.update(f"{path} {seen.st_size} {seen.st_mtime_ns}\n".encode())
    return total.hexdigest()


class _Kept:
    """The file of vectors while it grows, and which parts of it are there."""

    def __init__(self, folder: Path, table: pd.DataFrame, part: int, digest: str) -> None:
        self.folder, self.table, self.part, self.digest = folder, table, part, digest
        self.file, self.growing = folder / _FILE, folder / f"{_FILE}.part"
        self.starts = list(range(0, len(table), part))
        about: Any = as_mapping(read_json(folder / _DONE, _DONE), _DONE) if (folder / _DONE).is_file() else None
        if about is None and self.file.exists():
            about = {}
        if about is not None and about.get("digest") != digest:
            raise UserError(
                f"{folder} holds embeddings of other images, another model or with other options. Take another folder, "
                "or remove that one."
            )
        self.dim: int | None = None if about is None else about.get("dim")
        self.done: set[int] = set() if about is None else set(about.get("done", ()))
        self.vectors: Any = None
        self.noted = 0.0
        if self.file.exists():
            self.done = set(self.starts)
        elif not self.growing.exists():
            self.done = set()

    @property
    def waiting(self) -> list[int]:
        """First rows of the parts that are missing."""
        return [start for start in self.starts if start not in self.done]

    def put(self, start: int, vectors: Float32[np.ndarray, "image dim"]) -> None:
        """Write a part; that it is there is noted once a second: killed in between, it is embedded again."""
        if self.vectors is None:
            self.dim = vectors.shape[1]
            self.vectors = _mapped(self.growing, len(self.table), self.dim)
        self.vectors[start : start + len(vectors)] = vectors
        self.done.add(start)
        if time.monotonic() - self.noted >= _NOTE:
            self.note()

    def note(self) -> None:
        """Write to the disk what came since, then that it is there."""
        if self.vectors is None:
            return
        self.vectors.flush()
        self.noted = time.monotonic()
        beside = self.folder / f"{_DONE}.new"
        beside.write_text(json.dumps({"digest": self.digest, "dim": self.dim, "done": sorted(self.done)}))
        beside.replace(self.folder / _DONE)

    def finish(self) -> None:
        """Give the file its name, the table beside it."""
        self.vectors = None
        save_table(self.table, self.folder / "embeddings.parquet")
        if not self.file.exists():
            self.growing.replace(self.file)


def _mapped(file: Path, n_images: int, dim: int) -> Any:
    """Open a file of safetensors with one matrix to be written piece by piece; make it where there is none."""
    size = n_images * dim * 4
    header = json.dumps({"vectors": {"dtype": "F32", "shape": [n_images, dim], "data_offsets": [0, size]}}).encode()
    header += b" " * (-len(header) % 8)
    if not file.exists():
        check_space(file.parent, size, f"Vectors of {n_images:,} images")
        with file.open("wb") as made:
            made.write(struct.pack("<Q", len(header)) + header)
            made.truncate(8 + len(header) + size)
    return np.memmap(file, np.float32, "r+", offset=8 + len(header), shape=(n_images, dim))


def _embedded(
    client: Client, model: nn.Module, table: pd.DataFrame, kept: _Kept, options: Mapping[str, Any], progress: bool
) -> Iterator[tuple[int, Float32[np.ndarray, "image dim"]]]:
    """Give the parts as they come; few wait at a time, so that nothing but the file grows."""
    from distributed import as_completed

    sent = client.scatter(copy.deepcopy(model).cpu().eval(), broadcast=True, hash=False)
    paths = table["path"].tolist()
    waiting = iter(kept.waiting)
    running = as_completed(loop=client.loop)
    starts: dict[str, int] = {}

    def submit() -> None:
        start = next(waiting, None)
        if start is not None:
            files = paths[start : start + kept.part]
            task = client.submit(_embed_part, sent, files, dict(options), key=f"embed-{kept.digest[:12]}-{start}")
            starts[str(task.key)] = start
            running.add(task)

    for _ in range(_AHEAD * len(client.scheduler_info(n_workers=-1)["workers"])):
        submit()
    before = sum(len(paths[start : start + kept.part]) for start in kept.done)
    with bar(total=len(paths), desc="embedding", unit="img", disable=not progress, initial=before) as moved:
        for task in running:
            vectors = task.result()
            task.release()
            yield starts.pop(str(task.key)), vectors
            moved.update(len(vectors))
            submit()


def _embed_part(model: nn.Module, files: list[str], options: dict[str, Any]) -> Float32[np.ndarray, "image dim"]:
    """Embed files on a worker."""
    return embed(model, files, **options, progress=False).vectors
