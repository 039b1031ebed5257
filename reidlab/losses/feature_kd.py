"""Feature distillation: a linear layer turns the student's feature into the teacher's (FitNets, Romero et al. 2015)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from reidlab.errors import UserError
from reidlab.losses.base import Loss
from reidlab.losses.measures import ACTIVE, reported
from reidlab.losses.soft_targets import check_pair

__all__ = ["FeatureKDLoss"]

_DISTANCES = ("cosine", "mse")
_LARGEST = 2**28  # numbers of the layer


class FeatureKDLoss(Loss):
    """mean distance of the projected student features to the teacher's, which are L2-normalised.

    The layer lets student and teacher have embeddings of different sizes. It is trained with the student, by the same
    optimiser and as a new layer, and left behind with the loss. No labels are needed; no gradient goes to the teacher.

    Args:
        dim: of the student's features; filled in by a training.
        teacher_dim: of the teacher's; filled in by a training.
        distance: cosine, 1 - cos, which leaves lengths free; or mse, the squared Euclidean distance.

    Attributes:
        projector: the linear layer, without bias (weights from torch's global generator, as all layers).
        stats: after a call, cosine_to_teacher (mean over rows) and active_share (rows whose cosine is below 0.99).
    """

    trained_with_model = True  # its parameters belong to the model's optimiser, not to that of losses

    def __init__(self, dim: int = 0, teacher_dim: int = 0, distance: str = "cosine") -> None:
        super().__init__()
        sizes = (dim, teacher_dim)
        if not all(isinstance(size, int) and size >= 1 for size in sizes):
            raise UserError(
                "feature_kd needs dim (of the student's features) and teacher_dim (of the teacher's), whole numbers of "
                f"1 or more; got {dim!r} and {teacher_dim!r}."
            )
        if dim * teacher_dim > _LARGEST:
            raise UserError(f"feature_kd: a layer from {dim} to {teacher_dim} has more than {_LARGEST:,} numbers.")
        if distance not in _DISTANCES:
            raise UserError(f"feature_kd distance={distance!r} is unknown; choose {' or '.join(_DISTANCES)}.")
        self.distance = distance
        self.projector = nn.Linear(dim, teacher_dim, bias=False)

    def forward(
        self, student: Float[Tensor, "batch dim"], teacher: Float[Tensor, "batch teacher_dim"]
    ) -> Float[Tensor, ""]:
        """Return the scalar loss of the student's features [batch, dim] and the teacher's [batch, teacher_dim].

        Raises:
            UserError: features of other sizes than the layer's.
        """
        check_pair("feature_kd", student, teacher, same_width=False)
        sizes = (self.projector.in_features, self.projector.out_features)
        if (student.shape[1], teacher.shape[1]) != sizes:
            raise UserError(
                f"feature_kd has a layer from {sizes[0]} to {sizes[1]}; got features of {student.shape[1]} and a "
                f"teacher's of {teacher.shape[1]}. Set dim and teacher_dim."
            )
        wanted = F.normalize(teacher.detach(), dim=1)
        projected = F.linear(student, self.projector.weight.to(student.dtype))
        cosines = F.cosine_similarity(projected, wanted, dim=1)
        with torch.no_grad():
            far = (1 - cosines > ACTIVE).to(cosines.dtype).mean()
            self.stats = reported(active_share=far, cosine_to_teacher=cosines.mean())
        if self.distance == "cosine":
            return (1 - cosines).mean()
        return (projected - wanted).square().sum(1).mean()
