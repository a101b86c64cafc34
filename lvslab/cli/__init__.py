"""The command line: parse, call, print. One module for each command."""

from __future__ import annotations

import sys

import click

from lvslab import __version__
from lvslab.cli import bench, check, compare, doctor, kernels, listing, report, run, shell, train, verify
from lvslab.cli.common import report_problem
from lvslab.errors import LvslabError
from lvslab.exitcodes import ExitCode

_EXIT_CODES = (
    "Exit codes: 0 all held, 1 an expectation failed, 2 wrong input, 4 this machine cannot, 69 the lab broke,"
    " 130 interrupted."
)


def main() -> None:
    """Entry point of the `lvslab` command."""
    try:
        code = _group(standalone_mode=False, prog_name="lvslab")
    except click.exceptions.Abort:
        code = ExitCode.INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as help_asked:
        help_asked.show()
        code = ExitCode.USAGE
    except click.ClickException as problem:
        from lvslab.cli.terminal import print_error

        print_error(f"{problem.format_message()}; see: lvslab --help")
        code = ExitCode.USAGE
    except LvslabError as problem:
        code = report_problem(problem)
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        code = ExitCode.OK
    sys.exit(int(code or 0))


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120}, epilog=_EXIT_CODES
)
@click.version_option(__version__, prog_name="lvslab")
def _group() -> None:
    """Laboratory for Linux Virtual Server (LVS/IPVS): builds networks on real IPVS kernels, proves
    what every forwarding mode does to every packet, measures and compares. Needs no reboot, no KVM
    and no root, and leaves nothing behind.
    """


for _command in (
    check.check,
    verify.verify,
    run.run,
    report.report,
    compare.compare,
    bench.bench,
    listing.list_,
    shell.shell,
    train.train,
    doctor.doctor,
    kernels.kernels,
):
    _group.add_command(_command)
