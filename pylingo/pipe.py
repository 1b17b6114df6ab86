"""The client without a terminal: each line of the input is sent, each event printed.

When the input ends, it waits until everything is acknowledged, and leaves the chat. Errors go to
standard error. After an error, or when the link is lost, the exit status is 1.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import stat
import sys
from contextlib import suppress
from typing import Any, cast

import msgspec
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import connectionDone
from twisted.internet.stdio import StandardIO
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from pylingo import looks, names
from pylingo.connection import PARTING, Connected, Connection, Disconnected, Heard
from pylingo.dial import dial
from pylingo.protocol import (
    AnyEvent,
    ChatError,
    Closing,
    Error,
    Joined,
    Message,
    Request,
    Resumed,
    Welcome,
    first_word,
    parse,
)
from pylingo.questions import EXIT, choice
from pylingo.requests import HERE, LEAVES, MOVES, SAID, same_room

BEGIN = "-- /help shows the commands. To begin: /name NAME, then /join ROOM. exit leaves."
"""What a person is told who is asked no questions."""
MOST_TYPED = 4095
"""Bytes of a line that Linux takes from a terminal; of more it drops the rest, and tells nobody."""
MOST_UNANSWERED = 64
"""Lines that are sent ahead of their replies."""


@implementer(IHalfCloseableProtocol)
class Pipe(LineReceiver):
    """Lines in, events out. `finished` fires with the exit status.

    That the output takes no more is told where it is `filed`, but not where its reader may have
    had enough. Where it is a `person` who types, it is said how to begin, and `exit` leads out.
    """

    delimiter = b"\n"
    MAX_LENGTH = 1024 * 1024
    transport: Any

    def __init__(
        self,
        json: bool,
        errors: Any,
        clock: IReactorTime,
        *,
        filed: bool = False,
        person: bool = False,
        shared: bool = False,
        typed: bool = False,
    ) -> None:
        self.connection: Connection
        self._clock = clock
        self.finished: Deferred[int] = Deferred()
        self._json = json
        self._errors = errors
        self._filed = filed
        self._person = person
        self._shared = shared
        """Whether errors go where the output goes, where writing does not wait."""
        self._typed = typed
        """Whether the lines come from a terminal."""
        self._status = 0
        self._ended = False
        self._output = True
        self._closing = False
        self._quitting = False
        self._told = ""
        self._begun = False
        self._unsent = 0
        """Lines that came when the connection had ended, before that was told."""
        self._heading = ""
        """What stands above what was said before one came."""
        self._way: Deferred[AnyEvent] | None = None
        """The last request for another room."""
        self._astray = ""
        """That room, if there was no getting there: what comes is meant for it."""

    # What the terminal's side says.

    def connectionMade(self) -> None:
        # Until there is somebody to tell it to.
        self.pauseProducing()

    def dataReceived(self, data: bytes) -> None:
        # Behind a line that was too long nothing is sent.
        if not self._ended:
            LineReceiver.dataReceived(self, data)

    def lineReceived(self, line: bytes) -> None:
        if self._typed and len(line) == MOST_TYPED:
            self._complain(
                f"The terminal cuts lines at {MOST_TYPED} bytes. That line was not sent. "
                "Send it in several parts, or from a file."
            )
            return
        text = line.decode(errors="replace").rstrip("\r")
        if not self._begun:
            # Some editors put a mark before the first line.
            text, self._begun = text.removeprefix("\ufeff"), True
        if not text.strip():
            return
        request = parse(text)
        if self._person and choice(text) == EXIT:
            request = Request("leave" if self.connection.room else "quit")
            self._astray = ""
        command = request.command.casefold()
        # There may be a password after a command, and what we complain of is kept in other logs.
        shown = text if command in SAID else f"/{command} …"
        if self._quitting:
            self._complain(f"This comes after the end and is not sent: {shown}")
            return
        self._quitting = command in LEAVES
        if self._astray and command in HERE:
            # It was meant for another room.
            self._complain(f"Not sent, because you are not in {self._astray}: {shown}")
            return
        reply = self.connection.request(request.command, request.body)
        if command in MOVES:
            self._way, self._astray = reply, ""
            reply.addErrback(self._strayed, reply, request.body)
        reply.addErrback(self._refused)
        reply.addCallback(self._answered)
        if self.connection.unanswered >= MOST_UNANSWERED:
            self.pauseProducing()

    def lineLengthExceeded(self, line: bytes) -> None:  # noqa: ARG002
        self._complain(
            f"A line of the input has more than {self.MAX_LENGTH} bytes. That line and "
            "all after it were not sent. Make it shorter."
        )
        self.readConnectionLost()

    def readConnectionLost(self) -> None:
        # There may be a last line without an end.
        self.lineReceived(self.clearLineBuffer())
        self._ended = True
        self._leave()

    def writeConnectionLost(self) -> None:
        """Nobody gets what is printed, so there is nothing left to do."""
        if self._filed:
            self._complain(
                "The output cannot be written, so nothing more is sent. Make room on its disk, "
                "and start pylingo again."
            )
        self._status = 1
        self._output = False
        self._finish()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002
        self._finish()

    # What the server's side says.

    def heard(self, event: Heard) -> None:
        """Print `event`."""
        if isinstance(event, Closing) and event.reason == "bye":
            # If nobody wanted to go, it is a loss like any other.
            self._closing = self._closing or self._quitting
        if isinstance(event, Disconnected):
            if not self._closing and event.reason != self._told:
                self._complain(event.reason + self._missing())
        elif self._json:
            if isinstance(event, Welcome | Resumed):
                # It is as good as a password, and files are read by others.
                event = msgspec.structs.replace(event, session="")
            if not isinstance(event, Connected):
                self._print(names.clean(msgspec.json.encode(event).decode()))
        elif not isinstance(event, Error):
            if self._person and isinstance(event, Joined) and event.users is not None:
                self._heading = looks.BEFORE
            elif isinstance(event, Message):
                heading, self._heading = self._heading, ""
                if heading and event.replayed:
                    self._print(heading)
            for line in looks.lines(event, self.connection.user):
                self._print(looks.plain(line))
            if self._person and isinstance(event, Welcome):
                self._print(BEGIN)
        if isinstance(event, Error):
            self._complain(event.text)
            self._told = event.text

    def begin(self, name: str, room: str) -> None:
        """Take the name, then go to the room, that a person wants, who hears what is refused."""
        if name:
            # What is typed meanwhile is meant for the room.
            self.pauseProducing()
            taken = self.connection.request("name", name)
            taken.addCallbacks(lambda _: self.begin("", room), self._refused)
            taken.addCallback(self._answered)
        elif room:
            self.lineReceived(f"/join {room}".encode())

    def leave(self) -> None:
        """Whoever started this wants it to end: take leave, so that the name is free again."""
        self._status = 1
        if self.connection.linked and self.connection.unanswered and not self._closing:
            self._complain(f"pylingo was ended too early.{self._missing()}")
        self._closing = True
        self.connection.part()
        # What nobody reads is not waited for any longer either.
        self._clock.callLater(PARTING, self._finish)

    def failed(self, trouble: ChatError) -> None:
        """There was no getting in."""
        self._status = 1
        if not self._closing and trouble.text != self._told:
            self._complain(trouble.text)
        self._told = trouble.text

    def _print(self, line: str) -> None:
        if self._output:
            self.transport.write(f"{line}\n".encode())

    def _complain(self, sentence: str) -> None:
        self._status = 1
        if not self._output:
            return
        line = f"pylingo: {looks.tidy(sentence)}\n"
        if self._shared:
            self.transport.write(line.encode())
            return
        # They may be on a full disk; the status tells, too.
        with suppress(OSError):
            self._errors.write(line)
            self._errors.flush()

    def _strayed(self, why: Failure, way: Deferred[AnyEvent], body: str) -> Failure:
        if way is self._way and not same_room(body, self.connection.room):
            self._astray = first_word(body)[0] or "another room"
        return why

    def _refused(self, why: Failure) -> None:
        """That it was refused is heard as an event, but not that there is no connection for it."""
        why.trap(ChatError)
        assert isinstance(why.value, ChatError)
        self._unsent += why.value.code == "gone"

    def _missing(self) -> str:
        """What may not have arrived, in a sentence."""
        lost = self.connection.unanswered + self._unsent
        if not lost:
            return ""
        lines = "1 line was" if lost == 1 else f"{lost} lines were"
        rest = "" if self._ended else ", and what comes after that in the input was not sent"
        return f" {lines} not acknowledged{rest}."

    def _answered(self, _: object) -> None:
        if self._ended:
            self._leave()
        elif self.paused and self.connection.unanswered < MOST_UNANSWERED // 2:
            self.resumeProducing()

    def _leave(self) -> None:
        if self.connection.unanswered or self._closing or self._unsent:
            return
        self._closing = True
        self.connection.close()

    def _finish(self) -> None:
        if not self.finished.called:
            self.finished.callback(self._status)


async def converse(reactor: Any, options: argparse.Namespace) -> int:
    """Talk until the input, or the connection, ends. The result is the exit status."""
    person = os.isatty(0) and os.isatty(1) and not options.json
    pipe = Pipe(
        options.json,
        sys.stderr,
        reactor,
        filed=_filed(1),
        person=person,
        shared=os.path.sameopenfile(1, 2),
        typed=os.isatty(0),
    )
    ended: Deferred[None] = Deferred()

    def password() -> Deferred[str]:
        secret = os.environ.get("PYLINGO_PASSWORD", "").strip()
        if secret:
            return succeed(secret)
        return fail(
            ChatError(
                "password_required",
                f"{options.where} has a password. Put it into PYLINGO_PASSWORD, "
                "or start pylingo on a terminal that is not a dumb one.",
            )
        )

    def connect(endpoint: IStreamClientEndpoint, **more: Any) -> Connection:
        pipe.connection = Connection(
            endpoint,
            pipe.heard,
            reactor,
            where=options.where,
            # A person can do something about it if they are refused; a script cannot.
            name="" if person else options.name,
            room="" if person else options.room,
            reconnect=False,
            password=password,
            **more,
        )
        return pipe.connection

    def end() -> Deferred[None]:
        if not ended.called:
            pipe.leave()
        return ended

    reactor.addSystemEventTrigger("before", "shutdown", end)
    flags = fcntl.fcntl(0, fcntl.F_GETFL)
    # Elsewhere it has other arguments.
    cast(Any, StandardIO)(pipe, stdin=_own(0), stdout=_own(1), reactor=reactor)
    try:
        connection = await dial(options, reactor, connect, None)
    except ChatError as trouble:
        pipe.failed(trouble)
    else:
        pipe.transport.registerProducer(connection, True)
        pipe.resumeProducing()
        if person:
            pipe.begin(options.name, options.room)
        await connection.closed
        pipe.transport.unregisterProducer()
    pipe.transport.loseConnection()
    status = await pipe.finished
    # The next program that reads this input expects that reading waits.
    fcntl.fcntl(0, fcntl.F_SETFL, flags)
    ended.callback(None)
    return status


def _own(file: int) -> int:
    """`file`, or another opening of the terminal, or of the pipe for output, that it is.

    That reading and writing do not wait goes for an opening, which is shared with the shell and
    with all that was started from there.
    """
    try:
        if file == 1 and stat.S_ISFIFO(os.fstat(file).st_mode):
            return os.open(f"/dev/fd/{file}", os.O_WRONLY | os.O_NONBLOCK)
        return os.open(os.ttyname(file), os.O_RDWR | os.O_NOCTTY)
    except OSError:
        return file


def _filed(output: int) -> bool:
    """Whether what is written there goes into a file, and to no program or terminal."""
    mode = os.fstat(output).st_mode
    return not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(output))
