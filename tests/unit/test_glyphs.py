"""Letters of a page's figures, kept once: lighter, and every letter where it was."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lvslab.report.glyphs import share_glyphs
from lvslab.report.style import drawn, inline_svg, styled

_OUTLINE = r'<path id="([^"]+)" d="([^"]*)" transform="scale\(0?\.015625\)"/>'


def page(folder: Path) -> str:
    """Two figures, which say the same words and others."""
    from matplotlib.figure import Figure

    figures = []
    for number in (1, 2):
        with styled():
            figure = Figure(figsize=(4, 2))
            figure.text(0.1, 0.5, "10.0.0.10:80")
            figure.text(0.1, 0.2, f"server {number}, 10$^{number}$")
            figure.text(0.1, 0.8, "10.0.0.10:80")
        svg = drawn(figure, folder / f"{number}.png")
        figures.append(inline_svg(svg, f"figure-{number}", "words"))
    return f"<html><body>\n{''.join(figures)}</body></html>"


def letters(text: str) -> list[tuple[str, float]]:
    """Outline and place of every letter that is shown, in order."""
    outlines = {
        name: re.sub(r"[\s]+|(?<=[A-Za-z])|(?=[A-Za-z])", " ", d).split()
        for name, d in re.findall(_OUTLINE, text)
    }
    words = dict(re.findall(r'<g id="(w\d+)">(.*?)</g>', text))
    shown = re.sub(r"<defs>.*?</defs>", "", text, flags=re.S)
    found = []
    for use in re.findall(
        r"<use [^>]*>", re.sub(r'<use href="#(w\d+)"/>', lambda word: words[word[1]], shown)
    ):
        target = re.search(r'href="#([^"]+)"', use)
        place = re.search(r'x="([^"]+)"|translate\((\S+)', use)
        assert target
        if target[1] not in outlines:
            assert f'id="{target[1]}" transform' in text, "a space, which has no outline"
            continue
        found.append((" ".join(outlines[target[1]]), float((place[1] or place[2]) if place else 0)))
    return found


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    heavy = page(tmp_path_factory.mktemp("figures"))
    return heavy, share_glyphs(heavy)


def test_every_letter_is_where_it_was(pages: tuple[str, str]) -> None:
    before, after = map(letters, pages)
    assert len(before) > 60 and len({outline for outline, _ in before}) > 10
    assert [outline for outline, _ in before] == [outline for outline, _ in after]
    assert all(abs(a - b) < 0.006 for (_, a), (_, b) in zip(before, after, strict=True))


def test_every_letter_and_every_word_that_comes_again_is_there_once(pages: tuple[str, str]) -> None:
    heavy, light = pages
    outlines = [d for _, d in re.findall(_OUTLINE, light)]
    assert len(outlines) == len(set(outlines)) < len(re.findall(_OUTLINE, heavy))
    assert re.search(r'<g id="w\d+">', light) and len(light) < 0.6 * len(heavy)
    ids = re.findall(r'id="([^"]+)"', light)
    assert len(ids) == len(set(ids))
    assert {*re.findall(r'(?:href="#|url\(#)([\w.-]+)', light)} <= {*ids}, "nothing that is meant is gone"


def test_a_page_without_figures_is_as_it_was() -> None:
    assert share_glyphs("<html><body><p>words</p></body></html>") == "<html><body><p>words</p></body></html>"


def test_the_sample_page_of_five_modes_is_light() -> None:
    sample = Path(__file__).resolve().parents[2] / "reports" / "sample" / "report.html"
    text = sample.read_text()
    assert len(text) < 1_500_000 and text.count("<svg") > 30
    assert share_glyphs(text) == text, "nothing is left to share"
