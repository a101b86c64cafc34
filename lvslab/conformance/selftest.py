"""The kernel's own selftest of IPVS as a profile: its three cases with its addresses, plus the
packet contracts that it does not look at.

tools/testing/selftests/net/netfilter/ipvs.sh of Linux: three machines, ns0 client, ns1 director,
ns2 real server; direct routing, NAT and tunnelling; in each case 32 random bytes go through one
connection from client to server and must arrive as they were. The real server has a leg in the
clients' network, by which it answers with DR and TUN, and one in the director's.

     ns0 client            ns1 director, VIP 207.175.44.110:8080
      │ 10.0.0.2            │ 10.0.0.1   │ 172.16.0.1
 ─────┴──────────┬──────────┴───── s1    │
                 │ 10.0.0.3 (not in NAT) │
                ns2 real server          │
                 │ 172.16.0.2            │
 ────────────────┴───────────────────────┴───── s2
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from lvslab.errors import CannotError, LabError
from lvslab.events import Event, Listener
from lvslab.exitcodes import ExitCode
from lvslab.ipvs.service import Protocol, RealServer, Scheduler, VirtualService
from lvslab.kernels.needs import Kernels, Need
from lvslab.lab.lab import Lab, in_real_time
from lvslab.modes import mode_named
from lvslab.modes.base import Ip, ReplyPath, Role, Step, Sysctl
from lvslab.plan.make import plan_on
from lvslab.plan.plan import LabPlan
from lvslab.plan.spec import LabSpec
from lvslab.plan.topology import LvsTopo
from lvslab.runs.records import Check, Result
from lvslab.runs.words import plural
from lvslab.runs.writer import RunWriter
from lvslab.scenario.experiment import Experiment
from lvslab.verify import ladder
from lvslab.verify.capture import Capture
from lvslab.verify.flows import Flow, Setting
from lvslab.verify.frames import read_frames
from lvslab.verify.judge import judge, mark_unanswered
from lvslab.verify.path import hops
from lvslab.verify.verification import ports, taps

VIP, PORT = "207.175.44.110", 8080
CIP, GIP, DIP, RIP, SIP = "10.0.0.2", "10.0.0.1", "172.16.0.1", "172.16.0.2", "10.0.0.3"
"""The script's names: client, gateway (the director outside), director inside, real server inside
and outside.
"""

BYTES = 32
_SERVER_SECONDS, _CLIENT_SECONDS = 5, 2


class DirectTopo(LvsTopo):
    """The real server with a leg in the clients' network."""

    vip = VIP
    reply_path: ClassVar[ReplyPath] = ReplyPath.DIRECT

    def build(self) -> None:
        outside, inside = self.addSwitch("s1"), self.addSwitch("s2")
        self.attach(self.add_node("ns0", Role.CLIENT, routes=[f"{VIP}/32 via {GIP}"]), outside, f"{CIP}/24")
        director = self.add_node("ns1", Role.DIRECTOR)
        self.attach(director, outside, f"{GIP}/24")
        self.attach(director, inside, f"{DIP}/24")
        self._add_server(outside, inside)

    def _add_server(self, outside: str, inside: str) -> None:
        server = self.add_node("ns2", Role.REAL_SERVER)
        self.attach(server, inside, f"{RIP}/24")
        self.attach(server, outside, f"{SIP}/24")


class GatewayTopo(DirectTopo):
    """The real server without that leg; the director is its gateway."""

    reply_path: ClassVar[ReplyPath] = ReplyPath.DIRECTOR

    def _add_server(self, outside: str, inside: str) -> None:
        self.attach(self.add_node("ns2", Role.REAL_SERVER, gateway=DIP), inside, f"{RIP}/24")


@dataclass(frozen=True)
class Case:
    """One case of the script.

    Attributes:
        title: what the script prints before it.
        director, server: set-up of the two beyond addresses and routes, as the script does it.
        needs: what the nodes need from their kernels.
    """

    mode: str
    title: str
    topology: type[DirectTopo]
    director: tuple[Step, ...]
    server: tuple[Step, ...]
    needs: dict[Role, frozenset[Need]]

    @property
    def name(self) -> str:
        """Of its result."""
        return f"kernel-selftest:{self.mode}"


_VIP_ON_DIRECTOR = Step(
    "vip",
    "the director accepts packets for the virtual address",
    (Ip(f"address add {VIP}/32 dev lo label lo:1"),),
)
_FORWARD = Step("ip-forward", "the director is a router", (Sysctl("net.ipv4.ip_forward", 1),))
_VIP_ON_SERVER = Step(
    "vip-on-lo",
    "the real server accepts packets for the virtual address, and nobody hears of it",
    (
        Sysctl("net.ipv4.conf.all.arp_ignore", 1),
        Sysctl("net.ipv4.conf.all.arp_announce", 2),
        Ip(f"address add {VIP}/32 dev lo label lo:1"),
    ),
)


def _no_filter(*interfaces: str) -> Step:
    actions = tuple(Sysctl(f"net.ipv4.conf.{each}.rp_filter", 0) for each in ("all", *interfaces))
    return Step("rp-filter", "packets come in where their source is not reached", actions)


_TUNNEL = Step("tunl0", "the fallback tunnel is up", (Ip("link set tunl0 up"),))

CASES = (
    Case(
        "dr",
        "Testing DR mode...",
        DirectTopo,
        (_VIP_ON_DIRECTOR, _FORWARD),
        (_VIP_ON_SERVER, _no_filter("ns2-eth0")),
        {Role.DIRECTOR: frozenset({Need.IP_VS})},
    ),
    Case(
        "nat",
        "Testing NAT mode...",
        GatewayTopo,
        (_VIP_ON_DIRECTOR, _FORWARD),
        (),
        {Role.DIRECTOR: frozenset({Need.IP_VS})},
    ),
    Case(
        "tun",
        "Testing Tunnel mode...",
        DirectTopo,
        (
            Step(
                "no-forward",
                "the director is no router, and sends no redirects",
                (
                    Sysctl("net.ipv4.ip_forward", 0),
                    Sysctl("net.ipv4.conf.all.send_redirects", 0),
                    Sysctl("net.ipv4.conf.default.send_redirects", 0),
                ),
            ),
            _TUNNEL,
            _VIP_ON_DIRECTOR,
        ),
        (_TUNNEL, _VIP_ON_SERVER, _no_filter("tunl0", "ns2-eth0")),
        {Role.DIRECTOR: frozenset({Need.IP_VS, Need.IPIP}), Role.REAL_SERVER: frozenset({Need.IPIP})},
    ),
)


def case_plan(case: Case, kernels: Kernels, director_kernels: Sequence[str] = ()) -> LabPlan:
    """The plan of a case's lab: lvslab's own, with the script's service and the script's set-up in
    place of the mode's.

    Raises:
        CannotError: no kernel here can do it.
    """
    mode = mode_named(case.mode)
    spec = LabSpec(mode, name=f"kernel-selftest-{case.mode}", kernels=tuple(director_kernels))
    plan = plan_on("kernel-selftest", case.topology(), spec, kernels, case.needs)
    server = RealServer(RIP, PORT, mode.packet_forwarding)
    steps = {Role.DIRECTOR: case.director, Role.REAL_SERVER: case.server}
    nodes = tuple(replace(node, mode_steps=steps.get(node.role, ())) for node in plan.nodes)
    service = VirtualService(Protocol.TCP, VIP, PORT, scheduler=Scheduler.RR, real_servers=(server,))
    return replace(plan, nodes=nodes, services=(service,))


def run_selftest(
    kernels: Kernels, listener: Listener, run_writer: RunWriter, director_kernels: Sequence[str] = ()
) -> list[Result]:
    """Run the three cases, each in a lab of its own, inside a sandbox; results are also added to
    the run.

    Returns:
        For each case its result; "skip" where no kernel here can do it.
    """
    log = Experiment(run_writer, kernels, listener, director_kernels)
    results = []
    for case in CASES:
        began = time.monotonic()
        log.tell(Event("", "note", case.title))
        try:
            result = _run_case(case, case_plan(case, kernels, director_kernels), log, run_writer)
        except CannotError as error:
            result = Result(case.name, "skip", str(error), detail=(), tags=())
        result = replace(result, seconds=round(time.monotonic() - began, 3))
        results.append(result)
        run_writer.add_result(result)
        log.tell(Event("", "verdict", f"{result.name}: {result.verdict.upper()}: {result.reason}"))
    word = {ExitCode.OK: "PASS", ExitCode.FAILED: "FAIL", ExitCode.CANNOT: "SKIP"}[exit_code(results)]
    log.tell(Event("", "verdict", f"ipvs.sh: {word}"))
    return results


def exit_code(results: Sequence[Result]) -> ExitCode:
    """The script's: 0 all passed, 1 one failed, 4 (kselftest's SKIP) one could not be tried and
    none failed.
    """
    verdicts = {result.verdict for result in results}
    if "fail" in verdicts:
        return ExitCode.FAILED
    return ExitCode.CANNOT if "skip" in verdicts else ExitCode.OK


def _run_case(case: Case, plan: LabPlan, log: Experiment, run: RunWriter) -> Result:
    capture_file = run.captures / f"{plan.name}.pcapng"
    sent = os.urandom(BYTES)
    with log.planned_lab(plan) as any_lab:
        lab = in_real_time(any_lab, "a tunnel's byte-for-byte proof")
        stop_web_server(lab)
        with Capture(capture_file, taps(lab)) as capture:
            received, error = transfer(lab, sent)
            capture.wait_quiet(lab.at_work)
    roles = {node.name: node.role for node in plan.nodes}
    setting = Setting(plan.mode.contract, roles, VIP, DIP, plan.addresses.rips, (), {})
    flows = [
        flow
        for flow in judge(hops(read_frames(capture_file), ports(plan)), setting)
        if flow.protocol == "TCP"
    ]
    if error:
        for flow in flows:
            mark_unanswered(flow, setting)
    lines = [line for flow in flows for line in (*ladder.text(flow, roles), "")]
    ladder_file = run.captures / f"{plan.name}.ladder.txt"
    ladder_file.write_text("\n".join(lines))
    checks = [_bytes_check(sent, received, error), _contract_check(flows, capture.lost, plan)]
    failed = next((result for result in checks if result.verdict == "fail"), None)
    wrong = next((flow for flow in flows if flow.wrong), None)
    evidence = (f"captures/{capture_file.name}", f"captures/{ladder_file.name}")
    detail = ladder.wrong_packet(wrong, evidence[0], plan.mode.contract.in_words) if wrong else []
    reason = f"{failed.name}: {failed.reason}" if failed else "; ".join(result.reason for result in checks)
    return Result(
        case.name,
        "fail" if failed else "pass",
        reason,
        evidence,
        tuple(checks),
        detail=tuple(detail),
        tags=(),
    )


def _bytes_check(sent: bytes, received: bytes, error: str) -> Check:
    if not error and received == sent:
        return Check("bytes", "pass", f"{BYTES} random bytes arrived intact")
    reason = error or f"{len(received)} bytes arrived, other than the {BYTES} that were sent"
    return Check("bytes", "fail", reason)


def _contract_check(flows: Sequence[Flow], lost: int, plan: LabPlan) -> Check:
    """What the script does not look at: every packet of the connection as the mode's
    contract says.
    """
    if lost:
        return Check("contract", "fail", f"the kernel lost {lost} captured frames; run again")
    if len(flows) != 1:
        return Check("contract", "fail", f"{len(flows)} TCP connections were captured, expected 1")
    wrong = flows[0].wrong
    if wrong:
        reason = f"{wrong.hop.sender} > {wrong.hop.receiver or 'nobody'}: {wrong.why}"
        return Check("contract", "fail", reason)
    reason = f"{plural(len(flows[0].hops), 'packet')}: {plan.mode.contract.in_words}"
    return Check("contract", "pass", reason)


# -- the connection, as that of socat in the script ------------------------------------------------


def stop_web_server(lab: Lab) -> None:
    """End the real server's web server, which has the port that the script uses; by SIGKILL, it
    does not always obey SIGTERM in a guest.
    """
    node = lab.servers[0]
    node.run(f"read -r pid <{node.inside}/nginx.pid && kill -9 $pid").check(node.name, "end of nginx")


def transfer(lab: Lab, data: bytes) -> tuple[bytes, str]:
    """Send data through the virtual service, one way, in one connection.

    Returns:
        What arrived, and why it did not, "" if it did.
    """
    server: Any = lab.servers[0].popen(
        _command("receive_program.py", PORT, _SERVER_SECONDS), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        if server.stdout.readline().strip() != b"listening":
            raise LabError(
                f"{lab.servers[0].name}: the server does not listen: {_last_line(server.stderr.read())}"
            )
        command = _command("send_program.py", VIP, PORT, _CLIENT_SECONDS, data.hex())
        _, err, code = lab.clients[0].pexec(command)
        if code != 0:
            return b"", f"client: {_last_line(err.encode())}"
        received = server.stdout.readline().strip()
        return bytes.fromhex(received.decode()), (
            "" if received else f"server: {_last_line(server.stderr.read())}"
        )
    finally:
        server.kill()
        server.wait()


def _command(program: str, *arguments: object) -> list[str]:
    """A program of this package, handed over as text: a guest does not see its file."""
    text = Path(__file__).with_name(program).read_text(encoding="utf-8")
    return ["python3", "-S", "-c", text, *map(str, arguments)]


def _last_line(text: bytes) -> str:
    """What a program complained about in the end."""
    return (text.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
