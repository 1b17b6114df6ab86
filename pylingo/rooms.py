"""Who is here, who is where, who hears what.

The core of the chat. Whatever lets people in (a socket, a bot, a test) holds one object and gives
one callable:

    user = registry.enter(hear)     # hear: called with a sequence of events
    user.join(names.room("lobby"))
    user.say("hi")

What a user *does* is a method of `User`. What happens is told as events, through `hear`, to
everyone whom it concerns, but not to the one who caused it: the method's result is the answer.
A `hear` never blocks or raises, and does nothing to the chat before it returns: others are still to
hear the same. After `Closing` it gets nothing more, except answers to what was said there before.

A message is not told at once. It becomes a `Post` and goes to the log (`registry.append`), which
gives it its id, stores it, and gives it back in the right order, through `registry.publish`. So
nobody hears what is not stored.

A `User` outlives a connection: without one it lingers, with `silence` as its `hear`, until it is
resumed or `registry.expire` ends it.

Nothing here knows about sockets, bytes, disks or Twisted, and the time is an argument.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice
from operator import attrgetter
from typing import TypeAlias

from msgspec import Struct

from pylingo import names
from pylingo.names import Looks, Name
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
    RequestId,
    RoomSummary,
    Sent,
    Stored,
)
from pylingo.rules import Rules, places

Hear: TypeAlias = Callable[[Sequence[Event]], None]

MOST_ROOMS = 100
"""Rooms that one user has made and that still exist."""
MOST_LOCKED = 1_000
"""Rooms that are kept only for their lock: no operator has an account."""
MOST_GONE = 2_000
"""Guests who are gone, or have another name now, and can be banned all the same."""
MOST_REQUESTS = 512
"""Messages of one user that are known again when they are resent."""
SOME_REQUESTS = 64
"""How many of them are forgotten at a time."""
NAMES_WITH_JOINED = 100
"""How many names the answer to a join has; `users` has all of them."""


def silence(events: Sequence[Event]) -> None:
    """What a user without a connection hears with."""


def muted_everywhere() -> ChatError:
    """For a user who is muted on the whole server."""
    return ChatError("forbidden", "You are muted on this server. Ask an admin to unmute you.")


def resending(request: str | None, text: str, what: bool | str) -> int:
    """What a message and its resending have in common, as a key; only for this process.

    `what` is whether it is an action, or the key of the name that it was said to alone. Which room
    does not matter: who was sent out of it meanwhile sends it again from elsewhere.
    """
    return hash((request, text, what))


class Post(Struct, eq=False, gc=False):
    """Something said, on its way through the log.

    `place` is where the log files it, and says who is to hear it. `target` is the name of that
    room or person, `called` the key by which the sender called the person, which may be that of
    another name of the same account. `user` is the name under which it was said, `hear` the door at
    which, and about as many `listeners` hear it.
    `first` is the id of the earlier post that this one is a resending of, or 0; `request` is `re`
    as the log keeps it. `id` and `line`, what is stored of it, are the log's.
    """

    sender: User
    hear: Hear
    place: str
    target: Name
    user: str
    text: str
    re: RequestId | None = None
    action: bool = False
    called: str = ""
    listeners: int = 1
    first: int = 0
    request: str | None = None
    id: int = 0
    line: bytes = b""

    @property
    def key(self) -> int:
        """By which it is known when it is sent again."""
        return resending(self.request, self.text, self.called or self.action)

    def again(self) -> None:
        """The one that this repeats was not stored: repeat a later one, or become the first."""
        self.first = self.sender.requests.setdefault(self.key, self.id)
        if self.first == self.id:
            self.first = 0

    def sent(self) -> Sent:
        """What the one who said it is told."""
        id = self.first or self.id
        return Sent(id, id // 1000, re=self.re)

    def event(self) -> Message | Private:
        """What those who hear it are told."""
        id, at, shown = self.id, self.id // 1000, self.target.shown
        if self.place[0] == "#":
            return Message(id, at, shown, self.user, self.text, self.action)
        return Private(id, at, self.user, shown, self.text)


class Telling(Struct, gc=False):
    """What was said in a room, for those who hear nothing else at the time.

    `users` hear all `events`; each of the `talkers` hears the answers, by their places, to what it
    said itself, or nothing where there is to be none.
    """

    users: Collection[User]
    events: Sequence[Stored]
    talkers: dict[User, dict[int, Sent | None]]

    def stream(self, answers: dict[int, Sent | None]) -> list[Stored]:
        """What one who has those answers hears."""
        heard = (answers.get(index, event) for index, event in enumerate(self.events))
        return [event for event in heard if event is not None]


class Gone(Struct, frozen=True):
    """A guest who is gone, or has another name now, as rules see one."""

    name: Name
    place: str
    host: str
    session: int


class Room:
    """A room and its members, in the order they came. It exists while it has some, or is kept."""

    __slots__ = ("maker", "members", "name", "place", "registry", "rules", "topic")

    def __init__(self, registry: Registry, name: Name, maker: str) -> None:
        self.registry = registry
        self.name = name
        self.maker = maker
        """The place of who has made it."""
        self.place = "#" + name.key
        """Where the log files what is said here."""
        self.members: dict[User, None] = {}
        self.topic = ""
        self.rules = Rules()

    @property
    def locked(self) -> bool:
        """Whether it takes a password to join."""
        return bool(self.rules.lock)

    def tell(self, event: Event, but: User | None = None) -> None:
        """Everyone in the room hears `event`, except one."""
        # A copy: who hears something may leave because of it.
        members = [*self.members]
        if but in self.members:
            members.remove(but)
        self.registry.share(members, (event,))

    def shown(self, most: int | None = None) -> list[str]:
        """The names of the first `most` members, or of all."""
        return [member.name.shown for member in islice(self.members, most)]

    def run_by(self, most: int) -> list[str]:
        """The names of the first `most` operators who are here."""
        operators = self.rules.operators
        here = (member for member in self.members if member.place in operators)
        return [member.name.shown for member in islice(here, most)]

    def summary(self) -> RoomSummary:
        return RoomSummary(self.name.shown, len(self.members), self.topic, self.locked)


class User:
    """Somebody in the chat: a name, the rooms they are in, and how to reach them."""

    __slots__ = (
        "account", "entered", "hear", "host", "login", "name", "registry", "requests", "rooms",
        "said", "session", "spent", "tokens", "told",
    )  # fmt: skip

    def __init__(self, registry: Registry, name: Name, hear: Hear, session: int, host: str) -> None:
        self.registry = registry
        self.name = name
        self.hear = hear
        self.session = session
        self.tokens: tuple[bytes, ...] = ()
        self.account: str | None = None
        self.host = host
        """Where the connection is from, or was; known to admins only."""
        self.requests: dict[int, int] = {}
        """What was said lately: the messages' ids by `resending`."""
        self.entered = True
        """Whether the server's password was given, or there is none."""
        self.rooms: dict[Room, int] = {}
        """Each room with the id of the last message before joining it."""
        self.said = 0
        """The id of the newest message that this user said."""
        self.spent = 0.0
        """When the requests so far would have come in, had they come at the allowed rate."""
        self.told = 0
        """The id of the newest message that was told to this user alone."""
        self.login: int | None = None
        """The id of the newest message when the user logged in; None without a login."""

    def __str__(self) -> str:
        """As the server's own log has it, to tell one guest from another."""
        return f"{self.name} at {self.host or 'this machine'}"

    @property
    def place(self) -> str:
        """Where the log files what is said to this user alone."""
        return f"~{self.session}" if self.account is None else "@" + self.account

    @property
    def whence(self) -> str:
        """What wrong passwords are counted by; without an address, each peer counts for itself."""
        return self.host or f"session {self.session}"

    @property
    def room(self) -> Room | None:
        """The room joined last, of those the user is in."""
        return next(reversed(self.rooms), None)

    @property
    def here(self) -> Room:
        """The same, for what needs one. Raises `ChatError` ``not_in_room``."""
        room = self.room
        if room is None:
            raise ChatError(
                "not_in_room",
                "You are in no room. /list shows the rooms, /join ROOM takes you into one.",
            )
        return room

    def hears(self, events: Sequence[Event], at: Hear | None = None) -> None:
        """Tell this user, perhaps `at` a door that does not serve them any more.

        A fault in the telling is noted, and is nobody else's trouble.
        """
        try:
            (self.hear if at is None else at)(events)
        except Exception:  # noqa: BLE001 - `hear` is not ours, and others wait to be told
            self.registry.broken(self)

    def rename(self, name: Name, *, own: bool = False) -> Renamed:
        """Take `name`, which is that of the user's account if it is the user's `own`.

        Raises `ChatError` ``name_taken``, or ``forbidden`` for a banned one.
        """
        old = self.name
        # In capitals a name may look like another. An account's own may be older than what is known
        # of look-alikes.
        new_look = not own and not {*name.skeletons} <= {*old.skeletons}
        if name.key != old.key or new_look:
            self.registry.reserved(name, self)
        if name.key != old.key and name.key in self.registry.rules.bans:
            raise ChatError("forbidden", f"The name {name} is banned here. Take another.")
        self.registry.claim(name, self, like=new_look)
        renamed = Renamed(user=old.shown, to=name.shown)
        if name.shown != old.shown:
            for room in self.rooms:
                room.tell(renamed, but=self)
        return renamed

    def join(self, name: Name) -> Room:
        """Go into a room, which is made if it is not there.

        Who makes a room is its operator, and so is who finds one that has none, unless it is
        locked. Raises `ChatError` ``name_taken`` for a look-alike of another room's name.
        """
        room = self.registry.open(name, self)
        if room not in self.rooms:
            if not (room.rules.operators or room.locked):
                self.registry.promote(room, self.place)
            room.members[self] = None
            self.rooms[room] = self.registry.last
            if len(self.rooms) > 1:
                self.registry.several.add(self)
            room.tell(Joined(room=room.name.shown, user=self.name.shown), but=self)
        return room

    def leave(self, room: Room, reason: str = "left") -> Left:
        """Go out of `room`, where the user is."""
        left = Left(room=room.name.shown, user=self.name.shown, reason=reason)
        del self.rooms[room]
        del room.members[self]
        if len(self.rooms) < 2:
            self.registry.several.discard(self)
        room.tell(left)
        if self.account is None:
            # Guests who leave stop being operators.
            self.registry.retire(room, self.place)
        self.registry.close(room)
        return left

    def say(self, text: str, *, action: bool = False, re: RequestId | None = None) -> None:
        """Say something in the room.

        Raises `ChatError`: ``not_in_room``, ``forbidden`` for the muted, or as `names.message`.
        """
        room = next(reversed(self.rooms), None)
        if room is None or (room.rules.mutes and room.rules.muted(self)):
            if self.answered(text, re, action):
                return
            room = self.here
            raise ChatError(
                "forbidden", f"You are muted in {room.name}. Ask an operator to unmute you."
            )
        self._post(room.place, room.name, text, re, action, listeners=len(room.members))

    def tell(
        self, other: User, text: str, *, re: RequestId | None = None, called: str = ""
    ) -> None:
        """Say something to one user alone, by the name they have or the key they were `called` by.

        Raises `ChatError` as `say`, but for the room.
        """
        self._post(other.place, other.name, text, re, called=called or other.name.key)

    def write(self, place: str, name: Name, text: str, *, re: RequestId | None = None) -> None:
        """Say something to one who is away, for the next login. Raises `ChatError` likewise."""
        self._post(place, name, text, re, called=name.key)

    def answered(self, text: str, re: RequestId | None, what: bool | str) -> bool:
        """Whether it is a resending of what is stored, which is answered whatever has changed."""
        first = self.requests.get(resending(repr(re), names.clean(text), what), 0)
        if not 0 < first <= self.registry.last:
            return False
        shown = self.name.shown
        post = Post(self, self.hear, self.place, self.name, shown, text, re, first=first)
        self.registry.append(post)
        return True

    def _post(
        self, place: str, target: Name, text: str, re: RequestId | None,
        action: bool = False, called: str = "", listeners: int = 1,
    ) -> None:  # fmt: skip
        """Take it to the log; what was said before under the same id goes as a resending.

        Another text under a used id is another message: careless, but nothing is to be lost.
        Raises `ChatError` ``forbidden`` for the muted on the whole server, or as `names.message`.
        """
        registry = self.registry
        rules = registry.rules
        what = called or action
        if rules.mutes and rules.muted(self):
            if self.answered(text, re, what):
                return
            raise muted_everywhere()
        text = names.message(text)
        shown = self.name.shown
        post = Post(self, self.hear, place, target, shown, text, re, action, called, listeners)
        requests, key = self.requests, None
        if re is not None:
            post.request = request = repr(re)
            key = resending(request, text, what)
            post.first = requests.get(key, 0)
        registry.append(post)
        self.said = post.id
        if key is not None and not post.first:
            requests[key] = post.id
            if len(requests) > MOST_REQUESTS + SOME_REQUESTS:
                for old in tuple(islice(requests, SOME_REQUESTS)):
                    del requests[old]

    def quit(self, reason: str = "bye", last: Closing | None = None) -> None:
        """Leave every room and the chat; the connection, if there is one, hears the `last`."""
        hear, self.hear = self.hear, silence
        for room in tuple(self.rooms):
            self.leave(room, reason)
        self.registry.forget(self)
        if last is not None:
            self.hears((last,), hear)

    def linger(self, until: float) -> None:
        """Stay without a connection, until the clock says `until` at most."""
        self.hear = silence
        self.registry.lingering[self] = until

    def resume(self, hear: Hear) -> None:
        """Go on with another connection; one that is still there hears that it was replaced."""
        self.registry.lingering.pop(self, None)
        before, self.hear = self.hear, hear
        text = "Your session goes on in another connection."
        self.hears((Closing(reason="replaced", text=text),), before)


class Registry:
    """All users, all rooms, and the names of both.

    `append` takes a `Post` to the log; the log calls `publish`, or `refuse`, with it later.
    """

    def __init__(self, append: Callable[[Post], None]) -> None:
        self.append = append
        self.everywhere = Room(self, Name("this server", "", ()), "")
        """In place of a room, for what holds in all of them; it has no members."""
        self.rules = self.everywhere.rules
        self.reserved: Callable[[Name, User], None] = _nothing
        """Raises `ChatError` if the name is not for that user."""
        self.keep: Callable[[Room], None] = _nothing
        """Told that the rules of a room have changed, so that they are kept."""
        self.broken: Callable[[User], None] = _nothing
        """Told, while the exception is handled, whose `hear` has failed."""
        self.spread: Callable[[Iterable[Telling]], None] = _each
        """Tells what was said in rooms; a door that can do it faster than one by one may."""
        self.share: Callable[[Sequence[User], Sequence[Event]], None] = _share
        """Tells users something else; likewise."""
        self.several: set[User] = set()
        """Users who are in several rooms."""
        self.made: Counter[str] = Counter()
        """How many of the rooms that exist somebody has made, by place."""
        self.users: dict[str, User] = {}
        self.places: dict[str, User] = {}
        """Who hears what is said to a place that is no room: a session, or an account in use."""
        self.rooms: dict[str, Room] = {}
        self.former: dict[str, Room] = {}
        """Rooms of guests from before the server was started again: they may come back."""
        self.lingering: dict[User, float] = {}
        self.gone: dict[str, Gone] = {}
        """Guests by names they do not have any more."""
        self.last = 0
        """The id of the newest message that was published."""
        self._user_looks: Looks[User] = Looks()
        self._room_looks: Looks[Room] = Looks()
        self.guests = 0
        """The highest number in a guest's name so far."""

    def enter(self, hear: Hear, session: int | None = None, host: str = "") -> User:
        """A new user, with a guest's name, and with a number where there is no session."""
        while True:
            self.guests += 1
            name = names.user(f"guest-{self.guests}")
            # Nor is anybody to be hit by what was meant for somebody of that name.
            meant = name.key in self.rules.bans or name.key in self.rules.mutes
            if self._holder(name) is None and not meant:
                break
        user = User(self, name, hear, -self.guests if session is None else session, host)
        self.places[user.place] = user
        self._put(user)
        return user

    def user(self, name: Name) -> User:
        """Who has that name. Raises `ChatError` ``no_such_user``."""
        try:
            return self.users[name.key]
        except KeyError:
            raise ChatError(
                "no_such_user",
                f"Nobody here is called {name}. Check the spelling; /users lists your room.",
            ) from None

    def called(self, name: Name) -> User | None:
        """Who has that name, or the account of that name."""
        return self.users.get(name.key) or self.places.get("@" + name.key)

    def claim(self, name: Name, user: User, *, like: bool) -> None:
        """Give `name` to `user` in place of the old one.

        Raises `ChatError` ``name_taken`` if somebody has it or, if `like`, has one that looks like
        it.
        """
        holder = self._holder(name, but=user, like=like)
        if holder is not None:
            twin = "" if holder.name.key == name.key else f" It looks like {holder.name}."
            raise ChatError(
                "name_taken", f"The name {name} is taken.{twin} Choose another: /name NAME"
            )
        self._drop(user)
        user.name = name
        self._put(user)

    def open(self, name: Name, maker: User) -> Room:
        """The room of that name, made if need be.

        Raises `ChatError`: ``name_taken`` for a look-alike of another room's name, ``forbidden``
        for a `maker` who has made too many.
        """
        room = self.rooms.get(name.key)
        if room is None:
            room = self.former.pop(name.key, None) or self._make(name, maker)
            self.rooms[name.key] = room
            self.made[room.maker] += 1
        return room

    def _make(self, name: Name, maker: User) -> Room:
        twin = self._room_looks.twin(name)
        if twin is not None:
            raise ChatError(
                "name_taken", f"{name} looks like the room {twin.name}. Choose another name."
            )
        place = maker.place
        if self.made[place] >= MOST_ROOMS:
            raise ChatError(
                "forbidden",
                f"You have made {MOST_ROOMS} rooms that still exist. Use one of them, or "
                "give one up: /unlock it, /deop yourself, and leave it.",
            )
        room = Room(self, name, place)
        self._room_looks.put(name, room)
        return room

    def restore(self, name: Name, maker: str) -> Room:
        """A room that was kept: it may be older than what is known of look-alikes."""
        room = self.rooms[name.key] = Room(self, name, maker)
        self.made[maker] += 1
        self._room_looks.put(name, room)
        return room

    def pass_on(self) -> None:
        """Guests of before a restart have had time to come back: others may run their rooms now."""
        for room in (*self.former.values(), *self.rooms.values()):
            here = {member.place for member in room.members}
            gone = [one for one in room.rules.operators if one[0] == "~" and one not in here]
            if gone:
                # There may be many, and `retire` looks for an heir and stores: once is enough.
                for place in gone[1:]:
                    del room.rules.operators[place]
                self.retire(room, gone[0])
        former, self.former = self.former, {}
        for room in former.values():
            self._room_looks.drop(room.name, room)

    def known(self, name: Name) -> Room | None:
        """The room of that name, also one that waits for those who were in it."""
        return self.rooms.get(name.key) or self.former.get(name.key)

    def retire(self, room: Room, place: str) -> bool:
        """End somebody's being operator, and pass on a room without one; whether they were one.

        It goes to the member who has been there longest.
        """
        if place not in room.rules.operators:
            return False
        del room.rules.operators[place]
        heirs = (member for member in room.members if member.place != place)
        if not room.rules.operators and (heir := next(heirs, None)) is not None:
            self.appoint(room, heir)
        self.keep(room)
        return True

    def appoint(self, room: Room, user: User) -> None:
        """As `promote`, for somebody who is here and is told."""
        self.promote(room, user.place)
        user.hears((Notice(text=f"You are an operator of {room.name} now. See /help."),))

    def promote(self, room: Room, place: str) -> None:
        """Make whoever has that place an operator of `room`."""
        if place not in room.rules.operators:
            room.rules.operators[place] = None
            self.keep(room)

    def operated(self, place: str) -> int:
        """How many rooms somebody is operator of."""
        rooms = (*self.rooms.values(), *self.former.values())
        return sum(place in room.rules.operators for room in rooms)

    def close(self, room: Room) -> None:
        """Forget a room that nobody is in, unless it is kept, or its operators may come back."""
        if room.members or room.rules.kept or self.rooms.get(room.name.key) is not room:
            return
        del self.rooms[room.name.key]
        self.made[room.maker] -= 1
        if self.made[room.maker] <= 0:
            del self.made[room.maker]
        if room.rules.operators:
            self.former[room.name.key] = room
        else:
            self._room_looks.drop(room.name, room)

    def lock(self, room: Room, lock: str) -> None:
        """Let only those join who know the password, of which `lock` is the hash.

        Raises `ChatError` ``forbidden`` where only guests run the room, and too many are so.
        """
        if not (room.rules.owned or room.locked):
            guests = sum(one.locked and not one.rules.owned for one in self.rooms.values())
            if guests >= MOST_LOCKED:
                raise ChatError(
                    "forbidden",
                    f"There are {MOST_LOCKED} locked rooms that only guests run. "
                    "Register your name first: /register PASSWORD",
                )
        room.rules.lock = lock

    def forget(self, user: User) -> None:
        """Let go of a user who has left every room."""
        self.lingering.pop(user, None)
        for place in {*places(user)}:
            del self.places[place]
        self._drop(user)

    def expire(self, now: float, most: int) -> Iterator[User]:
        """End the users that have lingered long enough, and those past the `most` that may.

        All linger equally long, so the oldest come first; but where there are too many, the oldest
        of the address that has the most. It yields each one it has ended, so that the caller can
        pause in between: each is told to many.
        """
        while self.lingering:
            user, until = next(iter(self.lingering.items()))
            if until > now:
                break
            user.quit("connection lost")
            yield user
        if len(self.lingering) <= most:
            return
        # How many of the same address are as new, or newer: who has the most of those goes first.
        crowds: Counter[str] = Counter()
        newer: dict[User, int] = {}
        for user in reversed(self.lingering):
            crowds[user.whence] += 1
            newer[user] = crowds[user.whence]
        for user in sorted(self.lingering, key=newer.__getitem__, reverse=True):
            # Some may have come back since.
            if user in self.lingering and len(self.lingering) > most:
                user.quit("connection lost")
                yield user

    def publish(self, posts: Sequence[Post]) -> None:
        """Stored: tell those whom it concerns, each once and in the order of ids.

        Everyone in a room hears the same sequence, so that a door need encode it only once. Those
        who said some of it, get something private or are in several rooms get their own.
        """
        said: dict[str, tuple[dict[User, None], list[Post]]] = {}
        apart: dict[User, list[Stored]] = defaultdict(list)
        elsewhere: list[Post] = []
        """Said at a door that does not serve the sender any more, and to be answered there."""
        for post in posts:
            if not post.first:
                self.last = post.id
                if post.place[0] == "#":
                    key = post.target.key
                    if key not in said:
                        # The room of that name now: the one before may have emptied meanwhile.
                        said[key] = self.rooms[key].members if key in self.rooms else {}, []
                    members, here = said[key]
                    here.append(post)
                    if post.sender in members and post.hear is post.sender.hear:
                        continue
                elif (recipient := self.places.get(post.place)) is not None:
                    apart[recipient].append(post.event())
                    if recipient.hear is not silence:  # Nobody has heard it then.
                        recipient.told = post.id
            # The answer, where it does not come among what the room hears.
            if post.re is None:
                pass
            elif post.hear is post.sender.hear:
                apart[post.sender].append(post.sent())
            else:
                elsewhere.append(post)
        self.spread([self._telling(members, here, apart) for members, here in said.values()])
        for user, heard in apart.items():
            if heard:
                user.hears(sorted(heard, key=attrgetter("id")))
        for post in sorted(elsewhere, key=lambda post: post.first or post.id):
            post.sender.hears((post.sent(),), post.hear)

    def _telling(
        self, members: dict[User, None], posts: Sequence[Post], apart: dict[User, list[Stored]]
    ) -> Telling:
        """What was said in one room, but for those who hear more: they get all of it in `apart`."""
        users = members.copy()
        telling = Telling(users, [post.event() for post in posts], {})
        talkers = telling.talkers
        for index, post in enumerate(posts):
            sender = post.sender
            if post.hear is sender.hear and sender in members:
                answer = None if post.re is None else post.sent()
                if sender in users:
                    del users[sender]
                    talkers[sender] = {index: answer}
                else:
                    talkers[sender][index] = answer
            # Otherwise another connection serves the sender now: it did not say this, and hears
            # it as everyone does.
        if apart or self.several:
            for user in (apart.keys() | self.several) & members.keys():
                apart[user] += telling.stream(talkers.pop(user, {}))
                users.pop(user, None)
        return telling

    def refuse(self, posts: Iterable[Post]) -> None:
        """Not stored: tell those who said it."""
        for post in posts:
            if 0 < post.first <= self.last:
                # Not this time, but what it repeats was.
                post.sender.hears((post.sent(),), post.hear)
                continue
            requests = post.sender.requests
            if requests.get(post.key) == post.id:
                del requests[post.key]
            error = Error(
                code="internal",
                text="The server could not store your message. Send it again later.",
                fatal=False,
                re=post.re,
            )
            post.sender.hears((error,), post.hear)

    def tell(self, event: Event, but: User | None = None) -> None:
        """Everyone hears `event`, except one, and those who are not let in."""
        let_in = [
            user
            for user in self.users.values()
            # Users in a room were let in; only the others have to be checked.
            if user is not but and user.entered and (user.rooms or self.rules.banned(user) is None)
        ]
        self.share(let_in, (event,))

    def _holder(self, name: Name, but: User | None = None, *, like: bool = True) -> User | None:
        same = self.users.get(name.key)
        if same is not None and same is not but:
            return same
        return self._user_looks.twin(name, but) if like else None

    def _put(self, user: User) -> None:
        self.users[user.name.key] = user
        self._user_looks.put(user.name, user)

    def _drop(self, user: User) -> None:
        del self.users[user.name.key]
        self._user_looks.drop(user.name, user)
        self.remember(user)

    def remember(self, user: User) -> None:
        """Keep in mind the name of a guest who goes, or who will go by another."""
        before = self.gone.get(user.name.key)
        here = before and self.places.get(f"~{before.session}")
        if here and here is not user:
            # That one is still here, by another name, and this name means somebody else by now.
            del self.gone[user.name.key]
        # A guest's first name is one to be known by only if something was said under it.
        if user.account is None and (user.said or not user.name.key.startswith("guest-")):
            self.gone.pop(user.name.key, None)
            self.gone[user.name.key] = Gone(user.name, user.place, user.host, user.session)
            if len(self.gone) > MOST_GONE:
                del self.gone[next(iter(self.gone))]


def _share(users: Iterable[User], events: Sequence[Event]) -> None:
    for user in users:
        user.hears(events)


def _each(tellings: Iterable[Telling]) -> None:
    for telling in tellings:
        _share(telling.users, telling.events)
        for user, answers in telling.talkers.items():
            told = telling.stream(answers)
            if told:
                user.hears(told)


def _nothing(*_: object) -> None:
    """What a registry does where nobody has said otherwise."""
