"""Stage calibration: what a model's cosines mean, fitted on identities that it was not trained on, and kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reidlab import store
from reidlab.data.schema import is_distractor, is_junk
from reidlab.errors import UserError
from reidlab.retrieval.calibrated import Calibration
from reidlab.retrieval.calibration import fit_calibration
from reidlab.stages.data_run import DataRun
from reidlab.stages.models import CALIBRATION, ModelSource
from reidlab.stages.retrieval import embedding_stage, labelled
from reidlab.store.runs import Run

__all__ = ["USED", "NoCalibration", "calibration_of", "calibration_stage"]

USED = "logistic"  # the method of `reidlab search`: it needs fewer pairs, and its curve rises everywhere


class NoCalibration(UserError):
    """No calibration can be fitted on this data by this model; whatever else goes wrong is another UserError."""


def calibration_stage(
    data: DataRun,
    source: ModelSource,
    *,
    method: str = USED,
    seed: int = 0,
    device: str = "auto",
    precision: str = "float32",
    progress: bool = True,
) -> tuple[Run, Calibration]:
    """Fit a calibration on the data set's validation identities and keep it; `reidlab search` finds it there.

    Args:
        data: prepared data set.
        source: the model.
        method: logistic, which `reidlab search` looks for, or isotonic.
        seed: of the draw of pairs.
        device: cpu, cuda, mps or auto.
        precision: of the embedding.
        progress: show bars.

    Raises:
        NoCalibration: there are no two validation identities, too few pairs of one kind among them, or a model that
            does not tell people apart.
        UserError: an image or a model cannot be used.
    """
    table = data.table[(data.table["split"] == "val") & ~is_junk(data.table) & ~is_distractor(data.table)]
    if table["pid"].nunique() < 2:
        raise NoCalibration("A calibration is fitted on validation identities, and there are no two. Raise val_share.")
    dataset = str(data.run.params["dataset"])
    run, found = embedding_stage(
        table.reset_index(drop=True), data.digest, source, dataset=dataset, part="validation", device=device,
        precision=precision, progress=progress,
    )  # fmt: skip
    told = f"{source.label}, validation identities of {dataset}"

    def make(folder: Path) -> Mapping[str, Any]:
        try:
            made = fit_calibration(found, method=method, seed=seed, source=told)
        except UserError as error:
            raise NoCalibration(*error.args) from error
        made.save(folder / CALIBRATION)
        return {"model": source.digest, "said": made.sentence(), "ece": made.ece}

    params = {"dataset": dataset, "model": source.digest, "seed": seed}
    params |= {} if method == USED else {"method": method}
    kept = store.stage("calibration", labelled(dataset, source), params=params, inputs=[run], make=make)
    return kept, Calibration.load(kept.path / CALIBRATION)


def calibration_of(source: ModelSource) -> Calibration | None:
    """Return the calibration that comes with a model, or the newest that was kept of it; None where there is none."""
    if source.calibration is not None:
        return Calibration.load(source.calibration)
    for run in reversed(store.list_runs("calibration")):
        if run.problem or run.params.get("method", USED) != USED:
            continue
        if run.params.get("model") == source.digest:
            return Calibration.load(run.path / CALIBRATION)
    return None
