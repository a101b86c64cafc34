"""A running lab: the plan carried out, as a context manager that leaves nothing behind."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from lvslab import events
from lvslab.errors import CannotError, GuestError, LabError, LvslabError
from lvslab.events import Event, Listener
from lvslab.host import linux, sandbox
from lvslab.ipvs.ipvsadm import Ipvsadm
from lvslab.lab import room
from lvslab.lab.clock import MachineClock
from lvslab.modes.base import Role, set_up_script
from lvslab.plan.plan import LabPlan, NodePlan
from lvslab.runs.words import plural

if TYPE_CHECKING:  # Mininet and the guests' code are loaded while guests boot
    from lvslab.kernels.machine import Guest
    from lvslab.lab.cables import Cables
    from lvslab.lab.director import DirectorControl, StateListener
    from lvslab.lab.net import LabNet
    from lvslab.lab.nodes import LabMachine
    from lvslab.lab.pair import Directors
    from lvslab.lab.servers import Nginx
    from lvslab.lab.watch import TableWatch
    from lvslab.lab.worlds import AnyLab, TableListener


class Lab:
    """Clients, director and real servers on their kernels, configured and answering.

    Use it inside a sandbox (`lvslab.host.sandbox.run`), as a context manager. Every lab takes a
    fresh network namespace for its switches, so labs that follow one another in one command do not
    meet either.

    Attributes:
        plan: what was asked for.
        clock: the machine's.
        start_seconds: how long the start took, from entering to ready.
        stop_seconds: how long the tear-down took, once it is over.
    """

    def __init__(self, plan: LabPlan, logs: Path, listener: Listener = events.nobody) -> None:
        """`logs`: existing folder for the guests' consoles and `commands.sh`."""
        self.plan, self._logs, self._listener = plan, logs, listener
        self.clock = MachineClock()
        self.start_seconds: float | None = None
        self.stop_seconds: float | None = None
        self._guests: dict[str, Guest] = {}
        self._boots: dict[str, int] = {}
        self._off: set[str] = set()
        self._net: LabNet | None = None
        self._namespaces: set[str] = set()
        self._stack = ExitStack()
        self._directory = sandbox.PRIVATE_DIRECTORY / f"{plan.name}-{time.monotonic_ns():x}"

    # -- life --------------------------------------------------------------------------------------

    def __enter__(self) -> Lab:
        began = time.monotonic()
        try:
            self._start()
        except BaseException as error:
            dead = self._dead_at_boot() if isinstance(error, (LvslabError, OSError)) else None
            self._stop()
            if dead:  # what else failed, failed for that
                raise GuestError(dead) from error
            raise
        self.start_seconds = time.monotonic() - began
        self.tell("ready", f"lab ready after {self.start_seconds:.2f} s")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        began = time.monotonic()
        self._stack.close()
        self.stop_seconds = time.monotonic() - began

    def _dead_at_boot(self) -> str | None:
        """What is to say of guests that ended before they ran anything, or None."""
        ended = {name: guest for name, guest in self._guests.items() if not guest.alive}
        said = [
            f"{name}: guest kernel died at boot; {guest.last_words()}"
            for name, guest in ended.items()
            if not guest.agent.came_up
        ]
        return "; ".join(said) or None

    def _start(self) -> None:
        from lvslab.catalog import catalog

        plan = self.plan
        linux.fresh_network()
        self._namespaces.add(os.readlink("/proc/self/ns/net"))
        _allow_many_files()
        self._directory.mkdir(parents=True)
        (self._logs / "commands.sh").write_text("\n".join(plan.commands()) + "\n")
        guests = [node for node in plan.nodes if node.is_guest]
        wanted = {node.name: catalog.find(node.kernel).memory_mib for node in guests}
        room.refuse(plan.name, wanted, room.available_mib())
        booting = f"booting {plural(len(guests), 'guest kernel')}, " if guests else ""
        self.tell("boot", f"{plan.mode.title}: {booting}building the network")
        self._stack.callback(self._end_processes)
        for node in guests:
            self._boot(node)
        from lvslab.lab.net import LabNet  # while the guests boot

        self._net = LabNet(plan, self._guests, self._directory)
        self._stack.callback(self._end_nodes)
        self._net.build()
        self._namespaces |= {os.readlink(f"/proc/{node.pid}/ns/net") for node in self._net.hosts}
        self._net.start()
        # The director first: its guest is what everybody waits for. A failure in one node is raised
        # here, the others are then ended.
        order = sorted(plan.nodes, key=lambda node: (not node.is_guest, node.role != Role.DIRECTOR))
        self._everywhere(order, self._set_up)
        self._directors.start(plan.directors)

    def _boot(self, node: NodePlan) -> Guest:
        """Start a guest for a node; one that is booted again goes on in the namespace, with the
        links, of the one before.
        """
        from lvslab.catalog import catalog

        before = self._guests.get(node.name)
        boot = self._boots[node.name] = self._boots.get(node.name, 0) + 1
        name = node.name if boot == 1 else f"{node.name}.{boot}"
        guest = catalog.find(node.kernel).boot(
            node.name,
            node.modules,
            self._directory / name,
            self._logs / f"{name}.console",
            network=os.dup(before.network) if before else None,
            nics=len(node.interfaces),
        )
        self._guests[node.name] = guest
        self._stack.callback(guest.close)
        return guest

    def _set_up(self, planned: NodePlan) -> None:
        from lvslab.lab.servers import start_nginx

        node = self.node(planned.name)
        steps = (*planned.network_steps, *planned.mode_steps)
        iptables = self.plan.iptables.get(planned.name)
        if planned.is_guest:
            node.settle(steps=steps, iptables=iptables)
        else:
            with linux.network_of(node.pid):
                linux.set_link_up("lo")
                linux.silence_ipv6()
            node.run(set_up_script(steps, iptables)).check(planned.name, "set-up")
        if planned.role == Role.DIRECTOR and self.plan.tables and not self.plan.health.builds_table:
            self.table(planned.name).restore(self.plan.services)
        if planned.role == Role.REAL_SERVER:
            start_nginx(node)

    # -- control of the directors ------------------------------------------------------------------

    def _control(self, director: str, listener: StateListener) -> DirectorControl:
        from lvslab.lab.daemon import Daemon
        from lvslab.lab.director import DaemonPlan, DirectorControl

        node = self.node(director)

        def run(daemon: DaemonPlan, hear: Callable[[float, str], None]) -> Daemon:
            return Daemon(node, daemon.name, daemon.command, daemon.files, self._logs, hear)

        return DirectorControl(self.plan, director, node.inside, run, listener)

    @cached_property
    def _directors(self) -> Directors:
        from lvslab.lab.pair import Directors

        return Directors(self.plan, self._control, self.tell)

    def vrrp_state(self, director: str) -> str:
        """ "MASTER", "BACKUP" or "FAULT" as the director's keepalived said last, "" before."""
        return self._directors.state(director)

    @property
    def master(self) -> str:
        """The director that holds the virtual address: the only one, or the one whose VRRP says so
        and that runs.

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

    def check(self) -> None:
        """Make sure that what should run does.

        Raises:
            GuestError: a guest that was not switched off is dead.
            LabError: a daemon ended unasked.
        """
        for name, guest in self._guests.items():
            if name not in self._off:
                guest.agent.check_alive()
        self._directors.check(spare=self._off)

    # -- power -------------------------------------------------------------------------------------

    def expect_death(self, name: str) -> None:
        """A node is about to lose its kernel on purpose: its end is no accident until it is powered
        on again.
        """
        self._off.add(name)

    def power_off(self, name: str) -> None:
        """Cut a node's power: what ran in it is gone at once, and its links are silent."""
        self.expect_death(name)
        guest = self._guests.get(name)
        if guest:
            guest.kill()
            return
        node, interfaces = self.node(name), self.plan.node(name).interfaces
        with linux.network_of(node.pid):
            for each in interfaces:
                linux.set_link_up(each.name, up=False)
        _end_processes({os.readlink(f"/proc/{node.pid}/ns/net")}, spare={node.pid})

    def power_on(self, name: str) -> None:
        """Switch a node on again: it comes up configured as at first, and remembers nothing.

        Raises:
            GuestError: its kernel did not come up.
            CommandError: a set-up command failed.
        """
        planned = self.plan.node(name)
        node = self.node(name)
        if planned.is_guest:
            node.take_guest(self._boot(planned))
        else:
            node.run(_FORGET).check(name, _FORGET)
        self._set_up(planned)
        if planned.role == Role.DIRECTOR:
            self._directors.start([planned])
        self._off.discard(name)

    def is_on(self, name: str) -> bool:
        """Whether a node has power."""
        guest = self._guests.get(name)
        if guest:
            return guest.alive
        with linux.network_of(self.node(name).pid):
            return any(linux.is_link_up(each.name) for each in self.plan.node(name).interfaces)

    def panic(self, name: str) -> None:
        """Let a guest's kernel panic (SysRq c)."""
        guest = self._own_kernel(name)
        self.expect_death(name)
        guest.agent.start("echo 1 >/proc/sys/kernel/sysrq; echo c >/proc/sysrq-trigger", guest.take_line()[0])

    def last_words(self, name: str) -> str:
        """What a guest's kernel said before it died."""
        return self._own_kernel(name).last_words().partition(" (console")[0]

    def freeze(self, name: str) -> None:
        """Let a guest's kernel stand still (SIGSTOP)."""
        self._own_kernel(name).freeze()

    def thaw(self, name: str) -> None:
        """Let it go on."""
        self._own_kernel(name).thaw()

    def is_frozen(self, name: str) -> bool:
        """Whether a guest's kernel stands still."""
        return self._own_kernel(name).frozen

    def _own_kernel(self, name: str) -> Guest:
        guest = self._guests.get(name)
        if guest is None:
            raise LabError(f"{name}: runs on the machine's own kernel, which is not the lab's to stop")
        return guest

    def _everywhere(self, nodes: Iterable[NodePlan], work: Callable[[NodePlan], None]) -> None:
        """Do something in several nodes side by side; raise the first error by the nodes' order."""
        nodes = list(nodes)
        with ThreadPoolExecutor(max_workers=len(nodes), thread_name_prefix="set-up") as pool:
            futures = [pool.submit(work, node) for node in nodes]
            problems = [future.exception() for future in futures]
        first = next((problem for problem in problems if problem is not None), None)
        if first is not None:
            raise first

    def _end_nodes(self) -> None:
        assert self._net is not None
        for node in (*self._net.hosts, *self._net.switches):
            if node.name not in self._guests and node.shell:
                linux.kill_group(node.shell.pid)
                node.cleanup()

    def _end_processes(self) -> None:
        _end_processes(self._namespaces, spare={os.getpid()})

    # -- parts -------------------------------------------------------------------------------------

    @property
    def net(self) -> LabNet:
        """The Mininet network."""
        if self._net is None:
            raise LabError(f"lab '{self.plan.name}': not started; use it as a context manager")
        return self._net

    def node(self, name: str) -> LabMachine:
        """A node by name."""
        return self.net[name]  # type: ignore[no-any-return]

    @property
    def director(self) -> LabMachine:
        return self.node(self.plan.director.name)

    @property
    def clients(self) -> list[LabMachine]:
        return [self.node(each.name) for each in self.plan.of_role(Role.CLIENT)]

    @property
    def servers(self) -> list[LabMachine]:
        return [self.node(each.name) for each in self.plan.of_role(Role.REAL_SERVER)]

    @property
    def ipvsadm(self) -> Ipvsadm:
        """ipvsadm in the director, the first one of a pair."""
        return Ipvsadm(self.director)

    def table(self, director: str) -> Ipvsadm:
        """ipvsadm in one of the directors."""
        return Ipvsadm(self.node(director))

    def at_work(self) -> bool:
        """Whether a guest's kernel runs, or waits for a processor."""
        return any(linux.is_runnable(guest.pid) for guest in self._guests.values())

    def guest(self, name: str) -> Guest | None:
        """The guest behind a node, or None if it runs on the machine's own kernel."""
        return self._guests.get(name)

    def web_server(self, name: str) -> Nginx:
        """The web server of a real server.

        Raises:
            LabError: none runs there.
        """
        from lvslab.lab.servers import Nginx

        return Nginx(self.node(name))

    @property
    def links(self) -> Cables:
        """The cables between nodes and switches."""
        from lvslab.lab.cables import Cables

        return Cables(self.plan, self.net)

    def watch(self, director: str, listener: TableListener) -> TableWatch:
        """Watch a director's table while the block is entered."""
        from lvslab.lab.watch import TableWatch

        return TableWatch(self.node(director), listener)

    def now(self) -> float:
        """The lab's one clock: seconds since the epoch, as in events, probes and captures."""
        return self.clock.now()

    def tell(self, kind: str, text: str, node: str = "", t: float | None = None) -> None:
        """Report an event, of now or of the time `t`, in the whole lab or at one node."""
        self._listener(Event(self.plan.name, kind, text, self.now() if t is None else t, node))


def in_real_time(lab: AnyLab, what: str) -> Lab:
    """The lab, if its time is this machine's.

    Args:
        what: is wanted of it.

    Raises:
        CannotError: it is not.
    """
    if isinstance(lab, Lab):
        return lab
    raise CannotError(
        f"lab '{lab.plan.name}': {what} is not to be had in virtual time, where programs of this machine"
        " have no place and work takes no time; run it in real time: --time real"
    )


_FORGET = "ip address flush scope global"
"""A node without a kernel of its own keeps its addresses when its links go down; a machine that was
switched off does not.
"""


def _end_processes(namespaces: set[str], spare: set[int]) -> None:
    """End what runs in network namespaces that the lab made: all of it is the lab's own."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) in spare:
            continue
        try:
            if os.readlink(entry / "ns/net") in namespaces:
                os.kill(int(entry.name), signal.SIGKILL)
        except OSError:  # it has ended by itself
            continue


def _allow_many_files() -> None:
    """Raise this process's own limit of open files to what it may have; large labs hold several per
    node.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
