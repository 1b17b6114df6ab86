"""A person in front of a screen, without a terminal and without a server."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, cast

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from pylingo import looks
from pylingo.connection import Connected, Connection, Disconnected, Ticket
from pylingo.conversation import Conversation
from pylingo.looks import Line
from pylingo.protocol import (
    AnyEvent,
    ChatError,
    CommandHelp,
    Joined,
    Left,
    Message,
    Request,
    Resumed,
    Rooms,
    RoomSummary,
    Welcome,
)

COMMANDS = [
    CommandHelp("join", [], "ROOM", "Go into a room."),
    CommandHelp("list", ["rooms"], "", "List the rooms."),
    CommandHelp("leave", ["exit"], "", "Leave your room."),
]


class Wire:
    """A connection that notes what is asked; the test answers."""

    def __init__(self) -> None:
        self.user = "guest-1"
        self.room: str | None = None
        self.linked = True
        self.ticket: Ticket | None = None
        self.asked: list[tuple[str, str]] = []
        self.quiet: list[str] = []
        """Commands of them whose answers are not heard."""
        self.replies: list[Deferred[AnyEvent]] = []
        self.waiting: list[Request] = []
        self.stopped = False
        self.closing = False
        self.listed: Rooms | None = Rooms(
            rooms=[RoomSummary("lobby", 2, "", False), RoomSummary("attic", 1, "old", True)]
        )

    def request(self, command: str, body: str = "", *, quiet: bool = False) -> Deferred[AnyEvent]:
        if command == "list" and quiet:
            return succeed(self.listed) if self.listed is not None else Deferred()
        self.asked.append((command, body))
        self.quiet += [command] * quiet
        self.waiting.append(request := Request(command, body))
        self.replies.append(Deferred())
        return self.replies[-1].addBoth(self._answered, request)

    def _answered(self, result: Any, request: Request) -> Any:
        self.waiting.remove(request)
        return result

    @property
    def leaving(self) -> bool:
        return self.closing

    def close(self) -> Deferred[None]:
        self.closing = True
        return succeed(None)

    def stop(self, why: str = "") -> None:  # noqa: ARG002 - as `Connection` has it
        self.stopped = True


class Wall:
    """A screen on which one can read what was shown."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.bells = 0
        self.drawn = 0

    def show(self, lines: Iterable[Line]) -> None:
        self.lines += [looks.plain(line) for line in lines]

    def refresh(self) -> None:
        self.drawn += 1

    def ring(self) -> None:
        self.bells += 1


class Seat(SynchronousTestCase):
    """A person in front of a screen."""

    name = "guest-1"
    room = ""

    def setUp(self) -> None:
        self.line = Wire()
        self.wall = Wall()
        self.known: dict[str, Deferred[AnyEvent]] = {}
        self.talk = Conversation(
            "example.org:5000",
            name=self.name,
            room=self.room,
            resume=lambda name: self.known.get(name),
        )
        self.talk.connection = cast(Connection, self.line)
        self.begin()

    def begin(self) -> None:
        """Arrive."""
        self.talk.begin(self.wall)
        self.hear(welcome(), Connected(again=False))

    def hear(self, *events: Any) -> None:
        for event in events:
            self.talk.heard(event)

    def lose(self) -> None:
        """The link is lost."""
        self.line.linked = False
        self.hear(Disconnected("The server went away.", final=False))

    def come_back(self) -> None:
        """It is there again."""
        self.line.linked = True
        self.hear(Connected(again=True))

    def enter(self, room: str = "lobby", *people: str) -> None:
        """Be in a room."""
        self.line.room = room
        users = [*people, self.line.user]
        self.hear(
            Joined(room=room, user=self.line.user, users=users, count=len(users), topic="", re=1)
        )
        self.wall.lines.clear()

    def said(self) -> list[str]:
        """What was shown since the last time this was asked, without the times of marked lines."""
        shown, self.wall.lines = self.wall.lines, []
        return [re.sub(r"^\d\d:\d\d (-->|<--|--|!!)", r"\1", line) for line in shown]

    def answer(self, event: AnyEvent) -> None:
        """The reply to the oldest request that waits."""
        self.line.replies.pop(0).callback(event)

    def refuse(self, code: str = "bad_argument") -> None:
        """The refusal of the oldest request that waits."""
        self.line.replies.pop(0).errback(ChatError(code, "No."))


def welcome(**more: Any) -> Welcome:
    fields: dict[str, Any] = {
        "server": "test",
        "version": 1,
        "user": "guest-1",
        "session": "token-1",
        "commands": COMMANDS,
        "motd": "",
        "password_required": False,
    }
    return Welcome(**fields | more)


def resumed(user: str = "ana", room: str | None = "lobby", **more: Any) -> Resumed:
    users = more.setdefault("users", [user] if room is not None else [])
    fields: dict[str, Any] = {"count": len(users), "topic": "", "session": "t"}
    return Resumed(user=user, room=room, **fields | more)


def message(text: str, user: str = "bob", id: int = 1, **more: bool) -> Message:
    return Message(id=id, at=1, room="lobby", user=user, text=text, **more)


def left(user: str, re: int | None = None) -> Left:
    return Left(room="lobby", user=user, reason="left", re=re)
