"""Worlds for a script in place of a kernel, in both ways in which kernels and the calendar talk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.unit.simulation.worlds import World


@contextmanager
def opened(directory: Path, shares: bool) -> Iterator[World]:
    world = World(directory, shares)
    try:
        yield world
    finally:
        world.close()


@pytest.fixture(params=[False, True], ids=["messages", "page"])
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    """In both ways in which kernels and the calendar talk."""
    with opened(tmp_path, request.param) as world:
        yield world


@pytest.fixture
def older(tmp_path: Path) -> Iterator[World]:
    """With a kernel that knows messages only."""
    with opened(tmp_path, False) as world:
        yield world


@pytest.fixture
def newer(tmp_path: Path) -> Iterator[World]:
    """With a kernel that uses the page."""
    with opened(tmp_path, True) as world:
        yield world
