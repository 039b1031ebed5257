"""Which of a model's modules give maps, in whatever form: [batch, channel, row, column], rows first, or tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from reidlab.data.transforms import Preprocess
from reidlab.errors import UserError, nearest, shown
from reidlab.explain.untouched import device_of, evaluated

__all__ = ["Layer", "as_maps", "default_layer", "find_layer", "grid_of", "layers", "listed", "preprocess_of", "traced"]

_SILENT = ("Norm", "Identity", "Dropout", "DropPath")  # of leaves that only prepare what others look at


@dataclass(frozen=True)
class Layer:
    """A module that gives maps, for images of the model's own size.

    Attributes:
        name: as in `model.named_modules()`.
        channels, rows, columns: of its maps.
    """

    name: str
    channels: int
    rows: int
    columns: int

    def __str__(self) -> str:
        return f"{self.name} ({self.channels} x {self.rows} x {self.columns})"


@dataclass(frozen=True)
class Traced:
    """A module's maps in one forward pass: its layer, and the node of the graph that made them."""

    layer: Layer
    node: Any


def preprocess_of(model: nn.Module) -> Preprocess:
    """Return how uint8 images become a model's input.

    Raises:
        UserError: it is no model of this workbook.
    """
    found = getattr(model, "preprocess", None)
    if not isinstance(model, nn.Module) or not isinstance(found, Preprocess):
        raise UserError(f"{type(model).__name__} has no `preprocess`; give a model of `models.build` or `load_model`.")
    return found


def as_maps(output: Any, size: tuple[int, int], grid: tuple[int, int] | None = None) -> Tensor | None:
    """Bring what a module gives to [batch, channel, row, column]; None where it is no maps of more than one position.

    Args:
        output: of a module.
        size: height and width of the images: rows and columns must have their proportions.
        grid: rows and columns of a transformer's patches; tokens beyond them (class token) stand first and are left
            out.
    """
    if not isinstance(output, Tensor) or not output.is_floating_point():
        return None
    if output.ndim == 4:
        one, two, three = (int(n) for n in output.shape[1:])
        if _fits(two, three, size):
            maps = output
        elif _fits(one, two, size):
            maps = output.permute(0, 3, 1, 2)
        else:
            return None
        return maps if maps.shape[2] * maps.shape[3] > 1 else None
    if output.ndim == 3 and grid is not None:
        prefix = output.shape[1] - grid[0] * grid[1]
        if 0 <= prefix <= 16 and grid[0] * grid[1] > 1:
            return output[:, prefix:].transpose(1, 2).unflatten(2, grid)
    return None


def _fits(rows: int, columns: int, size: tuple[int, int]) -> bool:
    """Return whether maps of this size can come from images of that: both sides shrunk alike, up to a border."""
    if not 1 <= rows <= size[0] or not 1 <= columns <= size[1]:
        return False
    return abs(columns - rows * size[1] / size[0]) <= 1 or abs(rows - columns * size[0] / size[1]) <= 1


def grid_of(model: nn.Module, size: tuple[int, int]) -> tuple[int, int] | None:
    """Return rows and columns of a transformer's patches, None where there are none."""
    for module in model.modules():
        told: Any = getattr(module, "dynamic_feat_size", None)
        if callable(told):
            rows, columns = told(size)
            return int(rows), int(columns)
    return None


def traced(
    model: nn.Module, images: Tensor, run: Callable[[Tensor], Tensor] | None = None
) -> tuple[dict[str, Traced], Tensor]:
    """Run a model once and return every module that gave maps, in the order in which they ended, and the embedding.

    Modules that run several times have their last maps; with the graph of the pass kept, `Traced.node` belongs to it.

    Args:
        model: in evaluation, parameters frozen (`evaluated`).
        images: float [batch, 3, height, width], as the model takes them.
        run: what is run instead of the whole model.
    """
    size = (int(images.shape[2]), int(images.shape[3]))
    grid = grid_of(model, size)
    found: dict[str, Traced] = {}

    def note(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            maps = as_maps(output, size, grid)
            if maps is not None:
                found.pop(name, None)
                layer = Layer(name, *(int(n) for n in maps.shape[1:]))
                found[name] = Traced(layer, output.grad_fn)

        return hook

    handles = [module.register_forward_hook(note(name)) for name, module in model.named_modules() if name]
    try:
        with torch.enable_grad():
            embedding = (run or model)(images.detach().clone().requires_grad_(True))
    finally:
        for handle in handles:
            handle.remove()
    return found, embedding


def layers(model: nn.Module) -> dict[str, Layer]:
    """List the layers that give maps, by name, in the order in which they run.

    Listed are stages and blocks, and single convolutions outside of blocks; not what is inside a block. A name of
    `model.named_modules()` that is not listed may be given as a layer all the same.

    Args:
        model: any model of this workbook; it is run once on a blank image of its size.

    Raises:
        UserError: no module gives maps.
    """
    found = _traced_blank(model, model)
    names = list(listed(model, found))
    if not names:
        raise UserError(f"{type(model).__name__} has no layer that gives maps, only vectors: there is nothing to show.")
    return {name: found[name].layer for name in names}


def default_layer(model: nn.Module) -> str:
    """Return the layer that is shown where none is named: the last one, of the global branch where there are several.

    Raises:
        UserError: no module gives maps.
    """
    names = list(layers(model))
    whole: Any = getattr(model, "maps", None)  # "for pictures of where the model looks"
    if not callable(whole):
        return names[-1]
    found = _traced_blank(model, whole)
    return next((name for name in reversed(list(listed(model, found))) if name in names), names[-1])


def _traced_blank(model: nn.Module, run: Callable[[Tensor], Tensor]) -> dict[str, Traced]:
    preprocess = preprocess_of(model)
    with evaluated(model):
        blank = torch.zeros(1, 3, preprocess.height, preprocess.width, device=device_of(model))
        return traced(model, blank, run)[0]


def listed(model: nn.Module, found: dict[str, Traced]) -> Iterator[str]:
    """Choose the names that are worth a line: no inside of blocks, and of equal outputs the innermost whole block."""
    modules = dict(model.named_modules())
    inside: dict[str, set[str]] = {name: set() for name in modules}
    for name in found:
        for parent in _parents(name):
            inside[parent].add(name)
    networks = {name for name, module in modules.items() if _is_network(name, module, found, inside)}
    by_node: dict[int, str] = {}
    for name in found:
        leaf = not any(True for _ in modules[name].children())
        if name in networks or any(parent not in networks for parent in _parents(name)):
            continue
        if leaf and any(word in type(modules[name]).__name__ for word in _SILENT):
            continue
        by_node.setdefault(id(found[name].node), name)
    yield from by_node.values()


def _is_network(name: str, module: nn.Module, found: dict[str, Traced], inside: dict[str, set[str]]) -> bool:
    """Return whether a module is more than a block: a container, a wrapper, or one whose maps have many sizes."""
    if name not in found:  # it gives no maps itself, or is never called as a whole
        return True
    children = [f"{name}.{child}" for child, _ in module.named_children()]
    if any(child not in found and inside[child] for child in children):  # it wraps what it calls by another name
        return True
    if type(module) is nn.Sequential and sum(any(True for _ in child.children()) for child in module) > 1:
        return True
    return len({(found[other].layer.rows, found[other].layer.columns) for other in inside[name]}) >= 3


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:i]) for i in range(1, len(parts))]


def find_layer(model: nn.Module, given: str) -> str:
    """Return the full name of a layer: "cbam5" for "network.cbam5"; "" gives `default_layer`.

    Raises:
        UserError: nothing of this name, or several.
    """
    if not isinstance(given, str):
        raise UserError(f"layer={shown(given)} is no name; `explain.layers(model)` lists them.")
    if not given:
        return default_layer(model)
    names = [name for name, _ in model.named_modules() if name]
    fits = [name for name in names if name == given or name.endswith(f".{given}")]
    exact = [name for name in fits if name == given]
    if exact or len(fits) == 1:
        return (exact or fits)[0]
    if fits:
        raise UserError(f"layer={given!r} is any of {', '.join(fits)}; give the whole name.")
    known = list(layers(model))
    some = ", ".join(known if len(known) <= 12 else [*known[:4], "...", *known[-6:]])
    ends = [name.rpartition(".")[2] for name in known]
    raise UserError(f"layer={given!r} is unknown; there are {some}.{nearest(given, [*known, *ends])}")
