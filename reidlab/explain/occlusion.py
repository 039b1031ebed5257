"""Occlusion: what a model loses when a part of the image is covered, measured instead of derived."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reidlab.errors import UserError
from reidlab.explain.methods import Computed, Method, by_maximum

__all__ = ["Occlusion"]

_AT_ONCE = 256


class Occlusion(Method):
    """The fall of the cosine to the target where a rectangle is painted in the image's mean colour.

    Occlusion sensitivity of Zeiler and Fergus (ECCV 2014). It asks the model about pixels, and so needs no layer and
    works with every model. Maps of the last layer show where features are kept, which need not be where they come
    from: units at the border may see the whole image.

    Args:
        rows, columns: of the grid on which the rectangle is moved.
        size: of the rectangle, in cells of the grid; 2 lets neighbours overlap by half.
    """

    takes_layer = False
    takes_target = True
    needs_layers = False

    def __init__(self, rows: int = 12, columns: int = 6, size: float = 2.0) -> None:
        if min(rows, columns) < 1 or rows * columns > 4096 or not 0 < size <= 16:
            raise UserError(f"occlusion: rows={rows}, columns={columns} (1 or more) or size={size} (0 to 16) is off.")
        self.rows, self.columns, self.size = rows, columns, size

    def lacks(self, model: nn.Module) -> str:
        """Nothing: it asks about pixels."""
        return ""

    def compute(self, model: nn.Module, images: Tensor, layer: str, target: Tensor | None) -> Computed:
        """Return the fall of the cosine by cell."""
        with torch.no_grad():
            whole = F.normalize(model(images).float(), dim=1)
            wanted = whole if target is None else target
            before = (whole * wanted).sum(1, keepdim=True)
            covers = self._covers(int(images.shape[2]), int(images.shape[3])).to(images)
            colour = images.mean((2, 3), keepdim=True)
            found = []
            step = max(1, _AT_ONCE // len(images))
            for some in covers.split(step):  # [cell, height, width]
                seen = torch.where(some[:, None, None] > 0, colour[None], images[None]).flatten(0, 1)
                cosine = F.normalize(model(seen).float(), dim=1).unflatten(0, (len(some), -1)) * wanted
                found.append(cosine.sum(2))
        after = torch.cat(found).T  # [batch, cell]
        return Computed(by_maximum((before - after).unflatten(1, (self.rows, self.columns))), "pixels")

    def _covers(self, height: int, width: int) -> Tensor:
        """Return which pixels each cell's rectangle covers: [cell, height, width]."""
        rows = _reach(height, self.rows, self.size)
        columns = _reach(width, self.columns, self.size)
        return (rows[:, None, :, None] & columns[None, :, None, :]).flatten(0, 1).float()


def _reach(pixels: int, cells: int, size: float) -> Tensor:
    """Return [cell, pixel]: whether a pixel is within `size` / 2 cells of the middle of a cell."""
    middles = (torch.arange(cells) + 0.5) * pixels / cells
    apart = (torch.arange(pixels)[None] + 0.5 - middles[:, None]).abs()
    return apart <= max(size * pixels / cells / 2, 0.5)
