"""What a page may hold: tags, attributes, addresses, style properties. Whatever is not listed here does not get in."""

from __future__ import annotations

import re

__all__ = [
    "ATTRIBUTES",
    "FUNCTIONS",
    "HREF",
    "PICTURE",
    "POLICY",
    "PROPERTIES",
    "SVG_ATTRIBUTES",
    "SVG_TAGS",
    "TAGS",
    "WITH_CONTENT",
]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# For browsers, should something get past the lists: no script, no form, no frame, nothing from anywhere.
POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; font-src data:; base-uri 'none'; form-action 'none'"
)

TAGS = _words(
    """
    a abbr b blockquote br caption cite code col colgroup dd del details dfn div dl dt em figcaption figure h1
    h2 h3 h4 h5 h6 hr i img ins kbd li mark ol p pre q s samp small span strong sub summary sup table tbody td
    tfoot th thead tr u ul var wbr
    """
)
# These go with all that is in them; of other tags that are not allowed the text stays
WITH_CONTENT = _words(
    """
    applet audio canvas embed frame frameset head iframe math noembed noframes noscript object script select
    style svg template textarea title video xmp
    """
)
ATTRIBUTES = {
    "*": {"aria-hidden", "aria-label", "class", "dir", "id", "lang", "role", "style", "title"},
    "a": {"href"},
    "col": {"span"},
    "colgroup": {"span"},
    "details": {"open"},
    "img": {"alt", "height", "src", "width"},
    "li": {"value"},
    "ol": {"reversed", "start", "type"},
    "table": {"border"},
    "td": {"align", "colspan", "headers", "rowspan"},
    "th": {"align", "colspan", "headers", "rowspan", "scope"},
}
# Where links lead when somebody follows them: into the page, to a file beside it (no scheme, no host), to the web
HREF = re.compile(r"#[^\s<>\"'`\\]*|(?:https?://|mailto:)[^\s<>\"'`\\]+|[\w.%-][^\s<>\"'`\\:]*", re.IGNORECASE)
PICTURE = re.compile(r"data:image/(?:png|jpeg|gif|webp|svg\+xml);base64,[A-Za-z0-9+/=\s]+")

# Nothing that places boxes over others (position, transform), moves, hides the page or loads anything
PROPERTIES = _words(
    """
    align-items align-self background background-color background-image background-position background-repeat
    background-size border border-bottom border-bottom-color border-bottom-style border-bottom-width
    border-collapse border-color border-left border-left-color border-left-style border-left-width border-radius
    border-right border-right-color border-right-style border-right-width border-spacing border-style border-top
    border-top-color border-top-style border-top-width border-width box-sizing caption-side clear color
    column-gap direction display empty-cells flex flex-basis flex-direction flex-grow flex-shrink flex-wrap
    float font font-family font-size font-style font-variant font-variant-numeric font-weight gap height
    justify-content letter-spacing line-height list-style-type margin margin-bottom margin-left margin-right
    margin-top max-height max-width min-height min-width opacity overflow overflow-wrap overflow-x overflow-y
    padding padding-bottom padding-left padding-right padding-top row-gap tab-size table-layout text-align
    text-decoration text-indent text-overflow text-transform vertical-align visibility white-space width
    word-break word-spacing
    clip-path clip-rule dominant-baseline fill fill-opacity fill-rule marker-end marker-mid marker-start mask
    paint-order shape-rendering stop-color stop-opacity stroke stroke-dasharray stroke-dashoffset stroke-linecap
    stroke-linejoin stroke-miterlimit stroke-opacity stroke-width text-anchor text-rendering
    """
)  # the last ones are of drawings
FUNCTIONS = _words(
    """
    calc clamp conic-gradient hsl hsla hwb lab lch linear-gradient max min oklab oklch radial-gradient
    repeating-linear-gradient repeating-radial-gradient rgb rgba
    """
)

SVG_TAGS = _words(
    """
    circle clipPath defs desc ellipse g image line linearGradient marker mask path pattern polygon polyline
    radialGradient rect stop style svg symbol text title tspan use
    """
)
# Numbers, paths, lists of points, transformations, short words
SVG_ATTRIBUTES = _words(
    """
    class clipPathUnits cx cy d dx dy fx fy gradientTransform gradientUnits height id lengthAdjust
    letter-spacing markerHeight markerUnits markerWidth maskContentUnits maskUnits offset orient pathLength
    patternContentUnits patternTransform patternUnits points preserveAspectRatio r refX refY rotate rx ry
    spreadMethod textLength transform vector-effect version viewBox width x x1 x2 y y1 y2
    """
)
