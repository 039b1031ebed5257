"""How many processes train is part of what a run is only where it decides the result."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from reidlab.errors import UserError
from reidlab.stages import training
from reidlab.training.group import Group
from reidlab.training.recipes import Recipe, load_recipe


def params_of(monkeypatch: pytest.MonkeyPatch, recipe: Recipe, **options: Any) -> dict[str, Any]:
    monkeypatch.setattr(training.store, "stage", lambda *_, params, **__: params)
    data: Any = SimpleNamespace(
        table=pd.DataFrame({"split": ["train"]}), run=SimpleNamespace(params={"dataset": "x"}), digest="d"
    )
    found: Any = training.training_stage(data, recipe, device="cpu", **options)
    return found


def test_one_process_is_what_it_was_before(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(params_of(monkeypatch, load_recipe("demo"))) == {"recipe", "dataset", "seed"}


@pytest.mark.parametrize("options", [{"processes": 2}, {"group": Group(0, 2)}])
def test_norms_that_see_slices_make_another_run(monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]) -> None:
    assert params_of(monkeypatch, load_recipe("demo"), **options)["processes"] == 2
    synchronised = load_recipe("demo", sync_norms=True)
    one, two = (params_of(monkeypatch, synchronised, **given) for given in ({}, options))
    assert one == two and one["recipe"]["sync_norms"] is True


def test_too_many_are_refused_before_anything_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="processes=40 is too many for recipe demo"):
        params_of(monkeypatch, load_recipe("demo"), processes=40)
