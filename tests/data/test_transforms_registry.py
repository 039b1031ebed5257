"""What holds for every registered transform, and for the steps of a recipe."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transform_cases import images, likely, seeded

from reidlab.data import transforms
from reidlab.data.transforms import IMAGENET_MEAN, TRANSFORMS, Augment, build_transform, cutout, random_erase
from reidlab.errors import UserError

NAMES = list(TRANSFORMS)
NEEDED: dict[str, dict[str, Any]] = {"resize": {"size": (12, 7)}}
WITH_P = [name for name in NAMES if "p" in TRANSFORMS.options(name)]


def apply(name: str, given: Tensor, seed: int = 1, **options: Any) -> Tensor:
    return TRANSFORMS[name].factory(given, seeded(seed), **NEEDED.get(name, {}), **options)


def test_the_registry_is_what_the_package_exports() -> None:
    assert all(getattr(transforms, name) is TRANSFORMS[name].factory for name in NAMES)
    with pytest.raises(AttributeError, match="no attribute 'cutuot'"):
        _ = transforms.cutuot
    assert all(len(entry.description) > 10 and "\n" not in entry.description for entry in TRANSFORMS.values())


@pytest.mark.parametrize("name", NAMES)
def test_a_new_batch_from_the_seed_alone(name: str) -> None:
    given = images(24)
    before = given.clone()
    torch.manual_seed(5)
    states = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]  # noqa: NPY002
    one, two, other = (apply(name, given, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), states[0]), "the global generator does not move"
    assert (np.random.get_state()[1] == states[1]).all()  # type: ignore[index]  # noqa: NPY002
    assert torch.equal(given, before) and one.data_ptr() != given.data_ptr()
    assert one.dtype == torch.uint8 and one.shape == (24, 3, *((12, 7) if name == "resize" else (16, 8)))
    assert torch.equal(one, two) and (name == "resize" or not torch.equal(one, other))
    assert torch.equal(apply(name, given.contiguous()), one), "the memory layout does not matter"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(0, 16, 8), (1, 16, 8), (3, 31, 17), (5, 8, 4), (2, 2, 1), (2, 1, 1)])
def test_odd_batches(name: str, shape: tuple[int, int, int]) -> None:
    changed = apply(name, images(*shape))
    assert changed.dtype == torch.uint8 and changed.shape == (
        shape[0],
        3,
        *((12, 7) if name == "resize" else shape[1:]),
    )


@pytest.mark.parametrize("name", WITH_P)
def test_probability_zero_leaves_a_copy_and_the_same_draws(name: str) -> None:
    given = images(12)
    never, always = seeded(3), seeded(3)
    left = TRANSFORMS[name].factory(given, never, p=0)
    assert torch.equal(left, given) and left.data_ptr() != given.data_ptr()
    assert not torch.equal(TRANSFORMS[name].factory(given, always, p=1), given)
    assert torch.equal(never.get_state(), always.get_state()), "what is drawn next does not depend on p"


@pytest.mark.parametrize("name", [name for name in WITH_P if name != "random_patch"])
def test_share_of_changed_images(name: str) -> None:
    """An operation that happens to leave an image (identity, a turn of 0) is not told from one that was not drawn."""
    n = 150 if name == "aug_mix" else 400
    given = images(n, 9, 6)
    certain = (apply(name, given, p=1) != given).flatten(1).any(1).float().mean().item()
    changed = (apply(name, given, seed=7, p=0.3) != given).flatten(1).any(1).sum()
    assert certain > 0.5 and likely(changed, n, 0.3 * certain)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "random_patch"])
def test_an_image_does_not_depend_on_its_neighbours(name: str) -> None:
    given = images(10)
    others = images(10, seed=9)
    others[4] = given[4]
    assert torch.equal(apply(name, given)[4], apply(name, others)[4])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "given",
    [torch.zeros(2, 3, 8, 4), torch.zeros(3, 8, 4, dtype=torch.uint8), torch.zeros(2, 1, 8, 4, dtype=torch.uint8)],
)
def test_what_is_no_batch_is_refused(name: str, given: Tensor) -> None:
    with pytest.raises(UserError, match=r"Transforms take uint8 \[batch, 3, height, width\]; got"):
        apply(name, given)


@pytest.mark.parametrize("name", WITH_P)
@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_what_is_no_probability_is_refused(name: str, p: float) -> None:
    with pytest.raises(UserError, match="must be a probability from 0 to 1"):
        apply(name, images(2), p=p)


@pytest.mark.parametrize(
    "name, options, words",
    [
        ("cutou", {}, r"transform 'cutou' is unknown; choose from resize, .*Did you mean 'cutout'\?"),
        (
            "cutout",
            {"sise": 3},
            r"transform 'cutout' has no option 'sise'; it has p, size, fill. Did you mean 'size'\?",
        ),
        ("cutout", {"size": 0}, "transform 'cutout': size=0 must be 1"),
        ("cutout", {"size": "big"}, "transform 'cutout' option size='big' must be a whole number"),
        ("cutout", {"fill": (0, 0, 2)}, r"fill=\(0.*must be three numbers from 0 to 1"),
        ("random_erase", {"fill": (0.1, 0.2)}, "must be three numbers"),
        ("random_erase", {"area": (0.4, 0.02)}, "area=.*the smaller one first"),
        ("random_erase", {"area": (0.1, 1.2)}, "area=.*from 0 to 1"),
        ("random_erase", {"aspect": 0}, "aspect=0.0 must be more than 0"),
        ("local_grayscale", {"aspect": 3}, "aspect=3.0 must be"),
        ("local_grayscale", {"tries": 0}, "tries=0"),
        ("resize", {}, "transform 'resize' needs the option 'size'"),
        ("resize", {"size": (0, 4)}, r"size=\(0, 4\) must be height and width"),
        ("random_crop", {"padding": -1}, "padding=-1"),
        ("random_2d_translation", {"size": (4, -1)}, "size="),
        ("random_resized_crop", {"scale": (0.5, 2)}, "scale="),
        ("random_resized_crop", {"ratio": (0, 2)}, "ratio="),
        ("random_patch", {"degrees": 200}, "degrees=200"),
        ("random_patch", {"flip": 2}, "p=2.0 must be a probability"),
        ("color_jitter", {"hue": 0.6}, "hue=0.6 must be 0 or more and at most 0.5"),
        ("color_jitter", {"contrast": -0.1}, "contrast=-0.1 must be 0 or more"),
        ("auto_augment", {"policy": "market"}, "option policy='market' must be 'imagenet' or 'cifar10' or 'svhn'"),
        ("rand_augment", {"magnitude": 31}, "magnitude=31, bins=31"),
        ("rand_augment", {"operations": -1}, "operations=-1"),
        ("trivial_augment", {"bins": 1}, "bins=1"),
        ("aug_mix", {"severity": 11}, "severity=11"),
        ("aug_mix", {"alpha": 0}, "alpha=0.0"),
    ],
)
def test_wrong_names_and_options(name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        build_transform(name, **options)


def test_a_direct_call_names_an_unknown_policy() -> None:
    with pytest.raises(UserError, match="policy='market' is unknown; choose from imagenet, cifar10, svhn"):
        apply("auto_augment", images(1), policy="market")


@pytest.mark.parametrize("name", NAMES)
def test_built_ones_do_what_the_function_does(name: str) -> None:
    built = build_transform(name, **NEEDED.get(name, {}))
    assert built.name == name and built.options == NEEDED.get(name, {})
    assert torch.equal(built(images(), seeded(1)), apply(name, images()))


def test_options_as_yaml_reads_them() -> None:
    built = build_transform("random_resized_crop", scale=[0.3, 0.6], size=[12, 6])
    expected = TRANSFORMS["random_resized_crop"].factory(images(), seeded(), scale=(0.3, 0.6), size=(12, 6))
    assert torch.equal(built(images(), seeded()), expected)
    assert build_transform("random_flip", p=1).options == {"p": 1.0}
    with pytest.raises(UserError, match=r"p='1e-1' must be a number, such as 0\.5"):
        build_transform("random_flip", p="1e-1")


def test_fill_goes_to_those_that_erase() -> None:
    given = images(8, 80, 70)
    expected = cutout(given, seeded(), fill=IMAGENET_MEAN)
    assert torch.equal(build_transform("cutout")(given, seeded(), fill=IMAGENET_MEAN), expected)
    own = build_transform("cutout", fill=[1.0, 1.0, 1.0])(given, seeded(), fill=IMAGENET_MEAN)
    assert torch.equal(own, cutout(given, seeded(), fill=(1.0, 1.0, 1.0))) and not torch.equal(own, expected)
    assert build_transform("random_flip")(given, seeded(), fill=IMAGENET_MEAN).shape == given.shape


STEPS = [{"name": "random_2d_translation", "p": 0.5}, {"name": "random_erase", "p": 0.8}, {"name": "color_jitter"}]


def test_steps_run_in_their_order_and_before_the_simple_ones() -> None:
    given, generator = images(16), seeded(4)
    by_hand = given
    for step in STEPS:
        options = {key: value for key, value in step.items() if key != "name"}
        by_hand = build_transform(str(step["name"]), **options)(by_hand, generator, fill=(0.1, 0.2, 0.4))
    assert torch.equal(Augment(steps=STEPS)(given, seeded(4), fill=(0.1, 0.2, 0.4)), by_hand)
    by_hand = Augment(flip=0.5, erase=0.5)(by_hand, generator, fill=(0.1, 0.2, 0.4))
    both = Augment(flip=0.5, erase=0.5, steps=STEPS)
    assert torch.equal(both(given, seeded(4), fill=(0.1, 0.2, 0.4)), by_hand)
    assert Augment(flip=0.5, erase=0.5, steps=STEPS) == both


def test_without_anything_the_batch_stays() -> None:
    assert torch.equal(Augment()(images(), seeded()), images())
    assert torch.equal(random_erase(images(), seeded(), p=0), images())


@pytest.mark.parametrize(
    "step, words",
    [
        ({"name": "random_2d_translatoin"}, r"augment step 2: transform .*Did you mean 'random_2d_translation'\?"),
        ({"name": "random_flip", "prob": 1}, "augment step 2: transform 'random_flip' has no option 'prob'"),
        ({"name": "random_flip", "p": 3}, "augment step 2: transform 'random_flip': p=3.0 must be a probability"),
        ({"p": 0.5}, "augment step 2 must be a mapping with a name"),
        ("random_flip", "augment step 2 must be a mapping with a name"),
        ({"name": 3}, "augment step 2: transform 3 is unknown"),
        ({"name": "random_flip", 3: 4}, "augment step 2 must be a mapping"),
    ],
)
def test_wrong_steps_are_named_with_their_number(step: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        Augment(steps=[{"name": "random_flip"}, step])
