"""The programs on the real servers: nginx answering HTTP and UDP with the server's name and the
client that it saw, and iperf3.
"""

from __future__ import annotations

import os
import shlex
import signal
from contextlib import suppress
from pathlib import Path

from lvslab.errors import GuestError, LabError
from lvslab.kernels import guestfiles
from lvslab.lab.nodes import GuestNode, LabMachine
from lvslab.plan.services import HTTP_PORT, HTTP_SERVER_PORT, THROUGHPUT_PORT, UDP_PORT, UDP_SERVER_PORT
from lvslab.runs.answers import ANSWER

_STREAM_MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so"
_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def nginx_configuration(name: str, directory: Path) -> str:
    """nginx.conf of a real server.

    One process that stays root (`user`, `master_process off`), because in a user namespace there is
    only one user. It listens on the virtual services' ports (DR, TUN) and on the mapped ones (NAT).
    `directory`: where it may write, as the node sees it.
    """
    answer = ANSWER.format(name=name, client="$remote_addr", port="$remote_port").replace("\n", "\\n")
    temporary = "\n".join(f"    {kind}_temp_path {directory}/nginx-{kind};" for kind in _TEMPORARY)
    return f"""\
load_module {_STREAM_MODULE};
user root root;
master_process off;
worker_processes 1;
pid {directory}/nginx.pid;
events {{
    worker_connections 8192;
}}
http {{
    access_log off;
    keepalive_requests 100000000;
    default_type text/plain;
{temporary}
    server {{
        listen {HTTP_PORT} backlog=4096;
        listen {HTTP_SERVER_PORT} backlog=4096;
        location / {{
            return 200 "{answer}";
        }}
    }}
}}
stream {{
    server {{
        listen {UDP_PORT} udp;
        listen {UDP_SERVER_PORT} udp;
        return "{answer}";
    }}
}}
"""


def start_nginx(node: LabMachine) -> None:
    """Start nginx in a node; when this returns it is listening (nginx goes to the background only
    then), and its number is in nginx.pid (which it writes a moment later).

    Raises:
        CommandError: it did not start; the message is nginx's own.
    """
    guestfiles.write(node.directory / "nginx.conf", nginx_configuration(node.name, node.inside))
    number = f"{node.inside}/nginx.pid"
    command = f"nginx -e {node.inside}/nginx.log -p {node.inside} -c {node.inside}/nginx.conf"
    # one that was killed leaves its number behind
    script = f"rm -f {number}\n{command} && until [ -s {number} ]; do sleep 0.01; done"
    node.run(script).check(node.name, command)


class Nginx:
    """A running nginx: a `lvslab.lab.worlds.WebServer`."""

    def __init__(self, node: LabMachine) -> None:
        """
        Raises:
            LabError: none runs in the node.
        """
        self._node = node
        self._read_number()

    def _read_number(self) -> None:
        try:
            self._pid = int(guestfiles.read(self._node.directory / "nginx.pid"))
        except (GuestError, ValueError) as error:
            raise LabError(
                f"{self._node.name}: its web server does not run; repair it first ({error})"
            ) from error

    @property
    def title(self) -> str:
        """It is one process."""
        return f"process {self._pid}"

    @property
    def state(self) -> str | None:
        """As proc(5) has it, None if it is gone."""
        script = f'read -r line </proc/{self._pid}/stat && echo "${{line##*) }}"'
        if isinstance(self._node, GuestNode):
            out = self._node.run(script).out
        else:
            out = ""
            with suppress(OSError):
                out = Path(f"/proc/{self._pid}/stat").read_text().rpartition(") ")[2]
        state = out[:1]
        return None if state in ("", "Z", "X") else state

    def kill(self) -> None:
        """SIGKILL."""
        self._send(signal.SIGKILL)

    def start(self) -> None:
        """Start it again; it is another process then."""
        start_nginx(self._node)
        self._read_number()

    def stop(self) -> None:
        """SIGSTOP."""
        self._send(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> None:
        if isinstance(self._node, GuestNode):
            command = shlex.join(["kill", f"-{int(number)}", str(self._pid)])
            self._node.run(command).check(self._node.name, "kill")
        else:
            with suppress(ProcessLookupError):
                os.kill(self._pid, number)


def start_iperf3(node: LabMachine) -> None:
    """Start iperf3's server in a node's background; it listens a moment later, so clients try again
    (`lvslab.traffic.tools`).
    """
    command = f"iperf3 --server --daemon --port {THROUGHPUT_PORT} --pidfile {node.inside}/iperf3.pid"
    node.run(command).check(node.name, command)
