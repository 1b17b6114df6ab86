"""Who runs a room, what they may do that others may not, and how many rooms one may make."""

from __future__ import annotations

from pylingo import moderation
from pylingo.protocol import (
    Done,
    Error,
    Joined,
    Notice,
    Sent,
    Topic,
)
from pylingo.rooms import MOST_ROOMS
from tests.house import (
    HERE,
    SECRET,
    House,
    HouseTestCase,
    Visitor,
)

ROLES = ("guest", "user", "operator", "op by name", "admin", "admin outside", "muted", "banned")
"""Who asks. All but the banned one and the admin outside are in the room."""
OK = "ok"
COMMANDS: dict[str, tuple[str, dict[str, str]]] = {
    # The command with its body; what becomes of it, where that is not `forbidden`.
    "topic": ("", {"banned": "not_in_room", "admin outside": "not_in_room", "*": OK}),
    "topic TEXT": ("new topic", {"banned": "not_in_room", "admin outside": "not_in_room"}),
    "lock": ("mellon", {"banned": "not_in_room", "admin outside": "not_in_room"}),
    "unlock": ("", {"banned": "not_in_room", "admin outside": "not_in_room"}),
    "invite": ("victim", {"banned": "not_in_room", "admin outside": "not_in_room"}),
    "kick": ("victim enough", {"banned": "not_in_room", "admin outside": OK}),
    "ban": ("victim enough", {"banned": "not_in_room", "admin outside": OK}),
    "unban": ("mallory", {"banned": "not_in_room", "admin outside": "no_such_user"}),
    "mute": ("victim enough", {"banned": "not_in_room", "admin outside": OK}),
    "unmute": ("mute-one", {"banned": "not_in_room", "admin outside": "no_such_user"}),
    "op": ("victim", {"banned": "not_in_room", "admin outside": "not_in_room"}),
    "deop": ("maker", {"banned": "not_in_room", "admin outside": "not_in_room"}),
    "bans": ("", {"banned": "not_in_room", "admin outside": OK}),
    "mutes": ("", {"banned": "not_in_room", "admin outside": OK}),
    "announce": ("all hear", {"admin": OK, "admin outside": OK, "operator": "forbidden",
                              "op by name": "forbidden"}),
    "say": ("hi", {"*": OK, "muted": "forbidden", "banned": "not_in_room",
                   "admin outside": "not_in_room"}),
    "me": ("waves", {"*": OK, "muted": "forbidden", "banned": "not_in_room",
                     "admin outside": "not_in_room"}),
    "msg": ("victim psst", {"*": OK}),
    "join": ("den", {"*": OK, "banned": "forbidden"}),
    "create": ("den", {"*": "room_exists"}),
    "users": ("", {"*": OK, "banned": "not_in_room", "admin outside": "not_in_room"}),
    "history": ("", {"*": OK, "banned": "not_in_room", "admin outside": "not_in_room"}),
    "leave": ("", {"*": OK, "banned": "not_in_room", "admin outside": "not_in_room"}),
    "name": ("other", {"*": OK}),
    "list": ("", {"*": OK}),
    "help": ("", {"*": OK}),
    "ping": ("", {"*": OK}),
    "hello": ("", {"*": OK}),
    "enter": ("whatever", {"*": OK}),
    "password": ("new secret", {"*": OK, "guest": "forbidden", "operator": "forbidden",
                                "muted": "forbidden", "banned": "forbidden"}),
    "register": ("new secret", {"guest": OK, "operator": OK, "muted": OK, "banned": OK,
                                  "*": "bad_argument"}),
    "login": ("victim x", {"*": "wrong_password"}),
}  # fmt: skip
POWERFUL = ("operator", "op by name", "admin")
"""Who may moderate a room; a command without a `*` of its own is for these."""


class RoleTests(HouseTestCase):
    def play(self) -> dict[str, Visitor]:
        """A room with everyone in it."""
        self.house = House(rate=0, admins=frozenset({"boss", "chief"}))
        house = self.house
        maker = house.owner("maker", "den")
        people = {
            "guest": house.visitor("guest1", "den"),
            "user": house.owner("user1", "den"),
            "operator": house.visitor("op1", "den"),
            "op by name": house.owner("op2", "den"),
            "admin": house.owner("boss", "den"),
            "admin outside": house.owner("chief"),
            "muted": house.visitor("mute-one", "den"),
            "banned": house.visitor("mallory", "den"),
        }
        house.visitor("victim", "den")
        for command, body in (
            ("op", "op1"), ("op", "op2"), ("mute", "mute-one"), ("ban", "mallory"),
        ):  # fmt: skip
            self.done(maker, command, body)
        for person in people.values():
            person.hear()
        self.people = people
        return people

    def test_everything(self) -> None:
        """Every command by every role: done, or refused with the right code and a sentence."""
        wrong = []
        for title, (body, special) in COMMANDS.items():
            word = title.split()[0]
            for role in ROLES:
                reply = self.play()[role].ask(word, body)
                got = reply.code if isinstance(reply, Error) else OK if reply else "nothing"
                ordinary = OK if role in POWERFUL else "forbidden"
                expected = special.get(role, special.get("*", ordinary))
                if got != expected:
                    wrong.append(f"{title} by {role}: {got}, not {expected}: {reply}")
                if isinstance(reply, Error):
                    self.assertGreater(len(reply.text.split()), 3, reply.text)
        self.assertEqual(wrong, [], "\n".join(wrong))

    def test_refused_changes_nothing(self) -> None:
        """What was refused has changed nothing."""
        for role in ("guest", "user", "muted", "banned"):
            person = self.play()[role]
            for title, (body, _) in COMMANDS.items():
                word = title.split()[0]
                if word in ("topic", "lock", "kick", "ban", "mute", "op", "deop", "unban"):
                    person.ask(word, body or "x")
            room = self.house.registry.rooms["den"]
            self.assertEqual((room.topic, room.locked), ("", False))
            self.assertIn("victim", room.shown())
            self.assertEqual(list(room.rules.bans), ["mallory"])
            self.assertEqual(list(room.rules.mutes), ["mute-one"])
            self.assertEqual(len(room.rules.operators), 3)

    def test_admins_are_safe(self) -> None:
        """Nobody can kick, ban, mute or deop an admin: no operator, and no admin either."""
        for who in ("operator", "op by name", "admin", "admin outside"):
            for target in ("boss", "chief", "BOSS"):
                for command in ("kick", "ban", "mute", "deop"):
                    person = self.play()[who]
                    if target == "chief":
                        chief = self.people["admin outside"]
                        if person is not chief:
                            chief.ask("join", "den")
                    reply = person.ask(command, target)
                    self.assertIsInstance(reply, Error, f"{command} {target} by {who}")

    def test_admins_who_are_away_are_safe(self) -> None:
        """Nor can anybody ban, mute or deop one who is away, or goes by another name."""
        for away in (True, False):
            people = self.play()
            operator = people["operator"]
            self.done(people["admin"], "op", "boss")
            if away:
                people["admin"].ask("close")
            else:
                people["admin"].ask("name", "disguise")
            for command in ("ban", "mute", "deop"):
                self.error(operator, "forbidden", command, "boss")
            if not away:
                for command in ("kick", "ban", "mute", "deop"):
                    self.error(operator, "forbidden", command, "disguise")
            self.assertIn("@boss", self.house.registry.rooms["den"].rules.operators)

    def test_muted_before_it_was_an_admin(self) -> None:
        """Who was muted as a guest may speak as an admin, here and anywhere."""
        people = self.play()
        people["admin"].ask("close")
        guest = self.house.visitor("boss-to-be", "den")
        self.done(people["operator"], "mute", "boss-to-be")
        self.done(people["admin outside"], "mute", "boss-to-be")
        self.error(guest, "forbidden", "say", "hi")
        self.done(guest, "login", f"boss {SECRET}")
        self.assertIsInstance(guest.ask("say", "hi"), Sent)
        room = self.house.registry.rooms["den"]
        self.assertEqual([*room.rules.mutes], ["mute-one"])
        self.assertEqual([*self.house.registry.rules.mutes], [])

    def test_muted_before_a_restart(self) -> None:
        """Nor is one muted who has become an admin with a restart, where only guests had a room."""
        self.house = House(self.mktemp())
        operator = self.house.visitor("op", "den")
        user = self.house.owner("boss", "den")
        self.done(operator, "mute", "boss")
        self.error(user, "forbidden", "say", "hi")
        self.house = self.house.restart(admins=frozenset({"boss"}))
        admin = self.house.visitor()
        self.assertEqual(admin.ask("resume", f"{user.welcome.session} 0").room, "den")
        self.assertIsInstance(admin.ask("say", "hi"), Sent)

    def test_admin_needs_no_key(self) -> None:
        """An admin joins whatever is locked, and whatever one was banned from as a guest."""
        maker = self.house.owner("maker", "den")
        self.house.visitor("boss-to-be", "den", host=HERE)
        maker.ask("ban", "boss-to-be")
        maker.ask("lock", "mellon")
        self.assertEqual(self.house.owner("boss", "den", host=HERE).ask("users").users[-1], "boss")

    def test_not_yet_registered(self) -> None:
        """An admin's name is no power before it was registered."""
        guest = self.house.visitor("boss", "den")
        self.error(guest, "forbidden", "announce", "hi")
        guest.ask("register", SECRET)
        self.done(guest, "announce", "hi")

    def test_power_ends(self) -> None:
        """Who gave it up, or has left as a guest, is operator no more."""
        maker = self.house.visitor("maker", "den")
        ben = self.house.visitor("ben", "den")
        self.done(maker, "op", "ben")
        self.done(maker, "deop", "maker")
        self.error(maker, "forbidden", "topic", "x")
        ben.ask("leave")
        ben.ask("join", "den")
        self.error(ben, "forbidden", "topic", "x")


class OperatorTests(HouseTestCase):
    def operates(self, visitor: Visitor) -> bool:
        return isinstance(visitor.ask("unlock"), Done)

    def test_maker(self) -> None:
        """Who makes a room, by join or by create, is its operator; who comes later is not."""
        for command in ("join", "create"):
            ana, ben = self.house.visitor(), self.house.visitor()
            ana.ask(command, command)
            ben.ask("join", command)
            self.assertEqual((self.operates(ana), self.operates(ben)), (True, False))

    def test_inherited(self) -> None:
        """When the last operator, a guest, goes, the one who was there longest is the next."""
        for way in ("leave", "close", "join", "drop"):
            self.house = House(rate=0)
            ana, ben, cem = (self.house.visitor(name, "den") for name in ("ana", "ben", "cem"))
            if way == "drop":
                ana.drop()
                self.house.wait(70)
            else:
                ana.ask(way, "elsewhere" if way == "join" else "")
            self.assertEqual((self.operates(ben), self.operates(cem)), (True, False), way)
            self.assertTrue(any(isinstance(event, Notice) for event in ben.hear()), way)

    def test_not_inherited(self) -> None:
        """While there is another operator nobody inherits, even where that one is away."""
        ana = self.house.visitor("ana", "den")
        owner = self.house.owner("owner", "den")
        ben = self.house.visitor("ben", "den")
        self.done(ana, "op", "owner")
        owner.ask("leave")
        ana.ask("leave")
        self.assertFalse(self.operates(ben))

    def test_registered_stays(self) -> None:
        """A registered operator stays one, whoever leaves and comes back."""
        owner, ben = self.house.owner("owner", "den"), self.house.visitor("ben", "den")
        for leave in ("leave", "close"):
            owner.ask(leave)
            self.assertFalse(self.operates(ben))
            owner = self.house.owner("owner", "den")
            self.assertTrue(self.operates(owner))

    def test_lingering(self) -> None:
        """A guest operator whose connection broke still is one after resuming in time."""
        ana, ben = self.house.visitor("ana", "den"), self.house.visitor("ben", "den")
        ana.drop()
        self.house.wait(30)
        self.assertFalse(self.operates(ben))
        back = self.house.visitor()
        back.ask("resume", f"{ana.welcome.session} 0")
        self.assertTrue(self.operates(back))

    def test_where_they_are(self) -> None:
        """Who may not do it is told where to see who may, or that none of them is here."""
        ana, ben = self.house.owner("ana", "den"), self.house.visitor("ben", "den")
        self.assertIn("/users", self.error(ben, "forbidden", "kick", "ana"))
        ana.ask("leave")
        self.assertIn("none is here", self.error(ben, "forbidden", "kick", "ana"))

    def test_op(self) -> None:
        """An operator makes another one: a member, who is told, or a registered name."""
        ana, ben = self.house.visitor("ana", "den"), self.house.visitor("ben", "den")
        self.house.owner("away").ask("close")
        self.done(ana, "op", "ben")
        self.assertTrue(any(isinstance(event, Notice) for event in ben.hear()))
        self.assertTrue(self.operates(ben))
        self.done(ben, "op", "away")
        self.assertTrue(self.operates(self.house.owner("away", "den")))

    def test_op_by_account(self) -> None:
        """Who goes by another name than the account's is told, too."""
        ana, bob = self.house.visitor("ana", "den"), self.house.owner("bob", "den")
        bob.ask("name", "robert")
        bob.hear()
        self.done(ana, "op", "bob")
        self.assertEqual([type(event) for event in bob.hear()], [Notice])

    def test_op_elsewhere(self) -> None:
        """Somebody with an account may be meant by the name they have now, wherever they are."""
        ana, mia = self.house.visitor("ana", "den"), self.house.owner("mia", "elsewhere")
        mia.ask("name", "Maria")
        self.done(ana, "op", "maria")
        mia.ask("join", "den")
        self.assertTrue(self.operates(mia))

    def test_op_nobody(self) -> None:
        """A guest who is elsewhere cannot be made one, nor can nobody."""
        ana = self.house.visitor("ana", "den")
        self.house.visitor("ben", "lobby")
        for name in ("ben", "nobody"):
            self.error(ana, "no_such_user", "op", name)
        for name in ("", "a\u200bb", "x" * 33):
            self.error(ana, "bad_argument", "op", name)

    def test_op_is_bounded(self) -> None:
        """Nobody can fill up another one's bound on rooms, or get around the own."""
        self.house.owner("away").ask("close")
        ana, made = self.house.owner("ana"), 0
        for number in range(MOST_ROOMS + 20):
            made += isinstance(ana.ask("join", f"room-{number}"), Joined)
            for command, body in (("op", "away"), ("deop", "ana"), ("leave", "")):
                ana.ask(command, body)
        self.assertEqual((made, len(self.house.registry.rooms)), (MOST_ROOMS, MOST_ROOMS))
        self.assertIsInstance(self.house.owner("away").ask("create", "more"), Joined)

    def test_most_operated(self) -> None:
        """Nobody is made operator of more rooms than that, be they here or away."""
        self.patch(moderation, "MOST_OPERATED", 1)
        self.house.owner("away").ask("close")
        ana = self.house.owner("ana", "den")
        self.house.owner("eve", "tea").ask("join", "den")
        self.error(ana, "forbidden", "op", "eve")
        for _ in range(2):
            self.done(ana, "op", "away")
        ana.ask("join", "attic")
        self.error(ana, "forbidden", "op", "away")
        ana.ask("join", "den")
        self.done(ana, "deop", "away")
        ana.ask("join", "attic")
        self.done(ana, "op", "away")

    def test_deop(self) -> None:
        """An operator can be made one no more, by whatever name of theirs."""
        ana, ben = self.house.visitor("ana", "den"), self.house.visitor("ben", "den")
        owner = self.house.owner("owner", "den")
        for name in ("ben", "owner"):
            self.done(ana, "op", name)
            self.done(ana, "deop", name)
        self.done(ana, "op", "owner")
        owner.ask("name", "zoe")
        self.done(ana, "deop", "zoe")
        self.assertFalse(self.operates(ben) or self.operates(owner))
        self.error(ana, "no_such_user", "deop", "ben")
        self.error(ana, "no_such_user", "deop", "nobody")

    def test_deop_by_another_name(self) -> None:
        """Who has the account is told, whatever the name is by now."""
        ana, ben = self.house.visitor("ana", "den"), self.house.owner("ben", "den")
        self.done(ana, "op", "ben")
        ben.ask("name", "benno")
        ben.hear()
        self.done(ana, "deop", "ben")
        self.assertIn("not an operator of den any more", str(ben.hear()))

    def test_deop_away(self) -> None:
        """One who is away can be, by the registered name."""
        ana, owner = self.house.visitor("ana", "den"), self.house.owner("owner", "den")
        self.done(ana, "op", "owner")
        owner.ask("close")
        self.done(ana, "deop", "owner")
        self.assertFalse(self.operates(self.house.owner("owner", "den")))

    def test_give_up(self) -> None:
        """The last operator who gives it up hands it to who was there longest, who is told."""
        ana, ben, cem = (self.house.owner(name, "den") for name in ("ana", "ben", "cem"))
        ana.hear()
        self.done(ana, "deop", "ana")
        self.assertEqual([type(event) for event in ana.hear()], [Done])
        self.assertEqual([self.operates(who) for who in (ana, ben, cem)], [False, True, False])
        self.assertTrue(any(isinstance(event, Notice) for event in ben.hear()))

    def test_give_up_alone(self) -> None:
        """Where nobody else is, whoever comes next has the room."""
        ana = self.house.visitor("ana", "den")
        self.done(ana, "deop", "ana")
        ben, cem = self.house.visitor("ben", "den"), self.house.visitor("cem", "den")
        self.assertEqual([self.operates(who) for who in (ana, ben, cem)], [False, True, False])

    def test_give_up_by_another_name(self) -> None:
        """One may give it up by the registered name, too."""
        ana, ben = self.house.owner("ana", "den"), self.house.visitor("ben", "den")
        ana.ask("name", "zoe")
        self.done(ana, "deop", "ana")
        self.assertEqual([self.operates(who) for who in (ana, ben)], [False, True])

    def test_alone(self) -> None:
        """A room without operators, whose maker has given it up alone, is gone when it empties."""
        ana = self.house.owner("ana", "den")
        self.done(ana, "deop", "ana")
        self.assertFalse(self.operates(ana))
        ana.ask("leave")
        self.assertEqual(self.house.registry.rooms, {})

    def test_most_rooms(self) -> None:
        """One may make that many rooms; then one has to be given up first."""
        ana = self.house.owner("ana")
        for number in range(MOST_ROOMS):
            self.assertIsInstance(ana.ask("join", f"room-{number}"), Joined)
        text = self.error(ana, "forbidden", "join", "one-more")
        self.assertIn(str(MOST_ROOMS), text)
        self.assertIn("/deop", text)
        self.error(ana, "forbidden", "create", "one-more")
        self.assertEqual(ana.ask("users").room, f"room-{MOST_ROOMS - 1}")
        self.assertNotIn("one-more", self.house.registry.rooms)
        self.done(ana, "deop", "ana")
        ana.ask("leave")
        self.assertIsInstance(ana.ask("join", "one-more"), Joined)
        self.error(ana, "forbidden", "create", "another")

    def test_most_rooms_after_a_restart(self) -> None:
        """Rooms from before a restart count as well, until they are given up."""
        self.house = House(self.mktemp(), rate=0)
        ana = self.house.owner("ana")
        for number in range(MOST_ROOMS):
            ana.ask("create", f"room-{number}")
        self.house = self.house.restart()
        ana = self.house.owner("ana", "room-0")
        self.error(ana, "forbidden", "create", "one-more")
        self.done(ana, "deop", "ana")
        ana.ask("leave")
        self.assertIsInstance(ana.ask("create", "one-more"), Joined)

    def test_room_of_before(self) -> None:
        """Back in a guest's room after a restart, also who has made as many as there may be."""
        ana, ben = self.house.owner("ana"), self.house.visitor("ben", "den")
        for number in range(MOST_ROOMS):
            ana.ask("create", f"room-{number}")
        ana.ask("join", "den")
        token = ana.ask("hello").session
        self.assertIsInstance(ben.ask("say", "hi"), Sent)
        self.house = self.house.restart(**self.options)
        self.assertEqual(self.house.visitor().ask("resume", f"{token} 0").room, "den")

    def test_room_of_before_and_a_sleep(self) -> None:
        """While the machine sleeps nobody can come back, so the room waits for that much longer."""
        gus = self.house.visitor("gus", "den")
        gus.ask("topic", "Mine")
        token = gus.ask("hello").session
        for awake in (5, 57):
            self.house = self.house.restart(**self.options)
            self.house.wait(awake)
            self.house.clock.advance(3600.5)
            self.house.wait(58 - awake)
            back = self.house.visitor()
            self.assertEqual(back.ask("resume", f"{token} 0").topic, "Mine")
            token = back.ask("hello").session

    def test_operators_of_before(self) -> None:
        """Who has an account runs a room on after a restart; guests who do not come back do not."""
        ana = self.house.owner("ana", "den")
        for name in ("ben", "cem", "dan"):
            self.house.visitor(name, "den")
            self.done(ana, "op", name)
        self.house = self.house.restart(**self.options)
        self.house.wait(70)
        self.assertEqual([*self.house.registry.rooms["den"].rules.operators], ["@ana"])

    def test_twin_of_a_room_of_before(self) -> None:
        """While guests may come back to a room, none that looks like it can be made."""
        ana = self.house.visitor("ana", "coffee")
        token = ana.ask("hello").session
        self.house = self.house.restart(**self.options)
        eve = self.house.visitor("eve")
        self.error(eve, "name_taken", "join", "сoffee")
        self.assertEqual(self.house.visitor().ask("resume", f"{token} 0").room, "coffee")
        self.house = self.house.restart(**self.options)
        self.house.wait(70)
        self.assertIsInstance(self.house.visitor("eve").ask("join", "сoffee"), Joined)

    def test_rooms_of_others(self) -> None:
        """Who is made an operator of many rooms may make as many as before."""
        ana = self.house.owner("ana")
        ben = self.house.visitor("ben")
        for number in range(MOST_ROOMS):
            ben.ask("join", f"room-{number}")
            self.done(ben, "op", "ana")
        self.assertIsInstance(ana.ask("create", "mine"), Joined)

    def test_guest_rooms(self) -> None:
        """A guest's rooms go when the guest does, so there is no end to them."""
        ana = self.house.visitor("ana")
        for number in range(MOST_ROOMS + 20):
            self.assertIsInstance(ana.ask("join", f"room-{number}"), Joined)
        self.assertEqual(len(self.house.registry.rooms), 1)

    def test_guest_rooms_that_stay(self) -> None:
        """Of rooms that stay when the guest goes on there are so many as well."""
        ana, ben = self.house.visitor("ana"), self.house.visitor("ben")
        for number in range(MOST_ROOMS):
            self.assertIsInstance(ana.ask("create", f"room-{number}"), Joined)
            self.done(ana, "lock", "mellon")
        self.error(ana, "forbidden", "create", "one-more")
        self.error(ana, "forbidden", "join", "one-more")
        self.assertIsInstance(ben.ask("create", "one-more"), Joined)
        self.done(ana, "unlock")
        self.assertIsInstance(ana.ask("join", "one-more"), Joined)
        self.assertIsInstance(ana.ask("create", "the-last"), Joined)


class TopicTests(HouseTestCase):
    def test_taken_away(self) -> None:
        """One dash takes it away."""
        ana = self.house.visitor("ana", "den")
        ana.ask("topic", "tea")
        self.assertEqual(ana.ask("topic", " - ").topic, "")
        self.assertEqual(ana.ask("topic").topic, "")

    def test_set(self) -> None:
        """A topic is heard by the room, shown by `list` and to who joins."""
        ana, ben = self.house.visitor("ana", "den"), self.house.visitor("ben", "den")
        reply = ana.ask("topic", "  tea\n and\tcake ")
        topic = Topic(room="den", topic="tea and cake", user="ana")
        self.assertEqual((reply.topic, reply.user), (topic.topic, "ana"))
        self.assertEqual(ben.hear(), [topic])
        self.assertEqual(ben.ask("topic").topic, "tea and cake")
        cem = self.house.visitor("cem")
        self.assertEqual(cem.ask("list").rooms[0].topic, "tea and cake")
        self.assertEqual(cem.ask("join", "den").topic, "tea and cake")

    def test_bounds(self) -> None:
        """It has at most 1024 bytes."""
        ana = self.house.visitor("ana", "den")
        self.assertEqual(ana.ask("topic", "é" * 512).topic, "é" * 512)
        self.error(ana, "bad_argument", "topic", "é" * 512 + "x")
        self.assertEqual(ana.ask("topic").topic, "é" * 512)
