"""HTTP requests by curl from a client, each over a connection of its own."""

from __future__ import annotations

from dataclasses import dataclass

from lvslab.lab.nodes import LabMachine

_FORMAT = "%{exitcode} %{http_code} %{local_port} %{time_connect} %{time_total}\\n"


@dataclass(frozen=True)
class Answer:
    """What one request brought.

    Attributes:
        server: name of the real server that answered, or None.
        client: the client's address and port as the server saw them, or None.
        local_port: port that the client used.
        connect, total: seconds until the connection stood, and until the answer was there.
        error: why it failed, or None.
    """

    server: str | None
    client: tuple[str, int] | None
    local_port: int
    connect: float
    total: float
    error: str | None


def get(client: LabMachine, url: str, times: int = 1, timeout: float = 5.0) -> list[Answer]:
    """GET an address several times, one after the other.

    Args:
        timeout: seconds for each request.
    """
    one = f"curl -sS --no-keepalive -H 'Connection: close' -m {timeout:g} -w '{_FORMAT}' {url} 2>&1"
    done = client.run("\n".join([one] * times), timeout=times * timeout + 10)
    return parse_answers(done.out)


def parse_answers(text: str) -> list[Answer]:
    """Answers from the output of the requests: the body's line, or curl's message, then the line of
    numbers.
    """
    answers = []
    body: list[str] = []
    for line in text.splitlines():
        fields = line.split()
        if len(fields) == 5 and fields[0].isdigit() and fields[1].isdigit() and len(fields[1]) == 3:
            code, status, port, connect, total = fields
            seen = body[-1].split() if body else []
            good = code == "0" and status == "200" and len(seen) == 3 and seen[2].isdigit()
            error = None if good else (body[-1] if body else f"curl ended with {code}")
            if code == "0" and status != "200":
                error = f"HTTP status {status}"
            answers.append(
                Answer(
                    seen[0] if good else None,
                    (seen[1], int(seen[2])) if good else None,
                    int(port),
                    float(connect),
                    float(total),
                    error,
                )
            )
            body = []
        else:
            body.append(line)
    return answers
