"""The initramfs of a measured kernel: busybox, the programs with their libraries, modules, scripts
and the measurements' files.
"""

from __future__ import annotations

import shutil
import stat
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files as resources
from pathlib import Path

from lvslab.bench import setup
from lvslab.bench.kernel import BenchKernel
from lvslab.bench.measurements import COMMON_MODULES, Measurement
from lvslab.errors import CannotError
from lvslab.kernels.initramfs import Entry, cpio, missing_modules, module_entries, static_busybox

_DIRECTORY, _PROGRAM, _FILE = stat.S_IFDIR | 0o755, stat.S_IFREG | 0o755, stat.S_IFREG | 0o644
_CHARACTER = stat.S_IFCHR | 0o600

PROGRAMS = {"ip": "iproute2", "tc": "iproute2", "ipvsadm": "ipvsadm", "xtables-nft-multi": "iptables"}
"""Program that the guest runs → Debian package."""

_EXTENSIONS = (
    "libxt_ipvs.so",
    "libxt_conntrack.so",
    "libxt_standard.so",
    "libxt_NAT.so",
    "libxt_SNAT.so",
    "libipt_SNAT.so",
)
_SEARCH = "/usr/sbin:/sbin:/usr/bin:/bin"


def missing(kernel: BenchKernel, measurement: Measurement) -> list[str]:
    """The modules that a measurement needs and this kernel lacks."""
    return missing_modules(kernel.stock.modules, measurement.modules)


def build(kernel: BenchKernel, measurements: Sequence[Measurement], sysctls: Mapping[str, str]) -> bytes:
    """The whole archive, not compressed: nothing has to be unpacked in virtual time.

    Raises:
        CannotError: a program, or a module that every measurement needs, is not here.
    """
    lacking = missing_modules(kernel.stock.modules, COMMON_MODULES)
    if lacking:
        raise CannotError(
            f"kernel '{kernel.name}': has no {', '.join(lacking)}, which every measurement needs; take"
            " another kernel"
        )
    wanted = [*COMMON_MODULES, *(name for each in measurements for name in each.modules)]
    members: list[Entry] = [
        Entry("dev/console", _CHARACTER, device=(5, 1)),
        Entry("bin/busybox", _PROGRAM, static_busybox().read_bytes()),
        Entry("init", _PROGRAM, _script("init.sh")),
        Entry("measure.sh", _FILE, _script("measure.sh")),
        Entry("look.sh", _FILE, _script("look.sh")),
        Entry("modules", _FILE, " ".join(COMMON_MODULES).encode()),
        *_programs(),
        *module_entries(kernel.stock.modules, list(dict.fromkeys(wanted))),
    ]
    for index, measurement in enumerate(measurements):
        for name, text in setup.files(measurement, sysctls).items():
            members.append(Entry(f"measurements/{index}/{name}", _FILE, text.encode()))
    return cpio([*_directories(members, ("proc", "sys", "run", "tmp")), *members])


def _script(name: str) -> bytes:
    return (resources("lvslab.bench") / "guest" / name).read_bytes()


def _directories(members: Iterable[Entry], more: Iterable[str]) -> list[Entry]:
    """Every directory that the members lie in, outer ones first."""
    names = dict.fromkeys(more)
    for member in members:
        for parent in reversed(Path(member.name).parents):
            if str(parent) != ".":
                names[str(parent)] = None
    return [Entry(name, _DIRECTORY) for name in sorted(names)]


def _programs() -> list[Entry]:
    """The programs under /usr/sbin, and the libraries that the loader finds for them where it looks
    for them.
    """
    found, libraries = [], dict[str, None]()
    for name, package in PROGRAMS.items():
        path = shutil.which(name, path=_SEARCH)
        if path is None:
            raise CannotError(f"{name}: not installed; run: apt-get install {package}")
        found.append(
            Entry(
                f"usr/sbin/{'iptables-restore' if name.startswith('xtables') else name}",
                _PROGRAM,
                Path(path).read_bytes(),
            )
        )
        libraries |= dict.fromkeys(_libraries(path))
    for extension in _EXTENSIONS:
        for file in sorted(Path("/usr/lib").glob(f"*/xtables/{extension}")):
            libraries[str(file)] = None
            libraries |= dict.fromkeys(_libraries(str(file)))
    return [*found, *(Entry(name.lstrip("/"), _PROGRAM, Path(name).read_bytes()) for name in libraries)]


def _libraries(program: str) -> list[str]:
    """Paths of the shared libraries of a program, from ldd(1): lines `name => path (address)` or
    `path (address)`.
    """
    done = subprocess.run(["ldd", program], capture_output=True, text=True, timeout=20, check=False)
    if done.returncode != 0:
        return []  # linked statically: "not a dynamic executable"
    words = (word for line in done.stdout.splitlines() for word in line.split())
    return [word for word in words if word.startswith("/")]
