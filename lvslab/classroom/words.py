"""The pages' texts in other languages: gettext catalogues in locale/, read as translators write
them (PO files).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path

from lvslab.errors import UsageError

_LOCALE = Path(__file__).resolve().parent / "locale"
_ENTRY = re.compile(r'^msgid (?P<id>(?:"[^\n]*"\n)+)msgstr (?P<text>(?:"[^\n]*"(?:\n|\Z))+)', re.MULTILINE)


def languages() -> list[str]:
    """English, and those that there is a catalogue for."""
    return ["en", *sorted(file.stem for file in _LOCALE.glob("*.po"))]


def catalogue(language: str) -> dict[str, str]:
    """English text → text in a language."""
    text = (_LOCALE / f"{language}.po").read_text(encoding="utf-8")
    return {_joined(entry["id"]): _joined(entry["text"]) for entry in _ENTRY.finditer(text)}


def _joined(strings: str) -> str:
    """A text that stands as one or several strings, each on its line."""
    return "".join(ast.literal_eval(string) for string in strings.splitlines())


def speaker(language: str) -> Callable[[str], str]:
    """What says the pages' texts in a language; what has no translation stays English.

    Raises:
        UsageError: there is no catalogue for it.
    """
    if language not in languages():
        raise UsageError(f"language '{language}': there are pages in: {', '.join(languages())}")
    texts = {} if language == "en" else catalogue(language)
    return lambda text: texts.get(text) or text
