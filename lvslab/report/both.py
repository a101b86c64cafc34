"""A figure drawn once for both files: every line and text goes to matplotlib's SVG renderer and,
enlarged, to its painter of pixels. Placing all parts of a figure is half of what drawing costs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from matplotlib.backend_bases import GraphicsContextBase, RendererBase
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.backends.backend_svg import RendererSVG
from matplotlib.image import imsave
from matplotlib.path import Path as Outline
from matplotlib.transforms import Affine2D, TransformedBbox, TransformedPath

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SVG: Any = RendererSVG
_PIXELS: Any = RendererAgg
_SAVE: Any = imsave
"""Without types in matplotlib, or with types that forbid None for words that are left out."""

_POINTS = 72
"""An SVG's units an inch, which are the pixels that a figure is laid out in."""


class _Both(RendererBase):
    """Hands on what is drawn in points to `svg`, and to `painter` in its pixels."""

    def __init__(self, svg: Any, painter: Any, paper: str) -> None:
        super().__init__()
        self._svg, self._painter = svg, painter
        scale = painter.dpi / _POINTS
        self._scale, self._enlarged = scale, Affine2D().scale(scale)
        ground = painter.new_gc()
        ground.set_linewidth(0)
        ground.set_foreground(paper)
        painter.draw_path(
            ground,
            Outline.unit_rectangle(),
            Affine2D().scale(painter.width, painter.height),
            ground.get_rgb(),
        )

    def draw_path(self, gc: Any, path: Any, transform: Any, rgbFace: Any = None) -> None:
        self._svg.draw_path(gc, path, transform, rgbFace)
        self._painter.draw_path(self._larger(gc), path, transform + self._enlarged, rgbFace)

    def draw_markers(
        self, gc: Any, marker_path: Any, marker_trans: Any, path: Any, trans: Any, rgbFace: Any = None
    ) -> None:
        self._svg.draw_markers(gc, marker_path, marker_trans, path, trans, rgbFace)
        self._painter.draw_markers(
            self._larger(gc),
            marker_path,
            marker_trans + self._enlarged,
            path,
            trans + self._enlarged,
            rgbFace,
        )

    def draw_text(
        self,
        gc: Any,
        x: float,
        y: float,
        s: str,
        prop: Any,
        angle: float,
        ismath: Any = False,
        mtext: Any = None,
    ) -> None:
        self._svg.draw_text(gc, x, y, s, prop, angle, ismath, mtext)
        self._painter.draw_text(
            self._larger(gc), x * self._scale, y * self._scale, s, prop, angle, ismath, mtext
        )

    def _larger(self, gc: Any) -> GraphicsContextBase:
        """The same pen with its limits in pixels; its width is in points for both."""
        larger = GraphicsContextBase()
        larger.copy_properties(gc)
        if (limits := gc.get_clip_rectangle()) is not None:
            larger.set_clip_rectangle(TransformedBbox(limits, self._enlarged).frozen())
        path, transform = gc.get_clip_path()
        if path is not None:
            larger.set_clip_path(TransformedPath(path, transform + self._enlarged))
        return larger

    def open_group(self, s: str, gid: str | None = None) -> None:
        self._svg.open_group(s, gid)

    def close_group(self, s: str) -> None:
        self._svg.close_group(s)

    def flipy(self) -> bool:
        return bool(self._svg.flipy())

    def get_canvas_width_height(self) -> tuple[float, float]:
        width, height = self._svg.get_canvas_width_height()
        return width, height

    def get_text_width_height_descent(self, s: str, prop: Any, ismath: Any) -> tuple[float, float, float]:
        width, height, descent = self._svg.get_text_width_height_descent(s, prop, ismath)
        return width, height, descent


def draw(figure: Figure, svg: TextIO, png: Path, dpi: float, paper: str) -> None:
    """Draw a figure into an SVG file without ground, and into a PNG file of `dpi` pixels an inch on
    `paper`. Figures of lines, markers and texts only.
    """
    figure.patch.set_facecolor("none")
    figure.patch.set_edgecolor("none")
    width, height = figure.get_size_inches()
    figure.dpi = _POINTS
    no_svg_words, no_png_words = {"Date": None, "Creator": None}, {"Software": None}
    vectors = _SVG(width * _POINTS, height * _POINTS, svg, metadata=no_svg_words)
    painter = _PIXELS(width * dpi, height * dpi, dpi)
    figure.draw(_Both(vectors, painter, paper))
    vectors.finalize()
    _SAVE(png, painter.buffer_rgba(), format="png", origin="upper", dpi=dpi, metadata=no_png_words)
