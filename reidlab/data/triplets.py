"""Triplets: anchor, positive, negative rows of an image table, made once with a seed and kept as a table.

Columns of a triplet table: anchor, positive, negative (int64 rows of the image table), anchor_pid, negative_pid,
strategy.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from reidlab.errors import UserError, nearest

__all__ = ["ROLES", "STRATEGIES", "Triplets", "make_triplets"]

ROLES = ("anchor", "positive", "negative")
STRATEGIES = {
    "random": "a random other image of the identity, a random image of a random other identity",
    "same_camera_negative": "positive from another camera where there is one, negative from the anchor's own camera",
    "hard": "by a given embedding: the farthest positive and the nearest negative",
}
_BLOCK = 1024  # anchors whose distances are held at once


@dataclass(frozen=True)
class Triplets:
    """A triplet table and what was left out.

    Attributes:
        frame: the table (see the module's first lines).
        skipped: pid and number of images of every identity that cannot be an anchor (fewer than two images).
        fallbacks: anchors whose strategy had no candidate (no negative in the camera, say) and fell back to random.
    """

    frame: pd.DataFrame
    skipped: pd.DataFrame
    fallbacks: int

    def __len__(self) -> int:
        return len(self.frame)

    def __repr__(self) -> str:
        return (
            f"Triplets({len(self.frame)} triplets, {len(self.skipped)} identities skipped, {self.fallbacks} fallbacks)"
        )

    @property
    def digest(self) -> str:
        """Digest of the rows, as an input of stages that train on them."""
        return hashlib.sha256(self.rows.tobytes()).hexdigest()

    @property
    def rows(self) -> np.ndarray:
        """Rows of anchors, positives and negatives, int64 [triplet, 3]."""
        return self.frame[list(ROLES)].to_numpy(np.int64)

    def within(self, rows: np.ndarray) -> Triplets:
        """Return triplets of a part of a table as triplets of the table: `rows` are the part's rows in it."""
        frame = self.frame.assign(**dict(zip(ROLES, rows[self.rows].T)))
        return Triplets(frame, self.skipped, self.fallbacks)

    def save(self, folder: Path) -> None:
        """Write triplets.parquet and skipped.parquet into an existing folder."""
        self.frame.to_parquet(folder / "triplets.parquet")
        self.skipped.to_parquet(folder / "skipped.parquet")
        (folder / "fallbacks.txt").write_text(f"{self.fallbacks}\n")

    @classmethod
    def load(cls, folder: Path) -> Triplets:
        """Read what `save` wrote.

        Raises:
            UserError: the folder holds no triplets.
        """
        try:
            frame = pd.read_parquet(folder / "triplets.parquet")
            skipped = pd.read_parquet(folder / "skipped.parquet")
            return cls(frame, skipped, int((folder / "fallbacks.txt").read_text()))
        except (OSError, ValueError) as error:
            raise UserError(
                f"{folder.name} holds no readable triplets ({error}). Make them with notebook 02."
            ) from error


def make_triplets(
    table: pd.DataFrame,
    *,
    strategy: str = "random",
    seed: int = 0,
    per_anchor: int = 1,
    embeddings: np.ndarray | None = None,
) -> Triplets:
    """Draw `per_anchor` triplets for every image whose identity has at least two images.

    Args:
        table: image table, usually the train split; junk rows (pid -1) and distractors are never used.
        strategy: one of `STRATEGIES`.
        seed: integer of 0 or more; the same table, strategy and seed give the same triplets.
        per_anchor: 1 or more; for "hard" the 1st, 2nd, ... hardest.
        embeddings: float [image, dim] beside the table, for "hard" only.

    Raises:
        UserError: unknown strategy, fewer than two identities, no identity with two images, a missing camera column
            or missing embeddings where the strategy needs them.
    """
    _check(table, strategy, seed, per_anchor, embeddings)
    pids = table["pid"].to_numpy()
    usable = ~np.isin(pids.astype(str), ["-1"])
    if "distractor" in table:
        usable &= ~table["distractor"].to_numpy(dtype=bool, na_value=False)
    rows = np.flatnonzero(usable)
    codes = np.full(len(table), -1)
    codes[rows], names = pd.factorize(pids[rows], sort=True)
    counts = np.bincount(codes[rows], minlength=len(names)) if len(rows) else np.zeros(0, int)
    if len(names) < 2 or not (counts >= 2).any():
        raise UserError(
            f"Triplets need two identities and one with two images; the table has {len(names)} identities, "
            f"the largest with {counts.max(initial=0)} images."
        )
    anchors = np.repeat(rows[counts[codes[rows]] >= 2], per_anchor)
    rng = np.random.default_rng(seed)
    if strategy == "hard":
        assert embeddings is not None
        positives, negatives = _hard(np.asarray(embeddings), rows, codes, anchors, per_anchor)
        fallbacks = 0
    else:
        cameras = pd.factorize(table["camid"])[0] if strategy == "same_camera_negative" else None
        positives, negatives, fallbacks = _draw(rows, codes, anchors, cameras, rng)
    frame = pd.DataFrame(dict(zip(ROLES, (anchors, positives, negatives))))
    frame["anchor_pid"], frame["negative_pid"] = pids[anchors], pids[negatives]
    frame["strategy"] = strategy
    skipped = pd.DataFrame({"pid": np.asarray(names)[counts < 2], "n_images": counts[counts < 2]})
    return Triplets(frame, skipped, fallbacks)


def _check(table: pd.DataFrame, strategy: str, seed: int, per_anchor: int, embeddings: Any) -> None:
    if strategy not in STRATEGIES:
        known = ", ".join(STRATEGIES)
        raise UserError(f"strategy={strategy!r} is unknown; choose from {known}.{nearest(strategy, STRATEGIES)}")
    if per_anchor < 1:
        raise UserError(f"per_anchor={per_anchor} must be 1 or more.")
    if seed < 0:
        raise UserError(f"seed={seed} must be 0 or more.")
    if strategy == "same_camera_negative" and "camid" not in table:
        raise UserError("strategy='same_camera_negative' needs a camera column; this table has none. Use 'random'.")
    if strategy == "hard":
        if embeddings is None:
            raise UserError("strategy='hard' needs `embeddings` [image, dim] beside the table.")
        if np.ndim(embeddings) != 2:
            raise UserError(f"embeddings of shape {np.shape(embeddings)} are not [image, dim].")
        if len(embeddings) != len(table):
            raise UserError(f"{len(embeddings)} embeddings for {len(table)} images; give one per row.")
        if not np.isfinite(embeddings).all():
            raise UserError("The embeddings hold NaN or infinite values; hard triplets cannot be chosen by them.")


def _draw(
    rows: np.ndarray, codes: np.ndarray, anchors: np.ndarray, cameras: np.ndarray | None, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, int]:
    """Draw positives and negatives one anchor at a time; candidate lists are shared by identity and camera."""
    by_pid = [rows[codes[rows] == code] for code in range(codes.max() + 1)]
    by_camera: dict[int, np.ndarray] = {}
    if cameras is not None:
        by_camera = {camera: rows[cameras[rows] == camera] for camera in np.unique(cameras[rows])}
    positives, negatives = np.empty_like(anchors), np.empty_like(anchors)
    fallbacks = 0
    for i, anchor in enumerate(anchors):
        own = by_pid[codes[anchor]]
        own = own[own != anchor]
        if cameras is None:
            positives[i] = rng.choice(own)
            negatives[i] = _other_identity(by_pid, codes[anchor], rng)
            continue
        elsewhere = own[cameras[own] != cameras[anchor]]
        positives[i] = rng.choice(elsewhere if len(elsewhere) else own)
        same_camera = by_camera[cameras[anchor]]
        same_camera = same_camera[codes[same_camera] != codes[anchor]]
        fallbacks += int(len(elsewhere) == 0 or len(same_camera) == 0)
        negatives[i] = rng.choice(same_camera) if len(same_camera) else _other_identity(by_pid, codes[anchor], rng)
    return positives, negatives, fallbacks


def _other_identity(by_pid: list[np.ndarray], code: int, rng: np.random.Generator) -> int:
    """A random image of a random other identity: every identity is as likely, however many images it has."""
    other = rng.integers(len(by_pid) - 1)
    return int(rng.choice(by_pid[other + (other >= code)]))


def _hard(
    embeddings: np.ndarray, rows: np.ndarray, codes: np.ndarray, anchors: np.ndarray, per_anchor: int
) -> tuple[np.ndarray, np.ndarray]:
    """The k-th farthest positive and k-th nearest negative of each anchor, in blocks; ties go to the earlier row."""
    vectors = np.asarray(embeddings[rows], dtype=np.float64)
    labels = codes[rows]
    position = np.searchsorted(rows, anchors[::per_anchor])
    squares = (vectors**2).sum(axis=1)
    positives, negatives = [], []
    for start in range(0, len(position), _BLOCK):
        block = position[start : start + _BLOCK]
        distances = squares[block, None] + squares[None] - 2 * vectors[block] @ vectors.T
        same = labels[block, None] == labels[None]
        itself = block[:, None] == np.arange(len(rows))
        far = np.where(same & ~itself, -distances, np.inf)
        near = np.where(same, np.inf, distances)
        positives.append(_nth(far, per_anchor))
        negatives.append(_nth(near, per_anchor))
    return rows[np.concatenate(positives)].ravel(), rows[np.concatenate(negatives)].ravel()


def _nth(keys: np.ndarray, n: int) -> np.ndarray:
    """Columns of the n smallest finite keys of each row [anchor, n]; the last finite one repeats where they run out."""
    order = np.argsort(keys, axis=1, kind="stable")[:, :n]
    n_finite = np.isfinite(keys).sum(axis=1)
    pick = np.minimum(np.arange(n)[None], n_finite[:, None] - 1)
    return np.take_along_axis(order, np.minimum(pick, order.shape[1] - 1), axis=1)
