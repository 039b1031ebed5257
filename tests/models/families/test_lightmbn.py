"""LightMBN: the published counts of both variants, Top-DropBlock against a loop, and what its faults change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from branch_cases import check_evaluation, check_gradients, check_output, images_of, on_meta, small
from torch import Tensor

from reidlab.errors import UserError
from reidlab.models import count_macs, count_parameters
from reidlab.models.backbones import build_backbone
from reidlab.models.families.lightmbn import LightMBN, TopDropBlock
from reidlab.models.parts.pooling import GeM

NAMES = ("glo", "glo_drop", "pg", "p1", "p2", "c1", "c2")
TINY: dict[str, Any] = {"backbone": "osnet_x0_25", "feature_dim": 16}


@pytest.mark.parametrize(
    "variant, parameters, bare, macs_384, macs_256",
    [
        # the original's code runs its seven classifiers at evaluation too, and its published figures count them
        ("original", 9_152_280, 6_460_696, 2_430_831_104 - 7 * 751 * 512, 1_622_002_176 - 7 * 751 * 512),
        ("gc_gem", 9_218_859, 6_527_275, 2_428_620_800, 1_619_652_608),
    ],
)
def test_published_counts(variant: str, parameters: int, bare: int, macs_384: int, macs_256: int) -> None:
    model = LightMBN(751, variant=variant)  # not on meta, where each BN is slow
    assert count_parameters(model) == parameters
    assert count_parameters(model) - count_parameters(model.classifiers) == bare
    assert (count_macs(model, 384, 128), count_macs(model, 256, 128)) == (macs_384, macs_256)
    assert model.dim == 3584
    preprocess = model.preprocess
    assert (preprocess.height, preprocess.width) == (384, 128) and preprocess.mean == (0.485, 0.456, 0.406)


@pytest.mark.parametrize("height", [1, 2, 5, 24])
def test_top_drop_block_against_a_loop(height: int) -> None:
    maps = torch.randn(3, 4, height, 3, generator=torch.Generator().manual_seed(height))
    block = TopDropBlock(0.33)
    expected = maps.clone()
    for image in expected:
        energy = torch.tensor([[sum(float(v) ** 2 for v in image[:, y, x]) for x in range(3)] for y in range(height)])
        energy = energy / energy.norm()  # as published
        strongest = sorted(range(height), key=lambda y: -energy[y].max())
        for y in strongest[: round(0.33 * height)]:
            image[:, y] = 0.0
    torch.testing.assert_close(block.train()(maps), expected, rtol=0, atol=0)
    assert block.eval()(maps) is maps


def test_top_drop_block_passes_gradients_to_what_it_keeps() -> None:
    maps = torch.randn(2, 3, 6, 2, dtype=torch.float64).requires_grad_()
    dropped = TopDropBlock(0.33)(maps)
    dropped.sum().backward()
    assert maps.grad is not None
    torch.testing.assert_close(maps.grad, (dropped != 0).double())
    assert (maps.grad.amin((1, 3)) == 0).sum(1).tolist() == [2, 2]


def test_top_drop_block_holds_large_activations_in_half_precision() -> None:
    maps = torch.full((1, 2, 3, 1), 300.0, dtype=torch.float16)  # 300^2 is infinite in float16
    maps[0, :, 1] = 400.0
    assert TopDropBlock(0.33)(maps)[0, 0, :, 0].tolist() == [300.0, 0.0, 300.0]


@pytest.fixture(scope="module", params=["original", "gc_gem"])
def model(request: pytest.FixtureRequest) -> LightMBN:
    """Return a small model to tests that ask nothing of its weights."""
    return small(LightMBN, variant=request.param, **TINY)


def test_training_gives_all_branches(model: LightMBN) -> None:
    output = model.train()(images_of())
    check_output(output, dict.fromkeys(NAMES, (16, 16)))
    assert len(output.logits) == 7
    assert output.before is output.branches["glo"].before and output.after is output.branches["glo"].after
    torch.testing.assert_close(output.parts, torch.stack([output.branches[n].before for n in ("p1", "p2")], 1))


def test_gradients_reach_everything(model: LightMBN) -> None:
    check_gradients(model)


def test_evaluation(model: LightMBN) -> None:
    check_evaluation(model)


def maps_by_hand(model: LightMBN, images: Tensor) -> dict[str, Tensor]:
    shared = model.backbone["trunk"](images)
    whole, part, channel = (model.backbone[f"{name}_branch"](shared) for name in ("global", "part", "channel"))
    whole, half = model.bottleneck(whole), channel.shape[1] // 2
    middle = part.shape[2] // 2
    assert part.shape[2] == 2 * middle
    return {
        **{"glo": whole, "glo_drop": whole, "pg": part, "p1": part[:, :, :middle], "p2": part[:, :, middle:]},
        **{"c1": channel[:, :half], "c2": channel[:, half:]},
    }


def means(maps: Tensor) -> Tensor:
    return maps.flatten(2).mean(2)


def maxima(maps: Tensor) -> Tensor:
    return maps.flatten(2).amax(2)


def embedding(model: LightMBN, features: dict[str, Tensor], each: bool) -> Tensor:
    """Reduce pooled maps, pass them through the necks and join them, spelt out."""
    after = []
    for name, feature in features.items():
        neck = model.necks[name]
        x = (feature - neck.running_mean) / (neck.running_var + neck.eps).sqrt() * neck.weight
        after.append(x / x.norm(dim=1, keepdim=True) if each else x)
    return F.normalize(torch.cat(after, 1), dim=1)


def reduced(model: LightMBN, name: str, pooled: Tensor) -> Tensor:
    return model.reductions["c" if name in ("c1", "c2") else name](pooled)


def test_original_pools_as_published() -> None:
    model = small(LightMBN, **TINY)
    with torch.no_grad():
        model.train()(images_of())
        maps = maps_by_hand(model.eval(), images_of())
        pools = dict.fromkeys(NAMES, means) | {"glo_drop": maxima, "pg": maxima}
        features = {name: reduced(model, name, pools[name](maps[name])) for name in NAMES}
        torch.testing.assert_close(model(images_of()), embedding(model, features, each=True), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("faults", [False, True])
def test_gc_gem_mends_the_faults_unless_asked(faults: bool) -> None:
    model = small(LightMBN, variant="gc_gem", faults=faults, **TINY)
    assert {type(pool) for pool in model.pools.values()} == {GeM}
    with torch.no_grad():
        for i, pool in enumerate(model.pools.values()):
            pool.p.fill_(2.0 + i)
        model.train()(images_of())
        maps = maps_by_hand(model.eval(), images_of())
        features = {}
        for i, name in enumerate(NAMES):
            if faults:  # means everywhere; a generalised mean of one number is that number
                features[name] = reduced(model, name, means(maps[name])).clamp(min=1e-6)
            else:
                power = means(maps[name].clamp(min=1e-6) ** (2.0 + i)) ** (1 / (2.0 + i))
                features[name] = reduced(model, name, power)
        expected = embedding(model, features, each=not faults)
        torch.testing.assert_close(model(images_of()), expected, rtol=1e-4, atol=1e-5)
        output = model.train()(images_of())
    missing = [name for name, branch in output.branches.items() if branch.logits is None]
    assert missing == (["glo_drop"] if faults else []) and len(output.logits) == 7 - faults


def test_faults_leave_a_classifier_and_exponents_without_learning() -> None:
    model = small(LightMBN, variant="gc_gem", faults=True, **TINY)
    model.train()
    output = model(images_of())
    (
        sum(F.cross_entropy(x, torch.arange(4)) for x in output.logits) + output.branches["glo_drop"].after.sum()
    ).backward()
    assert [name for name, p in model.classifiers.named_parameters() if p.grad is None] == ["1.weight"]
    assert all(pool.p.grad.abs().item() < 1e-4 for pool in model.pools.values())


def test_branches_start_as_copies() -> None:
    model = small(LightMBN, **TINY)
    states = [model.backbone[f"{name}_branch"].state_dict() for name in ("global", "part", "channel")]
    assert all(torch.equal(states[0][name], state[name]) for state in states[1:] for name in states[0])
    assert all(len({state[name].data_ptr() for state in states}) == 3 for name in states[0])


def test_weights_reach_the_trunk_and_all_copies(tmp_path: Path) -> None:
    torch.manual_seed(7)
    state = build_backbone("osnet_x0_25").state_dict()
    torch.save(state, tmp_path / "osnet.pth")
    model = small(LightMBN, weights=str(tmp_path / "osnet.pth"), **TINY)
    assert model.backbone.load_report.matched == len(state)
    ends = [f"{name}_branch" for name in ("global", "part", "channel")]
    for name, tensor in state.items():
        places = ["trunk"] if name.startswith(("conv1", "conv2", "conv3.0")) else ends
        for place in places:
            assert torch.equal(model.backbone[place].state_dict()[name], tensor), (place, name)


def test_margins_need_labels() -> None:
    model = small(LightMBN, classifier={"name": "cosface", "scale": 10.0, "margin": 0.5}, **TINY).train()
    labels = torch.tensor([0, 1, 2, -1])
    with torch.no_grad():
        plain, pushed = model(images_of()), model(images_of(), labels)
    for one, other in zip(plain.logits, pushed.logits):
        lower = F.one_hot(labels.clamp(min=0), 5) * (labels >= 0)[:, None] * 5.0
        torch.testing.assert_close(one - other, lower, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "options, words",
    [
        (
            {"variant": "orginal"},
            r"variant='orginal' is unknown; choose from original, gc_gem. Did you mean 'original'\?",
        ),
        ({"faults": True}, "'original' has no known faults.*gc_gem"),
        ({"feature_dim": 0}, "feature_dim=0 must be 1 or more"),
        ({"drop_ratio": 1.0}, r"drop_ratio=1\.0 is outside"),
        ({"backbone": "resnet18"}, "needs an OSNet as its backbone"),
        ({"backbone": {"name": "osnet_x0_25", "feature_dim": 8}}, "leave out the backbone's feature_dim"),
    ],
)
def test_refused_options(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        on_meta(LightMBN, **{"backbone": "osnet_x0_25", **options})
