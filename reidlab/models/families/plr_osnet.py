"""PLR-OSNet: a global branch and a part branch whose stripes share one classifier.

Source: Xie et al., "Learning Diverse Features with Part-Level Resolution for Person Re-Identification" (PRCV 2020).
"""

from __future__ import annotations

import copy
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from reidlab.models.families.branches import OSNET_STAGES, BranchModel, build_trunk, chain, check_at_least
from reidlab.models.families.reid_model import Part
from reidlab.models.parts.attention import attach
from reidlab.models.parts.pooling import MaxPooling, StripePooling

__all__ = ["PLROSNet", "PositionGate"]

_PLACES = ("conv2", "conv3")


class PositionGate(nn.Module):
    """The layers of a squeeze-and-excitation block without the squeeze: each position gets its own channel gates.

    Args:
        block: timm's; its layers are taken over.
    """

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.fc1, self.fc2 = block.fc1, block.fc2

    def forward(self, maps: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch channel height width"]:
        """Scale maps [batch, channels, height, width]."""
        return maps * self.fc2(self.fc1(maps).relu()).sigmoid()


class PLROSNet(BranchModel):
    """PLR-OSNet: 2,560 numbers.

    OSNet up to conv3 is shared, with position attention and squeeze-and-excitation behind conv2 and conv3; conv4 and
    conv5 are doubled. `part` puts the means of four stripes side by side (2,048 numbers), `global` is the maximum over
    positions through a linear layer (512); each has a BN (its bias learns, unlike a BNNeck's) and a classifier (with a
    bias as published, here on request). The embedding is both, each L2-normalised. Published recipe: cross-entropy with
    label smoothing, and soft-margin triplet and center loss (5e-4) before the BN, each the mean over both branches;
    95.6 / 88.9 (rank-1 / mAP) on Market-1501. 3,324,926 parameters without the classifiers.

    Args:
        num_classes: identities of the classifiers; 0 leaves them out.
        backbone: an OSNet of any width and kind.
        weights: pretrained weights of the backbone: "pretrained", or a local file; "" has none.
        parts: number of stripes.
        feature_dim: width of the global feature.
        squeeze: gate channels by their means over the map, as the paper describes its channel attention. False: without
            that mean, each position by itself, which is what the authors' published code computes.
        classifier: softmax layer of each branch, with its margin.
        height, width: input size; 256 x 128 as published.

    Raises:
        UserError: another backbone than an OSNet, or a value outside its range.
    """

    main = "global"

    def __init__(
        self,
        num_classes: int = 0,
        *,
        backbone: Part = "osnet_x1_0",
        weights: str = "",
        parts: int = 4,
        feature_dim: int = 512,
        squeeze: bool = True,
        classifier: Part = "linear",
        height: int = 256,
        width: int = 128,
    ) -> None:
        super().__init__()
        check_at_least(1, parts=parts, feature_dim=feature_dim)
        network: Any = build_trunk(backbone, last_stride=1, weights=weights, size=(height, width))
        stages = chain(network, OSNET_STAGES)
        attach(network, "plr", _PLACES, value=False)
        if not squeeze:
            for place in _PLACES:
                block: Any = stages.get_submodule(f"{place}.attention")
                block.se = PositionGate(block.se)
        trunk, rest = stages[:-2], stages[-2:]
        self.backbone = nn.ModuleDict({"trunk": trunk, "part_branch": rest, "global_branch": copy.deepcopy(rest)})
        channels = int(network.channels)
        self.stripes, self.pool = StripePooling(parts), MaxPooling()
        self.reduce = nn.Linear(channels, feature_dim)
        nn.init.normal_(self.reduce.weight, std=0.01)
        nn.init.zeros_(self.reduce.bias)
        widths = {"part": parts * channels, "global": feature_dim}
        self.necks.update({name: nn.BatchNorm1d(dim) for name, dim in widths.items()})
        self.n_parts, self.dim = parts, sum(widths.values())
        self._finish(network, (height, width), num_classes, classifier, widths, 0.01)

    def maps(self, images: Tensor) -> Tensor:
        """Return the global branch's last maps [batch, channels, h, w], for pictures of where the model looks."""
        return self.backbone["global_branch"](self.backbone["trunk"](images))

    def features(self, images: Tensor) -> dict[str, Tensor]:
        """Return both branches' features before their BN: stripe by stripe [batch, part * channels], and the whole."""
        shared = self.backbone["trunk"](images)
        stripes = self.stripes(self.backbone["part_branch"](shared))
        whole = self.pool(self.backbone["global_branch"](shared))
        return {"part": stripes.transpose(1, 2).flatten(1), "global": self.reduce(whole)}

    def parts(self, before: dict[str, Tensor]) -> Tensor:
        """Return the stripes' features [batch, part, channels]."""
        return before["part"].unflatten(1, (self.n_parts, -1))
