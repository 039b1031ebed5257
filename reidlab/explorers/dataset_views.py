"""What the explorer of a data set shows: its controls, captions, counts and one image with all that is known of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets
import numpy as np
import numpy.typing as npt
import pandas as pd

from reidlab.errors import UserError
from reidlab.explorers import twins
from reidlab.explorers.base import row
from reidlab.explorers.grid import MOST, item
from reidlab.explorers.pictures import Picture, data_uri

if TYPE_CHECKING:
    from reidlab.data.audit import Audit
    from reidlab.explorers.dataset import DatasetExplorer

__all__ = ["SIZES", "DatasetControls", "captions", "counts", "findings_of", "flags_of", "known_of", "large_html"]

MOST_NAMES = 2000  # identities that are offered while one types
SIZES = (12, 24, 60, 120, MOST)  # of a page
_PLAIN = {"description_width": "initial"}


class DatasetControls:
    """The controls of a `DatasetExplorer`, bound to its state.

    Attributes:
        filters: what is chosen of the table.
        pages: where in it one is.
    """

    def __init__(self, explorer: DatasetExplorer) -> None:
        self.explorer, bind = explorer, explorer.bind
        table = explorer.table
        split = _dropdown("split", table, "split")
        camera = _dropdown("camera", table, "camid")
        names = list(dict.fromkeys(table["pid"].astype(str)))[:MOST_NAMES] if "pid" in table else []
        pid = ipywidgets.Combobox(
            options=names, placeholder="all", description="identity", continuous_update=False, style=_PLAIN
        )
        pid.disabled = "pid" not in table
        flag = ipywidgets.Dropdown(options=_kinds(explorer.findings), description="flag", style=_PLAIN)
        flag.disabled = len(flag.options) == 1
        for control, width in ((split, "160px"), (camera, "150px"), (pid, "170px"), (flag, "250px")):
            control.layout.width = width
        self.filters = row(bind("split", split), bind("pid", pid), bind("camera", camera), bind("flag", flag))
        self.before, self.after = ipywidgets.Button(description="◀ Page"), ipywidgets.Button(description="Page ▶")
        self.before.tooltip, self.after.tooltip = "Previous page", "Next page"
        for button, by in ((self.before, -1), (self.after, 1)):
            button.layout.width = "auto"
            button.on_click(lambda _, by=by: explorer.turn(by))
        self.where = ipywidgets.HTML()
        size = ipywidgets.Dropdown(options=SIZES, description="a page", style=_PLAIN)
        size.layout.width = "130px"
        self.pages = (self.before, self.where, self.after, bind("page_size", size))

    def follow(self) -> None:
        """Show which page it is, and whether there are others."""
        page, n_pages = self.explorer.state.page, self.explorer.n_pages
        self.where.value = f"page {page + 1:,} of {n_pages:,}"
        self.before.disabled, self.after.disabled = page == 0, page >= n_pages - 1


def _dropdown(what: str, table: pd.DataFrame, column: str) -> ipywidgets.Dropdown:
    """Return a choice among the values of a column, with how many images each has."""
    options = [("all", "")]
    if column in table:
        numbers = table[column].value_counts().sort_index()
        options += [(f"{name} ({number:,})", str(name)) for name, number in numbers.items()]
    control = ipywidgets.Dropdown(options=options, description=what, style=_PLAIN)
    control.disabled = len(options) == 1
    return control


def findings_of(audit: Audit | None, length: int) -> pd.DataFrame:
    """Return the findings of an audit: kind, row, other, detail; none without one.

    Raises:
        UserError: the audit is of another table.
    """
    if audit is None:
        return pd.DataFrame({"kind": [], "row": [], "other": [], "detail": []}).astype({"row": int, "other": int})
    if len(audit.table) != length:
        raise UserError(f"The audit is of {len(audit.table):,} images, the table has {length:,}.")
    found = audit.issues[["kind", "row", "other", "detail"]]
    return found.astype({"row": int, "other": int})  # without findings, a file says nothing of their types


def flags_of(findings: pd.DataFrame, length: int) -> dict[str, npt.NDArray[np.bool_]]:
    """Return for each kind of finding, and "any", which rows have one; both images of a pair have it."""
    found = {}
    for kind in ["any", *dict.fromkeys(findings["kind"])]:
        part = findings if kind == "any" else findings[findings["kind"] == kind]
        flags = np.zeros(length, bool)
        flags[part["row"].to_numpy()] = True
        flags[part.loc[part["other"] >= 0, "other"].to_numpy()] = True
        found[kind] = flags
    return found


def _kinds(findings: pd.DataFrame) -> list[tuple[str, str]]:
    """Return what can be chosen of findings, with how many of each there are."""
    if findings.empty:
        return [("all", "")]
    numbers = findings["kind"].value_counts(sort=False)
    kinds = [(f"{str(kind).replace('_', ' ')} ({number:,})", str(kind)) for kind, number in numbers.items()]
    return [("all", ""), ("any finding", "any"), ("no finding", "none"), *kinds]


def captions(table: pd.DataFrame, rows: npt.NDArray[np.int64], findings: pd.DataFrame) -> list[dict[str, str]]:
    """Return the items of a grid: identity, camera and split, the audit's findings."""
    part = findings[findings["row"].isin(rows) | findings["other"].isin(rows)]
    kinds: dict[int, dict[str, None]] = {}
    for kind, *pair in part[["kind", "row", "other"]].itertuples(index=False, name=None):
        for number in pair:
            kinds.setdefault(int(number), {})[str(kind).replace("_", " ")] = None
    items = []
    for number, values in zip(rows.tolist(), table.iloc[rows].to_dict("records")):
        name = Path(str(values.get("path", ""))).name
        who = f"id\u00a0{values['pid']}" if "pid" in values else name
        cam = f"cam\u00a0{values['camid']}" if "camid" in values else ""
        split, flags = str(values.get("split", "")), [f"⚑ {kind}" for kind in kinds.get(number, {})]
        where = "\n".join([" · ".join(filter(None, [cam, split])), *flags])
        items.append(item(f"i{number}", who, where, "", ", ".join(filter(None, [who, cam, name]))))
    return items


def counts(table: pd.DataFrame, rows: npt.NDArray[np.int64]) -> str:
    """Return how many images, identities and cameras were chosen, and how many images of each split."""
    part = table.iloc[rows]
    words = [f"{len(part):,} images"]
    for column, what in (("pid", "identities"), ("camid", "cameras")):
        if column in part:
            words.append(f"{part[column].nunique():,} {what}")
    splits = part["split"].value_counts().to_dict() if "split" in part else {}
    listed = ", ".join(f"{name} {number:,}" for name, number in splits.items())
    return ", ".join(words) + (f" ({listed})" if listed else "")


def known_of(table: pd.DataFrame, number: int, findings: pd.DataFrame) -> dict[str, Any]:
    """Return all that the table and the audit say of an image."""
    known: dict[str, Any] = {"row": number} | {str(name): value for name, value in table.iloc[number].items()}
    own = findings[(findings["row"] == number) | (findings["other"] == number)]
    for at, (kind, first, second, detail) in enumerate(own.itertuples(index=False, name=None), 1):
        other = second if first == number else first
        pair = f" (with row {other})" if other >= 0 else ""
        known[f"finding {at}"] = f"{kind}{pair}: {detail}" if detail else f"{kind}{pair}"
    return known


def large_html(picture: Picture, known: Mapping[str, Any]) -> str:
    """Return a large picture beside all that is known of it; every text is escaped."""
    reason = f"<p><em>{twins.text(picture.reason)}</em></p>" if picture.reason else ""
    name = twins.text(Path(str(known.get("path", "image"))).name)
    return (
        '<div style="display:flex;flex-wrap:wrap;gap:12px;align-items:flex-start">'
        f'<img src="{data_uri(picture.data)}" alt="{name}" style="max-width:100%;max-height:360px;min-height:128px">'
        f'<div style="min-width:0;max-width:100%;overflow-wrap:anywhere">{reason}{twins.facts(known)}</div></div>'
    )
