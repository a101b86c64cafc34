"""The classroom in a real browser: a student solves a lab by typing into the page, an instructor
sees it, takes over, exports; another student is refused; a server that is killed loses nothing.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import signal
import zipfile
from collections.abc import Iterator

import pytest

from lvslab.training import session
from tests.lab.browsers import Browser, Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    opened = Server(tmp_path_factory.mktemp("class"))
    yield opened
    opened.end()


@pytest.fixture(scope="module")
def ada(server: Server) -> Iterator[Browser]:
    browser = Browser()
    browser.join(server.links["ada"])
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def teacher(server: Server) -> Iterator[Browser]:
    browser = Browser()
    browser.join(server.links["instructor"])
    yield browser
    browser.close()


def _vip(browser: Browser) -> str:
    vip = str(browser.until(lambda: browser.text(".node-vip"))).split()[-1]
    assert not vip.startswith("10.0."), "precondition: addresses of her own"
    return vip


# The tests follow each other, as a lesson does.


def test_points_turn_green_and_red_again_while_she_types(ada: Browser) -> None:
    vip = _vip(ada)
    inside = vip.replace(".0.10", ".1.")
    ada.open("lvs")
    ada.until(lambda: ada.point("a virtual service") == "fail")
    ada.type("lvs", f"ipvsadm -A -t {vip}:80 -s rr\n")
    ada.until(lambda: ada.point("a virtual service") == "pass")
    assert ada.point("clients are served") == "fail"
    for host in (11, 12):
        ada.type("lvs", f"ipvsadm -a -t {vip}:80 -r {inside}{host}:8080 -m\n")
    ada.until(lambda: ada.point("clients are served") == "pass" and ada.point("round robin") == "pass")
    assert ada.point("the table is kept") == "fail"
    ada.type("lvs", "ipvsadm -S -n > /root/rules\n")
    ada.until(lambda: ada.point("the table is kept") == "pass")
    assert "Passed" in ada.one(".passed").text
    ada.until(lambda: ":8080 weight 1" in ada.text("[data-node=rs2]"))
    ada.type("lvs", "ipvsadm -C\n")
    ada.until(lambda: "weight" not in ada.text("[data-node=rs2]"))
    ada.until(lambda: ada.point("a virtual service") == "fail")
    assert ada.point("round robin") == "open"


def test_a_hint_begins_with_what_the_doctor_finds_now(ada: Browser) -> None:
    vip = _vip(ada)
    service = f"ipvsadm -A -t {vip}:80 && ipvsadm -a -t {vip}:80 -r {vip.replace('.0.10', '.1.11')}:8080 -m"
    ada.type("lvs", f"{service} && sysctl -w net.ipv4.ip_forward=0\n")
    ada.until(lambda: "ip_forward = 0" in ada.shown("lvs"))
    ada.press("hint")
    ada.until(lambda: "forward" in ada.text(".hint-now"))
    ada.press("hint")
    ada.until(lambda: "A virtual service is what clients see" in ada.text(".advice"))


def test_a_terminal_wraps_as_the_page_draws_it(ada: Browser) -> None:
    """The kernel's terminal has the size of the drawn one: from the beginning, when the window
    changes, and after a reload; a typed line longer than the screen goes on in the next row.
    """
    numbers = itertools.count(1)

    def agree() -> str:
        """What both say, if they say the same."""
        mark = f"size {next(numbers)}:"
        ada.type("lvs", f"echo {mark} $(stty size)\n")
        said = ada.until(lambda: next((row for row in ada.lines("lvs") if row.startswith(mark)), ""))
        return said if (said := str(said).removeprefix(mark).strip()) == ada.screen("lvs") else ""

    first = ada.until(agree)
    assert first != "24 80", "precondition: not what a terminal has that was never told"
    ada.type("lvs", "stty cols 40\n")
    assert not agree(), "the other way round: a kernel's terminal of another size is noticed"
    ada.driver.refresh()
    ada.until(lambda: ada.shown("lvs"))
    assert ada.until(agree) == first
    ada.driver.set_window_size(1100, 800)
    ada.until(lambda: ada.screen("lvs") != first)
    assert ada.until(agree) != first
    columns = int(ada.screen("lvs").split()[1])
    typed = "".join(f"{number:04}" for number in range(60))
    wanted = f"lvs:~# : {typed}"
    rows = [wanted[place : place + columns] for place in range(0, len(wanted), columns)]
    assert len(rows) > 1, "precondition: longer than the screen"
    ada.type("lvs", "clear\n")
    ada.until(lambda: ada.lines("lvs")[:2] == ["lvs:~#", ""])
    ada.type("lvs", f": {typed}")
    ada.until(lambda: ada.lines("lvs")[: len(rows)] == rows)
    ada.type("lvs", "\n")
    ada.driver.set_window_size(1400, 1000)


def test_a_lost_connection_is_taken_up_again(server: Server, ada: Browser) -> None:
    """What her shell shows meanwhile comes when the browser is back, and the page is not loaded
    anew.
    """
    ada.type("lvs", "until [ -e /root/go ]; do sleep 0.1; done; echo meanwhile-$((3 * 3))\n")
    ada.driver.execute_script("window.sameAsBefore = true")
    ada.offline(True)
    ada.until(lambda: not ada.driver.execute_script("return window.socket.connected"))
    (lab,) = [each for each in session.sessions(server.students / "ada") if each.lab == "first-balancer"]
    assert lab.ask({"do": "run", "node": "lvs", "script": "touch /root/go"})["code"] == 0
    assert "meanwhile-9" not in ada.shown("lvs"), "precondition: the browser is away"
    ada.offline(False)
    ada.until(lambda: "meanwhile-9" in ada.shown("lvs"))
    assert ada.driver.execute_script("return window.sameAsBefore")
    ada.type("lvs", "echo back-$((4 * 4))\n")
    ada.until(lambda: "back-16" in ada.shown("lvs"))


def test_terminals_outlive_a_reload(ada: Browser) -> None:
    ada.type("lvs", "echo still-$((40 + 2))\n")
    ada.until(lambda: "still-42" in ada.shown("lvs"))
    ada.driver.refresh()
    ada.until(lambda: "still-42" in ada.shown("lvs"))


def test_the_instructor_sees_her_looks_in_and_takes_over(ada: Browser, teacher: Browser) -> None:
    tile = "[data-student=ada]"
    teacher.until(lambda: "echo still" in teacher.text(f"{tile} .tile-command"))
    assert "here" in teacher.text(tile)
    ada.press("raise hand")
    teacher.until(lambda: "asks for help" in teacher.text(tile))
    teacher.do(f"{tile} [aria-label='Look into ada lvs.1']", lambda where: where.click())
    teacher.until(lambda: "still-42" in teacher.shown("lvs"))
    ada.until(lambda: "Your instructor sees lvs.1" in ada.text(".banner"))
    size = ada.screen("lvs")
    teacher.until(lambda: teacher.screen("lvs") == size)
    teacher.press("take over")
    ada.until(lambda: "Your instructor types in lvs.1" in ada.text(".banner"))
    teacher.until(lambda: "You type" in teacher.text(".panel"))
    teacher.type("lvs", "echo from-the-$((1 + 1))-of-us\n")
    ada.until(lambda: "from-the-2-of-us" in ada.shown("lvs"))
    assert teacher.screen("lvs") == ada.screen("lvs") == size, "her terminal is as she had it"
    teacher.press("stop looking")
    ada.until(lambda: not ada.text(".banner"))


def test_a_broken_network_is_mended_in_the_page(server: Server, ada: Browser) -> None:
    """The next lab, which was started while she worked on the first."""
    ada.driver.get(f"{server.url}/?lab=no-forwarding")
    ada.until(lambda: "Counted in, none out" in ada.text(".lab-text h1"))
    ada.open("lvs")
    ada.until(lambda: ada.point("clients are served") == "fail")
    ada.type("lvs", "sysctl -w net.ipv4.ip_forward=1\n")
    ada.until(lambda: ada.point("clients are served") == "pass")
    ada.until(lambda: "Passed" in ada.text(".passed"))
    ada.driver.get(f"{server.url}/?lab=first-balancer")
    ada.until(lambda: "still-42" in ada.shown("lvs"))


def test_what_she_did_is_exported(server: Server, ada: Browser) -> None:
    code, archive = server.ask("/class/export.zip", server.session_of("instructor"))
    assert code == 200
    with zipfile.ZipFile(io.BytesIO(archive)) as kept:
        rows = list(csv.DictReader(io.StringIO(kept.read("grades.csv").decode())))
        points = list(csv.DictReader(io.StringIO(kept.read("points.csv").decode())))
        told = json.loads(kept.read("class.json"))
        casts = [name for name in kept.namelist() if name.endswith(".cast")]
        assert "still-42" in kept.read(casts[0]).decode()
    (row,) = [row for row in rows if row["lab"] == "first-balancer"]
    assert (row["student"], row["passed"], row["points"], row["trouble"]) == ("ada", "1", row["of"], "")
    assert int(row["commands"]) >= 5 and int(row["hints"]) >= 2
    assert {point["point"] for point in points} >= {"a virtual service", "round robin"}
    assert [each["id"] for each in told["students"]] == ["ada", "grace"]


def test_another_student_is_refused(server: Server, ada: Browser) -> None:
    """She has a session of her own, and tries."""
    grace = server.session_of("grace")
    assert server.ask("/", grace)[0] == 200, "precondition: her own page is open to her"
    ways = {
        "the class": ("/class", {}),
        "the export": ("/class/export.zip", {}),
        "a file of the server": ("/static/../../access.py", {}),
        "the same, written otherwise": ("/static/..%2f..%2faccess.py", {}),
        "her page's line": (f"/_nicegui_ws/socket.io/?client_id={_page_of(ada)}&EIO=4&transport=polling", {}),
        "a page of another place": ("/", {"Origin": "https://evil.example"}),
        "another name of the server": ("/", {"Host": "evil.example"}),
        "the interface's description": ("/openapi.json", {}),
        "a used link": (server.links["ada"].removeprefix(server.url), {}),
        "no session": ("/", {"Cookie": ""}),
    }
    answers = {way: server.ask(path, grace, **headers)[0] for way, (path, headers) in ways.items()}
    assert set(answers.values()) <= {401, 403, 404, 421}, answers


def _page_of(browser: Browser) -> str:
    """The number under which a browser's line belongs to its page."""
    number = browser.driver.execute_script(
        "return window.socket ? window.socket.io.opts.query.client_id : ''"
    )
    assert number
    return str(number)


def test_a_killed_server_loses_nothing(server: Server, ada: Browser) -> None:
    ada.type("lvs", "echo kept >/root/kept; echo kept-$((1 + 1))\n")
    ada.until(lambda: "kept-2" in ada.shown("lvs"))
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    running = session.sessions(server.students / "ada")
    assert "first-balancer" in {each.lab for each in running}, "labs go on without it"
    server.start()
    ada.driver.get(server.url)
    ada.until(lambda: "kept-2" in ada.shown("lvs"))
    ada.type("lvs", "echo $(cat /root/kept)-$((2 + 2))\n")
    ada.until(lambda: "kept-4" in ada.shown("lvs"))
    assert "first-balancer" in session.passed(server.students / "ada")


def test_what_she_wrote_comes_back_when_her_lab_has_ended(server: Server, ada: Browser) -> None:
    """Files, and the table as a file; not after a reset."""

    def lab() -> session.Session:
        running = session.sessions(server.students / "ada")
        return next(each for each in running if each.lab == "first-balancer")

    def written() -> str:
        script = "cat /root/kept /etc/mine /root/ended/ipvsadm.rules"
        return str(lab().ask({"do": "run", "node": "lvs", "script": script})["out"])

    vip = _vip(ada)
    ada.type(
        "lvs", f"clear; echo me >/etc/mine; ipvsadm -C; ipvsadm -A -t {vip}:80 -s wrr; echo $((5 * 5))\n"
    )
    ada.until(lambda: "25" in ada.lines("lvs"))
    session.stop(lab())
    ada.driver.get(server.url)
    ada.open("lvs")
    assert written().splitlines() == ["kept", "me", f"-A -t {vip}:80 -s wrr"]
    ada.type("lvs", "ipvsadm -R </root/ended/ipvsadm.rules; ipvsadm -L -n\n")
    ada.until(lambda: f"TCP  {vip}:80 wrr" in ada.lines("lvs"))
    lab().ask({"do": "reset"})
    assert written() == ""
