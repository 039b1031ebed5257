"""Main effects and interactions against the closed forms of balanced designs."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from reidlab.errors import UserError
from reidlab.sweeps.effects import effects_of
from reidlab.sweeps.table import SweepTable, _table

AXES = {"lr": [0.1, 0.2], "loss": ["a", "b", "c"], "seed": [0, 1, 2, 3]}


def table(score: Callable[..., float], axes: dict[str, list[Any]] = AXES, **changes: Any) -> SweepTable:
    """Return a full grid of runs with the scores of a function; `changes` of the record of a run, by its number."""
    records = []
    for number, values in enumerate(itertools.product(*axes.values()), 1):
        params = dict(zip(axes, values))
        record = {
            "run": number, "name": str(number), "notebook": "toy", "tags": [], "params": params, "command": "",
            "digest": str(number), "status": "done", "seconds": 1.0, "memory_mb": 1.0, "error": "", "message": "",
            "cell": "", "executed": "", "began": "", "commit": "c", "result": {"name": "x", "score": score(**params)},
        }  # fmt: skip
        records.append(record | changes.get(f"run{number}", {}))
    return _table("grid", Path("none"), tuple(axes), records)


def noisy(scale: float = 1.0) -> Callable[..., float]:
    rng = np.random.default_rng(0)
    return lambda lr, loss, seed: 5 * (lr == 0.2) + 2 * (loss == "b") + 3 * seed + scale * rng.normal()


def test_exact_effects_are_found_exactly() -> None:
    def score(lr: float, loss: str, seed: int) -> float:
        return 10 + 5 * (lr == 0.2) - 2 * (loss == "b") + 4 * (lr == 0.2) * (loss == "c") + 7 * seed

    found = effects_of(table(score))
    assert found.measure == "score" and found.factors == {"lr": ("0.1", "0.2"), "loss": ("a", "b", "c")}
    effects = {(row["factor"], row["level"]): row["effect"] for row in found.main.to_dict("records")}
    # averaged over the levels of the other factor
    assert effects == pytest.approx({("lr", "0.2"): 5 + 4 / 3, ("loss", "b"): -2, ("loss", "c"): 2})
    pairs = {row["level_2"]: row["effect"] for row in found.interactions.to_dict("records")}
    assert pairs == pytest.approx({"b": 0, "c": 4}, abs=1e-9)
    assert list(found.cells["mean"]) == pytest.approx([20.5, 18.5, 20.5, 25.5, 23.5, 29.5])
    # the offsets of seeds are no noise
    assert found.degrees == 24 - 6 - 3 and (found.main["high"] - found.main["low"]).max() < 1e-9


def test_intervals_are_those_of_a_balanced_design_with_blocks() -> None:
    given = table(noisy())
    found = effects_of(given)
    y = given.frame["score"].to_numpy().reshape(2, 3, 4)  # lr, loss, seed
    cells, seeds = y.mean(axis=2, keepdims=True), y.mean(axis=(0, 1), keepdims=True)
    rest = y - cells - seeds + y.mean()
    degrees = (6 - 1) * (4 - 1)
    variance = (rest**2).sum() / degrees
    (row,) = found.main[found.main["factor"] == "lr"].to_dict("records")
    effect = y[1].mean() - y[0].mean()
    error = np.sqrt(variance * (1 / 12 + 1 / 12))
    reach = stats.t.ppf(0.975, degrees) * error
    assert (row["effect"], row["low"], row["high"]) == pytest.approx((effect, effect - reach, effect + reach))
    assert row["p"] == pytest.approx(2 * stats.t.sf(abs(effect) / error, degrees))
    pair = found.interactions.iloc[0]
    assert pair["effect"] == pytest.approx((y[1, 1] - y[0, 1] - y[1, 0] + y[0, 0]).mean())
    assert pair["high"] - pair["low"] == pytest.approx(2 * stats.t.ppf(0.975, degrees) * np.sqrt(variance * 4 / 4))
    level = found.levels.iloc[0]
    assert (level["factor"], level["level"], level["mean"]) == ("lr", "0.1", pytest.approx(y[0].mean()))


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng, inside = np.random.default_rng(1), 0
    axes = {"lr": [0.1, 0.2], "seed": [0, 1, 2]}
    for _ in range(60):
        found = effects_of(table(lambda lr, seed: 3 * (lr == 0.2) + seed + rng.normal(), axes))
        inside += bool((found.main["low"] <= 3).all() and (found.main["high"] >= 3).all())
    assert 51 <= inside <= 60  # 57 are expected, with a standard deviation of 1.7


def test_without_repeats_there_are_no_intervals() -> None:
    found = effects_of(table(lambda lr, loss: lr, {"lr": [0.1, 0.2], "loss": ["a", "b"]}))
    assert found.degrees == 0 and found.main["low"].isna().all() and found.main["effect"].notna().all()
    assert "Nothing is repeated" in found.notes[0]
    few = effects_of(table(lambda lr, seed: lr * seed, {"lr": [0.1, 0.2], "seed": [0, 1]}))
    assert few.degrees == 1 and "Only 1 degrees of freedom" in few.notes[0] and few.interactions.empty


def test_failed_runs_are_left_out_and_told() -> None:
    found = effects_of(
        table(noisy(), run1={"status": "failed", "result": {}}, run2={"code": "d"}, run3={"commit": "e"})
    )
    assert found.cells["n"].tolist() == [3, 4, 4, 4, 4, 4] and found.degrees == 23 - 6 - 3
    assert "1 runs that did not finish are left out." in found.notes
    assert any("2 states of the code" in note for note in found.notes)


def test_what_has_no_effects() -> None:
    lost = {f"run{number}": {"status": "timeout", "result": {}} for number in (1, 2, 3, 4)}
    with pytest.raises(UserError, match=r"1 combinations have no finished run \(lr=0.1, loss=a\)"):
        effects_of(table(noisy(), **lost))
    with pytest.raises(UserError, match=r"measure='scor' is no key figure.*Did you mean 'score'"):
        effects_of(table(noisy()), "scor")
    with pytest.raises(UserError, match="nothing differs between its finished runs but the seed"):
        effects_of(table(lambda seed: seed, {"seed": [0, 1]}))
    with pytest.raises(UserError, match="lr has 13 values, more than 12"):
        effects_of(table(lambda lr: lr, {"lr": list(range(13))}))
    with pytest.raises(UserError, match="has no key figure that is a number"):
        effects_of(table(noisy(), **{f"run{n}": {"result": {"name": "x"}} for n in range(1, 25)}))
    with pytest.raises(UserError, match="notebook='tox': no run of it has score"):
        effects_of(table(noisy()), notebook="tox")


def test_combinations_of_one_value_are_told() -> None:
    assert not any("gave one value" in note for note in effects_of(table(noisy())).notes)
    noise = noisy()
    found = effects_of(table(lambda lr, loss, seed: 1.0 if loss == "b" else noise(lr, loss, seed)))
    assert any(note.startswith("2 of 6 combinations gave one value in all runs.") for note in found.notes)
    assert any("chance plays no part" in note for note in effects_of(table(lambda lr, loss, seed: lr)).notes)
