"""Faults: context managers that break something in a running lab, prove that it broke, and put it back on leaving.

Every one tells an event of kind "fault" when it fires, with what proved it, and one of kind "repair" when all is as before; both carry
the moment just before the action. Each yields a `Fault`. A fault that does not show, or cannot be put back, is a LabError; a node that
does not exist, or one that cannot have the fault, is a UsageError.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from lvslab.control.ipvsadm import Ipvsadm
from lvslab.errors import LabError, UsageError
from lvslab.kernels.needs import Need
from lvslab.kernels.uml import UmlGuest
from lvslab.lab import Lab
from lvslab.modes.base import Role
from lvslab.network import linux
from lvslab.plan import HTTP_PORT, NodePlan
from lvslab.service import RealServer, VirtualService
from lvslab.traffic.servers import start_nginx

_PROOF_SECONDS = 5.0
"""So long a fault or a repair may take to show."""

_LOOK = 0.005


@dataclass(frozen=True)
class Fault:
    """A fault that has fired.

    Attributes:
        node: where.
        text: what broke, one line.
        t: seconds since the epoch, just before it was broken.
        proof: what was seen that proves it.
        lasted: seconds from `t` until the proof was seen.
    """

    node: str
    text: str
    t: float
    proof: str
    lasted: float


# -- real servers --------------------------------------------------------------------------------------------------------------------


@contextmanager
def server_killed(lab: Lab, server: str) -> Iterator[Fault]:
    """The server's program is killed: its kernel answers new connections with RST."""
    program = _Program(lab, server)

    def dead() -> str | None:
        return None if program.state() else f"process {program.pid} is gone"

    with _broken(lab, server, f"{server}: web server killed", lambda: program.send(signal.SIGKILL), dead) as fault:
        yield fault
    with _mending(lab, server, f"{server}: web server started again"):
        start_nginx(program.node)


@contextmanager
def server_power_off(lab: Lab, server: str) -> Iterator[Fault]:
    """The server's machine is off: silence, not even ARP is answered."""
    _planned(lab, server, Role.REAL_SERVER)
    with _power_cut(lab, server, f"{server}: power off") as fault:
        yield fault


@contextmanager
def server_hung(lab: Lab, server: str) -> Iterator[Fault]:
    """The server's program is stopped (SIGSTOP): its kernel still completes connections, but nobody answers on them."""
    program = _Program(lab, server)

    def stopped() -> str | None:
        return f"process {program.pid} is stopped" if program.state() == "T" else None

    with _broken(lab, server, f"{server}: web server hung", lambda: program.send(signal.SIGSTOP), stopped) as fault:
        yield fault
    with _mending(lab, server, f"{server}: web server goes on"):
        program.send(signal.SIGCONT)
        _wait(lambda: program.state() not in ("T", None), f"{server}: its web server does not go on")


@contextmanager
def server_slow(lab: Lab, server: str, share: float = 0.1, period: float = 0.2) -> Iterator[Fault]:
    """The server runs only for a share of the time, stopped for the rest of every period (seconds): each answer may wait that long.

    In a guest the whole machine is slowed down, else the server's program.
    """
    if not 0 < share < 1 or not 0.01 <= period <= 10:
        raise UsageError(
            f"slow server: share {share:g} of {period:g} s; the share lies between 0 and 1, the period in 0.01..10 s"
        )
    program = _Program(lab, server)
    guest = lab.guest(server)
    stop: Callable[[], None] = guest.freeze if guest else lambda: program.send(signal.SIGSTOP)
    go_on: Callable[[], None] = guest.thaw if guest else lambda: program.send(signal.SIGCONT)
    rounds = 0
    with _Background(f"slow-{server}") as background:

        def stutter() -> None:
            nonlocal rounds
            try:
                while not background.ending.wait(period * share):
                    stop()
                    rounds += 1
                    background.ending.wait(period * (1 - share))
                    go_on()
            finally:
                go_on()

        text = f"{server}: slow, runs {share:.0%} of every {period * 1000:g} ms"
        proof = lambda: "stopped for the first time" if rounds else None  # noqa: E731
        with _broken(lab, server, text, lambda: background.start(stutter), proof) as fault:
            yield fault
    with _mending(lab, server, f"{server}: as fast as before"):
        _wait(lambda: program.state() not in ("T", None), f"{server}: its web server does not go on")


@contextmanager
def server_flapping(lab: Lab, server: str, down: float = 1.0, up: float = 1.0, times: int = 1000) -> Iterator[Fault]:
    """The server's program dies and comes back again and again: `down` and `up` seconds, at most `times` times."""
    program = _Program(lab, server)
    flaps = 0
    with _Background(f"flap-{server}") as background:

        def flap() -> None:
            nonlocal flaps
            while flaps < times and not background.ending.is_set():
                program.send(signal.SIGKILL)
                flaps += 1
                lab.tell("fault", f"{server}: web server killed, time {flaps}", server)
                background.ending.wait(down)
                start_nginx(program.node)
                program.refresh()
                lab.tell("repair", f"{server}: web server started again", server)
                background.ending.wait(up)

        text = f"{server}: flapping, {down:g} s down, {up:g} s up"
        with _broken(lab, server, text, lambda: background.start(flap), lambda: "killed" if flaps else None) as fault:
            yield fault
    with _mending(lab, server, f"{server}: steady after {flaps} flap(s)"):
        _wait(lambda: program.state() is not None, f"{server}: its web server is not running")


# -- links ---------------------------------------------------------------------------------------------------------------------------


@contextmanager
def link_down(lab: Lab, node: str, network: str | None = None) -> Iterator[Fault]:
    """The links of a node lose their carrier, all or the one to a network; the node itself sees it too."""
    planned = _planned(lab, node)
    interfaces = _interfaces(lab, planned, network)
    switch_ends = [_switch_end(lab, each) for each in interfaces]
    guest = planned.is_guest

    def cut() -> None:
        for end in switch_ends:
            linux.set_link_up(end, up=False)
        if guest:  # a guest's card does not see what happens at the switch
            lab.node(node).run("\n".join(f"ip link set {each} down" for each in interfaces)).check(node, "ip link set down")

    def silent() -> str | None:
        return None if any(linux.is_link_up(end) for end in switch_ends) else f"{', '.join(interfaces)}: no carrier"

    with _broken(lab, node, f"{node}: link down ({', '.join(interfaces)})", cut, silent) as fault:
        yield fault
    with _mending(lab, node, f"{node}: link up"):
        for end in switch_ends:
            linux.set_link_up(end)
        if guest:
            routes = [action.plain() for step in planned.network_steps if step.name == "routes" for action in step.actions]
            lines = [f"ip link set {each} up" for each in interfaces]
            lines += [
                line.replace("route add", "route replace") for line in routes
            ]  # a link that goes down takes its routes along
            lab.node(node).run("\n".join(lines)).check(node, "ip link set up")


@contextmanager
def impaired(
    lab: Lab,
    node: str,
    network: str | None = None,
    *,
    delay: float = 0.0,
    jitter: float = 0.0,
    loss: float = 0.0,
    duplicate: float = 0.0,
    reorder: float = 0.0,
    rate: float = 0.0,
) -> Iterator[Fault]:
    """What a node sends, to all its networks or to one, is impaired by netem in the node's own kernel (tc-netem(8)).

    Args:
        node: one whose kernel has netem; ask for it in the plan (`Need.NETEM`).
        delay, jitter: seconds.
        loss, duplicate, reorder: shares, 0..1; reordered packets overtake delayed ones, so they need a delay.
        rate: bit/s.

    Raises:
        UsageError: the node's kernel has no netem, or the values make no sense.
    """
    planned = _planned(lab, node)
    if Need.NETEM not in planned.needs:
        able = [each.name for each in lab.plan.nodes if Need.NETEM in each.needs]
        raise UsageError(
            f"impaired link: the kernel of '{node}' was not asked for netem; {f'these were: {able}' if able else 'no node was'}"
        )
    words = _netem_words(delay, jitter, loss, duplicate, reorder, rate)
    interfaces = _interfaces(lab, planned, network)
    machine = lab.node(node)

    def impair() -> None:
        lines = [f"tc qdisc replace dev {each} root netem limit 100000 {words}" for each in interfaces]
        machine.run("set -e\n" + "\n".join(lines)).check(node, f"tc … netem {words}")

    def shown() -> str | None:
        out = [machine.run(f"tc qdisc show dev {each}").out.strip() for each in interfaces]
        return "; ".join(out) if all("netem" in each for each in out) else None

    with _broken(lab, node, f"{node}: netem {words} on {', '.join(interfaces)}", impair, shown) as fault:
        yield fault
        seen = machine.run(f"tc -s qdisc show dev {interfaces[0]}").out.strip().splitlines()
    with _mending(lab, node, f"{node}: links as before; netem saw: {' '.join(seen[1].split()) if len(seen) > 1 else 'nothing'}"):
        machine.run("\n".join(f"tc qdisc del dev {each} root" for each in interfaces)).check(node, "tc qdisc del")


@contextmanager
def small_mtu(lab: Lab, node: str, mtu: int, network: str | None = None) -> Iterator[Fault]:
    """A node's links carry only packets of `mtu` bytes, as it knows itself."""
    if not 68 <= mtu <= 65535:
        raise UsageError(f"mtu {mtu}: IPv4 takes 68 to 65535 bytes (RFC 791)")
    planned = _planned(lab, node)
    interfaces = _interfaces(lab, planned, network)
    machine = lab.node(node)

    def read() -> str:
        return machine.run("\n".join(f"cat /sys/class/net/{each}/mtu" for each in interfaces)).check(node, "cat mtu")

    before = read().split()

    def limit(values: Sequence[str]) -> None:
        lines = [f"ip link set {each} mtu {value}" for each, value in zip(interfaces, values, strict=True)]
        machine.run("\n".join(lines)).check(node, f"ip link set mtu {mtu}")

    def shown() -> str | None:
        return f"mtu {mtu}" if set(read().split()) == {str(mtu)} else None

    with _broken(
        lab, node, f"{node}: MTU {mtu} on {', '.join(interfaces)}", lambda: limit([str(mtu)] * len(interfaces)), shown
    ) as fault:
        yield fault
    with _mending(lab, node, f"{node}: MTU as before"):
        limit(before)


@contextmanager
def partition(lab: Lab, nodes: Sequence[str], network: str | None = None) -> Iterator[Fault]:
    """Some nodes are cut off from all others but not from each other, in all networks or in one; no node sees its link go.

    Their ports move to a second bridge, as if the cable between two switches broke.
    """
    chosen = [_planned(lab, node) for node in nodes]
    if not chosen or len(chosen) == len(lab.plan.nodes):
        raise UsageError(f"partition: {len(chosen)} of {len(lab.plan.nodes)} nodes on one side; each side needs one")
    moves: dict[str, list[str]] = {}
    for planned in chosen:
        for each in planned.interfaces:
            if network in (None, each.network):
                moves.setdefault(each.network, []).append(_switch_end(lab, each.name))
    if not moves:
        raise UsageError(
            f"partition: none of {', '.join(nodes)} is in network '{network}'; networks: {', '.join(lab.plan.networks)}"
        )
    ports = [port for each in moves.values() for port in each]

    def cut() -> None:
        lines = [f"link add {switch}-cut type bridge mcast_snooping 0\nlink set {switch}-cut up" for switch in moves]
        _ip_batch([*lines, *(f"link set {port} master {switch}-cut" for switch, own in moves.items() for port in own)])

    def masters() -> list[str]:
        return [_master_of(port) for port in ports]

    def apart() -> str | None:
        return f"{', '.join(ports)} on another bridge" if all(each.endswith("-cut") for each in masters()) else None

    where = ", ".join(nodes)
    with _broken(lab, nodes[0], f"partition: {where} cut off from the others", cut, apart) as fault:
        yield fault
    with _mending(lab, nodes[0], f"partition over: {where} joined again"):
        _ip_batch([f"link set {port} master {switch}" for switch, own in moves.items() for port in own])
        _ip_batch([f"link del {switch}-cut" for switch in moves])
        _wait(lambda: not any(each.endswith("-cut") for each in masters()), f"partition: {where} do not come back")


# -- directors -----------------------------------------------------------------------------------------------------------------------


@contextmanager
def director_power_cut(lab: Lab, director: str) -> Iterator[Fault]:
    """The director's kernel is killed at once, as by a power cut; on leaving it boots again, with no memory of its connections."""
    _own_kernel(lab, director)
    with _power_cut(lab, director, f"{director}: power cut") as fault:
        yield fault


@contextmanager
def director_panic(lab: Lab, director: str) -> Iterator[Fault]:
    """The director's kernel panics (SysRq c); on leaving it boots again."""
    guest = _own_kernel(lab, director)

    def panic() -> None:
        lab.expect_death(director)
        guest.agent.start("echo 1 >/proc/sys/kernel/sysrq; echo c >/proc/sysrq-trigger", guest.take_line()[0])

    def dead() -> str | None:
        return None if guest.alive else guest.last_words().partition(" (console")[0]

    with _broken(lab, director, f"{director}: kernel panic", panic, dead) as fault:
        yield fault
    with _mending(lab, director, f"{director}: booted again"):
        lab.power_on(director)


@contextmanager
def director_hung(lab: Lab, director: str) -> Iterator[Fault]:
    """The director's kernel stands still (SIGSTOP) and goes on later, still believing that it is the master."""
    guest = _own_kernel(lab, director)
    with _broken(
        lab, director, f"{director}: hung", guest.freeze, lambda: "its process is stopped" if guest.frozen else None
    ) as fault:
        try:
            yield fault
        finally:
            if guest.frozen:
                began = time.time()
                guest.thaw()
                lab.tell("repair", f"{director}: goes on where it stood", director, began)
    _wait(lambda: not guest.frozen, f"{director}: does not go on")


@contextmanager
def handed_over(lab: Lab, director: str) -> Iterator[Fault]:
    """A planned hand-over: the director's VRRP daemon ends orderly and so tells the other one to take over; on leaving it is started again."""
    _planned(lab, director, Role.DIRECTOR)
    if lab.plan.redundancy is None:
        raise UsageError(f"hand-over: '{director}' has no partner; it needs a pair of directors")

    def stop() -> None:
        lab.stop_control(director)

    text = f"{director}: planned hand-over (keepalived stopped)"
    with _broken(lab, director, text, stop, lambda: "keepalived has ended" if not lab.is_controlled(director) else None) as fault:
        yield fault
    with _mending(lab, director, f"{director}: keepalived started again"):
        lab.start_control(director)


# -- the table -----------------------------------------------------------------------------------------------------------------------


@contextmanager
def weight_zero(lab: Lab, server: str, port: int = HTTP_PORT, protocol: str = "TCP") -> Iterator[Fault]:
    """An operator drains a server: weight 0 in a service, in every director."""

    def drain(table: Ipvsadm, service: VirtualService, entry: RealServer) -> None:
        table.edit_server(service, replace(entry, weight=0))

    def drained(entry: RealServer | None) -> bool:
        return entry is not None and entry.weight == 0

    with _edited(lab, server, (protocol, port), f"{server}: weight 0", drain, Ipvsadm.edit_server, drained) as fault:
        yield fault


@contextmanager
def server_removed(lab: Lab, server: str, port: int = HTTP_PORT, protocol: str = "TCP") -> Iterator[Fault]:
    """An operator removes a server from a service, in every director."""

    def absent(entry: RealServer | None) -> bool:
        return entry is None

    text = f"{server}: removed from the table"
    with _edited(lab, server, (protocol, port), text, Ipvsadm.delete_server, Ipvsadm.add_server, absent) as fault:
        yield fault


@contextmanager
def table_flushed(lab: Lab, director: str | None = None) -> Iterator[Fault]:
    """An operator flushes the whole table (`ipvsadm -C`)."""
    name = director or lab.plan.director.name
    _planned(lab, name, Role.DIRECTOR)
    table = lab.table(name)
    before = table.save()
    with _broken(
        lab, name, f"{name}: table flushed", table.clear, lambda: None if table.save() else "the table is empty"
    ) as fault:
        yield fault
    with _mending(lab, name, f"{name}: table restored"):
        table.restore(before)


_Edit = Callable[[Ipvsadm, VirtualService, RealServer], None]


@contextmanager
def _edited(
    lab: Lab, server: str, where: tuple[str, int], text: str, edit: _Edit, undo: _Edit, gone: Callable[[RealServer | None], bool]
) -> Iterator[Fault]:
    planned = _planned(lab, server, Role.REAL_SERVER)
    tables = [lab.table(each.name) for each in lab.plan.directors]
    service, entry = _entry(lab.plan.services, planned.ip, *where)

    def found() -> list[RealServer | None]:
        saved = [next((each for each in table.save() if each.name == service.name), None) for table in tables]
        return [next((each for each in one.real_servers if each.name == entry.name), None) if one else None for one in saved]

    def done() -> str | None:
        return f"so it stands in {len(tables)} table(s)" if all(gone(each) for each in found()) else None

    def edit_all() -> None:
        for table in tables:
            edit(table, service, entry)

    with _broken(lab, server, text, edit_all, done) as fault:
        yield fault
    with _mending(lab, server, f"{server}: back in the table as before"):
        for table in tables:
            undo(table, service, entry)


def _entry(services: Sequence[VirtualService], address: str, protocol: str, port: int) -> tuple[VirtualService, RealServer]:
    for service in services:
        if service.port == port and str(service.protocol).upper() == protocol.upper():
            for entry in service.real_servers:
                if entry.address == address:
                    return service, entry
    names = ", ".join(service.name for service in services)
    raise UsageError(f"fault: no {protocol} service on port {port} has the real server {address}; services: {names}")


# -- shared --------------------------------------------------------------------------------------------------------------------------


@contextmanager
def _broken(lab: Lab, node: str, text: str, break_it: Callable[[], object], proof: Callable[[], str | None]) -> Iterator[Fault]:
    """Break, wait for the proof, tell it."""
    began = time.time()
    break_it()
    seen = _wait(proof, f"fault '{text}' does not show")
    lasted = time.time() - began
    lab.tell("fault", f"{text} ({seen})", node, began)
    yield Fault(node, text, began, str(seen), lasted)


@contextmanager
def _mending(lab: Lab, node: str, text: str) -> Iterator[None]:
    began = time.time()
    yield
    lab.tell("repair", text, node, began)


@contextmanager
def _power_cut(lab: Lab, node: str, text: str) -> Iterator[Fault]:
    with _broken(lab, node, text, lambda: lab.power_off(node), lambda: None if lab.is_on(node) else "no power") as fault:
        yield fault
    with _mending(lab, node, f"{node}: powered on, booted and set up"):
        lab.power_on(node)


def _wait(condition: Callable[[], object], problem: str) -> object:
    """What the condition says when it holds.

    Raises:
        LabError: it does not hold in time.
    """
    deadline = time.monotonic() + _PROOF_SECONDS
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise LabError(f"{problem} within {_PROOF_SECONDS:g} s")
        time.sleep(_LOOK)
    return value


def _planned(lab: Lab, node: str, role: Role | None = None) -> NodePlan:
    fitting = [each for each in lab.plan.nodes if role in (None, each.role)]
    found = next((each for each in fitting if each.name == node), None)
    if found is None:
        names = ", ".join(each.name for each in fitting)
        raise UsageError(f"fault: there is no {role or 'node'} '{node}' in lab '{lab.plan.name}'; choose from: {names}")
    return found


def _own_kernel(lab: Lab, director: str) -> UmlGuest:
    _planned(lab, director, Role.DIRECTOR)
    guest = lab.guest(director)
    if guest is None:
        raise UsageError(
            f"fault: '{director}' runs on the machine's own kernel, which cannot be cut off or stopped; give it one of its own: --kernel uml"
        )
    return guest


def _interfaces(lab: Lab, planned: NodePlan, network: str | None) -> list[str]:
    found = [each.name for each in planned.interfaces if network in (None, each.network)]
    if not found:
        own = ", ".join(each.network for each in planned.interfaces)
        raise UsageError(f"fault: '{planned.name}' has no link to '{network}'; it has links to: {own}")
    return found


def _switch_end(lab: Lab, interface: str) -> str:
    for link in lab.net.links:
        ends = {link.intf1.name: link.intf2.name, link.intf2.name: link.intf1.name}
        if interface in ends:
            return str(ends[interface])
    raise LabError(f"{interface}: belongs to no link of the lab")


def _ip_batch(lines: Sequence[str]) -> None:
    done = subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"ip {'; '.join(lines)}: {done.stderr.strip()}")


def _master_of(port: str) -> str:
    done = subprocess.run(["ip", "-o", "link", "show", "dev", port], capture_output=True, text=True, check=True)
    return done.stdout.partition(" master ")[2].split()[0]


def _netem_words(delay: float, jitter: float, loss: float, duplicate: float, reorder: float, rate: float) -> str:
    shares: Mapping[str, float] = {"loss": loss, "duplicate": duplicate, "reorder": reorder}
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise UsageError(f"impaired link: {name} {share:g} is no share; give 0 to 1")
    if min(delay, jitter, rate) < 0:
        raise UsageError("impaired link: delay, jitter and rate are not negative")
    if reorder and not delay:
        raise UsageError("impaired link: reordered packets overtake delayed ones; give a delay too")
    words = []
    if delay or jitter:
        words.append(f"delay {delay * 1000:g}ms" + (f" {jitter * 1000:g}ms" if jitter else ""))
    words += [f"{name} {share:.4%}" for name, share in shares.items() if share]
    if rate:
        words.append(f"rate {rate:.0f}bit")
    if not words:
        raise UsageError("impaired link: nothing is impaired; give delay, loss, duplicate, reorder or rate")
    return " ".join(words)


class _Program:
    """The web server of a real server."""

    def __init__(self, lab: Lab, server: str) -> None:
        _planned(lab, server, Role.REAL_SERVER)
        self.node, self._guest = lab.node(server), lab.guest(server) is not None
        self.refresh()

    def refresh(self) -> None:
        """Read its process number anew: it was started again."""
        try:
            self.pid = int((self.node.directory / "nginx.pid").read_text())
        except (OSError, ValueError):
            raise LabError(f"{self.node.name}: its web server does not run; repair it first") from None

    def state(self) -> str | None:
        """Its state as proc(5) has it ("S", "T", …), or None if it is gone."""
        script = f'read -r line </proc/{self.pid}/stat && echo "${{line##*) }}"'
        if self._guest:
            out = self.node.run(script).out
        else:
            out = ""
            with suppress(OSError):
                out = Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2]
        state = out[:1]
        return None if state in ("", "Z", "X") else state

    def send(self, sig: signal.Signals) -> None:
        """Send it a signal."""
        if self._guest:
            self.node.run(shlex.join(["kill", f"-{int(sig)}", str(self.pid)])).check(self.node.name, "kill")
        else:
            with suppress(ProcessLookupError):
                os.kill(self.pid, sig)


class _Background:
    """A thread that goes on breaking things until the block is left; what it raises is raised there."""

    def __init__(self, name: str) -> None:
        self._name, self.ending = name, threading.Event()
        self._thread: threading.Thread | None = None
        self._problem: BaseException | None = None

    def start(self, work: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                work()
            except BaseException as problem:
                self._problem = problem

        self._thread = threading.Thread(target=guarded, name=self._name, daemon=True)
        self._thread.start()

    def __enter__(self) -> _Background:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self.ending.set()
        if self._thread:
            self._thread.join()
        if self._problem and error is None:
            raise self._problem
