"""What is stored about people and rooms: registered names with their passwords, and rooms' rules.

All names and rooms are in memory, so a question about them never waits; the database follows
through the log's queue.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

from pylingo import names
from pylingo.history import Log, whoever_waits
from pylingo.names import Looks, Name
from pylingo.passwords import NOBODYS, Passwords, make, matches, wrong
from pylingo.protocol import ChatError
from pylingo.rooms import Registry, Room, User
from pylingo.rules import Sanction
from pylingo.sessions import LOST


@dataclass(slots=True)
class Account:
    """A registered name. Up to the id `read`, messages to it alone have arrived.

    `host` is where the last login was from, since the server runs.
    """

    name: Name
    hash: str
    read: int
    host: str | None = None


class Accounts:
    """Registered names and kept rooms."""

    def __init__(
        self, registry: Registry, log: Log, connection: sqlite3.Connection, passwords: Passwords,
        admins: frozenset[str] = frozenset(), password: str = "",
    ) -> None:  # fmt: skip
        self.known: dict[str, Account] = {}
        self.admins = admins
        self._looks: Looks[Account] = Looks()
        self._registry = registry
        self._log = log
        self._passwords = passwords
        for key, shown, hash, read in connection.execute("SELECT * FROM accounts"):
            self._put(key, Account(names.stored(shown, key), hash, read))
        # A deleted account must not be open to its old sessions when somebody makes it again.
        connection.execute(
            "DELETE FROM sessions WHERE account IS NOT NULL"
            " AND account NOT IN (SELECT key FROM accounts)"
        )
        _load(connection, registry)
        self._guard(connection, password)
        registry.guests = _guests(connection)
        registry.reserved = self.reserved
        registry.keep = self.keep

    def _guard(self, connection: sqlite3.Connection, password: str) -> None:
        """The server has a `password`, or none; with another than before, sessions are over."""
        rules = self._registry.rules
        if password and not (rules.lock and matches(rules.lock, password.encode())):
            connection.execute("DELETE FROM sessions")
            rules.lock = make(password.encode())
            self.keep(self._registry.everywhere)
        elif rules.lock and not password:
            rules.lock = ""
            self.keep(self._registry.everywhere)

    def admin(self, user: User) -> bool:
        """Whether `user` is an admin."""
        return user.account in self.admins

    def powerful(self, user: User, room: Room) -> bool:
        """Whether `user` may moderate `room`."""
        return user.place in room.rules.operators or self.admin(user)

    def reserved(self, name: Name, user: User) -> None:
        """Raises `ChatError` where `name` is somebody else's account's, or looks like it."""
        holder = self.known.get(name.key)
        if holder is not None:
            if user.account != name.key:
                raise ChatError(
                    "name_registered",
                    f"The name {holder.name} is registered. If it is yours: /login {holder.name}",
                )
            if {*name.skeletons} <= {*holder.name.skeletons}:
                return  # It may be older than what is known of look-alikes.
        twin = self._looks.twin(name, but=self.known.get(user.account or ""))
        if twin is not None:
            raise ChatError(
                "name_taken", f"The name {name} looks like {twin.name}. Choose another: /name NAME"
            )

    async def register(self, user: User, password: str, registered: Callable[[User], None]) -> None:
        """Make the name of `user` an account; `registered` is told then. Raises `ChatError`."""
        name, own = user.name, self.known.get(user.account or "")
        self.reserved(name, user)
        if own is not None:
            # Asked again, as when the answer was lost with the link, it is answered again.
            whose = self._whose(user, own.name)
            if own.name.key == name.key and await self._passwords.right(
                password, lambda: own.hash, user.whence, *whose
            ):
                return
            raise ChatError("bad_argument", f"You are logged in as {user.account} already.")
        hash = await self._passwords.hash(password, user.whence)
        # Somebody may have been faster.
        self.reserved(name, user)
        account = Account(name, hash, self._log.last)
        row = (name.key, name.shown, hash, account.read)
        # Nobody else can have the name from now on; but it is no account yet to write to or to ban.
        self._looks.put(name, account)

        async def store() -> None:
            try:
                await self._log.write(lambda connection: _register(connection, row, user.session))
            except Exception:
                # For whatever reason: the name is free again.
                self._looks.drop(name, account)
                raise
            self._put(name.key, account)
            if self._registry.users.get(name.key) is user:
                account.host = user.host
                self._become(user, account)
                registered(user)

        await whoever_waits(store())

    async def login(self, user: User, shown: str, password: str) -> Account:
        """Let `user` be that account. Raises `ChatError`; it takes as long for unknown names."""
        name = names.user(shown, known=True)

        def hash() -> str:
            account = self.known.get(name.key)
            return account.hash if account else NOBODYS

        whose = self._whose(user, name)
        right = await self._passwords.right(password, hash, user.whence, *whose)
        account = self.known.get(name.key)
        if account is None or not right:
            raise wrong()
        matched = account.hash
        # Earlier messages, from here or from the other login, are answered first.
        await self._log.flushed()
        await self._log.heard(self._registry.places.get(f"@{name.key}", user))
        if account.hash != matched:
            raise wrong()
        if account.name.key in self._registry.rules.bans:
            raise ChatError("forbidden", "That name is banned here. Ask an admin.")
        account.host = user.host
        return account

    def _whose(self, user: User, name: Name) -> list[str]:
        """Whose tries those of `user` for the account of that name are."""
        whose, known = [f"from {user.whence}"], self.known.get(name.key)
        if known is None or not user.host or known.host != user.host:
            # Where the owner has logged in from, nobody else's tries keep the owner out.
            whose.append(f"for {name.key}")
        return whose

    def enter(self, user: User, account: Account) -> None:
        """After a login, when nobody else is that account: `user` is, and goes by its name."""
        # Who was invited despite a ban stays in despite that one; by power alone nobody does.
        before = {
            room: () if self.powerful(user, room) else [*room.rules.bans.all_hitting(user)]
            for room in user.rooms
        }
        if user.account != account.name.key:
            self._registry.remember(user)
            self._become(user, account)
        user.rename(account.name, own=True)
        for room in tuple(user.rooms):
            new = any(one not in before[room] for one in room.rules.bans.all_hitting(user))
            if new and not self.powerful(user, room):
                user.hears((user.leave(room, "banned"),))

    def restore(self, user: User, key: str) -> None:
        """A resumed session was logged in; so it is again, unless another one is by now."""
        if self.restorable(key):
            self._become(user, self.known[key])

    def restorable(self, key: str | None, by: User | None = None) -> bool:
        """Whether a session that was logged in to that account would be, if it were resumed now.

        `by` is the user who would resume it, and who makes way for it.
        """
        registry = self._registry
        if key not in self.known or key in registry.rules.bans:
            return False
        return registry.places.get(f"@{key}", by) is by

    async def change(self, user: User, password: str) -> None:
        """Give the account of `user` another password, and end its other sessions.

        Raises `ChatError`.
        """
        account = self.known.get(user.account or "")
        if account is None:
            raise ChatError("forbidden", "You are not logged in: /login NAME")
        hash = await self._passwords.hash(password, user.whence)
        key, session = account.name.key, user.session
        before, account.hash = account.hash, hash

        async def store() -> None:
            try:
                await self._log.write(lambda connection: _change(connection, key, hash, session))
            except Exception:
                # For whatever reason: the password is the one that is stored.
                account.hash = before
                raise

        await whoever_waits(store())

    def unread(self, user: User) -> bool:
        """Whether something was told to `user`, who has an account, that may not have arrived."""
        return user.told > self.known[user.account or ""].read

    def arrived(self, user: User, told: int) -> None:
        """What was told to `user`, who has an account, up to the id `told`: it was read."""
        account = self.known[user.account or ""]
        account.read = told
        row = (account.read, account.name.key)
        self._log.keep(
            ("read", account.name.key),
            lambda c: c.execute("UPDATE accounts SET read = ? WHERE key = ?", row),
        )

    def keep(self, room: Room) -> None:
        """Store the rules of `room`, which have changed."""
        rules, key = room.rules, room.name.key
        rooms = [(key, room.name.shown, room.topic, rules.lock, room.maker)]
        operators = [(key, place) for place in rules.operators]
        sanctions: list[tuple[object, ...]] = [
            (key, kind, s.key, s.shown, s.place, s.host, s.by, s.reason)
            for kind, those in (("ban", rules.bans), ("mute", rules.mutes))
            for s in those.values()
        ]
        if room is not self._registry.everywhere and not (rules.lock or operators):
            # Nobody may come back to it after a restart: nothing of it is kept.
            rooms, sanctions = [], []
        self._log.keep(("room", key), lambda c: _keep(c, key, rooms, operators, sanctions))

    def _put(self, key: str, account: Account) -> None:
        self.known[key] = account
        self._looks.put(account.name, account)

    def _become(self, user: User, account: Account) -> None:
        people = self._registry.places
        if user.account is None:
            for room in user.rooms:
                if user.place in room.rules.operators:
                    del room.rules.operators[user.place]
                    room.rules.operators["@" + account.name.key] = None
                    self.keep(room)
        else:
            # What that account is operator of, it stays.
            del people[user.place]
        user.account = account.name.key
        people[user.place] = user
        if self.admin(user):
            # Nobody can mute an admin, so nor can who did not know that it was one.
            registry = self._registry
            rooms = *registry.rooms.values(), *registry.former.values()
            for room in (registry.everywhere, *rooms):
                for mute in [*room.rules.mutes.all_hitting(user)]:
                    del room.rules.mutes[mute.key]
                    self.keep(room)


# What follows blocks; it runs in the threads, but for `_load`, which is part of starting up.


def _load(connection: sqlite3.Connection, registry: Registry) -> None:
    for key, shown, topic, lock, maker in connection.execute("SELECT * FROM rooms"):
        room = registry.restore(names.stored(shown, key), maker) if key else registry.everywhere
        room.topic = topic
        room.rules.lock = lock
    kept = {"": registry.everywhere, **registry.rooms}
    # Of a room that somebody has removed, nothing is of use.
    for key, place in connection.execute("SELECT * FROM operators"):
        if key in registry.rooms:
            registry.promote(registry.rooms[key], place)
    for key, kind, *rest in connection.execute("SELECT * FROM sanctions"):
        if key in kept:
            rules, sanction = kept[key].rules, Sanction(*rest)
            (rules.bans if kind == "ban" else rules.mutes)[sanction.key] = sanction
    # Those that only guests were in wait apart from now on.
    for room in tuple(registry.rooms.values()):
        registry.close(room)


def _guests(connection: sqlite3.Connection) -> int:
    """The highest number in the name of a guest who may come back, or is banned or muted."""
    query = """SELECT max(CAST(substr(name, 7) AS INTEGER))
        FROM (SELECT name FROM sessions UNION ALL SELECT key FROM sanctions)
        WHERE name GLOB 'guest-[0-9]*' AND length(name) < 16"""
    return connection.execute(query).fetchone()[0] or 0


def _register(connection: sqlite3.Connection, row: tuple[str, str, str, int], session: int) -> None:
    connection.execute("INSERT INTO accounts VALUES (?, ?, ?, ?)", row)
    # At once, or who comes back after a crash right now would find their own name taken.
    own = (row[0], session, row[0])
    connection.execute("UPDATE sessions SET account = ? WHERE id = ? AND key = ?", own)
    places = (f"@{row[0]}", f"~{session}")
    connection.execute("UPDATE OR REPLACE operators SET place = ? WHERE place = ?", places)


def _change(connection: sqlite3.Connection, key: str, hash: str, session: int) -> None:
    connection.execute("UPDATE accounts SET hash = ? WHERE key = ?", (hash, key))
    # Somebody who knows the old password may have logged in with it, and a later login may have
    # taken the account away from that session.
    connection.execute(
        "DELETE FROM sessions WHERE id != ? AND (account = ? OR (account IS NULL AND key = ?))",
        (session, key, f"{LOST}{key}"),
    )


def _keep(
    connection: sqlite3.Connection,
    key: str,
    rooms: list[tuple[str, str, str, str, str]],
    operators: list[tuple[str, str]],
    sanctions: list[tuple[object, ...]],
) -> None:
    for table, column in (("rooms", "key"), ("operators", "room"), ("sanctions", "room")):
        connection.execute(f"DELETE FROM {table} WHERE {column} = ?", (key,))
    connection.executemany("INSERT INTO rooms VALUES (?, ?, ?, ?, ?)", rooms)
    connection.executemany("INSERT INTO operators VALUES (?, ?)", operators)
    connection.executemany("INSERT INTO sanctions VALUES (?, ?, ?, ?, ?, ?, ?, ?)", sanctions)
