"""What a training shows: one bar, a line for each epoch, nothing where nothing is wanted."""

from __future__ import annotations

from pathlib import Path

import pytest
from training_cases import World, make_recipe, train

from reidlab.progress import PROGRESS
from reidlab.training.telling import epoch_line

Capture = pytest.CaptureFixture[str]


def test_the_line_of_an_epoch() -> None:
    row = {"epoch": 3, "loss": 1.23456, "val_map": 0.4567}
    assert epoch_line(row, 40, 600) == "epoch 3 / 40: loss 1.235, validation mAP 45.7 %, 10 min left"
    assert epoch_line({"epoch": 40, "loss": 1.0}, 40, 0) == "epoch 40 / 40: loss 1.000"


def test_a_training_says_a_line_an_epoch_and_goes_on_counting(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "lines"
    monkeypatch.setenv(PROGRESS, str(file))
    recipe = make_recipe(epochs=2)
    assert train(world, tmp_path / "a", recipe, progress=True, stop_after=1) is None
    assert train(world, tmp_path / "a", recipe, progress=True) is not None
    first, second = [line.partition(" ")[2] for line in file.read_text().splitlines() if "epoch" in line]
    assert first.startswith("epoch 1 / 2: loss ") and first.endswith(" left")
    assert second.startswith("epoch 2 / 2: loss ") and "validation mAP" in second and "left" not in second


def test_a_bar_over_all_epochs_and_silence(
    world: World, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(PROGRESS, raising=False)
    recipe = make_recipe(epochs=2)
    train(world, tmp_path / "loud", recipe, progress=True)
    err = capsys.readouterr().err
    assert "training:   0%" in err and "epoch 2 / 2: loss" in err
    train(world, tmp_path / "quiet", recipe, progress=False)
    assert capsys.readouterr() == ("", "")
