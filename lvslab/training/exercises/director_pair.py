"""# A pair of directors

Two servers stand in for each other, but there is one director, and when it dies the service is
gone. **keepalived** joins two directors by VRRP: the *master* has the virtual address and says so
several times a second; when the *backup* does not hear it any more, it takes the address. So that
users' connections survive that, too, the master tells the backup about them: IPVS *connection
sync*.

```
    c1 .101                              network 10.0.0.0/24
     │
─────┴───┬─────────┬─────────┬─────────┬─────
       lvs1 .1   lvs2 .2   rs1 .11   rs2 .12
       10.0.0.10 by VRRP   (direct routing, ready)
```

Both directors have the same table already (`ipvsadm -L -n`), as a machine restores it when it
boots. Nobody has 10.0.0.10 yet.

**Build it** on lvs1 and lvs2 (`lvslab train shell lvs1`, `lvslab train shell lvs2`). Write
`/etc/keepalived/keepalived.conf` (`busybox vi` is there in any case), and fill the gaps (`…`):

```
global_defs {
    vrrp_version 3
    …
}

vrrp_instance service {
    state BACKUP
    interface lvs1-eth0
    virtual_router_id 51
    priority …
    advert_int 0.5
    nopreempt
    virtual_ipaddress {
        …
    }
}
```

- `priority`: the higher one becomes master, where both start together. `virtual_router_id` is the
  same on both.
- the line missing in `global_defs` is `lvs_sync_daemon INTERFACE INSTANCE`: sync runs as master or
  backup along with VRRP.
- `nopreempt`: a director that comes back stays backup. It has forgotten all connections, and must
  not take the address at once.

Start it on both: `keepalived`. After a change: `kill $(cat /run/keepalived.pid)`, and start it
again.

**Look at it.** `ip address show lvs1-eth0`, `ipvsadm -L --daemon`; `tcpdump -n -i lvs1-eth0 vrrp`
shows the master's voice. Open a connection on the client (`lvslab train shell client`) that talks
now and then,
`(while printf 'GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n'; do sleep 0.2; done) | nc 10.0.0.10 80`,
and watch `ipvsadm -L -n -c` on the backup: it knows the connection after two or three seconds.

The check *cuts the master's power* (your shells on it end), looks who survives, switches it on
again, and looks once more; it takes some 15 seconds. Like any machine, a director that boots has
what is in its configuration files: here keepalived is started with that file.

`lvslab train check` judges; `lvslab train hint` helps.
"""

import time
from dataclasses import dataclass

from lvslab.ipvs.ipvsadm import Ipvsadm
from lvslab.kernels import guestfiles
from lvslab.plan.redundancy import SYNC_FLUSH
from lvslab.training.clients import Broken, Client
from lvslab.training.drill import open_or_none
from lvslab.training.exam import Exam
from lvslab.training.exercise import exercise
from lvslab.training.probes import arp_answers

_FILE = "/etc/keepalived/keepalived.conf"

_TIMES = 4
"""Requests over a connection: more packets than the first one of net.ipv4.vs.sync_threshold."""

_SYNC_SECONDS = SYNC_FLUSH + 3.0
_BOOT_SECONDS = 5.0
"""keepalived has gone to the background before it starts the sync daemon; what is told before that
is not heard.
"""

_RETURN_SECONDS = 5.0
"""Who would take the address back at once has done so by then, with an advertisement each second at
most.
"""

_TAKEOVER_SECONDS = 8.0
"""Twice what VRRP needs with keepalived's own default of an advertisement each second (RFC 5798,
Master_Down_Interval).
"""


def _configuration(name: str, priority: int) -> str:
    return f"""\
cat >{_FILE} <<'END'
global_defs {{
    vrrp_version 3
    lvs_sync_daemon {name}-eth0 service
}}

vrrp_instance service {{
    state BACKUP
    interface {name}-eth0
    virtual_router_id 51
    priority {priority}
    advert_int 0.5
    nopreempt
    virtual_ipaddress {{
        10.0.0.10/32
    }}
}}
END
keepalived
"""


@exercise(
    group="path",
    number=11,
    minutes=30,
    mode="dr",
    lab={"directors": 2, "vrrp": False},
    fails="one of them has the address",
    hints=[
        (
            "One director after the other: with keepalived on lvs1 alone the service should work. Then lvs2,"
            " and nothing should change."
        ),
        (
            "`keepalived --dont-fork --log-console --log-detail` says what it does. If both become master,"
            " they do not hear each other: virtual_router_id, interface, vrrp_version."
        ),
        (
            "The backup knows no connections? `ipvsadm -L --daemon` must say master here and backup there,"
            " with the same syncid; the sync daemon runs only where `lvs_sync_daemon` names the instance as"
            " it is called below."
        ),
        (
            "lvs1: `lvs_sync_daemon lvs1-eth0 service`, `priority 150`, `10.0.0.10/32`; lvs2 the same with"
            " lvs2-eth0 and `priority 100`."
        ),
    ],
    solution={
        "lvs1": _configuration("lvs1", 150),
        "lvs2": _configuration("lvs2", 100) + "until ping -c 1 -W 1 10.0.0.10 >/dev/null; do :; done\n",
    },
)
def check(exam: Exam) -> None:
    first = _must_have_one_holder(exam, "one of them has the address")
    second = next(each.name for each in exam.plan.directors if each.name != first)
    exam.must_share(["rs1", "rs2"])
    with open_or_none(exam, timeout=3.0) as client:
        _must_be_known(exam, client, second, f"{second} knows of connections")
        seen = _cut_power(exam, first, second, client)
        exam.must(
            f"{second} takes over",
            seen.taken_over,
            f"{second} has {exam.vip} now that {first} has no power, and clients are served",
            f"{first} has no power, and clients are not served by way of {second}",
        )
        exam.must(
            "connections survive",
            seen.survived,
            f"the connection that was opened by way of {first} went on by way of {second}",
            f"the connection that was opened by way of {first} was lost when {second} took over",
        )
        exam.must(
            f"{first} comes back",
            not seen.complaint,
            f"{first} was switched on again, and keepalived started",
            f"{first} was switched on again, but keepalived does not start: {seen.complaint}",
        )
        back = time.monotonic()
        exam.wait_until(lambda: "backup" in exam.run(first, "ipvsadm -L --daemon").out, _BOOT_SECONDS)
        with open_or_none(exam, timeout=3.0) as late:
            _must_be_known(exam, late, first, f"{first} learns again")
        rest = _RETURN_SECONDS - (time.monotonic() - back)
        exam.wait_until(lambda: arp_answers(exam, exam.vip) != [second], rest)
        exam.must(
            "and nothing happens",
            bool(_ask(client)),
            f"the first connection has survived the return of {first}",
            f"the return of {first} has cut the connection that had survived its death",
        )
    _must_have_one_holder(exam, "one of them still has it")


@dataclass(frozen=True)
class _Seen:
    """What became of it when a director lost its power.

    Attributes:
        taken_over, survived: the other one serves clients; and the connection that there was.
        complaint: why keepalived did not start when the power was back, or "".
    """

    taken_over: bool
    survived: bool
    complaint: str


def _cut_power(exam: Exam, first: str, second: str, client: Client | None) -> _Seen:
    """Cut a director's power, see what happens, and bring it back with its configuration file."""
    from lvslab import faults

    exam.disturb()
    file = exam.run(first, f"cat {_FILE}")
    with faults.director_power_cut(exam.lab, first):
        taken_over = exam.wait_until(lambda: exam.get(1, timeout=0.5)[0].server, _TAKEOVER_SECONDS)
        taken_over = taken_over and arp_answers(exam, exam.vip) == [second]
        survived = taken_over and bool(_ask(client))
    if file.code:
        return _Seen(taken_over, survived, file.err.strip())
    node = exam.node(first)
    guestfiles.write(node.directory / "keepalived.conf", file.out)
    started = node.run(f"cp {node.inside}/keepalived.conf {_FILE} && keepalived")
    return _Seen(taken_over, survived, started.err.strip() if started.code else "")


def _must_have_one_holder(exam: Exam, name: str) -> str:
    """The director that has the virtual address; there must be exactly one."""
    directors = [each.name for each in exam.plan.directors]
    who = arp_answers(exam, exam.vip)
    exam.must(
        name,
        len(who) == 1 and who[0] in directors,
        f"{''.join(who)} has {exam.vip}",
        f"ARP requests for {exam.vip} are answered by {' and '.join(who) or 'nobody'}",
    )
    return who[0]


def _must_be_known(exam: Exam, client: Client | None, director: str, name: str) -> None:
    """A connection that goes through the other director must be in the table of this one."""
    answered = {_ask(client) for _ in range(_TIMES)}
    port = client.port if client and "" not in answered else None
    table = Ipvsadm(exam.node(director))
    known = port is not None and exam.wait_until(
        lambda: any(each.client.port == port for each in table.list_connections()), _SYNC_SECONDS
    )
    exam.must(
        name,
        known,
        f"{director}, the backup, has the examiner's connection in its table",
        (
            f"the examiner's connection to {exam.vip}:80 is not in the table of {director}, the backup"
            if port
            else f"the examiner's connection to {exam.vip}:80 got no answer"
        ),
    )


def _ask(client: Client | None) -> str:
    """The server that answers over a connection, or ""."""
    try:
        return client.get().server if client else ""
    except Broken:
        return ""
