"""Losses, schedules and optimisers by name."""

from __future__ import annotations

from reidlab.registry.entries import Entry, Registry

__all__ = ["LOSSES", "OPTIMIZERS", "SCHEDULES", "TRACKERS"]

_LABELLED, _LOGITS = ("features", "labels"), ("logits", "labels")
_TAUGHT = ("student logits", "teacher logits")
_TRIPLETS = ("anchors", "positives", "negatives", "anchor labels", "negative labels")


def _loss(name: str, target: str, description: str, takes: tuple[str, ...] = _LABELLED) -> Entry:
    """`takes` is what a call is given, in order."""
    return Entry(name, f"reidlab.losses.{target}", description, facts={"takes": takes})


LOSSES = Registry(
    "loss",
    "losses",
    [
        _loss(
            "cross_entropy", "cross_entropy:CrossEntropyLoss", "cross-entropy, two kinds of label smoothing", _LOGITS
        ),
        _loss("focal", "focal:FocalLoss", "cross-entropy that gives less weight to images already right", _LOGITS),
        _loss("triplet", "triplet:TripletLoss", "batch-hard triplets: farthest positive against nearest negative"),
        _loss(
            "weighted_triplet", "weighted_triplet:WeightedTripletLoss", "AGW's triplets, the hard pairs weighing most"
        ),
        _loss("ehtm", "ehtm:EHTMLoss", "the custom CNN's five terms on given triplets", _TRIPLETS),
        _loss("center", "center:CenterLoss", "pulls every feature to the learnable centre of its identity"),
        _loss("circle", "circle:CircleLoss", "pairs weighted by how far their cosine is from its goal"),
        _loss(
            "cosface_pair", "cosface_pair:CosFacePairLoss", "a margin between the cosines of positives and negatives"
        ),
        _loss("multi_similarity", "multi_similarity:MultiSimilarityLoss", "pairs weighted against a base cosine"),
        _loss("contrastive", "contrastive:ContrastiveLoss", "pulls positive pairs, pushes negatives within a margin"),
        _loss("supcon", "supcon:SupConLoss", "supervised contrastive: positives share the softmax of a row evenly"),
        _loss("ntxent", "ntxent:NTXentLoss", "each positive alone against all negatives of its row in a softmax"),
        _loss("kl", "kl:KLLoss", "distillation: the student's softened logits become the teacher's", _TAUGHT),
        _loss("js", "js:JSLoss", "distillation as kl, in both directions or to the mixture of both", _TAUGHT),
        _loss("kd", "kd:KDLoss", "labels and a teacher's softened logits together", (*_TAUGHT, "labels")),
        _loss(
            "relational_kd",
            "relational_kd:RelationalKDLoss",
            "distillation: the student's cosines between images become the teacher's",
            ("student features", "teacher features"),
        ),
        _loss(
            "feature_kd",
            "feature_kd:FeatureKDLoss",
            "distillation: a linear layer turns the student's feature into the teacher's",
            ("student features", "teacher features"),
        ),
        _loss(
            "cross_orthogonality",
            "cross_orthogonality:CrossOrthogonalityLoss",
            "FPB's penalty on maps (branch cross): channels at right angles and equally strong",
            ("maps", "labels (not used)"),
        ),
        _loss(
            "reconstruction",
            "reconstruction:ReconstructionLoss",
            "autoencoders: decoded pixels against those of the image",
            ("reconstruction", "pixels"),
        ),
        _loss(
            "vae_kl",
            "vae_kl:VAEKLLoss",
            "variational autoencoders: codes near a normal distribution, with free bits",
            ("means", "log variances"),
        ),
        _loss(
            "sparsity",
            "sparsity:SparsityLoss",
            "autoencoders: most numbers of a code near 0",
            ("features", "labels (not used)"),
        ),
        _loss(
            "load_balance",
            "load_balance:LoadBalanceLoss",
            "mixtures of experts: all experts are used, none for all images",
            ("gates", "labels (not used)"),
        ),
        _loss(
            "pair_bce",
            "pair_bce:PairBCELoss",
            "Siamese models: the pair head's logits of one person against two",
            ("pair logits", "labels"),
        ),
    ],
)


def _schedule(
    name: str, description: str, curve: str = "", unit: str = "epoch", momentum: str = "", watches: bool = False
) -> Entry:
    """`unit` is what a schedule counts, `momentum` the function that cycles it; one that watches sees the scores."""
    facts = {"unit": unit, "momentum": momentum, "watches": watches}
    return Entry(name, f"reidlab.training.curves:{curve or name}", description, facts=facts)


SCHEDULES = Registry(
    "schedule",
    "schedules",
    [
        _schedule(
            "onecycle",
            "cosine up to the base rate, cosine down to almost nothing",
            "one_cycle",
            "step",
            "reidlab.training.curves:one_cycle_momentum",
        ),
        _schedule("warmup_multistep", "ten epochs of linear warm-up, then a tenth at epochs 40 and 90"),
        _schedule("warmup_cosine", "ten epochs of linear warm-up, flat until epoch 30, cosine to the last epoch"),
        _schedule("multistep", "a tenth at epochs 40 and 70"),
        _schedule("cosine", "half a cosine from the base rate to eta_min"),
        _schedule("poly", "a power of the share of epochs that is left"),
        _schedule("plateau", "a tenth whenever the validation mAP stops rising", watches=True),
        _schedule("constant", "the base rate throughout"),
    ],
)


def _optimizer(name: str, description: str) -> Entry:
    return Entry(name, f"reidlab.training.optimizers:{name}", description)


OPTIMIZERS = Registry(
    "optimizer",
    "optimizers",
    [
        _optimizer("sgd", "stochastic gradient descent with momentum, Nesterov's too"),
        _optimizer("adam", "Adam; weight decay is part of the gradient"),
        _optimizer("adamw", "Adam with decoupled weight decay; norms and biases are not decayed"),
    ],
    given=("groups", "part", "fused"),
)

TRACKERS = Registry(
    "tracker",
    "trackers",
    [
        Entry(
            "tensorboard",
            "reidlab.training.tracking:TensorBoard",
            "curves as event files in reports/tensorboard",
            facts={"packages": {"tensorboard": "tensorboard"}},  # import name -> what pip calls it
        ),
        Entry(
            "mlflow",
            "reidlab.training.tracking:MLflow",
            "parameters and curves in the SQLite file reports/mlflow.db",
            facts={"packages": {"mlflow": "mlflow-skinny", "sqlalchemy": "sqlalchemy", "alembic": "alembic"}},
        ),
    ],
    given=("name", "folder", "params", "fresh"),
)
