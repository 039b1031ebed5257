"""Arrays of a file by their place: whatever piece it is, and never another content."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from retrieval_cases import random_data

from reidlab.retrieval import evaluate, evaluate_distributed
from reidlab.retrieval.inputs import problem_of
from reidlab.retrieval.placed import place_of
from reidlab.retrieval.scoring import Scorer
from reidlab.retrieval.sharded import cut, shard_starts
from reidlab.retrieval.vectors import Labels


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "vectors.f32"
    path.write_bytes(b"header__" + np.arange(600, dtype=np.float32).tobytes())
    return path


def mapped(file: Path, mode: str = "r") -> np.ndarray:
    return np.memmap(file, np.float32, mode, 8, (60, 10))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(slices=st.lists(st.tuples(st.integers(-70, 70), st.integers(-70, 70)), max_size=3), plain=st.booleans())
def test_any_run_of_rows_is_found_again(file: Path, slices: list[tuple[int, int]], plain: bool) -> None:
    array = np.asarray(mapped(file)) if plain else mapped(file)
    for begin, end in slices:
        array = array[begin:end]
    place = place_of(array)
    if not array.size:
        assert place is None
        return
    assert place is not None
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(place)).open(), array)


def test_what_is_no_run_of_a_file_is_not(file: Path) -> None:
    array = mapped(file)
    for other in (array.copy(), array[::2], array[:, :5], array.T, array[::-1], array + 0, np.ones((2, 2)), array[:0]):
        assert place_of(other) is None
    assert place_of(mapped(file, "c")) is None  # whose changes are its own
    assert place_of(mapped(file, "r+")) is not None


def test_a_file_that_was_deleted_cut_or_written_anew_is_not(file: Path) -> None:
    array = mapped(file)
    content = file.read_bytes()
    file.unlink()
    assert place_of(array) is None
    file.write_bytes(content[:100])
    assert place_of(array) is None
    file.write_bytes(content[:8] + np.arange(600, dtype=np.float32)[::-1].tobytes())
    assert place_of(array) is None
    file.write_bytes(content)
    assert place_of(array) is not None


@pytest.fixture
def case(tmp_path: Path) -> dict[str, Any]:
    """Return queries and a gallery of five tiles in a file, without junk, which would be taken out into a copy."""
    made = random_data(2, n_query=60, n_gallery=4100, dim=16)
    made |= {"query_pids": np.arange(60), "gallery_pids": np.arange(4100) % 160}
    made |= {name: made[name].astype(np.float32) for name in ("query", "gallery")}
    made["gallery"][3000:3050] = made["gallery"][:50]
    np.save(tmp_path / "gallery.npy", made["gallery"])
    return made | {"gallery": np.load(tmp_path / "gallery.npy", mmap_mode="r")}


def test_shards_of_a_file_are_sent_by_their_place(case: dict[str, Any]) -> None:
    query = Labels(case["query_pids"], case["query_camids"], None)
    gallery = Labels(case["gallery_pids"], case["gallery_camids"], None)
    problem = problem_of(case["query"], case["gallery"], query, gallery, metric="cosine")
    for shard in cut(problem, Scorer(problem), "official", shard_starts(4100, 3)):
        sent = pickle.dumps(shard.by_place())
        assert len(sent) < len(pickle.dumps(shard)) - shard.vectors.nbytes + 1000
        got = pickle.loads(sent)
        assert isinstance(got.vectors, np.memmap)
        for name, value in vars(shard).items():
            np.testing.assert_array_equal(getattr(got, name), value)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # Dask closes its sockets later
def test_processes_map_the_gallery_and_find_the_same(case: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def noted(array: np.ndarray) -> Any:
        asked.append(place_of(array))
        return asked[-1]

    for module in ("cluster", "shards"):
        monkeypatch.setattr(f"reidlab.retrieval.{module}.place_of", noted)
    found, alone = evaluate_distributed(**case, workers=2), evaluate(**case)
    assert len(asked) == 3 and all(asked)  # of the whole, which decides whether Dask watches, and of two parts
    assert repr(found) == repr(alone)
    np.testing.assert_array_equal(found.per_query["ap"], alone.per_query["ap"])
