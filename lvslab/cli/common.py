"""What the commands share: their common options, the sandbox around them, and how they check and
show labs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lvslab.catalog.choice import check_kernel
from lvslab.cli.guard import guarded
from lvslab.cli.places import writable_folder
from lvslab.exitcodes import ExitCode

if TYPE_CHECKING:
    from lvslab.plan.plan import LabPlan
    from lvslab.plan.spec import LabSpec


def options(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def apply(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return apply


JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
DRY_RUN = click.option(
    "--dry-run", is_flag=True, help="Print what would be started where, and start nothing."
)
RUNS = click.option(
    "--runs",
    type=click.Path(path_type=Path),
    callback=writable_folder,
    default=Path("runs"),
    show_default=True,
    help="Where run directories go.",
)
KERNEL = click.option(
    "--kernel",
    metavar="NAME",
    help=(
        "Kernel of the directors: host, uml, or one of `lvslab kernels`; by default the cheapest that has"
        " what the mode needs."
    ),
)
SIZE = options(
    click.option("--clients", type=int, default=1, show_default=True, help="Number of clients, 1 to 50."),
    click.option(
        "--servers", type=int, default=2, show_default=True, help="Number of real servers, 1 to 50."
    ),
)
TOPOLOGY = click.option(
    "--topology",
    metavar="NAME|FILE",
    help="Shipped topology (see lvslab list) or a file of yours, instead of the one made for the mode.",
)
WITHOUT = click.option(
    "--without",
    multiple=True,
    metavar="STEP",
    help="Leave out a set-up step, to see what it is for; repeatable.",
)


def in_sandbox(work: Callable[[], int]) -> int:
    """Run the part of a command that starts things; its errors become messages and exit codes in
    there already. Says which modules the machine's kernel has loaded meanwhile.
    """
    from lvslab.cli.terminal import print_error
    from lvslab.host import modules, sandbox

    def interruptible() -> int:
        try:
            return work()
        except KeyboardInterrupt:
            print_error("interrupted; the lab is gone, what was measured so far is kept")
            return ExitCode.INTERRUPTED

    before = modules.listing()
    try:
        return sandbox.run(lambda: guarded(interruptible))
    finally:
        if said := modules.notice(before, modules.listing()):
            print_error(said)


def check_lab(spec: LabSpec) -> None:
    """Find what is wrong with a lab as far as it can be said without looking at the machine.

    Raises:
        UsageError, CannotError: as `lvslab.plan.make.make_plan`; or a kernel that there is not.
    """
    from lvslab.kernels.needs import any_kernel
    from lvslab.plan.make import make_plan

    for kernel in spec.kernels:
        check_kernel(kernel)
    make_plan(spec, any_kernel(*spec.kernels))


def print_plan(plan: LabPlan) -> None:
    from lvslab.cli.terminal import print_lines, print_table

    rows = [
        (
            node.name,
            str(node.role),
            str(node.kernel),
            node.why,
            ", ".join(each.address or each.name for each in node.interfaces),
        )
        for node in plan.nodes
    ]
    print_table(
        ("node", "role", "kernel", "why", "addresses"),
        rows,
        title=f"{plan.mode.title} on topology {plan.topology}",
    )
    print_lines(["", *plan.commands(), ""])
