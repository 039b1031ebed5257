"""TransReID: a vision transformer on overlapping patches, with local branches on shuffled patches (JPM).

Source: He et al., "TransReID: Transformer-based Object Re-Identification" (ICCV 2021).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reidlab.errors import UserError, nearest
from reidlab.models.backbones import build_backbone
from reidlab.models.families.branches import BranchModel, build_trunk, check_at_least, over_parts
from reidlab.models.families.reid_model import Part, named
from reidlab.models.families.timm_maps import TimmMaps
from reidlab.models.parts.necks import BNNeck

__all__ = ["OverlappingPatches", "TransReID", "jigsaw"]

_EMBEDDINGS = ("before", "after")


class OverlappingPatches(nn.Module):
    """A ViT's patch embedding with a stride below the size of its patches, in the place of timm's.

    Patches start at the upper left corner; those that would reach beyond the image are left out, as published, so that
    up to stride - 1 rows and columns of pixels below and at the right are not seen.

    Args:
        embed: timm's patch embedding; its layers are taken over, and their names stay.
        stride: pixels from one patch to the next, from 1 to the size of a patch.
        size: height and width of the images that the network's position table is for.
    """

    def __init__(self, embed: Any, stride: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.patch_size: tuple[int, int] = tuple(embed.patch_size)
        self.stride = stride
        self.grid_size = self.dynamic_feat_size(size)
        self.proj, self.norm = embed.proj, embed.norm
        self.proj.stride = (stride, stride)

    def dynamic_feat_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return rows and columns of patches of images of this height and width (timm's name for it).

        Raises:
            UserError: a stride beyond the patches' size, or images that are smaller than a patch.
        """
        largest = min(self.patch_size)
        if not 1 <= self.stride <= largest:
            raise UserError(f"stride={self.stride} must be from 1 to {largest}, the size of this network's patches.")
        rows, columns = ((pixels - patch) // self.stride + 1 for pixels, patch in zip(size, self.patch_size))
        if min(rows, columns) < 1:
            raise UserError(
                f"images of height={size[0]}, width={size[1]} are smaller than a patch "
                f"of {self.patch_size[0]} x {self.patch_size[1]} pixels."
            )
        return rows, columns

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch row column channel"]:
        """Return patches [batch, row, column, channels] of images [batch, 3, height, width]."""
        return self.norm(self.proj(images).permute(0, 2, 3, 1))


def jigsaw(patches: Tensor, parts: int, shift: int = 5, groups: int = 2) -> Tensor:
    """Shift, shuffle and split patch tokens, so that each part has some from all over the image.

    1. The first `shift` tokens go to the end. (The authors' code moves one fewer than its option says: its 5 is our 4.)
    2. The tokens are cut into `groups` of equal length, one behind the other, and dealt in turn: the first of each
       group, then the second of each ... Where the count does not divide, the last group is shorter. (The authors' code
       repeats a token then, which no part comes to see; the parts are the same.)
    3. Part i has the tokens from i * length on, length = tokens // parts; what is left over at the end is dropped.

    Args:
        patches: [batch, token, dim], without prefix tokens.
        parts: how many, 1 or more.
        shift: 0 or more.
        groups: 1 or more; 1 leaves the order as it is.

    Returns:
        [batch, parts, length, dim].

    Raises:
        UserError: fewer tokens than parts.
    """
    count = patches.shape[1]
    length = count // parts
    if not length:
        raise UserError(f"parts={parts} is more than an image's {count} patches; take fewer parts or larger images.")
    longest = -(-count // groups)
    order = [(place + shift) % count for turn in range(longest) for place in range(turn, count, longest)]
    chosen = torch.tensor(order[: parts * length], device=patches.device)
    return patches[:, chosen].unflatten(1, (parts, length))


class TransReID(BranchModel):
    """TransReID without its side information embedding (SIE): it never learns which camera took an image.

    SIE adds a learnt vector of the camera to all tokens, at test time too; methods with it, among them most published
    figures of TransReID, know something that the others do not, and are not comparable.

    All blocks of the transformer but the last are shared. The branch `global` is the class token behind the last block
    and its norm. The jigsaw patch module (JPM) gives `local1`, `local2`, ...: the patch tokens before the last block
    are shifted, shuffled and split (`jigsaw`), and each part, with the class token (and other prefix tokens the network
    has) before it, passes a second copy of the last block and norm, which the parts share; the class token that comes
    out is the feature. Each has a BNNeck and a classifier. The embedding is the global feature and the local ones
    divided by their number, side by side. Published recipe: half of cross-entropy and soft-margin triplet loss on
    `global`, half of their mean on the local ones; SGD at a rate of 0.008, no label smoothing.

    At 256 x 128 without classifiers `vit_small` has 23,450,112 parameters, 21,671,808 without JPM; `vit_base` has
    92,906,496 and 85,810,944. (The authors' code keeps another copy of the last block and norm that nothing uses.)
    `vit_small` is that of DeiT and timm; the authors' network of this name is another, only 8 blocks deep.

    The position table is made for the grid of patches, and pretrained ones are resampled to it (bicubic, as in timm;
    the authors: bilinear). Images of another size resample it at each call.

    Args:
        num_classes: identities of the classifiers; 0 leaves them out.
        backbone: a plain ViT of timm with a class token.
        weights: pretrained weights of the backbone: "pretrained", or a local file; "" has none.
        stride: pixels from one patch to the next; 16 (for patches of 16 pixels) lets none overlap.
        jpm: have local branches; without them there is the global one alone.
        shift, groups, parts: of the JPM, see `jigsaw`; shift 0 and groups 1 make horizontal bands.
        drop_path_rate: share of the last block's residual branches dropped while training; less in those before it.
        classifier: softmax layer of each branch, with its margin.
        embedding: what a trained model gives: features "before" or "after" the necks.
        height, width: input size; 256 x 128 as published, also 384 x 128.

    Attributes:
        backbone: `trunk`, the ViT up to its last block; `global_branch`, that and its norm; `local_branch`, the copy.

    Raises:
        UserError: another backbone than a plain ViT, or a value outside its range.
    """

    main = "global"
    norm_each = False  # lengths carry the weights of the branches

    def __init__(
        self,
        num_classes: int = 0,
        *,
        backbone: Part = "vit_small",
        weights: str = "",
        stride: int = 12,
        jpm: bool = True,
        shift: int = 5,
        groups: int = 2,
        parts: int = 4,
        drop_path_rate: float = 0.1,
        classifier: Part = "linear",
        embedding: str = "before",
        height: int = 256,
        width: int = 128,
    ) -> None:
        super().__init__()
        check_at_least(0, shift=shift)
        check_at_least(1, groups=groups, parts=parts, height=height, width=width)
        if embedding not in _EMBEDDINGS:
            hint = nearest(embedding, _EMBEDDINGS)
            raise UserError(f"embedding={embedding!r} is unknown; choose from {', '.join(_EMBEDDINGS)}.{hint}")
        if not 0 <= drop_path_rate < 1:
            raise UserError(f"drop_path_rate={drop_path_rate} is outside [0, 1).")
        name, options = named("backbone", backbone)
        size = (height, width)
        apart = _size_without_overlap(backbone, stride, size)
        body = {"name": name, "drop_path_rate": drop_path_rate, **options}
        network: Any = build_trunk(body, last_stride=1, weights=weights, size=apart)
        vit: Any = network.network
        vit.patch_embed = OverlappingPatches(vit.patch_embed, stride, size)
        self.n_prefix = int(vit.num_prefix_tokens)
        self.n_parts = parts if jpm else 0
        self.shift, self.groups, self.embedding = shift, groups, embedding
        last = nn.Sequential(vit.blocks[-1], vit.norm)
        vit.blocks, vit.norm = vit.blocks[:-1], nn.Identity()
        self.backbone = nn.ModuleDict({"trunk": vit, "global_branch": last})
        if jpm:
            self.backbone["local_branch"] = copy.deepcopy(last)
            rows, columns = vit.patch_embed.grid_size
            jigsaw(torch.empty(1, rows * columns, 1), parts)  # refuses more parts than patches
        names = ("global", *(f"local{i + 1}" for i in range(self.n_parts)))
        channels = int(network.channels)
        self.necks.update({name: BNNeck(channels) for name in names})
        self.dim = len(names) * channels
        self._finish(network, size, num_classes, classifier, dict.fromkeys(names, channels), 0.001)

    def maps(self, images: Tensor) -> Tensor:
        """Return the global branch's patch tokens as maps [batch, channels, h, w], for pictures of where it looks."""
        grid = self.backbone["trunk"].patch_embed.dynamic_feat_size(tuple(images.shape[-2:]))
        tokens = self.backbone["global_branch"](self._tokens(images))[:, self.n_prefix :]
        return tokens.transpose(1, 2).unflatten(2, grid)

    def features(self, images: Tensor) -> dict[str, Tensor]:
        """Return each branch's class token [batch, channels] before its neck."""
        tokens = self._tokens(images)
        features = [self.backbone["global_branch"](tokens)[:, 0]]
        if self.n_parts:
            features += self._locals(tokens).unbind(1)
        return dict(zip(self.necks, features))

    def embedded(self, before: dict[str, Tensor]) -> Iterable[Tensor]:
        """Return the global feature as it is, and the local ones divided by their number."""
        features = before if self.embedding == "before" else self.after(before)
        return [f if name == self.main else f / self.n_parts for name, f in features.items()]

    def parts(self, before: dict[str, Tensor]) -> Tensor | None:
        """Return the local features [batch, parts, channels], without JPM None."""
        return torch.stack(list(before.values())[1:], dim=1) if self.n_parts else None

    def _tokens(self, images: Tensor) -> Tensor:
        """Return the tokens before the last block [batch, prefix + patches, channels]."""
        return self.backbone["trunk"].forward_features(images)

    def _locals(self, tokens: Tensor) -> Tensor:
        """Return the class token of each part [batch, parts, channels] of the tokens before the last block."""
        pieces = jigsaw(tokens[:, self.n_prefix :], self.n_parts, self.shift, self.groups)
        prefix = tokens[:, None, : self.n_prefix].expand(-1, self.n_parts, -1, -1)
        return over_parts(self.backbone["local_branch"], torch.cat([prefix, pieces], dim=2))[:, :, 0]


def _size_without_overlap(backbone: Part, stride: int, size: tuple[int, int]) -> tuple[int, int]:
    """Return height and width of images with as many patches side by side as images of `size` have with `stride`.

    A network built for these has the position table that overlapping patches need, and pretrained tables are resampled
    once, straight to it.

    Raises:
        UserError: another network than a plain ViT with a class token, or a stride or size that does not go with it.
    """
    from timm.layers import PatchEmbed
    from timm.models.vision_transformer import VisionTransformer

    name, options = named("backbone", backbone)
    with torch.device("meta"):  # only a network that is built tells the size of its patches; here that takes no memory
        probe = build_backbone(name, **options)
    vit = probe.network if isinstance(probe, TimmMaps) else None
    if not isinstance(vit, VisionTransformer) or not vit.has_class_token or type(vit.patch_embed) is not PatchEmbed:
        raise UserError(
            "TransReID needs a plain ViT with a class token as its backbone, such as vit_small, vit_base or timm's "
            f"deit_small_patch16_224; {name} is none."
        )
    patches = OverlappingPatches(vit.patch_embed, stride, size)
    (rows, columns), (high, wide) = patches.grid_size, patches.patch_size
    return rows * high, columns * wide
