"""Files of a pair of directors with many services: both families, NAT and DR, checks by HTTP."""

from __future__ import annotations

from pathlib import Path

SERVER = """
 real_server {address} {port} {{
  weight 1
  HTTP_GET {{
   url {{
    path /ping
    status_code 200
   }}
   connect_timeout 3
   retry 2
   delay_before_retry 2
  }}
 }}
"""

VRRP = """
vrrp_instance V{version} {{
 interface eth0
 virtual_router_id {version}
 priority {priority}
 advert_int 1
 virtual_ipaddress {{
{addresses}
 }}
}}
"""


def write_pair(folder: Path, services: int, servers: int) -> list[Path]:
    """Two folders, `lvs1/` and `lvs2/`, with a keepalived.conf of so many services with so many
    servers each; every third is of IPv6, and half of the servers are reached by NAT.
    """
    pools, moving = [], {4: ["10.60.15.254/21 dev eth1"], 6: ["fe80::60:1", "fd00:60:1::1/64 dev eth1"]}
    for number in range(services):
        six, nat = number % 3 == 2, number % 2 == 0
        vip = f"fd00:60::{number + 16:x}" if six else f"10.60.0.{number + 10}"
        moving[6 if six else 4].append(f"{vip}/{64 if six else 21}")
        inside = "".join(
            SERVER.format(address=_address(six, nat, index), port=8080 if nat else 80)
            for index in range(number * servers, (number + 1) * servers)
        )
        kind = "NAT" if nat else "DR"
        pools.append(
            f"virtual_server {vip} 80 {{\n delay_loop 6\n lvs_sched wrr\n lvs_method {kind}\n"
            f" protocol TCP\n{inside}}}\n"
        )
    folders = []
    for name, priority in (("lvs1", 150), ("lvs2", 100)):
        instances = "".join(
            VRRP.format(version=version, priority=priority, addresses="\n".join(addresses))
            for version, addresses in moving.items()
        )
        (folder / name).mkdir(parents=True)
        (folder / name / "keepalived.conf").write_text(instances + "".join(pools))
        folders.append(folder / name)
    return folders


def _address(six: bool, nat: bool, index: int) -> str:
    if six:
        return f"fd00:60:1::{index + 16:x}" if nat else f"fd00:60::1:{index + 16:x}"
    net = (8 if nat else 1) + index // 200
    return f"10.60.{net}.{index % 200 + 20}"
