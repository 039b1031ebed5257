"""The fourteen operations against torchvision on each image alone; what the policies draw, and how often."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
import torchvision.transforms.v2 as tv
from torch import Tensor
from transform_cases import images, likely, seeded, smooth_images

from reidlab.data.transforms import aug_mix, auto_augment, mixing, operations, policies, rand_augment, trivial_augment
from reidlab.data.transforms.operations import MOVES, OPERATIONS, apply_operations

REFERENCE = tv.TrivialAugmentWide()
Drawn = list[tuple[str, float] | None]


def by_torchvision(image: Tensor, name: str, magnitude: float, mode: str = "nearest") -> Tensor:
    """One image by torchvision's own reading of a name and a magnitude."""
    kind = tv.InterpolationMode(mode)
    return REFERENCE._apply_image_or_video_transform(image, name, magnitude, interpolation=kind, fill=REFERENCE._fill)


def magnitudes(name: str) -> list[float]:
    """A few of the widest range, with both signs where it has them."""
    levels, signed = policies.ranges_of(tv.TrivialAugmentWide, 31, images(1, 33, 18)).get(name, ([0.0] * 31, False))
    return [sign * levels[level] for level in (0, 3, 9, 20, 30) for sign in ((1, -1) if signed else (1,))]


@pytest.mark.parametrize("name", [*MOVES, *OPERATIONS])
@pytest.mark.parametrize("shape", [(33, 18), (8, 4), (3, 2), (1, 5)])
def test_each_operation_is_torchvision_s(name: str, shape: tuple[int, int]) -> None:
    for given in (smooth_images(3, *shape), images(2, *shape)):
        for magnitude in magnitudes(name):
            changed = apply_operations(given, [(name, magnitude)] * len(given))
            expected = torch.stack([by_torchvision(image, name, magnitude) for image in given])
            assert torch.equal(changed, expected), magnitude


@pytest.mark.parametrize("level", [0, 7, 255])
@pytest.mark.parametrize("name", ["AutoContrast", "Equalize", "Contrast", "Solarize"])
def test_flat_images(name: str, level: int) -> None:
    flat = torch.full((1, 3, 20, 20), level, dtype=torch.uint8)
    assert torch.equal(apply_operations(flat, [(name, 0.5)])[0], by_torchvision(flat[0], name, 0.5))


def test_equalize_where_one_channel_is_flat() -> None:
    given = smooth_images(1, 60, 30)
    given[:, 1] = 80
    assert torch.equal(apply_operations(given, [("Equalize", 0.0)])[0], by_torchvision(given[0], "Equalize", 0.0))


@pytest.mark.parametrize("name", [*MOVES, "TranslateX", "TranslateY"])
def test_smooth_moves_are_torchvision_s(name: str) -> None:
    given = smooth_images(2)
    for magnitude in magnitudes(name):
        changed = apply_operations(given, [(name, magnitude)] * 2, smooth=True)
        expected = torch.stack([by_torchvision(image, name, magnitude, "bilinear") for image in given])
        assert torch.equal(changed, expected), magnitude


def mixed_draws(n: int) -> Drawn:
    every: Drawn = [(name, magnitude) for name in (*MOVES, *OPERATIONS) for magnitude in magnitudes(name)[1:4]]
    return [[None, ("Identity", 0.0), *every][(7 * i) % (len(every) + 2)] for i in range(n)]


def test_autocast_spoils_no_kept_numbers() -> None:
    given = smooth_images(1, 57, 31)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        changed = apply_operations(given, [("Rotate", 17.5)])
    assert torch.equal(changed[0], by_torchvision(given[0], "Rotate", 17.5))


def test_every_image_gets_its_own_operation() -> None:
    given, draws = smooth_images(60, 20, 12), mixed_draws(60)
    before = given.clone()
    changed = apply_operations(given, draws)
    for image, found, draw in zip(given, changed, draws):
        assert torch.equal(found, image if draw is None else by_torchvision(image, *draw))
    assert torch.equal(given, before)


def at_once(members: list[int], _device: torch.device) -> Iterator[list[int]]:
    """What `portions` does elsewhere than on the CPU."""
    yield members


def test_whole_groups_as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere than on the CPU a group is changed at once; a mean over a batch may round another way."""
    given, draws = smooth_images(60, 20, 12), mixed_draws(20) * 3
    alone = apply_operations(given, draws)

    monkeypatch.setattr(operations, "portions", at_once)
    together = apply_operations(given, draws)
    assert (together.int() - alone.int()).abs().max() <= 1 and (together != alone).float().mean() < 1e-3
    mixed = aug_mix(given[:12], seeded(1))
    monkeypatch.setattr(mixing, "portions", at_once)
    assert (aug_mix(given[:12], seeded(1)).int() - mixed.int()).abs().max() <= 1


def test_the_tables_are_those_that_recipes_were_tuned_with() -> None:
    """They are torchvision's: should a new version change them, recipes would silently mean something else."""
    ranges = [policies.ranges_of(p, 31, images(1, 256, 128)) for p in (tv.RandAugment, tv.TrivialAugmentWide)]
    ranges += [policies.ranges_of(p, 10, images(1, 256, 128)) for p in (tv.AutoAugment, tv.AugMix)]
    rounded = [{k: ([round(x, 4) for x in v], s) for k, (v, s) in each.items()} for each in ranges]
    pairs = [tv.AutoAugment(policy)._policies for policy in tv.AutoAugmentPolicy]
    digest = hashlib.sha256(json.dumps([rounded, pairs]).encode()).hexdigest()[:16]
    assert digest == "37d8daad7ffdf2f5"
    assert set(ranges[0]) | {"Invert"} == {"Identity", *MOVES, *OPERATIONS} == set(ranges[2]) | {"Identity"}
    assert ranges[0]["Rotate"][0][9] == pytest.approx(9) and ranges[1]["TranslateX"][0][-1] == 32


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[Drawn]:
    """Record what the policies draw, and leave the images as they are."""
    seen: list[Drawn] = []

    def record(given: Tensor, drawn: Sequence[Any], *, smooth: bool = False) -> Tensor:
        seen.append(list(drawn))
        return given.clone()

    monkeypatch.setattr(policies, "apply_operations", record)
    monkeypatch.setattr(mixing, "apply_operations", record)
    monkeypatch.setattr(mixing, "portions", at_once)
    return seen


N = 3000


def test_rand_augment_draws(recorded: list[Drawn]) -> None:
    given = images(N, 4, 2)
    rand_augment(given, seeded(), p=0.4, operations=2, magnitude=9)
    ranges = policies.ranges_of(tv.RandAugment, 31, given)
    used = [i for i, draw in enumerate(recorded[0]) if draw]
    assert len(recorded) == 2 and likely(len(used), N, 0.4)
    assert used == [i for i, draw in enumerate(recorded[1]) if draw], "both operations go to the same images"
    draws = [draw for each in recorded for draw in each if draw]
    names = Counter(name for name, _ in draws)
    assert set(names) == set(ranges) and len(names) == 14
    assert all(likely(times, len(draws), 1 / 14) for times in names.values())
    for name, magnitude in draws:
        level, signed = ranges[name][0][9], ranges[name][1]
        assert magnitude == level or (signed and magnitude == -level)
    turns = [magnitude for name, magnitude in draws if name == "Rotate"]
    assert likely(sum(turn < 0 for turn in turns), len(turns), 0.5) and {abs(turn) for turn in turns} == {9.0}
    pairs = Counter(zip(*([draw[0] for draw in each if draw] for each in recorded)))
    assert len(pairs) == 196  # the second does not depend on the first


def test_trivial_augment_draws(recorded: list[Drawn]) -> None:
    given = images(N, 4, 2)
    trivial_augment(given, seeded())
    assert len(recorded) == 1 and None not in recorded[0]
    draws = [draw for draw in recorded[0] if draw]
    names = Counter(name for name, _ in draws)
    assert len(names) == 14 and all(likely(times, N, 1 / 14) for times in names.values())
    turns = [magnitude / 4.5 for name, magnitude in draws if name == "Rotate"]
    assert {round(abs(turn)) for turn in turns} == set(range(31)) and max(abs(t - round(t)) for t in turns) < 1e-4
    assert likely(sum(abs(turn) < 15.5 for turn in turns), len(turns), 16 / 31)
    assert likely(sum(turn < 0 for turn in turns), len(turns), 15 / 31)  # a turn of 0 has no sign


@pytest.mark.parametrize("policy", ["imagenet", "cifar10", "svhn"])
def test_auto_augment_draws(policy: Any, recorded: list[Drawn]) -> None:
    auto_augment(images(N, 4, 2), seeded(), policy=policy)
    pairs = tv.AutoAugment(tv.AutoAugmentPolicy(policy))._policies
    for place, drawn in enumerate(recorded):
        expected: Counter[str] = Counter()
        for pair in pairs:
            expected[pair[place][0]] += pair[place][1] / len(pairs)
        found = Counter(draw[0] for draw in drawn if draw)
        assert set(found) == {name for name, share in expected.items() if share}
        assert all(likely(found[name], N, share) for name, share in expected.items())
    ranges = policies.ranges_of(tv.AutoAugment, 10, images(1, 4, 2))
    allowed = {(name, abs(ranges[name][0][level or 0])) for pair in pairs for name, _, level in pair}
    assert {(draw[0], abs(draw[1])) for drawn in recorded for draw in drawn if draw} <= allowed
    together = sum(bool(one and two) for one, two in zip(*recorded))
    assert likely(together, N, sum(a[1] * b[1] for a, b in pairs) / len(pairs))  # both belong to one pair


def test_policies_apply_what_they_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    given, seen = smooth_images(40, 20, 12), []
    real = apply_operations

    def record(batch: Tensor, drawn: Sequence[Any], *, smooth: bool = False) -> Tensor:
        seen.append(drawn)
        return real(batch, drawn, smooth=smooth)

    monkeypatch.setattr(policies, "apply_operations", record)
    for policy in (rand_augment, auto_augment, trivial_augment):
        seen.clear()
        changed = policy(given, seeded(3))
        for i, image in enumerate(given):
            for drawn in seen:
                image = by_torchvision(image, *drawn[i]) if drawn[i] else image
            assert torch.equal(changed[i], image)


def test_aug_mix_chains(recorded: list[Drawn]) -> None:
    n = 1500
    given = images(n, 4, 2)
    mixed = aug_mix(given, seeded())
    assert torch.equal(mixed, given), "weights sum to one, and the result is rounded, not cut off"
    assert len(recorded) == 9  # three chains of up to three operations
    lengths = torch.tensor([[draw is not None for draw in drawn] for drawn in recorded]).view(3, 3, n).sum(1)
    assert all(likely((lengths == k).sum(), 3 * n, 1 / 3) for k in (1, 2, 3))
    draws = [draw for drawn in recorded for draw in drawn if draw]
    assert all(likely(times, len(draws), 1 / 13) for times in Counter(name for name, _ in draws).values())
    ranges = policies.ranges_of(tv.AugMix, 10, given)
    assert {round(abs(m), 4) for name, m in draws if name == "Rotate"} == {round(m, 4) for m in ranges["Rotate"][0][:3]}
    recorded.clear()
    aug_mix(given, seeded(), width=2, depth=1)
    assert len(recorded) == 2 and all(None not in drawn for drawn in recorded)


@pytest.mark.parametrize("alpha", [1.0, 0.3])
def test_aug_mix_weights(monkeypatch: pytest.MonkeyPatch, alpha: float) -> None:
    """Chains that turn everything black leave the image's own weight, Beta(alpha, alpha) distributed."""
    monkeypatch.setattr(mixing, "apply_operations", lambda batch, drawn, smooth: torch.zeros_like(batch))
    monkeypatch.setattr(mixing, "portions", at_once)
    white = torch.full((3000, 3, 1, 1), 255, dtype=torch.uint8)
    keep = aug_mix(white, seeded(), alpha=alpha)[:, 0, 0, 0] / 255
    assert likely((keep < 0.5).sum(), 3000, 0.5)
    assert abs(keep.var() - 1 / (4 * (2 * alpha + 1))) < 0.01


def test_aug_mix_is_the_weighted_sum_of_its_chains(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the documented draws: who, the seed of the weights, and the operations as they were recorded."""
    given, seen = smooth_images(8, 20, 12), []
    real = apply_operations

    def record(batch: Tensor, drawn: Sequence[Any], *, smooth: bool = False) -> Tensor:
        seen.append(drawn)
        return real(batch, drawn, smooth=smooth)

    monkeypatch.setattr(mixing, "apply_operations", record)
    monkeypatch.setattr(mixing, "portions", at_once)
    mixed = aug_mix(given, seeded(2), p=0.6, severity=5, width=2, depth=2)
    generator = seeded(2)
    used = torch.nonzero(torch.rand(8, generator=generator) < 0.6)[:, 0].tolist()
    rng = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
    keep = rng.beta(1, 1, 8)
    weights = rng.dirichlet([1, 1], 8) * (1 - keep[:, None])
    assert 0 < len(used) < 8
    for i, image in enumerate(given):
        total = image * (keep[i] if i in used else 1.0)
        for chain in range(2) if i in used else ():
            changed = image
            for drawn in seen[2 * chain : 2 * chain + 2]:
                changed = by_torchvision(changed, *drawn[used.index(i)], "bilinear")
            total = total + weights[i, chain] * changed
        assert (mixed[i] - total).abs().max() <= 0.5 + 1e-3
