"""Decoders: codes [batch, code] -> images [batch, 3, height, width] in [0, 1]."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from reidlab.data.transforms.preprocess import check_size
from reidlab.errors import UserError

__all__ = ["DirectDecoder", "PublishedDecoder", "TiedLinear"]

_START = 64  # channels that transposed convolutions start from


class TiedLinear(nn.Module):
    """A linear layer with the transposed weight of another one, and a bias of its own."""

    def __init__(self, other: nn.Linear) -> None:
        super().__init__()
        # in a list: the other layer stays the encoder's, in state dicts and counts too
        self._other = [other]
        self.bias = nn.Parameter(other.weight.new_zeros(other.in_features))

    def forward(self, codes: Float[Tensor, "batch code"]) -> Float[Tensor, "batch width"]:
        """Return [batch, width]."""
        return F.linear(codes, self._other[0].weight.T, self.bias)


class _Decoder(nn.Module):
    """What both share: two layers before the convolutions; the first may share its weight with the encoder.

    Attributes:
        hidden: the two linear layers.
    """

    def __init__(self, code: int, height: int, width: int, hidden: int, grid: int) -> None:
        super().__init__()
        check_size(height, width, "size of decoded images")
        if hidden < 1:
            raise UserError(f"hidden={hidden} of a decoder must be 1 or more.")
        self.size = (height, width)
        self.hidden = nn.Sequential(
            nn.Linear(code, hidden), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True),
            nn.Linear(hidden, grid), nn.BatchNorm1d(grid), nn.ReLU(inplace=True),
        )  # fmt: skip

    def tie(self, layer: nn.Linear) -> None:
        """Share the transposed weight of the encoder's last layer.

        Raises:
            UserError: its width is another one than the decoder's first layer has.
        """
        first: Any = self.hidden[0]
        if (layer.out_features, layer.in_features) != (first.in_features, first.out_features):
            raise UserError(
                f"tied weights need an encoder whose last hidden layer is as wide as the decoder's first: got "
                f"{layer.in_features} and {first.out_features}; set hidden of one of them."
            )
        self.hidden[0] = TiedLinear(layer)


class PublishedDecoder(_Decoder):
    """Linear 1,024 twice, three transposed convolutions to 39 x 39 pixels, enlarged to the image: 1,821,273 parameters.

    Args:
        code: width of the code.
        height, width: of the images.
        hidden: width of the first layer.
    """

    def __init__(self, code: int, height: int, width: int, hidden: int = 1024) -> None:
        super().__init__(code, height, width, hidden, _START * 16)
        self.grow = nn.Sequential(
            nn.Unflatten(1, (_START, 4, 4)),
            nn.ConvTranspose2d(_START, 32, 3, 2), nn.BatchNorm2d(32), nn.ReLU(inplace=True),
            nn.ConvTranspose2d(32, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(inplace=True),
            nn.ConvTranspose2d(8, 3, 3, 2), nn.BatchNorm2d(3), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, codes: Float[Tensor, "batch code"]) -> Float[Tensor, "batch 3 height width"]:
        """Return images [batch, 3, height, width] in [0, 1]."""
        small = self.grow(self.hidden(codes))
        return F.interpolate(small.float(), self.size, mode="bilinear", align_corners=False)


class DirectDecoder(_Decoder):
    """Doubles its maps four times up to the very size of the image, which may be twice as high as wide: no resizing.

    Args:
        code: width of the code.
        height, width: of the images, multiples of 16.
        hidden: width of the first layer.
    """

    def __init__(self, code: int, height: int, width: int, hidden: int = 1024) -> None:
        if height % 16 or width % 16:
            raise UserError(
                f"decoder direct doubles its maps four times: {height} x {width} pixels must be multiples of 16. Take "
                "decoder published for other sizes."
            )
        super().__init__(code, height, width, hidden, _START * (height // 16) * (width // 16))
        layers: list[nn.Module] = [nn.Unflatten(1, (_START, height // 16, width // 16))]
        for n_in, n_out in ((_START, 32), (32, 16), (16, 8)):
            layers += [nn.ConvTranspose2d(n_in, n_out, 4, 2, 1), nn.BatchNorm2d(n_out), nn.ReLU(inplace=True)]
        self.grow = nn.Sequential(*layers, nn.ConvTranspose2d(8, 3, 4, 2, 1), nn.Sigmoid())

    def forward(self, codes: Float[Tensor, "batch code"]) -> Float[Tensor, "batch 3 height width"]:
        """Return images [batch, 3, height, width] in [0, 1]."""
        return self.grow(self.hidden(codes)).float()
