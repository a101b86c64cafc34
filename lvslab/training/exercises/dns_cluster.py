"""# Some names do not resolve

Two name servers for the zone `example.test` stand behind a director (LVS-NAT); clients ask
10.0.0.10. Addresses resolve. But mail to this zone has become unreliable since its TXT records have
grown:

```
$ dig @10.0.0.10 www.example.test +short
192.0.2.80
$ dig @10.0.0.10 keys.example.test TXT +short
;; Connection to 10.0.0.10#53(10.0.0.10) for keys.example.test failed: connection refused.
```

```
    c1  10.0.0.101                            client
     │
    lvs 10.0.0.1, 10.0.0.10 │ 10.0.1.1        director, LVS-NAT
     │
    rs1 10.0.1.11:53     rs2 10.0.1.12:53     name servers (dnsmasq)
```

**Goal:** every record resolves through 10.0.0.10, whatever its size, and both servers take part.
The TXT record of `whoami.example.test` differs: it names the server that has answered.

**How to look.** Ask for both records on the client, and again with `+ignore` (take the first answer
as it is): look at its flags. `tcpdump -n port 53` on the director shows what dig does after such an
answer. Does rs1 itself have the record? On the director: `dig @10.0.1.11 keys.example.test TXT`

When all names resolve: `lvslab train check`. If you are stuck: `lvslab train hint`.
"""

from lvslab.training.exam import Exam
from lvslab.training.exercise import exercise
from lvslab.training.services import table

_ZONE = "example.test"
_KEYS = 8
"""TXT strings of 200 bytes: more than the 1232 bytes that resolvers accept in one datagram (DNS
flag day 2020).
"""

_ASK = f"dig +short +tries=1 +time=1 @{{address}} {{options}} {{name}}.{_ZONE} TXT"
_TIMES = 4


def _name_server(name: str) -> str:
    keys = "\n".join(f"txt-record=keys.{_ZONE},{f'key{number}=':x<200}" for number in range(1, _KEYS + 1))
    return f"""\
cat >/etc/dnsmasq.cluster <<'END'
no-resolv
no-hosts
user=root
pid-file=/run/dnsmasq.pid
local=/{_ZONE}/
host-record=www.{_ZONE},192.0.2.80
txt-record=whoami.{_ZONE},{name}
{keys}
END
dnsmasq -C /etc/dnsmasq.cluster
"""


_TABLE = table("""
-A -u 10.0.0.10:53 -s rr
-a -u 10.0.0.10:53 -r 10.0.1.11:53 -m
-a -u 10.0.0.10:53 -r 10.0.1.12:53 -m
""")


@exercise(
    group="repair",
    number=9,
    minutes=10,
    mode="nat",
    table=False,
    prepare={"rs1": _name_server("rs1"), "rs2": _name_server("rs2"), "director": _TABLE},
    fails="over TCP",
    fault="protocol-missing",
    hints=[
        (
            "With `+ignore` the answer for keys.example.test has the flag `tc`: truncated, it did not fit"
            " into a datagram. What does a client do then (RFC 7766)?"
        ),
        (
            "It asks again over TCP. `ipvsadm -L -n` on the director: what does the director do with TCP to"
            " port 53?"
        ),
        (
            "A virtual service is one protocol: UDP port 53 and TCP port 53 are two services, and a name"
            " server needs both."
        ),
        (
            "On the director: `ipvsadm -A -t 10.0.0.10:53 -s rr`, then `ipvsadm -a -t 10.0.0.10:53 -r"
            " 10.0.1.11:53 -m`, and the same with 10.0.1.12."
        ),
    ],
    solution={
        "director": (
            """\
ipvsadm -A -t 10.0.0.10:53 -s rr
ipvsadm -a -t 10.0.0.10:53 -r 10.0.1.11:53 -m
ipvsadm -a -t 10.0.0.10:53 -r 10.0.1.12:53 -m
"""
        )
    },
)
def check(exam: Exam) -> None:
    for protocol, options in (("UDP", "+notcp"), ("TCP", "+tcp")):
        ask = _ASK.format(address=exam.vip, options=options, name="whoami")
        answers = exam.client.run("\n".join([ask] * _TIMES)).out.splitlines()
        seen = sorted({each.strip('"') for each in answers if each.startswith('"')})
        failed = next((each.lstrip("; ") for each in answers if not each.startswith('"')), "")
        exam.must(
            f"over {protocol}",
            len(answers) == _TIMES and not failed and seen == ["rs1", "rs2"],
            f"{_TIMES} of {_TIMES} questions over {protocol} were answered, by {', '.join(seen)}",
            f"{_TIMES} questions over {protocol}: "
            + (failed or f"answered by {', '.join(seen) or 'nobody'} only"),
        )
    keys = exam.client.run(_ASK.format(address=exam.vip, options="", name="keys")).out.splitlines()
    whole = sum(line.startswith('"key') for line in keys)
    exam.must(
        "large records",
        whole == _KEYS,
        f"a client gets all {_KEYS} strings of keys.{_ZONE}",
        f"a client gets {whole} of {_KEYS} strings of keys.{_ZONE}:"
        f" {keys[-1].lstrip('; ') if keys else 'no answer'}",
    )
