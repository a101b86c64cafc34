"""What keeps a guest's process in: whoever is root in a guest can make its kernel's process do
anything that this process may do on the machine. So it may do little.

`start` runs it with bubblewrap (bwrap(1)): a file system of its own, in which the programs that
labs use lie read-only and one folder can be written; a process namespace that ends with it; no
capability but that for packet sockets, in a network namespace where only the guest's own links
are; another user, where this process is root; limits; a filter of system calls. What this promises,
and what not: docs/security.md.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import IO

from lvslab.errors import CannotError, GuestError
from lvslab.host import linux
from lvslab.host.distribution import advice
from lvslab.kernels import syscalls

NOBODY = 65534
"""User and group that a guest's process is to the machine, where this process may choose."""

_FOLDER_BYTES = 512 << 20
_ROOM_MIB = 64
"""What may lie on /dev/shm beside the guest's memory."""

_HOLE_MIB = 1280
"""The file of a User-Mode Linux guest's memory begins with a hole as large as all that lies below
its heap, which the machine's kernel moves by up to 1 GiB (arch/x86: arch_randomize_brk).
"""

_PROCESSES = 2048
_OPEN_FILES = 4096

_SETTINGS = (
    "alternatives",
    "apache2/mime.types",
    "bash.bashrc",
    "bindresvport.blacklist",
    "debian_version",
    "ethertypes",
    "gai.conf",
    "host.conf",
    "inputrc",
    "iproute2",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "locale.alias",
    "magic",
    "mime.types",
    "netconfig",
    "networks",
    "nginx/mime.types",
    "nsswitch.conf",
    "os-release",
    "perl",
    "protocols",
    "python3",
    "rpc",
    "services",
    "shells",
    "ssl/openssl.cnf",
    "terminfo",
    "timezone",
    "xattr.conf",
)
"""Files and folders of /etc that programs in guests read; they say nothing about the machine's
users.
"""

_OWN_FOLDERS = ("/etc/ha.d", "/etc/haproxy", "/etc/keepalived", "/etc/mon", "/etc/sysctl.d")
"""Folders of /etc that daemons' packages make, here empty: labs write their own files there."""

_MOUNT_POINTS = ("/home", "/media", "/mnt", "/opt", "/proc", "/root", "/run", "/srv", "/sys", "/tmp")
_STATE_FOLDERS = (
    "/var/cache",
    "/var/lib/haproxy",
    "/var/lib/misc",
    "/var/lib/mon",
    "/var/lib/nginx",
    "/var/log/mon",
    "/var/log/nginx",
    "/var/spool",
    "/var/tmp",
    "/var/www",
)

_START_SECONDS = 120.0
"""For what a machine with a processor to spare does in a tenth of a second."""

_LOOK_SECONDS = 0.001

_FIRST_PERSON = 1000
"""User and group numbers below belong to the system and its daemons (login.defs(5), UID_MIN)."""


@dataclass(frozen=True)
class Bounds:
    """What one guest's process gets.

    Attributes:
        folder: it may write here and nowhere else; seen at the same path.
        shown: further files and folders that it reads, at their own paths.
        memory_mib: of the guest; bounds the files that its process can make, with some room.
        data_mib: memory of its own that each of its processes may take (RLIMIT_DATA), beside the
            guest's.
        devices: devices of the machine that it opens itself.
        processes: whether it needs a /proc, where it sees itself and nobody else.
    """

    folder: Path
    shown: tuple[Path, ...]
    memory_mib: int
    data_mib: int = 1024
    devices: tuple[Path, ...] = ()
    processes: bool = False


@dataclass(frozen=True)
class Confined:
    """A started guest.

    Attributes:
        process: what was started: waits for the guest, and ends with it.
        pid: the guest's own main process. When it ends, process 1 of its namespace does, and with
            that the machine's kernel ends whatever runs in there.
        handle: descriptor of that process (pidfd_open(2)), the receiver's to close.
    """

    process: subprocess.Popen[bytes]
    pid: int
    handle: int


def new_network() -> int:
    """A new, empty network namespace in which a confined process can open packet sockets, as a
    descriptor that keeps it until it is closed.

    It belongs to a user namespace of its own, in which nobody is left.

    Raises:
        CannotError: this machine allows no user namespaces.
    """
    # unshare(1) and not unshare(2): a process of several threads gets no user namespace
    command = ["unshare", "--user", "--net", "--", "sh", "-c", "echo ready; read -r over"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        if not process.stdout.readline():
            raise CannotError(
                f"guests: no user namespace to confine them in ({process.stderr.read().strip()}); allow it:"
                " sysctl user.max_user_namespaces=10000"
            )
        for table in ("uid_map", "gid_map"):
            Path(f"/proc/{process.pid}/{table}").write_text(_identities())
        namespace = os.open(f"/proc/{process.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        process.stdin.close()
    return namespace


def _identities() -> str:
    """The table of users of a guest's namespace (user_namespaces(7)).

    The guest is 0 in there, so that its files in the share are root's to the programs in the guest.
    Where this process is root, that 0 is nobody, and root is there too for as long as bubblewrap
    puts the view together. An ordinary user has no other number to give than the own.
    """
    return f"0 {NOBODY} 1\n{NOBODY} 0 1\n" if _may_choose() else "0 0 1\n"


def _may_choose() -> bool:
    """Whether the user namespace of this process has a nobody beside root."""
    rows = [tuple(map(int, line.split())) for line in Path("/proc/self/uid_map").read_text().splitlines()]
    return any(first <= NOBODY < first + count for first, _, count in rows)


def make_folder(path: Path) -> None:
    """Make a folder that a confined process may write: of bounded size, on a mount where no
    symbolic link is followed, since what lies there is the guest's to choose.

    `linux.unmount` takes it away; at the latest it goes with the caller's mount namespace.
    """
    path.mkdir(parents=True)
    flags = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOSYMFOLLOW
    linux.mount("lvslab", str(path), "tmpfs", flags, f"mode=0755,size={_FOLDER_BYTES}")


def give(*paths: Path) -> None:
    """Make files and folders the confined process's own."""
    if _may_choose():
        for path in paths:
            os.chown(path, NOBODY, NOBODY)


def start(
    command: Sequence[str],
    bounds: Bounds,
    *,
    network: int,
    descriptors: Sequence[int],
    log: IO[bytes],
) -> Confined:
    """Start a guest's process in a session of its own.

    Args:
        network: namespace that `new_network` made. The calling thread must be inside.
        descriptors: that it inherits under their numbers.
        log: for its standard output and error.

    Raises:
        CannotError: bubblewrap or libseccomp is not installed.
        GuestError: the confinement did not get as far as the guest in time.
    """
    if shutil.which("bwrap") is None:
        raise CannotError(f"bwrap: not installed; {advice('bubblewrap')}")
    with ExitStack() as stack:
        users = _held(stack, linux.owner_of(network))
        rules = _held(stack, syscalls.open_filter())
        told, tells = os.pipe()
        with os.fdopen(told, "rb") as answer:
            try:
                process = subprocess.Popen(
                    [
                        *_limits(bounds),
                        *_bubblewrap(bounds, users, rules, tells),
                        *(_CHANGE_OF_USER if _may_choose() else ()),
                        *END_TOGETHER,
                        *command,
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    pass_fds=(users, rules, tells, *descriptors),
                    start_new_session=True,
                    env={"PATH": os.defpath, "HOME": "/root", "TMPDIR": "/dev/shm"},
                )
            finally:
                os.close(tells)
            # to the end of the object, and not of the pipe, which others may hold open
            said = b"".join(takewhile(lambda line: line != b"}\n", answer))
    first = int(json.loads(said + b"}")["child-pid"]) if said else None
    return Confined(process, *_first_child(process, first))


def _first_child(process: subprocess.Popen[bytes], first: int | None) -> tuple[int, int]:
    """The guest's main process, which is the child of process 1 of the new namespace: number and
    handle. Where it has ended already, or never was, the process that waits for it, whose end tells
    the same.
    """
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return process.pid, os.pidfd_open(process.pid)
        for child in linux.children_of(first)[:1] if first is not None else []:
            with suppress(ProcessLookupError):  # it ended in between: so does what waits for it
                return child, os.pidfd_open(child)
        time.sleep(_LOOK_SECONDS)
    stand = "; ".join(linux.standing(pid) for pid in (process.pid, first) if pid is not None)
    if first is not None:  # which takes the whole namespace along, and ends what waits for it
        with suppress(ProcessLookupError):
            os.kill(first, signal.SIGKILL)
    process.kill()
    process.wait()
    raise GuestError(f"the guest's process did not start within {_START_SECONDS:g} s ({stand})")


def _held(stack: ExitStack, descriptor: int) -> int:
    stack.callback(os.close, descriptor)
    return descriptor


def _limits(bounds: Bounds) -> list[str]:
    """prlimit(1): what each process gets, and how many there may be. A file may be as large as the
    guest's memory, which is one.
    """
    return [
        "prlimit",
        f"--nproc={_PROCESSES}",
        f"--nofile={_OPEN_FILES}",
        f"--fsize={(bounds.memory_mib + _HOLE_MIB) << 20}",
        f"--data={bounds.data_mib << 20}",
        "--core=0",
        "--memlock=0",
        "--",
    ]


_CHANGE_OF_USER = (
    "setpriv",
    "--reuid=0",
    "--regid=0",
    "--clear-groups",
    "--inh-caps=-all,+net_raw",
    "--ambient-caps=-all,+net_raw",
    "--bounding-set=-all,+net_raw",
    "--",
)


END_TOGETHER = ("sh", "-c", '"$@"; exit $?', "sh")
"""Process 1 of the guest's namespace: it ends with its one child, whereupon the machine's kernel
ends all others. A guest's kernel cannot be process 1 itself, which survives its own SIGABRT.
"""


def _bubblewrap(bounds: Bounds, users: int, rules: int, tells: int) -> list[str]:
    """The command line of bwrap(1), without the command.

    Args:
        users: descriptor of the user namespace.
        rules: of the filter of system calls.
        tells: to write the process's number to.
    """
    capabilities = ["CAP_NET_RAW", *(("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP") if _may_choose() else ())]
    settings = [Path("/etc", name) for name in _SETTINGS]
    memory_bytes = (bounds.memory_mib + _ROOM_MIB) << 20
    return [
        "bwrap",
        *("--userns", str(users), "--unshare-pid", "--unshare-ipc"),
        *("--unshare-uts", "--unshare-cgroup-try"),
        *("--as-pid-1", "--info-fd", str(tells), "--seccomp", str(rules)),
        *("--cap-drop", "ALL", *_options("--cap-add", capabilities)),
        *("--ro-bind", "/usr", "/usr"),
        *top_folders(),
        *_options("--dir", (*_MOUNT_POINTS, *_OWN_FOLDERS, *_STATE_FOLDERS)),
        *("--symlink", "/run", "/var/run"),
        *(("--proc", "/proc") if bounds.processes else ()),
        *("--dev", "/dev", "--perms", "1777", "--size", str(memory_bytes), "--tmpfs", "/dev/shm"),
        *(word for device in bounds.devices for word in ("--dev-bind", str(device), str(device))),
        *_options("--dir", [str(path) for path in _ancestors((*settings, *bounds.shown, bounds.folder))]),
        *(word for path in settings for word in ("--ro-bind-try", str(path), str(path))),
        *(word for path in bounds.shown for word in ("--ro-bind", str(path), str(path))),
        *("--bind", str(bounds.folder), str(bounds.folder)),
        *_accounts(bounds.folder),
        *("--chdir", "/", "--"),
    ]


def _options(option: str, values: Sequence[str]) -> Iterator[str]:
    for value in values:
        yield from (option, value)


def _ancestors(paths: Sequence[Path]) -> list[Path]:
    """The folders above, from the top: bubblewrap would make them as closed as they are here."""
    above = {ancestor for path in paths for ancestor in path.parents}
    return sorted(path for path in above if path.parts[1:2] != ("usr",))


def top_folders() -> Iterator[str]:
    """/bin, /lib and their like: links into /usr on systems of today (hier(7)), else folders."""
    for path in (Path(name) for name in ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")):
        if path.is_symlink():
            yield from ("--symlink", str(path.readlink()), str(path))
        elif path.is_dir():
            yield from ("--ro-bind", str(path), str(path))


def _accounts(folder: Path) -> Iterator[str]:
    """The machine's accounts without its people: daemons look up the users that they run as."""
    for name in ("passwd", "group"):
        rows = [
            line.split(":") for line in Path("/etc", name).read_text().splitlines() if line.count(":") > 2
        ]
        numbered = [row for row in rows if row[2].isdigit()]  # "+::" asks a directory service
        system = [row for row in numbered if int(row[2]) < _FIRST_PERSON or int(row[2]) == NOBODY]
        for row in system:
            row[1] = "x"
            if name == "group":
                row[3] = ""
        path = folder / name
        path.write_text("".join(":".join(row) + "\n" for row in system))
        yield from ("--ro-bind", str(path), f"/etc/{name}")
