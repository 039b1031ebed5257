"""The custom CNN as a re-identification model: necks, classifiers, parts and what makes the embedding."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from reidlab.errors import UserError
from reidlab.models import Output, build, count_macs, count_parameters
from reidlab.models.families.custom_cnn import static_kernels
from reidlab.models.families.custom_cnn_reid import CustomCNNReID


def model(num_classes: int = 0, **options: Any) -> CustomCNNReID:
    torch.manual_seed(0)
    return CustomCNNReID(num_classes, **options)


def test_the_defaults_are_the_published_network() -> None:
    made = model()
    assert count_parameters(made) == 755_988
    assert count_parameters(made, trainable=True) == 755_907
    assert count_macs(made, 128, 64) == 77_062_656
    assert (made.preprocess.height, made.preprocess.width) == (128, 64)
    assert made.preprocess.mean == (0, 0, 0) and made.preprocess.std == (1, 1, 1)
    images = torch.rand(2, 3, 128, 64)
    torch.testing.assert_close(made.eval()(images), made.network(images))


@pytest.mark.parametrize("neck, per_head", [("none", 751 * 128), ("bnneck", 751 * 128 + 256)])
@pytest.mark.parametrize("parts, heads", [(True, 7), (False, 1)])
def test_parameters_of_the_heads(neck: str, per_head: int, parts: bool, heads: int) -> None:
    base = 755_988 if parts else 755_988 - 198_912
    assert count_parameters(model(751, neck=neck, parts=parts)) == base + heads * per_head


def test_neck_bias_stays_0() -> None:
    made = model(5, neck="bnneck")
    frozen = {name for name, p in made.named_parameters() if not p.requires_grad}
    assert frozen == {"network.static_conv.weight"} | {f"necks.{i}.bias" for i in range(7)}
    assert all(not neck.bias.any() for neck in made.necks)


@pytest.mark.parametrize("neck", ["none", "bnneck"])
@pytest.mark.parametrize("parts", [True, False])
@pytest.mark.parametrize("num_classes", [0, 5])
def test_training_gives_an_output(neck: str, parts: bool, num_classes: int) -> None:
    made = model(num_classes, neck=neck, parts=parts, dropout=0.0).train()
    output = made(torch.rand(4, 3, 48, 24))
    assert isinstance(output, Output)
    heads = 7 if parts else 1
    assert output.before.shape == (4, 128)
    torch.testing.assert_close(output.before.norm(dim=1), torch.ones(4))
    assert len(output.logits) == (heads if num_classes else 0)
    assert all(logits.shape == (4, 5) for logits in output.logits)
    if neck == "none":
        assert output.after is output.before
    else:
        assert not torch.equal(output.after, output.before)
    if parts:
        assert output.parts is not None and output.parts.shape == (4, 6, 128)
        torch.testing.assert_close(output.parts.norm(dim=2), torch.ones(4, 6))
    else:
        assert output.parts is None


def test_parts_see_their_own_stripe() -> None:
    made = model(embedding="parts", dropout=0.0).eval()
    maps = torch.rand(2, 256, 12, 8)
    made.network.maps = lambda _images: maps  # type: ignore[method-assign, assignment]
    got = made(torch.empty(2, 3, 1, 1)).reshape(2, 6, 128) * 6**0.5
    for i in range(6):
        stripe = maps[:, :, 2 * i : 2 * i + 2].amax(dim=(2, 3))
        torch.testing.assert_close(got[:, i], F.normalize(made.network.part_heads[i](stripe), dim=1))


@pytest.mark.parametrize("neck", ["none", "bnneck"])
@pytest.mark.parametrize("embedding, width", [("global", 128), ("parts", 768), ("concat", 896)])
def test_embeddings(neck: str, embedding: str, width: int) -> None:
    made = model(3, neck=neck, embedding=embedding)
    with torch.no_grad():
        made.train()(torch.rand(8, 3, 48, 24))  # statistics of the necks
    made.eval()
    images = torch.rand(2, 3, 48, 24)
    vectors = made(images)
    assert vectors.shape == (2, width) and made.dim == width and vectors.dtype == torch.float32
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(2))
    # by hand: every used feature through its neck, normalised, side by side
    net, maps = made.network, made.network.maps(images)
    stripes = F.adaptive_max_pool2d(maps, (6, 1))[..., 0]
    features = [net.head(maps.mean((2, 3)))] + [head(stripes[:, :, i]) for i, head in enumerate(net.part_heads)]
    if neck == "bnneck":
        features = [
            (f - n.running_mean) / (n.running_var + n.eps).sqrt() * n.weight for n, f in zip(made.necks, features)
        ]
    used = {"global": features[:1], "parts": features[1:], "concat": features}[embedding]
    by_hand = torch.cat([F.normalize(f, dim=1) for f in used], dim=1) / len(used) ** 0.5
    torch.testing.assert_close(vectors, by_hand, rtol=1e-4, atol=1e-5)


def test_parts_and_classifiers_learn_when_the_loss_asks() -> None:
    made = model(5, neck="bnneck").train()
    output = made(torch.rand(4, 3, 48, 24))
    (sum(F.cross_entropy(logits, torch.arange(4)) for logits in output.logits) + output.parts.sum()).backward()
    without = [name for name, p in made.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []
    assert torch.equal(made.network.static_conv.weight, static_kernels())


@pytest.mark.parametrize("options, std", [({}, 0.001), ({"classifier_std": 0.05}, 0.05)])
def test_classifiers_start_small(options: dict[str, Any], std: float) -> None:
    made = model(2000, **options)
    for classifier in made.classifiers:
        assert classifier.bias is None
        assert classifier.weight.std().item() == pytest.approx(std, rel=0.02)


@pytest.mark.parametrize("height, width", [(16, 16), (31, 17), (256, 128)])
def test_input_sizes(height: int, width: int) -> None:
    made = model(height=height, width=width, embedding="concat", neck="bnneck")
    assert (made.preprocess.height, made.preprocess.width) == (height, width)
    images = made.preprocess(torch.randint(0, 256, (2, 3, 40, 20), dtype=torch.uint8))
    made.train()(images)
    assert torch.isfinite(made.eval()(images)).all()


@pytest.mark.parametrize(
    "options, words",
    [
        ({"neck": "bneck"}, r"neck='bneck' is unknown; choose from none, bnneck. Did you mean 'bnneck'\?"),
        ({"embedding": "part"}, "embedding='part' is unknown.*'parts'"),
        ({"embedding": "parts", "parts": False}, "needs parts=True"),
        ({"embedding": "concat", "parts": False}, "needs parts=True"),
        ({"height": 15}, "15 x 64.*at least 16 x 16"),
        ({"width": 0}, "128 x 0"),
        ({"dropout": 1}, "dropout=1"),
        ({"classifier_std": -0.1}, r"classifier_std=-0\.1"),
        ({"last_stride": 4}, "last_stride=4"),
    ],
)
def test_refused_options(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        build({"name": "custom_cnn_v32", **options})


def test_same_seed_same_weights() -> None:
    one, two = model(4, neck="bnneck").state_dict(), model(4, neck="bnneck").state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
