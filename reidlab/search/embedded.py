"""Embed files of any kind and number: batch by batch, remembered, with what cannot be read listed instead of raised."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from PIL import Image
from torch import Tensor, nn

from reidlab.data.contents import is_settled, state_of
from reidlab.data.images import Bad, open_bytes, read_file, to_rgb
from reidlab.data.transforms import Preprocess
from reidlab.devices import ComputePlan
from reidlab.errors import UserError
from reidlab.models.engines import Job, Prepared, of_model, ready
from reidlab.progress import bar
from reidlab.search.memory import Memory, Remembered, as_vector

__all__ = ["EmbeddedFiles", "embed_files"]

BATCH = 64  # images at once: bounds what is held, also where much memory is free
SAMPLE = 16  # images by which engines are compared
_DECODERS = 4  # threads


@dataclass(frozen=True)
class EmbeddedFiles:
    """Vectors of files.

    Attributes:
        files: absolute paths.
        vectors: float32 [file, dim], row i of files[i].
        digests: of each file's bytes.
        skipped: path and reason of each file that is no image or could not be read.
        n_computed: files that were embedded now; the others were remembered.
    """

    files: list[str]
    vectors: Float32[np.ndarray, "file dim"]
    digests: list[str]
    skipped: list[tuple[str, str]]
    n_computed: int

    def __len__(self) -> int:
        return len(self.files)


class _Decoded(NamedTuple):
    path: str
    state: str
    digest: str
    problem: str
    pixels: np.ndarray | None


def embed_files(
    files: Sequence[str],
    model: Callable[[], nn.Module],
    compute: ComputePlan,
    memory: Memory,
    *,
    check_contents: bool = False,
    engine: str = "torch",
    batch_size: int | None = None,
    progress: bool = True,
) -> EmbeddedFiles:
    """Return the vectors of image files; those that are remembered are not computed again.

    After every batch what was found is kept: a call that was stopped goes on where it was. At most two batches of
    pixels are held beside the model.

    Args:
        files: absolute paths, each once.
        model: gives the model, in eval mode and with `.preprocess`; called only where something is to be computed.
        compute: device and precision.
        memory: of this model and precision.
        check_contents: read every file and compare its digest, instead of trusting size, times and inode.
        engine: torch, auto or another one of `reidlab engines`; what is remembered does not know by which it was made.
        batch_size: images at once; None: 64.
        progress: show a bar.

    Raises:
        UserError: a file is missing, or the model's weights are damaged.
    """
    found = _Found(files, {path: state_of(path) for path in files})
    for each in memory.known(files):
        if each.state == found.states[each.path] and not (check_contents and each.digest != _digest(each.path)):
            found.put(each)
    wanted = [path for path in files if path not in found.digests]
    if wanted:
        size = batch_size or BATCH
        for batch in _computed(wanted, model(), compute, found.states, engine, size, len(files), progress):
            memory.keep([each for each in batch if each.state])
            for each in batch:
                found.put(each)
    return found.gathered(len(wanted))


class _Found:
    """What is known of some files: vectors are put into one array as they come, so that they are held once."""

    def __init__(self, files: Sequence[str], states: dict[str, str]) -> None:
        self.files, self.states = files, states
        self.row_of = {path: row for row, path in enumerate(files)}
        self.digests: dict[str, str] = {}
        self.problems: dict[str, str] = {}
        self.vectors = np.zeros((0, 0), np.float32)

    def put(self, each: Remembered) -> None:
        """Take what is remembered or was computed; a vector that is damaged or of another length is not known."""
        if each.problem:
            self.problems[each.path] = each.problem
        else:
            if not len(each.vector) or len(each.vector) % 4:
                return
            vector = as_vector(each.vector)
            if not len(self.vectors):
                self.vectors = np.zeros((len(self.files), len(vector)), np.float32)
            if len(vector) != self.vectors.shape[1]:
                return
            self.vectors[self.row_of[each.path]] = vector
        self.digests[each.path] = each.digest

    def gathered(self, n_computed: int) -> EmbeddedFiles:
        """Return the files that are images, with their vectors, and the others with their reasons."""
        good = [path for path in self.files if path not in self.problems]
        rows = [self.row_of[path] for path in good]
        vectors = self.vectors if len(good) == len(self.files) else self.vectors[rows] if rows else self.vectors[:0]
        skipped = [(path, self.problems[path]) for path in self.files if path in self.problems]
        return EmbeddedFiles(good, vectors, [self.digests[path] for path in good], skipped, n_computed)


def _computed(
    wanted: Sequence[str],
    model: nn.Module,
    compute: ComputePlan,
    states: dict[str, str],
    engine: str,
    size: int,
    total: int,
    progress: bool,
) -> Iterator[list[Remembered]]:
    """Embed batch by batch, the next one being decoded meanwhile."""
    preprocess = of_model(model)
    prepared = _prepared(model.eval(), compute, engine, size, wanted)
    batches = [wanted[at : at + size] for at in range(0, len(wanted), size)]
    done = total - len(wanted)
    with (
        ThreadPoolExecutor(_DECODERS) as pool,
        bar(total=total, desc="embedding", unit="img", initial=done, disable=not progress) as shown,
    ):

        def begin(batch: Sequence[str]) -> list[Future[_Decoded]]:
            return [pool.submit(_decoded, path, states[path], preprocess) for path in batch]

        ahead = begin(batches[0])
        for number, batch in enumerate(batches):
            decoded = [each.result() for each in ahead]
            ahead = begin(batches[number + 1]) if number + 1 < len(batches) else []
            good = [each.pixels for each in decoded if each.pixels is not None]
            vectors = iter(_vectors(prepared, good) if good else ())
            yield [
                Remembered(*each[:4], b"" if each.problem else next(vectors).astype("<f4").tobytes())
                for each in decoded
            ]
            shown.update(len(batch))


def _prepared(model: nn.Module, compute: ComputePlan, engine: str, size: int, wanted: Sequence[str]) -> Prepared:
    """Make the model ready by an engine; auto chooses by some of the files that are to be embedded."""
    preprocess = of_model(model)

    def sample() -> UInt8[Tensor, "image 3 height width"]:
        step = max(1, len(wanted) // SAMPLE)
        decoded = (_decoded(path, "0 0 0 0", preprocess).pixels for path in wanted[::step])
        good = list(islice((each for each in decoded if each is not None), SAMPLE))
        return _batch(good or [np.zeros((preprocess.height, preprocess.width, 3), np.uint8)])

    job = Job(compute.device.type, compute.precision, size, sample)
    return ready(compute.place(model), engine, job, len(wanted)).prepared


def _batch(images: Sequence[np.ndarray]) -> UInt8[Tensor, "batch 3 height width"]:
    """Return images as one batch in channels_last memory."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


def _vectors(prepared: Prepared, pixels: Sequence[np.ndarray]) -> Float32[np.ndarray, "batch dim"]:
    """Embed one batch."""
    found = prepared.embed(_batch(pixels)).numpy()
    if not np.isfinite(found).all():
        raise UserError("The model gives NaN or infinite values; its weights are damaged.")
    return np.asarray(found)


def _decoded(path: str, state: str, preprocess: Preprocess) -> _Decoded:
    """Read, check and resize one file; one that changed just now is not to be remembered (its state is "")."""
    began, digest = time.time_ns(), ""
    try:
        data = read_file(path)
        digest = _digest_of(data)
        image = to_rgb(open_bytes(data))
    except (Bad, OSError, ValueError) as error:
        return _Decoded(path, state, digest, getattr(error, "strerror", None) or str(error), None)
    size = (preprocess.width, preprocess.height)
    image = image if image.size == size else image.resize(size, Image.Resampling.BILINEAR)
    return _Decoded(path, state if is_settled(path, state, began) else "", digest, "", np.asarray(image))


def _digest(path: str) -> str:
    """Return the digest of a file's bytes, "" where it cannot be read."""
    try:
        return _digest_of(read_file(path))
    except (Bad, OSError, ValueError):
        return ""


def _digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]
