"""What one try is, as frozen data: a set-up, and a schedule of faults. Read from TOML and written
as TOML.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from lvslab.errors import UsageError

Parameter = float | str
MOST_SECONDS = 3600
_FAULT_WORDS = ("at", "kind", "target", "duration", "parameters")


@dataclass(frozen=True)
class Setup:
    """The lab of a try.

    Attributes:
        mode: the forwarding mode.
        directors: 1, or 2 for a pair with connection sync.
        servers: real servers.
        persistence: seconds for which the HTTP service keeps a client at its real server; 0: not.
        config: files, each a director's keepalived.conf, instead of generated ones.
    """

    mode: str = "nat"
    directors: int = 2
    servers: int = 2
    persistence: int = 0
    config: tuple[str, ...] = ()


@dataclass(frozen=True)
class Injection:
    """A fault of a schedule.

    Attributes:
        at: seconds after the load has begun.
        kind: one of `lvslab.explore.kinds.KINDS`.
        target: a node.
        duration: seconds after which it is put back; None: it stays; 0: it is done at once, and
            nobody undoes it.
        parameters: what else the kind has.
    """

    at: float
    kind: str
    target: str
    duration: float | None = None
    parameters: Mapping[str, Parameter] = field(default_factory=dict, hash=False)

    @property
    def end(self) -> float:
        """When it is put back; infinite for one that stays."""
        return float("inf") if self.duration is None else self.at + self.duration

    @property
    def words(self) -> str:
        """One line for people."""
        more = "".join(f", {name} {_shown(value)}" for name, value in self.parameters.items())
        lasts = (
            ", for good" if self.duration is None else f", for {self.duration:g} s" if self.duration else ""
        )
        return f"{self.at:g} s: {self.kind} of {self.target}{more}{lasts}"


@dataclass(frozen=True)
class Case:
    """A try: what happens in it follows from these three and the kernel.

    Attributes:
        seed: of the world.
        schedule: by time.
    """

    seed: int
    setup: Setup
    schedule: tuple[Injection, ...]


def read_case(file: Path) -> Case:
    """A case from a TOML file.

    Raises:
        UsageError: it cannot be read, or says what no case has. Kinds and targets are looked at
            where the lab is known (`lvslab.explore.kinds.check`).
    """
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{file}: cannot be read as TOML: {error}") from None
    unknown = [name for name in data if name not in ("seed", "setup", "fault")]
    if unknown:
        raise UsageError(f"{file}: '{unknown[0]}' is not known; a case has: seed, setup, fault")
    seed, faults = data.get("seed", 1), data.get("fault", [])
    if not isinstance(seed, int) or isinstance(seed, bool) or not isinstance(faults, list):
        raise UsageError(f"{file}: seed is a whole number, and every fault begins with [[fault]]")
    schedule = sorted((_injection(file, fault) for fault in faults), key=lambda fault: fault.at)
    return Case(seed, _setup(file, data.get("setup", {})), tuple(schedule))


def _setup(file: Path, data: Any) -> Setup:
    kinds = {each.name: type(each.default) for each in fields(Setup)}
    if not isinstance(data, dict):
        raise UsageError(f"{file}: setup is no table; write [setup]")
    for name, value in data.items():
        if name not in kinds:
            raise UsageError(f"{file}: setup has no '{name}'; it has: {', '.join(kinds)}")
        wanted = list if kinds[name] is tuple else kinds[name]
        if type(value) is not wanted:
            raise UsageError(f"{file}: setup.{name} is {value!r}; give a {wanted.__name__}")
    words: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in data.items()
    }
    return Setup(**words)


def _injection(file: Path, data: Any) -> Injection:
    if not isinstance(data, dict):
        raise UsageError(f"{file}: a fault is no table; write [[fault]]")
    for name in data:
        if name not in _FAULT_WORDS:
            raise UsageError(f"{file}: a fault has no '{name}'; it has: {', '.join(_FAULT_WORDS)}")
    at = _seconds(file, "at", data.get("at"))
    duration = _seconds(file, "duration", data["duration"]) if "duration" in data else None
    if not isinstance(data.get("kind"), str) or not isinstance(data.get("target"), str):
        raise UsageError(f"{file}: a fault needs a kind and a target, both words")
    parameters = data.get("parameters", {})
    if not isinstance(parameters, dict) or not all(
        isinstance(value, (int, float, str)) for value in parameters.values()
    ):
        raise UsageError(f"{file}: a fault's parameters are numbers and words")
    return Injection(at, data["kind"], data["target"], duration, parameters)


def _seconds(file: Path, name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < MOST_SECONDS:
        raise UsageError(f"{file}: a fault's {name} is {value!r}; give seconds below {MOST_SECONDS}")
    return float(value)


def as_toml(case: Case) -> str:
    """The case as `read_case` reads it."""
    lines = [f"seed = {case.seed}", "", "[setup]"]
    lines += [f"{each.name} = {_toml(getattr(case.setup, each.name))}" for each in fields(Setup)]
    for injection in case.schedule:
        lines += ["", "[[fault]]", f"at = {injection.at!r}", f"kind = {_toml(injection.kind)}"]
        lines.append(f"target = {_toml(injection.target)}")
        lines += [] if injection.duration is None else [f"duration = {injection.duration!r}"]
        if injection.parameters:
            pairs = ", ".join(f"{name} = {_toml(value)}" for name, value in injection.parameters.items())
            lines.append(f"parameters = {{ {pairs} }}")
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    if isinstance(value, Sequence):
        return f"[{', '.join(map(_toml, value))}]"
    return repr(value)


def _shown(value: Parameter) -> str:
    return value if isinstance(value, str) else f"{value:g}"
