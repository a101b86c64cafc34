"""`make perf`: lvslab's speed as ratios, both sides of each taken in this run. Prints, asserts
nothing.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from lvslab.host import linux, sandbox
from lvslab.kernels import probe, sockets
from lvslab.kernels.needs import Need
from lvslab.kernels.uml import UmlGuest, UmlKernel
from lvslab.lab.lab import Lab
from lvslab.lab.nodes import GuestNode, LabHost
from lvslab.lab.servers import start_iperf3
from lvslab.plan.make import make_plan
from lvslab.plan.spec import LabSpec
from lvslab.runs.outage import outage, start_errors
from lvslab.runs.probes import read_probes
from lvslab.simulation.calendar import Calendar
from lvslab.simulation.endpoints import Host, Rack
from lvslab.simulation.endpoints.clients import Prober as VirtualProber
from lvslab.simulation.endpoints.clients import Probing
from lvslab.simulation.endpoints.servers import HttpServer
from lvslab.simulation.network import Conditions, Link, Record
from lvslab.traffic import http, tools
from lvslab.traffic.engine import Draw, Engine, Received, Span, Stream, host
from lvslab.traffic.engine.compile import compile_stream
from lvslab.traffic.prober import Prober, ProbeSpec, ProbeSummary
from tests.perf_confinement import start_seconds
from tests.perf_virtual import report
from tests.tails import LATE, REQUESTS, TURNS, guest_kernels, tails

REPEAT = 5
OUTAGE = 0.02
"""Seconds of the injected outages."""
SEGMENT = 1448
"""Payload bytes of a TCP segment with time stamps over Ethernet."""


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def command_seconds(*arguments: str) -> float:
    command = [sys.executable, "-m", "lvslab", *arguments]
    return median(
        seconds(lambda: subprocess.run(command, capture_output=True, check=True)) for _ in range(REPEAT)
    )


def boot(kernel: UmlKernel, number: int, hasten: bool) -> float:
    """Seconds from starting a guest kernel to the first word of its process 1."""

    class Patient(UmlGuest):
        def _hasten(self) -> None:
            if hasten:
                super()._hasten()

    home = sandbox.PRIVATE_DIRECTORY
    began = time.perf_counter()
    guest = Patient(
        kernel, "alone", ["ip_vs", "ip_vs_rr"], home / f"alone-{number}-{hasten}", home / "console"
    )
    try:
        guest.agent.began.wait(30)
        return time.perf_counter() - began
    finally:
        guest.close()


def start_and_stop() -> tuple[float, float]:
    """Seconds from planning a NAT lab to its first answered request, and of its tear-down."""
    began = time.perf_counter()
    plan = make_plan(LabSpec.of("nat"), probe.kernels_here([Need.IP_VS]))
    with tempfile.TemporaryDirectory() as logs, Lab(plan, Path(logs)) as lab:
        answer = http.get(lab.clients[0], f"http://{plan.addresses.vip}/")[0]
        took = time.perf_counter() - began
        assert answer.error is None, answer.error
    return took, lab.stop_seconds or 0.0


def through_director() -> tuple[list[tools.Throughput], float, float, float]:
    """iperf3 runs, new connections per second, requests per second and UDP packets per second
    through a guest director.
    """
    plan = make_plan(LabSpec.of("nat", kernels=["uml"]), probe.kernels_here())
    with tempfile.TemporaryDirectory() as logs, Lab(plan, Path(logs)) as lab:
        assert isinstance(lab.director, GuestNode)
        lab.director.offload()
        for server in lab.servers:
            start_iperf3(server)
        client, vip = lab.clients[0], plan.addresses.vip
        runs = [tools.iperf3(client, vip, 3) for _ in range(3)]
        new = tools.wrk(client, f"http://{vip}/", 2, 16, keep_alive=False).rate
        kept = tools.wrk(client, f"http://{vip}/", 2, 16, keep_alive=True).rate
        rule = (
            f"ipvsadm -A -u {vip}:5201 -s rr && ipvsadm -a -u {vip}:5201 -r"
            f" {next(iter(plan.addresses.rips.values()))} -m"
        )
        lab.director.run(rule).check("lvs", rule)
        lab.director.run(
            f"ipvsadm -D -t {vip}:5201 && ipvsadm -A -t {vip}:5201 -s rr && "
            f"ipvsadm -a -t {vip}:5201 -r {next(iter(plan.addresses.rips.values()))} -m"
        ).check("lvs", "ipvsadm")
        udp = client.run(f"iperf3 -c {vip} -u -b 0 -l 16 -t 2 -J", timeout=40)
        small = json.loads(udp.out)["end"]["sum"]
        return runs, new, kept, (small["packets"] - small["lost_packets"]) / small["seconds"]


def through_router() -> list[tools.Throughput]:
    """The same with a router namespace on the machine's own kernel in the director's place."""
    linux.fresh_network()
    client, router, server = (
        LabHost(name, directory=sandbox.PRIVATE_DIRECTORY) for name in ("client", "router", "server")
    )
    for name, node in (("c", client), ("s", server)):
        pair = ["type", "veth", "peer", "name", f"r{name}", "netns", str(router.pid)]
        subprocess.run(["ip", "link", "add", "name", name, "netns", str(node.pid), *pair], check=True)
    client.run("ip addr add 10.0.0.101/24 dev c; ip link set c up; ip route add default via 10.0.0.1").check(
        "client", "set-up"
    )
    server.run("ip addr add 10.0.1.11/24 dev s; ip link set s up; ip route add default via 10.0.1.1").check(
        "server", "set-up"
    )
    router.run(
        "ip addr add 10.0.0.1/24 dev rc; ip link set rc up; ip addr add 10.0.1.1/24 dev rs; ip link set rs"
        " up; echo 1 >/proc/sys/net/ipv4/ip_forward"
    ).check("router", "set-up")
    start_iperf3(server)
    runs = [tools.iperf3(client, "10.0.1.11", 3) for _ in range(3)]
    for node in (client, router, server):
        node.terminate()
    return runs


def probing() -> tuple[ProbeSummary, list[float], list[float]]:
    """A prober at 1,000 attempts/s through a guest director that hears nothing for 20 ms now and
    then.

    Returns:
        The prober's summary, its start errors, and for each injected outage the found one minus the
        injected one, in seconds.
    """
    plan = make_plan(LabSpec.of("nat", kernels=["uml"]), probe.kernels_here())
    with tempfile.TemporaryDirectory() as logs, Lab(plan, Path(logs)) as lab:
        guest = lab.guest("lvs")
        assert guest is not None
        attempts_file, beats_file = Path(logs) / "attempts.csv", Path(logs) / "beats.csv"
        injected = []
        spec = ProbeSpec(plan.addresses.vip, 80, tuple(plan.addresses.rips), rate=1000, connections=50)
        with Prober(lab.clients[0], spec, attempts_file, beats_file) as prober:
            for _ in range(10):
                time.sleep(1.0)  # the load runs
                with sockets.deaf(guest.pid):
                    began = time.time()
                    while time.time() < began + OUTAGE:
                        pass
                    ended = time.time()
                injected.append((began, ended - began))
            time.sleep(1.0)
            summary = prober.stop()
        attempts = read_probes(attempts_file, None).attempts
        found = [outage(attempts, spec.interval or 0, began) for began, _ in injected]
        differences = [
            each.seconds - length if each else -length
            for each, (_, length) in zip(found, injected, strict=True)
        ]
        return summary, sorted(start_errors(attempts)), differences


FLOWS = 100_000
FLOOD_SECONDS = 1.5
HELD_RATES = (1_000, 20_000, 100_000)
SENDP = """\
import sys
from scapy.all import RawPcapReader, Ether, conf, sendp
packets = [Ether(data) for data, _ in zip((data for data, _ in RawPcapReader(sys.argv[1])), range(5000))]
sendp(packets, iface="c", verbose=False)
"""


class Bout:
    """A veth pair between two nodes, on which every generator sends the same SYNs.

    They are addressed to a MAC address that nobody has, so that the other end counts them and its
    IP stack has nothing to do with them: compared are the generators.
    """

    def __init__(self) -> None:
        from scapy.layers.inet import IP, TCP
        from scapy.layers.l2 import Ether
        from scapy.utils import RawPcapWriter

        linux.fresh_network()
        self.client, self.server = (
            LabHost(name, directory=sandbox.PRIVATE_DIRECTORY) for name in ("client", "server")
        )
        nobody = "02:00:00:00:00:09"
        ends = (("c", "02:00:00:00:00:01", self.client), ("s", "02:00:00:00:00:02", self.server))
        words = [["name", name, "address", mac, "netns", str(node.pid)] for name, mac, node in ends]
        subprocess.run(["ip", "link", "add", *words[0], "type", "veth", "peer", *words[1]], check=True)
        self.client.run(
            f"ip addr add 10.0.0.1/24 dev c; ip link set c up; ip neigh replace 10.0.0.9 lladdr {nobody} dev"
            " c nud permanent"
        ).check("client", "set-up")
        self.server.run("ip link set s up").check("server", "set-up")
        frame = (
            Ether(src=ends[0][1], dst=nobody)
            / IP(src="0.0.0.0", dst="10.0.0.9")
            / TCP(dport=80, flags="S", options=[("MSS", 1460)])
        )
        self.frame, self.vary = (
            frame,
            {"IP.src": Span("198.18.0.0/15"), "TCP.sport": Draw(1024, 65535), "TCP.seq": Draw()},
        )
        self.file = sandbox.PRIVATE_DIRECTORY / "flood.pcap"
        frames = compile_stream(self.stream(flows=FLOWS))
        with RawPcapWriter(str(self.file), linktype=1) as writer:
            writer.write_header(None)
            for number in range(len(frames)):
                writer.write_packet(frames[number])

    def stream(self, **options: Any) -> Stream:
        return Stream(self.frame, self.vary, **options)

    def received(self, work: Callable[[], object], flows: bool = False) -> Received:
        """What arrived at the other end meanwhile."""
        with Engine(self.server, "s").receiver(ethertype=host.IPV4, flows=flows) as receiver:
            work()
        return receiver.result

    def run(self, *command: str) -> None:
        self.client.run(shlex.join(command), timeout=60)

    def generators(self) -> dict[str, Callable[[], object] | None]:
        """What is compared; None: its program is not installed."""
        engine, bound = Engine(self.client, "c"), f"{FLOOD_SECONDS:g}"
        replay = [
            "timeout",
            "-s",
            "INT",
            bound,
            "tcpreplay",
            "-q",
            "-i",
            "c",
            "--topspeed",
            "-K",
            "--loop",
            "0",
            str(self.file),
        ]
        hping = [
            "timeout",
            "-s",
            "INT",
            bound,
            "hping3",
            "--flood",
            "-q",
            "-S",
            "-p",
            "80",
            "--rand-source",
            "-I",
            "c",
            "10.0.0.9",
        ]
        return {
            "scapy sendp": lambda: self.run(sys.executable, "-c", SENDP, str(self.file)),
            "tcpreplay --topspeed -K (what sendpfast runs)": (
                (lambda: self.run(*replay)) if shutil.which("tcpreplay") else None
            ),
            "hping3 --flood": (lambda: self.run(*hping)) if shutil.which("hping3") else None,
            "engine, 1 worker": lambda: engine.send(
                self.stream(flows=FLOWS, seconds=FLOOD_SECONDS, workers=1)
            ),
            "engine, a worker for each processor": lambda: engine.send(
                self.stream(flows=FLOWS, seconds=FLOOD_SECONDS)
            ),
        }

    def table(self) -> None:
        """Measure in turns and print."""
        generators = self.generators()
        rates: dict[str, list[float]] = {name: [] for name in generators}
        lost = 0
        for _ in range(3):
            for name, work in generators.items():
                if work is not None:
                    seen = self.received(work)
                    rates[name].append(seen.rate)
                    lost += seen.dropped
        middle = {name: median(values) if values else 0.0 for name, values in rates.items()}
        base = middle["scapy sendp"]
        line(
            "SYNs per second that arrive over a veth pair, median of 3",
            "",
            "÷ sendp (aim of the engine ≥ 100 and ≥ tcpreplay)",
        )
        for name, rate in middle.items():
            line(
                f"  {name}", f"{rate:,.0f}" if rate else "not installed", f"{rate / base:.1f}" if rate else ""
            )
        line("  frames that the receiver counted but could not look at", f"{lost:,}")
        once = self.received(lambda: Engine(self.client, "c").send(self.stream(flows=FLOWS)), flows=True)
        assert once.flows is not None
        line(
            f"  of {FLOWS:,} distinct flows sent once, arrived",
            f"{len(once.flows):,}",
            f"{once.dropped} dropped",
        )
        for rate in HELD_RATES:
            seen = self.received(
                lambda rate=rate: Engine(self.client, "c").send(  # type: ignore[misc]
                    self.stream(flows=FLOWS, rate=rate, seconds=3.0)
                )
            )
            line(f"  stated rate {rate:,}/s, missed by", f"{seen.rate / rate - 1:+.3%}", "aim ± 1 %")
        for node in (self.client, self.server):
            node.terminate()


def line(what: str, value: str, aim: str = "") -> None:
    print(f"{what:<66} {value:>12}   {aim}", flush=True)


def simulated() -> tuple[float, float]:
    """Frames a processor second between simulated hosts without a kernel, and additions in a plain
    loop.
    """
    calendar = Calendar()
    record, rack, client = Record(calendar), Rack(calendar), Host(calendar, "client")
    card = client.plug("02:00:00:00:00:01", "10.0.0.1/16")
    Link(calendar, record.tap("client", card), rack, Conditions(delay=100_000))
    for number in range(10):
        server = Host(calendar, f"s{number}")
        rack.add(server.plug(f"02:00:00:01:00:{number:02x}", f"10.0.1.{number}/16"))
        HttpServer(server).start()
        names = frozenset({server.name})
        VirtualProber(client, Probing(f"10.0.1.{number}", 80, names, interval=10_000_000)).start()
    began = time.process_time()
    calendar.run(3_000_000_000)
    frames = record.frames / (time.process_time() - began)
    began, total = time.process_time(), 0
    for number in range(1_000_000):
        total += number
    return frames, 1e6 / (time.process_time() - began)


def main() -> int:
    kernel = UmlKernel.installed()
    alone = median(boot(kernel, number, hasten=False) for number in range(REPEAT))
    hastened = median(boot(kernel, number, hasten=True) for number in range(REPEAT))
    labs = [start_and_stop() for _ in range(REPEAT)]
    start, stop = median(each[0] for each in labs), median(each[1] for each in labs)
    line("guest kernel alone to its init, as Debian ships it", f"{alone:.2f} s")
    line("guest kernel alone to its init, early ticks hastened", f"{hastened:.2f} s")
    line("NAT lab to the first answered request", f"{start:.2f} s")
    line("  ÷ guest kernel alone, as shipped", f"{start / alone:.2f}", "aim ≤ 1.5")
    line("  ÷ guest kernel alone, hastened", f"{start / hastened:.2f}")
    line("NAT lab, tear-down", f"{stop:.2f} s", "aim ≤ 0.5 s")
    confined, bare = start_seconds()
    line("NAT lab, start with a guest confined | as a bare process", f"{confined:.2f} | {bare:.2f} s")
    line("  confined ÷ bare", f"{confined / bare:.3f}", "aim ≤ 1.1")
    with tempfile.TemporaryDirectory() as runs:
        command = [sys.executable, "-m", "lvslab", "verify", "--runs", runs]
        line(
            "lvslab verify, all five modes",
            f"{seconds(lambda: subprocess.run(command, capture_output=True, check=True)):.1f} s",
            "aim ≤ 12 s",
        )
    line("lvslab --help", f"{command_seconds('--help'):.2f} s", "aim ≤ 0.3 s")
    heavy = (
        "import lvslab, sys; print(sum(name in sys.modules for name in ('scapy', 'matplotlib', 'mininet')))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", heavy], capture_output=True, text=True, check=True
    ).stdout.strip()
    line("of scapy, matplotlib, mininet loaded by import lvslab", loaded, "aim 0")
    summary, errors, differences = probing()
    p99 = errors[int(len(errors) * 0.99)]
    line(
        f"prober at 1,000 attempts/s ({summary.scheduling}), start error p99",
        f"{p99 * 1e3:.3f} ms",
        "aim ≤ 1 ms",
    )
    line("  start error p50 and worst", f"{errors[len(errors) // 2] * 1e3:.3f}, {errors[-1] * 1e3:.1f} ms")
    worst = max(differences, key=abs)
    line(
        f"outage found minus the {OUTAGE * 1e3:.0f} ms injected, worst of {len(differences)}",
        f"{worst * 1e3:+.2f} ms",
        "aim ± 2 ms",
    )
    lvs, new, kept, packets = through_director()
    routed = through_router()
    rate, base = (median(each.bits_per_second for each in runs) for runs in (lvs, routed))
    line("TCP through a guest director (NAT)", f"{rate / 1e9:.2f} Gbit/s")
    line("TCP through a router namespace on the machine's kernel", f"{base / 1e9:.2f} Gbit/s")
    line("  director ÷ router", f"{rate / base:.3f}")
    share = sum(each.retransmits for each in lvs) / (sum(each.bytes for each in lvs) / SEGMENT)
    line("  segments retransmitted through the director", f"{share:.4%}", "aim ≤ 0.1 %")
    line("new connections per second through the director", f"{new:,.0f}")
    line("requests per second through the director", f"{kept:,.0f}")
    line("small UDP packets per second that arrived through the director", f"{packets:,.0f}")
    for name in guest_kernels():
        tail = tails(name)
        what = f"of {TURNS * REQUESTS:,} requests through '{name}' (DR), sleeping packets"
        line(what, str(tail.late), f"aim 0: over {LATE * 1e3:g} ms longer than any through a router")
        line("  median, p99.9, longest | through the router, ms", tail.shown)
        line("  called awake", "never" if tail.calls is None else f"{tail.calls} times")
        line("  an idle guest takes of a processor", f"{tail.idle:.2%}", "aim < 1 %")
    frames, additions = simulated()
    line("frames a processor second between simulated hosts", f"{frames:,.0f}")
    line("  additions of a plain loop in that time", f"{additions / frames:,.0f} a frame")
    report(line, additions)
    Bout().table()
    return 0


if __name__ == "__main__":
    sys.exit(sandbox.run(main))
