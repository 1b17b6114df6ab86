"""Requests that wait for an answer: their order, and what becomes of them when a link is lost."""

from __future__ import annotations

from itertools import count

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from pylingo.protocol import ChatError, Error, Request, decode
from pylingo.requests import (
    HERE,
    LEAVES,
    MOST_UNDERWAY,
    MOVES,
    Pending,
    Requests,
    refuse,
    same_room,
)
from tests.world import World


class RequestsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.ids = count(1)
        self.frames: list[bytes] = []
        self.room: str | None = "lobby"
        self.requests = Requests(self.frames.append, lambda: self.room)

    def add(self, command: str, body: str = "") -> Pending:
        return self.requests.add(Request(command, body, next(self.ids)))

    def sent(self) -> list[tuple[str, str]]:
        """What was sent since the last time."""
        frames, self.frames[:] = [*self.frames], []
        requests = [decode(frame[4:]) for frame in frames]
        return [(request.command, request.body) for request in requests]

    def answer(self, pending: Pending, *, refused: bool = False) -> list[Pending]:
        """Take it out, as answered; the result is what is not said for that."""
        taken, lost = self.requests.answered(pending.request.re, refused=refused)
        assert taken is pending
        return lost

    def test_order(self) -> None:
        """They wait for a link, and go in their order; later ones at once."""
        self.add("say", "1")
        self.add("say", "2")
        self.assertEqual(self.sent(), [])
        self.requests.open()
        self.add("say", "3")
        self.assertEqual(self.sent(), [("say", "1"), ("say", "2"), ("say", "3")])

    def test_again(self) -> None:
        """Over the next link go those without an answer, and what came meanwhile."""
        self.requests.open()
        one, _ = self.add("say", "1"), self.add("topic", "tea")
        self.answer(one)
        self.requests.shut()
        self.add("say", "3")
        self.sent()
        self.requests.open()
        self.assertEqual(self.sent(), [("topic", "tea"), ("say", "3")])

    def test_ahead(self) -> None:
        """What comes ahead goes although there is no link for the others; it can be cancelled."""
        self.add("say", "1")
        ahead = self.requests.ahead(Request("hello", "", next(self.ids)))
        self.assertEqual(self.sent(), [("hello", "")])
        self.assertEqual([pending.command for pending in self.requests], ["hello", "say"])
        ahead.cancel()
        self.failureResultOf(ahead, CancelledError)
        self.assertEqual(len(self.requests), 1)

    def test_underway(self) -> None:
        """Only so many go ahead of their answers, also again; the rest follows as these come."""
        self.requests.open()
        asked = [self.add("say", str(n)) for n in range(MOST_UNDERWAY + 3)]
        self.assertEqual(len(self.sent()), MOST_UNDERWAY)
        for pending in asked[:2]:
            self.answer(pending)
        self.assertEqual(self.sent(), [("say", str(MOST_UNDERWAY + n)) for n in range(2)])
        self.requests.shut()
        self.requests.open()
        again = [("say", str(n)) for n in range(2, MOST_UNDERWAY + 3)]
        self.assertEqual(self.sent(), again[:MOST_UNDERWAY])
        self.answer(asked[2])
        self.assertEqual(self.sent(), again[MOST_UNDERWAY:])
        refuse(self.requests.clear(), "gone", "It is over.")
        for pending in asked[3:]:
            self.failureResultOf(pending.reply, ChatError)

    def test_way(self) -> None:
        """Behind a way to another room all waits, and is said there; it waits for what is here."""
        self.requests.open()
        here, way, there = self.add("lock", "1"), self.add("Join", "den"), self.add("say", "2")
        for _ in range(2):
            # Sent again, too, it is answered before we are elsewhere.
            self.assertEqual(self.sent(), [("lock", "1")])
            self.requests.shut()
            self.requests.open()
        self.sent()
        self.assertEqual(self.answer(here), [])
        self.assertEqual(self.sent(), [("Join", "den")])
        self.room = "den"
        self.assertEqual(self.answer(way), [])
        self.assertEqual((self.sent(), here.room, there.room), ([("say", "2")], "lobby", "den"))

    def test_made(self) -> None:
        """A room that was made, though the answer was lost, is not made again."""
        self.requests.open()
        made, _ = self.add("create", "den"), self.add("create", "attic")
        self.requests.shut()
        self.room = "Den"
        self.requests.open()
        self.answer(made)
        self.assertEqual(self.sent(), [("create", "den"), ("join", "den"), ("create", "attic")])

    def test_not_made(self) -> None:
        """One that was not asked for before is made, or it is told why not; so is another room."""
        self.requests.open()
        self.requests.shut()
        self.room = "den"
        made = self.add("create", "den")
        self.requests.open()
        self.assertEqual(self.sent(), [("create", "den")])
        self.requests.shut()
        self.room = "lobby"
        self.requests.open()
        self.assertEqual(self.sent(), [("create", "den")])
        self.answer(made)
        asked = self.add("topic", "lobby")
        self.requests.shut()
        self.requests.open()
        self.answer(asked)
        self.assertEqual(self.sent(), [("topic", "lobby")] * 2)

    def test_stranded(self) -> None:
        """What was to be done in a room is not done elsewhere, but behind the way to another."""
        self.requests.open()
        for what in (("say", "1"), ("mute", "bob"), ("leave",), ("kick", "eve")):
            self.add(*what)
        self.assertEqual(self.sent(), [("say", "1"), ("mute", "bob")])
        self.requests.shut()
        for what in (("join", "den"), ("topic", "tea")):
            self.add(*what)
        # In no room the server refuses a message, unless it has it; in another it would take it.
        self.room = None
        stranded = [one.request.command for one in self.requests.stranded()]
        self.assertEqual(stranded, ["mute", "leave", "kick"])
        self.room = "attic"
        stranded = [one.request.command for one in self.requests.stranded()]
        self.assertEqual(stranded, ["say"])
        left = [one.request.command for one in self.requests]
        self.assertEqual(left, ["join", "topic"])

    def test_refused_way(self) -> None:
        """Where that is refused, what was to be said there is not; other things go, to the next."""
        self.requests.open()
        way = self.add("join", "den")
        lost = [self.add("say", "2"), self.add("unlock")]
        self.add("msg", "bob psst")
        self.add("create", "attic")
        self.add("say", "3")
        self.sent()
        self.assertEqual(self.answer(way, refused=True), lost)
        self.assertEqual(self.sent(), [("msg", "bob psst")])
        (told, *_) = self.requests
        self.answer(told)
        self.assertEqual(self.sent(), [("create", "attic")])

    def test_way_again(self) -> None:
        """A way that was lost with the link goes again, and what waits for it waits again."""
        self.requests.open()
        way = self.add("join", "den")
        self.add("say", "1")
        self.requests.shut()
        self.sent()
        self.requests.open()
        self.assertEqual(self.sent(), [("join", "den")])
        self.answer(way)
        self.assertEqual(self.sent(), [("say", "1")])

    def test_unsure(self) -> None:
        """What the server may have is not sent again where it would not know it."""
        self.requests.open()
        said, kicked, listed = self.add("say", "1"), self.add("kick", "bob"), self.add("list")
        told = self.add("Announce", "tea")
        self.requests.shut()
        later = self.add("say", "2")
        self.assertEqual(self.requests.unsure(resumed=True), [kicked, told])
        self.assertEqual(self.requests.unsure(resumed=False), [said])
        self.assertEqual([*self.requests], [listed, later])

    def test_cleared(self) -> None:
        """In the end all are refused."""
        asked = [self.add("say", "1"), self.add("list")]
        refuse(self.requests.clear(), "gone", "It is over.")
        for pending in asked:
            self.assertEqual(self.failureResultOf(pending.reply, ChatError).value.code, "gone")
        self.assertEqual(len(self.requests), 0)

    def test_same_room(self) -> None:
        """A way leads to a room whatever the case, with a password or not."""
        for way in ("lobby", "#LOBBY", "Lobby s3cret"):
            self.assertTrue(same_room(way, "lobby"), way)
        for way, room in (("den", "lobby"), ("", "lobby"), ("lobby", None), ("a\u200bb", "ab")):
            self.assertFalse(same_room(way, room), way)

    def test_here(self) -> None:
        """What does something where one is, is what the server refuses to who is nowhere.

        So it does what only looks around.
        """
        world = World()
        world.serve()
        bob = world.arrive(name="bob")
        assert bob.connection.welcome is not None
        table = bob.connection.welcome.commands
        words = {word for row in table for word in (row.name, *row.aliases)} - MOVES - LEAVES
        refused: set[str] = set()
        for word in sorted(words):
            for body in ("bob", ""):
                bob.connection.request(word, body).addErrback(lambda why: why.trap(ChatError))
                world.wait(1)
            if "not_in_room" in [event.code for event in bob.of(Error)[-2:]]:
                refused.add(word)
            bob.heard.clear()
        self.assertEqual(refused - {"users", "who", "history", "bans", "mutes"}, HERE)
