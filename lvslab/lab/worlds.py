"""What a scenario and a fault may ask of a lab, whichever world it is in: that of this machine
(`lvslab.lab.lab.Lab`) or one of virtual time. Neither names a lab of its own in a signature.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Protocol

from lvslab.ipvs.ipvsadm import Ipvsadm, Runner
from lvslab.lab.clock import Clock
from lvslab.lab.impairment import Impairment
from lvslab.plan.plan import LabPlan

Table = Mapping[str, Mapping[str, int]]
"""Service ("TCP 10.0.0.10:80") → real server ("10.0.1.11:8080") → weight."""

TableListener = Callable[[float, Table, tuple[str, ...]], None]
"""Takes the time of a change in seconds since the epoch, the table after it, and what changed in
words.
"""


class AnyNode(Runner, Protocol):
    """A node in which scripts can be run; a LabError says that one took too long, or that the
    node's kernel is dead.
    """

    @property
    def release(self) -> str:
        """Of its kernel."""


class WebServer(Protocol):
    """The web server of a real server: a program on a kernel that may live on without it."""

    @property
    def title(self) -> str:
        """What proofs call it, such as "process 123"."""

    @property
    def state(self) -> str | None:
        """As proc(5) has it: "T" while it is stopped, another letter while it runs; None when it
        is gone.
        """

    def kill(self) -> None:
        """End it at once: its kernel refuses connections from now on."""

    def start(self) -> None:
        """Start it again after its end.

        Raises:
            CommandError: it did not start.
        """

    def stop(self) -> None:
        """Let it stand still: its kernel still completes connections, but nobody answers."""

    def go_on(self) -> None:
        """Let it go on where it stood."""


class Links(Protocol):
    """The links of a lab. Interfaces are given by their names, which are unique in it."""

    def unplug(self, node: str, interfaces: Sequence[str]) -> None:
        """Take the carrier away from a node's links; the node sees it."""

    def plug(self, node: str, interfaces: Sequence[str]) -> None:
        """Give it back, and the routes that went with it."""

    def is_up(self, interface: str) -> bool:
        """Whether a link has a carrier."""

    def impair(self, node: str, interfaces: Sequence[str], impairment: Impairment) -> None:
        """Impair what a node sends over some of its links."""

    def shown_impairment(self, node: str, interfaces: Sequence[str]) -> str | None:
        """What proves that all of them are impaired, or None."""

    def repair(self, node: str, interfaces: Sequence[str], impairment: Impairment) -> str:
        """Impair nothing any more; what is only late still arrives.

        Returns:
            What became of the packets meanwhile, in words.
        """

    def mtus(self, node: str, interfaces: Sequence[str]) -> Sequence[int]:
        """The largest packets that links carry, in bytes, as their node knows it."""

    def set_mtus(self, node: str, interfaces: Sequence[str], mtus: Sequence[int]) -> None:
        """Change them."""

    def cut_off(self, ports: Mapping[str, Sequence[str]]) -> None:
        """Network → interfaces that are cut off from the rest of it, not from each other; no node
        sees its link go.
        """

    def rejoin(self, ports: Mapping[str, Sequence[str]]) -> None:
        """End that."""

    def is_cut_off(self, interface: str) -> bool:
        """Whether an interface is among those that were cut off."""

    def far_end(self, interface: str) -> str:
        """What the other end of an interface's link is called, the switch's port."""


class Watch(Protocol):
    """A watch on a director's table, as a context manager.

    Attributes:
        table: as last seen.
    """

    table: Table

    def __enter__(self) -> Watch: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def check(self) -> None:
        """Raise LabError if the director said what is no table."""


class AnyLab(Protocol):
    """A running lab."""

    @property
    def plan(self) -> LabPlan: ...

    @property
    def clock(self) -> Clock: ...

    @property
    def start_seconds(self) -> float | None: ...

    @property
    def stop_seconds(self) -> float | None: ...

    def __enter__(self) -> AnyLab: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def now(self) -> float:
        """Seconds since the epoch on the lab's clock."""

    def tell(self, kind: str, text: str, node: str = "", t: float | None = None) -> None:
        """Report an event, of now or of the time `t`, in the whole lab or at one node."""

    def check(self) -> None:
        """Raise LabError if something has died that should run."""

    # -- nodes -------------------------------------------------------------------------------------

    def node(self, name: str) -> AnyNode: ...

    @property
    def director(self) -> AnyNode: ...

    @property
    def clients(self) -> Sequence[AnyNode]: ...

    @property
    def servers(self) -> Sequence[AnyNode]: ...

    def web_server(self, name: str) -> WebServer:
        """The web server of a real server.

        Raises:
            LabError: none runs there.
        """

    @property
    def links(self) -> Links: ...

    # -- directors ---------------------------------------------------------------------------------

    @property
    def ipvsadm(self) -> Ipvsadm:
        """ipvsadm in the director, the first one of a pair."""

    def table(self, director: str) -> Ipvsadm: ...

    def watch(self, director: str, listener: TableListener) -> Watch:
        """Watch a director's table while the block is entered."""

    def vrrp_state(self, director: str) -> str:
        """ "MASTER", "BACKUP" or "FAULT" as the director's keepalived said last, "" before."""

    @property
    def master(self) -> str:
        """The director that holds the virtual address.

        Raises:
            LabError: none does at the moment.
        """

    def stop_control(self, director: str) -> None:
        """End the daemons of a director orderly."""

    def start_control(self, director: str) -> None:
        """Start them again."""

    def is_controlled(self, director: str) -> bool:
        """Whether any daemon of a director runs."""

    # -- power -------------------------------------------------------------------------------------

    def power_off(self, name: str) -> None:
        """Cut a node's power: what ran in it is gone at once, and its links are silent."""

    def power_on(self, name: str) -> None:
        """Switch a node on again: it comes up configured as at first, and remembers nothing."""

    def is_on(self, name: str) -> bool:
        """Whether a node has power and, if it has a kernel of its own, that lives."""

    def panic(self, name: str) -> None:
        """Let a node's own kernel panic."""

    def last_words(self, name: str) -> str:
        """What a node's own kernel said before it died."""

    def freeze(self, name: str) -> None:
        """Let a node's own kernel stand still."""

    def thaw(self, name: str) -> None:
        """Let it go on, with no idea of the time that has passed."""

    def is_frozen(self, name: str) -> bool:
        """Whether a node's own kernel stands still."""
