"""Search a gallery of files for the people in query images."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from reidlab.devices import ComputePlan, describe_device, plan
from reidlab.errors import UserError
from reidlab.models.engines import check_engine
from reidlab.registry import INDEXES, RERANKINGS
from reidlab.retrieval.checks import check_real, check_whole
from reidlab.search.embedded import EmbeddedFiles, embed_files
from reidlab.search.files import Found, Named, find_images
from reidlab.search.kept_index import check_kept, gallery_index
from reidlab.search.memory import Memory
from reidlab.search.names import known_people
from reidlab.search.ranked import ranked_files
from reidlab.stages.calibration import calibration_of
from reidlab.stages.models import ModelSource, model_from

__all__ = ["UNCALIBRATED", "Opened", "SearchResult", "check_readable", "opened", "search"]

UNCALIBRATED = "This model has no calibration: a similarity is no probability, and none is given."
COLUMNS = ["query", "rank", "file", "pid", "camera", "similarity", "probability"]


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        hits: a row per hit: query and file (absolute paths), rank from 1, pid and camera ("" where the name of the
            file does not say), similarity (cosine, -1 to 1) and probability (that both show one person; NaN where the
            model has no calibration).
        queries: absolute paths of the queries that were searched for.
        skipped: a row per file that could not be used: side (query or gallery), file, reason.
        n_gallery: gallery images that were searched.
        facts: model, device, index, seconds and so on, for people to read.
        notes: what a reader has to know.
    """

    hits: pd.DataFrame
    queries: list[str]
    skipped: pd.DataFrame
    n_gallery: int
    facts: dict[str, Any]
    notes: tuple[str, ...] = ()

    def of(self, query: str) -> pd.DataFrame:
        """Return the hits of one query."""
        return self.hits[self.hits["query"] == query]

    def __repr__(self) -> str:
        return (
            f"SearchResult({len(self.queries):,} queries, {self.n_gallery:,} gallery images, {len(self.hits):,} hits, "
            f"{len(self.skipped):,} files skipped)"
        )


@dataclass(frozen=True)
class Opened:
    """A model that files are embedded with.

    Attributes:
        source: where the model comes from.
        compute: device and precision.
        options: of `embed_files`.
    """

    source: ModelSource
    compute: ComputePlan
    options: dict[str, Any] = field(default_factory=dict)

    def embed(self, found: Found) -> EmbeddedFiles:
        """Return the vectors of these files; the files that were left out go on being listed."""
        made = embed_files(found.files, self.source.load, self.compute, Memory(self.digest), **self.options)
        return EmbeddedFiles(made.files, made.vectors, made.digests, [*found.skipped, *made.skipped], made.n_computed)

    @property
    def digest(self) -> str:
        """Return the digest of what decides a vector: weights and precision."""
        return f"{self.source.digest[:16]}-{self.compute.precision}-1"  # 1: how pixels are read and resized


def opened(
    model: str = "small",
    *,
    device: str = "auto",
    precision: str = "float32",
    engine: str = "auto",
    check_contents: bool = False,
    batch_size: int | None = None,
    progress: bool = True,
) -> Opened:
    """Find a model, and the memory of its vectors.

    Args:
        model: small, a training run, the folder of a saved model or NAME:FILE, as in notebooks.
        device: cpu, cuda, mps or auto.
        precision: float32, bfloat16 or auto.
        engine: auto, torch or another one of `reidlab engines`; auto stays with torch for few images.
        check_contents: compare the bytes of all files with what is remembered.
        batch_size: images at once; None: 64.
        progress: show bars.

    Raises:
        UserError: there is no such model or device.
    """
    compute = plan(device, precision)
    if batch_size is not None:
        batch_size = check_whole("batch_size", batch_size, 1, 2**31)
    source = model_from(model)
    check_engine(engine, compute.precision, compute.device.type)
    options = {"check_contents": check_contents, "engine": engine, "batch_size": batch_size, "progress": progress}
    return Opened(source, compute, options)


def search(
    query: Named,
    gallery: Named,
    *,
    model: str = "small",
    top: int = 10,
    keep_self: bool = False,
    pattern: str = "",
    index: str | os.PathLike[str] | None = None,
    kind: str | None = None,
    rerank: str = "",
    prior: float | None = None,
    device: str = "auto",
    precision: str = "float32",
    engine: str = "auto",
    check_contents: bool = False,
    batch_size: int | None = None,
    progress: bool = True,
) -> SearchResult:
    """Search gallery images for the people in query images.

    Files are embedded once per model and remembered in data/cache/embeddings, so that the next search answers at once;
    a file that has changed is noticed by its size and times. Files that are no images are listed, not raised.

    Args:
        query: an image, a folder, a pattern, or several of these.
        gallery: the same.
        model: small (comes with the package), a training run, the folder of a saved model, or NAME:FILE.
        top: hits per query.
        keep_self: list gallery files that hold the very bytes of the query too.
        pattern: regular expression with the groups pid and camid, for the names of gallery files.
        index: folder of an index that is kept there, made where it is missing and brought up to date.
        kind: of the index: flat (exact) or another of `reidlab indexes`; None: that of the kept one, else flat.
        rerank: a method of `reidlab rerankings`, such as k_reciprocal or alpha_qe, by which hits are ordered; "" for
            none. It compares all vectors, whatever the index.
        prior: share of the gallery images that show the person, for the probabilities; None: one image of all.
        device: cpu, cuda, mps or auto.
        precision: of the embedding.
        engine: auto (the fastest that is installed, for many images), torch or another one of `reidlab engines`.
        check_contents: read all files and compare their bytes with what is remembered.
        batch_size: images embedded at once; None: 64.
        progress: show bars.

    Raises:
        UserError: something is not there, no query or no gallery image can be read, or the index is of another model
            or kind.
    """
    began = time.perf_counter()
    top = check_whole("top", top, 1, 100_000)
    found = {"query": find_images(query, "query"), "gallery": find_images(gallery, "gallery")}
    _check_choices(prior, pattern, kind, rerank)
    use = opened(
        model, device=device, precision=precision, engine=engine, check_contents=check_contents, batch_size=batch_size,
        progress=progress,
    )  # fmt: skip
    check_kept(index, use.digest, kind)
    sides = {side: check_readable(side, use.embed(files)) for side, files in found.items()}
    ready = time.perf_counter()
    made, said = gallery_index(sides["gallery"], use.digest, index, kind)
    hits = ranked_files(made, sides["query"], sides["gallery"], top, keep_self, rerank)
    people = known_people(hits["file"].tolist(), pattern)
    hits["pid"], hits["camera"] = [pid for pid, _ in people], [camera for _, camera in people]
    sure = _add_probability(hits, use.source, prior, len(sides["gallery"]))
    facts = {
        "model": use.source.label,
        "device": describe_device(use.compute),
        "index": made.kind,
        **({"re-ranking": rerank} if rerank else {}),
        "embedded now": sum(side.n_computed for side in sides.values()),
        "seconds to embed": round(ready - began, 2),
        "seconds to search": round(time.perf_counter() - ready, 2),
    }
    return _result(hits, sides, facts, (*said, sure, *use.source.notes))


def _check_choices(prior: float | None, pattern: str, kind: str | None, rerank: str) -> None:
    """Refuse what cannot be used before anything is embedded."""
    if prior is not None:
        check_real("prior", prior, 0, 1, open_ends=True)
    known_people((), pattern)
    if kind is not None:
        INDEXES.find(kind)
    if rerank:
        RERANKINGS.find(rerank)


def _result(
    hits: pd.DataFrame, sides: dict[str, EmbeddedFiles], facts: dict[str, Any], notes: tuple[str, ...]
) -> SearchResult:
    skipped = [(side, *row) for side, part in sides.items() for row in part.skipped]
    frame = pd.DataFrame(skipped, columns=["side", "file", "reason"])
    return SearchResult(hits[COLUMNS], sides["query"].files, frame, len(sides["gallery"]), facts, notes)


def _add_probability(hits: pd.DataFrame, source: ModelSource, prior: float | None, n_gallery: int) -> str:
    """Fill the column probability where the model is calibrated, and return what it means."""
    calibration = calibration_of(source)
    if calibration is None:
        return UNCALIBRATED
    if len(hits):
        cosines = np.clip(hits["similarity"].to_numpy(), -1, 1)
        hits["probability"] = calibration.probability(cosines, prior=prior or 1 / max(n_gallery, 2))
    assumed = f"a share of {prior:g}" if prior else "one"
    return (
        f"Probabilities assume that {assumed} of the {n_gallery:,} gallery images shows the person (prior); calibrated "
        f"on {calibration.source or 'other images'}."
    )


def check_readable(side: str, files: EmbeddedFiles) -> EmbeddedFiles:
    """Refuse files none of which is an image."""
    if len(files):
        return files
    path, reason = files.skipped[0]
    raise UserError(
        f"{side}: none of {len(files.skipped):,} files can be read as an image; the first is {path} ({reason})."
    )
