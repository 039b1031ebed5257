"""Figures of mixtures of experts: how much each expert counts for each camera and each identity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from reidlab.errors import UserError
from reidlab.figure_text import cut, plain
from reidlab.plots.style import PALETTE, Chart, ChartAxes, new_figure, set_alt, styled

__all__ = ["gate_bars", "gate_map"]

_HATCHES = ("", "//", "..", "xx", "\\\\", "++", "oo", "--")
_NAMED = 40  # identities whose names fit below a heat map


@styled
def gate_bars(gates: Mapping[str, pd.DataFrame], *, of: str = "camera") -> Chart:
    """Draw stacked bars of mean gates, a panel for each mixture, a bar for each camera (or another label).

    Args:
        gates: by mixture, a row for each label and a column for each expert, shares that sum to 1 (`explain.gates_by`).
        of: what the labels are.

    Raises:
        UserError: no mixture, no row, or rows that do not sum to 1.
    """
    if not gates:
        raise UserError("There are no gates to draw: give those of a mixture or more.")
    for table in gates.values():
        _check(table)
    figure = new_figure(1.4 + 2.6 * len(gates), 1.5 + 0.34 * max(map(len, gates.values())))
    handles: dict[str, Any] = {}
    for place, (mixture, table) in enumerate(gates.items(), 1):
        ax = figure.add_subplot(1, len(gates), place, axes_class=ChartAxes)
        handles |= _bars(ax, table)
        ax.set_yticks(range(len(table)), [plain(cut(str(label), 20)) for label in table.index])
        ax.set(xlabel="mean gate (%)", ylabel=f"{plain(of)} (id)" if place == 1 else "")
        ax.set_title(plain(cut(mixture, 30)), fontsize=10)
    figure.legend(list(handles.values()), list(handles), loc="outside upper center", ncols=min(4, len(handles)))
    told = "; ".join(f"{mixture}: {_words(table)}" for mixture, table in gates.items())
    set_alt(figure, f"Mean gates by {of}, per cent. {told}.")
    return figure


def _bars(ax: Axes, table: pd.DataFrame) -> dict[str, Any]:
    """Draw the bars of a mixture; return what the legend shows, by expert."""
    left, handles = np.zeros(len(table)), {}
    for number, expert in enumerate(table.columns):
        share = 100 * table[expert].to_numpy(dtype=float)
        handles[plain(cut(str(expert), 30))] = ax.barh(
            range(len(table)), share, left=left, color=PALETTE[number % len(PALETTE)], edgecolor="white",
            hatch=_HATCHES[number % len(_HATCHES)],
        )  # fmt: skip
        left += share
    ax.set(xlim=(0, 100), ylim=(len(table) - 0.5, -0.5))
    ax.grid(False, axis="y")
    return handles


@styled
def gate_map(gates: pd.DataFrame, *, of: str = "identity", marked: Sequence[object] = ()) -> Chart:
    """Draw a heat map of mean gates: a row for each expert, a column for each identity, sorted by the first's gate.

    Args:
        gates: a row for each identity, a column for each expert, shares that sum to 1 (`explain.gates_by`).
        of: what the labels are.
        marked: labels that are named below the map; without it all are, where there are few.

    Raises:
        UserError: no row, or rows that do not sum to 1.
    """
    _check(gates)
    table = gates.sort_values(gates.columns[0], kind="stable")
    wide = float(np.clip(0.16 * len(table) + 2.0, 4.6, 9.0))
    figure = new_figure(wide, 1.5 + 0.42 * len(table.columns))
    ax = figure.add_subplot(1, 1, 1, axes_class=ChartAxes)
    ax.imshow(100 * table.to_numpy(dtype=float).T, cmap="cividis", vmin=0, vmax=100, aspect="auto")
    ax.grid(False)
    ax.set_yticks(range(len(table.columns)), [plain(cut(str(expert), 24)) for expert in table.columns])
    named = set(marked) or (set(table.index) if len(table) <= _NAMED else set())
    ticks = [place for place, label in enumerate(table.index) if label in named]
    ax.set_xticks(ticks, [plain(cut(str(table.index[place]), 12)) for place in ticks], rotation=90, fontsize=8)
    how = "sorted by the gate of the first expert"
    ax.set(xlabel=f"{plain(of)} ({'id' if ticks else f'{len(table):,} of them'}), {how}", ylabel="expert")
    mapped = ScalarMappable(Normalize(0, 100), "cividis")
    figure.colorbar(mapped, ax=ax, label="mean gate (%)", ticks=[0, 50, 100], fraction=0.05, pad=0.02)
    first = 100 * table[table.columns[0]]
    told = f"{table.columns[0]} from {first.iloc[0]:.0f} % to {first.iloc[-1]:.0f} %, median {first.median():.0f} %"
    set_alt(figure, f"Heat map of mean gates of {len(table.columns)} experts for {len(table):,} labels ({of}): {told}.")
    return figure


def _check(gates: pd.DataFrame) -> None:
    values = gates.to_numpy(dtype=float)
    if not values.size or gates.shape[1] < 2:
        raise UserError("There are no gates to draw: give a row for each label and a column for each expert.")
    if not ((values >= 0).all() and np.allclose(values.sum(axis=1), 1, atol=1e-3)):
        raise UserError("The gates of a row must be 0 or more and sum to 1; `explain.gates_by` gives them.")


def _words(gates: pd.DataFrame) -> str:
    rows = gates if len(gates) <= 12 else gates.iloc[:12]
    told = [
        f"{label} " + ", ".join(f"{expert} {100 * share:.0f}" for expert, share in row.items())
        for label, row in rows.iterrows()
    ]
    return "; ".join(told) + ("; and more" if len(gates) > len(rows) else "")
