"""Typed access to a JSON object; what is wrong is said with its place, such as
`run.json.labs[0].nodes[2].role`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lvslab.errors import UsageError


class Fields:
    """One JSON object being read: typed access to its keys, with the object's place in every error
    message.
    """

    def __init__(self, data: object, where: str) -> None:
        if not isinstance(data, dict):
            raise UsageError(f"{where}: an object is expected here, found {type(data).__name__}")
        self.data: dict[str, Any] = data
        self.where = where

    def _wrong(self, key: str, expected: str) -> UsageError:
        found = f"found {type(self.data[key]).__name__}" if key in self.data else "it is missing"
        return UsageError(f"{self.where}.{key}: {expected} is expected here, {found}")

    def text(self, key: str, default: str | None = None) -> str:
        """The string at `key`, or the default when it is null or missing; without a default it must
        be there.
        """
        value = self.data.get(key)
        if value is None:
            value = default
        if not isinstance(value, str):
            raise self._wrong(key, "a string")
        return value

    def choice(self, key: str, allowed: tuple[str, ...], default: str | None = None) -> str:
        """The string at `key`, one of `allowed`."""
        value = self.text(key, default)
        if value not in allowed:
            raise UsageError(f"{self.where}.{key}: '{value}' is not one of {', '.join(allowed)}")
        return value

    def maybe_text(self, key: str) -> str | None:
        """The string at `key`, or None when it is null or missing."""
        return None if self.data.get(key) is None else self.text(key)

    def maybe_number(self, key: str) -> float | None:
        """The number at `key`, or None when it is null or missing."""
        value = self.data.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise self._wrong(key, "a number or null")
        return value

    def maybe_int(self, key: str) -> int | None:
        """The number at `key` as an integer, or None when it is null or missing."""
        value = self.maybe_number(key)
        return None if value is None else int(value)

    def texts(self, key: str) -> tuple[str, ...]:
        """The list of strings at `key`; missing is empty."""
        value = self.data.get(key) or []
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._wrong(key, "a list of strings")
        return tuple(value)

    def objects(self, key: str) -> list[Fields]:
        """The list of objects at `key`; missing is empty."""
        value = self.data.get(key) or []
        if not isinstance(value, list):
            raise self._wrong(key, "a list")
        return [Fields(item, f"{self.where}.{key}[{index}]") for index, item in enumerate(value)]

    def numbers(self, key: str) -> tuple[float | None, ...] | None:
        """The list of numbers (null where one is missing) at `key`, or None when it is null or
        missing.
        """
        value = self.data.get(key)
        if value is None:
            return None
        plain = isinstance(value, list) and not any(
            isinstance(v, bool) or not isinstance(v, int | float | None) for v in value
        )
        if not plain:
            raise self._wrong(key, "a list of numbers")
        return tuple(value)

    def mapping(self, key: str) -> Mapping[str, Any]:
        """The object at `key` as it stands; missing is empty."""
        value = self.data.get(key) or {}
        if not isinstance(value, dict):
            raise self._wrong(key, "an object")
        return value
