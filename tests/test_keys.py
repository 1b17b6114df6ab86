"""Keys: what a terminal sends becomes keys that are known, and nothing else is typed."""

from __future__ import annotations

from itertools import combinations_with_replacement

from twisted.trial.unittest import SynchronousTestCase

from pylingo.keys import Keyboard


class KeyboardTests(SynchronousTestCase):
    """Bytes as they come from terminals."""

    def setUp(self) -> None:
        self.places: list[tuple[int, int]] = []
        self.keyboard = Keyboard(lambda row, column: self.places.append((row, column)))

    def test_text(self) -> None:
        """Text is as it was typed, also where a character comes in two pieces."""
        self.assertEqual(self.keyboard.read("zoë".encode()[:-1]), "zo")
        self.assertEqual(self.keyboard.read("zoë".encode()[-1:]), "ë")

    def test_no_text(self) -> None:
        """What is not UTF-8 is shown as such."""
        self.assertEqual(self.keyboard.read(b"a\xffb"), "a\N{REPLACEMENT CHARACTER}b")

    def test_known(self) -> None:
        """A key that is known stays what it is."""
        self.assertEqual(self.keyboard.read(b"\x1b[A\x1b[3~x\x1b[1;5C"), "\x1b[A\x1b[3~x\x1b[1;5C")

    def test_meant(self) -> None:
        """A key that some terminal writes in its own way is the one that was meant."""
        self.assertEqual(self.keyboard.read(b"a\x1b[Pb\x1bOM"), "a\x1b[3~b\r")

    def test_unknown(self) -> None:
        """A key that is not known types nothing."""
        self.assertEqual(self.keyboard.read(b"a\x1b[57399ub\x1b[<0;3;4Mc"), "abc")

    def test_said_to_others(self) -> None:
        """Nor does what another program had asked the terminal."""
        self.assertEqual(self.keyboard.read(b"a\x1b]11;rgb:0000/0000/0000\x07b\x1b[?62;4cc"), "abc")

    def test_cursor(self) -> None:
        """Where the cursor is, is no key, and does not come between two."""
        self.assertEqual(self.keyboard.read(b"\x1b\x1b[12;7R\r"), "\x1b\r")
        self.assertEqual(self.places, [(12, 7)])

    def test_escape_and_the_cursor(self) -> None:
        """Escape stands alone, and takes nothing away, though the terminal says where that is."""
        said = b"\x1b\x1b[12;7R"
        for at in range(len(said)):
            keyboard = Keyboard(lambda *_: None)
            read = keyboard.read(said[:at]) + keyboard.read(said[at:])
            self.assertEqual((read, keyboard.half), ("", "\x1b"), at)
            self.assertEqual(keyboard.rest(empty=True), "\x1b")
            self.assertEqual(keyboard.read(b"x"), "\x1b[Ex")
        self.keyboard.read(b"\x1b\x1b")
        self.assertEqual(self.keyboard.rest(empty=True), "\x1b\x1b")
        self.assertEqual(self.keyboard.read(b"x"), "\x1b[Ex")

    def test_pasted(self) -> None:
        """What is pasted stays as it is, also what looks like a key."""
        pasted = "\x1b[200~a\x1b[57399ub\x1b[201~"
        self.assertEqual(self.keyboard.read(pasted.encode() + b"\x1b[57399u"), pasted)

    def test_pasted_in_pieces(self) -> None:
        """So it does in whatever pieces it comes, and what follows is a key again."""
        pasted = b"\x1b[200~a\x1b[57399ub\x1b[201~"
        for first, second in combinations_with_replacement(range(len(pasted)), 2):
            pieces = pasted[:first], pasted[first:second], pasted[second:]
            for late in (False, True):
                keyboard = Keyboard(lambda *_: None)
                read = ""
                for piece in pieces:
                    read += keyboard.read(piece) + (keyboard.rest() if late else "")
                self.assertEqual(read, pasted.decode(), pieces)
                self.assertEqual(keyboard.read(b"\x1b[57399u"), "", pieces)

    def test_behind_what_is_pasted(self) -> None:
        """What comes with its end, and behind it, is a key as any other; an end alone is none."""
        pasted = b"\x1b[200~a\x1b[201~"
        typed = pasted + b"\x1b[57399ux"
        for first, second in combinations_with_replacement(range(len(typed)), 2):
            keyboard = Keyboard(lambda *_: None)
            pieces = typed[:first], typed[first:second], typed[second:]
            read = "".join(map(keyboard.read, pieces))
            self.assertEqual(read, pasted.decode() + "x", pieces)
            self.assertEqual(keyboard.read(b"\x1b[201~y"), "y")

    def test_escape_that_was_pasted(self) -> None:
        """It stays as it is, too, where a piece ends with it, and what follows comes late."""
        read = self.keyboard.read(b"\x1b[200~a\x1b") + self.keyboard.rest(empty=True)
        self.assertEqual(read + self.keyboard.read(b"b\x1b[201~"), "\x1b[200~a\x1bb\x1b[201~")

    def test_in_pieces(self) -> None:
        """A key is the same in whatever pieces it comes."""
        for key, known in (
            ("\x1b[A", "\x1b[A"), ("\x1bOB", "\x1bOB"), ("\x1b[1;5C", "\x1b[1;5C"),
            ("\x1b[P", "\x1b[3~"), ("\x1bOM", "\r"), ("\x1b[57399u", ""), ("\x1b[I", ""),
            ("\x1b[5;7R", ""), ("\x1bx", "\x1bx"), ("\x1b\r", "\x1b\r"), ("\x1bO5D", ""),
            ("\x1b]11;rgb:00/00/00\x1b\\", ""), ("\x1bP1+r\x1b\\", ""), ("\x1b]4;1\x07", ""),
        ):  # fmt: skip
            for at in range(len(key)):
                read = self.keyboard.read(key[:at].encode()) + self.keyboard.read(key[at:].encode())
                self.assertEqual((read, self.keyboard.half), (known, ""), (key, at))

    def test_no_key_after_all(self) -> None:
        """What nothing more comes of is what it is."""
        self.assertEqual(self.keyboard.read(b"a\x1b"), "a")
        self.assertEqual(self.keyboard.rest(), "\x1b")
        self.assertEqual((self.keyboard.rest(), self.keyboard.half), ("", ""))

    def test_endless(self) -> None:
        """Where the end of what is pasted got lost, Ctrl-C ends it."""
        self.keyboard.read(b"\x1b[200~lost")
        self.assertEqual(self.keyboard.read(b"\x03"), "\x1b[201~\x03")
