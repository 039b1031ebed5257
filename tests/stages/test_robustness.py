"""Models on corrupted images: each cell of the grid is kept, found again, and what it says it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from test_stages import make_people, prepared, save_random_model

from reidlab import stages
from reidlab.data.images import decode
from reidlab.data.transforms.corruptions import CORRUPTIONS, corrupt
from reidlab.errors import UserError
from reidlab.params import Robustness
from reidlab.retrieval.metrics import evaluate
from reidlab.retrieval.vectors import Embeddings
from reidlab.stages import robustness
from reidlab.stages.histogram import histogram_source
from reidlab.stages.robustness import SIDES, robustness_grid
from reidlab.stages.samples import sample_of
from reidlab.store.runs import list_runs


@pytest.fixture
def data(tmp_path: Path, own_data: Path) -> stages.DataRun:
    return prepared(make_people(tmp_path / "people"))


def grid(data: stages.DataRun, **options: Any) -> robustness.Robustness:
    given = {"corruptions": ["fog", "occlusion"], "severities": [1, 5], "bootstrap": 20, **options}
    models = given.pop("models", [histogram_source()])
    return robustness_grid(data, models, device="cpu", progress=False, **given)


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the images of every embedding of corrupted ones."""
    counts: list[int] = []
    embed: Callable[..., Any] = robustness.embed

    def counted(model: Any, table: pd.DataFrame, **options: Any) -> Any:
        counts.append(len(table))
        return embed(model, table, **options)

    monkeypatch.setattr(robustness, "embed", counted)
    return counts


@pytest.mark.parametrize("side", SIDES)
def test_a_cell_by_hand(data: stages.DataRun, side: str) -> None:
    source = histogram_source()
    model = source.load()
    found = grid(data, corrupt=side, corruptions=["gaussian_noise"], severities=[4], seed=3).scores
    table = data.table[data.table["split"].isin(["query", "gallery"])].reset_index(drop=True)
    vectors = []
    for path, split in zip(table["path"], table["split"]):
        image = torch.from_numpy(np.array(decode(path, None))).permute(2, 0, 1)[None]
        if side in (split, "both"):
            image = corrupt(image, "gaussian_noise", severity=4, seed=3)
        resized = Image.fromarray(image[0].permute(1, 2, 0).numpy()).resize((64, 128), Image.Resampling.BILINEAR)
        vectors.append(model(model.preprocess(torch.from_numpy(np.array(resized)).permute(2, 0, 1)[None])).numpy()[0])
    both = Embeddings(np.stack(vectors), table)
    by_hand = evaluate(both.split("query"), both.split("gallery"))
    row = found[found["severity"] == 4].iloc[0]
    assert (row["mAP"], row["rank1"]) == pytest.approx((by_hand.mean_ap, by_hand.rank1), abs=1e-6)
    assert row["low"] <= row["mAP"] <= row["high"]


def test_cells_are_kept_and_only_new_ones_are_made(data: stages.DataRun, embedded: list[int]) -> None:
    first = grid(data)
    assert embedded == [4] * 4, "the queries, for each corruption and severity"
    assert list(first.scores["corruption"]) == ["", "fog", "fog", "occlusion", "occlusion"]
    assert list(first.scores["severity"]) == [0, 1, 5, 1, 5]
    again = grid(data)
    assert len(embedded) == 4
    pd.testing.assert_frame_equal(again.scores, first.scores)
    pd.testing.assert_frame_equal(again.drops, first.drops)
    more = grid(data, corruptions=["fog", "jpeg"], severities=[5, 1, 3])
    assert len(embedded) == 4 + 1 + 3 and len(more.scores) == 7
    both = grid(data, corrupt="both", corruptions=["fog"], severities=[1])
    assert embedded[-1] == 12 and both.scores["run"][1] != first.scores["run"][1]
    names = {run.path.name.rpartition("-")[0] for run in list_runs("robustness")}
    assert {"table-histogram-clean-0", "table-histogram-fog-5", "table-histogram-jpeg-3"} <= names


def test_what_was_done_before_a_stop_is_found(data: stages.DataRun, embedded: list[int], monkeypatch: Any) -> None:
    counted = robustness.embed
    calls = iter(range(99))

    def stopped(*given: Any, **options: Any) -> Any:
        if next(calls) == 2:
            raise KeyboardInterrupt
        return counted(*given, **options)

    monkeypatch.setattr(robustness, "embed", stopped)
    with pytest.raises(KeyboardInterrupt):
        grid(data)
    assert len(embedded) == 2
    grid(data)
    assert len(embedded) == 4


def test_drops_are_from_the_clean_score(data: stages.DataRun) -> None:
    found = grid(data)
    scores, drops = found.scores.set_index(["corruption", "severity"])["mAP"], found.drops.set_index("corruption")
    for name in ("fog", "occlusion"):
        mean = (scores[name, 1] + scores[name, 5]) / 2
        assert drops["drop"][name] == pytest.approx(1 - mean / scores["", 0])
    assert list(drops.index) == ["fog", "occlusion", "all"]
    assert drops["drop"]["all"] == pytest.approx(drops["drop"][["fog", "occlusion"]].mean())
    assert (drops["low"] <= drops["drop"]).all() and (drops["drop"] <= drops["high"]).all()
    bare = grid(data, bootstrap=0)
    assert bare.drops["low"].isna().all() and bare.scores["low"].isna().all()


def test_several_models_see_the_same(data: stages.DataRun, tmp_path: Path) -> None:
    one, other = (stages.model_from(str(save_random_model(tmp_path / name / "model"))) for name in ("one", "other"))
    assert one.digest == other.digest
    with pytest.raises(UserError, match=r"models=.* stands there twice"):
        grid(data, models=[one, other])
    found = grid(data, models=[one, histogram_source()])
    assert list(found.scores["model"].unique()) == ["one", "histogram"]
    table = stages.drop_table(found)
    assert list(table.index) == ["fog", "occlusion", "all"] and list(table.columns) == ["one", "histogram"]
    assert all(" to " in text for text in table["one"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"models": []}, r"models=\[\]: none is given"),
        ({"corruptions": ["fogg"]}, r"corruption 'fogg' is unknown.*Did you mean 'fog'"),
        ({"corruptions": ["fog", "jpeg", "fog"]}, "corruptions=.*'fog' stands there twice"),
        ({"severities": []}, r"severities=\[\]: none is given"),
        ({"severities": [0]}, "severity=0"),
        ({"severities": [1, 1]}, "1 stands there twice"),
        ({"corrupt": "queries"}, "corrupt='queries'.*query"),
        ({"queries": 0}, "queries=0"),
        ({"gallery": -1}, "gallery=-1"),
        ({"metric": "cosin"}, "cosin"),
    ],
)
def test_mistakes(data: stages.DataRun, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        grid(data, **options)


def test_all_corruptions_by_default_and_a_part_of_the_test_set(data: stages.DataRun, embedded: list[int]) -> None:
    p = Robustness.from_values(
        {"models": ["histogram"], "severities": [3], "queries": 1, "gallery": 0, "device": "cpu"}
    )
    found = stages.robustness_for(data, p)
    assert list(found.drops["corruption"]) == [*CORRUPTIONS, "all"]
    assert set(embedded) == {2}
    assert any("1 of 2 query identities (seed 0) and 0 of 4 gallery images of others" in note for note in found.notes)
    assert any("Only one identity is queried" in note for note in found.notes)
    with pytest.raises(UserError, match="no model is named"):
        stages.robustness_for(data, p.model_copy(update={"models": []}))


def test_samples_keep_the_images_of_their_identities(data: stages.DataRun) -> None:
    rng = np.random.default_rng(0)
    pids = [*rng.integers(1, 40, 500).tolist(), *[-1] * 20, *[0] * 30]
    table = pd.DataFrame({"pid": pids, "split": rng.choice(["query", "gallery"], 550)})
    table.loc[table["pid"] < 1, "split"] = "gallery"
    table = table.assign(distractor=table["pid"] == 0)
    whole = sample_of(table)
    assert whole.note == "" and whole.part == "test" and whole.table.equals(table)
    part = sample_of(table, queries=5, gallery=60, seed=2)
    people = part.table.loc[part.table["split"] == "query", "pid"].unique()
    assert len(people) == 5
    theirs = table[table["pid"].isin(people)]
    kept = part.table[part.table["pid"].isin(people)]
    assert kept.reset_index(drop=True).equals(theirs.reset_index(drop=True)), "all of them, in their order"
    rest = part.table[~part.table["pid"].isin(people)]
    assert len(rest) == 60 and (rest["split"] == "gallery").all()
    assert part.table.equals(sample_of(table, queries=5, gallery=60, seed=2).table)
    assert not part.table.equals(sample_of(table, queries=5, gallery=60, seed=3).table)
    assert part.part != sample_of(table, queries=5, gallery=60, seed=3).part, "they are other embeddings"
    with pytest.raises(UserError, match="no queries"):
        sample_of(table[table["split"] == "gallery"])


def test_people_shown(data: stages.DataRun) -> None:
    people = stages.people_shown(data, 2)
    assert people.shape == (2, 128, 64, 3) and people.dtype == np.uint8
    assert len(stages.people_shown(data, 99)) == 2, "one image of each person"


def test_the_histogram_is_a_model() -> None:
    model = histogram_source().load()
    images = torch.randint(0, 256, (3, 3, 20, 10), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    vectors = model(model.preprocess(images))
    assert vectors.shape == (3, model.dim) and torch.allclose(vectors.norm(dim=1), torch.ones(3), atol=1e-5)
    flat = torch.zeros(1, 3, 128, 64)
    assert torch.equal(model(flat).topk(1).indices, torch.tensor([[0]])) and model(flat).max() == 1
    assert histogram_source().digest == histogram_source().digest
