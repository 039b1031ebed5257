"""Training: recipes and `fit`, which is resumable to the bit on one machine."""

from reidlab.training.loop import fit
from reidlab.training.recipes import Recipe, list_recipes, load_recipe
from reidlab.training.run import TrainingRun

__all__ = ["Recipe", "TrainingRun", "fit", "list_recipes", "load_recipe"]
