"""Scripts for `Exercise.prepare` that install services on real servers, beside the web server that
every lab starts or in its place.
"""

from __future__ import annotations

_STREAM_MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so"

NGINX = "nginx -e /mnt/nginx.log -p /mnt -c /mnt/nginx.conf"
"""Starts the lab's own web server; its configuration is in the folder that guest and
lvslab share.
"""

_NGINX_PID = "/mnt/nginx.pid"

RESTART_NGINX = f"""\
while [ -e {_NGINX_PID} ]; do {NGINX} -s stop 2>/dev/null; sleep 0.02; done
{NGINX} && until [ -s {_NGINX_PID} ]; do sleep 0.02; done
"""
"""After a change of the configuration. One process without a master, as it runs here, mixes its
sockets up when it reloads.

It is told to stop until it is gone: its handler of SIGTERM only notes the signal, which the loop
reads after `epoll_wait` (ngx_single_process_cycle), so that a signal from before waits there for
the next request.
"""


def nginx_service(name: str, blocks: str) -> str:
    """A further nginx: the configuration in /etc/NAME/nginx.conf, its messages in
    /var/log/NAME.err.

    It listens when the script ends. As in `lvslab.lab.servers` one process stays root, because
    a guest may have only that user.

    Args:
        blocks: what it serves, `http {…}` or `stream {…}`.
    """
    return f"""\
mkdir -p /etc/{name}
cat >/etc/{name}/nginx.conf <<'END'
load_module {_STREAM_MODULE};
user root root;
master_process off;
pid /run/{name}.pid;
events {{}}
{blocks.strip()}
END
nginx -e /var/log/{name}.err -p /etc/{name} -c /etc/{name}/nginx.conf
"""


def greeter(name: str, port: int, greeting: str) -> str:
    """A TCP service that sends one line to whoever connects."""
    return nginx_service(
        name, f'stream {{\n    server {{\n        listen {port};\n        return "{greeting}\\n";\n    }}\n}}'
    )


def table(rules: str) -> str:
    """Add rules to a director's table, as `ipvsadm -S` prints them."""
    return f"ipvsadm -R <<'END'\n{rules.strip()}\nEND\n"
