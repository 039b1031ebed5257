"""The stages of the notebooks: data, triplets, training, embeddings, evaluation. Each is found in the store or made."""

from reidlab.stages.analysis import Analysis, calibrate_for, calibrations_for, causes_of, compare_rerankings, top_k_for
from reidlab.stages.attention import Looking, attention_choice, measures_table
from reidlab.stages.attention_measures import attention_stage
from reidlab.stages.calibration import calibration_of, calibration_stage
from reidlab.stages.chosen import Choice, choose_model, evaluation_line
from reidlab.stages.data import audit_of, data_stage
from reidlab.stages.data_run import DataRun
from reidlab.stages.domains import cross_domain, domain_of
from reidlab.stages.evaluation import evaluation_stage
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

__all__ = [
    "Analysis",
    "Choice",
    "DataRun",
    "Looking",
    "ModelSource",
    "attention_choice",
    "attention_stage",
    "audit_of",
    "calibrate_for",
    "calibration_of",
    "calibration_stage",
    "calibrations_for",
    "causes_of",
    "choose_model",
    "compare_rerankings",
    "cross_domain",
    "cross_domain_for",
    "data_for",
    "data_stage",
    "domain_of",
    "domain_table",
    "drop_table",
    "embedding_stage",
    "evaluate_for",
    "evaluation_line",
    "evaluation_stage",
    "histogram_floor",
    "histogram_source",
    "history_of",
    "measures_table",
    "model_from",
    "model_from_run",
    "over_floor",
    "people_shown",
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
]
