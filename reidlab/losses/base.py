"""What every loss is: a module with stats, whose forward sees tensors that can be used and that belong together."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from reidlab.losses.precision import in_full_precision

__all__ = ["Loss"]


class Loss(nn.Module):
    """A loss: a subclass writes `forward` and says in its own words what it computes.

    Its forward is decorated by `in_full_precision`, which refuses tensors and shapes that do not fit.

    Attributes:
        stats: figures of the last call, scalars without a graph.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stats: dict[str, Tensor] = {}

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        if "forward" in vars(cls):
            cls.forward = in_full_precision(cls.forward)
