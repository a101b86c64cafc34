"""# Two tiers, and the user who is forgotten

A shop has outgrown one load balancer. In front stands a pair of LVS directors (LVS-NAT; VRRP moves
the addresses, lvs1 is master at first). Behind them two HAProxies work side by side, active/active,
on the same machines as the application. HAProxy sticks a user to the application server that he
logged in to: `stick on src`. The application keeps sessions in its own memory.

```
    c1  10.0.0.101                                                  client
     │
     ├───────────────────┐
    lvs1 10.0.0.1       lvs2 10.0.0.2     10.0.0.10 by VRRP         directors: to HAProxy, port 8000
     │   10.0.1.1        │   10.0.1.2     10.0.1.254 by VRRP
     ├───────────────────┤
    rs1 10.0.1.11       rs2 10.0.1.12     HAProxy, port 8000: to the applications of both machines
                                          application, port 9000
```

**What users say.** "I log in, and the next page does not know me." The HAProxy team: "Our stick
tables are fine, see for yourself: every user has exactly one entry." The LVS team: "Our connections
go where they should."

**Look.** On the client (`lvslab train shell client`):

    sid=$(curl -s http://10.0.0.10/cgi-bin/login); echo $sid
    curl -si "http://10.0.0.10/cgi-bin/home?$sid"

`x-proxy` says which HAProxy the answer came through, `x-server` which application gave it. The
stick table of a HAProxy, on rs1 and rs2 (`lvslab train shell rs1`):
`echo 'show table application' | nc -N -U /run/haproxy.sock`; its configuration:
/etc/haproxy/haproxy.cfg. On lvs1 and lvs2: `ipvsadm -L -n`.

**Goal.** Who logged in stays known. Both HAProxies and both applications go on sharing the users.
It must still hold when the other director takes over (the check makes them change places). The
application cannot be changed; the rest is yours.

`lvslab train check` judges; `lvslab train hint` helps.
"""

import random

from lvslab.runs.words import plural
from lvslab.training import drill, sessions
from lvslab.training.clients import MOST, Reply, ask, take_addresses
from lvslab.training.exam import Exam
from lvslab.training.exercise import exercise

_USERS, _PAGES = 6, 2

_DIRECTOR = """\
ipvsadm -A -t 10.0.0.10:80 -s rr
ipvsadm -a -t 10.0.0.10:80 -r 10.0.1.11:8000 -m
ipvsadm -a -t 10.0.0.10:80 -r 10.0.1.12:8000 -m
"""


def _server(name: str, own: str, other: str) -> str:
    """The application and HAProxy on one machine, which names its own application first."""
    return (
        f"echo {name} >/proc/sys/kernel/hostname\n"
        + sessions.server(name, 9000, ["home"])
        + f"""\
cat >/etc/haproxy/haproxy.cfg <<'END'
global
    maxconn 500
    nbthread 1
    stats socket /run/haproxy.sock level admin
defaults
    mode http
    timeout connect 2s
    timeout client 30s
    timeout server 30s
frontend shop
    bind :8000
    http-response set-header X-Proxy {name}
    default_backend application
backend application
    balance roundrobin
    stick-table type ip size 10k expire 30m
    stick on src
    {own}
    {other}
END
haproxy -D -f /etc/haproxy/haproxy.cfg -p /run/haproxy.pid
"""
    )


_FIRST, _SECOND = "server app1 10.0.1.11:9000", "server app2 10.0.1.12:9000"


@exercise(
    group="repair",
    number=17,
    minutes=25,
    mode="nat",
    lab={"directors": 2},
    table=False,
    prepare={
        "rs1": _server("rs1", _FIRST, _SECOND),
        "rs2": _server("rs2", _SECOND, _FIRST),
        "lvs1": _DIRECTOR,
        "lvs2": _DIRECTOR,
    },
    hints=[
        (
            "Follow one user with `x-proxy` and `x-server`. Each HAProxy keeps its promise, but each has a"
            " stick table of its own."
        ),
        (
            "Either a user always comes to the same HAProxy (that is up to the directors), or both HAProxies"
            " know the same (that is up to them: `peers`), or a user is sent to the same application without"
            " any table (`balance source`)."
        ),
        (
            "Persistence below, stickiness above: make the directors' service persistent, for as long as"
            " HAProxy remembers, 30 minutes. And remember that there are two directors."
        ),
        "On lvs1, and the same on lvs2: `ipvsadm -E -t 10.0.0.10:80 -s rr -p 1800`",
    ],
    solution={
        "lvs1": "ipvsadm -E -t 10.0.0.10:80 -s rr -p 1800\n",
        "lvs2": "ipvsadm -E -t 10.0.0.10:80 -s rr -p 1800\n",
    },
    fails="users stay known",
    fault="persistence-missing",
)
def check(exam: Exam) -> None:
    # HAProxy remembers the users of the check before, so the same ones do not come in the same
    # order again.
    users = random.sample(take_addresses(exam, MOST), 2 * _USERS + 1)
    passer_by = users.pop()
    servers = _must_know(exam, users[:_USERS], passer_by, "users stay known", exam.lab.master)
    with drill.taken_over(exam) as master:
        exam.wait_until(lambda: ask(exam, "/cgi-bin/login", source=(passer_by, 0), timeout=0.5), 3.0)
        servers |= _must_know(exam, users[_USERS:], passer_by, "and after a takeover", master)
    exam.must(
        "both applications take part",
        servers == {"rs1", "rs2"},
        "both applications had users",
        f"users came to the application on {', '.join(sorted(servers))} only",
    )


def _must_know(exam: Exam, users: list[str], passer_by: str, name: str, master: str) -> set[str]:
    """Users log in and look at pages: each must be known wherever he comes, by way of both
    HAProxies; returns the applications.

    Where two HAProxies take turns in step, each by itself, all users meet the same application by
    chance, or none does. So somebody passes by in the middle, who comes to one HAProxy alone: an
    odd number of times.
    """
    replies: list[Reply] = []
    forgotten = failed = 0
    for number, user in enumerate(users):
        if number == len(users) // 2:
            ask(exam, source=(passer_by, 0))
        login = ask(exam, "/cgi-bin/login", source=(user, 0))
        session = login.text.strip() if login else ""
        pages = [ask(exam, f"/cgi-bin/home?{session}", source=(user, 0)) for _ in range(_PAGES)]
        failed += sum(each is None for each in (login, *pages))
        forgotten += sum(each is not None and each.status != 200 for each in pages)
        replies += [each for each in (login, *pages) if each]
    when, count = f"with {master} as master", _PAGES * len(users)
    exam.must(
        name,
        not failed and not forgotten,
        f"{when}, all {count} pages after {len(users)} log-ins knew their user",
        (
            f"{when}, {plural(failed, 'request')} got no answer"
            if failed
            else f"{when}, {forgotten} of {count} pages after a log-in did not know the user"
        ),
    )
    proxies = {each.headers.get("x-proxy", "") for each in replies}
    exam.must(
        f"both HAProxies, {when}",
        proxies == {"rs1", "rs2"},
        "users came through both HAProxies",
        f"users came through HAProxy on {', '.join(sorted(proxies))} only",
    )
    return {each.headers.get("x-server", "") for each in replies}
