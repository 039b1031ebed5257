"""Splits: nobody on both sides, nothing lost, the same seed the same split, in any order of the rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidlab.data import prepare
from reidlab.data.schema import check_table, notes_of
from reidlab.errors import UserError


def make(split: str, people: list[list[int]], text: bool = False) -> pd.DataFrame:
    """Make a table: people[i] is the cameras of the images of identity i + 1."""
    rows = [
        {"path": f"/{split}/{pid:03d}_{i}.jpg", "pid": str(pid) if text else pid, "camid": str(c) if text else c}
        for pid, cameras in enumerate(people, start=1)
        for i, c in enumerate(cameras)
    ]
    return check_table(pd.DataFrame(rows).assign(split=split))


def with_strangers(table: pd.DataFrame) -> pd.DataFrame:
    split = table["split"][0]
    junk, distractor = (-1, 0) if pd.api.types.is_numeric_dtype(table["pid"]) else ("-1", "0")
    extra = pd.DataFrame({"path": ["/j1", "/j2", "/d1", "/d2"], "pid": [junk, junk, distractor, distractor]})
    extra = extra.assign(camid=table["camid"][0], split=split, distractor=[False, False, True, True])
    return check_table(pd.concat([table.assign(distractor=False), extra], ignore_index=True))


tables = st.builds(
    lambda people, text, strangers, split: (with_strangers if strangers else check_table)(make(split, people, text)),
    st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=6), min_size=2, max_size=8),
    st.booleans(),
    st.booleans(),
    st.just("train"),
)
seeds = st.integers(0, 9)


def by_path(table: pd.DataFrame) -> dict[str, str]:
    return dict(zip(table["path"], table["split"]))


def pids(table: pd.DataFrame, split: str) -> set[object]:
    return set(table.loc[table["split"] == split, "pid"])


@settings(deadline=None, max_examples=50)
@given(tables, st.floats(0.01, 0.99), seeds)
def test_split_by_identity(table: pd.DataFrame, share: float, seed: int) -> None:
    before = table.copy()
    split = prepare.split_by_identity(table, val_share=share, seed=seed)
    pd.testing.assert_frame_equal(table, before)
    pd.testing.assert_frame_equal(split.drop(columns="split"), table.drop(columns="split"))
    train, val = pids(split, "train"), pids(split, "val")
    assert train and val and not train & val
    assert not val & {-1, "-1", 0, "0"}
    people = len((train | val) - {-1, "-1", 0, "0"})
    assert len(val) == min(max(round(share * people), 1), people - 1)
    shuffled = prepare.split_by_identity(table.sample(frac=1, random_state=seed), val_share=share, seed=seed)
    assert by_path(shuffled) == by_path(split)
    again = prepare.split_by_identity(split, val_share=share, seed=seed)
    assert by_path(again) == by_path(split)  # an old val counts as train first


@settings(deadline=None, max_examples=50)
@given(tables, st.floats(0.01, 0.99), seeds)
def test_split_by_image(table: pd.DataFrame, share: float, seed: int) -> None:
    split = prepare.split_by_image(table, val_share=share, seed=seed)
    pd.testing.assert_frame_equal(split.drop(columns="split"), table.drop(columns="split"))
    known = ~table["pid"].isin([-1, "-1", 0, "0"])
    assert (split["split"] == "val").sum() == min(max(round(share * known.sum()), 1), known.sum() - 1)
    assert prepare.SHARED_IDENTITIES in notes_of(split)
    shuffled = prepare.split_by_image(table.sample(frac=1, random_state=seed), val_share=share, seed=seed)
    assert by_path(shuffled) == by_path(split)


def test_other_splits_are_left_alone_and_seeds_differ() -> None:
    table = pd.concat([make("train", [[1, 2]] * 20), make("query", [[1]] * 5), make("gallery", [[2]] * 5)])
    table = check_table(table)
    drawn = {tuple(prepare.split_by_identity(table, seed=seed)["split"]) for seed in range(5)}
    assert len(drawn) > 1
    split = prepare.split_by_identity(table, val_share=0.25, seed=1)
    assert split["split"].value_counts().to_dict() == {"train": 30, "val": 10, "query": 5, "gallery": 5}


@settings(deadline=None, max_examples=50)
@given(tables, st.floats(0.1, 0.9), st.integers(1, 3), seeds)
def test_test_to_validation(table: pd.DataFrame, share: float, least: int, seed: int) -> None:
    table = table.assign(split="gallery")
    known = ~table["pid"].isin([-1, "-1", 0, "0"])
    sizes = table[known].groupby("pid").size()
    moved = (share * sizes).astype(int)
    kept = moved[(moved >= least) & (moved > 0)]
    if kept.empty:
        with pytest.raises(UserError, match="too few"):
            prepare.test_to_validation(table, share=share, min_images=least, seed=seed)
        return
    split = prepare.test_to_validation(table, share=share, min_images=least, seed=seed)
    assert split[split["split"] == "val"].groupby("pid").size().to_dict() == kept.to_dict()
    gallery = split[split["split"] == "gallery"]
    assert (
        gallery[~gallery["pid"].isin([-1, "-1", 0, "0"])].groupby("pid").size().to_dict() == (sizes - moved).to_dict()
    )
    assert gallery["pid"].isin([-1, "-1", 0, "0"]).sum() == (~known).sum()
    assert notes_of(split)[0] == prepare.TEST_AS_VALIDATION
    dropped = int(moved[moved < least].sum())
    assert len(split) == len(table) - dropped
    assert (len(notes_of(split)) == 2) == (dropped > 0)
    shuffled = table.sample(frac=1, random_state=seed)
    assert by_path(prepare.test_to_validation(shuffled, share=share, min_images=least, seed=seed)) == by_path(split)


@settings(deadline=None, max_examples=50)
@given(tables, seeds, st.booleans())
def test_make_query_gallery(table: pd.DataFrame, seed: int, cameras: bool) -> None:
    table = table.assign(split="val") if cameras else table.assign(split="val").drop(columns="camid")
    groups = table[~table["pid"].isin([-1, "-1", 0, "0"])].groupby("pid")
    possible = (groups["camid"].nunique() > 1 if cameras else groups.size() > 1).any()
    if not possible:
        with pytest.raises(UserError, match="can be a query"):
            prepare.make_query_gallery(table, seed=seed)
        return
    made = prepare.make_query_gallery(table, seed=seed)
    assert set(made["split"]) == {"query", "gallery"} and len(made) == len(table)
    query, gallery = made[made["split"] == "query"], made[made["split"] == "gallery"]
    assert not query["pid"].isin([-1, "-1", 0, "0"]).any()
    assert not query.duplicated(["pid", "camid"] if cameras else ["pid"]).any()
    for row in query.itertuples():
        matches = gallery[gallery["pid"] == row.pid]
        assert len(matches[matches["camid"] != row.camid] if cameras else matches)
    # whoever was seen by two cameras is asked for at least once
    asked = groups["camid"].nunique() > 1 if cameras else groups.size() > 1
    assert set(asked[asked].index) == set(query["pid"])
    shuffled = prepare.make_query_gallery(table.sample(frac=1, random_state=seed), seed=seed)
    assert by_path(shuffled) == by_path(made)


def test_queries_that_have_no_answer_are_counted() -> None:
    made = prepare.make_query_gallery(make("val", [[1, 2], [1, 1], [1, 1, 2, 2]]))
    assert made.loc[made["pid"] == 1, "split"].value_counts().to_dict() == {"query": 1, "gallery": 1}
    assert pids(made, "query") == {1, 3} and (made.loc[made["pid"] == 3, "split"] == "query").sum() == 2
    assert notes_of(made) == ["2 would-be queries have no right answer in the gallery and stay in it."]


def test_remove_identities_under() -> None:
    table = with_strangers(make("train", [[1], [1, 2], [1, 2, 3]]))
    assert prepare.remove_identities_under(table, 1).equals(table)
    fewer = prepare.remove_identities_under(table, 3)
    assert pids(fewer, "train") == {3, -1, 0}
    assert notes_of(fewer) == ["3 images of 2 identities with fewer than 3 images removed."]
    assert prepare.remove_identities_under(table.assign(split="gallery"), 3).shape == table.shape


def test_refusals() -> None:
    train, gallery = make("train", [[1, 2]] * 3), make("gallery", [[1, 2, 1, 2, 1]] * 3)
    cases = [
        (lambda: prepare.split_by_identity(train, val_share=1.5), "val_share=1.5"),
        (lambda: prepare.split_by_identity(train[:2]), "needs two identities"),
        (lambda: prepare.split_by_image(train, val_share=0), "val_share=0"),
        (lambda: prepare.split_by_image(train[:1]), "needs two images"),
        (lambda: prepare.test_to_validation(train), "no gallery images"),
        (lambda: prepare.test_to_validation(gallery, min_images=0), "min_images=0"),
        (lambda: prepare.test_to_validation(gallery, share=0.1), "too few"),
        (
            lambda: prepare.test_to_validation(check_table(pd.concat([gallery, make("val", [[1]])]))),
            "val split already",
        ),
        (lambda: prepare.make_query_gallery(gallery), "has query or gallery images already"),
        (lambda: prepare.make_query_gallery(train), "no images in split 'val'; it has train"),
    ]
    for call, words in cases:
        with pytest.raises(UserError, match=words):
            call()


def test_no_global_random_state_is_used() -> None:
    np.random.seed(1)  # noqa: NPY002
    state = np.random.get_state()[1].tolist()  # noqa: NPY002
    prepare.split_by_identity(make("train", [[1, 2]] * 9))
    assert np.random.get_state()[1].tolist() == state  # noqa: NPY002
