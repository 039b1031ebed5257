"""Embedding speed from JPEG to vector: each engine and precision against a plain forward loop, in one run.

    python benchmarks/embed.py [--models osnet_x1_0 resnet50] [--images 192] [--engines torch:float32 openvino:bfloat16]
                               [--torchreid CHECKOUT] [--folder FOLDER] [--threads 2]

The plain loop does what torchreid's FeatureExtractor does: Pillow decodes, torchvision resizes and normalises, one file
after the other, and the model takes a batch of them. With --torchreid, a checkout of
https://github.com/KaiyangZhou/deep-person-reid, its FeatureExtractor runs as well and ratios are to it. Files are of
the built-in data set (128 x 64 pixels, JPEG of quality 90; models take 256 x 128), or those of a folder. All ways run
in turn, and the fastest of their rounds counts, in images per second; preparation is not in it and stands beside.
Cosines are means, to the plain loop. Weights are random: norms have the statistics of the images.

To see what a CPU without AVX-512 would do: ONEDNN_MAX_CPU_ISA=AVX2 DNNL_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2
before the command (onnxruntime does not look at them).

Where other work goes on beside, the time of the processor says more than the clock: images per second of one core's
time count everything that is done for an image, decoding included; take --threads 1 then, since threads that wait for
each other use time too.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
import time
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torchvision import transforms

from reidlab.data.images import decode
from reidlab.data.streaming import PixelStream
from reidlab.errors import UserError
from reidlab.models import build
from reidlab.models.engines import ENGINES, Job, missing_packages
from reidlab.models.engines.choice import ready
from reidlab.models.inference import embed_rows
from reidlab.stages.data import source_table

SIZE = (256, 128)
Loop = Callable[[Sequence[str]], np.ndarray]
OF_TORCH = ("float32", "bfloat16")
EVERY = [f"{name}:{each}" for name, entry in ENGINES.items() for each in entry.facts.get("precisions", OF_TORCH)]


def model_of(name: str, files: Sequence[str]) -> nn.Module:
    """Build a model whose norms have the statistics of images."""
    torch.manual_seed(0)
    model: Any = build({"name": name, "height": SIZE[0], "width": SIZE[1]})
    pixels = torch.from_numpy(np.stack([decode(file, SIZE) for file in files])).permute(0, 3, 1, 2)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = None  # the mean of what was seen
    with torch.no_grad():
        model.train()(model.preprocess(pixels))
    return model.eval()


def plain(model: Any, size: int) -> Loop:
    """Return the loop that everybody writes."""
    how = model.preprocess
    normal = transforms.Normalize(how.mean, how.std)
    prepared = transforms.Compose([transforms.Resize(SIZE), transforms.ToTensor(), normal])

    def loop(files: Sequence[str]) -> np.ndarray:
        found = []
        for start in range(0, len(files), size):
            batch = torch.stack([prepared(Image.open(file).convert("RGB")) for file in files[start : start + size]])
            with torch.no_grad():
                found.append(model(batch))
        return torch.cat(found).numpy()

    return loop


def of_torchreid(checkout: Path, name: str, size: int) -> Loop:
    """Return the loop over torchreid's FeatureExtractor, which takes a list of files as one batch."""
    sys.path.insert(0, str(checkout))
    for module in ("cv2", "gdown", "h5py"):  # imported for figures, downloads and CUHK03: nothing of this
        if module not in sys.modules and importlib.util.find_spec(module) is None:
            sys.modules.setdefault(module, types.ModuleType(module))
    from torchreid.models import build_model
    from torchreid.utils import FeatureExtractor

    with tempfile.NamedTemporaryFile(suffix=".pth") as file:
        torch.save(build_model(name, num_classes=1, pretrained=False).state_dict(), file.name)
        extractor = FeatureExtractor(name, file.name, image_size=SIZE, device="cpu", verbose=False)
    return lambda files: torch.cat(
        [extractor(list(files[start : start + size])) for start in range(0, len(files), size)]
    ).numpy()


def of_engine(model: Any, engine: str, precision: str, files: Sequence[str]) -> tuple[Loop, float]:
    """Return the loop of `embed` with an engine, and the seconds of its preparation."""
    with PixelStream(files[:: max(1, len(files) // 64)], SIZE) as some:
        sample = some.batch(range(some.n_images))
    began = time.perf_counter()
    job = Job("cpu", precision, None, lambda: sample[::2], lambda: sample[1::2])
    prepared = ready(model, engine, job, len(files)).prepared
    seconds = time.perf_counter() - began

    def loop(files: Sequence[str]) -> np.ndarray:
        with PixelStream(files, SIZE) as stream:
            size = prepared.batch_size or 64
            rows = np.arange(len(files))
            return embed_rows(prepared.module, stream, rows, prepared.compute, batch_size=size)  # type: ignore[arg-type]

    return loop, seconds


def cosine(found: np.ndarray, expected: np.ndarray) -> float:
    n = min(len(found), len(expected))
    return float(torch.cosine_similarity(torch.from_numpy(found[:n]), torch.from_numpy(expected[:n])).mean())


def measure(name: str, files: Sequence[str], given: argparse.Namespace) -> None:
    """Print the rows of one model; all ways run in turn, several rounds, so that what else goes on touches all."""
    model, few = model_of(name, files[:64]), files[: max(32, len(files) // 6)]
    ways: dict[str, tuple[Loop, Sequence[str], str]] = {
        f"plain loop, batch {size}": (plain(model, size), few, "") for size in (32, 1)
    }
    if given.torchreid is not None:
        ways["torchreid FeatureExtractor, lists of 32"] = of_torchreid(given.torchreid, name, 32), few, ""
    for each in given.engines:
        engine, precision = each.split(":")
        if not missing_packages(engine):
            try:
                loop, seconds = of_engine(model, engine, precision, files)
            except UserError as error:  # int8 too far from float32
                print(f"{name}, {each}: {error}", flush=True)
                continue
            ways[f"embed, {engine}, {precision}"] = loop, few if engine == "torch" else files, f"{seconds:.0f} s"
    paces, busy, found = dict.fromkeys(ways, 0.0), dict.fromkeys(ways, 0.0), dict[str, np.ndarray]()
    for loop, *_ in ways.values():
        loop(files[:8])  # warm
    for _ in range(given.rounds):
        for label, (loop, chosen, _) in ways.items():
            began, spent = time.perf_counter(), time.process_time()
            found[label] = loop(chosen)
            paces[label] = max(paces[label], len(chosen) / (time.perf_counter() - began))
            busy[label] = max(busy[label], len(chosen) / (time.process_time() - spent))
    base, *_ = ways  # of cosines; of ratios, torchreid where it runs
    slowest = next((label for label in ways if label.startswith("torchreid")), base)
    for label, (_, _, prepared) in ways.items():
        near = f"{cosine(found[label], found[base]):.5f}" if label.startswith("embed") else ""
        print(
            f"| {name} | {label} | {paces[label]:.1f} | {paces[label] / paces[slowest]:.1f} | {busy[label]:.1f} | "
            f"{busy[label] / busy[slowest]:.1f} | {near} | {prepared} |",
            flush=True,
        )


def built_in(folder: Path, n: int) -> list[str]:
    """Write images of the built-in data set as JPEG."""
    table, files = source_table("pedestrians"), []
    for i in range(n):
        files.append(str(folder / f"{i}.jpg"))
        Image.fromarray(decode(table["path"][i % len(table)], (128, 64))).save(files[-1], quality=90)
    return files


def some_files(folder: Path, n: int) -> list[str]:
    """Return JPEG files from all over a folder."""
    found = sorted(map(str, folder.rglob("*.jpg")))
    return found[:: max(1, len(found) // n)][:n]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["osnet_x1_0", "resnet50"])
    parser.add_argument("--engines", nargs="+", default=EVERY, metavar="ENGINE:PRECISION")
    parser.add_argument("--images", type=int, default=192)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--torchreid", type=Path, help="a checkout of deep-person-reid")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--folder", type=Path, help="JPEG files of your own, at their own size")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as folder:
        files = some_files(given.folder, given.images) if given.folder else built_in(Path(folder), given.images)
        print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, {len(files)} images")
        against = "torchreid" if given.torchreid else "plain loop"
        print(
            f"| model | JPEG to vector | images/s | x {against} | images per core's second | x {against} | cosine |",
            end="",
        )
        print(" preparation |\n|---|---|---|---|---|---|---|---|")
        for name in given.models:
            measure(name, files, given)


if __name__ == "__main__":
    main()
