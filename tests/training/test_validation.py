"""Validation: the score is evaluate's on the same vectors; a split that cannot be scored is left out with a warning."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from training_cases import HEIGHT, WIDTH, World, make_recipe, trained

from reidlab.devices import plan
from reidlab.models import build
from reidlab.models.inference import embed_rows
from reidlab.retrieval.metrics import evaluate
from reidlab.training.validation import make_validator

COMPUTE = plan("cpu", "float32")


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(1)
    return build({"name": "custom_cnn_v32", "height": HEIGHT, "width": WIDTH})


def test_it_is_evaluate_on_the_val_split(world: World, model: nn.Module) -> None:
    validate = make_validator(world.table, world.pixels, COMPUTE)
    assert validate is not None
    rows = np.flatnonzero(world.table["split"] == "val")
    vectors = embed_rows(model, world.pixels, rows, COMPUTE)
    pids, camids = (world.table[name].to_numpy()[rows] for name in ("pid", "camid"))
    expected = evaluate(
        vectors, vectors, query_pids=pids, gallery_pids=pids, query_camids=camids, gallery_camids=camids
    )
    assert validate(model.train()) == {"val_map": expected.mean_ap, "val_rank1": expected.cmc[0]}
    assert 0 < expected.mean_ap < 1 and model.training, "the training flag is put back"


def test_without_cameras_one_image_an_identity_asks(world: World, model: nn.Module) -> None:
    table = world.table.drop(columns="camid")
    found: dict[int, dict[str, float]] = {}
    for seed in (0, 0, 1):
        validate = make_validator(table, world.pixels, COMPUTE, seed=seed)
        assert validate is not None
        score = validate(model)
        assert found.setdefault(seed, score) == score
        assert score["val_rank1"] in (0, 1 / 3, 2 / 3, 1)
    rows = np.flatnonzero(table["split"] == "val")
    vectors, pids = embed_rows(model, world.pixels, rows, COMPUTE), table["pid"].to_numpy()[rows]
    order = np.random.default_rng(0).permutation(len(rows))
    query = np.sort([order[pids[order] == pid][0] for pid in np.unique(pids)])
    gallery = np.setdiff1d(np.arange(len(rows)), query)
    expected = evaluate(vectors[query], vectors[gallery], query_pids=pids[query], gallery_pids=pids[gallery])
    assert found[0]["val_map"] == expected.mean_ap


def test_a_large_split_is_sampled(world: World, model: nn.Module) -> None:
    few, again = (make_validator(world.table, world.pixels, COMPUTE, max_queries=5, seed=3) for _ in range(2))
    other = make_validator(world.table, world.pixels, COMPUTE, max_queries=5, seed=4)
    assert few and again and other
    assert few(model) == again(model) and few(model) != other(model)


def test_no_val_split_is_no_validator(world: World) -> None:
    assert make_validator(world.table[world.table["split"] != "val"], world.pixels, COMPUTE) is None


def test_text_identities_and_cameras(world: World, model: nn.Module) -> None:
    table = world.table.assign(pid=world.table["pid"].astype(str), camid="c" + world.table["camid"].astype(str))
    numbers, texts = (make_validator(t, world.pixels, COMPUTE) for t in (world.table, table))
    assert numbers and texts and numbers(model) == texts(model)


@pytest.mark.parametrize("junk", [-1, "-1"])
def test_junk_is_left_out(world: World, model: nn.Module, junk: int | str) -> None:
    table = world.table.copy()
    if isinstance(junk, str):
        table["pid"] = table["pid"].astype(str)
    table.loc[np.flatnonzero(table["split"] == "val")[:12], "pid"] = junk
    validate = make_validator(table, world.pixels, COMPUTE)
    dropped = make_validator(world.table.drop(index=table.index[table["pid"] == junk]), world.pixels, COMPUTE)
    assert validate is not None and dropped is not None
    assert 0 < validate(model)["val_map"] <= 1
    table["split"] = table["split"].where(table["pid"] == junk, "train")
    assert make_validator(table, world.pixels, COMPUTE) is None, "nothing but junk"


@pytest.mark.parametrize("cameras", [True, False])
def test_distractors_answer_but_do_not_ask(world: World, model: nn.Module, cameras: bool) -> None:
    table = world.table if cameras else world.table.drop(columns="camid")
    rows = np.flatnonzero(table["split"] == "val")
    table = table.copy()
    table.loc[rows[::3], "pid"] = 0
    table["distractor"] = table["pid"] == 0
    validate = make_validator(table, world.pixels, COMPUTE, seed=2)
    assert validate is not None
    val, vectors = table.iloc[rows], embed_rows(model, world.pixels, rows, COMPUTE)
    pids = val["pid"].to_numpy()
    if cameras:
        query, gallery = pids != 0, np.ones(len(pids), bool)
    else:
        order = np.random.default_rng(2).permutation(len(pids))
        query = np.isin(np.arange(len(pids)), [order[pids[order] == pid][0] for pid in np.unique(pids) if pid])
        gallery = ~query
    arrays = {"query_pids": pids[query], "gallery_pids": pids[gallery]}
    if cameras:
        cams = val["camid"].to_numpy()
        arrays |= {"query_camids": cams[query], "gallery_camids": cams[gallery]}
    assert validate(model)["val_map"] == evaluate(vectors[query], vectors[gallery], **arrays).mean_ap


def test_without_cameras_too_a_large_split_is_sampled(world: World, model: nn.Module) -> None:
    table = world.table.drop(columns="camid")
    scores = []
    for seed in range(8):
        validate = make_validator(table, world.pixels, COMPUTE, max_queries=1, seed=seed)
        assert validate is not None
        scores.append(validate(model)["val_rank1"])
    assert set(scores) <= {0.0, 1.0}, "one query each"


def test_one_camera_says_so_and_goes_on(world: World) -> None:
    with pytest.warns(
        UserWarning, match="without validation.*two images in different cameras.*remove the camera column"
    ):
        assert make_validator(world.table.assign(camid=0), world.pixels, COMPUTE) is None


def test_single_images_say_so_and_go_on(world: World) -> None:
    table = world.table.drop(columns="camid")
    val = np.flatnonzero(table["split"] == "val")
    table.loc[val, "pid"] = val + 1000
    with pytest.warns(UserWarning, match=r"no validation identity has two images\. .*or add images"):
        assert make_validator(table, world.pixels, COMPUTE) is None


def test_the_draw_of_queries_never_misses_the_only_ones_with_an_answer(world: World, model: nn.Module) -> None:
    table = world.table.copy()
    val = np.flatnonzero(table["split"] == "val")
    table.loc[val[2:], "pid"] = val[2:] + 1000
    table.loc[val[:2], "camid"] = [0, 1]
    for seed in range(5):
        validate = make_validator(table, world.pixels, COMPUTE, max_queries=1, seed=seed)
        assert validate is not None and 0 < validate(model)["val_map"] <= 1


def test_training_without_a_usable_val_split_takes_the_last_epoch(world: World, tmp_path: Path) -> None:
    one_camera = world.changed(camid=0)
    recipe = make_recipe(epochs=3, patience=1)
    with pytest.warns(UserWarning, match="continues without validation"):
        run = trained(one_camera, tmp_path, recipe)
    assert run.best_epoch == 3 and run.summary["best_val_map"] is None and "val_map" not in run.history
