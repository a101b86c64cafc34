"""The Linux system calls that Python's standard library (3.11) does not wrap: namespaces, mounts,
process control.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import signal
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

CLONE_NEWNS = 0x00020000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_NOSYMFOLLOW = 0x100
MS_REC = 0x4000
MS_PRIVATE = 0x40000

PR_SET_PDEATHSIG = 1

_MNT_DETACH = 2
_NS_GET_USERNS = 0xB701  # linux/nsfs.h

_SYS_PIDFD_GETFD = 438  # the same number on every architecture (include/uapi/asm-generic/unistd.h)
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, call: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")
    return result


def unshare(flags: int) -> None:
    """unshare(2): give the calling process (for the network: the calling thread) its own
    namespaces.

    Raises:
        OSError: the kernel refused, most often EPERM.
    """
    _check(_libc.unshare(flags), "unshare")


def mount(source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
    """mount(2).

    Raises:
        OSError: with the target's name.
    """
    try:
        _check(
            _libc.mount(
                source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data.encode()
            ),
            "mount",
        )
    except OSError as error:
        raise OSError(error.errno, f"mount {kind} on {target}: {os.strerror(error.errno or 0)}") from error


def private_mounts() -> None:
    """Move the calling thread, and what it starts from now on, into a mount namespace of its own.

    Raises:
        OSError: it may not.
    """
    unshare(CLONE_NEWNS)
    mount("none", "/", "none", MS_REC | MS_PRIVATE)


def unmount(target: str) -> None:
    """umount2(2): take a mount away from every path at once; it goes when its last user does.

    Raises:
        OSError: nothing is mounted there.
    """
    _check(_libc.umount2(target.encode(), _MNT_DETACH), "umount2")


def owner_of(namespace: int) -> int:
    """The user namespace that a namespace belongs to (ioctl_ns(2), NS_GET_USERNS), as a descriptor
    of the caller's.

    Raises:
        OSError: it is none of the caller's, nor below it.
    """
    return fcntl.ioctl(namespace, _NS_GET_USERNS)


def children_of(pid: int) -> list[int]:
    """Processes that the main thread of a process has started, the oldest first; none where it has
    ended.
    """
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def waited_seconds(pid: int) -> float:
    """Seconds that the main thread of a process has been ready to run and had no processor
    (sched-stats.rst, /proc/PID/schedstat); 0 where it has ended.
    """
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


def is_runnable(pid: int) -> bool:
    """Whether a thread of a process runs or waits for a processor (proc_pid_stat(5), state R)."""
    for task in Path(f"/proc/{pid}/task").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            if (task / "stat").read_text().rpartition(")")[2].split()[0] == "R":
                return True
    return False


def standing(pid: int) -> str:
    """What a process is and does, for a message about one that hangs: its program, its state
    (proc(5), /proc/pid/status) and what it has had of a processor.
    """
    try:
        words = dict(row.split(":", 1) for row in Path(f"/proc/{pid}/status").read_text().splitlines())
        ran = int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
    except OSError:
        return f"process {pid} has ended"
    name, state = words["Name"].strip(), words["State"].strip()
    return (
        f"{name}, state {state}, ran for {ran:.1f} s and waited {waited_seconds(pid):.1f} s for a processor"
    )


def processor_seconds(pid: int) -> float:
    """Processor time that a process and those that it has started have used so far (proc(5),
    /proc/pid/stat).
    """
    ticks = 0
    for number in (pid, *children_of(pid)):
        try:
            fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def die_with_parent(sig: int) -> None:
    """prctl(2) PR_SET_PDEATHSIG: the kernel sends `sig` to this process when the thread that forked
    it ends.
    """
    _check(_libc.prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(sig), 0, 0, 0), "prctl")


def bound(command: Sequence[str]) -> list[str]:
    """A command that ends with the thread that starts it, also when this process is killed
    (setpriv(1), prctl(2)); at once, where it was killed before the kernel was told to watch it.
    """
    watched = ("sh", "-c", '[ "$PPID" = "$0" ] && exec "$@"', str(os.getpid()))
    return ["setpriv", "--pdeathsig", "KILL", *watched, *command]


def borrow_descriptor(pid: int, descriptor: int) -> int:
    """pidfd_getfd(2): duplicate a descriptor of another process that we may trace.

    Raises:
        OSError: the process or descriptor is gone, or tracing it is not allowed.
    """
    handle = os.pidfd_open(pid)
    try:
        return _check(_libc.syscall(_SYS_PIDFD_GETFD, handle, descriptor, 0), "pidfd_getfd")
    finally:
        os.close(handle)


@contextmanager
def network_of(pid: int) -> Iterator[None]:
    """Put the calling thread into the network namespace of process `pid`; sockets opened inside
    stay there.

    Raises:
        OSError: the process is gone or its namespace may not be entered.
    """
    there = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        with inside_network(there):
            yield
    finally:
        os.close(there)


@contextmanager
def inside_network(namespace: int) -> Iterator[None]:
    """Put the calling thread into a network namespace given by descriptor; processes started and
    sockets opened inside stay there.

    Raises:
        OSError: it may not be entered.
    """
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.setns(namespace, CLONE_NEWNET), "setns")
        try:
            yield
        finally:
            _check(_libc.setns(home, CLONE_NEWNET), "setns")
    finally:
        os.close(home)


def new_network() -> int:
    """A new, empty network namespace, as a descriptor that keeps it until it is closed."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        unshare(CLONE_NEWNET)
        try:
            return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            _check(_libc.setns(home, CLONE_NEWNET), "setns")
    finally:
        os.close(home)


def set_link_up(name: str, up: bool = True) -> None:
    """Bring an interface of the current network namespace up, or down (netdevice(7),
    SIOCSIFFLAGS).
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        flags = _link_flags(sock, name)
        wanted = flags | _IFF_UP if up else flags & ~_IFF_UP
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sH14x", name.encode(), wanted))


def is_link_up(name: str) -> bool:
    """Whether an interface of the current network namespace is up."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        return bool(_link_flags(sock, name) & _IFF_UP)


def has_interface(name: str) -> bool:
    """Whether the current network namespace has an interface of this name."""
    try:
        socket.if_nametoindex(name)
    except OSError:
        return False
    return True


def _link_flags(sock: socket.socket, name: str) -> int:
    flags: int = struct.unpack(
        "16sH14x", fcntl.ioctl(sock, _SIOCGIFFLAGS, struct.pack("16sH14x", name.encode(), 0))
    )[1]
    return flags


def silence_ipv6() -> None:
    """Turn IPv6 off in the current network namespace, so that no neighbour discovery appears on
    links that carry IPv4 tests.

    A kernel without IPv6 has nothing to turn off.
    """
    for which in ("all", "default"):
        path = Path(f"/proc/sys/net/ipv6/conf/{which}/disable_ipv6")
        if path.exists():
            path.write_text("1")


def fresh_network() -> None:
    """Move the calling thread into a new, empty network namespace whose loopback is up."""
    unshare(CLONE_NEWNET)
    set_link_up("lo")
    silence_ipv6()


def is_denied(error: OSError) -> bool:
    """Whether the kernel said no for want of permission (and not for a bad argument)."""
    return error.errno in (errno.EPERM, errno.EACCES, errno.ENOSPC)


def kill_group(leader: int) -> None:
    """Kill a process and its group; one that has just ended by itself is as good (kill(2))."""
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)
