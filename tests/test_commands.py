"""Every command, its aliases, what it answers, and what it refuses."""

from __future__ import annotations

import gc
import sqlite3
from collections.abc import Sequence
from typing import Any

from pylingo import names
from pylingo.commands import MOST_HISTORY, MOST_LISTED, TABLE
from pylingo.history import REPLAYED
from pylingo.protocol import (
    LARGEST_EVENT,
    Closing,
    Done,
    Error,
    Event,
    Help,
    History,
    Joined,
    Left,
    Message,
    Notice,
    Pong,
    Private,
    Renamed,
    Request,
    Rooms,
    Sent,
    Users,
    Welcome,
    encode,
)
from pylingo.rooms import silence
from tests.house import START, DoorTestCase, House, request, texts

FIRST_TABLE = {
    "hello": (), "name": (), "list": ("rooms",), "join": (), "create": (), "users": ("who",),
    "leave": ("exit",), "help": (), "close": ("quit",), "say": (), "me": (), "msg": (),
    "history": (), "resume": (), "ping": (), "pong": (),
}  # fmt: skip
"""The commands of the first table of the protocol's page, with their aliases."""


def without_notices(heard: Sequence[Event]) -> list[Any]:
    """What was heard, but for what is only for people to read."""
    return [event for event in heard if not isinstance(event, Notice)]


class CommandTestCase(DoorTestCase):
    def setUp(self) -> None:
        self.house = House(motd="Be nice.")


class TableTests(CommandTestCase):
    def test_complete(self) -> None:
        """Every command of the contract is there, with its aliases."""
        rows = {row.name: tuple(row.aliases) for row in self.visitor().ask("help").commands}
        for name, aliases in FIRST_TABLE.items():
            self.assertEqual(rows[name], aliases)

    def test_aliases(self) -> None:
        """An alias is the same command."""
        for name, aliases in FIRST_TABLE.items():
            for alias in aliases:
                self.assertIs(TABLE[alias], TABLE[name])

    def test_any_case(self) -> None:
        """A command is known in any case."""
        ana = self.visitor("ana", "lobby")
        self.assertIsInstance(ana.ask("PING"), Pong)
        self.assertIsInstance(ana.ask("Who"), Users)

    def test_unknown(self) -> None:
        """What is no command is refused, and the sentence says what to do."""
        ana = self.visitor()
        self.assertIn("/help", self.error(ana, "unknown_command", "dance", "wildly"))
        self.error(ana, "unknown_command", "")
        self.error(ana, "unknown_command", "__class__")
        self.assertNotIn("\x1b", self.error(ana, "unknown_command", "\x1b[2J"))
        self.assertLess(len(self.error(ana, "unknown_command", "x" * 9000)), 200)

    def test_mistyped(self) -> None:
        """What is nearly a command is answered with that one."""
        ana = self.visitor()
        for word, meant in (
            ("jion", "/join"), ("HLEP", "/help"), ("users:", "/users"), ("Nick", "/name"),
        ):  # fmt: skip
            self.assertIn(f"Did you mean {meant}?", self.error(ana, "unknown_command", word))


class HelloTests(CommandTestCase):
    def test_welcome(self) -> None:
        """The answer says who the server is, who I am, and what can be done here."""
        visitor = self.visitor()
        welcome = visitor.ask("hello", "tests/1.0")
        self.assertIsInstance(welcome, Welcome)
        self.assertTrue(welcome.server.startswith("pylingo/"))
        self.assertEqual((welcome.version, welcome.motd), (1, "Be nice."))
        self.assertFalse(welcome.password_required)
        self.assertTrue(welcome.user)
        self.assertTrue(welcome.session)
        help = visitor.ask("help").commands
        self.assertEqual(encode(Help(commands=welcome.commands)), encode(Help(commands=help)))
        self.assertEqual(visitor.closed, False)

    def test_once(self) -> None:
        """It is said once when it is asked for first."""
        visitor = self.visitor()
        visitor.ask("hello")
        self.assertEqual([type(event) for event in visitor.hear()], [Welcome])

    def test_ahead(self) -> None:
        """It is said ahead of the reply to whatever came instead, without an id."""
        visitor = self.visitor()
        visitor.ask("ping", "hi")
        welcome, pong = visitor.hear()
        self.assertIsInstance(welcome, Welcome)
        self.assertIsNone(welcome.re)
        self.assertEqual(pong, Pong(body="hi", re=1))

    def test_again(self) -> None:
        """Who says hello again is answered again, and keeps the name."""
        ana = self.visitor("ana")
        welcome = ana.ask("HELLO")
        self.assertEqual(welcome.user, "ana")

    def test_guest_is_valid(self) -> None:
        """The name that a guest is given is one at once."""
        ana, ben = self.visitor(), self.visitor("ben")
        welcome = ana.ask("hello")
        self.assertIsInstance(ben.ask("msg", f"{welcome.user} hi"), Sent)
        self.assertEqual(texts(ana.hear()), ["hi"])


class NameTests(CommandTestCase):
    def test_renamed(self) -> None:
        """A new name is answered, and heard by the room."""
        ana, ben = self.visitor("ana", "lobby"), self.visitor("ben", "lobby")
        self.assertEqual(ana.ask("name", " Anna "), Renamed(user="ana", to="Anna", re=3))
        self.assertEqual(ben.hear(), [Renamed(user="ana", to="Anna")])

    def test_answered_first(self) -> None:
        """What happens under the new name is told after the answer."""
        ben, ana = self.visitor("ben", "lobby"), self.visitor("ana", "lobby")
        self.house.commits.hold()
        ana.begin("name", "Anna")
        ben.begin("kick", "Anna")
        self.house.commits.release()
        self.assertEqual([type(event) for event in ana.hear()], [Renamed, Left])

    def test_refused(self) -> None:
        """A name that is none, or somebody's, or looks like it, is refused."""
        ana = self.visitor("ana")
        self.visitor("ben")
        for body in ("", "  ", "a b", "x" * 33, "a\x1bb", "a\u200bb"):
            self.error(ana, "bad_argument", "name", body)
        for body in ("ben", "BEN", "bеn"):
            self.error(ana, "name_taken", "name", body)

    def test_lingering(self) -> None:
        """The name of a user whose connection broke is not free, nor is a look-alike of it."""
        ben, ana = self.visitor("ben"), self.visitor("ana")
        ben.drop()
        self.error(ana, "name_taken", "name", "ben")
        self.error(ana, "name_taken", "name", "bеn")

    def test_race(self) -> None:
        """Of two who ask for one name at the same moment, the first has it."""
        one, two = self.visitor(), self.visitor()
        self.house.commits.hold()
        first, second = one.begin("name", "zoe"), two.begin("name", "ZOE")
        self.house.commits.release()
        self.house.settle()
        self.assertIsInstance(one.reply(first), Renamed)
        self.assertEqual(two.reply(second).code, "name_taken")

    def test_kept(self) -> None:
        """A new name would survive the end of the server when it is answered."""
        ana = self.visitor()
        self.house.commits.hold()
        id = ana.begin("name", "ana")
        self.assertIsNone(ana.reply(id))
        self.house.commits.release()
        self.assertIsInstance(ana.reply(id), Renamed)
        rows = self.house.database.reader.execute("SELECT name FROM sessions").fetchall()
        self.assertEqual(rows, [("ana",)])


class ListTests(CommandTestCase):
    def test_rooms(self) -> None:
        """Every room is listed with how many are in it, the fullest first, then by their names."""
        self.visitor("cem", "den")
        self.visitor("ana", "Attic")
        for name in ("ben", "eve"):
            self.visitor(name, "lobby")
        zoe = self.visitor("zoe")
        for command in ("list", "rooms"):
            reply = zoe.ask(command)
            self.assertIsInstance(reply, Rooms)
            rows = [(row.name, row.count, row.topic, row.locked) for row in reply.rooms]
            self.assertEqual(rows[:2], [("lobby", 2, "", False), ("Attic", 1, "", False)])
            self.assertEqual(rows[2:], [("den", 1, "", False)])

    def test_none(self) -> None:
        """Where there is no room, none is listed."""
        self.assertEqual(list(self.visitor().ask("list").rooms), [])

    def test_bare(self) -> None:
        """It takes nothing but spaces."""
        self.error(self.visitor(), "bad_argument", "list", "all")
        self.assertIsInstance(self.visitor().ask("list", "  "), Rooms)

    def test_fits(self) -> None:
        """A list of very many rooms has the fullest, and no more than a frame may hold."""
        for number in range(MOST_LISTED + 10):
            user, _ = self.house.user(f"u{number}", f"{number}-" + "村" * 26)
        self.house.user("other", user.here.name.shown)
        ana = self.visitor()
        reply = ana.ask("list")
        self.assertEqual(len(reply.rooms), MOST_LISTED)
        self.assertEqual((reply.rooms[0].name, reply.rooms[0].count), (user.here.name.shown, 2))
        for room in self.house.registry.rooms.values():
            room.topic = "t" * 1000
        reply = ana.ask("list")
        self.assertLess(len(encode(reply)), LARGEST_EVENT)
        self.assertGreater(len(reply.rooms), 100)


class JoinTests(CommandTestCase):
    def test_sent_out_at_once(self) -> None:
        """Whom somebody sends out for joining is told both."""

        def strict(events: Sequence[Event]) -> None:
            if isinstance(events[0], Joined):
                user = self.house.registry.users["eve"]
                user.hears((user.leave(user.here, "kicked"),))

        self.house.chat.open(strict).join(names.room("den"))
        eve = self.visitor("eve")
        eve.hear()
        eve.begin("join", "den")
        self.assertEqual([*map(type, eve.hear())], [Joined, Left])

    def test_joined(self) -> None:
        """Who joins is told who is there; those who are there are told who came."""
        ana = self.visitor("ana", "Lobby")
        ben = self.visitor("ben")
        reply = ben.ask("join", "#LOBBY")
        self.assertEqual(
            reply,
            Joined(room="Lobby", user="ben", users=["ana", "ben"], count=2, topic="", re=2),
        )
        self.assertEqual(ana.hear(), [Joined(room="Lobby", user="ben")])

    def test_leaves(self) -> None:
        """The room before is left first; it is gone when it is empty."""
        ana, ben = self.visitor("ana", "lobby"), self.visitor("ben", "lobby")
        ana.hear()
        ben.ask("join", "attic")
        left = [event for event in ana.hear() if isinstance(event, Left)]
        self.assertEqual([(event.room, event.user) for event in left], [("lobby", "ben")])
        ana.ask("join", "attic")
        self.assertEqual([row.name for row in ana.ask("list").rooms], ["attic"])

    def test_again(self) -> None:
        """Joining the room one is in has an answer, and nobody else hears of it."""
        ana, ben = self.visitor("ana", "lobby"), self.visitor("ben", "lobby")
        ana.hear()
        self.assertIsInstance(ben.ask("join", "lobby"), Joined)
        self.assertEqual(ana.hear(), [])
        self.assertEqual(ana.ask("users").users, ["ana", "ben"])

    def test_refused(self) -> None:
        """A room's name has to be one, and unlike that of another; one stays where one is."""
        ana, _ = self.visitor("ana", "lobby"), self.visitor("ben", "attic")
        for body in ("", "#", "x" * 33, "a\x00b"):
            self.error(ana, "bad_argument", "join", body)
        self.error(ana, "name_taken", "join", "аttic")
        self.assertEqual(ana.ask("users").room, "lobby")

    def test_most_names(self) -> None:
        """The answer has at most 100 names, and how many there are; `users` has all."""
        for number in range(120):
            self.house.user(f"user-{number}", "lobby")
        ana = self.visitor("ana")
        joined = ana.ask("join", "lobby")
        self.assertEqual((len(joined.users), joined.count), (100, 121))
        self.assertEqual(len(ana.ask("users").users), 121)

    def test_replays(self) -> None:
        """After the answer come the last messages, oldest first, marked as from the past."""
        eve, _ = self.house.user("eve", "lobby")
        for number in range(REPLAYED + 5):
            eve.say(str(number))
        self.house.settle()
        ana = self.visitor("ana")
        ana.ask("join", "lobby")
        first, *replayed = ana.hear()
        self.assertIsInstance(first, Joined)
        self.assertEqual(texts(replayed), [str(number) for number in range(5, REPLAYED + 5)])
        self.assertTrue(all(isinstance(e, Message) and e.replayed for e in replayed))

    def test_outlives_the_room(self) -> None:
        """What was said in a room of that name that has emptied is told again."""
        ana = self.visitor("ana", "lobby")
        ana.ask("say", "remember me")
        ana.ask("leave")
        ana.hear()
        ana.ask("join", "lobby")
        self.assertEqual(texts(ana.hear()), ["remember me"])

    def test_unreadable(self) -> None:
        """Where the history cannot be read, one is in the room all the same."""
        ana = self.visitor("ana")
        self.house.reads.hold()
        bug, disk = sqlite3.OperationalError("bug"), sqlite3.OperationalError("disk I/O error")
        disk.sqlite_errorcode = sqlite3.SQLITE_IOERR
        for error in (bug, disk):
            id = ana.begin("join", "lobby")
            self.house.reads.waiting.popleft().answer.errback(error)
            self.assertIsInstance(ana.reply(id), Joined)
        # The disk is no fault of ours.
        logged = self.flushLoggedErrors(sqlite3.Error)
        self.assertEqual([failure.value for failure in logged], [bug])

    def test_unreadable_for_want_of_memory(self) -> None:
        """So is one where there was no room to read it."""
        ana = self.visitor("ana")
        self.house.reads.hold()
        id = ana.begin("join", "lobby")
        self.house.reads.waiting.popleft().answer.errback(MemoryError())
        self.assertIsInstance(ana.reply(id), Joined)
        self.assertEqual(len(self.flushLoggedErrors(MemoryError)), 1)

    def test_unreadable_for_who_is_gone(self) -> None:
        """That it cannot be read is nothing to those whose connection has ended meanwhile."""
        ana = self.visitor("ana")
        self.house.reads.hold()
        self.house.commits.hold()
        ana.begin("join", "lobby")
        ana.drop()
        disk = sqlite3.OperationalError("disk I/O error")
        disk.sqlite_errorcode = sqlite3.SQLITE_IOERR
        self.house.reads.waiting.popleft().answer.errback(disk)
        self.house.commits.release()
        gc.collect()
        self.assertEqual(self.flushLoggedErrors(), [])


class JoinWhileTalkingTests(CommandTestCase):
    """A join that reads from the disk while the room talks: no gap, no double, right order."""

    def check(self, *steps: str) -> None:
        """Talk before, between and after the steps; every message is heard once, in order."""
        house = self.house
        talker, _ = house.user("talker", "lobby")
        said = 0

        def talk() -> None:
            nonlocal said
            for _ in range(3):
                talker.say(str(said))
                said += 1

        talk()
        house.settle()
        ana = self.visitor("ana")
        talk()
        house.commits.hold()
        house.reads.hold()
        talk()
        id = ana.begin("join", "lobby")
        talk()
        for step in steps:
            thread, action = step.split()
            worker = getattr(house, thread)
            if action == "run":
                worker.run()
            elif worker.waiting:
                worker.step()
            talk()
            house.settle()
        house.commits.release()
        house.reads.release()
        talk()
        house.settle()
        heard = ana.hear()
        self.assertIsInstance(next(e for e in heard if e.re == id), Joined)
        self.assertEqual(texts(heard), [str(number) for number in range(said)])
        ids = [event.id for event in heard if isinstance(event, Message)]
        self.assertEqual(ids, sorted(set(ids)))
        past = [event.replayed for event in heard if isinstance(event, Message)]
        self.assertEqual(past, sorted(past, reverse=True))

    def test_read_first(self) -> None:
        """The read is done before anything is stored."""
        self.check("reads step", "commits step", "commits step", "commits step")

    def test_read_last(self) -> None:
        """The read is done after much was stored and told."""
        self.check("commits step", "commits step", "commits step", "reads step")

    def test_answer_late(self) -> None:
        """The read is done early, and its answer comes late."""
        self.check("reads run", "commits step", "commits step", "commits step", "reads step")

    def test_commit_untold(self) -> None:
        """A group is committed, but not yet told, when the read is done."""
        self.check("commits run", "reads run", "reads step", "commits step", "commits step")

    def test_between(self) -> None:
        """The read is done between two groups."""
        self.check("commits step", "reads run", "commits step", "reads step", "commits step")

    def test_room_empties(self) -> None:
        """A room that empties while its history is read does no harm."""
        ana = self.visitor("ana")
        self.house.reads.hold()
        ana.begin("join", "lobby")
        ana.drop()
        self.house.wait(70)
        self.house.reads.release()
        self.house.settle()
        ben = self.visitor("ben")
        self.assertEqual(list(ben.ask("list").rooms), [])

    def test_others_leave(self) -> None:
        """Everyone else may leave while the history is read: that is told after who was there."""
        ben, ana = self.visitor("ben", "lobby"), self.visitor("ana")
        self.house.reads.hold()
        id = ana.begin("join", "lobby")
        ben.ask("say", "hi")
        ben.ask("leave")
        self.assertIsNone(ana.reply(id))
        self.house.reads.release()
        joined = ana.reply(id)
        self.assertEqual((joined.users, joined.count), (["ben", "ana"], 2))
        self.assertEqual([type(event) for event in ana.hear()], [Joined, Message, Left, Notice])

    def test_others_come(self) -> None:
        """Others who come meanwhile are told after it, too, and are counted once."""
        ana = self.visitor("ana")
        self.house.reads.hold()
        id = ana.begin("join", "lobby")
        ben = self.visitor("ben")
        ben.begin("join", "lobby")
        self.house.reads.release()
        joined = ana.reply(id)
        self.assertEqual((joined.users, joined.count), (["ana"], 1))
        self.assertEqual(ana.hear(), [joined, Joined(room="lobby", user="ben")])


class OrderTests(CommandTestCase):
    """What one says is heard before what one does next."""

    def test_heard_first(self) -> None:
        """Who says something, and leaves, joins another room or is renamed, is heard first."""
        ben = self.visitor("ben", "lobby")
        for command, body, kind in (
            ("leave", "", Left),
            ("join", "tea", Left),
            ("create", "attic", Left),
            ("close", "", Left),
            ("name", "zoe", Renamed),
        ):
            ana = self.visitor("ana", "lobby")
            ben.hear()
            ana.send(request("say", "bye all") + request(command, body))
            self.assertEqual([type(event) for event in ben.hear()], [Message, kind], command)
            ana.ask("close")

    def test_sent_out(self) -> None:
        """What was said before one is sent out is heard, and answered, before that."""
        for command in ("kick", "ban"):
            ana, ben = self.visitor("ana", "den"), self.visitor("ben", "den")
            ana.hear()
            self.house.commits.hold()
            ben.begin("say", "one")
            ana.begin(command, "ben")
            self.house.commits.release()
            self.house.settle()
            self.assertEqual([type(event) for event in ben.hear()], [Sent, Left])
            self.assertEqual([type(event) for event in ana.hear()], [Message, Left, Done])
            for visitor in (ana, ben):
                visitor.ask("close")

    def test_nothing_said(self) -> None:
        """Who has said nothing does not wait for what others have said."""
        ana, ben = self.visitor("ana", "lobby"), self.visitor("ben", "lobby")
        self.house.commits.hold()
        ben.begin("say", "hi")
        ben.hear()
        ana.begin("leave")
        self.assertIsInstance(ben.hear()[0], Left)


class AnsweredTests(CommandTestCase):
    """What was answered is so, also if the server ends the moment after."""

    def setUp(self) -> None:
        self.house = House(self.mktemp())

    def test_token(self) -> None:
        """A token that was given to somebody with a name is good."""
        ana = self.visitor("ana", "lobby")
        token = ana.ask("hello").session
        self.house = self.house.restart()
        self.assertEqual(self.visitor().ask("resume", f"{token} 0").user, "ana")

    def test_closed(self) -> None:
        """A session that was left is over."""
        ana = self.visitor("ana", "lobby")
        ana.ask("close")
        for _ in range(2):
            self.error(self.visitor(), "not_resumable", "resume", f"{ana.welcome.session} 0")
            self.house = self.house.restart()

    def test_kicked(self) -> None:
        """Who was kicked is out."""
        ana, ben = self.visitor("ana", "lobby"), self.visitor("ben", "lobby")
        ana.ask("kick", "ben")
        self.house = self.house.restart()
        back = self.visitor()
        self.assertIsNone(back.ask("resume", f"{ben.welcome.session} 0").room)


class CreateTests(CommandTestCase):
    def test_created(self) -> None:
        """A new room is made, and gone into; the one before is left."""
        ana = self.visitor("ana", "lobby")
        reply = ana.ask("create", "#Attic")
        self.assertEqual((reply.room, reply.users, reply.count), ("Attic", ["ana"], 1))
        self.assertEqual([row.name for row in ana.ask("rooms").rooms], ["Attic"])

    def test_exists(self) -> None:
        """A room that is there cannot be made, in whatever case, also if one is in it."""
        ana = self.visitor("ana", "lobby")
        self.assertIn("/join", self.error(ana, "room_exists", "create", "LOBBY"))
        self.error(self.visitor("ben"), "room_exists", "create", "lobby")

    def test_refused(self) -> None:
        """A room's name has to be one, and unlike that of another."""
        ana = self.visitor("ana", "lobby")
        self.error(ana, "bad_argument", "create")
        self.error(ana, "bad_argument", "create", "a b")
        self.error(ana, "name_taken", "create", "lоbby")
        self.assertEqual(ana.ask("users").room, "lobby")


class UsersTests(CommandTestCase):
    def test_all(self) -> None:
        """Everyone in the room is named, in the order they came."""
        zoe = self.visitor("zoe", "lobby")
        self.visitor("ana", "lobby")
        self.visitor("ben", "attic")
        for command in ("users", "who"):
            self.assertEqual(zoe.ask(command).users, ["zoe", "ana"])

    def test_nowhere(self) -> None:
        """In no room, there is nobody to name."""
        self.assertIn("/join", self.error(self.visitor(), "not_in_room", "users"))

    def test_operators(self) -> None:
        """It says who of them runs the room."""
        ana, ben = self.visitor("ana", "lobby"), self.visitor("ben", "lobby")
        self.assertEqual(ben.ask("users").operators, ["ana"])
        ana.ask("op", "ben")
        self.assertEqual(ben.ask("users").operators, ["ana", "ben"])
        ana.ask("leave")
        self.assertEqual(ben.ask("users").operators, ["ben"])

    def test_bare(self) -> None:
        """It takes nothing but spaces."""
        self.error(self.visitor("ana", "lobby"), "bad_argument", "users", "lobby")


class LeaveTests(CommandTestCase):
    def test_left(self) -> None:
        """Leaving is answered, and heard by those who stay, with a reason."""
        ana, ben = self.visitor("ana", "lobby"), self.visitor("ben", "lobby")
        ana.hear()
        reply = ben.ask("leave", "  tea\n time ")
        self.assertEqual(reply, Left(room="lobby", user="ben", reason='"tea time"', re=3))
        self.assertEqual(ana.hear(), [Left(room="lobby", user="ben", reason='"tea time"')])

    def test_alias(self) -> None:
        """`exit` is the same; without a reason there is a plain one."""
        reply = self.visitor("ana", "lobby").ask("exit")
        self.assertIsInstance(reply, Left)
        self.assertTrue(reply.reason)

    def test_twice(self) -> None:
        """Leaving twice has an answer."""
        ana = self.visitor("ana", "lobby")
        ana.ask("leave")
        self.error(ana, "not_in_room", "leave")

    def test_long_reason(self) -> None:
        """A reason has a bound; one stays where one is."""
        ana = self.visitor("ana", "lobby")
        self.error(ana, "bad_argument", "leave", "x" * 2000)
        self.assertEqual(ana.ask("users").room, "lobby")


class HelpTests(CommandTestCase):
    def test_all(self) -> None:
        """Every command has a line that says what it does."""
        for row in self.visitor().ask("help").commands:
            self.assertTrue(row.help, row.name)

    def test_one(self) -> None:
        """One may ask for one command, with or without the slash, and by an alias."""
        visitor = self.visitor()
        for body in ("join", "/join", " JOIN "):
            (row,) = visitor.ask("help", body).commands
            self.assertEqual(row.name, "join")
        (row,) = visitor.ask("help", "exit").commands
        self.assertEqual(row.name, "leave")

    def test_unknown(self) -> None:
        """There is no help about what is no command."""
        self.error(self.visitor(), "unknown_command", "help", "dance")


class CloseTests(CommandTestCase):
    def test_close(self) -> None:
        """The answer is the last that is heard, and the connection ends."""
        for command in ("close", "quit"):
            ana = self.visitor("ana", "lobby")
            reply = ana.ask(command)
            self.assertIsInstance(reply, Closing)
            self.assertEqual(reply.reason, "bye")
            self.assertTrue(ana.closed)

    def test_hung_up(self) -> None:
        """Who said it, and whose connection breaks before it is done, has left."""
        ana, ben = self.visitor("ana", "lobby"), self.visitor("ben", "lobby")
        ana.hear()
        self.house.commits.hold()
        ben.send(request("say", "bye") + request("close", "lunch"))
        ben.drop()
        self.house.commits.release()
        said, left = without_notices(ana.hear())
        self.assertEqual((said.text, left.reason), ("bye", '"lunch"'))
        self.assertNotIn("ben", self.house.registry.users)

    def test_back_again(self) -> None:
        """But not if the session goes on elsewhere by then."""
        ben, user = self.visitor("ben", "lobby"), self.house.registry.users["ben"]
        self.house.commits.hold()
        ben.send(request("say", "bye") + request("close", "lunch"))
        user.resume(silence)
        self.house.commits.release()
        self.house.settle()
        self.assertIs(self.house.registry.users["ben"], user)

    def test_others(self) -> None:
        """Those in the room hear it at once, with the reason; nobody lingers."""
        ana, ben = self.visitor("ana", "lobby"), self.visitor("ben", "lobby")
        ana.hear()
        ben.ask("close", "lunch")
        self.assertEqual(
            without_notices(ana.hear()), [Left(room="lobby", user="ben", reason='"lunch"')]
        )
        self.error(ana, "no_such_user", "msg", "ben hi")
        self.assertIsInstance(ana.ask("name", "ben"), Renamed)

    def test_after_sent(self) -> None:
        """What was said before is acknowledged before the connection closes."""
        ana = self.visitor("ana", "lobby")
        self.house.commits.hold()
        ana.send(request("say", "one", "a"), request("say", "two", "b"), request("close", "", "c"))
        self.house.commits.release()
        heard = ana.hear()
        self.assertEqual([event.re for event in heard], ["a", "b", "c"])
        self.assertEqual([type(event) for event in heard], [Sent, Sent, Closing])
        self.assertTrue(ana.closed)

    def test_long_reason(self) -> None:
        """A reason has a bound; the connection stays."""
        ana = self.visitor("ana", "lobby")
        self.error(ana, "bad_argument", "close", "x" * 2000)


class SayTests(CommandTestCase):
    def test_said(self) -> None:
        """What is said is acknowledged, and everyone else in the room hears it."""
        ana, ben = self.visitor("ana", "lobby"), self.visitor("ben", "lobby")
        eve = self.visitor("eve", "attic")
        ana.hear()
        sent = ana.ask("say", " hi  there ")
        self.assertIsInstance(sent, Sent)
        self.assertEqual(sent.at, int(START * 1000))
        self.assertEqual(
            without_notices(ben.hear()),
            [Message(id=sent.id, at=sent.at, room="lobby", user="ana", text=" hi  there ")],
        )
        self.assertEqual((ana.hear(), eve.hear()), ([sent], []))

    def test_me(self) -> None:
        """An action is heard as one."""
        ana, ben = self.visitor("ana", "lobby"), self.visitor("ben", "lobby")
        self.assertIsInstance(ana.ask("me", "waves"), Sent)
        (heard,) = [event for event in ben.hear() if isinstance(event, Message)]
        self.assertEqual((heard.text, heard.action), ("waves", True))

    def test_quiet(self) -> None:
        """Without an id, only a failure is answered."""
        ana, ben = self.visitor("ana", "lobby"), self.visitor("ben", "lobby")
        ana.hear()
        ana.send(request("say", "hi"), request("me", "waves"), request("msg", "ben psst"))
        self.assertEqual(ana.hear(), [])
        self.assertEqual(texts(ben.hear()), ["hi", "waves", "psst"])
        ana.send(request("say", ""))
        (error,) = ana.hear()
        assert isinstance(error, Error)
        self.assertEqual((error.code, error.re), ("bad_argument", None))

    def test_clean(self) -> None:
        """Controls are removed before anyone hears it; newlines and tabs stay."""
        ana, ben = self.visitor("ana", "lobby"), self.visitor("ben", "lobby")
        ana.ask("say", "a\x1b]0;x\x07b\n\tc\u202ed\x9b")
        self.assertEqual(texts(ben.hear()), ["a]0;xb\n\tcd"])

    def test_refused(self) -> None:
        """Nothing to say, too much of it, or nowhere to say it, is refused."""
        ana, nobody = self.visitor("ana", "lobby"), self.visitor("nobody")
        for command in ("say", "me"):
            self.error(ana, "bad_argument", command, "")
            self.error(ana, "bad_argument", command, " \x07 ")
            self.error(ana, "too_long", command, "x" * 8193)
            self.error(ana, "too_long", command, "é" * 4097)
            self.error(nobody, "not_in_room", command, "hi")
            self.assertIsInstance(ana.ask(command, "é" * 4096), Sent)

    def test_usage(self) -> None:
        """Where all is missing that a command needs, the answer is how it is used."""
        ana = self.visitor("ana", "den")
        for command in ("kick", "join", "name", "msg", "say", "invite"):
            for body in ("", "  "):
                error = ana.ask(command, body)
                self.assertEqual(error.code, "bad_argument")
                self.assertIn(f"This needs more: /{command} ", error.text)
        self.assertNotIn("This needs more", ana.ask("history", "x").text)

    def test_meant(self) -> None:
        """What one knows from elsewhere is understood; nothing is guessed that may do harm."""
        ana = self.visitor("ana")
        for word, meant in (("tell", "msg"), ("joim", "join"), ("hist", "history"), ("dm", "msg")):
            self.assertIn(f"Did you mean /{meant}?", ana.ask(word).text)
        for word in ("quite", "clear", "cls", "save", "color", "xyz"):
            self.assertNotIn("Did you mean", ana.ask(word).text, word)

    def test_path(self) -> None:
        """Who says a path, or more of that kind, is told how that is said."""
        ana = self.visitor("ana")
        for word in ("etc/hosts", "var/log/syslog:", "join/den"):
            self.assertIn("put /say", ana.ask(word, "is wrong").text)

    def test_not_stored(self) -> None:
        """What could not be stored is answered as such, also without an id; later it works."""
        ana, ben = self.visitor("ana", "lobby"), self.visitor("ben", "lobby")
        ana.hear()
        self.house.break_disk()
        self.error(ana, "internal", "say", "hi")
        ana.hear()
        ana.send(request("say", "hi"))
        self.assertEqual([getattr(event, "code", "") for event in ana.hear()], ["internal"])
        self.house.mend_disk()
        self.assertIsInstance(ana.ask("say", "again"), Sent)
        self.assertEqual(texts(ben.hear()), ["again"])

    def test_resent(self) -> None:
        """The same request again is answered by the same `sent`, and heard once."""
        ana, ben = self.visitor("ana", "lobby"), self.visitor("ben", "lobby")
        ana.hear()
        for _ in range(3):
            ana.send(request("say", "hi", "mine"))
        first, second, third = ana.hear()
        self.assertEqual(first, second)
        self.assertEqual(second, third)
        self.assertEqual(texts(ben.hear()), ["hi"])


class MsgTests(CommandTestCase):
    def test_private(self) -> None:
        """Only the one it is for hears it, in whatever room, or none."""
        ana, ben, eve = self.visitor("ana", "lobby"), self.visitor("ben"), self.visitor("eve")
        sent = ana.ask("msg", "BEN  hi  you ")
        self.assertEqual(
            ben.hear(),
            [Private(id=sent.id, at=sent.at, user="ana", to="ben", text=" hi  you ")],
        )
        self.assertEqual(eve.hear(), [])

    def test_self(self) -> None:
        """One may write to oneself."""
        ana = self.visitor("ana")
        self.assertIsInstance(ana.ask("msg", "ana note"), Sent)
        self.assertEqual(texts(ana.hear()), ["note"])

    def test_refused(self) -> None:
        """Nobody of that name, no name, or nothing to say, is refused."""
        ana = self.visitor("ana")
        self.error(ana, "no_such_user", "msg", "ben hi")
        self.error(ana, "bad_argument", "msg", "")
        self.error(ana, "bad_argument", "msg", "ana")
        self.error(ana, "bad_argument", "msg", "ana   ")
        self.error(ana, "too_long", "msg", "ana " + "x" * 8193)


class HistoryTests(CommandTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.talker, _ = self.house.user("talker", "lobby")

    def talk(self, many: int) -> None:
        for number in range(many):
            self.talker.say(str(number))
        self.house.settle()

    def numbers(self, reply: History) -> list[str]:
        self.assertIsInstance(reply, History)
        return texts(list(reply.messages))

    def test_last(self) -> None:
        """The last messages of the room, oldest first; 50, or as many as are asked for."""
        self.talk(60)
        ana = self.visitor("ana", "lobby")
        numbers = [str(number) for number in range(60)]
        self.assertEqual(self.numbers(ana.ask("history")), numbers[-50:])
        self.assertEqual(self.numbers(ana.ask("history", "3")), numbers[-3:])
        self.assertEqual(self.numbers(ana.ask("history", " 0 ")), [])

    def test_before(self) -> None:
        """With an id, the messages before that one."""
        self.talk(10)
        ana = self.visitor("ana", "lobby")
        id = ana.ask("history").messages[5].id
        self.assertEqual(self.numbers(ana.ask("history", f"2 {id}")), ["3", "4"])
        self.assertEqual(self.numbers(ana.ask("history", f"99 {id}")), ["0", "1", "2", "3", "4"])
        self.assertEqual(self.numbers(ana.ask("history", "5 1")), [])
        self.assertEqual(len(self.numbers(ana.ask("history", f"5 {2**53 - 1}"))), 5)

    def test_older(self) -> None:
        """It says whether there is more before that."""
        self.talk(3)
        ana = self.visitor("ana", "lobby")
        for count, older in ((2, True), (3, False), (4, False), (0, False)):
            self.assertEqual(ana.ask("history", str(count)).older, older, count)

    def test_most(self) -> None:
        """There is a bound to one answer; the rest can be asked for."""
        self.talk(MOST_HISTORY + 50)
        ana = self.visitor("ana", "lobby")
        reply = ana.ask("history", "1000")
        self.assertEqual(len(reply.messages), MOST_HISTORY)
        before = ana.ask("history", f"1000 {reply.messages[0].id}")
        self.assertEqual(len(before.messages), 50)

    def test_fits(self) -> None:
        """Of many long messages, the newest that fit a frame."""
        for number in range(100):
            self.talker.say(f"{number} " + '"' * 8000)
        self.house.settle()
        ana = self.visitor("ana", "lobby")
        reply = ana.ask("history", "100")
        self.assertLess(len(encode(reply)), LARGEST_EVENT)
        self.assertTrue(self.numbers(reply)[-1].startswith("99 "))
        self.assertGreater(len(reply.messages), 20)

    def test_refused(self) -> None:
        """What is no count or id is refused."""
        ana = self.visitor("ana", "lobby")
        for body in ("x", "-1", "1.5", "1 x", "1 2 3", "٣", "9" * 30):
            self.error(ana, "bad_argument", "history", body)
        self.error(self.visitor(), "not_in_room", "history")

    def test_unpublished(self) -> None:
        """What is stored but not told yet is not shown early, whatever was asked for."""
        self.talk(2)
        ana = self.visitor("ana", "lobby")
        self.house.commits.hold()
        self.talker.say("secret")
        self.house.commits.run()
        for body in ("", f"5 {2**53 - 1}"):
            self.assertEqual(self.numbers(ana.ask("history", body)), ["0", "1"])

    def test_only_here(self) -> None:
        """Of another room, or of what was private, nothing."""
        other, _ = self.house.user("other", "attic")
        other.say("elsewhere")
        other.tell(self.talker, "private")
        self.talk(1)
        ana = self.visitor("ana", "lobby")
        self.assertEqual(self.numbers(ana.ask("history")), ["0"])

    def test_broken(self) -> None:
        """Where it cannot be read, that is said, and noted."""
        ana = self.visitor("ana", "lobby")
        self.house.reads.hold()
        id = ana.begin("history")
        self.house.reads.waiting.popleft().answer.errback(sqlite3.OperationalError("disk I/O"))
        self.assertEqual(ana.reply(id).code, "internal")
        self.assertEqual(len(self.flushLoggedErrors(sqlite3.Error)), 1)
        self.house.reads.release()
        self.assertIsInstance(ana.ask("history"), History)


class PingTests(CommandTestCase):
    def test_ping(self) -> None:
        """A ping is answered with what it had, verbatim."""
        self.assertEqual(self.visitor().ask("ping", " x\x00 y "), Pong(body=" x\x00 y ", re=1))

    def test_pong(self) -> None:
        """A pong is not answered, with an id or without."""
        ana = self.visitor("ana")
        ana.send(request("pong"), request("pong", "x", 7), encode(Request("PONG")))
        self.assertEqual(ana.hear(), [])
