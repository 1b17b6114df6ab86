"""Sessions: their tokens, and what of a user survives a broken connection or a restart."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.trial.unittest import SynchronousTestCase

from pylingo import names, sessions
from pylingo.history import DAY, STEP
from pylingo.protocol import Left
from pylingo.rooms import User, silence
from pylingo.sessions import REFRESH, Sessions
from tests.house import House


class SessionsTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.house = House(self.mktemp(), watched=False)
        self.addCleanup(lambda: self.house.database.close())
        self.sessions = self.house.sessions

    def user(self, name: str = "", room: str = "") -> User:
        user = self.house.chat.open(silence)
        if name:
            user.rename(names.user(name))
        if room:
            user.join(names.room(room))
        return user

    def result(self, waiting: Deferred[Any]) -> Any:
        self.house.settle()
        return self.successResultOf(waiting)

    def stored(self, token: str) -> Any:
        return self.result(ensureDeferred(self.sessions.stored(token)))

    def later(self) -> Sessions:
        """The sessions of a server that was started after this one ended."""
        self.house.settle()
        self.house = self.house.restart(watched=False)
        self.sessions = self.house.sessions
        return self.sessions


class TokenTests(SessionsTestCase):
    def test_number(self) -> None:
        """A session has a number that no other has, and that is like the id of a message."""
        numbers = [self.user().session for _ in range(3)]
        self.assertEqual(numbers, sorted(set(numbers)))
        self.assertGreater(self.house.log.number(), numbers[-1])

    def test_found(self) -> None:
        """A user is found by the token, and by no other."""
        user, other = self.user(), self.user()
        token = self.sessions.token(user)
        self.sessions.token(other)
        self.assertIs(self.sessions.find(token), user)
        self.assertIsNone(self.sessions.find(token[:-1]))
        self.assertIsNone(self.sessions.find(""))

    def test_secret(self) -> None:
        """Tokens are long, never the same, and not to be read in the database."""
        user = self.user("ana")
        tokens = {self.sessions.token(user) for _ in range(50)}
        self.assertEqual(len(tokens), 50)
        self.assertGreaterEqual(min(map(len, tokens)), 32)
        self.house.settle()
        rows = repr(self.house.database.reader.execute("SELECT * FROM sessions").fetchall())
        self.assertFalse(any(token in rows for token in tokens))

    def test_old_until_new(self) -> None:
        """The token that was used stays good until the new one was used."""
        user = self.user()
        first = self.sessions.token(user)
        second = self.sessions.token(user, used=first)
        self.assertIs(self.sessions.find(first), user)
        self.assertIs(self.sessions.find(second), user)
        third = self.sessions.token(user, used=second)
        self.assertIsNone(self.sessions.find(first))
        self.assertIs(self.sessions.find(second), user)
        self.assertIs(self.sessions.find(third), user)

    def test_old_again(self) -> None:
        """The old one may be used again, for the answer with the new one may have been lost."""
        user = self.user()
        first = self.sessions.token(user)
        lost = self.sessions.token(user, used=first)
        third = self.sessions.token(user, used=first)
        self.assertIs(self.sessions.find(first), user)
        self.assertIs(self.sessions.find(third), user)
        self.assertIsNone(self.sessions.find(lost))

    def test_stored_rule(self) -> None:
        """The rule is the same for what is stored."""
        user = self.user()
        first = self.sessions.token(user)
        second = self.sessions.token(user, used=first)
        self.house.settle()
        self.assertEqual(self.stored(first).id, user.session)
        self.assertEqual(self.stored(second).id, user.session)
        third = self.sessions.token(user, used=second)
        self.house.settle()
        self.assertIsNone(self.stored(first))
        self.assertEqual(self.stored(third).id, user.session)


class StoredTests(SessionsTestCase):
    def test_what(self) -> None:
        """A stored session knows the name, the room, and since when."""
        user = self.user("Ana", "Lobby")
        token = self.sessions.token(user)
        self.house.settle()
        stored = self.stored(token)
        self.assertEqual((stored.id, stored.name, stored.room), (user.session, "Ana", "Lobby"))
        self.assertEqual(stored.since, user.rooms[user.here])

    def test_nowhere(self) -> None:
        """Who is in no room has none when coming back."""
        token = self.sessions.token(self.user("ana"))
        self.house.settle()
        self.assertIsNone(self.stored(token).room)

    def test_saved_again(self) -> None:
        """The newest name and room are the ones that count."""
        user = self.user("ana", "lobby")
        token = self.sessions.token(user)
        user.rename(names.user("eve"))
        user.leave(user.here)
        self.sessions.save(user)
        self.house.settle()
        stored = self.stored(token)
        self.assertEqual((stored.name, stored.room), ("eve", None))

    def test_given_up(self) -> None:
        """What takes long to look up is known then, though who asked for it has given up."""
        token = self.sessions.token(self.user("ana", "lobby"))
        self.later()
        self.house.reads.hold()
        asked = ensureDeferred(self.sessions.stored(token))
        asked.addErrback(lambda why: why.trap(CancelledError))
        asked.cancel()
        self.house.reads.release()
        self.house.reads.hold()
        self.assertEqual(self.stored(token).name, "ana")

    def test_unknown(self) -> None:
        """A token that nobody got is no session."""
        self.assertIsNone(self.stored("nonsense"))

    def test_expired(self) -> None:
        """A session can be resumed for 24 hours, and then no more."""
        user = self.user("ana")
        token = self.sessions.token(user)
        self.sessions.part(user, 1e12)
        self.house.settle()
        self.house.clock.advance(DAY - 1)
        self.assertIsNotNone(self.stored(token))
        self.house.clock.advance(2)
        self.assertIsNone(self.stored(token))

    def test_refresh(self) -> None:
        """The sessions of those who are here do not get old, those of the lingering do."""
        here, gone = self.user("ana"), self.user("ben")
        here_token, gone_token = self.sessions.token(here), self.sessions.token(gone)
        self.sessions.part(gone, 1e12)
        self.house.settle()
        self.house.clock.advance(DAY - 1)
        self.sessions.refresh()
        self.house.settle()
        self.house.clock.advance(2)
        self.assertIsNotNone(self.stored(here_token))
        self.assertIsNone(self.stored(gone_token))

    def test_clock_set(self) -> None:
        """Nobody who is here is forgotten because the system's clock was set, either way."""
        token = self.sessions.token(self.user("ana"))
        for ahead in (400 * DAY, -DAY):
            self.house.ahead = ahead
            self.house.factory.look()
            self.house.settle()
            ensureDeferred(self.house.factory.clean())
            self.house.settle()
            self.assertIsNotNone(self.stored(token))

    def test_killed(self) -> None:
        """It is 24 hours from the end of the server, too, although that could not note the time."""
        token = self.sessions.token(self.user("ana"))
        self.house.settle()
        self.house.clock.advance(REFRESH)
        self.later()
        self.house.clock.advance(DAY - 1)
        self.assertIsNotNone(self.stored(token))
        self.house.clock.advance(1)
        self.assertIsNone(self.stored(token))

    def test_drop(self) -> None:
        """A user who is gone is not found any more, but the stored session is."""
        user = self.user("ana", "lobby")
        token = self.sessions.token(user)
        self.house.settle()
        user.quit()
        self.sessions.drop(user)
        self.assertIsNone(self.sessions.find(token))
        self.assertEqual(self.stored(token).room, "lobby")

    def test_close(self) -> None:
        """A session that was closed cannot be resumed, whatever is to be saved of it still."""
        user = self.user("ana")
        token = self.sessions.token(user)
        self.house.settle()
        self.sessions.close(user)
        self.sessions.save(user)
        self.house.settle()
        self.assertIsNone(self.sessions.find(token))
        self.assertIsNone(self.stored(token))
        self.later()
        self.assertIsNone(self.stored(token))

    def test_closed_while_failing(self) -> None:
        """So are those of which that could not be stored; of very many, the last that were."""
        self.patch(sessions, "MOST_CLOSED", 2)
        users = [self.user(f"user{number}") for number in range(3)]
        tokens = [self.sessions.token(user) for user in users]
        self.house.settle()
        self.house.break_disk()
        for user in users:
            self.sessions.close(user)
        self.house.settle()
        self.assertEqual([self.stored(token) is None for token in tokens], [False, True, True])

    def test_forget(self) -> None:
        """Sessions that nobody can resume are removed, in steps; the others stay."""
        for number in range(STEP + 3):
            user = self.user(f"user{number}")
            self.sessions.token(user)
            self.sessions.part(user, 1e12)
        self.house.settle()
        self.house.clock.advance(DAY)
        token = self.sessions.token(self.user("ana"))
        self.house.settle()
        self.assertEqual(self.result(self.sessions.forget()), STEP)
        self.assertEqual(self.result(self.sessions.forget()), 3)
        self.assertEqual(self.result(self.sessions.forget()), 0)
        self.assertIsNotNone(self.stored(token))


class ReviveTests(SessionsTestCase):
    def test_all_back(self) -> None:
        """After a restart the user comes back: session, name, room, and since when."""
        user = self.user("Ana", "Lobby")
        since = user.rooms[user.here]
        token = self.sessions.token(user)
        sessions = self.later()
        stored = self.stored(token)
        back = sessions.revive(stored)
        self.assertEqual((back.session, back.name.shown), (user.session, "Ana"))
        self.assertEqual((back.here.name.shown, back.rooms[back.here]), ("Lobby", since))
        self.assertIs(sessions.find(token, stored), back)

    def test_by_the_new_token(self) -> None:
        """It is as good to come with the newer token."""
        user = self.user("ana")
        first = self.sessions.token(user)
        second = self.sessions.token(user, used=first)
        sessions = self.later()
        back = sessions.revive(self.stored(second))
        third = sessions.token(back, used=second)
        self.assertIs(sessions.find(second), back)
        self.assertIs(sessions.find(third), back)
        self.assertIsNone(sessions.find(first))

    def test_name_taken(self) -> None:
        """If somebody has the name, or a look-alike, a guest comes back, into the room."""
        token = self.sessions.token(self.user("ana", "lobby"))
        sessions = self.later()
        self.user("аna")
        back = sessions.revive(self.stored(token))
        self.assertTrue(back.name.key.startswith("guest"))
        self.assertEqual(back.here.name.shown, "lobby")

    def test_room_twin(self) -> None:
        """If the room cannot be made, for a look-alike is there, the user is in none."""
        token = self.sessions.token(self.user("ana", "lobby"))
        sessions = self.later()
        self.house.registry.pass_on()
        self.user("ben", "lоbby")
        self.assertIsNone(sessions.revive(self.stored(token)).room)

    def test_no_room(self) -> None:
        """Who was in no room is in none."""
        token = self.sessions.token(self.user("ana"))
        sessions = self.later()
        self.assertIsNone(sessions.revive(self.stored(token)).room)

    def test_others_hear(self) -> None:
        """Those in the room hear who comes back."""
        token = self.sessions.token(self.user("ana", "lobby"))
        self.later()
        ben, heard = self.house.user("ben", "lobby")
        heard.clear()
        self.sessions.revive(self.stored(token))
        self.assertEqual([event.user for event in heard if not isinstance(event, Left)][-1], "ana")
        self.assertEqual(ben.here.shown(), ["ben", "ana"])


class SaidTests(SessionsTestCase):
    """What those who are gone may send again."""

    def gone(self, count: int) -> str:
        """The token of one who has said that much and is gone."""
        user = self.user(room="lobby")
        token = self.sessions.token(user)
        for number in range(count):
            user.say("hi", re=number)
        self.house.settle()
        user.quit()
        self.sessions.drop(user)
        return token

    def said(self, token: str) -> list[int]:
        """The ids of what is known of one who comes back."""
        return list(self.sessions.revive(self.stored(token)).requests.values())

    def test_bound(self) -> None:
        """It is known of those who left last, for so many messages in all."""
        self.patch(sessions, "MOST_RESENT", 10)
        for _ in range(2):
            tokens = [self.gone(4) for _ in range(4)]
            self.assertEqual([len(self.said(token)) for token in tokens], [0, 0, 4, 4])
        tokens = [self.gone(5) for _ in range(2)]
        self.assertEqual([len(self.said(token)) for token in tokens], [5, 5])

    def test_refused_since(self) -> None:
        """What could not be stored after its sender was gone does not count."""
        self.patch(sessions, "MOST_RESENT", 10)
        for _ in range(5):
            self.house.commits.hold()
            self.gone(4)
            self.house.break_disk()
            self.house.commits.release()
            self.house.settle()
            self.house.mend_disk()
        token = self.gone(4)
        self.gone(4)
        self.assertEqual(len(self.said(token)), 4)

    def test_bound_after_restart(self) -> None:
        """It is known, too, of those who left before a restart; the oldest go first."""
        self.patch(sessions, "MOST_RESENT", 10)
        tokens = [self.gone(4) for _ in range(4)]
        self.later()
        said = [self.said(token) for token in tokens]
        self.assertEqual(list(map(len, said)), [0, 0, 4, 4])
        for ids in said:
            self.assertEqual(ids, sorted(ids))
