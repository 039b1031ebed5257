"""Models trained side by side: each is compared with the first of its group, and what is said can be counted.

Real trainings are in the tests of notebooks 06, 14 and 15; here they are stood in for.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from reidlab import stages
from reidlab.errors import UserError
from reidlab.retrieval.comparison import compare_results
from reidlab.retrieval.metrics import evaluate
from reidlab.retrieval.vectors import Embeddings
from reidlab.stages import variants
from reidlab.stages.variants import Planned, span_text
from reidlab.training.recipes import Recipe, load_recipe

PEOPLE = 12


def embeddings(noise: float, seed: int) -> Embeddings:
    rng = np.random.default_rng(seed)
    pids = np.repeat(np.arange(PEOPLE), 4)
    camids = np.tile([0, 1, 1, 2], PEOPLE)
    table = pd.DataFrame({"path": [f"{at}.png" for at in range(len(pids))], "pid": pids, "camid": camids})
    table["split"] = np.where(camids == 0, "query", "gallery")
    vectors = np.eye(PEOPLE)[pids] + noise * rng.normal(size=(len(pids), PEOPLE))
    return Embeddings(vectors.astype(np.float32), table)


@pytest.fixture
def stood_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Trainings whose embeddings are the noisier the fewer epochs they had; gives data and how often one ran."""
    trained: list[tuple[int, int]] = []

    def training(data: Any, recipe: Recipe, *, seed: int, device: str) -> Any:
        trained.append((recipe.epochs, seed))
        folder = tmp_path / f"{recipe.epochs}-{seed}"
        folder.mkdir(exist_ok=True)
        pd.DataFrame({"epoch": range(1, recipe.epochs + 1)}).to_parquet(folder / "history.parquet")
        result = {"parameters": 1000 * recipe.epochs, "macs": 5_500_000}
        return SimpleNamespace(path=folder, params={"epochs": recipe.epochs, "seed": seed}, result=result)

    def evaluation(data: Any, source: Any, *, seed: int, device: str, progress: bool) -> Any:
        test = embeddings(1.6 / source.params["epochs"], source.params["seed"])
        result = evaluate(test.split("query"), test.split("gallery"), bootstrap=50, seed=seed)
        return SimpleNamespace(result={"notes": ["few people", f"seed {source.params['seed']}"]}), result, test

    monkeypatch.setattr(variants, "training_stage", training)
    monkeypatch.setattr(variants, "evaluation_stage", evaluation)
    monkeypatch.setattr(variants, "model_from_run", lambda run: run)
    return SimpleNamespace(data=SimpleNamespace(notes=("of the data",)), trained=trained)


def planned() -> list[Planned]:
    return [
        Planned(f"{name}, {seed}", load_recipe("demo", epochs=epochs), seed, str(seed), {"length": epochs})
        for seed in (0, 1)
        for name, epochs in (("short", 1), ("long", 8))
    ]


def test_each_is_compared_with_the_first_of_its_group(stood_in: Any) -> None:
    found = stages.compare_variants(stood_in.data, planned(), against="the short one")
    scores: Any = found.scores
    assert stood_in.trained == [(1, 0), (8, 0), (1, 1), (8, 1)]
    assert list(scores["label"]) == ["short, 0", "long, 0", "short, 1", "long, 1"]
    assert list(scores["length"]) == [1, 8, 1, 8] and list(scores["parameters"]) == [1000, 8000, 1000, 8000]
    assert [noise is None for noise in scores["noise"]] == [True, False, True, False]
    for first, other in ((0, 1), (2, 3)):
        a, b = found.variants[first], found.variants[other]
        by_hand: Any = compare_results(a.result, b.result).frame.set_index("measure").loc["mAP"]
        row = scores.loc[other]
        assert row["difference"] == pytest.approx(b.result.mean_ap - a.result.mean_ap) and row["difference"] > 0.2
        assert row["p"] == pytest.approx(min(1, 2 * by_hand["p"])), "two comparisons, not three: p is doubled"
        assert (row["difference_low"], row["difference_high"]) == (by_hand["low"], by_hand["high"])
        assert row["noise"] == (row["p"] >= 0.05)
    assert found.notes == ("of the data", "few people", "seed 0", "seed 1")
    alone: Any = stages.compare_variants(stood_in.data, planned()[:2]).scores
    assert alone.loc[1, "p"] == pytest.approx(scores.loc[1, "p"] / 2), "a single comparison"


def test_against_each_of_several(stood_in: Any) -> None:
    found = stages.compare_variants(stood_in.data, planned())
    table = found.against_each(["short, 0", "short, 1"])
    assert list(table.index) == ["long, 0"] * 2 + ["long, 1"] * 2
    assert list(table["against"]) == ["short, 0", "short, 1"] * 2
    for (label, row), comparisons in zip(table.iterrows(), [4] * 4):
        a, b = found[row["against"]].result, found[str(label)].result
        by_hand: Any = compare_results(a, b).frame.set_index("measure").loc["mAP"]
        assert row["p"] == f"{min(1, comparisons * by_hand['p']):.2g}"
        assert row["mAP (points)"].startswith(f"{100 * (b.mean_ap - a.mean_ap):+.1f} (")
        assert row["more than chance"] == "yes"


def test_what_readers_see(stood_in: Any) -> None:
    found = stages.compare_variants(stood_in.data, planned(), against="the short one")
    assert list(found.differences()["label"]) == ["long, 0", "long, 1"]
    assert [said.partition(":")[0] for said in found.verdicts()] == ["long, 0", "long, 1"]
    assert all(said.endswith(": better.") for said in found.verdicts())
    table = found.table()
    assert list(table["p"])[::2] == ["–", "–"] and list(table["more than chance"])[1::2] == ["yes", "yes"]
    assert "mAP against the short one (points)" in table and table["multiply-adds (M)"].iloc[0] == "5.5"
    assert found["long, 1"] is found.variants[3]
    assert list(found.histories()) == list(scores_of(found)) and len(found.histories()["long, 1"]) == 8
    assert list(found.histories(lambda variant: variant.plan.group)) == ["0", "1"]
    summary = found.summary()
    assert len(summary) == 4 + 2 * 2 and summary["long, 0, may be chance"] is False
    worse = stages.compare_variants(stood_in.data, planned()[1::-1])
    assert worse.verdicts()[0].endswith(": worse.") and worse.against == "the first"
    same = stages.compare_variants(stood_in.data, [planned()[0], Planned("again", planned()[0].recipe, group="0")])
    assert same.verdicts() == ["again: +0.0 (+0.0 to +0.0) points of mAP against the first, p = 1: may be chance."]


def scores_of(found: variants.Compared) -> list[str]:
    return [str(label) for label in found.scores["label"]]


def test_labels_are_their_own(stood_in: Any) -> None:
    plan = planned()[0]
    for given, said in (([], "there is none"), ([plan, plan], "'short, 0' names two of them")):
        with pytest.raises(UserError, match=said):
            stages.compare_variants(stood_in.data, given)
    assert not stood_in.trained


def test_spans() -> None:
    assert span_text(0.5, 0.251, 0.75) == "50.0 (25.1 to 75.0)"
    assert span_text(0.01, -0.02, 0.03, "+") == "+1.0 (-2.0 to +3.0)"
    assert span_text(0.5, np.nan, np.nan) == "50.0"
