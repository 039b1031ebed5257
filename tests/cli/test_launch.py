"""Notebook 03's training in processes that torchrun or accelerate launch starts."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reidlab import stages
from reidlab.cli import launch
from reidlab.training import loop
from reidlab.training.group import Group
from reidlab.training.job import Job

NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["demo"], "give parameters of notebook 03 as `-p name value`"),
        (["-q", "recipe", "demo"], "give parameters of notebook 03"),
        (["-p", "processes", "2"], "torchrun or accelerate launch says how many"),
        (["-p", "recepi", "demo"], "Did you mean 'recipe'"),
        ([], "lacks RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT: start this by `torchrun"),
        (["-p", "recipe", "demo"], "accelerate launch --multi_gpu"),
    ],
)
@pytest.mark.usefixtures("nobody")
def test_what_cannot_be_started_is_said_in_a_line(words: list[str], said: str, capsys: Any) -> None:
    assert launch.main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("reidlab: ") and said in error and "Traceback" not in error


@pytest.mark.usefixtures("nobody")
def test_the_first_process_does_what_the_notebook_does(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """A group of one, really joined: whoever comes later finds no trace of it in the environment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name, value in zip(NAMES, ("0", "1", "0", "127.0.0.1", str(port))):
        monkeypatch.setenv(name, value)
    asked: list[Any] = []

    def train_for(data: Any, recipe: Any, p: Any, *, group: Group) -> Any:
        asked.append((data, recipe.epochs, p.seed, group.size, group.leads))
        return SimpleNamespace(made=True, path=Path("pedestrians-demo-1"))

    monkeypatch.setattr(stages, "data_for", lambda p: p.dataset, raising=False)
    monkeypatch.setattr(stages, "train_for", train_for, raising=False)
    assert launch.main(["-p", "epochs", "3", "-p", "seed=4", "-p", "device", "cpu"]) == 0
    assert asked == [("pedestrians", 3, 4, 1, True)]
    assert "Trained pedestrians-demo-1. Evaluate it: reidlab run 04" in capsys.readouterr().out

    import torch.distributed as dist

    assert not dist.is_initialized() and not {"RANK", "WORLD_SIZE", "LOCAL_RANK"} & set(os.environ)


def test_the_others_train_what_the_first_one_says(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs: list[Any] = [object.__new__(Job), object.__new__(Job), None]
    trained: list[Any] = []
    monkeypatch.setattr(loop, "train", lambda job, group: trained.append(job))
    group: Any = SimpleNamespace(share=lambda _: jobs.pop(0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.simplefilter", lambda *_: None)
        launch._follow(group)
    assert len(trained) == 2 and not jobs
