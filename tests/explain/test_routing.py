"""What gates tell: by hand, by a naive sum over experts and labels, and never more than there is to tell."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidlab.errors import UserError
from reidlab.explain import gate_information, gates_by

NAMES = ["a", "b"]


def random_gates(n: int, experts: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.full(experts, 0.5), n)


def test_by_hand() -> None:
    one = np.array([[1.0, 0], [1, 0], [0, 1], [0, 1]])
    told = gate_information(one, ["x", "x", "y", "y"], shuffles=50)
    assert (told.image, told.label, told.most) == (1.0, 1.0, 1.0), "one bit, and it is the label's"
    told = gate_information(one, ["x", "y", "x", "y"], shuffles=50)
    assert (told.image, told.label) == (1.0, 0.0)
    told = gate_information(np.full((4, 2), 0.5), [0, 0, 1, 1], shuffles=50)
    assert (told.image, told.label, told.p) == (0.0, 0.0, 1.0), "a gate that treats all alike"
    pd.testing.assert_frame_equal(
        gates_by(one, [7, 7, 7, 3], NAMES), pd.DataFrame({"a": [0.0, 2 / 3], "b": [1.0, 1 / 3]}, index=[3, 7])
    )


@settings(deadline=None, max_examples=40)
@given(n=st.integers(1, 30), experts=st.integers(2, 4), labels=st.integers(1, 6), seed=st.integers(0, 99))
def test_mutual_information_by_its_definition(n: int, experts: int, labels: int, seed: int) -> None:
    gates = random_gates(n, experts, seed)
    given = np.random.default_rng(seed + 1).integers(0, labels, n)
    told = gate_information(gates, given, shuffles=3, seed=seed)
    wanted = 0.0
    for expert in range(experts):
        for label in range(labels):
            both = sum(gates[at, expert] for at in range(n) if given[at] == label) / n
            apart = gates[:, expert].mean() * (given == label).mean()
            wanted += both * np.log2(both / apart) if both else 0.0
    assert told.label == pytest.approx(wanted, abs=1e-9)
    assert -1e-12 <= told.label <= told.image + 1e-9 <= told.most + 2e-9, "a label is a part of the image"
    assert 0 < told.p <= 1 and told.most == np.log2(experts)


def test_chance_is_what_shuffled_labels_tell() -> None:
    gates = random_gates(40, 2, 0)
    told = gate_information(gates, np.arange(40) % 8, shuffles=300)
    assert told.p > 0.05 and abs(told.label - told.chance) < 0.6 * told.image
    assert told.chance > 0.1 * told.image, "five images of a label: chance tells something too"
    alone = gate_information(gates, np.arange(40), shuffles=5)
    assert alone.label == pytest.approx(alone.image) and alone.p == 1, "a label each: nothing else is possible"


def test_cameras_beyond_their_people() -> None:
    """The gate follows the person, and each person has one camera: cameras tell as much, and nothing beyond."""
    pids = np.repeat(np.arange(20), 4)
    gates = random_gates(20, 2, 1)[pids]
    camids = pids % 2
    assert gate_information(gates, camids, within=pids, shuffles=40).p == 1, "no shuffle within a person is another"
    told = gate_information(gates, pids, shuffles=100)
    assert told.p < 0.02 and told.label == pytest.approx(told.image)
    mixed = np.arange(80) % 2  # each person before both cameras, and the gate asks for the camera
    follows = np.where(mixed[:, None] == 1, [0.9, 0.1], [0.2, 0.8])
    assert gate_information(follows, mixed, within=pids, shuffles=100).p < 0.02


def test_what_is_refused() -> None:
    gates = random_gates(4, 2, 0)
    for bad, said in (
        (gates[:, :1], "two experts or more"),
        (gates[:0], "two experts or more"),
        (gates * 2, "sum to 1"),
        (gates - [[0.9, -0.9]], "0 or more"),
    ):
        with pytest.raises(UserError, match=said):
            gates_by(bad, [0] * len(bad), NAMES)
    with pytest.raises(UserError, match="3 labels for the gates of 4 images"):
        gate_information(gates, [0, 1, 2])
    with pytest.raises(UserError, match="within has 1 values for 4 images"):
        gate_information(gates, [0, 1, 2, 3], within=[0])
    with pytest.raises(UserError, match="shuffles=0"):
        gate_information(gates, [0, 1, 2, 3], shuffles=0)
    for names in (["a"], ["a", "a"]):
        with pytest.raises(UserError, match="2 different ones"):
            gates_by(gates, [0, 1, 2, 3], names)
