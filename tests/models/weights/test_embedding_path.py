"""What embeddings pass through, against what changing each tensor does to them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from reidlab.errors import UserError
from reidlab.models import build
from reidlab.models.weights.embedding_path import check_loaded, embedding_tensors

SIZE = {"height": 64, "width": 32}
SPECS: list[dict[str, Any]] = [
    {"name": "custom_cnn_v32", "neck": "bnneck"},
    {"name": "osnet_x0_25", "neck": "bnneck", "embedding": "before"},
    {"name": "osnet_x0_25", "neck": "landmarks", "pooling": "gem_learnable"},
    {"name": "resnet18", "pooling": "stripes", "feature_dim": 8},
    {"name": "vit_tiny_patch16_224"},
    {"name": "plr_osnet", "backbone": "osnet_x0_25"},
]
# gates of one hidden unit may be shut; softmax takes keys' bias out, a BN behind all positions adds of the same
MAY_REST = ("gate.", "attn.qkv.bias")


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_they_are_those_whose_change_is_seen(spec: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = build({**spec, **SIZE}, 3)
    for parameter in model.parameters():
        if parameter.dim() == 1 and not parameter.any():
            torch.nn.init.constant_(parameter, 0.5)  # residual branches start shut, and what is in them rests
    model.train()(torch.rand(4, 3, 64, 32))
    found = embedding_tensors(model)
    assert model.training and all(module.training for module in model.modules())
    state = model.state_dict()
    images = torch.rand(2, 3, 64, 32, generator=torch.Generator().manual_seed(1))
    model.eval()
    with torch.inference_mode():
        before = model(images)
        for name in list(state)[:: max(1, len(state) // 25)] + [n for n in state if n not in found][:20]:
            tensor = state[name]
            kept = tensor.clone()
            noise = torch.rand(tensor.shape, generator=torch.Generator().manual_seed(2)) + 0.5
            tensor.copy_((tensor + noise).to(tensor.dtype))
            changed = not torch.equal(model(images), before)
            tensor.copy_(kept)
            assert changed <= (name in found), f"{name} changes embeddings"
            if name in found and not any(part in name for part in MAY_REST):
                assert changed, f"{name} changes nothing"


def test_what_only_training_looks_at_is_not_among_them() -> None:
    torch.manual_seed(0)
    model = build({"name": "custom_cnn_v32", "neck": "bnneck", **SIZE}, 3)
    found = embedding_tensors(model)
    assert {"network.head.4.bias", "necks.0.running_mean", "network.static_conv.weight"} <= set(found)
    assert not [name for name in found if name.startswith(("classifiers.", "network.part_heads.", "necks.1."))]
    assert not [name for name in found if name.endswith("num_batches_tracked")]


def test_what_was_not_loaded_is_named() -> None:
    torch.manual_seed(0)
    model = build({"name": "custom_cnn_v32", **SIZE}, 3)
    everything = [name for name in model.state_dict() if not name.startswith(("classifiers.", "network.part_heads."))]
    check_loaded(model, everything, "w.pth")
    lacking = [name for name in everything if name not in ("network.head.3.weight", "network.bn1.running_var")]
    match = r"w\.pth lacks 2 tensors .*: network.bn1.running_var, network.head.3.weight\. They would be random"
    with pytest.raises(UserError, match=match):
        check_loaded(model, lacking, "w.pth")
