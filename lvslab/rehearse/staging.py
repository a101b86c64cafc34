"""From directors as their files describe them to the stage of a rehearsal; what was guessed on the
way can be printed, and written down as a plan.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from lvslab.errors import UsageError
from lvslab.ipvs.service import Protocol
from lvslab.kernels.needs import Kernels
from lvslab.rehearse.deaths import Wish
from lvslab.rehearse.director import Director, Door, Marks, asked_beside, is_loopback
from lvslab.rehearse.duration import durations, reloading, sentence
from lvslab.rehearse.files import Plan
from lvslab.rehearse.marks import marks_of
from lvslab.rehearse.network import Network, network_of
from lvslab.rehearse.seats import Listener, Seat, listeners_of, seats_of, spoken
from lvslab.rehearse.stage import Stage, stage_of
from lvslab.runs.words import plural

MOST_SERVERS = 1000
"""More real servers than a namespace should hold cards for."""


@dataclass(frozen=True)
class Prepared:
    """A rehearsal that can be set on a stage.

    Attributes:
        marks: firewall mark → the doors whose packets get it.
    """

    directors: tuple[Director, ...]
    plan: Plan
    marks: Mapping[int, Sequence[Door]]
    network: Network
    seats: Mapping[str, Seat]
    listeners: tuple[Listener, ...]

    def stage(self, kernels: Kernels, kernel: str | None = None, directors: Sequence[Director] = ()) -> Stage:
        """The stage, on the kernels of this machine.

        Args:
            kernel: of the directors, by name; the plan's come first.
            directors: that begin on it, where the network is for more than their files.

        Raises:
            CannotError: no kernel here meets a node's needs.
        """
        stage = stage_of(
            self.directors, self.network, self.seats, self.listeners, self.marks, kernels, kernel
        )
        return replace(stage, directors=tuple(directors)) if directors else stage

    def duration(self, wish: Wish, kernels: int = 1, change: Sequence[Sequence[Director]] = ()) -> str:
        """How long a rehearsal of these files takes, in a sentence.

        Args:
            kernels: on how many it is done.
            change: the directors with the old files, and with the new ones, where these are
                reloaded.
        """

        def parts(directors: Sequence[Director]) -> list[tuple[str, float]]:
            return list(durations(directors, self.seats, self.marks, wish))

        if change:
            old, new = (sum(seconds for _, seconds in parts(directors)) for directors in change)
            reloads = reloading(self.directors, self.marks)
            return sentence([("the old files", old), ("reloads", reloads), ("the new files", new)])
        whole = parts(self.directors)
        if kernels > 1:
            each = sum(seconds for _, seconds in whole)
            return sentence([("the old kernel", each), ("the new kernel", each)])
        return sentence(whole)

    def lines(self) -> list[str]:
        """What was read and guessed, for people."""
        said = []
        for director in self.directors:
            pools = [pool for pool in director.pools if pool.services]
            said.append(
                f"{director.name}: {director.manager.value}, {plural(len(pools), 'pool')},"
                f" {plural(sum(len(pool.servers) for pool in pools), 'real server')}"
            )
            for pool in pools:
                doors = ", ".join(service.name for service in pool.services)
                servers = ", ".join(configured.server.name for configured in pool.servers)
                said.append(f"  {doors}: {servers or 'nobody'}")
            said += [f"  note: {note}" for note in director.notes]
            said += [f"  a stand-in runs where it is not there: {script}" for script in director.scripts]
        said += [f"guessed: {guess}" for guess in self.network.guesses]
        return said

    def as_plan(self) -> str:
        """The guesses as a plan in TOML, to be edited and given beside the files."""
        lines = ["# What the files do not say (docs/rehearse.md). Edit it, and give it beside them."]
        for director in self.directors:
            lines += ["", f"[directors.{director.name}.addresses]"]
            for port in self.network.ports[director.name]:
                lines.append(f"{json.dumps(port.interface)} = {json.dumps(list(port.addresses))}")
        servers = {
            door: configured
            for director in self.directors
            for pool in director.pools
            for service in pool.services
            for configured in pool.servers[:1]
            for door in director.doors(self.marks)
            if door.name == service.name
        }
        for door in dict.fromkeys(door for director in self.directors for door in director.doors(self.marks)):
            language, tls = spoken(door, servers.get(door), self.plan.speaks)
            lines += [
                "",
                f"[services.{json.dumps(door.name)}]",
                f"speaks = {json.dumps(f'{language}s' if tls else language)}",
            ]
        return "\n".join(lines) + "\n"


def prepared(directors: Sequence[Director], plan: Plan) -> Prepared:
    """Prepare a rehearsal.

    Raises:
        UsageError: no files describe a virtual service, or what they describe cannot be in one
            network.
    """
    if not any(pool.services for director in directors for pool in director.pools):
        notes = [note for director in directors for note in director.notes]
        said = f" ({notes[0]})" if notes else ""
        raise UsageError(f"{directors[0].name}: its files describe no virtual service{said}")
    marks: dict[int, list[Door]] = {}
    for director in directors:
        for mark, doors in marks_of(director.iptables).items():
            marks.setdefault(mark, []).extend(door for door in doors if door not in marks[mark])
    servers = set(asked_beside(directors, marks)) | {
        configured.server.address
        for director in directors
        for _, configured in director.servers
        if not is_loopback(configured.server)
    }
    if len(servers) > MOST_SERVERS:
        raise UsageError(
            f"{len(servers)} real servers; a rehearsal holds {MOST_SERVERS} at most: take some services out"
        )
    directors = [
        replace(director, notes=(*director.notes, *_without_users(director, marks))) for director in directors
    ]
    network = network_of(directors, marks)
    seats = seats_of(directors, network, marks)
    listeners = listeners_of(directors, seats, marks, plan.speaks, plan.pages)
    return Prepared(tuple(directors), plan, marks, network, seats, listeners)


def _without_users(director: Director, marks: Marks) -> Iterator[str]:
    """Services that no user can ask: they stand in the table, and nothing is proven of them."""
    for service in director.services:
        if service.fwmark and not marks.get(service.fwmark):
            yield (
                f"{service.name}: has no users here, as no rule says which packets get its mark; give the"
                " output of iptables-save"
            )
        elif service.protocol is Protocol.SCTP:
            yield f"{service.name}: has no users here, as they speak no SCTP"
