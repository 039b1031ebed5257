"""A model that learns nothing: the colours of an image, counted. What a trained model has to beat."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor, nn

from reidlab.data.transforms import Preprocess
from reidlab.pedestrians import hsv_histogram
from reidlab.stages.models import ModelSource
from reidlab.store import sources

__all__ = ["HISTOGRAM", "HistogramModel", "histogram_source"]

HISTOGRAM = "histogram"  # its name among models
_BINS = 8


class HistogramModel(nn.Module):
    """Embed an image as the roots of its HSV histogram (8 x 8 x 8 cells): their cosine is Bhattacharyya's."""

    def __init__(self) -> None:
        super().__init__()
        self.preprocess, self.dim = Preprocess(128, 64), _BINS**3
        self.none = nn.Parameter(torch.empty(0), requires_grad=False)  # says where the model lies, as weights do

    def forward(self, images: Float32[Tensor, "batch 3 height width"]) -> Float32[Tensor, "batch dim"]:
        """Return unit vectors float32 [batch, 512] of images with values from 0 to 1."""
        pixels = (255 * images.float()).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        return torch.from_numpy(np.sqrt(hsv_histogram(pixels, _BINS))).to(images.device)


def histogram_source() -> ModelSource:
    """Return the colour histogram as a model that can be embedded and scored like any other."""
    digest = sources.code_digest([HistogramModel, hsv_histogram])
    return ModelSource(
        HISTOGRAM,
        hashlib.sha256(f"{HISTOGRAM}:{digest}".encode()).hexdigest(),
        lambda: HistogramModel().eval(),
        {"recipe": "colour histogram, learns nothing", "trained_on": ""},
        elsewhere=True,
    )
