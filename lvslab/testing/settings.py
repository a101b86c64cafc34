"""What the command line says about tests with a director, and what each test asks for with
`@pytest.mark.lvs(…)`.

Everything is checked while tests are collected: a wrong mode or option is a UsageError before any
kernel boots.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lvslab.errors import CannotError, UsageError

DEFAULT_MODE = "nat"
DEFAULT_TIMEOUT = 300.0
"""Seconds for one test, its labs' start and end included; a director without KVM under QEMU takes
most of a minute to boot.
"""


@dataclass(frozen=True)
class Settings:
    """The command line's options.

    Attributes:
        kernels: of the director, each a run of every test; none: the cheapest that has what the
            mode needs.
        modes: forwarding modes to run in; none: what each test says, or NAT.
        require: what this machine or kernel cannot do is a failure and not a skip.
        runs: where run directories go.
        keep: keep those of passed tests, too.
        timeout: seconds for one test that says nothing else.
    """

    kernels: tuple[str, ...]
    modes: tuple[str, ...]
    require: bool
    runs: Path
    keep: bool
    timeout: float


@dataclass(frozen=True)
class Asked:
    """What a test's markers say.

    Attributes:
        modes: forwarding modes that the test is about; none: it says nothing.
        options: attributes of `lvslab.plan.spec.LabSpec`, in the words of `LabSpec.of`.
        timeout: seconds, or None.
    """

    modes: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    timeout: float | None = None


def read_settings(
    *, kernels: Sequence[str], modes: Sequence[str], require: bool, runs: Path, keep: bool, timeout: float
) -> Settings:
    """Settings from the options' values; mode "all" stands for all of them.

    Raises:
        UsageError: an unknown mode or kernel, a kernel that is not here, a timeout that is none.
    """
    if timeout <= 0:
        raise UsageError(f"--lvs-timeout {timeout:g}: give more than 0 seconds")
    for kernel in kernels:
        _check_kernel(kernel)
    chosen = list(modes)
    if chosen:
        from lvslab.modes import MODES, mode_named

        chosen = list(MODES) if "all" in chosen else [mode_named(mode).name for mode in chosen]
    return Settings(tuple(dict.fromkeys(kernels)), tuple(dict.fromkeys(chosen)), require, runs, keep, timeout)


def _check_kernel(name: str) -> None:
    from lvslab.catalog.choice import check_kernel

    try:
        check_kernel(name)
    except (
        CannotError
    ) as error:  # a kernel that was named and is not here: better now than as a skip of every test
        raise UsageError(str(error)) from error


def asked_by(marks: Iterable[tuple[Sequence[Any], Mapping[str, Any]]]) -> Asked:
    """What a test's markers ask for.

    Args:
        marks: positional and keyword arguments of each, the one closest to the test first, which
            counts most.

    Raises:
        UsageError: an unknown mode or option, or a lab that cannot be.
    """
    merged: dict[str, Any] = {}
    for positional, named in marks:
        if positional:
            raise UsageError(
                f"@pytest.mark.lvs({positional[0]!r}): name the argument, for example mode={positional[0]!r}"
            )
        if {"mode", "modes"} & set(merged):  # the closer marker has spoken about modes
            named = {name: value for name, value in named.items() if name not in ("mode", "modes")}
        merged = {**named, **merged}
    if "mode" in merged and "modes" in merged:
        raise UsageError("@pytest.mark.lvs: give mode or modes, not both")
    modes = merged.pop("modes", None) or [mode for mode in [merged.pop("mode", None)] if mode]
    timeout = merged.pop("timeout", None)
    if timeout is not None and not (isinstance(timeout, (int, float)) and timeout > 0):
        raise UsageError(f"@pytest.mark.lvs(timeout={timeout!r}): give seconds, more than 0")
    if isinstance(modes, str):
        raise UsageError(f"@pytest.mark.lvs(modes={modes!r}): give a list, or mode={modes!r}")
    chosen = tuple(map(str, modes))
    for mode in chosen or (DEFAULT_MODE,):
        check_lab(mode, merged, default_mode=not chosen)
    return Asked(chosen, merged, timeout)


def check_lab(mode: str, options: Mapping[str, Any], *, default_mode: bool = False) -> None:
    """Plan a lab as if every kernel were here, to find what is wrong with it.

    Args:
        default_mode: nobody chose the mode, so that it does not fit a topology is no mistake yet.

    Raises:
        UsageError: an unknown mode or option, a scheduler or step that does not exist, addresses
            that clash, ….
    """
    from lvslab.kernels.needs import any_kernel
    from lvslab.plan.make import make_plan
    from lvslab.plan.spec import LabSpec

    spec = LabSpec.of(mode, **options)
    if not (default_mode and spec.topology):
        make_plan(spec, any_kernel(*spec.kernels))


def modes_of(asked: Asked, settings: Settings) -> tuple[str, ...]:
    """The modes to make tests for: those of the test, or those of the command line; none: one test
    in the default mode.

    A test with modes of its own gets all of them; `is_wanted` then says which of them the command
    line leaves out.
    """
    if asked.modes:
        return asked.modes if len(asked.modes) > 1 or settings.modes else ()
    return settings.modes


def is_wanted(mode: str, settings: Settings) -> bool:
    """Whether the command line wants tests in a mode."""
    return not settings.modes or mode in settings.modes
