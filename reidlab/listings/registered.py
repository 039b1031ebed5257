"""Everything that recipes name, kind by kind: models, losses, ..., read from their registries when it is asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple

from reidlab.documents import load_yaml
from reidlab.errors import UserError
from reidlab.listings.explained import Option, explain, options_of, written
from reidlab.paths import RECIPES

__all__ = ["KINDS", "TIMM", "Details", "Kind", "Listed", "of_timm"]

_MODEL = "model: {name: NAME}"
TIMM = "timm/"  # before the name of a network of timm
_SENTENCE = re.compile(r".+?\.(?=\s+[A-Z(]|\s*$)", re.DOTALL)
_OF_EVERY_SCHEDULE = {
    "start": "epochs by which it is delayed; it still ends with the training",
    "ahead": "epochs by which it is read in advance: 1 where the rate moved at the beginning of the first epoch too",
    "by": "epoch floors the position to whole epochs, step does not",
    "warmup_epochs": "a linear ramp that begins with the training and is multiplied with it",
    "warmup_factor": "where that ramp begins",
    "cycle_momentum": "move SGD's momentum, or Adam's beta1, as well: lowest where the rate is highest",
}


class Details(NamedTuple):
    """What there is to say of something registered beside its sentence: text, options, and further facts."""

    text: str
    options: Sequence[Option] = ()
    facts: str = ""


@dataclass(frozen=True)
class Listed:
    """Something registered.

    Attributes:
        sentence: what it is.
        usage: how a recipe names it, with NAME for its name; "" where none does.
        details: tells the rest.
    """

    sentence: str
    usage: str
    details: Callable[[], Details]


class Kind(NamedTuple):
    """A kind of things that are registered: what one and several are called, and how to read all of them."""

    one: str
    many: str
    read: Callable[[], dict[str, Listed]]


def _of_factory(factory: Callable[..., Any], hidden: Sequence[str], facts: Callable[[], str] = str) -> Details:
    return Details(explain(factory)[0], options_of(factory, hidden), facts())


def _from(module: str, registry: str, usage: str, hidden: Sequence[str] = ()) -> Callable[[], dict[str, Listed]]:
    """Read a registry whose entries have a description and a factory, or a function."""

    def read() -> dict[str, Listed]:
        entries: Mapping[str, Any] = getattr(import_module(f"reidlab.{module}"), registry)
        makers = {name: getattr(entry, "factory", None) or entry.function for name, entry in entries.items()}
        return {
            name: Listed(entry.description, usage, partial(_of_factory, makers[name], hidden))
            for name, entry in entries.items()
        }

    return read


def _models() -> dict[str, Listed]:
    from reidlab.models.registry import MODELS

    return {name: _model(entry) for name, entry in MODELS.items()}


def _model(entry: Any) -> Listed:
    hidden = ("num_classes", *entry.fixed)
    weights = partial(_weights, entry.fixed.get("backbone", ""))
    return Listed(entry.description, _MODEL, partial(_of_factory, entry.factory, hidden, weights))


def _backbones() -> dict[str, Listed]:
    from reidlab.models.backbones import BACKBONES

    return {name: Listed(entry.description, _MODEL, partial(_backbone, name)) for name, entry in BACKBONES.items()}


def _backbone(name: str) -> Details:
    from reidlab.models.backbones import BACKBONES, build_backbone
    from reidlab.models.osnet import OSNet
    from reidlab.models.timm_maps import build_timm

    factory = BACKBONES[name].factory if name in BACKBONES else partial(build_timm, name)
    text, meanings = explain(build_backbone)
    own = options_of(factory, meanings=explain(OSNet)[1] | explain(build_timm)[1] | meanings)
    common = options_of(build_backbone, ("name", "last_stride", "image_size"))
    return Details(text, own + common, _weights(name))


def of_timm(kind: str, name: str) -> Listed:
    """Describe a network of timm, as a model or as a backbone."""
    from reidlab.models.registry import find_model

    entry = find_model(name)
    return _model(entry) if kind == "models" else Listed(entry.description, _MODEL, partial(_backbone, name))


def _weights(backbone: str) -> str:
    """Say which pretrained weights a backbone has."""
    if not backbone:
        return ""
    from reidlab.models.backbones import BACKBONES
    from reidlab.models.pretrained import choose_weights

    entry = BACKBONES.get(backbone)
    if entry is not None and entry.elsewhere:
        return f"Pretrained weights: {entry.elsewhere}"
    import timm

    network = entry.network if entry is not None else backbone.removeprefix(TIMM).partition(".")[0]
    try:
        usual = choose_weights(backbone, network, entry.pretrained if entry is not None else "", "pretrained").name
    except UserError:
        return "Pretrained weights: timm has none."
    tags = ", ".join(name.partition(".")[2] for name in timm.list_pretrained(f"{network}.*"))
    return f"Pretrained weights: {tags}; pretrained stands for {usual.partition('.')[2]}."


def _losses() -> dict[str, Listed]:
    from reidlab.losses.registry import LOSSES

    return {name: _loss(entry) for name, entry in LOSSES.items()}


def _loss(entry: Any) -> Listed:
    features = {"features": "before", "logits": "logits", "anchors": "triplets"}
    feature = features.get(entry.takes[0].removeprefix("student "))
    usage = f"losses: [{{name: NAME, feature: {feature}}}]" if feature else ""
    if any("teacher" in item for item in entry.takes):
        usage = f"teachers: [RUN]\n  {usage}"
    facts = partial(str, f"It is called with ({', '.join(entry.takes)}).")
    return Listed(entry.description, usage, partial(_of_factory, entry.factory, (), facts))


def _schedules() -> dict[str, Listed]:
    from reidlab.training.schedules import SCHEDULES

    usage = "schedule: {name: NAME}"
    return {name: Listed(entry.description, usage, partial(_schedule, name)) for name, entry in SCHEDULES.items()}


def _schedule(name: str) -> Details:
    from reidlab.training import schedules

    entry = schedules.SCHEDULES[name]
    text, meanings = explain(entry.function)
    if entry.momentum is not None:
        meanings = explain(entry.momentum)[1] | meanings
    meanings |= _OF_EVERY_SCHEDULE
    defaults = schedules.options_of(name).items()
    return Details(text, [Option(option, written(default), meanings.get(option, "")) for option, default in defaults])


def _optimizers() -> dict[str, Listed]:
    from reidlab.training.optimizers import OPTIMIZERS

    usage = "optimizer: {name: NAME}"
    return {name: Listed(entry.description, usage, _optimizer) for name, entry in OPTIMIZERS.items()}


def _optimizer() -> Details:
    from reidlab.training.recipes import OptimizerPart

    fields = OptimizerPart.model_fields.items()
    options = [Option(name, written(each.default), each.description or "") for name, each in fields if name != "name"]
    return Details(explain(OptimizerPart)[0], options)


def _recipes() -> dict[str, Listed]:
    """Read the files themselves: recipes as objects bring torch along."""
    texts = {path.stem: path.read_text(encoding="utf-8") for path in sorted(RECIPES.glob("*.yaml"))}
    return {
        name: Listed(_sentence(load_yaml(text, name)), "", partial(Details, text.rstrip()))
        for name, text in texts.items()
    }


def _sentence(recipe: Mapping[str, Any]) -> str:
    """Give the first sentence of a recipe's source, its epochs and what to expect of it."""
    source = str(recipe.get("source", f"As {recipe.get('base')}, changed."))
    first = _SENTENCE.match(source)
    parts = [first.group() if first else source]
    parts += [f"Epochs: {recipe['epochs']}."] if "epochs" in recipe else []
    return " ".join(parts + ([f"Expected: {recipe['expected']}"] if "expected" in recipe else []))


def _in_model(option: str) -> str:
    return f"model: {{name: resnet50, {option}: {{name: NAME}}}}"


_ATTENTION = "model: {name: resnet50, attention: {name: NAME, places: [layer3.5, layer4.2]}}"
_TRANSFORM = "augment: {steps: [{name: NAME}]}"
KINDS: dict[str, Kind] = {
    "models": Kind("model", "models", _models),
    "backbones": Kind("backbone", "backbones", _backbones),
    "attentions": Kind(
        "attention", "attention blocks", _from("models.attention", "ATTENTIONS", _ATTENTION, ["channels"])
    ),
    "poolings": Kind("pooling", "poolings", _from("models.pooling", "POOLINGS", _in_model("pooling"))),
    "necks": Kind("neck", "necks", _from("models.necks", "NECKS", _in_model("neck"), ["dim"])),
    "classifiers": Kind(
        "classifier",
        "classifiers (softmax layers)",
        _from("models.classifiers", "CLASSIFIERS", _in_model("classifier"), ["dim", "num_classes"]),
    ),
    "losses": Kind("loss", "losses", _losses),
    "transforms": Kind(
        "transform",
        "transforms of training images",
        _from("data.transforms.registry", "TRANSFORMS", _TRANSFORM, ["images", "generator"]),
    ),
    "samplers": Kind(
        "sampler",
        "samplers of batches",
        _from("data.samplers", "SAMPLERS", "sampler: {name: NAME}", ["labels", "seed", "cameras"]),
    ),
    "schedules": Kind("schedule", "schedules of the learning rate", _schedules),
    "optimizers": Kind("optimizer", "optimisers", _optimizers),
    "recipes": Kind("recipe", "recipes", _recipes),
}
