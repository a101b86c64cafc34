"""A class at work: everybody's desk, and what goes on beside the pages: labs that are started
ahead, judged in the background, and ended when nobody uses them.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from nicegui import Client

from lvslab.classroom.access import Access
from lvslab.classroom.desk import Desk
from lvslab.errors import LvslabError, UsageError
from lvslab.training.course import Course, Member
from lvslab.training.course_folder import open_folder

INSTRUCTOR = Member("instructor", "Instructor", instructor=True)
_TICK = 0.5
_IDLE_TICK = 30.0


@dataclass
class Notice:
    """What the instructor has said to all.

    Attributes:
        number: counts up, so that pages know a new one.
    """

    text: str = ""
    number: int = 0


@dataclass
class Room:
    """A course that is being held.

    Attributes:
        say: a text of the pages in the course's language.
        paused: whether what students type is not taken.
        url: where it is reached.
        pages: student → pages of hers that are open.
        guests: student and shell into which the instructor looks → "sees" or "types".
    """

    course: Course
    access: Access
    say: Callable[[str], str]
    desks: dict[str, Desk]
    notice: Notice = field(default_factory=Notice)
    paused: bool = False
    url: str = ""
    pages: dict[str, set[Client]] = field(default_factory=dict)
    guests: dict[tuple[str, str], str] = field(default_factory=dict)
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(os.cpu_count() or 1))
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def desk(self, member: str) -> Desk:
        """Whose desk.

        Raises:
            UsageError: there is no such student.
        """
        if member not in self.desks:
            raise UsageError(f"student '{member}': is not in this class")
        return self.desks[member]

    def is_here(self, member: str) -> bool:
        """Whether a page of a student's is connected."""
        return any(page.has_socket_connection for page in self.pages.get(member, ()))

    def link(self, member: str) -> str:
        """A new link for a member; it works once."""
        return f"{self.url}/join/{self.access.new_link(member)}"

    # -- beside the pages --------------------------------------------------------------------------

    def background(self, work: Coroutine[Any, Any, None]) -> None:
        """Let something go on by itself."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def start_ahead(self, desk: Desk, lab: str) -> None:
        """Start a lab that will be opened soon; what fails is said when it is opened."""
        async with self._slots:
            with suppress(LvslabError):
                await asyncio.to_thread(desk.start, lab)

    async def judge(self) -> None:
        """Look, again and again, at the labs in which something was typed."""
        looking: set[tuple[str, str]] = set()

        async def look(desk: Desk, lab: str) -> None:
            try:
                async with self._slots:
                    await asyncio.to_thread(desk.glance, lab)
            finally:
                looking.discard((desk.member.id, lab))

        while True:
            for desk in self.desks.values():
                for lab in desk.due():
                    if (desk.member.id, lab) not in looking:
                        looking.add((desk.member.id, lab))
                        self.background(look(desk, lab))
            await asyncio.sleep(_TICK)

    async def tidy(self) -> None:
        """End labs that nobody uses."""
        while True:
            await asyncio.sleep(_IDLE_TICK)
            for desk in self.desks.values():
                for lab in await asyncio.to_thread(desk.idle):
                    await asyncio.to_thread(desk.stop, lab)


def open_room(course: Course, say: Callable[[str], str]) -> Room:
    """The room of a course, with what is kept of it."""
    folder = open_folder(course)
    desks = {
        member.id: Desk(
            course, member, folder.values[member.id], folder.student(member.id), folder.key(member.id)
        )
        for member in course.class_
    }
    access = Access(folder.place / "access.json", course.limits.session_hours)
    return Room(course=course, access=access, say=say, desks=desks)


async def aside(work: Callable[[], Any]) -> Any:
    """Do something that takes its time in a thread, while pages go on."""
    return await asyncio.to_thread(work)


def minutes_since(at: float) -> int:
    """Whole minutes since a moment, in seconds since 1970."""
    return int((time.time() - at) // 60)
