"""Search from files to hits, with the shipped model and with one of the test's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn import XSS, Colours, draw
from PIL import Image

from reidlab.errors import UserError
from reidlab.retrieval import embed, rerank
from reidlab.search import SearchResult, compare, search
from reidlab.search.files import find_images
from reidlab.stages.models import ModelSource

pytestmark = pytest.mark.usefixtures("settled", "own_data")


@pytest.fixture(autouse=True)
def _own_model(model: Colours, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the model named "colours" be the test's own."""
    from reidlab.search import searching

    real = searching.model_from

    def given(name: str) -> ModelSource:
        return ModelSource("colours", "c" * 64, lambda: model, {}) if name == "colours" else real(name)

    monkeypatch.setattr(searching, "model_from", given)


def run(query: Any, gallery: Any, **options: Any) -> SearchResult:
    return search(query, gallery, **{"model": "colours", "progress": False, "device": "cpu", **options})


def test_hits_are_the_nearest_files(crops: Callable[[int, int], Path], model: Colours, tmp_path: Path) -> None:
    gallery = crops(6, 3)
    query = [str(draw(tmp_path / "q" / f"{pid}.png", pid, 77)) for pid in (4, 1)]
    found = run(query, gallery, top=3)
    assert found.queries == query and found.n_gallery == 18 and not len(found.skipped)
    assert found.hits["pid"].tolist() == ["0004"] * 3 + ["0001"] * 3
    assert found.hits["rank"].tolist() == [1, 2, 3, 1, 2, 3]
    assert set(found.of(query[0])["camera"]) == {"1", "2", "3"}
    assert found.hits["probability"].isna().all() and "no calibration" in found.notes[0]
    files = find_images(gallery).files
    q, g = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in (
        embed(model, query, progress=False).vectors, embed(model, files, progress=False).vectors))  # fmt: skip
    for row, own in enumerate(query):
        order = np.argsort(-(q[row] @ g.T), kind="stable")[:3]
        assert found.of(own)["file"].tolist() == [files[at] for at in order]
        np.testing.assert_allclose(found.of(own)["similarity"], (q[row] @ g.T)[order], atol=1e-5)


def test_the_query_itself_is_left_out(crops: Callable[[int, int], Path], tmp_path: Path) -> None:
    gallery = crops(3, 2)
    own = gallery / "0001_c1_0.png"
    copy = gallery / "copy.png"
    copy.write_bytes(own.read_bytes())
    found = run(own, gallery, top=10)
    assert len(found.hits) == 5 and str(own) not in set(found.hits["file"]) and str(copy) not in set(found.hits["file"])
    kept = run(own, gallery, top=2, keep_self=True)
    assert set(kept.hits["file"]) == {str(own), str(copy)}
    np.testing.assert_allclose(kept.hits["similarity"], 1, atol=1e-6)


def test_a_folder_of_all_kinds_is_accounted_for(tmp_path: Path) -> None:
    good = draw(tmp_path / "g" / "good.png", 1)
    draw(tmp_path / "g" / XSS, 2)
    (tmp_path / "g" / "broken.jpg").write_bytes(good.read_bytes()[:50])
    (tmp_path / "g" / "notes.txt").write_text("text")
    exif = Image.Exif()
    exif[0x0112] = 6  # what shows it turns it by 270 degrees, which makes it upright again
    Image.open(good).transpose(Image.Transpose.ROTATE_90).save(tmp_path / "g" / "turned.png", exif=exif)
    query = draw(tmp_path / "q.png", 1, 5)
    found = run(query, tmp_path / "g")
    similarity = {Path(hit.file).name: hit.similarity for hit in found.hits.itertuples()}
    assert similarity["turned.png"] == pytest.approx(similarity["good.png"], abs=1e-6)
    accounted = [*found.hits["file"], *found.skipped["file"]]
    assert sorted(accounted) == sorted(str(path) for path in (tmp_path / "g").iterdir())
    assert set(found.skipped["side"]) == {"gallery"}


def test_the_second_search_embeds_nothing(crops: Callable[[int, int], Path], model: Colours, tmp_path: Path) -> None:
    gallery, query = crops(3, 2), draw(tmp_path / "q.png", 2, 9)
    first = run(query, gallery)
    assert first.facts["embedded now"] == 7
    model.calls.clear()
    again = run(query, gallery)
    assert again.facts["embedded now"] == 0 and model.calls == []
    assert again.hits.equals(first.hits)


def test_a_kept_index_is_brought_up_to_date(crops: Callable[[int, int], Path], tmp_path: Path) -> None:
    gallery, query, place = crops(4, 2), draw(tmp_path / "q.png", 2, 9), tmp_path / "index"
    first = run(query, gallery, index=place)
    assert first.hits.equals(run(query, gallery).hits)
    assert run(query, gallery, index=place).hits.equals(first.hits)
    (gallery / "0000_c1_0.png").unlink()
    draw(gallery / "0003_c1_0.png", 50)
    draw(gallery / "0009_c1_0.png", 51)
    later = run(query, gallery, index=place, top=100)
    assert any("2 files new or changed, 1 gone" in note for note in later.notes)
    fresh = run(query, gallery, top=100)
    assert set(later.hits["file"]) == set(fresh.hits["file"])
    np.testing.assert_array_equal(later.hits["similarity"], fresh.hits["similarity"])


@pytest.mark.parametrize("method", ["k_reciprocal", "alpha_qe"])
def test_hits_in_the_order_of_a_re_ranking(
    crops: Callable[[int, int], Path], model: Colours, tmp_path: Path, method: str
) -> None:
    gallery, query = crops(5, 4), [str(draw(tmp_path / "q" / f"{pid}.png", pid, 77)) for pid in (3, 0)]
    found = run(query, gallery, top=6, rerank=method)
    files = find_images(gallery).files
    q, g = (embed(model, each, progress=False).vectors for each in (query, files))
    distances = np.asarray(rerank(q, g, method=method))
    for row, own in enumerate(query):
        hits = found.of(own)
        at = [files.index(file) for file in hits["file"]]
        np.testing.assert_allclose(distances[row, at], np.sort(distances[row])[:6], atol=1e-6)
        units = g[at] / np.linalg.norm(g[at], axis=1, keepdims=True)
        np.testing.assert_allclose(hits["similarity"], units @ q[row] / np.linalg.norm(q[row]), atol=1e-5)
    assert found.facts["re-ranking"] == method


def test_an_index_of_another_model_is_refused(crops: Callable[[int, int], Path], tmp_path: Path) -> None:
    gallery, query = crops(2, 2), draw(tmp_path / "q.png", 2, 9)
    run(query, gallery, index=tmp_path / "index")
    with pytest.raises(UserError, match="model"):
        run(query, gallery, index=tmp_path / "index", model="small")
    with pytest.raises(UserError, match=r"holds an index of kind flat, not hnsw\. Name another folder for hnsw"):
        run(query, gallery, index=tmp_path / "index", kind="hnsw")


def test_a_kept_index_of_another_kind_is_not_taken_for_flat(crops: Callable[[int, int], Path], tmp_path: Path) -> None:
    gallery, query = crops(4, 3), draw(tmp_path / "q.png", 2, 9)
    assert run(query, gallery, index=tmp_path / "index", kind="hnsw").facts["index"] == "hnsw"
    assert run(query, gallery, index=tmp_path / "index").facts["index"] == "hnsw"
    assert run(query, gallery, index=tmp_path / "index", kind="hnsw").facts["index"] == "hnsw"
    with pytest.raises(UserError, match=r"holds an index of kind hnsw, not flat.* or no kind: the hnsw one is used"):
        run(query, gallery, index=tmp_path / "index", kind="flat")
    assert run(query, gallery).facts["index"] == "flat"
    assert run(query, gallery, index=tmp_path / "other").facts["index"] == "flat"


def test_an_index_that_cannot_be_used_is_refused_before_anything_is_embedded(
    crops: Callable[[int, int], Path], model: Colours, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery, query, place = crops(4, 3), draw(tmp_path / "q.png", 2, 9), tmp_path / "index"
    run(query, gallery, index=place)
    monkeypatch.setattr("reidlab.search.searching.embed_files", lambda *_, **__: pytest.fail("files were embedded"))
    with pytest.raises(UserError, match="holds an index of kind flat, not hnsw"):
        run(query, gallery, index=place, kind="hnsw")
    with pytest.raises(UserError, match="holds vectors of the model"):
        run(query, gallery, index=place, model="small")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no index"):
        run(query, gallery, index=tmp_path / "empty")
    (place / "manifest.json").write_text("{}")
    with pytest.raises(UserError, match="has layout None"):
        run(query, gallery, index=place)


def test_the_shipped_model_and_its_probabilities(crops: Callable[[int, int], Path], tmp_path: Path) -> None:
    found = search(draw(tmp_path / "q.png", 1, 9), crops(2, 2), device="cpu", progress=False)
    assert found.facts["model"] == "small" and len(found.hits) == 4
    assert found.hits["probability"].between(0, 1).all()
    assert "assume that one of the 4 gallery images" in found.notes[0]
    rare = search(tmp_path / "q.png", tmp_path / "gallery", device="cpu", progress=False, prior=0.001)
    assert (rare.hits["probability"] < found.hits["probability"]).all()
    quarter = search(tmp_path / "q.png", tmp_path / "gallery", device="cpu", progress=False, prior=0.25)
    assert quarter.hits.equals(found.hits)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"top": 0}, "top"),
        ({"prior": 1}, "prior"),
        ({"pattern": "("}, "pattern="),
        ({"kind": "hnws"}, "Did you mean 'hnsw'"),
        ({"rerank": "k_reciprocl"}, "Did you mean 'k_reciprocal'"),
        ({"model": "no-such-run"}, "no-such-run"),
        ({"device": "tpu"}, "device='tpu'"),
        ({"batch_size": 0}, "batch_size"),
        ({"gallery": "gone"}, "gallery: there is no file or folder gone"),
    ],
)
def test_what_cannot_be_used_is_named(
    crops: Callable[[int, int], Path], tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    given = {"gallery": crops(2, 2), **options}
    with pytest.raises(UserError, match=said):
        run(draw(tmp_path / "q.png", 1), given.pop("gallery"), **given)


def test_queries_none_of_which_is_an_image(crops: Callable[[int, int], Path], tmp_path: Path) -> None:
    (tmp_path / "q.jpg").write_text("text")
    with pytest.raises(UserError, match="query: none of 1 files can be read as an image"):
        run(tmp_path / "q.jpg", crops(2, 1))


def test_compare_says_how_sure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, same, other = (draw(tmp_path / f"{n}.png", seed, n) for n, seed in ((1, 3), (2, 3), (3, 11)))
    near, far = (compare(first, each, model="colours", device="cpu") for each in (same, other))
    assert near.similarity > far.similarity and near.same is None and near.probability is None
    assert "no calibration" in near.sentence()
    assert compare(first, first, model="colours", device="cpu").notes[0] == "The two files hold the same bytes."
    sure = compare(first, same, device="cpu")
    assert sure.probability is not None and 0 < sure.probability < 1
    assert sure.same == (sure.similarity >= sure.threshold)
    assert "false-accept rate of 0.01" in sure.sentence()
    with pytest.raises(UserError, match="first: there is no file"):
        compare("gone.png", same)
    with pytest.raises(UserError, match="rate"):
        compare(first, same, rate=2)
