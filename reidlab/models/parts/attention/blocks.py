"""Attention blocks: maps [batch, channels, height, width] in, maps of the same shape out.

Squeeze-and-excitation, CBAM and global context are timm's. The non-local block is ours because timm's has a softmax and
another width; PAM and CAM because timm has none. These three add something to their input that is exactly 0 at first.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reidlab.devices import outside_autocast
from reidlab.errors import UserError

__all__ = [
    "ChannelAttention",
    "NonLocal",
    "PositionAttention",
    "cbam",
    "fpb",
    "global_context",
    "plr",
    "squeeze_excite",
]


def _reduced(channels: int, reduction: int) -> int:
    """Width of a bottleneck: channels // reduction, at least 1."""
    if reduction < 1:
        raise UserError(f"reduction={reduction} must be 1 or more.")
    return max(channels // reduction, 1)


def squeeze_excite(channels: int, reduction: int = 16) -> nn.Module:
    """Scale each channel by a gate computed from its mean (Hu et al. 2018).

    timm's, 33,312 parameters at 512 channels.

    Args:
        channels: width of the maps.
        reduction: the gate's hidden layer is channels // reduction wide.
    """
    from timm.layers import SEModule  # here: importing timm takes seconds

    return SEModule(channels, rd_channels=_reduced(channels, reduction))


def cbam(channels: int, reduction: int = 16) -> nn.Module:
    """Scale by a channel gate (mean and maximum, one shared MLP without biases), then by a spatial gate.

    The spatial gate is a 7x7 convolution with BN of the channels' mean and maximum (Woo et al. 2018). timm's, 32,868
    parameters at 512 channels.

    Args:
        channels: width of the maps.
        reduction: the channel gate's hidden layer is channels // reduction wide.
    """
    from timm.layers.cbam import CbamModule

    return CbamModule(channels, rd_channels=_reduced(channels, reduction))


def global_context(channels: int, reduction: int = 16) -> nn.Module:
    """Scale each channel by a gate computed from a softmax-weighted mean of all positions (Cao et al. 2019).

    timm's, 33,889 parameters at 512 channels.

    Args:
        channels: width of the maps.
        reduction: the gate's hidden layer is channels // reduction wide.
    """
    from timm.layers import GlobalContext

    return GlobalContext(channels, rd_channels=_reduced(channels, reduction))


class NonLocal(nn.Module):
    """Add to each position a sum over all positions, weighted by dot products (Wang et al. 2018, as in AGW).

    y_i = sum_j (theta_i . phi_j) g_j / positions, without a softmax; then a 1x1 convolution and a BN whose weight and
    bias start at 0, so that the block starts as the identity. 67,168 parameters at 512 channels.

    Args:
        channels: width of the maps.
        reduction: theta, phi and g are channels // reduction wide.
        inter: their width itself, where it is above 0. AGW's published code divides the reduction by itself and so has
            inter=1, whatever its configuration says.
    """

    def __init__(self, channels: int, reduction: int = 16, inter: int = 0) -> None:
        super().__init__()
        if inter < 0:
            raise UserError(f"inter={inter} must be 0 (channels // reduction) or more.")
        width = inter or _reduced(channels, reduction)
        self.theta = nn.Conv2d(channels, width, 1)
        self.phi = nn.Conv2d(channels, width, 1)
        self.g = nn.Conv2d(channels, width, 1)
        norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(norm.weight)
        nn.init.zeros_(norm.bias)
        self.out = nn.Sequential(nn.Conv2d(width, channels, 1), norm)

    def forward(self, maps: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch channel height width"]:
        """Return maps [batch, channels, height, width] plus what they gather from everywhere."""
        theta, phi, g = (conv(maps).flatten(2) for conv in (self.theta, self.phi, self.g))  # [batch, width, position]
        # (theta' phi) g' = theta' (phi g'): without a softmax the position x position matrix need not exist
        context = g @ (phi / phi.shape[2]).transpose(1, 2)  # [batch, width, width]
        gathered = context @ theta
        return maps + self.out(gathered.unflatten(2, maps.shape[2:]))


class PositionAttention(nn.Module):
    """Add to each position a mean of all positions' values, weighted by softmax(query . key): PAM (Fu et al. 2019).

    y = BN(gamma * gathered) + x with gamma = 0 at the start, so that the block starts as the identity. The BN undoes
    most of gamma's size once |gamma| times the values' spread passes its eps^0.5 = 0.003: it opens the block quickly,
    and only its sign and the BN's own weight matter later. Published so; norm=False is the plain form of Fu et al.
    329,345 parameters at 512 channels.

    Args:
        channels: width of the maps; queries and keys are channels // 8 wide.
        value: put a 1x1 convolution on the values; PLR-OSNet's own code has none.
        norm: put a BN on what is added.
        dropout: share dropped, while training, of the attention map and of what is added (0.2 in FPB's own code).
    """

    def __init__(self, channels: int, value: bool = True, norm: bool = True, dropout: float = 0.0) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise UserError(f"dropout={dropout} is outside [0, 1).")
        width = _reduced(channels, 8)
        self.query = nn.Conv2d(channels, width, 1)
        self.key = nn.Conv2d(channels, width, 1)
        self.value = nn.Conv2d(channels, channels, 1) if value else nn.Identity()
        self.gamma = nn.Parameter(torch.zeros(1))
        self.norm = nn.BatchNorm2d(channels) if norm else nn.Identity()
        self.dropout = nn.Dropout(dropout)

    def attention_map(self, maps: Tensor) -> Tensor:
        """Return [batch, position, position]: how much the row's position takes from the column's; rows sum to 1.

        Positions are counted row by row.
        """
        query, key = self.query(maps).flatten(2), self.key(maps).flatten(2)
        return (query.transpose(1, 2) @ key).softmax(2)

    def forward(self, maps: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch channel height width"]:
        """Return maps [batch, channels, height, width] plus what they gather from everywhere."""
        weights = self.dropout(self.attention_map(maps))
        gathered = self.value(maps).flatten(2) @ weights.transpose(1, 2)
        added = self.norm(self.gamma * gathered.unflatten(2, maps.shape[2:]))
        return maps + self.dropout(added).to(maps.dtype)  # gamma is float32 under autocast


class ChannelAttention(nn.Module):
    """Add to each channel a mean of all channels, weighted towards those unlike it: CAM (Fu et al. 2019).

    Weights are softmax(rowmax(E) - E), E = X X' over positions, so a small product weighs much. y =
    BN(gamma * gathered) + x with gamma = 0 at the start, as in `PositionAttention`. 1,025 parameters at 512 channels.

    Args:
        channels: width of the maps.
        norm: put a BN on what is added.
    """

    def __init__(self, channels: int, norm: bool = True) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1))
        self.norm = nn.BatchNorm2d(channels) if norm else nn.Identity()

    def attention_map(self, maps: Tensor) -> Tensor:
        """Return [batch, channels, channels]: how much the row's channel takes from the column's; rows sum to 1.

        At least float32 whatever autocast says: E sums over all positions, unscaled, so that float16 overflows and
        bfloat16 rounds by more than the softmax can bear.
        """
        with outside_autocast(maps.device.type):
            flat = maps.to(torch.promote_types(maps.dtype, torch.float32)).flatten(2)
            # softmax takes no notice of what is added to a row: -E gives what rowmax(E) - E gives
            return (-flat @ flat.transpose(1, 2)).softmax(2)

    def forward(self, maps: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch channel height width"]:
        """Return maps [batch, channels, height, width] plus what they gather from all channels."""
        gathered = self.attention_map(maps).to(maps.dtype) @ maps.flatten(2)
        return maps + self.norm(self.gamma * gathered.unflatten(2, maps.shape[2:])).to(maps.dtype)


def fpb(channels: int, norm: bool = True, dropout: float = 0.0) -> nn.Module:
    """Position attention, then channel attention: the PC module of FPB (Zhang et al. 2021).

    330,370 parameters at 512 channels.

    Args:
        channels: width of the maps.
        norm: put a BN on what each of the two adds.
        dropout: in the position attention only; the paper's code has 0.2.
    """
    pam = PositionAttention(channels, norm=norm, dropout=dropout)
    return nn.Sequential(OrderedDict(pam=pam, cam=ChannelAttention(channels, norm=norm)))


def plr(channels: int, reduction: int = 16, value: bool = True, norm: bool = True) -> nn.Module:
    """Position attention, then squeeze and excitation: PLR-OSNet (Xie et al. 2020).

    362,657 parameters at 512 channels.

    Args:
        channels: width of the maps.
        reduction: of squeeze and excitation; its hidden layer is channels // reduction wide.
        value: put a 1x1 convolution on the values of the position attention; the paper's own code has none.
        norm: put a BN on what the position attention adds.
    """
    pam = PositionAttention(channels, value=value, norm=norm)
    return nn.Sequential(OrderedDict(pam=pam, se=squeeze_excite(channels, reduction)))
