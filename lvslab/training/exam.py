"""What a check of an exercise sees: the network as clients see it, packets, and the state of the
nodes; and what it says about them.

A check asks for results. Any way to reach them passes; what only looks right does not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lvslab.errors import CommandError
from lvslab.host.completed import Completed
from lvslab.ipvs.endpoint import Endpoint
from lvslab.ipvs.ipvsadm import Ipvsadm
from lvslab.ipvs.service import PacketForwarding, VirtualService
from lvslab.plan.plan import LabPlan
from lvslab.plan.services import HTTP_PORT
from lvslab.runs.records import Verdict
from lvslab.training.nodes import examiner, named

if TYPE_CHECKING:
    from lvslab.lab.lab import Lab
    from lvslab.lab.nodes import LabMachine
    from lvslab.traffic.http import Answer


class Failed(Exception):
    """The check is over: what comes next depends on what has just failed."""


class HeldBack(Exception):
    """A quiet check is over: what comes next would disturb the network."""


@dataclass(frozen=True)
class Point:
    """One thing that was judged, in a sentence that helps and does not give the solution away."""

    name: str
    verdict: Verdict
    reason: str


@dataclass
class Exam:
    """An exam in a running lab.

    Attributes:
        lab: the lab.
        directory: for captures.
        points: what was judged so far.
        quiet: whether it may only look, and ask as a client would: no drills, no faults.
        held_back: whether a quiet exam left something out.
    """

    lab: Lab
    directory: Path
    points: list[Point] = field(default_factory=list)
    quiet: bool = False
    held_back: bool = False

    def disturb(self) -> None:
        """Say that what comes next changes or breaks something for a moment, or floods the network.

        Raises:
            HeldBack: it is a quiet exam, which ends here.
        """
        if not self.may_disturb():
            raise HeldBack

    def may_disturb(self) -> bool:
        """Whether something may be changed for a moment that the exam can do without."""
        self.held_back = self.held_back or self.quiet
        return not self.quiet

    # -- the verdict -------------------------------------------------------------------------------

    def must(self, name: str, holds: bool, good: str, bad: str) -> None:
        """Judge one thing.

        Args:
            name: of what is judged, a few words.
            good, bad: what is said when it holds, and when not.

        Raises:
            Failed: it does not hold, so the exam ends here.
        """
        self.points.append(Point(name, "pass" if holds else "fail", good if holds else bad))
        if not holds:
            raise Failed(name)

    @property
    def passed(self) -> bool:
        """Whether something was judged and all of it held."""
        return bool(self.points) and all(point.verdict == "pass" for point in self.points)

    # -- the network -------------------------------------------------------------------------------

    @property
    def plan(self) -> LabPlan:
        return self.lab.plan

    @property
    def vip(self) -> str:
        return self.plan.addresses.vip

    @property
    def client(self) -> LabMachine:
        """The examiner's client, which the student cannot reach."""
        return self.lab.node(examiner(self.plan).name)

    def node(self, name: str) -> LabMachine:
        """A node by name, or "director", "client"."""
        found = named(self.plan, name)
        return self.lab.node(found.name if found else name)

    def run(self, name: str, script: str, timeout: float = 30.0) -> Completed:
        """Run a /bin/sh script in a node to its end."""
        return self.node(name).run(script, timeout=timeout)

    def get(
        self, times: int = 1, port: int = HTTP_PORT, address: str | None = None, timeout: float = 2.0
    ) -> list[Answer]:
        """Ask the virtual service over HTTP from the examiner's client, each time over a new
        connection.
        """
        from lvslab.traffic import http

        return http.get(self.client, f"http://{address or self.vip}:{port}/", times, timeout)

    def servers(self, times: int = 1, port: int = HTTP_PORT, address: str | None = None) -> list[str]:
        """Names of the real servers that answered; "" for each request that failed."""
        return [answer.server or "" for answer in self.get(times, port, address)]

    def must_share(self, servers: list[str], times: int | None = None, port: int = HTTP_PORT) -> list[Answer]:
        """Clients must be served by exactly these real servers, each of which takes part; returns
        their answers.
        """
        answers: list[Answer] = []
        for _ in range(
            0, times or 3 * len(servers), len(servers)
        ):  # in rounds: where nothing answers, one is enough
            answers += self.get(len(servers), port)
            if any(answer.error for answer in answers):
                break
        failed = [answer for answer in answers if answer.error]
        self.must(
            "clients are served",
            not failed,
            f"{len(answers)} of {len(answers)} requests to {self.vip}:{port} were answered",
            f"{len(failed)} of {len(answers)} requests to {self.vip}:{port} failed:"
            f" {failed[0].error if failed else ''}",
        )
        seen = sorted({answer.server or "" for answer in answers})
        self.must(
            "who serves",
            seen == sorted(servers),
            f"answers came from {', '.join(seen)}",
            f"answers came from {', '.join(seen)}; expected: {', '.join(sorted(servers))}",
        )
        return answers

    # -- the director ------------------------------------------------------------------------------

    def table(self, director: str = "director") -> list[VirtualService]:
        """The virtual services that a director has; none where its kernel has no ip_vs yet."""
        try:
            return list(Ipvsadm(self.node(director)).save())
        except CommandError:
            return []

    def must_be_balanced(
        self, answers: Sequence[Answer], forwarding: PacketForwarding, director: str = "director"
    ) -> None:
        """The connections of these answers must have gone through IPVS, in this way of forwarding:
        a proxy leaves no such entries.
        """
        here = examiner(self.plan).ip
        known = {each.client: each.virtual.port for each in Ipvsadm(self.node(director)).list_connections()}
        ends = [Endpoint(here, answer.local_port) for answer in answers]
        strange = [end for end in ends if end not in known]
        ports = {known[end] for end in ends if end in known}
        used = {
            server.forwarding
            for service in self.table(director)
            if service.port in ports
            for server in service.real_servers
        }
        others = sorted(used - {forwarding})
        self.must(
            "through the director",
            not strange and not others,
            f"each connection is in the director's table; packets are forwarded by {forwarding}",
            (
                f"{len(strange)} of {len(answers)} connections are unknown to IPVS on the director"
                if strange
                else f"the task asks for {forwarding}; the table has {', '.join(others)}"
            ),
        )

    def wait_until(self, holds: Callable[[], Any], seconds: float = 10.0, pause: float = 0.1) -> bool:
        """Whether a condition comes true in time."""
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                return False
            time.sleep(pause)
        return True


def take(check: Callable[[Exam], None], exam: Exam) -> Exam:
    """Hold an exam to its end."""
    with suppress(Failed, HeldBack):
        check(exam)
    return exam
