"""The database: one SQLite file, its tables, and their version.

Everything here blocks, so call it only at start-up or in a thread. It knows the tables, but little
of what they mean.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from contextlib import ExitStack, closing, suppress
from typing import IO

from pylingo import names

MEMORY = ":memory:"
PATIENCE = 1.5
"""Seconds to wait for another program that has locked the database."""
SMALL = 64 * 1024 * 1024
"""Bytes up to which the whole file is checked at start-up; it takes some 50 ms."""

STEPS = (
    """
    CREATE TABLE messages (
        id INTEGER PRIMARY KEY,
        place TEXT NOT NULL,       -- '#' and a room's key, '@' and an account's, '~' and a session
        target TEXT NOT NULL,      -- the room, or to whom, as shown
        user TEXT NOT NULL,
        text TEXT NOT NULL,
        action INTEGER NOT NULL,
        session INTEGER NOT NULL,
        request TEXT               -- its id there, if it had one
    );
    CREATE INDEX messages_place ON messages (place, id);
    CREATE TABLE sessions (
        id INTEGER PRIMARY KEY,
        token BLOB NOT NULL,       -- SHA-256 of the token in use
        fresh BLOB,                -- SHA-256 of the one given out to follow it
        name TEXT NOT NULL,
        account TEXT,
        room TEXT,
        since INTEGER NOT NULL,    -- the id of the last message before joining that room
        seen INTEGER NOT NULL      -- Unix time in seconds; of one in use, some time ahead
    );
    CREATE INDEX sessions_token ON sessions (token);
    CREATE INDEX sessions_fresh ON sessions (fresh);
    """,
    """
    CREATE TABLE accounts (
        key TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        hash TEXT NOT NULL,        -- scrypt, with its parameters
        read INTEGER NOT NULL      -- up to which id the messages to it have arrived
    );
    CREATE TABLE rooms (           -- those that have operators or a lock; '' is the server itself
        key TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        topic TEXT NOT NULL,
        lock TEXT NOT NULL         -- the hash of the password to join, or ''
    );
    CREATE TABLE operators (
        room TEXT NOT NULL,
        account TEXT NOT NULL,
        PRIMARY KEY (room, account)
    );
    CREATE TABLE sanctions (
        room TEXT NOT NULL,
        kind TEXT NOT NULL,        -- 'ban' or 'mute'
        key TEXT NOT NULL,
        shown TEXT NOT NULL,
        place TEXT NOT NULL,
        host TEXT NOT NULL,
        by TEXT NOT NULL,
        reason TEXT NOT NULL,
        PRIMARY KEY (room, kind, key)
    );
    """,
    """
    CREATE TABLE batches (         -- what was said in one place and stored in one transaction
        last INTEGER PRIMARY KEY,  -- the id of the last message of it
        place TEXT NOT NULL,       -- '#' and a room's key, '@' and an account's, '~' and a session
        target TEXT NOT NULL,      -- the room, or to whom, as shown
        said TEXT NOT NULL         -- JSON: [id, user, text, action, session, request] of each
    );
    CREATE INDEX batches_place ON batches (place, last);
    INSERT INTO batches SELECT id, place, target, json_array(json_array(
        id, user, text, json(CASE WHEN action THEN 'true' ELSE 'false' END), session, request
    )) FROM messages;
    DROP TABLE messages;
    CREATE VIEW messages AS SELECT -- one row for each, for people
        json_extract(value, '$[0]') AS id,
        place,
        target,
        json_extract(value, '$[1]') AS user,
        json_extract(value, '$[2]') AS text,
        json_extract(value, '$[3]') AS action,
        json_extract(value, '$[4]') AS session,
        json_extract(value, '$[5]') AS request
    FROM batches, json_each(said);
    """,
    """
    -- After which id the messages to its account are to be told still; NULL is nothing.
    ALTER TABLE sessions ADD COLUMN owed INTEGER;
    """,
    """
    -- The newest id when what came before a login had been handed on; the largest until then.
    ALTER TABLE sessions RENAME COLUMN owed TO handed;
    UPDATE sessions SET handed = 9007199254740991 WHERE handed IS NOT NULL;
    """,
    """
    -- '@' and an account's key, or '~' and a session's number, as in batches.
    ALTER TABLE operators RENAME COLUMN account TO place;
    UPDATE operators SET place = '@' || place;
    """,
    """
    ALTER TABLE rooms ADD COLUMN maker TEXT NOT NULL DEFAULT '';  -- a place, likewise
    """,
    """
    -- An address of IPv4 is the same at every door.
    UPDATE sanctions SET host = substr(host, 8) WHERE host LIKE '::ffff:%.%';
    """,
    """
    -- What name and room are compared by.
    ALTER TABLE sessions ADD COLUMN key TEXT;
    ALTER TABLE sessions ADD COLUMN room_key TEXT;
    UPDATE sessions SET key = folded(CAST(name AS BLOB)), room_key = folded(CAST(room AS BLOB));
    CREATE INDEX sessions_key ON sessions (key);
    CREATE INDEX sessions_room ON sessions (room_key);
    CREATE INDEX sessions_seen ON sessions (seen);
    """,
    """
    -- A wide # before a room's name is no part of it any more. Where there is a room without it,
    -- that one stays apart, and nobody comes back to it.
    CREATE TEMP TABLE wide AS SELECT max(key) AS key FROM (
        SELECT key FROM rooms UNION SELECT room_key FROM sessions
        UNION SELECT substr(place, 2) FROM batches WHERE place LIKE '##_%'
    ) WHERE key LIKE '#_%' AND ltrim(key, '#') NOT IN (SELECT key FROM rooms UNION SELECT '')
    GROUP BY ltrim(key, '#');
    UPDATE sessions SET room = NULL, room_key = NULL
        WHERE room_key LIKE '#_%' AND room_key NOT IN (SELECT key FROM wide);
    -- Who was in another room of that name is not let into one that is kept, nor runs it.
    UPDATE sessions SET room = NULL, room_key = NULL WHERE room_key IN
        (SELECT ltrim(key, '#') FROM wide WHERE key IN (SELECT key FROM rooms));
    DELETE FROM operators WHERE room IN (SELECT ltrim(key, '#') FROM wide);
    DELETE FROM sanctions WHERE room IN (SELECT ltrim(key, '#') FROM wide);
    UPDATE sessions SET room_key = ltrim(room_key, '#') WHERE room_key IN (SELECT key FROM wide);
    UPDATE batches SET place = '#' || ltrim(place, '#')
        WHERE place LIKE '##_%' AND substr(place, 2) IN (SELECT key FROM wide);
    UPDATE operators SET room = ltrim(room, '#') WHERE room IN (SELECT key FROM wide);
    UPDATE sanctions SET room = ltrim(room, '#') WHERE room IN (SELECT key FROM wide);
    UPDATE rooms SET key = ltrim(key, '#') WHERE key IN (SELECT key FROM wide);
    DROP TABLE wide;
    """,
)
"""What makes version n of the tables out of version n - 1. Only ever add to the end."""


class DatabaseError(Exception):
    """The database cannot be used; `str` of it says why and what to do."""


class Database:
    """An open database: one connection for the thread that writes, one for the thread that reads.

    Raises `DatabaseError` where it is of no use: locked, not writable, corrupt, not a database, of
    a newer PyLingo, or in use by another server.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._paths: list[str] = []
        with ExitStack() as opened:
            if path == MEMORY:
                self.writer = self.reader = opened.enter_context(closing(_connect(path)))
            else:
                opened.enter_context(_guard(path))
                # Closed after the connections: to close it ends their locks on the file, too.
                last = opened.enter_context(ExitStack())
                self.writer = opened.enter_context(closing(_connect(path)))
                self.reader = opened.enter_context(closing(_connect(path, checked=True)))
                self._file = os.open(path, os.O_RDONLY)
                last.callback(os.close, self._file)
                # On some network volumes SQLite has no write-ahead log.
                self._paths = [p for p in (path, f"{path}-wal") if os.path.exists(p)]
            self._files = self._found()
            self._opened = opened.pop_all()

    def check(self) -> None:
        """Raises `sqlite3.OperationalError` where others will not find what is written from now on.

        SQLite goes on with files that somebody has removed, and they end with the server.
        """
        try:
            found = self._found()
        except (FileNotFoundError, NotADirectoryError):
            found = []
        except OSError:
            return  # The server may not look there any more, as after `twistd --uid`.
        if found != self._files:
            if not self._copied():
                self._empty_log()
            error = sqlite3.OperationalError(
                "its files were removed, or others put in their place; restart the server"
            )
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR
            raise error

    def _empty_log(self) -> None:
        """Write what is in the log beside it into the file, wherever that was moved.

        Otherwise the next server would take it for the log of the file that was put in its place.
        """
        with suppress(sqlite3.Error):
            # Do not wait for a program that reads it; the next check tries again.
            self.writer.execute("PRAGMA busy_timeout = 0")
            self.writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with suppress(sqlite3.Error):
            self.writer.execute(f"PRAGMA busy_timeout = {PATIENCE * 1000:.0f}")

    def _copied(self) -> bool:
        """Whether it was moved to another disk: it is a copy now, and the log belongs to that."""
        ours = os.fstat(self._file)
        try:
            there = os.stat(self.path)
        except OSError:
            there = ours
        same = (there.st_size, there.st_mtime_ns) == (ours.st_size, ours.st_mtime_ns)
        return same and not ours.st_nlink

    def _found(self) -> list[tuple[int, int]]:
        """Which files are now where the open ones were."""
        return [(file.st_dev, file.st_ino) for file in map(os.stat, self._paths)]

    def hush(self) -> None:
        """Nobody waits any more for what is read: let that fail, or the end would wait for it."""
        if self.reader is not self.writer:
            self.reader.interrupt()
            self.reader.set_progress_handler(lambda: True, 1)

    def close(self) -> None:
        """Close it. All that was committed is in the file, even if the file was moved."""
        with suppress(sqlite3.Error, OSError):
            self.check()
        self._opened.close()


def trouble(error: BaseException | None) -> bool:
    """Whether a failure of SQLite is the disk's, or another program's, and none of ours."""
    ours = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISUSE, sqlite3.SQLITE_RANGE,
            sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_CONSTRAINT)  # fmt: skip
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF not in ours


def unusable(path: str, error: sqlite3.Error) -> str:
    """What to say of a database that SQLite cannot work with."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        remedy = "Another program is writing to it; try again when that has ended"
    elif code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        remedy = "Give it, and its folder, to the user whom the server runs as"
    elif code == sqlite3.SQLITE_FULL:
        remedy = "Make room on its disk"
    else:
        remedy = "Repair it or put a copy back"
    return (
        f"The database {path} cannot be used: {error}. {remedy}, or choose another with --database."
    )


def _guard(path: str) -> IO[bytes]:
    """Hold the file beside the database that says a server uses it; the system lets go of it."""
    try:
        # Held as long as the server runs, and nobody else's to hold.
        guard = os.fdopen(os.open(f"{path}-lock", os.O_WRONLY | os.O_CREAT, 0o600), "wb")
    except OSError as error:
        raise DatabaseError(
            f"The database {path} cannot be used, for {path}-lock cannot be written: "
            f"{error.strerror}. Give both, and their folder, to the user whom the server runs as, "
            "or choose another place with --database."
        ) from None
    try:
        fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        guard.close()
        raise DatabaseError(
            f"The database {path} is in use by another PyLingo server. "
            "Stop that one, or choose another with --database."
        ) from None
    return guard


def _connect(path: str, *, checked: bool = False) -> sqlite3.Connection:
    connection = None
    if path != MEMORY:
        if _size(path) == 0 < _size(f"{path}-wal"):
            # SQLite would remove it, and what was said last is in it.
            raise DatabaseError(
                f"The database {path} is not there, but its newest part is, in {path}-wal. Put the "
                "same database back beside it. To begin with a copy, or anew, move that part away, "
                "or choose another with --database."
            )
        # What people said to each other is for the owner's eyes; if it cannot be made, SQLite
        # says why. One that is there is not opened: to close it would end all locks of this
        # process on it, and the next program that reads it would take it for unused.
        with suppress(OSError):
            os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        connection = sqlite3.connect(
            path, timeout=PATIENCE, isolation_level=None, check_same_thread=False
        )
        # One damaged byte is no reason to lose the row.
        connection.text_factory = lambda text: text.decode(errors="replace")
        version = _version(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")
        # A commit survives the end of the process; after a power cut the newest may be missing,
        # but the database is whole.
        connection.execute("PRAGMA synchronous = NORMAL")
        # 32 MiB: pages that change with every group are then written home less often.
        connection.execute("PRAGMA wal_autocheckpoint = 8192")
        connection.execute(f"PRAGMA journal_size_limit = {SMALL}")
        # What is removed is overwritten; on some systems that is so anyway.
        connection.execute("PRAGMA secure_delete = ON")
        if not checked and _size(path) < SMALL:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise sqlite3.DatabaseError(found)
        _upgrade(connection, version)
    except (sqlite3.Error, DatabaseError) as error:
        if connection is not None:
            connection.close()
        if isinstance(error, DatabaseError):
            raise
        raise DatabaseError(unusable(path, error)) from None
    return connection


def _size(path: str) -> int:
    """Bytes of a file, 0 of one that is not there."""
    try:
        return os.path.getsize(path)
    except OSError:
        return 0


def _version(connection: sqlite3.Connection, path: str) -> int:
    """The version of the tables. Raises `DatabaseError` for what is not ours, and left as it is."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(STEPS):
        raise DatabaseError(
            f"The database {path} is from a newer PyLingo (its version is {version}, this one "
            f"knows {len(STEPS)}). Upgrade PyLingo, or choose another with --database."
        )
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    ours = "sessions" in tables if version else not tables
    if not ours:
        raise DatabaseError(
            f"The database {path} is not PyLingo's. Choose another with --database."
        )
    return version


def _folded(name: bytes | None) -> str | None:
    """What a name is compared by. It comes as bytes: one that is damaged is no reason to fail."""
    return None if name is None else names.kept(name.decode(errors="replace"))


def _upgrade(connection: sqlite3.Connection, version: int) -> None:
    # A database that cannot be written should be known now, not with the first message. Only what
    # writes something finds out.
    connection.executescript(f"BEGIN IMMEDIATE; PRAGMA user_version = {version}; ROLLBACK;")
    if version < len(STEPS):
        connection.create_function("folded", 1, _folded)
        steps = "".join(STEPS[version:])
        connection.executescript(f"BEGIN; {steps} PRAGMA user_version = {len(STEPS)}; COMMIT;")
