"""# HTTPS, passed through

A web shop shall be reached by HTTPS. The certificates stay on the servers, and the director passes
the encrypted connections through (LVS-NAT): it cannot read them and does not need to. HTTP works,
and the service for HTTPS was made after its pattern:

```
$ curl http://10.0.0.10/
rs1 10.0.0.101 40512
$ curl -k https://10.0.0.10/
curl: (35) error:0A00010B:SSL routines::wrong version number
```

```
    c1  10.0.0.101                            client
     │
    lvs 10.0.0.1, 10.0.0.10 │ 10.0.1.1        director, LVS-NAT
     │
    rs1 10.0.1.11        rs2 10.0.1.12        real servers: HTTP on port 8080, HTTPS on port 443
```

**Goal:** `https://10.0.0.10/` is answered by both servers, with the certificates that they hold;
HTTP goes on working.

**How to look.** `ipvsadm -L -n` on the director, and `ss -ltn` on a server: which port expects
what? Ask a server without the director in between, from the director: `curl -k https://10.0.1.11/`.
What does a server answer that expects plain HTTP and gets a TLS handshake?
`tcpdump -n -A -i lvs-eth1` on the director shows it.

When the shop is open: `lvslab train check`. If you are stuck: `lvslab train hint`.
"""

from lvslab.kernels import guestfiles
from lvslab.training.exam import Exam
from lvslab.training.exercise import exercise
from lvslab.training.nodes import examiner
from lvslab.training.services import nginx_service, table

_HOST = "shop.example.test"
_CERTIFICATE = "/etc/shop/certificate.pem"
_TIMES, _SECONDS = 4, 2


def _shop(name: str) -> str:
    blocks = f"""
http {{
    access_log off;
    server {{
        listen 443 ssl;
        ssl_certificate {_CERTIFICATE};
        ssl_certificate_key /etc/shop/key.pem;
        location / {{
            return 200 "{name} $remote_addr $remote_port\\n";
        }}
    }}
}}
"""
    return f"""\
mkdir -p /etc/shop
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN={_HOST} \
-addext subjectAltName=DNS:{_HOST} -keyout /etc/shop/key.pem -out {_CERTIFICATE} 2>/dev/null
{nginx_service("shop", blocks)}"""


_TABLE = table("""
-A -t 10.0.0.10:80 -s rr
-a -t 10.0.0.10:80 -r 10.0.1.11:8080 -m
-a -t 10.0.0.10:80 -r 10.0.1.12:8080 -m
-A -t 10.0.0.10:443 -s rr
-a -t 10.0.0.10:443 -r 10.0.1.11:8080 -m
-a -t 10.0.0.10:443 -r 10.0.1.12:8080 -m
""")
_CURE = """\
ipvsadm -d -t 10.0.0.10:443 -r 10.0.1.11:8080
ipvsadm -d -t 10.0.0.10:443 -r 10.0.1.12:8080
ipvsadm -a -t 10.0.0.10:443 -r 10.0.1.11:443 -m
ipvsadm -a -t 10.0.0.10:443 -r 10.0.1.12:443 -m
"""


@exercise(
    group="repair",
    number=11,
    minutes=10,
    mode="nat",
    table=False,
    prepare={"rs1": _shop("rs1"), "rs2": _shop("rs2"), "director": _TABLE},
    fails="TLS",
    fault="wrong-server-port",
    hints=[
        (
            "The client speaks TLS and is answered in plain text: 'HTTP/1.1 400 Bad Request'. Somebody takes"
            " its handshake for a bad HTTP request."
        ),
        (
            "In NAT a real server's port may differ from the service's: the number behind the real server's"
            " address in `ipvsadm -L -n`."
        ),
        (
            "Connections to 10.0.0.10:443 must end at port 443 of the servers. A real server in the table is"
            " known by address *and* port: another port is another entry, the old one must go."
        ),
        (
            "On the director, for 10.0.1.11 and for 10.0.1.12: `ipvsadm -d -t 10.0.0.10:443 -r"
            " 10.0.1.11:8080`, then `ipvsadm -a -t 10.0.0.10:443 -r 10.0.1.11:443 -m`."
        ),
    ],
    solution={"director": _CURE},
)
def check(exam: Exam) -> None:
    exam.must_share(["rs1", "rs2"])
    client, trusted = exam.client, exam.client.directory / "trusted.pem"
    certificates = [exam.run(name, f"cat {_CERTIFICATE}").out for name in exam.plan.addresses.rips]
    guestfiles.write(trusted, "".join(certificates))
    one = (
        f"curl -sS -m {_SECONDS} --cacert {trusted} --resolve {_HOST}:443:{exam.vip} https://{_HOST}/ 2>&1 ||"
        " true"
    )
    lines = client.run("\n".join([one] * _TIMES)).out.splitlines()
    failed = [line for line in lines if line.startswith("curl:")]
    exam.must(
        "TLS",
        not failed,
        f"{_TIMES} of {_TIMES} requests to {_HOST} were answered under a certificate that the servers hold",
        f"{len(failed)} of {_TIMES} requests to {_HOST} failed: {failed[0] if failed else ''}",
    )
    own = examiner(exam.plan).ip
    seen = {tuple(line.split()[:2]) for line in lines}
    exam.must(
        "who serves HTTPS",
        seen == {("rs1", own), ("rs2", own)},
        "rs1 and rs2 answered, and saw the client's own address: nothing in between ended the connection",
        "server and the client that it saw: " + "; ".join(sorted(" ".join(each) for each in seen)),
    )
