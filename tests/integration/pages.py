"""What tests of reports ask of a page and of a figure."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lvslab.report.page import write_report

VOID = {"meta", "br", "img", "link", "hr", "input", "path", "use"}


class Page(HTMLParser):
    """Parses a page and keeps what the tests ask for; a tag that is closed wrongly fails
    the test.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: Counter[str] = Counter()
        self.labels: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            elif name in ("href", "src", "xlink:href"):
                self.links.append(value or "")
            elif name == "aria-label":
                self.labels.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open and self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))


def page_of(run: Path) -> Page:
    return Page(write_report(run).html.read_text(encoding="utf-8"))


def overlaps(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of texts of a figure that cover each other, and texts that leave the figure."""
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    figure.draw_without_rendering()  # places all texts, and paints nothing
    boxes = []
    for axes in figure.axes:
        artists: list[Any] = [*axes.texts]
        if axes.axison:
            low, high = axes.get_xlim()
            shown = [
                label
                for at, label in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
                if low <= at <= high
            ]
            artists += [axes.xaxis.label, *shown, *axes.get_yticklabels()]
        boxes += [
            (a.get_text(), a.get_window_extent(renderer))
            for a in artists
            if a.get_visible() and a.get_text().strip()
        ]
    found = [(a, b) for (a, box), (b, other) in combinations(boxes, 2) if _area(box, other) > 6]
    width, height = figure.canvas.get_width_height()
    return found + [
        (label, "the edge")
        for label, box in boxes
        if box.x0 < -1 or box.x1 > width + 1 or box.y0 < -1 or box.y1 > height + 1
    ]


def _area(a: Any, b: Any) -> float:
    return float(max(0, min(a.x1, b.x1) - max(a.x0, b.x0)) * max(0, min(a.y1, b.y1) - max(a.y0, b.y0)))
