"""Compare an exported ONNX file, run by onnxruntime, with the torch model that it was made from.

The file is treated as a stranger would: its images are prepared in NumPy by what its own metadata say, so that a wrong
mean or a swapped channel order there is found as surely as a wrong weight.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from reidlab.errors import UserError

__all__ = ["Check", "check_onnx", "rank_agreement"]

_NOISE = (5, 1, 3)  # random batches; one of a single image, for exporters like to take 1 for a constant
_BATCH = 16
_TIE = 1e-6  # cosines that differ by less are a matter of rounding


@dataclass(frozen=True)
class Check:
    """How far the embeddings of onnxruntime are from those of torch (float32 on the CPU, both).

    Attributes:
        n_noise: images of noise compared.
        n_images: real images compared.
        max_difference: the largest absolute difference of any number of any embedding.
        worst_cosine: the smallest cosine between both embeddings of an image.
        rank1: share of the real images whose nearest other image is the same; NaN with fewer than two.
        top10: the same for their ten nearest (all others where there are fewer), in any order. Images whose cosines
            differ by less than 1e-6 may stand for each other.
        onnx_speed, torch_speed: real images per second, in batches of 16; NaN without any.
    """

    n_noise: int
    n_images: int
    max_difference: float
    worst_cosine: float
    rank1: float
    top10: float
    onnx_speed: float
    torch_speed: float

    def within(self, tolerance: float) -> bool:
        """Return whether no value differs by more than `tolerance`; NaN counts as a difference."""
        return self.max_difference <= tolerance


def check_onnx(path: Path, model: nn.Module, images: Tensor | None = None, *, seed: int = 0) -> Check:
    """Compare a file that `export_onnx` wrote with its model on the same images: noise, and real ones if given.

    Args:
        path: the ONNX file.
        model: gives embeddings in eval mode, on the CPU, and has `.preprocess`.
        images: uint8 [image, 3, height, width] of the model's input size.
        seed: of the noise.

    Raises:
        UserError: the file is not one of ours or does not run, the images have another type or size, or the model's own
            embeddings are NaN or infinite.
    """
    session, facts = _open(path)
    size = (3, int(facts["height"]), int(facts["width"]))
    if images is not None and (images.dtype != torch.uint8 or images.dim() != 4 or tuple(images.shape[1:]) != size):
        given = f"{images.dtype} {list(images.shape)}"
        raise UserError(f"check images are {given}; expected uint8 [image, {', '.join(map(str, size))}].")
    generator = torch.Generator().manual_seed(seed)
    noise = [torch.randint(0, 256, (n, *size), generator=generator, dtype=torch.uint8) for n in _NOISE]
    pairs = [_both(session, facts, model, batch) for batch in noise]
    real = [] if images is None else [_both(session, facts, model, batch) for batch in images.split(_BATCH)]
    expected, found = (np.concatenate([pair[i] for pair in pairs + real]) for i in (0, 1))
    if not np.isfinite(expected).all():
        raise UserError("The model gives NaN or infinite values; its weights are damaged.")
    if expected.shape != found.shape:
        raise UserError(f"{path.name} gives embeddings {list(found.shape)}, the model {list(expected.shape)}.")
    cosines = (_unit(expected) * _unit(found)).sum(axis=1)
    n_noise = sum(_NOISE)
    n_real = len(expected) - n_noise
    torch_speed, onnx_speed = (n_real / sum(float(pair[i]) for pair in real) if real else math.nan for i in (2, 3))
    return Check(
        n_noise=n_noise,
        n_images=n_real,
        max_difference=float(np.abs(expected - found).max()),
        worst_cosine=float(cosines.min()),
        rank1=rank_agreement(expected[n_noise:], found[n_noise:], 1),
        top10=rank_agreement(expected[n_noise:], found[n_noise:], 10),
        onnx_speed=onnx_speed,
        torch_speed=torch_speed,
    )


def rank_agreement(expected: np.ndarray, found: np.ndarray, k: int) -> float:
    """Return the share of images whose k nearest others by `found` are k nearest by `expected` too, ties being equal.

    Args:
        expected, found: embeddings [image, dim], compared by cosine.
        k: how many; all others where there are fewer.
    """
    if len(expected) < 2:
        return math.nan
    k = min(k, len(expected) - 1)
    cosines, others = _cosines(expected), _cosines(found)
    chosen = np.argsort(-others, axis=1, kind="stable")[:, :k]
    limit = np.sort(cosines, axis=1)[:, -k] - _TIE
    return float((np.take_along_axis(cosines, chosen, axis=1) >= limit[:, None]).all(axis=1).mean())


def _cosines(embeddings: np.ndarray) -> np.ndarray:
    unit = _unit(embeddings)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -np.inf)  # nobody is a neighbour of their own
    return cosines


def _unit(embeddings: np.ndarray) -> np.ndarray:
    wide = embeddings.astype(np.float64)
    return wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12)


def _open(path: Path) -> tuple[Any, dict[str, Any]]:
    """Open a file of ours, and read its metadata."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors; warnings are about its own optimisations
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        facts = read_facts(session.get_modelmeta().custom_metadata_map)
        facts["height"], facts["width"], facts["mean"], facts["std"], facts["preprocess"]
    except Exception as error:  # the runtime has a dozen classes of its own, without a common base
        reason = f"no {error} in its metadata" if isinstance(error, KeyError) else str(error).splitlines()[0]
        raise UserError(f"{path} does not open as a model that reidlab exported ({reason}).") from error
    return session, facts


def read_facts(properties: Mapping[str, str]) -> dict[str, Any]:
    """Turn the metadata of a file, texts all, back into facts: what is not JSON is text."""
    facts: dict[str, Any] = {}
    for name, text in properties.items():
        try:
            facts[name] = json.loads(text)
        except ValueError:
            facts[name] = text
    return facts


def _both(
    session: Any, facts: Mapping[str, Any], model: nn.Module, images: Tensor
) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Return embeddings [batch, dim] of torch and of onnxruntime, and the seconds of both."""
    preprocess: Any = model.preprocess
    start = time.perf_counter()
    with torch.inference_mode():
        expected = model.eval()(preprocess(images)).float().numpy()
    middle = time.perf_counter()
    try:
        (found,) = session.run(["embeddings"], {"images": _prepared(images.numpy(), facts)})
    except Exception as error:  # as in `_open`
        raise UserError(f"The exported model does not run on {len(images)} images ({error}).") from error
    return expected, found, middle - start, time.perf_counter() - middle


def _prepared(images: np.ndarray, facts: Mapping[str, Any]) -> np.ndarray:
    """Make a file's input of uint8 [batch, 3, height, width], as its metadata say."""
    if facts["preprocess"] == "inside":
        return np.ascontiguousarray(images.transpose(0, 2, 3, 1))
    mean, std = (np.array(facts[name], np.float32).reshape(3, 1, 1) for name in ("mean", "std"))
    return (images.astype(np.float32) / np.float32(255) - mean) / std
