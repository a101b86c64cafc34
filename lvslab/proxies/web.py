"""Web servers for comparisons, in the place of the lab's own: nginx or Apache, each with a small
page and a large file.

The small page is what every real server of a lab answers: its name, and the client's address and
port as it saw them. They listen on the virtual service's port (DR) and on the mapped one (NAT and
proxies).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import PurePath

from lvslab.errors import CannotError, UsageError
from lvslab.host.distribution import advice
from lvslab.host.scripts import guest_script
from lvslab.kernels import guestfiles
from lvslab.lab.nodes import LabMachine
from lvslab.modes.base import Sysctl
from lvslab.plan.services import HTTP_PORT, HTTP_SERVER_PORT
from lvslab.runs.answers import ANSWER

LARGE = "large"
"""Name of the large file."""

LARGE_BYTES = 10**12
"""More than any measurement gets. All zeros, and takes no room."""

_CONFIGURATION = "web.conf"
_STOP_SECONDS = 5
_APACHE_MODULES = ("mpm_event", "authz_core", "dir", "mime", "include")
_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def nginx_site(name: str, directory: PurePath) -> str:
    """nginx.conf: one process that stays root, because in a user namespace there is only
    one user.
    """
    answer = ANSWER.format(name=name, client="$remote_addr", port="$remote_port").replace("\n", "\\n")
    temporary = "\n".join(f"    {kind}_temp_path {directory}/web-{kind};" for kind in _TEMPORARY)
    return f"""\
user root root;
master_process off;
worker_processes 1;
pid {directory}/web.pid;
events {{
    worker_connections 8192;
}}
http {{
    access_log off;
    keepalive_requests 100000000;
    sendfile on;
    default_type text/plain;
{temporary}
    server {{
        listen {HTTP_PORT} backlog=4096;
        listen {HTTP_SERVER_PORT} backlog=4096;
        location / {{
            return 200 "{answer}";
        }}
        location = /{LARGE} {{
            root {directory}/site;
        }}
    }}
}}
"""


def apache_site(name: str, directory: PurePath) -> str:
    """Apache's configuration: one process with threads (event).

    The page is a server-side include, which knows the client's port. Apache refuses to serve as
    root, so it is started as another user (`_start_apache`), and switches to none itself.
    """
    modules = "\n".join(
        f"LoadModule {each}_module /usr/lib/apache2/modules/mod_{each}.so" for each in _APACHE_MODULES
    )
    return f"""\
{modules}
ServerName {name}
ServerRoot {directory}
DefaultRuntimeDir {directory}
PidFile {directory}/web.pid
ErrorLog {directory}/web.log
LogLevel warn
ListenBacklog 4096
Listen {HTTP_PORT}
Listen {HTTP_SERVER_PORT}
StartServers 1
ServerLimit 1
ThreadsPerChild 64
ThreadLimit 64
MaxRequestWorkers 64
MinSpareThreads 64
MaxSpareThreads 64
KeepAlive On
MaxKeepAliveRequests 0
EnableSendfile On
TypesConfig /dev/null
DocumentRoot {directory}/site
DirectoryIndex index.shtml
<Directory {directory}/site>
    Require all granted
    Options +Includes
    AddType text/plain .shtml
    AddOutputFilter INCLUDES .shtml
</Directory>
"""


def _start_nginx(node: LabMachine) -> None:
    command = f"nginx -e {node.inside}/web.log -p {node.inside} -c {node.inside}/{_CONFIGURATION}"
    node.run(command).check(node.name, command)


def _start_apache(node: LabMachine) -> None:
    """As user 1000 of a user namespace of its own, where it cannot bind low ports unless the
    network lets everybody.

    It goes to the background when its sockets listen.
    """
    command = (
        f"unshare --user --map-user=1000 --map-group=1000 /usr/sbin/apache2 -f {node.inside}/{_CONFIGURATION}"
    )
    script = f"{Sysctl('net.ipv4.ip_unprivileged_port_start', 0).fast()}\n{command}"
    node.run(script).check(node.name, command)


SERVERS: Mapping[str, tuple[str, str, Callable[[str, PurePath], str], Callable[[LabMachine], None]]] = {
    "nginx": ("/usr/sbin/nginx", "nginx-light", nginx_site, _start_nginx),
    "apache": ("/usr/sbin/apache2", "apache2-bin", apache_site, _start_apache),
}
"""Name → program, Debian package, configuration, start."""


def require(server: str) -> None:
    """Make sure that a web server is here.

    Raises:
        UsageError: there is none of that name.
        CannotError: it is not installed.
    """
    if server not in SERVERS:
        raise UsageError(f"web server '{server}': choose from: {', '.join(SERVERS)}")
    program, package, *_ = SERVERS[server]
    if not shutil.which(program):
        raise CannotError(f"web server '{server}': not installed; {advice(package)}")


def replace_web_server(node: LabMachine, server: str) -> None:
    """Stop the lab's own web server on a real server and start another one, which listens when this
    returns.

    Args:
        server: of `SERVERS`.

    Raises:
        CommandError: it did not start; the message is its own.
    """
    stop_web_server(node)
    site = node.directory / "site"
    guestfiles.make_folder(site)
    _, _, configuration, start = SERVERS[server]
    guestfiles.write(node.directory / _CONFIGURATION, configuration(node.name, node.inside))
    guestfiles.write(site / "index.shtml", _page(node.name))
    with guestfiles.create(site / LARGE) as file:
        file.truncate(LARGE_BYTES)
    start(node)


def stop_web_server(node: LabMachine) -> None:
    """Stop the lab's own web server on a real server; when this returns its ports are free.

    Raises:
        CommandError: it does not stop.
    """
    stop = guest_script("lvslab.proxies", "stop-nginx.sh", node.inside, _STOP_SECONDS)
    node.run(stop).check(node.name, "stop of the lab's own web server")


def _page(name: str) -> str:
    """The small page as a server-side include."""
    return ANSWER.format(
        name=name, client='<!--#echo var="REMOTE_ADDR" -->', port='<!--#echo var="REMOTE_PORT" -->'
    )
