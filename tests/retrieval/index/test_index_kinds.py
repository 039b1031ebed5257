"""Approximate kinds: recall, exact similarities of what is found, saving, adding, removing, options."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from index_cases import clusters, draw, naive, names

from reidlab.errors import UserError
from reidlab.registry import INDEXES
from reidlab.retrieval import Index
from reidlab.retrieval.index import rows
from reidlab.retrieval.index.hnsw import HNSW
from reidlab.retrieval.index.libraries import alone, import_faiss

KINDS = [kind for kind in INDEXES if kind != "flat"]
LOWEST = {"hnsw": 0.99, "ivf": 0.97, "ivf_pq": 0.95, "binary": 0.95}
N = 2000


@pytest.fixture(scope="module")
def built() -> dict[str, Index]:
    """Return an index of each kind over the same vectors; those who change one load a copy."""
    return {kind: Index.build(clusters(N), names(N), kind=kind, model="m1") for kind in INDEXES}


def copy(index: Index, place: Path) -> Index:
    return Index.load(index.save(place / "copy"))


@pytest.mark.parametrize("kind", KINDS)
def test_recall_on_clusters_and_similarities_that_are_exact(built: dict[str, Index], kind: str) -> None:
    queries, index = clusters(100, seed=1), built[kind]
    found, wanted = index.search(queries, 10), built["flat"].search(queries, 10)
    share = np.mean([len(set(mine) & set(theirs)) / 10 for mine, theirs in zip(found[1], wanted[1])])
    assert share >= LOWEST[kind]
    assert index.recall(queries) == pytest.approx(share), "no ties here"
    np.testing.assert_array_equal(found[0] == wanted[0], np.isclose(found[0], wanted[0], atol=0))
    whole = built["flat"].search(queries, N)
    for line, positions, similarity in zip(range(100), *found[::-1]):
        place = dict(zip(whole[1][line].tolist(), whole[0][line].tolist()))
        assert [place[position] for position in positions.tolist()] == similarity.tolist()
    assert (np.diff(found[0], axis=1) <= 0).all() and len(set(found[1][0])) == 10


@pytest.mark.parametrize("kind", KINDS)
def test_euclidean_distances(kind: str) -> None:
    vectors, queries = clusters(600) + 3, clusters(20, seed=1) + 3
    index = Index.build(vectors, names(600), kind=kind, metric="euclidean")
    assert index.recall(queries) >= 0.95
    similarity, position = index.search(queries, 1)
    np.testing.assert_allclose(-similarity[:, 0], np.linalg.norm(vectors[position[:, 0]] - queries, axis=1), rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_saved_added_to_and_removed_from(built: dict[str, Index], kind: str, tmp_path: Path) -> None:
    queries = clusters(30, seed=1)
    index = copy(built[kind], tmp_path)
    assert (index.fingerprint, index.measured) == (built["flat"].fingerprint, built[kind].measured)
    for mine, theirs in zip(index.search(queries), built[kind].search(queries)):
        np.testing.assert_array_equal(mine, theirs)
    nearest = [index.ids[row] for row in index.search(queries[:1], 40)[1][0]]
    index.remove(nearest)
    similarity, position = index.search(queries[:1], 10)
    assert (position >= 0).all() and not {index.ids[row] for row in position[0]} & set(nearest)
    index.add(queries[:2], ["new", "other"])
    again = copy(index, tmp_path)
    assert again.ids == index.ids and again.fingerprint == index.fingerprint
    for each in (index, again):
        similarity, position = each.search(queries[:2], 3)
        assert [each.ids[row] for row in position[:, 0]] == ["new", "other"]
        np.testing.assert_array_equal(similarity[:, 0], 1)
        assert each.recall(queries) >= LOWEST[kind] - 0.02
    again.remove([name for name in names(N // 2 + 200) if name not in nearest])  # more than half: built anew
    assert len(again._rows) == len(again) == N + 2 - len({*nearest, *names(N // 2 + 200)})
    assert again.recall(queries) >= LOWEST[kind] - 0.02
    assert again.search(queries[:2], 1)[1].ravel().tolist() == [len(again) - 2, len(again) - 1]


@pytest.mark.parametrize("kind", KINDS)
def test_mapped_files_give_the_same(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "v.npy", clusters(500))
    monkeypatch.setattr(rows, "BLOCK_BYTES", 4 * 32 * 130)
    options: dict[str, Any] = {"ef": 500, "ef_build": 500} if kind == "hnsw" else {}
    pair = [
        Index.build(each, names(500), kind=kind, options=options)
        for each in (clusters(500), np.load(tmp_path / "v.npy", mmap_mode="r"))
    ]
    for one, other in zip(*(index.search(clusters(10, seed=1), 5) for index in pair)):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", ["hnsw", "ivf", "binary"])
@pytest.mark.parametrize("n", [1, 2, 9])
def test_few_vectors(kind: str, n: int) -> None:
    vectors, queries = draw(n, 6), draw(4, 6, seed=1)
    index = Index.build(vectors, names(n), kind=kind)
    np.testing.assert_array_equal(index.search(queries, 12)[1], naive(vectors, queries, 12)[1])
    index.remove(index.ids)
    assert (index.search(queries, 2)[1] == -1).all()
    index.add(vectors, names(n))
    assert index.search(vectors, 1)[1].ravel().tolist() == list(range(n))


WHOLE: dict[str, dict[str, Any]] = {
    "hnsw": {"ef": 400, "ef_build": 400, "links": 64},
    "ivf": {"lists": 3, "probes": 3},
    "ivf_pq": {"lists": 3, "probes": 3, "refine": 1000},
    "binary": {"refine": 1000, "bits": 32},
}


@settings(max_examples=8, deadline=None)
@given(
    st.sampled_from(KINDS),
    st.lists(st.tuples(st.sampled_from(["add", "remove", "save", "compact"]), st.integers(0, 2**32)), max_size=5),
)
def test_any_changes_are_those_of_a_dict_where_all_is_looked_at(kind: str, steps: list[tuple[str, int]]) -> None:
    held: dict[str, np.ndarray] = dict(zip(names(270), draw(270, 8)))
    index = Index.build(draw(270, 8), names(270), kind=kind, options=WHOLE[kind])
    with tempfile.TemporaryDirectory() as place:
        for what, seed in steps:
            rng = np.random.default_rng(seed)
            if what == "add":
                fresh = [name for name in names(400) if name not in held][: rng.integers(1, 9)]
                vectors = draw(len(fresh), 8, seed=seed)
                index.add(vectors, fresh)
                held.update(zip(fresh, vectors))
            elif what == "remove":
                gone = rng.choice(list(held), rng.integers(0, len(held)), replace=False).tolist()
                assert index.remove(gone) == len(gone)
                held = {name: vector for name, vector in held.items() if name not in gone}
            elif what == "compact":
                index.compact()
            else:
                index = Index.load(index.save(Path(place) / "i"))
            assert index.ids == list(held)
            queries = draw(3, 8, seed=seed + 1)
            np.testing.assert_array_equal(index.search(queries, 5)[1], naive(np.array([*held.values()]), queries, 5)[1])


@pytest.mark.parametrize("kind", ["ivf", "ivf_pq"])
def test_more_lists_are_searched_where_those_hold_too_few(kind: str) -> None:
    options = {"lists": 10, "probes": 1} | ({"refine": 1} if kind == "ivf_pq" else {})
    index = Index.build(clusters(400), names(400), kind=kind, options=options)
    for k in (300, 400):
        position = index.search(clusters(5, seed=1), k)[1]
        assert (position >= 0).all() and all(len(set(line)) == k for line in position.tolist())


def test_lists_that_are_too_many_become_fewer_and_it_is_said() -> None:
    for kind in ("ivf", "ivf_pq"):
        index = Index.build(clusters(400), names(400), kind=kind, options={"lists": 100})
        assert index.said == ("10 lists are used, not 100: 400 vectors give each of them 39 or more.",)
        assert index._engine._index.nlist == 10  # type: ignore[attr-defined]
    assert Index.build(clusters(400), names(400), kind="ivf", options={"lists": 4}).said == ()


def test_what_is_too_little_or_does_not_fit() -> None:
    with pytest.raises(UserError, match=r"index 'ivf_pq' needs 256 vectors or more; there are 255\. Use kind='flat'"):
        Index.build(draw(255), names(255), kind="ivf_pq")
    with pytest.raises(UserError, match="parts=3 must divide the length of the vectors, 8: 1, 2, 4, 8"):
        Index.build(draw(256), names(256), kind="ivf_pq", options={"parts": 3})
    for kind, options, said in [
        ("hnsw", {"link": 3}, "index 'hnsw' has no option 'link'; it has links, ef_build, ef. Did you mean 'links'"),
        ("hnsw", {"links": np.float32(8)}, "options of index 'hnsw'"),
        ("hnsw", {"links": 1}, "links=1 must be a whole number from 2"),
        ("ivf", {"probes": 0}, "probes=0 must be a whole number from 1"),
        ("ivf", {"lists": "many"}, "option lists='many' must be"),
        ("ivf_pq", {"refine": 0}, "refine=0"),
        ("binary", {"bits": 12}, "bits=12 must be a multiple of 8"),
        ("binary", {"bits": 16, "rotation": False}, "needs rotation=True"),
        ("binary", {"seed": -1}, "seed=-1"),
    ]:
        with pytest.raises(UserError, match=said):
            Index.build(draw(5), names(5), kind=kind, options=options)


@pytest.mark.parametrize("dim", [5, 8, 12])
@pytest.mark.parametrize("options", [{}, {"rotation": False}, {"bits": 64}])
def test_binary_codes(dim: int, options: dict[str, Any], tmp_path: Path) -> None:
    """Every code differs from the query's where the signs do, whatever is padded."""
    vectors = clusters(200, dim)
    index = Index.build(vectors, names(200), kind="binary", metric="euclidean", options=options | {"refine": 1})
    engine = copy(index, tmp_path)._engine
    side = vectors - vectors.mean(axis=0)
    if options.get("rotation", True):
        axes = engine._axes  # type: ignore[attr-defined]
        assert axes.shape == (dim, options.get("bits", -(-dim // 8) * 8))
        np.testing.assert_allclose(axes[:, :dim].T @ axes[:, :dim], np.eye(min(dim, axes.shape[1])), atol=1e-6)
        side = side @ axes
    differing = ((side[:, None] > 0) != (side[None] > 0)).sum(axis=2)
    found = engine.propose(vectors, 20)
    assert (np.take_along_axis(differing, found, axis=1).max(axis=1) <= np.sort(differing, axis=1)[:, 19]).all()


def test_one_thread_for_a_few_queries() -> None:
    faiss = import_faiss()
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(3)
    try:
        with alone(2):
            assert faiss.omp_get_max_threads() == 1
        with alone(64):
            assert faiss.omp_get_max_threads() == 3
        assert faiss.omp_get_max_threads() == 3
    finally:
        faiss.omp_set_num_threads(before)


@pytest.mark.parametrize("kind", KINDS)
def test_a_structure_of_other_vectors_is_refused(
    built: dict[str, Index], kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A structure whose digest is right and that faiss can read, over other vectors; and one that it cannot read."""
    other = Index.build(clusters(300), names(300), kind=kind)._engine.dump()
    for arrays in (other, {name: array[:9] for name, array in other.items()}, {}):
        index = copy(built[kind], tmp_path)
        monkeypatch.setattr(index._engine, "dump", lambda arrays=arrays: arrays)
        index.save(tmp_path / "i")
        with pytest.raises(UserError, match=f"no structure that this version can use as '{kind}'"):
            Index.load(tmp_path / "i")


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_structure_is_refused(built: dict[str, Index], kind: str, tmp_path: Path) -> None:
    copy(built[kind], tmp_path)
    (path,) = (tmp_path / "copy").glob("structure-*")
    held = path.read_bytes()
    for damage in (held[:-1], held[: len(held) // 2], b"", held[:200] + bytes([held[200] ^ 1]) + held[201:]):
        path.write_bytes(damage)
        with pytest.raises(UserError, match="is damaged"):
            Index.load(tmp_path / "copy")


def test_a_bar_while_an_index_is_built(capfd: pytest.CaptureFixture[str]) -> None:
    Index.build(clusters(300), names(300), kind="hnsw", progress=True)
    assert "building hnsw" in capfd.readouterr().err
    Index.build(clusters(300), names(300), kind="ivf")
    assert capfd.readouterr() == ("", ""), "faiss warns of nothing"


def test_the_graph_is_kept_without_the_vectors(built: dict[str, Index], tmp_path: Path) -> None:
    index = copy(built["hnsw"], tmp_path)
    (path,) = (tmp_path / "copy").glob("structure-*")
    assert path.stat().st_size < 2.5 * N * 16 * 4 and isinstance(index._engine, HNSW)


def test_without_faiss_flat_works_and_the_others_say_what_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    assert Index.build(draw(300), names(300)).search(draw(1), 1)[1] == 0
    for kind in KINDS:
        with pytest.raises(UserError, match=r"faiss cannot be imported .*pip install faiss-cpu.*kind='flat'"):
            Index.build(draw(300), names(300), kind=kind)
