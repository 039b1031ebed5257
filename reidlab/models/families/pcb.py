"""PCB, the part-based convolutional baseline: horizontal stripes, each with a classifier.

Source: Sun et al., "Beyond Part Models: Person Retrieval with Refined Part Pooling" (ECCV 2018), without its refined
part pooling.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from reidlab.errors import UserError, nearest
from reidlab.models.families.branches import BranchModel, build_trunk, check_at_least, join, over_parts, reduction
from reidlab.models.families.reid_model import Part
from reidlab.models.parts.pooling import StripePooling

__all__ = ["PCB"]

_EMBEDDINGS = ("before", "after")


class PCB(BranchModel):
    """PCB: the mean of each stripe of the last maps, one shared reduction to 256 numbers, a classifier a stripe.

    With ResNet-50 and six stripes 24,032,832 parameters without the classifiers. There is no global branch: the
    output's `before` and `after` are all stripes side by side before the reduction, each L2-normalised, which is what
    ranking losses see in torchreid. Branches are `part_1` (top) to `part_6`. Published recipe: cross-entropy on all,
    SGD. Published classifiers have a bias, ours on request.

    Args:
        num_classes: identities of the classifiers; 0 leaves them out.
        backbone: any name of `reidlab models`, or of timm.
        weights: pretrained weights of the backbone: "pretrained", or a local file; "" has none.
        parts: number of stripes.
        reduced_dim: width that each stripe is reduced to for its classifier.
        dropout: share of a stripe's feature dropped before the reduction while training.
        embedding: what a trained model gives, stripes "before" the reduction (6 x 2,048) or "after" it (6 x 256).
        classifier: softmax layer of each stripe, with its margin.
        height, width: input size; 384 x 128 as published.

    Raises:
        UserError: an unknown embedding, or a value outside its range.
    """

    def __init__(
        self,
        num_classes: int = 0,
        *,
        backbone: Part = "resnet50",
        weights: str = "",
        parts: int = 6,
        reduced_dim: int = 256,
        dropout: float = 0.5,
        embedding: str = "before",
        classifier: Part = "linear",
        height: int = 384,
        width: int = 128,
    ) -> None:
        super().__init__()
        check_at_least(1, parts=parts, reduced_dim=reduced_dim)
        if not 0 <= dropout < 1:
            raise UserError(f"dropout={dropout} is outside [0, 1).")
        if embedding not in _EMBEDDINGS:
            hint = nearest(embedding, _EMBEDDINGS)
            raise UserError(f"embedding={embedding!r} is unknown; choose from {', '.join(_EMBEDDINGS)}.{hint}")
        network: Any = build_trunk(backbone, last_stride=1, weights=weights, size=(height, width))
        self.backbone = network
        self.stripes = StripePooling(parts)
        self.dropout = nn.Dropout(dropout)
        self.reduce = reduction(int(network.channels), reduced_dim)
        self.embedding = embedding
        self.dim = parts * (reduced_dim if embedding == "after" else int(network.channels))
        widths = {f"part_{i + 1}": reduced_dim for i in range(parts)}
        self._finish(network, (height, width), num_classes, classifier, widths, 0.01)

    def maps(self, images: Tensor) -> Tensor:
        """Return the last maps [batch, channels, h, w], for pictures of where the model looks."""
        return self.backbone(images)

    def features(self, images: Tensor) -> dict[str, Tensor]:
        """Return each stripe's feature [batch, channels] before the reduction, from the top."""
        stripes = self.stripes(self.backbone(images))
        return {f"part_{i + 1}": stripe for i, stripe in enumerate(stripes.unbind(2))}

    def after(self, before: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return each stripe's feature [batch, reduced_dim] after the reduction."""
        reduced = over_parts(self.reduce, self.dropout(self.parts(before)))
        return dict(zip(before, reduced.unbind(1)))

    def embedded(self, before: dict[str, Tensor]) -> Iterable[Tensor]:
        """Return the stripes before or after the reduction."""
        return (self.after(before) if self.embedding == "after" else before).values()

    def parts(self, before: dict[str, Tensor]) -> Tensor:
        """Return the stripes' features [batch, part, channels]."""
        return torch.stack(list(before.values()), dim=1)

    def whole(self, before: dict[str, Tensor], after: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return all stripes side by side [batch, part * channels], twice."""
        joined = join(before.values())
        return joined, joined
