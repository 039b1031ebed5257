"""A recipe's losses, summed, with the figures they report."""

from __future__ import annotations

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
        stats: after a call, `loss_<name>` of every term and what the terms report (active_share, d_ap, d_an, accuracy ...).
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
        self.stats: dict[str, Tensor] = {}

    @property
    def needs_triplets(self) -> bool:
        """Say whether a term wants batches of given triplets."""
        return any(term.feature == "triplets" for term in self.terms)

    def forward(self, output: Output, labels: Tensor) -> Tensor:
        """Give the scalar loss of a model's training output with labels [batch] in 0..class-1."""
        total = output.before.new_zeros(())
        self.stats = {}
        for term, loss in zip(self.terms, self.losses):
            value = self._term(term, loss, output, labels)
            total = total + term.weight * value
            self.stats[f"loss_{term.name}"] = value.detach()
            self.stats.update(loss.stats)  # type: ignore[arg-type]
        return total

    def _term(self, term: LossTerm, loss: nn.Module, output: Output, labels: Tensor) -> Tensor:
        if term.feature == "triplets":
            a, p, n = output.before.chunk(3)
            a_labels, _, n_labels = labels.chunk(3)
            return loss(a, p, n, a_labels, n_labels)
        if term.feature == "logits":
            if not output.logits:
                raise UserError(f"loss {term.name!r} wants logits, but the model has no classifier.")
            return torch.stack([loss(logits, labels) for logits in output.logits]).mean()
        if term.feature == "parts":
            if output.parts is None:
                raise UserError(f"loss {term.name!r} wants parts, but the model has none; set parts: true.")
            return torch.stack([loss(part, labels) for part in output.parts.unbind(1)]).mean()
        return loss(getattr(output, term.feature), labels)
