"""Parameters of the notebooks that compare: models, losses, transforms, experts, teachers, test sets, sweeps."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from reidlab.params.base import NotebookParams
from reidlab.params.shared import DataParams, Device

__all__ = [
    "Ablation",
    "Augmentations",
    "CrossDomain",
    "Distillation",
    "Experts",
    "Leaderboard",
    "Losses",
    "ModelZoo",
    "Robustness",
]


class ModelZoo(NotebookParams):
    """11: what models and recipes cost, counted and measured on this machine."""

    notebook: ClassVar[str] = "11_model_zoo"
    models: list[str] = Field(
        ["custom_cnn_v32", "osnet_x0_25", "osnet_x1_0", "mobilenetv3_small_100", "resnet18"],
        description="models, wildcards too ('osnet*', 'timm/*regnety_00*'); empty: all of `reidlab models`",
    )
    recipes: list[str] = Field(
        ["demo", "custom_cnn_best", "osnet_x025_scratch"],
        description="recipes, wildcards too; empty: all of `reidlab recipes`",
    )
    cost: Literal["macs", "parameters"] = Field("macs", description="what the figure has on its horizontal axis")
    identities: int = Field(4, ge=2, le=256, description="identities in the batch, four images of each")
    runs: int = Field(3, ge=1, le=1000, description="runs that are measured, after one that warms up")
    device: Device = Field("auto", description="where to compute; auto: cuda, then mps, then cpu")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="arithmetic; auto: bfloat16 where the hardware has it"
    )
    seed: int = Field(0, ge=0, le=2**32 - 1, description="seed of the random weights and of the images drawn")


class Losses(DataParams):
    """12: what every loss pulls and pushes, on points in the plane and on a batch of images."""

    notebook: ClassVar[str] = "12_losses"
    names: list[str] = Field([], description="losses; empty: all of `reidlab losses`")
    identities: int = Field(16, ge=2, le=256, description="identities in the batch of images")
    images: int = Field(4, ge=1, le=64, description="images of each")


class Augmentations(NotebookParams):
    """13: every transform on the same images, and a recipe's steps together."""

    notebook: ClassVar[str] = "13_augmentations"
    seed: int = Field(0, ge=0, le=2**32 - 1, description="seed of all draws")
    height: int = Field(256, ge=16, le=1024, description="height of the images, pixels")
    width: int = Field(128, ge=16, le=1024, description="width of the images, pixels")
    n_images: int = Field(8, ge=1, le=16, description="images shown, each of another identity")
    steps: list[dict[str, Any]] = Field(
        [{"name": "random_2d_translation"}, {"name": "random_erase"}], description="a recipe's augment.steps"
    )


class Experts(DataParams):
    """14: a mixture of experts against each of its experts alone."""

    notebook: ClassVar[str] = "14_experts"
    recipe: str = Field("experts_demo", min_length=1, description="recipe of model experts, or a YAML file")
    experts: list[str] = Field(
        ["test_efficientnet", "test_resnet"], description="the experts; any of `reidlab backbones`, or of timm"
    )
    balances: list[float] = Field(
        [0.1, 0.0], min_length=1, description="weights of the load balance, a mixture each; 0 has none"
    )
    top_k: list[int] = Field([1], description="experts that count for an image, a mixture each beside that of all")
    epochs: int = Field(7, ge=1, le=10_000, description="epochs of each training")
    device: Device = Field("auto", description="where to compute; auto: cuda, then mps, then cpu")


class Distillation(DataParams):
    """15: one student, untaught and taught by a teacher in several ways."""

    notebook: ClassVar[str] = "15_distillation"
    teacher: str = Field(
        "kd_demo_teacher", min_length=1, description="a recipe, trained first; or small, a run, model folder or file"
    )
    recipe: str = Field("kd_demo", min_length=1, description="the student's recipe, or a YAML file")
    ways: dict[str, float] = Field(
        {"logits": 0.3, "relational": 30.0, "feature": 3.0, "self": 3.0},
        min_length=1,
        description="how the student learns (logits, relational, feature, self), with the weight of that term",
    )
    epochs: int = Field(7, ge=1, le=10_000, description="epochs of each student")
    teacher_epochs: int = Field(10, ge=1, le=10_000, description="epochs of the teacher, where it is a recipe")
    device: Device = Field("auto", description="where to compute; auto: cuda, then mps, then cpu")


class Robustness(DataParams):
    """16: scores on corrupted images, by corruption and severity."""

    notebook: ClassVar[str] = "16_robustness"
    models: list[str] = Field(
        ["small", "histogram"],
        description="small, histogram (of colours, learns nothing), latest, training runs, model folders or NAME:FILE",
    )
    corruptions: list[str] = Field([], description="corruptions; empty: all of `reidlab corruptions`")
    severities: list[int] = Field([1, 3, 5], description="severities, from 1 (slight) to 5 (worst)")
    corrupt: Literal["query", "gallery", "both"] = Field("query", description="which images are corrupted")
    queries: int | None = Field(16, ge=1, le=10**6, description="query identities that are drawn; None: all")
    gallery: int | None = Field(200, ge=0, le=10**8, description="gallery images of others that are drawn; None: all")
    metric: Literal["cosine", "euclidean"] = Field("cosine", description="distance between embeddings")
    device: Device = Field("auto", description="where to compute; auto: cuda, then mps, then cpu")


class CrossDomain(DataParams):
    """17: models against test sets, those they were trained on and others."""

    notebook: ClassVar[str] = "17_cross_domain"
    recipe: str = Field(
        "demo",
        description="its newest training of `dataset` is a row (trained where there is none); empty: no such row",
    )
    models: list[str] = Field(
        ["small", "histogram"],
        description="further rows: small, histogram (of colours), latest, training runs, model folders or NAME:FILE",
    )
    tests: list[str] = Field(
        ["pedestrians", "pedestrians:1"],
        description="test sets: NAME, NAME=FOLDER or pedestrians:SEED; empty: all in their usual places",
    )
    metric: Literal["cosine", "euclidean"] = Field("cosine", description="distance between embeddings")
    device: Device = Field("auto", description="where to compute; auto: cuda, then mps, then cpu")


class Leaderboard(NotebookParams):
    """22: all evaluation runs, test set by test set: scores, paired tests, cost."""

    notebook: ClassVar[str] = "22_leaderboard"
    tests: list[str] = Field([], description="test sets; empty: all that something was evaluated on")
    models: list[str] = Field(
        ["small", "histogram"],
        description="evaluated on the built-in data first, if they are not yet: small, histogram, training runs",
    )
    measure: Literal["mAP", "rank1", "mINP"] = Field("mAP", description="what is ranked and tested")
    draws: int = Field(2000, ge=100, le=1_000_000, description="draws of identities, for intervals and tests")
    timed: int = Field(4, ge=0, le=1000, description="best models whose speed is measured on this machine; 0: none")
    device: Device = Field("auto", description="where to compute; auto: cuda, then mps, then cpu")
    seed: int = Field(0, ge=0, le=2**32 - 1, description="seed of the draws")


class Ablation(NotebookParams):
    """23: main effects and interactions of a sweep."""

    notebook: ClassVar[str] = "23_ablation"
    sweep: str = Field(
        "", description="name, name-digest or folder of a sweep; empty: a small one of notebook 02, run here"
    )
    measure: str = Field("", description="key figure that is compared; empty: the first that is a number")
    of: str = Field("", description="notebook whose runs are taken, of several; empty: the first that has the figure")
