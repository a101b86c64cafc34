"""The five forwarding modes: one file each with director set-up, real-server set-up and packet
contract.
"""

from __future__ import annotations

from lvslab.errors import UsageError
from lvslab.ipvs.service import ForwardingMode
from lvslab.modes.base import Mode
from lvslab.modes.dr import DirectRouting
from lvslab.modes.fullnat import FullNat
from lvslab.modes.nat import Nat
from lvslab.modes.synproxy import SynProxy
from lvslab.modes.tun import Tunnelling

MODES: dict[ForwardingMode, Mode] = {
    mode.name: mode for mode in (Nat(), DirectRouting(), Tunnelling(), FullNat(), SynProxy())
}

ALL_MODES = tuple(map(str, MODES))
"""Their names, in the order in which they are listed."""


def mode_named(name: str) -> Mode:
    """The mode of that name.

    Raises:
        UsageError: there is none.
    """
    try:
        return MODES[ForwardingMode(name.lower())]
    except ValueError:
        raise UsageError(f"mode '{name}': no such forwarding mode; choose from: {', '.join(MODES)}") from None
