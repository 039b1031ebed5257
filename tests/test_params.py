from __future__ import annotations

import ast
import datetime
import itertools
import math
import subprocess
import sys
from typing import Any, ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from reidlab import params
from reidlab.errors import UserError
from reidlab.params import NOTEBOOKS, NotebookParams, coerce, describe


class Toy(NotebookParams):
    notebook: ClassVar[str] = "90_toy"
    count: int = Field(3, ge=1, le=9, description="how many")
    rate: float = Field(0.1, gt=0, description="how fast")
    flag: bool = Field(False, description="whether")
    limit: int | None = Field(None, ge=1, description="at most")
    note: str = Field("", description="text")
    label: str | None = Field(None, description="text or nothing")
    mode: Literal["plain", "hard"] = Field("plain", description="how")
    sizes: tuple[int, ...] = Field((1, 2), description="sizes")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("flag", "false", False),
        ("flag", "True", True),
        ("flag", "no", False),
        ("flag", "1", True),
        ("rate", "1e-3", 1e-3),
        ("rate", "2", 2.0),
        ("count", "5", 5),
        ("limit", "none", None),
        ("limit", "None", None),
        ("limit", "", None),
        ("limit", "7", 7),
        ("note", "007", "007"),
        ("note", "none", "none"),
        ("label", "none", None),
        ("label", "", ""),
        ("mode", "hard", "hard"),
        ("sizes", "3, 4", (3, 4)),
        ("sizes", "[3, 4]", (3, 4)),
        ("sizes", "5", (5,)),
    ],
)
def test_text_is_read_by_annotation(name: str, text: str, value: Any) -> None:
    got = coerce(Toy, {name: text})
    assert got == {name: value} and type(got[name]) is type(value)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("count", 5.7, "whole number"),
        ("count", "5.7", "whole number"),
        ("count", True, "at most 9"),
        ("count", 0, "at least 1"),
        ("count", None, "whole number"),
        ("rate", float("nan"), "a number"),
        ("rate", float("inf"), "a number"),
        ("rate", "nan", "a number"),
        ("rate", True, "more than 0"),
        ("rate", "fast", "a number"),
        ("flag", "maybe", "true or false"),
        ("flag", 2, "true or false"),
        ("limit", 0, "or None"),
        ("note", 7, "-r note"),
        ("mode", "hardd", "Did you mean 'hard'"),
        ("mode", "zzz", "'plain' or 'hard'"),
        ("sizes", "[1, 'x']", "tuple"),
        ("sizes", [1, 2.5], "tuple"),
    ],
)
def test_what_does_not_fit_is_refused_with_name_value_and_allowed(name: str, value: Any, words: str) -> None:
    with pytest.raises(UserError) as caught:
        Toy.from_values({name: value})
    message = str(caught.value)
    assert "90_toy" in message and f"{name}={value!r}" in message and words in message


class Open(NotebookParams):
    notebook: ClassVar[str] = "91_open"
    options: dict[str, Any] = Field({}, description="anything by name")
    steps: list[dict[str, Any]] = Field([], description="steps")
    name: str = Field("", max_length=60, description="text")
    seed: int = Field(0, ge=0, le=2**32 - 1, description="number")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("options", "{{1}}", "holds a set"),
        ("options", "{[1]: 2}", "is a name in a mapping, but names must be text"),
        ("options", "{'a': {1, 2}}", "holds a set"),
        ("options", {"a": {1, 2}}, "`a` holds a set"),
        ("options", {1: 2}, "the name 1 must be text"),
        ("options", {"a": datetime.date(2024, 1, 31)}, "`a` holds a date"),
        ("options", {"a": [math.nan]}, "`a.0` is nan, not a finite number"),
        ("options", "[" * 5000, "nested more than 32 deep|too many nested parentheses"),
        ("options", "{'a': " + "9" * 5000 + "}", "a number has too many digits"),
        ("steps", "[{'name': 'a', 'name': 'b'}]", "'name' is given twice"),
        ("steps", "[[[[", "is not a list or mapping"),
        ("name", "x" * 300, "allowed is text"),
        ("name", "a\0b", "null character"),
        ("name", "a\udcff", "half of a character"),
        ("name", datetime.date(2024, 1, 31), "holds a date"),
        ("name", b"x", "holds a bytes"),
        ("seed", "9" * 5000, "a whole number, at least 0"),
        ("seed", 10**5000, "beyond 64 bits"),
        ("seed", ["9"], "a whole number"),
        ("seed", object(), "holds a object"),
    ],
    ids=itertools.count(),
)
def test_what_is_no_plain_data_is_refused(name: str, value: Any, words: str) -> None:
    with pytest.raises(UserError, match=rf"of 91_open cannot be used:\n  {name}=.*: .*({words})") as caught:
        Open.from_values({name: value})
    assert len(str(caught.value)) < 500 and "\n    " not in str(caught.value)


def test_values_are_copies() -> None:
    options = {"a": [1]}
    made = Open.from_values({"options": options})
    options["a"].append(2)
    assert made.options == {"a": [1]}


def test_several_mistakes_come_in_one_message() -> None:
    with pytest.raises(UserError) as caught:
        Toy.from_values({"cuont": 1, "rate": -1, "mode": "x", "count": True})
    lines = str(caught.value).splitlines()
    assert "4 parameters" in lines[0] and len(lines) == 5
    assert any("cuont=1: no such parameter. Did you mean 'count'?" in line for line in lines)


def test_an_unknown_name_without_neighbour_lists_the_names() -> None:
    with pytest.raises(UserError, match="There are: count, rate"):
        Toy.from_values({"qqqqqq": 1})


def test_whole_floats_are_integers_and_models_are_frozen() -> None:
    toy = Toy.from_values({"count": 5.0})
    assert toy.count == 5 and type(toy.count) is int
    with pytest.raises(ValidationError):
        toy.count = 6  # type: ignore[misc]


def kernel(*cells: str) -> dict[str, Any]:
    """Run cells as a kernel would: one namespace, the history in `In`."""
    namespace: dict[str, Any] = {
        "In": [""],
        "Out": {},
        "exit": 1,
        "quit": 2,
        "_": "",
        "_i1": "x",
        "__name__": "__main__",
    }
    for cell in cells:
        namespace["In"].append(cell)
        exec(cell, namespace)
    return namespace


def test_from_notebook_without_history_takes_plain_public_names() -> None:
    namespace = {
        "count": 4,
        "_hidden": 1,
        "In_": None,
        "__name__": "x",
        "Out": {},
        "quit": 3,
        "os": ast,
        "f": kernel,
    }
    namespace.pop("In_")
    assert Toy.from_notebook(namespace).count == 4
    with pytest.raises(UserError, match="cuont"):
        Toy.from_notebook({**namespace, "cuont": 4})


def test_from_notebook_injected_values_win_and_are_coerced() -> None:
    space = kernel(
        "import os",
        "count: int = 3  # how many\nflag: bool = True  # whether",
        '# Parameters\nflag = "false"\n',
    )
    toy = Toy.from_notebook(space)
    assert toy.flag is False and toy.changed() == {} and toy.count == 3


def test_from_notebook_refuses_misspelt_names_in_either_cell() -> None:
    for cells in (
        ("count: int = 3\nraet: float = 1.0",),
        ("count: int = 3", "# Parameters\nraet = 1.0"),
        ("count: int = 3", "# Parameters\nrate = float('nan')"),
    ):
        with pytest.raises(UserError, match=r"raet=1\.0: no such parameter\. Did you mean 'rate'|rate=nan"):
            Toy.from_notebook(kernel(*cells))


def test_from_notebook_can_run_again_after_later_cells_and_mended_names() -> None:
    space = kernel("count: int = 3\nraet: float = 2.0", "best = 0.5", "count: int = 4\nrate: float = 2.0", "n: int = 5")
    toy = Toy.from_notebook(space)
    assert (toy.count, toy.rate) == (4, 2.0)


def test_from_notebook_takes_a_later_override_and_keeps_the_rest() -> None:
    toy = Toy.from_notebook(kernel("count: int = 5\nrate: float = 2.0", "count = 6"))
    assert (toy.count, toy.rate) == (6, 2.0)


@given(st.integers(-20, 20))
def test_ranges_hold(count: int) -> None:
    if 1 <= count <= 9:
        assert Toy.from_values({"count": str(count)}).count == count
    else:
        with pytest.raises(UserError):
            Toy.from_values({"count": count})


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=1e-300))
def test_numbers_survive_text(rate: float) -> None:
    assert Toy.from_values({"rate": repr(rate)}).rate == rate


def test_describe_rows() -> None:
    rows = {row.name: row for row in describe(Toy)}
    assert rows["count"] == ("count", "int", "3", "a whole number, at least 1, at most 9", "how many")
    assert rows["limit"].allowed == "a whole number, at least 1, or None" and rows["limit"].type == "int | None"
    assert rows["mode"].allowed == "'plain' or 'hard'" and rows["mode"].type == "choice"
    assert rows["sizes"].type == "tuple[int, ...]"


@pytest.mark.parametrize("model", NOTEBOOKS.values(), ids=list(NOTEBOOKS))
def test_each_notebook_model(model: type[NotebookParams]) -> None:
    made = model()
    assert len(model.model_fields) <= 18 and made.changed() == {}
    assert all(row.description for row in describe(model))
    assert model.from_values(made.model_dump()) == made
    # what a shell can say for each default is read back as the default
    assert model.from_values({k: str(v) for k, v in made}) == made
    assert "Parameters" in made._repr_html_()


def test_the_table_escapes_and_marks_what_differs() -> None:
    html = Toy(note="<b>&")._repr_html_()
    assert "&lt;b&gt;&amp;" in html and html.count("<b>") == 1


def test_a_projection_is_no_metric() -> None:
    p = params.Retrieval.from_values({"projection": "lda"})
    assert (p.metric, p.projection) == ("cosine", "lda")
    with pytest.raises(UserError, match="metric='lda': lda is a projection, not a metric: set projection='lda'"):
        params.Retrieval.from_values({"metric": "lda"})
    with pytest.raises(UserError, match="projection='pca': allowed is '' or 'lda'"):
        params.Retrieval.from_values({"projection": "pca"})


def test_no_torch() -> None:
    code = "import sys, reidlab.params; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert set(params.__all__) >= {"NotebookParams", "coerce", "describe"}
