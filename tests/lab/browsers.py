"""A classroom that is open, and people's browsers in it."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from lvslab.classroom.gate import COOKIE
from lvslab.training import session
from tests.lab.conftest import LVSLAB

webdriver = pytest.importorskip("selenium.webdriver")

COURSE = """\
name = "trial"
title = "LVS in a day"
labs = ["first-balancer", "no-forwarding"]
roster = "class.csv"
"""
_SECONDS = 120.0


class Server:
    """A classroom that is open, with its links."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "class.csv").write_text("id,name\nada,Ada\ngrace,Grace\n")
        (folder / "course.toml").write_text(COURSE)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    @property
    def students(self) -> Path:
        return self.folder / "lvslab" / "classroom" / "trial" / "students"

    def start(self) -> None:
        self.process = subprocess.Popen(
            [*LVSLAB, "classroom", "start", str(self.folder / "course.toml"), "--port", str(self.port)],
            env={**os.environ, "XDG_STATE_HOME": str(self.folder)},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        lines = [self.process.stdout.readline() for _ in range(3)]
        self.links = dict(
            zip(("instructor", "ada", "grace"), (line.split()[-1] for line in lines), strict=True)
        )
        _until(self._answers)

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def ask(self, path: str, cookie: str, **headers: str) -> tuple[int, bytes]:
        request = urllib.request.Request(
            f"{self.url}{path}", headers={"Cookie": f"{COOKIE}={cookie}", **headers}
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def session_of(self, member: str) -> str:
        """Come in without a browser: the session's secret."""
        link = subprocess.run(
            [*LVSLAB, "classroom", "links", str(self.folder / "course.toml"), member, "--url", self.url],
            env={**os.environ, "XDG_STATE_HOME": str(self.folder)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()[-1]
        opener = urllib.request.build_opener(_Stay)
        with suppress(urllib.error.HTTPError):
            opener.open(urllib.request.Request(link, method="POST"), timeout=60)
        assert _Stay.cookie
        return _Stay.cookie.partition("=")[2].partition(";")[0]

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(60)
        for place in self.students.glob("*"):
            for running in session.sessions(place):
                session.stop(running)


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows nothing, and keeps the cookie that came."""

    cookie = ""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> None:
        _Stay.cookie = headers.get("Set-Cookie", "")


def _until(holds: Callable[[], Any], seconds: float = _SECONDS) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := holds()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)
    return value


class Browser:
    """One person's browser."""

    def __init__(self) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
            options.add_argument(argument)
        options.add_argument("--window-size=1400,1000")
        service = webdriver.ChromeService("/usr/bin/chromedriver")
        self.driver = webdriver.Chrome(options=options, service=service)
        self.driver.set_page_load_timeout(_SECONDS)

    def join(self, link: str) -> None:
        self.driver.get(link)
        self.one("form button").click()

    def all(self, selector: str) -> list[Any]:
        found: list[Any] = self.driver.find_elements("css selector", selector)
        return found

    def one(self, selector: str) -> Any:
        return _until(lambda: next(iter(self.all(selector)), None))

    def text(self, selector: str) -> str:
        """The text of an element; "" where there is none, or it has just been replaced."""
        from selenium.common.exceptions import StaleElementReferenceException

        with suppress(StaleElementReferenceException):
            return " ".join(each.text for each in self.all(selector))
        return ""

    def press(self, words: str) -> None:
        """Press the first button that says this."""
        from selenium.common.exceptions import WebDriverException

        def pressed() -> bool:
            with suppress(WebDriverException):
                for button in self.all("button"):
                    if words in button.text.lower() and button.is_displayed():
                        button.click()
                        return True
            return False

        self.until(pressed)

    def open(self, node: str) -> None:
        known = len(self.all(".terminal[data-shell]"))
        self.do(f"[data-node={node}]", lambda where: where.click())
        _until(lambda: len(self.all(".terminal[data-shell]")) > known)

    def shown(self, node: str) -> str:
        return self.text(f".terminal[data-shell^='{node}.'] .xterm-rows")

    def type(self, node: str, text: str) -> None:
        _until(lambda: "#" in self.shown(node))
        self.do(f".terminal[data-shell^='{node}.'] textarea", lambda where: where.send_keys(text))

    def screen(self, node: str) -> str:
        """Rows and columns that a terminal of a node is drawn with, as stty(1) writes them."""
        size = self.driver.execute_script(
            "const screen = document.querySelector(arguments[0]);"
            "const terminal = getElement(screen.id.slice(1)).terminal;"
            "return `${terminal.rows} ${terminal.cols}`",
            f".terminal[data-shell^='{node}.'] .terminal-screen",
        )
        return str(size)

    def lines(self, node: str) -> list[str]:
        """What a terminal of a node shows, row by row."""
        rows = self.driver.execute_script(
            "return [...document.querySelectorAll(arguments[0])].map((row) => row.textContent)",
            f".terminal[data-shell^='{node}.'] .xterm-rows > div",
        )
        return [str(row).replace("\xa0", " ").rstrip() for row in rows]

    def offline(self, away: bool) -> None:
        """Take the browser off the network, and put it back."""
        rates = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        self.driver.execute_cdp_cmd("Network.enable", {})
        self.driver.execute_cdp_cmd("Network.emulateNetworkConditions", {"offline": away, **rates})
        if away:  # a line that stands is not cut by it
            self.driver.execute_script("window.socket.io.engine.close()")

    def do(self, selector: str, act: Callable[[Any], Any]) -> None:
        """Act on an element, once it is there and can be acted on."""
        from selenium.common.exceptions import WebDriverException

        def acted() -> bool:
            try:
                act(self.one(selector))
            except WebDriverException:
                return False
            return True

        self.until(acted)

    def point(self, name: str) -> str:
        """What the list says of a point: "pass", "fail", "open", or "" where it is not there."""
        for verdict in ("pass", "fail", "open"):
            if self.all(f".point-{verdict}[data-point='{name}']"):
                return verdict
        return ""

    def until(self, holds: Callable[[], Any]) -> Any:
        """Wait for something on the page; when it does not come, say what is there."""
        deadline = time.monotonic() + _SECONDS
        while not (value := holds()):
            assert time.monotonic() < deadline, f"waited in vain; the page says:\n{self.text('body')}"
            time.sleep(0.1)
        return value

    def close(self) -> None:
        self.driver.quit()
