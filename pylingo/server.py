"""The door for PyLingo's own protocol: one connection, and the factory of all connections.

    bytes --> frames (`dataReceived`) --> decode --> a row of the table of commands --> the user
    bytes <-- Outbox <-- encode (once for each event) <-- hear <-- the user's rooms

`ChatProtocol` serves one connection: it takes requests one at a time and replies in their order.
While a command has to wait, the receiver is paused and that connection is not read; others are.
`ChatFactory` has the registry and everything else that connections share. It checks all of them
once a second, instead of a timer for each.

Everything here runs on the reactor's thread, one event after the other, so the state needs no lock.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from math import inf
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, succeed
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHalfCloseableProtocol,
    IProtocol,
    IReactorTime,
    ISSLTransport,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from twisted.protocols.basic import Int32StringReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from pylingo.commands import Chat, Command, admit, because, find, greeting
from pylingo.outbox import MOST_WAITING, PIECE, Outbox, SocketOutbox, Turn
from pylingo.protocol import (
    LARGEST_REQUEST,
    BadRequest,
    ChatError,
    Closing,
    Error,
    Event,
    Ping,
    RequestId,
    answer,
    decode,
    encode,
    length_at,
)
from pylingo.rooms import Hear, User
from pylingo.schema import trouble

RATE = 5.0
"""Requests a second that are read from one connection, when `BURST` has been used up."""
BURST = 40.0
"""Requests that may come at once; some cost more than one."""
MOST_USERS = 10_000
"""Connections in all."""
MOST_PER_HOST = 200
"""Connections from one address."""
MOST_REFUSED = 100
"""Connections past those bounds that are told so; more are cut off."""
QUIET = 30.0
"""Seconds without a whole frame after which a connection is asked for a sign of life."""
BUSY = 10.0
"""Seconds between our own signs of life while we do not read; less than a client waits for one."""
DEAD = 60.0
"""Seconds without one after which it is dropped."""
ON_ITS_WAY = 3.0
"""Seconds that a frame may have been on its way, and so from before what was said meanwhile."""
ASLEEP = 15.0
"""Seconds without a frame after which it may not be the peer itself that ends its side."""
STALLED = 30.0
"""Seconds that a peer which has something to read may take nothing of it."""
SPARE = 20 * 1024
"""Bytes that TLS may take for itself, as for its handshake, and a record that is not whole yet."""
BARREN = 256
"""Bytes past those that cost as much as a request."""
FIRST_REQUEST = 10.0
"""Seconds that a new connection has to send a whole request."""
MAPPED = "::ffff:"
"""How addresses of IPv4 begin at a door for IPv6."""
LAST_FRAME = 3.0
"""Seconds that a connection which is being closed has to take its last frame and to go."""
STORED = 1.0
"""Seconds that a stopping server waits for the log to store what was accepted."""
GONE = 2.0
"""Seconds that all connections have to take their last frame when the server stops."""
FINISHED = 0.3
"""Seconds that it waits for the log once more, when they are gone."""
LOOKED_AT = 16
"""Connections that are looked at in one turn of the reactor, at least."""
EXPIRED = 4
"""Users who have lingered long enough and are ended in one turn of the reactor."""
LOOKS = 100
"""Turns that looking at all connections takes at most, about."""
CLEANING = 60.0
"""Seconds between removals of what is old; a sixtieth of that while there is more."""
PAUSE = 5.0
"""Seconds that a look comes too late where the server itself was held up, and nobody was silent."""
MOST_LINGERING = 10_000
"""Users that may linger without a connection."""

PING = encode(Ping())


@implementer(IHalfCloseableProtocol)
class ChatProtocol(Int32StringReceiver):
    """One connection. It is the `Door` that commands see.

    It is new, then `welcomed`, then `closing`. It reads on, except while a command runs
    (`_running`), while what was read is not paid for (`_debt`), and when no more is read at all
    (`_last` is said next, or the whole server is `stopping`); `_go_on` is where that is decided.
    """

    MAX_LENGTH = LARGEST_REQUEST
    _log = Logger()

    transport: Any
    hear: Hear
    user: User
    re: RequestId | None = None
    welcomed = False
    closing = False
    surplus = False
    admitted = False
    """Whether the user may do everything: has given the server's password, and is not banned."""
    _asked = 0.0
    """When it was asked for a sign of life, if it ever was."""
    _behind = 0
    """How many looks in a row found that we have paused the reading."""
    _unread = b""
    """What was received and not taken apart yet."""
    _debt: IDelayedCall | None = None
    _stall: tuple[float, tuple[int, int]] | None = None
    """Since when the peer has taken nothing, and its `Outbox.progress` then."""
    _said_all = False
    """Whether the peer has ended its side, and only listens."""
    _last: bytes | None = None
    """What is said last, perhaps nothing, where no more is read, and all that was asked before is
    answered first; None otherwise."""
    _why = ""
    """For what reason we have closed it, if we have."""
    _replied = False
    """Whether the request that is carried out was answered."""
    _barren = -SPARE
    """Bytes of TLS that have come past what it may take."""
    _taken: tuple[int, float] | None = None
    """Up to which id what was told to the account was taken by the peer's system; and since when.
    `settle` forgets it, before the account is another one."""
    _running: Deferred[None] | None = None

    def __init__(self, factory: ChatFactory, address: IAddress | None) -> None:
        self.factory = factory
        self.chat = factory.chat
        # As it is known to doors for IPv4, whichever door it came to.
        self.host: str = getattr(address, "host", "").removeprefix(MAPPED)

    # What the transport calls.

    def connectionMade(self) -> None:
        transport = self.transport
        encrypted = ISSLTransport.providedBy(transport)
        self.plain = ITCPTransport.providedBy(transport) and not encrypted
        if encrypted and IProtocol.providedBy(transport):
            # What decrypts is a protocol on the transport, and tells nobody what it had to do: so
            # what it is given is counted before it gets that.
            decrypt = transport.dataReceived
            transport.dataReceived = partial(self._encrypted, decrypt)  # type: ignore[method-assign]
        kind = SocketOutbox if self.plain else Outbox
        self.outbox = kind(transport, self.factory.turn, self)
        self.hear = self.outbox
        self.heard_at = self.factory.clock.seconds()
        self.deadline = self.heard_at + FIRST_REQUEST
        self.factory.came(self)

    def _encrypted(self, decrypt: Callable[[bytes], None], data: bytes) -> None:
        """What only keeps TLS busy has to be paid for, too: new keys again and again, for one."""
        self._barren = max(self._barren, -SPARE) + len(data)
        decrypt(data)
        if self._barren > BARREN and not self.welcomed:
            self.transport.abortConnection()
        elif self._barren > BARREN and self.factory.rate:
            cost, self._barren = divmod(self._barren, BARREN)
            self._charge(cost)

    def dataReceived(self, data: bytes) -> None:
        # What carries something may be three times as large: a record has some 25 bytes of its own,
        # and the smallest request as many.
        self._barren -= 3 * len(data)
        if self.closing:
            return
        # Twisted's own loop does also what only older programs need, which is felt with many rooms.
        data = self._unread + data
        done, size = 0, len(data)
        while size - done >= 4 and not self.paused:
            (length,) = length_at(data, done)
            start = done + 4
            if length > self.MAX_LENGTH:
                self.lengthLimitExceeded(length)
                return
            if size - start < length:
                break
            done = start + length
            self.stringReceived(data[start:done])
        self._unread = data[done:]

    def stringReceived(self, string: bytes) -> None:
        # The factory's time is up to a second old; nobody is to count as more silent than so.
        self.heard_at = self.factory.now + 1.0
        cost = 1
        try:
            request = decode(string)
        except ChatError as error:
            self.re = error.id if isinstance(error, BadRequest) else None
            if self.welcomed or self._begin():
                self._refuse(error)
        else:
            self.re = request.re
            if self.welcomed or self._begin(request.command):
                cost = self._do(request.command, request.body)
        if self.factory.rate and self.welcomed:
            self._charge(cost)

    def lengthLimitExceeded(self, length: int) -> None:
        self.re = None
        if self.welcomed or self._begin():
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
        # It has read what was there, or this would be the end of the whole connection. But it may
        # be a proxy, which ends it because it has heard nothing for long.
        if self.factory.now - self.heard_at < ASLEEP and self._behind < ASLEEP:
            self.settle()
        self._behind = 0
        self._said_all = True
        if self.closing:
            self.outbox.drained().addCallback(self._hang_up)
            return
        if self._running is None and self._debt is None:
            self._finish()

    def writeConnectionLost(self) -> None:
        """We have shut our side, as we wanted; now we wait for the peer."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002
        self.closing = True
        self.outbox.lost()
        # That, too, is a circle: see `connectionMade`.
        vars(self.transport).pop("dataReceived", None)
        if self._running is not None:
            self._running.cancel()
        if self._debt is not None:
            self._debt.cancel()
        if self.welcomed:
            # The session may go on from elsewhere by now.
            who = f"{self.user.name} at {self.host or 'this machine'}"
            self._log.info("{user} disconnected{why}", user=who, why=because(self._why))
            if self.user.hear is self.hear:
                until = self.factory.clock.seconds() + self.factory.linger
                self.chat.sessions.part(self.user, until)
        self.factory.gone(self)

    # What commands and the chat call: the Door.

    def ended(self, last: bytes, reason: str) -> None:
        """Others have ended this: what was said here is answered before."""
        self._settle()
        self._why = reason
        self._finish(last)
        if self._running is not None:
            self._running.cancel()

    def reply(self, event: Event) -> None:
        if not self.closing:
            self.outbox.put(encode(answer(event, self.re)))
        self._replied = True

    def replay(self, messages: Sequence[Event]) -> None:
        if messages and not self.closing:
            self.outbox.put(b"".join(map(encode, messages)))
        if self.closing:
            # It may have been this that was too much; who is at work cannot be cancelled.
            raise CancelledError

    def hold(self) -> None:
        self.outbox.hold()

    def release(self, *, messages: bool = True) -> None:
        self.outbox.release(messages=messages)

    def drained(self) -> Deferred[None]:
        # A little that waits for the end of this turn is no reason to leave what was read undone:
        # who has hung up by then is not heard.
        outbox = self.outbox
        little = not outbox.blocked and sum(map(len, outbox.frames)) < PIECE
        return succeed(None) if little else outbox.drained()

    def close(self, reason: str, text: str) -> None:
        """Say why, then close; what waits to be sent is sent first."""
        if not self.closing:
            self._settle()
            self._why = reason
            last, self._last = self._last, None
            self._close(last or encode(Closing(reason=reason, text=text)))
            if self._running is not None:
                self._running.cancel()
            self._go_on()

    def overflowed(self) -> None:
        """The peer reads too slowly: drop what waits, because it can resume and get it."""
        if not self.closing:
            self.factory.slow += 1
            self.outbox.clear()
            self.close("slow", "You read too slowly. Connect again to go on where you were.")

    def look(self, now: float) -> None:
        """Once a second: has anything lasted too long?"""
        owed = self._last is not None
        if owed and not self.closing:
            return  # It is the log that it waits for.
        if self.closing or not self.welcomed:
            if owed and self._waits() and self._stuck(now) < STALLED:
                # It is slow, and may have asked for much before it said that it goes. What it takes
                # of what its system has shows only now and then.
                self.deadline = now + LAST_FRAME
            if now >= self.deadline:
                self._hurry()
            return
        # Nothing is set to what it is already: thousands of connections would need memory for it.
        if self.paused:
            # We do not read now, so we cannot know what the peer has said. But it has to take what
            # we say.
            self.heard_at = now
            self._behind += 1
            if self._behind % BUSY == 0:
                self.outbox.put(PING)
        elif self._behind:
            self._behind = 0
        elif now - self.heard_at >= DEAD:
            self.close("idle", "Nothing was heard from you for a minute.")
            self.deadline = now
        elif now - self.heard_at >= QUIET and self._asked <= self.heard_at:
            self._asked = now
            self.outbox.put(PING)
        if self.outbox.holds > MOST_WAITING:
            self.overflowed()
        elif self.outbox.blocked or (self._behind and self._waits()):
            if self._stuck(now) >= STALLED:
                self.overflowed()
        elif self._stall is not None:
            self._stall = None
        self._settle()

    def _hurry(self) -> None:
        """End it in good order if nothing was begun; at once if that did not help."""
        if self.closing or not self.plain:
            self.transport.abortConnection()
        else:
            self.transport.loseConnection()

    def missed(self, lag: float) -> None:
        """For so many seconds we could not read; do not count them as silence of the peers.

        Nor as a word from them.
        """
        self.heard_at += lag
        # It may have come only since then.
        self.deadline = min(self.deadline + lag, self.factory.now + FIRST_REQUEST)
        if self._stall is not None:
            self._stall = None
        if self._taken is not None:
            told, at = self._taken
            self._taken = told, at + lag

    def settle(self) -> None:
        """The peer has just spoken: what its system had taken by then has arrived."""
        self._taken = None
        if self._handed_over():
            self.chat.accounts.arrived(self.user, self.user.told)

    def _settle(self) -> None:
        """See whether what was said to the user alone has arrived.

        That a system has taken it is not enough: that may be a proxy's, or of a machine that is
        asleep. The peer must have spoken since.
        """
        if self._taken is not None:
            told, at = self._taken
            if self._behind:
                self._taken = None
            elif self.heard_at >= at + ON_ITS_WAY:
                self._taken = None
                self.chat.accounts.arrived(self.user, told)
        if self._taken is None and not self._behind and self._handed_over():
            self._taken = self.user.told, self.factory.now + 1.0

    def _handed_over(self) -> bool:
        """Whether something was said to the user alone, and is on the peer's side by now."""
        return (
            self.welcomed
            and self.user.account is not None
            and self.outbox.empty
            and self.chat.accounts.unread(self.user)
            and not self.outbox.unsent()
        )

    def _waits(self) -> bool:
        """Whether there is something that the peer could take."""
        return self.outbox.blocked or self.outbox.unsent() > 0

    def _stuck(self, now: float) -> float:
        """Seconds that the peer has taken nothing, as of the looks at it."""
        progress = self.outbox.progress()
        if self._stall is None or self._stall[1] != progress:
            self._stall = now, progress
        return now - self._stall[0]

    # A request, from the frame to the reply.

    def _begin(self, command: str = "") -> bool:
        """Welcome who speaks for the first time; False means that there is nothing more to say."""
        if self.surplus:
            self._refuse(
                ChatError("server_full", "The server is full. Try again later.", fatal=True)
            )
            return False
        self.welcomed = True
        self.user = self.chat.open(self.hear, self.host)
        self._log.info("{user} connected", user=str(self.user))
        if command.casefold() != "hello":
            self.outbox.put(encode(greeting(self)))
        return True

    def _do(self, word: str, body: str) -> int:
        """Carry out a request; the result is what it costs."""
        try:
            command = find(word)
        except ChatError as error:
            self._refuse(error)
            return 1
        try:
            if not self.admitted:
                self.admitted = admit(self, command)
            if command.waits or (self.chat.log.full and not command.open):
                self._wait(command, body)
            else:
                reply = command.function(self, body)
                if reply is not None:  # As for nearly all: what is said is answered later.
                    self._answer(reply)
        except ChatError as error:
            self._refuse(command.explain(error, body))
        except Exception:  # noqa: BLE001 - a bug in one command is no reason to end the chat
            self._broken(Failure(), replied=False)
        return command.cost

    def _charge(self, cost: int) -> None:
        """Let the next request wait until the one just read is paid for (a token bucket)."""
        factory = self.factory
        now = factory.clock.seconds()
        user = self.user
        user.spent = max(user.spent, now - factory.burst / factory.rate) + cost / factory.rate
        debt = user.spent - now
        if debt > 0 and not self.closing and self._debt is None:
            self._debt = factory.clock.callLater(debt, self._paid)
            self.pauseProducing()

    def _paid(self) -> None:
        self._debt = None
        self._go_on()

    def _answer(self, reply: object) -> None:
        if isinstance(reply, Closing):
            if not self.closing:
                self.settle()
                # The command has waited already for what was said before.
                self._last = encode(answer(reply, self.re))
                self._flushed(None)
        elif isinstance(reply, Event):
            self.reply(reply)

    def _refuse(self, error: ChatError) -> None:
        reply = Error(code=error.code, text=error.text, fatal=error.fatal)
        if not error.fatal:
            self.reply(reply)
            return
        self._why = error.code
        self._finish(encode(answer(reply, self.re)))

    def _finish(self, last: bytes = b"") -> None:
        """Read no more, answer what was accepted, say the `last`, then close.

        The peer may take its time for all of that, as long as it takes something.
        """
        if not self.closing:
            self._last = self._last or last
            self.pauseProducing()
            self.chat.log.flushed().addCallback(self._flushed)

    def _flushed(self, _: object) -> None:
        if not self.closing:
            self._close(self._last or b"")
            self._go_on()

    def _broken(self, bug: Failure, *, replied: bool) -> None:
        if trouble(bug.value):
            why = bug.getErrorMessage()
            self._log.error("a command of {user} failed: {why}", why=why, user=self.user.name.shown)
        else:
            self._log.failure("a command of {user} failed", bug, user=self.user.name.shown)
        if replied:
            # It cannot be answered twice; and what should have followed the reply is missing.
            self.re = None
        text = "Something went wrong in the server; it is in its log. Try again later."
        self._refuse(ChatError("internal", text, fatal=replied))

    def _wait(self, command: Command, body: str) -> None:
        """Run a command that takes time; the requests after it stay unread until it is done."""
        running = ensureDeferred(self._run(command, body))
        if not running.called:
            self._running = running
            # Now, and not only when more comes: a connection that breaks is noticed when what was
            # read of it is done. Who says `close`, and hangs up, has left.
            self.pauseProducing()
            running.addCallback(self._ran)

    async def _run(self, command: Command, body: str) -> None:
        self._replied = False
        try:
            while self.chat.log.full and not command.open:
                await self.chat.log.flushed()
            reply = command.function(self, body)
            if isinstance(reply, Awaitable):
                reply = await reply
            self._answer(reply)
        except ChatError as error:
            self.release()
            self._refuse(command.explain(error, body))
        except CancelledError:
            pass  # The connection ended before the command did.
        except Exception:  # noqa: BLE001 - as above
            if not self._replied:
                # Otherwise something would be missing between the past and what is kept back.
                self.release()
            self._broken(Failure(), replied=self._replied)

    def _ran(self, _: object) -> None:
        self._running = None
        self._go_on()

    def _go_on(self) -> None:
        """Read on, if nothing is in the way of it."""
        if self.closing:
            # What still comes is dropped, but the end of it must be noticed.
            self.transport.resumeProducing()
        elif not (self._running or self._debt or self.factory.stopping) and self._last is None:
            if self._said_all:
                self.paused = False
                self.dataReceived(b"")
                self.readConnectionLost()
            else:
                self.resumeProducing()

    def _close(self, last: bytes) -> None:
        """Nothing more is read or said but the `last`; when all was sent, the connection ends."""
        self.closing = True
        self.outbox.end(last)
        self.paused = True
        self.deadline = self.factory.now + LAST_FRAME
        self._stuck(self.factory.now)
        self.outbox.drained().addCallback(self._sent)

    def _sent(self, _: object) -> None:
        self.outbox.finish()
        self._hang_up()

    def _hang_up(self, _: object = None) -> None:
        transport = self.transport
        if self.plain and not self._said_all:
            # Closing with something unread would make the system drop what we have just sent.
            # So only our side is shut, and theirs is waited for.
            transport.loseWriteConnection()
        else:
            transport.loseConnection()


class ChatFactory(Factory):
    """What all connections share, and the registry above all."""

    noisy = False
    _log = Logger()

    def __init__(
        self,
        chat: Chat,
        clock: IReactorTime,
        *,
        linger: float = 60.0,
        keep_days: float = 90.0,
        rate: float = RATE,
        burst: float = BURST,
        most_users: int = MOST_USERS,
        most_per_host: int = MOST_PER_HOST,
    ) -> None:
        self.chat = chat
        self.registry = chat.registry
        self.registry.broken = self._broken
        self.clock = clock
        self.linger = linger
        self.keep_days = keep_days
        self.rate = rate
        self.burst = burst
        self.most_users = most_users
        self.most_per_host = most_per_host
        self.slow = 0
        """Peers dropped for reading too slowly."""
        self.refused = 0
        """Connections past the bounds."""
        self.lag = 0.0
        """Seconds that the last look at all connections came too late."""
        self.turn = Turn(clock.callLater)
        self.registry.spread, self.registry.share = self.turn.spread, self.turn.share
        self.doors: dict[ChatProtocol, None] = {}
        self.now = clock.seconds()
        """The time, as of the last look at all connections; good for bounds in seconds."""
        self._hosts: Counter[str] = Counter()
        self._surplus = 0
        self.stopping = False
        """Whether nothing more is read of anybody."""
        self._stopped: Deferred[None] | None = None
        self._passing_on = inf
        """When guests of before the start have had time to come back to their rooms."""
        self._looking: Deferred[None] = succeed(None)
        self._look = LoopingCall(self.look)
        self._look.clock = clock
        self._clean = LoopingCall(self.clean)
        self._clean.clock = clock

    def buildProtocol(self, addr: IAddress | None) -> ChatProtocol:
        return ChatProtocol(self, addr)

    def startFactory(self) -> None:
        self._passing_on = self.clock.seconds() + self.linger
        self._look.start(1.0, now=False)
        self._clean.start(CLEANING, now=False)

    def stopFactory(self) -> None:
        self._look.stop()
        self._looking.cancel()
        self._clean.stop()

    def came(self, door: ChatProtocol) -> None:
        """A new connection; past the bounds it will be refused, or is cut off."""
        self.doors[door] = None
        full = self.most_users and len(self.doors) - self._surplus > self.most_users
        # Doors within the machine have peers without an address, of which nothing is known.
        most = self.most_per_host if door.host else 0
        if full or (most and self._hosts[door.host] >= most):
            self.refused += 1
            self._surplus += 1
            door.surplus = True
            if self._surplus > MOST_REFUSED:
                door.transport.abortConnection()
        else:
            self._hosts[door.host] += 1

    def _broken(self, user: User) -> None:
        self._log.failure("telling {user} something failed", user=user.name.shown)

    def look(self) -> None:
        """Once a second: end what has lasted too long, a few at a time, for others wait meanwhile.

        What takes longer than a second is not begun again before it is done.
        """
        now = self.clock.seconds()
        self.lag = max(0.0, now - self.now - 1.0)
        self.now = now
        if self.lag >= PAUSE:
            # We were held up, or the machine slept: nobody was silent or away for that long.
            for door in self.doors:
                door.missed(self.lag)
            # What was noticed only since then, and before this look, is not of that time.
            for user, until in self.registry.lingering.items():
                self.registry.lingering[user] = min(until + self.lag, now + self.linger)
            self._passing_on += self.lag
        if self._looking.called:
            self._looking = ensureDeferred(self._look_at_all())

    async def _look_at_all(self) -> None:
        several = max(LOOKED_AT, len(self.doors) // LOOKS)
        try:
            for count, door in enumerate(tuple(self.doors), 1):
                # It may have gone since.
                if door in self.doors:
                    self._look_at(door)
                if count % several == 0:
                    await deferLater(self.clock, 0)
            if self.now >= self._passing_on:
                self._passing_on = inf
                self.registry.pass_on()
            expired = self.registry.expire(self.now, most=MOST_LINGERING)
            for count, user in enumerate(expired, 1):
                self.chat.sessions.drop(user)
                if count % EXPIRED == 0:
                    await deferLater(self.clock, 0)
            self.chat.sessions.refresh()
        except CancelledError:
            pass
        except Exception:  # noqa: BLE001 - the next look may be better
            self._log.failure("looking at the connections failed")

    def _look_at(self, door: ChatProtocol) -> None:
        try:
            door.look(self.now)
        except Exception:  # noqa: BLE001 - the others are to be looked at, too
            self._log.failure("looking at {host} failed", host=door.host)

    async def clean(self) -> None:
        """Every now and then, remove some of what is too old to be kept."""
        chat = self.chat
        try:
            removed = await chat.sessions.forget()
            if self.keep_days:
                removed += await chat.log.forget(self.keep_days)
        except sqlite3.Error as error:
            self._log.warn("old messages could not be removed: {error}", error=error)
        except Exception:  # noqa: BLE001 - it is tried again, as everything else goes on
            self._log.failure("removing what is old failed")
        else:
            # While there is more to do, it is done in small steps, close to each other.
            self._clean.interval = CLEANING / 60 if removed else CLEANING

    async def stop(self) -> None:
        """Store what was accepted, tell every client, and wait until all are gone.

        It takes `STORED`, `GONE` and `FINISHED` seconds at most; with a last transaction that waits
        for another program, `schema.PATIENCE`, it has to be less than 5.
        """
        self.stopping = True
        for door in self.doors:
            door.pauseProducing()
        await self.chat.log.flushed().addTimeout(STORED, self.clock, onTimeoutCancel=_whatever)
        for door in tuple(self.doors):
            if door.welcomed:
                door.transport.resumeProducing()
                door.close("shutdown", "The server is shutting down.")
            elif door.plain:
                door.transport.loseConnection()
            else:
                door.transport.abortConnection()
        if self.doors:
            self._stopped = Deferred()
            await self._stopped.addTimeout(GONE, self.clock, onTimeoutCancel=_whatever)
            for door in tuple(self.doors):
                door.transport.abortConnection()
            # They are told in the next turn, and log that their users are gone.
            await deferLater(self.clock, 0)
        await self.chat.log.flushed().addTimeout(FINISHED, self.clock, onTimeoutCancel=_whatever)

    def gone(self, door: ChatProtocol) -> None:
        """A connection has ended."""
        del self.doors[door]
        if door.surplus:
            self._surplus -= 1
        else:
            self._hosts[door.host] -= 1
            if not self._hosts[door.host]:
                del self._hosts[door.host]
        if self._stopped is not None and not self.doors:
            stopped, self._stopped = self._stopped, None
            stopped.callback(None)


def _whatever(result: object, timeout: float) -> None:
    """It took too long; go on without."""
