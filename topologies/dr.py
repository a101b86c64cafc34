"""LVS-DR: one LAN holds clients, director and real servers; the real servers answer the clients straight.

   c1 .101   c2 .102 …
    │         │
────┴────┬────┴────┬─────────┬────── s1   10.0.0.0/24
         │ .1      │         │
        lvs      rs1 .11   rs2 .12 …
 VIP 10.0.0.10   VIP on lo, silent in ARP

lvslab shell dr
mn --custom topologies/dr.py --topo dr,clients=2,servers=3 --host lab --switch lxbr --controller none
"""

from lvslab.modes.base import ReplyPath, Role
from lvslab.topology import LabNode, LvsTopo


class DrTopo(LvsTopo):
    """One LAN; `clients` and `servers` say how many of each."""

    reply_path = ReplyPath.DIRECT

    def build(self, clients: int = 1, servers: int = 2) -> None:
        lan = self.addSwitch("s1")
        self.attach(self.add_node("lvs", Role.DIRECTOR), lan, "10.0.0.1/24")
        self.add_clients(clients, lan)
        self.add_real_servers(servers, lan, "10.0.0.0/24")


topos = {"dr": DrTopo}
hosts = {"lab": LabNode}
