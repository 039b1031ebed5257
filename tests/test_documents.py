"""YAML, JSON and literals of users: what comes out, what is refused, and that nothing hangs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from reidlab import documents
from reidlab.documents import as_mapping, load_json, load_literal, load_yaml, plain, read_json, read_yaml
from reidlab.errors import UserError
from reidlab.paths import RECIPES

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefghi", "bcdefghij")
)


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_recipes_are_read_as_yaml_reads_them(path: Path) -> None:
    assert read_yaml(path, path.name) == yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("a: 2024-01-31", {"a": "2024-01-31"}),  # a date stays text, as in YAML 1.2
        ("a: 2001-12-14t21:59:43.10-05:00", {"a": "2001-12-14t21:59:43.10-05:00"}),
        ("a: =", {"a": "="}),
        ("a: &x {b: [1, 2.5]}\nc: *x", {"a": {"b": [1, 2.5]}, "c": {"b": [1, 2.5]}}),
        ("a: &x {b: 1, c: 1}\nd: {<<: *x, b: 2}", {"a": {"b": 1, "c": 1}, "d": {"b": 2, "c": 1}}),
        ("d:\n  <<: [{b: 1}, {b: 2, c: 2}]", {"d": {"b": 1, "c": 2}}),
        ("'1': !!int '5'", {"1": 5}),
        ("a: [yes, off, ~, 0x1F, 1_000, 1e-3, 1.0e-3]", {"a": [True, False, None, 31, 1000, "1e-3", 0.001]}),
        ("- " * 20 + "x", json.loads("[" * 20 + '"x"' + "]" * 20)),
    ],
)
def test_yaml_is_read(text: str, value: Any) -> None:
    assert load_yaml(text, "f") == value


def test_what_aliases_repeat_is_not_shared() -> None:
    made = load_yaml("a: &x [1]\nb: *x", "f")
    made["a"].append(2)
    assert made["b"] == [1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BOMB, "more than 20,000 values .an alias counts"),
        ("[" * 200_000, "nested more than 32 deep"),
        ("[\n" * 100_000, "nested more than 32 deep"),
        ("{" * 200_000, "nested more than 32 deep"),
        ("- " * 100_000, "nested more than 32 deep"),
        ("? " * 100_000, "nested more than 32 deep"),
        ("- a\n" * 60_000, "more than 20,000 values"),
        ("a: " + "x" * 300_000, "has more than 262,144 bytes"),
        ("é" * 200_000, "has more than 262,144 bytes"),
        ("a: &x [*x]", "alias .x is used inside its own anchor"),
        ("a: *x", "is not YAML: found undefined alias 'x' in line 1"),
        ("a: 1\nb: 2\na: 3", "'a' is given twice, in lines 1 and 3"),
        ("a: {b: {c: 1, c: 2}}", "'c' is given twice"),
        ("a: .nan", "`a` is nan, not a finite number"),
        ("a: {b: [-.inf]}", "`a.b.0` is -inf, not a finite number"),
        ("a: 1.0e+999", "`a` is inf"),
        ("a: " + "9" * 5000, "line 1: a number has 5,000 digits"),
        ("a: 99999999999999999999999", "`a` is a whole number beyond 64 bits"),
        ("1: a", "line 1: the name '1', read as 1, must be text: write it in quotes"),
        ("on: a", "the name 'on', read as True, must be text"),
        ("? [a]\n: b", "must be text"),
        ("2024-01-31: a\n~: b", "line 2: the name '~', read as None, must be text"),
        ("a: !!set {x, y}", "the tag '!!set' cannot be read"),
        ("a: !!binary aGk=", "the tag '!!binary'"),
        ("a: !mine {x: 1}", "the tag '!mine'"),
        ("!!python/object/apply:os.system [x]", "the tag '!!python/object/apply:os.system'"),
        ("a: !!bool maybe", "'maybe' cannot be read as bool"),
        ("a: 0b_", "'0b_' cannot be read as int"),
        ("<<: 3", "`<<` takes mappings only"),
        ("a: [", "is not YAML: .* in line 1, column 5"),
        ("a: b: c", "is not YAML: mapping values are not allowed here"),
        ("a: 1\n---\nb: 2", "is not YAML: .*another document"),
        ("\x00", "is not YAML: unacceptable character"),
        ('a: "\\0"', "`a` holds a null character"),
        ("%YAML 9.0\n---\na: 1", "is not YAML: found incompatible"),
    ],
)
def test_yaml_that_is_refused(text: str, words: str) -> None:
    with pytest.raises(UserError, match=f"^-f mine.yaml: .*{words}"):
        load_yaml(text, "-f mine.yaml")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{'partial': True}", {"partial": True}),
        ('{"partial": true, "x": null}', {"partial": True, "x": None}),
        ("('a', 2, -3.5, +1)", ["a", 2, -3.5, 1]),
        ('["\\ud83d\\ude00", "\\/"]', ["😀", "/"]),
        ("['\\d']", ["\\d"]),
        ("{}", {}),
    ],
)
def test_literals_are_read(text: str, value: Any) -> None:
    assert load_literal(text, "options") == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{{1}}", "holds a set"),
        ("{'a': {1, 2}}", "holds a set"),
        ("{[1]: 2}", r"\[1\] is a name"),
        ("{1: 2}", "1 is a name .*write it in quotes"),
        ("{None: 2}", "None is a name"),
        ("{'a': 1, 'a': 2}", "'a' is given twice"),
        ('{"a": 1, "a": 2}', "'a' is given twice"),
        ("[" * 100_000, "nested more than 32 deep"),
        ("[" * 40 + "]" * 40, "nested more than 32 deep"),
        ("(" * 100_000, "too many nested parentheses"),
        ("[" + "-" * 100_000 + "1]", "nested more than 32 deep"),
        ("[" + "1+" * 100_000 + "1]", "nested more than 32 deep"),
        ("[" + "9" * 5000 + "]", "5,000 digits"),
        ("{'a': " + "9" * 5000 + "}", "a number has too many digits"),
        ("['x" + "9" * 300_000 + "']", "has more than 262,144 bytes"),
        ("[NaN]", "is nan"),
        ("[1e999]", "is inf"),
        ("['\\ud800']", "half of a character"),
        ("[1j]", "is not a list or mapping: only text in quotes"),
        ("[b'x']", "only text in quotes"),
        ("[open('x')]", "only text in quotes"),
        ("{**{}}", "only text in quotes"),
        ("[a]", "only text in quotes"),
        ("[1", "is not a list or mapping"),
        ("[\x00]", "is not a list or mapping"),
    ],
)
def test_literals_that_are_refused(text: str, words: str) -> None:
    with pytest.raises(UserError, match=f"^options: .*{words}"):
        load_literal(text, "options")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not JSON"),
        ("", "is not JSON"),
        ("[" * 100_000, "nested more than 32 deep"),
        ('{"a": 1, "a": 2}', "'a' is given twice"),
        ("[NaN]", "is nan"),
        ("[1e999]", "is inf"),
        ("[" + "9" * 5000 + "]", "5,000 digits"),
        ('["\\u0000"]', "null character"),
        (" " * 300_000, "more than 262,144 bytes"),
    ],
)
def test_json_that_is_refused(text: str, words: str) -> None:
    with pytest.raises(UserError, match=f"^config.json: .*{words}"):
        load_json(text, "config.json")


def test_json_of_our_own_may_be_large_and_hold_what_python_writes() -> None:
    many = json.dumps([1.5] * 100_000)
    assert len(load_json(many, "f", limit=10**6)) == 100_000
    assert load_json("[Infinity]", "f", finite=False) == [float("inf")]


def test_files(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(b"\xef\xbb\xbfa: 1")  # Windows editors begin a file so
    assert read_yaml(file, "f") == {"a": 1} and as_mapping(None, "f") == {}
    file.write_bytes(b"a: \xff")
    with pytest.raises(UserError, match=r"f: is not UTF-8 text .*byte 3"):
        read_yaml(file, "f")
    file.write_bytes(b"x" * 300_000)
    with pytest.raises(UserError, match="f: has more than 262,144 bytes"):
        read_yaml(file, "f")
    for absent in (tmp_path, tmp_path / "none", tmp_path / ("x" * 300), Path("a\0b")):
        with pytest.raises(UserError, match="f: cannot be read"):
            read_json(absent, "f")
    with pytest.raises(UserError, match="f: holds a list; expected lines `name: value`"):
        as_mapping([1], "f")


class _Angry:
    def __repr__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({1: 2}, "the name 1 must be text"),
        ({"a": {1, 2}}, "`a` holds a set"),
        ([object], "holds a type"),
        ([_Angry()], "_Angry"),
        (b"x", "holds a bytes"),
        (float("inf"), "is inf"),
        ([10**5000], "a whole number beyond 64 bits"),
    ],
)
def test_plain_data(value: Any, words: str) -> None:
    with pytest.raises(UserError, match=f"^options: .*{words}"):
        plain(value, "options")


def test_plain_data_that_holds_itself() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(UserError, match="nested more than 32 deep"):
        plain(loop, "options")
    wide: Any = 1
    for _ in range(20):
        wide = [wide] * 9
    with pytest.raises(UserError, match="too many values"):
        plain(wide, "options")


TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs", "Cc"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc ", max_size=3), inner, max_size=4),
    max_leaves=15,
)  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(tree=TREES)
def test_plain_trees_survive_every_format(tree: Any) -> None:
    assert plain(tree, "f") == tree
    assert load_json(json.dumps(tree), "f") == tree
    assert load_yaml(yaml.safe_dump(tree), "f") == tree
    assert documents.load_literal(repr([tree]), "f") == [tree]
