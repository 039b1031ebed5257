"""Models: built by name, each giving embeddings in eval mode and an `Output` in training mode."""

from reidlab.models.build import MODELS, build, count_macs, count_parameters, without_weights
from reidlab.models.output import Output

__all__ = ["MODELS", "Output", "build", "count_macs", "count_parameters", "without_weights"]
