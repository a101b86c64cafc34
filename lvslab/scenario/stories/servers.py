"""A real server fails under health control: the story, what is expected of it, and scenarios that
tell it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from lvslab.control.controls import CONTROLS, HealthSettings, control_named
from lvslab.faults import Fault
from lvslab.modes import ALL_MODES
from lvslab.runs.records import Bound
from lvslab.runs.words import plural
from lvslab.scenario.description import scenario
from lvslab.scenario.experiment import Experiment
from lvslab.scenario.stories.common import SETTLE, Break, weight_of
from lvslab.scenario.trial import Trial


def server_failure(break_server: Break, *, title: str, teaches: str) -> Callable[..., None]:
    """A scenario: a server fails under each health control, whose checks are all of one kind.

    Args:
        break_server: one of `lvslab.faults`.
        title, teaches: as `@scenario` takes them.
    """

    @scenario(
        title=title,
        teaches=teaches,
        modes=ALL_MODES,
        seconds=60,
        choices={"control": CONTROLS, "check": ("tcp", "http", "misc")},
    )
    def run(
        log: Experiment,
        mode: str = "nat",
        control: tuple[str, ...] = tuple(CONTROLS),
        check: str = "tcp",
        server: str = "rs1",
        interval: float = 1.0,
        timeout: float = 1.0,
        rate: float = 500.0,
        repeat: int = 1,
    ) -> None:
        server_fails(
            log,
            break_server,
            mode=mode,
            controls=control,
            check=check,
            server=server,
            interval=interval,
            timeout=timeout,
            rate=rate,
            repeat=repeat,
        )

    return run


def server_fails(
    log: Experiment,
    break_server: Break,
    *,
    mode: str,
    controls: Iterable[str],
    check: str,
    server: str = "rs1",
    interval: float = 1.0,
    timeout: float = 1.0,
    rate: float = 500.0,
    repeat: int = 1,
    patience: float = 3.0,
    notices: bool = True,
) -> None:
    """A server fails and is repaired, under each health control in turn.

    Args:
        break_server: one of `lvslab.faults`.
        check: how the controls ask: tcp, http or misc.
        interval, timeout: of the health checks, seconds.
        patience: seconds to wait where nobody will take the server out.
        notices: whether this kind of check can notice this kind of failure.
    """
    settings = HealthSettings(check=check, interval=interval, timeout=timeout)  # type: ignore[arg-type]
    for repetition in log.repetitions(repeat):
        for name in controls:
            control = control_named(name)
            acts = name != "none" and notices
            bound = Bound(*control.bound(settings)) if acts else None
            variant = name if name == "none" else f"{name}, {check} check"
            expects = (
                f"{server} leaves the table within {bound.seconds:g} s ({bound.formula}); no attempt fails"
                " after that"
                if bound
                else f"{server} stays in the table, attempts fail until it is repaired"
            )
            with log.lab(
                mode, control=name, health_settings=settings, name=f"{mode}-{name}", breaks=[server]
            ) as lab:
                with log.trial(
                    lab, variant=variant, repeat=repetition, expects=expects, bound=bound, rate=rate
                ) as trial:
                    trial.steady(SETTLE)
                    with break_server(lab, server) as fault:
                        if bound:
                            trial.until_table(
                                lambda table: not weight_of(table, lab, server), 4 * bound.seconds
                            )
                            trial.steady(SETTLE)
                        else:
                            trial.steady(patience)
                        repaired = lab.now()
                    trial.until_table(lambda table: bool(weight_of(table, lab, server)), 30)
                    trial.until_whole()
                    trial.steady(SETTLE)
            judge_server_failure(log, trial, fault, repaired, bound, server, f"{variant}, {repetition}")


def judge_server_failure(
    log: Experiment, trial: Trial, fault: Fault, repaired: float, bound: Bound | None, server: str, name: str
) -> None:
    """Whether a server's failure went as expected: noticed within the bound and harmless from then
    on, or harmful to the end.
    """
    during = trial.since(fault.t, repaired)
    failed = sum(each.failed for each in during)
    noticed = trial.mark("table", fault.t)
    if noticed is not None and noticed > repaired:
        noticed = None
    if bound is None:
        late = [each for each in trial.since(repaired - 1.0, repaired) if each.failed]
        log.expect(
            f"{name}: nobody helps",
            noticed is None and bool(late),
            f"{failed} of {len(during)} attempts failed until the repair; the table "
            + ("stayed as it was" if noticed is None else f"changed after {noticed - fault.t:.2f} s"),
            trial=trial,
        )
        return
    if noticed is None:
        log.expect(
            f"{name}: {server} is taken out",
            False,
            f"{failed} of {len(during)} attempts failed, the table never changed",
            trial=trial,
        )
        return
    after = noticed - fault.t
    log.expect(
        f"{name}: {server} is taken out",
        after <= bound.seconds,
        f"after {after:.2f} s; {bound.formula}: at most {bound.seconds:g} s; {failed} of {len(during)}"
        " attempts failed",
        trial=trial,
        excuse=trial.excuse(after - bound.seconds, fault.t, noticed),
    )
    harmed = [each for each in trial.since(noticed, repaired) if each.failed]
    log.expect(
        f"{name}: harmless from then on",
        not harmed,
        f"{plural(len(harmed), 'attempt')} failed after the table had changed",
        trial=trial,
        excuse=trial.excuse_of(harmed),
    )
    back = trial.mark("table", repaired)
    log.expect(
        f"{name}: {server} comes back",
        back is not None,
        f"{back - repaired:.2f} s after the repair began" if back else "it never came back into the table",
        trial=trial,
    )
