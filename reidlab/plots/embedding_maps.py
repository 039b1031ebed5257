"""Maps of embeddings in two dimensions: neighbours stay neighbours as far as a plane allows."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from PIL import Image

from reidlab.data.schema import is_distractor, is_junk
from reidlab.errors import UserError
from reidlab.figure_text import cut, plain
from reidlab.plots.pictures import image_of
from reidlab.plots.style import PALETTE, Chart, new_figure, set_alt, styled
from reidlab.retrieval.checks import check_choice, check_seed, check_whole
from reidlab.retrieval.planes import PLANE_NAMES, PLANES, plane, unit_rows
from reidlab.retrieval.vectors import Embeddings

__all__ = ["embedding_map"]

_MOST = 10_000  # images of a map
_PIXELS = (32, 16)  # height and width at which raw pixels are compared
_TALL = 34  # pixels of a thumbnail

Points = npt.NDArray[np.float64]


@styled
def embedding_map(
    embeddings: Embeddings,
    *,
    method: str = "tsne",
    n_people: int = 8,
    n_images: int = 96,
    seed: int = 0,
    thumbnails: bool = True,
) -> Chart:
    """Draw embeddings in a plane, and the raw pixels of the same images beside them.

    Both panels are made by the same method from the same images of a few identities, drawn at random. What a model has
    learnt is the difference between the two: on the left images of one person should stand together, on the right those
    with a like background, pose and light do. Distances between far groups mean nothing in t-SNE and UMAP.

    Args:
        embeddings: vectors and their table with identities and files; junk and distractors are left out.
        method: "pca", "tsne" (van der Maaten and Hinton 2008) or "umap" (McInnes et al. 2018; the first call in a
            process takes half a minute).
        n_people: identities, 2 to 8, one colour each.
        n_images: images in all, shared evenly.
        seed: of the draw and of the method.
        thumbnails: draw the images themselves, not only points.

    Raises:
        UserError: an unknown method, fewer than two identities or five images, or an image that is not there.
    """
    check_choice("method", method, PLANES)
    seed = check_seed(seed)
    chosen = _chosen(
        embeddings, check_whole("n_people", n_people, 2, 8), check_whole("n_images", n_images, 5, _MOST), seed
    )
    table = embeddings.table.iloc[chosen].reset_index(drop=True)
    images = [image_of(table, row) for row in range(len(table))]
    vectors = unit_rows(embeddings.vectors[chosen])
    raw = np.stack([_shrunk(image, _PIXELS).reshape(-1) for image in images]) / 255.0
    figure = new_figure(11, 5.6)
    panels = figure.subplots(1, 2)
    people = list(dict.fromkeys(sorted(table["pid"].tolist())))
    for ax, values, title in zip(panels, (vectors, raw), ("embeddings", "raw pixels")):
        points = plane(values, method, seed=seed)
        _draw(ax, points, table["pid"].tolist(), people, images if thumbnails else None)
        ax.set_title(f"{PLANE_NAMES[method]} of {title}")
    kept = [_kept(values, table["pid"].to_numpy()) for values in (vectors, raw)]
    figure.legend(*_entries(people), loc="outside lower center", ncols=min(len(people), 8), title="identity")
    set_alt(
        figure,
        f"{PLANE_NAMES[method]} of {len(table)} images of {len(people)} identities. The nearest neighbour is of the "
        f"same identity for {kept[0]:.0%} of them by embedding and for {kept[1]:.0%} by raw pixels.",
    )
    return figure


def _chosen(embeddings: Embeddings, n_people: int, n_images: int, seed: int) -> npt.NDArray[np.int64]:
    """Draw identities with two images at least, and images of each."""
    table = embeddings.table
    pids = embeddings.pids
    usable = np.flatnonzero(~(is_junk(table) | is_distractor(table)).to_numpy())
    counts = table.iloc[usable]["pid"].value_counts()
    people = sorted(counts.index[counts >= 2].tolist())
    if len(people) < 2:
        raise UserError(f"A map needs two identities with two images each; there are {len(people)}.")
    rng = np.random.default_rng(seed)
    people = [people[at] for at in rng.permutation(len(people))[:n_people]]
    share = max(2, n_images // len(people))
    rows = [rng.permutation(usable[pids[usable] == pid])[:share] for pid in people]
    found = np.sort(np.concatenate(rows))
    if len(found) < 5:
        raise UserError(f"A map needs five images of identities with two each; there are {len(found)}.")
    return found


def _draw(ax: Axes, points: Points, pids: list[Any], people: list[Any], images: list[Any] | None) -> None:
    colours = [PALETTE[people.index(pid)] for pid in pids]
    ax.scatter(points[:, 0], points[:, 1], c=colours, s=30)
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    ax.margins(0.08)
    for point, colour, image in zip(points, colours, images or []):
        tall = (_TALL, max(1, round(_TALL * image.shape[1] / image.shape[0])))
        frame = {"edgecolor": colour, "linewidth": 2, "boxstyle": "square,pad=0.05"}
        ax.add_artist(AnnotationBbox(OffsetImage(_shrunk(image, tall)), point.tolist(), pad=0, bboxprops=frame))


def _entries(people: list[Any]) -> tuple[list[Any], list[str]]:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=colour, marker="s", linestyle="", markersize=8) for colour in PALETTE[: len(people)]
    ]
    return handles, [plain(cut(pid, 13), 13) for pid in people]


def _shrunk(image: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    return np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR))


def _kept(values: Points, pids: npt.NDArray[Any]) -> float:
    """Return the share of images whose nearest neighbour is of the same identity."""
    squares = (values**2).sum(axis=1)
    distances = squares[:, None] + squares[None] - 2 * values @ values.T
    np.fill_diagonal(distances, np.inf)
    return float((pids[distances.argmin(axis=1)] == pids).mean())
