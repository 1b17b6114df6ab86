"""Events as lines for people."""

from __future__ import annotations

import time

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pylingo import identity, looks
from pylingo.commands import rows
from pylingo.connection import Connected, Disconnected, Heard
from pylingo.protocol import (
    Closing,
    CommandHelp,
    Done,
    Error,
    Help,
    History,
    Joined,
    Left,
    Message,
    Notice,
    Ping,
    Pong,
    Private,
    Renamed,
    Rooms,
    RoomSummary,
    Sent,
    Topic,
    Users,
)
from tests.seat import resumed, welcome

COMMANDS = (identity,)
"""Modules that put their commands into the table by being here."""
NOW = 1_700_000_000.0
AT = int(NOW * 1000)
CLOCK = time.strftime("%H:%M", time.localtime(NOW))

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\x00\r\b\x7f\u202eevil\u2066"
"""What a terminal would obey."""
HARMFUL = {chr(c) for c in (*range(32), *range(0x7F, 0xA0))} | set(
    "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)


def shown(event: Heard, me: str = "ana") -> list[str]:
    """The lines of an event, without their styles."""
    return [looks.plain(line) for line in looks.lines(event, me, NOW)]


def styles(event: Heard, me: str = "ana") -> set[str]:
    """The styles that an event's lines have."""
    return {style for line in looks.lines(event, me, NOW) for style, _ in line}


def message(text: str = "hi", user: str = "bob", **more: bool) -> Message:
    return Message(id=1, at=AT, room="lobby", user=user, text=text, **more)


def private(user: str = "bob", to: str = "ana", text: str = "psst", **more: bool) -> Private:
    return Private(id=1, at=AT, user=user, to=to, text=text, **more)


class MessageTests(SynchronousTestCase):
    """What people say."""

    def test_of_another(self) -> None:
        """Time, name and text."""
        self.assertEqual(shown(message()), [f"{CLOCK} <bob> hi"])

    def test_own(self) -> None:
        """One's own lines are marked apart, without colour too."""
        self.assertEqual(shown(message(user="ana")), [f"{CLOCK} [ana] hi"])
        self.assertIn("class:me", styles(message(user="ana")))

    def test_action(self) -> None:
        """`/me` reads as a sentence."""
        self.assertEqual(shown(message("waves", action=True)), [f"{CLOCK} * bob waves"])

    def test_own_action(self) -> None:
        """One's own action is marked as one's own by its style."""
        action = message("waves", user="ana", action=True)
        self.assertEqual(shown(action), [f"{CLOCK} * ana waves"])
        self.assertIn("class:me", styles(action))

    def test_private(self) -> None:
        """A private message says who told whom."""
        self.assertEqual(shown(private()), [f"{CLOCK} [bob -> you] psst"])
        self.assertEqual(shown(private("ana", "bob")), [f"{CLOCK} [you -> bob] psst"])

    def test_mention(self) -> None:
        """A line that names the reader stands out, without colour too."""
        self.assertEqual(shown(message("hi Ana!")), [f"{CLOCK} » <bob> hi Ana!"])
        self.assertIn("class:mention", styles(message("hi Ana!")))

    def test_own_mention(self) -> None:
        """Who names oneself needs no telling."""
        self.assertEqual(shown(message("I, ana", user="ana")), [f"{CLOCK} [ana] I, ana"])

    def test_several_lines(self) -> None:
        """A message of several lines is indented, so no line of it can pass for another's."""
        first, second, third = shown(message("one\n12:00 <cid> two\n\tthree"))
        self.assertEqual(first, f"{CLOCK} <bob> one")
        self.assertTrue(second.startswith(" " * 7) and second.endswith("12:00 <cid> two"))
        self.assertTrue(third.endswith("    three"))

    def test_aligned(self) -> None:
        """The lines of a message stand below each other, unless the name is a long one."""
        for user in ("bob", "小明", "jose\u0301"):
            first, second = shown(message("one\n  two", user=user))
            column = len(first) - len("one")
            wide = 2 * (user == "小明") - (user == "jose\u0301")
            self.assertEqual(second, " " * (column + wide) + "  two")
        _, second = shown(message("one\ntwo", user="b" * 32))
        self.assertEqual(second, " " * 8 + "two")

    def test_very_many_lines(self) -> None:
        """Of a message with very many lines a person is shown some, and told how many more."""
        event = message("\n" * 8_000)
        self.assertEqual(len(shown(event)), 8_001)
        some = [looks.plain(line) for line in looks.lines(event, "ana", NOW, 10)]
        self.assertEqual(len(some), 11)
        self.assertIn("7991 lines more", some[-1])
        whole = [*looks.lines(message("a\nb"), "ana", NOW, 2)]
        self.assertEqual(len(whole), 2)

    def test_other_line_ends(self) -> None:
        """No other character begins a new line either."""
        for end in ("\r", "\x0b", "\x0c", "\x1c", "\x85"):
            self.assertEqual(shown(message(f"a{end}b")), [f"{CLOCK} <bob> ab"], repr(end))

    def test_another_day(self) -> None:
        """What is not from today has its date."""
        old = Message(id=1, at=AT - 3 * 86_400_000, room="lobby", user="bob", text="hi")
        (line,) = shown(old)
        date = time.strftime("%Y-%m-%d", time.localtime(NOW - 3 * 86_400))
        self.assertTrue(line.startswith(date), line)

    def test_today(self) -> None:
        """The day it is has its name, and the year."""
        self.assertRegex(looks.today(), r"^\w+, \d\d \w+ \d{4}$")

    def test_replayed(self) -> None:
        """What is from the past has a style of its own, and reads the same."""
        self.assertEqual(shown(message(replayed=True)), shown(message()))
        self.assertIn("class:replayed", styles(message(replayed=True)))

    def test_wide_characters(self) -> None:
        """What people write in any script is left alone."""
        text = "日本語 é e\u0301 שלום مرحبا 👋🏽"
        self.assertEqual(shown(message(text)), [f"{CLOCK} <bob> {text}"])


class EventTests(SynchronousTestCase):
    """What else happens."""

    def test_welcome(self) -> None:
        """The greeting says what one is called, then the message of the day."""
        self.assertEqual(
            shown(welcome(motd="Be kind.\nHave fun.")),
            ["-- Welcome. You are guest-1 here.", "-- Be kind.", "-- Have fun."],
        )

    def test_no_message_of_the_day(self) -> None:
        """Where there is none, there is no line for it."""
        self.assertEqual(shown(welcome()), ["-- Welcome. You are guest-1 here."])

    def test_joined(self) -> None:
        """Others come with an arrow."""
        self.assertEqual(shown(Joined(room="lobby", user="bob")), ["--> bob joined lobby"])

    def test_own_arrival(self) -> None:
        """One's own arrival says who is there, and the topic."""
        event = Joined(room="lobby", user="ana", users=["bob", "ana"], count=2, topic="tea", re=1)
        self.assertEqual(shown(event), ["--> You joined lobby: bob, ana", "-- Topic: tea"])

    def test_alone(self) -> None:
        """Where one is alone it says so: perhaps the name was a typing error."""
        event = Joined(room="lobyb", user="ana", users=["ana"], count=1, topic="", re=1)
        self.assertEqual(shown(event), ["--> You joined lobyb: nobody else is here"])

    def test_crowded_room(self) -> None:
        """Where not all names came, it says how many more there are."""
        event = Joined(room="lobby", user="ana", users=["bob", "ana"], count=120, topic="", re=1)
        self.assertEqual(shown(event), ["--> You joined lobby: bob, ana and 118 more"])

    def test_left(self) -> None:
        """Others go with an arrow, and the reason they gave."""
        self.assertEqual(shown(Left(room="lobby", user="bob", reason="left")),
                         ["<-- bob left lobby"])  # fmt: skip
        self.assertEqual(shown(Left(room="lobby", user="bob", reason="tea")),
                         ["<-- bob left lobby (tea)"])  # fmt: skip

    def test_own_leaving(self) -> None:
        """One's own leaving says "you"."""
        self.assertEqual(
            shown(Left(room="lobby", user="ana", reason="left", re=1)), ["<-- You left lobby"]
        )

    def test_put_out(self) -> None:
        """So does being put out of a room, which is no reply."""
        (line,) = shown(Left(room="lobby", user="ana", reason="kicked by bob"))
        self.assertEqual(line, "<-- You left lobby (kicked by bob)")

    def test_renamed(self) -> None:
        """A change of name gives both; one's own the new one."""
        self.assertEqual(shown(Renamed(user="bob", to="rob")), ["-- bob is now rob"])
        self.assertEqual(shown(Renamed(user="ana", to="anna", re=1)), ["-- You are now anna."])

    def test_resumed(self) -> None:
        """A resumed session says where one is back, and as whom."""
        event = resumed(topic="tea", re=1)
        self.assertEqual(
            shown(event),
            ["--> You are back in lobby: nobody else is here", "-- Topic: tea", "-- You are ana."],
        )

    def test_resumed_nowhere(self) -> None:
        """Who was in no room is told just the name."""
        event = resumed(room=None, re=1)
        self.assertEqual(shown(event), ["-- You are ana."])

    def test_rooms(self) -> None:
        """A room is listed with its number of users, whether it is locked, and its topic."""
        event = Rooms(
            rooms=[RoomSummary("lobby", 1, "", False), RoomSummary("attic", 2, "old", True)]
        )
        self.assertEqual(shown(event), ["-- lobby (1 user)", "-- attic (2 users, locked)  old"])

    def test_no_rooms(self) -> None:
        """An empty list says so."""
        self.assertEqual(shown(Rooms(rooms=[])), ["-- There are no rooms yet."])

    def test_users(self) -> None:
        """The users of a room are counted and named."""
        self.assertEqual(shown(Users(room="lobby", users=["ana", "bob"])),
                         ["-- In lobby (2): ana, bob"])  # fmt: skip
        self.assertEqual(shown(Users(room="lobby", users=["ana", "bob"], operators=["bob"])),
                         ["-- In lobby (2): ana, bob", "-- Operators here: bob"])  # fmt: skip

    def test_help(self) -> None:
        """Help has a column of commands and one of explanations."""
        event = Help(
            commands=[
                CommandHelp("say", [], "TEXT", "Say it."),
                CommandHelp("list", ["rooms"], "", "List the rooms."),
            ]
        )
        self.assertEqual(
            shown(event),
            ["   /say TEXT  Say it.", "   /list      List the rooms. (also /rooms)"],
        )

    def test_no_help(self) -> None:
        """A server that has no commands to tell of does no harm."""
        self.assertEqual(shown(Help(commands=[])), [])

    def test_help_for_people(self) -> None:
        """The whole help fits a terminal, and leaves out what clients do by themselves."""
        help = shown(Help(commands=rows()))
        self.assertLess(max(map(len, help)), 80)
        for word in ("hello", "resume", "pong"):
            self.assertNotIn(f"/{word} ", "\n".join(help))
            (row,) = (row for row in rows() if row.name == word)
            self.assertEqual(len(shown(Help(commands=[row]))), 1)

    def test_stamped(self) -> None:
        """What has no time of its own can be shown with the time it is."""
        lines = looks.stamped([[("a", "one")], [("b", "two")]], AT / 1000)
        self.assertEqual([looks.plain(line) for line in lines], [f"{CLOCK} one", "two"])

    def test_history(self) -> None:
        """History is a heading, the messages, and how to see those before."""
        event = History(room="lobby", messages=[message("one"), message("two")], older=True)
        whole = ["-- 2 messages in lobby:", f"{CLOCK} <bob> one", f"{CLOCK} <bob> two"]
        before = f"-- Before that: /history 2 {event.messages[0].id}"
        self.assertEqual(shown(event), [*whole, before])
        self.assertEqual(shown(History(room="lobby", messages=event.messages)), whole)
        for older in (False, True):
            empty = History(room="lobby", messages=[], older=older)
            self.assertEqual(shown(empty), ["-- Nothing was said in lobby."])

    def test_history_without_some(self) -> None:
        """Messages that one ignores are left out, and the way to those before is the same."""
        messages = [message("one", user="eve"), message("two")]
        event = History(room="lobby", messages=messages, older=True)
        lines = looks.lines(event, "ana", NOW, ignores=lambda message: message.user == "eve")
        told = [looks.plain(line) for line in lines]
        self.assertEqual(told[0], "-- 2 messages in lobby (1 hidden):")
        self.assertEqual(told[1:], [f"{CLOCK} <bob> two", shown(event)[-1]])

    def test_topic(self) -> None:
        """A topic says who set it, and is "none" when there is none."""
        self.assertEqual(shown(Topic(room="lobby", topic="tea", user="bob")),
                         ["-- Topic of lobby: tea (set by bob)"])  # fmt: skip
        self.assertEqual(shown(Topic(room="lobby", topic="", user="")), ["-- Topic of lobby: none"])

    def test_notices(self) -> None:
        """What the server tells people is marked as such, each line of it."""
        self.assertEqual(shown(Notice(text="one\ntwo")), ["-- one", "-- two"])
        self.assertEqual(shown(Done(text="Done so.")), ["-- Done so."])

    def test_error(self) -> None:
        """An error has a mark of its own."""
        self.assertEqual(shown(Error(code="x", text="No.", fatal=False)), ["!! No."])

    def test_closing(self) -> None:
        """The server's last words are shown."""
        self.assertEqual(shown(Closing(reason="bye", text="Bye.")), ["-- Bye."])
        self.assertEqual(styles(Closing(reason="kicked", text="Out.")), {"class:error"})

    def test_link(self) -> None:
        """Losing the link is said, and whether it is tried again; so is having it back."""
        self.assertEqual(
            shown(Disconnected("The link broke.", False)),
            ["!! Not connected: The link broke. Trying again…"],
        )
        self.assertEqual(
            shown(Disconnected("It is over.", True)), ["!! Not connected: It is over."]
        )
        self.assertEqual(shown(Connected(True)), ["-- Connected again."])

    def test_nothing_to_tell(self) -> None:
        """Signs of life, acknowledgements and the first connection are no news."""
        for event in (Ping(), Pong(body=""), Sent(id=1, at=1), Connected(False)):
            self.assertEqual(shown(event), [])

    def test_asked(self) -> None:
        """To who asked for a sign of life, it is told."""
        event = Pong(body="hey", re=7)
        self.assertEqual(shown(event), ["-- The server is there. hey"])

    def test_looks(self) -> None:
        """What has a look of its own has that, and nothing else has it."""
        for event, wanted in (
            (message(), ""),
            (message(replayed=True), "class:replayed"),
            (message("ana, hi"), "class:mention"),
            (private(), "class:private"),
            (Notice(text="hi"), "class:notice"),
            (Error(code="oops", text="hi", fatal=False), "class:error"),
            (Done(text="hi"), "class:info"),
            (Disconnected("hi", final=True), "class:error"),
            (Left(room="lobby", user="bob", reason="left"), "class:go"),
            (Joined(room="lobby", user="bob"), "class:come"),
        ):
            (line,) = looks.lines(event, "ana", NOW)
            self.assertEqual(line[-1][0], wanted, event)

    def test_told_apart_without_colour(self) -> None:
        """No kind of line can be taken for another when there are no colours."""
        starts = [
            shown(event)[0].removeprefix(CLOCK)[:3]
            for event in (
                message(),
                message(user="ana"),
                message(action=True),
                message("ana!"),
                Notice(text="hi"),
                Error(code="x", text="hi", fatal=False),
                Joined(room="lobby", user="bob"),
                Left(room="lobby", user="bob", reason="left"),
            )
        ]
        self.assertEqual(len(set(starts)), len(starts), starts)


class HostileServerTests(SynchronousTestCase):
    """Whatever a server sends, nothing that a terminal obeys is printed."""

    def harmless(self, event: Heard) -> None:
        for line in shown(event, me="me" + HOSTILE):
            self.assertEqual(HARMFUL & set(line), set(), repr(line))

    def test_every_field(self) -> None:
        """Control characters are removed from every field of every event."""
        bad = HOSTILE
        for event in (
            message(bad, user=bad),
            message(bad, user=bad, action=True),
            private(bad, bad, bad),
            welcome(user=bad, motd=bad),
            Joined(room=bad, user=bad),
            Joined(room=bad, user=bad, users=[bad], count=3, topic=bad, re=1),
            resumed(bad, bad, count=3, topic=bad, session=bad, re=1),
            Left(room=bad, user=bad, reason=bad),
            Renamed(user=bad, to=bad),
            Renamed(user=bad, to=bad, re=1),
            Rooms(rooms=[RoomSummary(bad, 1, bad, True)]),
            Users(room=bad, users=[bad]),
            Help(commands=[CommandHelp(bad, [bad], bad, bad)]),
            History(room=bad, messages=[message(bad, user=bad)]),
            Topic(room=bad, topic=bad, user=bad),
            Done(text=bad),
            Pong(body=bad, re=1),
            Notice(text=bad),
            Error(code=bad, text=bad, fatal=False),
            Closing(reason=bad, text=bad),
            Disconnected(bad, False),
        ):
            self.harmless(event)

    def test_names_stay_on_a_line(self) -> None:
        """A name with line breaks cannot make up a line of somebody else's."""
        fake = "bob\n12:00 <cid> I am cid"
        for event in (
            message(user=fake),
            private(user=fake),
            Joined(room=fake, user=fake),
            Left(room=fake, user=fake, reason=fake),
            Renamed(user=fake, to=fake),
            Users(room=fake, users=[fake]),
            Rooms(rooms=[RoomSummary(fake, 1, fake, False)]),
            Topic(room=fake, topic=fake, user=fake),
        ):
            self.assertEqual(len(shown(event)), 1, event)

    def test_absurd_times(self) -> None:
        """A time that no clock shows is no reason to fall over."""
        for at in (-1, 0, 2**53, -(2**53), 2**63 - 1, 10**30, 10**400):
            event = Message(id=1, at=at, room="lobby", user="bob", text="hi")
            (line,) = shown(event)
            self.assertTrue(line.endswith("<bob> hi"), line)
        self.assertEqual(line, "--:-- <bob> hi")

    def test_absurd_usage(self) -> None:
        """What a long usage would indent is what would fill the memory."""
        rows = [CommandHelp("x", [], "y" * 1_000, "z"), CommandHelp("short", [], "", "help")]
        self.assertEqual(len(shown(Help(commands=rows))[1]), len("   ") + 40 + len("  help"))

    @settings(deadline=None, max_examples=150, print_blob=True, database=None)
    @given(st.text(), st.text())
    def test_any_text(self, text: str, name: str) -> None:
        """No text and no name at all brings a control character out."""
        self.harmless(message(text, user=name))
        self.harmless(Notice(text=text))


class MentionTests(SynchronousTestCase):
    """Whether somebody is named in a text."""

    def test_as_a_word(self) -> None:
        """A name counts as a word of its own, in any case, with any punctuation around it."""
        for text in ("ana", "Hi ANA", "ana: hi", "@ana", "(ana)", "banana or ana?"):
            self.assertTrue(looks.mentions(text, "Ana"), text)

    def test_within_a_word(self) -> None:
        """Within another word, or another name, it does not."""
        for text in ("banana", "anagram", "ana-maria", "ana_2", ""):
            self.assertFalse(looks.mentions(text, "ana"), text)

    def test_accents(self) -> None:
        """It does not matter whether accents are letters of their own."""
        for name in ("jos\u00e9", "jose\u0301"):
            for text in ("jos\u00e9: hi", "jose\u0301: hi"):
                self.assertTrue(looks.mentions(text, name), (text, name))
        self.assertFalse(looks.mentions("jose\u0301: hi", "jose"))
        self.assertFalse(looks.mentions("अनिता", "अनित"))
        self.assertFalse(looks.mentions("x\u0301ana", "ana"))
        self.assertTrue(looks.mentions("❤\ufe0f hi", "❤"))
        self.assertTrue(looks.mentions("❤\ufe0fana", "ana"))

    def test_width(self) -> None:
        """Nor does it how wide the letters are, and some scripts have no spaces between words."""
        for text, name in (("ＡＮＡ: hi", "ana"), ("ana: hi", "Ａｎａ")):
            self.assertTrue(looks.mentions(text, name), (text, name))
        for text in ("anaｻﾝ", "ana々"):
            self.assertTrue(looks.mentions(text, "ana"), text)

    def test_without_spaces(self) -> None:
        """Scripts without spaces between words have them nowhere around a name either."""
        for text, name in (
            ("花子さん、こんにちは", "花子"), ("小明2你来", "小明"), ("지훈아", "지훈"),
            ("你好jan你", "jan"), ("ที่ana", "ana"), ("ที่สมชาย", "สมชาย"),
        ):  # fmt: skip
            self.assertTrue(looks.mentions(text, name), text)

    def test_of_nobody(self) -> None:
        """Who has no name yet cannot be named."""
        self.assertFalse(looks.mentions("anything", ""))


class ColourTests(SynchronousTestCase):
    """The colours of names."""

    def test_steady(self) -> None:
        """A name has the same colour whenever it is seen, and in any case."""
        self.assertEqual(looks.colour("ana"), looks.colour("Ana"))
        self.assertEqual(looks.colour("ana"), "class:name3")

    def test_spread(self) -> None:
        """Names use all the colours there are."""
        seen = {looks.colour(f"user{n}") for n in range(300)}
        self.assertEqual(len(seen), looks.COLOURS)
