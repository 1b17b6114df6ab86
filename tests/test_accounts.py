"""What is kept about people and rooms: passwords, tries, and what a restart brings back."""

from __future__ import annotations

import sqlite3
from hashlib import scrypt
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from pylingo import accounts, names
from pylingo.accounts import LONGEST_PASSWORD, TRIES, WINDOW, FairLock
from pylingo.protocol import Closing, Done, Error, Joined, Renamed, Rooms, Sent, Topic
from tests.house import HERE, SECRET, THERE, House, Visitor, cheapen, codes, texts


class FairLockTests(SynchronousTestCase):
    """Who waits, and who is next."""

    def setUp(self) -> None:
        self.lock = FairLock()
        self.begun: list[str] = []

    def wait(self, whence: str, name: str) -> Deferred[None]:
        return self.lock.acquire(whence).addCallback(lambda _: self.begun.append(name))

    def test_one_at_a_time(self) -> None:
        """The next begins when the one before has ended."""
        for name in "ab":
            self.wait("here", name)
        self.assertEqual(self.begun, ["a"])
        self.lock.release()
        self.assertEqual(self.begun, ["a", "b"])
        self.lock.release()
        self.wait("here", "c")
        self.assertEqual(self.begun, ["a", "b", "c"])

    def test_in_turns(self) -> None:
        """Many from one place let one from another wait no longer than few."""
        for name in ("h1", "h2", "h3"):
            self.wait("here", name)
        self.wait("there", "t1")
        for _ in range(3):
            self.lock.release()
        self.assertEqual(self.begun, ["h1", "h2", "t1", "h3"])

    def test_given_up(self) -> None:
        """Who does not wait any more is passed over."""
        self.wait("here", "a")
        gone = self.wait("here", "b")
        self.wait("there", "c")
        gone.cancel()
        self.failureResultOf(gone, CancelledError)
        self.lock.release()
        self.assertEqual(self.begun, ["a", "c"])

    def test_done_at_once(self) -> None:
        """However many are done as soon as it is their turn, the one behind them has theirs."""
        self.lock.acquire("here")
        for _ in range(5_000):
            self.lock.acquire("here").addCallback(lambda _: self.lock.release())
        self.wait("here", "last")
        self.lock.release()
        self.assertEqual(self.begun, ["last"])


class TriesTests(SynchronousTestCase):
    """One who guesses is stopped; it is tested through `login` that all guesses are counted."""

    def setUp(self) -> None:
        cheapen(self)
        self.house = House(rate=0)
        self.house.owner("ana")
        self.house.owner("ben")

    def guess(self, visitor: Visitor, name: str = "ana", password: str = "wrong") -> str:
        """Try to log in; the result is the sentence of the refusal, or nothing."""
        reply = visitor.ask("login", f"{name} {password}")
        if isinstance(reply, Error):
            self.assertEqual(reply.code, "wrong_password")
            return reply.text
        self.assertIsInstance(reply, Done)
        return ""

    def test_name(self) -> None:
        """Five wrong passwords for a name, and even the right one has to wait, as is said."""
        for number in range(TRIES):
            eve = self.house.visitor(host=f"192.0.2.{number}")
            self.assertNotIn("seconds", self.guess(eve))
        late = self.house.visitor(host=HERE)
        self.assertIn("60 seconds", self.guess(late, password=SECRET))
        self.house.wait(WINDOW - 1)
        self.assertIn("1 second", self.guess(late, password=SECRET))
        self.house.wait(1)
        self.assertEqual(self.guess(late, password=SECRET), "")

    def test_no_address(self) -> None:
        """From doors within the machine, whose peers have no address, it is so for each name."""
        for _ in range(TRIES):
            self.guess(self.house.visitor())
        self.assertIn("seconds", self.guess(self.house.visitor(), password=SECRET))
        self.assertEqual(self.guess(self.house.visitor(), "ben", SECRET), "")

    def test_address(self) -> None:
        """The same goes for an address, whatever names and connections are used."""
        for number in range(TRIES):
            self.guess(self.house.visitor(host=HERE), f"nobody{number}")
        self.assertIn("seconds", self.guess(self.house.visitor(host=HERE), password=SECRET))
        self.assertEqual(self.guess(self.house.visitor(host=THERE), password=SECRET), "")

    def test_slides(self) -> None:
        """It is five in any minute, not five and then a fresh minute."""
        eve = self.house.visitor(host=HERE)
        for _ in range(TRIES):
            self.assertNotIn("seconds", self.guess(eve))
            self.house.wait(10)
        self.assertIn("10 seconds", self.guess(eve))
        self.house.wait(10)
        self.assertNotIn("seconds", self.guess(eve))
        self.assertIn("10 seconds", self.guess(eve))

    def test_at_once(self) -> None:
        """Many who guess at the same time get no more guesses than one who takes turns."""
        crowd = [self.house.visitor(host=f"192.0.2.{number}") for number in range(20)]
        for number, eve in enumerate(crowd):
            eve.begin("login", f"ana guess{number}")
        self.house.settle()
        heard = [str(eve.hear()) for eve in crowd]
        self.assertEqual(sum("That is not" in error for error in heard), TRIES)
        self.assertEqual(sum("seconds" in error for error in heard), len(crowd) - TRIES)

    def test_right_at_once(self) -> None:
        """Right passwords are right, however many give them at the same time."""
        crowd = [self.house.visitor(host=HERE) for _ in range(2 * TRIES)]
        for visitor in crowd:
            visitor.begin("login", f"ana {SECRET}")
        self.house.settle()
        self.assertEqual([codes(visitor.hear()) for visitor in crowd], [[]] * len(crowd))

    def test_right_ones_are_free(self) -> None:
        """Right passwords are no guesses."""
        for _ in range(3 * TRIES):
            self.assertEqual(self.guess(self.house.visitor(host=HERE), password=SECRET), "")

    def test_no_password(self) -> None:
        """To forget the password altogether is no guess."""
        eve = self.house.visitor(host=HERE)
        for _ in range(2 * TRIES):
            self.assertEqual(eve.ask("login", "ana").code, "bad_argument")
        self.assertEqual(self.guess(eve, password=SECRET), "")

    def test_refused_before(self) -> None:
        """Who has to wait costs no hash."""
        eve = self.house.visitor(host=HERE)
        for _ in range(TRIES):
            self.guess(eve)
        self.house.hashes.hold()
        self.assertIn("seconds", self.guess(eve))
        self.assertEqual(len(self.house.hashes.waiting), 0)

    def test_others(self) -> None:
        """Other names, from elsewhere, are not touched."""
        eve = self.house.visitor(host=HERE)
        for _ in range(TRIES):
            self.guess(eve)
        self.assertEqual(self.guess(self.house.visitor(host=THERE), "ben", SECRET), "")

    def test_room(self) -> None:
        """The password of a room cannot be guessed faster either."""
        ana = self.house.owner("zoe", "den")
        ana.ask("lock", "mellon")
        eve = self.house.visitor("eve", host=HERE)
        for number in range(TRIES):
            reply = eve.ask("join", f"den guess{number}")
            self.assertEqual(reply.code, "forbidden")
        reply = eve.ask("join", "den mellon")
        self.assertIsInstance(reply, Error)
        self.assertIn("seconds", reply.text)
        friend = self.house.visitor("friend", host=THERE)
        self.assertIsInstance(friend.ask("join", "den mellon"), Joined)


class PasswordTests(SynchronousTestCase):
    """What becomes of a password."""

    def stored(self, house: House) -> Any:
        rows = house.database.reader.execute("SELECT hash FROM accounts").fetchall()
        return rows[0][0]

    def test_hash(self) -> None:
        """It is kept as scrypt's hash alone, with parameters that are costly enough, and a salt."""
        house = House(self.mktemp())
        house.owner("ana", password="open sesame")
        kind, n, r, p, salt, hash = self.stored(house).split("$")
        self.assertEqual(kind, "scrypt")
        self.assertGreaterEqual(int(n) * int(r) * 128, 16 * 1024 * 1024)
        self.assertGreaterEqual(len(bytes.fromhex(salt)), 16)
        again = scrypt(b"open sesame", salt=bytes.fromhex(salt), n=int(n), r=int(r), p=int(p))
        self.assertEqual(again.hex(), hash)
        house.database.close()
        with open(house.path, "rb") as file:
            self.assertNotIn(b"sesame", file.read())

    def test_salted(self) -> None:
        """Two who have the same password have different hashes."""
        cheapen(self)
        house = House()
        house.owner("ana")
        house.owner("ben")
        rows = house.database.reader.execute("SELECT hash FROM accounts").fetchall()
        self.assertNotEqual(*rows)

    def test_in_a_thread(self) -> None:
        """Hashes are made and checked in a thread, while everyone else goes on."""
        cheapen(self)
        house = House(rate=0)
        ben = house.visitor("ben", "lobby")
        ana = house.visitor("ana")
        house.hashes.hold()
        for command, body in (
            ("register", SECRET), ("password", SECRET), ("login", f"ana {SECRET}"),
            ("create", "den"), ("lock", SECRET),
        ):  # fmt: skip
            asked = ana.begin(command, body)
            if command != "create":
                self.assertIsNone(ana.reply(asked), command)
                self.assertEqual(len(house.hashes.waiting), 1, command)
            self.assertIsInstance(ben.ask("say", "hi"), Sent)
            if command != "create":
                house.hashes.step()
            self.assertIsInstance(ana.reply(asked), Done if command != "create" else Joined)

    def test_same_number(self) -> None:
        """A name that nobody has costs as many hashes, of the same cost, as one that is had."""
        house = House(rate=0)
        house.owner("ana")
        seen: list[tuple[Any, ...]] = []

        def spy(secret: bytes, *, salt: bytes, n: int, r: int, p: int, **more: Any) -> bytes:
            seen.append((len(secret), len(salt), n, r, p))
            return scrypt(secret, salt=salt, n=n, r=r, p=p, **more)

        self.patch(accounts, "scrypt", spy)
        eve = house.visitor()
        replies = [eve.ask("login", f"{name} wrong") for name in ("ana", "nobody")]
        self.assertEqual(len(seen), 2)
        self.assertEqual(seen[0], seen[1])
        self.assertEqual(replies[0].text, replies[1].text)
        self.assertEqual(replies[0].code, replies[1].code)

    def test_parameters(self) -> None:
        """A hash that was made cheaper, or dearer, is checked as it was made."""
        for n, r, p in ((2**10, 8, 1), (2**15, 8, 1), (2**14, 8, 2)):
            house = House()
            hash = scrypt(b"old", salt=b"salt", n=n, r=r, p=p, maxmem=2**28)
            stored = f"scrypt${n}${r}${p}${b'salt'.hex()}${hash.hex()}"
            house.accounts.known["ana"] = accounts.Account(names.user("ana"), stored, 0)
            self.assertIsInstance(house.visitor().ask("login", "ana old"), Done, str(n))
            self.assertEqual(house.visitor().ask("login", "ana new").code, "wrong_password")

    def test_bounds(self) -> None:
        """A password has 1 to 1024 bytes; spaces around it are not part of it."""
        cheapen(self)
        house = House(rate=0)
        ana = house.visitor("ana")
        for password in ("", "   ", "é" * (LONGEST_PASSWORD // 2) + "x"):
            self.assertEqual(ana.ask("register", password).code, "bad_argument")
        long = "é" * (LONGEST_PASSWORD // 2)
        self.assertIsInstance(ana.ask("register", f" {long} "), Done)
        self.assertIsInstance(house.visitor().ask("login", f"ana {long}"), Done)
        for body in ("", "ana", "ana ", "a\u200bna x"):
            self.assertEqual(house.visitor().ask("login", body).code, "bad_argument", body)

    def test_with_spaces(self) -> None:
        """A password may have spaces inside."""
        cheapen(self)
        house = House()
        house.owner("ana", password="two  words")
        self.assertEqual(house.visitor().ask("login", "ana two words").code, "wrong_password")
        self.assertIsInstance(house.visitor().ask("login", "ana two  words"), Done)

    def test_changed(self) -> None:
        """After a change the new password is right and the old one wrong, after a restart too."""
        cheapen(self)
        house = House(self.mktemp())
        ana = house.owner("ana")
        self.assertIsInstance(ana.ask("password", "mellon"), Done)
        for _ in range(2):
            self.assertEqual(house.visitor().ask("login", f"ana {SECRET}").code, "wrong_password")
            self.assertIsInstance(house.visitor().ask("login", "ana mellon"), Done)
            house = house.restart()

    def test_changed_elsewhere(self) -> None:
        """It ends a session, too, that has lost the account to a later login."""
        cheapen(self)
        house = House(self.mktemp())
        first = house.owner("ana", "den")
        first.drop()
        second = house.owner("ana")
        self.assertIsInstance(second.ask("password", "mellon"), Done)
        reply = house.visitor().ask("resume", f"{first.welcome.session} 0")
        self.assertEqual(reply.code, "not_resumable")
        second.drop()
        reply = house.visitor().ask("resume", f"{second.welcome.session} 0")
        self.assertEqual(reply.user, "ana")

    def test_change_of_a_guest(self) -> None:
        """Who is not logged in has no password to change."""
        self.assertEqual(House().visitor("ana").ask("password", "x").code, "forbidden")


class BrokenOffTests(SynchronousTestCase):
    """A connection may break, or the disk fail, at any moment of a command."""

    def setUp(self) -> None:
        cheapen(self)
        self.house = House(self.mktemp(), rate=0)

    def test_register_dropped(self) -> None:
        """A name whose registration was being stored is its owner's, then and after a restart."""
        ana, ben = self.house.visitor("ana"), self.house.visitor("ben", "lobby")
        self.house.commits.hold()
        ana.begin("register", SECRET)
        ana.drop()
        self.house.commits.release()
        self.house.wait(70)
        eve = self.house.visitor()
        taken = eve.ask("name", "ana")
        if isinstance(taken, Renamed):
            # Then nothing was stored, and the next one has it.
            eve.begin("register", "mine")
            said = ben.ask("say", "hi")
            self.assertIsInstance(said, Sent)
            password = "mine"
        else:
            self.assertEqual(taken.code, "name_registered")
            password = SECRET
        for _ in range(2):
            self.assertIsInstance(self.house.visitor().ask("login", f"ana {password}"), Done)
            self.house = self.house.restart()

    def test_register_again(self) -> None:
        """Who resumes and asks again, for the answer was lost, has the name, and is logged in."""
        ana, ben = self.house.visitor("ana"), self.house.visitor("ben")
        self.house.commits.hold()
        ana.begin("register", SECRET)
        ana.drop()
        self.house.commits.release()
        back = self.house.visitor()
        back.ask("resume", f"{ana.welcome.session} 0")
        self.assertIsInstance(back.ask("register", SECRET), Done)
        self.assertEqual(back.ask("register", "something else").code, "bad_argument")
        ben.ask("msg", "ana hi")
        self.assertEqual(texts(back.hear()), ["hi"])

    def test_told_while_registering(self) -> None:
        """Until the name is an account, what is said to it is said to who has it, here."""
        ana, ben = self.house.visitor("ana"), self.house.visitor("ben")
        for number, stored in enumerate((False, True)):
            self.house.commits.hold()
            asked = ana.begin("register", SECRET)
            self.house.hashes.release()
            said = ben.begin("msg", f"ana {number}")
            if not stored:
                self.house.break_disk()
            self.house.commits.step()
            self.house.mend_disk()
            self.house.commits.release()
            self.assertIsInstance(ben.reply(said), Sent)
            self.assertIsInstance(ana.reply(asked), Done if stored else Error)
            self.assertEqual(texts(ana.hear()), [str(number)])

    def test_login_while_registering(self) -> None:
        """It can be logged in to when it is stored, and not before; a failure is no trouble."""
        ana, eve = self.house.visitor("ana"), self.house.visitor("eve")
        self.house.commits.hold()
        ana.begin("register", SECRET)
        asked = eve.begin("login", f"ana {SECRET}")
        self.house.break_disk()
        self.house.commits.step()
        self.house.mend_disk()
        self.house.commits.release()
        self.assertEqual(eve.reply(asked).code, "wrong_password")
        self.house.wait(5)
        self.assertIsNone(eve.wire.door.user.account)
        self.assertIsInstance(ana.ask("register", SECRET), Done)

    def test_banned_while_registering(self) -> None:
        """Who is banned in the moment of becoming an account is put out."""
        boss, reg = self.house.visitor("boss", "den"), self.house.visitor("reg", "den")
        self.house.commits.hold()
        reg.begin("register", SECRET)
        boss.begin("ban", "reg")
        self.house.commits.release()
        reg.hear()
        self.assertEqual(boss.ask("users").users, ["boss"])
        self.assertEqual(reg.ask("join", "den").code, "forbidden")

    def test_register_and_linger(self) -> None:
        """A session that is resumed after all that is the account's, too."""
        ana = self.house.visitor("ana")
        self.house.commits.hold()
        ana.begin("register", SECRET)
        ana.drop()
        self.house.commits.release()
        self.house.wait(70)
        back = self.house.visitor()
        self.assertEqual(back.ask("resume", f"{ana.welcome.session} 0").user, "ana")

    def test_many_at_the_end(self) -> None:
        """Who does not wait any more for a password leaves nothing to do for the thread."""
        crowd = [self.house.visitor("", f"room{number}") for number in range(9)]
        self.house.hashes.hold()
        for visitor in crowd:
            visitor.begin("lock", "mellon")
        self.assertEqual(len(self.house.hashes.waiting), 1)
        for visitor in crowd:
            visitor.drop()
        self.assertEqual(len(self.house.hashes.waiting), 1)
        self.house.hashes.release()
        self.house.settle()
        self.assertIsInstance(self.house.owner("zoe").ask("password", "other"), Done)

    def test_not_stored_and_not_waited_for(self) -> None:
        """What could not be stored is not so, also if nobody waits for the answer any more."""
        ana, ben = self.house.visitor("ana"), self.house.visitor("ben")
        ben.ask("register", SECRET)
        self.house.commits.hold()
        self.house.break_disk()
        for visitor, command in ((ana, "register"), (ben, "password")):
            visitor.begin(command, "another")
            visitor.drop()
        self.house.commits.release()
        self.house.settle()
        self.house.mend_disk()
        self.assertNotIn("ana", self.house.accounts.known)
        self.assertIsInstance(self.house.visitor().ask("login", f"ben {SECRET}"), Done)

    def test_not_stored(self) -> None:
        """What could not be stored is answered as such; a full disk is no bug."""
        ana, ben = self.house.visitor("ana"), self.house.visitor("ben")
        ben.ask("register", SECRET)
        self.house.break_disk()
        for visitor, command in ((ana, "register"), (ben, "password")):
            reply = visitor.ask(command, "another")
            self.assertEqual((reply.code, reply.fatal), ("internal", False))
        self.house.mend_disk()
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertIsInstance(ana.ask("register", SECRET), Done)

    def test_register_dropped_early(self) -> None:
        """A name whose password was not hashed yet is nobody's."""
        ana = self.house.visitor("ana")
        self.house.hashes.hold()
        ana.begin("register", SECRET)
        ana.drop()
        self.house.hashes.release()
        self.house.wait(70)
        self.assertIsInstance(self.house.visitor().ask("name", "ana"), Renamed)

    def test_password_changed_meanwhile(self) -> None:
        """Who tries the old password while it is changed is not in, whichever comes first."""
        for steps in range(3):
            ana, eve = self.house.owner(f"ana{steps}"), self.house.visitor()
            self.house.hashes.hold()
            changing = ana.begin("password", "mellon")
            trying = eve.begin("login", f"ana{steps} {SECRET}")
            for _ in range(steps):
                self.house.hashes.step()
            self.house.hashes.release()
            self.house.settle()
            self.assertIsInstance(ana.reply(changing), Done)
            self.assertEqual(eve.reply(trying).code, "wrong_password")
            self.assertFalse(ana.closed)

    def test_password_changed_before_the_end(self) -> None:
        """Nor is one who was right, where it is another when all that was said before is told."""
        ana, eve = self.house.owner("ana"), self.house.visitor("eve", "den")
        self.house.commits.hold()
        eve.begin("say", "hi")
        trying = eve.begin("login", f"ana {SECRET}")
        ana.begin("password", "mellon")
        self.house.commits.release()
        self.house.settle()
        self.assertEqual(eve.reply(trying).code, "wrong_password")
        self.assertFalse(ana.closed)

    def test_password_dropped(self) -> None:
        """A change that was being stored when the connection broke is one, now and later."""
        ana = self.house.owner("ana")
        self.house.commits.hold()
        ana.begin("password", "mellon")
        ana.drop()
        self.house.commits.release()
        now = self.house.visitor().ask("login", "ana mellon")
        later = self.house.restart().visitor().ask("login", "ana mellon")
        self.assertEqual(type(now), type(later))

    def test_register_not_stored(self) -> None:
        """Where nothing can be stored the name stays free, and can be registered later."""
        ana, ben = self.house.visitor("ana"), self.house.visitor("ben")
        self.house.break_disk()
        self.assertIsInstance(ana.ask("register", SECRET), Error)
        self.flushLoggedErrors()
        self.house.mend_disk()
        self.assertEqual(ben.ask("name", "аna").code, "name_taken")
        self.assertIsInstance(ana.ask("register", SECRET), Done)
        again = self.house.restart()
        self.assertIsInstance(again.visitor().ask("login", f"ana {SECRET}"), Done)

    def test_password_not_stored(self) -> None:
        """A change that cannot be stored is none."""
        ana = self.house.owner("ana")
        self.house.break_disk()
        self.assertIsInstance(ana.ask("password", "mellon"), Error)
        self.flushLoggedErrors()
        self.house.mend_disk()
        self.assertIsInstance(self.house.visitor().ask("login", f"ana {SECRET}"), Done)

    def test_renamed_while_hashing(self) -> None:
        """Of two who register one name in turn, only the one who has it gets it."""
        ana = self.house.visitor("ana")
        token = ana.welcome.session
        self.house.hashes.hold()
        ana.begin("register", SECRET)
        back = self.house.visitor()
        back.ask("resume", f"{token} 0")
        back.ask("name", "zoe")
        self.house.hashes.release()
        self.house.settle()
        ben = self.house.visitor()
        self.assertIsInstance(ben.ask("name", "ana"), Renamed)
        self.assertIsInstance(ben.ask("register", SECRET), Done)


class KeptTests(SynchronousTestCase):
    """Rooms that outlive their members and the server."""

    def setUp(self) -> None:
        cheapen(self)
        self.house = House(self.mktemp(), rate=0, admins=frozenset({"boss"}))

    def restart(self) -> House:
        self.house = self.house.restart(rate=0, admins=frozenset({"boss"}))
        return self.house

    def rooms(self) -> list[str]:
        reply = self.house.visitor().ask("list")
        assert isinstance(reply, Rooms)
        return [row.name for row in reply.rooms]

    def test_empty(self) -> None:
        """A room whose operator is registered is there when nobody is in it; others are not."""
        ana, ben = self.house.owner("ana", "Den"), self.house.visitor("ben", "lobby")
        ana.ask("leave")
        ben.ask("leave")
        self.assertEqual(self.rooms(), ["Den"])
        self.restart()
        self.assertEqual(self.rooms(), ["Den"])

    def test_all(self) -> None:
        """Topic, lock, bans, mutes and operators are kept across restarts."""
        ana = self.house.owner("ana", "Den")
        self.house.owner("ben")
        self.house.owner("eve")
        self.house.owner("mia")
        guest = self.house.visitor("rude", "den", host=HERE)
        self.assertFalse(guest.closed)
        for command, body in (
            ("topic", "Café \"quiet\""), ("lock", "mellon"), ("ban", "eve spam"), ("mute", "mia"),
            ("op", "ben"), ("ban", "rude bad 'words'"),
        ):  # fmt: skip
            self.assertIsInstance(ana.ask(command, body), Done | Topic, command)
        for _ in range(2):
            self.restart()
            (row,) = self.house.visitor().ask("list").rooms
            self.assertEqual((row.name, row.topic, row.locked), ("Den", 'Café "quiet"', True))
            eve = self.house.owner("eve")
            self.assertIn("spam", eve.ask("join", "den mellon").text)
            self.assertIn("kept out", self.house.visitor(host=HERE).ask("join", "den mellon").text)
            outsider = self.house.visitor("zoe", host=THERE)
            self.assertEqual(outsider.ask("join", "den").code, "forbidden")
            self.assertIsInstance(outsider.ask("join", "den mellon"), Joined)
            mia = self.house.owner("mia")
            mia.ask("join", "den mellon")
            self.assertEqual(mia.ask("say", "hi").code, "forbidden")
            ben = self.house.owner("ben", "den")
            self.assertIn("rude was banned by ana: bad 'words'", ben.ask("bans").text)
            self.assertIsInstance(ben.ask("topic", 'Café "quiet"'), Topic)

    def crowd(self) -> None:
        """Two guests in a room that one of them runs, and somebody who is banned from it."""
        self.ana, self.ben = (self.house.visitor(name, "tea") for name in ("ana", "ben"))
        self.tokens = [one.ask("hello").session for one in (self.ana, self.ben)]
        self.house.owner("eve")
        for command, body in (("topic", "cake"), ("ban", "eve spam")):
            self.assertIsInstance(self.ana.ask(command, body), Done | Topic)

    def back(self, number: int) -> Visitor:
        """One of the two, resumed."""
        visitor = self.house.visitor()
        resumed = visitor.ask("resume", f"{self.tokens[number]} 0")
        self.assertEqual((resumed.room, resumed.topic), ("tea", "cake"))
        self.tokens[number] = resumed.session
        return visitor

    def test_guests(self) -> None:
        """Guests who come back soon after a restart find their room as it was."""
        self.crowd()
        for order in ((0, 1), (1, 0), (1, 0)):
            self.restart()
            self.assertEqual(self.rooms(), [])
            eve = self.house.owner("eve")
            for command in ("join", "create"):
                self.assertIn("spam", eve.ask(command, "tea").text)
            here = {number: self.back(number) for number in order}
            self.assertEqual(here[1].ask("users").operators, ["ana"])
            self.house.wait(70)
            self.assertEqual(here[1].ask("users").operators, ["ana"])
            self.assertIn("eve", here[0].ask("bans").text)

    def test_guests_who_stay_away(self) -> None:
        """If the one who ran it does not, the room is somebody else's after as long a time."""
        self.crowd()
        self.restart()
        ben = self.back(1)
        self.assertEqual(ben.ask("topic", "mine").code, "forbidden")
        ben.ask("leave")
        self.assertEqual(self.rooms(), [])
        self.assertEqual(ben.ask("join", "tea").topic, "cake")
        self.house.wait(70)
        self.assertIsInstance(ben.ask("topic", "mine"), Topic)
        ben.ask("leave")
        self.assertEqual(ben.ask("join", "tea").topic, "")

    def test_nobody_comes_back(self) -> None:
        """Nothing is left of a room of guests that nobody came back to."""
        self.crowd()
        for _ in range(2):
            self.restart()
            self.house.wait(70)
            self.assertEqual(self.house.visitor("zoe").ask("join", "tea").topic, "")
            self.house.visitor("zoe2", "tea")
        for table in ("rooms", "operators", "sanctions"):
            rows = self.house.database.reader.execute(f"SELECT * FROM {table}").fetchall()
            self.assertLess(len(rows), 2, rows)

    def test_given_up(self) -> None:
        """When the last registered operator gives a room up, it is kept no longer."""
        ana = self.house.owner("ana", "den")
        guest = self.house.visitor("guest", "den")
        ana.ask("topic", "old")
        ana.ask("deop", "ana")
        ana.ask("leave")
        guest.ask("leave")
        self.assertEqual(self.rooms(), [])
        self.restart()
        self.assertEqual(self.rooms(), [])
        made = self.house.visitor("ben").ask("join", "den")
        self.assertEqual(made.topic, "")

    def test_lifted(self) -> None:
        """What was lifted, or unlocked, stays so after a restart."""
        ana = self.house.owner("ana", "den")
        self.house.owner("eve")
        for command, body in (
            ("ban", "eve"), ("mute", "eve"), ("lock", "x"), ("unban", "eve"), ("unmute", "eve"),
            ("unlock", ""),
        ):  # fmt: skip
            self.assertIsInstance(ana.ask(command, body), Done, command)
        self.restart()
        eve = self.house.owner("eve", "den")
        self.assertIsInstance(eve.ask("say", "hi"), Sent)

    def test_guest_room(self) -> None:
        """When a guest registers, the rooms that were run so far are kept."""
        ana = self.house.visitor("ana", "den")
        ana.ask("topic", "mine")
        ana.ask("register", SECRET)
        self.restart()
        self.assertEqual(self.rooms(), ["den"])
        back = self.house.owner("ana", "den")
        self.assertIsInstance(back.ask("topic", "still mine"), Topic)

    def test_login_in_a_room(self) -> None:
        """A guest operator who logs in goes on as operator, and the room is kept."""
        self.house.owner("ana").ask("close")
        guest = self.house.visitor("guest", "den")
        guest.ask("login", f"ana {SECRET}")
        self.assertIsInstance(guest.ask("topic", "mine"), Topic)
        guest.ask("leave")
        self.assertEqual(self.rooms(), ["den"])

    def test_login_as_an_operator(self) -> None:
        """Being operator goes to the account for good, also to one that was operator before."""
        guest = self.house.visitor("tmp", "den")
        self.house.owner("fay").ask("close")
        guest.ask("op", "fay")
        guest.ask("login", f"fay {SECRET}")
        rows = self.house.database.reader.execute("SELECT place FROM operators").fetchall()
        self.assertEqual(rows, [("@fay",)])

    def test_look_alikes(self) -> None:
        """Names and rooms of before it was known that they look alike are there, and good."""
        house = self.house
        for name, room in (("ana", "den"), ("ben", "pit")):
            house.owner(name, room).ask("close")
        writer = house.database.writer
        for key, twin in (("ana", "poma"), ("ben", "рома")):
            writer.execute("UPDATE accounts SET key = ?, name = ? WHERE key = ?", (twin, twin, key))
            places = f"@{twin}", f"@{key}"
            writer.execute("UPDATE operators SET place = ? WHERE place = ?", places)
        for key, twin in (("den", "tom"), ("pit", "том")):
            writer.execute("UPDATE rooms SET key = ?, name = ? WHERE key = ?", (twin, twin, key))
            writer.execute("UPDATE operators SET room = ? WHERE room = ?", (twin, key))
        house = self.house = house.restart()
        owners = [house.owner("poma", "tom"), house.owner("рома", "том")]
        self.assertEqual([one.ask("users").room for one in owners], ["tom", "том"])
        self.assertEqual([one.ask("users").operators for one in owners], [["poma"], ["рома"]])
        for one in owners:
            self.assertIsInstance(one.ask("close"), Closing)
        self.assertEqual((house.registry.users, house.registry._user_looks._known), ({}, {}))

    def test_forgotten(self) -> None:
        """Who had an account that was removed by hand has no way into the next one of that name."""
        ana = self.house.owner("ana", "den")
        token = ana.ask("hello").session
        self.house.database.writer.execute("DELETE FROM accounts")
        self.restart()
        self.house.owner("ana")
        visitor = self.house.visitor()
        self.assertEqual(visitor.ask("resume", f"{token} 0").code, "not_resumable")

    def test_damaged_names(self) -> None:
        """A name that was damaged on the disk is shown as what it is compared by."""
        self.house.owner("Ana", "Den").ask("close")
        for name, room in (("A\x0ea", "D n"), ("Anb", "Dem"), ("", "#")):
            writer = self.house.database.writer
            writer.execute("UPDATE accounts SET name = ?", (name,))
            writer.execute("UPDATE rooms SET name = ? WHERE key != ''", (room,))
            self.restart()
            self.assertEqual(self.rooms(), ["den"])
            ana = self.house.owner("ana")
            self.assertEqual(ana.ask("join", "den").room, "den")
            self.assertIsInstance(ana.ask("msg", "ana to myself"), Sent)
            self.assertIsInstance(ana.ask("close"), Closing)

    def test_damaged_name_of_a_session(self) -> None:
        """A session whose name was damaged goes on under a guest's."""
        eve = self.house.visitor("eve", "den")
        token = eve.ask("hello").session
        self.house.database.writer.execute("UPDATE sessions SET name = 'e e'")
        self.restart()
        reply = self.house.visitor().ask("resume", f"{token} 0")
        self.assertEqual(reply.room, "den")
        self.assertTrue(reply.user.startswith("guest-"))

    def test_removed(self) -> None:
        """What is left of a room that was removed by hand is in nobody's way."""
        ana = self.house.owner("ana", "den")
        self.house.owner("eve")
        ana.ask("ban", "eve")
        self.house.database.writer.execute("DELETE FROM rooms WHERE key != ''")
        self.restart()
        self.assertEqual(self.rooms(), [])
        self.assertIsInstance(self.house.owner("eve").ask("join", "den"), Joined)

    def test_server(self) -> None:
        """The rules of the whole server are kept too."""
        boss = self.house.owner("boss")
        self.house.owner("eve")
        self.house.owner("mia")
        boss.ask("ban", "eve spam")
        boss.ask("mute", "mia")
        self.restart()
        self.assertEqual(self.house.visitor().ask("login", f"eve {SECRET}").code, "forbidden")
        mia = self.house.owner("mia", "lobby")
        self.assertEqual(mia.ask("say", "hi").code, "forbidden")
        boss = self.house.owner("boss")
        self.assertIn("eve was banned by boss: spam", boss.ask("bans").text)
        boss.ask("unban", "eve")
        boss.ask("unmute", "mia")
        self.restart()
        self.house.owner("eve")
        self.assertIsInstance(self.house.owner("mia", "lobby").ask("say", "hi"), Sent)

    def test_twin_of_an_empty_room(self) -> None:
        """A look-alike of a kept room that is empty is refused, after a restart too."""
        self.house.owner("ana", "den").ask("leave")
        for _ in range(2):
            self.assertEqual(self.house.visitor().ask("join", "dеn").code, "name_taken")
            self.restart()

    def test_replay_after_restart(self) -> None:
        """What was said in a kept room is replayed to who comes after a restart."""
        ana = self.house.owner("ana", "den")
        ana.ask("say", "for later")
        self.restart()
        ben = self.house.visitor("ben")
        ben.ask("join", "den")
        self.assertEqual(texts(ben.hear()), ["for later"])

    def test_not_stored(self) -> None:
        """Rules that could not be stored yet are stored with the next thing that can be."""
        ana = self.house.owner("ana", "den")
        self.house.break_disk()
        ana.ask("topic", "new")
        self.house.mend_disk()
        self.assertIsInstance(ana.ask("say", "hi"), Sent)
        self.restart()
        (row,) = self.house.visitor().ask("list").rooms
        self.assertEqual(row.topic, "new")

    def test_database_is_whole(self) -> None:
        """What is written leaves no row behind that belongs to nothing."""
        ana = self.house.owner("ana", "den")
        self.house.owner("eve")
        ana.ask("ban", "eve")
        ana.ask("deop", "ana")
        ana.ask("leave")
        connection: sqlite3.Connection = self.house.database.reader
        for table in ("rooms", "operators", "sanctions"):
            self.assertEqual(connection.execute(f"SELECT * FROM {table}").fetchall(), [], table)
