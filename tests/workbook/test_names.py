"""Weights that cannot be had are refused before a kernel starts, with the address where they are."""

from __future__ import annotations

import urllib.request
from pathlib import Path
from typing import Any

import pytest

from reidlab.errors import UserError
from reidlab.params import CrossDomain, ModelZoo, NotebookParams, Retrieval, Robustness, Training
from reidlab.workbook import names
from reidlab.workbook.names import check_names


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the addresses that were asked: nothing is cached, and there is no network."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    asked: list[str] = []

    def not_cached(*given: Any, **options: Any) -> str:
        raise LocalEntryNotFoundError("not cached")

    def no_network(request: Any, **options: Any) -> Any:
        asked.append(request.full_url)
        raise OSError("no route")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", not_cached)
    monkeypatch.setattr(urllib.request, "urlopen", no_network)
    return asked


def written(tmp_path: Path, weights: str) -> str:
    file = tmp_path / "mine.yaml"
    file.write_text(f"base: custom_cnn_best\nmodel: {{name: osnet_x0_25, weights: {weights}}}\n")
    return str(file)


def test_a_file_of_weights_that_is_not_there(tmp_path: Path, alone: list[str]) -> None:
    file = written(tmp_path, "nowhere.pth")
    for params in (Training(recipe=file), Retrieval(recipe=file)):
        with pytest.raises(UserError, match=r"recipe mine: weights file .*nowhere.pth does not exist\. .*https://"):
            check_names(params, ["recipe"])
    check_names(Training(recipe=file), ["epochs"])  # not given: a default is not looked up
    (tmp_path / "here.pth").touch()
    check_names(Training(recipe=written(tmp_path, str(tmp_path / "here.pth"))), ["recipe"])
    assert not alone


def test_weights_that_have_to_be_downloaded_without_a_network(alone: list[str]) -> None:
    with pytest.raises(UserError, match=r"recipe bag_of_tricks_r50: weights .*cannot be reached.*timm/resnet50"):
        check_names(Training(recipe="bag_of_tricks_r50"), ["recipe"])
    assert len(alone) == 1


def test_what_trains_nothing_needs_no_weights(monkeypatch: pytest.MonkeyPatch, alone: list[str]) -> None:
    monkeypatch.setattr(names, "_CHECKS", {})  # of the names themselves
    check_names(Training(recipe="bag_of_tricks_r50", start="another"), ["recipe", "start"])
    check_names(Retrieval(recipe="bag_of_tricks_r50", model="another"), ["recipe", "model"])
    assert not alone


@pytest.mark.parametrize(
    ("params", "name", "said"),
    [
        (Robustness(corruptions=["fogg"]), "corruptions", r"corruptions: corruption 'fogg' is unknown"),
        (Robustness(models=["small", "nowhere"]), "models", r"models: .*nowhere"),
        (CrossDomain(models=["small", "histogram", "latest"]), "models", "models: model='latest': nothing was trained"),
        (CrossDomain(tests=["pedestrians", "market1502"]), "tests", "tests: data set 'market1502' is unknown"),
        (CrossDomain(recipe="dmeo"), "recipe", "recipe"),
    ],
)
def test_names_of_the_trials_of_models(params: NotebookParams, name: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        check_names(params, [name])
    check_names(params, [])


def test_trials_without_a_recipe_and_with_what_is_there() -> None:
    check_names(
        CrossDomain(recipe="", models=["small", "histogram"], tests=["pedestrians:3"]), ["recipe", "models", "tests"]
    )
    check_names(Robustness(models=["histogram"], corruptions=["fog"]), ["models", "corruptions"])
    check_names(ModelZoo(models=["osnet*"]), ["models"])  # wildcards of the registry, no trained models
