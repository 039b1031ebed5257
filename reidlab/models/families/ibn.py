"""IBN-a: instance and batch norm side by side, for ResNets.

Source: Pan et al., "Two at Once: Enhancing Learning and Generalization Capacities via IBN-Net" (ECCV 2018). Half of the
channels of each block's first norm are normalised per image, which takes away what lighting and camera do to them; the
last stage keeps batch norm alone. Names are those of the published checkpoints (`layer1.0.bn1.IN.weight`).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reidlab.errors import UserError

__all__ = ["IBN", "to_ibn_a"]


class IBN(nn.Module):
    """Instance norm on the first half of the channels, batch norm on the others; as many parameters as one batch norm.

    Args:
        channels: 2 or more.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        if channels < 2:
            raise UserError(f"IBN needs 2 channels or more, one for each norm; got {channels}.")
        self.split = channels // 2  # not `half`: that is a method of modules, which casts them
        self.IN = nn.InstanceNorm2d(self.split, affine=True)
        self.BN = nn.BatchNorm2d(channels - self.split)

    def forward(self, maps: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch channel height width"]:
        """Keep the shape [batch, channels, height, width]."""
        return torch.cat([self.IN(maps[:, : self.split]), self.BN(maps[:, self.split :])], dim=1)


def to_ibn_a(network: nn.Module) -> nn.Module:
    """Put `IBN` in the place of `bn1` in each block of layer1, layer2 and layer3 of a ResNet, and return it.

    Raises:
        UserError: the network has no such blocks.
    """
    stages = [getattr(network, f"layer{i}", ()) for i in (1, 2, 3)]
    blocks = [block for stage in stages for block in stage if isinstance(getattr(block, "bn1", None), nn.BatchNorm2d)]
    if not blocks:
        raise UserError(f"{type(network).__name__} has no layer1 to layer3 of blocks with a batch norm `bn1`.")
    for block in blocks:
        block.bn1 = IBN(block.bn1.num_features)
    return network
