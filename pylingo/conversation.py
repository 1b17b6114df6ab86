"""What a person does at a terminal: typing lines and hearing events.

It stands between a screen and a connection, and makes requests of the screen's lines. It knows who
is in the room and what waits to be acknowledged, but not how anything is drawn or sent. While the
person is in no room, the `Lobby` takes the lines.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pylingo import looks, names
from pylingo.connection import FINAL, Connected, Connection, Disconnected, Heard, Ticket
from pylingo.lobby import CHOICES, Lobby, Resume, code
from pylingo.looks import Line
from pylingo.protocol import (
    WIRE,
    AnyEvent,
    ChatError,
    Closing,
    CommandHelp,
    Done,
    Error,
    Help,
    History,
    Joined,
    Left,
    Message,
    Notice,
    Private,
    Renamed,
    Request,
    Resumed,
    Rooms,
    Topic,
    Users,
    Welcome,
    first_word,
    parse,
    unindented,
)
from pylingo.questions import EXIT, Question, Questions, choice
from pylingo.requests import HERE, LEAVES, MOVES, ONCE, OUT, SAID

BACK = "-- /history shows what was said before."
HINT = "-- /help shows the commands, Tab completes, Ctrl-D leaves."
KEYS = (
    "-- Tab completes commands, rooms and names; after /history it goes further back.",
    "-- Alt-Enter begins a new line, as do Escape and, at once, Enter.",
    "-- To begin a message with a slash, type two: //help is heard as /help.",
    "-- /ignore NAME hides what somebody says, and shows it again.",
    "-- Leave out a PASSWORD to be asked for it, unseen (/join: in no room only).",
)
MISSED = "-- What you missed:"
STAMPED = Joined | Resumed | Left | Renamed | Notice | Connected | Disconnected
"""What is shown with the time although it has none: it happens now."""
SECRETS = {"login": 2, "register": 1, "password": 1, "enter": 1, "lock": 1}
"""How many words follow the commands that end with a password."""
LASTING = ONCE | HERE - OUT - SAID | {"register", "password"}
"""Commands that are named at the end if they may not have been carried out."""
NEAR = 0.75
"""How similar a command that there is not must be to ours to be taken for it, as by the server."""
MISTYPED = 0.6
"""How similar a command that there is not must be to one of those to be taken for it."""
MOST_PENDING = 500
"""Messages that may wait to be acknowledged."""
PAGE = 50
"""Messages that Tab asks for at first, to go further back in the history."""
SHOWN = 200
"""Characters that are shown of a message that was refused."""
LATE = 30.0
"""Seconds after which the terminal has lost what it was asked, and will not answer."""
IGNORE = CommandHelp("ignore", (), "NAME", "Hide what somebody says, or show it again.")
"""A command of our own."""
HIDING = ("unignore", "block", "unblock")
"""What else people type for it."""


class View(Protocol):
    """The screen, as a conversation sees it."""

    def show(self, lines: Iterable[Line]) -> None:
        """Print lines above the prompt."""

    def refresh(self) -> None:
        """Draw the prompt and the bar anew; what they say has changed."""

    def ring(self) -> None:
        """Ring the bell once."""


class Conversation:
    """One person, one connection.

    `where` names the server, `encrypted` is for the bar. The person wants to be `name`, or is asked
    who to be, and wants to go to `room`, or chooses; `resume` may know a session of that name to go
    on with.
    """

    def __init__(
        self,
        where: str,
        *,
        encrypted: bool = False,
        name: str = "",
        room: str = "",
        resume: Resume = lambda _: None,
    ) -> None:
        self.connection: Connection | None = None
        self.commands: list[CommandHelp] = []
        self.people: dict[str, None] = {}
        self.unsent: list[str] = []
        """What could not be sent before the connection ended."""
        self.shown: Ticket | None = None
        """With what to go on after the newest event that was seen, if the terminal tells that."""
        self._drawn: Ticket | None = None
        """The same, after the newest that was written to the terminal."""
        self._asked: deque[tuple[float, Ticket | None]] = deque()
        """When the terminal was asked, and the same then, for what it has not answered."""
        self._view: View
        self._where = where
        self._encrypted = encrypted
        self._questions = Questions(lambda: self._view.refresh())
        self._lobby = Lobby(self, self._questions, name, room, resume)
        self._count = 0
        self._topic = ""
        self._known: tuple[str, str | None, str] = "", None, ""
        """Who and where one was when there was a link last, and the topic there."""
        self._peers: dict[str, str] = {}
        """Whom one has talked with in private, the last one last, by the keys of their names."""
        self._older = ""
        """What `/history` takes for what was said before that which was shown."""
        self._heading = ""
        self._away = False
        """Whether what is told again was missed, and the bell has not rung for it yet."""
        self._arrived = False
        self._barred = False
        """Whether something was asked without which there is no link."""
        self._hinted = False
        self._day = ""
        """The day on which something with a time was shown last."""
        self._ignored: dict[str, str] = {}
        """Whose messages are not shown: their names, by the keys that names are compared by."""
        self.abandon: Callable[[], None] = lambda: None
        """Told that the person does not want to wait for a connection."""

    # What the screen shows of it.

    @property
    def prompt(self) -> str:
        """What stands before the line that is typed."""
        if self._questions.now is not None:
            return self._questions.now.prompt
        if not self._arrived:
            return ""
        user, room = looks.tidy(self.user), self.room
        return f"[{looks.tidy(room)}] {user}> " if room else f"{user}> "

    @property
    def hidden(self) -> bool:
        """Whether what is typed is not to be seen, nor kept."""
        return self._questions.hidden

    @property
    def urgent(self) -> bool:
        """Whether one Ctrl-C is enough: there is nothing to leave in good order."""
        return not self.linked

    @property
    def bar(self) -> str:
        """The line at the bottom."""
        people = "1 person" if self._count == 1 else f"{self._count} people"
        asked = self._questions.now is not None and not self._questions.now.ours
        trying = "waiting for you" if asked else "not connected, trying…"
        state = "connected" if self.linked else trying
        # What matters most first, for what is too long is cut off.
        return " | ".join(
            (
                "leaving, Ctrl-D does not wait" if self._leaving else state,
                people if self.room else "no room",
                "encrypted" if self._encrypted else "not encrypted",
                self._where,
                "/help",
            )
        )

    def waiting(self) -> list[str]:
        """What was said and is not acknowledged yet."""
        return [draft for one in self._waiting if (draft := _draft(one))]

    def keeps(self, text: str) -> bool:
        """Whether a line that was entered is one to come back to: no answer, and no secret."""
        line = _narrow(text.strip())
        if self.hidden or not line:
            return False
        if line.startswith("/") and not line.startswith("//"):
            return not self._secret(line[1:])
        if self._barred or (self._arrived and not self._lobby.settled):
            return False  # An answer, perhaps to a question for a password that is still to come.
        if self._questions.now is not None:
            return False
        return self.room is not None or choice(line) not in CHOICES

    def _secret(self, line: str) -> bool:
        """Whether a command has a password in it, or is like one that has."""
        command, *words = choice(line).split() or [""]
        if command not in self._all_words():
            meant = get_close_matches(command, [*SECRETS, "join", "j"], 1, MISTYPED)
            command = meant[0] if meant else command
        return command in SECRETS or (command in ("join", "j") and len(words) > 1)

    def _means_ignore(self, command: str) -> bool:
        """Whether there is no such command, and ours is the one most like it."""
        known = [*self._all_words(), *SECRETS]
        near = get_close_matches(command, [*known, *HIDING], 1, NEAR)
        return command not in known and not {IGNORE.name, *HIDING}.isdisjoint(near)

    def _all_words(self) -> list[str]:
        return [word for row in self.commands for word in (row.name, *row.aliases)]

    def complete(self, text: str) -> list[tuple[str, int, str]]:
        """What could stand where `text` ends: each with how much of it is replaced, and a help."""
        if self.hidden:
            return []
        text = _narrow(text).replace("\u3000", " ")
        command, space, rest = text.partition(" ")
        question, rooms = self._questions.now, self._lobby.rooms
        if question is not None and not command.startswith("/"):
            asked = rooms if question.room else []
            return [(room, len(text), "") for room in asked if _begins(room, text)]
        if text.startswith("/") and not space:
            return [
                (f"/{name} ", len(text), help)
                for name, help in self._words()
                if name.startswith(text[1:].casefold())
            ]
        match command.casefold():
            case "/help":
                begun = rest.removeprefix("/").casefold()
                words = self._words()
                return [(name, len(rest), help) for name, help in words if name.startswith(begun)]
            case "/join" | "/create":
                return [(room, len(rest), "") for room in rooms if _begins(room, rest)]
            case "/history":
                older = [self._older] if self._older else []
                return [(page, len(rest), "") for page in older if page.startswith(rest)]
            case _:
                return self._complete_name(text)

    def _complete_name(self, text: str) -> list[tuple[str, int, str]]:
        command, _, rest = text.partition(" ")
        word = re.split(r"\s", text)[-1].lstrip("@(\"'")
        people, replaced = self.people, len(word)
        whom = {f"/{row.name}" for row in self.commands if row.arguments[:4] in ("USER", "NAME")}
        if command.casefold() in whom and " " not in rest:
            # It is all of the name, whatever may stand before one that is only mentioned.
            replaced = len(rest)
            if command.casefold() == "/msg" and self._peers:
                others = (name for name in people if names.kept(name) not in self._peers)
                people = dict.fromkeys([*reversed(self._peers.values()), *others])
        after = " " if len(word) < len(text) else ": "
        return [
            (looks.tidy(name) + after, replaced, "")
            for name in people
            if (word or text.startswith("/")) and _begins(name, word) and name != self.user
        ]

    def _words(self) -> list[tuple[str, str]]:
        """Commands for people, by each of their names, with what they are for."""
        return [
            (looks.tidy(name), looks.tidy(f"{row.arguments}  {row.help}"))
            for row in self.commands
            if row.name not in WIRE
            for name in (row.name, *row.aliases)
        ]

    # What the person does.

    def typed(self, text: str) -> None:
        """A line, or a block of them, was entered."""
        line, question = _narrow(text.strip()), self._questions.now
        if question is not None and (question.hidden or not line.startswith("/")):
            # A connection that waits for a password cannot do anything with an empty one.
            if line or question.ours or not question.hidden:
                self._questions.answer(text.strip())
        elif not line:
            pass
        elif not self.linked and self._out(line):
            self.leave()
        elif not self._arrived and question is not None:
            self.tell("!! Answer the question first.")
        elif not self._arrived:
            self._put_off("There is no connection yet.", text)
        elif line.startswith("/") and not line.startswith(("//", "/*")):
            self._command(parse(line))
        elif self._barred or (
            self.room is None
            and not (self.linked and (choice(line) == EXIT or not self._lobby.waits))
        ):
            self._put_off("You are not there yet.", text)
        elif self.room is None:
            self._lobby.choose(line)
        elif choice(line) == EXIT:
            self._command(Request("leave"))
        elif len(self.waiting()) >= MOST_PENDING:
            self.tell("!! Too much waits to be sent. Wait for the server.")
        else:
            blanks = text[: len(text) - len(text.lstrip())]
            self._send(parse(blanks + line))
        self._view.refresh()

    def _out(self, line: str) -> bool:
        """Whether it is the wish to go; in a room, `exit` only leads out of that."""
        # On the way back into a room one is in none yet.
        nowhere = self._arrived and self.room is None and self._known[1] is None
        menu = nowhere and choice(line) in ("4", EXIT)
        return menu or parse(line).command.casefold() in LEAVES

    def _put_off(self, why: str, text: str) -> None:
        back = "; Up brings the line back." if self.keeps(text) else "."
        self.tell(f"!! {why} Wait a moment{back}")

    def typing(self, text: str) -> None:
        """A line is being typed: what may be completed next should be known by then."""
        if text in ("/join ", "/create ") and self.linked:
            self._lobby.learn()

    def leave(self) -> None:
        """The person wants to go: in good order where there is a link, at once the second time."""
        if self.connection is None or self._leaving or not self.linked:
            self.end()
        else:
            self.connection.close()

    def drawn(self) -> None:
        """All that was shown so far is written to the terminal."""
        if self.connection is not None:
            self._drawn = self.connection.ticket

    def asked(self, now: float) -> None:
        """The terminal is asked, `now`, whether it has shown what was written to it."""
        # Otherwise each answer would be taken for one of before, as long as this goes on.
        while self._asked and now - self._asked[0][0] > LATE:
            self._asked.popleft()
        self._asked.append((now, self._drawn))

    def seen(self) -> None:
        """It has answered, for the first time of those that it was asked."""
        # Or something else, or once more.
        if self._asked:
            _, self.shown = self._asked.popleft()

    def lost(self) -> None:
        """The terminal is gone. One may come back to the session, but a guest has no way to it."""
        if names.given(self.user):
            self.leave()
        else:
            self.end()

    def end(self) -> None:
        """Nothing is waited for any more."""
        self.abandon()
        if self.connection is not None:
            self.connection.stop()

    def cancel(self) -> bool:
        """The person does not want to answer; the result is whether there was such a question.

        Who to be is one that has to be answered.
        """
        question = self._questions.now
        asked = question is not None and question.ours and (self.hidden or self._lobby.settled)
        if asked:
            self.typed("")
        return asked

    def begin(self, view: View) -> None:
        """There is a screen now."""
        self._view = view

    def ask(self, question: str, *, hidden: bool = False) -> Deferred[str]:
        """Ask the person, who has to answer; the last line of `question` becomes the prompt."""
        answer: Deferred[str] = Deferred(lambda _: self._questions.withdraw(asked, unheard))

        def unheard(line: str) -> None:
            if line:
                self.tell("-- That password is not needed any more.")

        *before, prompt = question.split("\n")
        self.show([looks.info(line) for line in before])
        # What is typed between two tries, or was when it all ended, may be an answer, too.
        self._barred = True
        asked = Question(prompt, answer.callback, hidden=hidden, ours=False)
        self._questions.ask(asked)
        return answer

    # What the connection says.

    def heard(self, event: Heard) -> None:
        """Show `event`, and keep up with it."""
        me, known, people, count = self.user, self._known, self.people, self._count
        self._follow(event)
        if isinstance(event, Resumed) and not self.linked:
            # The session of before, over a new link: what was seen of it was seen.
            def anew(ticket: Ticket | None) -> Ticket | None:
                return ticket and replace(ticket, session=event.session)

            self._drawn, self.shown = anew(self._drawn), anew(self.shown)
            self._asked = deque((at, anew(ticket)) for at, ticket in self._asked)
        if self.linked:
            self._barred = False
            self._known = self.user, self.room, self._topic
        # Where all is as it was before the link broke, that it is there again is enough.
        same = (
            isinstance(event, Resumed)
            and not self.linked
            and (event.user, event.room, event.topic) == known
            and event.count == count
            and people.keys() >= {*event.users}
        )
        if self._shows(event) and not same:
            self._show(event, me)
        match event:
            case Help() if len(event.commands) > 1:
                self.show([[("class:info", line)] for line in KEYS])
            case Joined(users=[*_]) if not self._hinted:
                self._hinted = True
                self.tell(HINT)
            case Resumed(room=str()) if not self._hinted and (self.linked or not known[0]):
                # Not over a new link: what was said before was on a screen that is gone.
                self._hinted = True
                self.tell(BACK)
                self.tell(HINT)
            case Left() if not self._leaving:
                self._lobby.offer()
            case Connected(again=False):
                self._arrived = True
                self._lobby.arrive()
            case Connected() if self.room is None and (known[1] or self._lobby.owed):
                if known[1]:
                    self.tell(f"-- You are not in {known[1]} any more.")
                self._lobby.offer()
            case Resumed() if known[0] not in ("", event.user) and not self.linked:
                # Or it was changed in a request that was not answered any more.
                if names.given(event.user):
                    was, now = known[0], event.user
                    self.tell(
                        f"!! {was} was taken, or logged in, elsewhere, and you are {now} now: "
                        f"/login {was} if it is yours, or /name NAME"
                    )
            case Error(code="not_resumable") if self._arrived and not (
                self.linked or self._leaving
            ):
                self.tell("-- Your session has ended. You come back in a new one.")
            case Renamed(re=str() | int()) | Done(user=str()):
                # Perhaps in answer to a command that was typed at the question who to be.
                self._lobby.settle()
        self._view.refresh()

    def _show(self, event: Heard, me: str) -> None:
        """Print it, below a new day and a heading; ring for what was said to the person."""
        lines = looks.lines(event, me, most=looks.MOST_LINES, ignores=self._ignores)
        stamped = looks.stamped(lines) if isinstance(event, STAMPED) else lines
        self.show([*self._headings(event), *stamped])
        if isinstance(event, Private):
            self._meet(event.to if event.user == me else event.user)
        match event:
            case Message() | Private() if event.user != me and (self._away or not event.replayed):
                if isinstance(event, Private) or looks.mentions(event.text, me):
                    self._away = False
                    self._view.ring()

    def _shows(self, event: Heard) -> bool:
        match event:
            case Message() | Private() | Joined(users=None) | Left():
                # The reason for leaving is text, too, and somebody may come again to say more.
                return not self._ignores(event)
            case Disconnected():
                return not (self._leaving or event.final)
            case Closing():
                # For the others it is said last of all, when the screen has been put away.
                return event.reason not in FINAL - {"bye"}
            case Welcome():
                return not self._arrived  # Once is enough: one goes on as whoever one was.
            case Error(code="not_resumable"):
                # What it says one should do is done anyway, unless somebody has typed /resume.
                return self.linked and self._lobby.settled
            case _:
                return True

    def _follow(self, event: Heard) -> None:
        match event:
            case Welcome() | Help() if len(event.commands) > 1:
                self.commands = [*event.commands, IGNORE]
            case Joined(users=None):
                # Somebody who came at the same time is in the list already.
                self._count += event.user not in self.people
                self.people[event.user] = None
            case Joined() | Resumed():
                self.people = dict.fromkeys(event.users or ())
                self._count = event.count or 0
                self._topic = event.topic or ""
                if self._count > len(self.people):
                    self._ask_who()
                if isinstance(event, Joined):
                    self._heading, self._older, self._away = looks.BEFORE, "", False
                    self._lobby.entered()
                    return
                self._heading, self._away = MISSED, True
                if event.room is not None:
                    self._questions.settle()
            case Left() if self.room is None:
                self.people, self._count, self._topic = {}, 0, ""
            case Left():
                whole = self._count == len(self.people)
                self._count -= event.user in self.people or not whole
                self.people.pop(event.user, None)
            case Renamed():
                if event.user in self.people:
                    del self.people[event.user]
                    self.people[event.to] = None
                if event.to == self.user:
                    return  # Whoever had our old name before us is somebody else.
                old = names.kept(event.user)
                met = [event.to if key == old else one for key, one in self._peers.items()]
                self._peers = {names.kept(name): name for name in met}
                if self._ignored.pop(old, None) is not None:
                    self._ignored[names.kept(event.to)] = looks.tidy(event.to)
            case Done(user=str()):
                self._heading, self._away = MISSED, True
                if self.room is not None:
                    # The name of before is in the list still, and may be somebody else's next.
                    self._ask_who()
            case Topic():
                self._topic = event.topic
            case Message() if not self._older:
                self._older = f"{PAGE} {event.id}"
            case History() if event.messages:
                self._older = f"{len(event.messages)} {event.messages[0].id}"
            case Users():
                self.people = dict.fromkeys(event.users)
                self._count = len(event.users)
            case Rooms():
                self._lobby.know(event)

    def _ask_who(self) -> None:
        # If the link breaks before the answer, it is asked again over the next one anyway.
        if all(one.command != "users" for one in self._waiting):
            asked = self.request("users", quiet=True)
            asked.addCallbacks(self._follow, lambda why: why.trap(ChatError))

    def _headings(self, event: Heard) -> Iterator[Line]:
        """Lines above what is shown first on another day, and above what is from the past."""
        if isinstance(event, STAMPED | Message | Private):
            day, self._day = self._day, looks.today()
            if day not in ("", self._day):
                yield looks.info(self._day)
        if isinstance(event, Message | Private):
            heading, self._heading = self._heading, ""
            if heading and event.replayed:
                yield [("class:info", heading)]

    # How the lobby sees the person.

    @property
    def user(self) -> str:
        return self.connection.user if self.connection is not None else ""

    @property
    def room(self) -> str | None:
        return self.connection.room if self.connection is not None else None

    @property
    def linked(self) -> bool:
        return self.connection is not None and self.connection.linked

    @property
    def _waiting(self) -> list[Request]:
        return self.connection.waiting if self.connection is not None else []

    @property
    def _leaving(self) -> bool:
        return self.connection is not None and self.connection.leaving

    def request(self, command: str, body: str = "", *, quiet: bool = False) -> Deferred[AnyEvent]:
        assert self.connection is not None
        return self.connection.request(command, body, quiet=quiet)

    def show(self, lines: Iterable[Line]) -> None:
        """Print lines above the prompt."""
        self._view.show(lines)

    def tell(self, text: str) -> None:
        """Show a line of our own; what begins with `!!` is trouble."""
        style = "class:error" if text.startswith("!!") else "class:info"
        self.show([[(style, looks.tidy(text))]])

    # Commands.

    def _command(self, request: Request) -> None:
        """A slash command; a password that was left out is asked for, without showing it."""
        command, words = request.command.casefold(), request.body.split()
        if command == "ignore":
            self._ignore(request.body)
            return
        if command == "help" and words in (["ignore"], ["/ignore"]):
            self.show(looks.lines(Help(commands=[IGNORE]), self.user))
            return
        if self._means_ignore(command):
            # The server, which does not know ours, would suggest another.
            meant = f"There is no command /{command}. Did you mean /ignore?"
            self.tell(f"!! {meant} /help lists all commands.")
            return
        if not self.linked and command not in SAID:
            self.tell(f"-- /{command} waits until you are connected again.")
        if command in MOVES and words:
            self._lobby.go(command, request.body)
        elif len(words) + 1 == SECRETS.get(command):
            twice = command in ("register", "password")
            go_on = self._confirm if twice else self._complete_secret
            prompt = "Password (Ctrl-C cancels): "
            self._questions.ask(Question(prompt, partial(go_on, request), hidden=True))
        else:
            self._send(request)

    def _meet(self, name: str) -> None:
        self._peers.pop(names.kept(name), None)
        self._peers[names.kept(name)] = name

    def _ignores(self, event: Message | Private | Joined | Left) -> bool:
        if event.user == self.user:
            return False  # Whose name it was before does not matter.
        return bool(self._ignored) and names.kept(event.user) in self._ignored

    def _ignore(self, name: str) -> None:
        """Hide what somebody says, here and as long as this runs; or show it again."""
        name = looks.tidy(name)
        if name not in self.people:
            name = name.lstrip("@")
        if names.kept(name) == names.kept(self.user):
            said = "That is you. /ignore NAME hides what somebody else says."
        elif not name:
            whom = ", ".join(self._ignored.values()) or "nobody"
            said = f"You ignore {whom}. /ignore NAME hides what somebody says, or shows it again."
        elif self._ignored.pop(names.kept(name), None) is not None:
            said = f"What {name} says is shown again."
        else:
            self._ignored[names.kept(name)] = name
            said = f"What {name} says is not shown to you any more. /ignore {name} shows it again."
        self.tell(f"-- {said}")

    def _confirm(self, request: Request, password: str) -> None:
        def compare(again: str) -> None:
            if again == password:
                self._complete_secret(request, password)
            else:
                self.tell("!! The two passwords were not the same. Nothing was changed.")

        if password:
            self._questions.ask(Question("The same password again: ", compare, hidden=True))

    def _complete_secret(self, request: Request, password: str) -> None:
        if password:
            body = f"{request.body.strip()} {password}".strip()
            self._send(Request(request.command, body), partial(self._command, request))

    def _send(self, request: Request, ask: Callable[[], None] | None = None) -> None:
        sent = self.request(request.command, request.body)
        # That it was refused is mostly heard as an event.
        sent.addErrback(self._refused, request, ask)

    def _refused(self, why: Failure, request: Request, ask: Callable[[], None] | None) -> None:
        kind, said = code(why), _draft(request)
        word = request.command.casefold()
        command = f"/{word} …" if word in SECRETS else f"/{request.command} {request.body}"
        if kind == "gone":
            asks = word == "topic" and not request.body.strip()
            if said or (word in LASTING and not asks):
                self.unsent.append(said or command)
        elif kind == "unsure" and not said:
            self.tell(f"!! {command}: {why.getErrorMessage()}")
        elif said:
            what = "This may have been sent, or not" if kind == "unsure" else "Not sent"
            self.tell(f"!! {what}: {_short(said)}")
        elif kind == "wrong_password" and ask is not None:
            ask()  # Who is told to try again would say the next one to the room.


def _draft(request: Request) -> str:
    """A message as its writer knows it; nothing if it is none, or says nothing."""
    command, body = request.command.casefold(), request.body
    if command != "msg":
        return body if command in SAID and body.strip() else ""
    who, text = first_word(body.strip())
    return text and f"[you -> {who}] {text}"


def _short(text: str) -> str:
    """As much of a message as it takes to know it again."""
    line = looks.tidy(text.strip().split("\n")[0])
    return line if line == text.strip() and len(line) <= SHOWN else line[:SHOWN] + "…"


def _begins(name: str, word: str) -> bool:
    return names.composed(name).casefold().startswith(names.composed(word).casefold().lstrip("#"))


def _narrow(line: str) -> str:
    """A `line` that begins with slashes, perhaps wide ones of an input method, with plain ones."""
    bare = unindented(line)
    rest = bare.lstrip("/／")
    return "/" * (len(bare) - len(rest)) + rest if rest != bare else line
