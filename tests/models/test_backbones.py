"""Every registered backbone: counts, map sizes at any image size, the last stride, and names of timm."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from reidlab.errors import UserError
from reidlab.models.backbones import BACKBONES, build_backbone
from reidlab.models.build import count_macs, count_parameters
from reidlab.models.families.timm_maps import TimmMaps

ALWAYS_32 = ("swin_tiny",)
NO_LAST_STRIDE = ("vit_small", *(name for name in BACKBONES if name.startswith("osnet")))
# name -> parameters and, with the last stride 2, multiply-adds at 256x128; from the papers' code, torchvision and torchreid
COUNTS = {
    "resnet18": (11_176_512, 1_184_366_592),
    "resnet34": (21_284_672, 2_392_326_144),
    "resnet50": (23_508_032, 2_669_150_208),
    "resnet101": (42_500_160, 5_093_457_920),
    "resnet152": (58_143_808, 7_517_765_632),
    "densenet121": (6_953_856, 1_850_212_352),
    "mobilenetv3_large_100": (2_971_952, 140_330_880),
    "efficientnet_b0": (4_007_548, 251_342_336),
}
PARAMETERS = {
    "mobilenetv2_100": 2_223_872,
    "vgg16": 14_714_688,
    "swin_tiny": 27_519_354,
    "vit_base": 85_798_656,
    "resnet50_ibn_a": 23_508_032,
    "resnet101_ibn_a": 42_500_160,
    **{name: parameters for name, (parameters, _) in COUNTS.items()},
}


def bare(name: str, **options: Any) -> Any:
    """Build with zeros for initial values: shapes and counts are all that is asked of the network."""
    with pytest.MonkeyPatch.context() as patch:
        for fill in ("normal_", "uniform_"):
            patch.setattr(torch.Tensor, fill, lambda tensor, *_args, **_options: tensor.zero_())
        return build_backbone(name, **options).eval()


def size_of(network: nn.Module, height: int, width: int) -> tuple[int, ...]:
    """Return channels, height and width of the maps."""
    with torch.no_grad():
        return tuple(network(torch.zeros(1, 3, height, width)).shape[1:])


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone(name: str) -> None:
    network = bare(name)
    factor = 32 if name in ALWAYS_32 else 16
    assert network.reduction == factor
    assert size_of(network, 96, 64) == (network.channels, 96 // factor, 64 // factor)
    assert len(network.preprocess_mean) == len(network.preprocess_std) == 3
    assert all(0 < value < 1 for value in (*network.preprocess_mean, *network.preprocess_std))
    assert network.load_report is None
    assert BACKBONES[name].description and "\n" not in BACKBONES[name].description
    if name in PARAMETERS:
        assert count_parameters(network) == PARAMETERS[name]


@pytest.mark.parametrize("name", COUNTS)
def test_published_counts_with_the_last_stride(name: str) -> None:
    network = bare(name, last_stride=2)
    assert (count_parameters(network), count_macs(network, 256, 128)) == COUNTS[name]
    assert network.reduction == 32


def test_resnet50_with_last_stride_1() -> None:
    network = bare("resnet50")
    assert (count_macs(network, 256, 128), count_macs(network, 384, 128)) == (4_053_270_528, 6_079_905_792)


# families whose counts with the last stride are in no table above
@pytest.mark.parametrize(
    "name",
    ["resnet18d", "resnest14d", "tf_efficientnet_lite0", "mobilenetv2_100", "regnetx_002", "resnetv2_18", "pvt_v2_b0"],
)
def test_the_last_stride_changes_sizes_and_nothing_else(name: str) -> None:
    one, two = bare(name), bare(name, last_stride=2)
    assert (one.reduction, two.reduction) == (16, 32)
    channels = one.channels
    assert (size_of(one, 128, 64), size_of(two, 128, 64)) == ((channels, 8, 4), (channels, 4, 2))
    assert {k: v.shape for k, v in one.state_dict().items()} == {k: v.shape for k, v in two.state_dict().items()}


def unstride_by_hand(name: str, network: Any) -> None:
    if name == "resnet18":
        block = network.layer4[0]
        block.conv1.stride = block.downsample[0].stride = (1, 1)
    elif name == "resnet18d":
        network.layer4[0].conv1.stride = (1, 1)
        network.layer4[0].downsample[0] = nn.Identity()
    else:
        network.blocks[5][0].conv_dw.stride = (1, 1)


@pytest.mark.parametrize("name", ["resnet18", "resnet18d", "mobilenetv2_100"])
def test_the_last_stride_against_strides_set_by_hand(name: str) -> None:
    torch.manual_seed(0)
    reference = timm.create_model(name, num_classes=0, global_pool="").eval()
    for tensor in reference.state_dict().values():
        if tensor.dtype == torch.float32 and tensor.ndim == 1:
            tensor.uniform_(0.5, 1.5)  # norms that are no identities
    network = build_backbone(name).eval()
    network.load_state_dict(reference.state_dict())
    unstride_by_hand(name, reference)
    images = torch.randn(1, 3, 67, 35)
    with torch.inference_mode():
        maps = network(images)
        torch.testing.assert_close(maps, reference(images))
    assert maps.shape[-2:] == (5, 3) and maps.std() > 0


@pytest.mark.parametrize("name", NO_LAST_STRIDE)
def test_networks_without_a_last_stride(name: str) -> None:
    with pytest.raises(UserError, match="no last stride"):
        bare(name, last_stride=2)


def test_halving_by_other_means_is_kept() -> None:
    """Swin merges patches, ConvNeXt's kernels are 2x2, blur pooling is no strided layer: their maps stay 1/32."""
    for name in ("swin_tiny", "convnext_atto", "resnetblur18"):
        network = bare(name)
        assert network.reduction == 32 and size_of(network, 256, 128)[1:] == (8, 4)
    with pytest.raises(UserError, match="last_stride=3 is neither 1 nor 2"):
        bare("resnet18", last_stride=3)


@pytest.mark.parametrize(
    ("name", "odd"),
    [("resnet18", (9, 5)), ("tf_efficientnet_lite0", (9, 5)), ("densenet121", (8, 4)), ("swin_tiny", (5, 3)),
     ("vit_small", (9, 5)), ("osnet_x0_25", (8, 4)), ("vit_small_patch14_dinov2", (10, 5))],
)  # fmt: skip
def test_any_image_size(name: str, odd: tuple[int, int]) -> None:
    network = bare(name)
    channels, factor = network.channels, network.reduction
    assert size_of(network, 131, 67) == (channels, *odd)
    if name in ("swin_tiny", "vit_small", "osnet_x0_25"):
        assert size_of(network, 256, 128) == (channels, 256 // factor, 128 // factor)
        assert size_of(network, 384, 128) == (channels, 384 // factor, 128 // factor)


def test_vit_tokens_become_a_map() -> None:
    torch.manual_seed(0)
    network = build_backbone("timm/vit_tiny_patch16_224", image_size=(64, 48)).eval()
    assert isinstance(network, TimmMaps)
    assert network.network.pos_embed.shape == (1, 1 + 4 * 3, 192)
    images = torch.randn(2, 3, 64, 48)
    with torch.inference_mode():
        maps, tokens = network(images), network.tokens(images)
    assert maps.shape == (2, 192, 4, 3) and tokens.shape == (2, 13, 192)
    for row in range(4):
        for column in range(3):
            assert torch.equal(maps[:, :, row, column], tokens[:, 1 + 3 * row + column])


def test_vit_rows_are_rows() -> None:
    """The patch that is changed in the image is the place of the map that changes most, before attention spreads it."""
    torch.manual_seed(0)
    network: Any = build_backbone("timm/vit_tiny_patch16_224", image_size=(64, 48)).eval()
    network.network.blocks = nn.Identity()
    plain, changed = torch.zeros(1, 3, 64, 48), torch.zeros(1, 3, 64, 48)
    changed[:, :, 32:48, 16:32] = 1
    with torch.inference_mode():
        difference = (network(plain) - network(changed)).abs().sum(1)[0]
    assert difference.nonzero().tolist() == [[2, 1]]


def test_swin_maps_have_their_channels_first() -> None:
    torch.manual_seed(0)
    network = build_backbone("swin_tiny").eval()
    images = torch.randn(1, 3, 96, 64)
    with torch.inference_mode():
        maps, features = network(images), network.tokens(images)
    assert features.shape == (1, 3, 2, 768) and maps.shape == (1, 768, 3, 2)
    assert torch.equal(maps[0, :, 2, 1], features[0, 2, 1])


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv3_small_100", "convnext_atto"])
def test_maps_are_what_timm_calls_features(name: str) -> None:
    """Taking the head away leaves the body's output as it was."""
    torch.manual_seed(0)
    network: Any = build_backbone(name, last_stride=2).eval()
    reference = timm.create_model(name, num_classes=0).eval()
    state = {k: v for k, v in reference.state_dict().items() if k in network.state_dict()}
    network.load_state_dict(state)
    images = torch.randn(1, 3, 64, 32)
    with torch.inference_mode():
        maps: Tensor = network(images)
        torch.testing.assert_close(maps, reference.forward_features(images))
    assert maps.std() > 0


def test_building_leaves_no_trace() -> None:
    """No hooks, no statistics of the probe, training mode, and it can be copied to another process."""
    network = build_backbone("resnet18")
    assert network.training and all(module.training for module in network.modules())
    assert not any(module._forward_hooks for module in network.modules())
    assert network.bn1.num_batches_tracked == 0
    copy = pickle.loads(pickle.dumps(network))
    images = torch.randn(1, 3, 32, 32)
    assert torch.equal(copy.eval()(images), network.eval()(images)) and copy.channels == 512


def test_drop_path() -> None:
    network = bare("vit_small", drop_path_rate=0.1)
    rates = [
        m.drop_prob for name, m in network.named_modules() if name.endswith("drop_path1") and hasattr(m, "drop_prob")
    ]
    assert max(rates) == pytest.approx(0.1)
    with pytest.raises(UserError, match=r"vgg11 does not take drop_path_rate=0.1 .*leave it out"):
        bare("vgg11", drop_path_rate=0.1)


def test_osnet_with_its_published_head() -> None:
    network = bare("osnet_x0_5", feature_dim=512)
    assert count_parameters(network) == 630_034 and size_of(network, 256, 128) == (512, 1, 1)
    assert network.reduction == 16


@pytest.mark.parametrize("name", ["timm/regnetx_002", "regnetx_002", "regnetx_002.pycls_in1k"])
def test_any_network_of_timm(name: str) -> None:
    assert bare(name).channels == 368


def test_side_paths_keep_their_strides() -> None:
    """PVT halves keys and values inside its third stage, by convolutions of the sizes of the last halving."""
    network = bare("pvt_v2_b0")
    assert [module.stride for name, module in network.named_modules() if name.endswith("attn.sr")] == [
        *[(8, 8)] * 2, *[(4, 4)] * 2, *[(2, 2)] * 2
    ]  # fmt: skip


def test_a_network_whose_head_is_more_than_its_children() -> None:
    network = bare("poolformer_s12")
    assert isinstance(network, TimmMaps) and size_of(network, 64, 64) == (512, 4, 4)


def test_networks_that_need_larger_images_to_be_traced() -> None:
    network = bare("inception_v3")
    assert size_of(network, 256, 128) == (network.channels, 6, 2)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("resnet5O", "resnet50"),
        ("osnet_x1_00", "osnet_x1_0"),
        ("timm/convnext_atoo", "convnext_atto"),
        ("swin-tiny", "swin_tiny"),
    ],
)
def test_misspelt_names(name: str, hint: str) -> None:
    with pytest.raises(UserError, match=rf"backbone '{name}' is unknown.*Did you mean '{hint}'\?"):
        build_backbone(name)


def test_wrong_options() -> None:
    with pytest.raises(UserError, match=r"'osnet_x0_25' has no option 'feature_dims'.*Did you mean 'feature_dim'"):
        build_backbone("osnet_x0_25", feature_dims=512)
    with pytest.raises(UserError, match=r"option last_stride='1' must be a whole number"):
        build_backbone("resnet18", last_stride="1")  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"image_size=\(256,\) must be a height and a width"):
        build_backbone("vit_small", image_size=(256,))


@pytest.mark.parametrize("name", ["twins_svt_small", "mvitv2_tiny"])
def test_networks_without_maps(name: str) -> None:
    with pytest.raises(UserError, match=f"{name}.*maps"):
        bare(name)
