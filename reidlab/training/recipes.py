"""Recipes: one complete experiment per YAML file, read into a frozen model that refuses unknown names."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, Field, ValidationError, model_validator

from reidlab.documents import as_mapping, read_yaml
from reidlab.errors import UserError, nearest, shown
from reidlab.paths import RECIPES, exists, find
from reidlab.training.recipe_parts import (
    AugmentPart,
    EmaPart,
    FreezePart,
    LossTerm,
    Names,
    OptimizerPart,
    Part,
    SamplerPart,
    SwaPart,
)

__all__ = [
    "AugmentPart",
    "EmaPart",
    "FreezePart",
    "LossTerm",
    "OptimizerPart",
    "Recipe",
    "SamplerPart",
    "SwaPart",
    "list_recipes",
    "load_recipe",
]


class Recipe(Part):
    """A complete experiment."""

    name: str
    source: str
    expected: str
    model: dict[str, Any]
    sampler: SamplerPart = SamplerPart()
    augment: AugmentPart = AugmentPart()
    losses: tuple[LossTerm, ...] = Field(min_length=1)
    balance: dict[str, Any] = Field(
        default={"name": "fixed"},
        description="how losses are put together: a name of `reidlab balances`, its options",
    )
    optimizer: OptimizerPart = OptimizerPart()
    schedule: dict[str, Any] = Field(default={"name": "constant"})
    epochs: int = Field(default=10, ge=1)
    clip_norm: float = Field(default=0.0, ge=0, description="largest gradient norm; 0 does not clip")
    accumulate: int = Field(default=1, ge=1, description="batches whose gradients make one step")
    validate_every: int = Field(default=5, ge=1, description="epochs between validations; the last is always validated")
    patience: int = Field(default=0, ge=0, description="validations without a better mAP until it stops; 0: never")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    compile: bool = Field(
        default=False, description="torch.compile, where it works (CPU: C++ compiler); for long trainings"
    )
    start: str = Field(
        default="", description="training run or folder of a saved model whose weights the training starts from"
    )
    pre_backbone: str = Field(
        default="", description="training run or saved model whose backbone the training starts from"
    )
    pre_autoencoder: str = Field(default="", description="the same for autoencoder and decoder")
    pre_classifier: str = Field(default="", description="the same for the pair head")
    teachers: Names = Field(
        default=(), description="training runs or saved models that its distillation losses learn from, averaged"
    )
    freeze: FreezePart | None = None
    ema: EmaPart | None = None
    swa: SwaPart | None = None
    precise_bn: int = Field(
        default=0, ge=0, description="training batches on which BN statistics are recomputed before validation; 0: none"
    )
    sync_norms: bool = Field(
        default=False,
        description="where several processes train, batch norms see the batches of all, as one process would",
    )

    def experiment(self) -> dict[str, Any]:
        """Return everything that decides the result as plain data: all fields but the descriptions.

        `sync_norms: false` is left out: trainings from before there were several processes stay what they are.
        """
        unused = set() if self.sync_norms else {"sync_norms"}
        return self.model_dump(mode="json", exclude={"source", "expected", *unused})

    @property
    def parts_from(self) -> dict[str, str]:
        """Return the parts of the model that start from another one: pre_<part> and what was given for it."""
        given = {name: getattr(self, name) for name in ("pre_backbone", "pre_autoencoder", "pre_classifier")}
        return {name: run for name, run in given.items() if run}

    @model_validator(mode="after")
    def _one_beginning(self) -> Self:
        if self.start and self.parts_from:
            raise ValueError(f"start takes the whole model over: leave out {' and '.join(self.parts_from)}")
        return self

    @model_validator(mode="after")
    def _norms_compile(self) -> Self:
        if self.sync_norms and self.compile:
            raise ValueError("sync_norms: true and compile: true do not go together: leave one of them out")
        return self

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

    A file may begin from another recipe: `base` names one of `list_recipes()` or a file, and what the file itself says
    replaces the base's. A mapping without a name, such as `model: {weights: resnet50.safetensors}`, replaces only the
    values in it.

    Args:
        name: one of `list_recipes()`, or a path ending in .yaml or .yml.
        changes: values that replace the file's, such as epochs=5; None leaves the file's.

    Raises:
        UserError: no such recipe, a file that is no YAML mapping, or unknown or impossible values, all named.
    """
    content = {"name": Path(name).stem if _is_file(name) else str(name), **_content(name)}
    content |= {key: value for key, value in changes.items() if value is not None}
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise UserError(_explain(_title(name), error)) from error


def _is_file(name: str | Path) -> bool:
    return str(name).endswith((".yaml", ".yml"))


def _title(name: str | Path) -> str:
    return Path(name).name if _is_file(name) else f"{name}.yaml"


def _content(name: str | Path, above: tuple[str, ...] = ()) -> dict[str, Any]:
    """Read a recipe's values, on top of those of its base; `above` are the recipes that it is the base of."""
    path = find(name) if _is_file(name) else RECIPES / f"{name}.yaml"
    if not exists(path) or not path.is_file():
        if _is_file(name):
            raise UserError(f"recipe {str(name)!r}: there is no such file, neither here nor in the workbook's folder.")
        known = list_recipes()
        hint = nearest(str(name), known)
        raise UserError(
            f"recipe {str(name)!r} does not exist; choose from {', '.join(known)}, or give a .yaml file.{hint}"
        )
    content = as_mapping(read_yaml(path, f"recipe {path.name}"), f"recipe {path.name}")
    base = content.pop("base", None)
    if base is None:
        return content
    if not isinstance(base, str) or base in above:
        what = "leads back to itself" if base in above else f"must be a recipe's name or a .yaml file, not {base!r}"
        raise UserError(f"recipe {path.name}: its base {what}.")
    return _on_top(_content(base, (*above, base)), content)


def _on_top(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Put values over those of a base; mappings without a name are put over its mapping."""
    merged = {key: value for key, value in base.items() if key != "name"} | own
    for key, value in own.items():
        if isinstance(value, dict) and "name" not in value and isinstance(base.get(key), dict):
            merged[key] = {**base[key], **value}
    return merged


def _explain(name: str, error: ValidationError) -> str:
    lines = [f"recipe {name} cannot be used:"]
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"])
        hint = _nearest_field(problem["loc"]) if problem["type"] == "extra_forbidden" else ""
        given = f", given {shown(problem['input'])}" if problem["type"] not in ("missing", "value_error") else ""
        message = problem["msg"].removeprefix("Value error, ")
        lines.append(f"  {where or 'together'}: {message}{given}.{hint}")
    return "\n".join(lines)


def _nearest_field(place: tuple[int | str, ...]) -> str:
    """Return which field of the recipe, or of the part that `place` leads into, was probably meant."""
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
