"""A search as a page: one self-contained HTML file with the pictures."""

from __future__ import annotations

import base64
import hashlib
import io
import math
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reidlab.data.images import Bad, open_bytes, read_file, to_rgb
from reidlab.errors import UserError, printable
from reidlab.paths import expanded
from reidlab.workbook.files import write_whole
from reidlab.workbook.pages.allowed import POLICY
from reidlab.workbook.report import html_root, template_environment

if TYPE_CHECKING:
    from reidlab.search import SearchResult

__all__ = ["write_page"]

HEIGHT = 160  # of a picture, in pixels
MOST = 5000  # pictures in a page: some 20 MB


def write_page(found: SearchResult, output: Path | None = None) -> Path:
    """Write the page of a search.

    Args:
        found: the result.
        output: the file; None: reports/html/search-DIGEST.html, a name per set of queries.

    Raises:
        UserError: more pictures than a page should hold, or it cannot be written.
    """
    if len(found.hits) + len(found.queries) > MOST:
        raise UserError(
            f"{len(found.queries):,} queries with {len(found.hits):,} hits are more than the {MOST:,} pictures of a "
            "page. Take fewer queries or a smaller --top, or --csv."
        )
    digest = hashlib.sha256("\0".join(found.queries).encode("utf-8", "surrogateescape")).hexdigest()[:8]
    target = html_root() / f"search-{digest}.html" if output is None else expanded(output, "output")
    made = template_environment()
    home = os.path.commonpath([os.path.dirname(path) for path in (*found.queries, *found.hits["file"])])  # noqa: PTH120
    text = made.get_template("search.html.j2").render(
        policy=POLICY,
        style=_style(made),
        title="Search",
        found=found,
        facts=[(name, str(value)) for name, value in found.facts.items()],
        searches=[_search(found, query, home) for query in found.queries],
        skipped=[[printable(str(value)) for value in row] for row in found.skipped.to_numpy().tolist()],
        notes=[printable(note) for note in found.notes],
        today=time.strftime("%Y-%m-%d"),
    )
    write_whole(target, text)
    return target


def _style(made: Any) -> str:
    return str(made.loader.get_source(made, "style.css")[0])


def _search(found: SearchResult, query: str, home: str) -> dict[str, Any]:
    hits = [
        {
            **hit,
            "name": _name(hit["file"], home),
            "picture": _picture(hit["file"]),
            "sure": "" if math.isnan(hit["probability"]) else f"{hit['probability']:.2f}",
        }
        for hit in found.of(query).to_dict("records")
    ]
    return {"name": _name(query, home), "picture": _picture(query), "hits": hits}


def _name(path: str, home: str) -> str:
    return printable(os.path.relpath(path, home))


def _picture(path: str) -> str:
    """Return a small JPEG of a file as a data address; "" where it cannot be read any more."""
    from PIL import Image

    try:
        image = to_rgb(open_bytes(read_file(path)))
    except (Bad, OSError, ValueError):
        return ""
    image.thumbnail((2 * HEIGHT, HEIGHT), Image.Resampling.LANCZOS)
    held = io.BytesIO()
    image.save(held, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(held.getvalue()).decode()
