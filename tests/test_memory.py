"""What the client remembers between its runs."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from pylingo import memory
from pylingo.connection import Ticket
from pylingo.memory import Memory

WHERE = "example.org:5000"
TICKET = Ticket("token", 42)


class MemoryTests(SynchronousTestCase):
    """One file for each server and name."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def open(self, where: str = WHERE, name: str = "ana") -> Memory:
        opened = Memory(self.folder, where, name)
        self.addCleanup(opened.close)
        return opened

    def keep(self, ticket: Ticket | None = TICKET) -> None:
        """Remember something, as an earlier run would have."""
        earlier = self.open()
        earlier.remember(ticket)
        earlier.close()

    @property
    def file(self) -> Path:
        (file,) = (self.folder / "sessions").iterdir()
        return file

    def test_nothing_at_first(self) -> None:
        """Of a name that was never used there is nothing to recall."""
        self.assertIsNone(self.open().recall())

    def test_next_run(self) -> None:
        """The next run recalls what this one remembered."""
        self.keep()
        self.assertEqual(self.open().recall(), TICKET)

    def test_newest(self) -> None:
        """It is the newest that is recalled, also when it is the shorter."""
        opened = self.open()
        opened.remember(Ticket("a much longer token", 123_456_789))
        opened.remember(TICKET)
        self.assertEqual(opened.recall(), TICKET)

    def test_forget(self) -> None:
        """What was forgotten is not recalled."""
        self.keep()
        self.keep(None)
        self.assertIsNone(self.open().recall())

    def test_any_case(self) -> None:
        """A name is the same name in any case."""
        self.keep()
        again = self.open(name="ANA")
        self.assertEqual((again.name, again.recall()), ("ana", TICKET))

    def test_apart(self) -> None:
        """Other names and other servers have sessions of their own."""
        self.keep()
        self.assertIsNone(self.open(name="bob").recall())
        self.assertIsNone(self.open(where="example.org:5001").recall())

    def test_only_for_its_owner(self) -> None:
        """Nobody else can read it, whatever the mask says."""
        mask = os.umask(0)
        self.addCleanup(os.umask, mask)
        self.keep()
        self.assertEqual(stat.S_IMODE(self.file.stat().st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(self.file.parent.stat().st_mode), 0o700)

    def test_one_at_a_time(self) -> None:
        """A second client of the same name does not get the session of the first."""
        self.keep()
        first = self.open()
        second = self.open()
        self.assertEqual((first.recall(), second.recall()), (TICKET, None))
        self.assertEqual((first.held, second.held), (True, False))
        self.assertEqual((first.busy, second.busy), (False, True))
        second.remember(Ticket("other", 1))
        self.assertEqual(first.recall(), TICKET)

    def test_taken_again_and_again(self) -> None:
        """A client that looks every moment whether it may have it by now keeps no file open."""
        self.open()
        opened: list[int] = []
        closed: list[int] = []

        def opening(*given: Any) -> int:
            opened.append(os_open(*given))
            return opened[-1]

        def closing(file: int) -> None:
            closed.append(file)
            os_close(file)

        os_open, os_close = os.open, os.close
        self.patch(os, "open", opening)
        self.patch(os, "close", closing)
        self.open()
        self.assertEqual((len(opened), closed), (1, opened))

    def test_damaged(self) -> None:
        """A file that is damaged is as good as none."""
        self.keep()
        for data in (
            b"",
            b"{",
            b"[]",
            b"7",
            b"null",
            b'{"last": 1}',
            b"\xff\x00",
            b'{"more": ' + b"[" * 4000,
            b'{"session": "\xff", "last": 1}',
            *(
                json.dumps({"session": "t", "last": 1} | wrong).encode()
                for wrong in (
                    {"session": "a b"},
                    {"session": ""},
                    {"session": 5},
                    {"last": -5},
                    {"last": 2**53},
                    {"last": 1e999},
                )
            ),
        ):
            self.file.write_bytes(data)
            opened = self.open()
            self.assertTrue(opened.held)
            self.assertIsNone(opened.recall(), data[:20])
            opened.close()

    def test_no_place(self) -> None:
        """Where nothing can be written, nothing is remembered, and nothing fails."""
        (self.folder / "sessions").write_text("in the way")
        opened = self.open()
        opened.remember(TICKET)
        self.assertIsNone(opened.recall())

    def test_unreadable(self) -> None:
        """Nor where it can no longer be read."""

        def broken(*_: object) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

        self.keep()
        self.patch(os, "pread", broken)
        self.assertIsNone(self.open().recall())

    def test_full_disk(self) -> None:
        """Nor where nothing can be written any more."""

        def full(*_: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        opened = self.open()
        self.patch(os, "pwrite", full)
        opened.remember(TICKET)
        self.assertIsNone(opened.recall())

    def test_place(self) -> None:
        """The folder is made where the system keeps such things, for its owner alone."""
        mask = os.umask(0)
        self.addCleanup(os.umask, mask)
        state = Path(self.mktemp()).absolute()
        before = os.environ.get("XDG_STATE_HOME")
        os.environ["XDG_STATE_HOME"] = str(state)

        def restore() -> None:
            del os.environ["XDG_STATE_HOME"]
            if before is not None:
                os.environ["XDG_STATE_HOME"] = before

        self.addCleanup(restore)
        path = memory.state_path()
        self.assertEqual((path.name, stat.S_IMODE(path.stat().st_mode)), ("pylingo", 0o700))
        os.environ["XDG_STATE_HOME"] = "/dev/null"
        self.assertFalse(memory.state_path().exists())

    def test_no_home(self) -> None:
        """Without a home there is no folder of one's own, nor is one where this was started."""
        here = Path(self.mktemp()).absolute()

        def made_up(name: str, **_: bool) -> Path:
            return Path("~/.config") / name

        def none(name: str, **_: bool) -> Path:
            raise RuntimeError(name)

        for which in (made_up, none):
            self.assertEqual(memory.own(which), Path(os.devnull))
        self.assertEqual(memory.own(lambda name, **_: here / name), here / "pylingo")
