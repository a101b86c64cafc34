"""The lab of a set-up, and what its configuration promises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lvslab.explore.records import Net, Promise
from lvslab.explore.schedule import Setup
from lvslab.ipvs.service import Protocol
from lvslab.kernels.needs import Kernels
from lvslab.modes.base import Role
from lvslab.plan.make import make_plan
from lvslab.plan.plan import LabPlan
from lvslab.plan.spec import LabSpec
from lvslab.reading.keepalived import Keepalived, read_keepalived
from lvslab.rehearse.formula import Death, notice, takeover
from lvslab.simulation.endpoints.addresses import mac_address

ATTEMPT_SECONDS = 0.5
"""That an attempt may take: less than TCP waits before it sends a lost SYN again."""

_UNNOTICED_SECONDS = 10.0
_SPARE_SECONDS = 0.5
"""On top of what formulas say: for gratuitous ARP, and for the table's change after a check."""


def options_of(setup: Setup) -> Mapping[str, Any]:
    """What is asked for, as `LabSpec.of` takes it."""
    return {
        "directors": setup.directors,
        "servers": setup.servers,
        "persistence": setup.persistence,
        "control": "keepalived",
        "keepalived": setup.config,
        "own_kernel": True,
    }


def plan_of(setup: Setup, kernels: Kernels, names: tuple[str, ...]) -> LabPlan:
    """The lab.

    Args:
        names: of the directors' kernels.

    Raises:
        UsageError: it cannot be.
    """
    return make_plan(LabSpec.of(setup.mode, **options_of(setup), kernels=names), kernels)


def net_of(plan: LabPlan) -> Net:
    """Who is who in a lab."""
    return Net(
        vip=plan.addresses.vip,
        client=plan.of_role(Role.CLIENT)[0].ip,
        macs={mac_address(card.mac): node.name for node in plan.nodes for card in node.interfaces},
        directors=tuple(director.name for director in plan.directors),
        servers=plan.addresses.rips,
        replies_pass=not plan.mode.replies_bypass_director,
        port=next(service.port for service in plan.services if service.protocol == Protocol.TCP),
    )


def promise_of(plan: LabPlan) -> Promise:
    """What a lab's configuration promises: the longest of what can happen, one after the other."""
    if plan.keepalived:
        return _promise_of_files([read_keepalived(text) for text in plan.keepalived.values()])
    settings = plan.health_settings
    noticed = settings.interval + settings.retries * (settings.timeout + settings.interval)
    parts = [(noticed, f"checks notice within {noticed:g} s")]
    for vrrp in list(plan.vrrp.values())[1:]:
        seconds, formula = vrrp.bound
        parts.append((seconds, f"takeover {formula}"))
    return _promise(parts, bool(plan.redundancy and plan.redundancy.sync))


def _promise_of_files(files: Sequence[Keepalived]) -> Promise:
    """What files promise. A death that no check of theirs can notice has a usual time all the same:
    whoever balances load takes it for granted.
    """
    servers = [server for pool in files[0].pools for server in pool.servers]
    times = [notice(server.checks, death) for server in servers for death in (Death.KILLED, Death.SILENT)]
    noticed = max((_UNNOTICED_SECONDS if time is None else time for time in times), default=0.0)
    parts = [(noticed, f"checks notice within {noticed:g} s")]
    if len(files) > 1:
        moved = max((takeover(instance) for file in files for instance in file.instances), default=0.0)
        parts.append((moved, f"takeover within {moved:.2f} s"))
    return _promise(parts, any(file.sync for file in files))


def _promise(parts: Sequence[tuple[float, str]], synced: bool) -> Promise:
    every = [*parts, (_SPARE_SECONDS, f"{_SPARE_SECONDS:g} s for the change itself")]
    return Promise(
        whole=sum(seconds for seconds, _ in every),
        formula="; ".join(words for _, words in every),
        timeout=ATTEMPT_SECONDS,
        synced=synced,
    )
