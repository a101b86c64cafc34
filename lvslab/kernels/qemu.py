"""QEMU: a stock kernel, as a distribution ships it, in a machine of virtio devices.

Facts about its arguments: qemu-system-x86_64(1) and docs/system in QEMU's tree. The processor is
emulated (TCG) unless a trial boot has shown that the machine's own works (kernels/kvm.py). The
guest boots the kernel inside the image without a boot loader and without the machine's firmware
probing anything, sees the host's files by 9P, and gets NICs that were there from the beginning but
have no driver until they are plugged: so plugging is a matter of milliseconds, and the guest sees
no NIC that its node does not have.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lvslab.errors import CannotError, GuestError
from lvslab.host import linux
from lvslab.kernels import bzimage, initramfs, kvm, qemu_alone, taps
from lvslab.kernels.confinement import Bounds
from lvslab.kernels.machine import STOCK_MEMORY_MIB, Guest, Kernel, Lines, fingerprint

BOOT, MODULES = Path("/boot"), Path("/lib/modules")
"""Where kernels are installed."""

_EMULATOR_MIB = 2048
"""Memory that QEMU takes for itself: most of it holds translated code."""

SPARE_NICS = 2
"""NICs for links that are added while the guest runs. Each costs an emulated processor a fifth of a
second at boot.
"""

_AGENT_PORT = 9
"""Port of the virtio console behind the agent; 0 is the terminal, 1 to 8 are the lines for
processes with live output.
"""

_FIRST_NIC = 3
"""Number of the first NIC among the virtio devices: the console and the two shared folders come
before.
"""

_FIRMWARE = "qboot.rom"
"""Starts a kernel and does nothing else (https://github.com/bonzini/qboot); the usual one looks for
disks first.
"""

_FIRMWARE_PLACES = (Path("/usr/share/qemu"), Path("/usr/share/seabios"), Path("/usr/share/qboot"))


@dataclass(frozen=True)
class QemuKernel(Kernel):
    """A kernel image as a distribution ships it, and its modules.

    Attributes:
        extra_arguments: further words for the kernel's command line.
    """

    image: Path
    modules: initramfs.ModuleTree
    extra_arguments: tuple[str, ...] = ()

    kind = "qemu"
    title = "bzImage"
    file_names = ("vmlinuz", "bzImage")
    packages = ("qemu-system-x86", "busybox-static")
    tried_unasked = False
    is_stock = True
    memory_mib = STOCK_MEMORY_MIB

    @classmethod
    def all_installed(cls, boot: Path = BOOT, modules: Path = MODULES) -> list[QemuKernel]:
        """Each /boot/vmlinuz-RELEASE that this user may read and whose modules are in
        /lib/modules/RELEASE, oldest first.
        """
        trees = {path: modules / path.name.removeprefix("vmlinuz-") for path in boot.glob("vmlinuz-*")}
        whole = [
            path
            for path, tree in trees.items()
            if (tree / "modules.dep").is_file() and os.access(path, os.R_OK)
        ]
        return [
            cls(path, initramfs.ModuleTree(trees[path]))
            for path in sorted(whole, key=lambda path: _natural(path.name))
        ]

    @classmethod
    def installed(cls, boot: Path = BOOT, modules: Path = MODULES) -> QemuKernel:
        """The newest of `all_installed`.

        Raises:
            CannotError: there is none that this user may read.
        """
        whole = cls.all_installed(boot, modules)
        if not whole:
            raise CannotError(
                f"{boot}: no readable kernel image vmlinuz-RELEASE with modules in {modules}/RELEASE; "
                "get one without installing it: lvslab kernels fetch debian/bookworm:amd64"
            )
        return whole[-1]

    @classmethod
    def at(cls, directory: Path, extra_arguments: tuple[str, ...] = ()) -> QemuKernel:
        """The one in a directory: the image `vmlinuz`, and one tree of modules below `modules/`.

        Raises:
            CannotError: the image or its modules are not there.
        """
        image, trees = directory / "vmlinuz", sorted((directory / "modules").glob("*/modules.dep"))
        if not image.is_file() or len(trees) != 1:
            raise CannotError(
                f"{directory}: not a whole kernel: needs the image vmlinuz and one tree modules/RELEASE"
            )
        return cls(image, initramfs.ModuleTree(trees[0].parent), extra_arguments)

    @classmethod
    def recognises(cls, file: Path) -> bool:
        """See `Kernel.recognises`."""
        return bzimage.release_of(file) is not None

    @classmethod
    def release_of(cls, file: Path) -> str | None:
        """As its header names it."""
        return bzimage.release_of(file)

    def prepare_trial(self) -> None:
        """Whether KVM works here."""
        kvm.try_once(self.image)

    def cannot_direct(self) -> str | None:
        """Why a guest of this kernel would not see the machine's files, or None where it does."""
        missing = initramfs.missing_modules(self.modules, initramfs.p9().drivers)
        if not missing:
            return None
        return f"the kernel has no {', '.join(missing)}, so it cannot see the machine's programs"

    def boot_alone(self, console: Path) -> str:
        """See `Kernel.boot_alone`."""
        return qemu_alone.boot(self.image, self.modules, console)

    @property
    def image_file(self) -> Path:
        """See `Kernel.image_file`."""
        return self.image

    @property
    def config_sha256(self) -> str | None:
        """SHA-256 of the configuration that lies with the modules, or beside the image as
        `config-RELEASE` or `config`; None where there is none.
        """
        for path in (
            self.modules.directory / "config",
            self.image.with_name(f"config-{self.modules.release}"),
            self.image.with_name("config"),
        ):
            try:
                return hashlib.sha256(path.read_bytes()).hexdigest()
            except OSError:
                continue
        return None

    @property
    def identity(self) -> str:
        """Changes whenever the image or its modules do."""
        return fingerprint(self.image, self.modules, self.extra_arguments)

    def boot(
        self,
        name: str,
        modules: Sequence[str],
        directory: Path,
        console_log: Path,
        *,
        memory_mib: int | None = None,
        network: int | None = None,
        nics: int = 2,
    ) -> QemuGuest:
        """See `Kernel.boot`."""
        return QemuGuest(
            self,
            name,
            modules,
            directory,
            console_log,
            memory_mib or self.memory_mib,
            network,
            nics + SPARE_NICS,
        )


DRIVERS = (*initramfs.p9().drivers, "overlay", "virtio_net")
"""Modules without which there is no guest."""


def refuse(kernel: QemuKernel) -> None:
    """Refuse a kernel that cannot be a guest.

    Raises:
        CannotError: it lacks a module of `DRIVERS`.
    """
    lacking = initramfs.missing_modules(kernel.modules, DRIVERS)
    if lacking:
        raise CannotError(
            f"kernel {kernel.modules.release}: has no {', '.join(lacking)}, by which a guest under QEMU sees"
            " the host's files and has its network; Debian's :amd64 kernels have them, the :cloud ones do"
            " not: lvslab kernels fetch debian/bookworm:amd64"
        )


def arguments(
    kernel: QemuKernel,
    boot: Path,
    *,
    accelerator: str,
    memory_mib: int,
    image: Path,
    drivers: Sequence[str],
    modules: Sequence[str],
    share: Path,
    lines: Lines,
    tap_descriptors: Sequence[int],
) -> list[str]:
    """The words after the program's name for a guest.

    Its console goes to standard output (a log file); the lines to the host are ports of one virtio
    console. The order of devices gives the NICs their numbers (`_FIRST_NIC`).

    Args:
        boot: the file to start: the kernel inside the image, or the image.
        image: its initramfs.
        drivers: modules that it loads first.
        tap_descriptors: one for each NIC.
    """
    ports = {_AGENT_PORT: lines.agent, **dict(enumerate(lines.streams, start=1))}
    kernel_words = [
        "console=ttyS0",
        "loglevel=5",  # warnings and worse: what a kernel complains of is a finding of the run
        "panic=-1",  # a panic ends the process (with -no-reboot), so that it is noticed
        "cryptomgr.notests",  # half a second of self tests that no node needs
        "net.ifnames=0",
        f"LVSLAB_AGENT=/dev/vport0p{_AGENT_PORT}",
        "LVSLAB_LINES=/dev/vport0p",
        f"LVSLAB_DRIVERS={','.join(drivers)}",
        f"LVSLAB_MODULES={','.join(modules)}",
        *kernel.extra_arguments,
    ]
    firmware = any((place / _FIRMWARE).is_file() for place in _FIRMWARE_PLACES)
    return [
        *("-machine", "pc,usb=off,vmport=off", "-accel", accelerator, "-m", str(memory_mib), "-smp", "1"),
        *(("-cpu", "host") if accelerator == "kvm" else ()),
        *(("-bios", _FIRMWARE) if firmware else ()),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-kernel", str(boot), "-initrd", str(image), "-append", " ".join(kernel_words)),
        *("-chardev", "stdio,id=log,signal=off", "-serial", "chardev:log"),
        *("-device", "virtio-serial-pci,max_ports=16"),
        *(
            "-chardev",
            f"socket,id=terminal,fd={lines.terminal}",
            "-device",
            "virtconsole,nr=0,chardev=terminal",
        ),
        *(
            word
            for number, fd in ports.items()
            for word in (
                *("-chardev", f"socket,id=line{number},fd={fd}"),
                *("-device", f"virtserialport,nr={number},chardev=line{number}"),
            )
        ),
        *_folder(initramfs.P9_ROOT, Path("/"), "readonly=on"),
        *_folder(initramfs.P9_SHARE, share),
        *(
            word
            for number, fd in enumerate(tap_descriptors)
            for word in (
                *("-netdev", f"tap,id=nic{number},fd={fd}"),
                *("-device", f"virtio-net-pci,netdev=nic{number},romfile=,rx_queue_size=1024"),
            )
        ),
    ]


def _folder(tag: str, path: Path, *options: str) -> list[str]:
    """A folder of the host, served by 9P. The host has several file systems, so inode numbers must
    be made unique (multidevs).
    """
    doubled = str(path).replace(",", ",,")  # a comma ends an option's value
    words = ["local", f"id={tag}", f"path={doubled}", "security_model=none", "multidevs=remap", *options]
    return ["-fsdev", ",".join(words), "-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]


class QemuGuest(Guest):
    """A running guest under QEMU."""

    terminal_device = "/dev/hvc0"
    boot_timeout = 90.0
    """An emulated processor needs 4 seconds on an idle machine."""

    def __init__(
        self,
        kernel: QemuKernel,
        name: str,
        modules: Sequence[str],
        directory: Path,
        console_log: Path,
        memory_mib: int,
        network: int | None,
        nics: int,
    ) -> None:
        """Start booting (see `Kernel.boot`); `nics` is how many there can ever be."""
        self._program = kvm.program()
        self._kernel, self._memory_mib = kernel, memory_mib
        self._modules = initramfs.fitting(kernel.modules, ["overlay", "virtio_net", *modules])
        self._nics = 0
        self._tap_descriptors: list[int] = []
        self._taps = [f"tap{number}" for number in range(nics)]
        super().__init__(name, directory, console_log, network)

    def _command(self, lines: Lines) -> tuple[list[str], Bounds, Sequence[int]]:
        host = initramfs.p9()
        refuse(self._kernel)
        image = self.directory / "initramfs.cpio"
        image.write_bytes(
            initramfs.build(self._kernel.modules, self._modules, host, initramfs.static_busybox())
        )
        for tap in self._taps:
            self._tap_descriptors.append(taps.open_tap(tap))
        bootable = bzimage.bootable(self._kernel.image, self._kernel.identity)
        accelerated = kvm.known_to_work()
        command = arguments(
            self._kernel,
            bootable,
            accelerator="kvm" if accelerated else "tcg",
            memory_mib=self._memory_mib,
            image=image,
            drivers=host.drivers,
            modules=self._modules,
            share=self.share,
            lines=lines,
            tap_descriptors=self._tap_descriptors,
        )
        bounds = Bounds(
            self.directory,
            (bootable, self._kernel.modules.directory.parent),
            self._memory_mib,
            data_mib=self._memory_mib + _EMULATOR_MIB,
            devices=(kvm.DEVICE,) if accelerated else (),
            processes=True,  # it reads extended attributes of shared files by /proc/self/fd
        )
        return [self._program, *command], bounds, self._tap_descriptors

    def _started(self) -> None:
        for descriptor in self._tap_descriptors:
            os.close(descriptor)

    def plug(self, interfaces: Sequence[tuple[str, str]]) -> list[str]:
        """Give as many NICs to their driver as there are veths, and join each one's tap to its veth
        (see `Guest.plug`).
        """
        first, after = self._nics, self._nics + len(interfaces)
        if after > len(self._taps):
            raise GuestError(
                f"{self.name}: was booted with {len(self._taps)} network cards, {SPARE_NICS} more than it had"
                " links, and all are in use; put the link into the topology"
            )
        with linux.inside_network(self.network):
            taps.join(
                self.name,
                [
                    (veth, mac, tap)
                    for (veth, mac), tap in zip(interfaces, self._taps[first:after], strict=True)
                ],
            )
        devices = [f"virtio{_FIRST_NIC + number}" for number in range(first, after)]
        script = "\n".join(
            f"echo {device} >/sys/bus/virtio/drivers/virtio_net/bind && echo"
            f" /sys/bus/virtio/devices/{device}/net/*"
            for device in devices
        )
        names = [
            line.rsplit("/", 1)[-1]
            for line in self.run(f"set -e\n{script}").check(self.name, "bind virtio_net").split()
        ]
        self._nics = after
        return [
            f"link set {nic} address {mac} name {veth} up"
            for nic, (veth, mac) in zip(names, interfaces, strict=True)
        ]

    def tune_nics(self) -> None:
        """Nothing: a tap has room enough."""


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Sorts 6.1.0-9 before 6.1.0-56."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", name)]
