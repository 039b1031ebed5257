import csv
import hashlib
import json
import re
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reidlab import space
from reidlab.errors import UserError
from reidlab.pedestrians import (
    PedestriansSpec,
    built_in,
    draw_pedestrian,
    draw_person,
    hsv_histogram,
    make_pedestrians,
)
from reidlab.pedestrians.cameras import CAMERAS
from reidlab.pedestrians.person import COLOURS, FAMILY, HAIR, SKIN
from reidlab.pedestrians.props import PROPS
from reidlab.pedestrians.render import view_of
from reidlab.pedestrians.scenes import scene
from reidlab.pedestrians.spec import FOLDERS, cameras_of, pictures

MARKET = re.compile(r"^(-1|\d{4,})_c(\d)s(\d)_(\d{6})_(\d{2})\.jpg$")
SMALL = PedestriansSpec(
    seed=3,
    n_train_ids=2,
    n_test_ids=3,
    images_per_camera=2,
    n_cameras=2,
    height=64,
    width=32,
    n_distractors=4,
    n_junk=2,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_pedestrians(tmp_path_factory.mktemp("data") / "pedestrians", SMALL, workers=1)


def digest(folder):
    """Hash the names and decoded pixels of every picture and mask."""
    total = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.suffix in (".jpg", ".png")):
        total.update(path.relative_to(folder).as_posix().encode())
        with Image.open(path) as image:
            total.update(np.asarray(image).tobytes())
    return total.hexdigest()


def parsed(folder):
    return [(int(m[1]), int(m[2])) for m in (MARKET.match(p.name) for p in sorted(folder.iterdir()))]


# One picture


def test_a_picture_depends_on_its_arguments_alone():
    image, mask = draw_pedestrian(0, 5, 2, 1)
    draw_pedestrian(0, 6, 2, 0)
    scene.cache_clear()
    again, mask_again = draw_pedestrian(0, 5, 2, 1)
    assert image.dtype == mask.dtype == np.uint8
    np.testing.assert_array_equal(image, again)
    np.testing.assert_array_equal(mask, mask_again)


@pytest.mark.parametrize("other", [(1, 5, 2, 1), (0, 6, 2, 1), (0, 5, 3, 1), (0, 5, 2, 2)])
def test_seed_person_camera_and_index_each_change_the_picture(other):
    assert not np.array_equal(draw_pedestrian(0, 5, 2, 1, 64, 32)[0], draw_pedestrian(*other, 64, 32)[0])


@pytest.mark.parametrize(
    ("height", "width"), [(32, 16), (33, 17), (128, 64), (256, 128), (64, 64), (40, 100), (160, 60)]
)
def test_any_size_from_32_x_16_works(height, width):
    image, mask = draw_pedestrian(0, 1, 1, 0, height, width)
    assert image.shape == (height, width, 3)
    assert mask.shape == (height, width)
    assert set(np.unique(mask)) <= {0, 1, 2}
    assert 0.03 < np.mean(mask == 1) < 0.7


def test_masks_cover_the_person_and_stand_in_the_middle():
    masks = np.stack([draw_pedestrian(0, pid, camid, 0, 64, 32)[1] for pid in range(1, 9) for camid in range(1, 7)])
    person = np.mean(masks == 1, axis=(1, 2))
    occluded = np.mean(masks == 2, axis=(1, 2))
    assert 0.15 < person.mean() < 0.45
    assert person.min() > 0.05
    assert 0.05 < np.mean(occluded > 0) < 0.5
    assert occluded.max() < 0.6
    columns = np.mean(masks == 1, axis=(0, 1))
    assert columns[12:20].mean() > 3 * columns[[0, 1, 2, -3, -2, -1]].mean()


def test_mask_lies_on_the_person():
    """Two persons drawn in the same place differ inside their masks far more than outside."""
    inside, outside = [], []
    for camid in (1, 2, 4):
        image, mask = draw_pedestrian(0, 7, camid, 0)
        brightness = image.astype(float).mean(-1)
        edges = np.abs(np.diff(brightness, axis=1))
        border = mask[:, 1:] != mask[:, :-1]
        inside.append(edges[border].mean())
        outside.append(edges[~border].mean())
    assert np.mean(inside) > 1.5 * np.mean(outside)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1, 0, 0), "camid=0"),
        ((0, 1, 7, 0), "camid=7"),
        ((-1, 1, 1, 0), "seed=-1"),
        ((0, -2, 1, 0), "pid=-2"),
        ((0, 1, 1, -1), "index=-1"),
        ((0, 1, 1, 0, 31, 16), "height=31"),
        ((0, 1, 1, 0, 32, 15), "width=15"),
        ((0, 1, 1, 0, 32.5, 16), "height=32.5"),
    ],
)
def test_impossible_pictures_name_the_argument(arguments, message):
    with pytest.raises(UserError, match=message):
        draw_pedestrian(*arguments)


def test_views_are_named_by_the_heading():
    assert [view_of(np.radians(d)) for d in (0, 45, 90, -90, 180, -170, 360, 270)] == [
        "front", "front", "side", "side", "back", "back", "front", "side",
    ]  # fmt: skip


# Persons and cameras


def test_persons_are_drawn_from_seed_and_pid():
    assert draw_person(0, 9) == draw_person(0, 9)
    assert len({draw_person(0, pid) for pid in range(1, 60)}) == 59
    assert replace(draw_person(1, 9)) != draw_person(0, 9)


def test_a_family_shares_its_palette_in_another_order():
    for family in range(5):
        people = [draw_person(0, family * FAMILY + member + 1) for member in range(FAMILY)]
        known = {c for p in people for c in (p.top_colour, p.accent_colour)}
        assert len(known) <= 3
        assert len({(p.top_colour, p.accent_colour) for p in people}) == FAMILY


def test_attributes_name_known_colours():
    for pid in range(1, 80):
        person = draw_person(0, pid)
        assert {person.top_colour, person.bottom_colour, person.shoe_colour, person.bag_colour} <= set(COLOURS)
        assert person.skin in SKIN
        assert person.hair_colour in HAIR
        assert 1.35 < person.stature < 2.1


def test_six_cameras_use_known_props():
    assert len(CAMERAS) == 6
    assert len({camera.world for camera in CAMERAS}) == 6
    assert {kind for camera in CAMERAS for kind in camera.occluders} <= {*PROPS, "walker"}


# The plan


def test_every_query_has_a_match_in_another_camera():
    spec = PedestriansSpec(n_train_ids=5, n_test_ids=60, images_per_camera=2)
    plan = list(pictures(spec))
    gallery = Counter((p.pid, p.camid) for p in plan if p.split == "gallery")
    for query in (p for p in plan if p.split == "query"):
        assert sum(n for (pid, camid), n in gallery.items() if pid == query.pid and camid != query.camid) >= 1
    assert {len(cameras_of(spec, pid)) for pid in range(1, 66)} == {4, 5, 6}


def test_the_default_is_a_demonstration():
    plan = list(pictures(PedestriansSpec()))
    assert 1500 <= len(plan) <= 2000
    assert len({(p.split, p.name) for p in plan}) == len(plan)


def test_names_stay_unique_and_parse_beyond_9999_identities():
    spec = PedestriansSpec(n_train_ids=10_050, n_test_ids=1, n_cameras=2, images_per_camera=2, n_distractors=3000)
    names = [p.name for p in pictures(spec)]
    assert len(set(names)) == len(names)
    assert all(map(MARKET.match, names))
    assert any(name.startswith("10050_c") for name in names)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": -1}, "seed=-1"),
        ({"n_train_ids": 0}, "n_train_ids=0"),
        ({"n_cameras": 7}, "n_cameras=7.* 2 to 6"),
        ({"n_cameras": 1}, "n_cameras=1"),
        ({"images_per_camera": 1}, "images_per_camera=1.* 2 to"),
        ({"n_junk": 1.5}, "n_junk=1.5"),
        ({"height": 16}, "height=16.* 32 to"),
        ({"width": 8}, "width=8.* 16 to"),
    ],
)
def test_impossible_specs_name_the_value_and_the_range(change, message):
    with pytest.raises(UserError, match=message):
        PedestriansSpec(**change)


# The folder


def test_folders_hold_what_the_spec_says(made):
    counts = Counter(p.split for p in pictures(SMALL))
    assert counts["train"] == 2 * 2 * 2
    assert counts["query"] == 3 * 2
    assert counts["gallery"] == 3 * 2 + 4 + 2
    for split, folder in FOLDERS.items():
        files = sorted(p.name for p in (made / folder).iterdir())
        assert len(files) == counts[split]
        assert all(map(MARKET.match, files))
        masks = sorted(p.name for p in (made / "masks" / folder).iterdir())
        assert masks == [Path(name).stem + ".png" for name in files]


def test_identities_are_disjoint_and_the_gallery_has_distractors_and_junk(made):
    train, query, gallery = ({pid for pid, _ in parsed(made / f)} for f in FOLDERS.values())
    assert train == {1, 2}
    assert query == {3, 4, 5}
    assert gallery == {-1, 0, 3, 4, 5}


def test_files_hold_the_drawn_pictures_and_masks(made):
    for picture in list(pictures(SMALL))[::5]:
        path = Path(FOLDERS[picture.split]) / picture.name
        image, mask = draw_pedestrian(SMALL.seed, picture.pid, picture.camid, picture.index, SMALL.height, SMALL.width)
        with Image.open(made / path) as file:
            np.testing.assert_array_equal(np.asarray(file), image)
        with Image.open((made / "masks" / path).with_suffix(".png")) as file:
            assert file.mode == "P"
            np.testing.assert_array_equal(np.asarray(file), mask)


def test_tables_stand_beside_the_pictures(made):
    rows = list(csv.DictReader((made / "images.csv").read_text(encoding="utf-8").splitlines()))
    assert len(rows) == len(list(pictures(SMALL)))
    assert all((made / row["path"]).is_file() for row in rows)
    assert {row["view"] for row in rows} <= {"front", "side", "back", "none"}
    persons = list(csv.DictReader((made / "persons.csv").read_text(encoding="utf-8").splitlines()))
    assert [int(row["pid"]) for row in persons] == [1, 2, 3, 4, 5]
    assert persons[0]["top_colour"] == draw_person(SMALL.seed, 1).top_colour


def test_workers_do_not_change_the_pictures(made, tmp_path):
    other = make_pedestrians(tmp_path / "two", SMALL, workers=2)
    assert digest(other) == digest(made)
    assert (other / "images.csv").read_bytes() == (made / "images.csv").read_bytes()


def test_another_seed_gives_other_pictures(made, tmp_path):
    other = make_pedestrians(tmp_path / "other", replace(SMALL, seed=4), workers=1)
    assert digest(other) != digest(made)


def test_a_finished_folder_is_reused_and_another_spec_refused(made):
    before = (made / "spec.json").stat().st_mtime_ns
    assert make_pedestrians(made, SMALL) == made
    assert (made / "spec.json").stat().st_mtime_ns == before
    assert json.loads((made / "spec.json").read_text()).items() >= asdict(SMALL).items()
    with pytest.raises(UserError, match="seed=3 instead of 9"):
        make_pedestrians(made, replace(SMALL, seed=9))


def test_a_folder_with_other_things_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(UserError, match="not a complete pedestrians"):
        make_pedestrians(tmp_path, SMALL)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_no_workers_is_refused(tmp_path):
    with pytest.raises(UserError, match="workers=0"):
        make_pedestrians(tmp_path / "x", SMALL, workers=0)


def test_a_broken_run_leaves_nothing(tmp_path, monkeypatch):
    def fail(*args):
        raise RuntimeError("disk on fire")

    monkeypatch.setattr("reidlab.pedestrians.make.shoot", fail)
    with pytest.raises(RuntimeError, match="disk on fire"):
        make_pedestrians(tmp_path / "x", SMALL, workers=1)
    assert list(tmp_path.iterdir()) == []


# The floor


def naive_map(query, gallery, query_ids, gallery_ids):
    """Mean average precision by Market's protocol, a loop a query; ids are (pid, camid)."""
    precisions = []
    for row, (pid, camid) in enumerate(query_ids):
        keep = [j for j, (p, c) in enumerate(gallery_ids) if p != -1 and not (p == pid and c == camid)]
        order = sorted(keep, key=lambda j: np.abs(query[row] - gallery[j]).sum())
        hits, total = 0, 0.0
        for rank, j in enumerate(order, 1):
            if gallery_ids[j][0] == pid:
                hits += 1
                total += hits / rank
        precisions.append(total / hits)
    return float(np.mean(precisions))


def test_histogram_counts_colours():
    image = np.zeros((2, 4, 4, 3), np.uint8)
    image[0, :2] = (255, 0, 0)
    image[1] = (0, 0, 255)
    cells = hsv_histogram(image)
    assert cells.shape == (2, 512)
    assert cells.dtype == np.float32
    np.testing.assert_allclose(cells.sum(1), 1)
    assert cells[0, 7 * 8 + 7] == 0.5  # hue 0, full saturation, full value
    assert cells[0, 0] == 0.5
    assert cells[1, (5 * 8 + 7) * 8 + 7] == 1  # hue 2/3
    with pytest.raises(UserError, match="uint8"):
        hsv_histogram(image.astype(np.float32))


def test_histogram_of_a_mask_counts_the_person_alone():
    image = np.zeros((2, 4, 4, 3), np.uint8)
    image[:, :2] = (255, 0, 0)
    mask = np.zeros((2, 4, 4), np.uint8)
    mask[0, :2] = 1
    mask[1] = 2
    cells = hsv_histogram(image, masks=mask)
    assert cells[0, 63] == 1
    assert cells[1].sum() == 0
    with pytest.raises(UserError, match="masks of"):
        hsv_histogram(image, masks=mask[:1])


@pytest.mark.slow
def test_a_colour_histogram_stays_below_35_percent():
    plan = [p for p in pictures(PedestriansSpec(n_train_ids=1, n_test_ids=24, n_distractors=40)) if p.split != "train"]
    drawn = [draw_pedestrian(0, p.pid, p.camid, p.index) for p in plan]
    images, masks = (np.stack(arrays) for arrays in zip(*drawn))
    rows = {split: [i for i, p in enumerate(plan) if p.split == split] for split in ("query", "gallery")}
    ids = {split: [(plan[i].pid, plan[i].camid) for i in index] for split, index in rows.items()}
    scores = {}
    for name, kept in (("whole", None), ("person", masks)):
        cells = hsv_histogram(images, masks=kept)
        scores[name] = naive_map(cells[rows["query"]], cells[rows["gallery"]], ids["query"], ids["gallery"])
    assert 0.01 < scores["whole"] < 0.35
    assert scores["whole"] < scores["person"] < 0.35  # the palette alone does not tell who it is either


# What was drawn and lost files


@pytest.mark.parametrize("damage", ["picture", "mask", "emptied", "table", "card"])
def test_a_drawn_set_that_lost_files_is_drawn_again_in_the_cache_and_refused_elsewhere(
    tmp_path, own_data, monkeypatch, caplog, damage
):
    monkeypatch.setattr("reidlab.pedestrians.make.PedestriansSpec", lambda seed: replace(SMALL, seed=seed))
    folder = built_in(0, workers=1)
    assert folder.parent == own_data / "cache" and "drawn again" not in caplog.text
    everything = {path.relative_to(folder): path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    victims = {
        "picture": next((folder / "bounding_box_train").iterdir()),
        "mask": next((folder / "masks" / "query").iterdir()),
        "emptied": next((folder / "query").iterdir()),
        "table": folder / "images.csv",
        "card": folder / "spec.json",
    }
    victims[damage].unlink()
    if damage == "emptied":
        victims[damage].write_bytes(b"")
    with pytest.raises(UserError, match="complete"):
        make_pedestrians(folder, SMALL if damage == "card" else replace(SMALL, seed=0), workers=1)
    assert built_in(0, workers=1) == folder and "is drawn again: 1 of" in caplog.text
    assert {p.relative_to(folder): p.stat().st_size for p in folder.rglob("*") if p.is_file()} == everything
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_set_larger_than_the_disk_is_refused_first(tmp_path, monkeypatch):
    monkeypatch.setattr(space, "free_bytes", lambda folder: space.RESERVE)
    with pytest.raises(UserError, match=r"The pedestrians data set of [0-9,]+ pictures needs .* are free"):
        make_pedestrians(tmp_path / "x", SMALL, workers=1)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_is_a_file_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written to"):
        make_pedestrians(tmp_path / "file" / "x", SMALL, workers=1)
