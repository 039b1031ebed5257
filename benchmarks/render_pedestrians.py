"""Time the drawing of `pedestrians`: python benchmarks/render_pedestrians.py [--images 2000] [--workers 2]."""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

from reidlab.pedestrians import PedestriansSpec, make_pedestrians
from reidlab.pedestrians.spec import pictures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=2000, help="about so many images")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--height", type=int, default=128)
    parser.add_argument("--width", type=int, default=64)
    args = parser.parse_args()
    persons = max(args.images // 15, 3)  # fifteen images a person: three in each of five cameras, on average
    spec = PedestriansSpec(
        n_train_ids=persons * 2 // 3,
        n_test_ids=persons - persons * 2 // 3,
        height=args.height,
        width=args.width,
        n_distractors=0,
        n_junk=0,
    )
    count = sum(1 for _ in pictures(spec))
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        make_pedestrians(Path(folder) / "pedestrians", spec, workers=args.workers)
        seconds = time.perf_counter() - start
    print(
        f"{count} images of {args.height} x {args.width} with masks, {args.workers} workers: "
        f"{seconds:.1f} s, {count / seconds:.0f} images/s"
    )


if __name__ == "__main__":
    main()
