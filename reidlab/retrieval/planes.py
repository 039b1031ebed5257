"""Bring embeddings to two dimensions: neighbours stay neighbours as far as a plane allows."""

from __future__ import annotations

import warnings

import numpy as np
from jaxtyping import Float, Float64, Int64

from reidlab.errors import UserError
from reidlab.retrieval.checks import check_choice, check_seed, check_whole
from reidlab.retrieval.inputs import as_vectors

__all__ = ["PLANES", "PLANE_NAMES", "PLANE_SIZES", "plane", "sample_rows", "unit_rows"]

PLANES = ("pca", "tsne", "umap")
PLANE_NAMES = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}
# images that a method brings to a plane in a minute or so on two cores; PCA takes what memory takes
PLANE_SIZES = {"pca": 200_000, "tsne": 5_000, "umap": 20_000}


def plane(
    values: Float[np.ndarray, "image dim"], method: str = "pca", *, seed: int = 0
) -> Float64[np.ndarray, "image 2"]:
    """Bring vectors to points of a plane.

    In t-SNE and UMAP only what is near means something: distances between far groups do not.

    Args:
        values: [image, dim], five images or more.
        method: "pca", "tsne" (van der Maaten and Hinton 2008) or "umap" (McInnes et al. 2018; the first call in a
            process takes half a minute).
        seed: of the method.

    Raises:
        UserError: an unknown method, fewer than five vectors, or vectors that hold no finite numbers.
    """
    check_choice("method", method, PLANES)
    seed = check_seed(seed) % 2**32  # all that scikit-learn takes
    values = as_vectors("values", values)
    if len(values) < 5:
        raise UserError(f"A map needs five images; there are {len(values)}.")
    if values.shape[1] == 1:
        values = np.pad(values, ((0, 0), (0, 1)))
    if (values == values[0]).all():
        return np.zeros((len(values), 2))  # one point: nothing to spread
    if method == "umap":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own imports, and of few images
            from umap import UMAP

            made = UMAP(n_neighbors=min(15, len(values) - 1), random_state=seed, n_jobs=1, init="pca")
            return np.asarray(made.fit_transform(values), np.float64)
    from sklearn.decomposition import PCA

    if method == "pca":
        return np.asarray(PCA(2, random_state=seed).fit_transform(values), np.float64)
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(values) - 1) / 4)
    return np.asarray(TSNE(2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(values), np.float64)


def unit_rows(vectors: Float[np.ndarray, "image dim"]) -> Float64[np.ndarray, "image dim"]:
    """L2-normalise vectors in float64; a zero vector stays zero."""
    wide = vectors.astype(np.float64)
    return np.asarray(wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12))


def sample_rows(n_images: int, limit: int, *, seed: int = 0) -> Int64[np.ndarray, " row"]:
    """Draw at most `limit` of `n_images` rows, in their order; all of them where they are no more."""
    limit = check_whole("limit", limit, 1, 2**31)
    if n_images <= limit:
        return np.arange(n_images)
    return np.sort(np.random.default_rng(check_seed(seed)).choice(n_images, limit, replace=False))
