"""Draw the pictures of README.md anew: `make pictures`, or `python docs/make_pictures.py gallery` for one of them.

All show the built-in data, drawn people, and the model that notebook 03 trains on it by default; none shows anybody of
a public data set. Each file stays below 300 kB.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image

from reidlab import params, plots, retrieval, stages
from reidlab.training import load_recipe

HERE = Path(__file__).resolve().parent
LARGEST = 300_000  # bytes


@cache
def evaluated() -> tuple[Any, Any, Any]:
    """Return the demo model's result on query and gallery, the embeddings, and where its model comes from."""
    data = stages.data_for(params.Retrieval())
    source = stages.model_from_run(stages.train_for(data, load_recipe("demo"), params.Training()))
    _, result, embeddings = stages.evaluate_for(data, source, params.Retrieval())
    return result, embeddings, source


def gallery() -> Any:
    """Draw three queries, chosen at random, and their nearest gallery images."""
    result, embeddings, _ = evaluated()
    query, others = embeddings.split("query"), embeddings.split("gallery")
    chosen = plots.choose_queries(result, "random", 3, seed=0)
    listing = retrieval.rank_gallery(query, others, queries=chosen, k=8)
    return plots.ranking_figure(listing, query.table, others.table, result=result)


def embedding_map() -> Any:
    """Draw the gallery's embeddings in the plane, and its raw pixels beside them."""
    _, embeddings, _ = evaluated()
    return plots.embedding_map(embeddings.split("gallery"), n_images=64)


PICTURES: dict[str, Callable[[], Any]] = {"gallery": gallery, "embedding_map": embedding_map}


def main(names: list[str]) -> None:
    """Draw the named pictures, or all of them.

    Raises:
        SystemExit: no such picture, or one that becomes too large.
    """
    strange = sorted(set(names) - set(PICTURES))
    if strange:
        raise SystemExit(f"No such picture: {', '.join(strange)}. There are: {', '.join(PICTURES)}.")
    for name in names or PICTURES:
        figure = PICTURES[name]()
        path = HERE / f"{name}.png"
        plots.save_figure(figure, path, dpi=80)
        lighten(path)
        print(f"{path.name}, {path.stat().st_size // 1000} kB: {plots.describe(figure)}")


def lighten(path: Path) -> None:
    """Bring a picture to 256 colours.

    Raises:
        SystemExit: it is too large even so.
    """
    with Image.open(path) as opened:
        light = opened.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    light.save(path, optimize=True)
    if path.stat().st_size > LARGEST:
        raise SystemExit(f"{path.name} has {path.stat().st_size:,} bytes, more than {LARGEST:,}.")


if __name__ == "__main__":
    main(sys.argv[1:])
