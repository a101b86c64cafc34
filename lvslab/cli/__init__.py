"""The command line: parse, call, print. One module for each command."""

from __future__ import annotations

import locale
import os
import sys

import click

from lvslab import __version__
from lvslab.cli import (
    bench,
    bisect,
    check,
    classroom,
    compare,
    doctor,
    explore,
    export,
    kernels,
    listing,
    rehearse,
    report,
    run,
    shell,
    sweep,
    train,
    verify,
    watch,
)
from lvslab.cli.guard import guarded
from lvslab.exitcodes import ExitCode

_EXIT_CODES = (
    "Exit codes: 0 all held, 1 an expectation failed, 2 wrong input, 4 this machine cannot, 69 the lab broke,"
    " 130 interrupted, 141 the output's reader has gone away."
)


def main() -> None:
    """Entry point of the `lvslab` command."""
    _speak_utf_8()
    sys.exit(_command_line())


def _command_line() -> int:
    """Run what the command line says; click's own errors become exit codes."""
    try:
        code = _group(standalone_mode=False, prog_name="lvslab")
    except click.exceptions.Abort:
        return ExitCode.INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as help_asked:
        help_asked.show()
        return ExitCode.USAGE
    except click.ClickException as problem:
        from lvslab.cli.terminal import print_error

        context = getattr(problem, "ctx", None)
        command = context.command_path if context else "lvslab"
        print_error(f"{problem.format_message().rstrip('.')}; see: {command} --help")
        return ExitCode.USAGE
    return int(code or 0)


def _speak_utf_8() -> None:
    """Begin again in Python's UTF-8 mode where the locale is another: texts, files and what
    programs say are UTF-8 here (PEP 540).
    """
    if locale.getpreferredencoding(False).lower().replace("-", "") != "utf8":
        os.environ["PYTHONUTF8"] = "1"  # for whatever this process starts, too
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


class _Commands(click.Group):
    """Guards the commands closer than click does, which ends the process when a pipe is closed."""

    def invoke(self, context: click.Context) -> int:
        return guarded(lambda: super(_Commands, self).invoke(context))


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    epilog=_EXIT_CODES,
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
    sweep.sweep,
    report.report,
    compare.compare,
    watch.watch,
    export.export,
    bench.bench,
    bisect.bisect,
    listing.list_,
    shell.shell,
    train.train,
    classroom.classroom,
    doctor.doctor,
    rehearse.rehearse,
    explore.explore,
    kernels.kernels,
):
    _group.add_command(_command)
