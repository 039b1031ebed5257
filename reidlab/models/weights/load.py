"""Weights from files into networks: renamed where a publisher named them otherwise, and accounted for.

Nothing is loaded in silence: every load gives a `LoadReport`, and a file that fits too little of the network is
refused. How files are read, and which are refused unread, is in `reidlab.models.weights.reading`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from reidlab.errors import UserError, nearest
from reidlab.models.weights.key_maps import KEY_MAPS, KeyMap
from reidlab.models.weights.reading import file_digest, read_object, read_weights

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "KEY_MAPS",
    "LoadReport",
    "bare",
    "check_exactly",
    "file_digest",
    "load_exactly",
    "load_state",
    "load_weights",
    "read_object",
    "read_weights",
]

_PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.", "network.", "net.", "base.", "encoder.")
_COUNTER = "num_batches_tracked"
_SHOWN = 3


@dataclass(frozen=True)
class LoadReport:
    """What a load did.

    Attributes:
        matched: tensors copied into the model.
        unused: names in the file that the model has no place for.
        missing: names of the model that the file lacks; they keep their initial values. The step counters of batch
            norms (`num_batches_tracked`) are not among them: old files lack them, and nothing reads them.
        notes: what a reader should know.
        reshaped: names whose tensors have another shape in the file, with both shapes; they keep their initial values.
        source: where the weights are from.
        loaded: names of the tensors that were copied, as the load called them.
    """

    matched: int
    unused: tuple[str, ...]
    missing: tuple[str, ...]
    notes: tuple[str, ...]
    reshaped: tuple[str, ...] = ()
    source: str = ""
    loaded: tuple[str, ...] = field(default=(), compare=False, repr=False)

    def __str__(self) -> str:
        head = f"{self.matched} tensors loaded, {_few(self.missing, 'missing')}, {_few(self.unused, 'unused')}"
        if self.reshaped:
            head += f", {_few(self.reshaped, 'of another shape')}"
        if self.source:
            head = f"{self.source}: {head}"
        return ". ".join([head, *self.notes])

    def to_frame(self) -> pd.DataFrame:
        """Return a table of what did not load: columns tensor, state (missing, unused or other shape)."""
        import pandas as pd

        states = {"missing": self.missing, "other shape": self.reshaped, "unused": self.unused}
        rows = [(name, state) for state, names in states.items() for name in names]
        return pd.DataFrame(rows, columns=["tensor", "state"])


def load_weights(
    model: nn.Module, path: str | Path, *, min_match: float = 0.5, key_map: str | None = None
) -> LoadReport:
    """Load a weights file into a model and say what was loaded; see `load_state`.

    Raises:
        UserError: as `read_weights` and `load_state`.
    """
    return load_state(model, read_weights(path), min_match=min_match, key_map=key_map, source=Path(path).name)


def load_state(
    model: nn.Module,
    state: Mapping[str, Tensor],
    *,
    min_match: float = 0.5,
    key_map: str | None = None,
    source: str = "",
    own: Mapping[str, Tensor] | None = None,
) -> LoadReport:
    """Copy those tensors of `state` into the model that fit it by name and shape.

    Names are tried as they are, without wrappers' prefixes ("module.", "backbone.", ...), and renamed by each of
    `KEY_MAPS`; the reading that matches most tensors is taken, the first of equals.

    Args:
        model: changed in place, and not at all when an error is raised.
        state: tensors by name.
        min_match: share of the model's tensors (counters of batch norms apart) that must match, in [0, 1].
        key_map: one of `KEY_MAPS`, to try no others; "" for none.
        source: what to call the weights in the report and in errors.
        own: the tensors that are copied into, by the names that a file has for them; None: those of the model.

    Raises:
        UserError: too little matches, a tensor that fits has NaN or infinite values or is of another kind, two names
            stand for one tensor, `key_map` is unknown, or a key map knows that the weights do not belong here.
    """
    if not 0 <= min_match <= 1:
        raise UserError(f"min_match={min_match} is a share; it must be in [0, 1].")
    if key_map and key_map not in KEY_MAPS:
        raise UserError(f"key map {key_map!r} is not one of {', '.join(KEY_MAPS)}.{nearest(key_map, KEY_MAPS)}")
    maps = KEY_MAPS if key_map is None else {key_map: KEY_MAPS[key_map]} if key_map else {}
    own = model.state_dict() if own is None else own
    what = source or "the weights"
    renamed, how = _best_reading(model, own, state, maps, what)
    fits = {name: tensor for name, tensor in renamed.items() if name in own and tensor.shape == own[name].shape}
    wanted = [name for name in own if not name.endswith(_COUNTER)]
    missing = tuple(name for name in wanted if name not in renamed)
    unused = tuple(name for name in renamed if name not in own)
    reshaped = _reshaped(own, renamed)
    share = sum(name in fits for name in wanted) / max(len(wanted), 1)
    if share < min_match:
        raise UserError(_refusal(what, share, min_match, missing, unused, reshaped))
    _copy(own, fits, what)
    return LoadReport(len(fits), unused, missing, (how,) if how else (), reshaped, source, tuple(fits))


def check_exactly(own: Mapping[str, Tensor], state: Mapping[str, Tensor], source: str) -> None:
    """Refuse a state whose names and shapes differ from those of `own`, which may be on the meta device.

    Raises:
        UserError: naming what is missing, too much, or of another shape.
    """
    kinds = (
        ("missing", tuple(name for name in own if name not in state)),
        ("unknown", tuple(name for name in state if name not in own)),
        ("of another shape", _reshaped(own, state)),
    )
    wrong = [_few(names, kind) for kind, names in kinds if names]
    if wrong:
        raise UserError(f"{source}: the weights do not fit the config: {'; '.join(wrong)}.")


def load_exactly(model: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Copy tensors into a model that has all of them and no others.

    Raises:
        UserError: as `check_exactly`, or naming what is of another kind or not finite.
    """
    own = model.state_dict()
    check_exactly(own, state, source)
    _copy(own, state, source)


def bare(name: str) -> str:
    """Take wrappers' prefixes off a name."""
    while prefix := next((p for p in _PREFIXES if name.startswith(p)), ""):
        name = name.removeprefix(prefix)
    return name


def _reshaped(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> tuple[str, ...]:
    return tuple(
        f"{name} {tuple(state[name].shape)} in the file, {tuple(mine.shape)} in the model"
        for name, mine in own.items()
        if name in state and state[name].shape != mine.shape
    )


def _copy(own: Mapping[str, Tensor], state: Mapping[str, Tensor], source: str) -> None:
    """Copy tensors of the same shapes, all or none."""
    for name, tensor in state.items():
        mine = own[name]
        if name.endswith(_COUNTER):
            continue
        if mine.is_floating_point() != tensor.is_floating_point():
            wanted = "floating-point" if mine.is_floating_point() else "whole"
            raise UserError(
                f"{source}: tensor {name!r} is of type {tensor.dtype}, and {wanted} numbers are needed there. Was the "
                "model quantised? Save it before."
            )
        if tensor.is_floating_point():
            bad = int((~tensor.to(mine.dtype).isfinite()).sum())
            if bad:
                raise UserError(
                    f"{source}: tensor {name!r} has {bad:,} NaN or infinite values of {tensor.numel():,}; its weights "
                    "are damaged. Take an earlier checkpoint of that training."
                )
    with torch.no_grad():
        for name, tensor in state.items():
            own[name].copy_(tensor)


def _best_reading(
    model: nn.Module, own: Mapping[str, Tensor], state: Mapping[str, Tensor], maps: Mapping[str, KeyMap], source: str
) -> tuple[Mapping[str, Tensor], str]:
    """Return the renamed state that matches most of `own`, and a sentence on how it was renamed ("" if it was not)."""

    def count(reading: Mapping[str, Tensor]) -> int:
        return sum(name in own and tensor.shape == own[name].shape for name, tensor in reading.items())

    plain = {bare(name): tensor for name, tensor in state.items()}
    best, best_count, best_how, best_base = state, count(state), "", state
    for base, stripped in ((state, ""), (plain, "Prefixes of wrappers were removed from the names")):
        translated = ((f"Translated by the key map {name!r}", _translated(maps[name], base, model)) for name in maps)
        readings = [(stripped, base), *translated]
        for how, reading in readings:
            if reading is not None and (matches := count(reading)) > best_count:
                best, best_count, best_how, best_base = reading, matches, how, base
    if best_base is plain:
        _refuse_two_names(state, plain, source)
    return best, best_how


def _translated(key_map: KeyMap, state: Mapping[str, Tensor], model: nn.Module) -> Mapping[str, Tensor] | None:
    try:
        return key_map.rename(state, model)
    except UserError:
        raise
    except Exception:  # names or shapes of another family, which a map (timm's own among them) does not expect
        return None


def _refuse_two_names(state: Mapping[str, Tensor], plain: Mapping[str, Tensor], source: str) -> None:
    """Refuse a file in which two names without their prefixes are one, and their tensors are not."""
    for name, tensor in state.items():
        taken = plain[bare(name)]
        if taken is not tensor and not (taken.shape == tensor.shape and torch.equal(taken, tensor)):
            raise UserError(
                f"{source} contains two networks: {name!r} is not the only tensor that is {bare(name)!r} without its "
                "wrapper's name. Save the one that is meant."
            )


def _few(names: Sequence[str], kind: str) -> str:
    """Count them, and name the first."""
    shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    return f"{len(names)} {kind}" + (f" ({shown})" if names else "")


def _refusal(source: str, share: float, least: float, missing: Any, unused: Any, reshaped: Any) -> str:
    kinds = (("missing", missing), ("unused", unused), ("of another shape", reshaped))
    examples = "; ".join(f"{len(names)} {kind}, such as {names[0]}" for kind, names in kinds if names)
    return (
        f"{source}: only {share:.0%} of the model's tensors match, less than min_match={least:.0%} ({examples}). "
        "Are these weights for another network? A lower min_match loads them all the same."
    )
