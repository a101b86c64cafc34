"""Numbers for people: 9.41 Gbit/s instead of 9412345678, three significant digits, one prefix for a
whole axis.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

MISSING = "–"
"""Stands in a table where there is no number."""

THIN_SPACE = "\u2009"
"""Sets thousands apart, in every language's way of reading numbers."""

# unit in the file → (size of the step, what it is called), the largest first
_STEPS: dict[str, tuple[tuple[float, str], ...]] = {
    "bit/s": ((1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s"), (1, "bit/s")),
    "B": ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "B")),
    "s": ((1, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")),
    "1/s": ((1e6, "M/s"), (1e4, "k/s"), (1, "/s")),
    "1": ((1, ""),),
    "share": ((1e-2, "%"),),
}
_K = 1e3
"""A rate is written in thousands from ten thousand on: the prefix is k, the step where it begins is
10 k.
"""


@dataclass(frozen=True, slots=True)
class Scale:
    """How to write values of one unit: divide by `factor`, add `suffix`."""

    factor: float
    suffix: str

    def number(self, value: float | None) -> str:
        """The value without its unit."""
        if value is None:
            return MISSING
        whole = self.factor == 1 and float(value).is_integer()  # a count of 3 is 3, not 3.00
        return f"{value:,.0f}".replace(",", THIN_SPACE) if whole else significant(value / self.factor)

    def text(self, value: float | None) -> str:
        """The value with its unit."""
        return (
            MISSING if value is None else f"{self.number(value)} {self.suffix}".rstrip().replace(" /s", "/s")
        )


def scale(unit: str, largest: float | None) -> Scale:
    """The scale that writes `largest` with one to four digits before the point; an unknown unit
    stays as it is.
    """
    steps = _STEPS.get(unit)
    if steps is None:
        return Scale(1, unit)
    size = abs(largest or 0)
    for begin, suffix in steps:
        if size >= begin:
            return Scale(_K if begin == 1e4 else begin, suffix)
    begin, suffix = steps[-1] if size else next((step for step in steps if step[0] == 1), steps[-1])
    return Scale(begin, suffix)


def quantity(value: float | None, unit: str) -> str:
    """One value with the prefix that fits it."""
    return scale(unit, value).text(value)


def significant(value: float, digits: int = 3) -> str:
    """`value` with `digits` significant digits, thousands set apart, never in exponent form:
    "1,234", "12.3", "0.0123".
    """
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(float(f"{value:.{digits - 1}e}")))))
    return f"{value:,.{min(decimals, 12)}f}".replace(",", THIN_SPACE)


def percent(fraction: float | None, digits: int = 1) -> str:
    """0.0421 → "4.2 %"."""
    return MISSING if fraction is None else f"{100 * fraction:.{digits}f} %"


def seconds_text(seconds: float, interval: float | None) -> str:
    """A time no more exactly than it was measured: "1.52 s" and "20 ms" with attempts
    every 10 ms.
    """
    fine = interval if interval and interval > 0 else 0.001
    digits = max(0, math.ceil(-math.log10(fine) - 1e-9))
    if abs(seconds) >= 1:
        return f"{seconds:,.{min(digits, 3)}f} s".replace(",", THIN_SPACE)
    return f"{seconds * 1e3:.{max(0, min(digits - 3, 3))}f} ms"


def count(number: int) -> str:
    """A count with its thousands set apart."""
    return f"{number:,}".replace(",", THIN_SPACE)


def share(part: int, whole: int) -> str:
    """A share in per cent that never hides a failure behind "0.0 %" nor a success behind
    "100.0 %".
    """
    if not whole:
        return MISSING
    if not part:
        return "0 %"
    text = percent(part / whole)
    if part and text == "0.0 %":
        return "< 0.1 %"
    return "> 99.9 %" if part < whole and text == "100.0 %" else text
