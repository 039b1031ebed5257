"""Binary codes instead of float embeddings: a head that learns them, and exact search by Hamming distance.

A code is a row of 0 and 1 (one number per bit); packed, eight bits share a byte. Hamming distance = differing bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from reidlab.errors import UserError
from reidlab.models.output import Output
from reidlab.models.parts.classifiers import build_classifier
from reidlab.models.parts.necks import build_neck

__all__ = ["HashingHead", "hamming_distances", "hamming_search", "pack_codes"]


class HashingHead(nn.Module):
    """Neck, tanh, classifier while training; at evaluation the signs as codes of 0 and 1.

    Args:
        dim: width of the pooled features.
        num_classes: identities; 0 leaves the classifier out.
        neck: a name of `NECKS`; the codes have as many bits as it gives numbers.
        classifier: a name of `CLASSIFIERS`.
        neck_options, classifier_options: their options.

    Attributes:
        dim: bits of a code.
    """

    def __init__(
        self,
        dim: int,
        num_classes: int = 0,
        *,
        neck: str = "bnneck",
        classifier: str = "linear",
        neck_options: Mapping[str, Any] | None = None,
        classifier_options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if num_classes < 0:
            raise UserError(f"num_classes={num_classes} must be 0 or more.")
        self.neck = build_neck(neck, dim, **(neck_options or {}))
        self.dim = int(self.neck.dim)  # type: ignore[arg-type]  # nn.Module types all attributes as Tensor | Module
        self.classifier: nn.Module | None = None
        if num_classes:
            self.classifier = build_classifier(classifier, self.dim, num_classes, **(classifier_options or {}))

    def forward(
        self, features: Float[Tensor, "batch dim"], labels: Int[Tensor, " batch"] | None = None
    ) -> Output | Float[Tensor, "batch dim"]:
        """Return an `Output` while training, else codes [batch, bit].

        `after` of the Output is tanh of the neck's features, in (-1, 1). Codes are float32, as all embeddings are: 1
        where the neck gives more than 0, else 0. Their squared Euclidean distance is the Hamming distance.

        Args:
            features: pooled features [batch, dim].
            labels: [batch], for the classifier's margin.
        """
        after = self.neck(features)
        if not self.training:
            return (after > 0).float()
        after = torch.tanh(after)
        logits = () if self.classifier is None else (self.classifier(after, labels),)
        return Output(features, after, logits)


def _checked(codes: ArrayLike, what: str) -> NDArray[np.uint8]:
    """Return codes [row, bit] as uint8; refuse anything but 0 and 1."""
    array = np.asarray(codes)
    if array.ndim != 2 or array.shape[1] == 0:
        raise UserError(f"{what} codes have shape {array.shape}; they must be [row, bit].")
    if not np.isin(array, (0, 1)).all():
        raise UserError(f"{what} codes hold other numbers than 0 and 1; binarise them first, as `HashingHead` does.")
    return array.astype(np.uint8)


def _checked_pair(query: ArrayLike, gallery: ArrayLike) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    rows, others = _checked(query, "query"), _checked(gallery, "gallery")
    if rows.shape[1] != others.shape[1]:
        raise UserError(f"query codes have {rows.shape[1]} bits, gallery codes {others.shape[1]}.")
    return rows, others


def pack_codes(codes: ArrayLike) -> NDArray[np.uint8]:
    """Pack codes [row, bit] of 0 and 1 into bytes [row, ceil(bit / 8)]; the last byte is filled up with zeros.

    Raises:
        UserError: other numbers than 0 and 1, or another shape.
    """
    return np.packbits(_checked(codes, "the"), axis=1)


def hamming_distances(query: ArrayLike, gallery: ArrayLike) -> NDArray[np.int32]:
    """Count differing bits of codes [query, bit] and [gallery, bit]: int32 [query, gallery], exact.

    From a product of codes written in -1 and 1, (bits - q . g) / 2, in float32, where whole numbers are exact to 2^24.

    Raises:
        UserError: other numbers than 0 and 1, other shapes, or different numbers of bits.
    """
    rows, others = _checked_pair(query, gallery)
    product = (2 * rows.astype(np.float32) - 1) @ (2 * others.astype(np.float32) - 1).T
    return ((rows.shape[1] - product) / 2).astype(np.int32)


def hamming_search(query: ArrayLike, gallery: ArrayLike, k: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Find the k nearest gallery codes of each query code, by exhaustive search over packed bits (faiss).

    Rows at the same distance are in gallery order; which of several at the k-th distance are among them is open.

    Args:
        query: codes [query, bit] of 0 and 1.
        gallery: codes [gallery, bit].
        k: neighbours wanted; the whole gallery where it has fewer.

    Returns:
        Hamming distances int32 [query, k], ascending, and gallery rows int64 [query, k].

    Raises:
        UserError: k below 1, an empty gallery, or codes that `hamming_distances` refuses.
    """
    import faiss  # here: loads its own threads and libraries

    if k < 1:
        raise UserError(f"k={k} must be 1 or more.")
    rows, others = _checked_pair(query, gallery)
    if not len(others):
        raise UserError("the gallery has no codes to search.")
    index = faiss.IndexBinaryFlat(-(-rows.shape[1] // 8) * 8)
    index.add(np.packbits(others, axis=1))
    distances, found = index.search(np.packbits(rows, axis=1), min(k, len(others)))
    order = np.lexsort((found, distances), axis=1)
    return np.take_along_axis(distances, order, axis=1), np.take_along_axis(found, order, axis=1)
