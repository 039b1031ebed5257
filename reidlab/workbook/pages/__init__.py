"""What a page and its card say about one executed notebook: its facts, parameters, key figures and thumbnail."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from reidlab.params import NOTEBOOKS, describe
from reidlab.workbook.cells import read_notebook, result_of, tags_of, title_of
from reidlab.workbook.result import show

__all__ = ["Page", "page_of"]

SIGNS = {"done": "✓", "stopped": "■", "failed": "✗"}
PICTURES = ("image/png", "image/jpeg")
LONGEST = 500  # characters of a parameter's value


@dataclass
class Page:
    """One executed notebook as the templates need it; everything is text."""

    path: Path
    notebook: NotebookNode = field(repr=False)
    title: str
    status: str
    kind: str
    failure: Mapping[str, str] | None
    duration: str
    date: str
    facts: list[tuple[str, str]]
    made_with: list[tuple[str, str]]
    parameters: list[dict[str, Any]]
    chips: list[str]
    metrics: list[tuple[str, str]]
    thumbnail: str = ""
    thumbnail_alt: str = ""

    @property
    def file(self) -> str:
        """The page's file name."""
        return f"{self.path.stem}.html"

    @property
    def short(self) -> str:
        """A short name for navigation."""
        return self.path.stem.replace("_", " ")

    @property
    def sign(self) -> str:
        """A sign beside the status, so that colour is not needed to read it."""
        return SIGNS[self.kind]


def page_of(path: Path) -> Page:
    """Read an executed notebook and gather what its page and its card say.

    Raises:
        UserError: the file is missing or is no notebook.
    """
    notebook = read_notebook(path)
    ours, theirs = _mapping(notebook.metadata, "reidlab"), _mapping(notebook.metadata, "papermill")
    status = str(ours.get("status") or _papermill_status(theirs))
    values = _mapping(ours, "parameters") or _mapping(theirs, "parameters")
    changed = _mapping(ours, "changed") or _mapping(theirs, "parameters")
    seconds = ours.get("seconds") or theirs.get("duration")
    git, versions = _mapping(ours, "git"), {name: str(value) for name, value in _mapping(ours, "versions").items()}
    commit = str(git.get("commit") or "")[:10] + (" with changes" if git.get("dirty") else "")
    date = str(ours.get("date") or theirs.get("start_time") or "")[:16].replace("T", " ")
    date += " UTC" if date else ""
    duration = _duration(seconds)
    facts = [("Data set", str(values.get("dataset", ""))), ("Date", date), ("Took", duration), ("Commit", commit)]
    facts += [(name, versions[name]) for name in ("reidlab", "torch") if name in versions]
    machine = _mapping(ours, "machine")
    made_with = [*versions.items(), *((name, str(value)) for name, value in machine.items())]
    picture, alt = _key_figure(notebook)
    result = result_of(notebook)
    metrics = _mapping(result, "metrics")
    order = result.get("order") if isinstance(result.get("order"), list) else list(metrics)
    failure = _mapping(ours, "failure")
    return Page(
        path=path,
        notebook=notebook,
        title=title_of(notebook, path.stem),
        status=status,
        kind=status if status in SIGNS else "failed",
        failure={name: str(failure.get(name, "")) for name in ("error", "message")} if failure else None,
        duration=duration,
        date=date,
        facts=[(name, value) for name, value in facts if value],
        made_with=made_with,
        parameters=_parameter_rows(path, values, changed),
        chips=[f"{name}={_value(value)}" for name, value in changed.items()],
        metrics=[(n, show(metrics[n])) for n in map(str, order or ()) if n in metrics][:8],
        thumbnail=picture,
        thumbnail_alt=alt,
    )


def _mapping(holder: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a mapping of a notebook's metadata, in which other programs may write anything."""
    found = holder.get(name)
    return dict(found) if isinstance(found, Mapping) else {}


def _papermill_status(meta: Mapping[str, Any]) -> str:
    if meta.get("exception"):
        return "failed"
    return "done" if meta.get("end_time") or not meta else "not finished"


def _parameter_rows(path: Path, values: Mapping[str, Any], changed: Mapping[str, Any]) -> list[dict[str, Any]]:
    model = next((NOTEBOOKS[stem] for stem in NOTEBOOKS if path.stem == stem or path.stem.startswith(f"{stem}-")), None)
    known = {row.name: row for row in describe(model)} if model else {}
    return [
        {
            "name": name,
            "value": _value(values[name]),
            "changed": name in changed,
            "default": (known[name].default.strip("'") or "(empty)") if name in known else "?",
            "meaning": known[name].description.replace("`", "") if name in known else "",
        }
        for name in [*(n for n in known if n in values), *(n for n in values if n not in known)]
    ]


def _value(value: Any) -> str:
    text = str(value)
    return (text if len(text) <= LONGEST else f"{text[:LONGEST]}…") or "(empty)"


def _duration(seconds: Any) -> str:
    if not isinstance(seconds, (int, float)) or not 0 < seconds < math.inf:
        return ""
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _key_figure(notebook: NotebookNode) -> tuple[str, str]:
    """Return the picture of the cell tagged `key-figure`, else the last picture, small, as a data address."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    cells.sort(key=lambda cell: "key-figure" in tags_of(cell))  # stable: the tagged one comes last
    for cell in reversed(cells):
        for output in reversed(cell.outputs):
            for kind in PICTURES:
                if kind in output.get("data", {}):
                    return _thumbnail(output.data[kind]), str(cell.metadata.get("alt") or "Key figure of the notebook")
    return "", ""


def _thumbnail(data: str) -> str:
    from PIL import Image

    from reidlab.data.images import Bad, open_bytes

    try:
        image = open_bytes(base64.b64decode(data)).image
        flat = Image.new("RGB", image.size, "white")
        rgba = image.convert("RGBA")
        flat.paste(rgba, mask=rgba.getchannel("A"))
    except (Bad, ValueError):
        return ""
    if flat.height > 0.8 * flat.width:  # a tall one would become too small to see: its upper part is shown
        flat = flat.crop((0, 0, flat.width, -(-3 * flat.width // 5)))
    flat.thumbnail((640, 400))
    target = io.BytesIO()
    flat.save(target, "JPEG", quality=82, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(target.getvalue()).decode()
