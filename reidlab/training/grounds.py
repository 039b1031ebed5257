"""What must be the same where a training goes on, and the grounds on which it then is the same to the bit.

A training that goes on elsewhere keeps the precision that it began with, and says what else differs.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from reidlab.devices import ComputePlan, plan
from reidlab.documents import as_mapping, read_json
from reidlab.errors import UserError
from reidlab.training.recipes import Recipe

__all__ = ["begun_on", "grounds_of", "plan_of", "refuse_other", "refuse_other_processes", "say_changes"]

_PROCESSES = "processes"
_LONGEST = 2**26  # bytes of a training's progress, which has its history


def grounds_of(compute: ComputePlan, processes: int = 1) -> dict[str, Any]:
    """Return what the last digits of a training depend on besides recipe, data and seed; host names are left out."""
    cuda = compute.device.type == "cuda"
    return {
        **({_PROCESSES: processes} if processes > 1 else {}),
        "device": torch.cuda.get_device_name(compute.device) if cuda else compute.device.type,
        "precision": compute.precision,
        "threads": torch.get_num_threads(),
        "kernels": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
    }


def begun_on(folder: Path) -> dict[str, Any]:
    """Return the grounds of the stopped training in a folder; empty if there is none or it kept none."""
    try:
        last = as_mapping(read_json(folder / "last.json", "last.json"), "last.json")
        path = folder / str(last.get("checkpoint")) / "progress.json"
        progress = as_mapping(read_json(path, "progress.json", limit=_LONGEST, finite=False), "progress.json")
        return dict(progress["grounds"][-1])
    except (UserError, KeyError, IndexError, TypeError, ValueError):  # `Checkpoints.load` says what is damaged
        return {}


def plan_of(device: str, precision: str, begun: dict[str, Any]) -> ComputePlan:
    """Choose device and precision; `auto` goes on with the precision that a training began with.

    Args:
        device: cpu, cuda, mps or auto.
        precision: that of the recipe.
        begun: grounds of a stopped training, or nothing.

    Raises:
        UserError: as `reidlab.devices.plan`.
    """
    compute = plan(device, precision)
    before = begun.get("precision")
    if precision != "auto" or before not in ("float32", "bfloat16") or before == compute.precision:
        return compute
    warnings.warn(
        f"The training continues in {before}, in which it began; here, precision 'auto' would choose "
        f"{compute.precision}.",
        stacklevel=2,
    )
    return plan(device, before)


def say_changes(before: dict[str, Any], now: dict[str, Any]) -> None:
    """Warn that a training goes on on other grounds, so that its last digits differ from those of one never stopped."""
    before, now = {_PROCESSES: 1, **before}, {_PROCESSES: 1, **now}
    changes = [
        f"{name} {before[name]}, now {now[name]}" for name in now if name in before and before[name] != now[name]
    ]
    if changes:
        warnings.warn(
            f"The training began with {'; '.join(changes)}: its result will be as good, but not bit-identical to that "
            "of a training that was never stopped.",
            stacklevel=2,
        )


def refuse_other_processes(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any], norms: bool) -> None:
    """Refuse to go on with another number of processes where norms see the slice of one.

    Args:
        folder: of the training.
        before: grounds of the stopped training.
        now: those of this one.
        norms: whether the model has batch norms that are not synchronised.

    Raises:
        UserError: saying how many there were.
    """
    began = before.get(_PROCESSES, 1)
    if norms and began != now.get(_PROCESSES, 1):
        raise UserError(
            f"{folder} holds a training that began with processes={began}, and with {now.get(_PROCESSES, 1)} its batch "
            f"norms would see slices of another size. Go on with processes={began}, or begin anew in another folder "
            "(with `sync_norms: true` in the recipe the number does not matter)."
        )


def refuse_other(folder: Path, progress: Mapping[str, Any], given: Mapping[str, Any], recipe: Recipe) -> None:
    """Refuse to resume a different training; options that an older one did not know count as their defaults.

    Args:
        folder: of the training.
        progress: what is written of the training in it.
        given: seed and digest of the data of this one.
        recipe: of this one.

    Raises:
        UserError: naming what differs.
    """
    other = [name for name in ("seed", "data") if progress.get(name) != given[name]]
    try:
        same = Recipe.model_validate(progress.get("recipe")).experiment() == recipe.experiment()
    except ValidationError:
        same = False
    other = other if same else ["recipe", *other]
    if other:
        what = " and ".join(other)
        raise UserError(f"{folder} holds a training with another {what}; choose another folder or remove it.")
