"""MGN: counts against torchvision's ResNet-50, strides and granularities of the branches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from branch_cases import check_evaluation, check_gradients, check_output, images_of, on_meta, small
from torchvision.models import resnet50

from reidlab.errors import UserError
from reidlab.models import count_macs, count_parameters
from reidlab.models.backbones import build_backbone
from reidlab.models.families.mgn import MGN

NAMES = ("global_1", "global_2", "part_2_1", "part_2_2", "global_3", "part_3_1", "part_3_2", "part_3_3")
TINY: dict[str, Any] = {"backbone": "test_resnet", "reduced_dim": 8}


def test_counts() -> None:
    model = on_meta(MGN, 751)
    with torch.device("meta"):
        network = resnet50()
    whole = count_parameters(network) - count_parameters(network.fc)
    doubled = count_parameters(network.layer3) - count_parameters(network.layer3[0]) + count_parameters(network.layer4)
    reductions = 8 * (2048 * 256 + 2 * 256)
    assert count_parameters(model) - count_parameters(model.classifiers) == whole + 2 * doubled + reductions
    assert whole + 2 * doubled + reductions == 68_807_744  # as in LightMBN's repository, whose classifiers have biases
    assert count_parameters(model.classifiers) == 8 * 751 * 256
    assert count_macs(model, 384, 128) == 11_884_822_528  # there 11,886,360,576, with the classifiers
    assert model.dim == 2048


def test_training_gives_all_branches() -> None:
    model = small(MGN, **TINY).train()
    output = model(images_of())
    check_output(output, dict.fromkeys(NAMES, (8, 8)))
    assert len(output.logits) == 8 and output.before is output.branches["global_1"].before
    assert all(branch.after is branch.before for branch in output.branches.values())
    expected = [output.branches[name].before for name in NAMES if name.startswith("part")]
    torch.testing.assert_close(output.parts, torch.stack(expected, 1))


def test_branches_look_at_their_own_granularity() -> None:
    model = small(MGN, **TINY)
    with torch.no_grad():
        model.train()(images_of())
        images = images_of(192, 64)
        shared = model.eval().backbone["trunk"](images)
        one, two, three = (model.backbone[f"branch_{i}"](shared) for i in (1, 2, 3))
        assert one.shape == (4, 96, 6, 2) and two.shape == three.shape == (4, 96, 12, 4)
        pooled = {
            **{"global_1": one, "global_2": two, "part_2_1": two[:, :, :6], "part_2_2": two[:, :, 6:]},
            **{
                "global_3": three,
                "part_3_1": three[:, :, :4],
                "part_3_2": three[:, :, 4:8],
                "part_3_3": three[:, :, 8:],
            },
        }
        features = [model.reductions[name](maps.flatten(2).amax(2)) for name, maps in pooled.items()]
        torch.testing.assert_close(model(images), F.normalize(torch.cat(features, 1), dim=1), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(model.maps(images), one)


def test_branches_start_as_copies() -> None:
    model = small(MGN, **TINY)
    states = [model.backbone[f"branch_{i}"].state_dict() for i in (1, 2, 3)]
    assert all(torch.equal(states[0][name], state[name]) for state in states[1:] for name in states[0])
    pointers = {state["layer4.0.conv1.weight"].data_ptr() for state in states}
    assert len(pointers) == 3


def test_weights_reach_the_trunk_and_all_copies(tmp_path: Path) -> None:
    torch.manual_seed(7)
    state = build_backbone(TINY["backbone"]).state_dict()
    torch.save(state, tmp_path / "resnet.pth")
    model = small(MGN, weights=str(tmp_path / "resnet.pth"), **TINY)
    for name, tensor in state.items():
        in_trunk = not name.startswith(("layer3.1", "layer4"))
        for place in ["trunk"] if in_trunk else ["branch_1", "branch_2", "branch_3"]:
            assert torch.equal(model.backbone[place].state_dict()[name], tensor), (place, name)


def test_gradients_reach_everything() -> None:
    check_gradients(small(MGN, **TINY))


def test_evaluation() -> None:
    check_evaluation(small(MGN, pooling="avg", **TINY))


@pytest.mark.parametrize(
    "options, words",
    [
        ({"backbone": "osnet_x0_25"}, "OSNet has no last stride"),
        ({"backbone": "test_efficientnet"}, "needs a ResNet as its backbone"),
        ({"reduced_dim": 0}, "reduced_dim=0 must be 1 or more"),
        ({"pooling": "mix"}, "pooling 'mix' is unknown"),
    ],
)
def test_refused_options(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        on_meta(MGN, **{"backbone": "test_resnet", **options})
