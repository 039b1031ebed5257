"""What can be asked of an export, checked before anything heavy is done."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path

from reidlab.errors import UserError, nearest
from reidlab.models.onnx_graph import LOWEST_OPSET
from reidlab.paths import exists
from reidlab.store import provenance

__all__ = ["FORMS", "LOWEST_OPSET", "PACKAGES", "check_request", "files_of"]

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
FORMS = {
    "inside": "uint8 [batch, height, width, channel], 0 to 255",
    "beside": "float32 [batch, channel, height, width], (pixels / 255 - mean) / std",
}


def check_request(path: Path, *, preprocess: str = "inside", opset: int = LOWEST_OPSET, force: bool = False) -> None:
    """Refuse what cannot be exported, before anything heavy is done.

    Raises:
        UserError: packages are missing, an option has no such value, or a file is there already.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"export needs {', '.join(missing)}, which are not installed: pip install {' '.join(missing)}")
    if preprocess not in FORMS:
        hint = nearest(preprocess, FORMS)
        raise UserError(f"preprocess={preprocess!r} is unknown; choose from {', '.join(FORMS)}.{hint}")
    _check_opset(opset)
    if path.suffix != ".onnx":
        raise UserError(f"{path} must end in .onnx.")
    there = [file for file in files_of(path) if exists(file)]
    if there and (not force or path.is_dir()):
        raise UserError(f"{there[0]} exists already; name another file, or replace it by --force (force=True).")


def _check_opset(opset: int) -> None:
    """Refuse an opset that the installed packages do not write; torch's exporter never ends on some."""
    if opset < LOWEST_OPSET:
        raise UserError(f"opset={opset} is too old: torch's exporter starts at {LOWEST_OPSET}.")
    highest = _highest_opset()
    if opset > highest:
        versions = provenance.versions(("torch", "onnx", "onnxscript"))
        installed = ", ".join(f"{name} {version}" for name, version in versions.items() if name != "python")
        raise UserError(
            f"opset={opset} is too new: {installed} write {LOWEST_OPSET} to {highest}. Take one of these; "
            f"{LOWEST_OPSET} runs everywhere."
        )


def _highest_opset() -> int:
    """Return the newest opset that both ONNX and onnxscript support."""
    import onnx

    known = int(onnx.defs.onnx_opset_version())
    try:
        converter = importlib.import_module("onnxscript.version_converter._version_converter")
    except ImportError:  # in another place in another version; ONNX's own bound ends every export too
        return known
    return min(known, int(getattr(converter, "SUPPORTED_MAX_ONNX_OPSET", known)))


def files_of(path: Path) -> list[Path]:
    """Name all files of an export, the graph first."""
    return [path, *(path.with_name(path.name + ending) for ending in (".data", ".json"))]
