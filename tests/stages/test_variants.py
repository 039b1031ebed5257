"""Models trained side by side: each is compared with the first of its group, and what is said can be counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_stages import make_people, prepared

from reidlab import stages
from reidlab.errors import UserError
from reidlab.retrieval.comparison import compare_results
from reidlab.stages.variants import Planned, span_text
from reidlab.store.runs import list_runs
from reidlab.training.recipes import Recipe, load_recipe

SMALL = """
base: siamese_demo
source: for tests
expected: nothing
model: {decoder: "", pair_head: "", autoencoder: {name: ae, code: 6, hidden: [8], dropout: 0.0}, height: 32, width: 16}
losses: [{name: triplet, feature: before}]
sampler: {identities: 3, images: 2}
precision: float32
epochs: 1
"""


def recipe(tmp_path: Path, **changes: object) -> Recipe:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL, encoding="utf-8")
    return load_recipe(str(path), **changes)


def test_each_is_compared_with_the_first_of_its_group(tmp_path: Path, own_data: Path) -> None:
    data = prepared(make_people(tmp_path / "people"), val_share=0.3)
    one, two = recipe(tmp_path, validate_every=1), recipe(tmp_path, validate_every=1, epochs=2)
    planned = [
        Planned("short, 0", one, 0, "0", {"length": 1}),
        Planned("long, 0", two, 0, "0", {"length": 2}),
        Planned("short, 1", one, 1, "1", {"length": 1}),
        Planned("long, 1", two, 1, "1", {"length": 2}),
    ]
    found = stages.compare_variants(data, planned, against="the short one", device="cpu")
    scores = found.scores
    assert list(scores["label"]) == [plan.label for plan in planned] and list(scores["length"]) == [1, 2, 1, 2]
    assert [noise is None for noise in scores["noise"]] == [True, False, True, False]
    for first, other in ((0, 1), (2, 3)):
        a, b = found.variants[first], found.variants[other]
        by_hand = compare_results(a.result, b.result).frame.set_index("measure").loc["mAP"]
        row = scores.loc[other]
        assert row["difference"] == pytest.approx(b.result.mean_ap - a.result.mean_ap)
        assert row["p"] == pytest.approx(min(1, 2 * by_hand["p"])), "two comparisons, not three: p is doubled"
        assert (row["difference_low"], row["difference_high"]) == (by_hand["low"], by_hand["high"])
        assert a.run.path != b.run.path and a.run.params["seed"] == first // 2
    assert list(found.differences()["label"]) == ["long, 0", "long, 1"]
    assert [said.partition(":")[0] for said in found.verdicts()] == ["long, 0", "long, 1"]
    table = found.table()
    assert list(table["p"])[::2] == ["–", "–"] and "mAP against the short one (points)" in table
    assert found["long, 1"] is found.variants[3]
    assert set(found.histories()) == set(scores["label"]) and len(found.histories()["long, 0"]) == 2
    assert list(found.histories(lambda variant: variant.plan.group)) == ["0", "1"]
    summary = found.summary()
    assert len(summary) == 4 + 2 * 2 and summary["long, 0, may be chance"] is True
    assert len(list_runs("training")) == 4
    again = stages.compare_variants(data, planned[:2], device="cpu")
    assert len(list_runs("training")) == 4 and not any(variant.run.made for variant in again.variants)
    row, both = again.scores.loc[1], scores.loc[1]
    assert row["p"] <= both["p"], "a single comparison"


def test_labels_are_their_own(tmp_path: Path, own_data: Path) -> None:
    data = prepared(make_people(tmp_path / "people"))
    plan = Planned("a", recipe(tmp_path))
    for planned, said in (([], "there is none"), ([plan, plan], "'a' names two of them")):
        with pytest.raises(UserError, match=said):
            stages.compare_variants(data, planned)
    assert not list_runs("training")


def test_spans() -> None:
    assert span_text(0.5, 0.251, 0.75) == "50.0 (25.1 to 75.0)"
    assert span_text(0.01, -0.02, 0.03, "+") == "+1.0 (-2.0 to +3.0)"
    assert span_text(0.5, np.nan, np.nan) == "50.0"
