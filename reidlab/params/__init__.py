"""Parameters of the notebooks: one frozen model a notebook, checked before anything is computed.

A notebook's parameters cell holds annotated literals only; papermill injects a second cell after it. The
next cell says `p = params.Training.from_notebook(globals())` and from there on only `p` is used. To add a
parameter: a field here (type, default, range, description) and the same name and default in the notebook's
cell; a test compares the two. A new notebook: a model here and its name in `MODELS`.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from reidlab.errors import UserError
from reidlab.params.base import NotebookParams, Row, coerce, describe
from reidlab.params.shared import DataParams, Device
from reidlab.params.studies import (
    Ablation,
    Augmentations,
    CrossDomain,
    Distillation,
    Experts,
    Leaderboard,
    Losses,
    ModelZoo,
    Robustness,
)
from reidlab.registry import MAPS, RERANKINGS

__all__ = [
    "NOTEBOOKS",
    "Ablation",
    "Attention",
    "Augmentations",
    "Autoencoders",
    "CrossDomain",
    "DataParams",
    "DataPrep",
    "Distillation",
    "Experts",
    "Explorer",
    "Leaderboard",
    "Losses",
    "ModelZoo",
    "NotebookParams",
    "Retrieval",
    "Robustness",
    "Row",
    "Training",
    "TripletGeneration",
    "coerce",
    "describe",
]


class DataPrep(DataParams):
    """01: read, prepare and audit a data set."""

    notebook: ClassVar[str] = "01_data_prep"
    height: int = Field(128, ge=16, le=1024, description="height of stored images, pixels")
    width: int = Field(64, ge=16, le=1024, description="width of stored images, pixels")


class TripletGeneration(DataParams):
    """02: draw triplets of the train split."""

    notebook: ClassVar[str] = "02_triplet_generation"
    strategy: Literal["random", "same_camera_negative", "hard"] = Field(
        "random", description="how positives and negatives are chosen"
    )
    per_anchor: int = Field(1, ge=1, le=100, description="triplets an anchor image")
    model: str = Field("", description="for hard: small, latest, a training run, model folder or NAME:FILE")
    n_examples: int = Field(8, ge=1, le=50, description="triplets shown")


class Training(DataParams):
    """03: train a model by a recipe."""

    notebook: ClassVar[str] = "03_training"
    recipe: str = Field("demo", min_length=1, description="recipe: a name in reidlab/recipes or a YAML file")
    epochs: int | None = Field(None, ge=1, le=10_000, description="epochs; None: as the recipe says")
    learning_rate: float | None = Field(None, gt=0, le=10, description="top rate; None: as the recipe says")
    validate_every: int | None = Field(None, ge=1, le=10_000, description="epochs between validations; None: recipe")
    start: str = Field("", description="begin from the weights of this training run or saved model; empty: recipe")
    triplets: str = Field("", description="for recipes on given triplets: a run of 02; empty: random ones are drawn")
    device: Device = Field("auto", description="where to compute; auto: cuda, then mps, then cpu")
    name: str = Field("", max_length=60, description="name of the run; empty: data set and recipe")
    tracking: list[str] = Field([], description="also log to tensorboard, mlflow; see `reidlab dashboards`")
    processes: int = Field(1, ge=1, le=256, description="processes of this machine that share every batch")


class Retrieval(DataParams):
    """04: embed query and gallery once, score them, explain the score."""

    notebook: ClassVar[str] = "04_retrieval_analysis"
    recipe: str = Field(
        "demo", min_length=1, description="recipe whose newest training is evaluated (trained where there is none)"
    )
    epochs: int | None = Field(None, ge=1, le=10_000, description="epochs; None: as the recipe says")
    model: str = Field("", description="instead of a recipe: small, latest, a training run, model folder or NAME:FILE")
    device: Device = Field("auto", description="where to compute; auto: cuda, then mps, then cpu")
    metric: Literal["cosine", "euclidean"] = Field("cosine", description="distance between embeddings")
    projection: Literal["", "lda"] = Field(
        "", description="lda: embeddings after discriminant analysis of training identities; empty: as they are"
    )
    ap: Literal["plain", "trapezoid"] = Field(
        "plain",
        description="average precision: plain as torchreid and fast-reid, trapezoid as the official Matlab code",
    )
    flip_test: bool = Field(False, description="add the embedding of the mirrored image")
    multi_query: bool = Field(False, description="search with the mean of a person's images in a camera")
    rerank: str = Field("", description="re-ranking method; `reidlab rerankings` names them; empty: none")
    maps: list[Literal["pca", "tsne", "umap"]] = Field(
        ["tsne", "umap"], description="maps of embeddings: pca, tsne, umap (10 to 30 s to compile)"
    )

    @field_validator("rerank")
    @classmethod
    def _known(cls, value: str) -> str:
        if value:
            RERANKINGS.find(value)
        return value

    @field_validator("metric", mode="before")
    @classmethod
    def _no_projection(cls, value: Any) -> Any:
        if value == "lda":
            raise UserError("lda is a projection, not a metric: set projection='lda' and leave metric='cosine'.")
        return value


class Attention(DataParams):
    """05: where a model looks, and how well that agrees with where the person is."""

    notebook: ClassVar[str] = "05_attention_maps"
    recipe: str = Field(
        "demo", min_length=1, description="recipe whose newest training is shown (trained where there is none)"
    )
    epochs: int | None = Field(None, ge=1, le=10_000, description="epochs; None: as the recipe says")
    model: str = Field("", description="instead of a recipe: small, latest, a training run, model folder or NAME:FILE")
    device: Device = Field("auto", description="where to compute; auto: cuda, then mps, then cpu")
    methods: list[str] = Field(
        [], description="methods of maps; `reidlab maps` names them; empty: a usual choice of those the model has"
    )
    layer: str = Field("", description="layer for methods that look at one; empty: each method's own choice")
    models: list[str] = Field([], description="models measured beside it, named as `model`")
    queries: int = Field(3, ge=1, le=10, description="queries shown of the worst, of the best and at random")
    measured: int = Field(36, ge=2, le=100_000, description="queries on which maps are measured")
    steps: int = Field(8, ge=2, le=100, description="steps of the deletion and insertion curves")

    @field_validator("methods")
    @classmethod
    def _known(cls, value: list[str]) -> list[str]:
        for name in value:
            MAPS.find(name)
        return value


class Autoencoders(DataParams):
    """06: Siamese autoencoders against their backbone alone."""

    notebook: ClassVar[str] = "06_autoencoder_ablations"
    recipe: str = Field("siamese_demo", min_length=1, description="recipe of a Siamese autoencoder, or a YAML file")
    kinds: list[str] = Field(
        ["ae", "vae", "sae", "dae"], description="kinds of autoencoder; the backbone alone is added"
    )
    backbones: list[str] = Field(["test_efficientnet"], description="backbones; any of `reidlab backbones`, or of timm")
    weights: list[float] = Field([10.0], description="weights of the reconstruction; 0 trains without a decoder")
    seeds: list[int] = Field([0], description="seeds of the trainings")
    epochs: int = Field(7, ge=1, le=10_000, description="epochs of each training")
    kl_weight: float = Field(1e-4, ge=0, le=1e6, description="weight of the divergence, for vae")
    sparsity_weight: float = Field(1.0, ge=0, le=1e6, description="weight of the code's size, for sae")
    rerank_top: int = Field(50, ge=1, le=100_000, description="first images of each list that pair heads put in order")
    device: Device = Field("auto", description="where to compute; auto: cuda, then mps, then cpu")


class Explorer(DataParams):
    """21: all explorers on one model and its data set."""

    notebook: ClassVar[str] = "21_explorer"
    recipe: str = Field(
        "demo", min_length=1, description="recipe whose newest training is looked at (trained where there is none)"
    )
    epochs: int | None = Field(None, ge=1, le=10_000, description="epochs; None: as the recipe says")
    model: str = Field("", description="instead of a recipe: small, latest, a training run, model folder or NAME:FILE")
    other: str = Field(
        "histogram", min_length=1, description="model it is compared with: histogram (of colours), or named as `model`"
    )
    device: Device = Field("auto", description="where to compute; auto: cuda, then mps, then cpu")
    metric: Literal["cosine", "euclidean"] = Field("cosine", description="distance between embeddings")
    flip_test: bool = Field(False, description="add the embedding of the mirrored image")


MODELS: tuple[type[NotebookParams], ...] = (
    DataPrep,
    TripletGeneration,
    Training,
    Retrieval,
    Attention,
    Autoencoders,
    ModelZoo,
    Losses,
    Augmentations,
    Experts,
    Distillation,
    Robustness,
    CrossDomain,
    Explorer,
    Leaderboard,
    Ablation,
)
NOTEBOOKS: dict[str, type[NotebookParams]] = {model.notebook: model for model in MODELS}
