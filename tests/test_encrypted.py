"""Doors behind TLS, in memory, and the short way of their bytes."""

from __future__ import annotations

import contextlib
import gc
import socket
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from OpenSSL import SSL
from twisted.internet.error import ConnectionDone
from twisted.internet.ssl import CertificateOptions
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import SynchronousTestCase

from pylingo import tls
from pylingo.encrypted import Direct, EncryptedDoor
from pylingo.protocol import Closing, Message, Sent, Welcome
from pylingo.server import FIRST_REQUEST
from tests.house import House, Wire, events, request
from tests.test_outbox import Pipe


class Client:
    """The encrypting side of a `Visitor`, without sockets."""

    def __init__(self, house: House, factory: TLSMemoryBIOFactory) -> None:
        context = CertificateOptions(verify=False).getContext()
        self._connection = SSL.Connection(context, None)
        self._connection.set_connect_state()
        self.house = house
        door: Any = factory.buildProtocol(None)
        self.wire = Wire(door)
        self.plain = b""
        self._taken = 0
        self.wire.door.makeConnection(self.wire)

    def pump(self, pieces: int = 1 << 20) -> None:
        """Let both sides talk until they have nothing more to say."""
        for _ in range(20):
            self._attempt(self._connection.do_handshake)
            for _ in range(1000):
                data = self._attempt(lambda: self._connection.recv(65_536))
                if not data:
                    break
                self.plain += data
            out = self._attempt(lambda: self._connection.bio_read(1 << 20))
            for start in range(0, len(out or b""), pieces):
                self.wire.arrive(out[start : start + pieces])
            self.house.settle()
            self.wire.turn()
            more = self.wire.value()[self._taken :]
            self._taken += len(more)
            if more:
                self._connection.bio_write(more)
            elif not out:
                break

    def _attempt(self, do: Any) -> Any:
        try:
            return do()
        except (SSL.WantReadError, SSL.ZeroReturnError, SSL.Error):
            return None

    def write(self, data: bytes) -> None:
        """Make a record of it, to be sent with what comes next."""
        self._connection.send(data)

    def send(self, *frames: bytes) -> None:
        self.write(b"".join(frames))
        self.pump()


class Listening:
    """An endpoint that only says what is to listen there."""

    def __init__(self, listen: Callable[[Any], None]) -> None:
        self.listen: Any = listen


class DirectTests(SynchronousTestCase):
    """Bytes for a socket that takes what it can."""

    def setUp(self) -> None:
        ours, self.peer = socket.socketpair()
        for end in ours, self.peer:
            self.addCleanup(end.close)
            end.setblocking(False)
        for option in socket.SO_SNDBUF, socket.SO_RCVBUF:
            ours.setsockopt(socket.SOL_SOCKET, option, 4096)
        self.pipe = Pipe(ours)
        self.direct = Direct(self.pipe)
        self.told: list[str] = []
        self.direct.registerProducer(cast(Any, self), True)

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")

    def stopProducing(self) -> None:
        """As every producer has it."""

    def read(self) -> bytes:
        data = b""
        with contextlib.suppress(BlockingIOError):
            while piece := self.peer.recv(1 << 20):
                data += piece
        return data

    def test_at_once(self) -> None:
        """What the socket takes does not go through the transport."""
        self.direct.write(b"one")
        self.direct.write(b"two")
        self.assertEqual((self.read(), self.pipe.writes, self.told), (b"onetwo", [], []))

    def test_rest(self) -> None:
        """What it does not take follows, in order; the producer is told to wait for that."""
        long = bytes(range(256)) * 2000
        self.direct.write(long)
        self.direct.write(b"more")
        data = b""
        for _ in range(10_000):
            if self.told[-1] == "resume":
                break
            self.pipe.turn()
            data += self.read()
        self.assertEqual(data, long + b"more")
        self.direct.write(b"then")
        self.assertEqual(self.read(), b"then")
        self.assertEqual((len(self.pipe.writes), self.told), (2, ["pause", "pause", "resume"]))

    def test_goes_on_by_itself(self) -> None:
        """A producer that TLS let go on is told again to wait, each time that it does not."""
        while not self.told:
            self.direct.write(b"x" * 1000)
        for count in (2, 3):
            self.direct.write(b"y")
            self.assertEqual(self.told, ["pause"] * count)

    def test_full(self) -> None:
        """Nothing goes into a socket that is full; who comes later to produce, waits, too."""
        self.direct.unregisterProducer()
        while self.pipe.producer is None:
            self.direct.write(b"x" * 1000)
        waiting = self.pipe.buffer
        self.direct.write(b"y")
        self.assertEqual(self.pipe.buffer, waiting + b"y")
        self.assertEqual(self.told, [])
        self.direct.registerProducer(cast(Any, self), True)
        self.assertEqual(self.told, ["pause"])

    def test_no_producer_any_more(self) -> None:
        """What it has not taken follows although nobody waits for that any more."""
        while not self.told:
            self.direct.write(b"x" * 1000)
        self.direct.unregisterProducer()
        while self.pipe.producer is not None:
            self.pipe.turn()
            self.read()
        self.direct.write(b"then")
        self.assertEqual((self.read()[-4:], self.told), (b"then", ["pause"]))

    def test_gone(self) -> None:
        """That the socket is closed is for the transport to find out."""
        self.pipe.socket.close()
        self.direct.write(b"one")
        self.assertEqual(self.pipe.buffer, b"one")


class EncryptedDoorTests(SynchronousTestCase):
    """A door behind TLS, in memory, with the clock in the test's hand."""

    def setUp(self) -> None:
        path = Path(self.mktemp())
        tls.make(path)
        options, _ = tls.serve(path)
        self.house = House()
        listening: list[Any] = []
        endpoint: Any = Listening(listening.append)
        EncryptedDoor(options, endpoint).listen(self.house.factory)
        (self.factory,) = listening

    def client(self) -> Client:
        return Client(self.house, self.factory)

    def test_talk(self) -> None:
        """What is said is understood, and is nowhere to be seen on the wire."""
        ana, ben = self.client(), self.house.visitor("ben", "lobby")
        ana.pump()
        ana.send(request("name", "ana", 1), request("join", "lobby", 2))
        ana.send(request("say", "the treasure is under the oak", 3))
        heard: list[Any] = list(events(ana.plain))
        self.assertIsInstance(heard[0], Welcome)
        self.assertIsInstance(heard[-1], Sent)
        self.assertIsInstance(ben.hear()[-1], Message)
        ben.ask("say", "which oak")
        ana.pump()
        self.assertIn(b"which oak", ana.plain)
        for secret in (b"treasure", b"which oak", b"lobby", heard[0].session.encode()):
            self.assertNotIn(secret, ana.wire.value())

    def test_gone_for_good(self) -> None:
        """Of a connection that is gone nothing is left."""
        self.addCleanup(gc.enable)
        gc.collect()
        gc.disable()
        for talks in (False, True):
            client = self.client()
            client.pump()
            if talks:
                client.send(request("name", "ana", 1), request("close", "", 2))
            (protocol,) = self.factory.protocols
            door = weakref.ref(protocol.wrappedProtocol)
            del protocol
            client.wire.lose(ConnectionDone())
            del client
            self.house.settle()
            self.assertIsNone(door(), talks)

    def test_silent_handshake(self) -> None:
        """One that has begun to talk, or not even that, is gone in 10 s; others notice nothing."""
        silent, half = self.client(), self.client()
        half.wire.arrive(b"\x16\x03\x01\x02\x00\x01\x00")
        good = self.client()
        good.pump()
        good.send(request("name", "good", 1))
        self.house.wait(FIRST_REQUEST - 2, alive=False)
        self.assertFalse(silent.wire.disconnected or half.wire.disconnected)
        good.send(request("ping", "", 2))
        self.house.wait(4, alive=False)
        self.assertTrue(silent.wire.disconnected and half.wire.disconnected)
        good.send(request("ping", "x", 3))
        self.assertEqual(events(good.plain)[-1].re, 3)

    def test_handshake_alone(self) -> None:
        """One that has shaken hands, and says nothing, is gone after 10 s as well."""
        client = self.client()
        client.pump()
        self.house.wait(FIRST_REQUEST + 2, alive=False)
        client.pump()
        self.assertTrue(client.wire.disconnected)

    def test_nonsense(self) -> None:
        """One that does not encrypt is cut off; it is no bug that would be logged as one."""
        door: Any = self.factory.buildProtocol(None)
        visitor = Wire(door)
        visitor.door.makeConnection(visitor)
        visitor.arrive(request("hello", "", 1))
        self.house.settle()
        for _ in range(5):
            visitor.turn()
        self.assertTrue(visitor.disconnecting or not visitor.connected)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_closed(self) -> None:
        """The last frame arrives before the end; a peer that stays is not waited for."""
        ana = self.client()
        ana.pump()
        ana.send(request("name", "ana", 1), request("close", "", 2))
        ana.pump()
        self.assertIsInstance(events(ana.plain)[-1], Closing)
        self.house.wait(5, alive=False)
        self.assertTrue(ana.wire.disconnected)

    def test_busy_for_nothing(self) -> None:
        """Who keeps TLS busy, and says next to nothing, waits for it as for many requests."""
        good, bad = self.client(), self.client()
        for client in (good, bad):
            client.pump()
            client.send(request("hello", "", 1))
        for _ in range(30):
            good.send(request("pong"))
        long = request("ping", "x" * 10_000, 2)
        for byte in long[:2_000]:
            bad.write(bytes([byte]))
        bad.pump(pieces=100)
        doors = [door for door in self.house.factory.doors if door.paused]
        self.assertEqual([door.transport for door in doors], [bad.wire.door])
        bad.send(long[2_000:])
        good.send(request("ping", "", 3))
        self.assertEqual([events(one.plain)[-1].re for one in (good, bad)], [3, 1])
        self.house.wait(60)
        bad.pump()
        self.assertEqual(events(bad.plain)[-1].re, 2)

    def test_busy_with_requests(self) -> None:
        """Who says as much as it sends does not, however much that is."""
        self.house.factory.burst = 1_510
        client = self.client()
        client.pump()
        for number in range(1_500):
            client.write(request("pong" if number else "hello"))
        client.pump()
        self.assertFalse(any(door.paused for door in self.house.factory.doors))

    def test_busy_and_gone(self) -> None:
        """One that goes while it has to wait for both leaves nothing behind."""
        client = self.client()
        client.pump()
        client.send(request("hello"))
        calls = len(self.house.clock.getDelayedCalls())
        client.write(request("pong") * 50)
        for byte in request("ping", "x" * 10_000)[:2_000]:
            client.write(bytes([byte]))
        client.pump()
        client.wire.lose(ConnectionDone())
        self.house.settle()
        self.assertEqual(len(self.house.clock.getDelayedCalls()), calls)

    def test_busy_without_a_rate(self) -> None:
        """Where nobody has to wait for what they ask, nobody has for that."""
        self.house.factory.rate = 0
        busy = self.client()
        busy.pump()
        busy.send(request("hello", "", 1))
        for byte in request("ping", "x" * 1_000, 2):
            busy.write(bytes([byte]))
        busy.pump()
        self.assertEqual(events(busy.plain)[-1].re, 2)

    def test_large_at_first(self) -> None:
        """The largest record, in the pieces of a network, is nothing to be cut off for."""
        client = self.client()
        client.pump()
        client.write(request("ping", "x" * (16_384 - 50), 1))
        client.pump(pieces=1_400)
        self.assertEqual(events(client.plain)[-1].re, 1)

    def test_busy_at_first(self) -> None:
        """Who has said nothing yet, and keeps TLS busy, is cut off."""
        bad = self.client()
        bad.pump()
        for byte in request("ping", "x" * 10_000, 2)[:1_100]:
            bad.write(bytes([byte]))
        bad.pump()
        self.assertTrue(bad.wire.disconnected)

    def test_idle(self) -> None:
        """An encrypted connection that falls silent is asked, and then dropped, as any other."""
        ana = self.client()
        ana.pump()
        ana.send(request("name", "ana", 1))
        self.house.wait(35, alive=False)
        ana.pump()
        self.assertIn(b'"ping"', ana.plain)
        self.house.wait(35, alive=False)
        ana.pump()
        self.assertIn(b'"idle"', ana.plain)
