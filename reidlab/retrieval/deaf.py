"""A preload of the worker processes that `cluster.workers_of` starts: Ctrl-C is for the process that started them.

A terminal sends it to all of them at once. That process ends them in order; a worker that ends by itself would leave a
traceback, and would be started again.
"""

from __future__ import annotations

import signal
import threading
from typing import Any

__all__ = ["dask_setup"]


def dask_setup(worker: Any) -> None:
    """Ignore Ctrl-C; Dask calls this before the worker begins."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
