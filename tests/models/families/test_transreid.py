"""TransReID: shuffling by loops, timm's own forward pass, position tables, and which tokens a local branch sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from branch_cases import check_evaluation, check_gradients, check_output, images_of, on_meta, small
from torch import Tensor, nn

from reidlab.errors import UserError
from reidlab.models import count_parameters
from reidlab.models.families.transreid import OverlappingPatches, TransReID, jigsaw

NAMES = ("global", "local1", "local2", "local3", "local4")
WIDTH, DEPTH = 64, 6  # of timm's test_vit, with patches of 16 pixels
TINY: dict[str, Any] = {"backbone": "test_vit", "height": 64, "width": 32}


def numbered(count: int) -> Tensor:
    """Tokens [1, count, 1] that are their own numbers."""
    return torch.arange(count)[None, :, None]


def by_hand(count: int, parts: int, shift: int, groups: int) -> list[list[int]]:
    """Shift, deal and split by loops over lists."""
    tokens = list(range(count))
    for _ in range(shift):
        tokens.append(tokens.pop(0))
    longest = (count + groups - 1) // groups
    hands = [tokens[start : start + longest] for start in range(0, count, longest)]
    dealt = []
    while any(hands):
        dealt += [hand.pop(0) for hand in hands if hand]
    length = count // parts
    return [dealt[i * length : (i + 1) * length] for i in range(parts)]


def test_jigsaw_worked_out() -> None:
    """Ten tokens: 5 6 7 8 9 0 1 2 3 4 is dealt as 5 0 6 1 7 2 8 3 9 4, and the last two are left over."""
    assert jigsaw(numbered(10), 4)[0, :, :, 0].tolist() == [[5, 0], [6, 1], [7, 2], [8, 3]]


@pytest.mark.parametrize("count", [4, 7, 8, 12, 21, 210])
@pytest.mark.parametrize(("parts", "shift", "groups"), [(4, 5, 2), (4, 0, 1), (3, 1, 3), (1, 250, 5), (2, 3, 4)])
def test_jigsaw_against_loops(count: int, parts: int, shift: int, groups: int) -> None:
    assert jigsaw(numbered(count), parts, shift, groups)[0, :, :, 0].tolist() == by_hand(count, parts, shift, groups)


@pytest.mark.parametrize("count", [7, 9, 13, 21])
def test_a_token_repeated_to_fill_the_last_group_is_never_seen(count: int) -> None:
    """The authors' code fills an odd number of tokens up before it splits; parts are as long as without."""
    tokens = [*range(5, count), *range(5)]
    filled = [*tokens, tokens[-2]]
    half = len(filled) // 2
    dealt = [token for pair in zip(filled[:half], filled[half:]) for token in pair]
    length = count // 4
    expected = [dealt[i * length : (i + 1) * length] for i in range(4)]
    assert jigsaw(numbered(count), 4)[0, :, :, 0].tolist() == expected


def test_jigsaw_keeps_images_and_channels_apart() -> None:
    patches = torch.randn(3, 10, 2, generator=torch.Generator().manual_seed(0))
    pieces = jigsaw(patches, 4)
    assert pieces.shape == (3, 4, 2, 2)
    assert torch.equal(pieces[:, 3, 1], patches[:, 3])


def test_counts() -> None:
    """Everything by hand, at 256 x 128 with patches of 16 pixels every 12: 21 x 10 of them."""
    for name, d, expected in (
        ("vit_small", 384, (23_450_112, 21_671_808)),
        ("vit_base", 768, (92_906_496, 85_810_944)),
    ):
        # two norms; queries, keys and values; their projection; an MLP of four times the width
        block = 2 * 2 * d + (d + 1) * 3 * d + (d + 1) * d + (d + 1) * 4 * d + (4 * d + 1) * d
        norm = neck = 2 * d
        stem = (16 * 16 * 3 + 1) * d + d + (21 * 10 + 1) * d  # patches, class token, position table
        without = stem + 12 * block + norm + neck
        local = block + norm + 4 * neck  # the last block's and norm's copy
        assert (without + local, without) == expected
        model = on_meta(TransReID, 751, backbone=name)
        assert count_parameters(model.classifiers) == 5 * 751 * d and model.dim == 5 * d
        assert count_parameters(model) - count_parameters(model.classifiers) == without + local
    assert count_parameters(on_meta(TransReID, jpm=False, stride=16)) == 21_671_808 - (210 - 16 * 8) * 384


def test_the_global_branch_is_timms_own_network(tmp_path: Path) -> None:
    torch.manual_seed(0)
    reference = timm.create_model("test_vit", img_size=224, num_classes=0).eval()
    for parameter in reference.parameters():
        if parameter.dim() == 1:
            nn.init.uniform_(parameter, 0.5, 1.5)  # norms that are no identities
    torch.save(reference.state_dict(), tmp_path / "vit.pth")
    options: dict[str, Any] = {"backbone": "test_vit", "weights": str(tmp_path / "vit.pth"), "stride": 16}
    model = TransReID(jpm=False, height=224, width=224, **options).eval()
    images = images_of(224, 224, batch=2)
    with torch.inference_mode():
        expected, tokens = reference(images), reference.forward_features(images)
        torch.testing.assert_close(model.features(images)["global"], expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(model(images), F.normalize(expected, dim=1), rtol=1e-5, atol=1e-5)
        maps = model.maps(images)
        assert maps.shape == (2, WIDTH, 14, 14)
        torch.testing.assert_close(maps[:, :, 3, 11], tokens[:, 1 + 3 * 14 + 11], rtol=1e-5, atol=1e-5)
        with_jpm = TransReID(height=224, width=224, **options).eval()
        torch.testing.assert_close(with_jpm.features(images)["global"], expected, rtol=1e-5, atol=1e-5)


def test_weights_reach_the_trunk_and_both_last_blocks(tmp_path: Path) -> None:
    """A file for 160 x 160 pixels, 10 x 10 patches; its table is resampled straight to the 7 x 3 of ours."""
    torch.manual_seed(7)
    state = timm.create_model("test_vit").state_dict()  # with its head of 1,000 classes
    torch.save(state, tmp_path / "vit.pth")
    model = small(TransReID, backbone="test_vit", weights=str(tmp_path / "vit.pth"), height=96, width=48)
    report = model.backbone.load_report
    assert report.missing == () and report.reshaped == () and set(report.unused) == {"head.weight", "head.bias"}
    found, last = model.backbone.state_dict(), f"blocks.{DEPTH - 1}."
    for name, tensor in state.items():
        if name.startswith(last):
            places = [f"{branch}.0.{name.removeprefix(last)}" for branch in ("global_branch", "local_branch")]
        elif name.startswith("norm."):
            places = [f"{branch}.1.{name.removeprefix('norm.')}" for branch in ("global_branch", "local_branch")]
        else:
            places = [] if name.startswith(("head", "pos_embed")) else [f"trunk.{name}"]
        assert all(torch.equal(found.pop(place), tensor) for place in places), name
    assert list(found) == ["trunk.pos_embed"]
    table = state["pos_embed"]
    grid = table[:, 1:].transpose(1, 2).unflatten(2, (10, 10))
    grid = F.interpolate(grid, size=(7, 3), mode="bicubic", antialias=True)
    expected = torch.cat([table[:, :1], grid.flatten(2).transpose(1, 2)], dim=1)
    torch.testing.assert_close(found["trunk.pos_embed"], expected)
    parameters = dict(model.backbone.named_parameters())
    copies = [parameters[f"{branch}.0.mlp.fc1.weight"] for branch in ("global_branch", "local_branch")]
    assert copies[0].data_ptr() != copies[1].data_ptr()


@pytest.mark.parametrize(
    ("size", "stride", "grid"),
    [((96, 48), 12, (7, 3)), ((256, 128), 12, (21, 10)), ((64, 33), 16, (4, 2)), ((53, 27), 5, (8, 3))],
)
def test_overlapping_patches_against_crops(size: tuple[int, int], stride: int, grid: tuple[int, int]) -> None:
    model = small(TransReID, backbone="test_vit", stride=stride, height=size[0], width=size[1])
    patches = model.backbone["trunk"].patch_embed
    assert isinstance(patches, OverlappingPatches) and patches.grid_size == grid
    assert model.backbone["trunk"].pos_embed.shape == (1, 1 + grid[0] * grid[1], WIDTH)
    images = images_of(*size, batch=2)
    with torch.inference_mode():
        found = patches(images)
        assert found.shape == (2, *grid, WIDTH)
        for row, column in ((0, 0), (1, grid[1] - 1), (grid[0] - 1, 1)):
            crop = images[:, :, row * stride :, column * stride :][:, :, :16, :16]
            expected = crop.flatten(1) @ patches.proj.weight.flatten(1).T + patches.proj.bias
            torch.testing.assert_close(found[:, row, column], expected, rtol=1e-4, atol=1e-5)
        assert model.eval().maps(images).shape == (2, WIDTH, *grid)


def test_other_sizes_than_the_tables() -> None:
    model = small(TransReID, **TINY).eval()
    model.backbone["trunk"].pos_embed.requires_grad_(False).copy_(torch.randn(1, 11, WIDTH))
    with torch.inference_mode():
        for height, width, grid in ((64, 32, (5, 2)), (96, 48, (7, 3)), (53, 27, (4, 1))):
            images = images_of(height, width)
            assert model(images).shape == (4, 5 * WIDTH)
            assert model.maps(images).shape == (4, WIDTH, *grid)
        with pytest.raises(UserError, match="parts=4 is more than an image's 2 patches"):
            model(images_of(28, 16))
        with pytest.raises(UserError, match="images of height=15, width=32 are smaller than a patch"):
            model.maps(images_of(15, 32))


def test_locals_against_one_part_at_a_time() -> None:
    model = small(TransReID, **TINY).eval()
    nn.init.normal_(model.backbone["local_branch"][0].mlp.fc2.bias)  # as if it had been trained, unlike the global one
    images = images_of()
    with torch.inference_mode():
        features = model.features(images)
        tokens = model.backbone["trunk"].forward_features(images)
        torch.testing.assert_close(features["global"], model.backbone["global_branch"](tokens)[:, 0])
        for i, numbers in enumerate(by_hand(10, 4, 5, 2)):
            seen = torch.stack([tokens[:, 0], *(tokens[:, 1 + number] for number in numbers)], dim=1)
            expected = model.backbone["local_branch"](seen)[:, 0]
            torch.testing.assert_close(features[f"local{i + 1}"], expected, rtol=1e-5, atol=1e-5)


def test_local_branches_see_their_tokens_and_the_class_token() -> None:
    model = small(TransReID, backbone="test_vit", height=96, width=48, parts=3, shift=2, groups=3).eval()
    tokens = torch.randn(1, 22, WIDTH, requires_grad=True)
    for part, numbers in zip(model._locals(tokens)[0], by_hand(21, 3, 2, 3)):
        (gradient,) = torch.autograd.grad(part[0], tokens, retain_graph=True)
        assert gradient.abs().sum(2)[0].nonzero()[:, 0].tolist() == [0, *sorted(1 + number for number in numbers)]


def test_registers_go_before_every_part() -> None:
    """DINOv2's has a class token and four registers."""
    model = small(TransReID, 0, backbone="vit_small_patch14_reg4_dinov2", height=98, width=42).eval()
    tokens = torch.randn(2, 5 + 8 * 3, 384)
    seen: list[Tensor] = []
    model.backbone["local_branch"] = nn.Identity()
    model.backbone["local_branch"].register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    with torch.inference_mode():
        assert model._locals(tokens).shape == (2, 4, 384)
        for i, numbers in enumerate(by_hand(24, 4, 5, 2)):
            expected = tokens[:, [0, 1, 2, 3, 4, *(5 + number for number in numbers)]]
            assert torch.equal(seen[0].unflatten(0, (2, 4))[:, i], expected)
        assert model.maps(images_of(98, 42)).shape == (4, 384, 8, 3)


def test_training_gives_all_branches() -> None:
    model = small(TransReID, **TINY).train()
    output = model(images_of())
    check_output(output, dict.fromkeys(NAMES, (WIDTH, WIDTH)))
    assert len(output.logits) == 5
    assert output.before is output.branches["global"].before and output.after is output.branches["global"].after
    torch.testing.assert_close(output.parts, torch.stack([output.branches[name].before for name in NAMES[1:]], 1))
    assert all(not neck.bias.requires_grad for neck in model.necks.values())
    alone = small(TransReID, jpm=False, **TINY).train()
    output = alone(images_of())
    check_output(output, {"global": (WIDTH, WIDTH)})
    assert output.parts is None and len(output.logits) == 1 and alone.dim == WIDTH


def test_margins_of_the_classifier() -> None:
    model = small(TransReID, classifier={"name": "cosface", "margin": 0.2, "scale": 10.0}, drop_path_rate=0.0, **TINY)
    with torch.no_grad():
        plain, labelled = (model.train()(images_of(), labels).logits for labels in (None, torch.arange(4)))
    for one, other in zip(plain, labelled):
        torch.testing.assert_close(one - other, 2.0 * torch.eye(4, 5), rtol=1e-4, atol=1e-4)


def test_embedding_weights_the_branches() -> None:
    for embedding in ("before", "after"):
        model = small(TransReID, embedding=embedding, parts=2, **TINY)
        assert model.dim == 3 * WIDTH
        with torch.no_grad():
            model.train()(images_of())
            model.eval()
            features = model.features(images_of())
            if embedding == "after":
                features = {name: model.necks[name](feature) for name, feature in features.items()}
            wide = torch.cat([features["global"], features["local1"] / 2, features["local2"] / 2], dim=1)
            torch.testing.assert_close(model(images_of()), F.normalize(wide, dim=1))


def test_stochastic_depth() -> None:
    model = small(TransReID, drop_path_rate=0.3, **TINY)
    blocks = [*model.backbone["trunk"].blocks, *(model.backbone[f"{name}_branch"][0] for name in ("global", "local"))]
    rates = [getattr(block.drop_path1, "drop_prob", 0.0) for block in blocks]
    assert rates == pytest.approx([0, 0.06, 0.12, 0.18, 0.24, 0.3, 0.3])
    given = small(TransReID, **{**TINY, "backbone": {"name": "test_vit", "drop_path_rate": 0.0}})
    assert not [module for module in given.modules() if hasattr(module, "drop_prob")]


def test_bfloat16() -> None:
    model = small(TransReID, **TINY)
    with torch.autocast("cpu", torch.bfloat16):
        output = model.train()(images_of())
        loss = sum(F.cross_entropy(logits, torch.arange(4)) for logits in output.logits)
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)
    with torch.inference_mode():
        wide = model.eval()(images_of())
        with torch.autocast("cpu", torch.bfloat16):
            narrow = model(images_of())
    assert narrow.dtype == torch.float32
    assert (wide * narrow).sum(1).min() > 0.999


def test_gradients_reach_everything() -> None:
    check_gradients(small(TransReID, drop_path_rate=0.0, **TINY))


def test_evaluation() -> None:
    check_evaluation(small(TransReID, **TINY))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"backbone": "resnet18"}, "needs a plain ViT with a class token as its backbone.*resnet18 is none"),
        ({"backbone": "osnet_x0_25"}, "needs a plain ViT.*osnet_x0_25 is none"),
        ({"backbone": "test_vit2"}, "needs a plain ViT with a class token"),
        ({"backbone": "vit_tiny_r_s16_p8_224"}, "needs a plain ViT"),  # its patches are those of a CNN's maps
        ({"backbone": "vit_smal"}, "backbone 'vit_smal' is unknown.*vit_small"),
        ({"backbone": {"drop_path_rate": 0.1}}, "has no name"),
        ({"stride": 0}, "stride=0 must be from 1 to 16"),
        ({"stride": 17}, "stride=17 must be from 1 to 16"),
        ({"parts": 0}, "parts=0 must be 1 or more"),
        ({"parts": 11}, "parts=11 is more than an image's 10 patches"),
        ({"groups": 0}, "groups=0 must be 1 or more"),
        ({"shift": -1}, "shift=-1 must be 0 or more"),
        ({"drop_path_rate": 1.0}, r"drop_path_rate=1.0 is outside \[0, 1\)"),
        ({"embedding": "befor"}, "embedding='befor' is unknown; choose from before, after.*before"),
        ({"height": 15}, "images of height=15, width=32 are smaller than a patch of 16 x 16 pixels"),
        ({"width": 0}, "width=0 must be 1 or more"),
        ({"weights": "nowhere.pth"}, "weights file nowhere.pth does not exist"),
    ],
)
def test_refused_options(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        small(TransReID, **{**TINY, **options})
