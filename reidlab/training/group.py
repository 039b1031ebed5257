"""The processes of one training: who they are, and what they tell each other.

Every process draws the same batches and computes its own slice of each. What the model says of the slices is put
together with its gradient, so that every process has the same loss of the whole batch; the mean of the processes'
gradients is then that of one process. `ALONE` is the group of a training in one process, where all of it does nothing.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from reidlab.errors import UserError

__all__ = ["ALONE", "NORMS", "PATIENCE", "Group", "Lost"]

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)  # what depends on the other images of a batch
PATIENCE = dt.timedelta(hours=2)  # for a process that is alive and says nothing: others validate or ask teachers

Thing = TypeVar("Thing")


class Lost(UserError):
    """Another process of the training ended, or did not answer in time."""


class Group:
    """The processes of a training, seen from one of them.

    Args:
        rank: number of this process, from 0.
        size: how many there are.
        control: where plain data goes, over gloo; None: the default group.

    Attributes:
        leads: whether this is the process that writes files and tells the user.
    """

    def __init__(self, rank: int = 0, size: int = 1, control: dist.ProcessGroup | None = None) -> None:
        self.rank, self.size, self.leads, self._control = rank, size, rank == 0, control

    @classmethod
    def join(cls, device: str, **how: Any) -> Group:
        """Join the processes that `torch.distributed.init_process_group` is told of.

        Args:
            device: cpu (gloo) or cuda (nccl, one GPU a process).
            how: store, rank and world_size; or init_method "env://".

        Raises:
            Lost: not all of them came.
        """
        with _told_plainly():
            dist.init_process_group("nccl" if device == "cuda" else "gloo", timeout=PATIENCE, **how)
            control: Any = dist.new_group(backend="gloo", timeout=PATIENCE) if device == "cuda" else None
        return cls(dist.get_rank(), dist.get_world_size(), control)

    def leave(self) -> None:
        """Leave the group; the other processes leave too."""
        if dist.is_initialized():
            dist.destroy_process_group()

    def part(self, n: int) -> slice:
        """Return this process's slice of a batch of n images: of three processes, the first has images 0, 3, 6 ...

        In PK batches, where an identity's images stand side by side, each slice then has images of all identities, and
        norms that see a slice alone see nearly what they would see in the whole batch.
        """
        return slice(self.rank, n, self.size)

    def share(self, value: Thing) -> Thing:
        """Return process 0's value, plain data, on all processes."""
        if self.size == 1:
            return value
        given = [value]
        with _told_plainly():
            dist.broadcast_object_list(given, 0, group=self._control)
        return given[0]

    def collect(self, value: Thing) -> list[Thing]:
        """Return the values of all processes, plain data, on all processes."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        with _told_plainly():
            dist.all_gather_object(found, value, group=self._control)
        return found

    def add(self, tensor: Tensor) -> Tensor:
        """Return the sum over processes of a contiguous tensor, in its place."""
        if self.size > 1:
            with _told_plainly():
                dist.all_reduce(tensor)
        return tensor

    def stack(self, tensor: Tensor) -> Tensor:
        """Return the tensors of all processes [size, ...], without a gradient."""
        rows = tensor.new_zeros(self.size, *tensor.shape)
        rows[self.rank] = tensor.detach()
        return self.add(rows)

    def whole(self, tree: Thing, n: int) -> Thing:
        """Put the slices of a batch of n images together.

        Backward, a slice gets the sum of the processes' gradients: as many times that of one process, whose mean over
        processes the gradients of weights then are.

        Args:
            tree: tensors [slice, ...] in tuples, named tuples and mappings; None stays None.
            n: images of the batch.

        Returns:
            the same of tensors [n, ...], equal on all processes.
        """
        if self.size == 1:
            return tree
        own = list({id(tensor): tensor for tensor in _tensors(tree)}.values())
        found = dict(zip(map(id, own), _Whole.apply(self, n, *own)))
        return _replaced(tree, found)

    def whole_gradients(self, gradients: Tensor, n: int) -> Tensor:
        """Put together gradients [term, slice, dim] by slices of a batch of n images, as one process has them."""
        if self.size == 1:
            return gradients
        rows = gradients.new_zeros(n, len(gradients), *gradients.shape[2:])
        rows[self.part(n)] = gradients.transpose(0, 1)
        return self.add(rows).transpose(0, 1) / self.size

    def average(self, parameters: Sequence[nn.Parameter], model: nn.Module | None = None) -> None:
        """Replace gradients by their mean over processes, and the running statistics of `model`'s norms by theirs.

        A parameter without a gradient on some processes has 0 there; without one on all it stays so.
        """
        if self.size == 1:
            return
        learning = [parameter for parameter in parameters if parameter.requires_grad]
        there = torch.tensor([parameter.grad is not None for parameter in learning], dtype=torch.float32)
        lacking = [parameter for parameter in learning if parameter.grad is None]
        for parameter in lacking:
            parameter.grad = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in learning if parameter.grad is not None]
        shares = there.to(learning[0].device)
        _together([*gradients, *_running(model), shares], lambda flat: self.add(flat).div_(self.size))
        if lacking:
            for parameter, share in zip(learning, shares.tolist()):
                parameter.grad = parameter.grad if share else None

    def align(self, *modules: nn.Module) -> None:
        """Give parameters and buffers the values that they have in process 0."""
        if self.size == 1:
            return
        with _told_plainly():
            tensors = [tensor for module in modules for tensor in (*module.parameters(), *module.buffers())]
            _together(tensors, lambda flat: dist.broadcast(flat, 0))

    def part_ways(self, *seeds: int) -> None:
        """Seed torch's generators apart, so that dropout differs between slices; process 0 keeps its state."""
        if not self.leads:
            drawn = np.random.SeedSequence([*seeds, self.rank]).generate_state(1, np.uint64)[0]
            torch.manual_seed(int(drawn) >> 1)


class _Whole(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, group: Group, n: int, *own: Tensor) -> tuple[Tensor, ...]:
        ctx.group, ctx.n = group, n
        ctx.set_materialize_grads(False)
        found = tuple(_filled(group, n, tensor) for tensor in own)
        ctx.mark_non_differentiable(*(f for f, wanted in zip(found, ctx.needs_input_grad[2:]) if not wanted))
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        part = ctx.group.part(ctx.n)
        wanted = ctx.needs_input_grad[2:]
        # not in place: autograd may hand the same tensor to others
        return (
            None,
            None,
            *(
                ctx.group.add(g.clone(memory_format=torch.contiguous_format))[part] if g is not None and w else None
                for g, w in zip(gradients, wanted)
            ),
        )


def _filled(group: Group, n: int, own: Tensor) -> Tensor:
    """Return a batch whose slices come from the processes: sums with zeros, which change no bit."""
    rows = torch.zeros(n, *own.shape[1:], dtype=own.dtype, device=own.device)
    rows[group.part(n)] = own
    return group.add(rows)


def _together(tensors: Sequence[Tensor], change: Callable[[Tensor], object]) -> None:
    """Change tensors of any shapes in place by a function of a flat one, once for each type."""
    for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
        same = [tensor for tensor in tensors if tensor.dtype == dtype]
        with torch.no_grad():
            flat = torch.cat([tensor.detach().reshape(-1) for tensor in same])
            change(flat)
            for tensor, values in zip(same, flat.split([tensor.numel() for tensor in same])):
                tensor.copy_(values.view(tensor.shape))


def _running(model: nn.Module | None) -> list[Tensor]:
    """Return the running means and variances of the norms that are training."""
    norms = [m for m in model.modules() if isinstance(m, NORMS) and m.training] if model is not None else []
    found = [tensor for norm in norms for tensor in (norm.running_mean, norm.running_var)]
    return [tensor for tensor in found if tensor is not None]


def _tensors(tree: Any) -> Iterator[Tensor]:
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, (tuple, dict)):
        for item in tree.values() if isinstance(tree, dict) else tree:
            yield from _tensors(item)


def _replaced(tree: Any, found: dict[int, Tensor]) -> Any:
    if isinstance(tree, Tensor):
        return found[id(tree)]
    if isinstance(tree, dict):
        return {name: _replaced(item, found) for name, item in tree.items()}
    if isinstance(tree, tuple):
        items = [_replaced(item, found) for item in tree]
        return type(tree)(*items) if hasattr(tree, "_fields") else tuple(items)
    return tree


@contextmanager
def _told_plainly() -> Iterator[None]:
    """Turn what the library says of a process that is gone into `Lost`."""
    try:
        yield
    except RuntimeError as error:
        said = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise Lost(f"Another process of this training ended or does not answer ({said}).") from error


ALONE = Group()
