"""Models against test sets: what is at hand, what a model was trained on, and scores that are those of notebook 04."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from test_stages import make_people, prepared

from reidlab import stages
from reidlab.errors import UserError
from reidlab.params import CrossDomain
from reidlab.registry import DATASETS
from reidlab.stages import domains, trials
from reidlab.stages.domains import Domain, at_hand, cross_domain, domain_of, trained_on
from reidlab.stages.histogram import histogram_source


def source_of(label: str = "a", trained: str = "", digest: str = "d") -> stages.ModelSource:
    return stages.ModelSource(label, digest, lambda: pytest.fail("nothing is embedded"), {"trained_on": trained})  # type: ignore[arg-type]


def data_of(dataset: str, digest: str = "x") -> Any:
    return SimpleNamespace(run=SimpleNamespace(params={"dataset": dataset}), digest=digest)


def test_test_sets_by_what_a_user_gives(own_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[tuple[Any, ...]] = []
    monkeypatch.setattr(domains, "data_stage", lambda *given, **options: read.append((*given, options)))
    (own_data / "raw" / "market1501").mkdir(parents=True)
    (tmp_path / "mine").mkdir()
    known = {text: domain_of(text, seed=4, val_share=0.1) for text in ("pedestrians", "pedestrians:7", "market1501")}
    own = domain_of(f"folder_flat = {tmp_path / 'mine'}")
    assert [each.label for each in known.values()] == ["pedestrians", "pedestrians (seed 7)", "market1501"]
    assert own.label == "folder_flat (mine)" and not any(each.missing for each in (own, *known.values()))
    assert not read, "nothing is read before it is needed"
    for each in (own, *known.values()):
        each.read()
    assert [given[0] for given in read] == ["folder_flat", "pedestrians", "pedestrians", "market1501"]
    assert [given[-1]["seed"] for given in read] == [0, 4, 7, 4] and read[1][-1]["val_share"] == 0.1
    assert read[0][1] == str(tmp_path / "mine")


def test_what_is_not_at_hand(own_data: Path) -> None:
    assert at_hand() == ["pedestrians"]
    missing = domain_of("veri776").missing
    assert missing == "data/raw/veri is not there (data/README.md says how to get it)"
    (own_data / "raw" / "veri").mkdir(parents=True)
    assert at_hand() == ["pedestrians", "veri776"] and domain_of("veri776").missing == ""


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("market1502", "data set 'market1502' is unknown.*Did you mean 'market1501'"),
        ("", "data set '' is unknown"),
        ("pedestrians:x", "'pedestrians:x': after pedestrians: stands a seed, a whole number"),
        ("market1501:3", "data set 'market1501:3' is unknown"),
        ("cuhk01=nowhere/at/all", "there is no folder or file 'nowhere/at/all'"),
        ("cuhk01=", "there is no folder or file ''"),
        ("folder_flat", "'folder_flat' is your own data set: say where it is, folder_flat=FOLDER"),
    ],
)
def test_mistakes_in_test_sets(own_data: Path, given: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        domain_of(given)


def test_what_a_model_was_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    run = SimpleNamespace(problem="", digest="d", manifest={"inputs": ["x"]})
    monkeypatch.setattr(domains, "list_runs", lambda stage: [run])
    assert trained_on(source_of(), data_of("pedestrians", "x")), "exactly its data"
    assert not trained_on(source_of(trained="pedestrians"), data_of("pedestrians", "y")), "other people"
    assert not trained_on(source_of(digest="e"), data_of("pedestrians", "x")), "another model's data"
    assert trained_on(source_of(trained="market1501"), data_of("market1501", "y")), "in another split"
    small = source_of(trained="market1501 and cuhk03", digest="s")
    found = [name for name in DATASETS if trained_on(small, data_of(name, "y"))]
    assert found == ["market1501", "cuhk03"]
    assert not trained_on(source_of(trained="table", digest="s"), data_of("table", "y")), "a table may hold anybody"
    assert not trained_on(dataclasses.replace(small, facts={}), data_of("market1501", "y"))


def test_scores_are_those_of_an_evaluation(tmp_path: Path, own_data: Path) -> None:
    one = prepared(make_people(tmp_path / "one"))
    other = prepared(make_people(tmp_path / "other", splits=False, n_people=4))
    sets = [Domain("one", "", lambda: one), Domain("other", "", lambda: other)]
    gone = Domain("veri776", "data/raw/veri is not there", lambda: pytest.fail("it is not read"))  # type: ignore[arg-type]
    model = histogram_source()
    found = cross_domain([model], [*sets, gone], bootstrap=20, device="cpu", progress=False)
    assert list(found.scores["test_set"]) == ["one", "other"] and not found.scores["in_domain"].any()
    for row, data in zip(found.scores.to_dict("records"), (one, other)):
        run, result, _ = stages.evaluation_stage(data, model, bootstrap=20, device="cpu", progress=False)
        assert not run.made and row["run"] == run.path.name
        assert (row["rank1"], row["mAP"]) == (result.rank1, result.mean_ap)
        assert (row["mAP_low"], row["mAP_high"]) == result.intervals["mAP"]
        assert (row["queries"], row["gallery"]) == (result.n_valid, result.n_gallery)
    assert found.notes[0] == "veri776 is left out: data/raw/veri is not there."
    assert any(note.startswith("other: This data set has no query and gallery") for note in found.notes)
    table = stages.domain_table(found)
    assert list(table["trained on it"]) == ["no", "no"] and all(" to " in text for text in table["mAP (%)"])
    bare = cross_domain([model], sets[:1], bootstrap=0, device="cpu", progress=False)
    assert " to " not in stages.domain_table(bare)["mAP (%)"].iloc[0]


@pytest.mark.parametrize(
    ("models", "labels", "said"),
    [
        ([], ["x"], "models: none is given"),
        (["a", "a"], ["x"], "models: 'a' stands there twice"),
        (["a"], [], "tests: none is given"),
        (["a"], ["x", "x"], "tests: 'x' stands there twice"),
        (["a"], ["gone"], "No test set is at hand. gone is left out: not there."),
    ],
)
def test_nothing_to_score(models: list[str], labels: list[str], said: str) -> None:
    tests = [Domain(label, "not there" if label == "gone" else "", lambda: data_of("x")) for label in labels]
    with pytest.raises(UserError, match=said):
        cross_domain([source_of(label) for label in models], tests)


def test_the_rows_and_columns_of_the_notebook(own_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(trials, "data_for", lambda p: data_of(p.dataset))
    chosen = SimpleNamespace(source=lambda: source_of("trained", digest="latest"))
    monkeypatch.setattr(trials, "choose_model", lambda data, p: given.update(recipe=p) or chosen)
    monkeypatch.setattr(trials, "named_model", lambda data, name: source_of(name, digest=name))

    def kept(models: Any, tests: Any, **options: Any) -> None:
        given.update(models=[each.label for each in models], tests=[each.label for each in tests])

    monkeypatch.setattr(domains, "cross_domain", kept)
    p = CrossDomain.from_values({"device": "cpu", "seed": 5, "val_share": 0.1})
    stages.cross_domain_for(p)
    assert given["models"] == ["trained", "small", "histogram"]
    assert given["tests"] == ["pedestrians", "pedestrians (seed 1)"]
    assert (given["recipe"].recipe, given["recipe"].seed, given["recipe"].val_share) == ("demo", 5, 0.1)
    stages.cross_domain_for(CrossDomain.from_values({"models": "latest,small"}))
    assert given["models"] == ["trained", "small"], "the recipe's training once"
    stages.cross_domain_for(CrossDomain.from_values({"recipe": "", "tests": [], "models": "small"}))
    assert given["models"] == ["small"] and given["tests"] == ["pedestrians"], "all that is at hand"
