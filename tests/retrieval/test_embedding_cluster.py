"""Dask workers embed what one process embeds; a call that was stopped goes on; other images or models are refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from reidlab.data.schema import check_table
from reidlab.errors import UserError
from reidlab.models import build
from reidlab.retrieval import Embeddings, embed, embed_distributed, embedding_cluster

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # Dask closes its sockets later


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """A scheduler with two workers, threads of this process."""
    from distributed import LocalCluster

    pages: dict[str, Any] = {"dashboard_address": "127.0.0.1:0", "worker_dashboard_address": "127.0.0.1:0"}
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, protocol="tcp", host="127.0.0.1", silence_logs=60, **pages
    ) as here:
        yield here.scheduler_address


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    return build({"name": "osnet_x0_25", "height": 32, "width": 16})


@pytest.fixture
def table(tmp_path: Path) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{at:02d}.png" for at in range(11)]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (32, 16, 3), dtype=np.uint8)).save(path)
    split = ["query"] * 3 + ["gallery"] * 8
    frame = {"path": [str(path) for path in paths], "pid": range(11), "camid": 1, "split": split, "dataset": "toy"}
    return check_table(pd.DataFrame({**frame, "sequence": -1, "frame": -1}))


def test_vectors_are_those_of_embed(table: pd.DataFrame, model: Any, scheduler: str, tmp_path: Path) -> None:
    wanted = embed(model, table, device="cpu", progress=False).vectors
    model.train()
    found = embed_distributed(model, table, tmp_path / "a", device="cpu", part=4, scheduler=scheduler, progress=False)
    assert model.training  # it is the caller's
    model.eval()
    np.testing.assert_allclose(found.vectors, wanted, atol=2e-6)
    assert not isinstance(found.vectors, np.memmap) or not found.vectors.flags.writeable
    again = Embeddings.load(tmp_path / "a")
    assert np.array_equal(again.vectors, found.vectors)
    pd.testing.assert_frame_equal(again.table, table)


def test_a_call_that_was_stopped_goes_on(
    table: pd.DataFrame, model: Any, scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, put = tmp_path / "a", embedding_cluster._Kept.put
    asked: list[int] = []

    def broken(self: Any, start: int, vectors: Any) -> None:
        if len(asked) == 2:
            raise KeyboardInterrupt
        asked.append(start)
        put(self, start, vectors)

    monkeypatch.setattr(embedding_cluster._Kept, "put", broken)
    with pytest.raises(KeyboardInterrupt):
        embed_distributed(model, table, folder, device="cpu", part=2, scheduler=scheduler, progress=False)
    assert not (folder / "embeddings.safetensors").exists()
    first, asked = asked, []

    def counted(self: Any, start: int, vectors: Any) -> None:
        asked.append(start)
        put(self, start, vectors)

    monkeypatch.setattr(embedding_cluster._Kept, "put", counted)
    found = embed_distributed(model, table, folder, device="cpu", part=2, scheduler=scheduler, progress=False)
    assert sorted(first + asked) == [0, 2, 4, 6, 8, 10]
    np.testing.assert_allclose(found.vectors, embed(model, table, device="cpu", progress=False).vectors, atol=2e-6)
    asked.clear()
    embed_distributed(model, table, folder, device="cpu", part=2, scheduler="tcp://nobody:1", progress=False)
    assert not asked  # all is there: nobody is asked


def test_other_images_models_or_options_are_refused(
    table: pd.DataFrame, model: Any, scheduler: str, tmp_path: Path
) -> None:
    folder = tmp_path / "a"
    given: dict[str, Any] = {"device": "cpu", "part": 6, "scheduler": scheduler, "progress": False}
    embed_distributed(model, table, folder, **given)
    other = build({"name": "osnet_x0_25", "height": 32, "width": 16})
    for changed in ({"flip": True}, {"part": 5}):
        with pytest.raises(UserError, match="holds embeddings of other images"):
            embed_distributed(model, table, folder, **{**given, **changed})
    for model_, table_ in ((other, table), (model, table.iloc[1:].reset_index(drop=True))):
        with pytest.raises(UserError, match="Take another folder"):
            embed_distributed(model_, table_, folder, **given)
    Image.new("RGB", (16, 32)).save(table["path"][0])  # the file is another one now
    with pytest.raises(UserError, match="other images"):
        embed_distributed(model, table, folder, **given)
    (folder / "parts.json").unlink()
    with pytest.raises(UserError, match="other images"):  # nobody knows of what these are
        embed_distributed(model, table, folder, **given)


def test_what_is_wrong_is_said(table: pd.DataFrame, model: Any, scheduler: str, tmp_path: Path) -> None:
    given: dict[str, Any] = {"device": "cpu", "scheduler": scheduler, "progress": False}
    Path(table["path"][4]).write_text("no image")
    with pytest.raises(UserError, match=r"04\.png"):
        embed_distributed(model, table, tmp_path / "a", **given)
    with pytest.raises(UserError, match="more than 8 bits"):
        embed_distributed(model, table.assign(value_range=65535.0), tmp_path / "b", **given)
    with pytest.raises(UserError, match="no images to embed"):
        embed_distributed(model, table.iloc[:0], tmp_path / "e", **given)
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "parts.json").write_text("[1]")
    with pytest.raises(UserError, match=r"parts\.json"):
        embed_distributed(model, table, tmp_path / "f", **given)
    with pytest.raises(UserError, match="part"):
        embed_distributed(model, table, tmp_path / "c", **given, part=0)
    with pytest.raises(UserError, match="must be the address"):
        embed_distributed(model, table, tmp_path / "d", scheduler=3)  # type: ignore[arg-type]


def test_processes_of_its_own(table: pd.DataFrame, model: Any, tmp_path: Path) -> None:
    found = embed_distributed(model, table, tmp_path / "a", device="cpu", part=6, workers=1, progress=False)
    np.testing.assert_allclose(found.vectors, embed(model, table, device="cpu", progress=False).vectors, atol=2e-6)
