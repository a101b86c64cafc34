"""NAT, and one real server that is reachable past the director: the last one has a second leg, with
an address in the clients' network.

   c1 .101   c2 .102 …
    │         │
────┴─────────┴──────┬──────────────┬────── s1   10.0.0.0/24
                     │ .1           │      VIP 10.0.0.10
                    lvs             │
                     │ .1           │
────┬────────────────┴────────┬─────│────── s2   10.0.1.0/24
    │                     .12 │     │ .12
  rs1 .11 …                  rs2 ───┘      default route via 10.0.1.1

lvslab shell bypass
mn --custom topologies/bypass.py --topo bypass,clients=2,servers=3 --host lab --switch lxbr
--controller none
"""

from lvslab.lab.mn import LabNode
from lvslab.modes.base import ReplyPath
from lvslab.plan.topology import LvsTopo


class BypassTopo(LvsTopo):
    """Two-arm network whose last real server has a leg in both networks, with the same host number;
    `clients`, `servers`: how many.
    """

    reply_path = ReplyPath.DIRECTOR

    def build(self, clients: int = 1, servers: int = 2) -> None:
        outside, inside = self.addSwitch("s1"), self.addSwitch("s2")
        self.add_directors(1, (outside, "10.0.0.0/24"), (inside, "10.0.1.0/24"))
        self.add_clients(clients, outside)
        self.add_real_servers(servers, inside, "10.0.1.0/24", gateway="10.0.1.1")
        self.attach(f"rs{servers}", outside, f"10.0.0.{10 + servers}/24")


topos = {"bypass": BypassTopo}
hosts = {"lab": LabNode}
