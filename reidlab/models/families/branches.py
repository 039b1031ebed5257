"""What models with several branches share: cutting backbones apart, branches to outputs and embeddings."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from reidlab.data.transforms import Preprocess
from reidlab.errors import UserError
from reidlab.models.families.reid_model import Part, build_trunk, named
from reidlab.models.output import Branch, Output
from reidlab.models.parts.classifiers import build_classifier

__all__ = [
    "OSNET_STAGES",
    "RESNET_STAGES",
    "BranchModel",
    "build_trunk",
    "chain",
    "check_at_least",
    "join",
    "kaiming_",
    "over_parts",
    "reduction",
    "split",
]

# what networks are made of, in the order in which it runs
OSNET_STAGES = ("conv1", "maxpool", "conv2", "conv3", "conv4", "conv5")
RESNET_STAGES = ("conv1", "bn1", "act1", "maxpool", "layer1", "layer2", "layer3", "layer4")


class BranchModel(nn.Module):
    """A model of several branches, each with a feature that a neck and a classifier follow.

    A subclass sets `backbone`, `necks` and `dim`, calls `_finish`, and gives its branches' features in `features`.

    Attributes:
        backbone: what pretrained weights are for.
        necks: what stands between a branch's feature and its classifier, by the branch's name.
        classifiers: in the order of `classified`.
        classified: branches with a classifier.
        silent: those of them whose logits are kept out of the output.
        main: the branch whose features are the output's `before` and `after`.
        norm_each: whether each branch's feature is L2-normalised before all are put side by side.
        dim: width of the embedding.
    """

    backbone: Any  # a module, or modules by name
    preprocess: Preprocess
    dim: int
    main = ""
    silent: frozenset[str] = frozenset()
    norm_each = True

    def __init__(self) -> None:
        super().__init__()
        self.necks = nn.ModuleDict()
        self.classifiers = nn.ModuleList()
        self.classified: tuple[str, ...] = ()

    def _finish(
        self,
        network: Any,
        size: tuple[int, int],
        num_classes: int,
        classifier: Part,
        widths: dict[str, int],
        std: float,
    ) -> None:
        """Take over the network's preprocessing and report of its weights; build a classifier for each of `widths`.

        Args:
            network: a backbone.
            size: height and width of the images.
            num_classes: identities; 0 builds no classifiers.
            classifier: name and options.
            widths: what each branch's classifier sees.
            std: spread of linear classifiers' initial weights where `classifier` does not say.
        """
        self.backbone.load_report = getattr(network, "load_report", None)
        self.preprocess = Preprocess(*size, tuple(network.preprocess_mean), tuple(network.preprocess_std))
        if not num_classes:
            return
        kind, options = named("classifier", classifier)
        if kind == "linear":
            options.setdefault("std", std)
        self.classified = tuple(widths)
        self.classifiers.extend(build_classifier(kind, width, num_classes, **options) for width in widths.values())

    def features(self, images: Tensor) -> dict[str, Tensor]:
        """Return each branch's feature [batch, width] before its neck."""
        raise NotImplementedError

    def after(self, before: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return each branch's feature after its neck, which its classifier sees."""
        return {name: self.necks[name](feature) for name, feature in before.items()}

    def embedded(self, before: dict[str, Tensor]) -> Iterable[Tensor]:
        """Return what makes the embedding, in its order."""
        return self.after(before).values()

    def parts(self, before: dict[str, Tensor]) -> Tensor | None:
        """Return the features of horizontal stripes [batch, part, width]."""
        return None

    def whole(self, before: dict[str, Tensor], after: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the output's own features before and after the neck."""
        return before[self.main], after[self.main]

    def forward(
        self, images: Float[Tensor, "batch 3 height width"], labels: Int[Tensor, " batch"] | None = None
    ) -> Output | Float[Tensor, "batch dim"]:
        """Return an `Output` while training, else L2-normalised embeddings [batch, dim].

        Args:
            images: float [batch, 3, height, width], as `preprocess` makes them.
            labels: classes [batch] for classifiers with a margin, -1 where unknown; without them there is no margin.
        """
        before = self.features(images)
        if not self.training:
            return join(self.embedded(before), each=self.norm_each)
        after = self.after(before)
        logits = {
            name: classifier(after[name], labels)
            for name, classifier in zip(self.classified, self.classifiers)
            if name not in self.silent
        }
        branches = {name: Branch(feature, after[name], logits.get(name)) for name, feature in before.items()}
        return Output(*self.whole(before, after), tuple(logits.values()), self.parts(before), branches)


def join(features: Iterable[Tensor], each: bool = True) -> Tensor:
    """Put features [batch, width] side by side in float32, each L2-normalised if `each`, and L2-normalise the whole."""
    wide = [feature.float() for feature in features]
    return F.normalize(torch.cat([F.normalize(f, dim=1) for f in wide] if each else wide, dim=1), dim=1)


def chain(network: nn.Module, stages: Sequence[str]) -> nn.Sequential:
    """Return those children of a network in their order, under their names.

    Raises:
        UserError: the network lacks one, being of another family, or has a head behind them.
    """
    children = OrderedDict((name, child) for name, child in network.named_children() if name in stages)
    missing = [name for name in stages if name not in children]
    if missing:
        family = "an OSNet" if stages == OSNET_STAGES else "a ResNet"
        raise UserError(f"this model needs {family} as its backbone; {type(network).__name__} has no {missing[0]!r}.")
    if getattr(network, "feature_dim", 0):
        raise UserError("this model has layers of its own behind the backbone; leave out the backbone's feature_dim.")
    return nn.Sequential(children)


def split(stages: nn.Sequential, place: str) -> tuple[nn.Sequential, nn.Sequential]:
    """Cut a chain of stages in two, behind a block such as "conv3.0" (no copies are made; names stay)."""
    stage, block = place.split(".")
    names = [name for name, _ in stages.named_children()]
    at, cut = names.index(stage), int(block) + 1
    blocks: Any = stages[at]
    first, rest = OrderedDict(stages[:at].named_children()), OrderedDict(stages[at + 1 :].named_children())
    head = nn.Sequential(first | {stage: blocks[:cut]})
    return head, nn.Sequential(OrderedDict({stage: blocks[cut:]}) | rest)


def reduction(n_in: int, n_out: int) -> nn.Sequential:
    """Linear (a 1x1 convolution of what is pooled already), BN, ReLU; Kaiming weights."""
    return kaiming_(nn.Sequential(nn.Linear(n_in, n_out, bias=False), nn.BatchNorm1d(n_out), nn.ReLU()))


def over_parts(layers: nn.Module, parts: Tensor) -> Tensor:
    """Run layers that all parts [batch, part, width] share once: a BN in them sees images and parts together."""
    return layers(parts.flatten(0, 1)).unflatten(0, parts.shape[:2])


def kaiming_(module: nn.Module) -> Any:
    """Initialise convolutions (fan_out) and linear layers (fan_in) for ReLU, biases to 0; return the module."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return module


def check_at_least(lowest: int, **options: int) -> None:
    """Refuse options below `lowest`.

    Raises:
        UserError: naming the first that is.
    """
    for name, value in options.items():
        if not value >= lowest or not math.isfinite(value):
            raise UserError(f"{name}={value} must be {lowest} or more.")
