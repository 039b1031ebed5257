"""Severities 1 to 5 and what they stand for."""

from __future__ import annotations

from typing import Any, TypeVar

from torch import Tensor

from reidlab.errors import UserError, shown

__all__ = ["REFERENCE", "SEVERITIES", "as_pixels", "check_severity", "of_severity"]

SEVERITIES = (1, 2, 3, 4, 5)
REFERENCE = 224  # pixels: the height of the images that the lengths of ImageNet-C were chosen for
T = TypeVar("T")


def check_severity(severity: Any) -> int:
    """Return a severity as an int.

    Raises:
        UserError: anything but a whole number from 1 to 5.
    """
    if isinstance(severity, bool) or not isinstance(severity, int) or severity not in SEVERITIES:
        raise UserError(f"severity={shown(severity)} must be a whole number from 1 (slight) to 5 (worst).")
    return severity


def of_severity(constants: tuple[T, T, T, T, T], severity: Any) -> T:
    """Return the constant of a severity, of five from slight to worst."""
    return constants[check_severity(severity) - 1]


def as_pixels(values: Tensor) -> Tensor:
    """Round grey levels (0 to 255, floats, those outside cut off) half up to uint8."""
    return values.clamp(0, 255).add(0.5).floor().byte()
