"""What a page says about one executed notebook, and its cells as HTML that loads nothing and runs no script."""

from __future__ import annotations

import base64
import copy
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from reidlab.params import NOTEBOOKS, describe
from reidlab.workbook.cells import read_notebook, result_of, tags_of, title_of
from reidlab.workbook.formulas import draw_formulas
from reidlab.workbook.result import show

__all__ = ["Page", "content_of", "page_of"]

LEFT_OUT = {"interactive-only", "remove-cell", "parameters", "injected-parameters", "papermill-error-cell-tag"}
WIDGET = "application/vnd.jupyter.widget-view+json"
WIDGET_NOTE = "<p class='note'>An interactive view stands here when the notebook is open in JupyterLab.</p>"
NO_ALT = "No description has been provided"  # nbconvert's own words
SIGNS = {"done": "✓", "stopped": "■", "failed": "✗"}
PICTURES = ("image/png", "image/jpeg")


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
    ours, theirs = notebook.metadata.get("reidlab", {}), notebook.metadata.get("papermill", {})
    status = ours.get("status") or _papermill_status(theirs)
    values = dict(ours.get("parameters") or theirs.get("parameters") or {})
    changed = dict(ours.get("changed") or theirs.get("parameters") or {})
    seconds = ours.get("seconds") or theirs.get("duration")
    git, versions = ours.get("git", {}), dict(ours.get("versions", {}))
    commit = (git.get("commit") or "")[:10] + (" with changes" if git.get("dirty") else "")
    date = str(ours.get("date") or theirs.get("start_time") or "")[:16].replace("T", " ")
    date += " UTC" if date else ""
    duration = _duration(seconds)
    facts = [("Data set", str(values.get("dataset", ""))), ("Date", date), ("Took", duration), ("Commit", commit)]
    facts += [(name, versions[name]) for name in ("reidlab", "torch") if name in versions]
    machine = ours.get("machine", {})
    made_with = [*versions.items(), *((name, str(value)) for name, value in machine.items())]
    picture, alt = _key_figure(notebook)
    result = result_of(notebook)
    metrics = result.get("metrics", {})
    return Page(
        path=path,
        notebook=notebook,
        title=title_of(notebook, path.stem),
        status=status,
        kind=status if status in SIGNS else "failed",
        failure=ours.get("failure"),
        duration=duration,
        date=date,
        facts=[(name, value) for name, value in facts if value],
        made_with=made_with,
        parameters=_parameter_rows(path, values, changed),
        chips=[f"{name}={_value(value)}" for name, value in changed.items()],
        metrics=[(n, show(metrics[n])) for n in result.get("order", metrics) if n in metrics][:8],
        thumbnail=picture,
        thumbnail_alt=alt,
    )


def content_of(page: Page, code: bool) -> tuple[str, list[tuple[str, str]]]:
    """Give a notebook's cells as HTML, and its sections as (anchor, text)."""
    from bs4 import BeautifulSoup
    from nbconvert import HTMLExporter

    notebook = _prepared(page.notebook, code)
    exporter = HTMLExporter(
        template_name="basic",
        embed_images=True,
        exclude_input=not code,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )
    body, _ = exporter.from_notebook_node(notebook, {"metadata": {"path": str(page.path.parent)}})
    soup = BeautifulSoup(body, "html.parser")
    _make_safe(soup)
    draw_formulas(soup)
    for table in soup.find_all("table", class_="reidlab-params"):
        table.decompose()  # the header has them, and the title
    first = soup.find("h1")
    if first is not None:
        first.decompose()
    contents = []
    for heading in soup.find_all("h2"):
        for link in heading.find_all("a", class_="anchor-link"):
            link.decompose()
        if heading.get("id"):
            contents.append((str(heading["id"]), heading.get_text(" ", strip=True)))
    for table in soup.find_all("table"):
        _align_words(table)
        table.wrap(soup.new_tag("div", attrs={"class": "scroll"}))
    return str(soup), contents


def _prepared(notebook: NotebookNode, code: bool) -> NotebookNode:
    """Copy a notebook without what a page cannot show."""
    made = copy.deepcopy(notebook)
    dropped = LEFT_OUT - {"parameters", "injected-parameters"} if code else LEFT_OUT
    made.cells = [cell for cell in made.cells if not dropped & set(tags_of(cell))]
    heading = made.metadata.get("title", "")
    for cell in made.cells:
        if cell.cell_type == "markdown":
            found = re.findall(r"^#{1,6}\s+(.+?)\s*#*$", cell.source, flags=re.MULTILINE)
            heading = re.sub(r"[*_`]", "", found[-1]) if found else heading
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            data.pop("application/javascript", None)
            if data.pop(WIDGET, None) and not set(data) - {"text/plain"}:
                # a progress bar ("epoch 1:  0%|   | 0/24 [...]") is for the live eye and leaves nothing behind
                bar = re.match(r"[^|]*\d+%\|", str(data.get("text/plain", "")))
                data["text/html"] = "" if bar else WIDGET_NOTE
                data["text/plain"] = ""
            if any(kind.startswith("image/") for kind in data) and not cell.metadata.get("alt"):
                cell.metadata["alt"] = f"Figure of the section “{heading}”" if heading else "Figure"
    made.metadata.pop("widgets", None)
    return made


def _make_safe(soup: Any) -> None:
    """Take away scripts, handlers and whatever would be loaded from the network."""
    for tag in soup.find_all(["script", "link", "base", "object", "embed", "meta"]):
        tag.decompose()
    for tag in soup.find_all(True):
        for name in [n for n in tag.attrs if n.lower().startswith("on")]:
            del tag[name]
        if "srcset" in tag.attrs:
            del tag["srcset"]
        if "style" in tag.attrs:
            tag["style"] = _without_urls(tag["style"])
        source = str(tag.get("src") or "")
        if source and not source.startswith("data:"):
            note = soup.new_tag("span", attrs={"class": "note"})
            note.string = f"[not part of the page: {source}]"
            tag.replace_with(note)
        elif tag.name == "img" and str(tag.get("alt") or NO_ALT).startswith(NO_ALT):
            tag["alt"] = "Figure"
    for tag in soup.find_all("style"):
        tag.string = _without_urls(tag.string or "")


def _align_words(table: Any) -> None:
    """Mark the columns of a data frame that hold words: numbers are set right, words left."""
    rows = [row.find_all(["th", "td"]) for row in table.find_all("tr")]
    cells = [(i, cell) for row in rows for i, cell in enumerate(row)]
    words = {i for i, cell in cells if cell.name == "td" and re.search(r"[^\W\d_]{4}", cell.get_text())}
    for i, cell in cells:
        if i in words:
            cell["class"] = [*cell.get("class", []), "words"]


def _without_urls(style: str) -> str:
    return re.sub(r"@import[^;]*;|url\(\s*['\"]?\s*(?:https?:)?//[^)]*\)", "", style)


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
    return str(value) if value != "" else "(empty)"


def _duration(seconds: float | None) -> str:
    if not seconds:
        return ""
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _key_figure(notebook: NotebookNode) -> tuple[str, str]:
    """Give the picture of the cell tagged `key-figure`, else the last picture, small, as a data address."""
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
    flat.thumbnail((640, 360))
    target = io.BytesIO()
    flat.save(target, "JPEG", quality=82, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(target.getvalue()).decode()
