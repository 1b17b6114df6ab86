"""Names and texts: what passes, what is the same, what is taken out."""

from __future__ import annotations

import unicodedata

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pylingo import names
from pylingo.protocol import ChatError

random = settings(max_examples=200, deadline=None, database=None, print_blob=True)

letters = st.text(st.characters(), min_size=1, max_size=40)
tricky = st.text(
    st.sampled_from("aAåÅéßſıİſKﬁﬂ１Ａａаеоｱガｶﾞ가ᄀ\u0301\u0323\u0345ͅ\u200d\u00ad한´ͺ΅ʼn½™ǆⅷ"),
    min_size=1,
    max_size=8,
)


class NameTests(SynchronousTestCase):
    def refused(self, text: str) -> ChatError:
        error: ChatError = self.assertRaises(ChatError, names.user, text)
        self.assertEqual((error.code, error.fatal), ("bad_argument", False), repr(text))
        return error

    def test_shown(self) -> None:
        """A name is shown as it was typed."""
        for text in ("Ana", "ana-2", "J0hn", "José", "Ａｎａ", "村上", "👩", "Ωmega", "#1"):
            self.assertEqual(names.user(text).shown, text)
            self.assertEqual(str(names.user(text)), text)

    def test_around(self) -> None:
        """Spaces around a name are not part of it."""
        self.assertEqual(names.user("  ana \t").shown, "ana")

    def test_case(self) -> None:
        """Names are compared without regard to case and width."""
        for text in ("ANA", "Ana", "ａｎａ", "ＡＮＡ"):
            self.assertEqual(names.user(text).key, names.user("ana").key)
        self.assertEqual(names.user("STRASSE").key, names.user("straße").key)
        self.assertEqual(names.user("é").key, names.user("e\u0301").key)

    def test_different(self) -> None:
        """Different names are different, in key and in looks."""
        for one, other in (
            ("ana", "anna"), ("jose", "josé"), ("ana", "ana2"), ("漢", "字"), ("mia", "mla"),
            ("ali", "all"), ("ロ", "ハ"), ("иван", "лван"), ("Strauß", "Straub"), ("Groß", "Grob"),
        ):  # fmt: skip
            first, second = names.user(one), names.user(other)
            self.assertNotEqual(first.key, second.key)
            self.assertFalse({*first.skeletons} & {*second.skeletons}, (one, other))

    def test_twins(self) -> None:
        """What looks like another name has the same skeleton, but another key."""
        for one, other in (
            ("ana", "аna"), ("Il", "ll"), ("bob0", "bobo"), ("paypal", "раураl"),
            ("modern", "modem"), ("will", "vvill"), ("ana", "ᴀɴᴀ"),
            ("ana", "a\u0336n\u0336a\u0336"), ("alice", "aliϲe"), ("Carl", "Ϲarl"),
            ("frank", "ſrank"), ("ロ", "口"), ("カ", "力"), ("ニ", "二"), ("Weiß", "Weiβ"),
            ("will", "wiǁ"), ("all", "a‖"), ("Caesar", "Cæsar"), ("ina", "i\u0307na"),
            ("İda", "ida"), ("كريم", "کریم"), ("مريم", "مریم"), ("١٢", "۱۲"), ("אװה", "אווה"),
            ("आशा", "अाशा"), ("আলো", "অালো"), ("แดง", "เเดง"), ("Đạt", "Ðạt"),
        ):  # fmt: skip
            first, second = names.user(one), names.user(other)
            self.assertNotEqual(first.key, second.key)
            self.assertTrue({*first.skeletons} & {*second.skeletons}, (one, other))

    def test_own_twins(self) -> None:
        """So has all that our own table says, to the end of what it leads to."""
        for one, other in names._KNOWN.items():
            self.assertTrue({*names._skeletons(one)} & {*names._skeletons(other)}, (one, other))
        for one, other in (("علي٠", "علي۰"), ("علي٧", "علي۷"), ("علي٨", "علي۸")):
            first, second = names.user(one), names.user(other)
            self.assertTrue({*first.skeletons} & {*second.skeletons}, (one, other))

    def test_twins_in_any_case(self) -> None:
        """Names are the same in any case, so they look alike if they do in any."""
        for one, other in (
            ("kim", "кim"), ("MAM", "мам"), ("apple", "аррӏе"), ("LL", "ӏӏ"), ("mia", "МІА"),
            ("admin", "АDМІN"), ("nina", "ΝΙΝΑ"), ("ilya", "Іlyа"),
        ):  # fmt: skip
            first, second = names.user(one), names.user(other)
            self.assertTrue({*first.skeletons} & {*second.skeletons}, (one, other))

    def test_empty(self) -> None:
        """No name is no name."""
        for text in ("", " ", "\t\n", "\u3000"):
            self.refused(text)

    def test_length(self) -> None:
        """A name has up to 32 characters, counted after normalisation."""
        self.assertEqual(len(names.user("x" * 32).key), 32)
        self.assertEqual(names.user("e\u0301" * 32).key, "é" * 32)
        self.assertEqual(names.user("ß" * 32).key, "ss" * 32)
        self.assertIn("32", self.refused("x" * 33).text)

    def test_absurdly_long(self) -> None:
        """One that no folding makes short enough is not folded, for that takes long."""
        for text in ("\ufdfa" * 5000, "e" + "\u0301" * 5000, "é " * 5000):
            self.assertIn("at most 32", self.refused(text).text)
        self.refused("é" * 33)
        self.refused("ﬃ" * 11)

    def test_spaces(self) -> None:
        """A name has no spaces, of whatever kind."""
        for space in " \t\n\u00a0\u2003\u3000\u2028\u2029\u1680":
            self.refused(f"an{space}a")

    def test_invisible(self) -> None:
        """A name has nothing in it that cannot be seen or that steers a terminal."""
        for code in (
            0x00, 0x07, 0x1B, 0x7F, 0x9B, 0xAD, 0x34F, 0x115F, 0x180E, 0x200B, 0x200D, 0x202E,
            0x2060, 0x2066, 0x2800, 0x3164, 0xFEFF, 0xFFA0, 0xE0041, 0xE000, 0xD800, 0x378,
        ):  # fmt: skip
            self.refused(f"an{chr(code)}a")
            self.refused(f"é{chr(code)}é")
        for code in (0x2D7F, 0xFFFC, 0x1107F, 0x16FE4, 0x1BC9D, 0x1D159):
            self.refused(f"ana{chr(code)}")

    def test_emoji(self) -> None:
        """An emoji is the same whether it is asked for as a picture or as a sign."""
        for text in ("Anna❤\ufe0f", "Anna❤\ufe0e", "Anna❤"):
            self.assertEqual(names.user(text), names.user("Anna❤"))
        for text in ("™\ufe0f", "‼\ufe0f", "㊗\ufe0f"):
            self.assertEqual(names.user(f"Anna{text}").shown, f"Anna{text[0]}")
        self.refused("Anna\ufe0f")

    def test_marks(self) -> None:
        """A name does not begin with a combining mark, nor pile them up."""
        self.refused("\u0301ana")
        self.refused("\u0345ana")
        self.refused("x\u0301\u0302\u0303\u0304")
        self.assertEqual(names.user("ế").key, "ế")
        # Some scripts need more of their own.
        for name in ("မြို့", "អ៊ុំ", "फ़ैंसी", "སྒྲོལ་མ", "שָּׁלוֹם"):
            self.assertEqual(names.user(name).shown, name)
        self.refused("ן" + "\u05b8" * 5)

    def test_marks_of_another_script(self) -> None:
        """Nor has it marks that belong to another script than their letters; each has its own."""
        for mark in "\u093e\u17d2\u0903\U00010a3f":
            self.refused(f"ana{mark}")
            self.refused(f"é{mark}")
        for name in ("हिन्दी", "ខ្មែរ", "שָׁלוֹם", "العَرَبِيّة", "தமிழ்", "ภาษาไทย", "Zoe\u0308", "1\u20e3"):
            self.assertEqual(names.user(name).shown, name)

    def test_room(self) -> None:
        """The `#` before a room's name is not part of it."""
        self.assertEqual(names.room("#Lobby").shown, "Lobby")
        for text in ("#Lobby", "＃lobby", "﹟LOBBY", "##lobby"):
            self.assertEqual(names.room(text).key, names.room("lobby").key)
        error = self.assertRaises(ChatError, names.room, "#")
        self.assertEqual(error.code, "bad_argument")
        self.assertIn("room", error.text)
        self.assertRaises(ChatError, names.room, "a b")

    @random
    @given(letters | tricky)
    def test_any(self, text: str) -> None:
        """Whatever passes for a name is one, shows nothing odd, and passes again as the same."""
        for make in (names.user, names.room):
            try:
                name = make(text)
            except ChatError as error:
                self.assertEqual(error.code, "bad_argument")
                continue
            self.assertEqual(make(name.shown), name)
            self.assertTrue(1 <= len(name.key) <= 32)
            for character in name.shown + name.key:
                self.assertNotIn(unicodedata.category(character), ("Cc", "Cf", "Cs", "Zs", "Zl"))
            self.assertEqual(make(name.key).key, name.key)


class CleanTests(SynchronousTestCase):
    def test_kept(self) -> None:
        """Text of every script, newlines and tabs stay as they are."""
        for text in ("plain", "a\n\tb", "héllo 村上 👩‍👩‍👧 שלום", "\u200d\u200e", ""):
            self.assertEqual(names.clean(text), text)

    def test_removed(self) -> None:
        """What could drive a terminal or turn text around is removed."""
        self.assertEqual(names.clean("\x1b[31mred\x1b[0m"), "[31mred[0m")
        self.assertEqual(names.clean("a\rb\x00c\x07d\x7fe\x85f\x9bg"), "abcdefg")
        self.assertEqual(names.clean("abc\u202egpj.exe\u202c\u2066\u2069"), "abcgpj.exe")

    @random
    @given(st.text(max_size=50))
    def test_any(self, text: str) -> None:
        """Clean text has no controls but newline and tab, and is clean already."""
        cleaned = names.clean(text)
        self.assertEqual(names.clean(cleaned), cleaned)
        for character in cleaned:
            self.assertTrue(character in "\n\t" or unicodedata.category(character) != "Cc")


class MessageTests(SynchronousTestCase):
    def test_clean(self) -> None:
        """A message is cleaned, but neither stripped nor folded."""
        self.assertEqual(names.message("  hi\x07 Ａ \n"), "  hi Ａ \n")

    def test_nothing(self) -> None:
        """Nothing, or only what cannot be seen, is not worth a message."""
        for text in ("", "  ", "\n\t", "\x00\x07", "\u202e \u202c"):
            error = self.assertRaises(ChatError, names.message, text)
            self.assertEqual(error.code, "bad_argument")

    def test_longest(self) -> None:
        """A message has up to 8192 bytes, counted after it was cleaned."""
        self.assertEqual(len(names.message("x" * 8192)), 8192)
        self.assertEqual(len(names.message("é" * 4096)), 4096)
        self.assertEqual(len(names.message("😀" * 2048)), 2048)
        self.assertEqual(len(names.message("x" * 8192 + "\x00")), 8192)
        for text in ("x" * 8193, "é" * 4096 + "x", "😀" * 2049):
            error = self.assertRaises(ChatError, names.message, text)
            self.assertEqual((error.code, error.fatal), ("too_long", False))

    def test_characters_that_stand_for_many(self) -> None:
        """They are counted as what they stand for, and nothing is made of too many."""
        self.patch(names, "_folded", None)
        for text in ("\ufdfa" * 128, "\ufdfa" * 16, "é" * 1000):
            error = self.assertRaises(ChatError, names.user, text)
            self.assertIn("at most 32", error.text)

    def test_unassigned(self) -> None:
        """A character that this Python's Unicode lacks is new in no name, but may be in one."""
        self.assertRaises(ChatError, names.user, "Ana\u0378")
        self.assertEqual(names.user("Ana\u0378", known=True).key, "ana\u0378")
        self.assertRaises(ChatError, names.user, "Ana\u0378\u200b", known=True)

    def test_remark(self) -> None:
        """A reason or a topic is one clean line of at most 1024 bytes."""
        self.assertEqual(names.remark("  off\n to\x07  lunch ", "reason"), "off to lunch")
        self.assertEqual(names.remark("", "reason"), "")
        self.assertEqual(len(names.remark("x" * 1024, "topic")), 1024)
        error = self.assertRaises(ChatError, names.remark, "é" * 513, "topic")
        self.assertEqual(error.code, "bad_argument")
        self.assertIn("topic", error.text)
