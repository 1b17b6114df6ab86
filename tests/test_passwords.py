"""Passwords: turns, tries, and what becomes of them."""

from __future__ import annotations

from hashlib import scrypt
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from pylingo import names, passwords
from pylingo.accounts import Account
from pylingo.passwords import LONGEST_PASSWORD, TRIES, WINDOW, Turns
from pylingo.protocol import Done, Error, Joined, Sent
from tests.house import HERE, SECRET, THERE, House, Visitor, cheapen, codes


class TurnsTests(SynchronousTestCase):
    """Who waits, and who is next."""

    def setUp(self) -> None:
        self.turns = Turns()
        self.begun: list[str] = []
        self.work: list[Deferred[None]] = []

    def wait(self, whence: str, name: str) -> Deferred[None]:
        def work() -> Deferred[None]:
            self.begun.append(name)
            self.work.append(Deferred())
            return self.work[-1]

        return self.turns.do(whence, work)

    def finish(self) -> None:
        self.work.pop(0).callback(None)

    def test_one_at_a_time(self) -> None:
        """The next begins when the one before has ended."""
        for name in "ab":
            self.wait("here", name)
        self.assertEqual(self.begun, ["a"])
        self.finish()
        self.assertEqual(self.begun, ["a", "b"])
        self.finish()
        self.wait("here", "c")
        self.assertEqual(self.begun, ["a", "b", "c"])

    def test_in_turns(self) -> None:
        """Many from one place let one from another wait no longer than few."""
        for name in ("h1", "h2", "h3"):
            self.wait("here", name)
        self.wait("there", "t1")
        for _ in range(3):
            self.finish()
        self.assertEqual(self.begun, ["h1", "h2", "t1", "h3"])

    def test_given_up(self) -> None:
        """Who does not wait any more is passed over; what was begun is done."""
        first = self.wait("here", "a")
        gone = self.wait("here", "b")
        self.wait("there", "c")
        for one in (first, gone):
            one.cancel()
            self.failureResultOf(one, CancelledError)
        self.assertEqual(self.begun, ["a"])
        self.finish()
        self.assertEqual(self.begun, ["a", "c"])

    def test_failed(self) -> None:
        """What fails does so for the one who waits, and the next has its turn."""
        failed = self.wait("here", "a")
        self.wait("here", "b")
        self.work.pop().errback(ValueError())
        self.failureResultOf(failed, ValueError)
        self.assertEqual(self.begun, ["a", "b"])

    def test_done_at_once(self) -> None:
        """However many are done as soon as it is their turn, the one behind them has theirs."""
        self.wait("here", "first")
        for _ in range(5_000):
            self.turns.do("here", lambda: succeed(None))
        self.wait("here", "last")
        self.finish()
        self.assertEqual(self.begun, ["first", "last"])


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
        """Five from an address are as many, whatever names and connections are used."""
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

        self.patch(passwords, "scrypt", spy)
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
            house.accounts.known["ana"] = Account(names.user("ana"), stored, 0)
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

    def test_another_keyboard(self) -> None:
        """Accents may be letters of their own, as some keyboards and systems write them."""
        cheapen(self)
        house = House(password="e\u0301t\u00e9")
        house.visitor().ask("enter", "été")
        ana = house.visitor()
        self.assertIsInstance(ana.ask("enter", "\u00e9te\u0301"), Done)
        ana.ask("name", "ana")
        ana.ask("register", "Schlu\u0308ssel")
        other = house.visitor()
        other.ask("enter", "été")
        self.assertIsInstance(other.ask("login", "ana Schl\u00fcssel"), Done)

    def test_older_hash(self) -> None:
        """What was hashed as it was typed is still right, typed so."""
        cheapen(self)
        house = House()
        house.owner("ana")
        for typed in ("e\u0301te\u0301", "\u2764\ufe0fpass"):
            house.accounts.known["ana"].hash = passwords.make(typed.encode())
            self.assertIsInstance(house.visitor().ask("login", f"ana {typed}"), Done)
            wrong = house.visitor().ask("login", "ana ete")
            self.assertEqual(wrong.code, "wrong_password")

    def test_long(self) -> None:
        """What is too long is not even composed: of very many marks that would take long."""
        house = House()
        self.patch(names, "composed", None)
        reply = house.visitor().ask("login", "ana a" + "\u0301\u0323" * 3000)
        self.assertEqual(reply.code, "bad_argument")
        self.patch(names, "composed", {SECRET: SECRET}.get)
        house = House(password=SECRET)
        reply = house.visitor().ask("enter", "a" + "\u0301\u0323" * 3000)
        self.assertEqual(reply.code, "wrong_password")

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
