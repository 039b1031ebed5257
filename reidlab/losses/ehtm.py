"""EHTM: the custom CNN's "enhanced hard triplet mining" loss (five terms on given triplets)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from reidlab.errors import UserError
from reidlab.losses.base import Loss
from reidlab.losses.distance import pairwise_euclidean
from reidlab.losses.measures import mean_where
from reidlab.losses.pairs import check_batch

__all__ = ["EHTMLoss"]


class EHTMLoss(Loss):
    """L = T1 + T2 + T3 + intra_weight * intra + inter_weight * inter, on E = stack(a, p, n), distances D.

    T1    mean max(0, |a - p|^2 - |a - n|^2 + margin), squared distances;
    T2    batch hard: mean over anchors of max(0, max D to its label - min D to another + margin);
    T3    semi-hard: over (anchor, positive) pairs with a negative in (D_p, D_p + margin), mean of
          D_p - nearest such + margin;
    intra over distinct anchor labels, mean D inside the class;
    inter over pairs of distinct anchor labels, max(0, margin - mean D between the classes).

    intra and inter are sums as published, so their weight grows with P and P(P-1)/2; reduction="mean" averages them.

    Args:
        margin: 0.8 as published, for L2-normalised embeddings.
        intra_weight, inter_weight: 0.1 each as published.
        reduction: "sum" or "mean" for the intra and inter terms.
        normalize: L2-normalise the embeddings first; the custom CNN gives normalised ones, most other models do not.

    Attributes:
        stats: after a call, the terms t1, t2, t3, intra, inter, the number of semi-hard pairs, active_share (of given
            triplets with T1 > 0), d_ap and d_an (mean distances of the given triplets).
    """

    def __init__(
        self,
        margin: float = 0.8,
        intra_weight: float = 0.1,
        inter_weight: float = 0.1,
        reduction: str = "sum",
        normalize: bool = False,
    ) -> None:
        super().__init__()
        if not margin > 0:
            raise UserError(f"ehtm margin={margin} must be above 0.")
        if reduction not in ("sum", "mean"):
            raise UserError(f"ehtm reduction={reduction!r} is unknown; choose sum or mean.")
        self.margin, self.intra_weight, self.inter_weight = margin, intra_weight, inter_weight
        self.reduction, self.normalize = reduction, normalize

    def forward(
        self,
        a: Float[Tensor, "triplet dim"],
        p: Float[Tensor, "triplet dim"],
        n: Float[Tensor, "triplet dim"],
        a_labels: Int[Tensor, " triplet"],
        n_labels: Int[Tensor, " triplet"],
    ) -> Float[Tensor, ""]:
        """Return the scalar loss.

        Args:
            a, p, n: embeddings [triplet, dim] of anchors, positives and negatives.
            a_labels, n_labels: identities [triplet]; positives have the anchors'.

        Raises:
            UserError: shapes that do not fit.
        """
        check_batch(a, a_labels)
        if not a.shape == p.shape == n.shape or a_labels.shape != n_labels.shape:
            shapes = ", ".join(str(list(each.shape)) for each in (a, p, n, a_labels, n_labels))
            raise UserError(
                f"ehtm takes anchors, positives and negatives of one shape, and labels of each; got {shapes}."
            )
        if self.normalize:
            a, p, n = (F.normalize(embeddings, dim=1) for embeddings in (a, p, n))
        features = torch.cat([a, p, n])
        labels = torch.cat([a_labels, a_labels, n_labels])
        distances = pairwise_euclidean(features, features, floor=1e-8)
        same = labels[:, None] == labels[None]
        itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
        given = (a - p).square().sum(1) - (a - n).square().sum(1) + self.margin
        t1 = given.clamp(min=0).mean()
        anchors = distances[: len(a)], same[: len(a)], itself[: len(a)]
        t2 = self._batch_hard(*anchors)
        t3, n_semi_hard = self._semi_hard(*anchors)
        intra, inter = self._classes(distances, labels, a_labels)
        with torch.no_grad():
            self.stats = {
                "t1": t1.detach(),
                "t2": t2.detach(),
                "t3": t3.detach(),
                "intra": intra.detach(),
                "inter": inter.detach(),
                "semi_hard_pairs": n_semi_hard,
                "active_share": (given > 0).float().mean(),
                "d_ap": (a - p).norm(dim=1).mean(),
                "d_an": (a - n).norm(dim=1).mean(),
            }
        return t1 + t2 + t3 + self.intra_weight * intra + self.inter_weight * inter

    def _batch_hard(self, distances: Tensor, same: Tensor, itself: Tensor) -> Tensor:
        positives, negatives = same & ~itself, ~same
        hardest = distances.masked_fill(~positives, -torch.inf).amax(1)
        nearest = distances.masked_fill(~negatives, torch.inf).amin(1)
        usable = positives.any(1) & negatives.any(1)
        gaps = torch.where(usable, hardest - nearest + self.margin, torch.zeros_like(hardest))
        return gaps.clamp(min=0).mean()

    def _semi_hard(self, distances: Tensor, same: Tensor, itself: Tensor) -> tuple[Tensor, Tensor]:
        """Only the nearest negative beyond D_p matters: sort the negatives once, look each positive up among them."""
        negatives = distances.masked_fill(same, torch.inf)
        ordered, _ = negatives.sort(dim=1)
        # one search per image in its anchor's row: the first negative strictly farther
        place = torch.searchsorted(ordered.detach(), distances.detach(), right=True)
        beyond = torch.cat([ordered, ordered.new_full((len(ordered), 1), torch.inf)], dim=1).gather(1, place)
        semi = same & ~itself & (beyond < distances + self.margin)
        return mean_where((distances - beyond + self.margin).clamp(min=0), semi), semi.sum()

    def _classes(self, distances: Tensor, labels: Tensor, a_labels: Tensor) -> tuple[Tensor, Tensor]:
        classes = a_labels.unique()
        member = (classes[:, None] == labels[None]).to(distances.dtype)  # [class, embedding]
        sizes = member.sum(1)
        sums = member @ distances @ member.T
        # the diagonal (1e-4 each, from the clamp) stays in the sum, as published: the golden values hold to 1e-9
        intra = sums.diagonal() / (sizes * (sizes - 1)).clamp(min=1)
        between = sums / (sizes[:, None] * sizes[None])
        upper = torch.ones_like(between, dtype=torch.bool).triu(1)
        inter = (self.margin - between[upper]).clamp(min=0)
        if self.reduction == "sum":
            return intra.sum(), inter.sum()
        return intra.mean(), inter.sum() / max(1, inter.numel())
