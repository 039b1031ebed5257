"""Draw the pictures of README.md anew: `make pictures`, or `python docs/make_pictures.py gallery` for one of them.

All show the built-in data, drawn people, and the model that notebook 03 trains on it by default (`attention`: the
shipped one); none shows anybody of a public data set. Each file stays below 300 kB.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
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


def attention() -> Any:
    """Draw what the shipped model looked at in three gallery images, by several methods."""
    from reidlab import explain
    from reidlab.data.pixels import decode
    from reidlab.models import load_model
    from reidlab.plots.attention import attention_grid

    _, embeddings, _ = evaluated()
    table = embeddings.split("gallery").table
    rows = np.random.default_rng(0).permutation(np.flatnonzero(table["pid"] > 0))[:3]
    images = np.stack([decode(path, (192, 96)) for path in table["path"].iloc[rows]])
    batch, model = torch.from_numpy(images).permute(0, 3, 1, 2), load_model("small")
    methods = ("activation", "gradcam", "layercam", "eigencam", "occlusion")
    return attention_grid(
        images, {name: explain.attention_maps(model, batch, name).resized(192, 96).maps for name in methods}
    )


def explorer() -> str:
    """Photograph the explorer of rankings with the demo model's results, and return its description."""
    from explorer_picture import photograph

    evaluated()  # the page's kernel finds it in the store
    photograph(EXPLORER, ".reid-retrieval img", HERE / "explorer.png")
    return "The explorer of rankings in a browser: a strip of queries, one query, and its nearest gallery images."


EXPLORER = f"""
import sys
sys.path.insert(0, {str(HERE)!r})
from make_pictures import evaluated
from reidlab.explorers import RetrievalExplorer
result, embeddings, source = evaluated()
RetrievalExplorer(embeddings.split("query"), embeddings.split("gallery"), result, model=source.load())
"""
PICTURES: dict[str, Callable[[], Any]] = {
    "gallery": gallery,
    "attention": attention,
    "embedding_map": embedding_map,
    "explorer": explorer,
}


def main(names: list[str]) -> None:
    """Draw the named pictures, or all of them.

    Raises:
        SystemExit: no such picture, or one that becomes too large.
    """
    strange = sorted(set(names) - set(PICTURES))
    if strange:
        raise SystemExit(f"No such picture: {', '.join(strange)}. There are: {', '.join(PICTURES)}.")
    for name in names or PICTURES:
        path, made = HERE / f"{name}.png", PICTURES[name]()
        if not isinstance(made, str):
            plots.save_figure(made, path, dpi=80)
        lighten(path)
        said = made if isinstance(made, str) else plots.describe(made)
        print(f"{path.name}, {path.stat().st_size // 1000} kB: {said}")


def lighten(path: Path) -> None:
    """Write a picture again as small as PNG can, with 256 colours where it would be too large.

    Raises:
        SystemExit: it is too large even so.
    """
    with Image.open(path) as opened:
        whole = opened.convert("RGB")
    whole.save(path, optimize=True)
    if path.stat().st_size > LARGEST:
        whole.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    if path.stat().st_size > LARGEST:
        raise SystemExit(f"{path.name} has {path.stat().st_size:,} bytes, more than {LARGEST:,}.")


if __name__ == "__main__":
    main(sys.argv[1:])
