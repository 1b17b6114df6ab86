"""The system's clock is set: whatever waits does not wait for as much longer."""

from __future__ import annotations

import os

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pylingo.clock import keep_steady
from tests.house import START
from tests.journey import Journey

HOUR = 3600
WATCH = """\
import time

right = time.time
time.time = lambda: right() + float(open({path!r}).read())
"""
"""A clock that is ahead by what a file says, for Python programs with this as `sitecustomize`."""


class ClockTests(SynchronousTestCase):
    def test_steady(self) -> None:
        """It goes on from the time it is; what waits, now or later, waits as long as it was to."""
        clock = Clock()
        clock.advance(START)
        calls = [clock.callLater(after, lambda: None) for after in (5, 9)]
        keep_steady(clock)
        self.assertApproximates(clock.seconds(), START, 1)
        # This is the system's time for it, by which it does not go any more.
        clock.rightNow -= HOUR
        calls[1].reset(5)
        calls.append(clock.callLater(5, lambda: None))
        for call in calls:
            self.assertApproximates(call.getTime() - clock.seconds(), 5, 1)


class SetBackTests(Journey):
    """Real programs, with a clock that is set back by an hour."""

    def setUp(self) -> None:
        super().setUp()
        self.watch = self.home / "watch"
        self.watch.write_text("0")
        modules = self.home / "modules"
        modules.mkdir()
        (modules / "sitecustomize.py").write_text(WATCH.format(path=str(self.watch)))
        path = os.pathsep.join([str(modules), os.environ.get("PYTHONPATH", "")])
        self.patch(os, "environ", {**os.environ, "PYTHONPATH": path})

    def set_back(self) -> None:
        new = self.home / "new"
        new.write_text(str(-HOUR))
        new.replace(self.watch)

    def test_server(self) -> None:
        """Who does not come back is gone in time, and what is said is heard."""
        server = self.serve("--linger=1")
        ana, ben = self.person(server, "ana"), self.person(server, "ben")
        self.set_back()
        ana.write("hello\n")
        ben.prints("<ana> hello")
        ana.kill()
        ben.prints("<-- ana left")
        server.stop()
        self.assertNotIn("Traceback", server.out + server.err)

    def test_client(self) -> None:
        """It goes on trying to come back."""
        server = self.serve()
        ana = self.seat(server)
        server.kill()
        ana.shows("Not connected")
        self.set_back()
        self.serve(port=server.port)
        ana.shows("Connected again.")
