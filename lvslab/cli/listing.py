"""`lvslab list`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from lvslab.cli.common import (
    JSON,
)
from lvslab.errors import UsageError
from lvslab.exitcodes import ExitCode
from lvslab.runs.words import plural

if TYPE_CHECKING:
    from lvslab.scenario.description import Scenario


@click.command("list", short_help="List modes, topologies, scenarios, or the suite's checks.")
@click.option(
    "--checks", is_flag=True, help="List the checks of the conformance suite with their expectations."
)
@click.argument("scenarios", nargs=-1, metavar="[SCENARIO]...")
@JSON
def list_(checks: bool, scenarios: tuple[str, ...], as_json: bool) -> int:
    """List forwarding modes, topologies and scenarios, or the checks of the conformance suite; of a
    SCENARIO, by name or file, everything that can be set.
    """
    if checks and scenarios:
        raise UsageError("list: --checks takes no scenario")
    if checks:
        return _list_checks(as_json)
    if scenarios:
        return _list_scenarios(scenarios, as_json)
    from lvslab.cli.terminal import print_json, print_lines, print_table
    from lvslab.modes import MODES
    from lvslab.plan.files import load_module, shipped_files
    from lvslab.scenario import description

    found = [description.load(name, shipped_files("scenarios")) for name in shipped_files("scenarios")]
    topologies = {
        name: " ".join((load_module(path).__doc__ or "").partition("\n\n")[0].split())
        for name, path in shipped_files("topologies").items()
    }
    if as_json:
        print_json(
            {
                "modes": [
                    {"name": mode.name, "summary": mode.summary, "topology": mode.topology}
                    for mode in MODES.values()
                ],
                "topologies": [{"name": name, "summary": summary} for name, summary in topologies.items()],
                "scenarios": [_as_json(each) for each in found],
            }
        )
        return ExitCode.OK
    print_table(("mode", "what it does"), [(mode.name, mode.summary) for mode in MODES.values()])
    print_lines([""])
    print_table(("topology", "network"), list(topologies.items()))
    print_lines([""])
    print_table(
        ("scenario", "title", "what it teaches", "modes", "takes"),
        [
            (each.name, each.title, each.teaches, ", ".join(each.modes), f"{each.seconds:g} s")
            for each in found
        ],
    )
    print_lines([""])
    print_table(
        ("scenario", "parameters with their defaults"),
        [
            (
                each.name,
                " ".join(f"--{name} {description.shown(value)}" for name, value in each.parameters.items()),
            )
            for each in found
        ],
    )
    return ExitCode.OK


def _list_scenarios(names: Sequence[str], as_json: bool) -> int:
    from lvslab.cli.terminal import print_json, print_lines, print_table
    from lvslab.plan.files import shipped_files
    from lvslab.scenario import description

    found = [description.load(name, shipped_files("scenarios")) for name in names]
    if as_json:
        print_json({"scenarios": [_as_json(each) for each in found]})
        return ExitCode.OK
    for each in found:
        lasting = f"about {each.seconds:g} s with these values"
        print_lines([f"{each.title}: {each.teaches}", f"in {', '.join(each.modes)}; {lasting}", ""])
        print_table(
            ("option of lvslab run", "by default", "takes"),
            [
                (f"--{name.replace('_', '-')}", description.shown(value), description.takes(each, name))
                for name, value in each.parameters.items()
            ],
        )
        print_lines([""])
    return ExitCode.OK


def _as_json(each: Scenario) -> dict[str, Any]:
    return {
        "name": each.name,
        "title": each.title,
        "teaches": each.teaches,
        "modes": list(each.modes),
        "seconds": each.seconds,
        "parameters": dict(each.parameters),
    }


def _list_checks(as_json: bool) -> int:
    from lvslab.cli.terminal import print_json, print_lines, print_table
    from lvslab.conformance.check import all_checks, timer_checks

    timers = timer_checks()
    found = [*all_checks(), *timers]
    if as_json:
        print_json(
            {
                "checks": [
                    {"name": each.name, "expects": each.expects, "tags": list(each.tags)} for each in found
                ]
            }
        )
        return ExitCode.OK
    print_table(
        ("check", "what it expects", "tags"),
        [(each.name, each.expects, " ".join(each.tags)) for each in found],
    )
    print_lines(
        [
            "",
            f"{plural(len(found) - len(timers), 'check')}; to run: lvslab verify --full, --only 'SUBJECT:*',"
            " --tag TAG",
            f"{plural(len(timers), 'check')} of timers; to run: lvslab verify --profile timers",
        ]
    )
    return ExitCode.OK
