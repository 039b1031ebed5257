"""How uint8 pixels become a model's input, and random changes to whole batches.

Every random transform takes uint8 [batch, 3, height, width] and a torch.Generator on the CPU (so that the same seed
gives the same draws on every device), draws for each image by itself, and returns a new tensor on the batch's device:
neither the input nor any global generator is changed. The same generator state gives the same batch. All draws are made
for the whole batch, whether an image uses them or not, so that `p` does not shift what the next transform draws.

The work is done image by image on purpose. On the CPU an image of 256 x 128 stays in the cache: copying slices is ten
times faster there than indexing whole batches (benchmarks/transforms.py), and a GPU pays one launch for an image.
"""

from reidlab.data.transforms.augment import Augment
from reidlab.data.transforms.colour import color_jitter, global_grayscale, local_grayscale
from reidlab.data.transforms.geometry import (
    random_2d_translation,
    random_crop,
    random_flip,
    random_resized_crop,
    resize,
)
from reidlab.data.transforms.mixing import aug_mix
from reidlab.data.transforms.occlusion import cutout, random_erase, random_patch
from reidlab.data.transforms.policies import auto_augment, rand_augment, trivial_augment
from reidlab.data.transforms.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from reidlab.data.transforms.registry import TRANSFORMS, Transform, TransformEntry, build_transform

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "TRANSFORMS",
    "Augment",
    "Preprocess",
    "Transform",
    "TransformEntry",
    "aug_mix",
    "auto_augment",
    "build_transform",
    "color_jitter",
    "cutout",
    "global_grayscale",
    "local_grayscale",
    "rand_augment",
    "random_2d_translation",
    "random_crop",
    "random_erase",
    "random_flip",
    "random_patch",
    "random_resized_crop",
    "resize",
    "trivial_augment",
]
