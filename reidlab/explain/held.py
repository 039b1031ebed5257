"""What follows a model's last maps, taken as the affine function that it is for one image.

The lengths that vectors are divided by (L2 norms, a LayerNorm's spread), the winners of maxima and the open gates of
activations are held as this image has them. What is left is linear in the maps, plus a constant. Anything else that
mixes positions, such as attention, cannot be held so and is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.autograd.forward_ad as fw
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from reidlab.errors import UserError

__all__ = ["HeldHead", "HeldLengths", "WithoutLengths"]

_AFFINE = {
    "mean", "sum", "cat", "stack", "concat", "flatten", "unflatten", "view", "reshape", "squeeze", "unsqueeze",
    "permute", "transpose", "unbind", "split", "chunk", "__getitem__", "getitem", "narrow", "float", "to", "double",
    "contiguous", "clone", "expand", "linear", "conv1d", "conv2d", "batch_norm", "dropout", "add", "sub", "neg",
    "adaptive_avg_pool2d", "avg_pool2d", "normalize", "layer_norm", "t", "movedim", "pad", "view_as", "flip",
    "radd", "rsub", "iadd", "isub",
}  # fmt: skip
_PRODUCTS = {"mul", "rmul", "imul", "div", "truediv", "itruediv", "true_divide", "matmul", "mm", "bmm", "rmatmul"}
_SWITCHES = {
    "relu": "activation", "relu_": "activation", "leaky_relu": "activation", "prelu": "activation",
    "hardtanh": "activation", "relu6": "activation", "clamp": "activation", "clamp_min": "activation",
    "amax": "maximum", "max": "maximum", "adaptive_max_pool2d": "maximum", "max_pool2d": "maximum",
    "where": "activation",
}  # fmt: skip
_CURVES = {"silu", "gelu", "elu", "tanh", "hardswish", "mish"}  # 0 at 0, and taken as the slope from there
_POWERS = {"pow", "pow_"}  # of a generalised mean, which grows with its maps in proportion
_TOLD = {"__get__", "dim", "size", "__set__", "detach", "is_floating_point", "numel", "type", "__len__"}


class HeldLengths(TorchFunctionMode):
    """Divide by lengths as by constants wherever `F.normalize` is called; values stay as they are.

    An embedding of length 1 has no slope along itself: its cosine to itself is 1 whatever the image. With the length
    held, the slope of a cosine is that of the product of the features before they are normalised.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one function of torch."""
        if func is F.normalize:
            return _normalized(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


class HeldHead(TorchFunctionMode):
    """Run a model whose last maps are dual numbers, holding all that is not linear; refuse what cannot be held.

    Args:
        name: of the model, for messages.
        powers: the model has generalised means, so that powers are theirs.

    Attributes:
        held: what was held, in words.
    """

    def __init__(self, name: str, *, powers: bool) -> None:
        super().__init__()
        self.name, self.powers = name, powers
        self.held: dict[str, None] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one function of torch; those of dual numbers are looked at."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "").strip("_") or "?"
        if getattr(func, "__name__", "") in _TOLD:
            return func(*args, **kwargs)
        moving = [each for each in _tensors((args, kwargs)) if fw.unpack_dual(each).tangent is not None]
        if not moving:
            return func(*args, **kwargs)
        if func is F.normalize:
            return _normalized(*args, **kwargs)
        if func is F.layer_norm:
            self.held["the spread of a LayerNorm"] = None
            return _layer_normed(*args, **kwargs)
        if name in _CURVES:
            self.held["the slope of an activation"] = None
            value = func(_still(moving[0]), *args[1:], **{k: v for k, v in kwargs.items() if k != "inplace"})
            slope = torch.where(_still(moving[0]) == 0, 0.0, value / _still(moving[0]))
            return moving[0] * slope
        self._look(name, len(moving))
        return func(*args, **kwargs)

    def _look(self, name: str, moving: int) -> None:
        """Note what is held, refuse what is not linear otherwise."""
        if name in _AFFINE or (name in _PRODUCTS and moving == 1):
            return
        if name in _SWITCHES:
            what = {"activation": "which units an activation lets pass", "maximum": "where a maximum is"}
            self.held[what[_SWITCHES[name]]] = None
            return
        if name in _POWERS and self.powers:
            self.held["the weights of a generalised mean"] = None
            return
        raise UserError(
            f"the embedding of {self.name} cannot be taken apart by location: {name!r} follows its last maps, which "
            "mixes locations or is not linear. Method 'gradcam' or 'rollout' of `attention_maps` may show such a model."
        )


def _tensors(given: Any) -> list[Tensor]:
    if isinstance(given, Tensor):
        return [given]
    if isinstance(given, dict):
        given = list(given.values())
    return [each for part in given for each in _tensors(part)] if isinstance(given, list | tuple) else []


def _still(tensor: Tensor) -> Tensor:
    """Return a tensor's values without slopes, forwards or backwards."""
    return fw.unpack_dual(tensor).primal.detach() if tensor.is_floating_point() else tensor


def _normalized(x: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: Tensor | None = None) -> Tensor:
    return x / _value(x).norm(p, dim, keepdim=True).clamp_min(eps)


def _layer_normed(
    x: Tensor, shape: Any, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    dims = tuple(range(-len(shape), 0))
    spread = (_value(x).var(dims, unbiased=False, keepdim=True) + eps).sqrt()
    x = (x - x.mean(dims, keepdim=True)) / spread
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


def _value(tensor: Tensor) -> Tensor:
    try:
        return _still(tensor)
    except RuntimeError:  # outside of forward differentiation
        return tensor.detach()


class WithoutLengths(TorchFunctionMode):
    """Leave vectors as long as they are: `F.normalize` does nothing."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one function of torch."""
        if func is F.normalize:
            return args[0]
        return func(*args, **(kwargs or {}))
