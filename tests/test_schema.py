"""The database: what is made, what is kept, and what is refused with which words."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from threading import Event, Thread
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from pylingo import schema
from pylingo.schema import MEMORY, Database, DatabaseError

NOBODY = 65534
COPY = """
import sqlite3, sys
sqlite3.connect(sys.argv[1]).execute("VACUUM INTO ?", sys.argv[2:])
"""
BATCH = (2, "#lobby", "lobby", '[[1, "ana", "hi", false, 7, null], [2, "ben", "ho", true, 8, "5"]]')


def batches(count: int) -> list[tuple[int, str, str, str]]:
    """As many rows of what was said."""
    return [(n, "#lobby", "lobby", f'[[{n}, "ana", "{"hi" * 50}", false, 7, null]]')
            for n in range(1, count + 1)]  # fmt: skip


class DatabaseTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = self.mktemp()

    def open(self, path: str) -> Database:
        database = Database(path)
        self.addCleanup(database.close)
        return database

    def refused(self, path: str) -> str:
        text = str(self.assertRaises(DatabaseError, Database, path))
        self.assertIn(path, text)
        self.assertIn("--database", text)
        return text

    def test_made(self) -> None:
        """A database that is not there is made, with the tables of this version."""
        database = self.open(self.path)
        (version,) = database.reader.execute("PRAGMA user_version").fetchone()
        self.assertEqual(version, len(schema.STEPS))
        database.reader.execute("SELECT * FROM messages, sessions")

    def test_hush(self) -> None:
        """What is being read ends, and what is to be read fails; what is written is not touched."""
        database = self.open(self.path)
        numbers = "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)"
        endless = f"{numbers} SELECT max(x) FROM n"
        begun, ended = Event(), list[str]()

        def read() -> None:
            database.reader.create_function("begun", 0, begun.set)
            try:
                database.reader.execute(f"SELECT begun(), ({endless})").fetchone()
            except sqlite3.OperationalError as error:
                ended.append(str(error))

        reading = Thread(target=read, daemon=True)
        reading.start()
        begun.wait(10)
        database.hush()
        reading.join(10)
        self.assertEqual(ended, ["interrupted"])
        self.assertRaises(sqlite3.OperationalError, database.reader.execute, endless)
        database.writer.execute("DELETE FROM batches")

    def test_hush_memory(self) -> None:
        """Where one connection does both, it is left alone."""
        database = self.open(MEMORY)
        database.hush()
        database.writer.execute("DELETE FROM batches")

    def test_private(self) -> None:
        """Nobody but its owner can read it, nor the files beside it."""
        self.open(self.path).writer.execute("DELETE FROM batches")
        for path in Path(self.path).parent.glob(Path(self.path).name + "*"):
            self.assertEqual(path.stat().st_mode & 0o077, 0, path)

    def test_copied(self) -> None:
        """What is written goes on to be in the file while others copy it, and when they have."""
        database = self.open(self.path)
        for count in range(1, 4):
            database.writer.execute(
                "INSERT INTO batches VALUES (?, ?, ?, ?)", batches(3)[count - 1]
            )
            copy = f"{self.path}-{count}"
            subprocess.run([sys.executable, "-c", COPY, self.path, copy], check=True, timeout=60)
            with closing(sqlite3.connect(copy)) as copied:
                rows = copied.execute("SELECT * FROM batches").fetchall()
            self.assertEqual(rows, batches(count))

    def test_removed(self) -> None:
        """Where its files are others now, or gone, nothing is to be written any more."""
        database = self.open(self.path)
        for name in (self.path, f"{self.path}-wal"):
            database.check()
            os.rename(name, f"{name}-away")
            error = self.assertRaises(sqlite3.OperationalError, database.check)
            self.assertIn("restart the server", str(error))
            self.assertTrue(schema.trouble(error))
            shutil.copy(f"{name}-away", name)
            self.assertRaises(sqlite3.OperationalError, database.check)
            os.rename(f"{name}-away", name)
        database.check()
        self.open(":memory:").check()

    def test_moved_away(self) -> None:
        """What was written last moves with its file, and does not go to what takes its place."""

        def look(database: Database) -> None:
            self.assertRaises(sqlite3.OperationalError, database.check)

        Database(f"{self.path}-new").close()
        new = Path(f"{self.path}-new").read_bytes()
        for number, ending in enumerate((Database.close, look)):
            path = f"{self.path}-{number}"
            database = self.open(path)
            database.writer.executemany("INSERT INTO batches VALUES (?, ?, ?, ?)", batches(3))
            os.rename(path, f"{path}-away")
            Path(path).write_bytes(new)
            ending(database)
            self.assertEqual(os.path.getsize(f"{path}-wal"), 0)
            with closing(sqlite3.connect(f"file:{path}-away?immutable=1", uri=True)) as moved:
                rows = moved.execute("SELECT * FROM batches").fetchall()
            self.assertEqual(rows, batches(3))
            self.assertEqual(Path(path).read_bytes(), new)

    def test_replaced(self) -> None:
        """Nor does it where its file was removed, and not only moved."""
        Database(f"{self.path}-new").close()
        new = Path(f"{self.path}-new").read_bytes()
        database = self.open(self.path)
        database.writer.execute("INSERT INTO batches VALUES (?, ?, ?, ?)", BATCH)
        os.remove(self.path)
        Path(self.path).write_bytes(new)
        database.close()
        rows = self.open(self.path).reader.execute("SELECT * FROM batches").fetchall()
        self.assertEqual(rows, [])

    def test_no_folder_any_more(self) -> None:
        """Where something else is in the place of its folder, it is not there any more."""
        os.mkdir(self.path)
        database = self.open(os.path.join(self.path, "chat.sqlite3"))
        os.rename(self.path, f"{self.path}-away")
        Path(self.path).touch()
        self.assertRaises(sqlite3.OperationalError, database.check)

    def test_moved_to_another_disk(self) -> None:
        """Where it was copied and removed, what was written last stays for it."""

        def look(database: Database) -> None:
            self.assertRaises(sqlite3.OperationalError, database.check)

        for number, ending in enumerate((Database.close, look)):
            for linked in (False, True):
                path = f"{self.path}-{number}-{linked}"
                database = self.open(path)
                database.writer.executemany("INSERT INTO batches VALUES (?, ?, ?, ?)", batches(3))
                shutil.copy2(path, f"{path}-away")
                os.remove(path)
                if linked:
                    os.symlink(os.path.abspath(f"{path}-away"), path)
                ending(database)
                database.close()
                os.replace(f"{path}-away", path)
                rows = self.open(path).reader.execute("SELECT * FROM batches").fetchall()
                self.assertEqual(rows, batches(3), (ending, linked))

    def test_moved_while_read(self) -> None:
        """A program that reads it is not waited for, each time again."""
        database = self.open(self.path)
        with closing(sqlite3.connect(self.path, isolation_level=None)) as other:
            other.execute("BEGIN")
            other.execute("SELECT * FROM batches").fetchall()
            database.writer.execute("INSERT INTO batches VALUES (?, ?, ?, ?)", BATCH)
            os.rename(self.path, f"{self.path}-away")
            self.patch(schema, "PATIENCE", 100.0)
            self.assertRaises(sqlite3.OperationalError, database.check)
            (patience,) = database.writer.execute("PRAGMA busy_timeout").fetchone()
            self.assertEqual(patience, 100_000)
        self.assertRaises(sqlite3.OperationalError, database.check)
        self.assertEqual(os.path.getsize(f"{self.path}-wal"), 0)

    def test_moved_after_a_crash(self) -> None:
        """Without the file, what is in the log beside it is not thrown away."""
        database = self.open(self.path)
        database.writer.execute("INSERT INTO batches VALUES (?, ?, ?, ?)", BATCH)
        crashed = f"{self.path}-crashed"
        shutil.copy(self.path, crashed)
        shutil.copy(f"{self.path}-wal", f"{crashed}-wal")
        os.rename(crashed, f"{crashed}-away")
        self.assertIn("-wal", self.refused(crashed))
        os.rename(f"{crashed}-away", crashed)
        rows = self.open(crashed).reader.execute("SELECT * FROM batches").fetchall()
        self.assertEqual(rows, [BATCH])

    def test_out_of_sight(self) -> None:
        """Who has opened it, and may not look there any more, can still write."""
        os.mkdir(self.path, 0o700)
        database = self.open(os.path.join(self.path, "chat.sqlite3"))
        self.give_up_root()
        database.check()

    def test_kept(self) -> None:
        """What was written is there when it is opened again, and opening changes nothing."""
        database = Database(self.path)
        database.writer.execute("INSERT INTO batches VALUES (?, ?, ?, ?)", BATCH)
        database.close()
        rows = self.open(self.path).reader.execute("SELECT * FROM batches").fetchall()
        self.assertEqual(rows, [BATCH])

    def test_legible(self) -> None:
        """With SQL, what was said is seen as a row for each message."""
        database = self.open(self.path)
        database.writer.execute("INSERT INTO batches VALUES (?, ?, ?, ?)", BATCH)
        self.assertEqual(
            database.reader.execute("SELECT * FROM messages").fetchall(),
            [
                (1, "#lobby", "lobby", "ana", "hi", 0, 7, None),
                (2, "#lobby", "lobby", "ben", "ho", 1, 8, "5"),
            ],
        )

    def test_upgraded(self) -> None:
        """What was said with an older version is still there."""
        old = sqlite3.connect(self.path)
        old.executescript("".join(schema.STEPS[:2]) + "PRAGMA user_version = 2;")
        rows = [
            (3, "#lobby", "Lobby", "ana", 'say "hi"\n\\ \N{SNOWMAN}', 0, 7, None),
            (5, "~9", "ben", "ana", "waves", 1, 7, "'x'"),
        ]
        old.executemany("INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        old.commit()
        old.close()
        database = self.open(self.path)
        self.assertEqual(database.reader.execute("SELECT * FROM messages").fetchall(), rows)
        last = "SELECT last FROM batches ORDER BY last"
        self.assertEqual(database.reader.execute(last).fetchall(), [(3,), (5,)])

    def test_two_connections(self) -> None:
        """What is read sees what was committed, and is not in the way of who writes."""
        database = self.open(self.path)
        database.writer.execute("BEGIN IMMEDIATE")
        database.writer.execute(_INSERT)
        count = "SELECT count(*) FROM sessions"
        self.assertEqual(database.reader.execute(count).fetchone(), (0,))
        database.writer.execute("COMMIT")
        self.assertEqual(database.reader.execute(count).fetchone(), (1,))

    def test_damaged_byte(self) -> None:
        """A byte that was damaged is shown as such, and the rest of the text is there."""
        database = self.open(self.path)
        query = "SELECT CAST(x'61ff62' AS TEXT)"
        for connection in (database.reader, database.writer):
            self.assertEqual(connection.execute(query).fetchone(), ("a\ufffdb",))

    def test_memory(self) -> None:
        """One in memory leaves no file behind, and there may be many."""
        before = sorted(os.listdir())
        one, other = self.open(MEMORY), self.open(MEMORY)
        one.writer.execute(_INSERT)
        count = "SELECT count(*) FROM sessions"
        self.assertEqual(one.reader.execute(count).fetchone(), (1,))
        self.assertEqual(other.reader.execute(count).fetchone(), (0,))
        self.assertEqual(sorted(os.listdir()), before)

    def test_keys_of_names(self) -> None:
        """Sessions of an older version are found by what names are compared by, in any letters."""
        old = sqlite3.connect(self.path)
        old.executescript("".join(schema.STEPS[:8]) + "PRAGMA user_version = 8;")
        row = "INSERT INTO sessions (id, token, name, room, since, seen) VALUES (?, '', ?, ?, 0, 0)"
        names = [(1, "Örs", "Übersicht"), (2, "ana", ""), (3, "no name", "Tea"), (4, "ben", None)]
        old.executemany(row, names)
        old.execute("UPDATE sessions SET room = CAST(x'4eff' AS TEXT) WHERE id = 2")
        old.commit()
        old.close()
        rows = self.open(self.path).reader.execute("SELECT key, room_key FROM sessions")
        self.assertEqual(
            rows.fetchall(),
            [("örs", "übersicht"), ("ana", "n\ufffd"), ("no name", "tea"), ("ben", None)],
        )

    def test_wide_signs(self) -> None:
        """Rooms that had kept a wide # are found without it, where that name is free."""
        steps = schema.STEPS
        self.patch(schema, "STEPS", steps[:9])
        Database(self.path).close()
        self.patch(schema, "STEPS", steps)
        old = sqlite3.connect(self.path)
        rooms = "INSERT INTO rooms (key, name, topic, lock) VALUES (?, '', '', ?)"
        old.executemany(rooms, [("", ""), ("#tea", "own"), ("#den", "wide"), ("den", "bare")])
        runs = [("#tea", "@ana"), ("#den", "@ana"), ("tea", "@ana"), ("tea", "@eve")]
        old.executemany("INSERT INTO operators VALUES (?, ?)", runs)
        batches = "INSERT INTO batches VALUES (?, ?, '', '[]')"
        places = ["##tea", "##attic", "##den", "#den", "##", "@#tea", "~9"]
        old.executemany(batches, enumerate(places))
        session = (
            "INSERT INTO sessions (id, token, name, room, since, seen, room_key)"
            " VALUES (?, '', '', ?, 0, 0, ?)"
        )
        keys = ["#tea", "#attic", "#den", "den", None, "tea", "attic"]
        old.executemany(session, [(i, key, key) for i, key in enumerate(keys)])
        old.commit()
        old.close()
        new = self.open(self.path).reader

        def found(query: str) -> list[Any]:
            return new.execute(query).fetchall()

        self.assertEqual(
            found("SELECT key, lock FROM rooms ORDER BY lock, key"),
            [("", ""), ("den", "bare"), ("tea", "own"), ("#den", "wide")],
        )
        self.assertEqual(
            found("SELECT * FROM operators ORDER BY 1"), [("#den", "@ana"), ("tea", "@ana")]
        )
        self.assertEqual(
            [place for (place,) in found("SELECT place FROM batches ORDER BY last")],
            ["#tea", "#attic", "##den", "#den", "##", "@#tea", "~9"],
        )
        self.assertEqual(
            [key for (key,) in found("SELECT room_key FROM sessions ORDER BY id")],
            ["tea", "attic", None, "den", None, None, "attic"],
        )

    def test_older(self) -> None:
        """A database without tables is brought to this version."""
        sqlite3.connect(self.path).close()
        self.open(self.path).reader.execute("SELECT * FROM messages")

    def test_newer(self) -> None:
        """A database of a newer version is refused, and left as it is."""
        connection = sqlite3.connect(self.path)
        connection.execute("PRAGMA user_version = 999")
        connection.close()
        text = self.refused(self.path)
        self.assertIn("newer", text)
        self.assertIn("999", text)
        connection = sqlite3.connect(self.path)
        self.addCleanup(connection.close)
        self.assertEqual(connection.execute("SELECT * FROM sqlite_master").fetchall(), [])

    def test_of_another(self) -> None:
        """The database of another program is refused, and left as it is."""
        for version in (0, 3):
            connection = sqlite3.connect(self.path)
            connection.execute("CREATE TABLE IF NOT EXISTS notes (text)")
            connection.execute(f"PRAGMA user_version = {version}")
            connection.close()
            before = Path(self.path).read_bytes()
            self.assertIn("not PyLingo's", self.refused(self.path))
            self.assertEqual(Path(self.path).read_bytes(), before)

    def test_no_database(self) -> None:
        """A file that is no database is refused, and left as it is."""
        content = b"Dear diary, today I wrote a chat server.\n" * 100
        Path(self.path).write_bytes(content)
        self.refused(self.path)
        self.assertEqual(Path(self.path).read_bytes(), content)

    def test_corrupt(self) -> None:
        """A database with a broken page is refused at the start, not in the middle of a talk."""
        database = Database(self.path)
        database.writer.executemany("INSERT INTO batches VALUES (?, ?, ?, ?)", batches(500))
        database.close()
        content = bytearray(Path(self.path).read_bytes())
        for page in range(2, len(content) // 4096):
            content[page * 4096 : page * 4096 + 64] = os.urandom(64)
        Path(self.path).write_bytes(content)
        self.refused(self.path)

    def test_cut(self) -> None:
        """So is one of which the end is missing."""
        database = Database(self.path)
        database.writer.executemany("INSERT INTO batches VALUES (?, ?, ?, ?)", batches(500))
        database.close()
        content = Path(self.path).read_bytes()
        Path(self.path).write_bytes(content[: len(content) // 8192 * 4096])
        self.refused(self.path)

    def test_in_use(self) -> None:
        """A second server is refused, and told why; when the first is gone, it may."""
        first = Database(self.path)
        self.assertIn("another", self.refused(self.path))
        first.close()
        self.open(self.path)

    def test_released(self) -> None:
        """A database that was refused is not held."""
        Path(self.path).write_bytes(b"x" * 5000)
        self.refused(self.path)
        Path(self.path).unlink()
        self.open(self.path)

    def test_remedy(self) -> None:
        """The sentence about one of no use says what to do, which depends on what is wrong."""
        for code, remedy in (
            (sqlite3.SQLITE_BUSY, "try again"),
            (sqlite3.SQLITE_LOCKED, "try again"),
            (sqlite3.SQLITE_CANTOPEN, "to the user"),
            (sqlite3.SQLITE_READONLY_DIRECTORY, "to the user"),
            (sqlite3.SQLITE_PERM, "to the user"),
            (sqlite3.SQLITE_FULL, "Make room"),
            (sqlite3.SQLITE_CORRUPT, "put a copy back"),
            (None, "put a copy back"),
        ):
            error = sqlite3.OperationalError("no good")
            if code is not None:
                error.sqlite_errorcode = code
            text = schema.unusable(self.path, error)
            for part in (self.path, "no good", remedy, "--database"):
                self.assertIn(part, text, code)

    def test_locked(self) -> None:
        """One that another program has locked is waited for, then refused."""
        Database(self.path).close()
        other = sqlite3.connect(self.path, isolation_level=None)
        self.addCleanup(other.close)
        other.execute("BEGIN EXCLUSIVE")
        self.patch(schema, "PATIENCE", 0.05)
        self.assertIn("locked", self.refused(self.path))

    def test_no_directory(self) -> None:
        """A place that does not exist is refused."""
        self.refused(os.path.join(self.path, "no", "such", "place"))

    def test_directory(self) -> None:
        """A directory is no database."""
        os.mkdir(self.path)
        self.refused(self.path)

    def test_read_only(self) -> None:
        """A database that may not be written is refused."""
        os.mkdir(self.path)
        path = os.path.join(self.path, "chat.sqlite3")
        Database(path).close()
        for entry in os.listdir(self.path):
            os.chmod(os.path.join(self.path, entry), 0o444)
        os.chmod(self.path, 0o555)
        self.addCleanup(os.chmod, self.path, 0o755)
        self.give_up_root()
        self.refused(path)

    def test_read_only_file(self) -> None:
        """So is one in a directory that may be written."""
        os.mkdir(self.path)
        path = os.path.join(self.path, "chat.sqlite3")
        Database(path).close()
        os.chmod(path, 0o444)
        os.chmod(self.path, 0o777)
        os.chmod(f"{path}-lock", 0o666)
        self.give_up_root()
        self.refused(path)

    def give_up_root(self) -> None:
        """Modes of files mean nothing to root."""
        if os.geteuid() == 0:
            # Where trial puts files, only who made them may look.
            os.chmod(os.path.dirname(self.path), 0o711)
            os.seteuid(NOBODY)
            self.addCleanup(os.seteuid, 0)


_INSERT = "INSERT INTO sessions VALUES (1, '', NULL, '', NULL, NULL, 0, 0, NULL, NULL, NULL)"
