"""The floor that a trained model has to beat: what a colour histogram, which learns nothing, scores."""

from __future__ import annotations

import numpy as np
import pandas as pd

from reidlab.data.images import decode_mask
from reidlab.data.pixels import PixelStore
from reidlab.paths import data_root
from reidlab.pedestrians import hsv_histogram
from reidlab.retrieval.metrics import evaluate
from reidlab.retrieval.outcome import RetrievalResult
from reidlab.retrieval.vectors import Embeddings

__all__ = ["histogram_floor", "over_floor"]

_SIZE = (128, 64)
WHOLE, PERSON = "histogram of the whole image", "histogram of the person alone (true masks)"


def histogram_floor(embeddings: Embeddings, *, max_images: int = 4000) -> pd.DataFrame:
    """Score HSV histograms (8 x 8 x 8 cells) on query and gallery: of the whole image and, with masks, of the person.

    Each is ranked by the cosine of the histograms and of their square roots (the Bhattacharyya coefficient); the better
    mAP counts. Of a split with more than `max_images` images every n-th is used, which flatters the floor.

    Returns:
        A frame with a row a floor: floor, mAP, rank1 (shares from 0 to 1).
    """
    parts = []
    for split in ("query", "gallery"):
        table = embeddings.split(split).table
        step = -(-len(table) // max_images)
        parts.append(table.iloc[::step].reset_index(drop=True))
    rows = [(WHOLE, _score(parts, masked=False))]
    if all("mask" in part and part["mask"].notna().all() for part in parts):
        rows.append((PERSON, _score(parts, masked=True)))
    return pd.DataFrame([(name, r.mean_ap, r.rank1) for name, r in rows], columns=["floor", "mAP", "rank1"])


def over_floor(result: RetrievalResult, floor: pd.DataFrame) -> str:
    """Return whether a model beats the best of the histograms, as a sentence; a warning where it does not."""
    score, name = max(zip(floor["mAP"], floor["floor"], strict=True))
    ours, theirs = f"mAP {result.mean_ap:.1%}", f"{score:.1%} of the {name}"
    if result.mean_ap > score:
        return f"The model is above the floor: {ours} against {theirs}."
    return (
        f"WARNING: the model is not above the floor: {ours} against {theirs}. Colours alone "
        "find people at least as well: train it longer or on more identities, and look at its losses in notebook 03."
    )


def _score(parts: list[pd.DataFrame], *, masked: bool) -> RetrievalResult:
    plain = [Embeddings(_histograms(part, masked), part) for part in parts]
    roots = [Embeddings(np.sqrt(side.vectors), side.table) for side in plain]
    return max((evaluate(*sides) for sides in (plain, roots)), key=lambda result: result.mean_ap)


def _histograms(table: pd.DataFrame, masked: bool) -> np.ndarray:
    store = PixelStore.build(table, data_root() / "cache" / "pixels", size=_SIZE, progress=False)
    images = np.stack([store.image(row) for row in range(store.n_images)])
    found = hsv_histogram(
        images, masks=np.stack([decode_mask(path, _SIZE) for path in table["mask"]]) if masked else None
    )
    # boxes without a person (distractors) have an empty mask: an even histogram has a direction and is near nobody
    found[found.sum(axis=1) == 0] = 1.0 / found.shape[1]
    return found
