"""The client's side of the wire, without a network."""

from __future__ import annotations

import gc
import json
from typing import Any

from OpenSSL import SSL
from twisted.internet import error
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, fail, succeed
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from pylingo.connection import (
    GONE,
    PARTING,
    PULSE,
    SILENCE,
    Connected,
    Connection,
    Disconnected,
    Heard,
    Ticket,
)
from pylingo.protocol import (
    LARGEST_EVENT,
    LONGEST_SHOWN,
    ChatError,
    Closing,
    Error,
    Joined,
    Left,
    Message,
    Notice,
    Ping,
    Pong,
    Private,
    Renamed,
    Request,
    Rooms,
    Sent,
    Welcome,
    encode,
)
from tests.house import frame
from tests.world import Person, World, message, refused, welcome


class ArrivalTests(SynchronousTestCase):
    """Getting in: the greeting, the name, the room."""

    def setUp(self) -> None:
        self.world = World()

    def test_name_and_room(self) -> None:
        """The name and the room that were asked for are taken, and then the link is there."""
        self.world.serve()
        ana = self.world.arrive(name="ana", room="lobby")
        self.assertEqual(
            [type(event) for event in ana.heard], [Welcome, Renamed, Joined, Connected]
        )
        self.assertEqual(ana.heard[-1], Connected(again=False))
        self.assertEqual((ana.connection.user, ana.connection.room), ("ana", "lobby"))
        self.assertTrue(ana.connection.linked)

    def test_started(self) -> None:
        """Who waits for the start goes on when name and room are there, and not before."""
        self.world.serve()
        heard: list[Heard] = []
        ana = Connection(self.world, heard.append, self.world.clock, name="ana", room="lobby")
        started = ana.start()
        self.assertNoResult(started)
        self.world.flush()
        self.successResultOf(started)
        self.assertEqual((ana.user, ana.room), ("ana", "lobby"))

    def test_guest(self) -> None:
        """Who asks for no name and no room is a guest in no room."""
        self.world.serve()
        someone = self.world.arrive()
        self.assertEqual((someone.connection.user, someone.connection.room), ("guest-1", None))

    def test_commands_are_known(self) -> None:
        """The welcome, with its table of commands, can be looked up later."""
        self.world.serve()
        greeting = self.world.arrive().connection.welcome
        self.assertIn("join", [row.name for row in greeting.commands] if greeting else ())

    def test_taken_name(self) -> None:
        """A name that somebody has is refused with the server's code, and that is the end."""
        self.world.serve()
        self.world.arrive(name="ana")
        other = self.world.arrive(name="Ana")
        self.world.flush()
        self.assertEqual(other.refusal.code, "name_taken")
        self.assertEqual(other.closed, [None])

    def test_bad_room(self) -> None:
        """A room whose name cannot be is refused in the same way."""
        self.world.serve()
        ana = self.world.arrive(name="ana", room="a b")
        self.assertEqual(ana.refusal.code, "bad_argument")
        self.assertEqual(ana.of(Closing), [])

    def test_another_try(self) -> None:
        """Who was refused, as for a typing error, finds the name free for the next try."""
        self.world.serve()
        first = self.world.arrive(name="ana", room="a b")
        self.world.flush()
        again = self.failureResultOf(first.connection.start(), ChatError).value
        self.assertEqual((again.code, str(again)), ("gone", str(first.refusal)))
        second = self.world.arrive(name="ana", room="ab")
        self.assertEqual((second.connection.user, second.connection.room), ("ana", "ab"))

    def test_earlier_session_refused(self) -> None:
        """An earlier session is not ended where it cannot go where it should: it may be of use."""
        self.world.answers["join"] = refused("forbidden", "No.")
        ana = self.world.arrive(name="ana", room="tea", ticket=Ticket("token-1", 7))
        self.world.flush()
        self.assertEqual((ana.refusal.code, ana.closed), ("forbidden", [None]))
        self.assertNotIn("close", [command for command, _ in self.world.link.asked])

    def test_closed_while_arriving(self) -> None:
        """A server that ends it for good in the middle of the arrival is quoted."""
        self.world.answers["name"] = lambda _: [Closing(reason="banned", text="Not you.")]
        ana = self.world.arrive(name="ana")
        self.world.cut()
        self.assertEqual((ana.refusal.code, str(ana.refusal)), ("gone", "Not you."))
        self.assertEqual(ana.closed, [None])

    def test_lost_while_refused(self) -> None:
        """What was refused is told, too, where the link breaks before the answer to the leave."""
        for reconnect in (True, False):
            self.world.answers["join"] = refused("forbidden", "No.")
            self.world.answers["close"] = lambda _: [Closing(reason="shutdown", text="Down.")]
            ana = self.world.arrive(name="ana", room="lobby", reconnect=reconnect)
            self.world.cut()
            self.assertEqual((ana.refusal.code, str(ana.refusal)), ("forbidden", "No."))
            self.assertEqual(ana.closed, [None])

    def test_no_word_to_the_refused(self) -> None:
        """A server that does not answer any more is not waited for."""
        self.world.answers["join"] = refused("forbidden", "No.")
        self.world.answers["close"] = lambda _: []
        ana = self.world.arrive(name="ana", room="lobby")
        self.assertEqual(ana.closed, [])
        self.world.clock.advance(PARTING)
        self.world.flush()
        self.assertEqual((ana.refusal.code, str(ana.refusal)), ("forbidden", "No."))
        self.assertEqual(ana.closed, [None])

    def test_full_server(self) -> None:
        """A server that turns everybody away is quoted."""
        self.world.answers["hello"] = refused("server_full", "Come back later.", fatal=True)
        ana = self.world.arrive()
        self.assertEqual((ana.refusal.code, str(ana.refusal)), ("server_full", "Come back later."))

    def test_turned_away_unasked(self) -> None:
        """So is one that turns everybody away before it reads the first request."""
        self.world.answers["hello"] = lambda _: [
            Error(code="server_full", text="Come back later.", fatal=True)
        ]
        ana = self.world.arrive()
        self.assertEqual(ana.refusal.code, "server_full")

    def test_start_again(self) -> None:
        """What has ended does not begin again, and says so."""
        self.world.trouble = ConnectionRefusedError()
        ana = self.world.arrive()
        self.world.wait(5)
        self.assertEqual(ana.refusal.code, "unreachable")
        self.world.trouble = None
        again = self.failureResultOf(ana.connection.start(), ChatError).value
        self.assertEqual(again.code, "gone")

    def test_fault_in_hearing(self) -> None:
        """Whatever is raised while hearing is noted; what was asked is answered, and it goes on."""
        self.world.answers["list"] = lambda request: [Rooms(rooms=[], re=request.re)]
        for fault in (ZeroDivisionError(), SystemExit()):

            def hear(event: Heard, fault: BaseException = fault) -> None:
                if isinstance(event, Rooms):
                    raise fault

            ana = Connection(self.world, hear, self.world.clock, room="lobby")
            ana.start()
            for _ in range(2):
                asked = ana.request("list")
                self.world.flush()
                self.assertIsInstance(self.successResultOf(asked), Rooms)
            self.assertEqual(len(self.flushLoggedErrors(type(fault))), 2)
            self.assertTrue(ana.linked)

    def test_hello_comes_first(self) -> None:
        """The client speaks first, and says which client it is."""
        self.world.arrive()
        command, body = self.world.link.asked[0]
        self.assertEqual((command, body.partition("/")[0]), ("hello", "pylingo"))

    def test_not_before_arrival(self) -> None:
        """What is asked before the arrival is done goes out after it."""
        hello: list[Request] = []
        self.world.answers["hello"] = lambda request: hello.append(request) or []  # type: ignore[func-returns-value]
        ana = self.world.arrive(name="ana")
        ana.connection.say("early").addErrback(lambda _: None)
        self.world.flush()
        before = self.world.link.asked[1:]
        self.world.link.send(welcome(hello[0]))
        self.world.flush()
        self.assertEqual(before, [])
        self.assertEqual(self.world.link.asked[1:], [("name", "ana"), ("say", "early")])


class PasswordTests(SynchronousTestCase):
    """A server that has a password."""

    def setUp(self) -> None:
        self.world = World()
        self.world.serve(password="sesame")
        self.asked: list[Deferred[str]] = []

    def ask(self) -> Deferred[str]:
        """Ask the person, whom the test plays."""
        self.asked.append(Deferred())
        return self.asked[-1]

    def say(self, password: str) -> None:
        """Answer the last question."""
        self.asked[-1].callback(password)
        self.world.flush()

    def test_right(self) -> None:
        """It is asked for once; then the arrival is as anywhere."""
        ana = self.world.arrive(name="ana", room="lobby", password=self.ask)
        self.assertFalse(ana.connection.linked)
        self.say("sesame")
        self.assertEqual((ana.connection.user, ana.connection.room), ("ana", "lobby"))
        self.assertEqual(len(self.asked), 1)

    def test_wrong(self) -> None:
        """A person who gets it wrong is told and asked again."""
        ana = self.world.arrive(password=self.ask)
        self.say("please")
        self.assertEqual([event.code for event in ana.of(Error)], ["wrong_password"])
        self.say("sesame")
        self.assertTrue(ana.connection.linked)

    def test_wrong_for_good(self) -> None:
        """A program that gets it wrong would go on for ever; so it ends."""
        ana = self.world.arrive(password=lambda: succeed("please"), reconnect=False)
        self.assertEqual(ana.refusal.code, "wrong_password")
        self.assertEqual(len(ana.of(Error)), 1)

    def test_too_often(self) -> None:
        """Who may not try for now is not asked for another one, which would be refused as well."""
        self.world = World()
        self.world.answers["hello"] = lambda request: [welcome(request, password_required=True)]
        self.world.answers["enter"] = refused("rate_limited", "Wait a minute.")
        ana = self.world.arrive(password=self.ask)
        self.say("sesame")
        self.assertEqual((ana.refusal.code, str(ana.refusal)), ("rate_limited", "Wait a minute."))
        self.assertEqual(len(self.asked), 1)

    def test_same_again(self) -> None:
        """One that comes back by itself ends as well, when it has no other password."""
        ana = self.world.arrive(password=lambda: succeed("please"))
        self.assertEqual(ana.refusal.code, "wrong_password")
        self.assertEqual(len(ana.of(Error)), 2)

    def test_unknown(self) -> None:
        """Who cannot be asked is told how to give it."""
        ana = self.world.arrive()
        self.assertEqual(ana.refusal.code, "password_required")
        self.assertIn("has a password", str(ana.refusal))

    def test_slow_answer(self) -> None:
        """However long the person takes, the link is not taken for a dead one."""
        ana = self.world.arrive(password=self.ask)
        self.world.wait(90)
        self.say("sesame")
        self.assertTrue(ana.connection.linked)

    def test_resumed(self) -> None:
        """A session that is resumed has got it already."""
        ana = self.world.arrive(name="ana", room="lobby", password=self.ask)
        self.say("sesame")
        self.world.link.transport.loseConnection()
        self.world.wait(10)
        self.assertEqual(ana.of(Connected)[-1], Connected(again=True))
        self.assertEqual(len(self.asked), 1)


class TrustTests(SynchronousTestCase):
    """Servers that are looked at before anything is said to them."""

    def test_trusted(self) -> None:
        """`check` sees the transport; where it has nothing to say, the arrival goes on."""
        world = World()
        seen: list[object] = []

        def check(transport: object) -> str:
            seen.append(transport)
            return ""

        ana = world.arrive(name="ana", check=check)
        self.assertTrue(ana.connection.linked)
        self.assertEqual(len(seen), 1)

    def test_untrusted(self) -> None:
        """Where it has, that ends it, and neither name nor password was said."""
        world = World()
        ana = world.arrive(name="ana", check=lambda _: "I do not know you.")
        world.flush()
        self.assertFalse(ana.connection.linked)
        self.assertEqual(len(ana.failures), 1)
        self.assertEqual((ana.refusal.code, str(ana.refusal)), ("untrusted", "I do not know you."))
        self.assertEqual([command for command, _ in world.link.asked], ["hello"])
        self.assertEqual((ana.heard, ana.connection.welcome), ([], None))

    def test_untrusted_on_return(self) -> None:
        """A server that is another one when the link comes back is told nothing, and that ends it.

        It is said why, and what was not sent is not lost without a word.
        """
        world = World()
        answers = [""]
        ana = world.arrive(
            name="ana", check=lambda _: answers.pop() if answers else "You have changed."
        )
        world.link.drop()
        world.wait(10)
        self.assertEqual(ana.closed, [None])
        self.assertEqual(ana.connection.ended, "You have changed.")
        self.assertIsNotNone(ana.connection.ticket)
        self.assertEqual(len(world.links), 2)
        for link in world.links[1:]:
            self.assertEqual([command for command, _ in link.asked], ["hello"])


class UnreachableTests(SynchronousTestCase):
    """The first try fails: a sentence that says what to do, and the end."""

    def setUp(self) -> None:
        self.world = World()

    def sentence(self, trouble: Exception) -> str:
        self.world.trouble = trouble
        person = self.world.arrive(where="example.org:5000")
        self.world.flush()
        self.assertEqual(person.refusal.code, "unreachable")
        self.assertEqual(person.closed, [None])
        self.world.wait(60)
        self.assertEqual(len(self.world.tried), 1, "and it was not tried again")
        return str(person.refusal)

    def test_refused(self) -> None:
        """Nobody listens: start the server."""
        sentence = self.sentence(error.ConnectionRefusedError())
        self.assertEqual(
            sentence,
            "Nothing answers at example.org:5000. Start the server there "
            "(twistd --nodaemon pylingo), or check the address.",
        )

    def test_unknown_host(self) -> None:
        """No such host, or nobody to ask for it: check the spelling, and the network."""
        self.assertIn("host of example.org", self.sentence(error.DNSLookupError()))

    def test_timeout(self) -> None:
        """No answer at all: check the network."""
        self.assertIn("does not answer", self.sentence(error.TimeoutError()))

    def test_anything_else(self) -> None:
        """Whatever else it was is named, with the address."""
        sentence = self.sentence(error.NoRouteError())
        self.assertIn("example.org:5000 cannot be reached: No route to host. Check", sentence)

    def test_nobody_asked_the_system(self) -> None:
        """Where the reactor knows only that it failed, its own words are none for people."""
        done = Failure(error.ConnectionDone())
        sentence = self.sentence(error.ConnectError(string=done))
        self.assertIn("cannot be reached: a firewall or a router refuses it. Check", sentence)

    def test_at_once(self) -> None:
        """A try that fails on the spot, as with a name that no host can have, is told at once."""
        self.patch(self.world, "connect", lambda _: fail(ValueError("invalid hostname")))
        person = self.world.arrive(where="exa..mple:5000")
        self.assertIn("exa..mple:5000 cannot be reached: invalid host", str(person.refusal))

    def test_closed_without_a_word(self) -> None:
        """What hangs up at once is no PyLingo server."""
        self.world.answers.clear()
        person = self.world.arrive(where="example.org:80")
        self.world.cut()
        self.assertIn("no PyLingo server, or one that is down", str(person.refusal))
        self.assertIn("Try --tls", str(person.refusal))

    def test_something_else_first(self) -> None:
        """A server whose first event is no welcome is none of ours."""
        self.world.answers["hello"] = lambda _: [Notice(text="220 ready")]
        self.assertIn("answered, but it is not a PyLingo", str(self.world.arrive().refusal))

    def test_another_protocol(self) -> None:
        """Bytes of another protocol make an absurd length, and the same sentence."""
        self.world.answers.clear()
        person = self.world.arrive()
        self.world.link.transport.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        self.world.flush()
        self.assertIn("not a PyLingo server", str(person.refusal))

    def test_not_encrypted(self) -> None:
        """What is no TLS, or no server behind it, is told from one that hangs up."""
        self.world.answers.clear()
        for why, sentence in (
            (SSL.Error([("SSL routines", "", "wrong version number")]), "Try without --tls"),
            (SSL.Error([("SSL routines", "", "tlsv1 alert")]), "answered, but it is not a PyLingo"),
            (error.ConnectionDone(), "a word. Try again, or check"),
        ):
            person = self.world.arrive()
            self.world.lose(why)
            self.world.flush()
            self.assertIn(sentence, str(person.refusal))

    def test_silent_server(self) -> None:
        """One that accepts and says nothing is given up within 15 seconds."""
        self.world.answers.clear()
        person = self.world.arrive()
        self.world.wait(5)
        self.assertEqual(person.failures, [])
        self.world.wait(10)
        self.assertIn("not a PyLingo server, or it hangs", str(person.refusal))

    def test_welcome_then_closed(self) -> None:
        """A server that welcomes and hangs up is one of ours, and may be tried again."""
        self.world.answers["name"] = lambda _: []
        person = self.world.arrive(name="ana", where="example.org:5000")
        self.world.cut()
        self.assertIn("example.org:5000 closed the connection", str(person.refusal))

    def test_stop_while_connecting(self) -> None:
        """Stopping before there is an answer ends it at once."""
        self.world.trouble = None
        never: Deferred[Any] = Deferred()
        self.patch(self.world, "connect", lambda _: never)
        person = self.world.arrive()
        person.connection.stop()
        self.world.flush()
        self.assertEqual((person.refusal.code, person.closed), ("gone", [None]))

    def test_stop_while_arriving(self) -> None:
        """Stopping before the arrival is done ends it, too, and blames no server for that."""
        for stop in (Connection.stop, Connection.part):
            self.world.answers.clear()
            person = self.world.arrive()
            stop(person.connection)
            self.world.wait(PARTING)
            self.assertEqual((person.refusal.code, person.closed), ("gone", [None]))
            self.assertNotIn("server", str(person.refusal))

    def test_given_up(self) -> None:
        """Who does not wait for the start any more is not let in later, however far it was."""
        never: Deferred[Any] = Deferred()
        heard: list[Heard] = []
        for connect in (self.world.connect, lambda _: never):
            self.patch(self.world, "connect", connect)
            ana = Connection(self.world, heard.append, self.world.clock, name="ana")
            started = ana.start()
            started.cancel()
            self.failureResultOf(started, CancelledError)
            self.world.flush()
            self.successResultOf(ana.closed)
            self.assertFalse(ana.linked)

    def test_given_up_at_the_last_moment(self) -> None:
        """To give it up is in time as long as it has not been said that one is in."""

        def hear(event: Heard) -> None:
            if isinstance(event, Connected):
                started.cancel()

        ana = Connection(self.world, hear, self.world.clock)
        started = ana.start()
        self.world.flush()
        self.failureResultOf(started, CancelledError)
        self.successResultOf(ana.closed)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_start_twice(self) -> None:
        """It is started once; a second start does no harm to the first."""
        self.world.answers.clear()
        ana = self.world.arrive()
        self.assertRaises(RuntimeError, ana.connection.start)
        self.world.link.send(Error(code="server_full", text="Full.", fatal=True))
        self.world.flush()
        self.assertEqual(ana.refusal.code, "server_full")
        self.world = World()
        ana = self.world.arrive()
        self.assertRaises(RuntimeError, ana.connection.start)
        self.world.link.drop()
        self.world.wait(10)
        self.assertTrue(ana.connection.linked)

    def test_password_given_up(self) -> None:
        """A question for the password that was cancelled is an answer, too."""
        self.world.serve("mellon")
        ana = self.world.arrive(password=lambda: fail(CancelledError()))
        self.world.wait(5)
        self.assertEqual((len(ana.failures), ana.closed), (1, [None]))
        gc.collect()
        self.assertEqual(len(self.flushLoggedErrors(CancelledError)), 1)


class TalkTests(SynchronousTestCase):
    """Saying and hearing, while the link holds."""

    def setUp(self) -> None:
        self.world = World()
        self.server = self.world.serve()
        self.ana = self.world.arrive(name="ana", room="lobby")
        self.bob = self.world.arrive(name="bob", room="lobby", echo=True)

    def test_say(self) -> None:
        """What one says, the other hears, under the id of the acknowledgement."""
        said = self.ana.connection.say("hi")
        self.world.flush()
        (heard,) = self.bob.of(Message)
        self.assertEqual((heard.user, heard.text), ("ana", "hi"))
        self.assertEqual(self.successResultOf(said).id, heard.id)

    def test_no_echo(self) -> None:
        """One's own messages are not heard, unless asked for."""
        self.ana.connection.say("hi")
        self.world.flush()
        self.assertEqual(self.ana.texts, [])

    def test_echo(self) -> None:
        """With `echo` they are, once, when they are stored."""
        self.bob.connection.say("hi")
        self.assertEqual(self.bob.texts, [])
        self.world.flush()
        (heard,) = self.bob.of(Message)
        self.assertEqual(
            (heard.room, heard.user, heard.text, heard.action), ("lobby", "bob", "hi", False)
        )

    def test_echo_of_an_action(self) -> None:
        """`/me` is echoed as what it is."""
        self.bob.connection.request("ME", "waves")
        self.world.flush()
        self.assertEqual([event.action for event in self.bob.of(Message)], [True])

    def test_echo_of_a_private_message(self) -> None:
        """A private message is echoed to the one who wrote it, with whom it is for."""
        self.bob.connection.tell("ana", "psst")
        self.world.flush()
        for person in (self.ana, self.bob):
            (heard,) = person.of(Private)
            self.assertEqual((heard.user, heard.to, heard.text), ("bob", "ana", "psst"))

    def test_echo_as_it_was_said(self) -> None:
        """It is as the others heard it, whatever spaces and control characters were typed."""
        for command, body in (("say", "a\x1bb"), ("msg", " ana  c\x1bd")):
            self.bob.connection.request(command, body)
        self.world.flush()
        self.assertEqual([event.to for event in self.bob.of(Private)], ["ana"])
        self.assertEqual(len(self.ana.texts), 2)
        self.assertEqual(self.bob.texts, self.ana.texts)

    def test_echo_keeps_the_room(self) -> None:
        """A message is echoed in the room that it was said in, though one left since."""
        self.bob.connection.say("bye")
        self.bob.connection.join("attic")
        self.world.flush()
        self.assertEqual([event.room for event in self.bob.of(Message)], ["lobby"])

    def test_error_reply(self) -> None:
        """A request that is refused fails with the server's code and sentence."""
        asked = self.ana.connection.request("dance")
        self.world.flush()
        trouble = self.failureResultOf(asked, ChatError).value
        self.assertEqual(trouble.code, "unknown_command")
        self.assertEqual([event.text for event in self.ana.of(Error)], [trouble.text])

    def test_quiet(self) -> None:
        """A quiet request's reply is its result and not heard."""
        asked = self.ana.connection.request("list", quiet=True)
        self.world.flush()
        self.assertIsInstance(self.successResultOf(asked), Rooms)
        self.assertEqual(self.ana.of(Rooms), [])

    def test_follows_name_and_room(self) -> None:
        """The connection knows its name and room as they change."""
        self.ana.connection.request("name", "anna")
        self.ana.connection.join("attic")
        self.world.flush()
        self.assertEqual((self.ana.connection.user, self.ana.connection.room), ("anna", "attic"))
        self.ana.connection.request("leave")
        self.world.flush()
        self.assertIsNone(self.ana.connection.room)

    def test_kicked(self) -> None:
        """Who is sent out of a room knows it; others' leaving is not one's own."""
        self.ana.connection.request("kick", "bob")
        self.world.flush()
        self.assertEqual((self.ana.connection.room, self.bob.connection.room), ("lobby", None))

    def test_login(self) -> None:
        """The name that a login brings is known."""
        self.ana.connection.request("register", "correct horse")
        self.world.flush()
        self.ana.connection.stop()
        self.bob.connection.request("login", "ana correct horse")
        self.world.wait(1)
        self.assertEqual(self.bob.connection.user, "ana")

    def test_others_do_not_move_us(self) -> None:
        """What others do to their names and places leaves ours alone."""
        self.bob.connection.request("name", "rob")
        self.bob.connection.request("leave")
        self.world.flush()
        self.assertEqual(len(self.ana.of(Left)), 1)
        self.assertEqual((self.ana.connection.user, self.ana.connection.room), ("ana", "lobby"))

    def test_unanswered(self) -> None:
        """One can see how many requests wait for their replies."""
        self.ana.connection.request("users")
        self.ana.connection.request("list")
        self.assertEqual(self.ana.connection.unanswered, 2)
        self.world.flush()
        self.assertEqual(self.ana.connection.unanswered, 0)

    def test_close(self) -> None:
        """Closing waits for what was asked, says goodbye, and is the end for good."""
        said = self.ana.connection.say("last words")
        closed = ensureDeferred(self.ana.connection.close())
        self.world.flush()
        self.successResultOf(said)
        self.successResultOf(closed)
        self.assertEqual(self.ana.closed, [None])
        self.assertEqual([event.reason for event in self.ana.of(Closing)], ["bye"])
        self.assertEqual([event.final for event in self.ana.of(Disconnected)], [True])
        self.assertEqual([event.reason for event in self.bob.of(Left)], ["bye"])

    def test_asking_after_the_end(self) -> None:
        """After the end every request fails as gone."""
        ensureDeferred(self.ana.connection.close())
        self.world.flush()
        asked = self.ana.connection.request("list")
        self.assertEqual(self.failureResultOf(asked, ChatError).value.code, "gone")

    def test_too_long(self) -> None:
        """What no server would take is not sent, and it is said why."""
        asked = self.ana.connection.request("say", "x" * 20_000)
        self.assertEqual(self.failureResultOf(asked, ChatError).value.code, "too_long")
        (event,) = self.ana.of(Error)
        self.assertEqual(event.code, "too_long")
        self.assertIn("8192 bytes", event.text)
        self.ana.heard.clear()
        for command, body in (("topic", "x" * 20_000), ("say", '"' * 8_190)):
            asked = self.ana.connection.request(command, body)
            self.assertEqual(self.failureResultOf(asked, ChatError).value.code, "too_long")
        said = [event.text for event in self.ana.of(Error)]
        self.assertEqual(["8192 bytes" in text for text in said], [False, False])
        self.assertTrue(self.ana.connection.linked)
        self.assertEqual(self.ana.connection.unanswered, 0)

    def test_back_pressure(self) -> None:
        """While reading is paused nothing is heard; afterwards everything is."""
        self.ana.connection.pauseProducing()
        for text in ("one", "two"):
            self.bob.connection.say(text)
        self.world.flush()
        before = self.ana.texts
        self.ana.connection.resumeProducing()
        self.world.flush()
        self.assertEqual((before, self.ana.texts), ([], ["one", "two"]))

    def test_long_pause(self) -> None:
        """Who does not read for minutes is there all the same, and hears everything then."""
        self.ana.connection.pauseProducing()
        self.bob.connection.say("one")
        self.world.wait(4 * SILENCE)
        self.ana.connection.resumeProducing()
        self.world.flush()
        self.assertEqual((self.ana.texts, self.ana.of(Disconnected)), (["one"], []))

    def test_paused_again(self) -> None:
        """The last word counts, in the same turn, too."""
        self.ana.connection.pauseProducing()
        self.ana.connection.resumeProducing()
        self.ana.connection.pauseProducing()
        self.bob.connection.say("one")
        self.world.flush()
        self.assertEqual(self.ana.texts, [])

    def test_no_reply(self) -> None:
        """What has no reply is sent, if there is a link, and not waited for."""
        world = World()
        ana = world.arrive()
        for _ in range(2):
            self.successResultOf(ana.connection.request("pong"))
            self.assertEqual(ana.connection.unanswered, 0)
            world.flush()
            world.cut()
        self.assertEqual([link.asked[1:] for link in world.links], [[("pong", "")]])

    def test_other_encoding(self) -> None:
        """What is no Unicode, as an argument in another encoding, is said as well as it goes."""
        said = self.ana.connection.say("caf\udce9 \U0001f600")
        self.world.flush()
        self.successResultOf(said)
        self.assertEqual(self.bob.texts, ["caf\ufffd \U0001f600"])

    def test_nobody_wants_to_hear(self) -> None:
        """A consumer that is gone ends the connection, and the name is free at once."""
        self.ana.connection.pauseProducing()
        self.ana.connection.stopProducing()
        self.world.flush()
        self.assertEqual(self.ana.closed, [None])
        self.assertEqual([event.reason for event in self.bob.of(Left)], ["bye"])

    def test_part(self) -> None:
        """Leaving in a hurry waits for what was asked as long as it may, and no longer."""
        said = self.ana.connection.say("last words")
        self.ana.connection.part()
        self.world.flush()
        self.successResultOf(said)
        self.assertEqual(self.ana.closed, [None])

    def test_part_while_paused(self) -> None:
        """What was asked is waited for also where nothing was read for a while."""
        said = self.ana.connection.say("last words")
        self.ana.connection.pauseProducing()
        self.ana.connection.part()
        self.world.flush()
        self.successResultOf(said)

    def test_one_at_a_time(self) -> None:
        """Who stops reading and reads on while hearing hears all once, and in order."""
        for event in range(20):
            self.bob.connection.say(str(event))
        heard: list[Heard] = []

        def hear(event: Heard) -> None:
            heard.append(event)
            cid.pauseProducing()
            cid.resumeProducing()

        cid = Connection(self.world, hear, self.world.clock, name="cid", room="lobby")
        cid.start()
        self.world.flush()
        self.assertEqual([type(event) for event in heard[:3]], [Welcome, Renamed, Joined])
        texts = [event.text for event in heard if isinstance(event, Message)]
        self.assertEqual(texts, [str(event) for event in range(20)])
        self.assertEqual(len([e for e in heard if isinstance(e, Welcome | Joined)]), 2)

    def test_part_while_hearing(self) -> None:
        """So does who leaves while hearing."""
        heard: list[Heard] = []

        def hear(event: Heard) -> None:
            heard.append(event)
            if isinstance(event, Joined):
                cid.pauseProducing()
                cid.part()

        cid = Connection(self.world, hear, self.world.clock, name="cid", room="lobby")
        cid.start()
        self.world.flush()
        self.successResultOf(cid.closed)
        self.assertEqual(len([event for event in heard if isinstance(event, Joined)]), 1)

    def test_nobody_waits_for_the_end(self) -> None:
        """Who does not wait for the end any more takes it from nobody else."""
        ended = self.ana.connection.closed
        ended.cancel()
        self.failureResultOf(ended, CancelledError)
        parted = self.ana.connection.part()
        self.assertNoResult(parted)
        parted.cancel()
        self.failureResultOf(parted, CancelledError)
        self.world.flush()
        self.assertFalse(self.ana.connection.linked)
        self.successResultOf(self.ana.connection.closed)
        self.assertEqual(self.ana.closed, [None])

    def test_dead_peer(self) -> None:
        """A peer that takes nothing any more keeps nobody from ending it."""
        world = World()
        ana = world.arrive()
        world.hang()
        ana.connection.stop()
        world.flush()
        self.assertEqual(ana.closed, [None])

    def test_part_on_arrival(self) -> None:
        """Who is just arriving arrives first, and leaves no ghost behind."""

        def heard(event: Heard) -> None:
            if isinstance(event, Welcome):
                cid.part()

        cid = Connection(self.world, heard, self.world.clock, name="cid", room="lobby")
        cid.start()
        self.world.flush()
        self.assertTrue(cid.closed.called)
        self.assertEqual([event.reason for event in self.bob.of(Left)], ["bye"])

    def test_part_at_once(self) -> None:
        """What was never begun is over when it is left."""
        heard: list[Heard] = []
        never = Connection(self.world, heard.append, self.world.clock)
        parted = never.part()
        self.world.flush()
        self.successResultOf(parted)

    def test_part_without_an_answer(self) -> None:
        """A server that says nothing is left all the same, and nothing is complained about."""
        world = World()
        world.answers["close"] = lambda _: []
        ana = world.arrive(name="ana", room="lobby")
        said = ana.connection.request("say", "hi")
        ana.connection.part()
        world.wait(PARTING)
        self.assertEqual(ana.closed, [None])
        self.assertEqual(self.failureResultOf(said, ChatError).value.code, "gone")
        gc.collect()
        self.assertEqual(self.flushLoggedErrors(), [])


class ClosingTests(SynchronousTestCase):
    """What the server gives as its reason to close decides whether to come back."""

    def closing(self, reason: str, *, reconnect: bool = True) -> tuple[World, Person]:
        world = World()
        ana = world.arrive(name="ana", reconnect=reconnect)
        world.link.send(Closing(reason=reason, text=f"It is {reason}."))
        world.link.drop()
        world.wait(30)
        return world, ana

    def test_final(self) -> None:
        """After a goodbye, a kick, a ban or a replacement it does not come back."""
        for reason in ("bye", "kicked", "banned", "replaced"):
            world, ana = self.closing(reason)
            self.assertEqual(ana.of(Disconnected), [Disconnected(f"It is {reason}.", True)])
            self.assertEqual(ana.closed, [None])
            self.assertEqual(len(world.tried), 1)
            closing = ana.connection.closing
            self.assertEqual(closing and closing.reason, reason)
            self.assertEqual(ana.connection.ended, "" if reason == "bye" else f"It is {reason}.")

    def test_not_final(self) -> None:
        """After a shutdown, or when it was idle or slow, it does."""
        for reason in ("shutdown", "idle", "slow"):
            world, ana = self.closing(reason)
            self.assertEqual([event.final for event in ana.of(Disconnected)], [False])
            self.assertEqual(len(world.tried), 2)
            self.assertTrue(ana.connection.linked)

    def test_without_reconnection(self) -> None:
        """Without reconnection every reason is final."""
        world, ana = self.closing("shutdown", reconnect=False)
        self.assertEqual(ana.closed, [None])
        self.assertEqual(len(world.tried), 1)
        closing = ana.connection.closing
        self.assertEqual(closing and closing.reason, "shutdown")
        self.assertIn("It is shutdown.", ana.connection.ended)
        self.assertIn("Start pylingo again", ana.connection.ended)

    def test_replaced_by_another_run(self) -> None:
        """A session that goes on elsewhere ends here, with the server's sentence."""
        world = World()
        world.serve()
        ana = world.arrive(name="ana", room="lobby")
        other = world.arrive(name="ana", ticket=ana.connection.ticket)
        world.wait(30)
        self.assertEqual([event.reason for event in ana.of(Closing)], ["replaced"])
        self.assertEqual(ana.closed, [None])
        self.assertTrue(other.connection.linked)


class PulseTests(SynchronousTestCase):
    """Signs of life."""

    def setUp(self) -> None:
        self.world = World()
        self.ana = self.world.arrive(name="ana")

    def test_ping(self) -> None:
        """A server that asks for a sign of life gets one, and nobody hears of it."""
        before = list(self.ana.heard)
        self.world.link.send(Ping())
        self.world.flush()
        self.assertEqual(self.world.link.asked[-1], ("pong", ""))
        self.assertEqual(self.ana.heard, before)

    def test_quiet_link(self) -> None:
        """A quiet link is asked for a sign of life, and stays as long as there is one."""
        self.world.wait(120)
        self.assertIn(("ping", ""), self.world.link.asked)
        self.assertEqual(self.ana.of(Disconnected, Pong), [])

    def test_paused(self) -> None:
        """Who reads nothing for now lets the server know that one is there."""
        self.ana.connection.pauseProducing()
        self.world.wait(2 * PULSE)
        self.assertIn(("ping", ""), self.world.link.asked)

    def test_deaf(self) -> None:
        """Who does not read cannot know whether something was said, and has time to read it."""
        del self.world.answers["ping"]
        self.ana.connection.pauseProducing()
        self.world.wait(2 * SILENCE)
        self.ana.connection.resumeProducing()
        self.world.wait(PULSE)
        self.assertEqual(self.ana.of(Disconnected), [])
        self.world.wait(SILENCE)
        self.assertEqual(len(self.ana.of(Disconnected)), 1)

    def test_held_up(self) -> None:
        """Who was stopped for a while, or has another time now, hears what has come before all."""
        self.world.clock.advance(3 * SILENCE)
        self.world.flush()
        self.world.wait(SILENCE)
        self.assertEqual((self.ana.of(Disconnected), len(self.world.tried)), ([], 1))

    def test_lost_while_held_up(self) -> None:
        """A link that was lost meanwhile is noticed soon."""
        del self.world.answers["ping"]
        self.world.clock.advance(3 * SILENCE)
        self.world.flush()
        self.assertEqual(self.ana.of(Disconnected), [])
        self.world.wait(PULSE)
        self.assertEqual([lost.final for lost in self.ana.of(Disconnected)], [False])

    def test_silence(self) -> None:
        """A link without a sign of life for 25 seconds is lost; that is said before 30."""
        del self.world.answers["ping"]
        self.world.wait(24)
        self.assertEqual(self.ana.of(Disconnected), [])
        self.world.wait(6)
        (lost,) = self.ana.of(Disconnected)
        self.assertFalse(lost.final)
        self.world.wait(10)
        self.assertEqual(len(self.world.tried), 2)

    def test_anything_is_a_sign_of_life(self) -> None:
        """Whatever the server says counts."""
        del self.world.answers["ping"]
        for number in range(1, 10):
            self.world.wait(10)
            self.world.link.send(message(number))
        self.world.flush()
        self.assertEqual(self.ana.of(Disconnected), [])

    def test_listening(self) -> None:
        """Who only listens lets the server know, for its question may wait behind much else."""
        asked = len(self.world.link.asked)
        for number in range(1, 10):
            self.world.link.send(message(number))
            self.world.wait(5)
        self.assertEqual(self.world.link.asked[asked:], [("ping", "")] * 4)

    def test_silence_on_return(self) -> None:
        """A server that accepts the link again but says nothing is tried again."""
        hello = self.world.answers.pop("hello")
        self.world.link.drop()
        self.world.wait(10)
        self.world.answers["hello"] = hello
        self.world.wait(20)
        self.assertTrue(self.ana.connection.linked)
        self.assertIn("says nothing", self.ana.of(Disconnected)[-1].reason)


class HostileServerTests(SynchronousTestCase):
    """What no PyLingo server says ends the link, not the program."""

    def setUp(self) -> None:
        self.world = World()
        self.ana = self.world.arrive(name="ana")

    def bytes(self, data: bytes) -> Disconnected:
        self.world.link.transport.write(data)
        self.world.flush()
        (lost,) = self.ana.of(Disconnected)
        assert isinstance(lost, Disconnected)
        self.assertFalse(lost.final)
        self.world.wait(10)
        self.assertEqual(self.ana.of(Connected)[-1], Connected(again=True))
        return lost

    def test_too_large(self) -> None:
        """A frame above the bound is reported with its size; then it connects again."""
        size = LARGEST_EVENT + 1
        self.assertIn(str(size), self.bytes(size.to_bytes(4, "big")).reason)

    def test_largest(self) -> None:
        """A frame of just the largest size is right."""
        event = encode(Notice(text=""))
        text = "x" * (LARGEST_EVENT - len(event) + 4)
        self.world.link.send(Notice(text=text))
        self.world.flush()
        self.assertEqual(len(self.ana.of(Notice)[0].text), len(text))

    def test_garbage(self) -> None:
        """So is one that is no event; the tests of the protocol have them of all kinds."""
        self.assertIn("not what a PyLingo server says", self.bytes(frame(b"{garbage")).reason)

    def test_nothing_after_garbage(self) -> None:
        """What follows in the same read is not heard."""
        self.bytes(frame(b"{garbage") + encode(message(1, "ghost")))
        self.assertEqual(self.ana.texts, [])

    def test_unknown_event(self) -> None:
        """An event of a later version is ignored, and so is an unknown field."""
        self.world.link.transport.write(
            frame(b'{"event":"confetti","n":1}')
            + frame(b'{"event":"notice","text":"hi","colour":"red"}')
        )
        self.world.flush()
        self.assertEqual([event.text for event in self.ana.of(Notice)], ["hi"])
        self.assertEqual(self.ana.of(Disconnected), [])

    def test_codes_of_ours(self) -> None:
        """An error that only we make is trouble in the server, where the server says it."""
        self.world.answers["topic"] = lambda request: [
            Error(code=request.body, text="No.", fatal=False, re=request.re)
        ]
        for code in ("gone", "unsure", "unreachable", "untrusted"):
            asked = self.ana.connection.request("topic", code)
            self.world.flush()
            self.assertEqual(self.failureResultOf(asked, ChatError).value.code, "internal")

    def test_no_reason(self) -> None:
        """A server that says no more than that it ends this is told to do so without a reason."""
        self.world.link.send(Closing(reason="kicked", text="\x1b"))
        self.world.cut()
        self.assertEqual(self.ana.connection.ended, "the server does not say why.")

    def test_does_not_hang_up(self) -> None:
        """One that has said goodbye, and stays on the line, is not waited for."""
        self.world.link.send(Closing(reason="kicked", text="Out."))
        self.world.flush()
        self.assertEqual(self.ana.closed, [])
        self.world.wait(PULSE)
        self.assertEqual(self.ana.closed, [None])
        self.assertEqual(self.ana.connection.ended, "Out.")

    def test_secret_as_if_said(self) -> None:
        """A password is not heard as if it had been said, whatever the answer to it."""
        self.world.answers["login"] = lambda request: [Sent(id=7, at=0, re=request.re)]
        bob = self.world.arrive(name="bob", echo=True)
        bob.connection.request("login", "bob secret")
        self.world.flush()
        self.assertEqual(bob.texts, [])

    def test_no_answer_to_a_message(self) -> None:
        """An answer that is none to a message is not believed: it is heard as the error it is."""
        self.world.answers["say"] = lambda request: [Pong(body="", re=request.re)]
        for say in (lambda: self.ana.connection.say("hi"),
                    lambda: self.ana.connection.request("say", "hi")):  # fmt: skip
            said: Deferred[Any] = say()
            self.world.flush()
            self.assertEqual(self.failureResultOf(said, ChatError).value.code, "bad_frame")
        self.assertEqual([error.code for error in self.ana.of(Error)], ["bad_frame"] * 2)

    def test_closed_in_answer(self) -> None:
        """A server that ends it in answer to a message is obeyed."""
        self.world.answers["say"] = lambda request: [
            Closing(reason="kicked", text="Out.", re=request.re)
        ]
        said = self.ana.connection.say("hi")
        self.world.flush()
        self.failureResultOf(said, ChatError)
        self.assertEqual(self.ana.connection.ended, "Out.")

    def test_absurd_names_and_counts(self) -> None:
        """A name, or a number of people, that no server of ours would have ends the link, too."""
        self.bytes(encode(Renamed(user="ana", to="x" * (LONGEST_SHOWN + 1))))
        self.ana.heard[:] = [Connected(again=False)]
        self.bytes(
            frame(
                b'{"event":"resumed","user":"a","room":"b","users":[],"topic":"",'
                b'"session":"c","count":' + b"9" * 4300 + b"}"
            )
        )

    def test_unknown_reply(self) -> None:
        """A reply of a later version ends what waits for it, and the next request goes."""
        self.world.answers["whois"] = lambda _: []
        asked = self.ana.connection.request("whois", "bob")
        then = self.ana.connection.request("name", "bea")
        self.world.flush()
        reply = json.dumps({"event": "confetti", "re": self.ana.connection.waiting[0].re})
        self.world.link.transport.write(frame(reply.encode()))
        self.world.flush()
        self.assertEqual(self.failureResultOf(asked, ChatError).value.code, "bad_frame")
        self.successResultOf(then)
        # Nobody waits for another one.
        self.world.link.transport.write(frame(reply.encode()))
        self.world.flush()
        self.assertEqual(len(self.ana.of(Error)), 1)

    def test_reply_to_nothing(self) -> None:
        """A reply to what was never asked is an event like any other."""
        self.world.link.send(Sent(id=1, at=1, re="never"), Rooms(rooms=[], re=99))
        self.world.flush()
        self.assertEqual(len(self.ana.of(Rooms)), 1)
        self.assertTrue(self.ana.connection.linked)

    def test_one_byte_at_a_time(self) -> None:
        """Frames may come in pieces of any size."""
        for byte in encode(message(1, "slow")) + encode(message(2, "and steady")):
            self.world.link.transport.write(bytes([byte]))
            self.world.flush()
        self.assertEqual(self.ana.texts, ["slow", "and steady"])

    def test_fatal_error(self) -> None:
        """A fatal error is the reason that is given for the loss."""
        self.world.link.send(Error(code="bad_frame", text="That was no frame.", fatal=True))
        self.world.cut()
        (lost,) = self.ana.of(Disconnected)
        self.assertEqual(lost.reason, "That was no frame.")

    def test_harmless_error(self) -> None:
        """One that is not fatal is no reason for a loss that comes later."""
        self.world.link.send(Error(code="internal", text="That failed.", fatal=False))
        self.world.cut()
        (lost,) = self.ana.of(Disconnected)
        self.assertEqual(lost.reason, GONE)
