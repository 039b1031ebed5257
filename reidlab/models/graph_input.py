"""What the numbers are that a file of ONNX or OpenVINO takes: read from the file, or from the YAML file beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from reidlab.documents import as_mapping, read_yaml
from reidlab.errors import UserError, nearest, shown

__all__ = ["GRAPH_FILES", "GraphInput", "beside", "understood"]

GRAPH_FILES = (".onnx", ".xml")
_EXAMPLE = "channels: bgr, range: 255 for a network that was trained on pixels as OpenCV reads them"
_Three = tuple[float, float, float]
_Positive = Annotated[float, Field(gt=0)]


class GraphInput(BaseModel):
    """What the numbers are that a file takes: (pixel * range / 255 - mean) / std, with the channels in their order.

    Mean and std are given for the channels in the order of the file, in the units of `range`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: Literal["rgb", "bgr"]
    range: float = Field(gt=0, description="what white is before mean and std: 1 or 255, for most")
    mean: _Three = (0.0, 0.0, 0.0)
    std: tuple[_Positive, _Positive, _Positive] = (1.0, 1.0, 1.0)
    height: int | None = Field(default=None, ge=1, description="pixels, where the file leaves it open")
    width: int | None = Field(default=None, ge=1, description="pixels, where the file leaves it open")
    output: str = Field(default="", description="name of the embedding, where the file has several outputs")


def beside(path: Path) -> Path:
    """Return the file that says what the input of a file is."""
    return path.with_suffix(".yaml")


def understood(path: Path, graph: Any) -> tuple[GraphInput | None, tuple[int, int]]:
    """Return what a file's input is (None: pixels as they are) and its height and width.

    Args:
        path: of the file.
        graph: as OpenVINO read it.

    Raises:
        UserError: several inputs, one that is no batch of images, or nothing says what its numbers are.
    """
    if len(graph.inputs) != 1:
        names = ", ".join(sorted(each.get_any_name() for each in graph.inputs))
        raise UserError(f"{path} takes {len(graph.inputs)} inputs ({names}), and a model here takes one: images.")
    about = _own_notes(graph)
    how = None if about.get("preprocess") == "inside" else _exported(about) or _said(path)
    shape = graph.inputs[0].get_partial_shape()
    known = [int(n.get_length()) if n.is_static else None for n in shape] if shape.rank.is_static else []
    channel = 3 if how is None else 1
    if len(known) != 4 or known[channel] not in (3, None):
        wanted = "[batch, 3, height, width]" if how else "[batch, height, width, 3]"
        raise UserError(f"{path}: its input is {shape}, and images are {wanted}.")
    sides = [known[1], known[2]] if how is None else [known[2], known[3]]
    said = [how.height, how.width] if how else [None, None]
    for name, own, given in zip(("height", "width"), sides, said):
        if own is None and given is None:
            raise UserError(f"{path} leaves the {name} of its images open: say it in {beside(path).name}.")
        if own is not None and given not in (None, own):
            raise UserError(f"{beside(path)}: {name}={given}, but the file takes images of {name} {own}.")
    height, width = (own or given or 0 for own, given in zip(sides, said))
    return how, (height, width)


def _own_notes(graph: Any) -> dict[str, str]:
    """Return what `reidlab export` wrote into a file; empty for files of others."""
    if not graph.has_rt_info(["framework", "preprocess"]):
        return {}
    return {name: str(getattr(value, "value", value)) for name, value in graph.get_rt_info(["framework"]).value.items()}


def _exported(about: dict[str, str]) -> GraphInput | None:
    if about.get("preprocess") != "beside":
        return None
    mean, std = (tuple(json.loads(about[name])) for name in ("mean", "std"))
    return GraphInput(channels="rgb", range=1.0, mean=mean, std=std)


def _said(path: Path) -> GraphInput:
    """Read what the file beside says of the input."""
    said = beside(path)
    if not said.is_file():
        raise UserError(
            f"{path.name} does not say what numbers it takes. Write {said.name} beside it with channels (rgb or "
            f"bgr), range (1 or 255), and mean and std where it was trained with them; {_EXAMPLE}."
        )
    content = as_mapping(read_yaml(said, said.name), said.name)
    try:
        return GraphInput(**content)
    except ValidationError as error:
        problem = error.errors()[0]
        name = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            known = GraphInput.model_fields
            raise UserError(f"{said}: {name!r} is unknown; it has {', '.join(known)}.{nearest(name, known)}") from None
        given = "" if problem["type"] == "missing" else f", given {shown(problem['input'])}"
        raise UserError(f"{said}: {name}: {problem['msg']}{given}. Example: {_EXAMPLE}.") from None
