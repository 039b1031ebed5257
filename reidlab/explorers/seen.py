"""Maps of a model by image, computed when they are asked for and kept as far as a number of them allows."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TypeVar

import numpy as np
from jaxtyping import UInt8
from torch import nn

from reidlab.explain import AttentionMaps, PairMap, attention_maps, build_method, layers, methods_of, pair_map
from reidlab.explain.spatial import preprocess_of
from reidlab.explorers.pictures import Thumbnails
from reidlab.registry import MAPS

__all__ = ["Seen"]

MOST = 256  # maps that are kept: of a few thousand numbers each

T = TypeVar("T")


class Seen:
    """What a model looked at in the images of a table.

    Args:
        model: of `models.build` or `load_model`.
        thumbnails: the images.
        most: maps that are kept; those that were not asked for longest go first.

    Attributes:
        methods: methods of the registry, those that the model has first.
        known: how many of them it has.
        layers: names of the layers that give maps, with their sizes.

    Raises:
        UserError: it is no model of this workbook.
    """

    def __init__(self, model: nn.Module, thumbnails: Thumbnails, *, most: int = MOST) -> None:
        preprocess_of(model)  # which says that it is none of this workbook
        self.model, self.thumbnails, self.most = model, thumbnails, most
        has = methods_of(model)
        self.methods = [*has, *(name for name in MAPS if name not in has)]
        self.known = len(has)
        self.layers = {name: str(layer) for name, layer in layers(model).items()} if "activation" in has else {}
        self._kept: OrderedDict[Hashable, AttentionMaps | PairMap] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def takes_layer(self, method: str) -> bool:
        """Return whether a layer may be chosen."""
        return build_method(method).takes_layer

    def map(self, row: int, method: str, layer: str) -> AttentionMaps:
        """Return the map of one image.

        Raises:
            UserError: the method does not fit the model or the layer, or the image does not decode.
        """
        at = layer if self.takes_layer(method) else ""
        return self._once((row, method, at), lambda: attention_maps(self.model, self._image(row), method, at))

    def pair(self, query: int, gallery: int) -> PairMap:
        """Return which locations of two images carried their cosine.

        Raises:
            UserError: the model's embedding has no parts by location, or an image does not decode.
        """
        return self._once((query, gallery), lambda: pair_map(self.model, self._image(query), self._image(gallery)))

    def _image(self, row: int) -> UInt8[np.ndarray, "1 3 height width"]:
        return np.ascontiguousarray(self.thumbnails.pixels(row).transpose(2, 0, 1)[None])

    def _once(self, key: Hashable, make: Callable[[], T]) -> T:
        found = self._kept.pop(key, None)
        if found is None:
            found = make()  # type: ignore[assignment]
        self._kept[key] = found  # type: ignore[assignment]
        while len(self._kept) > self.most:
            self._kept.popitem(last=False)
        return found  # type: ignore[return-value]
