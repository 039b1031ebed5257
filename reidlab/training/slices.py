"""What a model says of a batch of which each process computes a slice."""

from __future__ import annotations

from typing import Any

from reidlab.devices import ComputePlan
from reidlab.models import Output
from reidlab.training.group import Group

__all__ = ["whole_output"]


def whole_output(own: Output, model: Any, n: int, group: Group, compute: ComputePlan) -> Output:
    """Put the processes' outputs together to that of the whole batch, equal on all of them, with its gradient.

    The pairs of a Siamese autoencoder are scored anew: those of a slice are not all pairs of the batch.

    Args:
        own: of this process's slice.
        model: that gave it.
        n: images of the batch.
        group: the processes.
        compute: precision of the pair head.
    """
    if group.size == 1 or own.siamese is None or own.siamese.pairs is None:
        return group.whole(own, n)
    whole = group.whole(own._replace(siamese=own.siamese._replace(pairs=None)), n)
    assert whole.siamese is not None
    with compute.autocast():
        pairs = model.pair_head.among(whole.siamese.code)
    return whole._replace(siamese=whole.siamese._replace(pairs=pairs.to(whole.siamese.code.dtype)))
