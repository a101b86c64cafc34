"""LVS in front of two HAProxies, active/active: who remembers a user?

    c1 … c3                                    clients
     │
    lvs  10.0.0.10:80                          director: to the HAProxies, round robin
     │
    rs1, rs2  port 8080                        HAProxy: to the applications, round robin, with a
    stick table of its own
     │
    rs3, rs4  port 8080                        applications

Stickiness above is not enough: each HAProxy keeps its promise, but a client that comes to the other
one next time meets another table. With persistence below, a client always comes to the same
HAProxy.
"""

from contextlib import ExitStack
from dataclasses import replace

from lvslab.ipvs.service import PacketForwarding, RealServer
from lvslab.plan.services import HTTP_SERVER_PORT
from lvslab.proxies.haproxy import StickyHaProxy
from lvslab.proxies.tier import http_service, running
from lvslab.proxies.web import stop_web_server
from lvslab.scenario import scenario
from lvslab.scenario.experiment import Experiment
from lvslab.traffic import http

PERSISTENCE = {"persistence": 300, "no persistence": 0}
PROXIES, APPLICATIONS = ("rs1", "rs2"), ("rs3", "rs4")
REQUESTS = 6


@scenario(
    title="LVS in front of an HAProxy pair",
    teaches="that stickiness in two HAProxies needs persistence in the director below them",
    modes=("nat",),
    seconds=15,
    real_time="programs of this machine on its servers (HAProxy): in virtual time they are simulated",
    choices={"variant": tuple(PERSISTENCE)},
)
def run(log: Experiment, variant: tuple[str, ...] = tuple(PERSISTENCE), clients: int = 3) -> None:
    proxy = StickyHaProxy()
    proxy.require()
    for each in variant:
        persistence = PERSISTENCE[each]
        name = each.replace(" ", "-")
        with (
            log.real_lab(
                "nat", clients=clients, servers=4, spare=APPLICATIONS, persistence=persistence, name=name
            ) as lab,
            ExitStack() as stack,
        ):
            rips = lab.plan.addresses.rips
            for number, node in enumerate(PROXIES):
                # each names its own application first, as on machines that hold both
                order = APPLICATIONS if number == 0 else APPLICATIONS[::-1]
                targets = tuple(
                    RealServer(rips[target], HTTP_SERVER_PORT, PacketForwarding.MASQ) for target in order
                )
                service = replace(
                    http_service(lab),
                    address=rips[node],
                    port=HTTP_SERVER_PORT,
                    real_servers=targets,
                    persistence_timeout=0,
                )
                stop_web_server(lab.node(node))
                stack.enter_context(running(lab.node(node), proxy, service, log.run.logs / name))
            answers = {
                client.name: http.get(client, f"http://{lab.plan.addresses.vip}/", REQUESTS)
                for client in lab.clients
            }
            failed = [each.error for all_ in answers.values() for each in all_ if each.error]
            log.expect(
                f"{name}: all are served",
                not failed,
                failed[0] or "" if failed else f"{clients * REQUESTS} requests",
            )
            ways = {
                client: sorted({f"{each.client[0]} > {each.server}" for each in all_ if each.client})
                for client, all_ in answers.items()
            }
            told = "; ".join(f"{client}: {', '.join(way)}" for client, way in ways.items())
            seen = {client: {each.server for each in all_} for client, all_ in answers.items()}
            used = {each.client[0] for all_ in answers.values() for each in all_ if each.client}
            log.expect(
                f"{name}: both HAProxies work",
                used == {rips[node] for node in PROXIES},
                f"applications saw {', '.join(sorted(used))}",
            )
            if persistence:
                log.expect(
                    f"{name}: users stay where they are", all(len(each) == 1 for each in seen.values()), told
                )
            else:
                log.expect(f"{name}: users are forgotten", any(len(each) > 1 for each in seen.values()), told)
