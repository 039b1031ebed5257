r"""TeX formulas of a page's text as small pictures, since a self-contained page cannot load MathJax."""

from __future__ import annotations

import base64
import io
import re
from typing import Any

__all__ = ["draw_formulas"]

FORMULA = re.compile(r"\$\$(.+?)\$\$|\$(?!\s)([^$\n]+?)(?<!\s)\$", flags=re.DOTALL)
SIZE = 12  # points, as the text


def draw_formulas(soup: Any) -> None:
    """Replace `$...$` and `$$...$$` in a parsed page; what matplotlib cannot draw stays as text."""
    for node in list(soup.find_all(string=FORMULA)):
        if node.find_parent(["code", "pre", "style", "textarea"]):
            continue
        pieces: list[Any] = []
        end = 0
        for found in FORMULA.finditer(str(node)):
            tex = (found.group(1) or found.group(2)).strip()
            picture = _picture(soup, tex, display=found.group(1) is not None)
            pieces += [str(node)[end : found.start()], picture or found.group()]
            end = found.end()
        node.replace_with(*[p for p in [*pieces, str(node)[end:]] if p])


def _picture(soup: Any, tex: str, display: bool) -> Any:
    from matplotlib import rc_context
    from matplotlib.font_manager import FontProperties
    from matplotlib.mathtext import math_to_image

    target = io.BytesIO()
    try:
        with rc_context({"svg.fonttype": "path", "svg.hashsalt": "reidlab", "savefig.transparent": True}):
            depth = math_to_image(f"${tex}$", target, prop=FontProperties(size=SIZE), dpi=72, format="svg")
    except (ValueError, RuntimeError):
        return None
    data = base64.b64encode(target.getvalue()).decode()
    tag = soup.new_tag("img", attrs={"class": "formula display" if display else "formula", "alt": tex})
    tag["src"] = f"data:image/svg+xml;base64,{data}"
    if not display:
        tag["style"] = f"vertical-align: {-depth:.1f}pt"
    return tag
