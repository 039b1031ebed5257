"""The stages of the notebooks: data, triplets, training, embeddings, evaluation. Each is found in the store or made."""

from reidlab.workbook.stages.data import DataRun, data_stage
from reidlab.workbook.stages.models import ModelSource, model_from, model_from_run
from reidlab.workbook.stages.retrieval import embedding_stage, evaluation_stage, query_gallery
from reidlab.workbook.stages.training import trained_model, training_stage
from reidlab.workbook.stages.triplets import triplet_stage

__all__ = [
    "DataRun",
    "ModelSource",
    "data_stage",
    "embedding_stage",
    "evaluation_stage",
    "model_from",
    "model_from_run",
    "query_gallery",
    "trained_model",
    "training_stage",
    "triplet_stage",
]
