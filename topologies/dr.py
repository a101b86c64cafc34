"""LVS-DR: one LAN holds clients, director and real servers; the real servers answer the clients
straight.

   c1 .101   c2 .102 …
    │         │
────┴────┬────┴────┬─────────┬────── s1   10.0.0.0/24
         │ .1      │         │
        lvs      rs1 .11   rs2 .12 …
 VIP 10.0.0.10   VIP on lo, silent in ARP

lvslab shell dr
mn --custom topologies/dr.py --topo dr,clients=2,servers=3 --host lab --switch lxbr --controller
none
"""

from lvslab.lab.mn import LabNode
from lvslab.modes.base import ReplyPath
from lvslab.plan.topology import LvsTopo


class DrTopo(LvsTopo):
    """One LAN; `clients`, `servers` and `directors` (1, or 2 for a pair) say how many of each."""

    reply_path = ReplyPath.DIRECT

    def build(self, clients: int = 1, servers: int = 2, directors: int = 1) -> None:
        lan = self.addSwitch("s1")
        self.add_directors(directors, (lan, "10.0.0.0/24"))
        self.add_clients(clients, lan)
        self.add_real_servers(servers, lan, "10.0.0.0/24")


topos = {"dr": DrTopo}
hosts = {"lab": LabNode}
