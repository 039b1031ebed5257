"""Weights from files into networks: read safely, renamed where a publisher named them otherwise, and accounted for.

Nothing is loaded in silence: every load gives a `LoadReport`, and a file that fits too little of the network is
refused.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy._core.multiarray import scalar as numpy_scalar
from torch import Tensor, nn

from reidlab.errors import UserError, nearest
from reidlab.models.key_maps import KEY_MAPS, KeyMap

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["KEY_MAPS", "LoadReport", "file_digest", "load_state", "load_weights", "read_object", "read_weights"]

_NESTS = ("state_dict", "model_state_dict", "model_state", "model", "teacher", "network", "net")
_PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.", "network.", "net.", "base.", "encoder.")
_NUMPY_SCALARS: list[Any] = [
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("float32", "float64", "int32", "int64", "bool")),
    (numpy_scalar, "numpy.core.multiarray.scalar"),  # as NumPy 1 wrote it
    numpy_scalar,
]


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
    """

    matched: int
    unused: tuple[str, ...]
    missing: tuple[str, ...]
    notes: tuple[str, ...]
    reshaped: tuple[str, ...] = ()
    source: str = ""

    def __str__(self) -> str:
        head = f"{self.matched} tensors loaded, {len(self.missing)} missing, {len(self.unused)} unused"
        if self.reshaped:
            head += f", {len(self.reshaped)} of another shape"
        if self.source:
            head = f"{self.source}: {head}"
        return ". ".join([head, *self.notes])

    def to_frame(self) -> pd.DataFrame:
        """Give a table of what did not load: columns tensor, state (missing, unused or other shape)."""
        import pandas as pd

        states = {"missing": self.missing, "other shape": self.reshaped, "unused": self.unused}
        rows = [(name, state) for state, names in states.items() for name in names]
        return pd.DataFrame(rows, columns=["tensor", "state"])


def file_digest(path: Path) -> str:
    """Give the SHA-256 of a file's content, for keys of runs that depend on it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_object(path: str | Path) -> Any:
    """Read what torch.save or safetensors wrote, on the CPU, without running code from it.

    Beside tensors and plain values, NumPy scalars and argparse namespaces are read (published checkpoints keep scores
    and options in them).

    Raises:
        UserError: the file is missing, damaged, or holds objects that only code could rebuild (it is refused unread).
    """
    path = Path(path)
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        with torch.serialization.safe_globals([*_NUMPY_SCALARS, argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"weights file {path} does not exist.") from None
    except Exception as error:
        # beside UnpicklingError, damaged files raise nearly anything: KeyError, struct.error, IndexError ...
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"weights file {path} is not readable as plain tensors ({reason}).") from error


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read tensors by name from a .pth, .pt or .safetensors file, also from inside a training checkpoint.

    Raises:
        UserError: as `read_object`, or no tensors by name are in it.
    """
    found = read_object(path)
    while isinstance(found, Mapping):
        nest = next((name for name in _NESTS if isinstance(found.get(name), Mapping)), None)
        if nest is None:
            break
        found = found[nest]
    if isinstance(found, Mapping):
        named = {key: value for key, value in found.items() if isinstance(key, str) and isinstance(value, Tensor)}
        if named:
            return named
        raise UserError(
            f"weights file {path} holds no tensors by name; it has {', '.join(map(str, found)) or 'nothing'}."
        )
    raise UserError(f"weights file {path} holds a {type(found).__name__}, no tensors by name.")


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

    Raises:
        UserError: too little matches, `key_map` is unknown, or a key map knows that the weights do not belong here.
    """
    if not 0 <= min_match <= 1:
        raise UserError(f"min_match={min_match} is a share; it must be in [0, 1].")
    if key_map and key_map not in KEY_MAPS:
        raise UserError(f"key map {key_map!r} is none of {', '.join(KEY_MAPS)}.{nearest(key_map, KEY_MAPS)}")
    maps = KEY_MAPS if key_map is None else {key_map: KEY_MAPS[key_map]} if key_map else {}
    own = model.state_dict()
    renamed, how = _best_reading(model, own, state, maps)
    fits = {name: tensor for name, tensor in renamed.items() if name in own and tensor.shape == own[name].shape}
    wanted = [name for name in own if not name.endswith("num_batches_tracked")]
    missing = tuple(name for name in wanted if name not in renamed)
    unused = tuple(name for name in renamed if name not in own)
    reshaped = tuple(
        f"{name} {tuple(renamed[name].shape)} in the file, {tuple(own[name].shape)} in the model"
        for name in own
        if name in renamed and name not in fits
    )
    share = sum(name in fits for name in wanted) / max(len(wanted), 1)
    if share < min_match:
        raise UserError(_refusal(source or "the weights", share, min_match, missing, unused, reshaped))
    model.load_state_dict(fits, strict=False)
    return LoadReport(len(fits), unused, missing, (how,) if how else (), reshaped, source)


def _best_reading(
    model: nn.Module, own: Mapping[str, Tensor], state: Mapping[str, Tensor], maps: Mapping[str, KeyMap]
) -> tuple[Mapping[str, Tensor], str]:
    """Give the renamed state that matches most of `own`, and a sentence on how it was renamed ("" if it was not)."""

    def count(reading: Mapping[str, Tensor]) -> int:
        return sum(name in own and tensor.shape == own[name].shape for name, tensor in reading.items())

    plain = {_bare(name): tensor for name, tensor in state.items()}
    best, best_count, best_how = state, count(state), ""
    for base, stripped in ((state, ""), (plain, "Wrappers' prefixes were taken off the names")):
        translated = ((f"Translated by the key map {name!r}", maps[name].rename(base, model)) for name in maps)
        readings = [(stripped, base), *translated]
        for how, reading in readings:
            if reading is not None and (matches := count(reading)) > best_count:
                best, best_count, best_how = reading, matches, how
    return best, best_how


def _bare(name: str) -> str:
    """Take wrappers' prefixes off a name."""
    while prefix := next((p for p in _PREFIXES if name.startswith(p)), ""):
        name = name.removeprefix(prefix)
    return name


def _refusal(source: str, share: float, least: float, missing: Any, unused: Any, reshaped: Any) -> str:
    kinds = (("missing", missing), ("unused", unused), ("of another shape", reshaped))
    examples = "; ".join(f"{len(names)} {kind}, such as {names[0]}" for kind, names in kinds if names)
    return (
        f"{source}: only {share:.0%} of the model's tensors match, less than min_match={least:.0%} ({examples}). "
        "Are these weights for another network? A lower min_match loads them all the same."
    )
