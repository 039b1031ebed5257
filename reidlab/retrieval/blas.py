"""Let the BLAS work in one thread while several of ours call it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits

__all__ = ["one_blas_thread"]

_lock = threading.RLock()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Give the BLAS one thread; other Python threads wait at this place meanwhile.

    The number holds for the whole process: the first of two threads that leaves would restore it under the other, whose
    products would have other last bits from there on.
    """
    with _lock, threadpool_limits(1, user_api="blas"):
        yield
