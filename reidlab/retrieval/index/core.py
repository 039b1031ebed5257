"""`Index`: named vectors that can be searched, added to, removed from, and kept in a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from reidlab.documents import plain
from reidlab.errors import UserError, shown
from reidlab.registry import INDEXES, METRICS
from reidlab.retrieval.checks import check_choice
from reidlab.retrieval.index import reading, writing
from reidlab.retrieval.index.base import Kind
from reidlab.retrieval.index.measure import measure
from reidlab.retrieval.index.members import Members
from reidlab.retrieval.index.names import as_names, same_length
from reidlab.retrieval.index.rows import Rows, as_rows

__all__ = ["Index"]


class Index(Members):
    """Vectors with unique names, searched for the nearest ones.

    Make one by `build` or `load`. Similarities are always computed from the exact vectors, in float64; an approximate
    kind only chooses which vectors are looked at, so it can miss some, and what it finds is right. Equal similarities
    come in the order of ids; with an approximate kind, which of several equal ones at the k-th place are found is open.

    Adding needs the new vectors alone. A removed vector is marked, never found again, and dropped when more are marked
    than not, when the index is made compact, and (flat) when it is saved; until then it stays in the files of the other
    kinds, whose structures cannot do without it. `save` replaces an index in one step: whatever happens, the folder
    holds the old one or the new one.

    Attributes:
        kind: registered name (`reidlab indexes`).
        options: of the kind, as they were given.
        metric: "cosine" or "euclidean".
        model: fingerprint of the model that made the vectors; "" where nobody said.
        measured: when it was built: recall, k, queries, ms_per_query, flat_ms_per_query, and all of it as a sentence.
        said: sentences about what was decided when it was built.
    """

    model: str
    said: tuple[str, ...]
    measured: dict[str, Any]

    @classmethod
    def build(
        cls,
        vectors: Float32[np.ndarray, "image dim"],
        ids: Sequence[str],
        *,
        kind: str = "flat",
        metric: str = "cosine",
        model: str = "",
        options: Mapping[str, Any] | None = None,
        progress: bool = False,
    ) -> Index:
        """Make an index; recall and time are measured on up to 64 of its vectors, for about a second.

        Args:
            vectors: one a name [image, dim]. They are copied, and scaled to length 1 for cosine; float32 vectors that
                are mapped from a file (np.memmap) stay there, and flat searches them in blocks.
            ids: unique names, such as paths of images.
            kind: flat, hnsw, ivf, ivf_pq or binary (`reidlab indexes` explains them).
            metric: "cosine" or "euclidean".
            model: fingerprint of the model that made the vectors; `load` compares it.
            options: of the kind.
            progress: show a bar.

        Raises:
            UserError: vectors with NaN, infinity or (cosine) a row of zeros, names that are no text or not unique,
                an unknown kind, metric or option, or too few vectors for the kind.
        """
        check_choice("metric", metric, METRICS)
        chosen = plain(dict(options or {}), f"options of index {kind!r}")
        engine: Kind = INDEXES.build(kind, options=chosen)
        if not isinstance(model, str):
            raise UserError(f"model={shown(model)} must be text: the fingerprint of the model, or '' if unknown.")
        names = as_names("ids", ids)
        checked = as_rows("vectors", vectors, metric)
        same_length(names, checked)
        if len(checked) < engine.fewest:
            raise UserError(
                f"index {kind!r} needs {engine.fewest} vectors or more; there are {len(checked)}. Use kind='flat'."
            )
        rows = Rows(checked, metric)
        said = engine.fit(rows, progress=progress)
        index = cls(rows, [*names], engine, kind=kind, metric=metric, options=chosen)
        index.model, index.said = model, said
        index.measured = measure(index)
        return index

    def __repr__(self) -> str:
        return f"Index({self.kind}, {len(self)} vectors, dim {self.dim}, {self.metric})"

    @property
    def fingerprint(self) -> str:
        """Digest of model, metric, ids and vectors (64 hexadecimal digits); kind and options do not count."""
        if not self._fingerprint:
            self._fingerprint = writing.fingerprint_of(self.model, self.metric, self._rows, self._names)
        return self._fingerprint

    def save(self, folder: Path) -> Path:
        """Write the index into a folder of its own, new or in place of an index that is there, and return the folder.

        Raises:
            UserError: the folder holds something else, cannot be written, or the disk is full.
        """
        keep = None if self._dead is None or not self._engine.exact else ~self._dead
        about = {
            "kind": self.kind,
            "options": self.options,
            "metric": self.metric,
            "dim": self.dim,
            "count": len(self),
            "model": self.model,
            "fingerprint": self.fingerprint,
            "measured": self.measured,
            "said": list(self.said),
        }
        names = list(self._at) if keep is not None else self._names
        return writing.write(Path(folder), about, self._rows, keep, names, self._engine.dump())

    @classmethod
    def load(cls, folder: Path, *, model: str = "", mmap: bool = True) -> Index:
        """Read an index; all of its vectors are read once, to compare them with its fingerprint.

        Args:
            folder: what `save` wrote.
            model: fingerprint of the model that makes the queries; "" takes an index of any model.
            mmap: leave the vectors in their file and read what is needed; False reads them into memory.

        Raises:
            UserError: no index, an index of another model, a damaged or exchanged file, or a layout that this version
                does not know.
        """
        return reading.retried(Path(folder), lambda place: cls._load(place, model, mmap))

    @classmethod
    def _load(cls, place: Path, model: str, mmap: bool) -> Index:
        about = reading.read_manifest(place)
        reading.check_model(place, about, model)
        engine: Kind = INDEXES.build(about["kind"], options=about["options"])
        check_choice("metric", about["metric"], METRICS)
        rows = Rows(reading.read_vectors(place, about, mmap=mmap), about["metric"], scaled=True)
        names = reading.read_names(place, about)
        reading.check_content(place, about, rows, names)
        reading.restore(place, about, engine, rows)
        index = cls(rows, names, engine, **{name: about[name] for name in ("kind", "metric", "options")})
        index.model, index.said, index.measured = about["model"], tuple(about["said"]), about["measured"]
        index._fingerprint = about["fingerprint"]
        return index
