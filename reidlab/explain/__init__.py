"""What a network looked at: gates, activation, Grad-CAM, rollout, parts, pairs, and measures of all of them.

Nothing is imported until it is asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reidlab.explain.maps import AttentionMaps, attention_maps, build_method, methods_of
    from reidlab.explain.pairs import LocationVectors, PairMap, location_vectors, pair_map
    from reidlab.explain.spatial import Layer, default_layer, layers

_HOMES = {
    "AttentionMaps": "maps",
    "Layer": "spatial",
    "LocationVectors": "pairs",
    "PairMap": "pairs",
    "attention_maps": "maps",
    "build_method": "maps",
    "default_layer": "spatial",
    "layers": "spatial",
    "location_vectors": "pairs",
    "methods_of": "maps",
    "pair_map": "pairs",
}

__all__ = [
    "AttentionMaps",
    "Layer",
    "LocationVectors",
    "PairMap",
    "attention_maps",
    "build_method",
    "default_layer",
    "layers",
    "location_vectors",
    "methods_of",
    "pair_map",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
