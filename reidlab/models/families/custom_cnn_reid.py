"""The custom CNN as a trainable re-identification model: necks, classifiers, and which features make the embedding."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from reidlab.data.transforms import Preprocess
from reidlab.errors import UserError, nearest
from reidlab.models.families.custom_cnn import N_PARTS, CustomCNN
from reidlab.models.output import Output
from reidlab.models.parts.necks import BNNeck

__all__ = ["CustomCNNReID"]

_CHOICES = {"neck": ("none", "bnneck"), "embedding": ("global", "parts", "concat")}


class CustomCNNReID(nn.Module):
    """Custom CNN v3.2 with its options.

    With the defaults and num_classes=0 this is the published network: 755,988 parameters, 81 of them frozen, and the
    embedding is its L2-normalised 128-d global feature.

    Args:
        num_classes: identities of the classifiers; 0 leaves them out.
        neck: "none" (as published) or "bnneck" (a batch normalisation between ranking losses and classifiers).
        parts: keep the six part heads.
        embedding: what a trained model gives: "global" [128], "parts" [6 * 128] or "concat" [7 * 128].
        dropout: share of stage-5 activations dropped while training.
        last_stride: stride of stage 4 (2 as published).
        classifier_std: spread of the classifiers' initial weights; 0.001 is the strong baselines', trainings of a few
            hundred steps start faster with 0.05.
        height, width: input size; any size of at least 16 x 16 works, 128 x 64 is the published one.
    """

    def __init__(
        self,
        num_classes: int = 0,
        *,
        neck: str = "none",
        parts: bool = True,
        embedding: str = "global",
        dropout: float = 0.3,
        last_stride: int = 2,
        classifier_std: float = 0.001,
        height: int = 128,
        width: int = 64,
    ) -> None:
        super().__init__()
        for name, given in (("neck", neck), ("embedding", embedding)):
            if given not in _CHOICES[name]:
                known = ", ".join(_CHOICES[name])
                raise UserError(f"{name}={given!r} is unknown; choose from {known}.{nearest(given, _CHOICES[name])}")
        if embedding != "global" and not parts:
            raise UserError(f"embedding={embedding!r} needs parts=True.")
        if min(height, width) < 16:
            raise UserError(f"input size {height} x {width} is too small; the custom CNN needs at least 16 x 16.")
        if not classifier_std >= 0:
            raise UserError(f"classifier_std={classifier_std} must be 0 or more.")
        self.embedding = embedding
        self.preprocess = Preprocess(height, width)
        self.network = CustomCNN(parts=parts, dropout=dropout, last_stride=last_stride)
        dim, n_features = self.network.dim, 1 + (N_PARTS if parts else 0)
        self.necks = nn.ModuleList(BNNeck(dim) for _ in range(n_features if neck == "bnneck" else 0))
        n_heads = n_features if num_classes else 0
        classifiers = [nn.Linear(dim, num_classes, bias=False) for _ in range(n_heads)]
        for classifier in classifiers:
            nn.init.normal_(classifier.weight, std=classifier_std)
        self.classifiers = nn.ModuleList(classifiers)
        self.dim = dim * {"global": 1, "parts": N_PARTS, "concat": 1 + N_PARTS}[embedding]

    def _features(self, images: Tensor) -> list[Tensor]:
        """Global and part features before normalisation, each [batch, 128]."""
        net = self.network
        maps = net.dropout(net.maps(images))
        features = [net.head(maps.mean(dim=(2, 3)))]
        if self.training or self.embedding != "global":
            stripes = F.adaptive_max_pool2d(maps, (N_PARTS, 1)).squeeze(3)  # [batch, 256, part]
            features += [head(stripes[:, :, i]) for i, head in enumerate(net.part_heads)]
        return features

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Output | Float[Tensor, "batch dim"]:
        """Return an `Output` while training, else L2-normalised embeddings [batch, dim].

        Args:
            images: float [batch, 3, height, width] in [0, 1].
        """
        before = self._features(images)
        after = [neck(f) for neck, f in zip(self.necks, before)] if self.necks else before
        if not self.training:
            used = {"global": after[:1], "parts": after[1:], "concat": after}[self.embedding]
            return F.normalize(torch.cat([F.normalize(f.float(), dim=1) for f in used], dim=1), dim=1)
        logits = tuple(classifier(f) for classifier, f in zip(self.classifiers, after))
        normed = [F.normalize(f.float(), dim=1) for f in before]
        parts = torch.stack(normed[1:], dim=1) if len(normed) > 1 else None
        return Output(normed[0], after[0] if self.necks else normed[0], logits, parts)
