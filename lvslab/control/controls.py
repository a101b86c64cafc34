"""The list of the health controls, `CONTROLS`: none, mon, ldirectord, keepalived."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath

from lvslab.control.base import Check, ControlFile, HealthControl, HealthSettings
from lvslab.control.keepalived import Keepalived
from lvslab.control.ldirectord import Ldirectord
from lvslab.control.mon import Mon
from lvslab.errors import UsageError
from lvslab.ipvs.service import VirtualService

__all__ = [
    "CONTROLS",
    "NO_CONTROL",
    "Check",
    "ControlFile",
    "HealthControl",
    "HealthSettings",
    "control_named",
]


class NoControl(HealthControl):
    """Nobody looks after the real servers."""

    name = "none"
    summary = "nobody checks the real servers; the table stays as it is"
    programs = ()
    builds_table = False

    def files(
        self, services: Sequence[VirtualService], settings: HealthSettings, directory: PurePath
    ) -> Mapping[str, ControlFile]:
        return {}

    def command(self, directory: PurePath) -> str:
        """Nothing is to be started: the empty command."""
        return ""

    def ready(self, services: Sequence[VirtualService], settings: HealthSettings) -> tuple[str, ...]:
        return ()

    def bound(self, settings: HealthSettings) -> tuple[float, str]:
        return float("inf"), "nobody looks"

    def refuse(self, services: Sequence[VirtualService], settings: HealthSettings) -> str | None:
        return self._refuse(services, settings)

    def _refuse(self, services: Sequence[VirtualService], settings: HealthSettings) -> str | None:
        return (
            "there is nobody who could use the sorry server; choose a control that can"
            if settings.sorry
            else None
        )


NO_CONTROL = NoControl()
CONTROLS: dict[str, HealthControl] = {
    control.name: control for control in (NO_CONTROL, Mon(), Ldirectord(), Keepalived())
}


def control_named(name: str) -> HealthControl:
    """The health control of that name.

    Raises:
        UsageError: there is none.
    """
    try:
        return CONTROLS[name.lower()]
    except KeyError:
        raise UsageError(
            f"control '{name}': no such health control; choose from: {', '.join(CONTROLS)}"
        ) from None
