"""What is lost on the way from the camera: coarse JPEG, and persons of a few pixels."""

from __future__ import annotations

import io

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from PIL import Image
from torch import Generator, Tensor

from reidlab.data.images import open_bytes, to_rgb
from reidlab.data.transforms.corruptions.severities import as_pixels, of_severity
from reidlab.data.transforms.draws import check_batch

__all__ = ["jpeg", "low_resolution"]

_QUALITIES = (25, 18, 15, 10, 7)  # ImageNet-C
_SCALES = (0.6, 0.5, 0.4, 0.3, 0.25)  # ImageNet-C (pixelate): share of the height and of the width


def jpeg(
    images: UInt8[Tensor, "batch 3 height width"], generator: Generator, *, severity: int = 1
) -> UInt8[Tensor, "batch 3 height width"]:
    """Encode as JPEG of quality 25, 18, 15, 10 or 7 and decode again, by libjpeg itself (ImageNet-C).

    Args:
        images: uint8 [batch, 3, height, width].
        generator: not drawn from; on the CPU.
        severity: 1 (slight) to 5 (worst).
    """
    check_batch(images, generator)
    quality = of_severity(_QUALITIES, severity)
    coded = [_recoded(image, quality) for image in images]
    return torch.stack(coded).to(images.device) if coded else images.clone()


def _recoded(image: Tensor, quality: int) -> Tensor:
    """Return an image as it comes back from Pillow's encoder (colour at half the resolution, as cameras do)."""
    file = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).cpu().contiguous().numpy()).save(file, "JPEG", quality=quality)
    decoded = to_rgb(open_bytes(file.getvalue()))
    return torch.from_numpy(np.array(decoded)).permute(2, 0, 1)


def low_resolution(
    images: UInt8[Tensor, "batch 3 height width"], generator: Generator, *, severity: int = 1
) -> UInt8[Tensor, "batch 3 height width"]:
    """Shrink to 60, 50, 40, 30 or 25 % of height and width and enlarge again, as for a person far away.

    The factors are ImageNet-C's of pixelation; both ways are bilinear, as detectors' boxes are resized.

    Args:
        images: uint8 [batch, 3, height, width].
        generator: not drawn from; on the CPU.
        severity: 1 (slight) to 5 (worst).
    """
    check_batch(images, generator)
    scale = of_severity(_SCALES, severity)
    height, width = images.shape[2:]
    if not images.numel():
        return images.clone()
    small = (max(1, round(scale * height)), max(1, round(scale * width)))
    shrunk = F.interpolate(images.float(), small, mode="bilinear", antialias=True, align_corners=False)
    shrunk = as_pixels(shrunk).float()  # the small image is what was stored
    return as_pixels(F.interpolate(shrunk, (height, width), mode="bilinear", align_corners=False))
