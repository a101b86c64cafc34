"""The terminals of a page: each joined to a shell that goes on without it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from nicegui import ui

from lvslab.classroom.relay import Relay
from lvslab.errors import LvslabError
from lvslab.training.session import Session

OPTIONS: dict[str, Any] = {
    "cursorBlink": True,
    "fontSize": 13,
    "fontFamily": "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace",
    "scrollback": 5000,
    "theme": {"background": "#14181d", "foreground": "#e6e8ea"},
}

_MEASURE = """
return await new Promise((answer) => {{
    let tries = 0;
    const measure = () => {{
        const size = getElement({id})?.fit_addon?.proposeDimensions();
        if (size?.rows && size?.cols) answer([size.rows, size.cols]);
        else if (++tries > 40) answer(null);
        else setTimeout(measure, 50);
    }};
    measure();
}});
"""
"""Rows and columns that there is room for, once the browser has laid the terminal out."""

_MEASURE_SECONDS = 5.0


@dataclass
class Terminal:
    """A terminal that is shown."""

    card: ui.element
    relay: Relay


class Shelf:
    """Terminals in a container of a page."""

    def __init__(
        self,
        container: ui.element,
        say: Callable[[str], str],
        *,
        typed: Callable[[str, str], bool] = lambda shell, text: True,
        read_only: bool = False,
        is_guest: bool = False,
    ) -> None:
        """`typed` hears in which shell what was typed, and says whether it may pass. A guest shows
        shells in the size that they have; else they take the size of this page.
        """
        self._container, self._say, self._typed = container, say, typed
        self._read_only, self._is_guest = read_only, is_guest
        self.shown: dict[str, Terminal] = {}
        self._loop = asyncio.get_running_loop()

    async def open(self, session: Session, node: str) -> None:
        """Start a shell on a node and show it."""
        await self._add(session, node, None)

    async def attach(self, session: Session, shell: str) -> None:
        """Show a shell that runs."""
        if shell not in self.shown:
            await self._add(session, shell.partition(".")[0], shell)

    def close(self) -> None:
        """Leave all shells."""
        for terminal in self.shown.values():
            terminal.relay.close()
        self.shown.clear()
        self._container.clear()

    async def _add(self, session: Session, node: str, shell: str | None) -> None:
        say = self._say
        with self._container:
            kind = "terminal terminal-guest" if self._is_guest else "terminal"
            card = ui.element("section").classes(kind).props(f'aria-label="{say("Terminal")} {node}"')
        with card:
            with ui.element("div").classes("terminal-head"):
                title = ui.label(node).classes("terminal-title")
                mark = ui.label("").classes("terminal-mark").props("role=status")
                closing = ui.button(icon="close").props(
                    f'flat dense size=sm round aria-label="{say("Close this terminal")}"'
                )
            screen = ui.xterm({**OPTIONS, "disableStdin": self._read_only}).classes("terminal-screen")
            if not self._is_guest:
                sensor = ui.element("q-resize-observer").props("debounce=120")
                sensor.on("resize", lambda: measure())

        def later(work: Callable[[], Any]) -> None:
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(lambda: None if card.is_deleted else work())

        relay = Relay(
            session,
            show=lambda text: later(lambda: screen.write(text)),
            sized=lambda rows, columns: later(lambda: screen.run_terminal_method("resize", columns, rows)),
            ended=lambda why: later(lambda: over(why)),
            read_only=self._read_only,
        )

        def over(why: str) -> None:
            mark.set_text(say("ended") if why == "ended" else say("the line is lost"))
            card.classes("terminal-over")
            self.shown.pop(relay.shell, None)

        async def measure() -> None:
            with suppress(TimeoutError):  # the page is away: it measures again when it is back
                size = await ui.run_javascript(_MEASURE.format(id=screen.id), timeout=_MEASURE_SECONDS)
                if size is not None:
                    relay.resize(*map(int, size))

        def typed(text: str) -> None:
            if self._typed(relay.shell, text):
                relay.type(text)

        def close() -> None:
            self.shown.pop(relay.shell, None)
            if not self._read_only:
                relay.type("\x04")
            relay.close()
            card.delete()

        closing.on_click(close)
        screen.on_data(lambda event: typed(event.data))
        if not self._is_guest:
            with card:
                await measure()
        try:
            if shell is None:
                await asyncio.to_thread(relay.open, node)
            else:
                await asyncio.to_thread(relay.attach, shell)
        except (LvslabError, OSError) as error:
            card.delete()
            ui.notify(str(error), type="negative")
            return
        title.set_text(relay.shell)
        card.props(f"data-shell={relay.shell}")
        self.shown[relay.shell] = Terminal(card, relay)
        screen.run_terminal_method("focus")
