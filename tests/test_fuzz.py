"""The fuzzer, as long as a test may be, and what it found once."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pylingo import names
from pylingo.history import MOST_UNSTORED, Log
from pylingo.protocol import Joined, Notice, Welcome
from pylingo.rooms import Registry, silence
from pylingo.schema import MEMORY, Database
from tests.house import House, request
from tests.peer import run, seed


class FuzzTests(SynchronousTestCase):
    """Hostile input against a real server."""

    def test_no_input_breaks_the_server(self) -> None:
        """Mutated frames and random commands leave it prompt, and its log without a traceback."""
        seconds = float(os.environ.get("PYLINGO_FUZZ") or 20)
        status, printed = run(
            "tests.fuzz", "--seconds", str(seconds), "--seed", str(seed()), seconds=seconds + 90
        )
        print(printed.splitlines()[0] if printed else "")
        self.assertEqual(status, 0, printed)


class SlowDiskTests(SynchronousTestCase):
    """A log whose disk takes its time, and those who wait for it."""

    def setUp(self) -> None:
        self.writing: list[tuple[Callable[[], Any], Deferred[Any]]] = []
        database = Database(MEMORY)
        self.addCleanup(database.close)
        self.clock = Clock()
        self.log = Log(database, self.write, self.write, self.clock, self.clock.seconds)
        self.registry = Registry(self.log.append)
        self.log.publish, self.log.refuse = self.registry.publish, self.registry.refuse
        self.ana = self.registry.enter(silence, 1)
        self.ana.join(names.room("lobby"))

    def write(self, function: Callable[[], Any]) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        self.writing.append((function, done))
        return done

    def store(self) -> None:
        """The disk has done what it was given."""
        self.clock.advance(0)
        function, done = self.writing.pop(0)
        done.callback(function())

    def test_whoever_gives_up_waiting_does_not_go_on(self) -> None:
        """A command that waits for the log and is cancelled ends there, and does nothing more."""
        self.ana.say("hello")
        waiting = self.log.flushed()
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)


class NewcomerTests(SynchronousTestCase):
    """Connections that begin while the log is full."""

    def test_welcome_first(self) -> None:
        """They need not wait to be greeted, and hear nothing before that."""
        house = House()
        ana, _ = house.user("ana", "lobby")
        house.commits.hold()
        ana.say("storing")
        house.settle()
        for n in range(MOST_UNSTORED):
            ana.say(f"text {n}")
        visitor = house.visitor()
        visitor.send(request("hello"))
        house.registry.tell(Notice(text="for all"))
        self.assertEqual([type(event) for event in visitor.heard], [Welcome, Notice])
        waiting = visitor.begin("join", "lobby")
        self.assertIsNone(visitor.reply(waiting))
        house.commits.release()
        house.settle()
        self.assertIsInstance(visitor.reply(waiting), Joined)
