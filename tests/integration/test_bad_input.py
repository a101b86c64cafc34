"""Bad input, row by row and kind by kind: one line that says what is wrong, the right exit code,
nothing started, nothing written.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.unit.commands import lvslab

TOPOLOGY = """
from lvslab.modes.base import ReplyPath, Role
from lvslab.plan.topology import LvsTopo

class Own(LvsTopo):
    {attributes}
    def build(self, clients=1, servers=2):
        self.addSwitch("s1")
        self.add_directors(1, ("s1", "10.0.0.0/24"))
        self.add_clients(clients, "s1")
        self.add_real_servers(servers, "s1", "10.0.0.0/24")
        {last}

topos = {{"own": Own}}
"""
NAT = "reply_path = ReplyPath.DIRECTOR"

SCENARIO = """
from lvslab.scenario import scenario

@scenario(title="t", teaches="t", {facts})
def run(log, mode="nat", {parameters}):
    pass
"""

LAB = '''"""# A lab of one's own"""
from lvslab.training.exercise import exercise

@exercise(
    number=1, hints=["try"], solution={{"director": "true"}}, fails="answers",
    {facts}
)
def check(exam):
    pass
'''

FILES = {
    "a-file": "not a directory\n",
    "no-reply-path.py": TOPOLOGY.format(attributes="pass", last="pass"),
    "wrong-reply-path.py": TOPOLOGY.format(attributes="reply_path = 'back'", last="pass"),
    "wrong-vip.py": TOPOLOGY.format(attributes=NAT + "\n    vip = 'here'", last="pass"),
    "raises.py": TOPOLOGY.format(attributes=NAT, last="self.add_cliants(1)"),
    "six.py": TOPOLOGY.format(attributes=NAT, last="self.attach('c1', 's1', '2001:db8:1::1/64')"),
    "syntax.py": "def run(:\n",
    "empty.py": "x = 1\n",
    "name.py": "x = 1\nnosuch\n",
    "no-mode.py": SCENARIO.format(facts="modes=['foo']", parameters=""),
    "no-modes.py": SCENARIO.format(facts="modes=[]", parameters=""),
    "other-default.py": SCENARIO.format(facts="modes=['dr']", parameters=""),
    "no-choice.py": SCENARIO.format(facts="modes=['nat'], choices={'colour': ['red']}", parameters=""),
    "no-limit.py": SCENARIO.format(facts="modes=['nat'], limits={'size': (1, 2)}", parameters=""),
    "not-in-limits.py": SCENARIO.format(facts="modes=['nat'], limits={'n': (1, 2)}", parameters="n=3"),
    "limits.py": SCENARIO.format(facts="modes=['nat'], limits={'n': (1, 2)}", parameters="n=1"),
    "unknown-fact.py": SCENARIO.format(facts="modes=['nat'], colour='red'", parameters=""),
    "lab-option.py": LAB.format(facts="mode='nat', group='path', lab={'topologie': 'nat'}"),
    "lab-topology.py": LAB.format(facts="mode='nat', group='path', lab={'topology': 'nosuch'}"),
    "lab-scheduler.py": LAB.format(facts="mode='nat', group='path', lab={'scheduler': 'fair'}"),
    "lab-group.py": LAB.format(facts="mode='nat', group='build'"),
    "lab-mode.py": LAB.format(facts="mode='natt', group='path'"),
    "lab-node.py": LAB.format(facts="mode='nat', group='path', prepare={'rs9': 'true'}"),
}

ROWS: Mapping[str, tuple[int, tuple[str, ...]]] = {
    # places that cannot be written
    "verify nat --runs /proc/x": (2, ("--runs", "/proc/x")),
    "verify nat --runs a-file": (2, ("--runs", "a-file", "not a directory")),
    "verify nat --runs a-file/runs": (2, ("--runs", "a-file")),
    "run drain --runs /proc/x": (2, ("--runs", "/proc/x")),
    "bench --runs a-file": (2, ("--runs", "a-file")),
    "compare A B --junit /nosuch/x.xml": (2, ("--junit", "/nosuch")),
    "compare A B --tap /nosuch/x.tap": (2, ("--tap", "/nosuch")),
    "compare A B --markdown /nosuch/x.md": (2, ("--markdown", "/nosuch")),
    "compare A B --junit .": (2, ("--junit", "directory")),
    "compare A B --floor much": (2, ("'much'", "percentage", "lvslab compare --help")),
    # numbers that are none, or that nothing can be done with
    "run drain --rate -5": (2, ("rate", "-5", "more than 0")),
    "run drain --rate 1000000": (2, ("rate", "1000000", "5000")),
    "run drain --rate nan": (2, ("rate", "nan")),
    "run drain --connections -1": (2, ("connections", "-1")),
    "run drain --repeat 0": (2, ("repeat", "0")),
    "run compare-modes --seconds 0": (2, ("seconds", "0", "1")),
    "run compare-modes --seconds 0.3": (2, ("seconds", "0.3", "1")),
    "run compare-modes --seconds inf": (2, ("seconds", "inf")),
    "run compare-modes --requests -1": (2, ("requests", "-1")),
    "run compare-modes --servers 64": (2, ("servers", "64", "50")),
    "run compare-modes --servers 2,4,8": (2, ("servers", "2,4,8", "whole number")),
    "run compare-modes --modes": (2, ("--modes", "value is missing")),
    "run compare-modes --modes=": (2, ("modes", "at least one")),
    "run weighted-round-robin --weights 99999999": (2, ("weights", "99999999", "65535")),
    "run weighted-round-robin --weights 1,-1": (2, ("weights", "-1")),
    "run lossy-link --loss 1.5": (2, ("loss", "1.5")),
    "run slow-link --delay -1": (2, ("delay", "-1")),
    "run l4-versus-l7 --server apach": (2, ("server", "apach", "apache")),
    "run sorry-server --sorry perhaps": (2, ("sorry", "perhaps", "yes")),
    "run removal --expire 7": (2, ("expire", "7", "0, 1")),
    "run slow-server --scheduler fair": (2, ("scheduler", "fair", "wlc")),
    "run server-killed --check ping": (2, ("check", "ping", "http")),
    "run server-killed --control monit": (2, ("control", "monit", "keepalived")),
    "run rolling-upgrade --kernels uml,nosuch": (2, ("kernel", "nosuch")),
    "run drain --all": (2, ("not both",)),
    "run --all drain": (2, ("not both",)),
    "run drain --mode all --repeat x": (2, ("'x'", "lvslab run --help")),
    "run haproxy-tier --mode dr": (2, ("haproxy-tier", "nat only")),
    "verify nat --servers abc": (2, ("'abc'", "integer; see: lvslab verify --help")),
    "verify nat --repeat 0": (2, ("--repeat", "lvslab verify --help")),
    "verify nat --set foo=1": (2, ("foo",)),
    "verify nat --set net..x=1": (2, ("net..x",)),
    "doctor --capture -1": (2, ("--capture", "lvslab doctor --help")),
    "doctor --here --name x": (2, ("--here", "exclude each other")),
    "train start": (2, ("LAB", "lvslab train start --help")),
    "nosuch": (2, ("nosuch", "see: lvslab --help")),
    # names that there are not
    "bench --kernel uml": (2, ("'uml'", "no stock kernel")),
    "bench --kernel host": (2, ("'host'", "no stock kernel")),
    "shell nosuch": (2, ("topology 'nosuch'", "shipped:")),
    "shell six.py": (2, ("mode", "--mode")),
    "train hint --name x": (2, ("lab 'x'", "lvslab train list")),
    "doctor --name x": (2, ("lab 'x'", "lvslab train list")),
    "train start nosuch": (2, ("nosuch", "lvslab train list")),
    # mistakes in files of one's own
    "verify nat --topology no-reply-path.py": (2, ("no-reply-path.py, line 5", "reply_path")),
    "verify nat --topology wrong-reply-path.py": (2, ("wrong-reply-path.py, line 5", "reply_path")),
    "verify nat --topology wrong-vip.py": (2, ("wrong-vip.py, line 5", "vip", "here")),
    "verify nat --topology raises.py": (2, ("raises.py, line 12", "AttributeError", "add_cliants")),
    "verify nat --topology six.py": (2, ("c1", "IPv4 only")),
    "verify nat --topology syntax.py": (2, ("syntax.py, line 1",)),
    "verify nat --topology empty.py": (2, ("empty.py", "no topology")),
    "run syntax.py": (2, ("syntax.py, line 1",)),
    "run name.py": (2, ("name.py, line 2", "nosuch")),
    "run no-mode.py": (2, ("no-mode.py, line 4", "'foo'", "synproxy")),
    "run no-modes.py": (2, ("no-modes.py, line 4", "modes")),
    "run other-default.py": (2, ("other-default.py, line 4", "'nat'", "dr")),
    "run no-choice.py": (2, ("no-choice.py, line 4", "colour")),
    "run no-limit.py": (2, ("no-limit.py, line 4", "size")),
    "run not-in-limits.py": (2, ("not-in-limits.py, line 4", "n 3", "2")),
    "run limits.py --n 3": (2, ("n", "3", "2")),
    "run unknown-fact.py": (2, ("unknown-fact.py, line 4", "colour")),
    "train start lab-option.py": (2, ("lab-option.py, line 4", "topologie", "servers")),
    "train start lab-topology.py": (2, ("lab-topology.py, line 4", "topology 'nosuch'")),
    "train start lab-scheduler.py": (2, ("lab-scheduler.py, line 4", "scheduler 'fair'")),
    "train start lab-group.py": (2, ("lab-group.py, line 4", "'build'", "path", "repair")),
    "train start lab-mode.py": (2, ("lab-mode.py, line 4", "natt")),
    "train start lab-node.py": (2, ("lab-node.py, line 4", "rs9", "director")),
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(("line", "expected"), ROWS.items(), ids=list(ROWS))
def test_bad_input_is_one_line_and_leaves_nothing(
    place: Path, line: str, expected: tuple[int, tuple[str, ...]]
) -> None:
    code, words = expected
    done = lvslab(*line.split(), place=place)
    assert (done.code, done.out) == (code, ""), done.out + done.err
    assert done.err.startswith("lvslab: ") and done.err.count("\n") == 1, done.err
    assert all(word in done.err for word in words), done.err
    assert ".;" not in done.err
    assert {path.name for path in place.iterdir()} - {"__pycache__"} == set(FILES)
    assert not (place.parent / "state").exists()


@pytest.mark.parametrize("line", ["verify --dry-run", "kernels", "list", "list --checks", "train list"])
def test_a_reader_that_goes_away_is_not_a_fault(line: str, tmp_path: Path) -> None:
    """`lvslab … | head -1`: a pipe whose reading end is closed."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as closed:
        done = subprocess.run(
            [sys.executable, "-m", "lvslab", *line.split()],
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
            cwd=tmp_path,
        )
    assert (done.returncode, done.stderr) == (141, "")


def test_texts_are_utf_8_whatever_the_locale_says(tmp_path: Path) -> None:
    """Python takes ASCII for all texts here unless it is told otherwise (PEP 538, PEP 540)."""
    ascii_only = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "lvslab", "run", "no-such-träger.py"],
        capture_output=True,
        timeout=120,
        cwd=tmp_path,
        env={**os.environ, **ascii_only},
    )
    assert done.returncode == 2
    assert "no-such-träger.py" in done.stderr.decode()


def test_capturing_where_there_is_no_virtual_server_ends_at_once(tmp_path: Path) -> None:
    if Path("/proc/net/ip_vs").exists():
        pytest.skip("this machine's own kernel has ip_vs")
    done = lvslab("doctor", "--here", "--capture", "600", place=tmp_path)
    assert done.code == 4 and "its kernel has no IP virtual server" in done.err
    assert "let a client try" not in done.err
