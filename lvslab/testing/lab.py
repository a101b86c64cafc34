"""The lab that a test gets: a running lab with the words that a regression test needs."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lvslab.errors import GuestError, LabError
from lvslab.kernels.needs import KernelFacts, Need
from lvslab.lab.lab import Lab
from lvslab.modes.base import Role, Sysctl, sysctl_file
from lvslab.plan.services import HTTP_PORT
from lvslab.runs.records import ServiceCounters
from lvslab.runs.words import plural
from lvslab.scenario.experiment import Experiment
from lvslab.scenario.trial import Trial
from lvslab.verify.frames import Frame, read_frames
from lvslab.verify.verification import Verification, taps

if TYPE_CHECKING:
    from lvslab.traffic.crafted import CraftedHost
    from lvslab.traffic.http import Answer

_CRAFTED_HOSTS = 100
"""A crafted host's address is so many numbers above its client's, where no node of a shipped
topology is.
"""


_COMPLAINTS = {5: "a bad page", 7: "an oops or BUG", 9: "a warning (WARN_ON)", 14: "a soft lockup"}
"""Bits of /proc/sys/kernel/tainted that say that something went wrong in the kernel
(admin-guide/tainted-kernels.rst).
"""

_COMPLAINT = re.compile(r"WARNING:|BUG:|Oops|Bad page|soft lockup")


@dataclass(frozen=True)
class KernelUnderTest:
    """The director's kernel.

    Attributes:
        name: as `--lvs-kernel` and `lvslab kernels` have it.
        facts: what trials found out about it.
    """

    name: str
    facts: KernelFacts

    @property
    def release(self) -> str:
        """As `uname -r` in it prints."""
        return self.facts.release

    @property
    def version(self) -> tuple[int, int]:
        """The release's first two numbers, for comparisons: (6, 12)."""
        numbers = re.match(r"(\d+)\.(\d+)", self.release)
        if numbers is None:
            raise LabError(
                f"kernel '{self.name}': its release '{self.release}' does not begin with two numbers"
            )
        return int(numbers[1]), int(numbers[2])

    def has(self, need: Need | str) -> bool:
        """Whether it has a capability, by the names of `lvslab.kernels.needs.Need`: "SYNPROXY",
        "netem", ….
        """
        return Need(need) in self.facts.met


class Packets:
    """What a capture of all links has seen, after its block.

    Attributes:
        file: the capture, to be opened with Wireshark.
        frames: every frame at every end of a link, in order of time.
    """

    def __init__(self, file: Path, owners: dict[str, str]) -> None:
        """`owners`: interface → node."""
        self.file, self.frames, self._owners = file, list[Frame](), owners

    def at(self, node: str, *, sent: bool | None = None) -> list[Frame]:
        """The frames at a node's interfaces: those that it sent, those that it received, or both
        (None).
        """
        return [
            each
            for each in self.frames
            if self._owners.get(each.interface) == node and sent in (None, each.sent)
        ]


class LabUnderTest(Lab):
    """A running lab; as it is a `Lab`, everything that takes one takes it, such as the faults of
    `lvslab.faults`.
    """

    _experiment: Experiment
    _taints: dict[str, int]

    def begin(self, experiment: Experiment) -> None:
        """The lab is ready: from now on its kernels are watched.

        Args:
            experiment: the one that has started it and will end it.
        """
        self._experiment = experiment
        self._taints = {each.name: self._taint(each.name) for each in self.plan.directors if each.is_guest}

    def check_kernels(self) -> None:
        """Make sure that the kernels of the directors still work, and had nothing to complain of
        since the lab was ready.

        Those of directors that are switched off are left out, and so is the machine's own, which
        others use too.

        Raises:
            GuestError: one does not answer, or printed a warning, an oops or worse.
        """
        for name, before in self._taints.items():
            if name in self._off:
                continue
            new = self._taint(name) & ~before
            said = [text for bit, text in _COMPLAINTS.items() if new >> bit & 1]
            if said:
                log = self.run("dmesg", name)
                (self._logs / f"{name}.dmesg").write_text(log)
                first = next(
                    (line.strip() for line in log.splitlines() if _COMPLAINT.search(line)), "see its log"
                )
                raise GuestError(
                    f"{name}: its kernel reported {' and '.join(said)}: {first} (log:"
                    f" {self._logs / name}.dmesg)"
                )

    def _taint(self, name: str) -> int:
        return int(self.run("cat /proc/sys/kernel/tainted", name))

    # -- traffic -----------------------------------------------------------------------------------

    @property
    def vip(self) -> str:
        """The virtual address."""
        return self.plan.addresses.vip

    def get(self, times: int = 1, client: int = 1) -> list[str]:
        """Ask the HTTP service so often, each time on a new connection; the real servers that
        answered, "" where nobody did.
        """
        return self._experiment.get(self, times, client)

    def answers(self, times: int = 1, client: int = 1, timeout: float = 5.0) -> list[Answer]:
        """The same with everything that is known of each request: the client's address as the
        server saw it, times, errors.
        """
        from lvslab.traffic import http

        return http.get(self.clients[client - 1], f"http://{self.vip}:{HTTP_PORT}/", times, timeout)

    @contextmanager
    def crafted(self, client: int = 1) -> Iterator[CraftedHost]:
        """A host made of one packet socket beside a client, with an address of its own: packets are
        written and read with scapy.
        """
        from lvslab.traffic.crafted import CraftedHost

        planned = self.plan.of_role(Role.CLIENT)[client - 1]
        interface, address = planned.interfaces[0], str(ipaddress.ip_address(planned.ip) + _CRAFTED_HOSTS)
        with CraftedHost(self.node(planned.name).pid, interface.name, interface.mac, address) as host:
            yield host

    @contextmanager
    def trial(
        self,
        rate: float | None = 500.0,
        *,
        variant: str = "test",
        expects: str = "see the test",
        **probe: Any,
    ) -> Iterator[Trial]:
        """Put the lab under the load of a prober (`lvslab.scenario.experiment`); outages
        are read off it after the block.
        """
        with self._experiment.trial(self, variant=variant, expects=expects, rate=rate, **probe) as trial:
            yield trial

    # -- what the packets say ----------------------------------------------------------------------

    def verify(self) -> Verification:
        """Prove the mode's packet contract: test flows are sent and every captured packet is
        judged.

        Raises:
            AssertionError: a packet is not as the contract says; shows it.
        """
        __tracebackhide__ = True
        outcome = self._experiment.verify(self)
        if outcome.verdict != "pass":
            raise AssertionError("\n".join([f"{self.plan.mode.title}: {outcome.reason}", *outcome.wrong]))
        return outcome

    @contextmanager
    def capture(self, name: str = "capture") -> Iterator[Packets]:
        """Capture every link while the block runs, and until it is quiet afterwards; the file goes
        to the run directory.

        Raises:
            LabError: the kernel lost frames.
        """
        from lvslab.verify.capture import Capture

        number, folder = 1, self._experiment.run.captures
        while (
            file := folder / f"{self.plan.name}.{name}{'' if number == 1 else f'.{number}'}.pcapng"
        ).exists():
            number += 1
        packets = Packets(
            file, {each.name: node.name for node in self.plan.nodes for each in node.interfaces}
        )
        with Capture(file, taps(self)) as capture:
            yield packets
            capture.wait_quiet(self.at_work)
        if capture.lost:
            raise LabError(
                f"{file.name}: the kernel lost {plural(capture.lost, 'frame')}, so not every packet was seen;"
                " run again"
            )
        packets.frames = read_frames(file)

    # -- the director ------------------------------------------------------------------------------

    def run(self, script: str, node: str | None = None, timeout: float = 30.0) -> str:
        """Run a /bin/sh script in the director, or in a node; its standard output.

        `node(name).run(script)` returns the exit code instead of raising.

        Raises:
            CommandError: it failed.
        """
        name = node or self.plan.director.name
        return self.node(name).run(script, timeout=timeout).check(name, script)

    def sysctl(self, name: str, value: str | int | None = None) -> str:
        """Set a kernel parameter of the director if a value is given, and read it.

        Raises:
            CommandError: the kernel has no such parameter or refuses the value.
        """
        show = f"cat {sysctl_file(name)}"
        script = show if value is None else f"{Sysctl(name, value).fast()} && {show}"
        return self.run(script).strip()

    def weights(self, port: int = HTTP_PORT, protocol: str = "TCP") -> dict[str, int]:
        """Weight of each real server in a service of the director's table, by its name; those that
        are out of it are missing.

        Raises:
            LabError: there is no such service.
        """
        names = {address: name for name, address in self.plan.addresses.rips.items()}
        table = self.ipvsadm.save()
        service = next(
            (each for each in table if each.port == port and str(each.protocol).upper() == protocol.upper()),
            None,
        )
        if service is None:
            known = ", ".join(each.name for each in table) or "none"
            raise LabError(
                f"lab '{self.plan.name}': no {protocol} service on port {port} in the table; there is:"
                f" {known}"
            )
        return {names.get(each.address, each.address): each.weight for each in service.real_servers}

    def counters(self) -> tuple[ServiceCounters, ...]:
        """What the director has counted, by service and server, once its kernel has brought the
        figures up to date (2.5 s).
        """
        return self._experiment.counters(self)
