"""The questions on arrival, about a name and a room, and the menu of the lobby.

A person who is in no room is in the lobby. It asks, makes requests of the answers, and if one is
refused asks again: for a password, or for something else. Nothing here knows what is said in rooms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol, TypeAlias

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pylingo import looks
from pylingo.looks import Line
from pylingo.protocol import AnyEvent, ChatError, Rooms, first_word
from pylingo.questions import EXIT, Question, Questions, agreed, choice
from pylingo.requests import same_room

MENU = (
    "-- You are in no room. What would you like to do?",
    "   1  create a room",
    "   2  join a room",
    "   3  list the rooms",
    "   4  exit",
)
NAMING = "-- Type the name that others are to see, or just Enter for the one in brackets."
CHOICES = frozenset({"1", "2", "3", "4", EXIT})
Resume: TypeAlias = "Callable[[str], Deferred[AnyEvent] | None]"


class Visitor(Protocol):
    """The person who is asked, and for whom requests are made."""

    @property
    def user(self) -> str:
        """The name they have."""

    @property
    def room(self) -> str | None:
        """The room they are in."""

    @property
    def linked(self) -> bool:
        """Whether there is a link."""

    def request(self, command: str, body: str = "", *, quiet: bool = False) -> Deferred[AnyEvent]:
        """As `Connection.request`."""

    def show(self, lines: Iterable[Line]) -> None:
        """Let them see lines."""

    def tell(self, text: str) -> None:
        """Let them see a line of our own."""

    def leave(self) -> None:
        """They want to go."""


class Lobby:
    """For one person, who wants to be `name` or is asked, and to go to `goal` or chooses.

    `resume` may know a session of that name to go on with.
    """

    def __init__(
        self,
        visitor: Visitor,
        questions: Questions,
        name: str,
        goal: str,
        resume: Resume,
    ) -> None:
        self.rooms: list[str] = []
        """Those that there are, as far as is known."""
        self.settled = False
        """Whether it is clear who one is."""
        self.owed = False
        """Whether the menu is to be shown when there is a link again."""
        self._going = False
        """Whether one is on the way into a room."""
        self._numbered: list[str] = []
        """Those that were shown last with numbers."""
        self._visitor = visitor
        self._questions = questions
        self._name = name
        self._goal = goal
        self._resume = resume

    @property
    def waits(self) -> bool:
        """Whether it is the server's turn: to say who one is, or to let one in."""
        return self._questions.now is None and (self._going or not self.settled)

    def arrive(self) -> None:
        """There is a connection, for the first time."""
        self.learn()
        if self._name:
            self._be(self._name)
        else:
            self._ask_name("Your name")

    def settle(self) -> None:
        """It is clear who one is; now where to go."""
        if self.settled:
            return
        self.settled = True
        self._questions.settle()
        if not self._going:
            self._head()

    def _head(self) -> None:
        """Go where one wanted to be at first, if that is not done; or show the menu."""
        if not self.settled:
            return  # It is asked still, or answered soon, and leads here again.
        goal, self._goal = self._goal, ""
        if goal and not same_room(goal, self._visitor.room):
            self.go("join", goal)
        elif self._questions.now is None or self._questions.hidden:
            # It is no menu to choose from at a question that can be seen.
            self.offer()

    def entered(self) -> None:
        """One is in a room, by whatever way: that is who one wants to be, and where."""
        self.settled, self._goal, self._going = True, "", False
        self._questions.settle()

    def offer(self) -> None:
        """Show the menu, to who is in no room, nor on the way into one."""
        here = self._visitor.room is None and not self._going
        self.owed = here and not self._visitor.linked
        if here and not self.owed:
            self._visitor.show([[("class:menu", line)] for line in MENU])
            self.learn()

    def choose(self, line: str) -> None:
        """What was typed at the menu."""
        match choice(line):
            case "1":
                self._questions.ask(Question("Name of the new room: ", self._create))
            case "2":
                self._going = True
                self._list().addCallback(lambda _: self._ask_room())
            case "3":
                self._list().addCallback(lambda _: self.offer())
            case "4" | "exit":
                self._visitor.leave()
            case _:
                self._visitor.tell("!! Nobody hears that: you are in no room. Type 1 to 4.")
                self.offer()

    def go(self, command: str, room: str) -> None:
        """Go into a room, perhaps with its password; that of a locked one is asked for."""
        if room:
            self._going = True
            self._visitor.request(command, room).addErrback(self._refused_entry, room)
        else:
            self._head()

    def learn(self) -> Deferred[Rooms | None]:
        """Ask which rooms there are; the result is None where the server does not tell."""
        asked = self._visitor.request("list", quiet=True)
        return asked.addCallbacks(self.know, lambda why: why.trap(ChatError) and None)

    def know(self, event: AnyEvent) -> Rooms | None:
        """Remember which rooms there are, if `event` tells that."""
        if not isinstance(event, Rooms):
            return None
        self.rooms = [looks.tidy(row.name) for row in event.rooms]
        return event

    # Who to be.

    def _take_name(self, name: str) -> None:
        if choice(name) in (EXIT, "quit"):
            self._visitor.leave()
            return
        if choice(name) in ("help", "?"):
            self._visitor.tell(NAMING)
            self._ask_name("Your name")
            return
        if not name:
            self.settle()
            return
        resumed = self._resume(name)
        if resumed is None:
            self._be(name)
        else:
            resumed.addBoth(lambda _: self._be(name))

    def _be(self, name: str) -> None:
        """Take `name`, unless the session brought it."""
        if name.casefold() == self._visitor.user.casefold():
            self.settle()
        else:
            self._claim(name, "name", name)

    def _claim(self, name: str, command: str, body: str) -> None:
        asked = self._visitor.request(command, body)
        asked.addCallbacks(lambda _: self.settle(), self._name_refused, errbackArgs=(name,))

    def _name_refused(self, why: Failure, name: str) -> None:
        """For a name with an account, ask for its password; for any other, ask for another name."""
        if code(why) in ("name_registered", "wrong_password"):
            question = f"The password of {looks.tidy(name)}, or nothing for another name: "
            self._questions.ask(Question(question, partial(self._log_in, name), hidden=True))
        else:
            self._ask_name("Another name")

    def _ask_name(self, which: str) -> None:
        question = f"{which} [{looks.tidy(self._visitor.user)}]: "
        self._questions.ask(Question(question, self._take_name))

    def _log_in(self, name: str, answer: str) -> None:
        password = _bare(answer, "/login", name)
        if password:
            self._claim(name, "login", f"{name} {password}")
        else:
            self._ask_name("Another name")

    # Where to go.

    def _create(self, room: str) -> None:
        self.go("create", "" if choice(room) == EXIT else room)

    def _ask_room(self) -> None:
        self._going = False
        if self._visitor.room is not None:
            return
        if self.rooms:
            self._questions.ask(Question("Which room? ", self._join, room=True))
        else:
            self.offer()

    def _join(self, room: str) -> None:
        if choice(room) == EXIT:
            self.offer()
            return
        if room.isdecimal() and len(room) < 5:
            if 0 < int(room) <= len(self._numbered):
                room = self._numbered[int(room) - 1]
            elif room not in self.rooms:
                self._visitor.tell("!! There is no room of that number in the list.")
                self._ask_room()
                return
        if room and not any(same_room(room, one) for one in self.rooms):
            # It would be made: that is what the first choice of the menu is for.
            question = f"There is no room {looks.tidy(room)}. Make it? [yes/no] "
            self._questions.ask(Question(question, partial(self._make, room)))
        else:
            self.go("join", room)

    def _make(self, room: str, answer: str) -> None:
        if agreed(answer):
            self.go("join", room)
        else:
            self._ask_room()

    def _refused_entry(self, why: Failure, way: str) -> None:
        if code(why) == "forbidden":
            # Without the password that may have come with it, and was wrong.
            self.learn().addCallback(self._knock, first_word(way)[0])
        else:
            self._going = False
            self._head()

    def _knock(self, listed: Rooms | None, room: str) -> None:
        """Ask for the password, if the room is locked and nobody types things to say meanwhile."""
        self._going = False
        rows = listed.rooms if listed is not None else ()
        locked = any(row.locked and same_room(room, row.name) for row in rows)
        if locked and self._visitor.room is None:
            question = f"The password of {looks.tidy(room)}, or nothing to stay out: "
            self._questions.ask(Question(question, partial(self._unlock, room), hidden=True))
        else:
            self._head()

    def _unlock(self, room: str, answer: str) -> None:
        password = _bare(answer, "/join", room)
        self.go("join", password and f"{room} {password}")

    def _list(self) -> Deferred[None]:
        """Show the rooms, numbered."""
        return self.learn().addCallback(self._show_rooms)

    def _show_rooms(self, listed: Rooms | None) -> None:
        if listed is not None:
            self._numbered = self.rooms
            self._visitor.show(looks.rooms(listed, numbered=True))


def _bare(answer: str, command: str, whose: str) -> str:
    """The password in an `answer`, which may be all of the command that the refusal has named."""
    word, rest = first_word(answer)
    named, password = first_word(rest)
    return password.strip() if choice(word) == command and same_room(named, whose) else answer


def code(why: Failure) -> str:
    """What kind of error a request was refused with."""
    why.trap(ChatError)
    assert isinstance(why.value, ChatError)
    return why.value.code
