"""The terminal that the client was started from, and what becomes of its modes."""

from __future__ import annotations

import fcntl
import os
import signal
import termios
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from pylingo.terminal import Tty


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
        with self.assertRaises(ZeroDivisionError), Tty(self.theirs):
            self.assertFalse(termios.tcgetattr(self.theirs)[3] & termios.ICANON)
            self.change_flags()
            1 / 0  # noqa: B018
        self.assertEqual(self.state(), self.found)

    def test_suspended(self) -> None:
        """While the program is stopped the shell has it as it was found; then it is ours again."""
        stopped: list[Any] = []
        self.patch(os, "kill", lambda *what: stopped.append((what, self.state())))
        with Tty(self.theirs) as tty:
            self.change_flags()
            during = self.state()
            tty.suspend()
            self.assertEqual(self.state(), during)
        self.assertEqual(stopped, [((0, signal.SIGTSTP), self.found)])
        self.assertEqual(self.state(), self.found)
