"""What follows the last maps of a model, for one image: found in the graph of a pass, and run on other maps."""

from __future__ import annotations

import warnings
from typing import Any

import torch
import torch.autograd.forward_ad as fw
from torch import Tensor, nn

from reidlab.errors import UserError
from reidlab.explain.held import HeldHead, WithoutLengths
from reidlab.explain.spatial import Traced, as_maps, grid_of, listed, traced
from reidlab.models.parts.pooling import GeM

__all__ = ["Head", "spread"]

_TRIES = 4  # pairs of random maps between which an embedding is tried for being linear
_AT_ONCE = 2**26  # numbers in the maps of one pass: a quarter of a gigabyte


class Head:
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


def _cut(embedding: Tensor, found: dict[str, Traced]) -> list[str]:
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
