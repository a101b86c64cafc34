"""What a rehearsal answers, as records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from lvslab.runs.words import plural

Verdict = Literal["pass", "fail", "unknown"]

ANSWERS = "answers.json"
"""Where a run directory has them."""

_SLACK_SECONDS = 1.5
"""For what no file speaks of: the programs' own work on a slow machine, and an attempt's time."""


@dataclass(frozen=True)
class Proof:
    """Whether users are served at a door when all is up.

    Attributes:
        door: as `ipvsadm -L` would write it.
        attempts, failed: how many.
        servers: that answered, with the number of times.
        reason: in one sentence.
    """

    door: str
    verdict: Verdict
    attempts: int
    failed: int
    servers: Mapping[str, int]
    reason: str


@dataclass(frozen=True)
class Notice:
    """What users of one door noticed of one fault.

    Attributes:
        fault: in words: "10.0.1.11:80 killed".
        door: of the users.
        outage: seconds from the first to the last user who was failed by it; 0.0 when nobody was.
        ended: whether the service was whole again before the fault was taken back.
        attempts, failed: of new users, from the fault until it was taken back.
        interval: seconds between two users: no outage is known better.
        left_table: seconds until every director's table showed the fault; None: it never did.
        promised: seconds that the file's own timers allow; None: no check can notice this fault.
        alone: whether nobody else could serve, so that nothing helps but a repair.
        newcomers: what became of users who came for the first time while the fault was there, in
            a sentence; "" where nobody is bound by persistence.
        kind: what faults of one kind have in common: "killed", "all", "loses power".
    """

    fault: str
    door: str
    outage: float
    ended: bool
    attempts: int
    failed: int
    interval: float
    left_table: float | None = None
    promised: float | None = None
    alone: bool = False
    kind: str = ""
    newcomers: str = ""

    @property
    def verdict(self) -> Verdict:
        """ "fail" where users are failed longer than the file promises, or for ever though others
        could serve them; "unknown" where nobody else could: that is for the user to judge.
        """
        if self.alone and self.failed:
            return "unknown"
        if self.failed and not self.ended:
            return "fail"
        if self.promised is not None and self.outage > self.promised + _SLACK_SECONDS + self.interval:
            return "fail"
        return "pass"

    @property
    def sentence(self) -> str:
        """For people."""
        return self._of_all + (f"; newcomers: {self.newcomers}" if self.newcomers else "")

    @property
    def _of_all(self) -> str:
        if not self.failed:
            return f"nobody noticed, of {plural(self.attempts, 'user')}"
        promised = "" if self.promised is None else f"; the file's timers allow {self.promised:.1f} s"
        share = f"{self.failed} of {plural(self.attempts, 'user')} failed"
        if not self.ended and self.alone:
            return f"{share} until it was repaired: nobody else serves, and there is no sorry server"
        if not self.ended:
            why = "no check can notice it" if self.promised is None else "it was not over by then"
            return f"{share} until it was repaired: {why}{promised if self.promised is not None else ''}"
        return f"{share}, for {self.outage:.1f} s{promised}"


@dataclass(frozen=True)
class Answers:
    """A rehearsal's answers.

    Attributes:
        guesses: what the files did not say.
        notes: what was not understood, and what a stand-in did.
        table: the first director's table when all is up, as `ipvsadm -Sn` prints it, by director.
        differences: between tables and files; empty: they agree.
        proofs: one a door.
        notices: what users noticed, fault by fault.
        findings: of the doctor, as `lvslab doctor --json` has them.
        releases: of the directors' kernels, by director.
        programs: what makes each director's table, as it says of itself: "Keepalived v2.2.7".
        sizes: name → number: checks a second, entries, …
    """

    guesses: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    tables: Mapping[str, str] = field(default_factory=dict)
    differences: tuple[str, ...] = ()
    proofs: tuple[Proof, ...] = ()
    notices: tuple[Notice, ...] = ()
    findings: tuple[Mapping[str, Any], ...] = ()
    sizes: Mapping[str, float] = field(default_factory=dict)
    releases: Mapping[str, str] = field(default_factory=dict)
    programs: Mapping[str, str] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether anything is not as the files want it."""
        return bool(
            self.differences
            or self.findings
            or any(proof.verdict == "fail" for proof in self.proofs)
            or any(notice.verdict == "fail" for notice in self.notices)
        )


@dataclass(frozen=True)
class Reload:
    """What a reload of new files did to users and to the table.

    Attributes:
        name: "all up", or what was broken meanwhile.
        door: of the users.
        attempts, failed: of new users, during the reload.
        connections, broken: lasting ones that stood before it, and how many it ended.
    """

    name: str
    door: str
    attempts: int
    failed: int
    connections: int
    broken: int


@dataclass(frozen=True)
class KnownFault:
    """A fault of keepalived's reload that its tracker has on record.

    Attributes:
        number: of the issue there.
        what: the fault, in a few words.
        verdict: "pass": it was tried, and is not here; "fail": it is; "unknown": it was not tried.
        seen: what shows it, or why it was not tried.
    """

    number: int
    what: str
    verdict: Verdict
    seen: str = ""


@dataclass(frozen=True)
class Change:
    """A change of files or of the kernel, rehearsed.

    Attributes:
        of: what is changed.
        changes: what the new files' table has otherwise than the old files', or which kernels
            become which, a sentence each.
        reloads: what users noticed of each reload.
        leftovers: what the table after a reload has otherwise than after a fresh start of the new
            files, a sentence each, with the reload's name in front, and which virtual addresses it
            moved; or the table on the new kernel otherwise than on the old one.
        history: changes of the tables during reloads: seconds since the reload, and a sentence.
        known: faults of keepalived's reload that were looked for; empty where it has no files.
        old, new: the answers for either.
    """

    of: Literal["files", "kernel"] = "files"
    changes: tuple[str, ...] = ()
    reloads: tuple[Reload, ...] = ()
    leftovers: tuple[str, ...] = ()
    history: tuple[str, ...] = ()
    known: tuple[KnownFault, ...] = ()
    old: Answers = field(default_factory=Answers)
    new: Answers = field(default_factory=Answers)

    @property
    def worse(self) -> tuple[str, ...]:
        """In what it is worse than before, a sentence each; empty: in nothing."""
        found = list(self.leftovers)
        found += [
            f"{each.name}: {each.door}: {each.broken} of {plural(each.connections, 'connection')} broken"
            for each in self.reloads
            if each.broken
        ]
        found += [
            f"{each.name}: {each.door}: {each.failed} of {plural(each.attempts, 'new user')} failed"
            for each in self.reloads
            if each.failed
        ]
        before = {proof.door: proof for proof in self.old.proofs}
        found += [
            f"{proof.door}: {proof.reason}"
            for proof in self.new.proofs
            if proof.verdict == "fail" and not (proof.door in before and before[proof.door].verdict == "fail")
        ]
        found += [said for said in self.new.differences if said not in self.old.differences]
        known = {str(finding["name"]) for finding in self.old.findings}
        found += [
            f"doctor: {finding['reason']}"
            for finding in self.new.findings
            if str(finding["name"]) not in known
        ]
        outages = {(each.fault, each.door): each for each in self.old.notices}
        for notice in self.new.notices:
            earlier = outages.get((notice.fault, notice.door))
            if notice.verdict == "fail" and (earlier is None or earlier.verdict != "fail"):
                found.append(f"{notice.door}, {notice.fault}: {notice.sentence}")
            elif (
                earlier and earlier.promised and notice.promised and notice.promised > earlier.promised + 0.05
            ):
                found.append(
                    f"{notice.door}, {notice.fault}: the timers allow {notice.promised:.1f} s instead of"
                    f" {earlier.promised:.1f} s"
                )
        return tuple(found)
