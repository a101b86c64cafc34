"""The records of a run directory: what is written is what is read.

`docs/run-directory.md` is the format; the names here are its keys. `codec` makes JSON objects of
records and reads them; `writer` and `rundir` know the files. A field without a default must be
there. A number that is missing is None, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

FORMAT: Final = "lvslab-run"
VERSION = 1

Verdict = Literal["pass", "fail", "skip"]
StepVerdict = Literal["ok", "wrong", "unjudged"]
Status = Literal["running", "complete", "interrupted", "broken"]
MarkKind = Literal["fault", "repair", "table", "vrrp", "control", "note"]
TrialVerdict = Literal["pass", "fail", "skip"]

SPARSE = {"sparse": True}
"""Of a field that is left out where it has its default (see `codec`)."""


# -- labs ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """The kernel that a node ran, and why that one.

    Attributes:
        kind: "host", "uml" or "qemu".
        name: as `--kernel` takes it; "" where not noted.
        release: as `uname -r` prints it.
        config_sha256: of the kernel's configuration text; None where it shows none.
    """

    kind: str
    name: str = ""
    release: str
    config_sha256: str | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface; `addresses` with prefix length, `network` is the switch it hangs on."""

    name: str
    mac: str = ""
    network: str = ""
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Node:
    """A host of the lab.

    Attributes:
        role: "client", "director", "real server" or "router".
        needs: what it needs from its kernel.
        extra_addresses: such as "10.0.0.10/32 on lo".
        gateway: the address of its default route, or None.
    """

    name: str
    role: str
    needs: tuple[str, ...] = ()
    kernel: Kernel | None = None
    interfaces: tuple[Interface, ...] = ()
    extra_addresses: tuple[str, ...] = ()
    gateway: str | None = None


@dataclass(frozen=True, slots=True)
class Network:
    """A switch of the lab and the subnet on it."""

    name: str
    subnet: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """What IPVS counted: connections, packets and bytes toward the real servers (in) and back
    through the director (out).
    """

    conns: int | None = None
    in_packets: int | None = None
    out_packets: int | None = None
    in_bytes: int | None = None
    out_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerCounters(Counters):
    """The counters of one real server of a service: `server` is "address:port", `name` its
    node's.
    """

    server: str
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceCounters(Counters):
    """The counters of one virtual service, such as "TCP 10.0.0.10:80"."""

    service: str
    servers: tuple[ServerCounters, ...] = ()


@dataclass(frozen=True, slots=True)
class ForwardingMode:
    """A forwarding mode as reports show it: `title` as people write it, colours as "#rrggbb" on
    light ground and on dark.
    """

    name: str
    title: str
    color: str
    dark_color: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """One network that was built, in one forwarding mode.

    Attributes:
        local_addresses: of the director, which real servers see instead of the clients'.
        service_rules: the director's table as `ipvsadm -S -n` prints it, a line each.
        without: the parts of the mode's set-up that were left out.
        counters: what the director had counted in the end.
        start_seconds: from the start to the readiness; None when it never got there.
        stop_seconds: of the tear-down; None when it never got there.
    """

    name: str
    mode: str
    topology: str = ""
    local_addresses: tuple[str, ...] = field(default=(), metadata=SPARSE)
    nodes: tuple[Node, ...] = ()
    networks: tuple[Network, ...] = ()
    service_rules: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    counters: tuple[ServiceCounters, ...] = ()
    start_seconds: float | None = None
    stop_seconds: float | None = None


# -- what happened, and what came of it ------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened at `t`, seconds since the epoch, on the clock of the captures."""

    t: float | None = None
    lab: str = ""
    event: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """One judged statement inside a result."""

    name: str
    verdict: Verdict
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """A verdict with its reason.

    Attributes:
        evidence: the files that prove it, relative to the run directory.
        checks: its single statements.
        detail, seconds, tags: of a check of the suite only: lines that show what was wrong, how
            long it took, and its tags.
    """

    name: str
    verdict: Verdict
    reason: str = ""
    evidence: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()
    detail: tuple[str, ...] | None = field(default=None, metadata=SPARSE)
    seconds: float | None = field(default=None, metadata=SPARSE)
    tags: tuple[str, ...] | None = field(default=None, metadata=SPARSE)


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened in a trial at `t`, seconds since the epoch, on the clock of the
    probes and captures.

    `table` is a change of a director's IPVS table as its watcher saw it, `vrrp` a change of a
    director's VRRP state, `control` something that health control said. A kind of a later version
    is read as a note.
    """

    t: float
    kind: MarkKind = field(metadata={"fallback": "note"})
    node: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Bound:
    """The longest outage that the configuration allows, in seconds from the fault, and the formula
    that says so.
    """

    seconds: float
    formula: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One failure experiment with one prober: something was broken and repaired while the service
    was probed.

    Its files are probes/<name>.attempts.csv, .beats.csv and .lateness.csv.

    Attributes:
        repeat: the number of the repetition.
        start, end: of the probing, seconds since the epoch; `end` is None when it was cut short.
        interval: seconds between attempts; None: no attempts.
        timeout: seconds that an attempt may take.
        heartbeat: seconds between the heartbeats of a lasting connection; None: no such.
        marks: in the order of time, however they were given.
        expects: says in a sentence what must happen.
        verdict: None where nobody judged; "skip": something was missed on a machine that was too
            late to judge it.
    """

    name: str
    variant: str = ""
    mode: str = ""
    lab: str = ""
    repeat: int
    start: float
    end: float | None = None
    interval: float | None = None
    timeout: float | None = None
    heartbeat: float | None = None
    marks: tuple[Mark, ...] = ()
    bound: Bound | None = None
    expects: str = ""
    verdict: TrialVerdict | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "marks", tuple(sorted(self.marks, key=lambda mark: mark.t)))


# -- the run ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Scenario:
    """Which scenario was run, its title and what it teaches."""

    name: str = ""
    title: str = ""
    teaches: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFile:
    """What run.json holds.

    Attributes:
        lvslab: the version that wrote it.
        kind: "verify", "run", "bench" or "test".
        command: the argument list that was given.
        error: why it is interrupted or broken.
        started, finished: ISO 8601, UTC; `finished` is None while it runs.
        host: facts of the machine, by name.
        tools: name → version as the tool prints it, None where it is missing.
        forwarding_modes: all that this version knew, in the order in which they are listed.
        not_comparable: sentences that say which numbers must not be set side by side, and why.
    """

    format: Literal["lvslab-run"] = FORMAT
    version: int = VERSION
    lvslab: str = "unknown"
    name: str
    kind: str = "run"
    command: tuple[str, ...] = ()
    scenario: Scenario | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    status: Status
    error: str | None = None
    started: str = ""
    finished: str | None = None
    host: Mapping[str, Any] = field(default_factory=dict)
    tools: Mapping[str, str | None] = field(default_factory=dict)
    forwarding_modes: tuple[ForwardingMode, ...] = field(default=(), metadata=SPARSE)
    labs: tuple[Lab, ...] = ()
    events: tuple[Event, ...] = ()
    results: tuple[Result, ...] = ()
    not_comparable: tuple[str, ...] = ()
    trials: tuple[Trial, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One raw measurement, a line of samples.jsonl: `value`, or `values` where the metric is a
    distribution; both None where it failed (see `error`).

    Attributes:
        t: seconds since the epoch.
        repeat: the number of the repetition.
        labels: tell series of one metric apart.
    """

    t: float | None = None
    lab: str = ""
    mode: str = ""
    metric: str
    unit: str = ""
    repeat: int | None = None
    value: float | None = None
    values: tuple[float | None, ...] | None = field(default=None, metadata=SPARSE)
    labels: Mapping[str, str] = field(default_factory=dict, metadata=SPARSE)
    error: str | None = field(default=None, metadata=SPARSE)


# -- packets ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Outer:
    """The outer IP header of an encapsulated packet; `protocol` is its number (4: RFC 2003)."""

    src: str
    dst: str
    protocol: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One packet on one link.

    Attributes:
        t: seconds since the flow's first packet.
        source: the node that sent it.
        target: the node that received it; None where nobody did.
        frames: its numbers in the capture.
        link: the interface where it was seen.
        src, dst: "address:port".
        rewritten: what the previous hop changed.
        why: the verdict's reason.
    """

    t: float = 0.0
    source: str = field(default="", metadata={"key": "from"})
    target: str | None = field(default=None, metadata={"key": "to"})
    link: str = ""
    frames: tuple[int, ...] = ()
    eth_src: str = ""
    eth_dst: str = ""
    outer: Outer | None = None
    src: str = ""
    dst: str = ""
    protocol: str = ""
    info: str = ""
    ttl: int | None = None
    rewritten: tuple[str, ...] = ()
    verdict: StepVerdict = "unjudged"
    why: str = ""


@dataclass(frozen=True, slots=True)
class Flow:
    """One test flow: every hop of every packet, in time order."""

    name: str
    title: str = ""
    verdict: str = "unjudged"
    reason: str = ""
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class PathFile:
    """What captures/<lab>.path.json holds: the flows of one lab; `columns` are the node names in
    the order in which a ladder shows them.
    """

    lab: str
    columns: tuple[str, ...] = ()
    flows: tuple[Flow, ...] = ()
