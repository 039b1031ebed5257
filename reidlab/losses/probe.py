"""What a loss does to a batch: its value, and where it would move every row."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from reidlab.errors import UserError
from reidlab.ids import as_ids
from reidlab.losses import LOSSES, build, takes_of
from reidlab.losses.center import CenterLoss
from reidlab.losses.feature_kd import FeatureKDLoss

__all__ = ["Probe", "ProbeBatch", "probe", "probe_all", "probe_table", "toy_batch"]

_NOT_PROBED = ("maps", "reconstruction", "means", "pair logits", "gates")  # not made of features
PROBED = tuple(entry.name for entry in LOSSES.own() if takes_of(entry.name)[0] not in _NOT_PROBED)
SCALE = 8.0  # of the cosines that stand for a classifier's logits


@dataclass(frozen=True)
class ProbeBatch:
    """A batch with everything that any loss needs.

    Attributes:
        features: [batch, dim].
        labels: [batch], 0..class-1.
        prototypes: unit vectors [class, dim]: the centres of the center loss and the weights of a classifier, whose
            logits are 8 times the products with the features.
        teacher: another model's features [batch, dim], for distillation.
    """

    features: Tensor
    labels: Tensor
    prototypes: Tensor
    teacher: Tensor

    @classmethod
    def of(cls, features: npt.ArrayLike, labels: npt.ArrayLike) -> ProbeBatch:
        """Make a batch of features [batch, dim] and identities [batch] of any kind, computed in float64.

        The features are L2-normalised, the prototypes the directions of the identities' means, and the teacher's are
        the features nine tenths of the way to their prototypes.

        Raises:
            UserError: shapes that do not fit, features that are no finite numbers, labels that are no identities.
        """
        try:
            given = np.asarray(features)
            if given.dtype.kind == "c":
                raise TypeError("complex")
            points = torch.from_numpy(given.astype(np.float64))
        except (TypeError, ValueError, OverflowError) as error:
            raise UserError(f"The features cannot be read as numbers [batch, dim] ({error}).") from error
        which = torch.from_numpy(np.unique(as_ids("labels", labels), return_inverse=True)[1])
        if points.ndim != 2 or which.shape != points.shape[:1] or not points.numel():
            shapes = f"{list(points.shape)} and {list(which.shape)}"
            raise UserError(f"A batch is features [batch, dim] and labels [batch]; got {shapes}.")
        if not points.isfinite().all():
            raise UserError("The features hold NaN or infinite numbers; their loss means nothing.")
        points = F.normalize(points, dim=1)
        sums = torch.zeros(int(which.max()) + 1, points.shape[1], dtype=points.dtype).index_add(0, which, points)
        prototypes = F.normalize(sums, dim=1)
        batch = cls(points, which, prototypes, points)
        return replace(batch, teacher=batch.towards(0.9).features)

    def towards(self, share: float) -> ProbeBatch:
        """Move every image this share of the way to its identity's prototype (0 to 1), as training does.

        Raises:
            UserError: a share below 0 or above 1.
        """
        if not 0 <= share <= 1:
            raise UserError(f"share={share} of the way must be in [0, 1].")
        moved = (1 - share) * self.features + share * self.prototypes[self.labels]
        return replace(self, features=F.normalize(moved, dim=1))


@dataclass(frozen=True)
class Probe:
    """One loss on one batch.

    Attributes:
        name: of the loss.
        value: of the loss.
        stats: what it reports.
        forces: minus its gradient, float64 [batch, dim]: where gradient descent moves each row.
    """

    name: str
    value: float
    stats: dict[str, float]
    forces: npt.NDArray[np.float64]

    @property
    def strengths(self) -> npt.NDArray[np.float64]:
        """Length of the force on each row."""
        strengths: npt.NDArray[np.float64] = np.linalg.norm(self.forces, axis=1)
        return strengths


def toy_batch(seed: int = 0, images: int = 4) -> ProbeBatch:
    """Draw three identities in the plane, in directions 120 degrees apart, each spread over about 90; lengths near 1.

    The last image of the first identity lies amid the second one: an outlier, or a wrong label. The teacher has the
    same images with a third of the spread (the outlier a third of the way off), at length 1.
    """
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(3), images)
    centres = np.pi / 2 + 2 * np.pi / 3 * np.arange(3)
    spread = np.tile(np.radians(np.linspace(-45, 45, images)), 3) + rng.normal(0, np.radians(5), len(labels))
    spread[images - 1] = np.radians(120)
    lengths = rng.normal(1, 0.1, (len(labels), 1)).clip(0.7, 1.3)
    points, taught, prototypes = (
        torch.from_numpy(np.stack([np.cos(angles), np.sin(angles)], axis=1))
        for angles in (centres[labels] + spread, centres[labels] + spread / 3, centres)
    )
    return ProbeBatch(points * torch.from_numpy(lengths), torch.from_numpy(labels), prototypes, taught)


def probe(name: str, batch: ProbeBatch, **options: Any) -> Probe:
    """Compute a loss and its gradient on a batch.

    Args:
        name: of a registered loss.
        batch: what it sees.
        options: of the loss; the sizes of center and feature_kd are filled in.

    Raises:
        UserError: as `reidlab.losses.build`.
    """
    if name in LOSSES and name not in PROBED:
        raise UserError(f"loss {name!r} sees {takes_of(name)[0]}, not features; choose from {', '.join(PROBED)}.")
    if name == "center":
        options = {"num_classes": len(batch.prototypes), "dim": batch.features.shape[1], **options}
    if name == "feature_kd":
        options = {"dim": batch.features.shape[1], "teacher_dim": batch.teacher.shape[1], **options}
    loss = build(name, **options)
    if isinstance(loss, CenterLoss):
        loss.centers.data = batch.prototypes.clone()
    if isinstance(loss, FeatureKDLoss):  # a layer that has nothing to turn
        loss.projector.weight.data = torch.eye(batch.features.shape[1], dtype=batch.features.dtype)
    features = batch.features.clone().requires_grad_()
    value = loss(*_given(name, features, batch))
    value.backward()
    assert features.grad is not None
    stats = {key: float(stat) for key, stat in loss.stats.items()}  # type: ignore[union-attr, operator]
    return Probe(name, float(value.detach()), stats, -features.grad.numpy())


def probe_all(batch: ProbeBatch, names: Iterable[str] = ()) -> dict[str, Probe]:
    """Probe losses with their default options: the named ones, or all that see a batch's features."""
    return {name: probe(name, batch) for name in (tuple(names) or PROBED)}


def probe_table(probes: dict[str, Probe]) -> pd.DataFrame:
    """Return one row per loss: value, active_share, gradient_norm (of the whole batch) and top_tenth.

    top_tenth is the share of the gradient, summed over rows, that falls on the tenth of the rows with most of it: 0.1
    where all rows move alike, 1 where few do.
    """
    rows = {}
    for name, found in probes.items():
        strengths = np.sort(found.strengths)[::-1]
        total, most = strengths.sum(), strengths[: max(1, round(len(strengths) / 10))].sum()
        rows[name] = {
            "value": found.value,
            "active_share": found.stats["active_share"],
            "gradient_norm": float(np.linalg.norm(found.forces)),
            "top_tenth": float(most / total) if total else 0.0,
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("loss")


def _given(name: str, features: Tensor, batch: ProbeBatch) -> tuple[Tensor, ...]:
    """Make the arguments of a loss."""
    first = takes_of(name)[0]
    if first == "anchors":
        positive, negative = _triplets(batch.labels)
        return features, features[positive], features[negative], batch.labels, batch.labels[negative]
    if first == "student features":
        return features, batch.teacher
    if first == "features":
        return features, batch.labels
    logits = SCALE * features @ batch.prototypes.T
    taught = (SCALE * batch.teacher @ batch.prototypes.T,) if first == "student logits" else ()
    return (logits, *taught, batch.labels) if takes_of(name)[-1] == "labels" else (logits, *taught)


def _triplets(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return per row the next image of its identity (itself, if it has one) and the next image of another identity."""
    count = len(labels)
    following = (torch.arange(count)[:, None] + torch.arange(1, count + 1)) % count
    same = labels[following] == labels[:, None]  # the last column is the row itself
    positive = following.gather(1, same.int().argmax(1, keepdim=True))
    negative = following.gather(1, (~same).int().argmax(1, keepdim=True))
    return positive[:, 0], negative[:, 0]
