"""What the parameters of several notebooks share."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from reidlab.params.base import NotebookParams

__all__ = ["DataParams", "Device"]

Device = Literal["auto", "cpu", "cuda", "mps"]


class DataParams(NotebookParams):
    """The data set, its split and the seed: what most notebooks share.

    `make notebooks-clean` writes these fields into the notebooks' parameters cells; `make lint` refuses others.
    """

    dataset: str = Field("pedestrians", min_length=1, description="data set; `reidlab data list` names them")
    root: str = Field("", description="its folder; empty: the usual place below data/raw")
    seed: int = Field(0, ge=0, le=2**32 - 1, description="seed of everything random")
    options: dict[str, Any] = Field({}, description='options of its reader, such as {"boxes": "detected"} for cuhk03')
    split: Literal["identity", "image", "test_to_val"] = Field(
        "identity", description="validation by identity, by image (flagged) or test_to_val (flagged)"
    )
    val_share: float = Field(0.2, ge=0, le=0.9, description="share kept for validation; 0.4 is usual for test_to_val")
