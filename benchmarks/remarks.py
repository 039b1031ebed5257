"""What a person wrote below a table that a script writes: kept when the table is written anew."""

from __future__ import annotations

from pathlib import Path

HEADING = "## Remarks"


def remarks_in(path: Path) -> str:
    """Return a file's text from its heading "## Remarks" on, with an empty line before it; "" where there is none."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    _, heading, rest = text.partition(f"\n{HEADING}\n")
    return f"\n{HEADING}\n{rest.rstrip()}\n" if heading else ""
