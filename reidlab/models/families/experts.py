"""Mixture of experts: several backbones look at an image, and a gate says how much each of them counts.

After a public project that gates from its first expert alone and has no term that keeps the gate from choosing one
expert for all images; both are mended here, and the published gate stays available.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from reidlab.data.transforms import Preprocess
from reidlab.errors import UserError, nearest
from reidlab.models.families.reid_model import Part, build_trunk, named
from reidlab.models.output import Output
from reidlab.models.parts.classifiers import build_classifier
from reidlab.models.parts.necks import build_neck
from reidlab.models.parts.pooling import build_pooling

__all__ = ["Experts"]

_GATES = ("all", "first")


class Experts(nn.Module):
    """Backbones whose projected features are mixed by a gate.

    A part is a name, or a mapping of its name and options.

    Args:
        num_classes: identities of the classifier; 0 leaves it out.
        experts: the backbones, two or more: names of `reidlab backbones`, or of timm.
        weights: pretrained weights, one for each expert or one for all: "pretrained", a local file, or "".
        last_stride: stride of the last stage, where a backbone has one.
        pooling: what makes a vector of each expert's last maps.
        common_dim: width that all experts are projected to.
        gate: "all" looks at the projections of all experts, each normalised (in our short runs the gate saturated in
            a few steps without it), "first" at that of the first alone as it is, as published.
        top_k: experts that count for an image, the others having a gate of 0; 0 for all. All are computed in any case.
        neck: between ranking losses and classifier.
        classifier: softmax layer, with its margin.
        height, width: input size.

    Attributes:
        dim: width of the embedding.
    """

    def __init__(
        self,
        num_classes: int = 0,
        *,
        experts: Sequence[Part] = ("resnet50", "vit_base_patch16_224"),
        weights: str | Sequence[str] = "",
        last_stride: int = 2,
        pooling: Part = "avg",
        common_dim: int = 512,
        gate: str = "all",
        top_k: int = 0,
        neck: Part = "none",
        classifier: Part = "linear",
        height: int = 256,
        width: int = 128,
    ) -> None:
        super().__init__()
        files = [weights] * len(experts) if isinstance(weights, str) else list(weights)
        _check(experts, files, common_dim, gate, top_k)
        kind, options = named("pooling", pooling)
        self.experts, self.poolings, self.projections = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for expert, file in zip(experts, files):
            stride = last_stride if _has_stride(named("experts", expert)[0]) else 1
            trunk = build_trunk(expert, last_stride=stride, weights=file, size=(height, width))
            pool = build_pooling(kind, **options)
            self.experts.append(trunk)
            self.poolings.append(pool)
            self.projections.append(nn.Linear(int(trunk.channels) * int(getattr(pool, "parts", 1)), common_dim))
        self.gate = nn.Linear(common_dim * (len(experts) if gate == "all" else 1), len(experts))
        self.top_k = top_k
        neck_kind, neck_options = named("neck", neck)
        self.neck = build_neck(neck_kind, common_dim, **neck_options)
        self.dim = int(self.neck.dim)  # type: ignore[arg-type]
        self.classifiers = nn.ModuleList()
        if num_classes:
            kind, options = named("classifier", classifier)
            self.classifiers.append(build_classifier(kind, self.dim, num_classes, **options))
        mean, std = self._normalisation(0)
        self.preprocess = Preprocess(height, width, mean, std)

    def _normalisation(self, expert: int) -> tuple[Any, Any]:
        trunk: Any = self.experts[expert]
        return tuple(trunk.preprocess_mean), tuple(trunk.preprocess_std)

    def _as_expert_wants(self, images: Tensor, expert: int) -> Tensor:
        """Return images normalised for one expert; they come normalised for the first."""
        first, own = self._normalisation(0), self._normalisation(expert)
        if first == own:  # numbers, not tensors, whose values an export does not know
            return images
        (mean, std), (own_mean, own_std) = (
            [images.new_tensor(each).view(3, 1, 1) for each in of] for of in (first, own)
        )
        return images * (std / own_std) + (mean - own_mean) / own_std

    def _mixed(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mixed feature [batch, common_dim] and the gates [batch, expert]."""
        projected = [
            projection(pooling(expert(self._as_expert_wants(images, number))).flatten(1))
            for number, (expert, pooling, projection) in enumerate(zip(self.experts, self.poolings, self.projections))
        ]
        every = self.gate.in_features > projected[0].shape[1]
        seen = torch.cat([F.layer_norm(each, each.shape[1:]) for each in projected], 1) if every else projected[0]
        gates = self.gate(seen).float().softmax(1)
        if self.top_k:
            kept = gates.topk(self.top_k, dim=1)
            gates = torch.zeros_like(gates).scatter(1, kept.indices, kept.values)
            gates = gates / gates.sum(1, keepdim=True)
        stacked = torch.stack(projected, 1)
        return (gates[:, :, None].to(stacked.dtype) * stacked).sum(1), gates

    def gates(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch expert"]:
        """Return how much each expert counts for each image; every row sums to 1."""
        return self._mixed(images)[1]

    def maps(self, images: Tensor) -> Tensor:
        """Return the last maps of the first expert [batch, channels, h, w], for pictures of where it looks."""
        return self.experts[0](images)

    def forward(
        self, images: Float[Tensor, "batch 3 height width"], labels: Int[Tensor, " batch"] | None = None
    ) -> Output | Float[Tensor, "batch dim"]:
        """Return an `Output` while training, else L2-normalised embeddings [batch, dim].

        Args:
            images: float [batch, 3, height, width], as `preprocess` makes them.
            labels: classes [batch] for classifiers with a margin.
        """
        before, gates = self._mixed(images)
        after = self.neck(before)
        if not self.training:
            return F.normalize(after.float(), dim=1)
        return Output(before, after, tuple(head(after, labels) for head in self.classifiers), gates=gates)


def _has_stride(name: str) -> bool:
    return not name.startswith(("osnet", "vit", "deit"))


def _check(experts: Sequence[Part], files: list[str], common_dim: int, gate: str, top_k: int) -> None:
    if isinstance(experts, str) or len(experts) < 2:
        raise UserError(f"experts={experts!r} must name two backbones or more, such as [resnet50, osnet_x1_0].")
    if len(files) != len(experts):
        raise UserError(f"{len(files)} weights for {len(experts)} experts; give one for each, or one for all.")
    if common_dim < 1:
        raise UserError(f"common_dim={common_dim} must be 1 or more.")
    if gate not in _GATES:
        raise UserError(f"gate={gate!r} is unknown; choose from {', '.join(_GATES)}.{nearest(gate, _GATES)}")
    if not 0 <= top_k <= len(experts):
        raise UserError(f"top_k={top_k} must be 0 (all) to {len(experts)}, the number of experts.")
