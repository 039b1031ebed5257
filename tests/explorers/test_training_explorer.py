"""The explorer of trainings: what is listed, compared, smoothed, and followed while it runs."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import weakref
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from training_runs import history, trained, training_now

from reidlab.explorers import TrainingExplorer
from reidlab.explorers import training as module
from reidlab.explorers.training_views import MOST, curve_figure, curves_of, smoothed, training_table
from reidlab.explorers.trainings import find_trainings, signature
from reidlab.store.runs import runs_root
from reidlab.workbook.pages.safe_html import clean_html


@pytest.fixture(autouse=True)
def _errors_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REIDLAB_EXPLORER_ERRORS", "raise")


def test_an_empty_store_is_said(tmp_path: Path) -> None:
    explorer = TrainingExplorer()
    assert "reidlab run 03" in explorer.summary() and not explorer.error
    assert "<img" not in explorer.twin() and not explorer.state.live
    explorer.refresh()
    assert explorer.state.chosen == ()


def test_the_newest_training_is_shown_at_once() -> None:
    trained("first", 12)
    newest = trained("second", 20, recipe="other")
    explorer = TrainingExplorer()
    assert explorer.state.chosen == (newest.path.name,)
    assert explorer.state.curves == ("loss", "val_map", "lr", "active_share")
    twin = explorer.snapshot().html
    assert twin.count("<img") == 4 and "20 of 20" in twin and "first" not in twin
    best = history(20)["val_map"].max()
    assert f"{100 * best:.2f}" in twin, "the best validation mAP"
    assert "1 of 2 trainings" in explorer.summary()


def test_several_are_compared_and_keep_their_colours() -> None:
    runs = [trained(f"run{number}", seed=number) for number in range(3)]
    names = [run.path.name for run in runs]
    explorer = TrainingExplorer(chosen=names)
    assert set(explorer.state.chosen) == set(names) and len(set(explorer.slots.values())) == 3
    before = dict(explorer.slots)
    kept = explorer.state.chosen[1:]
    explorer.choice.value = kept  # as a click in the list
    assert explorer.state.chosen == kept
    assert {key: explorer.slots[key] for key in kept} == {key: before[key] for key in kept}


def test_given_runs_alone() -> None:
    one, _ = trained("one"), trained("two")
    training_now(3)
    explorer = TrainingExplorer([one])
    assert list(explorer.trainings) == [one.path.name]


def test_curves_are_chosen_by_their_boxes() -> None:
    trained("one")
    explorer = TrainingExplorer()
    boxes = {box.name: box for box in explorer.boxes.children}
    assert boxes["loss"].value and not boxes["d_ap"].value and "loss_triplet" in boxes
    boxes["d_ap"].value = True
    boxes["loss"].value = False
    assert explorer.state.curves == ("val_map", "lr", "active_share", "d_ap")
    assert len(explorer.figures.children) == 4 and "loss" not in explorer.drawings
    explorer.state.curves = ()
    assert not explorer.figures.children and not any(box.value for box in explorer.boxes.children)


def test_more_than_can_be_told_apart_are_not_shown() -> None:
    for number in range(MOST + 2):
        trained(f"run{number}", 4, seed=number)
    explorer = TrainingExplorer()
    explorer.choice.value = tuple(explorer.trainings)
    assert len(explorer.state.chosen) == MOST == len(explorer.choice.value)
    explorer.choice.value = tuple(explorer.trainings)  # once more, where the state does not change
    assert len(explorer.choice.value) == MOST
    assert f"{MOST} at most" in explorer.summary()


def test_a_training_that_goes_on_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    trained("whole")
    pointer = training_now(3)
    explorer = TrainingExplorer()
    key = pointer.parents[1].name
    assert explorer.state.chosen[0] == key and explorer.state.live
    assert "3 of 30" in explorer.table.value and "last epoch" in explorer.table.value
    drawn = explorer.drawings["loss"].png
    assert not explorer.look(), "nothing new"
    training_now(5)
    os.utime(pointer, (pointer.stat().st_atime, pointer.stat().st_mtime + 1))
    assert explorer.look() and "5 of 30" in explorer.table.value
    assert explorer.drawings["loss"].png != drawn


def test_a_training_that_ends_stays_chosen() -> None:
    trained("whole")
    digest = trained("to come").path.name.rpartition("-")[2]
    done = next((runs_root() / "training").glob(f"*-{digest}"))
    away = done.with_name(".away")
    done.rename(away)
    pointer = training_now(3, digest=digest)
    explorer = TrainingExplorer()
    assert explorer.state.chosen[0] == f".work-{digest}"
    shutil.rmtree(pointer.parents[1])
    away.rename(done)
    assert explorer.look()
    assert done.name in explorer.state.chosen and f".work-{digest}" not in explorer.trainings


def test_new_epochs_are_awaited_on_the_loop_until_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PERIOD", 0.01)

    async def follow() -> None:
        pointer = training_now(3)
        explorer = TrainingExplorer()
        assert explorer._task is not None
        training_now(5)
        os.utime(pointer, (pointer.stat().st_atime, pointer.stat().st_mtime + 1))
        for _ in range(500):
            await asyncio.sleep(0.01)
            if "5 of 30" in explorer.table.value:
                break
        assert "5 of 30" in explorer.table.value
        explorer.state.live = False
        assert explorer._task is None
        explorer.state.live = True
        task = explorer._task
        explorer.close()
        for _ in range(3):
            await asyncio.sleep(0)
        assert task is not None and task.cancelled()

    asyncio.run(follow())


def test_damaged_and_foreign_folders_are_left_out() -> None:
    good = trained("good")
    bad = trained("bad")
    (bad.path / "history.parquet").write_bytes(b"no parquet")
    pointer = training_now(2, digest="aaaaaaaaaaaa")
    pointer.write_text("{")
    training_now(2, digest="bbbbbbbbbbbb").write_text('{"checkpoint": "../../../etc", "epochs_done": 2}')
    assert list(find_trainings()) == [good.path.name]
    assert any(name == ".work-aaaaaaaaaaaa" for name, _ in signature())


def test_what_is_done_is_not_read_again() -> None:
    run = trained("one")
    known = find_trainings()
    (run.path / "history.parquet").write_bytes((run.path / "history.parquet").read_bytes())
    assert find_trainings(known=known)[run.path.name] is known[run.path.name]


def test_names_are_escaped_and_the_twin_is_clean() -> None:
    training_now(3, recipe="<img src=x onerror=alert(1)>$x$")
    explorer = TrainingExplorer()
    html = explorer.snapshot().html
    assert "<img src=x" not in html and "&lt;img src=x onerror=alert(1)&gt;" in html
    assert html.count("<img ") == 4
    kept = clean_html(html)
    assert kept.count("<img ") == 4 and "border-top" in kept


def test_close_takes_everything_along() -> None:
    trained("one")
    explorer = TrainingExplorer()
    explorer.show_curve("d_ap")
    drawing, box = weakref.ref(explorer.drawings["d_ap"]), weakref.ref(explorer.boxes.children[0])
    held = weakref.ref(explorer)
    explorer.close()
    assert explorer.closed and explorer.choice.comm is None
    del explorer
    gc.collect()
    assert held() is None and drawing() is None and box() is None


# ---- the curves


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30), st.floats(0, 0.95))
def test_smoothing_is_a_weighted_mean_of_what_came_before(values: list[float], share: float) -> None:
    given = np.array(values)
    found = smoothed(given, share)
    for at in range(len(given)):
        weights = share ** np.arange(at, -1, -1.0)
        assert found[at] == pytest.approx((weights * given[: at + 1]).sum() / weights.sum(), rel=1e-6, abs=1e-6)


def test_no_smoothing_changes_nothing() -> None:
    values = np.array([3.0, -1, 4, 1, 5])
    assert (smoothed(values, 0) == values).all()


def test_a_curve_skips_epochs_without_a_value() -> None:
    trained("one", 6)
    (training,) = find_trainings().values()
    figure = curve_figure({0: training}, "val_map", curves_of([training])["val_map"])
    (line,) = figure.axes[0].lines
    assert line.get_xdata().tolist() == [2, 4, 6]
    assert line.get_ydata().tolist() == pytest.approx((100 * history(6)["val_map"].dropna()).tolist())
    assert figure.axes[0].get_ylabel() == "validation mAP (%)"
    faint, strong = curve_figure({0: training}, "loss", ("loss", 1, ""), smoothing=0.5).axes[0].lines
    assert faint.get_alpha() < 1 and strong.get_ydata().tolist() == pytest.approx(
        smoothed(history(6)["loss"].to_numpy(), 0.5).tolist()
    )


def test_a_training_without_validation() -> None:
    run = trained("one", 1)  # its only epoch is not validated
    explorer = TrainingExplorer([run])
    assert "val_map" not in explorer.state.curves
    (training,) = explorer.trainings.values()
    assert training.best is None and "–" in training_table({0: training})
