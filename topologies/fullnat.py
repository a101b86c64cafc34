"""FullNAT: the real servers' network has no route to the clients; the director's local addresses
bring the replies back.

   c1 .101   c2 .102 …
    │         │
────┴─────────┴──────┬────── s1   10.0.0.0/24
                     │ .1      VIP 10.0.0.10
                    lvs
                     │ .1      LIPs 10.0.1.201, 10.0.1.202
────┬─────────┬──────┴────── s2   10.0.1.0/24
    │         │
  rs1 .11   rs2 .12 …        no default route

lvslab shell fullnat
mn --custom topologies/fullnat.py --topo fullnat,clients=2,servers=3 --host lab --switch lxbr
--controller none
"""

from lvslab.kernels.needs import Need
from lvslab.lab.mn import LabNode
from lvslab.modes.base import ReplyPath, Role
from lvslab.plan.topology import LvsTopo


class FullnatTopo(LvsTopo):
    """Two networks without a route between them; `clients`, `servers` and `directors` (1, or 2 for
    a pair) say how many of each.
    """

    reply_path = ReplyPath.NONE
    local_addresses = ("10.0.1.201", "10.0.1.202")
    needs = {Role.DIRECTOR: frozenset({Need.IP_VS, Need.IPVS_SNAT})}

    def build(self, clients: int = 1, servers: int = 2, directors: int = 1) -> None:
        outside, inside = self.addSwitch("s1"), self.addSwitch("s2")
        self.add_directors(directors, (outside, "10.0.0.0/24"), (inside, "10.0.1.0/24"))
        self.add_clients(clients, outside)
        self.add_real_servers(servers, inside, "10.0.1.0/24")


topos = {"fullnat": FullnatTopo}
hosts = {"lab": LabNode}
