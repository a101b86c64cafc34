"""Tests of pure logic, in one process, without a kernel."""

from __future__ import annotations

import pytest

from tests.fixtures import coarse_pictures, sketched, tools_asked_once, trial  # noqa: F401, by name

LONG = ("test_mutants.py", "test_house.py")
"""Modules of seconds: they begin first, or they would be the last to end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))
