"""Hashing: codes, Hamming distances and the packed search against plain loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reidlab.errors import UserError
from reidlab.models import Output
from reidlab.models.parts.hashing import HashingHead, hamming_distances, hamming_search, pack_codes


def codes_of(rows: int, bits: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2, (rows, bits)).astype(np.float32)


def naive(query: np.ndarray, gallery: np.ndarray) -> list[list[int]]:
    return [[sum(a != b for a, b in zip(one, other)) for other in gallery] for one in query]


def test_codes_and_training_output() -> None:
    torch.manual_seed(0)
    head = HashingHead(16, 5)
    features = torch.randn(8, 16)
    output = head(features, torch.arange(8) % 5)
    assert isinstance(output, Output) and output.before is features
    normed = (features - features.mean(0)) / (features.var(0, unbiased=False) + 1e-5).sqrt()
    torch.testing.assert_close(output.after, torch.tanh(normed))
    (logits,) = output.logits
    torch.testing.assert_close(logits, output.after @ head.classifier.weight.T)  # type: ignore[union-attr, operator]
    codes = head.eval()(features)
    expected = (torch.sign(head.neck(features)) + 1) / 2
    assert codes.dtype == torch.float32 and torch.equal(codes, expected)
    assert 0 < codes.mean() < 1 and head.dim == 16


def test_squared_euclidean_distance_of_codes_is_hamming() -> None:
    head = HashingHead(12).eval()
    codes = head(torch.randn(6, 12, generator=torch.Generator().manual_seed(0)))
    squares = (codes[:, None] - codes[None]).square().sum(2)
    assert squares.int().tolist() == hamming_distances(codes, codes).tolist()


def test_zero_is_a_zero() -> None:
    head = HashingHead(3, neck="none").eval()
    assert head(torch.tensor([[0.0, -0.0, 1e-30]])).tolist() == [[0, 0, 1]]


def test_necks_and_classifiers_by_name() -> None:
    head = HashingHead(
        16, 4, neck="linear_bn", neck_options={"width": 24}, classifier="cosface", classifier_options={"margin": 0.5}
    )
    features, labels = torch.randn(6, 16), torch.tensor([0, 1, 2, 3, -1, 0])
    output: Any = head(features, labels)
    assert head.dim == 24 and output.after.shape == (6, 24)
    without: Any = head(features)
    moved = (without.logits[0] - output.logits[0]).detach()
    expected = torch.zeros(6, 4)
    expected[[0, 1, 2, 3, 5], [0, 1, 2, 3, 0]] = 30 * 0.5
    torch.testing.assert_close(moved, expected, rtol=1e-4, atol=1e-4)
    assert HashingHead(16)(features).logits == ()  # type: ignore[union-attr]
    output.logits[0].sum().backward()
    assert head.neck.get_submodule("linear").weight.grad is not None


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 30), st.integers(1, 35), st.integers(0, 99), st.booleans())
def test_against_loops(bits: int, n_query: int, n_gallery: int, k: int, seed: int, sparse: bool) -> None:
    query, gallery = codes_of(n_query, bits, seed), codes_of(n_gallery, bits, seed + 1)
    if sparse:  # many ties
        query[:, 2:], gallery[:, 2:] = 0, 0
    expected = naive(query, gallery)
    exact = hamming_distances(query, gallery)
    assert exact.dtype == np.int32 and exact.tolist() == expected
    distances, rows = hamming_search(query, gallery, k)
    assert distances.shape == rows.shape == (n_query, min(k, n_gallery))
    assert distances.dtype == np.int32 and rows.dtype == np.int64
    for i in range(n_query):
        assert distances[i].tolist() == sorted(expected[i])[:k]
        assert [expected[i][row] for row in rows[i]] == distances[i].tolist()
        pairs = list(zip(distances[i].tolist(), rows[i].tolist()))
        assert pairs == sorted(set(pairs))  # no row twice, equal distances in gallery order


def test_the_published_formula() -> None:
    query, gallery = 2 * codes_of(3, 20) - 1, 2 * codes_of(5, 20, 1) - 1
    published = 20 - (query @ gallery.T + 20) / 2
    assert hamming_distances(query > 0, gallery > 0).tolist() == published.tolist()


def test_many_bits_are_counted_exactly() -> None:
    ones = np.ones((1, 100_003), np.uint8)
    other = ones.copy()
    other[0, 70_000] = 0
    assert hamming_distances(ones, other).tolist() == [[1]]
    assert hamming_distances(ones, 1 - ones).tolist() == [[100_003]]
    assert hamming_search(ones, other, 1)[0].tolist() == [[1]]


def test_packing() -> None:
    packed = pack_codes([[1, 0, 0, 0, 0, 0, 0, 1, 1], [0, 0, 0, 0, 0, 0, 1, 0, 0]])
    assert packed.dtype == np.uint8 and packed.tolist() == [[129, 128], [2, 0]]
    assert pack_codes(torch.ones(1, 8)).tolist() == [[255]]
    assert pack_codes(np.zeros((0, 8))).shape == (0, 1)


def test_inputs_are_left_alone_and_no_query_is_fine() -> None:
    query, gallery = codes_of(2, 9), codes_of(3, 9, 1)
    before = query.copy(), gallery.copy()
    hamming_search(query, gallery, 2)
    assert (query == before[0]).all() and (gallery == before[1]).all()
    assert hamming_distances(query[:0], gallery).shape == (0, 3)
    assert hamming_search(query[:0], gallery, 2)[1].shape == (0, 2)


def test_refused() -> None:
    codes = codes_of(2, 8)
    with pytest.raises(UserError, match="query codes hold other numbers than 0 and 1"):
        hamming_distances(2 * codes - 1, codes)
    with pytest.raises(UserError, match="gallery codes hold other numbers"):
        hamming_search(codes, np.full((1, 8), np.nan), 1)
    with pytest.raises(UserError, match=r"query codes have shape \(8,\)"):
        hamming_distances(codes[0], codes)
    with pytest.raises(UserError, match="query codes have 8 bits, gallery codes 7"):
        hamming_search(codes, codes[:, :7], 1)
    with pytest.raises(UserError, match="k=0 must be 1 or more"):
        hamming_search(codes, codes, 0)
    with pytest.raises(UserError, match="gallery has no codes"):
        hamming_search(codes, codes[:0], 1)
    with pytest.raises(UserError, match="num_classes=-1"):
        HashingHead(8, -1)
    with pytest.raises(UserError, match="neck 'bn' is unknown"):
        HashingHead(8, neck="bn")
    with pytest.raises(UserError, match="classifier 'linear' has no option 'margin'"):
        HashingHead(8, 3, classifier_options={"margin": 0.1})
