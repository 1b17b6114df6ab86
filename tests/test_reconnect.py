"""Links that break, and what a connection makes of it."""

from __future__ import annotations

from itertools import pairwise

from OpenSSL import SSL
from twisted.internet import error
from twisted.internet.defer import ensureDeferred
from twisted.trial.unittest import SynchronousTestCase

from pylingo import connection
from pylingo.connection import Connected, Disconnected, Ticket
from pylingo.protocol import (
    ChatError,
    Done,
    Error,
    Joined,
    Left,
    Message,
    Notice,
    Private,
    Resumed,
    Rooms,
    Sent,
    encode,
)
from tests.world import World, joined, message, refused, resumed, sent, welcome


class BrokenLinkTests(SynchronousTestCase):
    """A link that is lost, and what is the same when it is back."""

    def setUp(self) -> None:
        self.world = World()

    def lose(self) -> None:
        """Break the newest link, and wait until there is another."""
        known = len(self.world.links)
        self.world.cut()
        for _ in range(200):
            if len(self.world.links) > known:
                return
            self.world.wait(0.5)
        self.fail("it was not tried again")

    def test_resumed(self) -> None:
        """It comes back under the same name, in the same room, and says so."""
        self.world.serve()
        ana = self.world.arrive(name="ana", room="lobby")
        self.lose()
        self.assertEqual((ana.connection.user, ana.connection.room), ("ana", "lobby"))
        self.assertEqual(ana.of(Connected)[-1], Connected(again=True))
        self.assertEqual([event.final for event in ana.of(Disconnected)], [False])
        self.assertEqual(len(ana.of(Resumed)), 1)

    def test_missed_messages(self) -> None:
        """What was said meanwhile is heard, once, in order, then what is said live."""
        self.world.serve()
        bob = self.world.arrive(name="bob", room="lobby")
        ana = self.world.arrive(name="ana", room="lobby")
        bob.connection.say("before")
        self.world.flush()
        self.world.cut()
        for text in ("one", "two"):
            bob.connection.say(text)
        bob.connection.tell("ana", "three")
        self.world.flush()
        self.assertEqual(ana.texts, ["before"])
        self.world.wait(5)
        bob.connection.say("four")
        self.world.flush()
        self.assertEqual(ana.texts, ["before", "one", "two", "three", "four"])

    def test_nobody_else_notices(self) -> None:
        """A short break is not seen by the others in the room."""
        self.world.serve()
        bob = self.world.arrive(name="bob", room="lobby")
        self.world.arrive(name="ana", room="lobby")
        self.lose()
        self.assertEqual(bob.of(Left), [])

    def test_sent_again(self) -> None:
        """A request without a reply is sent again under the same id, before newer ones."""
        ana = self.world.arrive(name="ana", room="lobby")
        said = ana.connection.say("hi")
        self.world.flush()
        first = self.world.link.requests[-1]
        self.world.answers["say"] = sent(7)
        self.world.cut()
        later = ana.connection.say("typed in the pause")
        self.world.wait(5)
        again = [request for request in self.world.link.requests if request.command == "say"]
        self.assertEqual(again[0], first)
        self.assertEqual([request.body for request in again], ["hi", "typed in the pause"])
        self.assertEqual(self.successResultOf(said).id, 7)
        self.successResultOf(later)

    def test_said_once(self) -> None:
        """A message whose acknowledgement was lost is not said twice, nor echoed twice."""
        self.world.serve()
        bob = self.world.arrive(name="bob", room="lobby")
        ana = self.world.arrive(name="ana", room="lobby", echo=True)
        said = ana.connection.say("hi")
        # The server has it, and its answer is lost.
        link = self.world.link
        link.dataReceived(self.world.written())
        link.transport.loseConnection()
        link.transport.stream.clear()
        self.world.wait(5)
        self.assertEqual(self.successResultOf(said).id, bob.of(Message)[0].id)
        self.assertEqual((bob.texts, ana.texts), (["hi"], ["hi"]))

    def test_answered_is_not_sent_again(self) -> None:
        """What was answered stays said."""
        self.world.answers["say"] = sent(7)
        ana = self.world.arrive(room="lobby")
        ana.connection.say("hi")
        self.world.flush()
        self.lose()
        self.assertNotIn("say", [request.command for request in self.world.link.requests])

    def test_resume_says_what_was_seen(self) -> None:
        """The session is resumed with its token and the last id that was seen."""
        self.world.arrive(name="ana", room="lobby")
        self.world.link.send(message(41), message(42))
        self.world.flush()
        self.lose()
        self.assertEqual(self.world.link.asked[1], ("resume", "token-1 42"))

    def test_what_a_guest_heard(self) -> None:
        """What came for the guest who one was before resuming is not what the session saw."""
        ana = self.world.arrive(name="ana", room="lobby")
        self.world.link.send(message(41))
        self.world.flush()
        to_guest = Private(id=90, at=1, user="bob", to="guest-2", text="who are you?")
        self.world.answers["resume"] = lambda request: [to_guest, resumed(request)]
        self.lose()
        self.assertIn(to_guest, ana.heard)
        self.lose()
        self.assertEqual(self.world.link.asked[1], ("resume", "token-2 41"))

    def test_next_token(self) -> None:
        """The next time, it is the token that the resume gave."""
        self.world.arrive(name="ana", room="lobby")
        self.lose()
        self.lose()
        self.assertEqual(self.world.link.asked[1], ("resume", "token-2 0"))

    def test_greeted_again(self) -> None:
        """Who says hello again, however often, has the newest token."""
        self.world.serve()
        ana = self.world.arrive(name="ana", room="lobby")
        for hellos in (2, 1):
            self.lose()
            for _ in range(hellos):
                ana.connection.request("hello")
                self.world.flush()
        self.lose()
        self.assertEqual(len(ana.of(Resumed)), 3)

    def test_resumed_by_hand(self) -> None:
        """A session that was taken up by a request of one's own is the one that is gone on with."""
        ana = self.world.arrive()
        ana.connection.request("resume", "old 5")
        self.world.flush()
        self.lose()
        self.assertEqual(self.world.link.asked[1], ("resume", "token-2 0"))

    def test_server_in_trouble(self) -> None:
        """A server that could not look for the session is asked again; nothing is begun anew."""
        ana = self.world.arrive(name="ana", room="lobby")
        resume = self.world.answers["resume"]
        self.world.answers["resume"] = refused("internal", "That failed.")
        self.lose()
        self.assertEqual(self.world.link.asked[1:], [("resume", "token-1 0")])
        self.assertEqual(ana.of(Disconnected)[-1].reason, "That failed.")
        self.world.answers["resume"] = resume
        self.world.wait(10)
        self.assertEqual(self.world.link.asked[1:], [("resume", "token-1 0")])
        self.assertTrue(ana.connection.linked)

    def test_resumed_needs_no_name(self) -> None:
        """A resumed session has its name and room, so they are not asked for."""
        self.world.arrive(name="ana", room="lobby")
        self.lose()
        self.assertEqual(
            [request.command for request in self.world.link.requests], ["hello", "resume"]
        )

    def test_other_name_on_return(self) -> None:
        """Where the name was given away meanwhile, the connection knows its new one."""
        ana = self.world.arrive(name="ana", room="lobby")
        self.world.answers["resume"] = lambda request: [
            resumed(request, "guest-5", None)
        ]  # fmt: skip
        self.lose()
        self.assertEqual((ana.connection.user, ana.connection.room), ("guest-5", None))

    def test_not_resumable(self) -> None:
        """A session that has ended is begun anew, under the name and in the room of before."""
        self.world.serve()
        ana = self.world.arrive(name="ana", room="lobby")
        server = self.world.serve()
        self.lose()
        self.assertEqual((ana.connection.user, ana.connection.room), ("ana", "lobby"))
        self.assertTrue(ana.connection.linked)
        self.assertIn("ana", server.registry.users)

    def test_new_session_is_the_one_resumed(self) -> None:
        """After that it is the new session that is gone on with, from its own beginning.

        What was seen before may have been numbered by another clock.
        """
        self.world.arrive(name="ana", room="lobby")
        self.world.link.send(message(2**50, "from the future"))
        self.world.flush()
        self.world.answers["resume"] = refused("not_resumable")
        self.world.answers["hello"] = lambda request: [welcome(request, session="new")]
        self.lose()
        del self.world.answers["resume"]
        self.lose()
        self.assertEqual(self.world.link.asked[1], ("resume", "new 0"))

    def test_name_refused_on_return(self) -> None:
        """Where the name is taken by then, the connection goes on as a guest and says so."""
        ana = self.world.arrive(name="ana", room="lobby")
        self.world.answers["resume"] = refused("not_resumable")
        self.world.answers["name"] = refused("name_taken", "The name ana is taken.")
        self.lose()
        self.assertEqual((ana.connection.user, ana.connection.room), ("guest-1", "lobby"))
        self.assertIn("The name ana is taken.", [event.text for event in ana.of(Error)])
        self.assertTrue(ana.connection.linked)

    def test_banned_on_return(self) -> None:
        """Where one is banned by then, the connection stays, so that one can log in."""
        ana = self.world.arrive(name="ana", room="lobby")
        for command in ("resume", "name", "join"):
            self.world.answers[command] = refused("forbidden", "You are banned. To log in: /login")
        self.lose()
        self.assertEqual((ana.connection.user, ana.connection.room), ("guest-1", None))
        self.assertIn("You are banned. To log in: /login", [event.text for event in ana.of(Error)])
        self.assertTrue(ana.connection.linked)

    def test_lost_again_on_return(self) -> None:
        """A link that breaks in the middle of the return costs neither name nor room."""
        ana = self.world.arrive(name="ana", room="lobby")
        self.world.answers["resume"] = refused("not_resumable")
        name = self.world.answers.pop("name")
        self.lose()
        self.assertEqual(self.world.link.asked[-1], ("name", "ana"))
        self.world.answers["name"] = name
        self.world.answers["resume"] = lambda request: [
            resumed(request, "guest-1", None)
        ]  # fmt: skip
        self.lose()
        self.assertEqual((ana.connection.user, ana.connection.room), ("ana", "lobby"))

    def test_unsure(self) -> None:
        """Where the session has ended, what may have been said fails; what was not sent is said."""
        ana = self.world.arrive(name="ana", room="lobby")
        said, asked = ana.connection.say("hi"), ana.connection.request("list")
        self.world.flush()
        self.world.answers |= {"resume": refused("not_resumable"), "say": sent(7)}
        self.world.cut()
        later = ana.connection.say("typed in the pause")
        self.world.wait(5)
        self.assertEqual(self.failureResultOf(said, ChatError).value.code, "unsure")
        self.successResultOf(later)
        self.assertNoResult(asked)
        self.assertEqual(self.world.link.asked[-2:], [("list", ""), ("say", "typed in the pause")])

    def test_elsewhere_on_return(self) -> None:
        """What was to be done in a room is not done in no room, which may be the whole server."""
        ana = self.world.arrive(name="ana", room="lobby")
        muted = ana.connection.request("mute", "bob")
        self.world.flush()
        self.world.answers["resume"] = lambda request: [resumed(request, room=None)]
        self.lose()
        self.assertEqual(self.failureResultOf(muted, ChatError).value.code, "not_in_room")
        self.assertNotIn(("mute", "bob"), self.world.link.asked)

    def test_another_room_on_return(self) -> None:
        """What was meant for one room is not said in another that the session came back in."""
        ana = self.world.arrive(name="ana", room="lobby")
        begun = ana.connection.say("begun")
        self.world.flush()
        self.world.answers["resume"] = lambda request: [resumed(request, room="den")]
        self.world.cut()
        later = ana.connection.say("later")
        told = ana.connection.request("msg", "bob psst")
        self.world.wait(5)
        self.assertEqual(self.failureResultOf(begun, ChatError).value.code, "unsure")
        self.assertEqual(self.failureResultOf(later, ChatError).value.code, "not_in_room")
        self.assertNoResult(told)
        self.assertIn(("msg", "bob psst"), self.world.link.asked)
        self.assertNotIn("say", [command for command, _ in self.world.link.asked])

    def test_said_under_another_name(self) -> None:
        """What was typed in a pause is not said by a guest, where the name cannot be had again."""
        ana = self.world.arrive(name="ana", room="lobby")
        begun = ana.connection.say("begun")
        self.world.flush()
        self.world.answers["resume"] = refused("not_resumable")
        self.world.answers["name"] = refused("name_registered", "The name ana is registered.")
        self.world.link.transport.loseConnection()
        self.world.flush()
        later = ana.connection.say("later")
        told = ana.connection.request("msg", "bob psst")
        self.world.wait(5)
        self.assertEqual(ana.connection.user, "guest-1")
        self.assertEqual(self.failureResultOf(begun, ChatError).value.code, "unsure")
        for one in (later, told):
            self.assertEqual(self.failureResultOf(one, ChatError).value.code, "name_taken")
        self.assertTrue({"say", "msg"}.isdisjoint(c for c, _ in self.world.link.asked))

    def test_said_under_a_name_like_a_guests(self) -> None:
        """Nor where the name is one that only begins as a guest's."""
        house = self.world.arrive(name="guest-house", room="lobby")
        self.world.answers["resume"] = refused("not_resumable")
        self.world.answers["name"] = refused("name_taken")
        self.world.link.transport.loseConnection()
        self.world.flush()
        later = house.connection.say("later")
        self.world.wait(5)
        self.assertEqual(house.connection.user, "guest-1")
        self.assertEqual(self.failureResultOf(later, ChatError).value.code, "name_taken")

    def test_said_under_another_name_over_two_links(self) -> None:
        """Also where the link was lost once more before the name was refused, or after it."""
        for lost in ("name", "join"):
            self.world = World()
            ana = self.world.arrive(name="ana", room="lobby")
            self.world.answers["resume"] = refused("not_resumable")
            self.world.answers["name"] = refused("name_registered")
            answer = self.world.answers.pop(lost)
            self.world.link.transport.loseConnection()
            self.world.flush()
            later = ana.connection.say("later")
            self.world.wait(5)
            self.world.answers["resume"] = lambda request: [resumed(request, "guest-1", None)]
            self.world.answers[lost] = answer
            self.world.link.transport.loseConnection()
            self.world.flush()
            self.world.wait(15)
            self.assertEqual(self.failureResultOf(later, ChatError).value.code, "name_taken", lost)

    def test_way_not_heard(self) -> None:
        """What was typed in a pause is said in its room, though nothing told that one is there."""
        ana = self.world.arrive(name="ana", room="lobby")
        self.world.answers |= {"resume": refused("not_resumable"), "join": lambda _: []}
        self.world.cut()
        said = ana.connection.say("typed in the pause")
        self.world.wait(5)
        self.assertIn(("join", "lobby"), self.world.link.asked)
        self.world.answers |= {"resume": lambda request: [resumed(request)]}
        self.world.answers |= {"join": lambda request: [joined(request)]}
        self.lose()
        self.world.wait(5)
        self.assertNoResult(said)
        self.assertIn(("say", "typed in the pause"), self.world.link.asked)

    def test_once(self) -> None:
        """What is not harmless a second time is not asked again, also in the same session."""
        ana = self.world.arrive(name="ana", room="lobby")
        asked = [ana.connection.request(*what) for what in (("kick", "bob"), ("topic", "tea"))]
        self.world.flush()
        self.lose()
        self.assertEqual(self.failureResultOf(asked[0], ChatError).value.code, "unsure")
        self.assertNoResult(asked[1])
        self.assertEqual(self.world.link.asked[-1], ("topic", "tea"))

    def test_left_meanwhile(self) -> None:
        """Who has left, and did not hear the answer, does not come in again."""
        ana = self.world.arrive(name="ana", room="lobby")
        del self.world.answers["close"]
        said = ana.connection.say("last words")
        ana.connection.request("Quit", "good night").addErrback(lambda _: None)
        self.world.flush()
        self.world.answers["resume"] = refused("not_resumable")
        self.lose()
        self.world.wait(5)
        self.assertEqual([command for command, _ in self.world.link.asked], ["hello", "resume"])
        self.assertEqual(self.failureResultOf(said, ChatError).value.code, "gone")
        self.assertEqual(ana.closed, [None])

    def test_leaving_without_a_link(self) -> None:
        """Who is leaving comes back only for what was said and may not have arrived."""
        ana = self.world.arrive(name="ana", room="lobby")
        close = self.world.answers.pop("close")
        said = ana.connection.say("last words")
        ana.connection.close()
        self.world.flush()
        self.world.answers |= {"say": sent(7), "close": close}
        self.lose()
        self.successResultOf(said)
        self.assertEqual(ana.closed, [None])
        bob = self.world.arrive(name="bob", room="lobby")
        del self.world.answers["close"]
        bob.connection.close()
        self.world.flush()
        tries = len(self.world.tried)
        self.world.link.transport.loseConnection()
        self.world.wait(60)
        self.assertEqual((bob.closed, len(self.world.tried)), ([None], tries))

    def test_on_the_way_to_another_room(self) -> None:
        """What is said after a request for another room is said there, or not at all."""
        self.world.answers["say"] = sent(7)
        ana = self.world.arrive(name="ana", room="lobby", echo=True)
        del self.world.answers["say"], self.world.answers["join"]
        before, joining, after, listed, way, there = (
            ana.connection.request(*what)
            for what in (("say", "1"), ("join", "den"), ("me", "2"), ("list",), ("create", "x"),
                         ("say", "3"))
        )  # fmt: skip
        self.world.flush()
        self.assertEqual(self.world.link.asked[-1], ("say", "1"))
        refusal: list[object] = []
        joining.addErrback(refusal.append)
        self.world.link.send(Sent(id=1, at=1, re=self.world.link.requests[-1].re))
        self.world.flush()
        self.assertEqual(self.world.link.asked[-1], ("join", "den"))
        join = self.world.link.requests[-1]
        self.world.link.send(Error(code="forbidden", text="No.", fatal=False, re=join.re))
        self.world.flush()
        self.assertEqual(self.world.link.asked[-1], ("list", ""))
        self.assertEqual(self.failureResultOf(after, ChatError).value.code, "not_in_room")
        self.assertIn("den", ana.of(Error)[-1].text)
        self.assertEqual(len(refusal), 1)
        self.world.link.send(Rooms(rooms=[], re=self.world.link.requests[-1].re))
        self.world.flush()
        create = self.world.link.requests[-1]
        self.world.link.send(Joined(room="x", user="ana", users=["ana"], count=1, re=create.re))
        self.world.flush()
        self.world.link.send(Sent(id=2, at=2, re=self.world.link.requests[-1].re))
        self.world.flush()
        for asked in (before, listed, way, there):
            self.successResultOf(asked)
        self.assertEqual([(e.room, e.text) for e in ana.of(Message)], [("lobby", "1"), ("x", "3")])

    def test_order_behind_a_refused_way(self) -> None:
        """What is asked when the refusal is heard comes after what waits already, and is asked."""
        ana = self.world.arrive(name="ana", room="lobby")
        del self.world.answers["join"]
        ana.connection.join("den").addErrback(lambda _: ana.connection.say("a pity"))
        lost = ana.connection.say("for den")
        lost.addErrback(lambda _: ana.connection.request("list"))
        ana.connection.join("tea")
        ana.connection.say("in tea")
        self.world.flush()
        (join,) = self.world.link.requests[-1:]
        self.world.link.send(Error(code="forbidden", text="No.", fatal=False, re=join.re))
        self.world.flush()
        self.world.link.send(joined(self.world.link.requests[-1]))
        self.world.flush()
        self.assertEqual(
            self.world.link.asked[-5:],
            [("join", "den"), ("join", "tea"), ("say", "in tea"), ("say", "a pity"), ("list", "")],
        )

    def test_already_there(self) -> None:
        """Where one is already, what was refused is no reason to say nothing."""
        self.world.answers["create"] = refused("room_exists")
        self.world.answers["say"] = sent(7)
        ana = self.world.arrive(name="ana", room="lobby")
        ana.connection.request("create", "#Lobby").addErrback(lambda _: None)
        said = ana.connection.say("hi")
        self.world.flush()
        self.successResultOf(said)

    def test_not_leaving(self) -> None:
        """Who asked to leave in a way that was refused stays, and comes back."""
        self.world.answers["quit"] = refused("bad_argument")
        ana = self.world.arrive(name="ana", room="lobby")
        ana.connection.request("quit", "x" * 2_000).addErrback(lambda _: None)
        self.assertTrue(ana.connection.leaving)
        self.world.flush()
        self.assertFalse(ana.connection.leaving)
        self.lose()
        self.assertTrue(ana.connection.linked)

    def test_turned_away_while_leaving(self) -> None:
        """Being turned away for a while is no reason to give up what was said last."""
        ana = self.world.arrive(name="ana", room="lobby")
        close, hello = self.world.answers.pop("close"), self.world.answers["hello"]
        said = ana.connection.say("last words")
        ana.connection.close()
        self.world.flush()
        self.world.answers["hello"] = refused("server_full", fatal=True)
        self.lose()
        self.world.answers |= {"say": sent(7), "close": close, "hello": hello}
        self.world.wait(60)
        self.successResultOf(said)
        self.assertEqual(ana.closed, [None])

    def test_on_the_way_without_a_link(self) -> None:
        """What is said on the way to another room is said there alone without a link, too."""
        ana = self.world.arrive(name="ana", room="lobby")
        self.world.cut()
        self.world.answers["join"] = refused("forbidden")
        ana.connection.join("den").addErrback(lambda _: None)
        said = ana.connection.say("for den only")
        self.world.wait(5)
        self.failureResultOf(said, ChatError)
        self.assertEqual(self.world.link.asked[-1], ("join", "den"))

    def test_slow_frame(self) -> None:
        """A large frame that comes slowly is a sign of life all the while."""
        ana = self.world.arrive(name="ana", room="lobby")
        # Its answer would come in the middle of the frame.
        del self.world.answers["ping"]
        frame = encode(message(7, "x" * 5_000))
        for start in range(0, len(frame), 100):
            self.world.link.transport.write(frame[start : start + 100])
            self.world.wait(3)
        self.assertEqual((len(ana.texts), ana.of(Disconnected)), (1, []))

    def test_pauses_grow_where_no_link_lasts(self) -> None:
        """Pauses grow where each new link is lost at once; one that lasted is tried again soon."""
        self.world.arrive(name="ana", room="lobby")
        times = self.world.tried
        for _ in range(12):
            tried = len(times)
            self.world.link.transport.loseConnection()
            while len(times) == tried:
                self.world.wait(0.5)
        self.assertGreater(times[-1] - times[-2], 5)
        self.assertLess(times[-1] - times[-2], 8, "and one that comes after a long time may stay")
        self.world.wait(15)
        tried = len(times)
        self.world.link.transport.loseConnection()
        self.world.wait(4)
        self.assertEqual(len(times), tried + 1)

    def test_damaged(self) -> None:
        """What TLS finds wrong in the middle is told in words of people."""
        ana = self.world.arrive(name="ana", room="lobby")
        self.world.lose(SSL.Error([("SSL routines", "", "bad record type")]))
        self.world.flush()
        self.assertIn("damaged or changed on its way", ana.of(Disconnected)[-1].reason)

    def test_pauses_grow_where_somebody_answers(self) -> None:
        """Pauses grow as well where the port is open, and nobody usable is behind it."""
        ana, reasons = self.world.arrive(name="ana", room="lobby"), []
        for code in ("server_full", ""):
            tried = len(self.world.tried)
            self.world.answers["hello"] = (
                refused(code, "The server is full.", fatal=True)
                if code
                else lambda _: [Notice(text="220 smtp.example.org")]
            )
            self.world.cut()
            told = len(ana.of(Disconnected, Error))
            self.world.wait(300)
            times = self.world.tried[tried:]
            pauses = [after - before for before, after in pairwise(times)]
            self.assertGreater(max(pauses), 10)
            self.assertLess(len(times), 30)
            # Why it is of no use is said, and said once.
            self.assertEqual(len(ana.of(Disconnected, Error)) - told, 1)
            reasons.append(ana.of(Disconnected)[-1].reason)
            self.world.answers["hello"] = lambda request: [welcome(request)]
            self.world.wait(60)
            self.assertTrue(ana.connection.linked)
        self.assertEqual(reasons[0], "The server is full.")
        self.assertIn("not a PyLingo server", reasons[1])

    def test_untrusted(self) -> None:
        """A certificate that nobody vouches for is the end, at first as later, and is told."""
        why = SSL.Error([("SSL routines", "", "certificate verify failed")])
        del self.world.answers["hello"]
        new = self.world.arrive()
        self.world.lose(why)
        self.world.flush()
        self.assertIn("no authority", str(new.refusal))
        self.world.answers["hello"] = lambda request: [welcome(request)]
        ana = self.world.arrive(name="ana", room="lobby")
        del self.world.answers["hello"]
        self.lose()
        self.world.lose(why)
        self.world.flush()
        self.assertIn("no authority", ana.connection.ended)
        self.assertEqual(ana.closed, [None])

    def test_paused(self) -> None:
        """Who reads nothing for now does not over the next link either."""
        ana = self.world.arrive(name="ana", room="lobby")
        ana.connection.pauseProducing()
        self.lose()
        self.world.link.send(message(7))
        self.world.flush()
        self.assertEqual(ana.texts, [])
        ana.connection.resumeProducing()
        self.world.flush()
        self.assertEqual(ana.texts, ["hi"])

    def test_paused_before(self) -> None:
        """Who reads again does so over the next link as well."""
        ana = self.world.arrive(name="ana", room="lobby")
        ana.connection.pauseProducing()
        ana.connection.resumeProducing()
        self.lose()
        self.world.link.send(message(7))
        self.world.flush()
        self.assertEqual(ana.texts, ["hi"])

    def test_guest(self) -> None:
        """The name that a guest was given is not asked for in a new session."""
        self.world.arrive(room="lobby")
        self.world.answers["resume"] = refused("not_resumable")
        self.lose()
        self.assertEqual(self.world.link.asked[2:], [("join", "lobby")])
        house = self.world.arrive(name="guest-house")
        self.assertEqual(house.connection.user, "guest-house")

    def test_each_message_once(self) -> None:
        """A message that comes again, live or replayed, is not heard again."""
        ana = self.world.arrive(name="ana", room="lobby")
        self.world.link.send(message(1, "one"), message(2, "two"), message(2, "two"))
        self.world.flush()
        self.lose()
        self.world.link.send(message(2, "two", replayed=True), message(3, "three", replayed=True))
        self.world.flush()
        self.assertEqual(ana.texts, ["one", "two", "three"])

    def test_only_so_many_remembered(self) -> None:
        """Of a long life only the end is remembered; what is older is not sent again anyway."""
        self.patch(connection, "REMEMBERED", 2)
        ana = self.world.arrive(name="ana", room="lobby")
        self.world.link.send(*(message(id, str(id)) for id in (1, 2, 3, 2, 1)))
        self.world.flush()
        self.assertEqual(ana.texts, ["1", "2", "3", "1"])

    def test_not_there_any_more(self) -> None:
        """What was to be done in a room is told, where the session does not bring that back."""
        ana = self.world.arrive(name="ana", room="lobby")
        self.world.answers["resume"] = lambda request: [resumed(request, room=None)]
        self.world.cut()
        undone = [ana.connection.request(command, "x") for command in ("topic", "kick", "leave")]
        self.world.wait(5)
        for one in undone:
            self.assertEqual(self.failureResultOf(one, ChatError).value.code, "not_in_room")
        (told,) = [event.text for event in ana.of(Error)]
        self.assertEqual(told, "You are not in lobby any more. Not done: /topic, /kick")

    def test_newest_seen(self) -> None:
        """An acknowledgement that comes late does not take back what was seen since."""
        self.world.answers["say"] = sent(7)
        ana = self.world.arrive(name="ana", room="lobby")
        self.world.link.send(message(9))
        ana.connection.say("hi")
        self.world.flush()
        self.assertEqual(ana.connection.ticket, Ticket("token-1", 9))

    def test_own_message_replayed(self) -> None:
        """One's own message that was acknowledged is not heard again from the past."""
        self.world.answers["say"] = sent(7)
        ana = self.world.arrive(name="ana", room="lobby")
        ana.connection.say("hi")
        self.world.flush()
        self.lose()
        self.world.link.send(message(7, "hi", replayed=True))
        self.world.flush()
        self.assertEqual(ana.texts, [])

    def test_ticket(self) -> None:
        """With its ticket, another run of the program goes on with the session."""
        self.world.serve()
        bob = self.world.arrive(name="bob", room="lobby")
        ana = self.world.arrive(name="ana", room="lobby")
        bob.connection.say("seen")
        self.world.flush()
        ticket = ana.connection.ticket
        ana.connection.stop()
        self.world.flush()
        bob.connection.say("missed")
        self.world.flush()
        again = self.world.arrive(name="ana", ticket=ticket)
        self.assertEqual(again.texts, ["missed"])
        self.assertEqual((again.connection.user, again.connection.room), ("ana", "lobby"))

    def test_ticket_and_another_room(self) -> None:
        """A room that is asked for comes before the one the session was in."""
        self.world.arrive(name="ana", room="attic", ticket=Ticket("old", 5))
        self.assertEqual(self.world.link.asked[1:], [("resume", "old 5"), ("join", "attic")])

    def test_ticket_and_the_same_room(self) -> None:
        """The room that the session brings back need not be joined."""
        self.world.arrive(name="ana", room="lobby", ticket=Ticket("old", 5))
        self.assertEqual(self.world.link.asked[1:], [("resume", "old 5")])
        self.world.arrive(name="ana", room="#LOBBY secret", ticket=Ticket("old", 5))
        self.assertEqual(self.world.link.asked[1:], [("resume", "old 5")])

    def test_useless_ticket(self) -> None:
        """A ticket that is too old is no trouble: the arrival is as without."""
        self.world.serve()
        ana = self.world.arrive(name="ana", room="lobby", ticket=Ticket("old", 5))
        self.assertEqual((ana.connection.user, ana.connection.room), ("ana", "lobby"))
        self.assertEqual(ana.failures, [])

    def test_resume_later(self) -> None:
        """A session can be taken up after the arrival, in place of the guest's."""
        self.world.serve()
        ana = self.world.arrive(name="ana", room="lobby")
        ticket = ana.connection.ticket
        ana.connection.stop()
        self.world.flush()
        guest = self.world.arrive()
        assert ticket is not None
        guest.connection.resume(ticket)
        self.world.flush()
        self.assertEqual((guest.connection.user, guest.connection.room), ("ana", "lobby"))

    def test_pauses_grow(self) -> None:
        """The pauses between tries grow, and stay below a minute."""
        self.world.arrive()
        self.world.trouble = error.ConnectionRefusedError()
        self.world.cut()
        self.world.wait(300)
        tried = self.world.tried[1:]
        pauses = [after - before for before, after in pairwise(tried)]
        self.assertLess(pauses[0], 3)
        self.assertGreater(max(pauses), 10)
        self.assertLess(max(pauses), 60)
        self.assertGreater(len(tried), 8)
        # Once it was back, they begin anew.
        self.world.trouble = None
        self.world.wait(60)
        self.world.cut()
        lost = self.world.clock.seconds()
        self.world.wait(3)
        self.assertLess(self.world.tried[-1] - lost, 3)
        self.assertGreater(self.world.tried[-1], lost)

    def test_lost_is_said_once(self) -> None:
        """However many tries fail, it is said once that the link is lost."""
        ana = self.world.arrive()
        self.world.trouble = error.ConnectionRefusedError()
        self.world.cut()
        self.world.wait(60)
        self.assertEqual(len(ana.of(Disconnected)), 1)

    def test_lost_again(self) -> None:
        """A link that was there again, and is lost for the same reason, is told again."""
        ana = self.world.arrive()
        self.lose()
        self.lose()
        self.assertEqual(
            [event.reason for event in ana.of(Disconnected)], ["The server went away."] * 2
        )

    def test_stop_in_a_pause(self) -> None:
        """Stopping in a pause ends it at once, and no further try is made."""
        ana = self.world.arrive(room="lobby")
        self.world.trouble = error.ConnectionRefusedError()
        self.world.cut()
        said = ana.connection.say("too late")
        ana.connection.stop("I have to go.")
        self.world.flush()
        self.assertEqual(ana.closed, [None])
        self.assertEqual(str(self.failureResultOf(said, ChatError).value), "I have to go.")
        tries = len(self.world.tried)
        self.world.wait(120)
        self.assertEqual(len(self.world.tried), tries)

    def test_close_refused(self) -> None:
        """Leaving ends it, whatever the server says to that, and nothing is left to do later."""
        self.world.answers["close"] = refused("internal")
        ana = self.world.arrive()
        closed = ensureDeferred(ana.connection.close())
        self.world.flush()
        self.world.wait(1)
        self.successResultOf(closed)
        self.assertEqual(ana.closed, [None])
        self.assertEqual(self.world.clock.getDelayedCalls(), [])

    def test_close_in_a_pause(self) -> None:
        """So does leaving in a pause, at once."""
        ana = self.world.arrive()
        self.world.trouble = error.ConnectionRefusedError()
        self.world.cut()
        closed = ensureDeferred(ana.connection.close())
        self.world.flush()
        self.successResultOf(closed)

    def test_no_reconnect(self) -> None:
        """Without reconnection the first loss is final, and what waits is gone."""
        ana = self.world.arrive(room="lobby", reconnect=False, where="example.org:5000")
        said = ana.connection.say("hi")
        self.world.flush()
        self.world.cut()
        (lost,) = ana.of(Disconnected)
        self.assertTrue(lost.final)
        self.assertIn("example.org:5000", lost.reason)
        self.assertEqual(self.failureResultOf(said, ChatError).value.code, "gone")
        self.assertEqual(ana.closed, [None])
        self.world.wait(60)
        self.assertEqual(len(self.world.tried), 1)

    def test_not_let_in_any_more(self) -> None:
        """Nor is it done where a new session is not let into the room: an admin's would hit all."""
        ana = self.world.arrive(name="ana", room="lobby")
        self.world.answers["resume"] = refused("not_resumable")
        self.world.answers["join"] = refused("forbidden")
        self.world.answers["login"] = lambda request: [Done(text="", user="root", re=request.re)]
        self.world.link.transport.loseConnection()
        self.world.flush()
        ana.connection.request("login", "root secret")
        ban = ana.connection.request("ban", "eve")
        self.world.wait(5)
        self.assertEqual(self.failureResultOf(ban, ChatError).value.code, "not_in_room")
        self.assertNotIn("ban", [request.command for request in self.world.link.requests])
        self.assertEqual(ana.of(Error)[-1].text, "You are not in lobby any more. Not done: /ban")

    def test_not_let_in_over_two_links(self) -> None:
        """Also where the link was lost once more before that was said."""
        ana = self.world.arrive(name="ana", room="lobby")
        self.world.answers["resume"] = refused("not_resumable")
        del self.world.answers["join"]
        self.world.link.transport.loseConnection()
        self.world.flush()
        ban = ana.connection.request("ban", "eve")
        self.world.wait(5)
        self.world.answers["resume"] = lambda request: [
            Resumed(user="ana", room=None, users=[], count=0, topic="", session="t", re=request.re)
        ]
        self.world.answers["join"] = refused("forbidden")
        self.world.link.transport.loseConnection()
        self.world.flush()
        self.world.wait(15)
        self.assertEqual(self.failureResultOf(ban, ChatError).value.code, "not_in_room")
