"""The door: frames in and out, one connection after the other and many at once."""

from __future__ import annotations

import sqlite3
from typing import Any

from twisted.internet.defer import Deferred

from pylingo import history, outbox
from pylingo.history import DAY, MOST_UNSTORED
from pylingo.outbox import Outbox
from pylingo.protocol import (
    LARGEST_REQUEST,
    ChatError,
    Closing,
    Done,
    Error,
    Event,
    Joined,
    Message,
    Notice,
    Ping,
    Pong,
    Renamed,
    Resumed,
    Sent,
    Users,
    Welcome,
    encode,
)
from pylingo.rules import Sanction
from pylingo.server import GONE, LAST_FRAME, STALLED
from tests.house import (
    HERE,
    SECRET,
    DoorTestCase,
    House,
    Visitor,
    codes,
    events,
    frame,
    notes,
    request,
    texts,
    wait,
)


class FrameTests(DoorTestCase):
    TALK = b"".join(
        [
            request("hello", "tests", 1),
            request("name", "ana", 2),
            request("join", "lobby", 3),
            request("say", "hällo 👋", 4),
            request("nonsense", "", 5),
            request("users", "", 6),
        ]
    )
    REPLIES = (Welcome, Renamed, Joined, Sent, Error, Users)

    def replies(self, visitor: Visitor) -> list[Any]:
        heard = [event for event in visitor.hear() if event.re is not None]
        # What was said may be acknowledged later than what came after it is answered.
        replies = [event.re for event in heard if not isinstance(event, Sent)]
        self.assertEqual(replies, [1, 2, 3, 5, 6])
        return sorted(heard, key=lambda event: str(event.re))

    def check(self, visitor: Visitor) -> None:
        self.assertEqual(tuple(type(event) for event in self.replies(visitor)), self.REPLIES)

    def test_bytes(self) -> None:
        """A talk may come one byte at a time."""
        visitor = self.visitor()
        for byte in self.TALK:
            visitor.send(bytes([byte]))
        self.check(visitor)

    def test_at_once(self) -> None:
        """It may come all at once."""
        visitor = self.visitor()
        visitor.send(self.TALK)
        self.check(visitor)

    def test_cut(self) -> None:
        """It may be cut anywhere."""
        for cut in range(len(self.TALK)):
            self.house = House()
            visitor = self.visitor()
            visitor.send(self.TALK[:cut])
            visitor.send(self.TALK[cut:])
            self.check(visitor)

    def test_longest(self) -> None:
        """A frame of the largest size is read."""
        visitor = self.visitor("ana")
        ping = b'{"command":"ping","id":9,"x":"'
        visitor.send(frame(ping + b"y" * (LARGEST_REQUEST - len(ping) - 2) + b'"}'))
        self.assertEqual(visitor.hear(), [Pong(body="", re=9)])

    def test_too_long(self) -> None:
        """One byte more ends the connection with a reason, before the frame has come."""
        for size in (LARGEST_REQUEST + 1, 2**31, 2**32 - 1):
            visitor = self.visitor("ana")
            visitor.send(size.to_bytes(4, "big"))
            (error,) = visitor.hear()
            assert isinstance(error, Error)
            self.assertEqual((error.code, error.fatal, error.re), ("too_long", True, None))
            self.assertTrue(visitor.closed)

    def test_too_long_and_whole(self) -> None:
        """So it is where all of it has come at once: it is not carried out."""
        ana, ben = self.visitor("ana", "lobby"), self.visitor("ben", "lobby")
        ana.hear()
        ben.send(frame(b'{"command":"say","body":"hi","x":"' + b"y" * LARGEST_REQUEST + b'"}'))
        self.assertEqual(codes(ben.hear()), ["too_long"])
        self.assertEqual(texts(ana.hear()), [])

    def test_other_protocol(self) -> None:
        """What speaks something else is told so, after the welcome."""
        visitor = self.visitor()
        visitor.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        welcome, error = visitor.hear()
        self.assertIsInstance(welcome, Welcome)
        self.assertEqual(codes([error]), ["too_long"])
        self.assertTrue(visitor.closed)

    def test_bad_frame(self) -> None:
        """What is no JSON object in UTF-8, or is nested absurdly, ends the connection."""
        for payload in (
            b"", b"hi", b"\xff\xfe\xfd", b"[]", b"7", b'{"command":"say"', b"[" * 16_000,
            b'{"command":"say","x":' + b"[" * 8_000 + b"]" * 8_000 + b"}",
        ):  # fmt: skip
            visitor = self.visitor("ana")
            visitor.send(frame(payload), request("ping", "", 1))
            (error,) = visitor.hear()
            assert isinstance(error, Error)
            self.assertEqual((error.code, error.fatal), ("bad_frame", True))
            self.assertTrue(visitor.closed)

    def test_bad_request(self) -> None:
        """An object that is no request is answered, under its id, and the connection goes on."""
        visitor = self.visitor("ana")
        for payload, re in (
            (b"{}", None),
            (b'{"id":4}', 4),
            (b'{"id":"x","command":7}', "x"),
            (b'{"id":4,"command":"say","body":[]}', 4),
            (b'{"id":[],"command":"say"}', None),
            (b'{"command":"ping","id":"' + b"x" * 65 + b'"}', None),
        ):
            visitor.send(frame(payload))
            (error,) = visitor.hear()
            assert isinstance(error, Error)
            self.assertEqual((error.code, error.re, error.fatal), ("bad_request", re, False))
        self.assertIsInstance(visitor.ask("ping"), Pong)

    def test_first_bad_request(self) -> None:
        """That is so for the first request too; the welcome comes ahead."""
        visitor = self.visitor()
        visitor.send(frame(b'{"id":1}'))
        welcome, error = visitor.hear()
        self.assertEqual((type(welcome), welcome.re), (Welcome, None))
        self.assertEqual((codes([error]), error.re), (["bad_request"], 1))

    def test_nothing_after(self) -> None:
        """After what ends the connection, nothing is read any more."""
        ana, ben = self.visitor("ana", "lobby"), self.visitor("ben", "lobby")
        ana.hear()
        ben.send(frame(b"x"), request("say", "too late", 1))
        ben.send(request("say", "much too late", 2))
        self.assertEqual(texts(ana.hear()), [])

    def test_nothing_after_too_much(self) -> None:
        """So it is where it was an answer that is more than may wait."""
        ana, ben = self.visitor("ana", "lobby"), self.visitor("ben", "lobby")
        ana.hear()
        self.patch(outbox, "MOST_WAITING", 10)
        ben.stall()
        ben.send(request("ping") + request("say", "too late"))
        self.assertEqual(texts(ana.hear()), [])

    def test_ids(self) -> None:
        """An id comes back as it was, whatever its kind."""
        visitor = self.visitor("ana")
        for id in (0, "", -5, 2**60, "x" * 64, "é"):
            visitor.send(request("ping", "", id))
        self.assertEqual([e.re for e in visitor.hear()], [0, "", -5, 2**60, "x" * 64, "é"])

    def test_answers_before(self) -> None:
        """What was accepted before a frame that ends the connection is answered before."""
        for bad in (frame(b"{"), b"\x00\x10\x00\x00"):
            ana = self.visitor("ana", "lobby")
            ana.send(request("say", "hi", 1) + bad + request("say", "dropped", 2))
            sent, error = ana.hear()
            self.assertEqual((type(sent), sent.re), (Sent, 1))
            self.assertIsInstance(error, Error)
            self.assertTrue(ana.closed)


class HungUpTests(DoorTestCase):
    def test_after_questions(self) -> None:
        """Who asks for some lists, says something, and hangs up at once, has said it."""
        ana, ben = self.visitor("ana", "tea"), self.visitor("ben", "tea")
        ana.wire.arrive(request("users") * 3 + request("list") * 3 + request("say", "bye"))
        ana.drop()
        self.house.settle()
        self.assertEqual(texts(ben.hear()), ["bye"])


class FirstTests(DoorTestCase):
    def test_bound(self) -> None:
        """Who has not sent a whole request within 10 s is dropped, without a word."""
        silent, half, slow = self.visitor(), self.visitor(), self.visitor()
        half.send(request("hello")[:-1])
        for byte in request("hello")[:9]:
            slow.send(bytes([byte]))
            self.house.wait(1)
        self.assertFalse(silent.closed)
        self.house.wait(3)
        self.assertTrue(silent.closed and half.closed and slow.closed)
        self.assertEqual(silent.wire.value() + half.wire.value() + slow.wire.value(), b"")
        self.assertEqual(self.house.registry.users, {})

    def ban(self) -> None:
        """Ban a guest called eve from the server, by the address `HERE` too."""
        rules = self.house.registry.rules
        rules.bans.add(Sanction("eve", "eve", "~1", HERE, "root", "spam"))

    def test_banned(self) -> None:
        """From a banned address one may log in to a name that is one's own, and no more."""
        self.house.owner("zoe").ask("close")
        eve = self.visitor("eve", "lobby")
        self.ban()
        guest = self.house.visitor(host=HERE)
        for word, body in (
            ("name", "mallory"), ("join", "lobby"), ("say", "hi"), ("msg", "eve hi"), ("list", ""),
            ("register", SECRET), ("announce", "hi"),
        ):  # fmt: skip
            error = guest.ask(word, body)
            self.assertEqual((word, codes([error])), (word, ["forbidden"]))
            self.assertIn("/login", error.text)
        self.assertIsInstance(guest.ask("ping"), Pong)
        self.assertFalse(guest.closed)
        self.assertEqual(codes([guest.ask("login", "zoe wrong")]), ["wrong_password"])
        self.assertIsInstance(guest.ask("login", f"zoe {SECRET}"), Done)
        self.assertIsInstance(guest.ask("join", "lobby"), Joined)
        self.assertEqual([type(event) for event in eve.hear()], [Joined])

    def test_banned_and_locked_out(self) -> None:
        """Who is banned from a server with a password has to give it first."""
        self.house = House(password=SECRET)
        self.ban()
        guest = self.house.visitor(host=HERE)
        self.assertEqual(codes([guest.ask("login", "zoe x")]), ["password_required"])
        self.assertIsInstance(guest.ask("enter", SECRET), Done)
        self.assertEqual(codes([guest.ask("join", "lobby")]), ["forbidden"])
        self.assertEqual(codes([guest.ask("login", "zoe x")]), ["wrong_password"])

    def back(self, ana: Visitor, zoe: Visitor) -> None:
        """From a banned address the guest does not come back, the one with an account does."""
        eve = self.visitor("eve", "lobby")
        self.ban()
        guest = self.house.visitor(host=HERE)
        self.assertEqual(codes([guest.ask("resume", f"{ana.welcome.session} 0")]), ["forbidden"])
        self.assertEqual(codes([guest.ask("join", "lobby")]), ["forbidden"])
        self.assertEqual(eve.hear(), [])
        resumed = guest.ask("resume", f"{zoe.welcome.session} 0")
        self.assertEqual((type(resumed), resumed.user), (Resumed, "zoe"))
        self.assertIsInstance(guest.ask("say", "hi"), Sent)
        guest.drop()
        self.assertIsInstance(self.house.visitor(host=HERE).ask("hello"), Welcome)
        self.house.wait(70)
        self.assertEqual(
            [user.name.shown for user in self.house.registry.users.values()][:1], ["eve"]
        )
        self.assertEqual(len(self.house.registry.users), 2)
        ben = self.visitor()
        resumed = ben.ask("resume", f"{ana.welcome.session} 0")
        self.assertEqual((type(resumed), resumed.user), (Resumed, "ana"))

    def gone(self) -> tuple[Visitor, Visitor]:
        """A guest and one with an account, who were in a room and are not connected."""
        ana, zoe = self.visitor("ana", "lobby"), self.house.owner("zoe", "lobby")
        for visitor in (ana, zoe):
            visitor.drop()
        return ana, zoe

    def test_banned_and_back(self) -> None:
        """From a banned address one may resume as one who has an account, but not as a guest."""
        self.back(*self.gone())

    def test_banned_and_back_late(self) -> None:
        """That is so too when they are remembered by the database alone, and nobody hears of it."""
        gone = self.gone()
        self.house.wait(70)
        self.back(*gone)

    def test_banned_and_back_after_restart(self) -> None:
        """And when the server was started again."""
        self.house = House(self.mktemp())
        gone = self.gone()
        self.house.settle()
        self.house = self.house.restart()
        self.back(*gone)

    def test_banned_and_gone(self) -> None:
        """Who looked in from a banned address leaves nothing behind."""
        self.ban()
        for _ in range(3):
            guest = self.house.visitor(host=HERE)
            token = guest.ask("hello").session
            guest.drop()
        self.assertEqual((self.house.registry.users, self.house.registry.lingering), ({}, {}))
        self.assertEqual(codes([self.visitor().ask("resume", f"{token} 0")]), ["not_resumable"])

    def test_banned_name(self) -> None:
        """Nobody takes the name that a guest was banned with, and comes to look like one banned."""
        self.ban()
        self.assertEqual(codes([self.visitor().ask("name", "Eve")]), ["forbidden"])

    def test_nothing_to_say(self) -> None:
        """Who shuts its side without having spoken is let go, and was no user."""
        visitor = self.visitor()
        visitor.wire.door.readConnectionLost()
        self.house.settle()
        self.assertTrue(visitor.closed)
        self.assertEqual((visitor.wire.value(), self.house.registry.users), (b"", {}))

    def test_never_spoke(self) -> None:
        """Who goes without having spoken was no user."""
        self.visitor().drop()
        self.assertEqual(len(self.house.registry.users), 0)


class OrderTests(DoorTestCase):
    def test_waits(self) -> None:
        """While a command waits for the disk, the next request of that connection waits."""
        ana = self.visitor("ana")
        self.house.commits.hold()
        ana.send(
            request("join", "lobby", 1), request("ping", "", 2), request("users", "", 3),
            request("nonsense", "", 4),
        )  # fmt: skip
        ana.send(request("ping", "", 5))
        self.assertEqual(ana.hear(), [])
        self.assertEqual(ana.wire.producerState, "paused")
        self.house.commits.release()
        self.assertEqual([event.re for event in ana.hear()], [1, 2, 3, 4, 5])
        self.assertEqual(ana.wire.producerState, "producing")

    def test_hung_up(self) -> None:
        """What was read of a connection is done, for that it breaks meanwhile is not looked for."""
        ana = self.visitor("ana", "lobby")
        self.house.commits.hold()
        ana.send(request("say", "I have to go") + request("close"))
        self.assertEqual(ana.wire.producerState, "paused")

    def test_others_go_on(self) -> None:
        """Nobody else waits for it."""
        ana, ben, eve = self.visitor("ana"), self.visitor("ben", "attic"), self.visitor("eve")
        self.house.reads.hold()
        joining = ana.begin("join", "lobby")
        self.assertIsInstance(ben.ask("say", "hi"), Sent)
        self.assertIsInstance(eve.ask("name", "zoe"), Renamed)
        self.assertIsNone(ana.reply(joining))

    def test_say_goes_on(self) -> None:
        """A talker goes on while the log commits; `sent` may come later than other replies."""
        ana = self.visitor("ana", "lobby")
        self.house.commits.hold()
        ana.send(request("say", "1", 1), request("say", "2", 2), request("ping", "", 3))
        self.assertEqual([event.re for event in ana.hear()], [3])
        self.house.commits.release()
        self.assertEqual([event.re for event in ana.hear()], [1, 2])

    def test_byte_by_byte(self) -> None:
        """The order is kept when requests come in pieces while one waits."""
        ana = self.visitor("ana")
        self.house.commits.hold()
        for byte in b"".join(request("name", f"ana-{n}", n) for n in range(5)):
            ana.send(bytes([byte]))
        while self.house.commits.waiting:
            self.house.commits.step()
            self.house.settle()
        self.assertEqual([event.re for event in ana.hear()], [0, 1, 2, 3, 4])

    def test_dropped(self) -> None:
        """A connection that breaks while a command waits leaves nothing behind."""
        ana, ben = self.visitor("ana", "attic"), self.visitor("ben", "lobby")
        self.house.commits.hold()
        self.house.reads.hold()
        ana.send(request("join", "lobby"), request("join", "cellar"))
        ana.drop()
        self.house.reads.release()
        self.house.commits.release()
        self.house.settle()
        self.assertEqual(ben.ask("users").users, ["ben", "ana"])
        self.assertEqual(self.flushLoggedErrors(), [])

    def fill(self) -> None:
        """Let somebody elsewhere say as much as may wait, while nothing is stored."""
        other, _ = self.house.user("other", "attic")
        self.house.settle()
        self.house.commits.hold()
        other.say("x")
        self.house.settle()
        for _ in range(MOST_UNSTORED):
            other.say("x")

    def test_full(self) -> None:
        """When the disk is slower than the talkers, they wait, all of them, and lose nothing."""
        talkers = [self.visitor(f"talker-{n}", "lobby") for n in range(3)]
        _, heard = self.house.user("listener", "lobby")
        self.fill()
        for talker in talkers:
            talker.send(*(request("say", f"{n}", n) for n in range(5)), request("ping", "", "p"))
        self.assertEqual([talker.wire.producerState for talker in talkers], ["paused"] * 3)
        for talker in talkers:
            self.assertIsNone(talker.reply("p"))
        self.house.commits.release()
        self.house.settle()
        for talker in talkers:
            for n in (0, 1, 2, 3, 4):
                self.assertIsInstance(talker.reply(n), Sent)
            self.assertIsInstance(talker.reply("p"), Pong)
        self.assertEqual(len(texts(heard)), 15)

    def test_full_and_left(self) -> None:
        """Who says it leaves has left, though it does not wait for what is to be stored before."""
        ana = self.visitor("ana", "lobby")
        self.fill()
        ana.begin("close")
        ana.drop()
        self.house.commits.release()
        self.house.settle()
        self.assertEqual(list(self.house.registry.users), ["other"])

    def test_full_and_gone(self) -> None:
        """One of them that goes meanwhile does not keep the others waiting."""
        talkers = [self.visitor(f"talker-{n}", "lobby") for n in range(3)]
        _, heard = self.house.user("listener", "lobby")
        self.fill()
        waiting = [talker.begin("say", f"{n}") for n, talker in enumerate(talkers)]
        self.assertEqual([talkers[n].reply(waiting[n]) for n in range(3)], [None] * 3)
        talkers[1].drop()
        self.house.commits.release()
        self.house.settle()
        for n in (0, 2):
            self.assertIsInstance(talkers[n].reply(waiting[n]), Sent)
        self.assertEqual(texts(heard), ["0", "2"])
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_full_and_new(self) -> None:
        """Who comes then need not wait to be greeted, and hears nothing before that."""
        self.fill()
        visitor = self.visitor()
        visitor.send(request("hello"))
        self.house.registry.tell(Notice(text="for all"))
        self.assertEqual([type(event) for event in visitor.heard], [Welcome, Notice])
        waiting = visitor.begin("join", "lobby")
        self.assertIsNone(visitor.reply(waiting))
        self.house.commits.release()
        self.house.settle()
        self.assertIsInstance(visitor.reply(waiting), Joined)


class BugTests(DoorTestCase):
    def test_disk(self) -> None:
        """What is the disk's fault, and no bug, is noted as a sentence."""

        def fail(*_: Any) -> None:
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error

        self.add("fail", fail)
        ana, said = self.visitor("ana"), notes(self)
        self.assertEqual(ana.ask("fail").code, "internal")
        self.assertEqual(said, ["a command of ana failed: database or disk is full"])

    def test_later(self) -> None:
        """After a bug in a command that waits, what comes behind it is answered."""
        going: Deferred[None] = Deferred()

        async def explode(*_: Any) -> None:
            await going
            raise ZeroDivisionError

        self.add("explode", explode)
        ana = self.visitor("ana")
        id = ana.begin("explode")
        ping = ana.begin("ping")
        going.callback(None)
        self.assertEqual(ana.reply(id).code, "internal")
        self.assertIsInstance(ana.reply(ping), Pong)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_no_reply(self) -> None:
        """Nor is the reply of one that waits a reason to fall silent, if it cannot be sent."""

        async def answer(*_: Any) -> Event:
            return Done(text="half a character: \ud800")

        self.add("answer", answer)
        ana = self.visitor("ana")
        self.assertEqual(ana.ask("answer").code, "internal")
        self.assertIsInstance(ana.ask("ping"), Pong)
        self.assertEqual(len(self.flushLoggedErrors(UnicodeEncodeError)), 1)

    def test_kept_back(self) -> None:
        """What was kept back for it is told then, whatever went wrong."""
        going: list[Deferred[None]] = []

        async def explode(door: Any, _: str) -> None:
            door.hold()
            going.append(Deferred())
            await going[-1]

        self.add("explode", explode)
        ana, ben = self.visitor("ana", "lobby"), self.visitor("ben", "lobby")
        for why in (ZeroDivisionError(), ChatError("forbidden", "No.")):
            ana.begin("explode")
            ben.ask("say", "hi")
            self.assertEqual(texts(ana.hear()), [])
            going[-1].errback(why)
            self.assertEqual(texts(ana.hear()), ["hi"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_too_much_kept_back(self) -> None:
        """Where that is more than may wait, the end is told last, and what went wrong is not."""
        going: Deferred[None] = Deferred()

        async def explode(door: Any, _: str) -> None:
            door.hold()
            await going

        self.add("explode", explode)
        ana, ben = self.visitor("ana", "lobby"), self.visitor("ben", "lobby")
        ana.hear()
        ana.begin("explode")
        ben.ask("say", "hi")
        self.patch(outbox, "MOST_WAITING", 100)
        ana.stall()
        going.errback(ChatError("forbidden", "No."))
        ana.unstall()
        (last,) = ana.hear()
        assert isinstance(last, Closing)
        self.assertEqual(last.reason, "slow")

    def test_refusals(self) -> None:
        """A command that waits may refuse; a fatal refusal ends the connection."""

        async def refuse(_: Any, body: str) -> None:
            raise ChatError("forbidden", "No.", fatal=bool(body))

        self.add("refuse", refuse)
        ana = self.visitor("ana")
        self.assertEqual(ana.ask("refuse").code, "forbidden")
        self.assertFalse(ana.closed)
        ana.ask("refuse", "at all")
        self.assertTrue(ana.closed)

    def test_quick(self) -> None:
        """A command that may wait and is done at once is answered at once."""

        async def quick(*_: Any) -> Done:
            return Done(text="Yes.")

        self.add("quick", quick)
        ana = self.visitor("ana")
        self.assertEqual(ana.ask("quick").text, "Yes.")


class BroadcastTests(DoorTestCase):
    def encoded(self) -> list[Event]:
        """What is encoded from now on, as it comes."""
        made: list[Event] = []

        def noting(event: Event) -> bytes:
            made.append(event)
            return encode(event)

        self.patch(outbox, "encode", noting)
        return made

    def test_one_encoding(self) -> None:
        """A message is encoded once, however many hear it."""
        ana = self.visitor("ana", "lobby")
        listeners = [self.visitor(f"listener-{n}", "lobby") for n in range(20)]
        made = self.encoded()
        for listener in listeners:
            listener.hear()
        ana.send(request("say", "hi", 1))
        self.assertEqual([type(event) for event in made].count(Message), 1)
        frames = {listener.wire.value() for listener in listeners}
        self.assertEqual(len(frames), 1)
        self.assertEqual(texts(events(frames.pop())), ["hi"])

    def test_join_one_encoding(self) -> None:
        """So is the news that somebody came."""
        listeners = [self.visitor(f"listener-{n}", "lobby") for n in range(10)]
        made = self.encoded()
        for listener in listeners:
            listener.hear()
        self.house.user("ana", "lobby")
        self.house.settle()
        self.assertEqual([type(event) for event in made], [Joined])

    def test_many_in_a_turn(self) -> None:
        """What is said in one turn is heard whole, in order, by everyone."""
        visitors = [self.visitor(f"user-{n}", "lobby") for n in range(5)]
        for visitor in visitors:
            visitor.hear()
        self.house.commits.hold()
        for round in range(4):
            for n, visitor in enumerate(visitors):
                visitor.send(request("say", f"{n} {round}"))
        self.house.commits.release()
        heard = {n: visitor.hear() for n, visitor in enumerate(visitors)}
        for n, events_ in heard.items():
            self.assertEqual(
                texts(events_),
                [f"{m} {round}" for round in range(4) for m in range(5) if m != n],
            )

    def test_same_sequence_later(self) -> None:
        """What was encoded in one turn is not mistaken for something in the next."""
        ana, ben = self.visitor("ana", "lobby"), self.visitor("ben", "lobby")
        for number in range(30):
            ana.ask("say", str(number))
        self.assertEqual(texts(ben.hear()), [str(number) for number in range(30)])

    def test_stalled(self) -> None:
        """One that does not read holds up nobody, and hears it all when it reads on."""
        ana, ben = self.visitor("ana", "lobby"), self.visitor("ben", "lobby")
        eve = self.visitor("eve", "lobby")
        ben.hear()
        eve.hear()
        eve.stall()
        for number in range(5):
            ana.ask("say", str(number))
        self.assertEqual(texts(ben.hear()), list("01234"))
        self.assertEqual(eve.hear(), [])
        eve.unstall()
        self.assertEqual(texts(eve.hear()), list("01234"))

    def test_dropped_inside(self) -> None:
        """A member whose connection breaks in the same turn keeps nobody from hearing."""
        ana, ben = self.visitor("ana", "lobby"), self.visitor("ben", "lobby")
        eve = self.visitor("eve", "lobby")
        eve.hear()
        self.house.commits.hold()
        ana.begin("say", "hi")
        ben.drop()
        self.house.commits.release()
        self.assertEqual(texts(eve.hear()), ["hi"])


class CloseTests(DoorTestCase):
    def test_flushed(self) -> None:
        """What waits to be sent is sent before the connection closes."""
        ana, ben = self.visitor("ana", "lobby"), self.visitor("ben", "lobby")
        ben.hear()
        ben.stall()
        ana.ask("say", "hi")
        ben.begin("close")
        self.assertFalse(ben.closed)
        ben.unstall()
        heard = ben.hear()
        self.assertEqual((texts(heard), type(heard[-1])), (["hi"], Closing))
        self.assertTrue(ben.closed)

    def test_last(self) -> None:
        """What closes the connection is the last that is heard, however long it lasts."""
        ana, ben = self.visitor("ana", "lobby"), self.visitor("ben", "lobby")
        self.patch(ana.wire, "loseConnection", lambda: None)
        ana.wire.door.close("idle", "Nothing was heard from you for a minute.")
        self.house.settle()
        ben.ask("say", "hi")
        self.assertIsInstance(ana.hear()[-1], Closing)

    def test_too_much_at_the_end(self) -> None:
        """Where the last frame is more than may wait, nothing is given up for that."""
        ana, ben = self.visitor("ana", "lobby"), self.visitor("ben", "lobby")
        ben.hear()
        ben.stall()
        ana.ask("say", "hi")
        self.patch(outbox, "MOST_WAITING", ben.wire.door.outbox.size)
        ben.wire.door.close("idle", "Nothing was heard from you for a minute.")
        ben.unstall()
        heard = ben.hear()
        self.assertEqual((texts(heard), type(heard[-1])), (["hi"], Closing))
        self.assertEqual(self.house.factory.slow, 0)

    def test_too_much_before_the_past(self) -> None:
        """A room's past does not follow an answer to joining that was more than may wait."""
        ana, ben = self.visitor("ana", "lobby"), self.visitor("ben")
        ana.ask("say", "hi")
        self.house.reads.hold()
        ben.begin("join", "lobby")
        ben.stall()
        self.patch(outbox, "MOST_WAITING", 10)
        self.house.reads.release()
        ben.unstall()
        self.assertEqual([type(event) for event in ben.hear()], [Closing])

    def test_reason(self) -> None:
        """Whyever it is that a connection is closed, the log has the reason."""
        said = notes(self)
        ana = self.visitor("ana")
        ana.wire.door.close("idle", "Nothing was heard from you for a minute.")
        self.house.settle()
        self.assertIn("ana at this machine disconnected: idle", said)

    def test_bound(self) -> None:
        """A peer that does not take its last frame is dropped; later if it said that it goes."""
        ana, ben = self.visitor("ana", "lobby"), self.visitor("ben", "lobby")
        for peer in (ana, ben):
            peer.stall()
        ana.begin("close")
        ben.wire.door.close("kicked", "You were kicked.")
        self.house.wait(1, alive=False)
        self.assertFalse(ana.closed or ben.closed)
        self.house.wait(LAST_FRAME + 1, alive=False)
        self.assertTrue(ben.closed)
        self.house.wait(STALLED - LAST_FRAME - 4, alive=False)
        self.assertFalse(ana.closed)
        self.house.wait(LAST_FRAME + 4, alive=False)
        self.assertTrue(ana.closed)

    def test_slow_at_the_end(self) -> None:
        """One that takes what it asked for, slowly, gets all of it, and nothing more."""
        ana = self.visitor("ana", "lobby")
        taken = [0]
        self.patch(Outbox, "progress", lambda _: (taken[0], 0))
        ana.stall()
        ana.wire.door.readConnectionLost()
        for _ in range(4):
            self.house.wait(STALLED - 2, alive=False)
            taken[0] += 10
            self.assertFalse(ana.closed)
        self.assertEqual(ana.wire.door.outbox.frames, [])
        self.house.wait(STALLED + LAST_FRAME + 2, alive=False)
        self.assertTrue(ana.closed)

    def test_deaf(self) -> None:
        """One that is being closed is not heard any more, and hears nothing."""
        ana, ben = self.visitor("ana", "lobby"), self.visitor("ben", "lobby")
        ana.hear()
        ben.hear()
        ben.stall()
        ben.send(frame(b"nonsense"))
        ben.send(request("say", "ignored"))
        ana.ask("say", "not for ben")
        ben.unstall()
        self.assertEqual(texts(ana.hear()), [])
        self.assertEqual(codes(ben.hear()), ["bad_frame"])

    def test_half(self) -> None:
        """A client that has said all it will say still hears the answers, then it is closed."""
        ana = self.visitor("ana", "lobby")
        self.house.commits.hold()
        ana.send(request("say", "last", 1), request("users", "", 2))
        ana.wire.door.readConnectionLost()
        self.house.settle()
        self.assertFalse(ana.closed)
        self.house.commits.release()
        self.house.settle()
        self.assertCountEqual([event.re for event in ana.hear()], [1, 2])
        self.assertTrue(ana.closed)

    def test_half_while_waiting(self) -> None:
        """Also those that have to wait, one after the other."""
        ana = self.visitor("ana")
        self.house.commits.hold()
        ana.send(request("join", "lobby", 1), request("name", "anna", 2), request("users", "", 3))
        ana.wire.door.readConnectionLost()
        for _ in range(10):
            if self.house.commits.waiting:
                self.house.commits.step()
            self.house.settle()
        self.assertEqual([event.re for event in ana.hear()], [1, 2, 3])
        self.house.commits.release()
        self.house.settle()
        self.assertTrue(ana.closed)

    def test_half_after_an_error(self) -> None:
        """One that says nothing more after what ends the connection is told why it ends."""
        ana = self.visitor("ana", "lobby")
        self.house.commits.hold()
        ana.send(request("say", "hi", 1) + frame(b"{"))
        ana.wire.door.readConnectionLost()
        self.house.commits.release()
        self.assertEqual([type(event) for event in ana.hear()], [Sent, Error])
        self.assertTrue(ana.closed)

    def test_half_lingers(self) -> None:
        """Who goes like that has not said goodbye, and lingers."""
        ana, ben = self.visitor("ana", "lobby"), self.visitor("ben", "lobby")
        ben.hear()
        ana.wire.door.readConnectionLost()
        self.house.settle()
        self.assertTrue(ana.closed)
        self.assertEqual(ben.ask("users").users, ["ana", "ben"])

    def test_half_after_closing(self) -> None:
        """The end of what a closed connection says is nothing new."""
        ana = self.visitor("ana")
        ana.stall()
        ana.begin("close")
        ana.wire.door.readConnectionLost()
        ana.wire.door.writeConnectionLost()
        ana.unstall()
        self.assertIsInstance(ana.hear()[-1], Closing)
        self.assertTrue(ana.closed)


class BoundTests(DoorTestCase):
    """What one client can take from the others."""

    def test_sign_of_life(self) -> None:
        """A connection silent for 30 s is asked, and goes on if it answers."""
        ana = self.visitor("ana")
        self.house.wait(28, alive=False)
        self.assertEqual(ana.hear(), [])
        ana.send(request("pong"))
        for _ in range(4):
            self.house.wait(32, alive=False)
            self.assertEqual([type(event) for event in ana.hear()], [Ping])
            ana.send(request("pong"))

    def test_idle(self) -> None:
        """One silent for 60 s is dropped; the user lingers."""
        ana, ben = self.visitor("ana", "lobby"), self.visitor("ben", "lobby")
        for _ in range(7):
            self.house.wait(9, alive=False)
            ana.send(request("pong"))
        last = ben.hear()[-1]
        assert isinstance(last, Closing)
        self.assertEqual(last.reason, "idle")
        self.assertTrue(ben.closed)
        self.assertEqual(ana.ask("users").users, ["ana", "ben"])

    def test_look_fails(self) -> None:
        """What goes wrong with one connection keeps nobody from looking at the others."""
        ana, ben = self.visitor("ana"), self.visitor("ben")

        def fail(now: float) -> None:
            raise RuntimeError(now)

        self.patch(ana.wire.door, "look", fail)
        self.house.wait(65, alive=False)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 65)
        self.assertEqual([e.reason for e in ben.hear() if isinstance(e, Closing)], ["idle"])

    def test_waiting_is_not_idle(self) -> None:
        """Who waits for the server is not blamed for being silent."""
        ana = self.visitor("ana")
        self.house.reads.hold()
        id = ana.begin("join", "lobby")
        self.house.wait(70, alive=False)
        self.house.reads.release()
        self.assertIsInstance(ana.reply(id), Joined)

    def test_too_fast(self) -> None:
        """A talker that is too fast is read more slowly, and loses nothing."""
        ana, ben = self.visitor("ana", "lobby"), self.visitor("ben", "lobby")
        self.house.wait(20)
        ana.hear()
        ben.hear()
        for number in range(100):
            ana.wire.arrive(request("say", str(number), number))
        self.house.settle()
        first = len(texts(ben.heard))
        self.assertTrue(35 <= first <= 45, first)
        self.house.wait(4, alive=False)
        self.assertTrue(15 <= len(texts(ben.heard)) - first <= 25)
        self.house.wait(12, alive=False)
        self.assertEqual(texts(ben.hear()), [str(number) for number in range(100)])
        sent = [event.re for event in ana.hear() if isinstance(event, Sent)]
        self.assertEqual(sent, list(range(100)))

    def test_fast_and_gone(self) -> None:
        """One that goes while it has to wait leaves nothing behind."""
        ana = self.visitor("ana", "lobby")
        calls = len(self.house.clock.getDelayedCalls())
        for number in range(60):
            ana.wire.arrive(request("say", str(number)))
        ana.drop()
        self.assertEqual(len(self.house.clock.getDelayedCalls()), calls)
        self.house.wait(20)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_fast_and_half_closed(self) -> None:
        """One that has said it all at once, and shut its side, is answered for all of it."""
        ana = self.visitor("ana", "lobby")
        ana.send(b"".join(request("ping", "", number) for number in range(60)))
        ana.wire.door.readConnectionLost()
        self.house.wait(20, alive=False)
        self.assertEqual([event.re for event in ana.hear()], list(range(60)))
        self.assertTrue(ana.closed)

    def test_fast_and_replaced(self) -> None:
        """One that has to wait, and is replaced meanwhile, closes all the same."""
        ana = self.visitor("ana", "lobby")
        ana.send(b"".join(request("ping", "", number) for number in range(60)))
        back = self.visitor()
        self.assertIsInstance(back.ask("resume", f"{ana.welcome.session} 0"), Resumed)
        self.assertIsInstance(ana.hear()[-1], Closing)
        self.assertTrue(ana.closed)

    def test_fast_and_wrong(self) -> None:
        """One that would have to wait for what ends the connection is noticed to go as well."""
        self.house = House(burst=1)
        ana = self.visitor("ana")
        self.house.wait(1, alive=False)
        ana.stall()
        ana.send(request("ping"), frame(b"{"))
        self.assertEqual(ana.wire.producerState, "producing")

    def test_fast_and_closed(self) -> None:
        """One that has to wait, and is closed meanwhile, is noticed to go."""
        ana = self.visitor("ana", "lobby")
        ana.send(b"".join(request("ping", "", number) for number in range(60)))
        self.assertEqual(ana.wire.producerState, "paused")
        ana.stall()
        ana.wire.door.close("idle", "Nothing was heard from you for a minute.")
        ana.wire.arrive(request("ping"))
        self.assertEqual((ana.wire.producerState, ana.wire.arriving), ("producing", b""))

    def test_no_rate(self) -> None:
        """The bound on talkers can be switched off."""
        self.house = House(rate=0)
        ana = self.visitor("ana", "lobby")
        ana.send(b"".join(request("ping", "", number) for number in range(500)))
        self.assertEqual(len(ana.hear()), 500)

    def test_slow(self) -> None:
        """A reader for whom more than 1 MiB waits is dropped; nobody else is troubled."""
        talker, _ = self.house.user("talker", "lobby")
        ana, ben = self.visitor("ana", "lobby"), self.visitor("ben", "lobby")
        ana.hear()
        ben.hear()
        ben.stall()
        for number in range(200):
            talker.say(f"{number} " + "x" * 8000)
            self.house.settle()
        self.assertEqual(len(texts(ana.hear())), 200)
        self.assertLess(ben.wire.door.outbox.size, 1_100_000)
        ben.unstall()
        last = ben.hear()[-1]
        assert isinstance(last, Closing)
        self.assertEqual(last.reason, "slow")
        self.assertTrue(ben.closed)

    def test_slow_resumes(self) -> None:
        """What was not taken can be had by resuming."""
        talker, _ = self.house.user("talker", "lobby")
        ben = self.visitor("ben", "lobby")
        ben.stall()
        for number in range(200):
            talker.say(f"{number} " + "x" * 8000)
            self.house.settle()
        ben.unstall()
        heard = [event for event in ben.hear() if isinstance(event, Message)]
        back = self.visitor()
        back.ask("resume", f"{ben.welcome.session} {heard[-1].id if heard else 0}")
        heard += [event for event in back.hear() if isinstance(event, Message)]
        self.assertEqual([e.text.split()[0] for e in heard], [str(n) for n in range(200)])

    def test_stalled(self) -> None:
        """A reader that takes nothing for 30 s is dropped, however little waits."""
        ana, ben = self.visitor("ana", "lobby"), self.visitor("ben", "lobby")
        ben.stall()
        ana.ask("say", "hi")
        self.house.wait(28)
        self.assertFalse(ben.closed)
        self.house.wait(8)
        self.assertTrue(ben.closed)

    def test_full_and_slow(self) -> None:
        """One past the bound is told so, too, where what was accepted takes long to be stored."""
        self.house = House(most_users=1)
        ana, surplus = self.visitor("ana", "lobby"), self.visitor()
        self.house.commits.hold()
        ana.begin("say", "hi")
        surplus.send(request("hello"))
        self.house.wait(20)
        self.house.commits.release()
        self.assertEqual(codes(surplus.hear()), ["server_full"])

    def test_full_of_the_refused(self) -> None:
        """Those that are to be told so take nobody's place."""
        self.house = House(most_users=2)
        ana, ben = self.visitor("ana"), self.visitor("ben")
        self.visitor()
        ben.drop()
        self.assertIsInstance(self.visitor().ask("hello"), Welcome)
        self.assertFalse(ana.closed)


class CleanTests(DoorTestCase):
    def left(self) -> list[str]:
        """What was said and is kept still."""
        rows = self.house.database.reader.execute("SELECT text FROM messages").fetchall()
        return [text for (text,) in rows]

    def test_old(self) -> None:
        """What is older than the days that it is kept goes by itself, in small steps."""
        self.house = House(keep_days=2)
        talker, _ = self.house.user("talker", "lobby")
        self.house.commits.hold()
        for number in range(1200):
            talker.say(str(number))
        self.house.commits.release()
        self.house.settle()
        self.house.clock.advance(DAY)
        talker.say("young")
        self.house.clock.advance(DAY + 60)
        self.house.wait(100)
        self.assertEqual(self.left(), ["young"])

    def test_much(self) -> None:
        """Where there is more of it than goes at a time, it takes seconds, not minutes."""
        self.patch(history, "STEP", 2)
        self.house = House(keep_days=1)
        talker, _ = self.house.user("talker", "lobby")
        for number in range(10):
            talker.say(str(number))
            self.house.settle()
        self.house.clock.advance(2 * DAY)
        self.house.wait(75)
        self.assertEqual(self.left(), [])

    def test_for_ever(self) -> None:
        """With no number of days it is kept for ever."""
        self.house = House(keep_days=0)
        talker, _ = self.house.user("talker", "lobby")
        talker.say("old")
        self.house.settle()
        self.house.clock.advance(1000 * DAY)
        self.house.wait(100)
        self.assertEqual(self.left(), ["old"])

    def test_for_longer_than_there_is_time(self) -> None:
        """So it is with more days than there were so far."""
        self.house = House(keep_days=10**9)
        talker, _ = self.house.user("talker", "lobby")
        talker.say("old")
        self.house.wait(200)
        self.assertEqual(self.left(), ["old"])

    def test_bug(self) -> None:
        """A bug in it is logged, and does not stop it for good."""
        asked: list[float] = []

        def broken(days: float) -> Deferred[int]:
            asked.append(days)
            raise ZeroDivisionError

        self.patch(self.house.log, "forget", broken)
        self.house.wait(200)
        self.assertGreater(len(asked), 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), len(asked))

    def test_here_is_kept(self) -> None:
        """The session of who is here for days is not forgotten; that of who is gone is."""
        self.house.user("ana", "lobby")
        self.visitor("ben", "lobby").drop()
        for _ in range(30):
            self.house.clock.advance(3600)
            self.house.settle()
        rows = self.house.database.reader.execute("SELECT name FROM sessions").fetchall()
        self.assertIn(("ana",), rows)
        self.assertNotIn(("ben",), rows)

    def test_now_and_then(self) -> None:
        """That they are in use is noted once an hour, not each time."""
        noted: list[object] = []
        self.visitor("ana")
        self.patch(self.house.sessions, "save", noted.append)
        self.house.wait(2 * 3600 - 60)
        self.assertEqual(len(noted), 1)

    def test_broken_disk(self) -> None:
        """A disk that cannot be written does not stop it for good."""
        self.house = House(keep_days=1)
        talker, _ = self.house.user("talker", "lobby")
        talker.say("old")
        self.house.settle()
        self.house.break_disk()
        said = notes(self)
        self.house.clock.advance(2 * DAY)
        self.house.wait(61)
        self.assertIn(
            "old messages could not be removed: attempt to write a readonly database", said
        )
        self.house.mend_disk()
        self.house.wait(61)
        self.assertEqual(self.left(), [])


class StopTests(DoorTestCase):
    def stop(self) -> Deferred[None]:
        stopping = wait(self.house.factory.stop())
        self.house.settle()
        return stopping

    def test_all(self) -> None:
        """Everyone hears that the server stops, as the last thing, and it waits until they go."""
        visitors = [self.visitor(f"user-{n}", "lobby") for n in range(5)]
        for visitor in visitors:
            visitor.hear()
        stopping = self.stop()
        for visitor in visitors:
            heard = visitor.hear()
            self.assertEqual([type(event) for event in heard], [Closing])
            self.assertEqual(heard[0].reason, "shutdown")  # type: ignore[union-attr]
            self.assertTrue(visitor.closed)
        self.successResultOf(stopping)

    def test_nobody(self) -> None:
        """Where nobody is, it stops at once."""
        self.successResultOf(self.stop())

    def test_stored(self) -> None:
        """What was accepted is stored and acknowledged first."""
        ana = self.visitor("ana", "lobby")
        self.house.commits.hold()
        ana.begin("say", "one")
        ana.begin("say", "two")
        stopping = self.stop()
        self.assertEqual(ana.hear(), [])
        self.house.commits.release()
        self.house.settle()
        self.assertEqual([type(event) for event in ana.hear()], [Sent, Sent, Closing])
        self.successResultOf(stopping)

    def test_nothing_more(self) -> None:
        """What comes while it is being stored is not read any more, of whomever."""
        ana, ben = self.visitor("ana", "lobby"), self.visitor("ben", "lobby")
        self.house.commits.hold()
        self.house.reads.hold()
        ana.begin("say", "one")
        ben.begin("history")
        stopping = self.stop()
        self.house.reads.release()
        for visitor in (ana, ben):
            visitor.begin("say", "too late")
        self.house.commits.release()
        self.house.settle()
        self.successResultOf(stopping)
        rows = self.house.database.reader.execute("SELECT text FROM messages").fetchall()
        self.assertEqual(rows, [("one",)])

    def test_last_state(self) -> None:
        """What is to be remembered of those who were there is stored before it ends."""
        self.visitor("ana", "lobby")
        self.house.commits.hold()
        stopping = self.stop()
        self.assertNoResult(stopping)
        self.house.commits.release()
        self.house.settle()
        self.successResultOf(stopping)

    def test_deaf(self) -> None:
        """It ends within 5 s although one does not read, and one has not spoken yet."""
        ana, ben, silent = self.visitor("ana", "lobby"), self.visitor("ben"), self.visitor()
        ana.hear()
        ben.stall()
        stopping = self.stop()
        self.assertTrue(silent.closed)
        self.assertIsInstance(ana.hear()[-1], Closing)
        self.assertNoResult(stopping)
        self.house.wait(GONE, alive=False)
        self.successResultOf(stopping)
        self.assertTrue(ben.closed)

    def test_silent(self) -> None:
        """One that has not spoken yet finds an end, and no error, where the system can do that."""
        for plain in (True, False):
            self.house = House()
            silent = self.visitor()
            silent.wire.door.plain = plain
            self.successResultOf(self.stop())
            self.assertEqual((silent.closed, silent.wire.disconnected), (True, not plain))

    def test_slow_disk(self) -> None:
        """It ends within 5 s although the disk does not."""
        ana = self.visitor("ana", "lobby")
        self.house.commits.hold()
        ana.begin("say", "hi")
        stopping = self.stop()
        self.house.wait(4, alive=False)
        self.assertIsInstance(ana.hear()[-1], Closing)
        self.successResultOf(stopping)

    def test_waiting(self) -> None:
        """A command that still waits does not keep it."""
        ana = self.visitor("ana")
        self.house.reads.hold()
        ana.begin("join", "lobby")
        stopping = self.stop()
        self.house.wait(4, alive=False)
        self.assertIsInstance(ana.hear()[-1], Closing)
        self.assertTrue(ana.closed)
        self.successResultOf(stopping)

    def test_no_more_looks(self) -> None:
        """When the last door is closed, the factory leaves no timer behind."""
        self.successResultOf(self.stop())
        self.house.factory.doStop()
        self.house.settle()
        self.assertEqual(self.house.clock.getDelayedCalls(), [])
