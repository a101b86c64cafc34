"""The sandbox: private namespaces around everything a command starts.

    guard  ── the process the user started; waits, passes signals on, returns the exit code
      └─ door   ── makes the namespaces, then only waits
           └─ init   ── process 1 of the new process namespace: mounts, reaps; when it ends the kernel ends all the rest
                └─ the command itself

Whatever kills the guard (also `kill -9`) kills the door through PR_SET_PDEATHSIG, which kills init,
and with it every process, mount, interface and route of the lab: they exist only inside. A network
namespace of its own keeps labs from meeting. Without root a user namespace comes first, in which
the caller is mapped to root.
"""  # noqa: E501, W505

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from lvslab.errors import CannotError, LvslabError
from lvslab.exitcodes import ExitCode
from lvslab.host import linux

PRIVATE_DIRECTORY = Path("/dev/shm/lvslab")
"""Where a sandbox keeps its own files: on a tmpfs that only its processes see, so it vanishes with
them.

/dev/shm exists on every glibc system, and User-Mode Linux keeps guest memory there; the private
mount also gives it room where a container allows 64 MB.
"""

_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SI_KERNEL = 0x80  # a signal from the terminal: the whole foreground group already has it


def run(main: Callable[[], int]) -> int:
    """Run `main` in fresh user (where needed), network, mount, IPC and process namespaces.

    Standard input, output and error are shared with the caller; nothing else that `main` starts
    outlives it.

    Returns:
        The exit code: what `main` returned, or 128 plus the signal that ended it.

    Raises:
        CannotError: the kernel does not let this user make the namespaces.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    report_read, report_write = os.pipe()
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {*_FORWARDED, signal.SIGCHLD})
    guard = os.getpid()
    door = os.fork()
    if door == 0:
        os.close(report_read)
        _door(main, report_write, guard, blocked)
    os.close(report_write)
    try:
        code = _wait_and_forward(door)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    with os.fdopen(report_read) as report:
        problem = report.read()
    if problem:
        raise CannotError(json.loads(problem)["cannot"])
    return code


def _wait_and_forward(child: int) -> int:
    """Wait for the child; pass on signals that came to this process alone (a terminal's Ctrl-C
    reaches the command by itself).
    """
    while True:
        info = signal.sigwaitinfo({*_FORWARDED, signal.SIGCHLD})
        if info.si_signo == signal.SIGCHLD:
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                return _exit_code(status)
        elif info.si_code != _SI_KERNEL:
            os.kill(child, info.si_signo)


def _exit_code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _door(main: Callable[[], int], report: int, guard: int, mask: set[int | signal.Signals]) -> NoReturn:
    """Make the namespaces, start init in them, wait for it."""
    try:
        _enter_namespaces()
        linux.die_with_parent(signal.SIGKILL)
        if os.getppid() != guard:  # it died before the kernel was told to watch it
            os._exit(ExitCode.INTERRUPTED)
        ready_read, ready_write = os.pipe()
        init = os.fork()
        if init == 0:
            os.close(ready_write)
            _init(main, report, ready_read, mask)
        # the write end stays open for as long as the door lives: that is how init knows
        os.close(ready_read)
        os.close(report)
        os._exit(_wait_and_forward(init))
    except BaseException as error:
        _tell(report, error)
        os._exit(ExitCode.CANNOT)


def _enter_namespaces() -> None:
    spaces = linux.CLONE_NEWNET | linux.CLONE_NEWNS | linux.CLONE_NEWPID | linux.CLONE_NEWIPC
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        try:
            linux.unshare(spaces)
            return
        except OSError as error:  # root in a container without CAP_SYS_ADMIN: go on as an ordinary user would
            if not linux.is_denied(error):
                raise
    try:
        linux.unshare(spaces | linux.CLONE_NEWUSER)
    except OSError as error:
        raise CannotError(
            f"namespaces: the kernel refuses unprivileged user namespaces ({os.strerror(error.errno or 0)});"
            " run as root, or allow them: sysctl kernel.unprivileged_userns_clone=1"
            " user.max_user_namespaces=10000"
        ) from error
    try:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    except OSError as error:
        raise CannotError(
            f"namespaces: mapping user {uid} to root was refused ({os.strerror(error.errno or 0)}); run as"
            " root, or lift the restriction: sysctl kernel.apparmor_restrict_unprivileged_userns=0"
        ) from error


def _init(main: Callable[[], int], report: int, door_alive: int, mask: set[int | signal.Signals]) -> NoReturn:
    """Process 1: private mounts, then reap until the command ends; its end takes everything else
    along.
    """
    try:
        linux.die_with_parent(signal.SIGKILL)
        os.set_blocking(door_alive, False)
        try:
            if os.read(door_alive, 1) == b"":  # the door is already gone
                os._exit(ExitCode.INTERRUPTED)
        except BlockingIOError:
            pass
        os.close(door_alive)
        _private_mounts()
        command = os.fork()
        if command == 0:
            os.close(report)
            _command(main, mask)
        os.close(report)
        while True:
            info = signal.sigwaitinfo({*_FORWARDED, signal.SIGCHLD})
            if info.si_signo != signal.SIGCHLD:
                if info.si_code != _SI_KERNEL:
                    os.kill(command, info.si_signo)
                continue
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == command:
                    os._exit(_exit_code(status))
                if pid == 0:
                    break
    except BaseException as error:
        _tell(report, error)
        os._exit(ExitCode.CANNOT)


def _private_mounts() -> None:
    linux.mount("none", "/", "none", linux.MS_REC | linux.MS_PRIVATE)
    try:
        linux.mount("proc", "/proc", "proc", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
    except OSError as error:
        raise CannotError(
            f"sandbox: {error.strerror}; the container that this runs in hides parts of /proc: run it"
            " outside, or with a full /proc"
        ) from error
    linux.mount("lvslab", "/dev/shm", "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "mode=1777,size=75%")
    PRIVATE_DIRECTORY.mkdir(mode=0o700)
    linux.mount("sysfs", "/sys", "sysfs", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)


def _command(main: Callable[[], int], mask: set[int | signal.Signals]) -> NoReturn:
    """The command itself: the first interruption unwinds it, later ones do not disturb the
    clean-up.
    """

    def interrupt(number: int, _frame: object) -> None:
        for each in _FORWARDED:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt(signal.Signals(number).name)

    for each in _FORWARDED:
        signal.signal(each, interrupt)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    code: int = ExitCode.LAB_BROKE
    try:
        code = main()
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else ExitCode.LAB_BROKE
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _tell(report: int, error: BaseException) -> None:
    """Carry the reason why there is no sandbox to the guard, which raises it."""
    message = str(error) if isinstance(error, LvslabError) else f"sandbox: {error}"
    os.write(report, json.dumps({"cannot": message}).encode())
