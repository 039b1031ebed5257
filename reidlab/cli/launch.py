"""Notebook 03's training in processes that torchrun or `accelerate launch` starts, on one machine or several.

`torchrun --nproc_per_node 2 -m reidlab.cli.launch -p recipe demo` trains what `reidlab run 03 -p recipe demo` does with
`-p processes 2`, and each finds what the other made. All machines see data and reports at the same paths. The first
process does what notebook 03 does; the others wait until it tells them what to train.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from reidlab.cli.console import join_pairs, read_pairs
from reidlab.errors import UserError
from reidlab.failures import exit_code, print_anything
from reidlab.params import Training

if TYPE_CHECKING:
    from reidlab.training.group import Group

__all__ = ["main"]

_NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


def main(arguments: Sequence[str] | None = None) -> int:
    """Train with parameters `-p name value`; return the exit code."""
    print_anything()
    try:
        p = _parameters(sys.argv[1:] if arguments is None else arguments)
        group = _joined(p.device, os.environ)
        try:
            _lead(p, group) if group.leads else _follow(group)
        finally:
            group.leave()
    except Exception as error:
        return exit_code(error)
    return 0


def _parameters(words: Sequence[str]) -> Training:
    """Read `-p name value`, as `reidlab run 03` takes them; how many processes there are says who starts them."""
    joined = join_pairs(words)
    flags, pairs = joined[::2], joined[1::2]
    if len(flags) != len(pairs) or set(flags) - {"-p", "--param"}:
        raise UserError(f"{' '.join(words)!r} cannot be read: give parameters of notebook 03 as `-p name value`.")
    values = read_pairs(pairs)
    if "processes" in values:
        raise UserError("processes: torchrun or accelerate launch says how many there are; leave it out.")
    return Training.from_values(values)


def _joined(device: str, env: Mapping[str, str]) -> Group:
    """Join the other processes as the environment says.

    Raises:
        UserError: nobody started this process as one of several.
    """
    missing = [name for name in _NAMES if name not in env]
    if missing:
        raise UserError(
            f"The environment lacks {', '.join(missing)}: start this by `torchrun --nproc_per_node 2 -m "
            "reidlab.cli.launch -p recipe demo`, or by `accelerate launch --multi_gpu --num_processes 2 -m ...`, which "
            "starts several on a CPU too (with --cpu it starts one). `reidlab run 03 -p processes 2` needs neither."
        )
    from reidlab.devices import check_device
    from reidlab.training.group import Group
    from reidlab.training.processes import visible_gpu

    kind = check_device(device)
    if kind == "cuda":  # each process sees one GPU, before any of them is used
        os.environ["CUDA_VISIBLE_DEVICES"] = visible_gpu(int(env["LOCAL_RANK"]), env)
    group = Group.join(kind, init_method="env://")
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        os.environ.pop(name, None)  # or accelerate would wrap the model, and average its gradients a second time
    return group


def _lead(p: Training, group: Group) -> None:
    """Train, or find the training, and say where it is."""
    from reidlab import stages

    data = stages.data_for(p)
    run = stages.train_for(data, stages.recipe_for(p), p, group=group)
    group.share(None)  # the others go home
    print(f"{'Trained' if run.made else 'Found'} {run.path.name}. Evaluate it: {stages.evaluation_line(run, p)}")


def _follow(group: Group) -> None:
    """Train what the first process says, until it says nothing more."""
    import warnings

    from reidlab.training.job import Job
    from reidlab.training.loop import train

    warnings.simplefilter("ignore")  # the first process gives the same ones
    while isinstance(job := group.share(None), Job):
        train(job, group)


if __name__ == "__main__":
    from reidlab.training.worker import leave_at_once

    leave_at_once(main())
