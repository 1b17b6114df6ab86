"""A network in memory, for the client's side of the wire.

`World` is an endpoint: what connects through it is joined to a real `ChatFactory`, or to a
`Script`, a server that says just what a test wants. A `Person` is who connects.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import IProtocolFactory, ISSLTransport, IStreamClientEndpoint
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock, deferLater
from twisted.protocols.basic import Int32StringReceiver
from twisted.python.failure import Failure
from twisted.test.iosim import FakeTransport, IOPump, connect
from zope.interface import directlyProvides, implementer

from pylingo.commands import Chat
from pylingo.connection import Connection, Heard
from pylingo.protocol import (
    ChatError,
    Closing,
    Error,
    Event,
    Joined,
    Message,
    Pong,
    Private,
    Renamed,
    Request,
    Resumed,
    Sent,
    Welcome,
    decode,
    encode,
)
from pylingo.schema import Database
from pylingo.server import ChatFactory
from tests import seat
from tests.house import START


class Script(Int32StringReceiver):
    """A server that notes what it is asked and answers from a table."""

    MAX_LENGTH = 1_000_000
    transport: Any

    def __init__(self, world: World) -> None:
        self.world = world
        self.requests: list[Request] = []

    def stringReceived(self, string: bytes) -> None:
        request = decode(string)
        self.requests.append(request)
        answer = self.world.answers.get(request.command)
        if answer is not None:
            for event in answer(request):
                self.send(event)

    def send(self, *events: Event) -> None:
        """Say `events`."""
        self.transport.write(b"".join(map(encode, events)))

    def drop(self) -> None:
        """End the link without a word."""
        self.transport.loseConnection()

    @property
    def asked(self) -> list[tuple[str, str]]:
        """What was asked, without the ids."""
        return [(request.command, request.body) for request in self.requests]


Answer = Callable[[Request], list[Event]]


@implementer(IStreamClientEndpoint)
class World:
    """A network of one server, which can be away; its time moves when told to."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(START)
        self.trouble: Exception | None = None
        self.tried: list[float] = []
        self.links: list[Any] = []
        self.build: Callable[[], Protocol] = lambda: Script(self)
        self.answers: dict[str, Answer] = {
            "hello": lambda request: [welcome(request)],
            "name": lambda request: [Renamed(user="guest-1", to=request.body, re=request.re)],
            "join": lambda request: [joined(request)],
            "resume": lambda request: [resumed(request)],
            "ping": lambda request: [Pong(body=request.body, re=request.re)],
            "close": lambda request: [Closing(reason="bye", text="Bye.", re=request.re)],
        }
        self._pumps: list[IOPump] = []

    def connect(self, factory: IProtocolFactory) -> Deferred[Any]:
        """Join the factory's protocol to the server."""
        self.tried.append(self.clock.seconds())
        if self.trouble is not None:
            return deferLater(self.clock, 0, _raise, self.trouble)
        client: Any = factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 5000))
        server: Any = self.build()
        self.links.append(server)
        wire = FakeTransport(server, True)
        # It has no socket to be written to past the transport, as with TLS.
        directlyProvides(wire, ISSLTransport)
        self._pumps.append(
            connect(
                server,
                wire,
                client,
                FakeTransport(client, False),
                greet=False,
                clock=self.clock,
            )
        )
        return succeed(client)

    @property
    def link(self) -> Any:
        """The server's side of the newest link."""
        return self.links[-1]

    def cut(self) -> None:
        """The newest link is lost."""
        self.link.transport.loseConnection()
        self.flush()

    def flush(self) -> None:
        """Let everything arrive that is on its way."""
        moved = True
        while moved:
            moved = False
            for pump in self._pumps:
                moved = pump.flush() or moved
        self.clock.advance(0)

    def lose(self, why: Exception) -> None:
        """The newest link, which is TLS for the client, is lost for a reason that it knows."""
        pump = self._pumps[-1]
        directlyProvides(pump.clientIO, ISSLTransport)
        pump.client.connectionLost(Failure(why))

    def hang(self) -> None:
        """The peer of the newest link takes nothing any more, so that it ends by force alone."""
        pump = self._pumps[-1]
        pump.clientIO.loseConnection = lambda: None
        gone = Failure(ConnectionAborted())
        pump.clientIO.abortConnection = lambda: pump.client.connectionLost(gone)

    def written(self) -> bytes:
        """What the client of the newest link has written and the server has not got yet."""
        data: bytes = self._pumps[-1].clientIO.getOutBuffer()
        return data

    def wait(self, seconds: float, step: float = 0.5) -> None:
        """Let time pass, a step at a time."""
        until = self.clock.seconds() + seconds
        while self.clock.seconds() < until:
            self.clock.advance(step)
            self.flush()

    def serve(self, password: str = "") -> ChatFactory:
        """Have a real server, with an empty database, from now on."""
        database = Database(":memory:")
        at_once = maybeDeferred  # In place of threads.
        clock = self.clock
        chat = Chat(database, at_once, at_once, at_once, clock, clock.seconds, password=password)
        factory = ChatFactory(chat, self.clock)
        self.build = lambda: factory.buildProtocol(None)
        return factory

    def arrive(self, **wishes: Any) -> Person:
        """A connection that has been started."""
        return Person(self, **wishes)


class Person:
    """A connection, and what was heard through it."""

    def __init__(self, world: World, **wishes: Any) -> None:
        self.heard: list[Heard] = []
        self.connection = Connection(world, self.heard.append, world.clock, **wishes)
        self.failures: list[Failure] = []
        self.closed: list[object] = []
        self.connection.closed.addCallback(self.closed.append)
        self.connection.start().addErrback(self.failures.append)
        world.flush()

    def of(self, *kinds: type) -> list[Any]:
        """What was heard of some kinds."""
        return [event for event in self.heard if isinstance(event, kinds)]

    @property
    def texts(self) -> list[str]:
        """The texts that were heard, in order."""
        return [event.text for event in self.of(Message, Private)]

    @property
    def refusal(self) -> ChatError:
        """Why there was no getting in."""
        (why,) = self.failures
        trouble = why.value
        assert isinstance(trouble, ChatError)
        return trouble


def welcome(request: Request, **more: Any) -> Welcome:
    return seat.welcome(re=request.re, **more)


def joined(request: Request) -> Joined:
    return Joined(room=request.body, user="ana", users=["ana"], count=1, topic="", re=request.re)


def resumed(request: Request, user: str = "ana", room: str | None = "lobby") -> Resumed:
    return seat.resumed(user, room, session="token-2", re=request.re)


def refused(code: str, text: str = "No.", *, fatal: bool = False) -> Answer:
    return lambda request: [Error(code=code, text=text, fatal=fatal, re=request.re)]


def sent(id: int) -> Answer:
    return lambda request: [Sent(id=id, at=id, re=request.re)]


def message(id: int, text: str = "hi", *, replayed: bool = False) -> Message:
    return Message(id=id, at=id, room="lobby", user="bob", text=text, replayed=replayed)


def _raise(trouble: Exception) -> None:
    raise trouble
