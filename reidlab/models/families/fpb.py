"""FPB: a small feature pyramid with attention beside ResNet-50, its stripes as parts.

Source: Zhang et al., "FPB: Feature Pyramid Branch for Person Re-Identification" (2021). Where the authors' published
code says more than the paper, it is followed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reidlab.models.families.branches import (
    RESNET_STAGES,
    BranchModel,
    build_trunk,
    chain,
    check_at_least,
    join,
    kaiming_,
    over_parts,
    reduction,
)
from reidlab.models.families.osnet import ConvNorm
from reidlab.models.families.reid_model import Part
from reidlab.models.parts.attention import build_attention
from reidlab.models.parts.pooling import StripePooling

__all__ = ["FPB", "FeaturePyramid"]


class FeaturePyramid(nn.Module):
    """Two levels that exchange what they see, coarse to fine and back.

    Args:
        fine: channels of the finer maps.
        coarse: channels of the coarser ones, and of what comes out.
        width: channels inside.
        dropout: of the attention on the finer level.
    """

    def __init__(self, fine: int, coarse: int, width: int = 256, dropout: float = 0.2) -> None:
        super().__init__()
        self.lateral_fine, self.lateral_coarse = ConvNorm(fine, width), ConvNorm(coarse, width)
        self.attention = build_attention("fpb", width, dropout=dropout)
        self.coarse_in, self.fine_in = ConvNorm(width, width, 3), ConvNorm(width, width, 3)
        self.coarse_out, self.fine_out = ConvNorm(width, width, 3), ConvNorm(width, width, 3)
        self.skip_fine, self.skip_coarse = ConvNorm(width, width), ConvNorm(width, width)
        self.expand = ConvNorm(width, coarse)
        kaiming_(self)

    def forward(self, fine: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
        """Return maps [batch, coarse, h, w] at the coarser size, and those that must differ [batch, 2 width, h, w].

        Args:
            fine: maps about twice as high and wide as the coarser ones, odd sizes rounded up in halving.
            coarse: maps [batch, coarse, h, w].
        """
        fine, coarse = self.lateral_fine(fine), self.lateral_coarse(coarse)
        seen = self.attention(fine)
        crossed = torch.cat([coarse, _halved(seen)], dim=1)
        below = self.coarse_in(coarse)
        above = self.fine_in(seen + F.interpolate(below, size=fine.shape[2:], mode="nearest"))
        above = self.fine_out(above) + self.skip_fine(fine)
        below = self.coarse_out(below + _halved(above)) + self.skip_coarse(coarse)
        return self.expand(below), crossed


def _halved(maps: Tensor) -> Tensor:
    return F.max_pool2d(maps, 2, ceil_mode=True)


class FPB(BranchModel):
    """FPB: 2,048 + 3 x 1,024 numbers.

    ResNet-50 (last stride 1) with position and channel attention between layer2 and layer3 gives `global`, the mean of
    the last maps, with a BN (its bias learns) and a classifier. A pyramid on layer2 (before the attention) and layer3
    gives maps of 1,024 channels, the means of whose three stripes are `part_1` (top) to `part_3`; one layer that they
    share reduces them to 256 numbers, each with a classifier. Published classifiers have a bias, ours on request.

    The embedding is `global` after its BN and the stripes before their reduction, each L2-normalised. The output's
    `before` and `after` are the same side by side, the global part before or after its BN. Published recipe:
    cross-entropy on all four, triplet and center loss on `before` (of length 2 there, so that recipe `fpb` has other
    margins and weights). While training there is one more branch, `cross`, without classifier: the flattened maps
    [batch, 512 * h * w] that the loss `cross_orthogonality` wants.

    27,340,292 parameters without the classifiers, as in the published code: 3.8 M beside ResNet-50's own, not the "less
    than 1.5 M" of the paper.

    Args:
        num_classes: identities of the classifiers; 0 leaves them out.
        backbone: a ResNet of any kind.
        weights: pretrained weights of the backbone: "pretrained", or a local file; "" has none.
        parts: number of stripes.
        reduced_dim: width that each stripe is reduced to for its classifier.
        pyramid_width: channels inside the pyramid.
        dropout: of the position attentions' maps and results while training.
        classifier: softmax layer of each branch, with its margin.
        height, width: input size; 384 x 128 as published.

    Raises:
        UserError: another backbone than a ResNet, or a value outside its range.
    """

    def __init__(
        self,
        num_classes: int = 0,
        *,
        backbone: Part = "resnet50",
        weights: str = "",
        parts: int = 3,
        reduced_dim: int = 256,
        pyramid_width: int = 256,
        dropout: float = 0.2,
        classifier: Part = "linear",
        height: int = 384,
        width: int = 128,
    ) -> None:
        super().__init__()
        check_at_least(1, parts=parts, reduced_dim=reduced_dim, pyramid_width=pyramid_width)
        network: Any = build_trunk(backbone, last_stride=1, weights=weights, size=(height, width))
        self.backbone = chain(network, RESNET_STAGES)
        widths_of = {stage["module"]: int(stage["num_chs"]) for stage in network.feature_info}
        fine, coarse, channels = (widths_of[name] for name in ("layer2", "layer3", "layer4"))
        self.attention = kaiming_(build_attention("fpb", fine, dropout=dropout))
        self.pyramid = FeaturePyramid(fine, coarse, pyramid_width, dropout)
        self.stripes = StripePooling(parts)
        self.necks["global"] = nn.BatchNorm1d(channels)
        self.reduce = reduction(coarse, reduced_dim)
        self.dim = channels + parts * coarse
        self.part_names = tuple(f"part_{i + 1}" for i in range(parts))
        widths = {"global": channels, **dict.fromkeys(self.part_names, reduced_dim)}
        self._finish(network, (height, width), num_classes, classifier, widths, 0.01)

    def _stages(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the maps of layer2, layer3 and layer4."""
        stages, fine = self.backbone, images
        for name in RESNET_STAGES[: RESNET_STAGES.index("layer3")]:
            fine = stages.get_submodule(name)(fine)
        coarse = stages.layer3(self.attention(fine))
        return fine, coarse, stages.layer4(coarse)

    def maps(self, images: Tensor) -> Tensor:
        """Return the backbone's last maps [batch, channels, h, w], for pictures of where the model looks."""
        return self._stages(images)[2]

    def features(self, images: Tensor) -> dict[str, Tensor]:
        """Return the global and the stripes' features before neck and reduction; `cross` too while training."""
        fine, coarse, last = self._stages(images)
        maps, crossed = self.pyramid(fine, coarse)
        found = {"global": last.mean((2, 3)), **dict(zip(self.part_names, self.stripes(maps).unbind(2)))}
        return found | {"cross": crossed.flatten(1)} if self.training else found

    def after(self, before: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the global feature after its BN, the stripes after their reduction, `cross` as it is."""
        reduced = over_parts(self.reduce, self.parts(before))
        whole = {"global": self.necks["global"](before["global"])}
        return before | whole | dict(zip(self.part_names, reduced.unbind(1)))

    def embedded(self, before: dict[str, Tensor]) -> Iterable[Tensor]:
        """Return the global feature after its BN and the stripes before their reduction."""
        return [self.necks["global"](before["global"]), *(before[name] for name in self.part_names)]

    def parts(self, before: dict[str, Tensor]) -> Tensor:
        """Return the stripes' features [batch, part, channels of layer3]."""
        return torch.stack([before[name] for name in self.part_names], dim=1)

    def whole(self, before: dict[str, Tensor], after: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the global feature before or after its BN beside the stripes [batch, dim]."""
        stripes = [before[name] for name in self.part_names]
        return join([before["global"], *stripes]), join([after["global"], *stripes])
