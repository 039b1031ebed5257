"""A training that goes on elsewhere keeps its precision and says what differs; on the same grounds it says nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from training_cases import World, assert_same_run, make_recipe, train, trained

from reidlab import devices
from reidlab.devices import plan
from reidlab.training.grounds import begun_on, grounds_of, plan_of, say_changes


def test_the_grounds_name_no_host(monkeypatch: pytest.MonkeyPatch) -> None:
    found = grounds_of(plan("cpu", "float32"))
    assert found["precision"] == "float32" and found["threads"] == torch.get_num_threads()
    assert found["torch"] == torch.__version__ and found["device"] == "cpu" and "kernels" in found
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize("fast", [False, True])
def test_auto_goes_on_in_the_precision_that_it_began_with(
    world: World, tmp_path: Path, fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, then = ("bfloat16", "float32") if fast else ("float32", "bfloat16")
    recipe = make_recipe(precision="auto", epochs=3)
    whole = trained(world, tmp_path / "whole", recipe.model_copy(update={"precision": first}))
    monkeypatch.setattr(devices, "bfloat16_is_fast", lambda _: fast)
    assert train(world, tmp_path / "run", recipe, stop_after=1) is None
    assert begun_on(tmp_path / "run" / "checkpoints")["precision"] == first
    monkeypatch.setattr(devices, "bfloat16_is_fast", lambda _: not fast)
    with pytest.warns(
        UserWarning, match=f"continues in {first}, in which it began; here, precision 'auto' would choose {then}"
    ):
        run = trained(world, tmp_path / "run", recipe)
    assert run.summary["precision"] == first and "grounds" not in run.summary
    assert_same_run(run, whole)


def test_other_threads_are_said_and_kept(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = make_recipe(epochs=3)
    assert train(world, tmp_path, recipe, stop_after=1) is None
    last = next((tmp_path / "checkpoints").glob("epoch-*/progress.json"))
    progress = json.loads(last.read_text(encoding="utf-8"))
    progress["grounds"][0] |= {"threads": 7, "torch": "2.0"}
    last.write_text(json.dumps(progress), encoding="utf-8")
    with pytest.warns(UserWarning, match=r"began with threads 7, now 1; torch 2.0, now .* not bit-identical"):
        run = trained(world, tmp_path, recipe)
    assert [each["threads"] for each in run.summary["grounds"]] == [7, 1]


def test_the_same_grounds_and_trainings_that_kept_none_say_nothing(world: World, tmp_path: Path) -> None:
    recipe = make_recipe(epochs=2)
    assert train(world, tmp_path, recipe, stop_after=1) is None
    last = next((tmp_path / "checkpoints").glob("epoch-*/progress.json"))
    progress = json.loads(last.read_text(encoding="utf-8"))
    del progress["grounds"]
    last.write_text(json.dumps(progress), encoding="utf-8")
    assert begun_on(tmp_path / "checkpoints") == {}
    assert "grounds" not in trained(world, tmp_path, recipe).summary


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"checkpoint": 3}', '{"checkpoint": "epoch-00001"}', "[" * 100_000])
def test_a_damaged_checkpoint_has_no_grounds(tmp_path: Path, text: str) -> None:
    (tmp_path / "last.json").write_text(text, encoding="utf-8")
    assert begun_on(tmp_path) == {}
    (tmp_path / "epoch-00001").mkdir()
    for content in ('{"grounds": []}', '{"grounds": 3}', '{"grounds": [3]}', "{}", "[]"):
        (tmp_path / "epoch-00001" / "progress.json").write_text(content, encoding="utf-8")
        assert begun_on(tmp_path) == {}


@pytest.mark.parametrize("begun", [{}, {"precision": "float64"}, {"precision": 3}, {"precision": "float16"}])
def test_what_was_not_a_precision_of_this_device_is_not_kept(begun: dict[str, Any]) -> None:
    assert plan_of("cpu", "auto", begun) == plan("cpu")
    assert plan_of("cpu", "float32", {"precision": "bfloat16"}).precision == "float32"


def test_grounds_that_older_versions_did_not_know_are_no_change() -> None:
    say_changes({"precision": "float32"}, {"precision": "float32", "threads": 2})
