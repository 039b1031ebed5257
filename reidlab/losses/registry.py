"""Losses by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from reidlab.errors import UserError, nearest
from reidlab.losses.center import CenterLoss
from reidlab.losses.circle import CircleLoss
from reidlab.losses.contrastive import ContrastiveLoss
from reidlab.losses.cosface_pair import CosFacePairLoss
from reidlab.losses.cross_entropy import CrossEntropyLoss
from reidlab.losses.cross_orthogonality import CrossOrthogonalityLoss
from reidlab.losses.ehtm import EHTMLoss
from reidlab.losses.focal import FocalLoss
from reidlab.losses.js import JSLoss
from reidlab.losses.kd import KDLoss
from reidlab.losses.kl import KLLoss
from reidlab.losses.multi_similarity import MultiSimilarityLoss
from reidlab.losses.ntxent import NTXentLoss
from reidlab.losses.relational_kd import RelationalKDLoss
from reidlab.losses.supcon import SupConLoss
from reidlab.losses.triplet import TripletLoss
from reidlab.losses.weighted_triplet import WeightedTripletLoss
from reidlab.models.options import check_options

__all__ = ["LOSSES", "LossEntry", "build"]


@dataclass(frozen=True)
class LossEntry:
    """A registered loss.

    Attributes:
        factory: factory(**options) makes the loss.
        description: one sentence on what it is.
        takes: what a call is given, in order.
    """

    factory: Callable[..., nn.Module]
    description: str
    takes: tuple[str, ...] = ("features", "labels")


_LOGITS = ("logits", "labels")
_TAUGHT = ("student logits", "teacher logits")
_TRIPLETS = ("anchors", "positives", "negatives", "anchor labels", "negative labels")

LOSSES: dict[str, LossEntry] = {
    "cross_entropy": LossEntry(
        CrossEntropyLoss, "cross-entropy over identities, label smoothing in two conventions", _LOGITS
    ),
    "focal": LossEntry(FocalLoss, "cross-entropy in which images that are right already count less", _LOGITS),
    "triplet": LossEntry(
        TripletLoss,
        "batch-hard triplets: farthest positive against nearest negative, hinge or soft, Euclidean or cosine",
    ),
    "weighted_triplet": LossEntry(
        WeightedTripletLoss, "AGW's triplets: all positives against all negatives, the hard ones weighing most"
    ),
    "ehtm": LossEntry(
        EHTMLoss,
        "the custom CNN's five terms on given triplets: hard, semi-hard, inside and between classes",
        _TRIPLETS,
    ),
    "center": LossEntry(CenterLoss, "pulls every feature to the learnable centre of its identity"),
    "circle": LossEntry(
        CircleLoss, "pairs weighted by how far their cosine is from its goal, softly the worst of a row"
    ),
    "cosface_pair": LossEntry(CosFacePairLoss, "a margin between the cosines of a row's positives and negatives"),
    "multi_similarity": LossEntry(
        MultiSimilarityLoss, "positives and negatives each weighted against a base cosine, with or without mining"
    ),
    "contrastive": LossEntry(
        ContrastiveLoss, "every positive pair pulled, every negative pair nearer than a margin pushed"
    ),
    "supcon": LossEntry(SupConLoss, "supervised contrastive: all positives of a row share its softmax evenly"),
    "ntxent": LossEntry(NTXentLoss, "each positive alone against all negatives of its row in a softmax"),
    "kl": LossEntry(KLLoss, "the student's softened logits become the teacher's", _TAUGHT),
    "js": LossEntry(JSLoss, "as kl, in both directions or to the mixture of both", _TAUGHT),
    "kd": LossEntry(KDLoss, "labels and a teacher's softened logits together", (*_TAUGHT, "labels")),
    "relational_kd": LossEntry(
        RelationalKDLoss,
        "the student's cosines between images become the teacher's",
        ("student features", "teacher features"),
    ),
    "cross_orthogonality": LossEntry(
        CrossOrthogonalityLoss,
        "FPB's penalty on maps (branch cross): channels at right angles and equally strong, whoever is in the image",
        ("maps", "labels (not used)"),
    ),
}


def build(name: str, **options: Any) -> nn.Module:
    """Build a loss by its registered name.

    Raises:
        UserError: unknown name or option, or a value that the loss refuses.
    """
    if name not in LOSSES:
        raise UserError(f"loss {name!r} is unknown; choose from {', '.join(LOSSES)}.{nearest(name, LOSSES)}")
    factory = LOSSES[name].factory
    check_options(f"loss {name!r}", factory, options)
    return factory(**options)
