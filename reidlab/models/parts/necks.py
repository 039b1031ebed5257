"""Necks: what stands between pooled features (ranking losses) and classifiers: [batch, dim] -> [batch, neck.dim]."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from reidlab.errors import UserError
from reidlab.models.parts.build import build_part
from reidlab.registry import NECKS

__all__ = ["NECKS", "BNNeck", "LinearNeck", "NoNeck", "build_neck"]


class BNNeck(nn.BatchNorm1d):
    """Batch normalisation whose bias stays 0 (Luo et al. 2019): centred at 0, features suit a classifier without bias.

    The weight starts at 1 and is trained; the bias counts as a parameter (2 x dim) but is frozen.

    Attributes:
        dim: width of what it gives.
    """

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.dim = dim
        self.bias.requires_grad_(False)


class NoNeck(nn.Identity):
    """Pass features on as they are."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim


class LinearNeck(nn.Module):
    """A linear layer to `width`, a BN, and an activation.

    Args:
        dim: width of the features.
        width: width of what it gives (`dim` of the neck).
        freeze_bias: keep the BN's bias at 0, as in `BNNeck`.
        bias: give the linear layer a bias, which the BN takes out again.
        activation: what follows the BN.
    """

    def __init__(
        self, dim: int, width: int, *, freeze_bias: bool, bias: bool = False, activation: nn.Module | None = None
    ) -> None:
        super().__init__()
        if width < 1:
            raise UserError(f"neck width={width} must be 1 or more.")
        self.dim = width
        self.linear = nn.Linear(dim, width, bias=bias)
        self.norm = BNNeck(width) if freeze_bias else nn.BatchNorm1d(width)
        self.activation = activation or nn.Identity()

    def forward(self, features: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch width"]:
        """Return [batch, width]."""
        return self.activation(self.norm(self.linear(features)))


def linear_bn(dim: int, width: int = 512, freeze_bias: bool = True) -> LinearNeck:
    """Build Linear (no bias) -> BN.

    Args:
        dim: width of the features.
        width: width of what it gives.
        freeze_bias: keep the BN's bias at 0, as in `BNNeck`.
    """
    return LinearNeck(dim, width, freeze_bias=freeze_bias)


def landmarks(dim: int, width: int = 512, freeze_bias: bool = True) -> LinearNeck:
    """Build Linear -> BN -> PReLU, the component library's "general landmarks" neck.

    Args:
        dim: width of the features.
        width: width of what it gives.
        freeze_bias: keep the BN's bias at 0, as in `BNNeck`.
    """
    return LinearNeck(dim, width, freeze_bias=freeze_bias, bias=True, activation=nn.PReLU())


def third_place_landmarks(dim: int, width: int = 512) -> LinearNeck:
    """Build Linear -> BN -> SiLU, our reading of the component library's "third place landmarks" neck.

    Its published class cannot be built: it initialises a BN that it does not have, and its forward pass is Linear ->
    SiLU alone. We give it the BN, here with a trained bias, which is what keeps it apart from `landmarks`.

    Args:
        dim: width of the features.
        width: width of what it gives.
    """
    return LinearNeck(dim, width, freeze_bias=False, bias=True, activation=nn.SiLU())


def class_head(dim: int, width: int = 512, dropout: float = 0.5) -> LinearNeck:
    """Build Linear -> BN -> LeakyReLU 0.1 -> dropout, the head of classification baselines; they embed before it.

    Args:
        dim: width of the features.
        width: width of what it gives.
        dropout: share dropped while training.
    """
    if not 0 <= dropout < 1:
        raise UserError(f"neck dropout={dropout} is outside [0, 1).")
    activation = nn.Sequential(nn.LeakyReLU(0.1), nn.Dropout(dropout))
    neck = LinearNeck(dim, width, freeze_bias=False, bias=True, activation=activation)
    nn.init.kaiming_normal_(neck.linear.weight, mode="fan_out")
    nn.init.zeros_(neck.linear.bias)
    return neck


def build_neck(name: str, dim: int, **options: Any) -> nn.Module:
    """Build a neck for features [batch, dim]; its attribute `dim` is the width of what it gives.

    Raises:
        UserError: unknown name or option, or a value that the neck refuses.
    """
    return build_part(NECKS, name, {"dim": dim}, options)
