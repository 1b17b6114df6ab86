"""What a person does at a terminal, without a terminal and without a server."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from pylingo import looks
from pylingo.connection import Connected, Connection, Disconnected
from pylingo.conversation import MENU, Conversation
from pylingo.looks import Line
from pylingo.protocol import (
    AnyEvent,
    ChatError,
    Closing,
    CommandHelp,
    Done,
    Error,
    Help,
    Joined,
    Left,
    Message,
    Notice,
    Private,
    Renamed,
    Resumed,
    Rooms,
    RoomSummary,
    Sent,
    Users,
    Welcome,
)

COMMANDS = [
    CommandHelp("join", [], "ROOM", "Go into a room."),
    CommandHelp("list", ["rooms"], "", "List the rooms."),
    CommandHelp("leave", ["exit"], "", "Leave your room."),
]


class Wire:
    """A connection that notes what is asked; the test answers."""

    def __init__(self) -> None:
        self.user = "guest-1"
        self.room: str | None = None
        self.linked = True
        self.asked: list[tuple[str, str]] = []
        self.replies: list[Deferred[AnyEvent]] = []
        self.stopped = False
        self.closing = False
        self.listed: Rooms | None = Rooms(
            rooms=[RoomSummary("lobby", 2, "", False), RoomSummary("attic", 1, "old", True)]
        )

    def request(self, command: str, body: str = "", *, quiet: bool = False) -> Deferred[AnyEvent]:
        if command == "list" and quiet:
            return succeed(self.listed) if self.listed is not None else Deferred()
        self.asked.append((command, body))
        self.replies.append(Deferred())
        return self.replies[-1]

    async def close(self) -> None:
        self.closing = True

    def stop(self, why: str = "") -> None:  # noqa: ARG002
        self.stopped = True


class Wall:
    """A screen on which one can read what was shown."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.bells = 0
        self.drawn = 0

    def show(self, lines: Iterable[Line]) -> None:
        self.lines += [looks.plain(line) for line in lines]

    def refresh(self) -> None:
        self.drawn += 1

    def ring(self) -> None:
        self.bells += 1


class Seat(SynchronousTestCase):
    """A person in front of a screen."""

    name = "guest-1"
    room = ""

    def setUp(self) -> None:
        self.line = Wire()
        self.wall = Wall()
        self.known: dict[str, Deferred[AnyEvent]] = {}
        self.talk = Conversation(
            "example.org:5000",
            name=self.name,
            room=self.room,
            resume=lambda name: self.known.get(name),
        )
        self.talk.connection = cast(Connection, self.line)
        self.begin()

    def begin(self) -> None:
        """Arrive."""
        self.talk.begin(self.wall)
        self.hear(welcome())
        self.talk.arrived()

    def hear(self, *events: Any) -> None:
        for event in events:
            self.talk.heard(event)

    def enter(self, room: str = "lobby", *people: str) -> None:
        """Be in a room."""
        self.line.room = room
        users = [*people, self.line.user]
        self.hear(
            Joined(room=room, user=self.line.user, users=users, count=len(users), topic="", re=1)
        )
        self.wall.lines.clear()

    def said(self) -> list[str]:
        """What was shown since the last time this was asked."""
        shown, self.wall.lines = self.wall.lines, []
        return shown

    def answer(self, event: AnyEvent) -> None:
        """The reply to the oldest request that waits."""
        self.line.replies.pop(0).callback(event)

    def refuse(self, code: str = "bad_argument") -> None:
        """The refusal of the oldest request that waits."""
        self.line.replies.pop(0).errback(ChatError(code, "No."))


def welcome() -> Welcome:
    return Welcome(
        server="test",
        version=1,
        user="guest-1",
        session="t",
        commands=COMMANDS,
        motd="",
        password_required=False,
    )


def message(text: str, user: str = "bob", id: int = 1, **more: bool) -> Message:
    return Message(id=id, at=1, room="lobby", user=user, text=text, **more)


def left(user: str, re: int | None = None) -> Left:
    return Left(room="lobby", user=user, reason="left", re=re)


class ArrivalTests(Seat):
    """Somebody arrives without a name and without a room."""

    name = ""

    def test_asked_for_a_name(self) -> None:
        """The name is asked for first, with the guest's name as what Enter keeps."""
        self.assertEqual(self.talk.prompt, "Your name [guest-1]: ")
        self.assertNotIn(MENU[0], self.said())

    def test_greeting(self) -> None:
        """The server's greeting is shown before the question."""
        self.assertIn("-- Welcome. You are guest-1 here.", self.said())

    def test_enter_keeps_the_guest_name(self) -> None:
        """Just Enter keeps it, and the menu comes."""
        self.talk.typed("")
        self.assertEqual(self.line.asked, [])
        self.assertEqual(self.said()[-5:], list(MENU))
        self.assertEqual(self.talk.prompt, "guest-1> ")

    def test_a_name(self) -> None:
        """A name is asked of the server; then the menu comes."""
        self.talk.typed(" ana ")
        self.assertEqual(self.line.asked, [("name", "ana")])
        self.line.user = "ana"
        self.answer(Renamed(user="guest-1", to="ana"))
        self.assertEqual(self.said()[-5:], list(MENU))
        self.assertEqual(self.talk.prompt, "ana> ")

    def test_a_taken_name(self) -> None:
        """A name that is refused is asked for again."""
        self.talk.typed("ana")
        self.refuse("name_taken")
        self.assertEqual(self.talk.prompt, "Another name [guest-1]: ")
        self.talk.typed("anna")
        self.assertEqual(self.line.asked[-1], ("name", "anna"))

    def test_a_remembered_name(self) -> None:
        """A name with a session that is remembered goes on with that."""
        self.known["ana"] = Deferred()
        self.talk.typed("ana")
        self.line.user, self.line.room = "ana", "lobby"
        resumed = Resumed(user="ana", room="lobby", users=["ana"], count=1, topic="", session="t")
        self.hear(resumed)
        self.known["ana"].callback(resumed)
        self.assertEqual(self.line.asked, [])
        self.assertEqual(self.talk.prompt, "[lobby] ana> ")
        self.assertNotIn(MENU[0], self.said())

    def test_a_session_that_ended(self) -> None:
        """Where that session has ended, the name is taken as any other."""
        self.known["ana"] = fail(ChatError("not_resumable", "It has ended."))
        self.talk.typed("ana")
        self.assertEqual(self.line.asked, [("name", "ana")])

    def test_a_command_instead(self) -> None:
        """Slash commands work also where a question is asked, and the question stays."""
        self.talk.typed("/help")
        self.assertEqual(self.line.asked, [("help", "")])
        self.assertEqual(self.talk.prompt, "Your name [guest-1]: ")

    def test_joining_instead(self) -> None:
        """Who joins a room by command has answered enough."""
        self.talk.typed("/join lobby")
        self.enter()
        self.assertEqual(self.talk.prompt, "[lobby] guest-1> ")


class WaitingTests(Seat):
    """There is a screen, but no connection yet."""

    def begin(self) -> None:
        self.talk.connection = None
        self.talk.begin(self.wall)

    def test_prompt(self) -> None:
        """There is no prompt, and the bar says that there is no connection."""
        self.assertEqual(self.talk.prompt, "")
        self.assertIn("not connected", self.talk.bar)

    def test_typed(self) -> None:
        """A line that is typed is not lost without a word."""
        self.talk.typed("hello?")
        self.assertEqual(self.said(), ["!! There is no connection yet. Wait a moment."])

    def test_complete(self) -> None:
        """Tab has nothing to offer, and does no harm."""
        for text in ("/", "a", "/join "):
            self.assertEqual(self.talk.complete(text), [])

    def test_leave(self) -> None:
        """Who does not want to wait is gone at once."""
        given_up: list[bool] = []
        self.talk.abandon = lambda: given_up.append(True)
        self.assertTrue(self.talk.urgent)
        self.talk.leave()
        self.assertEqual(given_up, [True])

    def test_question(self) -> None:
        """Of a question of several lines the last is the prompt."""
        asked = self.talk.ask("It is ab:cd.\nIs that right? [yes/no] ")
        self.assertEqual(self.said(), ["-- It is ab:cd."])
        self.assertEqual(self.talk.prompt, "Is that right? [yes/no] ")
        self.talk.typed("yes")
        self.assertEqual(self.successResultOf(asked), "yes")

    def test_hidden_question(self) -> None:
        """An answer that is hidden may begin with anything, and is nobody else's."""
        asked = self.talk.ask("The server's password: ", hidden=True)
        self.assertTrue(self.talk.hidden)
        self.talk.typed("/sesame")
        self.assertEqual(self.successResultOf(asked), "/sesame")
        self.assertFalse(self.talk.hidden)


class LobbyTests(Seat):
    """Somebody with a name is in no room."""

    def setUp(self) -> None:
        super().setUp()
        self.said()

    def test_menu(self) -> None:
        """The menu has its four entries, numbered."""
        self.talk.typed("9")
        shown = "\n".join(self.said())
        for entry in ("1  create a room", "2  join a room", "3  list the rooms", "4  exit"):
            self.assertIn(entry, shown)

    def test_prompt(self) -> None:
        """The prompt has just the name."""
        self.assertEqual(self.talk.prompt, "guest-1> ")

    def test_create(self) -> None:
        """1 asks for a name and makes that room."""
        self.talk.typed("1")
        self.assertEqual(self.talk.prompt, "Name of the new room: ")
        self.talk.typed("kitchen")
        self.assertEqual(self.line.asked, [("create", "kitchen")])

    def test_join_by_number(self) -> None:
        """2 shows the rooms, numbered and with their users, and takes a number."""
        self.talk.typed("2")
        self.assertEqual(
            self.said(), ["   1 -- lobby (2 users)", "   2 -- attic (1 user, locked)  old"]
        )
        self.assertEqual(self.talk.prompt, "Which room? ")
        self.talk.typed("2")
        self.assertEqual(self.line.asked, [("join", "attic")])

    def test_join_by_name(self) -> None:
        """It takes a name as well."""
        self.talk.typed("2")
        self.talk.typed("cellar")
        self.assertEqual(self.line.asked, [("join", "cellar")])

    def test_join_a_number_that_is_not_there(self) -> None:
        """A number that no room has is the name of a room."""
        for number in ("0", "3", "²"):
            self.talk.typed("2")
            self.talk.typed(number)
            self.assertEqual(self.line.asked[-1], ("join", number))

    def test_changed_mind(self) -> None:
        """Just Enter at a question is the way back to the menu."""
        for choice in ("1", "2"):
            self.talk.typed(choice)
            self.said()
            self.talk.typed("")
            self.assertEqual(self.said(), list(MENU))
            self.assertEqual(self.talk.prompt, "guest-1> ")
        self.assertEqual(self.line.asked, [])

    def test_list(self) -> None:
        """3 shows the rooms, then the menu."""
        self.talk.typed("3")
        self.assertEqual(
            self.said(), ["   1 -- lobby (2 users)", "   2 -- attic (1 user, locked)  old", *MENU]
        )

    def test_list_of_nothing(self) -> None:
        """Where there are no rooms, it says so."""
        self.line.listed = Rooms(rooms=[])
        self.talk.typed("3")
        self.assertEqual(self.said(), ["-- There are no rooms yet.", *MENU])

    def test_exit(self) -> None:
        """4 leaves the chat; so does `exit`, in any case."""
        for word in ("4", "exit", "EXIT"):
            self.setUp()
            self.talk.typed(word)
            self.assertTrue(self.line.closing, word)

    def test_refused_room(self) -> None:
        """A room that one may not enter leads back to the menu."""
        self.talk.typed("1")
        self.talk.typed("a b")
        self.refuse()
        self.assertEqual(self.said()[-5:], list(MENU))
        self.assertEqual(self.talk.prompt, "guest-1> ")

    def test_text(self) -> None:
        """Something said in no room is not sent; it is said that nobody would hear it."""
        self.talk.typed("hello?")
        self.assertEqual(self.line.asked, [])
        self.assertIn("Nobody hears that", self.said()[0])

    def test_empty_line(self) -> None:
        """Just Enter does nothing."""
        self.talk.typed("  ")
        self.assertEqual((self.line.asked, self.said()), ([], []))

    def test_back_from_a_room(self) -> None:
        """Who leaves a room is shown the menu."""
        self.enter("lobby", "bob")
        self.line.room = None
        self.hear(left("guest-1", re=2))
        self.assertEqual(self.said(), ["<-- You left lobby", *MENU])

    def test_locked_room(self) -> None:
        """For a room that is locked the password is asked for, without showing it."""
        self.talk.typed("/join #Attic")
        self.refuse("forbidden")
        self.assertTrue(self.talk.hidden)
        self.assertIn("password of #Attic", self.talk.prompt)
        self.talk.typed("sesame")
        self.assertEqual(self.line.asked[-1], ("join", "#Attic sesame"))
        self.refuse("forbidden")
        self.assertTrue(self.talk.hidden, "it is asked for again")
        self.talk.typed("")
        self.assertEqual(self.said()[-5:], list(MENU))

    def test_locked_room_from_another(self) -> None:
        """Who is talking is not interrupted by a question; what is typed is no password."""
        self.enter("lobby", "bob")
        self.talk.typed("/join attic")
        self.refuse("forbidden")
        self.assertFalse(self.talk.hidden)

    def test_late_question(self) -> None:
        """An answer that comes late does not take the cover off a password that is being typed."""
        late: list[Deferred[AnyEvent]] = []
        request = self.line.request

        def slow(command: str, body: str = "", **more: bool) -> Deferred[AnyEvent]:
            if command != "list":
                return request(command, body, **more)
            late.append(Deferred())
            return late[-1]

        self.patch(self.line, "request", slow)
        self.talk.typed("2")
        self.talk.typed("/login ana")
        self.assertTrue(self.talk.hidden)
        late[0].callback(Rooms(rooms=[]))
        self.assertTrue(self.talk.hidden)
        self.talk.typed("sesame")
        self.assertEqual(self.line.asked, [("login", "ana sesame")])
        self.assertEqual(self.talk.prompt, "Which room? ")

    def test_list_after_the_room(self) -> None:
        """Who is in a room by the time the list comes is not asked for one."""
        late: Deferred[AnyEvent] = Deferred()
        self.patch(self.line, "request", lambda *_, **__: late)
        self.talk.typed("2")
        self.enter("lobby")
        late.callback(Rooms(rooms=[]))
        self.assertEqual(self.talk.prompt, "[lobby] guest-1> ")

    def test_locked_room_left_alone(self) -> None:
        """Nothing instead of the password is no try."""
        self.talk.typed("2")
        self.talk.typed("2")
        self.refuse("forbidden")
        self.assertTrue(self.talk.cancel())
        self.assertEqual(self.line.asked, [("join", "attic")])
        self.assertEqual(self.said()[-5:], list(MENU))

    def test_room_that_is_not_locked(self) -> None:
        """Who is kept out of an open room is not asked for its password."""
        self.talk.typed("/join lobby")
        self.refuse("forbidden")
        self.assertFalse(self.talk.hidden)
        self.assertEqual(self.said()[-5:], list(MENU))

    def test_refused_room_without_a_name(self) -> None:
        """Who may not go anywhere, and named no room at all, is back at the menu."""
        self.talk.typed("1")
        self.talk.typed("a b")
        self.refuse("forbidden")
        self.assertEqual(self.said()[-5:], list(MENU))

    def test_locked_room_and_no_list(self) -> None:
        """Where the list cannot be had, the menu comes."""
        self.talk.typed("/join attic")
        list_: Deferred[AnyEvent] = Deferred()
        self.patch(self.line, "request", lambda *_, **__: list_)
        self.refuse("forbidden")
        list_.errback(ChatError("gone", "It is gone."))
        self.assertEqual(self.said()[-5:], list(MENU))


class GoalTests(Seat):
    """Somebody said on the command line who to be and where to go."""

    name, room = "ana", "2"

    def settle(self) -> None:
        """Be who one wants to be."""
        self.line.user = "ana"
        self.answer(Renamed(user="guest-1", to="ana"))

    def test_name_and_room(self) -> None:
        """Both are asked for, one after the other; a number is a room's name here."""
        self.assertEqual(self.line.asked, [("name", "ana")])
        self.settle()
        self.assertEqual(self.line.asked[1:], [("join", "2")])

    def test_taken(self) -> None:
        """Another name is asked for, and then the way goes on."""
        self.refuse("name_taken")
        self.assertEqual(self.talk.prompt, "Another name [guest-1]: ")
        self.talk.typed("anna")
        self.settle()
        self.assertEqual(self.line.asked[1:], [("name", "anna"), ("join", "2")])

    def test_no_other(self) -> None:
        """Nothing instead of another name: one goes there as a guest."""
        self.refuse("name_taken")
        self.talk.typed("")
        self.assertEqual(self.line.asked[1:], [("join", "2")])

    def test_own(self) -> None:
        """A registered name takes its password, hidden, and as often as it is wrong."""
        self.refuse("name_registered")
        for code in ("wrong_password", ""):
            self.assertTrue(self.talk.hidden)
            self.assertIn("password of ana", self.talk.prompt)
            self.talk.typed("sesame")
            self.assertEqual(self.line.asked[-1], ("login", "ana sesame"))
            if code:
                self.refuse(code)
        self.settle()
        self.assertEqual(self.line.asked[-1], ("join", "2"))

    def test_not_own(self) -> None:
        """Nothing instead of the password is for another name."""
        self.refuse("name_registered")
        self.assertTrue(self.talk.cancel())
        self.assertEqual(self.talk.prompt, "Another name [guest-1]: ")

    def test_command_at_the_question(self) -> None:
        """Who logs in by a command, instead of saying another name, goes there as well."""
        self.refuse("name_taken")
        self.talk.typed("/login zoe")
        self.assertTrue(self.talk.hidden)
        self.talk.typed("sesame")
        self.assertEqual(self.talk.prompt, "Another name [guest-1]: ")
        self.line.user = "zoe"
        self.hear(Done(text="You are logged in as zoe.", user="zoe", re=2))
        self.assertEqual(self.line.asked[1:], [("login", "zoe sesame"), ("join", "2")])
        self.assertEqual(self.talk.prompt, "zoe> ")

    def test_link_lost_at_the_question(self) -> None:
        """The question stands when the link is back, and the way goes on after it."""
        self.refuse("name_taken")
        self.hear(Resumed(user="guest-1", room=None, users=[], count=0, topic="", session="t"))
        self.assertEqual(self.talk.prompt, "Another name [guest-1]: ")
        self.talk.typed("anna")
        self.settle()
        self.assertEqual(self.line.asked[1:], [("name", "anna"), ("join", "2")])


class BackTests(Seat):
    """Somebody has a session on arrival."""

    name, room = "Ana", "lobby"

    def begin(self) -> None:
        """The test arrives."""

    def back(self, user: str, room: str | None) -> None:
        """Arrive in that session."""
        self.line.user, self.line.room = user, room
        Seat.begin(self)

    def test_there(self) -> None:
        """Who is back in the room stays there, without a menu."""
        self.back("ana", "lobby")
        self.assertEqual(self.line.asked, [])
        self.assertNotIn(MENU[0], self.said())

    def test_elsewhere(self) -> None:
        """The room that was asked for comes before that of the session."""
        self.back("ana", "attic")
        self.assertEqual(self.line.asked, [("join", "lobby")])

    def test_somebody_else(self) -> None:
        """Under another name than was asked for, that is asked for."""
        self.back("guest-7", "lobby")
        self.assertEqual(self.line.asked, [("name", "Ana")])

    def test_somebody_else_by_choice(self) -> None:
        """So it is with a name that was typed."""
        self.name = self.room = ""
        self.setUp()
        self.back("guest-1", None)
        self.known["ana"] = succeed(Sent(id=1, at=1))
        self.talk.typed("ana")
        self.assertEqual(self.line.asked, [("name", "ana")])


class RoomTests(Seat):
    """Somebody is in a room."""

    def setUp(self) -> None:
        super().setUp()
        self.line.user = "ana"
        self.enter("lobby", "bob")

    def test_prompt(self) -> None:
        """The prompt has the room and the name."""
        self.assertEqual(self.talk.prompt, "[lobby] ana> ")

    def test_say(self) -> None:
        """A line is said."""
        self.talk.typed("hello")
        self.assertEqual(self.line.asked, [("say", "hello")])

    def test_indented(self) -> None:
        """A line that begins with spaces is said with them."""
        self.talk.typed("    if x:  ")
        self.assertEqual(self.line.asked, [("say", "    if x:")])

    def test_several_lines(self) -> None:
        """Several lines are one message."""
        self.talk.typed("one\ntwo\n")
        self.assertEqual(self.line.asked, [("say", "one\ntwo")])

    def test_command(self) -> None:
        """A slash command is split at the first space."""
        self.talk.typed("/msg bob psst there")
        self.assertEqual(self.line.asked, [("msg", "bob psst there")])

    def test_numbers(self) -> None:
        """In a room the menu's numbers are things to say."""
        self.talk.typed("1")
        self.assertEqual(self.line.asked, [("say", "1")])

    def test_exit(self) -> None:
        """`exit` alone, in any case, leaves the room."""
        for word in ("exit", " Exit "):
            self.talk.typed(word)
            self.assertEqual(self.line.asked[-1], ("leave", ""))

    def test_exit_among_words(self) -> None:
        """`exit` among other words is said."""
        self.talk.typed("exit now")
        self.assertEqual(self.line.asked, [("say", "exit now")])

    def test_say_exit(self) -> None:
        """`/say exit` says it."""
        self.talk.typed("/say exit")
        self.assertEqual(self.line.asked, [("say", "exit")])

    def test_empty_line(self) -> None:
        """Just Enter says nothing."""
        self.talk.typed("   \n ")
        self.assertEqual(self.line.asked, [])

    def test_pending(self) -> None:
        """A message waits until it is acknowledged."""
        self.talk.typed("one")
        self.talk.typed("/me waves")
        self.talk.typed("/msg bob psst")
        self.talk.typed("/list")
        self.assertEqual(self.talk.waiting(), ["one", "waves", "[you -> bob] psst"])
        self.answer(Sent(id=1, at=1))
        self.assertEqual(self.talk.waiting(), ["waves", "[you -> bob] psst"])

    def test_refused(self) -> None:
        """A message that is refused is shown, so that it can be said in another way."""
        self.talk.typed("/msg bob psst")
        self.talk.typed("x" * 300)
        self.refuse("no_such_user")
        self.refuse("too_long")
        self.assertEqual(
            self.said(), ["!! Not sent: [you -> bob] psst", "!! Not sent: " + "x" * 200 + "…"]
        )
        self.assertEqual((self.talk.waiting(), self.talk.unsent), ([], []))

    def test_slash(self) -> None:
        """What begins with a slash is said after another one."""
        self.talk.typed("//etc is a folder")
        self.assertEqual(self.line.asked[-1], ("say", "/etc is a folder"))

    def test_same_twice(self) -> None:
        """The same line twice waits twice."""
        self.talk.typed("hi")
        self.talk.typed("hi")
        self.answer(Sent(id=1, at=1))
        self.assertEqual(self.talk.waiting(), ["hi"])

    def test_refused_message(self) -> None:
        """A message that is refused no longer waits."""
        self.talk.typed("one")
        self.refuse("forbidden")
        self.assertEqual(self.talk.waiting(), [])

    def test_drawn_when_acknowledged(self) -> None:
        """The screen learns that there is less to wait for."""
        self.talk.typed("one")
        drawn = self.wall.drawn
        self.answer(Sent(id=1, at=1))
        self.assertGreater(self.wall.drawn, drawn)

    def test_too_much_waits(self) -> None:
        """There is a bound to what may wait, and it is said when it is reached."""
        for _ in range(501):
            self.talk.typed("x")
        self.assertEqual(len(self.line.asked), 500)
        self.assertIn("Too much waits", self.said()[-1])

    def test_message(self) -> None:
        """What another says is shown, and rings no bell."""
        self.hear(message("hello"))
        self.assertTrue(self.said()[0].endswith("<bob> hello"))
        self.assertEqual(self.wall.bells, 0)

    def test_bell(self) -> None:
        """Being named rings the bell once; so does a private message."""
        self.hear(message("ana, ana!"))
        self.assertEqual(self.wall.bells, 1)
        self.hear(Private(id=2, at=1, user="bob", to="ana", text="psst"))
        self.assertEqual(self.wall.bells, 2)

    def test_no_bell(self) -> None:
        """What is from the past, or one's own, rings nothing."""
        self.hear(
            message("ana?", replayed=True),
            message("I am ana", user="ana"),
            Private(id=2, at=1, user="ana", to="bob", text="psst"),
        )
        self.assertEqual(self.wall.bells, 0)

    def test_past(self) -> None:
        """What was said before one came stands under a line that says so, said once."""
        self.hear(
            Joined(room="lobby", user="ana", users=["ana"], count=1, topic="", re=1),
            message("one", id=1, replayed=True),
            message("two", id=2, replayed=True),
            message("three", id=3),
        )
        shown = [line.rpartition(" ")[2] if "<" in line else line for line in self.said()[1:]]
        self.assertEqual(shown, ["-- What was said here before:", "one", "two", "three"])

    def test_missed(self) -> None:
        """What was missed stands under a line that says so."""
        self.hear(
            Resumed(user="ana", room="lobby", users=["ana"], count=1, topic="", session="t"),
            message("one", replayed=True),
        )
        self.assertIn("-- What you missed:", self.said())

    def test_nothing_missed(self) -> None:
        """Where nothing was missed there is no such line."""
        self.hear(
            Resumed(user="ana", room="lobby", users=["ana"], count=1, topic="", session="t"),
            message("live"),
        )
        self.assertNotIn("-- What you missed:", self.said())

    def test_leave_the_chat(self) -> None:
        """Leaving closes in good order."""
        self.talk.leave()
        self.assertEqual((self.line.closing, self.line.stopped), (True, False))

    def test_leave_twice(self) -> None:
        """Who wants to go once more goes at once."""
        self.talk.leave()
        self.talk.leave()
        self.assertTrue(self.line.stopped)

    def test_quiet_end(self) -> None:
        """The end of the link that one asked for is not shown as a loss."""
        self.talk.leave()
        self.hear(Closing(reason="bye", text="Bye."), Disconnected("Bye.", True))
        self.assertEqual(self.said(), ["-- Bye."])


class PasswordTests(Seat):
    """Passwords that are typed."""

    def setUp(self) -> None:
        super().setUp()
        self.line.user = "ana"
        self.enter("lobby", "bob")

    def test_asked_for(self) -> None:
        """A password that was left out is asked for, without showing it."""
        self.talk.typed("/login ana")
        self.assertEqual(self.line.asked, [])
        self.assertTrue(self.talk.hidden)
        self.talk.typed("sesame")
        self.assertEqual(self.line.asked, [("login", "ana sesame")])
        self.assertFalse(self.talk.hidden)

    def test_given(self) -> None:
        """One that was given is sent."""
        self.talk.typed("/login ana sesame")
        self.assertEqual(self.line.asked, [("login", "ana sesame")])
        self.assertFalse(self.talk.hidden)

    def test_new(self) -> None:
        """A new one is asked for twice."""
        for command in ("register", "password"):
            self.talk.typed(f"/{command}")
            self.talk.typed("sesame")
            self.assertTrue(self.talk.hidden)
            self.talk.typed("sesame")
            self.assertEqual(self.line.asked[-1], (command, "sesame"))

    def test_not_the_same(self) -> None:
        """Two that differ are not sent."""
        self.talk.typed("/register")
        self.talk.typed("sesame")
        self.talk.typed("sesam")
        self.assertEqual(self.line.asked, [])
        self.assertIn("not the same", self.said()[-1])
        self.assertFalse(self.talk.hidden)

    def test_changed_mind(self) -> None:
        """Just Enter is the way out."""
        for command in ("/login ana", "/register", "/lock"):
            self.talk.typed(command)
            self.talk.typed("")
            self.assertEqual((self.line.asked, self.talk.hidden), ([], False))

    def test_any_case(self) -> None:
        """A command is the same in any case."""
        self.talk.typed("/LOGIN ana")
        self.assertTrue(self.talk.hidden)

    def test_link_comes_back(self) -> None:
        """A password that is half typed stays hidden, and is not said, when the link returns."""
        self.talk.typed("/login ana")
        self.hear(
            Disconnected("The network is gone.", False),
            Resumed(user="ana", room="lobby", users=["ana"], count=1, topic="", session="t"),
            Connected(True),
        )
        self.assertTrue(self.talk.hidden)
        self.talk.typed("sesame")
        self.assertEqual(self.line.asked, [("login", "ana sesame")])

    def test_cancel(self) -> None:
        """One's own question can be taken back, with or without a link; a connection's cannot."""
        self.talk.typed("/register")
        self.line.linked = False
        self.assertTrue(self.talk.cancel())
        self.assertFalse(self.talk.hidden)
        self.talk.ask("The server's password: ", hidden=True)
        self.assertFalse(self.talk.cancel())
        self.assertTrue(self.talk.hidden)
        self.assertEqual(self.line.asked, [])


class LinkTests(Seat):
    """The link comes and goes."""

    def setUp(self) -> None:
        super().setUp()
        self.line.user = "ana"
        self.enter("lobby", "bob")

    def lose(self) -> None:
        self.line.linked = False
        self.hear(Disconnected("The network is gone.", False))

    def test_lost(self) -> None:
        """The loss is shown, and in the bar."""
        self.lose()
        self.assertIn("Not connected", self.said()[0])
        self.assertIn("not connected", self.talk.bar)

    def test_back(self) -> None:
        """So is the return."""
        self.lose()
        self.line.linked = True
        self.hear(Connected(True))
        self.assertEqual(self.said()[-1], "-- Connected again.")
        self.assertNotIn("not connected", self.talk.bar)

    def test_typed_in_a_pause(self) -> None:
        """What is said in a pause waits visibly."""
        self.lose()
        self.talk.typed("hello?")
        self.assertEqual(self.talk.waiting(), ["hello?"])

    def test_leave_in_a_pause(self) -> None:
        """In a pause there is nothing to end in good order: leaving is at once."""
        self.assertFalse(self.talk.urgent)
        self.lose()
        self.assertTrue(self.talk.urgent)
        self.talk.leave()
        self.assertTrue(self.line.stopped)

    def test_quit_in_a_pause(self) -> None:
        """So it is by the command."""
        self.lose()
        self.talk.typed("/quit")
        self.assertTrue(self.line.stopped)
        self.assertNotIn("quit", dict(self.line.asked))

    def test_leave_behind(self) -> None:
        """What was not sent when one leaves is not forgotten."""
        self.lose()
        self.talk.typed("one")
        self.assertTrue(self.talk.urgent)
        self.talk.leave()
        self.refuse("gone")
        self.assertEqual((self.talk.unsent, self.talk.waiting()), (["one"], []))

    def test_nowhere_in_a_pause(self) -> None:
        """Without link and room the menu's numbers are not taken for things to say."""
        self.line.room = None
        self.lose()
        self.talk.typed("3")
        self.assertNotIn(("say", "3"), self.line.asked)


class BarTests(Seat):
    """The line at the bottom."""

    def test_lobby(self) -> None:
        """Server, room, encryption, link."""
        self.assertEqual(self.talk.bar, "connected | no room | example.org:5000 | not encrypted")

    def test_people(self) -> None:
        """In a room it counts the people as they come and go."""
        self.line.user = "ana"
        self.enter("lobby", "bob")
        self.assertIn("lobby: 2 people", self.talk.bar)
        self.hear(Joined(room="lobby", user="cid"))
        self.assertIn("lobby: 3 people", self.talk.bar)
        self.hear(left("cid"), left("bob"))
        self.assertIn("lobby: 1 person", self.talk.bar)

    def test_list_corrects(self) -> None:
        """The list of users is the truth about them."""
        self.line.user = "ana"
        self.enter("lobby")
        self.hear(Users(room="lobby", users=["ana", "bob", "cid"]))
        self.assertIn("lobby: 3 people", self.talk.bar)

    def test_encrypted(self) -> None:
        """An encrypted link is shown as one."""
        talk = Conversation("example.org:5000", encrypted=True)
        talk.connection = cast(Connection, self.line)
        self.assertIn("| encrypted", talk.bar)

    def test_hostile_names(self) -> None:
        """Names that would drive a terminal are harmless in the prompt and the bar."""
        self.line.user, self.line.room = "a\x1b[2Jna", "lob\x1b]0;x\x07by\n"
        for text in (self.talk.prompt, self.talk.bar):
            self.assertTrue(text.isprintable(), repr(text))


class CompletionTests(Seat):
    """What Tab offers."""

    def setUp(self) -> None:
        super().setUp()
        self.line.user = "ana"
        self.enter("lobby", "bob", "Bertha")

    def texts(self, text: str) -> list[str]:
        """What `text` becomes, with each of the completions."""
        return [text[: len(text) - cut] + new for new, cut, _ in self.talk.complete(text)]

    def test_commands(self) -> None:
        """After a slash, the commands of the server and their aliases."""
        self.assertEqual(self.texts("/"), ["/join ", "/list ", "/rooms ", "/leave ", "/exit "])

    def test_begun_command(self) -> None:
        """Those that begin so, in any case, with their help."""
        self.assertEqual(self.texts("/L"), ["/list ", "/leave "])
        (_, _, help) = self.talk.complete("/join")[0]
        self.assertEqual(" ".join(help.split()), "ROOM Go into a room.")

    def test_new_commands(self) -> None:
        """`/help` teaches commands that came later."""
        rows = [*COMMANDS, CommandHelp("dance", [], "", "Dance.")]
        self.hear(Help(commands=rows))
        self.assertEqual(self.texts("/da"), ["/dance "])

    def test_help_on_one(self) -> None:
        """Help on one command does not make one forget the others."""
        self.hear(Help(commands=COMMANDS[:1]))
        self.assertEqual(self.texts("/li"), ["/list "])

    def test_rooms(self) -> None:
        """After `/join`, the rooms that there are."""
        self.assertEqual(self.texts("/join "), ["/join lobby", "/join attic"])
        self.assertEqual(self.texts("/JOIN #AT"), ["/JOIN attic"])

    def test_name_at_the_start(self) -> None:
        """A name at the start of a line is an address."""
        self.assertEqual(self.texts("b"), ["bob: ", "Bertha: "])

    def test_name_within(self) -> None:
        """Elsewhere it is a word."""
        self.assertEqual(self.texts("ask be"), ["ask Bertha "])
        self.assertEqual(self.texts("/msg bo"), ["/msg bob "])

    def test_nothing_begun(self) -> None:
        """Where nothing is begun, or nobody is called so, nothing is offered."""
        for text in ("", "hello ", "zz", "/zz"):
            self.assertEqual(self.texts(text), [], text)

    def test_not_oneself(self) -> None:
        """One's own name is not offered."""
        self.assertEqual(self.texts("an"), [])

    def test_follows_people(self) -> None:
        """Who comes is offered, under new names too, and who goes is not."""
        self.hear(
            Joined(room="lobby", user="cid"),
            Renamed(user="bob", to="rob"),
            left("Bertha"),
        )
        self.assertEqual(self.texts("c"), ["cid: "])
        self.assertEqual(self.texts("r"), ["rob: "])
        self.assertEqual(self.texts("b"), [])

    def test_nobody_in_the_lobby(self) -> None:
        """Who left the room is not offered the people in it."""
        self.line.room = None
        self.hear(left("ana", re=3))
        self.assertEqual(self.texts("b"), [])

    def test_hostile_names(self) -> None:
        """A name that would drive a terminal is offered without that."""
        self.hear(Joined(room="lobby", user="d\x1b[2Jan"))
        (offered,) = self.texts("d")
        self.assertTrue(offered.isprintable(), repr(offered))


class TroubleTests(Seat):
    """Errors and notices."""

    def test_shown(self) -> None:
        """They are shown as they come."""
        self.said()
        self.hear(Error(code="x", text="No.", fatal=False), Notice(text="Note."))
        self.assertEqual(self.said(), ["!! No.", "-- Note."])
