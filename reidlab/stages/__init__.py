"""The stages of the notebooks: data, triplets, training, embeddings, evaluation. Each is found in the store or made.

Nothing is imported until it is asked for: a notebook whose results are found does without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reidlab.stages.analysis import (
        Analysis,
        calibrate_for,
        calibrations_for,
        causes_of,
        compare_rerankings,
        top_k_for,
    )
    from reidlab.stages.attention import Looking, attention_choice, measures_table
    from reidlab.stages.attention_measures import attention_stage
    from reidlab.stages.autoencoder_pictures import pictures_for
    from reidlab.stages.autoencoder_ranking import pair_rankings
    from reidlab.stages.autoencoder_results import grid_table, kept_grid, write_grid
    from reidlab.stages.autoencoders import ablation_pairs, autoencoders_for
    from reidlab.stages.calibration import calibration_of, calibration_stage
    from reidlab.stages.chosen import Choice, choose_model, evaluation_line
    from reidlab.stages.data import audit_of, data_stage
    from reidlab.stages.data_run import DataRun
    from reidlab.stages.distillation import distillation_for
    from reidlab.stages.domains import cross_domain, domain_of
    from reidlab.stages.evaluation import evaluation_stage
    from reidlab.stages.experts import experts_for
    from reidlab.stages.floor import histogram_floor, over_floor
    from reidlab.stages.histogram import histogram_source
    from reidlab.stages.models import ModelSource, model_from, model_from_run
    from reidlab.stages.notebooks import (
        data_for,
        evaluate_for,
        history_of,
        ranking_for,
        recipe_for,
        train_for,
        training_figures,
        training_notes,
        training_table,
        triplets_for,
    )
    from reidlab.stages.retrieval import embedding_stage, query_gallery
    from reidlab.stages.robustness import robustness_grid
    from reidlab.stages.training import trained_model, training_stage
    from reidlab.stages.trials import cross_domain_for, domain_table, drop_table, people_shown, robustness_for
    from reidlab.stages.triplets import triplet_stage
    from reidlab.stages.variants import compare_variants

_HOMES = {
    "Analysis": "analysis",
    "Choice": "chosen",
    "DataRun": "data_run",
    "Looking": "attention",
    "ModelSource": "models",
    "ablation_pairs": "autoencoders",
    "attention_choice": "attention",
    "attention_stage": "attention_measures",
    "audit_of": "data",
    "autoencoders_for": "autoencoders",
    "calibrate_for": "analysis",
    "calibration_of": "calibration",
    "calibration_stage": "calibration",
    "calibrations_for": "analysis",
    "causes_of": "analysis",
    "choose_model": "chosen",
    "compare_rerankings": "analysis",
    "compare_variants": "variants",
    "cross_domain": "domains",
    "cross_domain_for": "trials",
    "data_for": "notebooks",
    "data_stage": "data",
    "distillation_for": "distillation",
    "domain_of": "domains",
    "domain_table": "trials",
    "drop_table": "trials",
    "embedding_stage": "retrieval",
    "evaluate_for": "notebooks",
    "evaluation_line": "chosen",
    "evaluation_stage": "evaluation",
    "experts_for": "experts",
    "grid_table": "autoencoder_results",
    "histogram_floor": "floor",
    "histogram_source": "histogram",
    "history_of": "notebooks",
    "kept_grid": "autoencoder_results",
    "measures_table": "attention",
    "model_from": "models",
    "model_from_run": "models",
    "over_floor": "floor",
    "pair_rankings": "autoencoder_ranking",
    "people_shown": "trials",
    "pictures_for": "autoencoder_pictures",
    "query_gallery": "retrieval",
    "ranking_for": "notebooks",
    "recipe_for": "notebooks",
    "robustness_for": "trials",
    "robustness_grid": "robustness",
    "top_k_for": "analysis",
    "train_for": "notebooks",
    "trained_model": "training",
    "training_figures": "notebooks",
    "training_notes": "notebooks",
    "training_stage": "training",
    "training_table": "notebooks",
    "triplet_stage": "triplets",
    "triplets_for": "notebooks",
    "write_grid": "autoencoder_results",
}

__all__ = [
    "Analysis",
    "Choice",
    "DataRun",
    "Looking",
    "ModelSource",
    "ablation_pairs",
    "attention_choice",
    "attention_stage",
    "audit_of",
    "autoencoders_for",
    "calibrate_for",
    "calibration_of",
    "calibration_stage",
    "calibrations_for",
    "causes_of",
    "choose_model",
    "compare_rerankings",
    "compare_variants",
    "cross_domain",
    "cross_domain_for",
    "data_for",
    "data_stage",
    "distillation_for",
    "domain_of",
    "domain_table",
    "drop_table",
    "embedding_stage",
    "evaluate_for",
    "evaluation_line",
    "evaluation_stage",
    "experts_for",
    "grid_table",
    "histogram_floor",
    "histogram_source",
    "history_of",
    "kept_grid",
    "measures_table",
    "model_from",
    "model_from_run",
    "over_floor",
    "pair_rankings",
    "people_shown",
    "pictures_for",
    "query_gallery",
    "ranking_for",
    "recipe_for",
    "robustness_for",
    "robustness_grid",
    "top_k_for",
    "train_for",
    "trained_model",
    "training_figures",
    "training_notes",
    "training_stage",
    "training_table",
    "triplet_stage",
    "triplets_for",
    "write_grid",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
