"""Hold what an evaluation found, in a form that can be read, saved and compared."""

from __future__ import annotations

import html
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float64

from reidlab.data.parquet import read_frame
from reidlab.documents import read_json
from reidlab.errors import UserError
from reidlab.retrieval.checks import check_choice, check_real, check_whole

__all__ = ["AP_FORMS", "RetrievalResult"]

AP_FORMS = ("plain", "trapezoid")
LONGEST = 64 * 2**20  # bytes of retrieval.json: a CMC curve of a million ranks has some 20 MB
_RANKS = (1, 5, 10)


@dataclass(frozen=True, eq=False, repr=False)
class RetrievalResult:
    """The scores of one evaluation; all of them are shares between 0 and 1.

    `cmc[k - 1]` is the share of valid queries whose first match is within rank k. `per_query` has a row a query,
    those without a valid match too (valid False); results of earlier versions lack its columns precision_1, _5 and
    _10. `intervals` maps rank1, rank5, rank10, mAP, mINP to (low, high).
    `n_same_image` counts the queries whose own image was in the gallery and was ignored there; None where it was not
    said which images are the same. `notes` say what else a reader has to know. `rerank` says how distances were
    re-ranked, "" for not at all; `precision` to what vectors were rounded, "full" for not at all.
    """

    mean_ap: float
    mean_inp: float
    cmc: Float64[np.ndarray, " rank"]
    per_query: pd.DataFrame
    metric: str
    ap: str
    rule: str
    n_gallery: int
    n_junk: int = 0
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    bootstrap: int = 0
    seed: int = 0
    n_same_image: int | None = None
    notes: tuple[str, ...] = ()
    rerank: str = ""
    precision: str = "full"

    def __post_init__(self) -> None:
        try:
            given = np.asarray(self.cmc)
            cmc = given.astype(np.float64) if given.dtype.kind in "fiub" else np.zeros(0)
        except (TypeError, ValueError, OverflowError):
            cmc = np.zeros(0)
        rises = cmc.ndim == 1 and len(cmc) and np.isfinite(cmc).all() and (np.diff(cmc) >= 0).all()
        if not rises or cmc[0] < 0 or cmc[-1] > 1:
            raise UserError("A CMC curve rises from rank 1 on and stays between 0 and 1; this one does not.")
        for name in ("mean_ap", "mean_inp"):
            check_real(name, getattr(self, name), 0, 1)
        check_choice("ap", self.ap, AP_FORMS)
        if not isinstance(self.per_query, pd.DataFrame) or not {"valid", "first_rank"} <= set(self.per_query.columns):
            raise UserError("per_query must be a frame with a row a query and the columns valid and first_rank.")
        if not self.per_query["valid"].any():
            raise UserError("per_query has no valid query.")
        cmc.setflags(write=False)
        object.__setattr__(self, "cmc", cmc)

    @property
    def camera_rule(self) -> bool:
        """Return whether images of the query's identity and camera were ignored."""
        return self.rule != "no_camera"

    @property
    def n_query(self) -> int:
        """Count all queries."""
        return len(self.per_query)

    @property
    def n_valid(self) -> int:
        """Count the queries that are averaged."""
        return int(self.per_query["valid"].sum())

    @property
    def n_without_match(self) -> int:
        """Count the queries without a valid match; they are in no average."""
        return self.n_query - self.n_valid

    def rank(self, k: int) -> float:
        """Return CMC(k): the share of valid queries with a match among the first `k` (any k from 1)."""
        k = check_whole("rank k", k, 1, 2**62)
        first = self.per_query.loc[self.per_query["valid"], "first_rank"]
        return float((first <= k).mean())

    @property
    def rank1(self) -> float:
        """Return CMC(1)."""
        return self.rank(1)

    @property
    def rank5(self) -> float:
        """Return CMC(5)."""
        return self.rank(5)

    @property
    def rank10(self) -> float:
        """Return CMC(10)."""
        return self.rank(10)

    def scores(self) -> dict[str, float]:
        """Return the five numbers that papers print: rank1, rank5, rank10, mAP, mINP."""
        return {f"rank{k}": self.rank(k) for k in _RANKS} | {"mAP": self.mean_ap, "mINP": self.mean_inp}

    def to_frame(self) -> pd.DataFrame:
        """Return a row a measure: measure, value, low, high (NaN without bootstrap)."""
        missing = (float("nan"), float("nan"))
        rows = [(name, value, *self.intervals.get(name, missing)) for name, value in self.scores().items()]
        return pd.DataFrame(rows, columns=["measure", "value", "low", "high"])

    def conditions(self) -> dict[str, Any]:
        """Return how the numbers came about, without the numbers."""
        return {
            "metric": self.metric,
            "ap": self.ap,
            "rule": self.rule,
            "camera_rule": self.camera_rule,
            "n_query": self.n_query,
            "n_valid": self.n_valid,
            "n_without_match": self.n_without_match,
            "n_gallery": self.n_gallery,
            "n_junk": self.n_junk,
            "n_same_image": self.n_same_image,
            "bootstrap": self.bootstrap,
            "seed": self.seed,
            **({"rerank": self.rerank} if self.rerank else {}),
            **({"precision": self.precision} if self.precision != "full" else {}),
        }

    def sentence(self) -> str:
        """Return a sentence on the protocol under which the numbers hold."""
        camera = {
            "official": "same identity and camera ignored",
            "no_camera": "no camera rule: every gallery image counts",
            "drop_same_camera": "the query's whole camera left out",
        }.get(self.rule, self.rule)
        itself = f"; {self.n_same_image:,} queries are in the gallery themselves: ignored" if self.n_same_image else ""
        notes = "".join(f"; {note}" for note in self.notes)
        reranked = f" in {self.precision}" if self.precision != "full" else ""
        reranked += f", re-ranked by {self.rerank}" if self.rerank else ""
        return (
            f"{self.metric} distance{reranked}, {self.ap} AP, {camera}; {self.n_valid:,} of {self.n_query:,} queries "
            f"valid, {self.n_without_match:,} without a match; {self.n_gallery:,} gallery images, "
            f"{self.n_junk:,} junk left out{itself}{notes}"
        )

    def save(self, folder: str | Path) -> Path:
        """Write retrieval.json and per_query.parquet into `folder` (made if need be) and give the folder."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        scores = {"mean_ap": self.mean_ap, "mean_inp": self.mean_inp, "cmc": self.cmc.tolist()}
        content = {
            "scores": self.scores(),
            **scores,
            **self.conditions(),
            "notes": self.notes,
            "intervals": self.intervals,
        }
        (folder / "retrieval.json").write_text(json.dumps(content, indent=2), encoding="utf-8")
        self.per_query.to_parquet(folder / "per_query.parquet", index=False)
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> RetrievalResult:
        """Read what `save` wrote.

        Raises:
            UserError: a file is not there, or is damaged.
        """
        folder = Path(folder)
        for name in ("retrieval.json", "per_query.parquet"):
            if not (folder / name).is_file():
                raise UserError(f"{folder} has no {name}: it is not a saved retrieval result.")
        content = read_json(folder / "retrieval.json", f"{folder / 'retrieval.json'}", limit=LONGEST)
        names = ("mean_ap", "mean_inp", "metric", "ap", "rule", "n_gallery", "n_junk", "bootstrap", "seed")
        try:
            return cls(
                cmc=content["cmc"],
                per_query=read_frame(folder / "per_query.parquet"),
                intervals={name: (float(low), float(high)) for name, (low, high) in content["intervals"].items()},
                n_same_image=content.get("n_same_image"),  # results of earlier versions have none of these
                rerank=str(content.get("rerank", "")),
                precision=str(content.get("precision", "full")),
                notes=tuple(content.get("notes", ())),
                **{name: content[name] for name in names},
            )
        except (LookupError, TypeError, ValueError, AttributeError, OSError) as error:
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(
                f"{folder} holds no readable retrieval result ({first}). Make it with notebook 04."
            ) from None

    def __repr__(self) -> str:
        numbers = ", ".join(f"{name} {value:.2%}" for name, value in self.scores().items())
        return f"RetrievalResult({numbers}; {self.sentence()})"

    def _repr_html_(self) -> str:
        rows = []
        for name, value, low, high in self.to_frame().itertuples(index=False):
            span = "" if np.isnan(low) else f"{low:.2%} to {high:.2%}"
            rows.append(f"<tr><td>{html.escape(name)}</td><td>{value:.2%}</td><td>{span}</td></tr>")
        head = "<tr><th>measure</th><th>value</th><th>95 % interval</th></tr>"
        return f"<table>{head}{''.join(rows)}</table><p>{html.escape(self.sentence())}</p>"
