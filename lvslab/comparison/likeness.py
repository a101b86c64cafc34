"""What differs between two runs: what is under test, what forbids a comparison, and what a reader
should know.

Under test are the kernel of the directors and their sysctls. Everything else must be alike:
scenario, parameters, network, the kind of kernel that every other node ran. Numbers that were taken
in the machine's own time also need the same machine and the same tools; verdicts and instructions
in virtual time do not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lvslab.comparison.metrics import BENCH
from lvslab.runs.records import Kernel, Lab
from lvslab.runs.rundir import Run

SELECTION = ("repeat", "only", "tags", "seeds")
"""Parameters that say how much was done, not what: runs that differ in them alone can be compared
in what both did.
"""

_HOST = {
    "kernel": "kernel of the machine",
    "machine": "architecture",
    "cpu_model": "processor",
    "cpus": "number of processors",
    "tcp_congestion_control": "congestion control",
    "user": "user",
}
"""What of the machine the numbers of a run depend on (run.json, `host`)."""

_MEASURING_TOOLS = ("iperf3", "wrk", "nginx", "curl")
_VIRTUAL_TOOLS = ("qemu", "kernel arguments")
_BENCH_UNDER_TEST = ("kernels", "sysctls")
"""Parameters of a bench that say what is under test."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that the two runs have otherwise, in words."""

    what: str
    base: str
    new: str

    def __str__(self) -> str:
        return f"{self.what}: {self.base} -> {self.new}"


@dataclass(frozen=True, slots=True)
class Likeness:
    """How alike two runs are.

    Attributes:
        under_test: what the comparison is about; empty when both ran the same (an A/A comparison).
        forbids: why nothing of them can be compared.
        forbids_numbers: why their numbers cannot; verdicts can.
        notes: what a reader should know.
    """

    under_test: tuple[Difference, ...]
    forbids: tuple[str, ...]
    forbids_numbers: tuple[str, ...]
    notes: tuple[str, ...]


def configuration(run: Run) -> tuple[str, str, tuple[tuple[str, str], ...]]:
    """What a run did, whatever the kernel and the sysctls under test: kind, scenario or name, and
    the other parameters in order.

    Runs of the same configuration can be compared.
    """
    name = (run.scenario and run.scenario.name) or run.name
    left_out = (*SELECTION, *(_BENCH_UNDER_TEST if run.kind == BENCH else ()))
    kept = (
        (key, _shown(value))
        for key, value in run.parameters.items()
        if not _is_sysctl(key) and key not in left_out
    )
    return run.kind, "" if run.kind == BENCH else name, tuple(sorted(kept))


def sysctls(run: Run) -> dict[str, str]:
    """The sysctls of the directors that were set: the parameters with a dot in their names, or
    those of a bench.
    """
    if run.kind == BENCH:
        own = run.parameters.get("sysctls")
        return {str(key): str(value) for key, value in own.items()} if isinstance(own, Mapping) else {}
    return {key: str(value) for key, value in run.parameters.items() if _is_sysctl(key)}


def director_kernels(run: Run) -> tuple[str, ...]:
    """The kernels that the directors ran, each once, such as "uml 6.1.174"."""
    return tuple(dict.fromkeys(_kernel_text(kernel) for lab in run.labs for kernel in _directors(lab)))


def under_test(run: Run) -> dict[str, str]:
    """What is under test in a run: the director's kernel with its configuration, and the
    sysctls.
    """
    kernels = dict.fromkeys(
        f"{_kernel_text(kernel)}" + (f" (config {kernel.config_sha256[:8]})" if kernel.config_sha256 else "")
        for lab in run.labs
        for kernel in _directors(lab)
    )
    said = ", ".join(kernels) or "not known"
    return {"kernel of the directors": said, **sysctls(run)}


def likeness(base: Run, new: Run) -> Likeness:
    """How alike two runs are."""
    forbids = [*_configurations(base, new)]
    forbids_numbers: list[str] = []
    notes = [*_status(base, "base"), *_status(new, "new")]
    if not forbids:
        found = _labs(base, new)
        forbids, forbids_numbers = [*forbids, *found[0]], [*found[1]]
    virtual = base.kind == BENCH
    machine = [] if virtual else _mapping_differences(base.host, new.host, _HOST)
    if machine:
        forbids_numbers.append(f"measured on different machines: {'; '.join(machine)}")
    tools = _tools(base, new)
    measuring = [
        text for name, text in tools if name.startswith(_VIRTUAL_TOOLS if virtual else _MEASURING_TOOLS)
    ]
    if measuring:
        forbids_numbers.append(f"measured with different tools: {'; '.join(measuring)}")
    notes += [f"tool {text}" for _, text in tools if text not in measuring]
    if base.lvslab != new.lvslab:
        notes.append(f"lvslab: {base.lvslab} -> {new.lvslab}")
    return Likeness(
        _under_test(base, new), tuple(forbids), tuple(dict.fromkeys(forbids_numbers)), tuple(notes)
    )


def _under_test(base: Run, new: Run) -> tuple[Difference, ...]:
    before, after = under_test(base), under_test(new)
    return tuple(
        Difference(key, before.get(key, "as the kernel has it"), after.get(key, "as the kernel has it"))
        for key in dict.fromkeys([*before, *after])
        if before.get(key) != after.get(key)
    )


def _configurations(base: Run, new: Run) -> list[str]:
    if base.kind != new.kind:
        return [f"different kinds of run: {base.kind} and {new.kind}"]
    (_, base_name, before), (_, new_name, after) = configuration(base), configuration(new)
    if base_name != new_name:
        return [f"different {'scenarios' if base.scenario else 'runs'}: {base_name} and {new_name}"]
    return [f"different parameters: {text}" for text in _mapping_differences(dict(before), dict(after))]


def _labs(base: Run, new: Run) -> tuple[list[str], list[str]]:
    """Why nothing, and why no number, of runs can be compared whose labs differ."""
    forbids: list[str] = []
    numbers: list[str] = []
    theirs = {lab.name: lab for lab in new.labs}
    for lab in base.labs:
        other = theirs.get(lab.name)
        if other is None:
            continue
        if _network(lab) != _network(other):
            forbids.append(f"lab '{lab.name}': different networks or services")
            continue
        kinds = {kernel.kind for kernel in _directors(lab)}, {kernel.kind for kernel in _directors(other)}
        if kinds[0] != kinds[1]:
            numbers.append(f"directors on different machines: {_listed(kinds[0])} and {_listed(kinds[1])}")
        for node, twin in zip(lab.nodes, other.nodes, strict=True):
            if node.role == "director" or node.kernel is None or twin.kernel is None:
                continue
            before, after = _kernel_text(node.kernel), _kernel_text(twin.kernel)
            if node.kernel.kind != twin.kernel.kind:
                forbids.append(
                    f"lab '{lab.name}': {node.role} {node.name} placed otherwise: {before} and {after}"
                )
            elif before != after:
                numbers.append(f"{node.role}s ran different kernels: {before} and {after}")
    return list(dict.fromkeys(forbids)), list(dict.fromkeys(numbers))


def _network(lab: Lab) -> object:
    """What of a lab must be alike in both runs."""
    nodes = tuple(
        (
            node.name,
            node.role,
            tuple((each.network, each.addresses) for each in node.interfaces),
            node.gateway,
        )
        for node in lab.nodes
    )
    return lab.mode, lab.topology, nodes, lab.networks, lab.service_rules


def _directors(lab: Lab) -> list[Kernel]:
    return [node.kernel for node in lab.nodes if node.role == "director" and node.kernel is not None]


def _kernel_text(kernel: Kernel) -> str:
    """Its kind and release, and its name where that says more: two builds of one release differ in
    it alone.
    """
    return f"{kernel.kind} {kernel.release}" + (f" ({kernel.name})" if "/" in kernel.name else "")


def _status(run: Run, side: str) -> list[str]:
    if run.status == "complete":
        return []
    return [
        f"the {side} run is {run.status}"
        + (f": {run.error}" if run.error else "")
        + "; what it holds is compared"
    ]


def _tools(base: Run, new: Run) -> list[tuple[str, str]]:
    """Tools of different versions, those that both runs know: name and the difference in words."""
    common = [name for name in base.tools if name in new.tools]
    return [
        (name, f"{name}: {base.tools[name] or 'missing'} -> {new.tools[name] or 'missing'}")
        for name in common
        if base.tools[name] != new.tools[name]
    ]


def _mapping_differences(
    base: Mapping[str, Any], new: Mapping[str, Any], titles: Mapping[str, str] | None = None
) -> list[str]:
    """Keys with different values, in words; with `titles` only the keys there."""
    keys = titles if titles is not None else dict.fromkeys([*base, *new])
    return [
        f"{titles[key] if titles else key}: {_shown(base.get(key, '–'))} -> {_shown(new.get(key, '–'))}"
        for key in keys
        if base.get(key) != new.get(key)
    ]


def _listed(words: Iterable[str]) -> str:
    return ", ".join(sorted(words))


def _shown(value: Any) -> str:
    return (
        ",".join(map(str, value))
        if isinstance(value, Sequence) and not isinstance(value, str)
        else str(value)
    )


def _is_sysctl(name: str) -> bool:
    return "." in name
