"""# Health checks with keepalived

**keepalived** is what most directors run today: one process in C that builds the table, checks the
servers by itself, and needs no other program for it. (The other half of it, VRRP, is for pairs of
directors: the next lab.) Its checks are TCP_CHECK, a connection, and HTTP_GET, a page. The
difference shows when a server *hangs*: its kernel goes on accepting connections, and nobody answers
on them.

```
    c1  10.0.0.101                            client
     │
    lvs 10.0.0.1, 10.0.0.10 │ 10.0.1.1        director: keepalived, LVS-NAT
     │
    rs1 10.0.1.11:8080   rs2 10.0.1.12:8080   web servers
```

**Build it** on the director (`lvslab train shell director`). The table is empty. Write
`/etc/keepalived/keepalived.conf` (`busybox vi` is there in any case), and fill the gaps (`…`):

```
virtual_server 10.0.0.10 80 {
    lvs_sched rr
    lvs_method NAT
    protocol TCP
    delay_loop 1

    real_server … … {
        weight 1
        HTTP_GET {
            url {
                path /
                status_code …
            }
            connect_timeout 1
            retry 0
            delay_before_retry 1
        }
    }
    …
}
```

`delay_loop` is the time between two checks of a server; `retry` how often a failed one is tried
again before it counts, `delay_before_retry` seconds apart. Test the file:
`keepalived --config-test`. Start it: `keepalived`; stop it: `kill $(cat /run/keepalived.pid)`. To
see what it does, run it in the foreground: `keepalived --dont-fork --log-console --log-detail`.

**Try it.** On rs1 (`lvslab train shell rs1`) `kill -STOP $(cat /mnt/nginx.pid)`, and it hangs;
`kill -CONT …`, and it goes on. On the client, `curl -m 1 http://10.0.0.10/` shows what users feel.
`watch -n 1 ipvsadm -L -n` on the director.

The check lets rs1 hang and kills rs2's web server. `lvslab train check` judges; `lvslab train hint`
helps.
"""

from lvslab.training.exam import Exam
from lvslab.training.exercise import exercise
from lvslab.training.health import Breakage, must_be_noticed, must_be_watched, settle

_REAL_SERVER = """\
    real_server {address} 8080 {{
        weight 1
        HTTP_GET {{
            url {{
                path /
                status_code 200
            }}
            connect_timeout 1
            retry 0
            delay_before_retry 1
        }}
    }}
"""


@exercise(
    group="path",
    number=10,
    minutes=20,
    mode="nat",
    table=False,
    fails="clients are served",
    hints=[
        (
            "Two `real_server` blocks, each with its own checker: address and port with a space between them,"
            " the same as in `virtual_server`."
        ),
        (
            "`keepalived --config-test` names the lines that it does not understand. keepalived itself leaves"
            " them out and works on with the rest."
        ),
        (
            "If a hanging server is not noticed, look at the checker: TCP_CHECK is content with what the"
            " kernel does. HTTP_GET wants the page."
        ),
        "`real_server 10.0.1.11 8080 {`, `status_code 200`; and the whole block once more with 10.0.1.12.",
    ],
    solution={
        "director": (
            f"""\
cat >/etc/keepalived/keepalived.conf <<'END'
virtual_server 10.0.0.10 80 {{
    lvs_sched rr
    lvs_method NAT
    protocol TCP
    delay_loop 1

{_REAL_SERVER.format(address="10.0.1.11")}
{_REAL_SERVER.format(address="10.0.1.12")}}}
END
keepalived
until [ "$(ipvsadm -L -n | grep -c Masq)" = 2 ]; do sleep 0.2; done
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
        Breakage("rs1", "hangs", faults.server_hung(exam.lab, "rs1")),
        Breakage("rs2", "is killed", faults.server_killed(exam.lab, "rs2")),
    )
