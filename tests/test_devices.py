"""Devices: what `plan` chooses and refuses, and that autocast and placing do what the plan says."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from reidlab import devices
from reidlab.devices import DEVICES, PRECISIONS, ComputePlan, bfloat16_is_fast, check_device, describe_device, plan
from reidlab.errors import UserError

MEASURE = devices.bfloat16_times  # the tests' own is none (conftest.py)


def machine(monkeypatch: pytest.MonkeyPatch, *, cuda: bool = False, mps: bool = False, fast: bool = False) -> None:
    """Pretend that this machine has these devices."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    monkeypatch.setattr(devices, "bfloat16_is_fast", lambda _device: fast)


@pytest.mark.parametrize(
    "there, chosen",
    [({}, "cpu"), ({"mps": True}, "mps"), ({"cuda": True}, "cuda"), ({"cuda": True, "mps": True}, "cuda")],
)
def test_auto_takes_the_first_that_is_there(
    monkeypatch: pytest.MonkeyPatch, there: dict[str, bool], chosen: str
) -> None:
    machine(monkeypatch, **there)
    assert plan().device == torch.device(chosen)
    assert plan("cpu").device == torch.device("cpu")


@pytest.mark.parametrize("fast, chosen", [(True, "bfloat16"), (False, "float32")])
def test_auto_precision_follows_the_hardware(monkeypatch: pytest.MonkeyPatch, fast: bool, chosen: str) -> None:
    machine(monkeypatch, fast=fast)
    assert plan("cpu").precision == plan("cpu", "auto").precision == chosen
    assert plan("cpu", "float32").autocast_dtype is None
    assert plan("cpu", "bfloat16").autocast_dtype is torch.bfloat16  # asked for: given, slow or not


@pytest.mark.parametrize("precision", PRECISIONS[1:])
def test_precision_names(monkeypatch: pytest.MonkeyPatch, precision: str) -> None:
    machine(monkeypatch, cuda=True)
    assert plan("cuda", precision).precision == precision


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("gpu", "auto"), "device='gpu' is unknown; choose from auto, cpu, cuda, mps"),
        (("cuda:0", "auto"), r"device='cuda:0' is unknown; .*Did you mean 'cuda'\?"),
        (("cuda", "auto"), "device='cuda' is not available on this machine; use auto or one of: cpu"),
        (("mps", "float32"), "device='mps' is not available"),
        (("cpu", "bf16"), "precision='bf16' is unknown; choose from auto, float32, bfloat16, float16"),
        (("cpu", "float61"), r"Did you mean 'float16'\?"),
        (("cpu", "float16"), "'float16' is not supported on the CPU"),
        (("auto", "float16"), "'float16' is not supported on the CPU"),
        (("CPU", "auto"), "device='CPU' is unknown"),
    ],
)
def test_refused(monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, str], words: str) -> None:
    machine(monkeypatch)
    with pytest.raises(UserError, match=words):
        plan(*arguments)


@pytest.mark.parametrize("precision, inside", [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_what_autocast_does(precision: str, inside: torch.dtype) -> None:
    compute = plan("cpu", precision)
    linear, convolution = nn.Linear(4, 4), nn.Conv2d(3, 2, 3)
    seen: list[torch.dtype] = []

    class Spy(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(linear(x).dtype)
            return x

    with compute.autocast():
        Spy()(torch.rand(2, 4))
        seen.append(convolution(torch.rand(1, 3, 8, 8)).dtype)
        assert torch.is_autocast_enabled("cpu") is (precision != "float32")
    assert seen == [inside, inside]
    assert linear.weight.dtype == torch.float32
    assert linear(torch.rand(2, 4)).dtype == torch.float32 and not torch.is_autocast_enabled("cpu")


def test_autocast_ends_with_an_error() -> None:
    with pytest.raises(RuntimeError, match="inside"), plan("cpu", "bfloat16").autocast():
        raise RuntimeError("inside")
    assert not torch.is_autocast_enabled("cpu")


def test_place() -> None:
    compute = plan("cpu", "float32")
    batch = torch.rand(2, 3, 8, 4)
    placed = compute.place(batch)
    assert placed.is_contiguous(memory_format=torch.channels_last) and torch.equal(placed, batch)
    assert torch.equal(compute.place(torch.arange(3)), torch.arange(3))
    convolution = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Linear(2, 2))
    assert compute.place(convolution) is convolution
    assert convolution[0].weight.is_contiguous(memory_format=torch.channels_last)
    plain = ComputePlan(torch.device("cpu"), None, torch.contiguous_format)
    assert plain.place(placed).is_contiguous()


def test_channels_last_batches_are_not_copied() -> None:
    batch = torch.rand(2, 8, 4, 3).permute(0, 3, 1, 2)
    assert plan("cpu", "float32").place(batch).data_ptr() == batch.data_ptr()


def test_synchronize_waits_for_nothing_on_the_cpu() -> None:
    plan("cpu").synchronize()


@pytest.mark.parametrize(
    "answers, expected",
    [
        ({}, False),
        ({"_is_avx512_bf16_supported": True}, True),
        ({"_is_amx_tile_supported": True}, True),
        ({"_is_avx512_bf16_supported": False, "_is_amx_tile_supported": False}, False),
    ],
)
def test_bfloat16_on_the_cpu(monkeypatch: pytest.MonkeyPatch, answers: dict[str, bool], expected: bool) -> None:
    """The probes are private names of torch and may be gone."""
    monkeypatch.setattr(torch, "cpu", SimpleNamespace(**{name: lambda yes=yes: yes for name, yes in answers.items()}))
    monkeypatch.setattr(devices, "_kernels_use_bfloat16", lambda: True)
    assert bfloat16_is_fast(torch.device("cpu")) is expected
    monkeypatch.setattr(devices, "_kernels_use_bfloat16", lambda: False)  # limited by ONEDNN_MAX_CPU_ISA
    assert bfloat16_is_fast(torch.device("cpu")) is False


def test_bfloat16_that_is_slow_is_given_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch)
    monkeypatch.setattr(devices, "bfloat16_times", lambda device: (2.0, 22.0))
    words = (
        r"'bfloat16' is 11.0 times slower than float32 here \(22.0 ms against 2.0 ms.*precision='auto' chooses float32"
    )
    with pytest.warns(UserWarning, match=words):
        assert plan("cpu", "bfloat16").precision == "bfloat16"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert plan("cpu").precision == plan("cpu", "float32").precision == "float32"
        monkeypatch.setattr(devices, "bfloat16_times", lambda device: (20.0, 22.0))
        plan("cpu", "bfloat16")


def test_hardware_that_has_bfloat16_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, fast=True, mps=True)
    monkeypatch.setattr(devices, "bfloat16_times", None)
    assert plan("cpu", "bfloat16").precision == "bfloat16"
    machine(monkeypatch, mps=True)
    assert plan("mps", "bfloat16").precision == "bfloat16"


def test_the_measurement_draws_nothing_and_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = MEASURE("cpu")
    before = torch.get_rng_state()
    MEASURE.cache_clear()
    assert all(milliseconds > 0 for milliseconds in (*measured, *MEASURE("cpu")))
    assert torch.equal(torch.get_rng_state(), before) and MEASURE("cpu") is MEASURE("cpu")
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("device", ["cuda", "mps", "gpu"])
def test_a_device_is_checked_by_itself(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    machine(monkeypatch)
    with pytest.raises(UserError, match=f"device='{device}' is (not available on this machine|unknown)"):
        check_device(device)
    assert (check_device("auto"), check_device("cpu")) == ("cpu", "cpu")


def test_bfloat16_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    assert bfloat16_is_fast(torch.device("mps")) is False
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: not including_emulation)
    assert bfloat16_is_fast(torch.device("cuda")) is True


def test_describe() -> None:
    assert describe_device(plan("cpu", "float32")) == f"cpu, {torch.get_num_threads()} threads, float32"


def test_every_name_is_known() -> None:
    assert DEVICES[0] == PRECISIONS[0] == "auto"
    assert set(PRECISIONS[1:]) == set(devices._DTYPES)


def test_plans_are_values() -> None:
    assert plan("cpu", "float32") == plan("cpu", "float32") != plan("cpu", "bfloat16")
