"""The registry and the readers of public data sets, on tiny trees with their file names."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from reidlab.data.datasets import DATASETS, list_datasets, read
from reidlab.data.schema import check_table, notes_of, summarise
from reidlab.errors import UserError
from reidlab.paths import data_root


def put(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def market(folder: Path) -> Path:
    put(folder / "bounding_box_train", "0002_c1s1_000451_03.jpg", "0002_c3s2_000551_01.jpg", "Thumbs.db", "._0002.jpg")
    put(folder / "query", "0001_c1s1_001051_00.jpg", "0001_c2s3_000301_00.jpg.jpg", ".DS_Store")
    put(folder / "bounding_box_test", "-1_c1s1_000401_03.jpg", "0000_c6s4_000001_02.jpg", "0001_c4s6_000810_05.JPG")
    put(folder / "gt_bbox", "0001_c1s1_001051_00.jpg", "0002_c1s1_000451_00.jpg", "Thumbs.db")
    return folder


def splits(table) -> dict[str, int]:
    return table["split"].value_counts().to_dict()


def test_the_registry_is_whole() -> None:
    for name, entry in DATASETS.items():
        assert entry.name == name and entry.description
        text = entry.factory.__doc__ or ""
        assert text and all(option in text for option in DATASETS.options(name)), name
    assert list(list_datasets().index) == list(DATASETS)


def test_unknown_names_and_options(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data set 'market1051' is unknown.*Did you mean 'market1501'"):
        read("market1051")
    with pytest.raises(UserError, match=r"no option 'partail'.*Did you mean 'partial'"):
        read("market1501", tmp_path, partail=True)
    with pytest.raises(UserError, match=r"partial='yes' must be true or false"):
        read("market1501", tmp_path, partial="yes")
    with pytest.raises(UserError, match="give its folder"):
        read("folder_flat")


def test_the_usual_folder_is_below_the_data_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REIDLAB_DATA", str(tmp_path))
    market(tmp_path / "raw" / "market1501")
    assert len(read("market1501", partial=True)) == 8
    with pytest.raises(UserError, match=re.escape(str(tmp_path / "raw" / "dukemtmc"))):
        read("dukemtmc")


@pytest.mark.parametrize("nested", ["", "Market-1501-v15.09.15"])
def test_market(tmp_path: Path, nested: str) -> None:
    market(tmp_path / nested)
    table = read("market1501", tmp_path, partial=True)
    assert splits(table) == {"train": 2, "query": 2, "gallery": 3, "multi_query": 1}
    gallery = table[table["split"] == "gallery"]
    assert gallery["pid"].tolist() == [-1, 0, 1] and gallery["distractor"].tolist() == [False, True, False]
    assert table.loc[1, ["pid", "camid", "sequence", "frame"]].tolist() == [2, 3, 2, 551]
    assert table["pid"].dtype == table["camid"].dtype == np.int64
    assert all(Path(path).is_absolute() and Path(path).is_file() for path in table["path"])
    assert "bounding_box_train 2 of 12,936 images and 1 of 751 identities" in notes_of(table)[0]
    assert len(read("market1501", tmp_path, partial=True, multi_query=False)) == 7


def test_market_without_gt_bbox_is_read_and_said(tmp_path: Path) -> None:
    folder = market(tmp_path)
    for file in (folder / "gt_bbox").iterdir():
        file.unlink()
    (folder / "gt_bbox").rmdir()
    table = read("market1501", folder, partial=True)
    assert "multi_query" not in splits(table) and "no folder gt_bbox" in notes_of(table)[0]


def test_an_incomplete_market_is_refused_with_both_trees(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        read("market1501", market(tmp_path))
    lines = str(error.value).splitlines()
    assert lines[1].split() == ["expected", "found"]
    assert "bounding_box_train" in lines[2] and "12,936 images, 751 identities" in lines[2]
    assert "2 images, 1 identities" in lines[2] and "differs" in lines[2]
    assert "partial=True" in lines[-1]


def test_a_wrong_folder_shows_what_it_holds(tmp_path: Path) -> None:
    put(tmp_path / "pictures", "a.jpg", "b.jpg")
    put(tmp_path / "query", "a.jpg")
    with pytest.raises(UserError) as error:
        read("market1501", tmp_path)
    text = str(error.value)
    assert re.search(r"bounding_box_train +MISSING", text) and re.search(r"query +found", text)
    assert re.search(r"pictures/ +2 entries", text) and "Market-1501-v15.09.15" in text
    with pytest.raises(UserError, match="there is no folder"):
        read("market1501", tmp_path / "nowhere")
    with pytest.raises(UserError, match="is a file"):
        read("market1501", tmp_path / "query" / "a.jpg")


def test_names_that_cannot_be_parsed_are_listed(tmp_path: Path) -> None:
    put(market(tmp_path) / "query", "holiday.jpg", "0001_c1_1.jpg")
    with pytest.raises(UserError, match=r"2 image names .*query.* PPPP_cCsS.*: 0001_c1_1\.jpg, holiday\.jpg"):
        read("market1501", tmp_path, partial=True)


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    market(tmp_path)
    for file in (tmp_path / "query").iterdir():
        file.unlink()
    put(tmp_path / "query", "Thumbs.db")
    with pytest.raises(UserError, match=r"query holds no image .*It holds: Thumbs\.db"):
        read("market1501", tmp_path, partial=True)


@pytest.mark.parametrize("folder", ["images", "distractors", "distractors_500k", "distractors_500k/images"])
def test_more_distractors(tmp_path: Path, folder: str) -> None:
    market(tmp_path)
    with pytest.raises(UserError, match="distractors_500k is on"):
        read("market1501", tmp_path, partial=True, distractors_500k=True)
    put(tmp_path / folder, "0000_c5s1_000001_00.jpg", "00000002.jpg")
    table = read("market1501", tmp_path, partial=True, distractors_500k=True)
    extra = table.tail(2)
    assert extra["pid"].tolist() == [0, 0] and extra["distractor"].all() and (extra["split"] == "gallery").all()
    assert sorted(extra["camid"]) == [-1, 5]
    assert summarise(table).loc["gallery", ["identities", "distractors", "junk"]].tolist() == [1, 3, 1]
    assert len(read("market1501", tmp_path, partial=True)) == len(table) - 2


def test_dukemtmc(tmp_path: Path) -> None:
    put(tmp_path / "DukeMTMC-reID/bounding_box_train", "0001_c2_f0046182.jpg")
    put(tmp_path / "DukeMTMC-reID/query", "0005_c2_f0046985.jpg")
    put(tmp_path / "DukeMTMC-reID/bounding_box_test", "0005_c5_f0051341.jpg", "0007_c8_f0000001.jpg")
    table = read("dukemtmc", tmp_path, partial=True)
    assert table["pid"].tolist() == [1, 5, 5, 7] and table["camid"].tolist() == [2, 2, 5, 8]
    assert table["frame"].tolist() == [46182, 46985, 51341, 1]
    assert table["distractor"].tolist() == [False, False, False, True]
    with pytest.raises(UserError, match=r"17,661 images, 1,110 identities +2 images, 2 identities"):
        read("dukemtmc", tmp_path)


MSMT = {
    "list_train.txt": ["0000/0000_000_01_0303morning_0008_0.jpg 0"],
    "list_val.txt": ["0000/0000_001_02_0303noon_0010_1_ex.jpg 0"],
    "list_query.txt": ["0000/0000_000_14_0302afternoon_0100_0.jpg 0"],
    "list_gallery.txt": ["0000/0000_001_15_0302noon_0100_0.jpg 0", "0001/0001_000_03_0302noon_0007_0.jpg 1", ""],
}


def msmt(folder: Path, train: str, test: str) -> Path:
    folder.mkdir(parents=True)
    for name, lines in MSMT.items():
        (folder / name).write_text("\n".join(lines))
        half = train if name in ("list_train.txt", "list_val.txt") else test
        put(folder / half, *(line.split()[0] for line in lines if line))
    return folder


@pytest.mark.parametrize(
    ("folder", "halves"), [("MSMT17_V1", ("train", "test")), ("MSMT17_V2", ("mask_train_v2", "mask_test_v2"))]
)
def test_msmt17(tmp_path: Path, folder: str, halves: tuple[str, str]) -> None:
    msmt(tmp_path / folder, *halves)
    table = read("msmt17", tmp_path, partial=True)
    assert splits(table) == {"train": 2, "query": 1, "gallery": 2}
    assert table["pid"].tolist() == [0, 0, 1041, 1041, 1042]
    assert table["camid"].tolist() == [1, 2, 14, 15, 3] and table["frame"].tolist() == [8, 10, 100, 100, 7]
    assert table["time"].tolist()[:2] == ["0303morning", "0303noon"]
    kept = read("msmt17", tmp_path, partial=True, merge_val=False)
    assert splits(kept)["val"] == 1 and any("other images of the people in train" in note for note in notes_of(kept))
    with pytest.raises(UserError, match=r"30,248 images, 1,041 identities"):
        read("msmt17", tmp_path)


def test_msmt17_that_lacks_images_or_has_a_bad_list(tmp_path: Path) -> None:
    folder = msmt(tmp_path / "m", "train", "test")
    (folder / "test/0001/0001_000_03_0302noon_0007_0.jpg").unlink()
    table = read("msmt17", folder, partial=True)
    assert len(table) == 4 and "1 listed images are missing" in notes_of(table)[1]
    (folder / "list_query.txt").write_text("0000/0000_000_14_0302afternoon_0100_0.jpg\n")
    with pytest.raises(UserError, match=r"list_query\.txt, line 1"):
        read("msmt17", folder, partial=True)
    (folder / "test").rename(folder / "elsewhere")
    with pytest.raises(UserError, match="neither train and test"):
        read("msmt17", folder, partial=True)


def test_cuhk03_in_plain_folders(tmp_path: Path) -> None:
    put(tmp_path / "labeled/train", "0000_00.jpg", "0000_04.jpg", "0000_05.jpg", "0742_09.jpg")
    put(tmp_path / "labeled/val", "0000_00.jpg", "0001_05.jpg")
    put(tmp_path / "labeled/train_resized", "1000_00.jpg")
    table = read("cuhk03", tmp_path)
    assert table["pid"].tolist() == [0, 0, 0, 742, 1000, 1001]
    assert table["camid"].tolist() == [1, 1, 2, 2, 1, 2]
    assert splits(table) == {"train": 4, "val": 2}
    assert "6 of 14,096 images, 4 of 1,467 identities" in notes_of(table)[0]
    with pytest.raises(UserError, match="MISSING"):
        read("cuhk03", tmp_path, boxes="detected")
    with pytest.raises(UserError, match="not one of labeled, detected"):
        read("cuhk03", tmp_path, boxes="labelled")
    put(tmp_path / "labeled/train", "1000_00.jpg")
    with pytest.raises(UserError, match="from 1000 up"):
        read("cuhk03", tmp_path)


def test_cuhk03_by_the_new_protocol(tmp_path: Path) -> None:
    from scipy.io import savemat

    names = ["1_001_1_01.png", "1_001_2_06.png", "1_002_1_01.png", "5_010_2_07.png"]
    put(tmp_path / "images_detected", *names)
    cells = np.empty((4, 1), dtype=object)
    cells[:, 0] = names
    picks = {"train_idx": [[1], [2]], "query_idx": [[3]], "gallery_idx": [[4]]}
    config = tmp_path / "cuhk03_new_protocol_config_detected.mat"
    savemat(config, {"filelist": cells, "labels": np.array([[1], [1], [2], [1400]], dtype=np.uint16), **picks})
    table = read("cuhk03", tmp_path, boxes="detected", partial=True)
    assert [Path(path).name for path in table["path"]] == names
    assert table["pid"].tolist() == [1, 1, 2, 1400] and table["camid"].tolist() == [1, 2, 1, 2]
    assert table["split"].tolist() == ["train", "train", "query", "gallery"] and table["pair"].tolist() == [1, 1, 1, 5]
    with pytest.raises(UserError, match=r"7,365 images, 767 identities"):
        read("cuhk03", tmp_path, boxes="detected")
    (tmp_path / "images_detected" / names[3]).unlink()
    assert len(read("cuhk03", tmp_path, boxes="detected", partial=True)) == 3
    config.write_bytes(b"not a mat file")
    with pytest.raises(UserError, match="cannot be read as the protocol"):
        read("cuhk03", tmp_path, boxes="detected", partial=True)


def test_cuhk01(tmp_path: Path) -> None:
    names = [f"{pid:04d}{index:03d}.png" for pid in range(1, 6) for index in range(1, 5)]
    put(tmp_path / "campus", *names)
    table = read("cuhk01", tmp_path, partial=True, test_identities=2)
    assert splits(table) == {"train": 12, "query": 4, "gallery": 4}
    assert set(table.loc[table["split"] == "query", "camid"]) == {1}
    assert set(table.loc[table["split"] == "gallery", "camid"]) == {2}
    train, test = (set(table.loc[table["split"].isin(part), "pid"]) for part in (["train"], ["query", "gallery"]))
    assert len(train) == 3 and len(test) == 2 and not train & test
    assert table.equals(read("cuhk01", tmp_path, partial=True, test_identities=2))
    draws = {tuple(read("cuhk01", tmp_path, partial=True, test_identities=2, seed=s)["split"]) for s in range(9)}
    assert len(draws) > 1
    with pytest.raises(UserError, match="between 1 and 4"):
        read("cuhk01", tmp_path, partial=True)
    with pytest.raises(UserError, match=r"3,884 images, 971 identities +20 images, 5 identities"):
        read("cuhk01", tmp_path)
    put(tmp_path / "campus", "0001005.png")
    with pytest.raises(UserError, match=r"0001005\.png"):
        read("cuhk01", tmp_path, partial=True, test_identities=2)


def test_veri776(tmp_path: Path) -> None:
    put(tmp_path / "image_train", "0001_c001_00016450_0.jpg")
    put(tmp_path / "image_query", "0002_c002_00030600_0.jpg")
    put(tmp_path / "image_test", "0002_c020_00030600_1.jpg")
    table = read("veri776", tmp_path)
    assert table["camid"].tolist() == [1, 2, 20] and table["frame"].tolist() == [16450, 30600, 30600]
    assert "image_train 1 of 37,778 images and 1 of 576 identities" in notes_of(table)[0]
    assert "color" not in table
    item = '<Item imageName="0002_c002_00030600_0.jpg" vehicleID="0002" cameraID="c002" colorID="3" typeID="4" />'
    (tmp_path / "test_label.xml").write_text(f'<?xml version="1.0" encoding="gb2312" ?>\n{item}\n')
    labelled = read("veri776", tmp_path)
    assert labelled["color"].tolist() == [-1, 3, -1] and labelled["type"].tolist() == [-1, 4, -1]
    with pytest.raises(UserError, match="not complete"):
        read("veri776", tmp_path, partial=False)


def test_pedestrians(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="make_pedestrians"):
        read("pedestrians", tmp_path / "none")
    market(tmp_path)
    table = read("pedestrians", tmp_path)
    assert splits(table) == {"train": 2, "query": 2, "gallery": 3, "multi_query": 2}
    assert not notes_of(table) and "mask" not in table
    put(tmp_path / "masks" / "bounding_box_train", "0002_c1s1_000451_03.png")
    masks = read("pedestrians", tmp_path)["mask"]
    assert masks[0].endswith("0002_c1s1_000451_03.png") and not any(masks[1:])
    (tmp_path / "images.csv").write_text("path,view,extra\nbounding_box_train/0002_c1s1_000451_03.jpg,side,1\n")
    table = read("pedestrians", tmp_path)
    assert table["view"].tolist()[:2] == ["side", ""] and "extra" not in table and "occluder" not in table


def real(name: str, folder: str, **options: object):
    root = data_root() / "raw" / folder
    if not root.is_dir():
        pytest.skip(f"no {folder} below data/raw (data/README.md)")
    return check_table(read(name, root, **options))


@pytest.mark.real_data
def test_the_real_market() -> None:
    counts = summarise(real("market1501", "market1501")).drop(columns="cameras")
    assert counts.loc["train"].tolist() == [12_936, 751, 0, 0]
    assert counts.loc["query"].tolist() == [3_368, 750, 0, 0]
    assert counts.loc["gallery"].tolist() == [19_732, 750, 2_798, 3_819]
    assert counts.loc["multi_query"].tolist() == [12_692, 750, 0, 0]


@pytest.mark.real_data
def test_the_real_cuhk01() -> None:
    counts = summarise(real("cuhk01", "cuhk01"))
    assert counts["images"].to_dict() == {"train": 1940, "query": 972, "gallery": 972, "all": 3884}
    assert counts["identities"].to_dict() == {"train": 485, "query": 486, "gallery": 486, "all": 971}


@pytest.mark.real_data
@pytest.mark.parametrize("boxes", ["labeled", "detected"])
def test_the_real_part_of_cuhk03(boxes: str) -> None:
    counts = summarise(real("cuhk03", "cuhk03_part", boxes=boxes))
    assert counts["images"].to_dict() == {"train": 7_239, "val": 938, "all": 8_177}
    assert counts["identities"].to_dict() == {"train": 743, "val": 100, "all": 843}


@pytest.mark.real_data
def test_the_real_part_of_veri() -> None:
    table = real("veri776", "veri")
    counts = summarise(table)
    assert counts["images"].to_dict() == {"train": 16_639, "query": 711, "gallery": 5_173, "all": 22_523}
    assert counts["identities"].to_dict() == {"train": 576, "query": 193, "gallery": 200, "all": 776}
    assert notes_of(table)[0].startswith("Partial copy of veri776")
