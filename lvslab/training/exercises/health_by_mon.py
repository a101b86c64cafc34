"""# Health checks with mon

IPVS does not look at its servers. When one dies, half of the clients go on being sent to it.
Somebody must look after the servers, and change the table. **mon** is the oldest way, and shows all
the parts: a *monitor* program that asks a server, and an *alert* program that is called when the
answer changes.

```
    c1  10.0.0.101                            client
     │
    lvs 10.0.0.1, 10.0.0.10 │ 10.0.1.1        director: LVS-NAT, round robin; mon
     │
    rs1 10.0.1.11:8080   rs2 10.0.1.12:8080   web servers
```

The alert is there: `/etc/mon/ipvs.alert -- WORDS` runs `ipvsadm WORDS`. (Read it; it is six lines
long.) What is missing is mon's configuration.

**Build it** on the director (`lvslab train shell director`). Write `/etc/mon/mon.cf` (`busybox vi`
is there in any case), and fill the gaps (`…`):

```
alertdir = /etc/mon
serverbind = 127.0.0.1
trapbind = 127.0.0.1

hostgroup rs1 10.0.1.11

hostgroup rs2 …

watch rs1
    service http
        interval 1s
        monitor http.monitor -p … -t 1
        period wd {Sun-Sat}
            numalerts 1
            alert ipvs.alert -- -d …
            upalert ipvs.alert -- -a …

watch rs2
    …
```

`alert` takes the server out of the table, `upalert` puts it back: the words are those that you
would type after `ipvsadm`, and in upalert they must be complete. An empty line ends a hostgroup,
and a watch. `http.monitor` is one of those in /usr/lib/mon/mon.d; it asks for a page. Start mon:
`mon -f -c /etc/mon/mon.cf`. After a change: `kill $(pidof -x mon)`, and start it again.

**Try it.** On rs1 (`lvslab train shell rs1`) kill the web server: `kill $(cat /mnt/nginx.pid)`. On
the director, `watch -n 1 ipvsadm -L -n`, and /var/log/ipvs.alert shows what the alert did. Start
the web server again: `nginx -p /mnt -e /mnt/nginx.log -c /mnt/nginx.conf`.

The check kills each server's web program in turn, and starts it again. `lvslab train check` judges;
`lvslab train hint` helps.
"""

from lvslab.training.exam import Exam
from lvslab.training.exercise import exercise
from lvslab.training.health import Breakage, must_be_noticed, must_be_watched
from lvslab.training.services import table

_RULES = """\
-A -t 10.0.0.10:80 -s rr
-a -t 10.0.0.10:80 -r 10.0.1.11:8080 -m
-a -t 10.0.0.10:80 -r 10.0.1.12:8080 -m
"""

_ALERT = """\
echo 'command section' >/etc/mon/auth.cf
cat >/etc/mon/ipvs.alert <<'END'
#!/bin/sh
# mon calls: ipvs.alert -s SERVICE -g GROUP -h HOSTS -t TIME [-u] -- WORDS
while [ $# -gt 0 ] && [ "$1" != -- ]; do shift; done
shift
ipvsadm "$@" 2>>/var/log/ipvs.alert
echo "$(date +%T) $MON_GROUP: ipvsadm $* (status $?)" >>/var/log/ipvs.alert
END
chmod +x /etc/mon/ipvs.alert
"""


def _watch(name: str, address: str) -> str:
    where = f"-t 10.0.0.10:80 -r {address}:8080"
    return f"""\
watch {name}
    service http
        interval 1s
        monitor http.monitor -p 8080 -t 1
        period wd {{Sun-Sat}}
            numalerts 1
            alert ipvs.alert -- -d {where}
            upalert ipvs.alert -- -a {where} -m
"""


@exercise(
    group="path",
    number=8,
    minutes=25,
    mode="nat",
    table=False,
    prepare={"director": table(_RULES) + _ALERT},
    fails="the servers are watched",
    hints=[
        (
            "Try the parts alone first: `/usr/lib/mon/mon.d/http.monitor -p 8080 -t 1 10.0.1.11; echo $?`,"
            " and `/etc/mon/ipvs.alert -- -L`."
        ),
        (
            "`alert ipvs.alert -- -d -t 10.0.0.10:80 -r 10.0.1.11:8080` takes rs1 out. In the upalert, `-m`"
            " must be there again: without it the server comes back as one for direct routing."
        ),
        (
            "Does mon run (`pgrep -a mon`)? It ends without a word when it does not understand its"
            " configuration; `mon -d -c /etc/mon/mon.cf` stays in the foreground and says what it does"
            " (Ctrl-C ends it)."
        ),
        (
            "The rest is one more `watch rs2`, the same as for rs1 with 10.0.1.12, and `hostgroup rs2"
            " 10.0.1.12`."
        ),
    ],
    solution={
        "director": (
            f"""\
cat >/etc/mon/mon.cf <<'END'
alertdir = /etc/mon
serverbind = 127.0.0.1
trapbind = 127.0.0.1

hostgroup rs1 10.0.1.11

hostgroup rs2 10.0.1.12

{_watch("rs1", "10.0.1.11")}
{_watch("rs2", "10.0.1.12")}
END
mon -f -c /etc/mon/mon.cf
"""
        )
    },
)
def check(exam: Exam) -> None:
    from lvslab import faults

    exam.must_share(["rs1", "rs2"])
    must_be_watched(exam, 8080)
    must_be_noticed(
        exam,
        *(Breakage(server, "is killed", faults.server_killed(exam.lab, server)) for server in ("rs1", "rs2")),
    )
