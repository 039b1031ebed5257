"""The pair map sums to the cosine, and where the embedding is linear every part is what leaving it out costs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from explain_cases import SIZES, SMALL, Toy, Vectors, built, embedded, images

from reidlab.errors import UserError
from reidlab.explain import location_vectors, pair_map
from reidlab.explain.head import spread

LINEAR: list[Any] = [
    "resnet18", "pcb", "fpb", "densenet121", "efficientnet_b0", "swin_tiny", "vit_small",
    {"name": "resnet18", "neck": "bnneck"}, {"name": "resnet18", "neck": "linear_bn"},
    {"name": "resnet18", "pooling": {"name": "gem", "p": 1.0}}, {"name": "resnet18", "pooling": "stripes"},
    {"name": "osnet_x0_25", "feature_dim": 0},
]  # fmt: skip
HELD: list[Any] = [
    "custom_cnn_v32", "mgn", "plr_osnet", "lightmbn", "lightmbn_gc_gem", "osnet_x0_25",
    {"name": "custom_cnn_v32", "embedding": "concat", "neck": "bnneck"}, {"name": "resnet18", "pooling": "max"},
    {"name": "resnet18", "pooling": "gem"}, {"name": "resnet18", "pooling": "avg_max"},
    {"name": "resnet18", "neck": "third_place_landmarks"}, {"name": "resnet18", "neck": "landmarks"},
]  # fmt: skip


def two(spec: Any) -> Any:
    name = spec if isinstance(spec, str) else spec["name"]
    size = {**SMALL, **SIZES.get(name, {})}
    return images(2, size["height"], size["width"], seed=5)


def label(spec: Any) -> str:
    return spec if isinstance(spec, str) else "-".join(str(value) for value in spec.values())


@pytest.mark.parametrize("spec", LINEAR + HELD, ids=label)
def test_all_parts_sum_to_the_cosine(spec: Any) -> None:
    model, given = built(spec), two(spec)
    first, second = embedded(model, given)
    cosine = float(first @ second)
    found = pair_map(model, given[0], given[1:])
    assert found.linear is (spec in LINEAR) and found.note.startswith("Exact") is found.linear
    assert found.cosine == pytest.approx(cosine, abs=1e-5)
    for part in (found.query, found.gallery, found.pairs):
        assert part.sum(dtype=np.float64) == pytest.approx(cosine, abs=1e-5)
    assert np.allclose(found.pairs.sum(1), found.query.ravel(), atol=1e-6)
    assert np.allclose(found.pairs.sum(0), found.gallery.ravel(), atol=1e-6)
    assert found.query.size > 1 and found.query.std() > 0, "not everything is spread evenly"
    turned = pair_map(model, given[1], given[0])
    assert np.allclose(turned.query, found.gallery, atol=1e-6) and np.allclose(turned.pairs.T, found.pairs, atol=1e-6)
    place = found.partners(0, found.query.shape[1] - 1)
    assert place.sum() == pytest.approx(found.query[0, -1], abs=1e-6)


def test_by_hand() -> None:
    model, given = Toy().eval(), images(2, 8, 8, seed=1)[:, :, :, :4]
    maps = model.conv(model.preprocess(given)).detach()
    raw = model.head(maps.mean((2, 3))).detach()
    weight, bias = model.head.weight.detach(), model.head.bias.detach()
    each = torch.einsum("dc,bcp->bpd", weight, maps.flatten(2)) / maps[0, 0].numel() / raw.norm(dim=1)[:, None, None]
    found = location_vectors(model, given)
    assert found.linear and found.layers == ("conv",) and found.grid == (4, 2) and found.held == ()
    assert np.allclose(found.vectors, each, atol=1e-6)
    assert np.allclose(found.constant, bias / raw.norm(dim=1)[:, None], atol=1e-6)
    both = pair_map(model, given[0], given[1])
    sums = each.sum(1)
    assert both.constant == pytest.approx(both.cosine - float(sums[0] @ sums[1]), abs=1e-6)
    whole = each + (bias / raw.norm(dim=1)[:, None] / 8)[:, None]
    assert np.allclose(both.pairs, whole[0] @ whole[1].T, atol=1e-6)


def test_a_part_of_a_linear_embedding_is_what_leaving_it_out_costs() -> None:
    """For a linear embedding the product of the unnormalised vectors falls by exactly the part of the location."""
    model, given = built({"name": "resnet18", "neck": "bnneck"}), images(2)
    inputs = model.preprocess(given)
    with torch.no_grad():
        maps = model.backbone(inputs)
        raw = model.neck(model.pooling(maps))
        found = location_vectors(model, given)
        for place in (0, 3, 7):
            without = maps.clone()
            without.flatten(2)[:, :, place] = 0
            gone = raw - model.neck(model.pooling(without))
            assert np.allclose(found.vectors[:, place], (gone / raw.norm(dim=1, keepdim=True)).numpy(), atol=1e-5)


class Unscaled(Toy):
    """Gives embeddings of any length, as a model outside this workbook may."""

    def forward(self, batch: Any) -> Any:
        return self.head(self.conv(batch).mean((2, 3)))


def test_embeddings_of_any_length_have_a_cosine_too() -> None:
    given = images(2, 8, 8, seed=1)[:, :, :, :4]
    raw, scaled = Unscaled().eval(), Toy().eval()
    assert not np.allclose(np.linalg.norm(embedded(raw, given), axis=1), 1, atol=0.05)
    found, wanted = (pair_map(model, given[0], given[1]) for model in (raw, scaled))
    assert found.linear and found.cosine == pytest.approx(wanted.cosine, abs=1e-6) and -1 <= found.cosine <= 1
    assert found.constant == pytest.approx(wanted.constant, abs=1e-6)
    for part in ("query", "gallery", "pairs"):
        assert np.allclose(getattr(found, part), getattr(wanted, part), atol=1e-6)
    for parameter in raw.head.parameters():
        parameter.data.zero_()
    with pytest.raises(UserError, match="Unscaled gives a vector of zeros for one of the images"):
        pair_map(raw, given[0], given[1])


def test_a_maximum_belongs_to_the_place_where_it_is() -> None:
    model, given = built({"name": "resnet18", "pooling": "max"}), images(1)
    with torch.no_grad():
        maps = model.backbone(model.preprocess(given))[0].flatten(1)
    vector = embedded(model, given)[0]
    by_hand = np.zeros((maps.shape[1], maps.shape[0]))
    for channel, values in enumerate(maps.numpy()):
        winners = np.flatnonzero(values == values.max())
        by_hand[winners, channel] = vector[channel] / len(winners)
    found = location_vectors(model, given)
    assert not found.linear and "where a maximum is" in found.held
    assert np.allclose(found.vectors[0], by_hand, atol=1e-6)


def test_units_that_open_and_shut_are_no_linear_embedding() -> None:
    found = location_vectors(Toy(gate=True).eval(), images(1, 8, 8)[:, :, :, :4])
    assert not found.linear and found.held == ("which units an activation lets pass",)


@pytest.mark.parametrize(
    ("model", "words"),
    [("transreid", "class token.*gradcam"), (Vectors(), "not made of maps alone|no layer|cannot be taken apart")],
)
def test_what_cannot_be_taken_apart(model: Any, words: str) -> None:
    network = built(model) if isinstance(model, str) else model
    size = network.preprocess
    one = images(1, size.height, size.width)
    with pytest.raises(UserError, match=words):
        pair_map(network, one, one)


def test_refused() -> None:
    model, given = built("resnet18"), images(2)
    with pytest.raises(UserError, match="2 images are given where 1 is wanted"):
        pair_map(model, given, given[0])
    with pytest.raises(UserError, match=r"uint8 \[batch, 3, height, width\]"):
        pair_map(model, given[0].float(), given[0])
    found = pair_map(model, given[0], given[1])
    with pytest.raises(UserError, match="side='left'"):
        found.partners(0, 0, "left")
    with pytest.raises(UserError, match="outside the maps of 4 x 2"):
        found.partners(4, 0)


@pytest.mark.parametrize(("before", "after"), [((4, 2), (8, 4)), ((3, 5), (7, 2)), ((6, 1), (6, 1)), ((1, 1), (5, 3))])
def test_spreading_keeps_the_sum(before: tuple[int, int], after: tuple[int, int]) -> None:
    maps = torch.randn(3, *before, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    spreaded = spread(maps, after)
    assert spreaded.shape == (3, *after) and torch.allclose(spreaded.sum((1, 2)), maps.sum((1, 2)))
    if before == (4, 2):
        assert torch.allclose(spreaded[:, 0:2, 0:2], (maps[:, :1, :1] / 4).expand(-1, 2, 2))
