"""Run a model over many images."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float32, Int
from torch import nn

from reidlab.data.pixels import PixelStore
from reidlab.data.transforms import Preprocess
from reidlab.devices import ComputePlan
from reidlab.errors import UserError
from reidlab.progress import bar

__all__ = ["embed_rows", "fitting_batch_size", "free_memory"]

_BYTES_PER_PIXEL = 600  # activations of a small CNN at its widest, float32; measured 400-550 for the custom CNN


def free_memory(device: torch.device) -> int:
    """Return the bytes that are free where a device computes: a GPU's own, else the machine's."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    import psutil

    return int(psutil.virtual_memory().available)


def fitting_batch_size(preprocess: Preprocess, available_bytes: int) -> int:
    """Choose a batch by memory: at most a fifth of what is free, between 8 and 512 images."""
    per_image = preprocess.height * preprocess.width * _BYTES_PER_PIXEL
    return int(np.clip(available_bytes // 5 // per_image, 8, 512))


def embed_rows(
    model: nn.Module,
    pixels: PixelStore,
    rows: Int[np.ndarray, " row"],
    compute: ComputePlan,
    *,
    flip: bool = False,
    batch_size: int | None = None,
    progress: bool = False,
) -> Float32[np.ndarray, "row dim"]:
    """Return embeddings float32 [row, dim] of the store's `rows`, in their order, with the model in eval mode.

    Args:
        model: gives embeddings in eval mode and has `.preprocess`; its training flag is put back afterwards.
        pixels: uint8 images.
        rows: row numbers of the store.
        compute: device and precision.
        flip: add the mirrored image's embedding and L2-normalise the sum.
        batch_size: None chooses by the device's free memory.
        progress: show a bar.

    Raises:
        UserError: the model gives NaN or infinite values, or batch_size is below 1.
    """
    if batch_size is not None and batch_size < 1:
        raise UserError(f"batch_size={batch_size} must be 1 or more, or None to choose by free memory.")
    preprocess: Preprocess = model.preprocess  # type: ignore[assignment]
    size = batch_size or fitting_batch_size(preprocess, free_memory(compute.device))
    was_training = model.training
    model.eval()
    parts: list[np.ndarray] = []
    try:
        starts = range(0, len(rows), size)
        with torch.inference_mode(), compute.autocast():
            for start in bar(starts, total=len(starts), desc="embedding", unit="batch", disable=not progress):
                images = preprocess(compute.place(pixels.batch(rows[start : start + size])))
                images = images.contiguous(memory_format=compute.memory_format)
                vectors = model(images).float()
                if flip:
                    vectors = torch.nn.functional.normalize(vectors + model(images.flip(3)).float(), dim=1)
                parts.append(vectors.cpu().numpy())
    finally:
        model.train(was_training)
    found = np.concatenate(parts) if parts else np.zeros((0, getattr(model, "dim", 0)), np.float32)
    if not np.isfinite(found).all():
        bad = int(np.flatnonzero(~np.isfinite(found).all(axis=1))[0])
        raise UserError(
            f"The model gives NaN or infinite values (first at row {int(rows[bad])}); its weights are damaged."
        )
    return found
