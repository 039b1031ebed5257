"""What the factors of a sweep do to a key figure: main effects and interactions, with intervals.

The model has a mean for every combination of levels and, where seeds repeat, an offset for every seed: the same seed
draws the same split and the same order of images, so that runs of a seed go up and down together. Effects are
contrasts of these means: a main effect averages over the levels of all other factors with equal weights, an interaction
of two is a difference of differences. Intervals are Student's t from what the model leaves; Montgomery, Design and
Analysis of Experiments, 8th edition, chapters 4 and 5.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from reidlab.errors import UserError, nearest
from reidlab.sweeps.rows import FINISHED
from reidlab.sweeps.table import SweepTable, is_number

__all__ = ["Effects", "effects_of"]

MOST_LEVELS = 12
_FEW = 3  # degrees of freedom, below which an interval says little

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Effects:
    """Main effects and interactions of a sweep.

    Attributes:
        measure: the key figure.
        factors: parameters that differ, with their levels in the order of the sweep; the first is the reference.
        levels: a row per factor and level: factor, level, mean (over all other factors), low, high (95 %).
        main: a row per factor and further level: factor, level, reference, effect (level less reference), low, high, p.
        interactions: a row per pair of factors and further levels: first, level, second, level_2, effect (how much the
            effect of the first is larger at that level of the second), low, high, p.
        cells: a row per combination: the factors, mean, n.
        degrees: of freedom of the residual; 0: nothing is repeated, and no interval is known.
        notes: what a reader has to know.
    """

    measure: str
    factors: dict[str, tuple[str, ...]]
    levels: pd.DataFrame
    main: pd.DataFrame
    interactions: pd.DataFrame
    cells: pd.DataFrame
    degrees: int
    notes: tuple[str, ...]


def effects_of(table: SweepTable, measure: str = "", notebook: str = "") -> Effects:
    """Estimate what the factors of a sweep do to a key figure.

    Args:
        table: of the sweep; runs that failed are left out.
        measure: the key figure; "": the first that is a number.
        notebook: the runs of this one alone; "": of the only one, or of the first that has the key figure.

    Raises:
        UserError: an unknown measure, nothing that differs but the seed, too many levels (drawn values), or
            combinations without a run.
    """
    measure = _measure(table, measure)
    frame = table.frame[table.frame["status"].isin(FINISHED) & table.frame[measure].notna()]
    names = list(dict.fromkeys(frame["notebook"]))
    if notebook and notebook not in names:
        raise UserError(f"notebook={notebook!r}: no run of it has {measure}.{nearest(notebook, names)}")
    frame = frame[frame["notebook"] == (notebook or names[0])]
    factors = _factors(table, frame)
    model = _Model(frame, factors, measure)
    blank: dict[str, list[float]] = {"effect": [], "low": [], "high": [], "p": []}
    main = pd.DataFrame(model.main() or {"factor": [], "level": [], "reference": [], **blank})
    pairs = pd.DataFrame(model.pairs() or {"first": [], "level": [], "second": [], "level_2": [], **blank})
    levels = pd.DataFrame(model.levels())
    return Effects(measure, factors, levels, main, pairs, model.means(), model.degrees, _notes(table, frame, model))


def _measure(table: SweepTable, given: str) -> str:
    numbers = [name for name in table.results if is_number(table.frame[name])]
    if not numbers:
        raise UserError(f"sweep {table.name} has no key figure that is a number: nothing can be compared.")
    if given and given not in numbers:
        raise UserError(f"measure={given!r} is no key figure of sweep {table.name}.{nearest(given, numbers)} "
                        f"There are: {', '.join(numbers)}.")  # fmt: skip
    return given or numbers[0]


def _factors(table: SweepTable, frame: pd.DataFrame) -> dict[str, tuple[str, ...]]:
    found = {}
    for name in table.axes:
        levels = tuple(dict.fromkeys(_written(value) for value in frame[name]))
        if name != "seed" and len(levels) > 1:
            found[name] = levels
    large = [name for name, levels in found.items() if len(levels) > MOST_LEVELS]
    if large:
        raise UserError(
            f"sweep {table.name}: {large[0]} has {len(found[large[0]])} values, more than {MOST_LEVELS}. Effects are "
            "told of a grid or a list; drawn values show a trend: plot the table's columns against each other."
        )
    if not found:
        raise UserError(f"sweep {table.name}: nothing differs between its finished runs but the seed.")
    missing = [cell for cell in itertools.product(*found.values()) if not _at(frame, found, cell).any()]
    if missing:
        named = ", ".join(f"{name}={level}" for name, level in zip(found, missing[0]))
        raise UserError(
            f"sweep {table.name}: {len(missing)} combinations have no finished run ({named}). Effects need all of "
            "them: a full grid, and failed runs run again."
        )
    return found


def _at(frame: pd.DataFrame, factors: dict[str, tuple[str, ...]], cell: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Return which runs have a combination of levels."""
    fits = np.ones(len(frame), bool)
    for name, level in zip(factors, cell):
        fits &= np.array([_written(value) == level for value in frame[name]])
    return fits


def _written(value: Any) -> str:
    if value is None or value != value:
        return "none"
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)  # a column with gaps makes floats of whole numbers
    return value if isinstance(value, str) else json.dumps(value)


class _Model:
    """A mean per combination and an offset per seed, fitted by least squares."""

    def __init__(self, frame: pd.DataFrame, factors: dict[str, tuple[str, ...]], measure: str) -> None:
        self.factors = factors
        self.combinations = list(itertools.product(*factors.values()))
        inside = np.stack([_at(frame, factors, cell) for cell in self.combinations], axis=1)
        self.counts = inside.sum(axis=0)
        y = frame[measure].to_numpy(np.float64)
        self.constant = sum(len(part := y[here]) > 1 and np.ptp(part) == 0 for here in inside.T)
        seeds = frame["seed"].to_numpy() if "seed" in frame else np.zeros(len(frame))
        # offsets that add up to nothing: means are those over all seeds
        known = sorted(set(seeds))
        offsets = (
            np.stack([(seeds == seed) * 1.0 - (seeds == known[-1]) for seed in known[:-1]], axis=1)
            if (len(known) > 1)
            else np.zeros((len(y), 0))
        )
        design = np.concatenate([inside.astype(np.float64), offsets], axis=1)
        self.fitted = np.linalg.lstsq(design, y, rcond=None)[0]
        self.spread = np.linalg.pinv(design.T @ design)
        self.degrees = len(y) - int(np.linalg.matrix_rank(design))
        rest = y - design @ self.fitted
        self.variance = float(rest @ rest) / self.degrees if self.degrees else float("nan")

    def means(self) -> pd.DataFrame:
        """Return a row per combination."""
        rows = [
            {**dict(zip(self.factors, cell)), "mean": float(self.fitted[at]), "n": int(self.counts[at])}
            for at, cell in enumerate(self.combinations)
        ]
        return pd.DataFrame(rows)

    def levels(self) -> list[dict[str, Any]]:
        """Return the mean of each level of each factor."""
        rows = []
        for name, levels in self.factors.items():
            for level in levels:
                told = self._contrast(self._mean({name: level}))
                rows.append({"factor": name, "level": level, "mean": told.pop("effect"), **told})
                rows[-1].pop("p")
        return rows

    def main(self) -> list[dict[str, Any]]:
        """Return each level of each factor against the first."""
        return [
            {"factor": name, "level": level, "reference": levels[0]}
            | self._contrast(self._mean({name: level}) - self._mean({name: levels[0]}))
            for name, levels in self.factors.items()
            for level in levels[1:]
        ]

    def pairs(self) -> list[dict[str, Any]]:
        """Return the differences of differences of each two factors."""
        rows = []
        for (a, of_a), (b, of_b) in itertools.combinations(self.factors.items(), 2):
            for x, y in itertools.product(of_a[1:], of_b[1:]):
                there = self._mean({a: x, b: y}) - self._mean({a: of_a[0], b: y})
                here = self._mean({a: x, b: of_b[0]}) - self._mean({a: of_a[0], b: of_b[0]})
                rows.append({"first": a, "level": x, "second": b, "level_2": y, **self._contrast(there - here)})
        return rows

    def _mean(self, fixed: dict[str, str]) -> Floats:
        """Return the weights that average over all combinations with these levels."""
        places = {name: at for at, name in enumerate(self.factors)}
        fits = np.array([all(cell[places[name]] == fixed[name] for name in fixed) for cell in self.combinations])
        return fits / fits.sum()

    def _contrast(self, weights: Floats) -> dict[str, float]:
        from scipy import stats

        whole = np.concatenate([weights, np.zeros(len(self.fitted) - len(weights))])
        effect = float(whole @ self.fitted)
        if not self.degrees:
            return {"effect": effect, "low": float("nan"), "high": float("nan"), "p": float("nan")}
        error = float(np.sqrt(self.variance * (whole @ self.spread @ whole)))
        reach = error * float(stats.t.ppf(0.975, self.degrees))
        p = float(2 * stats.t.sf(abs(effect) / error, self.degrees)) if error > 0 else float(effect == 0)
        return {"effect": effect, "low": effect - reach, "high": effect + reach, "p": p}


def _notes(table: SweepTable, frame: pd.DataFrame, model: _Model) -> tuple[str, ...]:
    notes = []
    lost = len(table.frame) - int(table.frame["status"].isin(FINISHED).sum())
    if lost:
        notes.append(f"{lost} runs that did not finish are left out.")
    if not model.degrees:
        notes.append("Nothing is repeated: no interval is known. Give the sweep several seeds.")
    elif model.degrees < _FEW:
        notes.append(f"Only {model.degrees} degrees of freedom: intervals are wide. More seeds narrow them.")
    codes = len(set(frame["code"]))
    if codes > 1:
        notes.append(f"Its runs were made by {codes} states of the code; `reidlab sweep FILE` makes them by one.")
    if model.degrees and model.constant == len(model.combinations):
        notes.append("Every combination gave one value in all runs: chance plays no part, and intervals say nothing.")
    elif model.degrees and model.constant:
        notes.append(
            f"{model.constant} of {len(model.combinations)} combinations gave one value in all runs. Intervals take "
            "the spread to be equal everywhere: they are too wide for these and too narrow for the others."
        )
    if len(model.main()) + len(model.pairs()) > 1:
        notes.append("p values are not adjusted for how many there are.")
    return tuple(notes)
