"""What one client can take from the others: time, memory, connections, attention.

`BoundTests` of the server's own tests has those that have to do with what else a connection does;
here are the edges of each bound, and slow readers on real sockets, with the clock in the test's
hand.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import socket
import ssl
import struct
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IReactorTime, IStreamServerEndpoint
from twisted.internet.task import LoopingCall, deferLater
from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase

from pylingo import server, tls
from pylingo.connection import SILENCE
from pylingo.encrypted import EncryptedDoor
from pylingo.outbox import MOST_UNSENT, MOST_WAITING, Outbox
from pylingo.protocol import (
    Closing,
    Error,
    Joined,
    Message,
    Ping,
    Pong,
    Private,
    Renamed,
    Resumed,
    Sent,
    Welcome,
)
from pylingo.rules import Sanction
from pylingo.server import (
    BURST,
    DEAD,
    FIRST_REQUEST,
    LAST_FRAME,
    MOST_REFUSED,
    QUIET,
    RATE,
    STALLED,
)
from tests.house import (
    HERE,
    THERE,
    DoorTestCase,
    House,
    Visitor,
    cheapen,
    codes,
    events,
    request,
    texts,
)


def rested(house: House, *visitors: Visitor) -> None:
    """Let those have their whole burst again."""
    for _ in range(3):
        house.wait(BURST / RATE)
    for visitor in visitors:
        visitor.hear()


class TalkerTests(SynchronousTestCase):
    """Those who talk too fast are read at the rate; nothing is lost, and nobody else notices."""

    def setUp(self) -> None:
        cheapen(self)
        self.house = House()

    def test_paste(self) -> None:
        """A pasted block of 30 lines passes at once."""
        ana, ben = self.house.visitor("ana", "lobby"), self.house.visitor("ben", "lobby")
        rested(self.house, ana, ben)
        ana.send(*[request("say", f"line {n}", n) for n in range(30)])
        self.assertEqual(texts(ben.hear()), [f"line {n}" for n in range(30)])
        self.assertEqual([event.re for event in ana.hear()], list(range(30)))

    def test_flood(self) -> None:
        """Ten thousand requests are read at the rate, in order, each answered once."""
        ana, ben = self.house.visitor("ana", "lobby"), self.house.visitor("ben", "lobby")
        rested(self.house, ana, ben)
        ana.wire.arrive(b"".join(request("say", str(n), n) for n in range(10_000)))
        self.house.settle()
        seen: list[str] = []
        replies: list[Any] = []
        for _ in range(10):
            self.house.wait(20)
            told = texts(ben.hear())
            self.assertTrue(20 * RATE - 10 <= len(told) <= BURST + 20 * RATE + 10, len(told))
            seen += told
            replies += [event.re for event in ana.hear() if event.re is not None]
        self.assertEqual(seen, [str(n) for n in range(len(seen))])
        self.assertEqual(replies, list(range(len(seen))))
        self.assertFalse(ana.closed)

    def test_others_notice_nothing(self) -> None:
        """Whoever does not flood is answered at once, in the same room and with the same name."""
        ana, ben = self.house.visitor("ana", "lobby"), self.house.visitor("ben", "lobby")
        rested(self.house, ana, ben)
        ana.wire.arrive(b"".join(request("ping", "x", n) for n in range(5_000)))
        self.house.settle()
        for number in range(30):
            self.assertIsInstance(ben.ask("ping", str(number)), Pong)
        self.assertIsInstance(ben.ask("say", "hi"), Sent)

    def test_rest(self) -> None:
        """Who was quiet for a while may say as much at once as at first, and no more."""
        ana = self.house.visitor("ana")
        for _ in range(3):
            rested(self.house, ana)
            self.house.wait(100)
            ana.send(*[request("ping", "", n) for n in range(100)])
            self.assertTrue(BURST <= len(ana.hear()) <= BURST + 2)
            self.house.wait(30)
            ana.hear()

    def test_costly(self) -> None:
        """What takes more work costs more of the burst."""
        for command, body in (
            ("list", ""), ("users", ""), ("history", ""), ("login", "nobody x"),
            ("resume", f"{'x' * 32} 0"), ("register", "x"), ("enter", "x"), ("password", "x"),
            ("lock", "x"),
        ):  # fmt: skip
            self.house = House()
            ana = self.house.visitor("ana", "lobby")
            rested(self.house, ana)
            ana.send(*[request(command, body, n) for n in range(int(BURST))])
            answered = len([event for event in ana.hear() if event.re is not None])
            self.assertTrue(5 <= answered <= BURST / 2, f"{command}: {answered}")

    def test_resuming_is_no_rest(self) -> None:
        """Who comes back on another connection goes on with what was used up on the last."""
        ana, ben = self.house.visitor("ana", "lobby"), self.house.visitor("ben", "lobby")
        token, said = ana.ask("hello").session, 0
        rested(self.house, ana, ben)
        for _ in range(20):
            ana.send(*[request("say", f"{said} {n}") for n in range(100)])
            said += len(texts(ben.hear()))
            ana.drop()
            ana = self.house.visitor()
            token = ana.ask("resume", f"{token} 0").session
        self.assertTrue(BURST <= said <= BURST + 40, said)

    def test_not_only_messages(self) -> None:
        """Everything that is read counts, also what is refused and what has no answer."""
        for frame in (
            request("nonsense", "", 1), request("pong"), request("say", ""), b"\0\0\0\2{}",
            request("name", "ana"), request("hello"),
        ):  # fmt: skip
            self.house = House()
            ana = self.house.visitor("ana")
            rested(self.house, ana)
            ana.send(frame * 200, request("ping", "last", "last"))
            self.assertIsNone(ana.reply("last"), frame)
            self.house.wait(60, alive=False)
            self.assertEqual(ana.reply("last").body, "last", frame)

    def test_slow_rate_is_not_idle(self) -> None:
        """One that waits to be read, for longer than one may be silent, is not dropped."""
        self.house = House(rate=0.02, burst=1)
        ana = self.house.visitor()
        ana.wire.arrive(b"".join(request("ping", "", n) for n in range(4)))
        self.house.wait(160, alive=False)
        self.assertFalse(ana.closed)
        self.assertEqual([e.re for e in ana.hear() if isinstance(e, Pong)], list(range(4)))

    def test_dead_while_it_waits_to_be_read(self) -> None:
        """One that takes nothing meanwhile, not even a ping, is gone after a minute."""
        for dead in (False, True):
            self.house = House()
            ana = self.house.visitor()
            waits = {False: 0, True: 100}[dead]
            self.patch(Outbox, "unsent", lambda _, waits=waits: waits)
            ana.wire.arrive(request("pong") * 1000)
            self.house.wait(QUIET + STALLED + 2, alive=False)
            heard = ana.hear()
            self.assertIn(Ping(), heard)
            reasons = [event.reason for event in heard if isinstance(event, Closing)]
            self.assertEqual(reasons, ["slow"] * dead)

    def test_taking_while_it_waits_to_be_read(self) -> None:
        """One that takes all it gets is not, if as much is on its way whenever one looks."""
        taken = itertools.count()
        self.patch(Outbox, "unsent", lambda _: 70)
        self.patch(Outbox, "progress", lambda _: (next(taken), 0))
        ana = self.house.visitor()
        ana.wire.arrive(request("pong") * 1000)
        self.house.wait(QUIET + STALLED + 2, alive=False)
        self.assertFalse(ana.closed)

    def test_waiting_to_be_read_again(self) -> None:
        """When it takes something again, its time to do so begins anew."""
        waits = [70]
        self.patch(Outbox, "unsent", lambda _: waits[0])
        ana = self.house.visitor()
        ana.wire.arrive(request("pong") * 1000)
        for seconds, waits[0] in ((2, 70), (2, 0), (STALLED - 2, 70)):
            self.house.wait(seconds, alive=False)
        self.assertFalse(ana.closed)

    def test_on_its_way(self) -> None:
        """One that is read is not too slow for what is on its way to it, however long."""
        self.patch(Outbox, "unsent", lambda _: 70)
        ana = self.house.visitor("ana")
        self.house.wait(STALLED + 5, alive=False)
        self.assertFalse(ana.closed)

    def test_options(self) -> None:
        """Rate and burst are as they were set."""
        self.house = House(rate=1, burst=5)
        ana = Visitor(self.house)
        ana.send(*[request("ping", "", n) for n in range(50)])
        self.assertIn(len([e for e in ana.hear() if isinstance(e, Pong)]), (5, 6))
        self.house.wait(10, alive=False)
        self.assertIn(len([e for e in ana.hear() if isinstance(e, Pong)]), (9, 10, 11))

    def test_clock_set_back(self) -> None:
        """A clock that is set back is nobody's debt."""
        ana = self.house.visitor("ana")
        self.house.ahead = -3600
        for number in range(10):
            self.assertIsInstance(ana.ask("ping", f"{number}"), Pong)

    def test_each_by_itself(self) -> None:
        """Two connections from one address have a burst each."""
        for _ in range(5):
            visitor = self.house.visitor(host=HERE)
            visitor.send(*[request("ping", "", n) for n in range(30)])
            pongs = [event for event in visitor.hear() if isinstance(event, Pong)]
            self.assertEqual(len(pongs), 30)


class SilenceTests(SynchronousTestCase):
    """Dead links, and those that only look alive."""

    def setUp(self) -> None:
        self.house = House()

    def gone_after(self, visitor: Visitor, drip: bytes = b"", most: int = 100) -> int:
        """Let seconds pass, a byte of `drip` in each, until the connection is gone."""
        for second in range(most):
            if visitor.closed or visitor.wire.disconnected:
                return second
            if second < len(drip):
                visitor.wire.arrive(drip[second : second + 1])
            self.house.wait(1, alive=False)
        raise AssertionError(f"it is still there after {most} s")

    def test_pause(self) -> None:
        """A time in which nothing could be heard, as in a machine's sleep, is nobody's silence."""
        ana, ben = self.house.visitor("ana", "tea"), self.house.visitor("ben", "tea")
        ben.drop()
        cem = self.house.visitor("cem", "tea")
        cem.stall()
        self.house.wait(5)
        new = self.house.visitor()
        self.house.clock.advance(7200)
        self.house.wait(5, alive=False)
        self.assertFalse(ana.closed or cem.closed or new.closed)
        self.assertIn("ben", ana.ask("users").users)
        self.house.wait(QUIET + 2, alive=False)
        self.assertIn(Ping(), ana.hear())
        self.house.wait(DEAD, alive=False)
        self.assertTrue(ana.closed)

    def test_after_a_pause(self) -> None:
        """What happens first after such a time lasts no longer for that."""
        self.house = House(linger=5)
        ana, ben = self.house.visitor("ana"), self.house.visitor("ben")
        self.house.clock.rightNow += 8 * 3600
        ana.wire.lose(ConnectionLost())
        new = Visitor(self.house)
        self.house.wait(2, alive=False)
        ben.drop()
        self.house.wait(7, alive=False)
        self.assertEqual(self.house.registry.lingering, {})
        self.assertLessEqual(self.gone_after(new), 3)

    def test_sign_of_life(self) -> None:
        """Who has to wait for long gets signs of life more often than a client waits for one."""
        ana = self.house.visitor("ana")
        self.house.reads.hold()
        ana.begin("join", "tea")
        heard = []
        for second in range(60):
            self.house.wait(1, alive=False)
            heard += [second] * (Ping() in ana.hear())
        silent = [later - before for before, later in itertools.pairwise([0, *heard, 60])]
        self.assertLess(max(silent), SILENCE / 2)

    def test_after_waiting(self) -> None:
        """One that had to wait, and is silent after that, is gone after a minute as any other."""
        ana = self.house.visitor("ana")
        self.house.reads.hold()
        ana.begin("join", "tea")
        self.house.wait(3, alive=False)
        self.house.reads.release()
        self.assertLessEqual(self.gone_after(ana), DEAD + 2)

    def test_last_frame_of_the_silent(self) -> None:
        """One that was silent for that long is not waited for any more."""
        ana = self.house.visitor("ana")
        self.patch(ana.wire, "loseConnection", lambda: None)
        self.assertLessEqual(self.gone_after(ana), DEAD + 2)

    def test_bug_beside(self) -> None:
        """A bug in what else is done with each look does not keep the silent."""
        self.patch(self.house.sessions, "refresh", lambda: 1 / 0)
        self.assertLessEqual(self.gone_after(Visitor(self.house)), FIRST_REQUEST + 2)
        self.assertNotEqual(self.flushLoggedErrors(ZeroDivisionError), [])

    def test_ping(self) -> None:
        """Asked after 30 s, once; closed with a reason after 60 s."""
        ana = self.house.visitor("ana")
        heard: dict[int, list[Any]] = {}
        for second in range(1, int(DEAD) + 3):
            self.house.wait(1, alive=False)
            if not ana.closed and (told := ana.hear()):
                heard[second] = told
            elif ana.closed and ana.wire.value():
                heard[second] = events(ana.wire.value())
                break
        first, last = heard
        self.assertEqual([type(event) for event in heard[first]], [Ping])
        self.assertEqual([event.reason for event in heard[last]], ["idle"])
        self.assertTrue(QUIET <= first <= QUIET + 2, first)
        self.assertTrue(DEAD <= last <= DEAD + 2, last)

    def test_length_alone(self) -> None:
        """A length without its bytes is no sign of life."""
        ana = self.house.visitor("ana")
        ana.send((16_000).to_bytes(4, "big"))
        self.assertTrue(DEAD - 1 <= self.gone_after(ana) <= DEAD + LAST_FRAME + 2)

    def test_drip(self) -> None:
        """Nor is a byte a second, nor a frame that needs more than a minute."""
        ana = self.house.visitor("ana")
        drip = request("say", "x" * 200)
        self.assertTrue(DEAD - 1 <= self.gone_after(ana, drip) <= DEAD + LAST_FRAME + 2)

    def test_slow_but_whole(self) -> None:
        """Frames that come slowly, but whole within the minute, are."""
        ana = self.house.visitor("ana")
        for number in range(4):
            for byte in request("ping", str(number), number):
                ana.wire.arrive(bytes([byte]))
                self.house.wait(1, alive=False)
            self.assertFalse(ana.closed)
        pongs = [event.body for event in ana.hear() if isinstance(event, Pong)]
        self.assertEqual(pongs, ["0", "1", "2", "3"])

    def test_any_answer(self) -> None:
        """Whatever whole frame comes is a sign of life, also one that is refused."""
        ana = self.house.visitor("ana")
        for frame in (request("nonsense"), b"\0\0\0\2{}", request("ping"), request("pong")):
            self.house.wait(DEAD - 5, alive=False)
            ana.send(frame)
        self.assertFalse(ana.closed)

    def test_vanished(self) -> None:
        """A peer that has vanished, and takes nothing any more, is let go all the same."""
        ana = self.house.visitor("ana", "lobby")
        ana.stall()
        self.assertLessEqual(self.gone_after(ana), DEAD + LAST_FRAME + 2)
        self.house.wait(70)
        self.assertEqual(self.house.registry.users, {})
        self.assertEqual(len(self.house.factory.doors), 0)


class FullTests(SynchronousTestCase):
    """Connections in all, and from one address."""

    def test_zero(self) -> None:
        """0 is no bound."""
        house = House(most_users=0, most_per_host=0)
        crowd = [house.visitor(host=HERE) for _ in range(300)]
        for visitor in crowd:
            visitor.send(request("hello"))
        self.assertEqual({tuple(codes(visitor.heard)) for visitor in crowd}, {()})

    def test_in_all(self) -> None:
        """The bound is on connections, whoever they are from; one that goes makes room for one."""
        house = House(most_users=5)
        crowd = [house.visitor(host=f"192.0.2.{n}") for n in range(7)]
        self.assertEqual({visitor.wire.value() for visitor in crowd}, {b""})
        for visitor in crowd:
            visitor.send(request("hello", "", 1))
        full = [codes(visitor.heard) for visitor in crowd]
        self.assertEqual(full, [[]] * 5 + [["server_full"]] * 2)
        self.assertEqual([visitor.closed for visitor in crowd], [False] * 5 + [True] * 2)
        error = crowd[5].heard[-1]
        assert isinstance(error, Error)
        self.assertEqual((error.fatal, error.re), (True, 1))
        self.assertEqual(len(house.registry.users), 5)
        for _ in range(3):
            crowd.pop(0).drop()
            crowd.insert(4, house.visitor())
            self.assertIsInstance(crowd[4].ask("hello"), Welcome)
            self.assertIsNone(_welcome(house.visitor()))

    def test_surplus_is_short(self) -> None:
        """One past the bound that says nothing has its end, after the time for the first word."""
        house = House(most_users=1)
        ana, silent = house.visitor("ana"), Visitor(house)
        silent.wire.door.plain = True  # As on a socket.
        house.wait(FIRST_REQUEST + 2)
        # In good order: a peer that reads finds an end, and no error.
        self.assertTrue(silent.closed)
        self.assertFalse(silent.wire.disconnected)
        self.assertFalse(ana.closed)

    def test_surplus_is_bounded(self) -> None:
        """Of a flood, those that are told so are bounded; the rest is cut off with nothing."""
        house = House(most_users=1)
        ana = house.visitor("ana")
        flood = [Visitor(house) for _ in range(MOST_REFUSED + 50)]
        gone = [visitor for visitor in flood if visitor.wire.disconnected]
        self.assertEqual(len(gone), 50)
        house.settle()
        self.assertEqual({visitor.wire.value() for visitor in flood}, {b""})
        self.assertLessEqual(len(house.factory.doors), MOST_REFUSED + 51)
        for visitor in gone:
            visitor.drop()
        house.wait(FIRST_REQUEST + 2)
        for visitor in flood:
            if visitor not in gone:
                visitor.drop()
        self.assertEqual(len(house.factory.doors), 1)
        ana.drop()
        self.assertIsInstance(house.visitor().ask("hello"), Welcome)

    def test_per_host(self) -> None:
        """A crowd from one address does not fill the server for another; one goes, one comes."""
        house = House(most_users=6, most_per_host=3)
        crowd = [house.visitor(host=HERE) for _ in range(10)]
        for visitor in crowd:
            visitor.send(request("hello"))
        full = [codes(visitor.heard) for visitor in crowd]
        self.assertEqual(full, [[]] * 3 + [["server_full"]] * 7)
        for _ in range(3):
            self.assertIsInstance(house.visitor(host=THERE).ask("hello"), Welcome)
        crowd[0].drop()
        self.assertIsInstance(house.visitor(host=HERE).ask("hello"), Welcome)
        self.assertIsNone(_welcome(house.visitor(host=HERE)))

    def test_one_address(self) -> None:
        """An address of IPv4 is the same at a door for IPv6."""
        house = House(most_per_host=2)
        for host in (HERE, f"::ffff:{HERE}"):
            self.assertIsInstance(house.visitor(host=host).ask("hello"), Welcome)
        self.assertIsNone(_welcome(house.visitor(host=f"::ffff:{HERE}")))
        self.assertIsInstance(house.visitor(host="::1").ask("hello"), Welcome)

    def test_no_address(self) -> None:
        """Peers without an address, at doors within the machine, are not one and the same."""
        house = House(most_per_host=2)
        for _ in range(4):
            self.assertIsInstance(house.visitor().ask("hello"), Welcome)

    def test_comes_back(self) -> None:
        """A cycle of connecting, talking and dropping leaves the server as it was."""
        house = House(most_users=3, most_per_host=2, linger=0)
        for number in range(200):
            visitor = house.visitor(f"u{number}", "lobby", host=HERE)
            self.assertIsInstance(visitor.ask("say", "hi"), Sent)
            visitor.drop()
            house.visitors.clear()
            house.wait(1)
        house.wait(5)
        self.assertEqual((house.registry.users, house.registry.rooms), ({}, {}))
        self.assertEqual((len(house.factory.doors), house.factory._hosts), (0, {}))

    def test_lingering(self) -> None:
        """Of those without a connection there is a bound; the oldest goes first."""
        self.patch(server, "MOST_LINGERING", 3)
        house = House()
        for number in range(5):
            house.visitor(f"u{number}", "lobby").drop()
        house.wait(2)
        self.assertEqual(list(house.registry.users), ["u2", "u3", "u4"])
        back = house.visitor()
        self.assertIsInstance(back.ask("name", "u0"), Renamed)


def _welcome(visitor: Visitor) -> Any:
    visitor.send(request("hello"))
    return visitor.welcome


class ReaderTests(TestCase):
    """Slow readers on real sockets, whose buffers are small, with the clock in the test's hand."""

    timeout = 60

    def setUp(self) -> None:
        self.house = House()
        time = IReactorTime(reactor)
        self.delay: Callable[[float], Deferred[Any]] = lambda s: deferLater(time, s)
        endpoint = self.around(TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"))
        self.port: Any = self.successResultOf(endpoint.listen(self.house.factory))
        pump = LoopingCall(self.house.settle)
        pump.start(0.002)
        self.addCleanup(self.port.stopListening)
        self.addCleanup(self.gone)
        self.addCleanup(pump.stop)
        self.talker, _ = self.house.user("talker", "lobby")

    def around(self, endpoint: IStreamServerEndpoint) -> IStreamServerEndpoint:
        """The door as it is, or with something around it."""
        return endpoint

    async def inside(self, peer: socket.socket) -> socket.socket:
        """A new connection as a client uses it."""
        return peer

    async def gone(self) -> None:
        """Wait until no connection is left."""
        for door in self.doors:
            door.transport.abortConnection()
        await self.until(lambda: not self.doors)

    @property
    def doors(self) -> list[server.ChatProtocol]:
        """The connections on real sockets."""
        memory = [visitor.wire.door for visitor in self.house.visitors]
        return [door for door in self.house.factory.doors if door not in memory]

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for it, as long as the test may last."""
        while not condition():
            await self.delay(0.005)

    async def reader(self, name: str) -> socket.socket:
        """One in the room, who takes only what is read by the test."""
        peer = socket.socket()
        self.addCleanup(peer.close)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.connect(("127.0.0.1", self.port.getHost().port))
        peer.setblocking(False)
        peer = await self.inside(peer)
        peer.send(request("name", name) + request("join", "lobby"))
        await self.until(lambda: name in self.house.registry.rooms["lobby"].shown())
        # The server's side, too, holds little, so that it does not take long to fill.
        for door in self.doors:
            door.transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        return peer

    async def fill(self, bytes: int) -> None:
        """Say that much in the room, a little at a time."""
        for number in range(bytes // 8000 + 1):
            self.talker.say("x" * 8000)
            if number % 4 == 3:
                self.house.settle()
                await self.delay(0)
        self.house.settle()

    async def still(self) -> None:
        """Wait until the system has moved all that it can between the sockets."""
        before, now = [-1], [0]
        while before != now:
            await self.delay(0.5)
            before, now = now, [door.outbox.unsent() for door in self.doors]

    async def pass_by(self, seconds: int, each: Callable[[], object] | None = None) -> None:
        """Let time pass, second by second."""
        for _ in range(seconds):
            self.house.clock.advance(1.0)
            await self.delay(0.003)
            if each is not None:
                each()
                await self.delay(0.003)

    def take(self, peer: socket.socket, most: int) -> bytes:
        """Read what is there, of that many bytes."""
        data = b""
        while len(data) < most:
            try:
                piece = peer.recv(most - len(data))
            except (BlockingIOError, ssl.SSLWantReadError):
                break
            if not piece:
                break
            data += piece
        return data

    async def read(
        self, peer: socket.socket, whole: Callable[[bytes], object], data: bytes = b""
    ) -> bytes:
        """Read on from `data`, until all of it is as it should be."""
        # With a small one, now and then the rest goes by the kernel's timer: 2 KiB each 200 ms.
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 18)
        while not whole(data):
            data += self.take(peer, 1 << 16)
            await self.delay(0)
        return data

    async def test_stalled(self) -> None:
        """One that takes nothing is gone after 30 s; those who read have heard all of it."""
        good = self.house.visitor("good", "lobby")
        await self.reader("deaf")
        await self.fill(300_000)
        self.assertEqual(len(texts(good.hear())), 38)
        await self.still()
        await self.pass_by(int(STALLED) - 3, lambda: good.send(request("pong")))
        self.assertEqual(self.house.factory.slow, 0)
        await self.pass_by(20, lambda: good.send(request("pong")))
        self.assertEqual(self.house.factory.slow, 1)
        await self.until(lambda: not self.doors)

    async def test_last_words(self) -> None:
        """What ends a connection can be read though one sends more; then one may go oneself."""
        peer = await self.reader("ana")
        peer.send(b"\0\0\0\1{" + request("say", "dropped"))
        await self.read(peer, lambda data: b'"bad_frame"' in data)
        if self.doors[0].plain:
            peer.setblocking(True)
            self.assertEqual(peer.recv(1), b"")
            self.assertEqual(len(self.doors), 1)
        peer.close()
        await self.until(lambda: not self.doors)

    async def test_said_all(self) -> None:
        """Who has shut its side, and has all answers, is not waited for."""
        peer = await self.reader("ana")
        peer.shutdown(socket.SHUT_WR)
        await self.until(lambda: not self.doors)

    async def test_gone_for_good(self) -> None:
        """Of a connection that is gone nothing is left, nor of what waited for it."""
        self.addCleanup(gc.enable)
        gc.collect()
        gc.disable()
        for ending in ("reset", "slow"):
            peer = await self.reader("deaf")
            await self.fill(300_000)
            if ending == "slow":
                await self.fill(MOST_WAITING)
                self.assertEqual(self.house.factory.slow, 1)
            door = weakref.ref(self.doors[0])
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer.close()
            await self.until(lambda: not self.doors)
            await self.delay(0)
            self.assertIsNone(door(), ending)
            await self.pass_by(70)

    async def test_no_delay(self) -> None:
        """However little is said, the system does not wait for more of it."""
        await self.reader("ana")
        self.assertTrue(all(door.transport.getTcpNoDelay() for door in self.doors))

    async def test_unsent(self) -> None:
        """The system, too, holds little for one that takes nothing."""
        peer = socket.create_connection(("127.0.0.1", self.port.getHost().port))
        self.addCleanup(peer.close)
        await self.until(lambda: self.doors)
        (door,) = self.doors
        most = door.transport.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)
        self.assertEqual(most, MOST_UNSENT)

    async def test_progress(self) -> None:
        """What a peer has taken is known, however little is on its way at any time."""
        if sys.platform != "linux":
            raise SkipTest("only Linux tells what a peer has taken")
        peer = socket.create_connection(("127.0.0.1", self.port.getHost().port))
        self.addCleanup(peer.close)
        peer.setblocking(False)
        await self.inside(peer)
        await self.until(lambda: self.doors)
        (door,) = self.doors
        for _ in range(3):
            before = door.outbox.progress()
            self.assertEqual(door.outbox.progress(), before)
            door.transport.write(b"x" * 70)
            while door.outbox.progress() == before:
                await self.delay(0.005)
            await self.until(lambda: door.outbox.unsent() == 0)

    async def test_unsent_elsewhere(self) -> None:
        """Where a transport cannot be told so, as a UNIX socket, that is no fault."""
        pair = socket.socketpair()
        for end in pair:
            self.addCleanup(end.close)
        handles = iter(pair)

        class Transport:
            def getHandle(self) -> socket.socket:
                return next(handles)

            def registerProducer(self, producer: object, streaming: bool) -> None:
                """As every transport has it."""

        factory = self.house.factory
        Outbox(Transport(), factory.turn, server.ChatProtocol(factory, None))
        self.assertEqual(list(handles), [pair[1]])

    async def test_long_answers(self) -> None:
        """Who asks for more than may wait, all at once, and reads it, gets all of it."""
        self.house.factory.rate = 0
        await self.fill(400_000)
        for number in range(1_000):
            self.house.user(f"user-{number}", f"room-{number}")
        lobby = self.house.registry.rooms["lobby"]
        for number in range(500):
            lobby.rules.bans.add(
                Sanction(f"u{number}", f"u{number}", f"~{10**9 + number}", "", "ana", "x" * 900)
            )
        lobby.rules.mutes.update(lobby.rules.bans)
        for command, body, many in (
            ("history", "", 4), ("list", "", 30), ("bans", "", 3), ("mutes", "", 3),
            ("join", "lobby", 4),
        ):  # fmt: skip
            peer = await self.reader(f"reader-of-{command}")
            user = self.house.registry.users[f"reader-of-{command}"]
            self.house.registry.promote(lobby, user.place)
            peer.send(request(command, body, command) * many + request("ping", "", "end"))
            data = await self.read(
                peer, lambda data: b'"re":"end"' in data[-200:] or b'"closing"' in data[-200:]
            )
            self.assertEqual(data.count(f'"re":"{command}"'.encode()), many)

    async def test_out_of_a_loud_room(self) -> None:
        """Who cannot read as fast as a room talks can go into another all the same."""
        for way in ("join", "create"):
            peer = await self.reader(f"slow-to-{way}")
            await self.fill(300_000)
            peer.send(request(way, "quiet"))
            await self.until(lambda: "quiet" in self.house.registry.rooms)
            self.assertNotIn(f"slow-to-{way}", self.house.registry.rooms["lobby"].shown())
            self.house.registry.users[f"slow-to-{way}"].quit()

    async def test_little_by_little(self) -> None:
        """One that reads a little every few seconds is not dropped, and hears all of it."""
        peer = await self.reader("dozy")
        data = self.take(peer, 1 << 20)
        await self.fill(200_000)
        for _ in range(30):
            await self.pass_by(5)
            data += self.take(peer, 4000)
            peer.send(request("pong"))
        self.assertEqual(self.house.factory.slow, 0)
        data = await self.read(
            peer, lambda data: data.count(b'"message"') == 26 and _whole(data), data
        )
        heard = [event for event in events(data) if isinstance(event, Message)]
        self.assertEqual({event.text for event in heard}, {"x" * 8000})

    async def test_too_much(self) -> None:
        """One for whom more than 1 MiB waits is let go at once, whatever the time."""
        peer = await self.reader("dozy")
        await self.fill(900_000)
        self.assertEqual(self.house.factory.slow, 0)
        await self.fill(600_000)
        self.assertEqual(self.house.factory.slow, 1)
        self.assertLessEqual(self.house.factory.turn.high, MOST_WAITING + 64 * 1024)
        heard = events(await self.read(peer, lambda data: b'"slow"' in data and _whole(data)))
        last = heard[-1]
        assert isinstance(last, Closing)
        self.assertEqual(last.reason, "slow")

    async def test_counted(self) -> None:
        """What was sent so far grows only, whatever is given up; and it is what was read."""
        peer = await self.reader("dozy")
        before = await self.welcome(peer)
        turn, sent = self.house.factory.turn, 0
        for size in (100_000, 400_000, 800_000):
            await self.fill(size)
            self.assertGreaterEqual(turn.sent, sent)
            sent = turn.sent
        self.assertEqual(self.house.factory.slow, 1)
        data = await self.read(peer, lambda data: b'"slow"' in data and _whole(data), before)
        peer.close()
        await self.until(lambda: not self.doors)
        self.assertEqual(turn.sent, len(data))

    async def test_resumes(self) -> None:
        """One that was let go has by resuming all that was missed, in order and once."""
        peer = await self.reader("dozy")
        first = events(await self.welcome(peer))
        assert isinstance(first[0], Welcome)
        for number in range(200):
            self.talker.say(f"{number} " + "x" * 8000)
            self.house.settle()
        await self.until(lambda: self.house.factory.slow == 1)
        peer.close()
        await self.until(lambda: not self.doors)
        back = self.house.visitor()
        self.assertIsInstance(back.ask("resume", f"{first[0].session} 0"), Resumed)
        heard = [event for event in back.hear() if isinstance(event, Message | Private)]
        self.assertEqual([e.text.split()[0] for e in heard], [str(n) for n in range(200)])

    async def welcome(self, peer: socket.socket) -> bytes:
        """What a new one hears, up to having joined."""
        return await self.read(peer, lambda data: b'"joined"' in data and _whole(data))

    async def test_many_stalled(self) -> None:
        """However many take nothing, what waits for each is bounded, and the others hear it all."""
        good = self.house.visitor("good", "lobby")
        for number in range(20):
            await self.reader(f"deaf{number}")
        await self.fill(1_500_000)
        self.assertEqual(self.house.factory.slow, 20)
        self.assertEqual(len(texts(good.hear())), 1_500_000 // 8000 + 1)
        self.assertLessEqual(self.house.factory.turn.high, MOST_WAITING + 64 * 1024)
        await self.pass_by(int(LAST_FRAME) + 3)
        await self.until(lambda: not self.doors)

    async def test_never_reads_replies(self) -> None:
        """One that asks and asks and reads no answer is let go as well."""
        self.house.factory.rate = 0
        peer = await self.reader("asker")
        ask = request("help") * 40
        for _ in range(400):
            if self.house.factory.slow:
                break
            with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
                peer.send(ask)
            await self.delay(0.003)
        self.assertEqual(self.house.factory.slow, 1)


class EncryptedReaderTests(ReaderTests):
    """The same, over TLS."""

    def around(self, endpoint: IStreamServerEndpoint) -> IStreamServerEndpoint:
        path = Path(self.mktemp())
        tls.make(path)
        options, _ = tls.serve(path)
        return EncryptedDoor(options, endpoint)

    async def inside(self, peer: socket.socket) -> socket.socket:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        encrypted = context.wrap_socket(peer, do_handshake_on_connect=False)
        self.addCleanup(encrypted.close)
        while True:
            try:
                encrypted.do_handshake()
            except ssl.SSLWantReadError:
                await self.delay(0.002)
            else:
                return encrypted


def _whole(data: bytes) -> bool:
    """Whether `data` ends with a whole frame."""
    while data:
        size = int.from_bytes(data[:4], "big")
        if len(data) < 4 + size:
            return False
        data = data[4 + size :]
    return True


class FaultTests(DoorTestCase):
    """Errors inside are nobody's end."""

    def test_internal(self) -> None:
        """A bug in a command is logged with its traceback, and answered; all connections go on."""

        def broken(*_: Any) -> None:
            raise ZeroDivisionError("the bug")

        async def later(door: Any, _: str) -> None:
            await door.chat.log.flushed()
            raise ZeroDivisionError("the bug")

        ana, ben = self.visitor("ana", "lobby"), self.visitor("ben", "lobby")
        for function in (broken, later):
            self.add("broken", function)
            reply = ana.ask("broken")
            self.assertEqual((reply.code, reply.fatal), ("internal", False))
            self.assertNotIn("the bug", reply.text)
            (failure,) = self.flushLoggedErrors(ZeroDivisionError)
            self.assertIn("the bug", failure.getTraceback())
            self.assertIn("test_limits", failure.getTraceback())
            self.assertIsInstance(ana.ask("say", "still here"), Sent)
            self.assertEqual(texts(ben.hear())[-1], "still here")
            self.assertIsInstance(ana.ask("join", "lobby"), Joined)
