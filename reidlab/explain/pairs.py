"""Which locations of two images carried their cosine: a decomposition that sums to it.

The idea is that of Stylianou et al., "Visualizing Deep Similarity Networks" (WACV 2019), and of Zhu et al., "Visual
Explanation for Deep Metric Learning" (TIP 2021). An embedding that is linear in the mean of its maps is the sum of a
vector a location; the cosine of two embeddings is the sum of the products of all pairs of these vectors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32
from torch import nn

from reidlab.errors import UserError
from reidlab.explain.head import Head
from reidlab.explain.images import Images, as_batch
from reidlab.explain.spatial import preprocess_of
from reidlab.explain.untouched import device_of, evaluated

__all__ = ["LocationVectors", "PairMap", "location_vectors", "pair_map"]


@dataclass(frozen=True, eq=False)
class LocationVectors:
    """Embeddings taken apart by location; what every location gives and the constant sum to the embedding.

    Attributes:
        vectors: [image, location, dim], locations row by row, the constant not in them.
        constant: [image, dim], what does not depend on the maps: biases and centres of normalisations.
        grid: rows and columns.
        layers: names of the layers whose maps were taken apart.
        linear: the embedding, but for its length, is linear in the maps: the same for every image.
        held: what is held as each image has it where it is not linear, in words.
    """

    vectors: Float32[np.ndarray, "image location dim"]
    constant: Float32[np.ndarray, "image dim"]
    grid: tuple[int, int]
    layers: tuple[str, ...]
    linear: bool
    held: tuple[str, ...]

    @property
    def whole(self) -> Float32[np.ndarray, "image location dim"]:
        """Vectors with the constant spread evenly over the locations; they sum to the embedding."""
        return self.vectors + (self.constant / self.vectors.shape[1])[:, None]

    def sentence(self) -> str:
        """Say in words what the decomposition rests on."""
        return _sentence(self.linear, self.held)


@dataclass(frozen=True, eq=False)
class PairMap:
    """Where two images carry their cosine.

    Attributes:
        query: [row, column], what each location of the query adds to the cosine; may be negative; sums to it.
        gallery: the same of the other image.
        pairs: [query location, gallery location], what each pair adds, locations row by row; sums to the cosine.
        cosine: of the two embeddings.
        constant: share of it that involves the constants of the embeddings, which is spread evenly in the maps.
        layers: whose maps were taken apart.
        linear: as in `LocationVectors`.
        note: what the decomposition rests on, in words.
    """

    query: Float32[np.ndarray, "row column"]
    gallery: Float32[np.ndarray, "row column"]
    pairs: Float32[np.ndarray, "query gallery"]
    cosine: float
    constant: float
    layers: tuple[str, ...]
    linear: bool
    note: str

    def partners(self, row: int, column: int, side: str = "query") -> Float32[np.ndarray, "row column"]:
        """Return what one location adds together with each location of the other image: [row, column].

        Args:
            row, column: of the location in the image `side`.
            side: "query" or "gallery".

        Raises:
            UserError: another side, or a location outside the maps.
        """
        shape = self.query.shape
        if side not in ("query", "gallery"):
            raise UserError(f"side={side!r} is neither 'query' nor 'gallery'.")
        if not 0 <= row < shape[0] or not 0 <= column < shape[1]:
            raise UserError(f"location {row}, {column} is outside the maps of {shape[0]} x {shape[1]}.")
        place = row * shape[1] + column
        return (self.pairs[place] if side == "query" else self.pairs[:, place]).reshape(shape)


def pair_map(model: nn.Module, query: Images, gallery: Images) -> PairMap:
    """Take the cosine of two images apart by location: which regions of each carried it.

    Where the embedding is linear in its pooled maps (a mean, then linear layers, batch normalisations, L2 norm), the
    parts are exact in every sense. Maxima, generalised means, activations and LayerNorm behind the maps are held as the
    image has them: the parts still sum to the cosine (a maximum belongs to the place where it is), and `note` says so.
    Branches and stripes that are put side by side add up.

    Args:
        model: of this workbook; it stays as it is.
        query: one image, uint8 [3, height, width] or [1, 3, height, width], torch or NumPy, of any size.
        gallery: another.

    Raises:
        UserError: not one image each, a model whose embedding no maps are pooled into (class token, attention), or an
            embedding of zeros.
    """
    sides = [as_batch(model, images, most=1) for images in (query, gallery)]
    found = [location_vectors(model, images) for images in sides]
    lengths = [float(np.linalg.norm(each.whole[0].sum(0, dtype=np.float64))) for each in found]
    if min(lengths) == 0:
        raise UserError(f"{type(model).__name__} gives a vector of zeros for one of the images, which has no cosine.")
    # embeddings of models that do not normalise them have any length, and only their direction counts
    first, second = (each.whole[0].astype(np.float64) / length for each, length in zip(found, lengths))
    pairs = first @ second.T
    sums = [each.vectors[0].sum(0, dtype=np.float64) / length for each, length in zip(found, lengths)]
    without = float(sums[0] @ sums[1])
    grid, cosine = found[0].grid, float(pairs.sum())
    held = tuple(dict.fromkeys(found[0].held + found[1].held))
    return PairMap(
        pairs.sum(1).reshape(grid).astype(np.float32),
        pairs.sum(0).reshape(grid).astype(np.float32),
        pairs.astype(np.float32),
        cosine,
        cosine - without,
        found[0].layers,
        found[0].linear,
        _sentence(found[0].linear, held),
    )


def _sentence(linear: bool, held: tuple[str, ...]) -> str:
    if linear:
        return "Exact: but for its length, the embedding is linear in these maps, so that every location adds its part."
    return (
        f"The parts sum to the cosine with {', '.join(held)} held as each image has it: another look of one place "
        "could change what other places add."
    )


def location_vectors(model: nn.Module, images: Images) -> LocationVectors:
    """Take embeddings apart by location; see `pair_map`.

    Args:
        model: of this workbook; it stays as it is.
        images: uint8 [image, 3, height, width].

    Raises:
        UserError: as `pair_map`.
    """
    batch = as_batch(model, images)
    preprocess, device = preprocess_of(model), device_of(model)
    with evaluated(model):
        parts = [Head(model, preprocess(image[None].to(device))) for image in batch]
        split = [part.split() for part in parts]
        linear = parts[0].is_linear() if parts else False
    vectors = np.stack([each[0].cpu().numpy() for each in split])
    constant = np.stack([each[1].cpu().numpy() for each in split])
    held = dict.fromkeys(word for part in parts for word in part.held)
    return LocationVectors(
        vectors, constant, parts[0].grid, tuple(parts[0].maps), linear, () if linear else tuple(held)
    )
