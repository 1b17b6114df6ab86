"""The client without a terminal: lines in, events out."""

from __future__ import annotations

import errno
import io
import json
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from pylingo import looks
from pylingo.connection import PARTING, Connected, Connection, Disconnected
from pylingo.pipe import BEGIN, MOST_UNANSWERED, Pipe
from pylingo.protocol import (
    AnyEvent,
    ChatError,
    Closing,
    Error,
    Joined,
    Message,
    Notice,
    Rooms,
    RoomSummary,
    Sent,
)
from tests.seat import message, resumed, welcome

SENT = Sent(id=1, at=1)


class Wire:
    """A connection that notes what is asked; the test answers."""

    def __init__(self) -> None:
        self.user = "ana"
        self.linked = True
        self.room: str | None = "lobby"
        self.asked: list[tuple[str, str]] = []
        self.replies: list[Deferred[AnyEvent]] = []
        self.closing = 0
        self.parted = 0

    @property
    def unanswered(self) -> int:
        return len(self.replies)

    def request(self, command: str, body: str = "") -> Deferred[AnyEvent]:
        self.asked.append((command, body))
        self.replies.append(Deferred())
        return self.replies[-1]

    def part(self) -> None:
        self.parted += 1

    def close(self) -> None:
        self.closing += 1


class PipeTests(SynchronousTestCase):
    """A pipe between redirected streams and a connection."""

    json = False
    person = False
    typed = False

    def setUp(self) -> None:
        self.errors = io.StringIO()
        self.wire = Wire()
        self.output = StringTransport()
        self.clock = Clock()
        self.pipe = Pipe(self.json, self.errors, self.clock, person=self.person, typed=self.typed)
        self.pipe.connection = cast(Connection, self.wire)
        self.pipe.makeConnection(self.output)
        self.status: list[int] = []
        self.pipe.finished.addCallback(self.status.append)
        self.pipe.resumeProducing()

    def answer(self, reply: AnyEvent = SENT) -> None:
        """Answer the oldest request that waits."""
        self.wire.replies.pop(0).callback(reply)

    def refuse(self, text: str = "No.") -> None:
        """Refuse it."""
        self.pipe.heard(Error(code="x", text=text, fatal=False))
        self.wire.replies.pop(0).errback(ChatError("x", text))

    @property
    def printed(self) -> list[str]:
        data: bytes = self.output.value()
        return data.decode().splitlines()

    @property
    def complaints(self) -> str:
        return self.errors.getvalue()

    def end(self) -> int:
        """The exit status, when the connection has ended."""
        self.pipe.connectionLost()
        (status,) = self.status
        return status


class PersonTests(PipeTests):
    """Somebody types, on a terminal that can do nothing else."""

    person = True

    def test_person(self) -> None:
        """A person who types is told how to begin; `exit` leads out, of the room or of the chat."""
        self.pipe.heard(welcome())
        self.assertEqual(self.printed[-1], BEGIN)
        self.pipe.dataReceived(b"exit\nEXIT \n")
        self.wire.room = None
        self.pipe.dataReceived(b"exit\n")
        self.assertEqual(self.wire.asked, [("leave", ""), ("leave", ""), ("quit", "")])

    def test_person_talks(self) -> None:
        """What else a person types is said, and nothing is told twice."""
        self.pipe.heard(welcome())
        self.pipe.heard(Notice(text="Tea is ready."))
        self.pipe.dataReceived(b"exit left\n")
        self.assertEqual(self.wire.asked, [("say", "exit left")])
        self.assertEqual(self.printed.count(BEGIN), 1)

    def test_person_astray(self) -> None:
        """`exit` leads out also for who was not let in elsewhere."""
        self.pipe.dataReceived(b"/join den\n")
        self.refuse()
        self.pipe.dataReceived(b"exit\n")
        self.assertEqual(self.wire.asked[-1], ("leave", ""))

    def test_begin(self) -> None:
        """Who wants a name and a room takes the one, then goes to the other."""
        self.pipe.begin("Ana", "den secret")
        self.assertEqual(self.wire.asked, [("name", "Ana")])
        self.assertEqual(self.output.producerState, "paused")
        self.answer()
        self.assertEqual(self.wire.asked[1:], [("join", "den secret")])
        self.assertEqual(self.output.producerState, "producing")
        self.pipe.begin("", "")
        self.assertEqual(len(self.wire.asked), 2)

    def test_begin_refused(self) -> None:
        """Who is refused the name stays, to log in or to take another, and goes nowhere."""
        self.pipe.begin("ana", "den")
        self.refuse("The name ana is registered. If it is yours: /login ana PASSWORD")
        self.assertIn("/login", self.complaints)
        self.assertEqual(self.output.producerState, "producing")
        self.pipe.dataReceived(b"/login ana s3cret\n")
        self.assertEqual(self.wire.asked, [("name", "ana"), ("login", "ana s3cret")])
        self.assertEqual(self.status, [])

    def test_before(self) -> None:
        """It is said that what comes first was said before one came, if it was."""
        came = Joined(room="lobby", user="ana", users=["ana"], count=1, topic="")
        for replayed in (True, False):
            self.pipe.heard(came)
            for text in ("one", "two"):
                self.pipe.heard(message(text, replayed=replayed))
        heading = [line == looks.BEFORE for line in self.printed]
        self.assertEqual(heading, [False, True, False, False, False, False, False])


class TypedTests(PipeTests):
    """Lines come from a terminal."""

    typed = True

    def test_cut(self) -> None:
        """A line that the terminal has cut is not sent as if it were all; the sender is told."""
        self.pipe.dataReceived(b"x" * 4094 + b"\n" + b"y" * 4095 + b"\nand so on\n")
        self.assertEqual([text[:1] for _, text in self.wire.asked], ["x", "a"])
        self.assertIn("The terminal cuts lines at 4095 bytes.", self.complaints)
        self.assertEqual(self.end(), 1)


class InputTests(PipeTests):
    """What is read."""

    def test_lines(self) -> None:
        """Each line is sent as if it was typed."""
        self.pipe.dataReceived(b"hi\n/me waves\n/JOIN  a b\n")
        self.assertEqual(self.wire.asked, [("say", "hi"), ("me", "waves"), ("JOIN", " a b")])

    def test_pieces(self) -> None:
        """Lines may come in pieces, and characters too."""
        for byte in "hé 日本\n".encode():
            self.pipe.dataReceived(bytes([byte]))
        self.assertEqual(self.wire.asked, [("say", "hé 日本")])

    def test_line_ends(self) -> None:
        """Line ends of another system are no part of the line."""
        self.pipe.dataReceived(b"hi\r\n")
        self.assertEqual(self.wire.asked, [("say", "hi")])

    def test_mark(self) -> None:
        """The mark that editors of another system put at the beginning is no part of it either."""
        self.pipe.dataReceived("\ufeff/login ci s3cret\r\n\ufeffhi\n".encode())
        self.assertEqual(self.wire.asked, [("login", "ci s3cret"), ("say", "\ufeffhi")])
        self.setUp()
        self.pipe.dataReceived("\ufeffhi\n".encode())
        self.assertEqual(self.wire.asked, [("say", "hi")])

    def test_program(self) -> None:
        """Who is no person is not told how to begin, and says `exit`."""
        self.pipe.heard(welcome())
        self.assertNotIn(BEGIN, self.printed)
        self.pipe.dataReceived(b"exit\n")
        self.assertEqual(self.wire.asked, [("say", "exit")])

    def test_not_before(self) -> None:
        """Nothing is read before there is somebody to tell it to."""
        pipe, output = Pipe(False, self.errors, self.clock), StringTransport()
        pipe.makeConnection(output)
        self.assertEqual(output.producerState, "paused")

    def test_refused(self) -> None:
        """What is refused, and leads nowhere, keeps nothing back."""
        self.pipe.dataReceived(b"/topic tea\n")
        self.refuse()
        self.pipe.dataReceived(b"hi\n")
        self.assertEqual(self.wire.asked, [("topic", "tea"), ("say", "hi")])

    def test_refused_here(self) -> None:
        """Nor does a way to the room where one is."""
        self.pipe.dataReceived(b"/join Lobby\n")
        self.refuse()
        self.pipe.dataReceived(b"hi\n")
        self.assertEqual(self.wire.asked[1:], [("say", "hi")])

    def test_spaces(self) -> None:
        """Spaces are part of it; a line of nothing else is not sent."""
        self.pipe.dataReceived(b"  hi  \n   \n\n")
        self.assertEqual(self.wire.asked, [("say", "  hi  ")])

    def test_not_utf8(self) -> None:
        """Bytes that are no text are sent as what stands for such."""
        self.pipe.dataReceived(b"a\xffb\n")
        self.assertEqual(self.wire.asked, [("say", "a\ufffdb")])

    def test_last_line(self) -> None:
        """A last line that is not ended is a line."""
        self.pipe.dataReceived(b"hi")
        self.pipe.readConnectionLost()
        self.assertEqual(self.wire.asked, [("say", "hi")])

    def test_end_waits(self) -> None:
        """At the end of input all answers are waited for; then it is closed, once."""
        self.pipe.dataReceived(b"one\ntwo\n")
        self.pipe.readConnectionLost()
        self.answer()
        self.assertEqual(self.wire.closing, 0)
        self.answer()
        self.assertEqual(self.wire.closing, 1)
        self.assertEqual(self.end(), 0)

    def test_end_of_nothing(self) -> None:
        """Where there was no input it is closed at once."""
        self.pipe.readConnectionLost()
        self.assertEqual((self.wire.closing, self.end()), (1, 0))

    def test_closed_by_a_line(self) -> None:
        """After `/close` in the input there is nothing more to close."""
        self.pipe.dataReceived(b"/close\n")
        self.pipe.heard(Closing(reason="bye", text="Bye."))
        self.answer(Closing(reason="bye", text="Bye."))
        self.pipe.heard(Disconnected("Bye.", True))
        self.pipe.readConnectionLost()
        self.assertEqual((self.wire.closing, self.complaints, self.end()), (0, "", 0))

    def test_not_too_fast(self) -> None:
        """Reading pauses while too many lines wait for their answers, and loses none."""
        many = 3 * MOST_UNANSWERED
        self.pipe.dataReceived(b"".join(b"%d\n" % n for n in range(many)))
        self.assertEqual(self.wire.unanswered, MOST_UNANSWERED)
        self.assertEqual(self.output.producerState, "paused")
        while self.wire.replies:
            self.answer()
        self.assertEqual(self.wire.asked, [("say", str(n)) for n in range(many)])
        self.assertEqual(self.output.producerState, "producing")

    def test_endless_line(self) -> None:
        """A line without an end is refused once, and all behind it; status is 1."""
        self.pipe.dataReceived(b"one\n")
        for _ in range(22):
            self.pipe.dataReceived(b"x" * 100_000)
        self.pipe.dataReceived(b"\nhello\n")
        self.assertEqual(self.complaints.count("Make it shorter"), 1)
        self.assertEqual(self.wire.asked, [("say", "one")])
        self.answer()
        self.assertEqual(self.wire.closing, 1)
        self.assertEqual(self.end(), 1)


class OutputTests(PipeTests):
    """What is printed."""

    def test_events(self) -> None:
        """Events are printed as lines for people."""
        self.pipe.heard(Notice(text="one\ntwo"))
        self.pipe.heard(Rooms(rooms=[RoomSummary("lobby", 1, "", False)]))
        self.assertEqual(self.printed, ["-- one", "-- two", "-- lobby (1 user)"])

    def test_harmless(self) -> None:
        """Nothing that a terminal obeys is printed, nor any colour."""
        message = Message(id=1, at=1, room="l", user="b\x1b[2J", text="\x1b]0;x\x07ana\x9b1m")
        self.pipe.heard(message)
        (line,) = self.printed
        self.assertTrue(line.isprintable(), repr(line))

    def test_errors(self) -> None:
        """A refusal is a sentence on standard error, the rest is sent all the same."""
        self.pipe.dataReceived(b"/dance\nhi\n")
        self.refuse("There is no command /dance.")
        self.answer()
        self.pipe.readConnectionLost()
        self.assertEqual(self.complaints, "pylingo: There is no command /dance.\n")
        self.assertEqual((self.printed, self.wire.closing, self.end()), ([], 1, 1))

    def test_errors_in_their_turn(self) -> None:
        """Where errors go to the same place as the output, they do so in the same way."""
        self.pipe = Pipe(False, self.errors, self.clock, shared=True)
        self.pipe.connection = cast(Connection, self.wire)
        self.pipe.makeConnection(self.output)
        self.pipe.heard(Notice(text="one"))
        self.pipe.heard(Error(code="x", text="two", fatal=False))
        self.pipe.heard(Notice(text="three"))
        self.assertEqual(self.printed, ["-- one", "pylingo: two", "-- three"])
        self.assertEqual(self.complaints, "")

    def test_errors_on_a_full_disk(self) -> None:
        """The status tells of an error that cannot be written; what comes after it is sent."""

        def write(_: str) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        self.patch(self.errors, "write", write)
        self.pipe.dataReceived(b"/join den\n")
        self.refuse()
        self.pipe.dataReceived(b"in den\n/join tea\nin tea\n")
        self.assertEqual(self.wire.asked[1:], [("join", "tea"), ("say", "in tea")])
        self.assertEqual(self.end(), 1)

    def test_harmless_errors(self) -> None:
        """A complaint has nothing in it that a terminal obeys, either."""
        self.pipe.heard(Error(code="x", text="N\x1b[2Jo\x9b1m.", fatal=False))
        self.assertTrue(self.complaints[:-1].isprintable(), repr(self.complaints))

    def test_lost(self) -> None:
        """A lost link is told, with how many lines were not acknowledged."""
        self.pipe.dataReceived(b"one\ntwo\n")
        self.pipe.heard(Disconnected("The server is gone.", True))
        self.assertEqual(
            self.complaints,
            "pylingo: The server is gone. 2 lines were not acknowledged, and what comes after that "
            "in the input was not sent.\n",
        )
        self.assertEqual(self.end(), 1)

    def test_lost_and_nothing_else(self) -> None:
        """Where everything was acknowledged it is just told."""
        self.pipe.heard(Disconnected("The server is gone.", True))
        self.assertEqual(self.complaints, "pylingo: The server is gone.\n")

    def test_one_line_lost(self) -> None:
        """One line is "1 line"."""
        self.pipe.dataReceived(b"one\n")
        self.pipe.heard(Disconnected("The server is gone.", True))
        self.assertIn("1 line was not acknowledged", self.complaints)

    def test_shutdown(self) -> None:
        """A server that stops is an error for who did not ask for it."""
        self.pipe.heard(Closing(reason="shutdown", text="It is over."))
        self.pipe.heard(Disconnected("It is over.", True))
        self.assertIn("It is over.", self.complaints)
        self.assertEqual(self.end(), 1)

    def test_ended_before_that_is_told(self) -> None:
        """Lines that come when the connection has ended already are counted; none was sent."""
        for ends in (False, True):
            self.setUp()
            self.pipe.heard(Closing(reason="shutdown", text="It is over."))
            self.pipe.dataReceived(b"two\nthree\n")
            for reply in self.wire.replies:
                reply.errback(ChatError("gone", "It is over."))
            self.wire.replies.clear()
            if ends:
                self.pipe.readConnectionLost()
            self.pipe.heard(Disconnected("It is over.", True))
            self.assertIn("2 lines were not acknowledged", self.complaints)
            self.assertEqual(self.end(), 1)

    def test_unreachable(self) -> None:
        """Not getting in is one sentence, and status 1."""
        self.pipe.failed(ChatError("unreachable", "Nothing answers."))
        self.assertEqual((self.complaints, self.end()), ("pylingo: Nothing answers.\n", 1))

    def test_refused_entry(self) -> None:
        """A refusal that was heard already is not told twice."""
        self.pipe.heard(Error(code="name_taken", text="Taken.", fatal=False))
        self.pipe.failed(ChatError("name_taken", "Taken."))
        self.pipe.heard(Disconnected("Taken.", True))
        self.assertEqual((self.complaints, self.end()), ("pylingo: Taken.\n", 1))

    def test_leave(self) -> None:
        """When it is told to end it leaves the chat, with status 1 and without complaints."""
        self.pipe.leave()
        self.assertEqual(self.wire.parted, 1)
        self.pipe.heard(Disconnected("It was closed.", True))
        self.assertEqual((self.complaints, self.end()), ("", 1))

    def test_astray(self) -> None:
        """What comes after a way to another room that was refused is not said, until another."""
        self.pipe.dataReceived(b"/join den\n/join tea\nin tea\n")
        self.refuse()
        self.pipe.dataReceived(b"in tea, too\n")
        self.answer(Joined(room="tea", user="ana", users=["ana"], count=1, topic=""))
        self.pipe.dataReceived(b"/create den\n")
        for _ in range(2):
            self.answer()
        self.refuse()
        self.pipe.dataReceived(b"for den only\n/me waves\n/msg bob psst\n/join lobby\nhi\n")
        self.assertIn("for den only", self.complaints)
        self.assertEqual(
            self.wire.asked[2:],
            [("say", "in tea"), ("say", "in tea, too"), ("create", "den"), ("msg", "bob psst"),
             ("join", "lobby"), ("say", "hi")],
        )  # fmt: skip

    def test_leave_too_early(self) -> None:
        """Who leaves is told how much of what was sent is not known to have arrived by then."""
        self.pipe.dataReceived(b"one\ntwo\n")
        self.pipe.leave()
        self.assertIn("2 lines were not acknowledged, and what comes after", self.complaints)

    def test_leave_at_the_end(self) -> None:
        """Of what was not read yet nothing is said where all was read."""
        self.pipe.dataReceived(b"one\n")
        self.pipe.readConnectionLost()
        self.pipe.leave()
        self.assertIn("1 line was not acknowledged.", self.complaints)

    def test_leave_before(self) -> None:
        """Nor is any of it where there was no link yet, or the end was near anyway."""
        self.wire.linked = False
        self.pipe.dataReceived(b"one\n")
        self.pipe.leave()
        self.assertEqual(self.complaints, "")
        self.setUp()
        self.pipe.dataReceived(b"one\n")
        self.pipe.heard(Closing(reason="bye", text="Bye."))
        self.pipe.heard(Disconnected("Bye.", True))
        self.assertIn("1 line was not acknowledged", self.complaints)
        self.setUp()
        self.pipe.dataReceived(b"/close\n")
        self.pipe.heard(Closing(reason="bye", text="Bye."))
        self.pipe.leave()
        self.assertEqual(self.complaints, "")

    def test_leave_unread(self) -> None:
        """Output that nobody reads keeps it from ending for a moment, not for ever."""
        self.pipe.leave()
        self.clock.advance(PARTING - 0.1)
        self.assertEqual(self.status, [])
        self.clock.advance(0.1)
        self.assertEqual(self.status, [1])

    def test_after_the_end(self) -> None:
        """What comes after a line that ends it is told, for it is not said."""
        self.pipe.dataReceived(b"one\n/QUIT\ntwo\n")
        self.assertEqual(self.wire.asked, [("say", "one"), ("QUIT", "")])
        self.assertIn("not sent: two", self.complaints)
        self.assertEqual(self.end(), 1)

    def test_no_password_in_complaints(self) -> None:
        """What was not sent may have a password in it: of a command only its name is shown."""
        self.pipe.dataReceived(b"/join den\n")
        self.refuse()
        self.pipe.dataReceived(b"/lock hunter2\n/quit\n/login ana hunter2\n/ login hunter2\n")
        for shown in ("/lock …", "/login …", "/ …"):
            self.assertIn(shown, self.complaints)
        self.assertNotIn("hunter2", self.complaints)

    def test_indented(self) -> None:
        """A command that is indented is one all the same: it is not said to everybody."""
        self.pipe.dataReceived(b"  /login ana hunter2\n  // no command\n\tcode\n")
        self.assertEqual(
            self.wire.asked,
            [("login", "ana hunter2"), ("say", "  // no command"), ("say", "\tcode")],
        )

    def test_output_gone(self) -> None:
        """When nobody reads any more it ends with status 1, quietly."""
        self.pipe.writeConnectionLost()
        self.assertEqual(self.status, [1])
        self.pipe.heard(Notice(text="hi"))
        self.pipe.heard(Disconnected("The server is gone.", True))
        self.pipe.connectionLost()
        self.assertEqual((self.printed, self.complaints, self.status), ([], "", [1]))


class JsonTests(PipeTests):
    """`--json`."""

    json = True

    def test_events(self) -> None:
        """Each event is one line of JSON, as it came."""
        self.pipe.heard(Message(id=1, at=2, room="lobby", user="bob", text="one\ntwo é"))
        self.pipe.heard(Sent(id=1, at=2, re="a"))
        self.assertEqual(
            [json.loads(line) for line in self.printed],
            [
                {"event": "message", "id": 1, "at": 2, "room": "lobby", "user": "bob",
                 "text": "one\ntwo é"},
                {"event": "sent", "id": 1, "at": 2, "re": "a"},
            ],
        )  # fmt: skip

    def test_errors(self) -> None:
        """An error is an event like the others, and told where errors are; the status is 1."""
        self.pipe.dataReceived(b"/dance\n")
        self.refuse()
        self.pipe.readConnectionLost()
        (event,) = map(json.loads, self.printed)
        self.assertEqual((event["event"], event["code"]), ("error", "x"))
        self.assertEqual((self.complaints, self.end()), ("pylingo: No.\n", 1))

    def test_clean(self) -> None:
        """What could drive a terminal is not printed here either."""
        self.pipe.heard(Notice(text="a\x7f\x9b\u202eb\n\x1bc"))
        self.assertEqual(json.loads(self.printed[0])["text"], "ab\n\x1bc")
        self.assertNotIn("\x1b", self.printed[0])

    def test_no_token(self) -> None:
        """The session's token, which is as good as a password, is in no file that others read."""
        for event in (welcome(), resumed(room=None)):
            self.pipe.heard(event)
        self.assertEqual([json.loads(line).get("session") for line in self.printed], ["", ""])

    def test_only_events(self) -> None:
        """What is no event of the server is not among them."""
        self.pipe.heard(Connected(False))
        self.pipe.heard(Disconnected("It is over.", True))
        self.assertEqual(self.printed, [])
        self.assertIn("It is over.", self.complaints)
