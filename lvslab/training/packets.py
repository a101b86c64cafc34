"""Packets of an exam's own requests, captured on every link and judged hop by hop against the lab's
forwarding mode.
"""

from __future__ import annotations

from lvslab.plan.services import HTTP_PORT
from lvslab.runs.words import plural
from lvslab.training.exam import Exam
from lvslab.training.nodes import examiner

_TRIES = 3
"""Servers repeat their answers to connections that failed before the cure for up to a minute; one
of those in the capture is no fault.
"""


def must_travel(exam: Exam, requests: int = 2, name: str = "packets") -> None:
    """Every packet of some HTTP requests must go the way that the mode's contract says
    (`lvslab.modes.contract`).

    Only the service on port 80 is asked, which is what students build, and only the exam's own
    connections are judged: others may still be mourning what was broken before.
    """
    for _ in range(_TRIES):
        problem, good = _travel(exam, requests)
        if not problem:
            break
    exam.must(name, not problem, good, problem)


def _travel(exam: Exam, requests: int) -> tuple[str, str]:
    """What was wrong with the packets of some requests, "" if nothing; and what to say then."""
    from lvslab.verify.capture import Capture
    from lvslab.verify.frames import read_frames
    from lvslab.verify.judge import judge
    from lvslab.verify.path import hops
    from lvslab.verify.verification import ports, setting, taps

    plan = exam.plan
    file = exam.directory / "packets.pcapng"
    with Capture(file, taps(exam.lab)) as capture:
        answers = exam.get(requests)
        capture.wait_quiet(exam.lab.at_work)
    flows = judge(hops(read_frames(file), ports(plan)), setting(plan))
    here = examiner(plan).ip
    found = {
        answer.local_port: flow
        for answer in answers
        for flow in flows
        if flow.client == (here, answer.local_port)
    }
    problem, packets = "", 0
    for answer in answers:
        flow = found.get(answer.local_port)
        packets += len(flow.hops) if flow else 0
        if problem:
            continue
        if flow is None:
            problem = answer.error or f"the request from port {answer.local_port} was not seen on any link"
        elif flow.wrong:
            hop = flow.wrong.hop
            problem = f"{flow.title}: {hop.sender} > {hop.receiver or 'nobody'}: {flow.wrong.why}"
        elif answer.error:
            problem = f"{flow.title}: {answer.error}"
    if capture.lost and not problem:
        problem = f"the capture missed {plural(capture.lost, 'frame')}; check again"
    return (
        problem,
        (
            f"{plural(len(answers), 'request')} to {exam.vip}:{HTTP_PORT}, {plural(packets, 'packet')} on the"
            f" links: {plan.mode.contract.in_words}"
        ),
    )
