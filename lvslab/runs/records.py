"""The records of a run directory as frozen dataclasses, and how each is read from its JSON object.

`docs/run-directory.md` is the format; the names here are its keys. A number that is missing is
None, never 0. Keys that this version does not know are ignored; a known key of a wrong type raises
`UsageError` with its place, such as `run.json.labs[0].nodes[2].role`.
Nothing here touches a file: `rundir` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

from lvslab.errors import UsageError
from lvslab.runs.fields import Fields

Verdict = Literal["pass", "fail", "skip"]
StepVerdict = Literal["ok", "wrong", "unjudged"]
Status = Literal["running", "complete", "interrupted", "broken"]
MarkKind = Literal["fault", "repair", "table", "vrrp", "control", "note"]
TrialVerdict = Literal["pass", "fail"]

_MARK_KINDS = ("fault", "repair", "table", "vrrp", "control", "note")


def _number(item: Fields, key: str) -> float:
    """The number at `key`, which must be there."""
    value = item.maybe_number(key)
    if value is None:
        raise UsageError(f"{item.where}.{key}: a number is expected here, it is missing")
    return value


@dataclass(frozen=True, slots=True)
class Kernel:
    """The kernel that a node ran, and why that one. `kind` is "host", "uml" or "qemu"; `name` is
    that of `--kernel`, "" where not noted.
    """

    kind: str
    release: str
    config_sha256: str | None
    why: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface; `addresses` with prefix length, `network` is the switch it hangs on."""

    name: str
    mac: str
    network: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """A host of the lab. `extra_addresses` read like "10.0.0.10/32 on lo"; `gateway` is the default
    route or None.
    """

    name: str
    role: str
    needs: tuple[str, ...]
    kernel: Kernel | None
    interfaces: tuple[Interface, ...]
    extra_addresses: tuple[str, ...]
    gateway: str | None

    @classmethod
    def read(cls, item: Fields) -> Node:
        """The node that a JSON object describes."""
        kernel = None
        if item.data.get("kernel") is not None:
            k = Fields(item.data["kernel"], f"{item.where}.kernel")
            kernel = Kernel(
                k.text("kind"),
                k.text("release"),
                k.maybe_text("config_sha256"),
                k.text("why", ""),
                k.text("name", ""),
            )
        interfaces = tuple(
            Interface(i.text("name"), i.text("mac", ""), i.text("network", ""), i.texts("addresses"))
            for i in item.objects("interfaces")
        )
        return cls(
            item.text("name"),
            item.text("role"),
            item.texts("needs"),
            kernel,
            interfaces,
            item.texts("extra_addresses"),
            item.maybe_text("gateway"),
        )


@dataclass(frozen=True, slots=True)
class Network:
    """A switch of the lab and the subnet on it."""

    name: str
    subnet: str


@dataclass(frozen=True, slots=True)
class Counters:
    """What IPVS counted: connections, packets and bytes toward the real servers (in) and back
    through the director (out).
    """

    conns: int | None
    in_packets: int | None
    out_packets: int | None
    in_bytes: int | None
    out_bytes: int | None

    @classmethod
    def read(cls, item: Fields) -> Counters:
        """The counters in a JSON object."""
        return cls(
            *(item.maybe_int(key) for key in ("conns", "in_packets", "out_packets", "in_bytes", "out_bytes"))
        )


@dataclass(frozen=True, slots=True)
class ServerCounters:
    """The counters of one real server (`server` is "address:port") of a service."""

    server: str
    name: str
    counters: Counters


@dataclass(frozen=True, slots=True)
class ServiceCounters:
    """The counters of one virtual service, such as "TCP 10.0.0.10:80"."""

    service: str
    counters: Counters
    servers: tuple[ServerCounters, ...]

    @classmethod
    def read(cls, item: Fields) -> ServiceCounters:
        """The service's counters in a JSON object."""
        servers = tuple(
            ServerCounters(s.text("server"), s.text("name", ""), Counters.read(s))
            for s in item.objects("servers")
        )
        return cls(item.text("service"), Counters.read(item), servers)


@dataclass(frozen=True, slots=True)
class Lab:
    """One network that was built, in one forwarding mode. Times in seconds, None when it never got
    there.
    """

    name: str
    mode: str
    topology: str
    nodes: tuple[Node, ...]
    networks: tuple[Network, ...]
    service_rules: tuple[str, ...]
    counters: tuple[ServiceCounters, ...]
    start_seconds: float | None
    stop_seconds: float | None

    @classmethod
    def read(cls, item: Fields) -> Lab:
        """The lab that a JSON object describes."""
        return cls(
            name=item.text("name"),
            mode=item.text("mode"),
            topology=item.text("topology", ""),
            nodes=tuple(Node.read(node) for node in item.objects("nodes")),
            networks=tuple(Network(n.text("name"), n.text("subnet", "")) for n in item.objects("networks")),
            service_rules=item.texts("service_rules"),
            counters=tuple(ServiceCounters.read(service) for service in item.objects("counters")),
            start_seconds=item.maybe_number("start_seconds"),
            stop_seconds=item.maybe_number("stop_seconds"),
        )


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened at `t`, seconds since the epoch, on the clock of the captures."""

    t: float | None
    lab: str
    event: str
    detail: str

    @classmethod
    def read(cls, item: Fields) -> Event:
        """The event in a JSON object."""
        detail = item.data.get("detail")
        return cls(
            item.maybe_number("t"),
            item.data.get("lab") or "",
            item.text("event"),
            "" if detail is None else str(detail),
        )


@dataclass(frozen=True, slots=True)
class Check:
    """One judged statement inside a result."""

    name: str
    verdict: Verdict
    reason: str


@dataclass(frozen=True, slots=True)
class Result:
    """A verdict with its reason, the files that prove it (relative to the run directory) and its
    single checks.
    """

    name: str
    verdict: Verdict
    reason: str
    evidence: tuple[str, ...]
    checks: tuple[Check, ...]

    @classmethod
    def read(cls, item: Fields) -> Result:
        """The result in a JSON object."""

        def verdict(fields: Fields) -> Verdict:
            return cast(Verdict, fields.choice("verdict", ("pass", "fail", "skip")))

        checks = tuple(
            Check(c.text("name"), verdict(c), c.text("reason", "")) for c in item.objects("checks")
        )
        return cls(item.text("name"), verdict(item), item.text("reason", ""), item.texts("evidence"), checks)


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened in a trial at `t`, seconds since the epoch, on the clock of the
    probes and captures.

    `table` is a change of a director's IPVS table as its watcher saw it, `vrrp` a change of a
    director's VRRP state, `control` something that health control said.
    """

    t: float
    kind: MarkKind
    node: str
    text: str

    @classmethod
    def read(cls, item: Fields) -> Mark:
        """The mark in a JSON object; a kind that this version does not know becomes a note."""
        kind = item.text("kind")
        known = cast(MarkKind, kind if kind in _MARK_KINDS else "note")
        return cls(_number(item, "t"), known, item.text("node", ""), item.text("text", ""))


@dataclass(frozen=True, slots=True)
class Bound:
    """The longest outage that the configuration allows, in seconds from the fault, and the formula
    that says so.
    """

    seconds: float
    formula: str

    @classmethod
    def read(cls, item: Fields) -> Bound:
        """The bound in a JSON object."""
        return cls(_number(item, "seconds"), item.text("formula", ""))


@dataclass(frozen=True, slots=True)
class Trial:
    """One failure experiment with one prober: something was broken and repaired while the service
    was probed.

    Its probes are in probes/<name>.attempts.csv and probes/<name>.beats.csv. `start` and `end` are
    seconds since the epoch, `end` is None when the trial was cut short. `interval` (between
    attempts), `timeout` (of one attempt) and `heartbeat` are seconds, None where there were none.
    `expects` says in a sentence what must happen.
    """

    name: str
    variant: str
    mode: str
    lab: str
    repeat: int
    start: float
    end: float | None
    interval: float | None
    timeout: float | None
    heartbeat: float | None
    marks: tuple[Mark, ...]
    bound: Bound | None
    expects: str
    verdict: TrialVerdict | None

    @classmethod
    def read(cls, item: Fields) -> Trial:
        """The trial in a JSON object; its marks come in the order of time."""
        bound = item.data.get("bound")
        verdict = item.data.get("verdict")
        marks = [Mark.read(mark) for mark in item.objects("marks")]
        return cls(
            name=item.text("name"),
            variant=item.text("variant", ""),
            mode=item.text("mode", ""),
            lab=item.text("lab", ""),
            repeat=int(_number(item, "repeat")),
            start=_number(item, "start"),
            end=item.maybe_number("end"),
            interval=item.maybe_number("interval"),
            timeout=item.maybe_number("timeout"),
            heartbeat=item.maybe_number("heartbeat"),
            marks=tuple(sorted(marks, key=lambda mark: mark.t)),
            bound=None if bound is None else Bound.read(Fields(bound, f"{item.where}.bound")),
            expects=item.text("expects", ""),
            verdict=None if verdict is None else cast(TrialVerdict, item.choice("verdict", ("pass", "fail"))),
        )


@dataclass(frozen=True, slots=True)
class Sample:
    """One raw measurement: `value`, or `values` where the metric is a distribution; both None where
    it failed (see `error`).
    """

    t: float | None
    lab: str
    mode: str
    metric: str
    unit: str
    repeat: int | None
    value: float | None
    values: tuple[float | None, ...] | None
    labels: Mapping[str, str]
    error: str | None

    @classmethod
    def read(cls, item: Fields) -> Sample:
        """The sample in a JSON object."""
        return cls(
            t=item.maybe_number("t"),
            lab=item.text("lab", ""),
            mode=item.text("mode", ""),
            metric=item.text("metric"),
            unit=item.text("unit", ""),
            repeat=item.maybe_int("repeat"),
            value=item.maybe_number("value"),
            values=item.numbers("values"),
            labels={str(key): str(value) for key, value in item.mapping("labels").items()},
            error=item.maybe_text("error"),
        )


@dataclass(frozen=True, slots=True)
class Outer:
    """The outer IP header of an encapsulated packet."""

    src: str
    dst: str
    protocol: str


@dataclass(frozen=True, slots=True)
class Step:
    """One packet on one link. `t` in seconds since the flow's first packet; `rewritten` names what
    the previous hop changed.

    `target` is "" where nobody received the packet.
    """

    t: float
    source: str
    target: str
    link: str
    eth_src: str
    eth_dst: str
    outer: Outer | None
    src: str
    dst: str
    protocol: str
    info: str
    ttl: int | None
    rewritten: tuple[str, ...]
    verdict: StepVerdict
    why: str

    @classmethod
    def read(cls, item: Fields) -> Step:
        """The step in a JSON object."""
        outer = None
        if item.data.get("outer") is not None:
            o = Fields(item.data["outer"], f"{item.where}.outer")
            outer = Outer(o.text("src"), o.text("dst"), str(o.data.get("protocol", "")))
        verdict = cast(StepVerdict, item.choice("verdict", ("ok", "wrong", "unjudged"), "unjudged"))
        return cls(
            t=item.maybe_number("t") or 0.0,
            source=item.text("from", ""),
            target=item.text("to", ""),
            link=item.text("link", ""),
            eth_src=item.text("eth_src", ""),
            eth_dst=item.text("eth_dst", ""),
            outer=outer,
            src=item.text("src", ""),
            dst=item.text("dst", ""),
            protocol=item.text("protocol", ""),
            info=item.text("info", ""),
            ttl=item.maybe_int("ttl"),
            rewritten=item.texts("rewritten"),
            verdict=verdict,
            why=item.text("why", ""),
        )


@dataclass(frozen=True, slots=True)
class Flow:
    """One test flow: every hop of every packet, in time order."""

    name: str
    title: str
    verdict: str
    reason: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class PathFile:
    """The flows of one lab; `columns` are the node names in the order in which a ladder
    shows them.
    """

    lab: str
    columns: tuple[str, ...]
    flows: tuple[Flow, ...]

    @classmethod
    def read(cls, item: Fields) -> PathFile:
        """The path file in a JSON object."""
        flows = tuple(
            Flow(
                f.text("name"),
                f.text("title", ""),
                f.text("verdict", "unjudged"),
                f.text("reason", ""),
                tuple(Step.read(step) for step in f.objects("steps")),
            )
            for f in item.objects("flows")
        )
        return cls(item.text("lab"), item.texts("columns"), flows)
