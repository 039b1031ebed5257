"""Names and values of a manifest in readable form."""

from __future__ import annotations

from typing import Any

__all__ = ["title_of", "written"]

_TITLES = {
    "best_val_map": "best validation mAP",
    "dim": "embedding size",
    "height": "input height (pixels)",
    "width": "input width (pixels)",
    "macs": "multiply-adds",
    "num_classes": "identities in training",
    "sampler_note": "sampler",
    "train_images_seen": "images seen in training",
    "wait_share": "time waiting for data",
}
_SHARES = {"best_val_map", "wait_share"}


def title_of(name: str) -> str:
    """Return a readable title for a key of a manifest: "multiply-adds" for "macs"."""
    return _TITLES.get(name, name.replace("_", " "))


def written(value: Any, name: str = "") -> str:
    """Return a value as text: shares in per cent, thousands with commas, the parts of a list side by side."""
    if isinstance(value, list):
        return "; ".join(map(written, value))
    if isinstance(value, float):
        return f"{100 * value:.1f} %" if name in _SHARES else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
