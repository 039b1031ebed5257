"""Indexes in folders: whole or not there, refused where foreign or damaged."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from index_cases import draw, names

from reidlab.errors import UserError
from reidlab.retrieval import Index
from reidlab.retrieval.index import writing
from reidlab.retrieval.index.reading import retried


def same(one: Index, other: Index) -> None:
    assert (one.ids, one.kind, one.metric, one.model, one.fingerprint) == (
        other.ids, other.kind, other.metric, other.model, other.fingerprint,
    )  # fmt: skip
    queries = draw(4, one.dim, seed=7)
    for mine, theirs in zip(one.search(queries, 6), other.search(queries, 6)):
        np.testing.assert_array_equal(mine, theirs)


def made(n: int = 20, model: str = "m1", seed: int = 0) -> Index:
    return Index.build(draw(n, seed=seed), names(n), model=model)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("mmap", [True, False])
def test_what_is_saved_is_loaded(tmp_path: Path, mmap: bool, metric: str) -> None:
    strange = ['a"b\n.jpg', "\udcff.jpg", "<img src=x onerror=alert(1)>.jpg", "ä", "  ", "null", "\u2028"]
    index = Index.build(draw(7) * 3, strange, metric=metric, model="m1")
    assert index.save(tmp_path / "new" / "index") == tmp_path / "new" / "index"
    found = Index.load(tmp_path / "new" / "index", model="m1", mmap=mmap)
    same(found, index)
    assert found.measured == index.measured and found.said == index.said
    assert isinstance(found.vectors.base, np.memmap) == mmap
    assert sorted(path.name.split("-")[0] for path in (tmp_path / "new" / "index").iterdir()) == [
        "ids", "manifest.json", "vectors",
    ]  # fmt: skip
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["index"]


def test_a_loaded_index_is_changed_and_saved_in_its_place(tmp_path: Path) -> None:
    made().save(tmp_path / "i")
    index = Index.load(tmp_path / "i")
    index.remove(names(3))
    index.add(draw(2, seed=5), ["x", "y"])
    index.save(tmp_path / "i")
    again = Index.load(tmp_path / "i")
    same(again, index)
    same(again, Index.build(np.concatenate([draw(20)[3:], draw(2, seed=5)]), [*names(17, 3), "x", "y"], model="m1"))
    assert len(list((tmp_path / "i").iterdir())) == 3, "the old files are gone"
    assert len(again.search(draw(1), 30)[1][0]) == 30


def test_an_empty_index_is_saved_and_filled_again(tmp_path: Path) -> None:
    index = made(3)
    index.remove(index.ids)
    similarity, position = index.search(draw(2), 2)
    assert (position == -1).all() and np.isneginf(similarity).all() and len(index) == 0
    with pytest.raises(UserError, match="the index is empty"):
        index.recall(draw(1))
    index.save(tmp_path / "i")
    again = Index.load(tmp_path / "i")
    same(again, index)
    again.add(draw(2), ["a", "b"])
    assert again.ids == ["a", "b"] and again.search(draw(2), 1)[1].tolist() == [[0], [1]]


def test_the_fingerprint_is_of_model_names_and_vectors() -> None:
    index = made()
    assert index.fingerprint == made().fingerprint and len(index.fingerprint) == 64
    other = [made(model="m2"), made(seed=1), made(19), Index.build(draw(20), names(20, 1), model="m1")]
    assert len({index.fingerprint, *(each.fingerprint for each in other)}) == 5
    index.add(draw(1, seed=8), ["x"])
    assert index.fingerprint != made().fingerprint
    index.remove(["x"])
    assert index.fingerprint == made().fingerprint


def test_an_index_of_another_model(tmp_path: Path) -> None:
    made().save(tmp_path / "i")
    with pytest.raises(UserError, match=r"of the model m1, and the queries are of the model m2"):
        Index.load(tmp_path / "i", model="m2")
    made(model="").save(tmp_path / "i")
    with pytest.raises(UserError, match="of a model that it does not name, and the queries are of the model m2"):
        Index.load(tmp_path / "i", model="m2")
    assert Index.load(tmp_path / "i").model == ""


class Stopped(BaseException):
    """As an interruption or a full disk would."""


def stop() -> None:
    raise Stopped


def kill() -> None:
    """Leave no time for clearing away."""
    os._exit(9)


def stop_at(
    step: int, late: bool, monkeypatch: pytest.MonkeyPatch, steps: list[str], end: Callable[[], None] = stop
) -> None:
    """Stop before, or after, the n-th thing that is done to the disk."""

    def watched(owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def call(*args: Any, **more: Any) -> Any:
            if name == "open" and (late or "x" not in str(args[1:])):
                return real(*args, **more)
            steps.append(name)
            now = len(steps) == step
            if now and not late:
                end()
            found = real(*args, **more)
            if now:
                end()
            return found

        monkeypatch.setattr(owner, name, call)

    for owner, name in [
        (os, "fsync"),
        (Path, "replace"),
        (Path, "rename"),
        (Path, "mkdir"),
        (Path, "open"),
        (np, "savez"),
    ]:
        watched(owner, name)
    for name in ("header", "_line", "digest_of", "manifest_digest", "_written", "_flush"):
        watched(writing, name)


@pytest.mark.parametrize("late", [True, False])
@pytest.mark.parametrize("there", [True, False])
def test_whatever_stops_a_save_the_old_index_stays_whole(there: bool, late: bool, tmp_path: Path) -> None:
    old, new = made(4), made(5, seed=3)
    place = tmp_path / "i"
    done, step = 0, 0
    while done < 2:
        step += 1
        shutil.rmtree(place, ignore_errors=True)
        if there:
            old.save(place)
        steps: list[str] = []
        with pytest.MonkeyPatch.context() as patch:
            stop_at(step, late, patch, steps)
            try:
                new.save(place)
                done += 1
            except Stopped:
                pass
        if there or place.exists():
            found = Index.load(place)
            same(found, new if found.fingerprint == new.fingerprint else old)
        assert [path.name for path in tmp_path.iterdir()] == ["i"] * place.exists(), "nothing is left beside it"
        if len(steps) < step:
            same(Index.load(place), new)
    assert step > 20


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.parametrize("there", [True, False])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_whenever_a_save_is_killed_the_old_index_stays_whole(there: bool, tmp_path: Path) -> None:
    old, new = made(4), made(5, seed=3)
    place = tmp_path / "i"
    killed = 0
    while True:
        shutil.rmtree(place, ignore_errors=True)
        if there:
            old.save(place)
        child = os.fork()
        if not child:
            try:
                stop_at(killed + 1, False, pytest.MonkeyPatch(), [], kill)
                new.save(place)
            finally:
                os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if there or place.exists():
            found = Index.load(place)
            same(found, new if found.fingerprint == new.fingerprint else old)
        new.save(place)
        same(Index.load(place), new)
        if code == 0:
            break
        killed += 1
    assert killed > 20


def test_every_file_and_folder_is_flushed(tmp_path: Path, flushed: list[tuple[int, int]]) -> None:
    index = Index.build(draw(20), names(20), kind="hnsw")
    for _ in range(2):  # new, and in place of it
        index.save(tmp_path / "i")
        paths = [tmp_path / "i", *(tmp_path / "i").iterdir()]
        assert len(paths) == 5 and {(p.stat().st_dev, p.stat().st_ino) for p in paths} <= set(flushed)
        flushed.clear()


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(4).save(tmp_path / "i")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"cannot be written \(No space left on device\); what was there is as it was"):
        made(5).save(tmp_path / "i")
    same(Index.load(tmp_path / "i"), made(4))
    monkeypatch.setattr("reidlab.space.free_bytes", lambda _: 1000)
    with pytest.raises(UserError, match=r"The index j needs .* are free"):
        made(5).save(tmp_path / "j")


def test_what_a_kill_left_behind_goes_with_a_later_save(tmp_path: Path) -> None:
    made(4).save(tmp_path / "i")
    left = tmp_path / "i" / "vectors-0123456789ab.npy"
    young = tmp_path / "i" / "ids-0123456789ab.jsonl"
    beside = tmp_path / ".j.partial-0123456789ab"
    beside.mkdir()
    for path in (left, young):
        path.write_bytes(b"")
    for path in (left, beside):
        os.utime(path, (0, 0))
    same(Index.load(tmp_path / "i"), made(4))
    made(5).save(tmp_path / "i")
    made(5).save(tmp_path / "j")
    assert not left.exists() and not beside.exists() and young.exists()


def test_other_places_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.jpg").write_bytes(b"x")
    with pytest.raises(UserError, match=r"holds 'a.jpg', which is no part of an index"):
        made().save(tmp_path / "pictures")
    with pytest.raises(UserError, match="is a file"):
        made().save(tmp_path / "pictures" / "a.jpg")
    with pytest.raises(UserError, match="cannot be written"):
        made().save(tmp_path / "pictures" / "a.jpg" / "i")
    (tmp_path / "empty").mkdir()
    same(Index.load(made().save(tmp_path / "empty")), made())
    with pytest.raises(UserError, match=r"holds no index: it has no manifest\.json"):
        Index.load(tmp_path / "pictures")
    with pytest.raises(UserError, match="holds no index"):
        Index.load(tmp_path / "nowhere")


def test_another_layout_and_a_changed_manifest(tmp_path: Path) -> None:
    made().save(tmp_path / "i")
    path = tmp_path / "i" / "manifest.json"
    about = json.loads(path.read_text())
    path.write_text(json.dumps(about | {"schema": 2}))
    with pytest.raises(UserError, match="has layout 2; this version of reidlab reads 1"):
        Index.load(tmp_path / "i")
    path.write_text(json.dumps(about | {"model": "m2"}))
    with pytest.raises(UserError, match="was changed or is damaged"):
        Index.load(tmp_path / "i")
    for change in ({"dim": "8"}, {"kind": "hmsw"}, {"options": {"a": 1}}, {"files": {}}, {"rows": 19}, {"count": 3}, {"dim": 9},
                   {"metric": "x"}, {"fingerprint": "0" * 64}, {"files": {"vectors": {"name": "../../x", "bytes": 3}}}):  # fmt: skip
        changed = about | change
        path.write_text(json.dumps(changed | {"digest": writing.manifest_digest(changed)}))
        with pytest.raises(UserError):
            Index.load(tmp_path / "i")
    path.write_text(json.dumps(about))
    same(Index.load(tmp_path / "i"), made())


def test_exchanged_files(tmp_path: Path) -> None:
    made().save(tmp_path / "i")
    made(seed=1).save(tmp_path / "j")
    for kind in ("vectors", "ids"):
        (theirs,), (mine,) = (tmp_path / "j").glob(f"{kind}-*"), (tmp_path / "i").glob(f"{kind}-*")
        held = mine.read_bytes()
        mine.write_bytes(theirs.read_bytes() if kind == "vectors" else held[::-1])
        mark = made(seed=1).fingerprint[:16] if kind == "vectors" else "digest"
        with pytest.raises(UserError, match=mark):
            Index.load(tmp_path / "i")
        mine.write_bytes(held)
        mine.rename(tmp_path / "away")
        with pytest.raises(UserError, match="is missing"):
            Index.load(tmp_path / "i")
        (tmp_path / "away").rename(mine)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    """Truncated, longer, or with other bytes: an error that says so, or (blanks of the manifest) the same index."""
    index = made(6)
    index.save(tmp_path / "i")
    rng = random.Random(0)
    refused = 0
    for path in sorted((tmp_path / "i").iterdir()):
        held = path.read_bytes()
        for _ in range(60):
            broken = bytearray(held)
            for _ in range(rng.randint(1, 3)):
                broken[rng.randrange(len(held))] = rng.randrange(256)
            damage = rng.choice([bytes(broken), held[: rng.randrange(len(held))], held + b"x", bytes(broken)[:-1]])
            path.write_bytes(damage)
            try:
                same(Index.load(tmp_path / "i"), index)
            except UserError:
                refused += 1
        path.write_bytes(held)
    assert refused > 150
    same(Index.load(tmp_path / "i"), index)


def test_an_index_that_is_replaced_while_it_is_read(tmp_path: Path) -> None:
    made(4).save(tmp_path / "i")
    seen: list[int] = []

    def read(place: Path) -> Index:
        seen.append(1)
        if len(seen) == 1:
            made(5).save(tmp_path / "i")
            raise UserError("vectors are missing")
        return Index.load(place)

    same(retried(tmp_path / "i", read), made(5))
    assert len(seen) == 2

    def fails(_: Path) -> Index:
        raise UserError("broken")

    with pytest.raises(UserError, match="broken"):
        retried(tmp_path / "i", fails)
