"""# WebSocket: the session that nobody knows

A chat runs on two servers behind a director (LVS-NAT). Its users log in, get a session number, and
open a WebSocket with it. A session lives in the memory of the server that the user logged in to;
the other server has never heard of it.

```
    c1  10.0.0.101                            client
     │
    lvs 10.0.0.1, 10.0.0.10 │ 10.0.1.1        director
     │
    rs1 10.0.1.11:8000   rs2 10.0.1.12:8000   chat servers
```

**What users say.** "I log in, and the chat says *403, unknown session*. With one server it worked."

**Look.** On the client (`lvslab train shell client`) log in, and open the WebSocket with the number
that you got:

    sid=$(curl -s http://10.0.0.10/cgi-bin/login); echo "$sid"
    curl -si --no-buffer -H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' \\
         -H 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==' "http://10.0.0.10/cgi-bin/chat?$sid" | cat
         -v

The answer should begin with `101 Switching Protocols`, and the server greets with its name. On the
director (`lvslab train shell director`): `ipvsadm -L -n`, and `ipvsadm -L -n -c` for who was sent
where.

**Goal.** A user's connections all go to the server that knows the session, at least for the five
minutes that a chat may rest. Users as a whole still share both servers. The chat itself cannot be
changed.

`lvslab train check` judges; `lvslab train hint` helps.
"""  # noqa: W505

from lvslab.training import sessions
from lvslab.training.clients import ask, take_addresses
from lvslab.training.exam import Exam
from lvslab.training.exercise import exercise

_UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
_ACCEPTED = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
"""What RFC 6455, section 1.3, says is the answer to that key."""

_USERS, _CHATS = 6, 2


@exercise(
    group="repair",
    number=14,
    minutes=10,
    mode="nat",
    table=False,
    prepare={
        "rs1": sessions.server("rs1", 8000, ["chat"]),
        "rs2": sessions.server("rs2", 8000, ["chat"]),
        "director": (
            """\
ipvsadm -A -t 10.0.0.10:80 -s rr
ipvsadm -a -t 10.0.0.10:80 -r 10.0.1.11:8000 -m
ipvsadm -a -t 10.0.0.10:80 -r 10.0.1.12:8000 -m
"""
        ),
    },
    hints=[
        (
            "The log-in and the WebSocket are two TCP connections. IPVS schedules each new connection afresh."
            " Which server gets the second one?"
        ),
        (
            "Something must tie a *client* to a server, not just a connection. Look for 'persistence' in"
            " ipvsadm(8). (A scheduler that hashes the client's address would do as well.)"
        ),
        (
            "An existing service is changed with `ipvsadm -E`, with the same words as for `-A`; `-p SECONDS`"
            " makes it persistent. Sessions may rest for five minutes."
        ),
        "On the director: `ipvsadm -E -t 10.0.0.10:80 -s rr -p 300`",
    ],
    solution={"director": "ipvsadm -E -t 10.0.0.10:80 -s rr -p 300\n"},
    fails="sessions hold",
    fault="persistence-missing",
)
def check(exam: Exam) -> None:
    users = take_addresses(exam, _USERS)
    logins = {user: ask(exam, "/cgi-bin/login", source=(user, 0)) for user in users}
    answered = [user for user, login in logins.items() if login and login.status == 200]
    exam.must(
        "log-in works",
        len(answered) == len(users),
        f"{len(users)} of {len(users)} users logged in",
        f"{len(users) - len(answered)} of {len(users)} log-ins at {exam.vip}:80 got no answer",
    )
    lost, servers = [], set()
    for user, login in logins.items():
        session = login.text.strip() if login else ""
        for _ in range(_CHATS):
            server = _open(exam, user, session)
            if server:
                servers.add(server)
            else:
                lost.append(user)
    exam.must(
        "sessions hold",
        not lost,
        f"{_USERS * _CHATS} of {_USERS * _CHATS} WebSockets opened with the session of the log-in",
        f"{len(lost)} of {_USERS * _CHATS} WebSockets met a server that does not know the session",
    )
    exam.must(
        "both servers work",
        servers == {"rs1", "rs2"},
        f"{_USERS} users share {', '.join(sorted(servers))}",
        f"all {_USERS} users are at {', '.join(sorted(servers))}; both servers must take part",
    )
    service = next((each for each in exam.table() if each.port == 80), None)
    exam.must(
        "long enough",
        not (service and service.persistence_timeout and service.persistence_timeout < 300),
        "a session may rest for five minutes",
        f"after {service.persistence_timeout if service else 0} s of rest a user may be sent elsewhere;"
        " sessions rest for 300 s",
    )


def _open(exam: Exam, user: str, session: str) -> str | None:
    """Open a WebSocket; the server that took it, or None."""
    answer = ask(exam, f"/cgi-bin/chat?{session}", _UPGRADE, source=(user, 0))
    if not answer or answer.status != 101 or answer.headers.get("sec-websocket-accept") != _ACCEPTED:
        return None
    return answer.headers["x-server"]
