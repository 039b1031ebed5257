"""MGN, the multiple granularity network: the whole, halves and thirds of a person, in a branch each.

Source: Wang et al., "Learning Discriminative Features with Multiple Granularities for Person Re-Identification" (ACM
Multimedia 2018).
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from reidlab.models.families.branches import (
    RESNET_STAGES,
    BranchModel,
    build_trunk,
    chain,
    check_at_least,
    reduction,
    split,
)
from reidlab.models.families.reid_model import Part
from reidlab.models.parts.pooling import StripePooling, build_pooling

__all__ = ["MGN"]

_STRIPES = {"2": 2, "3": 3}  # the branches that look at stripes too, and at how many


class MGN(BranchModel):
    """MGN: eight features of 256 numbers, 2,048 in all.

    ResNet-50 up to the first block of layer3 is shared; three branches have their own copies of the rest. The first
    halves its maps once more and gives `global_1`; the second and third do not, and give `global_2`, `part_2_1`,
    `part_2_2` (top and bottom half) and `global_3`, `part_3_1` to `part_3_3`. Each is a maximum over positions, reduced
    by a layer of its own. Published recipe: cross-entropy on all eight, batch-hard triplet on the three global ones; no
    neck. 68,807,744 parameters without the classifiers.

    Args:
        num_classes: identities of the classifiers; 0 leaves them out.
        backbone: a ResNet of any kind.
        weights: pretrained weights of the backbone: "pretrained", or a local file; "" has none.
        reduced_dim: width of each of the eight features.
        pooling: over positions, of the whole and of stripes; the paper has "max".
        classifier: softmax layer of each feature, with its margin.
        height, width: input size; 384 x 128 as published.

    Raises:
        UserError: another backbone than a ResNet, or a value outside its range.
    """

    main = "global_1"
    norm_each = False

    def __init__(
        self,
        num_classes: int = 0,
        *,
        backbone: Part = "resnet50",
        weights: str = "",
        reduced_dim: int = 256,
        pooling: str = "max",
        classifier: Part = "linear",
        height: int = 384,
        width: int = 128,
    ) -> None:
        super().__init__()
        check_at_least(1, reduced_dim=reduced_dim)
        size = (height, width)
        network: Any = build_trunk(backbone, last_stride=2, weights=weights, size=size)
        coarse: Any
        trunk, coarse = split(chain(network, RESNET_STAGES), "layer3.0")
        fine: Any = copy.deepcopy(coarse)
        fine.layer4 = chain(build_trunk(backbone, last_stride=1, weights="", size=size), RESNET_STAGES).layer4
        fine.layer4.load_state_dict(coarse.layer4.state_dict())  # weights do not depend on strides
        copies = {f"branch_{name}": copy.deepcopy(fine) for name in _STRIPES}
        self.backbone = nn.ModuleDict({"trunk": trunk, "branch_1": coarse, **copies})
        self.pool = build_pooling(pooling)
        self.stripes = nn.ModuleDict({name: StripePooling(parts, pooling) for name, parts in _STRIPES.items()})
        names = ["global_1"]
        for branch, parts in _STRIPES.items():
            names += [f"global_{branch}", *(f"part_{branch}_{i + 1}" for i in range(parts))]
        self.reductions = nn.ModuleDict({name: reduction(int(network.channels), reduced_dim) for name in names})
        self.dim = len(names) * reduced_dim
        self._finish(network, size, num_classes, classifier, dict.fromkeys(names, reduced_dim), 0.001)

    def maps(self, images: Tensor) -> Tensor:
        """Return the global branch's last maps [batch, channels, h, w], for pictures of where the model looks."""
        return self.backbone["branch_1"](self.backbone["trunk"](images))

    def features(self, images: Tensor) -> dict[str, Tensor]:
        """Return each branch's reduced feature [batch, reduced_dim]."""
        shared = self.backbone["trunk"](images)
        pooled = {"global_1": self.pool(self.backbone["branch_1"](shared))}
        for branch, stripes in self.stripes.items():
            maps = self.backbone[f"branch_{branch}"](shared)
            pooled[f"global_{branch}"] = self.pool(maps)
            pooled |= {f"part_{branch}_{i + 1}": stripe for i, stripe in enumerate(stripes(maps).unbind(2))}
        return {name: self.reductions[name](feature) for name, feature in pooled.items()}

    def after(self, before: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the same features: there is no neck."""
        return before

    def parts(self, before: dict[str, Tensor]) -> Tensor:
        """Return the stripes' features [batch, 5, reduced_dim]: two halves, three thirds."""
        return torch.stack([feature for name, feature in before.items() if name.startswith("part")], dim=1)
