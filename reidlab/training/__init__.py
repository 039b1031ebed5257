"""Training: recipes and `fit`, which is resumable to the bit on one machine."""

# imported here and now, so that the name `fit` is the function and not the module of that name
from reidlab.training.fit import Run, fit
from reidlab.training.recipes import Recipe, list_recipes, load_recipe

__all__ = ["Recipe", "Run", "fit", "list_recipes", "load_recipe"]
