"""Attention blocks by name, maps [batch, channels, height, width] -> the same shape, and their places in a backbone."""

from __future__ import annotations

from typing import Any

from torch import nn

from reidlab.models._parts import PartEntry, build_part
from reidlab.models.attention.blocks import (
    ChannelAttention,
    NonLocal,
    PositionAttention,
    cbam,
    fpb,
    global_context,
    plr,
    squeeze_excite,
)
from reidlab.models.attention.placement import attach, standard_places
from reidlab.models.custom_cnn import CBAM

__all__ = [
    "ATTENTIONS",
    "ChannelAttention",
    "NonLocal",
    "PositionAttention",
    "attach",
    "build_attention",
    "standard_places",
]

ATTENTIONS: dict[str, PartEntry] = {
    "se": PartEntry(squeeze_excite, "squeeze and excitation: a gate per channel from the mean (Hu et al. 2018)"),
    "cbam": PartEntry(cbam, "channel gate from mean and maximum, then a 7x7 spatial gate (Woo et al. 2018)"),
    "cbam_custom_cnn": PartEntry(CBAM, "the custom CNN's CBAM: channel gate from the mean, then a 3x3 spatial gate"),
    "non_local": PartEntry(NonLocal, "all pairs of positions by dot product, no softmax: AGW's block (Ye et al. 2021)"),
    "global_context": PartEntry(global_context, "a gate per channel from a softmax-weighted mean (Cao et al. 2019)"),
    "pam": PartEntry(PositionAttention, "position attention: softmax over all pairs of positions (Fu et al. 2019)"),
    "cam": PartEntry(ChannelAttention, "channel attention: softmax over all pairs of channels (Fu et al. 2019)"),
    "fpb": PartEntry(fpb, "position, then channel attention: the PC module of FPB (Zhang et al. 2021)"),
    "plr": PartEntry(plr, "position attention, then squeeze and excitation: PLR-OSNet (Xie et al. 2020)"),
}


def build_attention(name: str, channels: int, **options: Any) -> nn.Module:
    """Build an attention block for maps [batch, channels, height, width].

    Raises:
        UserError: unknown name or option, or a value that the block refuses.
    """
    return build_part("attention", ATTENTIONS, name, {"channels": channels}, options)
