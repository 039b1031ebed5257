"""Recipes: one complete experiment a YAML file, read into a frozen model that refuses unknown names."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from reidlab.errors import UserError, nearest
from reidlab.paths import find

__all__ = ["LossTerm", "Recipe", "list_recipes", "load_recipe"]

RECIPES = Path(__file__).resolve().parents[1] / "recipes"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LossTerm(_Part):
    """One term of the training loss.

    `feature` says what it sees: before or after the neck, logits (the mean over all classifiers), parts (the mean over
    part embeddings), or triplets (given triplets, for ehtm).
    """

    name: str
    weight: float = Field(default=1.0, gt=0)
    feature: Literal["before", "after", "logits", "parts", "triplets"]
    options: dict[str, Any] = {}


class SamplerPart(_Part):
    """Which rows form a batch: P identities x K images, or triplets (see `reidlab.data.samplers.SAMPLERS`)."""

    name: Literal["pk", "camera", "weighted", "ehtm"] = "pk"
    identities: int = Field(default=16, ge=2)
    images: int = Field(default=4, ge=1)
    replacement: bool | None = Field(default=None, description="of pk")
    by: Literal["identity", "image"] | None = Field(default=None, description="of weighted")


class AugmentPart(_Part):
    """Random changes to training images: `steps` in their order, then flip, crop, erase.

    A step names a transform of `reidlab.data.transforms.TRANSFORMS` and its options, such as
    `{name: random_2d_translation, p: 0.5}`.
    """

    flip: float = Field(default=0.0, ge=0, le=1)
    crop_padding: int = Field(default=0, ge=0)
    erase: float = Field(default=0.0, ge=0, le=1)
    steps: tuple[dict[str, Any], ...] = ()

    @field_validator("steps")
    @classmethod
    def _steps_exist(cls, steps: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
        from reidlab.data.transforms import Augment  # brings torchvision along

        Augment(steps=steps)
        return steps


class OptimizerPart(_Part):
    """Optimiser; `lr` is the base rate that a schedule scales (the maximal one for onecycle)."""

    name: Literal["adam", "adamw", "sgd"] = "adam"
    lr: float = Field(default=5e-4, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)


class Recipe(_Part):
    """A complete experiment."""

    name: str
    source: str
    expected: str
    model: dict[str, Any]
    sampler: SamplerPart = SamplerPart()
    augment: AugmentPart = AugmentPart()
    losses: tuple[LossTerm, ...] = Field(min_length=1)
    optimizer: OptimizerPart = OptimizerPart()
    schedule: dict[str, Any] = {"name": "constant"}
    epochs: int = Field(default=10, ge=1)
    clip_norm: float = Field(default=0.0, ge=0, description="largest gradient norm; 0 does not clip")
    accumulate: int = Field(default=1, ge=1, description="batches whose gradients make one step")
    validate_every: int = Field(default=5, ge=1, description="epochs between validations; the last is always validated")
    patience: int = Field(default=0, ge=0, description="validations without a better mAP before it stops; 0: never")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    compile: bool = Field(
        default=False, description="torch.compile, where it works (CPU: C++ compiler); for long trainings"
    )


def list_recipes() -> list[str]:
    """Name the recipes that come with reidlab."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def load_recipe(name: str | Path, **changes: Any) -> Recipe:
    """Read a recipe by name, or from a YAML file, with some top-level values changed.

    Args:
        name: one of `list_recipes()`, or a path ending in .yaml or .yml.
        changes: values that replace the file's, such as epochs=5; None leaves the file's.

    Raises:
        UserError: no such recipe, a file that is no YAML mapping, or unknown or impossible values, all named.
    """
    own = str(name).endswith((".yaml", ".yml"))
    path = find(name) if own else RECIPES / f"{name}.yaml"
    if not path.is_file():
        known = list_recipes()
        hint = nearest(str(name), known)
        raise UserError(
            f"recipe {str(name)!r} does not exist; choose from {', '.join(known)}, or give a .yaml file.{hint}"
        )
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"recipe {path.name} is no valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"recipe {path.name} must be a mapping of names to values.")
    content = {"name": path.stem, **content, **{k: v for k, v in changes.items() if v is not None}}
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise UserError(_explain(path.name, error)) from error


def _explain(name: str, error: ValidationError) -> str:
    lines = [f"recipe {name} cannot be used:"]
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"])
        hint = _nearest_field(problem["loc"]) if problem["type"] == "extra_forbidden" else ""
        given = f", given {problem['input']!r}" if problem["type"] != "missing" else ""
        lines.append(f"  {where}: {problem['msg']}{given}.{hint}")
    return "\n".join(lines)


def _nearest_field(place: tuple[int | str, ...]) -> str:
    """Say which field of the recipe, or of the part that `place` leads into, was probably meant."""
    parts: dict[str, type[BaseModel]] = {
        "losses": LossTerm,
        "sampler": SamplerPart,
        "augment": AugmentPart,
        "optimizer": OptimizerPart,
    }
    part = parts.get(str(place[0]), Recipe) if len(place) > 1 else Recipe
    return nearest(str(place[-1]), part.model_fields)
