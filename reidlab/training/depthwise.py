"""Gradients of depthwise convolutions in bfloat16 on a CPU, where the library's own take a slow path.

oneDNN computes some of them by its reference loops: by the image where the stride is above 1, by the weights where the
kernel is larger than 3. On a 2-core Xeon with AMX that was 70 % of a training step of EfficientNet-Lite0. Both can be
said in convolutions that it computes fast:

- by the image: the transposed convolution, that is a plain one of the gradient, spread out with zeros between its
  elements, with the kernel turned by 180 degrees;
- by the weights: a kernel of up to 3 x 3 at a time, each element of the kernel in at least one of them.

They are the same sums, rounded to bfloat16 at the same places, in another order (benchmarks/train_speed.py has times).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode

from reidlab.devices import ComputePlan

__all__ = ["depthwise_conv2d", "fast_depthwise"]

_FAST_SIDE = 3  # oneDNN's weight gradient in bfloat16 is fast up to this kernel side


def fast_depthwise(compute: ComputePlan) -> AbstractContextManager[Any]:
    """Return a context in which a model's forward pass records fast gradients; it changes nothing elsewhere.

    It acts on a CPU in bfloat16, on depthwise convolutions that have a stride above 1 or a kernel larger than 3, in
    whatever module they stand; `torch.compile` sees through it.
    """
    if compute.device.type == "cpu" and compute.autocast_dtype == torch.bfloat16:
        return _Redirected()
    return nullcontext()


def depthwise_conv2d(
    images: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int], bias: Tensor | None = None
) -> Tensor:
    """Convolve each channel with its own kernel, as `torch.nn.functional.conv2d` does, with the other gradients.

    Args:
        images: [batch, channel, height, width].
        weight: [channel, 1, kernel height, kernel width], of the images' type.
        stride: down and right.
        padding: zeros above and below, left and right; less than the kernel's sides.
        bias: [channel], or None.
    """
    result: Tensor = _Depthwise.apply(images, weight, bias, tuple(stride), tuple(padding))
    return result


class _Redirected(TorchFunctionMode):
    """Send the depthwise convolutions that gain from it to `depthwise_conv2d`."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is F.conv2d:
            found = _gaining(*args, **(kwargs or {}))
            if found is not None:
                return found
        return func(*args, **(kwargs or {}))


def _gaining(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor | None:
    """Convolve as autocast would where the convolution is depthwise and gains; else give None."""
    channels, per_group, high, wide = weight.shape
    if groups == 1 or not groups == channels == input.shape[1] or per_group != 1 or isinstance(padding, str):
        return None
    down, right = _pair(stride)
    above, left = _pair(padding)
    slow = max(down, right) > 1 or max(high, wide) > _FAST_SIDE
    if not slow or _pair(dilation) != (1, 1) or above >= high or left >= wide or not weight.requires_grad:
        return None
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else input.dtype
    if dtype != torch.bfloat16 or input.device.type != "cpu":
        return None
    bias = bias if bias is None else bias.to(dtype)
    return depthwise_conv2d(input.to(dtype), weight.to(dtype), (down, right), (above, left), bias)


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        images: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: tuple[int, int],
        padding: tuple[int, int],
    ) -> Tensor:
        ctx.save_for_backward(images, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(images, weight, bias, stride, padding, 1, len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor | None, None, None]:
        images, weight = ctx.saved_tensors
        by_images, by_weight = _gradients(gradient, images, weight, [*ctx.stride], [*ctx.padding])
        by_bias = gradient.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None
        return by_images, by_weight, by_bias, None, None


@torch.library.custom_op("reidlab::depthwise_gradients", mutates_args=())
def _gradients(
    gradient: Tensor, images: Tensor, weight: Tensor, stride: list[int], padding: list[int]
) -> tuple[Tensor, Tensor]:
    """Return the gradients by the images and by the weight, one operation that torch.compile does not unfold."""
    gradient = gradient.contiguous(memory_format=torch.channels_last)
    return (
        _by_images(gradient, images.shape, weight, stride, padding),
        _by_weight(gradient, images, weight, stride, padding),
    )


@_gradients.register_fake
def _(gradient: Tensor, images: Tensor, weight: Tensor, stride: list[int], padding: list[int]) -> tuple[Tensor, Tensor]:
    return images.new_empty(images.shape).to(memory_format=torch.channels_last), torch.empty_like(weight)


def _by_images(
    gradient: Tensor, shape: torch.Size, weight: Tensor, stride: Sequence[int], padding: Sequence[int]
) -> Tensor:
    """Spread the gradient out and convolve it with the turned kernel."""
    batch, channels, high, wide = shape
    sides = weight.shape[2:]
    steps = [length + 2 * pad - side + 1 for length, pad, side in zip((high, wide), padding, sides)]
    if max(stride) > 1:
        spread = gradient.new_zeros(batch, *steps, channels).permute(0, 3, 1, 2)
        spread[:, :, :: stride[0], :: stride[1]] = gradient
        gradient = spread
    around = [side - 1 - pad for side, pad in zip(sides, padding)]
    return F.conv2d(gradient, weight.flip(2, 3), None, 1, around, 1, channels).contiguous(
        memory_format=torch.channels_last
    )


def _by_weight(
    gradient: Tensor, images: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int]
) -> Tensor:
    """Take the kernel in tiles of at most 3 x 3; where two overlap they say the same."""
    sides = weight.shape[2:]
    if max(sides) <= _FAST_SIDE:
        return _library_by_weight(gradient, images, weight, stride, padding)
    around = F.pad(images, (padding[1], padding[1], padding[0], padding[0]))
    result = torch.empty_like(weight)
    tile = [min(side, _FAST_SIDE) for side in sides]
    like = weight[:, :, : tile[0], : tile[1]].contiguous()
    reach = [(steps - 1) * by + side for steps, by, side in zip(gradient.shape[2:], stride, tile)]
    for top, left in itertools.product(*(_starts(side) for side in sides)):
        seen = around[:, :, top : top + reach[0], left : left + reach[1]].contiguous(memory_format=torch.channels_last)
        part = _library_by_weight(gradient, seen, like, stride, (0, 0))
        result[:, :, top : top + tile[0], left : left + tile[1]] = part
    return result


def _starts(side: int) -> Iterator[int]:
    """Return where tiles of a kernel's side begin: 0 and 2 for 5; 0, 3 and 4 for 7."""
    last = max(side - _FAST_SIDE, 0)
    yield from range(0, last, _FAST_SIDE)
    yield last


def _library_by_weight(
    gradient: Tensor, images: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int]
) -> Tensor:
    dtype = weight.dtype
    if dtype.itemsize < 4 and _sees_padding_alone(gradient, images, weight, stride, padding):
        gradient, images, weight = gradient.float(), images.float(), weight.float()
    result: Tensor = torch.ops.aten.convolution_backward(
        gradient, images, weight, None, stride, padding, (1, 1), False, (0, 0), len(weight), [False, True, False]
    )[1]
    return result.to(dtype)


def _sees_padding_alone(
    gradient: Tensor, images: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int]
) -> bool:
    """Return whether some row or column of the kernel never meets the image, as on maps narrower than the kernel.

    Its gradient is 0, but oneDNN's of bfloat16 leaves it unwritten where the stride is above 1: what stood in that
    memory, NaN at times, goes into the weights while the loss stays finite.
    """
    for length, side, steps, by, pad in zip(
        images.shape[2:], weight.shape[2:], gradient.shape[2:], stride, padding, strict=True
    ):
        for place in range(side):
            if not any(0 <= place - pad + by * step < length for step in range(steps)):
                return True
    return False


def _pair(value: int | Sequence[int]) -> tuple[int, int]:
    """Return down and right."""
    if isinstance(value, int):
        return value, value
    both = tuple(value)
    return (both[0], both[0]) if len(both) == 1 else (both[0], both[1])
