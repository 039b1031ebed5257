"""What can be an identity, what is refused with which words, and which identities are equal."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reidlab.errors import UserError
from reidlab.ids import as_ids, codes, writable


@pytest.mark.parametrize(
    ("what", "wanted"),
    [
        ([1, 1.0, np.int8(1), np.float32(2)], [1, 1, 1, 2]),
        (np.array([1.0, -1.0], dtype=object), [1, -1]),
        (np.array([3, 2**63 - 1], dtype=np.uint64), [3, 2**63 - 1]),
        ([-(2**63), 2**63 - 1], [-(2**63), 2**63 - 1]),
        ([2.0**53, -(2.0**53)], [2**53, -(2**53)]),
        (np.array([2.0**24], dtype=np.float32), [2**24]),
        (np.ma.array([1, 2]), [1, 2]),
        (pd.Series([1, 2], dtype="Int64"), [1, 2]),
        (range(3), [0, 1, 2]),
        ([], []),
        (["7 ", "7", "\t7\n"], ["7", "7", "7"]),
        (["cafe\u0301", "caf\u00e9"], ["caf\u00e9", "caf\u00e9"]),
        (["0001", "1", "-1", "nan", "1.0"], ["0001", "1", "-1", "nan", "1.0"]),
        (np.array(["a", "b "]), ["a", "b"]),
        (pd.Categorical(["b", "a"]), ["b", "a"]),
        (pd.Series(["a", "b "]), ["a", "b"]),
    ],
)
def test_normal_form(what: Any, wanted: list[Any]) -> None:
    ids = as_ids("pids", what)
    assert ids.tolist() == wanted
    assert ids.dtype == (np.int64 if wanted and isinstance(wanted[0], int) else object)
    assert as_ids("pids", ids).tolist() == wanted


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ([1, 1e300, 2e300], r"pids is too large a float .* in row 1: 1e\+300 \(2 rows in all\)"),
        (np.array([1.0, 1e300]), r"too large a float .* in row 1: 1e\+300"),
        ([2.0**53 + 2], "too large a float"),
        (np.array([2.0**24 + 2], dtype=np.float32), "too large a float"),
        (np.array([4096], dtype=np.float16), "too large a float"),
        (
            np.array([5, 2**64 - 1], dtype=np.uint64),
            "beyond the range of 64-bit integers .* in row 1: 18446744073709551615",
        ),
        ([2**63], "beyond the range of 64-bit"),
        ([1, 2**70], "beyond the range of 64-bit .* in row 1: 1180591620717411303424"),
        ([10**5000], "beyond the range of 64-bit .* in row 0: <int>"),
        ([1.0, float("nan")], "is missing in row 1: nan"),
        ([1, None], "is missing in row 1: None"),
        (["a", pd.NA], "is missing in row 1: <NA>"),
        (pd.Series([1, None], dtype="Int64"), "is missing in row 1"),
        (np.array([np.nan, 1]), "is missing in row 0"),
        (np.ma.array([1, 2], mask=[False, True]), "is masked in row 1"),
        ([1, float("inf")], "is not a whole number in row 1: inf"),
        (np.array([-np.inf]), "is not a whole number in row 0: -inf"),
        ([1, 0.5], "is not a whole number in row 1: 0.5"),
        ([1 + 0j], "is neither a number nor text in row 0"),
        (np.array([1 + 0j]), "is neither a number nor text in row 0"),
        (np.array([b"a"]), "is neither a number nor text in row 0: b'a'"),
        (np.array(["2020"], dtype="M8[Y]"), "is neither a number nor text"),
        ([[1], [2, 3]], r"is neither a number nor text in row 0: \[1\] \(2 rows in all\)"),
        ([True, False], "is true or false, not a number or a name in row 0: True"),
        (np.array([True]), "is true or false"),
        ([1, "1"], "is not a number, as the first row is, in row 1: '1'"),
        (["a", 1], "is not text, as the first row is, in row 1: 1"),
        (["a", " "], "is empty in row 1: ' '"),
        (["a\ud800"], r"half a surrogate pair, which no file can hold in row 0: 'a\\ud800'"),
        (["a\0"], "holds a null character"),
        ([["a"]] * 2 + ["b"], "is neither"),
        (np.ones((2, 2)), r"pids has shape \[2, 2\], but it must be a list"),
        ("abc", r"shape \[\]"),
        ({1, 2}, r"shape \[\]"),
        (None, r"shape \[\]"),
    ],
)
def test_what_is_refused(what: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        as_ids("pids", what)


def test_length() -> None:
    assert len(as_ids("pids", [1, 2], 2, "query")) == 2
    with pytest.raises(UserError, match=r"pids has shape \[2\], but query has 3 rows; .*column 'pid'"):
        as_ids("pids", [1, 2], 3, "query")


def test_tensors() -> None:
    torch = pytest.importorskip("torch")
    assert as_ids("pids", torch.tensor([1, 2])).tolist() == [1, 2]
    assert as_ids("pids", [torch.tensor(1), 2]).tolist() == [1, 2]
    assert as_ids("pids", torch.tensor([1.0], requires_grad=True)).tolist() == [1]
    for odd in (torch.tensor([1.0]).to_sparse(), torch.tensor([1.0]).bfloat16(), torch.ones(1, device="meta")):
        with pytest.raises(UserError, match="pids cannot be read as a list"):
            as_ids("pids", odd)


def test_codes_are_shared_across_lists() -> None:
    assert [part.tolist() for part in codes([5, 7, 5], [7, 9])] == [[0, 1, 0], [1, 2]]
    assert [part.tolist() for part in codes(["b", "a"], [], ["a "])] == [[0, 1], [], [1]]
    assert [part.tolist() for part in codes([1, 2], ["2", "01", "1"])] == [[0, 1], [1, 2, 0]], (
        "numbers meet text as text"
    )
    assert [part.tolist() for part in codes([1, 1.0, 2])] == [[0, 0, 1]], "1 and 1.0 in one column are one person"
    assert [part.dtype for part in codes([], [])] == [np.int64] * 2


@given(st.lists(st.integers(-(2**63), 2**63 - 1)), st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_codes_are_equal_where_identities_are(left: list[int], right: list[int]) -> None:
    found = np.concatenate(codes(left, right))
    assert [(a == b) for a in found for b in found] == [a == b for a in left + right for b in left + right]


def test_writable() -> None:
    assert writable("名 é") and not writable("\udcff") and not writable("a\0b")


def test_no_torch() -> None:
    code = "import sys, reidlab.ids; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
