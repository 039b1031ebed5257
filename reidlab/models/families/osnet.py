"""OSNet: omni-scale blocks, in its plain, IBN and AIN forms, for any width.

Sources: Zhou et al., "Omni-Scale Feature Learning for Person Re-Identification" (ICCV 2019) and "Learning Generalisable
Omni-Scale Representations for Person Re-Identification" (TPAMI 2021, for AIN). Submodules are named as in the published
checkpoints (torchreid), which therefore load as they are; those of OSNet-AIN by `weights.KEY_MAPS["osnet_ain"]`.
"""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from reidlab.errors import UserError, nearest

__all__ = ["VARIANTS", "ChannelGate", "ConvNorm", "LightConv", "OSBlock", "OSNet"]

# Where the two blocks of conv2, conv3 and conv4 normalise each image by itself: "" nowhere, "inside" the residual
# branch (in the place of its last BN), "after" the sum.
VARIANTS: dict[str, tuple[tuple[str, str], ...]] = {
    "bn": (("", ""), ("", ""), ("", "")),
    "ibn": (("after", "after"), ("", ""), ("", "")),
    "ain": (("inside", "inside"), ("", "inside"), ("inside", "")),
}
_WIDTHS = (64, 256, 384, 512)


class ConvNorm(nn.Module):
    """Convolution without bias, a norm, ReLU.

    Args:
        n_in: channels that come in.
        n_out: channels that go out.
        kernel: side of the kernel; padded so that stride 1 keeps the size.
        stride: of the convolution.
        norm: "batch", "instance" or "" for none.
        relu: end in ReLU.
    """

    def __init__(
        self, n_in: int, n_out: int, kernel: int = 1, stride: int = 1, norm: str = "batch", relu: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(n_in, n_out, kernel, stride, kernel // 2, bias=False)
        self.bn: nn.Module = nn.Identity()
        if norm:
            self.bn = nn.BatchNorm2d(n_out) if norm == "batch" else nn.InstanceNorm2d(n_out, affine=True)
        self.relu = nn.ReLU(inplace=True) if relu else nn.Identity()

    def forward(self, maps: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch out row column"]:
        """Map [batch, n_in, height, width] to [batch, n_out, height / stride, width / stride]."""
        return self.relu(self.bn(self.conv(maps)))


class LightConv(nn.Module):
    """A 3x3 convolution in two: 1x1 without activation, then 3x3 a channel; BN, ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, maps: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch channel height width"]:
        """Keep the shape [batch, channels, height, width]."""
        return F.relu(self.bn(self.conv2(self.conv1(maps))), inplace=True)


class ChannelGate(nn.Module):
    """Scale each channel by a gate in (0, 1) computed from the channels' means; one gate serves all four streams."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(channels // reduction, 1)
        self.fc1 = nn.Conv2d(channels, hidden, 1)
        self.fc2 = nn.Conv2d(hidden, channels, 1)

    def forward(self, maps: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch channel height width"]:
        """Keep the shape [batch, channels, height, width]."""
        pooled = maps.mean(dim=(2, 3), keepdim=True)
        return maps * self.fc2(F.relu(self.fc1(pooled))).sigmoid()


class OSBlock(nn.Module):
    """Four streams of one to four light convolutions (3x3 to 9x9), summed through one shared gate, beside a skip.

    Args:
        n_in: channels that come in.
        n_out: channels that go out; the streams are a quarter as wide.
        instance_norm: "", "inside" or "after", as in `VARIANTS`.
    """

    def __init__(self, n_in: int, n_out: int, instance_norm: str = "") -> None:
        super().__init__()
        middle = n_out // 4
        self.conv1 = ConvNorm(n_in, middle)
        self.conv2a = LightConv(middle)
        self.conv2b = nn.Sequential(*[LightConv(middle) for _ in range(2)])
        self.conv2c = nn.Sequential(*[LightConv(middle) for _ in range(3)])
        self.conv2d = nn.Sequential(*[LightConv(middle) for _ in range(4)])
        self.gate = ChannelGate(middle)
        self.conv3 = ConvNorm(middle, n_out, norm="" if instance_norm == "inside" else "batch", relu=False)
        self.downsample = ConvNorm(n_in, n_out, relu=False) if n_in != n_out else nn.Identity()
        self.instance_norm = instance_norm
        if instance_norm:
            self.IN = nn.InstanceNorm2d(n_out, affine=True)

    def forward(self, maps: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch out height width"]:
        """Map [batch, n_in, height, width] to [batch, n_out, height, width]."""
        x = self.conv1(maps)
        a, b, c, d = self.conv2a(x), self.conv2b(x), self.conv2c(x), self.conv2d(x)
        x = self.conv3(self.gate(a) + self.gate(b) + self.gate(c) + self.gate(d))
        if self.instance_norm == "inside":
            x = self.IN(x)
        x = x + self.downsample(maps)
        if self.instance_norm == "after":
            x = self.IN(x)
        return F.relu(x, inplace=True)


class OSNet(nn.Module):
    """Map images [batch, 3, height, width] to maps [batch, channels, height / 16, width / 16].

    With feature_dim=512 the widths 1, 0.75, 0.5 and 0.25 have 2,169,508, 1,285,754, 630,034 and 201,864 parameters and
    at 256x128 978,875,392, 571,752,192, 272,899,328 and 82,314,880 multiply-adds, as published. Attention goes after
    `conv2` and `conv3`.

    Args:
        width: factor of the published channel counts (64, 256, 384, 512).
        variant: "bn", "ibn" (instance norm after conv1 and the blocks of conv2) or "ain" (instance norm where the
            authors' search put it).
        feature_dim: width of the published head (pooling, linear, BN, ReLU), whose output is then the map
            [batch, feature_dim, 1, 1]; 0 leaves the head out.

    Attributes:
        channels: of the output.
        reduction: image height / map height.
        preprocess_mean, preprocess_std: of RGB in [0, 1], as the published weights want it.

    Raises:
        UserError: an unknown variant, or a width that makes the blocks empty.
    """

    reduction = 16
    preprocess_mean = (0.485, 0.456, 0.406)
    preprocess_std = (0.229, 0.224, 0.225)

    def __init__(self, width: float = 1.0, variant: str = "bn", feature_dim: int = 0) -> None:
        super().__init__()
        if variant not in VARIANTS:
            raise UserError(
                f"OSNet variant {variant!r} is not one of {', '.join(VARIANTS)}.{nearest(variant, VARIANTS)}"
            )
        n1, n2, n3, n4 = (int(channels * width) for channels in _WIDTHS)
        if n1 < 4 or feature_dim < 0:
            raise UserError(f"OSNet width={width} must be 0.0625 or more, feature_dim={feature_dim} 0 or more.")
        norms = VARIANTS[variant]
        self.conv1 = ConvNorm(3, n1, 7, 2, "batch" if variant == "bn" else "instance")
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        # a stage is two blocks and, but for the last, a transition that halves the maps
        self.conv2 = nn.Sequential(OSBlock(n1, n2, norms[0][0]), OSBlock(n2, n2, norms[0][1]), _transition(n2))
        self.conv3 = nn.Sequential(OSBlock(n2, n3, norms[1][0]), OSBlock(n3, n3, norms[1][1]), _transition(n3))
        self.conv4 = nn.Sequential(OSBlock(n3, n4, norms[2][0]), OSBlock(n4, n4, norms[2][1]))
        self.conv5 = ConvNorm(n4, n4)
        self.channels = feature_dim or n4
        if feature_dim:
            self.fc = nn.Sequential(nn.Linear(n4, feature_dim), nn.BatchNorm1d(feature_dim), nn.ReLU(inplace=True))
        self.feature_dim = feature_dim
        self._initialise()

    def take_head(self) -> nn.Sequential:
        """Detach the published head (linear, BN, ReLU) and return it; from now on the network returns maps."""
        head, linear = self.fc, self.fc[0]
        del self.fc
        assert isinstance(linear, nn.Linear)
        self.channels, self.feature_dim = linear.in_features, 0
        return head

    def _initialise(self) -> None:
        """Kaiming (fan_out) for convolutions, std 0.01 for the linear layer, as published."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.01)
            if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch out row column"]:
        """Return maps [batch, channels, height / 16, width / 16], or [batch, feature_dim, 1, 1] with the head."""
        maps = self.maxpool(self.conv1(images))
        maps = self.conv5(self.conv4(self.conv3(self.conv2(maps))))
        if not self.feature_dim:
            return maps
        return self.fc(maps.mean(dim=(2, 3)))[:, :, None, None]


def _transition(channels: int) -> nn.Sequential:
    return nn.Sequential(ConvNorm(channels, channels), nn.AvgPool2d(2))
