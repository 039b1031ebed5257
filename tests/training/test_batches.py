"""Batches: made in order, in the background, from (seed, epoch, step) alone."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import torch
from training_cases import World

from reidlab.data.transforms import Augment, Preprocess
from reidlab.devices import plan
from reidlab.training.batches import BatchMaker, Prefetcher, trimmed


def threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "reidlab-batches"]


def test_prefetcher_keeps_the_order() -> None:
    with Prefetcher(lambda i: i * i, 50, ahead=3) as stream:
        assert list(stream) == [i * i for i in range(50)]
    assert not threads()


def test_prefetcher_of_nothing() -> None:
    with Prefetcher(lambda i: i, 0) as stream:
        assert list(stream) == []


def test_prefetcher_works_ahead_but_not_further() -> None:
    made: list[int] = []
    with Prefetcher(lambda i: made.append(i), 100, ahead=2) as stream:
        it = iter(stream)
        next(it)
        time.sleep(0.3)
        assert 2 <= len(made) <= 4  # one taken, two in the queue, one in the hand


def test_an_exception_in_the_maker_reaches_the_consumer() -> None:
    def make(i: int) -> int:
        if i == 3:
            raise KeyError("the third")
        return i

    seen = []
    with pytest.raises(KeyError, match="the third"), Prefetcher(make, 10) as stream:
        for item in stream:
            seen += [item]
    assert seen == [0, 1, 2] and not threads()


def test_leaving_early_does_not_hang() -> None:
    began = time.perf_counter()
    with Prefetcher(lambda i: np.zeros(1000), 10**6) as stream:
        for i, _ in enumerate(stream):
            if i == 2:
                break
    with pytest.raises(ZeroDivisionError), Prefetcher(lambda i: i, 10**6) as stream:
        for _ in stream:
            1 / 0
    assert not threads() and time.perf_counter() - began < 20


def test_waiting_is_counted() -> None:
    def slow(i: int) -> int:
        time.sleep(0.05)
        return i

    with Prefetcher(slow, 4) as stream:
        assert stream.waited == 0
        list(stream)
        assert stream.waited > 0.1
    with Prefetcher(lambda i: i, 4, ahead=4) as stream:
        for _ in stream:
            time.sleep(0.02)
        assert stream.waited < 0.06


def test_a_second_pass_and_use_without_with_are_errors_not_hangs() -> None:
    with Prefetcher(lambda i: i, 3) as stream:
        list(stream)
        with pytest.raises(RuntimeError, match="iterate once"):
            list(stream)
    with pytest.raises(RuntimeError, match="inside `with"):
        list(Prefetcher(lambda i: i, 3))


def maker(world: World, seed: int = 0) -> BatchMaker:
    return BatchMaker(world.pixels, Augment(0.5, 2, 0.5), Preprocess(32, 16), plan("cpu", "float32"), seed)


def test_batches_depend_on_seed_epoch_and_step_alone(world: World) -> None:
    rows = np.arange(24)
    make = maker(world)
    first = make(rows, 3, 5)
    assert first.shape == (24, 3, 32, 16) and first.dtype == torch.float32 and 0 <= first.min() <= first.max() <= 1
    assert first.is_contiguous(memory_format=torch.channels_last)
    state = torch.get_rng_state()
    make(rows, 0, 0)
    torch.manual_seed(123)
    assert torch.equal(make(rows, 3, 5), first) and torch.equal(maker(world)(rows, 3, 5), first)
    torch.set_rng_state(state)
    for other in (make(rows, 3, 6), make(rows, 4, 5), maker(world, 1)(rows, 3, 5)):
        assert not torch.equal(other, first)


def test_autocast_around_it_changes_nothing(world: World) -> None:
    augment = Augment(steps=[{"name": "aug_mix"}, {"name": "random_patch", "p": 1.0}])
    make = BatchMaker(world.pixels, augment, Preprocess(32, 16), plan("cpu", "float32"), seed=3)
    plain = make(np.arange(8), 0, 0)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(make(np.arange(8), 0, 0), plain)


def test_the_thread_of_the_batches_enters_no_autocast(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaving one clears a cache under a lock that the step beside it may wait for: both would stand still."""
    left: list[bool] = []
    monkeypatch.setattr(torch, "clear_autocast_cache", lambda: left.append(True))
    augment = Augment(steps=[{"name": "auto_augment"}, {"name": "aug_mix"}, {"name": "random_patch"}])
    make = BatchMaker(world.pixels, augment, Preprocess(32, 16), plan("cpu", "bfloat16"), seed=3)
    with Prefetcher(lambda i: make(np.arange(8), 0, i), 3) as stream:
        assert len(list(stream)) == 3
    assert left == []


def test_batches_draw_nothing_from_the_global_generator(world: World) -> None:
    before = torch.get_rng_state()
    maker(world)(np.arange(8), 0, 0)
    assert torch.equal(before, torch.get_rng_state())


def test_without_augmentation_a_batch_is_the_pixels(world: World) -> None:
    make = BatchMaker(world.pixels, Augment(0, 0, 0), Preprocess(32, 16), plan("cpu", "float32"), 0)
    expected = np.stack([world.pixels.image(i) for i in (5, 2, 5)]).transpose(0, 3, 1, 2) / np.float32(255)
    np.testing.assert_allclose(make(np.array([5, 2, 5]), 0, 0).numpy(), expected, rtol=1e-6)


def test_a_store_of_another_size_is_resized(world: World) -> None:
    make = BatchMaker(world.pixels, Augment(0, 0, 0), Preprocess(24, 12), plan("cpu", "float32"), 0)
    assert make(np.arange(2), 0, 0).shape == (2, 3, 24, 12)


def test_trimming() -> None:
    batches = [np.array([i]) for i in range(7)]
    assert [len(trimmed(batches, n)) for n in (1, 2, 3, 7)] == [7, 6, 6, 7]
    assert [int(b[0]) for b in trimmed(batches[:2], 5)] == [0, 1, 0, 1, 0], "too few are repeated to one whole group"


def test_the_maker_computes_on_one_thread_and_leaves_the_others_their_number() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with Prefetcher(lambda i: torch.get_num_threads(), 3) as stream:
            assert list(stream) == [1, 1, 1]
            assert torch.get_num_threads() == 2
        seen: list[int] = []
        later = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        later.start()
        later.join()
        assert seen == [2]
    finally:
        torch.set_num_threads(before)
