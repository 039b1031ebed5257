"""The custom CNN v3.2 with CBAM: fixed edge filters, four strided stages, a 128-d embedding, six part heads.

Source: "Person Re-Identification with a Custom CNN" (the first of the five projects this workbook unites). Two faults
of its published code are fixed here: the fixed filters live in a module of their own that no initialiser knows and no
gradient reaches, and the part heads can enter the loss.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from reidlab.errors import UserError

__all__ = ["CBAM", "N_PARTS", "CustomCNN", "FixedFilters", "static_kernels"]

N_PARTS = 6


def static_kernels() -> Tensor:
    """Return the three fixed 3x3 kernels [3, 3, 3, 3]: Sobel-x, Laplacian, box blur, the same on every channel."""
    sobel_x = [[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]
    laplacian = [[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]]
    blur = [[1.0 / 9.0] * 3] * 3
    return torch.tensor([sobel_x, laplacian, blur])[:, None].repeat(1, 3, 1, 1)


class FixedFilters(nn.Module):
    """Convolve with `static_kernels`.

    The weight is a frozen parameter, so that it counts (81 of 755,988), and it is detached in use, so that code which
    unfreezes whole models still cannot train it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(static_kernels(), requires_grad=False)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
        """Filter images [batch, 3, height, width] into maps of the same shape."""
        return F.conv2d(images, self.weight.detach(), padding=1)


class CBAM(nn.Module):
    """Channel gate, then spatial gate, in this network's own form: average pooling only, 3x3 spatial kernel, no biases.

    The paper's form (Woo et al. 2018: average and maximum pooling, 7x7 kernel) is a different block.

    Args:
        channels: width of the maps.
        reduction: the channel gate's bottleneck is max(channels // reduction, 8) wide.
    """

    def __init__(self, channels: int, reduction: int = 8) -> None:
        super().__init__()
        hidden = max(channels // reduction, 8)
        self.channel_attention = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, hidden, 1, bias=False),
            nn.LeakyReLU(0.1),
            nn.Conv2d(hidden, channels, 1, bias=False),
            nn.Sigmoid(),
        )
        self.spatial_attention = nn.Sequential(nn.Conv2d(2, 1, 3, padding=1, bias=False), nn.Sigmoid())

    def forward(self, maps: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch channel height width"]:
        """Scale maps [batch, channels, height, width] by both gates."""
        maps = maps * self.channel_attention(maps)
        pooled = torch.cat([maps.mean(dim=1, keepdim=True), maps.amax(dim=1, keepdim=True)], dim=1)
        return maps * self.spatial_attention(pooled)


class _Stage(nn.Module):
    """3x3 convolution, BN and activation, plus a 1x1 skip of the stage's input."""

    def __init__(self, n_in: int, n_out: int, stride: int, activation: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(n_in, n_out, 3, stride, 1), nn.BatchNorm2d(n_out), activation)
        self.skip = nn.Conv2d(n_in, n_out, 1, stride, bias=False)

    def forward(self, maps: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch out row column"]:
        return self.body(maps) + self.skip(maps)


class CustomCNN(nn.Module):
    """Map images [batch, 3, height, width] in [0, 1] to maps and L2-normalised embeddings.

    At 128x64: 755,988 parameters of which 81 (the fixed filters) never train, 77,062,656 multiply-adds.

    Args:
        dim: width of the embedding.
        parts: keep the six part heads (198,912 parameters); they are used only when the loss asks for them.
        dropout: share of stage-5 activations dropped while training.
        last_stride: stride of stage 4, 2 as published; 1 keeps twice the resolution for four times its cost.

    Attributes:
        map_channels: width of the last maps, for whoever attaches another head.
    """

    map_channels = 256

    def __init__(self, dim: int = 128, parts: bool = True, dropout: float = 0.3, last_stride: int = 2) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise UserError(f"dropout={dropout} is outside [0, 1).")
        if last_stride not in (1, 2):
            raise UserError(f"last_stride={last_stride} is neither 1 nor 2.")
        self.dim = dim
        self.static_conv = FixedFilters()
        self.trainable_conv = nn.Conv2d(3, 13, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.stage2 = _Stage(16, 32, 2, nn.ELU())
        self.stage3 = _Stage(32, 64, 2, nn.ELU())
        self.stage4 = _Stage(64, 128, last_stride, nn.ELU())
        self.cbam4 = CBAM(128)
        self.stage5 = _Stage(128, 256, 1, nn.ReLU6())
        self.cbam5 = CBAM(256)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Sequential(
            nn.Linear(256, 256),
            nn.BatchNorm1d(256),
            nn.LeakyReLU(0.1),
            nn.Linear(256, dim),
            nn.LayerNorm(dim),
        )
        part_heads = [nn.Sequential(nn.Linear(256, dim), nn.LayerNorm(dim)) for _ in range(N_PARTS if parts else 0)]
        self.part_heads = nn.ModuleList(part_heads)
        self._initialise()

    def _initialise(self) -> None:
        """Kaiming for convolutions and linear layers, as published; the fixed filters are no convolution module."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="leaky_relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def maps(self, images: Tensor) -> Tensor:
        """Return the last maps [batch, 256, height / 8, width / 8] after the second CBAM, before dropout."""
        first = torch.cat([self.static_conv(images), self.trainable_conv(images)], dim=1)
        x = F.leaky_relu(self.bn1(first), 0.1)
        x = self.stage3(self.stage2(x))
        x = self.cbam4(self.stage4(x))
        return self.cbam5(self.stage5(x))

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch dim"]:
        """Return L2-normalised embeddings [batch, dim]."""
        maps = self.dropout(self.maps(images))
        return F.normalize(self.head(maps.mean(dim=(2, 3))), dim=1)
