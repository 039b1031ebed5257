"""faiss, imported when it is needed: it brings its own threads and libraries."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from reidlab.errors import UserError
from reidlab.retrieval.index.rows import Rows

__all__ = ["add_rows", "alone", "import_faiss", "packed", "unpacked"]

FEW = 3  # queries that are searched in one thread


def import_faiss() -> Any:
    """Return faiss; on macOS with one thread, since its OpenMP and torch's crash beside each other.

    Raises:
        UserError: it cannot be imported.
    """
    try:
        import faiss
    except ImportError as error:
        raise UserError(f"faiss cannot be imported ({error}): `pip install faiss-cpu`, or use kind='flat'.") from error
    if sys.platform == "darwin":
        faiss.omp_set_num_threads(1)
    return faiss


@contextmanager
def alone(n_queries: int) -> Iterator[None]:
    """Search a few queries in one thread of faiss: waking others, on a busy machine, takes longer than the search."""
    faiss = import_faiss()
    threads = faiss.omp_get_max_threads()
    if n_queries > FEW or threads == 1:
        yield
        return
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)


def packed(index: Any, flags: int = 0) -> npt.NDArray[np.uint8]:
    """Return an index of faiss as bytes."""
    faiss = import_faiss()
    writer = faiss.VectorIOWriter()
    faiss.write_index(index, writer, flags)
    found: npt.NDArray[np.uint8] = faiss.vector_to_array(writer.data)
    return found


def unpacked(content: npt.NDArray[np.uint8], rows: Rows, flags: int = 0) -> Any:
    """Return an index of faiss over `rows` from what `packed` returned.

    Raises:
        ValueError: it is over other vectors.
        RuntimeError: faiss cannot read it.
    """
    faiss = import_faiss()
    reader = faiss.VectorIOReader()
    faiss.copy_array_to_vector(np.ascontiguousarray(content, np.uint8), reader.data)
    index = faiss.read_index(reader, flags)
    if (index.ntotal, index.d) != (len(rows), rows.dim):
        raise ValueError(f"it is over {index.ntotal} vectors of length {index.d}")
    return index


def add_rows(index: Any, rows: Rows, *, what: str, progress: bool) -> None:
    """Add all rows to an index of faiss, block by block."""
    from reidlab.progress import bar

    with bar(total=len(rows), desc=what, unit="img", disable=not progress) as shown:
        for _, block in rows.blocks():
            for begin in range(0, len(block), 4096):
                index.add(np.ascontiguousarray(block[begin : begin + 4096]))
                shown.update(min(4096, len(block) - begin))
