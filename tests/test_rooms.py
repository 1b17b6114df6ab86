"""The core: who is here, who is where, who hears what. No socket, no disk, no clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from random import Random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from pylingo import names
from pylingo.protocol import (
    ChatError,
    Closing,
    Error,
    Event,
    Joined,
    Left,
    Message,
    Notice,
    Pong,
    Private,
    Renamed,
    Sent,
)
from pylingo.rooms import MOST_REQUESTS, SOME_REQUESTS, Post, Registry, Room, User, silence


class Chat:
    """A registry whose log is a list; what is in it is published when a test says so."""

    def __init__(self) -> None:
        self.posts: list[Post] = []
        self.registry = Registry(self.posts.append)

    def user(self, name: str, *rooms: str) -> tuple[User, list[Any]]:
        heard: list[Any] = []

        def hear(events: Sequence[Event]) -> None:
            # Notices are for people; who becomes an operator is told by one.
            heard.extend(event for event in events if not isinstance(event, Notice))

        user = self.registry.enter(hear)
        user.rename(names.user(name))
        for room in rooms:
            user.join(names.room(room))
        return user, heard

    def publish(self) -> None:
        """Give ids to what was said, and tell it."""
        posts = self.posts[:]
        self.posts.clear()
        for number, post in enumerate(posts, self.registry.last + 1):
            post.id = number
        self.registry.publish(posts)


class ChatTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.chat = Chat()
        self.registry = self.chat.registry

    def refused(self, code: str, do: Callable[..., Any], *arguments: Any, **more: Any) -> str:
        error = self.assertRaises(ChatError, do, *arguments, **more)
        self.assertEqual((error.code, error.fatal), (code, False))
        return str(error.text)


class UserTests(ChatTestCase):
    def test_guest(self) -> None:
        """Who enters has a name of their own at once, and is in no room."""
        users = [self.registry.enter(silence) for _ in range(3)]
        self.assertEqual(len({user.name.key for user in users}), 3)
        self.assertTrue(all(user.room is None for user in users))

    def test_guest_taken(self) -> None:
        """A guest's name that somebody has taken, or a look-alike of it, is passed over."""
        first, second = self.registry.enter(silence), self.registry.enter(silence)
        first.rename(names.user("Guest-4"))
        second.rename(names.user("guest-з"))
        self.assertEqual(self.registry.enter(silence).name.shown, "guest-5")

    def test_rename(self) -> None:
        """Everyone else in the room hears of a new name; the one who took it is answered."""
        ana, ana_heard = self.chat.user("ana", "lobby")
        _, ben_heard = self.chat.user("ben", "lobby")
        _, eve_heard = self.chat.user("eve", "attic")
        ana_heard.clear()
        renamed = ana.rename(names.user("Anna"))
        self.assertEqual(renamed, Renamed(user="ana", to="Anna"))
        self.assertEqual((ana_heard, ben_heard, eve_heard), ([], [renamed], []))

    def test_rename_finds(self) -> None:
        """A user is found under the new name, and not under the old one."""
        ana, _ = self.chat.user("ana")
        ana.rename(names.user("Zoë"))
        self.assertIs(self.registry.user(names.user("ZOË")), ana)
        self.refused("no_such_user", self.registry.user, names.user("ana"))

    def test_rename_case(self) -> None:
        """One may change the case of one's own name; the others hear of it."""
        ana, _ = self.chat.user("ana", "lobby")
        _, heard = self.chat.user("ben", "lobby")
        ana.rename(names.user("ANA"))
        self.assertEqual(heard, [Renamed(user="ana", to="ANA")])

    def test_rename_same(self) -> None:
        """Taking the name one has is answered, and nobody else hears of it."""
        ana, _ = self.chat.user("ana", "lobby")
        _, heard = self.chat.user("ben", "lobby")
        self.assertEqual(ana.rename(names.user("ana")), Renamed(user="ana", to="ana"))
        self.assertEqual(heard, [])

    def test_rename_own_twin(self) -> None:
        """One may take a name that looks like one's own."""
        ana, _ = self.chat.user("ana")
        ana.rename(names.user("аna"))
        self.assertIs(self.registry.user(names.user("аna")), ana)

    def test_taken(self) -> None:
        """Of two who want one name, the first has it, and the second keeps the old one."""
        self.chat.user("ana")
        ben, _ = self.chat.user("ben")
        for name in ("ana", "ANA", "ａｎａ"):
            self.assertNotIn("looks", self.refused("name_taken", ben.rename, names.user(name)))
        self.refused("name_taken", ben.rename, names.user("ana"), own=True)
        self.assertEqual(ben.name.shown, "ben")
        self.assertIs(self.registry.user(names.user("ben")), ben)

    def test_twin(self) -> None:
        """A look-alike of a name in use is taken, and the sentence says whose it is."""
        self.chat.user("ana")
        ben, _ = self.chat.user("ben")
        self.assertIn("ana", self.refused("name_taken", ben.rename, names.user("аna")))

    def test_free_again(self) -> None:
        """A name is free, and so are its look-alikes, when who had it goes or takes another."""
        ana, _ = self.chat.user("ana")
        ana.rename(names.user("eve"))
        ben, _ = self.chat.user("аna")
        ben.quit()
        self.chat.user("ana")
        ana.quit()
        self.chat.user("eve")

    def test_linger(self) -> None:
        """A lingering user keeps room and name; neither it nor a look-alike can be taken."""
        ana, heard = self.chat.user("ana", "lobby")
        ben, ben_heard = self.chat.user("ben", "lobby")
        heard.clear()
        ana.linger(60.0)
        self.assertEqual(ben_heard, [])
        self.refused("name_taken", ben.rename, names.user("ana"))
        self.refused("name_taken", ben.rename, names.user("аna"))
        ben.say("hi")
        self.chat.publish()
        self.assertEqual(heard, [])

    def test_expire(self) -> None:
        """Who has lingered long enough leaves the room and the chat."""
        ana, _ = self.chat.user("ana", "lobby")
        _, heard = self.chat.user("ben", "lobby")
        ana.linger(60.0)
        self.assertEqual([*self.registry.expire(59.9, 10)], [])
        self.assertEqual([*self.registry.expire(60.0, 10)], [ana])
        self.assertEqual(heard, [Left(room="lobby", user="ana", reason="connection lost")])
        self.refused("no_such_user", self.registry.user, names.user("ana"))

    def test_expire_most(self) -> None:
        """Of too many lingering users, the first to have gone end early."""
        users = [self.chat.user(f"user{n}")[0] for n in range(5)]
        for user in users:
            user.linger(60.0)
        self.assertEqual([*self.registry.expire(1.0, 3)], users[:2])

    def test_expire_crowd(self) -> None:
        """Of too many, those of one address make way first, and not those of others."""
        ana, _ = self.chat.user("ana")
        ana.host = "192.0.2.1"
        crowd = [self.chat.user(f"user{n}")[0] for n in range(5)]
        for user in (ana, *crowd):
            user.linger(60.0)
        for user in crowd:
            user.host = "192.0.2.2"
        ended = self.registry.expire(1.0, 3)
        self.assertEqual(next(ended), crowd[0])
        crowd[1].resume(silence)
        self.assertEqual([*ended], [crowd[2]])
        self.assertEqual([*self.registry.expire(1.0, 1)], [crowd[3], ana])

    def test_resume(self) -> None:
        """A lingering user who is resumed hears again, and does not end."""
        ana, _ = self.chat.user("ana", "lobby")
        ben, _ = self.chat.user("ben", "lobby")
        ana.linger(60.0)
        heard: list[Event] = []
        ana.resume(heard.extend)
        self.assertEqual([*self.registry.expire(1000.0, 0)], [])
        ben.say("back?")
        self.chat.publish()
        self.assertEqual([event.text for event in heard if isinstance(event, Message)], ["back?"])

    def test_replaced(self) -> None:
        """The connection that another one takes over from hears so, and nothing after it."""
        ana, heard = self.chat.user("ana", "lobby")
        ben, _ = self.chat.user("ben", "lobby")
        heard.clear()
        ana.resume(silence)
        ben.say("hi")
        self.chat.publish()
        self.assertEqual([type(event) for event in heard], [Closing])
        self.assertEqual(heard[0].reason, "replaced")

    def test_resume_in_one_turn(self) -> None:
        """A new name, a resume and something said in one turn: all hear one story."""
        ana, old = self.chat.user("ana", "lobby")
        _, ben_heard = self.chat.user("ben", "lobby")
        old.clear()
        new: list[Event] = []
        ana.say("one", re=1)
        ana.rename(names.user("Anna"))
        ana.resume(new.extend)
        ana.say("two", re=2)
        self.chat.publish()
        self.assertEqual([type(event) for event in old], [Closing, Sent])
        self.assertEqual([type(event) for event in ben_heard], [Renamed, Message, Message])
        self.assertEqual([event.user for event in ben_heard[1:]], ["ana", "Anna"])
        # The new connection did not say the first one: it hears it.
        self.assertEqual([type(event) for event in new], [Message, Sent])

    def test_quit(self) -> None:
        """Who quits leaves every room; those who stay hear why."""
        ana, ana_heard = self.chat.user("ana", "lobby", "attic")
        _, ben_heard = self.chat.user("ben", "lobby")
        _, eve_heard = self.chat.user("eve", "attic")
        ana_heard.clear()
        ana.quit("lunch")
        self.assertEqual(ben_heard, [Left(room="lobby", user="ana", reason="lunch")])
        self.assertEqual(eve_heard, [Left(room="attic", user="ana", reason="lunch")])
        self.assertEqual((ana_heard, ana.room), ([], None))


class RoomTests(ChatTestCase):
    def test_apart(self) -> None:
        """Two of whom the chat knows nothing but what they hear with are not the same to it."""
        ana, ben = self.registry.enter(silence), self.registry.enter(silence)
        room = ana.join(names.room("lobby"))
        ben.join(names.room("lobby"))
        self.assertEqual((ana.place in room.rules.operators, ana.place == ben.place), (True, False))

    def test_deaf_at_the_end(self) -> None:
        """Who cannot be told the last word, for a fault of ours, is gone all the same."""

        def deaf(_: Sequence[Event]) -> None:
            raise ValueError("as a bug would")

        broken: list[User] = []
        self.registry.broken = broken.append
        ana, ben = self.registry.enter(deaf), self.registry.enter(deaf)
        ana.quit("kicked", Closing(reason="kicked", text="You were kicked."))
        ben.resume(silence)
        self.assertEqual(broken, [ana, ben])
        self.assertEqual([*self.registry.users.values()], [ben])

    def test_joined_and_alone(self) -> None:
        """Who was alone, and leaves because somebody comes, leaves a room that goes on."""

        def shy(events: Sequence[Event]) -> None:
            if isinstance(events[0], Joined):
                host.leave(host.here)

        host = self.registry.enter(shy)
        host.join(names.room("lobby"))
        ana, _ = self.chat.user("ana", "lobby")
        ben, _ = self.chat.user("ben", "lobby")
        self.assertIs(ana.room, ben.room)
        self.assertEqual(self.registry.rooms, {"lobby": ana.room})

    def test_join(self) -> None:
        """Those in the room hear who comes; who comes hears nothing of it."""
        _, ana_heard = self.chat.user("ana", "lobby")
        ben, ben_heard = self.chat.user("ben", "Lobby")
        self.assertEqual(ana_heard, [Joined(room="lobby", user="ben")])
        self.assertEqual(ben_heard, [])
        self.assertEqual(ben.here.shown(), ["ana", "ben"])

    def test_join_again(self) -> None:
        """Joining the room one is in changes nothing, and nobody hears of it."""
        ana, _ = self.chat.user("ana", "lobby")
        _, heard = self.chat.user("ben", "lobby")
        room = ana.here
        self.assertIs(ana.join(names.room("#LOBBY")), room)
        self.assertEqual((len(room.members), heard), (2, []))

    def test_exists_while_used(self) -> None:
        """A room is there while somebody is in it; of one that is gone, nothing is kept."""
        ana, _ = self.chat.user("ana", "lobby")
        ben, _ = self.chat.user("ben", "lobby")
        ana.leave(ana.here)
        self.assertIn("lobby", self.registry.rooms)
        ben.leave(ben.here)
        self.assertEqual((self.registry.rooms, self.registry.made), ({}, {}))

    def test_twin(self) -> None:
        """A room whose name looks like another's cannot be made while that is there."""
        ana, _ = self.chat.user("ana", "lobby")
        ben, _ = self.chat.user("ben")
        self.assertIn("lobby", self.refused("name_taken", ben.join, names.room("lоbby")))
        ana.leave(ana.here)
        ben.join(names.room("lоbby"))

    def test_leave(self) -> None:
        """Leaving is answered, and told to those who stay."""
        ana, ana_heard = self.chat.user("ana", "lobby")
        _, ben_heard = self.chat.user("ben", "lobby")
        ana_heard.clear()
        left = ana.leave(ana.here, "tea")
        self.assertEqual(left, Left(room="lobby", user="ana", reason="tea"))
        self.assertEqual((ana_heard, ben_heard), ([], [left]))

    def test_nowhere(self) -> None:
        """Who is in no room cannot speak there."""
        ana, _ = self.chat.user("ana")
        self.refused("not_in_room", ana.say, "hi")
        self.refused("not_in_room", lambda: ana.here)
        self.assertEqual(self.chat.posts, [])

    def test_last_joined(self) -> None:
        """Of several rooms, the one joined last is where one speaks."""
        ana, _ = self.chat.user("ana", "lobby", "attic")
        self.assertEqual(ana.here.name.shown, "attic")
        ana.leave(ana.here)
        self.assertEqual(ana.here.name.shown, "lobby")

    def test_shown(self) -> None:
        """A room names its members in the order they came, and as many as are asked for."""
        for name in ("zoe", "ana", "ben"):
            user, _ = self.chat.user(name, "lobby")
        self.assertEqual(user.here.shown(), ["zoe", "ana", "ben"])
        self.assertEqual(user.here.shown(2), ["zoe", "ana"])
        summary = user.here.summary()
        self.assertEqual((summary.name, summary.count, summary.locked), ("lobby", 3, False))

    def test_tell_all(self) -> None:
        """Everyone in the chat can be told something."""
        _, ana_heard = self.chat.user("ana", "lobby")
        _, ben_heard = self.chat.user("ben")
        notice = Pong(body="Lunch.")
        self.registry.tell(notice)
        self.assertEqual((ana_heard, ben_heard), ([notice], [notice]))


class PublishTests(ChatTestCase):
    def test_message(self) -> None:
        """Everyone else in the room hears a message, nobody elsewhere; the sender is answered."""
        ana, ana_heard = self.chat.user("ana", "lobby")
        _, ben_heard = self.chat.user("ben", "lobby")
        _, eve_heard = self.chat.user("eve", "attic")
        ana_heard.clear()
        ana.say("hi", re=4)
        self.assertEqual(ben_heard, [])
        self.chat.publish()
        self.assertEqual(ben_heard, [Message(id=1, at=0, room="lobby", user="ana", text="hi")])
        self.assertEqual(ana_heard, [Sent(id=1, at=0, re=4)])
        self.assertEqual(eve_heard, [])

    def test_quiet(self) -> None:
        """What was said without an id is not answered."""
        ana, heard = self.chat.user("ana", "lobby")
        ana.say("hi")
        self.chat.publish()
        self.assertEqual(heard, [])

    def test_action(self) -> None:
        """An action is one for those who hear it."""
        ana, _ = self.chat.user("ana", "lobby")
        _, heard = self.chat.user("ben", "lobby")
        ana.say("waves", action=True)
        self.chat.publish()
        self.assertTrue(heard[0].action)

    def test_clean(self) -> None:
        """What is said is cleaned before it is stored."""
        ana, _ = self.chat.user("ana", "lobby")
        ana.say("\x1b[2Jhi")
        ben, _ = self.chat.user("ben")
        ben.tell(ana, "a\x07b")
        self.assertEqual([post.text for post in self.chat.posts], ["[2Jhi", "ab"])

    def test_private(self) -> None:
        """What is said to one is heard by that one, in a room or not, and by nobody else."""
        ana, ana_heard = self.chat.user("ana", "lobby")
        ben, ben_heard = self.chat.user("ben")
        _, eve_heard = self.chat.user("eve", "lobby")
        ana_heard.clear()
        ana.tell(ben, "psst", re=1)
        self.chat.publish()
        self.assertEqual(ben_heard, [Private(id=1, at=0, user="ana", to="ben", text="psst")])
        self.assertEqual(ana_heard, [Sent(id=1, at=0, re=1)])
        self.assertEqual(eve_heard, [])

    def test_to_oneself(self) -> None:
        """Who says something to themselves hears it, and is answered."""
        ana, heard = self.chat.user("ana")
        ana.tell(ana, "note", re=1)
        self.chat.publish()
        self.assertCountEqual([type(event) for event in heard], [Private, Sent])

    def test_order(self) -> None:
        """Messages, private ones and own answers of one group come in the order of ids."""
        ana, ana_heard = self.chat.user("ana", "lobby")
        ben, ben_heard = self.chat.user("ben", "lobby")
        eve, _ = self.chat.user("eve", "lobby")
        ana_heard.clear()
        ben_heard.clear()
        ben.say("1", re=1)
        ana.say("2")
        eve.tell(ben, "3")
        ben.say("4", re=2)
        eve.say("5")
        ben.tell(ana, "6", re=3)
        ana.say("7")
        self.chat.publish()
        self.assertEqual([event.id for event in ben_heard], [1, 2, 3, 4, 5, 6, 7])
        kinds = [Sent, Message, Private, Sent, Message, Sent, Message]
        self.assertEqual([type(event) for event in ben_heard], kinds)
        self.assertEqual([event.id for event in ana_heard], [1, 4, 5, 6])

    def test_several_rooms(self) -> None:
        """Who is in several rooms hears each message of them once, in the order of ids."""
        ana, _ = self.chat.user("ana", "lobby")
        ben, _ = self.chat.user("ben", "attic")
        _, heard = self.chat.user("eve", "lobby", "attic")
        for number in range(3):
            ana.say(f"lobby {number}")
            ben.say(f"attic {number}")
        self.chat.publish()
        self.assertEqual([event.id for event in heard], [1, 2, 3, 4, 5, 6])

    def test_out_of_several_rooms(self) -> None:
        """It is so in any two of three; who is in one room, or gone, is not among them any more."""
        ana, _ = self.chat.user("ana", "lobby")
        ben, _ = self.chat.user("ben", "attic")
        eve, heard = self.chat.user("eve", "den", "lobby", "attic")
        registry = self.chat.registry
        eve.leave(registry.rooms["den"])
        ben.say("attic")
        ana.say("lobby")
        ben.say("attic")
        self.chat.publish()
        told = [event for event in heard if isinstance(event, Message)]
        self.assertEqual([event.id for event in told], [1, 2, 3])
        self.assertEqual(registry.several, {eve})
        eve.leave(registry.rooms["attic"])
        self.assertEqual(registry.several, set())

    def test_any_group(self) -> None:
        """Whatever comes in one group: as if it had been told one by one, in the order of ids."""
        for seed in range(300):
            with self.subTest(seed=seed):
                self._any_group(Random(seed))

    def _any_group(self, dice: Random) -> None:
        chat = Chat()
        rooms = [names.room(f"room{number}") for number in range(3)]
        users, heard = zip(*[chat.user(f"user{number}") for number in range(5)], strict=True)
        for user in users:
            for room in dice.sample(rooms, dice.choice([0, 1, 1, 1, 2, 3])):
                user.join(room)
        for number in range(dice.randrange(1, 20)):
            user, re = dice.choice(users), dice.choice([None, number])
            if user.room is None or dice.random() < 0.2:
                user.tell(dice.choice(users), f"{number}", re=re)
            else:
                user.say(f"{number}", re=re, action=dice.random() < 0.2)
            if dice.random() < 0.1:
                chat.posts[-1].first = chat.registry.last = 1_000 + number
        for user in users:
            chance = dice.random()
            if chance < 0.1:
                user.linger(60.0)
            elif chance < 0.2 and user.room is not None:
                user.leave(user.room)
        chat.registry.last = 2_000
        posts = chat.posts[:]
        for events in heard:
            events.clear()
        chat.publish()
        expected: list[list[Any]] = [[] for _ in users]
        for post in posts:
            place = chat.registry.rooms.get(post.target.key) if post.place[0] == "#" else None
            for user, events in zip(users, expected, strict=True):
                answered = post.sender is user and post.hear is user.hear
                in_room = place is not None and user in place.members and not answered
                hears = not post.first and user.hear is not silence
                if hears and (in_room or post.place == user.place):
                    events.append(post.event())
                if post.sender is user and post.re is not None:
                    events.append(post.sent())
        for events in expected:
            events.sort(key=attrgetter("id"))
        for user, events, right in zip(users, heard, expected, strict=True):
            self.assertEqual(events, right, user.name.shown)

    def test_one_sequence(self) -> None:
        """Everyone in a room hears the same sequence of events, so it is encoded once."""
        ana, _ = self.chat.user("ana", "lobby")
        sequences: list[Sequence[Event]] = []
        for _ in range(3):
            self.registry.enter(sequences.append).join(names.room("lobby"))
        sequences.clear()
        ana.say("a")
        ana.say("b")
        self.chat.publish()
        self.assertEqual(len(sequences), 3)
        self.assertEqual(len({id(sequence) for sequence in sequences}), 1)

    def test_resent(self) -> None:
        """What was stored before is answered as at first, and nobody hears it again."""
        ana, ana_heard = self.chat.user("ana", "lobby")
        _, ben_heard = self.chat.user("ben", "lobby")
        ana_heard.clear()
        self.registry.last = 5_000_000
        ana.say("hi", re="x")
        self.chat.posts[0].first = 4_000_000
        self.chat.publish()
        self.assertEqual(ana_heard, [Sent(id=4_000_000, at=4000, re="x")])
        self.assertEqual(ben_heard, [])
        self.assertEqual(self.registry.last, 5_000_000)

    def test_most_requests(self) -> None:
        """So many requests of a user are known, the latest; those before are forgotten."""
        ana, _ = self.chat.user("ana", "lobby")
        for number in range(2 * MOST_REQUESTS):
            ana.say(str(number), re=number)
        self.assertTrue(MOST_REQUESTS <= len(ana.requests) <= MOST_REQUESTS + SOME_REQUESTS)

    def test_name_at_the_time(self) -> None:
        """A message shows the name its sender had when saying it."""
        ana, _ = self.chat.user("ana", "lobby")
        _, heard = self.chat.user("ben", "lobby")
        ana.say("hi")
        ana.rename(names.user("Anna"))
        heard.clear()
        self.chat.publish()
        self.assertEqual(heard[0].user, "ana")

    def test_left_meanwhile(self) -> None:
        """Who leaves before a message is stored does not hear it; its sender is answered."""
        ana, ana_heard = self.chat.user("ana", "lobby")
        ben, ben_heard = self.chat.user("ben", "lobby")
        _, eve_heard = self.chat.user("eve", "lobby")
        ana.say("hi", re=1)
        ben.leave(ben.here)
        ana.leave(ana.here)
        for heard in (ana_heard, ben_heard, eve_heard):
            heard.clear()
        self.chat.publish()
        self.assertEqual(ana_heard, [Sent(id=1, at=0, re=1)])
        self.assertEqual(ben_heard, [])
        self.assertEqual([event.text for event in eve_heard], ["hi"])

    def test_room_gone(self) -> None:
        """A room that emptied before its last message was stored is no trouble."""
        ana, heard = self.chat.user("ana", "lobby")
        ana.say("bye", re=1)
        ana.leave(ana.here)
        self.chat.publish()
        self.assertEqual(heard, [Sent(id=1, at=0, re=1)])

    def test_room_again(self) -> None:
        """A room of the same name, made meanwhile, hears what was said in the one before."""
        ana, _ = self.chat.user("ana", "lobby")
        ana.say("bye")
        ana.leave(ana.here)
        _, heard = self.chat.user("ben", "lobby")
        self.chat.publish()
        self.assertEqual([event.text for event in heard], ["bye"])

    def test_gone_sender(self) -> None:
        """What somebody said just before the connection ended is heard, and answered there."""
        ana, ana_heard = self.chat.user("ana", "lobby")
        _, ben_heard = self.chat.user("ben", "lobby")
        ana_heard.clear()
        ana.say("last words", re=1)
        ana.linger(60.0)
        self.chat.publish()
        self.assertEqual([event.text for event in ben_heard], ["last words"])
        self.assertEqual([(type(event), event.re) for event in ana_heard], [(Sent, 1)])

    def test_refused(self) -> None:
        """What could not be stored is heard by nobody; its sender is told, also without an id."""
        ana, ana_heard = self.chat.user("ana", "lobby")
        _, ben_heard = self.chat.user("ben", "lobby")
        ana_heard.clear()
        ana.say("a", re=1)
        ana.say("b")
        ana.say("c", re=2)
        posts = self.chat.posts[:]
        posts[2].hear = silence
        self.registry.refuse(posts)
        self.assertEqual([(type(e), e.code, e.re) for e in ana_heard],
                         [(Error, "internal", 1), (Error, "internal", None)])  # fmt: skip
        self.assertEqual(ben_heard, [])


class BroadcastTests(ChatTestCase):
    """What happens inside a broadcast."""

    def test_leaves(self) -> None:
        """A member that leaves because of what it hears does not keep the others from hearing."""
        ana, _ = self.chat.user("ana", "lobby")
        ben, _ = self.chat.user("ben", "lobby")
        _, eve_heard = self.chat.user("eve", "lobby")

        def leave(_: Sequence[Event]) -> None:
            if ben.room is not None:
                ben.leave(ben.here, "too loud")

        ben.hear = leave
        ana.say("HI")
        self.chat.publish()
        self.assertEqual({type(event) for event in eve_heard}, {Message, Left})
        self.assertEqual(len(eve_heard), 2)

    def test_dropped(self) -> None:
        """A member that is dropped by another's hearing hears nothing more."""
        ana, _ = self.chat.user("ana", "lobby")
        ben, _ = self.chat.user("ben", "lobby")
        eve, eve_heard = self.chat.user("eve", "lobby")
        zoe, zoe_heard = self.chat.user("zoe", "lobby")
        ben.hear = lambda _: eve.quit("dropped") if eve.room else None
        eve_heard.clear()
        zoe_heard.clear()
        ana.say("hi")
        self.chat.publish()
        self.assertEqual(eve_heard, [])
        self.assertEqual({type(event) for event in zoe_heard}, {Message, Left})
        self.assertEqual(zoe.here.shown(), ["ana", "ben", "zoe"])

    def test_dropped_in_tell(self) -> None:
        """The same, when somebody joins."""
        ben, _ = self.chat.user("ben", "lobby")
        eve, eve_heard = self.chat.user("eve", "lobby")
        ben.hear = lambda _: eve.quit("dropped") if eve.room else None
        eve_heard.clear()
        ana, _ = self.chat.user("ana", "lobby")
        self.assertEqual(eve_heard, [])
        self.assertEqual(ana.here.shown(), ["ben", "ana"])

    def test_dropped_in_notice(self) -> None:
        """The same, when everyone is told something."""
        ana, _ = self.chat.user("ana")
        _, ben_heard = self.chat.user("ben")
        ana.hear = lambda _: ana.quit() if ana.name.key in self.registry.users else None
        self.registry.tell(Pong(body="hi"))
        self.assertEqual(ben_heard, [Pong(body="hi")])

    def test_all_leave(self) -> None:
        """Everyone may leave inside one broadcast; the room is gone then."""
        ana, _ = self.chat.user("ana", "lobby")
        for name in ("ben", "eve", "zoe"):
            user, _ = self.chat.user(name, "lobby")
            user.hear = lambda _, user=user: user.quit() if user.room else None  # type: ignore[misc]
        ana.say("fire")
        ana.leave(ana.here)
        self.chat.publish()
        self.assertEqual(self.registry.rooms, {})

    def test_talks_back(self) -> None:
        """What somebody says because of what it hears comes after it."""
        ana, ana_heard = self.chat.user("ana", "lobby")
        ben, _ = self.chat.user("ben", "lobby")
        ana_heard.clear()
        ben.hear = lambda events: ben.say(f"echo {events[0].text}")  # type: ignore[attr-defined]
        ana.say("hi", re=1)
        self.chat.publish()
        self.chat.publish()
        self.assertEqual([event.id for event in ana_heard], [1, 2])


class PlaceTests(ChatTestCase):
    def test_places(self) -> None:
        """A room is filed by its key, a user by the session, or by the account if there is one."""
        user = self.registry.enter(silence, 77)
        self.assertEqual(user.place, "~77")
        user.account = "ana"
        self.assertEqual(user.place, "@ana")
        self.assertEqual(Room(Registry(lambda _: None), names.room("LOBBY"), "").place, "#lobby")
