"""The engine auto: the fastest one installed, by a measurement of the model at hand on this machine."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float32, UInt8
from torch import Tensor, nn

from reidlab.devices import bfloat16_is_fast
from reidlab.errors import UserError
from reidlab.models.engines.base import AUTO, INT8, Job, Prepared, missing_packages, prepare
from reidlab.registry import ENGINES

__all__ = ["BARS", "Choice", "agreement", "choose", "measured", "ready"]

BARS = {"float32": 0.999, "bfloat16": 0.995, "float16": 0.995, INT8: 0.995}  # mean cosine to float32 of torch
_SECONDS = 1.0  # of a measurement
_FEW = 16  # images of a first measurement
_REMEDY = "Take precision='bfloat16' or 'float32'."
_CALIBRATED = 2  # times the preparation of other precisions
_PAYS = 4  # an engine is tried where what is left to do takes so many times its preparation


@dataclass(frozen=True)
class Choice:
    """An engine made ready, and what was measured of it.

    Attributes:
        prepared: the engine.
        cosine: mean cosine of its embeddings of a sample to those of torch in float32.
        pace: images per second, decoding left out; NaN where it was not measured.
        tried: a sentence for each engine that was looked at.
        lowest: the least of the cosines; NaN where it was not measured.
    """

    prepared: Prepared
    cosine: float
    pace: float
    tried: tuple[str, ...] = ()
    lowest: float = math.nan

    def __str__(self) -> str:
        pace = "" if math.isnan(self.pace) else f"{self.pace:.3g} images/s, "
        lowest = "" if math.isnan(self.lowest) else f", lowest {self.lowest:.5f}"
        name = f"{self.prepared.engine}, {self.prepared.precision}"
        return f"{name}: {pace}mean cosine to float32 {self.cosine:.5f}{lowest}"

    @property
    def near(self) -> bool:
        """Return whether the embeddings are near enough to those of float32 for the precision (`BARS`)."""
        return self.cosine >= BARS[self.prepared.precision]


def agreement(found: Float32[Tensor, "image dim"], reference: Float32[Tensor, "image dim"]) -> float:
    """Return the mean cosine of the embeddings of the same images; NaN where any of them is NaN."""
    return float(_cosines(found, reference).mean())


def _cosines(found: Tensor, reference: Tensor) -> Tensor:
    return F.cosine_similarity(found.double(), reference.double(), dim=1)


def measured(prepared: Prepared, sample: UInt8[Tensor, "image 3 height width"], reference: Tensor) -> Choice:
    """Measure an engine for about a second (longer where a few images take longer) and compare its embeddings.

    Args:
        prepared: the engine.
        sample: images.
        reference: their embeddings by torch in float32, [image, dim].
    """
    found = prepared.embed(sample)
    lowest = float(_cosines(found, reference).min())
    return Choice(prepared, agreement(found, reference), _pace(prepared, sample), lowest=lowest)


def _pace(prepared: Prepared, sample: Tensor) -> float:
    """Return images per second of the fastest run; the engine is warm."""
    batch, spent, best = sample[:_FEW], 0.0, 0.0
    while not best or spent < _SECONDS:
        began = time.perf_counter()
        prepared.embed(batch)
        took = max(time.perf_counter() - began, 1e-9)
        spent += took
        best = max(best, len(batch) / took)
        if took * len(sample) / len(batch) < _SECONDS / 4:  # more at once: engines that use many cores need it
            batch = sample
    return best


def ready(model: nn.Module, engine: str, job: Job, n_images: int) -> Choice:
    """Return an engine that was asked for by name, or the one that `choose` chooses where it is auto.

    The engine torch in float32 is its own reference, and nothing is measured of torch.

    Args:
        model: gives embeddings in eval mode and has `.preprocess`; it stays in the mode that it was in.
        engine: registered name, or auto.
        job: what it is prepared for; its precision may be auto where the engine is.
        n_images: to embed; with a flip test each counts twice.

    Raises:
        UserError: the engine cannot compute this model, or int8 is too far from float32.
    """
    was_training = model.training
    model.eval()
    try:
        if engine == AUTO:
            return choose(model, job, n_images)
        prepared = prepare(model, engine, job)
        if engine == "torch":
            return Choice(prepared, 1.0 if prepared.precision == "float32" else math.nan, math.nan)
        reference = prepare(model, "torch", replace(job, precision="float32")).embed(job.sample)
        found = measured(prepared, job.sample, reference)
        if prepared.precision == INT8 and not found.near:
            raise UserError(f"{found}, and int8 takes {BARS[INT8]} on average. {_REMEDY}")
        return found
    finally:
        model.train(was_training)


def choose(model: nn.Module, job: Job, n_images: int) -> Choice:
    """Return the fastest engine for so many images whose embeddings are near enough to those of float32.

    Engines other than torch are tried on CPUs alone, and where preparing them pays: few images stay with torch.

    Args:
        model: in eval mode, with `.preprocess`.
        job: its precision may be auto: float32, and bfloat16 where the hardware has it.
        n_images: to embed; with a flip test each counts twice.

    Raises:
        UserError: int8 was asked for, and no engine here has it near enough.
    """
    exact = prepare(model, "torch", replace(job, precision="float32"))
    began = time.perf_counter()
    reference = exact.embed(job.sample)
    left = n_images / len(job.sample) * (time.perf_counter() - began)
    best, tried = Choice(exact, 1.0, n_images / left), []
    own = _own_precision(job)
    if own != "float32":  # torch in the precision that was asked for, fast or not
        found = measured(prepare(model, "torch", replace(job, precision=own)), job.sample, reference)
        tried.append(f"{found}{'' if found.near else ', too far'}.")
        best = found if found.near or job.precision != AUTO else best
    if n_images / best.pace < _PAYS * min(map(_preparation, set(ENGINES) - {"torch"})):
        why = f"{n_images:,} images are {n_images / best.pace:.0f} s of work for torch: no other engine would pay."
        return replace(best, tried=(*tried, why))
    if best.prepared is exact:
        best = replace(best, pace=_pace(exact, job.sample))
        tried.append(f"{best}.")
    best = _fastest(model, job, reference, best, n_images, tried)
    return replace(best, tried=tuple(tried))


def _fastest(model: nn.Module, job: Job, reference: Tensor, best: Choice, n_images: int, tried: list[str]) -> Choice:
    """Return the fastest of `best` and the engines other than torch; `tried` gets a sentence for each."""
    refused = job.precision == INT8
    for engine, precision in _candidates(job):
        left = n_images / best.pace
        if left < _PAYS * _preparation(engine) * (_CALIBRATED if precision == INT8 else 1):
            tried.append(f"{engine}, {precision}: not tried, {left:.0f} s of work would not pay for its preparation.")
            refused = False
            continue
        try:
            found = measured(prepare(model, engine, replace(job, precision=precision)), job.sample, reference)
        except UserError as error:
            tried.append(f"{engine}, {precision}: {error}")
            continue
        tried.append(f"{found}{'' if found.near else ', too far: refused'}.")
        refused = refused and not found.near
        if found.near and found.pace > best.pace:
            best = found
    if refused:
        why = " ".join(["precision='int8': no engine has it, near enough to float32, here.", *tried[1:]])
        raise UserError(f"{why} {_REMEDY}")
    return best


def _own_precision(job: Job) -> str:
    """Return in which precision torch does the job: another than float32 where that was asked for or is fast.

    It has no int8: few images are embedded in float32 then, by which all others are judged anyway.
    """
    if job.precision == INT8:
        return "float32"
    if job.precision == AUTO:
        return "bfloat16" if bfloat16_is_fast(torch.device(job.device)) else "float32"
    return job.precision


def _preparation(engine: str) -> float:
    """Return about how many seconds an engine's preparation takes."""
    return float(ENGINES[engine].facts.get("preparation", 0))


def _candidates(job: Job) -> Iterator[tuple[str, str]]:
    """Name engines other than torch, and precisions, that may be tried: installed, on a CPU, as asked for."""
    wanted: tuple[str, ...] = (job.precision,)
    if job.precision == AUTO:
        wanted = tuple(dict.fromkeys(["float32", _own_precision(job)]))
    for engine, entry in ENGINES.items():
        if engine != "torch" and job.device == "cpu" and not missing_packages(engine):
            yield from ((engine, each) for each in wanted if each in entry.facts.get("precisions", wanted))
