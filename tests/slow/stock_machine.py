"""A machine whose own kernel has ip_vs, as most users' have: a distribution's stock kernel under
QEMU on this machine's files.

The files are this machine's own, read-only by 9P below an overlay in memory; what the machine
writes is gone with it. Modules and /boot are those of the stock kernel, and nothing of IPVS is
loaded when it has booted. Process 1 is a shell that takes the names of scripts from a serial line,
runs each to its end, and answers with its status.

Its clock counts instructions while it computes (QEMU's `-icount`), so what it does in a second does
not depend on how busy this machine is, and time-outs within it mean the same everywhere.
"""

from __future__ import annotations

import pwd
import shlex
import socket
import stat
import subprocess
import time
import warnings
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType

from lvslab.errors import GuestError
from lvslab.host import linux
from lvslab.host.completed import Completed
from lvslab.kernels import bzimage, initramfs
from lvslab.kernels.initramfs import Entry
from lvslab.kernels.qemu import QemuKernel

_MODULES = ("virtio_pci", "9pnet_virtio", "9p", "overlay", "virtio_rng")

_INIT = """\
#!/bin/busybox sh
set -e
bb() { /bin/busybox "$@"; }
bb mount -t devtmpfs dev /dev
bb mount -t proc proc /proc
bb modprobe -a {modules}
bb mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=524288 files /files
bb mount -t tmpfs -o size=60% writes /writes
bb mkdir /writes/upper /writes/work
bb mount -t overlay -o lowerdir=/files,upperdir=/writes/upper,workdir=/writes/work overlay /whole
bb mount -t proc proc /whole/proc
bb mount -t sysfs sys /whole/sys
bb mount -t cgroup2 none /whole/sys/fs/cgroup
bb mount -t devtmpfs dev /whole/dev
bb mkdir -p /whole/dev/pts /whole/dev/shm /whole/lib/modules /whole/boot
bb mount -t devpts -o ptmxmode=666 pts /whole/dev/pts
bb mount -t tmpfs -o mode=1777 shm /whole/dev/shm
bb mount -t tmpfs run /whole/run
bb ln -sf /proc/self/fd /whole/dev/fd
bb mkdir /whole/run/share
bb mount -t 9p -o trans=virtio,version=9p2000.L,cache=none,msize=131072 share /whole/run/share
bb mount --bind /files{trees} /whole/lib/modules
bb mount -t tmpfs boot /whole/boot
bb cp /files{image} /whole/boot/vmlinuz-{release}
exec /bin/busybox switch_root /whole /bin/sh /run/share/serve
"""

_SERVE = """\
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb COLUMNS=200
export LANG=C.UTF-8
ip link set lo up
cd /run/share
stty -F /dev/ttyS1 raw -echo
exec 3<>/dev/ttyS1
echo ready >&3
while read -r name <&3; do
	setsid sh "./$name" >"$name.out" 2>"$name.err" </dev/null 3>&-
	echo "$name $?" >&3
done
"""

_INSTRUCTION = 1
"""2 to this power: nanoseconds of an instruction, so half a billion of them are a second."""

_DIRECTORIES = ("bin", "dev", "etc", "files", "lib", "proc", "whole", "writes")


def _rights_of(user: str) -> tuple[str, ...]:
    """The beginning of a command that runs with a user's rights (setpriv(1))."""
    group = pwd.getpwnam(user).pw_gid
    return ("setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups")


class StockMachine:
    """The machine, as a context manager.

    Attributes:
        release: of its kernel.
    """

    def __init__(self, kernel: QemuKernel, directory: Path, *, boot_seconds: float = 180.0) -> None:
        """Describe it.

        Args:
            directory: empty, for its files and its console.
            boot_seconds: for its boot; an emulated processor needs some ten of its own.
        """
        self.release = kernel.modules.release
        self._kernel, self._directory, self._boot_seconds = kernel, directory, boot_seconds
        self._share = directory / "share"
        self._stack = ExitStack()
        self._scripts = 0

    def __enter__(self) -> StockMachine:
        self._share.mkdir(parents=True)
        (self._share / "serve").write_text(_SERVE)
        (self._directory / "initrd").write_bytes(self._initrd())
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def run(
        self, *words: str, user: str | None = None, seconds: float = 600.0, **environment: str
    ) -> Completed:
        """Run a command to its end.

        Args:
            user: whose rights it has; root's by default.
            seconds: until it must have ended, besides those in which this machine's other programs
                had the processors. How many these were is said where there were any.

        Raises:
            GuestError: it did not end in time; the machine is of no more use.
        """
        self._scripts += 1
        name = f"{self._scripts:03}"
        rights = _rights_of(user) if user else ()
        named = [f"{key}={value}" for key, value in environment.items()]
        (self._share / name).write_text(shlex.join(["exec", *rights, "env", *named, *words]) + "\n")
        self._line.sendall(f"{name}\n".encode())
        answer = self._read_line(seconds, shlex.join(words))
        out, err = ((self._share / f"{name}.{which}").read_text(errors="replace") for which in ("out", "err"))
        return Completed(int(answer.removeprefix(f"{name} ")), out, err)

    # -- boot --------------------------------------------------------------------------------------

    def _initrd(self) -> bytes:
        tree = self._kernel.modules
        facts: Mapping[str, str] = {
            "{modules}": " ".join(_MODULES),
            "{trees}": str(tree.directory.parent),
            "{image}": str(self._kernel.image),
            "{release}": tree.release,
        }
        init = _INIT
        for word, value in facts.items():
            init = init.replace(word, value)
        folders = (*_DIRECTORIES, "lib/modules", f"lib/modules/{tree.release}")
        return initramfs.cpio(
            [
                *(Entry(name, stat.S_IFDIR | 0o755) for name in folders),
                Entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1)),
                Entry("bin/busybox", stat.S_IFREG | 0o755, initramfs.static_busybox().read_bytes()),
                Entry("init", stat.S_IFREG | 0o755, init.encode()),
                *initramfs.module_entries(tree, _MODULES),
            ]
        )

    def _start(self) -> None:
        ours, its = socket.socketpair()
        self._stack.callback(ours.close)
        self._line = ours
        with its:
            machine = subprocess.Popen(
                self._arguments(its.fileno()), stdin=subprocess.DEVNULL, pass_fds=[its.fileno()]
            )
        self._pid = machine.pid
        self._stack.callback(machine.wait)
        self._stack.callback(machine.kill)
        if (said := self._read_line(self._boot_seconds, "boot")) != "ready":
            raise GuestError(f"stock machine: it said {said!r} instead of 'ready'")

    def _arguments(self, line: int) -> list[str]:
        """Of QEMU: qemu-system-x86_64(1)."""

        def folder(tag: str, path: Path, *options: str) -> list[str]:
            place = ",".join([f"local,id={tag},path={path},security_model=none,multidevs=remap", *options])
            return ["-fsdev", place, "-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]

        return [
            "qemu-system-x86_64",
            *("-machine", "pc,usb=off,vmport=off", "-accel", "tcg,tb-size=512", "-cpu", "Westmere,+rdrand"),
            *("-icount", f"shift={_INSTRUCTION},sleep=on"),
            *("-m", "2048", "-smp", "1", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
            *("-kernel", str(bzimage.bootable(self._kernel.image, self._kernel.identity))),
            *("-initrd", str(self._directory / "initrd")),
            *("-append", "console=ttyS0 quiet panic=-1 mitigations=off random.trust_cpu=on"),
            *("-serial", f"file:{self._directory / 'console'}"),
            *("-chardev", f"socket,id=line,fd={line}", "-serial", "chardev:line"),
            *folder("files", Path("/"), "readonly=on"),
            *folder("share", self._share),
            *("-object", "rng-random,id=random,filename=/dev/urandom"),
            *("-device", "virtio-rng-pci,rng=random"),
        ]

    def _read_line(self, seconds: float, what: str) -> str:
        """The next line of the machine's answers."""
        began, waited, said = time.monotonic(), self._waited(), b""
        while not said.endswith(b"\n"):
            late = self._waited() - waited
            left = began + seconds + late - time.monotonic()
            if left <= 0:
                raise GuestError(f"stock machine: no end within {seconds:g} s and {late:.0f} s of: {what}")
            self._line.settimeout(left)
            with suppress(TimeoutError):
                got = self._line.recv(1)
                if not got:
                    console = (self._directory / "console").read_text(errors="replace").strip().splitlines()
                    raise GuestError(f"stock machine: it ended during: {what}; it said: {console[-1:]}")
                said += got
        took = time.monotonic() - began
        if took > seconds:
            late = self._waited() - waited
            warnings.warn(
                f"stock machine: {took:.0f} s in place of {seconds:g}, {late:.0f} s of which it waited for a"
                f" processor: {what}",
                stacklevel=3,
            )
        return said.decode(errors="replace").strip()

    def _waited(self) -> float:
        """Seconds in which it could have computed and had no processor: of the thread that
        missed most.
        """
        threads = Path(f"/proc/{self._pid}/task").iterdir()
        return max(linux.waited_seconds(int(each.name)) for each in threads)
