"""What notebook 04 finds behind a score, computed and kept beside it as pictures and tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reidlab import plots
from reidlab.errors import UserError
from reidlab.failures import explained
from reidlab.params import Retrieval
from reidlab.paths import reports_root
from reidlab.retrieval.calibrated import Calibration
from reidlab.retrieval.causes import FailureCauses
from reidlab.retrieval.comparison import compare_results
from reidlab.retrieval.metrics import evaluate
from reidlab.retrieval.outcome import RetrievalResult
from reidlab.retrieval.top import rank_gallery
from reidlab.retrieval.top_k import top_k_table
from reidlab.retrieval.vectors import Embeddings
from reidlab.stages.calibration import USED, NoCalibration, calibration_stage
from reidlab.stages.data_run import DataRun
from reidlab.stages.models import ModelSource
from reidlab.stages.notebooks import queries_for
from reidlab.store.runs import Run

__all__ = ["Analysis", "calibrate_for", "calibrations_for", "causes_of", "compare_rerankings", "top_k_for"]

METHODS = ("alpha_qe", "dba", "k_reciprocal")
VISUALIZATIONS = "visualizations"
MOST_PICTURES = 24  # of single queries that are kept
_MOST = 1_000_000_000  # pairs of images up to which all methods are tried; above, k_reciprocal takes minutes

Drawn = TypeVar("Drawn", Figure, Axes)


class Analysis:
    """Pictures and tables of one evaluation, each kept at once in the folder `analysis` of its run.

    Args:
        run: of stage evaluation.
    """

    def __init__(self, run: Run) -> None:
        self.folder = run.path / "analysis"
        self.names: list[str] = []
        self.pictures = 0

    def figure(self, name: str, drawn: Drawn) -> Drawn:
        """Keep a figure as NAME.png and return it."""
        plots.save_figure(drawn, self._place(f"{name}.png"))
        return drawn

    def table(self, name: str, frame: pd.DataFrame) -> pd.DataFrame:
        """Keep a table as NAME.csv and return it."""
        frame.to_csv(self._place(f"{name}.csv"), index=False)
        return frame

    def text(self, name: str, lines: Sequence[str]) -> str:
        """Keep lines as NAME.txt and return them as one text."""
        text = "\n".join(lines)
        self._place(f"{name}.txt").write_text(f"{text}\n", encoding="utf-8")
        return text

    def scores(self, result: RetrievalResult) -> None:
        """Keep all scores of a result, its CMC curve and a row per query as tables, and a summary in words."""
        self.table("comprehensive_metrics", result.to_frame())
        self.table("cmc_curve_data", pd.DataFrame({"rank": np.arange(1, len(result.cmc) + 1), "cmc": result.cmc}))
        self.table("per_query", result.per_query)
        scores = [f"{name}: {value:.2%}" for name, value in result.scores().items()]
        self.text("analysis_summary", [*scores, result.sentence()])

    def queries(self, embeddings: Embeddings, result: RetrievalResult, p: Retrieval) -> list[str]:
        """Keep a picture of each query that the notebook shows, with its nearest gallery images; return the files.

        They are visualizations/query_ROW.png, ROW as in per_query.csv, at most `MOST_PICTURES`; those of an earlier
        analysis go.
        """
        why: dict[int, list[str]] = {}
        for choose in ("worst", "random", "best"):
            for row in queries_for(result, p, choose):
                why.setdefault(row, []).append(choose)
        rows = list(why)[:MOST_PICTURES]
        query, gallery = embeddings.split("query"), embeddings.split("gallery")
        listing = rank_gallery(query, gallery, queries=rows, k=10, metric=p.metric, rerank=p.rerank)
        folder = self._place(VISUALIZATIONS, listed=False)
        for old in folder.glob("query_*.png"):
            old.unlink()
        files = []
        for row in rows:
            title = f"query {row} ({', '.join(why[row])}) and its nearest gallery images"
            part = listing[listing["query"] == row]
            drawn = plots.ranking_figure(part, query.table, gallery.table, result=result, title=title)
            files.append(plots.save_figure(drawn, folder / f"query_{row:05}.png").name)
        self.pictures = len(files)
        return files

    def told(self) -> str:
        """Return a sentence on what is kept, and where below the folder of reports."""
        place = self.folder.relative_to(reports_root()) if self.folder.is_relative_to(reports_root()) else self.folder
        pictures = f"; in {VISUALIZATIONS} {self.pictures} queries, a picture each" if self.pictures else ""
        return f"Kept in reports/{place.as_posix()}: {', '.join(self.names)}{pictures}."

    def _place(self, file: str, *, listed: bool = True) -> Path:
        try:
            self.folder.mkdir(exist_ok=True)
        except OSError as error:
            raise UserError(f"{self.folder} cannot be made: {explained(error)}") from error
        if listed:
            self.names = [*(name for name in self.names if name != file), file]
        return self.folder / file


def calibrate_for(data: DataRun, source: ModelSource, p: Retrieval) -> Calibration | str:
    """Fit (or find) what the model's cosines mean on the validation identities; or say why that cannot be done."""
    found = calibrations_for(data, source, p, methods=(USED,))
    return found if isinstance(found, str) else next(iter(found.values()))


def calibrations_for(
    data: DataRun, source: ModelSource, p: Retrieval, *, methods: Sequence[str] = (USED, "isotonic")
) -> dict[str, Calibration] | str:
    """Do the work of `calibrate_for` by several methods.

    Returns:
        Calibrations by method; that of `reidlab search` is marked.
    """
    try:
        return {
            f"{method} (search uses it)" if method == USED else method: calibration_stage(
                data, source, method=method, seed=p.seed, device=p.device
            )[1]
            for method in methods
        }
    except NoCalibration as error:
        return str(error)


def top_k_for(query: Embeddings, gallery: Embeddings, p: Retrieval) -> pd.DataFrame:
    """Return CMC, precision and recall of the first 1, 3, 5 and 10 images in per cent, each with its 95 % interval."""
    found = top_k_table(query, gallery, metric=p.metric, bootstrap=1000, seed=p.seed)
    shown = pd.DataFrame({"first k": found["k"]})
    for name, title in (("cmc", "CMC"), ("precision", "precision"), ("recall", "recall")):
        shown[f"{title} (%)"] = (100 * found[name]).round(1)
        ends = zip(100 * found[f"{name}_low"], 100 * found[f"{name}_high"])
        shown[f"95 % of {title}"] = [f"{low:.1f} to {high:.1f}" for low, high in ends]
    return shown


def causes_of(causes: FailureCauses) -> pd.DataFrame:
    """Return the summary of `failure_causes` in words and per cent."""
    found = causes.summary
    shares = {name: (100 * found[name]).round(1) for name in ("share_failed", "share_all")}
    return pd.DataFrame(
        {
            "cause": found["cause"].str.replace("_", " "),
            "failures that have it": found["failed"],
            "of failures (%)": shares["share_failed"],
            "of all queries (%)": shares["share_all"],
            "first cause of": found["named"],
            "limit": found["what"],
        }
    )


def compare_rerankings(
    query: Embeddings, gallery: Embeddings, p: Retrieval, *, methods: Sequence[str] = METHODS
) -> pd.DataFrame:
    """Score several re-rankings of the same embeddings against none.

    Returns:
        A frame with a row per method, the first without one: method, rank1, mAP, mINP (in per cent), and of mAP the
        difference from the first (points), its 95 % interval and whether chance over the people queried may explain it.
    """
    images = len(query) + len(gallery)
    methods = [method for method in methods if images * len(gallery) <= _MOST]
    plain = evaluate(query, gallery, metric=p.metric, ap=p.ap)
    rows = [_row("none", plain)]
    for method in methods:
        found = evaluate(query, gallery, metric=p.metric, ap=p.ap, rerank=method)
        told = compare_results(plain, found, seed=p.seed, names=("none", method)).frame
        (of_map,) = told[told["measure"] == "mAP"].to_dict("records")
        span = f"{100 * of_map['low']:+.1f} to {100 * of_map['high']:+.1f}"
        more = {
            "difference": round(100 * of_map["difference"], 1),
            "95 % interval": span,
            "chance": "yes" if of_map["noise"] else "no",
        }
        rows.append(_row(method, found) | more)
    return pd.DataFrame(rows)


def _row(method: str, result: RetrievalResult) -> dict[str, object]:
    scores = {"rank1 (%)": result.cmc[0], "mAP (%)": result.mean_ap, "mINP (%)": result.mean_inp}
    return {"re-ranking": method} | {name: round(100 * float(value), 1) for name, value in scores.items()}
