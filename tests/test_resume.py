"""What outlives a connection: lingering, resuming, restarts, and storms of all that."""

from __future__ import annotations

import os
import random
import sqlite3
from typing import Any

from twisted.internet.defer import Deferred

from pylingo import history, outbox, server
from pylingo.history import DAY
from pylingo.protocol import (
    Closing,
    Done,
    Error,
    History,
    Joined,
    Left,
    Message,
    Notice,
    Private,
    Renamed,
    Resumed,
    Sent,
    Welcome,
)
from pylingo.rules import Sanction
from pylingo.server import EXPIRED, LOOKED_AT
from pylingo.sessions import REFRESH
from tests.house import SECRET, DoorTestCase, House, Visitor, codes, request, texts

SEED = int(os.environ.get("PYLINGO_SEED") or random.randrange(2**32))
STORMS = 25
"""Random courses of events in one test."""


def split(heard: list[Any]) -> list[list[Any]]:
    """What was heard between two marks, each."""
    runs: list[list[Any]] = [[]]
    for event in heard:
        if event is None:
            runs.append([])
        else:
            runs[-1].append(event)
    return runs


class LingerTests(DoorTestCase):
    def setUp(self) -> None:
        self.house = House(linger=60.0)

    def test_not_seen(self) -> None:
        """A short break is not seen by others; a long one is."""
        ana, ben = self.visitor("ana", "lobby"), self.visitor("ben", "lobby")
        ana.hear()
        ben.drop()
        self.house.wait(58)
        self.assertEqual(ana.hear(), [])
        self.assertEqual(ana.ask("users").users, ["ana", "ben"])
        ana.hear()
        self.house.wait(4)
        left = [event for event in ana.hear() if not isinstance(event, Notice)]
        self.assertEqual(left, [Left(room="lobby", user="ben", reason="connection lost")])

    def test_name_free(self) -> None:
        """Then the name is free."""
        ana, ben = self.visitor("ana"), self.visitor("ben")
        ben.drop()
        self.house.wait(62)
        self.assertIsInstance(ana.ask("name", "ben"), Renamed)

    def test_still_resumable(self) -> None:
        """And still the session can be resumed, with name and room, from what is stored."""
        ben = self.visitor("ben", "lobby")
        ben.drop()
        self.house.wait(62)
        back = self.visitor()
        resumed = back.ask("resume", f"{ben.welcome.session} 0")
        self.assertEqual((resumed.user, resumed.room), ("ben", "lobby"))

    def test_no_linger(self) -> None:
        """Without lingering, the user is gone with the connection."""
        self.house = House(linger=0.0)
        ana, ben = self.visitor("ana", "lobby"), self.visitor("ben", "lobby")
        ben.drop()
        self.house.wait(2)
        self.assertEqual(ana.ask("users").users, ["ana"])

    def test_many(self) -> None:
        """Many whose time is over leave a few in each turn, so that nobody waits for it."""
        _, heard = self.house.user("ana", "lobby")
        visitors = [self.visitor(f"visitor-{n}", "lobby") for n in range(5 * EXPIRED)]
        for visitor in visitors:
            visitor.drop()
        self.house.wait(58)
        heard.clear()

        def turn(left: int) -> None:
            heard.append(None)
            if left:
                self.house.clock.callLater(0, turn, left - 1)

        for second in range(5):
            self.house.clock.callLater(second, turn, 50)
        self.house.wait(5)
        gone = [[isinstance(event, Left) for event in run] for run in split(heard)]
        self.assertEqual(max(map(sum, gone)), EXPIRED)
        self.assertEqual(sum(map(sum, gone)), len(visitors))

    def steps(self) -> list[Deferred[None]]:
        """Turns of the reactor that a look at the connections waits for; they come on demand."""
        steps: list[Deferred[None]] = []

        def wait(*_: object) -> Deferred[None]:
            steps.append(Deferred())
            return steps[-1]

        self.patch(server, "deferLater", wait)
        return steps

    def test_gone_meanwhile(self) -> None:
        """Who is gone before they are looked at is not looked at."""
        visitors = [self.visitor() for _ in range(3 * LOOKED_AT)]
        steps = self.steps()
        self.house.clock.advance(20)
        steps.pop().callback(None)
        visitors[-1].drop()
        self.patch(visitors[-1].wire, "abortConnection", self.fail)
        while steps:
            steps.pop().callback(None)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_long_look(self) -> None:
        """The time goes on while all are looked at, however long that takes."""
        for _ in range(LOOKED_AT):
            self.visitor()
        steps = self.steps()
        begun = self.house.factory.now
        for _ in range(5):
            self.house.clock.advance(1.0)
        self.assertEqual(self.house.factory.now, begun + 5)
        self.assertEqual(len(steps), 1)

    def test_stopped(self) -> None:
        """A server that stops while it looks at its connections leaves nothing behind."""
        for _ in range(3 * LOOKED_AT):
            self.visitor()
        self.house.factory.look()
        self.house.factory.doStop()
        self.assertEqual(self.house.clock.getDelayedCalls(), [])
        self.assertEqual(self.flushLoggedErrors(), [])


class ResumeTests(DoorTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.talker, _ = self.house.user("talker", "lobby")

    def talk(self, *said: str) -> None:
        for text in said:
            self.talker.say(text)
        self.house.settle()

    def resumed(self, visitor: Visitor, token: str, after: int = 0) -> Resumed:
        reply = visitor.ask("resume", f"{token} {after}")
        self.assertIsInstance(reply, Resumed)
        assert isinstance(reply, Resumed)
        return reply

    def test_lingering(self) -> None:
        """Who comes back has name and room, hears what was missed, once, and goes on live."""
        ana = self.visitor("ana", "lobby")
        self.talk("heard")
        (heard,) = [event for event in ana.hear() if isinstance(event, Message)]
        ana.drop()
        self.talk("missed 1", "missed 2")
        back = self.visitor()
        reply = self.resumed(back, ana.welcome.session, heard.id)
        self.assertEqual((reply.user, reply.room, reply.count), ("ana", "lobby", 2))
        self.assertEqual(reply.users, ["talker", "ana"])
        self.talk("live")
        events = back.hear()
        self.assertEqual(texts(events), ["missed 1", "missed 2", "live"])
        self.assertEqual(
            [event.replayed for event in events if isinstance(event, Message)],
            [True, True, False],
        )

    def test_guest_gone(self) -> None:
        """The guest's name that the new connection had at first is gone."""
        ana = self.visitor("ana", "lobby")
        ana.drop()
        back = self.visitor()
        guest = back.ask("hello").user
        self.resumed(back, ana.welcome.session)
        self.assertEqual(back.ask("msg", f"{guest} hi").code, "no_such_user")

    def test_others_do_not_see(self) -> None:
        """Nobody else sees the break."""
        ana, ben = self.visitor("ana", "lobby"), self.visitor("ben", "lobby")
        ben.hear()
        ana.drop()
        self.resumed(self.visitor(), ana.welcome.session)
        self.assertEqual(ben.hear(), [])

    def test_replaced(self) -> None:
        """A live connection is replaced: it hears so, and closes; nothing is lost between."""
        ana = self.visitor("ana", "lobby")
        ana.hear()
        self.talk("1")
        back = self.visitor()
        self.resumed(back, ana.welcome.session)
        self.talk("2")
        last = ana.hear()[-1]
        assert isinstance(last, Closing)
        self.assertEqual(last.reason, "replaced")
        self.assertTrue(ana.closed)
        self.assertEqual(texts(back.hear()), ["1", "2"])
        self.house.wait(70)
        self.assertIsInstance(back.ask("say", "still here"), Sent)

    def test_replaced_while_busy(self) -> None:
        """That is so although a command of the old connection waits."""
        ana = self.visitor("ana", "lobby")
        self.house.reads.hold()
        ana.begin("history")
        back = self.visitor()
        back.begin("resume", f"{ana.welcome.session} 0")
        self.house.reads.release()
        self.house.settle()
        self.assertTrue(ana.closed)
        self.assertIsInstance(back.hear()[1], Resumed)

    def test_said_before(self) -> None:
        """What was said at that connection is heard before the one who said it is gone."""
        ana, ben = self.visitor("ana", "lobby"), self.visitor("ben", "lobby")
        _, heard = self.house.user("cem", "lobby")
        ana.drop()
        self.house.commits.hold()
        ben.send(request("say", "hi"), request("resume", f"{ana.welcome.session} 0"))
        self.house.commits.release()
        self.house.settle()
        self.assertEqual([type(event) for event in heard], [Message, Left])

    def test_own_session(self) -> None:
        """One may resume the session one has: it is told again from there."""
        ana = self.visitor("ana", "lobby")
        self.talk("1", "2")
        ana.hear()
        self.assertEqual(self.resumed(ana, ana.welcome.session).user, "ana")
        self.assertEqual(texts(ana.hear()), ["1", "2"])
        self.assertFalse(ana.closed)

    def test_zero(self) -> None:
        """`0` is everything since this session joined the room, its own included, not before."""
        self.talk("before")
        ana = self.visitor("ana", "lobby")
        self.talk("1")
        ana.ask("say", "own")
        self.talk("2")
        ana.drop()
        back = self.visitor()
        self.resumed(back, ana.welcome.session, 0)
        self.assertEqual(texts(back.hear()), ["1", "own", "2"])

    def test_private(self) -> None:
        """What was said to one alone is among what was missed, in its place."""
        ana = self.visitor("ana", "lobby")
        ana.drop()
        user = self.house.registry.users["ana"]
        self.talk("1")
        self.talker.tell(user, "psst")
        self.talk("2")
        back = self.visitor()
        self.resumed(back, ana.welcome.session)
        heard = back.hear()
        self.assertEqual(texts(heard), ["1", "psst", "2"])
        self.assertTrue(all(e.replayed for e in heard if isinstance(e, Message | Private)))

    def test_nowhere(self) -> None:
        """Who was in no room is in none."""
        ana = self.visitor("ana")
        ana.drop()
        reply = self.resumed(self.visitor(), ana.welcome.session)
        self.assertEqual((reply.user, reply.room, list(reply.users)), ("ana", None, []))

    def test_unacknowledged(self) -> None:
        """What was said, and not acknowledged, can be said again: it is one message."""
        ana = self.visitor("ana", "lobby")
        _, heard = self.house.user("ben", "lobby")
        self.house.commits.hold()
        ana.send(request("say", "hi", "mine"))
        ana.drop()
        self.house.commits.release()
        back = self.visitor()
        self.resumed(back, ana.welcome.session)
        (own,) = [event for event in back.hear() if isinstance(event, Message)]
        back.send(request("say", "hi", "mine"))
        (sent,) = back.hear()
        assert isinstance(sent, Sent)
        self.assertEqual(sent.id, own.id)
        self.assertEqual(texts(heard), ["hi"])

    def test_refused(self) -> None:
        """What is no token of a session, or no id, is refused; one stays who one is."""
        ana = self.visitor("ana", "lobby")
        token = ana.welcome.session
        for body in ("", token, f"{token} x", f"{token} -1", f"{token} 1 2", "0"):
            self.error(ana, "bad_argument", "resume", body)
        for body in ("nonsense 0", f"{token}x 0", f"{token[:-1]} 0"):
            self.error(ana, "not_resumable", "resume", body)
        self.assertEqual(ana.ask("users").users, ["talker", "ana"])

    def test_tokens(self) -> None:
        """The old token stays good until the new one was used."""
        first = self.visitor("ana", "lobby")
        token = first.welcome.session
        first.drop()
        second = self.visitor()
        new = self.resumed(second, token).session
        self.assertNotEqual(new, token)
        second.drop()
        third = self.visitor()
        newer = self.resumed(third, token).session
        third.drop()
        fourth = self.visitor()
        self.resumed(fourth, newer)
        self.error(self.visitor(), "not_resumable", "resume", f"{token} 0")
        self.error(self.visitor(), "not_resumable", "resume", f"{new} 0")

    def test_expired(self) -> None:
        """After 24 hours a session is over."""
        ana, eve = self.visitor("ana", "lobby"), self.visitor("eve", "lobby")
        for visitor in (ana, eve):
            visitor.drop()
        self.house.wait(70)
        self.house.clock.advance(DAY - 200)
        self.house.wait(2)
        self.resumed(self.visitor(), ana.welcome.session)
        self.house.clock.advance(400)
        self.house.wait(2)
        self.error(self.visitor(), "not_resumable", "resume", f"{eve.welcome.session} 0")

    def test_race(self) -> None:
        """Of two that come with one token, the later has the session, the other is told."""
        ana = self.visitor("ana", "lobby")
        ana.drop()
        self.house.wait(70)
        one, two = self.visitor(), self.visitor()
        self.house.reads.hold()
        first = one.begin("resume", f"{ana.welcome.session} 0")
        second = two.begin("resume", f"{ana.welcome.session} 0")
        self.house.reads.release()
        self.house.settle()
        self.assertEqual([v.closed for v in (one, two)].count(True), 1)
        stays, asked = (two, second) if one.closed else (one, first)
        self.assertEqual(stays.reply(asked).user, "ana")
        self.assertEqual(self.house.registry.users["ana"].here.shown(), ["talker", "ana"])

    def test_in_one_turn(self) -> None:
        """A new name and a resume of that session in one turn are both answered for."""
        ana, ben = self.visitor("ana", "lobby"), self.visitor("ben", "lobby")
        back = self.visitor()
        ben.hear()
        self.house.commits.hold()
        ana.wire.arrive(request("name", "anna", 1))
        back.wire.arrive(request("resume", f"{ana.welcome.session if ana.welcome else ''} 0", 1))
        self.house.commits.release()
        self.house.settle()
        self.assertEqual(back.reply(1).user, "anna")
        self.assertTrue(ana.closed)
        self.assertEqual(ben.hear(), [Renamed(user="ana", to="anna")])

    def test_many(self) -> None:
        """Ten thousand missed messages come in pieces, in order, once each, then live."""
        ana = self.visitor("ana", "lobby")
        ana.drop()
        self.house.commits.hold()
        for number in range(10_000):
            self.talker.say(str(number))
        self.house.commits.release()
        self.house.settle()
        back = self.visitor()
        self.house.reads.hold()
        back.begin("resume", f"{ana.welcome.session} 0")
        self.talk("meanwhile")
        while self.house.reads.waiting and not texts(back.heard):
            self.house.reads.step()
        self.assertTrue(0 < len(texts(back.heard)) < 1000)
        self.house.reads.release()
        self.talk("live")
        said = [*map(str, range(10_000)), "meanwhile", "live"]
        self.assertEqual(texts(back.hear()), said)

    def test_many_and_stalled(self) -> None:
        """They are read no faster than they are taken."""
        ana = self.visitor("ana", "lobby")
        ana.drop()
        self.house.commits.hold()
        for number in range(3_000):
            self.talker.say(f"{number} " + "x" * 1000)
        self.house.commits.release()
        self.house.settle()
        back = self.visitor()
        back.stall()
        back.begin("resume", f"{ana.welcome.session} 0")
        self.house.wait(5, alive=False)
        self.assertEqual(back.wire.value(), b"")
        self.assertFalse(back.closed)
        self.assertLess(back.wire.door.outbox.size, 1_048_576)
        back.unstall()
        self.assertEqual(len(texts(back.hear())), 3_000)

    def test_stalled_among_talkers(self) -> None:
        """Who takes what was missed more slowly than others talk is dropped, not waited for."""
        ana = self.visitor("ana", "lobby")
        ana.drop()
        self.talk("first")
        back = self.visitor()
        back.stall()
        back.begin("resume", f"{ana.welcome.session} 0")
        for number in range(20):
            self.talk(*(f"{number}-{n} " + "x" * 8_000 for n in range(10)))
            # It takes a little now and then, so it is not that it has stopped.
            back.wire.door.outbox.moved += 1
            self.house.wait(1)
        self.assertEqual(self.house.factory.slow, 1)
        self.assertTrue(back.closed)

    def test_too_much_at_once(self) -> None:
        """What is missed is too much for a peer that is behind: it ends, and can go on later."""
        self.patch(outbox, "MOST_WAITING", 100_000)
        self.patch(history, "PIECE", 15)
        ana, ben = self.house.owner("ana", "lobby"), self.visitor("ben")
        ana.drop()
        ben.ask("msg", "ana psst")
        self.talk(*("x" * 8_000 for _ in range(20)))
        back = self.visitor()
        back.stall()
        back.begin("resume", f"{ana.welcome.session} 0")
        self.assertEqual(self.house.factory.slow, 1)
        reading = self.patch(self.house.log, "missed", self.fail)
        back.unstall()
        self.house.settle()
        reading.restore()
        self.assertEqual([type(event) for event in back.hear()], [Closing])
        self.assertTrue(back.closed)
        self.patch(outbox, "MOST_WAITING", 10_000_000)
        again = self.visitor()
        self.resumed(again, ana.welcome.session)
        self.assertEqual(len(texts(again.hear())), 21)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_disk_fails_among_talkers(self) -> None:
        """Where what was missed cannot be read it ends, with nothing live; all comes later."""
        ana = self.visitor("ana", "lobby")
        ana.drop()
        self.talk("missed")
        back = self.visitor()
        reading: Deferred[Any] = Deferred()
        disk = self.patch(self.house.log, "read", lambda _: reading)
        asked = back.begin("resume", f"{ana.welcome.session} 0")
        self.talk("live")
        # The last error waits for what was accepted before, and nothing is read meanwhile.
        self.house.commits.hold()
        self.talker.say("accepted")
        reading.errback(sqlite3.OperationalError("disk I/O error"))
        back.begin("ping", "too late")
        self.house.commits.release()
        self.house.settle()
        disk.restore()
        resumed = back.reply(asked)
        assert isinstance(resumed, Resumed)
        welcome, answer, error = back.hear()
        self.assertEqual((type(welcome), answer), (Welcome, resumed))
        assert isinstance(error, Error)
        self.assertEqual((error.code, error.fatal, error.re), ("internal", True, None))
        self.assertTrue(back.closed)
        self.assertEqual(len(self.flushLoggedErrors(sqlite3.OperationalError)), 1)
        again = self.visitor()
        self.resumed(again, resumed.session)
        self.assertEqual(texts(again.hear()), ["missed", "live", "accepted"])

    def test_dropped_inside(self) -> None:
        """A connection that breaks while it is told what it missed can be resumed again."""
        ana = self.visitor("ana", "lobby")
        ana.drop()
        self.talk("1", "2")
        token = ana.welcome.session
        back = self.visitor()
        self.house.reads.hold()
        back.begin("resume", f"{token} 0")
        back.drop()
        self.house.reads.release()
        again = self.visitor()
        self.resumed(again, token)
        self.assertEqual(texts(again.hear()), ["1", "2"])
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_who_is_there(self) -> None:
        """Who comes and goes while it is stored is told after who was there, and counted once."""
        ana, ben = self.visitor("ana", "lobby"), self.visitor("ben", "lobby")
        ana.drop()
        back, cat = self.visitor(), self.visitor("cat")
        back.ask("ping")
        back.hear()
        self.house.commits.hold()
        id = back.begin("resume", f"{ana.welcome.session} 0")
        cat.begin("join", "lobby")
        ben.drop()
        self.house.commits.release()
        resumed = back.reply(id)
        self.assertEqual((resumed.users, resumed.count), (["talker", "ana", "ben"], 3))
        self.assertEqual(back.hear(), [resumed, Joined(room="lobby", user="cat")])

    def test_hello_again(self) -> None:
        """Another greeting brings another token; the one of the resuming stays good."""
        ana = self.visitor("ana", "lobby")
        ana.drop()
        back = self.visitor()
        resumed = back.ask("resume", f"{ana.welcome.session} 0")
        back.ask("hello", "test")
        back.drop()
        self.assertIsInstance(self.visitor().ask("resume", f"{resumed.session} 0"), Resumed)

    def test_resent_elsewhere(self) -> None:
        """What is stored is answered again, whatever has become of where it was said."""
        ana, ben = self.visitor("ana", "lobby"), self.visitor("ben", "lobby")
        said, told = request("say", "hi", 7), request("msg", "ben psst", 8)
        ana.hear()
        ana.send(said + told)
        first = ana.hear()
        ana.ask("leave")
        ben.ask("close")
        ana.hear()
        ana.send(said + told)
        self.assertEqual(ana.hear(), first)
        ana.send(request("say", "else", 7) + request("msg", "ben else", 8))
        self.assertEqual(codes(ana.hear()), ["not_in_room", "no_such_user"])

    def test_resent_muted(self) -> None:
        """The same for who was muted meanwhile, in the room or everywhere."""
        ana, ben = self.visitor("ana", "lobby"), self.visitor("ben", "lobby")
        said = request("say", "hi", 7)
        ben.send(said)
        first = ben.hear()
        ana.ask("mute", "ben")
        ben.hear()
        ben.send(said)
        self.assertEqual(ben.hear(), first)
        place = self.house.registry.users["ben"].place
        mute = Sanction("ben", "ben", place, "", "ana", "")
        self.house.registry.rules.mutes["ben"] = mute
        ben.ask("join", "tea")
        ben.hear()
        ben.send(said)
        self.assertEqual(ben.hear(), first)

    def test_resent_as_another(self) -> None:
        """The same words under the same id are another message if they go elsewhere."""
        ana, ben = self.visitor("ana", "lobby"), self.visitor("ben", "lobby")
        cem = self.visitor("cem", "lobby")
        for command, body in (("say", "hi"), ("me", "hi"), ("msg", "ben hi"), ("msg", "cem hi")):
            ana.send(request(command, body, 7) * 2)
        ids = [event.id for event in ana.hear() if isinstance(event, Sent)]
        self.assertEqual((len(ids), len(set(ids))), (8, 4))
        self.assertEqual([len(texts(one.hear())) for one in (ben, cem)], [3, 3])

    def test_kicked_inside(self) -> None:
        """Who is kicked while coming back is back in no room, and gets one answer."""
        ana, ben = self.visitor("ana", "den"), self.visitor("ben", "den")
        ben.drop()
        back = self.visitor()
        self.house.commits.hold()
        ana.ask("say", "hi")
        asked = back.begin("resume", f"{ben.welcome.session} 0")
        self.house.commits.step()
        ana.begin("kick", "ben")
        self.house.commits.release()
        self.house.settle()
        reply = back.reply(asked)
        self.assertIsInstance(reply, Resumed)
        self.assertEqual(back.ask("users").code, "not_in_room")
        self.assertEqual(self.flushLoggedErrors(), [])


class RestartTests(DoorTestCase):
    def setUp(self) -> None:
        self.house = House(self.mktemp())
        self.addCleanup(lambda: self.house.database.close())

    def restart(self, after: float = 1.0) -> None:
        self.house = self.house.restart(after)

    def test_back(self) -> None:
        """After a restart, name, room and what was missed are there."""
        ana, ben = self.visitor("ana", "lobby"), self.visitor("ben", "lobby")
        ana.ask("say", "1")
        ben.ask("say", "2")
        self.restart()
        back, ben_back = self.visitor(), self.visitor()
        reply = back.ask("resume", f"{ana.welcome.session} 0")
        self.assertEqual((reply.user, reply.room, reply.users), ("ana", "lobby", ["ana"]))
        reply = ben_back.ask("resume", f"{ben.welcome.session} 0")
        self.assertEqual((reply.user, reply.users), ("ben", ["ana", "ben"]))
        ben_back.ask("say", "3")
        self.assertEqual(texts(back.hear()), ["1", "2", "3"])
        self.assertEqual(texts(ben_back.hear()), ["1", "2"])

    def test_guest(self) -> None:
        """A guest's name is not given to another after a restart."""
        guest = self.visitor(room="lobby")
        self.restart()
        back = self.visitor()
        self.assertNotEqual(back.ask("hello").user, guest.welcome.user)
        reply = back.ask("resume", f"{guest.welcome.session} 0")
        self.assertEqual((reply.user, reply.room), (guest.welcome.user, "lobby"))

    def test_resend(self) -> None:
        """What was stored and not acknowledged is not stored again when it is resent."""
        ana, ben = self.visitor("ana", "lobby"), self.visitor("ben", "lobby")
        self.house.commits.hold()
        ana.send(request("say", "stored", "a"))
        self.house.commits.run()
        ana.send(request("say", "lost", "b"))
        self.assertEqual((codes(ana.hear()), texts(ben.hear())), ([], []))
        self.restart()
        back = self.visitor()
        back.ask("resume", f"{ana.welcome.session} 0")
        back.send(request("say", "stored", "a"), request("say", "lost", "b"))
        heard = back.hear()
        self.assertEqual(texts(heard), ["stored"])
        self.assertEqual([e.re for e in heard if isinstance(e, Sent)], ["a", "b"])
        rows = self.house.database.reader.execute("SELECT text FROM messages ORDER BY id")
        self.assertEqual(rows.fetchall(), [("stored",), ("lost",)])

    def test_sent_is_stored(self) -> None:
        """What was acknowledged is there after the server was killed."""
        ana = self.visitor("ana", "lobby")
        sent = [ana.ask("say", str(number)).id for number in range(10)]
        self.restart()
        ben = self.visitor("ben")
        ben.ask("join", "lobby")
        ben.ask("history")
        heard = [event for event in ben.hear() if isinstance(event, History)]
        self.assertEqual([message.id for message in heard[0].messages], sent)

    def test_name_taken(self) -> None:
        """If the name was taken meanwhile, the guest's name given instead is told."""
        ana = self.visitor("ana", "lobby")
        self.restart()
        self.visitor("ANA")
        reply = self.visitor().ask("resume", f"{ana.welcome.session} 0")
        self.assertNotEqual(reply.user.casefold(), "ana")
        self.assertEqual((reply.room, reply.users), ("lobby", [reply.user]))

    def test_expired(self) -> None:
        """After 24 hours a session is over, after a restart as well."""
        ana = self.visitor("ana", "lobby")
        ana.drop()
        self.restart(after=DAY + 1)
        self.error(self.visitor(), "not_resumable", "resume", f"{ana.welcome.session} 0")

    def test_killed(self) -> None:
        """A day after the server was killed one is back, though the link had broken before."""
        ana = self.visitor("ana", "lobby")
        ana.drop()
        token = self.visitor().ask("resume", f"{ana.welcome.session} 0").session
        self.house.wait(REFRESH - 10)
        self.restart(after=DAY)
        self.assertEqual(self.visitor().ask("resume", f"{token} 0").room, "lobby")

    def test_tokens(self) -> None:
        """Both tokens are good after a restart, if the answer with the new one was lost."""
        ana = self.visitor("ana", "lobby")
        back = self.visitor()
        new = back.ask("resume", f"{ana.welcome.session} 0").session
        self.restart()
        again = self.visitor()
        self.assertIsInstance(again.ask("resume", f"{ana.welcome.session} 0"), Resumed)
        self.restart()
        self.error(self.visitor(), "not_resumable", "resume", f"{new} 0")

    def test_private(self) -> None:
        """Private messages that were missed are there after a restart."""
        ana, ben = self.visitor("ana", "lobby"), self.visitor("ben")
        ana.drop()
        ben.ask("msg", "ana psst")
        self.restart()
        back = self.visitor()
        back.ask("resume", f"{ana.welcome.session} 0")
        self.assertEqual(texts(back.hear()), ["psst"])

    def test_two_tokens(self) -> None:
        """Two connections with a session's two tokens are one after the other that one user."""
        ana = self.visitor("ana", "lobby")
        tokens = ana.welcome.session, ana.ask("hello").session
        ana.drop()
        self.restart()
        self.house.reads.hold()
        both = [self.visitor(), self.visitor()]
        for one, token in zip(both, tokens, strict=True):
            one.begin("resume", f"{token} 0")
        self.house.reads.step()
        # Both sessions are read before either connection is told.
        self.house.reads.run()
        self.house.reads.release()
        self.house.settle()
        self.assertEqual([one.closed for one in both], [True, False])
        self.assertEqual(both[1].ask("users").users, ["ana"])

    def test_from_a_login(self) -> None:
        """Who has logged in and goes on with an earlier session still is who it was."""
        ana = self.visitor("ana", "lobby")
        ana.ask("register", SECRET)
        ana.drop()
        self.restart()
        back = self.visitor()
        back.ask("login", f"ana {SECRET}")
        resumed = back.ask("resume", f"{ana.welcome.session} 0")
        self.assertEqual((resumed.user, resumed.room), ("ana", "lobby"))
        self.assertIsInstance(back.ask("password", SECRET), Done)
        guest = self.visitor("cem", "lobby")
        guest.drop()
        self.restart()
        back = self.visitor("cem")
        self.assertEqual(back.ask("resume", f"{guest.welcome.session} 0").user, "cem")

    def test_resent_by_another_name(self) -> None:
        """What was said to an account by its name is known by that, whatever name was shown."""
        self.visitor("ana").ask("register", SECRET)
        ana = self.house.owner("ana")
        ana.ask("name", "anna")
        ben, said = self.visitor("ben"), request("msg", "ana hi", 7)
        ben.send(said)
        first = ben.reply(7)
        self.restart()
        back = self.visitor()
        back.ask("resume", f"{ben.welcome.session} 0")
        back.send(said)
        self.assertEqual(back.reply(7), first)

    def test_name_of_before(self) -> None:
        """What was said to a name that would be none today keeps nobody from coming back."""
        ana, ben = self.visitor("ana"), self.visitor("ben")
        ben.send(request("msg", "ana hi", 7))
        self.house.database.writer.execute("UPDATE batches SET target = 'a n a'")
        self.restart()
        self.assertEqual(self.visitor().ask("resume", f"{ana.welcome.session} 0").user, "ana")

    def test_older_token_in_the_database(self) -> None:
        """A session is one user, also where only the database knows a token of it still."""
        first: str = self.visitor("ana", "lobby").welcome.session
        second = self.visitor().ask("resume", f"{first} 0").session
        self.house.break_disk()
        for token in (second, first):
            self.assertEqual(self.visitor().ask("resume", f"{token} 0").user, "ana")

    def test_resumed_while_failing(self) -> None:
        """Where a new token cannot be stored, the one that was used stays the way back."""
        ana = self.visitor("ana", "lobby")
        ana.drop()
        self.house.break_disk()
        token = self.visitor().ask("resume", f"{ana.welcome.session} 0").session
        self.restart()
        reply = self.visitor().ask("resume", f"{token} 0")
        self.assertEqual((reply.user, reply.room), ("ana", "lobby"))

    def test_closed_while_failing(self) -> None:
        """A session that was ended is over, although that cannot be stored."""
        ana = self.visitor("ana", "lobby")
        token = ana.ask("hello").session
        self.house.break_disk()
        self.assertIsInstance(ana.ask("close"), Closing)
        self.assertEqual(self.visitor().ask("resume", f"{token} 0").code, "not_resumable")

    def test_state_retried(self) -> None:
        """A session that could not be stored is stored when the disk is well again."""
        self.house.break_disk()
        ana = self.visitor("ana", "lobby")
        self.assertEqual(ana.ask("say", "hi").code, "internal")
        self.house.mend_disk()
        self.assertIsInstance(ana.ask("say", "hi"), Sent)
        self.restart()
        reply = self.visitor().ask("resume", f"{ana.welcome.session} 0")
        self.assertEqual((reply.user, reply.room), ("ana", "lobby"))


class StormTests(DoorTestCase):
    """Random courses of events: whatever breaks when, everything is heard once, in order."""

    def test_storm(self) -> None:
        """Joins, drops and resumes while the room talks and the disk is slow."""
        for number in range(STORMS):
            with self.subTest(storm=number):
                self.storm(random.Random(f"{SEED} {number}"))

    def storm(self, chance: random.Random) -> None:
        why = f"PYLINGO_SEED={SEED}"
        house = self.house = House()
        talker, _ = house.user("talker", "lobby")
        ana = house.visitor("ana", "lobby")
        token = ana.welcome.session
        heard: list[Any] = []
        acknowledged: dict[str, int] = {}
        said = own = 0

        def note() -> None:
            nonlocal token
            for event in ana.hear():
                if isinstance(event, Message | Private):
                    heard.append(event)
                elif isinstance(event, Resumed):
                    token = event.session
                elif isinstance(event, Sent):
                    acknowledged[str(event.re)] = event.id

        house.commits.hold()
        house.reads.hold()
        resumes = 0
        for _ in range(80):
            match chance.randrange(8):
                case 0 | 1:
                    talker.say(f"{said}")
                    said += 1
                case 2:
                    if own < 30:
                        ana.send(request("say", f"own {own}", f"own {own}"))
                        own += 1
                case 3 | 4:
                    if house.commits.waiting:
                        house.commits.step()
                case 5:
                    house.reads.run()
                case 6:
                    if house.reads.waiting:
                        house.reads.step()
                case _:
                    if resumes < 6 and chance.random() < 0.5:
                        note()
                        resumes += 1
                        if chance.random() < 0.7:
                            ana.drop()
                        ana = Visitor(house)
                        last = heard[-1].id if heard else 0
                        ana.send(request("resume", f"{token} {last}", "resume"))
                        for mine in range(max(0, own - 3), own):
                            ana.send(request("say", f"own {mine}", f"own {mine}"))
            house.settle()
            if chance.random() < 0.5:
                note()
        house.commits.release()
        house.reads.release()
        house.settle()
        note()
        ids = [event.id for event in heard]
        self.assertEqual(ids, sorted(set(ids)), why)
        self.assertEqual(
            [event.text for event in heard if event.user == "talker"],
            [str(number) for number in range(said)],
            why,
        )
        rows = house.database.reader.execute("SELECT text, id FROM messages WHERE user = 'ana'")
        stored = rows.fetchall()
        self.assertEqual(len({text for text, _ in stored}), len(stored), why)
        for text, id in acknowledged.items():
            self.assertIn((text, id), stored, why)
