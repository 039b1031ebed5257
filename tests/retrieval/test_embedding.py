"""embed and Embeddings: rows in the table's order, kept and read back, mistakes named."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from reidlab.data.pixels import PixelStore
from reidlab.data.transforms import Preprocess
from reidlab.errors import UserError
from reidlab.models import build
from reidlab.retrieval.embedding import _samples, embed
from reidlab.retrieval.vectors import Embeddings


class Corner(nn.Module):
    """The embedding is the mean colour of the left half, which tells images and mirrored ones apart."""

    dim = 3

    def __init__(self) -> None:
        super().__init__()
        self.preprocess = Preprocess(8, 4)
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images[..., :2].mean(dim=(2, 3)) * self.scale


@pytest.fixture
def table(tmp_path: Path) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = []
    for i in range(11):
        path = tmp_path / f"{i}.png"
        Image.fromarray(rng.integers(0, 256, (8, 4, 3), dtype=np.uint8)).save(path)
        rows.append((str(path), i // 3, i % 2, ["query", "gallery", "train"][i % 3]))
    return pd.DataFrame(rows, columns=["path", "pid", "camid", "split"])


def expected(table: pd.DataFrame, half: slice = slice(0, 2)) -> np.ndarray:
    images = [np.asarray(Image.open(path), np.float32) / 255 for path in table["path"]]
    return np.stack([image[:, half].mean(axis=(0, 1)) for image in images])


def run(table: pd.DataFrame, model: nn.Module | None = None, **options: object) -> Embeddings:
    return embed(model or Corner(), table, device="cpu", progress=False, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("batch_size", [None, 1, 4, 100])
def test_vectors_are_the_tables_rows(own_data: Path, table: pd.DataFrame, batch_size: int | None) -> None:
    found = run(table, batch_size=batch_size)
    np.testing.assert_allclose(found.vectors, expected(table), rtol=1e-5)
    assert found.vectors.dtype == np.float32 and len(found) == 11 and repr(found) == "Embeddings(11 images, dim 3)"
    assert found.pids.tolist() == table["pid"].tolist() and found.camids is not None
    shuffled = table.sample(frac=1, random_state=0)
    np.testing.assert_allclose(run(shuffled).vectors, expected(shuffled), rtol=1e-5)


def test_flip_adds_the_mirror_image(own_data: Path, table: pd.DataFrame) -> None:
    both = expected(table) + expected(table, slice(2, 4))
    np.testing.assert_allclose(
        run(table, flip=True).vectors, both / np.linalg.norm(both, axis=1, keepdims=True), rtol=1e-5
    )


def test_the_model_is_left_as_it_was_and_nothing_is_drawn(own_data: Path, table: pd.DataFrame) -> None:
    model = build({"name": "custom_cnn_v32", "height": 32, "width": 16}).train()
    before, state = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    first = run(table, model)
    assert model.training and all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state()) and np.array_equal(first.vectors, run(table, model).vectors)
    half = run(table, model, precision="bfloat16")
    assert half.vectors.dtype == np.float32 and (half.vectors * first.vectors).sum(1).min() > 0.98


def test_pixels_may_be_given(own_data: Path, tmp_path: Path, table: pd.DataFrame) -> None:
    store = PixelStore.build(table, tmp_path / "mine", size=(8, 4), progress=False)
    np.testing.assert_array_equal(run(table, pixels=store).vectors, run(table).vectors)
    assert (own_data / "cache" / "pixels").is_dir()
    with pytest.raises(UserError, match="the pixel store has 11 images, the table 10"):
        run(table.iloc[:10], pixels=store)


def test_splits(own_data: Path, table: pd.DataFrame) -> None:
    found = run(table)
    query = found.split("query")
    assert query.table["pid"].tolist() == table.loc[table["split"] == "query", "pid"].tolist()
    assert list(query.table.index) == list(range(len(query)))
    np.testing.assert_array_equal(query.vectors, found.vectors[0::3])
    assert len(found.split("query", "gallery")) == len(query) + len(found.split("gallery"))
    with pytest.raises(UserError, match=r"no embedding is in split val or multi_query; there is gallery, query, train"):
        found.split("val", "multi_query")


def test_without_cameras(own_data: Path, table: pd.DataFrame) -> None:
    assert run(table.drop(columns="camid")).split("query").camids is None


def test_save_and_load(own_data: Path, tmp_path: Path, table: pd.DataFrame) -> None:
    found = run(table)
    found.save(tmp_path)
    loaded = Embeddings.load(tmp_path)
    np.testing.assert_array_equal(loaded.vectors, found.vectors)
    pd.testing.assert_frame_equal(loaded.table, found.table)
    transposed = Embeddings(np.asfortranarray(found.vectors), found.table)
    transposed.save(tmp_path)
    np.testing.assert_array_equal(Embeddings.load(tmp_path).vectors, found.vectors)


def test_damaged_files(own_data: Path, tmp_path: Path, table: pd.DataFrame) -> None:
    with pytest.raises(UserError, match=r"holds no readable embeddings .*Make them with notebook 04"):
        Embeddings.load(tmp_path)
    run(table).save(tmp_path)
    file = tmp_path / "embeddings.safetensors"
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(UserError, match="holds no readable embeddings"):
        Embeddings.load(tmp_path)
    run(table).save(tmp_path)
    (tmp_path / "embeddings.parquet").unlink()
    with pytest.raises(UserError, match="no image table"):
        Embeddings.load(tmp_path)


def test_shapes_that_do_not_fit(table: pd.DataFrame) -> None:
    for vectors in (np.zeros((10, 3), np.float32), np.zeros(11, np.float32)):
        with pytest.raises(UserError, match="do not belong to a table of 11 images"):
            Embeddings(vectors, table)
    with pytest.raises(UserError, match="vectors of shape list do not belong"):
        Embeddings([[1.0]] * 11, table)  # type: ignore[arg-type]
    for other in ([1], table.drop(columns="split")):
        with pytest.raises(UserError, match="Embeddings need an image table"):
            Embeddings(np.zeros((11, 3), np.float32), other)  # type: ignore[arg-type]


class NoPreprocess(nn.Module):
    pass


class Broken(Corner):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images) * float("nan")


def test_mistakes_are_named(own_data: Path, table: pd.DataFrame) -> None:
    with pytest.raises(UserError, match="has no images to embed"):
        run(table.iloc[:0])
    with pytest.raises(UserError, match="no column 'pid'"):
        run(table.drop(columns="pid"))
    with pytest.raises(UserError, match="NoPreprocess has no `preprocess`"):
        run(table, NoPreprocess())
    with pytest.raises(UserError, match="batch_size=0 must be a whole number from 1"):
        run(table, batch_size=0)
    with pytest.raises(UserError, match=r"batch_size=2\.5 must be a whole number"):
        run(table, batch_size=2.5)
    with pytest.raises(UserError, match="pixels must be a PixelStore, not list"):
        run(table, pixels=[1])
    with pytest.raises(UserError, match=r"NaN or infinite values \(first at row 0\)"):
        run(table, Broken())
    with pytest.raises(UserError, match="precision='half' is unknown"):
        run(table, precision="half")
    with pytest.raises(UserError, match="engine='fastest' is unknown"):
        run(table, engine="fastest")
    Path(table["path"][3]).write_text("no image")
    with pytest.raises(UserError, match=r"3\.png does not decode"):
        run(table)


def test_a_list_of_files_needs_no_identities(
    own_data: Path, table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(table["path"][0]).parent)
    found = embed(Corner(), ["3.png", Path("0.png"), table["path"][3]], device="cpu", progress=False)
    np.testing.assert_allclose(found.vectors, expected(table)[[3, 0, 3]], rtol=1e-5)
    assert (
        found.table.columns.tolist() == ["path"] and found.table["path"].tolist() == table["path"][[3, 0, 3]].tolist()
    )
    assert found.camids is None and found.images is not None
    for ask in (lambda: found.pids, lambda: found.split("query")):
        with pytest.raises(UserError, match=r"have no (pid|split): their table has path\. Embed an image table"):
            ask()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("a.png", r"a list of paths, not 'a\.png'\. One file: \[path\]"),
        (3, "an image table or a list of paths, not 3"),
        (["a.png", 3], "a list of images has 3, which is no path"),
        ([], "no images to embed"),
        (["/nowhere/a.png"], r"nowhere/a\.png"),
    ],
)
def test_mistakes_in_a_list_are_named(own_data: Path, given: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        embed(Corner(), given, device="cpu", progress=False)


def test_a_list_is_streamed_and_leaves_nothing_behind(own_data: Path, table: pd.DataFrame) -> None:
    files = table["path"].tolist()
    found = embed(Corner(), files, device="cpu", batch_size=3, progress=False)
    np.testing.assert_allclose(found.vectors, expected(table), rtol=1e-5)
    assert not (own_data / "cache" / "pixels").exists()
    np.testing.assert_array_equal(found.vectors, run(table, batch_size=3).vectors)


def test_facts_say_what_computed(own_data: Path, table: pd.DataFrame) -> None:
    facts = run(table).facts
    assert facts["engine"] == "torch" and facts["precision"] == "float32" and facts["cosine"] == 1
    assert facts["images_per_second"] > 0 and facts["tried"] == [] and facts["device"].endswith("threads, float32")
    chosen = run(table, engine="auto")
    np.testing.assert_array_equal(chosen.vectors, run(table).vectors)
    assert chosen.facts["engine"] == "torch" and "11 images are 0 s of work for torch" in chosen.facts["tried"][-1]


@pytest.mark.parametrize("flip", [False, True])
def test_engines_give_the_embeddings_of_torch(own_data: Path, table: pd.DataFrame, flip: bool) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    plain = run(table, flip=flip)
    other = run(table, flip=flip, engine="onnxruntime", batch_size=4)
    np.testing.assert_allclose(other.vectors, plain.vectors, rtol=1e-4, atol=1e-6)
    assert other.facts["engine"] == "onnxruntime" and other.facts["cosine"] == pytest.approx(1)
    np.testing.assert_array_equal(other.vectors, run(table, flip=flip, engine="onnxruntime", batch_size=4).vectors)


@pytest.mark.parametrize("n", [1, 2, 11, 63, 64, 65, 1000])
def test_int8_is_calibrated_on_other_images_than_it_is_judged_by(n: int) -> None:
    source: Any = SimpleNamespace(n_images=n, batch=lambda rows: rows)
    judged, calibrated = (read().tolist() for read in _samples(source))
    assert not set(judged) & set(calibrated) and len(set(judged) | set(calibrated)) == min(n, 64)
    assert len(judged) - len(calibrated) in (0, 1) and 0 <= min(judged) <= max(judged + calibrated) == n - 1


def test_int8_takes_some_images(own_data: Path, table: pd.DataFrame) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    with pytest.raises(UserError, match=r"precision='int8' .* it takes 16 or more, and here are 5 to calibrate on"):
        run(table, engine="onnxruntime", precision="int8")


def test_a_named_engine_that_is_far_off_warns(
    own_data: Path, table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    monkeypatch.setattr("reidlab.models.engines.choice.agreement", lambda *_: 0.9)
    with pytest.warns(UserWarning, match=r"engine='onnxruntime', precision='float32': the mean cosine .* is 0\.9000"):
        run(table, engine="onnxruntime")
