"""Small data sets of coloured pictures for the tests of explorers, a hostile file name among them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from reidlab.retrieval.vectors import Embeddings

HOSTILE = "<img src=x onerror=alert(1)>.jpg"


def pictures(folder: Path, people: int = 6, images: int = 6, hostile: bool = True) -> pd.DataFrame:
    """Write pictures, a colour a person, and return their image table; the first file has a hostile name."""
    rows = []
    for pid in range(people):
        for number in range(images):
            name = HOSTILE if hostile and not rows else f"{pid:04}_c{number % 3}_{number}.jpg"
            colour = (40 * pid % 256, 255 - 30 * pid, 20 * number)
            Image.new("RGB", (32, 64), colour).save(folder / name)
            split = "query" if number == 0 else "gallery"
            rows.append((str(folder / name), pid, number % 3, split))
    return pd.DataFrame(rows, columns=["path", "pid", "camid", "split"])


def embedded(table: pd.DataFrame, noise: float = 1.0, dim: int = 16, seed: int = 0) -> tuple[Embeddings, Embeddings]:
    """Return embeddings of a table's queries and of its gallery."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(int(table["pid"].max()) + 1, dim))
    vectors = centres[table["pid"]] + noise * rng.normal(size=(len(table), dim))
    both = Embeddings((vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), table)
    return both.split("query"), both.split("gallery")
