"""Words for numbers, so that every package says "1 server" and "2 servers" alike."""

from __future__ import annotations


def plural(number: int, one: str, many: str = "") -> str:
    """A number and its noun: "1 server", "0 servers", "3 entries".

    Args:
        one: the noun for 1.
        many: the noun for all other numbers; "": `one` with an s.
    """
    return f"{number} {one if number == 1 else many or f'{one}s'}"
