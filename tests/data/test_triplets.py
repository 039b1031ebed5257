"""Triplets: what every one must be, each strategy against plain loops, what is left out, saving."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidlab.data.triplets import STRATEGIES, Triplets, make_triplets
from reidlab.errors import UserError


def table(pids: list[Any], camids: list[Any] | None = None, **columns: Any) -> pd.DataFrame:
    frame = pd.DataFrame({"path": [f"/d/{i}.jpg" for i in range(len(pids))], "pid": pids, **columns})
    return frame if camids is None else frame.assign(camid=camids)


def check(made: Triplets, images: pd.DataFrame, per_anchor: int = 1) -> None:
    """Whether every triplet is one, whatever the strategy."""
    pids, frame = images["pid"].to_numpy(), made.frame
    distractor = images["distractor"].to_numpy(bool) if "distractor" in images else np.zeros(len(images), bool)
    usable = [str(pid) != "-1" and not d for pid, d in zip(pids, distractor)]
    counts = Counter(pid for pid, good in zip(pids, usable) if good)
    assert list(frame) == ["anchor", "positive", "negative", "anchor_pid", "negative_pid", "strategy"]
    assert [str(frame[column].dtype) for column in ("anchor", "positive", "negative")] == ["int64"] * 3
    for row in frame.itertuples():
        assert usable[row.anchor] and usable[row.positive] and usable[row.negative]
        assert row.anchor != row.positive
        assert pids[row.anchor] == pids[row.positive] == row.anchor_pid
        assert pids[row.negative] == row.negative_pid != row.anchor_pid
    anchors = [i for i, (pid, good) in enumerate(zip(pids, usable)) if good and counts[pid] >= 2]
    assert frame["anchor"].tolist() == [i for i in anchors for _ in range(per_anchor)]
    alone = {pid: count for pid, count in counts.items() if count < 2}
    assert dict(zip(made.skipped["pid"], made.skipped["n_images"])) == alone


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    size = draw(st.integers(4, 20))
    pids = draw(st.lists(st.integers(-1, 5), min_size=size, max_size=size))
    pids[:3] = [1, 1, 2]
    camids = draw(st.lists(st.integers(1, 3), min_size=size, max_size=size))
    flags = draw(st.lists(st.booleans(), min_size=size, max_size=size))
    flags[:3] = [False] * 3
    if draw(st.booleans()):
        pids = [str(pid) for pid in pids]
    return table(pids, camids, distractor=flags)


@settings(deadline=None, max_examples=60)
@given(
    images=tables(), strategy=st.sampled_from(sorted(STRATEGIES)), per_anchor=st.integers(1, 3), seed=st.integers(0, 9)
)
def test_every_triplet_is_one(images: pd.DataFrame, strategy: str, per_anchor: int, seed: int) -> None:
    before = images.copy()
    embeddings = np.random.default_rng(seed).normal(size=(len(images), 3))
    options: dict[str, Any] = {"strategy": strategy, "per_anchor": per_anchor, "embeddings": embeddings}
    made = make_triplets(images, seed=seed, **options)
    check(made, images, per_anchor)
    assert (made.frame["strategy"] == strategy).all()
    pd.testing.assert_frame_equal(images, before)
    pd.testing.assert_frame_equal(make_triplets(images, seed=seed, **options).frame, made.frame)


@settings(deadline=None, max_examples=60)
@given(images=tables(), seed=st.integers(0, 9))
def test_same_camera_negative(images: pd.DataFrame, seed: int) -> None:
    made = make_triplets(images, strategy="same_camera_negative", seed=seed)
    pids, camids = images["pid"], images["camid"]
    usable = (pids.astype(str) != "-1") & ~images["distractor"]
    fallbacks = 0
    for row in made.frame.itertuples():
        own = usable & (pids == row.anchor_pid) & (images.index != row.anchor)
        other_cameras = own & (camids != camids[row.anchor])
        same_camera = usable & (pids != row.anchor_pid) & (camids == camids[row.anchor])
        assert not other_cameras.any() or other_cameras[row.positive]
        assert not same_camera.any() or same_camera[row.negative]
        fallbacks += not (other_cameras.any() and same_camera.any())
    assert made.fallbacks == fallbacks


@settings(deadline=None, max_examples=60)
@given(images=tables(), per_anchor=st.integers(1, 4), seed=st.integers(0, 9))
def test_hard_against_loops(images: pd.DataFrame, per_anchor: int, seed: int) -> None:
    # whole numbers: distances are exact, so ties are ties
    embeddings = np.random.default_rng(seed).integers(-2, 3, (len(images), 2)).astype(float)
    made = make_triplets(images, strategy="hard", per_anchor=per_anchor, embeddings=embeddings)
    pids = images["pid"]
    usable = [i for i in range(len(images)) if str(pids[i]) != "-1" and not images["distractor"][i]]
    expected = []
    for anchor in usable:
        distance = {i: float(((embeddings[i] - embeddings[anchor]) ** 2).sum()) for i in usable}
        positives = sorted(
            (i for i in usable if pids[i] == pids[anchor] and i != anchor), key=lambda i: (-distance[i], i)
        )
        negatives = sorted((i for i in usable if pids[i] != pids[anchor]), key=lambda i: (distance[i], i))
        if positives:  # the last one repeats where they run out
            far, near = (ranked + ranked[-1:] * per_anchor for ranked in (positives, negatives))
            expected += [[anchor, far[k], near[k]] for k in range(per_anchor)]
    assert made.frame[["anchor", "positive", "negative"]].to_numpy().tolist() == expected
    assert made.fallbacks == 0


def test_hard_goes_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    images, embeddings = table(rng.integers(0, 6, 50).tolist()), rng.integers(-9, 9, (50, 4)).astype(np.float32)
    whole = make_triplets(images, strategy="hard", per_anchor=2, embeddings=embeddings)
    monkeypatch.setattr("reidlab.data.triplets._BLOCK", 7)
    blocks = make_triplets(images, strategy="hard", per_anchor=2, embeddings=embeddings)
    pd.testing.assert_frame_equal(whole.frame, blocks.frame)


def test_random_is_uniform() -> None:
    """Every other image of the identity, every other identity, whatever its number of images."""
    images = table([0, 0, 0, 0, 1, 1, 2, 2, 2, 2, 2, 2, 3, 3])
    made = make_triplets(images, per_anchor=900).frame
    positives = made.loc[made["anchor"] == 1, "positive"].value_counts()
    assert sorted(positives.index) == [0, 2, 3] and positives.between(240, 360).all()
    negatives = made.loc[made["anchor"] == 1, "negative_pid"].value_counts()
    assert sorted(negatives.index) == [1, 2, 3] and negatives.between(240, 360).all()


def test_seeds() -> None:
    images = table(list(range(10)) * 4, list(range(4)) * 10)
    for strategy in ("random", "same_camera_negative"):
        one, two, other = (make_triplets(images, strategy=strategy, seed=seed) for seed in (1, 1, 2))
        assert one.digest == two.digest != other.digest
    assert make_triplets(images).digest == make_triplets(images, seed=0).digest


def test_left_out_rows_are_counted() -> None:
    images = table([5, 5, 7, -1, -1, 9, 9, 0, 0], distractor=[False] * 7 + [True] * 2)
    made = make_triplets(images)
    check(made, images)
    assert made.skipped.to_dict("list") == {"pid": [7], "n_images": [1]}
    assert len(made) == 4 and repr(made) == "Triplets(4 triplets, 1 identities skipped, 0 fallbacks)"


def test_a_single_image_may_be_a_negative() -> None:
    made = make_triplets(table(["a", "a", "b"]))
    assert made.frame["negative"].tolist() == [2, 2]
    assert made.skipped["pid"].tolist() == ["b"]


@pytest.mark.parametrize("pids", [[3, 3, 4, 8], ["x", "x", "y", "007"]])
def test_save_and_load(tmp_path: Path, pids: list[Any]) -> None:
    made = make_triplets(table(pids, [1, 1, 2, 2]), strategy="same_camera_negative", per_anchor=2)
    assert made.fallbacks == 4
    made.save(tmp_path)
    back = Triplets.load(tmp_path)
    pd.testing.assert_frame_equal(back.frame, made.frame)
    pd.testing.assert_frame_equal(back.skipped, made.skipped)
    assert back.fallbacks == made.fallbacks and back.digest == made.digest


@pytest.mark.parametrize("damaged", ["triplets.parquet", "skipped.parquet", "fallbacks.txt"])
@pytest.mark.parametrize("how", ["missing", "garbage"])
def test_load_names_what_is_unreadable(tmp_path: Path, damaged: str, how: str) -> None:
    make_triplets(table([1, 1, 2])).save(tmp_path)
    (tmp_path / damaged).unlink()
    if how == "garbage":
        (tmp_path / damaged).write_text("garbage")
    with pytest.raises(UserError, match=f"{tmp_path.name} holds no readable triplets"):
        Triplets.load(tmp_path)


EMBEDDINGS = np.zeros((4, 2))


@pytest.mark.parametrize(
    "pids, options, words",
    [
        ([1, 1, 2, 2], {"strategy": "hrad"}, r"strategy='hrad' is unknown; .*Did you mean 'hard'\?"),
        ([1, 1, 2, 2], {"per_anchor": 0}, "per_anchor=0"),
        ([1, 1, 2, 2], {"seed": -1}, "seed=-1"),
        ([1, 1, 2, 2], {"strategy": "same_camera_negative"}, "needs a camera column"),
        ([1, 1, 2, 2], {"strategy": "hard"}, "needs `embeddings`"),
        ([1, 1, 2, 2], {"strategy": "hard", "embeddings": EMBEDDINGS[:3]}, "3 embeddings for 4 images"),
        ([1, 1, 2, 2], {"strategy": "hard", "embeddings": EMBEDDINGS[:, 0]}, r"shape \(4,\)"),
        ([1, 1, 2, 2], {"strategy": "hard", "embeddings": EMBEDDINGS + np.nan}, "NaN or infinite"),
        ([1, 1, 2, 2], {"strategy": "hard", "embeddings": EMBEDDINGS - np.inf}, "NaN or infinite"),
        ([1, 1, 1, 1], {}, "the table has 1 identities, the largest with 4 images"),
        ([1, 2, 3, 4], {}, "the table has 4 identities, the largest with 1 images"),
        ([-1, -1, -1], {}, "the table has 0 identities, the largest with 0 images"),
        ([], {}, "the table has 0 identities"),
        ([1, 1, -1], {}, "the table has 1 identities"),
    ],
)
def test_refused(pids: list[int], options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        make_triplets(table(pids), **options)
