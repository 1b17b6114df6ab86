"""What a person does in a room, and what comes of links and questions meanwhile."""

from __future__ import annotations

from typing import cast

from twisted.internet.defer import CancelledError

from pylingo import looks
from pylingo.connection import Connected, Connection, Disconnected, Ticket
from pylingo.conversation import KEYS, LATE, MISSED, Conversation
from pylingo.protocol import (
    Closing,
    CommandHelp,
    Done,
    Error,
    Help,
    History,
    Joined,
    Left,
    Notice,
    Private,
    Renamed,
    Resumed,
    Rooms,
    RoomSummary,
    Sent,
    Topic,
    Users,
)
from tests.seat import COMMANDS, Seat, left, message, resumed, welcome


class InRoom(Seat):
    """Ana is in a room with somebody else."""

    def setUp(self) -> None:
        super().setUp()
        self.line.user = "ana"
        self.enter("lobby", "bob")


class RoomTests(InRoom):
    """Somebody is in a room."""

    def test_prompt(self) -> None:
        """The prompt has the room and the name."""
        self.assertEqual(self.talk.prompt, "[lobby] ana> ")

    def test_say(self) -> None:
        """A line is said."""
        self.talk.typed("hello")
        self.assertEqual(self.line.asked, [("say", "hello")])

    def test_indented(self) -> None:
        """A line that begins with spaces is said with them."""
        for line in ("    if x:  ", "    // sum\n    x()", "  //usr"):
            self.talk.typed(line)
        said = [text for _, text in self.line.asked]
        self.assertEqual(said, ["    if x:", "    // sum\n    x()", "  /usr"])

    def test_several_lines(self) -> None:
        """Several lines are one message."""
        self.talk.typed("one\ntwo\n")
        self.assertEqual(self.line.asked, [("say", "one\ntwo")])

    def test_command(self) -> None:
        """A slash command is split at the first space."""
        self.talk.typed("/msg bob psst there")
        self.assertEqual(self.line.asked, [("msg", "bob psst there")])

    def test_wide(self) -> None:
        """An input method may make wide what is typed: slashes, blanks and letters."""
        self.talk.typed("ｅｘｉｔ")
        self.talk.typed("／msg　ゆき　こんにちは")
        self.assertEqual(self.line.asked, [("leave", ""), ("msg", "ゆき　こんにちは")])
        self.assertEqual(self.talk.waiting(), ["[you -> ゆき] こんにちは"])
        self.hear(Joined(room="lobby", user="ゆき"))
        self.assertEqual([row[0] for row in self.talk.complete("／msg　ゆ")], ["ゆき "])

    def test_unseen(self) -> None:
        """What is pasted may begin with marks: a password is not said, nor kept, for that."""
        for line in ("\u200b/login ana sesame", " \ufeff／login ana sesame"):
            self.assertFalse(self.talk.keeps(line))
            self.talk.typed(line)
            self.assertEqual(self.line.asked.pop(), ("login", "ana sesame"))

    def test_numbers(self) -> None:
        """In a room the menu's numbers are things to say."""
        self.talk.typed("1")
        self.assertEqual(self.line.asked, [("say", "1")])

    def test_exit(self) -> None:
        """`exit` alone, in any case, leaves the room."""
        for word in ("exit", " Exit "):
            self.talk.typed(word)
            self.assertEqual(self.line.asked[-1], ("leave", ""))

    def test_exit_in_a_pause(self) -> None:
        """Without a link it says that it waits."""
        self.line.linked = False
        self.said()
        self.talk.typed("exit")
        self.assertIn("waits", self.said()[-1])
        self.assertEqual(self.line.asked, [("leave", "")])

    def test_comment(self) -> None:
        """Code that begins with a comment is said."""
        for code in ("// the sum\nx = 1", "/* the sum */"):
            self.talk.typed(code)
            self.assertEqual(self.line.asked[-1], ("say", code))

    def test_help_on_ignore(self) -> None:
        """Help on the command that is the client's own comes from the client."""
        self.said()
        self.talk.typed("/help /ignore")
        self.assertEqual(self.line.asked, [])
        self.assertIn("/ignore NAME", self.said()[0])
        self.talk.typed("/me ignore")
        self.assertEqual(self.line.asked, [("me", "ignore")])

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
        self.talk.typed("one\ntwo")
        self.refuse("too_long")
        self.assertEqual(self.said(), ["!! Not sent: one…"])

    def test_slash(self) -> None:
        """What begins with a slash is said after another one, of whatever width."""
        for line in ("//etc is a folder", "／／etc is a folder"):
            self.talk.typed(line)
            self.assertEqual(self.line.asked.pop(), ("say", "/etc is a folder"))

    def test_same_twice(self) -> None:
        """The same line twice waits twice."""
        self.talk.typed("hi")
        self.talk.typed("hi")
        self.answer(Sent(id=1, at=1))
        self.assertEqual(self.talk.waiting(), ["hi"])

    def test_nothing_said(self) -> None:
        """A message that says nothing waits for nothing but its refusal."""
        for line in ("/me", "/say  ", "/msg", "/msg bob"):
            self.talk.typed(line)
            self.assertEqual(self.talk.waiting(), [])
            self.refuse()
            self.assertEqual(self.said(), [])

    def test_drawn_when_acknowledged(self) -> None:
        """The screen learns that there is less to wait for."""
        self.talk.typed("one")
        drawn = self.wall.drawn
        self.answer(Sent(id=1, at=1))
        self.hear(Sent(id=1, at=1))
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

    def test_missed_bell(self) -> None:
        """Who was named, or written to, while the link was broken hears one bell for all that."""
        back = resumed()
        written = Private(id=2, at=1, user="bob", to="ana", text="psst", replayed=True)
        for first in (message("ana?", replayed=True), written):
            self.wall.bells = 0
            self.hear(back if first is not written else Done(text="You are in.", user="ana"))
            self.hear(message("hello", replayed=True))
            self.assertEqual(self.wall.bells, 0)
            self.hear(first, message("ana!", replayed=True))
            self.assertEqual(self.wall.bells, 1)
        self.hear(back)
        self.hear(Joined(room="den", user="ana", users=["ana"], count=1, topic=""))
        self.hear(message("ana?", replayed=True))
        self.assertEqual(self.wall.bells, 1)

    def test_ignored(self) -> None:
        """What somebody says who is ignored is not shown, under another name neither."""
        self.talk.typed("/ignore Bob")
        self.assertIn("Bob", self.said()[0])
        private = Private(id=2, at=1, user="rob", to="ana", text="psst")
        self.hear(message("one"), Renamed(user="bob", to="rob"), private, message("x", "cid"))
        self.assertEqual(len(self.said()), 2)
        self.assertEqual(self.wall.bells, 0)
        self.hear(History(room="lobby", messages=[message("a", "rob"), message("b", "#rob")]))
        self.assertEqual(len(self.said()), 2)
        self.talk.typed("/ignore")
        self.assertIn("rob", self.said()[0])
        self.talk.typed("/IGNORE rob")
        self.said()
        self.hear(message("two", "rob"))
        self.assertEqual(len(self.said()), 1)
        self.talk.typed("/ignore ")
        self.assertIn("nobody", self.said()[0])
        self.talk.typed("/ignore @ANA")
        self.assertIn("That is you", self.said()[0])
        self.hear(message("three", "ana"))
        self.assertEqual(len(self.said()), 1)
        self.assertEqual(self.line.asked, [])

    def test_meant_to_ignore(self) -> None:
        """Who mistypes our own command is not told of the server's that is most like it."""
        self.talk.commands.append(CommandHelp("lock", (), "PASSWORD", "Lock your room."))
        for word in ("ingore", "unignore", "Block"):
            self.said()
            self.talk.typed(f"/{word} bob")
            self.assertIn("Did you mean /ignore?", self.said()[0])
            self.assertEqual(self.line.asked, [])
        for word in ("clock", "leav", "xyz", "info", "back"):
            self.talk.typed(f"/{word} bob")
            self.assertEqual(self.line.asked[-1], (word, "bob"))

    def test_ignored_on_the_way_out(self) -> None:
        """Whoever is ignored says nothing by a reason for leaving either."""
        self.talk.typed("/ignore bob")
        self.said()
        self.hear(left("bob"), Joined(room="lobby", user="bob"), left("cid"))
        self.assertEqual(len(self.said()), 1)
        self.assertEqual([*self.talk.people], ["ana", "bob"])

    def test_ignored_before(self) -> None:
        """Who takes a name whose owner was ignored is told of oneself."""
        self.talk.typed("/ignore bob")
        self.hear(left("bob"))
        self.line.user = "bob"
        self.said()
        self.hear(Left(room="lobby", user="bob", reason="kicked by op"))
        self.assertIn("kicked by op", self.said()[0])

    def test_ignored_as_mentioned(self) -> None:
        """A name may be given as it is mentioned."""
        self.talk.typed("/ignore @bob")
        self.said()
        self.hear(message("hi", "bob"))
        self.assertEqual(self.said(), [])
        self.hear(Joined(room="lobby", user="@cid"))
        self.talk.typed("/ignore @cid")
        self.said()
        self.hear(message("hi", "cid"))
        self.assertEqual(len(self.said()), 1, "a name may begin so")

    def test_when(self) -> None:
        """Who comes and goes is shown with the time."""
        self.hear(Joined(room="lobby", user="cid"), left("cid"), Renamed(user="bob", to="rob"))
        for line in self.wall.lines:
            self.assertRegex(line, r"^\d\d:\d\d (-->|<--|--) ")

    def test_next_day(self) -> None:
        """Above what is shown first on another day, whatever it is, there is the day."""
        self.said()
        for today, event, new in (
            ("Sunday", message("one", id=1), True),
            ("Monday", Joined(room="lobby", user="cat"), True),
            ("Monday", message("two", id=2), False),
            ("Tuesday", message("three", id=3, replayed=True), True),
            ("Wednesday", message("four", id=4), True),
            ("Wednesday", left("cat"), False),
        ):
            self.patch(looks, "today", lambda today=today: today)
            self.hear(event)
            self.assertEqual(self.said()[:-1], [f"-- {today}"] * new, event)

    def test_kept(self) -> None:
        """What was said, and commands, can be come back to; not what has a password in it."""
        for line in ("hello", " hi ", "/join lobby", "/msg bob hi there", "/say /login", "login",
                     "1", "exit", "/mgs bob hi", "/jion lobby", "//enter the room"):  # fmt: skip
            self.assertTrue(self.talk.keeps(line), line)
        for line in ("/login a b", "/REGISTER x", " /password y", "/enter", "/lock door",
                     "/join lobby sesame", "/logn a b", "/ login a b", "/passwd b",
                     "/j lobby sesame", "／ｌｏｇｉｎ a b", "／login a b", "", "  "):  # fmt: skip
            self.assertFalse(self.talk.keeps(line), line)
        self.talk.ask("The server's password: ", hidden=True)
        for line in ("sesame", "/list"):
            self.assertFalse(self.talk.keeps(line), line)

    def test_past(self) -> None:
        """What was said before one came stands under a line that says so, said once."""
        self.hear(
            Joined(room="lobby", user="ana", users=["ana"], count=1, topic="", re=1),
            message("one", id=1, replayed=True),
            message("two", id=2, replayed=True),
            message("three", id=3),
        )
        shown = [line.rpartition(" ")[2] if "<" in line else line for line in self.said()[1:]]
        self.assertEqual(shown, [looks.BEFORE, "one", "two", "three"])

    def test_missed_before_a_login(self) -> None:
        """What comes with a login was not said in the room, and nobody hears it as that."""
        self.hear(
            Done(text="You are logged in as ana.", user="ana", re=1),
            Private(id=1, at=1, user="bob", to="ana", text="psst", replayed=True),
        )
        self.assertEqual(self.said()[1], "-- What you missed:")

    def test_missed(self) -> None:
        """What was missed stands under a line that says so."""
        self.hear(
            resumed(),
            message("one", replayed=True),
        )
        self.assertIn("-- What you missed:", self.said())

    def test_nothing_missed(self) -> None:
        """Where nothing was missed there is no such line."""
        self.hear(
            resumed(),
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

    def test_last_words(self) -> None:
        """Why the server ended it for good is said when the screen is put away, so not here."""
        self.hear(Closing(reason="kicked", text="Go."), Disconnected("Go.", True))
        self.assertEqual(self.said(), [])
        self.hear(Closing(reason="shutdown", text="Wait."))
        self.assertEqual(self.said(), ["-- Wait."])


class PasswordTests(InRoom):
    """Passwords that are typed."""

    def test_asked_for(self) -> None:
        """A password that was left out is asked for, without showing it."""
        self.talk.typed("/login ana")
        self.assertEqual(self.line.asked, [])
        self.assertTrue(self.talk.hidden)
        self.assertEqual(self.talk.complete("/l"), [])
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
            resumed(),
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

    def test_nothing(self) -> None:
        """Where a connection waits for a password, none is no try."""
        asked = self.talk.ask("The server's password: ", hidden=True)
        self.talk.typed("")
        self.assertNoResult(asked)
        self.talk.typed("sesame")
        self.assertEqual(self.successResultOf(asked), "sesame")

    def test_between_two_tries(self) -> None:
        """What is typed when a password was refused, before it is asked for again, is not said."""
        self.line.linked = False
        self.talk.ask("The server's password: ", hidden=True)
        self.talk.typed("sesame")
        self.said()
        self.assertFalse(self.talk.keeps("open sesame"))
        self.talk.typed("open sesame")
        self.assertEqual(self.line.asked, [])
        self.assertEqual(self.said(), ["!! You are not there yet. Wait a moment."])
        self.line.linked = True
        self.hear(Connected(True))
        self.talk.typed("hi")
        self.assertEqual(self.line.asked, [("say", "hi")])

    def test_taken_back(self) -> None:
        """What was begun at a question that is not asked any more is no line to come back to."""
        self.line.linked = False
        asked = self.talk.ask("Is that right? ")
        asked.addErrback(lambda why: why.trap(CancelledError))
        asked.cancel()
        self.assertFalse(self.talk.keeps("ye"))

    def test_wrong(self) -> None:
        """After a wrong one, the next is not typed where all would hear it."""
        self.talk.typed("/login ana")
        self.talk.typed("sesam")
        self.refuse("wrong_password")
        self.assertTrue(self.talk.hidden)
        self.talk.typed("sesame")
        self.assertEqual(self.line.asked[-1], ("login", "ana sesame"))
        self.refuse("forbidden")
        self.assertFalse(self.talk.hidden)
        # This one has been seen, and not only by its writer.
        self.talk.typed("/login ana sesam")
        self.refuse("wrong_password")
        self.assertFalse(self.talk.hidden)

    def test_not_waited_for(self) -> None:
        """A question that nobody waits for any more is not asked again when it was answered."""
        first, second = (self.talk.ask(f"The password ({n}): ", hidden=True) for n in range(2))
        first.cancel()
        self.failureResultOf(first, CancelledError)
        # It may be half typed already.
        self.assertEqual((self.talk.prompt, self.talk.hidden), ("The password (0): ", True))
        self.talk.typed("hunter2")
        self.assertEqual(self.talk.prompt, "The password (1): ")
        self.talk.typed("sesame")
        self.assertEqual(self.successResultOf(second), "sesame")
        self.assertFalse(self.talk.hidden)


class LinkTests(InRoom):
    """The link comes and goes."""

    def test_lost(self) -> None:
        """The loss is shown, and in the bar."""
        self.lose()
        self.assertIn("Not connected", self.said()[0])
        self.assertIn("not connected", self.talk.bar)

    def test_back(self) -> None:
        """So is the return."""
        self.lose()
        self.come_back()
        self.assertEqual(self.said()[-1], "-- Connected again.")
        self.assertNotIn("not connected", self.talk.bar)

    def test_back_as_before(self) -> None:
        """Where nothing has changed, only what was missed is shown."""
        self.lose()
        self.said()

        def back(user: str, room: str | None, topic: str = "") -> Resumed:
            users = ["ana", "bob"]
            return resumed(user, room, users=users, count=2, topic=topic)

        missed = message("one", replayed=True)
        self.hear(back("ana", "lobby"), missed)
        self.come_back()
        first, second, third = self.said()
        self.assertEqual((first, third), (MISSED, "-- Connected again."))
        self.assertIn("one", second)
        self.assertIn("2 people", self.talk.bar)
        self.hear(back("ana", "lobby"))
        self.assertNotEqual(self.said(), [], "as when somebody asks for it")
        self.line.linked = True
        self.hear(Topic(room="lobby", user="bob", topic="tea"))
        self.lose()
        self.said()
        self.hear(back("ana", "lobby", "tea"))
        self.assertEqual(self.said(), [], "that topic was seen")
        other = resumed(users=["ana", "cid"], topic="tea")
        self.hear(other)
        self.assertIn("cid", self.said()[0], "as many, but others")
        self.lose()
        self.said()
        gone = resumed(topic="tea")
        self.hear(gone)
        self.assertNotEqual(self.said(), [], "somebody is gone")
        for user, room, topic in (("ana", "lobby", "cake"), ("guest-7", "lobby", "cake"),
                                  ("guest-7", None, "")):  # fmt: skip
            self.lose()
            self.said()
            self.line.user, self.line.room = user, room
            self.hear(back(user, room, topic))
            self.assertIn(f"-- You are {user}.", self.said())
            self.come_back()

    def test_back_without_the_session(self) -> None:
        """That the session has ended is told on return, but not what to do, which is done."""
        self.lose()
        self.said()
        self.hear(welcome(), Error(code="not_resumable", text="It has ended.", fatal=False))
        self.assertEqual(self.said(), ["-- Your session has ended. You come back in a new one."])
        self.line.closing = True
        self.hear(Error(code="not_resumable", text="It has ended.", fatal=False))
        self.assertEqual(self.said(), [])

    def test_back_under_another_name(self) -> None:
        """Who comes back as a guest, for the name is taken, is told so as trouble; others not."""
        for user, troubles in (("guest-7", 1), ("anna", 0), ("ana", 0)):
            self.line.user, self.line.linked = "ana", True
            self.hear(message("hi"))
            self.lose()
            self.said()
            self.line.user = user
            self.hear(resumed(user))
            told = [line for line in self.said() if line.startswith("!!")]
            self.assertEqual(len(told), troubles, told)
            for line in told:
                for said in ("elsewhere", "you are guest-7", "/login ana", "/name"):
                    self.assertIn(said, line)

    def test_out_of_the_room(self) -> None:
        """Who is not in the room any more, on return, is told so, and asked where to go."""
        self.lose()
        self.said()
        self.line.room = None
        self.come_back()
        said = self.said()
        self.assertIn("-- You are not in lobby any more.", said)
        self.assertTrue(any("join a room" in line for line in said))

    def test_unsure(self) -> None:
        """What may have been said, or done, is named."""
        for line, told in (
            ("hello?", "!! This may have been sent, or not: hello?"),
            ("/kick bob", "!! /kick bob: No."),
        ):
            self.talk.typed(line)
            self.said()
            self.refuse("unsure")
            self.assertEqual(self.said(), [told])

    def test_leaving(self) -> None:
        """While one leaves, the bar says how not to wait for it; who is refused stays."""
        self.talk.leave()
        self.assertIn("Ctrl-D", self.talk.bar)
        self.line.closing = False
        self.assertNotIn("Ctrl-D", self.talk.bar)

    def test_back_in_the_lobby(self) -> None:
        """Who was in no room has lost none."""
        self.line.room = None
        self.hear(left("ana", re=1))
        self.lose()
        self.said()
        self.come_back()
        self.assertEqual(self.said(), ["-- Connected again."])

    def test_typed_in_a_pause(self) -> None:
        """What is said in a pause waits visibly."""
        self.lose()
        self.talk.typed("hello?")
        self.assertEqual(self.talk.waiting(), ["hello?"])

    def test_command_in_a_pause(self) -> None:
        """So does a command, and it is said that it waits."""
        self.lose()
        self.said()
        self.talk.typed("/topic tea")
        self.assertEqual(self.said(), ["-- /topic waits until you are connected again."])
        self.assertIn(("topic", "tea"), self.line.asked)

    def test_quit(self) -> None:
        """The command asks the server, with its reason; the connection knows the rest."""
        self.talk.typed("/quit bye")
        self.assertEqual((self.line.asked[-1], self.line.stopped), (("quit", "bye"), False))

    def test_leave_in_a_pause(self) -> None:
        """In a pause there is nothing to end in good order: leaving is at once."""
        self.assertFalse(self.talk.urgent)
        self.lose()
        self.assertTrue(self.talk.urgent)
        self.talk.leave()
        self.assertTrue(self.line.stopped)

    def test_terminal_gone(self) -> None:
        """Whoever has a name may come back to the session; a guest could not, and takes leave."""
        for name in ("ana", "guest-house"):
            self.line.user, self.line.stopped = name, False
            self.talk.lost()
            self.assertEqual((self.line.stopped, self.line.closing), (True, False))
        self.line.user, self.line.stopped = "guest-1", False
        self.talk.lost()
        self.assertEqual((self.line.stopped, self.line.closing), (False, True))

    def test_seen(self) -> None:
        """What came after the last drawing is not seen when the terminal answers that."""
        self.line.ticket = Ticket("a", 1)
        self.talk.drawn()
        self.line.ticket = Ticket("a", 2)
        self.talk.asked(0.0)
        self.talk.drawn()
        self.assertIsNone(self.talk.shown)
        self.talk.seen()
        self.assertEqual(self.talk.shown, Ticket("a", 1))
        self.talk.asked(0.0)
        self.talk.seen()
        self.assertEqual(self.talk.shown, Ticket("a", 2))
        self.talk.seen()
        self.assertEqual(self.talk.shown, Ticket("a", 2))

    def test_seen_late(self) -> None:
        """Nor is it where it was drawn while an answer was on its way, however long that took."""
        for last in (1, 2):
            self.line.ticket = Ticket("a", last)
            self.talk.drawn()
            self.talk.asked(0.0)
        self.talk.seen()
        self.assertEqual(self.talk.shown, Ticket("a", 1))

    def test_seen_never(self) -> None:
        """What was asked long ago is not answered any more: an answer is to what came later."""
        for last in (1, 2, 3):
            self.line.ticket = Ticket("a", last)
            self.talk.drawn()
            self.talk.asked((LATE + 1) * last)
        self.talk.seen()
        self.assertEqual(self.talk.shown, Ticket("a", 3))

    def test_seen_over_another_link(self) -> None:
        """What was seen of a session was seen when it goes on under another token."""
        for last in (1, 2):
            self.line.ticket = Ticket("a", last)
            self.talk.drawn()
            self.talk.asked(0.0)
        self.talk.seen()
        self.lose()
        self.line.ticket = Ticket("b", 3)
        self.hear(Resumed(user="ana", room=None, users=[], count=0, topic="", session="b", re=1))
        self.assertEqual(self.talk.shown, Ticket("b", 1))
        self.talk.seen()
        self.assertEqual(self.talk.shown, Ticket("b", 2))

    def test_quit_in_a_pause(self) -> None:
        """So it is by the command."""
        self.lose()
        self.talk.typed("/quit")
        self.assertEqual((self.line.stopped, self.line.asked), (True, []))

    def test_leave_behind(self) -> None:
        """What was not sent when one leaves is not forgotten."""
        self.lose()
        self.talk.typed("one")
        self.assertTrue(self.talk.urgent)
        self.talk.leave()
        self.refuse("gone")
        self.assertEqual((self.talk.unsent, self.talk.waiting()), (["one"], []))

    def test_announce_and_leave(self) -> None:
        """Nor is what all were to hear, or somebody was to be kicked for."""
        for line in (
            "/announce at five",
            "/kick bob spam",
            "/list",
            "/topic",
            "/topic x",
            "/leave",
        ):
            self.talk.typed(line)
            self.refuse("gone")
        for secret in ("lock", "register", "password"):
            self.talk.typed(f"/{secret} sesame")
            self.refuse("gone")
        unsent = ["/announce at five", "/kick bob spam", "/topic x"]
        unsent += ["/lock …", "/register …", "/password …"]
        self.assertEqual(self.talk.unsent, unsent)

    def test_nowhere_in_a_pause(self) -> None:
        """Without link and room the menu's numbers are not taken for things to say."""
        self.line.room = None
        self.hear(Notice(text="Tea is ready."))
        self.lose()
        self.talk.typed("3")
        self.assertNotIn(("say", "3"), self.line.asked)
        self.assertFalse(self.line.stopped)
        self.talk.typed("4")
        self.assertTrue(self.line.stopped)


class BarTests(Seat):
    """The line at the bottom."""

    def test_lobby(self) -> None:
        """Server, room, encryption, link."""
        self.assertEqual(
            self.talk.bar, "connected | no room | not encrypted | example.org:5000 | /help"
        )

    def test_people(self) -> None:
        """In a room it counts the people as they come and go."""
        self.line.user = "ana"
        self.enter("lobby", "bob")
        self.assertIn("| 2 people |", self.talk.bar)
        self.hear(Joined(room="lobby", user="cid"))
        self.assertIn("| 3 people |", self.talk.bar)
        self.hear(left("cid"), left("bob"))
        self.assertIn("| 1 person |", self.talk.bar)

    def test_people_at_once(self) -> None:
        """Who came or went while one came in is counted once, though it is told after the list."""
        self.line.user = "ana"
        self.enter("lobby", "bob")
        self.hear(Joined(room="lobby", user="bob"), left("cid"))
        self.assertIn("| 2 people |", self.talk.bar)

    def test_people_after_a_login(self) -> None:
        """Who goes by another name since a login is counted once, and may leave the old one."""
        self.line.user = "guest-1"
        self.enter("lobby", "bob")
        self.line.user = "ana"
        self.hear(Done(text="You are logged in as ana.", user="ana", re=1))
        self.line.replies[-1].callback(Users(room="lobby", users=["bob", "ana"]))
        self.hear(Joined(room="lobby", user="guest-1"))
        self.assertIn("| 3 people |", self.talk.bar)

    def test_list_corrects(self) -> None:
        """The list of users is the truth about them."""
        self.line.user = "ana"
        self.enter("lobby")
        self.hear(Users(room="lobby", users=["ana", "bob", "cid"]))
        self.assertIn("| 3 people |", self.talk.bar)

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
        self.assertEqual(
            self.texts("/"), ["/join ", "/list ", "/rooms ", "/leave ", "/exit ", "/ignore "]
        )

    def test_begun_command(self) -> None:
        """Those that begin so, in any case, with their help."""
        self.assertEqual(self.texts("/L"), ["/list ", "/leave "])
        self.assertEqual(self.texts("／L"), ["/list ", "/leave "])
        (_, _, help) = self.talk.complete("/join")[0]
        self.assertEqual(" ".join(help.split()), "ROOM Go into a room.")

    def test_new_commands(self) -> None:
        """`/help` teaches commands that came later."""
        rows = [*COMMANDS, CommandHelp("dance", [], "", "Dance.")]
        self.hear(Help(commands=rows))
        self.assertEqual(self.texts("/da"), ["/dance "])

    def test_help(self) -> None:
        """The list of commands ends with the keys, and how to say what begins with a slash."""
        self.hear(Help(commands=COMMANDS))
        self.assertEqual(self.said()[-len(KEYS) :], [*KEYS])
        self.hear(Help(commands=COMMANDS[:1]))
        self.assertEqual(len(self.said()), 1)

    def test_help_on_one(self) -> None:
        """Help on one command does not make one forget the others."""
        self.hear(Help(commands=COMMANDS[:1]))
        self.assertEqual(self.texts("/li"), ["/list "])

    def test_rooms(self) -> None:
        """After `/join`, the rooms that there are."""
        self.assertEqual(self.texts("/join "), ["/join lobby", "/join attic"])
        self.assertEqual(self.texts("/JOIN #AT"), ["/JOIN attic"])

    def test_rooms_asked_for_once(self) -> None:
        """What is typed otherwise asks the server nothing."""
        self.line.listed = Rooms(rooms=[])
        for text in ("j", "/join l", "hello"):
            self.talk.typing(text)
        self.assertEqual(self.texts("/join "), ["/join lobby", "/join attic"])

    def test_rooms_in_time(self) -> None:
        """They are asked for when the command is typed, so that the first Tab knows new ones."""
        rows = [RoomSummary("newroom", 1, "", False)]
        self.line.listed = Rooms(rooms=rows)
        self.talk.typing("/join ")
        self.assertEqual(self.texts("/join n"), ["/join newroom"])

    def test_help_on(self) -> None:
        """After `/help`, commands, with a slash or without."""
        self.assertEqual(self.texts("/help j"), ["/help join"])
        self.assertEqual(self.texts("/help /ig"), ["/help ignore"])

    def test_anybody(self) -> None:
        """After a command also without a letter: everyone."""
        self.assertEqual(self.texts("/msg "), ["/msg bob ", "/msg Bertha "])

    def test_whom(self) -> None:
        """What a command takes is all of a name, however it was begun."""
        self.hear(Help(commands=[*COMMANDS, CommandHelp("msg", [], "USER TEXT", "Say.")]))
        self.assertEqual(self.texts("/msg @be"), ["/msg Bertha "])
        self.assertEqual(self.texts("/ignore @be"), ["/ignore Bertha "])
        self.assertEqual(self.texts("/msg bob ask @be"), ["/msg bob ask @Bertha "])

    def test_in_private(self) -> None:
        """Whom one has talked with in private comes first, wherever they are."""
        self.hear(Help(commands=[*COMMANDS, CommandHelp("msg", [], "USER TEXT", "Say.")]))
        for user, to in (("cid", "ana"), ("ana", "dora"), ("bob", "ana")):
            self.hear(Private(id=1, at=1, user=user, to=to, text="psst"))
        everyone = ["/msg bob ", "/msg dora ", "/msg cid ", "/msg Bertha "]
        self.assertEqual(self.texts("/msg "), everyone)
        self.assertEqual(self.texts("/msg c"), ["/msg cid "])
        self.assertEqual(self.texts("/ignore c"), [])
        self.talk.typed("/ignore eve")
        self.hear(Private(id=2, at=1, user="eve", to="ana", text="psst"))
        self.assertEqual(self.texts("/msg "), everyone)
        self.hear(Private(id=3, at=1, user="ana", to="BOB", text="psst"))
        self.hear(Renamed(user="bob", to="rob"))
        self.assertEqual(self.texts("/msg ")[:2], ["/msg rob ", "/msg dora "])
        self.hear(Private(id=4, at=1, user="ana", to="cid", text="psst"))
        self.assertEqual(self.texts("/msg ")[:2], ["/msg cid ", "/msg rob "])
        self.assertEqual(self.texts("/msg b"), ["/msg Bertha "])
        self.assertEqual(self.texts("/MSG R"), ["/MSG rob "])
        self.hear(Joined(room="lobby", user="Straße"))
        self.assertEqual(self.texts("/msg straß"), ["/msg Straße "])

    def test_in_private_with_others_of_our_name(self) -> None:
        """Who had the name that one has oneself for a while is met, and ignored, under it still."""
        self.hear(Help(commands=[*COMMANDS, CommandHelp("msg", [], "USER TEXT", "Say.")]))
        self.hear(Private(id=1, at=1, user="zoe", to="ana", text="psst"))
        self.talk.typed("/ignore zed")
        for name in ("zoe", "zed", "ana"):
            old, self.line.user = self.line.user, name
            self.hear(Renamed(user=old, to=name, re=1))
        self.assertEqual(self.texts("/msg z"), ["/msg zoe "])
        self.said()
        self.hear(message("hi", "zed"))
        self.talk.typed("/ignore")
        self.assertEqual([line for line in self.said() if "zed" not in line], [])
        self.hear(message("mine", "ana"))
        self.assertEqual(len(self.said()), 1)

    def test_further_back(self) -> None:
        """After `/history`, what was said before that which is on the screen."""
        self.assertEqual(self.texts("/history "), [])
        replayed = [message("one", id=17, replayed=True), message("two", id=18, replayed=True)]
        self.hear(Joined(room="den", user="ana", users=["ana"], count=1, topic=""), *replayed)
        self.assertEqual(self.texts("/history "), ["/history 50 17"])
        self.hear(History(room="den", messages=[message("minus", id=9), message("zero", id=11)]))
        self.assertEqual(self.texts("/history "), ["/history 2 9"])
        self.assertEqual(self.texts("/history 3"), [])
        # What was missed comes after that.
        back = resumed(room="den")
        self.hear(back, message("three", id=30, replayed=True))
        self.assertEqual(self.texts("/history "), ["/history 2 9"])
        self.hear(Joined(room="attic", user="ana", users=["ana"], count=1, topic=""))
        self.assertEqual(self.texts("/history "), [])
        self.hear(message("live", id=40), message("and more", id=41))
        self.assertEqual(self.texts("/history "), ["/history 50 40"])

    def test_crowd(self) -> None:
        """In a room of very many people all are asked for, as not all come with the answer."""
        self.hear(Joined(room="lobby", user="ana", users=["ana", "bob"], count=120, topic="", re=1))
        self.assertEqual((self.line.asked, self.line.quiet), ([("users", "")], ["users"]))
        self.answer(Users(room="lobby", users=["ana", "bob", "zoe"]))
        self.assertEqual(self.texts("z"), ["zoe: "])

    def test_crowd_and_broken_links(self) -> None:
        """They are asked for once: what has no answer yet is sent again over the next link."""
        users = ["ana", "bob"]
        back = resumed(users=users, count=120)
        self.hear(Joined(room="lobby", user="ana", users=users, count=120, topic="", re=1))
        self.hear(back, back)
        self.assertEqual(self.line.asked, [("users", "")])
        self.refuse("not_in_room")
        self.hear(back)
        self.assertEqual(self.line.asked, [("users", "")] * 2)

    def test_composed(self) -> None:
        """A name is completed whether accents are letters of their own or not."""
        self.hear(Joined(room="lobby", user="jos\u00e9"))
        self.assertEqual(self.texts("jose\u0301"), ["jos\u00e9: "])

    def test_name_at_the_start(self) -> None:
        """A name at the start of a line is an address."""
        self.assertEqual(self.texts("b"), ["bob: ", "Bertha: "])

    def test_name_on_another_line(self) -> None:
        """At the start of another line of the same message it is a word."""
        self.assertEqual(self.texts("hello\nbo"), ["hello\nbob "])

    def test_name_within(self) -> None:
        """Elsewhere it is a word."""
        self.assertEqual(self.texts("ask be"), ["ask Bertha "])
        self.assertEqual(self.texts("/msg bo"), ["/msg bob "])
        self.assertEqual(self.texts("(see @be"), ["(see @Bertha "])
        self.assertEqual(self.talk.complete("／msg bo"), self.talk.complete("/msg bo"))

    def test_nothing_begun(self) -> None:
        """Where nothing is begun, or nobody is called so, nothing is offered."""
        for text in ("", "hello ", "zz", "/zz"):
            self.assertEqual(self.texts(text), [], text)

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

    def test_renamed_stranger(self) -> None:
        """Nobody is made of the new name of who is not in the list."""
        self.hear(Renamed(user="zoe", to="joe"))
        self.assertEqual(self.texts("j"), [])

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

    def test_hostile_rows(self) -> None:
        """So is what the server says of its commands and rooms."""
        row = CommandHelp("dan\x1b[2Jce", ["dig\x07"], "A\x1b[1m", "Dan\x9b2Jce.")
        self.hear(Help(commands=[row, row]), Rooms(rooms=[RoomSummary("x\x1b[2J", 1, "", False)]))
        offered = [*self.talk.complete("/d"), *self.talk.complete("/join x")]
        self.assertEqual(len(offered), 5)
        for text, _, help in offered:
            self.assertTrue((text + help).isprintable(), repr((text, help)))


class TroubleTests(Seat):
    """Errors and notices."""

    def test_harmless(self) -> None:
        """What is told in lines of our own has nothing in it that a terminal obeys."""
        self.said()
        self.talk.tell("-- You are not in \x9b2J\x9d0;tea\x9c\u202e any more.")
        self.assertEqual(self.said(), ["-- You are not in 2J0;tea any more."])

    def test_shown(self) -> None:
        """They are shown as they come."""
        self.said()
        self.hear(Error(code="x", text="No.", fatal=False), Notice(text="Note."))
        self.assertEqual(self.said(), ["!! No.", "-- Note."])
