"""Which locations of two images carried their cosine: a decomposition that sums to it.

The idea is that of Stylianou et al., "Visualizing Deep Similarity Networks" (WACV 2019), and of Zhu et al., "Visual
Explanation for Deep Metric Learning" (TIP 2021). An embedding that is linear in the mean of its maps is the sum of a
vector a location; the cosine of two embeddings is the sum of the products of all pairs of these vectors.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.autograd.forward_ad as fw
from jaxtyping import Float32
from torch import Tensor, nn

from reidlab.errors import UserError
from reidlab.explain.held import HeldHead, WithoutLengths
from reidlab.explain.images import Images, as_batch
from reidlab.explain.spatial import as_maps, grid_of, listed, preprocess_of, traced
from reidlab.explain.untouched import device_of, evaluated
from reidlab.models.parts.pooling import GeM

__all__ = ["LocationVectors", "PairMap", "location_vectors", "pair_map", "spread"]

_TRIES = 4  # pairs of random maps between which an embedding is tried for being linear
_AT_ONCE = 2**26  # numbers in the maps of one pass: a quarter of a gigabyte


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
        UserError: not one image each, or a model whose embedding no maps are pooled into (class token, attention).
    """
    sides = [as_batch(model, images, most=1) for images in (query, gallery)]
    found = [location_vectors(model, images) for images in sides]
    first, second = (each.whole[0].astype(np.float64) for each in found)
    pairs = first @ second.T
    without = float(found[0].vectors[0].sum(0, dtype=np.float64) @ found[1].vectors[0].sum(0, dtype=np.float64))
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
        parts = [_Head(model, preprocess(image[None].to(device))) for image in batch]
        split = [part.split() for part in parts]
        linear = parts[0].is_linear() if parts else False
    vectors = np.stack([each[0].cpu().numpy() for each in split])
    constant = np.stack([each[1].cpu().numpy() for each in split])
    held = dict.fromkeys(word for part in parts for word in part.held)
    return LocationVectors(
        vectors, constant, parts[0].grid, tuple(parts[0].maps), linear, () if linear else tuple(held)
    )


class _Head:
    """All that follows the last maps of one image.

    Attributes:
        maps: the last maps by layer, each [1, channel, row, column].
        grid: the finest rows and the finest columns among them.
        held: what `split` had to hold.
    """

    def __init__(self, model: nn.Module, image: Tensor) -> None:
        self.model, self.image = model, image
        self.held: tuple[str, ...] = ()
        found, embedding = traced(model, image)
        self.name = type(model).__name__
        names = _cut(embedding, {name: found[name] for name in dict.fromkeys([*listed(model, found), *found])})
        if not names:
            raise UserError(
                f"the embedding of {self.name} is not made of maps alone (a class token, or vectors without "
                "locations), so that its cosine has no parts by location. Method 'gradcam', 'rollout' or 'activation' "
                "of `attention_maps` shows such a model."
            )
        self.size = (int(image.shape[2]), int(image.shape[3]))
        self.tokens = grid_of(model, self.size)
        self.embedding = embedding.detach()[0]
        self.maps: dict[str, Tensor] = {}
        self.raw: dict[str, Tensor] = {}
        self._read(names)
        rows, columns = (max(int(each.shape[i]) for each in self.maps.values()) for i in (2, 3))
        self.grid = (rows, columns)

    def _read(self, names: list[str]) -> None:
        modules = dict(self.model.named_modules())

        def hook(name: str) -> Any:
            def read(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
                if name in self.raw:
                    raise UserError(
                        f"{name} of {self.name} runs several times, so that its maps cannot be taken apart."
                    )
                self.raw[name] = output.detach().clone()

            return read

        handles = [modules[name].register_forward_hook(hook(name)) for name in names]
        try:
            with torch.no_grad():
                self.model(self.image)
        finally:
            for handle in handles:
                handle.remove()
        for name, raw in self.raw.items():
            maps = as_maps(raw, self.size, self.tokens)
            assert maps is not None
            if maps.numel() != raw.numel():
                raise UserError(
                    f"the embedding of {self.name} is made of a class token beside its maps, so that its cosine has no "
                    "parts by location. Method 'gradcam' or 'rollout' of `attention_maps` shows such a model."
                )
            self.maps[name] = maps

    def run(self, given: dict[str, Tensor]) -> Tensor:
        """Return embeddings [batch, dim] where the last maps are these, in the form in which the layers give them."""
        modules = dict(self.model.named_modules())

        def hook(name: str) -> Any:
            return lambda _module, _inputs, _output: given[name]

        handles = [modules[name].register_forward_hook(hook(name)) for name in given]
        try:
            return self.model(self.image)
        finally:
            for handle in handles:
                handle.remove()

    def split(self) -> tuple[Tensor, Tensor]:
        """Return the vectors of all locations of the grid [location, dim] and the constant [dim]."""
        total = torch.zeros(self.grid[0] * self.grid[1], len(self.embedding), device=self.image.device)
        held: dict[str, None] = {}
        for name, maps in self.maps.items():
            rows, columns = maps.shape[2:]
            count = rows * columns
            step = max(1, min(count, _AT_ONCE // sum(each.numel() for each in self.raw.values())))
            parts = [self._slopes(name, range(i, min(i + step, count)), held) for i in range(0, count, step)]
            vectors = torch.cat(parts).T.reshape(-1, int(rows), int(columns))  # [dim, row, column]
            total += spread(vectors, self.grid).flatten(1).T
        self.held = tuple(held)
        return total, self.embedding - total.sum(0)

    def _slopes(self, name: str, places: range, held: dict[str, None]) -> Tensor:
        """Return what the maps of one layer at some places add to the embedding: [place, dim]."""
        n = len(places)
        here = torch.zeros(n, *self.maps[name].shape[2:], device=self.image.device)
        here.view(n, -1)[range(n), list(places)] = 1
        mask = here[:, None]
        raw = self.raw[name]
        if raw.shape == self.maps[name].shape:
            pass
        elif raw.ndim == 4:
            mask = mask.permute(0, 2, 3, 1)
        else:
            mask = mask.flatten(2).transpose(1, 2)
        powers = any(isinstance(module, GeM) for module in self.model.modules())
        with torch.no_grad(), fw.dual_level():
            given = {other: each.expand(n, *each.shape[1:]).clone() for other, each in self.raw.items()}
            with warnings.catch_warnings():  # the first dual number imports scripted formulas
                warnings.simplefilter("ignore", FutureWarning)
                given[name] = fw.make_dual(given[name], raw * mask)
            with HeldHead(self.name, powers=powers) as mode:
                embedding = self.run(given)
            tangent = fw.unpack_dual(embedding).tangent
            held.update(mode.held)
        return torch.zeros(n, len(self.embedding), device=raw.device) if tangent is None else tangent.float()

    def is_linear(self) -> bool:
        """Return whether the embedding before its lengths is affine in the maps: tried between random maps.

        Channels differ in strength by orders of magnitude, so that units behind the maps are open and shut in turn.
        """
        generator = torch.Generator().manual_seed(0)
        given = {}
        for name, raw in self.raw.items():
            shape = (2 * _TRIES, *raw.shape[1:])
            channel = 1 if raw.shape == self.maps[name].shape else raw.ndim - 1
            strengths = torch.randn(shape[0], shape[channel], generator=generator).mul(1.5).exp()
            strengths = strengths.reshape([shape[i] if i in (0, channel) else 1 for i in range(raw.ndim)])
            noise = (torch.randn(shape, generator=generator) * strengths).to(raw) * raw.std()
            drawn = noise.abs() if bool((raw >= 0).all()) else noise
            given[name] = torch.cat([drawn, (drawn[:_TRIES] + drawn[_TRIES:]) / 2])
        with torch.no_grad(), WithoutLengths():
            one, other, between = self.run(given).double().split(_TRIES)
        apart = (between - (one + other) / 2).norm(dim=1)
        return bool((apart <= 1e-4 * (one.norm(dim=1) + other.norm(dim=1))).all())


def _cut(embedding: Tensor, found: dict[str, Any]) -> list[str]:
    """Return the layers whose maps the embedding is made of: those met first from it backwards, by all ways.

    Returns:
        Names, in the order of the pass; none where a way leads to the image without maps.
    """
    by_node: dict[Any, str] = {}
    for name, each in found.items():
        by_node.setdefault(each.node, name)
    met: set[str] = set()
    seen, ways = set(), [embedding.grad_fn]
    while ways:
        node = ways.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node in by_node:
            met.add(by_node[node])
        elif type(node).__name__ == "AccumulateGrad":  # the image itself: parameters are frozen
            return []
        else:
            ways += [before for before, _ in node.next_functions]
    return [name for name in found if name in met]


def spread(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """Bring maps [..., row, column] to another grid by overlap of area, so that their sum stays.

    A cell whose area covers several cells of the new grid shares its value among them; there is no smoothing.
    """
    rows, columns = (_overlaps(int(n), m).to(maps) for n, m in zip(maps.shape[-2:], grid))
    return rows @ maps @ columns.T


def _overlaps(before: int, after: int) -> Tensor:
    """Return [after, before]: the share of each old cell that lies in each new one; columns sum to 1."""
    old, new = torch.arange(before + 1) / before, torch.arange(after + 1) / after
    low = torch.maximum(old[None, :-1], new[:-1, None])
    high = torch.minimum(old[None, 1:], new[1:, None])
    return (high - low).clamp_min(0) * before
