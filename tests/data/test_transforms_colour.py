"""Grey and jitter against Pillow and torchvision on each image alone, and their statistics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as tv
from PIL import Image
from torch import Tensor
from transform_cases import images, likely, seeded

from reidlab.data.transforms import color_jitter, global_grayscale, local_grayscale


def pillow_grey(given: Tensor) -> Tensor:
    """Luma by Pillow, in all three channels."""
    arrays = given.permute(0, 2, 3, 1).numpy()
    grey = np.stack([np.asarray(Image.fromarray(np.ascontiguousarray(a)).convert("L")) for a in arrays])
    return torch.from_numpy(grey)[:, None].expand(-1, 3, -1, -1)


@pytest.mark.parametrize("p", [0.0, 0.1, 1.0])
def test_global_grayscale_is_pillow_s(p: float) -> None:
    given = images(400)
    changed = global_grayscale(given, seeded(), p=p)
    grey, left = ((changed == other).flatten(1).all(1) for other in (pillow_grey(given), given))
    assert (grey | left).all() and likely(grey.sum(), 400, p)


def test_grey_levels_stay() -> None:
    levels = torch.arange(256, dtype=torch.uint8)[None, None, None, :].expand(1, 3, 2, 256)
    assert torch.equal(global_grayscale(levels, seeded(), p=1), levels)


def test_local_grayscale_is_one_grey_rectangle() -> None:
    """Colours whose luma differs from every channel, so that what is grey shows."""
    height, width = 40, 20
    given = images(600, height, width) // 8 + torch.tensor([0, 100, 200], dtype=torch.uint8)[:, None, None]
    changed = local_grayscale(given, seeded(), p=0.4)
    grey = (changed != given).any(1)
    assert torch.equal(changed, torch.where(grey[:, None], pillow_grey(given), given))
    found = []
    for mask in grey[grey.flatten(1).any(1)].numpy():
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        tall, wide = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
        assert mask.sum() == tall * wide
        found.append((tall * wide / (height * width), tall / wide))
    share, aspect = np.array(found).T
    assert likely(len(found), 600, 0.4)
    assert 0.01 < share.min() < 0.06 and 0.33 < share.max() < 0.43
    assert aspect.min() > 0.24 and aspect.max() < 4.2  # 0.3 to 1 / 0.3, up to whole pixels
    assert likely((local_grayscale(given, seeded()) != given).flatten(1).any(1).sum(), 600, 0.2)  # as published


def test_jitter_is_torchvision_on_each_image() -> None:
    """By the documented draws: who, in which order, by how much."""
    given, widths = images(30), (0.3, 0.4, 0.5, 0.2)
    changed = color_jitter(given, seeded(5), p=0.7, brightness=0.3, contrast=0.4, saturation=0.5, hue=0.2)
    generator = seeded(5)
    who = torch.rand(30, generator=generator) < 0.7
    order = torch.rand(30, 4, generator=generator).argsort(1)
    low_high = [(1 - w, 1 + w) for w in widths[:3]] + [(-widths[3], widths[3])]
    draws = [torch.rand(30, generator=generator) for _ in widths]
    kernels = (tv.adjust_brightness, tv.adjust_contrast, tv.adjust_saturation, tv.adjust_hue)
    for i, image in enumerate(given):
        for k in order[i].tolist() if who[i] else []:
            low, high = low_high[k]
            image = kernels[k](image, float(low + (high - low) * draws[k][i]))
        assert (changed[i].int() - image.int()).abs().max() <= 1  # the last bit of a factor can tip a level
    assert len({tuple(each) for each in order.tolist()}) > 12


def test_jitter_factors_are_uniform() -> None:
    grey = torch.full((2000, 3, 2, 2), 100, dtype=torch.uint8)
    level = color_jitter(grey, seeded(), brightness=0.2, contrast=0)[:, 0, 0, 0].float()
    assert 79 <= level.min() <= 82 and 117 <= level.max() <= 120
    for edge in (90, 100, 110):
        assert likely((level < edge).sum(), 2000, (edge - 80) / 40)
    assert torch.equal(color_jitter(grey, seeded(), brightness=0, contrast=0), grey)
    darkest = color_jitter(grey, seeded(), brightness=3, contrast=0).min()
    assert darkest < 5  # factors from 0 on, never below
