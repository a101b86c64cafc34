"""The instructor's page: a tile for each student, where the class is stuck, and a way to look into
or take over a terminal.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from nicegui import ui

from lvslab.classroom.desk import Desk
from lvslab.classroom.room import Room, aside, minutes_since
from lvslab.classroom.shelf import Shelf
from lvslab.errors import LvslabError

_TICK = 2.0


@dataclass(frozen=True)
class Tile:
    """What a tile says of one student now.

    Attributes:
        lab: the one that she works in, its number in the course, and its title.
        verdicts: of the points of its exam, as far as they were seen.
        status: of the lab, as its keeper tells it; None where none runs.
    """

    lab: str | None
    number: int
    title: str
    verdicts: tuple[str, ...]
    passed: int
    status: Mapping[str, Any] | None


def look(desk: Desk) -> Tile:
    """Ask the lab that a student used last."""
    running = [lab for lab in desk.running() if lab in desk.course.labs]
    running.sort(key=lambda lab: desk.bench(lab).used)
    passed = len(desk.passed())
    if not running:
        return Tile(None, 0, "", (), passed, None)
    lab = desk.current if desk.current in running else running[-1]
    bench, status = desk.bench(lab), None
    try:
        status = desk.ask(lab, "status")
    except (LvslabError, OSError):
        status = None
    verdicts = tuple(point["verdict"] for point in bench.points)
    return Tile(lab, desk.course.labs.index(lab) + 1, bench.exercise.title, verdicts, passed, status)


class InstructorPage:
    """One browser's page of the class."""

    def __init__(self, room: Room) -> None:
        self._room, self._say = room, room.say
        self._tiles: dict[str, Tile] = {}
        self._shown: dict[str, object] = {}
        self._looking: tuple[str, str, str] | None = None
        self._build()

    def _build(self) -> None:
        say, room = self._say, self._room
        with ui.element("header").classes("top"):
            ui.label(room.course.title).classes("course")
            self._text = ui.input(say("Say to all")).props("dense outlined").classes("choice")
            self._text.on("keydown.enter", self._tell_all)
            ui.button(say("Send"), icon="campaign", on_click=self._tell_all).props("dense outline")
            self._pause = ui.button(say("Pause"), icon="pause", on_click=self._pause_or_go_on)
            self._pause.props("dense outline")
            ui.button(
                say("Export"), icon="download", on_click=lambda: ui.navigate.to("/class/export.zip")
            ).props("dense unelevated")
            ui.button(say("Leave"), icon="logout", on_click=lambda: ui.navigate.to("/leave")).props(
                "flat dense"
            )
        with ui.element("main"):
            self._places = ui.element("div").classes("tiles")
            with self._places:
                self._containers = {name: ui.element("section").classes("tile") for name in room.desks}
            self._over = ui.element("section").classes("panel")
            with ui.element("section").classes("panel"):
                with ui.element("h2"):
                    ui.label(say("Where the class is"))
                self._stuck = ui.element("div")
        with self._over:
            self._caption = ui.label("").classes("tile-name").props("role=status")
            self._terminals = ui.element("div").classes("terminals")
        self._shelf = Shelf(self._terminals, say, typed=self._typed, is_guest=True)
        self._reader = Shelf(self._terminals, say, read_only=True, is_guest=True)
        self._show_pause()
        for name in room.desks:
            self._show(name, Tile(None, 0, "", (), 0, None))
        ui.timer(_TICK, self._tick)
        ui.context.client.on_delete(self._stop_looking)

    # -- tiles -------------------------------------------------------------------------------------

    async def _tick(self) -> None:
        for name, desk in self._room.desks.items():
            tile = await aside(partial(look, desk))
            if self._containers[name].is_deleted:
                return
            self._show(name, tile)
        self._show_stuck()

    def _show(self, name: str, tile: Tile) -> None:
        desk, say = self._room.desks[name], self._say
        here = self._room.is_here(name)
        status = tile.status or {}
        last = status.get("last") or {}
        lines = [
            f"{tile.number}. {tile.title}" if tile.lab else say("no lab runs"),
            say("{passed} of {labs} labs passed").format(passed=tile.passed, labs=len(desk.course.labs)),
        ]
        if status:
            lines.append(
                say("{minutes} min, {hints} hints, {solutions} solutions").format(
                    minutes=minutes_since(status["since"]),
                    hints=status["hints"][0] + status["advised"],
                    solutions=int(status["solved"]),
                )
            )
        shells = tuple(each["name"] for each in status.get("shells", ()))
        state = (here, desk.hand_since is not None, lines, tile.verdicts, last.get("command"), shells)
        self._tiles[name] = tile
        if self._shown.get(name) == state:
            return
        self._shown[name] = state
        container = self._containers[name]
        container.clear()
        container.props(f'data-student={name} aria-label="{desk.member.id}"')
        for mark, holds in (("tile-here", here), ("tile-hand", desk.hand_since is not None)):
            container.classes(add=mark if holds else "", remove="" if holds else mark)
        with container:
            with ui.element("div").classes("tile-head"):
                ui.label(desk.member.name).classes("tile-name")
                if desk.hand_since is not None:
                    ui.label(say("asks for help")).classes("tile-asks")
                ui.label(say("here") if here else say("away")).classes("tile-line")
            for line in lines:
                ui.label(line).classes("tile-line")
            with ui.element("div").classes("tile-points"):
                held = tile.verdicts.count("pass")
                for verdict in tile.verdicts:
                    ui.element("span").classes(f"dot dot-{verdict}")
                if tile.verdicts:
                    ui.label(f"{held}/{len(tile.verdicts)}").classes("tile-line")
            if last:
                ui.label(f"{last['node']}# {last['command']}").classes("tile-command")
            self._actions(name, tile, shells)

    def _actions(self, name: str, tile: Tile, shells: tuple[str, ...]) -> None:
        say = self._say
        with ui.element("div").classes("tile-actions"):
            for shell in shells:
                ui.button(
                    shell, icon="visibility", on_click=lambda shell=shell: self._watch(name, shell)
                ).props(f'flat dense size=sm no-caps aria-label="{say("Look into")} {name} {shell}"')
            with ui.button(icon="more_vert").props(f'flat dense size=sm aria-label="{say("More")}"'):
                with ui.menu():
                    ui.menu_item(say("New link"), lambda: self._link(name))
                    ui.menu_item(say("Lower hand"), lambda: self._lower(name))
                    ui.menu_item(say("One hour more"), lambda: self._extend(name))
                    if tile.lab is not None:
                        ui.menu_item(say("Reset the lab"), lambda: self._reset(name, str(tile.lab)))
                        ui.menu_item(say("End the lab"), lambda: self._end(name, str(tile.lab)))

    def _show_stuck(self) -> None:
        """How many are in which lab, and the first point that does not hold there."""
        say = self._say
        open_: Counter[tuple[int, str, str]] = Counter()
        for name, tile in self._tiles.items():
            if tile.lab is None:
                continue
            points = self._room.desks[name].bench(tile.lab).points
            first = next((point["name"] for point in points if point["verdict"] != "pass"), "")
            open_[(tile.number, tile.title, first or (say("passed") if points else say("not begun")))] += 1
        if self._shown.get("") == open_:
            return
        self._shown[""] = open_
        self._stuck.clear()
        columns = [
            {"name": key, "label": label, "field": key, "align": "left"}
            for key, label in (("lab", say("Lab")), ("point", say("Stuck at")), ("count", say("Students")))
        ]
        rows = [
            {"id": place, "lab": f"{number}. {title}", "point": point, "count": count}
            for place, ((number, title, point), count) in enumerate(sorted(open_.items()))
        ]
        with self._stuck:
            ui.table(rows=rows, columns=columns, row_key="id").props("flat bordered dense")

    # -- terminals ---------------------------------------------------------------------------------

    async def _watch(self, name: str, shell: str, *, types: bool = False) -> None:
        desk, tile, say = self._room.desks[name], self._tiles[name], self._say
        session = desk.session(tile.lab) if tile.lab else None
        if session is None:
            return
        self._stop_looking()
        self._looking = (name, shell, "types" if types else "sees")
        self._room.guests[(name, shell)] = self._looking[2]
        text = (
            say("You type in {terminal} of {student}.") if types else say("You see {terminal} of {student}.")
        )
        self._caption.set_text(text.format(terminal=shell, student=desk.member.name))
        with self._over:
            self._handles = ui.element("div").classes("buttons")
            with self._handles:
                if not types:
                    ui.button(
                        say("Take over"),
                        icon="keyboard",
                        on_click=lambda: self._watch(name, shell, types=True),
                    ).props("dense unelevated")
                ui.button(say("Stop looking"), icon="visibility_off", on_click=self._stop_looking).props(
                    "dense outline"
                )
        await (self._shelf if types else self._reader).attach(session, shell)

    def _typed(self, shell: str, text: str) -> bool:
        if self._looking is not None and "\r" in text:
            name = self._looking[0]
            lab = self._tiles[name].lab
            if lab is not None:
                self._room.desks[name].bench(lab).touch()
        return True

    def _stop_looking(self) -> None:
        if self._looking is not None:
            self._room.guests.pop(self._looking[:2], None)
            self._looking = None
            self._shelf.close()
            self._reader.close()
            self._caption.set_text("")
            self._handles.delete()

    # -- what is done to one or all ----------------------------------------------------------------

    def _tell_all(self) -> None:
        self._room.notice.text = str(self._text.value or "").strip()
        self._room.notice.number += 1
        self._text.set_value("")

    def _pause_or_go_on(self) -> None:
        self._room.paused = not self._room.paused
        self._show_pause()

    def _show_pause(self) -> None:
        paused = self._room.paused
        self._pause.set_text(self._say("Go on") if paused else self._say("Pause"))
        self._pause.props(f"icon={'play_arrow' if paused else 'pause'}")

    def _link(self, name: str) -> None:
        link = self._room.link(name)
        with ui.dialog(value=True), ui.card():
            ui.label(self._say("It works once:"))
            ui.label(link).classes("tile-command new-link")

    def _lower(self, name: str) -> None:
        self._room.desks[name].hand_since = None

    def _extend(self, name: str) -> None:
        for lab in self._room.course.labs:
            self._room.desks[name].bench(lab).used = time.monotonic() + 3600

    async def _reset(self, name: str, lab: str) -> None:
        await self._do(lambda: self._room.desks[name].reset(lab))

    async def _end(self, name: str, lab: str) -> None:
        await self._do(lambda: self._room.desks[name].stop(lab))

    async def _do(self, work: Any) -> None:
        try:
            await aside(work)
        except (LvslabError, OSError) as error:
            ui.notify(str(error), type="negative", timeout=0, close_button=self._say("Close"))
