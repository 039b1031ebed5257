"""Evaluations that are re-ranked are kept beside those that are not."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from test_stages import evaluated, make_people, params, prepared, save_random_model

from reidlab import stages
from reidlab.errors import UserError
from reidlab.params import Retrieval
from reidlab.retrieval import evaluate
from reidlab.workbook.scoreboard import results_table


@pytest.fixture
def people(tmp_path: Path, own_data: Path) -> Path:
    return make_people(tmp_path / "people")


def test_a_run_of_its_own(people: Path, tmp_path: Path) -> None:
    data, source = prepared(people), stages.model_from(str(save_random_model(tmp_path / "model")))
    plain, result, _ = evaluated(data, source)
    assert not {"rerank", "rerank_options"} & set(plain.params) and result.rerank == ""
    run, reranked, vectors = evaluated(data, source, rerank="k_reciprocal", rerank_options={"k1": 3, "k2": 2})
    assert run.made and run.path != plain.path and not evaluated(data, source)[0].made
    assert run.params["rerank"] == "k_reciprocal" and run.params["rerank_options"] == {"k1": 3, "k2": 2}
    expected = evaluate(
        vectors.split("query"), vectors.split("gallery"), rerank="k_reciprocal", rerank_options={"k1": 3, "k2": 2}
    )
    assert reranked.mean_ap == expected.mean_ap and reranked.rerank == expected.rerank
    assert not reranked.per_query["match_distance"].equals(result.per_query["match_distance"])
    assert run.result["conditions"]["rerank"] == reranked.rerank
    assert run.result["projection"] == "re-ranked by k_reciprocal (k1=3, k2=2)"
    assert any(note.startswith("Re-ranked by k_reciprocal (k1=3, k2=2, lambda") for note in run.result["notes"])
    again, _, _ = evaluated(data, source, rerank="k_reciprocal", rerank_options={"k2": 2, "k1": 3})
    assert not again.made and again.path == run.path
    assert sorted(results_table("table")["projection"]) == ["", "re-ranked by k_reciprocal (k1=3, k2=2)"]


def test_what_cannot_be_is_said_before_anything_is_embedded(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, source = prepared(people), stages.model_from(str(save_random_model(tmp_path / "model")))
    monkeypatch.setattr("reidlab.stages.evaluation.embedding_stage", lambda *_, **__: pytest.fail("embedded"))
    with pytest.raises(UserError, match=r"re-ranking 'nfcc' is unknown.*Did you mean 'nfc'"):
        evaluated(data, source, rerank="nfcc")
    with pytest.raises(UserError, match="re-ranking 'nfc' has no option 'k3'"):
        evaluated(data, source, rerank="nfc", rerank_options={"k3": 1})
    with pytest.raises(UserError, match="need the name of a method"):
        evaluated(data, source, rerank_options={"k1": 1})


def test_notebook_04(people: Path, tmp_path: Path) -> None:
    data, model = prepared(people), save_random_model(tmp_path / "model")
    p = params(Retrieval, people, model=str(model), rerank="alpha_qe", device="cpu")
    _, result, vectors = stages.evaluate_for(data, stages.choose_model(data, p).source(), p)
    assert result.rerank.startswith("alpha_qe (k=10")
    figure = stages.ranking_for(vectors, result, p, choose="worst")
    assert figure.axes
    plt.close(figure)
    with pytest.raises(UserError, match=r"rerank.*re-ranking 'alfa_qe' is unknown.*Did you mean 'alpha_qe'"):
        Retrieval.from_values({"rerank": "alfa_qe"})
