"""Count nearer images by plain comparison, compiled: for large galleries, where it beats sorting several times.

numba comes with umap-learn. It is imported and compiled at the first large evaluation (about a second, kept on disk
for later processes); without it, or for small problems, `ranking` counts with NumPy. From the same products both give
the same numbers, to the bit: a product is scaled by one rounded operation, and comparing and counting are exact.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["LARGE", "Counter", "compiled_counter"]

LARGE = 20_000_000  # scores; Market-1501 has 53.6 million

EXACT = 1 << 24  # float32 counts exactly to here
LANES = 256

Counter = Callable[..., None]


def _count_block(
    dots: npt.NDArray[Any],
    lines: npt.NDArray[np.int64],
    factor: npt.NDArray[Any],
    cosine: bool,
    ends: npt.NDArray[np.int64],
    column: npt.NDArray[np.int64],
    gallery_cams: npt.NDArray[np.int64],
    dropped: npt.NDArray[np.int64],
    scores: npt.NDArray[Any],
    score: npt.NDArray[Any],
    nearer: npt.NDArray[np.int64],
    wrong: npt.NDArray[Any],
) -> None:
    """Count, for all images of the queries' identities, the wrong images in front of each.

    In front stand a larger score anywhere and an equal one to the left. Counts are summed in float32, whose sums the
    compiler turns into vector instructions (14 times quicker than integers here) and which are exact up to `EXACT`.

    Args:
        dots: dot products [line, gallery].
        lines: the line of each query [query]; equal queries share one.
        factor: what `ranking.Scorer` scales them by (cosine) or takes off (euclidean) [gallery].
        cosine: which of the two.
        ends: images of query q's identity are `ends[q]` to `ends[q + 1]` of the lists below [query + 1].
        column: their gallery columns.
        gallery_cams: cameras [gallery]; may be empty where nothing is dropped.
        dropped: the camera that is taken out for each query [query], or empty.
        scores: room for one row [gallery].
        score: written, the score of each image in `column`.
        nearer: written, the count of each image in `column`.
        wrong: written, the largest score of a wrong image [query], -infinity for none.
    """
    lanes = np.empty(LANES, dots.dtype)
    for query in range(len(lines)):
        line = dots[lines[query]]
        if cosine:
            for at in range(len(line)):
                scores[at] = line[at] * factor[at]
        else:
            for at in range(len(line)):
                scores[at] = line[at] - factor[at]
        begin, end = ends[query], ends[query + 1]
        for image in range(begin, end):
            score[image] = scores[column[image]]
        for image in range(begin, end):
            scores[column[image]] = -np.inf
        if len(dropped):
            for at in range(len(line)):
                if gallery_cams[at] == dropped[query]:
                    scores[at] = -np.inf
        # the largest of each lane, then of the lanes: in one running maximum the compiler finds nothing to vectorise
        lanes[:] = -np.inf
        for start in range(0, len(line), LANES):
            part = scores[start : start + LANES]
            for at in range(len(part)):
                lanes[at] = part[at] if part[at] > lanes[at] else lanes[at]
        wrong[query] = lanes.max()
        for image in range(begin, end):
            own, place = score[image], column[image]
            left, right = scores[:place], scores[place:]
            count = np.float32(0)
            for at in range(len(left)):
                count += np.float32(1.0) if left[at] >= own else np.float32(0.0)
            for at in range(len(right)):
                count += np.float32(1.0) if right[at] > own else np.float32(0.0)
            nearer[image] = np.int64(count)


@functools.cache
def compiled_counter() -> Counter | None:
    """Compile `_count_block`, or give None where numba is not there or cannot compile."""
    try:
        import numba

        # sums may be reordered (they are exact whole numbers) and no score is NaN; infinities keep their meaning
        counter: Counter = numba.njit(nogil=True, cache=True, fastmath={"reassoc", "nsz", "nnan"})(_count_block)
        for kind in (np.float32, np.float64):
            pair, one, two, none = np.zeros(2, kind), *(np.zeros(n, np.int64) for n in (1, 2, 0))
            counter(pair[None], one, pair, True, two, none, none, none, pair, pair, none, pair)
    except Exception:  # of many kinds: no numba, no cache folder, a processor that LLVM does not know
        return None
    return counter
