"""What the fuzz tests share: how many examples, what counts as a good end, and junk of many kinds.

from fuzz_cases import ends_well, fuzz, junk

@fuzz(60)
@given(junk())
def test_any_junk(value): ends_well(lambda: function(value))
"""

from __future__ import annotations

import math
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from reidlab.errors import UserError

SECONDS = 60.0  # what the examples that tests ask for are meant to take together, in one process
LONG = os.environ.get("REIDLAB_FUZZ", "").lower() == "long" or "REIDLAB_FUZZ_SECONDS" in os.environ
SCALE = max(1.0, float(os.environ.get("REIDLAB_FUZZ_SECONDS", "3600")) / SECONDS) if LONG else 1.0
HANGS = 120  # seconds after which a call hangs; nothing here takes more than a few

# Not loaded as the session's profile: tests outside this folder keep theirs
ALWAYS = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}
settings.register_profile("fuzz", derandomize=True, max_examples=50, **ALWAYS)
settings.register_profile("fuzz-long", derandomize=False, max_examples=math.ceil(50 * SCALE), **ALWAYS)
PROFILE = "fuzz-long" if LONG else "fuzz"


def fuzz(examples: int = 50) -> settings:
    """Return the settings of a fuzz test: as many examples, or as many times more as the long run lasts longer."""
    return settings(settings.get_profile(PROFILE), max_examples=math.ceil(examples * SCALE))


@contextmanager
def _no_hang() -> Iterator[None]:
    """Raise where the block runs longer than `HANGS`, on the main thread of a system that has alarms."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def rings(_number: int, _frame: FrameType | None) -> None:
        raise AssertionError(f"hangs: still running after {HANGS} s")

    before = signal.signal(signal.SIGALRM, rings)
    signal.setitimer(signal.ITIMER_REAL, HANGS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def ends_well(call: Callable[[], Any], *, also: tuple[type[Exception], ...] = ()) -> Any:
    """Return the call's result or its UserError, and let everything else fail the test.

    A UserError must say something that can be printed, and no more than a screen of it. Warnings are errors already
    (pyproject.toml).

    Args:
        call: what is tried.
        also: further exceptions that are allowed, such as TypeError for what the signature refuses.
    """
    with _no_hang():
        try:
            return call()
        except UserError as error:
            message = str(error)
            assert message.strip(), "a UserError without a message"
            assert len(message) <= 5000, f"a UserError of {len(message)} characters: {message[:300]}"
            message.encode("utf-8")  # lone surrogates cannot be printed
            return error
        except also as error:
            return error


def junk_text() -> st.SearchStrategy[str]:
    """Return text with what breaks parsers, paths, pages and terminals, lone surrogates among it."""
    nasty = [
        "",
        " ",
        "nan",
        "NaN",
        "inf",
        "-1",
        "1e300",
        "0x10",
        "١",
        "\x00",
        "\ud800",
        "\x1b[31m",
        "\r\n",
        "../../etc",
    ]
    nasty += [
        "$x^{",
        "<script>",
        "{{ 7*7 }}",
        "%s%n",
        "a" * 5000,
        "~",
        "/dev/null",
        "C:\\x",
        "é",
        "e\u0301",
        "\u202e",
        "💥",
    ]
    return st.sampled_from(nasty) | st.text(st.characters(), max_size=30)


def junk_number() -> st.SearchStrategy[Any]:
    """Return numbers that fit nowhere: huge, tiny, negative, NaN, infinite, complex, of NumPy's and Python's kinds."""
    edges = [0, 1, -1, 2**31, 2**53 + 1, 2**63 - 1, -(2**63), 2**63, 2**64 - 1, 2**70, 10**400, 1e300, -0.0, math.nan]
    edges += [math.inf, -math.inf, 1e-320, 1 + 2j, True, np.float16(1), np.uint64(2**64 - 1), np.int8(-1), np.nan]
    return st.sampled_from(edges) | st.integers() | st.floats()


def junk_scalar() -> st.SearchStrategy[Any]:
    """Return one thing: text, a number, a missing value or an object that is neither."""
    odd = [None, pd.NA, pd.NaT, b"bytes", object(), np.datetime64("2020-01-01"), pd.Timestamp(0), ..., range(3), type]
    return junk_text() | junk_number() | st.sampled_from(odd)


def junk_array(max_size: int = 6) -> st.SearchStrategy[Any]:
    """Return lists and arrays of many kinds and shapes: ragged, empty, masked, structured, of objects, without axes."""
    scalars = st.lists(junk_scalar(), max_size=max_size)
    numbers = st.lists(st.floats(width=32) | st.integers(-3, 3), max_size=max_size)
    kinds = st.sampled_from(["f2", "f4", "f8", "i1", "i8", "u8", "c16", "U3", "S3", "O", "?", "M8[s]", "m8[s]", "V4"])
    shapes = st.lists(st.integers(0, 3), max_size=4).map(tuple)
    return st.one_of(
        scalars,
        scalars.map(lambda values: np.array([*values, None], dtype=object)[:-1]),
        scalars.map(lambda values: pd.Series(values, dtype=object)),
        numbers.map(np.array),
        st.builds(np.zeros, shapes, kinds),
        st.builds(np.ma.masked_all, shapes, st.sampled_from(["f4", "i8"])),
        st.lists(st.lists(st.integers(0, 3), max_size=3), max_size=3),
        st.dictionaries(st.text(max_size=3), junk_scalar(), max_size=3),
    )


def junk() -> st.SearchStrategy[Any]:
    """Return anything: a scalar, an array, or a nest of lists and dictionaries as YAML and JSON hold them."""
    nest = st.recursive(
        junk_scalar(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(junk_text(), inner, max_size=3),
        max_leaves=8,
    )
    return junk_scalar() | junk_array() | nest
