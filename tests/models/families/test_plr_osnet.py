"""PLR-OSNet: counts of its published code, its two branches, its two forms of channel attention."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from branch_cases import check_evaluation, check_gradients, check_output, images_of, on_meta, small

from reidlab.errors import UserError
from reidlab.models import count_macs, count_parameters
from reidlab.models.families.plr_osnet import PLROSNet

TINY: dict[str, Any] = {"backbone": "osnet_x0_25", "feature_dim": 16}


def test_counts() -> None:
    model = on_meta(PLROSNet, 751, squeeze=False)
    # of the published code without its classifiers (2,560 x 751 weights, 2 x 751 biases), which its figure includes
    assert count_parameters(model) - count_parameters(model.classifiers) == 5_248_988 - 2_562 * 751
    blocks = model.backbone["trunk"]
    attention = {name.split(".attention.pam.")[1] for name, _ in blocks.named_parameters() if ".attention.pam." in name}
    assert {name.split(".")[0] for name in attention} == {"query", "key", "gamma", "norm"}  # no convolution on values
    assert count_macs(model, 256, 128) == 1_133_622_272
    # each gate's 2 c^2 / 16 once instead of at every position: conv2 gives 32 x 16 of them, conv3 16 x 8
    spared = 511 * 2 * 256 * 16 + 127 * 2 * 384 * 24
    bare = on_meta(PLROSNet)
    assert count_parameters(bare) == 3_324_926
    assert count_macs(bare, 256, 128) == 1_133_622_272 - spared
    assert model.dim == 2560


@pytest.mark.parametrize("squeeze", [True, False])
def test_training_gives_both_branches(squeeze: bool) -> None:
    model = small(PLROSNet, squeeze=squeeze, **TINY).train()
    output = model(images_of())
    check_output(output, {"part": (512, 512), "global": (16, 16)})
    assert len(output.logits) == 2 and output.before is output.branches["global"].before
    assert output.parts.shape == (4, 4, 128)
    torch.testing.assert_close(output.parts.flatten(1), output.branches["part"].before)


@pytest.mark.parametrize("squeeze", [True, False])
def test_channel_attention(squeeze: bool) -> None:
    model = small(PLROSNet, squeeze=squeeze, **TINY).eval()
    block = model.backbone["trunk"].get_submodule("conv2.attention.se")
    maps = torch.randn(2, 64, 3, 2, generator=torch.Generator().manual_seed(0))
    context = maps.mean((2, 3), keepdim=True) if squeeze else maps
    with torch.no_grad():
        gates = block.fc2(F.relu(block.fc1(context))).sigmoid()
        torch.testing.assert_close(block(maps), maps * gates)


def test_gradients_reach_everything() -> None:
    check_gradients(small(PLROSNet, **TINY))


def test_evaluation() -> None:
    model = small(PLROSNet, **TINY)
    check_evaluation(model)
    with torch.no_grad():
        images = images_of(128, 64)
        shared = model.backbone["trunk"](images)
        part, whole = model.backbone["part_branch"](shared), model.backbone["global_branch"](shared)
        assert part.shape == whole.shape == (4, 128, 8, 4)
        stripes = torch.cat([part[:, :, i : i + 2].mean((2, 3)) for i in (0, 2, 4, 6)], 1)
        halves = [model.necks["part"](stripes), model.necks["global"](model.reduce(whole.flatten(2).amax(2)))]
        expected = torch.cat([F.normalize(half, dim=1) for half in halves], 1) / 2**0.5
        torch.testing.assert_close(model(images), expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(model.maps(images), whole)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"backbone": "resnet18"}, "needs an OSNet as its backbone"),
        ({"parts": 0}, "parts=0 must be 1 or more"),
        ({"feature_dim": -1}, "feature_dim=-1 must be 1 or more"),
    ],
)
def test_refused_options(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        on_meta(PLROSNet, **{"backbone": "osnet_x0_25", **options})
