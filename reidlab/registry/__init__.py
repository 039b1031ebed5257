"""What is chosen by name: models and their parts, losses, transforms, samplers, schedules, optimisers, data sets."""

from reidlab.registry.entries import Entry, Registry, names_code
from reidlab.registry.of_balance import BALANCES
from reidlab.registry.of_data import CORRUPTIONS, DATASETS, SAMPLERS, TRANSFORMS
from reidlab.registry.of_explain import MAPS
from reidlab.registry.of_models import (
    ATTENTIONS,
    BACKBONES,
    CLASSIFIERS,
    ENGINES,
    MODELS,
    NECKS,
    POOLINGS,
    on_backbone,
)
from reidlab.registry.of_retrieval import INDEXES, METRICS, RERANKINGS
from reidlab.registry.of_siamese import AUTOENCODERS, DECODERS, PAIR_HEADS
from reidlab.registry.of_training import LOSSES, OPTIMIZERS, SCHEDULES, TRACKERS
from reidlab.registry.options import Part, check_options, options_of

__all__ = [
    "ATTENTIONS",
    "AUTOENCODERS",
    "BACKBONES",
    "BALANCES",
    "CLASSIFIERS",
    "CORRUPTIONS",
    "DATASETS",
    "DECODERS",
    "ENGINES",
    "INDEXES",
    "LOSSES",
    "MAPS",
    "METRICS",
    "MODELS",
    "NECKS",
    "OPTIMIZERS",
    "PAIR_HEADS",
    "POOLINGS",
    "REGISTRIES",
    "RERANKINGS",
    "SAMPLERS",
    "SCHEDULES",
    "TRACKERS",
    "TRANSFORMS",
    "Entry",
    "Part",
    "Registry",
    "check_options",
    "names_code",
    "on_backbone",
    "options_of",
]

REGISTRIES: tuple[Registry, ...] = (
    MODELS,
    BACKBONES,
    ATTENTIONS,
    POOLINGS,
    NECKS,
    CLASSIFIERS,
    AUTOENCODERS,
    DECODERS,
    PAIR_HEADS,
    LOSSES,
    BALANCES,
    TRANSFORMS,
    CORRUPTIONS,
    SAMPLERS,
    SCHEDULES,
    OPTIMIZERS,
    TRACKERS,
    METRICS,
    RERANKINGS,
    INDEXES,
    ENGINES,
    MAPS,
    DATASETS,
)
