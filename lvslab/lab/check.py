"""What this machine can run, each line found by trial."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lvslab.control.keepalived import Keepalived
from lvslab.errors import CannotError, LvslabError
from lvslab.host import distribution, linux
from lvslab.host.distribution import advice, how_to_get
from lvslab.host.programs import missing_packages, packages
from lvslab.host.sandbox import PRIVATE_DIRECTORY
from lvslab.kernels import confinement, kvm, probe
from lvslab.kernels.kinds import HOST, KINDS
from lvslab.kernels.machine import Kernel
from lvslab.kernels.needs import NEEDS, KernelFacts, Kernels, Need
from lvslab.lab import sleepers
from lvslab.lab.clock import MachineClock
from lvslab.modes import MODES
from lvslab.plan.plan import LabPlan


@dataclass(frozen=True)
class Line:
    """One finding.

    Attributes:
        verdict: "pass", "fail" (something needed is missing) or "skip" (something optional is
            missing or could not be tried).
        finding: what the trial showed.
        fix: what helps, a command where there is one, or "".
    """

    name: str
    verdict: str
    finding: str
    fix: str = ""


_START_SECONDS = 20.0


def check_machine() -> Iterator[Line]:
    """All trials, one after the other. Call it inside the sandbox, whose own start is the first."""
    yield Line("Python", "pass", f"{sys.version.split()[0]} ({sys.executable})")
    yield _system()
    yield Line("sandbox", "pass", "private network, mount, process and IPC namespaces made")
    yield _programs()
    yield _attempt("network", _try_network, how_to_get(["mininet", "iproute2"]))
    yield _attempt(
        "packet sockets", _try_packet_socket, "run in an environment with CAP_NET_RAW in its own namespaces"
    )
    yield _attempt(
        "confinement",
        _try_confinement,
        f"sysctl user.max_user_namespaces=10000; {how_to_get(['bubblewrap'])}",
    )
    yield _attempt("web server", _try_nginx, how_to_get(["nginx-light", "libnginx-mod-stream"]))
    host = probe.host_facts(tuple(Need))
    met = sorted(host.met)
    yield Line(
        f"kernel '{HOST}'",
        "pass",
        f"{host.release}: " + (f"has {', '.join(met)}" if met else "has none of what directors need"),
    )
    tried = {HOST: host}
    guests = {name: kind for name, kind in KINDS.items() if kind.tried_unasked}
    for name, guest in guests.items():
        line, facts = _try_guest(guest)
        yield line
        if facts:
            tried[name] = facts
    kernels = Kernels(tried, dict.fromkeys(guests, "see above"))
    for mode in MODES.values():
        places = []
        try:
            for role, needs in mode.needs.items():
                kind, _ = kernels.choose(needs, None, f"{role}")
                places.append(f"{role} on '{kind}'")
        except CannotError as error:
            yield Line(f"mode {mode.name}", "fail", str(error), "lvslab check, the lines above")
        else:
            yield Line(f"mode {mode.name}", "pass", ", ".join(places))
    netem = [kind for kind, each in kernels.facts.items() if Need.NETEM in each.met]
    yield Line(
        "link impairment",
        "pass" if netem else "skip",
        f"netem in {', '.join(netem)}" if netem else NEEDS[Need.NETEM].title + ": none",
    )
    if "uml" in tried:
        yield _try_packets(kernels, "uml")
    yield _try_kvm()


def require_control(plan: LabPlan) -> None:
    """Refuse a lab whose directors lack a program that watches servers or the other director.

    Raises:
        CannotError: names it and the command that installs it.
    """
    wanted = {*plan.health.programs, *((Keepalived.name,) if plan.vrrp else ())}
    missing = [package for package in missing_packages() if package.program in wanted]
    if missing:
        names = ", ".join(str(package.program) for package in missing)
        remedy = advice(*(package.name for package in missing))
        raise CannotError(f"lab '{plan.name}': {names} not found; {remedy}")


def _system() -> Line:
    """Other distributions are not refused: what lvslab needs is found by trial."""
    name = distribution.name()
    if distribution.has_apt():
        return Line("system", "pass", name)
    return Line("system", "skip", f"{name}: has no apt; Debian 12 and 13 are what lvslab is tried on")


def _programs() -> Line:
    missing = missing_packages()
    if missing:
        names = ", ".join(f"{package.program} ({package.why})" for package in missing)
        return Line("programs", "fail", f"missing: {names}", how_to_get(package.name for package in missing))
    count = sum(
        (package.needed or package.controls) and package.program is not None for package in packages()
    )
    return Line("programs", "pass", f"all {count} are there")


def _try_guest(kind: type[Kernel]) -> tuple[Line, KernelFacts | None]:
    """Boot the installed kernel of a kind, whether or not it was tried before."""
    name, started = f"kernel '{kind.kind}'", time.monotonic()
    try:
        facts = probe.guest_facts(kind.installed(), fresh=True)
    except CannotError as error:
        build = "" if distribution.has_apt() else "; or build such a kernel: lvslab kernels build --help"
        return Line(name, "fail", str(error), how_to_get(kind.packages) + build), None
    except LvslabError as error:  # it is here, and did not boot
        return Line(name, "fail", str(error)), None
    took, has = time.monotonic() - started, ", ".join(sorted(facts.met))
    return Line(name, "pass", f"{facts.release}: booted and tried in {took:.1f} s: has {has}"), facts


def _try_packets(kernels: Kernels, kernel: str) -> Line:
    """Whether packets wait for a guest that has fallen asleep."""
    name = f"packets to '{kernel}'"
    try:
        seen = sleepers.try_director(kernels, kernel)
    except LvslabError as error:
        return Line(name, "skip", f"not tried: {error}")
    if seen.wakes:
        return Line(name, "pass", str(seen))
    return Line(name, "skip", str(seen), "docs/kernels.md: a packet that finds the guest falling asleep")


def _attempt(name: str, trial: Callable[[], str], fix: str) -> Line:
    try:
        return Line(name, "pass", trial())
    except (OSError, LvslabError, subprocess.SubprocessError) as error:
        return Line(name, "fail", str(error), fix)


def _run(command: Sequence[str], **options: object) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False, **options)  # type: ignore[call-overload]
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise CannotError(f"{command[0]}: {lines[-1] if lines else f'ended with {done.returncode}'}")
    return str(done.stdout)


def _try_network() -> str:
    """A bridge and a veth pair whose other end lies in another namespace, made as Mininet makes
    them.
    """
    own = Path("/proc/self/ns/net").readlink()
    with subprocess.Popen(["mnexec", "-n", "sleep", "30"]) as other:
        namespace = Path(f"/proc/{other.pid}/ns/net")
        try:
            # on a busy machine mnexec may not have left this namespace yet
            if not MachineClock().wait(lambda: namespace.readlink() != own, _START_SECONDS, 0.01):
                raise CannotError(f"mnexec: made no namespace within {_START_SECONDS:g} s")
            _run(
                ["ip", "-batch", "-"],
                input=(
                    "link add lvsbr type bridge\nlink add lvsv0 type veth peer name lvsv1 netns"
                    f" {other.pid}\nlink set lvsv0 master lvsbr up\n"
                ),
            )
            _run(["mnexec", "-a", str(other.pid), "ip", "link", "set", "lvsv1", "up"])
            _run(["ip", "-batch", "-"], input="link del lvsv0\nlink del lvsbr\n")
        finally:
            other.kill()
    return "bridge, veth pair and namespace made with mnexec and ip"


def _try_confinement() -> str:
    """Start a program as guests are started, and see who it is."""
    home = PRIVATE_DIRECTORY / "check"
    confinement.make_folder(home)
    network = confinement.new_network()
    try:
        with linux.inside_network(network), (home / "said").open("w+b") as said:
            bounds = confinement.Bounds(home, (), memory_mib=64)
            shell = ["sh", "-c", "test ! -e /root/.profile && echo confined"]
            started = confinement.start(shell, bounds, network=network, descriptors=(), log=said)
            started.process.wait(20)
            said.seek(0)
            if said.read().strip() != b"confined":
                raise CannotError("bwrap: a guest's process sees the machine's files")
    finally:
        os.close(network)
        linux.unmount(str(home))
    return "guests see the programs of labs, their own folder and nothing else of this machine"


def _try_packet_socket() -> str:
    import socket

    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
        sock.bind(("lo", 3))
    return "opened on lo: captures and crafted packets work"


def _try_nginx() -> str:
    from lvslab.lab.servers import nginx_configuration

    with tempfile.TemporaryDirectory(dir="/dev/shm") as home:
        (Path(home) / "nginx.conf").write_text(nginx_configuration("check", Path(home)))
        _run(["nginx", "-t", "-q", "-e", f"{home}/nginx.log", "-p", home, "-c", f"{home}/nginx.conf"])
    return "nginx takes the real servers' configuration, HTTP and UDP"


def _try_kvm() -> Line:
    """Boot a stock kernel under QEMU with KVM, once for this machine and its kernel; the device
    file alone proves nothing.
    """
    optional = Line("KVM", "skip", "")
    if not kvm.DEVICE.exists():
        return replace(
            optional,
            finding=f"no {kvm.DEVICE}; guests of kernel 'uml' need none, those of kernel 'qemu' are slower",
        )
    if not shutil.which(kvm.PROGRAM):
        return replace(
            optional,
            finding=f"not tried: {kvm.PROGRAM} is not installed",
            fix=how_to_get(["qemu-system-x86"]),
        )
    images = sorted(Path("/boot").glob("vmlinuz-*"), reverse=True)
    image = next((path for path in images if os.access(path, os.R_OK)), None)
    if image is None:
        return replace(
            optional,
            finding="not tried: no readable kernel image in /boot",
            fix=how_to_get(["linux-image-cloud-amd64"]),
        )
    found = kvm.try_once(image)
    return replace(optional, verdict="pass" if found.works else "skip", finding=found.text)
