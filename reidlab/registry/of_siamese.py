"""Parts of the Siamese autoencoder by name."""

from __future__ import annotations

from reidlab.registry.entries import Entry, Registry

__all__ = ["AUTOENCODERS", "DECODERS", "PAIR_HEADS"]


def _part(name: str, maker: str, description: str) -> Entry:
    return Entry(name, f"reidlab.models.parts.{maker}", description)


AUTOENCODERS = Registry(
    "autoencoder",
    "autoencoders",
    [
        _part("ae", "autoencoders.encoders:AutoEncoder", "plain: three layers down to a code of 728, never negative"),
        _part(
            "vae", "autoencoders.encoders:VariationalAutoEncoder", "variational: codes are drawn from a distribution"
        ),
        _part("sae", "autoencoders.encoders:SparseAutoEncoder", "sparse: at most k numbers of a code are not 0"),
        _part("dae", "autoencoders.encoders:DenoisingAutoEncoder", "denoising: it sees features with noise or a mask"),
    ],
    given=("n_in",),
)


DECODERS = Registry(
    "decoder",
    "decoders",
    [
        _part("published", "autoencoders.decoders:PublishedDecoder", "39 x 39 pixels, enlarged to the image's size"),
        _part("direct", "autoencoders.decoders:DirectDecoder", "doubles its maps up to the image's size, such as 2:1"),
    ],
    given=("code", "height", "width"),
)


PAIR_HEADS = Registry(
    "pair head",
    "pair_heads",
    [
        _part("concatenated", "pair_heads:ConcatenatedPairs", "both codes side by side, in both orders; as published"),
        _part("difference", "pair_heads:DifferencePairs", "absolute difference and product of both codes"),
    ],
    given=("code",),
)
