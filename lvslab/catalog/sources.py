"""The sources that kernels can be fetched from, and names of kernels read by whose they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lvslab.catalog.debian.source import Debian
from lvslab.catalog.names import LOCAL, KernelName, LocalName
from lvslab.catalog.source import KernelSource
from lvslab.errors import UsageError

SOURCES: Mapping[str, KernelSource[Any]] = {source.name: source for source in (Debian(),)}


def is_name(text: str) -> bool:
    """Whether a word is meant as the name of a kernel of the catalog, by its beginning."""
    return text.partition("/")[0] in (*SOURCES, LOCAL) and "/" in text


def parse_name(text: str) -> KernelName:
    """Read the name of a kernel of any source, or of a local one.

    Raises:
        UsageError: it is neither.
    """
    if text.startswith(f"{LOCAL}/"):
        return LocalName.parse(text)
    name: KernelName = _source(text, f", or {LOCAL}/NAME").parse(text)
    return name


def source_of(text: str) -> KernelSource[Any]:
    """The source that a kernel's name begins with.

    Raises:
        UsageError: there is none of this name.
    """
    return _source(text)


def _source(text: str, more: str = "") -> KernelSource[Any]:
    name, slash, _ = text.partition("/")
    source = SOURCES.get(name)
    if source is None or not slash:
        known = ", ".join(source.how for source in SOURCES.values())
        raise UsageError(f"kernel '{text}': unknown; write {known}{more}")
    return source
