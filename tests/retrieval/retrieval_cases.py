"""Data for the tests of retrieval, and the naive loop that they are held against."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from reidlab.retrieval.vectors import Embeddings


def golden() -> dict[str, Any]:
    """The retrieval golden set: 30 images, 6 identities, 3 cameras."""
    i, j = np.arange(30), np.arange(8)
    pid, cam = i % 6, (i // 6) % 3
    f = np.cos((pid[:, None] + 1) * (j + 1)) + 0.8 * np.sin((i[:, None] + 1) * (j + 2) * 0.7)
    f /= np.linalg.norm(f, axis=1, keepdims=True)
    return {
        "query": f[:6], "query_pids": pid[:6], "query_camids": cam[:6],
        "gallery": f[6:], "gallery_pids": pid[6:], "gallery_camids": cam[6:],
    }  # fmt: skip


def naive(data: dict[str, Any], ap: str = "plain", metric: str = "cosine") -> list[tuple[float, float, int] | None]:
    """AP, INP and first rank of each query by a stable sort of the whole row."""
    out: list[tuple[float, float, int] | None] = []
    cams = data.get("query_camids") is not None and data.get("gallery_camids") is not None
    for at, vector in enumerate(data["query"]):
        if metric == "cosine":
            units = data["gallery"] / np.sqrt((data["gallery"] ** 2).sum(axis=1, keepdims=True))
            distance = [-float(unit @ vector) for unit in units]
        else:
            distance = [float(((other - vector) ** 2).sum()) for other in data["gallery"]]
        ranks, rank = [], 0
        for column in sorted(range(len(distance)), key=lambda c: distance[c]):
            pid = data["gallery_pids"][column]
            if str(pid) == "-1":
                continue
            same = pid == data["query_pids"][at]
            if cams and same and data["gallery_camids"][column] == data["query_camids"][at]:
                continue
            rank += 1
            if same:
                ranks.append(rank)
        if not ranks:
            out.append(None)
            continue
        terms = []
        for i, r in enumerate(ranks, start=1):
            before = (i - 1) / (r - 1) if r > 1 else 1.0
            terms.append(i / r if ap == "plain" else (before + i / r) / 2)
        out.append((sum(terms) / len(terms), len(ranks) / ranks[-1], ranks[0]))
    return out


def random_data(seed: int, n_query: int = 17, n_gallery: int = 120, dim: int = 5, grid: bool = False) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    draw = (
        (lambda n: rng.integers(-2, 3, (n, dim)).astype(float) + 0.0) if grid else (lambda n: rng.normal(size=(n, dim)))
    )
    return {
        "query": draw(n_query), "query_pids": rng.integers(0, 12, n_query), "query_camids": rng.integers(0, 3, n_query),
        "gallery": draw(n_gallery), "gallery_pids": rng.integers(-1, 12, n_gallery), "gallery_camids": rng.integers(0, 3, n_gallery),
    }  # fmt: skip


def people(n: int, images: int, noise: float = 1.2, dim: int = 32, seed: int = 0, split: str = "val") -> Embeddings:
    """Embeddings of `n` people, `images` of each, one camera after another."""
    rng = np.random.default_rng(seed)
    pids = np.repeat(np.arange(n), images)
    vectors = rng.normal(size=(n, dim))[pids] + noise * rng.normal(size=(len(pids), dim))
    table = pd.DataFrame({"path": [f"{at:05}.jpg" for at in range(len(pids))], "pid": pids, "split": split})
    table["camid"] = np.tile(np.arange(images), n) % 3
    return Embeddings((vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), table)
