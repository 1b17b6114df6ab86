"""The rooms against a model of them, through whatever hypothesis can think of.

The model is the plainest thing that could be right: lists, and loops over all of them. It knows
who is where, what everybody has to hear and in which order, which names are taken, and which rooms
there are. After each step the registry has to agree with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations
from operator import attrgetter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from pylingo import names
from pylingo.names import Name
from pylingo.protocol import (
    ChatError,
    Closing,
    Error,
    Event,
    Joined,
    Left,
    Message,
    Notice,
    Private,
    Renamed,
    Sent,
    Stored,
)
from pylingo.rooms import Post, Registry, User, silence

USERS = (
    ("Iris", "iris", "lris", "1ris", "іris", "IRIS"),
    ("ana", "ANA", "аna", "bob", "b0b", "bоb"),
    ("josé", "José", "jose", "straße", "STRASSE", "jоse"),
    ("guest-2", "Guest-3", "guest-l", "guest-4", "GUEST-1", "gue5t-2"),
)
"""Each run has few, so that they collide: by case, by look, and with the names that guests get."""
ROOMS = ("lobby", "Lobby", "1obby", "lоbby", "den", "Iris", "iris", "іris")
LINGER = 10
MOST_PEOPLE = 8

indexes = st.integers(0, 20)
"""Who, or where, of those there are: modulo their number."""


@dataclass(eq=False)
class Connection:
    """What was heard at one place, and what had to be."""

    heard: list[Event] = field(default_factory=list)
    expected: list[Event] = field(default_factory=list)

    def hear(self, events: Sequence[Event]) -> None:
        # What a notice says is for people; that it comes is what counts here.
        self.heard += [Notice(text="") if isinstance(e, Notice) else e for e in events]


@dataclass(eq=False)
class Person:
    """A user, as the model knows them."""

    user: User
    name: Name
    connection: Connection | None
    rooms: list[str] = field(default_factory=list)
    until: int = 0

    def expect(self, *events: Event) -> None:
        if self.connection is not None:
            self.connection.expected += events


@dataclass(eq=False)
class Place:
    """A room, as the model knows it."""

    name: Name
    members: list[Person] = field(default_factory=list)
    operators: set[Person] = field(default_factory=set)


@dataclass(eq=False)
class Said:
    """Something said that is not stored yet."""

    post: Post
    sender: Person
    connection: Connection | None
    room: str | None
    recipient: Person | None
    event: Stored


class Rooms(RuleBasedStateMachine):
    """People come, go, talk, break off and come back."""

    def __init__(self) -> None:
        super().__init__()
        self.appended: list[Post] = []
        self.registry = Registry(self.append)
        self.people: list[Person] = []
        self.places: dict[str, Place] = {}
        self.waiting: list[Said] = []
        self.connections: list[Connection] = []
        self.ids = 1_000_000
        self.last = 0
        self.now = 0
        self.sessions = 0
        self.pool: tuple[str, ...] = ()

    @initialize(pool=st.sampled_from(USERS))
    def begin(self, pool: tuple[str, ...]) -> None:
        self.pool = pool

    def append(self, post: Post) -> None:
        """The log, as far as rooms know it: it gives ids."""
        self.ids += 700
        post.id = self.ids
        self.appended.append(post)

    # Of the model.

    def person(self, index: int) -> Person:
        return self.people[index % len(self.people)]

    def connect(self) -> Connection:
        connection = Connection()
        self.connections.append(connection)
        return connection

    def tell(self, place: Place, event: Event, but: Person | None = None) -> None:
        for member in place.members:
            if member is not but:
                member.expect(event)

    def leave(self, person: Person, key: str, reason: str) -> Left:
        place = self.places[key]
        person.rooms.remove(key)
        place.members.remove(person)
        left = Left(room=place.name.shown, user=person.name.shown, reason=reason)
        self.tell(place, left)
        if person in place.operators:
            place.operators.remove(person)
            if place.members and not place.operators:
                place.operators.add(place.members[0])
                place.members[0].expect(Notice(text=""))
        if not place.members:
            del self.places[key]
        return left

    def end(self, person: Person, reason: str) -> None:
        person.connection = None
        for key in tuple(person.rooms):
            self.leave(person, key, reason)
        self.people.remove(person)

    def note(self, person: Person, room: str | None, recipient: Person | None) -> None:
        post = self.appended[-1]
        at = post.id // 1000
        event: Stored
        if room is not None:
            event = Message(
                id=post.id, at=at, room=self.places[room].name.shown, user=person.name.shown,
                text=post.text, action=post.action,
            )  # fmt: skip
        else:
            assert recipient is not None
            event = Private(
                id=post.id, at=at, user=person.name.shown, to=recipient.name.shown, text=post.text
            )
        self.waiting.append(Said(post, person, person.connection, room, recipient, event))

    def due(self, person: Person, group: Sequence[Said]) -> list[Event]:
        """What `person` has to hear when `group` is stored."""
        due: list[Stored] = []
        for said in group:
            own = said.sender is person and said.connection is person.connection
            if not said.post.first:
                if said.room in person.rooms and not own:
                    due.append(said.event)
                if said.recipient is person:
                    due.append(said.event)
            if own and said.post.re is not None:
                id = said.post.first or said.post.id
                due.append(Sent(id=id, at=id // 1000, re=said.post.re))
        return [*sorted(due, key=attrgetter("id"))]

    # What happens.

    @precondition(lambda self: len(self.people) < MOST_PEOPLE)
    @rule()
    def enter(self) -> None:
        connection = self.connect()
        self.sessions += 1
        user = self.registry.enter(connection.hear, self.sessions)
        self.people.append(Person(user, user.name, connection))

    @precondition(lambda self: self.people)
    @rule(who=indexes, what=indexes)
    def rename(self, who: int, what: int) -> None:
        person, name = self.person(who), names.user(self.pool[what % len(self.pool)])
        others = [other for other in self.people if other is not person]
        taken = any(name.key == o.name.key or _alike(name, o.name) for o in others)
        renamed = _or_error(lambda: person.user.rename(name))
        if taken:
            assert renamed == "name_taken"
            return
        assert renamed == Renamed(user=person.name.shown, to=name.shown)
        if name.shown != person.name.shown:
            assert isinstance(renamed, Event)
            for key in person.rooms:
                self.tell(self.places[key], renamed, but=person)
        person.name = name

    @precondition(lambda self: self.people)
    @rule(who=indexes, text=st.sampled_from(ROOMS))
    def join(self, who: int, text: str) -> None:
        person, name = self.person(who), names.room(text)
        twins = [p for p in self.places.values() if _alike(p.name, name)]
        room = _or_error(lambda: person.user.join(name))
        place = self.places.get(name.key)
        if place is None and twins:
            assert room == "name_taken"
            return
        if place is None:
            place = self.places[name.key] = Place(name, operators={person})
        if person not in place.members:
            self.tell(place, Joined(room=place.name.shown, user=person.name.shown))
            place.members.append(person)
            person.rooms.append(name.key)

    @precondition(lambda self: any(person.rooms for person in self.people))
    @rule(who=indexes, where=indexes, reason=st.sampled_from(("left", "tired")))
    def go(self, who: int, where: int, reason: str) -> None:
        inside = [person for person in self.people if person.rooms]
        person = inside[who % len(inside)]
        key = person.rooms[where % len(person.rooms)]
        left = person.user.leave(self.registry.rooms[key], reason)
        assert left == self.leave(person, key, reason)

    @precondition(lambda self: self.people)
    @rule(who=indexes, re=st.none() | st.integers(0, 5), action=st.booleans())
    def say(self, who: int, re: int | None, action: bool) -> None:
        person = self.person(who)
        said = _or_error(partial(person.user.say, f"text {self.ids}", action=action, re=re))
        if not person.rooms:
            assert said == "not_in_room"
        else:
            self.note(person, person.rooms[-1], None)

    @precondition(lambda self: self.people)
    @rule(who=indexes, whom=indexes, re=st.none() | st.integers(0, 5))
    def whisper(self, who: int, whom: int, re: int | None) -> None:
        person, other = self.person(who), self.person(whom)
        person.user.tell(self.registry.user(other.name), f"text {self.ids}", re=re)
        self.note(person, None, other)

    @precondition(lambda self: self.waiting)
    @rule(count=st.integers(1, 5), doubled=st.sets(st.integers(0, 4), max_size=2))
    def store(self, count: int, doubled: set[int]) -> None:
        """The log has stored some; a few of them turned out to be said again."""
        group, self.waiting = self.waiting[:count], self.waiting[count:]
        for index, said in enumerate(group):
            if index in doubled and said.post.re is not None:
                said.post.first = 1_000_000 + index
            else:
                self.last = said.post.id
        for person in self.people:
            person.expect(*self.due(person, group))
        for said in sorted(group, key=lambda said: said.post.first or said.post.id):
            if said.post.re is not None and said.connection not in (None, said.sender.connection):
                # It is answered where it was said, whoever is served there now; as all, by its id.
                assert said.connection is not None
                id = said.post.first or said.post.id
                said.connection.expected.append(Sent(id=id, at=id // 1000, re=said.post.re))
        self.registry.publish([said.post for said in group])

    @precondition(lambda self: self.waiting)
    @rule(count=st.integers(1, 3))
    def refuse(self, count: int) -> None:
        """The log could not store some."""
        group, self.waiting = self.waiting[:count], self.waiting[count:]
        before = {connection: len(connection.heard) for connection in self.connections}
        self.registry.refuse([said.post for said in group])
        for connection, heard in before.items():
            answers = [said.post.re for said in group if said.connection is connection]
            errors = connection.heard[heard:]
            assert all(isinstance(e, Error) and e.code == "internal" for e in errors)
            assert [e.re for e in errors] == answers
            connection.expected += errors

    @precondition(lambda self: self.people)
    @rule(who=indexes)
    def quit(self, who: int) -> None:
        person = self.person(who)
        person.user.quit("bye")
        self.end(person, "bye")

    @precondition(lambda self: any(person.connection for person in self.people))
    @rule(who=indexes)
    def linger(self, who: int) -> None:
        here = [person for person in self.people if person.connection]
        person = here[who % len(here)]
        person.until = self.now + LINGER
        person.user.linger(person.until)
        person.connection = None

    @precondition(lambda self: self.people)
    @rule(who=indexes)
    def resume(self, who: int) -> None:
        person, connection = self.person(who), self.connect()
        before, person.connection = person.connection, connection
        heard = len(before.heard) if before is not None else 0
        person.user.resume(connection.hear)
        if before is not None:
            (closing,) = before.heard[heard:]
            assert isinstance(closing, Closing)
            assert closing.reason == "replaced"
            before.expected.append(closing)

    @rule(passed=st.integers(0, LINGER), most=st.integers(0, MOST_PEOPLE))
    def expire(self, passed: int, most: int) -> None:
        self.now += passed
        ended = []
        lingering = sorted((p for p in self.people if p.connection is None), key=self._order)
        while lingering and (lingering[0].until <= self.now or len(lingering) > most):
            person = lingering.pop(0)
            ended.append(person.user)
            self.end(person, "connection lost")
        assert [*self.registry.expire(self.now, most)] == ended

    @rule()
    def announce(self) -> None:
        self.registry.tell(Notice(text="for all"))
        for person in self.people:
            person.expect(Notice(text=""))

    def _order(self, person: Person) -> int:
        return list(self.registry.lingering).index(person.user)

    # What is always so.

    @invariant()
    def everybody_heard_what_they_had_to(self) -> None:
        for connection in self.connections:
            assert connection.heard == connection.expected

    @invariant()
    def everybody_is_where_they_went(self) -> None:
        rooms = self.registry.rooms
        assert rooms.keys() == self.places.keys()
        for key, place in self.places.items():
            assert rooms[key].name == place.name
            assert list(rooms[key].members) == [member.user for member in place.members]
            assert rooms[key].summary().count == len(place.members)
        for person in self.people:
            assert [room.name.key for room in person.user.rooms] == person.rooms

    @invariant()
    def a_name_belongs_to_one(self) -> None:
        users = self.registry.users
        assert {key: user.name for key, user in users.items()} == {
            person.name.key: person.name for person in self.people
        }
        for one, other in combinations(users.values(), 2):
            assert not _alike(one.name, other.name)

    @invariant()
    def those_who_linger_are_known(self) -> None:
        silent = {person.user for person in self.people if person.connection is None}
        assert self.registry.lingering.keys() == silent

    @invariant()
    def the_newest_id_is_known(self) -> None:
        assert self.registry.last == self.last

    def teardown(self) -> None:
        """When all have left, nothing is left."""
        for person in tuple(self.people):
            person.user.quit()
            self.end(person, "bye")
        assert not self.registry.rooms
        assert not self.registry.users
        assert not self.registry.lingering


def _alike(one: Name, other: Name) -> bool:
    """Whether two names look alike."""
    return not {*one.skeletons}.isdisjoint(other.skeletons)


def _or_error(act: Callable[[], object]) -> object:
    """What `act` returns, or the code of its `ChatError`."""
    try:
        return act()
    except ChatError as error:
        return error.code


class MachineTests(SynchronousTestCase):
    """The registry beside its model, and what it found once."""

    def test_a_name_that_only_changes_its_case_may_not_become_a_twin(self) -> None:
        """`Iris` looks like `lris`, and `iris` does not; so somebody may be called so beside it."""
        said: list[Post] = []
        registry = Registry(said.append)
        ana, bob = registry.enter(silence, 1), registry.enter(silence, 2)
        ana.rename(names.user("iris"))
        bob.rename(names.user("lris"))
        error = self.assertRaises(ChatError, ana.rename, names.user("Iris"))
        self.assertEqual(error.code, "name_taken")
        bob.quit()
        ana.quit()
        self.assertEqual(registry.users, {})

    def test_the_registry_does_what_the_model_says(self) -> None:
        """Who is where, who hears what, and which names are taken: both always agree."""
        bounds = settings(
            deadline=None,
            max_examples=200,
            stateful_step_count=50,
            database=None,
            print_blob=True,
        )
        try:
            run_state_machine_as_test(Rooms, settings=bounds)
        except AssertionError as error:
            # What led there is in notes, which not every runner shows.
            self.fail("\n".join((str(error), *getattr(error, "__notes__", ()))))
