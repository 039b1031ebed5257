"""Names, options and third parties' entries."""

from __future__ import annotations

import importlib.metadata
import sys
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
from torch import nn

from reidlab import losses, registry
from reidlab.errors import UserError
from reidlab.registry import LOSSES, REGISTRIES, Entry, Registry, check_options, options_of

EVERY = [(each.plural, entry) for each in REGISTRIES for entry in each.own()]


def toy(given: int, *, share: float = 0.5, size: tuple[int, int] = (2, 1), kind: Literal["a", "b"] = "a") -> Any:
    """Return what it was given."""
    return given, share, size, kind


TOYS = Registry(
    "toy",
    "toys",
    [
        Entry("plain", f"{__name__}:toy", "a toy"),
        Entry("fixed", f"{__name__}:toy", "a toy", {"share": 0.25}, defaults={"kind": "b"}),
    ],
    given=("given",),
)


@pytest.mark.parametrize("plural, entry", EVERY, ids=[f"{plural}-{entry.name}" for plural, entry in EVERY])
def test_every_entry_leads_somewhere_and_takes_its_fixed_options(plural: str, entry: Entry) -> None:
    assert callable(entry.factory) and len(entry.description) > 10 and "\n" not in entry.description
    assert not entry.description.endswith(".")
    named = options_of(entry.factory)
    assert {*entry.fixed, *entry.defaults} <= set(named) or any(p.kind is p.VAR_KEYWORD for p in named.values())
    owner = next(each for each in REGISTRIES if each.plural == plural)
    assert owner.find(entry.name) is owner[entry.name] is entry
    assert not {*owner.given, *entry.fixed} & set(owner.options(entry.name))


def test_no_name_stands_twice_and_lists_agree() -> None:
    for each in REGISTRIES:
        assert len({entry.name for entry in each.own()}) == len(each.own()) == len(each)
        assert getattr(registry, {"data sets": "DATASETS"}.get(each.plural, each.plural.upper())) is each


def test_fixed_options_cannot_be_given_and_defaults_can() -> None:
    assert TOYS.build("plain", 1) == (1, 0.5, (2, 1), "a")
    assert TOYS.build("fixed", 1, options={"size": [3, 4]}) == (1, 0.25, (3, 4), "b")
    assert TOYS.build("fixed", 1, options={"kind": "a"})[-1] == "a"
    assert TOYS.options("fixed")["kind"].default == "b"
    with pytest.raises(UserError, match="toy 'fixed' has no option 'share'; it has size, kind"):
        TOYS.build("fixed", 1, options={"share": 0.1})


@pytest.mark.parametrize("name", ["plan", "PLAIN", "", "plain:", ":toy", "a b:c", 3, None])
def test_unknown_names(name: Any) -> None:
    with pytest.raises(UserError, match=r"toy .* is unknown; choose from plain, fixed\."):
        TOYS.find(name)


def test_a_class_of_another_package(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = types.ModuleType("theirs")
    theirs.Sum = type("Sum", (nn.Module,), {"forward": lambda _self, features, labels: features.sum()})  # type: ignore[attr-defined]
    theirs.number = 3  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "theirs", theirs)
    assert isinstance(losses.build("theirs:Sum"), theirs.Sum)  # type: ignore[attr-defined]
    assert losses.takes_of("theirs:Sum") == ("features", "labels")
    with pytest.raises(UserError, match="cannot be imported from 'theirs:Missing'"):
        losses.build("theirs:Missing")
    with pytest.raises(UserError, match="cannot be imported from 'nowhere:Loss'"):
        losses.build("nowhere:Loss")
    with pytest.raises(UserError, match="'theirs:number', which cannot be called"):
        losses.build("theirs:number")


def test_entry_points_add_names_and_replace_none(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        importlib.metadata.EntryPoint("mine", f"{__name__}:toy", "reidlab.toys"),
        importlib.metadata.EntryPoint("plain", "elsewhere:toy", "reidlab.toys"),
    ]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points if group == "reidlab.toys" else [])
    fresh = Registry("toy", "toys", TOYS.own(), given=("given",))
    assert list(fresh) == ["plain", "fixed", "mine"] and fresh["plain"].module == __name__
    assert fresh.build("mine", 2)[0] == 2


def test_packages_export_what_is_registered() -> None:
    assert losses.TripletLoss is LOSSES["triplet"].factory
    with pytest.raises(AttributeError, match=r"module 'reidlab\.losses' has no attribute 'TripletLos'"):
        _ = losses.TripletLos


def factory(
    anything: object,
    number: float = 1.0,
    whole: int = 1,
    flag: bool = False,
    text: str = "a",
    maybe: int | None = None,
    pair: tuple[float, float] = (0.0, 1.0),
    many: Sequence[str] = (),
    part: str | Mapping[str, Any] = "x",
    choice: Literal["a", "b"] = "a",
    untyped=2.0,  # type: ignore[no-untyped-def]
) -> None: ...


@pytest.mark.parametrize(
    "option, value, taken",
    [
        ("number", 2, 2.0), ("whole", 3, 3), ("flag", True, True), ("text", "", ""), ("maybe", None, None), ("maybe", 4, 4),
        ("pair", [1, 2], (1.0, 2.0)), ("pair", (0.5, 1), (0.5, 1.0)), ("many", ["a"], ["a"]), ("part", {"name": "y"}, {"name": "y"}),
        ("choice", "b", "b"), ("untyped", 1, 1),
    ],
)  # fmt: skip
def test_values_that_fit(option: str, value: Any, taken: Any) -> None:
    made = check_options("x", options_of(factory), {"anything": None, option: value})[option]
    assert made == taken and type(made) is type(taken)


@pytest.mark.parametrize(
    "option, value, words",
    [
        ("number", "1e-3", r"x option number='1e-3' must be a number, such as 1\.0\."),
        ("number", True, "number=True must be a number"),
        ("whole", 1.0, r"whole=1\.0 must be a whole number"),
        ("flag", 1, "flag=1 must be true or false"),
        ("text", None, "text=None must be text"),
        ("maybe", "3", "maybe='3' must be a whole number or null"),
        ("pair", [1], r"pair=\[1\] must be a list of 2: a number, a number"),
        ("pair", 3, "pair=3 must be a list of 2"),
        ("many", "abc", "many='abc' must be a list of text"),
        ("part", 3, "part=3 must be text or a mapping"),
        ("choice", "c", "choice='c' must be 'a' or 'b'"),
        ("untyped", "a", "untyped='a' must be a number"),
        ("nubmer", 1, r"x has no option 'nubmer'; it has anything, .* Did you mean 'number'\?"),
    ],
)
def test_values_that_do_not_fit(option: str, value: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        check_options("x", options_of(factory), {"anything": None, option: value})


def test_what_has_no_default_is_asked_for() -> None:
    with pytest.raises(UserError, match="x needs the option 'anything', which has no default"):
        check_options("x", options_of(factory), {})
    with pytest.raises(UserError, match="x takes no options; it was given a, b"):
        check_options("x", {}, {"a": 1, "b": 2})


def test_only_the_registry_imports_by_name() -> None:
    """The code digest follows imports; what is imported by a name in data has to pass through the registry."""
    folder = Path(registry.__file__).parents[1]
    others = "reidlab/export/request.py"  # a module of onnxscript
    lazy = {
        others,
        "reidlab/data/__init__.py",
        "reidlab/explain/__init__.py",
        "reidlab/explorers/__init__.py",
        "reidlab/models/__init__.py",
        "reidlab/models/engines/__init__.py",
        "reidlab/plots/__init__.py",
        "reidlab/retrieval/__init__.py",
        "reidlab/search/__init__.py",
        "reidlab/stages/__init__.py",
        "reidlab/sweeps/__init__.py",
        "reidlab/training/__init__.py",
        "reidlab/registry/entries.py",
        "reidlab/store/sources.py",
        "reidlab/store/syntax.py",
    }
    users = {
        file.relative_to(folder.parent).as_posix()
        for file in folder.rglob("*.py")
        if "import_module" in file.read_text(encoding="utf-8")
    }
    assert users <= lazy
