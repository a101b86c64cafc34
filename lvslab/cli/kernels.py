"""`lvslab kernels`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lvslab.cli.common import (
    JSON,
    in_sandbox,
)
from lvslab.exitcodes import ExitCode

if TYPE_CHECKING:
    pass


@click.group(invoke_without_command=True)
@click.pass_context
@JSON
def kernels(context: click.Context, as_json: bool) -> int:
    """List the kernels that are here; `kernels fetch` gets others. Each name can be given to --kernel."""
    if context.invoked_subcommand:
        return ExitCode.OK
    from lvslab.terminal import print_json, print_table

    def work() -> int:
        from lvslab.kernels import catalog, probe

        here = probe.kernels_here()
        rows = [(str(name), each.release, sorted(each.met), dict(each.unmet)) for name, each in here.facts.items()]
        rows += [(each.full_name, each.release, sorted(each.facts.met), dict(each.facts.unmet)) for each in catalog.entries()]
        if as_json:
            print_json(
                {
                    "kernels": [
                        {"name": name, "release": release, "has": has, "lacks": {str(need): why for need, why in lacks.items()}}
                        for name, release, has, lacks in rows
                    ]
                }
            )
        else:
            print_table(
                ("kernel", "release", "has", "lacks"),
                [(name, release, ", ".join(has), ", ".join(map(str, lacks))) for name, release, has, lacks in rows],
            )
        return ExitCode.OK

    return in_sandbox(work)


@kernels.command("fetch")
@click.argument("specs", nargs=-1, required=True, metavar="debian/SUITE[:uml][=VERSION]...")
def kernels_fetch(specs: tuple[str, ...]) -> int:
    """Get User-Mode Linux kernels of other Debian suites through apt's own tools: signatures checked, nothing installed, tried by a boot.

    For example: debian/trixie:uml, debian/sid:uml.
    """
    from lvslab.check import require_programs
    from lvslab.kernels.catalog import Spec
    from lvslab.kernels.fetch import fetch
    from lvslab.terminal import Progress, print_lines

    for spec in specs:
        Spec.parse(spec)
    require_programs()
    with Progress() as progress:
        fetched = [fetch(spec, tell=progress) for spec in specs]
    print_lines(
        [
            f"{each.full_name}: {each.release}, ready after {each.boot_seconds:.1f} s; use it: --kernel {each.name}"
            for each in fetched
        ]
    )
    return ExitCode.OK
