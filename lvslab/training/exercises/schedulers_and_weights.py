"""# Schedulers and weights

Which server gets the next connection is up to the *scheduler* of the virtual service, and in what
share, to the *weights* of the servers. Both can be changed while connections run. Three services
need something else than the round robin that they have now.

```
    c1  10.0.0.101                            client
     │
    lvs 10.0.0.1, 10.0.0.10 │ 10.0.1.1        director: ports 80, 81 and 82 of 10.0.0.10, all to port 8080 (LVS-NAT)
     │
    rs1 10.0.1.11:8080   rs2 10.0.1.12:8080   web servers
```

**Goal**, on the director (`lvslab train shell director`), by changing the services, not by
building them anew: users are on them.

- **port 80**, web pages, many short connections: rs1 is a new machine and has three times the power
  of rs2. It shall get **three of four connections**: `wrr`, weighted round robin, and weights.
- **port 81**, connections that last for hours and end at any time: a new one shall go to the server
  that has **fewer open connections** now, `lc`. (Round robin counts what came, not what stayed.)
  Both servers count the same here.
- **port 82**, a game: **all connections of one client to the same server**, computed from the
  client's address, without the director remembering anybody: `sh`, source hashing. Both servers
  take part, as far as the hash shares the clients out.

A service is changed by `ipvsadm -E -t … -s …` (capital E), a server in it by
`ipvsadm -e -t … -r … -m -w …` (small e). Both replace *all* options: whatever you leave out is the
default again, so repeat the `-m`.

**Look at it.** On the client (`lvslab train shell client`):
`for i in 1 2 3 4 5 6 7 8; do curl -s http://10.0.0.10/; done`, the same with `:81`, `:82`. Open
connections for port 81: `nc -d 10.0.0.10 81 &`, a few times; `ipvsadm -L -n` on the director shows
them as ActiveConn, and `kill %1 %3` on the client ends some. For port 82 the client has further
addresses: `curl --interface 10.0.0.112 http://10.0.0.10:82/`; 10.0.0.111 to .116.

`lvslab train check` judges; `lvslab train hint` helps.
"""  # noqa: E501, W505

from collections import Counter

from lvslab.ipvs.ipvsadm import Ipvsadm
from lvslab.training import clients
from lvslab.training.exam import Exam
from lvslab.training.exercise import exercise
from lvslab.training.services import table

_PORTS = (80, 81, 82)
_RULES = "".join(
    f"-A -t 10.0.0.10:{port} -s rr\n"
    f"-a -t 10.0.0.10:{port} -r 10.0.1.11:8080 -m -w 1\n"
    f"-a -t 10.0.0.10:{port} -r 10.0.1.12:8080 -m -w 1\n"
    for port in _PORTS
)
_CLIENT = (
    "ip -batch - <<'END'\n"
    + "".join(f"address add 10.0.0.{host}/24 dev c1-eth0\n" for host in range(111, 117))
    + "END\n"
)

_ROUNDS, _SHARE = 3, {"rs1": 3, "rs2": 1}
_OPEN, _NEXT = 6, 2
_PLAYERS, _GAMES = 10, 3


@exercise(
    group="path",
    number=6,
    minutes=20,
    mode="nat",
    table=False,
    prepare={"director": table(_RULES), "client": _CLIENT},
    fails="port 80: three to one",
    hints=[
        (
            "`rr` and `lc` do not look at weights (beyond zero); `wrr` and `wlc` do. `man ipvsadm`, option"
            " `-s`, has one paragraph for each."
        ),
        (
            "`ipvsadm -E -t 10.0.0.10:80 -s wrr` changes the scheduler, `ipvsadm -e -t 10.0.0.10:80 -r"
            " 10.0.1.11:8080 -m -w 3` a weight."
        ),
        (
            "Try port 81 like this: open six connections, end all those to one server, open two more. Where"
            " do they go?"
        ),
        (
            "`ipvsadm -E -t 10.0.0.10:80 -s wrr`, `ipvsadm -e -t 10.0.0.10:80 -r 10.0.1.11:8080 -m -w 3`;"
            " `ipvsadm -E -t 10.0.0.10:81 -s lc`; `ipvsadm -E -t 10.0.0.10:82 -s sh`"
        ),
    ],
    solution={
        "director": (
            """\
ipvsadm -E -t 10.0.0.10:80 -s wrr
ipvsadm -e -t 10.0.0.10:80 -r 10.0.1.11:8080 -m -w 3
ipvsadm -E -t 10.0.0.10:81 -s lc
ipvsadm -E -t 10.0.0.10:82 -s sh
"""
        )
    },
)
def check(exam: Exam) -> None:
    _must_share(exam)
    _must_even_out(exam)
    _must_stick(exam)


def _must_share(exam: Exam) -> None:
    """Port 80: three of four connections to rs1."""
    count = _ROUNDS * (_SHARE["rs1"] + _SHARE["rs2"])
    seen = Counter(exam.servers(count))
    off = abs(seen["rs1"] - _ROUNDS * _SHARE["rs1"])  # the student may ask something meanwhile
    shown = f"{count} connections: {_shown(seen)}"
    exam.must("port 80: three to one", off <= 1 and not seen[""], shown, shown)


def _must_even_out(exam: Exam) -> None:
    """Port 81: when connections to one server have ended, the next ones go there."""
    with clients.many(exam, _OPEN, port=81) as (opened, why):
        places = [_server(each) for each in opened]
        seen = Counter(places)
        shown = f"{_OPEN} connections at once: {_shown(seen)}" + (f" ({why})" if why else "")
        exam.must("port 81: both servers", set(seen) == {"rs1", "rs2"}, shown, shown)
        quiet, count = seen.most_common(1)[0]
        leaving = [each for each, place in zip(opened, places, strict=True) if place == quiet]
        for each in leaving:
            each.close()
        _await_end(exam, {each.port for each in leaving})
        with clients.many(exam, _NEXT, port=81) as (late, _):
            places = [_server(each) for each in late]
    shown = (
        f"after the {count} connections to {quiet} had ended, the next ones went to:"
        f" {', '.join(places) or 'nobody'}"
    )
    exam.must("port 81: fewer open ones", places == [quiet] * _NEXT, shown, shown)


def _await_end(exam: Exam, ports: set[int]) -> None:
    """Until the director knows that connections from these ports have ended."""
    table = Ipvsadm(exam.node("director"))
    exam.wait_until(
        lambda: (
            not any(
                each.client.port in ports and each.state == "ESTABLISHED" for each in table.list_connections()
            )
        ),
        3.0,
    )


def _must_stick(exam: Exam) -> None:
    """Port 82: one server for each client, and no memory of clients."""
    places = [
        {_asked(exam, player) for _ in range(_GAMES)} for player in clients.take_addresses(exam, _PLAYERS)
    ]
    moved = sum(len(each) > 1 for each in places)
    seen = set().union(*places)
    exam.must(
        "port 82: answers",
        "" not in seen,
        "every request was answered",
        f"a request to {exam.vip}:82 got no answer",
    )
    exam.must(
        "port 82: one server each",
        not moved,
        f"each of {_PLAYERS} clients had all {_GAMES} connections at one server",
        f"{moved} of {_PLAYERS} clients had connections to both servers",
    )
    exam.must(
        "port 82: both servers",
        len(seen) == 2,
        "both servers have players",
        f"all players are at {', '.join(seen)}",
    )
    seconds = max((each.persistence_timeout for each in exam.table() if each.port == 82), default=0)
    exam.must(
        "port 82: by the address alone",
        not seconds,
        "the director does not remember players",
        f"the director remembers players for {seconds} s (persistence); the task asks for a scheduler that"
        " needs no memory",
    )


def _asked(exam: Exam, player: str) -> str:
    """The server of one connection of a player's, or ""."""
    reply = clients.ask(exam, port=82, source=(player, 0))
    return reply.server if reply else ""


def _server(client: clients.Client) -> str:
    """The server that a connection leads to, or ""."""
    try:
        return client.get().server
    except clients.Broken:
        return ""


def _shown(seen: Counter[str]) -> str:
    return ", ".join(f"{server or 'nobody'} {number}" for server, number in sorted(seen.items())) or "none"
