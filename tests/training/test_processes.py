"""Two processes over gloo learn what one does: the same batch, loss and gradients, one writer, resumed to the bit."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from pair_of_processes import CASES, UNSYNCED, Found, everything, exact_recipe, pair_recipe
from training_cases import World, assert_same_run, make_recipe, same_weights, train, trained, weights_in

from reidlab.data.transforms import Augment, Preprocess
from reidlab.devices import plan
from reidlab.errors import UserError
from reidlab.training.batches import BatchMaker
from reidlab.training.group import ALONE, Group
from reidlab.training.job import Job, check_processes
from reidlab.training.run import TrainingRun, read_finished

NEAR = {"rtol": 1e-9, "atol": 1e-11}  # of float64
BALANCED = {"rtol": 1e-6, "atol": 1e-7}  # balances compare gradients in float32


def finished(folder: Path) -> TrainingRun:
    found = read_finished(folder)
    assert found is not None
    return found[0]


@pytest.fixture(scope="module")
def pair(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of what two processes found and trained."""
    folder = tmp_path_factory.mktemp("pair")
    world.table.to_parquet(folder / "table.parquet")
    (folder / "pixels").write_text(str(world.pixels.folder))
    script = str(Path(__file__).with_name("pair_of_processes.py"))
    env = {**os.environ, "OMP_NUM_THREADS": "1", "REIDLAB_REPORTS": str(folder / "reports")}
    env["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    with (folder / "said").open("wb") as said:
        both = [
            subprocess.Popen([sys.executable, script, str(rank), "2", str(folder)], env=env, stdout=said, stderr=said)
            for rank in range(2)
        ]
        try:
            codes = [process.wait(300) for process in both]
        finally:
            for process in both:
                process.kill()
                process.wait()
    assert codes == [0, 0], (folder / "said").read_text()
    return folder


@pytest.fixture(scope="module")
def found(pair: Path) -> tuple[Found, list[Found]]:
    """Return what one process found, and what each of the two did."""
    return everything(ALONE), [torch.load(pair / f"found-{rank}.pt", weights_only=False) for rank in range(2)]


@pytest.mark.parametrize("name", CASES)
def test_same_loss_gradients_and_weights_as_one_process(found: Any, name: str) -> None:
    alone, both = found
    expected, near = alone[name], BALANCED if "balance" in CASES[name] else NEAR
    for other in (each[name] for each in both):
        assert other["losses"] == pytest.approx(expected["losses"], rel=near["rtol"])
        assert len(other["gradients"]) == len(expected["gradients"]) > 0
        for gradients, wanted in zip(other["gradients"], expected["gradients"]):
            assert gradients.keys() == wanted.keys() and "unused" not in gradients
            torch.testing.assert_close(gradients, wanted, **near)
        torch.testing.assert_close(other["weights"], expected["weights"], **near)  # running statistics among them
        torch.testing.assert_close(other["stats"], expected["stats"], **near)


def test_norms_that_see_a_slice_learn_something_else_but_the_same_everywhere(found: Any) -> None:
    alone, both = found
    (name,) = UNSYNCED
    one, other = (each[name] for each in both)
    assert same_weights(one["weights"], other["weights"]) and one["losses"] == other["losses"]
    assert abs(one["losses"][0] - alone[name]["losses"][0]) > 1e-4


@pytest.mark.parametrize("dims", [2, 3, 4])
def test_a_norm_over_processes_is_that_of_the_whole_batch(found: Any, dims: int) -> None:
    alone, both = found
    for each in both:
        torch.testing.assert_close(each[f"norm {dims}"], alone[f"norm {dims}"], **NEAR)


def test_slices_of_the_batch_are_the_batch(world: World) -> None:
    """Augmented for the whole batch: no pixel depends on how many processes there are."""
    augment = Augment(flip=0.5, crop_padding=2, erase=0.5)
    make = BatchMaker(world.pixels, augment, Preprocess(32, 16), plan("cpu", "float32"), 3)
    rows = np.arange(13)
    whole = make(rows, 1, 2)
    for size in (2, 3, 5):
        parts = [Group(rank, size).part(len(rows)) for rank in range(size)]
        assert sorted(np.concatenate([rows[part] for part in parts])) == rows.tolist()
        for part in parts:
            assert torch.equal(make(rows, 1, 2, part), whole[part])


def test_stopped_and_resumed_by_the_same_number_ends_with_the_same_bits(pair: Path) -> None:
    assert_same_run(finished(pair / "stopped"), finished(pair / "whole"))


def test_a_training_by_two_is_that_by_one(world: World, tmp_path: Path, pair: Path) -> None:
    alone, two = trained(world, tmp_path, exact_recipe(), seed=3), finished(pair / "exact")
    assert two.best_epoch == alone.best_epoch
    measured = ["lr", "loss", "d_ap", "d_an", "val_map"]
    np.testing.assert_allclose(two.history[measured], alone.history[measured], rtol=1e-5)  # float32
    torch.testing.assert_close(weights_in(two.folder), weights_in(alone.folder), rtol=1e-4, atol=1e-5)


def test_the_first_process_alone_writes(pair: Path) -> None:
    whole = pair / "whole"
    assert sorted(path.name for path in whole.iterdir()) == ["finished.json", "history.parquet", "model"]
    assert len(list((pair / "reports" / "tensorboard" / "whole").glob("events*"))) == 1


@pytest.mark.parametrize("began", ["two", "one"])
def test_another_number_goes_on_only_where_it_does_not_matter(world: World, tmp_path: Path, began: str) -> None:
    from reidlab.training.grounds import refuse_other_processes, say_changes

    before, now = ({"processes": 2}, {}) if began == "two" else ({}, {"processes": 2})
    with pytest.raises(UserError, match=r"processes=[12].*sync_norms"):
        refuse_other_processes(tmp_path, before, now, norms=True)
    refuse_other_processes(tmp_path, before, now, norms=False)
    with pytest.warns(UserWarning, match=r"processes [12], now [12]"):
        say_changes(before, now)


@pytest.mark.parametrize(
    ("processes", "changes", "said"),
    [
        (0, {}, "processes=0 must be 1 or more"),
        (-1, {}, "must be 1 or more"),
        (9, {}, r"batches have 16 images.*Take 8 or fewer"),
    ],
)
def test_impossible_numbers_are_refused(
    world: World, tmp_path: Path, processes: int, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        train(world, tmp_path / "run", make_recipe(**changes), processes=processes)
    assert not (tmp_path / "run").exists()


def test_what_synchronised_norms_do_not_go_with() -> None:
    with pytest.raises(ValueError, match="sync_norms: true and compile: true do not go together"):
        make_recipe(sync_norms=True, compile=True)


def test_processes_share_cpu_or_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_processes(2, make_recipe(), "cpu") == "cpu"
    monkeypatch.setattr("reidlab.training.job.check_device", lambda _: "mps")
    assert check_processes(1, make_recipe(), "auto") == "mps"
    with pytest.raises(UserError, match="set device='cpu'"):
        check_processes(2, make_recipe(), "auto")


def test_unsynchronised_norms_are_not_part_of_older_experiments() -> None:
    assert "sync_norms" not in make_recipe().experiment()
    assert make_recipe(sync_norms=True).experiment()["sync_norms"] is True
    assert pair_recipe().experiment() == make_recipe(**pair_recipe().model_dump()).experiment()


def test_pixels_are_not_sent_to_the_processes(world: World, tmp_path: Path) -> None:
    assert world.pixels.batch([0, 1]).shape[0] == 2  # opened
    job = Job(make_recipe(), world.table, world.pixels, tmp_path)
    sent = pickle.dumps(job)
    assert len(sent) < 50_000 < world.pixels.flat.nbytes and pickle.loads(sent).pixels == world.pixels


def test_a_history_is_one_table(pair: Path) -> None:
    history = pd.read_parquet(pair / "whole" / "history.parquet")
    assert history["epoch"].tolist() == [1, 2, 3]
