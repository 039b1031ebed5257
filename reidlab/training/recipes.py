"""Recipes: one complete experiment a YAML file, read into a frozen model that refuses unknown names."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from reidlab.errors import UserError, nearest
from reidlab.paths import find

__all__ = ["LossTerm", "Recipe", "list_recipes", "load_recipe"]

RECIPES = Path(__file__).resolve().parents[1] / "recipes"


# names of submodules ("backbone", "backbone.layer1"); one may stand without a list
Modules = Annotated[tuple[str, ...], BeforeValidator(lambda given: (given,) if isinstance(given, str) else given)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LossTerm(_Part):
    """One term of the training loss.

    `feature` says what it sees: before or after the neck, logits (the mean over all classifiers), parts (the mean over
    part embeddings), or triplets (given triplets, for ehtm). `branch` names branches of a model that has several; the
    term is then the mean over them.
    """

    name: str
    weight: float = Field(default=1.0, gt=0)
    feature: Literal["before", "after", "logits", "parts", "triplets"]
    branch: Modules = ()
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
    """Optimiser; `lr` is the base rate that a schedule scales (the maximal one for onecycle).

    Factors multiply: the bias of a new layer learns at lr * new_layers_factor * bias_factor.
    """

    name: Literal["adam", "adamw", "sgd"] = "adam"
    lr: float = Field(default=5e-4, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    momentum: float = Field(default=0.9, ge=0, lt=1, description="of sgd")
    nesterov: bool = Field(default=False, description="of sgd")
    new_layers_factor: float = Field(default=1.0, gt=0, description="rate of what lies outside `backbone`, times")
    backbone: Modules = Field(default=("backbone",), description="modules whose layers are not new")
    bias_factor: float = Field(default=1.0, gt=0, description="rate of biases (of norms too), times")
    decay_norms: bool | None = Field(
        default=None, description="decay norms and biases as well; None: not with adamw, with the others"
    )
    loss_lr: float = Field(default=0.5, gt=0, description="rate of losses' own parameters (centres), plain SGD")

    @model_validator(mode="after")
    def _nesterov_goes_with_momentum(self) -> Self:
        if self.nesterov and (self.name != "sgd" or self.momentum == 0):
            raise ValueError("nesterov: true goes with name: sgd and a momentum above 0")
        return self


class FreezePart(_Part):
    """Modules that learn nothing during the first epochs, their normalisations in eval mode."""

    epochs: int = Field(ge=1, description="epochs before they learn too")
    modules: Modules = ("backbone",)


class EmaPart(_Part):
    """Exponential moving average of weights and buffers after every step; the average is validated and saved."""

    decay: float = Field(default=0.9998, ge=0, lt=1)
    warmup: bool = Field(
        default=True,
        description="begin with a decay of 0 that rises as 1 - (1 + step) ** (-2/3); else the start weighs",
    )


class SwaPart(_Part):
    """Stochastic weight averaging (Izmailov et al. 2018): the mean of the weights after every epoch from `start` on.

    The average is validated and saved, its BN statistics recomputed on the epoch's batches (precise_bn of them).
    """

    start: int = Field(ge=0, description="finished epochs before the first one whose weights count")
    lr: float | None = Field(
        default=None, gt=0, description="constant rate from `start` on; None: the schedule goes on"
    )
    anneal_epochs: int = Field(default=5, ge=0, description="epochs of a cosine towards `lr`")


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
    freeze: FreezePart | None = None
    ema: EmaPart | None = None
    swa: SwaPart | None = None
    precise_bn: int = Field(
        default=0, ge=0, description="training batches on which BN statistics are recomputed before validation; 0: none"
    )

    @model_validator(mode="after")
    def _averages_fit(self) -> Self:
        if self.swa is None:
            return self
        if self.ema is not None:
            raise ValueError("ema and swa are two averages of the same weights: keep one of them")
        if self.swa.start >= self.epochs:
            raise ValueError(
                f"swa.start={self.swa.start} must be less than epochs={self.epochs}, or nothing is averaged"
            )
        if self.freeze is not None and self.swa.start < self.freeze.epochs:
            raise ValueError(f"swa.start={self.swa.start} must not come before freeze.epochs={self.freeze.epochs}")
        return self


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
        given = f", given {problem['input']!r}" if problem["type"] not in ("missing", "value_error") else ""
        message = problem["msg"].removeprefix("Value error, ")
        lines.append(f"  {where or 'together'}: {message}{given}.{hint}")
    return "\n".join(lines)


def _nearest_field(place: tuple[int | str, ...]) -> str:
    """Say which field of the recipe, or of the part that `place` leads into, was probably meant."""
    parts: dict[str, type[BaseModel]] = {
        "losses": LossTerm,
        "sampler": SamplerPart,
        "augment": AugmentPart,
        "optimizer": OptimizerPart,
        "freeze": FreezePart,
        "ema": EmaPart,
        "swa": SwaPart,
    }
    part = parts.get(str(place[0]), Recipe) if len(place) > 1 else Recipe
    return nearest(str(place[-1]), part.model_fields)
