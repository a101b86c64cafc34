"""How every figure looks, and how it becomes a PNG file or an SVG that shares a page with others.

Figures are drawn in the light theme. In a page, `inline_svg` turns the theme's colours into CSS
variables, so one SVG serves light and dark. Text becomes outlines: it looks the same everywhere.
The same figure gives the same bytes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Theme = Mapping[str, tuple[str, str, str]]
"""Name → (CSS variable, colour in the light theme, colour in the dark one)."""

# How an attempt ended: calm for what worked, and six failures that differ in hue and in lightness.
_OUTCOMES = {
    "ok": ("#b9cfdf", "#3f5d73"),
    "timeout": ("#d55e00", "#ff8f3f"),
    "refused": ("#7a1230", "#d6456f"),
    "reset": ("#f0c23c", "#ffd75e"),
    "unreachable": ("#5b3fa8", "#9b84f0"),
    "wrong": ("#e07bb5", "#f5a3d0"),
    "closed": ("#00796b", "#4db6ac"),
    "local": ("#8c8c8c", "#a6a6a6"),
}
OUTCOMES: tuple[str, ...] = tuple(_OUTCOMES)
"""The outcomes of attempts and heartbeats in the order in which figures stack and legends list
them.
"""

INK, MUTED, LINE, GRID = "#1b2733", "#5f6b79", "#9aa6b2", "#e3e7ec"
PAPER, CARD, TRAY = "#ffffff", "#f5f7f9", "#e9edf1"
MARK, BAD, BAD_SOFT, GOOD = "#ffe28a", "#c4321b", "#fdebe8", "#1a7f4b"

THEME: Theme = {
    "ink": ("--ink", INK, "#e6edf3"),
    "muted": ("--muted", MUTED, "#9ba7b4"),
    "line": ("--line", LINE, "#6b7785"),
    "grid": ("--grid", GRID, "#2b343e"),
    "paper": ("--paper", PAPER, "#161c23"),
    "card": ("--card", CARD, "#1f2730"),
    "tray": ("--tray", TRAY, "#2a333d"),
    "mark": ("--mark", MARK, "#6b5410"),
    "bad": ("--bad", BAD, "#ff7b66"),
    "bad-soft": ("--bad-soft", BAD_SOFT, "#43201b"),
    "good": ("--good", GOOD, "#4cc38a"),
    "other": ("--other", "#7b8794", "#9aa5b1"),
    **{f"outcome-{name}": (f"--outcome-{name}", light, dark) for name, (light, dark) in _OUTCOMES.items()},
}
"""The colours that every report has; `looks` adds those of forwarding modes and proxies."""

DPI = 200
"""Pixels an inch of the PNG files."""

SANS, MONO = "DejaVu Sans", "DejaVu Sans Mono"  # both come with matplotlib

_RC: Mapping[str, Any] = {
    "font.family": SANS,
    "font.size": 9.5,
    "text.color": INK,
    "text.parse_math": False,  # a "$" in an error message is a dollar
    "axes.facecolor": "none",
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 9.5,
    "figure.facecolor": PAPER,
    "svg.fonttype": "path",
    "svg.hashsalt": "lvslab",
    "path.simplify": False,
}


def outcome_color(outcome: str) -> str:
    """The colour of an attempt's outcome, the same in every figure; grey for one that is
    not known.
    """
    return _OUTCOMES[outcome][0] if outcome in _OUTCOMES else THEME["other"][1]


@contextmanager
def styled() -> Iterator[None]:
    """matplotlib with the settings of the reports, and as it was before on leaving."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        for key, value in _RC.items():
            matplotlib.rcParams[key] = value  # type: ignore[index]
        yield


def sheet(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty figure to draw on in points (1/72 inch), the origin at the top left."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / 72, height / 72))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_axis_off()
    return figure, axes


def rounded(axes: Axes, x: float, y: float, width: float, height: float, radius: float, **look: Any) -> None:
    """Draw a rectangle with round corners on a sheet; `look` are the properties of a matplotlib
    patch (fc, ec, lw, zorder).
    """
    from matplotlib.patches import FancyBboxPatch

    axes.add_patch(
        FancyBboxPatch((x, y), width, height, boxstyle=f"round,pad=0,rounding_size={radius}", **look)
    )


@lru_cache(maxsize=4096)
def text_width(text: str, size: float, bold: bool = False, mono: bool = False) -> float:
    """How wide a text becomes, in points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family=MONO if mono else SANS, size=size, weight="bold" if bold else "normal")
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, False)
    return float(width)


def fit(text: str, width: float, size: float, bold: bool = False, mono: bool = False) -> str:
    """The text, cut with an ellipsis when it is wider than `width` points."""
    if text_width(text, size, bold, mono) <= width:
        return text
    while text and text_width(text + "…", size, bold, mono) > width:
        text = text[:-1]
    return text.rstrip() + "…"


def wrap(text: str, width: float, size: float) -> list[str]:
    """The text in lines no wider than `width` points."""
    lines: list[str] = []
    for word in text.split():
        if lines and text_width(f"{lines[-1]} {word}", size) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(fit(word, width, size))
    return lines


def flow(widths: Sequence[float], room: float, gap: float = 12) -> list[tuple[int, float]]:
    """Where the entries of a key stand, set in rows no wider than `room` points: (row, x)
    of each.
    """
    places, row, x = [], 0, 0.0
    for width in widths:
        if x and x + width > room:
            row, x = row + 1, 0.0
        places.append((row, x))
        x += width + gap
    return places


def drawn(figure: Figure, file: Path) -> str:
    """Write the figure as a PNG file, and return it as an SVG file's text."""
    from lvslab.report import both

    text = io.StringIO()
    with styled():
        both.draw(figure, text, file, DPI, PAPER)
    return text.getvalue()


def inline_svg(svg: str, name: str, description: str, theme: Theme = THEME) -> str:
    """A figure's SVG file as an <svg> element for an HTML page.

    Every id in it begins with `name`, so several of them share a page; the colours of `theme` are
    CSS variables; a screen reader reads `description`.
    """
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"| version="[^"]*"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", svg)
    svg = re.sub(
        r'\bd="[^"]*"', lambda path: re.sub(r"\d+\.\d{3,}", lambda n: f"{float(n[0]):.2f}", path[0]), svg
    )
    svg = re.sub(r"\s*\n\s*", "\n", svg)
    css = {light: f"var({variable})" for variable, light, _ in theme.values()}
    svg = re.sub(r"#[0-9a-f]{6}\b", lambda found: css.get(found[0], found[0]), svg)
    width, height = re.search(r'<svg\b[^>]*?viewBox="0 0 ([\d.]+) ([\d.]+)"', svg).groups()  # type: ignore[union-attr]
    size = (
        f'width="{float(width) * 4 / 3:.0f}" height="{float(height) * 4 / 3:.0f}" viewBox="0 0 {width}'
        f' {height}"'
    )
    label = escape(description, quote=True)
    return re.sub(
        r"<svg\b[^>]*>", lambda _: f'<svg {size} role="img" aria-label="{label}">', svg, count=1
    ).strip()
