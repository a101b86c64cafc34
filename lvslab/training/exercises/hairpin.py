"""# A server asks its own service

The web servers of a shop (LVS-NAT) call an interface of the shop themselves, by its public name,
which leads to the virtual address. Clients get answers. The servers do not.

```
    c1  10.0.0.101                            client
     │
    lvs 10.0.0.1, 10.0.0.10 │ 10.0.1.1        director
     │
    rs1 10.0.1.11:8080   rs2 10.0.1.12:8080   web servers, and clients of 10.0.0.10 as well
```

**What operators say.** "From everywhere else it works. From rs1 it never works, and nothing is
blocked."

**Look.** On rs1 (`lvslab train shell rs1`): `curl -m 2 http://10.0.0.10/` several times. On rs2
(`lvslab train shell rs2`) meanwhile: `tcpdump -n -i rs2-eth0 tcp`. Where does the SYN come from,
and where does rs2 send its answer? On the director (`lvslab train shell director`):
`ipvsadm -L -n -c`. And what if the director chooses rs1 itself?

**Goal.** Requests from rs1 and rs2 to 10.0.0.10 are answered, and balanced over both servers like
everybody's. For clients outside nothing changes: the servers go on seeing their addresses (their
answers show them), because the log files are evaluated.

`lvslab train check` judges; `lvslab train hint` helps.
"""

from lvslab.kernels.needs import Need
from lvslab.modes.base import Role
from lvslab.training.exam import Exam
from lvslab.training.exercise import exercise
from lvslab.training.nodes import examiner
from lvslab.training.programs import LEGACY_IPTABLES

_TIMES = 4


@exercise(
    group="repair",
    number=25,
    minutes=25,
    mode="nat",
    lab={"more_needs": (Need.IPVS_SNAT,)},
    prepare={"director": LEGACY_IPTABLES},
    hints=[
        (
            "rs2 sees a SYN from 10.0.1.11, its neighbour, and answers it straight. rs1 never asked 10.0.1.12"
            " for anything. (And a packet from rs1 that comes back to rs1 has rs1's own address as its"
            " source: it is thrown away.)"
        ),
        (
            "As in all of LVS-NAT, the reply has to pass the director. Here it only will if the server sees"
            " an address of the director as the source. So the director must translate the source too, but"
            " for the servers' own requests alone."
        ),
        (
            "That is netfilter's work: tell IPVS to let netfilter see its connections"
            " (`net.ipv4.vs.conntrack=1`), then `-j SNAT --to-source 10.0.1.1` in the chain POSTROUTING of"
            " the table nat, for packets from 10.0.1.0/24 that IPVS balances (`-m ipvs --vaddr 10.0.0.10`)."
        ),
        (
            "On the director: `sysctl -w net.ipv4.vs.conntrack=1`, then `iptables -t nat -A POSTROUTING -s"
            " 10.0.1.0/24 -m ipvs --vaddr 10.0.0.10 -j SNAT --to-source 10.0.1.1`"
        ),
    ],
    solution={
        "director": (
            """\
sysctl -w net.ipv4.vs.conntrack=1
iptables -t nat -A POSTROUTING -s 10.0.1.0/24 -m ipvs --vaddr 10.0.0.10 -j SNAT --to-source 10.0.1.1
"""
        )
    },
    fails="rs1 is served",
    fault="hairpin",
)
def check(exam: Exam) -> None:
    names = [each.name for each in exam.plan.of_role(Role.REAL_SERVER)]
    for name in names:
        answers = _ask(exam, name, 1)
        if answers[0]:  # one that gets no answer need not ask more
            answers += _ask(exam, name, _TIMES - 1)
        exam.must(
            f"{name} is served",
            all(answers),
            f"{len(answers)} of {len(answers)} requests of {name} to {exam.vip}:80 were answered",
            f"a request of {name} to {exam.vip}:80 got no answer",
        )
        exam.must(
            f"{name} is balanced",
            set(answers) == set(names),
            f"by {', '.join(sorted(set(answers)))}",
            f"all were answered by {', '.join(sorted(set(answers)))}, while the service has"
            f" {', '.join(names)}",
        )
    outside = exam.must_share(names)
    seen = {each.client[0] for each in outside if each.client}
    own = examiner(exam.plan).ip
    exam.must(
        "client address the servers see",
        seen == {own},
        "the servers see the outside client's own address",
        f"the servers see {', '.join(sorted(seen)) or 'nobody'} instead of the outside client, {own}",
    )


def _ask(exam: Exam, server: str, times: int) -> list[str]:
    """Requests of a real server to the virtual address: who answered, or ""."""
    one = f"curl -s -m 1.5 --no-keepalive http://{exam.vip}/ || echo"
    lines = exam.run(server, "\n".join([one] * times)).out.splitlines()
    return [(line.split() or [""])[0] for line in lines] or [""]
