"""Time every transform on a batch against torchvision on one image after another.

    python benchmarks/transforms.py [--batch 64] [--height 256] [--width 128] [--runs 7] [--threads 1]
        [--warm-up 12] [--device cpu]

"loop" is what a data loader does: torchvision.transforms.v2 on each image (draws from the global generator), stacked.
Runs of both alternate and the least time of each counts; on the CPU it is the processor's time, so that other work on
the machine matters little. The batch is in channels_last memory, as the pixel store gives it. "share" is ours as a part
of the time that a training at 400 images/s has for the batch. Policies are timed after some batches, since what shears
and turns move where is kept. Torchvision has no random patch; the loops of cutout and local grayscale are built of its
kernels.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import torch
import torchvision.transforms.v2 as tv
import torchvision.transforms.v2.functional as F
from torch import Tensor

from reidlab.data.transforms import TRANSFORMS

Change = Callable[[Tensor], Tensor]


def loops(height: int, width: int) -> dict[str, Change]:
    """Return torchvision's counterpart of each transform, for one image [3, height, width]."""
    erasing = tv.RandomErasing(p=1, scale=(0.02, 0.4), ratio=(0.3, 1 / 0.3))
    square, black = min(64, height, width), torch.zeros(3, 1, 1, dtype=torch.uint8)
    large, own = (round(1.125 * height), round(1.125 * width)), width / height

    def cutout(image: Tensor) -> Tensor:
        if torch.rand(()) > 0.5:
            return image
        top, left = (int(torch.randint(side - square + 1, ())) for side in (height, width))
        return F.erase(image, top, left, square, square, black)

    def local_grayscale(image: Tensor) -> Tensor:
        if torch.rand(()) > 0.2:
            return image
        part = {key: value for key, value in erasing.make_params([image]).items() if key in "ijhw"}
        grey = F.rgb_to_grayscale(F.crop(image, part["i"], part["j"], part["h"], part["w"]), 3)
        return F.erase(image, **part, v=grey)

    return {
        "resize": tv.Resize(large),
        "random_flip": tv.RandomHorizontalFlip(),
        "random_crop": tv.RandomCrop((height, width), padding=10),
        "random_2d_translation": tv.RandomApply([tv.Resize(large), tv.RandomCrop((height, width))]),
        "random_resized_crop": tv.RandomResizedCrop((height, width), scale=(0.5, 1), ratio=(0.75 * own, own / 0.75)),
        "random_erase": tv.RandomErasing(p=0.5, scale=(0.02, 0.4), ratio=(0.3, 1 / 0.3)),
        "cutout": cutout,
        "local_grayscale": local_grayscale,
        "global_grayscale": tv.RandomGrayscale(0.1),
        "color_jitter": tv.ColorJitter(0.2, 0.15),
        "auto_augment": tv.AutoAugment(),
        "rand_augment": tv.RandAugment(),
        "trivial_augment": tv.TrivialAugmentWide(),
        "aug_mix": tv.AugMix(),
    }


def one_by_one(change: Change | None, images: Tensor) -> Tensor | None:
    return torch.stack([change(image) for image in images]) if change is not None else None


def seconds(change: Callable[[], object], device: str) -> float:
    clock = time.process_time if device == "cpu" else time.perf_counter
    start = clock()
    change()
    if device == "cuda":
        torch.cuda.synchronize()
    return clock() - start


def alternating(ours: Callable[[], object], loop: Callable[[], object], runs: int, device: str) -> tuple[float, float]:
    """Return the least seconds of each."""
    pairs = [(seconds(ours, device), seconds(loop, device)) for _ in range(runs)]
    return min(pair[0] for pair in pairs), min(pair[1] for pair in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("batch", 64), ("height", 256), ("width", 128), ("runs", 7), ("threads", 1), ("warm-up", 12)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    generator = torch.Generator().manual_seed(0)
    shape = (given.batch, given.height, given.width, 3)
    images = torch.randint(256, shape, dtype=torch.uint8, generator=generator).permute(0, 3, 1, 2).to(given.device)
    counterparts = loops(given.height, given.width)
    print(
        f"{given.batch} x {given.height} x {given.width}, {given.device}, {given.threads} thread(s), {given.runs} runs"
    )
    print(f"{'transform':24}{'ours ms':>10}{'loop ms':>10}{'ratio':>8}{'share %':>9}")
    for name, entry in TRANSFORMS.items():
        options = {"size": (round(1.125 * given.height), round(1.125 * given.width))} if name == "resize" else {}
        whole = partial(entry.factory, images, generator, **options)
        loop = counterparts.get(name)
        for _ in range(given.warm_up if entry.facts["kind"] == "policy" else 1):
            whole()
        ours, theirs = alternating(whole, partial(one_by_one, loop, images), given.runs, given.device)
        share = 100 * ours * 400 / given.batch
        versus = f"{1e3 * theirs:10.1f}{theirs / ours:7.1f}x" if loop is not None else f"{'-':>10}{'-':>8}"
        print(f"{name:24}{1e3 * ours:10.1f}{versus}{share:9.1f}", flush=True)


if __name__ == "__main__":
    main()
