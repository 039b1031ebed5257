"""A recipe's losses, summed, with the figures they report."""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor, nn

from reidlab import losses
from reidlab.errors import UserError
from reidlab.models import Output
from reidlab.training.recipes import LossTerm

__all__ = ["Objective"]


class Objective(nn.Module):
    """Sum the weighted terms of a recipe on one batch.

    Attributes:
        stats: after a call, `loss_<name>` of every term (`loss_<name>_<feature>` where two terms share a name) and what
            the terms report (active_share, d_ap, d_an, accuracy ...): means over classifiers or parts, and of the
            first term where several report the same figure.
    """

    def __init__(self, terms: tuple[LossTerm, ...]) -> None:
        super().__init__()
        self.terms = terms
        self.losses = nn.ModuleList(losses.build(term.name, **term.options) for term in terms)
        for term in terms:
            if (term.name == "ehtm") != (term.feature == "triplets"):
                raise UserError(
                    f"loss {term.name!r} cannot see feature {term.feature!r}: ehtm goes with triplets alone."
                )
        self.labels = _labels(terms)
        self.stats: dict[str, Tensor] = {}

    @property
    def needs_triplets(self) -> bool:
        """Say whether a term wants batches of given triplets."""
        return any(term.feature == "triplets" for term in self.terms)

    def forward(self, output: Output, labels: Tensor) -> Tensor:
        """Give the scalar loss of a model's training output with labels [batch] in 0..class-1."""
        total = output.before.new_zeros(())
        self.stats = {}
        for label, term, loss in zip(self.labels, self.terms, self.losses):
            value, reported = _term(term, loss, output, labels)
            total = total + term.weight * value
            self.stats[label] = value.detach()
            for name, figure in reported.items():
                self.stats.setdefault(name, figure)
        return total


def _labels(terms: tuple[LossTerm, ...]) -> list[str]:
    """Name the terms' columns; every name once."""
    names = Counter(term.name for term in terms)
    labels = [f"loss_{t.name}" if names[t.name] == 1 else f"loss_{t.name}_{t.feature}" for t in terms]
    return [label if labels.count(label) == 1 else f"{label}_{i + 1}" for i, label in enumerate(labels)]


def _seen(term: LossTerm, output: Output) -> tuple[Tensor, ...]:
    """Give the features that a term is applied to, one after another."""
    if term.feature == "logits":
        if not output.logits:
            raise UserError(f"loss {term.name!r} wants logits, but the model has no classifier.")
        return output.logits
    if term.feature == "parts":
        if output.parts is None:
            raise UserError(f"loss {term.name!r} wants parts, but the model has none; set parts: true.")
        return output.parts.unbind(1)
    return (getattr(output, term.feature),)


def _term(term: LossTerm, loss: nn.Module, output: Output, labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Give the value of one term and what it reports."""
    if term.feature == "triplets":
        a, p, n = output.before.chunk(3)
        a_labels, _, n_labels = labels.chunk(3)
        return loss(a, p, n, a_labels, n_labels), dict(loss.stats)  # type: ignore[arg-type]
    values, reports = [], []
    for feature in _seen(term, output):
        values.append(loss(feature, labels))
        reports.append(dict(loss.stats))  # type: ignore[arg-type]
    if len(values) == 1:
        return values[0], reports[0]
    return torch.stack(values).mean(), {
        name: torch.stack([report[name].float() for report in reports]).mean() for name in reports[0]
    }
