"""The one-branch model that most of the field uses: backbone -> attention -> pooling -> (linear) -> neck -> classifier.

ResNet-50 with a BNNeck is the strong baseline of Luo et al. (2019); with non-local blocks and GeM it is AGW (Ye et al.
2021); OSNet, EfficientNet, Swin and ViT only change the backbone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from reidlab.data.transforms import Preprocess
from reidlab.errors import UserError, nearest
from reidlab.models.backbones import build_backbone
from reidlab.models.output import Output
from reidlab.models.parts.attention import attach, standard_places
from reidlab.models.parts.classifiers import build_classifier
from reidlab.models.parts.necks import build_neck
from reidlab.models.parts.pooling import build_pooling

__all__ = ["Part", "ReIDModel", "build_trunk", "named"]

Part = str | Mapping[str, Any]
_EMBEDDINGS = ("after", "before")


def named(what: str, part: Part) -> tuple[str, dict[str, Any]]:
    """Take a part of a recipe apart: "gem", or {"name": "gem", "p": 4.0}, into name and options.

    Raises:
        UserError: a mapping without a name.
    """
    if isinstance(part, str):
        return part, {}
    options = dict(part)
    name = options.pop("name", None)
    if not isinstance(name, str):
        raise UserError(f"{what}={dict(part)!r} has no name; write {{name: ..., option: value}}.")
    return name, options


class ReIDModel(nn.Module):
    """A re-identification model put together from registered parts.

    A part is a name, or a mapping of its name and options: `pooling: gem` or `pooling: {name: gem, p: 4.0}`.

    Args:
        num_classes: identities of the classifier; 0 leaves it out.
        backbone: any name of `reidlab models`, or of timm.
        weights: pretrained weights of the backbone: "pretrained" (downloaded by timm), or a local file; "" has none.
        last_stride: stride of the last stage: 1 as in the strong baselines, 2 as the network was published.
        attention: "" or a block that follows chosen parts of the backbone: option `places` names them ("layer3.2");
            without it they are the usual ones of the family.
        pooling: what makes a vector of the last maps; stripes are concatenated.
        feature_dim: width of a linear layer with BN and ReLU after the pooling; 0 has none.
        dropout: share of the features dropped before the neck while training.
        neck: between ranking losses and classifier.
        classifier: softmax layer, with its margin.
        embedding: what a trained model gives: the feature "after" or "before" the neck.
        height, width: input size.

    Attributes:
        backbone: the part that pretrained weights are for.
        dim: width of the embedding.
    """

    def __init__(
        self,
        num_classes: int = 0,
        *,
        backbone: Part = "resnet50",
        weights: str = "",
        last_stride: int = 1,
        attention: Part = "",
        pooling: Part = "avg",
        feature_dim: int = 0,
        dropout: float = 0.0,
        neck: Part = "none",
        classifier: Part = "linear",
        embedding: str = "after",
        height: int = 256,
        width: int = 128,
    ) -> None:
        super().__init__()
        if embedding not in _EMBEDDINGS:
            hint = nearest(embedding, _EMBEDDINGS)
            raise UserError(f"embedding={embedding!r} is unknown; choose from {', '.join(_EMBEDDINGS)}.{hint}")
        if not 0 <= dropout < 1:
            raise UserError(f"dropout={dropout} is outside [0, 1).")
        if feature_dim < 0:
            raise UserError(f"feature_dim={feature_dim} must be 0 or more.")
        size = (height, width)
        self.backbone, head = _with_head(backbone, feature_dim, last_stride=last_stride, weights=weights, size=size)
        if attention:
            block, options = named("attention", attention)
            places = options.pop("places", None) or standard_places(named("backbone", backbone)[0])
            attach(self.backbone, block, places, **options)
        pool, options = named("pooling", pooling)
        self.pooling = build_pooling(pool, **options)
        n_parts = int(getattr(self.pooling, "parts", 1))
        dim = int(self.backbone.channels) * n_parts
        if head is None or head[0].in_features != dim:  # stripes are wider
            head = _reduction(dim, feature_dim) if feature_dim else nn.Identity()
        self.reduce = head
        self.dropout = nn.Dropout(dropout)
        before = feature_dim or dim
        kind, options = named("neck", neck)
        self.neck = build_neck(kind, before, **options)
        after = int(self.neck.dim)  # type: ignore[arg-type]
        self.classifiers = nn.ModuleList()
        if num_classes:
            kind, options = named("classifier", classifier)
            self.classifiers.append(build_classifier(kind, after, num_classes, **options))
        self.embedding = embedding
        self.dim = after if embedding == "after" else before
        mean, std = self.backbone.preprocess_mean, self.backbone.preprocess_std
        self.preprocess = Preprocess(height, width, tuple(mean), tuple(std))

    def maps(self, images: Tensor) -> Tensor:
        """Return the last maps [batch, channels, h, w], for pictures of where the model looks."""
        return self.backbone(images)

    def forward(
        self, images: Float[Tensor, "batch 3 height width"], labels: Int[Tensor, " batch"] | None = None
    ) -> Output | Float[Tensor, "batch dim"]:
        """Return an `Output` while training, else L2-normalised embeddings [batch, dim].

        Args:
            images: float [batch, 3, height, width], as `preprocess` makes them.
            labels: classes [batch] for classifiers with a margin, -1 where unknown; without them there is no margin.
        """
        before = self.reduce(self.pooling(self.maps(images)).flatten(1))
        if not self.training:
            return F.normalize((self.neck(before) if self.embedding == "after" else before).float(), dim=1)
        after = self.neck(self.dropout(before))
        logits = tuple(classifier(after, labels) for classifier in self.classifiers)
        return Output(before, after, logits)


def _with_head(backbone: Part, feature_dim: int, **options: Any) -> tuple[Any, Any]:
    """Build a backbone; of an OSNet also its head of `feature_dim`, for which published weights have tensors."""
    name, own = named("backbone", backbone)
    if not feature_dim or not name.startswith("osnet") or "feature_dim" in own:
        return build_trunk(backbone, **options), None
    trunk = build_trunk({"name": name, **own, "feature_dim": feature_dim}, **options)
    return trunk, trunk.take_head()


def build_trunk(backbone: Part, *, last_stride: int, weights: str, size: tuple[int, int]) -> Any:
    """Build a backbone from name and options.

    Args:
        backbone: name, or a mapping of name and options.
        last_stride: of its last stage.
        weights: "pretrained", a local file, or "" for random weights.
        size: height and width of the images.

    Raises:
        UserError: unknown name or option, or one that belongs beside the backbone.
    """
    name, options = named("backbone", backbone)
    outside = [option for option in ("last_stride", "weights", "image_size", "min_match") if option in options]
    if outside:
        raise UserError(f"backbone {name!r}: write {outside[0]} beside `backbone`, as an option of the model.")
    return build_backbone(name, last_stride=last_stride, weights=weights or None, image_size=size, **options)


def _reduction(dim: int, width: int) -> nn.Sequential:
    """Linear, BN, ReLU: the head of OSNet (Zhou et al. 2019)."""
    linear = nn.Linear(dim, width)
    nn.init.normal_(linear.weight, std=0.01)
    nn.init.zeros_(linear.bias)
    return nn.Sequential(linear, nn.BatchNorm1d(width), nn.ReLU(inplace=True))
