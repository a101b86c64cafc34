"""The student's page: text, network, terminals, and the points of the exam."""

from __future__ import annotations

import asyncio
import html
import time
from contextlib import suppress
from typing import Any

from nicegui import ui

from lvslab.classroom import text
from lvslab.classroom.desk import Bench, Desk
from lvslab.classroom.drawing import draw
from lvslab.classroom.room import Room, aside
from lvslab.classroom.shelf import Shelf
from lvslab.errors import LvslabError
from lvslab.modes.base import Role
from lvslab.training.session import Session

_TICK = 0.7
_ICONS = {"pass": "check_circle", "fail": "cancel", "open": "radio_button_unchecked"}


class StudentPage:
    """One browser's page of one lab."""

    def __init__(self, room: Room, desk: Desk, lab: str) -> None:
        self._room, self._desk, self._lab, self._say = room, desk, lab, room.say
        self._bench: Bench = desk.bench(lab)
        self._session: Session | None = None
        self._shown: object = None
        self._notice = 0
        self._busy = False
        self._looks, self._drawn = 0, object()
        desk.turn_to(lab)
        self._build()
        self._page = ui.context.client
        room.pages.setdefault(desk.member.id, set()).add(self._page)

    # -- what it looks like ------------------------------------------------------------------------

    def _build(self) -> None:
        say = self._say
        self._head()
        self._banner = ui.label("").classes("banner").props("role=alert")
        self._banner.set_visibility(False)
        with ui.element("main").classes("desk"):
            with ui.element("article").classes("lab-text").props("id=text tabindex=-1"):
                with ui.element("h1"):
                    ui.html(html.escape(self._bench.exercise.title), sanitize=False, tag="span")
                ui.markdown(text.for_page(self._bench.exercise.page, say), extras=["fenced-code-blocks"])
            with ui.element("div").classes("work"):
                self._building = ui.label(say("The network is being built …")).classes("building")
                self._building.props("role=status")
                self._network = ui.element("div")
                with ui.element("section").classes("exam").props(f'aria-label="{say("Exam")}"'):
                    self._points = ui.element("ul").classes("points").props("aria-live=polite")
                    self._buttons()
                    self._advice = ui.element("div").classes("advice").props("aria-live=polite")
                self._terminals = ui.element("div").classes("terminals")
        self._shelf = Shelf(self._terminals, say, typed=self._typed)
        self._show_points()
        ui.timer(0, self._open, once=True)
        ui.timer(_TICK, self._tick)
        ui.context.client.on_delete(self._leave)

    def _head(self) -> None:
        say, desk = self._say, self._desk
        passed = desk.passed()
        names = {lab: desk.bench(lab).exercise for lab in desk.course.labs}
        options = {
            lab: f"{number}. {exercise.title}" + (" ✓" if exercise.name in passed else "")
            for number, (lab, exercise) in enumerate(names.items(), start=1)
        }
        with ui.element("header").classes("top"):
            ui.label(desk.course.title).classes("course")
            ui.select(
                options,
                value=self._lab,
                label=say("Lab"),
                on_change=lambda event: ui.navigate.to(f"/?lab={names[event.value].name}"),
            ).props("dense outlined options-dense").classes("choice")
            ui.label(desk.member.name).classes("who")
            self._hand = ui.button(say("Raise hand"), icon="back_hand", on_click=self._raise).props(
                "flat dense"
            )
            self._show_hand()
            ui.button(say("Leave"), icon="logout", on_click=lambda: ui.navigate.to("/leave")).props(
                "flat dense"
            )

    def _buttons(self) -> None:
        say = self._say
        with ui.element("div").classes("buttons"):
            ui.button(say("Check"), icon="fact_check", on_click=self._check).props("dense unelevated")
            ui.button(say("Hint"), icon="lightbulb", on_click=self._hint).props("dense outline")
            ui.button(say("Reset"), icon="restart_alt", on_click=self._reset).props("dense outline")
            if self._desk.course.limits.solutions:
                ui.button(say("Solution"), icon="key", on_click=self._solve).props("dense outline")
            self._next = ui.button(say("Next lab"), icon="arrow_forward", on_click=self._go_on)
            self._next.props("dense unelevated color=positive")
            self._next.set_visibility(False)

    def _titles(self) -> dict[str, str]:
        say = self._say
        return {
            Role.CLIENT: say("client"),
            Role.DIRECTOR: say("director"),
            Role.REAL_SERVER: say("real server"),
            Role.ROUTER: say("router"),
        }

    def _show_points(self) -> None:
        bench, say = self._bench, self._say
        shown = [(point["name"], point["verdict"], point["reason"]) for point in bench.points]
        state = (shown, bench.passed, bench.held_back, bench.told)
        if state == self._shown:
            return
        self._shown = state
        marks = {"pass": say("holds"), "fail": say("not yet"), "open": say("not reached")}
        self._points.clear()
        with self._points:
            if not shown:
                ui.label(say("Nothing has been judged yet: begin in a terminal.")).classes("point-reason")
            for name, verdict, reason in shown:
                with ui.element("li").classes(f"point point-{verdict}").props(f'data-point="{name}"'):
                    ui.icon(_ICONS[verdict]).props(f'aria-label="{marks[verdict]}" role=img')
                    ui.label(name).classes("point-name")
                    ui.label("" if verdict == "open" else reason).classes("point-reason")
            if bench.held_back and not bench.passed and all(verdict == "pass" for _, verdict, _ in shown):
                ui.label(
                    say("So far so good. What is left disturbs the network for a moment: press Check.")
                ).classes("point-reason")
            if bench.passed:
                ui.label(say("Passed: well done.")).classes("passed").props("role=status")
            if bench.told:
                ui.label(bench.told).classes("point-reason")
        self._next.set_visibility(bench.passed and self._desk.next(self._lab) is not None)

    # -- what happens ------------------------------------------------------------------------------

    async def _open(self) -> None:
        desk, lab = self._desk, self._lab
        ahead = desk.next(lab)
        try:
            await aside(lambda: desk.make_room(lab, ahead))
            self._session = await aside(lambda: desk.start(lab))
            await self._show_running()
        except (LvslabError, OSError) as error:
            self._building.set_text(str(error))
            return
        self._building.set_visibility(False)
        self._bench.touch()
        if ahead is not None and desk.course.limits.labs > 1:
            self._room.background(self._room.start_ahead(desk, ahead))

    async def _show_running(self) -> None:
        assert self._session is not None
        session = self._session
        status = await self._draw(session)
        for shell in status["shells"]:
            await self._shelf.attach(session, shell["name"])

    async def _draw(self, session: Session) -> dict[str, Any]:
        """The network as it is now; drawn anew where something has changed."""
        status: dict[str, Any] = await aside(lambda: session.ask({"do": "status"}))
        tables = (await aside(lambda: session.ask({"do": "tables"})))["tables"]
        if self._drawn != (drawn := (status["nodes"], tables)):
            self._drawn = drawn
            self._network.clear()
            with self._network:
                draw(status, self._press, self._say, self._titles(), tables)
        return status

    async def _press(self, node: str) -> None:
        if self._session is None:
            return
        if len(self._shelf.shown) >= self._desk.course.limits.terminals:
            ui.notify(self._say("So many terminals are open that one must be closed first."), type="warning")
            return
        await self._shelf.open(self._session, node)

    def _typed(self, shell: str, typed: str) -> bool:
        if self._room.paused:
            return False
        if "\r" in typed:
            self._bench.touch()
        return True

    async def _tick(self) -> None:
        self._show_points()
        if self._session is not None and self._looks != self._bench.looks:
            self._looks = self._bench.looks
            with suppress(LvslabError, OSError):  # the points say what is wrong with the lab
                await self._draw(self._session)
        room, say = self._room, self._say
        student = self._desk.member.id
        if room.notice.number != self._notice:
            self._notice = room.notice.number
            if room.notice.text:
                ui.notify(room.notice.text, type="info", timeout=0, close_button=say("Close"), position="top")
        visits = {shell: what for (who, shell), what in room.guests.items() if who == student}
        lines = [say("The course is paused: nothing that you type is taken.")] if room.paused else []
        for shell, what in visits.items():
            told = (
                say("Your instructor types in {terminal}.")
                if what == "types"
                else say("Your instructor sees {terminal}.")
            )
            lines.append(told.format(terminal=shell))
        self._banner.set_text("  ".join(lines))
        self._banner.set_visibility(bool(lines))

    def _leave(self) -> None:
        self._room.pages[self._desk.member.id].discard(self._page)
        self._shelf.close()

    async def _work(self, message: str, work: Any) -> Any:
        """Do something slow, once at a time; what goes wrong is shown."""
        if self._busy or self._session is None:
            return None
        self._busy = True
        note = ui.notification(message, spinner=True, timeout=None)
        try:
            return await asyncio.to_thread(work)
        except (LvslabError, OSError) as error:
            ui.notify(str(error), type="negative", timeout=0, close_button=self._say("Close"))
            return None
        finally:
            note.dismiss()
            self._busy = False

    async def _check(self) -> None:
        await self._work(self._say("The exam is held …"), lambda: self._desk.check(self._lab))
        self._show_points()

    async def _hint(self) -> None:
        say = self._say
        given = await self._work(say("The doctor looks …"), lambda: self._desk.ask(self._lab, "advise"))
        if given is None:
            return
        self._advice.clear()
        with self._advice:
            for sentence in given["now"]:
                ui.label(f"{say('Found now')}: {sentence}").classes("hint hint-now")
            for number, hint in enumerate(given["hints"], start=1):
                ui.markdown(f"{number}. {hint}").classes("hint")
            if len(given["hints"]) == given["of"]:
                ui.label(say("That was the last hint.")).classes("point-reason")

    async def _solve(self) -> None:
        say = self._say
        if not await self._sure(
            say("Show the solution and carry it out? It is counted, and the lab is not passed by it.")
        ):
            return
        done = await self._work(
            say("The solution is carried out …"), lambda: self._desk.ask(self._lab, "solve")
        )
        if done is None:
            return
        self._bench.touch()
        self._advice.clear()
        with self._advice:
            for node, script in done["solution"].items():
                ui.label(say("On {node}:").format(node=node)).classes("hint")
                ui.code(script.strip(), language="bash").classes("hint")

    async def _reset(self) -> None:
        say = self._say
        if not await self._sure(
            say("Bring the lab back to its beginning? Terminals end; what was done is lost.")
        ):
            return
        self._shelf.close()
        await self._work(say("The network is being built …"), lambda: self._desk.reset(self._lab))
        self._advice.clear()
        await self._show_running()

    async def _sure(self, question: str) -> bool:
        with ui.dialog() as dialog, ui.card():
            ui.label(question)
            with ui.row():
                ui.button(self._say("Yes"), on_click=lambda: dialog.submit(True)).props("unelevated")
                ui.button(self._say("No"), on_click=lambda: dialog.submit(False)).props("outline")
        return bool(await dialog)

    def _go_on(self) -> None:
        following = self._desk.next(self._lab)
        if following is not None:
            ui.navigate.to(f"/?lab={self._desk.bench(following).exercise.name}")

    def _raise(self) -> None:
        self._desk.hand_since = None if self._desk.hand_since else time.time()
        self._show_hand()

    def _show_hand(self) -> None:
        up = self._desk.hand_since is not None
        self._hand.set_text(self._say("Lower hand") if up else self._say("Raise hand"))
        self._hand.props(f"aria-pressed={'true' if up else 'false'}")
        self._hand.classes(add="hand-up" if up else "", remove="" if up else "hand-up")
