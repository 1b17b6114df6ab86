"""Who one is: the server's password, and names that are one's own."""

from __future__ import annotations

from pylingo import commands, names, passwords
from pylingo.passwords import TRIES, WINDOW
from pylingo.protocol import (
    Closing,
    Done,
    Error,
    Joined,
    Left,
    Message,
    Notice,
    Pong,
    Renamed,
    Resumed,
    Sent,
    Topic,
)
from tests.house import SECRET, House, HouseTestCase, Visitor, frame, notes, request, texts


class EnterTests(HouseTestCase):
    """A server that has a password."""

    def setUp(self) -> None:
        super().setUp()
        self.options |= {"password": "sésame ouvre-toi"}
        self.house = self.house.restart(**self.options)

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
        for password in ("sesame ouvre-toi", "sésame", "SÉSAME OUVRE-TOI", "x" * 8000):
            self.assertEqual(eve.ask("enter", password).code, "wrong_password", password)
        self.assertEqual(eve.ask("list").code, "password_required")

    def test_nothing_given(self) -> None:
        """To give none is no try at it."""
        eve = self.house.visitor()
        for _ in range(TRIES + 1):
            self.assertEqual(eve.ask("enter", " ").code, "bad_argument")
        self.assertIsInstance(eve.ask("enter", "sésame ouvre-toi"), Done)

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

    def test_guessing_noted(self) -> None:
        """That there were too many is in the log, but not with each try, and not the password."""
        said = notes(self)
        for minute in range(2):
            for _ in range(TRIES + 10):
                self.house.visitor(host="192.0.2.7").ask("enter", "hunter2")
            noted = [note for note in said if "wrong" in note]
            self.assertEqual(
                noted,
                ["too many wrong passwords for this server from 192.0.2.7"] * (minute + 1),
            )
            self.house.wait(WINDOW)
        self.assertNotIn("hunter2", "\n".join(said))

    def test_many_from_one_address(self) -> None:
        """Who knows it is no try: as many may come in from one address as there are."""
        for _ in range(TRIES + 1):
            reply = self.house.visitor(host="192.0.2.7").ask("enter", "sésame ouvre-toi")
            self.assertIsInstance(reply, Done)

    def test_entered_and_killed(self) -> None:
        """That it was given survives the end of the server the moment after."""
        ana = self.house.visitor()
        ana.ask("hello")
        ana.ask("enter", "sésame ouvre-toi")
        self.house = self.house.restart(**self.options)
        back = self.house.visitor()
        self.assertIsInstance(back.ask("resume", f"{ana.welcome.session} 0"), Resumed)

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
        for _ in range(3):
            self.house.settle()
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
        self.house = self.house.restart(**self.options | {"password": "another"})
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
        eve = self.house.visitor()
        eve.ask("hello")
        eve.hear()
        boss, ana = self.inside("boss", "lobby"), self.inside("ana", "lobby")
        boss.ask("register", SECRET)
        ana.ask("say", "hi")
        self.assertIsInstance(boss.ask("announce", "the secret plan"), Done)
        self.assertIn(Notice(text="boss to everyone: the secret plan"), ana.hear())
        self.assertEqual(eve.hear(), [])


class RegisterTests(HouseTestCase):
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
        for password in ("other", SECRET):
            self.assertIsInstance(ana.ask("register", password), Error)
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


class TwinTests(HouseTestCase):
    """Names that look like somebody's."""

    def test_by_case(self) -> None:
        """Nobody comes to look like somebody else by changing the case of letters."""
        guest, owner = self.house.visitor("Ella"), self.house.owner("Alice")
        away = self.house.owner("Karl")
        away.ask("close")
        for name, twin in (("aiice", "aIice"), ("eiia", "eIIa"), ("kari", "karI")):
            eve = self.house.visitor()
            self.error(eve, "name_taken", "name", twin)
            self.assertIsInstance(eve.ask("name", name), Renamed)
            self.error(eve, "name_taken", "name", twin)
            self.done(eve, "register", SECRET)
            self.error(eve, "name_taken", "name", twin)
        self.assertFalse(guest.closed or owner.closed)

    def test_own_in_capitals(self) -> None:
        """One's own name is one's own in every case."""
        ana = self.house.owner("Lili")
        for name in ("LILI", "lili", "LiLi"):
            self.assertEqual(ana.ask("name", name).to, name)

    def test_older_than_the_rules(self) -> None:
        """Accounts whose names look alike, for they were made before that was known, can log in."""
        self.house.owner("mia").ask("close")
        self.house.owner("zoe").ask("close")
        write = self.house.database.writer.execute
        write(
            "UPDATE accounts SET key = ?, name = ? WHERE key = 'zoe'",
            (names.user("МІА").key, "МІА"),
        )
        self.house = self.house.restart(**self.options)
        one, other = self.house.owner("mia"), self.house.owner("МІА")
        for visitor, name in ((one, "mia"), (other, "МІА")):
            renamed = visitor.ask("name", name)
            self.assertEqual((renamed.user, renamed.to), (name, name))
            token = self.asleep(visitor)
            self.assertEqual(self.house.visitor().ask("resume", f"{token} 0").user, name)


class NoteTests(HouseTestCase):
    """What the server's log says of who comes and goes."""

    def test_why_noted(self) -> None:
        """It says why somebody went, and from where, also where others ended it."""
        said = notes(self)
        ana = self.house.visitor("ana", host="192.0.2.7")
        back = self.house.visitor(host="192.0.2.8")
        back.ask("resume", f"{ana.welcome.session} 0")
        back.drop()
        self.assertIn("ana at 192.0.2.7 disconnected: replaced", said)
        self.assertIn("ana at 192.0.2.8 disconnected", said)

    def test_noted(self) -> None:
        """Who is who can be told from it, and from where; nothing that is secret."""
        self.house.owner("ana", host="192.0.2.7").ask("close")
        said = notes(self)
        ana = self.house.visitor(host="192.0.2.8")
        for _ in range(9):
            ana.ask("hello", "test, too many wrong passwords from 192.0.2.1")
        ana.ask("login", f"ana {SECRET}")
        ana.ask("password", "hunter2")
        ana.drop()
        back = self.house.visitor()
        token = back.ask("resume", f"{ana.welcome.session} 0").session
        back.send(frame(b"["))
        guest, other = ana.welcome.user, back.welcome.user
        self.assertEqual(
            [note for note in said if "twisted" not in note],
            [
                f"{guest} at 192.0.2.8 connected",
                *[f'{guest} uses "test, too many wrong passwords from 192.0.2.1"'] * 2,
                f"{guest} at 192.0.2.8 logged in as ana",
                "ana at 192.0.2.8 changed the password",
                "ana at 192.0.2.8 disconnected",
                f"{other} at this machine connected",
                f"{other} at this machine is ana, who is back",
                "ana at this machine disconnected: bad_frame",
            ],
        )
        for secret in (SECRET, "hunter2", token, ana.welcome.session):
            self.assertNotIn(secret, "\n".join(said))


class LoginTests(HouseTestCase):
    def test_register_is_no_oracle(self) -> None:
        """One's own password cannot be guessed faster by registering once more."""
        ana = self.house.owner("ana", host="192.0.2.1")
        self.house.wait(2)
        for _ in range(TRIES):
            self.error(ana, "bad_argument", "register", "guess")
        self.error(ana, "wrong_password", "register", SECRET)

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
        self.house.owner("zoe", host="192.0.2.1").ask("close")
        self.house.owner("ana", host="192.0.2.3").ask("close")
        self.house.owner("ana", host="192.0.2.1").ask("close")
        for number in range(TRIES):
            eve = self.house.visitor(host=f"192.0.2.{10 + number}")
            self.error(eve, "wrong_password", "login", "ana guess")
            self.error(eve, "wrong_password", "login", "zoe guess")
        self.error(self.house.visitor(host="192.0.2.2"), "wrong_password", "login", f"ana {SECRET}")
        ana = self.house.visitor(host="192.0.2.1")
        for name in ("zoe", "ana"):
            self.assertIsInstance(ana.ask("login", f"{name} {SECRET}"), Done)
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
        self.assertFalse([place for place in self.house.registry.places if place[0] == "@"])

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

        self.patch(passwords, "make", make)
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
        self.assertFalse([place for place in self.house.registry.places if place[0] == "@"])
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
        """Who is banned from a room is out of it by a login, and hears so after the answer."""
        boss = self.house.owner("boss", "den")
        self.house.owner("eve").drop()
        self.done(boss, "ban", "eve")
        guest = self.house.visitor("innocent", "den")
        guest.begin("login", f"eve {SECRET}")
        answer, left = guest.hear()
        self.assertIsInstance(answer, Done)
        assert isinstance(left, Left)
        self.assertEqual(left.user, "eve")
        self.assertEqual(boss.ask("users").users, ["boss"])
        self.error(guest, "not_in_room", "say", "hi")

    def test_invited_in_spite_of_a_ban(self) -> None:
        """Who was let in despite a ban stays in after a login, for it is the same ban."""
        boss, eve = self.house.owner("boss", "den"), self.house.visitor("eve")
        self.house.owner("sock").ask("close")
        for _ in range(2):
            boss.ask("ban", "eve")
            boss.ask("invite", "eve")
            self.assertIsInstance(eve.ask("join", "den"), Joined)
            self.assertIsInstance(eve.ask("login", f"sock {SECRET}"), Done)
            self.assertEqual(boss.ask("users").users, ["boss", "sock"])
            eve.ask("leave")
            eve.ask("name", "eve")

    def test_invited_and_then_another(self) -> None:
        """But not as one who is banned, too, nor for having been powerful."""
        boss, guest = self.house.owner("boss", "den"), self.house.visitor("guest")
        for name in ("eve", "two"):
            self.house.owner(name).ask("close")
        self.done(boss, "op", "two")
        for late in (False, True):
            self.done(boss, "ban", "guest")
            if not late:
                self.done(boss, "ban", "eve")
            self.done(boss, "invite", "guest")
            self.assertIsInstance(guest.ask("join", "den"), Joined)
            if late:
                self.done(boss, "ban", "eve")
            self.done(guest, "login", f"eve {SECRET}")
            self.assertEqual(boss.ask("users").users, ["boss"])
            self.done(boss, "unban", "eve")
            guest = self.house.visitor("guest")
        guest.ask("join", "den")
        self.done(boss, "ban", "guest")
        self.done(guest, "login", f"two {SECRET}")
        self.assertIsInstance(guest.ask("join", "den"), Joined)
        self.done(guest, "login", f"eve {SECRET}")
        self.assertEqual(boss.ask("users").users, ["boss"])

    def test_invited_by_another_name(self) -> None:
        """All bans that hit who was invited are of no account then."""
        boss = self.house.owner("boss", "den")
        mal, eve = self.house.visitor("mal", "den"), self.house.visitor("eve", "den")
        self.house.owner("sock").ask("close")
        self.done(boss, "ban", "mal")
        mal.ask("close")
        self.done(boss, "ban", "eve")
        eve.ask("name", "mal")
        self.done(boss, "invite", "mal")
        self.assertIsInstance(eve.ask("join", "den"), Joined)
        self.done(eve, "login", f"sock {SECRET}")
        self.assertEqual(boss.ask("users").users, ["boss", "sock"])

    def test_twin_of_a_guest(self) -> None:
        """An owner of old, whose name looks like a guest's, gets in though a guest was given it."""
        twin = "guеst-9"
        self.house.owner("odd").ask("close")
        self.house.database.writer.execute("UPDATE accounts SET key = ?, name = ?", (twin, twin))
        self.house = self.house.restart()
        guests = [self.house.visitor().ask("hello").user for _ in range(15)]
        self.assertIn("guest-9", guests)
        self.assertEqual(self.house.visitor().ask("login", f"{twin} {SECRET}").user, twin)

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
        """Another password ends them, and holds, though the connection ends before the answer."""
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
        for _ in range(2):
            self.done(self.house.visitor(), "login", "ana hunter2")
            self.house = self.house.restart()
