"""A small table of drawn images with hostile names, for the tests of explorers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from reidlab.retrieval import Embeddings

HOSTILE = "<img src=x onerror=alert(1)>.jpg"


def people(folder: Path, *, n_people: int = 6, each: int = 4, pids: str = "plain") -> pd.DataFrame:
    """Write images of noise and return their table; the first file has a hostile name, as has its identity on request."""
    rng = np.random.default_rng(0)
    rows = []
    for person in range(n_people):
        for at in range(each):
            name = HOSTILE if person == at == 0 else f"{person:02d}_c{at % 3}_{at}.jpg"
            Image.fromarray(rng.integers(0, 256, (32, 16, 3), dtype=np.uint8)).save(folder / name, format="JPEG")
            pid = f"<b>{person}</b>" if pids == "hostile" else str(person)
            split = "query" if at == 0 else "gallery"
            rows.append((str(folder / name), pid, f"c{at % 3}", split))
    return pd.DataFrame(rows, columns=["path", "pid", "camid", "split"])


def embedded(table: pd.DataFrame, *, dim: int = 8, noise: float = 0.3) -> Embeddings:
    """Return embeddings that stand together by identity, with noise."""
    rng = np.random.default_rng(1)
    codes = pd.factorize(table["pid"])[0]
    centres = rng.normal(size=(codes.max() + 1, dim))
    return Embeddings((centres[codes] + rng.normal(0, noise, (len(table), dim))).astype(np.float32), table)
