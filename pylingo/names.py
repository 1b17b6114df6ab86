"""What a name may be, when two names are the same, and what text is clean.

A name has several forms. It is *shown* as it was typed. Its *key* is for comparing: the form that
RFC 8266 (nicknames) gives it, so `ANA`, `ana` and `ａｎａ` are one name. Its *skeletons* are what
it looks like (after UTS 39): a Cyrillic `аna` has a different key from `ana` but the same skeleton,
and two names with a skeleton in common cannot be in use at the same time.

Nothing here knows who has which name; that is `rooms.py`.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Generic, TypeVar

from pylingo.protocol import LONGEST_TEXT, ChatError

T = TypeVar("T")

LONGEST_NAME = 32
"""Characters of a name, after normalisation."""
LONGEST_TOPIC = 1_024
"""Bytes of UTF-8 in a topic or a reason."""
MOST_MARKS = 2
"""Accents in a row that fit letters of any script: too few to pile up."""
MOST_OWN_MARKS = 4
"""Marks in a row of the letter's own script: enough for Burmese, Khmer and Tibetan."""

_GIVEN = re.compile(r"guest-\d+")
# C0 but newline and tab, DEL, C1, and the bidirectional embeddings, overrides and isolates.
_UNCLEAN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_INVISIBLE = frozenset(
    "\u2800\u3164\uffa0\u115f\u1160\u034f\u180e\u2d7f\ufffc\U0001107f\U00016fe4\U0001bc9d\U0001d159"
)
# What asks for a sign as a picture or not; terminals do as they like, and a name is the same.
_STYLE = re.compile("(?<=[^\\w\\s])[\ufe0e\ufe0f]")
_FORBIDDEN = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"})
# Letters of ASCII that no terminal font tells apart for sure.
_TWINS = str.maketrans({"I": "l", "1": "l", "|": "l", "0": "o"})
_PAIRS = str.maketrans({"m": "rn", "w": "vv"})
# Letters that normalisation takes for what they do not look like.
_DISGUISED = str.maketrans({"\u03f2": "c", "\u03f9": "C", "\u017f": "f"})
_KNOWN = {
    # Not as in the tables: only there has the palochka a dot, and a sharp s is no beta.
    "\u04cf": "l", "\u00df": "ss",
    # And not in them, or not so that one letter comes of it: capitals with a stroke,
    "\u00d0": "\u0110", "\u00f0": "\u0111", "\u0189": "\u0110", "\u0256": "\u0111",
    # letters and digits that the keyboards of Arabic, Persian and Urdu have each their own of,
    "\u064a": "\u0649", "\u06cc": "\u0649", "\u06a9": "\u0643",
    "\u06be": "\u0647", "\u06c1": "\u0647", "\u06d5": "\u0647",
    "\u0660": ".", "\u0661": "l", "\u0662": "\u06f2", "\u0663": "\u06f3",
    "\u0667": "v", "\u0668": "\u028c", "\u0669": "\u06f9",
    # two letters of Hebrew in one,
    "\u05f0": "\u05d5\u05d5", "\u05f1": "\u05d5\u05d9", "\u05f2": "\u05d9\u05d9",
    # and vowels that can also be put together.
    "\u0906": "\u0905\u093e", "\u0911": "\u0905\u0949", "\u0913": "\u0905\u094b",
    "\u0914": "\u0905\u094c", "\u0986": "\u0985\u09be", "\u0a06": "\u0a05\u0a3e",
    "\u0a86": "\u0a85\u0abe", "\u0a93": "\u0a85\u0acb", "\u0a94": "\u0a85\u0acc",
    "\u0b06": "\u0b05\u0b3e", "\u0e41": "\u0e40\u0e40", "\u0ec1": "\u0ec0\u0ec0",
}  # fmt: skip
# A dot above is not seen where there is one.
_DOT = re.compile("(?<=[ij])\u0307")
_OVERLAY = 1
"""The combining class of strokes through a letter."""
_SMALL = "LATIN LETTER SMALL CAPITAL "


@dataclass(frozen=True, slots=True)
class Name:
    """A name that passed every check."""

    shown: str
    key: str
    skeletons: tuple[str, ...]

    def __str__(self) -> str:
        return self.shown


class Looks(Generic[T]):
    """Who, or what, has a name, by what the names look like."""

    def __init__(self) -> None:
        self._known: dict[str, T] = {}

    def put(self, name: Name, whose: T) -> None:
        """It is that one's from now on."""
        self._known.update(dict.fromkeys(name.skeletons, whose))

    def drop(self, name: Name, whose: T) -> None:
        """It is not that one's any more."""
        for skeleton in name.skeletons:
            if self._known.get(skeleton) is whose:
                del self._known[skeleton]

    def twin(self, name: Name, but: T | None = None) -> T | None:
        """Who has a name that looks like `name`, except one."""
        twins = map(self._known.get, name.skeletons)
        return next((twin for twin in twins if twin is not None and twin is not but), None)


def user(text: str, *, known: bool = False) -> Name:
    """The name of a user. Raises `ChatError` ``bad_argument``, saying what a name may be.

    With `known`, what older rules allowed is let through: it may be somebody's name already.
    """
    return _name(text.strip(), "name", known=known)


def room(text: str, *, known: bool = False) -> Name:
    """The name of a room, likewise, a leading ``#`` dropped, also a wide one."""
    return _name(text.strip().lstrip("#\uff03\ufe5f"), "room's name", known=known)


def kept(text: str) -> str:
    """The key of a name that was stored, or heard; of what would be none today, all of it."""
    try:
        return user(text, known=True).key
    except ChatError:
        return text


def given(shown: str) -> bool:
    """Whether it is a name as the server gives them to guests; nobody asks for it."""
    return _GIVEN.fullmatch(shown) is not None


def stored(shown: str, key: str) -> Name:
    """The name that was stored with its key; the key alone if the name itself was damaged."""
    try:
        name = user(shown, known=True)
    except ChatError:
        name = None
    return name if name is not None and name.key == key else Name(key, key, _skeletons(key))


def composed(text: str) -> str:
    """`text` with each letter and its accents as one character where there is one for them.

    Signs do not ask to be shown as pictures any more, as in names.
    """
    return text if text.isascii() else _STYLE.sub("", unicodedata.normalize("NFC", text))


def clean(text: str) -> str:
    """`text` without what could drive a terminal or turn lines around; newlines and tabs stay."""
    return text if text.isprintable() else _UNCLEAN.sub("", text)


def message(text: str) -> str:
    """`text`, clean, as something to say.

    Raises `ChatError`: ``bad_argument`` where nothing is left to say, ``too_long`` past 8 192
    bytes.
    """
    text = clean(text)
    if len(text) > LONGEST_TEXT // 4 and len(text.encode()) > LONGEST_TEXT:
        raise ChatError(
            "too_long", f"A message has at most {LONGEST_TEXT} bytes. Send it in several parts."
        )
    if not text or text.isspace():
        raise ChatError("bad_argument", "There is no text in that. Type something.")
    return text


def remark(text: str, what: str) -> str:
    """`text` as a topic or a reason: clean, on one line.

    Raises `ChatError` ``bad_argument`` past 1 024 bytes; `what` names the thing in the sentence.
    """
    text = " ".join(clean(text).split())
    if len(text.encode()) > LONGEST_TOPIC:
        raise ChatError("bad_argument", f"A {what} has at most {LONGEST_TOPIC} bytes. Shorten it.")
    return text


def _name(text: str, what: str, *, known: bool) -> Name:
    if not text:
        raise ChatError("bad_argument", f"Say which {what}: 1 to {LONGEST_NAME} characters.")
    if text.isascii():
        if not text.isprintable() or " " in text:
            raise _refused(what)
        plain = text
    else:
        text = _STYLE.sub("", text)
        # It makes one character of four at most, so what is longer is no name.
        plain = unicodedata.normalize("NFKC", text[: 4 * LONGEST_NAME + 1])
    if len(plain) > LONGEST_NAME:
        raise ChatError(
            "bad_argument", f"A {what} has at most {LONGEST_NAME} characters. Take a shorter one."
        )
    key = text.lower() if text.isascii() else _folded(text, what, known=known)
    return Name(text, key, _skeletons(text))


def _folded(text: str, what: str, *, known: bool) -> str:
    # Loaded here, for most names never need it. It brings its own Unicode tables.
    from precis_i18n import get_profile

    try:
        key: str = get_profile("NicknameCaseMapped:CaseFold").enforce(text)
    except UnicodeEncodeError:
        unknown = _FORBIDDEN.intersection(map(unicodedata.category, text)) == {"Cn"}
        if not (known and unknown):
            raise _refused(what) from None
        # Kept by a Python that knew more of Unicode; that is no reason to do without the others.
        key = text.casefold()
    if not known:
        _check(text, what)
        _check(key, what)
    # Enforcing once need not be the end of it: folding can make a sequence that composes.
    return unicodedata.normalize("NFKC", key)


def _check(form: str, what: str) -> None:
    """Raises `ChatError` for characters that nobody sees, and for marks where they cannot be."""
    if unicodedata.category(form[0]).startswith("M"):
        raise _refused(what)
    marks = 0
    script = ""
    for character in form:
        category = unicodedata.category(character)
        if category in _FORBIDDEN or character in _INVISIBLE:
            raise _refused(what)
        # A mark of another script than its letter's is not seen, in most fonts.
        mark = category.startswith("M")
        if mark and _script(character) not in (script, "COMBINING"):
            raise _refused(what)
        script = script if mark else _script(character)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if marks > (MOST_OWN_MARKS if _script(character) == script else MOST_MARKS):
            raise _refused(what)


def _script(character: str) -> str:
    """The first word of a character's name, which is its script's, or says what it is."""
    return unicodedata.name(character, "").partition(" ")[0]


def _refused(what: str) -> ChatError:
    return ChatError(
        "bad_argument",
        f"A {what} has letters, digits, signs or emoji, with no spaces and nothing invisible. "
        "Try another.",
    )


def _skeletons(text: str) -> tuple[str, ...]:
    """Several if there is a capital I, or what looks like one: it is a twin of l, and of i."""
    if text.isascii():
        forms = [text, text.replace("I", "i")]
    else:
        # Accents are part of how a name looks, so they stay: "José" is not a twin of "Jose".
        letters = unicodedata.normalize("NFKD", text.translate(_DISGUISED))
        seen = [(letter, _looks(letter)) for letter in letters]
        forms = [
            "".join(looks for _, looks in seen),
            "".join("i" if c.isupper() and looks in ("I", "l") else looks for c, looks in seen),
            # A beta looks like a sharp s, which is two letters.
            "".join("ss" if letter == "\u03b2" else looks for letter, looks in seen),
        ]
    plain = (_DOT.sub("", form).translate(_TWINS).casefold().translate(_PAIRS) for form in forms)
    return tuple(dict.fromkeys(plain))


@lru_cache(maxsize=4096)
def _looks(character: str) -> str:
    """The plain letter that `character` looks like, or the first of those it looks like."""
    if character in _KNOWN:
        return _KNOWN[character]
    if unicodedata.combining(character) == _OVERLAY:
        return ""
    small = unicodedata.name(character, "").removeprefix(_SMALL)
    if len(small) == 1:
        return small.lower()
    plain = _plainest(character)
    # Names are the same in any case, so they look alike if they do in any.
    large = plain if plain.isascii() else _plainest(character.upper())
    return large if large.isascii() else plain


def _plainest(character: str) -> str:
    """The same for all characters that look like each other, directly or by way of others."""
    from confusable_homoglyphs.confusables import confusables_data

    alike, new = {character}, [character]
    while new:
        one = new.pop()
        # ASCII is as plain as can be. To go on from there would make l and I one.
        twins = () if one.isascii() else confusables_data.get(one, ())
        more = {twin["c"] for twin in twins if len(twin["c"]) == 1 or twin["c"].isascii()} - alike
        alike |= more
        new += more
    return min(alike, key=lambda twin: (not twin.isascii(), len(twin), twin))
