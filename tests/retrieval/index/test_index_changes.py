"""Adding and removing, in any order, against a dict."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from index_cases import draw, naive, names

from reidlab.errors import UserError
from reidlab.retrieval import Index

STEPS = st.lists(st.tuples(st.sampled_from(["add", "remove", "save", "compact"]), st.integers(0, 2**32)), max_size=8)


@settings(max_examples=40, deadline=None)
@given(STEPS, st.sampled_from(["cosine", "euclidean"]))
def test_any_changes_are_those_of_a_dict(steps: list[tuple[str, int]], metric: str) -> None:
    held: dict[str, np.ndarray] = dict(zip(names(6), draw(6, 4)))
    index = Index.build(draw(6, 4), names(6), metric=metric)
    with tempfile.TemporaryDirectory() as place:
        for what, seed in steps:
            rng = np.random.default_rng(seed)
            if what == "add":
                fresh = [name for name in names(12) if name not in held][: rng.integers(1, 4)]
                if fresh:
                    vectors = draw(len(fresh), 4, seed=seed)
                    index.add(vectors, fresh)
                    held.update(zip(fresh, vectors))
            elif what == "remove" and held:
                gone = rng.choice(list(held), rng.integers(0, len(held) + 1), replace=False).tolist()
                assert index.remove(gone) == len(gone)
                held = {name: vector for name, vector in held.items() if name not in gone}
            elif what == "compact":
                index.compact()
            elif what == "save":
                index = Index.load(index.save(Path(place) / "i"))
            assert index.ids == list(held) and len(index) == len(held)
            queries = draw(3, 4, seed=seed + 1)
            found = index.search(queries, 5)
            wanted = naive(np.array([*held.values()]).reshape(-1, 4), queries, 5, metric)
            np.testing.assert_array_equal(found[1], wanted[1])
            np.testing.assert_allclose(found[0], wanted[0], rtol=0, atol=3e-7)


def test_nothing_changes_when_a_change_is_refused() -> None:
    index = Index.build(draw(5), names(5))
    for call, given_, said in [
        (index.add, (draw(2, seed=1), ["new", names(5)[3]]), r"'00003.jpg' is in the index already; remove it first"),
        (index.add, (draw(2, seed=1), ["new", "new"]), r"'new' stands in rows 0 and 1"),
        (index.remove, ([names(5)[0], "0000.jpg"],), r"'0000.jpg' is not in the index. Did you mean"),
        (index.remove, ("00000.jpg",), "must be a list of texts"),
    ]:
        before = index.fingerprint
        with pytest.raises(UserError, match=said):
            call(*given_)  # type: ignore[operator]
        assert index.ids == names(5) and index.fingerprint == before
    assert index.remove([]) == 0 and index.remove([names(5)[0]] * 2) == 1
    index.add(draw(1), [names(5)[0]])  # it is free again, and comes last
    assert index.ids == [*names(4, 1), names(5)[0]]


def test_a_structure_that_fails_to_grow_leaves_the_index_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    index = Index.build(draw(5), names(5))

    def fails(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(index._engine, "add", fails)
    with pytest.raises(MemoryError):
        index.add(draw(3, seed=1), ["a", "b", "c"])
    monkeypatch.undo()
    assert len(index) == 5 and index.search(draw(5), 9)[1].max() == 4
    index.add(draw(3, seed=1), ["a", "b", "c"])
    assert index.search(draw(3, seed=1), 1)[1][:, 0].tolist() == [5, 6, 7]


def test_more_removed_than_held_are_dropped() -> None:
    index = Index.build(draw(20), names(20))
    index.remove(names(10))
    assert len(index._rows) == 20
    index.remove(names(1, 10))
    assert len(index._rows) == 9 and index.ids == names(9, 11)
    np.testing.assert_array_equal(index.search(draw(20)[11:], 1)[1][:, 0], np.arange(9))
