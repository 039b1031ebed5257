"""Identity and camera from names."""

from __future__ import annotations

import pytest

from reidlab.errors import UserError
from reidlab.search.names import known_people


def test_names_as_market_1501_writes_them() -> None:
    files = ["/x/0002_c1s1_000451_03.jpg", "/x/-1_c3s2_1_0.jpg", "/x/0001_c012_00016450_0.png", "/x/7_c2.jpg"]
    assert known_people(files) == [("0002", "1"), ("-1", "3"), ("0001", "012"), ("7", "2")]


def test_other_names_say_nothing() -> None:
    assert known_people(["/x/anna_1.jpg", "/x/1234.jpg", "/x/1_cx.jpg", "/x/0002_c1s1"]) == [("", "")] * 4
    assert known_people([]) == []


def test_a_pattern_of_ones_own() -> None:
    pattern = r"(?P<pid>\w+)-(?P<camid>\w+)-\d+\.jpg"
    assert known_people(["/x/anna-door-1.jpg", "/x/0002_c1s1_1_1.jpg"], pattern) == [("anna", "door"), ("", "")]
    assert known_people(["/x/anna.jpg"], r"(?P<pid>\w+)\.jpg") == [("anna", "")]


@pytest.mark.parametrize("pattern", ["(", "no group"])
def test_a_bad_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(UserError, match="pattern="):
        known_people([], pattern)
