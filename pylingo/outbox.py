"""What waits to be sent to one peer.

Frames gather while the reactor handles what has come in, and go out at the end of that turn, all in
one call. Messages come in groups and go at once (`Turn.spread`). If nothing waits, frames go
straight to the socket: this saves two visits to the kernel for each write, which is most of what a
delivery costs. What the socket does not take goes to the transport, in pieces, as a pull producer;
in this way the outbox also learns that the transport took them.

This module knows of events only which one is the last, and which ones can be read from the log.
"""

from __future__ import annotations

import fcntl
import socket as sockets
import sys
import termios
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from socket import socket
from typing import Any, Protocol, TypeAlias, TypeGuard

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPullProducer, IPushProducer
from twisted.logger import Logger
from zope.interface import implementer

from pylingo.protocol import Closing, Event, Message, Private, encode
from pylingo.rooms import Telling, User, silence

PIECE = 64 * 1024
"""Bytes handed to a transport at once (and the rest of the frame that they end in)."""
MOST_WAITING = 1024 * 1024
"""Bytes that may wait for one peer."""
MOST_MADE = 128 * 1024
"""Bytes that are made ready for sockets, at least, before they are handed over."""
MOST_UNSENT = 128 * 1024
"""Bytes that the system may hold for a peer before it sends them; left to itself, megabytes."""
ACKED = 120
"""Where Linux's `tcp_info` has the bytes that a peer has acknowledged, in 8 bytes (linux/tcp.h)."""

Told: TypeAlias = tuple[Sequence[Event], bytes]
"""Events, and the frames they are."""
Hearing: TypeAlias = tuple[User, Sequence[Event], bytes]
"""The same, for one user."""

_log = Logger()


class Owner(Protocol):
    """Whose outbox it is."""

    def ended(self, last: bytes, reason: str) -> None:
        """It was told the last event, for that `reason`: `end` it with that frame."""

    def overflowed(self) -> None:
        """More than `MOST_WAITING` waits, and the peer does not take it."""


class Turn:
    """What is told in this turn of the reactor, and to whom something is to be sent at its end.

    `sent` counts the bytes handed on for peers, `deliveries` the messages told to members of rooms,
    and `high` is the most that ever waited for one peer.
    """

    def __init__(self, call_later: Callable[[float, Callable[[], None]], IDelayedCall]) -> None:
        self.sent = 0
        self.deliveries = 0
        self.high = 0
        self.outboxes: list[Outbox] = []
        self.told: Told = (), b""
        """What is being told, made into frames once, however many hear it."""
        self._call_later = call_later

    def tell(self, events: Sequence[Event]) -> None:
        """`events` are what is being told from now on."""
        self.told = events, b"".join(map(encode, events))

    def spread(self, tellings: Iterable[Telling]) -> None:
        """What was said in rooms: the most frequent thing in the whole chat.

        Much is made ready first, and then handed over in a loop without any Python in it: after
        every visit to the kernel all code is cold, so the less there is of it the better. But not
        all of it at once: that would take megabytes of new memory from the system each time.
        """
        boxes: list[SocketOutbox] = []
        datas: list[bytes] = []
        others: list[Hearing] = []
        inside: list[Hearing] = []
        size = made = 0
        for telling in tellings:
            users, events = telling.users, telling.events
            frames = [*map(encode, events)]
            data = b"".join(frames)
            made += len(data)
            # As `_direct`, without a call for each.
            ready = [
                hear
                for user in users
                if type(hear := user.hear) is SocketOutbox and hear.open and not hear.frames
            ]
            boxes += ready
            datas += [data] * len(ready)
            size += len(data) * len(ready)
            if len(ready) < len(users):
                for user in users:
                    if user.hear is not silence and not _direct(user.hear):
                        where = others if isinstance(user.hear, Outbox) else inside
                        where.append((user, events, data))
            self.deliveries += len(events) * len(users)
            for user, answers in telling.talkers.items():
                mine = frames.copy()
                for index, answer in answers.items():
                    mine[index] = b"" if answer is None else encode(answer)
                data = b"".join(mine)
                made += len(data)
                hear = user.hear
                if data and _direct(hear):
                    boxes.append(hear)
                    datas.append(data)
                    size += len(data)
                elif data:
                    where = others if isinstance(hear, Outbox) else inside
                    where.append((user, telling.stream(answers), data))
                self.deliveries += len(events) - len(answers)
                if made >= MOST_MADE:
                    self._hand_over(boxes, datas, size, others)
                    boxes, datas, others = [], [], []
                    size = made = 0
        # Who hears in this process may do something about it: after all others have heard it.
        self._hand_over(boxes, datas, size, others + inside)

    def share(self, users: Sequence[User], events: Sequence[Event]) -> None:
        """Tell users the same, with what else they hear in this turn.

        In a large room where many come and go, a call for each user would be most of the work.
        """
        self.tell(events)
        told = _, frames = self.told
        new: list[Outbox] = []
        others: list[User] = []
        for user in users:
            # As `Outbox.__call__`, without several calls for each.
            hear = user.hear
            if type(hear) is not SocketOutbox and type(hear) is not Outbox:
                others.append(user)
            elif hear.open:
                if not hear.frames:
                    new.append(hear)
                hear.frames.append(frames)
            elif hear.held is not None:
                hear.held.append(told)
            else:
                others.append(user)
        if new:
            self.note(new)
        for user in others:
            user.hears(events)

    def _hand_over(
        self,
        boxes: Sequence[SocketOutbox],
        datas: Sequence[bytes],
        size: int,
        others: Iterable[Hearing],
    ) -> None:
        """Hand each its bytes, `size` in all; and those of others."""
        self._send(boxes, datas, size)
        for user, stream, data in others:
            hear = user.hear
            if type(hear) is Outbox and hear.open and not hear.frames:
                # Such as TLS: its buffer takes all of it, and it was gathered already.
                try:
                    hear.send(data)
                except Exception:  # noqa: BLE001 - the others have something to hear, too
                    _log.failure("sending failed")
            else:
                self.told = stream, data
                user.hears(stream)

    def _send(self, boxes: Sequence[SocketOutbox], datas: Sequence[bytes], size: int) -> None:
        """Hand each its bytes, `size` in all."""
        taken: list[int] = []
        sending = map(socket.send, [box.socket for box in boxes], datas)
        while len(taken) < len(boxes):
            try:
                # What comes before an exception stays in the list.
                taken.extend(sending)
            except OSError:
                # Full; or broken, and then the transport will find out in its own way.
                taken.append(0)
        sent = sum(taken)
        self.sent += sent
        if sent < size:
            for box, data, count in zip(boxes, datas, taken, strict=True):
                if count < len(data):
                    try:
                        box.rest(data, count)
                    except Exception:  # noqa: BLE001 - the others have something to wait for, too
                        _log.failure("sending failed")

    def note(self, outboxes: Sequence[Outbox]) -> None:
        """These have something to send in this turn."""
        if not self.outboxes:
            self._call_later(0, self.end)
        self.outboxes += outboxes

    def end(self) -> None:
        """Send it all."""
        self.told = (), b""
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
        "_drained", "_ended", "_owner", "_turn", "blocked", "frames", "held", "moved", "open",
        "size", "transport",
    )  # fmt: skip

    def __init__(self, transport: Any, turn: Turn, owner: Owner) -> None:
        self.transport = transport
        self.open = True
        """Whether what the user hears can go out at the end of this turn."""
        self.frames: list[bytes] = []
        """What waits for that, or for the peer to take more."""
        self.blocked = False
        """Whether the peer, or the network, does not take any more for now."""
        self.size = 0
        """Bytes that wait for a peer that blocks, those handed on last included."""
        self.moved = 0
        """Grows whenever something was taken."""
        self._ended = False
        self.held: list[Told] | None = None
        """What is kept back, where something is."""
        self._owner = owner
        self._turn = turn
        self._drained: tuple[Deferred[None], ...] = ()
        self._attach()
        # Not every transport is TCP, and not every system can be told.
        with suppress(OSError, AttributeError):
            handle = self._handle()
            handle.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)
            handle.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NOTSENT_LOWAT, MOST_UNSENT)

    def __call__(self, events: Sequence[Event]) -> None:
        """Tell the peer of `events`: this is what the user hears with."""
        if self._ended:
            return
        turn = self._turn
        if events is not turn.told[0]:
            turn.tell(events)
        last = events[-1]
        if isinstance(last, Closing):
            self._owner.ended(turn.told[1], last.reason)
        elif self.held is not None:
            self.held.append(turn.told)
        else:
            self.put(turn.told[1])

    def hold(self) -> None:
        """Keep back what is heard from now on."""
        self.held = []
        self._reopen()

    def release(self, *, messages: bool = True) -> None:
        """Let go of what was kept back, or of all but the messages."""
        held, self.held = self.held, None
        self._reopen()
        if held:
            frames = b"".join(told[1] if messages else _others(told) for told in held)
            if frames:
                self.put(frames)

    @property
    def holds(self) -> int:
        """Bytes that are kept back, counted each time one asks."""
        return sum(len(frames) for _, frames in self.held or ())

    def end(self, last: bytes = b"") -> None:
        """Hear nothing more; what waits is still sent, and then the `last` frame."""
        self._ended = True
        self.held = None
        self._reopen()
        if last:
            self.put(last)

    def lost(self) -> None:
        """The connection is gone: let go of all that would keep it, and what waits in it, for long.

        Such circles are garbage that is found late, and there may be much in each.
        """
        self.end()
        self.clear()
        self._drained = ()
        del self._owner  # It is told nothing any more, for nothing is put in here now.
        with suppress(RuntimeError):  # Some transports mind if there is no producer any more.
            self.finish()

    @property
    def empty(self) -> bool:
        """Whether nothing waits, or is kept back."""
        return self.open and not self.frames

    def _reopen(self) -> None:
        self.open = not (self._ended or self.blocked or self.held is not None)

    def put(self, frames: bytes) -> None:
        """Send `frames` at the end of this turn, or when the peer takes more."""
        waiting = self.frames
        if self.blocked:
            waiting.append(frames)
            self.size = size = self.size + len(frames)
            if size > self._turn.high:
                self._turn.high = size
            if size > MOST_WAITING:
                self._owner.overflowed()
            return
        if not waiting:
            self._turn.note((self,))
        waiting.append(frames)

    def send(self, frames: bytes) -> None:
        """Send `frames` now; nothing waits ahead of them."""
        # In pieces: a transport's own buffer has no bound, and what is in it does not come back.
        start, size = 0, len(frames)
        while start < min(size, MOST_WAITING) and not self.blocked:
            end = size if size - start <= PIECE else _whole(frames, start + PIECE, start)
            self._turn.sent += end - start
            self.transport.write(frames[start:end])
            start = end
        if start < size:
            self.put(frames[start:])

    def clear(self) -> None:
        """Forget what has not been handed on; what has been ends with a whole frame."""
        if self.blocked:
            self.size -= sum(map(len, self.frames))
        self.frames.clear()

    def flush(self) -> None:
        """Send what waits, as far as it can be sent now."""
        frames = self.frames
        if not frames or self.blocked:
            return
        data = b"".join(frames)
        frames.clear()
        self.send(data)
        if self._drained:
            self._announce()

    def drained(self) -> Deferred[None]:
        """Fires when nothing waits any more."""
        drained: Deferred[None] = Deferred()
        self._drained += (drained,)
        self._announce()
        return drained

    def unsent(self) -> int:
        """Bytes that the system has taken for the peer and that the peer has not; 0 if unknown."""
        try:
            waiting = fcntl.ioctl(self._handle(), termios.TIOCOUTQ, bytes(4))
        except (OSError, AttributeError, TypeError, ValueError):
            return 0
        return int.from_bytes(waiting, sys.byteorder)

    def progress(self) -> tuple[int, int]:
        """It changes whenever the peer has taken something, so far as the system tells."""
        if sys.platform == "linux":
            with suppress(OSError, AttributeError, TypeError, ValueError):
                info = self._handle().getsockopt(sockets.IPPROTO_TCP, sockets.TCP_INFO, ACKED + 8)
                if acked := info[ACKED:]:
                    return int.from_bytes(acked, sys.byteorder), 0
        return self.moved, self.unsent()

    def finish(self) -> None:
        """Nothing more comes; a transport would wait for its producer before it closes."""
        self.transport.unregisterProducer()

    def pauseProducing(self) -> None:
        self.blocked = True
        self.open = False
        self.size = sum(map(len, self.frames))

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

    def _handle(self) -> Any:
        # TLS is a transport on a transport.
        return getattr(self.transport, "transport", self.transport).getHandle()

    def _announce(self) -> None:
        if not self.frames and not self.blocked:
            waiting, self._drained = self._drained, ()
            for drained in waiting:
                drained.callback(None)


@implementer(IPullProducer)
class SocketOutbox(Outbox):
    """Frames for a plain TCP transport, past its buffer where that is empty."""

    __slots__ = ("_handed", "socket")

    def _attach(self) -> None:
        self.socket: socket = self.transport.getHandle()
        self._handed = 0

    def finish(self) -> None:
        """There is a producer only while something waits."""

    def send(self, frames: bytes) -> None:
        try:
            sent = self.socket.send(frames)
        except OSError:
            # Full; or broken, and then the transport will find out in its own way.
            sent = 0
        self._turn.sent += sent
        if sent != len(frames):
            self.rest(frames, sent)

    def rest(self, frames: bytes, sent: int) -> None:
        """Leave to the transport what the socket did not take."""
        self.blocked = True
        self.open = False
        end = len(frames)
        if end - sent > MOST_WAITING:
            # First the frame that was cut, alone: whatever comes of the rest, it has to be whole.
            end = _whole(frames, sent)
        self.frames.append(frames[sent:end])
        self.size = end - sent
        self._turn.high = max(self._turn.high, self.size)
        # This asks for the first piece at once, and for the next when that was taken.
        self.transport.registerProducer(self, False)
        if end < len(frames):
            self.put(frames[end:])

    def resumeProducing(self) -> None:
        self.moved += 1
        self.size -= self._handed
        self._handed = 0
        if not self.frames:
            self.blocked = False
            self._reopen()
            self.transport.unregisterProducer()
            self._announce()
            return
        size = count = 0
        for frame in self.frames:
            count += 1
            size += len(frame)
            if size >= PIECE:
                break
        piece = b"".join(self.frames[:count])
        del self.frames[:count]
        self._handed = size
        self._turn.sent += size
        self.transport.write(piece)


def _direct(hear: object) -> TypeGuard[SocketOutbox]:
    """Whether it is a socket, and nothing waits ahead of it."""
    return type(hear) is SocketOutbox and hear.open and not hear.frames


def _whole(frames: bytes, place: int, end: int = 0) -> int:
    """Where the frame ends that has the byte at `place`; an earlier one ends at `end`."""
    while end <= place:
        end += 4 + int.from_bytes(frames[end : end + 4], "big")
    return end


def _others(told: Told) -> bytes:
    """The frames of what was told, but for messages."""
    events, frames = told
    others = [event for event in events if not isinstance(event, Message | Private)]
    return frames if len(others) == len(events) else b"".join(map(encode, others))
