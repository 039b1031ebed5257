"""How uint8 pixels become a model's input, and random changes to whole batches.

Every random transform takes uint8 [batch, 3, height, width] and a torch.Generator on the CPU (so that the same seed
gives the same draws on every device), draws for each image by itself, and returns a new tensor on the batch's device:
neither the input nor any global generator is changed. The same generator state gives the same batch. All draws are made
for the whole batch, whether an image uses them or not, so that `p` does not shift what the next transform draws.

The work is done image by image on purpose. On the CPU an image of 256 x 128 stays in the cache: copying slices is ten
times faster there than indexing whole batches (benchmarks/transforms.py), and a GPU pays one launch for an image.
"""

from typing import Any

from reidlab.data.transforms.augment import Augment
from reidlab.data.transforms.build import Transform, build_transform
from reidlab.data.transforms.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from reidlab.registry import TRANSFORMS

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "TRANSFORMS",
    "Augment",
    "Preprocess",
    "Transform",
    "build_transform",
]


def __getattr__(name: str) -> Any:
    return TRANSFORMS.attribute(name, __name__)
