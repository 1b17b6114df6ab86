"""What is kept about people and rooms, and what a restart brings back."""

from __future__ import annotations

import sqlite3

from pylingo.protocol import Closing, Done, Error, Joined, Renamed, Rooms, Sent, Topic
from tests.house import HERE, SECRET, THERE, House, HouseTestCase, Visitor, texts


class BrokenOffTests(HouseTestCase):
    """A connection may break, or the disk fail, at any moment of a command."""

    def test_register_dropped(self) -> None:
        """A name whose registration was being stored is its owner's, then and after a restart."""
        ana = self.house.visitor("ana")
        self.house.commits.hold()
        ana.begin("register", SECRET)
        ana.drop()
        self.house.commits.release()
        self.house.wait(70)
        self.error(self.house.visitor(), "name_registered", "name", "ana")
        back = self.house.visitor()
        self.assertEqual(back.ask("resume", f"{ana.welcome.session} 0").user, "ana")
        for _ in range(2):
            self.done(self.house.visitor(), "login", f"ana {SECRET}")
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

    def test_register_and_killed(self) -> None:
        """Who comes back after the server was killed right then has the name, and the room."""
        ana = self.house.visitor("ana", "den")
        self.house.commits.hold()
        ana.begin("register", SECRET)
        self.house.commits.run()
        self.house = self.house.restart()
        back = self.house.visitor()
        self.assertEqual(back.ask("resume", f"{ana.welcome.session} 0").user, "ana")
        self.assertIsInstance(back.ask("register", SECRET), Done)
        self.assertIsInstance(back.ask("topic", "mine"), Done | Topic)

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
        """What could not be stored is answered as such, and is not so; a full disk is no bug."""
        ana, ben = self.house.visitor("ana"), self.house.visitor("ben")
        self.done(ben, "register", SECRET)
        self.house.break_disk()
        self.error(ana, "internal", "register", "another")
        self.error(ben, "internal", "password", "another")
        self.house.mend_disk()
        self.assertEqual(self.flushLoggedErrors(), [])
        self.error(self.house.visitor(), "name_taken", "name", "аna")
        self.done(ana, "register", SECRET)
        for _ in range(2):
            for name in ("ana", "ben"):
                self.done(self.house.visitor(), "login", f"{name} {SECRET}")
            self.house = self.house.restart()

    def test_register_dropped_early(self) -> None:
        """A name whose password was not hashed yet is nobody's."""
        ana = self.house.visitor("ana")
        self.house.hashes.hold()
        ana.begin("register", SECRET)
        ana.drop()
        self.house.hashes.release()
        self.house.wait(70)
        self.assertIsInstance(self.house.visitor().ask("name", "ana"), Renamed)

    def test_name_while_registering(self) -> None:
        """Nobody else gets a name whose registration is being stored, though its owner is gone."""
        self.house = House(self.mktemp(), rate=0, linger=0)
        ana, eve = self.house.visitor("ana"), self.house.visitor("eve")
        self.house.commits.hold()
        ana.begin("register", SECRET)
        ana.drop()
        self.house.wait(1)
        self.assertEqual(eve.ask("name", "ana").code, "name_taken")
        self.house.commits.release()
        self.assertIsInstance(eve.ask("msg", "ana hi"), Sent)
        back = self.house.visitor()
        self.assertIsInstance(back.ask("login", f"ana {SECRET}"), Done)
        self.assertEqual(texts(back.hear()), ["hi"])

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


class KeptTests(HouseTestCase):
    """Rooms that outlive their members and the server."""

    def restart(self) -> House:
        self.house = self.house.restart(**self.options)
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
