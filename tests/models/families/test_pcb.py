"""PCB: counts, stripes, what is shared, and which of two embeddings."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from branch_cases import check_evaluation, check_gradients, check_output, images_of, on_meta, small

from reidlab.errors import UserError
from reidlab.models import count_macs, count_parameters
from reidlab.models.families.pcb import PCB

TINY: dict[str, Any] = {"backbone": "test_resnet", "reduced_dim": 8, "parts": 3}


def test_published_counts() -> None:
    model = on_meta(PCB, 751)
    assert count_parameters(model) - count_parameters(model.classifiers) == 24_032_832
    assert count_parameters(model.classifiers) == 6 * 751 * 256
    assert count_macs(model, 384, 128) == 6_079_905_792  # the backbone's alone: the reduction serves the classifiers
    assert model.dim == 12_288


def test_training_gives_all_stripes() -> None:
    model = small(PCB, dropout=0.0, **TINY).train()
    output = model(images_of())
    check_output(output, {f"part_{i}": (96, 8) for i in (1, 2, 3)})
    assert output.parts.shape == (4, 3, 96)
    torch.testing.assert_close(output.parts[:, 1], output.branches["part_2"].before)
    stripes = [F.normalize(branch.before, dim=1) / 3**0.5 for branch in output.branches.values()]
    torch.testing.assert_close(output.before, torch.cat(stripes, 1))
    assert output.after is output.before


def test_reduction_sees_all_stripes_at_once() -> None:
    model = small(PCB, dropout=0.0, **TINY).train()
    output = model(images_of())
    linear, norm, _ = model.reduce
    x = linear(output.parts.detach().reshape(12, 96))
    x = (x - x.mean(0)) / (x.var(0, unbiased=False) + norm.eps).sqrt()
    after = torch.stack([branch.after for branch in output.branches.values()], 1)
    torch.testing.assert_close(after, x.relu().reshape(4, 3, 8), rtol=1e-4, atol=1e-4)


def test_dropout_spares_the_ranking_features() -> None:
    model = small(PCB, dropout=0.9, **TINY).train()
    with torch.no_grad():
        one, other = model(images_of()), model(images_of())
    torch.testing.assert_close(one.before, other.before, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(one.logits[0], other.logits[0])


def test_gradients_reach_everything() -> None:
    check_gradients(small(PCB, dropout=0.0, **TINY))


@pytest.mark.parametrize("embedding, width", [("before", 3 * 96), ("after", 3 * 8)])
def test_evaluation(embedding: str, width: int) -> None:
    model = small(PCB, embedding=embedding, **TINY)
    assert model.dim == width
    check_evaluation(model)
    with torch.no_grad():
        maps = model.maps(images_of(96, 32))
        assert maps.shape == (4, 96, 6, 2)  # the last stage keeps its size
        stripes = [maps[:, :, i : i + 2].mean((2, 3)) for i in (0, 2, 4)]
        if embedding == "after":
            stripes = [model.reduce(stripe) for stripe in stripes]
        expected = torch.cat([F.normalize(stripe, dim=1) for stripe in stripes], 1) / 3**0.5
        torch.testing.assert_close(model(images_of(96, 32)), F.normalize(expected, dim=1), rtol=1e-4, atol=1e-5)


def test_without_identities() -> None:
    model = small(PCB, num_classes=0, **TINY).train()
    output = model(images_of())
    assert output.logits == () and all(branch.logits is None for branch in output.branches.values())


@pytest.mark.parametrize(
    "options, words",
    [
        ({"embedding": "befor"}, r"embedding='befor' is unknown; choose from before, after. Did you mean 'before'\?"),
        ({"parts": 0}, "parts=0 must be 1 or more"),
        ({"reduced_dim": 0}, "reduced_dim=0 must be 1 or more"),
        ({"dropout": 1.0}, r"dropout=1\.0 is outside"),
    ],
)
def test_refused_options(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        on_meta(PCB, backbone="test_resnet", **options)
