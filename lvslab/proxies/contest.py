"""What each contender of a comparison is put through, and what is recorded of it: the same work for
LVS and for proxies.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lvslab.errors import CannotError, GuestError, LabError
from lvslab.host import linux
from lvslab.kernels.machine import Guest
from lvslab.kernels.uml import UmlGuest
from lvslab.lab.daemon import Daemon
from lvslab.lab.lab import Lab
from lvslab.lab.nodes import GuestNode, LabMachine
from lvslab.modes.base import Role, Sysctl, set_up_script
from lvslab.plan.services import HTTP_PORT
from lvslab.proxies.tier import TUNING
from lvslab.proxies.web import LARGE
from lvslab.runs.probes import read_attempts
from lvslab.runs.stats import percentile
from lvslab.runs.writer import RunWriter
from lvslab.traffic import http, tools
from lvslab.traffic.prober import Prober, ProbeSpec

CONNECTIONS = 16
"""Connections that wrk keeps busy, as in `lvslab.scenario.performance`."""

_PORTS = (1024, 32767)
"""The prober's ports, and below those of the load tools: they must not meet, since a port just used
cannot be bound.
"""

_CLIENT = Sysctl("net.ipv4.ip_local_port_range", "32768 65535").fast()
_CUT_OFF = 28
"""curl's exit status when the time is over (curl(1), EXIT CODES)."""

_LEAST_CPU = 0.05
"""Seconds of processor time below which a cost says nothing: the machine counts in ticks of 10 ms
(proc(5), stat).
"""

_BLOCKS_IN_GUEST, _BLOCKS = 15_000, 300_000
"""Bytes that dd copies one by one: some tenths of a second in a guest and on the machine."""

_TIMES = re.compile(r"(\d+)m([\d.]+)s")
_ROUNDS = 3


@dataclass(frozen=True)
class Shared:
    """How some requests were shared.

    Attributes:
        servers: who answered, in order; "" for a request that failed.
        seen: client addresses that the real servers saw.
    """

    servers: tuple[str, ...]
    seen: frozenset[str]

    def in_turn(self, expected: Sequence[str]) -> bool:
        """Whether all answered, one after the other, each as often as the others."""
        count = len(expected)
        rounds = [self.servers[start : start + count] for start in range(0, len(self.servers), count)]
        return bool(rounds) and all(set(each) == set(expected) and each == rounds[0] for each in rounds)


def ask(lab: Lab, rounds: int = _ROUNDS) -> Shared:
    """Ask the virtual service one request after the other, each over a connection of its own."""
    url = f"http://{lab.plan.addresses.vip}:{HTTP_PORT}/"
    answers = http.get(lab.clients[0], url, rounds * len(lab.plan.addresses.rips))
    return Shared(
        tuple(each.server or "" for each in answers),
        frozenset(each.client[0] for each in answers if each.client),
    )


def placement(lab: Lab) -> Mapping[str, str]:
    """Role → the kernels that its nodes run, as the kernels say themselves: "uml 6.1.176"."""
    facts: dict[str, set[str]] = {}
    for node in lab.plan.nodes:
        facts.setdefault(str(node.role), set()).add(f"{node.kernel} {lab.node(node.name).release}")
    return {role: ", ".join(sorted(kernels)) for role, kernels in facts.items()}


def require_alike(placements: Mapping[str, Mapping[str, str]]) -> None:
    """Refuse to compare contenders whose roles do not run the same kernels.

    Args:
        placements: contender → `placement`.

    Raises:
        CannotError: they differ; names the first difference.
    """
    (first, reference), *others = placements.items()
    for name, roles in others:
        for role in sorted({*reference, *roles}):
            here, there = reference.get(role, "none"), roles.get(role, "none")
            if here != there:
                raise CannotError(
                    f"{first} and {name}: the {role} runs kernel '{here}' in one and '{there}' in the other,"
                    " so their figures would compare kernels; give both the same by --kernel"
                )


class Contest:
    """The measurements of one contender in one repetition. What fails is recorded in its place,
    never averaged.

    Attributes:
        failures: what failed, in words.
    """

    def __init__(
        self, lab: Lab, run: RunWriter, contender: str, mode: str, repeat: int, daemon: Daemon | None
    ) -> None:
        """`daemon`: the proxy, None for IPVS."""
        self._lab, self._run, self._name, self._mode, self._repeat, self._daemon = (
            lab,
            run,
            contender,
            mode,
            repeat,
            daemon,
        )
        self._client = lab.clients[0]
        self._vip = lab.plan.addresses.vip
        self.failures: list[str] = []
        for node in lab.net.hosts:
            if isinstance(node, GuestNode):
                node.offload()
        lab.director.run(set_up_script([TUNING], None)).check(lab.plan.director.name, "set-up")
        self._client.run(_CLIENT).check(self._client.name, "set-up")

    def connections(self, seconds: float) -> None:
        """HTTP requests over a new connection each, as fast as they are answered."""
        self._rate("connections_per_second", "connection", seconds, keep_alive=False)

    def requests(self, seconds: float) -> None:
        """HTTP requests over connections that are kept, as fast as they are answered."""
        self._rate("requests_per_second", "request", seconds, keep_alive=True)

    def _rate(self, metric: str, per: str, seconds: float, keep_alive: bool) -> None:
        def measure() -> None:
            with self._director_time() as used:
                result = tools.wrk(self._client, f"http://{self._vip}/", seconds, CONNECTIONS, keep_alive)
            if result.failed or not result.requests:
                raise LabError(f"{result.failed} of {result.requests} requests failed")
            self._sample(metric, "1/s", result.rate)
            self._cost(used, metric, per, result.requests)

        self._attempt(metric, "1/s", measure)

    def transfer(self, seconds: float) -> None:
        """A part of one very large answer: as much as comes within `seconds`."""

        def measure() -> None:
            command = (
                f"curl -sS -o /dev/null -m {seconds:g} -w '%{{http_code}} %{{size_download}} %{{time_total}}'"
                f" http://{self._vip}/{LARGE}"
            )
            with self._director_time() as used:
                done = self._client.run(command, timeout=seconds + 30)
            status, got, took = [*done.out.split(), "", "0", "0"][:3]
            if done.code != _CUT_OFF or status != "200" or not int(got):
                raise LabError(
                    f"status {status}, {got} bytes, curl ended with {done.code}: {done.err.strip()[-200:]}"
                )
            self._sample("download", "bit/s", 8 * int(got) / float(took))
            self._cost(used, "download", "GB", int(got) / 1e9)

        self._attempt("download", "bit/s", measure)

    def latency(self, rate: float, seconds: float) -> None:
        """Requests that start at a fixed rate whatever the answers do, each over a new connection:
        from planned start to first byte.
        """

        def measure() -> None:
            stem = self._run.probes / f"{self._name}.{self._repeat}"
            records = stem.with_name(stem.name + ".attempts.csv")
            servers = tuple(self._lab.plan.addresses.rips)
            spec = ProbeSpec(self._vip, HTTP_PORT, servers, rate=rate, timeout=0.9, ports=_PORTS)
            with (
                self._director_time() as used,
                Prober(self._client, spec, records, stem.with_name(stem.name + ".beats.csv")) as prober,
            ):
                self._wait(prober, seconds)
                prober.stop()
            attempts = read_attempts(records, [])
            failed = [each for each in attempts if each.failed or each.first_byte is None]
            if failed:
                raise LabError(
                    f"{len(failed)} of {len(attempts)} requests failed, the first: {failed[0].outcome}"
                )
            waits = [each.first_byte - each.planned for each in attempts if each.first_byte is not None]
            for percent in (50, 99):
                self._sample(f"loaded_latency_p{percent}", "s", percentile(waits, percent))
            self._sample("director_busy_loaded_latency", "1", used.cpu / used.wall)

        self._attempt("loaded_latency_p50", "s", measure)

    def _wait(self, prober: Prober, seconds: float) -> None:
        """Let the prober work for its time, unless it or the proxy ends before."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            prober.check_alive()
            time.sleep(min(left, 0.2))

    def system_calls(self) -> None:
        """Processor time of one system call of a program in the director, and of one on the
        machine's own kernel.
        """
        self._attempt("system_call_director", "s", self._director_call)
        if not isinstance(
            self._client, GuestNode
        ):  # a client with a kernel of its own cannot tell about the machine's
            self._attempt("system_call_machine", "s", self._machine_call)

    def _director_call(self) -> None:
        spent = []
        for blocks in (_BLOCKS_IN_GUEST, 1):
            with self._director_time() as used:
                copy_bytes(self._lab.director, blocks)
            spent.append(used.cpu)
        self._sample("system_call_director", "s", (spent[0] - spent[1]) / (2 * (_BLOCKS_IN_GUEST - 1)))

    def _machine_call(self) -> None:
        spent = [copy_bytes(self._client, blocks) for blocks in (_BLOCKS, 1)]
        self._sample("system_call_machine", "s", (spent[0] - spent[1]) / (2 * (_BLOCKS - 1)))

    # -- recording ---------------------------------------------------------------------------------

    def _attempt(self, metric: str, unit: str, measure: Callable[[], None]) -> None:
        """Measure; what goes wrong is recorded in the measurement's place, unless the lab itself
        broke.
        """
        self._lab.tell("measure", f"{metric.replace('_', ' ')}, repetition {self._repeat}")
        try:
            measure()
            if self._daemon:
                self._daemon.check()
        except GuestError:
            raise
        except LabError as error:
            self.failures.append(f"{metric.replace('_', ' ')}: {error}")
            self._sample(metric, unit, None, error=str(error))

    def _sample(
        self,
        metric: str,
        unit: str,
        value: float | None,
        labels: dict[str, str] | None = None,
        error: str | None = None,
    ) -> None:
        if value is None and error is None:
            error = "too few requests for it; measure longer"
        self._run.sample(
            lab=self._name,
            mode=self._mode,
            metric=metric,
            unit=unit,
            repeat=self._repeat,
            value=value,
            labels=labels,
            error=error,
        )

    @contextmanager
    def _director_time(self) -> Iterator[_Used]:
        """Processor time of the director, its kernel and its programs, and wall time, while the
        block runs.
        """
        guest = self._lab.guest(self._lab.plan.director.name)
        assert guest is not None  # the lab was asked for with own_kernel
        used = _Used()
        cpu, calls, wall = guest.cpu_seconds(), program_stops(guest), time.monotonic()
        yield used
        used.cpu, used.wall = guest.cpu_seconds() - cpu, time.monotonic() - wall
        used.calls = sum(count - calls.get(pid, 0) for pid, count in program_stops(guest).items())

    def _cost(self, used: _Used, during: str, per: str, work: float) -> None:
        labels = {"during": during, "per": per}
        if used.cpu < _LEAST_CPU:
            raise LabError(
                f"the director used {1000 * used.cpu:.0f} ms of processor time, which is counted in steps of"
                " 10 ms: too little; measure longer"
            )
        self._sample("director_cpu", "s", used.cpu / work, labels=labels)
        self._sample(f"director_busy_{during}", "1", used.cpu / used.wall)
        if isinstance(self._lab.guest(self._lab.plan.director.name), UmlGuest):
            self._sample("director_calls", "1", used.calls / work, labels=labels)


@dataclass
class _Used:
    """What the director used: seconds of processor time and of wall time, and system calls of its
    programs.
    """

    cpu: float = 0.0
    wall: float = 0.0
    calls: int = 0


def program_stops(guest: Guest) -> dict[int, int]:
    """How often programs of a User-Mode Linux guest have stopped for the guest's kernel so far,
    once for each system call: process → count.

    Every program is a process of the machine, a child of the guest's, that the guest's kernel
    resumes and that then sleeps until it is resumed again (arch/um/os-Linux/skas/process.c,
    userspace); the machine counts those sleeps as voluntary context switches (proc(5), status).
    Page faults and signals count as well; a program that has ended is gone from it. Under a seccomp
    filter the programs do not sleep, but the guest's kernel does while it waits for them, so its
    sleeps are counted instead: those of an idle kernel with them, few while it is busy.
    """
    if b"seccomp=on" in _read(f"/proc/{guest.pid}/cmdline"):
        pids = [guest.pid]
    else:
        pids = linux.children_of(guest.pid)
    found = {}
    for pid in pids:
        status = _read(f"/proc/{pid}/status")
        if status:  # else it has just ended
            found[pid] = int(status.partition(b"\nvoluntary_ctxt_switches:")[2].split()[0])
    return found


def _read(file: str) -> bytes:
    """A file of a process, empty when the process has ended."""
    try:
        return Path(file).read_bytes()
    except OSError:
        return b""


def copy_bytes(node: LabMachine, blocks: int) -> float:
    """Let dd copy single bytes, each by one read(2) and one write(2), from and to devices that do
    next to nothing.

    Returns:
        Seconds of processor time, as the node's kernel counts them (`times` of sh); in a guest that
        count is coarse, use the guest's own.

    Raises:
        LabError: it failed, or says nothing that can be read.
    """
    command = f"LC_ALL=C dd if=/dev/zero of=/dev/null bs=1 count={blocks}"
    out = node.run(f"{command} && times", timeout=60).check(node.name, command)
    found = _TIMES.findall(out.splitlines()[-1] if out else "")
    if len(found) != 2:
        raise LabError(f"{node.name}: times: {out.strip()[-200:] or 'no output'}")
    return sum(60 * int(minutes) + float(seconds) for minutes, seconds in found)


def seen_by_servers(lab: Lab, proxied: bool) -> str:
    """The client address that real servers must see: behind a proxy the director's in their
    network, behind LVS the client's own.
    """
    if not proxied:
        return lab.plan.of_role(Role.CLIENT)[0].ip
    return next(each.ip for each in lab.plan.director.interfaces if each.name == lab.plan.addresses.inner)
