"""What a lab is to be, as a user says it and before anything is known of the machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from lvslab.control.controls import NO_CONTROL, HealthControl, HealthSettings, control_named
from lvslab.errors import UsageError
from lvslab.ipvs.service import Scheduler
from lvslab.kernels.needs import Need
from lvslab.modes import mode_named
from lvslab.modes.base import Mode
from lvslab.plan.redundancy import Redundancy


@dataclass(frozen=True)
class LabSpec:
    """A lab as it is wanted; `lvslab.plan.make.make_plan` decides the rest.

    Attributes:
        mode: the forwarding mode.
        topology: a shipped topology or a file; None: the one made for the mode.
        clients, servers: how many.
        directors: 1, or 2 for a pair.
        scheduler: of the virtual services.
        weights: of the real servers, in their order; 1 where not given.
        persistence: seconds for which the HTTP service keeps a client at its real server; 0: not.
        ops: one-packet scheduling of the UDP service.
        spare: real servers that no service has, for example a sorry server.
        control, health_settings: what watches the real servers, and how.
        redundancy: how the directors of a pair stand in for each other; None: the default way.
        without: names of set-up steps to leave out, to see what they are for.
        sysctls: kernel parameters of the directors, set last.
        more_needs: what the directors need from their kernel besides what the mode needs.
        alike: modes to be compared, so that every role gets the same kind of kernel in all of them;
            none: only this one counts.
        kernels: of the directors, in their order, as `--kernel` names them; one is for all of them;
            none: the cheapest that fits.
        name: of the lab, also of its files; "": the mode's.
        own_kernel: whether the directors must have a kernel of their own, one that can be cut off,
            or whose processor time is told apart.
        breaks: nodes that will be broken, so they must be there.
        keepalived: files, each a director's own keepalived.conf, with its own addresses; topology,
            servers and directors follow from them.
    """

    mode: Mode
    topology: str | None = None
    clients: int = 1
    servers: int = 2
    directors: int = 1
    scheduler: Scheduler = Scheduler.RR
    weights: tuple[int, ...] = ()
    persistence: int = 0
    ops: bool = False
    spare: tuple[str, ...] = ()
    control: HealthControl = NO_CONTROL
    health_settings: HealthSettings = field(default_factory=HealthSettings)
    redundancy: Redundancy | None = None
    without: tuple[str, ...] = ()
    sysctls: Mapping[str, str | int] = field(default_factory=dict)
    more_needs: tuple[Need, ...] = ()
    alike: tuple[Mode, ...] = ()
    kernels: tuple[str, ...] = ()
    name: str = ""
    own_kernel: bool = False
    breaks: tuple[str, ...] = ()
    keepalived: tuple[str, ...] = ()

    @classmethod
    def of(cls, mode: str | Mode, **options: Any) -> LabSpec:
        """A lab in the words of a scenario, a test's marker, an exercise or the command line.

        Args:
            options: the attributes by name. Modes, schedulers, controls and needs are given by
                their names, several values as any list; None is as if nothing had been said.

        Raises:
            UsageError: no such mode or option, or a value that it cannot have. Numbers of nodes
                are the topology's to judge.
        """
        known = [option.name for option in fields(cls) if option.name != "mode"]
        for name in options:
            if name not in known:
                raise UsageError(f"a lab has no option '{name}'; it has: {', '.join(known)}")
        said = {name: value for name, value in options.items() if value is not None}
        return cls(
            mode if isinstance(mode, Mode) else mode_named(mode),
            **{name: _read(name, value) for name, value in said.items()},
        )


def _read(name: str, value: Any) -> Any:
    try:
        return _READERS[name](value)
    except TypeError as error:
        raise UsageError(
            f"a lab with {name}={value!r}: {error}; docs/testing.md says what each option takes"
        ) from error


# -- readers: each takes what a user's file may hold, and raises TypeError for what it cannot ------


def _one(kind: type, words: str) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if not isinstance(value, kind):
            raise TypeError(f"give {words}")
        return value

    return read


def _several(kind: type, words: str) -> Callable[[Any], tuple[Any, ...]]:
    def read(values: Any) -> tuple[Any, ...]:
        if isinstance(values, str) or not isinstance(values, Iterable):
            raise TypeError(f"give a list of {words}")
        listed = tuple(values)
        if not all(isinstance(value, kind) for value in listed):
            raise TypeError(f"give a list of {words}")
        return listed

    return read


def _scheduler(name: Any) -> Scheduler:
    if name not in set(Scheduler):
        raise UsageError(f"scheduler '{name}': no such scheduler; choose from: {', '.join(Scheduler)}")
    return Scheduler(name)


def _control(name: Any) -> HealthControl:
    return control_named(_one(str, "the name of a health control")(name))


def _modes(names: Any) -> tuple[Mode, ...]:
    return tuple(map(mode_named, _several(str, "forwarding modes")(names)))


def _needs(names: Any) -> tuple[Need, ...]:
    listed = _several(str, "capabilities of a kernel")(names)
    for name in listed:
        if name not in set(Need):
            raise UsageError(
                f"more_needs '{name}': no such capability of a kernel; choose from: {', '.join(Need)}"
            )
    return tuple(map(Need, listed))


def _unread(value: Any) -> Any:
    return value


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "topology": _one(str, "the name of a topology or of a file"),
    "clients": _unread,
    "servers": _unread,
    "directors": _unread,
    "scheduler": _scheduler,
    "weights": _several(int, "whole numbers"),
    "persistence": _one(int, "whole seconds"),
    "ops": _one(bool, "True or False"),
    "own_kernel": _one(bool, "True or False"),
    "spare": _several(str, "real servers"),
    "control": _control,
    "health_settings": _one(HealthSettings, "lvslab.control.controls.HealthSettings"),
    "redundancy": _one(Redundancy, "lvslab.plan.redundancy.Redundancy"),
    "without": _several(str, "set-up steps"),
    "sysctls": _one(Mapping, "a mapping of names to values"),
    "more_needs": _needs,
    "alike": _modes,
    "kernels": _several(str, "kernels"),
    "name": _one(str, "a word"),
    "breaks": _several(str, "nodes"),
    "keepalived": _several(str, "files"),
}
