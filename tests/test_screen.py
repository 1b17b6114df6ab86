"""The screen, in memory: keys in, and what a terminal emulator makes of the bytes that come out."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine
from functools import partial, wraps
from string import ascii_uppercase
from typing import Any
from unicodedata import category

import pyte
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.input.ansi_escape_sequences import ANSI_SEQUENCES
from prompt_toolkit.renderer import Renderer
from twisted.trial.unittest import SynchronousTestCase

from pylingo import screen
from pylingo.screen import Screen
from tests.journey import Glass

BOUND = 10.0
"""Seconds that anything may take."""

ALT_ENTER = "\x1b\r"
UP, LEFT = "\x1b[A", "\x1b[D"
CTRL_C, CTRL_D, CTRL_L, CTRL_R = "\x03", "\x04", "\x0c", "\x12"
CTRL_N, CTRL_P = "\x0e", "\x10"


def pasted(text: str) -> str:
    """`text`, as a terminal hands on what was pasted."""
    return f"\x1b[200~{text}\x1b[201~"


class Desk:
    """Who the screen is for, as a test wants it."""

    def __init__(self) -> None:
        self.prompt = "[lobby] ana> "
        self.bar = "example.org | lobby: 2 people"
        self.urgent = False
        self.hidden = False
        self.kept = True
        self.lines: list[str] = []
        self.begun: list[str] = []
        self.left = 0
        self.drawings = 0
        self.looks: list[int] = []
        """Of how many drawings an answer is waited for."""
        self.sights = 0
        self.over = False
        self.pending: list[str] = []
        self.completions: list[tuple[str, int, str]] = []
        self.cancelled: Callable[[], None] = lambda: None

    def waiting(self) -> list[str]:
        return self.pending

    def complete(self, text: str) -> list[tuple[str, int, str]]:  # noqa: ARG002
        return self.completions

    def keeps(self, text: str) -> bool:
        return self.kept and bool(text.strip()) and not self.hidden

    def typing(self, text: str) -> None:
        self.begun.append(text)

    def typed(self, text: str) -> None:
        self.lines.append(text)

    def drawn(self) -> None:
        self.drawings += 1

    def asked(self, now: float) -> None:  # noqa: ARG002
        self.looks.append(self.drawings)

    def seen(self) -> None:
        if self.looks:
            self.sights = self.looks.pop(0)

    def leave(self) -> None:
        self.left += 1

    def lost(self) -> None:
        self.over = True

    def cancel(self) -> bool:
        hidden, self.hidden = self.hidden, False
        self.cancelled()
        return hidden


class Carrier:
    """A transport to a terminal that is on a `Glass`."""

    def __init__(self, glass: Glass) -> None:
        self.glass = glass
        self.raw = b""

    def write(self, data: bytes) -> None:
        self.raw += data
        self.glass.feed(data)


class ScreenTests(SynchronousTestCase):
    """Somebody at a terminal."""

    def setUp(self) -> None:
        self.desk = Desk()
        self.glass = Glass(60, 16)
        self.carrier = Carrier(self.glass)
        self.now = 0.0

    def at(self, scene: Callable[[], Coroutine[Any, Any, None]], **wishes: Any) -> None:
        """Play `scene` at a screen, and put that away afterwards."""

        async def play() -> None:
            self.screen = Screen(
                self.desk,
                lambda: (self.glass.columns, self.glass.lines),
                lambda: self.now,
                **wishes,
            )
            self.glass.answer = self.screen.dataReceived
            self.screen.makeConnection(self.carrier)
            await self.until(lambda: self.glass.shows("example.org"))
            try:
                await scene()
            finally:
                closed = self.screen.close()
                await self.until(lambda: closed.called)

        asyncio.run(asyncio.wait_for(play(), BOUND))

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until the screen is as it should be."""
        clock = asyncio.get_running_loop().time
        end = clock() + BOUND / 2
        while not condition():
            if clock() > end:
                self.fail("it did not happen:\n" + "\n".join(self.glass.rows))
            await asyncio.sleep(0.005)

    async def type(self, keys: str) -> None:
        """Press keys."""
        self.screen.dataReceived(keys.encode())
        await asyncio.sleep(0)

    async def press(self, key: str, condition: Callable[[], object]) -> None:
        """Press a key again and again, until the screen is as it should be.

        Earlier lines are read in the background; until they are there the key does nothing.
        """
        for _ in range(50):
            await self.type(key)
            for _ in range(10):
                if condition():
                    return
                await asyncio.sleep(0.005)
        self.fail("it did not happen:\n" + "\n".join(self.glass.rows))

    def have_other_widths(self) -> None:
        """Let the terminal count marks that stand beside a letter as a column of their own."""
        width = pyte.screens.wcwidth

        def other(character: str) -> int:
            return 1 if category(character) == "Mc" else int(width(character))

        self.patch(pyte.screens, "wcwidth", other)

    @property
    def raw(self) -> bytes:
        """All that was written to the terminal, with lines that end as those of a file do."""
        return self.carrier.raw.replace(b"\r\n", b"\n")

    def drawn(self, data: bytes) -> bool:
        """Whether that was written to the terminal."""
        return data in self.raw

    async def say(self, *lines: str) -> None:
        """Have lines shown, and see them."""
        self.screen.show([[("", line)] for line in lines])
        await self.until(lambda: self.glass.shows(lines[-1]) and not self.screen_is_busy())

    def screen_is_busy(self) -> bool:
        """Whether the prompt is away, for lines to be printed."""
        return not self.glass.shows("example.org")

    async def typed(self, *lines: str) -> None:
        """See that `lines` were handed to the desk."""
        await self.until(lambda: len(self.desk.lines) >= len(lines))
        self.assertEqual(self.desk.lines, list(lines))

    async def hide(self) -> None:
        """Ask for something hidden."""
        self.desk.hidden, self.desk.prompt = True, "Password: "
        self.screen.refresh()
        await self.before("Password: ")

    def unhide(self) -> None:
        """Ask no more."""
        self.desk.hidden, self.desk.prompt = False, "[lobby] ana> "
        self.screen.refresh()

    async def before(self, text: str) -> None:
        """See that the cursor stands right behind `text`."""
        await self.until(lambda: self.glass.before == text)


def played(scene: Callable[[Any], Coroutine[Any, Any, None]]) -> Callable[[ScreenTests], None]:
    """A test that is nothing but a scene."""

    @wraps(scene)
    def test(self: ScreenTests) -> None:
        self.at(partial(scene, self))

    return test


class TypingTests(ScreenTests):
    """Keys."""

    @played
    async def test_prompt_and_bar(self) -> None:
        """The prompt is followed by the cursor, and the bar stands at the bottom."""
        await self.before("[lobby] ana> ")
        self.assertIn("lobby: 2 people", self.glass.rows[-1])

    @played
    async def test_enter(self) -> None:
        """Enter hands on the line and takes it away."""
        await self.type("hello")
        await self.before("[lobby] ana> hello")
        await self.type("\r")
        await self.typed("hello")
        await self.before("[lobby] ana> ")
        self.assertFalse(self.glass.shows("hello"))

    @played
    async def test_alt_enter(self) -> None:
        """Alt-Enter makes a new line; Enter sends them all."""
        await self.type("one" + ALT_ENTER + "two")
        await self.until(lambda: self.glass.order("one", "two"))
        await self.type("\r")
        await self.typed("one\ntwo")

    @played
    async def test_new_line_below_what_is_indented(self) -> None:
        """It begins where it was begun: the same is sent, whether it is typed or pasted."""
        await self.type("  one" + ALT_ENTER + "two\r")
        await self.typed("  one\ntwo")

    @played
    async def test_escape_and_enter(self) -> None:
        """Where no menu is shown, Escape and then Enter begin a line, however slowly."""
        self.patch(screen, "HALF", 0.0)
        app = self.screen._session.app
        app.ttimeoutlen, app.timeoutlen = 0.0, BOUND
        await self.type("one\x1b")
        await self.until(lambda: app.key_processor.key_buffer)
        await self.type("\rtwo\r")
        await self.typed("one\ntwo")

    @played
    async def test_escape_and_a_command(self) -> None:
        """Escape takes no character of the line that is typed after it, and nowhere a slash."""
        self.patch(screen, "HALF", 0.0)
        for line in ("/login ana sesame", "lunch?", "3 of us"):
            await self.type("\x1b")
            await self.until(lambda: not self.screen._keyboard.half)
            await self.type(line + "\r")
        await self.type("\x1b/me waves\rand\x1b/or\r")
        await self.typed("/login ana sesame", "lunch?", "3 of us", "/me waves", "and/or")

    @played
    async def test_escape_and_an_arrow(self) -> None:
        """A key of which the first half was taken for Escape, so late is the rest, is whole."""
        self.patch(screen, "HALF", 0.0)
        self.screen._session.app.ttimeoutlen = BOUND
        await self.type("one\r\x1b")
        await self.until(lambda: not self.screen._keyboard.half)
        await self.type("[A")
        await self.before("[lobby] ana> one")

    @played
    async def test_escape_and_a_menu(self) -> None:
        """Escape takes away a menu of all that there is."""
        self.desk.completions = [("attic", 0, ""), ("lobby", 0, "")]
        await self.type("\t")
        await self.until(lambda: self.glass.shows("attic"))
        await self.type("\x1b")
        await self.until(lambda: not self.glass.shows("attic"))

    @played
    async def test_paste(self) -> None:
        """A pasted block of several lines is one message, sent with Enter."""
        await self.type("look: " + pasted("one\r\ntwo\r\nthree"))
        await self.until(lambda: self.glass.order("look: one", "two", "three"))
        self.assertEqual(self.desk.lines, [])
        await self.type("\r")
        await self.typed("look: one\ntwo\nthree")

    @played
    async def test_pasted_line(self) -> None:
        """A pasted block that ends with a line end waits for Enter too."""
        await self.type(pasted("one\n"))
        await self.until(lambda: self.glass.shows("one"))
        self.assertEqual(self.desk.lines, [])

    @played
    async def test_wide_characters(self) -> None:
        """The cursor stands where it should behind wide and combining characters and emoji."""
        for text in ("日本語", "e\u0301a", "👋"):
            await self.type(text + LEFT)
            await self.until(partial(self.glass.shows, text[-1]))
            await self.type("X\r")
        await self.typed("日本X語", "e\u0301Xa", "X👋")

    @played
    async def test_wide_columns(self) -> None:
        """A wide character takes two columns."""
        await self.type("日本")
        await self.until(lambda: self.glass.cursor.x == len("[lobby] ana> ") + 4)

    @played
    async def test_pictures(self) -> None:
        """What terminals join to one picture is typed in pieces, and handed on as it is."""
        text = "👩\u200d👧 🇩🇪 👍🏽 ☎\ufe0f"
        await self.type(text)
        await self.until(lambda: self.glass.shows("DE"))
        await self.until(lambda: self.glass.shows("☎"))
        width = 2 + 1 + 2 + 1 + 2 + 1 + 2 + 2 + 1 + 1
        self.assertEqual(self.glass.cursor.x, len("[lobby] ana> ") + width)
        self.assertNotIn("\ufe0f".encode(), self.raw)
        await self.type("\r")
        await self.typed(text)

    def test_wide_to_the_end(self) -> None:
        """All of a long line is seen, where wide characters leave a column free in each row."""
        self.glass = self.carrier.glass = Glass(61, 16)

        async def scene() -> None:
            await self.say(*(f"line {number}" for number in range(20)))
            for count in (112, 113, 141, 142):
                await self.type("漢" * (count - 1) + "終")
                await self.until(lambda: self.glass.before.endswith("終"))
                await self.type("\r")
                await self.until(lambda: not self.glass.shows("漢"))

        self.at(scene)

    def test_prompt_to_the_end(self) -> None:
        """So is it where the prompt fills the first row, to its last column."""
        self.glass = self.carrier.glass = Glass(len(self.desk.prompt), 16)

        async def scene() -> None:
            await self.say(*(f"line {number}" for number in range(20)))
            for letter in ascii_uppercase:
                await self.type(letter)
                await self.until(partial(self.glass.shows, letter))

        self.desk.bar = "example.org"
        self.at(scene)

    @played
    async def test_long_line(self) -> None:
        """A long line wraps, and is one line."""
        text = "word " * 30
        await self.type(text)
        await self.until(lambda: sum("word" in row for row in self.glass.rows) >= 3)
        await self.type("\r")
        await self.typed(text)

    def test_history(self) -> None:
        """The arrow up brings earlier lines back."""

        async def scene() -> None:
            await self.type("one\rtwo\r")
            await self.typed("one", "two")
            await self.press(UP, lambda: self.glass.before == "[lobby] ana> one")

        self.at(scene, history=InMemoryHistory())

    def test_history_at_once(self) -> None:
        """That is so, too, where many keys come at once, as over a slow line."""

        async def scene() -> None:
            # Each time, the keys are there before anything is drawn.
            await self.type("make tae\r" + UP + "\x7f\x7fea\r")
            await self.typed("make tae", "make tea")
            await self.type(f"draft{CTRL_C}{CTRL_P}!\r")
            await self.typed("make tae", "make tea", "make tea!")
            await self.type("two\rthree\r\x1b<\r")
            await self.until(lambda: self.desk.lines[-3:] == ["two", "three", "make tae"])
            await self.type("other\r" + CTRL_R + "tea!\r\r")
            await self.until(lambda: self.desk.lines[-1] == "make tea!")
            # Or very many.
            lines = "".join(f"{number}\r{UP}!\r" for number in range(400))
            await self.type(lines)
            await self.until(lambda: self.desk.lines[-1] == "399!")
            wanted = [f"{number}{sign}" for number in range(400) for sign in ("", "!")]
            self.assertEqual(self.desk.lines[-800:], wanted)
            # Or behind a secret.
            self.desk.cancelled = self.unhide
            await self.hide()
            await self.type(f"secret{CTRL_C}{UP}{UP}\r")
            await self.until(lambda: self.desk.lines[-1] == "399")
            # Or right after.
            self.screen.dataReceived(b"last\r")
            await self.until(lambda: self.desk.lines[-1] == "last")
            await self.type(UP + "!\r")
            await self.until(lambda: self.desk.lines[-1] == "last!")

        self.at(scene, history=InMemoryHistory())

    def test_history_by_lines(self) -> None:
        """Ctrl-P and Ctrl-N go from one to the other, however many rows each has."""

        async def scene() -> None:
            await self.type("before\r" + pasted("1\r2\r3") + "\r")
            await self.typed("before", "1\n2\n3")
            await self.press(CTRL_P + CTRL_P, lambda: self.glass.before == "[lobby] ana> before")
            await self.press(CTRL_N, lambda: self.glass.shows("  3"))

        self.at(scene, history=InMemoryHistory())

    @played
    async def test_history_by_count(self) -> None:
        """Ctrl-P and Ctrl-N go by as many lines as were asked for."""
        await self.type("one\rtwo\rthree\rfour\x1b3\x10!")
        await self.before("[lobby] ana> one!")
        await self.type("\x1b2\x0e!\r")
        await self.typed("one", "two", "three", "three!")

    def test_no_copies_of_the_prompt(self) -> None:
        """Nothing is erased from the first corner of the screen on, of which tmux keeps a copy."""

        async def scene() -> None:
            await self.type("draft")
            self.screen.show([[("", "a message")]])
            await self.until(lambda: self.glass.shows("a message"))
            await self.before("[lobby] ana> draft")

        self.at(scene)
        erased = re.findall(rb"(.{3})\x1b\[0?J", self.carrier.raw, re.DOTALL)
        self.assertEqual(set(erased), {b"\x1b[C"})

    def test_search(self) -> None:
        """Ctrl-R searches in them."""

        async def scene() -> None:
            await self.type("find me\rsomething else\r" + CTRL_R + "fin")
            await self.press(CTRL_R, lambda: self.glass.shows("> find me"))
            await self.type("\r\r")
            await self.typed("find me", "something else", "find me")

        self.at(scene, history=InMemoryHistory())

    @played
    async def test_search_ends(self) -> None:
        """Escape ends a search with what was found; in what is looked for no line begins."""
        await self.type("one\rtwo\r" + CTRL_R + "on")
        await self.until(lambda: self.glass.shows("> one"))
        await self.type("\x1b")
        await self.until(lambda: not self.glass.shows("backward"))
        await self.type("\x05!\r")
        await self.typed("one", "two", "one!")
        await self.type(CTRL_R + "tw")
        await self.until(lambda: self.glass.shows("> two"))
        await self.type(ALT_ENTER)
        await self.typed("one", "two", "one!", "two")

    def test_hidden(self) -> None:
        """A password is neither shown nor kept."""
        history = InMemoryHistory()

        async def scene() -> None:
            await self.hide()
            await self.type("sesame")
            await self.before("Password: ******")
            await self.type("\r")
            await self.typed("sesame")

        self.at(scene, history=history)
        self.assertEqual(history.get_strings(), [])
        self.assertNotIn(b"sesame", self.carrier.raw)

    def test_other_ways_to_enter(self) -> None:
        """The shell's other keys for Enter are the same or nothing; the prompt stays."""
        history = InMemoryHistory()

        async def scene() -> None:
            await self.type("one\x0f")
            await self.typed("one")
            await self.type("two\x1b#")
            await self.before("[lobby] ana> two")
            await self.type("\r")
            await self.typed("one", "two")
            await self.hide()
            await self.type("sesame\x0f")
            await self.typed("one", "two", "sesame")
            await self.before("Password: ")

        self.at(scene, history=history)
        self.assertEqual(list(history.get_strings()), ["one", "two"])

    def test_very_long_paste(self) -> None:
        """However much is pasted, it is all there, and the keys go on to work."""
        text = "x" * 300_000

        async def scene() -> None:
            await self.type(pasted(text))
            await self.type("\r")
            await self.typed(text)
            await self.type("hi\r")
            await self.typed(text, "hi")

        self.at(scene)

    def test_cut_secret(self) -> None:
        """What was cut out of a password cannot be put into a line, and no search shows it."""

        async def scene() -> None:
            await self.hide()
            await self.type(CTRL_R + "sesame")
            await self.before("Password: ******")
            await self.type("\x15" + CTRL_C)
            await self.until(lambda: not self.desk.hidden)
            self.desk.prompt = "[lobby] ana> "
            self.screen.refresh()
            await self.before("[lobby] ana> ")
            await self.type("\x19hi\r")
            await self.typed("hi")

        self.at(scene)
        self.assertNotIn(b"sesame", self.carrier.raw)

    @played
    async def test_hidden_in_between(self) -> None:
        """A line that was begun is no beginning of a password, and is there again afterwards."""
        await self.type("half a li" + LEFT)
        await self.before("[lobby] ana> half a l")
        await self.hide()
        await self.type("sesame\r")
        await self.typed("sesame")
        self.unhide()
        await self.before("[lobby] ana> half a l")
        await self.hide()
        # The desk draws anew when a question is taken back.
        self.desk.cancelled = self.screen.refresh
        await self.type("sesa" + CTRL_C)
        await self.before("Password: half a l")
        await self.type("\x05ne\r")
        await self.typed("sesame", "half a line")

    @played
    async def test_stop_and_go_on(self) -> None:
        """The keys that elsewhere stop and start a terminal's output do nothing to the line."""
        await self.type("hel\x13lo\x11\r")
        await self.typed("hello")
        await self.hide()
        await self.type("ses\x13ame\x11\r")
        await self.typed("hello", "sesame")

    @played
    async def test_search_forward(self) -> None:
        """While one searches, Ctrl-S goes to the later lines."""
        await self.type("one tea\rtwo teas\r")
        await self.typed("one tea", "two teas")
        await self.type(CTRL_R + "tea" + CTRL_R + "\x13\r\r")
        await self.typed("one tea", "two teas", "two teas")

    @played
    async def test_earlier_lines_while_hidden(self) -> None:
        """No key puts an earlier line into a password; one that was looked at can be again."""
        await self.type("see you\rat nine\r")
        await self.typed("see you", "at nine")
        await self.type("half")
        await self.press(UP, lambda: self.glass.before == "[lobby] ana> at nine")
        await self.hide()
        await self.type("s" + UP + "e" + CTRL_P + "s\x1b.a\x1b_m\x1b<\x1b\x19" + CTRL_R)
        await self.type("\x13e\r")
        await self.typed("see you", "at nine", "sesame")
        self.unhide()
        await self.before("[lobby] ana> half")
        await self.press(UP, lambda: self.glass.before == "[lobby] ana> at nine")
        await self.type(" sharp")
        await self.before("[lobby] ana> at nine sharp")
        await self.hide()
        self.unhide()
        await self.before("[lobby] ana> at nine sharp")

    @played
    async def test_hidden_and_drawn_anew(self) -> None:
        """What comes meanwhile takes nothing of a password away, and shows nothing of it."""
        await self.type("half a line")
        await self.before("[lobby] ana> half a line")
        await self.hide()
        await self.type("ses")
        await self.before("Password: ***")
        self.screen.refresh()
        await self.type("ame\r")
        await self.typed("sesame")
        self.unhide()
        await self.before("[lobby] ana> half a line")

    def test_undone(self) -> None:
        """A question that is taken back leaves nothing to be undone in the line of before."""

        async def scene() -> None:
            await self.type("half")
            await self.before("[lobby] ana> half")
            await self.hide()
            await self.type("sesame")
            await self.before("Password: ******")
            self.unhide()
            await self.before("[lobby] ana> half")
            await self.type("\x1f\x1f!")
            await self.until(lambda: self.glass.before.endswith("!"))

        self.at(scene)
        self.assertNotIn(b"sesam", self.carrier.raw)

    def test_hidden_in_a_search(self) -> None:
        """A search that is open when something hidden is asked does not show the answer."""

        async def scene() -> None:
            await self.type(CTRL_R + "x")
            await self.until(lambda: self.glass.shows("I-search"))
            self.desk.hidden, self.desk.prompt = True, "Password: "
            self.screen.refresh()
            await self.type("sesame\r")
            await self.typed("sesame")

        self.at(scene)
        self.assertNotIn(b"sesame", self.carrier.raw)

    @played
    async def test_other_encoding(self) -> None:
        """Bytes that are no UTF-8 stand for what nobody can read, and do no harm."""
        self.screen.dataReceived(b"caf\xe9\r")
        await self.typed("caf\ufffd")
        for byte in "日".encode():
            self.screen.dataReceived(bytes([byte]))
        await self.type("\r")
        await self.typed("caf\ufffd", "日")

    @played
    async def test_tall(self) -> None:
        """What is longer than the screen leaves half of it to what others say."""
        await self.say(*map(str, range(16)))
        await self.type(pasted("\r\n".join(f"line {n}" for n in range(40))))
        await self.until(lambda: self.glass.shows("line 39"))
        self.screen.show([[("", "news")]])
        await self.until(lambda: self.glass.order("15", "news", "line 39", "example.org"))
        await self.until(lambda: not self.glass.shows("line 30"))

    def test_small(self) -> None:
        """On a small screen there is a small menu, and the line that is typed."""
        self.glass = Glass(60, 5)
        self.carrier = Carrier(self.glass)

        async def scene() -> None:
            self.desk.completions = [(f"/{n} ", 1, f"help {n}") for n in range(9)]
            await self.type("/\t")
            await self.until(lambda: self.glass.shows("help 0"))
            await self.type("\t\t")
            await self.before("[lobby] ana> /1 ")

        self.at(scene)

    def test_kept(self) -> None:
        """Only what the desk wants kept can be come back to."""
        history = InMemoryHistory()

        async def scene() -> None:
            await self.type("one\r")
            await self.typed("one")
            self.desk.kept = False
            await self.type("two\r")
            await self.typed("one", "two")

        self.at(scene, history=history)
        self.assertEqual(history.get_strings(), ["one"])

    @played
    async def test_emacs_keys(self) -> None:
        """Keys of emacs move and delete."""
        await self.type("one two\x17three\x01X\x05Y\r")
        await self.typed("Xone threeY")

    @played
    async def test_cut_nothing(self) -> None:
        """Where there is nothing to cut, what was cut before stays, the newest first."""
        await self.type("one\x15two\x15\x15\x0b\x19\x1by\r\x19\r")
        await self.typed("one", "one")

    @played
    async def test_cleared(self) -> None:
        """Who pressed Ctrl-C to copy something gets the line back with Ctrl-Y."""
        await self.type("a long draft" + CTRL_C)
        await self.before("[lobby] ana> ")
        await self.type("\x19\r")
        await self.typed("a long draft")

    @played
    async def test_cleared_while_looking(self) -> None:
        """It is what was typed, and not an earlier line that was just looked at."""
        await self.type("one\r")
        await self.typed("one")
        await self.type("my draft\x15")
        await self.press(UP, lambda: self.glass.before == "[lobby] ana> one")
        await self.type(CTRL_C + "\x19\r")
        await self.typed("one", "my draft")
        await self.type("another" + UP)
        await self.before("[lobby] ana> my draft")
        await self.type(CTRL_C + "\x19\r")
        await self.typed("one", "my draft", "another")

    @played
    async def test_cleared_secret(self) -> None:
        """What was typed unseen does not come back."""
        await self.hide()
        self.desk.cancelled = self.unhide
        await self.type("sesame" + CTRL_C)
        await self.before("[lobby] ana> ")
        await self.type("x\x19y\r")
        await self.typed("xy")

    @played
    async def test_words(self) -> None:
        """Words may have letters of any script; what is cut out of them can be put back."""
        await self.type("été déjà-vu\x1bb\x1bb\x1b[1;5DX")
        await self.before("[lobby] ana> été X")
        await self.type("\x7f\x1b[1;5D")
        await self.before("[lobby] ana> ")
        await self.type("\x1bf\x1b[1;5C")
        await self.before("[lobby] ana> été déjà")
        await self.type("\x1b\x7f\x1b\x7f")
        await self.before("[lobby] ana> ")
        await self.type("\x19")
        await self.before("[lobby] ana> été déjà")
        await self.type("\x01\x1bd\x1bd")
        await self.until(lambda: self.glass.shows("> -vu"))
        await self.type("\x05\x19\r")
        await self.typed("-vuété déjà")
        # Where there is nothing to cut, what was cut before is kept; and blanks are cut.
        await self.type("keep\x01\x0b\x1b\x7f\x1bd\x15\x0b\x19")
        await self.before("[lobby] ana> keep")
        await self.type("\x15    \x1b\x7fone two\x01\x1b-\x1b\x7f\x1b-\x1bdX\r")
        await self.typed("-vuété déjà", "Xone two")

    @played
    async def test_words_and_signs(self) -> None:
        """Signs are no letters in any script, and a selection ends where a word key leads out."""
        await self.type("好，世界。再见\x1b\x7fX yes—no\x1b\x7f")
        await self.before("[lobby] ana> 好，世界。X yes—")
        await self.type("\x15one two\x1b[1;2D\x1b[1;5DX\r")
        await self.typed("one Xtwo")
        await self.type("one two\x1bb\x1b-\x1bbX\r")
        await self.typed("one Xtwo", "one Xtwo")
        await self.type("été déjà\x1b[1;3D\x1b[1;3DX\r")
        await self.typed("one Xtwo", "one Xtwo", "Xété déjà")
        await self.type("one two\x01\x1b[1;2C\x1b[1;5CX\r")
        await self.typed("one Xtwo", "one Xtwo", "Xété déjà", "oneX two")

    @played
    async def test_what_parts_words(self) -> None:
        """Blanks of any script part words, as signs do, but for that of a name."""
        await self.type("早上\u3000好\x1bbX\x05 one_two\x1bbY\x05 $3\x1bbZ\r")
        await self.typed("早上\u3000X好 Yone_two $Z3")

    @played
    async def test_cut_behind(self) -> None:
        """What is cut behind the cursor can be put back, too."""
        await self.type("one two\x01\x1bd\x05\x19\r")
        await self.typed(" twoone")

    @played
    async def test_by_no_words(self) -> None:
        """Of no words, as after Alt-0, or of less than none, nothing is passed, nor cut."""
        await self.type("one two\x1b0\x1bbX\r")
        await self.typed("one twoX")
        await self.type("one two\x1b-\x1b\x7f\x1bb\x1b-\x1bdX\r")
        await self.typed("one twoX", "one Xtwo")

    @played
    async def test_unknown_keys(self) -> None:
        """Keys that only some terminals have, and what others had asked for, type nothing."""
        for number, key in enumerate((
            "\x1b[2;5~", "\x1b[7^", "\x1b[3$", "\x1b[4h", "\x1b[J", "\x1bO5P", "\x1bOc\x1b[25~",
            "\x1b[97;5u", "\x1b[I", "\x1b[<64;5;5M", "\x1b[M !!", "\x1b[M", "\x1b[?62;4c",
            "\x1b[?2026;2$y", "\x1b]11;rgb:0000/0000/0000\x1b\\", "\x1b]11;rgb:0/0/0\x07",
            "\x1bP>|XTerm(388)\x1b\\", "\x1b[5;2~", "\x1b[6;5~", "\x1b[24;5~", "\x1b[1;6A",
            "\x1b[3;6~", "\x1bO5D",
        )):  # fmt: skip
            await self.type("one")
            await self.type(key)
            await self.type("two\r")
            await self.typed(*["onetwo"] * (number + 1))

    @played
    async def test_keys_of_some(self) -> None:
        """Delete in st, and Enter with Shift in Konsole, do what they say."""
        await self.type("one\x01\x1b[PX\x1bOM")
        await self.typed("Xne")

    @played
    async def test_known_and_of_no_use(self) -> None:
        """No key that terminals write with several characters types any of them."""
        for key in ANSI_SEQUENCES:
            if len(key) > 2 and not key.startswith("\x1b[20"):  # That is what is pasted.
                await self.type(key)
                await asyncio.sleep(0)
                self.assertNotIn("\x1b", self.screen._session.default_buffer.text, repr(key))

    @played
    async def test_in_pieces(self) -> None:
        """On a slow line a key comes in pieces."""
        for piece in ("one\x01", "\x1b", "[", "P", "X\x1b[", "3", "~"):
            await self.type(piece)
        await self.type("\r")
        await self.typed("Xe")

    @played
    async def test_keys_in_what_is_pasted(self) -> None:
        """What is pasted stays as it is, also in several pieces, and keys behind it are keys."""
        await self.type(f"{pasted('a[P')}\x1b[2;5~b\r")
        await self.typed("a[Pb")
        await self.type("\x1b[200~c\x1b[J")
        await self.type("d\x1b[2;5~e\x1b[201~")
        await self.type("\x1b[2;5~f\r")
        await self.until(lambda: len(self.desk.lines) == 2)
        heard = self.desk.lines[-1].replace("\x1b", "")
        self.assertEqual(heard, "c[Jd[2;5~ef")
        # Its mark may come in two pieces, too.
        whole = "\x1b[200~a\x1b]0;t\x07b\x1b[J\x1b[201~\r"
        for count, place in enumerate(range(1, 6), 3):
            await self.type(whole[:place])
            await self.type(whole[place:])
            await self.until(partial(self.entered, count))
            self.assertEqual(self.desk.lines[-1], "a\x1b]0;t\x07b\x1b[J")

    def entered(self, count: int) -> bool:
        """Whether so many lines were entered."""
        return len(self.desk.lines) == count

    @played
    async def test_no_key(self) -> None:
        """Escape, with words behind it, is no key: nothing of them is done."""
        await self.type("hello \x1bOMG really\r")
        await self.typed("hello OMG really")

    @played
    async def test_pasted_without_end(self) -> None:
        """Ctrl-C ends what was pasted and has no end: it may have got lost on the way."""
        await self.type("\x1b[200~one\rtwo")
        await self.type("\r\x04")
        await self.type(CTRL_C)
        await self.type("three\r")
        await self.typed("three")
        await self.type(pasted("four"))
        await self.type(CTRL_C)
        await self.type("five\r")
        await self.typed("three", "five")
        # Its mark may come in two halves.
        await self.type("\x1b[200~")
        await self.type("six\x1b[2")
        await self.type("01~\r")
        await self.typed("three", "five", "six")
        await self.type(CTRL_C)
        await self.until(lambda: self.desk.left > 0)

    @played
    async def test_clear(self) -> None:
        """Ctrl-L clears the screen; what is typed stays."""
        await self.say("old news")
        await self.type("hello" + CTRL_L)
        await self.until(lambda: not self.glass.shows("old news"))
        await self.before("[lobby] ana> hello")

    @played
    async def test_complete(self) -> None:
        """Tab completes what there is one of."""
        self.desk.completions = [("bob: ", 1, "")]
        await self.type("b\t")
        await self.before("[lobby] ana> bob: ")
        await self.type("hi\r")
        await self.typed("bob: hi")
        # Of one there is no menu, and what was typed of it is replaced.
        self.desk.completions = [("Élise: ", 1, "here")]
        await self.type("e\t")
        await self.before("[lobby] ana> Élise: ")
        self.assertFalse(self.glass.shows("here"))

    @played
    async def test_complete_only_by_tab(self) -> None:
        """No menu is shown to who did not ask for it."""
        self.desk.completions = [("bob: ", 1, "here"), ("bert: ", 1, "there")]
        await self.type("b")
        await self.before("[lobby] ana> b")
        await self.say("news")
        await self.say("more")
        self.assertFalse(self.glass.shows("there"))

    @played
    async def test_complete_at_once(self) -> None:
        """It does so when the next keys are there already, as over a slow link; also in part."""
        self.desk.completions = [("bob: ", 1, "")]
        await self.type("b\thi\r")
        await self.typed("bob: hi")
        self.desk.completions = [("bob: ", 1, ""), ("bobby: ", 1, "")]
        await self.type("b\tby: you\r")
        await self.typed("bob: hi", "bobby: you")

    @played
    async def test_menu_taken_back(self) -> None:
        """Escape takes the menu away, and what is typed goes on from there."""
        self.desk.completions = [("bob: ", 1, "here"), ("bert: ", 1, "there")]
        await self.type("b\t")
        await self.until(lambda: self.glass.shows("there"))
        await self.type("\x1b")
        await self.until(lambda: not self.glass.shows("there"))
        await self.type("\r")
        await self.typed("b")

    @played
    async def test_unknown_in_a_menu(self) -> None:
        """A key with Alt that nothing is known of takes nothing back."""
        self.desk.completions = [("bob: ", 1, "here"), ("bert: ", 1, "there")]
        await self.type("b\t")
        await self.until(lambda: self.glass.shows("there"))
        await self.type("\t")
        await self.until(lambda: "bob: " in self.desk.begun)
        await self.type("\x1bx")
        await self.before("[lobby] ana> bob: x")

    @played
    async def test_new_line_in_a_menu(self) -> None:
        """Keys with Alt mean the same there: what was completed stays, and a new line begins."""
        self.desk.completions = [("bob: ", 1, "here"), ("bert: ", 1, "there")]
        await self.type("b\t")
        await self.until(lambda: self.glass.shows("there"))
        await self.type("\t")
        await self.until(lambda: "bob: " in self.desk.begun)
        # Also those that nothing is known of.
        await self.type("\x1bx\x1b\rx\r")
        await self.typed("bob: x\nx")

    @played
    async def test_cursor_between_keys(self) -> None:
        """Where the cursor is, as the terminal says while people talk, parts no keys."""
        await self.type("one\x1b")
        await self.type("\x1b[16;1R")
        await self.type("\rtwo\r")
        await self.typed("one\ntwo")
        self.desk.completions = [("bob: ", 1, "here"), ("bert: ", 1, "there")]
        await self.type("b\t")
        await self.until(lambda: self.glass.shows("there"))
        await self.type("\x1b\x1b[16;1R")
        await self.until(lambda: not self.glass.shows("there"))

    @played
    async def test_pages(self) -> None:
        """The keys that scroll elsewhere leave alone what is typed, and it is told of as it is."""
        await self.type("old\r")
        await self.typed("old")
        await self.type("draft\x1b[5~\x1b[6~!\r")
        await self.typed("old", "draft!")
        self.assertIn("draft", self.desk.begun)

    def test_counts(self) -> None:
        """To go up or down by less than one line, as after Alt-0, does nothing."""
        raised: list[object] = []

        async def scene() -> None:
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _, context: raised.append(context))
            await self.type("one\x1b\rtwo\x1b\rthree")
            for key in ("\x1b0", "\x1b-"):
                for move in ("[A", "[1;2A", "[B", "[1;2B"):
                    await self.type(f"{key}\x1b{move}")
            await self.type("!\r")
            await self.until(lambda: self.desk.lines)

        self.at(scene)
        self.assertEqual(raised, [])
        self.assertEqual(self.desk.lines, ["one\ntwo\nthree!"])

    @played
    async def test_macro(self) -> None:
        """Keys are not recorded: there may be a password among them."""
        await self.type("\x18(a")
        await self.before("[lobby] ana> a")
        await self.hide()
        await self.type("sesame\r")
        await self.typed("sesame")
        self.unhide()
        await self.before("[lobby] ana> a")
        await self.type("\x18)\x18e!")
        await self.before("[lobby] ana> a!")

    @played
    async def test_f3(self) -> None:
        """Shift-F3 is written as the terminal's answer is, to what nobody has asked."""
        await self.say(*(f"line {number}" for number in range(20)))
        await self.type("hello")
        await self.before("[lobby] ana> hello")
        shown = [*self.glass.rows]
        await self.type("\x1b[1;2R\x1b[1;5R!")
        await self.before("[lobby] ana> hello!")
        self.assertEqual([row.replace("!", "") for row in self.glass.rows], shown)

    @played
    async def test_tabs(self) -> None:
        """A tab that was pasted is seen as what it will be: room."""
        await self.type(pasted("a\tb"))
        await self.before("[lobby] ana> a   b")

    @played
    async def test_menu(self) -> None:
        """Of several completions Tab shows a menu, with help; Tab and Enter choose."""
        self.desk.completions = [("/join ", 1, "Go in."), ("/leave ", 1, "Go out.")]
        await self.type("/\t")
        await self.until(lambda: self.glass.shows("Go in.") and self.glass.shows("Go out."))
        await self.type("\t\t")
        await self.before("[lobby] ana> /leave ")
        # So do Ctrl-N and Ctrl-P.
        await self.type(CTRL_P)
        await self.before("[lobby] ana> /join ")
        await self.type(CTRL_N)
        await self.before("[lobby] ana> /leave ")

    @played
    async def test_menu_by_tab(self) -> None:
        """In a menu Tab only goes on, also where nothing else could stand now."""

        def complete(text: str) -> list[tuple[str, int, str]]:
            return [(n, len(text), "") for n in ("/join ", "/joke ") if n.startswith(text)]

        self.patch(self.desk, "complete", complete)
        await self.type("/\t")
        await self.before("[lobby] ana> /jo")
        await self.type("\t")
        await self.before("[lobby] ana> /join ")
        await self.type("\t")
        await self.before("[lobby] ana> /joke ")

    @played
    async def test_pictures_in_a_menu(self) -> None:
        """What terminals join to one picture stands there in pieces, too; it is inserted whole."""
        self.desk.completions = [("x🇩🇪", 1, ""), ("x🇫🇷", 1, "")]
        await self.type("x\t")
        await self.until(lambda: self.glass.shows("xDE") and self.glass.shows("xFR"))
        await self.type("\t\t")
        await self.before("[lobby] ana> xFR")
        await self.type("\r")
        await self.typed("x🇫🇷")


class PrintingTests(ScreenTests):
    """Lines above the prompt."""

    @played
    async def test_while_typing(self) -> None:
        """What is typed stays under a line that is printed, with the cursor in its middle."""
        await self.type("hello world" + LEFT * 5)
        await self.before("[lobby] ana> hello ")
        await self.say("<bob> hi there")
        await self.until(lambda: self.glass.order("<bob> hi there", "> hello world"))
        await self.before("[lobby] ana> hello ")
        await self.type("my \r")
        await self.typed("hello my world")

    def test_other_widths(self) -> None:
        """Printed lines are whole also on a terminal that has other ideas of what is typed."""
        self.have_other_widths()

        async def scene() -> None:
            await self.type("कामा पाया")
            await self.until(lambda: self.glass.shows("पाया"))
            for text in ("first message", "second message"):
                await self.say(text)
            self.assertIn("first message", self.glass.rows)
            self.assertIn("second message", self.glass.rows)

        self.at(scene)

    def test_other_widths_corrected(self) -> None:
        """There, too, what is typed is whole when it is corrected, and the prompt, drawn again."""
        self.have_other_widths()
        self.desk.prompt = "[lobby] माया> "

        async def scene() -> None:
            await self.type("नाना लाना")
            for _ in range(3):
                await self.type("\x7f")
                await asyncio.sleep(0.02)
            await self.type(" abc")
            shown = "[lobby] माया> नाना ल abc"
            await self.until(lambda: self.glass.shows(shown))
            self.desk.prompt = "[den] माया> "
            self.screen.refresh()
            await self.until(lambda: self.glass.shows("[den] माया> नाना ल abc"))
            self.assertFalse(self.glass.shows("lobby] "))
            self.desk.prompt = "[den] ana> "
            await self.type("\x15की")
            await self.until(lambda: self.glass.shows("ana> की"))
            await self.type("\x7fल")
            await self.until(lambda: self.glass.shows("ana> कल"))
            await self.until(lambda: self.glass.shows("example.org"))

        self.at(scene)

    def test_other_widths_of_what_is_typed(self) -> None:
        """So it is where nothing but what is typed, or looked for, has other widths."""
        self.have_other_widths()

        async def scene() -> None:
            await self.type("नाना लाना")
            await self.until(lambda: self.glass.shows("> नाना लाना"))
            for _ in range(3):
                await self.type("\x7f")
                await asyncio.sleep(0.02)
            await self.type(" abc")
            await self.until(lambda: self.glass.shows("> नाना ल abc"))
            await self.type("\r" + CTRL_R + "ना")
            await self.until(lambda: self.glass.shows("> नाना ल abc"))
            await self.type("\x7f\x7f" + "abc")
            await self.until(lambda: self.glass.shows("backward: abc"))

        self.at(scene)

    def test_no_answer(self) -> None:
        """A terminal that does not say where its cursor is, is not complained of."""
        self.patch(Renderer, "CPR_TIMEOUT", 0)

        async def silent() -> None:
            made = Screen(self.desk, lambda: (60, 16), lambda: self.now)
            made.makeConnection(self.carrier)
            self.screen = made
            await self.until(lambda: self.glass.shows("ana>"))
            made.show([[("", "news")]])
            await self.until(lambda: self.glass.order("news", "ana>"))
            closed = made.close()
            await self.until(lambda: closed.called)

        asyncio.run(asyncio.wait_for(silent(), BOUND))
        self.assertFalse(self.drawn(b"WARNING"))

    @played
    async def test_several_lines_typed(self) -> None:
        """Several lines that are typed stay under what is printed, too."""
        await self.type("one" + ALT_ENTER + "two")
        await self.say("<bob> hi there")
        await self.until(lambda: self.glass.order("<bob> hi there", "> one", "two"))
        await self.type("!\r")
        await self.typed("one\ntwo!")

    @played
    async def test_menu_stays(self) -> None:
        """An open menu of completions stays too, and goes on where it was."""
        self.desk.completions = [("/join ", 1, "Go in."), ("/leave ", 1, "Go out.")]
        await self.type("/\t")
        await self.until(lambda: self.glass.shows("Go in."))
        await self.say("<bob> hi there")
        await self.until(lambda: self.glass.order("<bob> hi there", "ana> /", "Go in."))
        await self.type("\t\r")
        await self.typed("/join ")

    @played
    async def test_order(self) -> None:
        """A thousand lines at once, and more while they are printed, stay in order."""
        await self.type("typed")
        for number in range(1000):
            self.screen.show([[("", f"line {number}.")]])
            if number % 100 == 0:
                await asyncio.sleep(0)
        await self.until(lambda: self.glass.shows("line 999."))
        await self.before("[lobby] ana> typed")
        rows = [*self.glass.scrolled, *self.glass.rows]
        seen = [int(n) for n in re.findall(r"line (\d+)\.", "\n".join(rows))]
        self.assertEqual(seen, list(range(1000)))

    @played
    async def test_full_screen(self) -> None:
        """When the screen is full the older lines scroll away, and the bar stays one line."""
        for number in range(40):
            await self.say(f"line {number}.")
        self.assertEqual(sum("example.org" in row for row in self.glass.rows), 1)
        self.assertIn("line 0.", "\n".join(self.glass.scrolled))

    @played
    async def test_all_that_is_typed(self) -> None:
        """Also there all rows of what is typed are seen, up to half of the screen."""
        await self.say(*map(str, range(20)))
        await self.type("one" + ALT_ENTER + "x" * 60 + ALT_ENTER + "three")
        await self.until(lambda: self.glass.order("19", "> one", "  three", "example.org"))
        self.assertEqual(
            self.glass.rows[11:15], ["[lobby] ana> one", "  " + "x" * 58, "  xx", "  three"]
        )
        await self.type(CTRL_C + pasted("\n".join(f"line {n}" for n in range(40))))
        await self.until(lambda: self.glass.rows[7:15] == [f"  line {n}" for n in range(32, 40)])
        self.assertEqual(self.glass.rows[6], "19")

    @played
    async def test_long_and_wide(self) -> None:
        """Long lines of wide characters wrap, and the prompt is where it was."""
        await self.type("typed")
        await self.say("<bob> " + "日本語" * 20, "<bob> 👩‍👩‍👧 e\u0301", "<bob> end")
        await self.before("[lobby] ana> typed")
        self.assertEqual(sum("> typed" in row for row in self.glass.rows), 1)

    def test_forged(self) -> None:
        """No part of a long line stands where a line of its own would, and looks like one."""
        said = "12:00 <eve> " + "x" * 48
        for forged in ("12:00 <ana> I did it", "<-- bob left", "-- You are banned", "[you] no"):
            for wide in ("", "日" * 30):

                async def scene(text: str = said + wide + forged, forged: str = forged) -> None:
                    self.screen.show([[("", text[:20]), ("class:me", text[20:])]])
                    await self.until(lambda: self.glass.shows(forged))
                    self.assertIn(f"  {forged}", self.glass.rows)

                self.setUp()
                self.at(scene)

        async def unseen() -> None:
            # The emulator leaves out what comes after these, so the bytes have to tell.
            for before, forged in (
                ("", "1\u200b2:00 <ana> it was me"), ("", "-\u2060-> bob"),
                ("\xad", "<-- bob left"), ("", "12:00\xa0<ana> it was me"),
                ("", "12\ua78900\u3164<ana>"), ("", "\u2039ana> yes"),
                ("", "12\u02d000 <ana>"),
                ("", "12:00\u2800<ana>"), ("", "2O26-11-22 12:00 <ana>"),
                ("", "\u203c Not connected"), ("", "\u2500\u2500> eve"),
                ("\uffa0" * 20, "12:00 <ana> it was me"), ("\u3248" * 20, "12:00 <ana> it was me"),
            ):  # fmt: skip
                self.screen.show([[("", said + before + forged)]])
                indented = (before if before == "" else "\n") + f"  {forged}"
                await self.until(partial(self.drawn, indented.encode()))

        self.setUp()
        self.at(unseen)

        async def harmless() -> None:
            for text in ("and so on", "/and/so/on", "12.30 and so on"):
                self.screen.show([[("", said + text)]])
                await self.until(partial(self.glass.shows, text))
                self.assertIn(text, self.glass.rows)

        self.setUp()
        self.at(harmless)

    def test_scrollback(self) -> None:
        """The terminal's own scrollback is used: there is no other screen, nor a mouse."""

        async def scene() -> None:
            await self.say("hi")

        self.at(scene)
        for mode in (b"?1049", b"?47", b"?1000", b"?1002", b"?1003", b"?1006"):
            self.assertNotIn(mode, self.carrier.raw)

    def test_harmless(self) -> None:
        """Even a line with control characters in it does not drive the terminal."""

        async def scene() -> None:
            self.screen.show([[("", "a\x1b]0;owned\x07b\x1b[2Jc")], [("", "end")]])
            await self.until(lambda: self.glass.shows("end"))

        self.at(scene)
        self.assertNotIn(b"\x1b]0;", self.carrier.raw)
        self.assertNotIn(b"\x1b[2J", self.carrier.raw)

    @played
    async def test_bell(self) -> None:
        """The bell rings once, and disturbs nothing."""
        await self.type("typed")
        await self.before("[lobby] ana> typed")
        self.screen.ring()
        self.assertEqual(self.glass.bells, 1)
        await self.before("[lobby] ana> typed")

    @played
    async def test_pending(self) -> None:
        """What is not acknowledged stands above the prompt, marked, until it is."""
        self.desk.pending = ["hello\nworld"]
        self.screen.refresh()
        await self.until(lambda: self.glass.shows("hello (sending)"))
        await self.before("[lobby] ana> ")
        self.desk.pending = []
        self.screen.refresh()
        await self.until(lambda: not self.glass.shows("sending"))

    @played
    async def test_many_pending(self) -> None:
        """Of many that wait the last few are shown, and how many more there are."""
        self.desk.pending = [f"line {n}" for n in range(12)]
        self.screen.refresh()
        await self.until(lambda: self.glass.order("and 7 more", "line 7", "line 11"))
        self.assertFalse(self.glass.shows("line 6"))
        self.desk.pending = [f"few {n} 🇩🇪" for n in range(5)]
        self.screen.refresh()
        await self.until(lambda: self.glass.order("few 0 DE", "few 4 DE"))
        self.assertFalse(self.glass.shows("more"))

    @played
    async def test_wide_pending(self) -> None:
        """A long one is cut to the width of the screen, also of wide characters."""
        self.desk.pending = ["日" * 200, "x" * 200]
        self.screen.refresh()
        await self.until(lambda: sum("(sending)" in row for row in self.glass.rows) == 2)

    @played
    async def test_refresh(self) -> None:
        """A new prompt and a new bar are drawn around what is typed."""
        await self.type("typed")
        await self.before("[lobby] ana> typed")
        self.desk.prompt, self.desk.bar = "[attic] anna> ", "example.org | attic"
        self.screen.refresh()
        await self.before("[attic] anna> typed")
        await self.until(lambda: "attic" in self.glass.rows[-1])

    @played
    async def test_prompt_stands_out(self) -> None:
        """The prompt stands out, and what is typed does not."""
        await self.type("typed")
        await self.before("[lobby] ana> typed")
        row = self.glass.buffer[self.glass.cursor.y]
        self.assertEqual([row[at].bold for at in range(18)], [True] * 12 + [False] * 6)

    def test_colours(self) -> None:
        """Names and kinds of lines have colours."""

        async def scene() -> None:
            self.screen.show([[("class:error", "red")]])
            await self.until(lambda: self.glass.shows("red"))

        self.at(scene)
        self.assertRegex(self.carrier.raw, _COLOUR)

    def test_no_colours(self) -> None:
        """Without colour there is none, nothing bold or reversed, and the lines are the same."""

        async def scene() -> None:
            self.screen.show([[("class:error", "plain")]])
            await self.until(lambda: self.glass.shows("plain"))

        self.at(scene, colour=False)
        self.assertNotRegex(self.carrier.raw, rb"\x1b\[[\d;]*m")


_COLOUR = re.compile(rb"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])(?:;\d+)*m")


class EndTests(ScreenTests):
    """Leaving."""

    @played
    async def test_ctrl_d(self) -> None:
        """Ctrl-D on an empty line leaves; else it deletes."""
        await self.type("ab" + LEFT + CTRL_D + "\r")
        await self.typed("a")
        self.assertEqual(self.desk.left, 0)
        await self.type(CTRL_D)
        await self.until(lambda: self.desk.left == 1)

    @played
    async def test_ctrl_d_in_a_search(self) -> None:
        """In a search it does not leave a line that was begun."""
        await self.type("half a line" + CTRL_R)
        await self.until(lambda: self.glass.shows("I-search"))
        await self.type(CTRL_D + CTRL_C)
        await self.before("[lobby] ana> half a line")
        self.assertEqual(self.desk.left, 0)

    @played
    async def test_ctrl_c_twice(self) -> None:
        """Ctrl-C says what the second does; that leaves."""
        await self.type(CTRL_C)
        await self.until(lambda: self.glass.shows("Press Ctrl-C once more to leave"))
        await self.before("[lobby] ana> ")
        self.assertEqual(self.desk.left, 0)
        await self.type(CTRL_C)
        await self.until(lambda: self.desk.left == 1)

    @played
    async def test_ctrl_c_on_a_line(self) -> None:
        """On a line that was begun it clears that and says nothing, however often in a row."""
        for line in ("one", "two"):
            await self.type(line)
            await self.before(f"[lobby] ana> {line}")
            await self.type(CTRL_C)
            await self.before("[lobby] ana> ")
        self.assertEqual((self.desk.left, self.glass.shows("Press")), (0, False))
        await self.type(CTRL_C)
        await self.until(lambda: self.desk.left == 1)

    @played
    async def test_ctrl_c_much_later(self) -> None:
        """A second one much later is a first one."""
        await self.type(CTRL_C)
        await self.until(lambda: self.glass.shows("Press Ctrl-C"))
        self.now += 60
        await self.type(CTRL_C + "still here")
        await self.before("[lobby] ana> still here")
        self.assertEqual(self.desk.left, 0)

    @played
    async def test_entered_in_a_search(self) -> None:
        """What is looked for is said to nobody, not even with the other key that enters a line."""
        await self.type("one\rtwo\r" + CTRL_R + "on\x0f" + CTRL_C)
        await self.before("[lobby] ana> ")
        await self.type("x\r")
        await self.typed("one", "two", "x")

    def test_ctrl_c_when_urgent(self) -> None:
        """Where there is nothing to end in good order, one is enough; what was begun is kept."""
        history = InMemoryHistory()

        async def scene() -> None:
            self.desk.urgent = True
            await self.type("typed" + CTRL_C)
            await self.until(lambda: self.desk.left == 1)

        self.at(scene, history=history)
        self.assertEqual(history.get_strings(), ["typed"])

    def test_ctrl_c_when_urgent_at_a_hidden_question(self) -> None:
        """So it is there, but a secret that was begun is not kept."""
        history = InMemoryHistory()

        async def scene() -> None:
            self.desk.urgent = True
            await self.hide()
            await self.type("sesame" + CTRL_C)
            await self.until(lambda: not self.desk.hidden)

        self.at(scene, history=history)
        self.assertEqual(history.get_strings(), [])

    def test_ended_by_others(self) -> None:
        """What was begun is kept, too, where something else ends it; a secret is not."""
        for hidden, kept in ((False, ["typed"]), (True, [])):
            history = InMemoryHistory()

            async def scene(hidden: bool = hidden) -> None:
                self.desk.hidden = hidden
                await self.type("typed")
                await self.until(lambda: hidden or self.glass.shows("typed"))
                self.screen.close()

            self.at(scene, history=history)
            self.assertEqual(history.get_strings(), kept)

    def test_ended_at_a_hidden_question(self) -> None:
        """What was begun before something hidden was asked is not: it may be half a secret, too."""
        history = InMemoryHistory()

        async def scene() -> None:
            await self.type("hello\r/login ana hunter2")
            await self.typed("hello")
            await self.press(UP, lambda: self.glass.before == "[lobby] ana> hello")
            await self.hide()
            await self.type("sesa")
            self.screen.close()

        self.at(scene, history=history)
        self.assertEqual(history.get_strings(), ["hello"])

    def test_ctrl_c_when_urgent_while_searching(self) -> None:
        """One is enough in the middle of a search, too, of which nothing is left over."""
        history = InMemoryHistory()

        async def scene() -> None:
            self.desk.urgent = True
            await self.type("begun" + CTRL_R + "find")
            await self.until(lambda: self.glass.shows("find"))
            await self.type(CTRL_C)
            await self.until(lambda: self.desk.left == 1)

        self.at(scene, history=history)
        self.assertEqual(history.get_strings(), ["begun"])

    @played
    async def test_ctrl_c_at_a_hidden_question(self) -> None:
        """At something hidden it takes back the question and what was typed, and nothing else."""
        self.desk.hidden = True
        await self.type("secret" + CTRL_C)
        await self.until(lambda: not self.desk.hidden)
        await self.type("open")
        await self.before("[lobby] ana> open")
        self.assertEqual((self.desk.left, self.desk.lines), (0, []))

    def test_ctrl_z(self) -> None:
        """The prompt is out of the way while the shell has the terminal, and comes back."""
        seen: list[list[str]] = []

        async def scene() -> None:
            await self.say("hi")
            await self.type("half a line\x1a")
            await self.until(lambda: seen)
            await self.before("[lobby] ana> half a line")

        self.at(scene, suspend=lambda: seen.append([row for row in self.glass.rows if row]))
        self.assertEqual(seen, [["hi"]])

    @played
    async def test_redraw(self) -> None:
        """After the shell has written something, all is drawn anew where the cursor is then."""
        await self.type("hello")
        await self.before("[lobby] ana> hello")
        self.glass.feed(b"\x1b[H\x1b[Jsh> fg\r\n")
        self.screen.step_aside()
        await self.until(lambda: self.glass.order("sh> fg", "[lobby] ana> hello", "example"))

    def test_put_away(self) -> None:
        """When it is closed the prompt and the bar are gone, and what was printed stays."""

        async def scene() -> None:
            await self.say("hi")
            await self.type("half a line")
            await self.before("[lobby] ana> half a line")
            # The last words come with the end.
            self.screen.close()
            self.screen.show([[("", "Bye.")]])

        self.at(scene)
        self.assertEqual([row for row in self.glass.rows if row], ["hi", "Bye."])
        self.assertEqual(self.glass.cursor.y, 2)
        self.assertFalse(self.glass.cursor.hidden)
        # The paste mode that was switched on is off.
        self.assertGreater(
            self.carrier.raw.rfind(b"\x1b[?2004l"), self.carrier.raw.rfind(b"\x1b[?2004h")
        )

    def test_closed_at_once(self) -> None:
        """It can be closed before it was drawn."""

        async def play() -> None:
            self.screen = Screen(self.desk, lambda: (60, 16), lambda: self.now)
            self.screen.makeConnection(self.carrier)
            closed = self.screen.close()
            await self.until(lambda: closed.called)

        asyncio.run(asyncio.wait_for(play(), BOUND))

    def test_no_size(self) -> None:
        """On a terminal that says it has no columns the prompt is drawn all the same."""
        carrier = Carrier(Glass(80, 24))

        async def play() -> None:
            self.screen = Screen(self.desk, lambda: (0, 0), lambda: self.now)
            carrier.glass.answer = self.screen.dataReceived
            self.screen.makeConnection(carrier)
            await self.until(lambda: carrier.glass.shows("[lobby] ana>"))
            closed = self.screen.close()
            await self.until(lambda: closed.called)

        asyncio.run(asyncio.wait_for(play(), BOUND))

    @played
    async def test_nothing_after_the_end(self) -> None:
        """What is shown after the end is not drawn over the shell's prompt."""
        closed = self.screen.close()
        await self.until(lambda: closed.called)
        before = self.carrier.raw
        self.screen.show([[("", "too late")]])
        self.screen.refresh()
        await self.type("x")
        await asyncio.sleep(0.05)
        self.assertEqual(self.carrier.raw, before)
        self.screen.connectionLost()
        self.assertEqual((self.desk.left, self.desk.over), (0, False))

    @played
    async def test_seen(self) -> None:
        """When the terminal has answered after something was shown, the desk knows."""
        for count, text in enumerate(("hello", "again"), 1):
            self.screen.show([[("", text)]])
            await self.until(partial(self.glass.shows, text))
            await self.until(lambda: not self.desk.looks)
            self.assertEqual(self.desk.sights, count)

    @played
    async def test_terminal_gone(self) -> None:
        """A terminal that is gone is nobody who wants to leave the chat."""
        self.screen.connectionLost()
        self.assertEqual((self.desk.left, self.desk.over), (0, True))
        self.assertTrue(self.screen.gone.called)
