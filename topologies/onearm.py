"""LVS-NAT, one arm: clients, director and real servers share one network; the servers' routes lead
back through the director.

   c1 .101   c2 .102 …
    │         │
────┴────┬────┴────┬─────────┬────── s1   10.0.0.0/24
         │ .1      │         │
        lvs      rs1 .11   rs2 .12 …      both halves of 10.0.0.0/24 via 10.0.0.1
 VIP 10.0.0.10

A real server would answer a client in its own network straight, and the client would not know the
sender. Two routes that are more specific than the network's own send everything to the director
instead, which in turn must not redirect the servers to the clients
(Documentation/networking/ip-sysctl.rst, send_redirects).

lvslab shell onearm
mn --custom topologies/onearm.py --topo onearm,clients=2,servers=3 --host lab --switch lxbr
--controller none
"""

from lvslab.lab.mn import LabNode
from lvslab.modes.base import ReplyPath, Role
from lvslab.plan.topology import LvsTopo


class OneArmTopo(LvsTopo):
    """One LAN for LVS-NAT; `clients` and `servers` say how many of each."""

    reply_path = ReplyPath.DIRECTOR

    def build(self, clients: int = 1, servers: int = 2) -> None:
        lan = self.addSwitch("s1")
        silent = {f"net.ipv4.conf.{name}.send_redirects": 0 for name in ("all", "default", "lvs-eth0")}
        self.attach(self.add_node("lvs", Role.DIRECTOR, sysctls=silent), lan, "10.0.0.1/24")
        self.add_clients(clients, lan)
        self.add_real_servers(servers, lan, "10.0.0.0/24")
        for number in range(1, servers + 1):
            self.nodeInfo(f"rs{number}")["routes"] = (
                "10.0.0.0/25 via 10.0.0.1",
                "10.0.0.128/25 via 10.0.0.1",
            )


topos = {"onearm": OneArmTopo}
hosts = {"lab": LabNode}
