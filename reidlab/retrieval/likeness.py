"""How alike images and identities are over cameras: means, the scale of people, two groups within one identity."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from reidlab.retrieval.inputs import Problem

__all__ = ["Scale", "people_of", "scale_of", "similarity_elsewhere", "two_groups"]

LARGEST = 400  # images of one identity that are compared with each other
BLOCK = 4096  # votes that are looked at together

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def people_of(problem: Problem) -> list[Ints]:
    """Return the rows of each identity, the first `LARGEST` of them."""
    order = np.argsort(problem.query_codes, kind="stable")
    ends = np.searchsorted(problem.query_codes[order], np.arange(int(problem.query_codes.max()) + 2))
    return [order[begin:end][:LARGEST] for begin, end in pairwise(ends)]


class Scale(NamedTuple):
    """The mean cosine of pairs of one person over cameras, and how much larger it is than that of different people."""

    same: float
    gap: float


def scale_of(problem: Problem, vectors: Any, people: list[Ints]) -> Scale:
    """Return the scale; the gap is 0 where no identity is seen by two cameras."""
    values = np.concatenate([_across(problem, vectors, rows, rows) for rows in people])
    if not len(values):
        return Scale(1.0, 0.0)
    total, size = vectors.sum(axis=0, dtype=np.float64), len(vectors)
    inside = sum(float((vectors[rows].sum(axis=0, dtype=np.float64) ** 2).sum()) for rows in people)
    n_inside = sum(len(rows) ** 2 for rows in people)
    same, others = float(values.mean()), (float(total @ total) - inside) / max(size**2 - n_inside, 1)
    return Scale(same, same - others)


def _across(problem: Problem, vectors: Any, one: Ints, two: Ints) -> Floats:
    """Return the cosines of pairs of images in different cameras (of different images where there are none)."""
    cosine = vectors[one] @ vectors[two].T
    by = problem.query_cams if problem.query_cams is not None else np.arange(len(vectors))
    return np.asarray(cosine[by[one][:, None] != by[two]], np.float64)


def two_groups(problem: Problem, vectors: Any, rows: Ints) -> tuple[Ints, Ints, float] | None:
    """Part an identity in two by average linkage; None where a group is a single image or camera."""
    from scipy.cluster.hierarchy import fcluster, linkage

    cosine = np.clip(vectors[rows] @ vectors[rows].T, -1, 1)
    upper = np.triu_indices(len(rows), 1)
    part = fcluster(linkage(1 - cosine[upper].astype(np.float64), "average"), 2, "maxclust")
    one, two = rows[part == 1], rows[part == 2]
    within = [_across(problem, vectors, group, group) for group in (one, two)]
    between = _across(problem, vectors, one, two)
    if not len(between) or not all(len(values) for values in within):
        return None
    return one, two, float(np.concatenate(within).mean() - between.mean())


def similarity_elsewhere(problem: Problem, vectors: Any, image: Ints, code: Ints) -> Floats:
    """Return the mean cosine of images to images of identities in other cameras [vote]; NaN where there are none."""
    cams = problem.query_cams if problem.query_cams is not None else np.arange(len(vectors))
    own = problem.query_codes
    cells, cell = np.unique(own * (int(cams.max()) + 1) + cams, return_inverse=True)
    n_codes = int(own.max()) + 1
    of_code, of_cell = _sums(own, n_codes, vectors), _sums(cell, len(cells), vectors)
    size, cell_size = np.bincount(own, minlength=n_codes), np.bincount(cell)
    wanted = code * (int(cams.max()) + 1) + cams[image]
    place = np.minimum(np.searchsorted(cells, wanted), len(cells) - 1)
    here = cells[place] == wanted  # the identity has images in the image's own camera
    found = np.full(len(image), np.nan)
    for begin in range(0, len(image), BLOCK):
        part = slice(begin, begin + BLOCK)
        sums = of_code[code[part]] - np.where(here[part, None], of_cell[place[part]], 0)
        count = size[code[part]] - np.where(here[part], cell_size[place[part]], 0)
        total = np.einsum("ij,ij->i", vectors[image[part]], sums)
        found[part] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return found


def _sums(code: Ints, count: int, vectors: Any) -> Floats:
    """Add up the vectors of each code [code, dim], in their order (`np.add.at` takes four times as long)."""
    from scipy.sparse import csr_array

    member = csr_array((np.ones(len(code)), (code, np.arange(len(code)))), shape=(count, len(code)))
    return np.asarray(member @ vectors)
