"""Results kept on disk: stages, the runs that they made, the digest of the code behind them, where they come from."""

from reidlab.store.clearing import Leftover, gc, remove_run
from reidlab.store.runs import Run, find_run, list_runs, load_run, runs_root
from reidlab.store.stages import stage

__all__ = ["Leftover", "Run", "find_run", "gc", "list_runs", "load_run", "remove_run", "runs_root", "stage"]
