"""Tables of published results, generated from the manifests of evaluation runs, never typed."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from reidlab.errors import UserError
from reidlab.paths import reports_root
from reidlab.store.origins import training_origins
from reidlab.store.runs import Run, find_run, list_runs
from reidlab.workbook.files import write_whole

__all__ = ["newest", "options_of", "results_table", "write_results"]

_MEASURES = {"rank1": "R1", "rank5": "R5", "rank10": "R10", "mAP": "mAP", "mINP": "mINP"}

_PREAMBLE = """\
Written by `reidlab results {dataset}` from the manifests of evaluation runs; do not edit.
Single query, no re-ranking, official protocol unless a note below says otherwise: gallery images of a query's identity
and camera are ignored, junk is removed. In brackets: 95 % intervals by bootstrap over query identities. Parameters and
multiply-adds are those of the embedding. Of models trained here: "best" is the epoch that did best on training
identities held out for that, "last" the last one where none were held out; minutes are those of the epochs without
validation; a + after a commit says that the working tree had changes."""
_NO_CAMERAS = "No camera is known: every gallery image of the identity counts, those of the query's own camera too."
# what a row is of, in any clone
_SAME = ("model", "flip test", "projection", "metric", "commit", "seed", "epochs", "options")


def results_table(dataset: str, selectors: Sequence[str] = ()) -> pd.DataFrame:
    """Return one row per evaluation run of a data set, best mAP first.

    Args:
        dataset: data set that was evaluated on.
        selectors: names or digests of evaluation runs; empty takes the newest of every model and protocol.

    Raises:
        UserError: no such run, a selector of another stage or data set.
    """
    runs = [find_run(s) for s in selectors] if selectors else newest(list_runs("evaluation"), dataset)
    for run in runs:
        if run.stage != "evaluation" or run.params.get("dataset") != dataset:
            raise UserError(
                f"{run.path.name} is not an evaluation on {dataset}; `reidlab runs list evaluation` names them."
            )
    if not runs:
        raise UserError(f"There is no evaluation on {dataset} yet: run notebook 04 with dataset={dataset}.")
    rows = [_row(run) for run in runs]
    return pd.DataFrame(rows).sort_values("mAP", ascending=False, ignore_index=True)


def newest(runs: list[Run], dataset: str) -> list[Run]:
    """Return the newest evaluation of every model and protocol on a data set."""
    newest: dict[tuple[Any, ...], Run] = {}
    for run in sorted(runs, key=lambda r: str(r.manifest["finished"])):
        if not run.problem and run.params.get("dataset") == dataset:
            model = run.result["model"]
            key = (model["label"], model.get("digest"), run.result["flip"], run.params["metric"], run.params["ap"])
            newest[(*key, options_of(run), run.result.get("projection", ""))] = run
    return list(newest.values())


def options_of(run: Run) -> str:
    """Write the options of the data set's reader: boxes=detected."""
    return ", ".join(f"{name}={value}" for name, value in sorted(run.result.get("options", {}).items()))


def _epochs(model: Mapping[str, Any]) -> str:
    if model.get("epochs") is None:
        return ""
    chosen = "last" if model.get("best_val_map") is None else f"best {model['best_epoch']}"
    return f"{model['epochs']} ({chosen})"


def _machine(machine: Mapping[str, Any], precision: str | None) -> str:
    """Return what a model was trained on; the card of a shipped model does not say in which arithmetic."""
    if not machine:
        return ""
    return f"{machine.get('cores')} cores {machine.get('cpu')}" + (f", {precision}" if precision else "")


def _row(run: Run) -> dict[str, Any]:
    model, scores, intervals = run.result["model"], run.result["scores"], run.result["intervals"]
    row: dict[str, Any] = {"model": model.get("recipe", model["label"]), "flip test": run.result["flip"]}
    row["projection"] = run.result.get("projection", "")
    for name, title in _MEASURES.items():
        row[title] = 100 * scores[name]
        low, high = intervals.get(name, (float("nan"),) * 2)
        row[f"{title} low"], row[f"{title} high"] = 100 * low, 100 * high
    git = model.get("git") or {}
    machine = model.get("machine") or {}
    notes = [_NO_CAMERAS] if run.result.get("conditions", {}).get("camera_rule") is False else []
    return row | {
        "input": f"{model['height']}x{model['width']}",
        "dim": model["dim"],
        "parameters": model["parameters"],
        "MACs": model["macs"],
        "trained on": model.get("trained_on") or "",
        "epochs": _epochs(model),
        "images seen": model.get("train_images_seen"),
        "minutes": model.get("minutes"),
        "machine": _machine(machine, model.get("precision")),
        "commit": (git.get("commit") or "")[:7] + ("+" if git.get("dirty") else ""),
        "seed": model.get("seed"),
        "metric": f"{run.params['metric']}, {run.params['ap']} AP",
        "options": options_of(run),
        "evaluated": str(run.manifest["finished"])[:10],
        "notes": list(dict.fromkeys([*run.result["notes"], *training_origins(model), *notes])),
    }


def write_results(
    dataset: str, selectors: Sequence[str] = (), output: Path | None = None, *, force: bool = False
) -> Path:
    """Write the table as Markdown and, beside it, as CSV; return the Markdown file.

    Args:
        dataset: data set that was evaluated on.
        selectors: as in `results_table`.
        output: the Markdown file; None: reports/results/<dataset>.md.
        force: replace a table even where rows of it would be lost, because their runs are not on this machine.

    Raises:
        UserError: as `results_table`; a file that is not Markdown or cannot be written; rows that would be lost.
    """
    table = results_table(dataset, selectors)
    target = output or reports_root() / "results" / f"{dataset}.md"
    if target.suffix != ".md":
        raise UserError(f"--output {target}: give a .md file; the .csv is written beside it.")
    beside = target.with_suffix(".csv")
    lost = [] if force else _lost(beside, table)
    if lost:
        raise UserError(
            f"{target} has {len(lost)} row{'s' if len(lost) > 1 else ''} whose runs are not here: {'; '.join(lost)}. "
            "Give another --output, or --force to lose them."
        )
    write_whole(target, _markdown(dataset, table))
    write_whole(beside, table.drop(columns="notes").to_csv(index=False, float_format="%.4f"))
    return target


def _lost(file: Path, table: pd.DataFrame) -> list[str]:
    """Name the rows of an older table that the new one lacks."""
    if not file.is_file():
        return []
    try:
        older = pd.read_csv(file, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:  # pandas raises ValueErrors for what is no table
        raise UserError(f"{file} is not a table of results ({error}). Move it away, or give --force.") from error
    kept = set(_identities(table))
    named = zip(_identities(older), older.get("model", ()), older.get("mAP", ()))
    return [f"{model} with mAP {score}" for identity, model, score in named if identity not in kept]


def _identities(table: pd.DataFrame) -> list[tuple[str, ...]]:
    """Return what each row is of, alike for a table as made and as read from its file."""
    columns = [[_plain(value) for value in table[name]] if name in table else [""] * len(table) for name in _SAME]
    return list(zip(*columns))


def _plain(value: Any) -> str:
    text = "" if value is None or value != value else str(value)
    return text.removesuffix(".0000").removesuffix(".0")


def _markdown(dataset: str, table: pd.DataFrame) -> str:
    lines = [f"# Results on {dataset}", "", *_PREAMBLE.format(dataset=dataset).splitlines(), ""]
    titles = ["model", *_MEASURES.values(), "input", "dim", "parameters", "MACs", "trained on", "epochs"]
    titles += ["minutes", "machine", "commit", "seed", "scores by"]
    lines += ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    lines += ["| " + " | ".join(_cells(row)) + " |" for row in table.to_dict("records")]
    notes = [f"- {_told(row)}: {note}" for row in table.to_dict("records") for note in row["notes"]]
    return "\n".join([*lines, *(["", *notes] if notes else []), ""])


def _told(row: Mapping[Hashable, Any]) -> str:
    """Name a row: the model, and what was done beside the usual."""
    told = [row["model"]] + ["flip test"] * bool(row["flip test"])
    return ", ".join([*told, *(row[name] for name in ("projection", "options") if row[name])])


def _cells(row: Mapping[Hashable, Any]) -> list[str]:
    cells = [_told(row)]
    for title in _MEASURES.values():
        interval = (
            f" ({row[f'{title} low']:.1f} to {row[f'{title} high']:.1f})" if pd.notna(row[f"{title} low"]) else ""
        )
        cells.append(f"{row[title]:.2f}{interval}")
    minutes = f"{row['minutes']:.0f}" if pd.notna(row["minutes"]) else "–"
    seed = f"{row['seed']:.0f}" if pd.notna(row["seed"]) else "–"
    rest = [row["input"], row["dim"], f"{row['parameters']:,}", f"{row['MACs']:,}", row["trained on"] or "–"]
    rest += [row["epochs"] or "–", minutes, row["machine"] or "–", row["commit"] or "–", seed, row["metric"]]
    return [_in_cell(text) for text in [*cells, *map(str, rest)]]


def _in_cell(text: str) -> str:
    """Write a name as a cell of a Markdown table: no new cell, no HTML."""
    return " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")
