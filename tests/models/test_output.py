"""The output of a model in training mode."""

from __future__ import annotations

import torch

from reidlab.models import Output


def test_fields_and_defaults() -> None:
    before, after = torch.zeros(2, 3), torch.ones(2, 3)
    output = Output(before, after)
    assert output._fields == ("before", "after", "logits", "parts", "branches", "siamese", "gates")
    assert output.logits == () and output.parts is None and output.branches is None
    assert output.siamese is None and output.gates is None
    assert Output(*output) == output  # an optimiser's wrapper takes it apart and puts it together
