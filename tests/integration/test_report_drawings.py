"""Networks and packet ladders: nothing overlaps, and they say what the packets say."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest

from lvslab.modes import MODES
from lvslab.report import ladder, network, style
from lvslab.report.looks import Look
from lvslab.runs.records import Interface, Lab, Node, PathFile
from tests.integration.pages import overlaps
from tests.unit import sample_lab, sample_packets


def lab_of(mode: str, clients: int = 1, servers: int = 2) -> Lab:
    return sample_lab.lab(mode, clients, servers)


def look_of(mode: str) -> Look:
    known = MODES[mode]
    return Look(mode, known.title, f"--{mode}", known.color.light, known.color.dark)


def path_of(mode: str, wrong_at: int | None = None) -> PathFile:
    return sample_packets.path_file(mode, wrong_at)


@pytest.mark.parametrize("mode", sample_lab.MODES)
@pytest.mark.parametrize(("clients", "servers"), [(1, 1), (1, 2), (4, 8), (3, 5)])
def test_nothing_in_a_network_overlaps(mode: str, clients: int, servers: int) -> None:
    lab = lab_of(mode, clients, servers)
    layout = network._layout(lab)
    assert len(layout.cards) == len(lab.nodes)
    for a, b in combinations(layout.cards.values(), 2):
        assert a.x + a.width < b.x or b.x + b.width < a.x or a.y + a.height < b.y or b.y + b.height < a.y
    for card in layout.cards.values():
        assert not [x for x in layout.trays.values() if card.x - 8 < x < card.x + card.width + 8]
    with style.styled():
        assert overlaps(network.draw(lab, look_of(mode), path_of(mode).flows[0])) == []


@pytest.mark.parametrize(
    ("mode", "request_way", "reply_way"),
    [
        ("nat", ["c1", "lvs", "rs1"], ["rs1", "lvs", "c1"]),
        ("dr", ["c1", "lvs", "rs1"], ["rs1", "c1"]),
        ("tun", ["c1", "lvs", "gw", "rs1"], ["rs1", "gw", "c1"]),
        ("fullnat", ["c1", "lvs", "rs1"], ["rs1", "lvs", "c1"]),
        ("synproxy", ["c1", "lvs", "rs1"], ["rs1", "lvs", "c1"]),
    ],
)
def test_the_ways_in_a_network_are_those_of_the_packets(
    mode: str, request_way: list[str], reply_way: list[str]
) -> None:
    assert network._ways(lab_of(mode), path_of(mode).flows[0]) == [
        ("request", request_way),
        ("reply", reply_way),
    ]


def test_a_network_marks_the_local_addresses_that_the_lab_names() -> None:
    def local(lab: Lab) -> list[str]:
        cards = network._layout(lab).cards.values()
        return [row.text for card in cards for row in card.rows if row.kind == "LIP"]

    fullnat = lab_of("fullnat")
    assert local(fullnat) == ["10.0.1.201"]
    assert local(replace(fullnat, local_addresses=())) == []


def test_a_network_without_rules_wires_or_a_flow_is_drawn() -> None:
    lost = Node("lost", "router", interfaces=(Interface("x", network="s9"),))
    bare = sample_lab.lab("nat")
    lab = replace(bare, service_rules=(), nodes=(*bare.nodes, lost))
    assert network.vips(lab) == ()
    network.draw(lab, look_of("nat"))


@pytest.mark.parametrize("mode", sample_lab.MODES)
@pytest.mark.parametrize("wrong_at", [None, 3])
def test_nothing_in_a_ladder_overlaps(mode: str, wrong_at: int | None) -> None:
    path = path_of(mode, wrong_at)
    with style.styled():
        assert overlaps(ladder.draw(lab_of(mode), look_of(mode), path.columns, path.flows[0])) == []


def test_a_ladder_says_what_was_rewritten_and_what_is_wrong() -> None:
    path = path_of("fullnat", 3)
    figure = ladder.draw(lab_of("fullnat"), look_of("fullnat"), path.columns, path.flows[0])
    words = [artist.get_text() for artist in figure.axes[0].texts]
    assert "✗ breaks its packet contract" in words and any(
        word.startswith("✗ wrong: source address") for word in words
    )
    marked = [span.text for span in ladder._address_line(path.flows[0].steps[1]) if span.mark]
    assert marked == ["10.0.1.201:40312", "10.0.1.11"]
    tun = ladder._address_line(path_of("tun").flows[0].steps[1])
    assert tun[0].mark and tun[0].text == "IPIP 10.0.0.1 → 10.0.2.11"
    assert "rs2" not in words


def test_a_packet_that_nobody_received_is_drawn(tmp_path: Path) -> None:
    path = sample_packets.path_file("nat")
    (flow,) = path.flows
    lost = replace(flow.steps[1], target=None, verdict="unjudged", why="seen leaving, never arriving")
    icmp = replace(
        lost,
        protocol="ICMP",
        src="fd00::1",
        dst="fd00::2",
        info="echo request",
        rewritten=("src", "outer"),
    )
    path = replace(path, flows=(replace(flow, steps=(flow.steps[0], lost, icmp)),))
    with style.styled():
        figure = ladder.draw(lab_of("nat"), look_of("nat"), path.columns, path.flows[0])
        assert overlaps(figure) == []
    words = [artist.get_text() for artist in figure.axes[0].texts]
    assert "received by nobody" in words and "not judged: seen leaving, never arriving" in words
    assert "fd00::1" in words and "outer header removed" in words
    network.draw(lab_of("nat"), look_of("nat"), path.flows[0])
    style.drawn(figure, tmp_path / "lost.png")


@pytest.mark.parametrize("mode", ["nat", "dr", "tun", "fullnat"])
def test_sequence_numbers_count_from_the_handshake(mode: str) -> None:
    infos = [step.info for step in ladder._relative(path_of(mode).flows[0].steps)]
    assert list(dict.fromkeys(infos)) == [
        "SYN seq=0",
        "SYN-ACK seq=0 ack=1",
        "ACK seq=1 ack=1",
        "PSH-ACK seq=1 ack=1 78 bytes",
        "PSH-ACK seq=1 ack=79 147 bytes",
        "FIN-ACK seq=79 ack=148",
        "FIN-ACK seq=148 ack=80",
    ]


def test_sequence_numbers_that_are_rewritten_or_have_no_handshake_stay_as_they_were() -> None:
    steps = path_of("synproxy").flows[0].steps
    assert ladder._relative(steps) is steps
    middle = path_of("nat").flows[0].steps[6:]
    assert ladder._relative(middle) is middle


def test_a_long_ladder_is_cut_and_keeps_the_wrong_packet() -> None:
    path = path_of("nat", 3)
    steps = path.flows[0].steps
    ok = [step for step in steps if step.verdict == "ok"] * 40
    shown, (before, after) = ladder._window([*ok, steps[3], *ok])
    assert len(shown) == ladder.MAX_STEPS and steps[3] in shown
    assert before + after + ladder.MAX_STEPS == 2 * len(ok) + 1


def test_drawing_leaves_matplotlib_as_it_was() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    network.draw(lab_of("dr"), look_of("dr"))
    assert dict(matplotlib.rcParams) == before


def test_a_picture_shows_what_the_drawing_shows(tmp_path: Path) -> None:
    """Both come of one drawing: in the pixels of the PNG file, what is where the SVG has it."""
    from matplotlib.image import imread

    with style.styled():
        figure, axes = style.sheet(144, 72)
        style.rounded(axes, 36, 18, 72, 18, 2, fc=style.BAD, ec="none")
        axes.plot([20], [60], "s", color=style.GOOD, markersize=12, clip_on=True)
        axes.text(100, 60, "l", color=style.INK, fontsize=20, ha="center", va="center")
    svg = style.drawn(figure, tmp_path / "a.png")
    picture = imread(tmp_path / "a.png")[:, :, :3]
    height, width, _ = picture.shape
    assert (width, height) == (style.DPI * 2, style.DPI)

    def color(x: float, y: float) -> str:
        dot = picture[int(y / 72 * height), int(x / 144 * width)]
        return "#" + "".join(f"{round(float(part) * 255):02x}" for part in dot)

    assert color(72, 27) == style.BAD and color(20, 60) == style.GOOD
    assert color(5, 5) == color(72, 40) == color(34, 27) == style.PAPER, "the rest is paper"
    assert style.BAD in svg and style.GOOD in svg and style.PAPER not in svg, "an SVG has no ground"
    letter = picture[
        int(50 / 72 * height) : int(70 / 72 * height), int(97 / 144 * width) : int(103 / 144 * width)
    ]
    assert letter.min() < 0.9, "a letter is painted where it stands"
