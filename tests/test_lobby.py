"""Arriving: who to be, where to go, and the menu for those who are in no room."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail, succeed

from pylingo.conversation import BACK, HINT
from pylingo.lobby import MENU, NAMING
from pylingo.protocol import (
    AnyEvent,
    ChatError,
    Done,
    Error,
    Joined,
    Renamed,
    Rooms,
    RoomSummary,
    Sent,
)
from tests.seat import Seat, left, resumed


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

    def test_enter_without_a_link(self) -> None:
        """Where there is no link at that moment, the menu comes as soon as there is one."""
        self.said()
        self.lose()
        self.talk.typed("")
        self.assertNotIn(MENU[0], self.said())
        self.come_back()
        self.assertEqual(self.said()[-5:], list(MENU))
        self.come_back()
        self.assertNotIn(MENU[0], self.said())

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
        self.hear(back := resumed())
        self.known["ana"].callback(back)
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
        # And a new name later is no answer, but a new name.
        self.line.asked.clear()
        self.hear(Renamed(user="guest-1", to="ana", re=9))
        self.assertEqual(self.line.asked, [])
        self.line.room = None
        self.hear(left("ana", re=3))
        self.talk.typed("1")
        self.assertTrue(self.talk.cancel())

    def test_refused_instead(self) -> None:
        """No menu is shown while a question stands: its numbers would be the answer."""
        self.said()
        for way in ("/create lobby", "/join lobby"):
            self.talk.typed(way)
            self.refuse("room_exists")
            self.assertEqual((self.talk.prompt, self.said()), ("Your name [guest-1]: ", []))
        self.talk.typed("/create lobby")
        self.talk.typed("")
        self.said()
        self.talk.typed("1")
        self.assertIn("not there yet", self.said()[0])
        self.refuse("room_exists")
        self.assertEqual(self.said(), [*MENU])
        self.talk.typed("1")
        self.talk.typed("/create lobby")
        self.refuse("room_exists")
        self.assertEqual((self.talk.prompt, self.said()), ("Name of the new room: ", []))

    def test_command_ahead(self) -> None:
        """The menu comes, although a command that was typed ahead asks for a password."""
        self.talk.typed("zed")
        self.talk.typed("/register")
        self.said()
        self.answer(Renamed(user="guest-1", to="zed"))
        self.assertEqual(self.said()[-len(MENU) :], [*MENU])
        self.assertTrue(self.talk.hidden)
        self.assertTrue(self.talk.cancel())

    def test_exit(self) -> None:
        """`exit` is no name, but leads out, as in the menu; nor is `quit`."""
        for word in ("Exit", "quit"):
            self.setUp()
            self.talk.typed(word)
            self.assertEqual((self.line.closing, self.line.asked), (True, []))

    def test_help(self) -> None:
        """Who asks for help at the question gets it, and not the name Help."""
        for asked in ("Help", "?"):
            self.said()
            self.talk.typed(asked)
            self.assertEqual(self.said(), [NAMING])
            self.assertEqual(self.talk.prompt, "Your name [guest-1]: ")
        self.assertEqual(self.line.asked, [])

    def test_typed_ahead(self) -> None:
        """What comes before the answer may be a password: it is nowhere said, and not kept."""
        self.talk.typed("ana")
        self.said()
        self.assertFalse(self.talk.keeps("hunter2"))
        self.talk.typed("hunter2")
        self.assertEqual(self.said(), ["!! You are not there yet. Wait a moment."])
        self.assertEqual(self.line.asked, [("name", "ana")])
        self.refuse("name_registered")
        self.assertTrue(self.talk.hidden)

    def test_an_ended_session(self) -> None:
        """Who has just said a name is not told what to do for want of a session."""
        self.known["ana"] = Deferred()
        self.talk.typed("ana")
        self.said()
        self.hear(Error(code="not_resumable", text="It has ended.", fatal=False))
        self.assertEqual(self.said(), [])

    def test_name_has_to_be_answered(self) -> None:
        """Who to be is no question to be taken back."""
        self.assertFalse(self.talk.cancel())
        self.assertEqual(self.talk.prompt, "Your name [guest-1]: ")


class HostileTests(Seat):
    """The server gave a name that would drive a terminal."""

    name = ""

    def begin(self) -> None:
        self.line.user = "g\x1b[2Juest\x9b1m"
        super().begin()

    def test_questions(self) -> None:
        """In a question it is harmless."""
        self.assertTrue(self.talk.prompt.isprintable(), repr(self.talk.prompt))
        self.talk.typed("ana")
        self.refuse("name_taken")
        self.assertIn("Another name", self.talk.prompt)
        self.assertTrue(self.talk.prompt.isprintable(), repr(self.talk.prompt))


class BackInTests(Seat):
    """Somebody comes back to a session, and asks for its room in another way."""

    name, room = "ana", "#LOBBY"

    def begin(self) -> None:
        self.line.user, self.line.room = "ana", "lobby"
        super().begin()

    def test_there_already(self) -> None:
        """It is not joined once more."""
        self.assertEqual(self.line.asked, [])

    def test_rooms(self) -> None:
        """Rooms are known from the beginning, also to a line that is pasted whole."""
        self.assertEqual([text for text, *_ in self.talk.complete("/join at")], ["attic"])


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
        self.assertEqual(
            self.said(), ["!! There is no connection yet. Wait a moment; Up brings the line back."]
        )

    def test_question_first(self) -> None:
        """The bar says who waits for whom; a command is no answer, and Enter alone is a no."""
        asked = self.talk.ask("Is that right? [yes/no] ")
        self.assertIn("waiting for you", self.talk.bar)
        self.talk.typed("/list")
        self.assertEqual(self.said(), ["!! Answer the question first."])
        self.talk.typed("")
        self.assertEqual(self.successResultOf(asked), "")

    def test_complete(self) -> None:
        """Tab has nothing to offer, and does no harm."""
        for text in ("/", "a", "/join "):
            self.assertEqual(self.talk.complete(text), [])

    def test_old_session(self) -> None:
        """That what is remembered of an earlier run is too old is no trouble, and not told."""
        self.hear(Error(code="not_resumable", text="It has ended.", fatal=False))
        self.assertEqual(self.said(), [])

    def test_leave(self) -> None:
        """Who does not want to wait is gone at once."""
        given_up: list[bool] = []
        self.talk.abandon = lambda: given_up.append(True)
        self.assertTrue(self.talk.urgent)
        self.talk.leave()
        self.talk.typed("/quit")
        self.assertEqual(given_up, [True, True])

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

    def test_new_rooms(self) -> None:
        """With the menu come the rooms of now, for what is pasted and completed at once."""
        self.line.listed = Rooms(rooms=[RoomSummary("den", 1, "", False)])
        self.talk.typed("9")
        self.assertEqual([text for text, *_ in self.talk.complete("/join d")], ["den"])

    def test_renamed(self) -> None:
        """A new name is no reason to ask again where to go, or to drop what is asked."""
        self.talk.typed("1")
        self.hear(Renamed(user="guest-1", to="ana", re=9))
        self.assertEqual(self.talk.prompt, "Name of the new room: ")

    def test_never_mind(self) -> None:
        """What is asked after a choice can be taken back; then there is the menu again."""
        for choice in ("1", "2"):
            self.line.listed = Rooms(rooms=[RoomSummary("lobby", 2, "", False)])
            self.talk.typed(choice)
            self.said()
            self.assertTrue(self.talk.cancel())
            self.assertEqual((self.talk.prompt, self.said()), ("guest-1> ", [*MENU]))
            self.assertFalse(self.talk.cancel())

    def test_never_mind_without_a_link(self) -> None:
        """Taken back without a link, there is the menu when there is one again, and only then."""
        self.line.listed = Rooms(rooms=[RoomSummary("lobby", 2, "", False)])
        for choice in ("1", "2"):
            self.talk.typed(choice)
            self.said()
            self.lose()
            self.assertTrue(self.talk.cancel())
            self.assertNotIn(MENU[0], self.said())
            self.come_back()
            self.assertEqual(self.said()[-5:], list(MENU))
        self.come_back()
        self.assertNotIn(MENU[0], self.said())

    def test_hint(self) -> None:
        """In the first room it is said, once, how to go on."""
        for count in (1, 0):
            self.hear(Joined(room="tea", user="ana", users=["ana"], count=1, topic="", re=1))
            said = self.said()
            self.assertEqual(said.count(HINT), count)
            self.assertNotIn(BACK, said)

    def test_no_hint_in_between(self) -> None:
        """Who comes back over a new link, as somebody else, is told that; the screen is there."""
        self.lose()
        self.line.user, self.line.room = "guest-5", "tea"
        self.said()
        self.talk.heard(resumed("guest-5", "tea", re=1))
        said = self.said()
        self.assertNotIn(BACK, said)
        self.assertIn("was taken, or logged in", said[-1])

    def test_hint_on_coming_back(self) -> None:
        """Who comes back on a new screen is told so, and how to see what was on the one before."""
        for count in (1, 0):
            self.hear(resumed(room="tea", re=1))
            said = self.said()
            self.assertEqual((said.count(BACK), said.count(HINT)), (count, count))

    def test_on_the_way(self) -> None:
        """While the server lets one in, or asks for a password, a line is no choice."""
        self.talk.typed("/join attic")
        self.assertTrue(self.talk.keeps("hello?"))
        self.talk.typed("hello?")
        self.assertEqual(
            self.said(), ["!! You are not there yet. Wait a moment; Up brings the line back."]
        )
        listed, self.line.listed = self.line.listed, None
        self.refuse("forbidden")
        self.talk.typed("1")
        self.assertIn("not there yet", self.said()[0])
        self.line.listed = listed
        self.talk.typed("/join lobby")
        self.enter()
        self.line.room = None
        self.hear(left("guest-1", re=3))
        self.talk.typed("1")
        self.assertEqual(self.talk.prompt, "Name of the new room: ")

    def test_refused_on_the_way(self) -> None:
        """Who is not let in is at the menu again."""
        self.talk.typed("/join a b")
        self.talk.typed("/join b")
        self.refuse()
        self.refuse()
        self.said()
        self.talk.typed("1")
        self.assertEqual(self.talk.prompt, "Name of the new room: ")

    def test_exit_in_a_pause(self) -> None:
        """`exit` leads out without a link, too, and so does its number."""
        self.line.linked = False
        for word in ("4", "exit"):
            self.line.stopped = False
            self.talk.typed(word)
            self.assertTrue(self.line.stopped)

    def test_no_exit_on_the_way_back(self) -> None:
        """In a new session one is in no room at first; that is not the lobby."""
        self.enter("lobby")
        self.line.linked, self.line.room = False, None
        for word in ("4", "exit"):
            self.talk.typed(word)
        self.assertFalse(self.line.stopped)

    def test_exit_on_the_way(self) -> None:
        """`exit` also leads out while the server lets one in."""
        self.talk.typed("/join attic")
        self.talk.typed("exit")
        self.assertTrue(self.line.closing)

    def test_sent_out_on_the_way(self) -> None:
        """Who is sent out of a room on the way to another is not asked where to go."""
        self.enter("lobby")
        self.talk.typed("/join attic")
        self.line.room = None
        self.hear(left("guest-1"))
        self.assertNotIn(MENU[0], self.said())

    def test_wide_yes(self) -> None:
        """A yes is one in whatever width."""
        self.talk.typed("2")
        self.talk.typed("kitchen")
        self.talk.typed("ｙｅｓ")
        self.assertEqual(self.line.asked, [("join", "kitchen")])

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
            self.said(), ["   1  lobby (2 users)", "   2  attic (1 user, locked)  old"]
        )
        self.assertEqual(self.talk.prompt, "Which room? ")
        self.talk.typed("2")
        self.assertEqual(self.line.asked, [("join", "attic")])

    def test_number_ahead(self) -> None:
        """The number of a room, typed before the list is there, is no choice of the menu."""
        self.line.listed = None
        self.talk.typed("2")
        self.talk.typed("4")
        self.assertFalse(self.line.leaving)
        self.assertIn("not there yet", self.said()[0])

    def test_numbers_as_shown(self) -> None:
        """A number is that of the list that was shown, whatever was heard of the rooms since."""
        self.talk.typed("2")
        rows = [RoomSummary("attic", 9, "", True), RoomSummary("lobby", 2, "", False)]
        self.talk.heard(Rooms(rooms=rows))
        self.talk.typed("2")
        self.assertEqual(self.line.asked, [("join", "attic")])

    def test_wide_digits(self) -> None:
        """Digits that an input method made wide are digits."""
        self.talk.typed("２")
        self.talk.typed("２")
        self.assertEqual(self.line.asked, [("join", "attic")])

    def test_join_by_name(self) -> None:
        """It takes a name as well."""
        self.talk.typed("2")
        self.talk.typed("#Attic")
        self.assertEqual(self.line.asked, [("join", "#Attic")])

    def test_join_a_room_that_is_not_there(self) -> None:
        """A name that no room has is asked about, before that room is made."""
        for answer, asked in (("", []), ("no", []), ("Yes", [("join", "cellar")])):
            self.setUp()
            self.talk.typed("2")
            self.talk.typed("cellar")
            self.assertEqual(self.talk.prompt, "There is no room cellar. Make it? [yes/no] ")
            self.talk.typed(answer)
            self.assertEqual(self.line.asked, asked)
            self.assertEqual(self.talk.prompt, "guest-1> " if asked else "Which room? ")

    def test_complete_a_room(self) -> None:
        """At the question for a room, Tab has the rooms, and nobody's name."""
        self.talk.typed("2")
        self.assertEqual(self.talk.complete("#a"), [("attic", 2, "")])
        self.assertEqual(len(self.talk.complete("")), 2)
        self.talk.typed("")
        self.talk.typed("1")
        self.assertEqual(self.talk.complete("a"), [])

    def test_join_a_number_that_is_not_there(self) -> None:
        """A number that no room has is a slip, and makes no room of that name."""
        self.talk.typed("2")
        for number in ("0", "3"):
            self.said()
            self.talk.typed(number)
            self.assertEqual(self.said(), ["!! There is no room of that number in the list."])
            self.assertEqual(self.talk.prompt, "Which room? ")
        self.talk.typed("9" * 5000)
        self.talk.typed("no")
        self.talk.typed("²")
        self.talk.typed("yes")
        self.assertEqual(self.line.asked, [("join", "²")])

    def test_number_as_a_name(self) -> None:
        """A number that the list does not have may be the name of a room that is there."""
        self.line.listed = Rooms(rooms=[RoomSummary("2026", 1, "", False)])
        self.talk.typed("2")
        self.talk.typed("2026")
        self.assertEqual(self.line.asked, [("join", "2026")])

    def test_changed_mind(self) -> None:
        """Just Enter, or `exit` in whatever width, at a question is the way back to the menu."""
        for choice in ("1", "2"):
            for never_mind in ("", "exit", "ＥＸＩＴ"):
                self.talk.typed(choice)
                self.said()
                self.talk.typed(never_mind)
                self.assertEqual(self.said(), list(MENU))
                self.assertEqual(self.talk.prompt, "guest-1> ")
        self.assertEqual(self.line.asked, [])

    def test_list(self) -> None:
        """3 shows the rooms, then the menu."""
        self.talk.typed("3")
        self.assertEqual(
            self.said(), ["   1  lobby (2 users)", "   2  attic (1 user, locked)  old", *MENU]
        )

    def test_list_of_nothing(self) -> None:
        """Where there are no rooms, it says so."""
        self.line.listed = Rooms(rooms=[])
        self.talk.typed("3")
        self.assertEqual(self.said(), ["-- There are no rooms yet.", *MENU])

    def test_no_list(self) -> None:
        """Where the list cannot be had, the menu comes."""
        refused: Deferred[AnyEvent] = fail(ChatError("rate_limited", "Wait."))
        self.patch(self.line, "request", lambda *_, **__: refused)
        self.talk.typed("3")
        self.assertEqual(self.said(), list(MENU))

    def test_join_nothing(self) -> None:
        """Where there are no rooms, 2 asks for none."""
        self.line.listed = Rooms(rooms=[])
        self.talk.typed("2")
        self.assertEqual(self.said(), ["-- There are no rooms yet.", *MENU])
        self.assertEqual(self.talk.prompt, "guest-1> ")

    def test_exit(self) -> None:
        """4 leaves the chat; so does `exit`, in any case."""
        for word in ("4", "exit", "EXIT"):
            self.setUp()
            self.talk.typed(word)
            self.assertTrue(self.line.closing, word)

    def test_refused_room(self) -> None:
        """A room that one may not make, for whatever reason, leads back to the menu."""
        for code in ("bad_argument", "forbidden"):
            self.talk.typed("1")
            self.talk.typed("a b")
            self.refuse(code)
            self.assertEqual(self.said()[-5:], list(MENU))
            self.assertEqual((self.talk.prompt, self.talk.hidden), ("guest-1> ", False))

    def test_text(self) -> None:
        """Something said in no room is not sent; it is said that nobody would hear it."""
        self.talk.typed("hello?")
        self.assertEqual(self.line.asked, [])
        self.assertIn("Nobody hears that", self.said()[0])

    def test_kept(self) -> None:
        """What was said in no room can be come back to, as commands can; what is chosen cannot."""
        for line, kept in (("hello?", True), ("/list", True), ("3", False), ("Exit", False)):
            self.assertEqual(self.talk.keeps(line), kept, line)
        self.talk.typed("1")
        self.assertEqual((self.talk.keeps("tea"), self.talk.keeps("/list")), (False, True))

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

    def test_locked_room_by_command(self) -> None:
        """Whoever answers with the command that the refusal has named gets in, too."""
        for answer in ("/join attic sesame", "/JOIN #Attic  sesame "):
            self.talk.typed("/join attic")
            self.refuse("forbidden")
            self.talk.typed(answer)
            self.assertEqual(self.line.asked[-1], ("join", "attic sesame"))
            self.refuse("wrong_password")
            self.talk.typed("/join attic")
            self.assertEqual(self.said()[-5:], list(MENU), "that is no password")
        self.talk.typed("/join attic")
        self.refuse("forbidden")
        self.talk.typed("/join den sesame")
        self.assertEqual(self.line.asked[-1], ("join", "attic /join den sesame"))

    def test_wrong_password_at_once(self) -> None:
        """A wrong password beside the room's name is neither shown nor sent once more."""
        self.talk.typed("2")
        self.talk.typed("#Attic wrong")
        self.refuse("forbidden")
        self.assertEqual(self.talk.prompt, "The password of #Attic, or nothing to stay out: ")
        self.talk.typed("sesame")
        self.assertEqual(self.line.asked[-1], ("join", "#Attic sesame"))

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
        late[0].callback(Rooms(rooms=[RoomSummary("lobby", 2, "", False)]))
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
        late.callback(Rooms(rooms=[RoomSummary("lobby", 1, "", False)]))
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

    def test_refused_for_another_reason(self) -> None:
        """Where it is not for the lock, its password would not help."""
        self.talk.typed("/join attic")
        self.refuse("internal")
        self.assertFalse(self.talk.hidden)
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

    def refuse_last(self, code: str) -> None:
        """The refusal of the newest request."""
        self.line.replies.pop().errback(ChatError(code, "No."))

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

    def test_own_by_command(self) -> None:
        """Whoever answers with the command that the refusal has named is logged in as well."""
        self.refuse("name_registered")
        self.talk.typed("/Login Ana open sesame")
        self.assertEqual(self.line.asked[-1], ("login", "ana open sesame"))
        self.refuse("wrong_password")
        self.talk.typed("/login ana")
        self.assertEqual(self.talk.prompt, "Another name [guest-1]: ")
        self.assertEqual(len(self.line.asked), 2, "that is no password")

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

    def test_elsewhere_meanwhile(self) -> None:
        """Who says where to go before it is clear who one is goes there, and stays there."""
        self.talk.typed("/join attic")
        self.settle()
        self.assertEqual(self.line.asked, [("name", "ana"), ("join", "attic")])
        self.assertNotIn(MENU[0], self.said())

    def test_not_let_in_elsewhere(self) -> None:
        """Who is not let in there goes where they wanted to go at first, also if refused later."""
        self.talk.typed("/create attic")
        self.refuse_last("room_exists")
        self.assertEqual(self.line.asked[2:], [], "not as somebody else")
        self.settle()
        self.assertEqual(self.line.asked[2:], [("join", "2")])

    def test_not_let_in_after_all(self) -> None:
        """It is so, too, where it is clear by then who one is."""
        self.talk.typed("/create attic")
        self.settle()
        self.refuse_last("room_exists")
        self.assertEqual(self.line.asked[2:], [("join", "2")])

    def test_out_elsewhere(self) -> None:
        """So does who stays out of a locked room; and nobody is taken there later."""
        self.talk.typed("/join attic")
        self.settle()
        self.refuse_last("forbidden")
        self.talk.typed("")
        self.assertEqual(self.line.asked[2:], [("join", "2")])
        self.refuse_last("forbidden")
        self.talk.typed("/create shed")
        self.refuse_last("room_exists")
        self.assertEqual(self.line.asked[-1], ("create", "shed"))

    def test_link_lost_at_the_question(self) -> None:
        """The question stands when the link is back, and the way goes on after it."""
        self.refuse("name_taken")
        self.hear(resumed("guest-1", None))
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

    def test_there_and_left(self) -> None:
        """Who has left it is not taken there again, whatever is refused."""
        self.back("ana", "lobby")
        self.line.room = None
        self.hear(left("ana", re=3))
        self.talk.typed("/create shed")
        self.refuse("room_exists")
        self.assertEqual(self.line.asked, [("create", "shed")])

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
