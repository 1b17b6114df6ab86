"""A whole server in memory, and visitors to it.

    house = House()
    ana, ben = house.visitor("ana", "lobby"), house.visitor("ben", "lobby")
    ana.ask("say", "hi")            # the reply; ben.hear() then has the message

The clock stands still unless a test moves it. What the server gives to its threads runs a turn
later, or, once held back, when the test says so. Nothing here opens a socket, but for `Caller`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar, cast

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import ILogObserver, formatEvent, globalLogPublisher
from twisted.protocols.basic import Int32StringReceiver
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase as TestCase

from pylingo import commands, identity, moderation, names, passwords
from pylingo.commands import Chat
from pylingo.protocol import (
    LARGEST_EVENT,
    AnyEvent,
    Done,
    Error,
    Message,
    Private,
    Request,
    RequestId,
    Unknown,
    Welcome,
    decode_event,
    encode,
)
from pylingo.rooms import User
from pylingo.schema import MEMORY, Database
from pylingo.server import ChatFactory, ChatProtocol

T = TypeVar("T")

COMMANDS = (identity, moderation)
"""Modules that put their commands into the table by being here."""
START = 1_700_000_000.0
"""The time at which the clock of a house starts, in seconds since 1970."""
SECRET = "open sesame"
"""The password of those in a house who have one."""
OFTEN = 10
"""Seconds after which a visitor gives a sign of life while a test lets time pass."""


def frame(payload: bytes) -> bytes:
    """`payload` with its length, as it goes over the wire."""
    return len(payload).to_bytes(4, "big") + payload


def notes(test: TestCase) -> list[str]:
    """What the server's log says from now on, as it comes."""
    said: list[str] = []

    observer = cast(ILogObserver, lambda event: said.append(formatEvent(event)))
    globalLogPublisher.addObserver(observer)
    test.addCleanup(globalLogPublisher.removeObserver, observer)
    return said


def request(command: str, body: str = "", id: RequestId | None = None) -> bytes:
    """The whole frame of a request."""
    return encode(Request(command, body) if id is None else Request(command, body, id))


def events(stream: bytes) -> list[AnyEvent]:
    """What the frames of `stream` say; it has to end with a whole one."""
    heard = []
    while stream:
        size = int.from_bytes(stream[:4], "big")
        assert len(stream) >= 4 + size, f"a frame was cut: {stream[:80]!r}"
        event = decode_event(stream[4 : 4 + size])
        assert not isinstance(event, Unknown), "an event that this version does not know"
        heard.append(event)
        stream = stream[4 + size :]
    return heard


def cheapen(test: TestCase) -> None:
    """Let passwords made in this test cost next to nothing."""
    test.patch(passwords, "COST", (2, 8, 1))


def texts(heard: list[Any]) -> list[str]:
    """What was said, of all that was heard."""
    return [event.text for event in heard if isinstance(event, Message | Private)]


def codes(heard: list[Any]) -> list[str]:
    """The codes of the errors, of all that was heard."""
    return [event.code for event in heard if isinstance(event, Error)]


def wait(awaitable: Coroutine[Any, Any, T] | Awaitable[T]) -> Deferred[T]:
    """What is awaited, as a Deferred."""
    return Deferred.fromCoroutine(awaitable)  # type: ignore[arg-type]


class Work:
    """Something given to a thread, and whoever waits for the answer."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self.function = function
        self.answer: Deferred[Any] = Deferred()
        self.done = False
        self.result: Any = None

    def run(self) -> None:
        """Do it, if it was not done yet; the answer waits."""
        if not self.done:
            self.done = True
            try:
                self.result = self.function()
            except Exception:  # noqa: BLE001 - it belongs to who waits for it
                self.result = Failure()

    def finish(self) -> None:
        """Do it, and answer."""
        self.run()
        self.answer.callback(self.result)


class Worker:
    """What the server takes for a thread: its work is done a turn later, or held back."""

    def __init__(self, clock: Clock) -> None:
        self.waiting: deque[Work] = deque()
        self._clock = clock
        self._holding = False

    def __call__(self, function: Callable[[], Any]) -> Deferred[Any]:
        work = Work(function)
        self.waiting.append(work)
        if not self._holding:
            self._clock.callLater(0, self._turn)
        return work.answer

    def hold(self) -> None:
        """Do nothing any more but on demand."""
        self._holding = True

    def run(self) -> None:
        """Do what waits, but keep back the answers."""
        self._clock.advance(0)
        for work in self.waiting:
            work.run()

    def step(self) -> None:
        """Do the oldest work that waits, and answer."""
        self._clock.advance(0)
        self._next()

    def release(self) -> None:
        """Go on as ever, with what has waited first."""
        self._holding = False
        self._clock.advance(0)
        while self.waiting:
            self.step()

    def _turn(self) -> None:
        if not self._holding:
            self._next()

    def _next(self) -> None:
        if self.waiting:
            self.waiting.popleft().finish()


class House:
    """A server without sockets; `options` are those of its factory.

    Without being `watched`, nothing happens only because time has passed.
    """

    def __init__(
        self,
        database: str = MEMORY,
        *,
        start: float = START,
        motd: str = "",
        password: str = "",
        admins: frozenset[str] = frozenset(),
        watched: bool = True,
        **options: Any,
    ) -> None:
        self.path = database
        self.clock = Clock()
        self.clock.advance(start)
        self.ahead = 0.0
        """Seconds by which the system's clock was set."""
        self.commits = Worker(self.clock)
        self.reads = Worker(self.clock)
        self.hashes = Worker(self.clock)
        self.database = Database(database)
        self.chat = Chat(
            self.database,
            self.commits,
            self.reads,
            self.hashes,
            self.clock,
            lambda: self.clock.seconds() + self.ahead,
            admins=admins,
            motd=motd,
            password=password,
        )
        self.log, self.registry = self.chat.log, self.chat.registry
        self.sessions, self.accounts = self.chat.sessions, self.chat.accounts
        self.factory = ChatFactory(self.chat, self.clock, **options)
        if watched:
            self.factory.doStart()
        self.visitors: list[Visitor] = []

    def visitor(self, name: str = "", room: str = "", *, host: str = "") -> Visitor:
        """Somebody who has connected: from a host, with a name, in a room, if these are given."""
        address = IPv4Address("TCP", host, 4000) if host else None
        visitor = Visitor(self, self.factory.buildProtocol(address))
        if name:
            visitor.ask("name", name)
        if room:
            visitor.ask("join", room)
        visitor.hear()
        return visitor

    def owner(
        self, name: str, room: str = "", *, password: str = SECRET, host: str = ""
    ) -> Visitor:
        """Somebody whose name is registered, now or since before."""
        visitor = self.visitor(host=host)
        if names.user(name).key in self.accounts.known:
            reply = visitor.ask("login", f"{name} {password}")
        else:
            visitor.ask("name", name)
            reply = visitor.ask("register", password)
        assert isinstance(reply, Done), reply
        if room:
            visitor.ask("join", room)
        visitor.hear()
        return visitor

    def user(self, name: str, room: str = "") -> tuple[User, list[Any]]:
        """A user without a connection, and the list of what that one hears."""
        heard: list[Any] = []
        user = self.chat.open(heard.extend)
        self.sessions.token(user)
        user.rename(names.user(name))
        if room:
            user.join(names.room(room))
        return user, heard

    def settle(self) -> None:
        """Let happen all that can happen at this moment."""
        busy = True
        while busy:
            self.clock.advance(0)
            # Everyone gets a turn.
            busy = sum(visitor.wire.turn() for visitor in self.visitors) > 0

    def wait(self, seconds: float, *, alive: bool = True) -> None:
        """Let time pass; connections give a sign of life now and then, or are silent."""
        for second in range(int(seconds)):
            self.clock.advance(1.0)
            self.settle()
            if alive and second % OFTEN == 0:
                for visitor in self.visitors:
                    if visitor.wire.connected and visitor.welcomed:
                        visitor.send(request("pong"))

    def break_disk(self) -> None:
        """From now on nothing can be stored."""
        self.database.writer.execute("PRAGMA query_only = 1")

    def mend_disk(self) -> None:
        """Things can be stored again."""
        self.database.writer.execute("PRAGMA query_only = 0")

    def restart(self, after: float = 1.0, **options: Any) -> House:
        """Another server on the same database; what this one has not committed is lost."""
        self.commits.hold()
        self.reads.hold()
        self.database.close()
        return House(self.path, start=self.clock.seconds() + after, **options)


class Wire(StringTransport):
    """A transport that holds back what comes while it is paused, and ends when it is told to."""

    def __init__(self, door: ChatProtocol) -> None:
        super().__init__(lenient=True)
        self.door = door
        self.arriving = b""

    def arrive(self, data: bytes) -> None:
        """The peer sends `data`."""
        self.arriving += data
        self.turn()

    def turn(self) -> bool:
        """Do what a reactor would do next; whether there was something to do."""
        if not self.connected:
            return False
        if self.disconnecting:
            self.lose(ConnectionDone())
            return True
        if self.producerState == "producing" and self.arriving:
            data, self.arriving = self.arriving, b""
            self.door.dataReceived(data)
            return True
        return False

    def write(self, data: bytes) -> None:
        if self.connected and not self.disconnected:
            super().write(data)

    def lose(self, why: Exception) -> None:
        """The connection ends."""
        self.connected = False
        if self.producer is not None:
            self.producer.stopProducing()
        self.door.connectionLost(Failure(why))


class Visitor:
    """A client's side of one connection, and what it has heard."""

    def __init__(self, house: House, door: ChatProtocol | None = None) -> None:
        self.house = house
        door = door or house.factory.buildProtocol(None)
        self.wire = Wire(door)
        self.welcome: Any = None
        self._last = 0
        house.visitors.append(self)
        door.makeConnection(self.wire)

    @property
    def welcomed(self) -> bool:
        """Whether the server has spoken, so that this may be no new connection."""
        return self.welcome is not None

    @property
    def closed(self) -> bool:
        """Whether the server has ended the connection."""
        return not self.wire.connected

    def send(self, *frames: bytes) -> None:
        """Send bytes, all at once, and let happen what they make happen."""
        self.wire.arrive(b"".join(frames))
        self.house.settle()
        self._note()

    def ask(self, command: str, body: str = "") -> Any:
        """Make a request; the result is the reply, or None while there is none."""
        return self.reply(self.begin(command, body))

    def begin(self, command: str, body: str = "") -> int:
        """Make a request; the result is its id."""
        self._last += 1
        self.send(request(command, body, self._last))
        return self._last

    def reply(self, re: RequestId) -> Any:
        """The reply to the request with that id, or None while there is none."""
        replies = [event for event in self.heard if event.re == re]
        assert len(replies) < 2, f"two replies to one request: {replies}"
        return replies[0] if replies else None

    @property
    def heard(self) -> list[AnyEvent]:
        """All events so far, but for those that `hear` has returned."""
        self.house.settle()
        return events(self.wire.value())

    def hear(self) -> list[AnyEvent]:
        """What was heard since the last time."""
        heard = self.heard
        self._note()
        self.wire.clear()
        return heard

    def drop(self) -> None:
        """The connection breaks."""
        if self.wire.connected:
            self.wire.lose(ConnectionLost())
        self.house.settle()

    def stall(self) -> None:
        """Take nothing any more, and let the server feel it."""
        assert self.wire.producer is not None
        self.wire.producer.pauseProducing()

    def unstall(self) -> None:
        """Take what is sent again."""
        assert self.wire.producer is not None
        self.wire.producer.resumeProducing()
        self.house.settle()

    def _note(self) -> None:
        if self.welcome is None:
            first = events(self.wire.value())[:1]
            if first and isinstance(first[0], Welcome):
                self.welcome = first[0]


class Caller(Int32StringReceiver):
    """A client on a real socket."""

    MAX_LENGTH = LARGEST_EVENT
    transport: Any

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.lost: Deferred[None] = Deferred()
        self._waiting: list[tuple[Callable[[Any], bool], Deferred[Any]]] = []

    def ask(self, command: str, body: str = "", id: RequestId | None = None) -> Deferred[Any]:
        """Make a request; the result is the reply, if there is an id to know it by."""
        self.transport.write(request(command, body, id))
        return self.until(lambda event: id is not None and event.re == id)

    def until(self, wanted: Callable[[Any], bool]) -> Deferred[Any]:
        """Fires with the first event of that kind, heard before or to come."""
        for event in self.heard:
            if wanted(event):
                found: Deferred[Any] = Deferred()
                found.callback(event)
                return found
        waiting: Deferred[Any] = Deferred()
        self._waiting.append((wanted, waiting))
        return waiting

    def stringReceived(self, string: bytes) -> None:
        event = decode_event(string)
        self.heard.append(event)
        for row in tuple(self._waiting):
            wanted, waiting = row
            if wanted(event):
                self._waiting.remove(row)
                waiting.callback(event)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        waiting, self._waiting = self._waiting, []
        for _, one in waiting:
            one.addErrback(_gone)
            one.errback(reason)
        self.lost.callback(None)


def _gone(why: Failure) -> Failure | None:
    """The connection ended first; that is an error only for a test that still waits."""
    return None if why.check(ConnectionDone, ConnectionLost) else why


class DoorTestCase(TestCase):
    """Tests of a door to a house."""

    def setUp(self) -> None:
        self.house = House()

    def visitor(self, name: str = "", room: str = "") -> Visitor:
        return self.house.visitor(name, room)

    def add(self, name: str, function: Callable[..., Any]) -> None:
        """A command of this test."""
        commands.command(name, "", "A test's.")(function)
        self.addCleanup(commands.TABLE.pop, name, None)

    def error(self, visitor: Visitor, code: str, command: str, body: str = "") -> str:
        """Ask, and be refused; the result is the sentence."""
        reply = visitor.ask(command, body)
        self.assertIsInstance(reply, Error, f"{command} {body}")
        self.assertEqual((reply.code, reply.fatal), (code, False), reply.text)
        self.assertFalse(visitor.closed)
        return str(reply.text)

    def done(self, visitor: Visitor, command: str, body: str = "") -> str:
        """Ask, and be obeyed; the result is the sentence."""
        reply = visitor.ask(command, body)
        self.assertIsInstance(reply, Done, f"{command} {body}")
        return str(reply.text)


HERE, THERE = "192.0.2.7", "192.0.2.8"
"""Addresses that people come from."""


class HouseTestCase(DoorTestCase):
    """Tests of a house whose disk outlives it, that asks for no patience and has admins."""

    def setUp(self) -> None:
        cheapen(self)
        self.options: dict[str, Any] = {"rate": 0, "admins": frozenset({"boss", "chief"})}
        self.house = House(self.mktemp(), **self.options)
        # Whichever it is by then; otherwise its files stay open until somebody looks for garbage.
        self.addCleanup(lambda: self.house.database.close())

    def asleep(self, visitor: Visitor) -> str:
        """The connection of somebody broke long ago; the result is the way back."""
        token: str = visitor.ask("hello").session
        visitor.drop()
        self.house.wait(70)
        return token

    def here(self) -> list[str]:
        """Who is in the den."""
        room = self.house.registry.rooms.get("den")
        return room.shown() if room is not None else []
