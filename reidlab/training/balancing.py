"""How the terms of a loss are put together: by fixed weights, or by what the training finds as it goes.

A balance is called with the terms' values, their weights in the recipe, and the features that all terms share; it
returns the total and what it reports. Gradients that it compares are those with respect to the shared features (as in
Sener and Koltun 2018, "Multi-Task Learning as Multi-Objective Optimization"), which costs a pass through the heads for
each term and none through the backbone.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from reidlab.errors import UserError
from reidlab.registry import BALANCES
from reidlab.training.group import ALONE, Group

__all__ = ["Balance", "FixedWeights", "GradNorm", "PCGrad", "UncertaintyWeights", "build_balance"]

Figures = dict[str, Tensor]
_TINY = 1e-12


def build_balance(name: str, terms: int, **options: Any) -> Balance:
    """Return a balance of so many terms by its registered name.

    Raises:
        UserError: unknown name or option, or a value that it refuses.
    """
    made: Balance = BALANCES.build(name, terms, options=options)
    return made


class Balance(nn.Module):
    """What all share.

    Args:
        terms: of the loss.
        cosines: report the cosine of each two terms' gradients, `cosine_<one>_<two>` in the history: below 0 they
            pull against each other.

    Attributes:
        lr: rate of what it learns by gradient descent; not scheduled.
    """

    lr = 0.025

    def __init__(self, terms: int, cosines: bool = False) -> None:
        super().__init__()
        if terms < 1:
            raise UserError(f"terms={terms} of a balance must be 1 or more.")
        self.terms, self.cosines = terms, cosines

    def forward(
        self,
        values: Sequence[Tensor],
        weights: Sequence[float],
        shared: Tensor,
        labels: Sequence[str],
        own: Tensor | None = None,
        group: Group = ALONE,
    ) -> tuple[Tensor, Figures]:
        """Return the total and what is reported of it.

        Args:
            values: of the terms, scalars.
            weights: of the recipe.
            shared: features that the terms share, with a graph [batch, dim].
            labels: of the terms, as in the history.
            own: this process's slice of them, as the model gave it, where several train.
            group: the processes that train.
        """
        weighted = [weight * value for weight, value in zip(weights, values)]
        gradients = None
        if self._looks_at_gradients and shared.requires_grad:
            gradients = group.whole_gradients(_gradients(weighted, shared if own is None else own), len(shared))
        total, figures = self._total(weighted, gradients, shared, labels)
        if gradients is not None and self.cosines:
            figures |= _cosines(gradients, labels)
        return total, figures

    @property
    def _looks_at_gradients(self) -> bool:
        return self.cosines

    def _total(
        self, values: list[Tensor], gradients: Tensor | None, shared: Tensor, labels: Sequence[str]
    ) -> tuple[Tensor, Figures]:
        raise NotImplementedError


class FixedWeights(Balance):
    """The recipe's weights as they are."""

    def _total(
        self, values: list[Tensor], gradients: Tensor | None, shared: Tensor, labels: Sequence[str]
    ) -> tuple[Tensor, Figures]:
        return torch.stack(values).sum(), {}


class UncertaintyWeights(Balance):
    """Each term has a variance that is learned: sum of exp(-s) L + s (Kendall, Gal and Cipolla 2018).

    The weights of the recipe stand before the values. Reported: `weight_<term>`, which is exp(-s).

    Args:
        terms: of the loss.
        cosines: report the cosine of each two terms' gradients.
        lr: rate of the logarithms of the variances.
    """

    def __init__(self, terms: int, cosines: bool = False, lr: float = 0.025) -> None:
        super().__init__(terms, cosines)
        if not 0 < lr <= 10:
            raise UserError(f"balance uncertainty: lr={lr} is outside (0, 10].")
        self.lr = lr
        self.log_variances = nn.Parameter(torch.zeros(terms))

    def _total(
        self, values: list[Tensor], gradients: Tensor | None, shared: Tensor, labels: Sequence[str]
    ) -> tuple[Tensor, Figures]:
        factors = (-self.log_variances).exp()
        total = (factors * torch.stack(values)).sum() + self.log_variances.sum()
        return total, _named("weight", labels, factors)


class GradNorm(Balance):
    """Weights under which all terms learn at one pace (Chen et al. 2018).

    A term's gradient on the shared features is to be as long as the terms' mean, times (its loss against its first one,
    relative to the other terms) ** alpha. The paper takes the gradient on the last shared layer.

    Args:
        terms: of the loss.
        cosines: report the cosine of each two terms' gradients.
        alpha: how hard terms that learn slowly are pushed; 0 makes all gradients equally long.
        lr: rate of the weights, whose mean stays 1.
    """

    first: Tensor
    weights: Tensor

    def __init__(self, terms: int, cosines: bool = False, alpha: float = 1.5, lr: float = 0.025) -> None:
        super().__init__(terms, cosines)
        if not 0 <= alpha <= 10 or not 0 < lr <= 10:
            raise UserError(f"balance gradnorm: alpha={alpha} must be in [0, 10] and lr={lr} in (0, 10].")
        self.alpha, self.lr = alpha, lr
        self.register_buffer("weights", torch.ones(terms))
        self.register_buffer("first", torch.zeros(terms))

    @property
    def _looks_at_gradients(self) -> bool:
        return True

    def _total(
        self, values: list[Tensor], gradients: Tensor | None, shared: Tensor, labels: Sequence[str]
    ) -> tuple[Tensor, Figures]:
        stacked = torch.stack(values)
        total = (self.weights.detach().clone() * stacked).sum()
        if gradients is not None:
            self._move(stacked.detach(), gradients.flatten(1).norm(dim=1))
        return total, _named("weight", labels, self.weights)

    @torch.no_grad()
    def _move(self, values: Tensor, lengths: Tensor) -> None:
        """Take a step of descent on sum |w g - target|, the target held fixed."""
        values = values.to(self.first.dtype)
        self.first.copy_(torch.where(self.first == 0, values, self.first))
        pace = values / self.first.clamp(min=_TINY)
        goal = (self.weights * lengths).mean() * (pace / pace.mean().clamp(min=_TINY)) ** self.alpha
        scale = lengths.mean().clamp(min=_TINY)  # so that a rate means the same for losses of any size
        self.weights -= self.lr * torch.sign(self.weights * lengths - goal) * lengths / scale
        self.weights.clamp_(min=1e-3)
        self.weights *= self.terms / self.weights.sum()


class PCGrad(Balance):
    """A term's gradient loses what points against another's (Yu et al. 2020, "Gradient Surgery").

    The gradients on the shared features are projected, in the order of the terms; the paper projects those of all
    shared parameters, in random order. What only one term moves is moved as ever. Reported: `conflicts`, the share of
    pairs of terms whose gradients point against each other.
    """

    @property
    def _looks_at_gradients(self) -> bool:
        return True

    def _total(
        self, values: list[Tensor], gradients: Tensor | None, shared: Tensor, labels: Sequence[str]
    ) -> tuple[Tensor, Figures]:
        total = torch.stack(values).sum()
        if gradients is None:
            return total, {}
        flat = gradients.flatten(1)
        projected = project_conflicts(flat)
        # adds to the total 0 in value and, in gradient, the difference on the shared features
        change = (projected.sum(0) - flat.sum(0)).reshape(shared.shape).to(shared.dtype)
        total = total + (change * (shared - shared.detach())).sum()
        pairs = list(combinations(range(self.terms), 2))
        against = [(flat[i] @ flat[j] < 0).float() for i, j in pairs]
        return total, {"conflicts": torch.stack(against).mean()} if against else {}


def project_conflicts(gradients: Float[Tensor, "term dim"]) -> Float[Tensor, "term dim"]:
    """Return each gradient without its parts that point against another's, taken away one after another."""
    projected = []
    for i, own in enumerate(gradients):
        kept = own
        for j, other in enumerate(gradients):
            if i == j:
                continue
            along = kept @ other
            kept = kept - torch.where(along < 0, along / other.square().sum().clamp(min=_TINY), 0.0) * other
        projected.append(kept)
    return torch.stack(projected)


def _gradients(values: Sequence[Tensor], shared: Tensor) -> Float[Tensor, "term batch dim"]:
    """Return the gradient of each term on the shared features, float32; 0 for a term that does not depend on them."""
    found = []
    for value in values:
        (gradient,) = (
            torch.autograd.grad(value, shared, retain_graph=True, allow_unused=True) if value.requires_grad else (None,)
        )
        found.append(torch.zeros_like(shared) if gradient is None else gradient)
    return torch.stack(found).detach().float()


def _cosines(gradients: Tensor, labels: Sequence[str]) -> Figures:
    flat = gradients.flatten(1)
    return {
        f"cosine_{_short(labels[i])}_{_short(labels[j])}": F.cosine_similarity(flat[i], flat[j], dim=0, eps=_TINY)
        for i, j in combinations(range(len(labels)), 2)
    }


def _named(what: str, labels: Sequence[str], values: Tensor) -> Figures:
    return {f"{what}_{_short(label)}": value.detach().clone() for label, value in zip(labels, values)}


def _short(label: str) -> str:
    return label.removeprefix("loss_")
