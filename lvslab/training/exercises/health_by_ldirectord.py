"""# Health checks with ldirectord

mon knows nothing of IPVS; every word for `ipvsadm` was yours. **ldirectord** was made for it: its
configuration describes the virtual services, it builds the table by itself, asks every server, and
takes out who does not answer well. It also looks at *what* is answered: a web server that says "503
Service Unavailable" accepts connections without fault.

```
    c1  10.0.0.101                            client
     │
    lvs 10.0.0.1, 10.0.0.10 │ 10.0.1.1        director: ldirectord, LVS-NAT
     │
    rs1 10.0.1.11:8080   rs2 10.0.1.12:8080   web servers
```

**Build it** on the director (`lvslab train shell director`). The table is empty, and you do not
touch ipvsadm but to look. Write `/etc/ha.d/ldirectord.cf` (`busybox vi` is there in any case), and
fill the gaps (`…`); the lines below `virtual` are indented:

```
checkinterval = 1
checktimeout = 1
failurecount = 1
quiescent = no

virtual = 10.0.0.10:80
    real = 10.0.1.11:8080 masq
    …
    scheduler = rr
    protocol = tcp
    service = …
    checktype = …
    request = "/"
    receive = "rs[12]"
```

`checktype = connect` is content with a connection; `negotiate` speaks the protocol named by
`service`, sends `request`, and looks for the regular expression `receive` in the answer. Which one
do you need? `quiescent = no` removes a bad server; `yes` gives it weight 0.

Start it: `ldirectord ldirectord.cf start`; `stop` and `status` are the other words. It is written
in Perl and takes a few seconds. Its log: /var/log/ldirectord.log. To see each check: stop it, then
`ldirectord -d ldirectord.cf start`, Ctrl-C ends it.

**Try it.** On rs1 (`lvslab train shell rs1`): `touch /srv/maintenance`, and rs1 answers 503 until
you remove that file. On rs2 kill the web server: `kill $(cat /mnt/nginx.pid)`; start it:
`nginx -p /mnt -e /mnt/nginx.log -c /mnt/nginx.conf`. `watch -n 1 ipvsadm -L -n` on the director.

The check does both. `lvslab train check` judges; `lvslab train hint` helps.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from lvslab.training.exam import Exam
from lvslab.training.exercise import exercise
from lvslab.training.health import Breakage, must_be_noticed, must_be_watched, settle
from lvslab.training.services import RESTART_NGINX

_FILE = "/srv/maintenance"
_SERVER = (
    f"sed -i 's|location / {{|location / {{ if (-f {_FILE}) {{ return 503; }}|'"
    f" /mnt/nginx.conf\n{RESTART_NGINX}"
)


@exercise(
    group="path",
    number=9,
    minutes=20,
    mode="nat",
    table=False,
    prepare={"rs1": _SERVER, "rs2": _SERVER},
    fails="clients are served",
    hints=[
        "One `real` line for each server. `masq` is NAT, `gate` direct routing, `ipip` tunnelling.",
        (
            "A server that says 503 does not refuse connections, so only `negotiate` finds it out. It must be"
            " told which protocol to speak."
        ),
        (
            "Nothing happens? `ldirectord -d ldirectord.cf start` says which line it does not like. Options"
            " of the whole program stand at the left edge, those of a virtual service are indented below it."
        ),
        "`real = 10.0.1.12:8080 masq`, `service = http`, `checktype = negotiate`",
    ],
    solution={
        "director": (
            """\
cat >/etc/ha.d/ldirectord.cf <<'END'
checkinterval = 1
checktimeout = 1
failurecount = 1
quiescent = no

virtual = 10.0.0.10:80
    real = 10.0.1.11:8080 masq
    real = 10.0.1.12:8080 masq
    scheduler = rr
    protocol = tcp
    service = http
    checktype = negotiate
    request = "/"
    receive = "rs[12]"
END
ldirectord ldirectord.cf start
until grep -q 'Added real server: 10.0.1.12' /var/log/ldirectord.log; do sleep 0.5; done
"""
        )
    },
)
def check(exam: Exam) -> None:
    from lvslab import faults

    settle(exam)
    exam.must_share(["rs1", "rs2"])
    must_be_watched(exam, 8080)
    must_be_noticed(
        exam,
        Breakage("rs1", "answers 503", _maintenance(exam, "rs1")),
        Breakage("rs2", "is killed", faults.server_killed(exam.lab, "rs2")),
    )


@contextmanager
def _maintenance(exam: Exam, server: str) -> Iterator[None]:
    """The server answers every request with an error."""
    exam.run(server, f"touch {_FILE}").check(server, f"touch {_FILE}")
    try:
        yield
    finally:
        exam.run(server, f"rm -f {_FILE}")
