"""Verification of one lab: send test flows, capture every link, judge every packet against the
mode's contract.
"""

from __future__ import annotations

import ipaddress
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lvslab.ipvs.service import Scheduler
from lvslab.lab.lab import Lab
from lvslab.modes.base import Role
from lvslab.plan.plan import LabPlan
from lvslab.plan.services import HTTP_PORT, HTTP_SERVER_PORT, UDP_PORT, UDP_SERVER_PORT
from lvslab.runs.codec import to_json
from lvslab.runs.records import Check, PathFile, Result, Verdict
from lvslab.runs.words import plural
from lvslab.verify import ladder
from lvslab.verify.flows import Flow, Setting
from lvslab.verify.frames import read_frames
from lvslab.verify.judge import arp_trespasses, judge, mark_unanswered
from lvslab.verify.path import Port, hops

if TYPE_CHECKING:
    from lvslab.traffic.crafted import Exchange
    from lvslab.traffic.http import Answer

_MAX_CRAFTED = 4
_CRAFTED_PORT = 40001
_COOKIES = "/proc/net/stat/synproxy"
_COOKIE_COLUMN = (
    # entries syn_received cookie_invalid cookie_valid cookie_retrans conn_reopened
    # (nf_synproxy_core.c)
    3
)


@dataclass
class Verification:
    """What came of verifying a lab.

    Attributes:
        checks: every expectation with its verdict.
        flows: judged flows by name.
        evidence: files, relative to the run directory.
        wrong: the first wrong packet beside the contract, as lines; empty when all held.
    """

    checks: list[Check] = field(default_factory=list)
    flows: dict[str, Flow] = field(default_factory=dict)
    evidence: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> Verdict:
        return "pass" if all(check.verdict == "pass" for check in self.checks) else "fail"

    @property
    def reason(self) -> str:
        """What held, or what failed first."""
        failed = next((check for check in self.checks if check.verdict != "pass"), None)
        if failed:
            return f"{failed.name}: {failed.reason}"
        packets = sum(len(flow.hops) for flow in self.flows.values())
        return (
            f"{plural(len(self.checks), 'check')} held: {plural(len(self.flows), 'flow')},"
            f" {plural(packets, 'packet')}, each as the contract says"
        )

    def result(self, name: str) -> Result:
        """As the run directory keeps it."""
        return Result(name, self.verdict, self.reason, tuple(self.evidence), tuple(self.checks))


@dataclass
class _Traffic:
    """What the clients did, and what they got."""

    crafted: dict[str, Exchange] = field(default_factory=dict)
    http: list[tuple[str, Answer]] = field(default_factory=list)
    cookies: int | None = None


def verify(lab: Lab, run_directory: Path) -> Verification:
    """Verify a running lab; captures and ladders go to the run directory.

    Raises:
        LabError: the lab broke meanwhile.
    """
    from lvslab.verify.capture import Capture

    plan = lab.plan
    capture_file = run_directory / "captures" / f"{plan.name}.pcapng"
    with Capture(capture_file, taps(lab)) as capture:
        lab.tell("traffic", "sending test flows")
        traffic = _send(lab)
        capture.wait_quiet(lab.at_work)
    lab.tell("judge", f"judging {plural(capture.frames, 'frame')}")
    frames = read_frames(capture_file)
    found = judge(hops(frames, ports(plan)), setting(plan))
    outcome = Verification(evidence=[f"captures/{plan.name}.pcapng"])
    if capture.lost:
        outcome.checks.append(
            Check(
                "capture",
                "fail",
                f"the kernel lost {plural(capture.lost, 'frame')}, so not every packet was seen; run again",
            )
        )
    outcome.flows = _name_flows(found, traffic, plan)
    outcome.checks += _flow_checks(outcome.flows, traffic, plan)
    outcome.checks.append(
        _arp_check(
            arp_trespasses(frames, plan.addresses.vip, [each.mac for each in plan.director.interfaces])
        )
    )
    outcome.checks += _http_checks(traffic, plan)
    _write_evidence(outcome, plan, run_directory)
    return outcome


def taps(lab: Lab) -> dict[str, str]:
    """Where to capture: each link's interface at the switch → the node's interface at the other
    end.
    """
    found = {}
    for link in lab.net.links:
        ends = sorted((link.intf1, link.intf2), key=lambda each: each.node in lab.net.switches, reverse=True)
        found[ends[0].name] = ends[1].name
    return found


def ports(plan: LabPlan) -> dict[str, Port]:
    """Interface name → node, network and MAC address."""
    return {
        each.name: Port(node.name, each.network, each.mac) for node in plan.nodes for each in node.interfaces
    }


def setting(plan: LabPlan) -> Setting:
    """What the judge must know."""
    mapped = {HTTP_PORT: HTTP_SERVER_PORT, UDP_PORT: UDP_SERVER_PORT} if plan.mode.maps_ports else {}
    return Setting(
        plan.mode.contract,
        {node.name: node.role for node in plan.nodes},
        plan.addresses.vip,
        plan.addresses.dip,
        plan.addresses.rips,
        plan.local_addresses,
        mapped,
    )


# -- traffic ---------------------------------------------------------------------------------------


def _send(lab: Lab) -> _Traffic:
    from lvslab.traffic import http
    from lvslab.traffic.crafted import CraftedHost

    plan, traffic = lab.plan, _Traffic()
    vip = plan.addresses.vip
    cookies_before = _cookies(lab)
    first = plan.of_role(Role.CLIENT)[0]
    own_address = str(ipaddress.ip_address(first.ip) + 100)
    interface = first.interfaces[0]
    with CraftedHost(lab.node(first.name).pid, interface.name, interface.mac, own_address) as host:
        for number in range(1, min(len(plan.addresses.rips), _MAX_CRAFTED) + 1):
            request = f"GET /{number} HTTP/1.0\r\nHost: {vip}\r\n\r\n".encode()
            traffic.crafted[f"tcp-{number}"] = host.tcp(vip, HTTP_PORT, _CRAFTED_PORT + number, request)
        if plan.mode.carries_udp:
            traffic.crafted["udp"] = host.udp(vip, UDP_PORT, _CRAFTED_PORT, b"lvslab datagram")
        traffic.crafted["icmp"] = host.ping(vip, _CRAFTED_PORT)
    for client in plan.of_role(Role.CLIENT):
        answers = http.get(
            lab.node(client.name), f"http://{vip}/", times=2 * len(plan.addresses.rips), timeout=2.0
        )
        traffic.http += [(client.ip, answer) for answer in answers]
    if cookies_before is not None:
        traffic.cookies = (_cookies(lab) or 0) - cookies_before
    return traffic


def _cookies(lab: Lab) -> int | None:
    """Valid SYN cookies that the director has counted, over all processors; None in modes without a
    SYN proxy.
    """
    if not lab.plan.mode.contract.proxied:
        return None
    done = lab.director.run(f"cat {_COOKIES}")
    if done.code != 0:
        return 0
    return sum(int(line.split()[_COOKIE_COLUMN], 16) for line in done.out.splitlines()[1:])


# -- checks ----------------------------------------------------------------------------------------


def _name_flows(flows: Sequence[Flow], traffic: _Traffic, plan: LabPlan) -> dict[str, Flow]:
    """Flows under the names of what made them; those whose client got no answer are marked."""
    named: dict[str, Flow] = {}
    judge_setting = setting(plan)
    for name, exchange in traffic.crafted.items():
        protocol = name.partition("-")[0].upper()
        flow = next(
            (each for each in flows if each.protocol == protocol and each.client == exchange.source), None
        )
        if flow:
            named[name] = flow
            if exchange.error:
                mark_unanswered(flow, judge_setting)
    for number, (address, answer) in enumerate(traffic.http, start=1):
        flow = next(
            (
                each
                for each in flows
                if each.protocol == "TCP" and each.client == (address, answer.local_port)
            ),
            None,
        )
        if flow:
            named[f"http-{number}"] = flow
            if answer.error:
                mark_unanswered(flow, judge_setting)
    return named


def _flow_checks(flows: dict[str, Flow], traffic: _Traffic, plan: LabPlan) -> list[Check]:
    """One check for each kind of flow: every packet as the contract says, every client answered."""
    errors = {name: exchange.error for name, exchange in traffic.crafted.items()}
    errors |= {f"http-{number}": answer.error for number, (_, answer) in enumerate(traffic.http, start=1)}
    checks = []
    for kind in dict.fromkeys(name.partition("-")[0] for name in errors):
        problem, packets = "", 0
        for name in (each for each in errors if each.partition("-")[0] == kind):
            flow = flows.get(name)
            packets += len(flow.hops) if flow else 0
            wrong = flow.wrong if flow else None
            if wrong and flow and not problem:
                problem = f"{flow.title}: {wrong.hop.sender} > {wrong.hop.receiver or 'nobody'}: {wrong.why}"
            elif errors[name] and not problem:
                problem = f"{flow.title if flow else name}: {errors[name]}"
            elif flow is None and not problem:
                problem = f"{name}: none of its packets was captured"
        count = sum(each.partition("-")[0] == kind for each in errors)
        checks.append(
            Check(
                kind,
                "fail" if problem else "pass",
                (
                    problem
                    or f"{plural(count, 'flow')}, {plural(packets, 'packet')}: {plan.mode.contract.in_words}"
                    if kind != "icmp"
                    else problem or "the director answers a ping to the virtual address itself"
                ),
            )
        )
    return checks


_IN_TURN = (Scheduler.RR, Scheduler.WRR)
_BY_CLIENT = (Scheduler.SH, Scheduler.MH)
"""What a scheduler promises of equal servers: equal shares, or one server for each client
(ipvsadm(8)); the others look at connections, weights or destinations.
"""


def share_check(
    scheduler: Scheduler, servers: Sequence[str], answers: Sequence[tuple[str, str | None]]
) -> Check:
    """Whether requests were shared out as the scheduler promises it.

    Args:
        answers: client's address and the server that answered it, of each request.
    """
    counts = Counter(server for _, server in answers)
    shown = f"{scheduler}: " + ", ".join(f"{name} {counts.get(name, 0)}" for name in servers)
    if scheduler in _IN_TURN:
        shares = [counts.get(name, 0) for name in servers]
        holds, rule = max(shares) - min(shares) <= 1, "they may differ by 1 at most"
    elif scheduler in _BY_CLIENT:
        met: dict[str, set[str | None]] = {}
        for client, server in answers:
            met.setdefault(client, set()).add(server)
        holds, rule = all(len(each) == 1 for each in met.values()), "a client stays with one server"
    else:
        return Check("share", "pass", f"{shown}; this scheduler promises no shares")
    return Check("share", "pass" if holds else "fail", shown if holds else f"{shown}; {rule}")


def _arp_check(trespasses: Sequence[Any]) -> Check:
    if not trespasses:
        return Check("arp", "pass", "only the director answers ARP for the virtual address")
    first = trespasses[0]
    who = first.interface.partition("-")[0]
    return Check(
        "arp",
        "fail",
        f"{who} ({first.arp.sender_mac}) answers ARP for the virtual address (frame {first.number})",
    )


def _http_checks(traffic: _Traffic, plan: LabPlan) -> list[Check]:
    """What only the answers tell: which client the servers saw, how requests were shared out,
    whether cookies were used.
    """
    answered = [(address, answer) for address, answer in traffic.http if answer.error is None]
    if not answered:
        return []  # the flow checks have said so
    checks = []
    lips = plan.local_addresses
    strange = [
        (address, answer)
        for address, answer in answered
        if answer.client is None
        or (answer.client[0] not in lips if lips else answer.client != (address, answer.local_port))
    ]
    if strange:
        address, answer = strange[0]
        checks.append(
            Check(
                "client-address",
                "fail",
                f"{answer.server} saw {answer.client}, the client was {address}:{answer.local_port}",
            )
        )
    else:
        seen = (
            f"local addresses of the director ({', '.join(lips)})"
            if lips
            else "the client's own address and port"
        )
        checks.append(Check("client-address", "pass", f"the real servers see {seen}"))
    checks.append(
        share_check(
            next(each.scheduler for each in plan.services if each.port == HTTP_PORT),
            list(plan.addresses.rips),
            [(address, answer.server) for address, answer in answered],
        )
    )
    if traffic.cookies is not None:
        connections = len(answered) + sum(
            exchange.error is None for name, exchange in traffic.crafted.items() if name.startswith("tcp")
        )
        good = traffic.cookies >= connections
        checks.append(
            Check(
                "cookies",
                "pass" if good else "fail",
                f"{traffic.cookies} valid SYN cookies counted for {connections} connections",
            )
        )
    return checks


# -- evidence --------------------------------------------------------------------------------------


def _write_evidence(outcome: Verification, plan: LabPlan, run_directory: Path) -> None:
    roles = {node.name: node.role for node in plan.nodes}
    captures = run_directory / "captures"
    involved = [
        node.name for node in sorted(plan.nodes, key=lambda node: (list(Role).index(node.role), node.name))
    ]
    flows = tuple(ladder.flow_record(name, flow) for name, flow in outcome.flows.items())
    data = to_json(PathFile(plan.name, tuple(involved), flows))
    (captures / f"{plan.name}.path.json").write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n")
    lines = [
        line for name, flow in outcome.flows.items() for line in (f"## {name}", *ladder.text(flow, roles), "")
    ]
    (captures / f"{plan.name}.ladder.txt").write_text("\n".join(lines))
    outcome.evidence += [f"captures/{plan.name}.path.json", f"captures/{plan.name}.ladder.txt"]
    failing = next((flow for flow in outcome.flows.values() if flow.wrong), None)
    if failing:
        outcome.wrong = ladder.wrong_packet(
            failing, f"captures/{plan.name}.pcapng", plan.mode.contract.in_words
        )
        text = [*outcome.wrong, "", *ladder.text(failing, roles)]
        (captures / f"{plan.name}.contract.txt").write_text("\n".join(text) + "\n")
        outcome.evidence.append(f"captures/{plan.name}.contract.txt")
