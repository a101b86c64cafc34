"""Letters of all figures of a page, kept once: text in figures is outlines, and without this most
of a page's bytes would be the same letters over and over.
"""

from __future__ import annotations

import re
from collections import Counter

_GLYPH = re.compile(r'<path id="([^"]+)"(?: d="([^"]*)")? transform="scale\(0\.015625\)"/>\n?')
"""A letter as matplotlib's SVG back end defines it: 64 units of its path are one. A space has no
outline.
"""

_USE = re.compile(r'<use href="#([^"]+)"(?: transform="translate\((-?[\d.]+) 0\)")?/>')
_RAISED = re.compile(r'href="#([^"]+)"(?= transform=)')
_WORD = re.compile(r'(?:<use href="#g\d+"(?: x="-?[\d.]+")?/>\n*){2,}')
_GROUP = re.compile(r'<g id="([^"]+_\d+)">')
"""A part of a figure as matplotlib numbers them."""

_EMPTY = re.compile(r"<defs>\s*</defs>\n?")


def share_glyphs(page: str) -> str:
    """The page with every letter, and every word that comes again, defined once in its first figure
    for all; it looks as before.

    Positions within a word are hundredths of a unit, a ten-thousandth of the font's size.
    """
    outlines: dict[str, str] = {}
    names: dict[str, str] = {}

    def take(found: re.Match[str]) -> str:
        if not found[2]:
            names[found[1]] = ""
            return ""
        outline = re.sub(r"\s*([A-Za-z])\s*", r"\1", found[2].replace("\n", " "))
        names[found[1]] = outlines.setdefault(outline, f"g{len(outlines)}")
        return ""

    def use(found: re.Match[str]) -> str:
        if found[1] not in names:
            return found[0]
        if not names[found[1]]:
            return ""
        place = f"{float(found[2]):.2f}".rstrip("0").rstrip(".") if found[2] else "0"
        return f'<use href="#{names[found[1]]}"' + (f' x="{place}"' if place != "0" else "") + "/>"

    page = _GLYPH.sub(take, page)
    if not outlines:
        return page
    page = _RAISED.sub(lambda found: f'href="#{names.get(found[1], found[1])}"', _USE.sub(use, page))
    words: dict[str, str] = {}
    for word, count in Counter(found[0].replace("\n", "") for found in _WORD.finditer(page)).items():
        if count > 1:
            words[word] = f"w{len(words)}"

    def whole(found: re.Match[str]) -> str:
        word = found[0].replace("\n", "")
        return f'<use href="#{words[word]}"/>\n' if word in words else word

    page = _EMPTY.sub("", _WORD.sub(whole, page))
    meant = set(re.findall(r"#([\w.-]+)", page))
    page = _GROUP.sub(lambda found: found[0] if found[1] in meant else "<g>", page)
    shared = [
        f'<path id="{name}" d="{outline}" transform="scale(.015625)"/>' for outline, name in outlines.items()
    ]
    shared += [f'<g id="{name}">{word}</g>' for word, name in words.items()]
    defined = f"<defs>{''.join(shared)}</defs>"
    return re.sub(r"<svg [^>]*>", lambda first: f"{first[0]}\n{defined}", page, count=1)
