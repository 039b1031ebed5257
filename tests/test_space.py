"""Free space is looked at before anything is written."""

from __future__ import annotations

import pytest

from reidlab import space
from reidlab.errors import UserError


def test_what_fits_is_let_through(monkeypatch, tmp_path):
    monkeypatch.setattr(space, "free_bytes", lambda folder: 1000 + space.RESERVE)
    space.check_space(tmp_path, 1000, "A store")


def test_what_does_not_fit_is_refused_with_both_numbers_and_a_remedy(monkeypatch, tmp_path):
    monkeypatch.setattr(space, "free_bytes", lambda folder: 31_000_000)
    with pytest.raises(UserError, match=r"A store needs 1\.2 TB .* 31\.0 MB are free .*`reidlab runs gc`.*data/cache"):
        space.check_space(tmp_path / "not" / "yet", 1_200_000_000_000, "A store")


def test_the_last_blocks_of_a_disk_are_left_to_others(monkeypatch, tmp_path):
    monkeypatch.setattr(space, "free_bytes", lambda folder: 1000 + space.RESERVE)
    with pytest.raises(UserError):
        space.check_space(tmp_path, 1001, "A store")


def test_free_bytes_of_a_folder_that_is_not_there_are_those_of_its_disk(tmp_path):
    assert space.free_bytes(tmp_path / "a" / "b") > 0


@pytest.mark.parametrize(("number", "text"), [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (31e6, "31.0 MB")])
def test_bytes_are_readable(number, text):
    assert space.readable_bytes(int(number)) == text
