"""Official scores of a teacher and its students, and what teaching changed: reports/results/distillation.md.

    python benchmarks/distillation.py --teacher FILE_OR_RUN --student untaught=RUN --student relational=RUN ...

The first student is the one that the others are compared with, query by query. Test sets: the data set that the
students were trained on, and others where none was. Scores are kept evaluations; a second call computes nothing.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pandas as pd
from remarks import remarks_in

from reidlab.paths import reports_root
from reidlab.retrieval.comparison import compare_results
from reidlab.stages import DataRun, data_stage, evaluation_stage, model_from
from reidlab.store.origins import training_origins

PREAMBLE = """# Distillation

Written by `benchmarks/distillation.py` from the manifests of evaluation runs, but for the remarks at its end.
The students have the same network, data, losses of their own, epochs, seed and augmentation; the taught ones have one
term more. Single query, cosine, plain AP, no flip, no re-ranking; in brackets 95 % intervals by bootstrap over query
identities. *Against {first}* is the difference query by query; p is that of a permutation test over identities, not
corrected for the number of comparisons. It is chance over the people searched for; what another seed of the training
would change is not in it."""


def main() -> None:
    """Score, compare and write."""
    args = _arguments()
    data = [_data(name, args.val_share) for name in args.tests]
    rows, notes = [], []
    students = [each.partition("=")[::2] for each in args.student]
    for tested in data:
        label, first = str(tested.run.params["dataset"]), None
        for name, given in [("the teacher", args.teacher), *students]:
            source = model_from(given)
            run, result, _ = evaluation_stage(tested, source, progress=False)
            rows.append(_row(label, name, run.result["model"], result))
            notes += [f"{label}: {note}" for note in run.result["notes"] if note not in source.notes]
            notes += [f"{name}: {note}" for note in (*source.notes, *training_origins(run.result["model"]))]
            if name == "the teacher":
                continue
            if first is None:
                first = result
            else:
                rows[-1] |= _change(first, result)
            print(rows[-1], flush=True)
    if students:
        _write(args.output, pd.DataFrame(rows), list(dict.fromkeys(notes)), students[0][0])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", required=True, help="run, saved model or file, as notebook 04's `model`")
    parser.add_argument("--student", action="append", default=[], help="LABEL=RUN; the first is untaught")
    parser.add_argument("--tests", nargs="+", default=["market1501", "cuhk01"], help="data sets")
    parser.add_argument("--val-share", type=float, default=0.05, help="as in the students' trainings")
    parser.add_argument("--output", type=Path, default=reports_root() / "results" / "distillation.md")
    return parser.parse_args()


def _data(name: str, val_share: float) -> DataRun:
    return data_stage(name, val_share=val_share)


def _row(test: str, name: str, model: dict[str, Any], result: Any) -> dict[str, Any]:
    row: dict[str, Any] = {"test set": test, "model": name}
    for measure, title, value in (("rank1", "R1", result.rank1), ("mAP", "mAP", result.mean_ap)):
        low, high = result.intervals[measure]
        row |= {title: 100 * value, f"{title} low": 100 * low, f"{title} high": 100 * high}
    git = model.get("git") or {}
    row |= {"input": f"{model['height']}x{model['width']}", "parameters": model["parameters"], "MACs": model["macs"]}
    row |= {"epochs": model.get("epochs"), "seed": model.get("seed"), "minutes": model.get("minutes")}
    return row | {"commit": (git.get("commit") or "")[:7] + ("+" if git.get("dirty") else "")}


def _change(first: Any, result: Any) -> dict[str, Any]:
    found = compare_results(first, result).frame.set_index("measure")
    row: dict[str, Any] = {}
    for measure, title in (("rank1", "R1"), ("mAP", "mAP")):
        each: Any = found.loc[measure]
        row |= {f"{title} change": 100 * each["difference"], f"{title} change low": 100 * each["low"]}
        row |= {f"{title} change high": 100 * each["high"], f"{title} p": each["p"]}
    return row


def _write(path: Path, table: pd.DataFrame, notes: list[str], first: str) -> None:
    head = ["test set", "model", "R1", "mAP", f"R1 against {first}", f"mAP against {first}", "p (mAP)", "input"]
    head += ["parameters", "MACs", "epochs", "minutes", "seed", "commit"]
    lines = [PREAMBLE.format(first=first), "", f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    rows: Any = table.to_dict("records")
    for row in rows:
        taught = pd.notna(row.get("mAP change"))
        cells = [row["test set"], row["model"], _span(row, "R1"), _span(row, "mAP")]
        cells += [_span(row, "R1 change", "+") if taught else "–", _span(row, "mAP change", "+") if taught else "–"]
        cells += [f"{row['mAP p']:.2g}" if taught else "–", row["input"], f"{row['parameters']:,}", f"{row['MACs']:,}"]
        cells += [_plain(row["epochs"]), _plain(row["minutes"]), _plain(row["seed"]), row["commit"] or "–"]
        lines.append(f"| {' | '.join(cells)} |")
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "\n".join([*lines, "", *(f"- {note}" for note in notes)]) + "\n"
    path.write_text(text + remarks_in(path), encoding="utf-8")
    table.to_csv(path.with_suffix(".csv"), index=False, float_format="%.4f")
    print(f"written: {path}")


def _span(row: dict[str, Any], name: str, sign: str = "") -> str:
    value, low, high = (row[key] for key in (name, f"{name} low", f"{name} high"))
    return f"{value:{sign}.2f} ({low:{sign}.1f} to {high:{sign}.1f})"


def _plain(value: Any) -> str:
    return "–" if pd.isna(value) else f"{value:.0f}"


if __name__ == "__main__":
    main()
