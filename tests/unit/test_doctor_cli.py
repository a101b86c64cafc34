"""`lvslab doctor --read` and `--print-script` as commands."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from lvslab.cli import texts
from lvslab.doctor.script import printed
from lvslab.exitcodes import ExitCode
from tests.unit.commands import lvslab
from tests.unit.doctor_dumps import DUMPS

TABLE = "-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -r 10.0.0.2:80 -m\n"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "lb.txt").write_text(TABLE)
    (folder / "empty.txt").write_text("\n \n")
    (folder / "binary.txt").write_bytes(b"\x7fELF\0\0")
    (folder / "novel.txt").write_text("It was the best of times.\n")
    return folder


def test_what_is_found_is_an_exit_code(place: Path) -> None:
    done = lvslab("doctor", "--read", str(DUMPS / "06-syslog.txt"), place=place)
    assert done.code == ExitCode.FAILED
    assert done.out.startswith("1. deleted-server-swallows (certain)\n")
    assert "06-syslog# sysctl -w net.ipv4.vs.expire_nodest_conn=1" in done.out
    assert "not given: 06-syslog: no `ip address`" in done.err


def test_nothing_found_is_none(place: Path) -> None:
    done = lvslab("doctor", "--read", "mine=lb.txt", place=place)
    assert (done.code, done.out) == (ExitCode.OK, "nothing found on mine\n")


@pytest.mark.parametrize(("how", "code"), [("--read", ExitCode.OK), ("--replay", ExitCode.USAGE)])
def test_only_a_replay_needs_a_folder_to_write_in(how: str, code: ExitCode, place: Path) -> None:
    (place / "runs").write_text("no folder")
    done = lvslab("doctor", how, "mine=lb.txt", place=place)
    assert done.code == code, done.err
    assert ("Invalid value for '--runs': runs: not a directory" in done.err) == (code == ExitCode.USAGE)


def test_json_names_what_is_missing(place: Path) -> None:
    done = lvslab("doctor", "--read", str(DUMPS / "14-ldirectord.cf"), "--json", place=place)
    told = json.loads(done.out)
    assert done.code == ExitCode.FAILED
    assert [each["name"] for each in told["results"]] == ["masquerade-to-loopback"]
    assert told["machines"] == ["14-ldirectord"] and told["notes"] and told["missing"]
    assert told["unread"] == []


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--read"], "--read: no FILE was given; `lvslab doctor --print-script` prints what makes one"),
        (["--read", "gone.txt"], "gone.txt: cannot be read: No such file or directory"),
        (["--read", "."], ".: cannot be read: Is a directory"),
        (["--read", "empty.txt"], "empty.txt: is empty; give what the script of --print-script has printed"),
        (["--read", "binary.txt"], "binary.txt: is no text; give what a terminal shows, or a text file"),
        (["--read", "novel.txt"], "novel.txt: nothing of it was recognised;"),
        (["--read", "lb.txt", "empty.txt"], "empty.txt: is empty"),
        (["lb.txt"], "lb.txt: files are for --read: lvslab doctor --read lb.txt"),
        (["--read", "--here", "lb.txt"], "--read and --print-script go without --here"),
        (["--print-script", "--read", "lb.txt"], "--read and --print-script exclude each other"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_input_is_one_line(place: Path, arguments: list[str], line: str) -> None:
    done = lvslab("doctor", *arguments, place=place)
    assert (done.code, done.out) == (ExitCode.USAGE, "")
    assert done.err.startswith(f"lvslab: {line}") and done.err.count("\n") == 1


def test_a_file_that_may_not_be_read(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(texts, "_bytes", refuse)
    done = lvslab("doctor", "--read", "lb.txt", place=place)
    assert (done.code, done.err) == (
        ExitCode.USAGE,
        "lvslab: lb.txt: cannot be read: Permission denied\n",
    )


# -- the script ------------------------------------------------------------------------------------

SHOWING = re.compile(
    r"""(?x) uname\ -r | grep\ -H\ .* | grep\ -c\ .*
    | ip(\ -details|\ -4|\ -6)?\ (address|route|rule|neigh)\ show.*
    | ipvsadm\ (-S|-L)\ .* | ss\ .* | (ip6?tables|arptables)-save\ .* | nft\ list\ ruleset\ .* | sed\ .*"""
)
SHELL = re.compile(
    r"""(?x) \#.* | (PATH|LC_ALL)=.* | export\ .* | (part|has)\(\)\ \{.* | part\ .* | echo\ .* | return\ [01]
    | command\ -v\ .* | sleep\ 2\ & | wait | [{}] | (if|for)\ .* | then | fi | done | exit\ 0 | \[\ -r\ .*"""
)


def test_the_script_only_reads() -> None:
    """Each line of it shows something or is the shell's own; nothing is written anywhere, and
    programs that load modules are started only where these are loaded.
    """
    lines = [line.strip() for line in printed().splitlines() if line.strip()]
    odd = [line for line in lines if not SHOWING.fullmatch(line) and not SHELL.fullmatch(line)]
    assert odd == []
    assert not [line for line in lines if re.search(r"(?<![2&])>(?!&1|/dev/null)", line) and line[0] != "#"]
    before = {
        line: lines[at - 2] for at, line in enumerate(lines) if "tables-save 2" in line or "nft list" in line
    }
    assert all(line.startswith("if [ -") for line in before.values()), before
    assert "if [ -e /proc/net/ip_vs ] && has ipvsadm; then" in lines


@pytest.mark.parametrize("shell", [["dash"], ["busybox", "sh"], ["bash", "--posix"]], ids=" ".join)
def test_any_shell_takes_it_and_what_it_prints_is_read(shell: list[str], place: Path) -> None:
    if not shutil.which(shell[0]):
        pytest.skip(f"{shell[0]} is not here")
    done = subprocess.run(shell, input=printed(), capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    (place / "look.txt").write_text(done.stdout)
    read = lvslab("doctor", "--read", "look.txt", place=place)
    assert read.code in (ExitCode.OK, ExitCode.FAILED), read.err
    assert "not understood" not in read.err


def test_programs_that_are_missing_are_named(place: Path) -> None:
    """With an empty PATH but for what every system has."""
    tools = place / "bin"
    tools.mkdir()
    for tool in ("uname", "grep", "head", "sed", "ls"):
        (tools / tool).symlink_to(shutil.which(tool) or tool)
    script = printed().replace("PATH=$PATH:/usr/sbin:/sbin", f"PATH={tools}")
    done = subprocess.run(["/bin/sh"], input=script, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0
    (place / "look.txt").write_text(done.stdout)
    read = lvslab("doctor", "--read", "look.txt", place=place)
    assert "not read: " in read.err and "ip: this machine has no such program" in read.err


def test_secrets_of_files_are_left_out(tmp_path: Path) -> None:
    """The two `sed` commands, on files with secrets."""
    conf, cf = tmp_path / "keepalived.conf", tmp_path / "ldirectord.cf"
    conf.write_text("vrrp_instance A {\n  authentication {\n    auth_pass  s3cret\n  }\n}\n")
    cf.write_text('virtual=10.0.0.1:80\n\tlogin = "me"\n\tpasswd="s3cret"\n\tsecret="s3cret"\n')
    script = printed().replace("/etc/keepalived/keepalived.conf", str(conf))
    script = script.replace("/etc/ha.d/ldirectord.cf /etc/ldirectord.cf", str(cf))
    done = subprocess.run(["/bin/sh"], input=script, capture_output=True, text=True, timeout=120)
    shown = done.stdout
    assert "auth_pass  (left out)" in shown and 'passwd="left out"' in shown
    assert "s3cret" not in shown and '"me"' not in shown
