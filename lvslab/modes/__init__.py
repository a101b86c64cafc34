"""The forwarding modes: one file each with director set-up, real-server set-up and packet contract.

`MODES` is the only list of them; every other one is made from it.
"""

from __future__ import annotations

from collections.abc import Callable

from lvslab.errors import UsageError
from lvslab.modes.base import Mode
from lvslab.modes.dr import DirectRouting
from lvslab.modes.fullnat import FullNat
from lvslab.modes.nat import Nat
from lvslab.modes.synproxy import SynProxy
from lvslab.modes.tun import Tunnelling
from lvslab.runs.records import ForwardingMode

MODES: dict[str, Mode] = {
    mode.name: mode for mode in (Nat(), DirectRouting(), Tunnelling(), FullNat(), SynProxy())
}
"""Name → mode, in the order in which they are listed."""


def mode_named(name: str) -> Mode:
    """The mode of that name, in whatever case it is written.

    Raises:
        UsageError: there is none.
    """
    try:
        return MODES[name.lower()]
    except KeyError:
        raise UsageError(f"mode '{name}': no such forwarding mode; choose from: {', '.join(MODES)}") from None


def mode_records() -> tuple[ForwardingMode, ...]:
    """All modes as a run directory describes them to reports."""
    return tuple(
        ForwardingMode(mode.name, mode.title, mode.color.light, mode.color.dark) for mode in MODES.values()
    )


def modes_that(fit: Callable[[Mode], bool]) -> tuple[str, ...]:
    """Names of the modes for which a condition holds."""
    return tuple(name for name, mode in MODES.items() if fit(mode))


ALL_MODES = tuple(MODES)
"""The names of all modes."""

IPVS_MODES = modes_that(lambda mode: not mode.composed)
"""The names of those that IPVS has by itself: what is seen in them is its doing alone."""
