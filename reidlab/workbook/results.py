"""Tables of published results, generated from the manifests of evaluation runs, never typed."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from reidlab.errors import UserError
from reidlab.paths import reports_root
from reidlab.runs import Run, find_run, list_runs

__all__ = ["results_table", "write_results"]

_MEASURES = {"rank1": "R1", "rank5": "R5", "rank10": "R10", "mAP": "mAP", "mINP": "mINP"}

_PREAMBLE = """\
Written by `reidlab results {dataset}` from the manifests of evaluation runs; do not edit.
Single query, official protocol (same identity and camera ignored, junk removed), no re-ranking. In brackets: 95 %
intervals by bootstrap over query identities. Parameters and multiply-adds are those of the embedding. Models trained
here: the best epoch was chosen on held-out training identities, minutes are those of the epochs without validation,
and a + after a commit says that the working tree had changes. Notes below the table name what differs."""


def results_table(dataset: str, selectors: Sequence[str] = ()) -> pd.DataFrame:
    """Give one row an evaluation run of a data set, best mAP first.

    Args:
        dataset: data set that was evaluated on.
        selectors: names or digests of evaluation runs; empty takes the newest of every model and protocol.

    Raises:
        UserError: no such run, a selector of another stage or data set.
    """
    runs = [find_run(s) for s in selectors] if selectors else _newest(list_runs("evaluation"), dataset)
    for run in runs:
        if run.stage != "evaluation" or run.params.get("dataset") != dataset:
            raise UserError(
                f"{run.path.name} is no evaluation on {dataset}; `reidlab runs list evaluation` names them."
            )
    if not runs:
        raise UserError(f"There is no evaluation on {dataset} yet: run notebook 04 with dataset={dataset}.")
    rows = [_row(run) for run in runs]
    return pd.DataFrame(rows).sort_values("mAP", ascending=False, ignore_index=True)


def _newest(runs: list[Run], dataset: str) -> list[Run]:
    newest: dict[tuple[Any, ...], Run] = {}
    for run in sorted(runs, key=lambda r: str(r.manifest["finished"])):
        if not run.problem and run.params.get("dataset") == dataset:
            key = (run.result["model"]["label"], run.result["flip"], run.params["metric"], run.params["ap"])
            newest[key] = run
    return list(newest.values())


def _row(run: Run) -> dict[str, Any]:
    model, scores, intervals = run.result["model"], run.result["scores"], run.result["intervals"]
    row: dict[str, Any] = {"model": model.get("recipe", model["label"]), "flip test": run.result["flip"]}
    for name, title in _MEASURES.items():
        row[title] = 100 * scores[name]
        low, high = intervals.get(name, (float("nan"),) * 2)
        row[f"{title} low"], row[f"{title} high"] = 100 * low, 100 * high
    git = model.get("git") or {}
    machine = model.get("machine") or {}
    epochs = model.get("epochs")
    return row | {
        "input": f"{model['height']}x{model['width']}",
        "dim": model["dim"],
        "parameters": model["parameters"],
        "MACs": model["macs"],
        "epochs": "" if epochs is None else f"{epochs} (best {model['best_epoch']})",
        "images seen": model.get("train_images_seen"),
        "minutes": model.get("minutes"),
        "trained on": f"{machine.get('cores')} cores {machine.get('cpu')}, {model['precision']}" if machine else "",
        "commit": (git.get("commit") or "")[:7] + ("+" if git.get("dirty") else ""),
        "seed": model.get("seed"),
        "metric": f"{run.params['metric']}, {run.params['ap']} AP",
        "evaluated": str(run.manifest["finished"])[:10],
        "notes": list(run.result["notes"]),
    }


def write_results(dataset: str, selectors: Sequence[str] = (), output: Path | None = None) -> Path:
    """Write the table as Markdown and, beside it, as CSV; give the Markdown file.

    Args:
        dataset: data set that was evaluated on.
        selectors: as in `results_table`.
        output: the Markdown file; None: reports/results/<dataset>.md.
    """
    table = results_table(dataset, selectors)
    target = output or reports_root() / "results" / f"{dataset}.md"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(_markdown(dataset, table), encoding="utf-8")
    table.drop(columns="notes").to_csv(target.with_suffix(".csv"), index=False, float_format="%.4f")
    return target


def _markdown(dataset: str, table: pd.DataFrame) -> str:
    lines = [f"# Results on {dataset}", "", *_PREAMBLE.format(dataset=dataset).splitlines(), ""]
    titles = ["model", *_MEASURES.values(), "input", "dim", "parameters", "MACs", "epochs", "minutes", "trained on"]
    titles += ["commit", "seed", "scores by"]
    lines += ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    lines += ["| " + " | ".join(_cells(row)) + " |" for row in table.to_dict("records")]
    notes = [f"- {row['model']}: {note}" for row in table.to_dict("records") for note in row["notes"]]
    return "\n".join([*lines, *(["", *notes] if notes else []), ""])


def _cells(row: Mapping[Hashable, Any]) -> list[str]:
    cells = [row["model"] + (" + flip test" if row["flip test"] else "")]
    for title in _MEASURES.values():
        interval = (
            f" ({row[f'{title} low']:.1f} to {row[f'{title} high']:.1f})" if pd.notna(row[f"{title} low"]) else ""
        )
        cells.append(f"{row[title]:.2f}{interval}")
    minutes = f"{row['minutes']:.0f}" if pd.notna(row["minutes"]) else "–"
    seed = f"{row['seed']:.0f}" if pd.notna(row["seed"]) else "–"
    rest = [row["input"], row["dim"], f"{row['parameters']:,}", f"{row['MACs']:,}", row["epochs"] or "–", minutes]
    return [*cells, *map(str, rest), row["trained on"] or "–", row["commit"] or "–", seed, row["metric"]]
