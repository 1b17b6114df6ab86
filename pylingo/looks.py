"""Events as lines for people: what the screen shows and what a pipe prints.

A line is a list of pieces, each with the name of a style and a text. It must be clear without its
styles, too. Text that came from elsewhere is made harmless here, because a terminal obeys what is
written to it.
"""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias
from zlib import crc32

from pylingo import names
from pylingo.connection import Connected, Disconnected, Heard
from pylingo.protocol import (
    LONGEST_TEXT,
    WIRE,
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
    Pong,
    Private,
    Renamed,
    Resumed,
    Rooms,
    Topic,
    Users,
    Welcome,
)

Line: TypeAlias = list[tuple[str, str]]

BEFORE = "-- What was said here before (more: /history):"
"""Stands above what was said in a room before one came."""
MOST_LINES = 200
"""Lines of one message that are shown to a person."""
SPACELESS = (
    "CJK ", "IDEOGRAPHIC ", "HIRAGANA ", "KATAKANA", "BOPOMOFO ", "HANGUL ", "THAI ", "LAO ",
    "KHMER ", "MYANMAR ",
)  # fmt: skip
"""How Unicode calls letters of scripts without spaces between words, or that join what follows."""
WIDEST = 16
"""Columns by which the later lines of a message are indented at most, to stand below the first."""
WIDEST_USAGE = 40
"""Columns that are left, at most, for how a command is used beside what it is for."""
COLOURS = 9
"""How many colours names are told apart by."""


def plain(line: Line) -> str:
    """`line` without its styles."""
    return "".join(text for _, text in line)


def info(text: str) -> Line:
    """A line of the client's own."""
    return [("class:info", f"-- {text}")]


def tidy(text: str) -> str:
    """`text` on one line, without anything that a terminal would obey."""
    return " ".join(names.clean(text).split())


def colour(name: str) -> str:
    """The style of a name, the same wherever and whenever it is seen."""
    return f"class:name{crc32(name.casefold().encode()) % COLOURS}"


def mentions(text: str, me: str) -> bool:
    """Whether `me` is named in `text`, as a word of its own."""
    # No message is longer; where marks are stacked, each character more takes longer.
    text = text[:LONGEST_TEXT]
    text, me = (unicodedata.normalize("NFKC", names.composed(one)).casefold() for one in (text, me))
    start = text.find(me) if me else -1
    while start >= 0:
        end = start + len(me)
        # What an accent before it belongs to is the letter under that.
        under = start - 1
        while under >= 0 and _mark(text[under]):
            under -= 1
        before = text[under] if under >= 0 else ""
        after = text[end : end + 1]
        if not (_joined(before, me[0]) or _mark(after) or _joined(after, me[-1])):
            return True
        start = text.find(me, start + 1)
    return False


def _joined(beside: str, edge: str) -> bool:
    """Whether what stands `beside` a name, if anything, makes one word with the `edge` of it."""
    if not (beside.isalnum() or beside in ("-", "_")):
        return False
    return not any(unicodedata.name(c, "").startswith(SPACELESS) for c in (beside, edge))


def _mark(character: str) -> bool:
    """Whether it is one, and stands above or below the letter before it."""
    return bool(character) and unicodedata.category(character).startswith("M")


def lines(
    event: Heard,
    me: str,
    now: float | None = None,
    most: int | None = None,
    ignores: Callable[[Message], bool] = lambda _: False,
) -> Iterator[Line]:
    """The lines that tell a person of `event`; `me` is the name the person has.

    Of one message there are `most` of them, and one that says how many more. Messages that the
    person `ignores` are left out of a history.
    """
    match event:
        case Message() | Private():
            yield from _said(event, me, now, most)
        case Welcome():
            yield info(f"Welcome. You are {tidy(event.user)} here.")
            yield from _block("class:motd", event.motd)
        case Joined(users=None):
            yield [("class:come", f"--> {tidy(event.user)} joined {tidy(event.room)}")]
        case Joined():
            yield _arrival("You joined", event.room, event.users or (), event.count or 0)
            yield from _topic(event.topic or "")
        case Resumed():
            if event.room is not None:
                yield _arrival("You are back in", event.room, event.users, event.count)
                yield from _topic(event.topic)
            yield info(f"You are {tidy(event.user)}.")
        case Left():
            who = "You" if event.re is not None or event.user == me else tidy(event.user)
            why = "" if event.reason == "left" else f" ({tidy(event.reason)})"
            yield [("class:go", f"<-- {who} left {tidy(event.room)}{why}")]
        case Renamed():
            if event.re is not None:
                yield info(f"You are now {tidy(event.to)}.")
            else:
                yield info(f"{tidy(event.user)} is now {tidy(event.to)}")
        case Rooms():
            yield from rooms(event)
        case Users():
            who = ", ".join(map(tidy, event.users))
            yield info(f"In {tidy(event.room)} ({len(event.users)}): {who}")
            if event.operators:
                who = ", ".join(map(tidy, event.operators))
                yield info(f"Operators here: {who}")
        case Help():
            yield from _help(event.commands)
        case History():
            what = _many(len(event.messages), "message") if event.messages else "Nothing was said"
            hidden = sum(map(ignores, event.messages))
            end = (f" ({hidden} hidden)" if hidden else "") + (":" if event.messages else ".")
            yield info(f"{what} in {tidy(event.room)}{end}")
            for message in event.messages:
                if not ignores(message):
                    yield from _said(message, me, now, most)
            for first in event.messages[: event.older]:
                yield info(f"Before that: /history {len(event.messages)} {first.id}")
        case Topic():
            who = f" (set by {tidy(event.user)})" if event.user else ""
            topic = tidy(event.topic) or "none"
            yield info(f"Topic of {tidy(event.room)}: {topic}{who}")
        case Done():
            yield from _block("class:info", event.text)
        case Notice():
            yield from _block("class:notice", event.text)
        case Pong(re=int() | str()):
            yield info(f"The server is there. {tidy(event.body)}".rstrip())
        case Closing():
            yield from _block("class:error" if event.reason != "bye" else "class:info", event.text)
        case Error():
            yield from _block("class:error", event.text, "!! ")
        case Disconnected():
            more = "" if event.final else " Trying again…"
            yield [("class:error", f"!! Not connected: {tidy(event.reason)}{more}")]
        case Connected(again=True):
            yield info("Connected again.")


def rooms(event: Rooms, *, numbered: bool = False) -> Iterator[Line]:
    """The rooms with their number of users, and `numbered` where one may choose."""
    if not event.rooms:
        yield info("There are no rooms yet.")
    for number, room in enumerate(event.rooms, 1):
        mark: Line = [("", f"{number:4} ")] if numbered else [("class:info", "--")]
        locked = ", locked" if room.locked else ""
        topic = f"  {tidy(room.topic)}" if room.topic else ""
        people = _many(room.count, "user")
        yield [*mark, ("class:info", f" {tidy(room.name)} ({people}{locked}){topic}")]


def stamped(lines: Iterable[Line], now: float | None = None) -> Iterator[Line]:
    """`lines`, the first of them with the time it is."""
    stamp = _time((time.time() if now is None else now) * 1000, now)
    for line in lines:
        yield [("class:time", stamp), *line]
        stamp = ""


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _said(event: Message | Private, me: str, now: float | None, most: int | None) -> Iterator[Line]:
    user, mine = tidy(event.user), event.user == me
    text = names.clean(event.text).expandtabs(4).split("\n")
    style = "class:replayed" if event.replayed else ""
    if isinstance(event, Private):
        to = "you" if event.to == me else tidy(event.to)
        style = "class:private"
        who: Line = [(style, f"[{'you' if mine else user} -> {to}] ")]
    elif event.action:
        who = [("class:action", "* "), ("class:me" if mine else colour(user), user), ("", " ")]
    elif mine:
        who = [("class:me", f"[{user}] ")]
    else:
        who = [("", "<"), (colour(user), user), ("", "> ")]
    if not mine and mentions(event.text, me):
        style = "class:mention"
        who = [(style, "» "), *who]
    stamp = _time(event.at, now)
    yield [("class:time", stamp), *who, (style, text[0])]
    # Below each other, for it may be code.
    before = _width(plain(who))
    indent = " " * (before if before <= WIDEST else 2)
    for more in text[1:most]:
        yield [("class:time", " " * len(stamp)), ("", indent), (style, more)]
    if left := text[most:] if most is not None else ():
        more = f"{' ' * len(stamp)}{indent}-- and {_many(len(left), 'line')} more"
        yield [("class:info", more)]


def _width(text: str) -> int:
    """Columns that `text` takes on a terminal, nearly."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.category(c) in ("Mn", "Me") for c in text)


def today() -> str:
    """The day it is, for people."""
    return time.strftime("%A, %d %B %Y")


def _time(at: float, now: float | None) -> str:
    today = time.localtime(now)
    try:
        then = time.localtime(at / 1000)
    except (OverflowError, ValueError, OSError):
        return "--:-- "  # No clock has ever shown it.
    same = (then.tm_year, then.tm_yday) == (today.tm_year, today.tm_yday)
    return time.strftime("%H:%M " if same else "%Y-%m-%d %H:%M ", then)


def _arrival(what: str, room: str, users: Sequence[str], count: int) -> Line:
    more = f" and {count - len(users)} more" if count > len(users) else ""
    who = ", ".join(map(tidy, users)) + more if count > 1 else "nobody else is here"
    return [("class:come", f"--> {what} {tidy(room)}: {who}")]


def _topic(topic: str) -> Iterator[Line]:
    if topic:
        yield info(f"Topic: {tidy(topic)}")


def _block(style: str, text: str, mark: str = "-- ") -> Iterator[Line]:
    for line in names.clean(text).expandtabs(4).split("\n") if text else ():
        yield [(style, mark + line)]


def _help(commands: Sequence[CommandHelp]) -> Iterator[Line]:
    if len(commands) > 1:
        commands = [row for row in commands if row.name not in WIRE]
    usages = [f"/{tidy(row.name)} {tidy(row.arguments)}".rstrip() for row in commands]
    width = min(WIDEST_USAGE, max(map(len, usages), default=0))
    for usage, row in zip(usages, commands, strict=True):
        also = f" (also /{', /'.join(map(tidy, row.aliases))})" if row.aliases else ""
        yield [("class:command", f"   {usage:{width}}  "), ("class:info", tidy(row.help) + also)]
