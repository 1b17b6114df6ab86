"""What waits to be sent to one peer.

Frames gather while the reactor handles what has come in, and go out at the end of that turn, all in
one call; messages, which come in groups, go at once. Where nothing waits, they go straight to the
socket: that saves two visits to the kernel for each write, which is most of what a delivery costs.
What the socket does not take is left to the transport, in pieces, as a pull producer; that is also
how the outbox learns that it took them.

Of events it is known here only which ones can go at once, which one is the last, and, while some
are kept back because older ones are being read from the disk, how new they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPullProducer, IPushProducer
from twisted.logger import Logger
from zope.interface import implementer

from pylingo.protocol import Closing, Event, Message, Private, Sent, Stored, encode
from pylingo.rooms import User

PIECE = 64 * 1024
"""Bytes handed to a transport at once (and the rest of the frame that they end in)."""


MOST_WAITING = 1024 * 1024
"""Bytes that may wait for one peer."""

_log = Logger()


class Owner(Protocol):
    """Whose outbox it is."""

    def ended(self, last: bytes) -> None:
        """It was told the last event: `end` it with that frame."""

    def overflowed(self) -> None:
        """More than `MOST_WAITING` waits, and the peer does not take it."""


class Turn:
    """What is told in this turn of the reactor, and to whom something is to be sent at its end.

    `sent` counts the bytes for peers, `deliveries` the messages told to members of rooms, and
    `high` is the most that ever waited for one peer.
    """

    def __init__(self, call_later: Callable[[float, Callable[[], None]], IDelayedCall]) -> None:
        self.sent = 0
        self.deliveries = 0
        self.high = 0
        self.outboxes: list[Outbox] = []
        self.events: Sequence[Event] = ()
        """What is being told."""
        self.frames = b""
        """The same as frames, made once however many hear it."""
        self.size = 0
        self.group: Sequence[Event] | None = None
        """The same, if it is a group of messages; those go at once, for they have been gathered."""
        self.final = False
        """Whether it ends the connection."""
        self._call_later = call_later
        self._known: dict[int, bytes] = {}
        self._alive: list[Event] = []

    def tell(self, events: Sequence[Event]) -> None:
        """`events` are what is being told from now on."""
        known = self._known
        self.events = events
        # By what they are, not by what they say: it is in this turn, and most are heard by many.
        # The answer to who said something is heard by nobody else.
        self.frames = b"".join(
            [known.get(id(e)) or (encode(e) if type(e) is Sent else self._frame(e)) for e in events]
        )
        self.size = len(self.frames)
        self.final = type(events[-1]) is Closing
        self.group = events if isinstance(events[0], Stored) and not self.final else None

    def _frame(self, event: Event) -> bytes:
        if not self._alive:
            self._call_later(0, self._forget)
        self._alive.append(event)
        frame = self._known[id(event)] = encode(event)
        return frame

    def _forget(self) -> None:
        self.events, self.frames, self.group = (), b"", None
        self._known.clear()
        self._alive.clear()

    def spread(self, users: Sequence[User], events: Sequence[Event]) -> None:
        """Messages for the members of a room: the most frequent thing in the whole chat.

        What goes straight to a socket is handed over here, without a call for each member: after
        every visit to the kernel all code is cold, and a call has most of it.
        """
        self.tell(events)
        frames, size = self.frames, self.size
        for user in users:
            hear = user.hear
            try:
                if type(hear) is SocketOutbox and hear.open:
                    try:
                        sent = hear.write(frames)
                    except OSError:
                        sent = 0
                    if sent != size:
                        hear.rest(frames, sent)
                else:
                    # Who hears something in another way counts it there.
                    self.sent -= size
                    hear(events)
            except Exception:  # noqa: BLE001 - as in `User.hears`, which costs a call
                user.registry.broken(user)
        self.deliveries += len(events) * len(users)
        self.sent += size * len(users)

    def begin(self) -> None:
        """The first of them is about to be there."""
        self._call_later(0, self.end)

    def end(self) -> None:
        """Send it all."""
        outboxes, self.outboxes = self.outboxes, []
        for outbox in outboxes:
            try:
                outbox.flush()
            except Exception:  # noqa: BLE001 - the others have something to send, too
                _log.failure("sending failed")


@implementer(IPushProducer)
class Outbox:
    """Frames for a transport that has a buffer of its own, such as TLS."""

    __slots__ = (
        "_drained", "_ended", "_frames", "_held", "_owner", "_turn", "blocked", "moved", "open",
        "size", "transport",
    )  # fmt: skip

    def __init__(self, transport: Any, turn: Turn, owner: Owner) -> None:
        self.transport = transport
        self.open = True
        """Whether a group of messages can go at once."""
        self.blocked = False
        """Whether the peer, or the network, does not take any more for now."""
        self.size = 0
        """Bytes that wait for a peer that blocks, those handed on last included."""
        self.moved = 0
        """Grows whenever something was taken."""
        self._ended = False
        self._held: list[Any] | None = None
        self._owner = owner
        self._turn = turn
        self._frames: list[bytes] = []
        self._drained: tuple[Deferred[None], ...] = ()
        self._attach()

    def __call__(self, events: Sequence[Event]) -> None:
        """Tell the peer of `events`: this is what the user hears with."""
        turn = self._turn
        if events is not turn.events:
            turn.tell(events)
        if self.open and events is turn.group:
            turn.sent += turn.size
            self.send(turn.frames)
        elif self._ended:
            pass
        elif turn.final:
            self._owner.ended(turn.frames)
        elif self._held is not None:
            # In turns, for a pair of each would be a thing more to be kept and collected.
            self._held.append(events)
            self._held.append(turn.frames)
        else:
            self.put(turn.frames)

    def hold(self) -> None:
        """Keep back what is heard from now on."""
        self._held = []
        self._reopen()

    def release(self, after: int = 0, *, private: bool = False) -> None:
        """Let go of what was kept back, but messages with ids up to `after`.

        If `private`, only of those that are said to this user alone.
        """
        held, self._held = self._held, None
        self._reopen()
        if held:
            told: Iterable[bytes] = held[1::2]
            if after:
                told = map(_newer, held[::2], told, repeat(after), repeat(private))
            frames = b"".join(told)
            if frames:
                self.put(frames)

    @property
    def holds(self) -> int:
        """Bytes that are kept back, counted each time one asks."""
        return sum(map(len, self._held[1::2])) if self._held else 0

    def end(self, last: bytes = b"") -> None:
        """Hear nothing more; what waits is still sent, and then the `last` frame."""
        self._ended = True
        self._held = None
        self._reopen()
        if last:
            self.put(last)

    def _reopen(self) -> None:
        self.open = not (self._ended or self._frames or self.blocked or self._held is not None)

    def put(self, frames: bytes) -> None:
        """Send `frames` at the end of this turn, or when the peer takes more."""
        self._turn.sent += len(frames)
        self._put(frames)

    def _put(self, frames: bytes) -> None:
        waiting = self._frames
        if self.blocked:
            waiting.append(frames)
            self.size = size = self.size + len(frames)
            if size > self._turn.high:
                self._turn.high = size
            if size > MOST_WAITING and not self._ended:
                self._owner.overflowed()
            return
        if not waiting:
            turn = self._turn
            if not turn.outboxes:
                turn.begin()
            turn.outboxes.append(self)
            self.open = False
        waiting.append(frames)

    def send(self, frames: bytes) -> None:
        """Send `frames` now; nothing waits ahead of them."""
        self.transport.write(frames)

    def clear(self) -> None:
        """Forget what has not been handed on; what has been ends with a whole frame."""
        waiting = sum(map(len, self._frames))
        self._turn.sent -= waiting
        if self.blocked:
            self.size -= waiting
        self._frames.clear()
        self._reopen()

    def flush(self) -> None:
        """Send what waits, as far as it can be sent now."""
        frames = self._frames
        if not frames or self.blocked:
            return
        data = frames[0] if len(frames) == 1 else b"".join(frames)
        frames.clear()
        self._reopen()
        self.send(data)
        if self._drained:
            self._announce()

    def drained(self) -> Deferred[None]:
        """Fires when nothing waits any more."""
        drained: Deferred[None] = Deferred()
        self._drained += (drained,)
        self._announce()
        return drained

    def finish(self) -> None:
        """Nothing more comes; a transport would wait for its producer before it closes."""
        self.transport.unregisterProducer()

    def pauseProducing(self) -> None:
        self.blocked = True
        self.open = False
        self.size = sum(map(len, self._frames))

    def resumeProducing(self) -> None:
        self.moved += 1
        self.blocked = False
        self.size = 0
        self._reopen()
        self.flush()
        self._announce()

    def stopProducing(self) -> None:
        self.clear()
        self.blocked = True
        self.open = False

    def _attach(self) -> None:
        self.transport.registerProducer(self, True)

    def _announce(self) -> None:
        if not self._frames and not self.blocked:
            waiting, self._drained = self._drained, ()
            for drained in waiting:
                # Who waited may have given up.
                if not drained.called:
                    drained.callback(None)


@implementer(IPullProducer)
class SocketOutbox(Outbox):
    """Frames for a plain TCP transport, past its buffer where that is empty."""

    __slots__ = ("_handed", "write")

    def _attach(self) -> None:
        self.write: Callable[[bytes], int] = self.transport.getHandle().send
        """Hands bytes to the system; the result is how many it took."""
        self._handed = 0

    def finish(self) -> None:
        """There is a producer only while something waits."""

    def send(self, frames: bytes) -> None:
        try:
            sent = self.write(frames)
        except OSError:
            # Full; or broken, and then the transport will find out in its own way.
            sent = 0
        if sent != len(frames):
            self.rest(frames, sent)

    def rest(self, frames: bytes, sent: int) -> None:
        """Leave to the transport what the socket did not take."""
        self.blocked = True
        self.open = False
        end = len(frames)
        if end - sent > MOST_WAITING:
            # First the frame that was cut, alone: whatever comes of the rest, it has to be whole.
            end = 0
            while end <= sent:
                end += 4 + int.from_bytes(frames[end : end + 4], "big")
        self._frames.append(frames[sent:end])
        self.size = end - sent
        self._turn.high = max(self._turn.high, self.size)
        # This asks for the first piece at once, and for the next when that was taken.
        self.transport.registerProducer(self, False)
        if end < len(frames):
            self._put(frames[end:])

    def resumeProducing(self) -> None:
        self.moved += 1
        self.size -= self._handed
        self._handed = 0
        if not self._frames:
            self.blocked = False
            self._reopen()
            self.transport.unregisterProducer()
            self._announce()
            return
        size = count = 0
        for frame in self._frames:
            count += 1
            size += len(frame)
            if size >= PIECE:
                break
        piece = b"".join(self._frames[:count])
        del self._frames[:count]
        self._handed = size
        self.transport.write(piece)


def _newer(events: Sequence[Event], frames: bytes, after: int, private: bool) -> bytes:
    """`frames`, which are `events`, without messages that have ids up to `after`."""
    kinds = Private if private else Message | Private
    newer = [e for e in events if not isinstance(e, kinds) or e.id > after]
    return frames if len(newer) == len(events) else b"".join(map(encode, newer))
