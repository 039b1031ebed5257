"""Losses by name.

Each is (features, labels) -> scalar with `.stats` after a call. What differs is said in `LOSSES[name].takes`: "ehtm"
takes (a, p, n, a_labels, n_labels), and the distillation losses the student's and the teacher's output (kd the labels
too). Label -1 means that nobody knows who it is. Half-precision features are computed in float32.
"""

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
from reidlab.losses.registry import LOSSES, LossEntry, build
from reidlab.losses.relational_kd import RelationalKDLoss
from reidlab.losses.supcon import SupConLoss
from reidlab.losses.triplet import TripletLoss
from reidlab.losses.weighted_triplet import WeightedTripletLoss

__all__ = [
    "LOSSES",
    "CenterLoss",
    "CircleLoss",
    "ContrastiveLoss",
    "CosFacePairLoss",
    "CrossEntropyLoss",
    "CrossOrthogonalityLoss",
    "EHTMLoss",
    "FocalLoss",
    "JSLoss",
    "KDLoss",
    "KLLoss",
    "LossEntry",
    "MultiSimilarityLoss",
    "NTXentLoss",
    "RelationalKDLoss",
    "SupConLoss",
    "TripletLoss",
    "WeightedTripletLoss",
    "build",
]
