"""A running lab in virtual time: directors are real kernels, all else around them is simulated."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from types import TracebackType

from lvslab.catalog import catalog
from lvslab.errors import CannotError, GuestError, LabError, UsageError
from lvslab.events import Event, Listener
from lvslab.host import sandbox
from lvslab.host.completed import Completed
from lvslab.ipvs.ipvsadm import Ipvsadm
from lvslab.kernels import initramfs
from lvslab.kernels.virtual_time import VirtualTimeKernel
from lvslab.lab.director import DaemonPlan, DirectorControl, StateListener
from lvslab.lab.pair import Directors
from lvslab.lab.worlds import TableListener
from lvslab.modes.base import Ip, Role, Step, set_up_script
from lvslab.plan.plan import LabPlan, NodePlan
from lvslab.runs.words import plural
from lvslab.simulation.calendar import Calendar
from lvslab.simulation.labs.clock import VirtualClock
from lvslab.simulation.labs.daemon import VirtualDaemon
from lvslab.simulation.labs.links import VirtualLinks
from lvslab.simulation.labs.watch import VirtualWatch
from lvslab.simulation.labs.wiring import WebServer, Wiring
from lvslab.simulation.machine import Machine

MEMORY_MIB = 128
"""Of a director: health daemons in Perl need more than keepalived."""

_PANIC_SECONDS = 5.0


class DirectorNode:
    """A director, in which commands can be run."""

    def __init__(self, machine: Machine) -> None:
        self.machine, self.name = machine, machine.name
        self.inside = Path(initramfs.SHARE)

    @cached_property
    def release(self) -> str:
        """Of its kernel, as it says itself."""
        return self.run("uname -r").check(self.name, "uname -r").strip()

    def run(self, script: str, *, timeout: float = 30.0) -> Completed:
        """Run a /bin/sh script to its end, while time passes.

        Raises:
            GuestError: it took longer than `timeout` seconds of virtual time, or its kernel is off.
        """
        return self.machine.command(script, timeout)


class SimulatedNode:
    """A machine without a kernel."""

    release = "simulated"

    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, script: str, *, timeout: float = 30.0) -> Completed:
        """
        Raises:
            CannotError: always.
        """
        raise CannotError(
            f"{self.name}: is simulated, so it runs no command: {script.strip().splitlines()[0]}; run it in"
            " real time: --time real"
        )


class VirtualLab:
    """A `lvslab.lab.worlds.AnyLab` whose time is a calendar's.

    Attributes:
        plan: what was asked for.
        clock, calendar: its time.
        wiring: its network.
        start_seconds, stop_seconds: what the start and the tear-down took, of this machine's time.
    """

    def __init__(
        self, plan: LabPlan, logs: Path, listener: Listener, *, seed: int, began: int = 0, keep: bool = False
    ) -> None:
        """
        Args:
            logs: existing folder for the guests' consoles and `commands.sh`.
            began: when it begins, in nanoseconds since the epoch.
            keep: keep the frames, for a capture.
        """
        self.plan, self._logs, self._listener, self._seed = plan, logs, listener, seed
        self.start_seconds: float | None = None
        self.stop_seconds: float | None = None
        self.calendar = Calendar()
        self.clock = VirtualClock(self.calendar, began)
        self.wiring = Wiring(plan, self.calendar, seed, keep=keep)
        self._directory = sandbox.PRIVATE_DIRECTORY / f"{plan.name}-{time.monotonic_ns():x}"
        self._machines = {node.name: self._machine(node) for node in plan.directors}
        self._nodes: dict[str, DirectorNode | SimulatedNode] = {
            node.name: (
                DirectorNode(self._machines[node.name]) if node.is_guest else SimulatedNode(node.name)
            )
            for node in plan.nodes
        }
        self._directors = Directors(plan, self._control, self.tell)
        self._off: set[str] = set()
        self._stack = ExitStack()

    def _machine(self, node: NodePlan) -> Machine:
        kernel = catalog.find(node.kernel)
        if not isinstance(kernel, VirtualTimeKernel):
            raise UsageError(
                f"{node.name}: kernel '{node.kernel}' does not know virtual time; make one that does: lvslab"
                " kernels build TREE --virtual-time"
            )
        return Machine(
            self.calendar,
            kernel,
            1 + [director.name for director in self.plan.directors].index(node.name),
            node.name,
            self._directory / node.name,
            self._logs / f"{node.name}.console",
            cards=self.wiring.cards[node.name],
            seed=self._seed,
            memory_mib=MEMORY_MIB,
        )

    # -- life --------------------------------------------------------------------------------------

    def __enter__(self) -> VirtualLab:
        began = time.monotonic()
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        self.start_seconds = time.monotonic() - began
        self.tell("ready", f"lab ready after {self.calendar.now / 1e9:.2f} s of virtual time")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        began = time.monotonic()
        self._stack.close()
        self.stop_seconds = time.monotonic() - began

    def _start(self) -> None:
        plan = self.plan
        (self._logs / "commands.sh").write_text("\n".join(plan.commands()) + "\n")
        self._directory.mkdir(parents=True)
        count = plural(len(self._machines), "guest kernel")
        self.tell("boot", f"{plan.mode.title}: booting {count} in virtual time, seed {self._seed}")
        for machine in self._machines.values():
            self._stack.callback(machine.power_off)
            machine.boot()
        for director in plan.directors:
            self._set_up(director)
        self._directors.start(plan.directors)

    def _set_up(self, director: NodePlan) -> None:
        machine = self._machines[director.name]
        machine.wait_ready()
        steps = (_names(director), *director.network_steps, *director.mode_steps)
        script = set_up_script(steps, self.plan.iptables.get(director.name))
        machine.command(_PREPARE + script).check(director.name, "set-up")
        if self.plan.tables and not self.plan.health.builds_table:
            self.table(director.name).restore(self.plan.services)

    def _control(self, director: str, listener: StateListener) -> DirectorControl:
        machine = self._machines[director]

        def run(daemon: DaemonPlan, hear: Callable[[float, str], None]) -> VirtualDaemon:
            return VirtualDaemon(machine, self.clock, daemon, self._logs, hear)

        return DirectorControl(self.plan, director, Path(initramfs.SHARE), run, listener)

    def now(self) -> float:
        """Seconds since the epoch, of virtual time."""
        return self.clock.now()

    def tell(self, kind: str, text: str, node: str = "", t: float | None = None) -> None:
        """Report an event, of now or of the time `t`, in the whole lab or at one node."""
        self._listener(Event(self.plan.name, kind, text, self.now() if t is None else t, node))

    def check(self) -> None:
        """Raise LabError if a daemon has ended unasked; a kernel that died has said so itself."""
        self._directors.check(spare=self._off)

    # -- nodes -------------------------------------------------------------------------------------

    def node(self, name: str) -> DirectorNode | SimulatedNode:
        return self._nodes[name]

    @property
    def director(self) -> DirectorNode | SimulatedNode:
        return self.node(self.plan.director.name)

    @property
    def clients(self) -> Sequence[SimulatedNode]:
        return [SimulatedNode(node.name) for node in self.plan.of_role(Role.CLIENT)]

    @property
    def servers(self) -> Sequence[SimulatedNode]:
        return [SimulatedNode(node.name) for node in self.plan.of_role(Role.REAL_SERVER)]

    def web_server(self, name: str) -> WebServer:
        """The web server of a real server.

        Raises:
            LabError: none runs there.
        """
        server = self.wiring.web_servers[name]
        if server.state is None:
            raise LabError(f"{name}: its web server does not run; repair it first")
        return server

    @property
    def links(self) -> VirtualLinks:
        return VirtualLinks(self.plan, self.wiring, lambda name, script: self._machines[name].command(script))

    # -- directors ---------------------------------------------------------------------------------

    @property
    def ipvsadm(self) -> Ipvsadm:
        """ipvsadm in the director, the first one of a pair."""
        return Ipvsadm(self.director)

    def table(self, director: str) -> Ipvsadm:
        """ipvsadm in one of the directors."""
        return Ipvsadm(self.node(director))

    def watch(self, director: str, listener: TableListener) -> VirtualWatch:
        """Watch a director's table while the block is entered."""
        return VirtualWatch(self._machines[director], self.clock, listener)

    def vrrp_state(self, director: str) -> str:
        """ "MASTER", "BACKUP" or "FAULT" as the director's keepalived said last, "" before."""
        return self._directors.state(director)

    @property
    def master(self) -> str:
        """The director that holds the virtual address.

        Raises:
            LabError: none does at the moment.
        """
        return self._directors.master(self.is_on)

    def stop_control(self, director: str) -> None:
        """End the daemons of a director orderly."""
        self._directors[director].stop()

    def start_control(self, director: str) -> None:
        """Start them again.

        Raises:
            LabError: one did not start.
        """
        self._directors[director].start()

    def is_controlled(self, director: str) -> bool:
        """Whether any daemon of a director runs."""
        return self._directors[director].running

    # -- power -------------------------------------------------------------------------------------

    def power_off(self, name: str) -> None:
        """Cut a node's power: what ran in it is gone at once, and its links are silent."""
        self._off.add(name)
        if name in self._machines:
            self._machines[name].power_off()
        else:
            self.wiring.hosts[name].power_off()

    def power_on(self, name: str) -> None:
        """Switch a node on again: it comes up configured as at first, and remembers nothing."""
        if name in self._machines:
            planned = self.plan.node(name)
            self._machines[name].boot()
            self._set_up(planned)
            self._directors.start([planned])
        else:
            self.wiring.power_on(name)
        self._off.discard(name)

    def is_on(self, name: str) -> bool:
        """Whether a node has power and, if it has a kernel, that lives."""
        return self._machines[name].on if name in self._machines else self.wiring.hosts[name].up

    def panic(self, name: str) -> None:
        """Let a director's kernel panic (SysRq c), and be off from then on.

        Raises:
            LabError: it goes on.
        """
        machine = self._kernel_of(name)
        self._off.add(name)
        machine.submit("echo 1 >/proc/sys/kernel/sysrq; echo c >/proc/sysrq-trigger", lambda done: None)
        try:
            self.clock.sleep(_PANIC_SECONDS)
        except GuestError:
            machine.power_off()
            return
        raise LabError(f"{name}: its kernel goes on after SysRq c")

    def last_words(self, name: str) -> str:
        """What a director's kernel said before it died."""
        return self._kernel_of(name).last_words().partition(" (console")[0]

    def console(self, name: str) -> str:
        """All that a director's kernel has printed."""
        return self._kernel_of(name).console()

    def freeze(self, name: str) -> None:
        """Let a director's kernel stand still and its clock with it, as in a paused machine."""
        self._kernel_of(name).freeze()

    def thaw(self, name: str) -> None:
        """Let it go on; its clock is behind from then on."""
        self._kernel_of(name).thaw()

    def is_frozen(self, name: str) -> bool:
        """Whether a director's kernel stands still."""
        return self._kernel_of(name).frozen

    def _kernel_of(self, name: str) -> Machine:
        machine = self._machines.get(name)
        if machine is None:
            raise LabError(f"{name}: is simulated, so it has no kernel")
        return machine


_PREPARE = """\
for switch in /proc/sys/net/ipv6/conf/*/disable_ipv6; do
    [ ! -e "$switch" ] || echo 1 >"$switch"
done
"""
"""IPv6 is off as in the nodes of other labs."""


def _names(director: NodePlan) -> Step:
    """The cards get their names from the plan, and the loopback works."""
    renames = tuple(
        Ip(f"link set eth{place} name {interface.name}")
        for place, interface in enumerate(director.interfaces)
    )
    return Step("nics", "the guest's network cards", (Ip("link set lo up"), *renames))
