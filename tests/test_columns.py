"""Columns: what could be taken for a line of its own is indented where a row may begin."""

from __future__ import annotations

from time import process_time

from prompt_toolkit.layout.controls import UIContent
from twisted.trial.unittest import SynchronousTestCase

from pylingo.columns import ENDLESS, PIECES, hung, measured
from pylingo.looks import plain


class HungTests(SynchronousTestCase):
    """Lines that are longer than the terminal is wide."""

    def test_forged(self) -> None:
        """What looks like a line of another's is indented, however the terminal counts columns."""
        # As many columns as fill a row, by one of the ways in which terminals count them.
        begun, forged = "12:00 <eve> ", "12:00 <ana> it was me"
        flags, family, hindi = "\U0001f1e9\U0001f1ea", "\U0001f469\u200d\U0001f467", "\u0915\u093f"
        unknown = "\u0378"
        for filler in (
            flags * 24, flags * 12, family * 24, family * 12, family * 4 + "x" * 40,
            hindi * 24, hindi * 48, unknown * 24,
        ):  # fmt: skip
            shown = hung([("", begun + filler + forged)], 60)
            self.assertIn(f"\n  {forged}", plain(shown))
        # In each of three rows a column stays free for a wide character that does not fit.
        shown = hung([("", f"{begun}\xad{'x' * 49}{'日' * 90}{forged}")], 61)
        self.assertIn(f"\n  {forged}", plain(shown))
        # In the first row one does, for the sign itself.
        shown = hung([("", f"{begun}{flags}{'x' * 44}＜ana> it was me")], 61)
        self.assertIn("\n  ＜ana>", plain(shown))

    def test_forged_twice(self) -> None:
        """So it is a second time, where what was indented has moved what follows."""
        begun, told = "12:00 <eve> ", "<ana> it was me"
        text = begun + "x" * 48 + told + "y" * 43 + told
        indented = begun + "x" * 48 + "  " + told + "y" * 43 + "  " + told
        self.assertEqual(plain(hung([("", text)], 60)), indented)
        # Where terminals disagree, the rows begin at that which was broken.
        flags = "\U0001f1e9\U0001f1ea"
        text = begun + flags * 12 + told + "y" * 43 + told
        broken = begun + flags * 12 + "\n  " + told + "y" * 43 + "\n  " + told
        self.assertEqual(plain(hung([("", text)], 60)), broken)
        text = begun + flags * 12 + told + "y" * 41 + told
        broken = begun + flags * 12 + "\n  " + told + "y" * 41 + told
        self.assertEqual(plain(hung([("", text)], 60)), broken)

    def test_forged_unseen(self) -> None:
        """What takes no room does not hide that it looks like another line."""
        said = "12:00 <eve> \xad" + "x" * 48
        self.assertIn("\n  -\xad- you", plain(hung([("", said + "-\xad- you are an admin")], 60)))

    def test_short_and_doubtful(self) -> None:
        """What fits, whatever a terminal makes of it, is not broken; nor is our own beginning."""
        for text in (
            "J'adore ❤\ufe0f – à huit heures",
            "um acht ❤\ufe0f im Café «Sonne»",
            "मीटिंग 17:30 बजे [4]",
        ):
            line = [("", f"12:00 <ana> {text}")]
            self.assertEqual(hung(line, 60), line)
        unsigned = [("", "日本語 ❤\ufe0f")]
        self.assertEqual(hung(unsigned, 60), unsigned)
        mention = "2026-11-20 01:29 » <ana> ❤\ufe0f hi me, are you there, or where"
        self.assertTrue(plain(hung([("", mention)], 40)).startswith("2026-11-20 01:29 » <ana> "))

    def test_copied(self) -> None:
        """What terminals agree about stays one line, and is indented only where a row begins."""
        command = "12:00 <ana> ✅ run " + "x" * 40 + " --all"
        self.assertEqual(plain(hung([("", command)], 80)), command)
        self.assertEqual(plain(hung([("", command)], 60)), command.replace(" --", "   --"))
        self.assertEqual(plain(hung([("", command)], 61)), command)
        for before, indent in ((47, ""), (48, "  "), (49, "")):
            said = "12:00 <ana> " + "x" * before
            self.assertEqual(plain(hung([("", said + "-- you")], 60)), f"{said}{indent}-- you")
        forged = "12:00 <ana> " + "x" * 67 + "＜" + "y" * 77 + "10:00 <bob> I quit"
        self.assertEqual(plain(hung([("", forged)], 80)), forged.replace("＜", "   ＜"))
        # Before the wide one, which does not fit, a column stays free.
        wide = "12:00 <ana> " + "x" * 7 + "日本語日本語日本語日-- you"
        self.assertEqual(plain(hung([("", wide)], 20)), wide.replace("--", "  --"))
        self.assertEqual(plain(hung([("", wide)], 19)), wide)

    def test_forged_at_length(self) -> None:
        """To look for that takes no longer for each character where there are many."""
        for text in ("1" * 50_000, "1-" * 25_000, "\u0301" * 50_000, "<" * 50_000, "1:" * 25_000):
            begun = process_time()
            hung([("", f"12:00 <ana> {text}")], 80)
            self.assertLess(process_time() - begun, 5.0, text[:2])


class MeasuredTests(SynchronousTestCase):
    """The rows of what is typed."""

    def rows(self, text: str, columns: int, prompt: str = "") -> int:
        def before(_: int, row: int) -> str:
            return "  " if row else prompt

        content = measured(lambda: UIContent(lambda _: [("", text)], line_count=1))()
        return content.get_height_for_line(0, columns, before if prompt else None)

    def test_rows(self) -> None:
        """What does not fit into a row, as half of a wide character, begins the next."""
        for text, rows in (("", 1), ("x" * 9, 1), ("x" * 10, 2), ("日" * 4, 1), ("日" * 5, 2)):
            self.assertEqual(self.rows(text, 9), rows, text)

    def test_control(self) -> None:
        """A control character is counted as it is drawn."""
        for text, rows in (("\x01" * 4, 1), ("\x01" * 5, 2), ("\t" * 5, 2), ("\x9b" * 3, 2)):
            self.assertEqual(self.rows(text, 9), rows, ascii(text))

    def test_prompt(self) -> None:
        """Before the first is the prompt, before each other what stands for it."""
        for text, rows in (("", 1), ("x" * 7, 1), ("x" * 8, 2), ("x" * 15, 2), ("x" * 16, 3)):
            self.assertEqual(self.rows(text, 10, "a> "), rows, text)

    def test_long_prompt(self) -> None:
        """A prompt may be longer than a row."""
        for text, rows in (("", 2), ("x" * 7, 2), ("x" * 8, 3)):
            self.assertEqual(self.rows(text, 10, "[a long] ana> "[-13:]), rows, text)
        self.assertEqual(self.rows("", 10, "x" * 10), 1)

    def test_no_room(self) -> None:
        """Where a row has no room beside what stands before it, there is no end to them."""
        self.assertEqual(self.rows("xx", 3, "a> "), 3)
        self.assertEqual(self.rows("日", 3, "a> "), ENDLESS)


class PiecesTests(SynchronousTestCase):
    """What joins several characters into one picture."""

    def test_shades(self) -> None:
        """Each colour of skin is seen as something put on."""
        self.assertEqual("👋🏻🏼🏽🏾🏿".translate(PIECES), "👋＋＋＋＋＋")
