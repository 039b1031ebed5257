"""Models by name: `build("osnet_x0_25")` or a dict as in a recipe, `build({"name": "resnet50", "neck": "bnneck"})`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from reidlab.data.transforms.preprocess import check_size
from reidlab.errors import UserError
from reidlab.registry import MODELS

__all__ = ["MODELS", "build", "count_macs", "count_parameters", "without_weights"]

# what convolutions and linear layers become; products inside attention are bmm and scaled_dot_product_attention
_LAYERS = (torch.ops.aten.convolution, torch.ops.aten.addmm, torch.ops.aten.mm)


def build(spec: str | Mapping[str, Any], num_classes: int = 0) -> nn.Module:
    """Build a model with random weights.

    Args:
        spec: a registered name, any network of timm, or a mapping with `name` and the model's options.
        num_classes: identities of its classifiers; 0 gives what makes embeddings alone.

    Raises:
        UserError: unknown name or option, or a value that the model refuses.
    """
    options = {"name": spec} if isinstance(spec, str) else dict(spec)
    name = options.pop("name", None)
    if not isinstance(name, str):
        raise UserError(f"model {dict(spec)!r} has no name; write {{name: ..., option: value}}.")  # type: ignore[arg-type]
    if num_classes < 0:
        raise UserError(f"num_classes={num_classes} must be 0 or more.")
    MODELS.check(name, options)
    # before position tables are made for it
    known = MODELS.options(name)
    height, width = (options.get(side, known[side].default if side in known else 1) for side in ("height", "width"))
    check_size(height, width, f"model {name!r}: input size")
    try:
        model: nn.Module = MODELS.build(name, num_classes, options=options)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError) or "allocate" in str(error):
            raise UserError(f"model {name!r} with these options needs more memory than there is: {options}.") from error
        raise
    return model


def without_weights(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the spec of the same model with random instead of pretrained weights."""
    return {**spec, "weights": ""} if "weights" in spec else dict(spec)


def count_parameters(model: nn.Module, *, trainable: bool = False, classifiers: bool = True) -> int:
    """Count parameters, all or the trainable ones, with or without the classifiers, which are left behind at test."""
    counted = sum(p.numel() for p in model.parameters() if p.requires_grad or not trainable)
    spare = None if classifiers else getattr(model, "classifiers", None)
    return counted - (count_parameters(spare, trainable=trainable) if isinstance(spare, nn.Module) else 0)


def count_macs(model: nn.Module, height: int, width: int, *, attention: bool = False) -> int:
    """Count multiply-adds of convolutions and linear layers for one image [3, height, width] at evaluation.

    Counted by torch's `FlopCounterMode` on one image of zeros. Like the field's papers, it leaves out normalisations,
    activations and poolings, and without `attention` also the products of positions with each other inside attention,
    which have no parameters.

    Args:
        model: any model; its mode and its state stay as they are.
        height, width: size of the image in pixels.
        attention: count the products inside attention as well.
    """
    from torch.utils.flop_counter import FlopCounterMode  # brings triton along

    was_training, device = model.training, next(model.parameters()).device
    counter = FlopCounterMode(display=False)
    try:
        with torch.inference_mode(), counter:
            model.eval()(torch.zeros(1, 3, height, width, device=device))
    finally:
        model.train(was_training)
    counts = counter.get_flop_counts().get("Global", {})
    wanted = (count for operation, count in counts.items() if attention or operation in _LAYERS)
    return sum(wanted) // 2
