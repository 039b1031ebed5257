"""The engine compiled: torch.compile, with weights as constants of the code that it makes."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from reidlab.devices import plan
from reidlab.errors import UserError
from reidlab.models.engines.base import Job, Prepared, Runner, of_model
from reidlab.progress import say

__all__ = ["prepare_compiled"]

_CHUNK = 16  # images; one size of batch is one compilation


def prepare_compiled(model: nn.Module, job: Job) -> Prepared:
    """Compile a copy of the model for one size of batch, which takes a minute or two and is said beforehand.

    Raises:
        UserError: torch.compile does not work here, or not for this model.
    """
    compute, how = plan(job.device, job.precision), of_model(model)
    size = min(job.batch_size or _CHUNK, _CHUNK)
    placed: Any = compute.place(copy.deepcopy(model).eval())
    options: dict[str, Any] = {"freezing": True} if compute.device.type == "cpu" else {}
    call = torch.compile(placed, dynamic=False, options=options)

    def run(images: torch.Tensor) -> torch.Tensor:
        return torch.cat([call(part).float() for part in images.split(size)])

    module = Runner(run, how, int(getattr(model, "dim", 0)), size)
    prepared = Prepared(module, compute, "compiled", compute.precision, job.batch_size or 4 * size)
    say("engine compiled: torch.compile takes a minute or two for this model.")
    try:
        prepared.embed(job.sample[:1])
    except Exception as error:  # of many kinds: no compiler, no headers, no Triton, a model that it does not manage
        reason = str(error).strip().partition("\n")[0]
        raise UserError(
            f"engine='compiled': torch.compile does not work here for {type(model).__name__} ({reason}). On the CPU it "
            "needs a C++ compiler. Choose another engine."
        ) from error
    return prepared
