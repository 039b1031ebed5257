"""Stage calibration: fitted on validation identities, kept, and found again for the model that it belongs to."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reidlab import stages
from reidlab.errors import UserError
from reidlab.models import build
from reidlab.models.saved import save_model, shipped_folder
from reidlab.stages import calibration_of, calibration_stage
from reidlab.stages.calibration import NoCalibration
from reidlab.stages.data_run import DataRun
from reidlab.stages.models import CALIBRATION, model_from

SPEC = {"name": "custom_cnn_v32", "height": 32, "width": 16}


@pytest.fixture
def data(tmp_path: Path, own_data: Path) -> DataRun:
    """Return eight people of one colour each, half of them validation identities."""
    rng = np.random.default_rng(5)
    for pid in range(8):
        colour = rng.integers(20, 235, 3)
        for number in range(4):
            path = tmp_path / "crops" / f"p{pid}_c{number % 2}_{number}.png"
            path.parent.mkdir(exist_ok=True)
            pixels = np.clip(colour + rng.normal(0, 10, (32, 16, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(path)
    return stages.data_stage("folder_flat", str(tmp_path / "crops"), val_share=0.5)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_model(build(SPEC, 0), tmp_path / "own" / "model", {"spec": SPEC, "num_classes": 0})
    return tmp_path / "own"


def test_it_is_kept_and_found_for_its_model_alone(data: DataRun, saved: Path) -> None:
    source = model_from(str(saved))
    assert calibration_of(source) is None
    run, made = calibration_stage(data, source, device="cpu", progress=False)
    assert made.n_identities == 4 and made.n_same == 4 * 4
    again, found = calibration_stage(data, source, device="cpu", progress=False)
    assert again.path == run.path and not again.made and found == made
    assert calibration_of(source) == made
    assert calibration_of(model_from("small")) != made


def test_an_isotonic_one_is_kept_beside_and_not_taken_by_search(data: DataRun, saved: Path) -> None:
    source = model_from(str(saved))
    run, made = calibration_stage(data, source, method="isotonic", device="cpu", progress=False)
    assert made.method == "isotonic" and calibration_of(source) is None
    other, used = calibration_stage(data, source, device="cpu", progress=False)
    assert used.method == "logistic" and other.path != run.path
    calibration_stage(data, source, method="isotonic", seed=1, device="cpu", progress=False)
    assert calibration_of(source) == used


def test_one_that_lies_beside_the_model_comes_first(data: DataRun, saved: Path) -> None:
    calibration_stage(data, model_from(str(saved)), device="cpu", progress=False)
    shutil.copy(shipped_folder("small") / CALIBRATION, saved / "model" / CALIBRATION)
    assert calibration_of(model_from(str(saved))) == calibration_of(model_from("small"))


def test_a_model_that_tells_nobody_apart_has_none(data: DataRun, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(*args: object, **options: object) -> None:
        raise UserError("this network does not tell people apart")

    monkeypatch.setattr("reidlab.stages.calibration.fit_calibration", refusing)
    with pytest.raises(NoCalibration, match="does not tell people apart"):
        calibration_stage(data, model_from(str(saved)), device="cpu", progress=False)
    assert calibration_of(model_from(str(saved))) is None


def test_without_validation_identities_there_is_none(data: DataRun, saved: Path, tmp_path: Path) -> None:
    bare = stages.data_stage("folder_flat", str(tmp_path / "crops"), val_share=0)
    with pytest.raises(UserError, match="Raise val_share"):
        calibration_stage(bare, model_from(str(saved)), device="cpu", progress=False)
