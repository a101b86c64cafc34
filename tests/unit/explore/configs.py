"""keepalived.conf as users write them: a pair in NAT with its own addresses, and what can be wrong
with it.
"""

from __future__ import annotations

from pathlib import Path

GOOD_CHECK = "TCP_CHECK {\n            connect_timeout 1\n        }"
BLIND_CHECK = 'MISC_CHECK {\n            misc_path "/bin/true"\n            misc_timeout 1\n        }'

_TEXT = """\
global_defs {{
    router_id {name}
    lvs_sync_daemon {sync} outside
}}
vrrp_sync_group all {{
    group {{
        outside
        inside
    }}
}}
vrrp_instance outside {{
    state BACKUP
    interface ens18
    virtual_router_id {router_id}
    priority {priority}
    advert_int 1
    virtual_ipaddress {{
        192.0.2.10/24
    }}
}}
vrrp_instance inside {{
    state BACKUP
    interface ens19
    virtual_router_id 52
    priority {priority}
    advert_int 1
    virtual_ipaddress {{
        198.51.100.1/24
    }}
}}
virtual_server 192.0.2.10 8000 {{
    delay_loop 1
    lvs_sched rr
    lvs_method NAT
    protocol TCP
    real_server 198.51.100.21 80 {{
        {check}
    }}
    real_server 198.51.100.22 80 {{
        {check}
    }}
}}
"""


def text(
    priority: int = 150, *, router_id: int = 51, check: str = GOOD_CHECK, sync: str = "ens19", name: str = "a"
) -> str:
    """A director's keepalived.conf."""
    return _TEXT.format(name=name, priority=priority, router_id=router_id, check=check, sync=sync)


def write_pair(folder: Path, first: str, second: str) -> tuple[str, str]:
    """Write the files of a pair; returns their names."""
    for name, content in (("a.conf", first), ("b.conf", second)):
        (folder / name).write_text(content)
    return str(folder / "a.conf"), str(folder / "b.conf")
