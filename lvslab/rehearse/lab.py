"""A rehearsal at work: the plan carried out, servers answering, the user's own daemons running
on the user's own files.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path, PurePath
from types import TracebackType

from lvslab import events
from lvslab.control.base import ControlFile
from lvslab.errors import CommandError, GuestError, LabError, UsageError
from lvslab.events import Listener
from lvslab.host import linux
from lvslab.host.scripts import guest_file
from lvslab.ipvs.ipvsadm import Ipvsadm
from lvslab.ipvs.proc import read_weights
from lvslab.ipvs.service import VirtualService
from lvslab.lab.daemon import Daemon
from lvslab.lab.lab import Lab
from lvslab.lab.nodes import LabHost, LabMachine
from lvslab.modes.base import Ip
from lvslab.rehearse.director import Director, Manager
from lvslab.rehearse.farm import Farm, State
from lvslab.rehearse.said import REFUSED, complaints, refusal
from lvslab.rehearse.seats import SERVERS, TUNNELS
from lvslab.rehearse.stage import USERS, Stage
from lvslab.rehearse.sysctls import set_sysctls

_LOOK_SECONDS = 0.1

_KEEPALIVED = "keepalived --dont-fork --log-console --log-detail --no-syslog --dont-release-ipvs"


_ORDERLY_SECONDS = 20.0
"""For a daemon's end on SIGTERM, on a busy machine: one that is killed takes no leave of VRRP, and
leaves its table and process numbers behind.
"""

_READINGS = 5
"""So often a table that contradicts itself is read."""


def steady(read: Callable[[], tuple[VirtualService, ...]]) -> tuple[VirtualService, ...]:
    """A table that does not contradict itself.

    Raises:
        CommandError: it cannot be read.
        GuestError: its kernel is dead.
        LabError: it still does after some readings.
    """
    for _ in range(_READINGS - 1):
        try:
            return read()
        except (CommandError, GuestError):
            raise
        except LabError:
            time.sleep(_LOOK_SECONDS)
    return read()


class RehearsalLab:
    """A running rehearsal, as a context manager that leaves nothing behind.

    Attributes:
        stage: what was decided.
        lab: the lab below.
        notes: sentences about what could not be as the files say.
    """

    def __init__(self, stage: Stage, logs: Path, listener: Listener = events.nobody) -> None:
        self.stage, self._logs = stage, logs
        self.lab = Lab(stage.lab, logs, listener)
        self.notes: dict[str, None] = {}
        self._farms: dict[str, Farm] = {}
        self._daemons: dict[str, Daemon] = {}
        self._stack = ExitStack()

    # -- life --------------------------------------------------------------------------------------

    def __enter__(self) -> RehearsalLab:
        with ExitStack() as stack:
            stack.enter_context(self.lab)
            for name in (SERVERS, *(director.name for director in self.stage.directors)):
                listeners = [listener for listener in self.stage.listeners if listener.node == name]
                if listeners:
                    farm = Farm(self.node(name), listeners, self._logs)
                    self._farms[name] = stack.enter_context(farm)
            for director in self.stage.directors:
                self._install(director, director.files)
            for director in self.stage.directors:
                self.start(director)
                stack.callback(self.stop, director.name)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def check(self) -> None:
        """Make sure that what should run does.

        Raises:
            LabError: a guest, a daemon or the servers have ended unasked.
            UsageError: a daemon has refused its file.
        """
        self.lab.check()
        for name, farm in self._farms.items():
            if self.lab.is_on(name):
                farm.check()
        for name, daemon in self._daemons.items():
            if not self.lab.is_on(name):
                continue
            try:
                daemon.check()
            except LabError:
                why = refusal(text for _, text in daemon.lines)
                if why:
                    raise UsageError(f"{name}: {daemon.name} refuses its file: {why}") from None
                raise

    def until(self, condition: Callable[[], bool], seconds: float, between: float = _LOOK_SECONDS) -> bool:
        """Wait until a condition holds; returns whether it did within `seconds`. A look that takes
        long, such as at large tables, is taken no more than half of the time.

        Args:
            between: seconds between two looks, at least.
        """
        deadline = time.monotonic() + seconds
        while True:
            began = time.monotonic()
            if holds := condition():
                return holds
            now = time.monotonic()
            if now >= deadline:
                return holds
            self.check()
            time.sleep(min(max(between, now - began), max(0.0, deadline - now)))

    # -- nodes -------------------------------------------------------------------------------------

    def node(self, name: str) -> LabMachine:
        return self.lab.node(name)

    @property
    def users(self) -> LabHost:
        return self.lab.node(USERS)

    def table(self, director: str) -> tuple[VirtualService, ...]:
        """What stands in a director's table. The kernel lists it in pieces
        (ip_vs_genl_dump_dests in ip_vs_ctl.c), so that one which a daemon changes meanwhile may
        show a server twice: that is read again.
        """
        return steady(Ipvsadm(self.node(director)).save)

    def weights(self, director: str) -> dict[tuple[str, str], int]:
        """(service, server) → weight, of a director's table: a look that costs its guest little."""
        said = self.node(director).run("cat /proc/net/ip_vs").check(director, "cat /proc/net/ip_vs")
        return read_weights(said.splitlines())

    def release(self, director: str) -> str:
        """Of its kernel (uname(1), -r)."""
        return self.node(director).run("uname -r").check(director, "uname").strip()

    def complaints(self, director: Director) -> list[str]:
        """What its daemon has to say about its file, a sentence each."""
        daemon = self._daemons.get(director.name)
        found = complaints(text for _, text in daemon.lines) if daemon else []
        return [f"{director.name}: {director.manager.value} says: {line}" for line in found]

    def program(self, director: Director) -> str:
        """What makes its table, as it says of itself: "Keepalived v2.2.7 (01/16,2022)"."""
        command = f"{director.manager.value} --version 2>&1 | head -n 1"
        return self.node(director.name).run(command).check(director.name, "its version").strip()

    def holders(self) -> dict[str, tuple[str, ...]]:
        """Each address that moves between directors → those that have it."""
        moving = {address.partition("/")[0] for one in self.stage.directors for _, address, _ in one.moving()}
        held: dict[str, list[str]] = {address: [] for address in sorted(moving)}
        for director in self.stage.directors if moving else ():
            if self.lab.is_on(director.name):
                for line in (
                    self.node(director.name).run("ip -o address").check(director.name, "ip").splitlines()
                ):
                    words = line.split()
                    address = words[3].partition("/")[0] if len(words) > 3 else ""
                    if address in held and words[1] != "lo":
                        held[address].append(director.name)
        return {address: tuple(names) for address, names in held.items()}

    # -- the user's daemons ------------------------------------------------------------------------

    def _install(self, director: Director, files: Mapping[str, str]) -> None:
        """Put files where they are on the user's machine, and stand-ins for scripts that are not
        there; set the kernel's parameters.
        """
        node = self.node(director.name)
        folder = node.make_folder("files")
        lines = []
        for number, (path, text) in enumerate(files.items()):
            (folder / str(number)).write_text(text)
            target = shlex.quote(path)
            lines.append(f"mkdir -p {shlex.quote(str(PurePath(path).parent))}")
            lines.append(f"cp {shlex.quote(str(node.inside / 'files' / str(number)))} {target}")
        for script in director.scripts:
            lines.append(_stand_in(script, node.inside / "files"))
        node.run("\n".join(lines)).check(director.name, "the user's files")
        refused = set_sysctls(node, director.sysctls)
        if refused:
            self.notes[f"{director.name}: {refused}"] = None

    def start(self, director: Director) -> None:
        """Start what builds a director's table.

        Raises:
            UsageError: its rules are refused.
        """
        node = self.node(director.name)
        if director.iptables:
            program = self.stage.lab.iptables.get(director.name) or "iptables"
            script = f"{program}-restore --noflush <<'END'\n{director.iptables}\nEND"
            self._take(director, "iptables-restore", script)
        if director.manager == Manager.RULES:
            script = f"ipvsadm -R <<'END'\n{director.files[director.main]}\nEND"
            self._take(director, "ipvsadm -R", script)
            return
        command = self._command(director, self._inside(director))
        daemon = Daemon(node, director.manager.value, command, {"README": _NOTE}, self._logs)
        self._daemons[director.name] = daemon
        daemon.start()

    def _take(self, director: Director, program: str, script: str) -> None:
        """Have a program read the user's rules.

        Raises:
            UsageError: it refuses them.
        """
        done = self.node(director.name).run(script)
        if done.code:
            said = "; ".join(done.out.split("\n")).strip("; ") or f"it ended with {done.code}"
            raise UsageError(f"{director.name}: {program} refuses the rules: {said}")

    def _command(self, director: Director, inside: PurePath) -> str:
        main = shlex.quote(director.main)
        if director.manager == Manager.LDIRECTORD:
            return f"exec ldirectord -d {main} start"
        identity = f" --config-id={shlex.quote(director.config_id or director.name)}"
        test = f"keepalived --config-test --use-file={main}{identity}"
        pids = " ".join(
            f"--{name}={inside}/{name}" for name in ("pid", "checkers_pid", "vrrp_pid", "bfd_pid")
        )
        run = f"exec {_KEEPALIVED} --use-file={main}{identity} {pids}"
        return f"{test}; case $? in 0|5|6) {run};; esac; echo {REFUSED}; exit 4"

    def take_over(self, directors: Sequence[Director]) -> None:
        """Other files count from now on; nothing is told to the daemons yet."""
        for director in directors:
            self._install(director, director.files)
        self.stage = replace(self.stage, directors=tuple(directors))

    def reload(self) -> None:
        """Tell every daemon to read its files again, as an operator does: SIGHUP (keepalived(8),
        ldirectord(8)), or `ipvsadm -R` on the table that is there.

        Raises:
            LabError: a daemon ended of it, or the rules were refused.
        """
        for director in self.stage.directors:
            if director.manager is Manager.RULES:
                self.node(director.name).run("ipvsadm -C").check(director.name, "ipvsadm -C")
                self.start(director)
            else:
                script = f"kill -HUP $(pidof -s -o %PPID {director.manager.value})"
                if director.manager is Manager.KEEPALIVED:
                    script = f"kill -HUP $(cat {self._inside(director)}/pid)"
                self.node(director.name).run(script).check(director.name, "SIGHUP")
        self.check()

    def start_anew(self) -> None:
        """Every daemon ends, every table is emptied, and all begins from the files."""
        for director in self.stage.directors:
            self.stop(director.name)
            self.node(director.name).run("ipvsadm -C").check(director.name, "ipvsadm -C")
        for director in self.stage.directors:
            self.start(director)

    def _inside(self, director: Director) -> PurePath:
        """The folder of its daemon, as the director sees it."""
        return self.node(director.name).inside / director.manager.value

    def come_back(self, director: Director) -> None:
        """A director that lost power boots again, and its daemons with it."""
        self.lab.power_on(director.name)
        listeners = [listener for listener in self.stage.listeners if listener.node == director.name]
        if listeners:
            farm = Farm(self.node(director.name), listeners, self._logs)
            self._farms[director.name] = self._stack.enter_context(farm)
        self._install(director, director.files)
        self.start(director)

    def stop(self, director: str) -> None:
        """End a director's daemon orderly; in a dead one nothing is waited for."""
        daemon = self._daemons.get(director)
        if daemon is not None:
            daemon.stop(_ORDERLY_SECONDS)

    # -- breaking ----------------------------------------------------------------------------------

    def put(self, state: State, servers: Iterable[str]) -> None:
        """Kill, hang or mend servers by their names."""
        names = tuple(servers)
        for name, farm in self._farms.items():
            if self.lab.is_on(name):
                farm.put(state, names)

    def power(self, addresses: Sequence[str], on: bool) -> None:
        """Switch servers' machines off, which is silence, or on again.

        Raises:
            LabError: one stands on a director.
        """
        seats = [self.stage.seats[address] for address in addresses]
        local = next((seat for seat in seats if seat.device is None), None)
        if local:
            raise LabError(
                f"{local.address}: stands on director {local.node}, and cannot be switched off alone"
            )
        others = (seat for seat in self.stage.seats.values() if seat.of in addresses and seat.device)
        devices = {str(seat.device) for seat in (*seats, *others)}
        node = self.node(SERVERS)
        with linux.network_of(node.pid):
            for device in devices:
                linux.set_link_up(device, up=on)
        if on:
            script = "ip -batch - <<'END'\n" + "\n".join(self._again(devices)) + "\nEND"
            node.run(script).check(SERVERS, "servers come back")
        tunnelled = [seat.address for seat in seats if seat.tunnel]
        if tunnelled:  # their addresses are the unwrapping guest's
            rule = "-D" if on else "-I"
            program = self.stage.lab.iptables.get(TUNNELS) or "iptables"
            lines = [f"{program} -t raw {rule} PREROUTING -d {address} -j DROP" for address in tunnelled]
            self.node(TUNNELS).run(" && ".join(lines)).check(TUNNELS, "servers behind tunnels")

    def _again(self, devices: Set[str]) -> Iterator[str]:
        """Addresses and routes of servers' cards, which may have gone when their links did, for
        `ip -batch`.
        """
        for step in self.stage.lab.node(SERVERS).network_steps:
            for action in step.actions:
                if isinstance(action, Ip) and " add " in action.arguments:
                    _, _, device = action.arguments.partition(" dev ")
                    if device.partition(" ")[0] in devices:
                        yield action.arguments.replace(" add ", " replace ", 1)


_NOTE = ControlFile(
    "The daemon of this director reads its files from where they are on the user's machine.\n"
)


def _stand_in(script: str, log: PurePath) -> str:
    """A line that puts a recorded stand-in where a script is missing."""
    path = shlex.quote(script)
    text = guest_file("lvslab.rehearse", "stand_in.bash").replace("@LOG@", str(log / "calls"))
    return (
        f"[ -e {path} ] || {{ mkdir -p {shlex.quote(str(PurePath(script).parent))}; "
        f"printf %s {shlex.quote(text)} >{path}; chmod 755 {path}; }}"
    )
