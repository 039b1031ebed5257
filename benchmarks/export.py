"""Export models of every family as ONNX and compare them with torch: a table in Markdown.

    python benchmarks/export.py [NAME ...] [--images 24]

Without names one model of each family, at its own input size, on images of the built-in data set. Weights are random;
what begins as zero (gates, last norms of residual branches) gets small values and the norms get statistics of the
images, so that every part of the graph has something to do. Columns: size of the file, largest difference of any number
of an embedding, smallest cosine, share of images whose nearest and ten nearest others are torch's.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from reidlab.data.pixels import decode
from reidlab.errors import UserError
from reidlab.export import export_onnx
from reidlab.models import build
from reidlab.stages.data import source_table

AGW = {"name": "resnet50", "attention": "non_local", "pooling": "gem_learnable", "neck": "bnneck"}
SPECS: dict[str, Any] = {
    "custom_cnn_v32, all parts": {"name": "custom_cnn_v32", "embedding": "concat", "neck": "bnneck"},
    **{name: name for name in ("osnet_x1_0", "osnet_x0_25", "osnet_ibn_x1_0", "osnet_ain_x1_0")},
    **{name: name for name in ("lightmbn", "lightmbn_gc_gem", "plr_osnet", "pcb", "mgn", "fpb", "transreid")},
    "resnet50": "resnet50",
    "resnet50, non_local, gem_learnable": AGW,
    "resnet50, cbam, stripes": {"name": "resnet50", "attention": "cbam", "pooling": {"name": "stripes", "parts": 6}},
    **{name: name for name in ("resnet50_ibn_a", "seresnet50", "resnext50_32x4d", "resnet50d", "resnest50d")},
    **{name: name for name in ("efficientnet_b0", "efficientnet_lite0", "tf_efficientnet_lite0")},
    **{name: name for name in ("mobilenetv3_large_100", "mobilenetv2_100", "densenet121", "vgg16_bn")},
    **{name: name for name in ("swin_tiny", "vit_small")},
}


def awake(spec: Any, pixels: Tensor) -> Any:
    """Build a model whose every part does something."""
    torch.manual_seed(0)
    model: Any = build(spec)
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.dim() <= 1 and not parameter.any():
            nn.init.uniform_(parameter, -0.5, 0.5)
    with torch.no_grad():
        model.train()(model.preprocess(pixels[:8]))
    return model.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="registered models; default: one of each family")
    parser.add_argument("--images", type=int, default=24)
    given = parser.parse_args()
    table = source_table("pedestrians")
    paths = table.loc[table["split"].isin(["query", "gallery"]), "path"].to_numpy()
    paths = paths[np.linspace(0, len(paths) - 1, given.images).round().astype(int)]
    print(
        "| model | input | MB | difference | cosine | nearest | ten nearest |\n|---|---|---|---|---|---|---|",
        flush=True,
    )
    for name, spec in ({name: name for name in given.names} or SPECS).items():
        how: Any = build(spec).preprocess
        size = (how.height, how.width)
        pixels = torch.from_numpy(np.stack([decode(path, size) for path in paths])).permute(0, 3, 1, 2).contiguous()
        with tempfile.TemporaryDirectory() as folder:
            try:
                report = export_onnx(awake(spec, pixels), Path(folder) / "model.onnx", images=pixels)
            except UserError as error:
                print(f"| {name} | {size[0]} x {size[1]} | {error} |", flush=True)
                continue
        check = report.check
        numbers = f"{check.max_difference:.1e} | {check.worst_cosine:.7f} | {check.rank1:.1%} | {check.top10:.1%}"
        print(f"| {name} | {size[0]} x {size[1]} | {report.megabytes:.1f} | {numbers} |", flush=True)


if __name__ == "__main__":
    main()
