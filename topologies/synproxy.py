"""SYNPROXY: the two-arm network of LVS-NAT; the director answers SYNs itself before it opens a
connection to a real server.

   c1 .101   c2 .102 …
    │         │
────┴─────────┴──────┬────── s1   10.0.0.0/24
                     │ .1      VIP 10.0.0.10, SYN cookies
                    lvs
                     │ .1
────┬─────────┬──────┴────── s2   10.0.1.0/24
    │         │
  rs1 .11   rs2 .12 …        default route via 10.0.1.1 (a pair of directors: via 10.0.1.254, which moves with the VIP)

lvslab shell synproxy
mn --custom topologies/synproxy.py --topo synproxy,clients=2,servers=3 --host lab --switch lxbr
--controller none
"""  # noqa: E501, W505

from lvslab.kernels.needs import Need
from lvslab.lab.mn import LabNode
from lvslab.modes.base import ReplyPath, Role
from lvslab.plan.topology import LvsTopo


class SynproxyTopo(LvsTopo):
    """Two-arm network; `clients`, `servers` and `directors` (1, or 2 for a pair) say how many of
    each.
    """

    reply_path = ReplyPath.DIRECTOR
    needs = {Role.DIRECTOR: frozenset({Need.IP_VS, Need.SYNPROXY})}

    def build(self, clients: int = 1, servers: int = 2, directors: int = 1) -> None:
        outside, inside = self.addSwitch("s1"), self.addSwitch("s2")
        self.add_directors(directors, (outside, "10.0.0.0/24"), (inside, "10.0.1.0/24"))
        self.virtual_gateway = "10.0.1.254" if directors > 1 else None
        self.add_clients(clients, outside)
        self.add_real_servers(servers, inside, "10.0.1.0/24", gateway=self.virtual_gateway or "10.0.1.1")


topos = {"synproxy": SynproxyTopo}
hosts = {"lab": LabNode}
