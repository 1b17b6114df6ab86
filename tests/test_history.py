"""The log: order, ids, groups, failures, and what can be read again."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from pylingo import history, names
from pylingo.history import DAY, MOST_UNSTORED, PIECE
from pylingo.protocol import Error, Message, Private, Sent
from pylingo.rooms import Post, User
from tests.house import START, House, notes, texts, wait

START_ID = int(START * 1_000_000)


def noting(done: list[Any], what: object) -> Callable[[object], None]:
    """A change that does nothing but to note that it was made."""
    return lambda _: done.append(what)


class LogTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.house = House(watched=False)
        self.log = self.house.log
        self.published: list[list[Post]] = []
        self.refused: list[list[Post]] = []
        publish, refuse = self.log.publish, self.log.refuse

        def published(posts: Sequence[Post]) -> None:
            self.published.append(list(posts))
            publish(posts)

        def not_stored(posts: Sequence[Post]) -> None:
            self.refused.append(list(posts))
            refuse(posts)

        self.log.publish, self.log.refuse = published, not_stored
        self.ana, self.heard = self.house.user("ana", "lobby")
        self.house.settle()
        self.heard.clear()

    def result(self, waiting: Deferred[Any]) -> Any:
        """What comes of it when the threads have done their work."""
        self.house.settle()
        return self.successResultOf(waiting)

    def rows(self) -> list[tuple[Any, ...]]:
        query = "SELECT id, place, target, user, text, action FROM messages ORDER BY id"
        return self.house.database.reader.execute(query).fetchall()


class AppendTests(LogTestCase):
    def test_stored_first(self) -> None:
        """Nobody is told of a message before it is stored."""
        self.house.commits.hold()
        self.ana.say("hi", re=1)
        self.assertEqual((self.rows(), self.published, self.heard), ([], [], []))
        self.house.commits.run()
        self.assertEqual((len(self.rows()), self.published, self.heard), (1, [], []))
        self.house.commits.step()
        self.assertEqual([type(event) for event in self.heard], [Sent])

    def test_row(self) -> None:
        """What is stored is all that is needed to tell it again."""
        ben, _ = self.house.user("ben")
        self.ana.say("waves", action=True)
        self.ana.tell(ben, "psst")
        self.house.settle()
        posts = [post for group in self.published for post in group]
        self.assertEqual(
            self.rows(),
            [
                (posts[0].id, "#lobby", "lobby", "ana", "waves", 1),
                (posts[1].id, f"~{ben.session}", "ben", "ana", "psst", 0),
            ],
        )

    def test_groups(self) -> None:
        """What comes in one turn, or while a group is stored, is stored together, in its order."""
        self.house.commits.hold()
        for number in range(2):
            self.ana.say(str(number))
        self.house.settle()
        for number in range(2, 5):
            self.ana.say(str(number))
        self.house.settle()
        self.assertEqual(len(self.house.commits.waiting), 1)
        self.house.commits.release()
        self.house.settle()
        groups = [[post.text for post in group] for group in self.published]
        self.assertEqual(groups, [["0", "1"], ["2", "3", "4"]])
        self.assertEqual(self.log.stored, 5)

    def test_busy(self) -> None:
        """What came while a group was told is read, and goes along, before the next is stored."""
        self.house.commits.hold()
        self.ana.say("0")
        self.house.settle()
        self.ana.say("1")
        self.house.commits.step()
        self.ana.say("2")
        self.house.commits.release()
        self.house.settle()
        groups = [[post.text for post in group] for group in self.published]
        self.assertEqual(groups, [["0"], ["1", "2"]])

    def test_large(self) -> None:
        """Much that waits is stored and told in several goes; a change waits for what was first."""
        self.patch(history, "LARGEST_GROUP", 1000)
        for number in range(7):
            self.ana.say(f"{number}".ljust(400))
        told = self.log.write(lambda _: None)
        counts: list[int] = []
        told.addCallback(lambda _: counts.append(sum(map(len, self.published))))
        self.house.settle()
        self.assertEqual(list(map(len, self.published)), [3, 3, 1])
        self.assertEqual((counts, len(self.rows())), ([7], 7))

    def test_many_listeners(self) -> None:
        """So is what very many hear, to whom it takes a while to be told."""
        self.patch(history, "MOST_TOLD", 5000)
        for number in range(9):
            self.house.user(f"listener-{number}", "lobby")
        alone, _ = self.house.user("eve", "den")
        for number in range(6):
            self.ana.say(f"{number}".ljust(200))
            alone.say(f"{number}".ljust(200))
        self.house.settle()
        # Ten in the room are told as much by two messages as one is by twenty.
        self.assertEqual(list(map(len, self.published)), [3, 4, 4, 1])

    def test_large_and_more(self) -> None:
        """A change does not wait for what is said after it, however much that is."""
        self.patch(history, "LARGEST_GROUP", 1000)
        self.house.commits.hold()
        for number in range(4):
            self.ana.say(f"{number}".ljust(400))
        told = self.log.flushed()
        for number in range(4, 50):
            self.ana.say(f"{number}".ljust(400))
        self.house.settle()
        self.house.commits.step()
        self.house.settle()
        self.assertNoResult(told)
        self.house.commits.step()
        self.successResultOf(told)
        self.assertEqual(sum(map(len, self.published)), 6)

    def test_ids(self) -> None:
        """Ids are microseconds since 1970, and grow although the clock stands still."""
        first, second = self.log.number(), self.log.number()
        self.house.clock.advance(1.0)
        third = self.log.number()
        self.assertLess(first, second)
        self.assertEqual(third, int((START + 1) * 1_000_000))
        self.assertLess(third, 2**53)

    def test_ids_back(self) -> None:
        """Ids grow although the clock goes back."""
        first = self.log.number()
        self.house.ahead = -3600
        self.assertEqual(self.log.number(), first + 1)

    def test_ids_after_restart(self) -> None:
        """Ids grow although the server was started again with a clock that is behind."""
        house = House(self.mktemp())
        ana, _ = house.user("ana", "lobby")
        ana.say("hi")
        house.settle()
        last = house.registry.last
        house = house.restart(after=-DAY)
        self.addCleanup(house.database.close)
        self.assertEqual(house.log.last, last)
        self.assertGreater(house.log.number(), last)

    def test_ids_after_reading(self) -> None:
        """Nor is one given again up to which somebody has read, though all else of then is gone."""
        house = House(self.mktemp())
        house.owner("ana").ask("close")
        (read,) = house.database.writer.execute("SELECT read FROM accounts").fetchone()
        house.database.writer.execute("DELETE FROM sessions")
        house = house.restart(after=-DAY)
        self.addCleanup(house.database.close)
        self.assertGreater(house.log.number(), read)

    def test_at(self) -> None:
        """The time of a message is that of its id, in milliseconds."""
        self.ana.say("hi", re=1)
        self.house.settle()
        (sent,) = self.heard
        self.assertEqual(sent.at, sent.id // 1000)
        self.assertEqual(sent.at, int(START * 1000))


class ResendTests(LogTestCase):
    def sent(self) -> list[int]:
        self.house.settle()
        return [event.id for event in self.heard if isinstance(event, Sent)]

    def test_same(self) -> None:
        """The same text under the same id in one session is one message, and the same answer."""
        _, ben_heard = self.house.user("ben", "lobby")
        self.heard.clear()
        self.ana.say("hi", re="x")
        first = self.sent()
        self.house.clock.advance(5.0)
        self.ana.say("hi", re="x")
        self.assertEqual(self.sent(), first * 2)
        self.assertEqual(self.heard[0], self.heard[1])
        self.assertEqual(texts(ben_heard), ["hi"])
        self.assertEqual(len(self.rows()), 1)

    def test_same_group(self) -> None:
        """It is also when both are stored at once."""
        self.house.commits.hold()
        self.ana.say("first")
        self.ana.say("hi", re="x")
        self.ana.say("between", re="y")
        self.ana.say("hi", re="x")
        self.house.commits.release()
        first, again = [event.id for event in self.heard if event.re == "x"]
        (between,) = [event.id for event in self.heard if event.re == "y"]
        self.assertEqual(first, again)
        self.assertNotEqual(first, between)
        self.assertEqual(len(self.rows()), 3)

    def test_private(self) -> None:
        """The same goes for what is said to one user."""
        ben, ben_heard = self.house.user("ben")
        for _ in range(2):
            self.ana.tell(ben, "psst", re=5)
        first, second = self.sent()
        self.assertEqual(first, second)
        self.assertEqual(texts(ben_heard), ["psst"])

    def test_other_text(self) -> None:
        """Another text under a used id is another message."""
        self.ana.say("hi", re="x")
        self.ana.say("ho", re="x")
        first, second = self.sent()
        self.assertLess(first, second)
        self.assertEqual([row[4] for row in self.rows()], ["hi", "ho"])

    def test_other_session(self) -> None:
        """The same id in another session has nothing to do with it."""
        ben, ben_heard = self.house.user("ben", "lobby")
        self.ana.say("hi", re=1)
        ben.say("hi", re=1)
        self.house.settle()
        self.assertEqual(len(self.rows()), 2)
        self.assertEqual(texts(ben_heard), ["hi"])

    def test_kinds_of_ids(self) -> None:
        """The number 1 and the text "1" are different ids."""
        self.ana.say("hi", re=1)
        self.ana.say("hi", re="1")
        first, second = self.sent()
        self.assertNotEqual(first, second)

    def test_no_id(self) -> None:
        """What is said without an id is always a message of its own."""
        for _ in range(3):
            self.ana.say("hi")
        self.house.settle()
        self.assertEqual(len(self.rows()), 3)

    def test_among_others(self) -> None:
        """Resending one of a group leaves the others as they are."""
        self.ana.say("one", re=1)
        self.house.settle()
        self.house.commits.hold()
        self.ana.say("two")
        self.ana.say("one", re=1)
        self.ana.say("three", re=3)
        self.ana.say("four")
        self.house.commits.release()
        self.assertEqual([row[4] for row in self.rows()], ["one", "two", "three", "four"])


class WriteTests(LogTestCase):
    def test_result(self) -> None:
        """A change gives what it returns, when it is stored."""
        self.assertEqual(self.result(self.log.write(lambda _: 42)), 42)

    def test_order(self) -> None:
        """A change is made in its turn: after what was said before it."""
        self.ana.say("hi")
        count = self.log.write(lambda c: c.execute("SELECT count(*) FROM messages").fetchone()[0])
        self.assertEqual(self.result(count), 1)

    def test_bug(self) -> None:
        """A change that breaks is told to who asked for it, and is logged; the log goes on."""

        def broken(_: sqlite3.Connection) -> None:
            raise RuntimeError("a bug")

        done = self.log.write(broken)
        self.house.settle()
        self.failureResultOf(done, RuntimeError)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.ana.say("hi")
        self.house.settle()
        self.assertEqual(len(self.rows()), 1)

    def test_keep(self) -> None:
        """Of several states under one key, the last is the one that is kept."""
        done: list[int] = []
        self.house.commits.hold()
        for number in range(4):
            self.log.keep("key", noting(done, number))
        self.log.keep("other", noting(done, 9))
        self.house.commits.release()
        self.assertEqual(done, [3, 9])

    def test_keep_in_order(self) -> None:
        """The latest of what is to be kept comes last, whatever it takes the place of."""
        done: list[str] = []
        self.house.commits.hold()
        for key in ("one", "other", "one"):
            self.log.keep(key, noting(done, key))
        self.house.commits.release()
        self.assertEqual(done, ["other", "one"])

    def test_flushed(self) -> None:
        """All that waits has been stored when `flushed` fires; at once where nothing waits."""
        self.successResultOf(self.log.flushed())
        self.house.commits.hold()
        self.ana.say("hi")
        flushed = self.log.flushed()
        self.house.commits.run()
        self.assertNoResult(flushed)
        self.house.commits.release()
        self.successResultOf(flushed)
        self.assertEqual(len(self.published), 1)

    def test_given_up(self) -> None:
        """Who does not wait for that any more goes no further; the log and all others do."""
        self.house.commits.hold()
        self.ana.say("hi")
        given_up, flushed = self.log.flushed(), self.log.flushed()
        given_up.cancel()
        self.failureResultOf(given_up, CancelledError)
        self.house.commits.release()
        self.successResultOf(flushed)
        self.assertEqual(len(self.published), 1)

    def test_publish_bug(self) -> None:
        """A bug in what is told does not stop the log, nor what waits for it."""
        publish = self.log.publish

        def broken(_: Sequence[Post]) -> None:
            raise RuntimeError("a bug")

        self.log.publish = broken
        self.ana.say("lost")
        waiting = self.log.flushed()
        self.house.settle()
        self.successResultOf(waiting)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.log.publish = publish
        self.ana.say("heard", re=1)
        self.house.settle()
        self.assertEqual([type(event) for event in self.heard], [Sent])


class FailureTests(LogTestCase):
    def test_refused(self) -> None:
        """What cannot be stored is refused, in its order; nobody is told of it."""
        _, ben_heard = self.house.user("ben", "lobby")
        self.heard.clear()
        self.house.break_disk()
        self.house.commits.hold()
        for number in range(3):
            self.ana.say(str(number), re=number)
        self.house.commits.release()
        self.assertEqual([(e.code, e.re) for e in self.heard], [("internal", n) for n in range(3)])
        self.assertEqual(texts(ben_heard), [])
        self.assertEqual((self.published, self.log.stored), ([], 0))

    def test_again(self) -> None:
        """When the disk is well again, messages are stored again, and resending works."""
        self.house.break_disk()
        self.ana.say("hi", re=1)
        self.house.settle()
        self.house.mend_disk()
        self.ana.say("hi", re=1)
        self.house.settle()
        self.assertEqual([type(event) for event in self.heard][1:], [Sent])
        self.assertEqual([row[4] for row in self.rows()], ["hi"])

    def test_stored_before(self) -> None:
        """What was stored, and comes again when nothing can be, is answered as stored."""
        self.ana.say("hi", re=1)
        self.house.settle()
        self.house.break_disk()
        self.ana.say("hi", re=1)
        self.house.settle()
        first, again = self.heard
        self.assertEqual(first, again)
        self.assertIsInstance(again, Sent)

    def test_removed(self) -> None:
        """Where the database was moved away, what is said is refused, until it is back."""
        path = self.mktemp()
        house = House(path, watched=False)
        ana, heard = house.user("ana", "lobby")
        os.rename(path, f"{path}-away")
        ana.say("hi", re=1)
        house.settle()
        os.rename(f"{path}-away", path)
        ana.say("ho", re=2)
        house.settle()
        self.assertEqual([type(event) for event in heard], [Error, Sent])
        house.database.close()

    def test_again_of_any_kind(self) -> None:
        """Resending works for what was done, and for what was said to one alone, as well."""
        ben, ben_heard = self.house.user("ben", "lobby")
        self.house.settle()
        ben_heard.clear()
        for broken in (True, False):
            (self.house.break_disk if broken else self.house.mend_disk)()
            self.ana.say("waves", action=True, re=1)
            self.ana.tell(ben, "psst", re=2)
            self.house.settle()
        self.assertEqual(texts(ben_heard), ["waves", "psst"])

    def test_refused_and_resent(self) -> None:
        """What came twice again while it failed is stored once, and both are answered so."""
        _, ben_heard = self.house.user("ben", "lobby")
        self.house.commits.hold()
        self.ana.say("hi", re=5)
        self.house.settle()
        self.heard.clear()
        for _ in range(2):
            self.ana.say("hi", re=5)
        self.house.break_disk()
        self.house.commits.run()
        self.house.mend_disk()
        self.house.commits.release()
        self.house.settle()
        self.ana.say("hi", re=5)
        self.house.settle()
        self.assertEqual(texts(ben_heard), ["hi"])
        error, *sent = self.heard
        self.assertEqual((error.code, len(sent), len({e.id for e in sent})), ("internal", 3, 1))

    def test_resending_refused(self) -> None:
        """A resending that cannot be answered does not make its first be forgotten."""
        self.ana.say("hi", re=5)
        self.house.settle()
        self.house.break_disk()
        self.ana.say("hi", re=5)
        self.house.settle()
        self.house.mend_disk()
        self.ana.say("hi", re=5)
        self.house.settle()
        self.assertEqual(len(self.rows()), 1)

    def test_states(self) -> None:
        """A state that could not be kept is kept with the next group, unless there is a newer."""
        done: list[str] = []

        def state(what: str) -> history.Change:
            def change(connection: sqlite3.Connection) -> None:
                connection.execute(
                    "INSERT INTO sessions (id, token, name, since, seen) VALUES (?, '', '', 0, 0)",
                    (len(what),),
                )
                done.append(what)

            return change

        self.house.break_disk()
        self.log.keep(1, state("one"))
        self.log.keep(2, state("three"))
        self.house.settle()
        self.assertEqual(done, [])
        self.house.mend_disk()
        self.log.keep(1, state("newer one"))
        self.house.settle()
        self.assertEqual(done, ["three", "newer one"])

    def test_many_states(self) -> None:
        """Of very many sessions that could not be stored, those of the newest wait."""
        self.patch(history, "MOST_SESSIONS", 3)
        done: list[object] = []
        self.house.break_disk()
        for session in (1, 2, 3, ("room", "den"), 4, 1, 5):
            self.log.keep(session, noting(done, session))
            self.house.settle()
            self.ana.say("fails")
            self.house.settle()
        done.clear()
        self.house.mend_disk()
        self.ana.say("works")
        self.house.settle()
        self.assertEqual(done, [("room", "den"), 4, 1, 5])

    def test_states_meanwhile(self) -> None:
        """What came while it could not be kept is kept in its place, the latest as ever."""
        done: list[str] = []
        self.house.break_disk()
        self.house.commits.hold()
        self.log.keep(1, lambda _: done.append("old"))
        self.house.settle()
        self.log.keep(2, lambda _: done.append("other"))
        self.log.keep(1, lambda _: done.append("new"))
        self.house.commits.run()
        self.house.mend_disk()
        self.house.commits.release()
        self.log.write(lambda _: None)
        self.house.settle()
        self.assertEqual(done, ["other", "new"])

    def test_state_while_storing(self) -> None:
        """What comes while a group is being stored is kept right after it."""
        done: list[str] = []
        self.house.commits.hold()
        self.log.keep(1, lambda _: done.append("one"))
        self.house.settle()
        self.log.keep(2, lambda _: done.append("two"))
        self.house.settle()
        self.house.commits.release()
        self.house.settle()
        self.assertEqual(done, ["one", "two"])

    def test_left_open(self) -> None:
        """A transaction that could not even be rolled back is, before the next."""
        self.house.database.writer.execute("BEGIN")
        self.ana.say("hi", re=1)
        self.house.settle()
        self.assertEqual([row[4] for row in self.rows()], ["hi"])

    def test_states_with_post(self) -> None:
        """A state that could not be kept is kept with the next message, too."""
        self.house.break_disk()
        self.house.sessions.token(self.ana)
        self.house.settle()
        self.house.mend_disk()
        self.ana.say("hi")
        self.house.settle()
        rows = self.house.database.reader.execute("SELECT id FROM sessions").fetchall()
        self.assertEqual(rows, [(self.ana.session,)])

    def test_no_spinning(self) -> None:
        """A broken disk is tried again with what comes, not over and over."""
        self.house.break_disk()
        self.log.keep(1, lambda c: c.execute("DELETE FROM sessions"))
        self.house.settle()
        self.assertEqual(len(self.house.commits.waiting), 0)

    def test_kept(self) -> None:
        """Who waits for what could not be kept has it tried again, and learns how that went."""
        done: list[str] = []
        self.house.break_disk()
        self.log.keep(1, noting(done, "kept"))
        self.house.settle()
        kept = self.log.kept()
        self.house.settle()
        self.failureResultOf(kept, sqlite3.Error)
        self.house.mend_disk()
        self.result(self.log.kept())
        self.assertEqual(done, ["kept"])

    def test_heard(self) -> None:
        """What cannot be stored is not waited for again and again until it is heard."""
        self.house.break_disk()
        self.log.keep(1, noting([], "kept"))
        self.ana.say("hi")
        self.house.settle()
        self.house.commits.hold()
        heard = wait(self.log.heard(self.ana))
        self.house.commits.step()
        self.successResultOf(heard)

    def test_noted(self) -> None:
        """That nothing can be stored is noted once, and so is that something can be again."""
        said = notes(self)
        for mend in (False, False, True, True):
            (self.house.mend_disk if mend else self.house.break_disk)()
            self.ana.say("hi")
            self.house.settle()
        self.assertEqual(["cannot" in line for line in said], [True, False], said)

    def test_rolled_back(self) -> None:
        """Where SQLite itself has ended a transaction, the reason is what it gave for that."""

        def full(connection: sqlite3.Connection) -> None:
            connection.execute("ROLLBACK")
            raise sqlite3.OperationalError("database or disk is full")

        change = self.log.write(full)
        self.house.settle()
        self.assertIn("full", str(self.failureResultOf(change, sqlite3.Error).value))

    def test_change(self) -> None:
        """A change that could not be stored fails with the reason; `flushed` fires all the same."""
        self.house.break_disk()
        change = self.log.write(lambda c: c.execute("DELETE FROM messages"))
        flushed = self.log.flushed()
        self.house.settle()
        self.failureResultOf(change, sqlite3.Error)
        self.successResultOf(flushed)

    def test_all_or_nothing(self) -> None:
        """Of a group that fails, nothing is stored."""
        self.house.commits.hold()
        self.ana.say("first")
        self.house.settle()
        self.ana.say("second")
        broken = self.log.write(lambda c: c.execute("DELETE FROM no_such_table"))
        self.house.commits.release()
        self.house.settle()
        self.failureResultOf(broken, sqlite3.Error)
        self.assertEqual([row[4] for row in self.rows()], ["first"])
        self.assertEqual([post.text for group in self.refused for post in group], ["second"])

    def test_thread_gone(self) -> None:
        """Something else than the database that fails is logged, and refuses what waited."""
        self.house.commits.hold()
        self.ana.say("hi", re=1)
        self.house.settle()
        self.house.commits.waiting[0].answer.errback(RuntimeError())
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual([event.code for event in self.heard], ["internal"])

    def test_no_memory(self) -> None:
        """Where SQLite finds no memory, what is to be kept is tried again, as with a full disk."""
        kept: list[str] = []
        self.log.keep("state", lambda _: kept.append("tried"))
        self.house.commits.hold()
        self.ana.say("hi", re=1)
        self.house.settle()
        self.house.commits.waiting.popleft().answer.errback(MemoryError())
        self.house.commits.release()
        self.assertTrue(self.log.failing)
        self.assertEqual([event.code for event in self.heard], ["internal"])
        self.ana.say("hi", re=2)
        self.house.settle()
        self.assertEqual((kept, self.log.failing), (["tried"], False))

    def test_only_a_look(self) -> None:
        """That something could be looked up does not show that something can be stored."""
        self.house.commits.hold()
        self.ana.say("hi")
        self.house.settle()
        self.house.commits.waiting.popleft().answer.errback(MemoryError())
        self.house.commits.release()
        written: list[str] = []
        self.house.database.writer.set_trace_callback(written.append)
        for failing in (True, False):
            self.assertEqual(self.log.failing, failing)
            written.clear()
            self.log.write(lambda connection: connection.execute("SELECT 1").fetchone())
            self.house.settle()
            self.assertEqual(any(" = " in one for one in written), failing, written)


class FullTests(LogTestCase):
    def test_full(self) -> None:
        """The log is full when too much waits, until that is stored."""
        self.house.commits.hold()
        self.ana.say("storing")
        self.house.settle()
        for number in range(MOST_UNSTORED):
            self.assertFalse(self.log.full)
            self.ana.say(str(number))
        self.assertTrue(self.log.full)
        self.house.commits.release()
        self.house.settle()
        self.assertFalse(self.log.full)
        self.assertEqual(len(self.rows()), MOST_UNSTORED + 1)


class ReadTests(LogTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.ben, _ = self.house.user("ben", "attic")

    def said(self, user: User, text: str) -> int:
        """Say it, and give its id."""
        user.say(text)
        self.house.settle()
        return self.house.registry.last

    def test_tail(self) -> None:
        """The last messages of a place come oldest first, as messages from the past."""
        for number in range(5):
            self.said(self.ana, f"lobby {number}")
            self.said(self.ben, f"attic {number}")
        last = self.house.registry.last
        tail = self.result(self.log.tail("#lobby", last, 3))
        self.assertEqual(texts(tail), ["lobby 2", "lobby 3", "lobby 4"])
        self.assertTrue(all(message.replayed for message in tail))
        self.assertEqual({type(message) for message in tail}, {Message})

    def test_tail_upto(self) -> None:
        """It ends with the id that was given, which belongs to it."""
        ids = [self.said(self.ana, str(number)) for number in range(4)]
        self.assertEqual(texts(self.result(self.log.tail("#lobby", ids[2]))), ["0", "1", "2"])
        self.assertEqual(texts(self.result(self.log.tail("#lobby", ids[2] - 1))), ["0", "1"])
        self.assertEqual(self.result(self.log.tail("#cellar", ids[2])), [])
        self.assertEqual(self.result(self.log.tail("#lobby", ids[2], 0)), [])

    def test_same_as_live(self) -> None:
        """What is told again is what was told, but for being from the past."""
        eve, heard = self.house.user("eve", "lobby")
        self.ana.say("waves", action=True)
        self.ana.tell(eve, "psst")
        self.house.settle()
        last = self.house.registry.last
        again = self.result(self.log.missed([("#lobby", 0), (eve.place, 0)], last))[0]
        live = [event for event in heard if isinstance(event, Message | Private)]
        self.assertEqual(again, [type(event)(**{**fields(event), "replayed": True})
                                 for event in live])  # fmt: skip

    def test_missed(self) -> None:
        """What was missed at several places comes in one order, each after its own id."""
        first = self.said(self.ana, "a1")
        self.said(self.ben, "b1")
        self.said(self.ana, "a2")
        self.ana.tell(self.ben, "p1")
        last = self.said(self.ben, "b2")
        self.said(self.ana, "too late")
        places = [("#lobby", first), ("#attic", 0), (self.ben.place, 0)]
        missed, complete = self.result(self.log.missed(places, last))
        self.assertEqual(texts(missed), ["b1", "a2", "p1", "b2"])
        self.assertTrue(complete)

    def test_pieces(self) -> None:
        """Many come in several pieces, and every one comes once."""
        self.house.commits.hold()
        for number in range(2 * PIECE):
            self.ana.say(f"a{number}")
            self.ben.say(f"b{number}")
        self.house.commits.release()
        last = self.house.registry.last
        places = [("#lobby", 0), ("#attic", 0)]
        heard: list[Any] = []
        pieces = 0
        complete = False
        while not complete:
            missed, complete = self.result(self.log.missed(places, last))
            self.assertLessEqual(len(missed), PIECE)
            heard += missed
            pieces += 1
            places = [(place, missed[-1].id) for place, _ in places if missed]
        self.assertGreater(pieces, 3)
        ids = [message.id for message in heard]
        self.assertEqual((ids, len(ids)), (sorted(set(ids)), 4 * PIECE))

    def test_large(self) -> None:
        """Long messages come in smaller pieces."""
        self.house.commits.hold()
        for _ in range(100):
            self.ana.say("x" * 8192)
        self.house.commits.release()
        last = self.house.registry.last
        missed, complete = self.result(self.log.missed([("#lobby", 0)], last))
        self.assertFalse(complete)
        self.assertLess(len(missed), 50)

    @settings(max_examples=60, deadline=None)
    @given(st.data())
    def test_any_bounds(self, data: st.DataObject) -> None:
        """Whatever was stored together, what is read is what lies between the bounds."""
        self.setUp()
        eve, _ = self.house.user("eve", "lobby")
        for group in data.draw(st.lists(st.lists(st.sampled_from("abep"), max_size=9), max_size=9)):
            for who in group:
                if who == "p":
                    self.ana.tell(self.ben, "psst")
                else:
                    {"a": self.ana, "b": self.ben, "e": eve}[who].say(f"says {who}")
            self.house.settle()
        posts = [post for group in self.published for post in group]
        bound = st.sampled_from([0, START_ID, *(post.id + n for post in posts for n in (-1, 0, 1))])
        upto, count = data.draw(bound), data.draw(st.integers(0, 12))
        told = [post.event() for post in posts if post.place == "#lobby" and post.id <= upto]
        tail = self.result(self.log.tail("#lobby", upto, count))
        self.assertEqual(ids(tail), ids(told)[len(told) - min(count, len(told)) :])
        afters = {place: data.draw(bound) for place in ("#lobby", "#attic", self.ben.place)}
        missed, complete = self.result(self.log.missed([*afters.items()], upto))
        told = [post.event() for post in posts if afters[post.place] < post.id <= upto]
        self.assertEqual((ids(missed), complete), (ids(told), True))

    def test_two_names_of_a_place(self) -> None:
        """Where a place is shown in another way within a group, no message is lost or misplaced."""
        self.house.commits.hold()
        for number, name in enumerate(("Tea", "tea", "Tea", "TEA")):
            self.ben.join(names.room(name))
            self.ben.say(f"{number}")
            self.ben.leave(self.ben.here)
        self.house.commits.release()
        posts = [post for group in self.published for post in group]
        for upto in ids(posts):
            told = [post.event() for post in posts if post.id <= upto]
            tail = self.result(self.log.tail("#tea", upto))
            self.assertEqual([fields(m) | {"replayed": False} for m in tail], [*map(fields, told)])
            missed, _ = self.result(self.log.missed([("#tea", 0)], upto))
            self.assertEqual(missed, tail)
            missed, _ = self.result(self.log.missed([("#tea", upto)], posts[-1].id))
            self.assertEqual(ids(missed), [post.id for post in posts if post.id > upto])

    def test_broken(self) -> None:
        """A row that nobody can read is noted, and keeps nobody from the others."""
        self.said(self.ana, "hi")
        writer = self.house.database.writer
        writer.execute("UPDATE batches SET said = '[[1, 2]]'")
        self.said(self.ana, "there")
        with capturedLogs() as noted:
            tail = self.result(self.log.tail("#lobby", START_ID * 2))
            missed, complete = self.result(self.log.missed([("#lobby", 0)], START_ID * 2))
            said = self.result(self.log.said(START_ID * 2))
        self.assertEqual([m.text for m in tail], ["there"])
        self.assertEqual(([m.text for m in missed], complete, said), (["there"], True, {}))
        self.assertEqual(len(noted), 3)

    def test_said_order(self) -> None:
        """What was said in two places in one group is known in the order in which it was said."""
        other, _ = self.house.user("other", "lobby")
        self.house.commits.hold()
        for number in range(6):
            self.ana.say(f"{number}", re=number)
            self.ana.tell(other, f"{number}", re=number + 10)
        self.house.commits.release()
        said = self.result(self.log.said(START_ID * 2))[self.ana.session]
        self.assertEqual([*said.values()], sorted(said.values()))
        self.assertEqual(len(said), 12)

    def test_said(self) -> None:
        """What is known again after a restart is what was said last, the oldest first."""
        self.patch(history, "MOST_RESENT", 5)
        self.house.commits.hold()
        for number in range(6):
            self.ana.say(f"a{number}", re=number)
            self.ben.say(f"b{number}", re=None if number else "x")
            if number == 2:
                self.house.commits.release()
                self.house.commits.hold()
        self.house.commits.release()
        upto = self.published[-1][-2].id
        said = self.result(self.log.said(upto))
        self.assertEqual([*said], [self.ana.session])
        texts = {post.id: post.text for group in self.published for post in group}
        self.assertEqual([texts[id] for id in said[self.ana.session].values()], ["a3", "a4", "a5"])
        self.assertLessEqual({*said[self.ana.session]}, {*self.ana.requests})

    def test_read_fails(self) -> None:
        """A question that fails says so to who asked."""
        done = self.log.read(lambda connection: connection.execute("SELECT nonsense"))
        self.house.settle()
        self.failureResultOf(done, sqlite3.Error)

    def test_fails_once(self) -> None:
        """A read that failed in one of several places does not keep the others in the past."""
        self.house = House(self.mktemp())
        self.addCleanup(lambda: self.house.database.close())
        (ana, _), (ben, _) = self.house.user("ana", "lobby"), self.house.user("ben", "lobby")
        for number in range(3):
            ana.say(f"said {number}")
            ana.tell(ben, f"told {number}")
            self.house.settle()
        decode = history._decode

        def fail(said: str) -> list[Any]:
            if "told" in said:
                raise sqlite3.OperationalError("disk I/O error")
            return decode(said)

        self.patch(history, "_decode", fail)
        log = self.house.log
        missed = log.missed([("#lobby", 0), (ben.place, 0)], self.house.registry.last)
        self.house.settle()
        # With its traceback, and with that what was being read.
        failure = self.failureResultOf(missed, sqlite3.Error)
        ana.say("said after it")
        self.house.settle()
        tail = self.result(log.tail("#lobby", self.house.registry.last))
        self.assertEqual(texts(tail)[-1], "said after it", failure)


def ids(messages: Sequence[Message | Private | Post]) -> list[int]:
    return [message.id for message in messages]


def fields(event: Message | Private) -> dict[str, Any]:
    return {name: getattr(event, name) for name in event.__struct_fields__}


class ForgetTests(LogTestCase):
    def test_old(self) -> None:
        """Messages older than so many days go, younger ones stay."""
        self.ana.say("old")
        self.house.settle()
        self.house.clock.advance(10 * DAY)
        self.ana.say("young")
        self.house.settle()
        self.assertEqual(self.result(self.log.forget(11)), 0)
        self.assertEqual(self.result(self.log.forget(9.5)), 1)
        self.assertEqual([row[4] for row in self.rows()], ["young"])

    def test_steps(self) -> None:
        """Many old messages go in several steps, so that nobody waits long."""
        self.patch(history, "STEP", 5)
        for number in range(7):
            self.ana.say(f"{number}")
            self.ana.say("and more")
            self.house.settle()
        self.house.clock.advance(2 * DAY)
        self.assertEqual(self.result(self.log.forget(1)), 5)
        self.assertEqual([row[4] for row in self.rows()], ["5", "and more", "6", "and more"])
        self.assertEqual(self.result(self.log.forget(1)), 2)
        self.assertEqual(self.result(self.log.forget(1)), 0)

    def test_large_steps(self) -> None:
        """Of large ones, fewer go at once."""
        self.patch(history, "LARGEST_STEP", 5000)
        for _ in range(7):
            self.ana.say("x" * 2000)
            self.house.settle()
        self.house.clock.advance(2 * DAY)
        self.assertEqual([self.result(self.log.forget(1)) for _ in range(4)], [3, 3, 1, 0])

    def test_ids_stay_new(self) -> None:
        """Ids do not repeat although the messages that had them are gone."""
        self.ana.say("old")
        self.house.settle()
        last = self.house.registry.last
        self.house.clock.advance(2 * DAY)
        self.result(self.log.forget(1))
        self.house.ahead = -2 * DAY
        self.ana.say("new")
        self.house.settle()
        self.assertGreater(self.house.registry.last, last)
