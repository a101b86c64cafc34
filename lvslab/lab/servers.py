"""The programs on the real servers: nginx answering HTTP and UDP with the server's name and the
client that it saw, and iperf3.
"""

from __future__ import annotations

from pathlib import Path

from lvslab.lab.nodes import LabMachine
from lvslab.plan.services import HTTP_PORT, HTTP_SERVER_PORT, THROUGHPUT_PORT, UDP_PORT, UDP_SERVER_PORT

_STREAM_MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so"
_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")

ANSWER = "{name} {client} {port}\n"
"""What a real server answers, on TCP and UDP alike: its name, and the client's address and port as
it saw them.
"""


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
    then).

    Raises:
        CommandError: it did not start; the message is nginx's own.
    """
    (node.directory / "nginx.conf").write_text(nginx_configuration(node.name, node.inside))
    command = f"nginx -e {node.inside}/nginx.log -p {node.inside} -c {node.inside}/nginx.conf"
    node.run(command).check(node.name, command)


def start_iperf3(node: LabMachine) -> None:
    """Start iperf3's server in a node's background; it listens a moment later, so clients try again
    (`lvslab.traffic.tools`).
    """
    command = f"iperf3 --server --daemon --port {THROUGHPUT_PORT} --pidfile {node.inside}/iperf3.pid"
    node.run(command).check(node.name, command)
