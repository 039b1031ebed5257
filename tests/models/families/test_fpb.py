"""FPB: counts of its published code, the pyramid spelt out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from branch_cases import check_evaluation, check_gradients, check_output, images_of, on_meta, small

from reidlab.errors import UserError
from reidlab.models import count_macs, count_parameters
from reidlab.models.families.fpb import FPB, FeaturePyramid

TINY: dict[str, Any] = {"backbone": "test_resnet", "reduced_dim": 8, "pyramid_width": 16, "dropout": 0.0}


def test_counts() -> None:
    model = on_meta(FPB, 751)
    # of the published code without its classifiers (2,048 + 3 x 256 weights, 4 biases an identity)
    assert count_parameters(model) - count_parameters(model.classifiers) == 29_458_112 - (2048 + 3 * 256 + 4) * 751
    assert count_parameters(model) - count_parameters(model.classifiers) == 27_340_292
    assert count_parameters(model.attention) == 330_370
    assert count_parameters(model.pyramid) == 3_235_138
    assert count_macs(model, 384, 128) == 7_791_181_824
    assert model.dim == 5120


def test_training_gives_all_branches() -> None:
    model = small(FPB, **TINY).train()
    output = model(images_of())
    parts = {f"part_{i}": (192, 8) for i in (1, 2, 3)}
    check_output(output, {"global": (96, 96), **parts, "cross": (32 * 4 * 2, 32 * 4 * 2)})
    assert len(output.logits) == 4 and output.branches["cross"].logits is None
    assert output.parts.shape == (4, 3, 192)
    stripes = [F.normalize(output.branches[name].before, dim=1) for name in parts]
    for whole, got in (
        (output.branches["global"].before, output.before),
        (output.branches["global"].after, output.after),
    ):
        torch.testing.assert_close(got, torch.cat([F.normalize(whole, dim=1), *stripes], 1) / 2)
    assert "cross" not in model.eval().features(images_of())


@pytest.mark.parametrize("fine, coarse", [((8, 4), (4, 2)), ((7, 5), (4, 3)), ((1, 1), (1, 1))])
def test_pyramid_spelt_out(fine: tuple[int, int], coarse: tuple[int, int]) -> None:
    torch.manual_seed(0)
    net = FeaturePyramid(6, 10, 4, dropout=0.0).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
    for parameter in (net.attention.pam.gamma, net.attention.cam.gamma):
        torch.nn.init.constant_(parameter, 0.7)
    x_fine, x_coarse = torch.randn(2, 6, *fine), torch.randn(2, 10, *coarse)
    with torch.no_grad():
        got, crossed = net(x_fine, x_coarse)
        low_fine, low_coarse = net.lateral_fine(x_fine), net.lateral_coarse(x_coarse)
        seen = net.attention(low_fine)
        down = net.coarse_in(low_coarse)
        rows = [y * coarse[0] // fine[0] for y in range(fine[0])]
        columns = [x * coarse[1] // fine[1] for x in range(fine[1])]
        up = net.fine_out(net.fine_in(seen + down[:, :, rows][:, :, :, columns])) + net.skip_fine(low_fine)
        halves = []
        for maps in (seen, up):
            half = torch.full((2, 4, *coarse), -torch.inf)
            for y in range(fine[0]):
                for x in range(fine[1]):
                    half[:, :, y // 2, x // 2] = torch.maximum(half[:, :, y // 2, x // 2], maps[:, :, y, x])
            halves.append(half)
        expected = net.expand(net.coarse_out(down + halves[1]) + net.skip_coarse(low_coarse))
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(crossed, torch.cat([low_coarse, halves[0]], 1), rtol=1e-4, atol=1e-5)


def test_gradients_reach_everything() -> None:
    check_gradients(small(FPB, **TINY))


def test_evaluation() -> None:
    model = small(FPB, **TINY)
    check_evaluation(model)
    with torch.no_grad():
        images, net = images_of(96, 32), model.backbone
        fine = net.layer2(net.layer1(net.maxpool(net.act1(net.bn1(net.conv1(images))))))
        coarse = net.layer3(model.attention(fine))
        last = net.layer4(coarse)
        assert fine.shape == (4, 48, 12, 4) and coarse.shape == (4, 192, 6, 2) and last.shape == (4, 96, 6, 2)
        maps = model.pyramid(fine, coarse)[0]
        stripes = [maps[:, :, i : i + 2].mean((2, 3)) for i in (0, 2, 4)]
        features = [model.necks["global"](last.mean((2, 3))), *stripes]
        expected = torch.cat([F.normalize(feature, dim=1) for feature in features], 1) / 2
        torch.testing.assert_close(model(images), expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(model.maps(images), last)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: on_meta(FPB, backbone="osnet_x0_25"), "needs a ResNet as its backbone"),
        (lambda: on_meta(FPB, backbone="test_resnet", parts=0), "parts=0"),
        (lambda: on_meta(FPB, backbone="test_resnet", pyramid_width=0), "pyramid_width=0"),
        (lambda: on_meta(FPB, backbone="test_resnet", dropout=1.0), r"dropout=1\.0 is outside"),
    ],
)
def test_refused(call: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        call()
