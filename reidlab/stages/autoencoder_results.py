"""The grid of Siamese autoencoders over several seeds as one table: does any of them beat its backbone alone?

It reads kept runs, those of notebook 06 or of a sweep over it (sweeps/autoencoder_grid.yaml), and trains nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from reidlab.errors import UserError
from reidlab.retrieval.comparison import SIGNIFICANT, compare_results
from reidlab.retrieval.outcome import RetrievalResult
from reidlab.retrieval.seeds import over_seeds
from reidlab.store.runs import list_runs
from reidlab.training.recipes import load_recipe

__all__ = ["grid_table", "kept_grid", "verdict", "write_grid"]

PLAIN = "plain"
Cell = tuple[str, float]  # kind, weight of the reconstruction
Grid = dict[Cell, dict[int, RetrievalResult]]


def kept_grid(dataset: str, recipe: str = "siamese_osnet_x025", *, epochs: int = 5) -> Grid:
    """Return the results of the kept trainings of a grid: by kind and weight, by seed.

    Args:
        dataset: name.
        recipe: of notebook 06.
        epochs: of the trainings.

    Raises:
        UserError: there are none, or two of one cell and seed.
    """
    name = load_recipe(recipe).name
    trained = {run.path.name: run for run in list_runs("training") if run.params.get("dataset") == dataset}
    found: Grid = {}
    for scored in list_runs("evaluation"):
        run = trained.get(scored.manifest["name"])
        given = run.params["recipe"] if run is not None else {}
        if run is None or given["epochs"] != epochs or not str(given["name"]).startswith(f"{name}_"):
            continue
        if scored.params != {"ap": "plain", "bootstrap": 1000, "dataset": dataset, "metric": "cosine", "seed": 0}:
            continue  # re-ranked, projected, or with other options
        cell, seed = _cell(given), int(run.params["seed"])
        if seed in found.setdefault(cell, {}):
            raise UserError(f"Two trainings are {cell[0]} with weight {cell[1]:g} and seed {seed}; remove one.")
        found[cell][seed] = RetrievalResult.load(scored.path)
    if not found:
        raise UserError(f"There is no scored training of {name} on {dataset} over {epochs} epochs; run notebook 06.")
    return found


def _cell(recipe: Mapping[str, Any]) -> Cell:
    """Return kind and weight of a recipe that notebook 06 trained; the plain backbone has weight 0."""
    kind = str(recipe["name"]).rpartition("_")[2]
    weights = [term["weight"] for term in recipe["losses"] if term["name"] == "reconstruction"]
    return kind, float(weights[0]) if weights else 0.0


def grid_table(grid: Grid, *, draws: int = 10_000) -> pd.DataFrame:
    """Return a row for each kind and weight: means over seeds with both intervals, and the paired tests against plain.

    Args:
        grid: by kind and weight, by seed; the plain backbone is among them.
        draws: of identities, for intervals and tests.

    Returns:
        A frame: kind, weight, seeds, mAP, seeds_low, seeds_high (over seeds, Student's t), identities_low,
        identities_high; against the plain backbone of the same seeds: difference, difference_low, difference_high (over
        identities, of AP averaged over the seeds), p (permutation test over identities, times the number of rows),
        of_seeds_low, of_seeds_high (Student's t over the differences of the seeds) and better ("yes", "no", "worse").

    Raises:
        UserError: no plain backbone, or a seed without one.
    """
    plain = grid.get((PLAIN, 0.0))
    if plain is None:
        raise UserError("The grid has no plain backbone to compare with.")
    rows: list[dict[str, Any]] = []
    for (kind, weight), results in sorted(grid.items(), key=lambda item: (item[0][0] != PLAIN, *item[0])):
        missing = set(results) - set(plain)
        if missing:
            raise UserError(f"{kind}, weight {weight:g}: seed {min(missing)} has no plain backbone beside it.")
        ordered = [results[seed] for seed in sorted(results)]
        told: Any = over_seeds(ordered, draws=draws).frame.set_index("measure").loc["mAP"]
        ends = ("seeds_low", "seeds_high", "identities_low", "identities_high")
        row = {"kind": kind, "weight": weight, "seeds": len(results), "mAP": told["mean"]}
        rows.append(row | {end: told[end] for end in ends})
        if kind != PLAIN:
            beside = [plain[seed] for seed in sorted(results)]
            rows[-1] |= _against(beside, ordered, comparisons=len(grid) - 1, draws=draws)
    return pd.DataFrame(rows)


def _against(
    plain: list[RetrievalResult], results: list[RetrievalResult], *, comparisons: int, draws: int
) -> dict[str, Any]:
    """Compare the AP of each query, averaged over seeds; and the seeds' mAP in pairs."""
    from scipy import stats

    frame = compare_results(_averaged(plain), _averaged(results), draws=draws).frame
    row: Any = frame.set_index("measure").loc["mAP"]
    changes = np.array([b.mean_ap - a.mean_ap for a, b in zip(plain, results)])
    reach = np.nan
    if len(changes) > 1:
        reach = changes.std(ddof=1) * float(stats.t.ppf(0.975, len(changes) - 1)) / np.sqrt(len(changes))
    p, low, high = min(1.0, float(row["p"]) * comparisons), float(row["low"]), float(row["high"])
    of_seeds = changes.mean() - reach, changes.mean() + reach
    sure = p < SIGNIFICANT and not low <= 0 <= high and not of_seeds[0] <= 0 <= of_seeds[1] and len(changes) > 1
    better = "no" if not sure else "yes" if changes.mean() > 0 else "worse"
    span = {"difference": changes.mean(), "difference_low": low, "difference_high": high, "p": p}
    return span | {"of_seeds_low": of_seeds[0], "of_seeds_high": of_seeds[1], "better": better}


def _averaged(results: list[RetrievalResult]) -> RetrievalResult:
    """Return the first result with the AP of each query averaged over all; its other measures stay the first's."""
    frame = results[0].per_query.assign(ap=np.mean([result.per_query["ap"] for result in results], axis=0))
    return replace(results[0], per_query=frame, mean_ap=float(frame.loc[frame["valid"], "ap"].mean()))


def write_grid(table: pd.DataFrame, path: Path, about: str) -> None:
    """Write a grid as Markdown with its verdict, and as CSV beside it.

    Args:
        table: of `grid_table`.
        path: ends in .md.
        about: what was trained, on what, for how long.
    """
    lines = [
        "# Siamese autoencoders against their backbone alone", "", about, "", verdict(table), "",
        "mAP (%) is the mean over seeds, official protocol. In brackets: 95 % intervals, first for another training on "
        "the same data (Student's t over seeds), then for other people (draws of identities). p is that of a "
        "permutation test over identities on AP averaged over the seeds, times the number of comparisons. *Better* "
        "needs p below 0.05 and both intervals of the difference without 0.", "",
        "| kind | reconstruction | seeds | mAP | against plain (points) | p | better |",
        "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for row in table.to_dict("records"):
        score = f"{100 * row['mAP']:.1f} {_both(row, 'seeds', 'identities')}"
        cells = [row["kind"], "–", f"{row['seeds']}", score, "–", "–", "–"]
        if row["kind"] != PLAIN:
            change = f"{100 * row['difference']:+.1f} {_both(row, 'of_seeds', 'difference', sign='+')}"
            cells = [row["kind"], f"{row['weight']:g}", f"{row['seeds']}", score, change]
            cells += [f"{row['p']:.2g}", row["better"]]
        lines.append(f"| {' | '.join(cells)} |")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    table.to_csv(path.with_suffix(".csv"), index=False)


def verdict(table: pd.DataFrame) -> str:
    """Say in a sentence whether an autoencoder beats the plain backbone."""
    others = table[table["kind"] != PLAIN]
    counts = {word: int((others["better"] == word).sum()) for word in ("yes", "no", "worse")}
    if counts["yes"]:
        better = others[others["better"] == "yes"]
        names = ", ".join(f"{kind} ({weight:g})" for kind, weight in zip(better["kind"], better["weight"]))
        start = f"**Some autoencoders beat the plain backbone: {names}.**"
    else:
        start = "**No autoencoder beats the plain backbone.**"
    return (
        f"{start} Of {len(others)} combinations of kind and weight {counts['yes']} are better, {counts['worse']} worse "
        f"and {counts['no']} cannot be told from it."
    )


def _both(row: Mapping[Any, Any], *names: str, sign: str = "") -> str:
    """Write intervals in per cent; a dash for what one seed cannot tell."""
    ends = [(row[f"{name}_low"], row[f"{name}_high"]) for name in names]
    spans = ["–" if np.isnan(low) else f"{100 * low:{sign}.1f} to {100 * high:{sign}.1f}" for low, high in ends]
    return f"({'; '.join(spans)})"
