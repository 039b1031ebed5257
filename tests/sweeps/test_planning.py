"""Which runs a sweep has: every combination, checked, with a digest and a command that remakes it."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reidlab.cli.console import read_pairs
from reidlab.errors import UserError
from reidlab.sweeps.files import Sweep
from reidlab.sweeps.planning import Plan, plan_sweep
from reidlab.workbook.cells import parameter_model, read_notebook

Make = Callable[..., Path]
PARAMETERS = (
    "a: int = 1  # a\nb: float = 0.5  # b\nwho: str = 'x'  # w\nflag: bool = True  # f\nseed: int = 0  # s\n"
    "names: list[str] = []  # n\nmaybe: int | None = None  # m\nmore: dict[str, int] = {}  # m"
)


@pytest.fixture
def toy(make_notebook: Make) -> Path:
    return make_notebook("toy", "print(a)", parameters=PARAMETERS)


def planned(*notebooks: Path, **content: Any) -> Plan:
    return plan_sweep(Sweep.model_validate({"name": "s", "notebooks": [str(path) for path in notebooks], **content}))


def test_every_combination_in_order(toy: Path) -> None:
    plan = planned(
        toy,
        params={"who": "y"},
        grid={"a": [1, 2], "b": [0.1, 0.2]},
        list=[{"name": "on", "params": {"flag": True}, "tags": "t"}, {"params": {"flag": False}}],
        seeds=2,
        tags=["all"],
    )
    expected = [
        {"who": "y", "flag": flag, "a": a, "b": b, "seed": seed}
        for flag, a, b, seed in itertools.product([True, False], [1, 2], [0.1, 0.2], [0, 1])
    ]
    assert [run.given for run in plan.runs] == expected and plan.repeated == 0
    assert [run.number for run in plan.runs] == list(range(1, 17)) and len({run.digest for run in plan.runs}) == 16
    assert plan.runs[0].name == "on, a=1, b=0.1, seed=0" and plan.runs[8].name == "flag=false, a=1, b=0.1, seed=0"
    assert plan.runs[0].tags == ("all", "t") and plan.runs[8].tags == ("all",)
    assert plan.axes == ("flag", "a", "b", "seed") and len({run.file for run in plan.runs}) == 16


def test_without_anything_that_differs_there_is_one_run(toy: Path) -> None:
    plan = planned(toy)
    (run,) = plan.runs
    assert run.name == "toy" and run.given == {} and plan.axes == ()


def test_combinations_that_are_equal_run_once(toy: Path) -> None:
    plan = planned(toy, grid={"a": [1, 2, 1]})
    assert [run.given["a"] for run in plan.runs] == [1, 2] and plan.repeated == 1
    # the default counts as given: the run is the same
    assert planned(toy).runs[0].digest == plan.runs[0].digest


def test_the_digest_follows_code_parameters_kernel_and_named_files(
    make_notebook: Make, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def digest(path: Path = toy, **content: Any) -> str:
        return planned(path, **content).runs[0].digest

    first = digest()
    assert digest() == first != digest(params={"a": 2})
    make_notebook("toy", "# A text that says more", "print(a)", parameters=PARAMETERS)
    assert digest() == first
    make_notebook("toy", "print(a + 1)", parameters=PARAMETERS)
    assert digest() != first
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text("epochs: 1")
    before = digest(params={"who": "mine.yaml"})
    Path("mine.yaml").write_text("epochs: 2")
    assert digest(params={"who": "mine.yaml"}) != before
    # of a recipe what it means counts, with the one that it begins from
    Path("parent.yaml").write_text("base: demo\nepochs: 3")
    Path("mine.yaml").write_text("base: parent.yaml")
    before = digest(params={"who": "mine.yaml"})
    Path("mine.yaml").write_text("# a comment\nbase: parent.yaml")
    assert digest(params={"who": "mine.yaml"}) == before
    Path("parent.yaml").write_text("base: demo\nepochs: 4")
    assert digest(params={"who": "mine.yaml"}) != before


def test_a_long_name_in_many_bytes_is_a_file_name_all_the_same(toy: Path) -> None:
    (run,) = planned(toy, list=[{"name": "寒" * 80}]).runs
    assert len(run.file.encode()) <= 100 and run.file.startswith("001-寒")


def test_each_notebook_takes_what_it_knows(make_notebook: Make, toy: Path) -> None:
    other = make_notebook("other", "1", parameters="seed: int = 0  # s")
    plan = planned(toy, other, grid={"a": [1, 2]}, seeds=2)
    assert [(run.notebook.stem, dict(run.given)) for run in plan.runs] == [
        ("toy", {"a": 1, "seed": 0}), ("other", {"seed": 0}), ("toy", {"a": 1, "seed": 1}), ("other", {"seed": 1}),
        ("toy", {"a": 2, "seed": 0}), ("toy", {"a": 2, "seed": 1}),
    ]  # fmt: skip
    assert plan.repeated == 2 and plan.runs[1].name == "other, seed=0"
    with pytest.raises(UserError, match="None of toy, other knows:\n  colour"):
        planned(toy, other, grid={"colour": ["red"]})


def test_all_problems_are_told_and_equal_ones_once(toy: Path) -> None:
    with pytest.raises(UserError) as error:
        planned(toy, grid={"a": [1, "many"], "b": [0.1, 0.2]}, list=[{"params": {}}, {"params": {"flag": "maybe"}}])
    said = str(error.value)
    assert said.startswith("sweep s: nothing was run") and said.count("a='many'") == 2
    assert "a=many, b=0.1 and 1 more: This parameter of toy cannot be used" in said and "flag='maybe'" in said


def test_names_are_looked_up_before_anything_runs() -> None:
    with pytest.raises(UserError, match=r"recipe=demmo.*Did you mean 'demo'\?"):
        plan_sweep(Sweep(name="s", notebooks=("03",), grid={"recipe": ["demo", "demmo"]}))
    with pytest.raises(UserError, match="There is no notebook 'nothing'"):
        plan_sweep(Sweep(name="s", notebooks=("nothing",)))
    with pytest.raises(UserError, match="There is no Jupyter kernel 'R'"):
        plan_sweep(Sweep(name="s", notebooks=("03",), kernel="R"))


def test_too_many_runs_are_refused(toy: Path) -> None:
    with pytest.raises(UserError, match=r"200 x 1 x 1 x 100 x 1 = 20,000 runs are more than 10,000.*random"):
        planned(toy, grid={"a": list(range(200))}, seeds=100)


DRAWS = {"a": {"whole": [1, 6]}, "b": {"log": [1e-4, 1.0]}, "who": {"choice": ["x", "y"]}}


def test_draws_depend_on_their_seed_and_name_alone(toy: Path) -> None:
    def drawn(**random: Any) -> list[dict[str, Any]]:
        return [dict(run.given) for run in planned(toy, random={"params": DRAWS, **random}).runs]

    few = drawn(draws=5)
    assert drawn(draws=5) == few and drawn(draws=9)[:5] == few and drawn(draws=5, seed=1) != few
    alone = planned(toy, random={"draws": 5, "params": {"b": DRAWS["b"]}})
    assert [run.given["b"] for run in alone.runs] == [given["b"] for given in few]
    many = drawn(draws=400)
    assert {given["a"] for given in many} == {1, 2, 3, 4, 5, 6} and {given["who"] for given in many} == {"x", "y"}
    # uniform in the logarithm: half of the draws below the geometric mean of the ends
    below = sum(given["b"] < 1e-2 for given in many) / len(many)
    assert 0.4 < below < 0.6 and all(1e-4 <= given["b"] <= 1 for given in many)


def test_uniform_draws_are_inside_and_readable(toy: Path) -> None:
    runs = planned(toy, random={"draws": 50, "params": {"b": {"uniform": [0.1, 0.3]}}}).runs
    assert all(0.1 <= run.given["b"] <= 0.3 and len(str(run.given["b"])) <= 7 for run in runs)


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=8)


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    a=st.integers(-(2**40), 2**40),
    b=st.floats(allow_nan=False, allow_infinity=False),
    who=TEXTS,
    flag=st.booleans(),
    names=st.lists(TEXTS, max_size=3),
    maybe=st.none() | st.integers(0, 9),
    more=st.dictionaries(TEXTS, st.integers(0, 9), max_size=2),
)
def test_the_command_remakes_the_run(toy: Path, **values: Any) -> None:
    (run,) = planned(toy, params=values).runs
    words = shlex.split(run.command)
    assert words[:3] == ["reidlab", "run", str(toy)]
    pairs = [pair for flag, pair in zip(words[3::2], words[4::2]) if flag == "-p"]
    model = parameter_model(toy, read_notebook(toy))
    assert model.from_values(read_pairs(pairs)) == model.from_values(values)
