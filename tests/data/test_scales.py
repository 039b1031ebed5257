"""One scale per data set: which it is, and which files it does not fit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidlab.data.scales import choose_ranges, notes_of_ranges, ranges_of
from reidlab.errors import UserError


def chosen(*files: tuple[str, float]) -> tuple[list[float], dict[int, str]]:
    kinds, highs = zip(*files)
    ranges, refused = choose_ranges(np.array(kinds, dtype=object), np.array(highs, dtype=np.float64))
    return ranges.tolist(), refused


@pytest.mark.parametrize(
    ("high", "wanted"),
    [
        (0, 255),
        (200, 255),
        (255, 255),
        (256, 511),
        (1023, 1023),
        (3900, 4095),
        (4096, 8191),
        (65535, 65535),
        (1e6, 1048575),
    ],
)
def test_whole_numbers_take_the_fewest_bits_that_hold_them(high: float, wanted: float) -> None:
    assert chosen(("whole", high)) == ([wanted], {})


def test_one_scale_for_all_files_and_none_for_8_bits() -> None:
    assert chosen(("whole", 900), ("", 0), ("whole", 4000), ("colour", 80)) == ([4095, 255, 4095, 255], {})


def test_what_the_others_scale_leaves_black_is_refused() -> None:
    ranges, refused = chosen(("whole", 65000), ("whole", 255), ("whole", 0))
    assert ranges == [65535] * 3 and list(refused) == [1]
    assert refused[1] == "its highest value is 255, and the data set's scale is 0 to 65535; convert it to that scale"


def test_floats_are_of_0_to_1_or_of_0_to_255() -> None:
    assert chosen(("real", 0.4), ("real", 1.0)) == ([1, 1], {})
    assert chosen(("real", 40), ("real", 255.0), ("real", 0)) == ([255, 255, 255], {})
    ranges, refused = chosen(("real", 0.4), ("real", 0.9), ("real", 1.02))
    assert ranges == [1, 1, 1] and list(refused) == [2]
    ranges, refused = chosen(("real", 0.9), ("real", 90), ("real", 200))
    assert ranges == [255, 255, 255] and list(refused) == [0]
    _, refused = chosen(("real", 1.5), ("real", 3))
    assert list(refused) == [0, 1] and "neither 0 to 1 nor 0 to 255" in refused[0]


def test_the_notes_say_it() -> None:
    kinds = np.array(["whole", "", "real", "colour"], dtype=object)
    notes = notes_of_ranges(kinds, np.array([3900, 0, 0.5, 200.0]), np.array([4095.0, 255, 1, 255]))
    assert notes == [
        "1 of 4 images hold whole numbers of 16 or 32 bits (the highest is 3900): values from 0 to 4095 became 0 to 255, "
        "one scale for the whole data set.",
        "1 of 4 images hold floats (the highest is 0.5): values from 0 to 1 became 0 to 255, one scale for the whole "
        "data set.",
        "1 of 4 images have 16 bits per channel, of which the upper 8 are used (they reach 200 of 255).",
    ]
    assert notes_of_ranges(np.array(["", ""], dtype=object), np.zeros(2), np.full(2, 255.0)) == []


@pytest.mark.parametrize("bad", [0, -1, np.nan, np.inf, "much"])
def test_a_column_that_is_no_scale_is_refused(bad: object) -> None:
    with pytest.raises(UserError, match="'value_range' is not a number above 0"):
        ranges_of(pd.DataFrame({"path": ["a", "b"], "value_range": [255, bad]}))
    assert ranges_of(pd.DataFrame({"path": ["a"]})) is None


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.just("whole"), st.integers(0, 2**31 - 1).map(float))
        | st.tuples(st.just("real"), st.floats(0, 255))
        | st.tuples(st.sampled_from(["", "colour"]), st.integers(16, 255).map(float)),
        min_size=1,
        max_size=12,
    )
)
def test_no_picture_becomes_black_or_white_in_silence(files: list[tuple[str, float]]) -> None:
    ranges, refused = chosen(*files)
    for i, (kind, high) in enumerate(files):
        if kind in ("whole", "real") and i not in refused:
            assert high == 0 or high * 255 / ranges[i] > 1 or (kind == "real" and ranges[i] == 1)
            assert high <= ranges[i]
    for kind in ("whole", "real"):
        assert len({ranges[i] for i, file in enumerate(files) if file[0] == kind}) <= 1
