"""Who one is: the server's password, names of one's own, and the names that people try."""

from __future__ import annotations

import unicodedata
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pylingo import accounts, commands, names
from pylingo.accounts import TRIES, WINDOW
from pylingo.protocol import (
    Closing,
    Done,
    Error,
    Joined,
    Left,
    Message,
    Notice,
    Pong,
    Private,
    Renamed,
    Resumed,
    Sent,
    Topic,
    Welcome,
)
from pylingo.service import Options
from tests.house import SECRET, House, Visitor, cheapen, request, texts

random = settings(max_examples=150, deadline=None, database=None, print_blob=True)


class IdentityTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        cheapen(self)
        self.house = House(self.mktemp(), rate=0)

    def error(self, visitor: Visitor, code: str, command: str, body: str = "") -> str:
        """Ask, and be refused; the result is the sentence."""
        reply = visitor.ask(command, body)
        self.assertIsInstance(reply, Error, f"{command} {body}")
        self.assertEqual((reply.code, reply.fatal), (code, False), reply.text)
        return str(reply.text)


class EnterTests(SynchronousTestCase):
    """A server that has a password."""

    def setUp(self) -> None:
        cheapen(self)
        self.options: dict[str, Any] = {"password": "sésame ouvre-toi", "rate": 0}
        self.house = House(self.mktemp(), **self.options)

    def inside(self, name: str = "", room: str = "") -> Visitor:
        visitor = self.house.visitor()
        visitor.ask("enter", "sésame ouvre-toi")
        if name:
            visitor.ask("name", name)
        if room:
            visitor.ask("join", room)
        visitor.hear()
        return visitor

    def test_welcome(self) -> None:
        """The welcome says that there is a password."""
        self.assertTrue(self.house.visitor().ask("hello").password_required)
        self.assertFalse(House().visitor().ask("hello").password_required)

    def test_shut(self) -> None:
        """Before it was given, every command but those of arriving and leaving is refused."""
        self.inside("ana", "lobby")
        arriving = {"hello", "help", "enter", "resume", "ping", "pong", "close", "quit"}
        eve = self.house.visitor()
        for word in sorted(commands.TABLE.keys() - arriving):
            for body in ("", "lobby", "ana hi"):
                reply = eve.ask(word, body)
                self.assertIsInstance(reply, Error, word)
                self.assertEqual((reply.code, reply.fatal), ("password_required", False), word)
                self.assertIn("/enter", reply.text)
        self.assertFalse(eve.closed)
        self.assertIsInstance(eve.ask("ping"), Pong)

    def test_entered(self) -> None:
        """After it was given, all is as on any server."""
        ana = self.house.visitor()
        self.assertIsInstance(ana.ask("enter", " sésame ouvre-toi "), Done)
        self.assertIsInstance(ana.ask("name", "ana"), Renamed)
        self.assertIsInstance(ana.ask("join", "lobby"), Joined)
        self.assertFalse(ana.ask("hello").password_required)
        self.assertIsInstance(ana.ask("enter", "whatever"), Done)

    def test_wrong(self) -> None:
        """Another password is refused."""
        eve = self.house.visitor()
        for password in ("", "sesame ouvre-toi", "sésame", "SÉSAME OUVRE-TOI", "x" * 8000):
            self.assertEqual(eve.ask("enter", password).code, "wrong_password", password)
        self.assertEqual(eve.ask("list").code, "password_required")

    def test_guessing(self) -> None:
        """Five tries a minute for an address; then even the right one has to wait, as is said."""
        for _ in range(TRIES):
            reply = self.house.visitor(host="192.0.2.7").ask("enter", "wrong")
            self.assertEqual(reply.code, "wrong_password")
        reply = self.house.visitor(host="192.0.2.7").ask("enter", "sésame ouvre-toi")
        self.assertEqual(reply.code, "wrong_password")
        self.assertIn("60 seconds", reply.text)
        reply = self.house.visitor(host="192.0.2.8").ask("enter", "sésame ouvre-toi")
        self.assertIsInstance(reply, Done)
        self.house.wait(WINDOW)
        reply = self.house.visitor(host="192.0.2.7").ask("enter", "sésame ouvre-toi")
        self.assertIsInstance(reply, Done)

    def test_none(self) -> None:
        """A server without a password lets everyone in, whatever they say."""
        self.assertIsInstance(House().visitor().ask("enter", "x"), Done)

    def test_resume(self) -> None:
        """Who was in, and lost the connection, comes back without giving it again."""
        ana = self.inside("ana", "lobby")
        ana.drop()
        back = self.house.visitor()
        resumed = back.ask("resume", f"{ana.welcome.session} 0")
        self.assertIsInstance(resumed, Resumed)
        self.assertIsInstance(back.ask("say", "hi"), Sent)

    def test_resume_after_restart(self) -> None:
        """The same goes when the server was started again meanwhile."""
        ana = self.inside("ana", "lobby")
        self.house = self.house.restart(**self.options)
        back = self.house.visitor()
        resumed = back.ask("resume", f"{ana.welcome.session} 0")
        self.assertEqual((resumed.user, resumed.room), ("ana", "lobby"))
        self.assertIsInstance(back.ask("say", "hi"), Sent)

    def test_resume_after_another_password(self) -> None:
        """With another password, or the first one, no session of before goes on."""
        ana = self.inside("ana", "lobby")
        self.house = self.house.restart(**self.options | {"password": "another"})
        back = self.house.visitor()
        self.assertEqual(back.ask("resume", f"{ana.welcome.session} 0").code, "not_resumable")
        self.house = self.house.restart(**self.options | {"password": ""})
        ben = self.house.visitor("ben", "lobby")
        token = ben.ask("hello").session
        self.house = self.house.restart(**self.options | {"password": ""})
        self.assertEqual(self.house.visitor().ask("resume", f"{token} 0").user, "ben")
        self.house = self.house.restart(**self.options)
        back = self.house.visitor()
        self.assertEqual(back.ask("resume", f"{token} 0").code, "not_resumable")

    def test_resume_is_no_way_in(self) -> None:
        """The token of one who was never in opens nothing: here, lingering, or after a restart."""
        eve = self.house.visitor()
        token = eve.ask("hello").session
        mallory = self.house.visitor()
        self.assertEqual(eve.ask("resume", f"{token} 0").code, "password_required")
        self.assertEqual(mallory.ask("resume", f"{token} 0").code, "password_required")
        self.assertEqual(mallory.ask("join", "lobby").code, "password_required")
        eve.drop()
        self.assertEqual(mallory.ask("resume", f"{token} 0").code, "password_required")
        self.house.wait(70)
        self.assertEqual(mallory.ask("resume", f"{token} 0").code, "not_resumable")
        self.house = self.house.restart(**self.options)
        mallory = self.house.visitor()
        self.assertEqual(mallory.ask("resume", f"{token} 0").code, "not_resumable")
        self.assertEqual(mallory.ask("join", "lobby").code, "password_required")

    def test_hears_nothing(self) -> None:
        """Who is not in hears nothing of what goes on inside."""
        self.house = House(admins=frozenset({"boss"}), **self.options)
        eve = self.house.visitor()
        eve.ask("hello")
        eve.hear()
        boss, ana = self.inside("boss", "lobby"), self.inside("ana", "lobby")
        boss.ask("register", SECRET)
        ana.ask("say", "hi")
        self.assertIsInstance(boss.ask("announce", "the secret plan"), Done)
        self.assertIn(Notice(text="boss to everyone: the secret plan"), ana.hear())
        self.assertEqual(eve.hear(), [])


class RegisterTests(IdentityTestCase):
    def test_registered(self) -> None:
        """A name becomes one's own; the reply says how to get it back."""
        ana = self.house.visitor("ana", "lobby")
        reply = ana.ask("register", SECRET)
        self.assertIsInstance(reply, Done)
        self.assertIn("/login ana", reply.text)
        self.assertNotIn(SECRET, reply.text)

    def test_guest(self) -> None:
        """A guest's name, or what looks like one, cannot be anybody's own."""
        self.error(self.house.visitor(), "bad_argument", "register", SECRET)
        for name in ("guest-77", "GUEST-77", "ｇuest-77", "guеst-77", "gue\u0455t-77", "guest-7l"):
            visitor = self.house.visitor(name)
            self.assertIsInstance(visitor.ask("register", SECRET), Error, name)
            visitor.ask("close")

    def test_twice(self) -> None:
        """Who has a name of one's own cannot have another besides."""
        ana = self.house.owner("ana")
        self.assertIsInstance(ana.ask("register", "other"), Error)
        ana.ask("name", "zoe")
        self.assertIsInstance(ana.ask("register", "other"), Error)
        self.assertIsInstance(self.house.visitor().ask("login", f"ana {SECRET}"), Done)

    def test_refused_to_others(self) -> None:
        """A registered name is nobody else's, here or away, in any case, nor what looks like it."""
        ana = self.house.owner("Ana")
        for _ in range(2):
            eve = self.house.visitor("eve")
            for name in ("Ana", "ana", "ANA", "ａｎａ"):
                text = self.error(eve, "name_registered", "name", name)
                self.assertIn("/login Ana", text)
            for name in ("аna", "anа", "αna", "Аnа"):
                self.error(eve, "name_taken", "name", name)
            eve.ask("close")
            ana.ask("close")
            self.house.wait(70)

    def test_after_restart(self) -> None:
        """It stays so when the server was started again."""
        self.house.owner("Ana")
        self.house = self.house.restart()
        eve = self.house.visitor("eve")
        self.error(eve, "name_registered", "name", "ana")
        self.error(eve, "name_taken", "name", "аna")

    def test_another_name_meanwhile(self) -> None:
        """An owner who goes by another name for a while still has the own one."""
        ana, eve = self.house.owner("ana", "lobby"), self.house.visitor("eve", "lobby")
        self.assertIsInstance(ana.ask("name", "zoe"), Renamed)
        self.error(eve, "name_registered", "name", "ana")
        eve.ask("msg", "ana to the owner")
        eve.ask("msg", "zoe by the other name")
        self.assertEqual(texts(ana.hear()), ["to the owner", "by the other name"])
        self.assertIsInstance(ana.ask("name", "Ana"), Renamed)

    def test_race(self) -> None:
        """Of two who want a name at the same moment, one gets it."""
        ana, ben = self.house.visitor("ana"), self.house.visitor("ben")
        self.house.hashes.hold()
        first = ana.begin("register", SECRET)
        self.error(ben, "name_taken", "name", "ana")
        self.house.hashes.release()
        self.house.settle()
        self.assertIsInstance(ana.reply(first), Done)
        self.error(ben, "name_registered", "name", "ana")

    def test_lingering(self) -> None:
        """The name of a guest who lingers cannot be registered by another."""
        self.house.visitor("ana").drop()
        ben = self.house.visitor("ben")
        self.error(ben, "name_taken", "name", "ana")

    def test_token_of_a_guest(self) -> None:
        """A guest who had the name before it was registered comes back under another."""
        guest = self.house.visitor("ana", "lobby")
        guest.drop()
        self.house.wait(70)
        self.house.owner("ana").ask("close")
        back = self.house.visitor()
        resumed = back.ask("resume", f"{guest.welcome.session} 0")
        self.assertIsInstance(resumed, Resumed)
        self.assertTrue(resumed.user.startswith("guest-"), resumed.user)
        self.error(back, "forbidden", "password", "x")


class LoginTests(IdentityTestCase):
    def test_done(self) -> None:
        """The reply says by which name one goes now; the room hears it as a new name."""
        self.house.owner("Ana").ask("close")
        guest, ben = self.house.visitor("tmp", "lobby"), self.house.visitor("ben", "lobby")
        reply = guest.ask("login", f"ana {SECRET}")
        self.assertEqual((type(reply), reply.user), (Done, "Ana"))
        self.assertIn(Renamed(user="tmp", to="Ana"), ben.hear())
        self.assertEqual(guest.ask("users").users, ["Ana", "ben"])

    def test_wrong(self) -> None:
        """A wrong password, and a name that nobody has, are refused in the same words."""
        self.house.owner("ana").ask("close")
        eve = self.house.visitor("eve")
        self.assertEqual(
            self.error(eve, "wrong_password", "login", "ana guess"),
            self.error(eve, "wrong_password", "login", "nobody guess"),
        )
        self.assertEqual(self.house.registry.user(names.user("eve")).account, None)

    def test_known_address(self) -> None:
        """Others' wrong passwords keep nobody out where the last login was from."""
        self.house.owner("ana", host="192.0.2.1").ask("close")
        self.house.owner("ana", host="192.0.2.1").ask("close")
        for number in range(TRIES):
            eve = self.house.visitor(host=f"192.0.2.{10 + number}")
            self.error(eve, "wrong_password", "login", "ana guess")
        self.error(self.house.visitor(host="192.0.2.2"), "wrong_password", "login", f"ana {SECRET}")
        ana = self.house.visitor(host="192.0.2.1")
        self.assertIsInstance(ana.ask("login", f"ana {SECRET}"), Done)
        mallory = self.house.visitor(host="192.0.2.1")
        for _ in range(TRIES):
            self.error(mallory, "wrong_password", "login", "ana guess")
        text = self.error(mallory, "wrong_password", "login", f"ana {SECRET}")
        self.assertIn("Too many", text)

    def test_newest_wins(self) -> None:
        """The newest login has the name; the older connection is told, and closed."""
        old, ben = self.house.owner("ana", "lobby"), self.house.visitor("ben", "lobby")
        new = self.house.visitor()
        self.assertIsInstance(new.ask("login", f"ana {SECRET}"), Done)
        last = old.hear()[-1]
        assert isinstance(last, Closing)
        self.assertEqual(last.reason, "replaced")
        self.assertTrue(old.closed)
        self.assertEqual([type(event) for event in ben.hear()], [Left])
        self.assertEqual(new.ask("name", "Ana").to, "Ana")
        self.assertEqual(
            self.house.visitor().ask("resume", f"{old.welcome.session} 0").code, "not_resumable"
        )

    def test_newest_wins_over_lingering(self) -> None:
        """One who lingers is replaced as well, and leaves the room."""
        old, ben = self.house.owner("ana", "lobby"), self.house.visitor("ben", "lobby")
        old.drop()
        self.house.owner("ana")
        self.assertEqual([type(event) for event in ben.hear()], [Left])
        self.assertEqual(ben.ask("users").users, ["ben"])

    def test_resent_after_another_login(self) -> None:
        """One who lingered then comes back as a guest, and what is sent again is not said again."""
        old, ben = self.house.owner("ana", "lobby"), self.house.visitor("ben", "lobby")
        old.send(request("say", "hi", "x"))
        first = old.reply("x")
        old.drop()
        self.house.owner("ana")
        ben.hear()
        back = self.house.visitor()
        resumed = back.ask("resume", f"{old.welcome.session} 0")
        self.assertEqual((resumed.user[:6], resumed.room), ("guest-", "lobby"))
        back.send(request("say", "hi", "x"))
        self.assertEqual(back.reply("x").id, first.id)
        self.assertEqual(texts(ben.hear()), [])

    def test_guest_after_another_login(self) -> None:
        """It stays a guest, also when that other login is over."""
        old = self.house.owner("ana", "lobby")
        old.drop()
        self.house.owner("ana").ask("close")
        resumed = self.house.visitor().ask("resume", f"{old.welcome.session} 0")
        self.assertEqual(resumed.room, "lobby")
        self.error(self.house.visitor(), "wrong_password", "login", "ana guess")
        self.assertEqual(self.house.registry.owners, {})

    def test_name_of_old(self) -> None:
        """A name that would be refused today, and was not, is somebody's all the same."""
        self.house = House(self.mktemp())
        self.house.owner("odd", "oddroom").ask("close")
        odd = "a\u05b0b"
        self.assertEqual(self.house.visitor().ask("name", odd).code, "bad_argument")
        for statement in (
            "UPDATE accounts SET key = :odd, name = :odd",
            "UPDATE rooms SET key = :odd, name = :odd",
            "UPDATE operators SET room = :odd, place = '@' || :odd",
        ):
            self.house.database.writer.execute(statement, {"odd": odd})
        self.house = self.house.restart()
        back = self.house.visitor()
        self.assertIsInstance(back.ask("login", f"{odd} {SECRET}"), Done)
        self.assertIsInstance(back.ask("join", odd), Joined)
        self.assertIsInstance(back.ask("lock", "mellon"), Done)
        ana = self.house.visitor("ana")
        self.assertIsInstance(ana.ask("msg", f"{odd} hi"), Sent)

    def test_many_in_a_turn(self) -> None:
        """Of many who log in at the same moment, exactly one is left, the last."""
        self.house.owner("ana").ask("close")
        crowd = [self.house.visitor() for _ in range(5)]
        self.house.hashes.hold()
        for visitor in crowd:
            visitor.begin("login", f"ana {SECRET}")
        self.house.hashes.release()
        self.house.settle()
        self.assertEqual([visitor.closed for visitor in crowd], [True] * 4 + [False])
        self.assertEqual(list(self.house.registry.users), ["ana"])

    def test_abandoned(self) -> None:
        """What is not waited for any more takes no time of the thread of passwords."""
        made: list[bytes] = []

        def make(secret: bytes) -> str:
            made.append(secret)
            return "a hash"

        self.patch(accounts, "_make", make)
        crowd = [self.house.visitor(name) for name in ("ana", "ben", "may")]
        self.house.hashes.hold()
        for visitor in crowd:
            visitor.begin("register", visitor.welcome.user)
        crowd[1].drop()
        self.house.hashes.release()
        self.house.settle()
        self.assertEqual(len(made), 2)

    def test_again(self) -> None:
        """To log in once more, where one is already, changes nothing but the name."""
        ana = self.house.owner("ana", "lobby")
        self.assertIsInstance(ana.ask("login", f"ana {SECRET}"), Done)
        ana.ask("name", "zoe")
        self.assertEqual(ana.ask("login", f"ana {SECRET}").user, "ana")
        self.assertEqual(ana.ask("users").users, ["ana"])

    def test_other_account(self) -> None:
        """Who logs in as another is that one, and no longer the first."""
        self.house.owner("zoe").ask("close")
        ana, ben = self.house.owner("ana", "lobby"), self.house.visitor("ben", "lobby")
        self.assertEqual(ana.ask("login", f"zoe {SECRET}").user, "zoe")
        ben.ask("msg", "ana for ana")
        ben.ask("msg", "zoe for zoe")
        self.assertEqual(texts(ana.hear()), ["for zoe"])
        again = self.house.visitor()
        self.assertIsInstance(again.ask("login", f"ana {SECRET}"), Done)
        self.assertFalse(ana.closed)
        self.assertEqual(texts(again.hear()), ["for ana"])

    def test_other_account_and_rooms(self) -> None:
        """What the first account is operator of, it stays; the second gets nothing of it."""
        self.house.owner("zoe").ask("close")
        ana = self.house.owner("ana", "lobby")
        ana.ask("login", f"zoe {SECRET}")
        self.error(ana, "forbidden", "topic", "zoe's")
        again = self.house.owner("ana", "lobby")
        self.assertIsInstance(again.ask("topic", "ana's"), Topic)
        self.house = self.house.restart()
        self.assertIsInstance(self.house.owner("ana", "lobby").ask("topic", "ana's"), Topic)
        self.error(self.house.owner("zoe", "lobby"), "forbidden", "topic", "zoe's")

    def test_other_account_leaves_nothing(self) -> None:
        """When such a one is gone, both names are away."""
        self.house.owner("zoe").ask("close")
        ana, ben = self.house.owner("ana"), self.house.visitor("ben")
        ana.ask("login", f"zoe {SECRET}")
        ana.ask("close")
        self.assertIsInstance(ben.ask("msg", "ana later"), Sent)
        self.assertEqual(self.house.registry.owners, {})
        back = self.house.visitor()
        back.ask("login", f"ana {SECRET}")
        self.assertEqual(texts(back.hear()), ["later"])

    def test_resumed(self) -> None:
        """A session that was logged in still is when it is resumed, after a restart too."""
        ana = self.house.owner("ana", "den")
        for _ in range(2):
            ana.drop()
            back = self.house.visitor()
            resumed = back.ask("resume", f"{ana.welcome.session} 0")
            self.assertEqual((resumed.user, resumed.room), ("ana", "den"))
            self.assertIsInstance(back.ask("topic", "mine"), Topic)
            self.house = self.house.restart(rate=0)

    def test_resumed_too_late(self) -> None:
        """A session does not take the name back from a newer login; it is a guest's then."""
        ana = self.house.owner("ana", "den")
        ana.drop()
        self.house.wait(70)
        self.house.owner("ana")
        back = self.house.visitor()
        resumed = back.ask("resume", f"{ana.welcome.session} 0")
        self.assertTrue(resumed.user.startswith("guest-"))
        self.error(back, "forbidden", "topic", "mine")
        self.error(back, "forbidden", "password", "mine")

    def test_banned_room(self) -> None:
        """Who is banned from a room does not get in as a guest who logs in there."""
        boss = self.house.owner("boss", "den")
        self.house.owner("eve").ask("close")
        boss.ask("ban", "eve")
        guest = self.house.visitor("innocent", "den")
        guest.ask("login", f"eve {SECRET}")
        self.assertEqual(boss.ask("users").users, ["boss"])
        self.error(guest, "not_in_room", "say", "hi")

    def test_twin_of_a_guest(self) -> None:
        """An owner gets in whatever names guests were given."""
        for name in ("guеst-9", "guest-9"):
            try:
                owner = self.house.owner(name)
            except AssertionError:
                continue  # It could not be registered, which is as good.
            owner.ask("close")
            for _ in range(15):
                self.house.visitor().ask("hello")
            self.assertEqual(self.house.visitor().ask("login", f"{name} {SECRET}").user, name)

    def test_said_nowhere(self) -> None:
        """No password is ever told to anybody, nor kept."""
        ana, ben = self.house.visitor("ana", "lobby"), self.house.visitor("ben", "lobby")
        ana.ask("register", "hunter2")
        ana.ask("password", "hunter2")
        ana.ask("login", "ana hunter2")
        ana.ask("lock", "hunter2")
        ana.ask("login", "ana hunter22")
        self.assertNotIn(b"hunter", ben.wire.value() + ana.wire.value())
        dump = "\n".join(self.house.database.writer.iterdump())
        self.assertNotIn("hunter", dump)

    def test_changed_password_ends_sessions(self) -> None:
        """With another password, earlier sessions of the account end; the present one goes on."""
        lost = self.house.owner("ana", "lobby")
        lost.drop()
        self.house.wait(70)
        ana = self.house.owner("ana", "lobby")
        self.assertIsInstance(ana.ask("password", "hunter2"), Done)
        ana.drop()
        self.house.wait(70)
        thief = self.house.visitor()
        self.error(thief, "not_resumable", "resume", f"{lost.welcome.session} 0")
        self.assertIsInstance(thief.ask("resume", f"{ana.welcome.session} 0"), Resumed)

    def test_said_meanwhile(self) -> None:
        """What is said in the room, or in private, while a login is stored is heard live."""
        self.house.owner("ana").ask("close")
        guest, ben = self.house.visitor("may", "tea"), self.house.visitor("ben", "tea")
        self.house.hashes.hold()
        guest.begin("login", f"ana {SECRET}")
        self.house.hashes.release()
        # This comes with the turn in which the login is stored.
        ben.send(*(request("say", text) for text in ("one", "two")), request("msg", "ana three"))
        heard = guest.hear()
        self.assertEqual(texts(heard), ["one", "two", "three"])
        self.assertEqual([e.replayed for e in heard if isinstance(e, Message)], [False, False])
        self.assertEqual([type(event) for event in heard].count(Done), 1)

    def test_answered_first(self) -> None:
        """What was said at the connection that a login ends is answered before it ends."""
        ana = self.house.owner("ana", "tea")
        self.house.commits.hold()
        said = [ana.begin("say", str(number)) for number in range(3)]
        self.house.settle()
        other = self.house.visitor()
        other.begin("login", f"ana {SECRET}")
        self.house.settle()
        self.house.commits.release()
        self.house.settle()
        heard = ana.hear()
        self.assertEqual([event.re for event in heard[:-1]], said)
        self.assertIsInstance(heard[-1], Closing)

    def test_changed_password_ends_sessions_whatever_comes(self) -> None:
        """It does so also if the connection ends before the answer."""
        lost = self.house.owner("ana", "lobby")
        lost.drop()
        self.house.wait(70)
        ana = self.house.owner("ana", "lobby")
        self.house.commits.hold()
        ana.begin("password", "hunter2")
        self.house.settle()
        ana.drop()
        self.house.commits.release()
        self.house.wait(70)
        thief = self.house.visitor()
        self.error(thief, "not_resumable", "resume", f"{lost.welcome.session} 0")
        self.assertIsInstance(thief.ask("login", "ana hunter2"), Done)


class InboxTests(IdentityTestCase):
    """Private messages to a registered name that is away."""

    def login(self, name: str = "ana") -> Visitor:
        visitor = self.house.visitor()
        self.assertIsInstance(visitor.ask("login", f"{name} {SECRET}"), Done)
        return visitor

    def inbox(self, visitor: Visitor) -> list[str]:
        return [event.text for event in visitor.hear() if isinstance(event, Private)]

    def test_next_login(self) -> None:
        """They come after the next login, replayed, in order, and only once."""
        self.house.owner("ana").ask("close")
        ben = self.house.visitor("ben")
        sent = [ben.ask("msg", f"ana {n}") for n in range(3)]
        ana = self.login()
        heard = ana.hear()
        self.assertIsInstance(heard[1], Done)
        private = [event for event in heard if isinstance(event, Private)]
        self.assertEqual([event.text for event in private], ["0", "1", "2"])
        self.assertEqual([event.id for event in private], [event.id for event in sent])
        self.assertEqual({(e.replayed, e.user, e.to) for e in private}, {(True, "ben", "ana")})
        ana.ask("close")
        self.assertEqual(self.inbox(self.login()), [])

    def test_dropped(self) -> None:
        """What one who read too slowly did not get comes with the next login."""
        ana, ben = self.house.owner("ana"), self.house.visitor("ben")
        self.house.wait(2)
        ana.stall()
        for number in range(200):
            ben.ask("msg", f"ana {number:03} {'x' * 8000}")
        self.assertEqual(self.house.factory.slow, 1)
        self.assertEqual(
            [text[:3] for text in self.inbox(self.login())], [f"{n:03}" for n in range(200)]
        )

    def test_after_restart(self) -> None:
        """They wait through a restart, and that they were heard is known after one."""
        self.house.owner("ana").ask("close")
        self.house.visitor("ben").ask("msg", "ana later")
        self.house = self.house.restart()
        ana = self.login()
        self.assertEqual(self.inbox(ana), ["later"])
        ana.ask("close")
        self.house = self.house.restart()
        self.assertEqual(self.inbox(self.login()), [])

    def test_heard_live(self) -> None:
        """What was heard at once does not come again at the next login."""
        ana, ben = self.house.owner("ana"), self.house.visitor("ben")
        ben.ask("msg", "ana now")
        self.assertEqual(self.inbox(ana), ["now"])
        ana.ask("close")
        ben.ask("msg", "ana later")
        self.assertEqual(self.inbox(self.login()), ["later"])

    def test_lingering(self) -> None:
        """What came while the connection was broken comes at the login that follows."""
        ana, ben = self.house.owner("ana"), self.house.visitor("ben")
        ana.drop()
        ben.ask("msg", "ana one")
        self.house.wait(70)
        ben.ask("msg", "ana two")
        self.assertEqual(self.inbox(self.login()), ["one", "two"])

    def test_resumed(self) -> None:
        """What came to who was away is heard by resuming, and not again by the next login."""
        ana, ben = self.house.owner("ana", "lobby"), self.house.visitor("ben", "lobby")
        last = ben.ask("say", "first").id
        ana.drop()
        self.house.wait(70)
        ben.ask("msg", "ana away")
        back = self.house.visitor()
        self.assertIsInstance(back.ask("resume", f"{ana.welcome.session} {last}"), Resumed)
        self.assertEqual(self.inbox(back), ["away"])
        back.ask("close")
        self.assertEqual(self.inbox(self.login()), [])

    def test_broken_link(self) -> None:
        """What waited for a link that broke comes at the next login."""
        ana, ben = self.house.owner("ana"), self.house.visitor("ben")
        self.house.wait(2)
        ana.stall()
        for number in range(3):
            ben.ask("msg", f"ana {number}")
        ana.drop()
        self.house.wait(70)
        self.assertEqual(self.inbox(self.login()), ["0", "1", "2"])

    def test_arrived(self) -> None:
        """What has arrived for certain does not come again, however the link ends."""
        ana, ben = self.house.owner("ana"), self.house.visitor("ben")
        ben.ask("msg", "ana one")
        self.house.wait(1)
        ana.drop()
        elsewhere = self.login()
        ben.ask("msg", "ana two")
        self.assertEqual(self.inbox(elsewhere), ["two"])
        self.assertEqual(self.inbox(self.login()), [])

    def test_kept_back(self) -> None:
        """What was kept back at a connection that a login ends is heard where one is now."""
        ana, ben = self.house.owner("ana"), self.house.visitor("ben")
        self.house.reads.hold()
        ana.begin("join", "tea")
        ben.ask("msg", "ana there?")
        elsewhere = self.house.visitor()
        elsewhere.begin("login", f"ana {SECRET}")
        self.house.reads.release()
        self.house.settle()
        self.assertEqual(self.inbox(elsewhere), ["there?"])

    def test_handed_over_and_lost(self) -> None:
        """What was handed to a link that broke before it had arrived comes by resuming."""
        for restarted in (False, True):
            self.house.owner("ana").ask("close")
            ben = self.house.visitor("ben")
            for number in range(3):
                ben.ask("msg", f"ana {number}")
            ana = self.house.visitor()
            ana.ask("login", f"ana {SECRET}")
            first = next(event for event in ana.hear() if isinstance(event, Private))
            # It has not been looked at since, so all that is known is that it was sent.
            ana.drop()
            if restarted:
                self.house = self.house.restart()
            back = self.house.visitor()
            back.ask("resume", f"{ana.welcome.session} {first.id}")
            self.assertLessEqual({"1", "2"}, {*self.inbox(back)})
            back.ask("close")
            self.assertEqual(self.inbox(self.login()), [])

    def test_read_while_behind(self) -> None:
        """Who has more to say than is read has heard what came meanwhile all the same."""
        self.house = House(self.mktemp())
        ana, ben = self.house.owner("ana"), self.house.visitor("ben")
        ana.wire.arrive(request("pong") * 500)
        ben.ask("msg", "ana one")
        self.house.wait(3)
        self.assertEqual(self.inbox(ana), ["one"])
        ana.drop()
        self.assertEqual(self.inbox(self.login()), [])

    def test_read_as_a_guest(self) -> None:
        """What came to a guest before the login is not in the way of knowing what was read."""
        self.house.owner("ana").ask("close")
        ben, guest = self.house.visitor("ben"), self.house.visitor("may")
        ben.ask("msg", "ana one")
        ben.ask("msg", "may two")
        self.house.wait(2)
        guest.ask("login", f"ana {SECRET}")
        self.assertEqual(self.inbox(guest), ["two", "one"])
        self.house.wait(2)
        guest.drop()
        self.assertEqual(self.inbox(self.login()), [])

    def test_resend_to_an_account(self) -> None:
        """It is one message to an account, whatever name that goes by meanwhile."""
        ana, ben = self.house.owner("ana"), self.house.visitor("ben")
        ana.ask("name", "annie")
        for _ in range(2):
            ben.send(request("msg", "ana hi", 7))
            ana.ask("name", "ana")
        self.assertEqual(self.inbox(ana), ["hi"])

    def test_broken_off_and_resumed(self) -> None:
        """A login that is broken off is made up for by resuming, even after a restart."""
        for restarted in (False, True):
            self.house.owner("ana").ask("close")
            ben = self.house.visitor("ben", "tea")
            ben.ask("msg", "ana early")
            later = ben.ask("say", "to all").id
            ana = self.house.visitor("", "tea")
            self.house.reads.hold()
            ana.begin("login", f"ana {SECRET}")
            ana.drop()
            self.house.reads.release()
            self.house.settle()
            if restarted:
                self.house = self.house.restart()
            back = self.house.visitor()
            fresh = back.ask("resume", f"{ana.welcome.session} {later}").session
            self.assertEqual(self.inbox(back), ["early"])
            self.house.wait(1)
            back.drop()
            again = self.house.visitor()
            self.assertEqual(again.ask("resume", f"{fresh} {later}").user, "ana")
            self.assertEqual(self.inbox(again), [])
            again.ask("close")

    def test_seen_and_resumed(self) -> None:
        """What somebody says to have seen since the login does not come again."""
        ana, ben = self.house.owner("ana"), self.house.visitor("ben")
        token = ana.ask("hello").session
        for restarted in (False, True, False):
            ben.ask("msg", "ana seen")
            ben.ask("msg", "ana missed")
            seen, _ = (event for event in ana.hear() if isinstance(event, Private))
            # It has not been looked at since.
            ana.drop()
            if restarted:
                self.house = self.house.restart()
                ben = self.house.visitor("ben")
            ana = self.house.visitor()
            token = ana.ask("resume", f"{token} {seen.id}").session
            self.assertEqual(self.inbox(ana), ["missed"])

    def test_seen_long_ago(self) -> None:
        """Nor does it when the same is said twice, as by who comes back to silence."""
        ana, ben = self.house.owner("ana"), self.house.visitor("ben", "tea")
        ana.ask("close")
        ben.ask("msg", "ana one")
        ana = self.login()
        self.assertEqual(self.inbox(ana), ["one"])
        ana.ask("join", "tea")
        seen = ben.ask("say", "to all").id
        token = ana.ask("hello").session
        for _ in range(3):
            ana.drop()
            ana = self.house.visitor()
            token = ana.ask("resume", f"{token} {seen}").session
            self.assertEqual(self.inbox(ana), [])

    def test_on_its_way(self) -> None:
        """What is stored while one is logged in elsewhere, or leaves, comes at the next login."""
        for ending in ("login", "close"):
            self.setUp()
            ana, ben, other = self.house.owner("ana"), self.house.visitor("ben"), None
            ben.ask("join", "tea")
            self.house.commits.hold()
            ben.begin("say", "one")
            self.house.settle()
            if ending == "login":
                other = self.house.visitor()
                other.begin("login", f"ana {SECRET}")
            else:
                ana.begin("close")
            self.house.settle()
            self.house.commits.step()
            self.house.settle()
            asked = ben.begin("msg", "ana precious")
            self.house.settle()
            self.house.commits.release()
            self.house.settle()
            self.assertIsInstance(ben.reply(asked), Sent)
            self.assertTrue(ana.closed)
            self.assertEqual(self.inbox(other or self.login()), ["precious"], ending)

    def test_held_elsewhere(self) -> None:
        """What waits at the new door for a resume is not read because the old one closes."""
        ana, ben = self.house.owner("ana"), self.house.visitor("ben", "tea")
        token = ana.ask("hello").session
        back = self.house.visitor()
        self.house.commits.hold()
        self.house.reads.hold()
        ben.begin("say", "one")
        self.house.settle()
        back.begin("resume", f"{token} 0")
        self.house.settle()
        self.house.commits.step()
        self.house.settle()
        ben.begin("msg", "ana precious")
        for _ in range(3):
            self.house.settle()
            self.house.commits.step()
        self.house.wait(2)
        back.drop()
        self.house.commits.release()
        self.house.reads.release()
        self.house.settle()
        self.assertEqual(self.inbox(self.login()), ["precious"])

    def test_resent_after_registering(self) -> None:
        """A message that is sent again is known although the one it was for has an account now."""
        ana, ben = self.house.visitor("ana"), self.house.visitor("ben")
        session = ben.ask("hello").session
        for restarted in (False, True):
            ben.send(request("msg", "ana once", f"{restarted}"))
            if restarted:
                self.house = self.house.restart()
                ana, ben = self.house.visitor(), self.house.visitor()
                ana.ask("login", f"ana {SECRET}")
                ben.ask("resume", f"{session} 0")
            else:
                ana.ask("register", SECRET)
            ben.send(request("msg", "ana once", f"{restarted}"))
            self.assertEqual(self.inbox(ana), ["once"])

    def test_resent_to_another_name(self) -> None:
        """It is answered although nobody has that name any more."""
        ana, ben = self.house.owner("ana"), self.house.visitor("ben")
        ana.ask("name", "annie")
        session = ben.ask("hello").session
        ben.send(request("msg", "annie once", "x"))
        sent = ben.reply("x")
        self.assertIsInstance(sent, Sent)
        self.assertEqual(self.inbox(ana), ["once"])
        ana.ask("close")
        for _ in range(2):
            ben.hear()
            ben.send(request("msg", "annie once", "x"))
            self.assertEqual(ben.reply("x"), sent)
            self.house = self.house.restart()
            ben = self.house.visitor()
            session = ben.ask("resume", f"{session} 0").session
        self.assertEqual(self.inbox(self.login()), [])

    def test_many(self) -> None:
        """Very many come all, in order; what is said meanwhile comes after them, once."""
        self.house.owner("ana").ask("close")
        ben = self.house.visitor("ben")
        for number in range(450):
            ben.send(request("msg", f"ana {number}"))
        self.house.reads.hold()
        ana = self.house.visitor()
        asked = ana.begin("login", f"ana {SECRET}")
        ben.ask("msg", "ana meanwhile")
        self.house.reads.release()
        self.house.settle()
        self.assertIsInstance(ana.reply(asked), Done)
        self.assertEqual(self.inbox(ana), [*map(str, range(450)), "meanwhile"])

    def test_broken_off(self) -> None:
        """What could not be handed over because the connection broke comes at the next login."""
        self.house.owner("ana").ask("close")
        ben = self.house.visitor("ben")
        ben.ask("msg", "ana one")
        self.house.reads.hold()
        ana = self.house.visitor()
        ana.begin("login", f"ana {SECRET}")
        ben.ask("msg", "ana two")
        ana.drop()
        self.house.reads.release()
        self.house.wait(70)
        self.assertEqual(self.inbox(self.login()), ["one", "two"])

    def test_resend(self) -> None:
        """One that is sent again under the same id is one."""
        self.house.owner("ana").ask("close")
        ben = self.house.visitor("ben")
        for _ in range(2):
            ben.send(request("msg", "ana once", "x"))
        self.assertEqual(self.inbox(self.login()), ["once"])

    def test_not_for_twins(self) -> None:
        """What looks like the name is not the name."""
        self.house.owner("ana").ask("close")
        ben = self.house.visitor("ben")
        self.error(ben, "no_such_user", "msg", "аna hi")
        self.assertIsInstance(ben.ask("msg", "ＡＮＡ hi"), Sent)
        self.assertEqual(self.inbox(self.login()), ["hi"])

    def test_to_nobody(self) -> None:
        """A name that is not registered has to be here."""
        self.error(self.house.visitor("ben"), "no_such_user", "msg", "ana hi")

    def test_to_oneself(self) -> None:
        """An owner may leave a note for oneself; it comes as to anyone."""
        ana = self.house.owner("ana")
        self.assertIsInstance(ana.ask("msg", "ana note"), Sent)
        ana.ask("close")
        self.assertLessEqual(len(self.inbox(self.login())), 1)


TWINS = {
    "ana": ("аna", "anа", "аnа", "αna", "anα", "ａｎａ", "ANA", "Ana", "𝐚𝐧𝐚", "𝓪𝓷𝓪", "ⓐⓝⓐ"),
    "bob": ("bоb", "bοb", "b0b", "BOB", "ｂｏｂ", "𝕓𝕠𝕓", "Bоb"),
    "paypal": ("раураl", "pаypal", "paypa1", "paypaI", "PAYPAL", "ρaypal", "раypal"),
    "scope": ("ѕсоре", "sсope", "scοpe", "ꜱcope"),
    "microsoft": ("miсrosoft", "micrоsoft", "mіcrosoft"),
    "Москва": ("москва", "МОСКВА", "Mосква"),
}
"""Names with what people take for them: each is the same name, or looks like it."""
INVISIBLE = (
    0xAD, 0x34F, 0x61C, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B, 0x180E, 0x200B, 0x200C, 0x200D,
    0x200E, 0x200F, 0x202A, 0x202B, 0x202C, 0x202D, 0x202E, 0x2060, 0x2061, 0x2064, 0x2066, 0x2067,
    0x2068, 0x2069, 0x206F, 0x2800, 0x3164, 0xFE00, 0xFE0F, 0xFEFF, 0xFFA0, 0xFFF9, 0xFFFB, 0x1D173,
    0xE0001, 0xE0020, 0xE0041, 0xE007F, 0xE0100, 0xE01EF,
)  # fmt: skip
"""Characters that are not seen, or turn around what is."""
STEERING = (
    "\x1b]0;owned\x07", "\x1b]52;c;cm0gLXJm\x1b\\", "\x1b[2J", "\x1b[31m", "\x9b31m", "\x9d0;x\x9c",
    "\x1bP1$r\x1b\\", "\x1b_x\x1b\\", "\x90q\x9c", "\x08\x08\x08", "\r", "\x07", "\x0e", "\x7f",
    "\x85", "\x00", "\x1b]8;;http://x\x07y\x1b]8;;\x07", "\u202e\u2066", "\u2067", "\x1bc",
)  # fmt: skip
"""What drives terminals, or turns lines around."""


class AttackTests(IdentityTestCase):
    """The names and texts that people really try."""

    def setUp(self) -> None:
        cheapen(self)
        self.house = House(rate=0, motd="")

    def test_twins_of_users(self) -> None:
        """What looks like the name of somebody here is refused."""
        for name, twins in TWINS.items():
            holder = self.house.visitor(name)
            eve = self.house.visitor()
            for twin in twins:
                reply = eve.ask("name", twin)
                self.assertIsInstance(reply, Error, f"{twin} ({twin!a}) is not {name}")
                self.assertIn(reply.code, ("name_taken", "bad_argument"), twin)
            holder.ask("close")

    def test_twins_of_rooms(self) -> None:
        """What looks like the name of a room is refused, or is that room."""
        for name, twins in TWINS.items():
            self.house.visitor(f"op-{names.user(name).skeleton[:3]}", name)
            before = len(self.house.registry.rooms)
            for twin in twins:
                self.house.visitor().ask("join", f"#{twin}")
                self.assertEqual(len(self.house.registry.rooms), before, ascii(twin))

    def test_invisible(self) -> None:
        """A name has nothing invisible in it, at whatever place, beside whatever letters."""
        eve = self.house.visitor()
        for code in INVISIBLE:
            for shape in ("an{}a", "{}ana", "ana{}", "é{}", "а{}б", "{}", "ｱ{}"):
                name = shape.format(chr(code))
                reply = eve.ask("name", name)
                self.assertIsInstance(reply, Error, f"{shape} U+{code:04X}")
                self.assertEqual(reply.code, "bad_argument")
                reply = eve.ask("create", name)
                self.assertIsInstance(reply, Error, f"{shape} U+{code:04X}")

    def test_marks(self) -> None:
        """Marks do not pile up in a name, above or below or around."""
        eve = self.house.visitor()
        for marks in ("\u0301" * 5, "\u0316\u0301\u0317\u0302", "\u20dd" * 3, "\u0488" * 4):
            for name in (f"z{marks}", f"{marks}", f"ana{marks}ana"):
                reply = eve.ask("name", name)
                self.assertIsInstance(reply, Error, ascii(name))
                self.assertEqual(reply.code, "bad_argument")

    def test_steering_names(self) -> None:
        """Nothing that drives a terminal gets into a name."""
        eve = self.house.visitor()
        for attack in STEERING:
            for command in ("name", "create", "join"):
                reply = eve.ask(command, f"a{attack}b")
                self.assertIsInstance(reply, Error, ascii(attack))
                self.check(reply)

    def test_steering_texts(self) -> None:
        """Nor into anything that others hear, or that is heard of later."""
        boss = self.house.owner("boss", "den")
        ben = self.house.visitor("ben", "den")
        owner = self.house.owner("away")
        owner.ask("close")
        for attack in STEERING:
            eve = self.house.visitor("eve", "den")
            word = f"before{attack}after"
            eve.ask("say", word)
            eve.ask("me", word)
            eve.ask("msg", f"ben {word}")
            eve.ask("msg", f"away {word}")
            boss.ask("topic", word)
            boss.ask("mute", f"eve {word}")
            boss.ask("unmute", "eve")
            boss.ask("ban", f"eve {word}")
            self.check(eve.ask("join", "den"))
            self.check(boss.ask("bans"))
            boss.ask("unban", "eve")
            eve.ask("join", "den")
            boss.ask("kick", f"eve {word}")
            eve.ask("join", "den")
            eve.ask("leave", word)
            self.check(eve.ask("nonsense" + attack))
            self.check(eve.ask("help", attack))
            self.check(eve.ask("login", f"na{attack}me x"))
            self.check(eve.ask("kick", word))
            eve.ask("join", "den")
            eve.ask("close", word)
            for event in (*ben.hear(), *boss.hear(), *eve.hear()):
                self.check(event)
        late = self.house.owner("away", "den")
        for event in late.hear():
            self.check(event)
        self.check(late.ask("history", "200"))
        self.check(late.ask("list"))

    def check(self, event: Any) -> None:
        """Nothing in `event` drives a terminal; what a client itself gave to `ping` is apart."""
        for character in str(event):
            self.assertTrue(
                character in "\n\t" or unicodedata.category(character) != "Cc", repr(event)
            )
            self.assertNotIn(character, "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

    def test_motd(self) -> None:
        """The message of the day is clean when it comes from its file."""
        path = self.mktemp()
        with open(path, "w", encoding="utf-8") as file:
            file.write("".join(f"before{attack}after\n" for attack in STEERING))
        options = Options()
        options.parseOptions(["--motd", path])
        self.check(House(motd=options["motd"]).visitor().ask("hello"))

    def test_kept(self) -> None:
        """What is no attack stays: newlines, tabs, every script, emoji of several parts."""
        ana, ben = self.house.visitor("ana", "den"), self.house.visitor("ben", "den")
        for text in ("a\n\tb", "שלום", "مرحبا", "👩‍👩‍👧", "e\u0301", "नमस्ते", "ｱ", "می‌خواهم"):
            ana.ask("say", text)
            self.assertEqual(texts(ben.hear()), [text])

    @random
    @given(
        st.lists(
            st.sampled_from([*STEERING, "a", "é", "\n", "\t", "[", "]", ";", "m", "0", "👋", " "]),
            min_size=1,
            max_size=12,
        ).map("".join)
    )
    def test_any_text(self, text: str) -> None:
        """However it is put together, nothing comes through that steers, and no letter is lost."""
        house = House(rate=0)
        ana, ben = house.visitor("ana", "den"), house.visitor("ben", "den")
        ana.ask("say", text)
        for event in ben.hear():
            self.check(event)
            if isinstance(event, Message):
                letters = [c for c in text if c in "aé[];m0👋\n\t "]
                self.assertEqual([c for c in event.text if c in "aé[];m0👋\n\t "], letters)

    @random
    @given(st.text(st.sampled_from("anАаαｎ\u200dІl1|oо0OᴏΟ\u0301é-_"), min_size=1, max_size=5))
    def test_any_two(self, name: str) -> None:
        """Of two names that read the same, only one is in use, whoever came first."""
        house = House(rate=0)
        ana, ben = house.visitor("ana"), house.visitor()
        reply = ben.ask("name", name)
        if isinstance(reply, Renamed):
            self.assertNotEqual(names.user(name).skeleton, names.user("ana").skeleton)
            self.assertIsInstance(ana.ask("name", name), Error)
            again = house.visitor()
            self.assertIsInstance(again.ask("name", name.swapcase()), Error)
        self.assertIsInstance(ben.ask("hello"), Welcome)
