"""Which scenarios a command runs, with which parameters and in which forwarding modes: decided
before anything starts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lvslab.errors import UsageError
from lvslab.scenario.description import Scenario, parameters, shown

_SYSCTL = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_*/-]+)+")
"""Names of sysctls, as sysctl(8) takes them."""


@dataclass(frozen=True)
class Job:
    """One run of one scenario.

    Attributes:
        mode: the forwarding mode it runs in, or "" where the scenario itself goes through several.
        values: all its parameters.
        seconds: how long it is expected to take.
    """

    scenario: Scenario
    mode: str
    values: Mapping[str, Any]
    seconds: float

    @property
    def title(self) -> str:
        return f"{self.scenario.name} ({self.mode})" if self.mode else self.scenario.name

    @property
    def words(self) -> list[str]:
        """The words after `lvslab run` that ask for the same again: the scenario, and those of its
        parameters that are not as it has them by default.
        """
        own = self.scenario
        words = [own.name if own.is_shipped else str(own.file)]
        for name, value in self.values.items():
            if value != own.parameters[name]:
                words += [f"--{name.replace('_', '-')}", shown(value)]
        return words


@dataclass(frozen=True)
class Settings:
    """`--set` and the scenarios' own options, told apart.

    Attributes:
        parameters: of scenarios, by name.
        sysctls: kernel parameters of the directors: the names with a dot.
        varied: sysctls that were given several values; each value is a cell of a matrix.
    """

    parameters: Mapping[str, str]
    sysctls: Mapping[str, str]
    varied: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def read_settings(pairs: Sequence[str], options: Sequence[str] = ()) -> tuple[Settings, list[str]]:
    """Settings from `NAME=VALUE` pairs and from words of the command line of which some are options
    (`--NAME VALUE`, `--NAME=VALUE`).

    Returns:
        The settings, and the words that are no options.

    Raises:
        UsageError: a pair without "=", an option without a value, a parameter with two values, a
            sysctl that cannot have such a name.
    """
    values: dict[str, str] = {}
    several: dict[str, tuple[str, ...]] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"--set {pair}: write it as NAME=VALUE")
        if "." in name and not _SYSCTL.fullmatch(name):
            raise UsageError(
                f"--set {name}: no sysctl has such a name; write it with dots, such as"
                " net.ipv4.vs.conn_reuse_mode"
            )
        if "." in name and (not value or not value.isprintable() or "'" in value):
            raise UsageError(f"--set {pair}: no sysctl takes such a value; write it as NAME=VALUE")
        if "." not in name and values.get(name, value) != value:
            raise UsageError(
                f"--set {name}: given twice; only a sysctl may have several values, each a cell of a matrix"
            )
        values[name] = value
        several[name] = tuple(dict.fromkeys([*several.get(name, ()), value]))
    words: list[str] = []
    rest = list(options)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            words.append(word)
            continue
        name, equals, value = word[2:].partition("=")
        if not equals:
            if not rest:
                raise UsageError(f"{word}: a value is missing; write {word} VALUE")
            value = rest.pop(0)
        values[name.replace("-", "_")] = value
    varied = {name: each for name, each in several.items() if "." in name and len(each) > 1}
    sysctls = {name: value for name, value in values.items() if "." in name and name not in varied}
    return (
        Settings({name: value for name, value in values.items() if "." not in name}, sysctls, varied),
        words,
    )


def plan_jobs(
    scenarios: Sequence[Scenario],
    settings: Settings,
    modes: Sequence[str] = (),
    repeat: int | None = None,
    every_mode: bool = False,
) -> list[Job]:
    """The jobs of a command, in order.

    Args:
        modes: those asked for; none: each scenario's default.
        repeat: how often each scenario repeats its trials; None: its default.
        every_mode: without `modes`, run each scenario in all of its modes; with them, leave out
            scenarios that have none of them.

    Raises:
        UsageError: a parameter that none of the scenarios has or a value that is none of its type,
            a mode that a scenario cannot use.
    """
    if repeat is not None and repeat < 1:
        raise UsageError(f"--repeat {repeat}: give 1 or more")
    values = {**settings.parameters, **({"repeat": str(repeat)} if repeat is not None else {})}
    if "mode" in values and not modes:  # as a parameter like any other
        modes = [each for each in re.split("[,|]", values.pop("mode")) if each]
    for name in values:
        if not any(name in each.parameters for each in scenarios):
            if len(scenarios) == 1:
                parameters(scenarios[0], {name: values[name]})  # says what it has
            raise UsageError(f"none of the scenarios has a parameter '{name}'; see: lvslab list")
    jobs = []
    for each in scenarios:
        own = {name: value for name, value in values.items() if name in each.parameters}
        for mode, more in _modes(each, modes, every_mode):
            bound = parameters(each, {**own, **more})
            usual = each.parameters.get("repeat", 1)
            jobs.append(Job(each, mode, bound, each.seconds * bound.get("repeat", 1) / max(1, usual)))
    if not jobs:
        raise UsageError(f"no scenario runs in {', '.join(modes)}; see: lvslab list")
    return jobs


def _modes(scenario: Scenario, asked: Sequence[str], every_mode: bool) -> list[tuple[str, dict[str, str]]]:
    """The modes to run a scenario in, each with the parameter that says so to the scenario."""
    if "mode" not in scenario.parameters:
        if not asked:
            return [("", {})]
        fitting = [mode for mode in asked if mode in scenario.modes]
        if "modes" in scenario.parameters and fitting:
            return [("", {"modes": ",".join(fitting)})]
        if set(asked) == set(scenario.modes):  # it runs in these anyway
            return [("", {})]
        if every_mode:
            return []
        raise UsageError(
            f"scenario '{scenario.name}' runs in {', '.join(scenario.modes)} only; leave --mode out"
        )
    if not asked:
        chosen = scenario.modes if every_mode else (scenario.parameters["mode"],)
    else:
        chosen = tuple(mode for mode in asked if mode in scenario.modes)
        if len(chosen) < len(asked) and not every_mode:
            wrong = next(mode for mode in asked if mode not in scenario.modes)
            raise UsageError(
                f"scenario '{scenario.name}' does not run in mode '{wrong}'; it runs in:"
                f" {', '.join(scenario.modes)}"
            )
    return [(mode, {"mode": mode}) for mode in chosen]
