"""The answer of a comparison of LVS with proxies: what the director's work costs, as one paragraph
computed from the samples alone.

Contenders are compared repetition by repetition, since those ran side by side; of the ratios the
median and the whole range are told. A guest kernel makes system calls dearer than they are on a
real machine, and only proxies make them. So each ratio is told twice where the calls were counted:
as measured, which is an upper bound, and with every call at the price that it has on the machine,
which is an estimate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lvslab.report.units import THIN_SPACE, quantity, significant
from lvslab.runs.rundir import Run
from lvslab.runs.stats import median

MUCH = 2.0
""""Much less efficient" means here: at least this many times the director's processor time, in
every repetition.
"""

WORK: Mapping[str, str] = {
    "connections_per_second": "a new connection with one request",
    "requests_per_second": "a request over a keep-alive connection",
    "download": "a gigabyte of one large answer",
}
"""Kinds of work by their metric. The time spent at the fixed rate is recorded, but it is too little
to judge by.
"""

TITLES: Mapping[str, str] = {
    "lvs-nat": "LVS-NAT",
    "lvs-dr": "LVS-DR",
    "haproxy": "HAProxy",
    "haproxy-tcp": "HAProxy in TCP mode",
    "nginx": "nginx",
    "nginx-stream": "nginx stream",
    "pound": "Pound",
}

_LVS = ("lvs-nat", "lvs-dr")
_BUSY = 0.9
"""Above this share of one processor a director sets the pace itself."""

_DEARER = 1.5
"""System calls that cost this many times as much as on the machine weigh visibly."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times as much of the director's time one contender takes as another, one value a
    repetition that both have.

    Attributes:
        measured: as it was.
        estimated: with system calls at the machine's price; empty where they were not counted.
    """

    measured: tuple[float, ...]
    estimated: tuple[float, ...] = ()

    @property
    def text(self) -> str:
        """ "7.1 times (6.8 to 7.4), estimated 4.2 times (4.0 to 4.5)"."""
        return _times(self.measured) + (f", estimated {_times(self.estimated)}" if self.estimated else "")

    @property
    def judged(self) -> str:
        """ "much" or "not" where all repetitions and both ways of counting agree, else "open"."""
        values = (*self.measured, *self.estimated)
        if all(value >= MUCH for value in values):
            return "much"
        return "not" if all(value < MUCH for value in values) else "open"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a run says about the claim.

    Attributes:
        verdict: "holds", "partly", "not", or "" where there is nothing to judge.
        complete: nothing that was to be measured is missing.
        short: the verdict as a sentence or three.
        text: the whole paragraph.
    """

    verdict: str
    complete: bool
    short: str
    text: str


def contenders(run: Run) -> tuple[str, ...]:
    """In the order of the run."""
    return tuple(dict.fromkeys([lab.name for lab in run.labs] + [each.lab for each in run.samples]))


def proxies(run: Run) -> tuple[str, ...]:
    """The contenders that are no LVS."""
    return tuple(name for name in contenders(run) if name not in _LVS)


def bases(run: Run) -> tuple[str, ...]:
    """The modes of LVS, the one that proxies are compared with first: NAT, where packets take the
    same way.
    """
    return tuple(name for name in _LVS if name in contenders(run))


def ratio(run: Run, contender: str, base: str, work: str) -> Ratio | None:
    """Director time of two contenders for the same work, or None where no repetition has both."""
    mine, theirs = _cost(run, contender, work), _cost(run, base, work)
    shared = sorted(repeat for repeat in mine if theirs.get(repeat))
    if not shared:
        return None
    surcharge = _surcharge(run)
    calls, others = _of(run, contender, "director_calls", work), _of(run, base, "director_calls", work)
    estimated = []
    for repeat in shared:
        if surcharge is None or repeat not in calls or repeat not in others:
            continue
        own, other = mine[repeat] - surcharge * calls[repeat], theirs[repeat] - surcharge * others[repeat]
        if other > 0:
            estimated.append(max(0.0, own) / other)
    return Ratio(tuple(mine[repeat] / theirs[repeat] for repeat in shared), tuple(estimated))


def answer(run: Run) -> Answer:
    """What the run says about the claim that layer-7 proxies are much less efficient at
    distributing layer-4 traffic.
    """
    rivals, lvs = proxies(run), bases(run)
    missing = _missing(run)
    if not lvs or not rivals:
        return Answer("", False, "The claim was not tried: that takes LVS and a proxy.", " ".join(missing))
    base = lvs[0]
    found = {(name, work): ratio(run, name, base, work) for work in WORK for name in rivals}
    judged = {key: each.judged for key, each in found.items() if each}
    verdict = _verdict(judged)
    short = _verdict_text(verdict, judged, base)
    sentences = [
        short,
        *_costs(run, found, rivals, base),
        *_against(run, rivals, lvs[1:]),
        *_rates(run),
        *_latency(run),
        *missing,
        _system_calls(run, rivals),
    ]
    return Answer(verdict, not missing and None not in found.values(), short, " ".join(sentences))


# -- numbers ---------------------------------------------------------------------------------------


def _of(run: Run, contender: str, metric: str, during: str = "") -> dict[int, float]:
    """Repetition → value."""
    return {
        each.repeat or 0: each.value
        for each in run.of(metric)
        if each.lab == contender
        and each.value is not None
        and (not during or each.labels.get("during") == during)
    }


def _cost(run: Run, contender: str, work: str) -> dict[int, float]:
    return _of(run, contender, "director_cpu", work)


def _surcharge(run: Run) -> float | None:
    """Seconds that a system call costs more in the director than on the machine, by all
    measurements of the run; None if unknown.
    """
    there, here = _call_prices(run)
    return None if there is None or here is None else max(0.0, there - here)


def _call_prices(run: Run) -> tuple[float | None, float | None]:
    return (
        median(each.value for each in run.of("system_call_director")),
        median(each.value for each in run.of("system_call_machine")),
    )


# -- words -----------------------------------------------------------------------------------------


def _verdict(judged: Mapping[tuple[str, str], str]) -> str:
    kinds = set(judged.values())
    if not kinds:
        return ""
    return "holds" if kinds == {"much"} else "not" if kinds == {"not"} else "partly"


def _verdict_text(verdict: str, judged: Mapping[tuple[str, str], str], base: str) -> str:
    claim = "The claim that layer-7 proxies are much less efficient at distributing layer-4 traffic"
    measure = f"at least {MUCH:g} times the director's processor time of {_title(base)} in every repetition"
    if verdict == "":
        return f"{claim} could not be judged: no repetition measured a proxy and {_title(base)}."
    if verdict == "holds":
        return f"{claim} holds here, for every proxy and every kind of work: {measure}."
    if verdict == "not":
        return (
            f"{claim} does not hold here: no proxy needed {MUCH:g} times the director's processor time of"
            f" {_title(base)} for anything."
        )
    words = {
        "much": "It holds for",
        "not": "It does not hold for",
        "open": "Open, because repetitions or ways of counting disagree:",
    }
    told = [f"{words[kind]} {_grouped(judged, kind)}." for kind in words if kind in judged.values()]
    return f"{claim} ({measure}) holds here in part. {' '.join(told)}"


def _grouped(judged: Mapping[tuple[str, str], str], kind: str) -> str:
    """The pairs of one kind, by work: "a gigabyte of one large answer (HAProxy and Pound); …"."""
    groups = {
        work: [_title(name) for (name, each), how in judged.items() if each == work and how == kind]
        for work in WORK
    }
    return "; ".join(f"{WORK[work]} ({listed(names)})" for work, names in groups.items() if names)


def _costs(
    run: Run, found: Mapping[tuple[str, str], Ratio | None], rivals: Sequence[str], base: str
) -> list[str]:
    sentences = []
    for work, words in WORK.items():
        told = [f"{_title(name)} {each.text}" for name in rivals if (each := found[name, work])]
        if told:
            own = quantity(median(_cost(run, base, work).values()), "s")
            sentences.append(
                f"For {words} {_title(base)} takes {own} of the director's time; {'; '.join(told)} as much."
            )
    return sentences


def _against(run: Run, rivals: Sequence[str], others: Sequence[str]) -> list[str]:
    """The same against the other modes of LVS, in short."""
    sentences = []
    for base in others:
        told = []
        for name in rivals:
            middles = [
                median(each.measured) or 0.0 for work in WORK if (each := ratio(run, name, base, work))
            ]
            if middles:
                told.append(
                    f"{_title(name)} {significant(min(middles))} to {significant(max(middles))} times"
                )
        if told:
            sentences.append(f"Against {_title(base)}, measured, by kind of work: {listed(told)}.")
    return sentences


def _rates(run: Run) -> list[str]:
    """Connections a second, and whether it was the director that set the pace."""
    metric = "connections_per_second"
    rates = {
        name: middle
        for name in contenders(run)
        if (middle := median(_of(run, name, metric).values())) is not None
    }
    if not rates:
        return []
    told = [f"{_title(name)} {rate:,.0f}".replace(",", THIN_SPACE) for name, rate in rates.items()]
    sentences = [f"New connections per second: {listed(told)}."]
    idle = {
        name: middle
        for name in rates
        if (middle := median(_of(run, name, f"director_busy_{metric}").values())) is not None
        and middle < _BUSY
    }
    if idle:
        shares = listed([f"{_title(name)} {100 * share:.0f} %" for name, share in idle.items()])
        sentences.append(
            f"These rates were not everywhere limited by the director (busy: {shares} of one processor):"
            " there client, real servers and the machine's other work set the pace, so compare processor"
            " time and not rates."
        )
    return sentences


def _latency(run: Run) -> list[str]:
    told = []
    for name in contenders(run):
        p50, p99 = (median(_of(run, name, f"loaded_latency_p{percent}").values()) for percent in (50, 99))
        if p50 is not None and p99 is not None:
            told.append(f"{_title(name)} {quantity(p50, 's')} and {quantity(p99, 's')}")
    return [f"Latency at a fixed rate, p50 and p99: {listed(told)}."] if told else []


def _missing(run: Run) -> list[str]:
    """What was not reached."""
    failed = [
        f"{_title(each.lab)}, {each.metric.replace('_', ' ')}, repetition {each.repeat}: {each.error}"
        for each in run.samples
        if each.error
    ]
    return [f"Not reached, and in no figure: {'; '.join(failed)}."] if failed else []


def _system_calls(run: Run, rivals: Sequence[str]) -> str:
    """What the director's kernel costs user space, and which way that pulls the answer."""
    there, here = _call_prices(run)
    kinds = {
        node.kernel.kind for lab in run.labs for node in lab.nodes if node.role == "director" and node.kernel
    }
    if not there or not here:
        return (
            "What a system call costs in the director was not measured, so the guest's share in these ratios"
            " is unknown."
        )
    cost = (
        f"A system call costs {quantity(there, 's')} in the director and {quantity(here, 's')} on the machine"
        " itself"
    )
    if kinds == {"qemu"}:
        return f"{cost}; QEMU slows kernel and programs alike, so the ratios lean neither way by much."
    if there / here < _DEARER:
        return f"{cost}, about the same, so the guest hardly changes the ratios."
    work = "connections_per_second"
    counts = [(name, median(_of(run, name, "director_calls", work).values())) for name in rivals]
    counted = listed([f"{_title(name)} {significant(count)}" for name, count in counts if count is not None])
    made = f" (for a new connection: {counted})" if counted else ""
    return (
        f"{cost}, {significant(there / here)} times as much, while kernel code runs at the machine's speed."
        f" IPVS needs none for a packet, a proxy several for each request{made}. So this guest makes proxies"
        " look dearer than they are: the measured ratios are upper bounds; the estimates take the difference"
        " off for every call that was counted. The guest's network cards make each packet dearer for all"
        " contenders, which pulls the ratios towards one another, so the estimates are no lower bounds."
    )


def _times(values: Sequence[float]) -> str:
    middle = f"{significant(median(values) or 0.0)} times"
    return middle + (
        f" ({significant(min(values))} to {significant(max(values))})" if len(values) > 1 else ""
    )


def _title(name: str) -> str:
    return TITLES.get(name, name)


def listed(parts: Sequence[str]) -> str:
    """ "a, b and c"."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""
