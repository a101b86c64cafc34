"""VRRP and connection sync, as keepalived.conf describes them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from lvslab.errors import UsageError
from lvslab.ipvs.words import numeric_address
from lvslab.reading.blocks import Block, Note

_PRIORITY = 100
_SYNC_ID = 0


@dataclass(frozen=True)
class VrrpAddress:
    """An address that moves with VRRP.

    Attributes:
        prefix: 32 or 128 unless written.
        link: where it is put; the instance's unless written.
        excluded: whether advertisements do not name it.
        by_vmac: whether it is put on the instance's own MAC-VLAN link.
    """

    ip: str
    prefix: int
    link: str
    excluded: bool = False
    by_vmac: bool = False


@dataclass(frozen=True)
class Vrrp:
    """A `vrrp_instance`.

    Attributes:
        state: "MASTER" or "BACKUP": what it begins as.
        interval: seconds between two advertisements.
        tracked: links whose loss makes it faulty, its own aside.
        peers: to whom it sends unicast; empty: multicast.
        preempt_delay: seconds.
    """

    name: str
    interface: str
    router_id: int
    priority: int
    state: str = "BACKUP"
    interval: float = 1.0
    addresses: tuple[VrrpAddress, ...] = ()
    tracked: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()
    source: str = ""
    preempts: bool = True
    preempt_delay: float = 0.0


@dataclass(frozen=True)
class SyncSettings:
    """`lvs_sync_daemon`.

    Attributes:
        instance: whose state decides between master and backup; "": both run.
    """

    interface: str
    instance: str = ""
    syncid: int = _SYNC_ID


def read_instance(block: Block, note: Note) -> Vrrp:
    """A `vrrp_instance`."""
    interface = block.value("interface")
    vmac = bool(block.all("use_vmac")) and not block.all("vmac_xmit_base")
    return Vrrp(
        " ".join(block.arguments),
        interface,
        router_id=whole(block.value("virtual_router_id"), 0),
        priority=whole(block.value("priority"), _PRIORITY),
        state=block.value("state", default="BACKUP"),
        interval=seconds(block.value("advert_int"), 1.0),
        addresses=tuple(
            address
            for keyword in ("virtual_ipaddress", "virtual_ipaddress_excluded")
            for group in block.all(keyword)
            for child in group.children
            if (address := _address(child, interface, keyword.endswith("excluded"), vmac, note))
        ),
        tracked=tuple(child.keyword for group in block.all("track_interface") for child in group.children),
        peers=tuple(child.keyword for group in block.all("unicast_peer") for child in group.children),
        source=block.value("unicast_src_ip", "mcast_src_ip"),
        preempts=not block.all("nopreempt"),
        preempt_delay=seconds(block.value("preempt_delay"), 0.0),
    )


def _address(block: Block, interface: str, excluded: bool, vmac: bool, note: Note) -> VrrpAddress | None:
    """ "10.0.0.100/24 brd 10.0.0.255 dev eth0 scope global label eth0:1"."""
    ip, _, prefix = block.keyword.partition("/")
    try:
        ip = numeric_address(ip, "VRRP")
    except UsageError:
        note(block, "does not begin with an address")
        return None
    words = block.arguments
    link = words[words.index("dev") + 1] if "dev" in words[:-1] else interface
    longest = 128 if ":" in ip else 32
    return VrrpAddress(
        ip, min(whole(prefix, longest), longest), link, excluded, vmac or "use_vmac" in block.words
    )


def read_sync(defaults: Block) -> SyncSettings | None:
    """`lvs_sync_daemon eth1 VI_1 id 7` of `global_defs`."""
    statement = defaults.last("lvs_sync_daemon", "lvs_sync_daemon_interface")
    if statement is None or not statement.arguments:
        return None
    interface, *words = statement.arguments
    settings = dict(pairwise(words))
    instance = settings.get("inst", "")
    if not instance and words and words[0] not in ("id", "maxlen", "port", "ttl", "group"):
        instance = words[0]
    return SyncSettings(interface, instance, whole(settings.get("id", ""), _SYNC_ID))


def whole(text: str, default: int) -> int:
    """A number of few digits; `default` for everything else."""
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else default


def seconds(text: str, default: float) -> float:
    """A time as keepalived takes it: seconds, with fractions."""
    return float(text) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{0,9})?", text) else default
