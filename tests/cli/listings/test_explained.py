"""Options and explanations out of signatures and docstrings."""

from __future__ import annotations

from functools import partial

import pytest
import yaml

from reidlab.listings.explained import Option, explain, options_of, written
from reidlab.registry import options_of as parameters


class Base:
    """A base.

    Args:
        size: of the base, which
            the class says again.
        kept: said here alone.
    """

    def __init__(self, size: int, kept: int = 3) -> None: ...


class Part(Base):
    """A part: of something.

    More about it, with a colon: here.

    Args:
        size: as it is.
        low, high: bounds, in pixels
            and so on: both.

    Attributes:
        size: what the first section says counts.
        kind: made.

    Raises:
        ValueError: low: not lower.
    """

    def __init__(
        self, size: int, low: float = 1e-7, high: float = 0.4991641660703783, *rest: int, **more: int
    ) -> None: ...


# explain() trusts the docstrings of the package alone: those of torch are written otherwise
Base.__module__ = Part.__module__ = "reidlab.test"


def test_a_docstring_is_taken_apart() -> None:
    text, meanings = explain(Part)
    assert text == "A part: of something.\n\nMore about it, with a colon: here."
    both = "bounds, in pixels and so on: both."
    assert meanings == {"size": "as it is.", "kept": "said here alone.", "kind": "made.", "low": both, "high": both}
    assert explain(Base)[1]["size"] == "of the base, which the class says again."


def test_what_has_no_docstring_has_no_explanation() -> None:
    assert explain(lambda: None) == ("", {})
    assert explain(partial(partial(Part, 1), low=2))[0].startswith("A part")


def test_options_are_written_as_yaml_with_their_meanings() -> None:
    both = "bounds, in pixels and so on: both."
    meanings = explain(Part)[1]
    assert options_of(parameters(Part), meanings) == [
        Option("size", "", "as it is."), Option("low", "1.0e-07", both), Option("high", "0.499164", both),
    ]  # fmt: skip
    assert [option.name for option in options_of(parameters(Part, ["size", "low"]), meanings)] == ["high"]
    assert options_of(parameters(partial(Part, low=5.0), ["size", "high"]), meanings) == [Option("low", "5.0", both)]


@pytest.mark.parametrize("value", [True, None, 3, 1e-7, 0.25, "", "sum", "1", "true", (0.02, 0.4), ("backbone",), {}])
def test_defaults_can_be_pasted_into_a_recipe(value: object) -> None:
    wanted = list(value) if isinstance(value, tuple) else value
    read = yaml.safe_load(f"option: {written(value)}")["option"]
    assert read == wanted and type(read) is type(wanted)
    assert "\n" not in written(value)


def test_what_yaml_cannot_say_is_text() -> None:
    assert "object" in written(object())
