"""Models and images for the tests of `reidlab.explain`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from reidlab import models
from reidlab.data.transforms import Preprocess
from reidlab.registry import MODELS

SMALL = {"height": 64, "width": 32}
# sizes for which windows and strides come out; the rest is 64 x 32
SIZES: dict[str, dict[str, int]] = {"swin_tiny": {"height": 128, "width": 64}, "mgn": {"height": 128, "width": 64}}
# one of each family; `every` marks those that a wide test adds
FAMILIES = (
    "custom_cnn_v32", "lightmbn", "lightmbn_gc_gem", "pcb", "mgn", "plr_osnet", "fpb", "transreid", "resnet18",
    "seresnet50", "resnest50d", "efficientnet_b0", "mobilenetv3_small_100", "densenet121", "vgg16", "swin_tiny",
    "vit_small", "osnet_x0_25", "osnet_ain_x1_0", "resnet50_ibn_a",
)  # fmt: skip


def built(name: str | dict[str, Any], **options: Any) -> Any:
    """Build a model in evaluation with statistics and gates as if it had been trained."""
    spec = {"name": name} if isinstance(name, str) else dict(name)
    torch.manual_seed(0)
    model = models.build({**SMALL, **SIZES.get(spec["name"], {}), **spec, **options}).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.8, 1.2)
            nn.init.uniform_(module.weight, 0.8, 1.2)
            nn.init.normal_(module.bias, 0, 0.1)
    return model


def images(count: int = 2, height: int = 64, width: int = 32, seed: int = 0) -> Tensor:
    """Images with coarse structure, uint8 [count, 3, height, width]."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 3, height // 8, width // 8), dtype=np.uint8)
    return torch.from_numpy(coarse.repeat(8, axis=2).repeat(8, axis=3))


def embedded(model: Any, given: Tensor) -> np.ndarray:
    with torch.no_grad():
        return model(model.preprocess(given)).double().numpy()


class Vectors(nn.Module):
    """A model that sees pixels as one long vector: there is nothing spatial in it."""

    def __init__(self) -> None:
        super().__init__()
        self.preprocess = Preprocess(16, 8)
        self.dim = 4
        self.linear = nn.Linear(3 * 16 * 8, 4)

    def forward(self, batch: Tensor) -> Tensor:
        return nn.functional.normalize(self.linear(batch.flatten(1)), dim=1)


class Toy(nn.Module):
    """One convolution, a mean over positions, a linear layer with a bias: small enough to be worked out by hand."""

    def __init__(self, *, gate: bool = False) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.preprocess = Preprocess(8, 4)
        self.dim = 5
        self.conv = nn.Conv2d(3, 6, 3, 2, 1)
        self.head = nn.Linear(6, 5)
        self.gate = nn.ReLU() if gate else nn.Identity()

    def forward(self, batch: Tensor) -> Tensor:
        return nn.functional.normalize(self.gate(self.head(self.conv(batch).mean((2, 3)))), dim=1)


REGISTERED = tuple(MODELS)
