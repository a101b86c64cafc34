"""What a director is called and how it is coloured in a report: forwarding modes as the run
directory describes them, and the proxies that may stand in a director's place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lvslab.errors import UsageError
from lvslab.report import style
from lvslab.report.style import Theme
from lvslab.runs.records import ForwardingMode
from lvslab.runs.rundir import Run


@dataclass(frozen=True, slots=True)
class Look:
    """The look of one kind of director, the same in every figure.

    Attributes:
        name: as the run directory has it.
        title: as people write it.
        variable: the CSS variable that holds its colour.
        light, dark: that colour, in the light theme and in the dark one.
    """

    name: str
    title: str
    variable: str
    light: str
    dark: str


_PROXIES = (
    Look("haproxy", "HAProxy", "--haproxy", "#6a4c93", "#a88bd6"),
    Look("haproxy-tcp", "HAProxy TCP", "--haproxy-tcp", "#9d83c4", "#c9b6ea"),
    Look("nginx", "nginx", "--nginx", "#3a8f3a", "#6fc76f"),
    Look("nginx-stream", "nginx stream", "--nginx-stream", "#86c286", "#a9dba9"),
    Look("pound", "Pound", "--pound", "#8c564b", "#c08b7f"),
)


_FIRST = (
    ForwardingMode("nat", "NAT", "#0072b2", "#4aa8e0"),
    ForwardingMode("dr", "DR", "#e69f00", "#f0b429"),
    ForwardingMode("tun", "TUN", "#009e73", "#2fc79a"),
    ForwardingMode("fullnat", "FullNAT", "#b5529b", "#d884c2"),
    ForwardingMode("synproxy", "SYNPROXY", "#56b4e9", "#8fd0f7"),
)
"""The modes of lvslab 0.1, whose run directories describe none. No later mode belongs here."""


@dataclass(frozen=True, slots=True)
class Looks:
    """The looks of one run, or of several; `modes` in the order in which modes are listed."""

    modes: Mapping[str, Look]

    def of(self, name: str) -> Look:
        """The look of a mode or proxy; one that nobody has described is grey and keeps its name."""
        key = name.lower()
        known = self.modes.get(key) or next((proxy for proxy in _PROXIES if proxy.name == key), None)
        return known or Look(name, name, *style.THEME["other"])

    def sorted(self, names: Iterable[str]) -> tuple[str, ...]:
        """Names of modes, each once, in the order of the list; those that nobody has described
        come last.
        """
        order = list(self.modes)
        return tuple(
            sorted(set(names), key=lambda name: (order.index(name) if name in order else len(order), name))
        )

    def theme(self) -> Theme:
        """The theme of the reports with these colours; none takes the place of one of its own."""
        own = {look.name: (look.variable, look.light, look.dark) for look in self.modes.values()}
        proxies = {look.name: (look.variable, look.light, look.dark) for look in _PROXIES}
        return {**own, **proxies, **style.THEME}


def looks_of(*runs: Run) -> Looks:
    """The looks that the runs describe; of two descriptions of a mode the later one counts.

    Names and colours end up in style sheets, so nothing but a plain name and two colours is let in.

    Raises:
        UsageError: a run describes a mode in another way.
    """
    modes = {}
    for run in runs:
        for mode in run.forwarding_modes or _FIRST:
            if not re.fullmatch(r"[a-z0-9-]+(#[0-9a-f]{6}){2}", mode.name + mode.color + mode.dark_color):
                raise UsageError(
                    f"{run.path / 'run.json'}: forwarding mode '{mode.name}' in '{mode.color}' and"
                    f" '{mode.dark_color}'; a name has small letters, digits and hyphens, a colour is like"
                    " #0072b2"
                )
            modes[mode.name] = Look(mode.name, mode.title, f"--{mode.name}", mode.color, mode.dark_color)
    return Looks(modes)
