"""LVS-TUN: the real servers stand in another subnet behind a router; they unwrap the tunnel and
answer the clients straight.

   c1 .101   c2 .102 …
    │         │
────┴─────────┴──────┬───────────┬────── s1   10.0.0.0/24
                     │ .1        │ .254
                    lvs          gw
              VIP 10.0.0.10      │ .254
────┬─────────┬──────────────────┴────── s2   10.0.2.0/24
    │         │
  rs1 .11   rs2 .12 …        default route via 10.0.2.254, VIP on tunl0

lvslab shell tun
mn --custom topologies/tun.py --topo tun,clients=2,servers=3 --host lab --switch lxbr --controller
none
"""

from lvslab.kernels.needs import Need
from lvslab.lab.mn import LabNode
from lvslab.modes.base import ReplyPath, Role
from lvslab.plan.topology import LvsTopo


class TunTopo(LvsTopo):
    """Two subnets joined by a router; `clients`, `servers` and `directors` (1, or 2 for a pair) say
    how many of each.
    """

    reply_path = ReplyPath.DIRECT
    needs = {Role.DIRECTOR: frozenset({Need.IP_VS}), Role.REAL_SERVER: frozenset({Need.IPIP})}

    def build(self, clients: int = 1, servers: int = 2, directors: int = 1) -> None:
        near, far = self.addSwitch("s1"), self.addSwitch("s2")
        self.add_directors(directors, (near, "10.0.0.0/24"), routes=["10.0.2.0/24 via 10.0.0.254"])
        # Replies carry the virtual address of the near network as their source and come from the
        # far one: a strict reverse path filter on the router would drop them.
        forwarding = {
            "net.ipv4.ip_forward": 1,
            "net.ipv4.conf.all.rp_filter": 0,
            "net.ipv4.conf.default.rp_filter": 0,
        }
        router = self.add_node("gw", Role.ROUTER, sysctls=forwarding)
        self.attach(router, near, "10.0.0.254/24")
        self.attach(router, far, "10.0.2.254/24")
        self.add_clients(clients, near, gateway="10.0.0.254")
        self.add_real_servers(servers, far, "10.0.2.0/24", gateway="10.0.2.254")


topos = {"tun": TunTopo}
hosts = {"lab": LabNode}
