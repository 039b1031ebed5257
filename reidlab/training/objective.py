"""A recipe's losses, summed, with the figures they report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from reidlab import losses
from reidlab.errors import UserError, nearest
from reidlab.models import Output
from reidlab.training.balancing import build_balance
from reidlab.training.distill import Lesson
from reidlab.training.group import ALONE, Group
from reidlab.training.recipes import LossTerm

__all__ = ["Objective", "check_features"]

# what a loss takes first -> the feature of its term, and where models of one kind have it
_OF_A_KIND = {
    "reconstruction": ("reconstruction", "reconstruction"),
    "means": ("distribution", "mean"),
    "pair logits": ("pairs", "pairs"),
    "gates": ("gates", "gates"),
}
_PLACES = dict(_OF_A_KIND.values())


class Objective(nn.Module):
    """Put the terms of a recipe together on one batch: their weighted sum, or as its balance says.

    Args:
        terms: of the recipe, their options complete.
        balance: its name and options; None: fixed.
        group: the processes that train.

    Attributes:
        stats: after a call, `loss_<name>` of every term (`loss_<name>_<feature>` where two terms share a name) and what
            the terms report (active_share, d_ap, d_an, accuracy ...): means over classifiers or parts. Where several
            report the same figure, that of the first ranking loss, or else of the first term.
    """

    def __init__(
        self, terms: tuple[LossTerm, ...], balance: Mapping[str, Any] | None = None, group: Group = ALONE
    ) -> None:
        super().__init__()
        self.terms, self.group = terms, group
        self.losses = nn.ModuleList(losses.build(term.name, **term.options) for term in terms)
        check_features(terms)
        self.labels = _labels(terms)
        given = dict(balance or {"name": "fixed"})
        self.balance = build_balance(str(given.pop("name", "")), len(terms), **given)
        self.stats: dict[str, Tensor] = {}

    @property
    def projectors(self) -> list[tuple[str, list[nn.Parameter]]]:
        """Return what losses learn that belongs to the model's optimiser (feature_kd's layers), with their names."""
        with_model = [(label, loss) for label, loss in zip(self.labels, self.losses) if _trained_with_model(loss)]
        return [(label, list(loss.parameters())) for label, loss in with_model]

    @property
    def own_parameters(self) -> list[tuple[str, list[nn.Parameter]]]:
        """Return what other losses learn (centres), with their names: an optimiser of losses moves it."""
        others = [(label, loss) for label, loss in zip(self.labels, self.losses) if not _trained_with_model(loss)]
        found = [(label, [p for p in loss.parameters() if p.requires_grad]) for label, loss in others]
        return [(label, parameters) for label, parameters in found if parameters]

    @property
    def needs_triplets(self) -> bool:
        """Return whether a term needs batches of given triplets."""
        return any(term.feature == "triplets" for term in self.terms)

    def forward(
        self, output: Output, labels: Tensor, lesson: Lesson | None = None, own: Output | None = None
    ) -> Tensor:
        """Return the scalar loss of a model's training output with labels [batch] in 0..class-1.

        Args:
            output: of the model that learns.
            labels: of the batch.
            lesson: what its teachers say of the batch, for losses that learn from it.
            own: what `output` has of this process's slice, as the model gave it, where several train.
        """
        values: list[Tensor] = []
        self.stats = {}
        later: dict[str, Tensor] = {}
        for label, term, loss in zip(self.labels, self.terms, self.losses):
            value, reported = _term(term, loss, output, labels, lesson)
            values.append(value)
            self.stats[label] = value.detach()
            for name, figure in reported.items():
                (later if term.feature == "logits" or term.learns_from_teacher else self.stats).setdefault(name, figure)
        weights = [term.weight for term in self.terms]
        slice_of_it = None if own is None else _shared(own)
        total, figures = self.balance(values, weights, _shared(output), self.labels, slice_of_it, self.group)
        self.stats = {**later, **self.stats, **figures}  # active_share is that of triplets wherever there are some
        return total


def _shared(output: Output) -> Tensor:
    return output.before if output.siamese is None else output.siamese.features


def _trained_with_model(loss: nn.Module) -> bool:
    return bool(getattr(loss, "trained_with_model", False))


def check_features(terms: tuple[LossTerm, ...]) -> None:
    """Refuse terms whose loss cannot see their feature.

    Raises:
        UserError: naming the loss, or a loss that does not exist.
    """
    for term in terms:
        _check_feature(term)


def _check_feature(term: LossTerm) -> None:
    """Refuse a term whose loss cannot see its feature, or a branch of what has none."""
    takes = losses.takes_of(term.name)
    if (term.name == "ehtm") != (term.feature == "triplets"):
        raise UserError(f"loss {term.name!r} cannot see feature {term.feature!r}: ehtm needs given triplets.")
    wanted = _OF_A_KIND.get(takes[0], ("",))[0]
    if (wanted or term.feature in _PLACES) and wanted != term.feature:
        raise UserError(
            f"loss {term.name!r} cannot see feature {term.feature!r}: reconstruction goes with reconstruction, vae_kl "
            "with distribution, pair_bce with pairs, load_balance with gates."
        )
    if not wanted and takes[0].endswith("logits") != (term.feature == "logits"):
        raise UserError(
            f"loss {term.name!r} cannot see feature {term.feature!r}: cross_entropy and other losses on logits (kl, "
            "js, kd) go with logits, ranking losses, relational_kd and feature_kd with before, after or parts."
        )
    if takes[0] == "maps" and not term.branch:
        raise UserError(
            f"loss {term.name!r} sees maps: name a branch of the model that gives some, such as FPB's cross."
        )
    if term.branch and term.feature not in ("before", "after", "logits"):
        raise UserError(f"loss {term.name!r}: branches have before, after and logits, not {term.feature}.")


def _labels(terms: tuple[LossTerm, ...]) -> list[str]:
    """Name the terms' columns; every name once."""
    names = Counter(term.name for term in terms)
    labels = [f"loss_{t.name}" if names[t.name] == 1 else f"loss_{t.name}_{t.feature}" for t in terms]
    return [label if labels.count(label) == 1 else f"{label}_{i + 1}" for i, label in enumerate(labels)]


def _seen(term: LossTerm, output: Output) -> tuple[Tensor, ...]:
    """Return the features that a term is applied to, one after another."""
    if term.branch:
        return tuple(_of_branch(term, name, output) for name in term.branch)
    if term.feature == "logits":
        if not output.logits:
            raise UserError(f"loss {term.name!r} needs logits, but the model has no classifier.")
        return output.logits
    if term.feature == "parts":
        if output.parts is None:
            raise UserError(f"loss {term.name!r} needs parts, but the model has none; set parts: true.")
        return output.parts.unbind(1)
    if term.feature in _PLACES:
        return (_of_a_kind(term, _PLACES[term.feature], output),)
    return (getattr(output, term.feature),)


def _of_a_kind(term: LossTerm, place: str, output: Output) -> Tensor:
    """Return what only Siamese autoencoders or mixtures of experts have."""
    found = output.gates if place == "gates" else getattr(output.siamese, place, None)
    if found is None:
        remedy = "siamese_autoencoder with a decoder, autoencoder vae or a pair head"
        raise UserError(
            f"loss {term.name!r} needs {place.replace('_', ' ')}, and the model gives none: take model "
            f"{'experts' if place == 'gates' else remedy}."
        )
    return found


def _of_branch(term: LossTerm, name: str, output: Output) -> Tensor:
    branches = output.branches or {}
    if name not in branches:
        known = ", ".join(branches) or "none"
        raise UserError(
            f"loss {term.name!r}: the model has no branch {name!r}; it has {known}.{nearest(name, branches)}"
        )
    feature = getattr(branches[name], term.feature, None)
    if feature is None:
        raise UserError(f"loss {term.name!r}: branch {name!r} has no {term.feature}.")
    return feature


def _beside(term: LossTerm, output: Output, labels: Tensor, lesson: Lesson | None) -> list[Tensor]:
    """Return what a loss takes beside the feature: labels, what a teacher says, or what else the model does."""
    if term.feature in ("reconstruction", "distribution"):
        return [_of_a_kind(term, "pixels" if term.feature == "reconstruction" else "log_variance", output)]
    if not term.learns_from_teacher:
        return [labels]
    features, logits = lesson if lesson is not None else (None, None)
    said = {"labels": labels, "teacher features": features, "teacher logits": logits}
    beside = []
    for name in losses.takes_of(term.name)[1:]:
        tensor = said[name]
        if tensor is None:
            raise UserError(f"loss {term.name!r} takes {name}, and no teacher gave any.")
        beside.append(tensor)
    return beside


def _term(
    term: LossTerm, loss: nn.Module, output: Output, labels: Tensor, lesson: Lesson | None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the value of one term and what it reports."""
    if term.feature == "triplets":
        a, p, n = output.before.chunk(3)
        a_labels, _, n_labels = labels.chunk(3)
        return loss(a, p, n, a_labels, n_labels), dict(loss.stats)  # type: ignore[arg-type]
    beside = _beside(term, output, labels, lesson)
    values, reports = [], []
    for feature in _seen(term, output):
        values.append(loss(feature, *beside))
        reports.append(dict(loss.stats))  # type: ignore[arg-type]
    if len(values) == 1:
        return values[0], reports[0]
    return torch.stack(values).mean(), {
        name: torch.stack([report[name].float() for report in reports]).mean() for name in reports[0]
    }
