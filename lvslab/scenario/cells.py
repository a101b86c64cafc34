"""A matrix: kernels × values of sysctls, and the order in which its cells take turns. Descriptions
only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import TypeVar

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Cell:
    """One configuration of the directors.

    Attributes:
        name: tells it from the others; "" where there is only one.
        kernel: of the directors, None for the cheapest that fits.
        sysctls: of the directors.
        folder: where its runs go, below the folder of the matrix; no other cell has the same.
        unable: why its kernel cannot be set up so; "" when it can, as far as is known.
    """

    name: str = ""
    kernel: str | None = None
    sysctls: Mapping[str, str] = field(default_factory=dict)
    folder: str = ""
    unable: str = ""

    @property
    def kernels(self) -> tuple[str, ...]:
        """The kernels that were named for the directors: one or none."""
        return (self.kernel,) if self.kernel else ()


def cells(
    kernels: Sequence[str], sysctls: Mapping[str, str], varied: Mapping[str, Sequence[str]]
) -> tuple[Cell, ...]:
    """The cells of kernels and of sysctls with several values, in the order of the command line;
    one cell without either.

    A kernel that is named twice makes two cells: an A/A comparison.

    Args:
        sysctls: those that all cells share.
        varied: name → values.
    """
    named: list[tuple[str | None, str]] = [
        (kernel, kernel if kernels.count(kernel) == 1 else f"{kernel}.{kernels[: number + 1].count(kernel)}")
        for number, kernel in enumerate(kernels)
    ] or [(None, "")]
    found: list[Cell] = []
    for (kernel, title), values in product(named, product(*varied.values())):
        own = dict(zip(varied, values, strict=True))
        words = [title] if len(named) > 1 else []
        words += [f"{name.rpartition('.')[2]}={value}" for name, value in own.items()]
        folder = re.sub(r"[^A-Za-z0-9._=-]+", "-", " ".join(words)).strip("-.")
        if any(each.folder == folder for each in found):
            folder = f"{folder}-{len(found) + 1}"
        found.append(Cell(" ".join(words), kernel, {**sysctls, **own}, folder))
    return tuple(found)


def turns(items: Sequence[_Item], repeat: int) -> Iterator[tuple[int, _Item]]:
    """Who does which repetition, in order: all do the first, then all the second in the opposite
    order, and so on.

    The opposite order cancels a drift of the machine that goes on through all repetitions.
    """
    for repetition in range(1, repeat + 1):
        for item in items if repetition % 2 else reversed(items):
            yield repetition, item
