"""A running lab: the plan carried out, as a context manager that leaves nothing behind."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from lvslab import events
from lvslab.errors import GuestError, LabError, LvslabError
from lvslab.events import Event, Listener
from lvslab.host import linux, sandbox
from lvslab.ipvs.ipvsadm import Ipvsadm
from lvslab.modes.base import Role, set_up_script
from lvslab.plan.plan import LabPlan, NodePlan
from lvslab.runs.words import plural

if TYPE_CHECKING:  # Mininet and the guests' code are loaded while guests boot
    from lvslab.kernels.machine import Guest
    from lvslab.lab.director import DirectorControl
    from lvslab.lab.net import LabNet
    from lvslab.lab.nodes import LabMachine


class Lab:
    """Clients, director and real servers on their kernels, configured and answering.

    Use it inside a sandbox (`lvslab.host.sandbox.run`), as a context manager. Every lab takes a
    fresh network namespace for its switches, so labs that follow one another in one command do not
    meet either.

    Attributes:
        plan: what was asked for.
        start_seconds: how long the start took, from entering to ready.
        stop_seconds: how long the tear-down took, once it is over.
    """

    def __init__(self, plan: LabPlan, logs: Path, listener: Listener = events.nobody) -> None:
        """`logs`: existing folder for the guests' consoles and `commands.sh`."""
        self.plan, self._logs, self._listener = plan, logs, listener
        self.start_seconds: float | None = None
        self.stop_seconds: float | None = None
        self._guests: dict[str, Guest] = {}
        self._boots: dict[str, int] = {}
        self._controls: dict[str, DirectorControl] = {}
        self._vrrp: dict[str, str] = {}
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
        plan = self.plan
        linux.fresh_network()
        self._namespaces.add(os.readlink("/proc/self/ns/net"))
        _allow_many_files()
        self._directory.mkdir(parents=True)
        (self._logs / "commands.sh").write_text("\n".join(plan.commands()) + "\n")
        guests = [node for node in plan.nodes if node.is_guest]
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
        self._start_controls(plan.directors)

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

    def _start_controls(self, directors: Sequence[NodePlan]) -> None:
        """Start what watches servers and the other director, one director after the other: the
        first one becomes master.
        """
        from lvslab.lab.director import DirectorControl

        for each in directors:
            control = DirectorControl(self.plan, self.node(each.name), self._logs, self._hear_vrrp)
            self._controls[each.name] = control
            control.start(master=len(directors) > 1 and each is directors[0])

    def _hear_vrrp(self, t: float, director: str, instance: str, state: str) -> None:
        if instance == "outer":
            self._vrrp[director] = state
        self.tell("vrrp", f"{director}: {instance} addresses {state}", director, t)

    def vrrp_state(self, director: str) -> str:
        """ "MASTER", "BACKUP" or "FAULT" as the director's keepalived said last, "" before."""
        return self._vrrp.get(director, "")

    @property
    def master(self) -> str:
        """The director that holds the virtual address: the only one, or the one whose VRRP says so
        and that runs.

        Raises:
            LabError: none does at the moment.
        """
        names = [each.name for each in self.plan.directors]
        if len(names) == 1:
            return names[0]
        found = next((name for name in names if self._vrrp.get(name) == "MASTER" and self.is_on(name)), None)
        if found is None:
            states = ", ".join(f"{name} {self._vrrp.get(name, 'unknown')}" for name in names)
            raise LabError(f"lab '{self.plan.name}': no director is master ({states})")
        return found

    def stop_control(self, director: str) -> None:
        """End the daemons of a director orderly."""
        self._controls[director].stop()

    def start_control(self, director: str) -> None:
        """Start them again.

        Raises:
            LabError: one did not start.
        """
        self._controls[director].start()

    def is_controlled(self, director: str) -> bool:
        """Whether any daemon of a director runs."""
        return self._controls[director].running

    def check(self) -> None:
        """Make sure that what should run does.

        Raises:
            GuestError: a guest that was not switched off is dead.
            LabError: a daemon ended unasked.
        """
        for name, guest in self._guests.items():
            if name not in self._off:
                guest.agent.check_alive()
        for name, control in self._controls.items():
            if name not in self._off:
                control.check()

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
            self._start_controls([planned])
        self._off.discard(name)

    def is_on(self, name: str) -> bool:
        """Whether a node has power."""
        guest = self._guests.get(name)
        if guest:
            return guest.alive
        with linux.network_of(self.node(name).pid):
            return any(linux.is_link_up(each.name) for each in self.plan.node(name).interfaces)

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

    def guest(self, name: str) -> Guest | None:
        """The guest behind a node, or None if it runs on the machine's own kernel."""
        return self._guests.get(name)

    @staticmethod
    def now() -> float:
        """The lab's one clock: seconds since the epoch, as in events, probes and captures."""
        return time.time()

    def tell(self, kind: str, text: str, node: str = "", t: float | None = None) -> None:
        """Report an event, of now or of the time `t`, in the whole lab or at one node."""
        self._listener(Event(self.plan.name, kind, text, node=node, **({} if t is None else {"t": t})))


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
