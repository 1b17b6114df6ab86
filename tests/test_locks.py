"""Rooms that take a password, and who comes in without."""

from __future__ import annotations

from pylingo import names, rooms
from pylingo.protocol import (
    Done,
    Error,
    Joined,
    Notice,
    Topic,
)
from pylingo.rules import MOST_SANCTIONS
from tests.house import (
    HERE,
    SECRET,
    House,
    HouseTestCase,
    texts,
)


class LockTests(HouseTestCase):
    def test_locked(self) -> None:
        """A locked room takes its password; `list` shows it, and members stay."""
        ana, ben = self.house.visitor("ana", "den"), self.house.visitor("ben", "den")
        self.done(ana, "lock", "mell on")
        self.assertTrue(any(isinstance(event, Notice) for event in ben.hear()))
        cem = self.house.visitor("cem")
        self.assertTrue(cem.ask("list").rooms[0].locked)
        text = self.error(cem, "forbidden", "join", "den")
        self.assertEqual(text, "den is locked. To join: /join den PASSWORD")
        self.assertIn("not the password", self.error(cem, "forbidden", "join", "den mellon"))
        self.assertIsInstance(cem.ask("join", "#DEN mell on"), Joined)
        self.assertIsInstance(ben.ask("join", "den"), Joined)
        self.assertEqual(self.here(), ["ana", "ben", "cem"])

    def test_kept(self) -> None:
        """What guests have locked stays so when they are gone, and after a restart."""
        self.house = House(self.mktemp())
        ana = self.house.visitor("ana", "den")
        self.done(ana, "lock", "mellon")
        ana.ask("say", "the code is 4711")
        ana.ask("close")
        for _ in range(2):
            eve = self.house.visitor("eve")
            self.error(eve, "forbidden", "join", "den")
            self.error(eve, "room_exists", "create", "den")
            self.house = self.house.restart()
        ben = self.house.visitor("ben")
        self.assertIsInstance(ben.ask("join", "den mellon"), Joined)
        self.done(ben, "unlock")
        ben.ask("close")
        self.assertNotIn("den", self.house.registry.rooms)
        self.house = self.house.restart()
        self.assertNotIn("den", self.house.registry.rooms)

    def test_back_in_a_locked_room(self) -> None:
        """Who was gone when a room was locked does not come back to it, nor after a restart."""
        self.house = House(self.mktemp())
        ana, ben = self.house.visitor("ana", "Den"), self.house.visitor("ben", "den")
        token = self.asleep(ana)
        self.done(ben, "lock", "mellon")
        ben.ask("say", "the code is 4711")
        for _ in range(2):
            ana = self.house.visitor()
            resumed = ana.ask("resume", f"{token} 0")
            self.assertEqual((resumed.user, resumed.room), ("ana", None))
            self.assertEqual(texts(ana.hear()), [])
            self.error(ana, "forbidden", "join", "den")
            token = resumed.session
            self.house = self.house.restart()

    def test_ended_while_it_is_compared(self) -> None:
        """Whose connection is ended while the password is looked at does not go in after that."""
        self.done(self.house.visitor("ana", "den"), "lock", "mellon")
        ben, cem = self.house.visitor("ben", "lobby"), self.house.visitor("cem", "lobby")
        self.house.hashes.hold()
        for one in (ben, cem):
            one.stall()
            one.begin("join", "den mellon")
        self.house.visitor().ask("resume", f"{ben.welcome.session} 0")
        cem.wire.door.close("slow", "You read too slowly.")
        self.house.hashes.release()
        self.house.settle()
        self.assertEqual(self.here(), ["ana"])

    def test_gone_while_it_is_compared(self) -> None:
        """A room that is gone by then is made anew."""
        ana, ben = self.house.visitor("ana", "den"), self.house.visitor("ben")
        self.done(ana, "lock", "mellon")
        self.house.hashes.hold()
        ben.begin("join", "den mellon")
        self.done(ana, "unlock")
        ana.ask("leave")
        self.house.hashes.release()
        self.assertEqual([type(event) for event in ben.hear()], [Joined])
        self.done(ben, "unlock")

    def test_who_knows_it_is_no_operator(self) -> None:
        """The password of a room that somebody runs lets one in, and no more."""
        self.done(self.house.visitor("ana", "den"), "lock", "mellon")
        ben = self.house.visitor("ben", "den mellon")
        self.assertEqual(self.here(), ["ana", "ben"])
        self.error(ben, "forbidden", "unlock")

    def test_sent_out_meanwhile(self) -> None:
        """Who is sent out while the password is made does not lock another room they are in."""
        ana = self.house.visitor("ana", "attic")
        user = ana.wire.door.user
        den = user.join(names.room("den"))
        self.house.hashes.hold()
        ana.begin("lock", "mellon")
        user.leave(den, "kicked")
        self.house.hashes.release()
        self.assertIn(
            "not_in_room", [event.code for event in ana.hear() if isinstance(event, Error)]
        )
        self.assertFalse(user.here.locked)

    def test_locked_elsewhere(self) -> None:
        """A lock keeps nobody out of another room, in whatever letters that is called."""
        self.house.visitor("ben", "Küche")
        token = self.asleep(self.house.visitor("ana", "Küche"))
        self.done(self.house.visitor("eve", "den"), "lock", "mellon")
        back = self.house.visitor()
        self.assertEqual(back.ask("resume", f"{token} 0").room, "Küche")

    def test_locked_while_one_comes_back(self) -> None:
        """A lock that is set while a session is being read holds for it, too, in that room."""
        for room in ("den", "tea"):
            self.locked_meanwhile(room)

    def locked_meanwhile(self, room: str) -> None:
        self.house = House(self.mktemp())
        ana, eve = self.house.visitor("ana", "den"), self.house.visitor("eve", room)
        token = self.asleep(eve)
        # Somebody has come back before, so what was said by those who are gone is known.
        self.house.visitor().ask("resume", "nothing 0")
        back = self.house.visitor()
        self.house.commits.hold()
        asked = back.begin("resume", f"{token} 0")
        self.house.commits.step()
        self.house.commits.run()
        ana.begin("lock", "mellon")
        self.house.settle()
        self.house.commits.release()
        self.assertEqual(back.reply(asked).room, None if room == "den" else room)

    def test_locked_by_any_name(self) -> None:
        """A lock keeps out who was away also where the name is written in another way."""
        for room in ("Küche", "ＤＥＮ", "Den2"):
            ana, eve = self.house.visitor("ana", room), self.house.visitor("eve", room)
            token = self.asleep(eve)
            self.done(ana, "lock", "mellon")
            back = self.house.visitor()
            self.assertIsNone(back.ask("resume", f"{token} 0").room)
            for one in (ana, back):
                one.ask("close")

    def test_locked_while_all_is_read(self) -> None:
        """So does one that is set while what was said before a start is read for the first."""
        ana, eve = self.house.visitor("ana", "den"), self.house.visitor("eve", "den")
        token = self.asleep(eve)
        back = self.house.visitor()
        self.house.reads.hold()
        asked = back.begin("resume", f"{token} 0")
        self.house.commits.hold()
        ana.begin("lock", "mellon")
        self.house.settle()
        self.house.reads.release()
        self.house.settle()
        self.house.commits.release()
        self.house.settle()
        self.assertIsNone(back.reply(asked).room)

    def test_not_stored(self) -> None:
        """A lock that could not be stored holds, also for who was gone; and all are told."""
        ana, eve = self.house.visitor("ana", "den"), self.house.visitor("eve", "den")
        ben = self.house.visitor("ben", "den")
        token = self.asleep(eve)
        self.house.break_disk()
        ben.hear()
        self.error(ana, "internal", "lock", "mellon")
        self.assertEqual(ben.hear(), [Notice(text="den is locked now.")])
        self.assertIsNone(self.house.visitor().ask("resume", f"{token} 0").room)

    def test_locked_and_not_stored_yet(self) -> None:
        """So does one that is about to be stored when the session is read."""
        self.house = House(self.mktemp())
        ana, eve = self.house.visitor("ana", "den"), self.house.visitor("eve", "den")
        token = self.asleep(eve)
        back = self.house.visitor()
        self.house.commits.hold()
        ana.begin("say", "hi")
        asked = back.begin("resume", f"{token} 0")
        ana.begin("lock", "mellon")
        self.house.commits.release()
        self.house.settle()
        self.assertIsNone(back.reply(asked).room)

    def test_back_in_spite_of_a_lock(self) -> None:
        """Who was there when it was locked, or lingered, comes back, also after a restart."""
        for restarted in (False, True):
            self.house = House(self.mktemp())
            ana, ben = self.house.visitor("ana", "den"), self.house.visitor("ben", "den")
            tokens = [one.ask("hello").session for one in (ana, ben)]
            ben.drop()
            self.done(ana, "lock", "mellon")
            if restarted:
                self.house = self.house.restart()
            for token in tokens:
                back = self.house.visitor()
                self.assertEqual(back.ask("resume", f"{token} 0").room, "den")

    def test_most(self) -> None:
        """Guests can lock so many rooms; no lock ends for that, and who has an account may."""
        self.patch(rooms, "MOST_LOCKED", 3)
        self.house = House(self.mktemp())
        ana = self.house.visitor("ana")
        for number in range(3):
            ana.ask("create", f"den{number}")
            self.done(ana, "lock", "mellon")
        self.done(ana, "lock", "another")
        ana.ask("close")
        self.house.wait(60)
        for room in ("one", "two"):
            ben = self.house.visitor("ben", room)
            self.assertIn("/register", self.error(ben, "forbidden", "lock", "mellon"))
            self.assertEqual(list(self.house.registry.rooms), ["den0", "den1", "den2", room])
            self.house = self.house.restart()
        self.done(self.house.owner("zoe", "hers"), "lock", "mellon")
        ben = self.house.visitor("ben")
        self.assertIsInstance(ben.ask("join", "den0 mellon"), Joined)
        self.done(ben, "unlock")
        ben.ask("join", "more")
        self.done(ben, "lock", "mellon")

    def test_locked_anew_meanwhile(self) -> None:
        """Who tries the old password while it is changed is not let in."""
        ana, ben = self.house.visitor("ana", "den"), self.house.visitor()
        self.done(ana, "lock", "mellon")
        self.house.hashes.hold()
        ana.begin("lock", "new")
        joining = ben.begin("join", "den mellon")
        self.house.hashes.release()
        self.assertEqual(ben.reply(joining).code, "forbidden")

    def test_unlocked_and_locked_anew(self) -> None:
        """Nor is one who comes with any password before there is none, and then a new one."""
        ana, ben = self.house.visitor("ana", "den"), self.house.visitor(host=HERE)
        self.done(ana, "lock", "mellon")
        self.house.hashes.hold()
        # Those of one address take turns, so that the operator is before the second of them.
        for host in ("", HERE):
            self.house.visitor(host=host).begin("join", "den guess")
        joining = ben.begin("join", "den guess")
        ana.ask("unlock")
        ana.begin("lock", "new")
        self.house.hashes.release()
        self.assertEqual(ben.reply(joining).code, "forbidden")

    def test_told_in_order(self) -> None:
        """What others change while it is stored is told after the answer, to everybody alike."""
        boss, ana = self.house.owner("boss"), self.house.visitor("ana", "den")
        boss.ask("join", "den")
        ben = self.house.visitor("ben", "den")
        for first, then, kinds in (
            (("topic", "mine"), ("topic", "other"), (Topic, Topic)),
            (("unlock", ""), ("topic", "again"), (Done, Topic)),
        ):
            for visitor in (ana, ben):
                visitor.hear()
            self.house.commits.hold()
            asked = ana.begin(*first)
            boss.begin(*then)
            self.house.commits.release()
            reply, event = ana.hear()
            self.assertEqual((reply.re, type(reply), type(event)), (asked, *kinds))
            self.assertEqual(ben.hear()[-1], event)

    def test_unlocked_meanwhile(self) -> None:
        """Who gives a password while the room is unlocked comes in."""
        ana, ben = self.house.visitor("ana", "den"), self.house.visitor("ben")
        self.done(ana, "lock", "mellon")
        other = self.house.visitor("cem", "other")
        self.house.hashes.hold()
        other.begin("lock", "first in the line")
        asked = ben.begin("join", "den mellon")
        self.done(ana, "unlock")
        self.house.hashes.release()
        self.house.settle()
        self.assertIsInstance(ben.reply(asked), Joined)

    def test_not_locked(self) -> None:
        """Who gives a password where none is needed is told so; that is no part of the name."""
        self.house.visitor("ana", "den")
        error = self.error(self.house.visitor("ben"), "bad_argument", "join", "den mellon")
        self.assertIn("den is not locked", error)

    def test_stays_where_one_was(self) -> None:
        """Who is refused stays in the room where one was."""
        self.done(self.house.visitor("ana", "den"), "lock", "mellon")
        ben = self.house.visitor("ben", "lobby")
        self.error(ben, "forbidden", "join", "den guess")
        self.assertEqual(ben.ask("users").room, "lobby")

    def test_unlock_nothing_else(self) -> None:
        """It opens the room one is in, and says so to who names another."""
        ana = self.house.owner("ana", "lobby")
        self.done(ana, "lock", "secret")
        self.assertEqual(ana.ask("unlock", "attic").code, "bad_argument")
        self.assertEqual(ana.ask("bans", "attic").code, "bad_argument")
        self.assertTrue(self.house.registry.rooms["lobby"].locked)

    def test_unlocked(self) -> None:
        """An unlocked room lets everyone in again."""
        ana = self.house.visitor("ana", "den")
        self.done(ana, "lock", "mellon")
        self.done(ana, "unlock")
        self.assertIsInstance(self.house.visitor().ask("join", "den"), Joined)
        self.assertFalse(ana.ask("list").rooms[0].locked)

    def test_operator_away(self) -> None:
        """A registered operator needs no password."""
        ana = self.house.owner("ana", "den")
        self.done(ana, "lock", "mellon")
        ana.ask("leave")
        self.assertIsInstance(ana.ask("join", "den"), Joined)

    def test_bounds(self) -> None:
        """A lock needs a password of 1 to 1024 bytes."""
        ana = self.house.visitor("ana", "den")
        for password in ("", "  ", "x" * 1025):
            self.error(ana, "bad_argument", "lock", password)
        self.assertFalse(ana.ask("list").rooms[0].locked)

    def test_banned_meanwhile(self) -> None:
        """Who is banned while the password is being checked does not come in with it."""
        ana, ben = self.house.owner("ana", "den"), self.house.visitor("ben")
        self.done(ana, "lock", "mellon")
        self.house.hashes.hold()
        asked = ben.begin("join", "den mellon")
        self.done(ana, "ban", "ben")
        self.house.hashes.release()
        self.house.settle()
        self.assertIsInstance(ben.reply(asked), Error)
        self.assertEqual(self.here(), ["ana"])

    def test_lost_power_meanwhile(self) -> None:
        """A lock by one who was operator no more when it was made is none."""
        ana, ben = self.house.owner("ana", "den"), self.house.visitor("ben", "den")
        self.done(ana, "op", "ben")
        self.house.hashes.hold()
        asked = ben.begin("lock", "mellon")
        self.done(ana, "deop", "ben")
        self.done(ana, "kick", "ben")
        self.house.hashes.release()
        self.house.settle()
        self.assertIsInstance(ben.reply(asked), Error)
        self.assertFalse(ana.ask("list").rooms[0].locked)


class InviteTests(HouseTestCase):
    def test_once(self) -> None:
        """Who is invited is told, and may join once in spite of the lock."""
        ana, ben = self.house.visitor("ana", "den"), self.house.visitor("ben")
        self.done(ana, "lock", "mellon")
        self.done(ana, "invite", "ben")
        self.assertIn("/join den", str(ben.hear()[-1]))
        self.assertIsInstance(ben.ask("join", "den"), Joined)
        ben.ask("leave")
        self.error(ben, "forbidden", "join", "den")

    def test_banned(self) -> None:
        """And in spite of a ban."""
        ana, ben = self.house.visitor("ana", "den"), self.house.visitor("ben", "den")
        self.done(ana, "ban", "ben")
        self.done(ana, "invite", "ben")
        self.assertIsInstance(ben.ask("join", "den"), Joined)
        ben.ask("leave")
        self.error(ben, "forbidden", "join", "den")

    def test_taken_back(self) -> None:
        """Who is banned afterwards is invited no more; who is inside is not invited for later."""
        ana, ben = self.house.visitor("ana", "den"), self.house.visitor("ben")
        self.done(ana, "invite", "ben")
        self.done(ana, "ban", "ben")
        self.error(ben, "forbidden", "join", "den")
        zoe = self.house.visitor("zoe")
        self.done(ana, "invite", "zoe")
        self.done(zoe, "register", SECRET)
        self.done(ana, "ban", "zoe")
        self.error(zoe, "forbidden", "join", "den")
        cem = self.house.visitor("cem", "den")
        self.done(ana, "lock", "mellon")
        self.assertIn("already", ana.ask("invite", "cem").text)
        self.done(ana, "kick", "cem")
        self.error(cem, "forbidden", "join", "den")

    def test_logged_in(self) -> None:
        """An invited guest who then logs in is invited still."""
        ana = self.house.visitor("ana", "den")
        self.house.owner("zoe").ask("close")
        ben = self.house.visitor("ben")
        self.done(ana, "lock", "mellon")
        self.done(ana, "invite", "ben")
        self.done(ben, "login", f"zoe {SECRET}")
        self.assertIsInstance(ben.ask("join", "den"), Joined)
        ben.ask("leave")
        self.error(ben, "forbidden", "join", "den")

    def test_not_used_up(self) -> None:
        """An invitation is for that one alone, and goes with a new name."""
        ana, ben, cem = (self.house.visitor(name) for name in ("ana", "ben", "cem"))
        ana.ask("join", "den")
        self.done(ana, "lock", "mellon")
        self.done(ana, "invite", "ben")
        self.error(cem, "forbidden", "join", "den")
        ben.ask("name", "zoe")
        self.assertIsInstance(ben.ask("join", "den"), Joined)

    def test_no_operator(self) -> None:
        """Who is invited to a locked room that nobody runs any more does not run it."""
        ana, ben = self.house.visitor("ana", "den"), self.house.visitor("ben")
        self.done(ana, "lock", "mellon")
        self.done(ana, "invite", "ben")
        ana.ask("leave")
        self.assertIsInstance(ben.ask("join", "den"), Joined)
        self.error(ben, "forbidden", "unlock")

    def test_nobody(self) -> None:
        """Who is not here cannot be invited."""
        ana = self.house.visitor("ana", "den")
        self.error(ana, "no_such_user", "invite", "nobody")
        self.error(ana, "bad_argument", "invite", "")

    def test_bound(self) -> None:
        """Invitations that nobody takes up do not gather for ever; the newest are good."""
        ana = self.house.owner("ana", "den")
        self.done(ana, "lock", "mellon")
        for number in range(MOST_SANCTIONS + 50):
            user, _ = self.house.user(f"u{number}")
            self.done(ana, "invite", f"u{number}")
            user.quit()
            ana.wire.clear()
        last = self.house.visitor("last")
        self.done(ana, "invite", "last")
        self.assertIsInstance(last.ask("join", "den"), Joined)
        self.assertLessEqual(len(self.house.registry.rooms["den"].rules.invited), MOST_SANCTIONS)
