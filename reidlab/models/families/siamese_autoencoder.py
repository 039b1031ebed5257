"""Siamese autoencoder: backbone -> autoencoder -> code (the embedding), a decoder to the image, a classifier of pairs.

After a public project whose code never trains it as written (its best weights are the last, its target lies outside
the decoder's range); the sizes are its own.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from reidlab.data.transforms import Preprocess
from reidlab.errors import UserError
from reidlab.models.families.reid_model import Part, build_trunk, named
from reidlab.models.output import Output, Siamese
from reidlab.models.parts.autoencoders import build_autoencoder, build_decoder
from reidlab.models.parts.classifiers import build_classifier
from reidlab.models.parts.pair_heads import build_pair_head
from reidlab.models.parts.pooling import build_pooling

__all__ = ["SiameseAutoencoder"]


class SiameseAutoencoder(nn.Module):
    """A backbone whose features an autoencoder turns into a code, which is the embedding.

    A part is a name, or a mapping of its name and options: `autoencoder: vae` or
    `autoencoder: {name: sae, code: 128, k: 32}`.

    Args:
        num_classes: identities of a classifier on the code; 0 leaves it out, as published.
        backbone: any name of `reidlab backbones`, or of timm.
        weights: pretrained weights of the backbone: "pretrained", a local file, or "" for random ones.
        last_stride: stride of the last stage: 2 as the networks were published.
        pooling: what makes features of the last maps; "" flattens them, as published for DenseNet and Swin.
        autoencoder: a name of `reidlab autoencoders`; its code is the embedding.
        decoder: a name of `reidlab decoders`; "" has none.
        tied: share the weight of the code's layer with the decoder's first one.
        pair_head: a name of `reidlab pair_heads`; "" has none.
        classifier: softmax layer on the code, with its margin.
        height, width: input size.

    Attributes:
        dim: width of the code.
    """

    def __init__(
        self,
        num_classes: int = 0,
        *,
        backbone: Part = "resnet152",
        weights: str = "",
        last_stride: int = 2,
        pooling: Part = "avg",
        autoencoder: Part = "ae",
        decoder: Part = "published",
        tied: bool = False,
        pair_head: Part = "concatenated",
        classifier: Part = "linear",
        height: int = 256,
        width: int = 128,
    ) -> None:
        super().__init__()
        if named("backbone", backbone)[0].startswith("osnet") and last_stride == 2:
            last_stride = 1  # it has no last stride
        self.backbone = build_trunk(backbone, last_stride=last_stride, weights=weights, size=(height, width))
        self.pooling = nn.Identity() if not pooling else _built(build_pooling, "pooling", pooling)
        mean, std = tuple(self.backbone.preprocess_mean), tuple(self.backbone.preprocess_std)
        self.preprocess = Preprocess(height, width, mean, std)
        self.autoencoder: Any = _built(build_autoencoder, "autoencoder", autoencoder, self._width_of_features())
        self.dim = int(self.autoencoder.dim)
        self.decoder: Any = None
        if decoder:
            self.decoder = _built(build_decoder, "decoder", decoder, self.dim, height, width)
        if tied:
            if self.decoder is None:
                raise UserError("tied: true shares a weight with the decoder, and there is none; name one.")
            self.decoder.tie(self.autoencoder.tied)
        self.pair_head: Any = None
        if pair_head:
            self.pair_head = _built(build_pair_head, "pair_head", pair_head, self.dim)
        self.classifiers = nn.ModuleList()
        if num_classes:
            self.classifiers.append(_built(build_classifier, "classifier", classifier, self.dim, num_classes))

    @torch.no_grad()
    def _width_of_features(self) -> int:
        """Return how many numbers describe an image; a black one shows it."""
        training = self.training
        made = self.eval().features(torch.zeros(1, 3, self.preprocess.height, self.preprocess.width))
        self.train(training)
        return made.shape[1]

    def maps(self, images: Tensor) -> Tensor:
        """Return the last maps [batch, channels, h, w], for pictures of where the model looks."""
        return self.backbone(images)

    def features(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch n_in"]:
        """Return what the autoencoder sees [batch, n_in]."""
        return self.pooling(self.maps(images)).flatten(1)

    def codes(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch code"]:
        """Return codes as they are, not normalised: what decoder and pair head take [batch, code]."""
        return self.autoencoder(self.features(images)).code

    def decode(self, codes: Float[Tensor, "batch code"]) -> UInt8[Tensor, "batch 3 height width"]:
        """Return the images that the decoder makes of codes, uint8.

        Raises:
            UserError: the model has no decoder.
        """
        if self.decoder is None:
            raise UserError("This model has no decoder: it was made with `decoder: ''`.")
        return (self.decoder(codes) * 255).round().clamp(0, 255).to(torch.uint8)

    def same_person(self, one: Float[Tensor, "pair code"], two: Float[Tensor, "pair code"]) -> Float[Tensor, " pair"]:
        """Return the pair head's scores of two lists of codes, from 0 to 1.

        They are the output of a sigmoid, not calibrated: choose a threshold on validation identities
        (`retrieval.choose_threshold`).

        Raises:
            UserError: the model has no pair head.
        """
        if self.pair_head is None:
            raise UserError("This model has no pair head: it was made with `pair_head: ''`.")
        return self.pair_head(one, two).sigmoid()

    def forward(
        self, images: Float[Tensor, "batch 3 height width"], labels: Int[Tensor, " batch"] | None = None
    ) -> Output | Float[Tensor, "batch dim"]:
        """Return an `Output` while training, else L2-normalised codes [batch, dim].

        Args:
            images: float [batch, 3, height, width], as `preprocess` makes them.
            labels: classes [batch] for classifiers with a margin.
        """
        features = self.features(images)
        code, mean, log_variance = self.autoencoder(features)
        if not self.training:
            return F.normalize(code.float(), dim=1)
        logits = tuple(classifier(code, labels) for classifier in self.classifiers)
        siamese = Siamese(
            features=features,
            code=code,
            mean=mean,
            log_variance=log_variance,
            reconstruction=None if self.decoder is None else self.decoder(code),
            pixels=self._pixels(images),
            pairs=None if self.pair_head is None else self.pair_head.among(code),
        )
        return Output(code, code, logits, siamese=siamese)

    def _pixels(self, images: Tensor) -> Tensor:
        """Return pixels in [0, 1] of normalised images, which the decoder is to give back."""
        mean, std = (images.new_tensor(each).view(3, 1, 1) for each in (self.preprocess.mean, self.preprocess.std))
        return (images * std + mean).clamp(0, 1)


def _built(builder: Any, what: str, part: Part, *given: Any) -> Any:
    name, options = named(what, part)
    return builder(name, *given, **options)
