"""The engine torch: the model as it is, the reference for all others."""

from __future__ import annotations

from torch import nn

from reidlab.devices import plan
from reidlab.models.engines.base import Job, Prepared

__all__ = ["prepare_torch"]


def prepare_torch(model: nn.Module, job: Job) -> Prepared:
    """Move the model to the device; it computes in the job's precision by autocast."""
    compute = plan(job.device, job.precision)
    return Prepared(compute.place(model), compute, "torch", compute.precision, job.batch_size)
