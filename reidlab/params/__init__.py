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
from reidlab.registry import MAPS, RERANKINGS

__all__ = [
    "NOTEBOOKS",
    "Attention",
    "Augmentations",
    "Autoencoders",
    "CrossDomain",
    "DataParams",
    "DataPrep",
    "Distillation",
    "Experts",
    "Explorer",
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

Device = Literal["auto", "cpu", "cuda", "mps"]


class DataParams(NotebookParams):
    """The data set, its split and the seed: what most notebooks share.

    `make notebooks-clean` writes these fields into the notebooks' parameters cells; `make lint` refuses others.
    """

    dataset: str = Field("pedestrians", min_length=1, description="data set; `reidlab data list` names them")
    root: str = Field("", description="its folder; empty: the usual place below data/raw")
    seed: int = Field(0, ge=0, le=2**32 - 1, description="seed of everything random")
    options: dict[str, Any] = Field({}, description='options of its reader, such as {"boxes": "detected"} for cuhk03')
    split: Literal["identity", "image", "test_to_val"] = Field(
        "identity", description="validation by identity, by image (flagged) or test_to_val (flagged)"
    )
    val_share: float = Field(0.2, ge=0, le=0.9, description="share kept for validation; 0.4 is usual for test_to_val")


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
