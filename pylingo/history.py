"""The log of messages: their order, their ids, and where they are kept.

    user.say --> append --> [waiting] --one transaction for all of them, in a thread--> committed
                                                                                           |
         every member hears, the sender gets `sent` <-- publish, on the reactor's thread <-'

All messages of one turn of the reactor are a group. While it is being stored, the next one gathers.
So a quiet chat does not wait, and a busy one stores hundreds in a transaction and tells them
together. A message exists when its group is committed, and nobody hears of it before. Everything
else that must be remembered (sessions, accounts) goes through the same queue, so that a message
never outlives what it depends on.

All that one place got of a group is one row, a batch, with the messages as JSON: a row for each
would take longer than all the rest of storing. The view `messages` shows them one by one.

Ids are microseconds since 1970, or one more than the last if the clock has not moved; they never
repeat, not even after a crash.

Nothing here knows sockets or commands. Threads come in as callables: `run` takes a function, runs
it elsewhere and returns a Deferred. Functions that run there are marked as blocking.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Coroutine, Generator, Iterator, Sequence
from contextlib import closing
from functools import lru_cache
from heapq import merge
from itertools import chain, islice
from math import inf
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias, TypeVar

import msgspec
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from pylingo import names
from pylingo.protocol import Message, Private
from pylingo.rooms import Post, User, resending
from pylingo.schema import Database

T = TypeVar("T")
Change: TypeAlias = Callable[[sqlite3.Connection], Any]
Publish: TypeAlias = Callable[[Sequence[Post]], None]
Run: TypeAlias = Callable[[Callable[[], Any]], "Deferred[Any]"]
Now: TypeAlias = Callable[[], float]
"""The time of day, in seconds since 1970; it may be set."""

REPLAYED = 50
"""Messages that a join replays, and `history` gives unless told otherwise."""
PIECE = 200
"""Messages in one read of what was missed; more come in several."""
LARGEST_PIECE = 256 * 1024
"""Bytes of text in one such read, about."""
MOST_UNSTORED = 4 * 1024
"""Messages that may wait to be stored (of at most 8 KiB each) before talkers have to wait."""
LAST_WORDS = 20
"""Groups that are waited for until all that somebody says has been heard."""
MOST_SESSIONS = 10_000
"""Sessions that wait to be stored while that fails; the oldest of more are forgotten."""
LARGEST_GROUP = 640 * 1024
"""Bytes, about, that are stored and told in one go: those who hear them need time to take it."""
MOST_TOLD = 96 * 1024 * 1024
"""Bytes, about, that all who hear them are told in one go: everybody else has to wait meanwhile."""
MOST_RESENT = 100_000
"""Messages of those who are gone that are known again when they are resent."""
STEP = 500
"""Old rows removed in one transaction."""
LARGEST_STEP = 4 * 1024 * 1024
"""Characters of old messages, about, removed in one transaction."""
DAY = 86_400
FAILURES = (sqlite3.Error, MemoryError)
"""What storing and reading fail with, as when the disk is full."""


class Waiting(NamedTuple):
    """A change, who waits until it is `done`, and the last id `before` it."""

    change: Change
    done: Deferred[Any]
    before: int


class Log:
    """Messages in one order for the whole chat.

    `publish` is given every group that was committed, `refuse` every one that could not be. Ids are
    made of what `now` says; `clock` is for what waits.
    """

    _log = Logger()
    publish: Publish
    refuse: Publish

    def __init__(
        self, database: Database, write: Run, read: Run, clock: IReactorTime, now: Now
    ) -> None:
        self.stored = 0
        """Messages stored so far."""
        self.groups = 0
        """Transactions so far."""
        self.seconds = 0.0
        """How long they took, in all."""
        self._database = database
        self._write = write
        self._read = read
        self._clock = clock
        self._now = now
        self._posts: list[Post] = []
        self._changes: list[Waiting] = []
        self._states: dict[object, Change] = {}
        self._asking: dict[object, list[Deferred[Any]]] = {}
        self._storing = False
        self.failing = False
        self.last = _newest(database.writer)

    @property
    def full(self) -> bool:
        """Whether talkers have to wait, for the disk is slower than they are."""
        return len(self._posts) >= MOST_UNSTORED

    def number(self) -> int:
        """A new id, larger than every one before."""
        now = int(self._now() * 1_000_000)
        self.last = now if now > self.last else self.last + 1
        return self.last

    def append(self, post: Post) -> None:
        """Store `post`; it is published, or refused, when its turn has come."""
        post.id = id = self.number()
        # Encoded here, while it is in the processor's cache. In the thread this would keep Python's
        # lock from the reactor for longer than all the rest of storing does.
        line = Line(id, post.user, post.text, post.action, post.sender.session, post.request)
        post.line = _encode(line)
        self._posts.append(post)
        if not self._storing:
            self._soon()

    def write(self, change: Callable[[sqlite3.Connection], T]) -> Deferred[T]:
        """Make a change, blocking, in the next transaction; the result is what `change` returns.

        Fails with what `change` raised, or with one of `FAILURES` if it could not be committed.
        """
        done: Deferred[T] = Deferred()
        self._changes.append(Waiting(change, done, self.last))
        if not self._storing:
            self._soon()
        return done

    def keep(self, key: object, state: Change) -> None:
        """Make a change some time; one of the same `key` that still waits is dropped for it.

        The key of a session is its number.
        """
        # At the end again: it may touch the same rows as one that came in between.
        self._states.pop(key, None)
        self._states[key] = state
        if not self._storing:
            self._soon()

    def read(self, query: Callable[[sqlite3.Connection], T]) -> Deferred[T]:
        """Run `query`, blocking, beside the transactions. It sees what was published so far."""
        return self._read(lambda: query(self._database.reader))

    def kept(self) -> Deferred[Any]:
        """Fires when all that waits now has been stored; fails with one of `FAILURES` if not.

        What is to be kept is tried again then, with what comes next.
        """
        if self._storing or self._states:
            return self.write(_nothing)
        return succeed(None)

    def flushed(self) -> Deferred[Any]:
        """Fires when all that waits now has been stored, or has failed."""
        return self.kept().addErrback(_forgive)

    async def heard(self, user: User) -> None:
        """Wait until others have heard what `user` said; then something else may happen.

        Who goes on talking all the time is not waited for all the time.
        """
        for _ in range(LAST_WORDS):
            if user.said <= user.registry.last:
                break
            await self.flushed()
            if self.failing:
                break

    def tail(self, place: str, upto: int, count: int = REPLAYED) -> Deferred[list[Message]]:
        """The last `count` messages of a place with ids up to `upto`, oldest first."""
        key = place, upto, count
        return self._shared(key, lambda connection: _tail(connection, *key))

    def missed(
        self, places: Sequence[tuple[str, int]], upto: int
    ) -> Deferred[tuple[list[Message | Private], bool]]:
        """The first messages of places, each after an id of its own, and whether that is all."""
        return self.read(lambda connection: _missed(connection, places, upto))

    def said(self, upto: int) -> Deferred[dict[int, dict[int, int]]]:
        """The newest messages up to an id, by session, for `User.requests`.

        It looks through the newest messages, `MOST_RESENT` or so, which takes some tenths of a
        second.
        """
        return self._shared(upto, lambda connection: _said(connection, upto))

    def forget(self, days: float) -> Deferred[int]:
        """Remove some of the messages older than `days`; the result is how many rows it was."""
        before = int(max(0, self._now() - days * DAY) * 1_000_000)
        return self.write(lambda connection: _forget(connection, before))

    def _shared(self, key: object, query: Callable[[sqlite3.Connection], T]) -> Deferred[T]:
        """As `read`, but once for all who ask the same at a time, as those who come in at nine do.

        Who has given up meanwhile is told nothing: a cancelled Deferred lets that pass.
        """
        answer: Deferred[T] = Deferred()
        asking = self._asking.setdefault(key, [])
        asking.append(answer)
        if len(asking) == 1:
            self.read(query).addBoth(self._answer, key)
        return answer

    def _answer(self, result: Any, key: object) -> None:
        for answer in self._asking.pop(key):
            answer.callback(result)

    def _soon(self) -> None:
        """Store at the end of this turn of the reactor, with all that comes in it."""
        self._storing = True
        self._clock.callLater(0, self._store)

    def _store(self) -> None:
        posts, self._posts = _split(self._posts)
        # A change waits until what was said before it is stored, but not for what came later.
        left = self._posts[0].id if self._posts else inf
        changes = [one for one in self._changes if one.before < left]
        self._changes = self._changes[len(changes) :]
        states, self._states = self._states, {}
        begun, unsure = self._clock.seconds(), self.failing
        storing = self._write(lambda: _commit(self._database, posts, states, changes, unsure))
        storing.addCallbacks(
            self._committed,
            self._not_committed,
            callbackArgs=(posts, changes, begun),
            errbackArgs=(posts, changes, states),
        )
        storing.addErrback(lambda bug: self._log.failure("going on after storing failed", bug))
        storing.addCallback(self._next)

    def _committed(
        self,
        results: list[Any],
        posts: list[Post],
        changes: list[Waiting],
        begun: float,
    ) -> None:
        self.groups += 1
        self.seconds += self._clock.seconds() - begun
        if self.failing:
            self.failing = False
            self._log.info("messages can be stored again")
        if posts:
            self.stored += len(posts)
            try:
                self.publish(posts)
            except Exception:  # noqa: BLE001 - others wait for what they have changed
                self._log.failure("publishing failed")
        for one, result in zip(changes, results, strict=True):
            one.done.callback(result)

    def _not_committed(
        self,
        why: Failure,
        posts: list[Post],
        changes: list[Waiting],
        states: dict[object, Change],
    ) -> None:
        if not isinstance(why.value, FAILURES):
            self._log.failure("storing failed", why)
        else:
            if not self.failing:
                self.failing = True
                self._log.error(
                    "messages cannot be stored in {path}: {why}; trying again with each new one",
                    path=self._database.path,
                    why=why.getErrorMessage(),
                )
            # There may be very many by now, and only few that are newer.
            for key, state in self._states.items():
                states.pop(key, None)
                states[key] = state
            sessions = [key for key in states if isinstance(key, int)]
            for key in sessions[:-MOST_SESSIONS]:
                del states[key]
            self._states = states
        self.refuse(posts)
        failed = {post.id for post in posts}
        for post in self._posts:
            if post.first in failed:
                # It came again while it was being stored; now it is the first, once.
                post.again()
        for one in changes:
            one.done.errback(why)

    def _next(self, _: object) -> None:
        self._storing = bool(self._posts or self._changes or (self._states and not self.failing))
        if self._storing:
            # The end of this turn would be too early: what has come while the last group was
            # told has not been read yet.
            self._clock.callLater(0, self._soon)


def _split(posts: list[Post]) -> tuple[list[Post], list[Post]]:
    """What is stored, and told, in one go, and what is left for the next."""
    size = told = 0
    for count, post in enumerate(posts, 1):
        size += len(post.line)
        told += len(post.line) * (1 if post.first else post.listeners)
        if size >= LARGEST_GROUP or told >= MOST_TOLD:
            return posts[:count], posts[count:]
    return posts, []


def whoever_waits(work: Coroutine[Any, Any, T]) -> Deferred[T]:
    """The result of `work`, which is done even if nobody waits for it any more."""
    waiting: Deferred[T] = Deferred()
    ensureDeferred(work).chainDeferred(waiting)
    return waiting


def _nothing(connection: sqlite3.Connection) -> None:
    """A change that changes nothing, to learn when it was its turn."""


def _forgive(why: Failure) -> Failure | None:
    """That a commit failed is told to those whose change it was; a cancellation goes on."""
    return why if why.check(CancelledError) else None


# What follows blocks; it runs in the threads.


class Line(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A message as it is stored, in the list of its batch, which has its place and its target."""

    id: int
    user: str
    text: str
    action: bool
    session: int
    request: str | None

    def event(self, place: str, target: str) -> Message | Private:
        """What it is when it is told again."""
        id, at = self.id, self.id // 1000
        if place.startswith("#"):
            return Message(id, at, target, self.user, self.text, self.action, replayed=True)
        return Private(id, at, self.user, target, self.text, replayed=True)


_log = Logger()
_encode = msgspec.json.Encoder().encode
_lines = msgspec.json.Decoder(list[Line])
_kept = lru_cache(maxsize=4096)(names.kept)
"""Many messages are to the same few, and what is not ASCII takes long."""


def _decode(said: str) -> list[Line]:
    """The messages of a batch; none of one that was damaged, for the others can still be read."""
    try:
        return _lines.decode(said)
    except msgspec.MsgspecError as error:
        _log.error("some of what was said is lost, its row is damaged: {error}", error=error)
        return []


def _newest(connection: sqlite3.Connection) -> int:
    query = """SELECT max(last) FROM batches UNION ALL SELECT max(id) FROM sessions
        UNION ALL SELECT max(read) FROM accounts"""
    return max(id or 0 for (id,) in connection.execute(query))


def _commit(
    database: Database,
    posts: Sequence[Post],
    states: dict[object, Change],
    changes: Sequence[Waiting],
    unsure: bool,
) -> list[Any]:
    database.check()
    connection = database.writer
    if connection.in_transaction:
        # It could not be rolled back, as when the disk was gone.
        connection.execute("ROLLBACK")
    connection.execute("BEGIN IMMEDIATE")
    try:
        _insert(connection, posts)
        for state in states.values():
            state(connection)
        results = [one.change(connection) for one in changes]
        if unsure:
            # What writes nothing, such as a look at something, would not show that it can be.
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            connection.execute(f"PRAGMA user_version = {version}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return results


def _insert(connection: sqlite3.Connection, posts: Sequence[Post]) -> None:
    """A row for each place, not for each message, which would take longer than all else here."""
    batches: list[tuple[str, str, list[Post]]] = []
    newest: dict[str, tuple[str, str, list[Post]]] = {}
    for post in posts:
        if post.first:
            continue
        batch = newest.get(post.place)
        if batch is None or batch[1] != post.target.shown:
            # One whose name is shown in another way now begins a new one: ids must not overlap.
            batch = newest[post.place] = post.place, post.target.shown, []
            batches.append(batch)
        batch[2].append(post)
    rows = [
        (said[-1].id, place, target, f"[{b','.join([post.line for post in said]).decode()}]")
        for place, target, said in batches
    ]
    # Many rows in one statement: while it runs, the reactor's thread goes on undisturbed.
    done = 0
    for count, statement in _INSERTS:
        while len(rows) - done >= count:
            connection.execute(statement, [*chain.from_iterable(rows[done : done + count])])
            done += count


# All is taken back together if one fails; otherwise each statement would keep a file of its own, of
# what it changes, to be taken back alone.
_INSERTS = tuple(
    (count, "INSERT OR ROLLBACK INTO batches VALUES" + ", ".join(["(?, ?, ?, ?)"] * count))
    for count in (512, 64, 8, 1)
)


def _said(connection: sqlite3.Connection, upto: int) -> dict[int, dict[int, int]]:
    # No batch has messages from before and after a restart.
    query = "SELECT place, target, said FROM batches WHERE last <= ? ORDER BY last DESC"
    with closing(connection.execute(query, (upto,))) as rows:
        every = ((line, row) for *row, batch in rows for line in reversed(_decode(batch)))
        # Not the lines themselves, whose texts might not fit the memory.
        newest = [
            (line.id, line.session, resending(line.request, line.text, what))
            for line, (place, target) in islice(every, MOST_RESENT)
            if line.request is not None
            for what in _kinds(line, place, target)
        ]
    said: dict[int, dict[int, int]] = {}
    # The oldest first, messages and sessions, for these are forgotten first.
    for id, session, key in sorted(newest):
        ids = said[session] = said.pop(session, {})
        ids.setdefault(key, id)
    return said


def _kinds(line: Line, place: str, target: str) -> set[bool | str]:
    """What it was, for `resending`; to an account, by the name they had or by the account's."""
    if place[0] == "#":
        return {line.action}
    return {_kept(target), place[1:]} if place[0] == "@" else {_kept(target)}


def _before(connection: sqlite3.Connection, place: str, upto: int) -> Iterator[Message | Private]:
    """The messages of a place with ids up to `upto`, the newest first."""
    query = """SELECT target, said FROM batches WHERE place = :place AND last <= coalesce(
        (SELECT min(last) FROM batches WHERE place = :place AND last >= :upto), :upto
    ) ORDER BY last DESC"""
    with closing(connection.execute(query, {"place": place, "upto": upto})) as rows:
        for target, batch in rows:
            for line in reversed(_decode(batch)):
                if line.id <= upto:
                    yield line.event(place, target)


def _after(
    connection: sqlite3.Connection, place: str, after: int, upto: int
) -> Generator[Message | Private, None, None]:
    """The messages of a place with ids after one and up to another, the oldest first."""
    query = "SELECT target, said FROM batches WHERE place = ? AND last > ? ORDER BY last"
    with closing(connection.execute(query, (place, after))) as rows:
        for target, batch in rows:
            for line in _decode(batch):
                if line.id > upto:
                    return
                if line.id > after:
                    yield line.event(place, target)


def _tail(connection: sqlite3.Connection, place: str, upto: int, count: int) -> list[Any]:
    return [*islice(_before(connection, place, upto), count)][::-1]


def _missed(
    connection: sqlite3.Connection, places: Sequence[tuple[str, int]], upto: int
) -> tuple[list[Any], bool]:
    each = [_after(connection, place, after, upto) for place, after in places]
    messages: list[Any] = []
    size = 0
    try:
        for message in merge(*each, key=attrgetter("id")):
            messages.append(message)
            size += len(message.text.encode())
            if len(messages) == PIECE or size > LARGEST_PIECE:
                return messages, False
    finally:
        # Where one of them fails, its traceback keeps the others; and as long as a query is not at
        # its end, all that this connection reads is as old as that.
        for one in each:
            one.close()
    return messages, True


def _forget(connection: sqlite3.Connection, before: int) -> int:
    query = "SELECT last, length(said) FROM batches WHERE last < ? ORDER BY last LIMIT ?"
    upto = size = 0
    with closing(connection.execute(query, (before, STEP))) as rows:
        for last, length in rows:
            upto = last
            size += length
            if size > LARGEST_STEP:
                break
    return connection.execute("DELETE FROM batches WHERE last <= ?", (upto,)).rowcount
