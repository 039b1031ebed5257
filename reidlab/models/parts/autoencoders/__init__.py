"""Autoencoders on features: an encoder makes a code, which is the embedding, and a decoder makes the image of it again.

By name (`AUTOENCODERS`, `DECODERS`): an autoencoder is called with features [batch, n_in] and returns a `Code`, a
decoder is called with codes [batch, code] and returns images in [0, 1].
"""

from __future__ import annotations

from typing import Any

from torch import nn

from reidlab.models.parts.build import build_part
from reidlab.registry import AUTOENCODERS, DECODERS

__all__ = ["AUTOENCODERS", "DECODERS", "build_autoencoder", "build_decoder"]


def build_autoencoder(name: str, n_in: int, **options: Any) -> nn.Module:
    """Return an encoder of features [batch, n_in] by its registered name.

    Raises:
        UserError: unknown name or option, or a value that it refuses.
    """
    return build_part(AUTOENCODERS, name, {"n_in": n_in}, options)


def build_decoder(name: str, code: int, height: int, width: int, **options: Any) -> nn.Module:
    """Return a decoder of codes [batch, code] to images [batch, 3, height, width] by its registered name.

    Raises:
        UserError: unknown name or option, or a value that it refuses.
    """
    return build_part(DECODERS, name, {"code": code, "height": height, "width": width}, options)
