"""Training speed, rung by rung: plain, channels_last, bfloat16, fused optimiser, depthwise gradients, compiled.

    python benchmarks/train_speed.py [--models custom_cnn_v32 osnet_x0_25 ...] [--size 256 128] [--batch 64] [--steps 8]

The rungs run in turn, several rounds, so that a drift of the machine touches all of them; medians and ratios. Training
stands on the rung "depthwise", or on "compiled" where a recipe says `compile: true`.
"""

from __future__ import annotations

import argparse
import statistics
import time
from contextlib import nullcontext
from typing import Any

import torch

from reidlab import devices
from reidlab.models import Output, build
from reidlab.training.depthwise import fast_depthwise
from reidlab.training.objective import Objective
from reidlab.training.recipes import LossTerm

TERMS = (
    LossTerm(name="cross_entropy", feature="logits"),
    LossTerm(name="triplet", feature="after", options={"normalize": True}),
)
SPECS: dict[str, dict[str, Any]] = {"custom_cnn_v32": {"neck": "bnneck", "embedding": "concat", "dropout": 0.0}}
BFLOAT16 = devices.plan("cpu", "bfloat16")
RUNGS = ("plain", "channels_last", "bfloat16", "fused", "depthwise", "compiled")  # each with all that stands before it


class Rung:
    """One way to run a training step."""

    def __init__(self, name: str, size: tuple[int, int] | None, batch: int, height: int) -> None:
        torch.manual_seed(0)
        layout = torch.channels_last if height >= 1 else torch.contiguous_format
        spec = {"name": name, **SPECS.get(name, {"neck": "bnneck"})}
        if size is not None:
            spec |= {"height": size[0], "width": size[1]}
        self.model = build(spec, num_classes=751).to(memory_format=layout).train()
        self.call = torch.compile(self.model) if height >= 5 else self.model
        self.redirected = height >= 4
        self.size = (self.model.preprocess.height, self.model.preprocess.width)
        self.images = torch.rand(batch, 3, *self.size).contiguous(memory_format=layout)
        self.labels = torch.arange(batch) // 4
        self.objective, self.bfloat16 = Objective(TERMS), height >= 2
        learning = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(learning, lr=1e-4, fused=height >= 3)

    def step(self) -> float:
        """Train on one batch; give the seconds."""
        began = time.perf_counter()
        around = fast_depthwise(BFLOAT16) if self.redirected else nullcontext()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16), around:
            output = self.call(self.images)
        self.objective(Output(*output), self.labels).backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return time.perf_counter() - began


def measure(name: str, size: tuple[int, int] | None, batch: int, steps: int) -> None:
    """Print the ladder of one model."""
    rungs = {label: Rung(name, size, batch, height) for height, label in enumerate(RUNGS)}
    for rung in rungs.values():
        rung.step(), rung.step()  # compilation and warm-up
    seconds: dict[str, list[float]] = {label: [] for label in rungs}
    for _ in range(steps):
        for label, rung in rungs.items():
            seconds[label].append(rung.step())
    plain = statistics.median(seconds["plain"])
    high, wide = rungs["plain"].size
    print(f"{name} at {high}x{wide}, batch {batch}")
    for label, times in seconds.items():
        middle = statistics.median(times)
        print(f"  {'+ ' if label != 'plain' else ''}{label:16} {batch / middle:7.0f} img/s   x{plain / middle:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["custom_cnn_v32", "osnet_x0_25", "tf_efficientnet_lite0"])
    parser.add_argument("--size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"), help="default: the model's own")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=8, help="counted steps of each rung")
    given = parser.parse_args()
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}; each rung with all above it")
    for name in given.models:
        measure(name, tuple(given.size) if given.size else None, given.batch, given.steps)


if __name__ == "__main__":
    main()
