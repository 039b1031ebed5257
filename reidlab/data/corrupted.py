"""The images of a table with a corruption, as a model sees them: corrupted at their own size, then resized."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from reidlab.data.pixels import PixelStore
from reidlab.data.transforms.corruptions import check_severity, corrupt
from reidlab.data.transforms.preprocess import check_size
from reidlab.registry import CORRUPTIONS

__all__ = ["CorruptedPixels"]


@dataclass(frozen=True)
class CorruptedPixels(PixelStore):
    """A pixel store of native sizes whose batches come corrupted; models of any input size see the same pictures.

    Attributes:
        shown: (height, width) that corrupted images are resized to, as `decode` does (bilinear, antialiased).
        corruption: registered name.
        severity: 1 to 5.
        seed: of the draws.
    """

    shown: tuple[int, int] = (128, 64)
    corruption: str = ""
    severity: int = 1
    seed: int = 0

    @classmethod
    def of(
        cls,
        table: pd.DataFrame,
        folder: Path,
        corruption: str,
        *,
        severity: int,
        size: tuple[int, int] = (128, 64),
        seed: int = 0,
        progress: bool = True,
    ) -> CorruptedPixels:
        """Open (or build) the store of a table's images at native size below `folder`, to be corrupted when read.

        Args:
            table: image table.
            folder: parent of all stores.
            corruption: registered name.
            severity: 1 to 5.
            size: (height, width) that corrupted images are resized to.
            seed: of the draws.
            progress: show a bar.

        Raises:
            UserError: an unknown corruption, another severity, or as `PixelStore.build`.
        """
        CORRUPTIONS.find(corruption)
        check_size(*size, "size of corrupted images")
        plain = PixelStore.build(table, folder, size=None, progress=progress)
        return cls(plain.folder, plain.n_images, None, size, corruption, check_severity(severity), seed)

    def batch(self, rows: np.ndarray) -> Tensor:  # type: ignore[override]  # wider types are of no use here
        """Return corrupted and resized images as uint8 [batch, 3, height, width] in channels_last memory.

        Raises:
            IndexError: a row below 0 or beyond the store.
        """
        made = [self._corrupted(int(row)) for row in rows]
        pixels = np.stack(made) if made else np.zeros((0, *self.shown, 3), np.uint8)
        return torch.from_numpy(pixels).permute(0, 3, 1, 2)

    def _corrupted(self, row: int) -> np.ndarray:
        """Return one image, uint8 [height, width, 3]."""
        image = torch.from_numpy(np.array(self.image(row))).permute(2, 0, 1)[None]
        changed = corrupt(image, self.corruption, severity=self.severity, seed=self.seed)[0].permute(1, 2, 0)
        pixels = changed.contiguous().numpy()
        if pixels.shape[:2] == self.shown:
            return pixels
        height, width = self.shown
        return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))
