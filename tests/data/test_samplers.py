"""Samplers: what a batch is made of, that an epoch is a function of (seed, epoch), and what is refused."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reidlab.data.samplers import (
    SAMPLERS,
    CameraSampler,
    EHTMSampler,
    PKSampler,
    ShuffleSampler,
    WeightedSampler,
    build_sampler,
)
from reidlab.errors import UserError


def labels_of(*counts: int, seed: int = 0) -> np.ndarray:
    """Identity i has counts[i] rows, in a random order."""
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)) * 10, counts))


def same(one: list[np.ndarray], two: list[np.ndarray]) -> bool:
    return len(one) == len(two) and all(np.array_equal(a, b) for a, b in zip(one, two))


COUNTS = st.lists(st.integers(1, 13), min_size=4, max_size=12)


@settings(deadline=None, max_examples=60)
@given(counts=COUNTS, p=st.integers(1, 4), k=st.integers(1, 5), seed=st.integers(0, 9), epoch=st.integers(0, 9))
def test_pk_without_replacement(counts: list[int], p: int, k: int, seed: int, epoch: int) -> None:
    labels = labels_of(*counts)
    sampler = PKSampler(labels, p, k, seed)
    batches = sampler.batches(epoch)
    assert sampler.batch_size == p * k
    chunks_left = {i * 10: max(1, count // k) for i, count in enumerate(counts)}
    used: Counter[int] = Counter()
    for batch in batches:
        assert batch.shape == (p * k,) and batch.dtype == np.int64
        groups = labels[batch].reshape(p, k)
        assert (groups == groups[:, :1]).all()  # K rows of one identity side by side
        assert len(set(groups[:, 0])) == p  # of P different ones
        for label in groups[:, 0]:
            chunks_left[label] -= 1
        used.update(batch.tolist())
    assert all(left >= 0 for left in chunks_left.values())
    assert sum(left > 0 for left in chunks_left.values()) < p  # it went on for as long as it could
    few = {i * 10 for i, count in enumerate(counts) if count < k}
    assert all(times == 1 for row, times in used.items() if labels[row] not in few)
    for label in few:  # every image is used before one repeats
        times = [used[row] for row in np.flatnonzero(labels == label)]
        assert sum(times) in (0, k) and max(times) - min(times) <= 1
    assert sampler.filled == len(few) and sampler.left_out == 0


def test_pk_one_identity_a_batch_uses_every_chunk() -> None:
    labels = labels_of(8, 5, 3, 4)
    batches = PKSampler(labels, 1, 4).batches(0)
    assert sorted(labels[batch[0]] for batch in batches) == [0, 0, 10, 20, 30]
    assert Counter(row for b in batches for row in b if labels[row] == 0) == Counter(
        np.flatnonzero(labels == 0).tolist()
    )


def test_pk_remainders_differ_between_epochs() -> None:
    labels = labels_of(5, 5)
    sampler = PKSampler(labels, 2, 4)
    seen = {row for epoch in range(30) for batch in sampler.batches(epoch) for row in batch.tolist()}
    assert seen == set(range(10))


def test_pk_few_images_are_drawn_again() -> None:
    labels = labels_of(1, 2, 9)
    (batch,) = PKSampler(labels, 3, 4).batches(0)
    groups = {labels[rows[0]]: rows for rows in batch.reshape(3, 4)}
    assert len(set(groups[0])) == 1
    assert sorted(groups[10]) == sorted(np.tile(np.flatnonzero(labels == 10), 2))
    assert len(set(groups[20])) == 4


@settings(deadline=None, max_examples=30)
@given(counts=COUNTS, p=st.integers(1, 4), k=st.integers(1, 5), seed=st.integers(0, 9))
def test_pk_with_replacement(counts: list[int], p: int, k: int, seed: int) -> None:
    labels = labels_of(*counts)
    batches = PKSampler(labels, p, k, seed, replacement=True).batches(0)
    assert len(batches) == max(1, sum(counts) // (p * k))
    for batch in batches:
        groups = batch.reshape(p, k)
        assert len(set(labels[groups[:, 0]])) == p
        for rows in groups:
            count = counts[labels[rows[0]] // 10]
            assert len(set(labels[rows])) == 1 and len(set(rows)) == min(k, count)
            times = Counter(rows.tolist()).values()
            assert max(times) - min(times) <= 1


@pytest.mark.parametrize(
    "make",
    [
        lambda labels, seed: PKSampler(labels, 4, 3, seed),
        lambda labels, seed: PKSampler(labels, 4, 3, seed, replacement=True),
        lambda labels, seed: EHTMSampler(labels, 4, 3, seed),
        lambda labels, seed: CameraSampler(labels, 4, 3, seed, cameras=labels % 7),
        lambda labels, seed: WeightedSampler(labels, 4, 3, seed),
        lambda labels, seed: WeightedSampler(labels, 4, 3, seed, by="image"),
        lambda labels, seed: ShuffleSampler(labels, seed=seed, batch=16),
    ],
)
def test_an_epoch_depends_on_seed_and_epoch_alone(make: Any) -> None:
    labels = labels_of(*[9] * 8)
    first = make(labels, 1)
    later = first.batches(3)
    first.batches(0)
    assert same(first.batches(3), later)  # calling changes nothing
    assert same(make(labels, 1).batches(3), later)
    assert not same(first.batches(4), later)
    assert not same(make(labels, 2).batches(3), later)
    np.random.seed(0)  # noqa: NPY002 (that a global seed does nothing)
    assert same(first.batches(3), later)


def test_batches_are_the_callers_own() -> None:
    sampler = PKSampler(labels_of(8, 8, 8), 2, 4)
    expected = [batch.copy() for batch in sampler.batches(0)]
    for batch in sampler.batches(0):
        batch[:] = -1
    assert same(sampler.batches(0), expected)


def test_every_identity_is_as_likely_first() -> None:
    sampler = PKSampler(labels_of(*[4] * 6), 2, 4)
    first = Counter(sampler.labels[sampler.batches(epoch)[0][0]] for epoch in range(1200))
    assert len(first) == 6 and all(140 < times < 260 for times in first.values())


def test_ehtm() -> None:
    counts = [7] * 20 + [3] * 5
    labels = labels_of(*counts)
    sampler = EHTMSampler(labels)
    assert (sampler.identities, sampler.images, sampler.batch_size) == (12, 4, 48)
    batches = sampler.batches(0)
    assert len(batches) == sum(counts) // 48 == 3
    for batch in batches:
        assert len(set(batch.tolist())) == 48
        assert sorted(Counter(labels[batch]).values()) == [4] * 12
        assert labels[batch].max() < 200  # identities with three triplets are left out
        assert (np.diff(labels[batch]) != 0).sum() > 11  # shuffled
    seen = {row for epoch in range(40) for batch in sampler.batches(epoch) for row in batch.tolist()}
    assert seen == set(np.flatnonzero(labels < 200).tolist())


def test_ehtm_gives_at_least_one_batch() -> None:
    assert len(EHTMSampler(labels_of(*[4] * 12)).batches(0)) == 1


def spread(counts: list[int], k: int) -> int:
    """Most distinct cameras that chunks of `k` can have together: a camera counts once a chunk."""
    chunks = sum(counts) // k
    return min(sum(min(count, chunks) for count in counts), chunks * k)


@settings(deadline=None, max_examples=60)
@given(
    counts=st.lists(st.lists(st.integers(0, 6), min_size=3, max_size=3), min_size=2, max_size=6),
    k=st.integers(1, 5),
    seed=st.integers(0, 9),
)
@example(counts=[[0, 0, 0], [0, 2, 6]], k=4, seed=0)  # the two images of y belong into different chunks
def test_camera_spreads_every_identity_as_far_as_it_can(counts: list[list[int]], k: int, seed: int) -> None:
    counts = [[a, b, c + (a + b == 0)] for a, b, c in counts]
    labels = np.concatenate([np.full(sum(each), i) for i, each in enumerate(counts)])
    cameras = np.concatenate([np.repeat(["x", "y", "z"], each) for each in counts]).astype(object)
    batches = CameraSampler(labels, 1, k, seed, cameras=cameras).batches(0)
    found = dict.fromkeys(range(len(counts)), 0)
    used: Counter[int] = Counter()
    for batch in batches:
        assert batch.dtype == np.int64 and len(batch) == k and len(set(labels[batch])) == 1
        found[labels[batch[0]]] += len(set(cameras[batch]))
        used.update(batch.tolist())
    for i, each in enumerate(counts):
        times = [used[row] for row in np.flatnonzero(labels == i)]
        if sum(each) < k:
            assert sum(times) == k and max(times) - min(times) <= 1
        else:
            assert sum(times) == sum(each) // k * k and max(times) == 1
            assert found[i] == spread(each, k)


def test_camera_batches_are_pk_batches() -> None:
    labels = labels_of(*[8] * 6)
    cameras = np.random.default_rng(1).integers(0, 3, len(labels))
    batches = build_sampler("camera", labels, cameras=cameras, identities=3, images=4).batches(0)
    assert len(batches) >= 3
    for batch in batches:
        groups = labels[batch].reshape(3, 4)
        assert (groups == groups[:, :1]).all() and len(set(groups[:, 0])) == 3


def test_weighted_by_identity_prefers_rare_ones() -> None:
    labels = labels_of(*[2] * 4, *[20] * 4)
    sampler = WeightedSampler(labels, 1, 3)
    assert len(sampler.batches(0)) == len(labels) // 3
    batches = [batch for epoch in range(40) for batch in sampler.batches(epoch)]
    share = np.mean([labels[batch[0]] < 40 for batch in batches])
    expected = 10 / 11  # four of weight 1/2 against four of weight 1/20
    assert abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / len(batches))
    for batch in batches:
        assert len(set(labels[batch])) == 1 and len(set(batch.tolist())) == (2 if labels[batch[0]] < 40 else 3)
    assert sampler.filled == 4 and "4 of 8 identities have fewer than 3 rows" in sampler.note


def test_weighted_by_identity_takes_different_ones() -> None:
    labels = labels_of(1, 2, 40, 40)
    for batch in WeightedSampler(labels, 3, 2).batches(0):
        assert len(set(labels[batch].reshape(3, 2)[:, 0])) == 3


def test_weighted_by_image_gives_every_identity_alike() -> None:
    labels = labels_of(2, 8, 40)
    sampler = WeightedSampler(labels, 2, 5, by="image")
    rows = np.concatenate([batch for epoch in range(150) for batch in sampler.batches(epoch)])
    assert len(sampler.batches(0)) == 5 and rows.dtype == np.int64
    for label in (0, 10, 20):
        share = (labels[rows] == label).mean()
        assert abs(share - 1 / 3) < 4 * np.sqrt(2 / 9 / len(rows))
        times = np.bincount(rows[labels[rows] == label])[np.flatnonzero(labels == label)]
        assert times.min() > 0.5 * times.mean()  # and every image of it
    assert sampler.filled == 0 and sampler.note.endswith("%).")


@settings(deadline=None, max_examples=60)
@given(n=st.integers(2, 60), batch=st.integers(2, 20), epoch=st.integers(0, 9))
def test_shuffle_gives_every_image_once_and_none_alone(n: int, batch: int, epoch: int) -> None:
    sampler = ShuffleSampler(np.arange(n) % 3, seed=1, batch=batch)
    batches = sampler.batches(epoch)
    assert sorted(np.concatenate(batches).tolist()) == list(range(n))
    *whole, last = (len(each) for each in batches)
    assert all(size == batch for size in whole) and 2 <= last <= batch + 1
    assert (last == batch + 1) == (n > batch and n % batch == 1)
    assert all(each.dtype == np.int64 for each in batches)


def test_shuffle_asks_for_no_identities() -> None:
    sampler = build_sampler("shuffle", np.zeros(10, np.int64), batch=4)  # one identity will do
    assert [len(each) for each in sampler.batches(0)] == [4, 4, 2]
    assert (sampler.batch_size, sampler.filled, sampler.left_out) == (4, 0, 0)
    assert (sampler.share, sampler.note) == (1, "")
    first = Counter(ShuffleSampler(np.arange(5), batch=2).batches(epoch)[0][0] for epoch in range(1000))
    assert len(first) == 5 and all(140 < times < 260 for times in first.values())


def test_what_becomes_of_few_images_is_said() -> None:
    labels = labels_of(1, 3, 4, 9)
    pk = PKSampler(labels, 2, 4)
    assert (pk.filled, pk.left_out, pk.n_identities) == (2, 0, 4)
    assert "2 of 4 identities have fewer than 4 rows: every row is used" in pk.note
    ehtm = EHTMSampler(labels, 2, 4)
    assert (ehtm.filled, ehtm.left_out) == (0, 2)
    assert ehtm.note.startswith("An epoch sees ") and " of 17 triplets (" in ehtm.note
    assert ehtm.note.endswith("2 of 4 identities have fewer than 4 rows and are left out.")
    assert PKSampler(labels, 1, 1).note == ""


def test_the_share_of_images_that_an_epoch_sees_is_said() -> None:
    labels = np.repeat(np.arange(8), [100, 100, 4, 4, 4, 4, 4, 8])
    few = PKSampler(labels, 8, 4)  # fewer than 8 identities have a chunk left after the first batch
    assert (few.seen, few.share) == (32, 32 / 228) and few.note == "An epoch sees 32 of 228 images (14%)."
    assert PKSampler(labels, 2, 4).share > 0.8  # the remedy that the warning names
    assert ShuffleSampler(labels).share == 1


@settings(deadline=None, max_examples=40)
@given(counts=COUNTS, p=st.integers(1, 4), k=st.integers(1, 5), name=st.sampled_from(sorted(SAMPLERS)))
def test_the_share_is_that_of_the_first_epoch(counts: list[int], p: int, k: int, name: str) -> None:
    labels = labels_of(*counts)
    options = {} if name == "shuffle" else {"identities": p, "images": k}
    try:
        sampler = build_sampler(name, labels, seed=3, cameras=labels % 3, **options)
    except UserError:
        return
    rows = {int(row) for batch in sampler.batches(0) for row in batch}
    assert sampler.seen == len(rows) and sampler.share == len(rows) / len(labels)
    assert (f"sees {len(rows):,} of {len(labels):,}" in sampler.note) == (len(rows) < len(labels))


def test_text_labels_give_the_batches_of_numbers() -> None:
    numbers = labels_of(5, 6, 7)
    texts = np.array([f"p{label:03d}" for label in numbers], dtype=object)
    assert same(PKSampler(texts, 2, 4, 5).batches(2), PKSampler(numbers, 2, 4, 5).batches(2))


def test_golden_batch() -> None:
    """The draws must not change between versions: a resumed run would go on with other batches."""
    batches = PKSampler(np.repeat(np.arange(4), 4), 2, 2, seed=7).batches(1)
    assert [batch.tolist() for batch in batches] == [[14, 15, 9, 11], [13, 12, 3, 1], [2, 0, 6, 5], [7, 4, 10, 8]]
    ehtm = EHTMSampler(np.repeat(np.arange(4), 4), 2, 2, seed=7).batches(1)
    assert [batch.tolist() for batch in ehtm] == [[8, 9, 12, 15], [15, 9, 10, 12], [15, 8, 11, 13], [5, 1, 6, 3]]
    shuffled = ShuffleSampler(np.zeros(7), seed=7, batch=3).batches(1)
    assert [batch.tolist() for batch in shuffled] == [[3, 0, 2], [1, 4, 6, 5]]


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name != "shuffle"])
def test_build(name: str) -> None:
    labels, kind = labels_of(*[5] * 12), SAMPLERS[name].factory
    given: dict[str, Any] = {"cameras": labels % 4} if name == "camera" else {}
    made = build_sampler(name, labels, seed=3, identities=3, images=2, cameras=labels % 4)
    assert type(made) is kind and (made.identities, made.images, made.seed) == (3, 2, 3)
    assert same(made.batches(1), kind(labels, 3, 2, 3, **given).batches(1))
    listed = build_sampler(name, labels.tolist(), identities=3, cameras=(labels % 4).tolist())  # type: ignore[arg-type]
    assert listed.batch_size == 12 and len(listed.batches(0)[0]) == 12
    assert len(SAMPLERS[name].description) > 20


@pytest.mark.parametrize(
    "name, options, words",
    [
        ("pks", {}, r"sampler 'pks' is unknown; choose from pk, camera, weighted, ehtm, shuffle. Did you mean 'pk'\?"),
        ("pk", {"k": 3}, "sampler 'pk' has no option 'k'; it has identities, images, replacement"),
        ("pk", {"replacment": True}, "Did you mean 'replacement'"),
        ("ehtm", {"replacement": True}, "sampler 'ehtm' has no option 'replacement'; it has identities, images."),
        ("weighted", {"by": "images"}, "by='images'. Did you mean 'image'"),
        ("camera", {"identities": 2}, "needs the camera of every row"),
        ("camera", {"identities": 2, "cameras": [1, 2]}, "2 cameras for 15 rows"),
        ("pk", {"identities": 0}, "0 identities x 4 images is empty"),
        ("pk", {"images": -1}, "16 identities x -1 images is empty"),
        ("pk", {"identities": 4}, "needs 4 identities per batch; the training split has 3 that it can use"),
        ("ehtm", {"identities": 3, "images": 5}, "needs 3 identities per batch; the training split has 2"),
        ("pk", {"identities": 2, "seed": -1}, "seed=-1"),
        ("shuffle", {"identities": 2}, r"sampler 'shuffle' has no option 'identities'; it has batch\."),
        ("shuffle", {"batch": 1}, "sampler 'shuffle' with batch=1: give 2 or more"),
        ("shuffle", {"seed": -1}, "seed=-1"),
    ],
)
def test_refused(name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        build_sampler(name, labels_of(4, 5, 6), **options)


def test_no_labels() -> None:
    with pytest.raises(UserError, match="has 0 that it can use"):
        PKSampler(np.zeros(0, np.int64), 2, 2)
    for n in (0, 1):
        with pytest.raises(UserError, match=f"has {n} images to make batches of; it needs 2 or more"):
            ShuffleSampler(np.zeros(n, np.int64))
