"""Which sweep notebook 23 looks at: the one that is named, or a small one of notebook 02 that it runs itself."""

from __future__ import annotations

from pathlib import Path

from reidlab.params import Ablation
from reidlab.sweeps.files import load_sweep
from reidlab.sweeps.planning import plan_sweep
from reidlab.sweeps.running import run_sweep
from reidlab.sweeps.table import SweepTable, read_sweep

__all__ = ["EXAMPLE", "sweep_for"]

EXAMPLE = Path(__file__).resolve().parent / "example.yaml"


def sweep_for(p: Ablation) -> SweepTable:
    """Read the table of a sweep, or run the example (what is finished of it is found).

    Raises:
        UserError: there is no such sweep.
    """
    return read_sweep(p.sweep) if p.sweep else run_sweep(plan_sweep(load_sweep(EXAMPLE)))
