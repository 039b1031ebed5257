"""Batch normalisation over the slices of all processes; torch's own SyncBatchNorm refuses the CPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode

from reidlab.training.group import NORMS, Group

__all__ = ["has_batch_norms", "synced_batch_norm", "synchronised"]


def synchronised(group: Group, wanted: bool) -> AbstractContextManager[Any]:
    """Return a context in which batch norms that are training see the batches of all processes.

    It acts on whatever module they stand in, and on no copy of the model that is run outside it.

    Args:
        group: its processes all run the same norms in the same order.
        wanted: False, or a group of one, changes nothing.
    """
    return _Synchronised(group) if wanted and group.size > 1 else nullcontext()


def has_batch_norms(model: nn.Module) -> bool:
    """Return whether a model has norms that depend on the other images of a batch."""
    return any(isinstance(module, NORMS) for module in model.modules())


def synced_batch_norm(
    group: Group,
    images: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    momentum: float,
    eps: float,
) -> Tensor:
    """Normalise each channel by mean and variance over all processes, as `torch.nn.functional.batch_norm` does.

    Args:
        group: its processes.
        images: this process's slice [slice, channel, ...].
        running_mean, running_var: [channel], moved by `momentum` towards the batch's mean and unbiased variance.
        weight, bias: [channel], or None.
        momentum: share of this batch.
        eps: added to the variance.
    """
    means, squares, n = _moments(group, images)
    if running_mean is not None and running_var is not None:
        with torch.no_grad():
            running_mean.lerp_(means.to(running_mean.dtype), momentum)
            running_var.lerp_((squares / (n - 1).clamp(min=1)).to(running_var.dtype), momentum)
    scale = (squares / n + eps).rsqrt()
    normed: Tensor = _Normed.apply(group, n, images, means, scale)
    row = _row(images)
    weighted = normed if weight is None else normed * weight.to(normed.dtype).view(row)
    return (weighted if bias is None else weighted + bias.to(normed.dtype).view(row)).to(images.dtype)


class _Synchronised(TorchFunctionMode):
    """Send batch norms in training mode to `synced_batch_norm`."""

    def __init__(self, group: Group) -> None:
        super().__init__()
        self.group = group

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if func is F.batch_norm:
            return self._of_functional(*args, **given)
        if func is torch.batch_norm:  # what F.batch_norm calls, seen by older versions of torch
            return self._of_torch(*args, **given)
        return func(*args, **given)

    def _of_functional(
        self,
        input: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        if not training:
            return F.batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
        return synced_batch_norm(self.group, input, running_mean, running_var, weight, bias, momentum, eps)

    def _of_torch(
        self,
        input: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        training: bool,
        momentum: float,
        eps: float,
        cudnn: bool,
    ) -> Tensor:
        if not training:
            return torch.batch_norm(input, weight, bias, running_mean, running_var, False, momentum, eps, cudnn)
        return synced_batch_norm(self.group, input, running_mean, running_var, weight, bias, momentum, eps)


def _moments(group: Group, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return means [channel], sums of squared distances from them [channel] and the number of values [].

    Put together from those of the processes as by Chan, Golub and LeVeque (1983), which loses no digits.
    """
    with torch.no_grad():
        values = _exact(images.detach())
        dims = _all_but_channels(images)
        own = values.mean(dims)
        squares = (values - own.view(_row(images))).square().sum(dims)
        n = own.new_full((1,), images.numel() // images.shape[1])
        ns, means, parts = group.stack(torch.cat([n, own, squares])).split([1, len(own), len(own)], dim=1)
        mean = (ns * means).sum(0) / ns.sum()
        return mean, (parts + ns * (means - mean).square()).sum(0), ns.sum()  # a tensor: nobody waits for the device


class _Normed(torch.autograd.Function):
    """(images - mean) * scale, whose gradient knows that both depend on the images of all processes."""

    @staticmethod
    def forward(ctx: Any, group: Group, n: Tensor, images: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(images, mean, scale, n)
        ctx.group = group
        return (_exact(images) - mean.view(_row(images))) * scale.view(_row(images))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        images, mean, scale, n = ctx.saved_tensors
        row, dims = _row(images), _all_but_channels(images)
        normed = (_exact(images) - mean.view(row)) * scale.view(row)
        sums = torch.stack([gradient.sum(dims), (gradient * normed).sum(dims)])
        along, across = ctx.group.add(sums) / n
        by_images = scale.view(row) * (gradient - along.view(row) - normed * across.view(row))
        return None, None, by_images.to(images.dtype), None, None


def _exact(values: Tensor) -> Tensor:
    return values.float() if values.dtype.itemsize < 4 else values


def _row(images: Tensor) -> list[int]:
    return [1, -1, *[1] * (images.dim() - 2)]


def _all_but_channels(images: Tensor) -> list[int]:
    return [0, *range(2, images.dim())]
