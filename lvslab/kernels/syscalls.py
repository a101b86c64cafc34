"""The system calls that no guest's process makes, as a seccomp filter.

A guest's kernel needs files, memory, signals, sockets, and, where it is User-Mode Linux, ptrace of
its own programs. What it could use to get out, or to reach parts of the machine's kernel that are
seldom tried, it never needs. Programs in a guest are not concerned: their calls go to the guest's
kernel before the machine's looks at any filter (arch/x86/entry: ptrace's emulation of system calls
comes first; of several filters SECCOMP_RET_TRAP, by which newer kernels of that kind see the calls,
goes before SECCOMP_RET_ERRNO: seccomp(2)).

The filter is put together by libseccomp, which every Debian has (apt needs it).
"""

from __future__ import annotations

import ctypes
import errno
import os
import tempfile
from functools import cache

from lvslab.errors import CannotError
from lvslab.host import linux
from lvslab.host.distribution import advice

REFUSED = (
    # namespaces and mounts
    "setns",
    "unshare",
    "mount",
    "umount2",
    "pivot_root",
    "chroot",
    "move_mount",
    "open_tree",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "mount_setattr",
    # the machine as a whole
    "reboot",
    "swapon",
    "swapoff",
    "acct",
    "quotactl",
    "quotactl_fd",
    "syslog",
    "sethostname",
    "setdomainname",
    "settimeofday",
    "clock_settime",
    "clock_adjtime",
    "adjtimex",
    "iopl",
    "ioperm",
    "kexec_load",
    "kexec_file_load",
    "init_module",
    "finit_module",
    "delete_module",
    # other processes
    "process_vm_readv",
    "process_vm_writev",
    "pidfd_getfd",
    "kcmp",
    "process_madvise",
    # keys of the user, and handles that pass over folders
    "add_key",
    "request_key",
    "keyctl",
    "open_by_handle_at",
    "name_to_handle_at",
    "fanotify_init",
    "lookup_dcookie",
    # large interfaces that no guest's process uses
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
)
"""Answered with EPERM."""

_ABSENT = ("clone3",)
"""Answered with ENOSYS, whereupon the C library takes clone(2), whose flags a filter can see."""

_ALLOW = 0x7FFF0000  # linux/seccomp.h: SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO
_ERRNO = 0x00050000
_NO_SUCH_CALL = -1  # seccomp.h: __NR_SCMP_ERROR
_MASKED_EQUAL = 7  # seccomp.h: enum scmp_compare
_NAMESPACES = (
    linux.CLONE_NEWUSER,
    linux.CLONE_NEWNS,
    linux.CLONE_NEWNET,
    linux.CLONE_NEWPID,
    linux.CLONE_NEWIPC,
)


class _Comparison(ctypes.Structure):
    """seccomp.h: struct scmp_arg_cmp."""

    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operation", ctypes.c_int),
        ("mask", ctypes.c_uint64),
        ("value", ctypes.c_uint64),
    )


def open_filter() -> int:
    """The filter as a BPF program in an unnamed file, read from its start: a descriptor of the
    caller's.

    Raises:
        CannotError: libseccomp is not installed.
    """
    descriptor = os.memfd_create("lvslab-seccomp", os.MFD_CLOEXEC)
    os.write(descriptor, _program())
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


@cache
def _program() -> bytes:
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError as error:
        raise CannotError(f"libseccomp.so.2: not installed; {advice('libseccomp2')}") from error
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    library.seccomp_release.argtypes = [ctypes.c_void_p]
    library.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p,
        ctypes.c_uint32,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.POINTER(_Comparison),
    ]
    library.seccomp_export_bpf.argtypes = [ctypes.c_void_p, ctypes.c_int]
    rules = library.seccomp_init(_ALLOW)
    try:
        for name in REFUSED:
            _add(library, rules, name, errno.EPERM)
        for name in _ABSENT:
            _add(library, rules, name, errno.ENOSYS)
        for flag in _NAMESPACES:
            _add(library, rules, "clone", errno.EPERM, _Comparison(0, _MASKED_EQUAL, flag, flag))
        with tempfile.TemporaryFile() as file:
            if library.seccomp_export_bpf(rules, file.fileno()):
                raise CannotError("libseccomp.so.2: makes no filter for this machine's processor")
            file.seek(0)
            return file.read()
    finally:
        library.seccomp_release(rules)


def _add(library: ctypes.CDLL, rules: int, name: str, number: int, *comparisons: _Comparison) -> None:
    """One rule; a call that this libseccomp does not know yet, no filter of it can refuse."""
    call = library.seccomp_syscall_resolve_name(name.encode())
    if call == _NO_SUCH_CALL:
        return
    array = (_Comparison * len(comparisons))(*comparisons)
    if library.seccomp_rule_add_array(rules, _ERRNO | number, call, len(comparisons), array):
        raise CannotError(f"libseccomp.so.2: refuses a rule for the system call {name}")
