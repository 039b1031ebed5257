"""Export what a user names, a training run above all, and compare it on images of its own data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from reidlab.data.pixels import decode
from reidlab.data.schema import load_table
from reidlab.errors import UserError, nearest
from reidlab.export import ExportReport, check_request, export_onnx
from reidlab.models import MODELS, build
from reidlab.paths import find, reports_root
from reidlab.stages.data import source_table
from reidlab.stages.models import ModelSource, model_from
from reidlab.store.runs import find_run, list_runs

__all__ = ["export_model", "find_source"]

_TOLD = ("recipe", "trained_on", "epochs", "seed")


def export_model(
    given: str,
    output: Path | None = None,
    *,
    preprocess: str = "inside",
    opset: int = 18,
    check_images: int = 64,
    tolerance: float = 1e-4,
    force: bool = False,
) -> tuple[ExportReport, str]:
    """Write a model as ONNX, compare it with torch, and say what real images it was compared on.

    Args:
        given: what notebook 04 takes (a training run, a saved model's folder, a weights file), or a registered name,
            which has random weights.
        output: the file; None: reports/onnx/NAME.onnx.
        preprocess, opset, tolerance, force: as `export_onnx` takes them.
        check_images: how many real images to compare on: of the data set that a run was trained on where its images are
            still there, else of the built-in one (drawn first where it is missing).

    Raises:
        UserError: nothing of that name is there, or as `export_onnx`.
    """
    if check_images < 0:
        raise UserError(f"check_images={check_images} must be 0 or more.")
    source = find_source(given)
    path = output or reports_root() / "onnx" / f"{source.label}.onnx"
    check_request(path, preprocess=preprocess, opset=opset, force=force)
    model: Any = source.load()
    images, dataset = None, ""
    if check_images:
        images, dataset = _images(source, (model.preprocess.height, model.preprocess.width), check_images)
    about: dict[str, Any] = {"name": source.label, "digest": source.digest}
    about |= {name: source.facts[name] for name in _TOLD if source.facts.get(name) not in (None, "")}
    if source.notes:
        about["notes"] = list(source.notes)
    options: dict[str, Any] = {"preprocess": preprocess, "opset": opset, "tolerance": tolerance, "force": force}
    return export_onnx(model, path, images=images, about=about, **options), dataset


def find_source(given: str) -> ModelSource:
    """Find a model as notebook 04 does, or take a registered name for one with random weights.

    Raises:
        UserError: neither is there.
    """
    if given in MODELS and not find(given).exists():
        note = "random weights of seed 0: good for trying a runtime, not for recognising people"
        return ModelSource(given, "", lambda: _random(given), {}, (note,))
    try:
        return model_from(given)
    except UserError as error:
        hint = nearest(given, MODELS)
        raise UserError(f"{error}{' Among the registered models:' + hint if hint else ''}") from error


def _random(name: str) -> nn.Module:
    """Build a model with the same random weights at every call, and leave torch's generator as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build(name).eval()


def _images(source: ModelSource, size: tuple[int, int], n: int) -> tuple[Tensor, str]:
    """Decode images of the model's data set, uint8 [image, 3, height, width], and name it."""
    table, dataset = _own_table(source), str(source.facts.get("trained_on", ""))
    if table is None:
        table, dataset = source_table("pedestrians"), "pedestrians"
    test = table[table["split"].isin(["query", "gallery"])]
    paths = (test if len(test) else table)["path"].to_numpy()
    chosen = np.unique(np.linspace(0, len(paths) - 1, min(n, len(paths))).round().astype(int))
    pixels = np.stack([decode(path, size) for path in paths[chosen]])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(), dataset


def _own_table(source: ModelSource) -> pd.DataFrame | None:
    """Return the table that a training run was made from; None where it, or its first image, is not there any more."""
    if not source.facts.get("trained_on"):
        return None
    wanted = set(find_run(source.digest).manifest["inputs"])
    for run in list_runs("data"):
        if wanted & set(run.result.get("provides", [])):
            table = load_table(run.file("table.parquet"))
            if len(table) and Path(table["path"].iloc[0]).is_file():
                return table
    return None
