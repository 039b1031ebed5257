"""LightMBN: global, part and channel branches on one OSNet trunk, and the component library's variant of it.

Source: Herzog et al., "Lightweight Multi-Branch Network for Person Re-Identification" (ICIP 2021).
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reidlab.errors import UserError, nearest
from reidlab.models.families.branches import (
    OSNET_STAGES,
    BranchModel,
    build_trunk,
    chain,
    check_at_least,
    reduction,
    split,
)
from reidlab.models.families.osnet import OSBlock
from reidlab.models.families.reid_model import Part
from reidlab.models.parts.attention import attach
from reidlab.models.parts.necks import BNNeck
from reidlab.models.parts.pooling import build_pooling

__all__ = ["LightMBN", "TopDropBlock"]

# each branch's pooling; "gc_gem" has its own generalised mean for each of them
_POOLS = {"glo": "avg", "glo_drop": "max", "pg": "max", "p1": "avg", "p2": "avg", "c1": "avg", "c2": "avg"}
_VARIANTS = ("original", "gc_gem")


class TopDropBlock(nn.Module):
    """Set the rows of a map with the strongest activations to 0 while training (Quispe and Pedrini 2020).

    A row is as strong as its strongest position, the sum over channels of squared activations there. The branch behind
    it must then recognise people by what else there is. Every image loses its own rows.

    Args:
        ratio: share of the rows that are dropped, rounded; below half a row, none.
    """

    def __init__(self, ratio: float = 0.33) -> None:
        super().__init__()
        if not 0 <= ratio < 1:
            raise UserError(f"drop_ratio={ratio} is outside [0, 1).")
        self.ratio = ratio

    def forward(self, maps: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch channel height width"]:
        """Return maps [batch, channels, height, width] without their strongest rows; as they are at evaluation."""
        rows = round(self.ratio * maps.shape[2])
        if not self.training or not rows:
            return maps
        # published with an L2 norm over each image's positions, which leaves the order of its rows as it is
        strength = maps.detach().float().square().sum(1).amax(2)  # [batch, height]
        kept = torch.ones_like(strength).scatter_(1, strength.topk(rows, dim=1).indices, 0.0)
        return maps * kept.to(maps.dtype)[:, None, :, None]


class LightMBN(BranchModel):
    """LightMBN: seven features of 512 numbers, 3,584 in all.

    OSNet up to the first block of conv3 is shared; three branches have their own copies of the rest:

    * global: one more OSBlock, then `glo` (mean) and `glo_drop` (maximum, behind a `TopDropBlock`);
    * part: `pg` (maximum of the whole), `p1` and `p2` (means of the upper and lower half);
    * channel: `c1` and `c2`, means of either half of the channels, through one shared layer.

    Each has a BNNeck and a classifier. The embedding is all seven after their necks, each L2-normalised. Published
    recipe: half the sum of all seven cross-entropies and half the sum of Multi-Similarity on `glo`, `glo_drop` and `pg`
    before their necks (sums, where terms of our recipes are means: weights 3.5 and 1.5).

    Variant "original" has 9,152,280 parameters with 751 identities, 6,460,696 without its classifiers. Variant "gc_gem"
    is the component library's: global context attention behind conv2 and conv3, generalised means with a trained
    exponent each; 9,218,859 and 6,527,275 parameters. Three faults and one oddity of that library's code are corrected
    unless `faults` asks for them: cross-entropy leaves `glo_drop` out; poolings called "max" average; branches are
    put side by side without being L2-normalised; and its generalised means pool single numbers, already pooled and
    reduced, so that they only cut off what is negative, and their exponents learn nothing. Ours pool the maps, in the
    place of both means and maxima.

    Args:
        num_classes: identities of the classifiers; 0 leaves them out.
        variant: "original" or "gc_gem".
        backbone: an OSNet of any width and kind.
        weights: pretrained weights of the backbone: "pretrained", or a local file; "" has none.
        feature_dim: width of each of the seven features.
        drop_ratio: share of rows that `glo_drop` does not see while training.
        faults: repeat what the component library's code does ("gc_gem" only).
        classifier: softmax layer of each branch, with its margin.
        height, width: input size; 384 x 128 as published.

    Raises:
        UserError: an unknown variant, another backbone than an OSNet, or a value outside its range.
    """

    main = "glo"

    def __init__(
        self,
        num_classes: int = 0,
        *,
        variant: str = "original",
        backbone: Part = "osnet_x1_0",
        weights: str = "",
        feature_dim: int = 512,
        drop_ratio: float = 0.33,
        faults: bool = False,
        classifier: Part = "linear",
        height: int = 384,
        width: int = 128,
    ) -> None:
        super().__init__()
        if variant not in _VARIANTS:
            hint = nearest(variant, _VARIANTS)
            raise UserError(f"variant={variant!r} is unknown; choose from {', '.join(_VARIANTS)}.{hint}")
        if faults and variant != "gc_gem":
            raise UserError(f"variant={variant!r} has no known faults; faults=true goes with variant='gc_gem'.")
        check_at_least(1, feature_dim=feature_dim)
        self.drop = TopDropBlock(drop_ratio)
        network: Any = build_trunk(backbone, last_stride=1, weights=weights, size=(height, width))
        stages = chain(network, OSNET_STAGES)
        if variant == "gc_gem":
            attach(network, "global_context", ("conv2", "conv3"))
        trunk, rest = split(stages, "conv3.0")
        copies = {f"{name}_branch": copy.deepcopy(rest) for name in ("global", "part", "channel")}
        self.backbone = nn.ModuleDict({"trunk": trunk, **copies})
        channels = int(network.channels)
        self.bottleneck = OSBlock(channels, channels)
        gem = variant == "gc_gem"
        self.pools = nn.ModuleDict(
            {name: build_pooling("gem_learnable" if gem else kind) for name, kind in _POOLS.items()}
        )
        self.reductions = nn.ModuleDict(
            {name: nn.Linear(channels, feature_dim, bias=False) for name in _POOLS if name not in ("c1", "c2")}
        )
        self.reductions["c"] = reduction(channels // 2, feature_dim)
        self.necks.update({name: BNNeck(feature_dim) for name in _POOLS})
        self.faults, self.norm_each = faults, not faults
        self.silent = frozenset({"glo_drop"} if faults else ())
        self.dim = feature_dim * len(_POOLS)
        self._finish(network, (height, width), num_classes, classifier, dict.fromkeys(_POOLS, feature_dim), 0.001)

    def maps(self, images: Tensor) -> Tensor:
        """Return the global branch's last maps [batch, channels, h, w], for pictures of where the model looks."""
        return self.bottleneck(self.backbone["global_branch"](self.backbone["trunk"](images)))

    def features(self, images: Tensor) -> dict[str, Tensor]:
        """Return each branch's feature [batch, feature_dim] before its neck."""
        shared = self.backbone["trunk"](images)
        glo = self.bottleneck(self.backbone["global_branch"](shared))
        part = self.backbone["part_branch"](shared)
        channel = self.backbone["channel_branch"](shared)
        rows, half = part.shape[2], channel.shape[1] // 2
        maps = {
            "glo": glo,
            "glo_drop": self.drop(glo),
            "pg": part,
            "p1": part[:, :, : (rows + 1) // 2],  # the middle row of an odd number belongs to both halves
            "p2": part[:, :, rows // 2 :],
            "c1": channel[:, :half],
            "c2": channel[:, half:],
        }
        return {name: self._feature(name, m) for name, m in maps.items()}

    def _feature(self, name: str, maps: Tensor) -> Tensor:
        # c1 and c2 pass their layer one after the other, as published: its BN normalises each by itself in training
        reduce = self.reductions[name if name in self.reductions else "c"]
        if self.faults:
            return self.pools[name](reduce(maps.mean((2, 3)))[:, :, None, None])
        return reduce(self.pools[name](maps))

    def parts(self, before: dict[str, Tensor]) -> Tensor:
        """Return the halves' features [batch, 2, feature_dim]."""
        return torch.stack([before["p1"], before["p2"]], dim=1)
