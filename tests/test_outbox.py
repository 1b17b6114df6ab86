"""What waits to be sent: at the end of the turn, in order, whatever the peer takes."""

from __future__ import annotations

import contextlib
import os
import random
import socket
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from pylingo.outbox import MOST_WAITING, PIECE, Outbox, SocketOutbox, Turn
from pylingo.protocol import Closing, Event, Joined, Left, Message, Notice, Private, Sent, encode
from pylingo.rooms import Registry, Telling, User

SEED = int(os.environ.get("PYLINGO_SEED") or random.randrange(2**32))
PATIENCE = 10_000
"""Rounds after which a peer should have taken everything."""

sizes = st.lists(st.integers(1, 50_000), min_size=1, max_size=12)


def deaf(_: Sequence[Event]) -> None:
    """Hear with a fault of ours."""
    raise ValueError("as a bug would")


class Owner:
    """Whose outbox it is; counts how often it has overflowed, and ended."""

    overflows = 0

    ends = 0

    box: Outbox

    def ended(self, last: bytes, reason: str) -> None:  # noqa: ARG002
        self.ends += 1
        self.box.end(last)

    def overflowed(self) -> None:
        self.overflows += 1


class Pipe:
    """A transport on a socket, like a reactor's: with a buffer of its own, and a pull producer."""

    def __init__(self, ours: socket.socket) -> None:
        self.socket = ours
        self.producer: Any = None
        self.buffer = b""
        self.writes: list[int] = []

    def getHandle(self) -> socket.socket:
        return self.socket

    def write(self, data: bytes) -> None:
        self.writes.append(len(data))
        self.buffer += data

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert self.producer is None, "there is a producer already"
        assert not streaming
        self.producer = producer
        producer.resumeProducing()

    def unregisterProducer(self) -> None:
        self.producer = None

    def turn(self) -> None:
        """The socket takes what it can; when nothing is left, the producer is asked for more."""
        if not self.buffer:
            return
        try:
            taken = self.socket.send(self.buffer)
        except BlockingIOError:
            return
        self.buffer = self.buffer[taken:]
        if not self.buffer and self.producer is not None:
            self.producer.resumeProducing()


class TurnTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.turn = Turn(self.clock.callLater)

    def test_end(self) -> None:
        """What is put away goes out at the end of the turn, in one piece."""
        transport = StringTransport()
        box = Outbox(transport, self.turn, Owner())
        box.put(b"one")
        box.put(b"two")
        self.assertEqual(transport.value(), b"")
        self.clock.advance(0)
        self.assertEqual((transport.value(), box.size), (b"onetwo", 0))

    def test_hear(self) -> None:
        """What is heard in one turn goes out in one piece."""
        transport = StringTransport()
        box = Outbox(transport, self.turn, Owner())
        message, joined = Message(1, 0, "lobby", "ana", "hi"), Joined("lobby", "ben")
        for events in ([message], (joined,), [message]):
            box(events)
        self.assertEqual(transport.value(), b"")
        self.clock.advance(0)
        self.assertEqual(transport.value(), encode(message) + encode(joined) + encode(message))

    def test_hold(self) -> None:
        """What is kept back comes later, in order."""
        transport = StringTransport()
        box = Outbox(transport, self.turn, Owner())
        one, two, three = (Message(n, 0, "lobby", "ana", "hi") for n in (1, 2, 3))
        joined = Joined("lobby", "ben")
        box.hold()
        box([one, two])
        box((joined,))
        box([three])
        box.put(b"first")
        box.release()
        box((joined,))
        self.clock.advance(0)
        frames = map(encode, (one, two, joined, three, joined))
        self.assertEqual(transport.value(), b"first" + b"".join(frames))

    def test_hold_without_messages(self) -> None:
        """What is kept back is passed on without the messages, which are told in another way."""
        transport = StringTransport()
        box = Outbox(transport, self.turn, Owner())
        message, sent = Message(1, 0, "lobby", "ana", "hi"), Sent(2, 0, re=1)
        private = Private(3, 0, "ana", "ben", "hi")
        joined = Joined(room="lobby", user="ana")
        box.hold()
        box([message, sent, private])
        box([message])
        box((joined,))
        box.release(messages=False)
        self.clock.advance(0)
        self.assertEqual(transport.value(), encode(sent) + encode(joined))
        box([message])
        self.clock.advance(0)
        self.assertTrue(transport.value().endswith(encode(message)))

    def test_last(self) -> None:
        """The last is the last, whatever is kept back or comes after it."""
        transport, owner = StringTransport(), Owner()
        box = owner.box = Outbox(transport, self.turn, owner)
        message, bye = Message(1, 0, "lobby", "ana", "hi"), Closing(reason="bye", text="")
        box.hold()
        box([message])
        box((bye,))
        box([message])
        box((bye,))
        box.release()
        self.clock.advance(0)
        self.assertEqual((transport.value(), owner.ends), (encode(bye), 1))

    def test_once(self) -> None:
        """There is one end of the turn, however many have something to send."""
        transports = [StringTransport() for _ in range(5)]
        for transport in transports:
            box = Outbox(transport, self.turn, Owner())
            box.put(b"a")
            box.put(b"b")
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.advance(0)
        self.assertEqual([transport.value() for transport in transports], [b"ab"] * 5)

    def test_next(self) -> None:
        """What is put away afterwards goes out at the end of the next turn."""
        transport = StringTransport()
        box = Outbox(transport, self.turn, Owner())
        for text in (b"one", b"two"):
            box.put(text)
            self.clock.advance(0)
        self.assertEqual(transport.value(), b"onetwo")

    def test_inside(self) -> None:
        """So does what is put away while the turn ends."""
        transport = StringTransport()
        box = Outbox(transport, self.turn, Owner())
        box.put(b"one")
        box.drained().addCallback(lambda _: box.put(b"two"))
        self.clock.advance(0)
        self.assertEqual(transport.value(), b"onetwo")


class OutboxTests(SynchronousTestCase):
    """Through the transport's buffer."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.transport: Any = StringTransport()
        self.owner = Owner()
        self.turn = Turn(self.clock.callLater)
        self.box = Outbox(self.transport, self.turn, self.owner)

    def test_blocked(self) -> None:
        """What a peer does not take waits here, and goes when it takes it."""
        moved = self.box.moved
        self.box.put(b"one")
        self.clock.advance(0)
        self.transport.producer.pauseProducing()
        self.box.put(b"two")
        self.clock.advance(0)
        self.assertTrue(self.box.blocked)
        self.assertEqual((self.transport.value(), self.box.size), (b"one", 3))
        self.transport.producer.resumeProducing()
        self.assertFalse(self.box.blocked)
        self.assertEqual((self.transport.value(), self.box.size), (b"onetwo", 0))
        self.assertGreater(self.box.moved, moved)

    def test_blocked_in_the_turn(self) -> None:
        """What waits for the end of the turn in which the peer blocks waits on."""
        self.box.put(b"one")
        self.transport.producer.pauseProducing()
        self.clock.advance(0)
        self.assertEqual((self.transport.value(), self.box.size), (b"", 3))

    def test_drained(self) -> None:
        """It says when nothing waits; at once where that is so."""
        self.successResultOf(self.box.drained())
        self.box.put(b"one")
        drained = self.box.drained()
        self.assertNoResult(drained)
        self.clock.advance(0)
        self.successResultOf(drained)

    def test_drained_for_several(self) -> None:
        """Several may wait for that, and give up."""
        self.box.put(b"one")
        waiting = [self.box.drained() for _ in range(3)]
        waiting[1].cancel()
        self.failureResultOf(waiting[1], CancelledError)
        self.clock.advance(0)
        for drained in waiting[::2]:
            self.successResultOf(drained)

    def test_holds(self) -> None:
        """It knows how much is kept back."""
        event = Notice(text="x" * 1_000)
        self.assertEqual(self.box.holds, 0)
        self.box.hold()
        for _ in range(3):
            self.box((event,))
        self.assertEqual(self.box.holds, 3 * len(encode(event)))
        self.box.release()
        self.assertEqual(self.box.holds, 0)

    def test_not_overtaken(self) -> None:
        """What waits for the end of the turn is not overtaken, whatever is kept back meanwhile."""
        self.box.put(b"one")
        self.box.hold()
        self.box.release()
        self.assertFalse(self.box.empty)

    def test_one_breaks(self) -> None:
        """A bug in the sending to one is noted, and no trouble of the others."""
        broken = Outbox(StringTransport(), self.turn, self.owner)
        last = Outbox(StringTransport(), self.turn, self.owner)
        for box in (broken, last):
            box.put(b"one")
        self.patch(broken.transport, "write", None)
        self.clock.advance(0)
        self.assertEqual(last.transport.value(), b"one")
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)

    def test_drained_blocked(self) -> None:
        """A peer that takes nothing is waited for, although all was handed on."""
        self.transport.producer.pauseProducing()
        drained = self.box.drained()
        self.assertNoResult(drained)
        self.assertFalse(self.box.open)
        self.transport.producer.resumeProducing()
        self.successResultOf(drained)
        self.assertTrue(self.box.open)

    def test_clear(self) -> None:
        """What has not been handed on can be forgotten, and something else said instead."""
        self.transport.producer.pauseProducing()
        self.box.put(b"long story")
        self.clock.advance(0)
        self.box.clear()
        self.box.put(b"bye")
        self.transport.producer.resumeProducing()
        self.clock.advance(0)
        self.assertEqual((self.transport.value(), self.box.size), (b"bye", 0))

    def test_stopped(self) -> None:
        """When the connection is gone, what waits is forgotten."""
        self.box.put(b"one")
        self.transport.producer.stopProducing()
        self.clock.advance(0)
        self.assertEqual((self.transport.value(), self.box.size), (b"", 0))

    def test_overflow(self) -> None:
        """When more than 1 MiB waits for a peer that takes nothing, the owner hears of it."""
        self.box.put(bytes(2 * MOST_WAITING))
        self.clock.advance(0)
        self.assertEqual(self.owner.overflows, 0)
        self.transport.producer.pauseProducing()
        self.box.put(bytes(MOST_WAITING))
        self.clock.advance(0)
        self.assertEqual(self.owner.overflows, 0)
        self.box.put(b"x")
        self.clock.advance(0)
        self.assertGreater(self.owner.overflows, 0)

    def test_large(self) -> None:
        """A transport is not handed more than it takes, for it has no bound of its own."""
        taken: list[bytes] = []

        def write(data: bytes) -> None:
            taken.append(data)
            self.box.pauseProducing()

        self.patch(self.transport, "write", write)
        frame = encode(Notice(text="x" * (PIECE // 4)))
        few, many = MOST_WAITING // len(frame), MOST_WAITING // len(frame) + 6
        self.box.put(frame * few)
        self.clock.advance(0)
        self.assertEqual((taken, self.owner.overflows), ([frame * 4], 0))
        self.assertEqual(self.box.size, len(frame) * (few - 4))
        self.box.resumeProducing()
        self.assertEqual(taken[1:], [frame * 4])
        self.box.put(frame * (many - few + 8))
        self.assertEqual(self.owner.overflows, 1)
        self.assertEqual(self.box.size, len(frame) * many)

    def test_large_at_once(self) -> None:
        """One that takes all for now is not handed more in one turn than may wait."""
        frame = encode(Notice(text="x" * (PIECE // 4)))
        most = 4 * (MOST_WAITING // len(frame) // 4 + 1)
        self.box.send(frame * (most + 3))
        self.assertEqual(self.transport.value(), frame * most)
        self.clock.advance(0)
        self.assertEqual(self.transport.value(), frame * (most + 3))

    def test_kind(self) -> None:
        """Only a plain connection is sent to directly."""
        self.assertIs(type(self.box), Outbox)


class SocketOutboxTests(SynchronousTestCase):
    """Past the transport's buffer, on a real pair of sockets."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.make()

    def make(self) -> None:
        ours, self.theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(self.theirs.close)
        for end in (ours, self.theirs):
            end.setblocking(False)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.pipe = Pipe(ours)
        self.owner = Owner()
        self.turn = Turn(self.clock.callLater)
        self.box = SocketOutbox(self.pipe, self.turn, self.owner)

    def take(self, most: int = 1 << 20) -> bytes:
        """What has arrived at the other end."""
        taken = b""
        while len(taken) < most:
            try:
                data = self.theirs.recv(most - len(taken))
            except BlockingIOError:
                break
            if not data:
                break
            taken += data
        return taken

    def take_all(self, chunk: int = 1 << 20) -> bytes:
        """Everything, as the peer and the reactor take turns."""
        taken = b""
        for _ in range(PATIENCE):
            data = self.take(chunk)
            taken += data
            self.pipe.turn()
            if not data and not self.pipe.buffer and not self.box.size:
                return taken
        raise AssertionError("the outbox does not come to an end")

    def test_direct(self) -> None:
        """Where nothing waits, it goes straight to the socket."""
        self.assertIs(type(self.box), SocketOutbox)
        self.box.put(b"one")
        self.box.put(b"two")
        drained = self.box.drained()
        self.clock.advance(0)
        self.assertEqual(self.take(), b"onetwo")
        self.assertEqual((self.pipe.writes, self.pipe.producer, self.box.size), ([], None, 0))
        self.assertFalse(self.box.blocked)
        self.successResultOf(drained)

    def test_blocked(self) -> None:
        """What the socket does not take is left to the transport, until all was taken."""
        data = random.randbytes(200_000)
        for _ in range(2):
            self.box.put(data)
            drained = self.box.drained()
            self.clock.advance(0)
            self.assertTrue(self.box.blocked)
            self.assertIsNotNone(self.pipe.producer)
            self.assertTrue(0 < self.box.size < len(data))
            self.assertGreaterEqual(self.turn.high, self.box.size)
            self.assertNoResult(drained)
            self.assertEqual(self.take_all(), data)
            self.successResultOf(drained)
            self.assertEqual(
                (self.box.size, self.box.blocked, self.pipe.producer), (0, False, None)
            )
            self.assertTrue(self.box.open)

    def test_order_behind(self) -> None:
        """What is put away meanwhile comes behind what waits."""
        first, more = random.randbytes(150_000), [random.randbytes(3000) for _ in range(60)]
        self.box.put(first)
        self.clock.advance(0)
        for data in more:
            self.box.put(data)
            self.clock.advance(0)
        self.assertEqual(self.take_all(7_000), first + b"".join(more))

    def test_direct_again(self) -> None:
        """When all was taken, the next frame goes straight to the socket again."""
        self.box.put(bytes(200_000))
        self.clock.advance(0)
        self.take_all()
        self.pipe.writes.clear()
        self.box.put(b"more")
        self.clock.advance(0)
        self.assertEqual((self.take(), self.pipe.writes), (b"more", []))

    def test_pieces(self) -> None:
        """Much that waits is handed on in pieces, so that little is copied again and again."""
        self.box.put(bytes(100_000))
        self.clock.advance(0)
        for _ in range(100):
            self.box.put(bytes(10_000))
            self.clock.advance(0)
        self.assertEqual(len(self.take_all()), 1_100_000)
        self.assertLessEqual(max(self.pipe.writes[1:]), PIECE + 10_000)

    def test_moved(self) -> None:
        """It shows whether the peer takes anything."""
        self.box.put(bytes(300_000))
        self.clock.advance(0)
        before = self.box.moved
        for _ in range(3):
            self.pipe.turn()
        self.assertEqual(self.box.moved, before)
        self.take_all()
        self.assertGreater(self.box.moved, before)

    def test_size(self) -> None:
        """The size is what the peer has not taken, to a piece."""
        for _ in range(40):
            self.box.put(bytes(10_000))
            self.clock.advance(0)
        left = 400_000
        while self.box.size:
            self.assertLessEqual(abs(left - self.box.size), PIECE + 10_000)
            left -= len(self.take(20_000))
            self.pipe.turn()
        self.assertEqual(left, len(self.take()))

    def given_up(self, frames: Sequence[bytes]) -> bytes:
        """What the peer gets if the rest is forgotten: whole frames, of 5 000 bytes, and a last."""
        self.box.clear()
        self.box.put(b"bye")
        self.clock.advance(0)
        taken = self.take_all()
        self.assertTrue(taken.endswith(b"bye"))
        self.assertEqual((len(taken) - 3) % 5_000, 0)
        self.assertEqual(taken[:-3], b"".join(frames)[: len(taken) - 3])
        return taken

    def test_clear(self) -> None:
        """What was not handed on can be forgotten; what was ends with a whole frame."""
        frames = [bytes([number]) * 5_000 for number in range(100)]
        self.box.put(b"".join(frames[:40]))
        self.clock.advance(0)
        for frame in frames[40:]:
            self.box.put(frame)
        self.clock.advance(0)
        self.assertLess(len(self.given_up(frames)), 500_000)

    def test_overflow(self) -> None:
        """When more than 1 MiB waits for a peer that takes nothing, the owner hears of it."""
        for _ in range(10):
            self.box.put(bytes(100_000))
            self.clock.advance(0)
        self.assertEqual(self.owner.overflows, 0)
        self.box.put(bytes(2 * 100_000))
        self.clock.advance(0)
        self.assertGreater(self.owner.overflows, 0)

    def test_overflow_at_once(self) -> None:
        """So it does where all of it was sent in one go; the frame that was begun is whole then."""
        frames = [(4_996).to_bytes(4, "big") + bytes([n % 256]) * 4_996 for n in range(300)]
        self.box.put(b"".join(frames))
        self.clock.advance(0)
        self.assertEqual(self.owner.overflows, 1)
        self.given_up(frames)

    def test_broken(self) -> None:
        """A connection that is broken is left to the transport to find out."""
        self.theirs.close()
        self.box.put(b"one")
        self.clock.advance(0)
        self.assertTrue(self.box.blocked)
        self.assertEqual(self.pipe.buffer, b"one")
        self.pipe.producer.stopProducing()
        self.box.put(b"two")
        self.clock.advance(0)
        self.assertEqual(self.pipe.buffer, b"one")

    @settings(max_examples=40, deadline=None, database=None, print_blob=True)
    @given(sizes, st.lists(st.booleans(), min_size=1), st.integers(500, 60_000))
    def test_any(self, sizes: list[int], turns: list[bool], chunk: int) -> None:
        """Whatever is sent, and however it is taken, every byte comes once and in order."""
        self.make()
        whole = random.Random(SEED).randbytes(sum(sizes))
        start = 0
        taken = b""
        for number, size in enumerate(sizes):
            self.box.put(whole[start : start + size])
            start += size
            if turns[number % len(turns)]:
                self.clock.advance(0)
                taken += self.take(chunk)
                self.pipe.turn()
        self.clock.advance(0)
        taken += self.take_all(chunk)
        self.assertTrue(taken == whole, f"lost or out of order; PYLINGO_SEED={SEED}")


class SpreadTests(SynchronousTestCase):
    """The same for many: peers on sockets, on transports with buffers, and whoever else hears."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.turn = Turn(self.clock.callLater)
        self.registry = Registry(lambda _: None)
        self.broken: list[User] = []
        self.registry.broken = self.broken.append
        self.peers: list[socket.socket] = []
        self.pipes: list[Pipe] = []
        self.boxes: list[SocketOutbox] = []
        self.users = [self.on_socket() for _ in range(3)]
        self.group = [Message(n, 0, "lobby", "ana", "x" * 5_000) for n in range(20)]
        self.frames = b"".join(map(encode, self.group))

    def on_socket(self) -> User:
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            self.addCleanup(end.close)
            end.setblocking(False)
        pipe = Pipe(ours)
        box = SocketOutbox(pipe, self.turn, Owner())
        assert isinstance(box, SocketOutbox)
        self.peers.append(theirs)
        self.pipes.append(pipe)
        self.boxes.append(box)
        return self.registry.enter(box)

    def spread(self, users: Sequence[User], times: int = 1) -> None:
        self.turn.spread([Telling(users, self.group * times, {})])

    def taken(self, number: int) -> bytes:
        """All that one peer gets."""
        taken = b""
        for _ in range(PATIENCE):
            with contextlib.suppress(BlockingIOError):
                while data := self.peers[number].recv(1 << 20):
                    taken += data
            if not self.boxes[number].size:
                return taken
            self.pipes[number].turn()
        raise AssertionError("it does not come to an end")

    def test_all(self) -> None:
        """Everyone hears all of it, whatever they hear with, and it is counted."""
        transport = StringTransport()
        heard: list[Event] = []
        buffered = Outbox(transport, self.turn, Owner())
        users = [*self.users, self.registry.enter(buffered), self.registry.enter(heard.extend)]
        self.spread(users)
        self.assertEqual([self.taken(number) for number in range(3)], [self.frames] * 3)
        self.assertEqual((transport.value(), heard), (self.frames, self.group))
        self.assertEqual((self.turn.deliveries, self.turn.sent), (100, 4 * len(self.frames)))

    def test_counted_once(self) -> None:
        """What waits is counted when it goes, and what is let go is not counted."""
        self.boxes[0].put(b"first")
        self.boxes[1].hold()
        self.spread(self.users)
        self.users[2].hears(list(self.group))
        self.boxes[1].release()
        self.boxes[2].put(b"left")
        self.boxes[2].clear()
        self.clock.advance(0)
        taken = [self.taken(number) for number in range(3)]
        self.assertEqual(self.turn.sent, sum(map(len, taken)))

    def test_order(self) -> None:
        """Who has something waiting gets it first; for whom it is kept back, it is kept back."""
        transport = StringTransport()
        buffered = Outbox(transport, self.turn, Owner())
        for box in (self.boxes[0], buffered):
            box.put(b"first")
        self.boxes[1].hold()
        self.spread([*self.users, self.registry.enter(buffered)])
        self.clock.advance(0)
        self.assertEqual([self.taken(0), transport.value()], [b"first" + self.frames] * 2)
        self.assertEqual(self.taken(1), b"")
        self.boxes[1].release()
        self.clock.advance(0)
        self.assertEqual(self.taken(1), self.frames)

    def test_full(self) -> None:
        """What a socket does not take comes later, whole and in order; the others wait for none."""
        for _ in range(5):
            self.spread(self.users[:1])
        self.assertTrue(self.boxes[0].blocked)
        self.spread(self.users)
        self.assertEqual([self.taken(1), self.taken(2)], [self.frames] * 2)
        self.assertEqual(self.taken(0), self.frames * 6)

    def test_full_for_a_talker(self) -> None:
        """So does what one who has said some of it does not take."""
        sent = Sent(0, 0, re=7)
        self.turn.spread([Telling((), self.group * 6, {self.users[0]: {0: sent}})])
        self.assertTrue(self.boxes[0].blocked)
        first = len(encode(self.group[0]))
        self.assertEqual(self.taken(0), encode(sent) + (self.frames * 6)[first:])

    def test_gone(self) -> None:
        """Sockets that are broken are nobody else's trouble, wherever they stand in the row."""
        self.users += [self.on_socket() for _ in range(3)]
        for number in (0, 2, 3):
            self.peers[number].close()
        self.spread(self.users)
        self.assertEqual(
            [box.blocked for box in self.boxes], [True, False, True, True, False, False]
        )
        self.assertEqual([self.taken(number) for number in (1, 4, 5)], [self.frames] * 3)

    def test_fault(self) -> None:
        """Nor is a fault of ours."""
        heard: list[Event] = []
        self.pipes[0].producer = object()
        self.boxes[1].hold()
        faulty = self.registry.enter(deaf)
        self.spread([*self.users, faulty, self.registry.enter(heard.extend)], 9)
        self.assertEqual(len(self.flushLoggedErrors(AssertionError)), 1)
        self.assertEqual(self.broken, [faulty])
        self.assertEqual((self.taken(2), heard), (self.frames * 9, self.group * 9))

    def test_talkers(self) -> None:
        """Who has said some of it gets the answers in their places, or nothing if none is due."""
        heard: list[Event] = []
        talkers = [
            *self.users,
            self.registry.enter(heard.extend),
            self.registry.enter(heard.extend),
        ]
        self.boxes[1].hold()
        one, _, three = events = [Message(n, 0, "lobby", "ana", "hi") for n in (1, 2, 3)]
        sent = Sent(2, 0, re=7)
        answers: list[dict[int, Sent | None]] = [
            {1: sent}, {1: sent}, {0: None, 1: None, 2: None}, {1: sent, 0: None},
            {0: None, 1: None, 2: None},
        ]  # fmt: skip
        self.turn.spread([Telling((), events, dict(zip(talkers, answers, strict=True)))])
        stream = b"".join(map(encode, (one, sent, three)))
        self.assertEqual([self.taken(number) for number in range(3)], [stream, b"", b""])
        self.assertEqual(heard, [sent, three])
        self.boxes[1].release()
        self.clock.advance(0)
        self.assertEqual(self.taken(1), stream)
        self.assertEqual(self.turn.deliveries, 2 + 2 + 1)

    def test_shared(self) -> None:
        """What else a room hears comes at the end of the turn, in order, whatever the state."""
        self.users += [self.on_socket() for _ in range(3)]
        waiting, held, full, ended, _, _ = self.boxes
        transport = StringTransport()
        heard: list[Event] = []
        buffered = Outbox(transport, self.turn, Owner())
        users = [*self.users, self.registry.enter(buffered), self.registry.enter(heard.extend)]
        events = [Joined(room="lobby", user=f"user-{n}") for n in range(3)]
        frames = b"".join(map(encode, events))
        waiting.put(b"first")
        held.hold()
        for _ in range(5):
            self.spread([self.users[2]])
        self.assertTrue(full.blocked)
        ended.end()
        for event in events:
            self.turn.share(users, (event,))
        self.assertEqual((self.taken(0), self.taken(4)), (b"", b""))
        self.assertEqual(heard, events)
        self.clock.advance(0)
        taken = [self.taken(number) for number in range(6)]
        self.assertEqual(
            taken, [b"first" + frames, b"", self.frames * 5 + frames, b"", frames, frames]
        )
        self.assertEqual(transport.value(), frames)
        self.assertEqual(held.holds, len(frames))
        held.release()
        self.clock.advance(0)
        self.assertEqual(self.taken(1), frames)
        self.assertEqual(self.turn.sent, sum(map(len, taken)) + 2 * len(frames))

    def test_shared_fault(self) -> None:
        """Who does not hear for a fault of ours is nobody else's trouble."""
        faulty = self.registry.enter(deaf)
        event = Joined(room="lobby", user="ana")
        self.turn.share([faulty, *self.users], (event,))
        self.clock.advance(0)
        self.assertEqual(self.broken, [faulty])
        self.assertEqual([self.taken(number) for number in range(3)], [encode(event)] * 3)

    def test_who_acts(self) -> None:
        """What somebody in this process does about what is told, all others hear behind it."""
        transport = StringTransport()
        encrypted = self.registry.enter(Outbox(transport, self.turn, Owner()))
        others = [encrypted, *self.users]

        def act(_: Sequence[Event]) -> None:
            self.turn.share(others, (Left(room="lobby", user="eve", reason="kicked"),))

        joined = Joined(room="lobby", user="eve")
        users = [self.registry.enter(act), *others]
        self.turn.share(users, (joined,))
        self.clock.advance(0)
        left = encode(Left(room="lobby", user="eve", reason="kicked"))
        self.assertEqual([self.taken(0), transport.value()], [encode(joined) + left] * 2)
        transport.clear()
        self.spread(users)
        self.clock.advance(0)
        self.assertEqual(
            [self.taken(1), transport.value()],
            [encode(joined) + left + self.frames + left, self.frames + left],
        )

    def test_other_door(self) -> None:
        """A door that makes something else of an outbox is told what it hears with."""

        class Lines(Outbox):
            def __call__(self, events: Sequence[Event]) -> None:  # noqa: ARG002
                self.put(b"line")

        transport = StringTransport()
        user = self.registry.enter(Lines(transport, self.turn, Owner()))
        self.spread([user])
        self.turn.share([user], (Joined(room="lobby", user="eve"),))
        self.clock.advance(0)
        self.assertEqual(transport.value(), b"lineline")

    def test_shared_and_said(self) -> None:
        """A message of the same turn comes behind what else was heard before it."""
        event = Joined(room="lobby", user="ana")
        self.turn.share(self.users[:1], (event,))
        self.spread(self.users)
        self.clock.advance(0)
        self.assertEqual(self.taken(0), encode(event) + self.frames)
        self.assertEqual(self.taken(1), self.frames)

    def test_rooms(self) -> None:
        """Several rooms are told in one go."""
        ours, theirs = ([Message(n, 0, "x", "ana", "hi")] for n in (1, 2))
        self.turn.spread([Telling(self.users[:1], ours, {}), Telling(self.users[1:], theirs, {})])
        self.assertEqual(self.taken(0), encode(ours[0]))
        self.assertEqual([self.taken(1), self.taken(2)], [encode(theirs[0])] * 2)
