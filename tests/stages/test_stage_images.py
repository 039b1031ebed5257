"""The data stage on images that changed, do not decode or have more than 8 bits; stages on a disk without room."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from reidlab import space, stages, store
from reidlab.data.pixels import PixelStore
from reidlab.data.transforms import Preprocess
from reidlab.errors import UserError
from reidlab.stages.retrieval import embedding_stage


def write(folder: Path, suffix: str, make: Any) -> Path:
    """Write 24 images of six people and the table that lists them."""
    rows = []
    for number in range(24):
        name = f"{number:02d}.{suffix}"
        made = make(number)
        if isinstance(made, bytes):
            (folder / name).write_bytes(made)
        else:
            made.save(folder / name)
        rows.append((name, f"p{number // 4}", f"c{number % 2}", "train"))
    pd.DataFrame(rows, columns=["path", "pid", "camid", "split"]).to_csv(folder / "table.csv", index=False)
    return folder / "table.csv"


def noise(number: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(number).integers(1, 256, (32, 16, 3), dtype=np.uint8))


def test_24_bitmaps_overwritten_by_black_ones_are_looked_at_again(tmp_path: Path, own_data: Path) -> None:
    """They were served as before once."""
    listed = write(tmp_path, "bmp", noise)
    first = stages.data_stage("table", str(listed), val_share=0.4)
    assert stages.data_stage("table", str(listed), val_share=0.4).run.path == first.run.path
    before, size = first.digest, (tmp_path / "00.bmp").stat().st_size
    write(tmp_path, "bmp", lambda number: Image.new("RGB", (16, 32), (0, 0, number)))
    assert (tmp_path / "00.bmp").stat().st_size == size
    again = stages.data_stage("table", str(listed), val_share=0.4)
    assert again.run.made and again.run.path != first.run.path and again.digest != before
    assert stages.audit_of(again).images["brightness"].max() < 4 < stages.audit_of(first).images["brightness"].min()


def test_a_set_of_which_nothing_decodes_is_refused_by_name(tmp_path: Path, own_data: Path) -> None:
    listed = write(tmp_path, "jpg", lambda number: b"no picture")
    with pytest.raises(UserError, match=r"None of the 24 images can be decoded.*\n.*00\.jpg: cannot identify"):
        stages.data_stage("table", str(listed))
    assert list((store.runs_root() / "data").iterdir()) == []


def test_sixteen_bits_reach_the_pixel_store_by_one_scale(tmp_path: Path, own_data: Path) -> None:
    def ramp(number: int) -> Image.Image:
        return Image.fromarray((np.random.default_rng(number).random((32, 16)) * 170 * (number + 1)).astype(np.uint16))

    data = stages.data_stage("table", str(write(tmp_path, "png", ramp)), val_share=0.4)
    assert set(data.table["value_range"]) == {4095.0} and data.table["split"].nunique() == 2
    assert any("from 0 to 4095 became 0 to 255, one scale" in note for note in data.notes)
    assert stages.data_stage("table", str(tmp_path / "table.csv"), val_share=0.4).table.equals(data.table)
    pixels = PixelStore.build(data.table, own_data / "cache" / "pixels", size=(32, 16), progress=False)
    wanted = np.rint(np.asarray(ramp(23)) * (255 / 4095))
    row = int(np.flatnonzero(data.table["path"].str.endswith("23.png"))[0])
    assert np.array_equal(pixels.image(row)[:, :, 0], wanted)


def test_a_folder_name_with_a_carriage_return(tmp_path: Path, own_data: Path) -> None:
    folder = tmp_path / "a\rb"
    folder.mkdir()
    data = stages.data_stage("table", str(write(folder, "png", noise)), val_share=0.4)
    moved = folder.rename(tmp_path / "c")
    again = stages.data_stage("table", str(moved / "table.csv"), val_share=0.4)
    assert not again.run.made and again.run.path == data.run.path
    assert all(Path(path).is_file() for path in again.table["path"])


class Wide(torch.nn.Module):
    """A model whose embeddings need more room than there is."""

    dim = 10**9
    preprocess = Preprocess(32, 16)


class Source:
    digest, label, facts = "0" * 16, "wide", {}

    def load(self) -> Wide:
        return Wide()


def test_embeddings_are_compared_with_the_free_space_first(
    tmp_path: Path, own_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = stages.data_stage("table", str(write(tmp_path, "png", noise)), val_share=0.4)
    monkeypatch.setattr(space, "free_bytes", lambda folder: 10**9)
    with pytest.raises(UserError, match=r"The embeddings of 24 images needs? 96\.0 GB .* 1\.0 GB are free"):
        embedding_stage(data.table, data.digest, Source(), dataset="toy", part="test", device="cpu")  # type: ignore[arg-type]
    assert list((store.runs_root() / "embeddings").iterdir()) == []


@pytest.mark.parametrize("name", ["table.parquet", "audit/images.parquet", "audit/table.parquet", "root.txt"])
@pytest.mark.parametrize("damage", ["deleted", "cut"])
def test_a_finished_stage_that_lost_a_file_says_how_to_make_it_again(
    tmp_path: Path, own_data: Path, name: str, damage: str
) -> None:
    listed = str(write(tmp_path, "png", noise))
    data = stages.data_stage("table", listed, val_share=0.4)
    file = data.run.path / name
    whole = file.read_bytes()
    file.unlink()
    if damage == "cut":
        file.write_bytes(whole[:-3])
    with pytest.raises(UserError, match=rf"{name} is (missing|[0-9]+ bytes instead).*`reidlab runs rm data/"):
        stages.data_stage("table", listed, val_share=0.4)
    store.remove_run(f"data/{data.run.path.name}")
    assert stages.data_stage("table", listed, val_share=0.4).table.equals(data.table)


class Colours(torch.nn.Module):
    """The embedding is the mean colour."""

    dim = 3
    preprocess = Preprocess(32, 16)

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1))
        self.classifiers = torch.nn.ModuleList()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(2, 3)) * self.scale


class OfColours(Source):
    notes, elsewhere = (), True

    def load(self) -> Any:
        return Colours()


def test_the_engine_stands_in_the_digest_where_it_is_not_torch(tmp_path: Path, own_data: Path) -> None:
    data = stages.data_stage("table", str(write(tmp_path, "png", noise)), val_share=0.4)
    how: Any = {"dataset": "toy", "part": "test", "device": "cpu", "progress": False}
    plain, vectors = embedding_stage(data.table, data.digest, OfColours(), **how)  # type: ignore[arg-type]
    assert "engine" not in plain.params and "engine" not in plain.result
    assert embedding_stage(data.table, data.digest, OfColours(), engine="torch", **how)[0].path == plain.path  # type: ignore[arg-type]
    auto, same = embedding_stage(data.table, data.digest, OfColours(), engine="auto", **how)  # type: ignore[arg-type]
    assert auto.path != plain.path and auto.params["engine"] == "auto"
    facts = auto.result["engine"]
    assert facts["engine"] == "torch" and facts["cosine"] == 1 and len(facts["tried"]) == 1, "24 images are few"
    np.testing.assert_array_equal(same.vectors, vectors.vectors)
    with pytest.raises(UserError, match="engine='quick' is unknown"):
        embedding_stage(data.table, data.digest, OfColours(), engine="quick", **how)  # type: ignore[arg-type]
