"""Embeddings stand for vectors and their labels: the same numbers either way, and mixtures refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from retrieval_cases import golden
from safetensors.numpy import save_file

from reidlab.errors import UserError
from reidlab.retrieval import Embeddings, evaluate, protocol_audit, rank_gallery, sample_pairs, scoring
from reidlab.retrieval.vectors import PIXELS

FUNCTIONS = [evaluate, protocol_audit, rank_gallery, sample_pairs]


def side(data: dict[str, Any], name: str, **columns: Any) -> Embeddings:
    table = pd.DataFrame(
        {
            "path": [f"/{name}/{row}.jpg" for row in range(len(data[name]))],
            "pid": data[f"{name}_pids"],
            "camid": data[f"{name}_camids"],
            "split": name,
        }
    )
    return Embeddings(data[name].astype(np.float32), table.assign(**columns))


def sides(data: dict[str, Any]) -> tuple[Embeddings, Embeddings]:
    return side(data, "query"), side(data, "gallery")


def test_embeddings_bring_their_labels() -> None:
    data = golden() | {name: golden()[name].astype(np.float32) for name in ("query", "gallery")}
    result, arrays = evaluate(*sides(data)), evaluate(**data)
    assert result.scores() == arrays.scores() and result.rule == "official"
    pd.testing.assert_frame_equal(result.per_query, arrays.per_query)
    pd.testing.assert_frame_equal(rank_gallery(*sides(data), queries=[2, 0]), rank_gallery(**data, queries=[2, 0]))
    pd.testing.assert_frame_equal(protocol_audit(*sides(data)), protocol_audit(**data))
    pd.testing.assert_frame_equal(sample_pairs(*sides(data), seed=3), sample_pairs(**data, seed=3))


def test_without_cameras_there_is_no_camera_rule() -> None:
    query, gallery = (Embeddings(each.vectors, each.table.drop(columns="camid")) for each in sides(golden()))
    assert evaluate(query, gallery).rule == "no_camera"


def test_the_query_itself_is_known_by_path_or_pixels() -> None:
    data = golden()
    query, gallery = side(data, "query", path=[f"/gallery/{row}.jpg" for row in range(6)]), side(data, "gallery")
    assert evaluate(query, gallery).n_same_image == 6 and evaluate(*sides(data)).n_same_image == 0
    copies = side(data, "query", **{PIXELS: list("abcdef")}), side(data, "gallery", **{PIXELS: list("ab") * 12})
    assert evaluate(*copies).n_same_image == 2
    half = Embeddings(query.vectors, query.table.assign(**{PIXELS: list("abcdef")}))
    assert evaluate(half, gallery).n_same_image == 6, "digests on one side alone: paths are compared"


@pytest.mark.parametrize("function", FUNCTIONS)
def test_mixtures_are_refused(function: Callable[..., Any]) -> None:
    data = golden()
    query, gallery = sides(data)
    labels = {name: value for name, value in data.items() if "_" in name}
    with pytest.raises(UserError, match="query is Embeddings and gallery is not: give two Embeddings"):
        function(query, gallery.vectors, **labels)
    with pytest.raises(UserError, match="gallery is Embeddings and query is not"):
        function(query.vectors, gallery)
    with pytest.raises(UserError, match="gallery_camids is given beside Embeddings, whose table says it already"):
        function(query, gallery, gallery_camids=data["gallery_camids"])
    with pytest.raises(UserError, match="query_pids is missing: vectors say nothing about identities"):
        function(query.vectors, gallery.vectors)
    with pytest.raises(UserError, match="gallery_pids is missing"):
        function(query.vectors, gallery.vectors, query_pids=data["query_pids"])
    bare = Embeddings(query.vectors, query.table[["path"]])
    with pytest.raises(UserError, match="have no pid: their table has path"):
        function(bare, gallery)


def test_mapped_from_disk(tmp_path: Path) -> None:
    query, gallery = sides(golden())
    together = Embeddings(
        np.concatenate([query.vectors, gallery.vectors]), pd.concat([query.table, gallery.table], ignore_index=True)
    )
    together.save(tmp_path)
    mapped = Embeddings.load(tmp_path, mmap=True)
    assert isinstance(mapped.vectors, np.memmap) and not mapped.vectors.flags.writeable
    np.testing.assert_array_equal(mapped.vectors, together.vectors)
    parts = [mapped.split(name) for name in ("query", "gallery")]
    assert all(np.shares_memory(part.vectors, mapped.vectors) for part in parts), "splits that stand together"
    assert repr(evaluate(*parts)) == repr(evaluate(query, gallery))
    mixed = Embeddings(mapped.vectors, mapped.table.assign(split=["query", "gallery"] * 15))
    np.testing.assert_array_equal(mixed.split("gallery").vectors, mapped.vectors[1::2])


def test_damaged_files_are_not_mapped(tmp_path: Path) -> None:
    sides(golden())[0].save(tmp_path)
    file = tmp_path / "embeddings.safetensors"
    whole = file.read_bytes()
    for content in (b"", b"no", whole[:-4], whole[:40], b"\xff" * 100, whole.replace(b"vectors", b"vektors")):
        file.write_bytes(content)
        with pytest.raises(UserError, match="holds no readable embeddings"):
            Embeddings.load(tmp_path, mmap=True)
    for vectors in (np.zeros((6, 8)), np.zeros(6, np.float32)):
        save_file({"vectors": vectors}, file)
        with pytest.raises(UserError, match="vectors are F"):
            Embeddings.load(tmp_path, mmap=True)
    file.unlink()
    with pytest.raises(UserError, match="holds no readable embeddings"):
        Embeddings.load(tmp_path, mmap=True)


def test_what_is_mapped_is_never_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Junk that stands together in front, as in Market-1501, is cut off; products are made of pieces of the file."""
    rng = np.random.default_rng(0)
    file, n = tmp_path / "gallery.f32", 3000
    rng.standard_normal((n, 16), np.float32).tofile(file)
    gallery = np.memmap(file, np.float32, mode="r", shape=(n, 16))
    pids, query = np.where(np.arange(n) < 100, -1, rng.integers(0, 50, n)), rng.standard_normal((70, 16), np.float32)
    seen, plain = [], scoring.product

    def product(query: np.ndarray, tile: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        seen.append(np.shares_memory(tile, gallery))
        return plain(query, tile, out)

    monkeypatch.setattr(scoring, "product", product)
    labels = {"query_pids": np.arange(70) % 50, "gallery_pids": pids}
    mapped = evaluate(query, gallery, **labels)
    assert seen and all(seen) and mapped.n_junk == 100
    assert repr(mapped) == repr(evaluate(query, np.array(gallery), **labels))
