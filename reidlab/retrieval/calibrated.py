"""What a calibration found: from a cosine to a probability, a false-accept rate, a threshold. A few kilobytes of JSON.

A cosine is no probability: one network gives 0.9 to nearly everybody, another 0.5 to images of one person.
"""

from __future__ import annotations

import html
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from reidlab.documents import as_mapping, read_json
from reidlab.errors import UserError, shown
from reidlab.paths import exists, expanded
from reidlab.retrieval.checks import as_numbers, check_choice, check_real, check_whole

__all__ = ["METHODS", "NEEDED", "Calibration"]

METHODS = ("logistic", "isotonic")
NEEDED = 3  # pairs per rate: of n pairs none was accepted, so the rate is below 3 / n in 95 of 100 cases
STEP = 1e-6  # similarities are kept to six digits, rounded up
RATES = (1e-4, 1e-3, 1e-2, 0.1)

Floats = npt.NDArray[np.float64]
Rows = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Calibration:
    """A calibration of cosines, as `fit_calibration` makes it.

    Attributes:
        method: "logistic" or "isotonic".
        knots: rows of similarity and log odds at equal shares of both kinds; straight lines between them.
        accepted: rows of a count c and the similarity that c pairs of different identities reach.
        passed: the similarities that 0 %, 1 %, ..., 100 % of the pairs of one identity stay below.
        spans: rows of a false-accept rate and the ends of its threshold's 95 % interval; none where nobody said who is
            in the pairs.
        reliability: rows of low, high, pairs, weight, probability and share (see `reliability_table`).
        ece: expected calibration error, at a prior of 0.5.
        n_same, n_different: pairs it was fitted on.
        n_identities: who are in them; 0 unknown.
        source: whose similarities they are, in words: model and data set.
        notes: what a reader has to know.
    """

    method: str
    knots: Rows
    accepted: Rows
    passed: tuple[float, ...]
    spans: Rows
    reliability: Rows
    ece: float
    n_same: int
    n_different: int
    n_identities: int = 0
    source: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_choice("method", self.method, METHODS)
        check_real("ece", self.ece, 0, 1)
        for name, least in (("n_same", 1), ("n_different", 1), ("n_identities", 0)):
            check_whole(name, getattr(self, name), least, 2**62)
        if not isinstance(self.source, str) or not all(isinstance(note, str) for note in self.notes):
            raise UserError("source and notes must be text")
        knots, counts = _table("knots", self.knots, 2), _table("accepted", self.accepted, 2)
        _table("spans", self.spans, 3)
        _table("reliability", self.reliability, 6)
        passed = np.asarray(self.passed, np.float64)
        rises = len(knots) > 1 and (np.diff(knots[:, 0]) > 0).all() and (np.diff(knots, axis=0) >= 0).all()
        falls = len(counts) and (np.diff(counts[:, 0]) > 0).all() and (np.diff(counts[:, 1]) <= 0).all()
        if not rises or not falls or len(passed) < 2 or not (np.diff(passed) >= 0).all():
            raise UserError("A calibration rises with the similarity; this one does not.")

    @property
    def lowest_rate(self) -> float:
        """Return the lowest false-accept rate that so many pairs can show, at most 0.5.

        It is 3 / n (the rule of three: where none of n pairs is accepted, the rate is below it in 95 of 100 cases).
        That takes pairs as independent, which those of one person are not: look at the threshold's interval too.
        """
        return min(0.5, NEEDED / self.n_different)

    def probability(self, similarity: npt.ArrayLike, *, prior: float = 0.5) -> Any:
        """Return the probability that a pair of this cosine shows one person.

        It assumes that a share `prior` of the pairs asked about does. 0.5 fits the question whether two given images
        show the same person; a pair from a search among a thousand people has a prior of about 0.001. The odds are
        those at 0.5 times prior / (1 - prior). At 0.5 no probability is nearer to 0 or 1 than so many pairs can show.

        Args:
            similarity: cosines, from -1 to 1; a number or any array.
            prior: above 0 and below 1.

        Raises:
            UserError: another prior, or numbers that are no cosines.
        """
        from scipy.special import expit

        prior = check_real("prior", prior, 0, 1, open_ends=True)
        cosines, knots = _cosines(similarity), np.asarray(self.knots)
        odds = np.interp(cosines, knots[:, 0], knots[:, 1]) + np.log(prior) - np.log1p(-prior)
        return _like(cosines, expit(odds))

    def false_accept_rate(self, similarity: npt.ArrayLike) -> Any:
        """Return the share of pairs of different people that are at least as similar.

        Of n pairs of different people k are: the rate is (k + 1) / (n + 1), as if the pair in question were one of them
        (a conformal p value: Vovk, Gammerman and Shafer 2005). It is never 0, and at most a twentieth too high. It is a
        rate per pair: a search among N people meets about N times as many.

        Args:
            similarity: cosines, a number or any array.

        Raises:
            UserError: numbers that are no cosines.
        """
        cosines, table = _cosines(similarity), np.asarray(self.accepted)
        below = np.searchsorted(table[::-1, 1], cosines, "left")  # those that are smaller
        counts = np.append(table[:, 0], self.n_different + 1)
        return _like(cosines, counts[len(table) - below] / (self.n_different + 1))

    def true_accept_rate(self, similarity: npt.ArrayLike) -> Any:
        """Return the share of pairs of one person (in two cameras) that are at least as similar, to about 0.01.

        Args:
            similarity: cosines, a number or any array.

        Raises:
            UserError: numbers that are no cosines.
        """
        cosines, passed = _cosines(similarity), np.asarray(self.passed)
        below = np.interp(cosines, passed, np.linspace(0, 1, len(passed)), left=0, right=1)
        return _like(cosines, np.where(cosines <= passed[0], 1.0, 1 - below))

    def threshold(self, far: float) -> tuple[float, tuple[float, float]]:
        """Return the similarity from which on at most a share `far` of pairs of different people is accepted.

        Args:
            far: the false-accept rate wanted, at most 0.5.

        Returns:
            The threshold, and its 95 % interval by resampling identities (NaN where nobody said who is in the pairs).

        Raises:
            UserError: another rate, or one that is lower than so many pairs can show.
        """
        far = check_real("far", far, 0, 0.5)
        if far < self.lowest_rate:
            needed = NEEDED / far if far else float("inf")
            count = f"{np.ceil(needed):.0f}" if needed < 1e15 else "endlessly many"
            raise UserError(
                f"far={far:g} is lower than {self.n_different:,} pairs of different people can show: at least "
                f"{count} are needed. The lowest rate here is "
                f"{self.lowest_rate:.2g}; fit the calibration on more validation identities, or ask for that."
            )
        table = np.asarray(self.accepted)
        at = int(np.searchsorted(table[:, 0], far * (self.n_different + 1), "right")) - 1
        value = min(1.0 + STEP, float(table[max(at, 0), 1]) + STEP)
        if not self.spans:
            return value, (float("nan"), float("nan"))
        rates, low, high = np.asarray(self.spans).T
        ends = [float(np.interp(np.log(far), np.log(rates), end)) for end in (low, high)]
        return value, (min(ends[0], value), max(ends[1], value))

    def to_frame(self, rates: tuple[float, ...] = RATES) -> pd.DataFrame:
        """Return a row per false-accept rate: far, threshold, low, high, accepted (share of pairs of one person).

        Rates that so few pairs cannot show have NaN.
        """
        rows = []
        for far in rates:
            value, (low, high) = self.threshold(far) if far >= self.lowest_rate else (np.nan, (np.nan, np.nan))
            rows.append((far, value, low, high, np.nan if np.isnan(value) else self.true_accept_rate(min(value, 1.0))))
        return pd.DataFrame(rows, columns=["far", "threshold", "low", "high", "accepted"])

    def reliability_table(self) -> pd.DataFrame:
        """Return the reliability table as a frame (see `reidlab.retrieval.reliability_table`)."""
        return pd.DataFrame(self.reliability, columns=["low", "high", "pairs", "weight", "probability", "share"])

    def sentence(self) -> str:
        """Return a sentence on where the calibration comes from and how good it is."""
        people = f" among {self.n_identities:,} identities" if self.n_identities else ""
        source = f" ({self.source})" if self.source else ""
        notes = "".join(f"; {note}" for note in self.notes)
        return (
            f"{self.method} calibration{source} on {self.n_same:,} pairs of one person and {self.n_different:,} of "
            f"different people{people}; expected calibration error {self.ece:.2%} at a prior of 0.5; false-accept "
            f"rates from {self.lowest_rate:.2g} up{notes}"
        )

    def save(self, path: str | Path) -> Path:
        """Write the calibration as JSON, some kilobytes; return the path."""
        target = expanded(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps({"calibration": 1, **asdict(self)}) + "\n", encoding="utf-8")
        return target

    @classmethod
    def load(cls, path: str | Path) -> Calibration:
        """Read what `save` wrote.

        Raises:
            UserError: there is no such file, or it is no calibration.
        """
        source = expanded(path)
        if not exists(source):
            raise UserError(f"There is no calibration at {source}. Make one with fit_calibration(...).save(...).")
        content = as_mapping(read_json(source, str(source)), str(source))
        try:
            if content.pop("calibration") != 1:
                raise UserError("it is of a later version of reidlab")
            known = {field.name: _frozen(content[field.name]) for field in fields(cls)}
            return cls(**known)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise UserError(
                f"{source} holds no readable calibration ({error}). Make it anew with fit_calibration."
            ) from None

    def __repr__(self) -> str:
        return f"Calibration({self.sentence()})"

    def _repr_html_(self) -> str:
        shown_rows = self.to_frame().to_html(index=False, float_format="{:.4g}".format, border=0)
        return f"{shown_rows}<p>{html.escape(self.sentence())}</p>"


def _cosines(given: npt.ArrayLike) -> Floats:
    values = as_numbers(given)
    if not (np.abs(values) <= 1.001).all():
        raise UserError(f"similarity must be cosines, from -1 to 1; got {shown(given)}.")
    return np.clip(values, -1, 1)


def _like(cosines: Floats, values: Floats) -> Any:
    """Return a number where a number was asked about, an array [..] where an array was."""
    return float(values) if cosines.ndim == 0 else values


def _table(name: str, rows: Rows, width: int) -> Floats:
    table = np.asarray(rows, np.float64).reshape(-1, width)
    if not np.isfinite(table).all():
        raise UserError(f"{name} has NaN or infinity")
    return table


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
