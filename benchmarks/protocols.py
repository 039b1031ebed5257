"""Score the features of a model under the rules that published code uses: reports/results/protocols.md.

    python benchmarks/protocols.py custom_cnn_v32:FILE [MODEL ...] [--dataset market1501]

A model is a run, a saved model or NAME:FILE, as notebook 04's `model`. Embeddings are kept; a second call makes none.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pandas as pd
from remarks import remarks_in

from reidlab.paths import reports_root
from reidlab.retrieval import protocol_audit
from reidlab.stages import data_stage, evaluation_stage, model_from

PREAMBLE = """# One set of features, several protocols

Written by `benchmarks/protocols.py` from the embeddings of {dataset}'s query and gallery. Nothing differs between the
rows of a model but the rule of scoring. The first row is the one to report; *used by* names a published system that is
scored so. R1 and R5 in %, mAP in % (plain AP), `–` where the rule defines none."""


def main() -> None:
    """Embed, score and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="runs, saved models or NAME:FILE")
    parser.add_argument("--dataset", default="market1501")
    parser.add_argument("--output", type=Path, default=reports_root() / "results" / "protocols.md")
    args = parser.parse_args()
    data, frames, parts = data_stage(args.dataset), [], [PREAMBLE.format(dataset=args.dataset)]
    for given in args.models:
        source = model_from(given)
        _, _, embeddings = evaluation_stage(data, source)
        audit = protocol_audit(embeddings.split("query"), embeddings.split("gallery"))
        frames.append(audit.assign(model=source.label))
        parts += [f"## {source.label}", _markdown(audit)]
        print(parts[-1], flush=True)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text("\n\n".join(parts) + "\n" + remarks_in(args.output), encoding="utf-8")
    pd.concat(frames).to_csv(args.output.with_suffix(".csv"), index=False, float_format="%.6f")
    print(f"written: {args.output}")


def _markdown(audit: pd.DataFrame) -> str:
    lines = ["| rule | R1 | R5 | mAP | mAP over the official | in words | used by |", "|" + "---|" * 7]
    rows: Any = audit.to_dict("records")
    for row in rows:
        values = [_percent(row[name]) for name in ("rank1", "rank5", "mAP")] + [_percent(row["mAP_excess"], "+")]
        lines.append(f"| {' | '.join([row['protocol'], *values, row['what'], row['used_by']])} |")
    return "\n".join(lines)


def _percent(value: float, sign: str = "") -> str:
    return "–" if pd.isna(value) else f"{100 * value:{sign}.2f}"


if __name__ == "__main__":
    main()
