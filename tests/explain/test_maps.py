"""Every method on every kind of model: forms, ranges, what cannot be shown, and models that stay as they were."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from explain_cases import FAMILIES, SIZES, SMALL, Toy, Vectors, built, embedded, images
from torch import nn

from reidlab.errors import UserError
from reidlab.explain import AttentionMaps, attention_maps, default_layer, layers, methods_of
from reidlab.registry import MAPS

GATED = {
    "cbam_spatial": {"custom_cnn_v32"},
    "squeeze_excite": {
        "lightmbn", "lightmbn_gc_gem", "plr_osnet", "osnet_x0_25", "osnet_ain_x1_0", "seresnet50", "efficientnet_b0",
        "mobilenetv3_small_100",
    },
    "position_attention": {"lightmbn_gc_gem", "plr_osnet", "fpb"},
    "rollout": {"transreid", "vit_small", "swin_tiny"},
    "part_stripes": {"custom_cnn_v32", "lightmbn", "lightmbn_gc_gem", "pcb", "mgn", "plr_osnet", "fpb"},
}  # fmt: skip
GATED["cbam_channel"] = GATED["cbam_spatial"]


def images_for(name: str, count: int = 2) -> Any:
    size = {**SMALL, **SIZES.get(name, {})}
    return images(count, size["height"], size["width"], seed=2)


def state(model: nn.Module) -> Any:
    return (
        {name: value.clone() for name, value in model.state_dict().items()},
        [module.training for module in model.modules()],
        [(p.requires_grad, None if p.grad is None else p.grad.clone()) for p in model.parameters()],
        [len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in model.modules()],
        [getattr(module, "fused_attn", None) for module in model.modules()],
    )


def check_same(model: nn.Module, before: Any) -> None:
    after = state(model)
    assert all(torch.equal(before[0][name], after[0][name]) for name in before[0])
    assert after[1] == before[1] and after[3:] == before[3:]
    for (wanted, grad), (was, had) in zip(after[2], before[2]):
        assert wanted == was and (grad is None) == (had is None)
        assert grad is None or torch.equal(grad, had)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_method_that_a_model_has(name: str) -> None:
    model = built(name)
    given = images_for(name)
    model.train()  # somebody may be in the middle of a training, with gradients
    first = next(p for p in model.parameters() if p.requires_grad)
    first.grad = torch.ones_like(first)
    before, pixels = state(model), given.clone()
    has = methods_of(model)
    lacked = {method for method, those in GATED.items() if name not in those}
    assert has == [method for method in MAPS if method not in lacked]
    for method in has:
        found = attention_maps(model, given, method)
        assert isinstance(found, AttentionMaps) and found.method == method and found.layer
        assert found.maps.dtype == np.float32 and found.maps.ndim == 3 and len(found) == 2
        assert np.isfinite(found.maps).all() and found.maps.min() >= 0 and found.maps.max() <= 1 + 1e-6
        assert found.resized(20, 10).maps.shape == (2, 20, 10)
    for method in sorted(lacked):
        with pytest.raises(UserError, match=rf"method '{method}' does not show \w+: it.*Those that do are activation"):
            attention_maps(model, given, method)
    check_same(model, before)
    assert torch.equal(given, pixels)


def test_a_model_without_maps_has_occlusion_alone() -> None:
    model = Vectors().eval()
    given = images(2, 16, 8)
    assert methods_of(model) == ["occlusion"]
    assert attention_maps(model, given, "occlusion").maps.shape == (2, 12, 6)
    with pytest.raises(UserError, match=r"no layer that gives maps, only vectors\. Those that do are occlusion"):
        attention_maps(model, given)
    with pytest.raises(UserError, match="Vectors has no layer that gives maps"):
        layers(model)


def test_layers_run_in_their_order_and_are_no_insides_of_blocks() -> None:
    found = layers(built("custom_cnn_v32"))
    names = [name.removeprefix("network.") for name in found]
    assert names == ["static_conv", "trainable_conv", "stage2", "stage3", "stage4", "cbam4", "stage5", "cbam5"]
    last = found["network.cbam5"]
    assert (last.channels, last.rows, last.columns) == (256, 8, 4) and str(last) == "network.cbam5 (256 x 8 x 4)"
    resnet = layers(built("resnet18"))
    assert list(resnet)[-2:] == ["backbone.layer4.0", "backbone.layer4.1"] and len(resnet) == 11
    vit = layers(built("vit_small"))
    assert [vit[f"backbone.network.blocks.{i}"].rows for i in range(12)] == [4] * 12
    assert default_layer(built("lightmbn")) == "bottleneck"


def test_layers_by_the_end_of_their_names() -> None:
    model, given = built("custom_cnn_v32"), images()
    one, other = (attention_maps(model, given, "activation", layer) for layer in ("cbam4", "network.cbam4"))
    assert np.array_equal(one.maps, other.maps) and one.layer == "network.cbam4"
    with pytest.raises(UserError, match=r"layer='cbam6' is unknown.*Did you mean"):
        attention_maps(model, given, "activation", "cbam6")
    with pytest.raises(UserError, match=r"layer='body' is any of network\.stage2\.body"):
        attention_maps(model, given, "activation", "body")
    with pytest.raises(UserError, match="gives no maps"):
        attention_maps(model, given, "activation", "network.head")
    with pytest.raises(UserError, match=r"has no gate; they are in network\.cbam4, network\.cbam5"):
        attention_maps(model, given, "cbam_spatial", "stage4")


def test_activation_by_hand() -> None:
    model, given = built("custom_cnn_v32"), images()
    with torch.no_grad():
        maps = model.network.maps(model.preprocess(given)).numpy()
    for power, strength in (("square", maps**2), ("abs", np.abs(maps))):
        by_hand = strength.mean(1)
        by_hand /= by_hand.max((1, 2), keepdims=True)
        assert np.allclose(attention_maps(model, given, options={"power": power}).maps, by_hand, atol=1e-6)


def test_gates_by_hand() -> None:
    model, given = built("custom_cnn_v32"), images()
    net = model.network
    with torch.no_grad():
        first = torch.cat([net.static_conv(model.preprocess(given)), net.trainable_conv(model.preprocess(given))], 1)
        x = net.stage4(net.stage3(net.stage2(nn.functional.leaky_relu(net.bn1(first), 0.1))))
        gate = net.cbam4.channel_attention(x)
        gated = x * gate
        spatial = net.cbam4.spatial_attention(torch.cat([gated.mean(1, True), gated.amax(1, True)], 1))[:, 0]
        channel = (gate * x.abs()).mean(1)
    assert np.allclose(attention_maps(model, given, "cbam_spatial", "cbam4").maps, spatial, atol=1e-6)
    channel = channel / channel.amax((1, 2), keepdim=True)
    assert np.allclose(attention_maps(model, given, "cbam_channel", "cbam4").maps, channel, atol=1e-5)


def test_hirescam_of_a_linear_embedding_is_the_pair_map() -> None:
    """Features times slopes of a cosine whose length is held: what each location adds, without the negative part."""
    from reidlab.explain import location_vectors

    model, given = built({"name": "resnet18", "neck": "bnneck"}), images(3)
    vectors = embedded(model, given)
    for target in (None, vectors[0]):
        wanted = vectors if target is None else np.repeat(target[None], 3, 0)
        parts = np.einsum("ild,id->il", location_vectors(model, given).vectors, wanted).reshape(3, 4, 2)
        positive = np.maximum(parts, 0)
        positive -= positive.min((1, 2), keepdims=True)
        positive /= np.maximum(positive.max((1, 2), keepdims=True), 1e-12)
        found = attention_maps(model, given, "hirescam", target=target)
        assert np.allclose(found.maps, positive, atol=1e-3)


def test_a_target_changes_what_is_explained() -> None:
    model, given = built("resnet18"), images(2)
    other = -embedded(model, given)
    own, turned = (attention_maps(model, given, "gradcam", target=one).maps for one in (None, other))
    assert not np.allclose(own, turned)
    with pytest.raises(UserError, match="method 'activation' has no target"):
        attention_maps(model, given, target=other)
    for wrong in (other[:, :3], np.full_like(other, np.nan), other[:1].repeat(3, 0)):
        with pytest.raises(UserError, match=r"target must be finite vectors \[512\] or \[2, 512\]"):
            attention_maps(model, given, "gradcam", target=wrong)


def test_a_class_token_has_slopes_only_before_the_last_block() -> None:
    model, given = built("transreid"), images_for("transreid")
    assert attention_maps(model, given, "gradcam").layer == "backbone.trunk.blocks.10"
    with pytest.raises(UserError, match=r"layer='backbone\.global_branch' has no part in the embedding"):
        attention_maps(model, given, "gradcam", "backbone.global_branch")


def test_rollout_by_hand() -> None:
    model, given = built("vit_small"), images(1)
    vit = model.backbone.network
    rolled = np.eye(9)
    with torch.no_grad():
        x = vit._pos_embed(vit.patch_embed(model.preprocess(given)))
        for block in vit.blocks:
            attention = block.attn
            q, k, _ = attention.qkv(block.norm1(x)).reshape(1, 9, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)
            weights = (q @ k.transpose(2, 3) * attention.scale).softmax(3).mean(1)[0].double().numpy()
            rolled = (weights + np.eye(9)) / 2 @ rolled
            x = block(x)
    row = rolled[1:, 1:].mean(0)
    found = attention_maps(model, given, "rollout").maps
    assert np.allclose(found.ravel(), row / row.max(), atol=1e-4)


def test_occlusion_finds_what_matters() -> None:
    """A model that sees one corner alone loses its cosine there and nowhere else."""

    class Corner(Toy):
        def forward(self, batch: Any) -> Any:
            seen = torch.zeros_like(batch)
            seen[:, :, :2, :2] = batch[:, :, :2, :2]
            return super().forward(seen)

    maps = attention_maps(Corner().eval(), images(1, 64, 32)[:, :, ::8, ::8], "occlusion", options={"size": 1.0}).maps
    assert maps[0, :3, :3].max() == 1 and maps[0, 4:].max() == 0 and maps[0, :, 4:].max() == 0


def test_batches_and_single_images_are_alike() -> None:
    model, given = built("custom_cnn_v32"), images(5)
    for method in ("activation", "gradcam", "occlusion"):
        # in an untrained network cosines hardly move: their gradients and drops are steps of rounding
        tolerance = 1e-4 if method == "activation" else 0.05
        whole = attention_maps(model, given, method).maps
        assert np.allclose(attention_maps(model, given, method, batch_size=2).maps, whole, atol=tolerance)
        assert np.allclose(attention_maps(model, given[3].numpy(), method).maps[0], whole[3], atol=tolerance)
    larger = nn.functional.interpolate(given.float(), scale_factor=2).byte()
    assert attention_maps(model, larger).maps.shape == (*whole.shape[:1], 8, 4)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (torch.zeros(2, 3, 8, 8), r"uint8 \[batch, 3, height, width\], not torch.float32"),
        (torch.zeros(2, 8, 8, dtype=torch.uint8), "uint8"),
        (torch.zeros(2, 8, 8, 3, dtype=torch.uint8), r"not \[2, 8, 8, 3\]"),
        (torch.zeros(0, 3, 8, 8, dtype=torch.uint8), r"not \[0, 3, 8, 8\]"),
        ("a.jpg", "not 'a.jpg'"),
    ],
)
def test_images_that_are_none(given: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        attention_maps(built("resnet18"), given)


def test_refused() -> None:
    model, given = built("resnet18"), images()
    for words, arguments in (
        ("method of maps 'gradcma' is unknown.*Did you mean 'gradcam'", {"method": "gradcma"}),
        ("has no option 'powr'", {"options": {"powr": "abs"}}),
        ("batch_size=0", {"batch_size": 0}),
        ("looks at the whole model; leave `layer` out", {"method": "occlusion", "layer": "layer4.1"}),
    ):
        with pytest.raises(UserError, match=words):
            attention_maps(model, given, **arguments)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="Linear has no `preprocess`"):
        attention_maps(nn.Linear(2, 2), given)
    with pytest.raises(UserError, match="a size of 0 x 4"):
        attention_maps(model, given).resized(0, 4)


def test_a_fault_inside_leaves_no_hook_behind() -> None:
    model, given = built("custom_cnn_v32"), images()
    broken = copy.deepcopy(model)
    broken.network.head = nn.Linear(3, 3)
    kept = state(broken)
    for method in ("activation", "gradcam", "cbam_spatial"):
        with pytest.raises(RuntimeError):
            attention_maps(broken, given, method)
    check_same(broken, kept)
