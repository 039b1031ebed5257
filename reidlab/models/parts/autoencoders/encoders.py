"""Encoders of four kinds: plain, variational, sparse and denoising. All end in a code of the same size."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reidlab.errors import UserError

__all__ = ["AutoEncoder", "Code", "DenoisingAutoEncoder", "SparseAutoEncoder", "VariationalAutoEncoder"]

MOMENTUM = 0.01  # of the batch normalisations, as published
_WIDEST = 100_000


class Code(NamedTuple):
    """The code of a batch of features.

    Attributes:
        code: what is compared and decoded [batch, code].
        mean: of the distribution that a code was drawn from [batch, code]; None unless variational.
        log_variance: its logarithm of variances [batch, code]; None unless variational.
    """

    code: Float[Tensor, "batch code"]
    mean: Float[Tensor, "batch code"] | None = None
    log_variance: Float[Tensor, "batch code"] | None = None


def _layer(n_in: int, n_out: int) -> list[nn.Module]:
    return [nn.Linear(n_in, n_out), nn.BatchNorm1d(n_out, momentum=MOMENTUM), nn.ReLU(inplace=True)]


class _Encoder(nn.Module):
    """What the kinds share: checked sizes, hidden layers of Linear, BN, ReLU, and dropout.

    Attributes:
        dim: width of the code.
    """

    def __init__(self, n_in: int, code: int, hidden: Sequence[int], dropout: float) -> None:
        super().__init__()
        for name, size in (("n_in", n_in), ("code", code), *(("hidden", size) for size in hidden)):
            if not 1 <= size <= _WIDEST:
                raise UserError(f"{name}={size} of an autoencoder must be 1 or more, and at most {_WIDEST:,}.")
        if not hidden:
            raise UserError("hidden=[] of an autoencoder must name one width or more, such as [1536, 1024].")
        if not 0 <= dropout < 1:
            raise UserError(f"dropout={dropout} of an autoencoder is outside [0, 1).")
        sizes = (n_in, *hidden)
        self.hidden = nn.Sequential(*(layer for pair in itertools.pairwise(sizes) for layer in _layer(*pair)))
        self.dropout = nn.Dropout(dropout)
        self.dim = code


class AutoEncoder(_Encoder):
    """Linear, BN, ReLU three times: features -> 1,536 -> 1,024 -> the code of 728, which no number of is negative.

    Dropout on the code while training. 5,473,928 parameters for 2,048 features.

    Args:
        n_in: width of the features.
        code: width of the code.
        hidden: widths of the layers before it.
        dropout: share of the code dropped while training.
    """

    def __init__(self, n_in: int, code: int = 728, hidden: Sequence[int] = (1536, 1024), dropout: float = 0.3) -> None:
        super().__init__(n_in, code, hidden, dropout)
        self.last = nn.Sequential(*_layer(hidden[-1], code))

    @property
    def tied(self) -> nn.Linear:
        """The layer that makes the code, whose weight a decoder may share."""
        layer = self.last[0]
        assert isinstance(layer, nn.Linear)
        return layer

    def forward(self, features: Float[Tensor, "batch n_in"]) -> Code:
        """Return the `Code` of features [batch, n_in]."""
        return Code(self.dropout(self.last(self.hidden(features))))


class VariationalAutoEncoder(_Encoder):
    """The code is drawn from a normal distribution of each image while training; at evaluation it is the mean.

    Kingma and Welling 2014, "Auto-Encoding Variational Bayes". It is one only with the loss `vae_kl` beside: without
    it the variances shrink to nothing. Dropout comes before mean and variance, as published.

    Args:
        n_in: width of the features.
        code: width of the code.
        hidden: widths of the layers before it.
        dropout: share of the last hidden layer dropped while training.
    """

    def __init__(self, n_in: int, code: int = 728, hidden: Sequence[int] = (1536, 1024), dropout: float = 0.3) -> None:
        super().__init__(n_in, code, hidden, dropout)
        self.mean = nn.Linear(hidden[-1], code)
        self.log_variance = nn.Linear(hidden[-1], code)

    @property
    def tied(self) -> nn.Linear:
        """The layer that makes the mean, whose weight a decoder may share."""
        return self.mean

    def forward(self, features: Float[Tensor, "batch n_in"]) -> Code:
        """Return the `Code` of features [batch, n_in] with mean and logarithm of the variance."""
        hidden = self.dropout(self.hidden(features))
        # beyond these a variance is 0 or infinite in float32
        mean, log_variance = self.mean(hidden), self.log_variance(hidden).clamp(-30, 20)
        if not self.training:
            return Code(mean, mean, log_variance)
        return Code(mean + torch.randn_like(mean) * (log_variance / 2).exp(), mean, log_variance)


class SparseAutoEncoder(AutoEncoder):
    """A code of which only the `k` largest numbers of each image are kept (Makhzani and Frey 2014, "k-Sparse").

    With k = 0 nothing is cut and the loss `sparsity` alone makes it sparse, as published.

    Args:
        n_in: width of the features.
        code: width of the code.
        hidden: widths of the layers before it.
        dropout: share of the code dropped while training.
        k: numbers kept per image; 0 keeps all.
    """

    def __init__(
        self,
        n_in: int,
        code: int = 728,
        hidden: Sequence[int] = (1536, 1024),
        dropout: float = 0.3,
        k: int = 0,
    ) -> None:
        super().__init__(n_in, code, hidden, dropout)
        if not 0 <= k <= code:
            raise UserError(f"k={k} of a sparse autoencoder must be 0 (keeps all) to {code}, the width of its code.")
        self.k = k

    def forward(self, features: Float[Tensor, "batch n_in"]) -> Code:
        """Return the sparse `Code` of features [batch, n_in]."""
        code = self.last(self.hidden(features))
        if self.k:
            places = code.topk(self.k, dim=1).indices
            code = torch.zeros_like(code).scatter(1, places, code.gather(1, places))
        return Code(self.dropout(code))


class DenoisingAutoEncoder(AutoEncoder):
    """Sees corrupted features while training and is to give back the clean image (Vincent et al. 2008).

    The published `dae` corrupts nothing and is a plain autoencoder; here noise or a mask is put on the features.

    Args:
        n_in: width of the features.
        code: width of the code.
        hidden: widths of the layers before it.
        dropout: share of the code dropped while training.
        noise: standard deviation of Gaussian noise, in standard deviations of the batch's features.
        mask: share of the features set to 0.
    """

    def __init__(
        self,
        n_in: int,
        code: int = 728,
        hidden: Sequence[int] = (1536, 1024),
        dropout: float = 0.3,
        noise: float = 0.3,
        mask: float = 0.0,
    ) -> None:
        super().__init__(n_in, code, hidden, dropout)
        if not 0 <= noise <= 10:
            raise UserError(f"noise={noise} of a denoising autoencoder is outside [0, 10] standard deviations.")
        if not 0 <= mask < 1:
            raise UserError(f"mask={mask} of a denoising autoencoder is outside [0, 1).")
        if not noise and not mask:
            raise UserError("A denoising autoencoder needs noise or mask above 0; `ae` is the one without.")
        self.noise, self.mask = noise, mask

    def forward(self, features: Float[Tensor, "batch n_in"]) -> Code:
        """Return the `Code` of features [batch, n_in], corrupted while training."""
        if self.training:
            if self.noise:
                spread = features.detach().std()
                features = features + self.noise * spread * torch.randn_like(features)
            if self.mask:
                features = features * (torch.rand_like(features) >= self.mask)
        return super().forward(features)
