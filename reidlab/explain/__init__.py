"""What a network looked at: gates, activation, Grad-CAM, rollout, parts, pairs, and measures of all of them.

Nothing is imported until it is asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reidlab.explain.agreement import region_shares
    from reidlab.explain.baselines import BASELINES, baseline_maps
    from reidlab.explain.deletion import Curves, deletion_insertion
    from reidlab.explain.maps import AttentionMaps, attention_maps, build_method, methods_of
    from reidlab.explain.pairs import LocationVectors, PairMap, location_vectors, pair_map
    from reidlab.explain.routing import Told, gate_information, gates_by
    from reidlab.explain.spatial import Layer, default_layer, layers

_HOMES = {
    "AttentionMaps": "maps",
    "BASELINES": "baselines",
    "Curves": "deletion",
    "Layer": "spatial",
    "LocationVectors": "pairs",
    "PairMap": "pairs",
    "Told": "routing",
    "attention_maps": "maps",
    "baseline_maps": "baselines",
    "build_method": "maps",
    "default_layer": "spatial",
    "deletion_insertion": "deletion",
    "gate_information": "routing",
    "gates_by": "routing",
    "layers": "spatial",
    "location_vectors": "pairs",
    "methods_of": "maps",
    "pair_map": "pairs",
    "region_shares": "agreement",
}

__all__ = [
    "BASELINES",
    "AttentionMaps",
    "Curves",
    "Layer",
    "LocationVectors",
    "PairMap",
    "Told",
    "attention_maps",
    "baseline_maps",
    "build_method",
    "default_layer",
    "deletion_insertion",
    "gate_information",
    "gates_by",
    "layers",
    "location_vectors",
    "methods_of",
    "pair_map",
    "region_shares",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
