"""Sessions: with them a user goes on after a broken connection, or a restart of the server.

A session is a number that never repeats, with a secret token. To resume gives a new token. The old
one stays good until the new one is used, because the answer with the new one may get lost. Tokens
are kept only as hashes, so nobody who reads the database can resume a session.

A session that is not used for a day is forgotten. This module knows users and the log, not sockets.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256

from twisted.internet.defer import Deferred

from pylingo import names
from pylingo.history import DAY, FAILURES, MOST_RESENT, STEP, Log, Now, whoever_waits
from pylingo.names import Name
from pylingo.protocol import ChatError, Closing
from pylingo.rooms import Gone, Registry, Room, User, silence
from pylingo.rules import Rules

REFRESH = 3_600.0
"""Seconds between notes in the database that sessions are still in use."""
IN_USE = 7_200.0
"""Seconds that such a note is ahead of the time, for a server that is killed makes no last one."""
TOKEN = 24
"""Random bytes in a token: 192 bits."""
MOST_CLOSED = 10_000
"""Sessions that are known to have ended while that cannot be stored."""
LOST = "@ "
"""Begins the stored name of a session that a later login took the account from; that follows."""


@dataclass(frozen=True, slots=True)
class Asleep:
    """A session that nobody uses, as the database has it."""

    id: int
    name: str
    account: str | None
    room: str | None
    room_key: str | None
    since: int
    login: int | None
    """As `User.login`; in its column, `handed`, older servers noted a larger id, or the largest."""
    lost: str | None
    """The account that a later login took from it."""

    def banned(self, rules: Rules) -> bool:
        """Whether `rules` keep out whose it is, or was; from where is not known."""
        name = names.stored(self.name, names.kept(self.name))
        account = self.account or self.lost
        whose = [] if self.account is not None else [f"~{self.id}"]
        if account is not None:
            whose.append(f"@{account}")
        return any(rules.banned(Gone(name, place, "", self.id)) is not None for place in whose)


class Sessions:
    """The sessions of all users, by their tokens.

    `restore` is told when the session of a user who is back was logged in to an account; `powerful`
    says whether a user may moderate a room, and so is not kept out of it.
    """

    def __init__(
        self,
        registry: Registry,
        log: Log,
        now: Now,
        restore: Callable[[User, str], None],
        powerful: Callable[[User, Room], bool],
    ) -> None:
        self._registry = registry
        self._log = log
        self._now = now
        self._restore = restore
        self._powerful = powerful
        self._users: dict[bytes, User] = {}
        self._said: dict[int, dict[int, int]] = {}
        self._many = 0
        self._began = log.last
        self._recalled = False
        self._sought: dict[object, set[str]] = {}
        """For each session that is looked up, the keys of rooms that were shut meanwhile."""
        # Nobody is here yet, so no note needs to be ahead; one that is more so is of another clock.
        self._refreshed = now()
        seen = int(self._refreshed)
        log.keep("notes", lambda connection: _level(connection, seen, seen + int(IN_USE)))
        self._closed: dict[int, None] = {}
        """Sessions that have ended for good lately; that may not be stored yet."""

    def token(self, user: User, used: str | None = None) -> str:
        """A new token for `user`, who came with the one that was `used`, if any."""
        token = secrets.token_urlsafe(TOKEN)
        # Of those given out before, the client may have got the newest one, or only the first.
        known = dict.fromkeys((*user.tokens[:1], *user.tokens[-1:]))
        kept = (_hash(used),) if used is not None else tuple(known)
        for old in user.tokens:
            del self._users[old]
        user.tokens = (*kept, _hash(token))
        for new in user.tokens:
            self._users[new] = user
        self.save(user)
        return token

    def find(self, token: str, stored: Asleep | None = None) -> User | None:
        """The user who is here, or lingers, with that token, or whose session is `stored`."""
        user = self._users.get(_hash(token))
        return user or (self._registry.places.get(f"~{stored.id}") if stored is not None else None)

    async def stored(self, token: str) -> Asleep | None:
        """The session with that token, of a user who is gone."""
        if not self._recalled:
            # Whoever asks may give up before that is done, and ask again and again.
            await whoever_waits(self._recall())
        hashed = _hash(token)
        oldest = self._now() - DAY

        def find(connection: sqlite3.Connection) -> Asleep | None:
            return _find(connection, hashed, oldest)

        shut = self._sought[find] = set()
        try:
            while True:
                try:
                    # In its turn among the changes: none that waits is overtaken.
                    found = await self._log.write(find)
                except FAILURES:
                    found = await self._log.read(find)
                    if not self._log.failing:
                        continue  # One may have come between.
                break
        finally:
            del self._sought[find]
        if found is None or found.id in self._closed:
            return None
        return replace(found, room=None) if found.room_key in shut else found

    async def _recall(self) -> None:
        self._learn(await self._log.said(self._began))

    def _learn(self, said: dict[int, dict[int, int]]) -> None:
        """Know again what those who are gone have said; several may have asked for it at once."""
        if not self._recalled:
            self._recalled = True
            self._said = said | self._said
            self._many = sum(map(len, self._said.values()))
            self._forget_said()

    def revive(self, stored: Asleep) -> User:
        """The user of a stored session, here again; under a guest's name if the own is taken."""
        user = self._registry.enter(silence, stored.id)
        user.requests = self._take_said(stored.id)
        user.login = stored.login and min(stored.login, self._registry.last)
        if stored.account is not None:
            self._restore(user, stored.account)
        with suppress(ChatError):
            name = names.user(stored.name, known=True)
            user.rename(name, own=user.account == name.key)
        # Something may have been said, under a name that is known by it.
        user.said = min(stored.id, self._registry.last)
        if stored.room is not None:
            with suppress(ChatError):
                self._return(user, stored, names.room(stored.room, known=True))
        return user

    def _return(self, user: User, stored: Asleep, name: Name) -> None:
        room = self._registry.known(name)
        if room is not None and not self._powerful(user, room):
            # That it was locked meanwhile is known from the database, if that could be told.
            unsure = room.locked and self._log.failing
            # Whether or not the account is elsewhere by now: the session may have been banned.
            if unsure or stored.banned(room.rules):
                return
        user.rooms[user.join(name)] = stored.since

    def save(self, user: User) -> None:
        """Remember how `user` is called, and the room; it goes with the next group of the log.

        Who has not given the server's password, or is banned from it, has nothing to come back to,
        nor has who has ended the session.
        """
        ban = self._registry.rules.banned(user)
        if not (user.entered and user.tokens) or (ban is not None and not ban.hits_beside(user)):
            return
        room = user.room
        ahead = 0 if user in self._registry.lingering else IN_USE
        row = (
            user.session,
            user.tokens[0],
            user.tokens[-1],
            user.name.shown,
            user.account,
            room and room.name.shown,
            user.rooms[room] if room else 0,
            int(self._now() + ahead),
            user.login,
            user.name.key,
            room and room.name.key,
        )
        self._log.keep(user.session, lambda connection: _save(connection, row))

    def part(self, user: User, until: float) -> None:
        """The connection of `user` is gone; who has a way back lingers until the clock says so.

        Who was told no token has none, nor has who is banned from the server, but for those in a
        room who only share the address of somebody else who is.
        """
        ban = self._registry.rules.banned(user)
        if not user.tokens or (ban is not None and not (user.rooms and ban.hits_beside(user))):
            self.close(user, "connection lost")
        else:
            user.linger(until)
            self.save(user)

    def drop(self, user: User) -> None:
        """Let go of a user who is gone; the session can be resumed until a day has passed."""
        for token in user.tokens:
            del self._users[token]
        user.tokens = ()
        if user.requests:
            self._take_said(user.session)
            self._said[user.session] = user.requests
            self._many += len(user.requests)
            self._forget_said()

    def _take_said(self, session: int) -> dict[int, int]:
        said = self._said.pop(session, {})
        self._many -= len(said)
        return said

    def _forget_said(self) -> None:
        if self._many > MOST_RESENT:
            # Count again, because messages that were refused since are not in there any more. That
            # takes a while, so make room for some more.
            self._many = sum(map(len, self._said.values()))
            # A dict looks for its first among all that were taken out of it, so do that once.
            for session in tuple(self._said):
                if self._many <= MOST_RESENT * 9 // 10:
                    break
                self._take_said(session)

    def close(self, user: User, reason: str = "bye", last: Closing | None = None) -> None:
        """End the user, as `User.quit`, and the session for good."""
        user.quit(reason, last)
        self.drop(user)
        session = user.session
        self._take_said(session)
        self._closed[session] = None
        if len(self._closed) > MOST_CLOSED:
            del self._closed[next(iter(self._closed))]
        self._log.keep(session, lambda connection: _close(connection, session))

    def shut_out(self, room: Room) -> None:
        """Sessions that left `room` by a broken connection do not come back to it."""
        key = room.name.key
        for shut in self._sought.values():
            shut.add(key)
        here = {member.session for member in room.members}
        self._log.keep(("room", "shut", key), lambda connection: _shut_out(connection, key, here))

    def gone(self, name: Name) -> Deferred[Gone | None]:
        """The guest of that name whose session can be resumed still; the last who had it."""
        return self._log.read(lambda connection: _gone(connection, name))

    def supersede(self, user: User) -> None:
        """End a lingering user whose account has gone to another; it can be resumed, as a guest."""
        user.quit("replaced")
        self.drop(user)
        # No name has a space, so nobody else is called so.
        lost = f"{LOST}{user.account}"
        row = (f"{lost} {user.name}", lost, user.session)
        update = "UPDATE sessions SET account = NULL, name = ?, key = ? WHERE id = ?"
        self._log.keep(
            ("account", user.session), lambda connection: connection.execute(update, row)
        )

    def refresh(self) -> None:
        """Say now and then, or if the clock was set, that the sessions of all users are in use."""
        now = self._now()
        if abs(now - self._refreshed) < REFRESH:
            return
        self._refreshed = now
        for user in self._registry.users.values():
            if user not in self._registry.lingering:
                self.save(user)

    def forget(self) -> Deferred[int]:
        """Remove some of the sessions unused for a day; the result is how many."""
        oldest = self._now() - DAY
        return self._log.write(lambda connection: _forget(connection, oldest))


def _hash(token: str) -> bytes:
    return sha256(token.encode()).digest()


# What follows blocks; it runs in the threads.


def _find(connection: sqlite3.Connection, token: bytes, oldest: float) -> Asleep | None:
    row = connection.execute(
        "SELECT id, name, account, room, room_key, since, handed FROM sessions"
        " WHERE (token = ? OR fresh = ?) AND seen > ?",
        (token, token, oldest),
    ).fetchone()
    if row is None:
        return None
    id, name, account, room, room_key, since, login = row
    lost = None
    if name.startswith(LOST):
        lost, _, name = name.removeprefix(LOST).partition(" ")
    return Asleep(id, name, account, room, room_key, since, login, lost)


def _save(connection: sqlite3.Connection, row: tuple[object, ...]) -> None:
    marks = ", ".join("?" * len(row))
    connection.execute(f"INSERT OR REPLACE INTO sessions VALUES ({marks})", row)


def _shut_out(connection: sqlite3.Connection, key: str, here: Iterable[int]) -> None:
    out = "room_key = ? AND id NOT IN (SELECT value FROM json_each(?))"
    query = f"UPDATE sessions SET room = NULL, room_key = NULL WHERE {out}"
    connection.execute(query, (key, str([*here])))


def _gone(connection: sqlite3.Connection, name: Name) -> Gone | None:
    query = "SELECT id FROM sessions WHERE key = ? AND account IS NULL ORDER BY seen DESC, id DESC"
    row = connection.execute(f"{query} LIMIT 1", (name.key,)).fetchone()
    return Gone(name, f"~{row[0]}", "", row[0]) if row else None


def _level(connection: sqlite3.Connection, now: int, ahead: int) -> None:
    """What a server that was killed had noted `ahead` of the time is of `now`."""
    connection.execute("UPDATE sessions SET seen = ? WHERE seen BETWEEN ? AND ?", (now, now, ahead))


def _close(connection: sqlite3.Connection, session: int) -> None:
    connection.execute("DELETE FROM sessions WHERE id = ?", (session,))


def _forget(connection: sqlite3.Connection, oldest: float) -> int:
    delete = "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE seen <= ? LIMIT ?)"
    return connection.execute(delete, (oldest, STEP)).rowcount
