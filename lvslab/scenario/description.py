"""Scenarios as descriptions: a decorated function whose keyword arguments are its parameters."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from lvslab.catalog.choice import check_kernel
from lvslab.errors import UsageError
from lvslab.modes import mode_named
from lvslab.plan.files import load_module, mistakes_in, shipped_files
from lvslab.scenario.limits import USUAL, Limits

_Run = TypeVar("_Run", bound=Callable[..., None])
_NUMBERS: Mapping[type, str] = {int: "whole number", float: "number", str: "word"}
_TRUE, _FALSE = ("1", "yes", "true", "on"), ("0", "no", "false", "off")


@dataclass(frozen=True)
class Scenario:
    """A scenario.

    Attributes:
        name: file name without ".py", with "-" for "_".
        title: one line.
        teaches: what one learns from it, one sentence.
        modes: forwarding modes that it uses.
        seconds: expected duration with the default parameters.
        real_time: what it needs real time for, and why ("throughput: in virtual time …"); "": it
            runs in virtual time, too.
        choices: parameter → the values that it may have, where they are few.
        limits: parameter → how large its numbers may be.
        parameters: name → default value; a value from the command line takes the default's type.
        run: the function itself; its first argument is the experiment.
    """

    name: str
    title: str
    teaches: str
    modes: tuple[str, ...]
    seconds: float
    real_time: str
    choices: Mapping[str, tuple[str, ...]]
    limits: Mapping[str, Limits]
    parameters: Mapping[str, Any]
    run: Callable[..., None]
    file: Path

    @property
    def is_shipped(self) -> bool:
        """Whether its name alone means it."""
        return shipped_files("scenarios").get(self.name) == self.file


def scenario(
    *,
    title: str,
    teaches: str,
    modes: tuple[str, ...] | list[str],
    seconds: float = 10.0,
    real_time: str = "",
    choices: Mapping[str, Iterable[str]] | None = None,
    fixed: Iterable[str] = (),
    limits: Mapping[str, tuple[float, float]] | None = None,
) -> Callable[[_Run], _Run]:
    """Mark a function as a scenario: `def run(log: Experiment, parameter=default, …)`.

    Args:
        title, teaches, modes, seconds, real_time, choices: as `Scenario` has them.
        fixed: arguments of the function that keep their defaults: no parameters of the scenario.
        limits: parameter → lowest and highest number; `lvslab.scenario.limits.USUAL` has those of
            the usual names.
    """
    facts = {
        "title": title,
        "teaches": teaches,
        "modes": tuple(modes),
        "seconds": seconds,
        "real_time": real_time,
        "choices": {name: tuple(values) for name, values in (choices or {}).items()},
        "fixed": frozenset(fixed),
        "limits": {**USUAL, **{name: Limits(*pair) for name, pair in (limits or {}).items()}},
        "own": (*(choices or {}), *(limits or {})),
    }

    def mark(function: _Run) -> _Run:
        function.__lvslab_scenario__ = facts  # type: ignore[attr-defined]
        return function

    return mark


def load(name_or_path: str, shipped: Mapping[str, Path]) -> Scenario:
    """A shipped scenario by name, or one in a file.

    Raises:
        UsageError: unknown name, broken file, no scenario in it; names file, line and cause.
    """
    path = shipped.get(name_or_path) or Path(name_or_path)
    if name_or_path not in shipped and not (path.suffix == ".py" or path.exists()):
        raise UsageError(
            f"scenario '{name_or_path}': no such scenario or file; shipped: {', '.join(sorted(shipped))}"
        )
    module = load_module(path)
    marked = [
        value for value in vars(module).values() if callable(value) and hasattr(value, "__lvslab_scenario__")
    ]
    if len(marked) != 1:
        raise UsageError(
            f"{path}: holds {len(marked)} scenarios instead of one; mark one function with"
            " @scenario(title=…, …)"
        )
    function = marked[0]
    code = inspect.unwrap(function).__code__
    with mistakes_in(path, code.co_firstlineno if Path(code.co_filename) == path.resolve() else None):
        return _described(path, function)


def _described(path: Path, function: Callable[..., None]) -> Scenario:
    """What a file's scenario says of itself.

    Raises:
        UsageError: it contradicts itself.
    """
    facts = dict(function.__lvslab_scenario__)  # type: ignore[attr-defined]
    fixed, named = facts.pop("fixed"), facts.pop("own")
    _, *signature = inspect.signature(function).parameters.values()
    arguments = [argument for argument in signature if argument.name not in fixed]
    for argument in arguments:
        if argument.default is inspect.Parameter.empty:
            raise UsageError(f"scenario parameter '{argument.name}' has no default; give it one")
    found = Scenario(
        name=path.stem.replace("_", "-"),
        **facts,
        parameters={argument.name: argument.default for argument in arguments},
        run=function,
        file=path,
    )
    if not found.modes:
        raise UsageError("modes: name at least one forwarding mode")
    for mode in found.modes:
        mode_named(mode)
    for name in named:
        if name not in found.parameters:
            raise UsageError(f"choices or limits of '{name}', which is no parameter of the scenario")
    commas = [value for values in found.choices.values() for value in values if re.search("[,|]", value)]
    if commas:
        raise UsageError(
            f"choice '{commas[0]}' holds a separator of lists (, or |), so nobody could choose it; word it"
            " otherwise"
        )
    for name, value in found.parameters.items():
        _check_value(found, name, value)
    return found


def parameters(chosen: Scenario, settings: Mapping[str, str]) -> dict[str, Any]:
    """The scenario's parameters with values from the command line put in.

    Raises:
        UsageError: unknown parameter, or a value that is not of its type.
    """
    values = dict(chosen.parameters)
    for name, text in settings.items():
        if name not in values:
            known = ", ".join(f"{each}={shown(value)}" for each, value in values.items()) or "none"
            raise UsageError(f"scenario '{chosen.name}' has no parameter '{name}'; it has: {known}")
        values[name] = _converted(chosen.name, name, text, values[name])
        _check_value(chosen, name, values[name])
    return values


def _check_value(chosen: Scenario, name: str, value: Any) -> None:
    """Raise UsageError for a value that a parameter must not have."""
    allowed = _allowed(chosen, name)
    limits = chosen.limits.get(name)
    for each in value if isinstance(value, (tuple, list)) else [value]:
        if allowed and each not in allowed:
            raise UsageError(f"scenario '{chosen.name}': {name} '{each}' is none of: {', '.join(allowed)}")
        if limits and isinstance(each, (int, float)) and not limits.admit(each):
            raise UsageError(f"scenario '{chosen.name}': {name} {each}: give {limits}")


def takes(chosen: Scenario, name: str) -> str:
    """What a parameter takes, in words: its choices, or its kind and limits."""
    allowed = _allowed(chosen, name)
    if allowed:
        return ", ".join(allowed)
    limits, default = chosen.limits.get(name), chosen.parameters[name]
    first = default[0] if isinstance(default, (tuple, list)) else default
    bounded = f", {limits}" if limits and isinstance(first, (int, float)) else ""
    return f"{_wanted(default)}{bounded}"


def _allowed(chosen: Scenario, name: str) -> tuple[str, ...]:
    return chosen.choices.get(name, chosen.modes if name in ("mode", "modes") else ())


def shown(value: Any) -> str:
    """A parameter's value as it is written on the command line."""
    return ",".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)


def _converted(scenario_name: str, name: str, text: str, default: Any) -> Any:
    several = isinstance(default, (tuple, list))
    kind = type(default[0] if several and default else "" if several or default is None else default)
    parts = [part for part in re.split("[,|]", text) if part] if several else [text]
    if not parts:
        raise UsageError(f"scenario '{scenario_name}': {name}: give at least one value")
    try:
        values = tuple(_read(kind, part) for part in parts)
    except ValueError:
        raise UsageError(
            f"scenario '{scenario_name}': {name}: expected {_wanted(default)}, got '{text}'"
        ) from None
    if name == "kernels":
        for value in values:
            check_kernel(value)
    return values if several else values[0]


def _wanted(default: object) -> str:
    """What a parameter with this default takes, in words."""
    if isinstance(default, (tuple, list)):
        return f"{_NUMBERS[type(default[0])]}s separated by commas"
    return "yes or no" if isinstance(default, bool) else f"one {_NUMBERS[type(default)]}"


def _read(kind: type, text: str) -> Any:
    if kind is not bool:
        return kind(text)
    if text.lower() not in (*_TRUE, *_FALSE):
        raise ValueError(text)
    return text.lower() in _TRUE
