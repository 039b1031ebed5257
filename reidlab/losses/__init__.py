"""Losses by name (`LOSSES`), and by class: `from reidlab.losses import TripletLoss`.

Each is (features, labels) -> scalar with `.stats` after a call. Where a call takes something else, `takes_of(name)`
says so: "ehtm" takes (a, p, n, a_labels, n_labels), distillation losses take the student's and the teacher's output,
"kd" labels as well. Label -1 marks an image of unknown identity. Half-precision features are computed in float32.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from reidlab.registry import LOSSES

__all__ = ["LOSSES", "build", "takes_of"]


def build(name: str, **options: Any) -> nn.Module:
    """Return a loss by its registered name.

    Raises:
        UserError: unknown name or option, or a value that the loss refuses.
    """
    loss: nn.Module = LOSSES.build(name, options=options)
    return loss


def takes_of(name: str) -> tuple[str, ...]:
    """Return what a call of a loss is given, in order; an unregistered loss takes features and labels."""
    takes: tuple[str, ...] = LOSSES.find(name).facts.get("takes", ("features", "labels"))
    return takes


def __getattr__(name: str) -> Any:
    return LOSSES.attribute(name, __name__)
