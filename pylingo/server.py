"""The door for PyLingo's own protocol: one connection, and the factory of them all.

    bytes --> Int32StringReceiver --> decode --> a row of the table of commands --> the user
    bytes <-- Outbox <-- encode (once for each event) <-- hear <-- the user's rooms

`ChatProtocol` serves one connection: requests one at a time and replies in their order. When a
command has to wait, so does the reading of that connection (the receiver's own pause), and of no
other. `ChatFactory` holds the registry and everything else that connections share, and looks at all
of them once a second, instead of a timer for each.

Everything here runs on the reactor's thread, one event after the other; that is what makes the
state safe without a lock.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.interfaces import (
    IAddress,
    IHalfCloseableProtocol,
    IReactorTime,
    ISSLTransport,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.protocols.basic import Int32StringReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from pylingo.commands import Chat, Command, find, greeting, locked_out
from pylingo.outbox import Outbox, Turn, outbox
from pylingo.protocol import (
    LARGEST_REQUEST,
    BadRequest,
    ChatError,
    Closing,
    Error,
    Event,
    Message,
    Private,
    RequestId,
    answer,
    decode,
    encode,
)
from pylingo.rooms import User

FIRST_REQUEST = 10.0
"""Seconds that a new connection has to send a whole request."""
LAST_FRAME = 3.0
"""Seconds that a connection which is being closed has to take its last frame and to go."""
STORED = 1.5
"""Seconds that a stopping server waits for the log to store what was accepted."""
GONE = 2.5
"""Seconds that all connections have to take their last frame when the server stops."""
MOST_LINGERING = 10_000
"""Users that may linger without a connection."""


@implementer(IHalfCloseableProtocol)
class ChatProtocol(Int32StringReceiver):
    """One connection. It is the `Door` that commands see."""

    MAX_LENGTH = LARGEST_REQUEST
    log = Logger()

    transport: Any
    user: User
    re: RequestId | None = None
    welcomed = False
    closing = False
    _ended = False
    _running: Deferred[None] | None = None
    _held: list[Sequence[Event]] | None = None

    def __init__(self, factory: ChatFactory, address: IAddress | None) -> None:
        self.factory = factory
        self.chat = factory.chat
        self.address = address

    # What the transport calls.

    def connectionMade(self) -> None:
        transport = self.transport
        self.plain = ITCPTransport.providedBy(transport) and not ISSLTransport.providedBy(transport)
        if self.plain:
            transport.setTcpNoDelay(True)
        self.outbox: Outbox = outbox(transport, self.factory.turn, direct=self.plain)
        self.deadline = self.factory.now + FIRST_REQUEST
        self.factory.doors[self] = None

    def dataReceived(self, data: bytes) -> None:
        if not self.closing:
            Int32StringReceiver.dataReceived(self, data)

    def stringReceived(self, string: bytes) -> None:
        try:
            request = decode(string)
        except BadRequest as error:
            self._asked(error.id)
            self._refuse(error)
        except ChatError as error:
            self._asked(None)
            self._refuse(error)
        else:
            self._asked(request.re, request.command)
            if not self.closing:
                self._do(request.command, request.body)

    def lengthLimitExceeded(self, length: int) -> None:
        self._asked(None)
        self._refuse(
            ChatError(
                "too_long",
                f"A frame has at most {LARGEST_REQUEST} bytes, this one said {length}. "
                "Connect again and send smaller ones.",
                fatal=True,
            )
        )

    def readConnectionLost(self) -> None:
        """The peer has said all it will say; it may still listen to the answers."""
        self._ended = True
        if self._running is None:
            self._end()

    def writeConnectionLost(self) -> None:
        """Our side is shut, as was asked; what is left is to wait for theirs."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002
        self.closing = True
        if self._running is not None:
            self._running.cancel()
        if self.welcomed:
            self.log.info(
                "{user} at {address} disconnected",
                user=self.user.name.shown,
                address=self.address,
            )
            if self.user.hear == self.hear:
                self.user.linger(self.factory.now + self.factory.linger)
                self.chat.sessions.save(self.user)
        self.factory.gone(self)

    # What commands and the chat call: the Door.

    def hear(self, events: Sequence[Event]) -> None:
        if self.closing:
            return
        last = events[-1]
        if type(last) is Closing:
            self._held = None
            self.outbox.put(self.factory.frames(events))
            self._close()
            if self._running is not None:
                self._running.cancel()
        elif self._held is not None:
            self._held.append(events)
        else:
            self.outbox.put(self.factory.frames(events))

    def reply(self, event: Event) -> None:
        if not self.closing:
            self.outbox.put(encode(answer(event, self.re)))

    def replay(self, messages: Sequence[Event]) -> None:
        if messages and not self.closing:
            self.outbox.put(b"".join(map(encode, messages)))

    def hold(self) -> None:
        self._held = []

    def release(self, after: int = 0) -> None:
        held, self._held = self._held, None
        for events in held or ():
            kept = [e for e in events if not isinstance(e, Message | Private) or e.id > after]
            if kept:
                self.hear(kept)

    def drained(self) -> Deferred[None]:
        return self.outbox.drained()

    def close(self, reason: str, text: str) -> None:
        """Say why, then close; what waits to be sent is sent first."""
        if not self.closing:
            self.hear((Closing(reason=reason, text=text),))

    # A request, from the frame to the reply.

    def _asked(self, re: RequestId | None, command: str = "") -> None:
        """Note whose turn it is; whoever speaks first is welcomed first."""
        self.re = re
        if not self.welcomed:
            self.welcomed = True
            self.user = self.chat.sessions.open(self.hear, getattr(self.address, "host", ""))
            self.user.entered = not self.chat.password
            self.log.info(
                "{user} connected from {address}", user=self.user.name.shown, address=self.address
            )
            ban = self.chat.accounts.rules.banned(self.user)
            if ban is not None:
                self._refuse(ChatError("forbidden", "You are banned from this server.", fatal=True))
            elif command.casefold() != "hello":
                self.outbox.put(encode(greeting(self)))

    def _do(self, word: str, body: str) -> None:
        try:
            command = find(word)
            if not self.user.entered and not command.open:
                self._refuse(locked_out())
                return
            if command.waits or self.chat.log.full:
                self._wait(command, body)
                return
            reply = command.function(self, body)
        except ChatError as error:
            self._refuse(error)
        except Exception:  # noqa: BLE001 - a bug in one command is no reason to end the chat
            self._broken(Failure())
        else:
            self._answer(reply)

    def _answer(self, reply: object) -> None:
        if isinstance(reply, Closing):
            self.reply(reply)
            self._close()
        elif isinstance(reply, Event):
            self.reply(reply)

    def _refuse(self, error: ChatError) -> None:
        self.reply(Error(code=error.code, text=error.text, fatal=error.fatal))
        if error.fatal:
            self._close()

    def _broken(self, bug: Failure) -> None:
        self.log.failure("a command of {user} failed", bug, user=self.user.name.shown)
        self._refuse(
            ChatError("internal", "Something went wrong here; it was noted. Try it again later.")
        )

    def _wait(self, command: Command, body: str) -> None:
        """Run a command that takes time; the requests after it stay unread until it is done."""
        running = ensureDeferred(self._run(command, body))
        if not running.called:
            self._running = running
            self.pauseProducing()
            running.addErrback(_cancelled)
            running.addCallback(self._ran)

    async def _run(self, command: Command, body: str) -> None:
        while self.chat.log.full:
            await self.chat.log.drained()
        try:
            reply = command.function(self, body)
            if isinstance(reply, Awaitable):
                reply = await reply
        except ChatError as error:
            self._refuse(error)
        except CancelledError:
            raise
        except Exception:  # noqa: BLE001 - as above
            self._broken(Failure())
        else:
            self._answer(reply)

    def _ran(self, _: object) -> None:
        self._running = None
        if self.closing:
            # What still comes is dropped, but the end of it must be noticed.
            self.transport.resumeProducing()
        elif self._ended:
            self.paused = False
            self.dataReceived(b"")
            if self._running is None:
                self._end()
        else:
            self.resumeProducing()

    def _end(self) -> None:
        """The peer has shut its side: answer what it asked, then close."""
        self.chat.log.flushed().addCallback(self._flushed)

    def _flushed(self, _: object) -> None:
        if not self.closing:
            self._close()

    def _close(self) -> None:
        """Nothing more is read or said; when all was sent, the connection ends."""
        self.closing = True
        self.paused = True
        self.deadline = self.factory.now + LAST_FRAME
        self.outbox.drained().addCallback(self._sent)

    def _sent(self, _: object) -> None:
        transport = self.transport
        if self.plain and not self._ended:
            # Closing with something unread would make the system drop what we have just sent.
            # So only our side is shut, and theirs is waited for.
            transport.loseWriteConnection()
        else:
            transport.loseConnection()


class ChatFactory(Factory):
    """What all connections share, and the registry above all."""

    noisy = False
    log = Logger()

    def __init__(
        self, chat: Chat, clock: IReactorTime, *, linger: float = 60.0, keep_days: float = 90.0
    ) -> None:
        self.chat = chat
        self.registry = chat.registry
        self.linger = linger
        self.keep_days = keep_days
        self.turn = Turn(clock.callLater)
        self.turn.ended = self._forget
        self.doors: dict[ChatProtocol, None] = {}
        self.now = clock.seconds()
        """The time, as of the last look at all connections; good for bounds in seconds."""
        self._clock = clock
        self._heard: Sequence[Event] = ()
        self._frames = b""
        self._each: dict[int, tuple[Event, bytes]] = {}
        self._stopped: Deferred[None] | None = None
        self._look = LoopingCall(self.look)
        self._look.clock = clock

    def buildProtocol(self, addr: IAddress | None) -> ChatProtocol:
        return ChatProtocol(self, addr)

    def startFactory(self) -> None:
        self._look.start(1.0, now=False)

    def stopFactory(self) -> None:
        self._look.stop()

    def frames(self, events: Sequence[Event]) -> bytes:
        """`events` as frames, made once however many hear them in this turn of the reactor."""
        if events is not self._heard:
            self._heard = events
            self._frames = b"".join(map(self._frame, events))
        return self._frames

    def _frame(self, event: Event) -> bytes:
        known = self._each.get(id(event))
        if known is None:
            known = self._each[id(event)] = event, encode(event)
        return known[1]

    def _forget(self) -> None:
        self._heard, self._frames = (), b""
        self._each.clear()

    def look(self) -> None:
        """Once a second: end what has lasted too long."""
        now = self.now = self._clock.seconds()
        for door in tuple(self.doors):
            if now >= door.deadline and (door.closing or not door.welcomed):
                door.transport.abortConnection()
        for user in self.registry.expire(now, most=MOST_LINGERING):
            self.chat.sessions.drop(user)

    async def stop(self) -> None:
        """Store what was accepted, tell every client, and wait until all are gone.

        It takes `STORED` and `GONE` seconds at most.
        """
        for door in self.doors:
            door.pauseProducing()
        await self.chat.log.flushed().addTimeout(STORED, self._clock, onTimeoutCancel=_whatever)
        for door in tuple(self.doors):
            if door.welcomed:
                door.transport.resumeProducing()
                door.close("shutdown", "The server is shutting down. Come back in a while.")
            else:
                door.transport.abortConnection()
        if self.doors:
            self._stopped = Deferred()
            await self._stopped.addTimeout(GONE, self._clock, onTimeoutCancel=_whatever)
            for door in tuple(self.doors):
                door.transport.abortConnection()

    def gone(self, door: ChatProtocol) -> None:
        """A connection has ended."""
        del self.doors[door]
        if self._stopped is not None and not self.doors:
            stopped, self._stopped = self._stopped, None
            stopped.callback(None)


def _cancelled(why: Failure) -> None:
    """The connection ended before the command did."""
    why.trap(CancelledError)


def _whatever(result: object, timeout: float) -> None:
    """It took too long; go on without."""
