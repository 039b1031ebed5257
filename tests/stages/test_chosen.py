"""Which model notebook 04 evaluates, and the line of notebook 03 that names it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from test_stages import make_people, make_recipe

from reidlab import stages
from reidlab.errors import UserError
from reidlab.params import Retrieval, Training, coerce
from reidlab.stages import chosen
from reidlab.stages.chosen import choose_model, evaluation_line, named_model, trainings_of
from reidlab.store.runs import Run
from reidlab.workbook.names import check_names


@pytest.fixture
def people(tmp_path: Path, own_data: Path) -> Path:
    return make_people(tmp_path / "people")


def written(folder: Path, **changes: Any) -> str:
    file = folder / "tiny.yaml"
    file.write_text(make_recipe(**changes).model_dump_json())  # JSON is YAML
    return str(file)


def train(people: Path, **given: Any) -> tuple[stages.DataRun, Run, Training]:
    """Run notebook 03 with these parameters."""
    p = Training.from_values({"dataset": "table", "root": str(people), "device": "cpu", **given})
    data = stages.data_for(p)
    return data, stages.train_for(data, stages.recipe_for(p), p), p


def asks(people: Path, **given: Any) -> Retrieval:
    return Retrieval.from_values({"dataset": "table", "root": str(people), "device": "cpu", **given})


def test_the_newest_training_is_evaluated_and_nothing_is_trained_unasked(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = written(tmp_path, epochs=1)
    _, plain, _ = train(people, recipe=recipe)
    data, tuned, _ = train(people, recipe=recipe, learning_rate=0.002)
    assert tuned.path != plain.path
    monkeypatch.setattr(chosen, "training_stage", None)  # nothing may be trained from here on
    choice = choose_model(data, asks(people, recipe=recipe))
    assert choice.source().digest == tuned.digest
    assert choice.said[0] == f"Model: {tuned.path.name}, the newest training of this data by recipe tiny-pk."
    assert len(choice.said) == 2 and "optimizer.lr 0.002 instead of" in choice.said[1]
    monkeypatch.setattr(chosen, "is_current", lambda run: False)
    assert "has changed since" in choose_model(data, asks(people, recipe=recipe)).said[-1]


def test_what_does_not_exist_is_trained_and_said_before(people: Path, tmp_path: Path) -> None:
    recipe = written(tmp_path, epochs=1)
    data = stages.data_for(asks(people))
    first = choose_model(data, asks(people, recipe=recipe))
    assert first.said == ("There is no training of this data by recipe tiny-pk: it is trained now.",)
    assert trainings_of(data) == [], "said before anything is trained"
    source = first.source()
    assert [run.digest for run in trainings_of(data)] == [source.digest]
    longer = choose_model(data, asks(people, recipe=recipe, epochs=2))
    assert longer.said[0] == "There is no training of this data by recipe tiny-pk with 2 epochs: it is trained now."
    assert source.label in longer.said[1] and "model = 'latest'" in longer.said[1]
    assert longer.source().facts["epochs"] == 2
    known = choose_model(data, asks(people, recipe=recipe, epochs=1))
    assert known.source().digest == source.digest
    assert "A newer training of this data is" in known.said[1] and "2 epochs" in known.said[1]
    other = stages.data_for(asks(people, val_share=0.4))
    assert trainings_of(other) == [], "another split is other data"


def test_latest(people: Path, tmp_path: Path) -> None:
    data = stages.data_for(asks(people))
    with pytest.raises(UserError, match="model='latest': there is no training of table with this split"):
        named_model(data, "latest")
    with pytest.raises(UserError, match="model='latest': nothing was trained yet"):
        check_names(asks(people, model="latest"), ["model"])
    _, run, _ = train(people, recipe=written(tmp_path, epochs=1))
    check_names(asks(people, model="latest"), ["model"])
    choice = choose_model(data, asks(people, model="latest"))
    assert choice.source().digest == run.digest and choice.said == (f"Model: {run.path.name}",)


def test_the_line_of_notebook_03_names_the_run_and_the_same_data(people: Path, tmp_path: Path) -> None:
    options = {"dataset": "table", "root": "my data/table.csv", "val_share": 0.3, "options": {"boxes": "all of it"}}
    p = Training.from_values({**options, "learning_rate": 0.01, "seed": 3})
    run = Run(tmp_path / "table-tiny-0123456789ab", {})
    words = shlex.split(evaluation_line(run, p))
    assert words[:3] == ["reidlab", "run", "04"] and words[3::3] == ["-p"] * 6
    given = coerce(Retrieval, dict(zip(words[4::3], words[5::3], strict=True)))
    assert given == {**options, "seed": 3, "model": run.path.name}
    assert evaluation_line(run, Training()) == "reidlab run 04 -p model table-tiny-0123456789ab"
