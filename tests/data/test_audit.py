"""The audit on small made pictures: each finding is made on purpose, and nothing else may be found."""

from __future__ import annotations

import hashlib
import multiprocessing
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from reidlab.data.audit import KINDS, Audit, audit, measure
from reidlab.data.datasets import read
from reidlab.data.pixels import PixelStore, decode
from reidlab.data.schema import notes_of
from reidlab.errors import UserError
from reidlab.paths import data_root
from reidlab.plots import findings_sheet
from reidlab.plots.pictures import image_of


def picture(number: int, size: tuple[int, int] = (48, 96)) -> Image.Image:
    """Make a picture of coloured blocks; another number, another picture."""
    blocks = np.random.default_rng(number).integers(40, 200, (12, 6, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize(size, Image.Resampling.BICUBIC)


class Maker:
    """Writes pictures and collects the rows of their table."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.rows = folder, []

    def add(
        self, image: Image.Image | bytes, pid: int, camid: int, split: str, suffix: str = "png", **more: int
    ) -> Path:
        path = self.folder / f"{len(self.rows):03d}.{suffix}"
        if isinstance(image, bytes):
            path.write_bytes(image)
        else:
            image.save(path, **more)
        self.rows.append({"path": str(path), "pid": pid, "camid": camid, "split": split})
        return path

    def table(self) -> pd.DataFrame:
        return pd.DataFrame(self.rows)


@pytest.fixture
def sound(tmp_path: Path) -> Maker:
    """Six training identities and two test identities without a fault."""
    maker = Maker(tmp_path)
    for pid in range(1, 7):
        for camid in (1, 2):
            maker.add(picture(10 * pid + camid), pid, camid, "train")
    for pid in (7, 8):
        for camid, split in ((1, "query"), (2, "gallery")):
            maker.add(picture(10 * pid + camid), pid, camid, split)
    return maker


def counts(table: pd.DataFrame, **options: object) -> dict[str, int]:
    found = audit(table, workers=0, **options).summary["count"]
    return found[found > 0].to_dict()


def test_nothing_is_found_where_nothing_is_wrong(sound: Maker) -> None:
    audited = audit(sound.table(), workers=0)
    assert audited.summary["count"].sum() == 0 and len(audited.issues) == 0
    assert list(audited.summary.index) == list(KINDS)
    assert "nothing found" in str(audited) and "<table" in audited._repr_html_()
    assert audited.clean_table.equals(audited.table) and notes_of(audited.clean_table) == []
    assert findings_sheet(audited).axes


def test_the_numbers_of_one_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    plane = np.zeros((40, 20, 3), np.uint8)
    plane[:, 10:] = 200
    Image.fromarray(plane).save(path)
    one = measure.measure(str(path))
    assert (one.width, one.height, one.file_bytes) == (20, 40, path.stat().st_size)
    assert one.brightness == 100 and one.error == ""
    assert one.pixels == hashlib.sha1(b"(20, 40)" + plane.tobytes()).hexdigest()
    assert 0 < one.dhash < 2**64 and one.sharpness > 0
    grey = np.asarray(Image.fromarray(plane).convert("L").resize((64, 128), Image.Resampling.BILINEAR)).astype(float)
    laplacian = [
        grey[y - 1, x] + grey[y + 1, x] + grey[y, x - 1] + grey[y, x + 1] - 4 * grey[y, x]
        for y in range(1, 127)
        for x in range(1, 63)
    ]
    assert one.sharpness == pytest.approx(np.var(laplacian), rel=1e-5)


def test_broken_files_are_listed_and_left_out(sound: Maker) -> None:
    good = sound.add(picture(1), 1, 1, "train", "jpg").read_bytes()
    sound.rows.pop()
    sound.add(b"", 1, 1, "train", "jpg")
    sound.add(good[: len(good) // 2], 1, 2, "train", "jpg")
    sound.add(b"this is no picture", 1, 2, "train", "png")
    sound.rows.append({**sound.rows[-1], "path": str(sound.folder / "gone.jpg")})
    audited = audit(sound.table(), workers=0)
    assert audited.summary["count"].to_dict() == dict.fromkeys(KINDS, 0) | {"unreadable": 4}
    details = audited.issues["detail"].tolist()
    assert details[0] == "the file is empty" and "truncated" in details[1] and "cannot identify" in details[2]
    assert details[3] == "No such file or directory"
    assert len(audited.clean_table) == 16 and "4 of 20 images cannot be decoded" in notes_of(audited.clean_table)[0]
    assert audited.images["decodes"].sum() == 16 and audited.images["file_bytes"].iloc[16] == 0
    assert findings_sheet(audited, "unreadable").axes[0].get_title().startswith("unreadable")


def test_the_same_picture(sound: Maker) -> None:
    sound.add(picture(11), 1, 2, "train", "bmp")  # another file, the same pixels
    sound.add(picture(21), 3, 1, "train")
    sound.add(picture(31), 7, 2, "gallery")
    sound.add(picture(41), 4, 1, "val")
    audited = audit(sound.table(), workers=0)
    found = audited.issues.groupby("kind")["detail"].apply(list).to_dict()
    assert found == {
        "leak_exact": ["train pid 3 camera 1 = gallery pid 7 camera 2"],
        "identity_conflict_exact": ["train pid 2 camera 1 = train pid 3 camera 1"],
        "val_leak": ["train pid 4 camera 1 = val pid 4 camera 1"],
        "duplicate_exact": ["train pid 1 camera 1 = train pid 1 camera 2"],
    }
    row = audited.issues.iloc[0]
    assert row["kind"] == "leak_exact" and row["path"] == audited.table["path"][row["row"]]
    assert row["other_path"] == audited.table["path"][row["other"]]


def test_nearly_the_same_picture(sound: Maker) -> None:
    sound.add(picture(11), 1, 2, "train", "jpg", quality=60)
    sound.add(picture(21).resize((60, 120)), 3, 1, "train")
    sound.add(Image.eval(picture(31), lambda value: min(value + 12, 255)), 8, 2, "gallery")
    assert counts(sound.table()) == {"leak_near": 1, "identity_conflict_near": 1, "near_same": 1}
    assert sum(counts(sound.table(), near_correlation=1.0).values()) < 3


def test_junk_strangers_and_multi_query_are_no_conflict(sound: Maker) -> None:
    table = sound.table()
    twin = table.iloc[[12]]
    table = pd.concat([table, twin.assign(split="multi_query")], ignore_index=True)
    for pid in (-1, 0, 0):
        path = sound.add(picture(99 if pid == 0 else 71), pid, 3, "gallery")
        table.loc[len(table)] = {"path": str(path), "pid": pid, "camid": 3, "split": "gallery"}
    table["distractor"] = table["pid"] == 0
    # junk = the query, junk = multi-query box, stranger = stranger
    assert counts(table) == {"query_in_gallery": 1, "duplicate_exact": 2}
    table["distractor"] = False
    assert "one_camera" in counts(table)
    path = sound.add(picture(72), 0, 3, "gallery")
    table.loc[len(table)] = {"path": str(path), "pid": 0, "camid": 3, "split": "gallery", "distractor": True}
    assert counts(table)["identity_conflict_exact"] == 1  # a known person among the distractors


def test_lonely_identities(sound: Maker) -> None:
    sound.add(picture(91), 9, 1, "train")
    for number in (92, 93):
        sound.add(picture(number), 10, 2, "train")
    sound.add(picture(94), 11, 1, "query")
    sound.add(picture(95), 12, 1, "query")
    sound.add(picture(96), 12, 1, "gallery")
    table = sound.table()
    issues = audit(table, workers=0).issues
    assert issues[["kind", "detail"]].values.tolist() == [
        ["no_answer", "query pid 11"],
        ["no_answer", "query pid 12"],
        ["one_camera", "training pid 10: 2 images, camera 2"],
        ["one_camera", "test pid 12: 2 images, camera 1"],
        ["one_image", "training pid 9"],
        ["one_image", "test pid 11"],
    ]
    assert counts(table.drop(columns="camid")) == {"no_answer": 1, "one_image": 2}


def test_odd_pictures(sound: Maker) -> None:
    sound.add(picture(91, (96, 48)), 1, 1, "train")
    sound.add(picture(92, (10, 30)), 1, 1, "train")
    sound.add(Image.fromarray(np.full((96, 48, 3), 2, np.uint8)), 1, 1, "train")
    sound.add(Image.fromarray(np.full((96, 48, 3), 254, np.uint8)), 1, 1, "train")
    table = sound.table()
    assert counts(table) == {"odd_shape": 2, "dark": 1, "bright": 1, "blurred": 2}
    assert counts(table, upright=False)["odd_shape"] == 1
    for pid in range(20, 50):  # cars are wider than tall
        sound.add(picture(pid, (96, 48)), 1, 1, "train")
    assert counts(sound.table())["odd_shape"] == 1


def test_other_kinds_of_files(sound: Maker) -> None:
    sound.add(picture(91).convert("L"), 1, 1, "train")
    sound.add(picture(92).convert("CMYK"), 1, 1, "train", "tif")
    sound.add(picture(93).convert("P"), 1, 1, "train", "png", transparency=b"\0\1")
    sound.add(picture(94).convert("RGBA"), 1, 1, "train", "webp")
    assert counts(sound.table()) == {}


def test_workers_change_nothing(sound: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "_INLINE", 1)
    monkeypatch.setattr(measure, "_CHUNK", 5)
    sound.add(b"broken", 1, 1, "train")
    alone, together = audit(sound.table(), workers=1), audit(sound.table(), workers=2)
    pd.testing.assert_frame_equal(alone.images, together.images)
    pd.testing.assert_frame_equal(alone.issues, together.issues)

    def broken(*args: object, **options: object) -> None:
        raise BrokenProcessPool

    monkeypatch.setattr(measure, "ProcessPoolExecutor", broken)
    pd.testing.assert_frame_equal(audit(sound.table(), workers=2).images, alone.images)
    assert multiprocessing.active_children() == []


def test_all_images_alike_or_none_readable(tmp_path: Path) -> None:
    maker = Maker(tmp_path)
    for number in range(6):
        maker.add(Image.fromarray(np.full((40, 20, 3), 100 + number % 2, np.uint8)), number, 1, "train")
    found = counts(maker.table())
    assert found.pop("one_image") == 6
    assert found == {"identity_conflict_exact": 4, "identity_conflict_near": 9}
    for row in maker.rows:
        Path(row["path"]).write_bytes(b"no")
    assert counts(maker.table()) == {"unreadable": 6}
    assert len(audit(maker.table(), workers=0).clean_table) == 0


def test_the_sheet_and_saving(sound: Maker) -> None:
    sound.add(picture(11), 2, 2, "train")
    sound.add(b"", 1, 1, "train")
    audited = audit(sound.table(), workers=0)
    figure = findings_sheet(audited, n=5, columns=3)
    titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
    assert titles == ["unreadable\n1 train", "identity_conflict_exact\n1 train | 2 train"]
    with pytest.raises(UserError, match="Did you mean 'blurred'"):
        findings_sheet(audited, "blured")
    with pytest.raises(UserError, match="n=0"):
        findings_sheet(audited, n=0)
    folder = audited.save(sound.folder / "new" / "audit")
    assert len(pd.read_csv(folder / "issues.csv")) == 2
    assert pd.read_parquet(folder / "images.parquet")["dhash"].dtype == np.uint64


@pytest.mark.parametrize("options", [{"near_distance": 0}, {"near_distance": 16}, {"near_correlation": 1.5}])
def test_bad_options(sound: Maker, options: dict[str, float]) -> None:
    with pytest.raises(UserError, match=next(iter(options))):
        audit(sound.table(), workers=0, **options)


@pytest.mark.real_data
@pytest.mark.slow
def test_what_is_known_of_cuhk01() -> None:
    if not (data_root() / "raw" / "cuhk01").is_dir():
        pytest.skip("no cuhk01 below data/raw (data/README.md)")
    audited = audit(read("cuhk01"))
    exact = audited.issues[audited.issues["kind"].isin(["leak_exact", "identity_conflict_exact", "duplicate_exact"])]
    assert len(exact) == 15 and audited.images["decodes"].all()


# Images of more than 8 bits, EXIF, what is opened


def ramp(high: float, kind: type = np.uint16, seed: int = 0) -> Image.Image:
    """Make blocks of values up to `high`."""
    blocks = np.random.default_rng(seed).random((12, 6)) * high
    blocks[0, 0] = high
    return Image.fromarray(np.kron(blocks, np.ones((8, 8))).astype(kind))


def test_sixteen_bits_get_one_scale_for_the_whole_data_set(tmp_path: Path) -> None:
    maker = Maker(tmp_path)
    for i, high in enumerate((1000, 3900, 2000)):
        for camid in (1, 2):
            maker.add(ramp(high, seed=10 * i + camid), i, camid, "train", "tif")
    maker.add(picture(7), 3, 1, "train")
    audited = audit(maker.table(), workers=0)
    assert audited.images["value_range"].tolist() == [4095.0] * 6 + [255.0]
    assert audited.images["kind"].tolist() == ["whole"] * 6 + [""] and audited.images["high"].tolist()[2] == 3900
    assert (audited.images["brightness"][:6] > 20).all() and audited.images["pixels"].nunique() == 7
    clean = audited.clean_table
    assert clean["value_range"].tolist() == audited.images["value_range"].tolist()
    assert notes_of(clean) == [
        "6 of 7 images hold whole numbers of 16 or 32 bits (the highest is 3900): values from 0 to 4095 became 0 to 255, "
        "one scale for the whole data set."
    ]
    part = audit(clean[:2], workers=0)  # a part keeps the scale of the whole
    assert part.images["value_range"].tolist() == [4095.0] * 2 and part.clean_table["value_range"].max() == 4095
    assert part.images["brightness"].tolist() == audited.images["brightness"].tolist()[:2]
    assert len(findings_sheet(audited, n=5).axes) > 0


def test_floats_get_one_scale_and_what_does_not_fit_is_listed(tmp_path: Path) -> None:
    maker = Maker(tmp_path)
    for i, high in enumerate((1.0, 0.5, 0.9, 7.0, -1.0)):
        maker.add(ramp(high, np.float32, seed=i), i, 1, "train", "tif")
    audited = audit(maker.table(), workers=0)
    assert audited.images["decodes"].tolist() == [True, True, True, False, False]
    reasons = audited.images["error"].tolist()
    assert "highest value is 7, and the data set's scale is 0 to 1" in reasons[3] and "from -1 to" in reasons[4]
    assert audited.clean_table["value_range"].tolist() == [1.0] * 3
    assert audited.images["brightness"][0] > 50


def test_eight_bit_tables_have_no_column_more(sound: Maker) -> None:
    audited = audit(sound.table(), workers=0)
    assert "value_range" not in audited.clean_table and (audited.images["value_range"] == 255).all()


def test_audit_decode_and_pictures_agree_on_what_is_up(tmp_path: Path) -> None:
    maker, exif = Maker(tmp_path), Image.Exif()
    exif[0x0112] = 6
    lying = picture(3).rotate(90, expand=True)  # the camera was held sideways: stored wider than tall
    maker.add(lying, 1, 1, "train", exif=exif)
    maker.add(picture(3), 1, 2, "train")
    table = maker.table()
    audited = audit(table, workers=0)
    assert audited.images[["width", "height"]].to_numpy().tolist() == [[48, 96], [48, 96]]
    assert audited.images["pixels"].nunique() == 1 and audited.summary["count"]["duplicate_exact"] == 1
    wanted = np.asarray(picture(3))
    store = PixelStore.build(table, tmp_path / "store", size=None, progress=False)
    for row in range(2):
        for seen in (decode(table["path"][row]), store.image(row), image_of(table, row)):
            assert np.array_equal(seen, wanted)


def test_pictures_of_deep_images_use_the_scale_of_the_table(tmp_path: Path) -> None:
    maker = Maker(tmp_path)
    maker.add(ramp(4095), 1, 1, "train")
    clean = audit(maker.table(), workers=0).clean_table
    assert image_of(clean, 0).max() == 255
    with pytest.raises(UserError, match=r"000\.png does not decode .*more than 8 bits"):
        image_of(maker.table(), 0)


def test_transparent_pixels_are_said(sound: Maker) -> None:
    sound.add(Image.new("RGBA", (48, 96), (90, 80, 70, 20)), 1, 1, "train")
    assert notes_of(audit(sound.table(), workers=0).clean_table) == [
        "1 of 17 images have transparent pixels, whose colours are used as stored."
    ]


def test_no_image_that_decodes_is_an_error_with_names(tmp_path: Path) -> None:
    maker = Maker(tmp_path)
    for number in range(7):
        maker.add(b"" if number else b"no picture", number, 1, "train")
    audited = audit(maker.table(), workers=0)
    assert len(audited.clean_table) == 0
    with pytest.raises(UserError) as error:
        _ = audited.usable_table
    lines = str(error.value).splitlines()
    assert lines[0].startswith("None of the 7 images can be decoded") and len(lines) == 6
    assert "000.png: cannot identify it" in lines[1] and "004.png: the file is empty" in lines[5]


def test_an_audit_that_lost_columns_is_said(sound: Maker) -> None:
    audited = audit(sound.table(), workers=0)
    folder = audited.save(sound.folder / "audit")
    loaded = Audit.load(folder, audited.table)
    pd.testing.assert_frame_equal(loaded.images, audited.images)
    pd.read_parquet(folder / "images.parquet").drop(columns="high").to_parquet(folder / "images.parquet")
    with pytest.raises(UserError, match="an audit without high"):
        Audit.load(folder, audited.table)
    whole = (folder / "images.parquet").read_bytes()
    (folder / "images.parquet").write_bytes(whole[:-30])
    with pytest.raises(UserError, match="no readable audit"):
        Audit.load(folder, audited.table)
    (folder / "images.parquet").unlink()
    with pytest.raises(UserError, match="no readable audit"):
        Audit.load(folder, audited.table)


def test_a_query_in_its_own_gallery(sound: Maker) -> None:
    table = sound.table()
    first, second = table.index[table["split"] == "query"]
    again = table.loc[[first]].assign(split="gallery")  # the same file; its path may stand in two splits
    other = str(
        sound.add(Image.open(table["path"][second]), 12345, 1, "gallery", "bmp")
    )  # the same pixels, another pid
    table = pd.concat([table, again, table.loc[[second]].assign(split="gallery", path=other)], ignore_index=True)
    audited = audit(table, workers=0)
    found = audited.issues[audited.issues["kind"] == "query_in_gallery"]
    assert found["row"].tolist() == [first, second] and found["other"].tolist() == [16, 17]
    assert (found["path"] == found["other_path"]).tolist() == [True, False]
    assert "Scores ignore it" in audited.summary.loc["query_in_gallery", "what to do"]
    table.loc[17, "pid"] = 12345  # one of the two labels is wrong, which is worse
    assert counts(table)["query_in_gallery"] == counts(table)["identity_conflict_exact"] == 1


def test_every_query_in_the_gallery_is_named_once(sound: Maker) -> None:
    for split in ("query", "query", "gallery", "query", "gallery"):
        sound.add(picture(500), 50, 1, split)
    assert counts(sound.table())["query_in_gallery"] == 3
