"""The engine auto: the fastest whose embeddings are near enough, where the number of images pays for its preparation."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from reidlab.data.transforms import Preprocess
from reidlab.devices import plan
from reidlab.errors import UserError
from reidlab.models.engines import ENGINES, Job, Prepared, choice, choose
from reidlab.models.engines.choice import BARS, Choice, agreement, measured, ready
from reidlab.registry import Entry

PACE = {"torch": 10.0, "openvino": 40.0, "onnxruntime": 60.0, "compiled": 50.0}


class Colours(nn.Module):
    """Embeddings are mean colours, turned a little by an engine that computes roughly."""

    preprocess = Preprocess(8, 4)
    dim = 3

    def __init__(self, turn: float = 0.0) -> None:
        super().__init__()
        self.turn = turn

    def forward(self, images: Tensor) -> Tensor:
        found = images.mean((2, 3))
        return found + self.turn * found.flip(1) * torch.tensor([1.0, 0.0, -1.0])


def sample() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (6, 3, 8, 4), dtype=torch.uint8, generator=generator)


def job(precision: str = "float32", device: str = "cpu") -> Job:
    return Job(device, precision, None, sample)


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[tuple[str, str]]]:
    """Return a function that sets how far each engine turns embeddings; the list it gives tells what is prepared."""
    made: list[tuple[str, str]] = []

    def use(turns: dict[str, float] | None = None, missing: tuple[str, ...] = ()) -> list[tuple[str, str]]:
        def prepare(model: nn.Module, engine: str, wanted: Job) -> Prepared:
            made.append((engine, wanted.precision))
            turn = (turns or {}).get(engine, 0.0)
            if math.isinf(turn):
                raise UserError("not this model")
            return Prepared(Colours(turn), plan("cpu", "float32"), engine, wanted.precision, None)

        def measured(prepared: Prepared, images: Tensor, reference: Tensor) -> Choice:
            pace = PACE[prepared.engine] * (2 if prepared.precision == "bfloat16" else 1)
            return Choice(prepared, agreement(prepared.embed(images), reference), pace)

        monkeypatch.setattr(choice, "prepare", prepare)
        monkeypatch.setattr(choice, "measured", measured)
        monkeypatch.setattr(choice, "_pace", lambda *_: PACE["torch"])
        monkeypatch.setattr(choice, "missing_packages", lambda engine: ["x"] if engine in missing else [])
        monkeypatch.setattr(choice, "bfloat16_is_fast", lambda _: False)
        monkeypatch.setattr(choice.time, "perf_counter", clock)
        return made

    def clock(now: list[float] = [0.0]) -> float:  # noqa: B006 - torch's first look at the sample takes 0.6 s, 10 images/s
        now[0] += 0.6
        return now[0]

    return use


def test_the_fastest_of_all_for_many_images(engines: Any) -> None:
    made = engines()
    found = choose(Colours(), job(), 1_000_000)
    assert (found.prepared.engine, found.pace) == ("onnxruntime", 60.0) and found.cosine == pytest.approx(1)
    assert {engine for engine, _ in made} == set(ENGINES) and len(found.tried) == len(ENGINES)
    assert str(found) == "onnxruntime, float32: 60 images/s, mean cosine to float32 1.00000"


def test_few_images_stay_with_torch(engines: Any) -> None:
    made = engines()
    found = choose(Colours(), job(), 599)
    assert found.prepared.engine == "torch" and made == [("torch", "float32")]
    assert found.tried == ("599 images are 60 s of work for torch: no other engine would pay.",)


def test_an_engine_is_tried_where_what_is_left_pays_for_it(engines: Any) -> None:
    made = engines()
    found = choose(Colours(), job(), 1000)  # 100 s for torch, 25 s for the first engine that is tried
    assert [engine for engine, _ in made] == ["torch", "openvino"] and found.prepared.engine == "openvino"
    assert found.tried[2:] == tuple(
        f"{engine}, float32: not tried, 25 s of work would not pay for its preparation."
        for engine in ("onnxruntime", "compiled")
    )


def test_embeddings_that_are_too_far_are_refused(engines: Any) -> None:
    engines({"onnxruntime": 0.2, "compiled": 0.01})
    found = choose(Colours(), job(), 1_000_000)
    assert found.prepared.engine == "compiled" and BARS["float32"] <= found.cosine < 1
    (line,) = [line for line in found.tried if line.startswith("onnxruntime")]
    assert line.endswith(", too far: refused.")


def test_engines_that_are_missing_or_fail_are_passed_over(engines: Any) -> None:
    made = engines({"openvino": math.inf}, missing=("onnxruntime",))
    found = choose(Colours(), job(), 1_000_000)
    assert found.prepared.engine == "compiled" and "onnxruntime" not in {engine for engine, _ in made}
    assert "openvino, float32: not this model" in found.tried
    engines({"openvino": math.inf, "compiled": math.nan}, missing=("onnxruntime",))
    assert choose(Colours(), job(), 1_000_000).prepared.engine == "torch", "NaN is never near"


def test_precisions(engines: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = engines()
    assert choose(Colours(), job("bfloat16"), 1_000_000).prepared.engine == "compiled"
    assert set(made) == {
        ("torch", "float32"),
        ("torch", "bfloat16"),
        ("openvino", "bfloat16"),
        ("compiled", "bfloat16"),
    }
    made.clear()
    monkeypatch.setattr(choice, "bfloat16_is_fast", lambda _: True)
    found = choose(Colours(), job("auto"), 1_000_000)
    assert (found.prepared.engine, found.prepared.precision, found.pace) == ("compiled", "bfloat16", 100.0)
    assert ("openvino", "bfloat16") in made and ("onnxruntime", "bfloat16") not in made
    small = choose(Colours(), job("bfloat16"), 10)
    assert (small.prepared.engine, small.prepared.precision) == ("torch", "bfloat16"), "what was asked for"


def test_int8_is_for_those_who_ask_for_it(engines: Any) -> None:
    made = engines()
    assert choose(Colours(), job("auto"), 1_000_000).prepared.precision == "float32"
    assert "int8" not in {precision for _, precision in made}
    made.clear()
    found = choose(Colours(), job("int8"), 1_000_000)
    assert made == [("torch", "float32"), ("openvino", "int8"), ("onnxruntime", "int8")]
    assert (found.prepared.engine, found.prepared.precision) == ("onnxruntime", "int8")
    few = choose(Colours(), job("int8"), 599)
    assert (few.prepared.engine, few.prepared.precision) == ("torch", "float32"), "exact, and sooner done"
    some = choose(Colours(), job("int8"), 1100)  # 110 s for torch; int8 takes twice the preparation of others
    assert some.prepared.engine == "torch" and some.tried[-1].startswith("onnxruntime, int8: not tried, 110 s")


def test_int8_that_is_too_far_is_refused(engines: Any) -> None:
    engines({"onnxruntime": 0.3})
    assert choose(Colours(), job("int8"), 1_000_000).prepared.engine == "openvino"
    engines({"onnxruntime": 0.3, "openvino": math.inf})
    message = r"no engine has it.* openvino, int8: not this model onnxruntime, int8: .*0\.9\d+, too far.*'bfloat16'"
    with pytest.raises(UserError, match=message):
        choose(Colours(), job("int8"), 1_000_000)
    with pytest.raises(UserError, match=r"mean cosine to float32 0\.9\d+, and int8 takes 0\.995 on average\. Take"):
        ready(Colours(), "onnxruntime", job("int8"), 10)


def test_other_devices_stay_with_torch(engines: Any) -> None:
    made = engines()
    assert choose(Colours(), job(device="mps"), 1_000_000).prepared.engine == "torch" and len(made) == 1


def test_named_engines_are_measured_and_torch_is_not(engines: Any) -> None:
    engines({"openvino": 0.2})
    model = Colours().train()
    plain = ready(model, "torch", job(), 10)
    assert plain.prepared.engine == "torch" and plain.cosine == 1 and math.isnan(plain.pace) and not plain.tried
    assert math.isnan(ready(model, "torch", job("bfloat16"), 10).cosine)
    rough = ready(model, "openvino", job(), 10)
    assert not rough.near and rough.pace == PACE["openvino"] and model.training
    assert ready(model, "auto", job(), 10).prepared.engine == "torch"


def test_a_measurement_is_real() -> None:
    prepared = ENGINES["torch"].factory(Colours(), job())
    reference = prepared.embed(sample())
    found = measured(prepared, sample(), reference)
    assert found.pace > 0 and found.cosine == pytest.approx(1) and found.near
    assert not replace(found, cosine=math.nan).near
    assert agreement(reference, -reference) == pytest.approx(-1)
    turned = torch.cat([reference[:-1], -reference[-1:]])
    half = measured(prepared, sample(), turned)
    assert half.lowest == pytest.approx(-1) and half.cosine == pytest.approx(1 - 2 / len(turned))


def test_every_precision_has_a_bar() -> None:
    known = {each for entry in ENGINES.values() for each in entry.facts.get("precisions", ())}
    assert known <= set(BARS) and all(0.99 < bar < 1 for bar in BARS.values())
    assert isinstance(ENGINES["torch"], Entry)
