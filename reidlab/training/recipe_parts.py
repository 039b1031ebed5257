"""The parts of a recipe: frozen models that refuse unknown names and impossible values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_serializer,
    model_validator,
)

from reidlab.registry import LOSSES, SAMPLERS

__all__ = [
    "AugmentPart",
    "EmaPart",
    "FreezePart",
    "LossTerm",
    "Names",
    "OptimizerPart",
    "Part",
    "SamplerPart",
    "SwaPart",
]

# names, of submodules ("backbone", "backbone.layer1") or of runs; one may stand without a list
Names = Annotated[tuple[str, ...], BeforeValidator(lambda given: (given,) if isinstance(given, str) else given)]


class Part(BaseModel):
    """What all parts share: frozen, no unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class LossTerm(Part):
    """One term of the training loss.

    `feature` says what it sees: before or after the neck, logits (the mean over all classifiers), parts (the mean over
    part embeddings), or triplets (given triplets, for ehtm); of a Siamese autoencoder also reconstruction (its images),
    distribution (what codes are drawn from) or pairs (the pair head's logits); of a mixture of experts its gates.
    `branch` names branches of a model that has several; the term is then the mean over them.
    """

    name: str
    weight: float = Field(default=1.0, gt=0)
    feature: Literal[
        "before", "after", "logits", "parts", "triplets", "reconstruction", "distribution", "pairs", "gates"
    ]
    branch: Names = ()
    options: dict[str, Any] = {}

    @property
    def learns_from_teacher(self) -> bool:
        """Return whether the loss takes a teacher's output; False for a loss that does not exist."""
        return self.name in LOSSES and any("teacher" in item for item in LOSSES[self.name].facts.get("takes", ()))


class SamplerPart(Part):
    """Which rows form a batch: P identities x K images, triplets, or any rows (see `reidlab.registry.SAMPLERS`).

    Options that the named sampler does not have are refused, and left out of what is written down of a recipe.
    """

    name: Literal["pk", "camera", "weighted", "ehtm", "shuffle"] = "pk"
    identities: int = Field(default=16, ge=2, description="not of shuffle")
    images: int = Field(default=4, ge=1, description="not of shuffle")
    batch: int = Field(default=64, ge=2, description="for shuffle: images per batch")
    replacement: bool | None = Field(default=None, description="of pk")
    by: Literal["identity", "image"] | None = Field(default=None, description="of weighted")

    @model_validator(mode="after")
    def _options_are_the_samplers(self) -> Self:
        known = SAMPLERS.options(self.name)
        given = {name: getattr(self, name) for name in sorted(self.model_fields_set - {"name", *known})}
        strange = [f"{name}={value}" for name, value in given.items() if value is not None]
        if strange:
            raise ValueError(f"{self.name!r} has no {', '.join(strange)}; it has {', '.join(known)}")
        return self

    @model_serializer(mode="wrap")
    def _own_options(self, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        known = ("name", *SAMPLERS.options(self.name))
        return {name: value for name, value in handler(self).items() if name in known}


class AugmentPart(Part):
    """Random changes to training images: `steps` in their order, then flip, crop, erase.

    A step names a transform of `reidlab.registry.TRANSFORMS` and its options, such as
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


class OptimizerPart(Part):
    """Optimiser; `lr` is the base rate that a schedule scales (the maximal one for onecycle).

    Factors multiply: the bias of a new layer learns at lr * new_layers_factor * bias_factor.
    """

    name: Literal["adam", "adamw", "sgd"] = "adam"
    lr: float = Field(default=5e-4, gt=0, description="base rate, scaled by the schedule; the highest one of onecycle")
    weight_decay: float = Field(default=0.0, ge=0, description="decoupled with adamw, else L2 in the gradient")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="of sgd")
    nesterov: bool = Field(default=False, description="of sgd")
    new_layers_factor: float = Field(default=1.0, gt=0, description="factor of the rate outside `backbone`")
    backbone: Names = Field(default=("backbone",), description="modules whose layers are not new")
    bias_factor: float = Field(default=1.0, gt=0, description="factor of the rate of biases, those of norms included")
    decay_norms: bool | None = Field(
        default=None, description="decay norms and biases too; None: yes, except with adamw"
    )
    loss_lr: float = Field(default=0.5, gt=0, description="rate of losses' own parameters (centres), plain SGD")

    @model_validator(mode="after")
    def _nesterov_goes_with_momentum(self) -> Self:
        if self.nesterov and (self.name != "sgd" or self.momentum == 0):
            raise ValueError("nesterov: true goes with name: sgd and a momentum above 0")
        return self


class FreezePart(Part):
    """Modules that learn nothing during the first epochs, their normalisations in eval mode."""

    epochs: int = Field(ge=1, description="epochs for which they stay frozen")
    modules: Names = ("backbone",)


class EmaPart(Part):
    """Exponential moving average of weights and buffers after every step; the average is validated and saved."""

    decay: float = Field(default=0.9998, ge=0, lt=1)
    warmup: bool = Field(
        default=True,
        description="let the decay rise from 0 as 1 - (1 + step) ** (-2/3), so that the initial weights do not count",
    )


class SwaPart(Part):
    """Stochastic weight averaging (Izmailov et al. 2018): the mean of the weights after every epoch from `start` on.

    The average is validated and saved, its BN statistics recomputed on the epoch's batches (precise_bn of them).
    """

    start: int = Field(ge=0, description="epochs that are finished before weights are averaged")
    lr: float | None = Field(
        default=None, gt=0, description="constant rate from `start` on; None: the schedule goes on"
    )
    anneal_epochs: int = Field(default=5, ge=0, description="epochs of a cosine towards `lr`")
