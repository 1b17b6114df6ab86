"""The terminal that the client was started from, and what becomes of its modes."""

from __future__ import annotations

import fcntl
import os
import signal
import termios
from threading import Thread
from typing import Any

from prompt_toolkit.history import FileHistory
from twisted.trial.unittest import SynchronousTestCase

from pylingo.terminal import Tty, _History


def no_thread(_: Thread) -> None:
    raise RuntimeError("can't start new thread")


class HistoryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = self.mktemp()
        self.history = _History(self.path)

    @property
    def kept(self) -> list[str]:
        """What is in the file, when all has been written."""
        self.history._writer.shutdown()
        return [*FileHistory(self.path).load_history_strings()]

    def test_order(self) -> None:
        """Lines are kept in the order in which they were entered."""
        for line in ("one", "two", "three"):
            self.history.store_string(line)
        self.assertEqual(self.kept, ["three", "two", "one"])

    def test_no_thread(self) -> None:
        """Without a thread a line waits for the next that gets one."""
        full = self.patch(Thread, "start", no_thread)
        self.history.store_string("one")
        full.restore()
        self.history.store_string("two")
        self.assertEqual(self.kept, ["two", "one"])


class TtyTests(SynchronousTestCase):
    def setUp(self) -> None:
        ours, self.theirs = os.openpty()
        for file in (ours, self.theirs):
            self.addCleanup(os.close, file)
        self.found = self.state()

    def state(self) -> tuple[Any, int]:
        """The modes of the terminal, and the flags of the file that it is."""
        return termios.tcgetattr(self.theirs), fcntl.fcntl(self.theirs, fcntl.F_GETFL)

    def change_flags(self) -> None:
        fcntl.fcntl(self.theirs, fcntl.F_SETFL, self.found[1] | os.O_NONBLOCK)

    def test_as_found(self) -> None:
        """In use it gives every key; afterwards it is as it was, whatever happened."""
        with self.assertRaises(ValueError), Tty(self.theirs):
            self.assertFalse(termios.tcgetattr(self.theirs)[3] & termios.ICANON)
            self.change_flags()
            int("whatever")
        self.assertEqual(self.state(), self.found)

    def test_whole_bytes(self) -> None:
        """Every byte is whole, whatever was set before, as by `stty cooked`."""
        modes = termios.tcgetattr(self.theirs)
        modes[0] |= termios.ISTRIP | termios.INPCK
        termios.tcsetattr(self.theirs, termios.TCSANOW, modes)
        before = self.state()
        with Tty(self.theirs):
            self.assertFalse(termios.tcgetattr(self.theirs)[0] & (termios.ISTRIP | termios.INPCK))
        self.assertEqual(self.state(), before)

    def test_flow(self) -> None:
        """On a serial line the terminal's Ctrl-S and Ctrl-Q are no keys; elsewhere they are."""
        for serial in (0, termios.IXOFF):
            modes = termios.tcgetattr(self.theirs)
            modes[0] |= termios.IXON | serial
            termios.tcsetattr(self.theirs, termios.TCSANOW, modes)
            with Tty(self.theirs):
                kept = termios.tcgetattr(self.theirs)[0] & (termios.IXON | termios.IXOFF)
                self.assertEqual(kept, termios.IXON | termios.IXOFF if serial else 0)

    def test_suspended(self) -> None:
        """While the program is stopped the shell has it as it was found; then it is ours again."""
        stopped: list[Any] = []
        endings = signal.SIGTERM, signal.SIGHUP
        for one in endings:
            self.addCleanup(signal.signal, one, signal.signal(one, lambda *_: None))
        before = [signal.getsignal(one) for one in endings]

        def stop(*what: int) -> None:
            stopped.append((what, self.state()))
            stopped.append([signal.getsignal(one) for one in endings])

        self.patch(os, "kill", stop)
        with Tty(self.theirs) as tty:
            self.change_flags()
            during = self.state()
            tty.suspend()
            self.assertEqual(self.state(), during)
        # What asks it to end while it is stopped ends it.
        self.assertEqual(stopped, [((0, signal.SIGTSTP), self.found), [signal.SIG_DFL] * 2])
        self.assertEqual([signal.getsignal(one) for one in endings], before)
        self.assertEqual(self.state(), self.found)

    def test_in_the_background(self) -> None:
        """Told to go on while the shell has the terminal, it stops again until it may have it."""
        stopped: list[Any] = []
        self.patch(os, "kill", lambda *what: stopped.append(what))
        us, shell = os.getpgrp(), os.getpgrp() + 1
        groups = [us, shell, shell]
        self.patch(os, "tcgetpgrp", lambda _: groups.pop(0) if groups else us)
        modes: list[object] = []
        with Tty(self.theirs) as tty:
            # To change the modes from the background would stop it before it knows.
            self.patch(tty._raw, "__exit__", modes.append)
            tty.suspend()
            self.assertEqual(modes, [])
        self.assertEqual(stopped, [(0, signal.SIGTSTP), (0, signal.SIGTTOU)])

    def test_begun_and_ended_in_the_background(self) -> None:
        """There it changes no modes, which are what the shell wants of them."""
        stopped: list[Any] = []
        self.patch(os, "kill", lambda *what: stopped.append((what, self.state())))
        us, shell = os.getpgrp(), os.getpgrp() + 1
        groups = [shell, us]
        self.patch(os, "tcgetpgrp", lambda _: groups.pop(0) if groups else shell)
        with Tty(self.theirs):
            self.assertEqual(stopped, [((0, signal.SIGTTOU), self.found)])
            during = self.state()
        self.assertEqual(self.state(), during)

    def test_stopped_by_others(self) -> None:
        """When somebody else had stopped it, it has every key again, and leaves it as it was."""
        with Tty(self.theirs) as tty:
            during = self.state()
            stripped = self.found[0][0] | termios.ISTRIP, *self.found[0][1:]
            termios.tcsetattr(self.theirs, termios.TCSANOW, [*stripped])
            tty.again()
            self.assertEqual(self.state(), during)
            self.assertTrue(tty.ours)
        self.assertEqual(self.state(), self.found)
