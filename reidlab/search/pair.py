"""Compare two images: the same person or not, and how sure one can be."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from reidlab.retrieval.checks import check_real
from reidlab.search.files import find_images
from reidlab.search.searching import UNCALIBRATED, check_readable, opened
from reidlab.stages.calibration import calibration_of

__all__ = ["Comparison", "compare"]


@dataclass(frozen=True)
class Comparison:
    """What two images are to each other.

    Attributes:
        similarity: cosine of their embeddings, -1 to 1.
        probability: that both show one person, at a prior of 0.5; None without a calibration, as the following.
        false_accept_rate: share of pairs of different people that are at least as similar.
        threshold: similarity from which on they count as the same.
        same: whether the similarity reaches it.
        rate: the false-accept rate that the threshold stands for.
        model: the model's name.
        notes: what a reader has to know.
    """

    similarity: float
    probability: float | None
    false_accept_rate: float | None
    threshold: float | None
    same: bool | None
    rate: float
    model: str
    notes: tuple[str, ...] = ()

    def sentence(self) -> str:
        """Return the answer in a sentence or two."""
        if self.same is None:
            return f"Similarity {self.similarity:.3f} (cosine). {UNCALIBRATED}"
        answer = "The same person" if self.same else "Not enough for the same person"
        return (
            f"{answer}, at a false-accept rate of {self.rate:.3g}: similarity {self.similarity:.3f} (cosine), "
            f"threshold {self.threshold:.3f}. Of pairs of different people a share of {self.false_accept_rate:.2g} is "
            f"at least as similar. If half of all pairs asked about show one person, this one does with probability "
            f"{self.probability:.2f}."
        )


def compare(
    first: str | os.PathLike[str],
    second: str | os.PathLike[str],
    *,
    model: str = "small",
    rate: float = 0.01,
    **options: Any,
) -> Comparison:
    """Compare two image files.

    Args:
        first: an image.
        second: another.
        model: small, a training run, the folder of a saved model, or NAME:FILE.
        rate: false-accept rate at which to decide; raised to what the calibration's pairs can show, with a note.
        options: device, precision, ... of `reidlab.search.searching.opened`.

    Raises:
        UserError: a file is missing or no image, or there is no such model.
    """
    rate = check_real("rate", rate, 0, 0.5, open_ends=True)
    use = opened(model, **{"progress": False, **options})
    named = {"first": first, "second": second}
    sides = [check_readable(name, use.embed(find_images(path, name))) for name, path in named.items()]
    units = [side.vectors[0] / np.linalg.norm(side.vectors[0]) for side in sides]
    similarity = float(np.clip(units[0] @ units[1], -1, 1))
    same_bytes = ("The two files hold the same bytes.",) if sides[0].digests == sides[1].digests else ()
    calibration = calibration_of(use.source)
    notes = (*same_bytes, *use.source.notes)
    if calibration is None:
        return Comparison(similarity, None, None, None, None, rate, use.source.label, notes)
    if rate < calibration.lowest_rate:
        notes = (f"So few pairs show no rate below {calibration.lowest_rate:.2g}, which is used.", *notes)
        rate = calibration.lowest_rate
    threshold = calibration.threshold(rate)[0]
    return Comparison(
        similarity,
        calibration.probability(similarity),
        calibration.false_accept_rate(similarity),
        threshold,
        similarity >= threshold,
        rate,
        use.source.label,
        (*notes, f"Calibration: {calibration.sentence()}."),
    )
