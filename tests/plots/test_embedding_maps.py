"""Maps of embeddings: which images are drawn, by which method, and what is said of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from reidlab.errors import UserError
from reidlab.plots import describe, embedding_map
from reidlab.plots.embedding_maps import _kept
from reidlab.retrieval import Embeddings


@pytest.fixture
def embeddings(tmp_path: Path) -> Embeddings:
    """Return four people whose vectors are apart and whose pictures are noise, and junk."""
    rng = np.random.default_rng(0)
    rows, vectors = [], []
    for pid in (-1, 0, 1, 2, 3):
        for number in range(5):
            path = tmp_path / f"{pid}_{number}.png"
            Image.fromarray(rng.integers(0, 256, (16, 8, 3), dtype=np.uint8)).save(path)
            rows.append((str(path), pid, "gallery"))
            vectors.append(np.eye(6)[pid] + rng.normal(0, 0.02, 6))
    return Embeddings(np.array(vectors, np.float32), pd.DataFrame(rows, columns=["path", "pid", "split"]))


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_people_stand_together_by_embedding_alone(embeddings: Embeddings, method: str) -> None:
    figure = embedding_map(embeddings, method=method)
    left, right = figure.axes
    assert [len(ax.collections[0].get_offsets()) for ax in (left, right)] == [20, 20]
    places, colours = left.collections[0].get_offsets(), left.collections[0].get_facecolors()
    assert _kept(np.asarray(places), np.unique(colours, axis=0, return_inverse=True)[1]) == 1
    assert "same identity for 100% of them by embedding" in describe(figure)
    assert len(left.artists) == 20


def test_umap(embeddings: Embeddings) -> None:
    figure = embedding_map(embeddings, method="umap", thumbnails=False)
    assert "UMAP of embeddings" in figure.axes[0].get_title() and not figure.axes[0].artists


def test_the_draw_depends_on_the_seed_alone(embeddings: Embeddings) -> None:
    def drawn(seed: int) -> list[float]:
        figure = embedding_map(embeddings, method="pca", n_people=3, n_images=9, seed=seed, thumbnails=False)
        return figure.axes[0].collections[0].get_offsets().ravel().tolist()

    assert len(drawn(0)) == 18 and drawn(0) == drawn(0) and drawn(0) != drawn(3)


def test_a_naive_count_of_neighbours_agrees() -> None:
    rng = np.random.default_rng(1)
    values, pids = rng.normal(size=(12, 3)), rng.integers(0, 3, 12)
    right = 0
    for i in range(12):
        others = [(float(((values[i] - values[j]) ** 2).sum()), j) for j in range(12) if j != i]
        right += int(pids[min(others)[1]] == pids[i])
    assert _kept(values, pids) == right / 12


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"method": "tsn"}, "Did you mean 'tsne'"),
        ({"n_people": 1}, "n_people"),
        ({"n_people": 9}, "n_people"),
        ({"n_images": 4}, "n_images"),
        ({"seed": -1}, "seed"),
    ],
)
def test_bad_options_are_named(embeddings: Embeddings, options: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        embedding_map(embeddings, **options)  # type: ignore[arg-type]


def test_too_little_to_draw(embeddings: Embeddings) -> None:
    few = Embeddings(embeddings.vectors[5:12], embeddings.table.iloc[5:12].reset_index(drop=True))
    assert embedding_map(few, method="tsne").axes
    one = Embeddings(embeddings.vectors[5:11], embeddings.table.iloc[5:11].reset_index(drop=True))
    with pytest.raises(UserError, match="two identities with two images each; there are 1"):
        embedding_map(one)
    junk = Embeddings(embeddings.vectors[:6], embeddings.table.iloc[:6].reset_index(drop=True))
    with pytest.raises(UserError, match="there are 0"):
        embedding_map(junk)
