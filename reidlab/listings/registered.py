"""Everything that recipes name, kind by kind: models, losses, ..., read from their registries when it is asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from reidlab.documents import load_yaml
from reidlab.errors import UserError
from reidlab.listings.explained import Option, explain, options_of, written
from reidlab.paths import RECIPES
from reidlab.registry import (
    ATTENTIONS,
    AUTOENCODERS,
    BACKBONES,
    BALANCES,
    CLASSIFIERS,
    CORRUPTIONS,
    DECODERS,
    ENGINES,
    INDEXES,
    LOSSES,
    MAPS,
    METRICS,
    MODELS,
    NECKS,
    OPTIMIZERS,
    PAIR_HEADS,
    POOLINGS,
    RERANKINGS,
    SAMPLERS,
    SCHEDULES,
    TRACKERS,
    TRANSFORMS,
    Entry,
    Registry,
)
from reidlab.registry import options_of as parameters

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


def _of_entry(registry: Registry, entry: Entry, facts: Callable[[], str] = str) -> Details:
    text, meanings = explain(entry.factory)
    return Details(text, options_of(registry.options(entry.name), meanings), facts())


def _from(registry: Registry, usage: str, facts: str = "") -> Callable[[], dict[str, Listed]]:
    """Read a registry whose entries say all there is to say; `facts` is said of each, with NAME for its name."""
    return lambda: {
        name: Listed(
            entry.description, usage, partial(_of_entry, registry, entry, partial(facts.replace, "NAME", name))
        )
        for name, entry in registry.items()
    }


def _models() -> dict[str, Listed]:
    return {name: _model(entry) for name, entry in MODELS.items()}


def _model(entry: Entry) -> Listed:
    weights = partial(_weights, entry.fixed.get("backbone", ""))
    return Listed(entry.description, _MODEL, partial(_of_entry, MODELS, entry, weights))


def _backbones() -> dict[str, Listed]:
    return {name: Listed(entry.description, _MODEL, partial(_backbone, name)) for name, entry in BACKBONES.items()}


def _backbone(name: str) -> Details:
    from reidlab.models.backbones import build_backbone
    from reidlab.models.families.osnet import OSNet
    from reidlab.models.families.timm_maps import build_timm

    text, meanings = explain(build_backbone)
    own = options_of(BACKBONES.options(name), explain(OSNet)[1] | explain(build_timm)[1] | meanings)
    common = options_of(parameters(build_backbone, ("name", "last_stride", "image_size", "options")), meanings)
    return Details(text, own + common, _weights(name))


def of_timm(kind: str, name: str) -> Listed:
    """Describe a network of timm, as a model or as a backbone."""
    entry = MODELS.find(name)
    return _model(entry) if kind == "models" else Listed(entry.description, _MODEL, partial(_backbone, name))


def _weights(backbone: str) -> str:
    """Return which pretrained weights a backbone has."""
    if not backbone:
        return ""
    from reidlab.models.weights.pretrained import choose_weights

    facts = BACKBONES.find(backbone).facts
    if facts["elsewhere"]:
        return f"Pretrained weights: {facts['elsewhere']}"
    import timm

    network = facts["network"]
    try:
        usual = choose_weights(backbone, network, facts["pretrained"], "pretrained").name
    except UserError:
        return "Pretrained weights: timm has none."
    tags = ", ".join(name.partition(".")[2] for name in timm.list_pretrained(f"{network}.*"))
    return f"Pretrained weights: {tags}; pretrained stands for {usual.partition('.')[2]}."


def _losses() -> dict[str, Listed]:
    return {name: _loss(entry) for name, entry in LOSSES.items()}


def _loss(entry: Entry) -> Listed:
    features = {
        "features": "before",
        "logits": "logits",
        "anchors": "triplets",
        "reconstruction": "reconstruction",
        "means": "distribution",
        "pair logits": "pairs",
        "gates": "gates",
    }
    takes = entry.facts.get("takes", ("features", "labels"))
    feature = features.get(takes[0].removeprefix("student "))
    usage = f"losses: [{{name: NAME, feature: {feature}}}]" if feature else ""
    if any("teacher" in item for item in takes):
        usage = f"teachers: [RUN]\n  {usage}"
    facts = partial(str, f"It is called with ({', '.join(takes)}).")
    return Listed(entry.description, usage, partial(_of_entry, LOSSES, entry, facts))


def _schedules() -> dict[str, Listed]:
    usage = "schedule: {name: NAME}"
    return {name: Listed(entry.description, usage, partial(_schedule, name)) for name, entry in SCHEDULES.items()}


def _schedule(name: str) -> Details:
    from reidlab.training import schedules

    entry = SCHEDULES.find(name)
    text, meanings = explain(entry.factory)
    cycled = schedules.momentum_of(entry)
    if cycled is not None:
        meanings = explain(cycled)[1] | meanings
    meanings |= _OF_EVERY_SCHEDULE
    defaults = schedules.options_of(name).items()
    return Details(text, [Option(option, written(default), meanings.get(option, "")) for option, default in defaults])


def _optimizers() -> dict[str, Listed]:
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
    """Return the first sentence of a recipe's source, its epochs and what to expect of it."""
    source = str(recipe.get("source", f"As {recipe.get('base')}, changed."))
    first = _SENTENCE.match(source)
    parts = [first.group() if first else source]
    parts += [f"Epochs: {recipe['epochs']}."] if "epochs" in recipe else []
    return " ".join(parts + ([f"Expected: {recipe['expected']}"] if "expected" in recipe else []))


def _in_model(option: str) -> str:
    return f"model: {{name: resnet50, {option}: {{name: NAME}}}}"


def _in_siamese(option: str) -> str:
    return f"model: {{name: siamese_autoencoder, {option}: {{name: NAME}}}}"


_ATTENTION = "model: {name: resnet50, attention: {name: NAME, places: [layer3.5, layer4.2]}}"
KINDS: dict[str, Kind] = {
    "models": Kind("model", "models", _models),
    "backbones": Kind("backbone", "backbones", _backbones),
    "attentions": Kind("attention", "attention blocks", _from(ATTENTIONS, _ATTENTION)),
    "poolings": Kind("pooling", "poolings", _from(POOLINGS, _in_model("pooling"))),
    "necks": Kind("neck", "necks", _from(NECKS, _in_model("neck"))),
    "classifiers": Kind("classifier", "classifiers (softmax layers)", _from(CLASSIFIERS, _in_model("classifier"))),
    "autoencoders": Kind("autoencoder", "autoencoders", _from(AUTOENCODERS, _in_siamese("autoencoder"))),
    "decoders": Kind("decoder", "decoders of autoencoders", _from(DECODERS, _in_siamese("decoder"))),
    "pair_heads": Kind("pair head", "classifiers of pairs", _from(PAIR_HEADS, _in_siamese("pair_head"))),
    "losses": Kind("loss", "losses", _losses),
    "balances": Kind("balance", "balances of several losses", _from(BALANCES, "balance: {name: NAME}")),
    "transforms": Kind(
        "transform", "transforms of training images", _from(TRANSFORMS, "augment: {steps: [{name: NAME}]}")
    ),
    "corruptions": Kind(
        "corruption",
        "corruptions of test images",
        _from(CORRUPTIONS, "", "Chosen by `reidlab run 16 -p corruptions NAME`."),
    ),
    "samplers": Kind("sampler", "samplers of batches", _from(SAMPLERS, "sampler: {name: NAME}")),
    "schedules": Kind("schedule", "schedules of the learning rate", _schedules),
    "optimizers": Kind("optimizer", "optimisers", _optimizers),
    "rerankings": Kind(
        "re-ranking", "re-ranking methods", _from(RERANKINGS, "", "Chosen by `reidlab run 04 -p rerank NAME`.")
    ),
    "metrics": Kind(
        "metric", "distances between embeddings", _from(METRICS, "", "Chosen by `reidlab run 04 -p metric NAME`.")
    ),
    "maps": Kind(
        "method of maps", "methods of attention maps", _from(MAPS, "", "Chosen by `reidlab run 05 -p methods NAME`.")
    ),
    "engines": Kind(
        "engine", "engines of embeddings", _from(ENGINES, "", "Chosen by `embed(model, images, engine=NAME)`.")
    ),
    "indexes": Kind(
        "index",
        "kinds of indexes",
        _from(INDEXES, "", "Chosen by `Index.build(vectors, ids, kind='NAME', options={...})`."),
    ),
    "trackers": Kind(
        "tracker", "trackers of trainings", _from(TRACKERS, "", "Chosen by `reidlab run 03 -p tracking NAME`.")
    ),
    "recipes": Kind("recipe", "recipes", _recipes),
}
