"""Models against test sets: the score where a model was trained, and what is left of it elsewhere."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from reidlab.errors import UserError
from reidlab.paths import data_root, exists, find
from reidlab.registry import DATASETS
from reidlab.retrieval.outcome import RetrievalResult
from reidlab.stages.data import data_stage
from reidlab.stages.data_run import DataRun
from reidlab.stages.evaluation import evaluation_stage
from reidlab.stages.models import ModelSource
from reidlab.store.runs import Run, list_runs

__all__ = ["CrossDomain", "Domain", "at_hand", "cross_domain", "domain_of", "trained_on"]

BUILT_IN = "pedestrians"
_SEEDED = re.compile(rf"{BUILT_IN}:(\d{{1,9}})")


@dataclass(frozen=True)
class CrossDomain:
    """What models scored on test sets.

    Attributes:
        scores: a row for each model and test set: model, test_set, rank1, rank1_low, rank1_high, mAP, mAP_low, mAP_high
            (95 % intervals), in_domain (the model was trained on that data set), queries, gallery, run (its name).
        notes: what a reader must know, by the test set or model that it is about.
    """

    scores: pd.DataFrame
    notes: tuple[str, ...]


class Domain(NamedTuple):
    """A data set to be scored on.

    Attributes:
        label: how it is called in tables.
        missing: why it cannot be had; "" where it can.
        read: prepares it.
    """

    label: str
    missing: str
    read: Callable[[], DataRun]


def domain_of(given: str, *, seed: int = 0, **options: Any) -> Domain:
    """Find a data set by what a user gives, without reading it.

    Args:
        given: a registered name, for its usual place; NAME=FOLDER; or pedestrians:SEED, which is the built-in one with
            other people and places.
        seed: of the split, and of the built-in data set where none is given.
        options: split, val_share and options of `data_stage`.

    Returns:
        The test set; `missing` says which folder is not there where the usual place of a known name is empty.

    Raises:
        UserError: an unknown name, a FOLDER that is not there, a name without a usual place and without a folder, a
            SEED that is none.
    """
    text = given.strip()
    if seeded := _SEEDED.fullmatch(text):
        number = int(seeded[1])
        return Domain(f"{BUILT_IN} (seed {number})", "", lambda: data_stage(BUILT_IN, seed=number, **options))
    if text.startswith(f"{BUILT_IN}:"):
        raise UserError(f"{given!r}: after {BUILT_IN}: stands a seed, a whole number such as {BUILT_IN}:1.")
    name, equals, root = (part.strip() for part in text.partition("="))
    entry = DATASETS.find(name)
    label = f"{name} ({find(root).name})" if equals else name
    if equals and not (root and exists(find(root))):
        raise UserError(f"{given!r}: there is no folder or file {root!r}, neither here nor in the workbook's folder.")
    folder: Any = entry.facts.get("folder")
    if not equals and not folder:
        raise UserError(f"{given!r} is your own data set: say where it is, {name}=FOLDER.")
    missing = ""
    if not equals and not entry.facts.get("maker") and not exists(data_root() / folder):
        missing = f"data/{folder} is not there (data/README.md says how to get it)"
    return Domain(label, missing, lambda: data_stage(name, root, seed=seed, **options))


def at_hand() -> list[str]:
    """Name the data sets that lie in their usual places, the built-in one among them."""
    known = {name: entry.facts for name, entry in DATASETS.items() if entry.facts.get("folder")}
    return [name for name, facts in known.items() if facts.get("maker") or exists(data_root() / facts["folder"])]


def trained_on(source: ModelSource, data: DataRun) -> bool:
    """Return whether a model was trained on a data set, as far as its facts tell.

    A training run counts with exactly its data, or with the same public data set in another split; a model that comes
    with the package, or a saved one, with the names that its card gives.

    """
    runs = [run for run in list_runs("training") if not run.problem and run.digest == source.digest]
    if any(data.digest in run.manifest["inputs"] for run in runs):
        return True
    name = str(data.run.params["dataset"])
    facts = DATASETS[name].facts if name in DATASETS else {}
    public = bool(facts.get("folder")) and not facts.get("maker")
    return public and name in re.findall(r"\w+", str(source.facts.get("trained_on") or ""))


def cross_domain(
    models: Sequence[ModelSource],
    tests: Sequence[Domain],
    *,
    metric: str = "cosine",
    bootstrap: int = 1000,
    seed: int = 0,
    device: str = "auto",
    progress: bool = True,
) -> CrossDomain:
    """Score every model on every test set under the official protocol; each score is a kept evaluation.

    Args:
        models: whose labels differ.
        tests: the data sets; one that is missing is left out, and a note says so.
        metric: registered name.
        bootstrap: draws of query identities for 95 % intervals; 0 leaves them out.
        seed: of the draws.
        device: cpu, cuda, mps or auto.
        progress: show bars.

    Raises:
        UserError: no model, no test set at hand, one that stands there twice, or as `evaluation_stage`.
    """
    for what, names in (("models", [model.label for model in models]), ("tests", [test.label for test in tests])):
        twice = [name for i, name in enumerate(names) if name in names[:i]]
        if twice or not names:
            raise UserError(f"{what}: {f'{twice[0]!r} stands there twice' if twice else 'none is given'}.")
    notes = [f"{test.label} is left out: {test.missing}." for test in tests if test.missing]
    if len(notes) == len(tests):
        raise UserError(f"No test set is at hand. {' '.join(notes)}")
    rows = []
    for test in (each for each in tests if not each.missing):
        data, said = test.read(), dict[str, list[str]]()
        for source in models:
            run, result, _ = evaluation_stage(
                data, source, metric=metric, bootstrap=bootstrap, seed=seed, device=device, progress=progress
            )
            rows.append(_row(source.label, test.label, result, trained_on(source, data), run))
            for note in run.result["notes"]:
                said.setdefault(note, []).extend([] if note in source.notes else [source.label])
        for note, whose in said.items():
            who = "" if len(whose) == len(models) else f" ({', '.join(whose)})"
            notes += [f"{test.label}{who}: {note}"] if whose else []
    notes += [note for source in models for note in source.notes]
    return CrossDomain(pd.DataFrame(rows), tuple(dict.fromkeys(notes)))


def _row(model: str, label: str, result: RetrievalResult, in_domain: bool, run: Run) -> dict[str, Any]:
    row: dict[str, Any] = {"model": model, "test_set": label}
    for name, value in (("rank1", result.rank1), ("mAP", result.mean_ap)):
        low, high = result.intervals.get(name, (np.nan, np.nan))
        row |= {name: value, f"{name}_low": low, f"{name}_high": high}
    counts = {"queries": result.n_valid, "gallery": result.n_gallery}
    return row | {"in_domain": in_domain, **counts, "run": run.path.name}
