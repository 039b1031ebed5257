"""The explorer of rankings without a browser: choices, what is shown, uploads, errors, nothing left behind."""

from __future__ import annotations

import gc
import io
import re
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from explorer_cases import HOSTILE, embedded, pictures
from ipywidgets.widgets import widget as registry
from PIL import Image

from reidlab.data.pixels import PixelStore
from reidlab.errors import UserError
from reidlab.explorers import RetrievalExplorer
from reidlab.explorers.uploads import LARGEST, embedder_of, read_upload
from reidlab.plots.galleries import choose_queries
from reidlab.retrieval import evaluate, fit_calibration, rank_gallery


@pytest.fixture(autouse=True)
def _errors_are_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REIDLAB_EXPLORER_ERRORS", "raise")


@pytest.fixture
def data(tmp_path: Path) -> Any:
    return embedded(pictures(tmp_path), noise=1.4)


@pytest.fixture
def explorer(data: Any) -> Any:
    made = RetrievalExplorer(*data, model=lambda pixels: np.full(16, 1 + pixels.mean()))
    yield made
    made.close()


def png(size: tuple[int, int] = (20, 40), **options: Any) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, (9, 90, 200)).save(out, "JPEG" if options else "PNG", **options)
    return out.getvalue()


def shown(explorer: RetrievalExplorer) -> list[int]:
    return [int(key[1:]) for key in explorer.grid.keys_shown[1:]]


def test_it_shows_the_first_query_at_once(explorer: RetrievalExplorer, data: Any) -> None:
    expected = rank_gallery(*data, queries=[0], k=20)
    assert shown(explorer) == expected["gallery"].tolist()
    items = explorer.grid.items
    assert items[0]["sign"] == "query" and [each["sign"] for each in items[1:]] == expected["flag"].tolist()
    assert f"cosine {expected['similarity'][0]:.3f}" in items[1]["detail"]
    assert explorer.strip.grid.keys_shown == [f"q{n}" for n in range(6)] and explorer.strip.grid.selected == 0
    line = evaluate(*data).per_query.iloc[0]
    assert f"AP {line['ap']:.1%}" in explorer.summary() and f"rank {line['first_rank']}," in explorer.summary()
    assert not explorer.errors


def test_choices_change_what_is_shown(explorer: RetrievalExplorer, data: Any) -> None:
    gallery = data[1].table
    explorer.state.k = 5
    assert len(shown(explorer)) == 5
    explorer.state.show_ignored = False
    assert shown(explorer) == rank_gallery(*data, queries=[0], k=5, show_ignored=False)["gallery"].tolist()
    explorer.state.camera = "camera:1"
    assert set(gallery["camid"][shown(explorer)]) == {1}
    explorer.state.set_trait("camera", "others")
    assert 0 not in set(gallery["camid"][shown(explorer)])  # the query's own
    explorer.state.camera = ""
    for method in ("k_reciprocal", "alpha_qe"):
        explorer.state.rerank = method
        expected = rank_gallery(*data, queries=[0], k=5, show_ignored=False, rerank=method)
        assert shown(explorer) == expected["gallery"].tolist() and method in explorer.summary()


@pytest.mark.parametrize("order", ["worst", "best"])
def test_orders_are_those_of_the_figures(explorer: RetrievalExplorer, data: Any, order: str) -> None:
    explorer.state.order = order
    expected = choose_queries(evaluate(*data), order, 6)
    assert explorer.strip.grid.keys_shown == [f"q{row}" for row in expected]
    assert explorer.state.subject == f"q{expected[0]}"
    explorer.step(1)
    assert explorer.state.subject == f"q{expected[1]}" and explorer.strip.grid.selected == 1
    explorer.step(-1)
    explorer.step(-1)
    assert explorer.state.subject == f"q{expected[-1]}"  # round


def test_random_is_a_permutation_by_seed(explorer: RetrievalExplorer) -> None:
    explorer.state.order = "random"
    first = explorer.strip.grid.keys_shown
    assert sorted(first) == [f"q{n}" for n in range(6)]
    explorer.state.seed = 1
    assert explorer.strip.grid.keys_shown != first


def test_filters(explorer: RetrievalExplorer, data: Any) -> None:
    explorer.state.pid = "3"
    assert explorer.strip.grid.keys_shown == ["q3"] and explorer.state.subject == "q3"
    explorer.state.pid = "nobody"
    assert explorer.strip.grid.keys_shown == [] and "No query is left" in explorer.summary()
    explorer.step(1)
    assert explorer.state.subject == "q3"
    explorer.state.pid = ""
    explorer.state.only_wrong = True
    line = evaluate(*data).per_query
    wrong = line.index[(line["first_rank"] != 1) & line["valid"]]
    assert 0 < len(wrong) < 6
    assert explorer.strip.grid.keys_shown == [f"q{row}" for row in wrong]


def test_a_result_becomes_the_query_and_back_leads_back(explorer: RetrievalExplorer) -> None:
    key = explorer.grid.keys_shown[3]
    explorer.grid.choose(key)
    assert explorer.state.subject == key == explorer.grid.keys_shown[0]
    assert explorer.grid.items[0]["sign"] == "query" and "as query" in explorer.summary()
    explorer.grid.choose(explorer.grid.keys_shown[2])
    assert explorer.state.history == ["q0", key] and not explorer.controls.back.disabled
    explorer.controls.back.click()
    assert explorer.state.subject == key
    explorer.back()
    assert explorer.state.subject == "q0" and explorer.state.history == [] and explorer.controls.back.disabled
    explorer.back()
    assert explorer.state.subject == "q0"
    explorer.controls.number.value = 4
    assert explorer.state.subject == "q4" and explorer.strip.grid.selected == 4
    for _ in range(60):
        explorer.step(1)
    assert len(explorer.state.history) == 50


def test_an_upload(explorer: RetrievalExplorer, data: Any) -> None:
    explorer.upload("<b>.png", png())
    assert explorer.state.subject == "u1" and "nobody said" in explorer.summary()
    assert {each["sign"] for each in explorer.grid.items[1:]} == {""}
    assert explorer.grid.picture("u1").data.startswith(b"\xff\xd8")
    assert "&lt;b&gt;.png" in explorer.snapshot().html and "<b>" not in explorer.snapshot().html
    for _ in range(8):
        explorer.upload("b.png", png())
    with pytest.raises(UserError, match="still kept"):
        explorer.go("u1")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "empty"),
        (b"hello", "cannot identify"),
        (png()[:60], "cannot be used"),
        (bytes(LARGEST + 1), "are allowed"),
    ],
)
def test_a_bad_upload_is_told_and_nothing_changes(
    explorer: RetrievalExplorer, content: bytes, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REIDLAB_EXPLORER_ERRORS")
    explorer.upload("<i>.jpg", content)
    assert why in explorer.error and "'<i>.jpg'" in explorer.error
    assert "<i>" not in explorer.status.value
    assert explorer.state.subject == "q0" and isinstance(explorer.errors[-1], UserError)
    explorer.step(1)
    assert not explorer.error


def test_what_the_upload_button_sends(explorer: RetrievalExplorer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REIDLAB_EXPLORER_ERRORS")
    button = explorer.controls.file
    assert button.limit == LARGEST < 10 * 2**20, "servers of notebooks cut connections beyond"

    def sends(content: object, *buffers: bytes) -> None:
        button._told(button, content, [memoryview(each) for each in buffers])

    sends({"kind": "file", "name": "a.png"}, png())
    assert explorer.state.subject == "u1" and not explorer.error
    sends({"kind": "large", "name": "<i>.png", "size": 11_000_000})
    assert "'<i>.png' has 11,000,000 bytes, and 8,388,608 are allowed" in explorer.error
    assert "<i>" not in explorer.status.value and explorer.state.subject == "u1"
    sends({"kind": "unread", "name": "b.png", "why": "NotFoundError"})
    assert "'b.png' could not be read by the browser (NotFoundError)" in explorer.error
    for nonsense in (
        None,
        [],
        {"kind": "file"},
        {"kind": "large", "name": "a", "size": "9"},
        {"kind": "file", "name": 3},
    ):
        sends(nonsense)
    sends({"kind": "file", "name": "a.png"})
    assert explorer.state.subject == "u1" and len(explorer.errors) == 2
    explorer.close()
    sends({"kind": "file", "name": "a.png"}, png())
    assert explorer.state.subject == "u1"


def test_uploads_stand_upright() -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    assert read_upload("a.jpg", png((20, 40), exif=turned)).pixels.shape == (20, 40, 3)
    assert read_upload("a.jpg", png((20, 40))).pixels.shape == (40, 20, 3)


def test_without_a_model_nothing_is_uploaded(data: Any) -> None:
    made = RetrievalExplorer(*data)
    assert made.controls.file.disabled
    with pytest.raises(UserError, match="model="):
        made.upload("a.png", png())
    with pytest.raises(UserError, match="neither a model"):
        RetrievalExplorer(*data, model=3)
    made.close()


def test_an_upload_is_embedded_as_the_gallery_was(tmp_path: Path, own_data: Path) -> None:
    from reidlab.models import build
    from reidlab.retrieval import embed

    model = build({"name": "osnet_x0_25", "height": 64, "width": 32}, 0).eval()
    rng = np.random.default_rng(0)
    path = tmp_path / "person.png"
    Image.fromarray(rng.integers(0, 256, (90, 50, 3), dtype=np.uint8)).save(path)
    expected = embed(model, [str(path)], device="cpu", progress=False).vectors[0]
    found = embedder_of(model)(read_upload("p", path.read_bytes()).pixels)
    assert np.allclose(found, expected, atol=1e-5)


def test_probabilities_come_from_a_calibration_alone(data: Any) -> None:
    assert not any("same" in each["detail"] for each in RetrievalExplorer(*data).grid.items)
    calibration = fit_calibration(data[1], draws=10)
    made = RetrievalExplorer(*data, calibration=calibration, prior=0.1)
    position = rank_gallery(*data, queries=[0], k=1)
    expected = calibration.probability(position["similarity"].iloc[0], prior=0.1)
    assert made.grid.items[1]["detail"].startswith(f"{expected:.0%} same\ncosine")
    assert "assuming that one image in 10 does" in made.controls.legend.value
    usual = RetrievalExplorer(*data, calibration=calibration)  # one image of the gallery, as `reidlab search` assumes
    expected = calibration.probability(position["similarity"].iloc[0], prior=1 / len(data[1]))
    assert usual.grid.items[1]["detail"].startswith(f"{expected:.0%} same\ncosine")
    usual.close()
    made.state.rerank = "k_reciprocal"
    first = shown(made)[0]
    vectors = data[0].vectors[0], data[1].vectors[first]
    assert made.grid.items[1]["detail"].startswith(f"{calibration.probability(vectors[0] @ vectors[1], prior=0.1):.0%}")
    made.close()


def test_a_result_is_used_or_refused(data: Any) -> None:
    result = evaluate(*data, ap="trapezoid")
    made = RetrievalExplorer(*data, result)
    assert made.queries.result is result and f"AP {result.per_query['ap'][0]:.1%} (trapezoid)" in made.summary()
    made.close()
    other = evaluate(*data, rule="no_camera")
    made = RetrievalExplorer(*data, other)
    assert made.queries.result.rule == "official"
    made.close()
    few = data[0].__class__(data[0].vectors[:3], data[0].table.iloc[:3])
    with pytest.raises(UserError, match="6 queries, the embeddings 3"):
        RetrievalExplorer(few, data[1], result)


def test_pictures_come_from_a_store(data: Any, tmp_path: Path) -> None:
    query, gallery = data
    both = pd.concat([query.table, gallery.table], ignore_index=True)
    store = PixelStore.build(both, tmp_path / "stores", size=(64, 32), progress=False)
    mixed = both.sample(frac=1, random_state=0).reset_index(drop=True)
    other = PixelStore.build(mixed, tmp_path / "stores", size=(64, 32), progress=False)
    plain = RetrievalExplorer(query, gallery)
    keys = ["q0", "q5", "g0", "g29"]
    expected = [plain.grid.picture(key).data for key in keys]
    for given in (store, (store, both), (other, mixed)):
        made = RetrievalExplorer(query, gallery, store=given)
        assert [made.grid.picture(key).data for key in keys] == expected
        assert made.thumbnails["g"].store is not None
        made.close()
    with pytest.raises(UserError, match="no image"):
        RetrievalExplorer(query, gallery, store=(store, both.iloc[1:]))
    small = PixelStore.build(query.table, tmp_path / "stores", size=(64, 32), progress=False)
    with pytest.raises(UserError, match="query and gallery 36"):
        RetrievalExplorer(query, gallery, store=small)


def test_names_are_escaped_in_the_twin(explorer: RetrievalExplorer) -> None:
    html = explorer.snapshot().html
    assert "&lt;img src=x onerror=alert(1)&gt;.jpg" in html and HOSTILE not in html
    assert len(re.findall("<img ", html)) == 21 and "<script" not in html
    assert "AP" in repr(explorer) and HOSTILE in explorer.grid.items[0]["alt"]


def test_a_subject_that_is_not_there_is_told(explorer: RetrievalExplorer) -> None:
    for key in ("q6", "g900", "x1", "q", "q-1", "u7"):
        with pytest.raises(UserError, match="no query, no gallery image"):
            explorer.go(key)
    explorer.go("q2")
    assert not explorer.error and explorer.grid.keys_shown[0] == "q2"


def test_without_cameras_and_without_right_images(data: Any) -> None:
    query, gallery = data
    bare = [type(side)(side.vectors, side.table.drop(columns="camid")) for side in data]
    made = RetrievalExplorer(*bare)
    assert shown(made) == rank_gallery(*bare, queries=[0], k=20)["gallery"].tolist()
    made.close()
    nobody = type(query)(query.vectors, query.table.assign(pid=query.table["pid"] + 100))
    made = RetrievalExplorer(nobody, gallery)
    assert "no right image" in made.summary() and made.strip.grid.items[0]["sign"] == ""
    with pytest.raises(UserError, match="no query identity is in the gallery"):
        made.state.order = "worst"
    made.close()


def test_500_requeries_leave_no_widget_and_bounded_pictures(data: Any) -> None:
    made = RetrievalExplorer(*data)
    made.thumbnails["g"].limit = 20_000
    made.step(1)
    gc.collect()
    before = len(registry._instances)
    for number in range(500):
        made.go(made.grid.keys_shown[1 + number % 5]) if number % 3 else made.step(1)
    gc.collect()
    assert len(registry._instances) == before
    assert made.thumbnails["g"].nbytes <= 20_000 and len(made.rankings._kept) <= 4 and len(made.state.history) <= 50
    made.close()


def test_close_leaves_nothing(data: Any) -> None:
    gc.collect()
    before = len(registry._instances)
    made = RetrievalExplorer(*data)
    made.step(1)
    parts = [weakref.ref(each) for each in (made, made.grid, made.strip, made.state, made.rankings, made.controls)]
    made.close()
    assert len(registry._instances) == before
    del made
    gc.collect()
    assert [part() for part in parts] == [None] * len(parts)
