"""Cross-entropy over identities with label smoothing."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from reidlab.errors import UserError, nearest
from reidlab.losses.base import Loss
from reidlab.losses.measures import ACTIVE, mean_where, reported, share, total_variation
from reidlab.losses.pairs import within_classes

__all__ = ["CONVENTIONS", "CrossEntropyLoss"]

CONVENTIONS = ("all", "others")


class CrossEntropyLoss(Loss):
    """Cross-entropy of logits with softened targets q (Szegedy et al. 2016), the mean over rows.

    With K identities and eps = label_smoothing, q of the right one and of each other one are
    "all":    1 - eps + eps / K and eps / K: eps is spread over all identities (Bag of Tricks, torchreid, torch);
    "others": 1 - eps and eps / (K - 1): it is spread over the others (fast-reid).
    Rows with label -1 (nobody knows who it is) take no part; a batch of such rows alone gives 0.

    Args:
        label_smoothing: eps in [0, 1); 0.1 in the strong baselines.
        convention: "all" or "others".

    Attributes:
        stats: after a call, accuracy on the training identities (no retrieval figure) and active_share (rows in which
            softmax and q differ by more than 0.01 in total variation, half the summed difference).
    """

    def __init__(self, label_smoothing: float = 0.0, convention: str = "all") -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise UserError(f"cross_entropy label_smoothing={label_smoothing} must be in [0, 1).")
        if convention not in CONVENTIONS:
            hint = nearest(convention, CONVENTIONS)
            raise UserError(f"cross_entropy convention={convention!r} is unknown; choose all or others.{hint}")
        self.label_smoothing, self.convention = label_smoothing, convention

    def forward(self, features: Float[Tensor, "batch class"], labels: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
        """Return the scalar loss of logits [batch, class] with labels [batch] in 0..class-1, or -1.

        Raises:
            UserError: labels that do not fit, or "others" with an eps that makes the right identity the least
                likely.
        """
        eps, known = self._spread_over_all(features.shape[1]), labels >= 0
        goals = labels.clamp(min=-1)
        with within_classes(features.shape[1]):
            total = F.cross_entropy(features, goals, label_smoothing=eps, ignore_index=-1, reduction="sum")
        with torch.no_grad():
            self.stats = _stats(features, labels, known, eps)
        return total / known.sum().clamp(min=1)  # the built-in mean is NaN where all rows are left out

    def _spread_over_all(self, n_classes: int) -> float:
        """Return the eps of "all" that makes the same targets: eps / (K - 1) on the others is K / (K - 1) of it."""
        if self.convention == "all":
            return self.label_smoothing
        eps = self.label_smoothing * n_classes / max(n_classes - 1, 1)
        if eps > 1:
            raise UserError(
                f"cross_entropy label_smoothing={self.label_smoothing} leaves the right one of {n_classes} identities "
                f"less than each other one; with convention='others' it is at most {1 - 1 / n_classes:.3g}."
            )
        return eps


def _stats(logits: Tensor, labels: Tensor, known: Tensor, eps: float) -> dict[str, Tensor]:
    wanted = torch.full_like(logits, eps / logits.shape[1])
    wanted = wanted.scatter_add(1, labels.clamp(min=0)[:, None], torch.full_like(logits[:, :1], 1 - eps))
    return reported(
        accuracy=mean_where((logits.argmax(1) == labels).to(logits.dtype), known),
        active_share=share(total_variation(logits.softmax(1), wanted) > ACTIVE, known),
    )
