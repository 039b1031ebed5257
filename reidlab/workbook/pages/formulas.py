r"""TeX formulas of a page's text as small pictures, since a self-contained page cannot load MathJax."""

from __future__ import annotations

import base64
import io
import re
import warnings
from typing import Any

__all__ = ["draw_formulas"]

FORMULA = re.compile(r"\$\$(.+?)\$\$|\$(?!\s)([^$\n]+?)(?<!\s)\$", flags=re.DOTALL)
SIZE = 12  # points, as the text
LONGEST = 1000  # characters of a formula: the time to draw them grows faster than they do
DEEPEST = 12  # braces in braces


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

    from reidlab.figure_text import has_glyph

    if len(tex) > LONGEST or _depth(tex) > DEEPEST or not all(map(has_glyph, tex)):
        return None
    target = io.BytesIO()
    try:
        with (
            warnings.catch_warnings(),
            rc_context({"svg.fonttype": "path", "svg.hashsalt": "reidlab", "savefig.transparent": True}),
        ):
            warnings.simplefilter("error")  # the text is better than a doubtful picture
            depth = math_to_image(f"${tex}$", target, prop=FontProperties(size=SIZE), dpi=72, format="svg")
    except Exception:  # the drawing of formulas raises what it likes; the text says the same
        return None
    data = base64.b64encode(target.getvalue()).decode()
    tag = soup.new_tag("img", attrs={"class": "formula display" if display else "formula", "alt": tex})
    tag["src"] = f"data:image/svg+xml;base64,{data}"
    if not display:
        tag["style"] = f"vertical-align: {-depth:.1f}pt"
    return tag


def _depth(tex: str) -> int:
    """Return how deep braces stand in braces."""
    deepest = depth = 0
    for sign in tex:
        depth += {"{": 1, "}": -1}.get(sign, 0)
        deepest = max(deepest, depth)
    return deepest
