"""Every evaluation run on every test set: scores with intervals, paired tests, what a model costs, and its pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd

from reidlab.errors import UserError, nearest
from reidlab.params import CrossDomain, Leaderboard
from reidlab.retrieval.comparison import compare_results
from reidlab.retrieval.outcome import RetrievalResult
from reidlab.store.runs import Run, list_runs
from reidlab.workbook.outputs import executed_root
from reidlab.workbook.scoreboard import newest, options_of

__all__ = ["Board", "BoardTable", "leaderboard_for", "pareto"]

_INPUT = 32  # images of a batch whose speed is measured
_RUNS = 5
_SCORES = ("rank1", "mAP", "mINP")


@dataclass(frozen=True, eq=False)
class Board:
    """What `leaderboard_for` found.

    Attributes:
        scores: a row per evaluation, best first within its test set: test_set, model, run, rank1, mAP and mINP with
            _low and _high (shares), queries, parameters, macs (NaN for what is no network), dim, speed (images per
            second of one model on this machine, NaN where it was not measured), seed, trained_on, pages.
        tests: a row per evaluation but the best of its test set: test_set, model, run, best, difference (less the
            best), low, high (95 %), p (permutation of identities), p_holm (adjusted over the test set), noise.
        measure: what is ranked and tested.
        notes: what a reader has to know.
    """

    scores: pd.DataFrame
    tests: pd.DataFrame
    measure: str
    notes: tuple[str, ...]


class BoardTable:
    """The scores for readers, with links to the pages of executed notebooks that show a run."""

    def __init__(self, board: Board) -> None:
        self.board = board

    def frame(self) -> pd.DataFrame:
        """Return the table as text."""
        rows = []
        for row in self.board.scores.to_dict("records"):
            told = {"test set": row["test_set"], "model": row["model"]}
            for name, title in (("rank1", "rank-1 (%)"), ("mAP", "mAP (%)")):
                low, high = row[f"{name}_low"], row[f"{name}_high"]
                span = f" ({100 * low:.1f} to {100 * high:.1f})" if low == low else ""
                told[title] = f"{100 * row[name]:.1f}{span}"
            told |= {"MACs (M)": _number(row["macs"] / 1e6), "parameters (M)": _number(row["parameters"] / 1e6)}
            told |= {"images/s": _number(row["speed"]), "trained on": row["trained_on"] or "–"}
            rows.append({**told, "seed": _number(row["seed"]), "shown in": ", ".join(row["pages"]) or "–"})
        return pd.DataFrame(rows)

    def __repr__(self) -> str:
        return self.frame().to_string(index=False)

    def _repr_html_(self) -> str:
        frame = self.frame().map(lambda text: escape(str(text)))
        frame["shown in"] = [
            ", ".join(f'<a href="{quote(page)}.html">{escape(page)}</a>' for page in pages) or "–"
            for pages in self.board.scores["pages"]
        ]
        return str(frame.to_html(index=False, escape=False, border=0))


def leaderboard_for(p: Leaderboard) -> Board:
    """Collect the evaluations of the store, the newest of each model and protocol, and compare them.

    Raises:
        UserError: a test set that nothing was evaluated on, or nothing was evaluated at all.
    """
    notes = _evaluate(p.models)
    runs = [run for run in list_runs("evaluation") if not run.problem]
    sets = list(dict.fromkeys(str(run.params["dataset"]) for run in runs))
    for name in p.tests:
        if name not in sets:
            known = ", ".join(sets) or "none"
            raise UserError(f"tests: nothing was evaluated on {name!r}.{nearest(name, sets)} There are: {known}.")
    chosen = [run for name in p.tests or sets for run in newest(runs, name)]
    if not chosen:
        raise UserError("Nothing was evaluated yet: run notebook 04, or name `models`.")
    scores = pd.DataFrame([_row(run) for run in chosen])
    scores = scores.sort_values(["test_set", p.measure], ascending=[True, False], kind="stable", ignore_index=True)
    scores["speed"] = _speeds(scores, {run.path.name: run for run in chosen}, p)
    tests, more = _tests(scores, {run.path.name: run for run in chosen}, p)
    return Board(scores, tests, p.measure, (*notes, *more))


def pareto(scores: pd.DataFrame, cost: str, measure: str) -> pd.Series[bool]:
    """Return which rows no other row of their test set beats: none is at least as good in both and better in one.

    Args:
        scores: of `Board`; rows whose cost is not known are on no front.
        cost: "macs" (fewer is better) or "speed" (more is better).
        measure: more is better.
    """
    sign = -1.0 if cost == "macs" else 1.0
    front = pd.Series(False, index=scores.index)
    for _, part in scores[scores[cost].notna()].groupby("test_set"):
        both = np.stack([sign * part[cost].to_numpy(np.float64), part[measure].to_numpy(np.float64)], axis=1)
        as_good = np.all(both[None] >= both[:, None], axis=2)
        better = np.any(both[None] > both[:, None], axis=2)
        beaten = np.any(as_good & better, axis=1)
        front[part.index] = ~np.asarray(beaten, bool)
    return front


def _evaluate(models: Sequence[str]) -> tuple[str, ...]:
    """Evaluate models on the built-in data, where that was not done."""
    if not models:
        return ()
    from reidlab.stages import cross_domain_for

    asked = CrossDomain.from_values({"models": list(models), "recipe": "", "tests": ["pedestrians"]})
    return tuple(cross_domain_for(asked).notes)


def _row(run: Run) -> dict[str, Any]:
    model, scores, spans = run.result["model"], run.result["scores"], run.result["intervals"]
    options = options_of(run)
    row: dict[str, Any] = {"test_set": f"{run.params['dataset']}{f' ({options})' if options else ''}"}
    said = [str(model["label"]), "flip test" if run.result["flip"] else "", str(run.result.get("projection", ""))]
    row |= {"model": ", ".join(filter(None, said)), "run": run.path.name}
    for name in _SCORES:
        low, high = spans.get(name, (float("nan"),) * 2)
        row |= {name: scores[name], f"{name}_low": low, f"{name}_high": high}
    row["queries"] = run.result["conditions"]["n_valid"]
    row |= {name: float(model.get(name) or "nan") for name in ("parameters", "macs")}
    seed = model.get("seed")
    row |= {"dim": model.get("dim"), "seed": float("nan") if seed is None else float(seed)}
    return {**row, "trained_on": model.get("trained_on") or "", "pages": _pages(run.path.name)}


def _pages(run: str) -> tuple[str, ...]:
    """Name the executed notebooks that show a run; their pages are called like them."""
    found = []
    for file in sorted(executed_root().glob("*.ipynb")):
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):  # replaced meanwhile, or no notebook
            continue
        if run in text and not file.name.startswith("."):
            found.append(file.stem)
    return tuple(found)


def _tests(scores: pd.DataFrame, runs: dict[str, Run], p: Leaderboard) -> tuple[pd.DataFrame, list[str]]:
    """Compare the best of each test set with every other one, person by person."""
    rows: list[dict[str, Any]] = []
    notes = []
    for name, part in scores.groupby("test_set", sort=False):
        best, *others = part.to_dict("records")
        first, found = RetrievalResult.load(runs[best["run"]].path), []
        for row in others:
            second = RetrievalResult.load(runs[row["run"]].path)
            try:
                compared = compare_results(first, second, draws=p.draws, seed=p.seed).frame
            except UserError as error:  # other queries, or another rule: no pairs
                notes.append(f"{row['model']} on {name} is not compared: {error}")
                continue
            line = compared[compared["measure"] == p.measure].iloc[0]
            told = {column: line[column] for column in ("difference", "low", "high", "p")}
            found.append({"test_set": name, "model": row["model"], "run": row["run"], "best": best["model"], **told})
        adjusted = _holm([row["p"] for row in found])
        rows += [{**row, "p_holm": value, "noise": value >= 0.05} for row, value in zip(found, adjusted)]
    columns = ["test_set", "model", "run", "best", "difference", "low", "high", "p", "p_holm", "noise"]
    return pd.DataFrame(rows, columns=columns), notes


def _holm(values: Sequence[float]) -> list[float]:
    """Adjust p values for how many there are (Holm, Scandinavian Journal of Statistics 6, 1979)."""
    adjusted, largest = [0.0] * len(values), 0.0
    for rank, at in enumerate(np.argsort(values, kind="stable")):
        largest = max(largest, min(1.0, (len(values) - rank) * values[at]))
        adjusted[at] = largest
    return adjusted


def _speeds(scores: pd.DataFrame, runs: dict[str, Run], p: Leaderboard) -> list[float]:
    """Measure the best models' images per second; each model once."""
    order = scores.sort_values(p.measure, ascending=False)
    labels = list(dict.fromkeys(runs[run].result["model"]["label"] for run in order["run"]))[: p.timed]
    speeds = {label: _speed(str(label), p.device) for label in labels}
    return [speeds.get(runs[run].result["model"]["label"], float("nan")) for run in scores["run"]]


def _speed(label: str, device: str) -> float:
    """Return the images per second of a model, in batches that lie ready; NaN for what cannot be loaded."""
    import torch

    from reidlab.devices import plan
    from reidlab.stages import model_from
    from reidlab.training.pace import embedding_pace

    try:
        model: Any = model_from(label).load()
    except UserError:  # the colour histogram, or a training that was removed
        return float("nan")
    pixels = torch.zeros(_INPUT, 3, model.preprocess.height, model.preprocess.width, dtype=torch.uint8)
    return embedding_pace(model, model.preprocess(pixels), plan(device), runs=_RUNS).median


def _number(value: float) -> str:
    return "–" if value != value else f"{value:,.0f}" if abs(value) >= 10 or value == int(value) else f"{value:.2g}"
