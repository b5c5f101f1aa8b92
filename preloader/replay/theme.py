"""Colours of a report, light and dark, and figures as SVG that follows them.

matplotlib draws with stand-in colours; in the SVG each becomes a CSS variable, so that one drawing suits both themes.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from typing import Any

from preloader.errors import require

PALETTE = {
    # role: (light, dark)
    "ink": ("#1f2328", "#e6e8eb"),
    "muted": ("#5f6771", "#a0a8b2"),
    "grid": ("#e3e6ea", "#343a42"),
    "lru": ("#7a828c", "#9aa3ad"),
    "predictive_eviction": ("#0f8b8d", "#45c4c0"),
    "preloader": ("#2563c9", "#6ea8ff"),
    "clairvoyant": ("#7a4fc9", "#b99bff"),
    "coverage": ("#c2571a", "#ff9d5c"),
    "good": ("#2b8a3e", "#63c97a"),
    "late": ("#b07a00", "#ecb93d"),
    "bad": ("#c92a2a", "#ff7b72"),
}
"""What is drawn in which colour; text contrast is at least 4.5 : 1 on the page's background in either theme."""

_STAND_INS = {role: f"#0{index:02x}a{index:02x}" for index, role in enumerate(PALETTE, 1)}
_RC = {
    "svg.fonttype": "none",  # text stays text: it can be searched, and the reader's fonts have more glyphs
    "svg.hashsalt": "preloader",
    "text.parse_math": False,  # a dollar sign in a resource's name is a dollar sign
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.titlelocation": "left",
    "figure.constrained_layout.use": True,
    "legend.frameon": False,
}
_RC_COLOURS = {
    "ink": ("text.color", "legend.labelcolor"),
    "muted": ("axes.labelcolor", "xtick.color", "ytick.color", "axes.edgecolor"),
    "grid": ("grid.color",),
}


def colour(role: str) -> str:
    """Return the colour to draw ``role`` in."""
    return _STAND_INS[role]


def plain(text: str, longest: int = 34) -> str:
    """Return text that an SVG may hold: no control characters, shortened in the middle to ``longest`` characters."""
    clean = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
    if len(clean) <= longest:
        return clean
    head = (longest - 1) * 2 // 3
    return f"{clean[:head]}…{clean[head + 1 - longest :]}"


def figure(draw: Callable[[Any], None], label: str, width: float = 9.0, height: float = 4.0) -> str:
    """Draw a figure and return it as an ``<svg>`` element.

    Args:
        draw: Draws on a `matplotlib.figure.Figure`.
        label: What it shows, for those who cannot see it; plain text without markup.
        width: In inches, 72 of the page's pixels each.
        height: In inches.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    matplotlib: Any = require("matplotlib", "report")
    figures: Any = require("matplotlib.figure", "report")
    drawn = io.StringIO()
    colours = {name: colour(role) for role, names in _RC_COLOURS.items() for name in names}
    with matplotlib.rc_context(_RC | colours), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # the browser's fonts have it
        canvas = figures.Figure(figsize=(width, height), facecolor="none")
        draw(canvas)
        for axes in canvas.axes:
            axes.set_facecolor("none")
        canvas.savefig(drawn, format="svg", metadata={"Date": None})
    return _inline(drawn.getvalue(), label)


def css_variables(dark: bool) -> str:
    """Return the palette as CSS custom properties."""
    return "".join(f"--{role}:{colours[dark]};" for role, colours in PALETTE.items())


def _inline(svg: str, label: str) -> str:
    """Make a matplotlib document an element of a page: no prologue, no metadata, variable colours, flexible size."""
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    for role, stand_in in _STAND_INS.items():
        svg = svg.replace(f": {stand_in}", f": var(--{role})")
    size = r'(<svg[^>]*?) width="[^"]*"'
    svg = re.sub(size, rf'\1 role="img" aria-label="{label}"', svg, count=1)
    return re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
