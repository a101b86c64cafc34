"""Mininet nodes of a lab: hosts on the machine's own kernel, and hosts whose kernel is a guest.

Both run a script with an exit code (`run`), as ordinary Mininet nodes do with `cmd`, `popen` and
`pexec`.
"""

from __future__ import annotations

import os
import re
import select
import shlex
import subprocess
import tempfile
import termios
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lvslab.errors import LabError
from lvslab.host import linux
from lvslab.host.completed import Completed
from lvslab.host.scripts import shell_arguments
from lvslab.kernels import initramfs
from lvslab.kernels.kinds import CHEAPEST
from lvslab.kernels.machine import Guest
from lvslab.kernels.needs import Need, modules_for
from lvslab.lab.guest_process import GuestProcess
from lvslab.lab.parts import Host, Intf, Node
from lvslab.modes.base import Action, Ip, Step, Sysctl, set_up_script


class LabHost(Host):  # type: ignore[misc]
    """A host on the machine's own kernel: a shell in a network namespace, as in Mininet.

    Attributes:
        directory: private folder for the node's files, the same path inside and outside.
        release: of its kernel.
    """

    def __init__(self, name: str, directory: Path | None = None, **options: Any) -> None:
        self._own_directory = None if directory else tempfile.TemporaryDirectory(prefix=f"lvslab-{name}-")
        self.directory = directory or Path(self._own_directory.name)  # type: ignore[union-attr]
        self.inside = self.directory
        self.release = os.uname().release
        super().__init__(name, **options)

    def run(self, script: str, *, timeout: float = 30.0) -> Completed:
        """Run a /bin/sh script in the node to its end.

        Args:
            timeout: seconds.

        Raises:
            LabError: it took longer.
        """
        with (
            shell_arguments(script, self.directory) as arguments,
            subprocess.Popen(
                ["mnexec", "-a", str(self.pid), "/bin/sh", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                start_new_session=True,
            ) as process,
        ):
            try:
                out, err = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                linux.kill_group(process.pid)
                process.communicate()
                raise LabError(
                    f"{self.name}: no end within {timeout:g} s of: {script.strip().splitlines()[-1]}"
                ) from None
            except BaseException:
                linux.kill_group(process.pid)
                raise
        return Completed(process.returncode, out, err)

    def make_folder(self, name: str) -> Path:
        """A folder below `directory` in which the node's programs may write."""
        path = self.directory / name
        path.mkdir(exist_ok=True)
        return path

    def resize(self, rows: int, columns: int) -> None:
        """Give the shell's terminal a size: where its programs wrap lines, and draw."""
        termios.tcsetwinsize(self.stdin.fileno(), (rows, columns))

    def terminate(self) -> None:
        """As Mininet does it, and remove the node's folder if it made one."""
        super().terminate()
        if self._own_directory:
            self._own_directory.cleanup()

    def config(
        self, routes: Sequence[str] = (), sysctls: dict[str, int] | None = None, **options: Any
    ) -> Any:
        """Mininet's configuration of a host, plus `routes` and `sysctls` of a topology (used by
        `mn --host lab`).
        """
        result = super().config(**options)
        _apply(self, routes, sysctls)
        return result


class GuestNode(Node):  # type: ignore[misc]
    """A host whose kernel is a guest: Mininet's veths end in the guest's namespace, and equally
    named NICs appear inside.

    `cmd` and the command line talk to a shell on the guest's terminal, started when first used;
    `run`, `pexec` and `popen` go through the guest's agent.

    Attributes:
        guest: the guest.
        directory, inside: the node's private folder as the host sees it, and as the guest does.
    """

    def __init__(
        self,
        name: str,
        guest: Guest | None = None,
        needs: frozenset[Need] = frozenset({Need.IP_VS}),
        **options: Any,
    ) -> None:
        """Without a `guest` the node boots its own (as under plain `mn`) and joins each link at
        once; with one, its owner calls `settle`.
        """
        self._own_directory: tempfile.TemporaryDirectory[str] | None = None
        self._settles_itself = guest is None
        if guest is None:
            self._own_directory = tempfile.TemporaryDirectory(prefix=f"lvslab-{name}-")
            linux.private_mounts()  # a guest's folder is one, and goes with this process
            home = Path(self._own_directory.name)
            guest = CHEAPEST.installed().boot(name, modules_for(needs), home / name, home / f"{name}.console")
        self.guest = guest
        self.directory, self.inside = guest.share, Path(initramfs.SHARE)
        self._shell_started = False
        self._window: tuple[int, int] | None = None
        super().__init__(name, **options)

    # -- Mininet's life cycle ----------------------------------------------------------------------

    def startShell(self, mnopts: str | None = None) -> None:
        """The guest takes the place of Node's bash; its own shell starts when a command is first
        sent.
        """
        self.shell: Any = self.guest.process
        self.pid = self.guest.pid
        self.stdin = os.fdopen(self.guest.terminal.fileno(), "r", closefd=False)
        self.stdout = self.stdin
        self.pollOut = select.poll()
        self.pollOut.register(self.stdout)
        self.outToNode[self.stdout.fileno()] = self
        self.inToNode[self.stdin.fileno()] = self
        self.execed, self.lastCmd, self.lastPid, self.readbuf, self.waiting = False, None, None, "", False

    def take_guest(self, guest: Guest) -> None:
        """Go on with another guest in the same outer namespace: the node was switched on again. Its
        owner calls `settle`.
        """
        self.outToNode.pop(self.stdout.fileno(), None)
        self.inToNode.pop(self.stdin.fileno(), None)
        self.guest, self.directory = guest, guest.share
        self._shell_started = False
        self.startShell()

    def _ensure_shell(self) -> None:
        if self._shell_started:
            return
        self.guest.wait_ready()
        self._shell_started = True
        prompt = chr(127)  # Mininet's sentinel
        shell = f"env --default-signal=INT,QUIT bash --norc --noediting -is mininet:{self.name}"
        device = self.guest.terminal_device
        start = f"PS1={shlex.quote(prompt)} setsid -c {shell} <{device} >{device} 2>&1 &"
        self.guest.run(start).check(self.name, "start of the interactive shell")
        while True:
            self.pollOut.poll(10_000)
            self.guest.agent.check_alive()
            if self.read(1024).endswith(prompt):
                break
        super().sendCmd("unset HISTFILE; stty -echo; set +m")
        self.waitOutput()
        self._set_window()

    def resize(self, rows: int, columns: int) -> None:
        """As for LabHost; may be said before the shell is started."""
        self._window = rows, columns
        if self._shell_started:
            self._set_window()

    def _set_window(self) -> None:
        if self._window is not None:
            rows, columns = self._window
            script = f"stty -F {self.guest.terminal_device} rows {rows} cols {columns}"
            self.guest.run(script).check(self.name, "size of the terminal")

    def sendCmd(self, *arguments: Any, **options: Any) -> None:
        """Send a command to the guest's interactive shell (see Mininet's Node)."""
        self._ensure_shell()
        options.pop(
            "printPid", None
        )  # mnexec would report a process number that is only valid inside the guest
        super().sendCmd(*arguments, **options)

    def addIntf(self, intf: Intf, port: int | None = None, **options: Any) -> None:
        """Take a veth whose end lies in the guest's outer namespace; the NIC inside follows at once
        or with `settle`.
        """
        super().addIntf(intf, port, **options)
        if self._settles_itself:
            self.settle([intf.name])

    def config(
        self, routes: Sequence[str] = (), sysctls: dict[str, int] | None = None, **options: Any
    ) -> Any:
        """As for LabHost."""
        result = super().config(**options)
        _apply(self, routes, sysctls)
        return result

    def settle(
        self, interfaces: Sequence[str] | None = None, steps: Sequence[Step] = (), iptables: str | None = None
    ) -> None:
        """Wait for the guest, give it NICs for its veths, and run set-up steps, all in as few
        commands as possible.

        Raises:
            GuestError: the guest died or never became ready.
            CommandError: a set-up command failed.
        """
        names = [each.name for each in self.intfList()] if interfaces is None else interfaces
        with linux.inside_network(self.guest.network):
            linux.silence_ipv6()
            for name in names:
                linux.set_link_up(name)
            macs = {name: _mac_of(name) for name in names}
        self.guest.wait_ready()
        plugged = tuple(Ip(line) for line in self.guest.plug(list(macs.items())))
        script = set_up_script((Step("nics", "the guest's network cards", plugged), *steps), iptables)
        self.run(_SET_UP.format(now=time.time(), name=self.name, script=script)).check(self.name, "set-up")
        self.guest.tune_nics()
        self._settles_itself = True  # links added from now on are joined at once

    def offload(self) -> None:
        """Let the NICs pass large segments whole, which a throughput measurement needs (ethtool(8),
        tso).
        """
        script = "\n".join(f"ethtool -K {each.name} tso on" for each in self.intfList())
        self.run(script).check(self.name, "ethtool -K … tso on")

    def terminate(self) -> None:
        """Cut the guest's power and forget it."""
        self.guest.close()
        self.shell = None
        if self._own_directory:
            self._own_directory.cleanup()

    # -- commands ----------------------------------------------------------------------------------

    @property
    def release(self) -> str:
        """Of the guest's kernel, as it says itself."""
        return self.guest.run("uname -r").out.strip()

    def make_folder(self, name: str) -> Path:
        """A folder below `directory` in which the node's programs may write."""
        return self.guest.make_folder(name)

    def run(self, script: str, *, timeout: float = 30.0) -> Completed:
        """Run a /bin/sh script in the guest to its end (see `Guest.run`)."""
        return self.guest.run(script, timeout)

    def pexec(self, *arguments: Any, **options: Any) -> tuple[str, str, int]:
        """Run a command in the guest; returns standard output, standard error and exit status, as
        Mininet's pexec does.
        """
        self.guest.wait_ready()
        done = self.run(_command_text(arguments))
        return done.out, done.err, done.code

    def popen(self, *arguments: Any, **options: Any) -> GuestProcess:
        """Start a command in the guest; returns an object with the part of subprocess.Popen's
        interface that Mininet uses.

        `stdout`, `stderr` are pipes (or go to the file given), `stdin` is a pipe when asked for.
        """
        self.guest.wait_ready()
        return GuestProcess(
            self.guest,
            _command_text(arguments),
            options.get("stdout"),
            options.get("stderr"),
            options.get("stdin"),
        )


# A kernel with CONFIG_BPFILTER (Debian's 6.1) asks for a module "bpfilter" on every socket option
# of iptables, and starting modprobe in a guest costs 100 ms. The modules that set-up needs are
# loaded already, so modprobe is out of the way while it runs. IPv6 is off as in the other nodes of
# a lab. A guest's clock comes up some tenths of a second fast, each by another amount: too much for
# a certificate that one has just made, and for whoever lays logs of two beside each other.
_SET_UP = """\
date -s @{now:.3f} >/dev/null; echo {name} >/proc/sys/kernel/hostname
for switch in /proc/sys/net/ipv6/conf/*/disable_ipv6; do
    [ ! -e "$switch" ] || echo 1 >"$switch"
done
read -r modprobe </proc/sys/kernel/modprobe
echo >/proc/sys/kernel/modprobe
{script}
echo "$modprobe" >/proc/sys/kernel/modprobe
"""

LabMachine = LabHost | GuestNode
"""What the nodes of a lab are."""


def _apply(node: LabMachine, routes: Sequence[str], sysctls: dict[str, int] | None) -> None:
    actions: tuple[Action, ...] = (
        *(Ip(f"route add {route}") for route in routes),
        *(Sysctl(key, value) for key, value in (sysctls or {}).items()),
    )
    if actions:
        node.run(
            set_up_script([Step("network", "routes and parameters of the topology", actions)], None)
        ).check(node.name, "set-up")


def _command_text(arguments: tuple[Any, ...]) -> str:
    if len(arguments) == 1 and isinstance(arguments[0], list):
        return shlex.join(map(str, arguments[0]))
    return " ".join(map(str, arguments))


def _mac_of(interface: str) -> str:
    """MAC address of an interface of the calling thread's network namespace."""
    shown = subprocess.run(
        ["ip", "-o", "link", "show", "dev", interface], capture_output=True, text=True, check=True
    ).stdout
    found = re.search(r"link/ether (\S+)", shown)
    if not found:
        raise LabError(f"{interface}: has no MAC address: {shown.strip()}")
    return found[1]
