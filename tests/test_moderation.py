"""Those who are kicked, banned or muted, by operators and by admins, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

from pylingo import history, rooms
from pylingo.protocol import (
    LARGEST_EVENT,
    Closing,
    Done,
    Error,
    Joined,
    Left,
    Message,
    Notice,
    Renamed,
    Sent,
    Topic,
    Welcome,
    encode,
)
from pylingo.rules import MOST_SANCTIONS, Sanction
from tests.house import (
    HERE,
    SECRET,
    THERE,
    House,
    HouseTestCase,
    Visitor,
    events,
    notes,
    request,
    texts,
    wait,
)


class KickTests(HouseTestCase):
    def test_kicked(self) -> None:
        """Who is kicked is out of the room, hears by whom and why, and may come back."""
        ana, ben, cem = (self.house.visitor(name, "den") for name in ("ana", "ben", "cem"))
        for visitor in (ana, ben, cem):
            visitor.hear()
        self.done(ana, "kick", "BEN  too\tloud ")
        left = Left(room="den", user="ben", reason="kicked by ana: too loud")
        self.assertEqual(ben.hear(), [left])
        self.assertEqual(cem.hear(), [left])
        self.assertFalse(ben.closed)
        self.error(ben, "not_in_room", "say", "hi")
        self.assertIsInstance(ben.ask("join", "den"), Joined)

    def test_refused(self) -> None:
        """One who is not in the room, or not here, or oneself, cannot be kicked."""
        ana = self.house.visitor("ana", "den")
        self.house.visitor("ben", "lobby")
        for name in ("ben", "nobody"):
            self.error(ana, "no_such_user", "kick", name)
        self.error(ana, "bad_argument", "kick", "ana")
        self.error(ana, "bad_argument", "kick", "ben " + "x" * 1025)
        self.error(ana, "bad_argument", "kick", "")

    def test_answered_first(self) -> None:
        """What somebody has said who is put out of the chat is answered, and closing comes last."""
        boss, ben = self.house.owner("boss"), self.house.visitor("ben", "den")
        ben.hear()
        self.house.commits.hold()
        ben.send(request("say", "one", 1))
        asked = boss.begin("kick", "ben")
        self.house.settle()
        ben.send(request("say", "two", 2))
        self.house.commits.step()
        self.house.settle()
        ben.send(request("say", "three", 3))
        self.house.commits.release()
        self.house.settle()
        self.assertIsInstance(boss.reply(asked), Done)
        *answers, last = (event for event in ben.hear() if event.re or isinstance(event, Closing))
        self.assertIsInstance(last, Closing)
        said = [re for re in (1, 2, 3) if any(event.re == re for event in answers)]
        count = self.house.database.reader.execute("SELECT count(*) FROM messages").fetchone()[0]
        self.assertEqual(said, [1, 2, 3][:count])
        self.assertGreaterEqual(count, 2)
        self.assertTrue(ben.closed)

    def test_stopped_meanwhile(self) -> None:
        """Who was kicked hears that, although the server stops before it could be said."""
        boss, ben = self.house.owner("boss"), self.house.visitor("ben", "den")
        ben.hear()
        self.house.commits.hold()
        ben.send(request("say", "one", 1))
        boss.begin("kick", "ben")
        self.house.settle()
        self.house.commits.step()
        ben.send(request("say", "two", 2))
        self.house.settle()
        self.house.commits.step()
        self.house.settle()
        wait(self.house.factory.stop())
        self.house.wait(2)
        self.house.commits.release()
        self.house.settle()
        closing = [event.reason for event in ben.hear() if isinstance(event, Closing)]
        self.assertEqual(closing, ["kicked"])

    def test_lingering(self) -> None:
        """One who lingers can be, and is not in the room after resuming."""
        ana, ben = self.house.visitor("ana", "den"), self.house.visitor("ben", "den")
        ben.drop()
        self.done(ana, "kick", "ben")
        back = self.house.visitor()
        self.assertEqual(back.ask("resume", f"{ben.welcome.session} 0").room, None)

    def test_stays_out(self) -> None:
        """A kick is not undone by a restart of the server."""
        ana, ben = self.house.owner("ana", "den"), self.house.visitor("ben", "den")
        self.done(ana, "kick", "ben")
        ana.ask("ping")
        self.house = self.house.restart(**self.options)
        back = self.house.visitor()
        self.assertEqual(back.ask("resume", f"{ben.welcome.session} 0").room, None)

    def test_while_joining(self) -> None:
        """One who is kicked while the join waits for the disk is answered, and is out."""
        ana, ben = self.house.visitor("ana", "den"), self.house.visitor("ben")
        self.house.reads.hold()
        asked = ben.begin("join", "den")
        self.done(ana, "kick", "ben")
        self.house.reads.release()
        self.house.settle()
        self.assertIsNotNone(ben.reply(asked))
        self.assertEqual(self.here(), ["ana"])
        self.assertIsInstance(ben.hear()[-1], Left)


class BanTests(HouseTestCase):
    def test_guest(self) -> None:
        """A banned guest is out, and kept out: by session, by name, and by address."""
        ana = self.house.visitor("ana", "den")
        eve = self.house.visitor("eve", "den", host=HERE)
        eve.hear()
        self.assertIn("from that address", ana.ask("ban", "eve spam").text)
        self.assertEqual(eve.hear(), [Left(room="den", user="eve", reason="banned by ana: spam")])
        self.assertIn("spam", self.error(eve, "forbidden", "join", "den"))
        eve.ask("name", "mallory")
        self.error(eve, "forbidden", "join", "den")
        beside = self.error(self.house.visitor("innocent", host=HERE), "forbidden", "join", "den")
        self.assertIn("Guests from your address", beside)
        self.error(self.house.visitor("eve", host=THERE), "forbidden", "join", "den")
        self.assertIsInstance(self.house.visitor("ben", host=THERE).ask("join", "den"), Joined)

    def test_two_of_one_address(self) -> None:
        """Each of several who were banned from one address is told of their own ban."""
        ana = self.house.visitor("ana", "den")
        banned = {name: self.house.visitor(name, "den", host=HERE) for name in ("eve", "mal")}
        for name in banned:
            self.done(ana, "ban", f"{name} for being {name}")
        for name, visitor in banned.items():
            self.assertIn(f"being {name}", self.error(visitor, "forbidden", "join", "den"))

    def test_registering_is_no_way_out(self) -> None:
        """A banned guest who registers another name is still banned, and a muted one muted."""
        ana = self.house.visitor("ana", "den")
        eve = self.house.visitor("eve", "den", host=HERE)
        mia = self.house.visitor("mia", "den", host=THERE)
        self.done(ana, "ban", "eve")
        self.done(ana, "mute", "mia")
        eve.ask("name", "innocent")
        self.done(eve, "register", SECRET)
        self.done(mia, "register", SECRET)
        self.error(eve, "forbidden", "join", "den")
        self.error(mia, "forbidden", "say", "hi")

    def test_neighbours(self) -> None:
        """Those who share the address are not thrown out, and owners of names may come in."""
        ana = self.house.visitor("ana", "den")
        self.house.visitor("eve", "den", host=HERE)
        ben = self.house.visitor("ben", "den", host=HERE)
        self.done(ana, "ban", "eve")
        self.assertEqual(self.here(), ["ana", "ben"])
        self.assertIsInstance(ben.ask("say", "hi"), Sent)
        self.assertEqual(self.house.owner("zoe", "den", host=HERE).ask("users").room, "den")

    def test_gone(self) -> None:
        """A guest who has gone, or has another name now, can still be banned by the one known."""
        ana = self.house.visitor("ana", "den")
        eve = self.house.visitor("eve", "den", host=HERE)
        eve.ask("say", "something rude")
        eve.ask("name", "mallory")
        self.done(ana, "ban", "eve")
        self.assertEqual(self.here(), ["ana"])
        self.error(eve, "forbidden", "join", "den")
        mia = self.house.visitor("mia", "den", host=THERE)
        mia.ask("close")
        self.assertIn("from that address", ana.ask("ban", "mia").text)
        self.error(self.house.visitor("another", host=THERE), "forbidden", "join", "den")
        self.error(ana, "no_such_user", "ban", "nobody")

    def test_nameless_and_gone(self) -> None:
        """So can one who never took a name, and said something."""
        ana, eve = self.house.visitor("ana", "den"), self.house.visitor("", "den")
        eve.ask("say", "something rude")
        name = eve.ask("users").users[1]
        eve.ask("close")
        self.done(ana, "ban", name)

    def test_address_of_today(self) -> None:
        """By a former name, too, it is the address of today that counts, unless it is one's own."""
        for before, now, kept_out in ((THERE, HERE, False), (HERE, THERE, True)):
            self.house = House(self.mktemp(), rate=0)
            ana = self.house.visitor("ana", "den", host=HERE)
            eve = self.house.visitor("eve", "den", host=before)
            eve.ask("say", "something rude")
            eve.ask("name", "mallory")
            eve.drop()
            token = eve.welcome.session
            self.house.visitor(host=now).ask("resume", f"{token} 0")
            self.assertEqual("from that address; " in ana.ask("ban", "eve").text, kept_out)
            beside = self.house.visitor("beside", host=now).ask("join", "den")
            self.assertIsInstance(beside, Error if kept_out else Joined)

    def test_former_name(self) -> None:
        """By a former name nobody can be banned or muted who cannot be by the present one."""
        self.house = House(admins=frozenset({"boss"}))
        ana = self.house.visitor("first")
        boss = self.house.visitor("temp")
        ana.ask("name", "ana")
        ana.ask("join", "den")
        boss.ask("name", "temp2")
        boss.ask("name", "boss")
        self.done(boss, "register", SECRET)
        boss.ask("join", "den")
        for command in ("ban", "mute"):
            self.error(ana, "forbidden", command, "temp")
            self.error(ana, "bad_argument", command, "first")

    def test_gone_are_forgotten(self) -> None:
        """So many who are gone are known, the last; and the present owner of a name comes first."""
        self.patch(rooms, "MOST_GONE", 2)
        ana = self.house.visitor("ana", "den")
        for name in ("one", "two", "three", "two", "four"):
            self.house.visitor(name, "den", host=HERE).ask("close")
        ben = self.house.visitor("two", "den", host=THERE)
        for name in ("one", "three"):
            self.error(ana, "no_such_user", "ban", name)
        self.done(ana, "mute", "four")
        self.done(ana, "ban", "two")
        self.error(ben, "forbidden", "join", "den")
        self.assertIsInstance(self.house.visitor("x", host=HERE).ask("join", "den"), Joined)

    def test_owner(self) -> None:
        """A registered name is banned by name: away or here, under whatever other name."""
        ana = self.house.visitor("ana", "den")
        eve = self.house.owner("eve", "den", host=HERE)
        eve.ask("name", "mallory")
        self.done(ana, "ban", "mallory spam")
        self.assertEqual(self.here(), ["ana"])
        self.error(eve, "forbidden", "join", "den")
        eve.ask("close")
        self.error(ana, "no_such_user", "ban", "mallory")
        self.error(self.house.owner("eve", host=THERE), "forbidden", "join", "den")
        self.house.owner("zoe").ask("close")
        self.done(ana, "ban", "zoe")
        self.error(self.house.owner("zoe"), "forbidden", "join", "den")

    def test_lifted_by_the_name_shown(self) -> None:
        """What `bans` shows can be lifted by that, also where it was not the name of one's own."""
        ana, eve = self.house.visitor("ana", "den"), self.house.owner("eve", "den")
        eve.ask("name", "mallory")
        for command, lift in (("ban", "unban"), ("mute", "unmute")):
            self.done(ana, command, "mallory")
            self.done(ana, lift, "mallory")
            self.done(ana, command, "mallory")
            self.done(ana, lift, "eve")
        self.assertEqual(ana.ask("bans").text, "Nobody is banned.")

    def test_told_of_the_end(self) -> None:
        """Who is muted, banned or operator no more is told."""
        ana, eve = self.house.visitor("ana", "den"), self.house.visitor("eve", "den")
        for command, lift, what in (
            ("mute", "unmute", "not muted in den any more"),
            ("op", "deop", "not an operator of den any more"),
            ("ban", "unban", "not banned from den any more"),
        ):
            ana.ask(command, "eve")
            eve.hear()
            self.done(ana, lift, "eve")
            (told,) = eve.hear()
            self.assertIn(what, str(told))

    def test_lifted_by_the_name_of_today(self) -> None:
        """What a guest was given is lifted by the name of today as well."""
        ana, eve = self.house.visitor("ana", "den"), self.house.visitor("eve", "den")
        self.done(ana, "mute", "eve")
        eve.ask("name", "mallory")
        self.done(ana, "unmute", "mallory")
        self.assertIsInstance(eve.ask("say", "hi"), Sent)

    def test_lifted_from_nobody_else(self) -> None:
        """By a name that is not banned, or muted, of one here or of nobody, nothing is lifted."""
        ana, ben = self.house.visitor("ana", "den"), self.house.visitor("ben", "den")
        eve = self.house.visitor("eve", "den")
        for give, lift in (("mute", "unmute"), ("ban", "unban")):
            self.done(ana, give, "eve")
            for name in ("ben", "nobody"):
                self.error(ana, "no_such_user", lift, name)
        self.error(eve, "forbidden", "join", "den")
        self.assertEqual(len(self.house.registry.rooms["den"].rules.mutes), 1)
        self.assertIsInstance(ben.ask("say", "hi"), Sent)

    def test_unbanned(self) -> None:
        """Who is not banned any more may join; who is not banned cannot be unbanned."""
        ana, eve = self.house.visitor("ana", "den"), self.house.visitor("eve", "den")
        self.done(ana, "ban", "eve")
        self.done(ana, "unban", "EVE")
        self.assertIsInstance(eve.ask("join", "den"), Joined)
        self.error(ana, "no_such_user", "unban", "eve")
        self.error(ana, "bad_argument", "unban", "")

    def beside(self) -> tuple[Visitor, Visitor]:
        """An admin, and zoe in the den, who shares the address of one who was banned."""
        boss, zoe = self.house.owner("boss"), self.house.visitor("zoe", "den", host=HERE)
        self.house.visitor("eve", host=HERE)
        self.done(boss, "ban", "eve")
        return boss, zoe

    def test_beside_and_killed(self) -> None:
        """Who shares the address of one who was banned comes back as who they were at the end."""
        for command, host in (("", THERE), ("unban", HERE), ("ban", HERE)):
            self.setUp()
            boss, zoe = self.beside()
            zoe.ask("name", "zoe2")
            zoe.ask("join", "attic")
            if command:
                # From there the ban is without the address.
                boss.ask("close")
                self.done(self.house.owner("boss", host=HERE), command, "eve")
            self.house = self.house.restart()
            back = self.house.visitor(host=host).ask("resume", f"{zoe.welcome.session} 0")
            self.assertEqual((back.user, back.room), ("zoe2", "attic"), command)

    def test_from_elsewhere_and_killed(self) -> None:
        """So does who comes back from another address before the link from that one has broken."""
        _, zoe = self.beside()
        moved = self.house.visitor(host=THERE).ask("resume", f"{zoe.welcome.session} 0")
        self.assertEqual(moved.room, "den")
        self.house = self.house.restart()
        back = self.house.visitor(host=THERE).ask("resume", f"{moved.session} 0")
        self.assertEqual((back.user, back.room), ("zoe", "den"))

    def test_beside_and_away(self) -> None:
        """So does whose link breaks, and nobody hears of it; who only looked in has nothing."""
        boss, zoe = self.beside()
        ana = self.house.visitor("ana", "den")
        other = self.house.visitor(host=HERE)
        self.error(other, "forbidden", "join", "den")
        for gone in (zoe, other):
            gone.drop()
        self.house.settle()
        self.assertEqual(ana.hear(), [])
        back = self.house.visitor(host=THERE)
        self.error(back, "not_resumable", "resume", f"{other.welcome.session} 0")
        resumed = back.ask("resume", f"{zoe.welcome.session} 0")
        self.assertEqual((resumed.user, resumed.room), ("zoe", "den"))
        self.done(boss, "kick", "zoe")

    def test_list(self) -> None:
        """`bans` shows who, by whom and why; the address is for admins only."""
        ana = self.house.visitor("ana", "den")
        self.assertEqual(ana.ask("bans").text, "Nobody is banned.")
        self.house.visitor("eve", "den", host=HERE)
        self.done(ana, "ban", "eve too much spam")
        self.assertEqual(ana.ask("bans").text, "eve was banned by ana: too much spam")
        boss = self.house.owner("boss", "den")
        self.assertEqual(boss.ask("bans").text, f"eve [{HERE}] was banned by ana: too much spam")
        for event in ana.heard:
            self.assertNotIn(HERE, str(event))

    def test_list_of_mutes(self) -> None:
        """`mutes` shows the same of who is silenced, in the room or, to an admin, everywhere."""
        ana = self.house.visitor("ana", "den")
        self.assertEqual(ana.ask("mutes").text, "Nobody is muted.")
        self.house.visitor("eve", "den", host=HERE)
        self.done(ana, "mute", "eve shouts")
        self.assertEqual(ana.ask("mutes").text, "eve was muted by ana: shouts")
        self.assertEqual(ana.ask("bans").text, "Nobody is banned.")
        boss = self.house.owner("boss")
        self.assertEqual(boss.ask("mutes").text, "Nobody is muted.")
        self.done(boss, "mute", "eve")
        self.assertEqual(boss.ask("mutes").text, "eve was muted by boss")
        self.error(ana, "bad_argument", "mutes", "den")

    def test_longest_list(self) -> None:
        """The longest list of bans fits a frame."""
        ana = self.house.visitor("ana", "den")
        rules = self.house.registry.rooms["den"].rules
        for number in range(MOST_SANCTIONS):
            name = f"eve{number}"
            rules.bans.add(Sanction(name, name, "~9", HERE, "ana", '"' * 1024))
        ana.hear()
        asked = ana.ask("bans")
        self.assertIsInstance(asked, Done)
        self.assertLessEqual(len(encode(asked)) - 4, LARGEST_EVENT)

    def test_most(self) -> None:
        """Of bans there is a bound, which is told."""
        ana = self.house.visitor("ana", "den")
        rules = self.house.registry.rooms["den"].rules
        for number in range(MOST_SANCTIONS):
            name = f"eve{number}"
            rules.bans.add(Sanction(name, name, "~9", HERE, "ana", ""))
        self.house.visitor("last", "den")
        self.error(ana, "bad_argument", "ban", "last")
        self.assertEqual(self.here(), ["ana", "last"])
        self.done(ana, "unban", "eve5")
        self.done(ana, "ban", "last")

    def test_refused(self) -> None:
        """Oneself, and nobody, cannot be banned or muted."""
        ana = self.house.owner("ana", "den")
        for command in ("ban", "mute"):
            self.error(ana, "bad_argument", command, "ana")
            self.error(ana, "no_such_user", command, "nobody")
            self.error(ana, "bad_argument", command, "")
            self.error(ana, "no_such_user", "un" + command, "nobody")
        guest = self.house.visitor("guest", "lair")
        self.error(guest, "bad_argument", "ban", "guest")

    def test_resume(self) -> None:
        """Who is banned while away does not come back into the room by resuming."""
        ana = self.house.owner("ana", "den")
        eve = self.house.owner("eve", "den")
        eve.drop()
        self.house.wait(70)
        self.done(ana, "ban", "eve")
        back = self.house.visitor()
        self.assertEqual(back.ask("resume", f"{eve.welcome.session} 0").room, None)

    def test_away_and_elsewhere(self) -> None:
        """A session from before a ban does not lead past a lock, whoever its owner is by now."""
        ana, eve = self.house.visitor("ana", "den"), self.house.owner("eve", "den")
        self.done(ana, "lock", "mellon")
        token = self.asleep(eve)
        self.done(ana, "ban", "eve")
        self.house.owner("eve")
        back = self.house.visitor()
        self.assertIsNone(back.ask("resume", f"{token} 0").room)
        self.error(back, "forbidden", "join", "den")

    def test_superseded(self) -> None:
        """A session that lost its account to a later login is banned with the account."""
        for server, restarted in product((False, True), repeat=2):
            self.house = House(self.mktemp(), **self.options)
            boss = self.house.owner("boss", "" if server else "den")
            eve = self.house.owner("eve", "den")
            eve.ask("name", "other")
            eve.drop()
            self.house.owner("eve")
            self.done(boss, "ban", "eve")
            if restarted:
                self.house = self.house.restart(**self.options)
            reply = self.house.visitor().ask("resume", f"{eve.welcome.session} 0")
            if server:
                self.assertEqual(reply.code, "forbidden")
            else:
                self.assertIsNone(reply.room)

    def test_superseded_in_peace(self) -> None:
        """Otherwise it comes back as a guest, by the name that it had, and to the room."""
        eve = self.house.owner("eve", "den")
        eve.ask("name", "other")
        eve.drop()
        self.house.owner("eve")
        reply = self.house.visitor().ask("resume", f"{eve.welcome.session} 0")
        self.assertEqual((reply.user, reply.room), ("other", "den"))

    def test_logged_in_since(self) -> None:
        """A guest who has logged in is banned, and muted, by the name that was seen before."""
        ana = self.house.visitor("ana", "den")
        self.house.owner("sock").ask("close")
        eve = self.house.visitor("eve", "den")
        eve.ask("say", "something rude")
        eve.ask("leave")
        eve.ask("login", f"sock {SECRET}")
        self.done(ana, "mute", "eve")
        self.done(ana, "ban", "eve")
        self.error(eve, "forbidden", "join", "den")
        self.assertEqual([*self.house.registry.rooms["den"].rules.bans], ["sock"])

    def test_used_by_another_since(self) -> None:
        """A name that somebody else has used since does not stand for the guest of before."""
        self.house.owner("sock").ask("close")
        ana, zed = self.house.visitor("ana", "den"), self.house.owner("zed", "den")
        for name, further in (("bob", ("login", f"sock {SECRET}")), ("cid", ("name", "dan"))):
            guest = self.house.visitor(name, "den")
            guest.ask(*further)
            zed.ask("name", name)
            zed.ask("name", "zed")
            self.error(ana, "no_such_user", "ban", name)

    def test_hidden_by_another(self) -> None:
        """It stands for one who is gone, though, for nobody is to hide them by borrowing it."""
        ana, zed = self.house.visitor("ana", "den"), self.house.owner("zed")
        eve = self.house.visitor("eve", "den", host=HERE)
        eve.ask("close")
        zed.ask("name", "eve")
        zed.ask("name", "zed")
        self.assertIn("eve is banned", self.done(ana, "ban", "eve"))

    def test_namesake_of_an_account(self) -> None:
        """A ban of the account that somebody else has made of a name spares the guest of before."""
        boss = self.house.owner("boss")
        ben = self.house.visitor("ben", "den")
        guest = self.house.visitor("eve", "den")
        token = self.asleep(guest)
        eve = self.house.owner("eve")
        self.done(eve, "password", "another")
        self.done(ben, "ban", "eve")
        self.done(boss, "ban", "eve")
        reply = self.house.visitor().ask("resume", f"{token} 0")
        self.assertEqual((reply.user[:6], reply.room), ("guest-", "den"))

    def test_before_and_after_a_login(self) -> None:
        """What was given to a guest, and to the account since, is lifted in one."""
        ana, eve = self.house.visitor("ana", "den"), self.house.visitor("eve", "den")
        self.done(ana, "mute", "eve")
        self.done(eve, "register", SECRET)
        self.done(ana, "mute", "eve")
        self.done(ana, "unmute", "eve")
        self.assertIsInstance(eve.ask("say", "hi"), Sent)

    def test_by_several_names(self) -> None:
        """To lift what was given twice, by two names of the same one, is to lift it."""
        ana, eve = self.house.visitor("ana", "den"), self.house.visitor("eve", "den")
        for command, name in (("mute", "zoe"), ("ban", "ida")):
            self.done(ana, command, eve.ask("name", "eve").to)
            eve.ask("name", name)
            self.done(ana, command, name)
            self.done(ana, f"un{command}", name)
        self.assertIsInstance(eve.ask("join", "den"), Joined)
        self.assertIsInstance(eve.ask("say", "hi"), Sent)

    def test_two_of_a_name(self) -> None:
        """Who is banned stays so when another one comes by that name, and is banned as well."""
        ana = self.house.visitor("ana", "den")
        first, second = self.house.visitor("eve", host=HERE), self.house.visitor(host=THERE)
        self.done(ana, "ban", "eve")
        first.ask("name", "other")
        second.ask("name", "eve")
        self.done(ana, "ban", "eve")
        self.error(first, "forbidden", "join", "den")
        self.error(second, "forbidden", "join", "den")
        self.error(self.house.visitor(host=HERE), "forbidden", "join", "den")
        for _ in range(2):
            self.done(ana, "unban", "eve")
        self.assertIsInstance(first.ask("join", "den"), Joined)

    def test_guest_by_login(self) -> None:
        """A guest's session is not resumed from a banned address, whoever asks for it."""
        boss = self.house.owner("boss", host=THERE)
        self.house.owner("bob", host=HERE).ask("close")
        token = self.asleep(self.house.visitor("ana", host=HERE))
        self.house.visitor("eve", host=HERE)
        self.done(boss, "ban", "eve")
        bob = self.house.owner("bob", host=HERE)
        self.error(bob, "forbidden", "resume", f"{token} 0")

    def test_namesake_away(self) -> None:
        """Who is away with the name of a banned guest is kept out as who comes with it."""
        ana = self.house.visitor("ana", "den")
        first = self.house.visitor("eve", "den")
        token = self.asleep(first)
        self.house.visitor("eve", "den")
        self.done(ana, "ban", "eve")
        self.assertIsNone(self.house.visitor().ask("resume", f"{token} 0").room)

    def test_banned_while_catching_up(self) -> None:
        """Who is sent out while the past is told hears nothing more of that room."""
        for what in ("ban", "kick"):
            self.patch(history, "PIECE", 3)
            self.house = House(self.mktemp(), **self.options)
            ana, eve = self.house.owner("ana", "den"), self.house.visitor("eve", "den")
            last = ana.ask("say", "one").id
            eve.drop()
            for number in range(4):
                ana.ask("say", f"missed {number}")
            back = self.house.visitor()
            self.house.reads.hold()
            back.begin("resume", f"{eve.welcome.session} {last}")
            self.done(ana, what, "eve")
            ana.ask("say", "secret")
            self.house.reads.release()
            heard = back.hear()
            self.assertIn("missed 2", texts(heard))
            self.assertNotIn("secret", texts(heard))
            self.assertIn(Left, map(type, heard))

    def test_admin_is_let_in(self) -> None:
        """Who was banned as a guest, and is admin by now, comes back; not who has the guest's."""
        ana, eve = self.house.visitor("ana", "den"), self.house.visitor("eve", "den")
        self.house.owner("boss").ask("close")
        self.done(ana, "ban", "eve")
        eve.ask("login", f"boss {SECRET}")
        eve.ask("join", "den")
        token = self.asleep(eve)
        self.assertEqual(self.house.visitor().ask("resume", f"{token} 0").room, "den")

    def test_operator_no_more(self) -> None:
        """Who was let in for an account that somebody else has by now is a banned guest again."""
        ana, eve = self.house.owner("ana", "den"), self.house.visitor("eve", "den")
        self.house.owner("mia").ask("close")
        self.done(ana, "op", "mia")
        self.done(ana, "ban", "eve")
        eve.ask("login", f"mia {SECRET}")
        self.assertIsInstance(eve.ask("join", "den"), Joined)
        token = self.asleep(eve)
        self.house.owner("mia")
        self.assertIsNone(self.house.visitor().ask("resume", f"{token} 0").room)

    def test_banned_before_it_is_stored(self) -> None:
        """A ban that could not be stored holds for who was away, too."""
        ana, eve = self.house.visitor("ana", "den"), self.house.visitor("eve", "den")
        token = self.asleep(eve)
        self.house.break_disk()
        self.error(ana, "internal", "ban", "eve")
        self.assertIsNone(self.house.visitor().ask("resume", f"{token} 0").room)

    def test_banned_while_one_comes_back(self) -> None:
        """A ban that is set while a session is being read holds for it, too."""
        ana, eve = self.house.visitor("ana", "den"), self.house.visitor("eve", "den")
        token = self.asleep(eve)
        back = self.house.visitor()
        self.house.reads.hold()
        asked = back.begin("resume", f"{token} 0")
        self.house.reads.waiting[0].run()
        banning = ana.begin("ban", "eve")
        self.assertIsInstance(ana.reply(banning), Done)
        self.house.reads.release()
        self.assertIsNone(back.reply(asked).room)

    def test_let_in_again(self) -> None:
        """Who was banned, and is operator by now, comes back; who was invited was so for once."""
        ana = self.house.owner("ana", "den")
        eve, mia = self.house.visitor("eve", "den"), self.house.owner("mia", "den")
        tokens = [one.ask("hello").session for one in (eve, mia)]
        for name in ("eve", "mia"):
            self.done(ana, "ban", name)
        self.done(ana, "invite", "eve")
        self.done(ana, "op", "mia")
        for one in (eve, mia):
            self.assertIsInstance(one.ask("join", "den"), Joined)
        self.house = self.house.restart(**self.options)
        rooms = [self.house.visitor().ask("resume", f"{token} 0").room for token in tokens]
        self.assertEqual(rooms, [None, "den"])

    def test_noted(self) -> None:
        """Who did what to whom is in the server's log, and where; why is at the end."""
        said = notes(self)
        ana = self.house.visitor("ana", "den")
        for name in ("eve", "mia"):
            self.house.visitor(name, "den")
        self.house.owner("zoe").ask("close")
        self.done(ana, "ban", "zoe spam")
        self.done(ana, "mute", "eve loud.")
        self.done(ana, "kick", "mia spam, from the whole server")
        for command in ("unban zoe", "unmute eve", "op eve", "deop eve", "lock sesame", "unlock"):
            self.done(ana, *command.split())
        for note in (
            "zoe was banned from den by ana: spam",
            "eve was muted in den by ana: loud",
            "mia was kicked from den by ana: spam, from the whole server",
            "zoe was unbanned from den by ana",
            "eve was unmuted in den by ana",
            "eve was made an operator of den by ana",
            "eve was removed as an operator of den by ana",
            "den was locked by ana",
            "den was unlocked by ana",
        ):
            self.assertEqual(said.count(note), 1, said)
        self.assertNotIn("sesame", "\n".join(said))

    def test_numbers(self) -> None:
        """After a restart nobody gets the name of a guest who is banned or muted."""
        ana = self.house.owner("ana", "den")
        guests = [self.house.visitor(room="den", host=f"192.0.2.{n}") for n in range(3)]
        named = [guest.welcome.user for guest in guests]
        self.done(ana, "ban", named[1])
        self.done(ana, "mute", named[2])
        guests[2].ask("close")
        self.house = self.house.restart(**self.options)
        for _ in range(4):
            guest = self.house.visitor(room="den", host=HERE)
            self.assertIsInstance(guest.ask("say", "hi"), Sent)
            self.assertNotIn(guest.welcome.user, named)

    def test_gone_before_a_restart(self) -> None:
        """Who was there before a restart, and may come back, can be banned by the name they had."""
        ana, eve = self.house.owner("ana", "den"), self.house.visitor("Eve", "den")
        self.house.visitor("mia", "den")
        token = eve.ask("hello").session
        self.house = self.house.restart(**self.options)
        ana = self.house.owner("ana", "den")
        self.error(ana, "no_such_user", "ban", "nobody")
        self.done(ana, "mute", "mia")
        self.done(ana, "ban", "eve")
        back = self.house.visitor()
        resumed = back.ask("resume", f"{token} 0")
        self.assertEqual((resumed.user, resumed.room), ("Eve", None))
        self.error(back, "forbidden", "join", "den")

    def test_gone_after_a_restart(self) -> None:
        """Who was back after a restart, and is gone or has another name, can be banned, too."""
        for command, body in (("close", ""), ("name", "bob")):
            self.setUp()
            self.house.owner("ana", "den")
            eve = self.house.visitor(room="den", host=HERE)
            seen = eve.welcome.user
            eve.ask("say", "hi")
            self.house = self.house.restart(**self.options)
            ana = self.house.owner("ana", "den")
            back = self.house.visitor(host=HERE)
            self.assertEqual(back.ask("resume", f"{eve.welcome.session} 0").user, seen)
            back.ask(command, body)
            self.done(ana, "mute", seen)
            self.done(ana, "ban", seen)

    def test_never_seen(self) -> None:
        """Who is back after a restart is not known by the number that the server gave meanwhile."""
        self.house.visitor(room="den")
        zoe, eve = self.house.visitor("zoe", "den"), self.house.visitor(room="den", host=HERE)
        for one in (zoe, eve):
            one.ask("say", "hi")
        seen = eve.ask("hello").user
        eve.ask("close")
        self.house = self.house.restart(**self.options)
        back = self.house.visitor()
        self.assertEqual(back.ask("resume", f"{zoe.welcome.session} 0").user, "zoe")
        self.error(self.house.owner("ana", "attic"), "no_such_user", "ban", seen)
        self.assertFalse(back.closed)

    def test_last_of_a_name(self) -> None:
        """Of several who had a name before, it is the last who is banned."""
        self.house.owner("ana", "den")
        self.house.visitor("eve", "den")
        self.house = self.house.restart(**self.options)
        eve = self.house.visitor("eve", "den")
        eve.drop()
        self.house = self.house.restart(**self.options)
        self.done(self.house.owner("ana", "den"), "ban", "eve")
        back = self.house.visitor()
        self.assertIsNone(back.ask("resume", f"{eve.welcome.session} 0").room)

    def test_last_of_a_name_by_time(self) -> None:
        """It is not the one who came last, but who had the name last."""
        self.house.owner("ana", "den")
        zack, eve = (self.house.visitor(name, "den") for name in ("zack", "eve"))
        eve.drop()
        self.house.wait(70)
        zack.ask("name", "eve")
        zack.drop()
        self.house = self.house.restart(**self.options)
        self.done(self.house.owner("ana", "den"), "ban", "eve")
        for one, name, kind in ((zack, "bob", Error), (eve, "mia", Joined)):
            back = self.house.visitor(host=HERE)
            back.ask("resume", f"{one.welcome.session} 0")
            back.ask("name", name)
            self.assertIsInstance(back.ask("join", "den"), kind)

    def test_not_stored(self) -> None:
        """What holds, but could not be stored, is answered so; it is stored when that can be."""
        ana, eve = self.house.owner("ana", "den"), self.house.visitor("eve", "den")
        self.house.break_disk()
        self.assertIn("could not be stored", self.error(ana, "internal", "ban", "eve"))
        self.error(eve, "forbidden", "join", "den")
        self.house.mend_disk()
        self.done(ana, "mute", "eve")
        self.house = self.house.restart(**self.options)
        self.error(self.house.visitor("eve"), "forbidden", "join", "den")

    def test_kick_not_stored(self) -> None:
        """Nor is it said that somebody is out for good, where a restart would bring them back."""
        boss, eve = self.house.owner("boss"), self.house.visitor("eve", "den")
        token = eve.ask("hello").session
        self.house.break_disk()
        self.assertIn("could not be stored", self.error(boss, "internal", "kick", "eve"))
        self.assertTrue(eve.closed)
        self.error(self.house.visitor(), "not_resumable", "resume", f"{token} 0")

    def test_answered_when_stored(self) -> None:
        """That something was done is said when it would survive the end of the server."""
        ana, _ = self.house.owner("ana", "den"), self.house.visitor("eve", "den")
        for command, body in (
            ("topic", "tea"), ("unlock", ""), ("op", "eve"), ("deop", "eve"), ("mute", "eve"),
            ("unmute", "eve"), ("kick", "eve"), ("ban", "eve"), ("unban", "eve"), ("name", "zoe"),
            ("leave", ""), ("hello", ""), ("close", ""),
        ):  # fmt: skip
            self.house.commits.hold()
            asked = ana.begin(command, body)
            self.assertIsNone(ana.reply(asked), command)
            self.house.commits.release()
            self.assertNotIn(type(ana.reply(asked)), (Error, type(None)), command)

    def test_in_one_turn(self) -> None:
        """A new name, a ban and a resume of one session in one turn: banned is what is left."""
        ana, eve = self.house.visitor("ana", "den"), self.house.visitor("eve", "den")
        back = self.house.visitor()
        eve.wire.arriving += request("name", "mallory", 1)
        ana.wire.arriving += request("ban", "mallory", 1)
        back.wire.arriving += request("resume", f"{eve.welcome.session} 0", 99)
        for visitor in (eve, ana, back):
            visitor.wire.turn()
        self.house.settle()
        self.assertEqual(self.here(), ["ana"])
        self.error(back, "forbidden", "join", "den")


class MuteTests(HouseTestCase):
    def test_muted(self) -> None:
        """The muted hear, and may tell someone alone, but are not heard in the room."""
        ana, ben = self.house.visitor("ana", "den"), self.house.visitor("ben", "den")
        self.done(ana, "mute", "ben noise")
        self.assertIn("noise", str(ben.hear()[-1]))
        ana.hear()
        self.assertIn("den", self.error(ben, "forbidden", "say", "hi"))
        self.error(ben, "forbidden", "me", "waves")
        self.assertIsInstance(ana.ask("say", "hush"), Sent)
        self.assertEqual(texts(ben.hear()), ["hush"])
        self.assertEqual(texts(ana.hear()), [])
        self.assertIsInstance(ben.ask("msg", "ana sorry"), Sent)
        self.done(ana, "unmute", "ben")
        self.assertIsInstance(ben.ask("say", "hi"), Sent)

    def test_without_id(self) -> None:
        """Also one who asks for no reply is told of the refusal."""
        ana, ben = self.house.visitor("ana", "den"), self.house.visitor("ben", "den")
        self.done(ana, "mute", "ben")
        ben.hear()
        ben.send(request("say", "hi"))
        self.assertEqual([event.code for event in ben.hear() if isinstance(event, Error)],
                         ["forbidden"])  # fmt: skip

    def test_follows(self) -> None:
        """A new name, leaving and coming back are no way out."""
        ana, ben = self.house.visitor("ana", "den"), self.house.visitor("ben", "den")
        self.done(ana, "mute", "ben")
        ben.ask("name", "zoe")
        ben.ask("leave")
        ben.ask("join", "den")
        self.error(ben, "forbidden", "say", "hi")
        back = self.house.visitor()
        back.ask("resume", f"{ben.welcome.session} 0")
        self.error(back, "forbidden", "say", "hi")

    def test_reasons(self) -> None:
        """The muted have no last words in the room: it is not told why they leave."""
        ana = self.house.visitor("ana", "den")
        leaver, quitter = self.house.visitor("ben", "den"), self.house.visitor("cem", "den")
        for name in ("ben", "cem"):
            self.done(ana, "mute", name)
        ana.hear()
        self.assertEqual(leaver.ask("leave", "ana cheats").reason, "left")
        quitter.ask("close", "ana cheats")
        self.assertEqual([e.reason for e in ana.hear() if isinstance(e, Left)], ["left", "bye"])

    def test_told_is_who_was_meant(self) -> None:
        """Who was muted is told, also if somebody else has the name a moment later."""
        ana, eve = self.house.visitor("ana", "den"), self.house.visitor("eve", "den")
        ben = self.house.visitor("ben", "den")
        for one in (eve, ben):
            one.hear()
        ana.wire.arriving += request("mute", "eve", 1)
        eve.wire.arriving += request("name", "mallory", 1)
        ben.wire.arriving += request("name", "eve", 1)
        for one in (ana, eve, ben):
            one.wire.turn()
        self.house.settle()
        told = [[event for event in one.hear() if isinstance(event, Notice)] for one in (eve, ben)]
        self.assertEqual([len(notices) for notices in told], [1, 0])

    def test_told_by_any_name(self) -> None:
        """So is who has another name by now, a guest as well as who has an account."""
        ana = self.house.visitor("ana", "den")
        eve, mia = self.house.visitor("eve", "den"), self.house.owner("mia", "den")
        eve.ask("say", "hi")
        for one, name in ((eve, "eve"), (mia, "mia")):
            one.ask("name", f"{name}-2")
            one.hear()
            self.done(ana, "mute", name)
            self.assertIn("muted in den by ana", str(one.hear()))

    def test_told(self) -> None:
        """Who is muted is told in which room, wherever they are."""
        ana, ben = self.house.visitor("ana", "den"), self.house.visitor("ben")
        self.done(ana, "mute", "ben spam")
        self.assertEqual(ben.hear(), [Notice(text="You were muted in den by ana: spam.")])

    def test_elsewhere(self) -> None:
        """In another room one is heard."""
        ana, ben = self.house.visitor("ana", "den"), self.house.visitor("ben", "den")
        self.done(ana, "mute", "ben")
        ben.ask("join", "lobby")
        self.assertIsInstance(ben.ask("say", "hi"), Sent)


class AdminTests(HouseTestCase):
    """An admin everywhere: in a room as its operators, in none over the whole server."""

    def setUp(self) -> None:
        super().setUp()
        self.boss = self.house.owner("boss")

    def test_in_a_room(self) -> None:
        """In a room an admin may do what its operators may."""
        ana, eve = self.house.visitor("ana", "den"), self.house.visitor("eve", "den")
        self.boss.ask("join", "den")
        for command, body in (
            ("topic", "x"), ("lock", "x"), ("unlock", ""), ("mute", "eve"), ("unmute", "eve"),
            ("op", "eve"), ("deop", "eve"), ("kick", "eve"), ("ban", "eve"), ("unban", "eve"),
            ("deop", "ana"), ("invite", "eve"), ("bans", ""), ("mutes", ""),
        ):  # fmt: skip
            self.assertIsInstance(self.boss.ask(command, body), Done | Topic, command)
        self.error(ana, "forbidden", "topic", "y")
        self.assertFalse(eve.closed)

    def test_kick(self) -> None:
        """Who is kicked from the server hears why, and the connection ends; the session too."""
        eve, ben = self.house.visitor("eve", "den"), self.house.visitor("ben", "den")
        self.done(self.boss, "kick", "eve enough")
        last = eve.hear()[-1]
        assert isinstance(last, Closing)
        self.assertEqual(last.reason, "kicked")
        self.assertIn("enough", last.text)
        self.assertTrue(eve.closed)
        (left,) = [event for event in ben.hear() if isinstance(event, Left)]
        self.assertEqual(left.reason, "kicked by boss: enough")
        back = self.house.visitor()
        self.assertEqual(back.ask("resume", f"{eve.welcome.session} 0").code, "not_resumable")
        self.assertIsInstance(back.ask("name", "eve"), Renamed)

    def test_ban_who_is_away(self) -> None:
        """Whose session sleeps does not come back with it from a ban, from whichever address."""
        eve, mia = self.house.visitor("eve", "den", host=HERE), self.house.owner("mia", "den")
        tokens = [self.asleep(one) for one in (eve, mia)]
        for name in ("eve", "mia"):
            self.done(self.boss, "ban", name)
        for _ in range(2):
            for token in tokens:
                back = self.house.visitor(host=THERE)
                self.error(back, "forbidden", "resume", f"{token} 0")
            self.house = self.house.restart(**self.options)

    def test_neighbours_after_a_restart(self) -> None:
        """Who was let stay, beside one whose address was banned, is back in the room as well."""
        self.house.visitor("ana", "den", host=THERE)
        nice, _ = (self.house.visitor(name, "den", host=HERE) for name in ("nice", "eve"))
        boss = self.house.owner("boss", "den", host=THERE)
        self.done(boss, "ban", "eve")
        self.assertIsInstance(nice.ask("say", "hi"), Sent)
        token = nice.ask("hello").session
        self.house = self.house.restart(**self.options)
        back = self.house.visitor(host=HERE)
        self.assertEqual(back.ask("resume", f"{token} 0").room, "den")

    def test_register_from_a_banned_address(self) -> None:
        """Who was there before a ban, and may stay, gets no account to come back with."""
        eve, other = (self.house.visitor(name, host=HERE) for name in ("eve", "other"))
        self.done(self.boss, "ban", "eve")
        self.assertTrue(eve.closed)
        self.error(other, "forbidden", "register", SECRET)

    def test_name_of_a_banned_guest(self) -> None:
        """With an account one comes back to a room by a name that a guest is banned by there."""
        ana, ben = self.house.owner("ana", "den"), self.house.visitor("ben", "den")
        self.done(ana, "ban", "ben")
        ben.ask("close")
        eve = self.house.owner("eve", "den")
        self.assertIsInstance(eve.ask("name", "ben"), Renamed)
        token = eve.ask("hello").session
        self.house = self.house.restart(**self.options)
        self.assertEqual(self.house.visitor().ask("resume", f"{token} 0").room, "den")

    def test_names_of_the_banned(self) -> None:
        """Nobody gets a guest's name that is banned or muted."""
        self.house.visitor("guest-20", host=HERE)
        self.done(self.boss, "ban", "guest-20")
        muted = self.house.visitor("guest-21", host=THERE)
        self.done(self.boss, "mute", "guest-21")
        muted.ask("close")
        self.house.registry.guests = 19
        self.assertEqual(self.house.visitor(host=THERE).ask("hello").user, "guest-22")

    def test_last_words(self) -> None:
        """Who goes on talking while what was said is stored is heard before the kick."""
        eve, ben = self.house.visitor("eve", "den"), self.house.visitor("ben", "den")
        ben.hear()
        self.house.commits.hold()
        eve.begin("say", "one")
        kick = self.boss.begin("kick", "eve")
        self.house.commits.step()
        self.house.settle()
        eve.begin("say", "two")
        self.house.commits.step()
        self.house.commits.release()
        self.house.settle()
        self.assertIsInstance(self.boss.reply(kick), Done)
        self.assertEqual([type(event) for event in ben.hear()][:3], [Message, Message, Left])

    def test_own_words(self) -> None:
        """So is what the one who kicks, or sets a topic, said before."""
        eve, ben = self.house.visitor("eve", "den"), self.house.visitor("ben", "den")
        self.boss.ask("join", "den")
        for visitor in (eve, ben):
            visitor.hear()
        self.boss.send(request("say", "enough", 50), request("kick", "eve", 51))
        self.assertEqual([type(event) for event in eve.hear()], [Message, Left])
        self.boss.send(request("say", "now", 52), request("topic", "tea", 53))
        self.assertEqual([type(e) for e in ben.hear()][-2:], [Message, Topic])

    def test_answered_though_ended(self) -> None:
        """What was said ahead of a change that is being stored is answered before the end."""
        ana = self.house.visitor("ana", "den")
        back = self.house.visitor()
        back.ask("ping")
        self.house.commits.hold()
        self.house.visitor().begin("hello")
        back.begin("resume", f"{ana.welcome.session} 0")
        ana.send(request("say", "hi", 50), request("topic", "tea", 51))
        self.house.commits.release()
        self.house.settle()
        heard = ana.hear()
        self.assertIn(Sent, map(type, heard))
        self.assertIsInstance(heard[-1], Closing)

    def test_kick_from_elsewhere(self) -> None:
        """It is said that an admin's kick from another room is one from the server."""
        self.house.visitor("eve", "den")
        self.boss.ask("join", "office")
        said = notes(self)
        done = self.boss.ask("kick", "eve")
        self.assertEqual(done.text, "eve was kicked from this server.")
        self.assertIn("eve was kicked from this server by boss", said)

    def test_kick_lingering(self) -> None:
        """One who lingers is gone as well."""
        eve = self.house.visitor("eve", "den")
        eve.drop()
        self.done(self.boss, "kick", "eve")
        self.assertEqual(self.here(), [])
        self.assertEqual(
            self.house.visitor().ask("resume", f"{eve.welcome.session} 0").code, "not_resumable"
        )

    def test_ban_guest(self) -> None:
        """A guest who is banned from the server is thrown out, and not let in again."""
        eve = self.house.visitor("eve", "den", host=HERE)
        self.done(self.boss, "ban", "eve spam")
        last = eve.hear()[-1]
        assert isinstance(last, Closing)
        self.assertEqual((last.reason, eve.closed), ("banned", True))
        back = self.house.visitor(host=HERE)
        self.assertIsInstance(back.ask("hello"), Welcome)
        self.error(back, "forbidden", "name", "mallory")
        self.error(back, "forbidden", "join", "den")
        self.done(self.boss, "unban", "eve")
        self.assertIsInstance(back.ask("join", "den"), Joined)

    def test_ban_from_the_same_address(self) -> None:
        """An admin does not lock oneself out with a guest who shares the address."""
        boss = self.house.owner("chief", host=HERE)
        eve = self.house.visitor("eve", host=HERE)
        self.assertIn("yours too", boss.ask("ban", "eve").text)
        self.assertTrue(eve.closed)
        zoe = self.house.owner("zoe", host=HERE)
        self.assertEqual(boss.ask("ban", "zoe").text, "zoe is banned.")
        self.assertTrue(zoe.closed)
        self.error(self.house.visitor(host=HERE), "forbidden", "name", "eve")
        boss.ask("close")
        self.done(self.house.owner("chief", host=HERE), "unban", "eve")

    def test_ban_owner(self) -> None:
        """A registered name that is banned cannot be logged in to, nor resumed as such."""
        eve = self.house.owner("eve", "den")
        self.done(self.boss, "ban", "eve")
        self.assertEqual(eve.hear()[-1].reason, "banned")  # type: ignore[union-attr]
        guest = self.house.visitor()
        self.error(guest, "forbidden", "login", f"eve {SECRET}")
        self.assertIn("not logged in", self.error(guest, "forbidden", "password", "another"))
        self.error(self.house.visitor(), "name_registered", "name", "eve")
        self.error(self.house.visitor(), "not_resumable", "resume", f"{eve.welcome.session} 0")
        self.done(self.boss, "unban", "eve")
        self.house.owner("eve")

    def test_mute(self) -> None:
        """Who is muted on the server is heard nowhere, in no room and by nobody alone."""
        eve = self.house.visitor("eve", "den")
        self.house.owner("away").ask("close")
        self.done(self.boss, "mute", "eve")
        for command, body in (
            ("say", "x"), ("me", "x"), ("msg", "boss x"), ("msg", "away x"), ("msg", "eve x"),
        ):  # fmt: skip
            self.error(eve, "forbidden", command, body)
        eve.ask("join", "other")
        self.error(eve, "forbidden", "say", "x")
        eve.hear()
        self.done(self.boss, "unmute", "eve")
        (told,) = eve.hear()
        self.assertIn("not muted on this server any more", str(told))
        self.assertIsInstance(eve.ask("say", "x"), Sent)

    def test_mute_of_another(self) -> None:
        """That somebody is muted on the server silences nobody else."""
        self.house.visitor("eve", "den")
        self.done(self.boss, "mute", "eve")
        ben = self.house.visitor("ben", "den")
        for command, body in (("say", "x"), ("me", "x"), ("msg", "boss x")):
            self.assertIsInstance(ben.ask(command, body), Sent, command)

    def test_unban_of_another(self) -> None:
        """Only who was banned is told of the end of it."""
        ana, _ = self.house.visitor("ana", "den"), self.house.visitor("eve", "den")
        self.done(self.boss, "mute", "eve")
        ana.hear()
        self.done(self.boss, "unmute", "eve")
        self.assertEqual(ana.hear(), [])

    def test_ban_the_only_operator(self) -> None:
        """Whose room it was has it no more; it goes to who has been there longest."""
        ana, ben = self.house.owner("ana", "den"), self.house.visitor("ben", "den")
        self.boss.ask("join", "den")
        self.done(self.boss, "ban", "ana")
        self.assertIsInstance(ben.ask("topic", "mine"), Topic)
        self.error(ana, "not_in_room", "topic", "mine")

    def test_muted_invite_nobody(self) -> None:
        """Who is muted on the whole server cannot call anybody into a room of their own."""
        ben, eve = self.house.visitor("ben"), self.house.visitor("eve", "ben-is-silly")
        self.done(self.boss, "mute", "eve")
        self.error(eve, "forbidden", "invite", "ben")
        self.assertEqual(ben.hear(), [])

    def test_muted_have_no_words(self) -> None:
        """Nor can they say something by a topic, or by a reason, to whom they may moderate."""
        eve, ben = self.house.visitor("eve", "den"), self.house.visitor("ben", "den")
        self.done(self.boss, "mute", "eve")
        ben.hear()
        self.error(eve, "forbidden", "topic", "ben is silly")
        for command in ("mute", "kick", "ban"):
            self.done(eve, command, "ben you are silly")
        self.assertNotIn("silly", str(ben.hear()))

    def test_announce(self) -> None:
        """An announcement is heard by everyone, in whatever room or none."""
        ana, ben = self.house.visitor("ana", "den"), self.house.visitor("ben")
        self.done(self.boss, "announce", "tea\x1b[2J is ready")
        notice = Notice(text="boss to everyone: tea[2J is ready")
        self.assertEqual(ana.hear()[-1], notice)
        self.assertEqual(ben.hear()[-1], notice)
        self.assertNotIn(notice, self.boss.hear())
        eve = self.house.visitor("eve", host=HERE)
        self.done(self.boss, "ban", "eve")
        eve = self.house.visitor(host=HERE)
        self.assertIsInstance(eve.ask("hello"), Welcome)
        eve.hear()
        self.done(self.boss, "announce", "not for eve")
        self.assertEqual(eve.hear(), [])
        self.error(self.boss, "bad_argument", "announce", "  ")
        self.error(self.boss, "too_long", "announce", "x" * 8193)

    def test_announce_to_neighbours(self) -> None:
        """Those who share the address of one who is banned, and were not put out, hear it too."""
        self.house.visitor("eve", host=HERE)
        ben = self.house.visitor("ben", "den", host=HERE)
        self.done(self.boss, "ban", "eve")
        self.done(self.boss, "announce", "tea")
        self.assertIn("tea", str(ben.hear()))

    def test_rooms_apart(self) -> None:
        """A ban from the server is none from a room, and the other way."""
        self.house.visitor("eve", "den", host=HERE)
        self.boss.ask("join", "den")
        self.done(self.boss, "ban", "eve")
        self.boss.ask("leave")
        self.error(self.boss, "no_such_user", "unban", "eve")
        self.assertEqual(self.boss.ask("bans").text, "Nobody is banned.")
        self.assertIsInstance(self.house.visitor(host=HERE).ask("hello"), Welcome)

    def test_after_restart(self) -> None:
        """Who is admin is told by the command line, at each start anew."""
        self.house = self.house.restart(rate=0)
        self.error(self.house.owner("boss"), "forbidden", "announce", "x")
        self.house = self.house.restart(**self.options)
        self.done(self.house.owner("boss"), "announce", "x")


class FaultTests(HouseTestCase):
    """Nothing of it is trouble for anybody else."""

    def hearing(self, hear: Callable[..., None], name: str, room: str) -> Any:
        user, _ = self.house.user(name, room)
        user.hear = hear
        return user

    def test_failing_hear(self) -> None:
        """One who cannot be told keeps none of the others from being told, whatever it is."""

        def fail(_: Any) -> None:
            raise ZeroDivisionError("a bug")

        boss = self.house.owner("boss", "den")
        before = self.house.visitor("before", "den")
        self.hearing(fail, "broken", "den")
        after = self.house.visitor("after", "den")
        for visitor in (before, after):
            visitor.hear()
        boss.ask("say", "hi")
        boss.ask("topic", "tea")
        boss.ask("announce", "hello")
        boss.ask("mute", "broken")
        boss.ask("kick", "broken")
        for visitor in (before, after):
            heard = visitor.hear()
            self.assertEqual(
                [type(event) for event in heard], [Message, Topic, Notice, Left], str(heard)
            )
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 6)
        self.assertEqual(boss.ask("users").users, ["boss", "before", "after"])

    def test_dropped_while_it_is_stored(self) -> None:
        """What an operator did before the connection broke is done, and kept."""
        ana, eve = self.house.owner("ana", "den"), self.house.owner("eve", "den")
        self.house.commits.hold()
        ana.begin("ban", "eve spam")
        ana.drop()
        self.house.commits.release()
        self.house.settle()
        self.error(eve, "forbidden", "join", "den")
        self.house = self.house.restart(**self.options)
        self.error(self.house.owner("eve"), "forbidden", "join", "den")

    def test_whole_frames(self) -> None:
        """Whoever goes while all this goes on got whole frames only."""
        boss = self.house.owner("boss")
        crowd = [self.house.visitor(f"u{n}", "den") for n in range(20)]
        for number, visitor in enumerate(crowd):
            crowd[(number + 1) % 20].ask("say", "hi")
            boss.ask("kick", f"u{number}")
            self.assertTrue(visitor.closed)
            events(visitor.wire.value())
        self.assertEqual(self.here(), [])
