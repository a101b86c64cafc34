"""The classroom without a browser and without a lab: who may come in, what passes the gate, where
it may be reached, how the network is drawn.
"""

from __future__ import annotations

import ast
import asyncio
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lvslab.classroom.access as access_module
from lvslab.classroom.access import Access
from lvslab.classroom.desk import Desk
from lvslab.classroom.drawing import Entry, entries, rows
from lvslab.classroom.gate import COOKIE, MEMBER, Gate
from lvslab.classroom.server import Place
from lvslab.classroom.text import for_page
from lvslab.classroom.words import catalogue, languages, speaker
from lvslab.errors import UsageError
from lvslab.training import ledger
from lvslab.training.course import load_course
from lvslab.training.exercise import load, load_all
from lvslab.training.values import Values


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def access(tmp_path: Path, clock: Clock) -> Access:
    return Access(tmp_path / "access.json", 12, clock)


# -- links and sessions ----------------------------------------------------------------------------


def test_a_link_works_once(access: Access) -> None:
    link = access.new_link("ada")
    assert access.is_link(link)
    session = access.enter(link)
    assert session is not None and access.member(session) == "ada"
    assert not access.is_link(link)
    assert access.enter(link) is None


def test_a_new_link_voids_the_one_before_and_no_other(access: Access) -> None:
    first, other, second = access.new_link("ada"), access.new_link("grace"), access.new_link("ada")
    assert [access.is_link(link) for link in (first, other, second)] == [False, True, True]


def test_links_and_sessions_end(access: Access, clock: Clock) -> None:
    link, late = access.new_link("ada"), access.new_link("grace")
    session = access.enter(link)
    assert session is not None
    clock.now += 12 * 3600 - 1
    assert access.member(session) == "ada"
    clock.now += 2
    assert access.member(session) is None
    clock.now += 14 * 86400
    assert access.enter(late) is None


def test_leaving_and_expelling_end_sessions(access: Access) -> None:
    one, two = (access.enter(access.new_link("ada")) for _ in range(2))
    assert one is not None and two is not None
    access.leave(one)
    assert (access.member(one), access.member(two)) == (None, "ada")
    access.expel("ada")
    assert access.member(two) is None


def test_sessions_outlive_the_server_and_nothing_in_the_file_lets_in(access: Access, clock: Clock) -> None:
    link = access.new_link("grace")
    session = access.enter(access.new_link("ada"))
    file = next(Path(access._file.parent).glob("access.json"))
    assert session is not None and session not in file.read_text() and link not in file.read_text()
    assert file.stat().st_mode & 0o077 == 0
    again = Access(file, 12, clock)
    assert again.member(session) == "ada" and again.is_link(link)
    assert again.member("") is None and again.enter("") is None


def test_links_that_a_command_made_beside_the_server_are_known_to_it(access: Access, clock: Clock) -> None:
    link = Access(access._file, 12, clock).new_link("ada")
    assert access.is_link(link)


# -- the gate --------------------------------------------------------------------------------------


def _ask(access: Access, path: str = "/", query: str = "", kind: str = "http", **headers: str) -> Any:
    """What becomes of a request: the member that it passes as, or its status."""
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope[MEMBER])

    async def receive() -> Any:
        return {"type": f"{kind}.connect"}

    async def send(message: Any) -> None:
        if "status" in message or "code" in message:
            seen.append(message.get("status", message.get("code")))

    owners = {"page-of-ada": "ada", "page-of-grace": "grace"}
    gate = Gate(app, access, owners.get, frozenset({"127.0.0.1"}))
    given = {"host": "127.0.0.1:8080", **headers}
    scope = {
        "type": kind,
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }
    asyncio.run(gate(scope, receive, send))
    return seen[0]


def test_a_member_passes_as_herself(access: Access) -> None:
    cookie = f"{COOKIE}={access.enter(access.new_link('ada'))}"
    own = "http://127.0.0.1:8080"
    assert _ask(access, cookie=cookie) == "ada"
    assert _ask(access, query="client_id=page-of-ada", kind="websocket", cookie=cookie, origin=own) == "ada"
    assert _ask(access, query="client_id=gone", cookie=cookie) == "ada", "the page is told to load anew"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"cookie": ""}, 401),
        ({"cookie": f"{COOKIE}=guessed"}, 401),
        ({"cookie": "=;;\x00"}, 401),
        ({"path": "/class", "cookie": ""}, 401),
        ({"path": "/_nicegui/x.js", "cookie": ""}, 401),
        ({"query": "client_id=page-of-grace"}, 403),
        ({"query": "client_id=page-of-ada&client_id=page-of-grace"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"host": "evil.example"}, 421),
        ({"kind": "websocket"}, 1008),
        ({"kind": "websocket", "origin": "null"}, 1008),
        ({"kind": "websocket", "origin": "https://evil.example"}, 1008),
        ({"kind": "websocket", "origin": "http://127.0.0.1:8080", "cookie": ""}, 1008),
    ],
)
def test_what_does_not_pass(access: Access, request_: dict[str, str], status: int) -> None:
    cookie = f"{COOKIE}={access.enter(access.new_link('ada'))}"
    assert _ask(access, **{"cookie": cookie, **request_}) == status


# -- words -----------------------------------------------------------------------------------------


def _said() -> set[str]:
    """The texts of the pages."""
    calls = [
        node
        for file in Path(access_module.__file__).parent.glob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in ("say", "_say")
    ]
    return {str(call.args[0].value) for call in calls if isinstance(call.args[0], ast.Constant)}


@pytest.mark.parametrize("language", [each for each in languages() if each != "en"])
def test_a_catalogue_has_every_text_of_the_pages_and_no_other(language: str) -> None:
    texts = catalogue(language)
    texts.pop("")
    assert _said() and set(texts) == _said()
    for text, translated in texts.items():
        assert translated, text
        assert sorted(re.findall(r"{\w+}", text)) == sorted(re.findall(r"{\w+}", translated)), text


def test_pages_speak_german() -> None:
    assert (speaker("de")("Hint"), speaker("de")("?"), speaker("en")("Hint")) == ("Hinweis", "?", "Hint")
    with pytest.raises(UsageError, match="language 'xx': there are pages in: en, de"):
        speaker("xx")


# -- where it is reached ---------------------------------------------------------------------------


@pytest.mark.parametrize("place", [Place(), Place("::1"), Place("192.0.2.5", proxy="labs.example.org")])
def test_places_that_are_safe(place: Place) -> None:
    place.check()


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (Place("0.0.0.0"), "--address 0.0.0.0: other machines could reach the classroom"),
        (Place("192.0.2.5"), "--behind-proxy NAME"),
        (Place("here"), "--address here: is no address"),
        (Place(certificate=Path("/none")), "--certificate and --key belong together"),
        (Place(certificate=Path("/none"), key=Path("/none")), "/none: no such file"),
    ],
)
def test_places_that_are_not(place: Place, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        place.check()


# -- the page --------------------------------------------------------------------------------------


def _node(name: str, role: str, *networks: str) -> dict[str, Any]:
    return {"name": name, "role": role, "networks": networks}


def test_the_network_is_drawn_from_the_clients_down() -> None:
    nodes = [
        _node("rs1", "real server", "s2"),
        _node("lvs", "director", "s1", "s2"),
        _node("c1", "client", "s1"),
    ]
    drawn = rows(nodes, {"s2": "10.0.1.0/24", "s1": "10.0.0.0/24"})
    assert [[node["name"] for node in row.nodes] for row in drawn] == [["c1"], ["lvs"], ["rs1"]]
    assert [row.network and row.network[0] for row in drawn] == ["s1", "s2", None]


def test_one_network_has_clients_above_it_and_all_others_below() -> None:
    nodes = [_node("lvs", "director", "s1"), _node("rs1", "real server", "s1"), _node("c1", "client", "s1")]
    drawn = rows(nodes, {"s1": "10.0.0.0/24"})
    assert [[node["name"] for node in row.nodes] for row in drawn] == [["c1"], ["lvs", "rs1"]]


@pytest.mark.parametrize("name", [each.name for each in load_all()])
def test_no_page_asks_for_a_terminal_of_ones_own(name: str) -> None:
    page = load(name).page
    assert "lvslab train" in page, "precondition"
    assert "lvslab train" not in for_page(page, lambda text: text)


def test_pages_keep_their_commands() -> None:
    say: Callable[[str], str] = str.upper
    assert for_page("# A\n\nOn `ipvsadm -L`, then `lvslab train check`.\n", say) == (
        "On `ipvsadm -L`, then **CHECK**.\n"
    )


# -- desks -----------------------------------------------------------------------------------------


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    (tmp_path / "class.csv").write_text("id\nada\n")
    (tmp_path / "lvs.toml").write_text(
        'labs = ["first-balancer", "no-forwarding", "wrong-gateway"]\nroster = "class.csv"\n'
    )
    course = load_course(tmp_path / "lvs.toml")
    return Desk(course, course.class_[0], Values(37), tmp_path / "ada", b"key")


def test_a_desk_opens_where_she_was_and_at_first_where_something_is_to_be_done(desk: Desk) -> None:
    assert desk.to_open() == "first-balancer"
    ledger.Ledger(ledger.folder(desk.place, "first-balancer") / ledger.FILE, b"key").note("passed")
    assert (desk.passed(), desk.to_open()) == ({"first-balancer"}, "no-forwarding")
    desk.turn_to("first-balancer")
    again = Desk(desk.course, desk.member, desk.values, desk.place, b"key")
    assert again.to_open() == "first-balancer", "a reload, or a server that was started again, stays there"
    assert [desk.next(lab) for lab in desk.course.labs] == ["no-forwarding", "wrong-gateway", None]


def test_points_that_a_look_did_not_reach_stay_in_the_list(desk: Desk) -> None:
    def held(*points: tuple[str, str]) -> dict[str, Any]:
        told = [{"name": name, "verdict": verdict, "reason": ""} for name, verdict in points]
        return {"points": told, "passed": False, "held_back": False}

    bench = desk.bench("first-balancer")
    bench.take(held(("a", "pass"), ("b", "pass")))
    bench.take(held(("a", "fail")))
    assert [(point["name"], point["verdict"]) for point in bench.points] == [("a", "fail"), ("b", "open")]


def test_looks_come_after_a_key_and_a_rest(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    bench = desk.bench("first-balancer")
    assert not bench.is_due()
    bench.touch()
    assert not bench.is_due(), "she may still be typing"
    clock.now += 1.1
    assert bench.is_due()
    bench.looked(2.0)
    clock.now += 5.0
    assert not bench.is_due(), "it rests three times as long as it looked"
    clock.now += 2.0
    assert bench.is_due(), "daemons take their time"


def test_ports_and_weights_are_drawn_at_the_servers() -> None:
    """A server with weight 0 stands out, and an entry for which there is no server."""
    lvs = {"name": "lvs", "addresses": ["10.0.0.1/24", "10.0.1.1/24"]}
    one = {"name": "rs1", "addresses": ["10.0.1.11/24"]}
    two = {"name": "rs2", "addresses": ["10.0.1.12/24"]}
    wanted = [("10.0.1.11", 8080, 3), ("10.0.1.12", 8080, 0), ("10.0.1.13", 80, 1)]
    servers = [dict(zip(("address", "port", "weight"), each, strict=True)) for each in wanted]
    table = [{"director": "lvs", "service": "TCP 10.0.0.10:80 wrr", "servers": servers}]
    nodes = [lvs, one, two]
    assert entries(lvs, nodes, table) == [
        Entry("lvs", "TCP 10.0.0.10:80 wrr"),
        Entry("lvs", "→ 10.0.1.13:80 ?", is_idle=True),
    ]
    assert entries(one, nodes, table) == [Entry("lvs", ":8080 weight 3")]
    assert entries(two, nodes, table) == [Entry("lvs", ":8080 weight 0", is_idle=True)]
    assert entries(one, nodes, []) == []
