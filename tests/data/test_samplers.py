"""Samplers: what a batch is made of, that an epoch is a function of (seed, epoch), and what is refused."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidlab.data.samplers import EHTMSampler, PKSampler, Sampler, build_sampler
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
    assert all(times <= k for times in used.values())


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
    assert len(set(groups[0])) == 1 and set(groups[10]) <= set(np.flatnonzero(labels == 10))
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
            assert len(set(labels[rows])) == 1 and (len(set(rows)) == k or count < k)


@pytest.mark.parametrize(
    "make",
    [
        lambda labels, seed: PKSampler(labels, 4, 3, seed),
        lambda labels, seed: PKSampler(labels, 4, 3, seed, replacement=True),
        lambda labels, seed: EHTMSampler(labels, 4, 3, seed),
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


@pytest.mark.parametrize("name, kind", [("pk", PKSampler), ("ehtm", EHTMSampler)])
def test_build(name: str, kind: type[Sampler]) -> None:
    labels = labels_of(*[5] * 12)
    made = build_sampler(name, labels, seed=3, identities=3, images=2)
    assert isinstance(made, kind) and (made.identities, made.images, made.seed) == (3, 2, 3)
    assert same(made.batches(1), kind(labels, 3, 2, 3).batches(1))
    assert build_sampler(name, labels.tolist(), identities=3).batch_size == 12  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name, options, words",
    [
        ("pks", {}, r"sampler 'pks' is unknown; choose from pk, ehtm. Did you mean 'pk'\?"),
        ("pk", {"k": 3}, "sampler 'pk' has no option 'k'; it has identities, images, replacement"),
        ("ehtm", {"replacement": True}, "sampler 'ehtm' has no option 'replacement'"),
        ("pk", {"identities": 0}, "0 identities x 4 images is empty"),
        ("pk", {"images": -1}, "16 identities x -1 images is empty"),
        ("pk", {"identities": 4}, "wants 4 identities a batch, the training split has 3 that it can use"),
        ("ehtm", {"identities": 3, "images": 5}, "wants 3 identities a batch, the training split has 2"),
        ("pk", {"identities": 2, "seed": -1}, "seed=-1"),
    ],
)
def test_refused(name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        build_sampler(name, labels_of(4, 5, 6), **options)


def test_no_labels() -> None:
    with pytest.raises(UserError, match="has 0 that it can use"):
        PKSampler(np.zeros(0, np.int64), 2, 2)
