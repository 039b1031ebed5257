"""Training speed of a model, step by step up the ladder: plain, channels_last, bfloat16, compiled.

    python benchmarks/train_speed.py [--model custom_cnn_v32] [--batch 64] [--steps 8]

The rungs run in turn, several rounds, so that a drift of the machine touches all of them; medians and ratios.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from reidlab.models import Output, build
from reidlab.training.objective import Objective
from reidlab.training.recipes import LossTerm

TERMS = (
    LossTerm(name="cross_entropy", feature="logits"),
    LossTerm(name="triplet", feature="after", options={"normalize": True}),
)
RUNGS = {
    "plain": (False, False, False),
    "channels_last": (True, False, False),
    "channels_last + bfloat16": (True, True, False),
    "channels_last + bfloat16 + compile": (True, True, True),
}


class Rung:
    """One way to run a training step."""

    def __init__(self, name: str, batch: int, channels_last: bool, bfloat16: bool, compiled: bool) -> None:
        torch.manual_seed(0)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        spec = {"name": name, "neck": "bnneck", "embedding": "concat"}
        self.model = build(spec, num_classes=751).to(memory_format=layout).train()
        self.call = torch.compile(self.model) if compiled else self.model
        size = self.model.preprocess
        self.images = torch.rand(batch, 3, size.height, size.width).contiguous(memory_format=layout)
        self.labels = torch.arange(batch) // 4
        self.objective, self.bfloat16 = Objective(TERMS), bfloat16
        self.optimizer = torch.optim.AdamW([p for p in self.model.parameters() if p.requires_grad], lr=1e-4)

    def step(self) -> float:
        """Train on one batch; give the seconds."""
        began = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
            output = self.call(self.images)
        self.objective(Output(*output), self.labels).backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="custom_cnn_v32")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=8, help="counted steps of each rung")
    given = parser.parse_args()
    rungs = {name: Rung(given.model, given.batch, *flags) for name, flags in RUNGS.items()}
    for rung in rungs.values():
        rung.step(), rung.step()  # compilation and warm-up
    seconds: dict[str, list[float]] = {name: [] for name in rungs}
    for _ in range(given.steps):
        for name, rung in rungs.items():
            seconds[name].append(rung.step())
    plain = statistics.median(seconds["plain"])
    print(f"{given.model}, batch {given.batch}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    for name, times in seconds.items():
        middle = statistics.median(times)
        print(f"{name:36} {given.batch / middle:7.0f} img/s   x{plain / middle:.2f}")


if __name__ == "__main__":
    main()
