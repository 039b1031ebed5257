"""Which queries have an answer: the same identity, and another camera where cameras are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reidlab.data.answers import answered

ROWS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2)), max_size=12)


def frame(rows: list[tuple[int, int]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["pid", "camid"], dtype=np.int64)


@given(ROWS, ROWS)
def test_as_a_plain_loop(query: list[tuple[int, int]], gallery: list[tuple[int, int]]) -> None:
    want = [any(pid == other and cam != there for other, there in gallery) for pid, cam in query]
    assert answered(frame(query), frame(gallery)).tolist() == want
    people = [any(pid == other for other, _ in gallery) for pid, _ in query]
    assert answered(frame(query)[["pid"]], frame(gallery)).tolist() == people


@pytest.mark.parametrize("names", [["a", "b"], [1, 2]])
def test_among_themselves_an_identity_needs_two_cameras(names: list[object]) -> None:
    table = pd.DataFrame({"pid": [names[0]] * 2 + [names[1]] * 2, "camid": ["x", "y", "x", "x"]}, index=[7, 8, 9, 3])
    assert answered(table, table).tolist() == [True, True, False, False]
