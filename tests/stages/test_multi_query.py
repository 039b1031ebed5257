"""Multiple queries: the mean of a person's images in a camera searches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_stages import evaluated, make_people, prepared, save_random_model

from reidlab import stages
from reidlab.errors import UserError


@pytest.fixture
def people(tmp_path: Path, own_data: Path) -> Path:
    """Write the data of test_stages; the second image of each test person in a camera is of split multi_query."""
    file = make_people(tmp_path / "people")
    table = pd.read_csv(file)
    several = (table["split"] == "gallery") & table["path"].str.endswith("_1.png")
    table.assign(split=table["split"].where(~several, "multi_query")).to_csv(file, index=False)
    return file


def unit(vectors: Any) -> Any:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def test_queries_are_the_mean_of_their_identity_and_camera(people: Path, tmp_path: Path) -> None:
    data, source = prepared(people), stages.model_from(str(save_random_model(tmp_path / "model")))
    run, _, vectors = evaluated(data, source, multi_query=True)
    single, _, plain = evaluated(data, source)
    assert run.path != single.path and run.params["multi_query"] and run.result["projection"] == "multiple queries"
    assert any(note.startswith("Multiple queries: each is the mean of") for note in run.result["notes"])
    several = data.table[data.table["split"] == "multi_query"].reset_index(drop=True)
    _, pool = stages.embedding_stage(several, data.digest, source, dataset="table", part="multi_query", progress=False)
    is_query = (vectors.table["split"] == "query").to_numpy()
    np.testing.assert_array_equal(vectors.vectors[~is_query], plain.vectors[~is_query])
    for row in np.flatnonzero(is_query):
        same = (several[["pid", "camid"]] == vectors.table.loc[row, ["pid", "camid"]].tolist()).all(axis=1).to_numpy()
        assert same.sum() == 1, "one image of each is in the pool here"
        np.testing.assert_allclose(vectors.vectors[row], unit(unit(pool.vectors[same]).mean(axis=0)), atol=1e-6)


def test_with_a_projection_and_queries_of_which_there_are_no_more(people: Path, tmp_path: Path) -> None:
    table = pd.read_csv(people)
    lone = (table["split"] == "multi_query") & (table["camid"] == "c0")
    table[~lone].to_csv(people, index=False)
    data, source = prepared(people), stages.model_from(str(save_random_model(tmp_path / "model")))
    run, _, _ = evaluated(data, source, multi_query=True, projection_dim=4)
    assert run.result["projection"] == "LDA 4, multiple queries"
    assert any("2 of 4 queries have none and stand for themselves." in note for note in run.result["notes"])


def test_where_it_cannot_be(people: Path, tmp_path: Path, own_data: Path) -> None:
    source = stages.model_from(str(save_random_model(tmp_path / "model")))
    with pytest.raises(UserError, match="metric='euclidean' cannot be used: set metric='cosine'"):
        evaluated(prepared(people), source, multi_query=True, metric="euclidean")
    none = make_people(tmp_path / "none")
    with pytest.raises(UserError, match="multi_query=true: table has no queries with images of split multi_query"):
        evaluated(prepared(none), source, multi_query=True)
    table = pd.read_csv(people)
    table.drop(columns="camid").to_csv(people, index=False)
    with pytest.raises(UserError, match="no camera is known"):
        evaluated(prepared(people), source, multi_query=True)
