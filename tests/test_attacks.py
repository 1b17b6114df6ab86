"""The names and texts that people try, to be somebody else or to drive a terminal."""

from __future__ import annotations

import unicodedata
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pylingo import names
from pylingo.protocol import (
    Error,
    Message,
    Renamed,
    Welcome,
)
from tests.house import House, HouseTestCase, texts
from tests.test_service import parsed

random = settings(max_examples=150, deadline=None, database=None, print_blob=True)


TWINS = {
    "ana": ("аna", "anа", "аnа", "αna", "anα", "ａｎａ", "ANA", "Ana", "𝐚𝐧𝐚", "𝓪𝓷𝓪", "ⓐⓝⓐ"),
    "bob": ("bоb", "bοb", "b0b", "BOB", "ｂｏｂ", "𝕓𝕠𝕓", "Bоb"),
    "paypal": ("раураl", "pаypal", "paypa1", "paypaI", "PAYPAL", "ρaypal", "раypal"),
    "scope": ("ѕсоре", "sсope", "scοpe", "ꜱcope"),
    "microsoft": ("miсrosoft", "micrоsoft", "mіcrosoft"),
    "mia": ("МІА", "MІА", "ΜΙΑ"),
    "admin": ("АDМІN", "аdmіn"),
    "Weiß": ("Weiβ",),
    "口": ("ロ",),
    "Москва": ("москва", "МОСКВА", "Mосква"),
}
"""Names with what people take for them: each is the same name, or looks like it."""
INVISIBLE = (
    0xAD, 0x34F, 0x61C, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B, 0x180E, 0x200B, 0x200C, 0x200D,
    0x200E, 0x200F, 0x202A, 0x202B, 0x202C, 0x202D, 0x202E, 0x2060, 0x2061, 0x2064, 0x2066, 0x2067,
    0x2068, 0x2069, 0x206F, 0x2800, 0x3164, 0xFE00, 0xFE0F, 0xFEFF, 0xFFA0, 0xFFF9, 0xFFFB, 0x1D173,
    0xE0001, 0xE0020, 0xE0041, 0xE007F, 0xE0100, 0xE01EF,
)  # fmt: skip
"""Characters that are not seen, or turn around what is."""
STEERING = (
    "\x1b]0;owned\x07", "\x1b]52;c;cm0gLXJm\x1b\\", "\x1b[2J", "\x1b[31m", "\x9b31m", "\x9d0;x\x9c",
    "\x1bP1$r\x1b\\", "\x1b_x\x1b\\", "\x90q\x9c", "\x08\x08\x08", "\r", "\x07", "\x0e", "\x7f",
    "\x85", "\x00", "\x1b]8;;http://x\x07y\x1b]8;;\x07", "\u202e\u2066", "\u2067", "\x1bc",
)  # fmt: skip
"""What drives terminals, or turns lines around."""


class AttackTests(HouseTestCase):
    """The names and texts that people really try."""

    def test_twins_of_users(self) -> None:
        """What looks like the name of somebody here is refused."""
        for name, twins in TWINS.items():
            holder = self.house.visitor(name)
            eve = self.house.visitor()
            for twin in twins:
                reply = eve.ask("name", twin)
                self.assertIsInstance(reply, Error, f"{twin} ({twin!a}) is not {name}")
                self.assertIn(reply.code, ("name_taken", "bad_argument"), twin)
            holder.ask("close")

    def test_twins_of_rooms(self) -> None:
        """What looks like the name of a room is refused, or is that room."""
        for name, twins in TWINS.items():
            self.house.visitor(f"op-{names.user(name).skeletons[0][:3]}", name)
            before = len(self.house.registry.rooms)
            for twin in twins:
                self.house.visitor().ask("join", f"#{twin}")
                self.assertEqual(len(self.house.registry.rooms), before, ascii(twin))

    def test_invisible(self) -> None:
        """A name has nothing invisible in it, at whatever place, beside whatever letters."""
        eve = self.house.visitor()
        for code in INVISIBLE:
            for shape in ("an{}a", "{}ana", "ana{}", "é{}", "а{}б", "{}", "ｱ{}"):
                name = shape.format(chr(code))
                reply = eve.ask("name", name)
                self.assertIsInstance(reply, Error, f"{shape} U+{code:04X}")
                self.assertEqual(reply.code, "bad_argument")
                reply = eve.ask("create", name)
                self.assertIsInstance(reply, Error, f"{shape} U+{code:04X}")

    def test_marks(self) -> None:
        """Marks do not pile up in a name, above or below or around."""
        eve = self.house.visitor()
        for marks in ("\u0301" * 5, "\u0316\u0301\u0317\u0302", "\u20dd" * 3, "\u0488" * 4):
            for name in (f"z{marks}", f"{marks}", f"ana{marks}ana"):
                reply = eve.ask("name", name)
                self.assertIsInstance(reply, Error, ascii(name))
                self.assertEqual(reply.code, "bad_argument")

    def test_steering_names(self) -> None:
        """Nothing that drives a terminal gets into a name."""
        eve = self.house.visitor()
        for attack in STEERING:
            for command in ("name", "create", "join"):
                reply = eve.ask(command, f"a{attack}b")
                self.assertIsInstance(reply, Error, ascii(attack))
                self.check(reply)

    def test_steering_texts(self) -> None:
        """Nor into anything that others hear, or that is heard of later."""
        boss = self.house.owner("boss", "den")
        ben = self.house.visitor("ben", "den")
        owner = self.house.owner("away")
        owner.ask("close")
        for attack in STEERING:
            eve = self.house.visitor("eve", "den")
            word = f"before{attack}after"
            eve.ask("say", word)
            eve.ask("me", word)
            eve.ask("msg", f"ben {word}")
            eve.ask("msg", f"away {word}")
            boss.ask("topic", word)
            boss.ask("mute", f"eve {word}")
            boss.ask("unmute", "eve")
            boss.ask("ban", f"eve {word}")
            self.check(eve.ask("join", "den"))
            self.check(boss.ask("bans"))
            boss.ask("unban", "eve")
            eve.ask("join", "den")
            boss.ask("kick", f"eve {word}")
            eve.ask("join", "den")
            eve.ask("leave", word)
            self.check(eve.ask("nonsense" + attack))
            self.check(eve.ask("help", attack))
            self.check(eve.ask("login", f"na{attack}me x"))
            self.check(eve.ask("kick", word))
            eve.ask("join", "den")
            eve.ask("close", word)
            for event in (*ben.hear(), *boss.hear(), *eve.hear()):
                self.check(event)
        late = self.house.owner("away", "den")
        for event in late.hear():
            self.check(event)
        self.check(late.ask("history", "200"))
        self.check(late.ask("list"))

    def check(self, event: Any) -> None:
        """Nothing in `event` drives a terminal; what a client itself gave to `ping` is apart."""
        for character in str(event):
            self.assertTrue(
                character in "\n\t" or unicodedata.category(character) != "Cc", repr(event)
            )
            self.assertNotIn(character, "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

    def test_motd(self) -> None:
        """The message of the day is clean when it comes from its file."""
        path = self.mktemp()
        with open(path, "w", encoding="utf-8") as file:
            file.write("".join(f"before{attack}after\n" for attack in STEERING))
        self.check(House(motd=parsed("--motd", path)["motd"]).visitor().ask("hello"))

    def test_kept(self) -> None:
        """What is no attack stays: newlines, tabs, every script, emoji of several parts."""
        ana, ben = self.house.visitor("ana", "den"), self.house.visitor("ben", "den")
        for text in ("a\n\tb", "שלום", "مرحبا", "👩‍👩‍👧", "e\u0301", "नमस्ते", "ｱ", "می‌خواهم"):
            ana.ask("say", text)
            self.assertEqual(texts(ben.hear()), [text])

    @random
    @given(
        st.lists(
            st.sampled_from([*STEERING, "a", "é", "\n", "\t", "[", "]", ";", "m", "0", "👋", " "]),
            min_size=1,
            max_size=12,
        ).map("".join)
    )
    def test_any_text(self, text: str) -> None:
        """However it is put together, nothing comes through that steers, and no letter is lost."""
        house = House(rate=0)
        ana, ben = house.visitor("ana", "den"), house.visitor("ben", "den")
        ana.ask("say", text)
        for event in ben.hear():
            self.check(event)
            if isinstance(event, Message):
                letters = [c for c in text if c in "aé[];m0👋\n\t "]
                self.assertEqual([c for c in event.text if c in "aé[];m0👋\n\t "], letters)

    @random
    @given(st.text(st.sampled_from("anАаαｎ\u200dІl1|oо0OᴏΟ\u0301é-_"), min_size=1, max_size=5))
    def test_any_two(self, name: str) -> None:
        """Of two names that read the same, only one is in use, whoever came first."""
        house = House(rate=0)
        ana, ben = house.visitor("ana"), house.visitor()
        reply = ben.ask("name", name)
        if isinstance(reply, Renamed):
            (skeleton,) = names.user("ana").skeletons
            self.assertNotIn(skeleton, names.user(name).skeletons)
            self.assertIsInstance(ana.ask("name", name), Error)
            again = house.visitor()
            self.assertIsInstance(again.ask("name", name.swapcase()), Error)
        self.assertIsInstance(ben.ask("hello"), Welcome)
