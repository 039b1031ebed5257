"""What a UserError says can be printed anywhere, however strange what it quotes."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reidlab.errors import LONGEST, UserError, nearest, printable


@pytest.mark.parametrize(
    ("given_text", "shown"),
    [
        ("plain, é and 名\n\tin lines", "plain, é and 名\n\tin lines"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\ud800b", "a\\ud800b"),
        ("null \x00 and \u202e", "null \\x00 and \\u202e"),
    ],
)
def test_messages_are_printable(given_text: str, shown: str) -> None:
    assert str(UserError(given_text)) == shown


@given(st.text(st.characters()))
def test_any_message_can_be_encoded_and_pickled(text: str) -> None:
    error = UserError(text)
    str(error).encode("utf-8")
    assert str(pickle.loads(pickle.dumps(error))) == str(error) == printable(str(error))


def test_the_nearest_choice_may_be_longer() -> None:
    assert nearest("osnett", ["resnet50t", "osnet_x1_0", "osnet_x0_5"]) == " Did you mean 'osnet_x1_0'?"
    assert nearest("resnte50", ["resnet50_ibn", "resnet50"]) == " Did you mean 'resnet50'?"
    assert nearest("abc", ["xyz", "abd_long_name"]) == ""


def test_long_messages_keep_both_ends() -> None:
    message = str(UserError("begin" + "\ud800" * 100_000 + "the remedy"))
    assert len(message) <= LONGEST
    assert message.startswith("begin")
    assert message.endswith("the remedy")


def test_nearest_takes_a_long_name() -> None:
    assert nearest("x" * 10**7, ["abc"]) == ""
    assert nearest("cosin", ["cosine"]) == " Did you mean 'cosine'?"
