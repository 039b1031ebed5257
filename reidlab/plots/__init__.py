"""Figures: axes in, axes out; figures of many panels come back whole. Each says in words what it shows (`describe`)."""

import importlib
from typing import TYPE_CHECKING, Any

from reidlab.plots.costs import cost_chart
from reidlab.plots.distribution import (
    distribution_overview,
    identity_camera_map,
    image_sizes,
    images_by_camera,
    images_by_identity,
    images_by_split,
)
from reidlab.plots.galleries import choose_queries, ranking_figure
from reidlab.plots.losses import loss_forces, loss_progress, loss_shares
from reidlab.plots.pictures import contact_sheet
from reidlab.plots.retrieval import cmc_curve, distance_histogram, score_bars
from reidlab.plots.style import describe, reidlab_style, save_figure
from reidlab.plots.training import history_table, training_history
from reidlab.plots.triplet_tables import triplet_balance, triplet_figure
from reidlab.plots.triplets import triplet_rows

if TYPE_CHECKING:
    from reidlab.plots.ablation import interaction_chart, level_chart
    from reidlab.plots.attention import attention_grid, pair_figure, six_panels
    from reidlab.plots.attention_measures import agreement_figure, deletion_curves
    from reidlab.plots.augmentations import augmentation_figure
    from reidlab.plots.autoencoders import (
        activity_histogram,
        decoded_figure,
        difference_figure,
        term_curves,
        trade_off_figure,
    )
    from reidlab.plots.breakdown import camera_matrix, confused_identities, suspicious_labels
    from reidlab.plots.distillation import cosine_agreement
    from reidlab.plots.domains import domain_heatmaps
    from reidlab.plots.embedding_maps import embedding_map
    from reidlab.plots.findings import findings_sheet
    from reidlab.plots.gates import gate_bars, gate_map
    from reidlab.plots.leaderboard import pareto_chart
    from reidlab.plots.robustness import corruption_figure, robustness_figure
    from reidlab.plots.verification import reliability, roc_curve

_HOMES = {
    "interaction_chart": "ablation",
    "level_chart": "ablation",
    "pareto_chart": "leaderboard",
    "activity_histogram": "autoencoders",
    "agreement_figure": "attention_measures",
    "attention_grid": "attention",
    "augmentation_figure": "augmentations",
    "camera_matrix": "breakdown",
    "confused_identities": "breakdown",
    "corruption_figure": "robustness",
    "cosine_agreement": "distillation",
    "decoded_figure": "autoencoders",
    "deletion_curves": "attention_measures",
    "difference_figure": "autoencoders",
    "domain_heatmaps": "domains",
    "embedding_map": "embedding_maps",
    "findings_sheet": "findings",
    "gate_bars": "gates",
    "gate_map": "gates",
    "pair_figure": "attention",
    "reliability": "verification",
    "robustness_figure": "robustness",
    "roc_curve": "verification",
    "six_panels": "attention",
    "suspicious_labels": "breakdown",
    "term_curves": "autoencoders",
    "trade_off_figure": "autoencoders",
}

__all__ = [
    "activity_histogram",
    "agreement_figure",
    "attention_grid",
    "augmentation_figure",
    "camera_matrix",
    "choose_queries",
    "cmc_curve",
    "confused_identities",
    "contact_sheet",
    "corruption_figure",
    "cosine_agreement",
    "cost_chart",
    "decoded_figure",
    "deletion_curves",
    "describe",
    "difference_figure",
    "distance_histogram",
    "distribution_overview",
    "domain_heatmaps",
    "embedding_map",
    "findings_sheet",
    "gate_bars",
    "gate_map",
    "history_table",
    "identity_camera_map",
    "image_sizes",
    "images_by_camera",
    "images_by_identity",
    "images_by_split",
    "interaction_chart",
    "level_chart",
    "loss_forces",
    "loss_progress",
    "loss_shares",
    "pair_figure",
    "pareto_chart",
    "ranking_figure",
    "reidlab_style",
    "reliability",
    "robustness_figure",
    "roc_curve",
    "save_figure",
    "score_bars",
    "six_panels",
    "suspicious_labels",
    "term_curves",
    "trade_off_figure",
    "training_history",
    "triplet_balance",
    "triplet_figure",
    "triplet_rows",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for first: `augmentation_figure` brings torch along, which no other figure needs."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
