"""The report: one page that stands alone, says what is missing, shows what failed, and figures in
which nothing overlaps.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import sample_lab
import sample_packets
import sample_run
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import lvslab.report
from lvslab.errors import CannotError, UsageError
from lvslab.report import charts, ladder, network, style, text, units
from lvslab.report.page import write_report
from lvslab.report.series import all_series, subjects
from lvslab.runs.records import Interface, Lab, Node, PathFile, Result
from lvslab.runs.rundir import load

VOID = {"meta", "br", "img", "link", "hr", "input", "path", "use"}


class Page(HTMLParser):
    """Parses a page and keeps what the tests ask for; a tag that is closed wrongly fails
    the test.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: Counter[str] = Counter()
        self.labels: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            elif name in ("href", "src", "xlink:href"):
                self.links.append(value or "")
            elif name == "aria-label":
                self.labels.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open and self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = sample_run.complete(tmp_path_factory.mktemp("complete"))
    write_report(path)
    return path


def _page(run: Path) -> Page:
    return Page(write_report(run).html.read_text(encoding="utf-8"))


def _lab(mode: str, clients: int = 1, servers: int = 2) -> Lab:
    return sample_lab.lab(mode, clients, servers)


def _path(mode: str, wrong_at: int | None = None) -> PathFile:
    return sample_packets.path_file(mode, wrong_at)


# --- the page -------------------------------------------------------------------------------------


def test_the_page_of_a_complete_run_shows_every_mode_and_number(complete: Path) -> None:
    page = Page((complete / "report.html").read_text(encoding="utf-8"))
    for title in style.MODE_TITLES.values():
        assert title in page.text
    for series in all_series(load(complete)):
        assert series.title in page.text
    assert page.text.count("✓ PASS") >= 5 and "✗ FAIL" not in page.text
    assert sample_run.NOT_COMPARABLE in page.text
    assert "6.1.174-1-um" in page.text and "the host's kernel lacks ip_vs" in page.text
    assert "lvslab run compare-modes --repeat 3" in page.text
    assert "tcpdump" in page.text and "not installed" in page.text
    assert "numbers vary by more than 10 %" in page.text


def test_the_page_needs_nothing_from_anywhere_else(complete: Path) -> None:
    html = (complete / "report.html").read_text(encoding="utf-8")
    page = Page(html)
    assert not re.search(r"https?://|@import|<script|<link|<img", html)
    assert not [target for target in re.findall(r"url\(([^)]*)\)", html) if not target.startswith("#")]
    for link in page.links:
        assert link.startswith("#") or (complete / link).exists(), link


def test_ids_are_unique_and_every_reference_has_its_target(complete: Path) -> None:
    html = (complete / "report.html").read_text(encoding="utf-8")
    page = Page(html)
    assert [name for name, count in Counter(page.ids).items() if count > 1] == []
    targets = {link[1:] for link in page.links if link.startswith("#")} | set(
        re.findall(r"url\(#([^)]*)\)", html)
    )
    assert targets <= set(page.ids)


def test_every_figure_is_inline_described_and_a_file(complete: Path) -> None:
    report = write_report(complete)
    page = Page(report.html.read_text(encoding="utf-8"))
    assert page.tags["svg"] == len(report.figures) == len(page.labels) == len(set(page.labels))
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in report.figures)
    assert {"throughput.png", "latency.png", "counters.png", "network-tun.png", "ladder-dr-http.png"} <= {
        f.name for f in report.figures
    }


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    path = sample_run.complete(tmp_path, modes=["tun", "synproxy"])
    first, second = (write_report(path, tmp_path / "same" / name) for name in ("a", "b"))
    assert first.html.read_text() == second.html.read_text()
    assert [f.read_bytes() for f in first.figures] == [f.read_bytes() for f in second.figures]


def test_figures_follow_the_page_into_the_dark(complete: Path) -> None:
    html = (complete / "report.html").read_text(encoding="utf-8")
    svg = "".join(re.findall(r"<svg.*?</svg>", html, re.DOTALL))
    assert "var(--ink)" in svg and "var(--nat)" in svg
    assert set(re.findall(r"#[0-9a-f]{6}\b", svg)) <= {"#000000"}


def test_a_failed_mode_shows_its_wrong_packet(tmp_path: Path) -> None:
    path = sample_run.failed(tmp_path)
    page = _page(path)
    assert "1 passed, 1 failed, 1 skipped" in page.text
    assert "packet 4 on c1-eth0: lvs -> c1, SYN-ACK seq=917331201 ack=2840172614" in page.text
    assert "demanded src 10.0.0.10:80 dst <client> & nothing else" in page.text
    assert "✗ FAIL" in page.text and "○ SKIP" in page.text
    assert "no kernel here has SYNPROXY" in page.text
    assert "verify proves packet paths and measures nothing" in page.text
    assert "captures/nat.contract.txt" in page.links


def test_missing_measurements_are_said_and_not_drawn_as_nothing(tmp_path: Path) -> None:
    page = _page(sample_run.gaps(tmp_path))
    assert "Connection refused" in page.text
    assert "60 requests are too few for p99" in page.text
    assert "captures/dr.path.json is not there or cannot be read" in page.text
    assert "The director's counters were not recorded." in page.text
    assert any("DR no number (wrk: unable to connect" in label for label in page.labels)


def test_an_interrupted_run_says_what_it_is(tmp_path: Path) -> None:
    page = _page(sample_run.interrupted(tmp_path))
    assert (
        "This run is not complete (interrupted)" in page.text and "the last sample was cut off" in page.text
    )
    assert "not measured" in page.text


def test_an_empty_run_is_a_page_that_says_so(tmp_path: Path) -> None:
    report = write_report(sample_run.empty(tmp_path))
    page = Page(report.html.read_text(encoding="utf-8"))
    for sentence in (
        "This run holds no verdict",
        "This run holds no measurements",
        "No lab was started",
        "no space for the guests",
    ):
        assert sentence in page.text
    assert report.figures == () and page.tags["svg"] == 0


def test_a_run_that_was_killed_is_not_called_passed(tmp_path: Path) -> None:
    path = sample_run.complete(tmp_path, modes=["nat"])
    file = path / "run.json"
    file.write_text(file.read_text().replace('"status": "complete"', '"status": "running"'))
    assert "STILL RUNNING, OR KILLED" in _page(path).text


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    with sample_run.writer(tmp_path) as run:
        run.add_lab(replace(sample_lab.lab("nat"), name="<b>&$x_1$"))
        run.add_result(Result("<script>alert(1)</script>", "fail", "a < b $\\frac$", ("../../etc/passwd",)))
        run.sample(lab="<b>&$x_1$", mode="nat", metric="<i>", unit="$", repeat=0, value=3.0)
    report = write_report(run.path)
    page = Page(report.html.read_text(encoding="utf-8"))
    assert page.tags["script"] == 0 and "<script>alert(1)</script>" in page.text
    assert not [link for link in page.links if "passwd" in link]


def test_the_report_may_stand_elsewhere_and_links_back(tmp_path: Path) -> None:
    path = sample_run.complete(tmp_path / "runs", modes=["nat"])
    report = write_report(path, tmp_path / "reports" / "one")
    assert report.html == tmp_path / "reports" / "one" / "report.html" and not (path / "report.html").exists()
    links = [link for link in Page(report.html.read_text()).links if not link.startswith("#")]
    assert links and all((report.html.parent / link).exists() for link in links)


def test_what_cannot_be_read_or_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no run\.json"):
        write_report(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(CannotError, match="the report cannot be written"):
        write_report(sample_run.empty(tmp_path), tmp_path / "file")


def test_two_labs_of_one_mode_are_told_apart(tmp_path: Path) -> None:
    with sample_run.writer(tmp_path) as run:
        for name, value in (("nat-6.1", 1e9), ("nat-7.2", 2e9)):
            run.add_lab(replace(sample_lab.lab("nat"), name=name))
            run.sample(lab=name, mode="nat", metric="throughput", unit="bit/s", repeat=0, value=value)
    table = text.summary_table(load(run.path))
    assert table.headers == ("Metric", "NAT · nat-6.1", "NAT · nat-7.2")
    assert table.rows == (("Throughput", "1.00 Gbit/s (n 1)", "2.00 Gbit/s (n 1)"),)
    assert "NAT · nat-7.2" in _page(run.path).text


def test_a_mode_and_a_metric_of_a_later_version_are_shown_all_the_same(tmp_path: Path) -> None:
    with sample_run.writer(tmp_path) as run:
        run.add_lab(replace(sample_lab.lab("nat"), name="gue", mode="gue"))
        run.sample(lab="gue", mode="gue", metric="failover_gap", unit="s", repeat=0, value=0.84)
    page = _page(run.path)
    assert "Failover gap" in page.text and "840 ms" in page.text and "gue" in page.text


# --- tables and numbers ---------------------------------------------------------------------------


def test_the_tables_hold_verdicts_and_numbers_as_text(tmp_path: Path) -> None:
    run = load(sample_run.failed(tmp_path))
    table = text.verdict_table(run)
    assert table.headers == ("Name", "Verdict", "Reason")
    assert [row[:2] for row in table.rows] == [("nat", "FAIL"), ("dr", "PASS"), ("synproxy", "SKIP")]
    assert text.summary_table(run).rows == ()
    table = text.summary_table(load(sample_run.gaps(tmp_path)))
    assert all(len(row) == len(table.headers) for row in table.rows)
    assert {row[0]: row[2] for row in table.rows}["Throughput"] == units.MISSING


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (9.4123e9, "bit/s", "9.41 Gbit/s"),
        (9.9996e6, "bit/s", "10.0 Mbit/s"),
        (31_234, "1/s", "31.2 k/s"),
        (812, "1/s", "812/s"),
        (0.00041, "s", "410 µs"),
        (0.0123, "s", "12.3 ms"),
        (0, "s", "0 s"),
        (3, "segments", "3 segments"),
        (21600, "1", "21\u2009600"),
        (5.26e6, "B", "5.26 MB"),
        (None, "s", "–"),
        (-0.5, "s", "-500 ms"),
    ],
)
def test_numbers_are_written_for_people(value: float | None, unit: str, expected: str) -> None:
    assert units.quantity(value, unit) == expected


# --- figures --------------------------------------------------------------------------------------


def _overlaps(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of texts of a figure that cover each other, and texts that leave the figure."""
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    figure.draw(renderer)
    boxes = []
    for axes in figure.axes:
        artists: list[Any] = [*axes.texts]
        if axes.axison:
            low, high = axes.get_xlim()
            shown = [
                label
                for at, label in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
                if low <= at <= high
            ]
            artists += [axes.xaxis.label, *shown, *axes.get_yticklabels()]
        boxes += [
            (a.get_text(), a.get_window_extent(renderer))
            for a in artists
            if a.get_visible() and a.get_text().strip()
        ]
    found = [(a, b) for (a, box), (b, other) in combinations(boxes, 2) if _area(box, other) > 6]
    width, height = figure.canvas.get_width_height()
    return found + [
        (label, "the edge")
        for label, box in boxes
        if box.x0 < -1 or box.x1 > width + 1 or box.y0 < -1 or box.y1 > height + 1
    ]


def _area(a: Any, b: Any) -> float:
    return float(max(0, min(a.x1, b.x1) - max(a.x0, b.x0)) * max(0, min(a.y1, b.y1) - max(a.y0, b.y0)))


@pytest.mark.parametrize("mode", sample_run.MODES)
@pytest.mark.parametrize(("clients", "servers"), [(1, 1), (1, 2), (4, 8), (3, 5)])
def test_nothing_in_a_network_overlaps(mode: str, clients: int, servers: int) -> None:
    lab = _lab(mode, clients, servers)
    layout = network._layout(lab)
    assert len(layout.cards) == len(lab.nodes)
    for a, b in combinations(layout.cards.values(), 2):
        assert a.x + a.width < b.x or b.x + b.width < a.x or a.y + a.height < b.y or b.y + b.height < a.y
    for card in layout.cards.values():
        assert not [x for x in layout.trays.values() if card.x - 8 < x < card.x + card.width + 8]
    with style.styled():
        assert _overlaps(network.draw(lab, _path(mode).flows[0])) == []


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
    assert network._ways(_lab(mode), _path(mode).flows[0]) == [("request", request_way), ("reply", reply_way)]


def test_a_network_without_rules_wires_or_a_flow_is_drawn() -> None:
    lost = Node("lost", "router", interfaces=(Interface("x", network="s9"),))
    bare = sample_lab.lab("nat")
    lab = replace(bare, service_rules=(), nodes=(*bare.nodes, lost))
    assert network.vips(lab) == ()
    network.draw(lab)


@pytest.mark.parametrize("mode", sample_run.MODES)
@pytest.mark.parametrize("wrong_at", [None, 3])
def test_nothing_in_a_ladder_overlaps(mode: str, wrong_at: int | None) -> None:
    path = _path(mode, wrong_at)
    with style.styled():
        assert _overlaps(ladder.draw(_lab(mode), path.columns, path.flows[0])) == []


def test_a_ladder_says_what_was_rewritten_and_what_is_wrong() -> None:
    path = _path("fullnat", 3)
    figure = ladder.draw(_lab("fullnat"), path.columns, path.flows[0])
    words = [artist.get_text() for artist in figure.axes[0].texts]
    assert "✗ breaks its packet contract" in words and any(
        word.startswith("✗ wrong: source address") for word in words
    )
    marked = [span.text for span in ladder._address_line(path.flows[0].steps[1]) if span.mark]
    assert marked == ["10.0.1.201:40312", "10.0.1.11"]
    tun = ladder._address_line(_path("tun").flows[0].steps[1])
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
        figure = ladder.draw(_lab("nat"), path.columns, path.flows[0])
        assert _overlaps(figure) == []
    words = [artist.get_text() for artist in figure.axes[0].texts]
    assert "received by nobody" in words and "not judged: seen leaving, never arriving" in words
    assert "fd00::1" in words and "outer header removed" in words
    network.draw(_lab("nat"), path.flows[0])
    style.save_png(figure, tmp_path / "lost.png")


@pytest.mark.parametrize("mode", ["nat", "dr", "tun", "fullnat"])
def test_sequence_numbers_count_from_the_handshake(mode: str) -> None:
    infos = [step.info for step in ladder._relative(_path(mode).flows[0].steps)]
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
    steps = _path("synproxy").flows[0].steps
    assert ladder._relative(steps) is steps
    middle = _path("nat").flows[0].steps[6:]
    assert ladder._relative(middle) is middle


def test_a_long_ladder_is_cut_and_keeps_the_wrong_packet() -> None:
    path = _path("nat", 3)
    steps = path.flows[0].steps
    ok = [step for step in steps if step.verdict == "ok"] * 40
    shown, (before, after) = ladder._window([*ok, steps[3], *ok])
    assert len(shown) == ladder.MAX_STEPS and steps[3] in shown
    assert before + after + ladder.MAX_STEPS == 2 * len(ok) + 1


@pytest.mark.parametrize("make", [sample_run.complete, sample_run.gaps])
def test_nothing_in_a_chart_overlaps_and_amounts_begin_at_zero(tmp_path: Path, make: Any) -> None:
    run = load(make(tmp_path))
    labs = subjects(run)
    with style.styled():
        for series in all_series(run):
            figure = charts.metric(series, labs)
            assert _overlaps(figure) == [], series.key
            assert figure.axes[1].get_xlim()[0] == 0
        assert _overlaps(charts.latency(run, labs)) == []
        assert _overlaps(charts.answers(run, labs)) == []
        if any(lab.counters for lab in run.labs):
            assert _overlaps(charts.counters(run, labs)) == []


def test_every_repeat_is_a_point(complete: Path) -> None:
    run = load(complete)
    series = next(one for one in all_series(run) if one.key == "throughput")
    figure = charts.metric(series, subjects(run))
    points = [line for line in figure.axes[1].lines if line.get_marker() == "o"]
    assert [len(line.get_xdata()) for line in points] == [3] * 5  # type: ignore[arg-type]
    assert [line.get_markerfacecolor() for line in points] == [
        style.mode_color(mode) for mode in sample_run.MODES
    ]


def test_a_color_means_one_thing() -> None:
    for theme in (1, 2):
        colors = [entry[theme] for entry in style.THEME.values()]
        assert len(set(colors)) == len(colors)


def test_drawing_leaves_matplotlib_as_it_was() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    network.draw(_lab("dr"))
    assert dict(matplotlib.rcParams) == before


def test_the_report_reads_the_run_directory_and_nothing_else_of_lvslab() -> None:
    for file in Path(next(iter(lvslab.report.__path__))).glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                assert not name.startswith("lvslab") or name.startswith(
                    ("lvslab.errors", "lvslab.runs", "lvslab.comparison", "lvslab.report")
                ), file
                assert "pyplot" not in name, file
            assert not (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"), file
